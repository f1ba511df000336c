//! Diesel's view of payment's table.

diesel::table! {
    payments (id) {
        id -> Uuid,
        order_id -> Uuid,
        amount -> Numeric,
        status -> Varchar,
        created_at -> Timestamptz,
    }
}
