//! `valerix gremlin`: the gremlin from the command line, on any service.

mod table;
pub mod tour;

use std::time::Duration;

use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::platform::client::{Answer, BaseUrl, CallError, Client};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::json::RuleView;
use crate::platform::fault_injection::{Latency, Removed, RuleList};
use crate::platform::http::problem::ProblemBody;
use crate::platform::output;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A service whose gremlin is spoken to.
#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub url: BaseUrl,
}

/// What is wanted of it.
#[derive(Debug, Clone)]
pub enum Wish {
    Latency(Latency),
    /// A rule as it is asked for: what is not given is the service's to choose, and to refuse.
    Add(serde_json::Map<String, serde_json::Value>),
    Remove(u32),
    Clear,
    Status,
}

/// Why a service did not do it.
#[derive(Debug, thiserror::Error)]
pub enum GremlinError {
    #[error("{url} does not answer: {cause}")]
    Unreachable { url: BaseUrl, cause: CallError },
    #[error("{url}: {detail}")]
    Refused { url: BaseUrl, detail: String },
}

/// How a service's gremlin stands.
#[derive(Debug, Serialize)]
pub struct Status {
    pub service: String,
    pub url: String,
    pub latency: Latency,
    pub rules: Vec<ListedRule>,
}

/// A rule as a service lists it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ListedRule {
    Known(Box<RuleView>),
    /// A newer service has it, of a kind that this release does not know.
    Unrecognized(serde_json::Map<String, serde_json::Value>),
}

/// Does it on each target, and prints how the gremlin stands then. A target that fails keeps no
/// other from being tried.
///
/// # Errors
/// One for each target that failed.
pub async fn run(
    targets: &[Target],
    token: Option<&str>,
    wish: &Wish,
    json: bool,
) -> Result<(), Vec<GremlinError>> {
    let tried = join_all(targets.iter().map(|target| async {
        let handle = Handle::new(&target.url, token);
        handle.grant(wish).await?;
        handle.status(&target.name).await
    }));
    let (mut statuses, mut errors) = (Vec::new(), Vec::new());
    for outcome in tried.await {
        match outcome {
            Ok(status) => statuses.push(status),
            Err(error) => errors.push(error),
        }
    }
    if json {
        output::line(format_args!("{:#}", serde_json::json!(statuses)));
    } else if !statuses.is_empty() {
        output::print(table::of(&statuses));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// One service's gremlin.
pub struct Handle {
    client: Client,
    url: BaseUrl,
}

impl Handle {
    #[must_use]
    pub fn new(url: &BaseUrl, token: Option<&str>) -> Self {
        Self {
            client: Client::with_token(url.clone(), token),
            url: url.clone(),
        }
    }

    /// Does what is wanted.
    async fn grant(&self, wish: &Wish) -> Result<(), GremlinError> {
        match wish {
            Wish::Latency(latency) => self.set_latency(*latency).await,
            Wish::Add(spec) => self.add(spec).await.map(|_| ()),
            Wish::Remove(id) => self.remove(*id).await,
            Wish::Clear => self.clear().await,
            Wish::Status => Ok(()),
        }
    }

    /// # Errors
    /// See [`GremlinError`]; as with the others.
    pub async fn set_latency(&self, latency: Latency) -> Result<(), GremlinError> {
        self.read::<Latency>(
            self.client
                .post("/gremlin/latency", &latency, deadline())
                .await,
        )
        .map(|_| ())
    }

    pub async fn add(&self, spec: &impl Serialize) -> Result<RuleView, GremlinError> {
        self.read(self.client.post("/gremlin/rules", spec, deadline()).await)
    }

    pub async fn remove(&self, id: u32) -> Result<(), GremlinError> {
        self.answered(
            self.client
                .delete(&format!("/gremlin/rules/{id}"), deadline())
                .await,
        )
        .map(|_| ())
    }

    pub async fn clear(&self) -> Result<(), GremlinError> {
        self.read::<Removed>(self.client.delete("/gremlin/rules", deadline()).await)
            .map(|_| ())
    }

    pub async fn rules(&self) -> Result<Vec<RuleView>, GremlinError> {
        let list: RuleList = self.read(self.client.get("/gremlin/rules", deadline()).await)?;
        Ok(list.rules)
    }

    async fn status(&self, service: &str) -> Result<Status, GremlinError> {
        let latency = self.read(self.client.get("/gremlin/latency", deadline()).await)?;
        let (service, url) = (service.to_owned(), self.url.to_string());
        let listed: Listed = self.read(self.client.get("/gremlin/rules", deadline()).await)?;
        Ok(Status {
            service,
            url,
            latency,
            rules: listed.rules,
        })
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<Answer, CallError>,
    ) -> Result<T, GremlinError> {
        self.answered(answer)?
            .json()
            .map_err(|error| self.refused(error.to_string()))
    }

    fn answered(&self, answer: Result<Answer, CallError>) -> Result<Answer, GremlinError> {
        let answer = answer.map_err(|cause| GremlinError::Unreachable {
            url: self.url.clone(),
            cause,
        })?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let problem: ProblemBody = answer
            .json()
            .map_err(|error| self.refused(error.to_string()))?;
        Err(self.refused(in_words(&problem)))
    }

    fn refused(&self, detail: String) -> GremlinError {
        GremlinError::Refused {
            url: self.url.clone(),
            detail,
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    rules: Vec<ListedRule>,
}

fn deadline() -> Deadline {
    Deadline::after(TIMEOUT)
}

fn in_words(problem: &ProblemBody) -> String {
    match (problem.status, problem.errors.as_slice()) {
        (401, _) => "it asks for its token: set GREMLIN_TOKEN or --token".to_owned(),
        (404, _)
            if problem
                .instance
                .as_deref()
                .is_some_and(|path| !path.contains("/rules/")) =>
        {
            "there is no gremlin here (GREMLIN_ENABLED=false?)".to_owned()
        }
        (_, []) => problem.detail.clone(),
        (_, errors) => {
            let each = errors
                .iter()
                .map(|error| format!("{} {}", error.field, error.detail));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}
