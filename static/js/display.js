// The menu's choices of theme, local time and shortcuts: applied at once, and kept in a cookie.
// And the whole of a text that is cut off, as its tooltip.
const root = document.documentElement;
const form = document.querySelector("[data-display]");

const keep = (address, body) =>
  fetch(address, { method: "POST", body, headers: { "HX-Request": "true" }, keepalive: true }).catch(() => {});

form?.addEventListener("change", () => {
  const { theme, local_time: local, shortcuts } = form.elements;
  if (theme.value === "system") root.removeAttribute("data-theme");
  else root.dataset.theme = theme.value;
  root.toggleAttribute("data-local-time", local.checked);
  root.toggleAttribute("data-no-shortcuts", !shortcuts.checked);
  document.dispatchEvent(new Event("display"));
  const body = new URLSearchParams(new FormData(form));
  for (const box of [local, shortcuts]) body.set(box.name, box.checked ? "on" : "off");
  keep(form.action, body);
});

const ours = new WeakSet(); // elements whose title is from here
document.addEventListener("mouseover", (event) => {
  for (let each = event.target; each?.parentElement; each = each.parentElement) {
    if (each.title && !ours.has(each)) return;
    if (each.scrollWidth <= each.clientWidth || getComputedStyle(each).textOverflow !== "ellipsis") continue;
    ours.add(each);
    each.title = each.innerText.replace(/\s+/g, " ").trim();
    return;
  }
});

const hint = document.querySelector("[data-hint]");
hint?.addEventListener("submit", (event) => {
  event.preventDefault();
  keep(hint.action, new URLSearchParams(new FormData(hint)));
  hint.remove();
  document.getElementById("main").focus({ preventScroll: true });
});
