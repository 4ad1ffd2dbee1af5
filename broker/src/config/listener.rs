//! Addresses to listen on and to advertise, in the form of Kafka's `listeners`:
//! `NAME://host:port`, separated by commas.

use std::fmt;

/// One entry of `listeners` or `advertised.listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The listener's name; `PLAINTEXT` when not given.
    pub name: String,
    /// Host name or address; empty means every address of the machine.
    pub host: String,
    /// TCP port; 0 picks a free one.
    pub port: u16,
}

impl Listener {
    /// Reads one entry.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(entry: &str) -> Result<Self, String> {
        let entry = entry.trim();
        let (name, address) = entry.split_once("://").unwrap_or(("PLAINTEXT", entry));
        let (host, port) = address.rsplit_once(':').ok_or_else(|| {
            format!("\"{entry}\" has no port; write it as PLAINTEXT://127.0.0.1:9092")
        })?;
        let port = port.parse().map_err(|_| {
            format!("\"{port}\" in \"{entry}\" is not a port; use a number from 0 to 65535")
        })?;
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        {
            return Err(format!(
                "\"{name}\" in \"{entry}\" is not a listener name; use letters and digits, such as PLAINTEXT"
            ));
        }
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.contains(':') && !bracketed {
            return Err(format!(
                "\"{host}\" in \"{entry}\" is not a host; put an IPv6 address in brackets, such as [::1]:9092"
            ));
        }
        if host.contains(['/', ' ', '\t', '@']) {
            return Err(format!("\"{host}\" in \"{entry}\" is not a host name"));
        }
        Ok(Self {
            name: name.to_ascii_uppercase(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        })
    }

    /// The host to bind to.
    pub(crate) fn bind_host(&self) -> &str {
        if self.host.is_empty() {
            "0.0.0.0"
        } else {
            &self.host
        }
    }

    /// Whether the host stands for every address, so that nobody can connect to it by that name.
    pub(crate) fn is_wildcard(&self) -> bool {
        matches!(self.host.as_str(), "" | "0.0.0.0" | "::")
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_parse_and_print() {
        for (entry, printed) in [
            ("PLAINTEXT://127.0.0.1:9092", "PLAINTEXT://127.0.0.1:9092"),
            ("localhost:1", "PLAINTEXT://localhost:1"),
            ("internal://[::1]:0", "INTERNAL://[::1]:0"),
            ("PLAINTEXT://:9092", "PLAINTEXT://:9092"),
        ] {
            assert_eq!(Listener::parse(entry).unwrap().to_string(), printed);
        }
        assert!(Listener::parse("PLAINTEXT://:9092").unwrap().is_wildcard());
    }

    #[test]
    fn mistakes_say_what_to_write() {
        assert!(
            Listener::parse("localhost")
                .unwrap_err()
                .contains("has no port")
        );
        assert!(
            Listener::parse("localhost:70000")
                .unwrap_err()
                .contains("0 to 65535")
        );
        assert!(
            Listener::parse("PLAINTEXT://::1:9092")
                .unwrap_err()
                .contains("brackets")
        );
        assert!(
            Listener::parse("http://a/b:1")
                .unwrap_err()
                .contains("not a host")
        );
    }
}
