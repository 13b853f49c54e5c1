//! SSE arithmetic on all lanes, and what it needs to see that nothing special happened.
//!
//! What always holds: see [`super::float`]. The numbers results are compared with are locals that no result passes when
//! MXCSR wants more than the engine does, so asking for the one asks for the other.

use alloc::vec;
use alloc::vec::Vec;

use iced_x86::{Instruction, Register};
use wasm_encoder::{BlockType, ValType};

use super::clean;
use super::code::Function;
use super::emit::{Emitter, Temp, at};
use super::float::{Calculation, Float, float_of};
use super::operands::{Half, Last, halves};
use crate::lower::vex::is_vex;

/// What must be so in MXCSR for the engine's arithmetic: all exceptions masked, rounding to nearest, denormals as they
/// are, and inexactness noted already.
const MXCSR_MASK: i32 = 0xffe0;
const MXCSR_FAST: i32 = 0x1fa0;

/// Locals that say what is usual of numbers of one precision.
#[derive(Clone, Copy)]
struct Usual {
    scalar: Option<Normal>,
    lanes: Option<Lanes>,
}

/// What the doubled bits of a normal number are below, less those of the smallest and one: see
/// [`Emitter::push_is_normal`].
#[derive(Clone, Copy)]
pub(super) struct Normal {
    /// What to add for the latter: a local, since a constant of 64 bits would be put into a register each time. A single's
    /// are few enough to be part of an instruction.
    pub(super) smallest: Option<u32>,
    /// The local no usual number reaches.
    pub(super) limit: u32,
}

/// Vectors for all lanes at once.
#[derive(Clone, Copy)]
struct Lanes {
    /// All bits but the signs.
    magnitude: u32,
    /// The smallest normal number but one.
    least: u32,
    /// The largest finite one.
    most: u32,
}

/// Half of a packed operation that has been tried.
struct Calculated {
    to: Register,
    operands: Vec<(Temp, Option<Register>)>,
    result: Temp,
}

/// The locals arithmetic needs; loaded with MXCSR.
pub(crate) struct FloatLocals {
    /// Whether the engine's arithmetic may be used.
    fast: u32,
    single: Usual,
    double: Usual,
    /// Where doubles have their exponents: a local, as [`Normal::smallest`] is.
    exponent: Option<u32>,
}

impl FloatLocals {
    /// For the function that is being written, as far as it calculates.
    pub(crate) fn new(function: &Function, local: &mut dyn FnMut(ValType) -> u32) -> Self {
        let floats: Vec<Float> =
            function.blocks.iter().flat_map(|b| &b.insns).filter_map(|i| float_of(&i.insn)).collect();
        let mut usual = |double: bool| {
            let has = |packed: bool| floats.iter().any(|f| f.packed == packed && f.asks_of(double));
            let size = if double { ValType::I64 } else { ValType::I32 };
            Usual {
                scalar: has(false).then(|| Normal { smallest: double.then(|| local(size)), limit: local(size) }),
                lanes: has(true).then(|| {
                    let [magnitude, least, most] = [0; 3].map(|_| local(ValType::V128));
                    Lanes { magnitude, least, most }
                }),
            }
        };
        let (single, double) = (usual(false), usual(true));
        let exponent = floats.iter().any(|f| f.double && !f.packed).then(|| local(ValType::I64));
        Self { fast: local(ValType::I32), single, double, exponent }
    }

    fn usual(&self, double: bool) -> Usual {
        if double { self.double } else { self.single }
    }

    /// The local with a mask of doubles' exponents, or with zero.
    pub(super) fn exponent(&self) -> Option<u32> {
        self.exponent
    }

    /// How normal numbers are told.
    pub(super) fn normal(&self, double: bool) -> Option<Normal> {
        self.usual(double).scalar
    }
}

/// A number in all lanes.
fn lanes_of(number: u64, double: bool) -> i128 {
    let wide = if double { u128::from(number) } else { u128::from(number) << 32 | u128::from(number) };
    (wide << 64 | wide) as i128
}

