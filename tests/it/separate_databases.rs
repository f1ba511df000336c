//! A database for each service. Only the audit reads more than one of them, and it gets their URLs
//! from its configuration.

use std::process::Output;

use futures_util::future::join_all;
use serde_json::json;
use tokio::process::Command;
use uuid::Uuid;
use valerix::audit::Audit;

use crate::harness::violations::violated;
use crate::harness::{PROGRAM, Service, TestDatabase, eventually, free_port, stock_of};

/// The three services, each with its own database.
pub struct SeparateStack {
    /// The databases of order, inventory and payment.
    pub databases: [TestDatabase; 3],
    pub order: Service,
    inventory: Service,
    payment: Service,
    env: Vec<(&'static str, String)>,
}

impl SeparateStack {
    pub async fn start() -> Self {
        let databases = [
            TestDatabase::empty().await,
            TestDatabase::empty().await,
            TestDatabase::empty().await,
        ];
        let [order_url, inventory_url, payment_url] = databases.each_ref().map(TestDatabase::url);
        let [inventory_port, payment_port] = [free_port(), free_port()];
        let env = vec![
            ("DATABASE_URL", order_url),
            (
                "INVENTORY_SERVICE_URL",
                format!("http://127.0.0.1:{inventory_port}"),
            ),
            (
                "PAYMENT_SERVICE_URL",
                format!("http://127.0.0.1:{payment_port}"),
            ),
        ];
        let others = [
            ("INVENTORY_DATABASE_URL", inventory_url.clone()),
            ("PAYMENT_DATABASE_URL", payment_url.clone()),
        ];
        let inventory = [("DATABASE_URL", inventory_url)];
        let payment = [
            ("DATABASE_URL", payment_url),
            ("PAYMENT_SUCCESS_RATE", "0.8".to_owned()),
        ];
        let stack = Self {
            order: Service::start("order", free_port(), &[&env[..], &others].concat()),
            inventory: Service::start("inventory", inventory_port, &inventory),
            payment: Service::start("payment", payment_port, &payment),
            databases,
            env,
        };
        tokio::join!(
            stack.order.wait_until_ready(),
            stack.inventory.wait_until_ready(),
            stack.payment.wait_until_ready()
        );
        stack.databases[1].execute(&stock_of(100_000)).await;
        stack
    }

    /// Places orders, and accepts each outcome that the contract allows.
    pub async fn place_orders(&self, count: usize) {
        let orders = (0..count).map(async |n| {
            let product = if n % 10 == 0 { "PROD-404" } else { "PROD-001" };
            self.order
                .post("/orders", &json!({"product_id": product, "quantity": 1}))
                .await
        });
        for response in join_all(orders).await {
            assert!(
                [201, 202, 402, 422].contains(&response.status.as_u16()),
                "{response:?}"
            );
        }
    }

    pub async fn audit(&self) -> Audit {
        self.order.audit().await.expect("a response to GET /audit")
    }

    pub async fn wait_until_settled(&self) {
        eventually("every order to be settled", async || {
            (self.audit().await.orders.unsettled == 0).then_some(())
        })
        .await;
    }

