//! How a register becomes a typed argument.

use aurora_machine::VirtAddr;

use crate::memory::UserPtr;
use crate::num::{low32, low32_signed};
use crate::task::Pid;
use crate::vfs::Fd;

/// A type an argument can have. Bits above its width are ignored, as Linux's wrappers do.
pub(super) trait Argument {
    /// Takes it from a register.
    fn from_register(value: u64) -> Self;
}

impl Argument for u64 {
    fn from_register(value: u64) -> Self {
        value
    }
}
impl Argument for i64 {
    fn from_register(value: u64) -> Self {
        value.cast_signed()
    }
}
impl Argument for u32 {
    fn from_register(value: u64) -> Self {
        low32(value)
    }
}
impl Argument for i32 {
    fn from_register(value: u64) -> Self {
        low32_signed(value)
    }
}
impl Argument for Fd {
    fn from_register(value: u64) -> Self {
        Self(low32_signed(value))
    }
}
impl Argument for Pid {
    fn from_register(value: u64) -> Self {
        Self(low32_signed(value))
    }
}
impl Argument for VirtAddr {
    fn from_register(value: u64) -> Self {
        Self(value)
    }
}
impl<T> Argument for UserPtr<T> {
    fn from_register(value: u64) -> Self {
        Self::new(value)
    }
}
