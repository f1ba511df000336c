//! Diesel's view of inventory's tables: the columns that its query builder uses.

diesel::table! {
    inventory (product_id) {
        product_id -> Varchar,
        stock -> Int4,
        reserved -> Int4,
        shipped -> Int4,
        stocked -> Int4,
    }
}

diesel::table! {
    deliveries (delivery_id) {
        delivery_id -> Varchar,
        product_id -> Varchar,
        quantity -> Int4,
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
