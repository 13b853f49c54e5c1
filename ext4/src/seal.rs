//! Checksums of blocks: verified when a block comes from the device, made when a transaction closes.

use crate::bytes::{le16, le32, put16, put32, slice, to_u64, u8_at};
use crate::checksum::{crc32c, crc32c_without};
use crate::dir::entry;
use crate::error::{Error, Result, corrupt};
use crate::extent;
use crate::fs::Ext4;
use crate::group;
use crate::inode;
use crate::store::Kind;
use crate::superblock::{Layout, descriptor_offset, field};

/// Of an index node: where count and limit are.
pub(crate) fn count_offset(data: &[u8]) -> Option<usize> {
    let size = data.len();
    if usize::from(le16(data, 4)) == size {
        return Some(8);
    }
    // The root: after "." and "..", whose record reaches to the end.
    let root = le16(data, 4) == 12 && usize::from(le16(data, 16)) == size.saturating_sub(12);
    (root && le32(data, 24) == 0 && u8_at(data, 29) == 8).then_some(32)
}

/// Where an index node's checksum is and what it is, if there is room for one.
fn index_checksum(seed: u32, data: &[u8]) -> Option<(usize, u32)> {
    let at = count_offset(data)?;
    let (limit, count) = (usize::from(le16(data, at)), usize::from(le16(data, at + 2)));
    let tail = at + limit * 8;
    if count > limit || tail + 8 > data.len() {
        return None;
    }
    let sum = crc32c(seed, slice(data, 0, at + count * 8));
    let sum = crc32c(sum, slice(data, tail, tail + 4));
    Some((tail + 4, crc32c(sum, &[0; 4])))
}

/// Where a block's checksum is and what it should be. `None` for a block without room for one.
fn checksum(layout: &Layout, block: u64, kind: Kind, data: &[u8]) -> Option<(usize, u32)> {
    let size = data.len();
    match kind {
        Kind::Extents(seed) => {
            let at = 12 + 12 * usize::from(le16(data, 4));
            (at + 4 <= size).then(|| (at, crc32c(seed, slice(data, 0, at))))
        }
        Kind::Dir(seed) => entry::has_tail(data).then(|| (size - 4, crc32c(seed, slice(data, 0, size - entry::TAIL)))),
        Kind::Index(seed) => index_checksum(seed, data),
        Kind::Xattr => {
            let sum = crc32c(layout.seed, &block.to_le_bytes());
            Some((0x10, crc32c_without(sum, data, 0x10, 4)))
        }
        Kind::Orphans(seed) => {
            let sum = crc32c(seed, &block.to_le_bytes());
            Some((size - 4, crc32c(sum, slice(data, 0, (size - 8) / 4 * 4))))
        }
        _ => None,
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Extents(_) => "extent block: checksum",
        Kind::Dir(_) => "directory block: checksum",
        Kind::Index(_) => "directory index: checksum",
        Kind::Xattr => "attribute block: checksum",
        _ => "orphan file: checksum",
    }
}

impl Ext4 {
    /// Checks a block that came from the device.
    pub(crate) fn verify(&mut self, block: u64, kind: Kind, data: &[u8]) -> Result<()> {
        match kind {
            Kind::Raw | Kind::Super | Kind::Inodes(_) | Kind::Pointers => return Ok(()),
            Kind::Descriptors(which) => return self.verify_descriptors(which, data),
            Kind::BlockBitmap(number) | Kind::InodeBitmap(number) => return self.verify_bitmap(number, kind, data),
            Kind::Extents(_) => extent::node::check(data, block)?,
            Kind::Dir(_) => entry::check(data, self.layout.inodes, block)?,
            Kind::Index(_) if count_offset(data).is_none() => return Err(corrupt("directory index: header", block)),
            Kind::Index(_) => {}
            Kind::Xattr => crate::xattr::check_block(data, block)?,
            Kind::Orphans(_) => {
                if le32(data, data.len() - 8) != crate::orphan::FILE_MAGIC {
                    return Err(corrupt("orphan file: magic", block));
                }
            }
        }
        if self.layout.checksums() {
            let right = checksum(&self.layout, block, kind, data).is_some_and(|(at, sum)| le32(data, at) == sum);
            if !right {
                return Err(corrupt(name(kind), block));
            }
        }
        Ok(())
    }

    fn verify_descriptors(&self, which: u32, data: &[u8]) -> Result<()> {
        if self.lenient {
            return Ok(());
        }
        let per = self.layout.descriptors_per_block();
        let first = which.saturating_mul(per);
        for number in first..first.saturating_add(per).min(self.layout.groups) {
            let at = descriptor_offset(&self.layout, number);
            group::verify(&self.layout, number, slice(data, at, at + self.layout.descriptor_size))?;
        }
        Ok(())
    }

