//! The text that the demo prints when it is ready.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::LocalSet;

use crate::platform::output;
use crate::testbed::addresses::Addresses;
use crate::testbed::readiness::{Readiness, wait_until_ready};
use crate::testbed::service_kind::ServiceKind;

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Prints the addresses when all services are ready, or after 60 s. Never returns, so that it can
/// wait beside the services.
pub async fn announce_when_ready(addresses: Addresses, database: String) -> Infallible {
    let waits = ServiceKind::ALL.map(|kind| async move {
        let url = addresses.url(kind);
        wait_until_ready(&url, READY_TIMEOUT, POLL_INTERVAL, || Ok(false)).await
    });
    let readiness = LocalSet::new().run_until(join_all(waits)).await;
    if readiness
        .iter()
        .any(|readiness| !matches!(readiness, Ok(Readiness::Ready)))
    {
        output::print_line("\nThe services are not ready yet. Their lines above say why.");
        output::print_line(text("Valerix is still starting.", &addresses, &database));
    } else {
        output::print_line(text("Valerix is running.", &addresses, &database));
    }
    std::future::pending().await
}

fn text(state: &str, addresses: &Addresses, database: &str) -> String {
    let [order, inventory, payment] = ServiceKind::ALL.map(|kind| addresses.url(kind));
    format!(
        r#"
  {state}

    dashboard   {order}/
    order       {order}      API: {order}/docs/
    inventory   {inventory}      API: {inventory}/docs/
    payment     {payment}      API: {payment}/docs/
    database    {database}

  Try:  curl -X POST {order}/orders -d '{{"product_id":"PROD-001","quantity":1}}'
        curl -X POST {inventory}/gremlin/latency -d '{{"enabled":true,"delay_ms":3000}}'
        kill -9 one of the processes named above: it is started again
  Ctrl-C stops everything; the data is kept.
"#
    )
}
