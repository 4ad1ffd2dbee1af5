//! Checksummed pieces of JSON in a file, and what a crash may leave of the last one.
//!
//! ```text
//! length u32 · crc32c of the payload u32 · payload (a JSON object)
//! ```
//!
//! A folder holds files of a kind under the number of each.
//!
//! A piece that a crash cut short was never acknowledged and is dropped. One that is whole but
//! does not match its checksum is damage, and is refused.

use std::io;
use std::path::{Path, PathBuf};

use platform::fs;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use thiserror::Error;

/// Bytes in front of a payload.
const HEADER_BYTES: usize = 8;

/// Why the quorum's files cannot be read or written.
#[derive(Debug, Error)]
pub(super) enum FileError {
    /// The disk refused.
    #[error("cannot {action} \"{path}\": {source}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// What is there is not what was written.
    #[error(
        "\"{path}\" is damaged at byte {position}: {problem}; restore it from a copy, or move the folder away to start anew"
    )]
    Damaged {
        path: PathBuf,
        position: usize,
        problem: String,
    },
}

/// Makes a [`FileError::Io`].
pub(super) fn fail(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io {
        action,
        path,
        source,
    }
}

/// The files of `folder` called by a number and `suffix`, by number.
///
/// # Errors
/// When the disk refuses.
pub(super) fn files(folder: &Path, suffix: &str) -> Result<Vec<(u64, PathBuf)>, FileError> {
    let entries = fs::read_dir(folder).map_err(fail("read", folder))?;
    let mut found: Vec<(u64, PathBuf)> = entries
        .iter()
        .filter_map(|entry| {
            let number = entry.file_name.strip_suffix(suffix)?.parse().ok()?;
            Some((number, entry.path.clone()))
        })
        .collect();
    found.sort();
    Ok(found)
}

/// Whether the end of a file may have been cut off by a crash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    MayBeCut,
    MustBeWhole,
}

/// Appends `value` to `buffer` as one piece.
///
/// # Errors
/// When it is over 4 GiB.
pub(super) fn encode(value: &impl Serialize, buffer: &mut Vec<u8>) -> io::Result<()> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    serde_json::to_writer(&mut *buffer, value)?;
    let Some((header, payload)) = buffer
        .get_mut(start..)
        .and_then(|piece| piece.split_first_chunk_mut::<HEADER_BYTES>())
    else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let length = u32::try_from(payload.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a change of over 4 GiB"))?;
    let crc = crc32c::crc32c(payload);
    *header = std::array::from_fn(|at| {
        let [length, crc] = [length.to_be_bytes(), crc.to_be_bytes()];
        length.iter().chain(&crc).nth(at).copied().unwrap_or(0)
    });
    Ok(())
}

/// Gives each piece in `bytes` to `take`, and how many bytes they are. What `take` refuses is
/// damage, too.
///
/// # Errors
/// [`FileError::Damaged`].
pub(super) fn decode<T: DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
    tail: Tail,
    mut take: impl FnMut(T) -> Result<(), String>,
) -> Result<usize, FileError> {
    let damaged = |position: usize, problem: String| FileError::Damaged {
        path: path.to_owned(),
        position,
        problem,
    };
    let mut position = 0;
    loop {
        let rest = bytes.get(position..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        let Some((payload, crc)) = split(rest) else {
            if tail == Tail::MustBeWhole {
                return Err(damaged(position, "the end is missing".to_owned()));
            }
            if is_whole_but_for_its_length(rest) {
                return Err(damaged(position, "the length is wrong".to_owned()));
            }
            break;
        };
        if crc32c::crc32c(payload) != crc {
            // A write that was cut short ends in nothing or zeros, not in the end of an object.
            let looks_whole = payload.ends_with(b"}");
            let after = rest.get(HEADER_BYTES + payload.len()..).unwrap_or_default();
            let more_follows = after.iter().any(|byte| *byte != 0);
            if tail == Tail::MustBeWhole || looks_whole || more_follows {
                return Err(damaged(position, "the checksum does not match".to_owned()));
            }
            break;
        }
        let value = serde_json::from_slice(payload)
            .map_err(|error| damaged(position, format!("not what belongs here: {error}")))?;
        take(value).map_err(|problem| damaged(position, problem))?;
        position += HEADER_BYTES + payload.len();
    }
    if position == 0 && tail == Tail::MustBeWhole {
        return Err(damaged(0, "it is empty".to_owned()));
    }
    Ok(position)
}

/// Whether `bytes` start with a piece that is all there and only claims another length: damage,
/// and not the work of a crash.
fn is_whole_but_for_its_length(bytes: &[u8]) -> bool {
    let Some(([_, _, _, _, crc @ ..], payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return false;
    };
    let mut values = serde_json::Deserializer::from_slice(payload).into_iter::<IgnoredAny>();
    if !matches!(values.next(), Some(Ok(_))) {
        return false;
    }
    let payload = payload.get(..values.byte_offset()).unwrap_or_default();
    crc32c::crc32c(payload) == u32::from_be_bytes(*crc)
}

/// Payload and checksum of the piece at the start of `bytes`, if all of it is there.
fn split(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    // None is empty; zeros are what a crash leaves of one.
    if length == 0 {
        return None;
    }
    Some((rest.get(..length)?, u32::from_be_bytes(*crc)))
}
