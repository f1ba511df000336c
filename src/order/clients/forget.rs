//! The calls that delete the rows of old orders. They are not steps of the saga.

use actix_web::http::StatusCode;

use super::{InventoryClient, PaymentClient};
use crate::api::{Forget, Forgotten};
use crate::platform::client::guard::Route;
use crate::platform::client::{CallError, Response};
use crate::platform::deadline::Deadline;

pub const FORGET_RESERVATIONS: Route = Route {
    name: "forget",
    path: "/inventory/forget",
};
pub const FORGET_PAYMENTS: Route = Route {
    name: "forget",
    path: "/payments/forget",
};

impl InventoryClient {
    /// Deletes the reservations of orders that leave.
    ///
    /// # Errors
    /// See [`CallError`]. Some or all may be deleted then; repeating the call is safe.
    pub async fn forget(&self, body: &Forget, deadline: Deadline) -> Result<Forgotten, CallError> {
        forgotten(self.0.post(FORGET_RESERVATIONS, body, deadline).await)
    }
}

impl PaymentClient {
    /// Deletes the payments of orders that leave.
    ///
    /// # Errors
    /// See [`CallError`]. Some or all may be deleted then; repeating the call is safe.
    pub async fn forget(&self, body: &Forget, deadline: Deadline) -> Result<Forgotten, CallError> {
        forgotten(self.0.post(FORGET_PAYMENTS, body, deadline).await)
    }
}

fn forgotten(response: Result<Response, CallError>) -> Result<Forgotten, CallError> {
    let response = response?;
    if response.status == StatusCode::OK {
        response.json()
    } else {
        let status = response.status;
        Err(CallError::Unusable(format!("status {status}")))
    }
}
