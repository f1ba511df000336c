//! Compares what the customers were told with what is stored. Pure.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use uuid::Uuid;

use super::outcome::Outcome;
use super::plan::Request;

/// One request of a customer, and its outcome.
#[derive(Debug, Clone)]
pub struct Try {
    /// Of the `traceparent` that the request carried; no two tries share one. The order's row
    /// stores it.
    pub trace_id: String,
    pub outcome: Outcome,
    /// The order's id in the response.
    pub order_id: Option<Uuid>,
    /// `code` of a problem document.
    pub code: Option<String>,
}

/// A customer's request and all its tries, in the order in which they were made.
#[derive(Debug, Clone)]
pub struct Customer {
    pub request: Request,
    pub tries: Vec<Try>,
}

impl Customer {
    /// The last try that acknowledged the order; if none did, the last try.
    #[must_use]
    pub fn last_answer(&self) -> Option<&Try> {
        self.tries
            .iter()
            .rfind(|attempt| attempt.outcome.acknowledges())
            .or(self.tries.last())
    }

    /// Whether the order may be the one that this try speaks of: a key stands for the order of any
    /// of its tries.
    fn placed(&self, order: &OrderFact, attempt: &Try) -> bool {
        let made_by = |attempt: &Try| order.trace_id.as_ref() == Some(&attempt.trace_id);
        if self.request.key.is_some() {
            self.tries.iter().any(made_by)
        } else {
            made_by(attempt)
        }
    }
}

/// What the database says of an order.
#[derive(Debug, Clone)]
pub struct OrderFact {
    pub status: String,
    pub failure_reason: Option<String>,
    pub key: Option<String>,
    pub product_id: String,
    pub quantity: i32,
    /// Of the request that stored the order.
    pub trace_id: Option<String>,
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

/// Each kind of broken promise, with the ids that show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Acknowledged, and not stored.
    pub lost: Vec<String>,
    /// Stored, although its request was told 503 with `Retry-After`; the code of that response is
    /// shown.
    pub refused_but_stored: Vec<String>,
    /// Stored, and no try explains it: none has its trace id, or that try was told another order's
    /// id.
    pub unasked: Vec<String>,
    /// The order is not what its customer was told, or two answers to one key exclude each other.
    pub contradicted: Vec<String>,
    /// Two orders for one key, or for one try.
    pub doubled: Vec<String>,
    /// Charged more than once, or charged and not confirmed.
    pub overcharged: Vec<String>,
    /// Confirmed and not paid for.
    pub uncharged: Vec<String>,
    /// More held than was stocked, or confirmed without a hold.
    pub oversold: Vec<String>,
    pub unfinished: Vec<String>,
    /// Responses that the contract does not allow.
    pub unexpected: Vec<String>,
}

impl Findings {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.by_name().iter().all(|(_, found)| found.is_empty())
    }

    /// Every kind of finding with its name, in the order in which they are reported.
    #[must_use]
    pub fn by_name(&self) -> [(&'static str, &[String]); 10] {
        [
            ("lost", &self.lost),
            ("refused but stored", &self.refused_but_stored),
            ("unasked", &self.unasked),
            ("contradicted", &self.contradicted),
            ("doubled", &self.doubled),
            ("overcharged", &self.overcharged),
            ("uncharged", &self.uncharged),
            ("oversold", &self.oversold),
            ("unfinished", &self.unfinished),
            ("unexpected", &self.unexpected),
        ]
    }

    /// The tables are read in any order, and a replay repeats what its first answer gets wrong.
    fn sort_and_dedup(&mut self) {
        for found in [
            &mut self.lost,
            &mut self.refused_but_stored,
            &mut self.unasked,
            &mut self.contradicted,
            &mut self.doubled,
            &mut self.overcharged,
            &mut self.uncharged,
            &mut self.oversold,
            &mut self.unfinished,
            &mut self.unexpected,
        ] {
            found.sort();
            found.dedup();
        }
    }
}

/// Every try by its trace id.
type Tries<'a> = HashMap<&'a str, (&'a Customer, &'a Try)>;

