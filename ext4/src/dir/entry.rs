//! Entries of one block of a directory: found, put in, taken out.
//!
//! What always holds: records cover the block from its start to its end (or to the checksum at its end), which
//! [`check`] sees to when a block comes from the device.

use crate::bytes::{le16, le32, put, put8, put16, put32, short, slice, u8_at};
use crate::error::{Result, corrupt};
use crate::types::FileType;

/// The record that holds a checksum at the end of a block.
pub(crate) const TAIL: usize = 12;
const TAIL_CODE: u8 = 0xde;
/// The longest name.
pub(crate) const MAX_NAME: usize = 255;

/// An entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) offset: usize,
    pub(crate) length: usize,
    pub(crate) ino: u32,
    pub(crate) name: &'a [u8],
    pub(crate) code: u8,
}

impl Entry<'_> {
    pub(crate) fn kind(&self) -> Option<FileType> {
        FileType::from_entry_code(self.code)
    }
}

/// Bytes a name takes.
pub(crate) const fn size_of(name: usize) -> usize {
    (8 + name + 3) & !3
}

pub(crate) fn has_tail(data: &[u8]) -> bool {
    let Some(at) = data.len().checked_sub(TAIL) else { return false };
    le32(data, at) == 0 && le16(data, at + 4) == 12 && u8_at(data, at + 6) == 0 && u8_at(data, at + 7) == TAIL_CODE
}

/// Where records end.
pub(crate) fn end(data: &[u8]) -> usize {
    data.len() - if has_tail(data) { TAIL } else { 0 }
}

/// All records up to `end`, unused ones too (their inode is 0).
pub(crate) fn records(data: &[u8], start: usize, end: usize) -> impl Iterator<Item = Entry<'_>> {
    let mut at = start;
    core::iter::from_fn(move || {
        if at + 8 > end {
            return None;
        }
        let length = usize::from(le16(data, at + 4));
        if length < 8 || at + length > end {
            return None;
        }
        let offset = at;
        at += length;
        let name = slice(data, offset + 8, offset + 8 + usize::from(u8_at(data, offset + 6)));
        Some(Entry { offset, length, ino: le32(data, offset), name, code: u8_at(data, offset + 7) })
    })
}

/// The names in a block.
pub(crate) fn names(data: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    records(data, 0, end(data)).filter(|e| e.ino != 0)
}

/// Checks a block of entries.
pub(crate) fn check(data: &[u8], inodes: u32, block: u64) -> Result<()> {
    check_range(data, 0, end(data), inodes, block)
}

/// Checks the records of a part of a block or inode.
pub(crate) fn check_range(data: &[u8], start: usize, end: usize, inodes: u32, place: u64) -> Result<()> {
    let mut at = start;
    for entry in records(data, start, end) {
        let fits = entry.length % 4 == 0
            && entry.length >= size_of(usize::from(u8_at(data, entry.offset + 6)))
            && entry.ino <= inodes
            && (entry.ino == 0 || !entry.name.is_empty());
        if !fits {
            return Err(corrupt("directory entry", place));
        }
        at = entry.offset + entry.length;
    }
    if at == end { Ok(()) } else { Err(corrupt("directory entry: length", place)) }
}

/// Finds a name among records.
pub(crate) fn find<'a>(data: &'a [u8], start: usize, end: usize, name: &[u8]) -> Option<Entry<'a>> {
    records(data, start, end).find(|e| e.ino != 0 && e.name == name)
}

/// Puts a name where there is room; false if there is none.
pub(crate) fn insert(data: &mut [u8], start: usize, end: usize, name: &[u8], ino: u32, code: u8) -> bool {
    let need = size_of(name.len());
    let slot = records(data, start, end).find_map(|e| {
        let used = if e.ino == 0 { 0 } else { size_of(e.name.len()) };
        (e.length >= used + need).then_some((e.offset, e.length, used))
    });
    let Some((offset, length, used)) = slot else { return false };
    if used > 0 {
        put16(data, offset + 4, short(used));
    }
    write(data, offset + used, length - used, name, ino, code);
    true
}

/// Writes a record.
pub(crate) fn write(data: &mut [u8], at: usize, length: usize, name: &[u8], ino: u32, code: u8) {
    put32(data, at, ino);
    put16(data, at + 4, short(length));
    put8(data, at + 6, u8::try_from(name.len()).unwrap_or(u8::MAX));
    put8(data, at + 7, code);
    put(data, at + 8, name);
}

/// Takes a name out: the record before takes its room, or it stays as an unused one.
pub(crate) fn remove(data: &mut [u8], start: usize, end: usize, offset: usize) {
    let before = records(data, start, end).take_while(|e| e.offset < offset).last().map(|e| (e.offset, e.length));
    let length = usize::from(le16(data, offset + 4));
    match before {
        Some((at, size)) if at + size == offset => {
            put16(data, at + 4, short(size + length));
            crate::bytes::clear(data, offset, offset + length);
        }
        _ => {
            crate::bytes::clear(data, offset, offset + length);
            put16(data, offset + 4, short(length));
        }
    }
}

/// Makes a block one unused record, with room for a checksum if there is to be one.
pub(crate) fn init(data: &mut [u8], with_tail: bool) {
    let size = data.len();
    data.fill(0);
    let end = if with_tail { size - TAIL } else { size };
    put16(data, 4, short(end));
    if with_tail {
        put16(data, end + 4, short(TAIL));
        put8(data, end + 7, TAIL_CODE);
    }
}

/// Fills a block with entries, one after another; the last one has the rest of the room.
pub(crate) fn pack<'a>(data: &mut [u8], with_tail: bool, entries: impl Iterator<Item = (&'a [u8], u32, u8)>) {
    init(data, with_tail);
    let end = end(data);
    let mut at = 0;
    let mut last = None;
    for (name, ino, code) in entries {
        let size = size_of(name.len());
        write(data, at, size, name, ino, code);
        last = Some(at);
        at += size;
    }
    if let Some(last) = last {
        put16(data, last + 4, short(end - last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn what_is_put_in_is_found_until_it_is_taken_out() {
        let mut data = vec![0; 1024];
        init(&mut data, true);
        let end = end(&data);
        assert_eq!(end, 1012);
        let mut count = 0u32;
        while insert(&mut data, 0, end, std::format!("name{count}").as_bytes(), count + 1, 1) {
            count += 1;
        }
        assert!(count > 50);
        assert!(check(&data, 1000, 0).is_ok());
        for number in (0..count).step_by(2) {
            let offset = find(&data, 0, end, std::format!("name{number}").as_bytes()).map(|e| e.offset);
            remove(&mut data, 0, end, offset.unwrap_or(0));
        }
        assert!(check(&data, 1000, 0).is_ok());
        assert_eq!(names(&data).count() as u32, count / 2);
        assert!(find(&data, 0, end, b"name3").is_some_and(|e| e.ino == 4));
        assert!(find(&data, 0, end, b"name4").is_none());
    }
}
