//! Kafka's text files: offset checkpoints of a data folder, a partition's leader epochs and its topic id.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::ErrorKind;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::LogError;

/// Offsets per partition: `recovery-point-offset-checkpoint` and its siblings.
pub(crate) type Offsets = BTreeMap<(String, i32), i64>;

/// Names of the checkpoints in a data folder.
pub(crate) mod name {
    pub(crate) const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
    pub(crate) const LOG_START: &str = "log-start-offset-checkpoint";
    pub(crate) const HIGH_WATERMARK: &str = "replication-offset-checkpoint";
    pub(crate) const CLEANER: &str = "cleaner-offset-checkpoint";
    pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
    pub(crate) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
    pub(crate) const PARTITION_METADATA: &str = "partition.metadata";
}

/// Version, count, then one line per entry; `parse` reads the fields of a line.
fn read_lines<T>(path: &Path, parse: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>, LogError> {
    let text = match platform::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LogError::io("read", path)(error)),
    };
    let malformed = |line: usize, reason: &str| LogError::Malformed {
        path: path.to_owned(),
        line,
        reason: reason.to_owned(),
    };
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some("0") {
        return Err(malformed(1, "expected version 0"));
    }
    let count: usize = lines
        .next()
        .and_then(|line| line.trim().parse().ok())
        .ok_or_else(|| malformed(2, "expected the number of entries"))?;
    let mut entries = Vec::new();
    for (at, line) in lines
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let fields: Vec<&str> = line.split_whitespace().collect();
        entries.push(
            parse(&fields).ok_or_else(|| malformed(at + 3, "expected the fields of an entry"))?,
        );
    }
    if entries.len() != count {
        return Err(malformed(
            2,
            "the number of entries is not that of the lines",
        ));
    }
    Ok(entries)
}

/// Reads an offset checkpoint; a missing file has no entries.
pub(crate) fn read_offsets(path: &Path) -> Result<Offsets, LogError> {
    let entries = read_lines(path, |fields| match fields {
        [topic, partition, offset] => Some((
            ((*topic).to_owned(), partition.parse().ok()?),
            offset.parse().ok()?,
        )),
        _ => None,
    })?;
    Ok(entries.into_iter().collect())
}

/// Replaces an offset checkpoint, durably.
pub(crate) fn write_offsets(path: &Path, offsets: &Offsets) -> Result<(), LogError> {
    let mut text = format!("0\n{}\n", offsets.len());
    for ((topic, partition), offset) in offsets {
        writeln!(text, "{topic} {partition} {offset}").unwrap_or_default();
    }
    platform::fs::write_atomic(path, text.as_bytes()).map_err(LogError::io("write", path))
}

/// Reads `leader-epoch-checkpoint`: epoch and the offset it starts at.
pub(crate) fn read_epochs(path: &Path) -> Result<Vec<(i32, i64)>, LogError> {
    read_lines(path, |fields| match fields {
        [epoch, start] => Some((epoch.parse().ok()?, start.parse().ok()?)),
        _ => None,
    })
}

/// Replaces `leader-epoch-checkpoint`. Not forced to disk: a lost epoch only makes a follower ask again.
pub(crate) fn write_epochs(path: &Path, epochs: &[(i32, i64)]) -> Result<(), LogError> {
    let mut text = format!("0\n{}\n", epochs.len());
    for (epoch, start) in epochs {
        writeln!(text, "{epoch} {start}").unwrap_or_default();
    }
    replace(path, text.as_bytes())
}

/// Reads the topic id from `partition.metadata`; `None` without the file.
pub(crate) fn read_topic_id(path: &Path) -> Result<Option<[u8; 16]>, LogError> {
    let text = match platform::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("read", path)(error)),
    };
    text.lines()
        .find_map(|line| line.strip_prefix("topic_id:"))
        .and_then(|id| URL_SAFE_NO_PAD.decode(id.trim()).ok())
        .and_then(|id| id.try_into().ok())
        .map(Some)
        .ok_or_else(|| LogError::Malformed {
            path: path.to_owned(),
            line: 2,
            reason: "expected \"topic_id: \" and 22 base64 characters".to_owned(),
        })
}

/// Replaces a file without forcing it to disk.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let file = platform::fs::File::create(temporary).map_err(LogError::io("create", temporary))?;
    file.write_all_at(bytes, 0)
        .map_err(LogError::io("write", temporary))?;
    platform::fs::rename(temporary, path).map_err(LogError::io("rename", temporary))
}

/// Writes `partition.metadata`. It becomes durable together with the first records, see `Log::flush`.
pub(crate) fn write_topic_id(path: &Path, id: [u8; 16]) -> Result<(), LogError> {
    let text = format!("version: 0\ntopic_id: {}", URL_SAFE_NO_PAD.encode(id));
    replace(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_kafkas_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name::RECOVERY_POINT);
        assert!(read_offsets(&path).unwrap().is_empty());
        let offsets: Offsets = [(("orders".to_owned(), 1), 42), (("a.b".to_owned(), 0), 7)].into();
        write_offsets(&path, &offsets).unwrap();
        assert_eq!(
            platform::fs::read_to_string(&path).unwrap(),
            "0\n2\na.b 0 7\norders 1 42\n"
        );
        assert_eq!(read_offsets(&path).unwrap(), offsets);
        platform::fs::write_atomic(&path, b"0\n3\na 0 7\n").unwrap();
        assert!(matches!(
            read_offsets(&path),
            Err(LogError::Malformed { line: 2, .. })
        ));
        platform::fs::write_atomic(&path, b"0\n1\na 0 x\n").unwrap();
        assert!(matches!(
            read_offsets(&path),
            Err(LogError::Malformed { line: 3, .. })
        ));
    }

    #[test]
    fn topic_ids_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name::PARTITION_METADATA);
        assert_eq!(read_topic_id(&path).unwrap(), None);
        write_topic_id(&path, [7; 16]).unwrap();
        assert_eq!(read_topic_id(&path).unwrap(), Some([7; 16]));
        platform::fs::write_atomic(&path, b"version: 0\ntopic_id: !").unwrap();
        assert!(read_topic_id(&path).is_err());
    }
}
