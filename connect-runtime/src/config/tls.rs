//! Keys and certificates of `https://` listeners: Kafka's `ssl.…` keys, which a prefix may replace.
//!
//! As in Kafka, one key with the prefix (`listeners.https.`, `admin.listeners.https.`) is enough, and
//! none without it counts any more. Only PEM is read; files of Java's are made into it by one command,
//! which is said.

use std::fmt;
use std::path::{Path, PathBuf};

use super::keys::{Key, TableReader, list};
use super::listeners::{HttpListener, Scheme};
use super::problem::{nearest, unknown_key};
use super::settings::Settings;

pub(super) const CLIENT_AUTH: &str = "ssl.client.auth";
pub(super) const KEYSTORE_TYPE: &str = "ssl.keystore.type";
pub(super) const KEYSTORE: &str = "ssl.keystore.location";
pub(super) const KEYSTORE_CHAIN: &str = "ssl.keystore.certificate.chain";
pub(super) const KEYSTORE_KEY: &str = "ssl.keystore.key";
pub(super) const TRUSTSTORE_TYPE: &str = "ssl.truststore.type";
pub(super) const TRUSTSTORE: &str = "ssl.truststore.location";
pub(super) const TRUSTSTORE_CERTIFICATES: &str = "ssl.truststore.certificates";
pub(super) const PROTOCOLS: &str = "ssl.enabled.protocols";
pub(super) const CIPHER_SUITES: &str = "ssl.cipher.suites";

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Where something in PEM form is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// In a file, which may change.
    File(PathBuf),
    /// In the configuration.
    Text(Hidden),
}

/// Whether clients are asked for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not.
    None,
    /// They are, and may have none.
    Requested,
    /// They are, and whoever has none is refused.
    Required,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// How `https://` listeners prove who they are, and whom they trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// What the keys start with, for messages.
    pub prefix: &'static str,
    /// The private key and its certificate chain.
    pub keys: Pem,
    /// Whether clients are asked for certificates.
    pub client_auth: ClientAuth,
    /// What those are checked against; there if they are asked for.
    pub trust: Option<Pem>,
    /// Which versions are spoken.
    pub versions: Vec<TlsVersion>,
    /// Cipher suites by their standard names; all if empty.
    pub cipher_suites: Vec<String>,
}

/// Where the keys of some listeners are looked for.
struct Keys<'s> {
    settings: &'s Settings,
    prefix: &'static str,
}

impl Keys<'_> {
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn text(&self, key: &str) -> Option<&str> {
        let text = self.settings.text(&self.full(key))?.trim();
        (!text.is_empty()).then_some(text)
    }
}

/// The TLS of listeners, if one of them is `https://`.
pub(super) fn read(
    reader: &mut TableReader<'_>,
    settings: &Settings,
    prefix: &'static str,
    listeners: &[HttpListener],
) -> Option<TlsConfig> {
    let is_prefixed = !settings.with_prefix(prefix).is_empty();
    if is_prefixed {
        check_prefixed(reader, settings, prefix);
    }
    let secure = listeners
        .iter()
        .find(|listener| listener.scheme == Scheme::Https)?;
    let keys = Keys {
        settings,
        prefix: if is_prefixed { prefix } else { "" },
    };
    match tls(&keys, secure) {
        Ok(tls) => Some(tls),
        Err(problems) => {
            let problems = problems.into_iter();
            let problems = problems.map(|(key, what)| settings.problem(&keys.full(key), what));
            reader.problems.extend(problems);
            None
        }
    }
}

