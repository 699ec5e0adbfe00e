// When other buttons appeared under the pointer: a click right after it may be meant for the old ones.
export const buttonChanges = { at: 0 };
export const buttonsChanged = () => (buttonChanges.at = performance.now());
