//! Configuration providers (KIP-297): `${provider:path:key}` in a value stands for what a provider has
//! under that key, so that secrets need not be in configurations.
//!
//! | class | path and key | parameters |
//! |---|---|---|
//! | `FileConfigProvider` | a properties file, and a key in it | `allowed.paths` |
//! | `DirectoryConfigProvider` | a folder, and a file in it, which is the value | `allowed.paths` |
//! | `EnvVarConfigProvider` | no path, and an environment variable | `allowlist.pattern` |
//!
//! References are replaced when something is started, and never in what is stored or shown. What a
//! provider gives is a secret from then on. As in Kafka, a reference to a provider or a key that is not
//! there stays as it stands; that is warned about.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use connect_core::ConfigMap;
use regex::Regex;

use super::keys::list;
use super::problem::{Problem, nearest};
use super::settings::{Format, Settings};
use crate::secrets;

const KEY: &str = "config.providers";
/// The largest file that is read for a value.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const CLASSES: [&str; 3] = [
    "org.apache.kafka.common.config.provider.FileConfigProvider",
    "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
    "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
];

/// The providers of a worker, by the names that references use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Providers(BTreeMap<String, Provider>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Provider {
    File(Allowed),
    Directory(Allowed),
    /// With a pattern for the names of variables.
    Environment(Option<String>),
}

/// The folders and files that may be read, unless all may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Allowed(Option<Vec<PathBuf>>);

/// A value without references.
struct Resolved {
    text: String,
    /// References that stay as they stand, and why.
    left: Vec<String>,
}

impl Providers {
    /// Reads the providers that a worker's settings define, and says what is wrong with them.
    pub(super) fn read(settings: &Settings) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let names = list(settings.text(KEY).unwrap_or_default());
        let mut providers = BTreeMap::new();
        for name in &names {
            if let Some(provider) = provider(settings, name, &mut problems) {
                providers.insert(name.clone(), provider);
            }
        }
        for (key, _) in settings.iter() {
            let stranger = key.strip_prefix("config.providers.").filter(|rest| {
                let own = |name: &String| {
                    let rest = rest.strip_prefix(name.as_str());
                    rest.is_some_and(|rest| rest.starts_with('.'))
                };
                !names.iter().any(own)
            });
            if let Some(rest) = stranger {
                let name = rest.split('.').next().unwrap_or(rest);
                let message = format!("has no effect; \"{name}\" is not in \"{KEY}\"");
                problems.push(settings.key_warning(key, message));
            }
        }
        (Self(providers), problems)
    }

    /// Settings without references, and what is wrong with those. Reads files, which are small and
    /// local.
    pub(super) fn resolve(&self, settings: &Settings) -> (Settings, Vec<Problem>) {
        let (mut resolved, mut problems) = (settings.clone(), Vec::new());
        for (key, entry) in settings.iter() {
            // The providers themselves, and what Kafka reads before there are any.
            if self.0.is_empty() || key.starts_with(KEY) || key == "plugin.path" {
                continue;
            }
            match self.text(key, &entry.text) {
                Ok(found) => {
                    let warnings = found.left.into_iter();
                    problems.extend(warnings.map(|why| settings.key_warning(key, why)));
                    resolved.provide(key, found.text);
                }
                Err(message) => problems.push(settings.problem(key, message)),
            }
        }
        (resolved, problems)
    }

    /// As [`resolve`](Self::resolve), for a map.
    ///
    /// # Errors
    /// A provider cannot say what a reference stands for.
    pub(crate) fn resolve_map(&self, map: &ConfigMap) -> Result<ConfigMap, String> {
        let one = |(key, text): (&String, &String)| match self.text(key, text) {
            Ok(found) => Ok((key.clone(), found.text)),
            Err(message) => Err(format!("key \"{key}\": {message}")),
        };
        map.iter().map(one).collect()
    }

    fn text(&self, of: &str, text: &str) -> Result<Resolved, String> {
        let mut found = Resolved {
            text: String::with_capacity(text.len()),
            left: Vec::new(),
        };
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            found.text.push_str(before);
            let Some((inner, after)) = behind.split_once('}') else {
                rest = rest.get(before.len()..).unwrap_or_default();
                break;
            };
            match self.reference(of, inner)? {
                Ok(value) => found.text.push_str(&value),
                Err(why) => {
                    found.text.push_str(&format!("${{{inner}}}"));
                    found.left.extend(why);
                }
            }
            rest = after;
        }
        found.text.push_str(rest);
        Ok(found)
    }

    /// What stands between the braces: its value; or that it stays as it stands, and why, if it looks
    /// like a reference.
    fn reference(&self, of: &str, inner: &str) -> Result<Result<String, Option<String>>, String> {
        let Some((name, place)) = inner.split_once(':') else {
            return Ok(Err(None));
        };
        let (path, key) = place.split_once(':').unwrap_or(("", place));
        let Some(provider) = self.0.get(name) else {
            let near = nearest(name, self.0.keys().map(String::as_str));
            let near = near.map(|near| format!("; did you mean \"{near}\"?"));
            return Ok(Err(Some(format!(
                "\"${{{inner}}}\" is taken as it stands, because \"{name}\" is not in \"{KEY}\"{}",
                near.unwrap_or_default()
            ))));
        };
        let value = provider.get(path, key);
        match value.map_err(|reason| format!("\"${{{inner}}}\" cannot be read: {reason}"))? {
            Some(value) => {
                secrets::learn_provided(of, &value);
                Ok(Ok(value))
            }
            None => Ok(Err(Some(format!(
                "\"${{{inner}}}\" is taken as it stands, because provider \"{name}\" has no \"{key}\" \
                 there"
            )))),
        }
    }
}

