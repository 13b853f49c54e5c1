//! Which instructions are translated, and the operands of integer instructions in WebAssembly.
//!
//! What always holds: a value narrower than 64 bits travels as an `i32`, zero-extended; one of 64 bits as an `i64`.

use core::hint::black_box;

use iced_x86::{ConditionCode, FlowControl, Instruction, Mnemonic as M, OpKind, Register};

use super::code::Insn;
use super::emit::{Emitter, Temp};
use super::memory::type_of;
use super::{bmi, branch, repeat, vector};
use crate::lower::legacy::legacy;

/// Whether a region may hold this instruction: all but those that end blocks without being branches of ours.
pub(crate) fn may_enter(insn: &Instruction) -> bool {
    insn.flow_control() == FlowControl::Next || branch::is_translated(insn)
}

/// Whether it has a translation; otherwise the interpreter is called.
pub(crate) fn is_translated(insn: &Instruction) -> bool {
    insn.flow_control() != FlowControl::Next || family(insn).is_some() || vector::is_translated(insn)
}

/// Whether its translation may stop for another reason than memory.
pub(crate) fn may_exit(insn: &Instruction) -> bool {
    matches!(family(insn), Some(Family::Divide | Family::Repeat))
        || matches!(insn.flow_control(), FlowControl::IndirectBranch | FlowControl::IndirectCall | FlowControl::Return)
        || vector::may_exit(insn)
}

/// Whether its translation depends on MXCSR.
pub(crate) fn calculates(insn: &Instruction) -> bool {
    vector::may_exit(insn)
}

/// Whether the interpreter may change MXCSR by it: anything that has to do with vectors might raise an exception.
pub(crate) fn may_change_mxcsr(insn: &Instruction) -> bool {
    let vector = |i: u32| insn.op_kind(i) == OpKind::Register && !insn.op_register(i).is_gpr();
    (0..insn.op_count()).any(vector) || legacy(insn.mnemonic()) == M::Ldmxcsr || restores_vectors(insn)
}

/// Whether it may give all vector registers other values, and MXCSR, none of which it names.
pub(crate) fn restores_vectors(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), M::Fxrstor | M::Fxrstor64 | M::Xrstor | M::Xrstor64)
}

/// Whether what it writes of a vector register is all of it.
pub(crate) fn writes_whole_vector(insn: &Instruction) -> bool {
    vector::writes_whole(insn)
}

/// Whether it may leave its destination as it was although it is said to write it.
pub(crate) fn may_keep(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), M::Bsf | M::Bsr)
}

/// Status flags: whether it reads them, changes some, gives all a value. To keep some is not to read them.
pub(crate) fn flag_use(insn: &Instruction) -> (bool, bool, bool) {
    let conditional = insn.condition_code() != ConditionCode::None;
    match family(insn) {
        Some(Family::Binary(M::Adc | M::Sbb)) => (true, true, true),
        Some(
            Family::Binary(_)
            | Family::Compare
            | Family::Negate
            | Family::Multiply
            | Family::MultiplyWide
            | Family::ExchangeAdd
            | Family::CompareExchange,
        ) => (false, true, true),
        Some(Family::Shift) => match shift_count(insn) {
            Some(0) => (false, false, false),
            Some(_) => (false, true, true),
            None => (false, true, false),
        },
        Some(Family::Rotate) if shift_count(insn) == Some(0) => (false, false, false),
        Some(Family::Step | Family::Rotate | Family::BitTest) => (false, true, false),
        Some(Family::Count | Family::DoubleShift) => (false, true, true),
        Some(Family::Bmi) if bmi::sets_flags(insn) => (false, true, true),
        Some(_) => (conditional, false, false),
        None if vector::sets_flags(insn) => (false, true, true),
        None => (conditional, false, false),
    }
}

