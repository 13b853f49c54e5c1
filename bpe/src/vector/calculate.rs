//! Floating-point operations as functions of vectors and MXCSR's arithmetic, for SSE and for VEX.

use core::cmp::Ordering;
use core::marker::PhantomData;

use super::float::{Arithmetic, Native, source};
use super::lanes::{build, lane, with_lane};
use super::vex::Vex;
use crate::core::Core;
use crate::float::{DENORMAL, Env, F32, F64, Float, Rounding, pack, unpack};
use crate::op::{Flow, Op};

/// MXCSR's arithmetic, and whether the host's will do.
pub(crate) struct Calculator {
    pub(super) env: Env,
    fast: bool,
}

/// What an operation makes of its sources: the first, the last, and a third that few have.
pub(crate) trait Calculate: 'static {
    fn calculate(calculator: &mut Calculator, sources: [u128; 3], imm: u8) -> u128;
}

type Function = fn(&mut Calculator, [u128; 3], u8) -> u128;

impl Core {
    pub(super) fn calculator(&self) -> Calculator {
        Calculator { env: self.sse_env(), fast: self.is_fast() }
    }

    fn calculate(&mut self, op: &Op, function: Function) -> Flow {
        let b = source(self, op)?;
        let (a, mut calculator) = (self.xmm(op.dst), self.calculator());
        let value = function(&mut calculator, [a, b, 0], op.imm as u8);
        self.sse_raise(&calculator.env)?;
        self.set_xmm(op.dst, value);
        Ok(())
    }

    fn calculate_vex(&mut self, op: &Op, function: Function) -> Flow {
        let vex = Vex::of(op);
        let b = self.vex_source(op)?;
        let (a, c, mut calculator) = (self.ymm(vex.first), self.ymm(vex.third), self.calculator());
        let value = vex.result(|half| function(&mut calculator, [a[half], b[half], c[half]], vex.imm[half]));
        self.sse_raise(&calculator.env)?;
        self.set_ymm(op.dst, value);
        Ok(())
    }
}

/// `C` as SSE has it: the first source becomes the result.
pub(crate) fn sse<C: Calculate>(core: &mut Core, op: &Op) -> Flow {
    core.calculate(op, C::calculate)
}

/// `C` as VEX has it.
pub(crate) fn vex<C: Calculate>(core: &mut Core, op: &Op) -> Flow {
    core.calculate_vex(op, C::calculate)
}

/// Arithmetic on all lanes.
pub(crate) struct AllLanes<O, P>(PhantomData<(O, P)>);
/// Arithmetic on the lowest.
pub(crate) struct LowLane<O, P>(PhantomData<(O, P)>);

fn arithmetic<O: Arithmetic, P: Native>(calculator: &mut Calculator, a: P, b: P) -> P {
    let fast = if calculator.fast { O::fast(a, b) } else { None };
    fast.unwrap_or_else(|| O::exact(&mut calculator.env, a, b))
}

impl<O: Arithmetic, P: Native> Calculate for AllLanes<O, P> {
    fn calculate(calculator: &mut Calculator, [a, b, _]: [u128; 3], _: u8) -> u128 {
        build::<P, 16>(|i| arithmetic::<O, P>(calculator, lane(a, i), lane(b, i)))
    }
}

impl<O: Arithmetic, P: Native> Calculate for LowLane<O, P> {
    fn calculate(calculator: &mut Calculator, [a, b, _]: [u128; 3], _: u8) -> u128 {
        with_lane(a, 0, arithmetic::<O, P>(calculator, lane(a, 0), lane(b, 0)))
    }
}

/// For each predicate the orders it holds for: less, equal, greater, unordered, from bit 0 on.
pub(crate) const PREDICATES: [u8; 16] = [2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15];

fn compare_lane<P: Native>(env: &mut Env, a: P, b: P, predicate: u8) -> P {
    // Those from 16 on are the same, the other way about with quiet NaNs.
    let quiet = matches!(predicate & 3, 0 | 3) != (predicate & 16 != 0);
    let (a, b) = (unpack(env, a), unpack(env, b));
    let order = match env.compare(a, b, quiet) {
        Some(Ordering::Less) => 1,
        Some(Ordering::Equal) => 2,
        Some(Ordering::Greater) => 4,
        None => 8,
    };
    let holds = PREDICATES[usize::from(predicate & 15)] & order != 0;
    P::from_bits(if holds { u64::MAX } else { 0 })
}

/// `CMPPS` and its kin, by the predicate in the immediate.
pub(crate) struct Compare<P, const SCALAR: bool>(PhantomData<P>);
impl<P: Native, const SCALAR: bool> Calculate for Compare<P, SCALAR> {
    fn calculate(Calculator { env, .. }: &mut Calculator, [a, b, _]: [u128; 3], imm: u8) -> u128 {
        match SCALAR {
            true => with_lane(a, 0, compare_lane::<P>(env, lane(a, 0), lane(b, 0), imm)),
            false => build::<P, 16>(|i| compare_lane::<P>(env, lane(a, i), lane(b, i), imm)),
        }
    }
}

fn sum<P: Native>(env: &mut Env, a: P, b: P, subtract: bool) -> P {
    let (a, b) = (unpack(env, a), unpack(env, b));
    pack(if subtract { env.subtract(P::FORMAT, a, b) } else { env.add(P::FORMAT, a, b) })
}

