//! Loads, stores, exchanges, constants.

use super::arithmetic::{exact_integer, operand, place};
use super::{C1, Operand};
use crate::core::Core;
use crate::float::{BEFORE, Env, Float, Format, INEXACT, INVALID, OVERFLOW, Rounding, UNDERFLOW, pack, pack80};
use crate::op::{Flow, Op, Stop};
use aurora_machine::Access;

/// `FLD` of a register or of memory in any format, and `FILD`.
pub(crate) fn load(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let raw = match op.aux & place::MASK {
        place::M80 => {
            let addr = core.address(op);
            let span = core.span(op, addr, 10, Access::Read)?;
            let mut b = [0; 10];
            span.read(&mut b);
            let [s0, s1, s2, s3, s4, s5, s6, s7, e0, e1] = b;
            (u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]), u16::from_le_bytes([e0, e1]))
        }
        place::REGISTER if core.fpu_is_empty(op.src) => {
            if core.fpu_stack_fault(false) {
                core.set_fpu_top(core.fpu_top().wrapping_sub(1));
                core.set_fpu(0, Float::INDEFINITE);
            }
            return Ok(());
        }
        place::REGISTER => core.fpu_raw(op.src),
        _ => return load_converted(core, op),
    };
    core.fpu_push(raw);
    Ok(())
}

/// A load that converts: signaling NaNs and denormals are noticed.
fn load_converted(core: &mut Core, op: &Op) -> Flow {
    let mut env = core.fpu_env();
    let Operand::Value(mut value) = operand(core, op, &env)? else { return Ok(()) };
    if !core.fpu_is_empty(7) {
        core.fpu_push((0, 0));
        return Ok(());
    }
    if value.is_signaling() {
        env.raise(INVALID);
        value = value.quieted();
    }
    env.operands(value, value);
    // A denormal is loaded even if that is not masked.
    if core.fpu_finish(&env) || env.raised & INVALID == 0 {
        core.fpu_push(pack80(value));
    }
    Ok(())
}

/// The constants, in the order of their opcodes: 1, log2 10, log2 e, pi, log10 2, ln 2, 0. Each is a significand with the
/// bit after its end, and an exponent.
const CONSTANTS: [(u64, bool, i32); 6] = [
    (0x8000_0000_0000_0000, false, 0),
    (0xd49a_784b_cd1b_8afe, false, 1),
    (0xb8aa_3b29_5c17_f0bb, true, 0),
    (0xc90f_daa2_2168_c234, true, 1),
    (0x9a20_9a84_fbcf_f798, true, -2),
    (0xb172_17f7_d1cf_79ab, true, -1),
];

/// `FLD1` to `FLDZ`, by `op.imm`, rounded as the control word says.
pub(crate) fn load_constant(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let value = match CONSTANTS.get(op.imm as usize) {
        None => Float::zero(false),
        Some(&(significand, above_half, exponent)) => {
            // The third place after the end of log2 10 is set, too, so it rounds up only when asked to.
            let inexact = op.imm != 0;
            let up = match core.fpu_env().rounding {
                Rounding::Nearest => above_half,
                Rounding::Up => inexact,
                _ => false,
            };
            Float::finite(false, exponent, significand + u64::from(up))
        }
    };
    core.fpu_push(pack80(value));
    Ok(())
}

/// `FST` and `FSTP` to a register.
pub(crate) fn store_register(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let raw = match core.fpu_is_empty(0) {
        true if core.fpu_stack_fault(false) => pack80(Float::INDEFINITE),
        true => return Ok(()),
        false => {
            core.fx.fsw &= !C1;
            core.fpu_raw(0)
        }
    };
    core.set_fpu_raw(op.dst, raw);
    if op.aux & place::POP != 0 {
        core.fpu_pop();
    }
    Ok(())
}

/// What `FST`, `FIST` and their kin write; the outer error is a fault, `None` an unmasked exception.
fn stored(
    core: &mut Core,
    env: &mut Env,
    convert: impl FnOnce(&mut Env, Float) -> u64,
    indefinite: u64,
) -> Option<u64> {
    let value = match core.fpu_operand(0) {
        Operand::Empty => {
            env.raise(INVALID);
            return (env.masked & INVALID != 0).then_some(indefinite);
        }
        Operand::Unsupported => {
            env.raise(INVALID);
            indefinite
        }
        Operand::Value(value) => convert(env, value),
    };
    // Over- and underflow leave memory alone as well, since there is no place for the adjusted exponent.
    if env.raised & !env.masked & (OVERFLOW | UNDERFLOW) != 0 {
        env.raised &= !INEXACT;
    }
    (env.raised & !env.masked & (BEFORE | OVERFLOW | UNDERFLOW) == 0).then_some(value)
}

/// Writes what was made, then notes the exceptions: a fault of the store comes before both.
fn store_and_note(core: &mut Core, op: &Op, env: &Env, value: Option<u64>) -> Flow {
    let addr = core.address(op);
    let bytes = match op.aux & place::MASK {
        place::I16 => 2,
        place::M32 | place::I32 => 4,
        _ => 8,
    };
    let span = core.span(op, addr, bytes, Access::Write)?;
    let Some(value) = value else {
        note_store(core, env);
        return Ok(());
    };
    span.write(&value.to_le_bytes()[..bytes]);
    note_store(core, env);
    if op.aux & place::POP != 0 {
        core.fpu_pop();
    }
    Ok(())
}

