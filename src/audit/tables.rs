//! The tables that an audit reads, by the service that owns them.

use uuid::Uuid;

/// A table, as far as the invariants look at it.
pub struct Table {
    pub name: &'static str,
    /// Name and type of each column.
    pub columns: &'static [(&'static str, &'static str)],
}

pub const ORDER_TABLES: [&str; 3] = ["orders", "order_events", "leaving_orders"];

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
    Table {
        name: "forgotten_shipments",
        columns: &[("product_id", "text"), ("quantity", "bigint")],
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

impl Table {
    /// Whether each row belongs to an order.
    fn has_order_id(&self) -> bool {
        self.columns.iter().any(|(column, _)| *column == "order_id")
    }
}

/// The names of tables.
pub fn names<'a>(tables: impl IntoIterator<Item = &'a Table>) -> Vec<&'static str> {
    tables.into_iter().map(|table| table.name).collect()
}

/// Which rows an audit reads.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    All,
    /// The rows of these orders, in the tables whose rows belong to orders.
    OfOrders(&'a [Uuid]),
}

impl Rows<'_> {
    /// The tables that have such rows.
    pub fn tables(self, tables: &'static [Table]) -> impl Iterator<Item = &'static Table> {
        let all = matches!(self, Self::All);
        tables
            .iter()
            .filter(move |table| all || table.has_order_id())
    }

    /// The condition of the rows, where `column` holds the order's id.
    pub fn condition(self, column: &str) -> String {
        match self {
            Self::All => "true".to_owned(),
            Self::OfOrders(ids) => {
                let ids: Vec<_> = ids.iter().map(Uuid::to_string).collect();
                format!("{column} = ANY ('{{{}}}'::uuid[])", ids.join(","))
            }
        }
    }
}
