//! The state of everything, and what can happen to it.

use valerix::api::{OrderStatus, PaymentStatus};
use valerix::domain::ledger::{Entry, Goods, Hold, ReleasePlan, ReservePlan};
use valerix::domain::saga::{Attempt, Event, MAX_EPOCH, SagaState, Step};

use crate::network::{Message, Sent};
use crate::rules::Rules;

/// Units ever delivered; the order and its rival want one each.
pub const STOCKED: i32 = 1;

/// Who drives an attempt. The workers are told apart by who took the order over first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Request,
    FirstWorker,
    SecondWorker,
}

const DRIVERS: [Who; 3] = [Who::Request, Who::FirstWorker, Who::SecondWorker];

/// Far more than an attempt takes that nothing disturbs; one that goes in circles has not ended the
/// order by then.
const MOST_STEPS: usize = 20;

/// Where a driver stands. It may stall anywhere, since everyone else may always go first, and it
/// may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Driver {
    Absent,
    /// About to do its next step.
    Ready(Attempt),
    /// Has sent its step's message.
    Waiting(Attempt),
    /// Has its answer, and is about to store what follows from it.
    Storing(Attempt),
    /// Stopped, was overtaken, or died.
    Gone,
}

/// The ledger's row of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reservation {
    pub epoch: i32,
    pub hold: Hold,
}

/// What the gateway knows of the order, whose id is its idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gateway {
    would_approve: bool,
    approved: Option<bool>,
    cancelled: bool,
    /// Charges made and not given back.
    pub captured: u8,
}

impl Gateway {
    fn charge(&mut self, rules: Rules) -> PaymentStatus {
        let first_answer = self.approved.filter(|_| rules.gateway_charges_once());
        let approved = first_answer.unwrap_or_else(|| {
            let approved = self.would_approve && !self.cancelled;
            // More than two is as bad as two.
            self.captured = (self.captured + u8::from(approved)).min(2);
            approved
        });
        self.approved = Some(approved);
        if approved {
            PaymentStatus::Success
        } else {
            PaymentStatus::Failed
        }
    }

    fn cancel(&mut self, rules: Rules) {
        self.captured = 0;
        self.cancelled |= rules.gateway_remembers_cancel();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    RivalBuys,
    RivalReturns,
    /// A worker takes the order over. Leases only make it rare that the earlier driver still lives,
    /// so here they never prevent it.
    Claim,
    /// A driver sends its step's message.
    Send(Who),
    /// A message arrives, and its answer reaches nobody.
    Deliver(Message),
    /// A driver's message arrives, for the first time or again, and so does its answer.
    Answer(Who),
    /// A driver waits no longer; its message may still be on its way.
    TimeOut(Who),
    /// The order was older than the recovery bound when the worker took it over: it fails without a
    /// call.
    Expire(Who),
    /// A driver's compare-and-set reaches the order's database.
    Store(Who),
    Die(Who),
    /// A standby becomes the order's database that lacks the last takeover.
    FailOver,
}

/// What else happens in a world, beside crashes, delays, losses and repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    /// The order's database fails over to a standby, and loses commits that were acknowledged.
    LossyFailover,
    /// Somebody reserves stock for the order at the highest epoch there is.
    StrangersReserve,
}

/// A standby of the order's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Standby {
    Absent,
    /// It has the order as it was before the last takeover.
    Behind(SagaState),
    Promoted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub order: SagaState,
    standby: Standby,
    drivers: [Driver; 3],
    pub sent: Sent,
    pub reservation: Option<Reservation>,
    pub stock: i32,
    /// Units the rival has.
    pub rival: i32,
    pub payment: Option<PaymentStatus>,
    pub gateway: Gateway,
    /// A change of the order's row that no order may make.
    pub forbidden_move: Option<(OrderStatus, OrderStatus)>,
}

impl World {
    pub fn new(would_approve: bool, beside: Beside) -> Self {
        let mut sent = Sent::default();
        if beside == Beside::StrangersReserve {
            sent.add(Message::Reserve(MAX_EPOCH));
        }
        let standby = match beside {
            Beside::LossyFailover => Standby::Behind(SagaState::PLACED),
            Beside::Nothing | Beside::StrangersReserve => Standby::Absent,
        };
        Self {
            order: SagaState::PLACED,
            standby,
            drivers: [
                Driver::Ready(Attempt::new(SagaState::PLACED)),
                Driver::Absent,
                Driver::Absent,
            ],
            sent,
            reservation: None,
            stock: STOCKED,
            rival: 0,
            payment: None,
            gateway: Gateway {
                would_approve,
                approved: None,
                cancelled: false,
                captured: 0,
            },
            forbidden_move: None,
        }
    }

    pub fn is_held(&self) -> bool {
        self.reservation.is_some_and(|row| row.hold == Hold::Held)
    }

