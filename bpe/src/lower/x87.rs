//! Lowering of x87.

use iced_x86::{Code, MemorySize, Mnemonic as M, OpKind};

use super::Lowering;
use crate::op::Run;
use crate::x87::arithmetic::{self, operation, place};
use crate::x87::{compare, control, transcendental, transfer};

impl Lowering<'_> {
    /// The handler, with what it needs filled in; `None` if the instruction is not of this family.
    pub(super) fn x87(&mut self) -> Option<Run> {
        self.x87_arithmetic()
            .or_else(|| self.x87_compare())
            .or_else(|| self.x87_transfer())
            .or_else(|| self.x87_control())
            .or_else(|| function(self))
    }

    fn memory_place(&self) -> u16 {
        match self.insn.memory_size() {
            MemorySize::Float32 => place::M32,
            MemorySize::Float64 => place::M64,
            MemorySize::Float80 => place::M80,
            MemorySize::Int16 => place::I16,
            MemorySize::Int32 => place::I32,
            _ => place::I64,
        }
    }

    /// Where the operand is, if it is in memory.
    fn x87_place(&self) -> u16 {
        if self.insn.op_count() > 0 && self.is_memory(0) { self.memory_place() } else { place::REGISTER }
    }

    fn x87_arithmetic(&mut self) -> Option<Run> {
        use operation::*;
        let (what, pops) = match self.insn.mnemonic() {
            M::Fadd | M::Fiadd => (ADD, false),
            M::Fmul | M::Fimul => (MULTIPLY, false),
            M::Fsub | M::Fisub => (SUBTRACT, false),
            M::Fsubr | M::Fisubr => (SUBTRACT_REVERSED, false),
            M::Fdiv | M::Fidiv => (DIVIDE, false),
            M::Fdivr | M::Fidivr => (DIVIDE_REVERSED, false),
            M::Faddp => (ADD, true),
            M::Fmulp => (MULTIPLY, true),
            M::Fsubp => (SUBTRACT, true),
            M::Fsubrp => (SUBTRACT_REVERSED, true),
            M::Fdivp => (DIVIDE, true),
            M::Fdivrp => (DIVIDE_REVERSED, true),
            _ => return None,
        };
        self.op.imm = what;
        self.op.aux = self.x87_place() | if pops { place::POP } else { 0 };
        if self.is_memory(0) {
            self.op.dst = 0;
        }
        Some(arithmetic::binary)
    }

    fn x87_compare(&mut self) -> Option<Run> {
        let (bits, pops) = match self.insn.mnemonic() {
            M::Fcom | M::Ficom => (0, 0),
            M::Fcomp | M::Ficomp => (0, place::POP),
            M::Fcompp => (0, place::POP_TWICE),
            M::Fucom => (compare::QUIET, 0),
            M::Fucomp => (compare::QUIET, place::POP),
            M::Fucompp => (compare::QUIET, place::POP_TWICE),
            M::Fcomi => (compare::TO_FLAGS, 0),
            M::Fcomip => (compare::TO_FLAGS, place::POP),
            M::Fucomi => (compare::TO_FLAGS | compare::QUIET, 0),
            M::Fucomip => (compare::TO_FLAGS | compare::QUIET, place::POP),
            M::Ftst => return Some(compare::test),
            M::Fxam => return Some(compare::examine),
            M::Fcmovb | M::Fcmovnb | M::Fcmove | M::Fcmovne | M::Fcmovbe | M::Fcmovnbe | M::Fcmovu | M::Fcmovnu => {
                self.op.imm = match self.insn.mnemonic() {
                    M::Fcmovb => 0,
                    M::Fcmovnb => 1,
                    M::Fcmove => 2,
                    M::Fcmovne => 3,
                    M::Fcmovbe => 4,
                    M::Fcmovnbe => 5,
                    M::Fcmovu => 6,
                    _ => 7,
                };
                return Some(compare::conditional_move);
            }
            _ => return None,
        };
        self.op.imm = bits;
        self.op.aux = self.x87_place() | pops;
        if pops == place::POP_TWICE {
            self.op.src = 1;
        }
        Some(compare::compare)
    }

    fn x87_transfer(&mut self) -> Option<Run> {
        let constant = |n| (n, transfer::load_constant as Run);
        let (imm, run): (u64, Run) = match self.insn.mnemonic() {
            M::Fld1 => constant(0),
            M::Fldl2t => constant(1),
            M::Fldl2e => constant(2),
            M::Fldpi => constant(3),
            M::Fldlg2 => constant(4),
            M::Fldln2 => constant(5),
            M::Fldz => constant(6),
            M::Fld | M::Fild => {
                self.op.src = self.op.dst.max(self.op.src);
                if self.insn.op_count() == 2 && self.insn.op_kind(1) == OpKind::Register {
                    self.op.src = self.insn.op_register(1).number() as u8;
                } else if self.insn.op_kind(0) == OpKind::Register {
                    self.op.src = self.insn.op_register(0).number() as u8;
                }
                self.op.aux = self.x87_place();
                (0, transfer::load)
            }
            M::Fst | M::Fstp | M::Fstpnce => {
                let pops = self.insn.mnemonic() != M::Fst;
                let place = self.x87_place();
                self.op.aux = place | if pops { place::POP } else { 0 };
                let run: Run = match place {
                    place::REGISTER => transfer::store_register,
                    place::M80 => transfer::store_extended,
                    _ => transfer::store_float,
                };
                (0, run)
            }
            M::Fist | M::Fistp | M::Fisttp => {
                let pops = self.insn.mnemonic() != M::Fist;
                self.op.aux = self.x87_place() | if pops { place::POP } else { 0 };
                (u64::from(self.insn.mnemonic() == M::Fisttp), transfer::store_integer)
            }
            M::Fbld => (0, transfer::load_decimal),
            M::Fbstp => (0, transfer::store_decimal),
            M::Fxch => (0, transfer::exchange),
            M::Fchs => (0, transfer::negate),
            M::Fabs => (0, transfer::absolute),
            _ => return None,
        };
        self.op.imm = imm;
        Some(run)
    }

    fn x87_control(&mut self) -> Option<Run> {
        let narrow = matches!(
            self.insn.code(),
            Code::Fnstenv_m14byte
                | Code::Fldenv_m14byte
                | Code::Fnsave_m94byte
                | Code::Frstor_m94byte
                | Code::Fstenv_m14byte
                | Code::Fsave_m94byte
        );
        Some(match self.insn.mnemonic() {
            M::Fninit => control::init,
            M::Fnclex => control::clear_exceptions,
            M::Fldcw => control::load_control,
            M::Fnstcw => control::store_control,
            M::Fnstsw if self.is_memory(0) => control::store_status,
            M::Fnstsw => control::status_to_ax,
            M::Fincstp => self.with_imm(1, control::move_top),
            M::Fdecstp => self.with_imm(u64::MAX, control::move_top),
            M::Ffree => control::free,
            M::Ffreep => self.with_size(1, control::free),
            M::Fnop | M::Wait => control::wait,
            M::Fneni | M::Fndisi | M::Fnsetpm => crate::ops::system::nop,
            M::Fnstenv => self.with_size(if narrow { 16 } else { 32 }, control::store_environment),
            M::Fldenv => self.with_size(if narrow { 16 } else { 32 }, control::load_environment),
            M::Fnsave => self.with_size(if narrow { 16 } else { 32 }, control::save),
            M::Frstor => self.with_size(if narrow { 16 } else { 32 }, control::restore),
            _ => return None,
        })
    }

    fn with_imm(&mut self, imm: u64, run: Run) -> Run {
        self.op.imm = imm;
        run
    }

    fn with_size(&mut self, aux: u16, run: Run) -> Run {
        self.op.aux = aux;
        run
    }
}

fn function(lowering: &mut Lowering<'_>) -> Option<Run> {
    Some(match lowering.insn.mnemonic() {
        M::Fsqrt => arithmetic::square_root,
        M::Frndint => arithmetic::round,
        M::Fscale => arithmetic::scale,
        M::Fxtract => arithmetic::extract,
        M::Fprem => arithmetic::remainder,
        M::Fprem1 => lowering.with_size(1, arithmetic::remainder),
        M::Fsin => transcendental::sine,
        M::Fcos => transcendental::cosine,
        M::Fsincos => transcendental::sine_cosine,
        M::Fptan => transcendental::tangent,
        M::Fpatan => transcendental::arctangent,
        M::Fyl2x => transcendental::y_log2,
        M::Fyl2xp1 => transcendental::y_log2_plus_1,
        M::F2xm1 => transcendental::two_to_x_minus_1,
        _ => return None,
    })
}
