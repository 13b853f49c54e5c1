//! From decoded instructions to ops: which handler, and where its operands are.

mod bmi;
mod integer;
pub(crate) mod legacy;
pub(crate) mod vector;
pub(crate) mod vex;
mod x87;

use alloc::vec::Vec;

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use crate::op::{Op, Run, gpr, slot};
use crate::ops::{branch, system, transfer};

/// Where the two operands of an instruction are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    RegReg,
    RegMem,
    MemReg,
    RegImm,
    MemImm,
}

/// An op with nothing but a handler.
pub(crate) const fn blank(run: Run) -> Op {
    Op {
        run,
        imm: 0,
        disp: 0,
        dst: 0,
        src: 0,
        base: slot::ZERO,
        index: slot::ZERO,
        scale: 0,
        attributes: 0,
        ip: 0,
        len: 0,
        count: 0,
        aux: 0,
    }
}

/// A `CMP` or `TEST`, which a conditional jump can be joined to.
#[derive(Clone, Copy)]
pub(crate) struct Comparison {
    subtracts: bool,
    form: Form,
    size: usize,
}

impl Comparison {
    fn with_jump(self, cc: u8) -> Option<Run> {
        let handler = if self.subtracts { branch::compare_jump_handler } else { branch::test_jump_handler };
        handler(self.form, self.size, cc)
    }
}

/// Appends the ops of `insn`, which has `count` instructions of its block before it, the last of them `previous` if that
/// was a comparison. Returns `insn` likewise.
pub(crate) fn instruction(
    insn: &Instruction,
    count: u8,
    previous: Option<Comparison>,
    ops: &mut Vec<Op>,
) -> Option<Comparison> {
    let op = Op { ip: insn.ip() as u16, len: insn.len() as u8, count, ..blank(system::invalid) };
    let mut lowering = Lowering { insn, op, ops, previous };
    lowering.operands();
    let lowered =
        lowering.integer().or_else(|| lowering.x87()).or_else(|| lowering.vex()).or_else(|| lowering.vector());
    if let Some(run) = lowered {
        lowering.op.run = run;
    }
    let (form, size) = (lowering.form(), lowering.size(0));
    let op = lowering.op;
    ops.push(op);
    match insn.mnemonic() {
        Mnemonic::Cmp => Some(Comparison { subtracts: true, form, size }),
        Mnemonic::Test => Some(Comparison { subtracts: false, form, size }),
        _ => None,
    }
}

/// The lowering of one instruction.
pub(crate) struct Lowering<'a> {
    insn: &'a Instruction,
    op: Op,
    ops: &'a mut Vec<Op>,
    previous: Option<Comparison>,
}

