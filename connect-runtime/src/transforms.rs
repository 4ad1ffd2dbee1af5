//! The transforms of one connector, found and set up once, and the way of a record through them.

use std::collections::BTreeSet;
use std::sync::Arc;

use connect_core::config::ConfigDef;
use connect_core::transform::{self, Fate, Predicate, RecordView, Transform};
use connect_core::{ConfigMap, ConnectError, Origin, Problem, SinkRecord, SourceRecord};

use crate::config::{list, unknown_key};
use crate::tolerance::{BadRecord, Stage, Tolerance};
use crate::trace::{Nobody, Trace, Watcher};

/// The framework's own keys of every transform.
const OWN_KEYS: [&str; 4] = ["type", "predicate", "negate", "plugin.version"];
/// The framework's own keys of every predicate.
const OWN_PREDICATE_KEYS: [&str; 2] = ["type", "plugin.version"];

/// At least one transform, in the order in which records pass them.
pub(crate) struct Transforms {
    steps: Vec<Step>,
}

struct Step {
    alias: Arc<str>,
    class: &'static str,
    transform: Box<dyn Transform>,
    condition: Option<Condition>,
}

/// Which records a transform sees.
struct Condition {
    predicate: Arc<dyn Predicate>,
    negate: bool,
}

/// What is wrong with the keys of transforms and predicates, by their whole names.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<Problem>,
    /// Keys that nobody reads.
    pub(crate) warnings: Vec<Problem>,
}

impl Transforms {
    /// Finds and configures the transforms of a connector; `None` if it has none.
    pub(crate) fn of(config: &ConfigMap) -> Result<Option<Self>, ConnectError> {
        let (transforms, findings) = read(config);
        match findings.errors.is_empty() {
            true => Ok(Some(transforms).filter(|found| !found.steps.is_empty())),
            false => Err(findings.errors.into()),
        }
    }

    /// Passes a source's record through, again while a transform says that it may work later; whether
    /// it goes on.
    pub(crate) async fn keeps_source(
        &self,
        record: &mut SourceRecord,
        errors: &Tolerance,
    ) -> Result<bool, BadRecord> {
        self.keeps(record, errors, &mut Nobody, Self::source).await
    }

    /// As [`keeps_source`](Self::keeps_source), for a sink's record, which remembers where it was
    /// read from.
    pub(crate) async fn keeps_sink(
        &self,
        record: &mut SinkRecord,
        errors: &Tolerance,
    ) -> Result<bool, BadRecord> {
        self.keeps(record, errors, &mut Nobody, Self::sink).await
    }

    /// As [`keeps_source`](Self::keeps_source), and every step is noted.
    pub(crate) async fn shows_source(
        &self,
        record: &mut SourceRecord,
        errors: &Tolerance,
        trace: &mut Trace,
    ) -> Result<bool, BadRecord> {
        self.keeps(record, errors, trace, Self::source).await
    }

    /// As [`keeps_sink`](Self::keeps_sink), and every step is noted.
    pub(crate) async fn shows_sink(
        &self,
        record: &mut SinkRecord,
        errors: &Tolerance,
        trace: &mut Trace,
    ) -> Result<bool, BadRecord> {
        self.keeps(record, errors, trace, Self::sink).await
    }

    async fn keeps<R: Clone, W: Watcher>(
        &self,
        record: &mut R,
        errors: &Tolerance,
        watcher: &mut W,
        pass: fn(&Self, &mut R, &mut W) -> Result<Fate, BadRecord>,
    ) -> Result<bool, BadRecord> {
        let fate = match errors.policy().is_patient() {
            false => pass(self, record, watcher)?,
            true => self.patiently(record, errors, watcher, pass).await?,
        };
        Ok(fate == Fate::Keep)
    }

    async fn patiently<R: Clone, W: Watcher>(
        &self,
        record: &mut R,
        errors: &Tolerance,
        watcher: &mut W,
        pass: fn(&Self, &mut R, &mut W) -> Result<Fate, BadRecord>,
    ) -> Result<Fate, BadRecord> {
        let mut attempts = errors.attempts();
        loop {
            // An attempt that fails may have changed a part.
            let mut attempt = record.clone();
            match pass(self, &mut attempt, watcher) {
                Err(bad) if attempts.again(&bad.error).await => {}
                done => {
                    *record = attempt;
                    return done;
                }
            }
        }
    }

    fn source<W: Watcher>(
        &self,
        record: &mut SourceRecord,
        watcher: &mut W,
    ) -> Result<Fate, BadRecord> {
        let topic = Arc::clone(&record.topic);
        self.pass(&mut RecordView::from(record), watcher)
            .map_err(|bad| bad.context(format_args!("record for topic \"{topic}\"")))
    }

