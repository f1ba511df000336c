//! Deliveries that are sent while customers place their orders.

use std::collections::VecDeque;
use std::io;

use tokio::task::JoinHandle;

use super::api_client::ApiClient;
use super::concurrent_customers::{ConcurrentCustomers, api_client};
use super::error::ProveError;
use super::faults::ChaosCluster;
use super::operators::{Delivery, deliver};
use super::plan::PlannedDelivery;

pub struct ConcurrentDeliveries {
    client: ApiClient,
    /// Those that were not started, with their positions among the orders.
    planned: VecDeque<(usize, PlannedDelivery)>,
    tasks: Vec<JoinHandle<Delivery>>,
}

impl ConcurrentDeliveries {
    /// Nothing is sent before [`ConcurrentDeliveries::start_up_to`].
    pub fn new(planned: &[(usize, PlannedDelivery)], chaos_cluster: &ChaosCluster) -> Self {
        Self {
            client: api_client(chaos_cluster),
            planned: planned.iter().cloned().collect(),
            tasks: Vec::new(),
        }
    }

    /// Starts each delivery whose position is at most `last`, once the customers have begun the
    /// orders before it. Needs a `LocalSet`.
    ///
    /// # Errors
    /// When a service that has died does not start again.
    pub async fn start_up_to(
        &mut self,
        last: usize,
        customers: &ConcurrentCustomers,
        chaos_cluster: &mut ChaosCluster,
    ) -> Result<(), ProveError> {
        while let Some((position, _)) = self.planned.front()
            && *position <= last
        {
            customers.place_up_to(*position, chaos_cluster).await?;
            if let Some((_, delivery)) = self.planned.pop_front() {
                let delivery = deliver(self.client.clone(), delivery);
                self.tasks.push(tokio::task::spawn_local(delivery));
            }
        }
        Ok(())
    }

    /// Returns when each delivery that was started has its last answer.
    ///
    /// # Errors
    /// When a service that has died does not start again.
    pub async fn finish(
        self,
        chaos_cluster: &mut ChaosCluster,
    ) -> Result<Vec<Delivery>, ProveError> {
        let mut deliveries = Vec::new();
        for task in self.tasks {
            let delivery = chaos_cluster.run_until(task).await?;
            deliveries.push(delivery.map_err(io::Error::other)?);
        }
        Ok(deliveries)
    }
}
