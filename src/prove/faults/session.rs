//! Sessions with a database that may be away for a moment: it is restarted and killed on purpose.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, Error};

use crate::platform::db::DatabaseUrl;
use crate::prove::error::ProveError;
use crate::testbed::cluster::connect;

/// Limits the time in which the server must come back. Crash recovery takes seconds.
const AWAY_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Asks the database, and asks again while it is away. A session that has ended is replaced.
pub struct Session {
    url: DatabaseUrl,
    client: Option<Client>,
    away_timeout: Duration,
}

impl Session {
    /// Does not connect yet.
    #[must_use]
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            client: None,
            away_timeout: AWAY_TIMEOUT,
        }
    }

    /// Asks a question that may be asked more than once.
    ///
    /// # Errors
    /// When the question fails, or the database is away for 30 s.
    pub async fn ask<T>(
        &mut self,
        question: impl AsyncFn(&Client) -> Result<T, Error>,
    ) -> Result<T, ProveError> {
        let attempt = async || {
            let client = match self.client.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => connect(&self.url).await?,
            };
            let answer = question(&client).await?;
            self.client = Some(client);
            Ok(answer)
        };
        repeat_while_away(self.away_timeout, attempt).await
    }

    /// Opens a session as soon as the server answers.
    ///
    /// # Errors
    /// When the database is away for 30 s.
    pub async fn open(url: &DatabaseUrl) -> Result<Client, ProveError> {
        while_away(async || Ok(connect(url).await?)).await
    }
}

/// Makes attempts until the database is there, for at most 30 s.
///
/// # Errors
/// That of an attempt for another reason, or [`ProveError::DatabaseAway`].
pub async fn while_away<T>(
    attempt: impl AsyncFnMut() -> Result<T, ProveError>,
) -> Result<T, ProveError> {
    repeat_while_away(AWAY_TIMEOUT, attempt).await
}

async fn repeat_while_away<T>(
    timeout: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, ProveError>,
) -> Result<T, ProveError> {
    let started = Instant::now();
    loop {
        match attempt().await {
            Err(cause) if cause.is_database_away() => {
                if started.elapsed() >= timeout {
                    let cause = Box::new(cause);
                    return Err(ProveError::DatabaseAway { timeout, cause });
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::postgres::{Home, Server};
    use crate::testbed::scratch_dir::ScratchDir;

    async fn server(directory: &ScratchDir) -> (Server, DatabaseUrl) {
        let home = Home::open(directory.path()).unwrap();
        let server = Server::start(home, Vec::new()).await.unwrap();
        let url = server.url("postgres").parse().unwrap();
        (server, url)
    }

    async fn one(client: &Client) -> Result<i32, Error> {
        Ok(client.query_one("SELECT 1", &[]).await?.get(0))
    }

    #[tokio::test]
    async fn a_question_waits_until_a_stopped_server_is_back() {
        let directory = ScratchDir::create("session").unwrap();
        let (mut server, url) = server(&directory).await;
        let mut session = Session::new(url.clone());
        assert_eq!(session.ask(one).await.unwrap(), 1);
        server.stop().await;
        let (asked, opened, restarted) =
            tokio::join!(session.ask(one), Session::open(&url), server.restart());
        restarted.unwrap();
        assert_eq!(asked.unwrap(), 1);
        opened.unwrap();
        server.stop().await;
    }

    #[tokio::test]
    async fn a_question_ends_with_an_error_if_the_server_stays_away() {
        let directory = ScratchDir::create("session-away").unwrap();
        let (mut server, url) = server(&directory).await;
        let mut session = Session::new(url);
        session.ask(one).await.unwrap();
        server.stop().await;
        session.away_timeout = Duration::from_secs(1);
        let error = session.ask(one).await.unwrap_err();
        let text = error.to_string();
        let start = "the campaign's database did not come back within 1 s, so there is no verdict";
        assert!(text.starts_with(start), "{text}");
    }

    #[tokio::test]
    async fn a_question_that_the_server_rejects_is_not_asked_again() {
        let directory = ScratchDir::create("session-rejected").unwrap();
        let (mut server, url) = server(&directory).await;
        let mut session = Session::new(url);
        let rejected = session.ask(async |client| client.batch_execute("SELEC").await);
        let error = rejected.await.unwrap_err();
        assert!(matches!(error, ProveError::Database(_)), "{error}");
        server.stop().await;
    }
}
