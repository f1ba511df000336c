// The light of the service level: the current average of the answer times, and the averages of the
// last ten minutes.
import { get } from "./api.js";
import { sparkline } from "./charts.js";
import { $, setText } from "./dom.js";
import { formatCount, formatDuration, formatNumber, formatRoundDuration } from "./format.js";
import { setTooSlow } from "./title.js";

const HISTORY_SPAN_MS = 600_000;
const DEFAULT_THRESHOLD_MS = 1000;

let drawHistory;

export async function refreshSla() {
  const [sla, history] = await Promise.allSettled([get("/sla"), get("/sla/history")]);
  if (history.status === "fulfilled") {
    showHistory(history.value, sla.value?.threshold_ms ?? DEFAULT_THRESHOLD_MS);
  }
  if (sla.status === "rejected") {
    showUnknown();
    throw sla.reason;
  }
  showCurrent(sla.value);
}

function showUnknown() {
  $("sla").dataset.status = "unknown";
  setText($("sla-status"), "unknown");
  setText($("sla-average"), "");
  setText($("sla-detail"), "The service level could not be read.");
  setTooSlow(false);
}

function showCurrent(sla) {
  const { status, requests, window_seconds: window, threshold_ms: threshold } = sla;
  const isIdle = requests === 0;
  // The service calls an empty window green. Without orders there is nothing to judge.
  $("sla").dataset.status = isIdle ? "idle" : status;
  setText($("sla-title"), `Answer time, average of ${window} s`);
  setText($("sla-status"), isIdle ? "no orders" : status);
  setText($("sla-average"), isIdle ? "" : formatDuration(sla.average_ms));
  const [p50, p90, p99] =
    isIdle ? [] : [sla.p50_ms, sla.p90_ms, sla.p99_ms].map(formatDuration);
  setText($("sla-detail"), isIdle
    ? `No orders in ${window} s. The limit for the average is ${formatRoundDuration(threshold)}.`
    : `Average of ${formatCount(requests, "order")} in ${window} s. `
      + `P50 ${p50}, P90 ${p90}, P99 ${p99}.`);
  setTooSlow(status === "red");
}

function showHistory({ points, step_seconds: step }, threshold) {
  const label = `limit ${formatRoundDuration(threshold)}`;
  drawHistory ??=
    sparkline($("sla-sparkline"), { spanMs: HISTORY_SPAN_MS, threshold, label });
  const averages = points.filter(({ requests }) => requests > 0).map((point) => point.average_ms);
  const above = averages.filter((average) => average > threshold).length;
  const max = formatDuration(Math.max(0, ...averages));
  drawHistory(
    points.map(({ at, requests, average_ms: average }) =>
      ({ at: Date.parse(at), value: requests > 0 ? average : null })),
    `Average order latency of the last ten minutes: above the limit in ${formatNumber(above)} of `
      + `${formatCount(averages.length, "interval")} of ${step} s, at most ${max}.`,
  );
}
