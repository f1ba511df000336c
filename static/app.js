// The entry point: starts the panels, refreshes them every few seconds, and passes the changes of
// the live stream on to them.
import { get, SERVICES } from "./api.js";
import { refreshAudit } from "./audit-panel.js";
import { startCampaign } from "./campaign.js";
import { lineChart } from "./charts.js";
import { $ } from "./dom.js";
import { recordFaults } from "./fault-times.js";
import {
  clearAnimation,
  loadWaitingOrders,
  refreshAnimation,
  setUnsettled,
  showOrderInFlow,
  startFlow,
  updateFlow,
} from "./flow.js";
import { formatDuration, formatNumber, formatRoundDuration } from "./format.js";
import { refreshGremlin, startGremlin } from "./gremlin.js";
import { refreshHealth, showProcessNotes, showStuck } from "./health.js";
import { copyOnClick, isWaiting, setTraceUrl } from "./labels.js";
import { scrapeMetrics } from "./metrics.js";
import { reloadBurst, showOrderInBurst, startOrderForm } from "./order-form.js";
import { loadOrders, showOrderInList, startOrders } from "./orders.js";
import { startPresent } from "./present.js";
import {
  isAnyChanging,
  noteStart,
  refreshProcesses,
  showDemoProcesses,
  showGuarantees,
  startProcesses,
} from "./processes.js";
import { showProducts } from "./product-chooser.js";
import { shareRefresh } from "./shared-refresh.js";
import { refreshSla } from "./sla.js";
import { startStory } from "./story.js";
import { Stream } from "./stream.js";
import { startTheme } from "./theme.js";
import {
  followAddress,
  openTimeline,
  refreshTimeline,
  refreshUnsettledTimeline,
  showOrderInTimeline,
  startTimeline,
} from "./timeline.js";
import { setAuditedUnfinished, setOldestPending, startUnfinished } from "./unfinished.js";
import { refreshUnsettled, setRecoveryBound, startUnsettled } from "./unsettled.js";

const REFRESH_INTERVAL_MS = 5000;
/** Shorter, so that the page notices soon when the order service is back. */
const OFFLINE_REFRESH_INTERVAL_MS = 1000;
/** The minimum time between two requests for health while a process or an order changes. */
const HEALTH_INTERVAL_MS = 1000;
const CHART_SPAN_MS = 300_000;

const drawRates = lineChart($("rate-chart"), {
  series: [
    { name: "order", style: "series-1" },
    { name: "inventory", style: "series-2" },
    { name: "payment", style: "series-3" },
  ],
  format: formatRate,
  spanMs: CHART_SPAN_MS,
});
const drawLatencies = lineChart($("latency-chart"), {
  series: [
    { name: "P50", style: "series-4" },
    { name: "P90", style: "series-5" },
    { name: "P99", style: "series-6" },
  ],
  format: (ms) => (ms === null ? "–" : formatRoundDuration(ms)),
  spanMs: CHART_SPAN_MS,
  range: [1, 10_000],
  threshold: 1000,
});

function formatRate(rate) {
  if (rate === null) return "–";
  return rate < 10 && rate % 1 ? rate.toFixed(1) : formatNumber(Math.round(rate));
}

const stream = new Stream((change) => {
  showOrderInList(change);
  showOrderInFlow(change);
  showOrderInTimeline(change);
  showOrderInBurst(change);
  refreshCounts();
  if (isWaiting(change.status)) askHealth();
}, reloadOrders, () => askHealth());

/** Refreshes the counts of the flow, unfinished orders, check and stock after a change. */
const refreshCounts = shareRefresh(() => Promise.all([
  refreshPanel("audit", refreshAuditPanel),
  refreshPanel("unsettled", refreshUnsettled),
]));

let refreshTimer;
let healthTimer = 0;
let healthAskedAt = -Infinity;
let refreshCount = 0;
let wasOffline = false;

function reloadOrders() {
  clearAnimation();
  return Promise.allSettled([
    loadOrders(), loadWaitingOrders(), refreshTimeline(), reloadBurst(),
  ]);
}

async function refreshHealthPanel() {
  healthAskedAt = performance.now();
  const { health, isOffline } = await refreshHealth();
  updateFlow({ health });
  return isOffline;
}

/** Requests health before the next refresh of the page. Calls within 1 s cause one request. */
function askHealth() {
  if (healthTimer || document.hidden) return;
  const wait = Math.max(0, healthAskedAt + HEALTH_INTERVAL_MS - performance.now());
  healthTimer = setTimeout(async () => {
    healthTimer = 0;
    const [isOffline] = await Promise.all([refreshHealthPanel(), refreshProcesses()]);
    if (isOffline !== wasOffline) refresh();
    else if (isAnyChanging()) askHealth();
  }, wait);
}

