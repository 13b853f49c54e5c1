//! BMI1 and BMI2 in WebAssembly.

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};
use wasm_encoder::ValType;

use super::emit::{Emitter, Temp};
use super::lazy::{Kind, Over, Setter, Source};
use super::memory::type_of;
use super::translate::width;

/// Whether there is a translation.
pub(super) fn is_translated(insn: &Instruction) -> bool {
    is_shift(insn) || sets_flags(insn) || insn.mnemonic() == M::Mulx
}

/// Whether it is translated and gives all status flags a value.
pub(super) fn sets_flags(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), M::Andn | M::Bextr | M::Bzhi) || uses_carry(insn)
}

/// Whether its CF is not always clear.
pub(super) fn uses_carry(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), M::Blsi | M::Blsmsk | M::Blsr | M::Bzhi)
}

fn is_shift(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), M::Shlx | M::Shrx | M::Sarx | M::Rorx)
}

impl Emitter<'_> {
    pub(super) fn bmi(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        match insn.mnemonic() {
            M::Mulx => return self.multiply_without_flags(insn, width),
            M::Andn => self.and_not(insn, width),
            M::Bextr => self.extract_field(insn, width),
            M::Bzhi => self.clear_high(insn, width),
            M::Blsi | M::Blsmsk | M::Blsr => self.lowest_bit(insn, width),
            _ => self.shift_without_flags(insn, width),
        }
        self.pop_register(insn.op0_register());
    }

    /// The result on the stack sets ZF and SF, and CF if there is one; it stays there.
    fn set_result_flags(&mut self, insn: &Instruction, width: u8, carry: Option<Temp>) {
        if !self.flags_needed {
            self.kind = None;
            return;
        }
        let r = self.take(type_of(width));
        let sources = [self.result_of(insn), Source::Kept];
        self.set_flags(Kind { sources, ..Kind::new(Setter::Logic, width) }, [Some(r), None, None]);
        if let Some(carry) = carry {
            self.set_over(Over::Carry, width, carry);
        }
        self.get(r);
    }

    fn shift_without_flags(&mut self, insn: &Instruction, width: u8) {
        let wide = width == 3;
        self.push_operand(insn, 1, width);
        // Counts are masked as the engine masks them.
        match insn.op_kind(2) {
            OpKind::Register => self.push_register(insn.op2_register()),
            _ => self.constant(insn.immediate8().into(), width),
        }
        match insn.mnemonic() {
            M::Shlx => self.either(wide, |s| s.i64_shl(), |s| s.i32_shl()),
            M::Shrx => self.either(wide, |s| s.i64_shr_u(), |s| s.i32_shr_u()),
            M::Sarx => self.either(wide, |s| s.i64_shr_s(), |s| s.i32_shr_s()),
            _ => self.either(wide, |s| s.i64_rotr(), |s| s.i32_rotr()),
        }
    }

    fn and_not(&mut self, insn: &Instruction, width: u8) {
        self.push_operand(insn, 2, width);
        self.push_register(insn.op1_register());
        self.constant(u64::MAX, width);
        self.operate(M::Xor, width);
        self.operate(M::And, width);
        self.set_result_flags(insn, width, None);
    }

    fn lowest_bit(&mut self, insn: &Instruction, width: u8) {
        let wide = width == 3;
        let a = self.take_operand(insn, 1, width);
        self.get(a);
        self.either(wide, |s| s.i64_eqz(), |s| s.i32_eqz());
        if insn.mnemonic() == M::Blsi {
            self.i().i32_eqz();
        }
        let carry = self.take(ValType::I32);
        if insn.mnemonic() == M::Blsi {
            self.constant(0, width);
            self.get(a);
            self.operate(M::Sub, width);
        } else {
            self.get(a);
            self.constant(1, width);
            self.operate(M::Sub, width);
        }
        self.get(a);
        self.operate(if insn.mnemonic() == M::Blsmsk { M::Xor } else { M::And }, width);
        self.set_result_flags(insn, width, Some(carry));
    }

    /// Pushes `a` without the bits from `n` (below 256) on.
    fn push_low_bits(&mut self, a: Temp, n: Temp, width: u8) {
        let wide = width == 3;
        self.get(a);
        self.get(a);
        self.constant(u64::MAX, width);
        self.get(n);
        self.either(wide, |s| s.i64_shl(), |s| s.i32_shl());
        self.constant(u64::MAX, width);
        self.operate(M::Xor, width);
        self.operate(M::And, width);
        self.get(n);
        self.constant(8 << width, width);
        self.either(wide, |s| s.i64_ge_u(), |s| s.i32_ge_u());
        self.i().select();
    }

    /// Takes eight bits of operand 2 from `shift` on.
    fn take_byte(&mut self, insn: &Instruction, shift: u64, width: u8) -> Temp {
        self.push_register(insn.op2_register());
        self.constant(shift, width);
        self.either(width == 3, |s| s.i64_shr_u(), |s| s.i32_shr_u());
        self.constant(0xff, width);
        self.operate(M::And, width);
        self.take(type_of(width))
    }

    fn clear_high(&mut self, insn: &Instruction, width: u8) {
        let a = self.take_operand(insn, 1, width);
        let n = self.take_byte(insn, 0, width);
        self.get(n);
        self.constant(8 << width, width);
        self.either(width == 3, |s| s.i64_ge_u(), |s| s.i32_ge_u());
        let carry = self.take(ValType::I32);
        self.push_low_bits(a, n, width);
        self.set_result_flags(insn, width, Some(carry));
    }

    fn extract_field(&mut self, insn: &Instruction, width: u8) {
        let wide = width == 3;
        let a = self.take_operand(insn, 1, width);
        let (start, length) = (self.take_byte(insn, 0, width), self.take_byte(insn, 8, width));
        self.get(a);
        self.get(start);
        self.either(wide, |s| s.i64_shr_u(), |s| s.i32_shr_u());
        self.constant(0, width);
        self.get(start);
        self.constant(8 << width, width);
        self.either(wide, |s| s.i64_lt_u(), |s| s.i32_lt_u());
        self.i().select();
        let field = self.take(type_of(width));
        self.push_low_bits(field, length, width);
        self.set_result_flags(insn, width, None);
    }

    /// Where both halves go to one register, it gets the upper one.
    fn multiply_without_flags(&mut self, insn: &Instruction, width: u8) {
        let b = self.take_operand(insn, 2, width);
        self.push_register(if width == 3 { Register::RDX } else { Register::EDX });
        let a = self.take(type_of(width));
        let (low, high) = if width == 3 { self.product_64(a, b, false) } else { self.product_32(a, b, false) };
        self.get(low);
        self.pop_register(insn.op1_register());
        self.get(high);
        self.pop_register(insn.op0_register());
    }
}
