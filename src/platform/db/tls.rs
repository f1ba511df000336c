//! TLS to PostgreSQL. `sslmode` has the same meaning as in libpq.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Which server certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// `disable`, `prefer`, `require`: any certificate.
    AnyCertificate,
    /// `verify-ca`: a certificate issued by an authority in this PEM file.
    Authority(PathBuf),
    /// `verify-full`: a certificate issued by one of these authorities for the name of the host.
    AuthorityAndHostName(Roots),
}

/// The certificate authorities that are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Those of the operating system.
    System,
    /// Those of a PEM file.
    File(PathBuf),
}

impl Trust {
    /// Reads `sslmode` and `sslrootcert` as libpq does.
    ///
    /// # Errors
    /// When a value is unknown, or the two contradict each other.
    pub fn from_parameters(
        mode: Option<&str>,
        root: Option<&str>,
    ) -> Result<(SslMode, Self), String> {
        let root = root.map(|root| {
            if root == "system" {
                Roots::System
            } else {
                Roots::File(root.into())
            }
        });
        let trust = match (mode, root) {
            (None, Some(Roots::System)) => Self::AuthorityAndHostName(Roots::System),
            (Some("verify-full"), root) => {
                Self::AuthorityAndHostName(root.unwrap_or(Roots::System))
            }
            (Some("verify-ca"), Some(Roots::File(path))) => Self::Authority(path),
            (Some("verify-ca"), _) => {
                return Err(
                    "sslmode=verify-ca needs sslrootcert=FILE: the authorities of the system issue \
                     certificates for any host, so use sslmode=verify-full with them"
                        .to_owned(),
                );
            }
            (None | Some("disable" | "prefer" | "require"), None) => Self::AnyCertificate,
            (None | Some("disable" | "prefer" | "require"), Some(_)) => {
                return Err("sslrootcert needs sslmode=verify-ca or verify-full".to_owned());
            }
            (Some(_), _) => {
                return Err(
                    "sslmode takes disable, prefer, require, verify-ca or verify-full".to_owned(),
                );
            }
        };
        let mode = match (mode, &trust) {
            (Some("disable"), _) => SslMode::Disable,
            (None | Some("prefer"), Self::AnyCertificate) => SslMode::Prefer,
            _ => SslMode::Require,
        };
        Ok((mode, trust))
    }

    /// Returns a connector that accepts only these certificates.
    ///
    /// # Errors
    /// When the certificates of the authorities cannot be read.
    pub fn connector(&self) -> Result<MakeRustlsConnect, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match self {
            Self::AnyCertificate => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyHostName {
                    provider,
                    authorities: None,
                })),
            Self::Authority(path) => {
                let authorities = Some(Roots::File(path.clone()).read()?);
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(AnyHostName {
                        provider,
                        authorities,
                    }))
            }
            Self::AuthorityAndHostName(roots) => builder.with_root_certificates(roots.read()?),
        };
        Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
    }
}

impl Roots {
    fn read(&self) -> Result<RootCertStore, String> {
        let mut store = RootCertStore::empty();
        let certificates = match self {
            Self::File(path) => CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| format!("sslrootcert {}: {error}", path.display()))?,
            Self::System => rustls_native_certs::load_native_certs().certs,
        };
        store.add_parsable_certificates(certificates);
        match self {
            _ if !store.is_empty() => Ok(store),
            Self::File(path) => Err(format!(
                "sslrootcert {}: the file holds no certificate",
                path.display()
            )),
            Self::System => Err(
                "this machine has no certificate authorities; name a file with sslrootcert"
                    .to_owned(),
            ),
        }
    }
}

/// Returns a clearer message for a failed connection whose own message is hard to understand.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> Option<&'static str> {
    // A failed handshake is an I/O error, which is not in its own chain of sources.
    let inner = error
        .downcast_ref::<io::Error>()?
        .get_ref()?
        .downcast_ref::<rustls::Error>()?;
    match inner {
        rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
        {
            Some(
                "the server uses the certificate of a certificate authority (CA:TRUE) as its own; \
                 give the server a certificate that the authority has issued, and name the \
                 authority's certificate in sslrootcert",
            )
        }
        _ => None,
    }
}

/// Accepts certificates for any host name. As in libpq, `prefer` and `require` do not check the
/// certificate at all, and `verify-ca` checks only which authority has issued it.
#[derive(Debug)]
struct AnyHostName {
    provider: Arc<CryptoProvider>,
    /// `None`: the certificate is not checked.
    authorities: Option<RootCertStore>,
}

impl ServerCertVerifier for AnyHostName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(authorities) = &self.authorities {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                authorities,
                intermediates,
                now,
                algorithms,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