    fn sink<W: Watcher>(
        &self,
        record: &mut SinkRecord,
        watcher: &mut W,
    ) -> Result<Fate, BadRecord> {
        let (topic, partition) = (Arc::clone(&record.topic), record.partition);
        let offset = record.offset;
        let fate = self
            .pass(&mut RecordView::from(&mut *record), watcher)
            .map_err(|bad| {
                bad.context(format_args!("record {topic}-{partition} offset {offset}"))
            })?;
        if record.original.is_none() && (record.topic != topic || record.partition != partition) {
            record.original = Some(Box::new(Origin {
                topic,
                partition,
                offset,
            }));
        }
        Ok(fate)
    }

    fn pass<W: Watcher>(
        &self,
        record: &mut RecordView<'_>,
        watcher: &mut W,
    ) -> Result<Fate, BadRecord> {
        watcher.begin();
        for step in &self.steps {
            let applies = step
                .condition
                .as_ref()
                .is_none_or(|condition| condition.predicate.test(record) != condition.negate);
            if !applies {
                watcher.not_applied(&step.alias, step.class);
                continue;
            }
            let fate = step.transform.apply(record).map_err(|error| {
                watcher.failed(&step.alias, step.class);
                BadRecord {
                    stage: Stage::Transformation,
                    class: step.class,
                    error: error.context(format_args!("transform \"{}\"", step.alias)),
                }
            })?;
            if fate == Fate::Drop {
                watcher.dropped(&step.alias, step.class);
                return Ok(Fate::Drop);
            }
            watcher.passed(&step.alias, step.class, record);
        }
        Ok(Fate::Keep)
    }
}

/// What is wrong with a connector's transforms and predicates.
pub(crate) fn check(config: &ConfigMap) -> Findings {
    read(config).1
}

/// Sets up what can be set up, and says everything that is wrong.
fn read(config: &ConfigMap) -> (Transforms, Findings) {
    let mut findings = Findings::default();
    let names = aliases(config, "predicates", &mut findings);
    // A predicate that is wrong is there all the same, so that its users are not wrong, too.
    let predicates: Vec<(String, Option<Arc<dyn Predicate>>)> = names
        .into_iter()
        .map(|alias| {
            let made = predicate(config, &alias, &mut findings);
            (alias, made)
        })
        .collect();
    let steps = aliases(config, "transforms", &mut findings)
        .into_iter()
        .filter_map(|alias| {
            let condition = condition(config, &alias, &predicates, &mut findings);
            let (class, transform) = transform(config, &alias, &mut findings)?;
            Some(Step {
                alias: alias.into(),
                class,
                transform,
                condition,
            })
        })
        .collect();
    (Transforms { steps }, findings)
}

/// The names in a list, once each; keys of other names are warned about.
fn aliases(config: &ConfigMap, key: &str, findings: &mut Findings) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in list(config.get(key).map(String::as_str).unwrap_or_default()) {
        match names.contains(&name) {
            false => names.push(name),
            true => {
                let message = format!("expected every name once, got \"{name}\" twice");
                findings.errors.push(Problem::new(key, message));
            }
        }
    }
    let strangers: BTreeSet<&str> = config
        .keys()
        .filter_map(|other| other.strip_prefix(key)?.strip_prefix('.'))
        .filter(|rest| !names.iter().any(|name| own_key(rest, name).is_some()))
        .collect();
    for rest in strangers {
        let alias = rest.split('.').next().unwrap_or(rest);
        let message = format!("has no effect; \"{alias}\" is not in \"{key}\"");
        findings
            .warnings
            .push(Problem::new(format!("{key}.{rest}"), message));
    }
    names
}

fn own_key<'k>(rest: &'k str, alias: &str) -> Option<&'k str> {
    rest.strip_prefix(alias)?.strip_prefix('.')
}

fn with_prefix(config: &ConfigMap, prefix: &str) -> ConfigMap {
    config
        .iter()
        .filter_map(|(key, text)| Some((key.strip_prefix(prefix)?.to_owned(), text.clone())))
        .collect()
}

/// The text of a `type` key.
fn class<'c>(config: &'c ConfigMap, prefix: &str, findings: &mut Findings) -> Option<&'c str> {
    let key = format!("{prefix}type");
    let class = config.get(&key).map(|class| class.trim());
    let class = class.filter(|class| !class.is_empty());
    if class.is_none() {
        let message = "expected a class name, got nothing; it must be set";
        findings.errors.push(Problem::new(key, message));
    }
    class
}

