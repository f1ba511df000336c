//! A bundle as the service that answers it sees it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Bytes};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::{Instrument, Span};

use super::{LIMIT_BYTES, Line, MEDIA_TYPE, MOST, SUFFIX, Sent, SentCall};
use crate::platform::deadline::{Arrived, Deadline};
use crate::platform::fault_injection::Gremlin;
use crate::platform::http::extract::{
    BODY_LIMIT_BYTES, FromFields, read_json, too_large, whole_body, without_bom,
};
use crate::platform::http::problem::{FieldError, Problem, UNWRITABLE};
use crate::platform::observability::metrics::{Carrier, Metrics};
use crate::platform::observability::telemetry::TraceHeaders;
use crate::platform::observability::{metrics, telemetry};

/// Extractor: the calls of a bundle, each read as a request of its own would be.
pub struct Bundle<T> {
    /// That each call is meant for.
    route: Rc<str>,
    arrived: Arrived,
    calls: Vec<Call<T>>,
    metrics: web::Data<Metrics>,
}

struct Call<T> {
    span: Span,
    /// Or what is wrong with it.
    wish: Result<(T, Deadline), Problem>,
}

impl<T: FromFields> FromRequest for Bundle<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, body) = (request.clone(), whole_body(request, payload, LIMIT_BYTES));
        Box::pin(async move {
            // Its faults are each to hit one call.
            if request
                .app_data::<web::Data<Gremlin>>()
                .is_some_and(|gremlin| !gremlin.is_calm())
            {
                let detail = "The gremlin is at work, and wants each call by itself.";
                return Err(Problem::new(StatusCode::CONFLICT, "one-by-one", detail));
            }
            let body = body.await?;
            let sent = read(&body)?;
            let metrics = request.app_data::<web::Data<Metrics>>().cloned();
            let metrics = metrics.ok_or_else(|| Problem::internal("there are no metrics"))?;
            // The pattern and not the path, which can be written in many ways.
            let pattern = request.match_pattern().unwrap_or_default();
            let route: Rc<str> = pattern.strip_suffix(SUFFIX).unwrap_or(&pattern).into();
            let arrived = request
                .extensions()
                .get::<Arrived>()
                .copied()
                .unwrap_or_else(Arrived::now);
            let calls = sent.into_iter().map(|call| Call {
                span: telemetry::request_span(
                    "POST",
                    &route,
                    &route,
                    &TraceHeaders {
                        traceparent: call.traceparent,
                        tracestate: call.tracestate,
                    },
                ),
                wish: Deadline::given("deadline_ms", arrived, call.deadline_ms)
                    .and_then(|deadline| Ok((read_body(call.body.get())?, deadline))),
            });
            let calls = calls.collect();
            // From here on each call counts, and what carried it does not.
            request.extensions_mut().insert(Carrier);
            Ok(Self {
                route,
                arrived,
                calls,
                metrics,
            })
        })
    }
}

fn read_body<T: FromFields>(body: &str) -> Result<T, Problem> {
    if body.len() > BODY_LIMIT_BYTES {
        Err(too_large(BODY_LIMIT_BYTES))
    } else {
        read_json(body.as_bytes())
    }
}

fn read(body: &[u8]) -> Result<Vec<SentCall<'_>>, Problem> {
    let wrong = |detail: String| {
        Problem::invalid(vec![FieldError {
            field: "calls".to_owned(),
            detail,
        }])
    };
    let Sent { calls } =
        serde_json::from_slice(without_bom(body)).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => wrong(format!("cannot be read: {error}")),
            _ => Problem::malformed(format!("The body is not valid JSON: {error}.")),
        })?;
    if (1..=MOST).contains(&calls.len()) {
        Ok(calls)
    } else {
        Err(wrong(format!(
            "must be 1 to {MOST} calls; there are {}",
            calls.len()
        )))
    }
}

impl<T: 'static> Bundle<T> {
    /// Carries out all calls at once, each as a request of its own. A line goes out when its call
    /// is done; each is carried out to its end, whether the caller still reads or not.
    pub fn answer<A, F>(self, carry_out: impl Fn(T, Deadline) -> F) -> HttpResponse
    where
        A: Serialize + 'static,
        F: Future<Output = Result<(web::Json<A>, StatusCode), Problem>> + 'static,
    {
        let Self {
            route,
            arrived,
            calls,
            metrics,
        } = self;
        let answers = calls
            .into_iter()
            .enumerate()
            .map(|(index, Call { span, wish })| {
                let work = wish.map(|(wish, deadline)| span.in_scope(|| carry_out(wish, deadline)));
                answered(index, Rc::clone(&route), arrived, metrics.clone(), work).instrument(span)
            });
        let mut answers: FuturesUnordered<_> = answers.collect();
        // Not in the answer's body: that is dropped with the connection.
        let (done, mut lines) = mpsc::unbounded_channel();
        actix_web::rt::spawn(async move {
            while let Some(line) = answers.next().await {
                // Nobody may be there to read it any more.
                let _ = done.send(line);
            }
        });
        let lines = stream::poll_fn(move |context| lines.poll_recv(context));
        // Those that are done at once go out together.
        let lines = lines
            .ready_chunks(MOST)
            .map(|lines| Ok::<_, Infallible>(Bytes::from(lines.concat())));
        HttpResponse::Ok().content_type(MEDIA_TYPE).streaming(lines)
    }
}

/// The line of one call.
async fn answered<A: Serialize>(
    call: usize,
    route: Rc<str>,
    arrived: Arrived,
    metrics: web::Data<Metrics>,
    work: Result<impl Future<Output = Result<(web::Json<A>, StatusCode), Problem>>, Problem>,
) -> Vec<u8> {
    let outcome = match work {
        Ok(work) => work.await,
        Err(problem) => Err(problem),
    };
    let (status, line) = match outcome {
        Ok((answer, status)) => (status, line(call, status, &answer.0)),
        Err(problem) => (
            problem.status(),
            line(call, problem.status(), &problem.document(&route)),
        ),
    };
    telemetry::answered(&Span::current(), status);
    metrics::observed(&metrics, &Method::POST, &route, status, arrived.elapsed());
    line
}

/// A line of the answer. A body that cannot be written is a mistake of ours: the call is answered
/// 500.
fn line(call: usize, status: StatusCode, body: &impl Serialize) -> Vec<u8> {
    let line = serde_json::to_vec(&Line {
        call,
        status: status.as_u16(),
        body,
    });
    let mut line = line.unwrap_or_else(|error| {
        tracing::error!(%error, "the answer to a call cannot be written");
        format!(r#"{{"call":{call},"status":500,"body":{UNWRITABLE}}}"#).into_bytes()
    });
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_cannot_be_written_is_an_internal_error_and_not_an_empty_line() {
        struct Unwritable;
        impl Serialize for Unwritable {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("never"))
            }
        }
        let line = line(3, StatusCode::OK, &Unwritable);
        let line: Line<crate::platform::http::problem::ProblemBody> =
            serde_json::from_slice(&line).unwrap();
        assert_eq!(
            (line.call, line.status, line.body.code.as_str()),
            (3, 500, "internal-error")
        );
    }
}
