//! Multiplication and division.

use aurora_machine::Exception;

use super::operand::{Dst, Int, Mem, Source, Src, by_width};
use crate::core::Core;
use crate::flags::Flags;
use crate::op::{Flow, Op, RAX, RDX, Run, Stop};
use crate::width::Width;

/// Writes a double-width result: to AX, or to the pair of `D` and `A`.
fn set_pair<W: Int>(core: &mut Core, low: u64, high: u64) {
    if W::BITS == 8 {
        core.set_reg::<u16>(RAX, low & 0xff | high << 8);
    } else {
        core.set_reg::<W>(RAX, low);
        core.set_reg::<W>(RDX, high);
    }
}

fn pair<W: Int>(core: &Core) -> u128 {
    match W::BITS {
        8 => u128::from(core.reg::<u16>(RAX)),
        _ => u128::from(core.reg::<W>(RDX)) << W::BITS | u128::from(core.reg::<W>(RAX)),
    }
}

fn mul<W: Int, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let b = S::get::<W>(core, op)?;
    let wide = u128::from(core.reg::<W>(RAX)) * u128::from(b);
    let (low, high) = (wide as u64 & W::MASK, (wide >> W::BITS) as u64);
    set_pair::<W>(core, low, high);
    core.flags = Flags::shifted::<W>(low, high != 0, high != 0);
    Ok(())
}

pub(crate) fn signed_product<W: Width>(a: u64, b: u64) -> (i128, bool) {
    let wide = i128::from(W::sign_extend(a) as i64) * i128::from(W::sign_extend(b) as i64);
    (wide, wide != i128::from(W::sign_extend(wide as u64) as i64))
}

fn imul_wide<W: Int, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let b = S::get::<W>(core, op)?;
    let (wide, overflow) = signed_product::<W>(core.reg::<W>(RAX), b);
    set_pair::<W>(core, wide as u64 & W::MASK, (wide >> W::BITS) as u64 & W::MASK);
    core.flags = Flags::shifted::<W>(wide as u64, overflow, overflow);
    Ok(())
}

fn imul<W: Int, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let b = S::get::<W>(core, op)?;
    let a = core.reg::<W>(op.dst);
    imul_into::<W>(core, op, a, b)
}

fn imul_immediate<W: Int, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let a = S::get::<W>(core, op)?;
    imul_into::<W>(core, op, a, op.imm & W::MASK)
}

#[inline(always)]
fn imul_into<W: Int>(core: &mut Core, op: &Op, a: u64, b: u64) -> Flow {
    let (wide, overflow) = signed_product::<W>(a, b);
    core.set_reg::<W>(op.dst, wide as u64 & W::MASK);
    core.flags = Flags::shifted::<W>(wide as u64, overflow, overflow);
    Ok(())
}

fn divide_error(core: &mut Core) -> Stop {
    core.exception(Exception::DivideError)
}

fn div<W: Int, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let b = S::get::<W>(core, op)?;
    if b == 0 {
        return Err(divide_error(core));
    }
    let a = pair::<W>(core);
    // Division of 128 bits is slow, and rarely needed.
    let (quotient, rest) = match u64::try_from(a) {
        Ok(a) => (u128::from(a / b), a % b),
        Err(_) => (a / u128::from(b), (a % u128::from(b)) as u64),
    };
    if quotient > u128::from(W::MASK) {
        return Err(divide_error(core));
    }
    set_pair::<W>(core, quotient as u64, rest);
    Ok(())
}

fn idiv<W: Int, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let b = W::sign_extend(S::get::<W>(core, op)?) as i64;
    if b == 0 {
        return Err(divide_error(core));
    }
    let unused = 128 - 2 * W::BITS;
    let a = (pair::<W>(core) << unused) as i128 >> unused;
    let (quotient, rest) = match i64::try_from(a) {
        Ok(a) if a != i64::MIN => (i128::from(a / b), a % b),
        _ => match (a.checked_div(i128::from(b)), a.checked_rem(i128::from(b))) {
            (Some(quotient), Some(rest)) => (quotient, rest as i64),
            _ => return Err(divide_error(core)),
        },
    };
    if quotient != i128::from(W::sign_extend(quotient as u64) as i64) {
        return Err(divide_error(core));
    }
    set_pair::<W>(core, quotient as u64 & W::MASK, rest as u64 & W::MASK);
    Ok(())
}

/// One-operand `MUL`, `IMUL`, `DIV`, `IDIV`.
#[derive(Clone, Copy)]
pub(crate) enum Wide {
    Mul,
    Imul,
    Div,
    Idiv,
}

/// The handler of a one-operand multiplication or division.
pub(crate) fn wide_handler(kind: Wide, memory: bool, size: usize) -> Run {
    match (kind, memory) {
        (Wide::Mul, false) => by_width!(size, mul, Dst),
        (Wide::Mul, true) => by_width!(size, mul, Mem),
        (Wide::Imul, false) => by_width!(size, imul_wide, Dst),
        (Wide::Imul, true) => by_width!(size, imul_wide, Mem),
        (Wide::Div, false) => by_width!(size, div, Dst),
        (Wide::Div, true) => by_width!(size, div, Mem),
        (Wide::Idiv, false) => by_width!(size, idiv, Dst),
        (Wide::Idiv, true) => by_width!(size, idiv, Mem),
    }
}

/// Two- and three-operand `IMUL`.
pub(crate) fn imul_handler(memory: bool, immediate: bool, size: usize) -> Run {
    match (memory, immediate) {
        (false, false) => by_width!(size, imul, Src),
        (false, true) => by_width!(size, imul_immediate, Src),
        (true, false) => by_width!(size, imul, Mem),
        (true, true) => by_width!(size, imul_immediate, Mem),
    }
}
