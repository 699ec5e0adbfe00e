// How fresh the page is: ages, readiness, lost connections, sessions.
const byId = (id) => document.getElementById(id);
const all = (selector) => document.querySelectorAll(selector);
const on = (kind, act) => document.body.addEventListener(kind, act);
const poll = byId("poll");
const root = document.documentElement;
const banner = byId("banner");
const part = (name) => banner.querySelector(`[data-${name}]`);
const header = (xhr, name) => xhr.getResponseHeader(name) || "";
const LOST_AFTER = 3500; // ms without an answer; polls end after 3 s, so nothing waits longer than 5 s
const SOON = 5 * 60 * 1000; // ms before a session's end
const staleAfter = Number(root.dataset.staleAfter) * 1000;
const title = document.title.replace(/^\(\d+\) /, "");
const icon = document.querySelector("link[rel=icon]");
const icons = { calm: icon.href, alarm: icon.dataset.alarm };
let lastGood = Date.now();
let skew = 0; // the server's clock minus this machine's, in ms
let seenAt = Number(root.dataset.seenAt); // the newest look at the EMS
let sessionEnds = 0;
let signIn = ""; // set while the session is over
let failure = ""; // what a press of a small button did not achieve
let tickedAt = Date.now();
let wokeAt = 0; // when this page last went on after a sleep
let alarms = count();
let top = topAlarm();
let movedAt = -Infinity; // when the first alarm last became another
const said = new Map();
const NOT_READY = "Not ready.";
const WORDS = { READY: ["good", "ok"], DEGRADED: ["warn", "half"], NOT_READY: ["bad", "no"], NOT_KNOWN: ["odd", "ask"] };

root.classList.add("js");

function count() {
  return Number(byId("alarms")?.dataset.count || 0);
}

function topAlarm() {
  return byId("alarms")?.dataset.top;
}

function utc(ms) {
  return new Date(ms).toISOString().slice(11, 19);
}

function write(element, text) {
  if (!element) return;
  const node = element.firstChild;
  if (!node) element.append(text);
  else if (node.data !== text) node.data = text;
}

