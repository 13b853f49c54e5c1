//! Addition to division, square root, rounding, remainders, scaling.

use super::{C0, C1, C2, C3, Operand};
use crate::core::Core;
use crate::float::{Class, Env, F80, Float, Format, Rounding, ZERO_DIVIDE, partial_remainder, unpack};
use crate::op::{Flow, Op, Stop};

/// `op.aux`: where the operand is.
pub(crate) mod place {
    pub(crate) const REGISTER: u16 = 0;
    pub(crate) const M32: u16 = 1;
    pub(crate) const M64: u16 = 2;
    pub(crate) const I16: u16 = 3;
    pub(crate) const I32: u16 = 4;
    pub(crate) const I64: u16 = 5;
    pub(crate) const M80: u16 = 6;
    /// Mask of the above.
    pub(crate) const MASK: u16 = 15;
    /// The stack is popped.
    pub(crate) const POP: u16 = 16;
    /// ... twice.
    pub(crate) const POP_TWICE: u16 = 32;
}

/// `op.imm`: what is calculated.
pub(crate) mod operation {
    pub(crate) const ADD: u64 = 0;
    pub(crate) const MULTIPLY: u64 = 1;
    pub(crate) const SUBTRACT: u64 = 4;
    pub(crate) const SUBTRACT_REVERSED: u64 = 5;
    pub(crate) const DIVIDE: u64 = 6;
    pub(crate) const DIVIDE_REVERSED: u64 = 7;
}

/// The operand of an instruction that takes it from ST(`op.src`) or memory.
pub(super) fn operand(core: &mut Core, op: &Op, env: &Env) -> Result<Operand, Stop> {
    let addr = core.address(op);
    let integer = |n: i64| Operand::Value(exact_integer(n));
    Ok(match op.aux & place::MASK {
        place::M32 => Operand::Value(unpack(env, core.load::<u32>(op, addr)?)),
        place::M64 => Operand::Value(unpack(env, core.load::<u64>(op, addr)?)),
        place::I16 => integer((core.load::<u16>(op, addr)? as i16).into()),
        place::I32 => integer((core.load::<u32>(op, addr)? as i32).into()),
        place::I64 => integer(core.load::<u64>(op, addr)? as i64),
        _ => core.fpu_operand(op.src),
    })
}

/// An integer, which 80 bits always hold.
pub(super) fn exact_integer(n: i64) -> Float {
    match n.unsigned_abs() {
        0 => Float::zero(false),
        m => Float::finite(n < 0, 63 - m.leading_zeros() as i32, m << m.leading_zeros()),
    }
}

/// `FADD` and its kin: ST(`op.dst`) with the operand.
pub(crate) fn binary(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let b = operand(core, op, &env)?;
    let a = core.fpu_operand(op.dst);
    let format = core.fpu_format();
    if let Some(result) = combine(core, &mut env, a, b, |env, a, b| calculate(env, op.imm, format, a, b)) {
        core.set_fpu(op.dst, result);
        if op.aux & place::POP != 0 {
            core.fpu_pop();
        }
    }
    Ok(())
}

fn calculate(env: &mut Env, what: u64, format: Format, a: Float, b: Float) -> Float {
    match what {
        operation::ADD => env.add(format, a, b),
        operation::MULTIPLY => env.multiply(format, a, b),
        operation::SUBTRACT => env.subtract(format, a, b),
        operation::SUBTRACT_REVERSED => env.subtract(format, b, a),
        operation::DIVIDE => env.divide(format, a, b),
        _ => env.divide(format, b, a),
    }
}

/// The result of `f`, or of the masked response to operands that have no value; its exceptions are noted. `None` if
/// nothing may be written.
pub(super) fn combine(
    core: &mut Core,
    env: &mut Env,
    a: Operand,
    b: Operand,
    f: impl FnOnce(&mut Env, Float, Float) -> Float,
) -> Option<Float> {
    let result = match (a, b) {
        (Operand::Empty, _) | (_, Operand::Empty) => {
            return core.fpu_stack_fault(false).then_some(Float::INDEFINITE);
        }
        (Operand::Value(a), Operand::Value(b)) => f(env, a, b),
        _ => env.invalid(),
    };
    core.fpu_finish(env).then_some(result)
}

/// An operation on ST(0).
fn unary(core: &mut Core, f: impl FnOnce(&mut Core, &mut Env, Float) -> Float) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let result = match core.fpu_operand(0) {
        Operand::Empty => core.fpu_stack_fault(false).then_some(Float::INDEFINITE),
        Operand::Unsupported => {
            let result = env.invalid();
            core.fpu_finish(&env).then_some(result)
        }
        Operand::Value(a) => {
            let result = f(core, &mut env, a);
            core.fpu_finish(&env).then_some(result)
        }
    };
    if let Some(result) = result {
        core.set_fpu(0, result);
    }
    Ok(())
}

/// `FSQRT`.
pub(crate) fn square_root(core: &mut Core, _: &Op) -> Flow {
    unary(core, |core, env, a| env.square_root(core.fpu_format(), a))
}

