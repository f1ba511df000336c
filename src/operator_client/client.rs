//! Calls a service, and turns each answer into a result for the user of the command line.

use std::time::Duration;

use actix_web::http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::OperatorError;
use crate::platform::client::{BaseUrl, CallError, Client, Response};
use crate::platform::deadline::Deadline;
use crate::platform::http::problem::{Problem, ProblemBody};

const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a change of an order takes while the step timeout is at most 10 s: two step timeouts
/// and the order's own statements.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Neither the list of products nor the events of an order are paginated.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// A client of one service. Each method makes one call, and needs a `LocalSet`.
pub struct OperatorClient {
    client: Client,
    url: BaseUrl,
    service: &'static str,
}

/// The answer to a change that was made, now or earlier.
pub struct Changed<T> {
    pub status: StatusCode,
    pub body: T,
}

impl OperatorClient {
    /// `service` is the name of the service in messages, such as `inventory`; `token` is its
    /// `OPERATOR_TOKEN`.
    #[must_use]
    pub fn new(service: &'static str, url: &BaseUrl, token: Option<&str>) -> Self {
        let client = Client::with_token(url.clone(), token);
        Self {
            client: client.with_max_response_bytes(MAX_RESPONSE_BYTES),
            url: url.clone(),
            service,
        }
    }

    /// Reads something, in at most 10 s.
    ///
    /// # Errors
    /// When the service does not answer, or rejects the request.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, OperatorError> {
        let response = self.client.get(path, Deadline::after(READ_TIMEOUT)).await;
        let response = response.map_err(|cause| self.unreachable(cause))?;
        let response = self.check(response)?;
        response.json().map_err(|cause| self.unreachable(cause))
    }

    /// Makes a change with the method POST, in at most 30 s. `advice` tells the user what to do if
    /// it is not known whether the change was made.
    ///
    /// # Errors
    /// When the service does not answer, or rejects the change, or the outcome is not known.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        advice: &str,
    ) -> Result<Changed<T>, OperatorError> {
        let deadline = Deadline::after(CHANGE_TIMEOUT);
        self.changed(self.client.post(path, body, deadline).await, advice)
    }

    /// Makes a change with the method PUT.
    ///
    /// # Errors
    /// Those of [`OperatorClient::post`].
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        advice: &str,
    ) -> Result<Changed<T>, OperatorError> {
        let deadline = Deadline::after(CHANGE_TIMEOUT);
        self.changed(self.client.put(path, body, deadline).await, advice)
    }

    /// Reads the response to a change.
    fn changed<T: DeserializeOwned>(
        &self,
        response: Result<Response, CallError>,
        advice: &str,
    ) -> Result<Changed<T>, OperatorError> {
        let response = response.map_err(|cause| match cause {
            CallError::NotConnected(_) | CallError::Rejected(_) => self.unreachable(cause),
            CallError::TimedOut | CallError::Interrupted(_) | CallError::Unusable(_) => {
                self.outcome_unknown(cause.to_string(), advice)
            }
        })?;
        let problem = response.json::<ProblemBody>().ok();
        let is_unknown = problem.map_or(response.status.is_server_error(), |problem| {
            problem.code == Problem::OUTCOME_UNKNOWN || problem.status == 500
        });
        if is_unknown {
            let status = response.status.as_u16();
            return Err(self.outcome_unknown(format!("it answered {status}"), advice));
        }
        let response = self.check(response)?;
        let body = response
            .json()
            .map_err(|cause| self.outcome_unknown(cause.to_string(), advice))?;
        Ok(Changed {
            status: response.status,
            body,
        })
    }

    /// Returns a response with a 2xx status.
    fn check(&self, response: Response) -> Result<Response, OperatorError> {
        if response.status.is_success() {
            return Ok(response);
        }
        let problem = response.json::<ProblemBody>();
        let detail = problem.map_or_else(|error| error.to_string(), |problem| describe(&problem));
        Err(OperatorError::Rejected {
            url: self.url.clone(),
            detail,
        })
    }

    fn unreachable(&self, cause: CallError) -> OperatorError {
        OperatorError::Unreachable {
            url: self.url.clone(),
            service: self.service,
            cause,
        }
    }

    fn outcome_unknown(&self, cause: String, advice: &str) -> OperatorError {
        OperatorError::OutcomeUnknown {
            url: self.url.clone(),
            cause,
            advice: advice.to_owned(),
        }
    }
}

/// Says what a problem document means for the user of the command line.
fn describe(problem: &ProblemBody) -> String {
    if problem.status == 401 {
        return "it requires a token: set OPERATOR_TOKEN or --operator-token".to_owned();
    }
    problem.explanation()
}
