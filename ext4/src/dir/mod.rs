//! Directories: finding, adding and removing names, whatever form the directory has.
//!
//! Three forms: entries in the inode itself (read; the first change moves them into a block), a list of blocks, and a hash
//! tree over such blocks (`index`). A list grows into a tree when its first block is full and the file system has
//! `dir_index`.

pub(crate) mod entry;
pub(crate) mod hash;
mod index;
mod inline;
mod read;

use alloc::vec::Vec;

use crate::error::{Error, Result, corrupt};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::store::Kind;
use crate::superblock::Compat;
use crate::types::{Block, By, FileType, Found, InodeFlags, Place};

/// Where an entry is: its block on the device and its offset there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) block: u64,
    pub(crate) offset: usize,
    pub(crate) ino: u32,
    pub(crate) kind: Option<FileType>,
}

/// Refuses names that cannot be.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > entry::MAX_NAME {
        return Err(Error::NameTooLong);
    }
    if name.is_empty() || name.contains(&b'/') || name.contains(&0) { Err(Error::Invalid) } else { Ok(()) }
}

impl Ext4 {
    /// Whether a directory has a hash tree that is used.
    pub(crate) fn is_indexed(&self, dir: &Inode) -> bool {
        dir.has(InodeFlags::INDEX) && self.layout.has_compat(Compat::DIR_INDEX)
    }

    /// How many blocks a directory has.
    pub(crate) fn dir_blocks(&self, dir: &Inode) -> u64 {
        dir.size >> self.layout.block_bits
    }

    /// Where a block of a directory is, and how many neighbours follow it there.
    pub(crate) fn dir_place(&mut self, dir: &Inode, logical: u64) -> Result<(u64, u64)> {
        if logical >= self.dir_blocks(dir) {
            return Err(corrupt("directory: a block beyond its end", u64::from(dir.ino)));
        }
        let ahead = self.read_ahead();
        let mapped = self.map_block(dir, logical, ahead)?;
        match mapped.place {
            Place::Blocks(block) => Ok((block, mapped.count)),
            _ => Err(corrupt("directory: a hole", u64::from(dir.ino))),
        }
    }

    /// A block of entries, and where it is.
    pub(crate) fn dir_leaf(&mut self, dir: &Inode, logical: u64) -> Result<(Block, u64)> {
        let (block, ahead) = self.dir_place(dir, logical)?;
        let kind = Kind::Dir(dir.seed(&self.layout));
        Ok((self.get_ahead(block, kind, ahead)?, block))
    }

