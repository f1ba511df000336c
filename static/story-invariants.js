// Compares an invariant at the end of the story with the same one at its beginning. A violation
// from before says nothing about the story's orders.
import { formatCount } from "./format.js";

const namesAll = ({ examples, violations }) => examples.length >= violations;

/** The violations that are named now, and were not there before. */
function newExamples(before, after) {
  if (before && !namesAll(before)) return [];
  return after.examples.filter((example) => !before?.examples.includes(example));
}

/** The number of violations that were certainly not there before. */
export const newViolations = (before, after) => Math.max(
  after.violations - (before?.violations ?? 0), newExamples(before, after).length, 0);

/** `passed` is null where a new violation may have taken the place of one that was not named. */
export function judgeInvariant(before, after) {
  const { checked, violations } = after;
  const old = before?.violations ?? 0;
  const [newExample] = newExamples(before, after);
  const found = [
    `${checked} checked, ${formatCount(violations, "violation")}`,
    old > 0 && `${old} before the story`,
    newExample && `new: ${newExample}`,
  ].filter(Boolean).join(", ");
  if (newExample || violations > old) return { passed: false, found };
  const isCertain = violations === 0 || (namesAll(after) && (!before || namesAll(before)));
  return { passed: isCertain ? true : null, found };
}