/// The plugin's own problems, by their whole keys.
fn add(findings: &mut Vec<Problem>, prefix: &str, problems: Vec<Problem>) {
    findings.extend(problems.into_iter().map(|problem| Problem {
        key: format!("{prefix}{}", problem.key),
        ..problem
    }));
}

/// Keys that a plugin does not read.
fn unknown(findings: &mut Vec<Problem>, prefix: &str, known: &ConfigDef, own: &ConfigMap) {
    for key in own.keys().filter(|key| known.key(key).is_none()) {
        let names = known.keys.iter().map(|key| key.name.as_ref());
        let message = unknown_key(key, names);
        findings.push(Problem::new(format!("{prefix}{key}"), message));
    }
}

fn transform(
    config: &ConfigMap,
    alias: &str,
    findings: &mut Findings,
) -> Option<(&'static str, Box<dyn Transform>)> {
    let prefix = format!("transforms.{alias}.");
    let found = match transform::find(class(config, &prefix, findings)?) {
        Ok(found) => found,
        Err(error) => {
            let problem = Problem::new(format!("{prefix}type"), error.report());
            findings.errors.push(problem);
            return None;
        }
    };
    let mut own = with_prefix(config, &prefix);
    own.retain(|key, _| !OWN_KEYS.contains(&key.as_str()));
    unknown(&mut findings.warnings, &prefix, &(found.definition)(), &own);
    (found.make)(&own)
        .map(|made| (found.class, made))
        .map_err(|problems| add(&mut findings.errors, &prefix, problems))
        .ok()
}

fn predicate(
    config: &ConfigMap,
    alias: &str,
    findings: &mut Findings,
) -> Option<Arc<dyn Predicate>> {
    let prefix = format!("predicates.{alias}.");
    let found = match transform::find_predicate(class(config, &prefix, findings)?) {
        Ok(found) => found,
        Err(error) => {
            let problem = Problem::new(format!("{prefix}type"), error.report());
            findings.errors.push(problem);
            return None;
        }
    };
    let mut own = with_prefix(config, &prefix);
    own.retain(|key, _| !OWN_PREDICATE_KEYS.contains(&key.as_str()));
    unknown(&mut findings.warnings, &prefix, &(found.definition)(), &own);
    (found.make)(&own)
        .map(Arc::from)
        .map_err(|problems| add(&mut findings.errors, &prefix, problems))
        .ok()
}

