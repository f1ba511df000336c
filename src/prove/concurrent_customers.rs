//! Customers that place the orders of a queue at the same time.

use std::io;
use std::rc::Rc;

use indicatif::ProgressBar;
use tokio::task::JoinHandle;

use super::customer::Customer;
use super::error::ProveError;
use super::faults::ChaosCluster;
use super::order_queue::OrderQueue;
use super::place_orders::place_orders;
use super::plan::PlannedOrder;
use crate::testbed::service_kind::ServiceKind;

const MAX_CONCURRENT_CUSTOMERS: usize = 24;

pub struct ConcurrentCustomers {
    queue: Rc<OrderQueue>,
    number_of_orders: usize,
    tasks: Vec<JoinHandle<()>>,
}

impl ConcurrentCustomers {
    /// Starts the customers. They wait until orders are allowed. Needs a `LocalSet`.
    pub fn start(
        orders: &[PlannedOrder],
        chaos_cluster: &ChaosCluster,
        progress_bar: &ProgressBar,
    ) -> Self {
        let queue = Rc::new(OrderQueue::new(orders.to_vec(), progress_bar.clone()));
        let url = format!("{}/orders", chaos_cluster.cluster().url(ServiceKind::Order));
        let tasks = (0..MAX_CONCURRENT_CUSTOMERS)
            .map(|_| tokio::task::spawn_local(place_orders(Rc::clone(&queue), url.clone())))
            .collect();
        Self {
            queue,
            number_of_orders: orders.len(),
            tasks,
        }
    }

    /// Lets the customers place the first `count` orders, and returns when each of them was begun.
    ///
    /// # Errors
    /// When a service that has died does not start again.
    pub async fn place_up_to(
        &self,
        count: usize,
        chaos_cluster: &mut ChaosCluster,
    ) -> Result<(), ProveError> {
        chaos_cluster.run_until(self.queue.allow_up_to(count)).await
    }

    /// Lets the customers place all orders, and returns when each of them was begun.
    ///
    /// # Errors
    /// When a service that has died does not start again.
    pub async fn place_all(&self, chaos_cluster: &mut ChaosCluster) -> Result<(), ProveError> {
        self.place_up_to(self.number_of_orders, chaos_cluster).await
    }

    /// Lets the customers place all orders, and returns when none of them sends a further request.
    ///
    /// # Errors
    /// When a service that has died does not start again.
    pub async fn finish(
        self,
        chaos_cluster: &mut ChaosCluster,
    ) -> Result<Vec<Customer>, ProveError> {
        self.place_all(chaos_cluster).await?;
        for task in self.tasks {
            chaos_cluster
                .run_until(task)
                .await?
                .map_err(io::Error::other)?;
        }
        Ok(self.queue.customers())
    }
}
