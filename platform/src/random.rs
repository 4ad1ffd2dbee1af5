//! Random numbers: from the operating system, or from a seed that a simulation sets for its
//! thread so that the run can be repeated.

use std::cell::Cell;

thread_local! {
    /// State of the seeded generator; `None` outside a seeded run.
    static SEEDED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes every number drawn on this thread follow from `seed`, until [`unseed`].
pub fn seed(seed: u64) {
    SEEDED.set(Some(seed));
}

/// Returns this thread to the operating system's randomness.
pub fn unseed() {
    SEEDED.set(None);
}

/// A random 64-bit number.
///
/// # Panics
/// When the operating system has no randomness to give, which leaves no safe way on.
#[must_use]
pub fn u64() -> u64 {
    if let Some(state) = SEEDED.get() {
        // SplitMix64 (Steele, Lea, Flood 2014).
        let state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        SEEDED.set(Some(state));
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        return z ^ (z >> 31);
    }
    match getrandom::u64() {
        Ok(value) => value,
        Err(error) => panic!("the operating system gives no random numbers: {error}"),
    }
}

/// Fills `buffer` with random bytes.
pub fn fill(buffer: &mut [u8]) {
    for chunk in buffer.chunks_mut(8) {
        let bytes = u64().to_le_bytes();
        for (to, from) in chunk.iter_mut().zip(bytes) {
            *to = from;
        }
    }
}

/// A random number in `0..bound`; 0 when `bound` is 0.
#[must_use]
pub fn below(bound: u64) -> u64 {
    // Multiply-shift: the bias is under bound / 2^64, which nothing here can notice.
    u64::try_from((u128::from(u64()) * u128::from(bound)) >> 64).unwrap_or(0)
}

/// A random version 4 UUID (RFC 9562). Kafka writes them in URL-safe base 64, where none may begin with
/// `-`: command lines would take it for a flag.
#[must_use]
pub fn uuid() -> [u8; 16] {
    loop {
        let bits = (u128::from(u64()) << 64) | u128::from(u64());
        let bits = bits & !(0xF000 << 64) & !(0xC000 << 48);
        let bits = bits | (0x4000 << 64) | (0x8000 << 48);
        if bits >> 122 != DASH {
            return bits.to_be_bytes();
        }
    }
}

/// The six bits that are `-` in URL-safe base 64.
const DASH: u128 = 62;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_uuid_begins_with_a_dash_in_base_64() {
        seed(1);
        let first: std::collections::BTreeSet<u8> = (0..10_000).map(|_| uuid()[0] >> 2).collect();
        unseed();
        assert!(!first.contains(&62));
        assert_eq!(first.len(), 63, "every other letter is drawn");
    }

    #[test]
    fn a_seed_repeats_its_numbers() {
        seed(7);
        let first: Vec<u64> = (0..4).map(|_| u64()).collect();
        seed(7);
        let second: Vec<u64> = (0..4).map(|_| u64()).collect();
        unseed();
        assert_eq!(first, second);
        assert!((0..1000).all(|_| below(10) < 10));
    }

    #[test]
    fn a_uuid_says_its_version_and_variant() {
        let uuid = uuid();
        assert_eq!(uuid[6] >> 4, 4);
        assert_eq!(uuid[8] >> 6, 0b10);
    }
}
