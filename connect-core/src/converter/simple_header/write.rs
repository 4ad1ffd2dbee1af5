//! Values as the text that is guessed back.

use std::fmt::Write as _;

use crate::value::Value;

/// The text of a value; within arrays, maps and structs, text is quoted.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    append(&mut out, value, false);
    out
}

fn append(out: &mut String, value: &Value, embedded: bool) {
    match value {
        Value::String(text) if embedded => quoted(out, text),
        Value::Bytes(_) if embedded => quoted(out, &value.to_string()),
        // Quoted within collections, because their delimiters would tear them apart.
        Value::Date(_) | Value::Time(_) | Value::Timestamp(_) if embedded => {
            quoted(out, &value.to_string())
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                append(out, item, true);
            }
            out.push(']');
        }
        Value::Map(entries) => object(out, entries.iter().map(|(key, value)| (key.clone(), value))),
        Value::Struct(fields) => {
            let names = fields.schema().fields().iter();
            object(
                out,
                names.filter_map(|field| {
                    Some((Value::string(field.name.as_ref()), fields.get(&field.name)?))
                }),
            );
        }
        other => {
            // Writing to memory cannot fail.
            let _written = write!(out, "{other}");
        }
    }
}

fn object<'a>(out: &mut String, entries: impl Iterator<Item = (Value, &'a Value)>) {
    out.push('{');
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.push(',');
        }
        append(out, &key, true);
        out.push(':');
        append(out, value, true);
    }
    out.push('}');
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        if matches!(letter, '\\' | '"') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
}
