//! The REST interface as configured: where it listens, whom it asks who they are, what web pages may
//! do. Keys are Kafka Connect's, except those of users and of what is allowed without one.

use super::cross_origin::{self, CrossOrigin};
use super::keys::{Key, Kind, TableReader, list};
use super::listeners::{HttpListener, Scheme};
use super::response_headers::{self, HeaderRule};
use super::settings::Settings;
use super::tls::{self, ClientAuth, TlsConfig};
use super::users::{self, Users};

const LISTENERS: &str = "listeners";
const ADMIN: &str = "admin.listeners";
const EXTENSIONS: &str = "rest.extension.classes";
/// Lets others than this machine in, although nobody is asked who they are.
const REMOTE: &str = "rest.allow.unauthenticated.remote";
const HEALTH: &str = "rest.allow.unauthenticated.health";
const JVM: &str = "TLS is built in, without the JVM's providers";

/// The keys of the REST interface, apart from those of users and those under `listeners.https.` and
/// `admin.listeners.https.`, which are `ssl.…` again.
pub(super) const KEYS: &[Key] = &[
    Key::new(
        LISTENERS,
        Kind::List,
        Some("http://127.0.0.1:8083"),
        "Where the REST interface listens, as http://host:port or https://host:port, separated by commas; empty for none.",
    ),
    Key::new(
        ADMIN,
        Kind::List,
        None,
        "Where /admin/… is, if not at listeners with everything else; empty for nowhere.",
    ),
    Key::new(
        REMOTE,
        Kind::Boolean,
        Some("false"),
        "Whether listeners may be reachable from other machines, although nobody is asked who they are.",
    ),
    Key::new(
        HEALTH,
        Kind::Boolean,
        Some("false"),
        "Whether GET /health is answered without a user, where there are users.",
    ),
    Key::new(
        "rest.advertised.host.name",
        Kind::AnyText,
        None,
        "The host in worker_id, by which tools name this worker; by default that of the listener.",
    ),
    Key::new(
        "rest.advertised.port",
        Kind::Integer(0, 65_535),
        None,
        "The port in worker_id; by default that of the listener.",
    ),
    Key::new(
        "rest.advertised.listener",
        Kind::Choice(&["http", "https"]),
        None,
        "Which listener worker_id names, http or https; by default the first http one.",
    ),
    Key::new(
        EXTENSIONS,
        Kind::List,
        Some(""),
        "Classes of the JVM, which cannot be loaded here; must be empty.",
    ),
    Key::new(
        cross_origin::ORIGINS,
        Kind::AnyText,
        Some(""),
        "Origins whose web pages may use the interface: regular expressions, separated by commas, or *.",
    ),
    Key::new(
        cross_origin::METHODS,
        Kind::AnyText,
        Some(""),
        "The methods that those pages may use; by default GET, POST and HEAD.",
    ),
    Key::new(
        response_headers::KEY,
        Kind::AnyText,
        Some(""),
        "Headers of all answers: rules such as set X-Frame-Options: DENY, separated by commas.",
    ),
    Key::new(
        tls::CLIENT_AUTH,
        Kind::Choice(&["none", "requested", "required"]),
        Some("none"),
        "Whether https listeners ask clients for certificates of ssl.truststore.…",
    ),
    Key::new(
        tls::KEYSTORE_TYPE,
        Kind::AnyText,
        None,
        "The form of the key and certificates of https listeners: PEM.",
    ),
    Key::new(
        tls::KEYSTORE,
        Kind::AnyText,
        None,
        "A PEM file with the private key of https listeners and its certificate chain; read again when it changes.",
    ),
    Key::new(
        tls::KEYSTORE_CHAIN,
        Kind::AnyText,
        None,
        "The certificate chain itself, PEM, instead of ssl.keystore.location.",
    ),
    Key::new(
        tls::KEYSTORE_KEY,
        Kind::AnyText,
        None,
        "The private key itself, PEM, for ssl.keystore.certificate.chain.",
    ),
    Key::new(
        tls::TRUSTSTORE_TYPE,
        Kind::AnyText,
        None,
        "The form of the certificates that clients' certificates are checked against: PEM.",
    ),
    Key::new(
        tls::TRUSTSTORE,
        Kind::AnyText,
        None,
        "A PEM file with certificates of the authorities that clients' certificates come from.",
    ),
    Key::new(
        tls::TRUSTSTORE_CERTIFICATES,
        Kind::AnyText,
        None,
        "Those certificates themselves, PEM, instead of ssl.truststore.location.",
    ),
    Key::new(
        tls::PROTOCOLS,
        Kind::List,
        Some("TLSv1.2,TLSv1.3"),
        "Versions of TLS that https listeners speak.",
    ),
    Key::new(
        tls::CIPHER_SUITES,
        Kind::List,
        None,
        "Cipher suites of https listeners by their standard names; by default all that are safe.",
    ),
    Key::without_effect(
        "ssl.keystore.password",
        "PEM files have none; keep them readable by the worker alone",
    ),
    Key::without_effect(
        "ssl.truststore.password",
        "PEM files have none, and what is in them is public",
    ),
    Key::without_effect(
        "ssl.key.password",
        "the private key must not be encrypted; keep it readable by the worker alone",
    ),
    Key::without_effect("ssl.protocol", "ssl.enabled.protocols says it"),
    Key::without_effect("ssl.provider", JVM),
    Key::without_effect("ssl.keymanager.algorithm", JVM),
    Key::without_effect("ssl.trustmanager.algorithm", JVM),
    Key::without_effect("ssl.secure.random.implementation", JVM),
    Key::without_effect("ssl.engine.factory.class", JVM),
    Key::without_effect(
        "ssl.endpoint.identification.algorithm",
        "names are checked by clients, and this worker is none",
    ),
];

