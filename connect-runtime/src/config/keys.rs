//! Tables of the framework's own keys: what they are, and how their text is read.

use std::time::Duration;

use connect_core::config::{ConfigDef, ConfigKey, ConfigType, Importance};

use super::presentation::{arrange, is_shown};
use super::problem::{Problem, unknown_key};
use super::settings::Settings;

/// Upper limits from here on are there to keep sums from overflowing, and are not worth showing.
const UNBOUNDED: i64 = i64::MAX / 2;

/// What the text of a key must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// Any text, also an empty one.
    AnyText,
    /// Names separated by commas.
    List,
    /// The class name or the alias of a plugin.
    Class,
    /// `true` or `false`.
    Boolean,
    /// A whole number from … to, both included.
    Integer(i64, i64),
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
}

/// Whether a key is obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is.
    Full,
    /// Kafka has it and this worker has no use for it: accepted, and the user is told why.
    None(&'static str),
}

/// One key of the framework.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The dotted name.
    pub name: &'static str,
    /// What its text must be.
    pub kind: Kind,
    /// The default as text; `None` where the key may stay unset.
    pub default: Option<&'static str>,
    /// Whether the configuration is refused without it.
    pub required: bool,
    /// Whether it is obeyed.
    pub effect: Effect,
    /// What it is for, one sentence.
    pub doc: &'static str,
}

impl Key {
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default,
            required: false,
            effect: Effect::Full,
            doc,
        }
    }

    pub(super) const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            required: true,
            ..Self::new(name, kind, None, doc)
        }
    }

    fn definition(&self) -> ConfigKey {
        let kind = match self.kind {
            Kind::Text | Kind::AnyText | Kind::Choice(_) => ConfigType::String,
            Kind::List => ConfigType::List,
            Kind::Class => ConfigType::Class,
            Kind::Boolean => ConfigType::Boolean,
            Kind::Integer(_, to) if to > i64::from(i32::MAX) => ConfigType::Long,
            Kind::Integer(_, to) if to == i64::from(i16::MAX) => ConfigType::Short,
            Kind::Integer(..) => ConfigType::Int,
        };
        let doc = match self.effect {
            Effect::Full => self.doc.to_owned(),
            Effect::None(why) => format!("Has no effect here: {why}."),
        };
        let mut key = ConfigKey::new(self.name, kind, doc);
        key.required = self.required;
        key.default = self.default.map(str::to_owned);
        key.group = Some("Common".into());
        if self.required {
            key.importance = Importance::High;
        }
        if let Kind::Choice(words) = self.kind {
            key.choices = words.iter().map(|word| (*word).into()).collect();
        }
        key
    }

    pub(super) const fn without_effect(name: &'static str, why: &'static str) -> Self {
        Self {
            effect: Effect::None(why),
            ..Self::new(name, Kind::AnyText, None, why)
        }
    }
}

/// The keys as the definitions of plugins have theirs, also those of Kafka's that have no effect here:
/// forms have fields for them, and their documentation says why.
pub(crate) fn definition(tables: &[&[Key]]) -> ConfigDef {
    let all = tables.iter().copied().flatten();
    let keys = all.filter(|key| key.effect == Effect::Full || is_shown(key.name));
    let mut definition = ConfigDef::new(keys.map(Key::definition).collect());
    arrange(&mut definition);
    definition
}

/// Reads the keys of a table from settings, and collects what is wrong with them.
pub(super) struct TableReader<'s> {
    settings: &'s Settings,
    table: &'static [&'static [Key]],
    pub(super) problems: Vec<Problem>,
}

