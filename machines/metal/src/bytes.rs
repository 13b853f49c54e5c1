//! The copies and fills the compiler calls for. Most are of a few words, and those that come with the language begin with
//! up to three `REP`s, each of which costs more than the words.
//!
//! What always holds: a short copy loads everything before it stores anything, so that it may overlap as it likes.

use core::arch::asm;
use core::ffi::c_int;

/// # Safety
/// `n` bytes at `from` can be read, `n` at `to` written, and they do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: as of the caller.
    unsafe {
        if !copy_short(to, from, n) {
            copy_forward(to, from, n);
        }
    }
    to
}

/// # Safety
/// `n` bytes at `from` can be read, and `n` at `to` written.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: as of the caller; what is ahead of its destination is not overwritten before it is read.
    unsafe {
        if !copy_short(to, from, n) {
            if to.addr().wrapping_sub(from.addr()) >= n {
                copy_forward(to, from, n);
            } else {
                copy_backward(to, from, n);
            }
        }
    }
    to
}

/// # Safety
/// `n` bytes at `to` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: c_int, n: usize) -> *mut u8 {
    let word = u64::from(byte as u8) * 0x0101_0101_0101_0101;
    // SAFETY: no offset is past `n` less the size of what is written there.
    unsafe {
        match n {
            0 => {}
            1..4 => {
                for at in [0, n / 2, n - 1] {
                    to.add(at).write(byte as u8);
                }
            }
            4..8 => {
                for at in [0, n - 4] {
                    to.add(at).cast::<u32>().write_unaligned(word as u32);
                }
            }
            8..=64 => {
                // Each step covers what the one before left in the middle.
                for at in [0, 8, 16, 24] {
                    let at = at.min(n - 8);
                    to.add(at).cast::<u64>().write_unaligned(word);
                    to.add(n - 8 - at).cast::<u64>().write_unaligned(word);
                }
            }
            _ => {
                to.add(n - 8).cast::<u64>().write_unaligned(word);
                asm!("rep stosq", inout("rcx") n / 8 => _, inout("rdi") to => _, in("rax") word, options(nostack, preserves_flags));
            }
        }
    }
    to
}

/// Copies up to 64 bytes; says whether that was all.
///
/// # Safety
/// `n` bytes at `from` can be read, and `n` at `to` written.
#[inline(always)]
unsafe fn copy_short(to: *mut u8, from: *const u8, n: usize) -> bool {
    // SAFETY: no offset is past `n` less the size of what is there.
    unsafe {
        match n {
            0 => {}
            1..4 => {
                let [first, middle, last] = [0, n / 2, n - 1].map(|at| (at, from.add(at).read()));
                for (at, byte) in [first, middle, last] {
                    to.add(at).write(byte);
                }
            }
            4..8 => {
                let (first, last) = (load::<u32>(from, 0), load::<u32>(from, n - 4));
                store(to, 0, first);
                store(to, n - 4, last);
            }
            8..=16 => {
                let (first, last) = (load::<u64>(from, 0), load::<u64>(from, n - 8));
                store(to, 0, first);
                store(to, n - 8, last);
            }
            17..=32 => {
                let (first, last) = (load::<[u64; 2]>(from, 0), load::<[u64; 2]>(from, n - 16));
                store(to, 0, first);
                store(to, n - 16, last);
            }
            33..=64 => {
                let (first, last) = (load::<[u64; 4]>(from, 0), load::<[u64; 4]>(from, n - 32));
                store(to, 0, first);
                store(to, n - 32, last);
            }
            _ => return false,
        }
    }
    true
}

/// # Safety
/// A `T` can be read `at` bytes behind `from`.
#[inline(always)]
unsafe fn load<T>(from: *const u8, at: usize) -> T {
    // SAFETY: as of the caller.
    unsafe { from.add(at).cast::<T>().read_unaligned() }
}

/// # Safety
/// A `T` can be written `at` bytes behind `to`.
#[inline(always)]
unsafe fn store<T>(to: *mut u8, at: usize, value: T) {
    // SAFETY: as of the caller.
    unsafe { to.add(at).cast::<T>().write_unaligned(value) }
}

/// # Safety
/// As for [`copy_short`], `n` at least 8, and no byte of `from` is before its place in `to` and in reach of it.
#[inline(always)]
unsafe fn copy_forward(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY: whole words, then the last 8 bytes, which were read before anything was written over them.
    unsafe {
        let last = load::<u64>(from, n - 8);
        asm!("rep movsq", inout("rcx") n / 8 => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags));
        store(to, n - 8, last);
    }
}

/// # Safety
/// As for [`copy_short`], and `n` is at least 8.
#[inline(always)]
unsafe fn copy_backward(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY: whole words from the end, then the first 8 bytes, which were read before anything was written over them.
    // `REP` with the direction flag is no faster than a loop on any processor.
    unsafe {
        let first = load::<u64>(from, 0);
        asm!(
            "2: mov {word}, [{from} + {n} - 8]",
            "mov [{to} + {n} - 8], {word}",
            "sub {n}, 8",
            "cmp {n}, 8",
            "jae 2b",
            word = out(reg) _,
            n = inout(reg) n => _,
            from = in(reg) from,
            to = in(reg) to,
            options(nostack),
        );
        store(to, 0, first);
    }
}
