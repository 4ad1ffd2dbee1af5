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

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_has_the_same_name_every_time() {
        assert_eq!(super::name(), super::name());
    }
}
