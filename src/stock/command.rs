//! The commands of `valerix stock`.

#[derive(Debug, Clone)]
pub enum Command {
    List,
    /// Adds units to a product, or removes some if the quantity is negative.
    Add {
        product_id: String,
        quantity: i32,
        /// `None`: a new delivery.
        delivery_id: Option<String>,
    },
    Create {
        product_id: String,
        stock: i32,
    },
}
