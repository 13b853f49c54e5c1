//! The names of the kernel's functions, for last words. Nothing loads a kernel's symbol table, so `aurora` writes what
//! is needed of it into room kept for it in the finished file (`cli/src/symbols.rs`): a line a function, by address,
//! `ffffffff80213000 name`. A kernel linked by hand has none, and says addresses only.

use crate::layout;

/// Keeps the room; it is read through the linker's symbols, because what it holds is not what is written here.
#[used]
#[unsafe(link_section = ".symbols")]
static ROOM: [u8; 512 << 10] = [0; 512 << 10];

/// The function an address, as linked, is in, and how far in.
pub(crate) fn function_at(address: u64) -> Option<(&'static str, u64)> {
    let (start, end) = (layout::symbols_start(), layout::symbols_end());
    let len = usize::try_from(end - start).ok()?;
    // SAFETY: the linker placed a section of this length there, which nothing writes to.
    let text = unsafe { core::slice::from_raw_parts(start as *const u8, len) };
    let text = text.split(|&byte| byte == 0).next()?;
    let lines = core::str::from_utf8(text).ok()?.lines();
    let functions = lines.filter_map(|line| {
        let (at, name) = line.split_once(' ')?;
        Some((u64::from_str_radix(at, 16).ok()?, name))
    });
    functions.take_while(|(at, _)| *at <= address).last().map(|(at, name)| (name, address - at))
}
