//! From guest bytes to the blocks of a function: what a static look at the code finds from an entry on.
//!
//! What always holds: places in code are offsets from the start of the virtual page the cluster's first entry is in, so
//! nothing depends on where it is mapped. Only blocks the interpreter has run are taken in; ways into others leave.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use aurora_machine::{PAGE_SIZE, PhysAddr};
use iced_x86::{
    Decoder, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register, RflagsBits,
};

use super::translate;
use crate::decode::{LONGEST, OPTIONS};
use crate::ops::system;

/// Most instructions of one function.
const MOST: usize = 2000;
/// Most places indirect jumps go to inside a function: a byte numbers them.
const MOST_TARGETS: usize = 255;

/// Sets of registers: general-purpose ones from bit 0, XMM from 16, the upper halves of YMM from 32, and the flags. Where an
/// upper half is meant, its [`Register`] is XMM16 and so on.
pub(crate) type Set = u64;
/// The status flags as a member of a [`Set`].
pub(crate) const FLAGS: Set = 1 << 48;
/// Whether the engine's arithmetic may be used, likewise: what MXCSR says.
pub(crate) const MXCSR: Set = 1 << 49;
/// All upper halves.
const UPPER: Set = 0xffff << 32;
/// All vector registers.
const VECTORS: Set = UPPER | 0xffff << 16;

/// An instruction with what the analyses need.
#[derive(Clone)]
pub(crate) struct Insn {
    pub(crate) insn: Instruction,
    /// Registers its translation reads.
    pub(crate) reads: Set,
    /// Registers it gives a value, whatever happens.
    pub(crate) kills: Set,
    /// Registers it may change, in the form translated code keeps them.
    pub(crate) writes: Set,
    /// It may stop with nothing done, or calls out.
    pub(crate) may_exit: bool,
    /// It is executed by calling the interpreter.
    pub(crate) calls_out: bool,
}

impl Insn {
    pub(crate) fn at(&self) -> i64 {
        self.insn.ip() as i64
    }
    pub(crate) fn next(&self) -> i64 {
        self.insn.next_ip() as i64
    }
    /// [`FLAGS`] if the instruction changes status flags.
    pub(crate) fn flags_written(&self) -> Set {
        if self.insn.rflags_modified() & STATUS_BITS != 0 { FLAGS } else { 0 }
    }
}

/// The status flags, as the decoder names them.
pub(crate) const STATUS_BITS: u32 =
    RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;

/// Where control goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To a block of the function.
    Block(usize),
    /// Elsewhere.
    Out(i64),
}

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// To this offset.
    Known(i64),
    /// Where an address says: every time it was seen to go to this offset.
    Likely(i64),
    /// Where an address says.
    Unknown,
}

impl Goal {
    /// The offset worth translating with the caller.
    pub(crate) fn offset(self) -> Option<i64> {
        match self {
            Self::Known(offset) | Self::Likely(offset) => Some(offset),
            Self::Unknown => None,
        }
    }
}

/// How a block ends. The instruction that ends it, if any, is its last.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// Goes on, after a `JMP` or by itself.
    Jump(Target),
    /// A conditional branch.
    Branch { taken: Target, next: Target },
    /// A call, and where it comes back.
    Call { goal: Goal, back: Target },
    /// A call of what is written in place from the block `to` on. With `likely`, only if the address is that offset's: else
    /// it comes back to the block that is there.
    Enter { to: usize, likely: Option<(i64, usize)> },
    /// The return from that: the address that was pushed, and the block there.
    Back { expected: i64, back: usize },
    /// What is not written in place of the callee, and as above.
    Rest { at: i64, expected: i64, back: usize },
    /// A jump to an address: to the hub, if that knows it.
    Indirect(Option<usize>),
    /// A jump to an address: every time it was seen to go to this block, which no other such jump was.
    Likely(usize),
    /// The hub, where all indirect jumps of the function meet: the places they were seen to reach.
    Hub(Vec<(i64, usize)>),
    /// A return.
    Return,
    /// The instruction at this offset is not for translated code.
    Leave(i64),
}

impl End {
    /// Whether a branch may lead from here to a known place outside the function.
    pub(crate) fn leaves_for_a_place(&self) -> bool {
        let outside = |t: &Target| matches!(t, Target::Out(_));
        match self {
            Self::Jump(to) => outside(to),
            Self::Branch { taken, next } => outside(taken) || outside(next),
            _ => false,
        }
    }
}

/// A basic block.
pub(crate) struct Block {
    pub(crate) at: i64,
    pub(crate) insns: Vec<Insn>,
    pub(crate) end: End,
    /// It is a callee's, written in place of a call.
    pub(crate) of_callee: bool,
}

