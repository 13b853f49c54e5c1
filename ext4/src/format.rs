//! Making a file system.
//!
//! The superblock and the descriptors are written down here; everything after that (the root, the journal, lost+found) is
//! made by the operations that make files on any file system, in a transaction that is written to its places.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::bytes::{high32, index, low16, low32, put, put_be32, put8, put16, put32};
use crate::error::{Error, Result};
use crate::fs::Ext4;
use crate::group::{BLOCK_UNINIT, Group, INODE_UNINIT, INODE_ZEROED, set_bits};
use crate::inode::Inode;
use crate::journal::format::{self as log, field as log_field};
use crate::store::Kind;
use crate::superblock::{Compat, Incompat, Layout, MAGIC, RoCompat, SIZE, STATE_CLEAN, descriptor_offset};
use crate::types::{By, Device, FileType, InodeFlags, NewInode, Place, Plan, Step, Timestamp};

/// The journal's inode.
const JOURNAL: u32 = 8;
const FIRST_INODE: u32 = 11;
const INODE_SIZE: u64 = 256;
/// The largest number of groups whose tables are kept together.
const FLEX_GROUPS: u64 = 16;
/// A last group with less room than this for contents is not made.
const LEAST_GROUP: u64 = 50;

/// What a new image is to be.
#[derive(Clone, Debug)]
pub struct FormatOptions {
    /// Bytes of the device.
    pub device_bytes: u64,
    /// 1024, 2048 or 4096.
    pub block_size: u32,
    /// The volume's UUID.
    pub uuid: [u8; 16],
    /// Seed of directories' hashes: 16 random bytes.
    pub hash_seed: [u8; 16],
    /// The volume's name, 16 bytes at most.
    pub label: Vec<u8>,
    /// Bytes of the device for each inode; 16384 is usual.
    pub bytes_per_inode: u64,
    /// Per cent of the blocks that only the superuser gets.
    pub reserved_percent: u32,
    /// Blocks of the journal; `None` chooses by the size of the device, `Some(0)` makes none.
    pub journal_blocks: Option<u32>,
    /// Whether the device reads as zeros now. If not, inode tables are left to whoever uses them first, as the format
    /// allows.
    pub zeroed: bool,
    /// The time it is made.
    pub now: Timestamp,
    /// Owner of the root directory.
    pub uid: u32,
    /// Group of the root directory.
    pub gid: u32,
}

/// A new file system in the making: carry out the plans until there are none.
#[derive(Debug)]
pub struct Formatting {
    plan: Option<Plan>,
}

/// The sizes of a new file system.
#[derive(Clone, Copy, Debug)]
struct Shape {
    block_size: u64,
    blocks: u64,
    first: u64,
    per_group: u64,
    groups: u64,
    inodes_per_group: u64,
    table: u64,
    flex: u64,
}

impl Shape {
    fn new(options: &FormatOptions) -> Result<Self> {
        let block_size = u64::from(options.block_size);
        if !matches!(options.block_size, 1024 | 2048 | 4096)
            || options.label.len() > 16
            || options.reserved_percent > 50
        {
            return Err(Error::Invalid);
        }
        let per_group = block_size * 8;
        let first = u64::from(block_size == 1024);
        let mut blocks = options.device_bytes / block_size;
        loop {
            let groups = blocks.saturating_sub(first).div_ceil(per_group);
            if groups == 0 || groups > u64::from(u32::MAX) / per_group {
                return Err(if groups == 0 { Error::NoSpace } else { Error::Invalid });
            }
            let per_block = block_size / INODE_SIZE;
            let want = (blocks * block_size / options.bytes_per_inode.max(1024)).div_ceil(groups);
            let step = per_block.max(8);
            let inodes_per_group = want.max(16).next_multiple_of(step).min(per_group);
            let table = inodes_per_group * INODE_SIZE / block_size;
            let descriptor_blocks = (groups * 64).div_ceil(block_size);
            let mut flex = FLEX_GROUPS;
            while flex > 1 && flex * (table + 2) > per_group / 2 {
                flex /= 2;
            }
            let shape = Self { block_size, blocks, first, per_group, groups, inodes_per_group, table, flex };
            let last = groups - 1;
            let room = blocks - first - last * per_group;
            let own = if last.is_multiple_of(flex) { table + 2 } else { 0 };
            if 1 + descriptor_blocks + flex.min(groups) * (table + 2) + LEAST_GROUP > per_group.min(blocks) {
                return Err(Error::NoSpace);
            }
            if groups == 1 || room >= 1 + descriptor_blocks + own + LEAST_GROUP {
                return Ok(shape);
            }
            blocks = first + last * per_group;
        }
    }

