// The banner across the page for inconsistent data: each violated invariant by its name, and the
// products and orders that violate it.
import { $, el, reconcile, setText } from "./dom.js";
import { formatCount, formatNumber, formatTime } from "./format.js";
import { setViolations } from "./title.js";

let foundAt = null;

export const invariantName = (name) => name.replaceAll("-", " ");

/** Takes the violated invariants of a finished check. */
export function showViolations(violated, at) {
  foundAt = at;
  setViolations(violated.length);
  $("violations").hidden = violated.length === 0;
  setText($("violations").querySelector("b"),
    `The data is inconsistent: ${formatCount(violated.length, "invariant")} violated`);
  reconcile($("violated-invariants"), violated, ({ name }) => name, createViolation,
    updateViolation);
  setText($("violations-age"), "");
}

/** For a failed check: the violations that were found before may still exist. */
export function markViolationsUnchecked() {
  if ($("violations").hidden) return;
  setText($("violations-age"), `Found at ${formatTime(foundAt)}. It could not be checked again.`);
}

function createViolation({ name }) {
  return el("li", { data: { name } }, el("b", { text: invariantName(name) }), el("span"));
}

function updateViolation(node, { violations, examples }) {
  const more = violations - examples.length;
  const others = more > 0 && examples.length ? ` and ${formatNumber(more)} more` : "";
  const rows = examples.join(", ") || formatCount(violations, "violation");
  setText(node.lastChild, `: ${rows}${others}`);
}
