//! Which version of a plugin a request wants: one, or Maven's ranges (KIP-891). There is one version of
//! each plugin here, the one that was compiled in.

use std::cmp::Ordering;

/// Whether a version is wanted; `None` if nobody can tell what is.
pub(super) fn is_wanted(wanted: &str, version: &str) -> Option<bool> {
    let wanted = wanted.trim();
    if wanted.is_empty() {
        return None;
    }
    if wanted.eq_ignore_ascii_case("latest") {
        return Some(true);
    }
    if !wanted.starts_with(['[', '(']) {
        return Some(compare(version, wanted) == Ordering::Equal);
    }
    // One of several ranges is enough: `(,1.0],[1.2,)`.
    let mut rest = wanted;
    let mut fits = false;
    loop {
        let end = rest.find([']', ')'])?;
        let (range, behind) = rest.split_at_checked(end + 1)?;
        fits |= is_within(range, version)?;
        rest = behind.trim_start();
        if rest.is_empty() {
            return Some(fits);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

fn is_within(range: &str, version: &str) -> Option<bool> {
    let opened = range.strip_prefix('[').map(|inner| (inner, true));
    let (inner, from_included) =
        opened.or_else(|| range.strip_prefix('(').map(|inner| (inner, false)))?;
    let closed = inner.strip_suffix(']').map(|inner| (inner, true));
    let (inner, to_included) =
        closed.or_else(|| inner.strip_suffix(')').map(|inner| (inner, false)))?;
    let Some((from, to)) = inner.split_once(',') else {
        let only = inner.trim();
        let exact = from_included && to_included && !only.is_empty();
        return exact.then(|| compare(version, only) == Ordering::Equal);
    };
    let above = match from.trim() {
        "" => true,
        from => match compare(version, from) {
            Ordering::Greater => true,
            Ordering::Equal => from_included,
            Ordering::Less => false,
        },
    };
    let below = match to.trim() {
        "" => true,
        to => match compare(version, to) {
            Ordering::Less => true,
            Ordering::Equal => to_included,
            Ordering::Greater => false,
        },
    };
    Some(above && below)
}

/// Compares part by part, numbers as numbers; `1.0` is `1`, and `1.0-beta` comes before both.
fn compare(left: &str, right: &str) -> Ordering {
    let (left, left_beta) = left.split_once('-').unwrap_or((left, ""));
    let (right, right_beta) = right.split_once('-').unwrap_or((right, ""));
    let (mut lefts, mut rights) = (left.split('.'), right.split('.'));
    loop {
        let (one, other) = match (lefts.next(), rights.next()) {
            (None, None) => break,
            (one, other) => (one.unwrap_or("0"), other.unwrap_or("0")),
        };
        let order = match (one.parse::<u64>(), other.parse::<u64>()) {
            (Ok(one), Ok(other)) => one.cmp(&other),
            _ => one.cmp(other),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    match (left_beta.is_empty(), right_beta.is_empty()) {
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ => left_beta.cmp(right_beta),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_ranges_of_them_are_understood() {
        for (wanted, version, expected) in [
            ("latest", "0.1.0", Some(true)),
            ("0.1.0", "0.1.0", Some(true)),
            ("0.1", "0.1.0", Some(true)),
            ("0.2", "0.10", Some(false)),
            ("[0.2,0.11)", "0.10", Some(true)),
            ("[0.1.0]", "0.1.0", Some(true)),
            ("(0.1.0,)", "0.1.0", Some(false)),
            ("[0.1.0,1.0)", "0.1.0", Some(true)),
            ("(,0.1.0)", "0.1.0", Some(false)),
            ("(,0.0.9],[0.1,)", "0.1.0", Some(true)),
            ("(,1.0)", "1.0-beta", Some(true)),
            ("[1.0", "1.0", None),
            ("(1.0)", "1.0", None),
            ("[1.0] [2.0]", "1.0", None),
            ("[]", "1.0", None),
            (" ", "1.0", None),
        ] {
            assert_eq!(is_wanted(wanted, version), expected, "{wanted} {version}");
        }
    }
}
