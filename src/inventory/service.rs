//! The inventory service: its name, tables, health check and routes.

use actix_web::web;
use utoipa_actix_web::service_config::ServiceConfig;

use super::metrics::InventoryMetrics;
use super::store::{self, ReleaseBatcher, ReserveBatcher, ShipBatcher};
use super::{forget_route, operator_routes, routes, ship_route};
use crate::platform::http::health::Checks;
use crate::platform::service::{Platform, Role};

/// Points between two steps at which a test can make the process abort or stall.
pub const FAILPOINTS: &[&str] = &[
    "inventory.reserve.begin",
    "inventory.reserve.committed",
    "inventory.release.begin",
    "inventory.release.committed",
    "inventory.ship.begin",
    "inventory.ship.committed",
];

/// Those that only the deletion of old reservations passes.
pub const RETENTION_FAILPOINTS: &[&str] = &["inventory.forget.begin", "inventory.forget.committed"];

/// The inventory service.
#[derive(Clone)]
pub struct InventoryService {
    metrics: web::Data<InventoryMetrics>,
}

impl InventoryService {
    /// # Errors
    /// When the registry has the metrics of the service already.
    pub fn new(platform: &Platform) -> prometheus::Result<Self> {
        Ok(Self {
            metrics: web::Data::new(InventoryMetrics::new(&platform.registry)?),
        })
    }
}

impl Role for InventoryService {
    const SERVICE: &'static str = "inventory-service";
    const INTERNAL: bool = true;
    const TABLES: &'static [&'static str] = &[
        "inventory",
        "deliveries",
        "reservations",
        "forgotten_shipments",
    ];
    const OPERATOR_ROUTES: &'static [(&'static str, &'static str)] = operator_routes::ROUTES;

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
        let reserves = ReserveBatcher::start(database);
        let releases = ReleaseBatcher::start(database, store::RELEASE);
        let ships = ShipBatcher::start(database, store::SHIP);
        service
            .app_data(web::Data::new(database.clone()))
            .app_data(web::Data::new(reserves))
            .app_data(web::Data::new(releases))
            .app_data(web::Data::new(ships))
            .app_data(self.metrics.clone())
            .service(routes::list)
            .service(routes::reserve)
            .service(routes::reserve_batch)
            .service(routes::release)
            .service(ship_route::ship)
            .service(forget_route::forget)
            .service(routes::show)
            .service(operator_routes::create_product)
            .service(operator_routes::deliver);
    }
}
