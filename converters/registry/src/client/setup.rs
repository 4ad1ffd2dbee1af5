//! The keys that say where a registry is and how schemas get there.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use connect_core::config::{ConfigChoice, Password};
use connect_core::{Config, ConfigMap, Problem};
use parking_lot::Mutex;

use super::address::{Address, basic};
use super::flight::Interrupt;
use super::http::Http;
use super::tls::Tls;
use super::{Client, Registry};
use crate::subject::Strategy;

/// The keys of all converters with a registry.
#[derive(Debug, Config)]
#[config(validate = check)]
pub(crate) struct RegistryConfig {
    /// Addresses of the Schema Registry, separated by commas; the others are asked while one is away.
    #[config(
        key = "schema.registry.url",
        importance = "high",
        non_empty,
        group = "Registry"
    )]
    url: Vec<String>,
    /// Whether a schema that is not registered yet is registered.
    #[config(default = true, group = "Registry")]
    pub(crate) auto_register_schemas: bool,
    /// Whether records are written with the latest schema of their subject (with auto.register.schemas=false).
    #[config(default = false, group = "Registry")]
    pub(crate) use_latest_version: bool,
    /// Whether a field that the latest schema does not have is an error; it is left out otherwise.
    #[config(default = true, importance = "low", group = "Registry")]
    pub(crate) latest_compatibility_strict: bool,
    /// Whether the registry compares schemas in a normal form.
    #[config(default = false, group = "Registry")]
    normalize_schemas: bool,
    /// How the subject of a key's schema is named.
    #[config(default = "TopicNameStrategy", group = "Registry")]
    key_subject_name_strategy: String,
    /// How the subject of a value's schema is named: TopicNameStrategy, RecordNameStrategy or TopicRecordNameStrategy.
    #[config(default = "TopicNameStrategy", group = "Registry")]
    value_subject_name_strategy: String,
    /// How many schemas the converter keeps, each way.
    #[config(key = "schemas.cache.config", default = 1000, range = 1.., importance = "low", group = "Registry")]
    pub(crate) schemas_cache: usize,
    /// Where user and password are: in the address, or in basic.auth.user.info.
    #[config(default = "URL", group = "Security")]
    basic_auth_credentials_source: BasicSource,
    /// User and password, with a colon between them.
    #[config(group = "Security")]
    basic_auth_user_info: Option<Password>,
    /// Set to STATIC_TOKEN to send bearer.auth.token.
    #[config(group = "Security")]
    bearer_auth_credentials_source: Option<BearerSource>,
    /// A token that is sent with every request.
    #[config(group = "Security")]
    bearer_auth_token: Option<Password>,
    /// The format of the trusted certificates' file.
    #[config(
        key = "schema.registry.ssl.truststore.type",
        default = "PEM",
        importance = "low",
        group = "Security"
    )]
    _truststore_type: StoreType,
    /// A file with the certificates that are trusted; without it, those that the machine trusts.
    #[config(key = "schema.registry.ssl.truststore.location", group = "Security")]
    truststore_location: Option<PathBuf>,
    /// The trusted certificates themselves.
    #[config(
        key = "schema.registry.ssl.truststore.certificates",
        group = "Security"
    )]
    truststore_certificates: Option<String>,
    /// The format of the file with the certificate to show.
    #[config(
        key = "schema.registry.ssl.keystore.type",
        default = "PEM",
        importance = "low",
        group = "Security"
    )]
    _keystore_type: StoreType,
    /// A file with the certificate to show, and its private key, which is not encrypted.
    #[config(key = "schema.registry.ssl.keystore.location", group = "Security")]
    keystore_location: Option<PathBuf>,
    /// How long a connection to the registry may take.
    #[config(default = 10000, range = 1.., importance = "low", group = "Registry")]
    http_connect_timeout_ms: u32,
    /// How long an answer of the registry may take.
    #[config(default = 30000, range = 1.., importance = "low", group = "Registry")]
    http_read_timeout_ms: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ConfigChoice)]
enum BasicSource {
    #[config(name = "URL")]
    Url,
    #[config(name = "USER_INFO")]
    UserInfo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ConfigChoice)]
enum BearerSource {
    #[config(name = "STATIC_TOKEN")]
    StaticToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ConfigChoice)]
enum StoreType {
    #[config(name = "PEM")]
    Pem,
}

