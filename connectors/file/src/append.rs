//! A file that whole lines are appended to, so that a crash at any byte leaves nothing behind that the
//! next start cannot put right. Everything here blocks.
//!
//! A torn last line is one that was being written when the process or the machine died. Its record
//! was never flushed, so it comes again, and what is there of it is cut off. A last line without an end
//! may also be somebody else's, in a file that existed before; that one gets its end. What tells them
//! apart is a marker beside the file, `.<name>.connect-sink`, which is there while, and only while, a
//! sink writes: found at a start, it says that the last sink did not stop in order. It names the inode
//! that was written, so that a file put in its place meanwhile is somebody else's.
//!
//! Several tasks may append to the same file. Each holds a shared lock on it; only who can have it
//! exclusively repairs anything. Each writes under a lock on the marker, and takes back what it wrote of
//! a line that it cannot finish, so that nobody appends to half a line.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::FileError;
use crate::identity::{Identity, directory_of};

/// How far back the start of a torn line is looked for at once.
const SEARCH_BYTES: u64 = 64 * 1024;

/// What comes before the inode in a marker, and how much of a marker is read.
const INODE: &str = "inode ";
const MARKER_BYTES: u64 = 1024;

/// How long a write waits for the reader of a named pipe.
const PIPE_PATIENCE: Duration = Duration::from_secs(1);

/// How often it tries meanwhile.
const PIPE_PAUSE: Duration = Duration::from_millis(2);

/// How often and at what distance a lock is tried for that somebody else holds.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Appender {
    /// `None` for standard output.
    path: Option<PathBuf>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    identity: Identity,
    /// Not a pipe or a device: can be flushed, cut and locked.
    regular: bool,
    /// The marker was made, or could not be.
    marked: bool,
    /// The marker; locked for as long as a write takes.
    marker: Option<File>,
    /// Something was written since the last flush.
    unflushed: bool,
}

impl Appender {
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self { path, open: None }
    }

    /// Makes sure that the file at the path is open, and creates it if need be. True if it was opened
    /// now: then a line that was written in part has to be written again, from its start.
    ///
    /// # Errors
    /// Retriable: what the system says. Fatal: the file was deleted with lines that were not flushed.
    pub(crate) fn open(&mut self) -> Result<bool, FileError> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        if let Some(open) = &mut self.open {
            if fs::metadata(path).is_ok_and(|there| Identity::of(&there) == open.identity) {
                return Ok(false);
            }
            tracing::info!(file = %path.display(), "the file was moved or deleted; starting a new one");
            let deleted = open.unflushed && is_unlinked(&open.file);
            let flushed = open.flush(path);
            self.open = None;
            flushed?;
            if deleted {
                return Err(FileError::Unflushed {
                    what: "somebody deleted".to_owned(),
                    path: path.clone(),
                });
            }
        }
        self.open = Some(Open::at(path)?);
        Ok(true)
    }

    /// Writes as much of `lines` as the system takes at once; into a regular file, whole lines. Call
    /// [`Appender::open`] first.
    ///
    /// # Errors
    /// Nothing of `lines` was written; a further call goes on.
    pub(crate) fn write(&mut self, lines: &[u8]) -> Result<usize, FileError> {
        let Some(path) = &self.path else {
            let mut output = io::stdout().lock();
            let written = output.write_all(lines).and_then(|()| output.flush());
            return written
                .map(|()| lines.len())
                .map_err(|error| FileError::io("write to", Path::new("standard output"), error));
        };
        let Some(open) = &mut self.open else {
            return Err(FileError::io(
                "write to",
                path,
                io::ErrorKind::NotConnected.into(),
            ));
        };
        open.mark(path);
        open.unflushed = true;
        match open.write(lines) {
            Ok(written) => Ok(written),
            Err(error) => {
                // The server of a network file system has forgotten the file, and perhaps what was in it.
                if error.kind() == io::ErrorKind::StaleNetworkFileHandle {
                    let what = format!("{error} when writing to");
                    return Err(FileError::Unflushed {
                        what,
                        path: path.clone(),
                    });
                }
                if error.kind() == io::ErrorKind::BrokenPipe {
                    self.open = None;
                }
                Err(FileError::io("write to", path, error))
            }
        }
    }

    /// Makes everything written so far survive a power failure.
    ///
    /// # Errors
    /// Retriable: no space. Fatal: it is unknown what of it is on the disk.
    pub(crate) fn flush(&mut self) -> Result<(), FileError> {
        match (&self.path, &mut self.open) {
            (Some(path), Some(open)) => open.flush(path),
            _ => Ok(()),
        }
    }

    /// Closes the file in order, after whole lines.
    pub(crate) fn close(&mut self) {
        if let (Some(path), Some(open)) = (&self.path, self.open.take()) {
            open.unmark(path);
        }
    }
}

