//! The planned orders of a campaign, which customers may place step by step between the faults.

use std::cell::{Cell, RefCell};

use indicatif::ProgressBar;
use tokio::sync::Notify;

use super::customer::Customer;
use super::plan::PlannedOrder;

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
    customers: RefCell<Vec<Customer>>,
    progress_bar: ProgressBar,
}

impl OrderQueue {
    pub fn new(orders: Vec<PlannedOrder>, progress_bar: ProgressBar) -> Self {
        Self {
            orders,
            taken: Cell::new(0),
            allowed: Cell::new(0),
            order_taken: Notify::new(),
            changed: Notify::new(),
            customers: RefCell::default(),
            progress_bar,
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

    /// Stores a customer that sends no further request.
    pub fn finish(&self, customer: Customer) {
        self.customers.borrow_mut().push(customer);
        self.progress_bar.inc(1);
    }

    /// Every customer that sends no further request.
    pub fn customers(&self) -> Vec<Customer> {
        self.customers.borrow().clone()
    }
}
