//! The kernel's half of the address space, the same in every address space.
//!
//! What always holds after `paging::build`: every top-level entry of the upper half that is ever used is present, so
//! address spaces that copied them share all that is mapped below.

use aurora_machine::PhysAddr;

/// All RAM, at this address plus its physical one.
pub(crate) const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Device registers, uncached, at this address plus their physical one.
pub(crate) const DEVICE_MAP: u64 = 0xffff_c000_0000_0000;
/// The kernel image, at this address plus its physical one.
pub(crate) const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// Where the direct map shows `phys`.
pub(crate) fn direct<T>(phys: PhysAddr) -> *mut T {
    (DIRECT_MAP + phys.0) as *mut T
}

macro_rules! image_symbols {
    ($($(#[$doc:meta])* $name:ident = $symbol:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name() -> u64 {
            unsafe extern "C" {
                static $symbol: u8;
            }
            &raw const $symbol as u64
        }
    )*};
}

image_symbols! {
    /// First address of the image, and of its code.
    image_start = image_start;
    /// First address of what may only be read.
    rodata_start = rodata_start;
    /// First address of what may be written.
    data_start = data_start;
    /// The page under the stack that is never mapped.
    stack_guard = stack_guard;
    /// Lowest address of the stack.
    stack_bottom = stack_bottom;
    /// First address past the image.
    image_end = image_end;
}
