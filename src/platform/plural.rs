//! The number of a noun, and of the verb that follows it, in texts for people.

use std::fmt::Display;

/// A number and its noun: `1 order`, `2 orders`.
#[must_use]
pub fn count<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let noun = noun_for(number, noun);
    format!("{number} {noun}")
}

/// The noun after a number: `order` for one, `orders` for any other number.
#[must_use]
pub fn noun_for<N: Copy + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let ending = if is_one(number) { "" } else { "s" };
    format!("{noun}{ending}")
}

/// `is` for one, `are` for any other number.
#[must_use]
pub fn is_or_are<N: Copy + PartialEq + From<u8>>(number: N) -> &'static str {
    if is_one(number) { "is" } else { "are" }
}

fn is_one<N: Copy + PartialEq + From<u8>>(number: N) -> bool {
    number == N::from(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_thing_has_a_singular() {
        assert_eq!(count(0_u64, "order"), "0 orders");
        assert_eq!(count(1_i64, "order"), "1 order");
        assert_eq!(count(2_usize, "order"), "2 orders");
        assert_eq!((is_or_are(1), is_or_are(0)), ("is", "are"));
    }
}
