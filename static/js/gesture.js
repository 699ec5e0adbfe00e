// A question in a dialog, one press, and the truth about a press without an answer.
const dialog = document.getElementById("dialog");
const body = document.getElementById("dialog-body");
if (!dialog.showModal) throw new Error("no dialogs: the links lead to pages that do the same");
const on = (kind, act, capture) => document.addEventListener(kind, act, capture);
const onHtmx = (kind, act) => document.body.addEventListener(kind, act);
const HOLD = 1000; // ms
let address = "";
let opener = null;
let flying = null; // the form whose press is on its way
const shelf = document.createElement("div");
const parked = shelf.attachShadow({ mode: "closed" }); // keeps it while another question is asked
const later = []; // what became of it, told when that question is closed
let changedAt = 0; // when other buttons last came under the pointer
let clicked = { at: 0, x: 0, y: 0 };

shelf.hidden = true;
dialog.after(shelf);

const changed = () => (changedAt = performance.now());

function show(id) {
  changed();
  if (body.contains(flying)) parked.append(flying);
  body.replaceChildren(document.getElementById(id).content.cloneNode(true));
  if (!dialog.open) dialog.showModal();
  body.querySelector("[data-back]")?.focus();
}

// What keeps presses in mind comes with the first question, or with a press that has no answer yet.
function remember() {
  if (document.getElementById("pending")) return;
  const script = document.createElement("script");
  script.id = "pending";
  script.type = "module";
  script.src = dialog.dataset.pending;
  document.head.append(script);
}

function ask(href) {
  address = href;
  remember();
  htmx.trigger(body, "htmx:abort");
  show("opening");
  htmx.ajax("GET", href, { source: body, target: body, swap: "innerHTML" });
}

