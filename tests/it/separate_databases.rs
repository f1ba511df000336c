//! A database for each service: nothing but the audit looks at more than one, and it is told where
//! they are.

use std::process::Output;

use futures_util::future::join_all;
use serde_json::json;
use tokio::process::Command;
use uuid::Uuid;
use valerix::audit::Audit;

use crate::harness::{PROGRAM, Service, TestDatabase, eventually, free_port};

/// The three services, each on a database of its own.
struct Apart {
    /// Of order, inventory and payment.
    databases: [TestDatabase; 3],
    order: Service,
    inventory: Service,
    payment: Service,
    env: Vec<(&'static str, String)>,
}

impl Apart {
    async fn start() -> Self {
        let databases = [
            TestDatabase::empty().await,
            TestDatabase::empty().await,
            TestDatabase::empty().await,
        ];
        let [orders, stock, money] = databases.each_ref().map(TestDatabase::url);
        let [inventory_port, payment_port] = [free_port(), free_port()];
        let env = vec![
            ("DATABASE_URL", orders),
            (
                "INVENTORY_SERVICE_URL",
                format!("http://127.0.0.1:{inventory_port}"),
            ),
            (
                "PAYMENT_SERVICE_URL",
                format!("http://127.0.0.1:{payment_port}"),
            ),
            ("DOWNSTREAM_TIMEOUT_MS", "500".to_owned()),
        ];
        let others = [
            ("INVENTORY_DATABASE_URL", stock.clone()),
            ("PAYMENT_DATABASE_URL", money.clone()),
        ];
        let payment = [
            ("DATABASE_URL", money),
            ("PAYMENT_SUCCESS_RATE", "0.8".to_owned()),
        ];
        let apart = Self {
            order: Service::start("order", free_port(), &[&env[..], &others].concat()),
            inventory: Service::start("inventory", inventory_port, &[("DATABASE_URL", stock)]),
            payment: Service::start("payment", payment_port, &payment),
            databases,
            env,
        };
        tokio::join!(
            apart.order.wait_until_ready(),
            apart.inventory.wait_until_ready(),
            apart.payment.wait_until_ready()
        );
        let stock =
            "UPDATE inventory SET stock = 100000, stocked = 100000 WHERE product_id = 'PROD-001'";
        apart.databases[1].execute(stock).await;
        apart
    }

    async fn shop(&self, count: usize) {
        let orders = (0..count).map(async |n| {
            let product = if n % 10 == 0 { "PROD-404" } else { "PROD-001" };
            self.order
                .post("/orders", &json!({"product_id": product, "quantity": 1}))
                .await
        });
        for answer in join_all(orders).await {
            assert!(
                [201, 202, 402, 422].contains(&answer.status.as_u16()),
                "{answer:?}"
            );
        }
    }

    async fn audit(&self) -> Audit {
        self.order.audit().await.expect("the books are shown")
    }

    async fn wait_until_settled(&self) {
        eventually("every order to be settled", async || {
            (self.audit().await.orders.unsettled == 0).then_some(())
        })
        .await;
    }