function showProcesses(processes, isChanged) {
  updateFlow({ processes, health: showProcessNotes(processes) });
  if (!isChanged) return;
  askHealth();
  refreshCounts();
}

async function refreshAuditPanel() {
  const onDelivery = () => refreshPanel("audit", refreshAuditPanel);
  const audit = await refreshAudit(onDelivery).catch((error) => {
    setAuditedUnfinished(null);
    showGuarantees(null);
    throw error;
  });
  const { products, orders } = audit;
  showGuarantees(audit);
  showProducts(products);
  setUnsettled(orders.unsettled);
  setAuditedUnfinished(orders);
}

async function refreshCharts() {
  const { history, rates, breakers, stuck, oldestPendingSeconds, starts } = await scrapeMetrics();
  SERVICES.forEach((service, i) => noteStart(service, starts[i]));
  updateFlow({ rates, breakers });
  showStuck(stuck);
  setOldestPending(oldestPendingSeconds);
  drawRates(history.map(({ at, rates: values }) => ({ at, values })), describeRates(rates));
  drawLatencies(
    history.map(({ at, latencies: values }) => ({ at, values })),
    describeLatencies(history.findLast(({ latencies }) => latencies[0] !== null)?.latencies),
  );
}

function describeRates(rates) {
  const [order, inventory, payment] =
    rates.map((rate) => (typeof rate === "number" ? rate.toFixed(1) : "unknown"));
  return `Requests per second: order ${order}, inventory ${inventory}, payment ${payment}.`;
}

function describeLatencies(latencies) {
  if (!latencies) return "No orders yet.";
  const [p50, p90, p99] = latencies.map(formatDuration);
  return `Latency of the latest orders: P50 ${p50}, P90 ${p90}, P99 ${p99}.`;
}

/** Refreshes a panel. If that fails, the panel keeps its last values and is marked as stale. */
async function refreshPanel(id, refreshContent) {
  try {
    await refreshContent();
    delete $(id).dataset.stale;
  } catch {
    $(id).dataset.stale = "true";
  }
}

async function refresh() {
  const ownCount = ++refreshCount;
  clearTimeout(refreshTimer);
  const startedAt = performance.now();
  const [isOffline] = await Promise.all([
    refreshHealthPanel(),
    refreshProcesses(),
    refreshPanel("sla", refreshSla),
    refreshPanel("audit", refreshAuditPanel),
    refreshPanel("rate-chart", refreshCharts),
    refreshPanel("gremlin", refreshGremlin),
    refreshPanel("unsettled", refreshUnsettled),
    refreshUnsettledTimeline(),
  ]);
  if (isOffline) stream.markInterrupted();
  else if (wasOffline) reloadOrders();
  wasOffline = isOffline;
  refreshAnimation();
  // The tab was hidden in the meantime, or a later refresh has started.
  if (ownCount !== refreshCount) return;
  const wait = Math.max(0, REFRESH_INTERVAL_MS - (performance.now() - startedAt));
  refreshTimer = setTimeout(refresh, isOffline ? OFFLINE_REFRESH_INTERVAL_MS : wait);
  if (isAnyChanging() && !isOffline) askHealth();
}

/** A hidden tab sends no requests, and closes its stream so that the connection is free. */
function onVisibilityChange() {
  if (document.hidden) {
    refreshCount++;
    clearTimeout(refreshTimer);
    stream.close();
  } else {
    stream.open();
    refresh();
  }
}

async function loadConfiguration() {
  const configuration = await get("/dashboard.json");
  const { version, trace_url: traceUrl, grafana_url: grafanaUrl } = configuration;
  setRecoveryBound(configuration.recovery_bound_seconds);
  $("version").textContent = `Valerix ${version}`;
  setTraceUrl(traceUrl);
  if (configuration.demo) {
    showDemoProcesses();
    startCampaign();
  }
  if (grafanaUrl) Object.assign($("grafana"), { href: grafanaUrl, hidden: false });
}

startPresent();
startTheme();
startFlow();
startTimeline();
startOrders(openTimeline);
startOrderForm(openTimeline);
startUnsettled(openTimeline);
startUnfinished();
startGremlin((faults) => {
  recordFaults(faults);
  updateFlow({ faults });
});
startProcesses({ onChange: showProcesses, onKill: askHealth });
startStory();
document.addEventListener("click", copyOnClick);
document.addEventListener("visibilitychange", onVisibilityChange);
onVisibilityChange();
// The list of orders shows links to traces, so it is loaded after their address.
loadConfiguration().catch(() => {}).then(() => {
  followAddress();
  return reloadOrders();
});
