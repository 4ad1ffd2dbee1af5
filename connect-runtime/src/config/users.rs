//! Who may use the REST interface: `rest.users.NAME.password` and `rest.users.NAME.role`.
//!
//! A password is not written into a file that many can read: it is there as a hash, or as a reference
//! to what a configuration provider has.

use std::collections::BTreeMap;

use super::keys::TableReader;
use super::problem::nearest;
use super::settings::Settings;
use crate::password::Password;

const PREFIX: &str = "rest.users.";
const PASSWORD: &str = "password";
const ROLE: &str = "role";
const ROLES: [&str; 2] = ["full", "read-only"];
/// More are a mistake; a directory of users belongs before the worker, in a proxy.
const USERS_MAX: usize = 1000;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Full,
    /// See everything, change nothing.
    ReadOnly,
}

/// One who may use the REST interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What they may do.
    pub role: Role,
    /// What they have to know.
    pub password: Password,
}

/// All who may use the REST interface, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<String, User>);

impl Users {
    /// Whether there are none, so that nobody is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &User)> {
        self.0.iter().map(|(name, user)| (name.as_str(), user))
    }
}

pub(super) fn read(reader: &mut TableReader<'_>, settings: &Settings) -> Users {
    // Each name with whether it has a password and a role.
    let mut names: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for (rest, _) in settings.with_prefix(PREFIX) {
        let key = format!("{PREFIX}{rest}");
        match rest.rsplit_once('.') {
            Some((name, PASSWORD)) if !name.is_empty() => {
                names.entry(name.to_owned()).or_default().0 = true;
            }
            Some((name, ROLE)) if !name.is_empty() => {
                names.entry(name.to_owned()).or_default().1 = true;
            }
            // What is meant to close a door must not be passed over.
            _ => {
                let message = format!("expected {PREFIX}NAME.{PASSWORD} or {PREFIX}NAME.{ROLE}");
                reader.problems.push(settings.problem(&key, message));
            }
        }
    }
    if names.len() > USERS_MAX {
        let message = format!("has {} users, and {USERS_MAX} is the limit", names.len());
        reader.problems.push(settings.problem(PREFIX, message));
        return Users::default();
    }
    let mut users = BTreeMap::new();
    for (name, (has_password, has_role)) in names {
        let key = |part| format!("{PREFIX}{name}.{part}");
        let mut missing = |part, what| {
            let message = format!("expected {what} of user \"{name}\", got nothing");
            reader.problems.push(settings.problem(&key(part), message));
        };
        match (has_password, has_role) {
            (true, true) => {}
            (true, false) => missing(ROLE, "the role (full or read-only)"),
            (false, _) => missing(PASSWORD, "the password"),
        }
        if name.contains(':') {
            let message =
                format!("user \"{name}\" has \":\" in the name, which nobody can sign in with");
            let problem = settings.problem(&key(PASSWORD), message);
            reader.problems.push(problem);
        }
        let role = role(settings, &key(ROLE)).map_err(|what| (ROLE, what));
        let password = password(settings, &key(PASSWORD)).map_err(|what| (PASSWORD, what));
        match (role, password) {
            (Ok(Some(role)), Ok(Some(password))) => {
                users.insert(name, User { role, password });
            }
            (role, password) => {
                for (part, what) in [role.err(), password.err()].into_iter().flatten() {
                    let problem = settings.problem(&key(part), what);
                    reader.problems.push(problem);
                }
            }
        }
    }
    Users(users)
}

fn role(settings: &Settings, key: &str) -> Result<Option<Role>, String> {
    let Some(text) = settings.text(key) else {
        return Ok(None);
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "full" => Ok(Some(Role::Full)),
        "read-only" => Ok(Some(Role::ReadOnly)),
        other => {
            let hint = nearest(other, ROLES.into_iter())
                .map(|near| format!("; did you mean \"{near}\"?"))
                .unwrap_or_default();
            Err(format!("expected full or read-only, got \"{other}\"{hint}"))
        }
    }
}

fn password(settings: &Settings, key: &str) -> Result<Option<Password>, String> {
    let Some(text) = settings.text(key) else {
        return Ok(None);
    };
    match Password::parse_hash(text.trim()) {
        Some(hash) => hash.map(Some),
        // A whole file as a secret often ends with a line break that nobody types.
        None if settings.is_provided(key) => match text.trim_end_matches(['\r', '\n']) {
            "" => Err("expected a password, got an empty text".to_owned()),
            password => Ok(Some(Password::of(password))),
        },
        None if text.contains("${") => Err(
            "refers to a configuration provider that is not there; say in config.providers which \
             there are"
                .to_owned(),
        ),
        None => Err(
            "expected a hash, which 'connect hash-password' makes, or a reference to a configuration \
             provider such as ${file:/etc/connect/users.properties:NAME}, got a password that anybody \
             who reads this file can use"
                .to_owned(),
        ),
    }
}
