//! What a topic may be called.

/// The longest name, so that a partition's folder fits into a file name.
const LENGTH_MAX: usize = 249;

/// Checks a name.
///
/// # Errors
/// Why it is not one.
pub(crate) fn check(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a topic name must not be empty".to_owned());
    }
    if name == "." || name == ".." {
        return Err(format!(
            "topic name \"{name}\" is not allowed; choose another name"
        ));
    }
    if name.len() > LENGTH_MAX {
        return Err(format!(
            "topic name of {} characters is too long; use at most {LENGTH_MAX}",
            name.len()
        ));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(allowed) {
        return Err(format!(
            "topic name \"{}\" is not allowed; use letters, digits, '.', '_' and '-'",
            name.escape_debug()
        ));
    }
    Ok(())
}

/// Whether two different names would get the same name in metrics, where `.` becomes `_`.
pub(crate) fn collide(a: &str, b: &str) -> bool {
    let same = |(a, b): (u8, u8)| a == b || (matches!(a, b'.' | b'_') && matches!(b, b'.' | b'_'));
    a != b && a.len() == b.len() && a.bytes().zip(b.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        for good in ["a", "orders.v1", "_x-Y.9", &"n".repeat(249)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"n".repeat(250)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dot_and_underscore_collide() {
        assert!(collide("a.b", "a_b"));
        assert!(!collide("a.b", "a.b"));
        assert!(!collide("a.b", "a-b"));
        assert!(!collide("a.b", "a_bc"));
    }
}
