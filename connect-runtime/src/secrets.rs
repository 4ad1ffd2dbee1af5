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
/// Shorter texts are looked for as whole words only: within others they are chance, not the secret.
const LENGTH_WITHIN: usize = 8;
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

/// What a password stands behind in the text of a JAAS configuration.
const JAAS: &str = "password=";

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

/// Remembers what a configuration provider gave for a key. What is plainly no secret, a port or a topic's short
/// name under a key that is not named like one, is not: to hide it everywhere would hide what messages say.
/// (A key that is declared as a secret is [learned](learn) by whoever knows that.)
pub(crate) fn learn_provided(key: &str, value: &str) {
    if is_secret_key(key) || !is_plain(value.trim()) {
        learn(value);
        learn_parts(value);
    }
}

/// A number, an address in numbers, or one short word.
fn is_plain(value: &str) -> bool {
    let all = |is_so: fn(&char) -> bool| value.chars().all(|symbol| is_so(&symbol));
    let is_number = all(|symbol| symbol.is_ascii_digit() || ".:-".contains(*symbol));
    let is_word = all(char::is_ascii_lowercase) || all(char::is_ascii_uppercase);
    value.len() < LENGTH_WITHIN && (is_number || is_word)
}

/// Remembers what is written under keys that are named like secrets, and passwords within other texts.
pub(crate) fn learn_from(settings: &Settings) {
    // A reference is no secret, only what it stands for.
    let written = settings
        .iter()
        .filter(|(_, entry)| !entry.text.contains("${"));
    for (key, entry) in written {
        if is_secret_key(key) {
            learn(&entry.text);
        }
        learn_parts(&entry.text);
    }
}

/// Passwords within a text: of a JAAS configuration, and of `scheme://user:password@host`. Whoever refuses
/// them may quote them alone.
fn learn_parts(text: &str) {
    for (_, behind) in text.match_indices(JAAS).map(|(at, _)| text.split_at(at)) {
        let behind = behind.get(JAAS.len()..).unwrap_or_default();
        let password = match behind.strip_prefix(['"', '\'']) {
            Some(quoted) => quoted.split(['"', '\'']).next(),
            None => behind.split([' ', ';']).next(),
        };
        learn(password.unwrap_or_default());
    }
    for (_, behind) in text.match_indices("://").map(|(at, _)| text.split_at(at)) {
        let authority = behind.get(3..).unwrap_or_default();
        let authority = authority.split(['/', ' ', '?', '#']).next();
        let user = authority.and_then(|authority| authority.rsplit_once('@'));
        if let Some((_, password)) = user.and_then(|(user, _)| user.split_once(':')) {
            learn(password);
        }
    }
}

/// The length of the longest secret, in bytes.
pub(crate) fn longest() -> usize {
    KNOWN.read().first().map_or(0, String::len)
}

/// The text without secrets.
pub(crate) fn hide(text: impl Into<String>) -> String {
    let mut text = text.into();
    for secret in KNOWN.read().iter() {
        if text.contains(secret.as_str()) {
            text = without(&text, secret);
        }
    }
    text
}

/// The text with `[hidden]` in place of a secret.
fn without(text: &str, secret: &str) -> String {
    if secret.chars().count() >= LENGTH_WITHIN {
        return text.replace(secret, HIDDEN);
    }
    let is_in_word = |symbol: Option<char>| symbol.is_some_and(|symbol| symbol.is_alphanumeric());
    let mut shown = String::with_capacity(text.len());
    let mut done = 0;
    for (at, found) in text.match_indices(secret) {
        let (before, rest) = text.split_at(at);
        let behind = rest.get(found.len()..).unwrap_or_default();
        if is_in_word(before.chars().next_back()) || is_in_word(behind.chars().next()) {
            continue;
        }
        shown.push_str(text.get(done..at).unwrap_or_default());
        shown.push_str(HIDDEN);
        done = at + found.len();
    }
    shown.push_str(text.get(done..).unwrap_or_default());
    shown
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
    fn a_short_secret_is_hidden_as_a_word_and_not_within_others() {
        learn("tea7");
        assert_eq!(
            hide("tea7, \"tea7\" and steatea7x tea77 u:tea7@h tea7"),
            "[hidden], \"[hidden]\" and steatea7x tea77 u:[hidden]@h [hidden]"
        );
    }

    #[test]
    fn what_a_provider_gives_for_no_secret_and_is_plainly_none_is_shown() {
        for (key, value) in [
            ("port", "19092"),
            ("topic", "quinces"),
            ("bootstrap.servers", "10.0.0"),
            ("ssl.enabled", "true"),
        ] {
            learn_provided(key, value);
            assert_eq!(hide(format!("at {value}!")), format!("at {value}!"));
        }
        for (key, value) in [
            ("database.password", "mangos"),
            ("pin.password", "48151"),
            ("login", "m4ngo5"),
            ("login", "a-longer-one"),
        ] {
            learn_provided(key, value);
            assert_eq!(hide(format!("at {value}!")), "at [hidden]!");
        }
    }

    #[test]
    fn passwords_within_other_texts_are_known() {
        let settings = |key: &str, text: &str| {
            let map = [(key.to_owned(), text.to_owned())];
            Settings::from_map("test", &map.into())
        };
        learn_from(&settings(
            "sasl.jaas.config",
            "PlainLoginModule required username=\"u\" password=\"canary-jaas-1\";",
        ));
        learn_from(&settings(
            "connection.url",
            "postgres://u:canary-url-2@db.example:5432/x",
        ));
        assert_eq!(
            hide("no canary-jaas-1, no canary-url-2; but db.example:5432"),
            "no [hidden], no [hidden]; but db.example:5432"
        );
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
