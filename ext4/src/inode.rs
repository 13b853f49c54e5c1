//! Inodes: from and to their place in a table.

use crate::bytes::{high16, high32, index, le16, le32, low16, low32, put, put16, put32, slice, u8_at};
use crate::checksum::{crc32c, crc32c_without};
use crate::error::{Error, Result, corrupt};
use crate::fs::Ext4;
use crate::store::Kind;
use crate::superblock::{Incompat, Layout, RoCompat};
use crate::types::{AttributeChange, Attributes, Device, FileType, Ino, InodeFlags, Timestamp};

/// The fields of the first version of the format.
const OLD_SIZE: usize = 128;
const CHECKSUM_LO: usize = 0x7c;
const CHECKSUM_HI: usize = 0x82;

/// An inode as it is worked with.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub(crate) ino: Ino,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) atime: Timestamp,
    pub(crate) ctime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) crtime: Timestamp,
    /// Time of deletion; on the list of orphans, the next of them.
    pub(crate) dtime: u32,
    pub(crate) links: u16,
    /// Units of 512 bytes.
    pub(crate) sectors: u64,
    pub(crate) flags: InodeFlags,
    /// Block pointers, root of the extent tree, short target of a link, or contents.
    pub(crate) root: [u8; 60],
    pub(crate) generation: u32,
    pub(crate) xattr_block: u64,
    pub(crate) project: u32,
    /// How much of the space after the old fields is fields.
    pub(crate) extra: u16,
}

impl Inode {
    pub(crate) fn kind(&self) -> Option<FileType> {
        FileType::from_mode(self.mode)
    }
    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == Some(FileType::Directory)
    }
    pub(crate) fn has(&self, flag: InodeFlags) -> bool {
        self.flags.contains(flag)
    }
    /// Whether it has blocks for contents, found by extents or pointers.
    pub(crate) fn has_blocks(&self) -> bool {
        let fast_link = self.kind() == Some(FileType::Symlink) && self.is_fast_link();
        matches!(self.kind(), Some(FileType::Regular | FileType::Directory | FileType::Symlink))
            && !fast_link
            && !self.has(InodeFlags::INLINE_DATA)
    }
    /// Whether a link's target is in the inode. Blocks it may have besides are an attribute's.
    pub(crate) fn is_fast_link(&self) -> bool {
        self.size < 60 && !self.has(InodeFlags::EXTENTS) && !self.has(InodeFlags::INLINE_DATA)
    }
    /// Where checksums of its blocks begin.
    pub(crate) fn seed(&self, layout: &Layout) -> u32 {
        checksum_seed(layout, self.ino, self.generation)
    }
}

pub(crate) fn checksum_seed(layout: &Layout, ino: Ino, generation: u32) -> u32 {
    crc32c(crc32c(layout.seed, &ino.to_le_bytes()), &generation.to_le_bytes())
}

/// Whether an inode has a field of the new part, which ends at `end`.
fn has_field(data: &[u8], end: usize) -> bool {
    data.len() > OLD_SIZE && OLD_SIZE + usize::from(le16(data, 0x80)) >= end
}

/// The checksum of an inode in its place.
fn checksum(layout: &Layout, ino: Ino, data: &[u8]) -> u32 {
    let seed = checksum_seed(layout, ino, le32(data, 0x64));
    let sum = crc32c_without(seed, slice(data, 0, OLD_SIZE), CHECKSUM_LO, 2);
    let rest = slice(data, OLD_SIZE, data.len());
    if has_field(data, CHECKSUM_HI + 2) {
        crc32c_without(sum, rest, CHECKSUM_HI - OLD_SIZE, 2)
    } else {
        crc32c(sum, rest)
    }
}

