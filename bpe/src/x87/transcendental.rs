//! Trigonometric functions, exponentials and logarithms.
//!
//! Results are worked out in double precision and so are good to about 52 of the 64 bits; the README says so.

use super::arithmetic::combine;
use super::{C2, Operand};
use crate::core::Core;
use crate::float::{Class, Env, F64, Float, INEXACT, ZERO_DIVIDE, pack, unpack};
use crate::op::{Flow, Op};

fn to_f64(value: Float) -> f64 {
    let mut env = silent();
    f64::from_bits(pack(env.convert(F64, value)))
}

fn from_f64(value: f64) -> Float {
    Float { denormal: false, ..unpack(&silent(), value.to_bits()) }
}

fn silent() -> Env {
    Env {
        rounding: crate::float::Rounding::Nearest,
        masked: 0x3f,
        raised: 0,
        flush: false,
        denormals_are_zero: false,
        x87: true,
        rounded_up: false,
    }
}

/// `f` of a finite, non-zero argument; what it gives is taken to be inexact.
fn approximate(env: &mut Env, a: Float, f: impl FnOnce(f64) -> f64) -> Float {
    env.operands(a, a);
    env.raise(INEXACT);
    from_f64(f(to_f64(a)))
}

/// An instruction on ST(0) that is partial: past 2^63 it only sets C2.
fn trigonometric(core: &mut Core, f: impl FnOnce(&mut Env, Float) -> Float) -> Result<Option<Float>, crate::op::Stop> {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let a = core.fpu_operand(0);
    if let Operand::Value(value) = a
        && value.class == Class::Finite
        && value.exponent >= 63
    {
        core.fx.fsw |= C2;
        return Ok(None);
    }
    core.fx.fsw &= !C2;
    Ok(combine(core, &mut env, a, Operand::Value(Float::zero(false)), |env, a, _| {
        if let Some(nan) = env.nan(a, a) {
            return nan;
        }
        if a.class == Class::Infinity {
            return env.invalid();
        }
        f(env, a)
    }))
}

fn sine_of(env: &mut Env, a: Float) -> Float {
    if a.is_zero() { a } else { approximate(env, a, libm::sin) }
}
fn cosine_of(env: &mut Env, a: Float) -> Float {
    if a.is_zero() { Float::finite(false, 0, 1 << 63) } else { approximate(env, a, libm::cos) }
}

/// `FSIN`.
pub(crate) fn sine(core: &mut Core, _: &Op) -> Flow {
    if let Some(result) = trigonometric(core, sine_of)? {
        core.set_fpu(0, result);
    }
    Ok(())
}

/// `FCOS`.
pub(crate) fn cosine(core: &mut Core, _: &Op) -> Flow {
    if let Some(result) = trigonometric(core, cosine_of)? {
        core.set_fpu(0, result);
    }
    Ok(())
}

/// `FSINCOS`: the sine replaces the argument and the cosine is pushed.
pub(crate) fn sine_cosine(core: &mut Core, _: &Op) -> Flow {
    if pair_overflows(core)? {
        return Ok(());
    }
    let mut second = None;
    let first = trigonometric(core, |env, a| {
        second = Some(cosine_of(env, a));
        sine_of(env, a)
    })?;
    push_pair(core, first, second);
    Ok(())
}

/// `FPTAN`: the tangent replaces the argument and 1 is pushed.
pub(crate) fn tangent(core: &mut Core, _: &Op) -> Flow {
    if pair_overflows(core)? {
        return Ok(());
    }
    let mut second = None;
    let first = trigonometric(core, |env, a| {
        second = Some(Float::finite(false, 0, 1 << 63));
        if a.is_zero() { a } else { approximate(env, a, libm::tan) }
    })?;
    push_pair(core, first, second);
    Ok(())
}

/// Whether the second result of an instruction would overflow the stack; then both are indefinite.
fn pair_overflows(core: &mut Core) -> Result<bool, crate::op::Stop> {
    core.check_x87()?;
    if core.fpu_is_empty(0) || core.fpu_is_empty(7) {
        return Ok(false);
    }
    if core.fpu_stack_fault(true) {
        core.set_fpu(0, Float::INDEFINITE);
        core.set_fpu_top(core.fpu_top().wrapping_sub(1));
        core.set_fpu(0, Float::INDEFINITE);
    }
    Ok(true)
}

