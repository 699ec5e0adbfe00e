// Small comforts of the evidence pages: tick all on a page, say how many are ticked, print.
const form = document.getElementById("mark");
const bar = form?.querySelector("[data-pick]");
const boxes = form ? [...document.querySelectorAll("input[type=checkbox][form=mark]")] : [];

if (bar && boxes.length) {
  const all = bar.querySelector("[data-pick-all]");
  const count = () => {
    const ticked = boxes.filter((box) => box.checked).length;
    bar.querySelector("[data-picked]").textContent = ticked ? `${ticked} ticked` : "";
    all.checked = ticked === boxes.length;
    all.indeterminate = ticked > 0 && !all.checked;
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
