//! Sends spans by OTLP, over gRPC or HTTP, with or without TLS.

mod client;

use std::path::Path;
use std::sync::Arc;

use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use client::ExportClient;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    /// Protocol Buffers over HTTP/1.1.
    Http,
}

/// Certificates in PEM form, checked.
#[derive(Debug, Clone)]
pub struct Certificates(Vec<u8>);

impl Certificates {
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn read(path: &Path) -> Result<Self, String> {
        let pem = std::fs::read(path).map_err(|error| error.to_string())?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match certificates {
            Ok(certificates) if certificates.is_empty() => {
                Err("it holds no certificate".to_owned())
            }
            Ok(_) => Ok(Self(pem)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Where spans are sent.
#[derive(Debug, Clone)]
pub struct Export {
    /// Has a scheme, and a path if the protocol is HTTP.
    pub endpoint: String,
    pub protocol: Protocol,
    /// The certificates that an https endpoint is checked with. When absent, those of the system.
    pub certificates: Option<Certificates>,
}

impl Export {
    /// # Errors
    /// When the exporter cannot be set up.
    pub fn exporter(&self) -> Result<SpanExporter, String> {
        match self.protocol {
            Protocol::Grpc => self.grpc(),
            Protocol::Http => self.http(),
        }
    }

    fn grpc(&self) -> Result<SpanExporter, String> {
        let mut builder = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint);
        if self.endpoint.starts_with("https://") {
            builder = builder.with_tls_config(self.tls_of_tonic());
        }
        builder.build().map_err(|error| error.to_string())
    }

    fn http(&self) -> Result<SpanExporter, String> {
        let builder = SpanExporter::builder()
            .with_http()
            .with_endpoint(&self.endpoint);
        let builder = builder
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_http_client(ExportClient::new(self.tls()?));
        builder.build().map_err(|error| error.to_string())
    }

    fn tls(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        // Without https, the certificates of the system need not be read.
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

    fn tls_of_tonic(&self) -> ClientTlsConfig {
        match &self.certificates {
            Some(Certificates(pem)) => {
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        }
    }
}
