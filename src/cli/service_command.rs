//! A command that runs a service.

use std::process::ExitCode;

use clap::Args;
use clap::builder::Resettable;

use super::outcome::Outcome;
use crate::platform::service::{self, Config, Platform, Role};
use crate::testbed::service_kind::ServiceKind;

/// Stands in for `DATABASE_URL`, which has no default. Nothing connects to it.
const UNUSED_DATABASE_URL: &str = "postgres://localhost/valerix";

/// The arguments of a command that runs a service.
pub trait ServiceCommand: Args {
    type Service: Role;
    const KIND: ServiceKind;

    /// Returns the configuration, and a function that creates the service on its platform.
    fn into_parts(
        self,
    ) -> (
        Config,
        impl FnOnce(&Platform) -> prometheus::Result<Self::Service>,
    );
}

/// Runs the service until it is asked to stop.
pub async fn run(command: impl ServiceCommand) -> Outcome {
    let (config, create) = command.into_parts();
    service::run(config, create).await?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the arguments of a command that is started without flags and environment variables.
pub fn default_args<C: ServiceCommand>() -> Result<C, clap::Error> {
    let command = C::augment_args(clap::Command::new(C::KIND.as_str()))
        .no_binary_name(true)
        .mut_args(|arg| arg.env(Resettable::Reset));
    let matches = command.try_get_matches_from(["--database-url", UNUSED_DATABASE_URL])?;
    C::from_arg_matches(&matches)
}
