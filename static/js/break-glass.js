// Follows a break-glass cancel: says when it is not updated any more, and tells screen readers what has
// changed. Its part is replaced every second, so its own alerts would be read out again each time.
const ID = "break-glass-press";
const LOST_AFTER_MS = 3500;
const on = (type, listener) => document.body.addEventListener(type, listener);
const isPoll = (event) => event.detail.requestConfig?.elt.id === ID;
const hasPress = (xhr) => xhr.status < 400 && xhr.responseText.includes(`id="${ID}"`);
const styles = new URL("../css/break-glass.css", import.meta.url).href;
let updatedAt = performance.now();
let announced = [];

if (![...document.querySelectorAll("link")].some((link) => link.href === styles)) {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = styles;
  document.head.append(link);
}

function showIfLost() {
  const notice = document.querySelector(`#${ID} [data-not-updated]`);
  if (notice && performance.now() - updatedAt > LOST_AFTER_MS) notice.hidden = false;
}

function announce() {
  const parts = document.querySelectorAll(`#${ID} :is(.summary, .notice:not([hidden]) b)`);
  const texts = [...parts].map((part) => part.textContent.replace(/\s+/g, " ").trim());
  const changes = texts.filter((text) => !announced.includes(text));
  const region = document.querySelector("dialog[open] [data-dialog-announce]") || document.getElementById("announce");
  if (announced.length && changes.length) region.textContent = changes.join(" ");
  announced = texts;
}

// What another process or a proxy answers does not replace the press; that the session has ended does.
on("htmx:beforeSwap", (event) => {
  if (!isPoll(event)) return;
  const { xhr } = event.detail;
  const isSessionOver = xhr.status === 403 && xhr.responseText.includes('id="dialog-title"');
  event.detail.shouldSwap = hasPress(xhr) || isSessionOver;
});
on("htmx:afterRequest", (event) => {
  if (event.detail.xhr && hasPress(event.detail.xhr)) updatedAt = performance.now();
  else if (isPoll(event)) showIfLost();
});
on("htmx:afterSwap", announce);
document.addEventListener("click", ({ target }) => target.closest("[data-print]") && window.print());
announce(); // what is on the page when it opens is where it starts
