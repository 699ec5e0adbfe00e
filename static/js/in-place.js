// What the poller brings is written into the elements that are there, found by id, so that focus,
// selection, open details, typed text and scroll survive.
// These belong to the person or to the page's scripts, not to the server.
const KEPT = new Set(["open", "hidden", "disabled"]);
// Their text is the page's own.
const COUNTED = "time[data-age], .fig time, [data-due], [data-left]";

function matchAttributes(old, fresh) {
  const asks = old.getAttribute("hx-post");
  for (const { name, value } of fresh.attributes)
    if (!KEPT.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes])
    if (!KEPT.has(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  // htmx remembers the address that it first saw, to which the key no longer belongs.
  if (old.getAttribute("hx-post") !== asks) htmx.process(old);
}

function insert(parent, fresh, before) {
  const node = document.importNode(fresh, true);
  parent.insertBefore(node, before);
  if (node.nodeType === Node.ELEMENT_NODE) htmx.process(node);
  return node;
}

// Newer browsers move an element without taking the focus from it.
function move(parent, node, before) {
  if (parent.moveBefore) parent.moveBefore(node, before);
  else parent.insertBefore(node, before);
}

// Lists whose items have ids: an item stays itself when others come and go.
function matchKeyed(old, fresh) {
  const wanted = new Set([...fresh.children].map((each) => each.id));
  for (const each of [...old.children]) if (!wanted.has(each.id)) each.remove();
  let at = old.firstElementChild;
  for (const each of fresh.children) {
    // One that goes down the list is moved itself; those that it passes stay untouched.
    if (at && at.id !== each.id && at.nextElementSibling?.id === each.id) {
      move(old, at, null);
      at = [...old.children].find((one) => one.id === each.id);
    }
    if (at && at.id === each.id) {
      match(at, each);
      at = at.nextElementSibling;
    } else {
      const moved = [...old.children].find((one) => one.id === each.id);
      if (moved) {
        move(old, moved, at);
        match(moved, each);
      } else insert(old, each, at);
    }
  }
}

function matchInOrder(old, fresh) {
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  after.forEach((node, index) => {
    const there = before[index];
    if (!there) insert(old, node, null);
    else if (there.nodeName === node.nodeName && (there.id || "") === (node.id || "")) match(there, node);
    else {
      insert(old, node, there);
      there.remove();
    }
  });
  before.slice(after.length).forEach((node) => node.remove());
}

function match(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  matchAttributes(old, fresh);
  if (old.matches(COUNTED) || old.matches("select, textarea")) return;
  const items = [...fresh.children];
  const keyed = items.length ? items.every((each) => each.id) : [...old.children].every((each) => each.id);
  if (keyed && (items.length || old.children.length)) matchKeyed(old, fresh);
  else matchInOrder(old, fresh);
}

function place(fresh) {
  const old = document.getElementById(fresh.id);
  if ("gone" in fresh.dataset) old?.remove();
  else if (old) match(old, fresh);
  else {
    const list = document.getElementById(fresh.dataset.into);
    if (list) insert(list, fresh, "first" in fresh.dataset ? list.firstChild : null);
  }
}

// Whoever works by keyboard stays near what went away, on nothing that a key could press.
function keepFocus(part) {
  const at = document.activeElement;
  const home = at?.closest("section[id], aside, table, main");
  part();
  if (!at || at === document.body || at.isConnected || !home) return;
  const near = home.isConnected ? home : document.getElementById("main");
  if (!near.hasAttribute("tabindex")) near.tabIndex = -1;
  near.focus({ preventScroll: true });
}

htmx.defineExtension("in-place", {
  handleSwap: (style, target, fragment) => {
    if (style !== "in-place") return false;
    for (const part of fragment.querySelectorAll("template"))
      for (const fresh of [...part.content.children]) keepFocus(() => place(fresh));
    return [];
  },
});
