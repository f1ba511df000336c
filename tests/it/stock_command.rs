//! `valerix stock` against a running inventory service.

use serde_json::{Value, json};

use crate::harness::{Run, Stack, free_port};

async fn stock(arguments: &[&str], env: &[(&str, &str)]) -> Run {
    Run::of(&[&["stock"], arguments].concat(), env).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_command_lists_creates_and_delivers() {
    let stack = Stack::start().await;
    let url = stack.inventory.url.as_str();
    let run = async |arguments: &[&str]| {
        stock(&[arguments, &["--url", url]].concat(), &[])
            .await
            .assert_success()
    };
    let json_of = async |arguments: &[&str]| -> Value {
        let text = run(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    assert_eq!(
        run(&["list"]).await,
        "\
PRODUCT   STOCK  RESERVED  SHIPPED  STOCKED
PROD-001    100         0        0      100
PROD-002     50         0        0       50
PROD-003     25         0        0       25
"
    );
    let text = run(&["create", "a/b c", "--stock", "7"]).await;
    assert_eq!(text, "created a/b c: 7 in stock\n");
    let text = run(&["create", "a/b c"]).await;
    let wanted = "a/b c exists already, and was not changed: 7 in stock, 0 reserved\n";
    assert_eq!(text, wanted);
    let text = run(&["add", "a/b c", "3", "--delivery-id", "D/1"]).await;
    let wanted = "a/b c: +3 units, now 10 in stock and 0 reserved (delivery D/1)\n";
    assert_eq!(text, wanted);
    let text = run(&["add", "a/b c", "3", "--delivery-id", "D/1"]).await;
    assert!(text.starts_with("this delivery was made before"), "{text}");
    let text = run(&["add", "a/b c", "-4"]).await;
    let wanted = "a/b c: -4 units, now 6 in stock and 0 reserved (delivery ";
    assert!(text.starts_with(wanted), "{text}");
    let created = json_of(&["create", "NEW"]).await;
    let new = json!({"product_id": "NEW", "stock": 0, "reserved": 0, "shipped": 0, "stocked": 0});
    assert_eq!(created, new);
    let delivered = json_of(&["add", "NEW", "2", "--delivery-id", "D-2"]).await;
    let wanted = json!({"delivery_id": "D-2", "product_id": "NEW", "quantity": 2, "stock": 2,
        "reserved": 0, "stocked": 2});
    assert_eq!(delivered, wanted);
    let listed = json_of(&["list"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 5, "{listed}");
    assert_eq!(listed, stack.inventory.get("/inventory").await.json());
    // More than the services send to each other.
    let products = "INSERT INTO inventory (product_id, stock)
        SELECT 'P' || n, 1 FROM generate_series(1, 3000) n";
    stack.database.execute(products).await;
    assert_eq!(run(&["list"]).await.lines().count(), 3006);
    stack.assert_clean_audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stock_command_exits_with_1_and_a_wrong_one_with_2() {
    let stack = Stack::with(&[("OPERATOR_TOKEN", "op3rator")]).await;
    let url = stack.inventory.url.as_str();
    let env = [("INVENTORY_SERVICE_URL", url)];
    let refused = async |arguments: &[&str], extra: &[(&str, &str)]| {
        let run = stock(arguments, &[&env[..], extra].concat()).await;
        run.assert_failure(1)
    };
    let token = [("OPERATOR_TOKEN", "op3rator")];
    for extra in [&[][..], &[("OPERATOR_TOKEN", "wr0ng")]] {
        let line = refused(&["create", "NEW"], extra).await;
        assert!(line.contains("set OPERATOR_TOKEN"), "{line}");
        assert!(!line.contains("wr0ng"), "{line}");
    }
    let line = refused(&["add", "NOPE", "1"], &token).await;
    assert!(line.contains("There is no product NOPE."), "{line}");
    let line = refused(&["add", "PROD-003", "-26"], &token).await;
    assert!(line.contains("Only 25 units of PROD-003"), "{line}");
    let line = refused(&["add", "PROD-003", "2000000000"], &token).await;
    assert!(line.contains("more than 2000000000"), "{line}");
    stock(
        &["add", "PROD-003", "1", "--delivery-id", "D"],
        &[&env[..], &token].concat(),
    )
    .await
    .assert_success();
    let again = ["add", "PROD-003", "2", "--delivery-id", "D"];
    let line = refused(&again, &token).await;
    assert!(line.contains("choose another delivery_id"), "{line}");

    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let run = stock(&["list", "--url", &nowhere], &[]).await;
    let line = run.assert_failure(1);
    assert!(line.contains("does not answer: not connected"), "{line}");
    for (arguments, wanted) in [
        (&["add", "PROD-001", "0"][..], "quantity"),
        (&["add", "PROD-001", "x"], "units from -2000000000"),
        (&["add", "PROD-001", "2000000001"], "units from -2000000000"),
        (&["add", "", "1"], "1 to 255 characters"),
        (
            &["add", "P", "1", "--delivery-id", ""],
            "1 to 255 characters",
        ),
        (&["create", "P", "--stock", "-1"], "units from 0"),
        (&["list", "--url", "nowhere"], "it takes an address"),
        (&["list", "--operator-token", "a b"], "'***'"),
    ] {
        let line = stock(arguments, &[]).await.assert_failure(2);
        assert!(line.contains(wanted), "{arguments:?}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_says_how_to_repeat_the_delivery() {
    let stack = Stack::start().await;
    let rule = json!({"kind": "vanish", "route": "/inventory/{product_id}/deliveries",
        "max_fires": 1});
    stack.inventory.add_gremlin_rule(rule).await;
    let url = stack.inventory.url.as_str();
    let run = stock(&["add", "PROD-001", "5", "--url", url], &[]).await;
    let line = run.assert_failure(1);
    assert!(line.contains("it is not known whether"), "{line}");
    let (_, rest) = line.split_once("--delivery-id ").unwrap();
    let id = rest.split([',', ' ']).next().unwrap();
    let arguments = ["add", "PROD-001", "5", "--url", url, "--delivery-id", id];
    let text = stock(&arguments, &[]).await.assert_success();
    assert!(text.contains("was made before"), "{text}");
    assert_eq!(stack.stock("PROD-001").await, (105, 0));
}

#[tokio::test]
async fn completions_and_help_include_the_stock_command() {
    for (arguments, wanted) in [
        (&["completions", "bash"][..], "valerix__subcmd__stock"),
        (&["stock", "add", "--help"], "--delivery-id"),
        (&["stock", "--help"], "http://127.0.0.1:5002"),
    ] {
        let run = Run::of(arguments, &[("OPERATOR_TOKEN", "hunter2")]).await;
        let text = run.assert_success();
        assert!(text.contains(wanted), "{arguments:?}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
