//! Conversions between floating-point formats and integers.

use core::marker::PhantomData;

use super::calculate::{Calculate, Calculator};
use super::float::{Native, source};
use super::lanes::{Lane, build, lane, with_lane};
use crate::core::Core;
use crate::float::{Env, Float, Rounding, pack, unpack};
use crate::op::{Flow, Op, Stop};
use crate::width::{Plain, Width};

fn truncating(env: &mut Env, truncate: bool) {
    if truncate {
        env.rounding = Rounding::Zero;
    }
}

fn to_integer<P: Native>(env: &mut Env, packed: P, bits: u32) -> i64 {
    let value = unpack(env, packed);
    env.rounded_integer(value, bits)
}

fn from_integer<P: Native>(env: &mut Env, n: i64) -> P {
    pack(env.integral(P::FORMAT, n))
}

fn between<P: Native, Q: Native>(env: &mut Env, packed: P) -> Q {
    let value: Float = unpack(env, packed);
    if !value.is_nan() {
        env.operands(value, value);
    }
    pack(env.convert(Q::FORMAT, value))
}

/// `CVTSI2SS` and `CVTSI2SD` from a general-purpose register.
pub(crate) fn integer_to_scalar<W: Width, P: Native>(core: &mut Core, op: &Op) -> Flow {
    let n = W::sign_extend(core.reg::<W>(op.src)) as i64;
    integer_into::<P>(core, op, n)
}

/// The same from memory.
pub(crate) fn integer_memory_to_scalar<W: Width + Plain, P: Native>(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    let n = W::sign_extend(core.load_int::<W>(op, addr)?) as i64;
    integer_into::<P>(core, op, n)
}

fn integer_into<P: Native>(core: &mut Core, op: &Op, n: i64) -> Flow {
    let mut env = core.sse_env();
    let value: P = from_integer(&mut env, n);
    core.sse_raise(&env)?;
    core.set_xmm(op.dst, with_lane(core.xmm(op.dst), 0, value));
    Ok(())
}

/// `CVTSS2SI` and its kin; `TRUNCATE` for the `CVTT` ones.
pub(crate) fn scalar_to_integer<P: Native, W: Width, const TRUNCATE: bool>(core: &mut Core, op: &Op) -> Flow {
    let b = source(core, op)?;
    let mut env = core.sse_env();
    truncating(&mut env, TRUNCATE);
    let n = to_integer::<P>(&mut env, lane(b, 0), W::BITS);
    core.sse_raise(&env)?;
    core.set_reg::<W>(op.dst, n as u64);
    Ok(())
}

/// `CVTSS2SD` and `CVTSD2SS`.
pub(crate) struct ScalarToScalar<P, Q>(PhantomData<(P, Q)>);
impl<P: Native, Q: Native> Calculate for ScalarToScalar<P, Q> {
    fn calculate(Calculator { env, .. }: &mut Calculator, [a, b, _]: [u128; 3], _: u8) -> u128 {
        let value: Q = between::<P, Q>(env, lane(b, 0));
        with_lane(a, 0, value)
    }
}

/// `VCVTSI2SS` and `VCVTSI2SD`.
pub(crate) struct IntegerToScalar<I, P>(PhantomData<(I, P)>);
impl<I: Lane + Into<i64>, P: Native> Calculate for IntegerToScalar<I, P> {
    fn calculate(Calculator { env, .. }: &mut Calculator, [a, b, _]: [u128; 3], _: u8) -> u128 {
        let value: P = from_integer(env, lane::<I>(b, 0).into());
        with_lane(a, 0, value)
    }
}

macro_rules! packed {
    ($($(#[$doc:meta])* $name:ident($env:ident, $b:ident) $body:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;
        impl Calculate for $name {
            fn calculate(Calculator { env: $env, .. }: &mut Calculator, [_, $b, _]: [u128; 3], _: u8) -> u128 {
                $body
            }
        }
    )*};
}

packed! {
    /// `CVTDQ2PS`.
    DqToPs(env, b) build::<u32, 16>(|i| from_integer(env, lane::<i32>(b, i).into()));
    /// `CVTDQ2PD`.
    DqToPd(env, b) build::<u64, 16>(|i| from_integer(env, lane::<i32>(b, i).into()));
    /// `CVTPS2PD`.
    PsToPd(env, b) build::<u64, 16>(|i| between::<u32, u64>(env, lane(b, i)));
    /// `CVTPD2PS`.
    PdToPs(env, b) build::<u32, 8>(|i| between::<u64, u32>(env, lane(b, i)));
}

/// `CVTPS2DQ` and `CVTPD2DQ`, and the truncating ones.
pub(crate) struct ToDq<P, const TRUNCATE: bool>(PhantomData<P>);
impl<P: Native, const TRUNCATE: bool> Calculate for ToDq<P, TRUNCATE> {
    fn calculate(Calculator { env, .. }: &mut Calculator, [_, b, _]: [u128; 3], _: u8) -> u128 {
        truncating(env, TRUNCATE);
        let integer = |i| to_integer::<P>(env, lane(b, i), 32) as u32;
        if P::BYTES == 4 { build::<u32, 16>(integer) } else { build::<u32, 8>(integer) }
    }
}

/// The MMX source of a conversion, in a register or memory. Memory does not touch the x87 state.
fn mmx_source(core: &mut Core, op: &Op) -> Result<u128, Stop> {
    if op.aux == 0 {
        core.enter_mmx()?;
        return Ok(core.mmx(op.src).into());
    }
    core.check_x87()?;
    core.load_narrow(op)
}

/// `CVTPI2PS`.
pub(crate) fn pi_to_ps(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let b = mmx_source(core, op)?;
    let mut env = core.sse_env();
    let value = build::<u32, 8>(|i| from_integer(&mut env, lane::<i32>(b, i).into()));
    core.sse_raise(&env)?;
    core.set_xmm_low(op.dst, value, 64);
    Ok(())
}
/// `CVTPI2PD`.
pub(crate) fn pi_to_pd(core: &mut Core, op: &Op) -> Flow {
    let b = mmx_source(core, op)?;
    let mut env = core.sse_env();
    let value = build::<u64, 16>(|i| from_integer(&mut env, lane::<i32>(b, i).into()));
    core.sse_raise(&env)?;
    core.set_xmm(op.dst, value);
    Ok(())
}
/// `CVTPS2PI`, `CVTPD2PI` and the truncating ones.
pub(crate) fn to_pi<P: Native, const TRUNCATE: bool>(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let b = source(core, op)?;
    let mut env = core.sse_env();
    truncating(&mut env, TRUNCATE);
    let value = build::<u32, 8>(|i| to_integer::<P>(&mut env, lane(b, i), 32) as u32);
    // The x87 stack is taken over even if the conversion then faults.
    core.enter_mmx()?;
    core.sse_raise(&env)?;
    core.set_mmx(op.dst, value as u64);
    Ok(())
}