/// Where `/admin/…` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminListeners {
    /// At the same listeners as everything else.
    WithOthers,
    /// There and nowhere else; nowhere at all if empty.
    Apart(Vec<HttpListener>),
}

impl AdminListeners {
    /// The listeners that it has for itself.
    #[must_use]
    pub fn own(&self) -> &[HttpListener] {
        match self {
            Self::WithOthers => &[],
            Self::Apart(listeners) => listeners,
        }
    }
}

/// How this worker names itself, where that is not what it listens on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertised {
    /// Its host.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Which kind of its listeners.
    pub scheme: Option<Scheme>,
}

/// The REST interface as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestConfig {
    /// Where it listens; empty is no REST interface.
    pub listeners: Vec<HttpListener>,
    /// Where `/admin/…` is.
    pub admin: AdminListeners,
    /// Whether the user asked for these listeners. The default one may do without its port.
    pub configured: bool,
    /// Whether others than this machine may use it, although nothing asks who they are.
    pub remote: bool,
    /// Who may use it; empty if nobody is asked.
    pub users: Users,
    /// Whether `/health` is answered without a user all the same.
    pub open_health: bool,
    /// What web pages of elsewhere may do, if anything but read.
    pub cross_origin: Option<CrossOrigin>,
    /// Headers of all answers.
    pub response_headers: Vec<HeaderRule>,
    /// How this worker names itself.
    pub advertised: Advertised,
    /// How `https://` listeners prove who they are; there if there is one.
    pub tls: Option<TlsConfig>,
    /// The same for those of `admin.listeners`.
    pub admin_tls: Option<TlsConfig>,
}