    pub fn actions(&self, actions: &mut Vec<Action>) {
        if self.stock > 0 {
            actions.push(Action::RivalBuys);
        }
        if self.rival > 0 {
            actions.push(Action::RivalReturns);
        }
        if !self.order.is_settled() && self.drivers.contains(&Driver::Absent) {
            actions.push(Action::Claim);
        }
        if matches!(self.standby, Standby::Behind(order) if order != self.order) {
            actions.push(Action::FailOver);
        }
        actions.extend(self.sent.messages().map(Action::Deliver));
        for who in DRIVERS {
            match self.drivers[who as usize] {
                Driver::Absent | Driver::Gone => continue,
                Driver::Ready(attempt) => {
                    actions.push(Action::Send(who));
                    let took_over_now =
                        who != Who::Request && attempt == Attempt::new(attempt.state);
                    if took_over_now && !attempt.state.is_final() {
                        actions.push(Action::Expire(who));
                    }
                }
                Driver::Waiting(_) => actions.extend([Action::Answer(who), Action::TimeOut(who)]),
                Driver::Storing(_) => actions.push(Action::Store(who)),
            }
            actions.push(Action::Die(who));
        }
    }

    pub fn act(&mut self, rules: Rules, action: Action) {
        match action {
            Action::RivalBuys => (self.stock, self.rival) = (self.stock - 1, self.rival + 1),
            Action::RivalReturns => (self.stock, self.rival) = (self.stock + 1, self.rival - 1),
            Action::Claim => self.claim(rules),
            Action::FailOver => {
                if let Standby::Behind(order) = self.standby {
                    (self.order, self.standby) = (order, Standby::Promoted);
                }
            }
            Action::Deliver(message) => self.deliver(rules, message),
            Action::Send(who)
            | Action::Answer(who)
            | Action::TimeOut(who)
            | Action::Expire(who)
            | Action::Store(who)
            | Action::Die(who) => {
                let driver = self.drivers[who as usize];
                self.drivers[who as usize] = self.drive(rules, driver, action);
            }
        }
    }

    fn claim(&mut self, rules: Rules) {
        if let Some(place) = self
            .drivers
            .iter()
            .position(|driver| *driver == Driver::Absent)
        {
            if let Standby::Behind(_) = self.standby {
                self.standby = Standby::Behind(self.order);
            }
            self.order = rules.claim(self.order);
            self.drivers[place] = go_on(Attempt::new(self.order));
        }
    }

    /// One move of one driver, between any two of which anything else may happen.
    fn drive(&mut self, rules: Rules, driver: Driver, action: Action) -> Driver {
        match (driver, action) {
            (Driver::Ready(attempt), Action::Send(_)) => {
                if let Some(message) = message(rules, attempt) {
                    self.sent.add(message);
                }
                Driver::Waiting(attempt)
            }
            (Driver::Ready(attempt), Action::Expire(_)) => hear(rules, attempt, Event::Expired),
            (Driver::Waiting(attempt), Action::Answer(_)) => {
                let event = self.perform(rules, attempt);
                hear(rules, attempt, event)
            }
            (Driver::Waiting(attempt), Action::TimeOut(_)) => {
                hear(rules, attempt, Event::OutcomeUnknown)
            }
            (Driver::Storing(attempt), Action::Store(_)) if self.store(rules, attempt.state) => {
                go_on(attempt)
            }
            _ => Driver::Gone,
        }
    }

    /// The world after one more worker, whom nothing disturbs, took the order over.
    pub fn recovered(&self, rules: Rules) -> Self {
        let mut world = *self;
        if world.order.is_settled() {
            return world;
        }
        world.order = rules.claim(world.order);
        let mut attempt = Attempt::new(world.order);
        for _ in 0..MOST_STEPS {
            let event = world.perform(rules, attempt);
            let (after, change) = rules.on(attempt, event);
            let goes_on = change.is_none() || world.store(rules, after.state);
            if !goes_on || after.next().is_none() {
                break;
            }
            attempt = after;
        }
        world
    }

    /// Whether nothing that is still on its way could change anything, in whatever order and
    /// however often it comes.
    pub fn is_at_rest(&self, rules: Rules) -> bool {
        let books = |world: &Self| {
            (
                world.reservation,
                world.stock,
                world.payment,
                world.gateway.captured,
            )
        };
        let mut world = *self;
        loop {
            let before = world;
            for message in before.sent.messages() {
                world.deliver(rules, message);
                if books(&world) != books(self) {
                    return false;
                }
            }
            // What arrived may have sent more.
            if world == before {
                return true;
            }
        }
    }

    /// The compare-and-set; false where the order was overtaken. As the statement does, it keeps
    /// the reason of a failure.
    fn store(&mut self, rules: Rules, state: SagaState) -> bool {
        if !rules.may_store(self.order, state) {
            return false;
        }
        let failure_reason = self.order.failure_reason.or(state.failure_reason);
        let state = SagaState {
            failure_reason,
            ..state
        };
        if !may_become(self.order, state) {
            self.forbidden_move = Some((self.order.status, state.status));
        }
        // A statement that stores a change never moves the epoch.
        self.order = SagaState {
            epoch: self.order.epoch,
            ..state
        };
        true
    }

