//! Compares the reservation ledger with a simple reference. Of all reserves and releases of an
//! order, those with the highest epoch count, and among them a release takes precedence over a
//! reserve. A ship ends the order's part in this, so the reference has none.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;
use valerix::domain::ledger;
use valerix::domain::ledger::{Entry, Goods, ReleasePlan, ReservationState, ReservePlan, ShipPlan};
use valerix::inventory::ledger_batch::LedgerBatch;
use valerix::inventory::requests::{
    ReleaseOutcome, ReleaseRequest, ReserveOutcome, ReserveRequest, ShipOutcome, ShipRequest,
};
use valerix::inventory::stock_level::{StockDelta, StockLevel};

const ORDERS: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Message {
    Reserve { order: usize, epoch: i32 },
    Release { order: usize, epoch: i32 },
    Ship { order: usize, epoch: i32 },
}

impl Message {
    const fn order(self) -> usize {
        match self {
            Self::Reserve { order, .. }
            | Self::Release { order, .. }
            | Self::Ship { order, .. } => order,
        }
    }

    const fn epoch(self) -> i32 {
        match self {
            Self::Reserve { epoch, .. }
            | Self::Release { epoch, .. }
            | Self::Ship { epoch, .. } => epoch,
        }
    }
}

fn message() -> impl Strategy<Value = Message> {
    let ship = (0..ORDERS, 1..=4).prop_map(|(order, epoch)| Message::Ship { order, epoch });
    prop_oneof![4 => reserve_or_release(), 1 => ship]
}

fn reserve_or_release() -> impl Strategy<Value = Message> {
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
    shipped: i32,
    rows: BTreeMap<usize, Entry>,
}

impl ProductLedger {
    fn new(stock: i32) -> Self {
        Self {
            stock,
            reserved: 0,
            shipped: 0,
            rows: BTreeMap::new(),
        }
    }

    fn apply(&mut self, message: Message) {
        match message {
            Message::Reserve { order, epoch } => self.reserve(order, epoch),
            Message::Release { order, epoch } => self.release(order, epoch),
            Message::Ship { order, epoch } => self.ship(order, epoch),
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
            ReservePlan::AlreadyHeld | ReservePlan::Stale | ReservePlan::AlreadyShipped => {}
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

    fn ship(&mut self, order: usize, epoch: i32) {
        match ledger::ship(self.rows.get(&order), epoch) {
            ShipPlan::Ship => {
                let entry = self
                    .rows
                    .get_mut(&order)
                    .expect("the plan is for an existing row");
                entry.epoch = epoch;
                entry.state = ReservationState::Shipped;
                self.reserved -= goods(order).quantity;
                self.shipped += goods(order).quantity;
            }
            ShipPlan::NothingHeld | ShipPlan::Stale | ShipPlan::AlreadyShipped => {}
        }
    }

    fn is(&self, order: usize, state: ReservationState) -> bool {
        let entry = self.rows.get(&order);
        entry.is_some_and(|entry| entry.state == state)
    }

    fn holds(&self, order: usize) -> bool {
        self.is(order, ReservationState::Held)
    }

    /// The units of all orders in this state.
    fn units(&self, state: ReservationState) -> i32 {
        (0..ORDERS)
            .filter(|order| self.is(*order, state))
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
    let of_order = || messages.iter().filter(|message| message.order() == order);
    let Some(highest) = of_order().map(|message| message.epoch()).max() else {
        return false;
    };
    of_order()
        .filter(|message| message.epoch() == highest)
        .all(|message| matches!(message, Message::Reserve { .. }))
}

/// The rows of the database, as the store reads and writes them for a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tables {
    stock: i32,
    reserved: i32,
    shipped: i32,
    rows: BTreeMap<Uuid, Entry>,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Reserve(ReserveOutcome),
    Release(ReleaseOutcome),
    Ship(ShipOutcome),
}

impl Tables {
    fn apply_batch(&mut self, batch: &[Message]) -> Vec<Answer> {
        let about = |order: &Uuid| {
            batch
                .iter()
                .any(|message| uuid_of(message.order()) == *order)
        };
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
        for delta in ledger.stock_deltas() {
            self.move_stock(delta);
        }
        answers
    }

    /// The statement of the store, with its conditions.
    fn move_stock(&mut self, delta: StockDelta<'_>) {
        let StockDelta {
            product_id,
            reserving,
            shipping,
        } = delta;
        assert_eq!(product_id, "P");
        assert!(
            self.stock >= reserving && self.reserved + reserving >= shipping,
            "the statement would change no row"
        );
        self.stock -= reserving;
        self.reserved += reserving - shipping;
        self.shipped += shipping;
    }
}

fn answer(ledger: &mut LedgerBatch, message: Message) -> Answer {
    let order_id = uuid_of(message.order());
    match message {
        Message::Reserve { order, epoch } => Answer::Reserve(ledger.reserve(&ReserveRequest {
            order_id,
            epoch,
            goods: goods(order),
        })),
        Message::Release { epoch, .. } => Answer::Release(ledger.release(ReleaseRequest {
            order_id,
            epoch: Some(epoch),
        })),
        Message::Ship { epoch, .. } => Answer::Ship(ledger.ship(ShipRequest {
            order_id,
            epoch: Some(epoch),
        })),
    }
}

fn uuid_of(order: usize) -> Uuid {
    Uuid::from_u128(order as u128 + 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn with_enough_stock_the_ledger_agrees_with_the_reference(
        messages in prop::collection::vec(reserve_or_release(), 0..20),
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
        messages in prop::collection::vec(reserve_or_release(), 0..12)
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
            prop_assert!(ledger.stock >= 0 && ledger.reserved >= 0 && ledger.shipped >= 0);
            prop_assert_eq!(ledger.stock + ledger.reserved + ledger.shipped, stock);
            prop_assert_eq!(ledger.reserved, ledger.units(ReservationState::Held));
            prop_assert_eq!(ledger.shipped, ledger.units(ReservationState::Shipped));
        }
    }

    #[test]
    fn nothing_changes_a_shipped_row_or_one_with_a_higher_epoch(
        stock in 0..6,
        messages in prop::collection::vec(message(), 0..30),
    ) {
        let mut ledger = ProductLedger::new(stock);
        for message in messages {
            let row = |ledger: &ProductLedger| ledger.rows.get(&message.order()).cloned();
            let before = row(&ledger);
            ledger.apply(message);
            let is_fixed = before.as_ref().is_some_and(|row| {
                row.state == ReservationState::Shipped || row.epoch > message.epoch()
            });
            if is_fixed {
                prop_assert_eq!(before, row(&ledger), "{:?}", message);
            }
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
        prop_assert_eq!((once.stock, once.shipped), (twice.stock, twice.shipped));
        prop_assert_eq!(once.rows, twice.rows);
    }

    #[test]
    fn a_batch_has_the_same_result_as_its_messages_one_by_one(
        stock in 0..8,
        batches in prop::collection::vec(prop::collection::vec(message(), 0..12), 0..6),
    ) {
        let empty = Tables { stock, reserved: 0, shipped: 0, rows: BTreeMap::new() };
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
            let expected = Tables {
                stock: reference.stock,
                reserved: reference.reserved,
                shipped: reference.shipped,
                rows,
            };
            prop_assert_eq!(&batched, &expected);
        }
    }
}
