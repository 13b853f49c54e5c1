//! Access control lists: programs see entries of eight bytes, acl(5); on the disk those that name nobody have four.

use alloc::vec::Vec;

use crate::bytes::{le16, le32};
use crate::error::{Error, Result, corrupt};

const PROGRAM_VERSION: u32 = 2;
const DISK_VERSION: u32 = 1;
const USER: u16 = 2;
const GROUP: u16 = 8;
/// All tags there are.
const TAGS: [u16; 6] = [1, USER, 4, GROUP, 0x10, 0x20];
const NOBODY: u32 = u32::MAX;

/// As the disk has it, from what a program gave.
pub(crate) fn to_disk(value: &[u8]) -> Result<Vec<u8>> {
    let entries = value.get(4..).ok_or(Error::Invalid)?;
    if le32(value, 0) != PROGRAM_VERSION || entries.len() % 8 != 0 {
        return Err(Error::Invalid);
    }
    let mut out = DISK_VERSION.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        let tag = le16(entry, 0);
        if !TAGS.contains(&tag) {
            return Err(Error::Invalid);
        }
        out.extend_from_slice(entry.get(..if tag == USER || tag == GROUP { 8 } else { 4 }).unwrap_or(&[]));
    }
    Ok(out)
}

/// As programs see it, from the disk.
pub(crate) fn to_program(value: &[u8], ino: u64) -> Result<Vec<u8>> {
    let bad = || corrupt("access control list", ino);
    if le32(value, 0) != DISK_VERSION {
        return Err(bad());
    }
    let mut out = PROGRAM_VERSION.to_le_bytes().to_vec();
    let mut rest = value.get(4..).ok_or_else(bad)?;
    while !rest.is_empty() {
        let tag = le16(rest, 0);
        let size = if tag == USER || tag == GROUP { 8 } else { 4 };
        let (entry, after) = rest.split_at_checked(size).ok_or_else(bad)?;
        if !TAGS.contains(&tag) {
            return Err(bad());
        }
        out.extend_from_slice(entry);
        if size == 4 {
            out.extend_from_slice(&NOBODY.to_le_bytes());
        }
        rest = after;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_as_it_was_given() {
        let mut given = PROGRAM_VERSION.to_le_bytes().to_vec();
        for (tag, perm, id) in
            [(1u16, 6u16, NOBODY), (USER, 4, 1000), (4, 4, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)]
        {
            given.extend_from_slice(&tag.to_le_bytes());
            given.extend_from_slice(&perm.to_le_bytes());
            given.extend_from_slice(&id.to_le_bytes());
        }
        let disk = to_disk(&given).unwrap_or_default();
        assert_eq!(disk.len(), 4 + 4 * 4 + 8);
        assert_eq!(to_program(&disk, 0).as_ref(), Ok(&given));
    }
}
