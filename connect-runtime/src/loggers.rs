//! The levels of loggers, shown and changed while the program runs (KIP-495, KIP-976).
//!
//! A logger is a target of `tracing` (`connect_runtime::sink`) or the beginning of some
//! (`connect_runtime`), or `root`. A level that is set here counts for a logger and everything below it,
//! before what was configured; it lasts as long as the process. Spans are never turned off by it: they
//! carry the connector's name onto lines of others. What was turned off by its name at the start, because
//! it is only noise, stays off unless it is named again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// The name of the logger above all others.
const ROOT: &str = "root";
/// How many loggers may have a level of their own; setting one is free, but each event looks at them.
const SET_MAX: usize = 1000;

/// The levels by Kafka's names, which has more of them than there are here.
pub(crate) fn level_of(name: &str) -> Option<LevelFilter> {
    match name.trim().to_ascii_uppercase().as_str() {
        "OFF" => Some(LevelFilter::OFF),
        "FATAL" | "ERROR" => Some(LevelFilter::ERROR),
        "WARN" => Some(LevelFilter::WARN),
        "INFO" => Some(LevelFilter::INFO),
        "DEBUG" => Some(LevelFilter::DEBUG),
        "TRACE" | "ALL" => Some(LevelFilter::TRACE),
        _ => None,
    }
}

/// How a logger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Logger {
    /// Its level, of its own or of what is above it.
    pub(crate) level: LevelFilter,
    /// When that was changed, in milliseconds since the epoch.
    pub(crate) last_modified_ms: Option<i64>,
}

/// More loggers than anybody needs have a level of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

/// Targets that have been logged to, or could have been.
type Known = Arc<Mutex<BTreeSet<&'static str>>>;

/// The loggers of a process.
pub(crate) struct Loggers {
    filter: reload::Handle<Levels, Registry>,
    configured: Configured,
    known: Known,
    changes: Mutex<Changes>,
}

/// What was changed since the start.
#[derive(Debug, Clone, Default)]
struct Changes {
    set: BTreeMap<String, LevelFilter>,
    at_ms: BTreeMap<String, i64>,
}

impl Loggers {
    /// The loggers, and the layer that obeys them. `text` is what `filter` was read from.
    pub(crate) fn new(filter: EnvFilter, text: &str) -> (reload::Layer<Levels, Registry>, Self) {
        let known = Known::default();
        let configured = Configured::read(text);
        let (layer, handle) = reload::Layer::new(Levels {
            configured: filter,
            set: BTreeMap::new(),
            off: configured.off(),
            known: Arc::clone(&known),
        });
        let loggers = Self {
            filter: handle,
            configured,
            known,
            changes: Mutex::default(),
        };
        (layer, loggers)
    }

    /// Every logger with a level of its own.
    pub(crate) fn all(&self) -> BTreeMap<String, Logger> {
        let changes = self.changes.lock();
        let names = self.configured.levels.keys().chain(changes.set.keys());
        let names = names.map(String::as_str).chain([ROOT]);
        names
            .map(|name| (name.to_owned(), self.logger(&changes, name)))
            .collect()
    }

    /// One logger, if there is anything of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Logger> {
        let name = canonical(name);
        let changes = self.changes.lock();
        let exists = name == ROOT
            || self.configured.levels.contains_key(name)
            || changes.set.contains_key(name)
            || self
                .known
                .lock()
                .iter()
                .any(|target| is_below(target, name));
        exists.then(|| self.logger(&changes, name))
    }

    /// Sets the level of a logger and of all below it. Which ones changed by that, sorted.
    ///
    /// # Errors
    /// Too many loggers have a level of their own.
    pub(crate) fn set(&self, name: &str, level: LevelFilter) -> Result<Vec<String>, TooMany> {
        let name = canonical(name);
        let mut changes = self.changes.lock();
        let mut after = changes.clone();
        after.set.retain(|other, _| !is_below(other, name));
        if after.set.len() >= SET_MAX {
            return Err(TooMany);
        }
        after.set.insert(name.to_owned(), level);
        let mut concerned: BTreeSet<String> = [name.to_owned()].into();
        let known = self.known.lock().clone();
        let names = known.into_iter();
        let names = names.chain(self.configured.levels.keys().map(String::as_str));
        let names = names.chain(changes.set.keys().map(String::as_str));
        concerned.extend(names.filter(|it| is_below(it, name)).map(str::to_owned));
        concerned.retain(|it| self.level(&changes, it) != self.level(&after, it));
        let now_ms = platform::clock::unix_millis();
        let times = concerned.iter().map(|name| (name.clone(), now_ms));
        after.at_ms.extend(times);
        let set = after.set.clone();
        *changes = after;
        // Asks every place that logs anew, whether it does.
        if let Err(error) = self.filter.modify(|levels| levels.set = set) {
            tracing::error!("the level of logger {name} could not be set: {error}");
        }
        Ok(concerned.into_iter().collect())
    }

    fn logger(&self, changes: &Changes, name: &str) -> Logger {
        Logger {
            level: self.level(changes, name),
            last_modified_ms: changes.at_ms.get(name).copied(),
        }
    }

    fn level(&self, changes: &Changes, name: &str) -> LevelFilter {
        let set = nearest(&changes.set, &self.configured.off(), name);
        set.unwrap_or_else(|| self.configured.level(name))
    }
}