fn provider(settings: &Settings, name: &str, problems: &mut Vec<Problem>) -> Option<Provider> {
    let prefix = format!("{KEY}.{name}.");
    let class_key = format!("{prefix}class");
    let class = settings.text(&class_key).map(str::trim).unwrap_or_default();
    let known = CLASSES.into_iter().position(|full| answers(full, class));
    let params = settings.with_prefix(&format!("{prefix}param."));
    let known_param = match known {
        Some(2) => "allowlist.pattern",
        _ => "allowed.paths",
    };
    let param = params.get(known_param).map(|text| text.trim());
    let param = param.filter(|text| !text.is_empty());
    for stranger in params.keys().filter(|key| *key != known_param) {
        let message = super::unknown_key(stranger, [known_param].into_iter());
        problems.push(settings.key_warning(&format!("{prefix}param.{stranger}"), message));
    }
    let param_key = format!("{prefix}param.{known_param}");
    match known {
        None => {
            let message = format!(
                "expected one of {}, got {}",
                CLASSES.map(simple).join(", "),
                match class {
                    "" => "nothing; it must be set".to_owned(),
                    class => format!("\"{}\"", class.escape_debug()),
                }
            );
            problems.push(settings.problem(&class_key, message));
            None
        }
        Some(2) => {
            if let Some(pattern) = param
                && whole(pattern).is_err()
            {
                let message = format!("expected a regular expression, got \"{pattern}\"");
                problems.push(settings.problem(&param_key, message));
            }
            Some(Provider::Environment(param.map(str::to_owned)))
        }
        Some(which) => {
            let allowed =
                Allowed(param.map(|paths| list(paths).iter().map(PathBuf::from).collect()));
            let relative = allowed.0.iter().flatten().find(|path| !path.is_absolute());
            if let Some(path) = relative {
                let message = format!("expected absolute paths, got \"{}\"", path.display());
                problems.push(settings.problem(&param_key, message));
            }
            Some(match which {
                0 => Provider::File(allowed),
                _ => Provider::Directory(allowed),
            })
        }
    }
}

fn simple(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}

/// A class answers to its full name, its simple name, and that without `ConfigProvider`.
fn answers(full: &str, name: &str) -> bool {
    let simple = simple(full);
    let short = simple.strip_suffix("ConfigProvider").unwrap_or(simple);
    full == name || simple.eq_ignore_ascii_case(name) || short.eq_ignore_ascii_case(name)
}

/// A pattern for the whole of a text.
fn whole(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())
}

