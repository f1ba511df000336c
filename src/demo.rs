//! `valerix demo`: the three services as supervised processes, on a private database unless one is
//! given.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::platform::client::{BaseUrl, Client};
use crate::platform::db::{DatabaseUrl, SchemaError, migrate};
use crate::platform::deadline::Deadline;
use crate::platform::environment::variable;
use crate::platform::http::listener::why_not_bound;
use crate::platform::output;
use crate::platform::shutdown::Shutdown;
use crate::testbed::postgres::{Home, PostgresError, Server};
use crate::testbed::supervisor::{Sink, Spec, keep_running};

const DATABASE: &str = "valerix";
const DEFAULT_DATA_DIR: &str = ".valerix";
/// For root, whose home the server's user cannot reach.
const ROOTS_DATA_DIR: &str = "/var/lib/valerix";
const READY_LIMIT: Duration = Duration::from_secs(60);

/// What the demo is configured with.
#[derive(Debug, Clone)]
pub struct Config {
    pub host: IpAddr,
    pub ports: [u16; 3],
    pub database_url: Option<DatabaseUrl>,
    /// `.valerix` when not given.
    pub data_dir: Option<PathBuf>,
    pub reset: bool,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: SocketAddr, cause: String },
    #[error("another demo uses {}: {holder}; open that one, stop it, or choose another --data-dir", .path.display())]
    Held { path: PathBuf, holder: String },
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("{0}: {1}")]
    Service(&'static str, io::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

const ROLES: [&str; 3] = ["order", "inventory", "payment"];
const COLOURS: [&str; 3] = ["36", "33", "35"];

/// Runs until it is asked to stop, then stops everything in order.
///
/// # Errors
/// See [`DemoError`]; what was started is stopped before it returns.
pub async fn run(config: Config, shutdown: &Shutdown) -> Result<(), DemoError> {
    for port in config.ports {
        check_port(SocketAddr::new(config.host, port))?;
    }
    let mut database = Database::open(&config).await?;
    let url = database.url();
    let announcement = announce(&config, database.describe());
    let (stop, _) = watch::channel(false);
    let services = tokio::spawn(supervise(config.clone(), url, stop.clone()));
    let outcome = tokio::select! {
        () = shutdown.requested() => Ok(()),
        ended = services => ended.map_err(io::Error::other)?,
        failed = database.keep_running() => Err(failed),
        never = announcement => match never {},
    };
    output::line("stopping …");
    stop.send_replace(true);
    // No receiver is left when the last service has ended.
    stop.closed().await;
    database.close().await;
    output::line("stopped");
    outcome
}

fn check_port(address: SocketAddr) -> Result<(), DemoError> {
    let cause = |error| {
        why_not_bound(
            &error,
            address,
            "--order-port, --inventory-port, --payment-port",
        )
    };
    let refused = |error| DemoError::Listen {
        address,
        cause: cause(error),
    };
    TcpListener::bind(address).map(drop).map_err(refused)
}

/// Keeps all three running until told to stop; one that cannot run at all stops the others.
async fn supervise(
    config: Config,
    url: String,
    stop: watch::Sender<bool>,
) -> Result<(), DemoError> {
    let keep = |role: usize| {
        let (spec, stop) = (spec(&config, role, &url), stop.clone());
        async move {
            let spec = spec?;
            let output = Arc::clone(&spec.output);
            let started = move |pid| output(&format!("started as process {pid}"));
            let outcome = keep_running(spec, stop.subscribe(), started).await;
            stop.send_replace(true);
            outcome
        }
    };
    let failed = |role: usize| move |error| DemoError::Service(ROLES[role], error);
    let (order, inventory, payment) = tokio::join!(keep(0), keep(1), keep(2));
    order.map_err(failed(0))?;
    inventory.map_err(failed(1))?;
    payment.map_err(failed(2))
}

fn spec(config: &Config, role: usize, database_url: &str) -> io::Result<Spec> {
    let [order, inventory, payment] = config.ports;
    let address = |port| format!("http://{}", std::net::SocketAddr::new(config.host, port));
    let mut environment = vec![
        ("HOST".to_owned(), config.host.to_string()),
        ("PORT".to_owned(), config.ports[role].to_string()),
        ("DATABASE_URL".to_owned(), database_url.to_owned()),
        ("INVENTORY_SERVICE_URL".to_owned(), address(inventory)),
        ("PAYMENT_SERVICE_URL".to_owned(), address(payment)),
    ];
    let preset = |name: &str| variable(name).is_some();
    if !preset("CORS_ALLOWED_ORIGINS") {
        let origins = format!("http://localhost:{order},http://127.0.0.1:{order}");
        environment.push(("CORS_ALLOWED_ORIGINS".to_owned(), origins));
    }
    if !preset("LOG_FORMAT") {
        environment.push(("LOG_FORMAT".to_owned(), "pretty".to_owned()));
    }
    Ok(Spec {
        program: std::env::current_exe()?,
        arguments: vec![ROLES[role].to_owned()],
        environment,
        output: prefixed(ROLES[role], COLOURS[role]),
    })
}

fn prefixed(role: &'static str, colour: &'static str) -> Sink {
    let coloured = output::takes_colours(&io::stdout());
    Arc::new(move |line| {
        if coloured {
            output::line(format_args!("\x1b[{colour}m{role:>9} │\x1b[0m {line}"));
        } else {
            output::line(format_args!("{role:>9} │ {line}"));
        }
    })
}

/// Says what runs where once all three can serve; then there is nothing more to say, and it never
/// ends.
async fn announce(config: &Config, database: String) -> Infallible {
    let address = |port| format!("http://{}", std::net::SocketAddr::new(config.host, port));
    let [order, inventory, payment] = config.ports.map(address);
    let all_ready = async {
        for url in [&order, &inventory, &payment] {
            ready(url).await;
        }
    };
    let local = tokio::task::LocalSet::new();
    if local
        .run_until(tokio::time::timeout(READY_LIMIT, all_ready))
        .await
        .is_err()
    {
        output::line("\nThe services are not ready yet; their lines above say why.");
    }
    output::line(format_args!(
        "\n  Valerix is running.\n\n\
         \x20   dashboard   {order}/\n\
         \x20   order       {order}      API: {order}/docs/\n\
         \x20   inventory   {inventory}      API: {inventory}/docs/\n\
         \x20   payment     {payment}      API: {payment}/docs/\n\
         \x20   database    {database}\n\n\
         \x20 Try:  curl -X POST {order}/orders -d '{{\"product_id\":\"PROD-001\",\"quantity\":1}}'\n\
         \x20       curl -X POST {inventory}/gremlin/latency -d '{{\"enabled\":true,\"delay_ms\":3000}}'\n\
         \x20       kill -9 one of the processes named above: it is started again\n\
         \x20 Ctrl-C ends it all; the data stay.\n"
    ));
    std::future::pending().await
}

async fn ready(url: &str) {
    let Ok(base) = url.parse::<BaseUrl>() else {
        return;
    };
    let client = Client::new(base);
    loop {
        let answer = client
            .get("/readyz", Deadline::after(Duration::from_secs(1)))
            .await;
        if answer.is_ok_and(|answer| answer.status.is_success()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The database of the demo: one that was named, or a private server with the lock on its
/// directory.
enum Database {
    External(DatabaseUrl),
    Private { server: Box<Server>, _lock: File },
}

impl Database {
    async fn open(config: &Config) -> Result<Self, DemoError> {
        if let Some(url) = &config.database_url {
            return match migrate(url).await {
                // The services wait for a database that is away.
                Ok(_) | Err(SchemaError::Unreachable { .. }) => Ok(Self::External(url.clone())),
                Err(error) => Err(error.into()),
            };
        }
        let home = home(config.data_dir.as_deref())?;
        let lock = lock(&home, config)?;
        if config.reset {
            home.reset().await?;
            output::line(format_args!("{}: begun anew", home.root().display()));
        }
        let mut server = Server::start(home, vec!["max_connections=200".to_owned()]).await?;
        if server.was_taken_over() {
            output::line(format_args!(
                "took over the database server that an earlier demo left running (process {})",
                server.pid()
            ));
        }
        if let Err(error) = server.ensure_database(DATABASE).await {
            server.stop().await;
            return Err(error.into());
        }
        Ok(Self::Private {
            server: Box::new(server),
            _lock: lock,
        })
    }

    fn url(&self) -> String {
        match self {
            Self::External(url) => url.with_password().to_owned(),
            Self::Private { server, .. } => server.url(DATABASE),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::External(url) => url.to_string(),
            Self::Private { server, .. } => {
                format!(
                    "{}   (PostgreSQL {})",
                    server.psql(DATABASE),
                    server.major()
                )
            }
        }
    }

    /// Starts a private server again when it dies; returns only when that fails.
    async fn keep_running(&mut self) -> DemoError {
        let Self::Private { server, .. } = self else {
            return std::future::pending().await;
        };
        loop {
            server.ended().await;
            output::line("the database server ended; starting it again");
            if let Err(error) = server.restart().await {
                return error.into();
            }
        }
    }

    async fn close(self) {
        if let Self::Private { mut server, .. } = self {
            server.stop().await;
        }
    }
}

fn home(given: Option<&Path>) -> Result<Home, PostgresError> {
    if let Some(path) = given {
        return Home::open(path);
    }
    match Home::open(Path::new(DEFAULT_DATA_DIR)) {
        Err(PostgresError::Unreachable { path, user }) => {
            let path = path.display();
            output::line(format_args!(
                "user {user} cannot reach {path}; the data are kept in {ROOTS_DATA_DIR}"
            ));
            Home::open(Path::new(ROOTS_DATA_DIR))
        }
        other => other,
    }
}

/// Held as long as the demo lives, and free again however it dies.
fn lock(home: &Home, config: &Config) -> Result<File, DemoError> {
    // Readable by whoever is refused.
    let mut file = home.open_file("lock", OpenOptions::new().read(true).write(true), 0o644)?;
    if file.try_lock().is_err() {
        let mut holder = String::new();
        file.read_to_string(&mut holder)?;
        return Err(DemoError::Held {
            path: home.root().to_owned(),
            holder: holder.trim().to_owned(),
        });
    }
    file.set_len(0)?;
    file.rewind()?;
    let order = std::net::SocketAddr::new(config.host, config.ports[0]);
    writeln!(
        file,
        "process {}, dashboard http://{order}/",
        std::process::id()
    )?;
    Ok(file)
}
