// A press whose page was closed before its answer came is not forgotten: the next page asks about it.
const dialog = document.getElementById("dialog");
const body = document.getElementById("dialog-body");
const person = document.querySelector("[data-person]").dataset.person;
const PREFIX = "press:";
const ANSWERED_BY = 6000; // ms; an answer is waited for 5 s, by another tab perhaps
const FORGOTTEN_AFTER = 12 * 3600 * 1000; // ms; a session's length
const mine = new Set(); // what this page has sent, or asks about
const flying = new Set(); // of these, whose answer is still to come

const nameOf = (form) => PREFIX + form.elements.key.value;
const isPress = (element) => element?.matches?.("form[data-press]");

function keep(form) {
  const address = new URL(form.action);
  for (const { value } of form.querySelectorAll("[name=reason]")) if (value) address.searchParams.append("reason", value);
  mine.add(nameOf(form));
  flying.add(nameOf(form));
  const press = { at: Date.now(), person, address: address.pathname + address.search };
  localStorage.setItem(nameOf(form), JSON.stringify(press));
}

function forget(name) {
  mine.delete(name);
  localStorage.removeItem(name);
}

// The newest one of this person's that nothing is known of; others' stay for them.
function left() {
  const found = [];
  for (const name of Object.keys(localStorage)) {
    if (!name.startsWith(PREFIX)) continue;
    const press = JSON.parse(localStorage.getItem(name));
    if (Date.now() - press.at > FORGOTTEN_AFTER) forget(name);
    else if (press.person === person && !mine.has(name)) found.push({ name, ...press });
  }
  return found.sort((one, other) => other.at - one.at)[0];
}

function look() {
  const press = left();
  if (!press) return;
  const young = press.at + ANSWERED_BY - Date.now();
  if (young > 0 || dialog.open) setTimeout(look, Math.max(young, 1000));
  else askAbout(press);
}

function askAbout(press) {
  mine.add(press.name);
  const link = document.createElement("a");
  link.dataset.ask = "";
  link.href = press.address;
  document.body.append(link);
  document.body.addEventListener("htmx:afterSwap", () => tell(press), { once: true });
  link.click();
  link.remove();
}

// The question comes back filled, with the key of then: however often it is sent, it is one press.
function tell(press) {
  const form = body.querySelector("form[data-press]");
  if (!form) return;
  form.elements.key.value = press.name.slice(PREFIX.length);
  const block = form.querySelector("[data-no-answer]");
  const at = new Date(press.at).toISOString().slice(11, 19);
  block.querySelector("b").textContent =
    `Your press of ${at} UTC had no answer when its page was closed. It is not known whether it was recorded.`;
  block.hidden = false;
  block.querySelector("button").focus();
}

document.body.addEventListener("htmx:beforeRequest", ({ detail }) => isPress(detail.elt) && keep(detail.elt));
document.body.addEventListener("htmx:afterRequest", ({ detail }) => {
  const form = detail.requestConfig?.elt;
  if (!isPress(form)) return;
  flying.delete(nameOf(form));
  const { status } = detail.xhr;
  if (status && (status < 500 || detail.xhr.getResponseHeader("X-Recorded") === "no")) forget(nameOf(form));
});
// Whoever closes the question has read it.
dialog.addEventListener("close", () => {
  for (const name of [...mine]) if (!flying.has(name)) forget(name);
});

look();
