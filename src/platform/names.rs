//! Closed sets of names: one list for the wire, the database and the program.

/// Gives a closed set of names its text form for the wire and the database, in one place. The text
/// is a `tt`, since the description of the API would not see through a `literal`, and would show
/// the program's own names.
macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:tt),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::platform::names::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|name| name.as_str() == text).ok_or_else(|| $crate::platform::names::UnknownName {
                    value: text.to_owned(),
                    known: Self::ALL.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use names;

/// A text that is none of the names it could be.
#[derive(Debug, thiserror::Error)]
#[error("'{value}' is none of {known}")]
pub struct UnknownName {
    pub value: String,
    pub known: String,
}
