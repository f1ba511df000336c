//! `valerix prove`: a seeded chaos campaign against freshly started services, and a verdict.
//!
//! `plan` draws the requests and faults from the seed. `campaign` runs them: `faults` injects the
//! faults, and `place_orders` sends the requests. `directed_rounds` leads to what chance has left
//! out of the `coverage`. `check` then compares what the customers were
//! answered with the `stored_state`, and `report` gives the verdict.

mod campaign;
mod check;
mod concurrent_customers;
mod config;
mod coverage;
mod customer;
mod directed_rounds;
mod error;
pub mod faults;
mod injected_faults;
mod order_queue;
mod outcome;
mod place_orders;
mod plan;
mod recovery_path;
mod report;
mod stored_state;

pub use campaign::run;
pub use config::Config;
pub use coverage::Goal;
pub use error::ProveError;
pub use report::{Report, Verdict};
