//! Inodes that have to be dealt with after a crash: without names but still open, or being truncated.
//!
//! They are a list through the inodes' times of deletion that begins in the superblock, or in a file of their numbers
//! (`orphan_file`), whichever the image has. What does not fit in the file goes on the list.

use alloc::vec::Vec;

use crate::bytes::{le32, put32, to_u64};
use crate::error::{Result, corrupt};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::store::Kind;
use crate::superblock::{RoCompat, field};
use crate::types::{By, Ino, Place, Progress};

/// At the end of each block of the file of orphans.
pub(crate) const FILE_MAGIC: u32 = 0x0b10_ca04;

impl Ext4 {
    /// The blocks of the file of orphans.
    fn orphan_blocks(&mut self) -> Result<Vec<(u64, Kind)>> {
        if self.layout.orphan_file == 0 {
            return Ok(Vec::new());
        }
        let file = self.any_inode(self.layout.orphan_file)?;
        let kind = Kind::Orphans(file.seed(&self.layout));
        let mut blocks = Vec::new();
        for logical in 0..(file.size >> self.layout.block_bits).min(1 << 16) {
            match self.map_block(&file, logical, 1)?.place {
                Place::Blocks(block) => blocks.push((block, kind)),
                _ => return Err(corrupt("orphan file: a hole", u64::from(file.ino))),
            }
        }
        Ok(blocks)
    }

    /// The slot in the file of orphans that has a number (0 finds a free one).
    fn orphan_slot(&mut self, ino: Ino) -> Result<Option<(u64, Kind, usize)>> {
        let slots = (self.layout.block_size - 8) / 4;
        for (block, kind) in self.orphan_blocks()? {
            let data = self.get(block, kind)?;
            if let Some(at) = (0..slots).find(|slot| le32(&data, slot * 4) == ino) {
                return Ok(Some((block, kind, at * 4)));
            }
        }
        Ok(None)
    }

    /// Puts an inode among the orphans; the caller writes the inode.
    pub(crate) fn add_orphan(&mut self, inode: &mut Inode) -> Result<()> {
        if let Some((block, kind, at)) = self.orphan_slot(0)? {
            put32(self.edit(block, kind)?, at, inode.ino);
            inode.dtime = 0;
            return Ok(());
        }
        inode.dtime = self.super32(field::LAST_ORPHAN)?;
        let ino = inode.ino;
        self.edit_super(|sb| put32(sb, field::LAST_ORPHAN, ino))
    }

    /// Takes an inode from the orphans; the caller writes the inode.
    pub(crate) fn remove_orphan(&mut self, inode: &mut Inode) -> Result<()> {
        if let Some((block, kind, at)) = self.orphan_slot(inode.ino)? {
            put32(self.edit(block, kind)?, at, 0);
            inode.dtime = 0;
            return Ok(());
        }
        let next = inode.dtime;
        inode.dtime = 0;
        let ino = inode.ino;
        let mut at = self.super32(field::LAST_ORPHAN)?;
        if at == ino {
            return self.edit_super(|sb| put32(sb, field::LAST_ORPHAN, next));
        }
        for _ in 0..self.layout.inodes {
            if at == 0 {
                break;
            }
            let mut before = self.any_inode(at)?;
            if before.dtime == ino {
                before.dtime = next;
                return self.put_inode(&mut before, false);
            }
            at = before.dtime;
        }
        Err(corrupt("list of orphans: an inode is not on it", u64::from(ino)))
    }

    /// One of the orphans.
    pub(crate) fn any_orphan(&mut self) -> Result<Option<Ino>> {
        let first = self.super32(field::LAST_ORPHAN)?;
        if first != 0 {
            if first < self.layout.first_inode || first > self.layout.inodes {
                return Err(corrupt("list of orphans: a number that cannot be", u64::from(first)));
            }
            return Ok(Some(first));
        }
        let slots = (self.layout.block_size - 8) / 4;
        for (block, kind) in self.orphan_blocks()? {
            let data = self.get(block, kind)?;
            if let Some(ino) = (0..slots).map(|slot| le32(&data, slot * 4)).find(|&ino| ino != 0) {
                if ino < self.layout.first_inode || ino > self.layout.inodes {
                    return Err(corrupt("orphan file: a number that cannot be", u64::from(ino)));
                }
                return Ok(Some(ino));
            }
        }
        Ok(None)
    }

    /// Does a step for an orphan after a crash: frees it, or what is beyond its size.
    pub(crate) fn settle_orphan(&mut self, ino: Ino, by: By) -> Result<Progress> {
        let mut inode = self.any_inode(ino)?;
        if inode.mode == 0 || inode.kind().is_none() {
            return Err(corrupt("list of orphans: an inode that is not in use", u64::from(ino)));
        }
        if inode.links == 0 {
            return self.do_evict(ino, by);
        }
        let progress = self.free_beyond(&mut inode, by)?;
        if progress == Progress::Done {
            self.remove_orphan(&mut inode)?;
        }
        self.put_inode(&mut inode, true)?;
        Ok(progress)
    }

    /// Says in the superblock whether the file of orphans may have some.
    pub(crate) fn set_orphan_present(&mut self, present: bool) -> Result<()> {
        if self.layout.orphan_file == 0 {
            return Ok(());
        }
        self.edit_super(|sb| {
            let flag = RoCompat::ORPHAN_PRESENT.bits();
            let flags = le32(sb, field::RO_COMPAT);
            put32(sb, field::RO_COMPAT, if present { flags | flag } else { flags & !flag });
        })
    }

    /// Bytes of the file of orphans, for checks.
    pub(crate) fn orphan_file_blocks(&mut self) -> Result<u64> {
        Ok(to_u64(self.orphan_blocks()?.len()))
    }
}