impl Emitter<'_> {
    /// The local that says whether the engine's arithmetic may be used.
    pub(crate) fn fast_float(&self) -> u32 {
        self.floats.fast
    }

    /// Pushes what MXCSR says of that.
    fn push_fast_float(&mut self) {
        let from = at(self.layout.mxcsr);
        self.i().i32_const(0).i32_load(from).i32_const(MXCSR_MASK).i32_and().i32_const(MXCSR_FAST).i32_eq();
    }

    /// Pushes whether MXCSR says something else than it did.
    pub(crate) fn push_fast_float_changed(&mut self) {
        let fast = self.floats.fast;
        self.push_fast_float();
        self.i().local_get(fast).i32_ne();
    }

    /// Loads what MXCSR says.
    pub(crate) fn load_fast_float(&mut self) {
        let fast = self.floats.fast;
        self.push_fast_float();
        self.i().local_set(fast);
        if let Some(exponent) = self.floats.exponent {
            self.i().i64_const(0x7ff << 52).i64_const(0).local_get(fast).select().local_set(exponent);
        }
        for double in [false, true] {
            let Usual { scalar, lanes } = self.floats.usual(double);
            if let Some(Normal { smallest, limit }) = scalar {
                let mut s = self.i();
                if let Some(smallest) = smallest {
                    s.i64_const((0x7fe << 53) - 1).i64_const(0).local_get(fast).select().local_set(limit);
                    // An engine must not see that this is a constant.
                    s.i64_const((-1 << 53) - 1).i64_const(0).local_get(fast).select().local_set(smallest);
                } else {
                    s.i32_const((0xfe << 24) - 1).i32_const(0).local_get(fast).select().local_set(limit);
                }
            }
            if let Some(Lanes { magnitude, least, most }) = lanes {
                let [all, smallest, largest] = match double {
                    true => [u64::MAX >> 1, f64::MIN_POSITIVE.to_bits() + 1, f64::MAX.to_bits()],
                    false => [u32::MAX >> 1, f32::MIN_POSITIVE.to_bits() + 1, f32::MAX.to_bits()].map(u64::from),
                }
                .map(|number| lanes_of(number, double));
                let mut s = self.i();
                s.v128_const(all).local_set(magnitude).v128_const(smallest).local_set(least);
                s.v128_const(largest).v128_const(-1).local_get(fast).select().local_set(most);
            }
        }
    }

    /// An operation on all lanes: of one half, or of both at once, since both are done or neither.
    pub(super) fn packed(&mut self, insn: &Instruction, float: Float) {
        let (low, high) = self.operand_halves(insn);
        if matches!(float.calculation, Calculation::Fused(_)) && !self.layout.fused {
            return self.slowly_packed(insn, float.double);
        }
        let mut all = vec![self.calculate_half(insn, float, low)];
        if let Some(high) = high {
            all.push(self.calculate_half(insn, float, high));
        }
        let fast = self.fast_float();
        let sum = matches!(float.calculation, Calculation::Add | Calculation::Subtract);
        let double = float.double;
        let done = self.open();
        let unusual = self.open();
        for (i, half) in all.iter().enumerate() {
            self.push_some_lane_is_unusual(&half.operands, half.result, double);
            if i > 0 {
                self.i().i32_or();
            }
        }
        let label = self.label(unusual);
        self.branch_rarely(label);
        all.iter().for_each(|half| self.put_calculated(half));
        let label = self.label(done);
        self.i().br(label);
        self.close();
        for (i, half) in all.iter().enumerate() {
            self.push_lanes_are_normal(half.result, double, sum);
            for &(operand, _) in &half.operands {
                self.push_lanes_are_normal(operand, double, true);
                self.i().v128_and();
            }
            if i > 0 {
                self.i().v128_and();
            }
        }
        self.either(double, |s| s.i64x2_all_true(), |s| s.i32x4_all_true());
        self.i().local_get(fast).i32_and();
        self.open_usual(BlockType::Empty);
        all.iter().for_each(|half| self.put_calculated(half));
        self.or_else();
        self.slowly_packed(insn, double);
        self.close();
        self.close();
        if is_vex(insn) && high.is_none() {
            self.clear_upper(low.to);
        }
    }

    /// The interpreter executes the instruction. Then, where a register it worked on is denormal, translated code is left.
    fn slowly_packed(&mut self, insn: &Instruction, double: bool) {
        self.call_out(true);
        self.i().i32_const(0);
        let mut asked = Vec::new();
        for register in halves(insn).flatten().flatten() {
            if asked.contains(&register) {
                continue;
            }
            asked.push(register);
            self.push_a_lane_is_denormal(register, double);
            self.i().i32_or();
        }
        self.leave_after(insn);
    }

    fn put_calculated(&mut self, half: &Calculated) {
        self.get(half.result);
        self.pop_vector(half.to);
    }

    /// What the engine makes of half of an instruction.
    fn calculate_half(&mut self, insn: &Instruction, float: Float, half: Half) -> Calculated {
        use Calculation as C;
        let double = float.double;
        if let C::Fused(fused) = float.calculation {
            let sources = self.fused_sources(insn, &half);
            self.push_fused(fused, sources, double);
            let result = self.take(ValType::V128);
            let last = if let Last::Register(register) = half.last { Some(register) } else { None };
            let operands = sources.into_iter().zip([Some(half.to), Some(half.first), last]).collect();
            return Calculated { to: half.to, operands, result };
        }
        let source = if let Last::Register(register) = half.last { Some(register) } else { None };
        let b = self.take_last(insn, &half);
        self.push_xmm(half.first);
        let a = self.take(ValType::V128);
        self.get(a);
        self.get(b);
        match float.calculation {
            C::Add => self.either(double, |s| s.f64x2_add(), |s| s.f32x4_add()),
            C::Subtract => self.either(double, |s| s.f64x2_sub(), |s| s.f32x4_sub()),
            C::Multiply => self.either(double, |s| s.f64x2_mul(), |s| s.f32x4_mul()),
            _ => self.either(double, |s| s.f64x2_div(), |s| s.f32x4_div()),
        }
        let result = self.take(ValType::V128);
        Calculated { to: half.to, operands: vec![(a, Some(half.first)), (b, source)], result }
    }

    /// Pushes whether in some lane an operand not known to have one has no exponent, or the result is not normal.
    fn push_some_lane_is_unusual(&mut self, operands: &[(Temp, Option<Register>)], r: Temp, double: bool) {
        let Some(Lanes { magnitude, least, most }) = self.floats.usual(double).lanes else { return };
        self.i().local_get(r.index).local_get(magnitude).v128_and();
        let result = self.take(ValType::V128);
        self.get(result);
        for (i, &(value, register)) in operands.iter().enumerate() {
            let known = register.is_some_and(|r| self.clean.has(r, double, clean::Lanes::All));
            // Some may be the same register.
            if known || register.is_some() && operands[..i].iter().any(|o| o.1 == register) {
                continue;
            }
            self.i().local_get(value.index).local_get(magnitude).v128_and();
            self.either(double, |s| s.f64x2_pmin(), |s| s.f32x4_pmin());
        }
        self.i().local_get(least);
        self.either(double, |s| s.f64x2_lt(), |s| s.f32x4_lt());
        self.i().local_get(result.index).local_get(most);
        self.either(double, |s| s.i64x2_gt_s(), |s| s.i32x4_gt_s());
        self.i().v128_or();
        self.either(double, |s| s.i64x2_bitmask(), |s| s.i32x4_bitmask());
    }

    /// Pushes whether a register holds a denormal number in some lane.
    pub(super) fn push_a_lane_is_denormal(&mut self, register: Register, double: bool) {
        self.push_xmm(register);
        self.either(double, |s| s.f64x2_abs(), |s| s.f32x4_abs());
        let magnitude = self.take(ValType::V128);
        self.get(magnitude);
        self.splat(if double { f64::MIN_POSITIVE } else { f32::MIN_POSITIVE.into() }, double);
        self.either(double, |s| s.f64x2_lt(), |s| s.f32x4_lt());
        self.get(magnitude);
        self.splat(0.0, double);
        self.either(double, |s| s.f64x2_gt(), |s| s.f32x4_gt());
        self.i().v128_and().v128_any_true();
    }

    pub(super) fn splat(&mut self, value: f64, double: bool) {
        self.float_constant(value, double);
        self.either(double, |s| s.f64x2_splat(), |s| s.f32x4_splat());
    }

    /// Pushes for each lane whether it is normal and not the least number that is, or zero if that will do.
    pub(super) fn push_lanes_are_normal(&mut self, value: Temp, double: bool, or_zero: bool) {
        self.get(value);
        self.either(double, |s| s.f64x2_abs(), |s| s.f32x4_abs());
        let magnitude = self.take(ValType::V128);
        self.get(magnitude);
        self.splat(if double { f64::MIN_POSITIVE } else { f32::MIN_POSITIVE.into() }, double);
        self.either(double, |s| s.f64x2_gt(), |s| s.f32x4_gt());
        self.get(magnitude);
        self.splat(f64::INFINITY, double);
        self.either(double, |s| s.f64x2_lt(), |s| s.f32x4_lt());
        self.i().v128_and();
        if or_zero {
            self.get(magnitude);
            self.splat(0.0, double);
            self.either(double, |s| s.f64x2_eq(), |s| s.f32x4_eq());
            self.i().v128_or();
        }
    }
}
