//! Why a tour ended early.

use crate::gremlin::error::GremlinError;
use crate::platform::client::{BaseUrl, CallError};

#[derive(Debug, thiserror::Error)]
pub enum TourError {
    #[error("nothing answers at {0}; start the platform with 'make demo' or 'make up'")]
    NoPlatform(BaseUrl),
    #[error(
        "no product has {0} units in stock, which the tour may order; add stock, or delete the \
         demo's data with 'make demo ARGS=--reset'"
    )]
    SoldOut(i64),
    #[error("the platform that the tour started was not ready within 60 s; its last lines:\n{0}")]
    NotReady(String),
    #[error("{what} at {url}: {cause}")]
    Call {
        what: &'static str,
        url: BaseUrl,
        cause: CallError,
    },
    #[error(transparent)]
    Gremlin(#[from] GremlinError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
