//! How a broker becomes part of its cluster, stays it, and leaves for a while.
//!
//! - `addresses`: where the others reach this broker, and which of the seeds it is itself;
//! - `joining`: an empty data folder founds a cluster or joins one;
//! - `heartbeat`: the process registers with the active controller, tells it that it is there, and
//!   asks it for leave before it stops.
//!
//! Nothing is decided here: the active controller decides, and the metadata says what holds.

mod addresses;
mod heartbeat;
mod joining;

use std::time::Duration;

pub(crate) use addresses::Addresses;
pub(crate) use heartbeat::{Identity, Lifecycle};
pub(crate) use joining::{Begun, Joining};

/// How long another process may have this broker's id, or a broker of another cluster one of the
/// addresses, before that counts as a mistake: a former process may have ended a moment ago.
const MISTAKE_TIME: Duration = Duration::from_secs(10);
