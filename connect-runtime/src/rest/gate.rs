//! Who may come in: basic authentication (RFC 7617) with roles.
//!
//! Every request says name and password. The first time, a stored hash makes checking them slow; then
//! a seal of the right password is remembered, which is quick. Wrong ones are always slow, whether there
//! is such a user or not, and are checked one at a time: whoever tries many takes one processor at most,
//! and delays only others who come for the first time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::failure::Failure;
use super::serving::Peer;
use crate::config::{Role, Users};
use crate::password::{Password, PasswordHash, Seal};

const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"connect\", charset=\"UTF-8\"");
/// How long a password may wait to be checked.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
/// What a wrong password costs where there is no hash to make it slow.
const GUESS_PAUSE: Duration = Duration::from_millis(100);
/// How often wrong ones are logged at most.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Who may come in.
pub(super) struct Gate {
    users: BTreeMap<String, Known>,
    /// What unknown users are checked against, so that this takes as long as for others.
    nobody: Option<PasswordHash>,
    /// One password is checked at a time.
    turn: Arc<Semaphore>,
    open_health: bool,
    refusals: Mutex<Refusals>,
}

/// Wrong names and passwords, for the log, which nobody may flood.
#[derive(Default)]
struct Refusals {
    /// When the last one was told.
    told: Option<Instant>,
    /// How many were not told since.
    silent: u64,
}

struct Known {
    role: Role,
    hash: Option<PasswordHash>,
    /// Of the right password, once it was there.
    seal: OnceLock<Seal>,
}

impl Refusals {
    /// Whether this one is told: if so, how many were not before it.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        let since = self.told.map(|told| now.duration_since(told));
        if since.is_some_and(|since| since < TELL_INTERVAL) {
            self.silent += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.silent))
    }
}

/// Why somebody does not come in.
enum Refused {
    /// Nobody knows who it is.
    Unknown,
    /// There are too many to look at.
    Busy,
}

impl Gate {
    /// A gate for these users; none if there are none, so that everybody may come in.
    pub(super) fn new(users: &Users, open_health: bool) -> Option<Arc<Self>> {
        let known = users.iter().map(|(name, user)| {
            let (hash, seal) = match &user.password {
                Password::Hash(hash) => (Some(hash.clone()), OnceLock::new()),
                Password::Seal(seal) => (None, OnceLock::from(seal.clone())),
            };
            let role = user.role;
            (name.to_owned(), Known { role, hash, seal })
        });
        let users: BTreeMap<String, Known> = known.collect();
        let nobody = users.values().find_map(|user| user.hash.as_ref());
        let nobody = nobody.map(PasswordHash::of_nobody);
        (!users.is_empty()).then(|| {
            Arc::new(Self {
                users,
                nobody,
                turn: Arc::new(Semaphore::new(1)),
                open_health,
                refusals: Mutex::default(),
            })
        })
    }

    /// Whose request it is.
    async fn check(&self, headers: &HeaderMap) -> Result<(String, Role), Refused> {
        let (name, password) = credentials(headers).ok_or(Refused::Unknown)?;
        let user = self.users.get(&name);
        if let Some(user) = user
            && user.seal.get().is_some_and(|seal| seal.is_of(&password))
        {
            return Ok((name, user.role));
        }
        let turn = Arc::clone(&self.turn).acquire_owned();
        let Ok(Ok(turn)) = timeout(CHECK_TIMEOUT, turn).await else {
            return Err(Refused::Busy);
        };
        let hash = user.and_then(|user| user.hash.as_ref());
        let Some(hash) = hash.or(self.nobody.as_ref()).cloned() else {
            sleep(GUESS_PAUSE).await;
            return Err(Refused::Unknown);
        };
        let seal = platform::blocking::run(move || {
            // Until it is checked, also when the client has gone meanwhile.
            let _turn = turn;
            hash.is_of(&password).then(|| Seal::of(&password))
        });
        match (user, seal.await) {
            (Some(user), Some(seal)) => {
                user.seal.get_or_init(|| seal);
                Ok((name, user.role))
            }
            _ => Err(Refused::Unknown),
        }
    }
}

impl Gate {
    /// Says who gives wrong names and passwords; not which, because people put one where the other
    /// belongs.
    fn tell_refusal(&self, peer: SocketAddr) {
        let Some(silent) = self.refusals.lock().tell(Instant::now()) else {
            return;
        };
        tracing::warn!(
            "the REST interface refused a request from {peer}, whose name or password is wrong, and \
             {silent} more before"
        );
    }
}

/// Lets a request through that somebody sends who may.
pub(super) async fn guard(
    State(gate): State<Arc<Gate>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let is_health = request.uri().path().trim_end_matches('/') == "/health";
    if gate.open_health && reads && is_health {
        return next.run(request).await;
    }
    match gate.check(request.headers()).await {
        Ok((name, Role::ReadOnly)) if !reads => Failure::new(
            StatusCode::FORBIDDEN,
            format!("User {name} may only read; this needs a user whose role is full"),
        )
        .into_response(),
        Ok(_) => next.run(request).await,
        Err(Refused::Busy) => Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many passwords are being checked; try again in a moment",
        )
        .into_response(),
        Err(Refused::Unknown) => {
            // Browsers and commands ask without a name first.
            if request.headers().contains_key(header::AUTHORIZATION) {
                gate.tell_refusal(peer);
            }
            let message = "User cannot access the resource.";
            let mut response = Failure::new(StatusCode::UNAUTHORIZED, message).into_response();
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
            response
        }
    }
}

/// Name and password of an `Authorization` header.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let encoded = encoded.trim();
    let decoded = STANDARD.decode(encoded);
    let decoded = decoded.or_else(|_| STANDARD_NO_PAD.decode(encoded)).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        credentials(&headers)
    }

    #[test]
    fn whoever_tries_many_passwords_does_not_flood_the_log() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(refusals.tell(at(0)), Some(0));
        assert_eq!(refusals.tell(at(1)), None);
        assert_eq!(refusals.tell(at(999)), None);
        assert_eq!(refusals.tell(at(1000)), Some(2));
        assert_eq!(refusals.tell(at(5000)), Some(0));
    }

    #[test]
    fn credentials_are_read_as_the_rfc_writes_them() {
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(
            read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            pair("Aladdin", "open sesame")
        );
        assert_eq!(read("basic dGVzdDoxMjPCow=="), pair("test", "123£"));
        assert_eq!(read("BASIC YTpiOmM"), pair("a", "b:c"));
        assert_eq!(read("Basic Og=="), pair("", ""));
        for other in [
            "Bearer YTpi",
            "Basic",
            "Basic !",
            "Basic YQ==",
            "Basic //8=",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
