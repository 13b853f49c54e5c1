//! Bit tests, scans and counts in WebAssembly.

use iced_x86::{Instruction, Mnemonic as M, OpKind};
use wasm_encoder::ValType;

use super::emit::{Emitter, Temp};
use super::lazy::{Kind, Over, Setter};
use super::memory::type_of;
use super::translate::width;

impl Emitter<'_> {
    /// `BT` and its kin on a register, or on memory with a constant number.
    pub(super) fn bit_test(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let ty = type_of(width);
        let writes = insn.mnemonic() != M::Bt;
        self.push_operand(insn, 1, if insn.op_kind(1) == OpKind::Register { width } else { width.max(2) });
        self.constant((8 << width) - 1, width.max(2));
        self.operate(M::And, width);
        let n = self.take(ty);
        let place = if writes {
            Some(self.push_changed(insn, width))
        } else {
            self.push_operand(insn, 0, width);
            None
        };
        let a = self.take(ty);
        self.get(a);
        self.get(n);
        self.either(width == 3, |s| s.i64_shr_u(), |s| s.i32_shr_u());
        let bit = self.take(ty);
        if self.flags_needed {
            self.set_over(Over::Carry, width, bit);
        }
        let Some(place) = place else { return };
        self.get(a);
        self.constant(1, width);
        self.get(n);
        self.either(width == 3, |s| s.i64_shl(), |s| s.i32_shl());
        match insn.mnemonic() {
            M::Bts => self.operate(M::Or, width),
            M::Btc => self.operate(M::Xor, width),
            _ => {
                self.constant(u64::MAX, width.max(2));
                self.operate(M::Xor, width);
                self.operate(M::And, width);
            }
        }
        let r = self.take(ty);
        self.put_changed(&place, r, width);
    }

    /// Scans and counts of 32 and 64 bits.
    pub(super) fn count(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let (ty, wide) = (type_of(width), width == 3);
        let a = self.take_operand(insn, 1, width);
        self.get(a);
        let mut s = self.i();
        match insn.mnemonic() {
            M::Popcnt if wide => s.i64_popcnt(),
            M::Popcnt => s.i32_popcnt(),
            M::Bsf | M::Tzcnt if wide => s.i64_ctz(),
            M::Bsf | M::Tzcnt => s.i32_ctz(),
            _ if wide => s.i64_clz(),
            _ => s.i32_clz(),
        };
        if insn.mnemonic() == M::Bsr {
            // 31 or 63 less it, as the bits it has are those of the difference.
            self.constant((8 << width) - 1, width);
            self.operate(M::Xor, width);
        }
        let r = self.take(ty);
        self.count_flags(insn, a, r, width);
        self.get(r);
        if matches!(insn.mnemonic(), M::Bsf | M::Bsr) {
            // A source of zero leaves the destination, whose upper half stays, too.
            if !wide {
                self.i().i64_extend_i32_u();
            }
            let local = self.gpr(insn.op0_register().full_register().number());
            self.i().local_get(local).local_get(a.index);
            self.either(wide, |s| s.i64_eqz(), |s| s.i32_eqz());
            self.i().i32_eqz().select().local_set(local);
            return;
        }
        self.pop_register(insn.op0_register());
    }

    /// Scans set the flags of the source, counts those of the result with CF for a source of zero; so does `POPCNT`, CF
    /// clear.
    pub(super) fn count_flags(&mut self, insn: &Instruction, a: Temp, r: Temp, width: u8) {
        if !self.flags_needed {
            self.kind = None;
            return;
        }
        let logic = Kind::new(Setter::Logic, width);
        match insn.mnemonic() {
            M::Bsf | M::Bsr => self.set_flags(logic, [Some(a), None, None]),
            M::Popcnt => {
                self.get(a);
                self.either(width == 3, |s| s.i64_eqz(), |s| s.i32_eqz());
                self.i().i64_extend_i32_u().i64_const(6).i64_shl();
                let bits = self.take(ValType::I64);
                self.set_flags(Kind::new(Setter::Bits, 3), [Some(bits), None, None]);
            }
            _ => {
                self.get(a);
                self.either(width == 3, |s| s.i64_eqz(), |s| s.i32_eqz());
                let carry = self.take(ValType::I32);
                self.set_flags(logic, [Some(r), None, None]);
                self.set_over(Over::Carry, width, carry);
            }
        }
    }
}
