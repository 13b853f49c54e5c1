//! Jumps, calls, returns and loops.
//!
//! What always holds: a branch stops with a link only if the target begins in the same page as its block. A branch to a
//! non-canonical address faults itself, with nothing done.

use alloc::vec::Vec;

use aurora_machine::{Access, PAGE_SIZE, VirtAddr};

use super::alu::{And, Binary, Sub};
use super::operand::{Dst, Imm, Int, Mem, Source, Src, by_width};
use super::transfer::by_condition;
use crate::core::Core;
use crate::flags::Flags;
use crate::lower::{Form, blank};
use crate::op::{Flow, Op, RCX, Run, Stop};
use crate::width::Width;

#[inline(always)]
fn go(core: &mut Core, offset: u64, link: Stop) -> Flow {
    core.rip = core.page().wrapping_add(offset);
    if offset < PAGE_SIZE {
        return Err(link);
    }
    Err(Stop::Jump)
}

/// To the target of a direct branch, which may be non-canonical at the ends of the address space.
#[inline(always)]
fn take(core: &mut Core, op: &Op) -> Flow {
    if op.imm >= PAGE_SIZE && !VirtAddr(core.page().wrapping_add(op.imm)).is_canonical() {
        return Err(core.general_protection());
    }
    go(core, op.imm, Stop::Link0)
}

#[inline(always)]
fn not_taken(core: &mut Core, op: &Op) -> Flow {
    go(core, op.next(), Stop::Link1)
}

fn indirect(core: &mut Core, target: u64) -> Flow {
    if !VirtAddr(target).is_canonical() {
        return Err(core.general_protection());
    }
    core.rip = target;
    Err(Stop::Jump)
}

/// Ends a block whose last instruction goes on with the next one, at page offset `next`.
pub(crate) fn lower_fall_through(ops: &mut Vec<Op>, next: u16, count: u8) {
    ops.push(Op { imm: u64::from(next), ip: next, count, ..blank(fall_through) });
}

fn fall_through(core: &mut Core, op: &Op) -> Flow {
    go(core, op.imm, Stop::Link0)
}

pub(crate) fn jmp(core: &mut Core, op: &Op) -> Flow {
    take(core, op)
}

pub(crate) fn jmp_indirect<S: Source>(core: &mut Core, op: &Op) -> Flow {
    let target = S::get::<u64>(core, op)?;
    indirect(core, target)
}

fn jcc<const CC: u8>(core: &mut Core, op: &Op) -> Flow {
    if core.flags.condition::<CC>() { take(core, op) } else { not_taken(core, op) }
}

/// `Jcc`.
pub(crate) fn jcc_handler(cc: u8) -> Run {
    by_condition!(cc, jcc)
}

/// A call to a non-canonical address: the stack is tried first.
#[cold]
fn refused_call(core: &mut Core, op: &Op) -> Stop {
    let top = core.rsp().wrapping_sub(8);
    match core.span(op, top, 8, Access::Write) {
        Ok(_) => core.general_protection(),
        Err(stop) => core.stack_stop(stop),
    }
}

pub(crate) fn call(core: &mut Core, op: &Op) -> Flow {
    let target = core.page().wrapping_add(op.imm);
    if op.imm >= PAGE_SIZE && !VirtAddr(target).is_canonical() {
        return Err(refused_call(core, op));
    }
    let back = core.page().wrapping_add(op.next());
    core.push::<u64>(op, back)?;
    go(core, op.imm, Stop::Link0)
}

pub(crate) fn call_indirect<S: Source>(core: &mut Core, op: &Op) -> Flow {
    let target = S::get::<u64>(core, op)?;
    if !VirtAddr(target).is_canonical() {
        return Err(refused_call(core, op));
    }
    let back = core.page().wrapping_add(op.next());
    core.push::<u64>(op, back)?;
    core.rip = target;
    Err(Stop::Jump)
}

/// `RET`, releasing `op.imm` bytes of arguments.
pub(crate) fn ret(core: &mut Core, op: &Op) -> Flow {
    let target = core.top::<u64>(op)?;
    if !VirtAddr(target).is_canonical() {
        return Err(core.general_protection());
    }
    let rsp = core.rsp().wrapping_add(8).wrapping_add(op.imm);
    core.set(crate::op::RSP, rsp);
    core.rip = target;
    Err(Stop::Jump)
}

/// `JRCXZ` and `JECXZ`.
fn jump_if_rcx_zero<W: Int>(core: &mut Core, op: &Op) -> Flow {
    if core.reg::<W>(RCX) == 0 { take(core, op) } else { not_taken(core, op) }
}

/// `LOOP`, `LOOPE` and `LOOPNE`: `op.aux` is 0, or 1 to want ZF, or 2 to want it clear.
pub(crate) fn loop_rcx<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let count = core.reg::<W>(RCX).wrapping_sub(1) & W::MASK;
    let wanted = match op.aux {
        0 => true,
        aux => core.flags.zf() == (aux == 1),
    };
    let taken = count != 0 && wanted;
    if taken && op.imm >= PAGE_SIZE && !VirtAddr(core.page().wrapping_add(op.imm)).is_canonical() {
        return Err(core.general_protection());
    }
    core.set_reg::<W>(RCX, count);
    if taken { go(core, op.imm, Stop::Link0) } else { not_taken(core, op) }
}

