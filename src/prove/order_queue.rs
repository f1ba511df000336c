//! The planned orders of a campaign, which customers may place step by step between the faults.

use std::cell::{Cell, RefCell};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::customer::Customer;
use super::operators::OrderAction;
use super::plan::PlannedOrder;
use super::progress::ProgressReporter;

/// A customer that sends no further request, and the operators that may still act on its order.
pub type Served = (Customer, Option<JoinHandle<Vec<OrderAction>>>);

/// Shared by the campaign, which allows orders, and its customers, which take them.
pub struct OrderQueue {
    orders: Vec<PlannedOrder>,
    /// The number of orders taken.
    taken: Cell<usize>,
    /// The number of orders that customers may take.
    allowed: Cell<usize>,
    order_taken: Notify,
    /// More orders were allowed, or none is left.
    changed: Notify,
    served: RefCell<Vec<Served>>,
    /// Whether operators may act.
    operators: watch::Sender<bool>,
    progress: ProgressReporter,
}

impl OrderQueue {
    pub fn new(orders: Vec<PlannedOrder>, progress: ProgressReporter) -> Self {
        Self {
            orders,
            taken: Cell::new(0),
            allowed: Cell::new(0),
            order_taken: Notify::new(),
            changed: Notify::new(),
            served: RefCell::default(),
            operators: watch::Sender::new(false),
            progress,
        }
    }

    /// Lets customers take the first `count` orders, and returns when all of them were taken.
    pub async fn allow_up_to(&self, count: usize) {
        self.allowed.set(count);
        self.changed.notify_waiters();
        while self.taken.get() < count {
            self.order_taken.notified().await;
        }
    }

    /// Waits for an order that customers may take. Returns `None` when all orders of the campaign
    /// were taken.
    pub async fn take(&self) -> Option<PlannedOrder> {
        loop {
            let number = self.taken.get();
            let order = self.orders.get(number)?;
            if number < self.allowed.get() {
                self.taken.set(number + 1);
                self.order_taken.notify_one();
                if number + 1 == self.orders.len() {
                    self.changed.notify_waiters();
                }
                return Some(order.clone());
            }
            self.changed.notified().await;
        }
    }

    /// Stores a customer that sends no further request, with the operators that act on its order.
    pub fn finish(&self, customer: Customer, operators: Option<JoinHandle<Vec<OrderAction>>>) {
        self.served.borrow_mut().push((customer, operators));
        self.progress.order_done();
    }

    /// Removes and returns the customers that send no further request.
    pub fn take_served(&self) -> Vec<Served> {
        self.served.take()
    }

    pub fn allow_operators(&self) {
        self.operators.send_replace(true);
    }

    /// Waits until operators may act.
    pub async fn operators_allowed(&self) {
        // The sender is in `self`, so the channel is open.
        let _ = self
            .operators
            .subscribe()
            .wait_for(|allowed| *allowed)
            .await;
    }
}
