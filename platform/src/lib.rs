//! The seam between this project and the machine: network, files, clock, randomness and blocking
//! work. In production every item here is a thin name for the real thing. With the `simulation`
//! feature, code that runs inside a turmoil simulation gets turmoil's network, its virtual clock
//! and its file system (where writes that were not synced are lost in a crash) instead, decided
//! at run time, so that one build serves both.
//!
//! Broker, client and runtime use nothing else for these five; that is what makes a failing seed
//! reproduce.

pub mod blocking;
pub mod clock;
#[cfg(feature = "simulation")]
pub mod faults;
pub mod fs;
pub mod host;
pub mod net;
pub mod random;

/// Whether the caller runs inside a simulation.
#[must_use]
pub fn simulated() -> bool {
    #[cfg(feature = "simulation")]
    {
        turmoil::in_simulation()
    }
    #[cfg(not(feature = "simulation"))]
    {
        false
    }
}
