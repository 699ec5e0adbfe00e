// The console's rows: filters them by name, group or attention, and gathers those that are selected.
// Rows keep their order, and hidden ones stay current.
const all = (selector) => [...document.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);
const tools = document.querySelector("[data-filter]");
const search = byId("filter");
const onlyAttention = byId("only-attention");
const noMatch = byId("none-match");
const MAX_LISTED = 500; // exchanges in an address; the console refuses more
// Rows shown since "Needs attention" was ticked: one that gets better stays until it is ticked again.
let kept = new WeakSet();
let group = ""; // the id of the chosen group
tools.hidden = false;

function nameOf(row) {
  return `${row.querySelector("th b").textContent} ${row.dataset.exchangeId}`.toLowerCase();
}

function apply() {
  const text = search.value.trim().toLowerCase();
  const button = group && document.querySelector(`#${group} [data-group]`);
  const members = button && button.dataset.group.split(" ");
  let shown = 0;
  for (const row of all("#rows tr[data-exchange-id]")) {
    const isBad = row.classList.contains("attn") || kept.has(row);
    if (onlyAttention.checked && isBad) kept.add(row);
    const isMember = !members || members.includes(row.id);
    row.hidden = !nameOf(row).includes(text) || !isMember || (onlyAttention.checked && !isBad);
    shown += !row.hidden;
  }
  noMatch.hidden = shown > 0 || (!text && !members && !onlyAttention.checked);
  for (const each of all("#groups [data-group]")) each.setAttribute("aria-pressed", String(each === button));
}

search.addEventListener("input", apply);
onlyAttention.addEventListener("change", () => {
  kept = new WeakSet();
  apply();
});
document.addEventListener("click", (event) => {
  const item = event.target.closest("#groups [data-group]")?.parentElement;
  if (!item) return;
  group = group === item.id ? "" : item.id;
  apply();
});

// --- the selection ---

const form = byId("selection");

function countSelected() {
  const boxes = all("#rows .pick :checked");
  const orders = boxes.map((box) => box.dataset.orders);
  const sum = orders.reduce((total, count) => total + Number(count), 0).toLocaleString("en");
  const hidden = boxes.filter((box) => box.closest("tr").hidden).length;
  const parts = [`${boxes.length} selected`, `${orders.includes("") ? "at least " : ""}${sum} open orders`];
  if (hidden) parts.push(`${hidden} hidden by the filter`);
  if (boxes.length > MAX_LISTED) parts.push(`at most ${MAX_LISTED} at once`);
  form.classList.toggle("some", boxes.length > 0);
  const words = form.querySelector("[data-selected]");
  if (words.textContent !== parts.join(" · ")) words.textContent = parts.join(" · ");
  const link = form.querySelector("[data-cancel-selected]");
  link.href = `${form.action}?${boxes.map((box) => `exchange=${box.value}`).join("&")}`;
  link.hidden = boxes.length === 0 || boxes.length > MAX_LISTED;
  const label = `Cancel all on ${boxes.length} selected`;
  if (link.textContent !== label) link.textContent = label;
}

if (form) {
  document.addEventListener("change", (event) => event.target.closest(".pick") && countSelected());
  form.addEventListener("reset", () => setTimeout(countSelected));
}

// --- the bar with the red button, while the panel is out of sight ---

const bar = byId("kill-bar");
if (bar)
  new IntersectionObserver((entries) => (bar.hidden = entries.at(-1).isIntersecting), {
    rootMargin: `-${document.querySelector("header.top").offsetHeight}px 0px 0px`,
  }).observe(byId("everywhere"));

function update() {
  apply();
  if (form) countSelected();
}

document.body.addEventListener("htmx:afterSwap", update);
window.addEventListener("pageshow", update);
update();
