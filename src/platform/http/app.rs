//! The web application of a service: its routes and those of the platform, behind the middleware.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::HttpServiceFactory;
use actix_web::http::header;
use actix_web::middleware::DefaultHeaders;
use actix_web::{App, web};
use utoipa::openapi::{InfoBuilder, OpenApiBuilder};
use utoipa_actix_web::AppExt;
use utoipa_actix_web::service_config::ServiceConfig;
use utoipa_swagger_ui::{Config as SwaggerConfig, SwaggerUi};

use super::middleware::browser_guard::BrowserGuard;
use super::middleware::service_auth::ServiceToken;
use super::openapi::{self, Description};
use super::{health, listener, metrics, middleware};
use crate::platform::fault_injection;
use crate::platform::service::{Config, Platform, Role};

/// For the pages of the documentation. Swagger UI sets styles on its elements.
const DOCS_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; \
    form-action 'self'";

/// Serves the application, which is the same in every worker thread.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve<R: Role>(
    listener: TcpListener,
    config: &Config,
    platform: Platform,
    role: R,
    settings: listener::Settings,
) -> std::io::Result<actix_web::dev::Server> {
    let token = web::Data::new(ServiceToken(
        config.service_token.clone().filter(|_| R::INTERNAL),
    ));
    let origins = Arc::new(config.cors_allowed_origins.clone());
    let guard = BrowserGuard::new(
        config.host,
        &config.cors_allowed_origins,
        &config.allowed_hosts,
    );
    listener::serve(listener, settings, move || {
        let platform = platform.for_this_thread();
        let document = OpenApiBuilder::new()
            .info(
                InfoBuilder::new()
                    .title(format!("Valerix {}", R::SERVICE))
                    .version(env!("CARGO_PKG_VERSION"))
                    .build(),
            )
            .build();
        let (app, document) = App::new()
            .into_utoipa_app()
            .openapi(document)
            .configure(|service| routes(&role, &platform, service))
            .split_for_parts();
        let app = app
            .app_data(web::Data::new(role.checks(&platform)))
            .app_data(web::Data::new(platform.gremlin.clone()))
            .app_data(platform.http_metrics.clone())
            .app_data(web::Data::new(platform.registry.clone()))
            .app_data(token.clone())
            .app_data(web::Data::new(guard.clone()))
            .app_data(web::Data::new(Description::new(document)))
            .app_data(web::PathConfig::default().error_handler(openapi::unreadable_path))
            .route("/openapi.json", web::get().to(openapi::document))
            .service(web::redirect("/docs", "/docs/"))
            .service(documentation())
            .default_service(web::to(openapi::no_route));
        let app = match role.observer() {
            Some(observer) => app.app_data(observer),
            None => app,
        };
        middleware::stack(app, &origins)
    })
}

fn routes<R: Role>(role: &R, platform: &Platform, service: &mut ServiceConfig<'_>) {
    service
        .service(health::health)
        .service(health::livez)
        .service(health::readyz)
        .service(metrics::exposition);
    fault_injection::routes(&platform.gremlin, service);
    role.routes(platform, service);
}

/// The pages of the documentation, below `/docs/`.
fn documentation() -> impl HttpServiceFactory {
    let headers = DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, DOCS_SECURITY_POLICY))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::REFERRER_POLICY, "no-referrer"));
    // The pages load the document from its address, so that it is kept only once.
    let pages = SwaggerUi::new("/{_:.*}").config(SwaggerConfig::from("/openapi.json"));
    web::scope("/docs").wrap(headers).service(pages)
}
