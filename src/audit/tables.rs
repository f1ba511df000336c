//! The tables that an audit reads, by the service that owns them.

/// A table, as far as the invariants look at it.
pub struct Table {
    pub name: &'static str,
    /// Name and type of each column.
    pub columns: &'static [(&'static str, &'static str)],
}

pub const ORDER_TABLES: [&str; 2] = ["orders", "order_events"];

pub const INVENTORY_TABLES: &[Table] = &[
    Table {
        name: "inventory",
        columns: &[
            ("product_id", "text"),
            ("stock", "int"),
            ("reserved", "int"),
            ("shipped", "int"),
            ("stocked", "int"),
        ],
    },
    Table {
        name: "deliveries",
        columns: &[("product_id", "text"), ("quantity", "int")],
    },
    Table {
        name: "reservations",
        columns: &[
            ("order_id", "uuid"),
            ("state", "text"),
            ("product_id", "text"),
            ("quantity", "int"),
        ],
    },
];

pub const PAYMENT_TABLES: &[Table] = &[Table {
    name: "payments",
    columns: &[
        ("order_id", "uuid"),
        ("amount", "numeric"),
        ("status", "text"),
    ],
}];

/// The names of tables.
#[must_use]
pub fn names(tables: &[Table]) -> Vec<&'static str> {
    tables.iter().map(|table| table.name).collect()
}
