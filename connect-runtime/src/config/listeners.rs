//! Where the REST interface listens: `listeners`, as Kafka Connect writes it.

use std::fmt;
use std::net::IpAddr;

use super::keys::{TableReader, list};
use super::settings::Settings;

/// The key that lets others than this machine in.
pub(super) const REMOTE: &str = "rest.allow.unauthenticated.remote";

const EXPECTED: &str = "expected http://host:port";

/// One address of the REST interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpListener {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for HttpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "http://[{}]:{}", self.host, self.port),
            false => write!(f, "http://{}:{}", self.host, self.port),
        }
    }
}

/// The REST interface as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestConfig {
    /// Where it listens; empty is no REST interface.
    pub listeners: Vec<HttpListener>,
    /// Whether the user asked for these listeners. The default one may do without its port.
    pub configured: bool,
    /// Whether others than this machine may use it, although nothing asks who they are.
    pub remote: bool,
}

impl RestConfig {
    pub(super) fn read(reader: &mut TableReader<'_>, settings: &Settings) -> Self {
        let remote = reader.boolean(REMOTE);
        let mut listeners = Vec::new();
        for text in list(reader.text("listeners").unwrap_or_default()) {
            let listener = parse(&text).and_then(|listener| match remote || is_local(&listener) {
                true => Ok(listener),
                false => Err(format!(
                    "\"{text}\" can be reached from other machines, and the REST interface does not \
                     ask who they are; listen on 127.0.0.1, or set {REMOTE} to true"
                )),
            });
            match listener {
                Ok(listener) => listeners.push(listener),
                Err(message) => reader.problems.push(settings.problem("listeners", message)),
            }
        }
        Self {
            listeners,
            configured: settings.text("listeners").is_some(),
            remote,
        }
    }
}

fn parse(text: &str) -> Result<HttpListener, String> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| format!("{EXPECTED}, got \"{text}\""))?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" => return Err(format!("{EXPECTED}, got \"{text}\"; there is no TLS yet")),
        _ => return Err(format!("{EXPECTED}, got \"{text}\"")),
    }
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
    Ok(HttpListener {
        host: host.to_owned(),
        port,
    })
}

fn is_local(listener: &HttpListener) -> bool {
    match listener.host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => listener.host.eq_ignore_ascii_case("localhost"),
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
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown);
        }
        for text in ["", "8083", "http://a", "http://a:b", "ftp://a:1"] {
            assert!(parse(text).unwrap_err().starts_with(EXPECTED), "{text}");
        }
        let error = parse("https://127.0.0.1:8443").unwrap_err();
        assert!(error.contains("no TLS yet"), "{error}");
    }

    #[test]
    fn only_this_machine_is_local() {
        for (text, local) in [
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9:1", true),
            ("http://[::1]:1", true),
            ("http://LocalHost:1", true),
            ("http://:1", false),
            ("http://[::]:1", false),
            ("http://10.0.0.1:1", false),
            ("http://worker-1:1", false),
        ] {
            assert_eq!(is_local(&parse(text).unwrap()), local, "{text}");
        }
    }
}
