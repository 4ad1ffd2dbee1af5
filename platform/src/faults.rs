//! What goes wrong with a simulated machine besides its network: its disk refuses, its clock is
//! off. Faults belong to a host by name; one that never said its name has none.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use turmoil::fs::shim::std::fs as simulated;

/// Each simulated host has files of its own, so that a file can say which host this is.
const NAME: &str = "/.host";

/// What a disk refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// No room: writes end in the middle with `ENOSPC`, nothing new can be created.
    Full,
    /// Writes and syncs fail with `EIO`; what is there can be read.
    Writes,
    /// Nothing works: `EIO` for everything.
    Everything,
    /// What is written seems to be taken, but syncs fail with `EIO`.
    Syncs,
}

/// What a caller is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// Takes away, which a full disk allows.
    Remove,
    Sync,
}

#[derive(Debug, Default, Clone, Copy)]
struct Faults {
    disk: Option<DiskFault>,
    /// Milliseconds that the clock is ahead; behind if negative.
    clock_ms: i64,
}

thread_local! {
    /// A simulation has one thread. Hosts without faults are not in here.
    static FAULTS: RefCell<BTreeMap<String, Faults>> = const { RefCell::new(BTreeMap::new()) };
}

/// Tells which host the caller runs on, so that faults can be given to it. Call it on the host,
/// each time it starts.
///
/// # Errors
/// Those of the simulated file system.
pub fn name_host(name: &str) -> io::Result<()> {
    simulated::write(NAME, name)?;
    simulated::OpenOptions::new()
        .write(true)
        .open(NAME)?
        .sync_all()?;
    simulated::sync_dir("/")
}

/// Breaks or (with `None`) repairs the disk of a host. Call it from outside the host's code.
pub fn set_disk(host: &str, fault: Option<DiskFault>) {
    change(host, |faults| faults.disk = fault);
}

/// Sets a host's wall clock off by so many milliseconds.
pub fn set_clock(host: &str, ahead_ms: i64) {
    change(host, |faults| faults.clock_ms = ahead_ms);
}

/// Repairs everything, for the next simulation on this thread.
pub fn clear() {
    FAULTS.with_borrow_mut(BTreeMap::clear);
}

fn change(host: &str, change: impl FnOnce(&mut Faults)) {
    FAULTS.with_borrow_mut(|all| {
        let faults = all.entry(host.to_owned()).or_default();
        change(faults);
        if faults.disk.is_none() && faults.clock_ms == 0 {
            all.remove(host);
        }
    });
}

fn here() -> Faults {
    if FAULTS.with_borrow(BTreeMap::is_empty) {
        return Faults::default();
    }
    let Ok(name) = simulated::read_to_string(Path::new(NAME)) else {
        return Faults::default();
    };
    FAULTS.with_borrow(|all| all.get(&name).copied().unwrap_or_default())
}

/// Fails as the disk of the calling host does at present.
pub(crate) fn disk(access: Access) -> io::Result<()> {
    let error = match (here().disk, access) {
        (None, _)
        | (Some(DiskFault::Full), Access::Read | Access::Remove | Access::Sync)
        | (Some(DiskFault::Writes), Access::Read)
        | (Some(DiskFault::Syncs), Access::Read | Access::Write | Access::Remove) => return Ok(()),
        (Some(DiskFault::Full), Access::Write) => rustix::io::Errno::NOSPC,
        (Some(DiskFault::Writes), Access::Write | Access::Remove | Access::Sync)
        | (Some(DiskFault::Syncs), Access::Sync)
        | (Some(DiskFault::Everything), _) => rustix::io::Errno::IO,
    };
    Err(error.into())
}

/// Whether what is written to a full disk is taken in part before it fails.
pub(crate) fn tears_writes() -> bool {
    here().disk == Some(DiskFault::Full)
}

/// A host's time, given the right one.
pub(crate) fn clock(right: Duration) -> Duration {
    let off = here().clock_ms;
    let by = Duration::from_millis(off.unsigned_abs());
    if off < 0 {
        right.saturating_sub(by)
    } else {
        right + by
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{self, File};

    #[test]
    fn a_fault_strikes_the_host_it_was_given_to() {
        clear();
        let mut sim = turmoil::Builder::new().build();
        for host in ["sick", "well"] {
            sim.client(host, async move {
                name_host(host)?;
                let path = Path::new("/log");
                let file = File::create(path)?;
                file.write_all_at(b"before", 0)?;
                tokio::time::sleep(Duration::from_secs(2)).await;
                let written = file.write_all_at(b"during", 6);
                let since = crate::clock::since_epoch();
                if host == "sick" {
                    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
                    assert_eq!(fs::read(path)?, b"beforedur", "torn in the middle");
                    assert!(File::create(Path::new("/other")).is_err());
                } else {
                    written?;
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
                file.write_all_at(b"after", 12)?;
                file.sync_all()?;
                let passed = crate::clock::since_epoch() - since;
                assert_eq!(passed > Duration::from_secs(3), host == "sick");
                Ok(())
            });
        }
        let began = sim.elapsed();
        while sim.elapsed() < began + Duration::from_secs(1) {
            sim.step().unwrap();
        }
        set_disk("sick", Some(DiskFault::Full));
        set_clock("sick", -3000);
        while sim.elapsed() < began + Duration::from_secs(3) {
            sim.step().unwrap();
        }
        clear();
        sim.run().unwrap();
    }

    #[test]
    fn each_fault_refuses_what_it_says() {
        let refused = |fault| {
            let mut sim = turmoil::Builder::new().build();
            set_disk("one", Some(fault));
            sim.client("one", async {
                // Before the host has a name it has no faults.
                assert!(disk(Access::Sync).is_ok());
                name_host("one")?;
                let access = [Access::Read, Access::Write, Access::Sync];
                let refused = access.map(|access| disk(access).is_err());
                RESULT.set(refused);
                Ok(())
            });
            sim.run().unwrap();
            clear();
            RESULT.get()
        };
        thread_local!(static RESULT: std::cell::Cell<[bool; 3]> = const { std::cell::Cell::new([false; 3]) });
        assert_eq!(refused(DiskFault::Full), [false, true, false]);
        assert_eq!(refused(DiskFault::Writes), [false, true, true]);
        assert_eq!(refused(DiskFault::Syncs), [false, false, true]);
        assert_eq!(refused(DiskFault::Everything), [true, true, true]);
    }

    #[test]
    fn a_file_holds_nothing_of_a_removed_one_in_its_place() {
        clear();
        let mut sim = turmoil::Builder::new().build();
        sim.client("host", async {
            for synced in [false, true] {
                let path = Path::new("/log");
                let old = File::create(path)?;
                old.write_all_at(b"old bytes", 4)?;
                if synced {
                    old.sync_all()?;
                    fs::sync_dir(Path::new("/"))?;
                }
                fs::remove_file(path)?;
                let new = File::create(path)?;
                assert_eq!(fs::read(path)?, b"");
                new.write_all_at(b"new", 0)?;
                new.sync_all()?;
                fs::sync_dir(Path::new("/"))?;
                assert_eq!(fs::read(path)?, b"new");
                fs::remove_file(path)?;
            }
            Ok(())
        });
        sim.run().unwrap();
    }
}
