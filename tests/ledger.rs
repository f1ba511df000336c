//! Compares the reservation ledger with a simple reference. Of all messages of an order, those with
//! the highest epoch count, and among them a release takes precedence over a reserve.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;
use valerix::domain::ledger;
use valerix::domain::ledger::{Entry, Goods, ReleasePlan, ReservationState, ReservePlan};
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

/// One product and its ledger. It executes the plan of each message, one after the other.
struct ProductLedger {
    stock: i32,
    reserved: i32,
    rows: BTreeMap<usize, Entry>,
}

impl ProductLedger {
    fn new(stock: i32) -> Self {
        Self {
            stock,
            reserved: 0,
            rows: BTreeMap::new(),
        }
    }

    fn apply(&mut self, message: Message) {
        match message {
            Message::Reserve { order, epoch } => self.reserve(order, epoch),
            Message::Release { order, epoch } => self.release(order, epoch),
        }
    }

    fn apply_all(&mut self, messages: &[Message]) {
        for message in messages {
            self.apply(*message);
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
                        state: ReservationState::Held,
                        goods: Some(goods),
                    },
                );
            }
            ReservePlan::Take => {
                if let Some(entry) = self.rows.get_mut(&order) {
                    entry.epoch = epoch;
                }
            }
            ReservePlan::KeepHeld => {
                self.rows
                    .get_mut(&order)
                    .expect("only an existing row has an epoch to raise")
                    .epoch = epoch;
            }
            ReservePlan::AlreadyHeld | ReservePlan::Stale => {}
            ReservePlan::Mismatch => panic!("every message of an order has the same goods"),
        }
    }

    fn release(&mut self, order: usize, epoch: i32) {
        match ledger::release(self.rows.get(&order), epoch) {
            ReleasePlan::Tombstone => {
                self.rows.insert(
                    order,
                    Entry {
                        epoch,
                        state: ReservationState::Released,
                        goods: None,
                    },
                );
            }
            plan @ (ReleasePlan::GiveBack | ReleasePlan::RaiseEpoch) => {
                let entry = self
                    .rows
                    .get_mut(&order)
                    .expect("the plan is for an existing row");
                entry.epoch = epoch;
                entry.state = ReservationState::Released;
                if plan == ReleasePlan::GiveBack {
                    let quantity = entry
                        .goods
                        .as_ref()
                        .expect("a held reservation has goods")
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
            .is_some_and(|entry| entry.state == ReservationState::Held)
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

/// Whether an order holds stock after these messages, if there is enough stock for all orders.
fn is_held_by_reference(messages: &[Message], order: usize) -> bool {
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

/// The rows of the database, as the store reads and writes them for a batch.
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
    fn apply_batch(&mut self, batch: &[Message]) -> Vec<Answer> {
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
            .map(|message| answer(&mut ledger, *message))
            .collect();
        for changed in ledger.changed_entries() {
            let before = self.rows.insert(changed.order_id, changed.entry.clone());
            assert_eq!(before.is_none(), changed.is_new, "{}", changed.order_id);
        }
        for (product_id, units) in ledger.stock_deltas() {
            assert_eq!(product_id, "P");
            assert!(self.stock >= units, "the statement would change no row");
            self.stock -= units;
            self.reserved += units;
        }
        answers
    }
}

fn answer(ledger: &mut LedgerBatch, message: Message) -> Answer {
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
    fn with_enough_stock_the_ledger_agrees_with_the_reference(
        messages in prop::collection::vec(message(), 0..20),
    ) {
        let mut ledger = ProductLedger::new(100);
        ledger.apply_all(&messages);
        for order in 0..ORDERS {
            let expected = is_held_by_reference(&messages, order);
            prop_assert_eq!(ledger.holds(order), expected, "order {}", order);
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(
        messages in prop::collection::vec(message(), 0..12)
            .prop_flat_map(|messages| (Just(messages.clone()), Just(messages).prop_shuffle()))
    ) {
        let [one, other] = [&messages.0, &messages.1].map(|messages| {
            let mut ledger = ProductLedger::new(100);
            ledger.apply_all(messages);
            (ledger.stock, (0..ORDERS).map(|order| ledger.holds(order)).collect::<Vec<_>>())
        });
        prop_assert_eq!(one, other);
    }

    #[test]
    fn stock_is_conserved_and_never_negative_even_if_it_runs_out(
        stock in 0..6,
        messages in prop::collection::vec(message(), 0..30),
    ) {
        let mut ledger = ProductLedger::new(stock);
        for message in messages {
            ledger.apply(message);
            prop_assert!(ledger.stock >= 0 && ledger.reserved >= 0);
            prop_assert_eq!(ledger.stock + ledger.reserved, stock);
            prop_assert_eq!(ledger.reserved, ledger.held());
        }
    }

    #[test]
    fn a_repeated_message_changes_nothing(messages in prop::collection::vec(message(), 0..20)) {
        let (mut once, mut twice) = (ProductLedger::new(100), ProductLedger::new(100));
        for message in &messages {
            once.apply(*message);
            twice.apply(*message);
            twice.apply(*message);
        }
        prop_assert_eq!((once.stock, once.rows), (twice.stock, twice.rows));
    }

    #[test]
    fn a_batch_has_the_same_result_as_its_messages_one_by_one(
        stock in 0..8,
        batches in prop::collection::vec(prop::collection::vec(message(), 0..12), 0..6),
    ) {
        let empty = Tables { stock, reserved: 0, rows: BTreeMap::new() };
        let (mut batched, mut single) = (empty.clone(), empty);
        let mut reference = ProductLedger::new(stock);
        for batch in batches {
            let answers = batched.apply_batch(&batch);
            let one_by_one = batch.iter().flat_map(|message| single.apply_batch(&[*message]));
            prop_assert_eq!(answers, one_by_one.collect::<Vec<_>>());
            prop_assert_eq!(&batched, &single);
            reference.apply_all(&batch);
            let rows = reference.rows.iter();
            let rows = rows.map(|(order, entry)| (uuid_of(*order), entry.clone())).collect();
            let expected = Tables { stock: reference.stock, reserved: reference.reserved, rows };
            prop_assert_eq!(&batched, &expected);
        }
    }
}
