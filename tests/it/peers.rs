//! `make bench-peers` takes minutes and needs other programs. These tests check its arguments, and
//! run the tests of its own code.

use std::process::Output;

use crate::harness::PROGRAM;
use crate::harness::python_script::run_script;

fn run(script: &str, arguments: &[&str]) -> Output {
    run_script(&format!("benches/peers/{script}"), arguments)
}

#[test]
fn the_comparison_prints_its_help_and_rejects_wrong_arguments() {
    let help = run("compare.py", &["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(
        help.status.success() && text.contains("--markdown"),
        "{text}"
    );
    for (arguments, named) in [
        (&["--program", "/nowhere/valerix"][..], "/nowhere/valerix"),
        (&["--program", PROGRAM, "--rounds", "0"], "--rounds"),
        (&["--program", PROGRAM, "--kills", "-1"], "--kills"),
        (&["--systems", "valerix,abacus"], "abacus"),
        (&["--surprise"], "--surprise"),
    ] {
        let rejected = run("compare.py", arguments);
        let text = String::from_utf8(rejected.stderr).unwrap();
        assert_eq!(rejected.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(named), "{arguments:?}: {text}");
    }
}

#[test]
fn the_comparison_finds_orders_that_are_lost_stuck_or_charged_twice() {
    let tests = run("tests.py", &[]);
    let text = String::from_utf8_lossy(&tests.stderr);
    // Before Python 3.12, a run without any test succeeds too.
    assert!(
        tests.status.success() && !text.contains("Ran 0 tests"),
        "{text}"
    );
}
