//! DescribeLogDirs (key 35): how much the partitions take in each data folder, and how much its disk has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kafka_wire::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_wire::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use kafka_wire_core::{ApiVersion, StrBytes};
use platform::fs::Space;

use super::message;
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (1, 5);

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: DescribeLogDirsRequest,
    _version: ApiVersion,
) -> DescribeLogDirsResponse {
    let wanted = |topic: &str, index: i32| match &request.topics {
        None => true,
        Some(topics) => topics
            .iter()
            .any(|wanted| &*wanted.topic == topic && wanted.partitions.contains(&index)),
    };
    let folders = ctx.broker.replicas.folders();
    let paths: Vec<PathBuf> = folders.iter().map(|(path, _)| path.clone()).collect();
    let spaces = platform::blocking::run(move || {
        let of = |path: &PathBuf| platform::fs::space(path).ok();
        paths.iter().map(of).collect::<Vec<_>>()
    })
    .await;
    // Which of them does is not told apart.
    let error_code = if ctx.broker.replicas.disk().is_refusing() {
        error_code::KAFKA_STORAGE_ERROR
    } else {
        error_code::NONE
    };
    let results = folders
        .into_iter()
        .zip(spaces)
        .map(|((path, partitions), space)| {
            let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
            for partition in partitions {
                if wanted(partition.topic(), partition.index()) {
                    let size = i64::try_from(partition.size_bytes()).unwrap_or(i64::MAX);
                    topics
                        .entry(partition.topic().to_string())
                        .or_default()
                        .push(message!(DescribeLogDirsPartition {
                            partition_index: partition.index(),
                            partition_size: size,
                        }));
                }
            }
            let path = std::path::absolute(&path).unwrap_or(path);
            let bytes = |of: fn(Space) -> u64| {
                space.map_or(-1, |space| i64::try_from(of(space)).unwrap_or(i64::MAX))
            };
            message!(DescribeLogDirsResult {
                error_code,
                log_dir: StrBytes::from(path.display().to_string()),
                total_bytes: bytes(|space| space.total),
                usable_bytes: bytes(|space| space.usable),
                topics: topics
                    .into_iter()
                    .map(|(name, partitions)| {
                        message!(DescribeLogDirsTopic {
                            name: StrBytes::from(name),
                            partitions,
                        })
                    })
                    .collect(),
            })
        })
        .collect();
    message!(DescribeLogDirsResponse { results })
}
