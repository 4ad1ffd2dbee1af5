//! Where the other brokers reach this one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use platform::net::{TcpStream, resolve, split};
use tokio::time::timeout;

use crate::config::{BrokerConfig, Listener};
use crate::controller::record::Endpoint;

/// How long a connection to this machine may take.
const OWN_TIME: Duration = Duration::from_secs(1);

/// This broker among the seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// One per listener; the one brokers use among themselves first.
    pub(crate) endpoints: Vec<Endpoint>,
    /// The seeds that are other brokers.
    pub(crate) others: Vec<String>,
    /// Whether this broker is the first of the seeds, which founds the cluster.
    pub(crate) founder: bool,
}

/// A listener and where it really listens.
struct Door<'a> {
    listener: &'a Listener,
    bound: SocketAddr,
    advertised: Option<&'a Listener>,
}

impl Addresses {
    /// Finds out about this broker, which listens on `bound`: one per listener, then one per
    /// controllers' listener.
    pub(crate) async fn find(config: &BrokerConfig, bound: &[SocketAddr]) -> Self {
        let mut doors: Vec<Door<'_>> = config
            .listeners
            .iter()
            .zip(bound)
            .map(|(listener, bound)| Door {
                listener,
                bound: *bound,
                advertised: config
                    .advertised
                    .iter()
                    .find(|advertised| advertised.name == listener.name),
            })
            .collect();
        let controllers: Vec<Door<'_>> = config
            .controller_listeners
            .iter()
            .zip(bound.iter().skip(config.listeners.len()))
            .map(|(listener, bound)| Door {
                listener,
                bound: *bound,
                advertised: None,
            })
            .collect();
        let among_brokers = config.cluster.listener.as_deref();
        doors.sort_by_key(|door| Some(&*door.listener.name) != among_brokers);

        let mut own = None;
        let mut founder = false;
        let mut others = Vec::new();
        for (position, seed) in config.cluster.seeds.iter().enumerate() {
            let mut found = None;
            for (index, door) in doors.iter().enumerate() {
                if door.is_at(seed).await {
                    found = Some(index);
                    break;
                }
            }
            let mut is_own = found.is_some();
            for door in &controllers {
                is_own = is_own || door.is_at(seed).await;
            }
            founder |= is_own && position == 0;
            own = own.or(found.map(|index| (index, seed)));
            if !is_own {
                others.push(seed.clone());
            }
        }
        let nameless = doors
            .iter()
            .any(|door| door.listener.is_wildcard() && door.advertised.is_none());
        let way_out = match others.first().filter(|_| nameless && own.is_none()) {
            Some(seed) => way_out_to(seed).await,
            None => None,
        };
        let endpoints = doors
            .iter()
            .enumerate()
            .map(|(index, door)| {
                let seed = own.filter(|(at, _)| *at == index).map(|(_, seed)| &**seed);
                door.endpoint(seed, way_out)
            })
            .collect();
        Self {
            endpoints,
            others,
            founder,
        }
    }

    /// Where brokers reach this one.
    pub(crate) fn address(&self) -> String {
        self.endpoints
            .first()
            .map(Endpoint::address)
            .unwrap_or_default()
    }
}

