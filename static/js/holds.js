// Says of Holds less, not more, when the lists of their exchanges are old: the Hold may not be enforced.
const all = (selector) => document.querySelectorAll(selector);
const MAX_CLOCK_SKEW_MS = 5000;

function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const days = Math.floor(seconds / 86400);
  const time = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(":");
  return days ? `${days} d ${time}` : time;
}

// The poller brings the times of the last lists, or "unknown"; a minus: never, and the Hold began then.
function lastReads(held) {
  const entries = held.dataset.reads.split(" ").filter(Boolean);
  return new Map(entries.map((entry) => entry.split(":")));
}

export function countHolds(now, { ago, write }) {
  for (const time of all("[data-elapsed]")) write(time, clock(now - Date.parse(time.dateTime)));
  const held = document.getElementById("held");
  if (!held) return;
  const reads = lastReads(held);
  const limitMs = Number(held.dataset.unreadAfter);
  const ageOf = (read) => now - Math.abs(read);
  // Also a time that is unknown, which compares with nothing.
  const isUnread = (read) => !(ageOf(read) <= limitMs && ageOf(read) >= -MAX_CLOCK_SKEW_MS);
  const blind = held.dataset.blind.split(" ");
  const textOf = (read) => {
    if (Number(read) < 0) return "never read by the Hold";
    return Number(read) ? `last read ${ago(ageOf(read))}` : "read at an unknown time";
  };
  for (const line of all("[data-hold-line]")) {
    const read = reads.get(line.dataset.holdLine);
    if (!read) continue;
    const unread = line.querySelector("[data-hold-unread]");
    const facts = line.querySelector("[data-hold-facts]");
    unread.hidden = !isUnread(read);
    if (facts) facts.hidden = isUnread(read);
    write(unread, `· ${unread.dataset.holdUnread}${textOf(read)}`);
  }
  for (const cell of all("[data-hold-read]")) {
    const read = reads.get(cell.dataset.holdRead);
    if (!read) continue;
    const doubt = isUnread(read) && !blind.includes(cell.dataset.holdRead) ? "not enforced? " : "";
    write(cell, `${doubt}${textOf(read)}`);
    cell.classList.toggle("badc", isUnread(read));
  }
  const note = held.querySelector("[data-held-unread]");
  if (!note) return;
  const unread = [...reads].filter(([key, read]) => !blind.includes(key) && isUnread(read)).length;
  write(note, unread ? `· ${unread} not enforced?` : "");
}
