//! Environment variables over the worker's file: `CONNECT_` and the key in upper case, with `_`
//! for `.`, `__` for `-` and `___` for `_`; so `CONNECT_BOOTSTRAP_SERVERS` is `bootstrap.servers`.

use super::settings::{Entry, Origin, Settings};

const PREFIX: &str = "CONNECT_";
/// These tell the commands that talk to a worker where it is and who they are; the worker itself has no
/// such keys.
const NO_KEYS: [&str; 7] = [
    "CONNECT_URL",
    "CONNECT_USER",
    "CONNECT_PASSWORD",
    "CONNECT_PASSWORD_FILE",
    "CONNECT_CACERT",
    "CONNECT_CERT",
    "CONNECT_CLIENT_CONFIG",
];

/// Replaces worker settings by those of the environment, given as (name, value) pairs. The
/// environment wins over the file.
pub fn apply_environment(
    settings: &mut Settings,
    variables: impl IntoIterator<Item = (String, String)>,
) {
    for (name, text) in variables {
        let own = name
            .strip_prefix(PREFIX)
            .filter(|_| !NO_KEYS.contains(&name.as_str()));
        let Some(key) = own.and_then(key_of) else {
            continue;
        };
        let origin = Origin {
            source: format!("environment variable {name}").into(),
            position: None,
        };
        let entry = Entry {
            text,
            key_origin: origin.clone(),
            value_origin: origin,
        };
        settings.insert(key, entry);
    }
}

fn key_of(name: &str) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    let mut key = String::with_capacity(name.len());
    let mut rest = name;
    while !rest.is_empty() {
        let underscores = rest.bytes().take_while(|byte| *byte == b'_').count().min(3);
        match underscores {
            0 => {
                let plain = rest.find('_').unwrap_or(rest.len());
                let (text, after) = rest.split_at(plain);
                key.push_str(&text.to_ascii_lowercase());
                rest = after;
                continue;
            }
            1 => key.push('.'),
            2 => key.push('-'),
            _ => key.push('_'),
        }
        rest = rest.get(underscores..).unwrap_or_default();
    }
    Some(key)
}
