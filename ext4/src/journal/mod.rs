//! The journal, as jbd2 has it: transactions in a circular log, each a whole or nothing.
//!
//! A commit writes the changed blocks to the log, flushes, and then writes the block that makes it count. A check-point
//! writes them to their places, flushes, and moves the log's tail. What always holds: while mounted, the log's superblock
//! says a start from which every transaction that is not in its places can be found; so a commit never has to change it.

mod commit;
pub(crate) mod format;
pub(crate) mod replay;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::bytes::{be32, put_be32, to_u64};
use crate::checksum::{crc32c, crc32c_without};
use crate::error::{Error, Result, corrupt};
use crate::fs::{Ext4, Redirect};
use crate::store::Kind;
use crate::types::{Block, BlockRange, Ino, Place, PlanId};
use format::{Features, field};

/// A transaction in the log whose blocks are not all in their places.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) blocks: BTreeMap<u64, Block>,
    /// How many blocks of the log it takes.
    pub(crate) length: u32,
}

/// A transaction on its way to the device.
#[derive(Debug)]
pub(crate) struct Committing {
    pub(crate) plan: PlanId,
    pub(crate) tid: u64,
    pub(crate) blocks: BTreeMap<u64, Block>,
    pub(crate) length: u32,
    pub(crate) revoked: BTreeSet<u64>,
    pub(crate) freed: Vec<BlockRange>,
    pub(crate) touched: BTreeMap<Ino, bool>,
    /// Whether the plan begins with a check-point of all that is logged.
    pub(crate) checkpoints: bool,
}

/// A check-point on its way.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) plan: PlanId,
    /// How many of the logged transactions it is about.
    pub(crate) count: usize,
    /// Freed meanwhile: not to be used before its writes have ended.
    pub(crate) freed: Vec<BlockRange>,
}

/// The log.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Its blocks on the device: how many from where.
    runs: Vec<BlockRange>,
    /// Its superblock.
    superblock: Block,
    pub(crate) features: Features,
    seed: u32,
    /// Blocks that hold transactions: from the first to before the end.
    first: u32,
    end: u32,
    /// Where the next transaction goes, and its number.
    head: u32,
    sequence: u32,
    used: u32,
    pub(crate) logged: VecDeque<Logged>,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Whether the superblock on the device has a start.
    started: bool,
}

impl Journal {
    /// Reads the superblock of a log that lies in these blocks.
    pub(crate) fn new(runs: Vec<BlockRange>, superblock: Block) -> Result<Self> {
        let length: u64 = runs.iter().map(|run| run.count).sum();
        let sb = &*superblock;
        let kind = be32(sb, 4);
        if be32(sb, 0) != format::MAGIC || (kind != format::SUPERBLOCK_V1 && kind != format::SUPERBLOCK_V2) {
            return Err(corrupt("journal: superblock", 0));
        }
        let features = if kind == format::SUPERBLOCK_V2 {
            Features::parse(be32(sb, field::INCOMPAT))?
        } else {
            Features::default()
        };
        if features.has_checksums() {
            let sum = crc32c_without(!0, crate::bytes::slice(sb, 0, 1024), field::CHECKSUM, 4);
            if sum != be32(sb, field::CHECKSUM) {
                return Err(corrupt("journal: superblock checksum", 0));
            }
        }
        let (first, mut end) = (be32(sb, field::FIRST), be32(sb, field::MAX_LEN));
        let sane = to_u64(superblock.len()) == u64::from(be32(sb, field::BLOCK_SIZE)) && u64::from(end) <= length;
        if features.fast_commit {
            let fast = be32(sb, field::FAST_BLOCKS);
            end = end.saturating_sub(if fast == 0 { 256 } else { fast });
        }
        if !sane || first == 0 || end < first.saturating_add(64) || be32(sb, field::START) >= end {
            return Err(corrupt("journal: its numbers make no sense", u64::from(end)));
        }
        if features.fast_commit && be32(sb, field::START) != 0 {
            return Err(Error::Unsupported("fast_commit with a journal that has to be replayed".to_string()));
        }
        let seed = crc32c(!0, crate::bytes::slice(sb, field::UUID, field::UUID + 16));
        let sequence = be32(sb, field::SEQUENCE);
        Ok(Self {
            runs,
            superblock: superblock.clone(),
            features,
            seed,
            first,
            end,
            head: first,
            sequence,
            used: 0,
            logged: VecDeque::new(),
            checkpoint: None,
            started: false,
        })
    }

    /// Where a block of the log is.
    pub(crate) fn physical(&self, log: u32) -> Option<u64> {
        let mut at = u64::from(log);
        for run in &self.runs {
            if at < run.count {
                return Some(run.start + at);
            }
            at -= run.count;
        }
        None
    }

    /// The place of the superblock.
    pub(crate) fn superblock_place(&self) -> u64 {
        self.physical(0).unwrap_or(0)
    }

    pub(crate) fn next(&self, log: u32) -> u32 {
        if log + 1 >= self.end { self.first } else { log + 1 }
    }