fn is_right(layout: &Layout, ino: Ino, data: &[u8]) -> bool {
    let sum = checksum(layout, ino, data);
    let high = has_field(data, CHECKSUM_HI + 2);
    let said = u32::from(le16(data, CHECKSUM_LO)) | if high { u32::from(le16(data, CHECKSUM_HI)) << 16 } else { 0 };
    said == if high { sum } else { sum & 0xffff }
}

/// Writes the checksums of the inodes of a block that have changed.
pub(crate) fn seal(layout: &Layout, first: Ino, mask: u64, data: &mut [u8]) {
    if !layout.checksums() {
        return;
    }
    let mut ino = first;
    for (number, data) in data.chunks_mut(layout.inode_size).enumerate() {
        if mask & (1u64 << (number % 64)) != 0 {
            let sum = checksum(layout, ino, data);
            put16(data, CHECKSUM_LO, low16(sum));
            if has_field(data, CHECKSUM_HI + 2) {
                put16(data, CHECKSUM_HI, high16(sum));
            }
        }
        ino = ino.wrapping_add(1);
    }
}

/// A time: 32 bits of seconds, and two more with the nanoseconds.
fn time(data: &[u8], at: usize, extra_at: usize) -> Timestamp {
    let sec = i64::from(le32(data, at).cast_signed());
    if !has_field(data, extra_at + 4) {
        return Timestamp { sec, nsec: 0 };
    }
    let extra = le32(data, extra_at);
    Timestamp { sec: sec + (i64::from(extra & 3) << 32), nsec: (extra >> 2).min(999_999_999) }
}

fn put_time(data: &mut [u8], at: usize, extra_at: usize, time: Timestamp) {
    if !has_field(data, extra_at + 4) {
        let sec = time.sec.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        return put32(data, at, low32(sec.cast_unsigned()));
    }
    let sec = time.sec.clamp(i64::from(i32::MIN), i64::from(i32::MAX) + (3 << 32));
    let low = low32(sec.cast_unsigned());
    let epoch = (sec - i64::from(low.cast_signed())) >> 32;
    put32(data, at, low);
    put32(data, extra_at, (low32(epoch.cast_unsigned()) & 3) | (time.nsec << 2));
}

impl Inode {
    /// Reads an inode from its place.
    pub(crate) fn parse(layout: &Layout, ino: Ino, data: &[u8]) -> Result<Self> {
        let flags = InodeFlags::from_bits_retain(le32(data, 0x20));
        let mode = le16(data, 0);
        let mut sectors = u64::from(le32(data, 0x1c));
        if layout.has_ro(RoCompat::HUGE_FILE) {
            sectors |= u64::from(le16(data, 0x74)) << 32;
            if flags.contains(InodeFlags::HUGE_FILE) {
                sectors <<= layout.block_bits - 9;
            }
        }
        let high_size = matches!(FileType::from_mode(mode), Some(FileType::Regular | FileType::Directory));
        let mut root = [0; 60];
        root.copy_from_slice(data.get(0x28..0x64).ok_or(Error::Invalid)?);
        let file_acl = u64::from(le32(data, 0x68));
        let wide = layout.wide();
        let extra = if data.len() > OLD_SIZE { le16(data, 0x80) } else { 0 };
        if OLD_SIZE + usize::from(extra) > data.len() || !extra.is_multiple_of(4) {
            return Err(corrupt("inode: its extra fields are larger than it", u64::from(ino)));
        }
        let size = u64::from(le32(data, 4)) | if high_size { u64::from(le32(data, 0x6c)) << 32 } else { 0 };
        if size > i64::MAX.cast_unsigned() {
            return Err(corrupt("inode: size", u64::from(ino)));
        }
        Ok(Self {
            ino,
            mode,
            uid: u32::from(le16(data, 2)) | u32::from(le16(data, 0x78)) << 16,
            gid: u32::from(le16(data, 0x18)) | u32::from(le16(data, 0x7a)) << 16,
            size,
            atime: time(data, 0x8, 0x8c),
            ctime: time(data, 0xc, 0x84),
            mtime: time(data, 0x10, 0x88),
            crtime: if has_field(data, 0x94) { time(data, 0x90, 0x94) } else { Timestamp::default() },
            dtime: le32(data, 0x14),
            links: le16(data, 0x1a),
            sectors,
            flags,
            root,
            generation: le32(data, 0x64),
            xattr_block: file_acl | if wide { u64::from(le16(data, 0x76)) << 32 } else { 0 },
            project: if has_field(data, 0xa0) { le32(data, 0x9c) } else { 0 },
            extra,
        })
    }

