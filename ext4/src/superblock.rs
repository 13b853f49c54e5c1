//! The superblock: what never changes while a file system is mounted, and the names of features.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::bytes::{index, le16, le32, put32, slice, u8_at};
use crate::checksum::crc32c;
use crate::error::{Error, Result, corrupt};

/// Where it is on the device, and its size.
pub(crate) const OFFSET: usize = 1024;
pub(crate) const SIZE: usize = 1024;
pub(crate) const MAGIC: u16 = 0xef53;

/// Offsets of the fields that change.
pub(crate) mod field {
    pub(crate) const FREE_BLOCKS_LO: usize = 0x0c;
    pub(crate) const FREE_INODES: usize = 0x10;
    pub(crate) const MTIME: usize = 0x2c;
    pub(crate) const WTIME: usize = 0x30;
    pub(crate) const MOUNTS: usize = 0x34;
    pub(crate) const STATE: usize = 0x3a;
    pub(crate) const INCOMPAT: usize = 0x60;
    pub(crate) const RO_COMPAT: usize = 0x64;
    pub(crate) const LAST_ORPHAN: usize = 0xe8;
    pub(crate) const FREE_BLOCKS_HI: usize = 0x158;
    /// Of a feature that never came to be: free as long as there is no such inode.
    pub(crate) const SNAPSHOT_INODE: usize = 0x180;
    pub(crate) const SNAPSHOT_ID: usize = 0x184;
    pub(crate) const ERROR_COUNT: usize = 0x194;
    pub(crate) const FIRST_ERROR_TIME: usize = 0x198;
    pub(crate) const FIRST_ERROR_BLOCK: usize = 0x1a0;
    pub(crate) const FIRST_ERROR_FUNC: usize = 0x1a8;
    pub(crate) const LAST_ERROR_TIME: usize = 0x1cc;
    pub(crate) const LAST_ERROR_BLOCK: usize = 0x1d8;
    pub(crate) const LAST_ERROR_FUNC: usize = 0x1e0;
    pub(crate) const CHECKSUM: usize = 0x3fc;
}

/// Bits of `s_state`.
pub(crate) const STATE_CLEAN: u16 = 1;
pub(crate) const STATE_ERRORS: u16 = 2;

bitflags::bitflags! {
    /// Features others may ignore.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Compat: u32 {
        const DIR_PREALLOC = 0x1;
        const IMAGIC_INODES = 0x2;
        const HAS_JOURNAL = 0x4;
        const EXT_ATTR = 0x8;
        const RESIZE_INODE = 0x10;
        const DIR_INDEX = 0x20;
        const LAZY_BG = 0x40;
        const EXCLUDE_BITMAP = 0x100;
        const SPARSE_SUPER2 = 0x200;
        const FAST_COMMIT = 0x400;
        const STABLE_INODES = 0x800;
        const ORPHAN_FILE = 0x1000;
    }
    /// Features without which nothing can be read.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Incompat: u32 {
        const COMPRESSION = 0x1;
        const FILETYPE = 0x2;
        const NEEDS_RECOVERY = 0x4;
        const JOURNAL_DEV = 0x8;
        const META_BG = 0x10;
        const EXTENTS = 0x40;
        const BITS64 = 0x80;
        const MMP = 0x100;
        const FLEX_BG = 0x200;
        const EA_INODE = 0x400;
        const DIRDATA = 0x1000;
        const CSUM_SEED = 0x2000;
        const LARGE_DIR = 0x4000;
        const INLINE_DATA = 0x8000;
        const ENCRYPT = 0x1_0000;
        const CASEFOLD = 0x2_0000;
    }
    /// Features without which nothing can be changed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct RoCompat: u32 {
        const SPARSE_SUPER = 0x1;
        const LARGE_FILE = 0x2;
        const BTREE_DIR = 0x4;
        const HUGE_FILE = 0x8;
        const GDT_CSUM = 0x10;
        const DIR_NLINK = 0x20;
        const EXTRA_ISIZE = 0x40;
        const HAS_SNAPSHOT = 0x80;
        const QUOTA = 0x100;
        const BIGALLOC = 0x200;
        const METADATA_CSUM = 0x400;
        const REPLICA = 0x800;
        const READONLY = 0x1000;
        const PROJECT = 0x2000;
        const SHARED_BLOCKS = 0x4000;
        const VERITY = 0x8000;
        const ORPHAN_PRESENT = 0x1_0000;
    }
}