    /// The journal mke2fs would choose.
    fn journal(&self, options: &FormatOptions) -> Result<u64> {
        let chosen = match self.blocks {
            0..2048 => 0,
            2048..32_768 => 1024,
            32_768..262_144 => 4096,
            262_144..524_288 => 8192,
            524_288..4_194_304 => 16_384,
            4_194_304..8_388_608 => 32_768,
            8_388_608..16_777_216 => 65_536,
            16_777_216..33_554_432 => 131_072,
            _ => 262_144,
        };
        match options.journal_blocks {
            Some(0) => Ok(0),
            Some(count) if count < 1024 => Err(Error::Invalid),
            Some(count) if u64::from(count) > self.blocks / 2 => Err(Error::NoSpace),
            Some(count) => Ok(u64::from(count)),
            None => Ok(chosen),
        }
    }
}

fn superblock(options: &FormatOptions, shape: &Shape, journal: bool) -> Vec<u8> {
    let mut sb = vec![0u8; SIZE];
    let now = low32(options.now.sec.cast_unsigned());
    let reserved = shape.blocks * u64::from(options.reserved_percent) / 100;
    let compat = Compat::EXT_ATTR | Compat::DIR_INDEX | if journal { Compat::HAS_JOURNAL } else { Compat::empty() };
    let incompat = Incompat::FILETYPE | Incompat::EXTENTS | Incompat::BITS64 | Incompat::FLEX_BG;
    let ro_compat = RoCompat::SPARSE_SUPER
        | RoCompat::LARGE_FILE
        | RoCompat::HUGE_FILE
        | RoCompat::DIR_NLINK
        | RoCompat::EXTRA_ISIZE
        | RoCompat::METADATA_CSUM;
    let log_size = options.block_size.trailing_zeros() - 10;
    let words = [
        (0x00, low32(shape.inodes_per_group * shape.groups)),
        (0x04, low32(shape.blocks)),
        (0x08, low32(reserved)),
        (0x14, low32(shape.first)),
        (0x18, log_size),
        (0x1c, log_size),
        (0x20, low32(shape.per_group)),
        (0x24, low32(shape.per_group)),
        (0x28, low32(shape.inodes_per_group)),
        (0x30, now),
        (0x40, now),
        (0x4c, 1),
        (0x54, FIRST_INODE),
        (0x5c, compat.bits()),
        (0x60, incompat.bits()),
        (0x64, ro_compat.bits()),
        (0xe0, if journal { JOURNAL } else { 0 }),
        (0x100, 0x0c),
        (0x108, now),
        (0x150, high32(shape.blocks)),
        (0x154, high32(reserved)),
        (0x160, 1),
    ];
    for (at, value) in words {
        put32(&mut sb, at, value);
    }
    let halves = [
        (0x36, 0xffff),
        (0x38, MAGIC),
        (0x3a, STATE_CLEAN),
        (0x3c, 1),
        (0x58, 256),
        (0xfe, 64),
        (0x15c, 32),
        (0x15e, 32),
    ];
    for (at, value) in halves {
        put16(&mut sb, at, value);
    }
    put(&mut sb, 0x68, &options.uuid);
    put(&mut sb, 0x78, &options.label);
    put(&mut sb, 0xec, &options.hash_seed);
    put8(&mut sb, 0xfc, 1);
    put8(&mut sb, 0x174, crate::bytes::low8(shape.flex.trailing_zeros()));
    put8(&mut sb, 0x175, 1);
    sb
}

