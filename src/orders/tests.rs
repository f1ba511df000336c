//! The texts of the reports, for orders that no test can make a service answer with.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Report;
use super::report::Answer;
use crate::api::OrderPage;

const ID: &str = "0198f3e4-7c1a-7b3e-9d2c-0d7c1a5b9e01";

fn now() -> DateTime<Utc> {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

/// An order with these fields instead of its own.
fn order(fields: Value) -> Value {
    let mut order = json!({"id": ID, "product_id": "P", "quantity": 1, "status": "CONFIRMED",
        "message": "Order confirmed", "failure_reason": null, "settled": true, "owes": [],
        "owed_since": null, "next_attempt_at": null, "last_failure": null, "fulfilled_at": null,
        "created_at": "2026-01-31T11:59:00Z", "updated_at": "2026-01-31T11:59:00Z",
        "trace_id": null});
    let Value::Object(fields) = fields else {
        panic!("{fields}");
    };
    order.as_object_mut().unwrap().extend(fields);
    order
}

fn text(answer: Answer) -> String {
    let report = Report { answer, now: now() };
    report.to_string()
}

fn page(orders: &[Value]) -> OrderPage {
    serde_json::from_value(json!({"orders": orders, "next_cursor": null})).unwrap()
}

fn list(orders: &[Value]) -> String {
    text(Answer::Orders {
        page: page(orders),
        is_whole_list: true,
    })
}

fn line(fields: Value) -> String {
    text(Answer::Changed(
        serde_json::from_value(order(fields)).unwrap(),
    ))
}

#[test]
fn a_list_says_what_each_order_owes_and_which_call_failed_last() {
    let failed = json!({"step": "release", "outcome": "rejected", "detail": "stock-mismatch",
        "started_at": "2026-01-31T11:59:00Z", "duration_ms": 1.0});
    let orders = [
        order(json!({"fulfilled_at": "2026-01-31T11:59:01Z"})),
        order(
            json!({"status": "FAILED", "failure_reason": "cancelled", "settled": false,
            "owes": ["release", "refund"], "owed_since": "2026-01-31T10:59:00Z",
            "last_failure": failed, "created_at": "2025-12-31T10:59:00Z"}),
        ),
        order(
            json!({"status": "PENDING_PAYMENT", "settled": false, "owes": ["release"],
            "quantity": 1000}),
        ),
        order(json!({"status": "NEWER", "settled": false,
            "created_at": "2026-01-30T11:59:00Z"})),
    ];
    let wanted = "\
ID                                    AT (UTC)  PRODUCT   QTY  STATUS
0198f3e4-7c1a-7b3e-9d2c-0d7c1a5b9e01  11:59:00  P           1  CONFIRMED
    fulfilled at 01-31 11:59:01
0198f3e4-7c1a-7b3e-9d2c-0d7c1a5b9e01  Dec 2025  P           1  FAILED
    cancelled; owes release, refund since 01-31 10:59:00 (1 h): release rejected
    (stock-mismatch)
0198f3e4-7c1a-7b3e-9d2c-0d7c1a5b9e01  11:59:00  P        1000  PENDING_PAYMENT
    unfinished for 1 min, owes release
0198f3e4-7c1a-7b3e-9d2c-0d7c1a5b9e01  Jan 30    P           1  NEWER
    not settled";
    assert_eq!(list(&orders), wanted);
}

#[test]
fn a_list_fits_80_columns_and_escapes_control_characters() {
    let long = "x".repeat(250);
    let failed = json!({"step": long, "outcome": "\u{1b}[2J", "detail": long,
        "started_at": "2026-01-31T11:59:00Z", "duration_ms": 1.0});
    let widest = order(
        json!({"product_id": "ü\u{1b}[2J\n".repeat(30), "quantity": 1000,
        "status": "FAILED", "failure_reason": "insufficient-stock",
        "created_at": "2025-01-31T11:59:00Z"}),
    );
    let newer = order(json!({"product_id": long, "status": long, "settled": false,
        "owes": ["release", "refund", "shipment"], "owed_since": "2025-01-31T11:59:00Z",
        "last_failure": failed}));
    let text = list(&[widest, newer]);
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    assert!(lines[1].contains("  ü\\u{1b…  1000  FAILED"), "{text}");
    assert_eq!(lines[2], "    insufficient-stock", "{text}");
}

#[test]
fn an_empty_list_says_whether_something_was_left_out() {
    let empty = |is_whole_list| Answer::Orders {
        page: page(&[]),
        is_whole_list,
    };
    assert_eq!(text(empty(true)), "there are no orders");
    assert_eq!(text(empty(false)), "no order matches");
}

#[test]
fn a_change_says_what_recovery_will_do() {
    let settled = line(json!({"status": "FAILED", "failure_reason": "cancelled"}));
    assert_eq!(
        settled,
        format!("{ID} is FAILED: cancelled; nothing is owed")
    );
    let failed = json!({"step": "ship", "outcome": "timed-out",
        "started_at": "2026-01-31T11:59:58Z", "duration_ms": 2000.0});
    let owed = line(
        json!({"settled": false, "owes": ["shipment"], "last_failure": failed,
        "owed_since": "2026-01-31T11:59:58Z", "next_attempt_at": "2026-01-31T12:00:01.5Z"}),
    );
    let wanted = "is CONFIRMED, owes shipment since 2026-01-31T11:59:58.000Z (2 s); last failure: \
        ship timed-out; recovery will ship the goods, next attempt at 2026-01-31T12:00:01.500Z";
    assert_eq!(owed, format!("{ID} {wanted}"));
    let owed = line(
        json!({"status": "FAILED", "failure_reason": "cancelled", "settled": false,
        "owes": ["release", "refund"], "owed_since": "2026-01-29T11:00:00Z"}),
    );
    let wanted = "is FAILED: cancelled, owes release, refund since 2026-01-29T11:00:00.000Z \
        (2 days); recovery will return the stock and refund the charge";
    assert_eq!(owed, format!("{ID} {wanted}"));
    let pending = line(json!({"status": "PENDING", "settled": false,
        "created_at": "2026-01-31T12:00:09Z"}));
    let wanted = "is PENDING, unfinished for 0 s; recovery will finish it";
    assert_eq!(pending, format!("{ID} {wanted}"));
}

#[test]
fn a_shown_order_has_its_fields_and_the_timeline_of_its_attempts() {
    let step = |step: &str, outcome: &str, detail: Option<&str>, duration_ms: f64| {
        json!({"step": step, "outcome": outcome, "detail": detail,
            "started_at": "2026-01-31T11:59:00.010Z", "duration_ms": duration_ms})
    };
    let event = |status: &str, reason: &str, attempt: i32, trace_id: &str, steps: Value| {
        json!({"at": "2026-01-31T11:59:00.123456Z", "status": status, "reason": reason,
            "attempt": attempt, "trace_id": trace_id, "steps": steps})
    };
    let reserve = step("reserve", "timed-out", None, 2001.4);
    let charge = step("charge", "rejected", Some("payment-declined"), 3.21);
    let mut detail = order(
        json!({"status": "FAILED", "failure_reason": "payment-declined",
        "message": "a\u{7}b", "settled": false, "owes": ["release"],
        "owed_since": "2026-01-31T11:59:00Z", "next_attempt_at": "2026-01-31T12:00:01Z",
        "last_failure": step("release", "refused", None, 0.5), "trace_id": "aaaa"}),
    );
    detail["events"] = json!([
        event("PENDING", "placed", 1, "aaaa", json!([])),
        event(
            "PENDING_INVENTORY",
            "inventory-timed-out",
            1,
            "aaaa",
            json!([reserve])
        ),
        event("FAILED", "payment-declined", 2, "bbbb", json!([charge])),
        event("FAILED", "x\ny", 2, "bbbb", json!([])),
    ]);
    let detail = serde_json::from_value(detail).unwrap();
    let wanted = "\
id            0198f3e4-7c1a-7b3e-9d2c-0d7c1a5b9e01
product       P
quantity      1
status        FAILED: payment-declined
message       a\\u{7}b
settled       no: owes release since 2026-01-31T11:59:00.000Z (1 min)
next attempt  2026-01-31T12:00:01.000Z
last failure  release refused, at 2026-01-31T11:59:00.010Z, took 0.5 ms
created       2026-01-31T11:59:00.000Z
updated       2026-01-31T11:59:00.000Z
trace         aaaa
trace         bbbb (attempt 2)

TIME (UTC)    ATTEMPT  STATUS OR CALL     REASON OR OUTCOME               TOOK
11:59:00.123        1  PENDING            placed
11:59:00.010        1    reserve          timed-out                    2001 ms
11:59:00.123        1  PENDING_INVENTORY  inventory-timed-out
11:59:00.010        2    charge           rejected (payment-declined)   3.2 ms
11:59:00.123        2  FAILED             payment-declined
11:59:00.123        2  FAILED             x\\ny";
    assert_eq!(text(Answer::Shown(detail)), wanted);
}

#[test]
fn a_shown_order_fits_80_columns_and_names_the_day_of_later_changes() {
    let long = "word ".repeat(30) + &"x".repeat(120);
    let step = json!({"step": long, "outcome": "rejected", "detail": long,
        "started_at": "2026-02-01T11:59:00.010Z", "duration_ms": 2001.4});
    let event = json!({"at": "2026-02-01T11:59:00.123456Z", "status": long, "reason": long,
        "attempt": 1000, "trace_id": "aaaa", "steps": [step]});
    let mut detail = order(json!({"product_id": "x".repeat(255), "message": long}));
    detail["events"] = json!([event]);
    let detail = serde_json::from_value(detail).unwrap();
    let text = text(Answer::Shown(detail));
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let timeline = text.split_once("\n\n").unwrap().1;
    assert!(
        timeline.contains("\n02-01 11:59:00.010     1000  "),
        "{text}"
    );
}