const INCOMPAT_KNOWN: Incompat = Incompat::FILETYPE
    .union(Incompat::NEEDS_RECOVERY)
    .union(Incompat::META_BG)
    .union(Incompat::EXTENTS)
    .union(Incompat::BITS64)
    .union(Incompat::FLEX_BG)
    .union(Incompat::CSUM_SEED)
    .union(Incompat::LARGE_DIR)
    .union(Incompat::INLINE_DATA);

const RO_COMPAT_KNOWN: RoCompat = RoCompat::SPARSE_SUPER
    .union(RoCompat::LARGE_FILE)
    .union(RoCompat::HUGE_FILE)
    .union(RoCompat::GDT_CSUM)
    .union(RoCompat::DIR_NLINK)
    .union(RoCompat::EXTRA_ISIZE)
    .union(RoCompat::METADATA_CSUM)
    .union(RoCompat::PROJECT)
    .union(RoCompat::ORPHAN_PRESENT);

/// Read-only features that change what is on the disk too much to read it either.
const RO_COMPAT_REFUSED: RoCompat = RoCompat::BIGALLOC.union(RoCompat::VERITY);

/// tune2fs(8) spells some names in another way.
fn feature_name(name: &str) -> String {
    match name {
        "BITS64" => "64bit".to_owned(),
        "EXTENTS" => "extent".to_owned(),
        "GDT_CSUM" => "uninit_bg".to_owned(),
        "RO_COMPAT_READONLY" | "READONLY" => "read-only".to_owned(),
        "CSUM_SEED" => "metadata_csum_seed".to_owned(),
        other => other.to_lowercase(),
    }
}

/// The names of features, and the numbers of those that have none.
fn names<F: bitflags::Flags<Bits = u32>>(what: &str, flags: &F) -> Vec<String> {
    let mut out: Vec<String> = flags.iter_names().map(|(name, _)| feature_name(name)).collect();
    let known: u32 = F::FLAGS.iter().map(|f| f.value().bits()).fold(0, |a, b| a | b);
    let rest = flags.bits() & !known;
    if rest != 0 {
        out.push(format!("{what} {rest:#x}"));
    }
    out
}

/// What does not change while mounted.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Bytes of a block, and its logarithm.
    pub(crate) block_size: usize,
    pub(crate) block_bits: u32,
    pub(crate) blocks: u64,
    pub(crate) reserved_blocks: u64,
    /// Block 1 where blocks have 1 KiB, else 0.
    pub(crate) first_data_block: u64,
    pub(crate) blocks_per_group: u64,
    pub(crate) inodes_per_group: u32,
    pub(crate) inodes: u32,
    pub(crate) groups: u32,
    pub(crate) inode_size: usize,
    pub(crate) first_inode: u32,
    pub(crate) want_extra_isize: u16,
    pub(crate) descriptor_size: usize,
    pub(crate) reserved_gdt_blocks: u64,
    pub(crate) first_meta_group: u32,
    pub(crate) groups_per_flex: u32,
    pub(crate) backup_groups: [u32; 2],
    pub(crate) compat: Compat,
    pub(crate) incompat: Incompat,
    pub(crate) ro_compat: RoCompat,
    /// Where checksums begin.
    pub(crate) seed: u32,
    pub(crate) uuid: [u8; 16],
    pub(crate) label: [u8; 16],
    pub(crate) hash_seed: [u32; 4],
    pub(crate) hash_version: u8,
    /// Whether hashes take bytes as unsigned.
    pub(crate) hash_unsigned: bool,
    pub(crate) journal_inode: u32,
    pub(crate) orphan_file: u32,
    balance: Balance,
}

impl Layout {
    /// Reads a superblock of a device of so many bytes.
    pub(crate) fn parse(sb: &[u8], device_bytes: u64) -> Result<Self> {
        let layout = Self::parse_unchecked(sb, device_bytes)?;
        if layout.checksums() && crc32c(!0, slice(sb, 0, field::CHECKSUM)) != le32(sb, field::CHECKSUM) {
            return Err(corrupt("superblock: checksum", 0));
        }
        Ok(layout)
    }

