//! The requests of a campaign, released step by step between the faults.

use std::cell::{Cell, RefCell};

use indicatif::ProgressBar;
use tokio::sync::Notify;

use super::customer::Customer;
use super::plan::Request;

/// Shared by the campaign, which releases requests, and its customers, which take them.
pub struct RequestQueue {
    requests: Vec<Request>,
    /// The number of requests taken.
    taken: Cell<usize>,
    /// The number of requests released.
    released: Cell<usize>,
    request_taken: Notify,
    /// More requests were released, or none is left.
    changed: Notify,
    customers: RefCell<Vec<Customer>>,
    progress_bar: ProgressBar,
}

impl RequestQueue {
    pub fn new(requests: Vec<Request>, progress_bar: ProgressBar) -> Self {
        Self {
            requests,
            taken: Cell::new(0),
            released: Cell::new(0),
            request_taken: Notify::new(),
            changed: Notify::new(),
            customers: RefCell::default(),
            progress_bar,
        }
    }

    /// Releases the first `count` requests, and returns when all of them were taken.
    pub async fn release(&self, count: usize) {
        self.released.set(count);
        self.changed.notify_waiters();
        while self.taken.get() < count {
            self.request_taken.notified().await;
        }
    }

    /// Waits for a released request. Returns `None` when all requests of the campaign were taken.
    pub async fn take(&self) -> Option<Request> {
        loop {
            let number = self.taken.get();
            let request = self.requests.get(number)?;
            if number < self.released.get() {
                self.taken.set(number + 1);
                self.request_taken.notify_one();
                if number + 1 == self.requests.len() {
                    self.changed.notify_waiters();
                }
                return Some(request.clone());
            }
            self.changed.notified().await;
        }
    }

    /// Stores a customer that has its last answer.
    pub fn finish(&self, customer: Customer) {
        self.customers.borrow_mut().push(customer);
        self.progress_bar.inc(1);
    }

    /// Every customer that has its last answer.
    pub fn customers(&self) -> Vec<Customer> {
        self.customers.borrow().clone()
    }
}
