//! Zig-zag variable-length integers (the encoding of Protocol Buffers), as record fields use them.

/// The most bytes a 64-bit varint takes.
pub(crate) const MAX_BYTES: usize = 10;

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Bytes that `value` takes.
pub(crate) fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// A small fixed buffer that collects the fields before a record's payload, so that they reach the batch with
/// one copy of constant size.
pub(crate) struct Prefix {
    bytes: [u8; Prefix::CAPACITY],
    len: usize,
}

impl Prefix {
    /// Room for five varints and the attributes byte.
    pub(crate) const CAPACITY: usize = 48;

    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; Self::CAPACITY],
            len: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn byte(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    #[inline(always)]
    pub(crate) fn varint(&mut self, value: i64) {
        let mut rest = zigzag(value);
        while rest >= 0x80 {
            self.byte((rest as u8) | 0x80);
            rest >>= 7;
        }
        self.byte(rest as u8);
    }

    /// Appends the collected bytes to `out`.
    #[inline(always)]
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }
}

/// Appends `value` to `out`.
pub(crate) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Reads fields from a slice; every method answers `None` when the bytes end or make no sense.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn at(data: &'a [u8], position: usize) -> Self {
        Self { data, position }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.data.len().saturating_sub(self.position)
    }

    #[inline(always)]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.data.get(self.position)?;
        self.position += 1;
        Some(byte)
    }

    /// A varint of up to 64 bits.
    #[inline(always)]
    pub(crate) fn varlong(&mut self) -> Option<i64> {
        let first = self.byte()?;
        let mut raw = u64::from(first & 0x7f);
        if first >= 0x80 {
            let mut shift = 7;
            loop {
                let byte = self.byte()?;
                if shift == 63 && byte > 1 {
                    return None;
                }
                raw |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
                shift += 7;
                if shift as usize >= MAX_BYTES * 7 {
                    return None;
                }
            }
        }
        Some(((raw >> 1) as i64) ^ -((raw & 1) as i64))
    }

    /// A varint that has to fit 32 bits.
    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Option<i32> {
        i32::try_from(self.varlong()?).ok()
    }

    /// Moves over `len` bytes and answers where they started.
    #[inline(always)]
    pub(crate) fn skip(&mut self, len: usize) -> Option<usize> {
        if len > self.remaining() {
            return None;
        }
        let start = self.position;
        self.position += len;
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_take_the_announced_size() {
        for shift in 0..63 {
            for value in [
                1i64 << shift,
                -(1i64 << shift),
                (1i64 << shift) - 1,
                i64::MAX,
                i64::MIN,
                0,
                -1,
            ] {
                let mut out = Vec::new();
                put(&mut out, value);
                assert_eq!(out.len(), size(value), "{value}");
                assert_eq!(Reader::at(&out, 0).varlong(), Some(value));
                let mut prefix = Prefix::new();
                prefix.varint(value);
                let mut again = Vec::new();
                prefix.append_to(&mut again);
                assert_eq!(again, out);
            }
        }
    }

    #[test]
    fn endless_and_cut_off_numbers_are_refused() {
        assert_eq!(Reader::at(&[0xff; 11], 0).varlong(), None);
        assert_eq!(Reader::at(&[0x80], 0).varlong(), None);
        assert_eq!(
            Reader::at(
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
                0
            )
            .varlong(),
            None
        );
        let mut out = Vec::new();
        put(&mut out, 1 << 40);
        assert_eq!(Reader::at(&out, 0).varint(), None);
    }
}
