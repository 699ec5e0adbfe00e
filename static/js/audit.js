// On the audit pages: select all events of a page, show how many are selected, print.
const form = document.getElementById("mark");
const bar = form?.querySelector("[data-pick]");
const boxes = form ? [...document.querySelectorAll("input[type=checkbox][form=mark]")] : [];

if (bar && boxes.length) {
  const all = bar.querySelector("[data-pick-all]");
  const count = () => {
    const selected = boxes.filter((box) => box.checked).length;
    bar.querySelector("[data-picked]").textContent = selected ? `${selected} selected` : "";
    all.checked = selected === boxes.length;
    all.indeterminate = selected > 0 && !all.checked;
  };
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    count();
  });
  for (const box of boxes) box.addEventListener("change", count);
  bar.hidden = false;
  count();
}

document.querySelector("[data-print]")?.addEventListener("click", () => window.print());
