//! The findings of the check.

use serde::Serialize;

/// The broken promises by kind. Each is shown by an order's id, a product, a key or a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Acknowledged orders that are not stored.
    pub lost: Vec<String>,
    /// Stored orders whose request was answered with 503 and `Retry-After`.
    pub rejected_but_stored: Vec<String>,
    /// Stored orders that no try explains: no try has the order's trace id, or the try with that
    /// trace id was answered with another order's id.
    pub unexplained: Vec<String>,
    /// Orders that differ from what their customer was answered, and keys with two answers that
    /// exclude each other.
    pub inconsistent: Vec<String>,
    /// Keys, or tries without a key, that created more than one order.
    pub duplicated: Vec<String>,
    /// Orders that were charged more than once, or charged and not confirmed.
    pub overcharged: Vec<String>,
    /// Confirmed orders without a payment.
    pub uncharged: Vec<String>,
    /// Confirmed orders whose reservation is missing or differs: it is shipped once they are
    /// fulfilled, and held before.
    pub unreserved: Vec<String>,
    /// Products of which more units are held or shipped than were stocked.
    pub oversold: Vec<String>,
    /// Orders that are cancelled, or were acknowledged as cancelled, but keep stock or money or are
    /// fulfilled; also those that were acknowledged as cancelled, but are not.
    pub cancelled_but_kept: Vec<String>,
    /// Orders whose fulfilment was acknowledged, but that are not fulfilled.
    pub unfulfilled: Vec<String>,
    /// Orders that were cancelled or fulfilled, although each request for it was rejected or there
    /// was none.
    pub unrequested: Vec<String>,
    /// Deliveries that differ from what their operator was answered, and products whose stock
    /// differs from what was delivered.
    pub misdelivered: Vec<String>,
    /// Orders that are still pending.
    pub unfinished: Vec<String>,
    /// Responses that the API does not allow.
    pub unexpected: Vec<String>,
}

impl Findings {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.by_name().iter().all(|(_, found)| found.is_empty())
    }

    /// Every kind of finding with its name, in the order of the report.
    #[must_use]
    pub fn by_name(&self) -> [(&'static str, &[String]); 15] {
        [
            ("lost", &self.lost),
            ("rejected but stored", &self.rejected_but_stored),
            ("unexplained", &self.unexplained),
            ("inconsistent", &self.inconsistent),
            ("duplicated", &self.duplicated),
            ("overcharged", &self.overcharged),
            ("uncharged", &self.uncharged),
            ("unreserved", &self.unreserved),
            ("oversold", &self.oversold),
            ("cancelled but kept", &self.cancelled_but_kept),
            ("unfulfilled", &self.unfulfilled),
            ("unrequested", &self.unrequested),
            ("misdelivered", &self.misdelivered),
            ("unfinished", &self.unfinished),
            ("unexpected", &self.unexpected),
        ]
    }

    /// The tables are read in no particular order, and a replay repeats a wrong answer.
    pub fn sort_and_dedup(&mut self) {
        for found in [
            &mut self.lost,
            &mut self.rejected_but_stored,
            &mut self.unexplained,
            &mut self.inconsistent,
            &mut self.duplicated,
            &mut self.overcharged,
            &mut self.uncharged,
            &mut self.unreserved,
            &mut self.oversold,
            &mut self.cancelled_but_kept,
            &mut self.unfulfilled,
            &mut self.unrequested,
            &mut self.misdelivered,
            &mut self.unfinished,
            &mut self.unexpected,
        ] {
            found.sort();
            found.dedup();
        }
    }
}
