// Writes what the poller brings into the existing elements, which are found by their ids, so that
// focus, selection, open details, typed text and scroll positions survive.

// Attributes that belong to the person or to the scripts of the page, not to the server.
const LOCAL_ATTRIBUTES = new Set(["open", "hidden", "disabled", "data-local"]);
// Elements with a text that the page counts up or down itself.
const COUNTED =
  "time[data-age], time[data-waited], .fig time, [data-due], [data-left], [data-elapsed], [data-hold-unread], [data-hold-read], [data-held-unread]";

function morphAttributes(old, fresh) {
  const address = old.getAttribute("hx-post");
  for (const { name, value } of fresh.attributes)
    if (!LOCAL_ATTRIBUTES.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes])
    if (!LOCAL_ATTRIBUTES.has(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  // htmx remembers the first address that it saw; the new key belongs to the new one.
  if (old.getAttribute("hx-post") !== address) htmx.process(old);
}

function insert(parent, fresh, before) {
  const node = document.importNode(fresh, true);
  parent.insertBefore(node, before);
  if (node.nodeType === Node.ELEMENT_NODE) htmx.process(node);
}

// Newer browsers move an element without taking the focus from it.
function move(parent, node, before) {
  if (parent.moveBefore) parent.moveBefore(node, before);
  else parent.insertBefore(node, before);
}

// In lists of items with ids, an item stays the same element when others come and go.
function morphKeyed(old, fresh) {
  const ids = new Set([...fresh.children].map((item) => item.id));
  for (const item of [...old.children]) if (!ids.has(item.id)) remove(item);
  const find = (id) => [...old.children].find((item) => item.id === id);
  let at = old.firstElementChild;
  for (const item of fresh.children) {
    // An item that goes down the list is moved itself; those that it passes stay untouched.
    if (at && at.id !== item.id && at.nextElementSibling?.id === item.id) {
      move(old, at, null);
      at = find(item.id);
    }
    if (at && at.id === item.id) {
      morph(at, item);
      at = at.nextElementSibling;
    } else {
      const existing = find(item.id);
      if (existing) {
        move(old, existing, at);
        morph(existing, item);
      } else insert(old, item, at);
    }
  }
}

// Elements with ids stay the same when others without one come and go before them.
function morphInOrder(old, fresh) {
  const left = [...old.childNodes];
  const ids = new Set([...fresh.children].map((item) => item.id).filter(Boolean));
  for (const node of [...fresh.childNodes]) {
    // What stood before an element with an id may be gone; the element itself stays.
    const at = node.id ? left.findIndex((item) => item.id === node.id) : 0;
    if (at > 0) for (const item of left.splice(0, at)) ids.has(item.id) ? left.push(item) : remove(item);
    const existing = left[0];
    if (existing && existing.nodeName === node.nodeName && (existing.id || "") === (node.id || "")) {
      morph(existing, node);
      left.shift();
      continue;
    }
    insert(old, node, existing || null);
    if (existing && !ids.has(existing.id)) remove(left.shift());
  }
  left.forEach(remove);
}

// A form that waits for its answer must stay where its events are heard.
const remove = (node) => node.ariaBusy === "true" || node.remove();

function morph(old, fresh) {
  if (old.ariaBusy === "true") return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.matches("form:is([data-reason], [data-kept])")) return; // what is typed there, and what is wrong with it, stays
  morphAttributes(old, fresh);
  if (old.matches(COUNTED) || old.matches("select, textarea")) return;
  const items = [...fresh.children];
  const haveIds = (items.length ? items : [...old.children]).every((item) => item.id);
  if (haveIds && (items.length || old.children.length)) morphKeyed(old, fresh);
  else morphInOrder(old, fresh);
}

function place(fresh) {
  const old = document.getElementById(fresh.id);
  if ("gone" in fresh.dataset) old?.remove();
  else if (old) morph(old, fresh);
  else {
    const list = document.getElementById(fresh.dataset.into);
    if (list) insert(list, fresh, "first" in fresh.dataset ? list.firstChild : null);
  }
}

// When the focused element goes away, the focus stays near it, on an element that no key triggers.
function keepFocus(change) {
  const focused = document.activeElement;
  const container = focused?.closest("section[id], aside, table, main");
  change();
  if (!focused || focused === document.body || focused.isConnected || !container) return;
  const near = container.isConnected ? container : document.getElementById("main");
  if (!near.hasAttribute("tabindex")) near.tabIndex = -1;
  near.focus({ preventScroll: true });
}

htmx.defineExtension("morph", {
  handleSwap: (style, target, fragment) => {
    if (style !== "morph") return false;
    for (const template of fragment.querySelectorAll("template"))
      for (const fresh of [...template.content.children]) keepFocus(() => place(fresh));
    return [];
  },
});
