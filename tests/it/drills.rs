//! The drills take minutes and need other programs: `make failover-drill`, `make restore-drill`,
//! `make observability-drill` and `make kubernetes-drill` run them. These tests check that they
//! start and that they reject wrong arguments.

use std::process::{Command, Output};

use crate::harness::PROGRAM;
use crate::harness::python_script::run_script;

fn run(drill: &str, arguments: &[&str]) -> Output {
    run_script(&format!("drills/{drill}"), arguments)
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
    for (arguments, named) in [
        (["--losses", "kill,drown"], "drown"),
        (["--settings", "ttl"], "--settings"),
    ] {
        let rejected = run(
            "failover.py",
            &[&["--program", PROGRAM], &arguments[..]].concat(),
        );
        let text = String::from_utf8(rejected.stderr).unwrap();
        assert_eq!(rejected.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(named), "{arguments:?}: {text}");
    }
}

#[test]
fn the_observability_drill_names_its_programs_and_rejects_wrong_arguments() {
    let help = run("observability.py", &["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    for variable in ["OTELCOL", "JAEGER", "PROMETHEUS", "LOKI", "PROMTAIL"] {
        assert!(text.contains(variable), "{variable}: {text}");
    }
    for (arguments, named) in [
        (&["--program", "/nowhere/valerix"][..], "/nowhere/valerix"),
        (&["--surprise"], "--surprise"),
    ] {
        let rejected = run("observability.py", arguments);
        let text = String::from_utf8(rejected.stderr).unwrap();
        assert_eq!(rejected.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(named), "{arguments:?}: {text}");
    }
}

#[test]
fn the_kubernetes_drill_names_the_programs_that_are_missing() {
    // The `python3` of the PATH may be a script that needs the PATH itself.
    let python = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .unwrap();
    let refused = Command::new(String::from_utf8(python.stdout).unwrap().trim())
        .arg("-B")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/drills/kubernetes.py"))
        .env("PATH", "/nowhere")
        .env_remove("KUBERNETES_BIN_DIR")
        .output()
        .unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    for program in ["etcd", "kube-apiserver", "kube-scheduler", "kubectl"] {
        assert!(
            text.starts_with("nothing was run") && text.contains(program),
            "{text}"
        );
    }
    let rejected = run("kubernetes.py", &["--definitions", "/nowhere/crds"]);
    let text = String::from_utf8(rejected.stderr).unwrap();
    assert_eq!(rejected.status.code(), Some(2), "{text}");
    assert!(text.contains("/nowhere/crds"), "{text}");
}
