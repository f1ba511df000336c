//! The ways for a user to reach the demo's database.

use std::path::Path;

use crate::platform::db::DatabaseUrl;
use crate::testbed::postgres::{Server, shell_word};

/// The texts that the demo prints about its database. No field has a password.
pub struct DatabaseAccess {
    pub description: String,
    /// The shell command that opens the database.
    pub psql: String,
    /// The flag of `valerix audit`; empty if the command finds the database by itself.
    pub audit_flag: String,
    /// A shell comment after both commands, or nothing.
    pub note: &'static str,
}

impl DatabaseAccess {
    /// The database of `DATABASE_URL`.
    pub fn external(url: &DatabaseUrl) -> Self {
        let shown = url.to_string();
        let word = shell_word(Path::new(&shown));
        let has_secret = shown != url.with_password();
        Self {
            psql: format!("psql {word}"),
            audit_flag: format!(" --database-url {word}"),
            note: if has_secret {
                "   # needs the password, which is not shown"
            } else {
                ""
            },
            description: shown,
        }
    }

    /// The private database, kept in `data_dir` if that is not the default.
    pub fn private(server: &Server, database: &str, data_dir: Option<&Path>) -> Self {
        let flag = |path| format!(" --data-dir {}", shell_word(path));
        Self {
            description: format!("PostgreSQL {}", server.major_version()),
            psql: server.psql_command(database),
            audit_flag: data_dir.map(flag).unwrap_or_default(),
            note: "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_for_an_external_database_have_no_password() {
        let url = "postgres://u:hunter2@h/db?sslmode=disable";
        let access = DatabaseAccess::external(&url.parse().unwrap());
        for text in [&access.psql, &access.audit_flag, &access.description] {
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(
            access.psql.starts_with("psql 'postgres://u"),
            "{}",
            access.psql
        );
        assert!(access.note.contains("password"), "{}", access.note);
        let without = DatabaseAccess::external(&"postgres://u@h/db".parse().unwrap());
        assert_eq!(without.note, "");
    }
}
