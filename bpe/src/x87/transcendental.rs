//! Trigonometric functions, exponentials and logarithms.
//!
//! They are worked out with about 120 bits and rounded once, so results are nearly always the nearest 80-bit number. A
//! processor's own may be one unit in the last place away.

use super::arithmetic::combine;
use super::fixed::{self, ARCTANGENTS, HALF_PI, LN_2, ONE, TWICE_LOG2_E, Wide, quarter_turns};
use super::{C2, Operand};
use crate::core::Core;
use crate::float::{Class, Env, F80, Float, Format, INEXACT, ZERO_DIVIDE};
use crate::op::{Flow, Op};

/// Rounds what is not exact.
fn rounded(env: &mut Env, format: Format, value: Wide) -> Float {
    env.raise(INEXACT);
    env.round(format, value.sign, value.exponent, value.significand | 1)
}

fn one() -> Float {
    Float::finite(false, 0, 1 << 63)
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

/// The sine of an angle of at most pi/4.
fn small_sine(angle: Wide) -> Wide {
    let square = angle.times(angle).fixed();
    angle.times_fixed(fixed::nested(square, true, 18, |k| 2 * k * (2 * k + 1)))
}

fn small_cosine(angle: Option<Wide>) -> Wide {
    let square = angle.map_or(0, |angle| angle.times(angle).fixed());
    let value = fixed::nested(square, true, 18, |k| (2 * k - 1) * 2 * k);
    Wide::from_fixed(value).unwrap_or(Wide { sign: false, exponent: 0, significand: 1 << 127 })
}

/// The sine of `a` moved on by some quarter turns; `None` is zero.
fn moved_sine(a: Float, quarters: u8) -> Option<Wide> {
    let (turns, rest) = quarter_turns(a);
    let turns = (turns + quarters) & 3;
    let value = if turns & 1 == 0 { rest.map(small_sine)? } else { small_cosine(rest) };
    Some(Wide { sign: value.sign != (turns & 2 != 0), ..value })
}

fn sine_of(env: &mut Env, a: Float) -> Float {
    if a.is_zero() {
        return a;
    }
    env.operands(a, a);
    moved_sine(a, 0).map_or(Float::zero(a.sign), |sine| rounded(env, F80, sine))
}

fn cosine_of(env: &mut Env, a: Float) -> Float {
    if a.is_zero() {
        return one();
    }
    env.operands(a, a);
    moved_sine(a, 1).map_or(Float::zero(false), |cosine| rounded(env, F80, cosine))
}

fn tangent_of(env: &mut Env, a: Float) -> Float {
    if a.is_zero() {
        return a;
    }
    env.operands(a, a);
    match (moved_sine(a, 0), moved_sine(a, 1)) {
        (Some(sine), Some(cosine)) => rounded(env, F80, sine.over(cosine)),
        _ => Float::zero(a.sign),
    }
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
        second = Some(one());
        tangent_of(env, a)
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
    core.fx.fsw &= !C2;
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
        let multiple = |quarter: u128| Wide::from_fixed(quarter);
        let angle = match (y.class, x.class) {
            (Class::Infinity, Class::Infinity) if x.sign => multiple(HALF_PI + (HALF_PI >> 1)),
            (Class::Infinity, Class::Infinity) => multiple(HALF_PI >> 1),
            (Class::Infinity, _) | (_, Class::Zero) if !y.is_zero() => multiple(HALF_PI),
            (_, Class::Infinity) if !x.sign => return Float::zero(y.sign),
            (Class::Zero, _) | (_, Class::Infinity) => multiple(2 * HALF_PI),
            _ => angle_of(Wide { sign: false, ..Wide::new(y) }, Wide::new(x)),
        };
        match angle {
            Some(angle) => rounded(env, F80, Wide { sign: y.sign, ..angle }),
            None => Float::zero(y.sign),
        }
    })
}

/// The angle of a point in the upper half plane that is not on the axis.
fn angle_of(y: Wide, x: Wide) -> Option<Wide> {
    let left = x.sign;
    let x = Wide { sign: false, ..x };
    let steep = (y.exponent, y.significand) > (x.exponent, x.significand);
    let angle = small_angle(if steep { x.over(y) } else { y.over(x) });
    let away = |from: u128| Wide::from_fixed(from)?.plus(Wide { sign: true, ..angle });
    match (steep, left) {
        (false, false) => Some(angle),
        (false, true) => away(2 * HALF_PI),
        (true, false) => away(HALF_PI),
        (true, true) => Wide::from_fixed(HALF_PI)?.plus(angle),
    }
}

/// The angle whose tangent is `t`, at most 1.
fn small_angle(t: Wide) -> Wide {
    let near = (t.fixed() + (ONE >> 4)) >> 123;
    if near == 0 {
        return t.times_fixed(fixed::odd_reciprocals(t.times(t).fixed(), true));
    }
    // From the nearest of the angles in the table.
    let Some(c) = Wide::from_fixed(near << 123) else { return t };
    let (Some(above), Some(below)) =
        (t.plus(Wide { sign: true, ..c }), Wide::from_fixed(ONE + fixed::product(t.fixed(), near << 123)))
    else {
        return Wide::from_fixed(ARCTANGENTS[near as usize]).unwrap_or(t);
    };
    let rest = above.over(below);
    let rest = rest.times_fixed(fixed::odd_reciprocals(rest.times(rest).fixed(), true));
    Wide::from_fixed(ARCTANGENTS[near as usize]).and_then(|angle| angle.plus(rest)).unwrap_or(t)
}

