//! What programs and hosts share with the kernel: the layouts and numbers of Linux's x86-64 ABI, whatever the host this
//! is compiled for, and the host link's wire format.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod errno;
pub mod layout;
pub mod link;
pub mod types;

pub use errno::Errno;
pub use layout::Abi;
