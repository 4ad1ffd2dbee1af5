//! Creates the topics of a source by its rules, before their first record is written.

use std::sync::Arc;
use std::time::Duration;

use connect_core::ConnectError;
use kafka_client::{Client, ClientError, ErrorCode, NewTopic};
use regex::Regex;

use crate::backoff::Backoff;
use crate::config::connector::{TopicCreation, TopicGroup, topic_pattern};
use crate::task::TaskFailure;
use crate::tolerance::Tolerance;

/// The pauses while no broker answers; the client has tried for a while already.
const OUTAGE_PAUSE: Duration = Duration::from_millis(100);
const OUTAGE_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Creates topics; see the module.
pub(super) struct TopicCreator {
    client: Client,
    groups: Vec<Matcher>,
    tolerance: Tolerance,
}

struct Matcher {
    include: Vec<Regex>,
    exclude: Vec<Regex>,
    group: TopicGroup,
}

impl Matcher {
    fn takes(&self, topic: &str) -> bool {
        let one = |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(topic));
        self.group.is_default() || (one(&self.include) && !one(&self.exclude))
    }
}

impl TopicCreator {
    /// # Errors
    /// A pattern is wrong, which was reported when the configuration was read.
    pub(super) fn new(
        client: Client,
        rules: &TopicCreation,
        tolerance: Tolerance,
    ) -> Result<Self, TaskFailure> {
        Ok(Self {
            client,
            groups: matchers(rules)?,
            tolerance,
        })
    }

    /// Makes sure that a topic exists, waiting while no broker answers. Must be called within the
    /// runtime of the connections. Cancel-safe.
    ///
    /// # Errors
    /// It cannot be created by the rules.
    pub(super) async fn ensure(&self, topic: &Arc<str>) -> Result<(), TaskFailure> {
        let mut attempts = self.tolerance.attempts();
        let mut backoff = Backoff::new(OUTAGE_PAUSE, OUTAGE_PAUSE_MAX);
        loop {
            let Err(error) = self.attempt(topic).await else {
                return Ok(());
            };
            // Brokers that are missing may still be starting.
            let lacks_brokers = error.code() == Some(ErrorCode::INVALID_REPLICATION_FACTOR);
            if lacks_brokers {
                let retriable = ConnectError::retriable(error.to_string());
                if attempts.again(&retriable).await {
                    continue;
                }
            }
            if !error.is_retriable() {
                return Err(TaskFailure::new(self.refusal(topic, &error)));
            }
            let pause = backoff.failed();
            tracing::warn!(
                "topic \"{topic}\" could not be looked for or created, next try in {pause:.1?}: {error}"
            );
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, topic: &Arc<str>) -> Result<(), ClientError> {
        let admin = self.client.admin();
        let name = topic.to_string();
        let described = admin.describe_topics(std::slice::from_ref(&name)).await?;
        match described.into_iter().next() {
            Some((_, Err(error)))
                if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {}
            Some((_, Err(error))) => return Err(error),
            Some((_, Ok(found))) => {
                self.note_existing(topic, found.partitions.len());
                return Ok(());
            }
            None => return Ok(()),
        }
        let group = self.group(topic);
        let mut new = NewTopic::new(name, group.partitions, group.replication_factor);
        for (key, value) in &group.settings {
            new = new.with_config(key, value);
        }
        let created = admin.create_topics(&[new], false).await?;
        match created.into_iter().next() {
            // Another task was faster.
            Some((_, Err(error))) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {
                Ok(())
            }
            Some((_, Err(error))) => Err(error),
            _ => {
                tracing::info!(
                    "created topic \"{topic}\" by the rules of topic.creation.{}",
                    group.name
                );
                Ok(())
            }
        }
    }

    /// A topic that is there stays as it is, which may be a surprise: a sink that reads it could have been
    /// faster.
    fn note_existing(&self, topic: &str, partitions: usize) {
        let TopicGroup {
            name,
            partitions: wanted,
            ..
        } = self.group(topic);
        if usize::try_from(*wanted).is_ok_and(|wanted| wanted != partitions) {
            tracing::info!(
                "topic \"{topic}\" exists with {partitions} partitions; topic.creation.{name}.partitions \
                 {wanted} is only for topics that are created"
            );
        }
    }

    fn group(&self, topic: &str) -> &TopicGroup {
        let found = self.groups.iter().find(|matcher| matcher.takes(topic));
        debug_assert!(found.is_some(), "the default group takes every topic");
        static NONE: TopicGroup = TopicGroup::broker_default();
        found.map_or(&NONE, |matcher| &matcher.group)
    }

    fn refusal(&self, topic: &str, error: &ClientError) -> String {
        let group = self.group(topic);
        let TopicGroup {
            name,
            partitions,
            replication_factor,
            ..
        } = group;
        let advice = match error.code() {
            Some(ErrorCode::INVALID_REPLICATION_FACTOR) => {
                format!("start more brokers or lower topic.creation.{name}.replication.factor")
            }
            Some(ErrorCode::INVALID_CONFIG | ErrorCode::INVALID_PARTITIONS) => {
                format!("correct the keys topic.creation.{name}.…, or create the topic")
            }
            Some(
                ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            ) => "allow the worker to create topics, or create the topic".to_owned(),
            _ => "create the topic, or correct its name or the rules".to_owned(),
        };
        format!(
            "topic \"{topic}\" could not be created by the rules of topic.creation.{name} (partitions \
             {partitions}, replication factor {replication_factor}): {error}; {advice}"
        )
    }
}

fn matchers(rules: &TopicCreation) -> Result<Vec<Matcher>, TaskFailure> {
    let compiled = |patterns: &[String]| -> Result<Vec<Regex>, TaskFailure> {
        let patterns = patterns.iter().map(|pattern| topic_pattern(pattern));
        let patterns: Result<Vec<Regex>, regex::Error> = patterns.collect();
        patterns.map_err(|error| TaskFailure::new(error.to_string()))
    };
    let one = |group: &TopicGroup| {
        Ok(Matcher {
            include: compiled(&group.include)?,
            exclude: compiled(&group.exclude)?,
            group: group.clone(),
        })
    };
    rules.groups.iter().map(one).collect()
}
