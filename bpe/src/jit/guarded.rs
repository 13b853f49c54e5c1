//! Floating-point operations of SSE and AVX that the engine does the same way for ordinary numbers, in WebAssembly:
//! comparisons, the lesser and the greater, roots, roundings to integers, conversions of vectors.
//!
//! What always holds: the engine's result counts if MXCSR lets nothing but a rounding to nearest happen, which is noted
//! already, and no operand in any lane is one that something would have to be noted of. Everything else is the interpreter's.

use alloc::vec::Vec;

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};
use wasm_encoder::{BlockType, ValType};

use super::emit::{Emitter, Temp};
use super::memory::VECTOR;
use super::operands::Half;
use crate::lower::vex::{immediate_or_zero, is_vex, sse_name};
use crate::vector::calculate::PREDICATES;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Compare,
    Lesser,
    Greater,
    Root,
    /// To an integral number.
    Round,
    /// 32-bit integers from singles, rounded or cut off.
    ToIntegers {
        rounds: bool,
    },
    /// Singles from 32-bit integers.
    FromIntegers,
    /// Doubles from singles.
    Widen,
    /// Singles from doubles.
    Narrow,
}

#[derive(Clone, Copy)]
struct Guarded {
    operation: Operation,
    double: bool,
    packed: bool,
}

fn guarded_of(insn: &Instruction) -> Option<Guarded> {
    use Operation as O;
    let vector = insn.op_kind(0) == OpKind::Register && insn.op_register(0).is_vector_register();
    if !vector {
        return None;
    }
    let is = |operation, double, packed| Some(Guarded { operation, double, packed });
    match sse_name(insn)? {
        M::Cmpps => is(O::Compare, false, true),
        M::Cmppd => is(O::Compare, true, true),
        M::Cmpss => is(O::Compare, false, false),
        M::Cmpsd => is(O::Compare, true, false),
        M::Minps => is(O::Lesser, false, true),
        M::Minpd => is(O::Lesser, true, true),
        M::Maxps => is(O::Greater, false, true),
        M::Maxpd => is(O::Greater, true, true),
        M::Sqrtps => is(O::Root, false, true),
        M::Sqrtpd => is(O::Root, true, true),
        M::Roundps => is(O::Round, false, true),
        M::Roundpd => is(O::Round, true, true),
        M::Roundss => is(O::Round, false, false),
        M::Roundsd => is(O::Round, true, false),
        M::Cvtps2dq => is(O::ToIntegers { rounds: true }, false, true),
        M::Cvttps2dq => is(O::ToIntegers { rounds: false }, false, true),
        M::Cvtdq2ps => is(O::FromIntegers, false, true),
        M::Cvtps2pd => is(O::Widen, false, true),
        // Of 32 bytes both halves go to one.
        M::Cvtpd2ps if insn.memory_size().size() != 32 && !insn.op_register(1).is_ymm() => is(O::Narrow, true, true),
        _ => None,
    }
}

pub(super) fn is_translated(insn: &Instruction) -> bool {
    guarded_of(insn).is_some()
}

/// A half and what the engine makes of it.
struct Tried {
    to: Register,
    operands: [Option<Temp>; 2],
    result: Temp,
}

