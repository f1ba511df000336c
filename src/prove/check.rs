//! What the customers were told against what is in the books. Pure.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use uuid::Uuid;

use super::plan::Request;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// 201
    Confirmed,
    /// 202
    Pending,
    /// 402 or 409: acknowledged, and over.
    Failed,
    /// 409: an earlier request with the same key is under way.
    InFlight,
    /// 503: nothing was done.
    Refused,
    /// The connection broke or stayed silent.
    NoAnswer,
    /// A status that such a request must never get.
    Unexpected(u16),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Confirmed => f.write_str("201 confirmed"),
            Self::Pending => f.write_str("202 pending"),
            Self::Failed => f.write_str("402/409 failed"),
            Self::InFlight => f.write_str("409 key in flight"),
            Self::Refused => f.write_str("503 refused"),
            Self::NoAnswer => f.write_str("no answer"),
            Self::Unexpected(status) => write!(f, "{status} unexpected"),
        }
    }
}

/// The last that a customer heard.
#[derive(Debug, Clone)]
pub struct Answer {
    pub request: Request,
    pub outcome: Outcome,
    pub order_id: Option<Uuid>,
    pub tries: u32,
}

/// What the database says of an order.
#[derive(Debug, Clone)]
pub struct OrderFact {
    pub status: String,
    pub key: Option<String>,
    pub product_id: String,
    pub quantity: i32,
}

/// The tables, read after the campaign.
#[derive(Debug, Clone, Default)]
pub struct Books {
    pub orders: HashMap<Uuid, OrderFact>,
    /// Successful payments of each order.
    pub charges: HashMap<Uuid, i64>,
    /// Product and quantity that each order holds.
    pub held: HashMap<Uuid, (String, i32)>,
    pub stocked: HashMap<String, i32>,
}

/// How many of each, with the ids of a few.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Acknowledged, and not in the books.
    pub lost: Vec<String>,
    /// Told one thing, ended as another: 201 and not confirmed, or failed and not failed.
    pub contradicted: Vec<String>,
    /// One key, two orders.
    pub doubled: Vec<String>,
    /// Charged more than once, or charged and not confirmed.
    pub overcharged: Vec<String>,
    /// Confirmed and not paid for.
    pub uncharged: Vec<String>,
    /// More held than was stocked, or confirmed without a hold.
    pub oversold: Vec<String>,
    pub unfinished: Vec<String>,
    /// Answers that such a request must never get.
    pub unexpected: Vec<String>,
}

