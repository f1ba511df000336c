//! The drills take minutes and programs of their own, and run by `make failover-drill` and `make
//! restore-drill`. Here: that they can be started, and refuse what they cannot do.

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
fn each_drill_says_what_it_does_and_refuses_what_it_cannot_do() {
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
            let refused = run(drill, arguments);
            let text = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(
                refused.status.code(),
                Some(2),
                "{drill} {arguments:?}: {text}"
            );
            assert!(text.contains(named), "{drill} {arguments:?}: {text}");
        }
    }
    let refused = run(
        "failover.py",
        &["--program", PROGRAM, "--losses", "kill,drown"],
    );
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("drown"));
}
