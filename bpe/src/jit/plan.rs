//! Which accesses of a block share a look at the TLB: those at constant distances from one another.
//!
//! What always holds: a group's members are relative to the same value of the same registers, and its range, at most
//! [`MOST`] bytes, covers them all. Mappings do not change while translated code runs, so what was found for the range at
//! the first member holds for the others.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};

use super::WIDEST;
use super::code::{Block, Insn, Set};

/// Most bytes a group spans.
const MOST: i64 = 512;

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
#[derive(Clone, Copy, Default)]
pub(crate) struct Group {
    /// The lowest byte, as members count, and how many bytes there are.
    pub(crate) low: i64,
    pub(crate) span: i64,
    /// Some member writes.
    pub(crate) writes: bool,
    members: u32,
    /// The register they count from.
    base: usize,
}

/// A member: its group and where in it.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    pub(crate) group: usize,
    pub(crate) offset: i64,
}

/// A block's groups, and the members among each instruction's accesses: operand, stack.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) groups: Vec<Group>,
    pub(crate) members: Vec<[Option<Member>; 2]>,
}

impl Plan {
    /// How often the block looks at the TLB, not counting what is on the stack, where RBP may be a frame pointer, nor what
    /// is reached through one of `others`.
    pub(crate) fn looks(&self, frames: bool, others: Set) -> usize {
        let counts = |g: &&Group| g.base != 4 && !(frames && g.base == 5) && others >> g.base & 1 == 0;
        self.groups.iter().filter(counts).count()
    }
}

/// What an address is relative to: registers and how often they had changed.
type Key = (usize, u32, usize, u32, i64, u32);

const NOWHERE: usize = 16;
const RIP: usize = 17;

/// What is known of registers on the way through a block.
struct Tracker {
    version: [u32; 18],
    delta: [i64; 18],
    open: BTreeMap<Key, usize>,
    plan: Plan,
}

/// Finds the groups of a block.
pub(crate) fn plan(block: &Block) -> Plan {
    let mut tracker = Tracker { version: [0; 18], delta: [0; 18], open: BTreeMap::new(), plan: Plan::default() };
    for insn in &block.insns {
        tracker.instruction(insn);
    }
    let mut plan = tracker.plan;
    // One alone is looked up where it is.
    for member in plan.members.iter_mut().flatten() {
        *member = member.filter(|m| plan.groups[m.group].members > 1);
    }
    plan
}

impl Tracker {
    fn instruction(&mut self, insn: &Insn) {
        let mut members = [None, None];
        if !insn.calls_out {
            members[0] = self.operand(&insn.insn);
            members[1] = self.stack(&insn.insn);
        }
        self.plan.members.push(members);
        self.follow(insn);
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
        let key = (base, self.version[base], index, self.version[index], self.delta[index], insn.memory_index_scale());
        let offset = self.delta[base].wrapping_add(insn.memory_displacement64() as i64);
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
        let key = (register, self.version[register], NOWHERE, 0, 0, 1);
        self.add(key, self.delta[register] + offset, 8, writes)
    }

    fn add(&mut self, key: Key, offset: i64, bytes: i64, writes: bool) -> Option<Member> {
        if !(1..=WIDEST as i64).contains(&bytes) {
            return None;
        }
        if let Some(&at) = self.open.get(&key) {
            let group = &mut self.plan.groups[at];
            let low = group.low.min(offset);
            let end = (group.low + group.span).max(offset.checked_add(bytes)?);
            if end.checked_sub(low)? <= MOST {
                *group =
                    Group { low, span: end - low, writes: group.writes | writes, members: group.members + 1, ..*group };
                return Some(Member { group: at, offset });
            }
        }
        let at = self.plan.groups.len();
        self.plan.groups.push(Group { low: offset, span: bytes, writes, members: 1, base: key.0 });
        self.open.insert(key, at);
        Some(Member { group: at, offset })
    }

    /// What the instruction does to registers.
    fn follow(&mut self, insn: &Insn) {
        let step = if insn.calls_out { None } else { step(&insn.insn) };
        for register in 0..16 {
            if insn.writes >> register & 1 == 0 {
                continue;
            }
            match step {
                Some((which, by)) if which == register => {
                    self.delta[register] = self.delta[register].wrapping_add(by);
                }
                _ => {
                    self.version[register] += 1;
                    self.delta[register] = 0;
                }
            }
        }
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
