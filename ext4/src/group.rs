//! Block groups: descriptors, and the bitmaps they lead to.

use alloc::sync::Arc;
use alloc::vec;

use crate::bytes::{clear, high16, index, le16, le32, low16, put16, slice, to_usize};
use crate::checksum::{crc16, crc32c, crc32c_without};
use crate::error::{Result, corrupt};
use crate::fs::Ext4;
use crate::store::Kind;
use crate::superblock::{Incompat, Layout, descriptor_offset};
use crate::types::{Block, BlockRange};

pub(crate) const INODE_UNINIT: u16 = 1;
pub(crate) const BLOCK_UNINIT: u16 = 2;
pub(crate) const INODE_ZEROED: u16 = 4;
const CHECKSUM: usize = 0x1e;

/// A group's descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Group {
    pub(crate) block_bitmap: u64,
    pub(crate) inode_bitmap: u64,
    pub(crate) inode_table: u64,
    pub(crate) free_blocks: u32,
    pub(crate) free_inodes: u32,
    pub(crate) directories: u32,
    pub(crate) flags: u16,
    /// Inodes at the table's end that were never used.
    pub(crate) unused_inodes: u32,
}

impl Group {
    pub(crate) fn parse(data: &[u8], wide: bool) -> Self {
        let high32 = |at| if wide { u64::from(le32(data, at)) << 32 } else { 0 };
        let high16 = |at| if wide { u32::from(le16(data, at)) << 16 } else { 0 };
        Self {
            block_bitmap: u64::from(le32(data, 0)) | high32(0x20),
            inode_bitmap: u64::from(le32(data, 4)) | high32(0x24),
            inode_table: u64::from(le32(data, 8)) | high32(0x28),
            free_blocks: u32::from(le16(data, 0xc)) | high16(0x2c),
            free_inodes: u32::from(le16(data, 0xe)) | high16(0x2e),
            directories: u32::from(le16(data, 0x10)) | high16(0x30),
            flags: le16(data, 0x12),
            unused_inodes: u32::from(le16(data, 0x1c)) | high16(0x32),
        }
    }

    /// Writes what changes while mounted.
    pub(crate) fn store(&self, data: &mut [u8], wide: bool) {
        let pairs = [
            (0xc, 0x2c, self.free_blocks),
            (0xe, 0x2e, self.free_inodes),
            (0x10, 0x30, self.directories),
            (0x1c, 0x32, self.unused_inodes),
        ];
        for (low, high, value) in pairs {
            put16(data, low, low16(value));
            if wide {
                put16(data, high, high16(value));
            }
        }
        put16(data, 0x12, self.flags);
    }
}

/// A descriptor's checksum.
fn checksum(layout: &Layout, number: u32, data: &[u8]) -> u16 {
    if layout.checksums() {
        let sum = crc32c(layout.seed, &number.to_le_bytes());
        low16(crc32c_without(sum, data, CHECKSUM, 2))
    } else {
        let sum = crc16(crc16(!0, &layout.uuid), &number.to_le_bytes());
        let sum = crc16(sum, slice(data, 0, CHECKSUM));
        crc16(sum, slice(data, CHECKSUM + 2, data.len()))
    }
}

/// Checks a descriptor's checksum.
pub(crate) fn verify(layout: &Layout, number: u32, data: &[u8]) -> Result<()> {
    if layout.lazy_groups() && le16(data, CHECKSUM) != checksum(layout, number, data) {
        return Err(corrupt("group descriptor: checksum", u64::from(number)));
    }
    Ok(())
}

/// Writes a descriptor's checksum.
pub(crate) fn seal(layout: &Layout, number: u32, data: &mut [u8]) {
    if layout.lazy_groups() {
        let sum = checksum(layout, number, data);
        put16(data, CHECKSUM, sum);
    }
}

/// A bitmap's checksum, as far as the descriptor has room for it.
pub(crate) fn bitmap_checksum(layout: &Layout, kind: Kind, data: &[u8]) -> u32 {
    let bits = match kind {
        Kind::BlockBitmap(_) => layout.blocks_per_group,
        _ => u64::from(layout.inodes_per_group),
    };
    crc32c(layout.seed, slice(data, 0, to_usize(bits / 8)))
}

/// Where in a descriptor the halves of a bitmap's checksum are.
pub(crate) fn bitmap_checksum_fields(kind: Kind) -> (usize, usize) {
    if matches!(kind, Kind::BlockBitmap(_)) { (0x18, 0x38) } else { (0x1a, 0x3a) }
}

