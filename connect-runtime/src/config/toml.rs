//! TOML files. `batch.size = 5`, `"batch.size" = 5` and `[batch]` with `size = 5` are the same key
//! `batch.size`.
//!
//! Two forms are for reading comfort where dotted keys would collide:
//! - `[key.converter]` with `type = "json"` is `key.converter = json`, its other keys are the
//!   converter's (`key.converter.…`); the same for `value.converter` and `header.converter`.
//! - `[[transforms]]` (or `[[predicates]]`) tables with a `name` become `transforms = a,b` and
//!   `transforms.a.…`, in the order they are written.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::{Lines, Place, Position, Reader};

const CONVERTERS: [&str; 3] = ["key.converter", "value.converter", "header.converter"];
const NAMED_TABLES: [&str; 2] = ["transforms", "predicates"];
/// Deeper nesting has no meaning in a flat map of keys.
const DEPTH_MAX: usize = 32;

pub(super) fn read(reader: &mut Reader, bytes: &[u8]) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let valid = String::from_utf8_lossy(valid);
            let position = Lines::of(&valid).position(valid.len());
            reader.error(Some(position), None, "expected UTF-8 text, got other bytes");
            return;
        }
    };
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let position = error.span().map(|span| lines.position(span.start));
        reader.error(position, None, first_line(error.message()));
    }
    // The table of a broken file is a guess: problems found in it would be guesses too.
    if errors.is_empty() {
        Flattener { reader, lines }.table("", None, table.get_ref(), 0);
    }
}

fn first_line(message: &str) -> String {
    format!(
        "not valid TOML: {}",
        message.lines().next().unwrap_or("syntax error")
    )
}

struct Flattener<'r, 'a> {
    reader: &'r mut Reader,
    lines: Lines<'a>,
}

impl Flattener<'_, '_> {
    /// `parent` is where the table's own name is written: a bare dotted key starts there.
    fn table(&mut self, prefix: &str, parent: Option<Position>, table: &DeTable<'_>, depth: usize) {
        for (name, value) in table.iter() {
            let key = match prefix {
                "" => name.get_ref().to_string(),
                _ => format!("{prefix}.{}", name.get_ref()),
            };
            let own = self.lines.position(name.span().start);
            let dotted = parent.filter(|parent| parent.line == own.line);
            let place = Place {
                key: dotted.unwrap_or(own),
                value: self.lines.position(value.span().start),
            };
            self.value(&key, value, place, depth);
        }
    }

    fn value(&mut self, key: &str, value: &Spanned<DeValue<'_>>, at: Place, depth: usize) {
        match value.get_ref() {
            DeValue::Table(_) if depth >= DEPTH_MAX => {
                self.reader
                    .error(Some(at.key), Some(key), "tables are nested too deep");
            }
            DeValue::Table(table) => self.table(key, Some(at.key), table, depth + 1),
            DeValue::Array(items) if NAMED_TABLES.contains(&key) && holds_tables(items.iter()) => {
                self.named_tables(key, items.iter(), at);
            }
            DeValue::Array(items) => {
                let texts: Option<Vec<String>> =
                    items.iter().map(|item| scalar(item.get_ref())).collect();
                match texts {
                    Some(texts) => self.reader.add(key, texts.join(","), at),
                    None => self.reader.error(
                        Some(at.value),
                        Some(key),
                        "expected a list of plain values, got tables or lists inside it",
                    ),
                }
            }
            other => {
                let text = scalar(other).unwrap_or_default();
                let key = without_type(key);
                self.reader.add(key, text, at);
            }
        }
    }

    fn named_tables<'v, 'i: 'v>(
        &mut self,
        key: &str,
        items: impl Iterator<Item = &'v Spanned<DeValue<'i>>>,
        at: Place,
    ) {
        let mut names: Vec<String> = Vec::new();
        for item in items {
            let DeValue::Table(table) = item.get_ref() else {
                continue;
            };
            let name = table.iter().find(|(name, _)| name.get_ref() == "name");
            let Some(name) = name.and_then(|(_, value)| scalar(value.get_ref())) else {
                let position = self.lines.position(item.span().start);
                let message = format!("expected a \"name\" in every [[{key}]] table, got none");
                self.reader.error(Some(position), Some(key), message);
                continue;
            };
            for (field, value) in table.iter().filter(|(field, _)| field.get_ref() != "name") {
                let place = Place {
                    key: self.lines.position(field.span().start),
                    value: self.lines.position(value.span().start),
                };
                let full = format!("{key}.{name}.{}", field.get_ref());
                self.value(&full, value, place, 1);
            }
            names.push(name);
        }
        self.reader.add(key, names.join(","), at);
    }
}

fn holds_tables<'v, 'i: 'v>(mut items: impl Iterator<Item = &'v Spanned<DeValue<'i>>>) -> bool {
    items.any(|item| matches!(item.get_ref(), DeValue::Table(_)))
}

/// `key.converter.type` is `key.converter`; everything else is itself.
fn without_type(key: &str) -> &str {
    match key.strip_suffix(".type") {
        Some(converter) if CONVERTERS.contains(&converter) => converter,
        _ => key,
    }
}

/// The text of a plain value as a user of `.properties` would write it.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(match number.radix() {
            10 => number.as_str().to_owned(),
            radix => i64::from_str_radix(number.as_str(), radix)
                .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        }),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
