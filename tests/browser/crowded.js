// What has too little room: text that overlaps other text, and text that is cut off and cannot be
// read in full, neither in a title nor when the mouse is on it.
() => {
  const scope = document.querySelector("dialog[open]") || document.body;
  const apart = ".vh, .skip, option, #banner, .selection, .kill-bar, .panel, .acts";
  const unseen = (each) => each && (getComputedStyle(each).clipPath !== "none" || unseen(each.parentElement));
  const hides = (element) => getComputedStyle(element).overflowX !== "visible";
  const pieces = [];
  const walker = document.createTreeWalker(scope, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const parent = node.parentElement;
    if (!node.data.trim() || !parent.checkVisibility() || parent.closest(apart) || unseen(parent)) continue;
    if (!scope.matches("dialog") && parent.closest("dialog")) continue;
    const clips = [];
    for (let each = parent; each !== document.body; each = each.parentElement)
      if (hides(each)) clips.push(each.getBoundingClientRect());
    const range = document.createRange();
    range.selectNode(node);
    for (const { left, right, top, bottom } of range.getClientRects()) {
      const piece = { node, left, right, top, bottom };
      for (const clip of clips) {
        piece.left = Math.max(piece.left, clip.left);
        piece.right = Math.min(piece.right, clip.right);
        piece.top = Math.max(piece.top, clip.top);
        piece.bottom = Math.min(piece.bottom, clip.bottom);
      }
      if (piece.right - piece.left > 2 && piece.bottom - piece.top > 2) pieces.push(piece);
    }
  }
  const words = (node) => (node.data || node.textContent).trim().replace(/\s+/g, " ").slice(0, 40);
  const wrong = new Set();
  pieces.sort((one, other) => one.top - other.top);
  pieces.forEach((one, index) => {
    for (const other of pieces.slice(index + 1)) {
      if (other.top > one.bottom - 6) break;
      const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const height = Math.min(one.bottom, other.bottom) - other.top;
      if (one.node !== other.node && width > 2 && height > 6)
        wrong.add(`overprinted: ${words(one.node)} | ${words(other.node)}`);
    }
  });
  const clipped = [...scope.querySelectorAll("*")]
    .filter((each) => getComputedStyle(each).overflowX === "hidden" && each.checkVisibility())
    .filter((each) => each.scrollWidth > each.clientWidth + 1 && !each.closest(".press-and-hold") && !unseen(each));
  for (const each of clipped) {
    each.dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
    if (!each.closest("[title]") && !each.querySelector("[title]")) wrong.add(`cut off: ${words(each)}`);
  }
  return [...wrong];
}
