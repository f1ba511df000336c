//! Text columns that hold an enum.

use std::fmt::{self, Display};
use std::str::FromStr;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Text;
use strum::VariantArray;

use crate::platform::unknown_variant::UnknownVariant;

/// The value of a text column that holds an enum.
///
/// A newer version may have stored a variant that this version does not know. If the column were
/// read as the enum itself, such a row would fail the whole query, and with it every list and batch
/// that contains the row. `Stored` reads any text, and fails only where the variant is needed.
#[derive(Debug, Clone, PartialEq, Eq, FromSqlRow)]
pub struct Stored<T>(Result<T, UnknownVariant>);

impl<T: Clone> Stored<T> {
    /// Returns the variant.
    ///
    /// # Errors
    /// When this version does not know it.
    pub fn known(&self) -> Result<T, UnknownVariant> {
        self.0.clone()
    }
}

impl<T> From<T> for Stored<T> {
    fn from(variant: T) -> Self {
        Self(Ok(variant))
    }
}

/// Writes the stored text.
impl<T: Display> Display for Stored<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(variant) => variant.fmt(f),
            Err(unknown) => f.write_str(unknown.value()),
        }
    }
}

impl<T: FromStr + VariantArray + Display> FromSql<Text, Pg> for Stored<T> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, Pg>>::from_sql(value)?;
        Ok(Self(
            text.parse().map_err(|_| UnknownVariant::of::<T>(&text)),
        ))
    }
}
