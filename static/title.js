// The title of the tab, which names the most serious known problem.
import { formatCount } from "./format.js";

const NAME = "Valerix";

let isTooSlow = false;
let violations = 0;

export function setTooSlow(value) {
  isTooSlow = value;
  show();
}

/** Takes the number of violated invariants. */
export function setViolations(value) {
  violations = value;
  show();
}

function show() {
  document.title = titleText();
}

function titleText() {
  if (violations > 0) return `✖ ${NAME}: ${formatCount(violations, "invariant")} violated`;
  return isTooSlow ? `▲ ${NAME}: too slow` : NAME;
}
