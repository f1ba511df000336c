//! The reservation ledger against a reference that is simple enough to be believed: of all that was
//! heard of an order, the highest epoch counts, and within one epoch a release counts for more than
//! a reserve.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;
use valerix::domain::ledger;
use valerix::domain::ledger::{Entry, Goods, Hold, ReleasePlan, ReservePlan};
use valerix::inventory::ledger_batch::{LedgerBatch, StockLevel};
use valerix::inventory::requests::{
    ReleaseOutcome, ReleaseRequest, ReserveOutcome, ReserveRequest,
};

const ORDERS: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Message {
    Reserve { order: usize, epoch: i32 },
    Release { order: usize, epoch: i32 },
}

fn message() -> impl Strategy<Value = Message> {
    (0..ORDERS, 1..=4, any::<bool>()).prop_map(|(order, epoch, reserve)| {
        if reserve {
            Message::Reserve { order, epoch }
        } else {
            Message::Release { order, epoch }
        }
    })
}

/// Carries plans out, as the store does, on one product.
struct Shelf {
    stock: i32,
    reserved: i32,
    rows: BTreeMap<usize, Entry>,
}

impl Shelf {
    fn new(stock: i32) -> Self {
        Self {
            stock,
            reserved: 0,
            rows: BTreeMap::new(),
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Reserve { order, epoch } => self.reserve(order, epoch),
            Message::Release { order, epoch } => self.release(order, epoch),
        }
    }

    fn hear_all(&mut self, messages: &[Message]) {
        for message in messages {
            self.hear(*message);
        }
    }

    fn reserve(&mut self, order: usize, epoch: i32) {
        let goods = goods(order);
        let entry = self.rows.get(&order);
        match ledger::reserve(entry, epoch, &goods) {
            ReservePlan::Take if self.stock >= goods.quantity => {
                self.stock -= goods.quantity;
                self.reserved += goods.quantity;
                self.rows.insert(
                    order,
                    Entry {
                        epoch,
                        hold: Hold::Held,
                        goods: Some(goods),
                    },
                );
            }
            ReservePlan::Take => {
                if let Some(entry) = self.rows.get_mut(&order) {
                    entry.epoch = epoch;
                }
            }
            ReservePlan::BumpEpoch => {
                self.rows
                    .get_mut(&order)
                    .expect("an epoch is raised in a row")
                    .epoch = epoch
            }
            ReservePlan::AlreadyHeld | ReservePlan::Stale => {}
            ReservePlan::OtherGoods => panic!("every message of an order has the same goods"),
        }
    }

    fn release(&mut self, order: usize, epoch: i32) {
        match ledger::release(self.rows.get(&order), epoch) {
            ReleasePlan::Tombstone => {
                self.rows.insert(
                    order,
                    Entry {
                        epoch,
                        hold: Hold::Released,
                        goods: None,
                    },
                );
            }
            plan @ (ReleasePlan::GiveBack | ReleasePlan::BumpEpoch) => {
                let entry = self.rows.get_mut(&order).expect("the plan has a row");
                entry.epoch = epoch;
                entry.hold = Hold::Released;
                if plan == ReleasePlan::GiveBack {
                    let quantity = entry
                        .goods
                        .as_ref()
                        .expect("what is held is something")
                        .quantity;
                    self.stock += quantity;
                    self.reserved -= quantity;
                }
            }
            ReleasePlan::Ignore => {}
        }
    }

    fn holds(&self, order: usize) -> bool {
        self.rows
            .get(&order)
            .is_some_and(|entry| entry.hold == Hold::Held)
    }

    fn held(&self) -> i32 {
        (0..ORDERS)
            .filter(|order| self.holds(*order))
            .map(|order| goods(order).quantity)
            .sum()
    }
}

fn goods(order: usize) -> Goods {
    Goods {
        product_id: "P".to_owned(),
        quantity: i32::try_from(order).expect("small") + 1,
    }
}

/// With stock for everyone: what a reader of the protocol would say by hand.
fn reference(messages: &[Message], order: usize) -> bool {
    let of_order = |message: &&Message| match message {
        Message::Reserve { order: o, .. } | Message::Release { order: o, .. } => *o == order,
    };
    let epoch = |message: &Message| match message {
        Message::Reserve { epoch, .. } | Message::Release { epoch, .. } => *epoch,
    };
    let Some(highest) = messages.iter().filter(of_order).map(epoch).max() else {
        return false;
    };
    let decisive = messages
        .iter()
        .filter(of_order)
        .filter(|message| epoch(message) == highest);
    decisive
        .clone()
        .all(|message| matches!(message, Message::Reserve { .. }))
}

