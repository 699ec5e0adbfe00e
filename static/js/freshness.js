// Keeps the page honest about its age: ages of figures, readiness, lost connections, ended sessions.
import { countHolds } from "./holds.js";

const byId = (id) => document.getElementById(id);
const all = (selector) => document.querySelectorAll(selector);
const on = (type, listener) => document.body.addEventListener(type, listener);
const poll = byId("poll");
const root = document.documentElement;
const banner = byId("banner");
const bannerPart = (name) => banner.querySelector(`[data-${name}]`);
const header = (xhr, name) => xhr.getResponseHeader(name) || "";
const LOST_AFTER_MS = 3500; // polls end after 3 s, so a lost connection shows within 5 s
const SESSION_WARNING_MS = 5 * 60 * 1000;
const TICK_MS = 500;
const MAX_CLOCK_SKEW_MS = 5000; // with the time that an answer of the server may take
const ASLEEP_AFTER_MS = 2000;
const ALARM_GUARD_MS = 600;
const UNUSED_CLICK = ["That click acknowledged nothing.", "The alarm under it had just changed. Check it, then click again."];
const UNUSED_CLICK_SHOWN_MS = 5000;
const MAX_REFUSAL_CHARS = 300;
const staleAfterMs = Number(root.dataset.staleAfter) * 1000;
const title = document.title.replace(/^\(\d+\) /, "");
const icon = document.querySelector("link[rel=icon]");
const icons = { calm: icon.href, alarm: icon.dataset.alarm };
const NOT_READY = "Not ready.";
const BREAK_GLASS_RUNS = "A cancel that was sent without the log is still running.";
const BADGES = { READY: ["good", "ok"], DEGRADED: ["warn", "half"], NOT_READY: ["bad", "no"], NOT_KNOWN: ["odd", "ask"] };
let answeredAt = Date.now();
let skewMs = 0; // the server's clock minus this machine's
let observedAt = Number(root.dataset.seenAt); // of the newest list of open orders
let sessionEndsAt = 0;
let signInUrl = ""; // set while the session is over
let pollRefusal = ""; // why the console or a proxy refuses the polls
let breakGlassCount = 0; // cancels of the server that still run and are not in the log yet
let isDatabaseGone = false; // as the console itself says
let failure = ""; // why a small button, such as Acknowledge, failed
let tickedAt = Date.now();
let wokeAt = 0; // when this page last continued after a sleep
let alarmCount = countAlarms();
let shownAlarms = alarmsOnScreen();
let alarmsChangedAt = -Infinity;
let unusedClickAt = -Infinity; // on an alarm that had just changed
const announced = new Map();

root.classList.add("js");

function countAlarms() {
  return Number(byId("alarms")?.dataset.count || 0);
}

