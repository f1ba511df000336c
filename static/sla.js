import { get } from "./api.js";
import { sparkline } from "./charts.js";
import { $, count, duration, many, setText } from "./dom.js";

const SPAN_MS = 600_000;

let spark;

export async function refreshSla() {
  const [sla, past] = await Promise.allSettled([get("/sla"), get("/sla/history")]);
  if (past.status === "fulfilled") showPast(past.value.points, sla.value?.threshold_ms ?? 1000);
  if (sla.status === "rejected") throw sla.reason;
  show(sla.value);
  return sla.value;
}

function show({ status, requests, average_ms: average, p50_ms: p50, p90_ms: p90, p99_ms: p99, window_seconds: window, threshold_ms: threshold }) {
  const isIdle = requests === 0;
  $("sla").dataset.status = status;
  setText($("sla-word"), status);
  setText($("sla-figure"), isIdle ? "no orders now" : duration(average));
  setText($("sla-detail"), isIdle
    ? `The limit is ${duration(threshold).replace(".00", "")}, on average over ${window} s.`
    : `Average of ${many(requests, "order")} in ${window} s. P50 ${duration(p50)}, P90 ${duration(p90)}, P99 ${duration(p99)}.`);
  document.title = status === "red" ? "▲ Valerix: too slow" : "Valerix";
}

function showPast(points, threshold) {
  const label = `limit ${duration(threshold).replace(".00", "")}`;
  spark ??= sparkline($("sla-spark"), { spanMs: SPAN_MS, threshold, label });
  const measured = points.filter((point) => point.requests > 0);
  const over = measured.filter((point) => point.average_ms > threshold).length;
  const worst = Math.max(0, ...measured.map((point) => point.average_ms));
  spark(
    points.map(({ at, requests, average_ms: value }) => ({ at: Date.parse(at), value: requests > 0 ? value : null })),
    `Average of the last ten minutes: above the limit in ${count(over)} of ${count(measured.length)} spans of five seconds, ${duration(worst)} at most.`,
  );
}