impl Formatting {
    /// Begins. Fails with [`Error::NoSpace`] for a device that is too small, [`Error::Invalid`] for senseless options.
    pub fn new(options: &FormatOptions) -> Result<Self> {
        let shape = Shape::new(options)?;
        let journal = shape.journal(options)?;
        let sb = superblock(options, &shape, journal > 0);
        let layout = Layout::parse_unchecked(&sb, shape.blocks * shape.block_size)?;
        let mut fs = Ext4::new(layout, false, options.now);
        fs.change(|fs| fs.write_descriptors(&sb, &shape, options.zeroed))?;
        fs.survey_groups()?;
        let by = By { now: options.now, privileged: true };
        fs.change(|fs| fs.make_root(options, by))?;
        if journal > 0 {
            fs.change(|fs| fs.make_journal(journal, options, by))?;
        }
        let new = NewInode {
            kind: FileType::Directory,
            permissions: 0o700,
            uid: 0,
            gid: 0,
            device: Device::default(),
            target: b"",
            xattrs: &[],
        };
        fs.change(|fs| fs.do_create(Ext4::ROOT, b"lost+found", &new, by))?;
        let mut plan = fs.do_begin_commit()?.ok_or(Error::Invalid)?;
        plan.steps.pop();
        plan.steps.extend(fs.backups()?);
        plan.steps.push(Step::Flush);
        plan.ordered.clear();
        Ok(Self { plan: Some(plan) })
    }

    /// The next writes; `None` when all is done.
    pub fn next_plan(&mut self) -> Result<Option<Plan>> {
        Ok(self.plan.take())
    }
}

impl Ext4 {
    /// The superblock and descriptors of a file system in which nothing is taken but by itself.
    fn write_descriptors(&mut self, sb: &[u8], shape: &Shape, zeroed: bool) -> Result<()> {
        let (place, at) = self.layout.superblock_place();
        put(self.fresh(place, Kind::Super)?, at, sb);
        for which in 0..self.layout.descriptor_blocks() {
            self.fresh(self.layout.descriptor_block(which), Kind::Descriptors(which))?;
        }
        let layout = self.layout.clone();
        let head = |group: u64| layout.group_head(u32::try_from(group).unwrap_or(0));
        for number in 0..shape.groups {
            let leader = number - number % shape.flex;
            let members = shape.flex.min(shape.groups - leader);
            let base = shape.first + leader * shape.per_group + head(leader);
            let within = number - leader;
            let own = if number == leader { members * (shape.table + 2) } else { 0 };
            let id = u32::try_from(number).map_err(|_| Error::Invalid)?;
            let count = u64::from(u32::try_from(shape.inodes_per_group).unwrap_or(0));
            let group = Group {
                block_bitmap: base + within,
                inode_bitmap: base + members + within,
                inode_table: base + 2 * members + within * shape.table,
                free_blocks: low32(self.layout.group_blocks(id) - head(number) - own),
                free_inodes: low32(count),
                directories: 0,
                flags: INODE_UNINIT | BLOCK_UNINIT | if zeroed { INODE_ZEROED } else { 0 },
                unused_inodes: low32(count),
            };
            self.write_descriptor(id, &group)?;
        }
        Ok(())
    }

    fn write_descriptor(&mut self, number: u32, group: &Group) -> Result<()> {
        let which = number / self.layout.descriptors_per_block();
        let at = descriptor_offset(&self.layout, number);
        let size = self.layout.descriptor_size;
        let data = self.edit(self.layout.descriptor_block(which), Kind::Descriptors(which))?;
        let data = data.get_mut(at..at + size).unwrap_or(&mut []);
        for (low, high, value) in
            [(0, 0x20, group.block_bitmap), (4, 0x24, group.inode_bitmap), (8, 0x28, group.inode_table)]
        {
            put32(data, low, low32(value));
            put32(data, high, high32(value));
        }
        group.store(data, true);
        Ok(())
    }

