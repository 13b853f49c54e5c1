//! String instructions and their repetition.
//!
//! What always holds: a repeated instruction commits iteration by iteration, so whenever it stops (a fault, no fuel) RCX,
//! RSI and RDI say what is left, and RIP is still on it.

use super::alu::subtract;
use super::operand::{Int, by_width};
use crate::core::Core;
use crate::op::{Flow, Op, RAX, RCX, RDI, RSI, Run, Stop};
use crate::width::Width;
use aurora_machine::{PAGE_SIZE, UserContext};

/// `op.aux`: repeat while RCX lasts (and, if the instruction compares, ZF is set).
pub(crate) const REPEAT: u16 = 1;
/// `op.aux`: repeat while RCX lasts and, if the instruction compares, ZF is clear.
pub(crate) const REPEAT_NOT: u16 = 2;
/// `op.aux`: addresses and count have 32 bits.
pub(crate) const NARROW: u16 = 4;

/// One iteration.
pub(crate) trait Element: 'static {
    /// It sets flags, which may end a repetition.
    const COMPARES: bool = false;
    fn once<W: Int>(core: &mut Core, op: &Op) -> Flow;
    /// Does several iterations at once if that is simple, at most `most`; returns how many.
    #[inline(always)]
    fn several<W: Int>(_: &mut Core, _: &Op, _most: u64) -> u64 {
        0
    }
}

fn pointer(core: &Core, op: &Op, reg: u8) -> u64 {
    if op.aux & NARROW != 0 { core.reg::<u32>(reg) } else { core.get(reg) }
}

fn set_pointer(core: &mut Core, op: &Op, reg: u8, value: u64) {
    if op.aux & NARROW != 0 { core.set_reg::<u32>(reg, value) } else { core.set(reg, value) }
}

fn advance<W: Width>(core: &mut Core, op: &Op, reg: u8) {
    let back = core.control_flags & UserContext::DIRECTION_FLAG != 0;
    let step = if back { W::BYTES.wrapping_neg() } else { W::BYTES };
    let value = pointer(core, op, reg).wrapping_add(step);
    set_pointer(core, op, reg, value);
}

/// Where RSI points, in the segment of the instruction.
fn source(core: &Core, op: &Op) -> u64 {
    core.get(op.base).wrapping_add(pointer(core, op, RSI))
}

/// Elements of `W` from `addr` to the end of its page, in the direction of growing addresses.
fn room<W: Width>(addr: u64) -> u64 {
    (PAGE_SIZE - addr % PAGE_SIZE) / W::BYTES
}

fn forward(core: &Core, op: &Op) -> bool {
    core.control_flags & UserContext::DIRECTION_FLAG == 0 && op.aux & NARROW == 0
}

/// `MOVS`.
pub(crate) struct Movs;
impl Element for Movs {
    fn once<W: Int>(core: &mut Core, op: &Op) -> Flow {
        let value = core.load_int::<W>(op, source(core, op))?;
        core.store(op, pointer(core, op, RDI), W::truncate(value))?;
        advance::<W>(core, op, RSI);
        advance::<W>(core, op, RDI);
        Ok(())
    }
    fn several<W: Int>(core: &mut Core, op: &Op, most: u64) -> u64 {
        let (from, to) = (source(core, op), core.get(RDI));
        let count = most.min(room::<W>(from)).min(room::<W>(to));
        if !forward(core, op) || count == 0 {
            return 0;
        }
        let bytes = count * W::BYTES;
        let (Some(source), Some(target)) =
            (core.tlb.read(from, bytes, core.asid), core.tlb.write(to, bytes, core.asid))
        else {
            return 0;
        };
        // An overlap upwards spreads what was just written, which a copy of the whole would not.
        let distance = (target as usize).wrapping_sub(source as usize);
        if distance < bytes as usize {
            return 0;
        }
        // SAFETY: the TLB has both pages and the ranges stay inside them.
        unsafe { target.copy_from(source, bytes as usize) };
        core.set(RSI, core.get(RSI).wrapping_add(bytes));
        core.set(RDI, to.wrapping_add(bytes));
        count
    }
}

