//! Moves, extensions, address arithmetic, conditional moves and sets.

use super::operand::{Dst, Imm, Int, Mem, Place, Source, Src, by_width};
use crate::core::Core;
use crate::lower::Form;
use crate::op::{Flow, Op, RAX, RDX, Run};
use crate::width::Width;

fn mov<W: Int, P: Place, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let value = S::get::<W>(core, op)?;
    P::put::<W>(core, op, value)
}

/// `MOV` with operands of `size` bytes.
pub(crate) fn mov_handler(form: Form, size: usize) -> Run {
    match form {
        Form::RegReg => by_width!(size, mov, Dst, Src),
        Form::RegMem => by_width!(size, mov, Dst, Mem),
        Form::MemReg => by_width!(size, mov, Mem, Src),
        Form::RegImm => by_width!(size, mov, Dst, Imm),
        Form::MemImm => by_width!(size, mov, Mem, Imm),
    }
}

fn zero_extend<W: Int, V: Int, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let value = S::get::<V>(core, op)?;
    Dst::put::<W>(core, op, value)
}
fn sign_extend<W: Int, V: Int, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let value = V::sign_extend(S::get::<V>(core, op)?);
    Dst::put::<W>(core, op, value)
}

/// `MOVZX` from `from` bytes to `to` bytes.
pub(crate) fn zero_extend_handler(memory: bool, to: usize, from: usize) -> Run {
    match (memory, from) {
        (false, 1) => by_width!(to, zero_extend, u8, Src),
        (false, _) => by_width!(to, zero_extend, u16, Src),
        (true, 1) => by_width!(to, zero_extend, u8, Mem),
        (true, _) => by_width!(to, zero_extend, u16, Mem),
    }
}

/// `MOVSX` and `MOVSXD` from `from` bytes to `to` bytes.
pub(crate) fn sign_extend_handler(memory: bool, to: usize, from: usize) -> Run {
    match (memory, from) {
        (false, 1) => by_width!(to, sign_extend, u8, Src),
        (false, 2) => by_width!(to, sign_extend, u16, Src),
        (false, _) => by_width!(to, sign_extend, u32, Src),
        (true, 1) => by_width!(to, sign_extend, u8, Mem),
        (true, 2) => by_width!(to, sign_extend, u16, Mem),
        (true, _) => by_width!(to, sign_extend, u32, Mem),
    }
}

/// `LEA`.
pub(crate) fn lea<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    core.set_reg::<W>(op.dst, addr);
    Ok(())
}

/// Puts the address plus `op.imm`, of 32 bits if `W` says so, into `op.dst`: the first op of an instruction whose address
/// has more parts than an op.
pub(crate) fn partial_address<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op).wrapping_add(op.imm) & W::MASK;
    core.set(op.dst, addr.wrapping_add(core.get(op.src)));
    Ok(())
}

/// Puts `op.imm` plus the slot `op.aux` plus the segment base `op.src` into `op.dst`: the same for far constants.
pub(crate) fn partial_constant(core: &mut Core, op: &Op) -> Flow {
    let addr = core.get(op.aux as u8).wrapping_add(op.imm);
    core.set(op.dst, core.get(op.src).wrapping_add(addr));
    Ok(())
}

/// The same with 32-bit arithmetic before the segment base.
pub(crate) fn partial_constant_narrow(core: &mut Core, op: &Op) -> Flow {
    let addr = core.get(op.aux as u8).wrapping_add(op.imm) & 0xffff_ffff;
    core.set(op.dst, core.get(op.src).wrapping_add(addr));
    Ok(())
}

fn cmov<W: Int, S: Source, const CC: u8>(core: &mut Core, op: &Op) -> Flow {
    // The source is read, and a 32-bit destination zero-extended, whatever the condition.
    let value = S::get::<W>(core, op)?;
    let value = if core.flags.condition::<CC>() { value } else { core.reg::<W>(op.dst) };
    Dst::put::<W>(core, op, value)
}

