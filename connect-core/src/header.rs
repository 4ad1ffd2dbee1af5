//! Headers: ordered, typed additions to a record.

use crate::schema::SchemaRef;
use crate::text::Str;
use crate::value::Value;

/// One header.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Its name; several headers of a record may share one.
    pub key: Str,
    /// Its value.
    pub value: Value,
    /// The promise about the value, if there is one.
    pub schema: Option<SchemaRef>,
}

/// The headers of a record, in order, duplicates allowed; 8 bytes and no allocation when empty.
#[derive(Debug, Clone, Default, PartialEq)]
// The box is the point: records without headers, the usual case, pay one pointer.
#[allow(clippy::box_collection)]
pub struct Headers(Option<Box<Vec<Header>>>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Headers(None)
    }

    /// Appends a header.
    pub fn add(&mut self, key: impl Into<Str>, value: impl Into<Value>, schema: Option<SchemaRef>) {
        self.push(Header {
            key: key.into(),
            value: value.into(),
            schema,
        });
    }

    /// Appends a header.
    pub fn push(&mut self, header: Header) {
        self.0.get_or_insert_with(Box::default).push(header);
    }

    /// Removes every header with this key; says how many there were.
    pub fn remove(&mut self, key: &str) -> usize {
        let before = self.len();
        if let Some(headers) = &mut self.0 {
            headers.retain(|header| header.key != *key);
        }
        before - self.len()
    }

    /// Keeps only the last header with this key, and all headers with other keys.
    pub fn retain_latest(&mut self, key: &str) {
        let Some(headers) = &mut self.0 else { return };
        let Some(last) = headers.iter().rposition(|header| header.key == *key) else {
            return;
        };
        let mut index = 0;
        headers.retain(|header| {
            let keep = index == last || header.key != *key;
            index += 1;
            keep
        });
    }

    /// The last header with this key.
    pub fn last(&self, key: &str) -> Option<&Header> {
        self.iter().rev().find(|header| header.key == *key)
    }

    /// All headers with this key, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Header> {
        self.iter().filter(move |header| header.key == *key)
    }

    /// All headers, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.as_slice().iter()
    }

    /// All headers, in order, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Header> {
        match &mut self.0 {
            Some(headers) => headers.iter_mut(),
            None => [].iter_mut(),
        }
    }

    /// All headers, in order.
    pub fn as_slice(&self) -> &[Header] {
        self.0.as_ref().map_or(&[], |headers| headers.as_slice())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        let headers: Vec<Header> = headers.into_iter().collect();
        Headers(if headers.is_empty() {
            None
        } else {
            Some(Box::new(headers))
        })
    }
}

impl IntoIterator for Headers {
    type Item = Header;
    type IntoIter = std::vec::IntoIter<Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.0
            .map(|headers| *headers)
            .unwrap_or_default()
            .into_iter()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_keep_their_order_until_asked_otherwise() {
        let mut headers = Headers::new();
        assert_eq!(std::mem::size_of::<Headers>(), 8);
        headers.add("a", 1i32, None);
        headers.add("b", 2i32, None);
        headers.add("a", 3i32, None);
        assert_eq!(headers.all("a").count(), 2);
        assert_eq!(headers.last("a").unwrap().value, Value::Int32(3));
        headers.retain_latest("a");
        assert_eq!(
            headers.iter().map(|h| h.value.clone()).collect::<Vec<_>>(),
            [Value::Int32(2), Value::Int32(3)]
        );
        assert_eq!(headers.remove("b"), 1);
        assert_eq!(headers.len(), 1);
    }
}
