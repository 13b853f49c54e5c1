//! Who may do what: Unix credentials, and the capability table every process has.

pub mod capability;
pub mod credentials;

pub use capability::{CapabilityTable, Kind, Rights, may_bind_port, may_use_family};
pub use credentials::{Credentials, EXECUTE, READ, WRITE};
