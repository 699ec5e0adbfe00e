// The confirmation in a dialog: it opens over the page, is sent once, and shows what is known of the
// result. Without dialogs in the browser the links lead to pages that do the same.
import { buttonChanges, buttonsChanged } from "./button-changes.js";

const dialog = document.getElementById("dialog");
const body = document.getElementById("dialog-body");
if (!dialog.showModal) throw new Error("this browser has no dialogs");
const on = (type, listener, capture) => document.addEventListener(type, listener, capture);
const onHtmx = (type, listener) => document.body.addEventListener(type, listener);
const DOUBLE_CLICK_MS = 700;
const DOUBLE_CLICK_PX = 16;
const MAX_REFUSAL_CHARS = 300;
let address = "";
let opener = null;
let sending = null; // the form that waits for its answer
const shelf = document.createElement("div");
const parked = shelf.attachShadow({ mode: "closed" }); // holds that form while another one is open
const postponed = []; // results to show when the dialog is closed
let lastClick = { at: 0, x: 0, y: 0 };

shelf.hidden = true;
dialog.after(shelf);

function show(templateId) {
  buttonsChanged();
  if (body.contains(sending)) parked.append(sending);
  body.replaceChildren(document.getElementById(templateId).content.cloneNode(true));
  if (!dialog.open) dialog.showModal();
  body.querySelector("[data-back]")?.focus();
}

// The script that remembers unanswered requests is loaded when it can be needed.
function rememberUnanswered() {
  if (document.getElementById("pending")) return;
  const script = document.createElement("script");
  script.id = "pending";
  script.type = "module";
  script.src = dialog.dataset.pending;
  document.head.append(script);
}

function open(href) {
  address = href;
  rememberUnanswered();
  htmx.trigger(body, "htmx:abort");
  show("opening");
  htmx.ajax("GET", href, { source: body, target: body, swap: "innerHTML" });
}

