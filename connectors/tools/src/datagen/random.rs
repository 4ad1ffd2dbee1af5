//! Numbers that look like chance and follow from a seed, so that a record can be made again.

/// SplitMix64 (Steele, Lea and Flood, 2014): small, fast, and any seed is as good as any other.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// For one record of one task.
    pub(crate) fn of(seed: i64, task: u32, number: u64) -> Self {
        let mut mixed = Self(seed.cast_unsigned());
        let task = mixed.next() ^ u64::from(task);
        let mut mixed = Self(task);
        Self(mixed.next() ^ number)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // Multiplying instead of dividing: as even as can be told, and without a loop.
        let wide = u128::from(self.next()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// An index into something of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// From `from` to `to`, both included.
    pub(crate) fn length(&mut self, (from, to): (usize, usize)) -> usize {
        from + self.index(to.saturating_sub(from).saturating_add(1))
    }

    /// From 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From `min` to below `max`.
    pub(crate) fn integer(&mut self, min: i64, max: i64) -> i64 {
        let span = i128::from(max) - i128::from(min);
        let span = u64::try_from(span.max(1)).unwrap_or(u64::MAX);
        min.wrapping_add_unsigned(self.below(span))
    }

    /// Any bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            let more = self.next().to_le_bytes();
            let left = count - bytes.len();
            bytes.extend(more.into_iter().take(left));
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_record_has_the_same_numbers_and_its_neighbours_have_others() {
        let draw = |seed, task, number| Random::of(seed, task, number).next();
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        let others = [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)];
        assert!(!others.contains(&draw(1, 2, 3)));
    }

    #[test]
    fn numbers_keep_their_limits() {
        let mut random = Random::of(-7, 0, 0);
        for _ in 0..1000 {
            assert!((-3..4).contains(&random.integer(-3, 4)));
            assert!((0.0..1.0).contains(&random.unit()));
            assert!((2..=5).contains(&random.length((2, 5))));
        }
        assert_eq!(random.integer(5, 5), 5);
        random.integer(i64::MIN, i64::MAX);
        assert_eq!(random.bytes(11).len(), 11);
    }
}
