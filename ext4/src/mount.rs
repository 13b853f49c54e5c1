//! Mounting: the superblock, what the journal has, descriptors, and what a crash left half done.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::bytes::{le16, le32, low32, put16, put32, slice, to_u64, to_usize};
use crate::error::{Error, Result, corrupt};
use crate::fs::Ext4;
use crate::journal::replay::Replay;
use crate::store::Kind;
use crate::superblock::{Compat, Incompat, Layout, STATE_CLEAN, field};
use crate::types::{By, Plan, Progress, Step, Timestamp};

/// How to mount.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountOptions {
    /// Change nothing, not even to replay the journal: what it says is then seen through.
    pub read_only: bool,
    /// The time of the mount, for the superblock.
    pub now: Timestamp,
}

/// What a mount needs next.
#[derive(Clone, Debug)]
pub enum MountStep {
    /// Read these bytes of the device and hand them to [`Mounting::supply`].
    Read {
        /// The first byte; a multiple of 1024.
        offset: u64,
        /// How many; a multiple of 1024.
        length: u64,
    },
    /// Carry this out and say so with [`Mounting::carried_out`].
    CarryOut(Plan),
    /// Take the file system with [`Mounting::finish`].
    Done,
}

/// How far a mount is.
#[derive(Debug)]
enum Phase {
    Superblock,
    Journal,
    Replay(Box<Replay>),
    Load,
    Orphans,
    Done,
}

/// A mount in progress.
///
/// [`step`](Self::step) until it says [`MountStep::Done`]. Replaying the journal and finishing what was unlinked or being
/// truncated at a crash are parts of it.
#[derive(Debug)]
pub struct Mounting {
    device_bytes: u64,
    options: MountOptions,
    superblock: Option<Vec<u8>>,
    fs: Option<Box<Ext4>>,
    phase: Phase,
    plan: Option<crate::types::PlanId>,
}

impl Mounting {
    /// Begins to mount a device of so many bytes.
    pub fn new(device_bytes: u64, options: MountOptions) -> Self {
        Self { device_bytes, options, superblock: None, fs: None, phase: Phase::Superblock, plan: None }
    }

