//! The server behind the control address.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Server, ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, HttpServer, web};

use super::routes;
use crate::demo::campaign::{self, Campaigns};
use crate::platform::http::bearer_token::has_bearer_token;
use crate::platform::http::middleware::browser_guard::{BrowserGuard, reject_other_sites};
use crate::platform::http::middleware::problem_documents;
use crate::platform::http::problem::Problem;
use crate::testbed::supervisor::SupervisorHandle;

/// Where the demo is controlled, and the token that every request needs.
#[derive(Clone)]
pub struct ControlAddress {
    pub url: String,
    pub token: ControlToken,
}

/// The bearer token of the control address. Each start of the demo makes another one.
#[derive(Clone)]
pub struct ControlToken(pub String);

impl ControlToken {
    fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }
}

/// A bound port on which nothing is served yet.
pub struct ControlServer {
    listener: TcpListener,
    address: ControlAddress,
}

impl ControlServer {
    /// Binds a free port of the loopback address, whatever the address of the services.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = ControlAddress {
            url: format!("http://{}", listener.local_addr()?),
            token: ControlToken::random(),
        };
        Ok(Self { listener, address })
    }

    pub const fn address(&self) -> &ControlAddress {
        &self.address
    }

    /// Serves until the returned handle stops the server. `supervisors` are in the order of
    /// `ServiceKind::ALL`.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub fn serve(
        self,
        supervisors: [SupervisorHandle; 3],
        campaigns: Campaigns,
    ) -> io::Result<ServerHandle> {
        let server = self.server(supervisors, campaigns)?;
        let handle = server.handle();
        tokio::spawn(server);
        Ok(handle)
    }

    fn server(
        self,
        supervisors: [SupervisorHandle; 3],
        campaigns: Campaigns,
    ) -> io::Result<Server> {
        let supervisors = web::Data::new(supervisors);
        let campaigns = web::Data::new(campaigns);
        let token = web::Data::new(self.address.token);
        let guard = web::Data::new(BrowserGuard::new(Ipv4Addr::LOCALHOST.into(), &[], &[]));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(supervisors.clone())
                .app_data(campaigns.clone())
                .app_data(token.clone())
                .app_data(guard.clone())
                .configure(routes::configure)
                .configure(campaign::routes::configure)
                .wrap(from_fn(authenticate))
                .wrap(from_fn(reject_other_sites))
                .wrap(from_fn(problem_documents::render))
        });
        let server = server.workers(1).disable_signals();
        Ok(server.listen(self.listener)?.run())
    }
}

/// Middleware: rejects requests without the token.
async fn authenticate<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let token = request.app_data::<web::Data<ControlToken>>();
    if token.is_some_and(|token| has_bearer_token(request.headers(), &token.0)) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let detail = "Only the order service of this demo may call this address.";
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    Ok(request.error_response(problem).map_into_right_body())
}
