//! Where a worker is and who we are: options, else the environment, else a file, else what is usual.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::HeaderValue;

use super::url::Url;
use super::{DEFAULT_URL, Rest, VARIABLE, secret, tls};
use crate::invocation::Invocation;
use crate::properties::{self, Properties};
use crate::{CliError, output};

const PASSWORD: &str = "CONNECT_PASSWORD";
/// What a file may say.
const KEYS: [&str; 5] = ["url", "user", "password.file", "cacert", "cert"];
/// The largest file with a password, in bytes.
const PASSWORD_FILE_BYTES_MAX: u64 = 4096;

/// Where the worker is, and who we are.
#[derive(Debug, Clone, clap::Args)]
pub struct RestArguments {
    /// The worker's REST interface [default: $CONNECT_URL, else http://127.0.0.1:8083].
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Who we are, if the worker asks [default: $CONNECT_USER].
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A file whose first line is the password [default: $CONNECT_PASSWORD_FILE, or $CONNECT_PASSWORD].
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Certificates of the authorities to trust, PEM [default: $CONNECT_CACERT, else the system's].
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Our own certificate with its key, PEM, if the worker asks for one [default: $CONNECT_CERT].
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// A file with url, user, password.file, cacert and cert [default: $CONNECT_CLIENT_CONFIG].
    #[arg(long, value_name = "FILE")]
    pub client_config: Option<PathBuf>,
}

/// A value and where it was said.
struct Said {
    text: String,
    source: String,
}

impl RestArguments {
    /// The REST interface that the options, the environment, a file or the default names.
    ///
    /// # Errors
    /// Something of it makes no sense, or a file cannot be read.
    pub fn rest(&self, invocation: &Invocation) -> Result<Rest, CliError> {
        let file = self.file()?;
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let url = said("--url", self.url.clone(), VARIABLE, "url", &file);
        let url = url.unwrap_or_else(|| Said {
            text: DEFAULT_URL.to_owned(),
            source: "the default".to_owned(),
        });
        let url = Url::parse(&url.text).map_err(|problem| {
            invocation.usage(format!(
                "\"{}\" ({}) {problem}; an example is \"{DEFAULT_URL}\"",
                url.text, url.source
            ))
        })?;
        let user = said("--user", self.user.clone(), "CONNECT_USER", "user", &file);
        let ca = said(
            "--cacert",
            path(&self.cacert),
            "CONNECT_CACERT",
            "cacert",
            &file,
        );
        let own = said("--cert", path(&self.cert), "CONNECT_CERT", "cert", &file);
        let authorization = match user {
            None => None,
            Some(user) => {
                let password = self.password(&user, &file, invocation)?;
                Some(authorization(&user.text, &password, invocation)?)
            }
        };
        if authorization.is_some() && !url.secure && !url.is_local() {
            output::note(&format!(
                "warning: the password can be read on its way to {url}; use https:// if the worker does"
            ));
        }
        let tls = match url.secure {
            false => None,
            true => {
                let ca = ca.map(|said| PathBuf::from(said.text));
                let own = own.map(|said| PathBuf::from(said.text));
                let connector = tls::connector(ca.as_deref(), own.as_deref());
                Some(connector.map_err(|why| CliError::failed(format!("error: {why}")))?)
            }
        };
        Ok(Rest {
            url,
            authorization,
            tls,
        })
    }

    /// What the file says, whose relative paths begin where it is.
    fn file(&self) -> Result<Properties, CliError> {
        let path = match &self.client_config {
            Some(path) => path.clone(),
            None => match variable("CONNECT_CLIENT_CONFIG") {
                Some(path) => path.into(),
                None => return Ok(Properties::empty()),
            },
        };
        let mut read = properties::load(&path)?;
        for key in read.values().keys() {
            if !KEYS.contains(&key.as_str()) {
                let known = KEYS.join(", ");
                return Err(read.refused(key, format!("is not known here; there are {known}")));
            }
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        for key in ["password.file", "cacert", "cert"] {
            if let Some(text) = read.get(key).map(str::to_owned) {
                let whole = folder.join(text).display().to_string();
                read.set(key, &whole, &path.display().to_string());
            }
        }
        Ok(read)
    }

    fn password(
        &self,
        user: &Said,
        file: &Properties,
        invocation: &Invocation,
    ) -> Result<String, CliError> {
        // Next to what names the file, the password itself.
        let from_file = match &self.password_file {
            Some(path) => Some(path.clone()),
            None => match (variable("CONNECT_PASSWORD_FILE"), std::env::var(PASSWORD)) {
                (Some(path), _) => Some(path.into()),
                (None, Ok(password)) if !password.is_empty() => return Ok(password),
                (None, _) => file.get("password.file").map(PathBuf::from),
            },
        };
        match from_file {
            Some(path) => password_in(&path),
            None if secret::is_terminal() => {
                secret::hidden_line(&format!("Password of {}: ", user.text))
            }
            None => Err(invocation.usage(format!(
                "user \"{}\" ({}) has no password; name a file with --password-file or \
                 CONNECT_PASSWORD_FILE, or set {PASSWORD}",
                user.text, user.source
            ))),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .filter(|text| !text.trim().is_empty())
}

fn said(
    option: &str,
    given: Option<String>,
    name: &str,
    key: &str,
    file: &Properties,
) -> Option<Said> {
    let from = |text: String, source: &str| Said {
        text,
        source: source.to_owned(),
    };
    let option = given.map(|text| from(text, option));
    let option = option.or_else(|| variable(name).map(|text| from(text, name)));
    option.or_else(|| file.get(key).map(|text| from(text.to_owned(), key)))
}

/// The first line of a file.
fn password_in(path: &Path) -> Result<String, CliError> {
    let failed = |what: String| {
        CliError::failed(format!(
            "error: the file with the password, \"{}\", {what}",
            path.display()
        ))
    };
    let metadata =
        std::fs::metadata(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    if metadata.len() > PASSWORD_FILE_BYTES_MAX {
        return Err(failed(format!(
            "has {} bytes, and {PASSWORD_FILE_BYTES_MAX} is the limit",
            metadata.len()
        )));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if metadata.permissions().mode() & 0o044 != 0 {
            output::note(&format!(
                "warning: others can read the password in \"{path}\"; keep it to yourself with: chmod 600 \
                 {path}",
                path = path.display()
            ));
        }
    }
    match text.lines().next() {
        None | Some("") => Err(failed("has no password in its first line".to_owned())),
        Some(password) => Ok(password.to_owned()),
    }
}

fn authorization(
    user: &str,
    password: &str,
    invocation: &Invocation,
) -> Result<HeaderValue, CliError> {
    if user.contains(':') {
        return Err(invocation.usage(format!(
            "user \"{user}\" has \":\" in the name, which cannot be"
        )));
    }
    let credentials = BASE64.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {credentials}"))
        .map_err(|error| CliError::failed(format!("error: {error}")))?;
    value.set_sensitive(true);
    Ok(value)
}