/// Which of the flags' further words ([`super::lazy::Lazy`]'s `c` and `o`) the instruction may use.
pub(crate) fn flag_words(insn: &Instruction) -> (bool, bool) {
    match family(insn) {
        Some(Family::Binary(M::Adc | M::Sbb) | Family::Step | Family::Shift) => (true, false),
        Some(Family::Rotate | Family::BitTest | Family::Count | Family::DoubleShift) => (false, true),
        Some(Family::Bmi) => (false, bmi::uses_carry(insn)),
        _ => (false, false),
    }
}

/// What kind of translation an instruction has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Nothing,
    Move,
    Extend(bool),
    Address,
    Binary(M),
    Compare,
    Step,
    Negate,
    Invert,
    Shift,
    /// `SHLD` or `SHRD`.
    DoubleShift,
    Rotate,
    Multiply,
    MultiplyWide,
    Divide,
    Push,
    Pop,
    Leave,
    Set,
    ConditionalMove,
    BitTest,
    Count,
    Swap,
    Exchange,
    ExchangeAdd,
    CompareExchange,
    SignExtendRax,
    SignIntoRdx,
    Bmi,
    Repeat,
}

fn family(insn: &Instruction) -> Option<Family> {
    let gpr = |i: u32| insn.op_kind(i) == OpKind::Register && insn.op_register(i).is_gpr();
    let memory = |i: u32| insn.op_kind(i) == OpKind::Memory;
    let size = insn.op0_register().size().max(if memory(0) { insn.memory_size().size() } else { 0 });
    Some(match insn.mnemonic() {
        M::Nop | M::Endbr64 | M::Endbr32 | M::Pause | M::Lfence | M::Mfence | M::Sfence => Family::Nothing,
        M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 | M::Prefetchnta | M::Prefetchw => Family::Nothing,
        M::Mov if (gpr(0) || memory(0)) && (gpr(1) || insn.op_kind(1) != OpKind::Register) => Family::Move,
        M::Movnti => Family::Move,
        M::Movzx => Family::Extend(false),
        M::Movsx | M::Movsxd if size > source_size(insn) => Family::Extend(true),
        M::Lea => Family::Address,
        M::Add | M::Adc | M::Sub | M::Sbb | M::And | M::Or | M::Xor => Family::Binary(insn.mnemonic()),
        M::Cmp | M::Test => Family::Compare,
        M::Inc | M::Dec => Family::Step,
        M::Neg => Family::Negate,
        M::Not => Family::Invert,
        M::Shl | M::Sal | M::Shr | M::Sar => Family::Shift,
        M::Shld | M::Shrd if size >= 4 && double_shift_count(insn).is_some() => Family::DoubleShift,
        M::Rol | M::Ror => Family::Rotate,
        M::Imul if insn.op_count() > 1 => Family::Multiply,
        M::Mul | M::Imul if size >= 4 => Family::MultiplyWide,
        M::Div | M::Idiv if size >= 4 => Family::Divide,
        M::Push if insn.stack_pointer_increment() == -8 && !is_segment(insn) => Family::Push,
        M::Pop if insn.stack_pointer_increment() == 8 && gpr(0) => Family::Pop,
        M::Leave if insn.stack_pointer_increment() == 0 && insn.code() == iced_x86::Code::Leaveq => Family::Leave,
        M::Cbw | M::Cwde | M::Cdqe => Family::SignExtendRax,
        M::Cwd | M::Cdq | M::Cqo => Family::SignIntoRdx,
        M::Bt | M::Bts | M::Btr | M::Btc if gpr(0) => Family::BitTest,
        M::Bt | M::Bts | M::Btr | M::Btc if insn.op_kind(1) != OpKind::Register => Family::BitTest,
        M::Bsf | M::Bsr | M::Tzcnt | M::Lzcnt | M::Popcnt if size >= 4 => Family::Count,
        M::Bswap if size >= 4 => Family::Swap,
        _ if bmi::is_translated(insn) => Family::Bmi,
        _ if repeat::is_translated(insn) => Family::Repeat,
        M::Xchg => Family::Exchange,
        M::Xadd => Family::ExchangeAdd,
        M::Cmpxchg if memory(0) => Family::CompareExchange,
        _ if insn.condition_code() == ConditionCode::None || insn.flow_control() != FlowControl::Next => return None,
        _ if insn.op_count() == 1 && size == 1 => Family::Set,
        _ if insn.op_count() == 2 && gpr(0) => Family::ConditionalMove,
        _ => return None,
    })
}

