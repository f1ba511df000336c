//! The cost that the gremlin adds to a request: without rules, and with the maximum number of
//! rules, none of which matches.

use std::hint::black_box;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, HttpResponse, web};
use criterion::Criterion;
use serde_json::json;
use valerix::platform::fault_injection::exempt::ExemptRoutes;
use valerix::platform::fault_injection::metrics::GremlinMetrics;
use valerix::platform::fault_injection::rules::MAX_RULES;
use valerix::platform::fault_injection::spec::RuleSpec;
use valerix::platform::fault_injection::{Config, Gremlin, inject_faults};
use valerix::platform::observability::metrics::Registry;

fn gremlin(rules: usize) -> Gremlin {
    let registry = Registry::new().expect("a registry");
    let metrics = GremlinMetrics::new(&registry).expect("constant names");
    let gremlin = Gremlin::new(
        Config {
            enabled: true,
            token: None,
        },
        metrics,
        ExemptRoutes::new(&[]),
    );
    for _ in 0..rules {
        let spec: RuleSpec =
            serde_json::from_value(json!({"kind": "drop", "route": "/other"})).expect("a rule");
        assert!(gremlin.add(spec).is_ok());
    }
    gremlin
}

/// Runs whole requests through actix. The difference between two benchmarks is the gremlin's cost.
pub fn middleware(criterion: &mut Criterion) {
    let runtime = actix_web::rt::System::new();
    let mut group = criterion.benchmark_group("gremlin");
    group.bench_function("is idle", |bencher| {
        let gremlin = gremlin(0);
        bencher.iter(|| black_box(&gremlin).is_idle());
    });
    let plain = runtime.block_on(init_service(
        App::new().route("/orders", web::post().to(HttpResponse::Ok)),
    ));
    group.bench_function("request without the gremlin", |bencher| {
        bencher.iter(|| {
            runtime.block_on(request(
                &plain,
                TestRequest::post().uri("/orders").to_request(),
            ));
        });
    });
    for (name, rules) in [
        ("request without rules", 0),
        ("request, 32 rules that do not match", MAX_RULES),
    ] {
        let app = App::new()
            .app_data(web::Data::new(gremlin(rules)))
            .route("/orders", web::post().to(HttpResponse::Ok))
            .wrap(from_fn(inject_faults));
        let service = runtime.block_on(init_service(app));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime.block_on(request(
                    &service,
                    TestRequest::post().uri("/orders").to_request(),
                ));
            });
        });
    }
    group.finish();
}

async fn request<S, R, B>(service: &S, request: R)
where
    S: Service<R, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    assert!(call_service(service, request).await.status().is_success());
}
