//! Why a broker does not start.

use std::io;

use thiserror::Error;

use crate::config::{ConfigProblem, Listener};

/// Why a broker does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The configuration has mistakes; all of them are listed.
    #[error("{}", list(.0))]
    Config(Vec<ConfigProblem>),
    /// Another program listens on the address.
    #[error(
        "address \"{address}\" is in use by another program; stop that one, or set listeners to another port"
    )]
    AddressInUse {
        /// The entry of `listeners`.
        address: String,
    },
    /// The operating system does not let us listen.
    #[error(
        "cannot listen on \"{address}\": {source}; set listeners to an address of this machine and a port this user may open"
    )]
    Listen {
        /// The entry of `listeners`.
        address: String,
        /// What it says.
        source: io::Error,
    },
    /// A host name that does not resolve.
    #[error(
        "host \"{host}\" in listener \"{listener}\" is not known: {source}; set listeners to a name or address of this machine, or leave the host empty for all addresses"
    )]
    UnknownHost {
        /// The name.
        host: String,
        /// The entry of `listeners`.
        listener: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// The data folders are in use, not usable, or someone else's.
    #[error("{0}")]
    Folder(String),
    /// The cluster does not let this broker in.
    #[error("{0}")]
    Cluster(String),
    /// The data cannot be read.
    #[error("{0}")]
    Storage(String),
}

impl BrokerError {
    pub(crate) fn cannot_listen(listener: &Listener, source: io::Error) -> Self {
        let address = listener.to_string();
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::AddressInUse { address }
        } else {
            Self::Listen { address, source }
        }
    }
}

fn list(problems: &[ConfigProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(ConfigProblem::to_string).collect();
    lines.join("\n")
}