// The second half of a double click is no decision about what has appeared under it meanwhile.
on("click", (event) => {
  if (!event.detail) return; // by key or by a machine, which aims
  const { at, x, y } = clicked;
  clicked = { at: performance.now(), x: event.clientX, y: event.clientY };
  const near = Math.hypot(x - event.clientX, y - event.clientY) < 16;
  if (!near || clicked.at - at > 700 || changedAt < at) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

on("click", (event) => {
  const link = event.target.closest("a.cut, a.big, a[data-ask]");
  if (link && !event.button && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    if (!dialog.contains(link)) opener = link;
    ask(link.href);
  } else if (event.target.closest("[data-reopen]")) ask(address);
  else if (event.target.closest("dialog [data-back]")) dialog.close();
});

dialog.addEventListener("close", () => {
  changed();
  const next = later.shift();
  if (next) return next();
  if (body.contains(flying)) return; // its answer opens the dialog again
  htmx.trigger(body, "htmx:abort");
  body.replaceChildren();
  if (opener?.isConnected) opener.focus();
});

// A key that is held down must not press whatever has the focus next.
on("keydown", (event) => {
  const held = event.repeat && (event.key === "Enter" || event.key === " ");
  if (held && event.target.closest("button, a, summary")) event.preventDefault();
  // Enter in a reason leads to the button; it does not press it.
  if (event.key === "Enter" && event.target.matches("form[data-press] input")) {
    event.preventDefault();
    event.target.form.querySelector("[data-go]").focus();
  }
}, true);

// --- what came back ---

function tell(form, name) {
  for (const each of form.querySelectorAll("[data-no-answer], [data-signed-out]")) each.hidden = true;
  const block = form.querySelector(`[data-${name}]`);
  if (!block) return;
  if (!body.contains(form)) body.replaceChildren(form);
  if (!dialog.open && dialog.contains(form)) dialog.showModal();
  changed();
  block.hidden = false;
  block.querySelector("button, a")?.focus();
}

function isPress(element) {
  return element.matches?.("form[data-press]");
}

// A question that a person reads is not taken away by what became of an earlier press.
function afterwards(form, act) {
  if (dialog.open && parked.contains(form)) later.push(act);
  else act();
}

onHtmx("htmx:beforeRequest", (event) => {
  if (!isPress(event.detail.elt)) return;
  flying = event.detail.elt;
  flying.setAttribute("aria-busy", "true");
  tell(flying, "nothing");
});

onHtmx("htmx:beforeSwap", (event) => {
  const { xhr, target, requestConfig } = event.detail;
  if (target !== body) return;
  const form = isPress(requestConfig.elt) ? requestConfig.elt : null;
  if (form && dialog.open && parked.contains(form) && xhr.status < 400) {
    event.detail.shouldSwap = false; // recorded: its row and the latest requests show it
    form.remove();
    return;
  }
  if (xhr.responseText.includes('id="dialog-title"')) {
    // Only an answer that says so proves that a press was not recorded.
    const certain = xhr.status < 500 || xhr.getResponseHeader("X-Recorded") === "no";
    if (!form || certain) return;
  }
  event.detail.shouldSwap = false;
  if (xhr.status === 401) signedOut(xhr.getResponseHeader("X-Sign-In"), form);
  else if (form && xhr.status >= 400 && xhr.status < 500) afterwards(form, () => refused(xhr.responseText));
  else if (form) afterwards(form, () => tell(form, "no-answer"));
  else if (xhr.status >= 400 && xhr.status < 500) refused(xhr.responseText);
  else show("unreachable");
});

function signedOut(url, form) {
  if (form) afterwards(form, () => tell(form, "signed-out"));
  else refused("Your session has ended.");
  const link = form?.querySelector("[data-sign-in]");
  if (link && url) link.href = url;
}

function refused(text) {
  show("unreachable");
  body.querySelector("h2").textContent = "Nothing was sent";
  body.querySelector("p").textContent = text.length < 300 ? text : "The console refused it.";
}

for (const kind of ["htmx:sendError", "htmx:timeout", "htmx:sendAbort"])
  onHtmx(kind, (event) => {
    const { elt } = event.detail;
    if (isPress(elt)) afterwards(elt, () => tell(elt, "no-answer"));
    else if (elt === body && dialog.open && kind !== "htmx:sendAbort") show("unreachable");
  });

onHtmx("htmx:afterRequest", (event) => {
  const form = event.detail.requestConfig?.elt;
  if (!form || !isPress(form)) return;
  form.removeAttribute("aria-busy");
  if (flying === form) flying = null;
});

body.addEventListener("htmx:afterSwap", (event) => {
  if (event.target !== body) return;
  changed();
  if (!dialog.open && isPress(event.detail.requestConfig.elt)) dialog.showModal();
  dialog.scrollTop = 0;
  (body.querySelector("h2[tabindex]") || body.querySelector("[data-back]"))?.focus({ preventScroll: true });
  htmx.trigger(document.body, "refresh");
});

// --- press and hold ---

let holding = null;

function start(button, how) {
  stop();
  const began = performance.now();
  button.classList.add("holding");
  holding = { button, timer: setTimeout(() => finish(button, how, began), HOLD) };
}

function stop() {
  if (!holding) return false;
  clearTimeout(holding.timer);
  holding.button.classList.remove("holding");
  holding = null;
  return true;
}

function finish(button, how, began) {
  stop();
  if (how !== "space" && how !== "enter") button.dataset.held = ""; // its click is still to come
  send(button.form, `held ${Math.round(performance.now() - began)} ms, ${how}`);
}

function send(form, gesture) {
  form.elements.gesture.value = gesture;
  form.requestSubmit();
}

// A tap, a synthetic click or a screen reader: nothing is sent, a plain button appears.
function reveal(button) {
  changed();
  button.form.querySelector("[data-second]").hidden = false;
  button.form.querySelector("[data-hold-says]").textContent =
    "Nothing was sent yet. Hold for one second, or press: Yes, cancel everywhere.";
}

const held = (event) => event.target.closest?.("[data-hold]");
const isKey = (event) => event.key === "Enter" || event.key === " ";

on("pointerdown", (event) => {
  const button = held(event);
  if (!button || event.button) return;
  if (button.hasPointerCapture(event.pointerId)) button.releasePointerCapture(event.pointerId);
  delete button.dataset.held;
  start(button, event.pointerType || "pointer");
});
for (const kind of ["pointerup", "pointercancel"]) on(kind, stop);
on("pointerout", (event) => {
  if (holding && !holding.button.contains(event.relatedTarget)) stop();
});
on("contextmenu", (event) => held(event) && event.preventDefault());
on("click", (event) => {
  const button = held(event);
  if (button) {
    event.preventDefault();
    if ("held" in button.dataset) delete button.dataset.held;
    else reveal(button);
  } else if (event.target.closest("[data-second], [data-again]")) {
    const { form, dataset } = event.target.closest("button");
    form.elements.gesture.value = "again" in dataset ? "asked again with the same key" : "second button";
  }
});
on("keydown", (event) => {
  if (event.key === "Escape") stop();
  const button = held(event);
  if (!button || !isKey(event)) return;
  event.preventDefault();
  if (!event.repeat) start(button, event.key === " " ? "space" : "enter");
});
on("keyup", (event) => {
  const button = held(event);
  if (!button || !isKey(event)) return;
  event.preventDefault();
  if (stop()) reveal(button);
});
on("focusout", (event) => held(event) && stop());
window.addEventListener("blur", stop);
on("visibilitychange", stop);

if (Object.keys(localStorage).some((name) => name.startsWith("press:"))) remember();
