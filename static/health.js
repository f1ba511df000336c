import { get, Problem, Unanswered } from "./api.js";
import { $, clock, el, icon, reconcile, setText } from "./dom.js";

const SERVICES = ["order-service", "inventory-service", "payment-service"];
const GOOD = ["healthy", "connected", "reachable"];
const ICON = { degraded: "warn", unknown: "unknown" };

let offlineSince = null;

/** Of each service: its state, what it says of its dependencies, and whether a proxy waited for it in vain. */
export async function refreshHealth() {
  const paths = SERVICES.map((name) => (name === "order-service" ? "/health" : `/services/${name}/health`));
  const answers = await Promise.allSettled(paths.map((path) => get(path)));
  // Only through the order service can the others be asked.
  const isOffline = answers[0].status === "rejected" && (answers[0].reason instanceof Unanswered || answers[0].reason.status >= 500);
  const health = Object.fromEntries(SERVICES.map((name, i) => [name, judge(answers[i], isOffline && i > 0)]));
  show(health);
  showNotices(health, isOffline);
  return { health, isOffline };
}

function judge({ value, reason }, isUnknown) {
  if (isUnknown) return { state: "unknown", word: "not known", dependencies: {} };
  if (value) return { state: value.status, word: value.status, dependencies: value.dependencies };
  const isSlow = reason instanceof Problem && reason.status === 504;
  return { state: "down", word: isSlow ? "no answer" : "down", dependencies: {} };
}

function show(health) {
  reconcile($("health"), Object.entries(health), ([name]) => name, createService, updateService);
}

function createService([name]) {
  return el("li", { data: { service: name } }, el("span", { class: "mark" }),
    el("p", { class: "service-name" }, el("b", { text: name }), el("span")), el("ul", { ariaLabel: `Dependencies of ${name}` }));
}

function updateService(node, [name, { state, word, dependencies }]) {
  const [mark, label, list] = node.children;
  updateMark(node, mark, state);
  setText(label.lastChild, word);
  reconcile(list, Object.entries(dependencies), ([dependency]) => dependency,
    ([dependency]) => el("li", { data: { dependency, of: name } }, el("span", { class: "mark" }), el("span", { text: dependency.replace("-service", "") }), el("span", { class: "unseen" })),
    (item, [, found]) => {
      updateMark(item, item.firstChild, found);
      setText(item.lastChild, `: ${found}`);
    });
}

function updateMark(node, mark, state) {
  if (node.dataset.state === state) return;
  node.dataset.state = state;
  node.dataset.tone = GOOD.includes(state) ? "good" : state === "degraded" ? "wait" : state === "unknown" ? "down" : "bad";
  mark.replaceChildren(icon(ICON[state] ?? (GOOD.includes(state) ? "good" : "bad")));
}

/** What it means for those who order. */
function showNotices(health, isOffline) {
  offlineSince = isOffline ? offlineSince ?? Date.now() : null;
  document.body.dataset.offline = String(isOffline);
  const takesOrders = !isOffline && health["order-service"].dependencies.database !== "disconnected";
  const notices = [];
  if (isOffline) notices.push(["bad", `order-service does not answer since ${clock(offlineSince)}. This page goes on by itself when it is back.`]);
  else if (!takesOrders) notices.push(["bad", "order-service cannot reach its database: no order can be taken now. Nothing that was taken is lost."]);
  const consequence = takesOrders ? " Orders are taken all the same, and finished when it is back." : "";
  for (const name of SERVICES.slice(1)) {
    const { state, word, dependencies } = health[name];
    if (state === "down") notices.push(["wait", `${name} ${word === "down" ? "is down" : "does not answer"}.${consequence}`]);
    else if (dependencies.database === "disconnected") notices.push(["wait", `${name} cannot reach its database.${consequence}`]);
  }
  reconcile($("notices"), notices, ([, text]) => text,
    ([tone, text]) => el("p", { class: `notice ${tone}` }, icon(tone === "bad" ? "bad" : "warn"), text), () => {});
}

/** Orders that have owed something for longer than the recovery bound; others are not affected. */
export function showStuck(orders) {
  const notice = $("stuck");
  notice.hidden = !orders;
  const what = orders === 1 ? "1 order has" : `${orders} orders have`;
  if (orders) setText(notice.lastChild, `${what} owed a release or a refund for too long. Each is tried again at least once a minute; other orders are not affected.`);
}
