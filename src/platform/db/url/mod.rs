//! `DATABASE_URL`: parses it, hides its password, and connects to one of its hosts.

mod config;
mod database_url;
mod host;
mod parts;
mod redact;
#[cfg(test)]
mod tests;

pub use database_url::DatabaseUrl;
pub use redact::redact;