    /// Runs `valerix audit`, with or without the URLs of the other two databases.
    pub async fn audit_command(&self, with_other_urls: bool) -> Output {
        let [orders, stock, money] = self.databases.each_ref().map(TestDatabase::url);
        let mut command = Command::new(PROGRAM);
        command.args(["audit", "--database-url", &orders]);
        if with_other_urls {
            command
                .args(["--inventory-database-url", &stock])
                .env("PAYMENT_DATABASE_URL", &money);
        }
        command.output().await.unwrap()
    }
}

#[track_caller]
pub fn assert_clean(audit: &Audit) {
    assert!(
        audit.clean && audit.orders.reservations_without_order == 0,
        "{audit}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_database_for_each_service_the_audit_stays_clean_and_finds_planted_defects() {
    let stack = SeparateStack::start().await;
    // Payment is slow first, so that recovery has to finish some orders. The audit runs all the
    // time.
    stack.payment.set_latency(true, 4000).await;
    stack.place_orders(10).await;
    stack.payment.set_latency(false, 0).await;
    let audits = std::cell::Cell::new(0);
    // Until there were enough orders and audits, however long an audit takes on a loaded machine.
    let customers = async {
        let mut orders = 10;
        while orders < 250 || audits.get() < 3 {
            stack.place_orders(20).await;
            orders += 20;
        }
        orders
    };
    let auditor = async {
        for number in 0.. {
            assert_clean(&stack.audit().await);
            audits.set(number);
        }
    };
    let orders = tokio::select! {
        orders = customers => orders,
        () = auditor => unreachable!("the auditor never stops"),
    };
    stack.wait_until_settled().await;
    let audit = stack.audit().await;
    assert_clean(&audit);
    assert!(
        audit.orders.total == orders && audit.orders.confirmed > 100 && audit.orders.failed >= 24,
        "{audit}"
    );
    let held = audit
        .products
        .iter()
        .find(|product| product.product_id == "PROD-001")
        .unwrap();
    assert_eq!(held.held, audit.orders.confirmed, "{audit}");

    // No service has written to the database of another one.
    for (database, tables) in [
        (0, ["reservations", "payments"]),
        (1, ["orders", "payments"]),
        (2, ["orders", "reservations"]),
    ] {
        for table in tables {
            let count = stack.databases[database]
                .count(&format!("SELECT count(*) FROM {table}"))
                .await;
            assert_eq!(count, 0, "{table} in database {database}");
        }
    }
    let output = stack.audit_command(true).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("No invariant is violated."),
        "{output:?}"
    );
    assert_planted_defects_are_found(&stack).await;
}

/// Defects of a confirmed order, each with its database, the SQL that causes it, the invariant that
/// must report it, and the SQL that repairs it.
fn defects(id: &str) -> [(usize, String, &'static str, String); 9] {
    [
        (
            0,
            format!("UPDATE orders SET quantity = 2 WHERE id = '{id}'"),
            "confirmed-is-held-and-paid",
            format!("UPDATE orders SET quantity = 1 WHERE id = '{id}'"),
        ),
        (
            1,
            format!("UPDATE reservations SET state = 'RELEASED' WHERE order_id = '{id}'"),
            "reserved-is-held",
            format!("UPDATE reservations SET state = 'HELD' WHERE order_id = '{id}'"),
        ),
        (
            1,
            "UPDATE inventory SET stock = stock - 1 WHERE product_id = 'PROD-002'".to_owned(),
            "stock-conserved",
            "UPDATE inventory SET stock = stock + 1 WHERE product_id = 'PROD-002'".to_owned(),
        ),
        (
            1,
            "UPDATE deliveries SET quantity = quantity + 1 WHERE product_id = 'PROD-002'
                 AND quantity > 50"
                .to_owned(),
            "stocked-is-delivered",
            "UPDATE deliveries SET quantity = quantity - 1 WHERE product_id = 'PROD-002'
                 AND quantity > 50"
                .to_owned(),
        ),
        (
            2,
            format!("UPDATE payments SET status = 'REFUNDED' WHERE order_id = '{id}'"),
            "confirmed-is-held-and-paid",
            format!("UPDATE payments SET status = 'SUCCESS' WHERE order_id = '{id}'"),
        ),
        (
            2,
            format!("UPDATE payments SET amount = 1 WHERE order_id = '{id}'"),
            "paid-what-was-ordered",
            format!("UPDATE payments SET amount = 99.99 WHERE order_id = '{id}'"),
        ),
        (
            2,
            format!(
                "INSERT INTO payments (order_id, status) VALUES ('{}', 'SUCCESS')",
                Uuid::nil()
            ),
            "payment-has-order",
            format!("DELETE FROM payments WHERE order_id = '{}'", Uuid::nil()),
        ),
        (
            1,
            format!(
                "ALTER DOMAIN reservation_state DROP CONSTRAINT reservation_state_known;
                 UPDATE reservations SET state = 'NEWER' WHERE order_id = '{id}'"
            ),
            "states-are-known",
            format!("UPDATE reservations SET state = 'HELD' WHERE order_id = '{id}'"),
        ),
        (
            2,
            "ALTER TABLE payments DROP CONSTRAINT payments_once_per_order;
            INSERT INTO payments (order_id, status) SELECT order_id, 'FAILED' FROM payments LIMIT 1"
                .to_owned(),
            "one-payment-per-order",
            "DELETE FROM payments
             WHERE id = (SELECT id FROM payments ORDER BY created_at DESC LIMIT 1)"
                .to_owned(),
        ),
    ]
}

/// Plants defects in each of the databases. The expected invariant must report each one, and the
/// audit must be clean again after its repair.
async fn assert_planted_defects_are_found(stack: &SeparateStack) {
    let confirmed = stack.databases[0]
        .query("SELECT id::text FROM orders WHERE status = 'CONFIRMED' LIMIT 1")
        .await;
    let id: String = confirmed[0].get(0);
    for (database, cause, invariant, repair) in defects(&id) {
        stack.databases[database].execute(&cause).await;
        // The service caches the result of a long audit for a while.
        eventually(&format!("{cause} to be found"), async || {
            let audit = stack.audit().await;
            let found = violated(&audit).iter().any(|(name, _)| *name == invariant);
            (found && !audit.clean).then_some(())
        })
        .await;
        stack.databases[database].execute(&repair).await;
        eventually(&repair, async || stack.audit().await.clean.then_some(())).await;
    }
    let without_order = json!({"product_id": "PROD-001", "quantity": 1});
    assert_eq!(
        stack
            .inventory
            .post("/inventory/reserve", &without_order)
            .await
            .status,
        200
    );
    eventually(
        "the reservation without an order to be listed",
        async || {
            let audit = stack.audit().await;
            assert_eq!(
                audit.orders.reservations_without_order,
                i64::try_from(audit.holds_without_order.len()).unwrap()
            );
            let [hold] = audit.holds_without_order.as_slice() else {
                return None;
            };
            (hold.product_id == "PROD-001" && hold.quantity == 1).then_some(())
        },
    )
    .await;

    stack.databases[2]
        .execute("UPDATE payments SET status = 'REFUNDED'")
        .await;
    let output = stack.audit_command(true).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_without_the_urls_of_the_other_databases_reports_that_it_is_not_configured() {
    let stack = SeparateStack::start().await;
    stack.place_orders(9).await;
    stack.wait_until_settled().await;
    let without_urls = Service::start("order", free_port(), &stack.env);
    without_urls.wait_until_ready().await;
    let problem = without_urls
        .get("/audit")
        .await
        .assert_problem(501, "audit-not-configured");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("no reservations") && detail.contains("INVENTORY_DATABASE_URL"),
        "{detail}"
    );
    let output = stack.audit_command(false).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && stderr.contains("INVENTORY_DATABASE_URL"),
        "{output:?}"
    );

    stack.databases[2].refuse_connections().await;
    let response = eventually("the audit to fail without a database", async || {
        let response = stack.order.get("/audit").await;
        (response.status != 200).then_some(response)
    })
    .await;
    let problem = response.assert_problem(503, "database-unavailable");
    assert!(
        !problem["detail"].as_str().unwrap().contains("postgres://"),
        "{problem}"
    );
    assert_eq!(
        stack.order.get("/readyz").await.status,
        200,
        "readiness does not depend on the audit"
    );
}
