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

pub(crate) use addresses::Addresses;
pub(crate) use heartbeat::{Identity, Lifecycle};
pub(crate) use joining::{Begun, Joining};
