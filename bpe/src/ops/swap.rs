//! Exchanges: what LOCK is for. One processor runs at a time, and a trap never falls between the read and the write, so
//! the prefix needs nothing more.

use super::alu::subtract;
use super::operand::{Dst, Int, Mem, Place, by_width};
use crate::core::Core;
use crate::op::{Flow, Op, RAX, RBX, RCX, RDX, Run};

fn xchg<W: Int, P: Place>(core: &mut Core, op: &Op) -> Flow {
    let new = core.reg::<W>(op.src);
    let mut old = 0;
    P::update::<W>(core, op, |_, value| {
        old = value;
        new
    })?;
    core.set_reg::<W>(op.src, old);
    Ok(())
}

/// `XCHG` of `op.src` with a register or memory.
pub(crate) fn xchg_handler(memory: bool, size: usize) -> Run {
    if memory { by_width!(size, xchg, Mem) } else { by_width!(size, xchg, Dst) }
}

fn xadd<W: Int, P: Place>(core: &mut Core, op: &Op) -> Flow {
    let addend = core.reg::<W>(op.src);
    let mut old = 0;
    let mut sum = 0;
    P::update::<W>(core, op, |core, value| {
        old = value;
        sum = super::alu::add::<W>(&mut core.flags, value, addend, 0);
        sum
    })?;
    // The sum goes last: with both operands the same register it wins.
    core.set_reg::<W>(op.src, old);
    if P::IS_REGISTER {
        core.set_reg::<W>(op.dst, sum);
    }
    Ok(())
}

/// `XADD`.
pub(crate) fn xadd_handler(memory: bool, size: usize) -> Run {
    if memory { by_width!(size, xadd, Mem) } else { by_width!(size, xadd, Dst) }
}

fn cmpxchg<W: Int, P: Place>(core: &mut Core, op: &Op) -> Flow {
    let expected = core.reg::<W>(RAX);
    let new = core.reg::<W>(op.src);
    let mut old = 0;
    let mut equal = false;
    if P::IS_REGISTER {
        old = P::get::<W>(core, op)?;
        equal = old == expected;
        // Only the side that changes is written: the other keeps its upper half.
        if equal {
            P::put::<W>(core, op, new)?;
        }
    } else {
        P::update::<W>(core, op, |_, value| {
            old = value;
            equal = old == expected;
            if equal { new } else { old }
        })?;
    }
    subtract::<W>(&mut core.flags, expected, old, 0);
    if !equal {
        core.set_reg::<W>(RAX, old);
    }
    Ok(())
}

/// `CMPXCHG`.
pub(crate) fn cmpxchg_handler(memory: bool, size: usize) -> Run {
    if memory { by_width!(size, cmpxchg, Mem) } else { by_width!(size, cmpxchg, Dst) }
}

/// `CMPXCHG8B`.
pub(crate) fn cmpxchg8b(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    let expected = core.reg::<u32>(RDX) << 32 | core.reg::<u32>(RAX);
    let new = core.reg::<u32>(RCX) << 32 | core.reg::<u32>(RBX);
    let mut old = 0;
    core.modify::<u64>(op, addr, |_, value| {
        old = value;
        if value == expected { new } else { value }
    })?;
    core.flags.set_zf(old == expected);
    if old != expected {
        core.set_reg::<u32>(RAX, old & 0xffff_ffff);
        core.set_reg::<u32>(RDX, old >> 32);
    }
    Ok(())
}

/// `CMPXCHG16B`: the operand must be aligned.
pub(crate) fn cmpxchg16b(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    if addr & 15 != 0 {
        return Err(core.general_protection());
    }
    let span = core.span(op, addr, 16, aurora_machine::Access::Write)?;
    let mut bytes = [0; 16];
    span.read(&mut bytes);
    let old = u128::from_le_bytes(bytes);
    let pair = |core: &Core, high, low| u128::from(core.get(high)) << 64 | u128::from(core.get(low));
    let equal = old == pair(core, RDX, RAX);
    if equal {
        span.write(&pair(core, RCX, RBX).to_le_bytes());
    } else {
        core.set(RAX, old as u64);
        core.set(RDX, (old >> 64) as u64);
    }
    core.flags.set_zf(equal);
    Ok(())
}
