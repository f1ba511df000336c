//! Tests of the comparison of deliveries with the answers to their operators.

use std::time::Duration;

use super::tests::{CONFIRMED, confirmed_state, delivery, findings, record, with_key};
use super::{Findings, check};
use crate::prove::operators::{Delivery, DeliveryOutcome, DeliveryTry};
use crate::prove::plan::PlannedDelivery;

/// Returns the findings about a delivery of two units of P with these answers. `stored` is the
/// quantity of its row.
fn findings_of_delivery(answers: &[(i32, DeliveryOutcome)], stored: Option<i32>) -> Findings {
    let tries = answers.iter().map(|(quantity, outcome)| DeliveryTry {
        quantity: *quantity,
        outcome: *outcome,
        code: None,
    });
    let sent = Delivery {
        planned: PlannedDelivery {
            delivery_id: "D".into(),
            product_id: "P".into(),
            quantity: 2,
            delay: Duration::ZERO,
            repeats: false,
            contradicts: false,
        },
        tries: tries.collect(),
    };
    let mut state = confirmed_state();
    if let Some(quantity) = stored {
        state.deliveries.insert("D".into(), delivery("P", quantity));
        *state.stocked.get_mut("P").unwrap() += quantity;
    }
    let mut record = record(&[with_key(&[CONFIRMED])]);
    record.deliveries.push(sent);
    check(&record, &state)
}

#[test]
fn a_delivery_that_is_what_its_operator_was_answered_is_clean() {
    use DeliveryOutcome::{
        Delivered, DeliveredBefore, InsufficientStock, Mismatch, NoAnswer, Rejected, UnknownProduct,
    };
    for (answers, stored) in [
        (&[(2, Delivered)][..], Some(2)),
        (&[(2, NoAnswer), (2, DeliveredBefore)], Some(2)),
        (
            &[(2, Delivered), (2, DeliveredBefore), (4, Mismatch)],
            Some(2),
        ),
        (&[(2, NoAnswer)], Some(2)),
        (&[(2, NoAnswer)], None),
        // The first request may still be delivered after the answer to the second.
        (&[(2, NoAnswer), (2, InsufficientStock)], Some(2)),
        (&[(2, Rejected)], None),
        (&[(2, InsufficientStock)], None),
        (&[(2, UnknownProduct)], None),
    ] {
        let found = findings_of_delivery(answers, stored);
        assert!(found.is_clean(), "{answers:?} {stored:?}: {found:?}");
    }
}

#[test]
fn a_delivery_that_differs_from_an_answer_is_found() {
    use DeliveryOutcome::{
        Delivered, DeliveredBefore, InsufficientStock, Mismatch, Rejected, UnknownProduct,
    };
    for (answers, stored) in [
        (&[(2, Delivered)][..], None),
        (&[(2, Delivered)], Some(4)),
        (&[(2, Delivered), (2, Delivered)], Some(2)),
        (&[(2, Delivered), (2, InsufficientStock)], Some(2)),
        (&[(2, Delivered), (4, Delivered)], Some(2)),
        (&[(2, DeliveredBefore)], Some(2)),
        (&[(2, Mismatch)], None),
        (&[(2, Mismatch)], Some(2)),
        (&[(2, Rejected)], Some(2)),
        (&[(2, InsufficientStock)], Some(2)),
        (&[(2, UnknownProduct)], Some(2)),
    ] {
        let found = findings_of_delivery(answers, stored).misdelivered;
        assert_eq!(found.len(), 1, "{answers:?} {stored:?}: {found:?}");
    }
    let unexpected = findings_of_delivery(&[(2, DeliveryOutcome::Unexpected(500))], None);
    assert_eq!(unexpected.unexpected.len(), 1);
}

#[test]
fn stock_that_differs_from_what_was_delivered_is_found() {
    let mut too_much = confirmed_state();
    too_much.stocked.insert("P".into(), 2);
    let found = findings(with_key(&[CONFIRMED]), &too_much).misdelivered;
    assert_eq!(found, ["P: 2 stocked, but 1 at the start and 0 delivered"]);
    let mut unplanned = confirmed_state();
    unplanned
        .deliveries
        .insert("other".into(), delivery("P", 3));
    let found = findings(with_key(&[CONFIRMED]), &unplanned).misdelivered;
    assert_eq!(
        found,
        ["P: 4 in deliveries that nobody sent, but 1 at the start"]
    );
}
