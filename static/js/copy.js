// Copies an ID or a table. Without permission for the clipboard, the text is selected instead.
const COPIED_MS = 2000;
const region = () => document.querySelector("dialog[open] [data-dialog-announce]") || document.getElementById("announce");
const textOf = (element) => element.innerText.trim();
const linesOf = (element) => element.textContent.split("\n").map((line) => line.trim()).filter(Boolean).join("\n");

// As tab-separated lines, which spreadsheets and chats take.
function tableText(table) {
  const lines = [...table.rows].map((row) => [...row.querySelectorAll("[data-field]")].map((field) => field.textContent.trim().replace(/\s+/g, " ")).join("\t"));
  return lines.join("\n");
}

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}

// The older way works where the newer one is refused or missing, as on a page without TLS.
function copyOldWay(text) {
  const onCopy = (event) => {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  };
  document.addEventListener("copy", onCopy, { once: true });
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    document.removeEventListener("copy", onCopy);
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyOldWay(text);
  }
}

// A button without a text of its own shows what was done by its style.
function say(button, words, spoken) {
  region().textContent = spoken;
  clearTimeout(button.copied);
  if (!button.textContent.trim()) {
    button.dataset.done = words.toLowerCase();
    button.copied = setTimeout(() => delete button.dataset.done, COPIED_MS);
    return;
  }
  const label = button.firstChild;
  button.dataset.label ??= label.data;
  label.data = `${words} `;
  button.copied = setTimeout(() => (label.data = button.dataset.label), COPIED_MS);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-table], [data-copy-from]");
  if (!button) return;
  const table = document.getElementById(button.dataset.copyTable || "");
  const lines = document.getElementById(button.dataset.copyFrom || "");
  const shown = table || lines || button.parentElement.querySelector("code, pre");
  const text = table ? tableText(table) : lines ? linesOf(lines) : button.dataset.copy || textOf(shown);
  if (await copy(text)) return say(button, "Copied", "Copied");
  select(shown);
  say(button, "Selected", "Selected. Press Control and C to copy.");
});
