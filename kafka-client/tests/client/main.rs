//! The client against a real broker in the same process.

mod admin;
mod groups;
mod restart;
mod transfer;
mod world;