/// `HADDPx` (`SUBTRACT` false) and `HSUBPx`.
pub(crate) struct Horizontal<P, const SUBTRACT: bool>(PhantomData<P>);
impl<P: Native, const SUBTRACT: bool> Calculate for Horizontal<P, SUBTRACT> {
    fn calculate(Calculator { env, .. }: &mut Calculator, [a, b, _]: [u128; 3], _: u8) -> u128 {
        let half = 8 / P::BYTES;
        build::<P, 16>(|i| {
            let (from, i) = if i < half { (a, i) } else { (b, i - half) };
            sum::<P>(env, lane(from, 2 * i), lane(from, 2 * i + 1), SUBTRACT)
        })
    }
}

/// `ADDSUBPx`: even lanes subtract.
pub(crate) struct AddSubtract<P>(PhantomData<P>);
impl<P: Native> Calculate for AddSubtract<P> {
    fn calculate(Calculator { env, .. }: &mut Calculator, [a, b, _]: [u128; 3], _: u8) -> u128 {
        build::<P, 16>(|i| sum::<P>(env, lane(a, i), lane(b, i), i % 2 == 0))
    }
}

/// The products of the lanes chosen by the upper half of the immediate.
fn products<P: Native>(env: &mut Env, a: u128, b: u128, imm: u8) -> u128 {
    build::<P, 16>(|i| {
        if imm >> (4 + i) & 1 == 0 {
            return P::from_bits(0);
        }
        let (x, y) = (unpack(env, lane::<P>(a, i)), unpack(env, lane::<P>(b, i)));
        pack(env.multiply(P::FORMAT, x, y))
    })
}

/// Their sum, made pairwise, in the lanes chosen by the lower half.
fn sum_of_products<P: Native>(env: &mut Env, products: u128, imm: u8) -> u128 {
    let mut pair = |i| sum::<P>(env, lane(products, i), lane(products, i + 1), false);
    let total = match P::BYTES {
        4 => {
            let (low, high) = (pair(0), pair(2));
            sum(env, low, high, false)
        }
        _ => pair(0),
    };
    build::<P, 16>(|i| if imm >> i & 1 != 0 { total } else { P::from_bits(0) })
}

/// `DPPS` and `DPPD`. Exceptions of the products come before the sums are made.
pub(crate) fn dot_product<P: Native>(core: &mut Core, op: &Op) -> Flow {
    let b = source(core, op)?;
    let (a, imm, mut env) = (core.xmm(op.dst), op.imm as u8, core.sse_env());
    let products = products::<P>(&mut env, a, b, imm);
    core.sse_raise(&env)?;
    let value = sum_of_products::<P>(&mut env, products, imm);
    core.sse_raise(&env)?;
    core.set_xmm(op.dst, value);
    Ok(())
}

/// `VDPPS` and `VDPPD`.
pub(crate) fn dot_product_vex<P: Native>(core: &mut Core, op: &Op) -> Flow {
    let vex = Vex::of(op);
    let b = core.vex_source(op)?;
    let (a, mut env) = (core.ymm(vex.first), core.sse_env());
    let products = vex.result(|half| products::<P>(&mut env, a[half], b[half], vex.imm[half]));
    core.sse_raise(&env)?;
    let value = vex.result(|half| sum_of_products::<P>(&mut env, products[half], vex.imm[half]));
    core.sse_raise(&env)?;
    core.set_ymm(op.dst, value);
    Ok(())
}

fn round_lane<P: Native>(env: &mut Env, imm: u8, value: P) -> P {
    if imm & 4 == 0 {
        env.rounding = Rounding::from_bits(imm.into());
    }
    let value = unpack(env, value);
    // Rounding to an integral value does not look for denormals.
    let before = env.raised & DENORMAL;
    let rounded = env.round_to_integral(value, imm & 8 == 0);
    env.raised = env.raised & !DENORMAL | before;
    pack(rounded)
}

/// `ROUNDPx` (`SCALAR` false) and `ROUNDSx`.
pub(crate) struct Round<P, const SCALAR: bool>(PhantomData<P>);
impl<P: Native, const SCALAR: bool> Calculate for Round<P, SCALAR> {
    fn calculate(Calculator { env, .. }: &mut Calculator, [a, b, _]: [u128; 3], imm: u8) -> u128 {
        match SCALAR {
            true => with_lane(a, 0, round_lane::<P>(env, imm, lane(b, 0))),
            false => build::<P, 16>(|i| round_lane::<P>(env, imm, lane(b, i))),
        }
    }
}

/// The reciprocal, or that of the square root, as an approximation may be: within 1.5 · 2⁻¹² of exact, denormals taken
/// and given as zero, no exception ever.
fn approximate(bits: u32, of_root: bool) -> u32 {
    let mut env = Env {
        rounding: Rounding::Nearest,
        masked: 0x3f,
        raised: 0,
        flush: true,
        denormals_are_zero: true,
        x87: false,
        rounded_up: false,
    };
    let value = unpack(&env, bits);
    if value.is_nan() {
        return pack(value.quieted());
    }
    let divisor = match of_root {
        true if value.sign && !value.is_zero() => return pack(Float::INDEFINITE),
        true => env.square_root(F64, value),
        false => value,
    };
    let one = Float::finite(false, 0, 1 << 63);
    pack(env.divide(F32, one, divisor))
}

/// `RCPxS` and `RSQRTxS` (`ROOT`), packed or scalar.
pub(crate) struct Approximate<const ROOT: bool, const SCALAR: bool>;
impl<const ROOT: bool, const SCALAR: bool> Calculate for Approximate<ROOT, SCALAR> {
    fn calculate(_: &mut Calculator, [a, b, _]: [u128; 3], _: u8) -> u128 {
        match SCALAR {
            true => with_lane(a, 0, approximate(lane(b, 0), ROOT)),
            false => build::<u32, 16>(|i| approximate(lane(b, i), ROOT)),
        }
    }
}
