//! SSE floating-point arithmetic.
//!
//! What always holds: MXCSR's sticky flags and every bit of a result are those of the processor. Native arithmetic is used
//! only when nothing but a rounding to nearest can happen and inexactness is already noted; all else goes through
//! [`crate::float`].

use super::lanes::{lane, with_lane};
use crate::core::Core;
use crate::float::{BEFORE, Env, Float, Packed, Rounding, pack, unpack};
use crate::op::{Flow, Op, Run, Stop};
use aurora_machine::Exception;
use core::cmp::Ordering;

const DAZ: u32 = 1 << 6;
const FTZ: u32 = 1 << 15;
/// All exceptions masked, rounding to nearest, denormals as they are, and inexactness noted already: what a program that
/// calculates has in MXCSR.
const FAST_MASK: u32 = 0xffe0;
const FAST: u32 = 0x1fa0;

impl Core {
    /// The arithmetic MXCSR asks for.
    pub(super) fn sse_env(&self) -> Env {
        let mxcsr = self.fx.mxcsr;
        Env {
            rounding: Rounding::from_bits(mxcsr >> 13),
            masked: (mxcsr >> 7 & 0x3f) as u8,
            raised: 0,
            flush: mxcsr & FTZ != 0,
            denormals_are_zero: mxcsr & DAZ != 0,
            x87: false,
            rounded_up: false,
        }
    }

    /// Notes what was raised. An unmasked exception faults, and one found before there was a result hides those after.
    pub(super) fn sse_raise(&mut self, env: &Env) -> Flow {
        let before = env.raised & BEFORE;
        if before & !env.masked != 0 {
            self.fx.mxcsr |= u32::from(before);
            return Err(self.exception(Exception::Simd));
        }
        self.fx.mxcsr |= u32::from(env.raised);
        if env.raised & !env.masked != 0 {
            return Err(self.exception(Exception::Simd));
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn is_fast(&self) -> bool {
        self.fx.mxcsr & FAST_MASK == FAST
    }
}

/// A packed format the host can calculate in.
pub(crate) trait Native: Packed + super::lanes::Lane {
    fn zero_or_normal(self) -> bool;
    fn normal(self) -> bool;
    /// Normal, and not the least such number, to which one that is denormal may have been rounded.
    fn above_least(self) -> bool;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn sqrt(self) -> Self;
}

macro_rules! native {
    ($($bits:ty, $float:ty, $fraction:expr, $sqrt:path;)*) => {$(
        impl Native for $bits {
            #[inline(always)]
            fn normal(self) -> bool {
                let exponent = self << 1 >> ($fraction + 1);
                exponent.wrapping_sub(1) < (<$bits>::MAX >> ($fraction + 1)) - 1
            }
            #[inline(always)]
            fn above_least(self) -> bool {
                self.normal() && self << 1 != 1 << ($fraction + 1)
            }
            #[inline(always)]
            fn zero_or_normal(self) -> bool {
                self.normal() || self << 1 == 0
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                (<$float>::from_bits(self) + <$float>::from_bits(other)).to_bits()
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                (<$float>::from_bits(self) - <$float>::from_bits(other)).to_bits()
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                (<$float>::from_bits(self) * <$float>::from_bits(other)).to_bits()
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                (<$float>::from_bits(self) / <$float>::from_bits(other)).to_bits()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $sqrt(<$float>::from_bits(self)).to_bits()
            }
        }
    )*};
}
native! {
    u32, f32, 23, libm::sqrtf;
    u64, f64, 52, libm::sqrt;
}

/// An operation on two numbers.
pub(crate) trait Arithmetic: 'static {
    /// The result by native arithmetic, if that is certain to be right when [`FAST`] holds.
    #[inline(always)]
    fn fast<P: Native>(_a: P, _b: P) -> Option<P> {
        None
    }
    /// The result and exceptions, exactly.
    fn exact<P: Native>(env: &mut Env, a: P, b: P) -> P;
}

macro_rules! arithmetic {
    ($($name:ident, $fast:expr, $exact:ident;)*) => {$(
        pub(crate) struct $name;
        impl Arithmetic for $name {
            #[inline(always)]
            fn fast<P: Native>(a: P, b: P) -> Option<P> {
                $fast(a, b)
            }
            fn exact<P: Native>(env: &mut Env, a: P, b: P) -> P {
                let (a, b) = (unpack(env, a), unpack(env, b));
                pack(env.$exact(P::FORMAT, a, b))
            }
        }
    )*};
}

#[inline(always)]
fn sum<P: Native>(a: P, b: P, r: P) -> Option<P> {
    (r.zero_or_normal() && a.zero_or_normal() && b.zero_or_normal()).then_some(r)
}

arithmetic! {
    Add, |a: P, b: P| sum(a, b, a.add(b)), add;
    Subtract, |a: P, b: P| sum(a, b, a.sub(b)), subtract;
    // A zero may be an underflow, so only what is normal is certain.
    Multiply, |a: P, b: P| { let r = a.mul(b); (r.above_least() && a.normal() && b.normal()).then_some(r) }, multiply;
    Divide, |a: P, b: P| { let r = a.div(b); (r.above_least() && a.normal() && b.normal()).then_some(r) }, divide;
}

/// The square root of the second operand.
pub(crate) struct SquareRoot;
impl Arithmetic for SquareRoot {
    #[inline(always)]
    fn fast<P: Native>(_: P, b: P) -> Option<P> {
        (b.normal() && b.bits() >> (P::BITS - 1) == 0).then(|| b.sqrt())
    }
    fn exact<P: Native>(env: &mut Env, _: P, b: P) -> P {
        let b = unpack(env, b);
        pack(env.square_root(P::FORMAT, b))
    }
}

/// `MIN` and `MAX` give the second operand when either is NaN or both are zero.
fn choose<P: Native>(env: &mut Env, a: P, b: P, wanted: Ordering) -> P {
    let (x, y) = (unpack(env, a), unpack(env, b));
    let flushed = |packed: P, value: Float| if value.is_zero() { pack(value) } else { packed };
    match env.compare(x, y, false) {
        Some(found) if found == wanted => flushed(a, x),
        _ => flushed(b, y),
    }
}

/// `MINPS` and its kin.
pub(crate) struct Minimum;
impl Arithmetic for Minimum {
    fn exact<P: Native>(env: &mut Env, a: P, b: P) -> P {
        choose(env, a, b, Ordering::Less)
    }
}
/// `MAXPS` and its kin.
pub(crate) struct Maximum;
impl Arithmetic for Maximum {
    fn exact<P: Native>(env: &mut Env, a: P, b: P) -> P {
        choose(env, a, b, Ordering::Greater)
    }
}

/// One lane, the quick way if possible.
#[inline(always)]
fn calculate<O: Arithmetic, P: Native>(env: &mut Option<Env>, core: &Core, a: P, b: P) -> P {
    if core.is_fast()
        && let Some(r) = O::fast(a, b)
    {
        return r;
    }
    O::exact(env.get_or_insert_with(|| core.sse_env()), a, b)
}

fn packed<O: Arithmetic, P: Native>(core: &mut Core, op: &Op, b: u128) -> Flow {
    let a = core.xmm(op.dst);
    let mut env = None;
    let value = super::lanes::build::<P, 16>(|i| calculate::<O, P>(&mut env, core, lane(a, i), lane(b, i)));
    if let Some(env) = env {
        core.sse_raise(&env)?;
    }
    core.set_xmm(op.dst, value);
    Ok(())
}

#[inline(always)]
fn scalar<O: Arithmetic, P: Native>(core: &mut Core, op: &Op, b: P) -> Flow {
    let a = core.xmm(op.dst);
    let mut env = None;
    let r = calculate::<O, P>(&mut env, core, lane(a, 0), b);
    if let Some(env) = env {
        core.sse_raise(&env)?;
    }
    core.set_xmm(op.dst, with_lane(a, 0, r));
    Ok(())
}

fn packed_reg<O: Arithmetic, P: Native>(core: &mut Core, op: &Op) -> Flow {
    packed::<O, P>(core, op, core.xmm(op.src))
}
fn packed_mem<O: Arithmetic, P: Native>(core: &mut Core, op: &Op) -> Flow {
    let b = core.load_aligned(op)?;
    packed::<O, P>(core, op, b)
}
fn scalar_reg<O: Arithmetic, P: Native>(core: &mut Core, op: &Op) -> Flow {
    scalar::<O, P>(core, op, lane(core.xmm(op.src), 0))
}
fn scalar_mem<O: Arithmetic, P: Native + crate::width::Plain>(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    let b = core.load::<P>(op, addr)?;
    scalar::<O, P>(core, op, b)
}

/// Which of the four forms an instruction has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Ps,
    Pd,
    Ss,
    Sd,
}

