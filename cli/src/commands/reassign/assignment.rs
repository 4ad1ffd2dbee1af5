//! The JSON that says which brokers a partition is to be on.

use std::collections::BTreeMap;

use kafka_client::TopicPartition;
use serde_json::{Value, json};

/// The brokers of each partition, the preferred leader first.
pub(super) type Assignment = BTreeMap<TopicPartition, Vec<i32>>;

/// Reads `{"version":1,"partitions":[{"topic":…,"partition":…,"replicas":[…]}]}`.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn parse(text: &str) -> Result<Assignment, String> {
    let value = json_of_version_1(text)?;
    let entries = value
        .get("partitions")
        .and_then(Value::as_array)
        .ok_or("the list \"partitions\" is missing")?;
    let mut assignment = Assignment::new();
    for entry in entries {
        let (partition, replicas) = partition(entry)?;
        if assignment.contains_key(&partition) {
            return Err(format!(
                "Partition reassignment contains duplicate topic partitions: {partition}"
            ));
        }
        assignment.insert(partition, replicas);
    }
    if assignment.is_empty() {
        return Err("Partition reassignment list cannot be empty".into());
    }
    Ok(assignment)
}

fn partition(entry: &Value) -> Result<(TopicPartition, Vec<i32>), String> {
    let number = |value: &Value| i32::try_from(value.as_i64()?).ok();
    let topic = entry.get("topic").and_then(Value::as_str);
    let index = entry.get("partition").and_then(number);
    let replicas: Option<Vec<i32>> = entry
        .get("replicas")
        .and_then(Value::as_array)
        .and_then(|ids| ids.iter().map(number).collect());
    let (Some(topic), Some(index), Some(replicas)) = (topic, index, replicas) else {
        return Err(format!(
            "expected {{\"topic\": NAME, \"partition\": NUMBER, \"replicas\": [BROKER, …]}}, got {entry}"
        ));
    };
    let partition = TopicPartition::new(topic, index);
    if let Some(folders) = entry.get("log_dirs") {
        let folders = folders
            .as_array()
            .ok_or_else(|| format!("\"log_dirs\" of partition {partition} is no list"))?;
        if folders.len() != replicas.len() {
            return Err(format!(
                "Size of replicas list {replicas:?} is different from size of log dirs list of length {} for partition {partition}",
                folders.len()
            ));
        }
        if let Some(folder) = folders.iter().find(|folder| *folder != "any") {
            return Err(format!(
                "partition {partition} is to go into the folder {folder}, and choosing folders is not supported; leave \"log_dirs\" out or use \"any\""
            ));
        }
    }
    if replicas.is_empty() {
        return Err(format!(
            "Partition replica list cannot be empty: {partition}"
        ));
    }
    let twice = replicas
        .iter()
        .enumerate()
        .any(|(at, id)| replicas.iter().skip(at + 1).any(|other| other == id));
    if twice {
        return Err(format!(
            "Partition replica lists may not contain duplicate entries: {partition} has {replicas:?}"
        ));
    }
    Ok((partition, replicas))
}

/// Reads `{"version":1,"topics":[{"topic":…}]}`.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn parse_topics(text: &str) -> Result<Vec<String>, String> {
    let value = json_of_version_1(text)?;
    let entries = value
        .get("topics")
        .and_then(Value::as_array)
        .ok_or("the list \"topics\" is missing")?;
    let mut topics: Vec<String> = Vec::new();
    for entry in entries {
        let Some(topic) = entry.get("topic").and_then(Value::as_str) else {
            return Err(format!("expected {{\"topic\": NAME}}, got {entry}"));
        };
        if topics.iter().any(|known| known == topic) {
            return Err(format!(
                "List of topics to reassign contains duplicate entries: {topic}"
            ));
        }
        topics.push(topic.to_owned());
    }
    Ok(topics)
}

fn json_of_version_1(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("The input string is not a valid JSON: {error}"))?;
    match value.get("version") {
        None => Ok(value),
        Some(version) if *version == 1 => Ok(value),
        Some(version) => Err(format!("Not supported version field value {version}")),
    }
}

/// The JSON that [`parse`] reads, as Kafka's tool writes it.
pub(super) fn format(assignment: &Assignment) -> String {
    let partitions: Vec<Value> = assignment
        .iter()
        .map(|(partition, replicas)| {
            let any: Vec<&str> = replicas.iter().map(|_| "any").collect();
            json!({
                "topic": &*partition.topic,
                "partition": partition.partition,
                "replicas": replicas,
                "log_dirs": any,
            })
        })
        .collect();
    json!({ "version": 1, "partitions": partitions }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[2,3],"log_dirs":["any","any"]}]}"#;
        let found = parse(text).unwrap();
        assert_eq!(found, [(TopicPartition::new("t", 0), vec![2, 3])].into());
        assert_eq!(format(&found), text);
    }

    #[test]
    fn mistakes_are_named() {
        let of = |partitions: &str| {
            parse(&format!("{{\"version\":1,\"partitions\":[{partitions}]}}")).unwrap_err()
        };
        assert!(of("").contains("cannot be empty"));
        assert!(of(r#"{"topic":"t","partition":0,"replicas":[]}"#).contains("cannot be empty"));
        assert!(
            of(r#"{"topic":"t","partition":0,"replicas":[1,1]}"#).contains("duplicate entries")
        );
        assert!(of(r#"{"topic":"t","replicas":[1]}"#).contains("expected"));
        let one = r#"{"topic":"t","partition":0,"replicas":[1]}"#;
        assert!(of(&format!("{one},{one}")).contains("duplicate topic partitions"));
        let folder = r#"{"topic":"t","partition":0,"replicas":[1],"log_dirs":["/x"]}"#;
        assert!(of(folder).contains("\"/x\""));
        assert!(
            parse(r#"{"version":2,"partitions":[]}"#)
                .unwrap_err()
                .contains("version")
        );
        assert!(parse("x").unwrap_err().contains("not a valid JSON"));
    }

    #[test]
    fn topics_are_listed_once_each() {
        let found = parse_topics(r#"{"topics":[{"topic":"a"},{"topic":"b"}],"version":1}"#);
        assert_eq!(found.unwrap(), ["a", "b"]);
        assert!(parse_topics(r#"{"topics":[{"topic":"a"},{"topic":"a"}]}"#).is_err());
    }
}
