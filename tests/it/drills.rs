//! The drills take minutes and need other programs: `make failover-drill` and `make restore-drill`
//! run them. These tests check that they start and that they reject wrong arguments.

use std::process::{Command, Output};

use crate::harness::PROGRAM;

fn run(drill: &str, arguments: &[&str]) -> Output {
    let path = format!("{}/drills/{drill}", env!("CARGO_MANIFEST_DIR"));
    Command::new("python3")
        .arg("-B")
        .arg(path)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn each_drill_prints_its_help_and_rejects_wrong_arguments() {
    for drill in ["failover.py", "restore.py"] {
        let help = run(drill, &["--help"]);
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(
            help.status.success() && text.contains("--rate"),
            "{drill}: {text}"
        );
        for (arguments, named) in [
            (&["--program", "/nowhere/valerix"][..], "/nowhere/valerix"),
            (&["--program", PROGRAM, "--rate", "0"], "--rate"),
            (&["--program", PROGRAM, "--rate", "many"], "--rate"),
            (&["--surprise"], "--surprise"),
        ] {
            let rejected = run(drill, arguments);
            let text = String::from_utf8(rejected.stderr).unwrap();
            assert_eq!(
                rejected.status.code(),
                Some(2),
                "{drill} {arguments:?}: {text}"
            );
            assert!(text.contains(named), "{drill} {arguments:?}: {text}");
        }
    }
    let rejected = run(
        "failover.py",
        &["--program", PROGRAM, "--losses", "kill,drown"],
    );
    assert_eq!(rejected.status.code(), Some(2));
    assert!(
        String::from_utf8(rejected.stderr)
            .unwrap()
            .contains("drown")
    );
}
