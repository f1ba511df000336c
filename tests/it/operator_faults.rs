//! Cancelling, fulfilling and retrying under faults: strangers, browsers, the gremlin, deadlines,
//! locks, and commits that fail or wait.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::harness::dedicated_postgres::{DedicatedPostgres, place_order};
use crate::harness::{LONG_STEPS, Stack, eventually};
use crate::service_unavailable::{let_commits_finish, make_commits_wait};

const ACTIONS: [&str; 3] = ["cancel", "fulfil", "retry"];

#[tokio::test(flavor = "multi_thread")]
async fn operators_of_orders_need_their_token_and_customers_need_none() {
    let tokens = [("OPERATOR_TOKEN", "op3rator"), ("SERVICE_TOKEN", "s3rvice")];
    let stack = Stack::with(&tokens).await;
    let id = stack.confirmed("PROD-001", 1).await;
    let row = stack.row(&id).await;
    let unknown = Uuid::new_v4().to_string();
    for action in ACTIONS {
        for headers in [
            &[][..],
            &[("authorization", "Bearer wrong")],
            &[("authorization", "op3rator")],
            &[("authorization", "Bearer s3rvice")],
            &[("x-deadline-ms", "0")],
            &[("x-deadline-ms", "soon")],
        ] {
            // A stranger does not learn whether an order exists.
            for id in [id.as_str(), unknown.as_str(), "malformed"] {
                let path = format!("/orders/{id}/{action}");
                let refused = stack
                    .order
                    .request(Method::POST, &path, headers, Some("not JSON"))
                    .await;
                let problem = refused.assert_problem(401, "unauthorized");
                assert_eq!(problem["order_id"], json!(null));
            }
        }
    }
    assert_eq!(stack.row(&id).await, row);
    for path in [
        "/orders",
        &format!("/orders/{id}"),
        "/sla",
        "/audit",
        "/health",
    ] {
        assert_eq!(stack.order.get(path).await.status, 200, "{path}");
    }
    let operator = [("authorization", "Bearer op3rator")];
    for action in ["retry", "cancel", "cancel"] {
        let path = format!("/orders/{id}/{action}");
        let done = stack.order.request(Method::POST, &path, &operator, None);
        let done = done.await;
        assert_eq!(done.status, 200, "{done:?}");
    }
    let lines = stack.lines().concat();
    assert!(!lines.contains("op3rator") && !lines.contains("s3rvice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_and_other_methods_change_no_order() {
    let stack = Stack::start().await;
    let id = stack.confirmed("PROD-001", 1).await;
    let row = stack.row(&id).await;
    for action in ACTIONS {
        let path = format!("/orders/{id}/{action}");
        for headers in [
            &[("origin", "http://evil.test")][..],
            &[("origin", "null")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
        ] {
            let refused = stack.order.request(Method::POST, &path, headers, None);
            refused.await.assert_problem(403, "cross-site-request");
        }
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
            let refused = stack.order.request(method, &path, &[], None).await;
            refused.assert_problem(405, "method-not-allowed");
            assert_eq!(refused.header("allow"), "POST");
        }
        for method in [Method::HEAD, Method::OPTIONS] {
            let refused = stack.order.request(method.clone(), &path, &[], None).await;
            assert_eq!(
                (refused.status.as_u16(), refused.header("allow")),
                (405, "POST"),
                "{method}: {refused:?}"
            );
        }
        let query = format!("{path}?force=true");
        let refused = stack.order.request(Method::POST, &query, &[], None).await;
        let problem = refused.assert_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "force");
        let encoded = [("content-encoding", "gzip")];
        let refused = stack
            .order
            .request(Method::POST, &path, &encoded, Some("x"));
        refused
            .await
            .assert_problem(415, "unsupported-content-encoding");
        let large = "x".repeat(20_000);
        let refused = stack.order.request(Method::POST, &path, &[], Some(&large));
        refused.await.assert_problem(413, "too-large");
    }
    assert_eq!(stack.row(&id).await, row);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_whose_deadline_has_passed_changes_nothing() {
    let stack = Stack::with(&[LONG_STEPS]).await;
    let id = stack.confirmed("PROD-001", 1).await;
    let row = stack.row(&id).await;
    for action in ACTIONS {
        let path = format!("/orders/{id}/{action}");
        for (deadline, status, code) in [
            ("0", 503, "deadline-passed"),
            ("soon", 400, "invalid-request"),
            ("-1", 400, "invalid-request"),
            ("3600001", 400, "invalid-request"),
        ] {
            let deadline = [("x-deadline-ms", deadline)];
            let refused = stack.order.request(Method::POST, &path, &deadline, None);
            refused.await.assert_problem(status, code);
        }
    }
    assert_eq!(stack.row(&id).await, row);
    // A deadline that ends during the calls is kept, and recovery does the rest.
    stack.inventory.set_latency(true, 30_000).await;
    let path = format!("/orders/{id}/cancel");
    let deadline = [("x-deadline-ms", "600")];
    let cancelled = stack.order.request(Method::POST, &path, &deadline, None);
    let cancelled = cancelled.await;
    assert_eq!(
        (cancelled.status.as_u16(), &cancelled.json()["settled"]),
        (200, &json!(false)),
        "{cancelled:?}"
    );
    // The timeout of a step would end much later.
    assert!(
        cancelled.took < Duration::from_secs(6),
        "{:?}",
        cancelled.took
    );
    stack.inventory.set_latency(false, 0).await;
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_an_order_keeps_only_that_order_from_being_changed() {
    let stack = Stack::start().await;
    let id = stack.confirmed("PROD-001", 1).await;
    let other = stack.confirmed("PROD-001", 1).await;
    let row = stack.row(&id).await;
    let session = stack.database.session().await;
    let lock = format!("BEGIN; SELECT FROM orders WHERE id = '{id}' FOR UPDATE");
    session.batch_execute(&lock).await.unwrap();
    // More than a thread of the service has connections: they must not keep the other order waiting.
    let actions = ["cancel", "fulfil"].repeat(4);
    let locked = join_all(actions.iter().map(|action| stack.order.act(action, &id)));
    let (locked, done) = tokio::join!(locked, stack.order.act("cancel", &other));
    assert_eq!(done.status, 200, "{done:?}");
    for refused in locked {
        refused.assert_problem(503, "locked");
        assert!(refused.header("retry-after").parse::<u32>().is_ok());
    }
    session.batch_execute("COMMIT").await.unwrap();
    assert_eq!(stack.row(&id).await, row);
    // A short lock is waited for.
    session.batch_execute(&lock).await.unwrap();
    let unlock = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("the cancellation to wait", async || {
            (stack.database.count(waiting).await > 0).then_some(())
        })
        .await;
        session.batch_execute("COMMIT").await.unwrap();
    };
    let (cancelled, ()) = tokio::join!(stack.order.act("cancel", &id), unlock);
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    stack.wait_until_settled().await;
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_gremlin_swallows_is_given_again_and_nothing_is_done_twice() {
    let mut stack = Stack::start().await;
    for action in ["cancel", "fulfil"] {
        for kind in ["drop", "error", "vanish", "crash"] {
            let id = stack.confirmed("PROD-002", 1).await;
            let row = stack.row(&id).await;
            let route = format!("/orders/{{id}}/{action}");
            let rule = json!({"kind": kind, "route": route, "max_fires": 1});
            stack.order.add_gremlin_rule(rule).await;
            let path = format!("/orders/{id}/{action}");
            let lost = stack
                .order
                .try_request(Method::POST, &path, &[], None)
                .await;
            match kind {
                "error" => {
                    lost.unwrap().assert_problem(500, "injected-fault");
                }
                _ => assert!(lost.is_err(), "{kind}: {lost:?}"),
            }
            if kind == "crash" {
                stack.restart_order(&[]).await;
            }
            let was_done = kind == "vanish" || kind == "crash";
            assert_eq!(stack.row(&id).await != row, was_done, "{action}, {kind}");
            let repeated = stack.order.act(action, &id).await;
            assert_eq!(repeated.status, 200, "{action}, {kind}: {repeated:?}");
            let expected = if action == "cancel" {
                "RELEASED REFUNDED"
            } else {
                "SHIPPED SUCCESS"
            };
            stack.wait_until_settled().await;
            assert_eq!(stack.holdings(&id).await, expected, "{action}, {kind}");
            let reasons = stack.reasons(&id).await;
            let done = if action == "cancel" {
                "cancelled"
            } else {
                "fulfilled"
            };
            let times = reasons.iter().filter(|reason| *reason == done).count();
            assert_eq!(times, 1, "{action}, {kind}: {reasons:?}");
        }
    }
    assert_eq!(stack.stock("PROD-002").await, (46, 0));
    stack.assert_clean_audit().await;
}

/// The server may send the changed row, and fail in the commit that follows.
#[tokio::test(flavor = "multi_thread")]
async fn an_action_whose_commit_fails_is_answered_503_and_was_not_done() {
    let stack = Stack::start().await;
    let id = stack.confirmed("PROD-001", 1).await;
    let row = stack.row(&id).await;
    let fail = "CREATE FUNCTION fail_commit() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'not now'; END $$;
        CREATE CONSTRAINT TRIGGER fail_commit AFTER UPDATE ON orders
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_commit()";
    stack.database.execute(fail).await;
    for action in ["cancel", "fulfil"] {
        let failed = stack.order.act(action, &id).await;
        failed.assert_problem(503, "database-unavailable");
        assert!(failed.header("retry-after").parse::<u32>().is_ok());
    }
    let heal = "DROP FUNCTION fail_commit CASCADE";
    stack.database.execute(heal).await;
    assert_eq!(stack.row(&id).await, row);
    assert_eq!(stack.holdings(&id).await, "HELD SUCCESS");
    assert_eq!(stack.order.act("cancel", &id).await.status, 200);
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_whose_commit_waits_is_answered_outcome_unknown_and_can_be_repeated() {
    let postgres = DedicatedPostgres::start(Vec::new()).await;
    let service = postgres.order_service(&[]).await;
    // The orders are confirmed by hand: there is no inventory to confirm them, and recovery leaves
    // confirmed orders alone.
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(place_order(&service).await.order_id());
    }
    let confirm = "UPDATE orders SET epoch = epoch + 1, status = 'CONFIRMED', lease_until = NULL,
        release_owed_epoch = NULL";
    postgres.execute(&[confirm]).await;
    make_commits_wait(&postgres).await;
    // Each session reads the new setting a little later.
    let mut unknown = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        let (action, later) = [("cancel", 200), ("fulfil", 202)][n % 2];
        let response = service.act(action, id).await;
        if response.status == later {
            continue;
        }
        let problem = response.assert_problem(503, "outcome-unknown");
        assert_eq!(problem["order_id"], json!(id));
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("GET /orders/{id}")), "{detail}");
        assert!(
            response.headers.get("retry-after").is_none(),
            "it is not known that nothing was done: {response:?}"
        );
        assert!(
            response.took < Duration::from_secs(6),
            "{:?}",
            response.took
        );
        unknown.push((action, id, later));
        if unknown.len() == 2 {
            break;
        }
    }
    assert_eq!(unknown.len(), 2, "a commit waits");
    let_commits_finish(&postgres).await;
    for (action, id, later) in unknown {
        let repeated = eventually("the order to be free", async || {
            let repeated = service.act(action, id).await;
            (repeated.status != 503).then_some(repeated)
        })
        .await;
        assert_eq!(repeated.status, later, "{repeated:?}");
        let reason = if action == "cancel" {
            "cancelled"
        } else {
            "fulfilment-requested"
        };
        let order = service.order(id).await;
        let events = order["events"].as_array().unwrap();
        let times = events.iter().filter(|event| event["reason"] == reason);
        assert_eq!(times.count(), 1, "{order}");
    }
    drop(service);
    postgres.end().await;
}

/// Only a write can have an unknown outcome.
#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_cannot_read_its_order_promises_that_nothing_was_done() {
    let mut postgres = DedicatedPostgres::start(Vec::new()).await;
    let service = postgres.order_service(&[]).await;
    let id = place_order(&service).await.order_id();
    postgres.pause();
    for action in ["cancel", "fulfil"] {
        let refused = service.act(action, &id).await;
        refused.assert_problem(503, "database-unavailable");
        assert!(refused.header("retry-after").parse::<u32>().is_ok());
    }
    postgres.resume();
    let order = eventually("the database to answer", async || {
        let order = service.get(&format!("/orders/{id}")).await;
        (order.status == 200).then(|| order.json())
    })
    .await;
    assert_ne!(order["status"], "FAILED");
    drop(service);
    postgres.stop().await;
    std::fs::remove_dir_all(&postgres.root).unwrap();
}
