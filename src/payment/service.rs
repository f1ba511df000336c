//! The payment service: its name, tables, health check and routes.

use std::sync::Arc;

use actix_web::web;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

use super::charge::Charges;
use super::gateway::Gateway;
use super::{forget, routes, store};
use crate::platform::http::health::Checks;
use crate::platform::service::{Platform, Role};

/// Points between two steps at which a test can make the process abort or stall.
pub const FAILPOINTS: &[&str] = &[
    "payment.charge.begin",
    "payment.charge.decided",
    "payment.charge.committed",
    "payment.void.begin",
    "payment.void.committed",
];

/// Those that only the deletion of old payments passes.
pub const RETENTION_FAILPOINTS: &[&str] = &["payment.forget.begin", "payment.forget.committed"];

/// The payment service.
#[derive(Clone)]
pub struct PaymentService {
    pub gateway: Arc<dyn Gateway>,
}

impl Role for PaymentService {
    const SERVICE: &'static str = "payment-service";
    const INTERNAL: bool = true;
    const TABLES: &'static [&'static str] = &["payments"];

    fn checks(&self, platform: &Platform) -> Checks {
        let database = platform.database.clone();
        Checks::new(Self::SERVICE, move || {
            let database = database.clone();
            async move {
                database
                    .is_usable(async |connection| store::find(connection, Uuid::nil()).await)
                    .await
            }
        })
    }

    fn routes(&self, platform: &Platform, service: &mut ServiceConfig<'_>) {
        let charges = Charges::start(&platform.database, Arc::clone(&self.gateway));
        service
            .app_data(web::Data::new(platform.database.clone()))
            .app_data(web::Data::from(Arc::clone(&self.gateway)))
            .app_data(web::Data::new(charges))
            .service(routes::charge)
            .service(routes::charge_batch)
            .service(routes::of_order)
            .service(routes::void)
            .service(forget::forget)
            .service(routes::show);
    }
}
