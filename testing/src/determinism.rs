//! Makes a process repeatable: what the standard library and tokio draw from the operating system
//! (the order of hash maps, which branch of a `select!` is looked at first) follows from a seed.
//!
//! Hash maps take their keys once per thread and tokio counts its runtimes, so that a run repeats
//! only as the first one of its process; see [`in_own_process`].
#![allow(unsafe_code)] // one function of the C library is replaced; its safety is argued there

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Seed of what the system gives; 0 for real randomness.
static SEED: AtomicU64 = AtomicU64::new(0);

/// Runs `work` on a new thread with everything random following from `seed`. The process has no
/// randomness but this from now on.
///
/// # Panics
/// As `work` does.
pub fn seeded<T: Send + 'static>(seed: u64, work: impl FnOnce() -> T + Send + 'static) -> T {
    SEED.store(seed.wrapping_add(1).max(1), Ordering::SeqCst);
    match std::thread::spawn(work).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs one ignored test of this test binary in a process of its own, with an environment variable
/// set; what it printed. A process that takes longer than `patience` is ended.
///
/// # Errors
/// What it printed, if it failed or took too long.
pub fn in_own_process(
    test: &str,
    variable: (&str, &str),
    patience: Duration,
) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    let binary = std::env::current_exe().map_err(failed)?;
    let output = tempfile::NamedTempFile::new().map_err(failed)?;
    let printed =
        || std::fs::read(output.path()).map(|text| String::from_utf8_lossy(&text).into_owned());
    // One position in the file for both, or they write over each other.
    let both = output.reopen().map_err(failed)?;
    let mut child = Command::new(binary)
        .args([
            "--exact",
            test,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(variable.0, variable.1)
        .stdout(both.try_clone().map_err(failed)?)
        .stderr(both)
        .spawn()
        .map_err(failed)?;
    let began = Instant::now();
    loop {
        match child.try_wait().map_err(failed)? {
            Some(status) if status.success() => return printed().map_err(failed),
            Some(_) => return Err(printed().map_err(failed)?),
            None if began.elapsed() > patience => {
                child.kill().map_err(failed)?;
                child.wait().map_err(failed)?;
                return Err(format!(
                    "no end after {patience:?}\n{}",
                    printed().map_err(failed)?
                ));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Takes the place of the C library's function of this name, which the standard library asks for
/// the keys of its hash maps.
///
/// # Safety
/// As there: `buffer` is valid for writes of `length` bytes. Every byte written is within.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    let seed = SEED.load(Ordering::SeqCst);
    if seed == 0 {
        // SAFETY: the caller's promise is the system call's as well.
        let taken = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
        return isize::try_from(taken).unwrap_or(-1);
    }
    // The same for every call, so that it doesn't matter who else asks, and when.
    let bytes = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    for at in 0..length {
        let byte = bytes.get(at % bytes.len()).copied().unwrap_or(0);
        // SAFETY: `at` is below `length`, for which the caller promises that it may be written.
        unsafe { buffer.add(at).write(byte) };
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}
