//! Which accesses of a function share a look at the TLB: those at constant distances from one another, in a block and in
//! those it dominates.
//!
//! What always holds: a group's members are relative to the same value of the same registers, and its range covers them
//! all. A member in another block than the first is reached only through the first's, with those registers unchanged.
//! Mappings do not change while translated code runs, so what was found for the range at the first member holds for the
//! others. While it may still be asked for, no other group has its local.

use alloc::vec;
use alloc::vec::Vec;

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};

use super::WIDEST;
use super::changes::{ALL, Changes};
use super::code::{Function, Insn, Set};
use super::graph::{Graph, NONE};

/// Most bytes a group spans: what lies across two pages is slow.
const MOST: i64 = 128;

/// An access of an instruction: that of its memory operand, or the stack's.
#[derive(Clone, Copy)]
pub(crate) enum Address<'a> {
    Operand(&'a Instruction),
    /// So many bytes from RSP.
    Stack(i64),
    /// At RBP.
    Frame,
}

/// Accesses that share a look.
#[derive(Clone, Copy)]
pub(crate) struct Group {
    /// The lowest byte, as members count, and how many bytes there are.
    pub(crate) low: i64,
    pub(crate) span: i64,
    /// Some member writes.
    pub(crate) writes: bool,
    /// Which of the locals for groups it has.
    pub(crate) slot: usize,
    members: u32,
    /// What members are relative to, and the block of the first.
    key: Key,
    block: usize,
}

/// A member: its group and where in it.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    pub(crate) group: usize,
    pub(crate) offset: i64,
}

/// The members among an instruction's accesses: operand, stack.
type Members = [Option<Member>; 2];

/// A function's groups, and the members in each of its blocks.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) groups: Vec<Group>,
    members: Vec<Vec<Members>>,
}

impl Plan {
    /// The group an access of a block's instruction with this number belongs to.
    pub(crate) fn member(&self, block: usize, index: usize, address: Address<'_>) -> Option<Member> {
        let which = usize::from(!matches!(address, Address::Operand(_)));
        self.members.get(block)?.get(index)?[which].filter(|m| self.groups[m.group].members > 1)
    }

    /// The blocks that look at the TLB, each as often as it does, and the registers through which, not counting what is on
    /// the stack, where RBP may be a frame pointer.
    pub(crate) fn looks(&self, frames: bool) -> impl Iterator<Item = (usize, Set)> + '_ {
        let places = self.groups.iter().map(|g| (g.block, g.key.base));
        places.filter(move |&(_, base)| base != 4 && !(frames && base == 5)).map(|(block, base)| (block, 1 << base))
    }
}

/// What an address is relative to: registers and how often they had changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    base: usize,
    base_version: u32,
    index: usize,
    index_version: u32,
    index_delta: i64,
    scale: u32,
}

const NOWHERE: usize = 16;
const RIP: usize = 17;

impl Key {
    /// Whether the registers still hold what they did.
    fn holds(&self, version: &[u32; 18]) -> bool {
        version[self.base] == self.base_version && version[self.index] == self.index_version
    }
}

/// What is known at a place: how often each register has changed by more than a constant, what constants since have added,
/// and the groups that are relative to what registers hold.
#[derive(Clone, Default)]
struct State {
    version: [u32; 18],
    delta: [i64; 18],
    groups: Vec<usize>,
}

impl State {
    fn change(&mut self, registers: Set) {
        for register in (0..16).filter(|r| registers >> r & 1 != 0) {
            self.version[register] += 1;
            self.delta[register] = 0;
        }
    }
}

/// On the way through a function.
struct Tracker {
    block: usize,
    state: State,
    plan: Plan,
}

/// Finds the groups of a function. At the nodes of `entries`, which others than their predecessors lead to, nothing is known.
#[inline(never)]
pub(crate) fn plan(function: &Function, graph: &Graph, entries: &[usize]) -> Plan {
    let mut changes = Changes::new(function, graph, entries);
    let n = function.blocks.len();
    let plan = Plan { groups: Vec::new(), members: vec![Vec::new(); n] };
    let mut tracker = Tracker { block: NONE, state: State::default(), plan };
    let mut ends = vec![State::default(); n + 1];
    for &node in graph.sequence.iter().filter(|&&node| node < n) {
        tracker.block = node;
        tracker.state = match changes.since_dominator(node) {
            ALL => State::default(),
            changed => {
                let mut state = ends[graph.dominator[node]].clone();
                state.change(changed);
                state
            }
        };
        let mut members = Vec::with_capacity(function.blocks[node].insns.len());
        for insn in &function.blocks[node].insns {
            members.push(tracker.instruction(insn));
        }
        tracker.plan.members[node] = members;
        ends[node] = tracker.state.clone();
    }
    tracker.plan
}

impl Tracker {
    fn instruction(&mut self, insn: &Insn) -> Members {
        let mut members = [None, None];
        if !insn.calls_out {
            members[0] = self.operand(&insn.insn);
            members[1] = self.stack(&insn.insn);
        }
        self.follow(insn);
        members
    }

