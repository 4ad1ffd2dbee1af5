//! Passwords of users of the REST interface, none of which is kept as it is.
//!
//! What is stored is a hash that is slow to compute (PBKDF2 with HMAC-SHA-256), so that a configuration
//! that falls into wrong hands does not give away the password:
//! `pbkdf2-sha256$ROUNDS$SALT$HASH`, the last two in Base64. What came in the clear from a
//! configuration provider is in memory only as a [`Seal`]. Neither is ever shown, and comparing takes
//! as long for one wrong password as for another.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::{hmac, pbkdf2};

const NAME: &str = "pbkdf2-sha256";
const ALGORITHM: pbkdf2::Algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
/// What OWASP recommends for this function.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(600_000 - 1);
/// Fewer protect nothing.
const ROUNDS_MIN: u32 = 1_000;
/// With more every sign-in would take seconds.
const ROUNDS_MAX: u32 = 10_000_000;
/// The longest password.
const PASSWORD_BYTES_MAX: usize = 1024;

/// What proves that somebody knows a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// Slow to check, and safe to store.
    Hash(PasswordHash),
    /// Quick to check, and of no use in another process.
    Seal(Seal),
}

impl Password {
    /// Reads a hash; `None` if the text does not even look like one.
    pub(crate) fn parse_hash(text: &str) -> Option<Result<Self, String>> {
        let rest = text.strip_prefix(NAME)?.strip_prefix('$')?;
        let hash = PasswordHash::parse(rest);
        Some(hash.map(Self::Hash).ok_or_else(|| {
            format!(
                "expected {NAME}$ROUNDS$SALT$HASH with {ROUNDS_MIN} to {ROUNDS_MAX} rounds, as \
                 'connect hash-password' makes it; this one is damaged"
            )
        }))
    }

    /// Of a password in the clear.
    pub(crate) fn of(password: &str) -> Self {
        Self::Seal(Seal::of(password))
    }
}

/// A hash of a password that is safe to store.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    rounds: NonZeroU32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl PasswordHash {
    /// Hashes a password with fresh salt. Takes a good part of a second.
    ///
    /// # Errors
    /// It is empty, or too long to be one.
    pub fn of(password: &str) -> Result<Self, String> {
        if password.is_empty() {
            return Err("the password is empty".to_owned());
        }
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(format!(
                "the password has {} bytes, and {PASSWORD_BYTES_MAX} is the limit",
                password.len()
            ));
        }
        Ok(Self::with(password, ROUNDS))
    }

    fn with(password: &str, rounds: NonZeroU32) -> Self {
        let mut salt = vec![0; SALT_BYTES];
        platform::random::fill(&mut salt);
        let mut hash = vec![0; HASH_BYTES];
        pbkdf2::derive(ALGORITHM, rounds, &salt, password.as_bytes(), &mut hash);
        Self { rounds, salt, hash }
    }

    /// A hash that no password has, but that takes as long to find that out as this one.
    pub(crate) fn of_nobody(&self) -> Self {
        let mut hash = vec![0; HASH_BYTES];
        platform::random::fill(&mut hash);
        Self {
            hash,
            ..self.clone()
        }
    }

    fn parse(rest: &str) -> Option<Self> {
        let mut parts = rest.split('$');
        let rounds = parts.next()?.parse().ok();
        let rounds = rounds.filter(|rounds| (ROUNDS_MIN..=ROUNDS_MAX).contains(rounds))?;
        let (salt, hash) = (parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let decoded = |text: &str| BASE64.decode(text.trim_end_matches('=')).ok();
        let (salt, hash) = (decoded(salt)?, decoded(hash)?);
        let whole = hash.len() == HASH_BYTES && (8..=64).contains(&salt.len());
        whole.then_some(Self {
            rounds: NonZeroU32::new(rounds)?,
            salt,
            hash,
        })
    }

    /// Whether it is that of this password. Blocks for a good part of a second.
    #[must_use]
    pub fn is_of(&self, password: &str) -> bool {
        let bytes = password.as_bytes();
        pbkdf2::verify(ALGORITHM, self.rounds, &self.salt, bytes, &self.hash).is_ok()
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, hash) = (BASE64.encode(&self.salt), BASE64.encode(&self.hash));
        write!(f, "{NAME}${}${salt}${hash}", self.rounds)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([hidden])")
    }
}

/// What this process remembers of a password: an authentication code under a key that is drawn at its
/// start and is nowhere else.
#[derive(Clone)]
pub struct Seal(hmac::Tag);

impl Seal {
    pub(crate) fn of(password: &str) -> Self {
        Self(hmac::sign(key(), password.as_bytes()))
    }

    /// Whether it is that of this password.
    pub(crate) fn is_of(&self, password: &str) -> bool {
        hmac::verify(key(), password.as_bytes(), self.0.as_ref()).is_ok()
    }
}

fn key() -> &'static hmac::Key {
    static KEY: OnceLock<hmac::Key> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut bytes = [0; 32];
        platform::random::fill(&mut bytes);
        hmac::Key::new(hmac::HMAC_SHA256, &bytes)
    })
}

impl PartialEq for Seal {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

impl Eq for Seal {}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal([hidden])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick(password: &str) -> PasswordHash {
        PasswordHash::with(password, NonZeroU32::new(ROUNDS_MIN).unwrap())
    }

    #[test]
    fn a_hash_is_read_as_it_was_written_and_knows_its_password() {
        let hash = quick("open sesame");
        let text = hash.to_string();
        let Some(Ok(Password::Hash(read))) = Password::parse_hash(&text) else {
            panic!("{text}");
        };
        assert_eq!(read, hash);
        assert!(read.is_of("open sesame"));
        assert!(!read.is_of("open sesame "));
        assert!(!read.is_of(""));
        assert!(!read.of_nobody().is_of("open sesame"));
        assert_ne!(quick("open sesame"), hash, "salt is fresh");
        let shown = format!("{read:?} {:?}", Password::of("open sesame"));
        assert!(!shown.contains("sesame") && !shown.contains('$'), "{shown}");
    }

    #[test]
    fn others_make_the_same_hash() {
        // python3 -c 'import hashlib; hashlib.pbkdf2_hmac("sha256", b"secret", b"0123456789abcdef", 1000)'
        let text = "pbkdf2-sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg==$tiKWHy4FAGCWE8gn6GtKhaxD2OeeAUUWXFT/p1aaNl8";
        let Some(Ok(Password::Hash(hash))) = Password::parse_hash(text) else {
            panic!("{text}");
        };
        assert!(hash.is_of("secret"));
    }

    #[test]
    fn what_is_no_hash_is_told_from_a_damaged_one() {
        assert!(Password::parse_hash("secret").is_none());
        let good = quick("a").to_string();
        for damaged in [
            "pbkdf2-sha256$",
            "pbkdf2-sha256$1$AAAAAAAAAAAAAAAA$AAAA",
            &good.replace("$1000$", "$999$"),
            &good.replace("$1000$", "$99999999999$"),
            good.get(..good.len() - 2).unwrap(),
            &format!("{good}$"),
        ] {
            assert!(Password::parse_hash(damaged).unwrap().is_err(), "{damaged}");
        }
    }

    #[test]
    fn a_seal_knows_its_password() {
        let seal = Seal::of("secret");
        assert!(seal.is_of("secret") && !seal.is_of("Secret"));
        assert_eq!(seal, Seal::of("secret"));
    }
}
