//! The environment variables that a service is started with.

use super::addresses::Addresses;
use super::service_kind::ServiceKind;

/// Names and values of variables.
pub type Variables = Vec<(String, String)>;

/// The variables that every launcher sets: where the service listens, its database, and where
/// inventory and payment are.
#[must_use]
pub fn service_environment(
    kind: ServiceKind,
    addresses: &Addresses,
    database_url: &str,
) -> Variables {
    let url = |kind: ServiceKind| addresses.url(kind).to_string();
    variables([
        ("HOST", addresses.host().to_string()),
        ("PORT", addresses.port(kind).to_string()),
        ("DATABASE_URL", database_url.to_owned()),
        ("INVENTORY_SERVICE_URL", url(ServiceKind::Inventory)),
        ("PAYMENT_SERVICE_URL", url(ServiceKind::Payment)),
    ])
}

/// Builds a list of variables from an array.
#[must_use]
pub fn variables<const N: usize>(variables: [(&str, String); N]) -> Variables {
    variables
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
}
