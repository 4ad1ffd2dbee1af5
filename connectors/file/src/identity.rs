//! Which file a path or a handle stands for, and finding a file again under another name.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use crate::position::{FilePosition, window_length};

/// How many entries of a directory are looked at for a renamed file.
pub(crate) const SEARCH_MAX: usize = 100_000;

/// Two handles or paths with the same identity are the same file, as long as one of them is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: Option<u64>,
}

impl Identity {
    #[cfg(unix)]
    pub(crate) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            device: metadata.dev(),
            inode: Some(metadata.ino()),
        }
    }

    /// Without inodes a replaced file is told by its length and content only.
    #[cfg(not(unix))]
    pub(crate) fn of(_metadata: &Metadata) -> Self {
        Self {
            device: 0,
            inode: None,
        }
    }

    pub(crate) fn inode(self) -> Option<u64> {
        self.inode
    }
}

/// Which file it is even after it was deleted, where the system tells when a file was made: a new one
/// often gets the inode of one that was just deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birth {
    identity: Identity,
    created: Option<SystemTime>,
}

impl Birth {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            identity: Identity::of(metadata),
            created: metadata.created().ok(),
        }
    }

    #[cfg(test)]
    pub(crate) fn with_identity(self, identity: Identity) -> Self {
        Self { identity, ..self }
    }
}

/// Opens for reading. Opening a named pipe does not wait for a writer.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
        options.custom_flags(libc::O_NONBLOCK);
        let file = options.open(path)?;
        // A pipe that is open for writing here, too, never ends when its last writer leaves, so that
        // waiting for it to be readable is waiting for the next one.
        if !file.metadata()?.file_type().is_fifo() {
            return Ok(file);
        }
        Ok(options.write(true).open(path).unwrap_or(file))
    }
    #[cfg(not(unix))]
    options.open(path)
}

/// Whether the bytes before the stored position are those that were read then. True if the store
/// does not say (an offset of Kafka's own connector).
pub(crate) fn same_content(file: &File, stored: &FilePosition) -> io::Result<bool> {
    let Some(checksum) = stored.checksum else {
        return Ok(true);
    };
    Ok(crc32c::crc32c(&window_before(file, stored.position)?) == checksum)
}

/// The bytes before `position` that identify the content; fewer if the file is shorter.
pub(crate) fn window_before(mut file: &File, position: u64) -> io::Result<Vec<u8>> {
    let length = window_length(position) as u64;
    let mut window = Vec::new();
    file.seek(SeekFrom::Start(position - length))?;
    file.take(length).read_to_end(&mut window)?;
    Ok(window)
}

/// The file that was read up to `stored`, under whatever name it has now in the directory of
/// `path`: what a rotation by renaming leaves behind.
#[cfg(unix)]
pub(crate) fn find_renamed(path: &Path, stored: &FilePosition) -> Option<File> {
    use std::os::unix::fs::DirEntryExt;
    let inode = stored.inode?;
    let entries = std::fs::read_dir(directory_of(path)).ok()?;
    entries
        .take(SEARCH_MAX)
        .filter_map(Result::ok)
        .filter(|entry| entry.ino() == inode)
        .filter_map(|entry| open(&entry.path()).ok())
        .find(|file| {
            let long_enough = file
                .metadata()
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() >= stored.position);
            long_enough && same_content(file, stored).unwrap_or(false)
        })
}

/// Without inodes a renamed file is not found again.
#[cfg(not(unix))]
pub(crate) fn find_renamed(_path: &Path, _stored: &FilePosition) -> Option<File> {
    None
}

/// The directory that holds `path`.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
