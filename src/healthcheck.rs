//! `valerix healthcheck`: asks whether a service is alive, for containers without curl.

use std::time::Duration;

use actix_web::http::StatusCode;
use tokio::task::LocalSet;

use crate::platform::client::{BaseUrl, CallError, Client};
use crate::platform::deadline::Deadline;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Why a service does not count as alive.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    #[error("{url}/livez answers {status}")]
    Status { url: BaseUrl, status: StatusCode },
    #[error("{url}/livez: {cause}")]
    NoAnswer { url: BaseUrl, cause: CallError },
}

/// Checks that a service's `/livez` answers 2xx within 2 s.
///
/// # Errors
/// When there is no answer, or another one.
pub async fn run(url: BaseUrl) -> Result<(), HealthcheckError> {
    // HTTP connections belong to the thread that opened them.
    let local = LocalSet::new();
    let answer = local.run_until(async {
        let client = Client::new(url.clone());
        client.get("/livez", Deadline::after(TIMEOUT)).await
    });
    match answer.await {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(HealthcheckError::Status {
            url,
            status: answer.status,
        }),
        Err(cause) => Err(HealthcheckError::NoAnswer { url, cause }),
    }
}