// Which alarms the buttons are for: the one in the line, and those in the list.
function alarmsOnScreen() {
  return [byId("alarms")?.dataset.top, ...[...all("#alarm-list li")].map((item) => item.id)].join();
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
  if (ms < -MAX_CLOCK_SKEW_MS) return "age unknown"; // the time is in the future: clocks differ
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

function countAges(now) {
  for (const time of all("time[data-age], .fig time")) {
    // A figure without a time of its own is as old as the newest list of open orders.
    const at = time.hasAttribute("datetime") ? Date.parse(time.dateTime) : observedAt;
    if (!at) continue;
    const age = now - at;
    write(time, ago(age));
    time.closest(".fig")?.classList.toggle("stale", age > staleAfterMs || age < -MAX_CLOCK_SKEW_MS);
  }
  for (const time of all("time[data-waited]")) write(time, ago(now - Date.parse(time.dateTime)).replace(" ago", ""));
  for (const due of all("[data-due]")) {
    const seconds = (Date.parse(due.dataset.due) - now) / 1000;
    write(due, seconds > 0.1 ? `in ${seconds.toFixed(1)} s` : "now");
  }
  for (const end of all("[data-left]")) {
    const seconds = Math.ceil((Date.parse(end.dataset.left) - now) / 1000);
    write(end, seconds > 0 ? `${seconds} s left` : "time is up");
  }
}

// Tone, headline and text of the banner, and whether the figures are no longer current.
function bannerState(now) {
  const silence = Date.now() - answeredAt;
  const last = utc(answeredAt + skewMs);
  if (signInUrl)
    return ["bad", "Your session has ended.", `Figures are as of ${last} UTC. You cannot send a cancel until you sign in again. Cancels already requested continue.`, true];
  if (silence > LOST_AFTER_MS && Date.now() - wokeAt < LOST_AFTER_MS)
    return ["warn", `This page has been asleep since ${last} UTC.`, "Figures are at least that old. Updating now.", true];
  if (silence > LOST_AFTER_MS && isDatabaseGone)
    return ["bad", `The database has been unavailable since ${last} UTC.`, `Figures are at least that old.${bannerPart("break-glass") ? " You can still cancel: every button offers to send it without the log." : ""}`, true];
  if (silence > LOST_AFTER_MS && pollRefusal)
    return ["bad", `This page has not been updated since ${last} UTC.`, `${pollRefusal} Figures are at least that old. Retrying every second.`, true];
  if (silence > LOST_AFTER_MS)
    return ["bad", `No response from the console since ${last} UTC.`, "Figures are at least that old. Retrying every second.", true];
  if (performance.now() - unusedClickAt < UNUSED_CLICK_SHOWN_MS) return ["warn", ...UNUSED_CLICK, false];
  if (failure) return ["bad", "Your last action may not have gone through.", failure, false];
  if (byId("ready-word").dataset.word === "NOT_READY")
    return ["bad", NOT_READY, `${byId("ready-note").textContent.replace(NOT_READY, "").trim()} A cancel will probably fail. You can still try; if it is not confirmed, cancel manually.`, false];
  if (breakGlassCount)
    return ["warn", BREAK_GLASS_RUNS, "It is added to the requests when it has ended.", false];
  if (sessionEndsAt && sessionEndsAt - now < SESSION_WARNING_MS)
    return ["warn", `Your session ends at ${utc(sessionEndsAt)} UTC.`, "Sign out and in again to continue without interruption.", false];
  return ["", "", "", false];
}

function showReadiness(word, note) {
  const badge = byId("ready-word");
  const [tone, icon] = BADGES[word] || BADGES.NOT_KNOWN;
  if (badge.dataset.word !== word) {
    badge.dataset.word = word;
    badge.className = `st ${tone}`;
    badge.firstElementChild.className = `i-${icon}`;
    write(badge.lastElementChild, word.replace("_", " "));
  }
  write(byId("ready-note"), note);
}

function showBanner(now) {
  const [tone, headline, text, isLost] = bannerState(now);
  root.classList.toggle("lost", isLost);
  if (isLost) showReadiness("NOT_KNOWN", "");
  banner.hidden = !headline;
  banner.className = `banner ${tone}`;
  write(bannerPart("banner-title"), headline);
  write(bannerPart("banner-text"), text);
  const link = bannerPart("banner-link");
  link.hidden = !signInUrl;
  if (signInUrl) link.href = signInUrl;
  const signedOut = signInUrl && document.querySelector("#dialog-body [data-signed-out]");
  if (signedOut) signedOut.hidden = false;
  const cannotCancel = isLost || headline === NOT_READY;
  const breakGlass = bannerPart("break-glass");
  if (breakGlass) breakGlass.hidden = !(isLost && isDatabaseGone);
  const sent = bannerPart("break-glass-sent");
  if (sent) sent.hidden = breakGlass.hidden && headline !== BREAK_GLASS_RUNS;
  const manual = bannerPart("by-hand");
  if (manual) manual.hidden = !cannotCancel || Boolean(signInUrl);
  const dialogBanner = document.querySelector("[data-dialog-banner]");
  // It moves what is below it: not while a finger is on a button there.
  if (dialogBanner && !dialogBanner.parentElement.querySelector(".holding")) {
    dialogBanner.hidden = !cannotCancel;
    write(dialogBanner, isLost ? headline : `${headline} ${text}`);
  }
  const isUrgent = tone === "bad" && isLost;
  document.title = (isUrgent ? "(!) " : alarmCount ? `(${alarmCount}) ` : "") + title;
  const href = isUrgent || alarmCount ? icons.alarm : icons.calm;
  if (icon.href !== href) icon.href = href;
}

function announce(text, isUrgent) {
  const inDialog = document.querySelector("dialog[open] [data-dialog-announce]");
  const region = inDialog || byId(isUrgent ? "alert" : "announce");
  region.textContent = text;
}

// Tells screen readers what has changed, and counts the rows that need attention.
function announceChanges() {
  const count = countAlarms();
  if (count > alarmCount) announce(document.querySelector("#alarms .alarm-text")?.textContent.replace(/\s+/g, " ").trim() || "A new alarm", true);
  if (alarmsOnScreen() !== shownAlarms) alarmsChangedAt = performance.now();
  alarmCount = count;
  shownAlarms = alarmsOnScreen();
  for (const element of all("[data-say]")) {
    const key = element.closest("[id]").id;
    const text = element.textContent.trim();
    if (announced.has(key) && announced.get(key) !== text) announce(text, false);
    announced.set(key, text);
  }
  const rows = all("#rows tr[data-exchange-id]").length;
  const bad = all("#rows tr.attn").length;
  const tally = byId("tally");
  tally?.classList.toggle("badc", bad > 0);
  if (rows) write(tally, `${rows}${bad ? ` · ${bad} need${bad === 1 ? "s" : ""} attention` : ""}`);
}

function readHeaders(xhr) {
  skewMs = Number(header(xhr, "X-Now")) - Date.now();
  observedAt = Number(header(xhr, "X-Seen-At")) || observedAt;
  breakGlassCount = Number(header(xhr, "X-Break-Glass"));
  sessionEndsAt = Number(header(xhr, "X-Session-Ends"));
  showReadiness(header(xhr, "X-Ready"), decodeURIComponent(header(xhr, "X-Ready-Note")));
  document.querySelector("[data-session]").hidden = !sessionEndsAt;
  write(document.querySelector("[data-session-ends]"), utc(sessionEndsAt));
}

function tick() {
  if (Date.now() - tickedAt > ASLEEP_AFTER_MS) wokeAt = Date.now();
  tickedAt = Date.now();
  const now = tickedAt + skewMs;
  countAges(now);
  countHolds(now, { ago, write });
  showBanner(now);
}

function isPoll(event) {
  return event.detail.elt === poll || event.detail.requestConfig?.elt === poll;
}

// An answer of ours carries the server's time; a proxy's page or an error is not swapped in. Neither
// is an answer without a part that has appeared since, such as the dialog after a cancel: its newer
// revision would hide what that part has missed. The next poll asks for the same again.
on("htmx:beforeSwap", (event) => {
  if (!isPoll(event)) return;
  const { xhr, requestConfig } = event.detail;
  const parts = requestConfig.formData.getAll("show");
  const isComplete = [...all("[name=show]:enabled")].every((part) => parts.includes(part.value));
  event.detail.shouldSwap = xhr.status === 200 && Boolean(header(xhr, "X-Now")) && isComplete;
});

on("htmx:afterRequest", (event) => {
  if (!isPoll(event)) return;
  const { xhr } = event.detail;
  if ([200, 204].includes(xhr.status) && header(xhr, "X-Now")) {
    answeredAt = Date.now();
    signInUrl = pollRefusal = "";
    isDatabaseGone = false;
    readHeaders(xhr);
    if (xhr.status === 200) announceChanges();
  } else if (xhr.status === 401) signInUrl = header(xhr, "X-Sign-In") || bannerPart("banner-link").getAttribute("href");
  else {
    isDatabaseGone = xhr.status === 503 && xhr.responseText.includes('id="dialog-title"');
    pollRefusal = xhr.status >= 400 && xhr.status < 500 ? refusalText(xhr) : "";
  }
  tick();
});

// What a break-glass cancel needs is loaded with its question.
on("htmx:afterSwap", () => {
  if (document.querySelector(".breaking, #break-glass-press")) import("./break-glass.js");
});

// A click meant for one alarm does not acknowledge another that has just replaced it, and says so.
document.addEventListener("click", (event) => {
  if (!event.target.closest(":is(#alarms, #alarm-list) button:not([type=button])")) return;
  unusedClickAt = -Infinity;
  if (performance.now() - alarmsChangedAt < ALARM_GUARD_MS) {
    event.preventDefault();
    unusedClickAt = performance.now();
    announce(UNUSED_CLICK.join(" "), true);
  }
  tick();
}, true);

// Small buttons, such as Acknowledge. A cancel reports its own failure, in its dialog.
const isSmallButton = (event) => !isPoll(event) && !event.detail.elt.closest("dialog, [data-press]");
function refusalText(xhr) {
  if (!xhr?.status) return "The console did not respond. Try again.";
  const isSentence = header(xhr, "Content-Type").startsWith("text/plain") && xhr.responseText.length < MAX_REFUSAL_CHARS;
  if (isSentence) return xhr.responseText;
  // A part of ours that is meant for the dialog has a title and a sentence.
  const part = new DOMParser().parseFromString(xhr.responseText, "text/html");
  const texts = [...part.querySelectorAll("#dialog-title, #dialog-title ~ [role=alert]")];
  const words = texts.map((element) => element.textContent.replace(/\s+/g, " ").trim());
  return words.join(". ") || `The console or a proxy refused this (error ${xhr.status}). Reload the page and try again.`;
}
for (const type of ["htmx:responseError", "htmx:sendError", "htmx:timeout"])
  on(type, (event) => {
    if (!isSmallButton(event)) return;
    failure = refusalText(event.detail.xhr);
    tick();
  });
on("htmx:afterRequest", (event) => {
  if (isSmallButton(event) && event.detail.successful) failure = "";
});

// Sounds and desktop notifications are loaded once this browser wants them.
const loadNotices = () => import("./alarm-notice.js");
function wantsNotices() {
  try {
    return ["sound", "desktop"].some((kind) => localStorage.getItem(`alarm-notice-${kind}`) === "on");
  } catch {
    return false;
  }
}
async function loadAndToggle({ target }) {
  const kind = target.closest("[data-notice]")?.dataset.notice;
  if (!kind) return;
  document.removeEventListener("click", loadAndToggle);
  (await loadNotices()).toggle(kind);
}
function loadWantedNotices() {
  if (!wantsNotices()) return;
  document.removeEventListener("click", loadAndToggle);
  loadNotices();
}
document.addEventListener("click", loadAndToggle);
window.addEventListener("storage", loadWantedNotices); // another tab has turned them on
loadWantedNotices();

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

const readinessMenu = document.querySelector("[data-strip]");
readinessMenu?.addEventListener("toggle", () => {
  readinessMenu.querySelector("input[name=show]").disabled = !readinessMenu.open;
  if (readinessMenu.open) refresh();
});
const openMenus = () => all("details.drop[open]");
document.addEventListener("click", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape")
    for (const menu of openMenus()) {
      if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
      menu.open = false;
    }
});

announceChanges();
tick();
setInterval(tick, TICK_MS);