function ago(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

function countAges(now) {
  for (const time of all("time[data-age], .fig time")) {
    // Without a time of its own a figure is as old as the newest look at the EMS.
    const at = time.hasAttribute("datetime") ? Date.parse(time.dateTime) : seenAt;
    if (!at) continue;
    const age = now - at;
    write(time, ago(age));
    time.closest(".fig")?.classList.toggle("stale", age > staleAfter);
  }
  for (const due of all("[data-due]")) {
    const left = (Date.parse(due.dataset.due) - now) / 1000;
    write(due, left > 0.1 ? `in ${left.toFixed(1)} s` : "now");
  }
  for (const end of all("[data-left]")) {
    const left = Math.ceil((Date.parse(end.dataset.left) - now) / 1000);
    write(end, left > 0 ? `${left} s left` : "time is up");
  }
}

function state(now) {
  const silence = Date.now() - lastGood;
  if (signIn)
    return ["bad", "Your session has ended.", `Figures are from ${utc(lastGood + skew)} UTC. Nothing is sent until you sign in again.`, true];
  if (silence > LOST_AFTER && Date.now() - wokeAt < LOST_AFTER)
    return ["warn", `This page was asleep since ${utc(lastGood + skew)} UTC.`, "Figures are from then. The console is being asked now.", true];
  if (silence > LOST_AFTER)
    return ["bad", `No answer from the console since ${utc(lastGood + skew)} UTC.`, "Figures are from then. This page tries again every second.", true];
  if (failure) return ["bad", "That did not go through.", failure, false];
  if (byId("ready-word").dataset.word === "NOT_READY")
    return ["bad", NOT_READY, `${byId("ready-note").textContent} You can press all the same. If no answer comes, cancel by hand.`, false];
  if (sessionEnds && sessionEnds - now < SOON)
    return ["warn", `Your session ends at ${utc(sessionEnds)} UTC.`, "Sign out and in again to go on working without a break.", false];
  return ["", "", "", false];
}

function showWord(word, note) {
  const shown = byId("ready-word");
  const [tone, icon] = WORDS[word] || WORDS.NOT_KNOWN;
  if (shown.dataset.word !== word) {
    shown.dataset.word = word;
    shown.className = `st ${tone}`;
    shown.firstElementChild.className = `i-${icon}`;
    write(shown.lastElementChild, word.replace("_", " "));
  }
  write(byId("ready-note"), note);
}

function showState(now) {
  const [tone, headline, text, lost] = state(now);
  root.classList.toggle("lost", lost);
  if (lost) {
    // What was measured then says nothing about now.
    showWord("NOT_KNOWN", "");
  }
  banner.hidden = !headline;
  banner.className = `banner ${tone}`;
  write(part("banner-title"), headline);
  write(part("banner-text"), text);
  const link = part("banner-link");
  link.hidden = !signIn;
  if (signIn) link.href = signIn;
  const over = signIn && document.querySelector("#dialog-body [data-signed-out]");
  if (over) over.hidden = false;
  const byHand = part("by-hand");
  const useless = lost || headline === NOT_READY;
  if (byHand) byHand.hidden = !useless || Boolean(signIn);
  const inDialog = document.querySelector("[data-dialog-banner]");
  if (inDialog) {
    inDialog.hidden = !useless;
    write(inDialog, lost ? headline : `${headline} ${text}`);
  }
  const gone = tone === "bad" && lost;
  document.title = (gone ? "(!) " : alarms ? `(${alarms}) ` : "") + title;
  const wanted = gone || alarms ? icons.alarm : icons.calm;
  if (icon.href !== wanted) icon.href = wanted;
}

function announce(text, urgent) {
  const open = document.querySelector("dialog[open] [data-dialog-announce]");
  const region = open || byId(urgent ? "alert" : "announce");
  region.textContent = text;
}

function tellNews() {
  const now = count();
  if (now > alarms) announce(document.querySelector("#alarms strong")?.textContent || "A new alarm", true);
  if (now !== alarms || topAlarm() !== top) movedAt = performance.now();
  alarms = now;
  top = topAlarm();
  for (const element of all("[data-say]")) {
    const key = element.closest("[id]").id;
    const text = element.textContent.trim();
    if (said.has(key) && said.get(key) !== text) announce(text, false);
    said.set(key, text);
  }
  const rows = all("#rows tr[data-exchange-id]");
  const bad = all("#rows tr.attn").length;
  const tally = byId("tally");
  tally?.classList.toggle("badc", bad > 0);
  if (rows.length) write(tally, `${rows.length}${bad ? ` · ${bad} need${bad === 1 ? "s" : ""} attention` : ""}`);
}

function readFacts(xhr) {
  skew = Number(header(xhr, "X-Now")) - Date.now();
  seenAt = Number(header(xhr, "X-Seen-At")) || seenAt;
  sessionEnds = Number(header(xhr, "X-Session-Ends"));
  showWord(header(xhr, "X-Ready"), decodeURIComponent(header(xhr, "X-Ready-Note")));
  document.querySelector("[data-session]").hidden = !sessionEnds;
  write(document.querySelector("[data-session-ends]"), utc(sessionEnds));
}

function tick() {
  if (Date.now() - tickedAt > 2000) wokeAt = Date.now();
  tickedAt = Date.now();
  const now = tickedAt + skew;
  countAges(now);
  showState(now);
}

function isPoll(event) {
  return event.detail.elt === poll || event.detail.requestConfig?.elt === poll;
}

// A good answer carries the server's time; a proxy's page or an error must not be swapped in.
on("htmx:beforeSwap", (event) => {
  if (!isPoll(event)) return;
  const { xhr } = event.detail;
  event.detail.shouldSwap = xhr.status === 200 && Boolean(header(xhr, "X-Now"));
});

on("htmx:afterRequest", (event) => {
  if (!isPoll(event)) return;
  const { xhr } = event.detail;
  if ([200, 204].includes(xhr.status) && header(xhr, "X-Now")) {
    lastGood = Date.now();
    signIn = "";
    readFacts(xhr);
    if (xhr.status === 200) tellNews();
  } else if (xhr.status === 401) signIn = header(xhr, "X-Sign-In") || part("banner-link").getAttribute("href");
  tick();
});

// An alarm that has just taken another one's place is not acknowledged by a click meant for that.
document.addEventListener("click", (event) => {
  if (event.target.closest("#alarms button") && performance.now() - movedAt < 600) event.preventDefault();
}, true);

// Small buttons, such as Acknowledge. A press has its own words, in its dialog.
const small = (event) => !isPoll(event) && !event.detail.elt.closest("dialog, [data-press]");
for (const kind of ["htmx:responseError", "htmx:sendError", "htmx:timeout"])
  on(kind, (event) => {
    if (!small(event)) return;
    const status = event.detail.xhr?.status;
    failure = status ? `The console refused it (${status}). Load the page again.` : "The console did not answer. Try again.";
    tick();
  });
on("htmx:afterRequest", (event) => {
  if (small(event) && event.detail.successful) failure = "";
});

const refresh = () => htmx.trigger(document.body, "refresh");
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  tick();
  refresh();
});
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  tick();
  refresh();
});

const strip = document.querySelector("[data-strip]");
strip?.addEventListener("toggle", () => {
  strip.querySelector("input[name=show]").disabled = !strip.open;
  if (strip.open) refresh();
});
const drops = () => all("details.drop[open]");
document.addEventListener("click", (event) => {
  for (const drop of drops()) if (!drop.contains(event.target)) drop.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape")
    for (const drop of drops()) {
      if (drop.contains(document.activeElement)) drop.querySelector("summary").focus();
      drop.open = false;
    }
});

tellNews();
tick();
setInterval(tick, 500);
