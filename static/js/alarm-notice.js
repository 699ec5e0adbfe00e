// Sounds and desktop notifications for alarms: off until this browser is asked for them. Several
// tabs share what was noticed, so that one of them is heard and not all.

const NAMES = { sound: "Sound", desktop: "Desktop notifications" };
const REPEAT_MS = 30_000; // while a kill alarm is not acknowledged
const CHECK_MS = 1000;
const KILL = 0; // the severities of killswitch/alarms/models.py
// Frequency in hertz, start and length in seconds.
const PATTERNS = {
  kill: [[880, 0, 0.18], [660, 0.22, 0.18], [880, 0.44, 0.18], [660, 0.66, 0.3]],
  other: [[520, 0, 0.25]],
};
let audio;
let lastCheck = Promise.resolve();

const buttons = () => document.querySelectorAll("[data-notice]");
const isOn = (kind) => read(kind) === "on";
const mayPlay = () => audio?.state === "running";
const desktopWorks = () => "Notification" in window && Notification.permission === "granted";
const works = (kind) => (kind === "sound" ? mayPlay() : desktopWorks());

function read(name) {
  try {
    return localStorage.getItem(`alarm-notice-${name}`) || "";
  } catch {
    return ""; // the browser keeps nothing for this page
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(`alarm-notice-${name}`, value);
  } catch {
    // Then the choice lasts until the page is left, and tabs do not know of one another.
  }
}

function label(kind) {
  if (!isOn(kind)) return `${NAMES[kind]}: off`;
  if (works(kind)) return `${NAMES[kind]}: on`;
  if (kind === "sound") return "Click to enable sound";
  return "Notification" in window ? "Desktop notifications are blocked" : "Desktop notifications need HTTPS";
}

// The poller writes the buttons anew, as the server knows them.
function show() {
  for (const button of buttons()) {
    const kind = button.dataset.notice;
    const text = label(kind);
    if (button.textContent.trim() !== text) button.textContent = text;
    button.setAttribute("aria-pressed", String(isOn(kind)));
    button.toggleAttribute("data-fails", isOn(kind) && !works(kind)); // alarms.css shows it then
  }
}

function startAudio() {
  if (!("AudioContext" in window)) return;
  if (!audio) {
    audio = new AudioContext();
    audio.addEventListener("statechange", show);
  }
  if (audio.state === "suspended") audio.resume().then(show, show);
}

function play(pattern) {
  for (const [frequency, start, length] of PATTERNS[pattern]) {
    const [tone, gain] = [audio.createOscillator(), audio.createGain()];
    const at = audio.currentTime + start;
    tone.frequency.value = frequency;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(0.3, at + 0.02);
    gain.gain.linearRampToValueAtTime(0, at + length);
    tone.connect(gain).connect(audio.destination);
    tone.start(at);
    tone.stop(at + length);
  }
  report({ kind: "sound", pattern });
}

function notify(alarm) {
  const isKill = alarm.newestSeverity === KILL;
  const notification = new Notification(isKill ? "Kill alarm" : "Alarm", {
    body: alarm.newestTitle,
    tag: `alarm-${alarm.newest}`,
    requireInteraction: isKill,
    silent: true, // the sound is ours, and only if it is on
  });
  notification.addEventListener("click", () => {
    window.focus();
    notification.close();
  });
  report({ kind: "desktop", title: alarm.newestTitle });
}

// For the tests, which cannot hear.
function report(detail) {
  document.dispatchEvent(new CustomEvent("alarm-notice", { detail }));
}

function alarms() {
  const { kill, newest, newestTitle, newestSeverity } = document.getElementById("alarms").dataset;
  return { kill: Number(kill), newest: Number(newest), newestTitle, newestSeverity: Number(newestSeverity) };
}

// Only one tab may do this at a time. Without HTTPS there are no locks: then two tabs might sound.
function exclusively(work) {
  return navigator.locks ? navigator.locks.request("alarm-notice", work) : work();
}

// The newest alarm that was heard or shown is stored: a tab that comes later stays silent.
function isNew(kind, newest) {
  return newest > Number(read(`${kind}-newest`));
}

function check() {
  const now = alarms();
  const repeats = () => now.kill > 0 && Math.abs(Date.now() - Number(read("sounded-at"))) >= REPEAT_MS;
  if (isOn("sound") && mayPlay() && (isNew("sound", now.newest) || repeats())) {
    const isNewest = isNew("sound", now.newest);
    const isKill = isNewest ? now.newestSeverity === KILL || repeats() : true;
    keep("sound-newest", String(Math.max(now.newest, Number(read("sound-newest")))));
    keep("sounded-at", String(Date.now()));
    play(isKill ? "kill" : "other");
  }
  if (isOn("desktop") && desktopWorks() && isNew("desktop", now.newest)) {
    keep("desktop-newest", String(now.newest));
    notify(now);
  }
}

function checkOnce() {
  const { newest, kill } = alarms();
  if (!(isOn("sound") || isOn("desktop")) || !(newest || kill)) return;
  lastCheck = lastCheck.then(() => exclusively(check)).catch(() => {});
}

export async function toggle(kind) {
  const isBlockedSound = kind === "sound" && isOn(kind) && !mayPlay();
  if (kind === "sound") startAudio();
  if (isBlockedSound) return; // this click has enabled it
  if (isOn(kind)) keep(kind, "");
  else {
    if (kind === "desktop" && "Notification" in window) await Notification.requestPermission();
    // Those that are there already are on the screen; only later ones are new.
    keep(`${kind}-newest`, String(alarms().newest));
    keep("sounded-at", String(Date.now()));
    keep(kind, "on");
  }
  show();
}

document.addEventListener("click", (event) => {
  const kind = event.target.closest("[data-notice]")?.dataset.notice;
  if (kind) toggle(kind);
  else if (isOn("sound") && !mayPlay()) startAudio(); // any click lets a page play
});
document.addEventListener("keydown", () => isOn("sound") && !mayPlay() && startAudio());
window.addEventListener("storage", show);
document.body.addEventListener("htmx:afterSwap", () => {
  show();
  checkOnce();
});
if (isOn("sound")) startAudio();
show();
setInterval(checkOnce, CHECK_MS);
