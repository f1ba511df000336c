//! `valerix orders` against a running order service.

use serde_json::{Value, json};

use crate::harness::{Run, Stack, free_port};

async fn orders(arguments: &[&str], env: &[(&str, &str)]) -> Run {
    Run::of(&[&["orders"], arguments].concat(), env).await
}

/// Runs the command against the order service of this stack, and expects it to succeed.
async fn succeed(stack: &Stack, arguments: &[&str]) -> String {
    let env = [("ORDER_SERVICE_URL", stack.order.url.as_str())];
    orders(arguments, &env).await.assert_success()
}

/// As [`succeed`], with `--json`.
async fn json_of(stack: &Stack, arguments: &[&str]) -> Value {
    let text = succeed(stack, &[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Places an order, and returns its id.
async fn place(stack: &Stack, product_id: &str, quantity: i32) -> String {
    stack.place(product_id, quantity).await.order_id()
}

fn ids(page: &Value) -> Vec<&str> {
    let orders = page["orders"].as_array().unwrap().iter();
    orders.map(|order| order["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_command_lists_the_orders_that_match() {
    let stack = Stack::start().await;
    assert_eq!(succeed(&stack, &["list"]).await, "there are no orders\n");
    let confirmed = place(&stack, "PROD-001", 2).await;
    let failed = place(&stack, "PROD-002", 51).await;
    let unknown = place(&stack, "\u{1b}[2J", 1).await;
    let text = succeed(&stack, &["list"]).await;
    let lines: Vec<&str> = text.lines().collect();
    let head = "ID                                    AT (UTC)  PRODUCT    QTY  STATUS";
    assert_eq!(lines[0], head);
    for (line, (start, end)) in lines[1..].iter().zip([
        (unknown.as_str(), "  \\u{1b}[2J    1  FAILED"),
        ("    unknown-product", ""),
        (failed.as_str(), "  PROD-002    51  FAILED"),
        ("    insufficient-stock", ""),
        (confirmed.as_str(), "  PROD-001     2  CONFIRMED"),
    ]) {
        assert!(line.starts_with(start) && line.ends_with(end), "{text}");
    }
    assert_eq!(lines.len(), 6, "{text}");

    let page = stack.order.get("/orders").await.json();
    assert_eq!(json_of(&stack, &["list"]).await, page);
    let created = page["orders"][1]["created_at"].as_str().unwrap();
    for (filter, wanted) in [
        (&["--status", "confirmed"][..], vec![&confirmed]),
        (&["--product-id", "PROD-002"], vec![&failed]),
        (&["--settled", "true"], vec![&unknown, &failed, &confirmed]),
        (&["--created-after", created], vec![&unknown]),
        (&["--created-before", created], vec![&confirmed]),
        (&["--settled", "false"], vec![]),
        (&["--status", "FAILED", "--limit", "1"], vec![&unknown]),
    ] {
        let page = json_of(&stack, &[&["list"], filter].concat()).await;
        assert_eq!(ids(&page), wanted, "{filter:?}");
    }
    let text = succeed(&stack, &["list", "--settled", "false"]).await;
    assert_eq!(text, "no order matches\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_follows_the_pages_up_to_its_limit_and_says_how_to_continue() {
    let stack = Stack::start().await;
    let many = "INSERT INTO orders (product_id, quantity, status, failure_reason, created_at)
        SELECT 'P' || n, 1, 'FAILED', 'expired', now() - n * interval '1 second'
        FROM generate_series(1, 250) n";
    stack.database.execute(many).await;
    let text = succeed(&stack, &["list"]).await;
    assert_eq!(text.matches("  FAILED\n").count(), 20, "{text}");
    let (_, cursor) = text.trim_end().rsplit_once("--cursor ").unwrap();
    let rest = json_of(&stack, &["list", "--limit", "1000", "--cursor", cursor]).await;
    let listed = rest["orders"].as_array().unwrap().iter();
    let products: Vec<_> = listed.map(|order| order["product_id"].clone()).collect();
    let wanted: Vec<_> = (21..=250).map(|n| json!(format!("P{n}"))).collect();
    assert_eq!(products, wanted);
    assert_eq!(rest["next_cursor"], Value::Null);
    let text = succeed(&stack, &["list", "--limit", "205"]).await;
    let hint = "\nolder orders: repeat the command with\n    --cursor ";
    assert!(text.contains(hint), "{text}");
    let text = succeed(&stack, &["list", "--limit", "250"]).await;
    assert!(!text.contains("older orders"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_command_shows_cancels_fulfils_and_retries() {
    let stack = Stack::start().await;
    let [first, second] = [
        place(&stack, "PROD-001", 2).await,
        place(&stack, "PROD-001", 3).await,
    ];
    for _ in 0..2 {
        let text = succeed(&stack, &["cancel", &first]).await;
        let wanted = format!("{first} is FAILED: cancelled; nothing is owed\n");
        assert_eq!(text, wanted);
        let text = succeed(&stack, &["fulfil", &second]).await;
        let wanted = format!("{second} is CONFIRMED, fulfilled; nothing is owed\n");
        assert_eq!(text, wanted);
    }
    assert_eq!(stack.stock("PROD-001").await, (97, 0));
    let text = succeed(&stack, &["retry", &second]).await;
    assert_eq!(
        text,
        format!("{second} is CONFIRMED, fulfilled; nothing is owed\n")
    );

    let text = succeed(&stack, &["show", &first]).await;
    let (fields, timeline) = text.split_once("\n\n").unwrap();
    let wanted = "status    FAILED: cancelled\n\
        message   Order cancelled\n\
        settled   yes: nothing is owed\n";
    assert!(fields.contains(wanted), "{text}");
    let cells = |line: &str| {
        let cells: Vec<_> = line.split_whitespace().collect();
        cells[1..cells.len().min(4)].join(" ")
    };
    let timeline: Vec<_> = timeline.lines().skip(1).map(cells).collect();
    let wanted = [
        "1 PENDING placed",
        "1 reserve ok",
        "1 charge ok",
        "1 CONFIRMED confirmed",
        "2 FAILED cancelled",
        "2 release ok",
        "2 FAILED stock-returned",
        "2 refund ok",
        "2 FAILED payment-refunded",
    ];
    assert_eq!(timeline, wanted, "{text}");
    let path = format!("/orders/{first}");
    let shown = json_of(&stack, &["show", &first]).await;
    assert_eq!(shown, stack.order.get(&path).await.json());
    assert!(
        fields.contains(shown["trace_id"].as_str().unwrap()),
        "{text}"
    );
    let cancelled = json_of(&stack, &["cancel", &first]).await;
    assert_eq!(cancelled["failure_reason"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_owed_is_said_and_recovery_does_it() {
    let mut stack = Stack::start().await;
    let [cancelled, fulfilled] = [
        place(&stack, "PROD-001", 2).await,
        place(&stack, "PROD-001", 3).await,
    ];
    stack.inventory.process.kill().await.unwrap();
    let pending = place(&stack, "PROD-001", 1).await;
    let text = succeed(&stack, &["cancel", &cancelled]).await;
    assert!(
        text.contains(" is FAILED: cancelled, owes release since "),
        "{text}"
    );
    assert!(text.contains("; recovery will return the stock"), "{text}");
    let text = succeed(&stack, &["fulfil", &fulfilled]).await;
    assert!(
        text.contains(" is CONFIRMED, owes shipment since "),
        "{text}"
    );
    assert!(text.contains("; recovery will ship the goods"), "{text}");
    let text = succeed(&stack, &["retry", &pending]).await;
    assert!(
        text.contains(" is PENDING_INVENTORY, unfinished for "),
        "{text}"
    );
    assert!(text.contains("; recovery will finish it"), "{text}");
    let text = succeed(&stack, &["list", "--settled", "false"]).await;
    assert_eq!(text.lines().count(), 7, "{text}");
    for line in [
        "\n    unfinished for ",
        "\n    owes shipment since ",
        "\n    cancelled; owes release since ",
    ] {
        assert!(text.contains(line), "{text}");
    }
    stack.restart_inventory(&[]).await;
    stack.wait_until_settled().await;
    let text = succeed(&stack, &["list", "--settled", "false"]).await;
    assert_eq!(text, "no order matches\n");
    assert_eq!(stack.stock("PROD-001").await, (96, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_orders_command_exits_with_1_and_a_wrong_one_with_2() {
    let stack = Stack::with(&[("OPERATOR_TOKEN", "op3rator")]).await;
    let env = [("ORDER_SERVICE_URL", stack.order.url.as_str())];
    let refused = async |arguments: &[&str], extra: &[(&str, &str)]| {
        let run = orders(arguments, &[&env[..], extra].concat()).await;
        run.assert_failure(1)
    };
    let token = [("OPERATOR_TOKEN", "op3rator")];
    let id = place(&stack, "PROD-001", 1).await;
    for action in ["cancel", "fulfil", "retry"] {
        for extra in [&[][..], &[("OPERATOR_TOKEN", "wr0ng")]] {
            let line = refused(&[action, &id], extra).await;
            assert!(line.contains("set OPERATOR_TOKEN"), "{line}");
            assert!(!line.contains("wr0ng"), "{line}");
        }
        let unknown = "0198f3e4-7c1a-7b3e-9d2c-0d7c1a5b9e01";
        let line = refused(&[action, unknown], &token).await;
        assert!(line.contains("There is no such order."), "{line}");
    }
    let with_token = [&env[..], &token].concat();
    orders(&["fulfil", &id], &with_token).await.assert_success();
    let line = refused(&["cancel", &id], &token).await;
    assert!(line.contains("The goods have left"), "{line}");
    let failed = place(&stack, "NOPE", 1).await;
    let line = refused(&["cancel", &failed], &token).await;
    assert!(line.contains("has failed already"), "{line}");
    let line = refused(&["fulfil", &failed], &token).await;
    assert!(line.contains("Only a confirmed order"), "{line}");
    let line = refused(&["list", "--cursor", "x"], &[]).await;
    assert!(line.contains("cursor must be"), "{line}");

    let nowhere = format!("http://127.0.0.1:{}", free_port());
    for command in [&["list"][..], &["cancel", &id]] {
        let run = orders(&[command, &["--url", &nowhere]].concat(), &[]).await;
        let line = run.assert_failure(1);
        let wanted = "does the order service run there?";
        assert!(line.contains(wanted), "{line}");
    }
    for (arguments, wanted) in [
        (
            &["show", "x\u{1b}y"][..],
            "ID is 'x\\u{1b}y'; it takes the id of an order",
        ),
        (&["cancel", "1"], "ID is '1'"),
        (&["fulfil"], "ID is not set"),
        (&["list", "--limit", "0"], "a whole number from 1 to"),
        (&["list", "--status", "DONE"], "it takes PENDING, CONFIRMED"),
        (&["list", "--settled", "perhaps"], "true or false"),
        (
            &["list", "--created-after", "yesterday"],
            "2026-01-31T12:00:00Z",
        ),
        (&["list", "--product-id", ""], "1 to 255 characters"),
        (&["list", "--url", "nowhere"], "it takes an address"),
        (&["list", "--operator-token", "a b"], "'***'"),
    ] {
        let line = orders(arguments, &[]).await.assert_failure(2);
        assert!(line.contains(wanted), "{arguments:?}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_says_how_to_find_out_what_the_order_is() {
    let stack = Stack::start().await;
    let id = place(&stack, "PROD-001", 5).await;
    let rule = json!({"kind": "vanish", "route": "/orders/{id}/cancel", "max_fires": 1});
    stack.order.add_gremlin_rule(rule).await;
    let env = [("ORDER_SERVICE_URL", stack.order.url.as_str())];
    let line = orders(&["cancel", &id], &env).await.assert_failure(1);
    assert!(line.contains("it is not known whether"), "{line}");
    let show = format!("valerix orders show {id}");
    assert!(line.contains(&show), "{line}");
    let shown = json_of(&stack, &["show", &id]).await;
    assert_eq!(shown["failure_reason"], "cancelled");
    succeed(&stack, &["cancel", &id]).await;
    assert_eq!(stack.stock("PROD-001").await, (100, 0));
}

#[tokio::test]
async fn completions_and_help_include_the_orders_command() {
    for (arguments, wanted) in [
        (&["completions", "bash"][..], "valerix__subcmd__orders"),
        (&["orders", "list", "--help"], "--created-before"),
        (&["orders", "--help"], "http://127.0.0.1:5001"),
    ] {
        let run = Run::of(arguments, &[("OPERATOR_TOKEN", "hunter2")]).await;
        let text = run.assert_success();
        assert!(text.contains(wanted), "{arguments:?}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