    /// What is needed next. Fails when this is no file system we can mount; the device is then as it was, but for a
    /// replayed journal.
    pub fn step(&mut self) -> Result<MountStep> {
        loop {
            match self.advance() {
                Ok(Some(step)) => return Ok(step),
                Ok(None) => {}
                Err(Error::Missing(want)) => {
                    let bits = self.fs.as_ref().map_or(10, |fs| fs.layout.block_bits);
                    return Ok(MountStep::Read { offset: want.block << bits, length: u64::from(want.count) << bits });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands over what a `Read` asked for. A device that is shorter than asked gives what it has.
    pub fn supply(&mut self, offset: u64, data: &[u8]) {
        let Some(fs) = &mut self.fs else {
            self.superblock = Some(data.to_vec());
            return;
        };
        let first = offset >> fs.layout.block_bits;
        let epoch = fs.cache.epoch;
        for (number, block) in data.chunks_exact(fs.layout.block_size).enumerate() {
            fs.take_in(epoch, first + to_u64(number), Arc::from(block));
        }
    }

    /// Says that the plan of the last step was carried out.
    pub fn carried_out(&mut self) {
        if let (Some(fs), Some(plan)) = (&mut self.fs, self.plan.take()) {
            fs.do_carried_out(plan);
        }
    }

    /// The mounted file system, once `step` said `Done`.
    pub fn finish(self) -> Result<Ext4> {
        match (self.phase, self.fs) {
            (Phase::Done, Some(fs)) => Ok(*fs),
            _ => Err(Error::Busy),
        }
    }

    fn carry_out(&mut self, plan: Plan) -> Option<MountStep> {
        self.plan = Some(plan.id);
        Some(MountStep::CarryOut(plan))
    }

    /// Does what can be done; gives what is needed, or nothing to be called again.
    fn advance(&mut self) -> Result<Option<MountStep>> {
        if matches!(self.phase, Phase::Superblock) {
            return self.read_superblock();
        }
        let read_only = self.options.read_only;
        let fs = self.fs.as_mut().ok_or(Error::Busy)?;
        match &mut self.phase {
            Phase::Superblock => {}
            Phase::Journal => {
                self.phase = Phase::Load;
                if !fs.layout.has_compat(Compat::HAS_JOURNAL) {
                    return Ok(None);
                }
                let journal = match fs.load_journal() {
                    Ok(journal) => journal,
                    Err(error) => {
                        self.phase = Phase::Journal;
                        return Err(error);
                    }
                };
                if journal.start() != 0 {
                    self.phase = Phase::Replay(Box::new(Replay::new(journal)));
                }
            }
            Phase::Replay(replay) if read_only || fs.read_only => {
                let redirects = replay.redirects(fs)?;
                fs.forget_all();
                fs.redirect = redirects;
                self.phase = Phase::Load;
            }
            Phase::Replay(replay) => match replay.next_plan(fs)? {
                Some(plan) => return Ok(self.carry_out(plan)),
                None => {
                    fs.forget_all();
                    self.phase = Phase::Load;
                }
            },
            Phase::Load => {
                let plan = fs.load(self.device_bytes)?;
                self.phase = Phase::Orphans;
                return Ok(plan.and_then(|plan| self.carry_out(plan)));
            }
            Phase::Orphans => {
                if let Some(plan) = fs.settle_orphans()? {
                    return Ok(self.carry_out(plan));
                }
                self.phase = Phase::Done;
            }
            Phase::Done => return Ok(Some(MountStep::Done)),
        }
        Ok(None)
    }

    fn read_superblock(&mut self) -> Result<Option<MountStep>> {
        let Some(data) = self.superblock.take() else {
            return Ok(Some(MountStep::Read { offset: 1024, length: 1024 }));
        };
        let layout = match Layout::parse(&data, self.device_bytes) {
            // It may be half written, and whole in the journal.
            Err(Error::Corrupt(_)) => Layout::parse_unchecked(&data, self.device_bytes)
                .ok()
                .filter(|layout| layout.has_compat(Compat::HAS_JOURNAL))
                .ok_or(corrupt("superblock: checksum", 0))?,
            layout => layout?,
        };
        let read_only = self.options.read_only || !layout.read_only_features().is_empty();
        let mut fs = Box::new(Ext4::new(layout, read_only, self.options.now));
        fs.lenient = true;
        self.fs = Some(fs);
        self.phase = Phase::Journal;
        Ok(None)
    }
}

impl Ext4 {
    /// Drops all blocks: the device's are others now.
    fn forget_all(&mut self) {
        self.cache.clear();
        self.cache.epoch += 1;
    }

    /// Reads what has to be in memory. Gives a plan that marks the image as mounted.
    fn load(&mut self, device_bytes: u64) -> Result<Option<Plan>> {
        if self.lenient {
            self.forget_all();
            self.lenient = false;
        }
        let (block, at) = self.superblock()?;
        self.layout = Layout::parse(slice(&block, at, block.len()), device_bytes)?;
        for which in 0..self.layout.descriptor_blocks() {
            let ahead = u64::from(self.layout.descriptor_blocks() - which);
            let ahead = if self.layout.has(Incompat::META_BG) { 1 } else { ahead };
            self.get_ahead(self.layout.descriptor_block(which), Kind::Descriptors(which), ahead)?;
        }
        self.survey_groups()?;
        let root = self.inode(Self::ROOT)?;
        if !root.is_dir() {
            return Err(corrupt("the root is no directory", u64::from(Self::ROOT)));
        }
        if self.read_only {
            return Ok(None);
        }
        if self.layout.has_compat(Compat::HAS_JOURNAL) {
            let mut journal = self.load_journal()?;
            let wide = self.layout.wide();
            journal.choose_features(self.layout.checksums(), wide);
            self.journal = Some(journal);
        }
        self.was_clean = self.super16(field::STATE)? & STATE_CLEAN != 0;
        let step = self.superblock_step(true, true)?;
        let id = self.next_plan();
        let steps = alloc::vec![step, Step::Flush];
        Ok(Some(Plan { id, steps, ordered: Vec::new(), freed: Vec::new(), commits: None }))
    }

    /// The superblock at the begin or end of a mount, while no transaction has it.
    pub(crate) fn superblock_step(&mut self, mounting: bool, orphans: bool) -> Result<Step> {
        let (has_journal, file) = (self.journal.is_some(), self.layout.orphan_file != 0);
        let (clean, now) = (self.was_clean, low32(self.now.sec.cast_unsigned()));
        let (blocks, inodes) = (self.free_blocks, self.free_inodes);
        let wide = self.layout.wide();
        let (place, at) = self.layout.superblock_place();
        let (data, _) = self.cache.seal(place).ok_or(Error::Busy)?;
        let sb = data.get_mut(at..).unwrap_or(&mut []);
        let mut incompat = le32(sb, field::INCOMPAT) & !Incompat::NEEDS_RECOVERY.bits();
        let mut state = le16(sb, field::STATE);
        if mounting {
            put32(sb, field::MTIME, now);
            let mounts = le16(sb, field::MOUNTS);
            put16(sb, field::MOUNTS, mounts.saturating_add(1));
            if has_journal {
                incompat |= Incompat::NEEDS_RECOVERY.bits();
            } else {
                state &= !STATE_CLEAN;
            }
        } else {
            put32(sb, field::FREE_BLOCKS_LO, low32(blocks));
            if wide {
                put32(sb, field::FREE_BLOCKS_HI, crate::bytes::high32(blocks));
            }
            put32(sb, field::FREE_INODES, low32(inodes));
            if clean {
                state |= STATE_CLEAN;
            }
        }
        if file {
            let flag = crate::superblock::RoCompat::ORPHAN_PRESENT.bits();
            let flags = le32(sb, field::RO_COMPAT);
            put32(sb, field::RO_COMPAT, if orphans { flags | flag } else { flags & !flag });
        }
        put32(sb, field::INCOMPAT, incompat);
        put16(sb, field::STATE, state);
        put32(sb, field::WTIME, now);
        self.layout.seal(sb);
        let data = self.cache.newest(place).ok_or(Error::Busy)?.clone();
        Ok(Step::Write { block: place, data })
    }

    /// Deals with what a crash left; gives a plan when the transaction has to be committed in between.
    fn settle_orphans(&mut self) -> Result<Option<Plan>> {
        if self.read_only {
            return Ok(None);
        }
        let by = By { now: self.now, privileged: true };
        // Each inode once, and each step of it frees something: the bound is for damaged lists.
        let mut left = to_usize(self.layout.blocks.saturating_add(u64::from(self.layout.inodes)));
        while let Some(ino) = self.look(|fs| fs.any_orphan())? {
            let step = self.change(|fs| fs.settle_orphan(ino, by));
            match step {
                Ok(Progress::Done | Progress::More) => {}
                Err(Error::Commit) => return self.do_begin_commit(),
                Err(error) => return Err(error),
            }
            left = left.saturating_sub(1);
            if left == 0 {
                return Err(corrupt("list of orphans: it has no end", u64::from(ino)));
            }
        }
        Ok(None)
    }
}
