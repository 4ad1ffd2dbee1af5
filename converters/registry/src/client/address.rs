//! One of a registry's addresses.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connect_core::config::Password;
use hyper::Uri;

/// Where a registry listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Before all paths, without a slash at its end.
    pub(crate) path: String,
    /// From a user and password in the address itself.
    pub(crate) authorization: Option<Password>,
}

impl Address {
    /// Reads `http://user:password@host:port/path`.
    ///
    /// # Errors
    /// What is wrong with it; never the credentials.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.trim().parse().map_err(|_| "is not a URL")?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("does not begin with http:// or https://"),
        };
        let authority = uri.authority().ok_or("names no host")?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err("names no host");
        }
        if uri.query().is_some() {
            return Err("has a query, which no registry's address has");
        }
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let authorization = user.map(|user| {
            let user = decoded(user).ok_or("has credentials that are not UTF-8")?;
            Ok::<_, &'static str>(basic(&user))
        });
        Ok(Address {
            secure,
            host,
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            path: uri.path().trim_end_matches('/').to_owned(),
            authorization: authorization.transpose()?,
        })
    }

    /// For the header `Host`.
    pub(crate) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Without credentials.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// The header's value for `user:password`.
pub(crate) fn basic(user_info: &str) -> Password {
    Password::new(format!("Basic {}", STANDARD.encode(user_info)))
}

/// Undoes `%40` and the like.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digits = [*high, *low];
                let byte = std::str::from_utf8(&digits).ok();
                byte.and_then(|digits| u8::from_str_radix(digits, 16).ok())
                    .map(|byte| (byte, tail))
            }
            _ => None,
        };
        let (byte, tail) = escaped.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_from_an_address_and_never_shown() {
        let address = Address::parse("https://me:p%40ss@registry.example/base/").unwrap();
        assert_eq!(address.to_string(), "https://registry.example:443/base");
        let authorization = address.authorization.unwrap();
        assert_eq!(authorization.reveal(), "Basic bWU6cEBzcw==");
        let plain = Address::parse("http://[::1]:8081").unwrap();
        assert_eq!(plain.authority(), "[::1]:8081");
        assert_eq!((plain.host.as_str(), plain.path.as_str()), ("::1", ""));
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, problem) in [
            ("registry:8081", "does not begin with http:// or https://"),
            ("localhost", "does not begin with http:// or https://"),
            ("ftp://a", "does not begin with http:// or https://"),
            ("http://a b", "is not a URL"),
        ] {
            assert_eq!(Address::parse(text), Err(problem), "{text}");
        }
    }
}
