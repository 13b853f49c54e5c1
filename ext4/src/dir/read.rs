//! Reading directories in an order that stays right while names come and go.
//!
//! A position is a name's hash: 31 bits of the hash trees are ordered by, then 28 of the second, then four to number names
//! for which both are equal. So a name keeps its position whatever blocks split, and a list that becomes a tree
//! meanwhile is read on as a tree. Lists of several blocks, which never become trees, have offsets as positions: their
//! names do not move.

use alloc::vec::Vec;

use super::entry;
use super::hash::{Hash, Hasher};
use crate::bytes::{low32, to_u64, to_usize};
use crate::error::{Error, Result, corrupt};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::superblock::Compat;
use crate::types::{DirEntry, FileType, InodeFlags};

/// After the last name.
const END: u64 = i64::MAX.cast_unsigned();

fn position(hash: Hash) -> u64 {
    (u64::from(hash.major >> 1) << 32 | u64::from(hash.minor & !0xf)).max(2)
}

/// A name on its way to the caller.
type Found = (u64, Vec<u8>, u32, Option<FileType>);

impl Ext4 {
    pub(crate) fn do_read_dir(&mut self, dir: u32, from: u64, limit: u64) -> Result<Vec<DirEntry>> {
        let dir = self.dir_inode(dir)?;
        if from >= END {
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        if dir.has(InodeFlags::INLINE_DATA) {
            self.read_inline_dir(&dir, from, &mut out)?;
        } else if self.is_indexed(&dir) {
            self.read_index(&dir, from, limit, &mut out)?;
        } else if self.layout.has_compat(Compat::DIR_INDEX) && self.dir_blocks(&dir) == 1 {
            let (data, _) = self.dir_leaf(&dir, 0)?;
            let hasher = self.hasher();
            let found: Vec<Found> = entry::names(&data).map(|e| self.found(&hasher, &e)).collect();
            emit(found, from, END, &mut out);
        } else {
            self.read_list(&dir, from, limit, &mut out)?;
        }
        Ok(out)
    }

    fn found(&self, hasher: &Hasher, e: &entry::Entry<'_>) -> Found {
        let position = match e.name {
            b"." => 0,
            b".." => 1,
            name => position(hasher.hash(name)),
        };
        (position, e.name.to_vec(), e.ino, e.kind().filter(|_| self.has_types()))
    }

    fn read_index(&mut self, dir: &Inode, from: u64, limit: u64, out: &mut Vec<DirEntry>) -> Result<()> {
        let hasher = self.index_hasher(dir)?;
        if from < 2 {
            let (data, _) = self.index_block(dir, 0)?;
            let dots: Vec<Found> =
                entry::records(&data, 0, data.len()).take(2).map(|e| self.found(&hasher, &e)).collect();
            emit(dots, from, 2, out);
        }
        let mut from = from.max(2);
        let mut frames = self.probe(dir, low32(from >> 32) << 1)?;
        for _ in 0..=self.dir_blocks(dir) {
            let mut found = Vec::new();
            // Leaves whose first names have the hash of the last ones before go together.
            let next = loop {
                let (data, _) = self.leaf_of(dir, &frames)?;
                found.extend(entry::names(&data).map(|e| self.found(&hasher, &e)));
                match self.next_leaf(dir, &mut frames)? {
                    Some(next) if next & 1 == 1 && to_u64(found.len()) < 1 << 16 => {}
                    next => break next,
                }
            };
            let to = next.map_or(END, |hash| u64::from(hash >> 1) << 32);
            if to < from && next.is_some() {
                return Err(corrupt("directory index: order", u64::from(dir.ino)));
            }
            emit(found, from, to, out);
            if next.is_none() || to_u64(out.len()) >= limit {
                return Ok(());
            }
            from = from.max(to);
        }
        Err(corrupt("directory index: more leaves than blocks", u64::from(dir.ino)))
    }

    fn read_list(&mut self, dir: &Inode, from: u64, limit: u64, out: &mut Vec<DirEntry>) -> Result<()> {
        let bits = self.layout.block_bits;
        for logical in from >> bits..self.dir_blocks(dir) {
            let (data, _) = self.dir_leaf(dir, logical)?;
            let start = logical << bits;
            for e in entry::names(&data).filter(|e| start + to_u64(e.offset) >= from) {
                let next = start + to_u64(e.offset + e.length);
                let kind = e.kind().filter(|_| self.has_types());
                out.push(DirEntry { name: e.name.to_vec(), ino: e.ino, kind, next });
            }
            if to_u64(out.len()) >= limit {
                break;
            }
        }
        Ok(())
    }

    /// Names in an inode: `..` has no entry there.
    fn read_inline_dir(&mut self, dir: &Inode, from: u64, out: &mut Vec<DirEntry>) -> Result<()> {
        let hasher = self.hasher();
        let parent = self.inline_parent(dir);
        let kind = Some(FileType::Directory).filter(|_| self.has_types());
        let mut found: Vec<Found> = alloc::vec![(0, b".".to_vec(), dir.ino, kind), (1, b"..".to_vec(), parent, kind)];
        for (name, ino, code) in self.inline_entries(dir)? {
            let place = position(hasher.hash(&name));
            found.push((place, name, ino, FileType::from_entry_code(code).filter(|_| self.has_types())));
        }
        emit(found, from, END, out);
        Ok(())
    }

    /// Every name and inode of a directory, for checks.
    pub(crate) fn all_names(&mut self, dir: &Inode, from: u64) -> Result<(Vec<DirEntry>, u64)> {
        if !dir.is_dir() {
            return Err(Error::NotDirectory);
        }
        let out = self.do_read_dir(dir.ino, from, 4096)?;
        let next = out.last().map_or(END, |e| e.next);
        Ok((out, next))
    }

    /// What a list's positions are bounded by.
    pub(crate) fn dir_bytes(&self, dir: &Inode) -> usize {
        to_usize(dir.size)
    }
}

/// Puts names in order, numbers those with equal positions, and gives on those between two positions.
fn emit(mut found: Vec<Found>, from: u64, to: u64, out: &mut Vec<DirEntry>) {
    found.sort();
    let mut before = None;
    let mut number = 0;
    for (base, name, ino, kind) in found {
        number = if before == Some(base) { (number + 1).min(15) } else { 0 };
        before = Some(base);
        let position = if base < 2 { base } else { base | number };
        if (from..to).contains(&position) {
            out.push(DirEntry { name, ino, kind, next: position + 1 });
        }
    }
}
