// The button that is kept pressed for one second, by pointer, touch or key. A tap, a synthetic click or a
// screen reader sends no request; it reveals a second, plain button.
import { buttonsChanged } from "./button-changes.js";

const on = (type, listener) => document.addEventListener(type, listener);
const HOLD_MS = 1000;
document.documentElement.classList.add("js");
let hold = null;

function start(button, device) {
  stop();
  const startedAt = performance.now();
  button.classList.add("holding");
  hold = { button, timer: setTimeout(() => finish(button, device, startedAt), HOLD_MS) };
}

function stop() {
  if (!hold) return false;
  clearTimeout(hold.timer);
  hold.button.classList.remove("holding");
  hold = null;
  return true;
}

function finish(button, device, startedAt) {
  stop();
  if (device !== "space" && device !== "enter") button.dataset.held = ""; // its click is still to come
  const { form } = button;
  form.elements.gesture.value = `held ${Math.round(performance.now() - startedAt)} ms, ${device}`;
  form.requestSubmit();
}

function reveal(button) {
  buttonsChanged();
  const second = button.form.querySelector("[data-second]");
  second.hidden = false;
  const label = second.innerText.trim().replace(/\s+/g, " ");
  button.form.querySelector("[data-press-and-hold-says]").textContent =
    `No cancel has been sent yet. Keep it pressed for one second, or click “${label}”.`;
}

const holdButton = (event) => event.target.closest?.("[data-press-and-hold]");
const isKey = (event) => event.key === "Enter" || event.key === " ";

on("pointerdown", (event) => {
  const button = holdButton(event);
  if (!button || event.button) return;
  if (button.hasPointerCapture(event.pointerId)) button.releasePointerCapture(event.pointerId);
  delete button.dataset.held;
  start(button, event.pointerType || "pointer");
});
for (const type of ["pointerup", "pointercancel"]) on(type, stop);
on("pointerout", (event) => {
  if (hold && !hold.button.contains(event.relatedTarget)) stop();
});
on("contextmenu", (event) => holdButton(event) && event.preventDefault());
on("click", (event) => {
  const button = holdButton(event);
  if (button) {
    event.preventDefault();
    if ("held" in button.dataset) delete button.dataset.held;
    else reveal(button);
  } else if (event.target.closest("[data-second], [data-again]")) {
    const { form, dataset } = event.target.closest("button");
    const { gesture } = form.elements; // starting a Hold records none
    if (gesture) gesture.value = "again" in dataset ? "sent again with the same key" : "second button";
  }
});
on("keydown", (event) => {
  if (event.key === "Escape") stop();
  const button = holdButton(event);
  if (!button || !isKey(event)) return;
  event.preventDefault();
  if (!event.repeat) start(button, event.key === " " ? "space" : "enter");
});
on("keyup", (event) => {
  const button = holdButton(event);
  if (!button || !isKey(event)) return;
  event.preventDefault();
  if (stop()) reveal(button);
});
on("focusout", (event) => holdButton(event) && stop());
window.addEventListener("blur", stop);
on("visibilitychange", stop);