    /// Finds a name in a directory.
    pub(crate) fn find_name(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<Spot>> {
        if self.is_indexed(dir) && name != b"." && name != b".." {
            return self.find_indexed(dir, name);
        }
        let index = self.is_indexed(dir);
        for logical in 0..self.dir_blocks(dir) {
            let (data, block) = if index {
                // "." and ".." are in the root of the tree.
                self.index_block(dir, 0)?
            } else {
                self.dir_leaf(dir, logical)?
            };
            if let Some(found) = entry::find(&data, 0, entry::end(&data), name) {
                return Ok(Some(Spot { block, offset: found.offset, ino: found.ino, kind: found.kind() }));
            }
            if index {
                break;
            }
        }
        Ok(None)
    }

    /// What a name leads to.
    pub(crate) fn do_lookup(&mut self, dir: u32, name: &[u8]) -> Result<Found> {
        if name.len() > entry::MAX_NAME {
            return Err(Error::NameTooLong);
        }
        let dir = self.dir_inode(dir)?;
        let (ino, kind) = if dir.has(InodeFlags::INLINE_DATA) {
            self.find_inline(&dir, name)?.ok_or(Error::NotFound)?
        } else {
            let spot = self.find_name(&dir, name)?.ok_or(Error::NotFound)?;
            (spot.ino, spot.kind)
        };
        if ino == 0 || ino > self.layout.inodes || (ino < self.layout.first_inode && ino != Self::ROOT) {
            return Err(corrupt("directory entry: an inode that cannot be named", u64::from(ino)));
        }
        Ok(Found { ino, kind: kind.filter(|_| self.has_types()) })
    }

    /// The number in an entry for a type.
    pub(crate) fn entry_code(&self, kind: FileType) -> u8 {
        if self.has_types() { kind.entry_code() } else { 0 }
    }

    /// Adds a name that is not there. The directory's inode changes with it; the caller writes it.
    pub(crate) fn add_name(&mut self, dir: &mut Inode, name: &[u8], ino: u32, kind: FileType, by: By) -> Result<()> {
        let code = self.entry_code(kind);
        if dir.has(InodeFlags::INDEX) && !self.is_indexed(dir) {
            dir.flags.remove(InodeFlags::INDEX);
        }
        if self.is_indexed(dir) {
            return self.add_indexed(dir, name, ino, code, by);
        }
        let seed = dir.seed(&self.layout);
        let blocks = self.dir_blocks(dir);
        for logical in 0..blocks {
            let (data, block) = self.dir_leaf(dir, logical)?;
            let end = entry::end(&data);
            if entry::records(&data, 0, end).any(|e| {
                let used = if e.ino == 0 { 0 } else { entry::size_of(e.name.len()) };
                e.length >= used + entry::size_of(name.len())
            }) {
                let data = self.edit(block, Kind::Dir(seed))?;
                entry::insert(data, 0, end, name, ino, code);
                return Ok(());
            }
        }
        if blocks == 1 && self.layout.has_compat(Compat::DIR_INDEX) {
            self.make_index(dir, by)?;
            return self.add_indexed(dir, name, ino, code, by);
        }
        let (_, block) = self.append_dir_block(dir, Kind::Dir(seed), by)?;
        let tail = self.layout.checksums();
        let data = self.edit(block, Kind::Dir(seed))?;
        entry::init(data, tail);
        let end = entry::end(data);
        entry::insert(data, 0, end, name, ino, code);
        Ok(())
    }

    /// Adds a block to a directory: its number in it, and where it is. Zeros.
    pub(crate) fn append_dir_block(&mut self, dir: &mut Inode, kind: Kind, by: By) -> Result<(u64, u64)> {
        let logical = self.dir_blocks(dir);
        let run = self.extend_metadata(dir, logical, by)?;
        self.fresh(run, kind)?;
        dir.size = (logical + 1) << self.layout.block_bits;
        Ok((logical, run))
    }

    /// The kind of block an entry's block is: entries of a tree's root are index, to the checksums.
    fn spot_kind(&mut self, dir: &Inode, spot: &Spot) -> Result<Kind> {
        let seed = dir.seed(&self.layout);
        let root = self.is_indexed(dir) && self.dir_place(dir, 0)?.0 == spot.block;
        Ok(if root { Kind::Index(seed) } else { Kind::Dir(seed) })
    }

    /// Takes a name out.
    pub(crate) fn remove_name(&mut self, dir: &Inode, spot: &Spot) -> Result<()> {
        let kind = self.spot_kind(dir, spot)?;
        let data = self.edit(spot.block, kind)?;
        let end = entry::end(data);
        entry::remove(data, 0, end, spot.offset);
        Ok(())
    }

    /// Lets a name lead elsewhere.
    pub(crate) fn replace_name(&mut self, dir: &Inode, spot: &Spot, ino: u32, kind: FileType) -> Result<()> {
        let code = self.entry_code(kind);
        let as_kind = self.spot_kind(dir, spot)?;
        let data = self.edit(spot.block, as_kind)?;
        crate::bytes::put32(data, spot.offset, ino);
        crate::bytes::put8(data, spot.offset + 7, code);
        Ok(())
    }

    /// Whether a directory has no names but `.` and `..`.
    pub(crate) fn is_empty_dir(&mut self, dir: &Inode) -> Result<bool> {
        let ordinary = |e: &entry::Entry<'_>| e.ino != 0 && e.name != b"." && e.name != b"..";
        if dir.has(InodeFlags::INLINE_DATA) {
            return Ok(self.inline_entries(dir)?.is_empty());
        }
        if self.is_indexed(dir) {
            return self.is_empty_index(dir);
        }
        for logical in 0..self.dir_blocks(dir) {
            let (data, _) = self.dir_leaf(dir, logical)?;
            if entry::names(&data).any(|e| ordinary(&e)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first block of a new directory.
    pub(crate) fn begin_dir(&mut self, dir: &mut Inode, parent: u32, by: By) -> Result<()> {
        let seed = dir.seed(&self.layout);
        let (_, block) = self.append_dir_block(dir, Kind::Dir(seed), by)?;
        let (tail, code, ino) = (self.layout.checksums(), self.entry_code(FileType::Directory), dir.ino);
        let data = self.edit(block, Kind::Dir(seed))?;
        let entries: [(&[u8], u32, u8); 2] = [(b".", ino, code), (b"..", parent, code)];
        entry::pack(data, tail, entries.into_iter());
        Ok(())
    }
}

/// Names with their places, of entries that outlive their block.
pub(crate) type Names = Vec<(Vec<u8>, u32, u8)>;
