//! Diesel's view of order's tables in `migrations/`: the columns that the query builder uses.
//! Columns that only hand-written statements name are left out.

diesel::table! {
    orders (id) {
        id -> Uuid,
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
        steps -> Jsonb,
    }
}
