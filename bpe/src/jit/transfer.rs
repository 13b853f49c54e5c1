//! Moves, the stack, exchanges and extensions in WebAssembly.

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};
use wasm_encoder::{BlockType, ValType};

use super::emit::Emitter;
use super::lazy::{Kind, Setter};
use super::memory::type_of;
use super::plan::Address;
use super::translate::{condition, width};

impl Emitter<'_> {
    pub(super) fn mov(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        if insn.op_kind(0) == OpKind::Memory {
            let value = self.take_operand(insn, 1, width);
            return self.store_operand(insn, value, width);
        }
        self.push_operand(insn, 1, width);
        self.pop_register(insn.op0_register());
    }

    pub(super) fn extend(&mut self, insn: &Instruction, signed: bool) {
        let (to, from) = (width(insn, 0), width(insn, 1));
        self.push_operand(insn, 1, from);
        if signed {
            match from {
                0 => _ = self.i().i32_extend8_s(),
                1 => _ = self.i().i32_extend16_s(),
                _ => {}
            }
        }
        if to == 3 {
            self.either(signed, |s| s.i64_extend_i32_s(), |s| s.i64_extend_i32_u());
        } else {
            self.mask(to);
        }
        self.pop_register(insn.op0_register());
    }

    pub(super) fn lea(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        self.push_operand_address(insn);
        if width < 3 {
            self.i().i32_wrap_i64();
            self.mask(width);
        }
        self.pop_register(insn.op0_register());
    }

    pub(super) fn push(&mut self, insn: &Instruction) {
        self.push_operand(insn, 0, 3);
        let value = self.take(ValType::I64);
        self.store(Address::Stack(-8), value, 3);
        let rsp = self.gpr(4);
        self.i().local_get(rsp).i64_const(8).i64_sub().local_set(rsp);
    }

    pub(super) fn pop(&mut self, insn: &Instruction) {
        self.load(Address::Stack(0), 3);
        let rsp = self.gpr(4);
        self.i().local_get(rsp).i64_const(8).i64_add().local_set(rsp);
        self.pop_register(insn.op0_register());
    }

    pub(super) fn leave_frame(&mut self) {
        let (rsp, rbp) = (self.gpr(4), self.gpr(5));
        self.load(Address::Frame, 3);
        self.i().local_get(rbp).i64_const(8).i64_add().local_set(rsp).local_set(rbp);
    }

    pub(super) fn set_condition(&mut self, insn: &Instruction) {
        self.push_condition(condition(insn));
        if insn.op_kind(0) == OpKind::Memory {
            let value = self.take(ValType::I32);
            return self.store_operand(insn, value, 0);
        }
        self.pop_register(insn.op0_register());
    }

    pub(super) fn conditional_move(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        self.push_operand(insn, 1, width);
        self.push_register(insn.op0_register());
        self.push_condition(condition(insn));
        self.i().select();
        self.pop_register(insn.op0_register());
    }

    pub(super) fn swap(&mut self, insn: &Instruction) {
        self.push_register(insn.op0_register());
        if width(insn, 0) == 2 {
            self.swap_bytes_32();
        } else {
            let a = self.take(ValType::I64);
            self.i().local_get(a.index).i32_wrap_i64();
            self.swap_bytes_32();
            self.i().i64_extend_i32_u().i64_const(32).i64_shl();
            self.i().local_get(a.index).i64_const(32).i64_shr_u().i32_wrap_i64();
            self.swap_bytes_32();
            self.i().i64_extend_i32_u().i64_or();
        }
        self.pop_register(insn.op0_register());
    }

    pub(super) fn swap_bytes_32(&mut self) {
        let a = self.take(ValType::I32);
        self.i().local_get(a.index).i32_const(8).i32_rotl().i32_const(0x00ff_00ff).i32_and();
        self.i().local_get(a.index).i32_const(8).i32_rotr().i32_const(0xff00_ff00u32 as i32).i32_and().i32_or();
    }

    pub(super) fn exchange(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let ty = type_of(width);
        let (memory, register) = if insn.op_kind(1) == OpKind::Memory {
            (true, insn.op0_register())
        } else {
            (insn.op_kind(0) == OpKind::Memory, insn.op1_register())
        };
        if !memory {
            self.push_register(insn.op0_register());
            self.push_register(insn.op1_register());
            self.pop_register(insn.op0_register());
            return self.pop_register(insn.op1_register());
        }
        let place = self.load_for_change(insn, width);
        let old = self.take(ty);
        self.push_register(register);
        let new = self.take(ty);
        self.store_changed(place, new, width);
        self.get(old);
        self.pop_register(register);
    }

    pub(super) fn exchange_add(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let ty = type_of(width);
        self.push_register(insn.op1_register());
        let b = self.take(ty);
        let place = self.push_changed(insn, width);
        let a = self.take(ty);
        self.get(a);
        self.get(b);
        self.operate(M::Add, width);
        self.mask(width);
        let r = self.take(ty);
        self.set_flags(Kind::new(Setter::Add, width), [Some(r), Some(b), None]);
        // The sum goes last: with both operands the same register it wins. Memory's address may need the register.
        if insn.op_kind(0) == OpKind::Memory {
            self.put_changed(&place, r, width);
        }
        self.get(a);
        self.pop_register(insn.op1_register());
        if insn.op_kind(0) == OpKind::Register {
            self.put_changed(&place, r, width);
        }
    }

    pub(super) fn compare_exchange(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let (ty, wide) = (type_of(width), width == 3);
        let rax = [Register::AL, Register::AX, Register::EAX, Register::RAX][usize::from(width & 3)];
        self.push_register(rax);
        let wanted = self.take(ty);
        let place = self.push_changed(insn, width);
        let old = self.take(ty);
        self.set_flags(Kind::new(Setter::Subtract, width), [Some(wanted), Some(old), None]);
        self.push_register(insn.op1_register());
        self.get(old);
        self.get(wanted);
        self.get(old);
        self.either(wide, |s| s.i64_eq(), |s| s.i32_eq());
        let equal = self.take(ValType::I32);
        self.get(equal);
        self.i().select();
        let new = self.take(ty);
        self.put_changed(&place, new, width);
        self.get(equal);
        self.i().i32_eqz();
        self.open_if(BlockType::Empty);
        self.get(old);
        self.pop_register(rax);
        self.close();
    }

    pub(super) fn sign_extend_rax(&mut self, insn: &Instruction) {
        let (from, to) = match insn.mnemonic() {
            M::Cbw => (Register::AL, Register::AX),
            M::Cwde => (Register::AX, Register::EAX),
            _ => (Register::EAX, Register::RAX),
        };
        self.push_register(from);
        match from {
            Register::AL => _ = self.i().i32_extend8_s().i32_const(0xffff).i32_and(),
            Register::AX => _ = self.i().i32_extend16_s(),
            _ => _ = self.i().i64_extend_i32_s(),
        }
        self.pop_register(to);
    }

    pub(super) fn sign_into_rdx(&mut self, insn: &Instruction) {
        match insn.mnemonic() {
            M::Cwd => {
                self.push_register(Register::AX);
                self.i().i32_extend16_s().i32_const(31).i32_shr_s().i32_const(0xffff).i32_and();
                self.pop_register(Register::DX);
            }
            M::Cdq => {
                self.push_register(Register::EAX);
                self.i().i32_const(31).i32_shr_s();
                self.pop_register(Register::EDX);
            }
            _ => {
                self.push_register(Register::RAX);
                self.i().i64_const(63).i64_shr_s();
                self.pop_register(Register::RDX);
            }
        }
    }
}
