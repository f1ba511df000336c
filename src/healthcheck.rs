//! `valerix healthcheck`: for containers that have no curl.

use std::time::Duration;

use crate::platform::client::{BaseUrl, Client};
use crate::platform::deadline::Deadline;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a service's `/livez` answers 200.
///
/// # Errors
/// In words, why not.
pub async fn run(url: BaseUrl) -> Result<(), String> {
    // awc runs its connections on the thread that made them.
    let local = tokio::task::LocalSet::new();
    let answer = local.run_until(async {
        Client::new(url.clone())
            .get("/livez", Deadline::after(TIMEOUT))
            .await
    });
    match answer.await {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(format!("{url}/livez answers {}", answer.status)),
        Err(error) => Err(format!("{url}/livez: {error}")),
    }
}