impl Emitter<'_> {
    pub(super) fn guarded(&mut self, insn: &Instruction) {
        let Some(guarded) = guarded_of(insn) else { return };
        if !guarded.packed {
            return self.guarded_scalar(insn, guarded);
        }
        let (low, high) = self.operand_halves(insn);
        let tried: Vec<Tried> =
            [Some(low), high].into_iter().flatten().map(|half| self.try_half(insn, guarded, &half)).collect();
        let fast = self.fast_float();
        self.i().local_get(fast);
        for half in &tried {
            self.push_is_ordinary(guarded, half);
            self.i().i32_and();
        }
        self.open_usual(BlockType::Empty);
        for half in &tried {
            self.get(half.result);
            self.pop_vector(half.to);
        }
        self.or_else();
        self.call_out(true);
        self.close();
        if is_vex(insn) && high.is_none() {
            self.clear_upper(low.to);
        }
    }

    fn try_half(&mut self, insn: &Instruction, Guarded { operation, double, .. }: Guarded, half: &Half) -> Tried {
        use Operation as O;
        self.push_last(insn, half, if operation == O::Widen { 3 } else { VECTOR });
        let b = self.take(ValType::V128);
        let a = matches!(operation, O::Compare | O::Lesser | O::Greater).then(|| {
            self.push_xmm(half.first);
            self.take(ValType::V128)
        });
        match operation {
            O::Compare => self.push_comparison(insn, [a.unwrap_or(b), b], double),
            // The second is what it is unless the first is less, or more.
            O::Lesser | O::Greater => {
                self.get(b);
                self.get(a.unwrap_or(b));
                match operation {
                    O::Lesser => self.either(double, |s| s.f64x2_pmin(), |s| s.f32x4_pmin()),
                    _ => self.either(double, |s| s.f64x2_pmax(), |s| s.f32x4_pmax()),
                }
            }
            O::Root => {
                self.get(b);
                self.either(double, |s| s.f64x2_sqrt(), |s| s.f32x4_sqrt());
            }
            O::Round => {
                self.get(b);
                match rounding(insn) {
                    1 => self.either(double, |s| s.f64x2_floor(), |s| s.f32x4_floor()),
                    2 => self.either(double, |s| s.f64x2_ceil(), |s| s.f32x4_ceil()),
                    3 => self.either(double, |s| s.f64x2_trunc(), |s| s.f32x4_trunc()),
                    _ => self.either(double, |s| s.f64x2_nearest(), |s| s.f32x4_nearest()),
                }
            }
            O::ToIntegers { rounds } => {
                self.get(b);
                if rounds {
                    self.i().f32x4_nearest();
                }
                self.i().i32x4_trunc_sat_f32x4_s();
            }
            O::FromIntegers => {
                self.get(b);
                self.i().f32x4_convert_i32x4_s();
            }
            O::Widen => {
                self.get(b);
                self.i().f64x2_promote_low_f32x4();
            }
            O::Narrow => {
                self.get(b);
                self.i().f32x4_demote_f64x2_zero();
            }
        }
        Tried { to: half.to, operands: [a, Some(b)], result: self.take(ValType::V128) }
    }

    /// Pushes whether nothing would have to be noted of any lane.
    fn push_is_ordinary(&mut self, Guarded { operation, double, .. }: Guarded, half: &Tried) {
        use Operation as O;
        let Tried { operands: [a, Some(b)], result, .. } = *half else { return };
        match operation {
            O::Compare | O::Lesser | O::Greater => {
                self.push_lanes_are_normal(b, double, true);
                if let Some(a) = a {
                    self.push_lanes_are_normal(a, double, true);
                    self.i().v128_and();
                }
            }
            O::Root => {
                self.push_lanes_are_normal(b, double, true);
                self.get(b);
                self.splat(0.0, double);
                self.either(double, |s| s.f64x2_ge(), |s| s.f32x4_ge());
                self.i().v128_and();
            }
            O::Round => {
                self.get(b);
                self.get(b);
                self.either(double, |s| s.f64x2_eq(), |s| s.f32x4_eq());
            }
            O::ToIntegers { .. } => {
                self.get(b);
                self.i().f32x4_abs();
                self.splat(2_147_483_648.0, false);
                self.i().f32x4_lt();
            }
            O::FromIntegers => {
                _ = self.i().i32_const(1);
                return;
            }
            // What a normal single is as a double; a zero comes from zero.
            O::Widen => return self.push_are_singles(result, result),
            O::Narrow => {
                self.get(result);
                self.i().f64x2_promote_low_f32x4();
                let wide = self.take(ValType::V128);
                return self.push_are_singles(wide, b);
            }
        }
        self.either(double, |s| s.i64x2_all_true(), |s| s.i32x4_all_true());
    }

    /// Pushes whether both doubles of `value` are of a single's normal range, or `zero` is zero there.
    fn push_are_singles(&mut self, value: Temp, zero: Temp) {
        self.get(value);
        self.i().f64x2_abs();
        let magnitude = self.take(ValType::V128);
        self.get(magnitude);
        self.splat(f32::MIN_POSITIVE.into(), true);
        self.i().f64x2_gt();
        self.get(magnitude);
        self.splat(f64::INFINITY, true);
        self.i().f64x2_lt().v128_and();
        self.get(zero);
        self.splat(0.0, true);
        self.i().f64x2_eq().v128_or().i64x2_all_true();
    }

    /// Pushes for each lane whether the predicate holds, of numbers that have an order.
    fn push_comparison(&mut self, insn: &Instruction, [a, b]: [Temp; 2], double: bool) {
        let orders = orders(insn);
        if matches!(orders, NEVER | ALWAYS) {
            self.i().v128_const(if orders == ALWAYS { -1 } else { 0 });
            return;
        }
        self.get(a);
        self.get(b);
        match orders {
            1 => self.either(double, |s| s.f64x2_lt(), |s| s.f32x4_lt()),
            2 => self.either(double, |s| s.f64x2_eq(), |s| s.f32x4_eq()),
            3 => self.either(double, |s| s.f64x2_le(), |s| s.f32x4_le()),
            4 => self.either(double, |s| s.f64x2_gt(), |s| s.f32x4_gt()),
            5 => self.either(double, |s| s.f64x2_ne(), |s| s.f32x4_ne()),
            _ => self.either(double, |s| s.f64x2_ge(), |s| s.f32x4_ge()),
        }
    }

    /// A comparison or rounding of low lanes.
    fn guarded_scalar(&mut self, insn: &Instruction, Guarded { operation, double, .. }: Guarded) {
        let (b, source) = self.take_scalar(insn, double);
        let first = super::float::first_source(insn);
        if operation == Operation::Round {
            let fast = self.fast_float();
            self.i().local_get(fast);
            self.push_is_nan(b, double);
            self.i().i32_eqz().i32_and();
            self.open_usual(BlockType::Empty);
            self.get(b);
            match rounding(insn) {
                1 => self.either(double, |s| s.f64_floor(), |s| s.f32_floor()),
                2 => self.either(double, |s| s.f64_ceil(), |s| s.f32_ceil()),
                3 => self.either(double, |s| s.f64_trunc(), |s| s.f32_trunc()),
                _ => self.either(double, |s| s.f64_nearest(), |s| s.f32_nearest()),
            }
            let r = self.take_number(double);
            self.put_low(insn, r, double);
        } else {
            self.push_low(first, double);
            let a = self.take_number(double);
            self.push_operands_are_clean(&[(a, Some(first)), (b, source)], double);
            for value in [a, b] {
                self.push_is_nan(value, double);
                self.i().i32_eqz().i32_and();
            }
            self.open_usual(BlockType::Empty);
            self.push_xmm(first);
            self.push_scalar_comparison(insn, [a, b], double);
            self.either(double, |s| s.i64x2_replace_lane(0), |s| s.i32x4_replace_lane(0));
            self.pop_vector(insn.op0_register());
        }
        self.or_else();
        self.call_out(true);
        self.close();
        if is_vex(insn) {
            self.clear_upper(insn.op0_register());
        }
    }

    /// Pushes a lane of ones if the predicate holds, or of zeros.
    fn push_scalar_comparison(&mut self, insn: &Instruction, [a, b]: [Temp; 2], double: bool) {
        self.either(double, |s| s.i64_const(0), |s| s.i32_const(0));
        match orders(insn) {
            orders @ (NEVER | ALWAYS) => _ = self.i().i32_const(i32::from(orders == ALWAYS)),
            orders => {
                self.get(a);
                self.get(b);
                match orders {
                    1 => self.either(double, |s| s.f64_lt(), |s| s.f32_lt()),
                    2 => self.either(double, |s| s.f64_eq(), |s| s.f32_eq()),
                    3 => self.either(double, |s| s.f64_le(), |s| s.f32_le()),
                    4 => self.either(double, |s| s.f64_gt(), |s| s.f32_gt()),
                    5 => self.either(double, |s| s.f64_ne(), |s| s.f32_ne()),
                    _ => self.either(double, |s| s.f64_ge(), |s| s.f32_ge()),
                }
            }
        }
        self.either(double, |s| s.i64_extend_i32_u().i64_sub(), |s| s.i32_sub());
    }
}

/// Predicates that hold for no order, and for every one.
const NEVER: u8 = 0;
const ALWAYS: u8 = 7;

/// For which orders of two numbers the predicate of a comparison holds: less, equal, greater, from bit 0 on.
fn orders(insn: &Instruction) -> u8 {
    let predicate = immediate_or_zero(insn) & if is_vex(insn) { 15 } else { 7 };
    PREDICATES[usize::from(predicate)] & ALWAYS
}

/// How an instruction rounds, as RC encodes it, where MXCSR says to nearest.
fn rounding(insn: &Instruction) -> u8 {
    let imm = immediate_or_zero(insn);
    if imm & 4 == 0 { imm & 3 } else { 0 }
}
