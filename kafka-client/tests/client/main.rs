//! The client against a real broker in the same process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod admin;
mod groups;
mod restart;
mod transfer;
mod world;
