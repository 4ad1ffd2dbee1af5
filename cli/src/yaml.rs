//! JSON values as YAML, for people who read it more easily.
//!
//! YAML holds JSON as a subset, so whatever may be misread as plain text is written as a JSON string.

use serde_json::Value;

/// Words that YAML 1.1 or 1.2 reads as something else than text.
const WORDS: [&str; 11] = [
    "true", "false", "yes", "no", "on", "off", "null", "y", "n", ".inf", ".nan",
];

/// A value as a YAML document, with a line break at its end.
pub fn text(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => block(value, 0, &mut text),
        Value::Array(items) if !items.is_empty() => block(value, 0, &mut text),
        scalar => text = inline(scalar) + "\n",
    }
    text
}

/// The lines of an object or a list that holds something, from where the first of them begins.
fn block(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (index, (key, value)) in fields.iter().enumerate() {
                // The first line may stand behind the dash of a list.
                if index > 0 || text.is_empty() || text.ends_with('\n') {
                    text.push_str(&indent);
                }
                text.push_str(&string(key));
                text.push(':');
                nested(value, depth + 1, text);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 || text.is_empty() || text.ends_with('\n') {
                    text.push_str(&indent);
                }
                text.push('-');
                match is_block(item) {
                    true => {
                        text.push(' ');
                        block(item, depth + 1, text);
                    }
                    false => nested(item, depth + 1, text),
                }
            }
        }
        _ => {}
    }
}

fn nested(value: &Value, depth: usize, text: &mut String) {
    match is_block(value) {
        true => {
            text.push('\n');
            block(value, depth, text);
        }
        false => {
            text.push(' ');
            text.push_str(&inline(value));
            text.push('\n');
        }
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        other => other.to_string(),
    }
}

/// Plain where nobody can take it for something else.
fn string(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/ ".contains(&byte);
    let begins = text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    let plain = begins
        && !text.ends_with(' ')
        && text.bytes().all(is_plain)
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    match plain {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// As JSON does, and what YAML does not print besides.
fn quoted(text: &str) -> String {
    let json = Value::String(text.to_owned()).to_string();
    let escaped = |symbol: char| match symbol {
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
            format!("\\u{:04x}", u32::from(symbol))
        }
        symbol => symbol.to_string(),
    };
    json.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_and_lists_are_blocks() {
        let value = json!({
            "name": "copy",
            "config": {"tasks.max": "1", "file": "a b.txt"},
            "tasks": [{"id": 0, "state": "RUNNING"}, [1, 2], [], {}],
        });
        let expected = "\
name: copy
config:
  tasks.max: \"1\"
  file: a b.txt
tasks:
  - id: 0
    state: RUNNING
  - - 1
    - 2
  - []
  - {}
";
        assert_eq!(text(&value), expected);
    }

    #[test]
    fn text_that_looks_like_something_else_is_quoted() {
        for (value, expected) in [
            ("yes", "\"yes\""),
            ("1", "\"1\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("a\nb\u{85}", "\"a\\nb\\u0085\""),
            ("- a", "\"- a\""),
            ("a ", "\"a \""),
            ("a.b/c-d e", "a.b/c-d e"),
        ] {
            assert_eq!(text(&json!(value)), format!("{expected}\n"));
        }
        assert_eq!(text(&json!(null)), "null\n");
        assert_eq!(text(&json!({})), "{}\n");
    }
}
