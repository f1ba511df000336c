//! Rows that a batch leaves as they are.

use super::*;

#[test]
fn an_entry_in_an_unknown_state_is_never_changed() {
    let order_id = Uuid::from_u128(1);
    let unknown = UnknownVariant::of::<ReservationState>("NEWER");
    let level = StockLevel {
        stock: 5,
        reserved: 2,
    };
    let mut batch = LedgerBatch::new(
        [(order_id, Err(unknown.clone()))],
        [("P".to_owned(), level)],
    );
    let request = ReserveRequest {
        order_id,
        epoch: 2,
        goods: Goods {
            product_id: "P".to_owned(),
            quantity: 2,
        },
    };
    assert_eq!(
        batch.reserve(&request),
        ReserveOutcome::UnknownState(unknown.clone())
    );
    let request = ReleaseRequest {
        order_id,
        epoch: None,
    };
    assert_eq!(
        batch.release(request),
        ReleaseOutcome::UnknownState(unknown.clone())
    );
    let request = ShipRequest {
        order_id,
        epoch: None,
    };
    assert_eq!(batch.ship(request), ShipOutcome::UnknownState(unknown));
    assert_eq!(batch.changed_entries().count(), 0);
    assert_eq!(batch.stock_deltas().count(), 0);
}

#[test]
fn goods_of_a_product_that_was_changed_by_hand_stay_held() {
    let (order_id, epoch) = (Uuid::from_u128(1), 1);
    let entry = Entry {
        epoch,
        state: ReservationState::Held,
        goods: Some(Goods {
            product_id: "P".to_owned(),
            quantity: 3,
        }),
    };
    let changed = StockLevel {
        stock: 5,
        reserved: 2,
    };
    let changed = ("P".to_owned(), changed);
    for (products, reserved) in [(vec![changed], 2), (Vec::new(), 0)] {
        let mut batch = LedgerBatch::new([(order_id, Ok(entry.clone()))], products);
        let outcome = batch.ship(ShipRequest {
            order_id,
            epoch: Some(epoch),
        });
        let expected = ShipOutcome::MoreThanReserved { held: 3, reserved };
        assert_eq!(outcome, expected);
        assert_eq!(batch.changed_entries().count(), 0);
        assert_eq!(batch.stock_deltas().count(), 0);
    }
}
