//! The error for a text that is no variant of an enum.

use std::fmt::Display;

use strum::VariantArray;

/// A text that is no variant of the enum as which it was parsed. A newer version may know it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{value}' is not one of {known}")]
pub struct UnknownVariant {
    value: String,
    /// The texts of all variants, separated by commas.
    known: String,
}

impl UnknownVariant {
    /// Returns the error of a `value` that is no variant of `T`.
    #[must_use]
    pub fn of<T: VariantArray + Display>(value: &str) -> Self {
        let known: Vec<_> = T::VARIANTS.iter().map(T::to_string).collect();
        Self {
            value: value.to_owned(),
            known: known.join(", "),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}
