// Filters the rows by name or by attention. Rows keep their order, and hidden ones stay current.
const tools = document.querySelector("[data-filter]");
const search = document.getElementById("filter");
const onlyAttention = document.getElementById("only-attention");
const noMatch = document.getElementById("none-match");
tools.hidden = false;

function apply() {
  const text = search.value.trim().toLowerCase();
  let shown = 0;
  for (const row of document.querySelectorAll("#rows tr[data-exchange-id], #uncovered tr")) {
    const name = row.querySelector("th").textContent.toLowerCase();
    row.hidden = !name.includes(text) || (onlyAttention.checked && !row.classList.contains("attn"));
    shown += !row.hidden;
  }
  noMatch.hidden = shown > 0 || (!text && !onlyAttention.checked);
}

search.addEventListener("input", apply);
onlyAttention.addEventListener("change", apply);
// A row that gets better while the attention filter is on stays until it is ticked again.
document.body.addEventListener("htmx:afterSwap", () => search.value && !onlyAttention.checked && apply());
if (search.value || onlyAttention.checked) apply();
