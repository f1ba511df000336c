//! The web application of a service: its own routes and those of every service, behind the
//! middleware.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::{HttpServiceFactory, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::DefaultHeaders;
use actix_web::{App, Error, web};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_actix_web::AppExt;
use utoipa_actix_web::service_config::ServiceConfig;
use utoipa_swagger_ui::{Config as SwaggerConfig, SwaggerUi};

use super::middleware::browser_guard::BrowserGuard;
use super::middleware::service_auth::ServiceToken;
use super::openapi::{self, Description};
use super::operator::OperatorToken;
use super::{health, listener, metrics, middleware};
use crate::platform::fault_injection;
use crate::platform::service::{Config, Platform, Role};

/// The content security policy of the API documentation. Swagger UI sets styles on its elements.
const DOCS_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; \
    form-action 'self'";

/// Builds the application in each worker thread, and serves it.
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
    let service_token = web::Data::new(ServiceToken {
        token: config.service_token.clone().filter(|_| R::INTERNAL),
        operator_routes: R::OPERATOR_ROUTES,
    });
    let operator_token = web::Data::new(OperatorToken(config.operator_token.clone()));
    let origins = Arc::new(config.cors_allowed_origins.clone());
    let guard = BrowserGuard::new(
        config.host,
        &config.cors_allowed_origins,
        &config.allowed_hosts,
    );
    listener::serve(listener, settings, move || {
        let platform = platform.for_this_thread();
        let (app, document) = described_routes(&role, &platform);
        let app = app
            .app_data(web::Data::new(role.checks(&platform)))
            .app_data(web::Data::new(platform.gremlin.clone()))
            .app_data(platform.http_metrics.clone())
            .app_data(web::Data::new(platform.registry.clone()))
            .app_data(service_token.clone())
            .app_data(operator_token.clone())
            .app_data(web::Data::new(guard.clone()))
            .app_data(web::Data::new(Description::new(document)))
            .app_data(web::PathConfig::default().error_handler(openapi::invalid_path))
            .route("/openapi.json", web::get().to(openapi::document))
            .service(web::redirect("/docs", "/docs/"))
            .service(documentation())
            .default_service(web::to(openapi::no_route));
        let app = match role.observer() {
            Some(observer) => app.app_data(observer),
            None => app,
        };
        let app = match role.load_shedder() {
            Some(shedder) => app.app_data(shedder),
            None => app,
        };
        middleware::stack(app, &origins)
    })
}

/// Returns the method and the path of each route that the document describes. Must be called on a
/// runtime.
pub fn routes_of<R: Role>(role: &R, platform: &Platform) -> Vec<(Method, String)> {
    let (_, document) = described_routes(role, platform);
    let description = Description::new(document);
    let routes = description.routes();
    routes
        .map(|(method, path)| (method.clone(), path.to_owned()))
        .collect()
}

/// Returns an application with the routes of the service and of the platform, and the document that
/// describes them.
fn described_routes<R: Role>(
    role: &R,
    platform: &Platform,
) -> (
    App<
        impl ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse,
            Error = Error,
            InitError = (),
        > + use<R>,
    >,
    OpenApi,
) {
    let document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title(format!("Valerix {}", R::SERVICE))
                .version(env!("CARGO_PKG_VERSION"))
                .build(),
        )
        .build();
    App::new()
        .into_utoipa_app()
        .openapi(document)
        .configure(|service| routes(role, platform, service))
        .split_for_parts()
}

/// Adds the routes of every service, and those of this one.
fn routes<R: Role>(role: &R, platform: &Platform, service: &mut ServiceConfig<'_>) {
    service
        .service(health::health)
        .service(health::livez)
        .service(health::readyz)
        .service(metrics::exposition);
    fault_injection::routes(&platform.gremlin, service);
    role.routes(platform, service);
}

/// Returns the pages of the API documentation, below `/docs/`.
fn documentation() -> impl HttpServiceFactory {
    let headers = DefaultHeaders::new()
        .add((header::CONTENT_SECURITY_POLICY, DOCS_SECURITY_POLICY))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::REFERRER_POLICY, "no-referrer"));
    // The pages load the document from its own route, so that memory holds it only once.
    let pages = SwaggerUi::new("/{_:.*}").config(SwaggerConfig::from("/openapi.json"));
    web::scope("/docs").wrap(headers).service(pages)
}
