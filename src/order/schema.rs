//! Diesel's view of order's tables in `migrations/`: the columns that the query builder uses.
//! Columns that only hand-written statements name are left out.

diesel::table! {
    orders (id) {
        id -> Uuid,
        product_id -> Varchar,
        quantity -> Int4,
        amount -> Numeric,
        status -> Varchar,
        failure_reason -> Nullable<Varchar>,
        epoch -> Int4,
        release_owed_epoch -> Nullable<Int4>,
        refund_owed -> Bool,
        takeovers -> Int4,
        traceparent -> Nullable<Varchar>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    order_events (id) {
        id -> Int8,
        order_id -> Uuid,
        at -> Timestamptz,
        status -> Varchar,
        reason -> Varchar,
        epoch -> Int4,
        trace_id -> Nullable<Varchar>,
    }
}