impl Block {
    /// Successors inside the function.
    pub(crate) fn successors(&self) -> Vec<usize> {
        let targets = match &self.end {
            End::Jump(to) => [Some(*to), None],
            End::Branch { taken, next } => [Some(*taken), Some(*next)],
            End::Call { back, .. } => [Some(*back), None],
            End::Indirect(hub) => [hub.map(Target::Block), None],
            End::Enter { to, likely } => [Some(Target::Block(*to)), likely.map(|l| Target::Block(l.1))],
            End::Likely(to) | End::Back { back: to, .. } | End::Rest { back: to, .. } => {
                [Some(Target::Block(*to)), None]
            }
            End::Hub(to) => return to.iter().map(|t| t.1).collect(),
            End::Return | End::Leave(_) => [None, None],
        };
        let mut found = Vec::new();
        for target in targets.into_iter().flatten() {
            if let Target::Block(b) = target
                && !found.contains(&b)
            {
                found.push(b);
            }
        }
        found
    }
}

/// A function: one or more entries and what is statically reached from them.
pub(crate) struct Function {
    pub(crate) blocks: Vec<Block>,
    /// The blocks that can be entered from outside; the first is where a call enters.
    pub(crate) entries: Vec<usize>,
    /// How many of them were asked for; where calls come back to follows.
    pub(crate) roots: usize,
}

impl Function {
    /// Where calls enter.
    pub(crate) fn start(&self) -> i64 {
        self.blocks[self.entries[0]].at
    }

    /// Whether a call comes back to this block.
    pub(crate) fn comes_back_to(&self, block: usize) -> bool {
        let calls = |b: &Block| matches!(b.end, End::Call { back: Target::Block(back), .. } if back == block);
        self.blocks.iter().any(calls)
    }

    /// How many instructions it has.
    pub(crate) fn size(&self) -> usize {
        self.blocks.iter().map(|b| b.insns.len()).sum()
    }
}

/// Where discovery gets the code from.
pub(crate) trait Source {
    /// The frame that holds the page at `page` (an offset, page-aligned), if it can be executed.
    fn frame(&mut self, page: i64) -> Option<PhysAddr>;
    /// Copies the rest of a frame's bytes from `at`.
    fn copy(&self, at: PhysAddr, out: &mut [u8]);
    /// Whether the interpreter has a block that begins there.
    fn has_run(&self, at: PhysAddr) -> bool;
    /// Whether everything is to be translated at once.
    fn is_eager(&self) -> bool;
    /// Where the indirect jump or call at this offset went so far.
    fn seen_targets(&mut self, at: i64) -> Vec<i64>;
}

/// Finds functions.
pub(crate) struct Discovery<'a> {
    pub(crate) source: &'a mut dyn Source,
    pub(crate) info: InstructionInfoFactory,
    /// Frames the code was read from, by page offset.
    pub(crate) frames: BTreeMap<i64, PhysAddr>,
}

/// What one instruction leads to.
struct Step {
    insn: Option<Insn>,
    /// Leaders it makes.
    leaders: Vec<i64>,
    ends: bool,
}

