//! One step of retention: a small batch of orders leaves.

use std::time::Duration;

use actix_web::web;
use uuid::Uuid;

use super::cursor::RunCursor;
use crate::api::{Forget, Forgotten, MAX_FORGOTTEN_ORDERS, RetentionStepDone};
use crate::domain::retention::Ending;
use crate::order::clients::{InventoryClient, PaymentClient};
use crate::order::metrics::OrderMetrics;
use crate::order::saga::executor::SagaExecutor;
use crate::order::store::{self, Cursor, LeavingOrder, PageRow, RetentionPage};
use crate::platform::client::CallError;
use crate::platform::db::{Database, DatabaseError};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::failpoint;

/// Orders that a step looks at. Small, so that each statement is short.
const BATCH: i32 = 200;
const _: () = assert!(BATCH as usize <= MAX_FORGOTTEN_ORDERS);
/// For one call to inventory or payment.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A step that takes longer has failed, and another one takes its orders over.
const LEASE_SECONDS: i32 = 60;
/// When a service is asked again to delete a row that it refused to delete.
const REFUSED_RETRY_SECONDS: i32 = 3600;

/// The input of one step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub older_than_days: i32,
    /// Count, and change nothing.
    pub dry_run: bool,
    pub cursor: RunCursor,
}

/// Makes steps. Each thread has its own.
#[derive(Clone)]
pub struct Retention {
    database: Database,
    inventory: InventoryClient,
    payment: PaymentClient,
    metrics: web::Data<OrderMetrics>,
}

impl Retention {
    /// Its calls open no circuit breakers: their failures say nothing about calls of customers.
    #[must_use]
    pub fn new(executor: &SagaExecutor) -> Self {
        let executor = executor.without_opening_breakers();
        Self {
            database: executor.database,
            inventory: executor.inventory,
            payment: executor.payment,
            metrics: executor.metrics,
        }
    }

    /// Makes one step. It can be repeated at any time: orders that an earlier step left unfinished
    /// are finished first.
    ///
    /// # Errors
    /// Those of the order's database. Orders that were marked leave with a later step.
    pub async fn step(&self, step: Step) -> Result<RetentionStepDone, DatabaseError> {
        let done = self.delete_or_count(step).await?;
        if step.dry_run {
            return Ok(done);
        }
        // A run does not ask again about each order that was refused before, but all of them stay.
        let refused = match done.next_cursor {
            None => self.database.run(store::count_refused).await?,
            Some(_) => 0,
        };
        Ok(RetentionStepDone { refused, ..done })
    }

    async fn delete_or_count(&self, step: Step) -> Result<RetentionStepDone, DatabaseError> {
        if !step.dry_run {
            let unfinished = self
                .database
                .run_with_lock_retries(async |connection| {
                    store::claim_leaving(connection, BATCH, LEASE_SECONDS).await
                })
                .await?;
            if !unfinished.is_empty() {
                return self.let_leave(&unfinished, step, Some(step.cursor)).await;
            }
        }
        let page = self.next_page(step).await?;
        let last = page.last().map(|row| Cursor {
            created_at: row.created_at,
            id: row.id,
        });
        let is_full = i32::try_from(page.len()) == Ok(BATCH);
        let next = step.cursor.next(last.filter(|_| is_full));
        let leaving = page.iter().filter(|row| row.leaves);
        let leaving: Vec<_> = leaving.map(PageRow::leaving).collect();
        if !leaving.is_empty() && !step.dry_run {
            failpoint::point("order.leaving").await;
        }
        self.let_leave(&leaving, step, next).await
    }

    async fn next_page(&self, step: Step) -> Result<Vec<PageRow>, DatabaseError> {
        let page = RetentionPage {
            status: step.cursor.status,
            after: step.cursor.after,
            older_than_days: step.older_than_days,
            limit: BATCH,
        };
        self.database
            .run_with_lock_retries(async |connection| {
                if step.dry_run {
                    store::find_old(connection, &page).await
                } else {
                    store::mark_leaving(connection, &page, LEASE_SECONDS).await
                }
            })
            .await
    }