impl Provider {
    /// The value under a key, if there is one.
    fn get(&self, path: &str, key: &str) -> Result<Option<String>, String> {
        match self {
            Self::File(allowed) => {
                let path = allowed.check(path)?;
                let bytes = read(&path)?.ok_or_else(|| missing(&path))?;
                let source = path.display().to_string();
                let parsed = Settings::parse(Format::Properties, &source, &bytes);
                let (values, _) = parsed.map_err(|_| {
                    // What is wrong may show what must not be shown.
                    format!("{source} is not a properties file")
                })?;
                Ok(values.text(key).map(str::to_owned))
            }
            Self::Directory(allowed) => {
                let folder = allowed.check(path)?;
                let mut parts = Path::new(key).components();
                let is_name = matches!(
                    (parts.next(), parts.next()),
                    (Some(Component::Normal(_)), None)
                );
                if !is_name {
                    return Err(format!("\"{key}\" is not the name of a file in a folder"));
                }
                let file = folder.join(key);
                let Some(bytes) = read(&file)? else {
                    return Ok(None);
                };
                let text = String::from_utf8(bytes);
                text.map(Some)
                    .map_err(|_| format!("{} is not UTF-8", file.display()))
            }
            Self::Environment(allowlist) => {
                if !path.is_empty() {
                    return Err(
                        "environment variables have no path; write ${name:VARIABLE}".to_owned()
                    );
                }
                if let Some(pattern) = allowlist
                    && !whole(pattern)?.is_match(key)
                {
                    return Err(format!(
                        "environment variable \"{key}\" does not match allowlist.pattern"
                    ));
                }
                Ok(std::env::var(key).ok())
            }
        }
    }
}

