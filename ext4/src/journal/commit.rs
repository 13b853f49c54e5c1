//! Commits and check-points: the plans, and what follows when they were carried out.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::format::{self, Tag};
use super::{Checkpoint, Committing, Journal, Logged};
use crate::bytes::{high32, low32, put_be32, slice, to_u64, word};
use crate::error::{Error, Result};
use crate::fs::Ext4;
use crate::types::{Block, Plan, PlanId, Step, Tid, Timestamp};

impl Journal {
    /// The blocks of a transaction's log, without the one that makes it count.
    fn lay_out(&self, blocks: &BTreeMap<u64, Block>, revoked: &[u64], size: usize) -> Vec<Block> {
        let mut out = self.revocations(revoked, size);
        let features = &self.features;
        let (tag_size, end) = (features.tag_size(), features.end(size));
        let uuid = slice(&self.superblock, format::field::UUID, format::field::UUID + 16);
        let per_block = (end - format::HEADER - 16) / tag_size;
        let all: Vec<(&u64, &Block)> = blocks.iter().collect();
        for part in all.chunks(per_block.max(1)) {
            let mut descriptor = vec![0; size];
            format::put_header(&mut descriptor, format::DESCRIPTOR, self.sequence);
            let mut at = format::HEADER;
            let mut contents = Vec::with_capacity(part.len());
            for (number, (block, data)) in part.iter().enumerate() {
                let escaped = format::escape(data);
                let logged = escaped.as_ref().unwrap_or(data).clone();
                let tag = Tag { block: **block, escaped: escaped.is_some(), checksum: self.logged_checksum(&logged) };
                let (first, last) = (number == 0, number + 1 == part.len());
                at = format::put_tag(features, &mut descriptor, at, &tag, first.then_some(uuid), last);
                contents.push(logged);
            }
            out.push(self.with_tail(descriptor));
            out.append(&mut contents);
        }
        out
    }

    fn logged_checksum(&self, data: &[u8]) -> u32 {
        if !self.features.has_checksums() {
            return 0;
        }
        format::block_checksum(&self.features, self.seed, self.sequence, data)
    }

    fn revocations(&self, revoked: &[u64], size: usize) -> Vec<Block> {
        let record = self.features.revocation_size();
        let per_block = (self.features.end(size) - format::HEADER - 4) / record;
        let block = |part: &[u64]| {
            let mut data = vec![0; size];
            format::put_header(&mut data, format::REVOKE, self.sequence);
            put_be32(&mut data, format::HEADER, word(format::HEADER + 4 + part.len() * record));
            for (number, &block) in part.iter().enumerate() {
                let at = format::HEADER + 4 + number * record;
                if self.features.wide {
                    put_be32(&mut data, at, high32(block));
                }
                put_be32(&mut data, at + record - 4, low32(block));
            }
            self.with_tail(data)
        };
        revoked.chunks(per_block.max(1)).map(block).collect()
    }

    fn with_tail(&self, mut data: Vec<u8>) -> Block {
        if self.features.has_checksums() {
            let sum = format::tail_checksum(self.seed, &data);
            let at = data.len() - 4;
            put_be32(&mut data, at, sum);
        }
        Arc::from(data)
    }

    fn commit_block(&self, size: usize, now: Timestamp) -> Block {
        let mut data = vec![0; size];
        format::put_header(&mut data, format::COMMIT, self.sequence);
        let sec = now.sec.cast_unsigned();
        put_be32(&mut data, format::COMMIT_SECONDS, high32(sec));
        put_be32(&mut data, format::COMMIT_SECONDS + 4, low32(sec));
        put_be32(&mut data, format::COMMIT_NANOSECONDS, now.nsec);
        if self.features.has_checksums() {
            let sum = format::commit_checksum(self.seed, &data);
            put_be32(&mut data, format::COMMIT_CHECKSUM, sum);
        }
        Arc::from(data)
    }

