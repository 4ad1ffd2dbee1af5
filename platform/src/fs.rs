//! Files, shaped like `std::fs`: blocking, so called from [`crate::blocking::run`] or from threads
//! that may block. Inside a simulation they are turmoil's, which lose what was not synced when
//! their host crashes.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[cfg(feature = "simulation")]
use turmoil::fs::shim::std::fs as simulated;

#[cfg(feature = "simulation")]
use crate::faults::{self, Access};

/// An open file.
#[derive(Debug)]
pub struct File(Inner);

#[derive(Debug)]
enum Inner {
    Real(std::fs::File),
    #[cfg(feature = "simulation")]
    Simulated(simulated::File),
}

/// Runs an expression on whichever file is inside; a simulated disk may refuse first.
macro_rules! on {
    ($file:expr, $access:ident, $inner:ident => $body:expr) => {
        match $file {
            Inner::Real($inner) => $body,
            #[cfg(feature = "simulation")]
            Inner::Simulated($inner) => {
                faults::disk(Access::$access)?;
                $body
            }
        }
    };
}

impl File {
    /// Opens a file to read.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).open(path)
    }

    /// Creates a file to write, or empties the one that is there.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(path: &Path) -> io::Result<Self> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    /// The operating system's.
    #[allow(clippy::len_without_is_empty)] // a length that can fail has no "is empty" twin
    pub fn len(&self) -> io::Result<u64> {
        on!(&self.0, Read, file => Ok(file.metadata()?.len()))
    }

    /// Length and kind.
    ///
    /// # Errors
    /// The operating system's.
    pub fn metadata(&self) -> io::Result<Metadata> {
        Ok(Metadata {
            len: self.len()?,
            is_dir: false,
            is_file: true,
        })
    }

    /// Reads at `offset` without moving the cursor; returns how many bytes came, 0 at the end.
    ///
    /// # Errors
    /// The operating system's.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        on!(&self.0, Read, file => file.read_at(buffer, offset))
    }

    /// Appends what is in the file from `offset` on to `buffer`, `count` bytes or up to the end,
    /// without filling the buffer with zeros first. On an error part of it may be in the buffer.
    ///
    /// # Errors
    /// The operating system's.
    pub fn append_from(
        &self,
        buffer: &mut Vec<u8>,
        count: usize,
        mut offset: u64,
    ) -> io::Result<()> {
        let wanted = buffer.len() + count;
        buffer.reserve_exact(count);
        while buffer.len() < wanted {
            match self.fill_room(buffer, offset) {
                Ok(0) => break,
                Ok(read) => offset += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // There may have been more room than was asked for.
        buffer.truncate(wanted);
        Ok(())
    }

    /// Reads once, into the room that `buffer` has left.
    fn fill_room(&self, buffer: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
        match &self.0 {
            Inner::Real(file) => Ok(rustix::io::pread(
                file,
                rustix::buffer::spare_capacity(buffer),
                offset,
            )?),
            #[cfg(feature = "simulation")]
            Inner::Simulated(file) => {
                faults::disk(Access::Read)?;
                let held = buffer.len();
                buffer.resize(buffer.capacity(), 0);
                let read = file.read_at(buffer.split_at_mut(held).1, offset);
                buffer.truncate(held + read.as_ref().copied().unwrap_or(0));
                read
            }
        }
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends first; the operating system's.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer = buffer.split_at_mut(count).1;
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset` without moving the cursor. On an error part of it may
    /// be in the file.
    ///
    /// # Errors
    /// The operating system's; a full disk among them.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = bytes.split_at(count).1;
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        #[cfg(feature = "simulation")]
        if let Inner::Simulated(file) = &self.0
            && bytes.len() > 1
            && faults::tears_writes()
        {
            let part = bytes.split_at(bytes.len() / 2).0;
            file.write_at(part, offset)?;
        }
        on!(&self.0, Write, file => file.write_at(bytes, offset))
    }

    /// Makes the contents and the length durable (`fdatasync`).
    ///
    /// # Errors
    /// The operating system's. After one, what was written since the last sync may be lost even
    /// if a later call succeeds.
    pub fn sync_data(&self) -> io::Result<()> {
        on!(&self.0, Sync, file => file.sync_data())
    }

    /// Makes contents and metadata durable (`fsync`). A new file's name needs [`sync_dir`] too.
    ///
    /// # Errors
    /// As for [`File::sync_data`].
    pub fn sync_all(&self) -> io::Result<()> {
        on!(&self.0, Sync, file => file.sync_all())
    }

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// The operating system's.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(feature = "simulation")]
        if let Inner::Simulated(file) = &self.0 {
            // A full disk allows to cut.
            faults::disk(if len > file.metadata()?.len() {
                Access::Write
            } else {
                Access::Remove
            })?;
        }
        match &self.0 {
            Inner::Real(file) => file.set_len(len),
            #[cfg(feature = "simulation")]
            Inner::Simulated(file) => file.set_len(len),
        }
    }

    /// Extends the file to `len` bytes of zeros with the blocks reserved, where the file system
    /// can reserve them; where it can't, only the length changes. Never shortens the file.
    ///
    /// # Errors
    /// The operating system's; a full disk among them, which is the point of reserving.
    pub fn preallocate(&self, len: u64) -> io::Result<()> {
        let current = self.len()?;
        if current >= len {
            return Ok(());
        }
        match &self.0 {
            Inner::Real(file) => {
                let nothing_special = rustix::fs::FallocateFlags::empty();
                match rustix::fs::fallocate(file, nothing_special, current, len - current) {
                    Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                        file.set_len(len)
                    }
                    reserved => Ok(reserved?),
                }
            }
            #[cfg(feature = "simulation")]
            Inner::Simulated(file) => {
                faults::disk(Access::Write)?;
                file.set_len(len)
            }
        }
    }

    /// Reserves blocks for `len` bytes from `from` on without changing the file's length; does
    /// nothing where the file system can't. [`File::set_len`] gives back what lies behind the
    /// length it is told.
    ///
    /// # Errors
    /// The operating system's; a full disk among them. A part may be reserved then.
    pub fn reserve(&self, from: u64, len: u64) -> io::Result<()> {
        match &self.0 {
            Inner::Real(file) => {
                let keep_size = rustix::fs::FallocateFlags::KEEP_SIZE;
                match rustix::fs::fallocate(file, keep_size, from, len) {
                    Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
                    reserved => Ok(reserved?),
                }
            }
            #[cfg(feature = "simulation")]
            Inner::Simulated(_) => faults::disk(Access::Write),
        }
    }

    /// Another handle on the same file, with a cursor that is shared or not as the system has it.
    ///
    /// # Errors
    /// The operating system's; out of file handles among them.
    pub fn try_clone(&self) -> io::Result<Self> {
        match &self.0 {
            Inner::Real(file) => Ok(Self(Inner::Real(file.try_clone()?))),
            #[cfg(feature = "simulation")]
            Inner::Simulated(file) => Ok(Self(Inner::Simulated(file.try_clone()?))),
        }
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        on!(&mut self.0, Read, file => file.read(buffer))
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        on!(&mut self.0, Write, file => file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        on!(&mut self.0, Write, file => file.flush())
    }
}

impl Seek for File {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        on!(&mut self.0, Read, file => file.seek(position))
    }
}

/// How to open a file; all off at first.
#[derive(Debug, Default, Clone, Copy)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
}

/// Writes one switch of [`OpenOptions`].
macro_rules! switches {
    ($($(#[$doc:meta])* $name:ident),*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, on: bool) -> Self {
                self.$name = on;
                self
            }
        )*
    };
}

impl OpenOptions {
    /// All switches off.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    switches! {
        /// To read.
        read,
        /// To write.
        write,
        /// To write, always at the end.
        append,
        /// Emptied at opening.
        truncate,
        /// Created if it isn't there.
        create,
        /// Created; an error if it is there.
        create_new
    }

    /// Opens `path`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        #[cfg(feature = "simulation")]
        if crate::simulated() {
            faults::disk(if self.create || self.create_new || self.truncate {
                Access::Write
            } else {
                Access::Read
            })?;
            let creates = (self.create || self.create_new) && !simulated::exists(path);
            let file = simulated::OpenOptions::new()
                .read(self.read)
                .write(self.write)
                .append(self.append)
                .truncate(self.truncate && !creates)
                .create(self.create)
                .create_new(self.create_new)
                .open(path)?;
            if creates {
                forget_removed(path, &file)?;
            }
            return Ok(File(Inner::Simulated(file)));
        }
        Ok(File(Inner::Real(
            std::fs::OpenOptions::new()
                .read(self.read)
                .write(self.write)
                .append(self.append)
                .truncate(self.truncate)
                .create(self.create)
                .create_new(self.create_new)
                .open(path)?,
        )))
    }
}

/// Keeps what a removed file held out of the new one in its place. turmoil keeps it until the
/// removal is durable, and writes that were not synced even longer.
#[cfg(feature = "simulation")]
fn forget_removed(path: &Path, file: &simulated::File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    simulated::sync_dir(path.parent().unwrap_or(Path::new("/")))?;
    file.sync_all()?;
    file.set_len(0)?;
    file.sync_all()
}

/// Length and kind of a file or folder.
#[derive(Debug, Clone, Copy)]
pub struct Metadata {
    len: u64,
    is_dir: bool,
    is_file: bool,
}

impl Metadata {
    /// Length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // the twin of std's
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.is_dir
    }

    /// Whether it is a file with bytes of its own, unlike a folder, a device or a pipe.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.is_file
    }
}

/// One entry of a folder.
#[derive(Debug, Clone)]
pub struct DirEntry {
    /// The entry's path, the folder's included.
    pub path: PathBuf,
    /// The entry's own name; bytes that aren't UTF-8 are replaced.
    pub file_name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Length in bytes.
    pub len: u64,
}

/// Chooses the simulated or the real twin of one function of `std::fs`.
macro_rules! twin {
    ($access:ident, $name:ident ( $($argument:expr),* )) => {{
        #[cfg(feature = "simulation")]
        if crate::simulated() {
            faults::disk(Access::$access)?;
            return simulated::$name($($argument),*);
        }
        std::fs::$name($($argument),*)
    }};
}

/// Creates a folder and those above it.
///
/// # Errors
/// The operating system's.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    twin!(Write, create_dir_all(path))
}

/// Renames a file or folder, replacing a file at `to`. Durable once both folders are synced.
///
/// # Errors
/// The operating system's.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    twin!(Write, rename(from, to))
}

/// Removes a file.
///
/// # Errors
/// The operating system's.
pub fn remove_file(path: &Path) -> io::Result<()> {
    twin!(Remove, remove_file(path))
}

/// Removes a folder with everything in it.
///
/// # Errors
/// The operating system's.
pub fn remove_dir_all(path: &Path) -> io::Result<()> {
    twin!(Remove, remove_dir_all(path))
}

/// A whole file.
///
/// # Errors
/// The operating system's.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    twin!(Read, read(path))
}

/// A whole file of UTF-8.
///
/// # Errors
/// The operating system's; [`io::ErrorKind::InvalidData`] when it isn't UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    twin!(Read, read_to_string(path))
}

/// Whether there is something at `path`.
#[must_use]
pub fn exists(path: &Path) -> bool {
    #[cfg(feature = "simulation")]
    if crate::simulated() {
        return simulated::exists(path);
    }
    path.exists()
}

/// Length and kind of what is at `path`.
///
/// # Errors
/// The operating system's.
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    #[cfg(feature = "simulation")]
    if crate::simulated() {
        faults::disk(Access::Read)?;
        let found = simulated::metadata(path)?;
        return Ok(Metadata {
            len: found.len(),
            is_dir: found.is_dir(),
            is_file: found.is_file(),
        });
    }
    let found = std::fs::metadata(path)?;
    Ok(Metadata {
        len: found.len(),
        is_dir: found.is_dir(),
        is_file: found.is_file(),
    })
}

/// A folder's entries, sorted by name. Entries that vanish meanwhile are left out.
///
/// # Errors
/// The operating system's.
pub fn read_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    let mut add = |path: PathBuf, file_name: String| {
        if let Ok(found) = metadata(&path) {
            entries.push(DirEntry {
                path,
                file_name,
                is_dir: found.is_dir(),
                len: found.len(),
            });
        }
    };
    let name_of = |name: std::ffi::OsString| name.to_string_lossy().into_owned();
    #[cfg(feature = "simulation")]
    if crate::simulated() {
        faults::disk(Access::Read)?;
        for entry in simulated::read_dir(path)? {
            let entry = entry?;
            add(entry.path(), name_of(entry.file_name()));
        }
        entries.sort_by(|a, b| a.file_name.cmp(&b.file_name));
        return Ok(entries);
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        add(entry.path(), name_of(entry.file_name()));
    }
    entries.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    Ok(entries)
}

/// How large a file system is and what is left of it for this user, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What can still be written.
    pub usable: u64,
}

/// The space of the file system that `path` is on.
///
/// # Errors
/// The operating system's; [`io::ErrorKind::Unsupported`] in a simulation, whose disk has no size.
pub fn space(path: &Path) -> io::Result<Space> {
    if crate::simulated() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let found = rustix::fs::statvfs(path)?;
    Ok(Space {
        total: found.f_blocks.saturating_mul(found.f_frsize),
        usable: found.f_bavail.saturating_mul(found.f_frsize),
    })
}

/// Makes a folder's entries durable: files created, renamed or removed in it.
///
/// # Errors
/// The operating system's.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    #[cfg(feature = "simulation")]
    if crate::simulated() {
        faults::disk(Access::Sync)?;
        return simulated::sync_dir(path);
    }
    std::fs::File::open(path)?.sync_all()
}

/// Replaces `path` by a file of `bytes` such that a crash leaves either the old or the new one,
/// whole and durable.
///
/// # Errors
/// The operating system's; the old file is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let file = File::create(&temporary)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    rename(&temporary, path)?;
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(folder) => sync_dir(folder),
        None => Ok(()),
    }
}

/// An exclusive claim on a folder, held through a lock on a file in it and given up when dropped
/// or when the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: Option<std::fs::File>,
}

impl FolderLock {
    /// Locks the file at `path`, creating it if needed.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another holds it; the operating system's.
    pub fn acquire(path: &Path) -> io::Result<Self> {
        if crate::simulated() {
            // A simulated host runs one process, and its crash ends every claim.
            return Ok(Self { _file: None });
        }
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        Self::lock(file)
    }

    /// Locks the folder itself and leaves nothing in it. Only for those who use this, too: it
    /// keeps nobody from using the folder, and not every system can lock one.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another holds it; the operating system's.
    pub fn of_folder(folder: &Path) -> io::Result<Self> {
        if crate::simulated() {
            return Ok(Self { _file: None });
        }
        Self::lock(std::fs::File::open(folder)?)
    }

    fn lock(file: std::fs::File) -> io::Result<Self> {
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(std::fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_replaces_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        write_atomic(&path, b"a longer first version").unwrap();
        write_atomic(&path, b"second").unwrap();
        assert_eq!(read(&path).unwrap(), b"second");
        assert_eq!(read_dir(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_folder_has_one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        let first = FolderLock::acquire(&path).unwrap();
        let second = FolderLock::acquire(&path).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        FolderLock::acquire(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_can_be_claimed_without_leaving_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::of_folder(folder.path()).unwrap();
        let second = FolderLock::of_folder(folder.path()).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        assert!(read_dir(folder.path()).unwrap().is_empty());
        drop(first);
        FolderLock::of_folder(folder.path()).unwrap();
    }

    #[test]
    fn appending_from_a_file_takes_what_is_asked_for_or_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        write_atomic(&path, b"0123456789").unwrap();
        let file = File::open(&path).unwrap();
        let mut buffer = Vec::with_capacity(100);
        buffer.push(b'>');
        file.append_from(&mut buffer, 3, 2).unwrap();
        assert_eq!(buffer, b">234");
        file.append_from(&mut buffer, 50, 7).unwrap();
        assert_eq!(buffer, b">234789");
    }

    #[test]
    fn reserving_leaves_the_length_and_a_cut_gives_it_back() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        let file = File::create(&path).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        file.sync_data().unwrap();
        let blocks = || std::fs::metadata(&path).unwrap().blocks();
        let before = blocks();
        file.reserve(3, 8 << 20).unwrap();
        assert_eq!(read(&path).unwrap(), b"abc");
        file.set_len(3).unwrap();
        assert_eq!(blocks(), before);
        assert_eq!(read(&path).unwrap(), b"abc");
    }

    #[test]
    fn preallocation_never_shortens() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(&folder.path().join("segment")).unwrap();
        file.preallocate(4096).unwrap();
        file.preallocate(10).unwrap();
        assert_eq!(file.len().unwrap(), 4096);
        file.write_all_at(b"abc", 1).unwrap();
        let mut got = [9; 4];
        let reader = File::open(&folder.path().join("segment")).unwrap();
        reader.read_exact_at(&mut got, 0).unwrap();
        assert_eq!(&got, b"\0abc");
    }
}
