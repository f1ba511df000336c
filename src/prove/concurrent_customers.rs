//! Customers that place the orders of a queue at the same time, and the operators beside them.

use std::io;
use std::rc::Rc;

use tokio::task::JoinHandle;

use super::api_client::ApiClient;
use super::customer::Customer;
use super::error::ProveError;
use super::faults::ChaosCluster;
use super::order_queue::OrderQueue;
use super::place_orders::place_orders;
use super::plan::PlannedOrder;
use super::progress::ProgressReporter;
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
        progress: &ProgressReporter,
    ) -> Self {
        let queue = Rc::new(OrderQueue::new(orders.to_vec(), progress.clone()));
        let tasks = (0..MAX_CONCURRENT_CUSTOMERS)
            .map(|_| {
                let client = api_client(chaos_cluster);
                tokio::task::spawn_local(place_orders(Rc::clone(&queue), client))
            })
            .collect();
        Self {
            queue,
            number_of_orders: orders.len(),
            tasks,
        }
    }

    /// Lets operators act on the orders as soon as they know them.
    pub fn allow_operators(&self) {
        self.queue.allow_operators();
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
    pub async fn wait_until_answered(
        &mut self,
        chaos_cluster: &mut ChaosCluster,
    ) -> Result<(), ProveError> {
        self.place_all(chaos_cluster).await?;
        for task in self.tasks.drain(..) {
            chaos_cluster
                .run_until(task)
                .await?
                .map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Lets the customers place all orders and the operators act on them, and returns when none of
    /// them sends a further request.
    ///
    /// # Errors
    /// When a service that has died does not start again.
    pub async fn finish(
        mut self,
        chaos_cluster: &mut ChaosCluster,
    ) -> Result<Vec<Customer>, ProveError> {
        self.allow_operators();
        self.wait_until_answered(chaos_cluster).await?;
        let mut customers = Vec::new();
        for (mut customer, operators) in self.queue.take_served() {
            if let Some(operators) = operators {
                let actions = chaos_cluster.run_until(operators).await?;
                customer.actions = actions.map_err(io::Error::other)?;
            }
            customers.push(customer);
        }
        Ok(customers)
    }
}

/// A client with connections of its own.
pub fn api_client(chaos_cluster: &ChaosCluster) -> ApiClient {
    let url = |service| chaos_cluster.cluster().url(service).to_string();
    ApiClient::new(url(ServiceKind::Order), url(ServiceKind::Inventory))
}
