//! Which partition of `__consumer_offsets` a group lives in.

/// The partition of `group`: Java's `String.hashCode` without its sign bit, modulo `partitions`,
/// exactly as Kafka places it, so that tools can compute it.
pub(crate) fn partition_for(group: &str, partitions: i32) -> i32 {
    let hash = group.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    (hash & 0x7fff_ffff).checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::partition_for;

    #[test]
    fn groups_are_placed_by_javas_string_hash() {
        // "hello".hashCode() == 99162322; "polygenelubricants".hashCode() == Integer.MIN_VALUE
        assert_eq!(partition_for("hello", 50), 99_162_322 % 50);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("", 50), 0);
        // "ü".hashCode() == 252
        assert_eq!(partition_for("ü", 50), 2);
    }

    #[test]
    fn a_topic_without_partitions_does_not_divide_by_zero() {
        assert_eq!(partition_for("group", 0), 0);
    }
}