fn is_segment(insn: &Instruction) -> bool {
    insn.op_kind(0) == OpKind::Register && insn.op0_register().is_segment_register()
}

fn source_size(insn: &Instruction) -> usize {
    match insn.op_kind(1) {
        OpKind::Register => insn.op1_register().size(),
        _ => insn.memory_size().size(),
    }
}

/// The count of a shift by an immediate, as the processor masks it.
pub(super) fn shift_count(insn: &Instruction) -> Option<u32> {
    (insn.op_kind(1) != OpKind::Register).then(|| {
        let wide = width(insn, 0) == 3;
        u32::from(insn.immediate8()) & if wide { 63 } else { 31 }
    })
}

/// The count of a double shift by an immediate of at least 2. By 1 OF has a meaning that nothing here knows how to keep.
pub(super) fn double_shift_count(insn: &Instruction) -> Option<u32> {
    if insn.op_kind(2) == OpKind::Register {
        return None;
    }
    let mask = if width(insn, 0) == 3 { 63 } else { 31 };
    let count = u32::from(insn.immediate8()) & mask;
    (count >= 2).then_some(count)
}

/// log2 of the bytes of operand `i`.
pub(crate) fn width(insn: &Instruction, i: u32) -> u8 {
    let size = match insn.op_kind(i) {
        OpKind::Register => insn.op_register(i).size(),
        OpKind::Memory => insn.memory_size().size(),
        _ => return width(insn, 0),
    };
    size.trailing_zeros() as u8
}

/// The condition in the low four bits of the opcode.
pub(crate) fn condition(insn: &Instruction) -> u8 {
    use ConditionCode as C;
    match insn.condition_code() {
        C::o => 0,
        C::no => 1,
        C::b => 2,
        C::ae => 3,
        C::e => 4,
        C::ne => 5,
        C::be => 6,
        C::a => 7,
        C::s => 8,
        C::ns => 9,
        C::p => 10,
        C::np => 11,
        C::l => 12,
        C::ge => 13,
        C::le => 14,
        _ => 15,
    }
}

/// An operand that is changed: a register, or memory between its load and its store.
pub(super) enum Changed<'a> {
    Register(Register),
    Memory(super::memory::Place<'a>),
}