    /// Reads a superblock whatever its checksum says.
    pub(crate) fn parse_unchecked(sb: &[u8], device_bytes: u64) -> Result<Self> {
        if le16(sb, 0x38) != MAGIC {
            return Err(Error::NotExt4);
        }
        let dynamic = le32(sb, 0x4c) >= 1;
        let (compat, incompat, ro_compat) = if dynamic {
            (
                Compat::from_bits_retain(le32(sb, 0x5c)),
                Incompat::from_bits_retain(le32(sb, 0x60)),
                RoCompat::from_bits_retain(le32(sb, 0x64)),
            )
        } else {
            (Compat::empty(), Incompat::empty(), RoCompat::empty())
        };
        refuse(incompat, ro_compat)?;
        if ro_compat.contains(RoCompat::METADATA_CSUM) && u8_at(sb, 0x175) != 1 {
            return Err(Error::Unsupported("a checksum other than crc32c".to_owned()));
        }
        let block_bits = le32(sb, 0x18).checked_add(10).filter(|&b| b <= 12);
        let Some(block_bits) = block_bits else {
            return Err(Error::Unsupported("blocks larger than 4 KiB".to_owned()));
        };
        let high = |at| if incompat.contains(Incompat::BITS64) { u64::from(le32(sb, at)) << 32 } else { 0 };
        let mut uuid = [0; 16];
        uuid.copy_from_slice(sb.get(0x68..0x78).ok_or(Error::NotExt4)?);
        let mut label = [0; 16];
        label.copy_from_slice(sb.get(0x78..0x88).ok_or(Error::NotExt4)?);
        let flags = le32(sb, 0x160);
        let layout = Self {
            block_size: 1usize << block_bits,
            block_bits,
            blocks: u64::from(le32(sb, 0x4)) | high(0x150),
            reserved_blocks: u64::from(le32(sb, 0x8)) | high(0x154),
            first_data_block: u64::from(le32(sb, 0x14)),
            blocks_per_group: u64::from(le32(sb, 0x20)),
            inodes_per_group: le32(sb, 0x28),
            inodes: le32(sb, 0),
            groups: 0,
            inode_size: if dynamic { usize::from(le16(sb, 0x58)) } else { 128 },
            first_inode: if dynamic { le32(sb, 0x54) } else { 11 },
            want_extra_isize: le16(sb, 0x15e),
            descriptor_size: if incompat.contains(Incompat::BITS64) { usize::from(le16(sb, 0xfe)) } else { 32 },
            reserved_gdt_blocks: u64::from(le16(sb, 0xce)),
            first_meta_group: le32(sb, 0x104),
            groups_per_flex: 1u32.checked_shl(u32::from(u8_at(sb, 0x174))).unwrap_or(1).max(1),
            backup_groups: [le32(sb, 0x24c), le32(sb, 0x250)],
            compat,
            incompat,
            ro_compat,
            seed: if incompat.contains(Incompat::CSUM_SEED) { le32(sb, 0x270) } else { crc32c(!0, &uuid) },
            uuid,
            label,
            hash_seed: [le32(sb, 0xec), le32(sb, 0xf0), le32(sb, 0xf4), le32(sb, 0xf8)],
            hash_version: u8_at(sb, 0xfc),
            // Flag 1 says signed, 2 unsigned; without either it was made by an x86, where characters are signed.
            hash_unsigned: flags & 2 != 0,
            journal_inode: le32(sb, 0xe0),
            orphan_file: if compat.contains(Compat::ORPHAN_FILE) { le32(sb, 0x280) } else { 0 },
            balance: Balance::new(),
        };
        layout.sane(sb, device_bytes)
    }

    /// Checks that the numbers can be worked with, and counts the groups.
    fn sane(mut self, sb: &[u8], device_bytes: u64) -> Result<Self> {
        let bits = u64::from(u32::try_from(self.block_size).unwrap_or(0)) * 8;
        let ok = self.blocks_per_group > 0
            && self.blocks_per_group <= bits
            && self.blocks_per_group.is_multiple_of(8)
            && self.inodes_per_group > 0
            && u64::from(self.inodes_per_group) <= bits
            && le32(sb, 0x1c) == le32(sb, 0x18)
            && self.first_data_block == u64::from(self.block_bits == 10)
            && self.inode_size.is_power_of_two()
            && (128..=self.block_size).contains(&self.inode_size)
            && self.descriptor_size.is_power_of_two()
            && (32..=1024).contains(&self.descriptor_size)
            && (!self.incompat.contains(Incompat::BITS64) || self.descriptor_size >= 64)
            && self.first_inode >= 11
            && self.blocks > self.first_data_block;
        if !ok {
            return Err(corrupt("superblock: its numbers make no sense", 0));
        }
        if self.blocks > device_bytes >> self.block_bits {
            return Err(corrupt("superblock: the file system is larger than the device", self.blocks));
        }
        let groups = (self.blocks - self.first_data_block).div_ceil(self.blocks_per_group);
        self.groups = u32::try_from(groups).map_err(|_| corrupt("superblock: too many groups", groups))?;
        if u64::from(self.groups) * u64::from(self.inodes_per_group) != u64::from(self.inodes) {
            return Err(corrupt("superblock: number of inodes", u64::from(self.inodes)));
        }
        if self.compat.contains(Compat::HAS_JOURNAL) && self.journal_inode == 0 {
            return Err(Error::Unsupported("a journal on another device".to_owned()));
        }
        Ok(self)
    }