fn check(config: &RegistryConfig, problems: &mut Vec<Problem>) {
    for url in &config.url {
        if let Err(problem) = Address::parse(url) {
            // It may hold a password, so it is not repeated.
            let message =
                format!("has an address that {problem}; an example is \"http://localhost:8081\"");
            problems.push(Problem::new("schema.registry.url", message));
        }
    }
    if config.url.is_empty() {
        problems.push(Problem::new("schema.registry.url", "names no registry"));
    }
    for (key, name) in [
        (
            "key.subject.name.strategy",
            &config.key_subject_name_strategy,
        ),
        (
            "value.subject.name.strategy",
            &config.value_subject_name_strategy,
        ),
    ] {
        if Strategy::named(name).is_none() {
            problems.push(Problem::with_value(
                key,
                name,
                "expected TopicNameStrategy, RecordNameStrategy or TopicRecordNameStrategy",
            ));
        }
    }
    let has_user = config.basic_auth_user_info.is_some();
    match config.basic_auth_credentials_source {
        BasicSource::UserInfo if !has_user => problems.push(Problem::new(
            "basic.auth.user.info",
            "is missing; basic.auth.credentials.source=USER_INFO needs user:password there",
        )),
        BasicSource::Url if has_user => problems.push(Problem::new(
            "basic.auth.credentials.source",
            "must be USER_INFO, or basic.auth.user.info counts for nothing",
        )),
        _ => {}
    }
    if config.bearer_auth_credentials_source.is_some() != config.bearer_auth_token.is_some() {
        problems.push(Problem::new(
            "bearer.auth.token",
            "needs bearer.auth.credentials.source=STATIC_TOKEN, and that needs it",
        ));
    }
    if config.bearer_auth_token.is_some() && has_user {
        problems.push(Problem::new(
            "bearer.auth.token",
            "is given beside basic.auth.user.info; a request has one of them",
        ));
    }
}

impl RegistryConfig {
    /// Reads the keys of a converter, and these.
    ///
    /// # Errors
    /// All problems of both.
    pub(crate) fn with<C: Config>(config: &ConfigMap) -> Result<(C, Self), Vec<Problem>> {
        match (C::parse(config), Self::parse(config)) {
            (Ok(own), Ok(registry)) => Ok((own, registry)),
            (own, registry) => {
                let problems = registry.err().into_iter().chain(own.err());
                Err(problems.flatten().collect())
            }
        }
    }

    /// How subjects are named.
    pub(crate) fn strategy(&self, is_key: bool) -> Strategy {
        let name = match is_key {
            true => &self.key_subject_name_strategy,
            false => &self.value_subject_name_strategy,
        };
        // Checked when it was read.
        Strategy::named(name).unwrap_or_default()
    }

    /// The registry that it describes. Asks nobody.
    ///
    /// # Errors
    /// Certificates cannot be used.
    pub(crate) fn registry(&self) -> Result<Registry, Vec<Problem>> {
        let addresses: Vec<Address> = self
            .url
            .iter()
            .filter_map(|url| Address::parse(url).ok())
            .collect();
        let pem = |key: &str, path: &PathBuf| {
            std::fs::read(path).map_err(|error| {
                let shown = path.display().to_string();
                vec![Problem::with_value(key, shown, error.to_string())]
            })
        };
        let trusted = match (&self.truststore_certificates, &self.truststore_location) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(path)) => Some(pem("schema.registry.ssl.truststore.location", path)?),
            (None, None) => None,
        };
        let own = match &self.keystore_location {
            Some(path) => Some(pem("schema.registry.ssl.keystore.location", path)?),
            None => None,
        };
        let user = self.basic_auth_user_info.as_ref();
        let token = self.bearer_auth_token.as_ref();
        let authorization = match (user, token) {
            (Some(user), _) => Some(basic(user.reveal())),
            (None, Some(token)) => Some(Password::new(format!("Bearer {}", token.reveal()))),
            (None, None) => None,
        };
        let likeness = Likeness {
            addresses: self.url.clone(),
            authorization: authorization.as_ref().map(|some| some.reveal().to_owned()),
            trusted,
            own,
            timeouts: (self.http_connect_timeout_ms, self.http_read_timeout_ms),
        };
        let client = likeness.client(|likeness| {
            let tls = match addresses.iter().any(|address| address.secure) {
                false => None,
                true => {
                    let tls = Tls::new(likeness.trusted.as_deref(), likeness.own.as_deref());
                    Some(tls.map_err(|problem| {
                        vec![Problem::new(
                            "schema.registry.ssl.truststore.location",
                            problem,
                        )]
                    })?)
                }
            };
            Ok(Http {
                addresses,
                authorization,
                connect_timeout: Duration::from_millis(self.http_connect_timeout_ms.into()),
                answer_timeout: Duration::from_millis(self.http_read_timeout_ms.into()),
                tls,
                current: AtomicUsize::new(0),
            })
        })?;
        Ok(Registry {
            client,
            interrupt: Interrupt::default(),
            normalize: self.normalize_schemas,
        })
    }
}

/// What two converters must have alike to share a client.
#[derive(PartialEq, Eq, Hash)]
struct Likeness {
    addresses: Vec<String>,
    authorization: Option<String>,
    trusted: Option<Vec<u8>>,
    own: Option<Vec<u8>>,
    timeouts: (u32, u32),
}

type Clients = Mutex<HashMap<Likeness, Weak<Client>>>;

impl Likeness {
    /// The client of those who are like this, or a new one.
    fn client(
        self,
        make: impl FnOnce(&Self) -> Result<Http, Vec<Problem>>,
    ) -> Result<Arc<Client>, Vec<Problem>> {
        static CLIENTS: OnceLock<Clients> = OnceLock::new();
        let mut clients = CLIENTS.get_or_init(Mutex::default).lock();
        if let Some(client) = clients.get(&self).and_then(Weak::upgrade) {
            return Ok(client);
        }
        clients.retain(|_, client| client.strong_count() > 0);
        let client = Arc::new(Client::new(make(&self)?));
        clients.insert(self, Arc::downgrade(&client));
        Ok(client)
    }
}
