//! Which partition a record goes to.

/// The partition that Java's default partitioner gives to a key, so that records with one key meet
/// in one partition whichever client wrote them. `partitions` must be positive.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// MurmurHash2 with the seed and signedness of Kafka's Java client.
fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word);
        k = k.wrapping_mul(M);
        k ^= k >> R;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M);
        hash ^= k;
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    hash.cast_signed()
}

/// Spreads records without a key: stays with one partition for a batch's worth of bytes, then
/// moves to another that has a leader, at random (KIP-480, KIP-794).
#[derive(Debug, Default)]
pub(super) struct Sticky {
    current: Option<usize>,
    bytes: usize,
}

impl Sticky {
    /// The partition for a record of `bytes`; `available` are those with a leader.
    pub(super) fn choose(
        &mut self,
        bytes: usize,
        batch_bytes: usize,
        available: &[usize],
        count: usize,
    ) -> usize {
        let stay = self
            .current
            .filter(|current| *current < count && self.bytes < batch_bytes);
        let chosen = stay.unwrap_or_else(|| {
            self.bytes = 0;
            if available.is_empty() {
                below(count)
            } else {
                available.get(below(available.len())).copied().unwrap_or(0)
            }
        });
        self.current = Some(chosen);
        self.bytes += bytes;
        chosen
    }
}

fn below(bound: usize) -> usize {
    if bound < 2 {
        return 0;
    }
    usize::try_from(platform::random::below(bound as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of `UtilsTest.testMurmur2` in Kafka's Java client.
    #[test]
    fn hashes_are_those_of_the_java_client() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
        assert_eq!(murmur2(b"abc"), 479_470_107);
    }

    #[test]
    fn a_key_always_meets_the_same_partition() {
        assert_eq!(
            partition_for_key(b"foobar", 7),
            partition_for_key(b"foobar", 7)
        );
        assert!((0..7).contains(&partition_for_key(b"x", 7)));
    }

    #[test]
    fn sticky_stays_for_a_batch_and_reaches_all_partitions_with_a_leader() {
        let mut sticky = Sticky::default();
        let first = sticky.choose(10, 100, &[0, 2, 3], 4);
        for _ in 1..10 {
            assert_eq!(sticky.choose(10, 100, &[0, 2, 3], 4), first);
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            seen.insert(sticky.choose(100, 100, &[0, 2, 3], 4));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 2, 3]);
    }
}
