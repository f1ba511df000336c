//! Compares an invariant at the end of the story with the same one at its beginning. A violation
//! from before says nothing about the story's orders.

use super::verdict::Verdict;
use crate::audit::Invariant;
use crate::platform::plural::count;

/// Judges an invariant, and says what was found. `before` is absent for an invariant that the
/// first audit did not have.
pub fn judge(before: Option<&Invariant>, after: &Invariant) -> (Verdict, String) {
    let old = before.map_or(0, |before| before.violations);
    let (checked, violations) = (after.checked, after.violations);
    let mut found = vec![format!(
        "{checked} checked, {}",
        count(violations, "violation")
    )];
    if old > 0 {
        found.push(format!("{old} before the story"));
    }
    let named: Vec<_> = new_examples(before, after).collect();
    if let Some(first) = named.first() {
        found.push(format!("new: {first}"));
    }
    (verdict(before, after, !named.is_empty()), found.join(", "))
}

/// The number of violations that were certainly not there before.
pub fn new_violations(before: Option<&Invariant>, after: &Invariant) -> u64 {
    let old = before.map_or(0, |before| before.violations);
    let more = u64::try_from(after.violations.saturating_sub(old)).unwrap_or_default();
    let named = new_examples(before, after).map(|_| 1).sum();
    more.max(named)
}

fn verdict(before: Option<&Invariant>, after: &Invariant, has_new: bool) -> Verdict {
    let old = before.map_or(0, |before| before.violations);
    if has_new || after.violations > old {
        Verdict::Failed
    } else if after.violations == 0 || (names_all(after) && before.is_none_or(names_all)) {
        Verdict::Passed
    } else {
        // A new violation may have taken the place of one that the audit did not name.
        Verdict::NotJudged
    }
}

/// The violations that are named now, and were not there before.
fn new_examples<'a>(
    before: Option<&'a Invariant>,
    after: &'a Invariant,
) -> impl Iterator<Item = &'a String> {
    let named = before.map_or(&[][..], |before| &before.examples);
    let all_named = before.is_none_or(names_all);
    let is_new = move |example: &&String| all_named && !named.contains(example);
    after.examples.iter().filter(is_new)
}

fn names_all(invariant: &Invariant) -> bool {
    i64::try_from(invariant.examples.len()).is_ok_and(|named| named >= invariant.violations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violated(violations: i64, examples: &[&str]) -> Invariant {
        Invariant {
            name: "stock-conserved".to_owned(),
            meaning: String::new(),
            checked: 9,
            violations,
            examples: examples.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_new_violation_is_found_also_when_an_old_one_has_gone() {
        let (before, after) = (violated(1, &["a"]), violated(1, &["b"]));
        let (verdict, found) = judge(Some(&before), &after);
        assert_eq!(verdict, Verdict::Failed);
        assert_eq!(found, "9 checked, 1 violation, 1 before the story, new: b");
        assert_eq!(new_violations(Some(&before), &after), 1);
    }

    #[test]
    fn a_violation_from_before_is_not_held_against_the_story() {
        let before = violated(2, &["a", "b"]);
        for after in [
            violated(2, &["a", "b"]),
            violated(1, &["a"]),
            violated(0, &[]),
        ] {
            assert_eq!(judge(Some(&before), &after).0, Verdict::Passed);
            assert_eq!(new_violations(Some(&before), &after), 0);
        }
    }

    #[test]
    fn violations_that_the_audit_does_not_name_are_counted_or_not_judged() {
        let named = ["a", "b", "c", "d", "e"];
        let before = violated(7, &named);
        assert_eq!(
            judge(Some(&before), &violated(8, &named)).0,
            Verdict::Failed
        );
        assert_eq!(
            judge(Some(&before), &violated(7, &named)).0,
            Verdict::NotJudged
        );
        assert_eq!(judge(Some(&before), &violated(0, &[])).0, Verdict::Passed);
        assert_eq!(judge(None, &violated(1, &["a"])).0, Verdict::Failed);
    }
}