/// `Root` is `root`, as in Kafka.
fn canonical(name: &str) -> &str {
    match name.eq_ignore_ascii_case(ROOT) {
        true => ROOT,
        false => name,
    }
}

/// Whether a logger is another one or below it.
fn is_below(name: &str, above: &str) -> bool {
    let rest = name.strip_prefix(above);
    above == ROOT || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The level that was set for a target or for the nearest logger above it, but not for all there are if
/// it is one of those that are off.
fn nearest(
    set: &BTreeMap<String, LevelFilter>,
    off: &[String],
    target: &str,
) -> Option<LevelFilter> {
    let mut name = target;
    loop {
        if let Some(level) = set.get(name) {
            return Some(*level);
        }
        name = match name.rsplit_once("::") {
            Some((above, _)) => above,
            None if off.iter().any(|off| is_below(target, off)) => return None,
            None => return set.get(ROOT).copied(),
        };
    }
}

/// What the program was started with, as far as it is about loggers and not about spans.
#[derive(Debug)]
struct Configured {
    root: LevelFilter,
    levels: BTreeMap<String, LevelFilter>,
}

impl Configured {
    fn read(text: &str) -> Self {
        let mut root = None;
        let mut levels = BTreeMap::new();
        let directives = text.split(',').map(str::trim);
        for directive in
            directives.filter(|it| !it.is_empty() && !it.contains(['[', ']', '{', '}']))
        {
            match directive.split_once('=') {
                Some((target, level)) => {
                    if let Ok(level) = level.parse() {
                        levels.insert(target.to_owned(), level);
                    }
                }
                None => match directive.parse() {
                    Ok(level) => root = Some(level),
                    Err(_) => {
                        levels.insert(directive.to_owned(), LevelFilter::TRACE);
                    }
                },
            }
        }
        let default = match text.trim().is_empty() {
            true => LevelFilter::ERROR,
            false => LevelFilter::OFF,
        };
        Self {
            root: root.unwrap_or(default),
            levels,
        }
    }

    /// What was turned off by its name.
    fn off(&self) -> Vec<String> {
        let off = self.levels.iter();
        let off = off.filter(|(_, level)| **level == LevelFilter::OFF);
        off.map(|(name, _)| name.clone()).collect()
    }

    /// A directive counts for every target that begins so, and the longest one wins.
    fn level(&self, name: &str) -> LevelFilter {
        let fitting = self.levels.iter();
        let fitting = fitting.filter(|(target, _)| name != ROOT && name.starts_with(&***target));
        let longest = fitting.max_by_key(|(target, _)| target.len());
        longest.map_or(self.root, |(_, level)| *level)
    }
}

/// Decides what is logged.
pub(crate) struct Levels {
    configured: EnvFilter,
    set: BTreeMap<String, LevelFilter>,
    off: Vec<String>,
    known: Known,
}

impl Levels {
    /// What the levels that were set say of a place that logs; `None` if they say nothing.
    fn decides(&self, metadata: &Metadata<'_>) -> Option<bool> {
        let level = nearest(&self.set, &self.off, metadata.target())?;
        let enabled = *metadata.level() <= level;
        (enabled || metadata.is_event()).then_some(enabled)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Levels {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.known.lock().insert(metadata.target());
        let configured = Layer::<S>::register_callsite(&self.configured, metadata);
        match self.decides(metadata) {
            Some(true) => Interest::always(),
            Some(false) => Interest::never(),
            None => configured,
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.decides(metadata)
            .unwrap_or_else(|| self.configured.enabled(metadata, context))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let configured = self.configured.max_level_hint()?;
        let set = self.set.values().max().copied();
        Some(set.map_or(configured, |set| set.max(configured)))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.configured.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.configured.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.configured.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.configured.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.configured.on_close(id, context);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    /// Counts the events that get through.
    #[derive(Clone, Default)]
    struct Count(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let metadata = event.metadata();
            let line = format!("{} {}", metadata.level(), metadata.target());
            self.0.lock().push(line);
        }
    }

    fn under<T>(text: &str, test: impl FnOnce(&Loggers, &Count) -> T) -> T {
        let (layer, loggers) = Loggers::new(EnvFilter::new(text), text);
        let count = Count::default();
        let subscriber = Registry::default().with(layer).with(count.clone());
        tracing::subscriber::with_default(subscriber, || test(&loggers, &count))
    }

    fn log() {
        tracing::debug!(target: "net::http", "");
        tracing::info!(target: "net::dns", "");
        tracing::warn!(target: "netting", "");
    }

    fn level(loggers: &Loggers, name: &str) -> LevelFilter {
        loggers.get(name).unwrap().level
    }

    #[test]
    fn a_level_counts_for_everything_below_and_from_now_on() {
        under("warn,net::dns=error", |loggers, count| {
            log();
            assert_eq!(*count.0.lock(), ["WARN netting"]);
            assert_eq!(level(loggers, "net::dns"), LevelFilter::ERROR);
            let changed = loggers.set("net", LevelFilter::DEBUG).unwrap();
            assert_eq!(changed.first().map(String::as_str), Some("net"));
            assert!(changed.contains(&"net::dns".to_owned()), "{changed:?}");
            assert!(!changed.contains(&"netting".to_owned()), "{changed:?}");
            count.0.lock().clear();
            log();
            let all = ["DEBUG net::http", "INFO net::dns", "WARN netting"];
            assert_eq!(*count.0.lock(), all);
            assert!(
                loggers
                    .get("net::http")
                    .unwrap()
                    .last_modified_ms
                    .is_none_or(|at| at > 0)
            );

            loggers.set("net::http", LevelFilter::OFF).unwrap();
            count.0.lock().clear();
            log();
            assert_eq!(*count.0.lock(), &all[1..]);
            let changed = loggers.set("ROOT", LevelFilter::TRACE).unwrap();
            assert!(changed.contains(&"root".to_owned()), "{changed:?}");
            assert!(changed.contains(&"net::http".to_owned()), "{changed:?}");
            count.0.lock().clear();
            log();
            assert_eq!(*count.0.lock(), all);
            assert_eq!(
                loggers.set("net", LevelFilter::TRACE),
                Ok(Vec::new()),
                "it had that level already"
            );
        });
    }

    #[test]
    fn only_loggers_that_exist_are_shown() {
        under("info,quiet=off,net[task]=trace,loud", |loggers, _| {
            log();
            let all = loggers.all();
            let names: Vec<&String> = all.keys().collect();
            assert_eq!(names, ["loud", "quiet", "root"]);
            assert_eq!(all["root"].level, LevelFilter::INFO);
            assert_eq!(all["quiet"].level, LevelFilter::OFF);
            assert_eq!(all["loud"].level, LevelFilter::TRACE);
            assert_eq!(all["root"].last_modified_ms, None);
            assert_eq!(level(loggers, "Root"), LevelFilter::INFO);
            assert_eq!(level(loggers, "net"), LevelFilter::INFO);
            assert_eq!(loggers.get("ne"), None);
            loggers.set("ne", LevelFilter::WARN).unwrap();
            assert!(loggers.get("ne").unwrap().last_modified_ms.is_some());
            assert!(loggers.all().contains_key("ne"));
        });
    }

    #[test]
    fn what_was_turned_off_by_its_name_is_turned_on_by_its_name() {
        under("warn,net=off", |loggers, count| {
            let changed = loggers.set("root", LevelFilter::TRACE).unwrap();
            assert!(!changed.contains(&"net".to_owned()), "{changed:?}");
            assert_eq!(level(loggers, "net"), LevelFilter::OFF);
            log();
            assert_eq!(*count.0.lock(), ["WARN netting"]);
            loggers.set("net", LevelFilter::INFO).unwrap();
            log();
            assert_eq!(count.0.lock()[1..], ["INFO net::dns", "WARN netting"]);
        });
    }

    #[test]
    fn a_span_stays_whatever_its_logger_s_level() {
        under("info", |loggers, _| {
            let is_there = || !tracing::error_span!(target: "net::span", "it").is_disabled();
            assert!(is_there());
            loggers.set("root", LevelFilter::OFF).unwrap();
            assert!(is_there());
        });
    }

    #[test]
    fn there_is_a_limit_of_loggers_with_a_level() {
        under("info", |loggers, _| {
            for number in 0..SET_MAX {
                assert!(
                    loggers
                        .set(&format!("a{number}"), LevelFilter::WARN)
                        .is_ok()
                );
            }
            assert_eq!(loggers.set("one more", LevelFilter::WARN), Err(TooMany));
            assert!(loggers.set("a7", LevelFilter::INFO).is_ok());
            assert!(loggers.set("root", LevelFilter::INFO).is_ok());
        });
    }

    #[test]
    fn kafkas_levels_are_understood() {
        assert_eq!(level_of("debug"), Some(LevelFilter::DEBUG));
        assert_eq!(level_of("FATAL"), Some(LevelFilter::ERROR));
        assert_eq!(level_of("All"), Some(LevelFilter::TRACE));
        assert_eq!(level_of("LOUD"), None);
    }
}
