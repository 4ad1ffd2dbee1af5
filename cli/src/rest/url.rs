//! The address of a REST interface.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

/// Kafka Connect's port, for addresses without one.
const DEFAULT_PORT: u16 = 8083;
/// That of `https://` everywhere: what has no port there is most likely a proxy.
const DEFAULT_SECURE_PORT: u16 = 443;

/// `http://host:port` or `https://host:port`, and a path if the interface is behind something that adds one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// Whom to connect to.
    pub(super) host: String,
    pub(super) port: u16,
    /// Both, as the `Host` header has them.
    pub(super) authority: String,
    /// What comes before every path: empty, or with a slash before it and none behind.
    pub(super) path: String,
    /// Whether it is `https://`.
    pub(super) secure: bool,
}

impl Url {
    /// Reads an address; one without `http://` is taken to be of this kind.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let whole = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let uri: Uri = whole
            .parse()
            .map_err(|error| format!("is no URL: {error}"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("is no http:// or https:// URL".to_owned()),
        };
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("has a user in it; leave that out and name it with --user".to_owned());
        }
        if uri.query().is_some() {
            return Err("has something behind \"?\"; leave it out".to_owned());
        }
        let host = authority.host();
        if host.is_empty() {
            return Err("names no host".to_owned());
        }
        let port = authority.port_u16().unwrap_or(match secure {
            true => DEFAULT_SECURE_PORT,
            false => DEFAULT_PORT,
        });
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority: format!("{host}:{port}"),
            path: uri.path().trim_end_matches('/').to_owned(),
            secure,
        })
    }

    /// Whether it leads to this machine, so that nobody listens on the way.
    pub(super) fn is_local(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// A text as one part of a path.
pub(super) fn encoded(text: &str) -> String {
    let part = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        Url::parse(text).map(|url| url.to_string())
    }

    #[test]
    fn an_address_may_leave_out_what_is_usual() {
        for (text, expected) in [
            ("http://127.0.0.1:8083", "http://127.0.0.1:8083"),
            ("localhost", "http://localhost:8083"),
            ("http://connect:80/", "http://connect:80"),
            ("http://gateway:80/connect/", "http://gateway:80/connect"),
            (" [::1]:9 ", "http://[::1]:9"),
            (
                "https://connect.example.org",
                "https://connect.example.org:443",
            ),
            ("https://localhost:8443/", "https://localhost:8443"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(Url::parse("[::1]:9").unwrap().host, "::1");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_the_reason() {
        for (text, reason) in [
            ("ftp://a", "no http:// or https:// URL"),
            ("http://u:p@a", "name it with --user"),
            ("http://a/?b", "leave it out"),
            ("http://:80", "no"),
            ("a b", "is no URL"),
        ] {
            let problem = shown(text).unwrap_err();
            assert!(problem.contains(reason), "{text}: {problem}");
        }
    }

    #[test]
    fn names_are_parts_of_paths_whatever_is_in_them() {
        assert_eq!(encoded("a-b_1.x~"), "a-b_1.x~");
        assert_eq!(encoded("a b/ü"), "a%20b%2F%C3%BC");
    }
}