/// Compares every try of every customer with the tables, and every order with the try that made it.
#[must_use]
pub fn check(customers: &[Customer], books: &Books) -> Findings {
    let mut findings = Findings::default();
    let mut tries = Tries::new();
    for customer in customers {
        check_key(customer, &mut findings);
        for attempt in &customer.tries {
            check_try(customer, attempt, books, &mut findings);
            tries.insert(&attempt.trace_id, (customer, attempt));
        }
    }
    for (id, order) in &books.orders {
        check_origin(*id, order, &tries, &mut findings);
        check_order(*id, order, books, &mut findings);
    }
    findings.doubled = doubled(books);
    for (product, held) in held_by_product(books) {
        if held > i64::from(books.stocked.get(&product).copied().unwrap_or_default()) {
            findings.oversold.push(product);
        }
    }
    for (id, charges) in &books.charges {
        let confirmed = books
            .orders
            .get(id)
            .is_some_and(|order| order.status == "CONFIRMED");
        if *charges > 1 || !confirmed {
            findings.overcharged.push(id.to_string());
        }
    }
    findings.sort_and_dedup();
    findings
}

/// Once a key has a final answer, every later answer repeats it. A try without an answer says
/// nothing.
fn check_key(customer: &Customer, findings: &mut Findings) {
    let mut settled = None;
    for attempt in &customer.tries {
        let speaks = attempt.outcome.acknowledges() || attempt.outcome == Outcome::InFlight;
        match settled {
            Some(first) if speaks && first != attempt.outcome => {
                let key = customer.request.key.as_deref().unwrap_or("none");
                findings
                    .contradicted
                    .push(format!("key {key}: told {first}, then {}", attempt.outcome));
            }
            None if attempt.outcome.is_final() => settled = Some(attempt.outcome),
            _ => {}
        }
    }
}

/// What a try was told must be true of the order with the id that it was told.
fn check_try(customer: &Customer, attempt: &Try, books: &Books, findings: &mut Findings) {
    let Try {
        trace_id,
        outcome,
        order_id,
        code,
    } = attempt;
    if let Outcome::Unexpected(status) = outcome {
        let (code, request) = (code.as_deref().unwrap_or("no code"), &customer.request);
        findings
            .unexpected
            .push(format!("{status} {code} for {request:?}"));
    }
    let Some((id, order)) = order_id.and_then(|id| books.orders.get(&id).map(|order| (id, order)))
    else {
        if outcome.acknowledges() {
            let id =
                order_id.map_or_else(|| format!("no id, trace {trace_id}"), |id| id.to_string());
            findings.lost.push(id);
        }
        return;
    };
    if !customer.placed(order, attempt) {
        findings
            .contradicted
            .push(format!("{id}: told to a customer who did not place it"));
    } else if let Some((status, reason)) = outcome.final_state()
        && (status, reason) != (order.status.as_str(), order.failure_reason.as_deref())
    {
        let reason = order.failure_reason.as_deref().unwrap_or("no reason");
        findings.contradicted.push(format!(
            "{id}: told {outcome}, is {} ({reason})",
            order.status
        ));
    } else if *outcome == Outcome::UnknownProduct && books.stocked.contains_key(&order.product_id) {
        findings.contradicted.push(format!(
            "{id}: told {outcome}, but {} exists",
            order.product_id
        ));
    }
}