/// The handler of `O` in the given shape.
pub(crate) fn arithmetic_handler<O: Arithmetic>(shape: Shape, memory: bool) -> Run {
    match (shape, memory) {
        (Shape::Ps, false) => packed_reg::<O, u32>,
        (Shape::Ps, true) => packed_mem::<O, u32>,
        (Shape::Pd, false) => packed_reg::<O, u64>,
        (Shape::Pd, true) => packed_mem::<O, u64>,
        (Shape::Ss, false) => scalar_reg::<O, u32>,
        (Shape::Ss, true) => scalar_mem::<O, u32>,
        (Shape::Sd, false) => scalar_reg::<O, u64>,
        (Shape::Sd, true) => scalar_mem::<O, u64>,
    }
}

/// `COMISx` and `UCOMISx` (`QUIET`): the order into ZF, PF and CF.
pub(crate) fn compare_flags<P: Native, const QUIET: bool>(core: &mut Core, op: &Op) -> Flow {
    use crate::flags::{CF, Flags, PF, ZF};
    let b = if op.aux == 0 { core.xmm(op.src) } else { core.load_narrow(op)? };
    let mut env = core.sse_env();
    let (x, y) = (unpack(&env, lane::<P>(core.xmm(op.dst), 0)), unpack(&env, lane::<P>(b, 0)));
    let order = env.compare(x, y, QUIET);
    core.sse_raise(&env)?;
    core.flags = Flags::from_bits(match order {
        None => ZF | PF | CF,
        Some(Ordering::Less) => CF,
        Some(Ordering::Equal) => ZF,
        Some(Ordering::Greater) => 0,
    });
    Ok(())
}

/// The second operand, in a register or in memory of `op.aux` bytes.
pub(super) fn source(core: &mut Core, op: &Op) -> Result<u128, Stop> {
    match op.aux {
        0 => Ok(core.xmm(op.src)),
        16 => core.load_aligned(op),
        _ => core.load_narrow(op),
    }
}
