//! The requests of a campaign's customers and operators, and the answers to them.

use std::collections::HashMap;

use super::customer::Customer;
use super::operators::Delivery;

/// Everything that the check compares with the database.
#[derive(Debug, Clone, Default)]
pub struct CampaignRecord {
    /// All customers, those of directed rounds included.
    pub customers: Vec<Customer>,
    pub deliveries: Vec<Delivery>,
    /// The units of each product that were in stock at the start.
    pub opening_stock: HashMap<String, i32>,
}
