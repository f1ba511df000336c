//! TLS to PostgreSQL, with libpq's meaning of `sslmode`.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Whom we believe to be the database.
#[derive(Clone)]
pub enum Trust {
    /// `disable`, `prefer`: whoever answers, encrypted if it can be.
    Anyone,
    /// `require`: encrypted, certificate not checked.
    Encrypted,
    /// `verify-full`: encrypted, and the certificate must match the host's name.
    Verified { root_certificates: Option<PathBuf> },
}

impl Trust {
    /// Takes from a URL what tokio-postgres does not know: `sslmode=verify-full` and `sslrootcert`.
    ///
    /// # Errors
    /// When `sslmode` is none of the four.
    pub fn split_off(url: &str) -> Result<(String, Self), String> {
        let Some((head, query)) = url.split_once('?') else {
            return Ok((url.to_owned(), Self::Anyone));
        };
        let (mut trust, mut root, mut kept) = (Self::Anyone, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", "verify-full")) => trust = Self::Verified { root_certificates: None },
                Some(("sslmode", "require")) => trust = Self::Encrypted,
                Some(("sslmode", "disable" | "prefer")) => kept.push(pair),
                Some(("sslmode", other)) => {
                    return Err(format!(
                        "sslmode '{other}' is none of disable, prefer, require, verify-full"
                    ));
                }
                Some(("sslrootcert", path)) => root = Some(PathBuf::from(path)),
                _ => kept.push(pair),
            }
        }
        match (&mut trust, root) {
            (Self::Verified { root_certificates }, root) => *root_certificates = root,
            (_, Some(_)) => return Err("sslrootcert is of use with sslmode=verify-full alone".into()),
            (_, None) => {}
        }
        let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
        Ok((format!("{head}{query}"), trust))
    }

    #[must_use]
    pub fn is_required(&self) -> bool {
        !matches!(self, Self::Anyone)
    }

    /// # Errors
    /// When the root certificates cannot be read.
    pub fn connector(&self) -> Result<MakeRustlsConnect, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match self {
            Self::Anyone | Self::Encrypted => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(NotChecked(provider)))
            }
            Self::Verified { root_certificates } => {
                builder.with_root_certificates(roots(root_certificates.as_ref())?)
            }
        };
        Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
    }
}

fn roots(file: Option<&PathBuf>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let certificates = match file {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("sslrootcert {}: {error}", path.display()))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    store.add_parsable_certificates(certificates);
    if store.is_empty() {
        return Err("sslmode=verify-full finds no root certificates; name a file with sslrootcert".into());
    }
    Ok(store)
}

/// `prefer` and `require` encrypt without asking who is there, as libpq does; `verify-full` asks.
#[derive(Debug)]
struct NotChecked(Arc<CryptoProvider>);

impl ServerCertVerifier for NotChecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
