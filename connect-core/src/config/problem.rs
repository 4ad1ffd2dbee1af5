//! What is wrong with a configuration.

use std::fmt;

/// One thing wrong with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key.
    pub key: String,
    /// What is wrong, to be read after the key (and value): `is missing; …`, `expected a whole number`.
    pub message: String,
    /// The value, unless it is absent or secret.
    pub value: Option<String>,
}

impl Problem {
    /// A problem with a key, whatever its value.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Problem {
            key: key.into(),
            message: message.into(),
            value: None,
        }
    }

    /// A problem with a key's value.
    pub fn with_value(
        key: impl Into<String>,
        value: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Problem {
            key: key.into(),
            message: message.into(),
            value: Some(value.into()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(
                f,
                "\"{}\" is \"{}\"; {}",
                self.key,
                value.escape_debug(),
                self.message
            ),
            None => write!(f, "\"{}\" {}", self.key, self.message),
        }
    }
}

/// The name that `wrong` was probably meant to be.
pub(crate) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest_by(wrong, names, |name| name)
}

/// As [`nearest`], comparing only a part of each name.
pub(crate) fn nearest_by<'a>(
    wrong: &str,
    names: impl Iterator<Item = &'a str>,
    part: fn(&str) -> &str,
) -> Option<&'a str> {
    // What somebody typed may be of any length, and the comparison takes its square.
    let wrong: String = part(wrong).to_lowercase().chars().take(200).collect();
    names
        .filter_map(|name| {
            likeness(&wrong, &part(name).to_lowercase()).map(|likeness| (likeness, name))
        })
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// How alike two names are; `None` if another was probably meant. Typos keep the edit distance small,
/// a forgotten end keeps the beginning.
fn likeness(wrong: &str, name: &str) -> Option<f64> {
    let edits = strsim::normalized_damerau_levenshtein(wrong, name);
    let beginning = strsim::jaro_winkler(wrong, name);
    (edits >= 0.7 || beginning >= 0.88).then_some(edits + beginning)
}
