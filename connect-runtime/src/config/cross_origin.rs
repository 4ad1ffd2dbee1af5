//! `access.control.allow.origin` and `access.control.allow.methods`: what web pages of other origins
//! may do.

use std::fmt;

use regex::Regex;

use super::keys::TableReader;
use super::settings::Settings;

pub(super) const ORIGINS: &str = "access.control.allow.origin";
pub(super) const METHODS: &str = "access.control.allow.methods";
/// What pages may use unless it is said.
const METHODS_DEFAULT: [&str; 3] = ["GET", "POST", "HEAD"];
const METHODS_KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What web pages of other origins may do.
#[derive(Clone)]
pub struct CrossOrigin {
    /// Those origins; `None` for all.
    origins: Option<Vec<Regex>>,
    /// Methods, in capitals.
    methods: Vec<String>,
}

impl CrossOrigin {
    /// Whether pages of an origin may use the interface.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        match &self.origins {
            None => true,
            Some(patterns) => patterns.iter().any(|pattern| pattern.is_match(origin)),
        }
    }

    /// Whether the origin was named, and not only everybody.
    #[must_use]
    pub fn names_origins(&self) -> bool {
        self.origins.is_some()
    }

    /// What they may do.
    #[must_use]
    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    fn patterns(&self) -> Vec<&str> {
        let patterns = self.origins.iter().flatten();
        patterns.map(Regex::as_str).collect()
    }
}

impl fmt::Debug for CrossOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrossOrigin")
            .field("origins", &self.patterns())
            .field("methods", &self.methods)
            .finish()
    }
}

impl PartialEq for CrossOrigin {
    fn eq(&self, other: &Self) -> bool {
        self.names_origins() == other.names_origins()
            && self.patterns() == other.patterns()
            && self.methods == other.methods
    }
}

impl Eq for CrossOrigin {}

pub(super) fn read(reader: &mut TableReader<'_>, settings: &Settings) -> Option<CrossOrigin> {
    let texts = reader.list(ORIGINS);
    let mut methods = Vec::new();
    for method in reader.list(METHODS) {
        let method = method.to_ascii_uppercase();
        match METHODS_KNOWN.contains(&method.as_str()) {
            true => methods.push(method),
            false => {
                let known = METHODS_KNOWN.join(", ");
                let message = format!("expected some of {known}, got \"{method}\"");
                reader.problems.push(settings.problem(METHODS, message));
            }
        }
    }
    if texts.is_empty() {
        if settings.text(METHODS).is_some() {
            let message = format!("has no effect without {ORIGINS}");
            let note = settings.key_warning(METHODS, message).into_note();
            reader.problems.push(note);
        }
        return None;
    }
    if methods.is_empty() {
        methods = METHODS_DEFAULT.map(str::to_owned).to_vec();
    }
    let mut origins = Some(Vec::new());
    for text in texts {
        if text == "*" {
            origins = None;
            break;
        }
        // As Jetty takes them: the whole origin, in any case.
        match Regex::new(&format!("(?i)^(?:{text})$")) {
            Ok(pattern) => origins.get_or_insert_default().push(pattern),
            Err(error) => {
                let message = format!(
                    "expected origins such as https://example\\.org, or *, got \"{text}\": {error}"
                );
                reader.problems.push(settings.problem(ORIGINS, message));
            }
        }
    }
    Some(CrossOrigin { origins, methods })
}