/// `STOS`.
pub(crate) struct Stos;
impl Element for Stos {
    fn once<W: Int>(core: &mut Core, op: &Op) -> Flow {
        let value = core.reg::<W>(RAX);
        core.store(op, pointer(core, op, RDI), W::truncate(value))?;
        advance::<W>(core, op, RDI);
        Ok(())
    }
    fn several<W: Int>(core: &mut Core, op: &Op, most: u64) -> u64 {
        let to = core.get(RDI);
        let count = most.min(room::<W>(to));
        if !forward(core, op) || count == 0 {
            return 0;
        }
        let Some(target) = core.tlb.write(to, count * W::BYTES, core.asid) else { return 0 };
        let value = W::truncate(core.reg::<W>(RAX));
        for i in 0..count as usize {
            // SAFETY: the TLB has the page and the elements stay inside it.
            unsafe { target.cast::<W>().add(i).write_unaligned(value) };
        }
        core.set(RDI, to.wrapping_add(count * W::BYTES));
        count
    }
}

/// `LODS`.
pub(crate) struct Lods;
impl Element for Lods {
    fn once<W: Int>(core: &mut Core, op: &Op) -> Flow {
        let value = core.load_int::<W>(op, source(core, op))?;
        core.set_reg::<W>(RAX, value);
        advance::<W>(core, op, RSI);
        Ok(())
    }
}

/// `CMPS`.
pub(crate) struct Cmps;
impl Element for Cmps {
    const COMPARES: bool = true;
    fn once<W: Int>(core: &mut Core, op: &Op) -> Flow {
        let a = core.load_int::<W>(op, source(core, op))?;
        let b = core.load_int::<W>(op, pointer(core, op, RDI))?;
        subtract::<W>(&mut core.flags, a, b, 0);
        advance::<W>(core, op, RSI);
        advance::<W>(core, op, RDI);
        Ok(())
    }
}

/// `SCAS`.
pub(crate) struct Scas;
impl Element for Scas {
    const COMPARES: bool = true;
    fn once<W: Int>(core: &mut Core, op: &Op) -> Flow {
        let b = core.load_int::<W>(op, pointer(core, op, RDI))?;
        let a = core.reg::<W>(RAX);
        subtract::<W>(&mut core.flags, a, b, 0);
        advance::<W>(core, op, RDI);
        Ok(())
    }
}

fn once<W: Int, E: Element>(core: &mut Core, op: &Op) -> Flow {
    E::once::<W>(core, op)
}

fn repeated<W: Int, E: Element>(core: &mut Core, op: &Op) -> Flow {
    // The instruction itself has been paid for: one iteration more than there is fuel.
    let most = core.fuel.saturating_add(1);
    let mut done = 0;
    loop {
        let left = pointer(core, op, RCX);
        if left == 0 {
            break;
        }
        if done == most {
            core.fuel -= done - 1;
            return Err(Stop::Fuel);
        }
        let mut now = E::several::<W>(core, op, left.min(most - done));
        if now == 0 {
            if let Err(stop) = E::once::<W>(core, op) {
                core.fuel -= done;
                return Err(stop);
            }
            now = 1;
        }
        done += now;
        set_pointer(core, op, RCX, left - now);
        if E::COMPARES && core.flags.zf() != (op.aux & REPEAT != 0) {
            break;
        }
    }
    core.fuel -= u64::max(done, 1) - 1;
    Ok(())
}

/// The handler of `E` with elements of `size` bytes, repeated or not.
pub(crate) fn string_handler<E: Element>(repeat: bool, size: usize) -> Run {
    if repeat { by_width!(size, repeated, E) } else { by_width!(size, once, E) }
}
