//! Configuration files: `.toml`, `.properties` and `.json` become one flat map of Kafka's dotted
//! keys, and every entry knows where it was written.
//!
//! Values stay text, as everywhere in Kafka Connect; types are read from the definition of the
//! component that a key belongs to ([`worker`], [`connector`], and each plugin's own). Reading
//! never stops at the first mistake: all [`Problem`]s of a file come together.

mod environment;
mod json;
mod keys;
mod listeners;
mod override_policy;
mod presentation;
mod problem;
mod properties;
mod providers;
mod settings;
mod toml;
pub(crate) mod topic_creation;

pub mod connector;
pub mod worker;

pub use crate::secrets::is_secret_key;
pub use environment::apply_environment;
pub use keys::{Effect, Key, Kind};
pub(crate) use keys::{definition, list};
pub use listeners::{HttpListener, RestConfig};
pub use override_policy::OverridePolicy;
pub(crate) use problem::unknown_key;
pub use problem::{Problem, Problems, Severity};
pub use providers::Providers;
pub(crate) use settings::not_shown;
pub use settings::{Entry, Format, Origin, Position, Settings};