    pub(crate) fn size(&self) -> u32 {
        self.end - self.first
    }
    pub(crate) fn used(&self) -> u32 {
        self.used
    }
    pub(crate) fn start(&self) -> u32 {
        be32(&self.superblock, field::START)
    }

    /// Whether a block of the device is in the log.
    pub(crate) fn contains(&self, block: u64) -> bool {
        self.runs.iter().any(|run| (run.start..run.start + run.count).contains(&block))
    }

    /// The superblock with the log's tail. A start of 0 says that it is empty.
    fn tail(&mut self, start: u32, sequence: u32) -> Block {
        let sb = Arc::make_mut(&mut self.superblock);
        put_be32(sb, field::START, start);
        put_be32(sb, field::SEQUENCE, sequence);
        self.features.store(sb);
        if self.features.has_checksums() {
            let sum = crc32c_without(!0, crate::bytes::slice(sb, 0, 1024), field::CHECKSUM, 4);
            put_be32(sb, field::CHECKSUM, sum);
        }
        self.superblock.clone()
    }

    /// After a replay: an empty log that goes on with this number.
    pub(crate) fn restart(&mut self, sequence: u32) -> Block {
        self.sequence = sequence;
        self.head = self.first;
        self.tail(0, sequence)
    }

    /// What we write from now on, while the log is empty.
    pub(crate) fn choose_features(&mut self, checksums: bool, wide: bool) {
        self.features.revoke = true;
        self.features.fast_commit = false;
        self.features.wide |= wide;
        if checksums && !self.features.has_checksums() {
            self.features.checksum_v3 = true;
        }
        self.end = be32(&self.superblock, field::MAX_LEN);
    }
}

impl Ext4 {
    /// Finds the log's blocks and reads its superblock.
    pub(crate) fn load_journal(&mut self) -> Result<Journal> {
        let ino = self.layout.journal_inode;
        let inode = self.any_inode(ino)?;
        if inode.kind() != Some(crate::types::FileType::Regular) || inode.links == 0 {
            return Err(corrupt("journal: its inode", u64::from(ino)));
        }
        if inode.has(crate::types::InodeFlags::EXTENTS) {
            crate::extent::node::check_root(&inode.root, u64::from(ino))?;
        }
        let length = (inode.size >> self.layout.block_bits).min(self.layout.blocks);
        let mut runs: Vec<BlockRange> = Vec::new();
        let mut at = 0;
        while at < length {
            let mapped = self.map_block(&inode, at, length - at)?;
            let Place::Blocks(start) = mapped.place else {
                return Err(corrupt("journal: a hole", u64::from(ino)));
            };
            runs.push(BlockRange { start, count: mapped.count });
            at += mapped.count;
        }
        let first = runs.first().map(|run| run.start).ok_or(corrupt("journal: empty", u64::from(ino)))?;
        let superblock = self.get(first, Kind::Raw)?;
        Journal::new(runs, superblock)
    }

    /// How many blocks a transaction can have: as many as the journal takes, and half the cache's bound, but always enough
    /// for any operation.
    pub(crate) fn largest_transaction(&self) -> u64 {
        const ENOUGH: u64 = 512;
        let room = self.journal.as_ref().map_or(1 << 16, |journal| u64::from(journal.size() / 4));
        room.min((self.cache.limit / 2 / self.layout.bytes()).max(ENOUGH))
    }

    /// Whether the running transaction can take up so many new blocks.
    pub(crate) fn check_credits(&self, new: u64, freed: u64) -> Result<()> {
        let revokes = (to_u64(self.running.revoked.len()) + freed) / (self.layout.bytes() / 8 - 4) + 1;
        let total = to_u64(self.running.blocks.len()) + new + revokes + 8;
        if total <= self.largest_transaction() {
            Ok(())
        } else if self.running.is_empty() {
            Err(Error::NoSpace)
        } else {
            Err(Error::Commit)
        }
    }

    /// Where a block is really, while a journal is seen through.
    pub(crate) fn redirected(&self, block: u64, count: u64) -> (u64, u64) {
        match self.redirect.get(&block) {
            Some(redirect) => (redirect.at, 1),
            None => {
                let next = self.redirect.range(block..).next().map_or(u64::MAX, |(b, _)| *b);
                (block, count.min(next.saturating_sub(block)).max(1))
            }
        }
    }

    /// Which block the contents of a place are, while a journal is seen through.
    pub(crate) fn unredirected(&self, at: u64, data: Block) -> (u64, Block) {
        match self.logged_at(at) {
            Some((block, redirect)) => (block, if redirect.escaped { format::unescape(&data) } else { data }),
            None => (at, data),
        }
    }

    /// Whether `at`, once read, is `block`. It is not where damage has the same place of the journal hold two blocks, or
    /// be a part of the file system, too.
    pub(crate) fn comes_as(&self, at: u64, block: u64) -> bool {
        self.logged_at(at).map_or(at, |(logged, _)| logged) == block
    }

    fn logged_at(&self, at: u64) -> Option<(u64, &Redirect)> {
        self.redirect.iter().find(|(_, redirect)| redirect.at == at).map(|(block, redirect)| (*block, redirect))
    }
}