fn condition(
    config: &ConfigMap,
    alias: &str,
    predicates: &[(String, Option<Arc<dyn Predicate>>)],
    findings: &mut Findings,
) -> Option<Condition> {
    let (key, negate_key) = (
        format!("transforms.{alias}.predicate"),
        format!("transforms.{alias}.negate"),
    );
    let negate = config.get(&negate_key).map(|text| text.trim());
    let negated = negate.is_some_and(|text| text.eq_ignore_ascii_case("true"));
    if let Some(text) = negate
        && !negated
        && !text.eq_ignore_ascii_case("false")
    {
        let problem = Problem::with_value(&negate_key, text, "expected true or false");
        findings.errors.push(problem);
    }
    let name = config.get(&key).map(|name| name.trim());
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        if negate.is_some() {
            let message = format!("needs \"{key}\", which says what to negate");
            findings.errors.push(Problem::new(negate_key, message));
        }
        return None;
    };
    let Some((_, predicate)) = predicates.iter().find(|(alias, _)| alias == name) else {
        let known: Vec<&str> = predicates.iter().map(|(alias, _)| &**alias).collect();
        let advice = match known.is_empty() {
            true => "add it to \"predicates\"".to_owned(),
            false => format!("there are {}", known.join(", ")),
        };
        let message = format!("predicate \"{name}\" is unknown; {advice}");
        findings.errors.push(Problem::new(key, message));
        return None;
    };
    Some(Condition {
        predicate: Arc::clone(predicate.as_ref()?),
        negate: negated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::connector::ErrorPolicy;
    use connect_core::transform::TransformInfo;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Fails as often as it says, after it has changed the record.
    struct Flaky(AtomicUsize);

    impl Transform for Flaky {
        fn apply(&self, record: &mut RecordView<'_>) -> Result<Fate, ConnectError> {
            record.headers.add("tried", 1, None);
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            match left {
                0 => Ok(Fate::Keep),
                _ => Err(ConnectError::retriable("not yet")),
            }
        }
    }

    #[derive(connect_core::Config)]
    struct FlakyConfig {
        /// How often it fails.
        failures: usize,
    }

    connect_core::__private::inventory::submit! {
        TransformInfo {
            class: "org.example.Flaky",
            version: "1",
            definition: <FlakyConfig as connect_core::Config>::definition,
            make: |config| {
                let failures = <FlakyConfig as connect_core::Config>::parse(config)?.failures;
                Ok(Box::new(Flaky(failures.into())))
            },
        }
    }

    fn map(keys: &[(&str, &str)]) -> ConfigMap {
        let keys = keys.iter();
        keys.map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
            .collect()
    }

    fn tolerance(retry_timeout: Duration) -> Tolerance {
        Tolerance::for_tests(ErrorPolicy {
            retry_timeout: Some(retry_timeout),
            ..ErrorPolicy::default()
        })
    }

    fn errors(keys: &[(&str, &str)]) -> Vec<String> {
        let errors = check(&map(keys)).errors;
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mistake_is_said_at_once() {
        assert_eq!(
            errors(&[
                ("transforms", "a,b,c,d,a"),
                ("transforms.a.type", "RegexRouter"),
                ("transforms.a.negate", "true"),
                ("transforms.b.type", "Filtr"),
                ("transforms.c.type", "Filter"),
                ("transforms.c.predicate", "q"),
                ("predicates", "p"),
                ("predicates.p.type", "HasHeaderKey"),
            ]),
            [
                "\"predicates.p.name\" is missing; it has no default",
                "\"transforms\" expected every name once, got \"a\" twice",
                "\"transforms.a.negate\" needs \"transforms.a.predicate\", which says what to negate",
                "\"transforms.a.regex\" is missing; it has no default",
                "\"transforms.a.replacement\" is missing; it has no default",
                "\"transforms.b.type\" transform \"Filtr\" is unknown; did you mean \"Filter\"?",
                "\"transforms.c.predicate\" predicate \"q\" is unknown; there are p",
                "\"transforms.d.type\" expected a class name, got nothing; it must be set",
            ]
        );
        assert!(errors(&[]).is_empty());
        assert!(Transforms::of(&map(&[])).unwrap().is_none());
    }

    #[test]
    fn keys_that_nobody_reads_are_warned_about() {
        let findings = check(&map(&[
            ("transforms", "a"),
            ("transforms.a.type", "HoistField"),
            ("transforms.a.field", "x"),
            ("transforms.a.feild", "x"),
            ("transforms.b.type", "Filter"),
        ]));
        assert!(findings.errors.is_empty());
        let warnings: Vec<String> = findings.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "\"transforms.b.type\" has no effect; \"b\" is not in \"transforms\"",
                "\"transforms.a.feild\" is not known and has no effect; did you mean \"field\"?",
            ]
        );
    }

    #[tokio::test]
    async fn a_sink_s_record_remembers_where_it_was_read() {
        let chain = Transforms::of(&map(&[
            ("transforms", "r,f"),
            ("transforms.r.type", "RegexRouter"),
            ("transforms.r.regex", "a"),
            ("transforms.r.replacement", "b"),
            ("transforms.f.type", "Filter"),
            ("transforms.f.predicate", "dead"),
            ("transforms.f.negate", "true"),
            ("predicates", "dead"),
            ("predicates.dead.type", "RecordIsTombstone"),
        ]));
        let (chain, strict) = (chain.unwrap().unwrap(), tolerance(Duration::ZERO));
        let mut record = SinkRecord::new("a".into(), 1, 2, connect_core::Value::Null);
        assert!(chain.keeps_sink(&mut record, &strict).await.unwrap());
        assert_eq!(&*record.topic, "b");
        let (partition, offset) = record.source();
        assert_eq!((partition.to_string().as_str(), offset), ("a-1", 2));
        let mut other = SinkRecord::new("c".into(), 1, 2, "x");
        assert!(!chain.keeps_sink(&mut other, &strict).await.unwrap());
        assert!(other.original.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn retriable_errors_are_retried_from_the_record_as_it_was() {
        let chain = || {
            let keys = [
                ("transforms", "f"),
                ("transforms.f.type", "org.example.Flaky"),
                ("transforms.f.failures", "2"),
            ];
            Transforms::of(&map(&keys)).unwrap().unwrap()
        };
        let record = || SourceRecord::new("a".into(), "x");
        let mut patient = record();
        let long = tolerance(Duration::from_secs(60));
        assert!(chain().keeps_source(&mut patient, &long).await.unwrap());
        assert_eq!(patient.headers.len(), 1);
        let none = tolerance(Duration::ZERO);
        let failure = chain().keeps_source(&mut record(), &none).await;
        let bad = failure.unwrap_err();
        assert_eq!(
            bad.error.message(),
            "record for topic \"a\": transform \"f\": not yet"
        );
        assert_eq!(
            (bad.stage, bad.class),
            (Stage::Transformation, "org.example.Flaky")
        );
    }
}
