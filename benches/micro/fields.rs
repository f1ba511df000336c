//! From the bytes of a `POST /orders` to a checked `PlaceOrder`, as the route's extractor does it.

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
    // The extractor sets a time limit, which needs a runtime's clock.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let request = TestRequest::default().to_http_request();
    let read = |body: &'static str| {
        let mut payload = Payload::from(Bytes::from_static(body.as_bytes()));
        Body::<PlaceOrder>::from_request(&request, &mut payload)
            .now_or_never()
            .expect("the body is all there")
    };
    let mut group = criterion.benchmark_group("fields");
    let good = r#"{"product_id":"PROD-001","quantity":1}"#;
    assert!(read(good).is_ok());
    group.bench_function("place order", |bench| {
        bench.iter(|| read(black_box(good)).is_ok())
    });
    let wrong = r#"{"product_id":"","quantity":0}"#;
    assert!(read(wrong).is_err());
    group.bench_function("two wrong fields", |bench| {
        bench.iter(|| read(black_box(wrong)).is_err())
    });
}
