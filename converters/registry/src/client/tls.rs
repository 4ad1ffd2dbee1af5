//! TLS to a registry.

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Whom a client believes, and who it says it is.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Believes the certificates in `trusted` (PEM), or those that the machine believes, and shows the
    /// certificate and key in `own`, if there is one.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub(crate) fn new(trusted: Option<&[u8]>, own: Option<&[u8]>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match trusted {
            Some(pem) => {
                for certificate in certificates(pem)? {
                    roots.add(certificate).map_err(|error| error.to_string())?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                // Machines have some that nobody can read; those that count say so when they are missed.
                roots.add_parsable_certificates(found.certs);
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let key = PrivateKeyDer::from_pem_reader(Cursor::new(pem))
                    .map_err(|error| format!("its private key cannot be read: {error}"))?;
                builder
                    .with_client_auth_cert(certificates(pem)?, key)
                    .map_err(|error| error.to_string())?
            }
        };
        Ok(Tls(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| "the host is no name that a certificate could have".to_owned())?;
        self.0
            .connect(name, stream)
            .await
            .map_err(|error| format!("no TLS: {error}"))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(Cursor::new(pem)).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err("it has no certificate in PEM format".to_owned())
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("its certificates cannot be read: {error}")),
    }
}