    /// The steps that write all logged transactions to their places and move the tail to the head.
    fn checkpoint_steps(&mut self) -> Vec<Step> {
        let mut newest: BTreeMap<u64, &Block> = BTreeMap::new();
        for logged in &self.logged {
            newest.extend(logged.blocks.iter().map(|(block, data)| (*block, data)));
        }
        let mut steps: Vec<Step> =
            newest.into_iter().map(|(block, data)| Step::Write { block, data: data.clone() }).collect();
        steps.push(Step::Flush);
        let (place, head, sequence) = (self.superblock_place(), self.head, self.sequence);
        steps.push(Step::Write { block: place, data: self.tail(head, sequence) });
        steps.push(Step::Flush);
        steps
    }

    /// Room for so many more blocks.
    fn has_room(&self, count: u64) -> bool {
        u64::from(self.used) + count < u64::from(self.size())
    }

    fn drop_logged(&mut self, count: usize) {
        for logged in self.logged.drain(..count.min(self.logged.len())) {
            self.used = self.used.saturating_sub(logged.length);
        }
    }
}

impl Ext4 {
    pub(crate) fn do_begin_commit(&mut self) -> Result<Option<Plan>> {
        if self.running.is_empty() || self.aborted {
            return Ok(None);
        }
        if self.committing.is_some() {
            return Err(Error::Busy);
        }
        let estimate = to_u64(self.running.blocks.len()) + to_u64(self.running.revoked.len()) / 32 + 16;
        let room = self.journal.as_ref().is_none_or(|journal| journal.has_room(estimate + estimate / 16));
        if !room && self.journal.as_ref().is_some_and(|journal| journal.checkpoint.is_some()) {
            return Err(Error::Busy);
        }
        self.seal()?;
        let running = core::mem::take(&mut self.running);
        let mut blocks = BTreeMap::new();
        for block in running.blocks.keys() {
            let data = self.cache.newest(*block).ok_or(Error::Busy)?;
            blocks.insert(*block, data.clone());
        }
        let revoked: Vec<u64> = running.revoked.iter().copied().collect();
        let size = self.layout.block_size;
        let now = self.now;
        let mut steps = Vec::new();
        let mut length = 0;
        match &mut self.journal {
            None => {
                steps.extend(blocks.iter().map(|(block, data)| Step::Write { block: *block, data: data.clone() }));
                steps.push(Step::Flush);
            }
            Some(journal) => {
                if !room {
                    steps = journal.checkpoint_steps();
                } else if !journal.started {
                    let (place, head, sequence) = (journal.superblock_place(), journal.head, journal.sequence);
                    steps.push(Step::Write { block: place, data: journal.tail(head, sequence) });
                }
                journal.started = true;
                let log = journal.lay_out(&blocks, &revoked, size);
                for data in log.into_iter() {
                    steps.push(Step::Write { block: journal.physical(journal.head).unwrap_or(0), data });
                    journal.head = journal.next(journal.head);
                    length += 1;
                }
                steps.push(Step::Flush);
                let data = journal.commit_block(size, now);
                steps.push(Step::Write { block: journal.physical(journal.head).unwrap_or(0), data });
                steps.push(Step::Flush);
                journal.head = journal.next(journal.head);
                journal.sequence = journal.sequence.wrapping_add(1);
                length += 1;
                journal.used += length;
            }
        }
        let id = self.next_plan();
        let tid = self.tid;
        self.tid += 1;
        let plan = Plan {
            id,
            steps,
            ordered: running.ordered.iter().copied().collect(),
            freed: running.freed.clone(),
            commits: Some(Tid(tid)),
        };
        self.committing = Some(Committing {
            plan: id,
            tid,
            blocks,
            length,
            revoked: running.revoked,
            freed: running.freed,
            touched: running.touched,
            checkpoints: !room,
        });
        Ok(Some(plan))
    }

    pub(crate) fn do_begin_checkpoint(&mut self) -> Result<Option<Plan>> {
        if self.aborted {
            return Ok(None);
        }
        // A commit that begins with a check-point is one already.
        if self.committing.as_ref().is_some_and(|c| c.checkpoints) {
            return Err(Error::Busy);
        }
        let in_flight = self.committing.is_some();
        let Some(journal) = &mut self.journal else { return Ok(None) };
        if journal.checkpoint.is_some() {
            return Err(Error::Busy);
        }
        if journal.logged.is_empty() {
            return Ok(None);
        }
        if in_flight {
            // The tail goes to the head, which is behind the commit that is on its way.
            return Err(Error::Busy);
        }
        let steps = journal.checkpoint_steps();
        let count = journal.logged.len();
        let id = self.next_plan();
        if let Some(journal) = &mut self.journal {
            journal.checkpoint = Some(Checkpoint { plan: id, count, freed: Vec::new() });
        }
        Ok(Some(Plan { id, steps, ordered: Vec::new(), freed: Vec::new(), commits: None }))
    }

