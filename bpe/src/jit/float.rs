//! SSE arithmetic in WebAssembly.
//!
//! What always holds: a result is taken from the engine only if nothing but a rounding to nearest can have happened and
//! MXCSR says that is fine and noted already; everything else calls the interpreter, which is exact. Whether an operand is
//! denormal is asked once: a register known not to be stays so until it changes, and where one is after all, translated
//! code is left.

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};
use wasm_encoder::{BlockType, ValType};

use super::clean::Lanes;
use super::emit::{Emitter, Temp, at, param};
use super::lazy::{Kind, Setter};
use super::memory::As;
use super::packed::Normal;
use crate::lower::legacy::legacy;
use crate::lower::vex::{fused_of, is_vex, last_source, sse_name};
use crate::vector::fused::Fused;

/// What an instruction calculates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Calculation {
    Add,
    Subtract,
    Multiply,
    Divide,
    SquareRoot,
    Minimum,
    Maximum,
    /// `COMISx` and `UCOMISx`.
    Compare,
    /// A float of the other precision.
    Convert,
    /// An integer to a float.
    FromInteger,
    /// A float to an integer.
    ToInteger,
    /// A product and a sum, rounded once.
    Fused(Fused),
}

#[derive(Clone, Copy)]
pub(super) struct Float {
    pub(super) calculation: Calculation,
    pub(super) double: bool,
    pub(super) packed: bool,
}

impl Float {
    /// Whether it asks of a number of that precision if it is normal: its result; or, if it compares, its operands.
    pub(super) fn asks_of(self, double: bool) -> bool {
        (self.double != (self.calculation == Calculation::Convert)) == double
    }
}

pub(super) fn float_of(insn: &Instruction) -> Option<Float> {
    use Calculation as C;
    let scalar = |calculation, double| Some(Float { calculation, double, packed: false });
    let packed = |calculation, double| Some(Float { calculation, double, packed: true });
    let name = sse_name(insn)?;
    if is_vex(insn)
        && let Some((fused, double, scalar)) = fused_of(insn.mnemonic())
    {
        return Some(Float { calculation: C::Fused(fused), double, packed: !scalar });
    }
    match name {
        M::Addsd => scalar(C::Add, true),
        M::Addss => scalar(C::Add, false),
        M::Addpd => packed(C::Add, true),
        M::Addps => packed(C::Add, false),
        M::Subsd => scalar(C::Subtract, true),
        M::Subss => scalar(C::Subtract, false),
        M::Subpd => packed(C::Subtract, true),
        M::Subps => packed(C::Subtract, false),
        M::Mulsd => scalar(C::Multiply, true),
        M::Mulss => scalar(C::Multiply, false),
        M::Mulpd => packed(C::Multiply, true),
        M::Mulps => packed(C::Multiply, false),
        M::Divsd => scalar(C::Divide, true),
        M::Divss => scalar(C::Divide, false),
        M::Divpd => packed(C::Divide, true),
        M::Divps => packed(C::Divide, false),
        M::Sqrtsd => scalar(C::SquareRoot, true),
        M::Sqrtss => scalar(C::SquareRoot, false),
        M::Minsd => scalar(C::Minimum, true),
        M::Minss => scalar(C::Minimum, false),
        M::Maxsd => scalar(C::Maximum, true),
        M::Maxss => scalar(C::Maximum, false),
        M::Comisd | M::Ucomisd => scalar(C::Compare, true),
        M::Comiss | M::Ucomiss => scalar(C::Compare, false),
        M::Cvtsd2ss => scalar(C::Convert, true),
        M::Cvtss2sd => scalar(C::Convert, false),
        M::Cvtsi2sd => scalar(C::FromInteger, true),
        M::Cvtsi2ss => scalar(C::FromInteger, false),
        M::Cvttsd2si | M::Cvtsd2si => scalar(C::ToInteger, true),
        M::Cvttss2si | M::Cvtss2si => scalar(C::ToInteger, false),
        _ => None,
    }
}

pub(super) fn is_translated(insn: &Instruction) -> bool {
    float_of(insn).is_some()
}

pub(super) fn sets_flags(insn: &Instruction) -> bool {
    float_of(insn).is_some_and(|f| f.calculation == Calculation::Compare)
}

fn type_of(double: bool) -> ValType {
    if double { ValType::F64 } else { ValType::F32 }
}