/// A comparison whose flags a condition can be told from without working out the flags.
trait Fused: Binary {
    fn condition<W: Width, const CC: u8>(a: u64, b: u64, flags: Flags) -> bool;
}

impl Fused for Sub {
    #[inline(always)]
    fn condition<W: Width, const CC: u8>(a: u64, b: u64, flags: Flags) -> bool {
        let signed = |v| W::sign_extend(v) as i64;
        match CC {
            2 => a < b,
            3 => a >= b,
            4 => a == b,
            5 => a != b,
            6 => a <= b,
            7 => a > b,
            12 => signed(a) < signed(b),
            13 => signed(a) >= signed(b),
            14 => signed(a) <= signed(b),
            15 => signed(a) > signed(b),
            _ => flags.condition::<CC>(),
        }
    }
}

impl Fused for And {
    #[inline(always)]
    fn condition<W: Width, const CC: u8>(a: u64, b: u64, flags: Flags) -> bool {
        let signed = W::sign_extend(a & b) as i64;
        match CC {
            4 | 6 => signed == 0,
            5 | 7 => signed != 0,
            8 | 12 => signed < 0,
            9 | 13 => signed >= 0,
            14 => signed <= 0,
            15 => signed > 0,
            _ => flags.condition::<CC>(),
        }
    }
}

/// A comparison and the conditional jump after it. `op.aux` is the jump's own length.
fn compare_and_jump<W: Int, O: Fused, P: Source, S: Source, const CC: u8>(core: &mut Core, op: &Op) -> Flow {
    let b = S::get::<W>(core, op)?;
    let a = P::get::<W>(core, op)?;
    O::apply::<W>(&mut core.flags, a, b);
    let target = i64::from(op.aux as i16) as u64;
    if O::condition::<W, CC>(a, b, core.flags) {
        go(core, target, Stop::Link0)
    } else {
        go(core, op.next(), Stop::Link1)
    }
}

macro_rules! fused {
    ($cc:expr, $w:ty, $o:ty, $p:ty, $s:ty) => {
        match $cc {
            2 => compare_and_jump::<$w, $o, $p, $s, 2> as Run,
            3 => compare_and_jump::<$w, $o, $p, $s, 3>,
            4 => compare_and_jump::<$w, $o, $p, $s, 4>,
            5 => compare_and_jump::<$w, $o, $p, $s, 5>,
            6 => compare_and_jump::<$w, $o, $p, $s, 6>,
            7 => compare_and_jump::<$w, $o, $p, $s, 7>,
            8 => compare_and_jump::<$w, $o, $p, $s, 8>,
            9 => compare_and_jump::<$w, $o, $p, $s, 9>,
            12 => compare_and_jump::<$w, $o, $p, $s, 12>,
            13 => compare_and_jump::<$w, $o, $p, $s, 13>,
            14 => compare_and_jump::<$w, $o, $p, $s, 14>,
            15 => compare_and_jump::<$w, $o, $p, $s, 15>,
            _ => return None,
        }
    };
}

macro_rules! fused_by_width {
    ($size:expr, $cc:expr, $o:ty, $p:ty, $s:ty) => {
        match $size {
            1 => fused!($cc, u8, $o, $p, $s),
            4 => fused!($cc, u32, $o, $p, $s),
            8 => fused!($cc, u64, $o, $p, $s),
            _ => return None,
        }
    };
}

/// `CMP` and `Jcc` as one op, for the conditions and sizes that are common.
pub(crate) fn compare_jump_handler(form: Form, size: usize, cc: u8) -> Option<Run> {
    Some(match form {
        Form::RegReg => fused_by_width!(size, cc, Sub, Dst, Src),
        Form::RegImm => fused_by_width!(size, cc, Sub, Dst, Imm),
        Form::MemImm => fused_by_width!(size, cc, Sub, Mem, Imm),
        Form::RegMem => fused_by_width!(size, cc, Sub, Dst, Mem),
        Form::MemReg => fused_by_width!(size, cc, Sub, Mem, Src),
    })
}

/// `TEST` and `Jcc` as one op.
pub(crate) fn test_jump_handler(form: Form, size: usize, cc: u8) -> Option<Run> {
    Some(match form {
        Form::RegReg => fused_by_width!(size, cc, And, Dst, Src),
        Form::RegImm => fused_by_width!(size, cc, And, Dst, Imm),
        Form::MemImm => fused_by_width!(size, cc, And, Mem, Imm),
        _ => return None,
    })
}

/// The handlers of an indirect jump or call.
pub(crate) fn jump_handler(memory: bool) -> Run {
    if memory { jmp_indirect::<Mem> } else { jmp_indirect::<Dst> }
}

/// See [`jump_handler`].
pub(crate) fn call_handler(memory: bool) -> Run {
    if memory { call_indirect::<Mem> } else { call_indirect::<Dst> }
}

/// `JRCXZ` by address size.
pub(crate) fn jump_if_rcx_zero_handler(size: usize) -> Run {
    by_width!(size, jump_if_rcx_zero)
}
