//! A mounted file system: its state besides blocks.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::bytes::{le16, le32, low32, put, put16, put32};
use crate::error::{Corruption, Error, Result};
use crate::journal::{Committing, Journal};
use crate::store::{Attempt, Cache, Kind, Ranges, Transaction};
use crate::superblock::{Layout, RoCompat, STATE_ERRORS, field};
use crate::types::{Block, PlanId, Timestamp};

/// How many bytes of blocks are kept unless the caller says otherwise.
const CACHE_LIMIT: u64 = 16 << 20;

/// A mounted file system.
#[derive(Debug)]
pub struct Ext4 {
    pub(crate) layout: Layout,
    pub(crate) cache: Cache,
    pub(crate) attempt: Attempt,
    pub(crate) running: Transaction,
    pub(crate) tid: u64,
    pub(crate) committed: u64,
    pub(crate) committing: Option<Committing>,
    pub(crate) journal: Option<Journal>,
    /// Freed blocks that are not to be used yet.
    pub(crate) busy: Ranges,
    /// Blocks of the file system's own structures.
    pub(crate) system: Ranges,
    pub(crate) free_blocks: u64,
    pub(crate) free_inodes: u64,
    pub(crate) promised: u64,
    pub(crate) read_only: bool,
    pub(crate) damage: Option<Error>,
    /// Where blocks really are while a journal is seen through: blocks of the log, and whether they are escaped there.
    pub(crate) redirect: BTreeMap<u64, Redirect>,
    /// For each group, no run of free blocks is longer.
    pub(crate) longest: Vec<u32>,
    /// Blocks of attributes others may share, by their hashes.
    pub(crate) shared: BTreeMap<u32, u64>,
    pub(crate) plans: u64,
    pub(crate) now: Timestamp,
    pub(crate) unmounted: bool,
    /// A write failed: nothing more is written.
    pub(crate) aborted: bool,
    /// Before the journal is replayed, descriptors may have wrong checksums.
    pub(crate) lenient: bool,
    /// Whether the image said at the mount that it was clean.
    pub(crate) was_clean: bool,
    /// Inodes that are among the orphans because they are being truncated.
    pub(crate) truncating: BTreeSet<crate::types::Ino>,
}

/// A block's place in a log that is seen through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Redirect {
    pub(crate) at: u64,
    pub(crate) escaped: bool,
}

impl Ext4 {
    pub(crate) fn new(layout: Layout, read_only: bool, now: Timestamp) -> Self {
        let mut longest = Vec::new();
        longest.resize(crate::bytes::index(layout.groups), u32::MAX);
        Self {
            layout,
            cache: Cache::with_limit(CACHE_LIMIT),
            attempt: Attempt::default(),
            running: Transaction::default(),
            tid: 1,
            committed: 0,
            committing: None,
            journal: None,
            busy: Ranges::default(),
            system: Ranges::default(),
            free_blocks: 0,
            free_inodes: 0,
            promised: 0,
            read_only,
            damage: None,
            redirect: BTreeMap::new(),
            longest,
            shared: BTreeMap::new(),
            plans: 0,
            now,
            unmounted: false,
            aborted: false,
            lenient: false,
            was_clean: true,
            truncating: BTreeSet::new(),
        }
    }

    pub(crate) fn writable(&self) -> Result<()> {
        if self.read_only { Err(Error::ReadOnly) } else { Ok(()) }
    }

    pub(crate) fn next_plan(&mut self) -> PlanId {
        self.plans += 1;
        PlanId(self.plans)
    }

    /// The superblock in its block.
    pub(crate) fn superblock(&mut self) -> Result<(Block, usize)> {
        let (block, at) = self.layout.superblock_place();
        Ok((self.get(block, Kind::Super)?, at))
    }

    pub(crate) fn super16(&mut self, field: usize) -> Result<u16> {
        let (block, at) = self.superblock()?;
        Ok(le16(&block, at + field))
    }

    pub(crate) fn super32(&mut self, field: usize) -> Result<u32> {
        let (block, at) = self.superblock()?;
        Ok(le32(&block, at + field))
    }

    /// Changes the superblock.
    pub(crate) fn edit_super(&mut self, edit: impl FnOnce(&mut [u8])) -> Result<()> {
        let (block, at) = self.layout.superblock_place();
        let data = self.edit(block, Kind::Super)?;
        edit(data.get_mut(at..).unwrap_or(&mut []));
        Ok(())
    }

    /// Damage was found: what is complete may still be committed, with a note in the superblock that asks for a check;
    /// nothing new begins.
    pub(crate) fn note_damage(&mut self, damage: Corruption) {
        if self.read_only {
            return;
        }
        let now = low32(self.now.sec.cast_unsigned());
        // The superblock stays in memory, so this joins the running transaction at once.
        let noted = self.change_quietly(|fs| {
            fs.edit_super(|sb| {
                let state = le16(sb, field::STATE);
                put16(sb, field::STATE, state | STATE_ERRORS);
                let count = le32(sb, field::ERROR_COUNT);
                put32(sb, field::ERROR_COUNT, count.saturating_add(1));
                let what = damage.what.as_bytes();
                let what = what.get(..what.len().min(31)).unwrap_or(&[]);
                if count == 0 {
                    put32(sb, field::FIRST_ERROR_TIME, now);
                    put(sb, field::FIRST_ERROR_BLOCK, &damage.place.to_le_bytes());
                    put(sb, field::FIRST_ERROR_FUNC, &[0; 32]);
                    put(sb, field::FIRST_ERROR_FUNC, what);
                }
                put32(sb, field::LAST_ERROR_TIME, now);
                put(sb, field::LAST_ERROR_BLOCK, &damage.place.to_le_bytes());
                put(sb, field::LAST_ERROR_FUNC, &[0; 32]);
                put(sb, field::LAST_ERROR_FUNC, what);
            })
        });
        // Should the note not fit, the file system is read-only all the same.
        let _ = noted;
        self.read_only = true;
    }

    fn change_quietly(&mut self, operation: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.attempt = Attempt::default();
        let result = operation(self).and_then(|()| self.join());
        self.attempt = Attempt::default();
        result
    }

    /// Whether names in directories tell types.
    pub(crate) fn has_types(&self) -> bool {
        self.layout.has(crate::superblock::Incompat::FILETYPE)
    }

    pub(crate) fn has_ro(&self, feature: RoCompat) -> bool {
        self.layout.has_ro(feature)
    }

    /// Whether block numbers are a part of the device that is not the file system's own.
    pub(crate) fn is_data(&self, start: u64, count: u64) -> bool {
        count > 0
            && start > self.layout.first_data_block
            && start.checked_add(count).is_some_and(|end| end <= self.layout.blocks)
            && !self.system.overlaps(crate::types::BlockRange { start, count })
    }
}
