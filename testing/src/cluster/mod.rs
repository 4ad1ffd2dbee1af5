//! A cluster of brokers in a simulation, with clients at work, while machines crash, disks refuse
//! and the network falls apart; and the judge of what everyone saw.
//!
//! - [`history`] is what was seen, [`check`] what must be true of it.
//! - [`simulation`] runs a plan: brokers, clients, faults, and the end in peace.

mod brokers;
pub mod check;
pub mod history;
mod moments;
mod nemesis;
mod room;
pub mod simulation;
mod workload;