/// The binary logarithm of a positive number; `None` is zero.
fn log2(x: Wide) -> Option<Wide> {
    const ROOT_2: u128 = 0xb504_f333_f9de_6484 << 64;
    let up = x.significand > ROOT_2;
    let (exponent, mantissa) = if up { (x.exponent + 1, x.significand >> 2) } else { (x.exponent, x.significand >> 1) };
    // The mantissa, from sqrt(1/2) to sqrt(2), in fixed point.
    let (below, distance) = (mantissa < ONE, mantissa.abs_diff(ONE));
    let fraction = Wide::from_fixed(distance).zip(Wide::from_fixed(mantissa + ONE)).map(|(above, sum)| {
        let z = Wide { sign: below, ..above }.over(sum);
        logarithm_of_ratio(z)
    });
    let whole = match exponent.unsigned_abs() {
        0 => None,
        n => {
            let shift = n.leading_zeros() + 96;
            Some(Wide { sign: exponent < 0, exponent: 127 - shift as i32, significand: u128::from(n) << shift })
        }
    };
    match (whole, fraction) {
        (Some(whole), Some(fraction)) => whole.plus(fraction),
        (whole, fraction) => whole.or(fraction),
    }
}

/// The binary logarithm of (1 + z) / (1 - z).
fn logarithm_of_ratio(z: Wide) -> Wide {
    z.times_fixed(fixed::odd_reciprocals(z.times(z).fixed(), false)).times_fixed(TWICE_LOG2_E)
}

/// ST(1) times a logarithm, which is zero if `None`.
fn y_times(env: &mut Env, y: Float, logarithm: Option<Wide>) -> Float {
    match (y.class, logarithm) {
        (Class::Infinity, None) => env.invalid(),
        (_, None) => Float::zero(y.sign),
        (Class::Infinity, Some(logarithm)) => Float::infinity(y.sign != logarithm.sign),
        (Class::Zero, Some(logarithm)) => Float::zero(y.sign != logarithm.sign),
        (_, Some(logarithm)) => rounded(env, F80, Wide::new(y).times(logarithm)),
    }
}

/// `FYL2X`: ST(1) times the binary logarithm of ST(0).
pub(crate) fn y_log2(core: &mut Core, _: &Op) -> Flow {
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
        match (x.class, y.class) {
            (Class::Infinity, Class::Zero) => return env.invalid(),
            _ => env.operands(y, x),
        }
        if x.class == Class::Infinity {
            return Float::infinity(y.sign);
        }
        match log2(Wide::new(x)) {
            // Powers of two are exact.
            Some(whole) if x.significand << 1 == 0 && y.class == Class::Finite => {
                let whole = Float::finite(whole.sign, whole.exponent, (whole.significand >> 64) as u64);
                env.multiply(F80, Float { denormal: false, ..y }, whole)
            }
            None => match y.class {
                Class::Infinity => env.invalid(),
                _ => Float::zero(y.sign),
            },
            logarithm => y_times(env, y, logarithm),
        }
    })
}

/// `FYL2XP1`: ST(1) times the binary logarithm of ST(0) + 1.
pub(crate) fn y_log2_plus_1(core: &mut Core, _: &Op) -> Flow {
    two(core, |env, y, x| {
        match (x.class, y.class) {
            (Class::Zero, Class::Infinity) | (Class::Infinity, Class::Zero) => return env.invalid(),
            (Class::Infinity, _) if x.sign => return env.invalid(),
            (Class::Infinity, _) => {
                env.operands(y, x);
                return Float::infinity(y.sign);
            }
            (Class::Zero, _) => {
                env.operands(y, x);
                return Float::zero(y.sign != x.sign);
            }
            _ => env.operands(y, x),
        }
        let x = Wide::new(x);
        let one = Wide { sign: false, exponent: 0, significand: 1 << 127 };
        let logarithm = if x.exponent < -2 {
            let two = Wide { exponent: 1, ..one };
            two.plus(x).map(|sum| logarithm_of_ratio(x.over(sum)))
        } else {
            match one.plus(x) {
                Some(sum) if !sum.sign => log2(sum),
                _ => return env.invalid(),
            }
        };
        y_times(env, y, logarithm)
    })
}

/// `F2XM1`: two to ST(0), less 1. An argument beyond ±1 is left as it is.
pub(crate) fn two_to_x_minus_1(core: &mut Core, _: &Op) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let a = core.fpu_operand(0);
    let result = combine(core, &mut env, a, Operand::Value(Float::zero(false)), |env, a, _| {
        if let Some(nan) = env.nan(a, a) {
            return nan;
        }
        match a.class {
            Class::Zero => return a,
            Class::Infinity if a.sign => return one().negated(),
            Class::Infinity => return a,
            _ => env.operands(a, a),
        }
        match a.exponent {
            0 if a.significand << 1 == 0 => {
                if a.sign {
                    Float::finite(true, -1, 1 << 63)
                } else {
                    one()
                }
            }
            0.. => a,
            _ => {
                let t = Wide::new(a).times_fixed(LN_2);
                rounded(env, F80, t.times_fixed(exponential_ratio(t)))
            }
        }
    });
    if let Some(result) = result {
        core.set_fpu(0, result);
    }
    Ok(())
}

/// (e^t - 1) / t for t of at most ln 2.
fn exponential_ratio(t: Wide) -> u128 {
    let magnitude = t.fixed();
    if !t.sign {
        return fixed::nested(magnitude, false, 40, |k| k + 1);
    }
    fixed::nested(magnitude, true, 40, |k| k + 1)
}
