// The times in which the gremlin injected a fault, which the charts show behind their lines.

/** Oldest first. `to` is null while the fault lasts. */
const times = [];

/** Records whether any service has a fault now. */
export function recordFaults(faults) {
  const isActive = Object.values(faults).some(Boolean);
  const last = times.at(-1);
  const wasActive = Boolean(last && last.to === null);
  if (isActive && !wasActive) times.push({ from: Date.now(), to: null });
  if (!isActive && wasActive) last.to = Date.now();
}

/** The times that overlap with those from `start` to `end`, cut to them. */
export const faultTimes = (start, end) => times
  .map(({ from, to }) => ({ from: Math.max(from, start), to: Math.min(to ?? end, end) }))
  .filter(({ from, to }) => from < to);
