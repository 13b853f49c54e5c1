//! Finding a free inode and giving one back.

use crate::bytes::low32;
use crate::checksum::crc32c;
use crate::error::{Error, Result, corrupt};
use crate::fs::Ext4;
use crate::group::{Group, bit, find_bit, set_bits};
use crate::inode::Inode;
use crate::store::Kind;
use crate::types::{By, Ino, InodeFlags};

impl Ext4 {
    /// A free inode near a directory, marked as taken; its place is zeros.
    pub(crate) fn allocate_inode(&mut self, dir: &Inode, is_dir: bool) -> Result<Ino> {
        if self.free_inodes == 0 {
            return Err(Error::NoSpace);
        }
        let parent = self.inode_place(dir.ino)?.0;
        let spread = is_dir && (dir.ino == Self::ROOT || dir.has(InodeFlags::TOP_DIR));
        let first = if spread { self.roomiest_group(parent)? } else { parent };
        for step in 0..self.layout.groups {
            let number = (first + step) % self.layout.groups;
            if let Some(ino) = self.allocate_inode_in(number, is_dir)? {
                return Ok(ino);
            }
        }
        Err(Error::NoSpace)
    }

    /// For directories at the top: the group with the fewest of those that have more free than most.
    fn roomiest_group(&mut self, near: u32) -> Result<u32> {
        let groups = u64::from(self.layout.groups);
        let (inodes, blocks) = (self.free_inodes / groups, self.free_blocks / groups);
        let mut best: Option<(u32, u32)> = None;
        for number in 0..self.layout.groups {
            let group = self.group(number)?;
            let good = u64::from(group.free_inodes) >= inodes.max(1) && u64::from(group.free_blocks) >= blocks;
            if good && best.is_none_or(|(directories, _)| group.directories < directories) {
                best = Some((group.directories, number));
            }
        }
        Ok(best.map_or(near, |(_, number)| number))
    }

    fn allocate_inode_in(&mut self, number: u32, is_dir: bool) -> Result<Option<Ino>> {
        let mut group = self.group(number)?;
        if group.free_inodes == 0 {
            return Ok(None);
        }
        let per_group = self.layout.inodes_per_group;
        let from = if number == 0 { self.layout.first_inode - 1 } else { 0 };
        let map = self.inode_bitmap(number)?;
        let Some(free) = find_bit(&map, u64::from(from), u64::from(per_group), false) else { return Ok(None) };
        let within = low32(free);
        let map = self.edit_inode_bitmap(number)?;
        set_bits(map, free, 1, true);
        group.flags = self.group(number)?.flags;
        let used = per_group - group.unused_inodes.min(per_group);
        group.free_inodes -= 1;
        group.directories += u32::from(is_dir);
        if self.layout.lazy_groups() && within >= used {
            group.unused_inodes = per_group - within - 1;
        }
        self.put_group(number, &group)?;
        self.attempt.free_inodes -= 1;
        let ino = number * per_group + within + 1;
        self.prepare_table(&group, ino, within, used)?;
        self.clear_inode(ino)?;
        Ok(Some(ino))
    }

    /// A block of a table in which no inode was ever used need not be read, and may hold anything.
    fn prepare_table(&mut self, group: &Group, ino: Ino, within: u32, used: u32) -> Result<()> {
        let per_block = u32::try_from(self.layout.block_size / self.layout.inode_size).unwrap_or(1).max(1);
        let first = within - within % per_block;
        if self.layout.lazy_groups() && first >= used {
            let block = group.inode_table + u64::from(first / per_block);
            self.fresh(block, Kind::Inodes(ino - (within - first)))?;
        }
        Ok(())
    }

    /// Gives an inode back that has nothing any more.
    pub(crate) fn free_inode(&mut self, inode: &mut Inode, by: By) -> Result<()> {
        if inode.ino < self.layout.first_inode {
            return Err(corrupt("freeing an inode of the file system's own", u64::from(inode.ino)));
        }
        let (number, within) = self.inode_place(inode.ino)?;
        let map = self.edit_inode_bitmap(number)?;
        if !bit(map, u64::from(within)) {
            return Err(corrupt("inode bitmap: freeing what is free", u64::from(inode.ino)));
        }
        set_bits(map, u64::from(within), 1, false);
        let mut group = self.group(number)?;
        group.free_inodes = group.free_inodes.saturating_add(1).min(self.layout.inodes_per_group);
        if inode.is_dir() {
            group.directories = group.directories.saturating_sub(1);
        }
        self.put_group(number, &group)?;
        self.attempt.free_inodes += 1;
        // Small numbers there would be taken for links of the list of orphans.
        inode.dtime = low32(by.now.sec.cast_unsigned()).max(self.layout.inodes.saturating_add(1));
        inode.mode = 0;
        inode.size = 0;
        inode.links = 0;
        inode.flags = InodeFlags::empty();
        inode.root = [0; 60];
        self.put_inode(inode, true)
    }

    /// A number that distinguishes an inode from those that had its number before.
    pub(crate) fn new_generation(&self, ino: Ino, by: By) -> u32 {
        let sum = crc32c(self.layout.seed, &ino.to_le_bytes());
        let sum = crc32c(sum, &by.now.nsec.to_le_bytes());
        let sum = crc32c(sum, &by.now.sec.to_le_bytes());
        crc32c(sum, &self.tid.to_le_bytes())
    }
}
