//! A client of the inventory service, for operators.

use std::time::Duration;

use actix_web::http::StatusCode;
use uuid::Uuid;

use super::command::Command;
use super::error::StockError;
use super::report::Report;
use crate::api::{CreateProduct, Deliver, product_path};
use crate::platform::client::{BaseUrl, CallError, Client, Response};
use crate::platform::deadline::Deadline;
use crate::platform::http::problem::{Problem, ProblemBody};

/// Longer than the service works on a request.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The list of products has no pages.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;

pub struct StockClient {
    client: Client,
    url: BaseUrl,
}

impl StockClient {
    /// `token` is the service's `OPERATOR_TOKEN`.
    #[must_use]
    pub fn new(url: &BaseUrl, token: Option<&str>) -> Self {
        let client = Client::with_token(url.clone(), token);
        Self {
            client: client.with_max_response_bytes(MAX_RESPONSE_BYTES),
            url: url.clone(),
        }
    }

    /// Makes one call, of at most 10 s. Needs a `LocalSet`.
    ///
    /// # Errors
    /// When the service does not answer, or rejects the command.
    pub async fn run(&self, command: Command) -> Result<Report, StockError> {
        match command {
            Command::List => self.list().await,
            Command::Add {
                product_id,
                quantity,
                delivery_id,
            } => self.add(&product_id, quantity, delivery_id).await,
            Command::Create { product_id, stock } => self.create(&product_id, stock).await,
        }
    }

    async fn list(&self) -> Result<Report, StockError> {
        let response = self.client.get("/inventory", deadline()).await;
        let response = response.map_err(|cause| self.unreachable(cause))?;
        let response = self.check(response)?;
        let products = response.json();
        products
            .map(Report::Products)
            .map_err(|cause| self.unreachable(cause))
    }

    /// The id is chosen here, so that the user can repeat a delivery whose outcome is unknown.
    async fn add(
        &self,
        product_id: &str,
        quantity: i32,
        delivery_id: Option<String>,
    ) -> Result<Report, StockError> {
        let delivery_id = delivery_id.unwrap_or_else(|| Uuid::now_v7().to_string());
        let repeat = format!(
            "repeat the command with --delivery-id {delivery_id}, and nothing is delivered twice"
        );
        let path = format!("{}/deliveries", product_path(product_id));
        let body = Deliver {
            quantity,
            delivery_id: Some(delivery_id),
        };
        let response = self.client.post(&path, &body, deadline()).await;
        let response = self.changed(response, &repeat)?;
        let is_new = response.status == StatusCode::CREATED;
        let delivery = response
            .json()
            .map_err(|cause| self.outcome_unknown(cause.to_string(), &repeat))?;
        Ok(if is_new {
            Report::Delivered(delivery)
        } else {
            Report::DeliveredBefore(delivery)
        })
    }

    async fn create(&self, product_id: &str, stock: i32) -> Result<Report, StockError> {
        let repeat = "repeat the command, and nothing is created twice";
        let body = CreateProduct { stock: Some(stock) };
        let path = product_path(product_id);
        let response = self.client.put(&path, &body, deadline()).await;
        let response = self.changed(response, repeat)?;
        let is_new = response.status == StatusCode::CREATED;
        let product = response
            .json()
            .map_err(|cause| self.outcome_unknown(cause.to_string(), repeat))?;
        Ok(if is_new {
            Report::Created(product)
        } else {
            Report::Exists(product)
        })
    }

    /// Returns the response of a change that was made.
    fn changed(
        &self,
        response: Result<Response, CallError>,
        repeat: &str,
    ) -> Result<Response, StockError> {
        let response = response.map_err(|cause| match cause {
            CallError::NotConnected(_) | CallError::Rejected(_) => self.unreachable(cause),
            CallError::TimedOut | CallError::Interrupted(_) | CallError::Unusable(_) => {
                self.outcome_unknown(cause.to_string(), repeat)
            }
        })?;
        let problem = response.json::<ProblemBody>().ok();
        let is_unknown = problem.map_or(response.status.is_server_error(), |problem| {
            problem.code == Problem::OUTCOME_UNKNOWN || problem.status == 500
        });
        if is_unknown {
            let status = response.status.as_u16();
            return Err(self.outcome_unknown(format!("it answered {status}"), repeat));
        }
        self.check(response)
    }

    /// Returns a response with a 2xx status.
    fn check(&self, response: Response) -> Result<Response, StockError> {
        if response.status.is_success() {
            return Ok(response);
        }
        let problem = response.json::<ProblemBody>();
        let detail = problem.map_or_else(|error| error.to_string(), |problem| describe(&problem));
        Err(StockError::Rejected {
            url: self.url.clone(),
            detail,
        })
    }

    fn unreachable(&self, cause: CallError) -> StockError {
        StockError::Unreachable {
            url: self.url.clone(),
            cause,
        }
    }

    fn outcome_unknown(&self, cause: String, repeat: &str) -> StockError {
        StockError::OutcomeUnknown {
            url: self.url.clone(),
            cause,
            repeat: repeat.to_owned(),
        }
    }
}

fn deadline() -> Deadline {
    Deadline::after(CALL_TIMEOUT)
}

/// Says what a problem document means for the user of the command line.
fn describe(problem: &ProblemBody) -> String {
    match (problem.status, problem.errors.as_slice()) {
        (401, _) => "it requires a token: set OPERATOR_TOKEN or --operator-token".to_owned(),
        (_, []) => problem.detail.clone(),
        (_, errors) => {
            let texts = errors
                .iter()
                .map(|error| format!("{} {}", error.field, error.detail));
            texts.collect::<Vec<_>>().join("; ")
        }
    }
}
