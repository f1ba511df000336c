//! Runs the tour, on a private platform if need be.

use super::actions::Interpreter;
use super::client::PlatformClient;
use super::config::Config;
use super::error::TourError;
use super::narrator::Narrator;
use super::pause::Pause;
use super::private_platform::PrivatePlatform;
use super::report::Report;
use crate::api::story::STORY;
use crate::platform::shutdown::Shutdown;

/// Runs the tour, and ends all faults. Needs a `LocalSet`. Returns `None` when a stop was requested
/// before the end.
///
/// # Errors
/// When the tour could not go on.
pub async fn run(config: Config, shutdown: &Shutdown) -> Result<Option<Report>, TourError> {
    let mut narrator = Narrator::new(config.json, config.pause.then(Pause::start));
    let client = PlatformClient::new(&config);
    let [order_url, ..] = &config.urls;
    if client.is_running().await {
        narrator.introduce(order_url, false);
        let outcome = tell(client, &mut narrator, shutdown).await?;
        return Ok(outcome.map(|()| narrator.finish()));
    }
    let mut platform = PrivatePlatform::start(order_url)?;
    narrator.introduce(&platform.order_url(), true);
    let ready = tokio::select! {
        ready = platform.wait_until_ready() => ready,
        () = shutdown.requested() => return platform.stop().await.map(|()| None),
    };
    let outcome = match ready {
        Ok(()) => tell(platform.client(), &mut narrator, shutdown).await,
        Err(error) => Err(error),
    };
    platform.stop().await?;
    Ok(outcome?.map(|()| narrator.finish()))
}

/// Returns `None` when a stop was requested. No fault is left in any case.
async fn tell(
    mut client: PlatformClient,
    narrator: &mut Narrator,
    shutdown: &Shutdown,
) -> Result<Option<()>, TourError> {
    let story = async {
        client.end_all_faults().await;
        client.prepare().await?;
        Interpreter::new(&client, narrator)
            .run(STORY.chapters)
            .await
    };
    let outcome = tokio::select! {
        outcome = story => outcome.map(Some),
        () = shutdown.requested() => Ok(None),
    };
    client.end_all_faults().await;
    outcome
}
