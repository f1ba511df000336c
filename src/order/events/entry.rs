//! Changes of orders as server-sent events.

use crate::api::OrderChange;
use crate::order::store::{ChangeRow, Position, Snapshot};

/// A change of an order, ready to be sent.
#[derive(Debug)]
pub struct Entry {
    /// The position of a listener that has this change.
    pub position: Position,
    /// The server-sent event; `None` when the change could not be written as JSON. The streams
    /// that come to it then end.
    pub event: Option<String>,
}

impl Entry {
    /// The entries of changes that follow `position` in key order. Moves `position` past them.
    pub fn all_of(
        changes: Vec<ChangeRow>,
        position: &mut Position,
        snapshot: &Snapshot,
    ) -> Vec<Self> {
        let entry = |change: ChangeRow| {
            position.advance(change.key(), snapshot);
            let json = serde_json::to_string(&OrderChange::from(change));
            let json = json.inspect_err(
                |error| tracing::error!(%error, "a change of an order cannot be written as JSON"),
            );
            let event = json
                .ok()
                .map(|json| format!("event: order\nid: {position}\ndata: {json}\n\n"));
            Self {
                position: position.clone(),
                event,
            }
        };
        changes.into_iter().map(entry).collect()
    }
}
