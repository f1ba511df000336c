//! Reads and checks the body of a `POST /orders`, as the route's extractor does.

use std::hint::black_box;

use actix_web::FromRequest;
use actix_web::dev::Payload;
use actix_web::test::TestRequest;
use actix_web::web::Bytes;
use criterion::Criterion;
use futures_util::FutureExt;
use valerix::api::PlaceOrder;
use valerix::platform::http::extract::Body;

pub fn place_order(criterion: &mut Criterion) {
    // The extractor has a timeout, which needs the clock of a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _guard = runtime.enter();
    let request = TestRequest::default().to_http_request();
    let read = |body: &'static str| {
        let mut payload = Payload::from(Bytes::from_static(body.as_bytes()));
        Body::<PlaceOrder>::from_request(&request, &mut payload)
            .now_or_never()
            .expect("the whole body is available")
    };
    let mut group = criterion.benchmark_group("request body");
    let valid = r#"{"product_id":"PROD-001","quantity":1}"#;
    assert!(read(valid).is_ok());
    group.bench_function("valid", |bench| {
        bench.iter(|| read(black_box(valid)).is_ok());
    });
    let invalid = r#"{"product_id":"","quantity":0}"#;
    assert!(read(invalid).is_err());
    group.bench_function("two invalid fields", |bench| {
        bench.iter(|| read(black_box(invalid)).is_err());
    });
}