fn setcc<P: Place, const CC: u8>(core: &mut Core, op: &Op) -> Flow {
    let value = u64::from(core.flags.condition::<CC>());
    P::put::<u8>(core, op, value)
}

/// `f` compiled for each of the sixteen conditions.
macro_rules! by_condition {
    ($cc:expr, $f:ident $(, $t:ty)*) => {
        match $cc {
            0 => $f::<$($t,)* 0> as $crate::op::Run,
            1 => $f::<$($t,)* 1>,
            2 => $f::<$($t,)* 2>,
            3 => $f::<$($t,)* 3>,
            4 => $f::<$($t,)* 4>,
            5 => $f::<$($t,)* 5>,
            6 => $f::<$($t,)* 6>,
            7 => $f::<$($t,)* 7>,
            8 => $f::<$($t,)* 8>,
            9 => $f::<$($t,)* 9>,
            10 => $f::<$($t,)* 10>,
            11 => $f::<$($t,)* 11>,
            12 => $f::<$($t,)* 12>,
            13 => $f::<$($t,)* 13>,
            14 => $f::<$($t,)* 14>,
            _ => $f::<$($t,)* 15>,
        }
    };
}
pub(crate) use by_condition;

/// `CMOVcc`.
pub(crate) fn cmov_handler(memory: bool, size: usize, cc: u8) -> Run {
    match (memory, size) {
        (false, 2) => by_condition!(cc, cmov, u16, Src),
        (false, 4) => by_condition!(cc, cmov, u32, Src),
        (false, _) => by_condition!(cc, cmov, u64, Src),
        (true, 2) => by_condition!(cc, cmov, u16, Mem),
        (true, 4) => by_condition!(cc, cmov, u32, Mem),
        (true, _) => by_condition!(cc, cmov, u64, Mem),
    }
}

/// `SETcc`.
pub(crate) fn setcc_handler(memory: bool, cc: u8) -> Run {
    if memory { by_condition!(cc, setcc, Mem) } else { by_condition!(cc, setcc, Dst) }
}

/// `CBW`, `CWDE`, `CDQE`: RAX from its lower half.
pub(crate) fn extend_accumulator<W: Int, V: Int>(core: &mut Core, _: &Op) -> Flow {
    let value = V::sign_extend(core.reg::<V>(RAX));
    core.set_reg::<W>(RAX, value);
    Ok(())
}

/// `CWD`, `CDQ`, `CQO`: RDX from the sign of RAX.
pub(crate) fn extend_into_rdx<W: Int>(core: &mut Core, _: &Op) -> Flow {
    let sign = core.reg::<W>(RAX) & W::SIGN != 0;
    core.set_reg::<W>(RDX, if sign { u64::MAX } else { 0 });
    Ok(())
}

/// `BSWAP`; of a 16-bit register, where it is undefined, it clears it as silicon does.
pub(crate) fn bswap<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let value = match W::BITS {
        16 => 0,
        _ => swapped::<W>(core.reg::<W>(op.dst)),
    };
    core.set_reg::<W>(op.dst, value);
    Ok(())
}

/// `MOVBE`.
pub(crate) fn movbe<W: Int, P: Place, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let value = swapped::<W>(S::get::<W>(core, op)?);
    P::put::<W>(core, op, value)
}

fn swapped<W: Width>(value: u64) -> u64 {
    value.swap_bytes() >> (64 - W::BITS)
}

/// `XLAT`: AL from the table at RBX.
pub(crate) fn xlat(core: &mut Core, op: &Op) -> Flow {
    let offset = core.get(op.base).wrapping_add(core.reg::<u8>(RAX));
    let offset = if op.attributes & Op::NARROW != 0 { offset & 0xffff_ffff } else { offset };
    let addr = core.get(op.index).wrapping_add(offset);
    let value = core.load_int::<u8>(op, addr)?;
    core.set_reg::<u8>(RAX, value);
    Ok(())
}
