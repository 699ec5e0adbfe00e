// Saves a reason without leaving the page or the dialog. A failure is shown next to the fields, and
// what was typed stays.
const on = (type, listener) => document.body.addEventListener(type, listener);
const MAX_SENTENCE_CHARS = 300;
const isReason = (element) => element?.matches?.("form[data-reason]");

function show(form, text) {
  const error = form.querySelector("[data-reason-error]");
  error.textContent = text;
  error.hidden = false;
}

on("htmx:beforeRequest", (event) => {
  if (isReason(event.detail.elt)) show(event.detail.elt, "");
});
// Only our own part is shown in place of the form; a proxy's page or an error is not.
on("htmx:beforeSwap", (event) => {
  const { xhr, requestConfig } = event.detail;
  if (isReason(requestConfig.elt)) event.detail.shouldSwap = xhr.status === 200 && xhr.responseText.includes('reason"');
});
for (const type of ["htmx:responseError", "htmx:sendError", "htmx:timeout"])
  on(type, (event) => {
    const { elt, xhr } = event.detail;
    if (!isReason(elt)) return;
    const isSentence = (xhr?.getResponseHeader("Content-Type") || "").startsWith("text/plain") && xhr.responseText.length < MAX_SENTENCE_CHARS;
    show(elt, isSentence ? xhr.responseText : "No response from the console: the reason may not have been saved. Try again.");
  });
