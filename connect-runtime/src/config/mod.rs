//! Configuration files: `.toml`, `.properties` and `.json` become one flat map of Kafka's dotted
//! keys, and every entry knows where it was written.
//!
//! Values stay text, as everywhere in Kafka Connect; types are read from the definition of the
//! component that a key belongs to ([`worker`], [`connector`], and each plugin's own). Reading
//! never stops at the first mistake: all [`Problem`]s of a file come together.

mod cross_origin;
mod environment;
mod json;
mod keys;
mod listeners;
mod override_policy;
mod presentation;
mod problem;
mod properties;
mod providers;
mod response_headers;
mod rest;
mod settings;
mod tls;
mod toml;
pub(crate) mod topic_creation;
mod users;

pub mod connector;
pub mod worker;

pub use crate::secrets::is_secret_key;
pub use cross_origin::CrossOrigin;
pub use environment::apply_environment;
pub use keys::{Effect, Key, Kind};
pub(crate) use keys::{definition, list};
pub use listeners::{HttpListener, Scheme};
pub use override_policy::OverridePolicy;
pub(crate) use problem::unknown_key;
pub use problem::{Problem, Problems, Severity};
pub use providers::Providers;
pub use response_headers::{HeaderRule, HeaderValueRule};
pub use rest::{AdminListeners, Advertised, RestConfig};
pub(crate) use settings::not_shown;
pub use settings::{Entry, Format, Origin, Position, Settings};
pub(crate) use tls::conversion;
pub use tls::{ClientAuth, Hidden, Pem, TlsConfig, TlsVersion};
pub use users::{Role, User, Users};