impl Lowering<'_> {
    /// Fills in what operands mean whatever the instruction: the first register operand is `dst` and the second `src`,
    /// a register after a memory operand is `src`, and there is at most one memory operand.
    fn operands(&mut self) {
        for i in 0..self.insn.op_count() {
            match self.insn.op_kind(i) {
                OpKind::Register => {
                    let at = register(self.insn.op_register(i));
                    if i == 0 {
                        self.op.dst = at
                    } else if i == 1 {
                        self.op.src = at
                    }
                }
                OpKind::Memory if self.insn.is_vsib() => self.gathered_memory(),
                OpKind::Memory => self.memory(),
                OpKind::NearBranch64 | OpKind::NearBranch32 | OpKind::NearBranch16 => {
                    self.op.imm = self.insn.near_branch_target();
                }
                OpKind::Immediate8
                | OpKind::Immediate16
                | OpKind::Immediate32
                | OpKind::Immediate64
                | OpKind::Immediate8to16
                | OpKind::Immediate8to32
                | OpKind::Immediate8to64
                | OpKind::Immediate32to64 => self.op.imm = self.insn.immediate(i),
                _ => {}
            }
        }
    }

    /// The memory operand. What does not fit an op (a segment base besides a base register, 32-bit arithmetic, a
    /// displacement of 64 bits) is worked out by an op before it.
    fn memory(&mut self) {
        let insn = self.insn;
        let segment = match insn.memory_segment() {
            _ if insn.mnemonic() == Mnemonic::Lea => slot::ZERO,
            Register::FS => slot::FS,
            Register::GS => slot::GS,
            _ => slot::ZERO,
        };
        let op = &mut self.op;
        op.scale = insn.memory_index_scale().trailing_zeros() as u8;
        op.index = register_or_zero(insn.memory_index());
        let base = insn.memory_base();
        if base == Register::RIP || base == Register::EIP {
            let offset = insn.memory_displacement64();
            let narrow = base == Register::EIP;
            match i32::try_from(offset as i64) {
                Ok(disp) if segment == slot::ZERO && !narrow => {
                    op.base = slot::PAGE;
                    op.disp = disp;
                }
                _ => {
                    let run = if narrow { transfer::partial_constant_narrow } else { transfer::partial_constant };
                    self.partial(Op { imm: offset, src: segment, aux: u16::from(slot::PAGE), ..blank(run) });
                }
            }
            return;
        }
        op.base = register_or_zero(base);
        self.op.attributes |= self.stack_attribute();
        let narrow = base.size() == 4
            || insn.memory_index().size() == 4
            || insn.memory_displ_size() == 4 && self.is_absolute_narrow();
        let disp = insn.memory_displacement64() as i64;
        let op = &mut self.op;
        match i32::try_from(disp) {
            Ok(disp) if !narrow => op.disp = disp,
            _ if narrow => op.disp = disp as i32,
            _ => {
                let run = transfer::partial_constant;
                self.partial(Op { imm: disp as u64, src: segment, aux: u16::from(slot::ZERO), ..blank(run) });
                return;
            }
        }
        if narrow {
            self.op.attributes |= Op::NARROW;
            let partial = Op { src: segment, imm: self.popped(), run: transfer::partial_address::<u32>, ..self.op };
            self.partial(partial);
        } else if segment != slot::ZERO {
            if op.base == slot::ZERO {
                op.base = segment;
            } else {
                let partial = Op { src: segment, imm: self.popped(), run: transfer::partial_address::<u64>, ..self.op };
                self.partial(partial);
            }
        }
    }

    /// Whether an address that is not canonical is a stack fault.
    fn stack_attribute(&self) -> u8 {
        let base = self.insn.memory_base();
        let stack = matches!(base, Register::RSP | Register::RBP | Register::ESP | Register::EBP);
        let other = matches!(self.insn.memory_segment(), Register::FS | Register::GS);
        if stack && !other && self.insn.segment_prefix() != Register::DS { Op::STACK } else { 0 }
    }

    /// What `POP` has added to RSP before it works out an address that builds upon it; a partial address comes before that.
    fn popped(&self) -> u64 {
        let pops = self.insn.mnemonic() == Mnemonic::Pop;
        let builds = matches!(self.insn.memory_base(), Register::RSP | Register::ESP);
        if pops && builds { self.insn.stack_pointer_increment() as u64 } else { 0 }
    }

    /// An absolute address under an address-size prefix.
    fn is_absolute_narrow(&self) -> bool {
        self.insn.memory_base() == Register::None && self.insn.memory_index() == Register::None
    }

    /// Puts `partial` before the instruction, whose address is then what it leaves.
    fn partial(&mut self, partial: Op) {
        let op = &mut self.op;
        self.ops.push(Op { dst: slot::TEMP, ip: op.ip, len: op.len, count: op.count, ..partial });
        op.base = slot::TEMP;
        op.index = slot::ZERO;
        op.scale = 0;
        op.disp = 0;
    }

    fn is_memory(&self, i: u32) -> bool {
        self.insn.op_kind(i) == OpKind::Memory
    }

    /// Bytes of operand `i`.
    fn size(&self, i: u32) -> usize {
        match self.insn.op_kind(i) {
            OpKind::Register => self.insn.op_register(i).size(),
            OpKind::Memory => self.insn.memory_size().size(),
            _ => 0,
        }
    }

    /// The form of an instruction whose second operand is read and whose first is read or written.
    fn form(&self) -> Form {
        match (self.is_memory(0), self.insn.op_kind(1)) {
            (true, OpKind::Register) => Form::MemReg,
            (true, _) => Form::MemImm,
            (false, OpKind::Memory) => Form::RegMem,
            (false, OpKind::Register) => Form::RegReg,
            (false, _) => Form::RegImm,
        }
    }
}

fn register_or_zero(register: Register) -> u8 {
    if register == Register::None { slot::ZERO } else { self::register(register) }
}

/// Where a register operand is: for general-purpose ones its byte offset in the register file, for others its number.
fn register(register: Register) -> u8 {
    let number = register.number() as u8;
    match register {
        Register::AH | Register::CH | Register::DH | Register::BH => gpr(register as u8 - Register::AH as u8) + 1,
        _ if register.is_gpr8() => gpr(register.full_register().number() as u8),
        _ if register.is_gpr() => gpr(number),
        _ => number,
    }
}
