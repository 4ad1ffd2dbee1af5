//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;

use super::settings::Origin;

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Worth knowing; never more than that.
    Note,
    /// The configuration can be used, unless the user asked to be strict.
    Warning,
    /// The configuration is refused.
    Error,
}

/// One mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    severity: Severity,
    origin: Option<Origin>,
    key: Option<String>,
    message: String,
}

impl Problem {
    /// A mistake for which the configuration is refused.
    #[must_use]
    pub fn error(origin: Option<Origin>, key: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            origin,
            key: key.map(str::to_owned),
            message: message.into(),
        }
    }

    /// Something the user should know, and that changes nothing.
    #[must_use]
    pub fn warning(origin: Option<Origin>, key: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(origin, key, message)
        }
    }

    /// The same problem without secrets.
    pub(super) fn discreet(self) -> Self {
        Self {
            message: crate::secrets::hide(self.message),
            ..self
        }
    }

    pub(super) fn unreadable(source: &str, error: &io::Error) -> Self {
        let message = match error.kind() {
            io::ErrorKind::NotFound => format!(
                "{source}: file does not exist; relative paths start in the folder where the \
                 command is run"
            ),
            io::ErrorKind::PermissionDenied => {
                format!(
                    "{source}: file cannot be read, permission denied; check its owner and mode"
                )
            }
            io::ErrorKind::IsADirectory => {
                format!("{source}: is a folder; name a .toml, .properties or .json file in it")
            }
            _ => format!("{source}: file cannot be read: {error}"),
        };
        Self::error(None, None, message)
    }

    /// The same problem where it is worth no more than a note.
    #[must_use]
    pub(crate) fn into_note(self) -> Self {
        Self {
            severity: Severity::Note,
            ..self
        }
    }

    /// What `--strict` makes of it: a warning becomes an error.
    #[must_use]
    pub fn strictly(self) -> Self {
        match self.severity {
            Severity::Note => self,
            Severity::Warning | Severity::Error => Self {
                severity: Severity::Error,
                ..self
            },
        }
    }

    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Whether the configuration is refused because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The key it is about, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What is wrong, without place and key.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it is.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        match self.severity {
            Severity::Note => f.write_str("note: ")?,
            Severity::Warning => f.write_str("warning: ")?,
            Severity::Error => {}
        }
        if let Some(key) = &self.key {
            write!(f, "key \"{key}\": ")?;
        }
        f.write_str(&self.message)
    }
}

/// All problems of a configuration, one per line when shown, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Sorts by place, so that the user can go through the file once.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.0.sort_by(|a, b| {
            let place = |problem: &Problem| {
                let origin = problem.origin.clone();
                origin.map(|origin| (origin.source.clone(), origin.position))
            };
            place(a).cmp(&place(b))
        });
        self
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The known key nearest to a misspelt one, if one is near enough to be meant.
#[must_use]
pub(crate) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let best = known
        .max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)))?;
    let near = strsim::jaro_winkler(key, best) >= 0.85 || strsim::osa_distance(key, best) <= 2;
    near.then_some(best)
}

/// The message about an unknown key.
#[must_use]
pub(crate) fn unknown_key<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(key, known) {
        Some(near) => format!("is not known and has no effect; did you mean \"{near}\"?"),
        None => "is not known and has no effect".to_owned(),
    }
}