impl RestConfig {
    pub(super) fn read(reader: &mut TableReader<'_>, settings: &Settings) -> Self {
        let listeners = addresses(reader, settings, LISTENERS);
        let admin = match settings.text(ADMIN) {
            None => AdminListeners::WithOthers,
            Some(_) => AdminListeners::Apart(addresses(reader, settings, ADMIN)),
        };
        let config = Self {
            configured: settings.text(LISTENERS).is_some(),
            remote: reader.boolean(REMOTE),
            users: users::read(reader, settings),
            open_health: reader.boolean(HEALTH),
            cross_origin: cross_origin::read(reader, settings),
            response_headers: response_headers::read(reader, settings),
            advertised: advertised(reader),
            tls: tls::read(reader, settings, "listeners.https.", &listeners),
            admin_tls: tls::read(reader, settings, "admin.listeners.https.", admin.own()),
            listeners,
            admin,
        };
        for admin in config.admin.own() {
            if admin.port != 0 && config.listeners.contains(admin) {
                let message = format!(
                    "\"{admin}\" is one of {LISTENERS}; leave {ADMIN} out to have everything there"
                );
                reader.problems.push(settings.problem(ADMIN, message));
            }
        }
        config.refuse_open_doors(reader, settings);
        check_extensions(reader, settings);
        if config.open_health && config.users.is_empty() {
            let message = "has no effect; everything is answered without a user here";
            let note = settings.key_warning(HEALTH, message).into_note();
            reader.problems.push(note);
        }
        config
    }

    /// A listener that other machines can reach must ask who they are, unless the user insists.
    fn refuse_open_doors(&self, reader: &mut TableReader<'_>, settings: &Settings) {
        let doors = [
            (LISTENERS, self.listeners.as_slice(), &self.tls),
            (ADMIN, self.admin.own(), &self.admin_tls),
        ];
        for (key, listeners, tls) in doors {
            for listener in listeners.iter().filter(|listener| !listener.is_local()) {
                let certificates = listener.scheme == Scheme::Https
                    && tls
                        .as_ref()
                        .is_some_and(|tls| tls.client_auth == ClientAuth::Required);
                let users = !self.users.is_empty();
                if !self.remote && !users && !certificates {
                    let message = format!(
                        "\"{listener}\" can be reached from other machines, and the REST interface \
                         does not ask who they are; listen on 127.0.0.1, say who may use it \
                         (rest.users.NAME.password and rest.users.NAME.role), or set {REMOTE} to true"
                    );
                    reader.problems.push(settings.problem(key, message));
                } else if users && listener.scheme == Scheme::Http {
                    let message = format!(
                        "passwords can be read on the way to \"{listener}\" unless something before it \
                         speaks TLS; https:// keeps them"
                    );
                    let note = settings.key_warning(key, message).into_note();
                    reader.problems.push(note);
                }
            }
        }
    }
}

fn addresses(
    reader: &mut TableReader<'_>,
    settings: &Settings,
    key: &'static str,
) -> Vec<HttpListener> {
    let mut listeners = Vec::new();
    for text in list(reader.text(key).unwrap_or_default()) {
        match HttpListener::parse(&text) {
            Ok(listener) if listener.port != 0 && listeners.contains(&listener) => {
                let message = format!("has \"{listener}\" twice");
                reader.problems.push(settings.problem(key, message));
            }
            Ok(listener) => listeners.push(listener),
            Err(message) => reader.problems.push(settings.problem(key, message)),
        }
    }
    listeners
}

fn advertised(reader: &TableReader<'_>) -> Advertised {
    let text = |key| reader.text(key).filter(|text| !text.is_empty());
    Advertised {
        host: text("rest.advertised.host.name").map(str::to_owned),
        port: text("rest.advertised.port").and_then(|port| port.parse().ok()),
        scheme: text("rest.advertised.listener").map(|scheme| {
            match scheme.eq_ignore_ascii_case("https") {
                true => Scheme::Https,
                false => Scheme::Http,
            }
        }),
    }
}