impl Findings {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

#[must_use]
pub fn check(answers: &[Answer], books: &Books) -> Findings {
    let mut findings = Findings::default();
    for answer in answers {
        check_answer(answer, books, &mut findings);
    }
    for (id, order) in &books.orders {
        check_order(*id, order, books, &mut findings);
    }
    findings.doubled = doubled(books);
    for (product, held) in held_by_product(books) {
        if held > i64::from(books.stocked.get(&product).copied().unwrap_or_default()) {
            findings.oversold.push(product);
        }
    }
    for (id, charges) in &books.charges {
        let confirmed = books.orders.get(id).is_some_and(|order| order.status == "CONFIRMED");
        if *charges > 1 || !confirmed {
            findings.overcharged.push(id.to_string());
        }
    }
    findings
}

fn check_answer(answer: &Answer, books: &Books, findings: &mut Findings) {
    let promised = match answer.outcome {
        Outcome::Confirmed => Some("CONFIRMED"),
        Outcome::Failed => Some("FAILED"),
        Outcome::Pending => None,
        Outcome::Unexpected(status) => {
            return findings.unexpected.push(format!("{status} for {:?}", answer.request));
        }
        Outcome::InFlight | Outcome::Refused | Outcome::NoAnswer => return,
    };
    let found = answer.order_id.and_then(|id| books.orders.get(&id).map(|order| (id, order)));
    let Some((id, order)) = found else {
        return findings.lost.push(format!("{:?}", answer.order_id));
    };
    let same = order.product_id == answer.request.product_id && order.quantity == answer.request.quantity;
    if !same || promised.is_some_and(|promised| promised != order.status) {
        findings.contradicted.push(format!("{id}: told {}, is {}", answer.outcome, order.status));
    }
}

fn check_order(id: Uuid, order: &OrderFact, books: &Books, findings: &mut Findings) {
    match order.status.as_str() {
        "CONFIRMED" => {
            let held = books.held.get(&id);
            if held != Some(&(order.product_id.clone(), order.quantity)) {
                findings.oversold.push(id.to_string());
            }
            if !books.charges.contains_key(&id) {
                findings.uncharged.push(id.to_string());
            }
        }
        "FAILED" => {}
        _ => findings.unfinished.push(id.to_string()),
    }
}

fn doubled(books: &Books) -> Vec<String> {
    let mut keys: BTreeMap<&str, u32> = BTreeMap::new();
    for key in books.orders.values().filter_map(|order| order.key.as_deref()) {
        *keys.entry(key).or_default() += 1;
    }
    keys.into_iter().filter(|(_, orders)| *orders > 1).map(|(key, _)| key.to_owned()).collect()
}

fn held_by_product(books: &Books) -> BTreeMap<String, i64> {
    let mut held: BTreeMap<String, i64> = BTreeMap::new();
    for (product, quantity) in books.held.values() {
        *held.entry(product.clone()).or_default() += i64::from(*quantity);
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    fn request() -> Request {
        Request { product_id: "P".into(), quantity: 1, key: Some("k".into()) }
    }

    fn answer(outcome: Outcome) -> Answer {
        Answer { request: request(), outcome, order_id: Some(ID), tries: 1 }
    }

    fn fact(status: &str) -> OrderFact {
        OrderFact { status: status.into(), key: Some("k".into()), product_id: "P".into(), quantity: 1 }
    }

    fn books() -> Books {
        Books {
            orders: HashMap::from([(ID, fact("CONFIRMED"))]),
            charges: HashMap::from([(ID, 1)]),
            held: HashMap::from([(ID, ("P".into(), 1))]),
            stocked: HashMap::from([("P".into(), 1)]),
        }
    }

    #[test]
    fn books_that_agree_with_the_answers_are_clean() {
        for outcome in [Outcome::Confirmed, Outcome::Pending, Outcome::NoAnswer, Outcome::Refused] {
            let findings = check(&[answer(outcome)], &books());
            assert!(findings.is_clean(), "{findings:?}");
        }
    }

    /// Breaks the books in one way; returns what is found.
    fn broken<T>(breaking: impl FnOnce(&mut Books) -> T) -> Findings {
        let mut books = books();
        breaking(&mut books);
        check(&[answer(Outcome::Confirmed)], &books)
    }

    #[test]
    fn each_kind_of_broken_books_is_found() {
        let other = Uuid::from_u128(2);
        assert_eq!(broken(|books| books.orders.remove(&ID)).lost.len(), 1);
        assert_eq!(broken(|books| books.orders.insert(ID, fact("FAILED"))).contradicted.len(), 1);
        assert_eq!(broken(|books| books.orders.insert(ID, fact("PENDING"))).unfinished.len(), 1);
        assert_eq!(broken(|books| books.orders.insert(other, fact("FAILED"))).doubled, ["k"]);
        assert_eq!(broken(|books| books.charges.insert(ID, 2)).overcharged.len(), 1);
        assert_eq!(broken(|books| books.charges.insert(other, 1)).overcharged.len(), 1);
        assert_eq!(broken(|books| books.charges.remove(&ID)).uncharged.len(), 1);
        assert_eq!(broken(|books| books.held.remove(&ID)).oversold.len(), 1);
        assert_eq!(broken(|books| books.stocked.insert("P".into(), 0)).oversold, ["P"]);
        assert_eq!(broken(|books| books.orders.get_mut(&ID).unwrap().quantity = 2).contradicted.len(), 1);
    }

    #[test]
    fn answers_that_break_a_promise_are_found() {
        assert_eq!(check(&[answer(Outcome::Failed)], &books()).contradicted.len(), 1);
        assert_eq!(check(&[answer(Outcome::Unexpected(500))], &books()).unexpected.len(), 1);
        let unnamed = Answer { order_id: None, ..answer(Outcome::Pending) };
        assert_eq!(check(&[unnamed], &books()).lost.len(), 1);
    }
}
