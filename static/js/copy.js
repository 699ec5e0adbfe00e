// Copies the text of the element that a button names, one line for each of its lines.
const DONE_MS = 2000;

async function copy(button) {
  const element = document.getElementById(button.dataset.copy);
  const lines = element.textContent.split("\n").map((line) => line.trim());
  let done = "copied";
  try {
    await navigator.clipboard.writeText(lines.filter(Boolean).join("\n"));
  } catch {
    // Without TLS there is no clipboard: the text is selected, for the keys that copy.
    getSelection().selectAllChildren(element);
    done = "selected";
  }
  button.dataset.done = done;
  document.getElementById("announce").textContent = done === "copied" ? "Copied" : "Selected. Press Ctrl+C.";
  setTimeout(() => delete button.dataset.done, DONE_MS);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});
