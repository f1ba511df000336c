// One refresh for the counts that several panels show, so that the panels agree with each other
// soon after a change. Many changes in a short time cause few refreshes.

const MIN_INTERVAL_MS = 500;
/** Changes of the same order often follow each other within this time. */
const DELAY_MS = 100;

/**
 * Returns a function to call at each change. It runs `refresh` soon afterwards: at most every
 * 500 ms, at most half of the time, and never twice at once.
 */
export function shareRefresh(refresh) {
  let isRunning = false;
  let isDue = false;
  let timer = 0;
  let nextStart = 0;

  function schedule() {
    isDue = true;
    if (isRunning) return;
    timer ||= setTimeout(run, Math.max(DELAY_MS, nextStart - performance.now()));
  }

  async function run() {
    timer = 0;
    isDue = false;
    isRunning = true;
    const startedAt = performance.now();
    await refresh();
    isRunning = false;
    const took = performance.now() - startedAt;
    nextStart = startedAt + Math.max(MIN_INTERVAL_MS, 2 * took);
    if (isDue) schedule();
  }

  return schedule;
}
