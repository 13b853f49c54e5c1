//! The kernel's half of the address space, the same in every address space.
//!
//! What always holds after `paging::build`: every top-level entry of the upper half that is ever used is present, so
//! address spaces that copied them share all that is mapped below.

use aurora_machine::PhysAddr;

use core::sync::atomic::{AtomicU64, Ordering};

/// Where the loader's tables, or boot.s's, show the first 4 GiB; `paging::build` shows all RAM elsewhere.
pub(crate) const BOOT_MAP: u64 = 0xffff_8000_0000_0000;
/// Device registers, uncached, at this address plus their physical one.
pub(crate) const DEVICE_MAP: u64 = 0xffff_c000_0000_0000;

static DIRECT_MAP: AtomicU64 = AtomicU64::new(BOOT_MAP);
static IMAGE_MAP: AtomicU64 = AtomicU64::new(0);

/// Where all RAM is shown: at this address plus its physical one. Moves once, when the kernel's own tables are loaded.
pub(crate) fn direct_map() -> u64 {
    DIRECT_MAP.load(Ordering::Relaxed)
}

pub(crate) fn set_direct_map(base: u64) {
    DIRECT_MAP.store(base, Ordering::Relaxed);
}

/// Where the image would show physical address 0; another one at every boot.
pub(crate) fn set_image_map(base: u64) {
    IMAGE_MAP.store(base, Ordering::Relaxed);
}

/// The physical address of something in the image.
pub(crate) fn image_phys(virt: u64) -> u64 {
    virt - IMAGE_MAP.load(Ordering::Relaxed)
}

/// An address in the image as the linker knows it: what a symbol table calls it.
pub(crate) fn link_address(virt: u64) -> u64 {
    const LINKED_AT: u64 = 0xffff_ffff_8020_0000;
    virt - image_start() + LINKED_AT
}

/// Where the direct map shows `phys`.
pub(crate) fn direct<T>(phys: PhysAddr) -> *mut T {
    (direct_map() + phys.0) as *mut T
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
    /// First address of the image.
    image_start = image_start;
    /// First address of its code.
    text_start = text_start;
    /// First address of what may only be read.
    rodata_start = rodata_start;
    /// First address of the names of its functions.
    symbols_start = symbols_start;
    /// First address past them.
    symbols_end = symbols_end;
    /// First address of what may be written.
    data_start = data_start;
    /// The page under the stack that is never mapped.
    stack_guard = stack_guard;
    /// Lowest address of the stack.
    stack_bottom = stack_bottom;
    /// First address past the image.
    image_end = image_end;
}
