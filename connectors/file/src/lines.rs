//! Where lines end. Pure functions over a buffer; no input or output, no state.
//!
//! A line ends with `\n`, `\r\n` or `\r`, as in Kafka. A `\r` that is the last byte of what was
//! read so far decides nothing yet: the byte after it may be the `\n` that belongs to it.

use memchr::{memchr2, memrchr2};

/// One line inside a buffer: its bytes are `start..end`, the next line starts at `next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) next: usize,
}

/// How many bytes at the front of `buffer` are whole lines with their terminators.
pub(crate) fn complete(buffer: &[u8]) -> usize {
    let undecided = match buffer.last() {
        Some(b'\n') => return buffer.len(),
        // Whatever comes before this `\r` can be judged, this one cannot.
        Some(b'\r') => buffer.len() - 1,
        Some(_) => buffer.len(),
        None => return 0,
    };
    let decided = buffer.get(..undecided).unwrap_or_default();
    // The byte after the last terminator in `decided` is known and is no `\n`, so that the
    // terminator stands alone.
    memrchr2(b'\n', b'\r', decided).map_or(0, |at| at + 1)
}

/// The line that starts at `from`. A buffer without a terminator there is one last line.
pub(crate) fn line_at(buffer: &[u8], from: usize) -> Line {
    let rest = buffer.get(from..).unwrap_or_default();
    match memchr2(b'\n', b'\r', rest) {
        Some(length) => {
            let end = from + length;
            let pair = buffer.get(end..end + 2) == Some(b"\r\n");
            Line {
                start: from,
                end,
                next: end + if pair { 2 } else { 1 },
            }
        }
        None => Line {
            start: from,
            end: buffer.len(),
            next: buffer.len(),
        },
    }
}

/// How much of `buffer`, which continues a line that is being skipped, can be thrown away, and
/// whether the skipped line ends there.
pub(crate) fn skip(buffer: &[u8]) -> (usize, bool) {
    match memchr2(b'\n', b'\r', buffer) {
        None => (buffer.len(), false),
        // A `\r` at the very end waits for the next byte like any other.
        Some(at) if at + 1 == buffer.len() && buffer.last() == Some(&b'\r') => (at, false),
        Some(_) => (line_at(buffer, 0).next, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(buffer: &[u8]) -> Vec<&[u8]> {
        let whole = &buffer[..complete(buffer)];
        let mut lines = Vec::new();
        let mut at = 0;
        while at < whole.len() {
            let line = line_at(whole, at);
            lines.push(&whole[line.start..line.end]);
            at = line.next;
        }
        lines
    }

    #[test]
    fn every_terminator_ends_a_line() {
        assert_eq!(split(b"a\nb\r\nc\rd\n"), [b"a", b"b", b"c", b"d"]);
        assert_eq!(split(b"\n\r\n\r\rx\n"), [&b""[..], b"", b"", b"", b"x"]);
    }

    #[test]
    fn an_unfinished_line_is_held_back() {
        assert_eq!(complete(b""), 0);
        assert_eq!(complete(b"abc"), 0);
        assert_eq!(complete(b"abc\nde"), 4);
    }

    #[test]
    fn a_trailing_carriage_return_waits_for_the_next_byte() {
        assert_eq!(complete(b"\r"), 0);
        assert_eq!(complete(b"a\r"), 0);
        assert_eq!(complete(b"a\nb\r"), 2);
        assert_eq!(complete(b"a\r\r"), 2);
        assert_eq!(complete(b"a\rb"), 2);
    }

    #[test]
    fn skipping_ends_after_the_terminator() {
        assert_eq!(skip(b"xxx"), (3, false));
        assert_eq!(skip(b"xxx\nab"), (4, true));
        assert_eq!(skip(b"xxx\r\nab"), (5, true));
        assert_eq!(skip(b"xxx\rab"), (4, true));
        assert_eq!(skip(b"xxx\r"), (3, false));
        assert_eq!(skip(b"\r"), (0, false));
    }

    proptest! {
        /// Reading in two pieces, cut anywhere, gives the lines of reading at once.
        #[test]
        fn a_cut_anywhere_changes_nothing(text in "[ab\n\r]{0,40}", cut in 0usize..40) {
            let text = text.as_bytes();
            let cut = cut.min(text.len());
            let first = complete(&text[..cut]);
            let mut pieces = split(&text[..cut]);
            pieces.extend(split(&text[first..]));
            prop_assert_eq!(pieces, split(text));
        }
    }
}