// The second half of a double click must not hit a button that has appeared after the first half.
on("click", (event) => {
  if (!event.detail) return; // by keyboard or script, which cannot miss
  const { at, x, y } = lastClick;
  lastClick = { at: performance.now(), x: event.clientX, y: event.clientY };
  const isNear = Math.hypot(x - event.clientX, y - event.clientY) < DOUBLE_CLICK_PX;
  if (!isNear || lastClick.at - at > DOUBLE_CLICK_MS || buttonChanges.at < at) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

on("click", (event) => {
  const link = event.target.closest("a.cut, a.big, a[data-ask]");
  if (link && !event.button && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    if (!dialog.contains(link)) opener = link;
    open(link.href);
  } else if (event.target.closest("[data-reopen]")) open(address);
  else if (event.target.closest("dialog [data-back]")) dialog.close();
});

dialog.addEventListener("close", () => {
  buttonsChanged();
  const next = postponed.shift();
  if (next) return next();
  if (body.contains(sending)) return; // its answer opens the dialog again
  htmx.trigger(body, "htmx:abort");
  body.replaceChildren();
  if (opener?.isConnected) opener.focus();
});

on("keydown", (event) => {
  // A key that is held down must not trigger the element that gets the focus next.
  const isRepeated = event.repeat && (event.key === "Enter" || event.key === " ");
  if (isRepeated && event.target.closest("button, a, summary")) event.preventDefault();
  // Enter in a reason moves to the button without clicking it.
  if (event.key === "Enter" && event.target.matches("form[data-press] input")) {
    event.preventDefault();
    event.target.form.querySelector("[data-go]").focus();
  }
}, true);

// --- the answer ---

// A form that was on the page, or parked, comes into the dialog; a button alone gets a heading there.
function bring(form) {
  if (form.querySelector("h1, h2")) return body.replaceChildren(form);
  show("sent-again");
  const title = body.querySelector("h2");
  title.textContent = form.querySelector("[data-go]").textContent.trim();
  title.after(form);
}

function showBlock(form, name) {
  for (const block of form.querySelectorAll("[data-no-answer], [data-signed-out]")) block.hidden = true;
  const block = form.querySelector(`[data-${name}]`);
  if (!block) return;
  if (!body.contains(form)) bring(form);
  if (!dialog.open && dialog.contains(form)) dialog.showModal();
  buttonsChanged();
  block.hidden = false;
  block.querySelector("button, a")?.focus();
}

function isPress(element) {
  return element.matches?.("form[data-press]");
}

// The result of an earlier request waits until the confirmation that is open now is closed.
function whenFree(form, action) {
  if (dialog.open && !body.contains(form)) postponed.push(action);
  else action();
}

onHtmx("htmx:beforeRequest", (event) => {
  if (!isPress(event.detail.elt)) return;
  sending = event.detail.elt;
  sending.setAttribute("aria-busy", "true");
  showBlock(sending, "none");
});

onHtmx("htmx:beforeSwap", (event) => {
  const { xhr, target, requestConfig } = event.detail;
  if (target !== body) return;
  const form = isPress(requestConfig.elt) ? requestConfig.elt : null;
  if (form && dialog.open && !body.contains(form) && xhr.status < 400) {
    event.detail.shouldSwap = false; // recorded: its row and the latest requests show it
    form.remove();
    return;
  }
  if (xhr.responseText.includes('id="dialog-title"')) {
    // A server error that says what it knows of the record brings the form to send it again.
    if (!form || xhr.status < 500 || xhr.getResponseHeader("X-Recorded")) return;
  }
  event.detail.shouldSwap = false;
  const isRefusal = xhr.status >= 400 && xhr.status < 500;
  if (xhr.status === 401) showSignedOut(xhr.getResponseHeader("X-Sign-In"), form);
  // A proxy may refuse the answer to a request that was recorded.
  else if (isRefusal && form && xhr.getResponseHeader("X-Recorded") === "no") whenFree(form, () => showRefusal(textOf(xhr)));
  else if (isRefusal && !form) showRefusal(textOf(xhr));
  else if (form) whenFree(form, () => showBlock(form, "no-answer"));
  else show("unreachable");
});

function showSignedOut(url, form) {
  if (form) whenFree(form, () => showBlock(form, "signed-out"));
  else showRefusal("Your session has ended. Close this and sign in again.");
  const link = form?.querySelector("[data-sign-in]");
  if (link && url) link.href = url;
}

function textOf(xhr) {
  const isSentence = (xhr.getResponseHeader("Content-Type") || "").startsWith("text/plain") && xhr.responseText.length < MAX_REFUSAL_CHARS;
  return isSentence ? xhr.responseText : `The console or a proxy refused this (error ${xhr.status}). Reload the page and try again.`;
}

function showRefusal(text) {
  show("unreachable");
  body.querySelector("h2").textContent = "No cancel was sent";
  body.querySelector("p").textContent = text;
}

for (const type of ["htmx:sendError", "htmx:timeout", "htmx:sendAbort"])
  onHtmx(type, (event) => {
    const { elt } = event.detail;
    if (isPress(elt)) whenFree(elt, () => showBlock(elt, "no-answer"));
    else if (elt === body && dialog.open && type !== "htmx:sendAbort") show("unreachable");
  });

onHtmx("htmx:afterRequest", (event) => {
  const form = event.detail.requestConfig?.elt;
  if (!form || !isPress(form)) return;
  form.removeAttribute("aria-busy");
  if (sending === form) sending = null;
  // It was sent from the page; what can still be retried comes with the next change.
  if (event.detail.successful && !body.contains(form)) form.remove();
});

body.addEventListener("htmx:afterSwap", (event) => {
  if (event.target !== body) return;
  buttonsChanged();
  if (!dialog.open && isPress(event.detail.requestConfig.elt)) dialog.showModal();
  dialog.scrollTop = 0;
  (body.querySelector("h2[tabindex]") || body.querySelector("[data-back]"))?.focus({ preventScroll: true });
  htmx.trigger(document.body, "refresh");
});

const hasPress = Object.keys(localStorage).some((name) => name.startsWith("press:"));
// Pages with outcomes can have a button that retries without a question.
if (hasPress || document.querySelector(".batch, article[data-request-id]")) rememberUnanswered();
