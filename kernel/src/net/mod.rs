//! Sockets, socket(2): what all of them share, and the families.
//!
//! A socket's operations are *try it now*, as a file's are; `syscall/socket.rs` waits, brings pages in and applies the rules
//! of time limits, partial results and interruption for all of them.

pub mod inet;
pub mod interface;
pub mod netlink;
pub mod options;
pub mod socket;
pub mod unix;

pub use socket::{Socket, SocketFile, SocketKind, of};

/// What all sockets of a system share.
#[derive(Default)]
pub struct Network {
    /// Names of unix sockets.
    pub unix: unix::names::UnixNames,
    /// Internet sockets.
    pub stack: inet::stack::Stack,
    /// Descriptors on their way through unix sockets.
    pub in_flight: unix::flight::InFlight,
}
