//! Runs the project's Python scripts.

use std::process::{Command, Output};

/// Runs a script of the checkout to its end, without leaving compiled files beside it.
pub fn run_script(path: &str, arguments: &[&str]) -> Output {
    Command::new("python3")
        .arg("-B")
        .arg(format!("{}/{path}", env!("CARGO_MANIFEST_DIR")))
        .args(arguments)
        .output()
        .unwrap()
}
