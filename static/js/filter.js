// Filters the rows by typing. Rows stay where they are; figures go on changing in hidden ones too.
const box = document.querySelector("[data-filter]");
const words = document.getElementById("filter");
const only = document.getElementById("only-attention");
const none = document.getElementById("none-match");
box.hidden = false;

function apply() {
  const wanted = words.value.trim().toLowerCase();
  let shown = 0;
  for (const row of document.querySelectorAll("#rows tr[data-exchange-id], #uncovered tr")) {
    const name = row.querySelector("th").textContent.toLowerCase();
    row.hidden = !name.includes(wanted) || (only.checked && !row.classList.contains("attn"));
    shown += !row.hidden;
  }
  none.hidden = shown > 0 || (!wanted && !only.checked);
}

words.addEventListener("input", apply);
only.addEventListener("change", apply);
// The attention filter holds what it shows: a row that gets better leaves only when asked again.
document.body.addEventListener("htmx:afterSwap", () => words.value && !only.checked && apply());
if (words.value || only.checked) apply();
