// Shortcuts that move the focus or open a page. None of them sends anything.
const SEQUENCE_MS = 1500;
const PAGES = { c: ["/"], r: ["/requests/"], a: ["/audit/", "/alarms/"], h: ["/help/"] };
const legend = document.getElementById("shortcuts");
let startedAt = -Infinity; // when "g" was typed

function openPage(key) {
  for (const path of PAGES[key] || []) {
    const link = document.querySelector(`.top a[href="${path}"]`);
    if (link) return location.assign(link.href);
  }
}

function cancelOfRow() {
  const row = document.activeElement.closest("#rows tr") || document.querySelector("#rows tr:not([hidden])");
  return row?.querySelector("a.cut");
}

const FOCUS = {
  "/": () => document.querySelector("#filter, main input[type=search]"),
  k: () => document.getElementById("cut-all"),
  c: cancelOfRow,
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  const isTyping = target.isContentEditable || target.matches("input, select, textarea");
  const isOff = "noShortcuts" in document.documentElement.dataset;
  if (isOff || isTyping || event.repeat || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const follows = performance.now() - startedAt < SEQUENCE_MS;
  startedAt = -Infinity;
  if (follows) return openPage(key);
  if (key === "g") startedAt = performance.now();
  else if (key === "?") legend.showModal?.();
  const element = Object.hasOwn(FOCUS, key) && FOCUS[key]();
  if (!element) return;
  event.preventDefault(); // the key is not typed into the filter
  element.focus();
});

document.querySelector("[data-legend]")?.addEventListener("click", () => legend.showModal?.());
