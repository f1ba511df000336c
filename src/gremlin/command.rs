//! The commands that a client can send to the gremlin of a service.

use serde_json::{Map, Value};

use crate::platform::fault_injection::Latency;

#[derive(Debug, Clone)]
pub enum Command {
    /// Sets the latency switch.
    SetLatency(Latency),
    /// Adds a rule with these fields. The service checks them, and chooses those that are missing.
    AddRule(Map<String, Value>),
    /// Removes the rule with this number.
    RemoveRule(u32),
    RemoveAllRules,
    /// Changes nothing.
    ShowStatus,
}
