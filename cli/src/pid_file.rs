//! A pid file that tells a running process from a leftover: the process holds a lock on it for as
//! long as it lives, so a file without a lock is stale whatever number it holds.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::CliError;

/// The pid file of this process; it goes away with the value.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl PidFile {
    /// Writes this process's id to `path`, whose folder must exist.
    ///
    /// # Errors
    /// When a running process holds the file, or the system refuses.
    pub fn create(path: &Path) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| {
            CliError::failed(format!(
                "cannot write the pid file \"{}\": {error}",
                path.display()
            ))
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid =
                    read_pid(&mut file).map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                return Err(CliError::failed(format!(
                    "a broker is already running here (pid {pid}, pid file \"{}\"); stop it with \
                     'connect broker stop', or give this one another data folder",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            _file: file,
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if std::fs::remove_file(&self.path).is_err() {
            // Without its lock it counts as stale anyway.
        }
    }
}

/// The id of the process that holds the pid file at `path`; `None` when there is no such process.
///
/// # Errors
/// When the file cannot be read, or a process holds it and it contains no process id.
pub fn running(path: &Path) -> Result<Option<i32>, CliError> {
    let failed = |error: std::io::Error| {
        CliError::failed(format!(
            "cannot read the pid file \"{}\": {error}",
            path.display()
        ))
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error)),
        Err(TryLockError::WouldBlock) => match read_pid(&mut file) {
            Some(pid) => Ok(Some(pid)),
            None => Err(CliError::failed(format!(
                "the pid file \"{}\" holds no process id",
                path.display()
            ))),
        },
    }
}

fn read_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_file_names_its_process_and_a_dropped_one_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.pid");
        let held = PidFile::create(&path).unwrap();
        assert_eq!(
            running(&path).unwrap(),
            Some(std::process::id().cast_signed())
        );
        assert!(
            PidFile::create(&path)
                .unwrap_err()
                .to_string()
                .contains("already running")
        );
        drop(held);
        assert_eq!(running(&path).unwrap(), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_without_a_lock_is_stale() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.pid");
        std::fs::write(&path, "1\n").unwrap();
        assert_eq!(running(&path).unwrap(), None);
        assert!(PidFile::create(&path).is_ok());
    }
}
