//! How the C library's allocator treats blocks of the size of a record batch.
//!
//! By itself glibc gives such blocks back to the system and takes them anew, again and again: a page
//! fault for every 4 KiB that moves. Its limits are raised so that it keeps some.
//!
//! # Safety
//! This is the one module of the crate with `unsafe`: `mallopt` takes two numbers, checks them and
//! touches nothing of ours.
#![allow(unsafe_code)]

/// Blocks up to this size come from memory that is kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BLOCK_BYTES: i32 = 8 * 1024 * 1024;

/// Free memory beyond this is given back.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_FREE_BYTES: i32 = 32 * 1024 * 1024;

/// Arenas that keep memory apart from each other.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_MAX: i32 = 4;

/// Sets the limits; false if the allocator refused one, which costs speed and nothing else.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn keep_blocks() -> bool {
    let limits = [
        (libc::M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES),
        (libc::M_TRIM_THRESHOLD, KEPT_FREE_BYTES),
        (libc::M_ARENA_MAX, ARENAS_MAX),
    ];
    limits
        .into_iter()
        // SAFETY: see the module.
        .map(|(limit, value)| unsafe { libc::mallopt(limit, value) })
        .fold(true, |all, taken| all & (taken == 1))
}

/// Other allocators keep their blocks by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_blocks() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_takes_the_limits() {
        assert!(keep_blocks());
    }
}
