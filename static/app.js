import { get } from "./api.js";
import { refreshBooks } from "./books.js";
import { lineChart } from "./charts.js";
import { $, count, duration } from "./dom.js";
import { flowChanged, forgetTraffic, loadWaiting, settle, startFlow, sweepTraffic, updateFlow } from "./flow.js";
import { refreshGremlin, startGremlin } from "./gremlin.js";
import { refreshHealth, showStuck } from "./health.js";
import { scrape } from "./metrics.js";
import { loadOrders, orderChanged, startOrders } from "./orders.js";
import { showProducts, startPlacing } from "./place.js";
import { refreshSla } from "./sla.js";
import { Stream } from "./stream.js";
import { startTheme } from "./theme.js";
import { openTimeline, refreshTimeline, startTimeline, timelineChanged } from "./timeline.js";
import { copyOnClick, linkTraces } from "./words.js";

const REFRESH_MS = 5000;
/** Without the order service there is nothing to see: its return is not to be missed. */
const RETRY_MS = 1000;
const SPAN_MS = 300_000;

const drawRates = lineChart($("rate-chart"), {
  series: [{ name: "order", style: "series-1" }, { name: "inventory", style: "series-2" }, { name: "payment", style: "series-3" }],
  format: (rate) => (rate === null ? "–" : rate < 10 && rate % 1 ? rate.toFixed(1) : count(Math.round(rate))),
  spanMs: SPAN_MS,
});
const drawLatencies = lineChart($("latency-chart"), {
  series: [{ name: "P50", style: "series-4" }, { name: "P90", style: "series-5" }, { name: "P99", style: "series-6" }],
  format: (ms) => (ms === null ? "–" : duration(ms).replace(/\.0+ /, " ")),
  spanMs: SPAN_MS,
  range: [1, 10_000],
  threshold: 1000,
});

const stream = new Stream((change) => {
  orderChanged(change);
  flowChanged(change);
  timelineChanged(change);
}, reload);

let timer;
let round = 0;
let wasOffline = false;

function reload() {
  forgetTraffic();
  return Promise.allSettled([loadOrders(), loadWaiting(), refreshTimeline()]);
}

async function health() {
  const { health: found, isOffline } = await refreshHealth();
  updateFlow({ health: found });
  return isOffline;
}

async function books() {
  const { products, orders } = await refreshBooks();
  showProducts(products);
  settle(orders.unsettled);
}

async function figures() {
  const { history, rates, breakers, stuck } = await scrape();
  updateFlow({ rates, breakers });
  showStuck(stuck);
  const [order, inventory, payment] = rates.map((rate) => (rate === null ? "not known" : rate.toFixed(1)));
  drawRates(history.map(({ at, rates: values }) => ({ at, values })), `Requests per second now: order ${order}, inventory ${inventory}, payment ${payment}.`);
  const newest = history.findLast(({ latencies }) => latencies[0] !== null)?.latencies;
  drawLatencies(history.map(({ at, latencies: values }) => ({ at, values })),
    newest ? `Of the newest orders, half took up to ${duration(newest[0])}, 90 % up to ${duration(newest[1])}, 99 % up to ${duration(newest[2])}.` : "No orders yet.");
}

/** What could not be read says so, and shows what was read last. */
async function part(id, work) {
  try {
    const result = await work();
    delete $(id).dataset.stale;
    return result;
  } catch {
    $(id).dataset.stale = "true";
    return undefined;
  }
}

async function refresh() {
  const mine = ++round;
  clearTimeout(timer);
  const started = performance.now();
  const [isOffline] = await Promise.all([
    health(),
    part("sla", refreshSla),
    part("books", books),
    part("rate-chart", figures),
    part("gremlin", refreshGremlin),
  ]);
  if (isOffline) stream.doubt();
  else if (wasOffline) reload();
  wasOffline = isOffline;
  sweepTraffic();
  // Hidden meanwhile, or begun anew.
  if (mine !== round) return;
  timer = setTimeout(refresh, isOffline ? RETRY_MS : Math.max(0, REFRESH_MS - (performance.now() - started)));
}

/** Nobody looks at a hidden tab: it asks for nothing, and gives its connection back. */
function attend() {
  if (document.hidden) {
    round++;
    clearTimeout(timer);
    stream.close();
  } else {
    stream.open();
    refresh();
  }
}

async function readSettings() {
  const { version, trace_url: traces, grafana_url: grafana } = await get("/dashboard.json");
  $("version").textContent = `Valerix ${version}`;
  linkTraces(traces);
  if (grafana) Object.assign($("grafana"), { href: grafana, hidden: false });
}

startTheme();
startFlow();
startTimeline();
startOrders(openTimeline);
startPlacing(openTimeline);
startGremlin((faults) => updateFlow({ faults }));
document.addEventListener("click", copyOnClick);
document.addEventListener("visibilitychange", attend);
attend();
// Where traces are is to be known before the first of them is shown.
readSettings().catch(() => {}).then(reload);