/// Every order belongs to a try that was told of it or may expect it.
fn check_origin(id: Uuid, order: &OrderFact, tries: &Tries<'_>, findings: &mut Findings) {
    let maker = order
        .trace_id
        .as_deref()
        .and_then(|trace_id| tries.get(trace_id));
    let Some((Customer { request, .. }, attempt)) = maker else {
        return findings.unasked.push(id.to_string());
    };
    if attempt.outcome == Outcome::Refused {
        let code = attempt.code.as_deref().unwrap_or("no code");
        findings
            .refused_but_stored
            .push(format!("{id}: told 503 {code}"));
    } else if request.key != order.key || attempt.order_id.is_some_and(|told| told != id) {
        findings.unasked.push(id.to_string());
    }
    if (&request.product_id, request.quantity) != (&order.product_id, order.quantity) {
        let OrderFact {
            product_id,
            quantity,
            ..
        } = order;
        findings.contradicted.push(format!(
            "{id}: is for {quantity} {product_id}, not for {request:?}"
        ));
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

/// Orders that share a key; without a key, those that share a try.
fn doubled(books: &Books) -> Vec<String> {
    let mut origins: BTreeMap<String, u32> = BTreeMap::new();
    for order in books.orders.values() {
        let origin = match (&order.key, &order.trace_id) {
            (Some(key), _) => format!("key {key}"),
            (None, Some(trace_id)) => format!("trace {trace_id}"),
            (None, None) => continue,
        };
        *origins.entry(origin).or_default() += 1;
    }
    origins
        .into_iter()
        .filter(|(_, orders)| *orders > 1)
        .map(|(origin, _)| origin)
        .collect()
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
    const OTHER: Uuid = Uuid::from_u128(2);

    fn request(key: Option<&str>) -> Request {
        Request {
            product_id: "P".into(),
            quantity: 1,
            key: key.map(str::to_owned),
            replays: false,
        }
    }

    /// The nth try of the customer has the trace id n.
    fn customer(key: Option<&str>, tries: &[(Outcome, Option<Uuid>)]) -> Customer {
        let tries = tries
            .iter()
            .enumerate()
            .map(|(n, (outcome, order_id))| Try {
                trace_id: n.to_string(),
                outcome: *outcome,
                order_id: *order_id,
                code: None,
            });
        Customer {
            request: request(key),
            tries: tries.collect(),
        }
    }

    fn keyed(tries: &[(Outcome, Option<Uuid>)]) -> Customer {
        customer(Some("k"), tries)
    }

    fn unkeyed(tries: &[(Outcome, Option<Uuid>)]) -> Customer {
        customer(None, tries)
    }

    fn fact(status: &str, reason: Option<&str>) -> OrderFact {
        OrderFact {
            status: status.into(),
            failure_reason: reason.map(str::to_owned),
            key: Some("k".into()),
            product_id: "P".into(),
            quantity: 1,
            trace_id: Some("0".into()),
        }
    }

    /// One confirmed order of the key `k`, made by the try 0.
    fn books() -> Books {
        Books {
            orders: HashMap::from([(ID, fact("CONFIRMED", None))]),
            charges: HashMap::from([(ID, 1)]),
            held: HashMap::from([(ID, ("P".into(), 1))]),
            stocked: HashMap::from([("P".into(), 1)]),
        }
    }

    /// The same without the key, made by the nth try.
    fn books_of_unkeyed(n: u32) -> Books {
        let mut books = books();
        let order = books.orders.get_mut(&ID).unwrap();
        (order.key, order.trace_id) = (None, Some(n.to_string()));
        books
    }

    /// One order that failed for the reason, made by the try 0 of the key `k`.
    fn failed(reason: &str) -> Books {
        let orders = HashMap::from([(ID, fact("FAILED", Some(reason)))]);
        Books {
            orders,
            ..Books::default()
        }
    }

    #[track_caller]
    fn assert_clean(customer: &Customer, books: &Books) {
        let findings = check(std::slice::from_ref(customer), books);
        assert!(findings.is_clean(), "{customer:?}: {findings:?}");
    }

    #[test]
    fn an_order_whose_try_was_told_of_it_is_clean() {
        for outcome in [Outcome::Confirmed, Outcome::Pending, Outcome::Unknown] {
            assert_clean(&keyed(&[(outcome, Some(ID))]), &books());
            assert_clean(&unkeyed(&[(outcome, Some(ID))]), &books_of_unkeyed(0));
        }
        assert_clean(
            &keyed(&[(Outcome::Declined, Some(ID))]),
            &failed("payment-declined"),
        );
        assert_clean(
            &keyed(&[(Outcome::OutOfStock, Some(ID))]),
            &failed("insufficient-stock"),
        );
        assert_clean(
            &keyed(&[(Outcome::UnknownProduct, Some(ID))]),
            &failed("unknown-product"),
        );
    }

    #[test]
    fn an_order_whose_try_got_no_answer_is_clean() {
        assert_clean(&keyed(&[(Outcome::NoAnswer, None)]), &books());
        assert_clean(&unkeyed(&[(Outcome::NoAnswer, None)]), &books_of_unkeyed(0));
        assert_clean(
            &unkeyed(&[(Outcome::Refused, None), (Outcome::NoAnswer, None)]),
            &books_of_unkeyed(1),
        );
    }

    #[test]
    fn a_key_speaks_of_the_order_of_any_of_its_tries() {
        let silent_first = [(Outcome::NoAnswer, None), (Outcome::Confirmed, Some(ID))];
        assert_clean(&keyed(&silent_first), &books());
        let unknown_first = [(Outcome::Unknown, Some(ID)), (Outcome::InFlight, Some(ID))];
        assert_clean(&keyed(&unknown_first), &books());
        let second_unknown = [
            (Outcome::NoAnswer, None),
            (Outcome::Unknown, Some(OTHER)),
            (Outcome::Pending, Some(ID)),
        ];
        assert_clean(&keyed(&second_unknown), &books());
    }

    #[test]
    fn an_unknown_outcome_may_leave_no_order() {
        assert_clean(&keyed(&[(Outcome::Unknown, Some(ID))]), &Books::default());
        assert_clean(&unkeyed(&[(Outcome::Unknown, Some(ID))]), &Books::default());
    }

    #[test]
    fn a_refused_try_that_stored_an_order_is_found() {
        let found = [format!("{ID}: told 503 no code")];
        for next in [
            vec![],
            vec![(Outcome::Refused, None)],
            vec![(Outcome::NoAnswer, None)],
        ] {
            let tries = [vec![(Outcome::Refused, None)], next].concat();
            let findings = check(&[unkeyed(&tries)], &books_of_unkeyed(0));
            assert_eq!(findings.refused_but_stored, found);
            assert_eq!(check(&[keyed(&tries)], &books()).refused_but_stored, found);
        }
        // Its key finds the order later, but the first answer was false.
        let tries = [(Outcome::Refused, None), (Outcome::Confirmed, Some(ID))];
        assert_eq!(check(&[keyed(&tries)], &books()).refused_but_stored, found);
    }

    #[test]
    fn a_refused_try_before_the_one_that_stored_the_order_is_clean() {
        let tries = [(Outcome::Refused, None), (Outcome::Confirmed, Some(ID))];
        assert_clean(&unkeyed(&tries), &books_of_unkeyed(1));
    }

    #[test]
    fn an_order_that_no_try_explains_is_found() {
        let nobody = check(&[], &books());
        assert_eq!(nobody.unasked, [ID.to_string()]);
        let mut untraced = books();
        untraced.orders.get_mut(&ID).unwrap().trace_id = None;
        assert_eq!(
            check(&[keyed(&[(Outcome::NoAnswer, None)])], &untraced)
                .unasked
                .len(),
            1
        );
        // The try has a key, and the order has none.
        let keyless = check(&[keyed(&[(Outcome::NoAnswer, None)])], &books_of_unkeyed(0));
        assert_eq!(keyless.unasked, [ID.to_string()]);
    }

    #[test]
    fn an_order_whose_try_was_told_another_id_is_found() {
        let told_another = [(Outcome::Unknown, Some(OTHER))];
        assert_eq!(
            check(&[unkeyed(&told_another)], &books_of_unkeyed(0)).unasked,
            [ID.to_string()]
        );
        assert_eq!(
            check(&[keyed(&told_another)], &books()).unasked,
            [ID.to_string()]
        );
    }

    #[test]
    fn an_id_of_another_customers_order_is_found() {
        let owner = keyed(&[(Outcome::Confirmed, Some(ID))]);
        let mut thief = unkeyed(&[(Outcome::Confirmed, Some(ID))]);
        thief.tries[0].trace_id = "thief".into();
        let findings = check(&[owner, thief], &books());
        assert_eq!(
            findings.contradicted,
            [format!("{ID}: told to a customer who did not place it")]
        );
    }

    #[test]
    fn a_key_may_move_on_from_pending_and_never_from_a_final_answer() {
        let (pending, confirmed) = ((Outcome::Pending, Some(ID)), (Outcome::Confirmed, Some(ID)));
        assert_clean(&keyed(&[pending, confirmed]), &books());
        assert_clean(&keyed(&[pending, pending]), &books());
        assert_clean(
            &keyed(&[confirmed, (Outcome::NoAnswer, None), confirmed]),
            &books(),
        );
        let declined = (Outcome::Declined, Some(ID));
        assert_clean(&keyed(&[pending, declined]), &failed("payment-declined"));
        for later in [pending, declined, (Outcome::InFlight, Some(ID))] {
            let findings = check(&[keyed(&[confirmed, later])], &books());
            assert!(
                findings
                    .contradicted
                    .iter()
                    .any(|found| found.starts_with("key k:")),
                "{findings:?}"
            );
        }
    }

    /// Breaks the books in one way; returns what is found.
    fn broken<T>(breaking: impl FnOnce(&mut Books) -> T) -> Findings {
        let mut books = books();
        breaking(&mut books);
        check(&[keyed(&[(Outcome::Confirmed, Some(ID))])], &books)
    }

    #[test]
    fn each_kind_of_broken_books_is_found() {
        let declined = || fact("FAILED", Some("payment-declined"));
        assert_eq!(
            broken(|books| books.orders.remove(&ID)).lost,
            [ID.to_string()]
        );
        assert_eq!(
            broken(|books| books.orders.insert(ID, declined()))
                .contradicted
                .len(),
            1
        );
        assert_eq!(
            broken(|books| books.orders.insert(ID, fact("PENDING", None)))
                .unfinished
                .len(),
            1
        );
        assert_eq!(
            broken(|books| books.orders.insert(OTHER, declined())).doubled,
            ["key k"]
        );
        assert_eq!(
            broken(|books| books.charges.insert(ID, 2))
                .overcharged
                .len(),
            1
        );
        assert_eq!(
            broken(|books| books.charges.insert(OTHER, 1))
                .overcharged
                .len(),
            1
        );
        assert_eq!(broken(|books| books.charges.remove(&ID)).uncharged.len(), 1);
        assert_eq!(broken(|books| books.held.remove(&ID)).oversold.len(), 1);
        assert_eq!(
            broken(|books| books.stocked.insert("P".into(), 0)).oversold,
            ["P"]
        );
        assert_eq!(
            broken(|books| books.orders.get_mut(&ID).unwrap().quantity = 2)
                .contradicted
                .len(),
            1
        );
    }

    #[test]
    fn two_orders_of_one_try_without_a_key_are_found() {
        let mut books = books_of_unkeyed(0);
        let copy = OrderFact {
            key: None,
            ..fact("FAILED", Some("payment-declined"))
        };
        books.orders.insert(OTHER, copy);
        assert_eq!(
            check(&[unkeyed(&[(Outcome::NoAnswer, None)])], &books).doubled,
            ["trace 0"]
        );
    }

    #[test]
    fn answers_that_break_a_promise_are_found() {
        for wrong in [
            Outcome::Declined,
            Outcome::OutOfStock,
            Outcome::UnknownProduct,
        ] {
            assert_eq!(
                check(&[keyed(&[(wrong, Some(ID))])], &books())
                    .contradicted
                    .len(),
                1
            );
        }
        // The reason is part of the answer, and so is the product's existence.
        let out_of_stock = keyed(&[(Outcome::OutOfStock, Some(ID))]);
        assert_eq!(
            check(&[out_of_stock], &failed("payment-declined"))
                .contradicted
                .len(),
            1
        );
        let mut known = failed("unknown-product");
        known.stocked.insert("P".into(), 1);
        let unknown_product = keyed(&[(Outcome::UnknownProduct, Some(ID))]);
        assert_eq!(check(&[unknown_product], &known).contradicted.len(), 1);
        assert_eq!(
            check(&[keyed(&[(Outcome::Unexpected(500), None)])], &books())
                .unexpected
                .len(),
            1
        );
        assert_eq!(
            check(&[keyed(&[(Outcome::Pending, None)])], &books())
                .lost
                .len(),
            1
        );
    }

    #[test]
    fn the_last_answer_is_the_last_acknowledgement() {
        let told = keyed(&[(Outcome::Pending, Some(ID)), (Outcome::NoAnswer, None)]);
        assert_eq!(
            told.last_answer().map(|last| last.outcome),
            Some(Outcome::Pending)
        );
        let silent = keyed(&[(Outcome::Refused, None), (Outcome::NoAnswer, None)]);
        assert_eq!(
            silent.last_answer().map(|last| last.outcome),
            Some(Outcome::NoAnswer)
        );
    }
}