    /// Writes an inode to its place, leaving what is not ours.
    fn store(&mut self, layout: &Layout, data: &mut [u8]) -> Result<()> {
        if data.len() > OLD_SIZE {
            put16(data, 0x80, self.extra);
        }
        self.flags.remove(InodeFlags::HUGE_FILE);
        let mut count = self.sectors;
        if count > u64::from(u32::MAX) {
            if !layout.has_ro(RoCompat::HUGE_FILE) {
                return Err(Error::FileTooLarge);
            }
            if count > 0xffff_ffff_ffff {
                count >>= layout.block_bits - 9;
                self.flags.insert(InodeFlags::HUGE_FILE);
            }
        }
        put16(data, 0, self.mode);
        put16(data, 2, low16(self.uid));
        put32(data, 4, low32(self.size));
        put_time(data, 0x8, 0x8c, self.atime);
        put_time(data, 0xc, 0x84, self.ctime);
        put_time(data, 0x10, 0x88, self.mtime);
        put32(data, 0x14, self.dtime);
        put16(data, 0x18, low16(self.gid));
        put16(data, 0x1a, self.links);
        put32(data, 0x1c, low32(count));
        put32(data, 0x20, self.flags.bits());
        put(data, 0x28, &self.root);
        put32(data, 0x64, self.generation);
        put32(data, 0x68, low32(self.xattr_block));
        put32(data, 0x6c, high32(self.size));
        if layout.has_ro(RoCompat::HUGE_FILE) {
            put16(data, 0x74, low16(high32(count)));
        }
        if layout.wide() {
            put16(data, 0x76, low16(high32(self.xattr_block)));
        }
        put16(data, 0x78, high16(self.uid));
        put16(data, 0x7a, high16(self.gid));
        if has_field(data, 0x94) {
            put_time(data, 0x90, 0x94, self.crtime);
        }
        if has_field(data, 0xa0) {
            put32(data, 0x9c, self.project);
        }
        Ok(())
    }

    /// What stat(2) tells.
    pub(crate) fn attributes(&self, layout: &Layout) -> Attributes {
        let device = if matches!(self.kind(), Some(FileType::CharDevice | FileType::BlockDevice)) {
            decode_device(le32(&self.root, 0), le32(&self.root, 4))
        } else {
            Device::default()
        };
        Attributes {
            ino: self.ino,
            generation: self.generation,
            kind: self.kind().unwrap_or(FileType::Regular),
            permissions: self.mode & 0o7777,
            links: u32::from(self.links),
            uid: self.uid,
            gid: self.gid,
            device,
            size: self.size,
            sectors: self.sectors,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            crtime: (self.extra >= 0x18).then_some(self.crtime),
            flags: self.flags,
            project: if layout.has_ro(RoCompat::PROJECT) { self.project } else { 0 },
        }
    }
}

/// Linux keeps small device numbers in 16 bits and larger ones in the next word.
fn decode_device(old: u32, new: u32) -> Device {
    if old != 0 {
        return Device { major: (old >> 8) & 0xff, minor: old & 0xff };
    }
    Device { major: (new >> 8) & 0xfff, minor: (new & 0xff) | ((new >> 12) & 0xfff00) }
}