impl Open {
    fn at(path: &Path) -> Result<Self, FileError> {
        let failed = |error| FileError::io("open", path, error);
        let before = fs::metadata(path);
        if before.as_ref().is_ok_and(fs::Metadata::is_dir) {
            return Err(FileError::Directory {
                path: path.to_owned(),
            });
        }
        let regular = before.map_or(true, |metadata| metadata.is_file());
        let mut options = OpenOptions::new();
        options.append(true).create(true).read(regular);
        #[cfg(unix)]
        if !regular {
            use std::os::unix::fs::OpenOptionsExt;
            options.custom_flags(libc::O_NONBLOCK);
        }
        let file = options.open(path).map_err(failed)?;
        let identity = Identity::of(&file.metadata().map_err(failed)?);
        let mut open = Self {
            file,
            identity,
            regular,
            marked: false,
            marker: None,
            unflushed: false,
        };
        if regular {
            open.lock_and_repair(path).map_err(failed)?;
        }
        Ok(open)
    }

    /// Repairs the end of the file if nobody else writes to it, and tells others that we do.
    fn lock_and_repair(&mut self, path: &Path) -> io::Result<()> {
        match self.file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => {}
            // A file system without locks: as good as alone.
            locked => {
                self.repair(path)?;
                if locked.is_ok() {
                    self.file.unlock()?;
                }
            }
        }
        for _ in 0..LOCK_TRIES {
            match self.file.try_lock_shared() {
                Ok(()) => return Ok(()),
                // Somebody repairs it, which takes a moment.
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(fs::TryLockError::Error(_)) => break,
            }
        }
        tracing::debug!(file = %path.display(), "cannot lock the file; going on without");
        Ok(())
    }

    fn repair(&mut self, path: &Path) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let ours = was_writing(&marker_of(path), self.identity);
        let whole = end_of_last_line(&self.file, length)?;
        if whole == length {
            return Ok(());
        }
        if ours {
            tracing::info!(file = %path.display(), bytes = length - whole, "cutting a line that a crash tore off");
            self.file.set_len(whole)?;
        } else {
            tracing::info!(file = %path.display(), "ending the last line of the file before appending");
            self.file.write_all(b"\n")?;
        }
        self.file.sync_data()
    }

    fn write(&self, lines: &[u8]) -> io::Result<usize> {
        if !self.regular {
            return self.write_some(lines);
        }
        // Without a marker or locks: as good as alone.
        let locked = self.marker.as_ref().filter(|marker| marker.lock().is_ok());
        let written = self.write_whole(lines);
        if let Some(Err(error)) = locked.map(File::unlock) {
            tracing::debug!(%error, "cannot unlock the marker beside the file");
        }
        written
    }

    /// Writes at least one whole line, and ends behind one.
    fn write_whole(&self, lines: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        loop {
            match self.write_some(lines.get(written..).unwrap_or_default()) {
                Ok(more) => {
                    written += more;
                    let done = lines.get(..written).unwrap_or_default();
                    if written == lines.len() || done.ends_with(b"\n") {
                        return Ok(written);
                    }
                }
                Err(error) => {
                    let whole = end_of_lines(lines.get(..written).unwrap_or_default());
                    let length = self.file.metadata()?.len();
                    let torn = (written - whole) as u64;
                    if torn > 0 {
                        self.file.set_len(length.saturating_sub(torn))?;
                    }
                    return if whole > 0 { Ok(whole) } else { Err(error) };
                }
            }
        }
    }

    fn write_some(&self, lines: &[u8]) -> io::Result<usize> {
        let start = Instant::now();
        loop {
            match (&self.file).write(lines) {
                Ok(0) if !lines.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && start.elapsed() < PIPE_PATIENCE =>
                {
                    std::thread::sleep(PIPE_PAUSE);
                }
                done => return done,
            }
        }
    }

    fn flush(&mut self, path: &Path) -> Result<(), FileError> {
        if self.regular && self.unflushed {
            self.file.sync_data().map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    FileError::io("flush", path, error)
                }
                // The system may have dropped what it could not write, and says so only once.
                _ => FileError::Unflushed {
                    what: format!("{error} when flushing"),
                    path: path.to_owned(),
                },
            })?;
        }
        self.unflushed = false;
        Ok(())
    }

    /// Puts the marker beside the file before the first write.
    fn mark(&mut self, path: &Path) {
        if self.marked || !self.regular {
            return;
        }
        self.marked = true;
        let marker = marker_of(path);
        match make_marker(&marker, self.identity) {
            Ok(made) => self.marker = Some(made),
            // A torn line is then ended instead of cut.
            Err(error) => {
                tracing::debug!(marker = %marker.display(), %error, "cannot make a marker beside the file");
            }
        }
    }

    /// Takes the marker away, unless another task still writes.
    fn unmark(self, path: &Path) {
        let alone = self.regular
            && self.file.unlock().is_ok()
            && !matches!(self.file.try_lock(), Err(fs::TryLockError::WouldBlock));
        if !alone {
            return;
        }
        match fs::remove_file(marker_of(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(file = %path.display(), %error, "cannot remove the marker beside the file");
            }
            _ => {}
        }
    }
}

