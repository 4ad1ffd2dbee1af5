//! TLS of `https://` listeners: their keys and certificates, read from PEM files and read again when
//! those change.
//!
//! What is new counts from the next connection on. Files that cannot be used, such as a new certificate
//! whose key has not come yet, change nothing: what was there before goes on, and that is said once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedCipherSuite};

use crate::config::{self, ClientAuth, Pem, TlsConfig, TlsVersion};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The largest of them, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The TLS of some listeners.
pub(super) struct Tls {
    config: TlsConfig,
    current: RwLock<Current>,
}

struct Current {
    material: Material,
    server: Arc<ServerConfig>,
}

/// What the files have.
#[derive(PartialEq, Eq)]
struct Material {
    keys: Vec<u8>,
    trust: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them, for the user.
    pub(super) async fn load(config: TlsConfig) -> Result<Self, String> {
        let material = read(&config).await?;
        let server = Arc::new(build(&config, &material)?);
        let current = RwLock::new(Current { material, server });
        Ok(Self { config, current })
    }

    /// What secures the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().server))
    }

    /// Takes over what changes in the files; never ends.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut refused: Option<String> = None;
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            match self.look().await {
                Ok(changed) => {
                    if changed {
                        tracing::info!("the REST interface has new keys and certificates for TLS");
                    }
                    refused = None;
                }
                Err(why) if refused.as_ref() == Some(&why) => {}
                Err(why) => {
                    tracing::warn!(
                        "the REST interface goes on with the keys and certificates that it has, because \
                         the new ones cannot be used: {why}"
                    );
                    refused = Some(why);
                }
            }
        }
    }

    /// Whether something has changed, which counts from now on.
    async fn look(&self) -> Result<bool, String> {
        let material = read(&self.config).await?;
        if self.current.read().material == material {
            return Ok(false);
        }
        let server = Arc::new(build(&self.config, &material)?);
        *self.current.write() = Current { material, server };
        Ok(true)
    }
}

async fn read(config: &TlsConfig) -> Result<Material, String> {
    let prefix = config.prefix;
    let (keys, trust) = (config.keys.clone(), config.trust.clone());
    platform::blocking::run(move || {
        Ok(Material {
            keys: bytes(&keys, prefix, "ssl.keystore.location")?,
            trust: match &trust {
                Some(trust) => Some(bytes(trust, prefix, "ssl.truststore.location")?),
                None => None,
            },
        })
    })
    .await
}

/// Blocks.
fn bytes(pem: &Pem, prefix: &str, key: &str) -> Result<Vec<u8>, String> {
    let path = match pem {
        Pem::Text(text) => return Ok(text.text().as_bytes().to_vec()),
        Pem::File(path) => path,
    };
    let named = |what: String| format!("{prefix}{key} names \"{}\", which {what}", path.display());
    let read = |path: &Path| {
        let length = platform::fs::metadata(path)?.len();
        match length > FILE_BYTES_MAX {
            true => Err(std::io::Error::other(format!(
                "it has {length} bytes, and {FILE_BYTES_MAX} is the limit"
            ))),
            false => platform::fs::read(path),
        }
    };
    let bytes = read(path).map_err(|error| named(format!("cannot be read: {error}")))?;
    match form(&bytes) {
        None => Ok(bytes),
        Some(kind) => {
            let way_out = config::conversion(kind, &path.display().to_string());
            Err(named(format!("cannot be used: {way_out}")))
        }
    }
}

/// The form of a file that is not PEM, by its first bytes.
fn form(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xFE, 0xED, 0xFE, 0xED, ..] => Some("JKS"),
        // A sequence in DER.
        [0x30, 0x80..=0x84, ..] => Some("PKCS12"),
        _ => None,
    }
}

fn build(config: &TlsConfig, material: &Material) -> Result<ServerConfig, String> {
    let prefix = config.prefix;
    let own = |what: String| match &config.keys {
        Pem::File(path) => format!(
            "{prefix}ssl.keystore.location names \"{}\", which {what}",
            path.display()
        ),
        Pem::Text(_) => format!("{prefix}ssl.keystore.key with its certificate chain {what}"),
    };
    let provider = Arc::new(provider(config)?);
    let versions: Vec<_> = config
        .versions
        .iter()
        .map(|version| match version {
            TlsVersion::Tls12 => &TLS12,
            TlsVersion::Tls13 => &TLS13,
        })
        .collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| {
            format!(
                "{prefix}ssl.enabled.protocols and {prefix}ssl.cipher.suites leave nothing to speak: \
                 {error}"
            )
        })?;
    let builder = match &material.trust {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots(prefix, pem)?, provider);
            let verifier = match config.client_auth {
                ClientAuth::Required => verifier,
                ClientAuth::Requested | ClientAuth::None => verifier.allow_unauthenticated(),
            };
            let verifier = verifier
                .build()
                .map_err(|error| trust(prefix, &error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain =
        certificates(&material.keys).map_err(|error| own(format!("is damaged: {error}")))?;
    if chain.is_empty() {
        return Err(own("has no certificate (\"BEGIN CERTIFICATE\")".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&material.keys).map_err(|_| {
        let text = String::from_utf8_lossy(&material.keys);
        own(match text.contains("ENCRYPTED") {
            true => {
                "has an encrypted private key, which cannot be read; decrypt it with: openssl pkey \
                     -in OLD -out NEW, and let nobody but the worker read it"
                    .to_owned()
            }
            false => "has no private key (\"BEGIN PRIVATE KEY\")".to_owned(),
        })
    })?;
    let mut server = builder
        .with_single_cert(chain, key)
        .map_err(|error| own(format!("cannot be used: {error}")))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(server)
}

fn trust(prefix: &str, what: &str) -> String {
    format!("the certificates of {prefix}ssl.truststore.… cannot be used: {what}")
}

fn roots(prefix: &str, bytes: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(bytes).map_err(|error| trust(prefix, &error))? {
        roots
            .add(certificate)
            .map_err(|error| trust(prefix, &error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(trust(prefix, "there is none (\"BEGIN CERTIFICATE\")")),
        false => Ok(Arc::new(roots)),
    }
}

fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    // The reader's own errors quote what it read, which may be a key.
    found.map_err(|error| {
        let what = match error {
            pem::Error::MissingSectionEnd { .. } => "a section has no line that ends it",
            pem::Error::IllegalSectionStart { .. } => "a line that begins a section is not one",
            pem::Error::Base64Decode(_) => "a section is not Base64",
            _ => "it cannot be read",
        };
        what.to_owned()
    })
}

/// The cryptography, with no more cipher suites than wanted.
fn provider(config: &TlsConfig) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if config.cipher_suites.is_empty() {
        return Ok(provider);
    }
    let all = std::mem::take(&mut provider.cipher_suites);
    for name in &config.cipher_suites {
        let found = all.iter().find(|suite| standard_name(suite) == *name);
        match found {
            Some(suite) => provider.cipher_suites.push(*suite),
            None => {
                let known: Vec<String> = all.iter().map(standard_name).collect();
                return Err(format!(
                    "{}ssl.cipher.suites has \"{name}\"; there are {}",
                    config.prefix,
                    known.join(", ")
                ));
            }
        }
    }
    Ok(provider)
}

/// rustls puts the version into the names of those of TLS 1.3.
fn standard_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}