impl Discovery<'_> {
    /// The function with these entries, the first of which is where calls enter; `None` if there is nothing to translate.
    pub(crate) fn function(&mut self, entries: &[i64]) -> Option<Function> {
        let mut leaders: BTreeSet<i64> = entries.iter().copied().collect();
        let mut steps: BTreeMap<i64, Step> = BTreeMap::new();
        let mut work: Vec<i64> = entries.iter().rev().copied().collect();
        while let Some(mut at) = work.pop() {
            while !steps.contains_key(&at) && steps.len() < MOST {
                let step = self.step(at);
                let next = step.insn.as_ref().map(Insn::next);
                let ends = step.ends;
                for &leader in &step.leaders {
                    if leaders.insert(leader) || !steps.contains_key(&leader) {
                        work.push(leader);
                    }
                }
                steps.insert(at, step);
                match next {
                    Some(next) if !ends => at = next,
                    _ => break,
                }
            }
        }
        let first = steps.get(&entries[0])?.insn.as_ref()?;
        if first.calls_out && steps.len() == 1 {
            return None;
        }
        leaders.retain(|l| steps.get(l).is_some_and(|s| s.insn.is_some()));
        let index: BTreeMap<i64, usize> = leaders.iter().enumerate().map(|(i, &l)| (l, i)).collect();
        let mut blocks = Vec::with_capacity(index.len());
        for &leader in &leaders {
            blocks.push(self.block(leader, &steps, &index));
        }
        settle_indirect(&mut blocks, &steps, &index);
        let mut found: Vec<usize> = entries.iter().filter_map(|e| index.get(e).copied()).collect();
        let roots = found.len();
        self.add_entries(&blocks, &mut found);
        Some(Function { blocks, entries: found, roots })
    }

    /// Where calls come back to can be entered, too.
    fn add_entries(&self, blocks: &[Block], entries: &mut Vec<usize>) {
        for block in blocks {
            if let End::Call { back: Target::Block(b), .. } = block.end
                && !entries.contains(&b)
            {
                entries.push(b);
            }
        }
    }

    #[inline(never)]
    fn block(&mut self, at: i64, steps: &BTreeMap<i64, Step>, index: &BTreeMap<i64, usize>) -> Block {
        let target = |to: i64| index.get(&to).map_or(Target::Out(to), |&b| Target::Block(b));
        let mut insns = Vec::new();
        let mut here = at;
        let end = loop {
            let Some(Step { insn: Some(insn), ends, .. }) = steps.get(&here) else { break End::Leave(here) };
            insns.push(insn.clone());
            let next = insn.next();
            if *ends {
                break self.end(insn, &target);
            }
            if index.contains_key(&next) {
                break End::Jump(target(next));
            }
            here = next;
        };
        Block { at, insns, end, of_callee: false }
    }

    fn end(&mut self, insn: &Insn, target: &dyn Fn(i64) -> Target) -> End {
        let near = insn.insn.near_branch_target() as i64;
        match insn.insn.flow_control() {
            FlowControl::UnconditionalBranch => End::Jump(target(near)),
            FlowControl::ConditionalBranch => End::Branch { taken: target(near), next: target(insn.next()) },
            FlowControl::Call => End::Call { goal: Goal::Known(near), back: target(insn.next()) },
            FlowControl::IndirectCall => {
                let goal = match self.source.seen_targets(insn.at())[..] {
                    [only] => Goal::Likely(only),
                    _ => Goal::Unknown,
                };
                End::Call { goal, back: target(insn.next()) }
            }
            FlowControl::IndirectBranch => End::Indirect(None),
            _ => End::Return,
        }
    }

    #[inline(never)]
    fn step(&mut self, at: i64) -> Step {
        let stop = Step { insn: None, leaders: Vec::new(), ends: true };
        let Some(insn) = self.decode(at) else { return stop };
        let near = insn.near_branch_target() as i64;
        let next = insn.next_ip() as i64;
        let mut leaders = Vec::new();
        let mut add = |this: &mut Self, to: i64| {
            if this.is_warm(to) {
                leaders.push(to);
            }
        };
        let ends = match insn.flow_control() {
            FlowControl::Next => false,
            FlowControl::UnconditionalBranch => {
                add(self, near);
                true
            }
            FlowControl::ConditionalBranch => {
                add(self, next);
                add(self, near);
                true
            }
            FlowControl::Call | FlowControl::IndirectCall => {
                add(self, next);
                true
            }
            FlowControl::IndirectBranch => {
                for to in self.source.seen_targets(at) {
                    add(self, to);
                }
                true
            }
            FlowControl::Return => true,
            _ => return stop,
        };
        if system::ends_block(&insn) || !translate::may_enter(&insn) {
            return stop;
        }
        Step { insn: Some(self.analyse(insn)), leaders, ends }
    }

    fn is_warm(&mut self, to: i64) -> bool {
        self.warm_address(to).is_some()
    }

    /// Where the code at an offset is, if it has run.
    pub(crate) fn warm_address(&mut self, to: i64) -> Option<PhysAddr> {
        self.address(to).filter(|&at| self.source.has_run(at))
    }

    /// Where the code at an offset is.
    pub(crate) fn address(&mut self, to: i64) -> Option<PhysAddr> {
        let page = to & !(PAGE_SIZE as i64 - 1);
        Some(PhysAddr(self.source.frame(page)?.0 + (to - page) as u64))
    }

    fn decode(&mut self, at: i64) -> Option<Instruction> {
        let mut bytes = [0u8; LONGEST];
        let page = at & !(PAGE_SIZE as i64 - 1);
        let frame = self.source.frame(page)?;
        let room = (PAGE_SIZE as i64 - (at - page)) as usize;
        let mut have = room.min(LONGEST);
        self.source.copy(PhysAddr(frame.0 + (at - page) as u64), &mut bytes[..have]);
        let decode = |bytes: &[u8]| {
            let insn = Decoder::with_ip(64, bytes, at as u64, OPTIONS).decode();
            (!insn.is_invalid()).then_some(insn)
        };
        let mut found = decode(&bytes[..have]);
        if found.is_none()
            && have < LONGEST
            && let Some(second) = self.source.frame(page + PAGE_SIZE as i64)
        {
            self.source.copy(second, &mut bytes[have..]);
            have = LONGEST;
            found = decode(&bytes[..have]);
            if found.is_some() {
                self.frames.insert(page + PAGE_SIZE as i64, second);
            }
        }
        self.frames.insert(page, frame);
        found
    }

    /// What the translation of `insn` reads and writes.
    #[inline(never)]
    fn analyse(&mut self, insn: Instruction) -> Insn {
        let calls_out = !translate::is_translated(&insn);
        let (mut reads, mut writes, mut kills) = (0, 0, 0);
        for used in self.info.info(&insn).used_registers() {
            let (bit, whole) = member(used.register());
            let access = used.access();
            if matches!(access, OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite) {
                reads |= bit;
            }
            if !matches!(access, OpAccess::Read | OpAccess::CondRead | OpAccess::None | OpAccess::NoMemAccess) {
                writes |= bit;
                if access == OpAccess::Write
                    && (whole || translate::writes_whole_vector(&insn))
                    && !translate::may_keep(&insn)
                {
                    kills |= bit;
                } else {
                    reads |= bit;
                }
            }
        }
        if insn.mnemonic() == Mnemonic::Vzeroupper {
            (reads, writes, kills) = (0, UPPER, UPPER);
        }
        let memory = (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Memory)
            && insn.mnemonic() != Mnemonic::Lea
            && insn.mnemonic() != Mnemonic::Nop;
        let implicit = insn.stack_pointer_increment() != 0 || insn.is_stack_instruction();
        let may_exit = calls_out || memory || implicit || translate::may_exit(&insn);
        if calls_out {
            // Whatever it does to MXCSR is seen afterwards.
            writes |= if translate::may_change_mxcsr(&insn) { MXCSR } else { 0 };
            writes |= if translate::restores_vectors(&insn) { VECTORS } else { 0 };
            reads = 0;
            kills = 0;
            return Insn { insn, reads, kills, writes, may_exit, calls_out };
        }
        let (flags_read, flags_written, flags_killed) = translate::flag_use(&insn);
        reads |= if translate::calculates(&insn) { MXCSR } else { 0 };
        reads |= if flags_read { FLAGS } else { 0 };
        writes |= if flags_written { FLAGS } else { 0 };
        kills |= if flags_killed { FLAGS } else { 0 };
        Insn { insn, reads, kills, writes, may_exit, calls_out }
    }
}

