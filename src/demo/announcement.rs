//! The text that the demo prints when it is ready.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::LocalSet;

use super::database_access::DatabaseAccess;
use crate::platform::output;
use crate::testbed::addresses::Addresses;
use crate::testbed::postgres::shell_word;
use crate::testbed::readiness::{Readiness, wait_until_ready};
use crate::testbed::service_kind::ServiceKind;

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Prints the addresses when all services are ready, or after 60 s. Never returns, so that it can
/// wait beside the services.
pub async fn announce_when_ready(addresses: Addresses, database: DatabaseAccess) -> Infallible {
    let waits = ServiceKind::ALL.map(|kind| async move {
        let url = addresses.url(kind);
        wait_until_ready(&url, READY_TIMEOUT, POLL_INTERVAL, || Ok(false)).await
    });
    let readiness = LocalSet::new().run_until(join_all(waits)).await;
    let state = if readiness
        .iter()
        .all(|readiness| matches!(readiness, Ok(Readiness::Ready)))
    {
        "Valerix is running."
    } else {
        output::print_line("\nThe services are not ready yet. Their lines above say why.");
        "Valerix is still starting."
    };
    let is_coloured = output::supports_colours(&io::stdout());
    output::print_line(text(state, &addresses, &database, &program(), is_coloured));
    std::future::pending().await
}

/// This program, as the user's shell found it.
fn program() -> String {
    let program = std::env::args_os().next();
    program.map_or_else(|| "valerix".to_owned(), |path| shell_word(Path::new(&path)))
}

fn text(
    state: &str,
    addresses: &Addresses,
    database: &DatabaseAccess,
    program: &str,
    is_coloured: bool,
) -> String {
    let [order, inventory, payment] = ServiceKind::ALL.map(|kind| addresses.url(kind));
    let [orders_url, stock_url, _] = ServiceKind::ALL.map(|kind| url_flag(addresses, kind));
    // Bold.
    let (begin, end) = if is_coloured {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    let DatabaseAccess {
        description,
        psql,
        audit_flag,
        note,
    } = database;
    format!(
        r#"
  {begin}{state}{end}

    {begin}dashboard   {order}/{end}

    order       {order}      API: {order}/docs/
    inventory   {inventory}      API: {inventory}/docs/
    payment     {payment}      API: {payment}/docs/
    database    {description}

  Try, in this directory in a second terminal:

    curl -X POST {order}/orders -d '{{"product_id":"PROD-001","quantity":1}}'
    curl -X POST {inventory}/gremlin/latency -d '{{"enabled":true,"delay_ms":3000}}'
    {program} orders list{orders_url}
    {program} stock list{stock_url}
    {program} audit{audit_flag}{note}
    {psql}{note}

  Kill a service by its button on the dashboard, or with kill -9: it is started again.
  Ctrl-C stops everything; the data is kept.
"#
    )
}

/// The flag that a command needs to find the service; empty at the default address.
fn url_flag(addresses: &Addresses, kind: ServiceKind) -> String {
    let url = addresses.url(kind).to_string();
    if url == format!("http://127.0.0.1:{}", kind.default_port()) {
        String::new()
    } else {
        format!(" --url {url}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> DatabaseAccess {
        DatabaseAccess {
            description: "PostgreSQL 15".to_owned(),
            psql: "psql valerix".to_owned(),
            audit_flag: String::new(),
            note: "",
        }
    }

    fn text_at(ports: [u16; 3], is_coloured: bool) -> String {
        let addresses = Addresses::new("127.0.0.1".parse().unwrap(), ports);
        let program = "target/demo/valerix";
        text("Running.", &addresses, &database(), program, is_coloured)
    }

    #[test]
    fn commands_name_the_address_only_where_it_is_not_the_default() {
        let at_default = text_at([5001, 5002, 5003], false);
        for line in [
            "    target/demo/valerix orders list\n",
            "    target/demo/valerix stock list\n",
            "    target/demo/valerix audit\n",
            "    psql valerix\n",
        ] {
            assert!(at_default.contains(line), "{at_default}");
        }
        let elsewhere = text_at([6001, 6002, 6003], false);
        for line in [
            " orders list --url http://127.0.0.1:6001\n",
            " stock list --url http://127.0.0.1:6002\n",
        ] {
            assert!(elsewhere.contains(line), "{elsewhere}");
        }
    }

    #[test]
    fn only_a_terminal_gets_escape_sequences() {
        let bold = "\u{1b}[1mdashboard   http://127.0.0.1:5001/\u{1b}[0m";
        assert!(text_at([5001, 5002, 5003], true).contains(bold));
        assert!(!text_at([5001, 5002, 5003], false).contains('\u{1b}'));
    }
}
