//! Memory of programs: address spaces made of areas, page faults, copy-on-write, the page cache, and what all of it may
//! take.

pub mod account;
pub mod ahead;
pub mod area;
pub mod cache;
pub mod fault;
pub mod io;
pub mod layout;
pub mod map;
pub mod settings;
pub mod space;
pub mod store;
pub mod user;

pub use account::MemoryControl;
pub use area::{Area, Backing, Prot};
pub use cache::PageCache;
pub use io::{IoBuf, IoError};
pub use space::AddressSpace;
pub use user::UserPtr;
