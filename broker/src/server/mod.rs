//! The network side: listeners accept, connections read requests, have them answered in order, and
//! write the answers. Everything a peer can take (connections, memory, time) has a limit.

mod connection;
mod frames;
mod limits;
mod listener;

pub(crate) use listener::Server;
