//! Definitions: the keys a component has, and what each may hold.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Value as Json, json};

use super::problem::{Problem, nearest};
use super::{ConfigMap, value};

/// The type of a key, as Kafka's `ConfigDef` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 16-bit number.
    Short,
    /// 32-bit number.
    Int,
    /// 64-bit number.
    Long,
    /// Floating point number.
    Double,
    /// Texts separated by commas.
    List,
    /// The name of a plugin.
    Class,
    /// Text that is never shown.
    Password,
}

impl ConfigType {
    /// As Kafka's REST API spells it.
    pub fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::String => "STRING",
            ConfigType::Short => "SHORT",
            ConfigType::Int => "INT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::List => "LIST",
            ConfigType::Class => "CLASS",
            ConfigType::Password => "PASSWORD",
        }
    }

    /// Bits of a whole number of this type.
    fn bits(self) -> u32 {
        match self {
            ConfigType::Short => 16,
            ConfigType::Int => 32,
            _ => 64,
        }
    }

    /// What a value should have been, for messages.
    pub fn expected(self) -> &'static str {
        match self {
            ConfigType::Boolean => "true or false",
            ConfigType::Short | ConfigType::Int | ConfigType::Long => "a whole number",
            ConfigType::Double => "a number",
            ConfigType::List => "texts separated by commas",
            ConfigType::Class => "a class name",
            ConfigType::String | ConfigType::Password => "text",
        }
    }
}

/// How much a key matters to most users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Importance {
    /// Everybody sets it.
    High,
    /// Some set it.
    #[default]
    Medium,
    /// Few set it.
    Low,
}

impl Importance {
    /// As Kafka's REST API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Importance::High => "HIGH",
            Importance::Medium => "MEDIUM",
            Importance::Low => "LOW",
        }
    }
}

/// How much room a form should give to the value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Width {
    /// It is not said.
    #[default]
    None,
    /// A number or a word.
    Short,
    /// A name.
    Medium,
    /// A list or a path.
    Long,
}

impl Width {
    /// As Kafka's REST API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Width::None => "NONE",
            Width::Short => "SHORT",
            Width::Medium => "MEDIUM",
            Width::Long => "LONG",
        }
    }
}

/// The smallest and largest value of a number; both are allowed themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfigRange {
    /// Smallest.
    pub min: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
}

impl ConfigRange {
    /// Whether a number lies within.
    pub fn contains(&self, number: f64) -> bool {
        self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max)
    }
}

impl fmt::Display for ConfigRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (None, None) => f.write_str("any"),
        }
    }
}

/// One key.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigKey {
    /// Its name: dotted, lower case.
    pub name: Cow<'static, str>,
    /// Its type.
    pub kind: ConfigType,
    /// Whether it must be given.
    pub required: bool,
    /// What holds if it is absent, as a user would write it.
    pub default: Option<String>,
    /// What users read.
    pub doc: Cow<'static, str>,
    /// How much it matters.
    pub importance: Importance,
    /// Heading in documentation and forms.
    pub group: Option<Cow<'static, str>>,
    /// Its place in the group, from 1; counted if it is not given.
    pub order_in_group: Option<i32>,
    /// Its name in forms, if not the key.
    pub display_name: Option<Cow<'static, str>>,
    /// The room for its value in forms.
    pub width: Width,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// The values allowed; empty for any.
    pub choices: Vec<Cow<'static, str>>,
    /// Smallest and largest value.
    pub range: Option<ConfigRange>,
    /// Whether empty text is refused.
    pub non_empty: bool,
}

impl ConfigKey {
    /// An optional key without default or limits; set the public fields for the rest.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        kind: ConfigType,
        doc: impl Into<Cow<'static, str>>,
    ) -> Self {
        ConfigKey {
            name: name.into(),
            kind,
            required: false,
            default: None,
            doc: doc.into(),
            importance: Importance::Medium,
            group: None,
            order_in_group: None,
            display_name: None,
            width: Width::None,
            secret: kind == ConfigType::Password,
            choices: Vec::new(),
            range: None,
            non_empty: false,
        }
    }

    /// What a value should be, with its limits: `a whole number, at least 1`.
    pub fn expected(&self) -> String {
        if !self.choices.is_empty() {
            return format!("one of {}", self.choices.join(", "));
        }
        let mut text = self.kind.expected().to_owned();
        if let Some(range) = &self.range {
            text.push_str(&format!(", {range}"));
        }
        if self.non_empty {
            text.push_str(", not empty");
        }
        text
    }

    /// A problem with this key's value, which is left out if it is secret.
    pub fn problem(&self, value: &str, message: impl Into<String>) -> Problem {
        let value = if self.secret { "[hidden]" } else { value };
        Problem::with_value(self.name.as_ref(), value, message)
    }

    /// Checks a value against type, choices and range.
    pub(crate) fn check(&self, text: &str) -> Result<(), Problem> {
        let wrong = || self.problem(text, format!("expected {}", self.expected()));
        let trimmed = text.trim();
        if self.non_empty && trimmed.is_empty() {
            return Err(wrong());
        }
        let number = match self.kind {
            ConfigType::Boolean => value::boolean(trimmed).map(|_| None).ok_or_else(wrong)?,
            ConfigType::Short | ConfigType::Int | ConfigType::Long => {
                let number: i128 = trimmed.parse().map_err(|_| wrong())?;
                let bits = self.kind.bits();
                if number >= 1 << (bits - 1) || number < -(1 << (bits - 1)) {
                    return Err(
                        self.problem(text, format!("expected a whole number of {bits} bits"))
                    );
                }
                Some(number as f64)
            }
            ConfigType::Double => Some(trimmed.parse::<f64>().map_err(|_| wrong())?),
            _ => None,
        };
        if let (Some(range), Some(number)) = (&self.range, number)
            && !range.contains(number)
        {
            return Err(wrong());
        }
        if self.choices.is_empty() {
            return Ok(());
        }
        let allowed = |item: &str| {
            self.choices
                .iter()
                .any(|choice| choice.eq_ignore_ascii_case(item))
        };
        let fits = match self.kind {
            ConfigType::List => value::items(text).all(allowed),
            _ => allowed(trimmed),
        };
        if fits { Ok(()) } else { Err(wrong()) }
    }
}