    fn key(&self, base: usize, index: usize, scale: u32) -> Key {
        let State { version, delta, .. } = &self.state;
        let (base_version, index_version, index_delta) = (version[base], version[index], delta[index]);
        Key { base, base_version, index, index_version, index_delta, scale }
    }

    fn operand(&mut self, insn: &Instruction) -> Option<Member> {
        if !(0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Memory) || touches_nothing(insn) {
            return None;
        }
        let (base, index) = (insn.memory_base(), insn.memory_index());
        if matches!(insn.memory_segment(), Register::FS | Register::GS) || base.size() == 4 || index.size() == 4 {
            return None;
        }
        let number = |register: Register| match register {
            Register::None => NOWHERE,
            Register::RIP => RIP,
            _ => register.full_register().number(),
        };
        let (base, index) = (number(base), number(index));
        if base == NOWHERE && index == NOWHERE {
            return None;
        }
        let key = self.key(base, index, insn.memory_index_scale());
        let offset = self.state.delta[base].wrapping_add(insn.memory_displacement64() as i64);
        let bytes = insn.memory_size().size() as i64;
        self.add(key, offset, bytes, writes_memory(insn))
    }

    fn stack(&mut self, insn: &Instruction) -> Option<Member> {
        let (register, offset, writes) = match insn.mnemonic() {
            M::Push | M::Call => (4, -8, true),
            M::Pop | M::Ret => (4, 0, false),
            M::Leave => (5, 0, false),
            _ => return None,
        };
        self.add(self.key(register, NOWHERE, 1), self.state.delta[register] + offset, 8, writes)
    }

    fn add(&mut self, key: Key, offset: i64, bytes: i64, writes: bool) -> Option<Member> {
        if !(1..=WIDEST as i64).contains(&bytes) {
            return None;
        }
        let end = offset.checked_add(bytes)?;
        let (block, groups) = (self.block, &mut self.plan.groups);
        let State { version, groups: open, .. } = &mut self.state;
        open.retain(|&g| groups[g].key.holds(version));
        for &at in open.iter().rev() {
            let group = &mut groups[at];
            if group.key != key {
                continue;
            }
            let (low, end) = (group.low.min(offset), end.max(group.low + group.span));
            let span = end.checked_sub(low)?;
            if span <= MOST {
                *group = Group { low, span, writes: group.writes | writes, members: group.members + 1, ..*group };
                return Some(Member { group: at, offset });
            }
        }
        let slot = (0..).find(|slot| open.iter().all(|&g| groups[g].slot != *slot))?;
        open.push(groups.len());
        groups.push(Group { low: offset, span: bytes, writes, slot, members: 1, key, block });
        Some(Member { group: groups.len() - 1, offset })
    }

    /// What the instruction does to registers.
    fn follow(&mut self, insn: &Insn) {
        let step = if insn.calls_out { None } else { step(&insn.insn) };
        let constant = step.map_or(0, |(register, _)| 1 << register);
        if let Some((register, by)) = step.filter(|_| insn.writes & constant != 0) {
            self.state.delta[register] = self.state.delta[register].wrapping_add(by);
        }
        self.state.change(insn.writes & ALL & !constant);
    }
}

/// The register an instruction changes by a constant.
pub(super) fn step(insn: &Instruction) -> Option<(usize, i64)> {
    let wide = insn.op0_kind() == OpKind::Register && insn.op0_register().is_gpr64();
    let number = || insn.op0_register().number();
    Some(match insn.mnemonic() {
        M::Push | M::Call => (4, -8),
        // A register that is popped is written too, unless it is RSP itself.
        M::Pop if insn.op0_register() != Register::RSP => (4, 8),
        M::Ret if insn.op_count() == 0 => (4, 8),
        M::Add if wide && insn.op1_kind() != OpKind::Register && insn.op1_kind() != OpKind::Memory => {
            (number(), insn.immediate(1) as i64)
        }
        M::Sub if wide && insn.op1_kind() != OpKind::Register && insn.op1_kind() != OpKind::Memory => {
            (number(), (insn.immediate(1) as i64).wrapping_neg())
        }
        M::Inc if wide => (number(), 1),
        M::Dec if wide => (number(), -1),
        M::Lea if wide && insn.memory_base() == insn.op0_register() && insn.memory_index() == Register::None => {
            (number(), insn.memory_displacement64() as i64)
        }
        _ => return None,
    })
}

/// Instructions whose memory operand is not one.
fn touches_nothing(insn: &Instruction) -> bool {
    matches!(
        insn.mnemonic(),
        M::Lea | M::Nop | M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 | M::Prefetchnta | M::Prefetchw
    )
}

