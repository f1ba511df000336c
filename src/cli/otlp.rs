//! What OpenTelemetry's standard variables say about traces. The SDK reads those of the sampler and
//! the batches itself.

use clap::Args;

use super::parsers::{OtlpEndpoint, otlp_certificate, otlp_endpoint, otlp_protocol};
use crate::platform::observability::telemetry::{Certificates, Export, Protocol};

#[derive(Debug, Args)]
pub struct OtlpArgs {
    /// Where spans go by OTLP: host:port, http://host:port or https://host:port [default: nowhere]
    #[arg(long = "otel-exporter-otlp-endpoint", env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = otlp_endpoint)]
    endpoint: Option<OtlpEndpoint>,
    /// The same, for traces alone
    #[arg(long = "otel-exporter-otlp-traces-endpoint", hide = true, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value_parser = otlp_endpoint)]
    traces_endpoint: Option<OtlpEndpoint>,
    /// grpc or http/protobuf
    #[arg(long = "otel-exporter-otlp-protocol", hide = true, env = "OTEL_EXPORTER_OTLP_PROTOCOL", value_parser = otlp_protocol)]
    protocol: Option<Protocol>,
    /// The same, for traces alone
    #[arg(long = "otel-exporter-otlp-traces-protocol", hide = true, env = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", value_parser = otlp_protocol)]
    traces_protocol: Option<Protocol>,
    /// File of the certificates that an https endpoint is trusted by [default: the system's]
    #[arg(long = "otel-exporter-otlp-certificate", hide = true, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_parser = otlp_certificate)]
    certificate: Option<Certificates>,
    /// The same, for traces alone
    #[arg(long = "otel-exporter-otlp-traces-certificate", hide = true, env = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", value_parser = otlp_certificate)]
    traces_certificate: Option<Certificates>,
    /// otlp or none
    #[arg(
        long = "otel-traces-exporter",
        hide = true,
        env = "OTEL_TRACES_EXPORTER"
    )]
    exporter: Option<String>,
    /// true: no spans are sent
    #[arg(long = "otel-sdk-disabled", hide = true, env = "OTEL_SDK_DISABLED")]
    disabled: Option<String>,
    /// The service's name in traces
    #[arg(long = "otel-service-name", hide = true, env = "OTEL_SERVICE_NAME")]
    pub service_name: Option<String>,
}

impl OtlpArgs {
    /// Where spans go, if anywhere, and what was ignored on the way: a value that OpenTelemetry
    /// does not know is to be reported and not to stop the service.
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
        let endpoint =
            |given: &Option<OtlpEndpoint>| given.as_ref().and_then(|endpoint| endpoint.0.clone());
        let protocol = self
            .traces_protocol
            .or(self.protocol)
            .unwrap_or(Protocol::Grpc);
        let endpoint = endpoint(&self.traces_endpoint).or_else(|| {
            let base = endpoint(&self.endpoint)?;
            Some(if protocol == Protocol::Http {
                format!("{base}/v1/traces")
            } else {
                base
            })
        });
        let certificates = self
            .traces_certificate
            .clone()
            .or_else(|| self.certificate.clone());
        let export = endpoint.map(|endpoint| Export {
            endpoint,
            protocol,
            certificates,
        });
        (export.filter(|_| !is_disabled && !is_none), warnings)
    }
}

/// OpenTelemetry's booleans: anything but `true` is false.
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
    struct Only {
        #[command(flatten)]
        otlp: OtlpArgs,
    }

    /// The address that spans go to, and how many warnings there are.
    fn export(flags: &[&str]) -> (Option<String>, usize) {
        let base = ["test", "--otel-exporter-otlp-endpoint", "collector:4317"];
        let otlp = Only::try_parse_from(base.iter().chain(flags)).unwrap().otlp;
        let (export, warnings) = otlp.export();
        (export.map(|export| export.endpoint), warnings.len())
    }

    #[test]
    fn variables_mean_what_opentelemetry_says() {
        let (usual, none) = (Some("http://collector:4317".to_owned()), None);
        for (flags, wanted) in [
            (&[][..], (usual.clone(), 0)),
            (&["--otel-sdk-disabled", "TRUE"], (none.clone(), 0)),
            (&["--otel-sdk-disabled", "False"], (usual.clone(), 0)),
            (&["--otel-sdk-disabled", "maybe"], (usual.clone(), 1)),
            (&["--otel-sdk-disabled", "1"], (usual.clone(), 1)),
            (&["--otel-traces-exporter", "none"], (none, 0)),
            (&["--otel-traces-exporter", "otlp"], (usual.clone(), 0)),
            (&["--otel-traces-exporter", "jaeger"], (usual, 1)),
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
