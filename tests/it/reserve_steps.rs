//! A reserve takes several steps in the database. An error in a later step never changes the answer
//! to a request that an earlier step has decided.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Stack, eventually};

/// Makes an insert or update of the ledger take 1 s.
fn slow_ledger(event: &str) -> String {
    format!(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE {event} ON reservations FOR EACH ROW EXECUTE FUNCTION slow()"
    )
}

/// Stores an order that has released its goods. Its next reserve must lock its row of the ledger.
async fn released_order(stack: &Stack) -> Uuid {
    let order = Uuid::new_v4();
    let goods = json!({"product_id": "PROD-002", "quantity": 1, "order_id": order});
    for (path, body) in [
        ("reserve", &goods),
        ("release", &json!({"order_id": order})),
    ] {
        let response = stack
            .inventory
            .post(&format!("/inventory/{path}"), body)
            .await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    order
}

/// Reserves goods for a new order and for one that exists. Both are executed in one batch. Returns
/// their statuses and bodies.
async fn reserve_for_both(stack: &Stack, new: Uuid, existing: Uuid) -> [(u64, Value); 2] {
    let call = |product_id: &str, order: Uuid, epoch: i32| {
        json!({"deadline_ms": 5000, "body": {
            "product_id": product_id, "quantity": 1, "order_id": order, "epoch": epoch}})
    };
    let calls = json!({"calls": [call("PROD-001", new, 1), call("PROD-002", existing, 2)]});
    let response = stack
        .inventory
        .post("/inventory/reserve/batch", &calls)
        .await;
    assert_eq!(response.status, 200, "{response:?}");
    let mut lines: Vec<Value> = response
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines.sort_by_key(|line| line["call"].as_u64());
    let answers: Vec<_> = lines
        .into_iter()
        .map(|line| (line["status"].as_u64().unwrap(), line["body"].clone()))
        .collect();
    answers.try_into().unwrap()
}

/// Whether the order holds goods.
async fn holds(stack: &Stack, order: Uuid) -> bool {
    let held =
        format!("SELECT count(*) FROM reservations WHERE order_id = '{order}' AND state = 'HELD'");
    stack.database.count(&held).await > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_reservation_is_answered_200_although_a_later_step_meets_a_lock() {
    let stack = Stack::start().await;
    let (new, existing) = (Uuid::new_v4(), released_order(&stack).await);
    stack.database.execute(&slow_ledger("INSERT")).await;
    let session = stack.database.session().await;
    let lock_existing =
        format!("BEGIN; SELECT FROM reservations WHERE order_id = '{existing}' FOR UPDATE");
    session.batch_execute(&lock_existing).await.unwrap();
    // This session gets the lock on the new order's product when its reservation is committed. So
    // a step that reserved for the new order again would wait for it.
    let lock_product = async {
        let inserting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'PgSleep'";
        eventually("the new order to be inserted", async || {
            (stack.database.count(inserting).await > 0).then_some(())
        })
        .await;
        let lock = "SELECT FROM inventory WHERE product_id = 'PROD-001' FOR UPDATE";
        session.batch_execute(lock).await.unwrap();
    };
    let (answers, ()) = tokio::join!(reserve_for_both(&stack, new, existing), lock_product);
    let [reserved, locked] = answers;
    assert_eq!(
        (reserved.0, holds(&stack, new).await),
        (200, true),
        "{}",
        reserved.1
    );
    assert_eq!((locked.0, &locked.1["code"]), (503, &json!("locked")));
    assert!(!holds(&stack, existing).await, "{}", locked.1);
    session.batch_execute("COMMIT").await.unwrap();
    assert!(!holds(&stack, existing).await, "nothing is done later");
    assert_eq!(stack.stock("PROD-002").await, (50, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_reservation_is_answered_200_although_a_later_step_loses_its_connection() {
    let stack = Stack::start().await;
    let (new, existing) = (Uuid::new_v4(), released_order(&stack).await);
    stack.database.execute(&slow_ledger("UPDATE")).await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let end_session = eventually("a slow statement", async || {
        (stack.database.count(end).await > 0).then_some(())
    });
    let (answers, ()) = tokio::join!(reserve_for_both(&stack, new, existing), end_session);
    let [reserved, unknown] = answers;
    assert_eq!(
        (reserved.0, holds(&stack, new).await),
        (200, true),
        "{}",
        reserved.1
    );
    assert_eq!(
        (unknown.0, &unknown.1["code"]),
        (503, &json!("outcome-unknown"))
    );
}
