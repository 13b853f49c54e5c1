//! Reading a log after a crash: which blocks the transactions that count have, and putting them in their places.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Journal;
use super::format::{self, Tag, field};
use crate::bytes::{be32, to_u64};
use crate::error::{Result, corrupt};
use crate::fs::{Ext4, Redirect};
use crate::store::Kind;
use crate::types::{Block, Plan, Step};

/// Blocks in one plan of a replay.
const BATCH: usize = 256;

/// A block in the log.
#[derive(Clone, Copy, Debug)]
struct Copy {
    log: u32,
    sequence: u32,
    tag: Tag,
}

/// A replay in progress.
#[derive(Debug)]
pub(crate) struct Replay {
    journal: Journal,
    at: u32,
    sequence: u32,
    looked: u32,
    /// Of the transaction being read.
    pending: Vec<Copy>,
    pending_revoked: Vec<u64>,
    /// Of those that count.
    copies: BTreeMap<u64, Copy>,
    revoked: BTreeMap<u64, u32>,
    scanned: bool,
    written: Option<u64>,
    finished: bool,
}

/// Whether a number of a transaction is not before another; they wrap around.
fn not_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() >= 0
}

impl Replay {
    pub(crate) fn new(journal: Journal) -> Self {
        let (at, sequence) = (journal.start(), be32(&journal.superblock, field::SEQUENCE));
        Self {
            journal,
            at,
            sequence,
            looked: 0,
            pending: Vec::new(),
            pending_revoked: Vec::new(),
            copies: BTreeMap::new(),
            revoked: BTreeMap::new(),
            scanned: false,
            written: None,
            finished: false,
        }
    }

    fn block(&self, fs: &mut Ext4, log: u32) -> Result<Block> {
        let place = self.journal.physical(log).ok_or(corrupt("journal: a block beyond its end", u64::from(log)))?;
        fs.get_ahead(place, Kind::Raw, 64)
    }

    fn forward(&mut self, count: u32) {
        for _ in 0..count.min(self.journal.size()) {
            self.at = self.journal.next(self.at);
        }
        self.looked = self.looked.saturating_add(count);
    }

    /// Reads the log to its end. Calls may be repeated after a miss.
    fn scan(&mut self, fs: &mut Ext4) -> Result<()> {
        while !self.scanned && self.looked < self.journal.size() {
            let data = self.block(fs, self.at)?;
            if be32(&data, 0) != format::MAGIC || be32(&data, 8) != self.sequence || !self.take(&data) {
                break;
            }
        }
        self.scanned = true;
        Ok(())
    }

    /// Takes up one block of the log; false at the end of what counts.
    fn take(&mut self, data: &[u8]) -> bool {
        let features = self.journal.features;
        let seed = self.journal.seed;
        let checked = features.has_checksums();
        let tail_right = !checked || format::tail_checksum(seed, data) == be32(data, data.len() - 4);
        match be32(data, 4) {
            format::DESCRIPTOR if tail_right => {
                let tags = format::tags(&features, data);
                self.forward(1);
                for tag in tags {
                    self.pending.push(Copy { log: self.at, sequence: self.sequence, tag });
                    self.forward(1);
                }
            }
            format::REVOKE if tail_right => {
                self.pending_revoked.extend(format::revocations(&features, data));
                self.forward(1);
            }
            format::COMMIT => {
                if checked && format::commit_checksum(seed, data) != be32(data, format::COMMIT_CHECKSUM) {
                    return false;
                }
                for copy in self.pending.drain(..) {
                    self.copies.insert(copy.tag.block, copy);
                }
                for block in self.pending_revoked.drain(..) {
                    self.revoked.insert(block, self.sequence);
                }
                self.sequence = self.sequence.wrapping_add(1);
                self.forward(1);
            }
            _ => return false,
        }
        true
    }

    /// After the scan: the newest copies that were not revoked.
    fn valid(&self) -> impl Iterator<Item = (&u64, &Copy)> {
        self.copies
            .iter()
            .filter(|(block, copy)| self.revoked.get(block).is_none_or(|&revoked| !not_before(revoked, copy.sequence)))
    }

    /// A logged block as it was.
    fn contents(&self, fs: &mut Ext4, copy: &Copy) -> Result<Block> {
        let data = self.block(fs, copy.log)?;
        let features = &self.journal.features;
        if features.has_checksums()
            && format::block_checksum(features, self.journal.seed, copy.sequence, &data) != copy.tag.checksum
        {
            return Err(corrupt("journal: checksum of a logged block", copy.tag.block));
        }
        Ok(if copy.tag.escaped { format::unescape(&data) } else { data })
    }

    /// The next writes; nothing when all are done.
    pub(crate) fn next_plan(&mut self, fs: &mut Ext4) -> Result<Option<Plan>> {
        self.scan(fs)?;
        let from = self.written.map_or(0, |last| last.saturating_add(1));
        let batch: Vec<Copy> =
            self.valid().filter(|(block, _)| **block >= from).take(BATCH).map(|(_, copy)| *copy).collect();
        let mut steps = Vec::with_capacity(batch.len());
        for copy in &batch {
            if copy.tag.block >= fs.layout.blocks || self.journal.contains(copy.tag.block) {
                return Err(corrupt("journal: a block that cannot be its own", copy.tag.block));
            }
            steps.push(Step::Write { block: copy.tag.block, data: self.contents(fs, copy)? });
        }
        if let Some(last) = batch.last() {
            self.written = Some(last.tag.block);
        } else if self.finished {
            return Ok(None);
        } else {
            // The number after the last is skipped: there may be a part of such a transaction.
            let sequence = self.sequence.wrapping_add(1);
            let data = self.journal.restart(sequence);
            steps = alloc::vec![Step::Flush, Step::Write { block: self.journal.superblock_place(), data }, Step::Flush];
            self.finished = true;
        }
        let id = fs.next_plan();
        Ok(Some(Plan { id, steps, ordered: Vec::new(), freed: Vec::new(), commits: None }))
    }

    /// For a mount that changes nothing: where blocks are to be read instead.
    pub(crate) fn redirects(&mut self, fs: &mut Ext4) -> Result<BTreeMap<u64, Redirect>> {
        self.scan(fs)?;
        let mut out = BTreeMap::new();
        for (block, copy) in self.valid() {
            let at = self.journal.physical(copy.log).unwrap_or(0);
            out.insert(*block, Redirect { at, escaped: copy.tag.escaped });
        }
        Ok(out)
    }

    /// How many blocks the log has for their places.
    pub(crate) fn count(&self) -> u64 {
        to_u64(self.valid().count())
    }
}
