//! Texts that are never shown: what configuration providers gave, and what is written under keys that
//! are named like secrets.
//!
//! A secret may come back in any error of any connector or of the system behind it, so it is looked for
//! by its value, in all that the process says: logs, states, REST errors, messages of the program.

use std::io::{self, Write};

use parking_lot::RwLock;

use crate::config::Settings;

/// What is shown instead, as in Kafka.
const HIDDEN: &str = "[hidden]";
/// Shorter texts are not looked for: they are parts of too many others.
const LENGTH_MIN: usize = 4;
/// Words that say nothing.
const WORDS: [&str; 4] = ["true", "false", "none", "null"];
/// The most secrets that are remembered.
const KNOWN_MAX: usize = 10_000;

/// What the last part of a key ends with if its value is a secret.
const KEY_ENDS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "secrets",
    "token",
    "apikey",
    "credential",
    "credentials",
];
/// What a whole key ends with.
const KEY_TAILS: [&str; 10] = [
    "user.info",
    "jaas.config",
    "private.key",
    "api.key",
    "access.key",
    "secret.key",
    "keystore.key",
    "account.key",
    "encryption.key",
    "signing.key",
];

/// The longest first, so that none is cut by a part of it.
static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Whether the value of a key is a secret, by its name.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace(['-', '_'], ".");
    let last = key.rsplit('.').next().unwrap_or_default();
    let is_tail = |tail: &str| {
        let before = key.strip_suffix(tail);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    KEY_ENDS.iter().any(|end| last.ends_with(end)) || KEY_TAILS.iter().any(|tail| is_tail(tail))
}

/// Remembers a secret.
pub(crate) fn learn(secret: &str) {
    let secret = secret.trim();
    if secret.chars().count() < LENGTH_MIN || WORDS.contains(&secret.to_ascii_lowercase().as_str())
    {
        return;
    }
    let json = serde_json::to_string(secret).unwrap_or_default();
    let variants = [
        secret.to_owned(),
        secret.escape_debug().to_string(),
        json.trim_matches('"').to_owned(),
    ];
    let mut known = KNOWN.write();
    for variant in variants {
        if !known.contains(&variant) {
            known.push(variant);
        }
    }
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    known.truncate(KNOWN_MAX);
}

/// Remembers what is written under keys that are named like secrets.
pub(crate) fn learn_from(settings: &Settings) {
    let secret = settings.iter().filter(|(key, _)| is_secret_key(key));
    // A reference is no secret, only what it stands for.
    let secret = secret.filter(|(_, entry)| !entry.text.contains("${"));
    secret.for_each(|(_, entry)| learn(&entry.text));
}

/// The text without secrets.
pub(crate) fn hide(text: impl Into<String>) -> String {
    let mut text = text.into();
    for secret in KNOWN.read().iter() {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), HIDDEN);
        }
    }
    text
}

/// Standard error without secrets, for log lines, each of which is written in one piece.
pub(crate) fn stderr() -> impl Write {
    Discreet(io::stderr())
}

struct Discreet<W>(W);

impl<W: Write> Write for Discreet<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if KNOWN.read().is_empty() {
            return self.0.write(bytes);
        }
        let text = hide(String::from_utf8_lossy(bytes));
        self.0.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_secrets_are_known_by_their_names() {
        for key in [
            "value.converter.basic.auth.user.info",
            "password",
            "database.password",
            "connection.userPassword",
            "aws_secret_access_key",
            "github.token",
            "producer.override.sasl.jaas.config",
            "ssl.keystore.key",
            "api-key",
        ] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in [
            "key.converter",
            "transforms.token.type",
            "max.tokens",
            "topic",
            "message.key",
        ] {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_stands_and_however_it_is_quoted() {
        learn("canary\"\\1\n");
        learn("canary\"\\1-and-more");
        learn("no");
        learn("TRUE");
        assert_eq!(
            hide("a canary\"\\1-and-more, canary\"\\1, canary\\\"\\\\1, no true TRUE"),
            "a [hidden], [hidden], [hidden], no true TRUE"
        );
        let mut lines = Discreet(Vec::new());
        lines.write_all(b"line with canary\"\\1\n").unwrap();
        assert_eq!(lines.0, b"line with [hidden]\n");
    }
}
