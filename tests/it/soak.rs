//! `valerix soak`: a short run, which is too short to detect growth. Unit tests in `src/soak` cover
//! the detection.

use serde_json::Value;
use tokio::process::Command;

use crate::harness::PROGRAM;

#[tokio::test(flavor = "multi_thread")]
async fn a_short_soak_samples_every_service_and_finds_no_trend() {
    let mut command = Command::new(PROGRAM);
    command.args(["soak", "--minutes", "0.4", "--rate", "20", "--json"]);
    let output = command.output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(
        (output.status.code(), &report["held"], &report["verdict"]),
        (Some(2), &Value::Bool(false), &"inconclusive".into()),
        "{report:#}"
    );
    let last_line = "soak: inconclusive; there are too few samples for a trend";
    let stderr = String::from_utf8(output.stderr).unwrap();
    let warning = "soak: 24 s are likely too short for a trend, and the soak may end \
                   inconclusive; with a sample every 3 s, 6 minutes are enough";
    assert_eq!(
        stderr,
        format!("valerix: {warning}\nvalerix: {last_line}\n")
    );

    let step = &report["load"]["steps"][0];
    let responses = step["answers"]
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_u64().unwrap());
    assert_eq!(
        (step["sent"].as_u64(), responses.sum::<u64>()),
        (Some(20 * 24), 20 * 24),
        "{step}"
    );
    let samples = report["samples"].as_array().unwrap();
    assert!(
        (6..=8).contains(&samples.len()),
        "one sample each 3 s of 24 s: {samples:#?}"
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
                "the run is too short for a trend"
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