impl<'s> TableReader<'s> {
    /// Checks every key of the tables.
    pub(super) fn check(settings: &'s Settings, table: &'static [&'static [Key]]) -> Self {
        let mut reader = Self {
            settings,
            table,
            problems: Vec::new(),
        };
        for key in table.iter().copied().flatten() {
            reader.check_key(key);
        }
        reader
    }

    fn check_key(&mut self, key: &Key) {
        let Some(text) = self.settings.text(key.name) else {
            if key.required {
                let message = format!(
                    "expected {}, got nothing; it must be set",
                    expected(key.kind)
                );
                self.problems.push(self.settings.problem(key.name, message));
            }
            return;
        };
        if let Effect::None(why) = key.effect {
            let message = format!("has no effect here; {why}");
            let problem = self.settings.key_warning(key.name, message).into_note();
            self.problems.push(problem);
            return;
        }
        if let Err(message) = check_text(key.kind, text.trim()) {
            self.problems.push(self.settings.problem(key.name, message));
        }
    }

    /// Warns about every key that neither a table, nor a prefix, nor `others` knows.
    pub(super) fn check_unknown(&mut self, prefixes: &[&str], others: &[String]) {
        let known = || {
            let own = self.table.iter().copied().flatten().map(|key| key.name);
            own.chain(others.iter().map(String::as_str))
        };
        let mut problems = Vec::new();
        for (key, _) in self.settings.iter() {
            let prefixed = prefixes
                .iter()
                .any(|prefix| key.len() > prefix.len() && key.starts_with(prefix));
            if !prefixed && !known().any(|name| name == key) {
                let message = unknown_key(key, known());
                problems.push(self.settings.key_warning(key, message));
            }
        }
        self.problems.append(&mut problems);
    }

    /// The text of a key, or its default.
    pub(super) fn text(&self, name: &str) -> Option<&'s str> {
        let set = self.settings.text(name).map(str::trim);
        set.or_else(|| {
            let mut keys = self.table.iter().copied().flatten();
            keys.find(|key| key.name == name)?.default
        })
    }

    pub(super) fn owned(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        list(self.text(name).unwrap_or_default())
    }

    /// A wrong value reads as false: it is among the problems already.
    pub(super) fn boolean(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// A wrong value reads as 0: it is among the problems already.
    pub(super) fn integer(&self, name: &str) -> i64 {
        self.text(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// A wrong value reads as 0: it is among the problems already.
    pub(super) fn count(&self, name: &str) -> usize {
        usize::try_from(self.integer(name)).unwrap_or(0)
    }

    pub(super) fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.integer(name)).unwrap_or(0))
    }
}

/// Splits a list at its commas; white space around names and empty names do not count.
pub(crate) fn list(text: &str) -> Vec<String> {
    let names = text.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text => "a text".to_owned(),
        Kind::AnyText => "a text, possibly empty".to_owned(),
        Kind::List => "names separated by commas".to_owned(),
        Kind::Class => "the class name or alias of a plugin".to_owned(),
        Kind::Boolean => "true or false".to_owned(),
        Kind::Integer(from, to) if to >= UNBOUNDED => format!("a whole number of at least {from}"),
        Kind::Integer(from, to) => format!("a whole number from {from} to {to}"),
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
    }
}

fn check_text(kind: Kind, text: &str) -> Result<(), String> {
    let good = match kind {
        Kind::Text | Kind::Class => !text.is_empty(),
        Kind::AnyText | Kind::List => true,
        Kind::Boolean => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        Kind::Integer(from, to) => text
            .parse()
            .is_ok_and(|number| (from..=to).contains(&number)),
        Kind::Choice(words) => words.iter().any(|word| word.eq_ignore_ascii_case(text)),
    };
    if good {
        return Ok(());
    }
    let near = match kind {
        Kind::Choice(words) => super::problem::nearest(text, words.iter().copied()),
        Kind::Boolean => super::problem::nearest(text, ["true", "false"].into_iter()),
        _ => None,
    };
    let hint = near
        .map(|near| format!("; did you mean \"{near}\"?"))
        .unwrap_or_default();
    let got = match text {
        "" => "nothing".to_owned(),
        text => format!("\"{text}\""),
    };
    Err(format!("expected {}, got {got}{hint}", expected(kind)))
}