/// `FRNDINT`.
pub(crate) fn round(core: &mut Core, _: &Op) -> Flow {
    unary(core, |_, env, a| env.round_to_integral(a, true))
}

/// `FSCALE`: ST(0) times two to the integral part of ST(1).
pub(crate) fn scale(core: &mut Core, _: &Op) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let (a, b) = (core.fpu_operand(0), core.fpu_operand(1));
    if let Some(result) = combine(core, &mut env, a, b, scaled) {
        core.set_fpu(0, result);
    }
    Ok(())
}

fn scaled(env: &mut Env, a: Float, b: Float) -> Float {
    if let Some(nan) = env.nan(a, b) {
        return nan;
    }
    match (a.class, b.class) {
        (Class::Zero, Class::Infinity) if !b.sign => return env.invalid(),
        (Class::Infinity, Class::Infinity) if b.sign => return env.invalid(),
        _ => env.operands(a, b),
    }
    match (a.class, b.class) {
        (Class::Zero | Class::Infinity, _) => a,
        (_, Class::Infinity) if b.sign => Float::zero(a.sign),
        (_, Class::Infinity) => Float::infinity(a.sign),
        _ => {
            let mut toward_zero = Env { rounding: Rounding::Zero, raised: 0, ..*env };
            // Past this every result over- or underflows.
            let by = toward_zero.rounded_integer(b, 18).clamp(-0x1_0000, 0x1_0000);
            let by = match (b.class, b.exponent > 16, b.sign) {
                (Class::Zero, ..) => 0,
                (_, true, true) => -0x1_0000,
                (_, true, false) => 0x1_0000,
                _ => by,
            };
            env.normalise(F80, a.sign, a.exponent + by as i32, u128::from(a.significand) << 64)
        }
    }
}

/// `FXTRACT`: ST(0) becomes its exponent, and its significand is pushed.
pub(crate) fn extract(core: &mut Core, _: &Op) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let a = core.fpu_operand(0);
    if a == Operand::Empty {
        if core.fpu_stack_fault(false) {
            core.set_fpu(0, Float::INDEFINITE);
            core.set_fpu_top(core.fpu_top().wrapping_sub(1));
            core.set_fpu(0, Float::INDEFINITE);
        }
        return Ok(());
    }
    if !core.fpu_is_empty(7) {
        if core.fpu_stack_fault(true) {
            core.set_fpu(0, Float::INDEFINITE);
            core.set_fpu_top(core.fpu_top().wrapping_sub(1));
            core.set_fpu(0, Float::INDEFINITE);
        }
        return Ok(());
    }
    let (exponent, significand) = match a {
        Operand::Value(a) => extracted(&mut env, a),
        _ => (env.invalid(), Float::INDEFINITE),
    };
    if core.fpu_finish(&env) {
        core.set_fpu(0, exponent);
        core.set_fpu_top(core.fpu_top().wrapping_sub(1));
        core.set_fpu(0, significand);
    }
    Ok(())
}

fn extracted(env: &mut Env, a: Float) -> (Float, Float) {
    match a.class {
        Class::Nan => {
            let nan = env.nan(a, a).unwrap_or(a);
            (nan, nan)
        }
        Class::Infinity => (Float::infinity(false), a),
        Class::Zero => {
            env.raise(ZERO_DIVIDE);
            (Float::infinity(true), a)
        }
        Class::Finite => {
            env.operands(a, a);
            (exact_integer(a.exponent.into()), Float { exponent: 0, denormal: false, ..a })
        }
    }
}

/// `FPREM` and, with `op.aux` 1, `FPREM1`: C2 set if the reduction is only partial, otherwise the low three bits of the
/// quotient in C0, C3 and C1.
pub(crate) fn remainder(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let (a, b) = (core.fpu_operand(0), core.fpu_operand(1));
    core.fx.fsw &= !C2;
    let mut quotient = Some(0);
    let nearest = op.aux == 1;
    let result = combine(core, &mut env, a, b, |env, a, b| {
        if let Some(nan) = env.nan(a, b) {
            return nan;
        }
        if a.class == Class::Infinity || b.is_zero() {
            return env.invalid();
        }
        env.operands(a, b);
        if a.is_zero() {
            return a;
        }
        let (value, low) = match b.class {
            Class::Infinity => (a, Some(0)),
            _ => partial_remainder(a, b, nearest),
        };
        quotient = low;
        match value.class {
            Class::Finite => env.normalise(F80, value.sign, value.exponent, u128::from(value.significand) << 64),
            _ => value,
        }
    });
    let Some(result) = result else { return Ok(()) };
    core.set_fpu(0, result);
    if result.is_nan() {
        return Ok(());
    }
    core.fx.fsw &= !(C0 | C1 | C2 | C3);
    core.fx.fsw |= match quotient {
        None => C2,
        Some(low) => {
            let bit = |n: u64, c: u16| if low >> n & 1 != 0 { c } else { 0 };
            bit(2, C0) | bit(1, C3) | bit(0, C1)
        }
    };
    Ok(())
}
