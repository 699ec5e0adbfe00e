// The browser's own time next to UTC, never instead: as a tooltip, and as a suffix if it is wanted.
// The suffix is written by CSS from an attribute, so that copied text stays UTC.
const root = document.documentElement;
const { timeZone = "" } = Intl.DateTimeFormat().resolvedOptions();
const isUtc = /^(Etc\/)?(UTC|UCT|GMT|Zulu|Universal|Greenwich|)$/.test(timeZone);
const city = timeZone.startsWith("Etc/") || !timeZone.includes("/") ? "" : timeZone.split("/").pop().replaceAll("_", " ");
const part = (options) => new Intl.DateTimeFormat("en-GB", options);
const clock = part({ hour: "2-digit", minute: "2-digit" });
const seconds = part({ timeStyle: "medium" });
const day = part({ day: "numeric", month: "short" });
const utcDay = part({ day: "numeric", month: "short", timeZone: "UTC" });
const zone = part({ timeZoneName: "short" });

function local(at, format) {
  const place = city || zone.formatToParts(at).find(({ type }) => type === "timeZoneName").value;
  const date = day.format(at) === utcDay.format(at) ? "" : `${day.format(at)} `;
  return `${date}${format.format(at)} ${place}`;
}

function tooltip({ target }) {
  const time = target.closest?.("time[datetime]");
  const at = time && new Date(time.dateTime);
  if (!at || Number.isNaN(at.getTime())) return;
  const utc = at.toISOString().replace("T", " ").slice(0, 19);
  time.title = isUtc ? `${utc} UTC` : `${utc} UTC · ${local(at, seconds)}`;
}

function suffixes() {
  const isWanted = "localTime" in root.dataset && !isUtc;
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (isWanted && !Number.isNaN(at.getTime())) {
      const text = `· ${local(at, clock)}`;
      if (time.dataset.local !== text) time.dataset.local = text;
    } else delete time.dataset.local;
  }
}

document.addEventListener("pointerover", tooltip);
document.addEventListener("focusin", tooltip);
document.addEventListener("display", suffixes);
document.body.addEventListener("htmx:afterSwap", suffixes);
suffixes();