/// The marker of a file.
pub(crate) fn marker_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".connect-sink");
    path.with_file_name(name)
}

fn make_marker(marker: &Path, identity: Identity) -> io::Result<File> {
    let mut text =
        "A file sink writes to this file. If it crashes, its next start cuts a torn last line.\n"
            .to_owned();
    if let Some(inode) = identity.inode() {
        text += &format!("{INODE}{inode}\n");
    }
    let mut file = File::create(marker)?;
    file.write_all(text.as_bytes())?;
    sync_directory(marker)?;
    Ok(file)
}

/// Whether there is a marker, and not of another file that was at this path.
fn was_writing(marker: &Path, identity: Identity) -> bool {
    let mut text = String::new();
    match File::open(marker).map(|file| file.take(MARKER_BYTES).read_to_string(&mut text)) {
        Err(error) => error.kind() != io::ErrorKind::NotFound,
        Ok(_) => {
            let named = text.lines().find_map(|line| line.strip_prefix(INODE));
            named.is_none_or(|named| named.parse().ok() == identity.inode())
        }
    }
}

/// The length of the whole lines at the front of `lines`.
pub(crate) fn end_of_lines(lines: &[u8]) -> usize {
    memchr::memrchr(b'\n', lines).map_or(0, |at| at + 1)
}

/// The position behind the last `\n` of a file that is `length` bytes long.
fn end_of_last_line(mut file: &File, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(if end == length { 1 } else { SEARCH_BYTES });
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(at) = memchr::memrchr(b'\n', &block) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Makes a new name in the directory survive a power failure.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(directory_of(path))?.sync_all()
    } else {
        Ok(())
    }
}

