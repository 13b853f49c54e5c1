//! Additions, logic, shifts, products and quotients in WebAssembly.

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};
use wasm_encoder::{BlockType, InstructionSink, ValType};

use super::emit::{Emitter, Temp};
use super::lazy::{Kind, Over, Setter, Source};
use super::memory::type_of;
use super::translate::{Changed, double_shift_count, is_high, shift_count, width};

impl Emitter<'_> {
    pub(super) fn binary(&mut self, insn: &Instruction, which: M) {
        let width = width(insn, 0);
        let ty = type_of(width);
        let same = insn.op_kind(0) == OpKind::Register
            && insn.op_kind(1) == OpKind::Register
            && insn.op0_register() == insn.op1_register();
        if same && matches!(which, M::Xor | M::Sub) {
            self.constant(0, width);
            let zero = self.take(ty);
            let sources = [Source::Number(0), Source::Kept];
            self.set_flags(Kind { sources, ..Kind::new(Setter::Logic, width) }, [None; 3]);
            self.get(zero);
            return self.pop_register(insn.op0_register());
        }
        let b = self.take_operand(insn, 1, width);
        let carry = match which {
            M::Adc | M::Sbb => {
                self.push_carry();
                Some(self.take(ValType::I32))
            }
            _ => None,
        };
        let place = self.push_changed(insn, width);
        let a = self.take(ty);
        self.get(a);
        self.get(b);
        self.operate(which, width);
        if let Some(carry) = carry {
            self.get(carry);
            if width == 3 {
                self.i().i64_extend_i32_u();
            }
            self.operate(if which == M::Adc { M::Add } else { M::Sub }, width);
        }
        let is_logic = matches!(which, M::And | M::Or | M::Xor);
        if !is_logic {
            self.mask(width);
        }
        let r = self.take(ty);
        let kind = |setter| Kind::new(setter, width);
        let sources = [self.result_of(insn), self.source_of(insn, 1, insn.op0_register())];
        let result = Kind { sources, ..kind(Setter::Add) };
        let logic = Kind { sources: [sources[0], Source::Kept], ..kind(Setter::Logic) };
        match which {
            M::Add => self.set_flags(result, [Some(r), Some(b), None]),
            // What is in a register stays there; in memory it is lost.
            M::Sub if sources[0] != Source::Kept => {
                self.set_flags(Kind { setter: Setter::Difference, ..result }, [Some(r), Some(b), None]);
            }
            M::Sub => self.set_flags(kind(Setter::Subtract), [Some(a), Some(b), None]),
            M::Adc => self.set_flags(kind(Setter::AddCarry), [Some(r), Some(b), carry]),
            M::Sbb => self.set_flags(kind(Setter::SubtractBorrow), [Some(a), Some(b), carry]),
            _ => self.set_flags(logic, [Some(r), None, None]),
        }
        match place {
            Changed::Register(register) if is_logic && width < 2 && !is_high(register) => {
                self.change_low_bits(register, which, b, width);
            }
            _ => self.put_changed(&place, r, width),
        }
    }

    /// Does what leaves the bits above as they are to a register's low ones, without taking it apart.
    fn change_low_bits(&mut self, register: Register, which: M, b: Temp, width: u8) {
        let local = self.gpr(register.full_register().number());
        self.i().local_get(local).local_get(b.index).i64_extend_i32_u();
        if which == M::And {
            self.i().i64_const(-1 << (8 << width)).i64_or();
        }
        self.operate(which, 3);
        self.i().local_set(local);
    }

    pub(super) fn operate(&mut self, which: M, width: u8) {
        let mut s = self.i();
        match (which, width == 3) {
            (M::Add | M::Adc, false) => s.i32_add(),
            (M::Add | M::Adc, true) => s.i64_add(),
            (M::Sub | M::Sbb, false) => s.i32_sub(),
            (M::Sub | M::Sbb, true) => s.i64_sub(),
            (M::And, false) => s.i32_and(),
            (M::And, true) => s.i64_and(),
            (M::Or, false) => s.i32_or(),
            (M::Or, true) => s.i64_or(),
            (_, false) => s.i32_xor(),
            (_, true) => s.i64_xor(),
        };
    }

    pub(super) fn compare(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let b = self.take_operand(insn, 1, width);
        let a = self.take_operand(insn, 0, width);
        if !self.flags_needed {
            self.kind = None;
            return;
        }
        if insn.mnemonic() == M::Cmp {
            let sources = [0, 1].map(|i| self.source_of(insn, i, Register::None));
            return self.set_flags(Kind { sources, ..Kind::new(Setter::Subtract, width) }, [Some(a), Some(b), None]);
        }
        self.get(a);
        self.get(b);
        self.operate(M::And, width);
        let r = self.take(type_of(width));
        let same = insn.op_kind(1) == OpKind::Register && insn.op0_register() == insn.op1_register();
        let source = if same { self.result_of(insn) } else { Source::Kept };
        let kind = Kind { sources: [source, Source::Kept], ..Kind::new(Setter::Logic, width) };
        self.set_flags(kind, [Some(r), None, None]);
    }

    /// `INC` and `DEC`.
    pub(super) fn step(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let up = insn.mnemonic() == M::Inc;
        let carry = self.flags_needed.then(|| {
            self.push_carry_to_keep();
            self.take(ValType::I32)
        });
        let place = self.push_changed(insn, width);
        self.constant(1, width);
        self.operate(if up { M::Add } else { M::Sub }, width);
        self.mask(width);
        let r = self.take(type_of(width));
        let setter = if up { Setter::Increment } else { Setter::Decrement };
        let sources = [self.result_of(insn), Source::Kept];
        self.set_flags(Kind { sources, ..Kind::new(setter, width) }, [Some(r), None, carry]);
        self.put_changed(&place, r, width);
    }

    pub(super) fn negate(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let ty = type_of(width);
        self.constant(0, width);
        let zero = self.take(ty);
        let place = self.push_changed(insn, width);
        let a = self.take(ty);
        self.get(zero);
        self.get(a);
        self.operate(M::Sub, width);
        self.mask(width);
        let r = self.take(ty);
        self.set_flags(Kind::new(Setter::Subtract, width), [Some(zero), Some(a), None]);
        self.put_changed(&place, r, width);
    }

    pub(super) fn invert(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let place = self.push_changed(insn, width);
        self.constant(u64::MAX, width);
        self.operate(M::Xor, width);
        let r = self.take(type_of(width));
        self.put_changed(&place, r, width);
    }

    /// Pushes the masked count of a shift or rotation, of the type of what is shifted.
    pub(super) fn take_count(&mut self, insn: &Instruction, width: u8) -> Temp {
        match shift_count(insn) {
            Some(n) => self.constant(n.into(), width.max(2)),
            None => {
                self.push_register(Register::RCX);
                if width < 3 {
                    self.i().i32_wrap_i64().i32_const(31).i32_and();
                } else {
                    self.i().i64_const(63).i64_and();
                }
            }
        }
        self.take(type_of(width))
    }

    pub(super) fn shift(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let (ty, narrow) = (type_of(width), width < 3);
        let count = self.take_count(insn, width);
        let place = self.push_changed(insn, width);
        let a = self.take(ty);
        self.get(a);
        let setter = match insn.mnemonic() {
            M::Shr => {
                self.get(count);
                self.either(narrow, |s| s.i32_shr_u(), |s| s.i64_shr_u());
                Setter::ShiftRight
            }
            M::Sar => {
                match width {
                    0 => _ = self.i().i32_extend8_s(),
                    1 => _ = self.i().i32_extend16_s(),
                    _ => {}
                }
                self.get(count);
                self.either(narrow, |s| s.i32_shr_s(), |s| s.i64_shr_s());
                Setter::ShiftSigned
            }
            _ => {
                self.get(count);
                self.either(narrow, |s| s.i32_shl(), |s| s.i64_shl());
                Setter::ShiftLeft
            }
        };
        if setter != Setter::ShiftRight {
            self.mask(width);
        }
        let r = self.take(ty);
        let kind = Kind::new(setter, width);
        match shift_count(insn) {
            Some(0) => {}
            Some(n) => {
                let sources = [self.result_of(insn), Source::Number(n as i32)];
                self.set_flags(Kind { sources, ..kind }, [Some(r), Some(count), Some(a)]);
            }
            None if self.flags_needed => self.set_flags_if(count, kind, [r, count, a]),
            None => self.kind = None,
        }
        self.put_changed(&place, r, width);
    }

    /// `SHLD` and `SHRD` of 32 or 64 bits: what leaves one operand is followed by what enters from the other.
    pub(super) fn double_shift(&mut self, insn: &Instruction) {
        let Some(count) = double_shift_count(insn) else { return };
        let width = width(insn, 0);
        let (ty, wide, left) = (type_of(width), width == 3, insn.mnemonic() == M::Shld);
        let (count, rest) = (u64::from(count), u64::from((8u32 << width) - count));
        let place = self.push_changed(insn, width);
        let a = self.take(ty);
        self.push_shifted(a, count, width, left);
        self.push_operand(insn, 1, width);
        let b = self.take(ty);
        self.push_shifted(b, rest, width, !left);
        self.either(wide, |s| s.i64_or(), |s| s.i32_or());
        let r = self.take(ty);
        if self.flags_needed {
            self.push_shifted(a, if left { rest } else { count - 1 }, width, false);
            let carry = self.take(ty);
            self.set_flags(Kind::new(Setter::Logic, width), [Some(r), None, None]);
            self.set_over(Over::Carry, width, carry);
        } else {
            self.kind = None;
        }
        self.put_changed(&place, r, width);
    }

    fn push_shifted(&mut self, value: Temp, count: u64, width: u8, left: bool) {
        self.get(value);
        self.constant(count, width);
        match (width == 3, left) {
            (true, true) => self.i().i64_shl(),
            (true, false) => self.i().i64_shr_u(),
            (false, true) => self.i().i32_shl(),
            (false, false) => self.i().i32_shr_u(),
        };
    }

    pub(super) fn rotate(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let ty = type_of(width);
        let left = insn.mnemonic() == M::Rol;
        let count = self.take_count(insn, width);
        let place = self.push_changed(insn, width);
        let a = self.take(ty);
        self.push_rotated(a, count, width, left);
        let r = self.take(ty);
        let over = if left { Over::RotateLeft } else { Over::RotateRight };
        match shift_count(insn) {
            Some(0) => {}
            Some(_) => self.set_over(over, width, r),
            None if self.flags_needed => self.set_over_if(count, over, width, r),
            None => {}
        }
        self.put_changed(&place, r, width);
    }

    pub(super) fn push_rotated(&mut self, a: Temp, count: Temp, width: u8, left: bool) {
        self.get(a);
        match width {
            2 => {
                self.get(count);
                self.either(left, |s| s.i32_rotl(), |s| s.i32_rotr());
            }
            3 => {
                self.get(count);
                self.either(left, |s| s.i64_rotl(), |s| s.i64_rotr());
            }
            _ => {
                // Copies side by side turn as one.
                let copies = if width == 0 { 0x0101_0101 } else { 0x0001_0001 };
                self.i().i32_const(copies).i32_mul();
                self.get(count);
                self.either(left, |s| s.i32_rotl(), |s| s.i32_rotr());
                self.mask(width);
            }
        }
    }

    pub(super) fn multiply(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let ty = type_of(width);
        let (first, second) = if insn.op_count() == 3 { (1, 2) } else { (0, 1) };
        let b = self.take_operand(insn, second, width);
        let a = self.take_operand(insn, first, width);
        self.set_flags(Kind::new(Setter::Multiply, width), [Some(a), Some(b), None]);
        self.get(a);
        self.get(b);
        self.either(width == 3, |s| s.i64_mul(), |s| s.i32_mul());
        self.mask(width);
        let r = self.take(ty);
        self.get(r);
        self.pop_register(insn.op0_register());
    }

    /// One-operand `MUL` and `IMUL` of 32 and 64 bits.
    pub(super) fn multiply_wide(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let signed = insn.mnemonic() == M::Imul;
        let b = self.take_operand(insn, 0, width);
        self.push_register(if width == 3 { Register::RAX } else { Register::EAX });
        let a = self.take(type_of(width));
        let (low, high) = if width == 3 { self.product_64(a, b, signed) } else { self.product_32(a, b, signed) };
        if signed {
            self.set_flags(Kind::new(Setter::Multiply, width), [Some(a), Some(b), None]);
        } else {
            self.set_flags(Kind::new(Setter::MultiplyUnsigned, width), [Some(low), Some(high), None]);
        }
        self.get(low);
        self.pop_register(if width == 3 { Register::RAX } else { Register::EAX });
        self.get(high);
        self.pop_register(if width == 3 { Register::RDX } else { Register::EDX });
    }

    pub(super) fn product_32(&mut self, a: Temp, b: Temp, signed: bool) -> (Temp, Temp) {
        for operand in [a, b] {
            self.get(operand);
            self.either(signed, |s| s.i64_extend_i32_s(), |s| s.i64_extend_i32_u());
        }
        self.i().i64_mul();
        let wide = self.take(ValType::I64);
        self.i().local_get(wide.index).i32_wrap_i64();
        let low = self.take(ValType::I32);
        self.i().local_get(wide.index).i64_const(32).i64_shr_u().i32_wrap_i64();
        (low, self.take(ValType::I32))
    }

    /// Pushes the upper half of the unsigned product of two 64-bit numbers, from four products of halves. Of a constant,
    /// which is what most are multiplied by for the sake of this half, an engine works out the halves.
    fn push_high(&mut self, a: Temp, b: Temp) {
        let mask = 0xffff_ffff;
        let half = |s: &mut InstructionSink<'_>, of: Temp, high: bool| {
            s.local_get(of.index);
            if high {
                s.i64_const(32).i64_shr_u()
            } else {
                s.i64_const(mask).i64_and()
            };
        };
        let product = |s: &mut InstructionSink<'_>, a_high: bool, b_high: bool| {
            half(s, a, a_high);
            half(s, b, b_high);
            s.i64_mul();
        };
        let (cross, middle) = (self.temp(ValType::I64).index, self.temp(ValType::I64).index);
        let mut s = self.i();
        product(&mut s, true, false);
        product(&mut s, false, false);
        s.i64_const(32).i64_shr_u().i64_add().local_set(cross);
        product(&mut s, false, true);
        s.local_get(cross).i64_const(mask).i64_and().i64_add().local_set(middle);
        product(&mut s, true, true);
        s.local_get(cross).i64_const(32).i64_shr_u().i64_add().local_get(middle).i64_const(32).i64_shr_u().i64_add();
    }

    pub(super) fn product_64(&mut self, a: Temp, b: Temp, signed: bool) -> (Temp, Temp) {
        self.i().local_get(a.index).local_get(b.index).i64_mul();
        let low = self.take(ValType::I64);
        self.push_high(a, b);
        if signed {
            for (x, y) in [(a, b), (b, a)] {
                self.i().local_get(x.index).i64_const(63).i64_shr_s().local_get(y.index).i64_and().i64_sub();
            }
        }
        (low, self.take(ValType::I64))
    }

    /// `DIV` and `IDIV`: a dividend that fits 64 bits is divided here.
    pub(super) fn divide(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let signed = insn.mnemonic() == M::Idiv;
        let b = self.take_operand(insn, 0, width);
        if width == 3 {
            self.get(b);
        } else {
            self.get(b);
            self.either(signed, |s| s.i64_extend_i32_s(), |s| s.i64_extend_i32_u());
        }
        let b = self.take(ValType::I64);
        let (rax, rdx) = (self.gpr(0), self.gpr(2));
        if width == 3 {
            self.i().local_get(rax);
        } else {
            self.i().local_get(rax).i64_const(0xffff_ffff).i64_and().local_get(rdx).i64_const(32).i64_shl().i64_or();
        }
        let a = self.take(ValType::I64);
        self.push_division_is_simple(a, b, width, signed);
        self.open_usual(BlockType::Empty);
        self.i().local_get(a.index).local_get(b.index);
        self.either(signed, |s| s.i64_div_s(), |s| s.i64_div_u());
        let q = self.take(ValType::I64);
        self.i().local_get(a.index).local_get(q.index).local_get(b.index).i64_mul().i64_sub();
        let r = self.take(ValType::I64);
        if width == 3 {
            self.i().local_get(q.index).local_set(rax).local_get(r.index).local_set(rdx);
        } else {
            // A quotient too large for its register is for the interpreter to refuse.
            self.get(q);
            if signed {
                self.i().i32_wrap_i64().i64_extend_i32_s().local_get(q.index).i64_ne();
            } else {
                self.i().i64_const(32).i64_shr_u().i64_eqz().i32_eqz();
            }
            self.open_rare(BlockType::Empty);
            self.interpret();
            self.close();
            for (value, register) in [(q, rax), (r, rdx)] {
                self.i().local_get(value.index).i64_const(0xffff_ffff).i64_and().local_set(register);
            }
        }
        self.or_else();
        self.call_out(true);
        self.close();
    }

    /// Pushes whether the quotient of `a` and `b` can be had from a division of 64 bits.
    pub(super) fn push_division_is_simple(&mut self, a: Temp, b: Temp, width: u8, signed: bool) {
        let rdx = self.gpr(2);
        self.i().local_get(b.index).i64_eqz().i32_eqz();
        if signed {
            let mut s = self.i();
            s.local_get(b.index).i64_const(-1).i64_ne().local_get(a.index).i64_const(i64::MIN).i64_ne();
            s.i32_or().i32_and();
        }
        if width == 3 {
            self.i().local_get(rdx);
            if signed {
                self.i().local_get(a.index).i64_const(63).i64_shr_s().i64_eq();
            } else {
                self.i().i64_eqz();
            }
            self.i().i32_and();
        }
    }
}