impl Layout {
    pub(crate) fn wide(&self) -> bool {
        self.has(Incompat::BITS64)
    }
}

/// Whether a bit is set.
pub(crate) fn bit(map: &[u8], number: u64) -> bool {
    map.get(to_usize(number / 8)).is_some_and(|byte| byte & (1 << (number % 8)) != 0)
}

/// Sets or clears bits.
pub(crate) fn set_bits(map: &mut [u8], start: u64, count: u64, value: bool) {
    let mut at = start;
    let end = start.saturating_add(count);
    while at < end {
        let Some(byte) = map.get_mut(to_usize(at / 8)) else { return };
        if at.is_multiple_of(8) && end - at >= 8 {
            *byte = if value { 0xff } else { 0 };
            at += 8;
        } else {
            let mask = 1u8 << (at % 8);
            *byte = if value { *byte | mask } else { *byte & !mask };
            at += 1;
        }
    }
}

/// The first bit from `from` on, below `end`, that is `value`.
pub(crate) fn find_bit(map: &[u8], from: u64, end: u64, value: bool) -> Option<u64> {
    let skip = if value { 0 } else { 0xff };
    let mut at = from;
    while at < end {
        let byte = *map.get(to_usize(at / 8))?;
        if at.is_multiple_of(8) && byte == skip {
            at += 8;
        } else if (byte & (1 << (at % 8)) != 0) == value {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

/// How many bits below `end` are set.
pub(crate) fn count_bits(map: &[u8], end: u64) -> u64 {
    let whole: u64 = slice(map, 0, to_usize(end / 8)).iter().map(|b| u64::from(b.count_ones())).sum();
    whole + (end / 8 * 8..end).filter(|&at| bit(map, at)).count() as u64
}

impl Ext4 {
    pub(crate) fn group(&mut self, number: u32) -> Result<Group> {
        if number >= self.layout.groups {
            return Err(corrupt("a group that is not there", u64::from(number)));
        }
        let which = number / self.layout.descriptors_per_block();
        let block = self.get(self.layout.descriptor_block(which), Kind::Descriptors(which))?;
        let at = descriptor_offset(&self.layout, number);
        Ok(Group::parse(slice(&block, at, at + self.layout.descriptor_size), self.layout.wide()))
    }

    pub(crate) fn put_group(&mut self, number: u32, group: &Group) -> Result<()> {
        let which = number / self.layout.descriptors_per_block();
        let (size, wide) = (self.layout.descriptor_size, self.layout.wide());
        let at = descriptor_offset(&self.layout, number);
        let data = self.edit(self.layout.descriptor_block(which), Kind::Descriptors(which))?;
        group.store(data.get_mut(at..at + size).unwrap_or(&mut []), wide);
        Ok(())
    }

    /// Finds out which blocks are the file system's own, and how many are free.
    pub(crate) fn survey_groups(&mut self) -> Result<()> {
        let mut system = crate::store::Ranges::default();
        let (mut blocks, mut inodes) = (0u64, 0u64);
        let table = self.layout.inode_table_blocks();
        for number in 0..self.layout.groups {
            let group = self.group(number)?;
            let start = self.layout.group_start(number);
            let head = self.layout.group_head(number);
            let ranges = [(start, head), (group.block_bitmap, 1), (group.inode_bitmap, 1), (group.inode_table, table)];
            for (start, count) in ranges {
                let end = start.checked_add(count).filter(|&end| end <= self.layout.blocks);
                if end.is_none() || start < self.layout.first_data_block {
                    return Err(corrupt("group descriptor: a place beyond the device", u64::from(number)));
                }
                if count > 0 {
                    system.insert(BlockRange { start, count });
                }
            }
            if group.block_bitmap <= self.layout.first_data_block
                || group.inode_bitmap <= self.layout.first_data_block
                || group.inode_table <= self.layout.first_data_block
                || u64::from(group.free_blocks) > self.layout.group_blocks(number)
                || group.free_inodes > self.layout.inodes_per_group
                || group.unused_inodes > self.layout.inodes_per_group
            {
                return Err(corrupt("group descriptor: its numbers make no sense", u64::from(number)));
            }
            blocks += u64::from(group.free_blocks);
            inodes += u64::from(group.free_inodes);
        }
        self.system = system;
        self.free_blocks = blocks;
        self.free_inodes = inodes;
        Ok(())
    }

    /// Whether a group's bitmap is only in our heads.
    fn uninitialised(&self, group: &Group, flag: u16) -> bool {
        self.layout.lazy_groups() && group.flags & flag != 0
    }

    /// Fills in a block bitmap of which only the file system's own blocks are taken.
    fn initial_block_bitmap(&self, number: u32, map: &mut [u8]) {
        let start = self.layout.group_start(number);
        let count = self.layout.group_blocks(number);
        let mut at = start;
        while let Some((from, to)) = self.system.at_or_after(at)
            && from < start + count
        {
            let (from, to) = (from.max(start), to.min(start + count));
            set_bits(map, from - start, to - from, true);
            at = to;
        }
        set_bits(map, count, self.layout.bytes() * 8 - count, true);
    }

    fn initial_inode_bitmap(&self, map: &mut [u8]) {
        let count = u64::from(self.layout.inodes_per_group);
        set_bits(map, count, self.layout.bytes() * 8 - count, true);
    }

    pub(crate) fn block_bitmap(&mut self, number: u32) -> Result<Block> {
        let group = self.group(number)?;
        if self.uninitialised(&group, BLOCK_UNINIT) {
            let mut map = vec![0; self.layout.block_size];
            self.initial_block_bitmap(number, &mut map);
            return Ok(Arc::from(map));
        }
        self.get(group.block_bitmap, Kind::BlockBitmap(number))
    }

    pub(crate) fn inode_bitmap(&mut self, number: u32) -> Result<Block> {
        let group = self.group(number)?;
        if self.uninitialised(&group, INODE_UNINIT) {
            let mut map = vec![0; self.layout.block_size];
            self.initial_inode_bitmap(&mut map);
            return Ok(Arc::from(map));
        }
        self.get(group.inode_bitmap, Kind::InodeBitmap(number))
    }

    /// A block bitmap to change; the descriptor no longer says it is not there.
    pub(crate) fn edit_block_bitmap(&mut self, number: u32) -> Result<&mut [u8]> {
        let mut group = self.group(number)?;
        if self.uninitialised(&group, BLOCK_UNINIT) {
            let map = self.block_bitmap(number)?;
            group.flags &= !BLOCK_UNINIT;
            self.put_group(number, &group)?;
            let fresh = self.fresh(group.block_bitmap, Kind::BlockBitmap(number))?;
            fresh.copy_from_slice(&map);
            return Ok(fresh);
        }
        self.edit(group.block_bitmap, Kind::BlockBitmap(number))
    }

    /// An inode bitmap to change.
    pub(crate) fn edit_inode_bitmap(&mut self, number: u32) -> Result<&mut [u8]> {
        let mut group = self.group(number)?;
        if self.uninitialised(&group, INODE_UNINIT) {
            let map = self.inode_bitmap(number)?;
            group.flags &= !INODE_UNINIT;
            self.put_group(number, &group)?;
            let fresh = self.fresh(group.inode_bitmap, Kind::InodeBitmap(number))?;
            fresh.copy_from_slice(&map);
            return Ok(fresh);
        }
        self.edit(group.inode_bitmap, Kind::InodeBitmap(number))
    }

    /// The group of an inode and its number in it.
    pub(crate) fn inode_place(&self, ino: u32) -> Result<(u32, u32)> {
        if ino == 0 || ino > self.layout.inodes {
            return Err(corrupt("an inode number that cannot be", u64::from(ino)));
        }
        Ok(((ino - 1) / self.layout.inodes_per_group, (ino - 1) % self.layout.inodes_per_group))
    }

    /// The block of the table an inode is in, its offset there, and the number among its neighbours in the block.
    pub(crate) fn inode_location(&mut self, ino: u32) -> Result<(u64, usize, u32)> {
        let (group, number) = self.inode_place(ino)?;
        let per_block = u32::try_from(self.layout.block_size / self.layout.inode_size).unwrap_or(1).max(1);
        let table = self.group(group)?.inode_table;
        let within = number % per_block;
        Ok((table + u64::from(number / per_block), index(within) * self.layout.inode_size, within))
    }
}

/// Zeroes the part of a bitmap's block that describes nothing, before bits for what is not there are set.
pub(crate) fn clear_bitmap(map: &mut [u8]) {
    let len = map.len();
    clear(map, 0, len);
}