/// The words of a device number.
pub(crate) fn encode_device(device: Device) -> Result<(u32, u32)> {
    if device.major < 256 && device.minor < 256 {
        return Ok((device.major << 8 | device.minor, 0));
    }
    if device.major >= 1 << 12 || device.minor >= 1 << 20 {
        return Err(Error::Invalid);
    }
    Ok((0, (device.minor & 0xff) | device.major << 8 | (device.minor & !0xff) << 12))
}

impl Ext4 {
    /// The first inode in the block an inode is in.
    fn first_in_block(&self, ino: Ino, within: u32) -> Kind {
        Kind::Inodes(ino - within)
    }

    /// The bytes of an inode, found right.
    pub(crate) fn raw_inode(&mut self, ino: Ino) -> Result<(crate::types::Block, usize)> {
        let (block, at, within) = self.inode_location(ino)?;
        let kind = self.first_in_block(ino, within);
        let data = self.get_ahead(block, kind, self.read_ahead())?;
        if self.layout.checksums() && !self.inode_was_checked(block, within, false) {
            let bytes = slice(&data, at, at + self.layout.inode_size);
            // A table that was never written has inodes of nothing but zeros.
            if !is_right(&self.layout, ino, bytes) && bytes.iter().any(|b| *b != 0) {
                return Err(corrupt("inode: checksum", u64::from(ino)));
            }
            self.inode_was_checked(block, within, true);
        }
        Ok((data, at))
    }

    /// Reads an inode, in use or not.
    pub(crate) fn any_inode(&mut self, ino: Ino) -> Result<Inode> {
        let (data, at) = self.raw_inode(ino)?;
        Inode::parse(&self.layout, ino, slice(&data, at, at + self.layout.inode_size))
    }

    /// Reads an inode that is in use.
    pub(crate) fn inode(&mut self, ino: Ino) -> Result<Inode> {
        if ino == 0 || ino > self.layout.inodes {
            return Err(Error::Stale);
        }
        let inode = self.any_inode(ino)?;
        if inode.mode == 0 || (inode.links == 0 && inode.dtime != 0 && !self.is_orphan(&inode)) {
            return Err(Error::Stale);
        }
        if inode.kind().is_none() {
            return Err(corrupt("inode: its type", u64::from(ino)));
        }
        if inode.has(InodeFlags::ENCRYPT) || inode.has(InodeFlags::CASEFOLD) || inode.has(InodeFlags::VERITY) {
            return Err(Error::NotSupported);
        }
        if inode.has(InodeFlags::INLINE_DATA) && !self.layout.has(Incompat::INLINE_DATA) {
            return Err(corrupt("inode: contents in it, without the feature", u64::from(ino)));
        }
        if inode.has(InodeFlags::EXTENTS) && inode.has_blocks() {
            crate::extent::node::check_root(&inode.root, u64::from(ino))?;
        }
        Ok(inode)
    }

    /// An inode without names has the next orphan's number where others have the time of their end.
    fn is_orphan(&self, inode: &Inode) -> bool {
        inode.dtime <= self.layout.inodes
    }

    /// An inode that is a directory.
    pub(crate) fn dir_inode(&mut self, ino: Ino) -> Result<Inode> {
        let inode = self.inode(ino)?;
        if inode.is_dir() { Ok(inode) } else { Err(Error::NotDirectory) }
    }

    /// Writes an inode back. `more` says that more than its times changed.
    pub(crate) fn put_inode(&mut self, inode: &mut Inode, more: bool) -> Result<()> {
        let layout = self.layout.clone();
        let size = layout.inode_size;
        let (data, at) = self.edit_inode(inode.ino)?;
        inode.store(&layout, data.get_mut(at..at + size).unwrap_or(&mut []))?;
        self.attempt.touched.push((inode.ino, more));
        Ok(())
    }

    /// The bytes of an inode's table block to change, and where in them it is.
    pub(crate) fn edit_inode(&mut self, ino: Ino) -> Result<(&mut [u8], usize)> {
        let (block, at, within) = self.inode_location(ino)?;
        let kind = self.first_in_block(ino, within);
        Ok((self.edit_masked(block, kind, 1 << within)?, at))
    }

