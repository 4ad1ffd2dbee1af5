//! What tests share: a simulated machine room in which broker and worker crash, and the connectors
//! and checkers that show whether a copy survived it.
//!
//! Everything here runs on one thread with a virtual clock, from one seed: network delays, the
//! moments of the crashes and every random number follow from it, so a failure prints its seed and
//! the same seed fails the same way again.

pub mod cluster;
pub mod crash_copy;
pub mod determinism;
pub mod lines;