impl Emitter<'_> {
    /// One instruction that is not a branch.
    #[inline(never)]
    pub(crate) fn instruction(&mut self, insn: &Insn) {
        if insn.calls_out {
            return self.call_out(false);
        }
        let insn = &insn.insn;
        let Some(family) = family(insn) else { return self.vector(insn) };
        let write: fn(&mut Self, &Instruction) = match family {
            Family::Nothing => |_, _| {},
            Family::Move => Self::mov,
            Family::Extend(false) => |this, insn| this.extend(insn, false),
            Family::Extend(true) => |this, insn| this.extend(insn, true),
            Family::Address => Self::lea,
            Family::Binary(_) => |this, insn| this.binary(insn, insn.mnemonic()),
            Family::Compare => Self::compare,
            Family::Step => Self::step,
            Family::Negate => Self::negate,
            Family::Invert => Self::invert,
            Family::Shift => Self::shift,
            Family::DoubleShift => Self::double_shift,
            Family::Rotate => Self::rotate,
            Family::Multiply => Self::multiply,
            Family::MultiplyWide => Self::multiply_wide,
            Family::Divide => Self::divide,
            Family::Push => Self::push,
            Family::Pop => Self::pop,
            Family::Leave => |this, _| this.leave_frame(),
            Family::Set => Self::set_condition,
            Family::ConditionalMove => Self::conditional_move,
            Family::BitTest => Self::bit_test,
            Family::Count => Self::count,
            Family::Swap => Self::swap,
            Family::Exchange => Self::exchange,
            Family::ExchangeAdd => Self::exchange_add,
            Family::CompareExchange => Self::compare_exchange,
            Family::SignExtendRax => Self::sign_extend_rax,
            Family::SignIntoRdx => Self::sign_into_rdx,
            Family::Bmi => Self::bmi,
            Family::Repeat => Self::repeat,
        };
        // A pointer nobody knows is not inlined: in one function with all of them, an engine's optimizer would be busy for as
        // long as with the program that is to be translated, which waits meanwhile.
        black_box(write)(self, insn);
    }

    /// Pushes a register.
    pub(crate) fn push_register(&mut self, register: Register) {
        let local = self.gpr(register.full_register().number());
        self.i().local_get(local);
        match register.size() {
            8 => {}
            4 => _ = self.i().i32_wrap_i64(),
            2 => _ = self.i().i32_wrap_i64().i32_const(0xffff).i32_and(),
            _ if is_high(register) => _ = self.i().i32_wrap_i64().i32_const(8).i32_shr_u().i32_const(0xff).i32_and(),
            _ => _ = self.i().i32_wrap_i64().i32_const(0xff).i32_and(),
        }
    }

    /// Sets a register to the value on the stack, whose bits past the register's are clear.
    pub(crate) fn pop_register(&mut self, register: Register) {
        let local = self.gpr(register.full_register().number());
        let keep = match register.size() {
            8 => {
                _ = self.i().local_set(local);
                return;
            }
            4 => {
                _ = self.i().i64_extend_i32_u().local_set(local);
                return;
            }
            2 => !0xffff,
            _ if is_high(register) => {
                self.i().i64_extend_i32_u().i64_const(8).i64_shl();
                !0xff00
            }
            _ => !0xff,
        };
        if !is_high(register) {
            self.i().i64_extend_i32_u();
        }
        self.i().local_get(local).i64_const(keep).i64_and().i64_or().local_set(local);
    }

    /// Pushes operand `i`, of `1 << width` bytes.
    #[inline(never)]
    pub(crate) fn push_operand(&mut self, insn: &Instruction, i: u32, width: u8) {
        match insn.op_kind(i) {
            OpKind::Register => self.push_register(insn.op_register(i)),
            OpKind::Memory => {
                self.load_operand(insn, width);
            }
            _ => self.constant(insn.immediate(i), width),
        }
    }

    pub(crate) fn constant(&mut self, value: u64, width: u8) {
        match width {
            0 => self.i().i32_const(i32::from(value as u8)),
            1 => self.i().i32_const(i32::from(value as u16)),
            2 => self.i().i32_const(value as i32),
            _ => self.i().i64_const(value as i64),
        };
    }

    pub(super) fn take_operand(&mut self, insn: &Instruction, i: u32, width: u8) -> Temp {
        self.push_operand(insn, i, width);
        self.take(type_of(width))
    }

    /// Pushes operand 0, which will be changed.
    pub(super) fn push_changed<'a>(&mut self, insn: &'a Instruction, width: u8) -> Changed<'a> {
        if insn.op_kind(0) == OpKind::Memory {
            return Changed::Memory(self.load_for_change(insn, width));
        }
        self.push_register(insn.op0_register());
        Changed::Register(insn.op0_register())
    }

    pub(super) fn put_changed(&mut self, changed: &Changed<'_>, value: Temp, width: u8) {
        match *changed {
            Changed::Register(register) => {
                self.get(value);
                self.pop_register(register);
            }
            Changed::Memory(place) => self.store_changed(place, value, width),
        }
    }

    /// Clears the bits past the width of the value on the stack.
    pub(super) fn mask(&mut self, width: u8) {
        match width {
            0 => _ = self.i().i32_const(0xff).i32_and(),
            1 => _ = self.i().i32_const(0xffff).i32_and(),
            _ => {}
        }
    }
}

pub(super) fn is_high(register: Register) -> bool {
    matches!(register, Register::AH | Register::CH | Register::DH | Register::BH)
}