/// Where the argument had no value both results are the same.
fn push_pair(core: &mut Core, first: Option<Float>, second: Option<Float>) {
    if let Some(first) = first {
        core.set_fpu(0, first);
        core.fpu_push(crate::float::pack80(second.unwrap_or(first)));
    }
}

/// An instruction on ST(1) and ST(0) that leaves one result.
fn two(core: &mut Core, f: impl FnOnce(&mut Env, Float, Float) -> Float) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let (a, b) = (core.fpu_operand(1), core.fpu_operand(0));
    let result = combine(core, &mut env, a, b, |env, y, x| match env.nan(y, x) {
        Some(nan) => nan,
        None => f(env, y, x),
    });
    if let Some(result) = result {
        core.set_fpu(1, result);
        core.fpu_pop();
    }
    Ok(())
}

/// `FPATAN`: the angle of the point (ST(0), ST(1)).
pub(crate) fn arctangent(core: &mut Core, _: &Op) -> Flow {
    two(core, |env, y, x| {
        env.operands(y, x);
        if y.is_zero() && !x.sign {
            return y;
        }
        env.raise(INEXACT);
        // Out of the range of doubles only the ratio matters.
        let shift = y.exponent.max(x.exponent);
        let near = |v: Float| match v.class {
            Class::Finite => to_f64(Float { exponent: (v.exponent - shift).max(-1000), ..v }),
            _ => to_f64(v),
        };
        from_f64(libm::atan2(near(y), near(x)))
    })
}

/// The binary logarithm of a positive number.
fn log2(x: Float) -> f64 {
    f64::from(x.exponent) + libm::log2(to_f64(Float { exponent: 0, ..x }))
}

/// `FYL2X`: ST(1) times the binary logarithm of ST(0).
pub(crate) fn y_log2(core: &mut Core, _: &Op) -> Flow {
    let format = core.fpu_format();
    two(core, |env, y, x| {
        if x.is_zero() {
            return match y.class {
                Class::Zero => env.invalid(),
                Class::Infinity => Float::infinity(!y.sign),
                _ => {
                    env.raise(ZERO_DIVIDE);
                    Float::infinity(!y.sign)
                }
            };
        }
        if x.sign {
            return env.invalid();
        }
        env.operands(y, x);
        let logarithm = match x.class {
            Class::Infinity => Float::infinity(false),
            _ => from_f64(log2(x)),
        };
        let result = env.multiply(format, y, logarithm);
        if x.class == Class::Finite && x.significand << 1 != 0 {
            env.raise(INEXACT);
        }
        result
    })
}

/// `FYL2XP1`: ST(1) times the binary logarithm of ST(0) + 1.
pub(crate) fn y_log2_plus_1(core: &mut Core, _: &Op) -> Flow {
    let format = core.fpu_format();
    two(core, |env, y, x| {
        env.operands(y, x);
        let logarithm = match x.class {
            Class::Zero | Class::Infinity => x,
            _ => {
                env.raise(INEXACT);
                from_f64(libm::log1p(to_f64(x)) * core::f64::consts::LOG2_E)
            }
        };
        env.multiply(format, y, logarithm)
    })
}

/// `F2XM1`: two to ST(0), less 1.
pub(crate) fn two_to_x_minus_1(core: &mut Core, _: &Op) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let a = core.fpu_operand(0);
    let result = combine(core, &mut env, a, Operand::Value(Float::zero(false)), |env, a, _| {
        if let Some(nan) = env.nan(a, a) {
            return nan;
        }
        match a.class {
            Class::Zero => a,
            Class::Infinity if a.sign => Float::finite(true, 0, 1 << 63),
            Class::Infinity => a,
            _ => approximate(env, a, |x| libm::expm1(x * core::f64::consts::LN_2)),
        }
    });
    if let Some(result) = result {
        core.set_fpu(0, result);
    }
    Ok(())
}
