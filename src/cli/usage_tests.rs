//! The sentences for wrong values and wrong usage.

use super::tests::line;

/// Lines of clap's own, and texts of the standard library, do not say what an argument takes.
#[test]
fn every_wrong_number_is_described_by_what_the_flag_takes() {
    for (arguments, wanted) in [
        (
            &["load", "--rate", "abc"][..],
            "--rate is 'abc'; it takes whole orders per second from 1",
        ),
        (
            &["load", "--rate", "10,,20"],
            "--rate is ''; it takes whole orders per second",
        ),
        (
            &["load", "--seconds", "-1"],
            "--seconds is '-1'; it takes whole seconds from 1 to 86400",
        ),
        (
            &["load", "--seconds", "1.5"],
            "--seconds is '1.5'; it takes whole seconds",
        ),
        (
            &["load", "--quantity", "0"],
            "--quantity is '0'; it takes a whole number from 1 to 1000",
        ),
        (
            &["load", "--connections", "0"],
            "--connections is '0'; it takes a whole number from 1",
        ),
        (
            &["load", "--max-errors", "-1"],
            "--max-errors is '-1'; it takes a number of orders",
        ),
        (
            &["load", "--product-id", "a,,b"],
            "--product-id is ''; it takes a product of 1 to 255",
        ),
        (
            &["prove", "--orders", "-1"],
            "--orders is '-1'; it takes a whole number from 1",
        ),
        (
            &["prove", "--kills", "x"],
            "--kills is 'x'; it takes a whole number from 0 to 10000",
        ),
        (
            &["prove", "--seed", "x"],
            "--seed is 'x'; it takes a whole number from 0",
        ),
        (
            &["soak", "--rate", "0"],
            "--rate is '0'; it takes whole orders per second",
        ),
        (
            &["soak", "--sample-seconds", "1"],
            "--sample-seconds is '1'; it takes whole seconds from 3",
        ),
        (
            &["soak", "--data-dir", ""],
            "--data-dir is ''; it takes a path",
        ),
        (
            &["gremlin", "on", "--delay-ms", "-1"],
            "--delay-ms is '-1'; it takes whole milliseconds",
        ),
        (
            &["gremlin", "rm", "x"],
            "ID is 'x'; it takes the number of a rule",
        ),
        (
            &["gremlin", "add", "error", "--status", "x"],
            "--status is 'x'; it takes a whole number",
        ),
        (
            &["gremlin", "add", "drop", "--probability", "nan"],
            "--probability is 'nan'; it takes a number from 0 to 1",
        ),
    ] {
        let line = line(arguments);
        assert!(line.starts_with(wanted), "{arguments:?}: {line}");
    }
}

#[test]
fn wrong_usage_is_one_sentence_that_names_the_help() {
    for (arguments, wanted) in [
        (
            &["load", "--rat", "1"][..],
            "'valerix load' takes no argument '--rat'; did you mean --rate? See 'valerix load --help'",
        ),
        (
            &["load", "x"],
            "'valerix load' takes no argument 'x'; see 'valerix load --help'",
        ),
        (
            &["frob"],
            "'valerix' has no command 'frob'; see 'valerix --help'",
        ),
        (
            &["stock", "--json"],
            "'valerix stock' needs a command: list, add, create or help; see",
        ),
        (
            &["load", "--seconds", "1", "--seconds", "2"],
            "--seconds is given more than once; see 'valerix load --help'",
        ),
        (
            &["gremlin", "rm", "1", "--all"],
            "ID and --all exclude each other; see 'valerix gremlin rm",
        ),
        (
            &[
                "demo",
                "--reset",
                "--database-url",
                "postgres://u:hunter2@h/db",
            ],
            "--reset and DATABASE_URL (--database-url) exclude each other; see 'valerix demo --help'",
        ),
        (
            &["load", "--keys=yes"],
            "--keys is 'yes'; it takes no value; see 'valerix load --help'",
        ),
        (
            &["load", "--url"],
            "ORDER_SERVICE_URL (--url) needs a value; see 'valerix load --help'",
        ),
        (
            &["stock", "add"],
            "PRODUCT and QUANTITY are not set; see 'valerix stock add --help'",
        ),
        (
            &["gremlin", "rm"],
            "ID is not set; see 'valerix gremlin rm --help'",
        ),
        (
            &["orders", "list", "--status", "x"],
            "--status is 'x'; it takes PENDING, CONFIRMED, FAILED",
        ),
    ] {
        let line = line(arguments);
        assert!(line.starts_with(wanted), "{arguments:?}: {line}");
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn a_command_without_its_subcommand_prints_its_help() {
    for command in ["stock", "orders", "gremlin"] {
        let text = line(&[command]);
        assert!(
            text.contains(&format!("Usage: valerix {command}")),
            "{text}"
        );
    }
}