/// The tables, as the store reads and writes them for a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tables {
    stock: i32,
    reserved: i32,
    rows: BTreeMap<Uuid, Entry>,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Reserve(ReserveOutcome),
    Released(ReleaseOutcome),
}

impl Tables {
    fn hear_together(&mut self, batch: &[Message]) -> Vec<Answer> {
        let about = |order: &Uuid| batch.iter().any(|message| order_id(message) == *order);
        let entries = self.rows.iter().filter(|(order, _)| about(order));
        let entries = entries.map(|(order, entry)| (*order, Ok(entry.clone())));
        let level = StockLevel {
            stock: self.stock,
            reserved: self.reserved,
        };
        let mut ledger = LedgerBatch::new(entries, [("P".to_owned(), level)]);
        let answers = batch
            .iter()
            .map(|message| hear(&mut ledger, *message))
            .collect();
        for changed in ledger.changed_entries() {
            let before = self.rows.insert(changed.order_id, changed.entry.clone());
            assert_eq!(before.is_none(), changed.is_new, "{}", changed.order_id);
        }
        for (product_id, units) in ledger.stock_deltas() {
            assert_eq!(product_id, "P");
            assert!(self.stock >= units, "the statement's guard");
            self.stock -= units;
            self.reserved += units;
        }
        answers
    }
}

fn hear(ledger: &mut LedgerBatch, message: Message) -> Answer {
    let order_id = order_id(&message);
    match message {
        Message::Reserve { order, epoch } => Answer::Reserve(ledger.reserve(&ReserveRequest {
            order_id,
            epoch,
            goods: goods(order),
        })),
        Message::Release { epoch, .. } => Answer::Released(ledger.release(ReleaseRequest {
            order_id,
            epoch: Some(epoch),
        })),
    }
}

fn order_id(message: &Message) -> Uuid {
    match message {
        Message::Reserve { order, .. } | Message::Release { order, .. } => uuid_of(*order),
    }
}

fn uuid_of(order: usize) -> Uuid {
    Uuid::from_u128(order as u128 + 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn with_plenty_in_stock_the_ledger_says_what_the_reference_says(messages in prop::collection::vec(message(), 0..20)) {
        let mut shelf = Shelf::new(100);
        shelf.hear_all(&messages);
        for order in 0..ORDERS {
            prop_assert_eq!(shelf.holds(order), reference(&messages, order), "order {}", order);
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(messages in prop::collection::vec(message(), 0..12).prop_flat_map(|m| (Just(m.clone()), Just(m).prop_shuffle()))) {
        let [one, other] = [&messages.0, &messages.1].map(|messages| {
            let mut shelf = Shelf::new(100);
            shelf.hear_all(messages);
            (shelf.stock, (0..ORDERS).map(|order| shelf.holds(order)).collect::<Vec<_>>())
        });
        prop_assert_eq!(one, other);
    }

    #[test]
    fn stock_is_conserved_and_never_negative_however_scarce(
        stock in 0..6,
        messages in prop::collection::vec(message(), 0..30),
    ) {
        let mut shelf = Shelf::new(stock);
        for message in messages {
            shelf.hear(message);
            prop_assert!(shelf.stock >= 0 && shelf.reserved >= 0);
            prop_assert_eq!(shelf.stock + shelf.reserved, stock);
            prop_assert_eq!(shelf.reserved, shelf.held());
        }
    }

    #[test]
    fn saying_everything_twice_changes_nothing(messages in prop::collection::vec(message(), 0..20)) {
        let (mut once, mut twice) = (Shelf::new(100), Shelf::new(100));
        for message in &messages {
            once.hear(*message);
            twice.hear(*message);
            twice.hear(*message);
        }
        prop_assert_eq!((once.stock, once.rows), (twice.stock, twice.rows));
    }

    #[test]
    fn messages_heard_together_end_as_if_heard_one_after_the_other(
        stock in 0..8,
        batches in prop::collection::vec(prop::collection::vec(message(), 0..12), 0..6),
    ) {
        let empty = Tables { stock, reserved: 0, rows: BTreeMap::new() };
        let (mut together, mut alone, mut reference) = (empty.clone(), empty, Shelf::new(stock));
        for batch in batches {
            let answers = together.hear_together(&batch);
            let one_by_one: Vec<_> = batch.iter().flat_map(|message| alone.hear_together(&[*message])).collect();
            prop_assert_eq!(answers, one_by_one);
            prop_assert_eq!(&together, &alone);
            reference.hear_all(&batch);
            let rows = reference.rows.iter().map(|(order, entry)| (uuid_of(*order), entry.clone())).collect();
            prop_assert_eq!(&together, &Tables { stock: reference.stock, reserved: reference.reserved, rows });
        }
    }
}