impl Allowed {
    /// The path without `..`, if it may be read.
    fn check(&self, path: &str) -> Result<PathBuf, String> {
        if path.is_empty() {
            return Err("it has no path; write ${name:path:key}".to_owned());
        }
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        let path = normal(&path);
        let within = |allowed: &PathBuf| path.starts_with(normal(allowed));
        match &self.0 {
            Some(allowed) if !allowed.iter().any(within) => {
                Err(format!("{} is not within allowed.paths", path.display()))
            }
            _ => Ok(path),
        }
    }
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

fn missing(path: &Path) -> String {
    format!("{}: file does not exist", path.display())
}

/// A whole file, if it is there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let metadata = match platform::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // A pipe might never answer, and a device never end.
    if !metadata.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    let length = metadata.len();
    if length > FILE_BYTES_MAX {
        return Err(format!(
            "{} has {length} bytes, and {FILE_BYTES_MAX} are allowed",
            path.display()
        ));
    }
    platform::fs::read(path).map(Some).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let pairs = pairs.iter();
        let map = pairs.map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        Settings::from_map("test", &map.collect())
    }

    /// Providers `f`, `d` and `e`, and a folder with a properties file and others.
    fn world() -> (Providers, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(
            folder.path().join("in/a.properties"),
            "user=alice\nx\\:y=colon\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("in/whole"), "all of it\n").unwrap();
        std::fs::write(folder.path().join("out"), "user=mallory\n").unwrap();
        let within = folder.path().join("in").display().to_string();
        let (providers, problems) = Providers::read(&settings(&[
            ("config.providers", "f, d,e"),
            ("config.providers.f.class", CLASSES[0]),
            ("config.providers.f.param.allowed.paths", &within),
            ("config.providers.d.class", "DirectoryConfigProvider"),
            ("config.providers.d.param.allowed.paths", &within),
            ("config.providers.e.class", "envvar"),
            (
                "config.providers.e.param.allowlist.pattern",
                "CARGO_PKG_NAME|NO_SUCH",
            ),
        ]));
        assert_eq!(problems, []);
        (providers, folder)
    }

    #[test]
    fn references_stand_for_what_providers_have() {
        let (providers, folder) = world();
        let base = folder.path().display();
        for (text, expected) in [
            (format!("${{f:{base}/in/a.properties:user}}"), "alice"),
            (format!("${{f:{base}/in/../in/a.properties:x:y}}"), "colon"),
            (
                format!("<${{d:{base}/in:whole}}>${{e:CARGO_PKG_NAME}}"),
                "<all of it\n>connect-runtime",
            ),
            ("$${a} ${ ${topic} ${}".to_owned(), "$${a} ${ ${topic} ${}"),
        ] {
            let found = providers.text("", &text).unwrap();
            assert_eq!(found.text, expected, "{text}");
            assert_eq!(found.left, Vec::<String>::new());
        }
    }

    #[test]
    fn a_reference_to_nothing_stays_and_is_warned_about() {
        let (providers, folder) = world();
        let base = folder.path().display();
        for (text, why) in [
            (
                format!("${{f:{base}/in/a.properties:uesr}}"),
                "has no \"uesr\" there",
            ),
            (
                format!("${{d:{base}/in:nothing}}"),
                "has no \"nothing\" there",
            ),
            ("${e:NO_SUCH}".to_owned(), "has no \"NO_SUCH\" there"),
            (
                "${flie:a:b}".to_owned(),
                "\"flie\" is not in \"config.providers\"",
            ),
        ] {
            let found = providers.text("", &text).unwrap();
            assert_eq!(found.text, text);
            assert!(
                found.left.len() == 1 && found.left[0].contains(why),
                "{:?}",
                found.left
            );
        }
    }

    #[test]
    fn nothing_is_read_that_is_not_allowed() {
        let (providers, folder) = world();
        let base = folder.path().display();
        for (text, why) in [
            (
                format!("${{f:{base}/out:user}}"),
                "is not within allowed.paths",
            ),
            (
                format!("${{f:{base}/in/../out:user}}"),
                "is not within allowed.paths",
            ),
            (
                format!("${{d:{base}/in:../out}}"),
                "is not the name of a file in a folder",
            ),
            (format!("${{f:{base}/in/none:user}}"), "file does not exist"),
            (format!("${{f:{base}/in:user}}"), "is not a file"),
            ("${f:user}".to_owned(), "it has no path"),
            ("${e:HOME}".to_owned(), "does not match allowlist.pattern"),
            ("${e:x:CARGO_PKG_NAME}".to_owned(), "have no path"),
        ] {
            let error = providers.text("", &text).err().unwrap();
            assert!(error.contains(why), "{text}: {error}");
        }
        let (all, _) = Providers::read(&settings(&[
            ("config.providers", "f"),
            ("config.providers.f.class", "FileConfigProvider"),
        ]));
        let error = all.text("", "${f:/dev/zero:x}").err().unwrap();
        assert!(error.contains("is not a file"), "{error}");
    }

    #[test]
    fn wrong_providers_are_reported() {
        let (_, problems) = Providers::read(&settings(&[
            ("config.providers", "a,b,c,d"),
            ("config.providers.a.class", "VaultConfigProvider"),
            ("config.providers.c.class", "File"),
            ("config.providers.c.param.allowed.paths", "etc"),
            ("config.providers.c.param.allowed.path", "/etc"),
            ("config.providers.d.class", "EnvVar"),
            ("config.providers.d.param.allowlist.pattern", "("),
            ("config.providers.x.class", "File"),
        ]));
        let text = super::super::Problems(problems).to_string();
        for expected in [
            "\"config.providers.a.class\": expected one of FileConfigProvider, DirectoryConfigProvider, \
             EnvVarConfigProvider, got \"VaultConfigProvider\"",
            "\"config.providers.b.class\": expected one of FileConfigProvider, DirectoryConfigProvider, \
             EnvVarConfigProvider, got nothing; it must be set",
            "\"config.providers.c.param.allowed.paths\": expected absolute paths, got \"etc\"",
            "\"config.providers.c.param.allowed.path\": is not known and has no effect; did you mean \
             \"allowed.paths\"?",
            "\"config.providers.d.param.allowlist.pattern\": expected a regular expression, got \"(\"",
            "\"config.providers.x.class\": has no effect; \"x\" is not in \"config.providers\"",
        ] {
            assert!(text.contains(expected), "{expected}\nin {text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_changed_without_a_provider_of_that_name(text in "[${}:a-c/ ]{0,40}") {
            let (providers, _) = Providers::read(&settings(&[
                ("config.providers", "x"),
                ("config.providers.x.class", "EnvVar"),
            ]));
            proptest::prop_assert_eq!(providers.text("", &text).unwrap().text, text);
        }
    }
}