/// Settles where jumps to addresses go. One that was always seen to go to a place of its own, as those of procedure linkage
/// tables do, goes there. The others meet in one block, which is added if any was seen to go anywhere: one place for all
/// keeps the graph simple however many there are.
fn settle_indirect(blocks: &mut Vec<Block>, steps: &BTreeMap<i64, Step>, index: &BTreeMap<i64, usize>) {
    let mut jumps: Vec<(usize, Vec<(i64, usize)>)> = Vec::new();
    let mut known: BTreeMap<i64, usize> = BTreeMap::new();
    for (b, block) in blocks.iter().enumerate().filter(|(_, b)| matches!(b.end, End::Indirect(_))) {
        let Some(step) = block.insns.last().and_then(|i| steps.get(&i.at())) else { continue };
        let targets: Vec<_> = step.leaders.iter().filter_map(|l| Some((*l, *index.get(l)?))).collect();
        targets.iter().for_each(|t| *known.entry(t.0).or_default() += 1);
        jumps.push((b, targets));
    }
    let hub = blocks.len();
    let mut meeting = Vec::new();
    for (b, targets) in jumps {
        match targets[..] {
            [(at, to)] if known.get(&at) == Some(&1) => blocks[b].end = End::Likely(to),
            _ => {
                blocks[b].end = End::Indirect(Some(hub));
                meeting.extend(targets);
            }
        }
    }
    meeting.sort_unstable();
    meeting.dedup();
    meeting.truncate(MOST_TARGETS);
    if !meeting.is_empty() {
        blocks.push(Block { at: i64::MIN, insns: Vec::new(), end: End::Hub(meeting), of_callee: false });
        return;
    }
    for block in blocks.iter_mut().filter(|b| matches!(b.end, End::Indirect(_))) {
        block.end = End::Indirect(None);
    }
}

/// The member of a [`Set`] a register is part of, and whether a write to it gives all of that a value.
pub(crate) fn member(register: Register) -> (Set, bool) {
    if register.is_gpr() {
        return (1 << register.full_register().number(), register.size() >= 4);
    }
    if register.is_vector_register() {
        // What VEX writes is said to be all of a register as wide as there are; SSE leaves upper halves alone.
        let halves = if register.is_xmm() { 1 } else { 1 << 16 | 1 };
        return (halves << (16 + register.number()), !register.is_xmm());
    }
    (0, true)
}
