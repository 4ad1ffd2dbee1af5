//! Text as a cheap slice of a shared buffer.
//!
//! A line of a file, a field of a message and a record's key are all slices of the buffer they were
//! read into; cloning one is a reference count, and handing it to a producer is a move.
//!
//! # Safety
//! This is the one module of the crate with `unsafe`: [`Str::as_str`] skips the UTF-8 check. The
//! invariant that makes it sound: the field is private, `Bytes` is immutable, and every constructor
//! either checks the bytes or starts from a `str`.
#![allow(unsafe_code)]

use std::borrow::Borrow;
use std::fmt;
use std::ops::{Deref, Range};

use bytes::Bytes;

/// UTF-8 text in a shared buffer; 32 bytes, cloned without copying.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Str(Bytes);

impl Str {
    /// The empty text.
    pub const EMPTY: Str = Str::from_static("");

    /// Text of the program itself; never allocates.
    pub const fn from_static(text: &'static str) -> Self {
        Str(Bytes::from_static(text.as_bytes()))
    }

    /// Takes over `bytes` if they are UTF-8; checks once, copies nothing.
    ///
    /// # Errors
    /// Where the first invalid byte is. Clone `bytes` first if you want to keep them then: a clone is
    /// only a reference count.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Str(bytes))
    }

    /// Takes over `bytes`, replacing every invalid sequence by U+FFFD; copies only if there is one.
    pub fn from_utf8_lossy(bytes: Bytes) -> Self {
        // The plain check is many times faster than the replacing one, and nearly always enough.
        match std::str::from_utf8(&bytes) {
            Ok(_) => Str(bytes),
            Err(_) => Str::from(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// `part` as a slice of the buffer it lies in, or a copy if it lies elsewhere.
    pub(crate) fn within(buffer: &Bytes, part: &str) -> Self {
        let offset = (part.as_ptr() as usize).wrapping_sub(buffer.as_ptr() as usize);
        match offset.checked_add(part.len()) {
            Some(end) if end <= buffer.len() => Str(buffer.slice(offset..end)),
            _ => Str::from(part),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // SAFETY: see the module: every constructor guarantees UTF-8 and nothing can change it since.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }

    /// The bytes behind the text, without copying them.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The bytes behind the text, borrowed.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// A part of the text that shares the buffer; `None` if the range is out of bounds or cuts a
    /// character.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        self.as_str().get(range.clone())?;
        Some(Str(self.0.slice(range)))
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

// Must agree with `str`'s hash because of `Borrow<str>`; `Bytes` hashes as `[u8]`, which differs.
impl std::hash::Hash for Str {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Str(Bytes::from(text))
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Str(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<Str> for Bytes {
    fn from(text: Str) -> Self {
        text.0
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_in_keeps_the_text_valid() {
        assert_eq!(
            Str::from_utf8(Bytes::from_static("é".as_bytes())).unwrap(),
            "é"
        );
        assert!(Str::from_utf8(Bytes::from_static(&[0xc3])).is_err());
        assert_eq!(
            Str::from_utf8_lossy(Bytes::from_static(&[b'a', 0xc3])),
            "a\u{fffd}"
        );
        assert_eq!(
            Str::from("é").slice(0..1),
            None,
            "a slice never cuts a character"
        );
        assert_eq!(Str::from("éa").slice(2..3).unwrap(), "a");
        assert_eq!(Str::from("a").slice(0..9), None);
    }

    #[test]
    fn text_taken_over_and_given_back_is_the_same_buffer() {
        let bytes = Bytes::from(vec![b'x'; 100]);
        let address = bytes.as_ptr();
        let text = Str::from_utf8(bytes).unwrap();
        assert_eq!(text.clone().into_bytes().as_ptr(), address);
        assert_eq!(
            Str::from_utf8_lossy(text.into_bytes())
                .into_bytes()
                .as_ptr(),
            address
        );
    }

    #[test]
    fn a_part_is_a_slice_only_if_it_lies_in_the_buffer() {
        let bytes = Bytes::from("some text".to_owned());
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(
            Str::within(&bytes, &text[5..]).into_bytes().as_ptr(),
            bytes[5..].as_ptr()
        );
        assert_eq!(Str::within(&bytes, "elsewhere"), "elsewhere");
        assert_eq!(Str::within(&Bytes::new(), ""), "");
    }

    #[test]
    fn hashes_as_str_so_that_maps_can_be_asked_with_str() {
        let map = std::collections::HashMap::from([(Str::from("key"), 1)]);
        assert_eq!(map.get("key"), Some(&1));
    }
}
