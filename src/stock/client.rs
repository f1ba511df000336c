//! Sends the commands to the inventory service.

use actix_web::http::StatusCode;
use uuid::Uuid;

use super::command::Command;
use super::report::Report;
use crate::api::{CreateProduct, Deliver, product_path};
use crate::operator_client::{OperatorClient, OperatorError};
use crate::platform::client::BaseUrl;

pub struct StockClient(OperatorClient);

impl StockClient {
    /// `token` is the service's `OPERATOR_TOKEN`.
    #[must_use]
    pub fn new(url: &BaseUrl, token: Option<&str>) -> Self {
        Self(OperatorClient::new("inventory", url, token))
    }

    /// Makes one call. Needs a `LocalSet`.
    ///
    /// # Errors
    /// When the service does not answer, or rejects the command, or the outcome is not known.
    pub async fn run(&self, command: Command) -> Result<Report, OperatorError> {
        match command {
            Command::List => self.0.get("/inventory").await.map(Report::Products),
            Command::Add {
                product_id,
                quantity,
                delivery_id,
            } => self.add(&product_id, quantity, delivery_id).await,
            Command::Create { product_id, stock } => self.create(&product_id, stock).await,
        }
    }

    /// Chooses the id of a new delivery, so that the user can repeat it if its outcome is unknown.
    async fn add(
        &self,
        product_id: &str,
        quantity: i32,
        delivery_id: Option<String>,
    ) -> Result<Report, OperatorError> {
        let delivery_id = delivery_id.unwrap_or_else(|| Uuid::now_v7().to_string());
        let advice = format!(
            "repeat the command with --delivery-id {delivery_id}, and nothing is delivered twice"
        );
        let path = format!("{}/deliveries", product_path(product_id));
        let body = Deliver {
            quantity,
            delivery_id: Some(delivery_id),
        };
        let made = self.0.post(&path, &body, &advice).await?;
        Ok(if made.status == StatusCode::CREATED {
            Report::Delivered(made.body)
        } else {
            Report::DeliveredBefore(made.body)
        })
    }

    async fn create(&self, product_id: &str, stock: i32) -> Result<Report, OperatorError> {
        let advice = "repeat the command, and nothing is created twice";
        let body = CreateProduct { stock: Some(stock) };
        let made = self.0.put(&product_path(product_id), &body, advice).await?;
        Ok(if made.status == StatusCode::CREATED {
            Report::Created(made.body)
        } else {
            Report::Exists(made.body)
        })
    }
}
