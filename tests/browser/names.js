// What a screen reader needs: names for what can be used, one of each id, headings, a language.
() => {
  const wrong = [];
  const seen = new Set();
  for (const { id } of document.querySelectorAll("[id]")) {
    if (seen.has(id)) wrong.push(`id twice: ${id}`);
    seen.add(id);
  }
  for (const each of document.querySelectorAll("a, button, summary"))
    if (!each.textContent.trim() && !each.ariaLabel) wrong.push(`no name: ${each.outerHTML.slice(0, 90)}`);
  for (const each of document.querySelectorAll("input:not([type=hidden], [hidden]), select, textarea"))
    if (!each.labels.length && !each.ariaLabel) wrong.push(`no label: ${each.outerHTML.slice(0, 90)}`);
  for (const name of ["aria-labelledby", "aria-describedby", "for"])
    for (const each of document.querySelectorAll(`[${name}]`))
      if (!document.getElementById(each.getAttribute(name)) && each.checkVisibility())
        wrong.push(`${name} leads nowhere: ${each.getAttribute(name)}`);
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
  if (document.querySelectorAll("main").length !== 1) wrong.push("not one main");
  if (!document.documentElement.lang) wrong.push("no language");
  return wrong;
}
