//! Moves between vector registers, memory and general-purpose registers.

use super::lanes::lane;
use super::shuffle;
use crate::core::Core;
use crate::op::{Flow, Op, RDI};
use crate::width::{Plain, Width};
use aurora_machine::Access;

pub(crate) fn load_unaligned(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    let value = core.load::<u128>(op, addr)?;
    core.set_xmm(op.dst, value);
    Ok(())
}

pub(crate) fn store_unaligned(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    core.store(op, addr, core.xmm(op.src))
}

pub(crate) fn load_aligned(core: &mut Core, op: &Op) -> Flow {
    let value = core.load_aligned(op)?;
    core.set_xmm(op.dst, value);
    Ok(())
}

pub(crate) fn store_aligned(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    if addr & 15 != 0 {
        return Err(core.misaligned());
    }
    core.store(op, addr, core.xmm(op.src))
}

pub(crate) fn copy(core: &mut Core, op: &Op) -> Flow {
    core.set_xmm(op.dst, core.xmm(op.src));
    Ok(())
}

/// Loads a scalar, clearing the rest: `MOVD`, `MOVQ`, `MOVSS`, `MOVSD` from memory.
pub(crate) fn load_scalar<W: Width + Plain>(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    let value = core.load_int::<W>(op, addr)?;
    core.set_xmm(op.dst, u128::from(value));
    Ok(())
}

/// Stores the low bits.
pub(crate) fn store_scalar<W: Width + Plain>(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    core.store(op, addr, W::truncate(core.xmm(op.src) as u64))
}

/// Stores the upper half: `MOVHPS`, `MOVHPD`.
pub(crate) fn store_high(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    core.store(op, addr, (core.xmm(op.src) >> 64) as u64)
}

/// `MOVSD` between registers: the upper half stays.
pub(crate) fn merge_low8(core: &mut Core, op: &Op) -> Flow {
    core.set_xmm_low(op.dst, core.xmm(op.src), 64);
    Ok(())
}

pub(crate) fn from_gpr<W: Width>(core: &mut Core, op: &Op) -> Flow {
    core.set_xmm(op.dst, u128::from(core.reg::<W>(op.src)));
    Ok(())
}

pub(crate) fn to_gpr<W: Width>(core: &mut Core, op: &Op) -> Flow {
    core.set_reg::<W>(op.dst, core.xmm(op.src) as u64);
    Ok(())
}

/// The sign bits of lanes of `op.aux` bytes, into a general-purpose register.
pub(crate) fn move_mask(core: &mut Core, op: &Op) -> Flow {
    let v = core.xmm(op.src);
    let bits = u32::from(op.aux) * 8;
    let mask = (0..128 / bits).fold(0, |mask, i| mask | (v >> (i * bits + bits - 1) & 1) << i);
    core.set(op.dst, mask as u64);
    Ok(())
}

pub(crate) fn byte_mask(core: &mut Core, op: &Op) -> Flow {
    let bytes = core.xmm(op.src).to_le_bytes();
    let mask = bytes.iter().enumerate().fold(0, |mask, (i, b)| mask | u64::from(b >> 7) << i);
    core.set(op.dst, mask);
    Ok(())
}

pub(crate) fn mmx_byte_mask(core: &mut Core, op: &Op) -> Flow {
    core.enter_mmx()?;
    let bytes = core.mmx(op.src).to_le_bytes();
    let mask = bytes.iter().enumerate().fold(0, |mask, (i, b)| mask | u64::from(b >> 7) << i);
    core.set(op.dst, mask);
    Ok(())
}

/// The lane of `W` that `op.imm` names.
fn extracted<W: Width>(v: u128, op: &Op) -> u64 {
    let at = op.imm as u32 % (128 / W::BITS);
    (v >> (at * W::BITS)) as u64 & W::MASK
}

/// `PEXTRx` and `EXTRACTPS` to a register, zero-extended.
pub(crate) fn extract<W: Width>(core: &mut Core, op: &Op) -> Flow {
    core.set(op.dst, extracted::<W>(core.xmm(op.src), op));
    Ok(())
}

/// The same to memory.
pub(crate) fn extract_to_memory<W: Width + Plain>(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    core.store(op, addr, W::truncate(extracted::<W>(core.xmm(op.src), op)))
}

/// `PEXTRW` from an MMX register.
pub(crate) fn mmx_extract(core: &mut Core, op: &Op) -> Flow {
    core.enter_mmx()?;
    let value = lane::<u16>(core.mmx(op.src).into(), op.imm as usize & 3);
    core.set(op.dst, value.into());
    Ok(())
}

/// `PINSRx` from a general-purpose register: `O` inserts.
pub(crate) fn insert<O: super::Vector>(core: &mut Core, op: &Op) -> Flow {
    let value = O::apply::<16>(core.xmm(op.dst), core.get(op.src).into(), op.imm as u8);
    core.set_xmm(op.dst, value);
    Ok(())
}