    /// A plan was carried out.
    pub(crate) fn do_carried_out(&mut self, plan: PlanId) {
        if self.committing.as_ref().is_some_and(|c| c.plan == plan)
            && let Some(done) = self.committing.take()
        {
            self.committed_one(done);
        }
        if let Some(journal) = &mut self.journal
            && journal.checkpoint.as_ref().is_some_and(|c| c.plan == plan)
            && let Some(done) = journal.checkpoint.take()
        {
            journal.drop_logged(done.count);
            for range in done.freed {
                self.busy.remove(range);
            }
            self.cache.epoch += 1;
        }
    }

    fn committed_one(&mut self, done: Committing) {
        self.committed = done.tid;
        let mut late = None;
        match &mut self.journal {
            None => self.cache.epoch += 1,
            Some(journal) => {
                if done.checkpoints {
                    let count = journal.logged.len();
                    journal.drop_logged(count);
                    self.cache.epoch += 1;
                }
                // What was freed must not be written to its place any more: somebody else may have it.
                for logged in &mut journal.logged {
                    for block in &done.revoked {
                        logged.blocks.remove(block);
                    }
                }
                journal.logged.push_back(Logged { blocks: done.blocks, length: done.length });
                late = journal.checkpoint.as_mut();
            }
        }
        match late {
            Some(checkpoint) => checkpoint.freed.extend(done.freed),
            None => done.freed.into_iter().for_each(|range| self.busy.remove(range)),
        }
    }

    /// Blocks that have to stay in memory.
    pub(crate) fn is_pinned(&self, block: u64) -> bool {
        self.running.blocks.contains_key(&block)
            || self.committing.as_ref().is_some_and(|c| c.blocks.contains_key(&block))
            || self.journal.as_ref().is_some_and(|j| j.logged.iter().any(|l| l.blocks.contains_key(&block)))
            || matches!(self.cache.kind(block), Some(crate::store::Kind::Super | crate::store::Kind::Descriptors(_)))
    }

    pub(crate) fn pinned_count(&self) -> u64 {
        let committing = self.committing.as_ref().map_or(0, |c| c.blocks.len());
        to_u64(self.running.blocks.len() + committing) + self.unwritten_back()
    }

    /// Blocks of committed transactions that are not in their places yet.
    pub(crate) fn unwritten_back(&self) -> u64 {
        to_u64(self.journal.iter().flat_map(|j| &j.logged).map(|l| l.blocks.len()).sum())
    }

    /// Gives blocks back that can be read again.
    pub(crate) fn shrink_cache(&mut self, bytes: u64) -> u64 {
        let mut cache = core::mem::take(&mut self.cache);
        // `is_pinned` asks kinds, too: decided here, since the cache is being changed.
        let kinds = cache.pinned_kinds();
        let freed = cache.shrink(bytes, self.layout.bytes(), |block| kinds.contains(&block) || self.is_pinned(block));
        self.cache = cache;
        freed
    }

    /// The last plan: an empty log, and a superblock that says so.
    pub(crate) fn final_plan(&mut self) -> Result<Plan> {
        let orphans = match self.any_orphan() {
            Err(error @ Error::Missing(_)) => return Err(error),
            // Of a damaged list nobody knows.
            orphans => orphans.is_ok_and(|ino| ino.is_some()) || self.damage.is_some(),
        };
        let mut steps = Vec::new();
        if let Some(journal) = &mut self.journal {
            let (place, sequence) = (journal.superblock_place(), journal.sequence);
            steps.push(Step::Write { block: place, data: journal.tail(0, sequence) });
            steps.push(Step::Flush);
            journal.started = false;
        }
        let step = self.superblock_step(false, orphans)?;
        steps.push(step);
        steps.push(Step::Flush);
        let id = self.next_plan();
        Ok(Plan { id, steps, ordered: Vec::new(), freed: Vec::new(), commits: None })
    }
}
