//! Where the REST interface listens: addresses as Kafka Connect writes them.

use std::fmt;
use std::net::IpAddr;

const EXPECTED: &str = "expected http://host:port or https://host:port";

/// How a listener is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// With TLS.
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// One address of the REST interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpListener {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for HttpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "{}://[{}]:{}", self.scheme, self.host, self.port),
            false => write!(f, "{}://{}:{}", self.scheme, self.host, self.port),
        }
    }
}

impl HttpListener {
    /// Reads an address.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| format!("{EXPECTED}, got \"{text}\""))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(format!("{EXPECTED}, got \"{text}\"")),
        };
        let (host, port) = rest
            .trim_end_matches('/')
            .rsplit_once(':')
            .ok_or_else(|| format!("{EXPECTED}, got \"{text}\", which has no port"))?;
        let port = port
            .parse()
            .map_err(|_| format!("{EXPECTED}, got \"{text}\", whose port is not one"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // As in Kafka, no host stands for all addresses.
        let host = match host {
            "" => "0.0.0.0",
            host => host,
        };
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
        })
    }

    /// Whether only this machine can reach it.
    pub(super) fn is_local(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_as_kafka_writes_them() {
        for (text, shown) in [
            ("http://127.0.0.1:8083", "http://127.0.0.1:8083"),
            ("HTTP://localhost:0/", "http://localhost:0"),
            ("http://[::1]:8083", "http://[::1]:8083"),
            ("http://:8083", "http://0.0.0.0:8083"),
            ("HTTPS://worker-1:8443", "https://worker-1:8443"),
        ] {
            assert_eq!(HttpListener::parse(text).unwrap().to_string(), shown);
        }
        for text in ["", "8083", "http://a", "http://a:b", "ftp://a:1"] {
            let error = HttpListener::parse(text).unwrap_err();
            assert!(error.starts_with(EXPECTED), "{text}: {error}");
        }
    }

    #[test]
    fn only_this_machine_is_local() {
        for (text, local) in [
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9:1", true),
            ("https://[::1]:1", true),
            ("http://LocalHost:1", true),
            ("http://:1", false),
            ("http://[::]:1", false),
            ("http://10.0.0.1:1", false),
            ("http://worker-1:1", false),
        ] {
            let listener = HttpListener::parse(text).unwrap();
            assert_eq!(listener.is_local(), local, "{text}");
        }
    }
}