    /// Makes a superblock's checksum right, without changing it if possible.
    ///
    /// The checksum is in the second sector, and what changes is in the first. Were both written and the power cut in
    /// between, no tool would take the superblock any more. So an unused word of the first sector is chosen in such a
    /// way that the checksum stays what it was: then either version of the first sector goes with it.
    pub(crate) fn seal(&self, sb: &mut [u8]) {
        if !self.checksums() {
            return;
        }
        let sum = |sb: &[u8]| crc32c(!0, slice(sb, 0, field::CHECKSUM));
        if le32(sb, field::SNAPSHOT_INODE) == 0 {
            put32(sb, field::SNAPSHOT_ID, 0);
            let off = sum(sb) ^ le32(sb, field::CHECKSUM);
            put32(sb, field::SNAPSHOT_ID, self.balance.word(off));
        }
        let sum = sum(sb);
        put32(sb, field::CHECKSUM, sum);
    }

    pub(crate) fn has(&self, feature: Incompat) -> bool {
        self.incompat.contains(feature)
    }
    pub(crate) fn has_ro(&self, feature: RoCompat) -> bool {
        self.ro_compat.contains(feature)
    }
    pub(crate) fn has_compat(&self, feature: Compat) -> bool {
        self.compat.contains(feature)
    }
    pub(crate) fn checksums(&self) -> bool {
        self.has_ro(RoCompat::METADATA_CSUM)
    }
    /// Whether descriptors have checksums, and with them bitmaps and tables that need not be initialised.
    pub(crate) fn lazy_groups(&self) -> bool {
        self.checksums() || self.has_ro(RoCompat::GDT_CSUM)
    }
    /// Whether features we do not know forbid changing anything.
    pub(crate) fn read_only_features(&self) -> Vec<String> {
        names("ro_compat", &self.ro_compat.difference(RO_COMPAT_KNOWN))
    }
    pub(crate) fn feature_names(&self) -> Vec<String> {
        let mut all = names("compat", &self.compat);
        all.extend(names("incompat", &self.incompat));
        all.extend(names("ro_compat", &self.ro_compat));
        all
    }

    pub(crate) fn group_of(&self, block: u64) -> u32 {
        let group = block.saturating_sub(self.first_data_block) / self.blocks_per_group.max(1);
        u32::try_from(group).unwrap_or(u32::MAX)
    }
    pub(crate) fn group_start(&self, group: u32) -> u64 {
        self.first_data_block + u64::from(group) * self.blocks_per_group
    }
    /// Blocks of a group: the last one may be short.
    pub(crate) fn group_blocks(&self, group: u32) -> u64 {
        self.blocks.saturating_sub(self.group_start(group)).min(self.blocks_per_group)
    }
    pub(crate) fn inode_table_blocks(&self) -> u64 {
        (u64::from(self.inodes_per_group) * u64::try_from(self.inode_size).unwrap_or(0)).div_ceil(self.bytes())
    }
    /// Bytes of a block as a number.
    pub(crate) fn bytes(&self) -> u64 {
        1 << self.block_bits
    }
    pub(crate) fn descriptors_per_block(&self) -> u32 {
        u32::try_from(self.block_size / self.descriptor_size.max(1)).unwrap_or(1).max(1)
    }
    pub(crate) fn descriptor_blocks(&self) -> u32 {
        self.groups.div_ceil(self.descriptors_per_block())
    }
    /// Blocks a size takes.
    pub(crate) fn blocks_for(&self, size: u64) -> u64 {
        size.div_ceil(self.bytes())
    }
    /// Which block the superblock is in, and where.
    pub(crate) fn superblock_place(&self) -> (u64, usize) {
        if self.block_bits == 10 { (1, 0) } else { (0, OFFSET) }
    }