    /// Bitmaps that others could not make up, the inodes with fixed numbers, and the root directory.
    fn make_root(&mut self, options: &FormatOptions, by: By) -> Result<()> {
        for number in (0..self.layout.groups).step_by(index(self.layout.groups_per_flex)) {
            // Others' tables are in it.
            self.edit_block_bitmap(number)?;
        }
        self.edit_block_bitmap(self.layout.groups - 1)?;
        let map = self.edit_inode_bitmap(0)?;
        set_bits(map, 0, u64::from(FIRST_INODE - 1), true);
        let mut group = self.group(0)?;
        group.free_inodes -= FIRST_INODE - 1;
        group.unused_inodes -= FIRST_INODE - 1;
        group.directories += 1;
        self.put_group(0, &group)?;
        self.attempt.free_inodes -= i64::from(FIRST_INODE - 1);
        for ino in 1..FIRST_INODE {
            let (block, _, within) = self.inode_location(ino)?;
            if within == 0 {
                self.fresh(block, Kind::Inodes(ino))?;
            }
            self.edit_inode(ino)?;
        }
        let mut root = self.plain_inode(Self::ROOT, FileType::Directory.mode_bits() | 0o755, by);
        (root.uid, root.gid, root.links) = (options.uid, options.gid, 2);
        self.init_map(&mut root);
        self.put_inode(&mut root, true)?;
        self.begin_dir(&mut root, Self::ROOT, by)?;
        self.put_inode(&mut root, true)
    }

    fn plain_inode(&self, ino: u32, mode: u16, by: By) -> Inode {
        Inode {
            ino,
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            atime: by.now,
            ctime: by.now,
            mtime: by.now,
            crtime: by.now,
            dtime: 0,
            links: 1,
            sectors: 0,
            flags: InodeFlags::empty(),
            root: [0; 60],
            generation: 0,
            xattr_block: 0,
            project: 0,
            extra: self.new_extra(),
        }
    }

    fn make_journal(&mut self, blocks: u64, options: &FormatOptions, by: By) -> Result<()> {
        let mut inode = self.plain_inode(JOURNAL, FileType::Regular.mode_bits() | 0o600, by);
        self.init_map(&mut inode);
        let mut at = 0;
        let mut first = 0;
        while at < blocks {
            let run = self.allocate_contents(&mut inode, at, blocks - at, by)?;
            if let Place::Blocks(start) = run.place
                && at == 0
            {
                first = start;
            }
            at += run.count;
        }
        inode.size = blocks << self.layout.block_bits;
        self.put_inode(&mut inode, true)?;
        let size = options.block_size;
        let data = self.fresh(first, Kind::Raw)?;
        log::put_header(data, log::SUPERBLOCK_V2, 0);
        for (at, value) in [
            (log_field::BLOCK_SIZE, size),
            (log_field::MAX_LEN, low32(blocks)),
            (log_field::FIRST, 1),
            (log_field::SEQUENCE, 1),
            (log_field::USERS, 1),
        ] {
            put_be32(data, at, value);
        }
        put(data, log_field::UUID, &options.uuid);
        let (root, length) = (inode.root, inode.size);
        // The superblock keeps a copy of how the journal is found.
        self.edit_super(|sb| {
            put8(sb, 0xfd, 1);
            put(sb, 0x10c, &root);
            put32(sb, 0x10c + 60, high32(length));
            put32(sb, 0x10c + 64, low32(length));
        })
    }

    /// Copies of superblock and descriptors in other groups.
    fn backups(&mut self) -> Result<Vec<Step>> {
        let (place, at) = self.layout.superblock_place();
        let sb = self.cache.newest(place).ok_or(Error::Busy)?.clone();
        let sb = crate::bytes::slice(&sb, at, at + SIZE).to_vec();
        let mut steps = Vec::new();
        for number in 1..self.layout.groups {
            if !self.layout.has_superblock(number) {
                continue;
            }
            let start = self.layout.group_start(number);
            let mut copy = vec![0; self.layout.block_size];
            put(&mut copy, 0, &sb);
            put16(&mut copy, 0x5a, low16(number));
            self.layout.seal(copy.get_mut(..SIZE).unwrap_or(&mut []));
            steps.push(Step::Write { block: start, data: Arc::from(copy) });
            for which in 0..self.layout.descriptor_blocks() {
                let data = self.cache.newest(self.layout.descriptor_block(which)).ok_or(Error::Busy)?.clone();
                steps.push(Step::Write { block: start + 1 + u64::from(which), data });
            }
        }
        Ok(steps)
    }
}