    /// A call that is answered, all at once: whatever stops half-way is a delivery.
    fn perform(&mut self, rules: Rules, attempt: Attempt) -> Event {
        match message(rules, attempt) {
            Some(Message::Reserve(epoch)) => return self.reserve(rules, epoch),
            Some(Message::Release(epoch)) => {
                self.release(rules, epoch);
                return Event::Released;
            }
            Some(Message::Void) => {
                self.gateway.cancel(rules);
                self.payment = rules.void(self.payment);
                return Event::Refunded;
            }
            Some(Message::Charge) if rules.must_charge(self.payment) => {
                let decided = self.gateway.charge(rules);
                self.payment.get_or_insert(decided);
            }
            _ => {}
        }
        // What order makes of payment's answer.
        match self.payment {
            Some(PaymentStatus::Success) => Event::Charged,
            None | Some(PaymentStatus::Pending) => Event::NotCharged,
            Some(PaymentStatus::Failed | PaymentStatus::Refunded | PaymentStatus::Voided) => {
                Event::Declined
            }
        }
    }

    fn deliver(&mut self, rules: Rules, message: Message) {
        match message {
            Message::Reserve(epoch) => {
                self.reserve(rules, epoch);
            }
            Message::Release(epoch) => self.release(rules, epoch),
            Message::Charge => {
                if rules.must_charge(self.payment) {
                    self.sent.add(Message::AskGateway);
                }
            }
            Message::AskGateway => {
                let decided = self.gateway.charge(rules);
                self.sent.add(Message::StoreCharge(decided));
            }
            // What counts is the row that is stored first.
            Message::StoreCharge(decided) => {
                self.payment.get_or_insert(decided);
            }
            Message::Void => {
                self.gateway.cancel(rules);
                self.sent.add(Message::StoreVoid);
            }
            Message::StoreVoid => self.payment = rules.void(self.payment),
        }
    }

    fn entry(&self) -> Option<Entry> {
        self.reservation.map(|Reservation { epoch, hold }| Entry {
            epoch,
            hold,
            goods: (hold == Hold::Held).then(goods),
        })
    }

    /// As inventory's store does it, in one transaction.
    fn reserve(&mut self, rules: Rules, epoch: i32) -> Event {
        let hold = match rules.reserve(self.entry(), epoch, &goods()) {
            ReservePlan::Stale => return Event::Fenced,
            ReservePlan::OtherGoods => return Event::OutcomeUnknown,
            ReservePlan::AlreadyHeld => return Event::Reserved,
            ReservePlan::BumpEpoch => Hold::Held,
            ReservePlan::Take if self.stock > 0 => {
                self.stock -= 1;
                Hold::Held
            }
            ReservePlan::Take => Hold::Released,
        };
        if hold == Hold::Held || self.reservation.is_some() {
            self.reservation = Some(Reservation { epoch, hold });
        }
        if hold == Hold::Held {
            Event::Reserved
        } else {
            Event::InsufficientStock
        }
    }

    fn release(&mut self, rules: Rules, epoch: i32) {
        match rules.release(self.entry(), epoch) {
            ReleasePlan::Ignore => return,
            ReleasePlan::GiveBack => self.stock += 1,
            ReleasePlan::Tombstone | ReleasePlan::BumpEpoch => {}
        }
        self.reservation = Some(Reservation {
            epoch,
            hold: Hold::Released,
        });
    }
}

fn go_on(attempt: Attempt) -> Driver {
    if attempt.next().is_none() {
        Driver::Gone
    } else {
        Driver::Ready(attempt)
    }
}

/// What an attempt makes of an event: a change is stored before it goes on.
fn hear(rules: Rules, attempt: Attempt, event: Event) -> Driver {
    let (after, change) = rules.on(attempt, event);
    if change.is_some() {
        Driver::Storing(after)
    } else {
        go_on(after)
    }
}

fn goods() -> Goods {
    Goods {
        product_id: String::new(),
        quantity: 1,
    }
}

fn message(rules: Rules, attempt: Attempt) -> Option<Message> {
    let epoch = attempt.state.epoch;
    match attempt.next()? {
        Step::Reserve => Some(Message::Reserve(epoch)),
        Step::Release => Some(Message::Release(rules.release_epoch(attempt.state))),
        Step::Charge => Some(Message::Charge),
        Step::Refund => Some(Message::Void),
        Step::QueryPayment => None,
    }
}

/// An order never becomes what it was before, nor leaves its end; what it failed of stays too.
fn may_become(from: SagaState, to: SagaState) -> bool {
    use OrderStatus as Status;
    match (from.status, to.status) {
        (Status::Failed, Status::Failed) => from.failure_reason == to.failure_reason,
        (Status::Confirmed | Status::Failed, _)
        | (_, Status::Pending)
        | (Status::PendingPayment, Status::PendingInventory) => false,
        (Status::Pending | Status::PendingInventory | Status::PendingPayment, _) => true,
    }
}
