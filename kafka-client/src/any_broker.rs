//! What any broker can do: whoever is silent or away holds nobody up.
//!
//! Brokers are asked one after the other, the promising ones first. The next one is asked as soon
//! as one fails, and also when one says nothing for a while: a machine that was switched off does
//! not even refuse a connection, and a process that hangs keeps its connections open.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::pool::Outlook;
use crate::{BrokerInfo, Client, ClientError};

/// Without an answer after this long another broker is asked as well. What is asked here is
/// answered from memory, so this is plenty.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a broker that was silent is asked last.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// What is known of who answers.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// When brokers exhausted the patience of somebody.
    silent: Mutex<HashMap<String, Instant>>,
    /// No broker could be reached lately, and the log says so already.
    unreachable: AtomicBool,
}

impl Reach {
    fn is_silent(&self, addr: &str) -> bool {
        let silent = self.silent.lock();
        silent
            .get(addr)
            .is_some_and(|since| since.elapsed() < SILENT_FOR)
    }

    fn was_silent(&self, addr: &str) {
        let mut silent = self.silent.lock();
        silent.retain(|_, since| since.elapsed() < SILENT_FOR);
        silent.insert(addr.to_owned(), Instant::now());
    }

    fn answered(&self, addr: &str) {
        self.silent.lock().remove(addr);
        if self.unreachable.swap(false, Ordering::Relaxed) {
            tracing::warn!("a broker can be reached again");
        }
    }
}

impl Client {
    /// The first success of `attempt` at any broker: known ones, then the bootstrap servers. Safe to
    /// cancel as far as `attempt` is.
    ///
    /// # Errors
    /// [`ClientError::Bootstrap`] if none could be reached, else the last error.
    pub(crate) async fn first_of<T, F>(
        &self,
        attempt: impl Fn(String) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut candidates = self.candidates().into_iter();
        let mut asked = FuturesUnordered::new();
        let mut latest: Option<String> = None;
        let mut last = None;
        loop {
            if let Some(addr) = candidates.next() {
                let attempt = attempt(addr.clone());
                latest = Some(addr.clone());
                asked.push(async move { (addr, attempt.await) });
            }
            let more = candidates.len() > 0;
            tokio::select! {
                Some((addr, result)) = asked.next() => match result {
                    Ok(answer) => {
                        self.reach().answered(&addr);
                        return Ok(answer);
                    }
                    Err(error) => {
                        tracing::debug!("{error}");
                        last = Some(error);
                        if !more && asked.is_empty() {
                            break;
                        }
                    }
                },
                () = tokio::time::sleep(PATIENCE), if more => {
                    if let Some(addr) = &latest {
                        tracing::debug!("broker {addr} is silent, asking another one");
                        self.reach().was_silent(addr);
                    }
                }
                else => break,
            }
        }
        Err(self.nobody(last))
    }

    /// The error when nobody answered; the next attempt begins with the bootstrap servers (KIP-899).
    fn nobody(&self, last: Option<ClientError>) -> ClientError {
        let reason = match last {
            Some(
                error @ (ClientError::Disconnected { .. }
                | ClientError::Timeout { .. }
                | ClientError::Bootstrap { .. }),
            ) => error.to_string(),
            Some(error) => return error,
            None => "there is no broker to ask".to_owned(),
        };
        self.metadata().forget_brokers();
        let error = ClientError::Bootstrap {
            servers: self.config().bootstrap_servers.join(","),
            reason,
        };
        if !self.reach().unreachable.swap(true, Ordering::Relaxed) {
            tracing::warn!("{error}");
        }
        error
    }

    /// Everybody's address: known brokers before bootstrap servers, among each of them in random
    /// order those that are connected first and those that did not answer lately last.
    fn candidates(&self) -> Vec<String> {
        let mut known: Vec<String> = self
            .metadata()
            .brokers()
            .iter()
            .map(BrokerInfo::addr)
            .collect();
        shuffle(&mut known);
        let mut bootstrap = self.config().bootstrap_servers.clone();
        shuffle(&mut bootstrap);
        let mut seen = HashSet::new();
        let mut candidates: Vec<(bool, Outlook, String)> = Vec::new();
        let all = known.into_iter().map(|addr| (false, addr));
        let all = all.chain(bootstrap.into_iter().map(|addr| (true, addr)));
        for (is_bootstrap, addr) in all {
            if seen.insert(addr.clone()) {
                let silent = self.reach().is_silent(&addr);
                let outlook = if silent {
                    Outlook::Bad
                } else {
                    self.pool().outlook(&addr)
                };
                candidates.push((is_bootstrap, outlook, addr));
            }
        }
        // Stable: what is equal stays shuffled. A bootstrap server that may answer is better than a
        // known broker that does not.
        candidates.sort_by_key(|(is_bootstrap, outlook, _)| {
            (*outlook == Outlook::Bad, *is_bootstrap, *outlook)
        });
        candidates.into_iter().map(|(_, _, addr)| addr).collect()
    }
}

fn shuffle<T>(items: &mut [T]) {
    for index in (1..items.len()).rev() {
        let other = usize::try_from(platform::random::below(index as u64 + 1)).unwrap_or(index);
        items.swap(index, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClientConfig;

    fn client(servers: &[&str]) -> Client {
        Client::new(ClientConfig::new(servers.iter().copied())).unwrap()
    }

    /// Servers by name: `silent` never answers, `bad` fails, others answer with their name.
    async fn attempt(addr: String) -> Result<String, ClientError> {
        if addr.starts_with("silent") {
            std::future::pending::<()>().await;
        }
        if addr.starts_with("bad") {
            let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            return Err(ClientError::disconnected(&addr, refused));
        }
        Ok(addr)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_broker_costs_a_moment_and_then_nothing() {
        let client = client(&["silent1:1", "silent2:1", "good:1"]);
        for _ in 0..20 {
            let begun = Instant::now();
            assert_eq!(client.first_of(attempt).await.unwrap(), "good:1");
            assert!(begun.elapsed() <= 2 * PATIENCE + Duration::from_millis(10));
        }
        // Each of them has been met by now, but for one chance in millions.
        let begun = Instant::now();
        client.first_of(attempt).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn dead_bootstrap_servers_are_passed_over_at_once() {
        let client = client(&["bad1:1", "bad2:1", "good:1", "bad3:1"]);
        let begun = Instant::now();
        assert_eq!(client.first_of(attempt).await.unwrap(), "good:1");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_late_counts_if_nobody_else_has_one() {
        let client = client(&["slow:1", "bad:1"]);
        let slow = |addr: String| async move {
            if addr.starts_with("slow") {
                tokio::time::sleep(Duration::from_secs(8)).await;
            }
            attempt(addr).await
        };
        assert_eq!(client.first_of(slow).await.unwrap(), "slow:1");
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_names_all_servers_when_none_answers() {
        let client = client(&["bad1:1", "bad2:1"]);
        let error = client.first_of(attempt).await.unwrap_err();
        assert!(error.to_string().contains("bad1:1,bad2:1"), "{error}");
        assert!(error.is_retriable());
    }
}