/// All keys of a component, in the order in which users should read them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConfigDef {
    /// The keys.
    pub keys: Vec<ConfigKey>,
    /// Beginnings of keys that belong to somebody else and are never unknown, e.g. `transforms.`.
    pub prefixes: Vec<Cow<'static, str>>,
}

impl ConfigDef {
    /// A definition with these keys.
    pub fn new(keys: Vec<ConfigKey>) -> Self {
        ConfigDef {
            keys,
            prefixes: Vec::new(),
        }
    }

    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&ConfigKey> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Adds the keys and prefixes of another definition; keys already there win.
    pub fn extend(&mut self, other: ConfigDef) {
        for key in other.keys {
            if self.key(&key.name).is_none() {
                self.keys.push(key);
            }
        }
        self.prefixes.extend(other.prefixes);
    }

    /// Every problem of single keys: missing, wrong type, out of range. Rules across fields are
    /// [`Config::parse`](super::Config::parse)'s.
    pub fn validate(&self, config: &ConfigMap) -> Vec<Problem> {
        self.keys
            .iter()
            .filter_map(|key| match config.get(key.name.as_ref()) {
                Some(text) => key.check(text).err(),
                None if key.required => Some(missing(key)),
                None => None,
            })
            .collect()
    }

    /// A problem for every key that nobody knows, with the nearest known one.
    pub fn unknown_keys(&self, config: &ConfigMap) -> Vec<Problem> {
        config
            .keys()
            .filter(|name| self.key(name).is_none())
            .filter(|name| {
                !self
                    .prefixes
                    .iter()
                    .any(|prefix| name.starts_with(prefix.as_ref()))
            })
            .map(|name| {
                let known = self.keys.iter().map(|key| key.name.as_ref());
                let message = match nearest(name, known) {
                    Some(near) => format!("is unknown; did you mean \"{near}\"?"),
                    None => "is unknown; nothing reads it".to_owned(),
                };
                Problem::new(name.as_str(), message)
            })
            .collect()
    }

    /// The answer of Kafka's `PUT /connector-plugins/{class}/config/validate` for these keys: a list of
    /// `{"definition": …, "value": …}` (`ConfigInfo`). Values of secret keys are hidden.
    pub fn config_infos(&self, config: &ConfigMap, problems: &[Problem]) -> Vec<Json> {
        self.keys
            .iter()
            .zip(1..)
            .map(|(key, order)| {
                let errors: Vec<&str> = problems
                    .iter()
                    .filter(|problem| problem.key == key.name)
                    .map(|problem| problem.message.as_str())
                    .collect();
                let value = match config.get(key.name.as_ref()) {
                    Some(_) if key.secret => Some("[hidden]"),
                    Some(text) => Some(text.as_str()),
                    None => key.default.as_deref(),
                };
                json!({
                    "definition": self.key_info(key, order),
                    "value": {
                        "name": key.name, "value": value, "recommended_values": key.choices,
                        "errors": errors, "visible": true,
                    },
                })
            })
            .collect()
    }

    /// Kafka's `ConfigKeyInfo` for every key, as `GET /connector-plugins/{class}/config` answers.
    pub fn key_infos(&self) -> Vec<Json> {
        self.keys
            .iter()
            .zip(1..)
            .map(|(key, order)| self.key_info(key, order))
            .collect()
    }

    fn key_info(&self, key: &ConfigKey, order: i32) -> Json {
        // Kafka counts within a group, and only if there is one.
        let order = match (&key.group, key.order_in_group) {
            (None, _) => -1,
            (Some(_), Some(order)) => order,
            (Some(group), None) => {
                let before = usize::try_from(order).unwrap_or(0);
                let same = self
                    .keys
                    .iter()
                    .take(before)
                    .filter(|other| other.group.as_ref() == Some(group))
                    .count();
                i32::try_from(same).unwrap_or(i32::MAX)
            }
        };
        json!({
            "name": key.name,
            "type": key.kind.name(),
            "required": key.required,
            "default_value": key.default,
            "importance": key.importance.name(),
            "documentation": key.doc,
            "group": key.group,
            "width": key.width.name(),
            "display_name": key.display_name.as_ref().unwrap_or(&key.name),
            "dependents": [],
            "order_in_group": order,
        })
    }
}

pub(super) fn missing(key: &ConfigKey) -> Problem {
    Problem::new(key.name.as_ref(), "is missing; it has no default")
}
