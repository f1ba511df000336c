//! Where spans are sent, and the exporter that sends them.

use std::path::Path;
use std::sync::Arc;

use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::client::ExportClient;

/// The transport of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    /// Protocol Buffers over HTTP/1.1.
    Http,
}

/// Certificates in PEM format, of which there is at least one.
#[derive(Debug, Clone)]
pub struct Certificates(Vec<u8>);

impl Certificates {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// When the file cannot be read or contains no certificate.
    pub fn read(path: &Path) -> Result<Self, String> {
        let pem = std::fs::read(path).map_err(|error| error.to_string())?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match certificates {
            Ok(certificates) if certificates.is_empty() => {
                Err("it contains no certificate".to_owned())
            }
            Ok(_) => Ok(Self(pem)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Where spans are sent.
#[derive(Debug, Clone)]
pub struct Export {
    /// The URL of the collector, with a path if the protocol is HTTP.
    pub endpoint: String,
    pub protocol: Protocol,
    /// The certificate authorities that are trusted for `https`. `None`: those of the system.
    pub certificates: Option<Certificates>,
}

impl Export {
    /// Builds the exporter.
    ///
    /// # Errors
    /// When the certificates or the endpoint cannot be used.
    pub fn exporter(&self) -> Result<SpanExporter, String> {
        match self.protocol {
            Protocol::Grpc => self.grpc_exporter(),
            Protocol::Http => self.http_exporter(),
        }
    }

    fn grpc_exporter(&self) -> Result<SpanExporter, String> {
        let mut builder = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint);
        if self.endpoint.starts_with("https://") {
            builder = builder.with_tls_config(self.tonic_tls());
        }
        builder.build().map_err(|error| error.to_string())
    }

    fn http_exporter(&self) -> Result<SpanExporter, String> {
        let builder = SpanExporter::builder()
            .with_http()
            .with_endpoint(&self.endpoint);
        let builder = builder
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_http_client(ExportClient::new(self.http_tls()?));
        builder.build().map_err(|error| error.to_string())
    }

    fn http_tls(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        // Reading the certificates of the system takes time, and only https needs them.
        if self.endpoint.starts_with("https://") {
            roots.add_parsable_certificates(match &self.certificates {
                Some(Certificates(pem)) => CertificateDer::pem_slice_iter(pem).flatten().collect(),
                None => rustls_native_certs::load_native_certs().certs,
            });
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }

    fn tonic_tls(&self) -> ClientTlsConfig {
        match &self.certificates {
            Some(Certificates(pem)) => {
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        }
    }
}