    /// Changes what chmod and the like change.
    pub(crate) fn do_set_attributes(&mut self, ino: Ino, change: &AttributeChange) -> Result<()> {
        let mut inode = self.inode(ino)?;
        if let Some(permissions) = change.permissions {
            inode.mode = (inode.mode & !0o7777) | (permissions & 0o7777);
        }
        inode.uid = change.uid.unwrap_or(inode.uid);
        inode.gid = change.gid.unwrap_or(inode.gid);
        inode.atime = change.atime.unwrap_or(inode.atime);
        inode.mtime = change.mtime.unwrap_or(inode.mtime);
        inode.ctime = change.ctime.unwrap_or(inode.ctime);
        if let Some(flags) = change.flags {
            inode.flags = (inode.flags - InodeFlags::SETTABLE) | (flags & InodeFlags::SETTABLE);
        }
        let more =
            change.permissions.is_some() || change.uid.is_some() || change.gid.is_some() || change.flags.is_some();
        self.put_inode(&mut inode, more)
    }

    /// Begins a new inode in its place, of which nothing old remains.
    pub(crate) fn clear_inode(&mut self, ino: Ino) -> Result<()> {
        let size = self.layout.inode_size;
        let (data, at) = self.edit_inode(ino)?;
        crate::bytes::clear(data, at, at + size);
        Ok(())
    }

    /// Space of an inode after its fields, for attributes.
    pub(crate) fn inode_tail(&self, inode: &Inode) -> core::ops::Range<usize> {
        if self.layout.inode_size <= OLD_SIZE || inode.extra == 0 {
            return 0..0;
        }
        OLD_SIZE + usize::from(inode.extra)..self.layout.inode_size
    }

    /// How much of a new inode is fields.
    pub(crate) fn new_extra(&self) -> u16 {
        if self.layout.inode_size <= OLD_SIZE {
            return 0;
        }
        let room = u16::try_from(self.layout.inode_size - OLD_SIZE).unwrap_or(0);
        let want = self.layout.want_extra_isize;
        if (4..=room).contains(&want) && want.is_multiple_of(4) { want } else { room.min(32) }
    }

    /// Adds to or takes from the space an inode takes, in blocks.
    pub(crate) fn charge(&self, inode: &mut Inode, blocks: i64) {
        let sectors = blocks.saturating_mul(1 << (self.layout.block_bits - 9));
        inode.sectors = inode.sectors.saturating_add_signed(sectors);
    }
}

/// The bits of a number of links; a directory with more than fit has 1.
pub(crate) fn links_of(count: u32) -> u16 {
    low16(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_from_1901_to_2446_come_back() {
        let mut data = [0u8; 256];
        put16(&mut data, 0x80, 32);
        for sec in
            [i64::from(i32::MIN), -1, 0, 1, i64::from(i32::MAX), 1 << 31, 1 << 32, (3 << 32) + i64::from(i32::MAX)]
        {
            let value = Timestamp { sec, nsec: 999_999_999 };
            put_time(&mut data, 0x8, 0x8c, value);
            assert_eq!(time(&data, 0x8, 0x8c), value, "{sec}");
        }
    }

    #[test]
    fn device_numbers_of_both_forms_come_back() {
        for (major, minor) in [(0, 0), (8, 1), (255, 255), (256, 0), (259, 70000), (4095, (1 << 20) - 1)] {
            let device = Device { major, minor };
            let (old, new) = encode_device(device).unwrap_or_default();
            assert_eq!(decode_device(old, new), device);
        }
    }
}

/// The byte of a short name, to keep `u8_at` and `index` in one place.
pub(crate) fn root_byte(inode: &Inode, at: u32) -> u8 {
    u8_at(&inode.root, index(at))
}
