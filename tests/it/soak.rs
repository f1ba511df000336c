//! `valerix soak`: a short one, which can tell nothing about growth and says so. What growth is, is
//! tested beside the rule.

use serde_json::Value;
use tokio::process::Command;

use crate::harness::PROGRAM;

#[tokio::test(flavor = "multi_thread")]
async fn a_short_soak_looks_at_every_role_and_does_not_claim_to_know() {
    let mut command = Command::new(PROGRAM);
    command.args(["soak", "--minutes", "0.4", "--rate", "20", "--json"]);
    let output = command.output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(
        (output.status.code(), &report["held"]),
        (Some(1), &Value::Bool(false)),
        "{report:#}"
    );

    let step = &report["load"]["steps"][0];
    let answers = step["answers"]
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_u64().unwrap());
    assert_eq!(
        (step["sent"].as_u64(), answers.sum::<u64>()),
        (Some(20 * 24), 20 * 24),
        "{step}"
    );
    let samples = report["samples"].as_array().unwrap();
    assert!(
        (6..=8).contains(&samples.len()),
        "every 3 s of 24: {samples:#?}"
    );
    for role in ["order", "inventory", "payment"] {
        for figure in ["memory_mib", "descriptors", "threads", "tasks", "sessions"] {
            let values = samples
                .iter()
                .map(|sample| sample["roles"][role][figure].as_f64().unwrap());
            assert!(
                values.clone().any(|value| value > 0.0),
                "{role} {figure}: {samples:#?}"
            );
            assert!(
                report["trends"][role][figure].is_null(),
                "too short to tell"
            );
        }
    }
    assert_eq!(
        (&report["deaths"], &report["unsettled"]),
        (&0.into(), &0.into()),
        "{report:#}"
    );
    assert_eq!(report["audit"]["clean"], true, "{report:#}");
    assert!(
        report["audit"]["orders"]["confirmed"].as_i64() > Some(300),
        "{report:#}"
    );
}
