// Remembers a request whose page was closed before the answer came: the next page asks about it.
const dialog = document.getElementById("dialog");
const body = document.getElementById("dialog-body");
const person = document.querySelector("[data-person]").dataset.person;
const PREFIX = "press:";
const ANSWERED_BY_MS = 6000; // an answer is awaited for 5 s, perhaps by another tab
const RETRY_MS = 1000;
const MAX_AGE_MS = 12 * 3600 * 1000; // an older one is not asked about any more
const ours = new Set(); // sent by this page, or asked about on it
const awaited = new Set(); // of these, the ones without an answer yet

const nameOf = (form) => PREFIX + form.elements.key.value;
const isPress = (element) => element?.matches?.("form[data-press]");

function remember(form) {
  const address = new URL(form.action);
  for (const { value } of form.querySelectorAll("[name=reason]")) if (value) address.searchParams.append("reason", value);
  if (form.elements.hold?.value === "hold") address.searchParams.append("hold", "hold");
  ours.add(nameOf(form));
  awaited.add(nameOf(form));
  const press = { at: Date.now(), person, address: address.pathname + address.search };
  localStorage.setItem(nameOf(form), JSON.stringify(press));
}

function forget(name) {
  ours.delete(name);
  localStorage.removeItem(name);
}

// The newest unanswered request of this person; those of others stay for them.
function newestUnanswered() {
  const presses = [];
  for (const name of Object.keys(localStorage)) {
    if (!name.startsWith(PREFIX)) continue;
    const press = JSON.parse(localStorage.getItem(name));
    if (Date.now() - press.at > MAX_AGE_MS) forget(name);
    else if (press.person === person && !ours.has(name)) presses.push({ name, ...press });
  }
  return presses.sort((a, b) => b.at - a.at)[0];
}

function check() {
  const press = newestUnanswered();
  if (!press) return;
  const waitMs = press.at + ANSWERED_BY_MS - Date.now();
  if (waitMs > 0 || dialog.open) setTimeout(check, Math.max(waitMs, RETRY_MS));
  else openConfirmation(press);
}

function openConfirmation(press) {
  ours.add(press.name);
  const link = document.createElement("a");
  link.dataset.ask = "";
  link.href = press.address;
  document.body.append(link);
  document.body.addEventListener("htmx:afterSwap", () => fill(press), { once: true });
  link.click();
  link.remove();
}

// The confirmation comes back filled, with the old key: however often it is sent, it counts once.
function fill(press) {
  const form = body.querySelector("form[data-press]");
  if (!form) return;
  form.elements.key.value = press.name.slice(PREFIX.length);
  const block = form.querySelector("[data-no-answer]");
  const at = new Date(press.at).toISOString().slice(11, 19);
  block.querySelector("b").textContent =
    `The page was closed before a response to your request of ${at} UTC arrived. It is not known whether the request was recorded.`;
  block.hidden = false;
  block.querySelector("button").focus();
}

document.body.addEventListener("htmx:beforeRequest", ({ detail }) => isPress(detail.elt) && remember(detail.elt));
document.body.addEventListener("htmx:afterRequest", ({ detail }) => {
  const form = detail.requestConfig?.elt;
  if (!isPress(form)) return;
  awaited.delete(nameOf(form));
  const { status, responseText } = detail.xhr;
  // The answer of a proxy, which has no title of ours, does not settle whether it was recorded.
  const isOurs = responseText.includes('id="dialog-title"') && status < 500;
  if (isOurs || status === 401 || detail.xhr.getResponseHeader("X-Recorded") === "no") forget(nameOf(form));
});
// A person who closes the confirmation has read it.
dialog.addEventListener("close", () => {
  for (const name of [...ours]) if (!awaited.has(name)) forget(name);
});

check();
