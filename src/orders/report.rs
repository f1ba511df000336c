//! The response of the order service, as text and as JSON.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{detail, page, summary};
use crate::api::{Order, OrderDetail, OrderPage};

/// An answer of the order service, and when it arrived.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Report {
    pub(super) answer: Answer,
    #[serde(skip)]
    pub(super) now: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Orders {
        #[serde(flatten)]
        page: OrderPage,
        /// Nothing was left out: the list is empty only if there are no orders.
        #[serde(skip)]
        is_whole_list: bool,
    },
    Shown(OrderDetail),
    /// The order after a command that changes it.
    Changed(Order),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match &self.answer {
            Answer::Orders {
                page,
                is_whole_list: true,
            } if page.orders.is_empty() => "there are no orders".to_owned(),
            Answer::Orders { page, .. } if page.orders.is_empty() => "no order matches".to_owned(),
            Answer::Orders { page, .. } => page::text(page, self.now),
            Answer::Shown(detail) => detail::text(detail, self.now),
            Answer::Changed(order) => summary::line(order, self.now),
        })
    }
}