    /// Deletes marked orders, or counts the rows in a dry run. Inventory is asked first, then
    /// payment about the orders that inventory has not refused. An order is deleted after both have
    /// deleted their rows.
    async fn let_leave(
        &self,
        leaving: &[LeavingOrder],
        step: Step,
        next: Option<RunCursor>,
    ) -> Result<RetentionStepDone, DatabaseError> {
        let mut done = RetentionStepDone {
            next_cursor: next.map(|cursor| cursor.to_string()),
            ..RetentionStepDone::default()
        };
        if leaving.is_empty() {
            return Ok(done);
        }
        let mut refusals = Vec::new();
        let body = forget(leaving, &refusals, step.dry_run);
        let deadline = Deadline::after(CALL_TIMEOUT);
        let Some(reservations) = usable(self.inventory.forget(&body, deadline).await) else {
            done.waiting = count(leaving.len());
            return Ok(done);
        };
        refusals.extend(refused_by("inventory", &reservations));
        if !step.dry_run {
            failpoint::point("order.reservations-forgotten").await;
        }
        let body = forget(leaving, &refusals, step.dry_run);
        let deadline = Deadline::after(CALL_TIMEOUT);
        let Some(payments) = usable(self.payment.forget(&body, deadline).await) else {
            done.waiting = count(leaving.len());
            return Ok(done);
        };
        refusals.extend(refused_by("payment", &payments));
        if !step.dry_run {
            failpoint::point("order.payments-forgotten").await;
        }
        done.reservations = reservations.rows;
        done.payments = payments.rows;
        done.bytes = reservations.bytes + payments.bytes;
        done.refused = count(refusals.len());
        self.finish(leaving, &refusals, step, done).await
    }

    /// Deletes the orders that no service has refused, and stores why the others stay.
    async fn finish(
        &self,
        leaving: &[LeavingOrder],
        refusals: &[(Uuid, String)],
        step: Step,
        done: RetentionStepDone,
    ) -> Result<RetentionStepDone, DatabaseError> {
        let accepted = accepted(leaving, refusals).map(|order| order.id);
        let accepted: Vec<_> = accepted.collect();
        let rows = self
            .database
            .run_with_lock_retries(async |connection| {
                if step.dry_run {
                    return store::count_rows(connection, &accepted).await;
                }
                if !refusals.is_empty() {
                    store::store_refusals(connection, refusals, REFUSED_RETRY_SECONDS).await?;
                }
                store::delete_orders(connection, &accepted).await
            })
            .await?;
        if !step.dry_run {
            self.report(rows.orders, refusals);
            failpoint::point("order.left").await;
        }
        Ok(RetentionStepDone {
            orders: rows.orders,
            events: rows.events,
            bytes: done.bytes + rows.bytes,
            ..done
        })
    }

    fn report(&self, orders: i64, refusals: &[(Uuid, String)]) {
        self.metrics
            .orders_left
            .inc_by(u64::try_from(orders).unwrap_or_default());
        for (order_id, refusal) in refusals {
            self.metrics.refused_to_forget.inc();
            tracing::warn!(%order_id, refusal, "an old order stays: a row contradicts its end");
        }
    }
}

/// The request about the orders that no service has refused yet.
fn forget(leaving: &[LeavingOrder], refusals: &[(Uuid, String)], dry_run: bool) -> Forget {
    let of = |ending: Ending| {
        let orders = accepted(leaving, refusals).filter(move |order| order.ending == ending);
        orders.map(|order| order.id).collect()
    };
    Forget {
        failed: of(Ending::Failed),
        fulfilled: of(Ending::Fulfilled),
        dry_run,
    }
}

fn accepted<'a>(
    leaving: &'a [LeavingOrder],
    refusals: &'a [(Uuid, String)],
) -> impl Iterator<Item = &'a LeavingOrder> {
    let is_refused = |order: &LeavingOrder| refusals.iter().any(|(id, _)| *id == order.id);
    leaving.iter().filter(move |order| !is_refused(order))
}

fn refused_by(service: &str, forgotten: &Forgotten) -> impl Iterator<Item = (Uuid, String)> {
    let refusal = move |state: &str| format!("{service} has a row that is {state}");
    let refused = forgotten.refused.iter();
    refused.map(move |order| (order.order_id, refusal(&order.state)))
}

/// The response to a call; `None` if the call failed. The orders then leave with a later step.
fn usable(response: Result<Forgotten, CallError>) -> Option<Forgotten> {
    let unusable = |error: &CallError| tracing::warn!(%error, "old orders cannot leave now");
    response.inspect_err(unusable).ok()
}

fn count(orders: usize) -> i64 {
    i64::try_from(orders).unwrap_or(i64::MAX)
}
