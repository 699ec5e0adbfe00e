// Copies an ID or a table. Without permission for the clipboard, the text is selected instead.
const COPIED_MS = 2000;
const region = () => document.querySelector("dialog[open] [data-dialog-announce]") || document.getElementById("announce");
const textOf = (element) => element.innerText.trim();

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

function say(button, words, spoken) {
  const label = button.firstChild;
  button.dataset.label ??= label.data;
  label.data = `${words} `;
  region().textContent = spoken;
  clearTimeout(button.copied);
  button.copied = setTimeout(() => (label.data = button.dataset.label), COPIED_MS);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-table]");
  if (!button) return;
  const table = document.getElementById(button.dataset.copyTable || "");
  const shown = table || button.parentElement.querySelector("code, pre");
  const text = table ? tableText(table) : button.dataset.copy || textOf(shown);
  if (await copy(text)) return say(button, "Copied", "Copied");
  select(shown);
  say(button, "Selected", "Selected. Press Control and C to copy.");
});