    /// `valerix audit`, with or without being told where the others are.
    async fn command(&self, told: bool) -> Output {
        let [orders, stock, money] = self.databases.each_ref().map(TestDatabase::url);
        let mut command = Command::new(PROGRAM);
        command.args(["audit", "--database-url", &orders]);
        if told {
            command
                .args(["--inventory-database-url", &stock])
                .env("PAYMENT_DATABASE_URL", &money);
        }
        command.output().await.unwrap()
    }
}

#[track_caller]
fn is_clean(audit: &Audit) {
    assert!(
        audit.clean && audit.orders.reservations_without_order == 0,
        "{audit}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_has_a_database_and_the_audit_sees_them_all() {
    let apart = Apart::start().await;
    // A slow payment first, so that some orders are left to recovery; looked at all the while.
    apart.payment.set_latency(true, 2000).await;
    apart.shop(10).await;
    apart.payment.set_latency(false, 0).await;
    let looked = std::cell::Cell::new(0);
    // However long a look takes on a loaded machine: until there were enough.
    let busy = async {
        let mut orders = 10;
        while orders < 250 || looked.get() < 3 {
            apart.shop(20).await;
            orders += 20;
        }
        orders
    };
    let watch = async {
        for looks in 0.. {
            is_clean(&apart.audit().await);
            looked.set(looks);
        }
    };
    let orders = tokio::select! {
        orders = busy => orders,
        () = watch => unreachable!("it looks for ever"),
    };
    apart.wait_until_settled().await;
    let audit = apart.audit().await;
    is_clean(&audit);
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

    // Nobody has written where it does not belong.
    for (database, tables) in [
        (0, ["reservations", "payments"]),
        (1, ["orders", "payments"]),
        (2, ["orders", "reservations"]),
    ] {
        for table in tables {
            let count = apart.databases[database]
                .count(&format!("SELECT count(*) FROM {table}"))
                .await;
            assert_eq!(count, 0, "{table} in database {database}");
        }
    }
    let output = apart.command(true).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("The books balance."),
        "{output:?}"
    );
    finds_what_is_planted(&apart).await;
}

/// A defect in each of the databases, found by its rule and mended again.
async fn finds_what_is_planted(apart: &Apart) {
    let confirmed = apart.databases[0]
        .query("SELECT id::text FROM orders WHERE status = 'CONFIRMED' LIMIT 1")
        .await;
    let id: String = confirmed[0].get(0);
    let planted = [
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
            format!("INSERT INTO payments (order_id, status) VALUES ('{}', 'SUCCESS')", Uuid::nil()),
            "payment-has-order",
            format!("DELETE FROM payments WHERE order_id = '{}'", Uuid::nil()),
        ),
        (
            1,
            format!(
                "ALTER TABLE reservations DROP CONSTRAINT reservations_state_known;
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
            "DELETE FROM payments WHERE id = (SELECT id FROM payments ORDER BY created_at DESC LIMIT 1)"
                .to_owned(),
        ),
    ];
    for (database, break_it, rule, mend_it) in planted {
        apart.databases[database].execute(&break_it).await;
        // One that took long is shown for a while.
        eventually(&format!("{break_it} to be found"), async || {
            let audit = apart.audit().await;
            let found = audit
                .invariants
                .iter()
                .any(|found| found.name == rule && found.violations > 0);
            (found && !audit.clean).then_some(())
        })
        .await;
        apart.databases[database].execute(&mend_it).await;
        eventually(&mend_it, async || apart.audit().await.clean.then_some(())).await;
    }
    let by_hand = json!({"product_id": "PROD-001", "quantity": 1});
    assert_eq!(
        apart
            .inventory
            .post("/inventory/reserve", &by_hand)
            .await
            .status,
        200
    );
    eventually("what was held by hand to be seen", async || {
        let audit = apart.audit().await;
        assert_eq!(
            audit.orders.reservations_without_order,
            i64::try_from(audit.holds_without_order.len()).unwrap()
        );
        let [hold] = audit.holds_without_order.as_slice() else {
            return None;
        };
        (hold.product_id == "PROD-001" && hold.quantity == 1).then_some(())
    })
    .await;

    apart.databases[2]
        .execute("UPDATE payments SET status = 'REFUNDED'")
        .await;
    let output = apart.command(true).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_between_two_looks_is_no_mistake() {
    let apart = Apart::start().await;
    apart.shop(9).await;
    apart.wait_until_settled().await;
    // The audit has looked at the orders, and has to wait for stock or for payments.
    for (locked, table) in [(1, "inventory"), (2, "payments")] {
        let before = apart.audit().await.orders.confirmed;
        let session = apart.databases[locked].session().await;
        session
            .batch_execute(&format!(
                "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
            ))
            .await
            .unwrap();
        let meanwhile = async {
            let waiting = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
            eventually("the audit to wait", async || {
                (apart.databases[locked].count(waiting).await > 0).then_some(())
            })
            .await;
            for (database, statements) in an_order_from_its_beginning_to_its_end() {
                if database == locked {
                    session.batch_execute(&statements).await.unwrap();
                } else {
                    apart.databases[database].execute(&statements).await;
                }
            }
            session.batch_execute("COMMIT").await.unwrap();
        };
        let (output, ()) = tokio::join!(apart.command(true), meanwhile);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains(&format!(" {before} confirmed")),
            "{output:?}"
        );
        eventually("the next audit to see it", async || {
            let audit = apart.audit().await;
            is_clean(&audit);
            (audit.orders.confirmed == before + 1).then_some(())
        })
        .await;
    }
}

/// What the services would write, and where.
fn an_order_from_its_beginning_to_its_end() -> [(usize, String); 3] {
    let id = Uuid::new_v4();
    let held = format!(
        "UPDATE inventory SET stock = stock - 1, reserved = reserved + 1 WHERE product_id = 'PROD-001';
         INSERT INTO reservations (order_id, epoch, state, product_id, quantity) VALUES ('{id}', 1, 'HELD', 'PROD-001', 1)"
    );
    let paid = format!("INSERT INTO payments (order_id, status) VALUES ('{id}', 'SUCCESS')");
    let confirmed = format!(
        "INSERT INTO orders (id, product_id, quantity, status) VALUES ('{id}', 'PROD-001', 1, 'CONFIRMED')"
    );
    [(1, held), (2, paid), (0, confirmed)]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_was_not_told_where_the_tables_are_says_so() {
    let apart = Apart::start().await;
    apart.shop(9).await;
    apart.wait_until_settled().await;
    let untold = Service::start("order", free_port(), &apart.env);
    untold.wait_until_ready().await;
    let problem = untold
        .get("/audit")
        .await
        .assert_problem(501, "audit-not-configured");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("no reservations") && detail.contains("INVENTORY_DATABASE_URL"),
        "{detail}"
    );
    let output = apart.command(false).await;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && told.contains("INVENTORY_DATABASE_URL"),
        "{output:?}"
    );

    apart.databases[2].refuse_connections().await;
    let answer = eventually("the audit to miss a database", async || {
        let answer = apart.order.get("/audit").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    let problem = answer.assert_problem(503, "database-unavailable");
    assert!(
        !problem["detail"].as_str().unwrap().contains("postgres://"),
        "{problem}"
    );
    assert_eq!(
        apart.order.get("/readyz").await.status,
        200,
        "an audit is not what it serves"
    );
}
