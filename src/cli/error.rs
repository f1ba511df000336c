//! Why the program refuses its configuration.

/// A description of the accepted values, in words that follow "it takes".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Takes(pub String);

impl Takes {
    pub fn text(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// A refused configuration, in one line: the name of the argument, its value, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);