impl Door<'_> {
    /// What the others are told.
    fn endpoint(&self, seed: Option<&str>, way_out: Option<IpAddr>) -> Endpoint {
        let port = self.bound.port();
        let (host, port) = match (seed.and_then(split), self.advertised) {
            (Some((host, port)), _) => (host.to_owned(), port),
            (None, Some(advertised)) if advertised.port == 0 => (advertised.host.clone(), port),
            (None, Some(advertised)) => (advertised.host.clone(), advertised.port),
            (None, None) if !self.listener.is_wildcard() => (self.listener.host.clone(), port),
            (None, None) => (
                match (way_out, platform::host::name()) {
                    (Some(address), _) => address.to_string(),
                    (None, name) if name.is_empty() => "127.0.0.1".to_owned(),
                    (None, name) => name,
                },
                port,
            ),
        };
        Endpoint {
            listener: self.listener.name.clone(),
            host,
            port,
        }
    }

    /// Whether whoever connects to `seed` comes in here.
    async fn is_at(&self, seed: &str) -> bool {
        let Some((host, port)) = split(seed) else {
            return false;
        };
        if let Some(advertised) = self.advertised
            && advertised.host.eq_ignore_ascii_case(host)
            && [advertised.port, self.bound.port()].contains(&port)
        {
            return true;
        }
        if port != self.bound.port() {
            return false;
        }
        if self.listener.host.eq_ignore_ascii_case(host) {
            return true;
        }
        let Ok(addresses) = resolve(host, port).await else {
            return false;
        };
        if !self.listener.is_wildcard() {
            return addresses.contains(&self.bound);
        }
        for address in addresses {
            if address.ip().is_loopback() || is_this_machine(address).await {
                return true;
            }
        }
        false
    }
}

/// Whether `address`, which has a port that this broker listens on, is one of this machine's: a
/// connection from a machine to itself has one address at both ends.
async fn is_this_machine(address: SocketAddr) -> bool {
    match timeout(OWN_TIME, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => match (stream.local_addr(), stream.peer_addr()) {
            (Ok(local), Ok(peer)) => local.ip() == peer.ip(),
            _ => false,
        },
        _ => false,
    }
}

/// The address of this machine that `seed` sees.
async fn way_out_to(seed: &str) -> Option<IpAddr> {
    let (host, port) = split(seed)?;
    for address in resolve(host, port).await.ok()? {
        if let Ok(Ok(stream)) = timeout(OWN_TIME, TcpStream::connect(address)).await
            && let Ok(local) = stream.local_addr()
        {
            return Some(local.ip().to_canonical());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    async fn found(pairs: &[(&str, &str)], bound: &[&str]) -> Addresses {
        let properties: BTreeMap<String, String> = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let config = BrokerConfig::from_properties(&properties).unwrap();
        let bound: Vec<SocketAddr> = bound.iter().map(|bound| bound.parse().unwrap()).collect();
        Addresses::find(&config, &bound).await
    }

    const SEEDS: &str = "controller.quorum.bootstrap.servers";

    #[tokio::test]
    async fn the_first_seed_founds_and_is_reached_as_the_seeds_say() {
        let seeds = "localhost:19092,localhost:19093";
        let first = [("listeners", "127.0.0.1:19092"), (SEEDS, seeds)];
        let first = found(&first, &["127.0.0.1:19092"]).await;
        assert!(first.founder);
        assert_eq!(first.others, ["localhost:19093"]);
        assert_eq!(first.address(), "localhost:19092");
        let second = [("listeners", "127.0.0.1:19093"), (SEEDS, seeds)];
        let second = found(&second, &["127.0.0.1:19093"]).await;
        assert!(!second.founder);
        assert_eq!(second.others, ["localhost:19092"]);
        assert_eq!(second.address(), "localhost:19093");
    }

    #[tokio::test]
    async fn a_picked_port_is_told() {
        let addresses = found(&[("listeners", "127.0.0.1:0")], &["127.0.0.1:4711"]).await;
        assert_eq!(addresses.address(), "127.0.0.1:4711");
        assert!(!addresses.founder);
    }

    #[tokio::test]
    async fn brokers_meet_at_their_own_listener_under_its_advertised_name() {
        let addresses = found(
            &[
                ("listeners", "PUBLIC://:9092,INTERNAL://:9093"),
                ("advertised.listeners", "INTERNAL://inside:9193"),
                ("inter.broker.listener.name", "INTERNAL"),
                (SEEDS, "inside:9193,other.invalid:9193"),
            ],
            &["0.0.0.0:9092", "0.0.0.0:9093"],
        )
        .await;
        assert_eq!(addresses.address(), "inside:9193");
        assert_eq!(addresses.endpoints[1].listener, "PUBLIC");
        assert!(addresses.founder);
    }
}
