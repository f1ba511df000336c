//! The commands of `valerix orders`, and the paths of their requests to the order service.

use chrono::{DateTime, SecondsFormat, Utc};
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use crate::api::OrderStatus;

#[derive(Debug, Clone)]
pub enum Command {
    /// The newest orders that match, at most `limit`, from `cursor` on.
    List {
        filter: Filter,
        limit: usize,
        cursor: Option<String>,
    },
    Show(Uuid),
    Cancel(Uuid),
    Fulfil(Uuid),
    Retry(Uuid),
}

/// Which orders to list: those that match each field which is set.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub status: Option<OrderStatus>,
    pub product_id: Option<String>,
    pub settled: Option<bool>,
    pub created_after: Option<DateTime<Utc>>,
    pub created_before: Option<DateTime<Utc>>,
}

impl Filter {
    /// Whether every order matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields().iter().all(|(_, value)| value.is_none())
    }

    /// Returns the path of a page of at most `limit` orders.
    pub(super) fn path(&self, limit: usize, cursor: Option<&str>) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        for (name, value) in self.fields() {
            query.extend_pairs(value.map(|value| (name, value)));
        }
        query.extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
        format!("/orders?{}", query.finish())
    }

    fn fields(&self) -> [(&'static str, Option<String>); 5] {
        let time = |time: Option<DateTime<Utc>>| {
            time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        };
        [
            ("status", self.status.map(|status| status.to_string())),
            ("product_id", self.product_id.clone()),
            ("settled", self.settled.map(|settled| settled.to_string())),
            ("created_after", time(self.created_after)),
            ("created_before", time(self.created_before)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_is_in_the_query_and_encoded() {
        assert_eq!(Filter::default().path(20, None), "/orders?limit=20");
        let filter = Filter {
            status: Some(OrderStatus::PendingPayment),
            product_id: Some("a&b=c ü".to_owned()),
            settled: Some(false),
            created_after: "2026-01-31T13:00:00.5+01:00".parse().ok(),
            created_before: "2026-02-01T00:00:00Z".parse().ok(),
        };
        let wanted = "/orders?limit=5&status=PENDING_PAYMENT&product_id=a%26b%3Dc+%C3%BC\
            &settled=false&created_after=2026-01-31T12%3A00%3A00.500Z\
            &created_before=2026-02-01T00%3A00%3A00Z&cursor=1-2";
        assert_eq!(filter.path(5, Some("1-2")), wanted);
    }
}
