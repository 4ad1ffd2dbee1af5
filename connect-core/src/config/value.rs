//! Types that a configuration's fields may have.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::ConfigMap;
use super::definition::{ConfigKey, ConfigRange, ConfigType, missing};
use super::problem::Problem;

/// A type that is read from a configuration's text.
///
/// Implemented for text, booleans, numbers, [`PathBuf`], [`Duration`] (milliseconds), [`Password`],
/// `Vec` and `Option` of those, and for enums that derive [`ConfigChoice`](super::ConfigChoice).
pub trait ConfigValue: Sized {
    /// The key's type.
    const TYPE: ConfigType;
    /// Whether the value must never be shown.
    const SECRET: bool = false;
    /// Whether the key may be absent without a default.
    const OPTIONAL: bool = false;

    /// The smallest and largest value, unless the field says otherwise.
    const RANGE: Option<ConfigRange> = None;

    /// Reads the text; `None` if it is not of this type.
    fn from_text(text: &str) -> Option<Self>;

    /// The value of an absent key without default; `None` makes the key required.
    fn absent() -> Option<Self> {
        None
    }

    /// The values there are, if they can be listed.
    fn choices() -> &'static [&'static str] {
        &[]
    }
}

/// Reads one key; pushes a problem and gives `None` if that fails. For the derive.
pub fn read<T: ConfigValue>(
    key: &ConfigKey,
    config: &ConfigMap,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let Some(text) = config.get(key.name.as_ref()).or(key.default.as_ref()) else {
        let absent = T::absent();
        if absent.is_none() {
            problems.push(missing(key));
        }
        return absent;
    };
    if let Err(problem) = key.check(text) {
        problems.push(problem);
        return None;
    }
    let value = T::from_text(text);
    if value.is_none() {
        problems.push(key.problem(text, format!("expected {}", key.expected())));
    }
    value
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// The items of a list: separated by commas, blanks around them dropped, nothing for empty text.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    let empty = text.is_empty();
    text.split(',').map(str::trim).filter(move |_| !empty)
}

/// Text that is never shown: `Debug` and `Display` print `[hidden]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Hides a text.
    pub fn new(secret: impl Into<String>) -> Self {
        Password(secret.into())
    }

    /// The text itself; don't let it into logs, errors or records.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl ConfigValue for Password {
    const TYPE: ConfigType = ConfigType::Password;
    const SECRET: bool = true;

    fn from_text(text: &str) -> Option<Self> {
        Some(Password(text.to_owned()))
    }
}

impl ConfigValue for String {
    const TYPE: ConfigType = ConfigType::String;

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl ConfigValue for std::sync::Arc<str> {
    const TYPE: ConfigType = ConfigType::String;

    fn from_text(text: &str) -> Option<Self> {
        Some(text.into())
    }
}

impl ConfigValue for PathBuf {
    const TYPE: ConfigType = ConfigType::String;

    fn from_text(text: &str) -> Option<Self> {
        Some(PathBuf::from(text))
    }
}

impl ConfigValue for bool {
    const TYPE: ConfigType = ConfigType::Boolean;

    fn from_text(text: &str) -> Option<Self> {
        boolean(text.trim())
    }
}

const NOT_NEGATIVE: Option<ConfigRange> = Some(ConfigRange {
    min: Some(0.0),
    max: None,
});

macro_rules! numbers {
    ($($number:ty => $kind:ident $range:expr),+ $(,)?) => {
        $(impl ConfigValue for $number {
            const TYPE: ConfigType = ConfigType::$kind;
            const RANGE: Option<ConfigRange> = $range;

            fn from_text(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }
        })+
    };
}

numbers! {
    i16 => Short None,
    u16 => Int Some(ConfigRange { min: Some(0.0), max: Some(65_535.0) }),
    i32 => Int None,
    u32 => Long Some(ConfigRange { min: Some(0.0), max: Some(4_294_967_295.0) }),
    i64 => Long None,
    u64 => Long NOT_NEGATIVE,
    usize => Long NOT_NEGATIVE,
    f64 => Double None,
}

/// Milliseconds, as everywhere in Kafka.
impl ConfigValue for Duration {
    const TYPE: ConfigType = ConfigType::Long;
    const RANGE: Option<ConfigRange> = NOT_NEGATIVE;

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok().map(Duration::from_millis)
    }
}

impl<T: ConfigValue> ConfigValue for Vec<T> {
    const TYPE: ConfigType = ConfigType::List;
    const SECRET: bool = T::SECRET;

    fn from_text(text: &str) -> Option<Self> {
        items(text).map(T::from_text).collect()
    }

    fn choices() -> &'static [&'static str] {
        T::choices()
    }
}

impl<T: ConfigValue> ConfigValue for Option<T> {
    const TYPE: ConfigType = T::TYPE;
    const SECRET: bool = T::SECRET;
    const OPTIONAL: bool = true;
    const RANGE: Option<ConfigRange> = T::RANGE;

    fn from_text(text: &str) -> Option<Self> {
        T::from_text(text).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn choices() -> &'static [&'static str] {
        T::choices()
    }
}