#[cfg(unix)]
fn is_unlinked(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

#[cfg(not(unix))]
fn is_unlinked(_file: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    struct World {
        directory: TempDir,
        path: PathBuf,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("test.sink.txt");
            Self { directory, path }
        }

        fn open(&self) -> Appender {
            let mut appender = Appender::new(Some(self.path.clone()));
            appender.open().unwrap();
            appender
        }

        fn append(&self, lines: &str) {
            let mut appender = self.open();
            appender.write(lines.as_bytes()).unwrap();
            appender.flush().unwrap();
            appender.close();
        }

        fn content(&self) -> String {
            fs::read_to_string(&self.path).unwrap()
        }
    }

    #[test]
    fn a_torn_line_is_cut_wherever_it_was_torn() {
        let whole = "one\ntwo\nthree\n";
        for length in 0..=whole.len() {
            let world = World::new();
            fs::write(&world.path, &whole[..length]).unwrap();
            fs::write(marker_of(&world.path), "").unwrap();
            world.append("next\n");
            let kept = whole[..length].rfind('\n').map_or(0, |at| at + 1);
            assert_eq!(world.content(), format!("{}next\n", &whole[..kept]));
            assert!(!marker_of(&world.path).exists());
        }
    }

    #[test]
    fn a_long_torn_line_is_cut() {
        let world = World::new();
        fs::write(&world.path, format!("one\n{}", "x".repeat(300_000))).unwrap();
        fs::write(marker_of(&world.path), "").unwrap();
        drop(world.open());
        assert_eq!(world.content(), "one\n");
    }

    #[test]
    fn somebody_elses_last_line_is_kept_and_ended() {
        let world = World::new();
        fs::write(&world.path, "one\nmine").unwrap();
        world.append("next\n");
        assert_eq!(world.content(), "one\nmine\nnext\n");
    }

    #[test]
    fn the_marker_is_there_while_and_only_while_a_sink_writes() {
        let world = World::new();
        let mut first = world.open();
        assert!(!marker_of(&world.path).exists());
        first.write(b"one\n").unwrap();
        assert!(marker_of(&world.path).exists());
        let mut second = world.open();
        second.write(b"two\n").unwrap();
        first.close();
        assert!(marker_of(&world.path).exists(), "the second still writes");
        second.close();
        assert!(!marker_of(&world.path).exists());
    }

    #[test]
    fn a_file_put_in_place_after_a_crash_is_ended_and_not_cut() {
        let world = World::new();
        let mut crashed = world.open();
        crashed.write(b"one\n").unwrap();
        drop(crashed);
        let edited = world.directory.path().join("edited");
        fs::write(&edited, "one\nby hand").unwrap();
        fs::rename(edited, &world.path).unwrap();
        world.append("next\n");
        assert_eq!(world.content(), "one\nby hand\nnext\n");
    }

    #[test]
    fn nothing_is_cut_while_another_task_writes() {
        let world = World::new();
        let mut first = world.open();
        first.write(b"one\nhal").unwrap();
        let mut second = world.open();
        assert_eq!(world.content(), "one\nhal");
        second.close();
    }

    #[test]
    fn a_moved_file_is_left_and_a_new_one_started() {
        let world = World::new();
        let mut appender = world.open();
        appender.write(b"one\n").unwrap();
        let moved = world.directory.path().join("moved");
        fs::rename(&world.path, &moved).unwrap();
        assert!(appender.open().unwrap());
        appender.write(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(moved).unwrap(), "one\n");
        assert_eq!(world.content(), "two\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_deleted_file_is_an_error_only_with_unflushed_lines() {
        let world = World::new();
        let mut appender = world.open();
        appender.write(b"one\n").unwrap();
        appender.flush().unwrap();
        fs::remove_file(&world.path).unwrap();
        assert!(appender.open().unwrap());
        appender.write(b"two\n").unwrap();
        fs::remove_file(&world.path).unwrap();
        let error = appender.open().unwrap_err();
        assert!(matches!(error, FileError::Unflushed { .. }), "{error}");
    }

    #[test]
    fn a_missing_directory_says_what_to_do() {
        let mut appender = Appender::new(Some(PathBuf::from("/nonexistent-directory/sink.txt")));
        let error = appender.open().unwrap_err().to_string();
        assert!(
            error.contains("/nonexistent-directory/sink.txt")
                && error.contains("create the missing directory"),
            "{error}"
        );
    }
}