/// Under the prefix are the same keys as without it.
fn check_prefixed(reader: &mut TableReader<'_>, settings: &Settings, prefix: &'static str) {
    let known = || {
        let known = super::rest::KEYS.iter();
        known.filter(|key| key.name.starts_with("ssl."))
    };
    let mut problems = Vec::new();
    for key in settings.with_prefix(prefix).keys() {
        let full = format!("{prefix}{key}");
        match known().find(|known| known.name == key.as_str()) {
            Some(Key {
                effect: super::keys::Effect::None(why),
                ..
            }) => {
                let message = format!("has no effect here; {why}");
                problems.push(settings.key_warning(&full, message).into_note());
            }
            Some(_) => {}
            None => {
                let message = unknown_key(key, known().map(|key| key.name));
                problems.push(settings.key_warning(&full, message));
            }
        }
    }
    reader.problems.append(&mut problems);
}

type Mistakes = Vec<(&'static str, String)>;

fn tls(keys: &Keys<'_>, listener: &HttpListener) -> Result<TlsConfig, Mistakes> {
    let mut mistakes = Vec::new();
    check_form(keys, KEYSTORE_TYPE, KEYSTORE, &mut mistakes);
    check_form(keys, TRUSTSTORE_TYPE, TRUSTSTORE, &mut mistakes);
    let own = pem_of_keys(keys, listener).map_err(|mistake| mistakes.push(mistake));
    let trust = match (keys.text(TRUSTSTORE), keys.text(TRUSTSTORE_CERTIFICATES)) {
        (Some(_), Some(_)) => {
            mistakes.push((TRUSTSTORE_CERTIFICATES, both(TRUSTSTORE)));
            None
        }
        (Some(path), None) => Some(Pem::File(path.into())),
        (None, Some(text)) => Some(Pem::Text(Hidden(lines(text)))),
        (None, None) => None,
    };
    let client_auth = client_auth(keys, &mut mistakes);
    if client_auth != ClientAuth::None && trust.is_none() {
        let full = keys.full(TRUSTSTORE);
        let message = format!(
            "asks clients for certificates, but nothing says which are good; set {full} to a PEM file \
             with certificates of the authorities that they come from"
        );
        mistakes.push((CLIENT_AUTH, message));
    }
    let config = TlsConfig {
        prefix: keys.prefix,
        keys: match own {
            Ok(own) => own,
            Err(()) => return Err(mistakes),
        },
        client_auth,
        trust: trust.filter(|_| client_auth != ClientAuth::None),
        versions: versions(keys, &mut mistakes),
        cipher_suites: keys.text(CIPHER_SUITES).map(list).unwrap_or_default(),
    };
    match mistakes.is_empty() {
        true => Ok(config),
        false => Err(mistakes),
    }
}

fn both(other: &str) -> String {
    format!("is the same as {other}; set only one of them")
}

fn pem_of_keys(keys: &Keys<'_>, listener: &HttpListener) -> Result<Pem, (&'static str, String)> {
    let chain = keys.text(KEYSTORE_CHAIN);
    let key = keys.text(KEYSTORE_KEY);
    match (keys.text(KEYSTORE), chain, key) {
        (Some(path), None, None) => Ok(Pem::File(path.into())),
        (None, Some(chain), Some(key)) => Ok(Pem::Text(Hidden(lines(chain) + &lines(key)))),
        (Some(_), _, _) => Err((KEYSTORE, both("ssl.keystore.certificate.chain"))),
        (None, Some(_), None) => Err((
            KEYSTORE_KEY,
            "expected the private key in PEM form, got nothing".to_owned(),
        )),
        (None, None, Some(_)) => Err((
            KEYSTORE_CHAIN,
            "expected the certificate chain in PEM form, got nothing".to_owned(),
        )),
        (None, None, None) => Err((
            KEYSTORE,
            format!(
                "expected a PEM file with the private key and the certificate chain of {listener}, got \
                 nothing"
            ),
        )),
    }
}

/// PEM as it is in files: in a value, all of it may be one line with blanks, which Kafka reads.
fn lines(text: &str) -> String {
    const DASHES: &str = "-----";
    let mut whole = String::with_capacity(text.len() + DASHES.len());
    let mut add = |line: &str| {
        whole.push_str(line);
        whole.push('\n');
    };
    let mut rest = text;
    while let Some((body, behind)) = rest.split_once(DASHES) {
        body.split_whitespace().for_each(&mut add);
        let Some((label, after)) = behind.split_once(DASHES) else {
            rest = behind;
            break;
        };
        add(&format!("{DASHES}{label}{DASHES}"));
        rest = after;
    }
    rest.split_whitespace().for_each(&mut add);
    whole
}

/// Java's own forms are refused with the way to the one that is read.
fn check_form(
    keys: &Keys<'_>,
    kind_key: &'static str,
    path_key: &'static str,
    mistakes: &mut Mistakes,
) {
    let path = keys.text(path_key);
    let extension = path.and_then(|path| Path::new(path).extension()?.to_str());
    let kind = keys.text(kind_key).map(str::to_ascii_uppercase);
    let (key, kind) = match (kind.as_deref(), extension) {
        (Some("PEM"), _) => return,
        (Some(kind), _) => (kind_key, kind.to_owned()),
        (None, Some(extension)) => match extension.to_ascii_lowercase().as_str() {
            "jks" => (path_key, "JKS".to_owned()),
            "p12" | "pfx" | "pkcs12" => (path_key, "PKCS12".to_owned()),
            _ => return,
        },
        (None, None) => return,
    };
    mistakes.push((key, conversion(&kind, path.unwrap_or("keystore.p12"))));
}

/// How a file of another form becomes one that is read.
pub(crate) fn conversion(kind: &str, path: &str) -> String {
    let to_pem = |path: &str| format!("openssl pkcs12 -nodes -in {path} -out keystore.pem");
    match kind {
        "PKCS12" => format!(
            "expected PEM, got PKCS12; convert it with: {}",
            to_pem(path)
        ),
        "JKS" => format!(
            "expected PEM, got JKS; convert it with: keytool -importkeystore -srckeystore {path} \
             -destkeystore keystore.p12 -deststoretype PKCS12, then {}",
            to_pem("keystore.p12")
        ),
        other => format!("expected PEM, got \"{other}\""),
    }
}

fn client_auth(keys: &Keys<'_>, mistakes: &mut Mistakes) -> ClientAuth {
    let text = keys.text(CLIENT_AUTH).unwrap_or("none");
    match text.to_ascii_lowercase().as_str() {
        "none" => ClientAuth::None,
        "requested" => ClientAuth::Requested,
        "required" => ClientAuth::Required,
        other => {
            // Without a prefix the table of keys has said so already.
            if !keys.prefix.is_empty() {
                let words = ["none", "requested", "required"];
                let near = nearest(other, words.into_iter());
                let hint = near.map(|near| format!("; did you mean \"{near}\"?"));
                let hint = hint.unwrap_or_default();
                let message = format!("expected one of {}, got \"{text}\"{hint}", words.join(", "));
                mistakes.push((CLIENT_AUTH, message));
            }
            ClientAuth::Required
        }
    }
}

fn versions(keys: &Keys<'_>, mistakes: &mut Mistakes) -> Vec<TlsVersion> {
    let Some(text) = keys.text(PROTOCOLS) else {
        return vec![TlsVersion::Tls12, TlsVersion::Tls13];
    };
    let mut versions = Vec::new();
    for name in list(text) {
        match name.to_ascii_uppercase().as_str() {
            "TLSV1.2" => versions.push(TlsVersion::Tls12),
            "TLSV1.3" => versions.push(TlsVersion::Tls13),
            _ => {
                let message = format!("expected TLSv1.2, TLSv1.3 or both, got \"{name}\"");
                mistakes.push((PROTOCOLS, message));
            }
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_may_be_one_line() {
        let file = "-----BEGIN A B-----\nMIIB\nAA==\n-----END A B-----\n-----BEGIN C-----\nMQ==\n-----END C-----\n";
        assert_eq!(lines(file), file);
        assert_eq!(lines(&file.replace('\n', "  ")), file);
        assert_eq!(lines("no ----- pem"), "no\npem\n");
    }
}