/// Going on without an extension that asks for passwords would open what is meant to be closed.
fn check_extensions(reader: &mut TableReader<'_>, settings: &Settings) {
    let Some(class) = reader.list(EXTENSIONS).into_iter().next() else {
        return;
    };
    let way_out = match class.ends_with("BasicAuthSecurityRestExtension") {
        true => {
            "basic authentication is built in: set rest.users.NAME.password and rest.users.NAME.role \
             instead, and leave this out"
        }
        false => "leave this out",
    };
    let message =
        format!("\"{class}\" is a class of the JVM, which cannot be loaded here; {way_out}");
    reader.problems.push(settings.problem(EXTENSIONS, message));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::worker::WorkerConfig;
    use crate::config::{Problem, Role};
    use crate::password::PasswordHash;

    type Read = Result<(RestConfig, Vec<Problem>), String>;

    fn read(keys: &[(&str, &str)]) -> Read {
        let mut all = vec![("key.converter", "string"), ("value.converter", "string")];
        all.extend(keys);
        let map = all.into_iter();
        let map = map.map(|(key, text)| (key.to_owned(), text.to_owned()));
        match WorkerConfig::read(&Settings::from_map("test", &map.collect())) {
            Ok((config, notes)) => Ok((config.rest, notes)),
            Err(problems) => Err(problems.to_string()),
        }
    }

    fn refused(keys: &[(&str, &str)]) -> String {
        read(keys).map(|_| ()).unwrap_err()
    }

    #[test]
    fn an_address_for_others_needs_to_ask_who_they_are() {
        let open = ("listeners", "http://:8083");
        let said = refused(&[open]);
        assert!(said.contains("rest.users.NAME.password"), "{said}");
        assert!(said.contains(REMOTE), "{said}");
        let admin = refused(&[("admin.listeners", "http://10.0.0.1:8084")]);
        assert!(admin.contains("does not ask who they are"), "{admin}");
        assert!(read(&[open, (REMOTE, "true")]).is_ok());

        let hash = PasswordHash::of("a").unwrap().to_string();
        let users = [
            ("rest.users.a.b.password", hash.as_str()),
            ("rest.users.a.b.role", "Read-Only"),
        ];
        let (config, notes) = read(&[&users[..], &[open]].concat()).unwrap();
        let (name, user) = config.users.iter().next().unwrap();
        assert_eq!((name, user.role), ("a.b", Role::ReadOnly));
        let note = notes.iter().map(Problem::message).collect::<String>();
        assert!(note.contains("passwords can be read on the way"), "{note}");
        assert!(!format!("{config:?}").contains(&hash));

        let secure = ("listeners", "https://0.0.0.0:8443");
        let keys = ("ssl.keystore.location", "server.pem");
        let said = refused(&[secure, keys]);
        assert!(said.contains("does not ask who they are"), "{said}");
        let trust = ("ssl.truststore.location", "authority.pem");
        let asks = |mode| read(&[secure, keys, trust, (tls::CLIENT_AUTH, mode)]);
        assert!(asks("required").is_ok());
        assert!(asks("requested").unwrap_err().contains("does not ask"));
        let (_, notes) = read(&[&users[..], &[secure, keys]].concat()).unwrap();
        assert!(notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn users_are_refused_with_every_mistake_and_without_what_they_know() {
        let said = refused(&[
            ("rest.users.ann.password", "canary-in-the-clear"),
            ("rest.users.ann.role", "full"),
            ("rest.users.bob.password", "pbkdf2-sha256$1000$canary"),
            ("rest.users.bob.role", "admin"),
            ("rest.users.cid.role", "full"),
            ("rest.users.dan.password", "${vault:canary}"),
            ("rest.users.passwords", "x"),
            ("rest.users.e:e.role", "full"),
        ]);
        for expected in [
            "'connect hash-password' makes",
            "this one is damaged",
            "expected full or read-only, got \"admin\"",
            "expected the password of user \"cid\"",
            "expected the role (full or read-only) of user \"dan\"",
            "config.providers",
            "expected rest.users.NAME.password or rest.users.NAME.role",
            "has \":\" in the name",
        ] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        assert!(!said.contains("canary-in"), "{said}");
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_reason() {
        let secure = ("listeners", "https://localhost:8443");
        for (keys, expected) in [
            (&[secure][..], "of https://localhost:8443, got nothing"),
            (
                &[secure, ("ssl.keystore.location", "a.p12")],
                "openssl pkcs12 -nodes -in a.p12",
            ),
            (
                &[
                    secure,
                    ("ssl.keystore.location", "a.pem"),
                    ("ssl.keystore.type", "jks"),
                ],
                "keytool -importkeystore -srckeystore a.pem",
            ),
            (
                &[secure, ("ssl.keystore.key", "a")],
                "expected the certificate chain in PEM form",
            ),
            (
                &[
                    secure,
                    ("ssl.keystore.location", "a"),
                    (tls::CLIENT_AUTH, "required"),
                ],
                "nothing says which are good",
            ),
            (
                &[
                    secure,
                    ("ssl.keystore.location", "a"),
                    ("ssl.enabled.protocols", "SSLv3"),
                ],
                "expected TLSv1.2, TLSv1.3 or both, got \"SSLv3\"",
            ),
            (
                &[secure, ("listeners.https.ssl.client.auth", "require")],
                "did you mean \"required\"?",
            ),
            (
                &[(EXTENSIONS, "org.example.SsoExtension")],
                "cannot be loaded here; leave this out",
            ),
            (
                &[(
                    EXTENSIONS,
                    "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension",
                )],
                "set rest.users.NAME.password",
            ),
            (
                &[("listeners", "http://localhost:1,http://localhost:1")],
                "twice",
            ),
            (
                &[(ADMIN, "http://127.0.0.1:8083")],
                "\"http://127.0.0.1:8083\" is one of listeners",
            ),
            (
                &[("access.control.allow.origin", "https://(")],
                "expected origins such as",
            ),
            (
                &[
                    ("access.control.allow.origin", "*"),
                    ("access.control.allow.methods", "GETT"),
                ],
                "got \"GETT\"",
            ),
            (
                &[("response.http.headers.config", "put A: b")],
                "whose action is not one of",
            ),
            (&[("rest.advertised.port", "70000")], "from 0 to 65535"),
        ] {
            let said = refused(keys);
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let secure = ("listeners", "https://localhost:8443");
        for (keys, expected) in [
            (
                &[
                    secure,
                    ("ssl.keystore.location", "a"),
                    ("ssl.key.password", "b"),
                ][..],
                "must not be encrypted",
            ),
            (
                &[
                    secure,
                    ("listeners.https.ssl.keystore.location", "a"),
                    ("listeners.https.ssl.keystore.locaton", "b"),
                ],
                "did you mean \"ssl.keystore.location\"?",
            ),
            (&[(HEALTH, "true")], "everything is answered without a user"),
            (
                &[("access.control.allow.methods", "GET")],
                "has no effect without access.control.allow.origin",
            ),
        ] {
            let (_, notes) = read(keys).unwrap();
            let said: String = notes.iter().map(Problem::message).collect();
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }

    #[test]
    fn admin_listeners_mean_what_they_mean_in_kafka() {
        let admin = |keys| read(keys).unwrap().0.admin;
        assert_eq!(admin(&[]), AdminListeners::WithOthers);
        assert_eq!(admin(&[(ADMIN, "")]), AdminListeners::Apart(Vec::new()));
        let (config, _) = read(&[
            (ADMIN, "https://localhost:8444"),
            ("admin.listeners.https.ssl.keystore.location", "admin.pem"),
        ])
        .unwrap();
        assert_eq!(config.admin.own()[0].port, 8444);
        let tls = config.admin_tls.unwrap();
        assert_eq!(tls.prefix, "admin.listeners.https.");
        assert_eq!(config.tls, None);
    }
}
