//! Pointers a program gave.

use core::marker::PhantomData;

use aurora_abi::{Abi, Errno};
use aurora_machine::VirtAddr;

use crate::memory::AddressSpace;

/// Where a program says a `T` is. Nothing is known of it until it is used.
pub struct UserPtr<T> {
    addr: VirtAddr,
    pointee: PhantomData<fn() -> T>,
}

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for UserPtr<T> {}

impl<T> UserPtr<T> {
    /// The pointer a register holds.
    pub const fn new(addr: u64) -> Self {
        Self { addr: VirtAddr(addr), pointee: PhantomData }
    }
    /// The address.
    pub const fn addr(self) -> VirtAddr {
        self.addr
    }
    /// Whether it is the null pointer.
    pub const fn is_null(self) -> bool {
        self.addr.0 == 0
    }
    /// `None` for the null pointer.
    pub const fn non_null(self) -> Option<Self> {
        if self.is_null() { None } else { Some(self) }
    }
}

impl<T: Abi> UserPtr<T> {
    /// Reads the value.
    pub async fn load(self, space: &AddressSpace) -> Result<T, Errno> {
        space.load(self.addr).await
    }
    /// Writes the value.
    pub async fn store(self, space: &AddressSpace, value: &T) -> Result<(), Errno> {
        space.store(self.addr, value).await
    }
    /// Writes the value unless the pointer is null.
    pub async fn store_if(self, space: &AddressSpace, value: &T) -> Result<(), Errno> {
        if self.is_null() { Ok(()) } else { self.store(space, value).await }
    }
    /// Element `index` of an array that starts here.
    pub fn element(self, index: u64) -> Self {
        Self::new(self.addr.0.wrapping_add(index.wrapping_mul(T::SIZE as u64)))
    }
}

/// A NUL-terminated string.
pub enum CStr {}
