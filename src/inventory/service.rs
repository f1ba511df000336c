//! The inventory service: its name, tables, health check and routes.

use actix_web::web;
use utoipa_actix_web::service_config::ServiceConfig;

use super::routes;
use super::store::{self, ReleaseBatcher, ReserveBatcher};
use crate::platform::http::health::Checks;
use crate::platform::service::{Platform, Role};

/// Points between two steps at which a test can make the process abort or stall.
pub const FAILPOINTS: &[&str] = &[
    "inventory.reserve.begin",
    "inventory.reserve.committed",
    "inventory.release.begin",
    "inventory.release.committed",
];

/// The inventory service.
#[derive(Clone)]
pub struct InventoryService;

impl Role for InventoryService {
    const SERVICE: &'static str = "inventory-service";
    const INTERNAL: bool = true;
    const TABLES: &'static [&'static str] = &["inventory", "reservations"];

    fn checks(&self, platform: &Platform) -> Checks {
        let database = platform.database.clone();
        Checks::new(Self::SERVICE, move || {
            let database = database.clone();
            async move {
                database
                    .is_usable(async |connection| store::find(connection, "").await)
                    .await
            }
        })
    }

    fn routes(&self, platform: &Platform, service: &mut ServiceConfig<'_>) {
        let database = &platform.database;
        let reserves = ReserveBatcher::start(database, store::RESERVE);
        let releases = ReleaseBatcher::start(database, store::RELEASE);
        service
            .app_data(web::Data::new(database.clone()))
            .app_data(web::Data::new(reserves))
            .app_data(web::Data::new(releases))
            .service(routes::list)
            .service(routes::reserve)
            .service(routes::reserve_batch)
            .service(routes::release)
            .service(routes::show);
    }
}
