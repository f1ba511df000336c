// A short chaos campaign, started from the page of a demo: its form, and its progress. The demo
// runs it with services and a database of its own.
import { describeRefusal, get, gremlinCall } from "./api.js";
import { reportNodes, showReport } from "./campaign-report.js";
import { $, el, icon, reconcile, setText } from "./dom.js";
import { formatNumber, formatSeconds } from "./format.js";

const RUNNING_INTERVAL_MS = 1000;
/** Another tab may start a campaign. */
const IDLE_INTERVAL_MS = 10_000;

const PHASES = {
  starting: "Starting a database and three services",
  "placing-orders": "Placing orders and injecting faults",
  settling: "Faults are over: waiting until each order has ended",
  "directed-rounds": "Causing what has not occurred yet",
  checking: "Comparing each answer with the database",
};

const TARGET_ICONS = {
  order: "cart", inventory: "box", payment: "card", database: "database",
};

let timer;
/** The latest response of the demo; null before the first. */
let current = null;

const hasProcess = (campaign) => ["running", "stopping"].includes(campaign?.state);

/** Only a demo has campaigns. */
export function startCampaign() {
  const section = $("campaign");
  section.setAttribute("aria-labelledby", "campaign-title");
  section.append(
    el("h2", { id: "campaign-title", text: "Proof" },
      el("span", { id: "campaign-state", class: "badge", role: "status" })),
    el("p", {
      class: "campaign-intro",
      text: "Starts services of its own, places orders, kills the services and injects other "
        + "faults. Then it compares each answer with what is stored. This demo is not touched.",
    }),
    form(),
    el("p", { id: "campaign-message", class: "action-message", role: "status" }),
    progressNodes(),
    reportNodes());
  section.hidden = false;
  document.addEventListener("visibilitychange", refresh);
  refresh();
}

function form() {
  const orders = el("input", { name: "orders", type: "number", required: true });
  const seed = el("input", {
    name: "seed", type: "number", min: 0, placeholder: "random", autocomplete: "off",
  });
  return el("form", { id: "campaign-form", on: { submit: start } },
    el("label", { text: "Orders" }, orders),
    el("label", { text: "Seed" }, seed),
    el("button", { class: "primary", id: "campaign-start", text: "Prove it" }),
    el("button", {
      id: "campaign-stop", type: "button", text: "Stop", hidden: true, on: { click: stop },
    }));
}

function progressNodes() {
  const bar = (name, text) => el("div", { class: "campaign-bar" },
    el("label", { htmlFor: `campaign-${name}`, text }),
    el("span", { id: `campaign-${name}-count` }),
    el("progress", { id: `campaign-${name}`, max: 1, value: 0 }));
  return el("div", { id: "campaign-progress", hidden: true },
    el("p", { class: "campaign-phase" },
      el("b", { id: "campaign-phase", role: "status" }), " ", el("span", { id: "campaign-time" })),
    bar("orders", "Orders"),
    bar("faults", "Faults"),
    bar("paths", "Ways to recover, seen"),
    el("ul", { id: "campaign-last-faults", ariaLabel: "The last faults, newest first" }));
}

async function start(event) {
  event.preventDefault();
  const { orders, seed } = event.target.elements;
  const body = {
    orders: Number(orders.value),
    seed: seed.value === "" ? null : Number(seed.value),
  };
  await act(() => gremlinCall("POST", "/demo/campaigns", body));
}

const stop = () => act(() => gremlinCall("DELETE", "/demo/campaigns/current"));

async function act(request) {
  setText($("campaign-message"), "");
  try {
    show(await request());
  } catch (error) {
    $("campaign-message").dataset.tone = "bad";
    setText($("campaign-message"), describeRefusal(error));
  }
  refresh();
}

async function refresh() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    show(await get("/demo/campaigns/current"));
    delete $("campaign").dataset.stale;
  } catch {
    // The order service may have been killed. The campaign goes on without it.
    $("campaign").dataset.stale = "true";
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, hasProcess(current) ? RUNNING_INTERVAL_MS : IDLE_INTERVAL_MS);
}

function show(campaign) {
  const isFirst = current === null;
  current = campaign;
  const isRunning = hasProcess(campaign);
  $("campaign").dataset.state = campaign.state;
  setText($("campaign-state"), describeState(campaign));
  if (isFirst) showLimits(campaign.order_limits);
  showButtons(isRunning, campaign.state === "stopping");
  $("campaign-progress").hidden = !isRunning;
  if (isRunning) showProgress(campaign);
  showReport(campaign);
}

const describeState = ({ state, seed }) =>
  (["none", "failed"].includes(state) ? "" : `seed ${seed}`);

function showLimits({ min, max, default: usual }) {
  const { orders } = $("campaign-form").elements;
  Object.assign(orders, { min, max, value: usual });
}

/** Shows one of the two buttons. If the hidden one had the focus, the shown one gets it. */
function showButtons(isRunning, isStopping) {
  const [startButton, stopButton] = [$("campaign-start"), $("campaign-stop")];
  const hadFocus = [startButton, stopButton].includes(document.activeElement);
  for (const label of $("campaign-form").querySelectorAll("label")) label.hidden = isRunning;
  startButton.hidden = isRunning;
  stopButton.hidden = !isRunning;
  setText(stopButton, isStopping ? "Stopping …" : "Stop");
  stopButton.ariaDisabled = String(isStopping);
  if (hadFocus) (isRunning ? stopButton : startButton).focus();
}

function showProgress({ state, seed, progress }) {
  const phase = progress?.phase ?? "starting";
  setText($("campaign-phase"),
    state === "stopping" ? "Ending its processes" : PHASES[phase] ?? phase);
  setText($("campaign-time"), formatSeconds((progress?.seconds ?? 0) * 1000));
  const paths = progress?.recovery_paths;
  showBar("orders", progress?.orders);
  showBar("faults", progress?.faults);
  showBar("paths", paths && { done: paths.seen.length, total: paths.total });
  showFaults(seed, progress);
}

function showBar(name, count) {
  const { done, total } = count ?? { done: 0, total: 0 };
  const bar = $(`campaign-${name}`);
  bar.max = Math.max(1, total);
  bar.value = done;
  setText($(`campaign-${name}-count`),
    count ? `${formatNumber(done)} of ${formatNumber(total)}` : "");
}

/**
 * Rows are keyed by the fault's number, so that existing rows stay when faults are added, and by
 * the seed, so that none of an earlier campaign stays.
 */
function showFaults(seed, progress) {
  const faults = progress?.last_faults ?? [];
  const keyed = faults.map((fault, i) =>
    ({ ...fault, key: `${seed} ${progress.faults.done - i}` }));
  reconcile($("campaign-last-faults"), keyed, ({ key }) => key, createFault, () => {});
}

function createFault({ fault, service, description }) {
  return el("li", { data: { fault } },
    icon(TARGET_ICONS[service] ?? "gremlin"), el("span", { text: description }));
}