    fn verify_bitmap(&mut self, number: u32, kind: Kind, data: &[u8]) -> Result<()> {
        if !self.layout.checksums() {
            return Ok(());
        }
        let which = number / self.layout.descriptors_per_block();
        let block = self.get(self.layout.descriptor_block(which), Kind::Descriptors(which))?;
        let at = descriptor_offset(&self.layout, number);
        let (low, high) = group::bitmap_checksum_fields(kind);
        let sum = group::bitmap_checksum(&self.layout, kind, data);
        let wide = self.layout.wide();
        let said = u32::from(le16(&block, at + low)) | if wide { u32::from(le16(&block, at + high)) << 16 } else { 0 };
        if said != if wide { sum } else { sum & 0xffff } {
            return Err(corrupt("bitmap: checksum", u64::from(number)));
        }
        Ok(())
    }

    /// Makes the checksums of the running transaction. Descriptors come after the bitmaps whose sums they hold.
    pub(crate) fn seal(&mut self) -> Result<()> {
        self.store_counts()?;
        let blocks: alloc::vec::Vec<(u64, u64)> = self.running.blocks.iter().map(|(b, m)| (*b, *m)).collect();
        let mut descriptors = alloc::collections::BTreeSet::new();
        for &(block, mask) in &blocks {
            let layout = self.layout.clone();
            let Some((data, kind)) = self.cache.seal(block) else { return Err(Error::Busy) };
            match kind {
                Kind::Inodes(first) => inode::seal(&layout, first, mask, data),
                Kind::BlockBitmap(number) | Kind::InodeBitmap(number) if layout.checksums() => {
                    let sum = group::bitmap_checksum(&layout, kind, data);
                    self.seal_bitmap(number, kind, sum);
                }
                Kind::Descriptors(which) => {
                    descriptors.insert((which, block));
                }
                _ if layout.checksums() => {
                    if let Some((at, sum)) = checksum(&layout, block, kind, data) {
                        put32(data, at, sum);
                    }
                }
                _ => {}
            }
        }
        for (which, block) in descriptors {
            self.seal_descriptors(which, block);
        }
        self.seal_superblock();
        Ok(())
    }

    /// Brings the superblock's counts up to date; where they are, it need not join the transaction for that.
    fn store_counts(&mut self) -> Result<()> {
        let (blocks, inodes) = (self.free_blocks, self.free_inodes);
        let wide = self.layout.wide();
        let (place, at) = self.layout.superblock_place();
        let now = self.now;
        let Some((data, _)) = self.cache.seal(place) else { return Err(Error::Busy) };
        let sb = data.get_mut(at..).unwrap_or(&mut []);
        let high = if wide { u64::from(le32(sb, field::FREE_BLOCKS_HI)) } else { 0 };
        let known = (high << 32 | u64::from(le32(sb, field::FREE_BLOCKS_LO)), u64::from(le32(sb, field::FREE_INODES)));
        if known == (blocks, inodes) && !self.running.blocks.contains_key(&place) {
            return Ok(());
        }
        put32(sb, field::FREE_BLOCKS_LO, crate::bytes::low32(blocks));
        if wide {
            put32(sb, field::FREE_BLOCKS_HI, crate::bytes::high32(blocks));
        }
        put32(sb, field::FREE_INODES, crate::bytes::low32(inodes));
        put32(sb, field::WTIME, crate::bytes::low32(now.sec.cast_unsigned()));
        self.running.blocks.entry(place).or_insert(1);
        Ok(())
    }

    fn seal_superblock(&mut self) {
        let (place, at) = self.layout.superblock_place();
        if let Some((data, _)) = self.cache.seal(place) {
            self.layout.seal(data.get_mut(at..).unwrap_or(&mut []));
        }
    }

    /// Puts a bitmap's checksum into its descriptor, which changed with it: a bitmap changes with its count.
    fn seal_bitmap(&mut self, number: u32, kind: Kind, sum: u32) {
        let which = number / self.layout.descriptors_per_block();
        let block = self.layout.descriptor_block(which);
        let at = descriptor_offset(&self.layout, number);
        let (low, high) = group::bitmap_checksum_fields(kind);
        let wide = self.layout.wide();
        if let Some((data, _)) = self.cache.seal(block) {
            put16(data, at + low, crate::bytes::low16(sum));
            if wide {
                put16(data, at + high, crate::bytes::high16(sum));
            }
        }
    }

    fn seal_descriptors(&mut self, which: u32, block: u64) {
        let layout = self.layout.clone();
        let per = layout.descriptors_per_block();
        let first = which.saturating_mul(per);
        if let Some((data, _)) = self.cache.seal(block) {
            for number in first..first.saturating_add(per).min(layout.groups) {
                let at = descriptor_offset(&layout, number);
                let size = layout.descriptor_size;
                group::seal(&layout, number, data.get_mut(at..at + size).unwrap_or(&mut []));
            }
        }
    }

    /// How many blocks of a directory or table are worth reading with one.
    pub(crate) fn read_ahead(&self) -> u64 {
        to_u64(32 * 1024 / self.layout.block_size.max(1))
    }
}