fn note_store(core: &mut Core, env: &Env) {
    if core.fpu_is_empty(0) {
        core.fpu_stack_fault(false);
    } else {
        core.fpu_finish(env);
    }
}

fn narrowed<P: crate::float::Packed>(env: &mut Env, value: Float) -> u64 {
    let format: Format = P::FORMAT;
    let converted = env.convert(format, value);
    pack::<P>(converted).bits()
}

/// `FST` and `FSTP` to 32 or 64 bits of memory.
pub(crate) fn store_float(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let value = match op.aux & place::MASK {
        place::M32 => stored(core, &mut env, narrowed::<u32>, 0xffc0_0000),
        _ => stored(core, &mut env, narrowed::<u64>, 0xfff8 << 48),
    };
    store_and_note(core, op, &env, value)
}

/// `FIST`, `FISTP` and, with `op.imm` 1, `FISTTP`.
pub(crate) fn store_integer(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    if op.imm == 1 {
        env.rounding = Rounding::Zero;
    }
    let bits = match op.aux & place::MASK {
        place::I16 => 16,
        place::I32 => 32,
        _ => 64,
    };
    let indefinite = 1u64 << (bits - 1);
    let value = stored(core, &mut env, |env, value| env.rounded_integer(value, bits) as u64, indefinite);
    store_and_note(core, op, &env, value)
}

/// `FSTP` to 80 bits of memory.
pub(crate) fn store_extended(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let addr = core.address(op);
    let span = core.span(op, addr, 10, Access::Write)?;
    let (significand, exponent) = match core.fpu_is_empty(0) {
        true if core.fpu_stack_fault(false) => pack80(Float::INDEFINITE),
        true => return Ok(()),
        false => {
            core.fx.fsw &= !C1;
            core.fpu_raw(0)
        }
    };
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&significand.to_le_bytes());
    bytes[8..].copy_from_slice(&exponent.to_le_bytes());
    span.write(&bytes);
    core.fpu_pop();
    Ok(())
}

/// `FBLD`: 18 decimal digits and a sign.
pub(crate) fn load_decimal(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let addr = core.address(op);
    let span = core.span(op, addr, 10, Access::Read)?;
    let mut bytes = [0; 10];
    span.read(&mut bytes);
    let magnitude = bytes[..9].iter().rev().fold(0i64, |n, b| n * 100 + i64::from(b >> 4) * 10 + i64::from(b & 15));
    let value = Float { sign: bytes[9] & 0x80 != 0, ..exact_integer(magnitude) };
    core.fpu_push(pack80(value));
    Ok(())
}

/// `FBSTP`.
pub(crate) fn store_decimal(core: &mut Core, op: &Op) -> Flow {
    const LIMIT: i64 = 1_000_000_000_000_000_000;
    const INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];
    core.check_x87()?;
    let addr = core.address(op);
    let span = core.span(op, addr, 10, Access::Write)?;
    let mut env = core.fpu_env();
    let bytes = match core.fpu_operand(0) {
        Operand::Empty if core.fpu_stack_fault(false) => INDEFINITE,
        Operand::Empty => return Ok(()),
        operand => {
            let rounded = match operand {
                Operand::Value(value) => decimal(&mut env, value, LIMIT),
                _ => None,
            };
            if rounded.is_none() {
                env.raised = INVALID;
            }
            if !core.fpu_finish(&env) {
                return Ok(());
            }
            rounded.unwrap_or(INDEFINITE)
        }
    };
    span.write(&bytes);
    core.fpu_pop();
    Ok(())
}

fn decimal(env: &mut Env, value: Float, limit: i64) -> Option<[u8; 10]> {
    let n = env.rounded_integer(value, 64);
    if n.unsigned_abs() >= limit.unsigned_abs() {
        return None;
    }
    let mut left = n.unsigned_abs();
    let mut bytes = [0; 10];
    for byte in &mut bytes[..9] {
        *byte = (left % 10) as u8 | ((left / 10 % 10) as u8) << 4;
        left /= 100;
    }
    bytes[9] = if value.sign { 0x80 } else { 0 };
    Some(bytes)
}

/// `FXCH` of ST(0) and ST(`op.src`).
pub(crate) fn exchange(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let other = op.src;
    if core.fpu_is_empty(0) || core.fpu_is_empty(other) {
        if !core.fpu_stack_fault(false) {
            return Ok(());
        }
        for i in [0, other] {
            if core.fpu_is_empty(i) {
                core.set_fpu(i, Float::INDEFINITE);
            }
        }
    } else {
        core.fx.fsw &= !C1;
    }
    let (a, b) = (core.fpu_raw(0), core.fpu_raw(other));
    core.set_fpu_raw(0, b);
    core.set_fpu_raw(other, a);
    Ok(())
}

fn change_sign(core: &mut Core, change: fn(u16) -> u16) -> Result<(), Stop> {
    core.check_x87()?;
    if core.fpu_is_empty(0) {
        if core.fpu_stack_fault(false) {
            core.set_fpu(0, Float::INDEFINITE);
        }
        return Ok(());
    }
    core.fx.fsw &= !C1;
    let (significand, exponent) = core.fpu_raw(0);
    core.set_fpu_raw(0, (significand, change(exponent)));
    Ok(())
}

/// `FCHS`.
pub(crate) fn negate(core: &mut Core, _: &Op) -> Flow {
    change_sign(core, |exponent| exponent ^ 0x8000)
}

/// `FABS`.
pub(crate) fn absolute(core: &mut Core, _: &Op) -> Flow {
    change_sign(core, |exponent| exponent & 0x7fff)
}
