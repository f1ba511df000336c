//! Applies a command to several services.

use futures_util::future::join_all;
use serde_json::json;

use super::client::GremlinClient;
use super::command::Command;
use super::error::GremlinError;
use super::table::table;
use crate::platform::client::BaseUrl;
use crate::platform::output;

/// A service whose gremlin gets the command.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub url: BaseUrl,
}

/// Applies the command to each target, and prints the state of each gremlin afterwards. A target
/// that fails does not prevent the others from being tried. Needs a `LocalSet`.
///
/// # Errors
/// One for each target that failed.
pub async fn run(
    targets: &[Target],
    token: Option<&str>,
    command: &Command,
    json: bool,
) -> Result<(), Vec<GremlinError>> {
    let outcomes = join_all(targets.iter().map(|target| async {
        let client = GremlinClient::new(&target.url, token);
        client.apply(command).await?;
        client.status(&target.name).await
    }));
    let (mut statuses, mut errors) = (Vec::new(), Vec::new());
    for outcome in outcomes.await {
        match outcome {
            Ok(status) => statuses.push(status),
            Err(error) => errors.push(error),
        }
    }
    if json {
        output::print_line(format_args!("{:#}", json!(statuses)));
    } else if !statuses.is_empty() {
        output::print(table(&statuses));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}
