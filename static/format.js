// Formats numbers, durations and times as text.

const numberFormat = new Intl.NumberFormat("en");
export const formatNumber = (n) => numberFormat.format(n);

/** The noun after a number: `order` for one, `orders` for any other number. */
export const nounFor = (n, noun) => (n === 1 ? noun : `${noun}s`);

/** A number and its noun: `1 order`, `2 orders`. */
export const formatCount = (n, noun) => `${formatNumber(n)} ${nounFor(n, noun)}`;

export const isOrAre = (n) => (n === 1 ? "is" : "are");

export function formatDuration(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  return formatSeconds(ms);
}

/** For configured values and axes: `3 s`, not `3.00 s`. */
export const formatRoundDuration = (ms) => formatDuration(ms).replace(/\.0+ /, " ");

/** Whole seconds, for a duration that is still growing. */
export function formatSeconds(ms) {
  const seconds = Math.floor(ms / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

const timeFormat = new Intl.DateTimeFormat("en", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
export const formatTime = (time) => timeFormat.format(new Date(time));

/** The time left until a time: `in 12 s`, or `now`. */
export function formatUntil(time) {
  const left = Date.parse(time) - Date.now();
  return left > 0 ? `in ${formatSeconds(left + 999)}` : "now";
}
