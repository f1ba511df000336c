//! `valerix prove`: a seeded chaos campaign against freshly started services, and a verdict.
//!
//! `plan` draws the requests and faults from the seed. `campaign` runs them: `faults` injects the
//! faults, `place_orders` sends the requests of customers, and `operators` those of operators.
//! `directed_rounds` adds orders and faults for each goal of `coverage` that is not reached yet.
//! `check` then compares the answers to customers and operators with the `stored_state`, and
//! `report` gives the verdict. `progress` shows the state of the campaign while it runs.

mod api_client;
mod campaign;
mod check;
mod concurrent_customers;
mod concurrent_deliveries;
mod config;
mod coverage;
mod customer;
mod directed_rounds;
mod error;
pub mod faults;
mod injected_faults;
mod operators;
mod order_queue;
mod outcome;
mod place_orders;
mod plan;
mod progress;
mod record;
mod recovery_path;
mod report;
mod stored_state;

pub use campaign::run;
pub use config::Config;
pub use coverage::Goal;
pub use error::ProveError;
pub use progress::{Display, Format, ProgressReporter};
pub use report::{Report, Verdict};