fn writes_memory(insn: &Instruction) -> bool {
    insn.op0_kind() == OpKind::Memory
        && !matches!(
            insn.mnemonic(),
            M::Cmp | M::Test | M::Push | M::Call | M::Jmp | M::Bt | M::Mul | M::Imul | M::Div | M::Idiv
        )
        || insn.mnemonic() == M::Xchg
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::super::code::{Block, End, Target};
    use super::*;

    /// Loads RCX from eight bytes on from where RAX points, and the same from nearby.
    const LOAD: &[u8] = &[0x48, 0x8b, 0x48, 0x08];
    const LOAD_NEAR: &[u8] = &[0x48, 0x8b, 0x48, 0x10];
    /// Through RDX.
    const LOAD_OTHER: &[u8] = &[0x48, 0x8b, 0x4a, 0x08];
    const STORE: &[u8] = &[0x48, 0x89, 0x48, 0x08];
    const CHANGE: &[u8] = &[0x48, 0x89, 0xd0];
    const ADD_EIGHT: &[u8] = &[0x48, 0x83, 0xc0, 0x08];

    fn block(code: &[&[u8]], end: End) -> Block {
        let insn = |bytes: &&[u8]| {
            let insn = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
            let register = insn.op0_register();
            let writes = if register == Register::None { 0 } else { 1 << register.full_register().number() };
            Insn { insn, reads: 1, kills: 0, writes, may_exit: true, calls_out: false }
        };
        Block { at: 0, insns: code.iter().map(insn).collect(), end, of_callee: false }
    }

    fn to(block: usize) -> Target {
        Target::Block(block)
    }

    /// Which groups the last block's instructions are in, where the first leads to the second and third and both to it.
    fn last(code: [&[&[u8]]; 4], entries: &[usize]) -> Vec<Option<(usize, i64)>> {
        let ends = [End::Branch { taken: to(1), next: to(2) }, End::Jump(to(3)), End::Jump(to(3)), End::Return];
        let blocks: Vec<Block> = code.iter().zip(ends).map(|(code, end)| block(code, end)).collect();
        let function = Function { blocks, entries: vec![0], roots: 1 };
        let mut successors: Vec<Vec<usize>> = function.blocks.iter().map(Block::successors).collect();
        successors.push(entries.to_vec());
        let mut graph = Graph::new(successors);
        graph.structure();
        let plan = plan(&function, &graph, entries);
        let address = |i: usize| Address::Operand(&function.blocks[3].insns[i].insn);
        (0..code[3].len()).map(|i| plan.member(3, i, address(i)).map(|m| (m.group, m.offset))).collect()
    }

    #[test]
    fn what_a_block_looked_for_is_known_where_its_ways_meet() {
        assert_eq!(last([&[LOAD], &[], &[], &[LOAD_NEAR]], &[0]), [Some((0, 16))]);
        assert_eq!(last([&[LOAD], &[], &[], &[STORE, LOAD_NEAR]], &[0]), [Some((0, 8)), Some((0, 16))]);
    }

    #[test]
    fn a_register_that_changes_on_one_way_points_elsewhere() {
        assert_eq!(last([&[LOAD], &[CHANGE], &[], &[LOAD_NEAR]], &[0]), [None]);
        assert_eq!(last([&[LOAD], &[], &[ADD_EIGHT], &[LOAD_NEAR]], &[0]), [None]);
        assert_eq!(last([&[LOAD, CHANGE], &[], &[], &[LOAD_NEAR]], &[0]), [None]);
    }

    #[test]
    fn constants_added_where_there_is_one_way_are_followed() {
        assert_eq!(last([&[LOAD, ADD_EIGHT], &[], &[], &[LOAD]], &[0]), [Some((0, 16))]);
    }

    #[test]
    fn where_a_function_is_entered_nothing_is_known_nor_after() {
        assert_eq!(last([&[LOAD], &[], &[], &[LOAD_NEAR]], &[0, 3]), [None]);
        assert_eq!(last([&[LOAD], &[], &[], &[LOAD_NEAR]], &[0, 2]), [None]);
    }

    #[test]
    fn what_only_one_way_looked_for_is_not_known_after_it() {
        assert_eq!(last([&[], &[LOAD], &[], &[LOAD_NEAR]], &[0]), [None]);
    }

    #[test]
    fn a_local_is_free_for_others_when_its_group_cannot_be_asked_for_any_more() {
        let code: [&[&[u8]]; 3] = [&[LOAD, LOAD_NEAR], &[LOAD_OTHER, LOAD_OTHER, STORE], &[CHANGE, LOAD, LOAD_NEAR]];
        let ends = [End::Branch { taken: to(1), next: to(2) }, End::Return, End::Return];
        let blocks = code.iter().zip(ends).map(|(code, end)| block(code, end)).collect();
        let function = Function { blocks, entries: vec![0], roots: 1 };
        let mut graph = Graph::new(vec![vec![1, 2], vec![], vec![], vec![0]]);
        graph.structure();
        let plan = plan(&function, &graph, &[0]);
        let mut found: Vec<_> = plan.groups.iter().map(|g| (g.block, g.slot, g.members)).collect();
        found.sort_unstable();
        assert_eq!(found, [(0, 0, 3), (1, 1, 2), (2, 0, 2)]);
    }
}
