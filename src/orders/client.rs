//! Sends the commands to the order service.

use chrono::Utc;
use serde_json::json;
use uuid::Uuid;

use super::command::{Command, Filter};
use super::report::{Answer, Report};
use crate::api::{MAX_PAGE_LENGTH, Order, OrderPage};
use crate::operator_client::{OperatorClient, OperatorError};
use crate::platform::client::BaseUrl;

pub struct OrdersClient(OperatorClient);

impl OrdersClient {
    /// `token` is the service's `OPERATOR_TOKEN`.
    #[must_use]
    pub fn new(url: &BaseUrl, token: Option<&str>) -> Self {
        Self(OperatorClient::new("order", url, token))
    }

    /// Makes one call, or one for each 100 orders of a list. Needs a `LocalSet`.
    ///
    /// # Errors
    /// When the service does not answer, or rejects the command, or the outcome is not known.
    pub async fn run(&self, command: Command) -> Result<Report, OperatorError> {
        let answer = match command {
            Command::List {
                filter,
                limit,
                cursor,
            } => Answer::Orders {
                is_whole_list: filter.is_empty() && cursor.is_none(),
                page: self.list(&filter, limit, cursor).await?,
            },
            Command::Show(id) => Answer::Shown(self.0.get(&format!("/orders/{id}")).await?),
            Command::Cancel(id) => Answer::Changed(self.change(id, "cancel").await?),
            Command::Fulfil(id) => Answer::Changed(self.change(id, "fulfil").await?),
            Command::Retry(id) => Answer::Changed(self.change(id, "retry").await?),
        };
        Ok(Report {
            answer,
            now: Utc::now(),
        })
    }

    /// Reads as many pages as the limit needs.
    async fn list(
        &self,
        filter: &Filter,
        limit: usize,
        mut cursor: Option<String>,
    ) -> Result<OrderPage, OperatorError> {
        let max_length = usize::try_from(MAX_PAGE_LENGTH).unwrap_or(1);
        let mut orders = Vec::new();
        loop {
            let length = (limit - orders.len()).min(max_length);
            let path = filter.path(length, cursor.as_deref());
            let page: OrderPage = self.0.get(&path).await?;
            let is_empty = page.orders.is_empty();
            orders.extend(page.orders);
            if page.next_cursor.is_none() || is_empty || orders.len() >= limit {
                let next_cursor = page.next_cursor;
                return Ok(OrderPage {
                    orders,
                    next_cursor,
                });
            }
            cursor = page.next_cursor;
        }
    }

    /// Sends a change. Each change can be repeated safely.
    async fn change(&self, id: Uuid, action: &str) -> Result<Order, OperatorError> {
        let advice = format!(
            "valerix orders show {id} shows how the order is now, and repeating the command is safe"
        );
        let path = format!("/orders/{id}/{action}");
        let changed = self.0.post(&path, &json!({}), &advice).await?;
        Ok(changed.body)
    }
}
