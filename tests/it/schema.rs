//! The values that the schema itself rejects.

use crate::harness::TestDatabase;

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_rejects_values_that_no_row_may_have() {
    let database = TestDatabase::create().await;
    let session = database.session().await;
    session
        .batch_execute(
            "INSERT INTO orders (product_id, quantity) VALUES ('P', 1);
             INSERT INTO reservations (order_id, epoch, state, product_id, quantity)
                 SELECT id, 1, 'HELD', 'P', 1 FROM orders;
             INSERT INTO payments (order_id) SELECT id FROM orders;
             INSERT INTO inventory (product_id, stock) VALUES ('P', 1)",
        )
        .await
        .unwrap();
    for (table, change, constraint) in [
        ("orders", "status = 'NEWER'", "order_status_known"),
        ("orders", "quantity = 0", "order_quantity_range"),
        ("orders", "quantity = 1001", "order_quantity_range"),
        ("orders", "epoch = 0", "fencing_epoch_positive"),
        ("orders", "product_id = ''", "non_empty_id_given"),
        ("orders", "status = 'FAILED'", "orders_failed_has_reason"),
        ("reservations", "state = 'NEWER'", "reservation_state_known"),
        ("reservations", "epoch = 0", "fencing_epoch_positive"),
        ("reservations", "quantity = 0", "held_quantity_positive"),
        ("payments", "status = 'NEWER'", "payment_status_known"),
        ("payments", "amount = 0", "positive_amount_range"),
        ("inventory", "stock = -1", "stock_units_range"),
        ("inventory", "stock = 2000000001", "stock_units_range"),
        ("inventory", "reserved = -1", "stock_units_range"),
        ("inventory", "shipped = -1", "stock_units_range"),
        ("inventory", "stocked = -1", "stock_units_range"),
        ("deliveries", "quantity = 0", "delivered_units_range"),
        ("deliveries", "delivery_id = ''", "non_empty_id_given"),
        ("deliveries", "stock = -1", "stock_units_range"),
    ] {
        let error = session
            .batch_execute(&format!("UPDATE {table} SET {change}"))
            .await
            .expect_err(change);
        let error = error.as_db_error().expect("the server rejects the change");
        assert_eq!(error.constraint(), Some(constraint), "{table}: {change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_constraint_of_a_table_is_a_condition_on_one_column() {
    let database = TestDatabase::create().await;
    let of_one_column = "SELECT conname::text FROM pg_constraint
        WHERE contype = 'c' AND conrelid <> 0 AND connamespace = 'public'::regnamespace
            AND cardinality(conkey) = 1";
    let rows = database.query(of_one_column).await;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(names.is_empty(), "{names:?} could be domains");
}
