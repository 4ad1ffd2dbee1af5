//! Records without metadata: what a data folder holds whose journal was lost.
//!
//! Only a cluster that was founded just now on this very folder may take them in: nobody else can
//! know these topics. A node that joins a cluster has them set aside instead.

use std::collections::BTreeMap;

use crate::config::layers::Settings;
use crate::controller::MetadataImage;
use crate::controller::image::is_internal;
use crate::controller::record::{ConfigResource, MetadataRecord, PartitionState, TopicId};
use crate::controller::topic_name;
use crate::replica::Replicas;

/// The records that make the partitions on this node topics of the cluster again, to be agreed on
/// by a cluster that was founded just now. None if there are none.
///
/// `internal_settings` is what Kafka's own topics are configured with.
pub(crate) fn records(
    replicas: &Replicas,
    image: &MetadataImage,
    me: i32,
    internal_settings: &Settings,
) -> Vec<MetadataRecord> {
    // Every topic with the last leader epoch of each partition.
    let mut found: BTreeMap<(String, TopicId), BTreeMap<i32, i32>> = BTreeMap::new();
    for partition in replicas.list() {
        let id = partition.topic_id();
        let known = image.topic_by_id(&id).is_some() || image.is_removed(&id);
        if known || topic_name::check(partition.topic()).is_err() {
            continue;
        }
        found
            .entry((partition.topic().to_string(), id))
            .or_default()
            .insert(partition.index(), partition.leader_epoch().max(0));
    }
    let mut records = Vec::new();
    let mut taken = image
        .topics()
        .map(|topic| topic.name.to_string())
        .collect::<Vec<_>>();
    for ((name, id), epochs) in found {
        if taken.contains(&name) {
            continue;
        }
        tracing::warn!(
            topic = name,
            "found records of a topic the metadata does not know; it is a topic again"
        );
        records.push(MetadataRecord::Topic {
            name: name.clone(),
            id,
        });
        let count = epochs
            .last_key_value()
            .map_or(0, |(last, _)| last.saturating_add(1));
        records.extend((0..count).map(|index| MetadataRecord::Partition {
            topic: id,
            index,
            state: PartitionState {
                leader_epoch: epochs.get(&index).copied().unwrap_or(0),
                ..PartitionState::new(vec![me])
            },
        }));
        if is_internal(&name) {
            let resource = ConfigResource::Topic(name.clone());
            records.extend(
                internal_settings
                    .iter()
                    .map(|(key, value)| MetadataRecord::Config {
                        resource: resource.clone(),
                        key: key.clone(),
                        value: Some(value.clone()),
                    }),
            );
        }
        taken.push(name);
    }
    if !records.is_empty() {
        // Ids of the lost journal may be remembered in these logs. The clock is ahead of every
        // block that was handed out one by one.
        let next = platform::clock::unix_millis();
        records.push(MetadataRecord::ProducerIds { next });
    }
    records
}