/// The first source, of which the result has what is above it: where SSE and FMA have their result, too.
pub(super) fn first_source(insn: &Instruction) -> Register {
    let keeps_own = !is_vex(insn) || fused_of(insn.mnemonic()).is_some();
    if keeps_own { insn.op0_register() } else { insn.op1_register() }
}

impl Emitter<'_> {
    pub(super) fn float(&mut self, insn: &Instruction) {
        let Some(float) = float_of(insn) else { return };
        match float.calculation {
            _ if float.packed => self.packed(insn, float),
            Calculation::Compare => return self.compare_floats(insn, float.double),
            Calculation::ToInteger => return self.integer_of_float(insn, float.double),
            Calculation::FromInteger => self.float_of_integer(insn, float.double),
            Calculation::Fused(fused) => self.fused_scalar(insn, float, fused),
            _ => self.scalar(insn, float),
        }
        if is_vex(insn) && !float.packed {
            self.clear_upper(insn.op0_register());
        }
    }

    /// Whether an operand is a register whose low lane is known not to be denormal.
    fn is_clean(&self, register: Option<Register>, double: bool) -> bool {
        register.is_some_and(|r| self.clean.has(r, double, Lanes::Low))
    }

    /// Pushes whether the low lane of a register is denormal.
    pub(super) fn push_low_is_denormal(&mut self, register: Register, double: bool) {
        self.push_low(register, double);
        let value = self.take(type_of(double));
        self.push_is_not_denormal(value, double);
        self.i().i32_eqz();
    }

    /// Pushes the low lane of a register.
    pub(super) fn push_low(&mut self, register: Register, double: bool) {
        self.push_xmm(register);
        self.either(double, |s| s.f64x2_extract_lane(0), |s| s.f32x4_extract_lane(0));
    }

    /// Takes the low lane of the vector on the stack.
    pub(super) fn take_low(&mut self, double: bool) -> Temp {
        self.either(double, |s| s.f64x2_extract_lane(0), |s| s.f32x4_extract_lane(0));
        self.take_number(double)
    }

    /// Takes the number on the stack.
    pub(super) fn take_number(&mut self, double: bool) -> Temp {
        self.take(type_of(double))
    }

    /// The last source, and its register if it is one.
    pub(super) fn take_scalar(&mut self, insn: &Instruction, double: bool) -> (Temp, Option<Register>) {
        let last = last_source(insn);
        if insn.op_kind(last) == OpKind::Register {
            let register = insn.op_register(last);
            self.push_low(register, double);
            return (self.take(type_of(double)), Some(register));
        }
        self.load_operand_as(insn, if double { 3 } else { 2 }, As::Float);
        (self.take(type_of(double)), None)
    }

    /// Pushes the bits of a number without its sign, at the top. (As a sum: what mostly happens shifts, as part of an
    /// address, and an engine would rather keep that for here.)
    fn push_magnitude(&mut self, value: Temp, double: bool) {
        for _ in 0..2 {
            self.get(value);
            self.either(double, |s| s.i64_reinterpret_f64(), |s| s.i32_reinterpret_f32());
        }
        self.either(double, |s| s.i64_add(), |s| s.i32_add());
    }

    /// The same where it mostly happens.
    fn push_usual_magnitude(&mut self, value: Temp, double: bool) {
        self.get(value);
        if double {
            self.i().i64_reinterpret_f64().i64_const(1).i64_shl();
        } else {
            self.i().i32_reinterpret_f32().i32_const(1).i32_shl();
        }
    }

    /// Pushes whether a number is not denormal.
    fn push_is_not_denormal(&mut self, value: Temp, double: bool) {
        self.push_magnitude(value, double);
        if double {
            self.i().i64_const(1).i64_sub().i64_const((1 << 53) - 1).i64_ge_u();
        } else {
            self.i().i32_const(1).i32_sub().i32_const((1 << 24) - 1).i32_ge_u();
        }
    }

    /// Pushes whether a number is neither zero, denormal, infinite nor NaN, nor the least normal one: a result may have been
    /// denormal before it was rounded to that.
    pub(super) fn push_is_normal(&mut self, value: Temp, double: bool) {
        self.push_magnitude(value, double);
        if double {
            self.i().i64_const((1 << 53) + 1).i64_sub().i64_const((0x7fe_u64 << 53) as i64 - 1).i64_lt_u();
        } else {
            self.i().i32_const((1 << 24) + 1).i32_sub().i32_const((0xfe_u32 << 24) as i32 - 1).i32_lt_u();
        }
    }

    /// Pushes whether a number is zero or denormal: it has no exponent. If the engine's arithmetic may not be used it may
    /// push that of any.
    fn push_has_no_exponent(&mut self, value: Temp, double: bool) {
        self.get(value);
        match self.floats.exponent() {
            Some(exponent) if double => self.i().i64_reinterpret_f64().local_get(exponent).i64_and().i64_eqz(),
            _ if double => self.i().i64_reinterpret_f64().i64_const(0x7ff << 52).i64_and().i64_eqz(),
            _ => self.i().i32_reinterpret_f32().i32_const(0xff << 23).i32_and().i32_eqz(),
        };
    }

    /// Goes to a label unless a number is neither zero, denormal, infinite nor NaN, and the engine's arithmetic may be used.
    fn branch_unless_normal(&mut self, value: Temp, double: bool, level: u32) {
        let label = self.label(level);
        let Some(Normal { smallest, limit }) = self.floats.normal(double) else { return };
        self.push_usual_magnitude(value, double);
        match smallest {
            Some(smallest) => self.i().local_get(smallest).i64_add().local_get(limit).i64_ge_u(),
            None => self.i().i32_const((1 << 24) + 1).i32_sub().local_get(limit).i32_ge_u(),
        };
        self.branch_rarely(label);
    }

    /// Goes to `label` unless everything is as it mostly is: operands, as far as that is not known, with an exponent, and
    /// a result that is normal.
    pub(super) fn branch_unless_usual(
        &mut self,
        operands: &[(Temp, Option<Register>)],
        r: Temp,
        from: bool,
        to: bool,
        level: u32,
    ) {
        let label = self.label(level);
        self.branch_unless_normal(r, to, level);
        let mut known = None;
        for &(value, register) in operands {
            if known == Some(value.index) || self.is_clean(register, from) {
                continue;
            }
            known = Some(value.index);
            self.push_has_no_exponent(value, from);
            self.branch_rarely(label);
        }
    }

    pub(super) fn push_is_nan(&mut self, value: Temp, double: bool) {
        self.get(value);
        self.get(value);
        self.either(double, |s| s.f64_ne(), |s| s.f32_ne());
    }

    fn push_is_zero(&mut self, value: Temp, double: bool) {
        self.get(value);
        self.float_constant(0.0, double);
        self.either(double, |s| s.f64_eq(), |s| s.f32_eq());
    }

    /// Pushes whether operands may be used, as far as that is not known.
    pub(super) fn push_operands_are_clean(&mut self, operands: &[(Temp, Option<Register>)], double: bool) {
        let fast = self.fast_float();
        self.i().local_get(fast);
        for &(value, register) in operands {
            if !self.is_clean(register, double) {
                self.push_is_not_denormal(value, double);
                self.i().i32_and();
            }
        }
    }

    /// Makes the result a value, and above it what is there in the first source.
    pub(super) fn put_low(&mut self, insn: &Instruction, value: Temp, double: bool) {
        self.push_xmm(first_source(insn));
        self.get(value);
        self.either(double, |s| s.f64x2_replace_lane(0), |s| s.f32x4_replace_lane(0));
        self.pop_vector(insn.op0_register());
    }

    /// The interpreter executes the instruction. Then, where one of these registers is denormal, what follows must not
    /// assume otherwise: translated code is left.
    pub(super) fn slowly(&mut self, insn: &Instruction, registers: &[Option<Register>], double: bool) {
        self.call_out(true);
        let mut some = false;
        for (i, register) in registers.iter().enumerate() {
            let Some(register) = register.filter(|r| !registers[..i].contains(&Some(*r))) else { continue };
            self.push_low_is_denormal(register, double);
            if some {
                self.i().i32_or();
            }
            some = true;
        }
        if some {
            self.leave_after(insn);
        }
    }

    /// Leaves translated code after an instruction the interpreter executed, if what is on the stack says so.
    pub(super) fn leave_after(&mut self, insn: &Instruction) {
        let paid = self.pending + 1;
        self.open_rare(BlockType::Empty);
        self.push_address(insn.next_ip() as i64);
        self.i().local_get(param::FUEL).i64_const(paid).i64_sub().return_();
        self.close();
    }

    /// An operation on low lanes.
    fn scalar(&mut self, insn: &Instruction, float: Float) {
        use Calculation as C;
        let (double, to, first) = (float.double, insn.op0_register(), first_source(insn));
        let (b, source) = self.take_scalar(insn, double);
        let one = matches!(float.calculation, C::SquareRoot | C::Convert);
        let target = if float.calculation == C::Convert { !double } else { double };
        let mut operands = [(b, source), (b, source)];
        let mut count = 1;
        if !one {
            self.push_low(first, double);
            operands[1] = (self.take(type_of(double)), Some(first));
            count = 2;
        }
        let a = operands[1].0;
        self.push_result_of(float.calculation, a, b, double);
        let r = self.take(type_of(target));
        let done = self.open();
        let unusual = self.open();
        self.branch_unless_usual(&operands[..count], r, double, target, unusual);
        if matches!(float.calculation, C::Minimum | C::Maximum) {
            // The operand not chosen may be NaN.
            let label = self.label(unusual);
            for value in [a, b] {
                self.push_is_nan(value, double);
                self.branch_rarely(label);
            }
        }
        self.put_low(insn, r, target);
        let label = self.label(done);
        self.i().br(label);
        self.close();
        let known = match float.calculation {
            C::Convert => [None; 3],
            C::SquareRoot => [Some(to), source, None],
            _ => [Some(to), source, Some(first)],
        };
        self.push_operands_are_clean(&operands[..count], double);
        self.push_result_is_plain(float.calculation, a, b, r, (double, target));
        self.i().i32_and();
        self.open_if(BlockType::Empty);
        self.put_low(insn, r, target);
        let label = self.label(done);
        self.i().br(label);
        self.close();
        self.slowly(insn, &known, double);
        self.close();
    }

    fn push_result_of(&mut self, calculation: Calculation, a: Temp, b: Temp, double: bool) {
        use Calculation as C;
        if !matches!(calculation, C::SquareRoot | C::Convert) {
            self.get(a);
        }
        self.get(b);
        match calculation {
            C::Add => self.either(double, |s| s.f64_add(), |s| s.f32_add()),
            C::Subtract => self.either(double, |s| s.f64_sub(), |s| s.f32_sub()),
            C::Multiply => self.either(double, |s| s.f64_mul(), |s| s.f32_mul()),
            C::Divide => self.either(double, |s| s.f64_div(), |s| s.f32_div()),
            C::SquareRoot => self.either(double, |s| s.f64_sqrt(), |s| s.f32_sqrt()),
            C::Convert => self.either(double, |s| s.f32_demote_f64(), |s| s.f64_promote_f32()),
            _ => {
                self.get(a);
                self.get(b);
                let less = calculation == C::Minimum;
                match (less, double) {
                    (true, true) => self.i().f64_lt(),
                    (true, false) => self.i().f32_lt(),
                    (false, true) => self.i().f64_gt(),
                    (false, false) => self.i().f32_gt(),
                };
                self.i().select();
            }
        }
    }

    /// Pushes whether the result shows that nothing special happened, zeros among the operands or not.
    fn push_result_is_plain(&mut self, calculation: Calculation, a: Temp, b: Temp, r: Temp, types: (bool, bool)) {
        use Calculation as C;
        let (from, to) = types;
        self.push_is_normal(r, to);
        self.push_is_zero(r, to);
        match calculation {
            C::Multiply | C::Divide | C::Convert => {
                // Zero is exact if it comes from zero.
                self.push_is_zero(a, from);
                if calculation == C::Multiply {
                    self.push_is_zero(b, from);
                    self.i().i32_or();
                }
                self.i().i32_and();
            }
            _ => {}
        }
        self.i().i32_or();
        if matches!(calculation, C::Minimum | C::Maximum) {
            for value in [a, b] {
                self.push_is_nan(value, from);
                self.i().i32_eqz().i32_and();
            }
        }
    }

    fn compare_floats(&mut self, insn: &Instruction, double: bool) {
        let first = insn.op0_register();
        let (b, source) = self.take_scalar(insn, double);
        self.push_low(first, double);
        let a = self.take(type_of(double));
        let operands = [(a, Some(first)), (b, source)];
        let done = self.open();
        let unusual = self.open();
        for (value, register) in operands {
            if self.is_clean(register, double) {
                let label = self.label(unusual);
                self.push_is_nan(value, double);
                self.branch_rarely(label);
            } else {
                self.branch_unless_normal(value, double, unusual);
            }
        }
        let label = self.label(done);
        self.i().br(label);
        self.close();
        // Zeros and infinities compare as others do.
        for (i, (value, register)) in operands.into_iter().enumerate() {
            self.push_is_nan(value, double);
            if !self.is_clean(register, double) {
                self.push_is_not_denormal(value, double);
                self.i().i32_eqz().i32_or();
            }
            if i > 0 {
                self.i().i32_or();
            }
        }
        self.i().i32_eqz();
        let label = self.label(done);
        self.i().br_if(label);
        // Exceptions are the interpreter's; the flags are worked out below all the same.
        self.slowly(insn, &[Some(first), source], double);
        self.flatten_denormals(&[a, b], double);
        self.close();
        let mut bits = [a, b];
        for value in &mut bits {
            self.get(*value);
            if double {
                self.i().i64_reinterpret_f64();
                *value = self.take(ValType::I64);
            } else {
                self.i().i32_reinterpret_f32();
                *value = self.take(ValType::I32);
            }
        }
        let width = if double { 3 } else { 2 };
        self.set_flags(Kind::new(Setter::Order, width), [Some(bits[0]), Some(bits[1]), None]);
    }

    /// Makes denormal numbers zero if MXCSR says that they are.
    fn flatten_denormals(&mut self, values: &[Temp], double: bool) {
        const DENORMALS_ARE_ZERO: i32 = 0x40;
        let mxcsr = at(self.layout.mxcsr);
        self.i().i32_const(0).i32_load(mxcsr).i32_const(DENORMALS_ARE_ZERO).i32_and();
        self.open_rare(BlockType::Empty);
        for &value in values {
            self.push_is_not_denormal(value, double);
            self.i().i32_eqz();
            self.open_rare(BlockType::Empty);
            self.float_constant(0.0, double);
            self.i().local_set(value.index);
            self.close();
        }
        self.close();
    }

    fn float_of_integer(&mut self, insn: &Instruction, double: bool) {
        let source = last_source(insn);
        let width = super::translate::width(insn, source);
        self.push_operand(insn, source, width);
        match (width == 3, double) {
            (true, true) => self.i().f64_convert_i64_s(),
            (true, false) => self.i().f32_convert_i64_s(),
            (false, true) => self.i().f64_convert_i32_s(),
            (false, false) => self.i().f32_convert_i32_s(),
        };
        let r = self.take(type_of(double));
        // 32 bits fit a double exactly.
        if width == 3 || !double {
            let fast = self.fast_float();
            self.i().local_get(fast);
            self.open_usual(BlockType::Empty);
            self.put_low(insn, r, double);
            self.or_else();
            self.call_out(true);
            self.close();
        } else {
            self.put_low(insn, r, double);
        }
    }

    fn integer_of_float(&mut self, insn: &Instruction, double: bool) {
        let wide = insn.op0_register().size() == 8;
        let (mut b, _) = self.take_scalar(insn, double);
        if matches!(legacy(insn.mnemonic()), M::Cvtsd2si | M::Cvtss2si) {
            self.get(b);
            self.either(double, |s| s.f64_nearest(), |s| s.f32_nearest());
            b = self.take_number(double);
        }
        let fast = self.fast_float();
        self.i().local_get(fast);
        self.get(b);
        self.either(double, |s| s.f64_abs(), |s| s.f32_abs());
        self.float_constant(if wide { 9_223_372_036_854_775_808.0 } else { 2_147_483_648.0 }, double);
        self.either(double, |s| s.f64_lt(), |s| s.f32_lt());
        self.i().i32_and();
        self.open_usual(BlockType::Empty);
        self.get(b);
        match (wide, double) {
            (true, true) => self.i().i64_trunc_f64_s(),
            (true, false) => self.i().i64_trunc_f32_s(),
            (false, true) => self.i().i32_trunc_f64_s(),
            (false, false) => self.i().i32_trunc_f32_s(),
        };
        self.pop_register(insn.op0_register());
        self.or_else();
        self.call_out(true);
        self.close();
    }
}