    /// Whether a group has a copy of the superblock.
    pub(crate) fn has_superblock(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.has_compat(Compat::SPARSE_SUPER2) {
            return self.backup_groups.contains(&group);
        }
        group == 1 || !self.has_ro(RoCompat::SPARSE_SUPER) || [3, 5, 7].iter().any(|&base| is_power_of(group, base))
    }

    /// Where a block of group descriptors is.
    pub(crate) fn descriptor_block(&self, number: u32) -> u64 {
        let (place, _) = self.superblock_place();
        if !self.has(Incompat::META_BG) || number < self.first_meta_group {
            return place + 1 + u64::from(number);
        }
        let group = number.saturating_mul(self.descriptors_per_block());
        self.group_start(group) + u64::from(self.has_superblock(group))
    }

    /// How many blocks at its start a group gives to superblock and descriptors.
    pub(crate) fn group_head(&self, group: u32) -> u64 {
        let sb = u64::from(self.has_superblock(group));
        if !self.has(Incompat::META_BG) || group / self.descriptors_per_block() < self.first_meta_group {
            let old = if self.has(Incompat::META_BG) { self.first_meta_group } else { self.descriptor_blocks() };
            return if sb == 1 { 1 + u64::from(old) + self.reserved_gdt_blocks } else { 0 };
        }
        let per = self.descriptors_per_block();
        let within = group % per;
        sb + u64::from(within == 0 || within == 1 || within == per - 1)
    }
}

/// What to put into a word so that the checksum changes by given bits: the checksum is linear in the word.
#[derive(Clone, Debug)]
struct Balance([u32; 32]);

impl Balance {
    fn new() -> Self {
        let after = field::CHECKSUM - field::SNAPSHOT_ID - 4;
        let zeros = [0u8; SIZE];
        let rest = slice(&zeros, 0, after);
        // Pairs of a change of the checksum and the word that makes it; eliminated until each pair has one bit.
        let mut pairs = [(0u32, 0u32); 32];
        for (bit, pair) in pairs.iter_mut().enumerate() {
            let word = 1u32 << bit;
            let change = crc32c(crc32c(0, &word.to_le_bytes()), rest);
            *pair = (change, word);
        }
        for bit in 0..32usize {
            let mask = 1u32 << bit;
            let Some(found) = pairs.iter().skip(bit).position(|(change, _)| change & mask != 0) else { continue };
            pairs.swap(bit, bit + found);
            let Some(&pivot) = pairs.get(bit) else { continue };
            for (number, pair) in pairs.iter_mut().enumerate() {
                if number != bit && pair.0 & mask != 0 {
                    *pair = (pair.0 ^ pivot.0, pair.1 ^ pivot.1);
                }
            }
        }
        Self(pairs.map(|(_, word)| word))
    }

    fn word(&self, change: u32) -> u32 {
        self.0.iter().enumerate().filter(|(bit, _)| change & (1 << bit) != 0).fold(0, |sum, (_, word)| sum ^ word)
    }
}

fn is_power_of(number: u32, base: u32) -> bool {
    let mut power = base;
    while power < number {
        power = power.saturating_mul(base);
    }
    power == number
}

/// Refuses features we do not know, by name.
fn refuse(incompat: Incompat, ro_compat: RoCompat) -> Result<()> {
    let mut unknown = names("incompat", &incompat.difference(INCOMPAT_KNOWN));
    unknown.extend(names("ro_compat", &ro_compat.intersection(RO_COMPAT_REFUSED)));
    if unknown.is_empty() { Ok(()) } else { Err(Error::Unsupported(unknown.join(", "))) }
}

/// Where in its block of descriptors a group's is.
pub(crate) fn descriptor_offset(layout: &Layout, group: u32) -> usize {
    index(group % layout.descriptors_per_block()).saturating_mul(layout.descriptor_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn a_superblock_changes_without_its_checksum() {
        let mut sb = vec![0x5au8; SIZE];
        put32(&mut sb, field::SNAPSHOT_INODE, 0);
        let sum = crc32c(!0, &sb[..field::CHECKSUM]);
        let balance = Balance::new();
        sb[0x0c] = 17;
        sb[0x1d0] = 99;
        put32(&mut sb, field::SNAPSHOT_ID, 0);
        let off = crc32c(!0, &sb[..field::CHECKSUM]) ^ sum;
        put32(&mut sb, field::SNAPSHOT_ID, balance.word(off));
        assert_eq!(crc32c(!0, &sb[..field::CHECKSUM]), sum);
    }
}
