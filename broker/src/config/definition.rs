//! What one configuration key is: its type, default, bounds and meaning.

use std::fmt;

/// The type of a value, with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Any text, or one of `choices` if there are any.
    Text {
        /// Allowed values; empty means any.
        choices: &'static [&'static str],
    },
    /// Values separated by commas, each one of `choices` if there are any.
    List {
        /// Allowed elements; empty means any.
        choices: &'static [&'static str],
    },
    /// A 32-bit number in `min..=max`.
    Int {
        /// Lowest allowed value.
        min: i32,
        /// Highest allowed value.
        max: i32,
    },
    /// A 64-bit number in `min..=max`.
    Long {
        /// Lowest allowed value.
        min: i64,
        /// Highest allowed value.
        max: i64,
    },
    /// A fraction in `min..=max`.
    Double {
        /// Lowest allowed value.
        min: f64,
        /// Highest allowed value.
        max: f64,
    },
}

impl Kind {
    /// The type's number in DescribeConfigs (`ConfigResponse.ConfigType`).
    pub(crate) fn wire_type(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text { .. } => 2,
            Self::Int { .. } => 3,
            Self::Long { .. } => 5,
            Self::Double { .. } => 6,
            Self::List { .. } => 7,
        }
    }

    /// Checks `value`.
    ///
    /// # Errors
    /// What is expected instead.
    pub(crate) fn check(self, value: &str) -> Result<(), String> {
        let value = value.trim();
        let ok = match self {
            Self::Boolean => value.parse::<bool>().is_ok(),
            Self::Text { choices } => choices.is_empty() || choices.contains(&value),
            Self::List { choices } => {
                choices.is_empty() || elements(value).all(|element| choices.contains(&element))
            }
            Self::Int { min, max } => {
                matches!(value.parse::<i32>(), Ok(number) if (min..=max).contains(&number))
            }
            Self::Long { min, max } => {
                matches!(value.parse::<i64>(), Ok(number) if (min..=max).contains(&number))
            }
            Self::Double { min, max } => {
                matches!(value.parse::<f64>(), Ok(number) if (min..=max).contains(&number))
            }
        };
        if ok {
            Ok(())
        } else {
            Err(format!("must be {self}"))
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("true or false"),
            Self::Text { choices: [] } => f.write_str("text"),
            Self::Text { choices } => write!(f, "one of {}", choices.join(", ")),
            Self::List { choices: [] } => f.write_str("a list separated by commas"),
            Self::List { choices } => {
                write!(f, "a list separated by commas of {}", choices.join(", "))
            }
            Self::Int { min, max } => bounds(f, i64::from(*min), i64::from(*max), i32::MAX.into()),
            Self::Long { min, max } => bounds(f, *min, *max, i64::MAX),
            Self::Double { min, max } => write!(f, "a number from {min} to {max}"),
        }
    }
}

fn bounds(f: &mut fmt::Formatter<'_>, min: i64, max: i64, type_max: i64) -> fmt::Result {
    if max == type_max {
        write!(f, "a whole number, at least {min}")
    } else {
        write!(f, "a whole number from {min} to {max}")
    }
}

/// The elements of a list value.
pub(crate) fn elements(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition {
    /// The key.
    pub(crate) name: &'static str,
    /// Its type.
    pub(crate) kind: Kind,
    /// The default as text; `None` when the key has no value unless set.
    pub(crate) default: Option<&'static str>,
    /// What it means.
    pub(crate) doc: &'static str,
    /// For a topic's key, the broker's key it falls back to. For a broker's key, an older key
    /// that means the same and is read when this one is not set.
    pub(crate) falls_back_to: &'static [&'static str],
    /// Whether it has an effect. Keys without one are accepted because existing files have them.
    pub(crate) in_effect: bool,
}

impl Definition {
    pub(crate) const fn new(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default,
            doc,
            falls_back_to: &[],
            in_effect: true,
        }
    }

    pub(crate) const fn falls_back_to(mut self, keys: &'static [&'static str]) -> Self {
        self.falls_back_to = keys;
        self
    }

    pub(crate) const fn without_effect(mut self) -> Self {
        self.in_effect = false;
        self
    }
}

pub(crate) const BOOLEAN: Kind = Kind::Boolean;
pub(crate) const TEXT: Kind = Kind::Text { choices: &[] };
pub(crate) const LIST: Kind = Kind::List { choices: &[] };

pub(crate) const fn choice(choices: &'static [&'static str]) -> Kind {
    Kind::Text { choices }
}

pub(crate) const fn int(min: i32) -> Kind {
    Kind::Int { min, max: i32::MAX }
}

pub(crate) const fn long(min: i64) -> Kind {
    Kind::Long { min, max: i64::MAX }
}
