//! A client of one service's gremlin.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::command::Command;
use super::error::GremlinError;
use super::status::{ListedRule, Status};
use crate::platform::client::{BaseUrl, CallError, Client, Response};
use crate::platform::deadline::Deadline;
use crate::platform::fault_injection::rule_view::RuleView;
use crate::platform::fault_injection::{Latency, Removed, RuleList};
use crate::platform::http::problem::ProblemBody;

const LATENCY: &str = "/gremlin/latency";
const RULES: &str = "/gremlin/rules";
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Each method makes one call of at most 5 s, [`GremlinClient::status`] two.
pub struct GremlinClient {
    client: Client,
    url: BaseUrl,
}

impl GremlinClient {
    /// `token` is the service's `GREMLIN_TOKEN`.
    #[must_use]
    pub fn new(url: &BaseUrl, token: Option<&str>) -> Self {
        Self {
            client: Client::with_token(url.clone(), token),
            url: url.clone(),
        }
    }

    /// # Errors
    /// When the service does not answer, or rejects the command.
    pub async fn apply(&self, command: &Command) -> Result<(), GremlinError> {
        match command {
            Command::SetLatency(latency) => self.set_latency(*latency).await,
            Command::AddRule(rule) => self.add_rule(rule).await.map(drop),
            Command::RemoveRule(id) => self.remove_rule(*id).await,
            Command::RemoveAllRules => self.remove_all_rules().await,
            Command::ShowStatus => Ok(()),
        }
    }

    /// # Errors
    /// When the service does not answer, or rejects the latency.
    pub async fn set_latency(&self, latency: Latency) -> Result<(), GremlinError> {
        let response = self.client.post(LATENCY, &latency, deadline()).await;
        self.parse::<Latency>(response).map(drop)
    }

    /// Adds a rule, and returns it as the service shows it.
    ///
    /// # Errors
    /// When the service does not answer, or rejects the rule.
    pub async fn add_rule(&self, rule: &impl Serialize) -> Result<RuleView, GremlinError> {
        self.parse(self.client.post(RULES, rule, deadline()).await)
    }

    /// # Errors
    /// When the service does not answer, or has no such rule.
    pub async fn remove_rule(&self, id: u32) -> Result<(), GremlinError> {
        let path = format!("{RULES}/{id}");
        self.check(self.client.delete(&path, deadline()).await)
            .map(drop)
    }

    /// # Errors
    /// When the service does not answer.
    pub async fn remove_all_rules(&self) -> Result<(), GremlinError> {
        let response = self.client.delete(RULES, deadline()).await;
        self.parse::<Removed>(response).map(drop)
    }

    /// # Errors
    /// When the service does not answer, or has a rule of an unknown kind.
    pub async fn rules(&self) -> Result<Vec<RuleView>, GremlinError> {
        let list: RuleList = self.parse(self.client.get(RULES, deadline()).await)?;
        Ok(list.rules)
    }

    /// `name` becomes the service's name in the result.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn status(&self, name: &str) -> Result<Status, GremlinError> {
        #[derive(Deserialize)]
        struct List {
            rules: Vec<ListedRule>,
        }
        let latency = self.parse(self.client.get(LATENCY, deadline()).await)?;
        let list: List = self.parse(self.client.get(RULES, deadline()).await)?;
        Ok(Status {
            service: name.to_owned(),
            url: self.url.to_string(),
            latency,
            rules: list.rules,
        })
    }

    fn parse<T: DeserializeOwned>(
        &self,
        response: Result<Response, CallError>,
    ) -> Result<T, GremlinError> {
        let parsed = self.check(response)?.json();
        parsed.map_err(|error| self.rejected(error.to_string()))
    }

    /// Returns a response with a 2xx status.
    fn check(&self, response: Result<Response, CallError>) -> Result<Response, GremlinError> {
        let response = response.map_err(|cause| GremlinError::Unreachable {
            url: self.url.clone(),
            cause,
        })?;
        if response.status.is_success() {
            return Ok(response);
        }
        let problem = response.json::<ProblemBody>();
        Err(self
            .rejected(problem.map_or_else(|error| error.to_string(), |problem| describe(&problem))))
    }

    fn rejected(&self, detail: String) -> GremlinError {
        GremlinError::Rejected {
            url: self.url.clone(),
            detail,
        }
    }
}

fn deadline() -> Deadline {
    Deadline::after(CALL_TIMEOUT)
}

/// Says what a problem document means for the user of the command line.
fn describe(problem: &ProblemBody) -> String {
    let path = problem.instance.as_deref();
    let is_about_one_rule = path.is_none_or(|path| path.contains("/rules/"));
    match problem.status {
        401 => "it requires its token: set GREMLIN_TOKEN or --token".to_owned(),
        404 if !is_about_one_rule => {
            "it has no gremlin; it may run with GREMLIN_ENABLED=false".to_owned()
        }
        _ => problem.explanation(),
    }
}
