//! Where a worker runs, and what follows for the names of its tasks in consumer groups.
//!
//! A sink task with a name that outlives the process (`group.instance.id`, KIP-345) finds its
//! place in the group again after a crash, instead of waiting until the group notices that the
//! member of the former process is gone. The name must come back with the worker and must be
//! nobody else's: connector, task, host name and folder. A second worker in the same folder has
//! none, and neither has one that meets another with its name (machines copied with their host
//! name): their tasks share the partitions all the same, only a crash of theirs is noticed later.

use platform::fs::FolderLock;

/// The longest that Kafka accepts.
const NAME_MAX: usize = 249;
/// What a hash and two separators add.
const HASH_SPACE: usize = 18;

/// Whom a worker may meet in the groups of its sinks.
#[derive(Debug)]
pub(crate) enum Place {
    /// Nobody: the broker is the worker's own.
    Alone,
    /// Workers elsewhere. The folder is claimed, so that none here has the same names.
    Among {
        host: String,
        folder: String,
        _claim: FolderLock,
    },
    /// There is nothing to tell the worker from others by.
    Anywhere,
}

impl Place {
    /// The host and the present folder.
    pub(crate) fn here() -> Self {
        let host = platform::host::name();
        let Ok(folder) = std::env::current_dir() else {
            return Self::Anywhere;
        };
        if host.is_empty() {
            return Self::Anywhere;
        }
        match FolderLock::of_folder(&folder) {
            Ok(claim) => Self::Among {
                host,
                folder: folder.to_string_lossy().into_owned(),
                _claim: claim,
            },
            Err(error) => {
                tracing::info!(
                    "sink tasks have no fixed names in their groups, because another worker runs \
                     in this folder or it cannot be locked: {error}"
                );
                Self::Anywhere
            }
        }
    }

    /// The name of a task in its group.
    pub(crate) fn instance_id(&self, connector: &str, task: u32) -> Option<String> {
        match self {
            Self::Alone => Some(named(connector, task, "", "")),
            Self::Among { host, folder, .. } => Some(named(connector, task, host, folder)),
            Self::Anywhere => None,
        }
    }
}

/// What can be read of it is for people, the hash makes it unique.
fn named(connector: &str, task: u32, host: &str, folder: &str) -> String {
    let readable = match host {
        "" => format!("connect-{connector}-{task}"),
        _ => format!("connect-{connector}-{task}-{host}"),
    };
    let legal = |symbol: char| symbol.is_ascii_alphanumeric() || "._-".contains(symbol);
    if host.is_empty() && readable.len() <= NAME_MAX && readable.chars().all(legal) {
        return readable;
    }
    let replaced = readable.chars().map(|symbol| match legal(symbol) {
        true => symbol,
        false => '_',
    });
    let short: String = replaced.take(NAME_MAX - HASH_SPACE).collect();
    let hash = fnv([connector, &task.to_string(), host, folder]);
    format!("{short}-{hash:016x}")
}

/// FNV-1a: the same in every build, unlike the standard library's.
fn fnv<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_stable_and_differs_in_each_of_its_parts() {
        let one = named("files", 0, "host-a", "/srv/connect");
        assert_eq!(one, "connect-files-0-host-a-d648044813d67e5d");
        for other in [
            named("file", 0, "host-a", "/srv/connect"),
            named("files", 1, "host-a", "/srv/connect"),
            named("files", 0, "host-b", "/srv/connect"),
            named("files", 0, "host-a", "/srv/connect2"),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(named("files", 0, "", ""), "connect-files-0");
    }

    #[test]
    fn a_name_is_always_one_that_kafka_accepts() {
        let long = "ü ".repeat(200);
        for name in [named(&long, 0, "h", "/"), named(&long, 0, "", "")] {
            assert!(name.len() <= NAME_MAX, "{name}");
            let legal = |symbol: char| symbol.is_ascii_alphanumeric() || "._-".contains(symbol);
            assert!(name.chars().all(legal), "{name}");
        }
        assert_ne!(named("a b", 0, "", ""), named("a/b", 0, "", ""));
    }

    #[test]
    fn a_second_worker_in_a_folder_has_no_fixed_names() {
        let first = Place::here();
        let second = Place::here();
        if matches!(first, Place::Among { .. }) {
            assert!(second.instance_id("files", 0).is_none());
        }
    }
}
