// The end of a campaign: the verdict, five counters, and the details of the report.
import { $, el, icon, reconcile, setText } from "./dom.js";
import { formatCount, formatNumber } from "./format.js";
import { copyButton } from "./labels.js";
import { invariantName } from "./violations.js";

const VERDICTS = {
  proved: {
    tone: "good", icon: "good", title: "Proved",
    text: () => "Each kind of fault and each way to recover occurred, and nothing broke.",
  },
  broken: {
    tone: "bad", icon: "bad", title: "Broken",
    text: (report) => `The platform broke a promise: ${breaches(report).join(", ")}.`,
  },
  incomplete: {
    tone: "waiting", icon: "warning", title: "Incomplete", text: describeGaps,
  },
};

/** The lists of the details: the title, and the field of the report with the counts by name. */
const LISTS = [
  ["Answers to customers", "answers"],
  ["Requests of operators", "operators"],
  ["Deliveries", "deliveries"],
  ["Faults that took effect", "faults"],
  ["Ways to recover", "recovery_paths"],
];

export function reportNodes() {
  return el("div", { id: "campaign-report", hidden: true },
    el("p", { id: "campaign-verdict", role: "status" }),
    el("p", { id: "campaign-summary" }),
    el("dl", { id: "campaign-counters" }),
    el("details", { id: "campaign-details" },
      el("summary", { text: "Details of the report" }),
      el("p", { id: "campaign-command" }),
      el("div", { id: "campaign-lists" })));
}

/** Shows how the campaign ended, if it has. */
export function showReport({ state, report, error, seed, command }) {
  const hasEnded = ["ended", "stopped", "failed"].includes(state);
  $("campaign-report").hidden = !hasEnded;
  if (!hasEnded) return;
  const { tone, icon: iconName, title, text } = describeEnd(state, report, error);
  $("campaign-report").dataset.tone = tone;
  $("campaign-report").dataset.verdict = report?.verdict ?? state;
  if ($("campaign-verdict").textContent !== title) {
    $("campaign-verdict").replaceChildren(icon(iconName), el("b", { text: title }));
  }
  setText($("campaign-summary"), text);
  $("campaign-counters").hidden = !report;
  $("campaign-details").hidden = !report;
  if (report) showDetails(report, seed, command);
}

function describeEnd(state, report, error) {
  const verdict = VERDICTS[report?.verdict];
  if (verdict) return { ...verdict, text: verdict.text(report) };
  if (state === "stopped") {
    return {
      tone: "neutral", icon: "cancelled", title: "Stopped",
      text: "Its processes have ended and its database is gone. There is no verdict.",
    };
  }
  return {
    tone: "bad", icon: "unknown", title: "Could not run", text: error || "There is no report.",
  };
}

/** The broken promises: findings, violated invariants, and what was left over. */
function breaches({ findings, audit, unsettled }) {
  const found = Object.entries(findings).filter(([, examples]) => examples.length > 0);
  const violated = audit.invariants.filter(({ violations }) => violations > 0);
  const orphans = audit.orders.reservations_without_order;
  const all = [
    ...found.map(([name, examples]) => `${examples.length} ${name.replaceAll("_", " ")}`),
    ...violated.map(({ name }) => `invariant “${invariantName(name)}” violated`),
  ];
  if (orphans > 0) all.push(`${formatCount(orphans, "reservation")} without an order`);
  if (unsettled > 0) all.push(`${formatCount(unsettled, "order")} unsettled`);
  return all;
}

function describeGaps({ never_ran: gaps, raise }) {
  const flags = Object.entries(raise).map(([flag, value]) => `${flag} ${value}`);
  return `Nothing broke, but these never occurred: ${gaps.join(", ")}. Run it again with another `
    + `seed or more orders, or in a terminal: valerix prove ${flags.join(" ")}`;
}

function showDetails(report, seed, command) {
  reconcile($("campaign-counters"), counters(report), ([name]) => name,
    ([name]) => el("div", {}, el("dt", { text: name }), el("dd")),
    (node, [, count]) => {
      node.dataset.tone = count === 0 ? "good" : "bad";
      setText(node.lastChild, formatNumber(count));
    });
  if ($("campaign-lists").dataset.seed === `${seed} ${report.seconds}`) return;
  $("campaign-lists").dataset.seed = `${seed} ${report.seconds}`;
  const { planned, added } = report.orders;
  $("campaign-command").replaceChildren(
    `${formatCount(planned, "order")}, and ${formatNumber(added)} more in directed rounds, in `
      + `${report.seconds} s. The same campaign in a terminal: `,
    copyButton(command, command, "Copy the command"));
  $("campaign-lists").replaceChildren(
    ...LISTS.map(([title, key]) => list(title, Object.entries(report[key]))),
    list("Broken promises", Object.entries(report.findings).map(
      ([name, found]) => [name.replaceAll("_", " "), found.length])),
    list("Violations of invariants", report.audit.invariants.map(
      ({ name, violations }) => [invariantName(name), violations])));
}

/** The five counters, each of which must be 0. */
function counters({ findings, audit, unsettled }) {
  const twice = audit.invariants.find(({ name }) => name === "one-payment-per-order");
  return [
    ["lost", findings.lost.length],
    ["charged twice", twice.violations],
    ["overcharged", findings.overcharged.length],
    ["oversold", findings.oversold.length],
    ["unfinished", Math.max(unsettled, findings.unfinished.length)],
  ];
}

function list(title, counts) {
  const rows = counts.flatMap(([name, count]) => [
    el("dt", { text: name }), el("dd", { text: formatNumber(count) }),
  ]);
  return el("div", {}, el("h3", { text: title }),
    rows.length ? el("dl", { class: "campaign-list" }, ...rows) : el("p", { text: "none" }));
}
