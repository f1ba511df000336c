//! OpenTelemetry's standard variables for traces.

use clap::Args;

use super::parsers::{OtlpEndpoint, otlp_certificate, otlp_endpoint, otlp_protocol};
use crate::platform::observability::telemetry::{Certificates, Export, Protocol};

/// Variables that the libraries of OpenTelemetry read themselves: the sampler, the batches, the
/// resource and the headers.
pub const READ_BY_OPENTELEMETRY: [&str; 9] = [
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];

#[derive(Debug, Args)]
#[command(next_help_heading = "Traces")]
pub struct OtlpArgs {
    /// Where to send spans by OTLP: host:port, http://host:port or https://host:port [default:
    /// spans are not sent]
    #[arg(long = "otel-exporter-otlp-endpoint", env = "OTEL_EXPORTER_OTLP_ENDPOINT",
          value_parser = otlp_endpoint)]
    endpoint: Option<OtlpEndpoint>,
    /// The same, for traces alone
    #[arg(long = "otel-exporter-otlp-traces-endpoint", hide = true,
          env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value_parser = otlp_endpoint)]
    traces_endpoint: Option<OtlpEndpoint>,
    /// grpc or http/protobuf
    #[arg(long = "otel-exporter-otlp-protocol", hide = true, env = "OTEL_EXPORTER_OTLP_PROTOCOL",
          value_parser = otlp_protocol)]
    protocol: Option<Protocol>,
    /// The same, for traces alone
    #[arg(long = "otel-exporter-otlp-traces-protocol", hide = true,
          env = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", value_parser = otlp_protocol)]
    traces_protocol: Option<Protocol>,
    /// File of the certificates to trust at an https endpoint [default: the system's]
    #[arg(long = "otel-exporter-otlp-certificate", hide = true,
          env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_parser = otlp_certificate)]
    certificate: Option<Certificates>,
    /// The same, for traces alone
    #[arg(long = "otel-exporter-otlp-traces-certificate", hide = true,
          env = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", value_parser = otlp_certificate)]
    traces_certificate: Option<Certificates>,
    /// otlp or none
    #[arg(
        long = "otel-traces-exporter",
        hide = true,
        env = "OTEL_TRACES_EXPORTER"
    )]
    exporter: Option<String>,
    /// true: do not send spans
    #[arg(long = "otel-sdk-disabled", hide = true, env = "OTEL_SDK_DISABLED")]
    disabled: Option<String>,
    /// Name of the service in traces
    #[arg(long = "otel-service-name", hide = true, env = "OTEL_SERVICE_NAME")]
    pub service_name: Option<String>,
}

impl OtlpArgs {
    /// Returns where spans are sent, if anywhere, and warnings about ignored values. OpenTelemetry
    /// requires that an unknown value is reported and does not stop the service.
    pub fn export(&self) -> (Option<Export>, Vec<String>) {
        let mut warnings = Vec::new();
        let is_disabled = self
            .disabled
            .as_deref()
            .is_some_and(|text| is_true(text, &mut warnings));
        let is_none = self
            .exporter
            .as_deref()
            .is_some_and(|text| is_no_exporter(text, &mut warnings));
        let protocol = self
            .traces_protocol
            .or(self.protocol)
            .unwrap_or(Protocol::Grpc);
        let certificates = self
            .traces_certificate
            .clone()
            .or_else(|| self.certificate.clone());
        let export = self.endpoint(protocol).map(|endpoint| Export {
            endpoint,
            protocol,
            certificates,
        });
        (export.filter(|_| !is_disabled && !is_none), warnings)
    }

    /// The endpoint for traces as it is, or the general one with the path that HTTP needs.
    fn endpoint(&self, protocol: Protocol) -> Option<String> {
        let value = |endpoint: &Option<OtlpEndpoint>| endpoint.clone()?.0;
        value(&self.traces_endpoint).or_else(|| {
            let base = value(&self.endpoint)?;
            Some(match protocol {
                Protocol::Http => format!("{base}/v1/traces"),
                Protocol::Grpc => base,
            })
        })
    }
}

/// Reads a boolean of OpenTelemetry: any value but `true` is false.
fn is_true(text: &str, warnings: &mut Vec<String>) -> bool {
    let is_true = text.eq_ignore_ascii_case("true");
    if !is_true && !text.eq_ignore_ascii_case("false") {
        warnings.push(format!(
            "OTEL_SDK_DISABLED is '{text}', which counts as false; it takes true or false"
        ));
    }
    is_true
}

fn is_no_exporter(text: &str, warnings: &mut Vec<String>) -> bool {
    match text.to_ascii_lowercase().as_str() {
        "none" => true,
        "otlp" => false,
        _ => {
            warnings.push(format!(
                "OTEL_TRACES_EXPORTER is '{text}', which is ignored; it takes otlp or none"
            ));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct TestCli {
        #[command(flatten)]
        otlp: OtlpArgs,
    }

    /// The endpoint of the export, and the number of warnings.
    fn export(flags: &[&str]) -> (Option<String>, usize) {
        let base = ["test", "--otel-exporter-otlp-endpoint", "collector:4317"];
        let otlp = TestCli::try_parse_from(base.iter().chain(flags))
            .unwrap()
            .otlp;
        let (export, warnings) = otlp.export();
        (export.map(|export| export.endpoint), warnings.len())
    }

    #[test]
    fn variables_have_the_meaning_that_opentelemetry_specifies() {
        let (default, none) = (Some("http://collector:4317".to_owned()), None);
        for (flags, wanted) in [
            (&[][..], (default.clone(), 0)),
            (&["--otel-sdk-disabled", "TRUE"], (none.clone(), 0)),
            (&["--otel-sdk-disabled", "False"], (default.clone(), 0)),
            (&["--otel-sdk-disabled", "maybe"], (default.clone(), 1)),
            (&["--otel-sdk-disabled", "1"], (default.clone(), 1)),
            (&["--otel-traces-exporter", "none"], (none, 0)),
            (&["--otel-traces-exporter", "otlp"], (default.clone(), 0)),
            (&["--otel-traces-exporter", "jaeger"], (default, 1)),
            (
                &["--otel-exporter-otlp-protocol", "http/protobuf"],
                (Some("http://collector:4317/v1/traces".to_owned()), 0),
            ),
            (
                &[
                    "--otel-exporter-otlp-protocol",
                    "http/protobuf",
                    "--otel-exporter-otlp-traces-endpoint",
                    "https://collector/traces",
                ],
                (Some("https://collector/traces".to_owned()), 0),
            ),
        ] {
            assert_eq!(export(flags), wanted, "{flags:?}");
        }
    }
}
