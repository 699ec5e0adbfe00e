// On the audit pages: select all events of a page, say what is missing, copy a link, print.
const form = document.getElementById("mark");
const bar = form?.querySelector("[data-pick]");
const boxes = form ? [...document.querySelectorAll("input[type=checkbox][form=mark]")] : [];

if (bar) {
  const all = bar.querySelector("[data-pick-all]");
  const note = form.querySelector("textarea");
  const others = form.querySelectorAll("input[type=hidden][name=event]").length;
  const refresh = () => {
    const selected = boxes.filter((box) => box.checked).length;
    const any = selected + others > 0;
    bar.querySelector("[data-picked]").textContent = any
      ? `${selected + others} selected`
      : boxes.length
        ? "Select what you want to review"
        : "Nothing on this page needs a review";
    all.checked = boxes.length > 0 && selected === boxes.length;
    all.indeterminate = selected > 0 && !all.checked;
    all.disabled = !boxes.length;
    form.classList.toggle("picked", any);
    for (const button of form.querySelectorAll("button[name=mark]")) {
      const lacksNote = button.value !== "REVIEWED" && !note.value.trim();
      button.disabled = !any || lacksNote;
      button.title = !any ? "Nothing is selected" : lacksNote ? "Add a note first" : "";
    }
  };
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    refresh();
  });
  for (const box of boxes) box.addEventListener("change", refresh);
  note.addEventListener("input", refresh);
  // A page that the browser brings back has its boxes as they were.
  window.addEventListener("pageshow", refresh);
  bar.hidden = false;
  refresh();
}

for (const button of document.querySelectorAll("[data-copy-link]"))
  button.addEventListener("click", async () => {
    const link = new URL(button.dataset.copyLink, location.href).href;
    try {
      await navigator.clipboard.writeText(link);
      button.textContent = "Copied";
    } catch {
      window.prompt("Copy this link", link);
    }
  });

document.querySelector("[data-print]")?.addEventListener("click", () => window.print());
