//! TLS towards a worker.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

/// What secures connections: trusts the authorities of a file, or else those that the system trusts,
/// and shows a certificate of our own if there is one.
pub(super) fn connector(ca: Option<&Path>, own: Option<&Path>) -> Result<TlsConnector, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(ca)?);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let named = |what: String| format!("--cert \"{}\" {what}", path.display());
            let chain = certificates(path).map_err(named)?;
            let key = PrivateKeyDer::from_pem_file(path).map_err(|_| {
                named("has no private key that can be read (\"BEGIN PRIVATE KEY\")".to_owned())
            })?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| named(format!("cannot be used: {error}")))?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
        Some(path) => {
            let named = |what: String| format!("--cacert \"{}\" {what}", path.display());
            for certificate in certificates(path).map_err(named)? {
                roots
                    .add(certificate)
                    .map_err(|error| named(format!("cannot be used: {error}")))?;
            }
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    // The reader's own errors quote what it read, which may be a key.
    let found = found.map_err(|_| "is damaged: it is not PEM as it should be".to_owned())?;
    match found.is_empty() {
        true => Err("has no certificate (\"BEGIN CERTIFICATE\")".to_owned()),
        false => Ok(found),
    }
}

/// The name that the worker's certificate must have.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| format!("\"{host}\" is no name that a certificate can have"))
}

/// Why there is no secure connection, and what to do.
pub(super) fn explained(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    let way_out = match inner {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "name the authority that its certificate comes from with --cacert FILE"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "write the worker's name as its certificate has it",
        Some(Error::InvalidMessage(_)) => "it may speak http://",
        Some(Error::AlertReceived(_)) => {
            "it may ask for a certificate; show one with --cert FILE, PEM with its key"
        }
        _ => return error.to_string(),
    };
    format!("{error}; {way_out}")
}
