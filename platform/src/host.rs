//! Which machine this is.

/// The machine's name, as its operating system knows it; empty where there is none. In a
/// simulation all hosts are one process, and have no names here.
#[must_use]
pub fn name() -> String {
    if crate::simulated() {
        return String::new();
    }
    #[cfg(unix)]
    {
        let system = rustix::system::uname();
        system.nodename().to_string_lossy().into_owned()
    }
    #[cfg(not(unix))]
    {
        std::env::var("COMPUTERNAME").unwrap_or_default()
    }
}

/// Names the time since the machine was last started: what was written before and not flushed may
/// be gone. Empty where the operating system does not say; in a simulation every call is another
/// boot, because a simulated crash takes what was not flushed.
#[must_use]
pub fn boot_id() -> String {
    if crate::simulated() {
        return crate::random::u64().to_string();
    }
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_has_the_same_name_every_time() {
        assert_eq!(super::name(), super::name());
    }
}
