//! Diesel's view of the schema in `migrations/`, one for all roles: the columns that its query
//! builder is used for. Columns that only hand-written statements name are left out.

diesel::table! {
    orders (id) {
        id -> Uuid,
        product_id -> Varchar,
        quantity -> Int4,
        amount -> Numeric,
        status -> Varchar,
        failure_reason -> Nullable<Varchar>,
        epoch -> Int4,
        release_due -> Nullable<Int4>,
        void_due -> Bool,
        attempts -> Int4,
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
        attempt -> Int4,
        trace_id -> Nullable<Varchar>,
    }
}

diesel::table! {
    inventory (product_id) {
        product_id -> Varchar,
        stock -> Int4,
        reserved -> Int4,
        stocked -> Int4,
    }
}

diesel::table! {
    reservations (order_id) {
        order_id -> Uuid,
        epoch -> Int4,
        state -> Varchar,
        product_id -> Nullable<Varchar>,
        quantity -> Nullable<Int4>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    payments (id) {
        id -> Uuid,
        order_id -> Uuid,
        amount -> Numeric,
        status -> Varchar,
        created_at -> Timestamptz,
    }
}
