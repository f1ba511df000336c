//! Diesel's view of payment's tables in `migrations/`: the columns that its query builder is used for.
//! Columns that only hand-written statements name are left out.

diesel::table! {
    payments (id) {
        id -> Uuid,
        order_id -> Uuid,
        amount -> Numeric,
        status -> Varchar,
        created_at -> Timestamptz,
    }
}