/// `PINSRW` into an MMX register.
pub(crate) fn mmx_insert(core: &mut Core, op: &Op) -> Flow {
    core.enter_mmx()?;
    let value =
        <shuffle::Pinsrw as super::Vector>::apply::<8>(core.mmx(op.dst).into(), core.get(op.src).into(), op.imm as u8);
    core.set_mmx(op.dst, value as u64);
    Ok(())
}

/// `PBLENDVB` and its kin between registers.
pub(crate) fn blend_reg(core: &mut Core, op: &Op) -> Flow {
    let value = shuffle::blend_variable(core.xmm(op.dst), core.xmm(op.src), core.xmm(0), op.aux);
    core.set_xmm(op.dst, value);
    Ok(())
}

/// The same from memory.
pub(crate) fn blend_mem(core: &mut Core, op: &Op) -> Flow {
    let b = core.load_aligned(op)?;
    let value = shuffle::blend_variable(core.xmm(op.dst), b, core.xmm(0), op.aux);
    core.set_xmm(op.dst, value);
    Ok(())
}

fn test_flags(core: &mut Core, a: u128, b: u128) {
    use crate::flags::{CF, Flags, ZF};
    let zf = if a & b == 0 { ZF } else { 0 };
    let cf = if !a & b == 0 { CF } else { 0 };
    core.flags = Flags::from_bits(zf | cf);
}

/// `PTEST`.
pub(crate) fn ptest_reg(core: &mut Core, op: &Op) -> Flow {
    test_flags(core, core.xmm(op.dst), core.xmm(op.src));
    Ok(())
}
/// `PTEST` with memory.
pub(crate) fn ptest_mem(core: &mut Core, op: &Op) -> Flow {
    let b = core.load_aligned(op)?;
    test_flags(core, core.xmm(op.dst), b);
    Ok(())
}

/// `MASKMOVDQU` (`op.aux` 16) and `MASKMOVQ` (8): the bytes whose mask has its top bit set, to memory at RDI.
pub(crate) fn masked_store(core: &mut Core, op: &Op) -> Flow {
    let mmx = op.aux & 31 == 8;
    if mmx {
        core.enter_mmx()?;
    }
    let rdi = if op.aux & 32 != 0 { core.reg::<u32>(RDI) } else { core.get(RDI) };
    let addr = core.get(op.base).wrapping_add(rdi);
    let (data, mask) = match mmx {
        true => (core.mmx(op.dst).into(), core.mmx(op.src).into()),
        false => (core.xmm(op.dst), core.xmm(op.src)),
    };
    let (data, mask) = (data.to_le_bytes(), u128::to_le_bytes(mask));
    let bytes = if mmx { 8 } else { 16 };
    let chosen = |i: &usize| mask[*i] & 0x80 != 0;
    // All pages are looked at before the first byte is written, and even if none is to be.
    core.span(op, addr, bytes, Access::Write)?;
    for i in (0..bytes).filter(chosen) {
        core.store(op, addr.wrapping_add(i as u64), data[i])?;
    }
    Ok(())
}

/// `MOVD` and `MOVQ` into an MMX register from a general-purpose one.
pub(crate) fn mmx_from_gpr<W: Width>(core: &mut Core, op: &Op) -> Flow {
    core.enter_mmx()?;
    core.set_mmx(op.dst, core.reg::<W>(op.src));
    Ok(())
}
/// ... from memory.
pub(crate) fn mmx_load<W: Width + Plain>(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let addr = core.address(op);
    let value = core.load_int::<W>(op, addr)?;
    core.enter_mmx()?;
    core.set_mmx(op.dst, value);
    Ok(())
}
/// ... and the other way.
pub(crate) fn mmx_to_gpr<W: Width>(core: &mut Core, op: &Op) -> Flow {
    core.enter_mmx()?;
    core.set_reg::<W>(op.dst, core.mmx(op.src));
    Ok(())
}
/// ... to memory.
pub(crate) fn mmx_store<W: Width + Plain>(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let addr = core.address(op);
    core.store(op, addr, W::truncate(core.mmx(op.src)))?;
    core.enter_mmx()
}
/// `MOVQ2DQ`.
pub(crate) fn mmx_to_xmm(core: &mut Core, op: &Op) -> Flow {
    core.enter_mmx()?;
    core.set_xmm(op.dst, core.mmx(op.src).into());
    Ok(())
}
/// `MOVDQ2Q`.
pub(crate) fn xmm_to_mmx(core: &mut Core, op: &Op) -> Flow {
    core.enter_mmx()?;
    core.set_mmx(op.dst, core.xmm(op.src) as u64);
    Ok(())
}
