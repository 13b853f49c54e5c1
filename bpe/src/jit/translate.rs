//! Integer instructions in WebAssembly, and which instructions are translated at all.
//!
//! What always holds: a value narrower than 64 bits travels as an `i32`, zero-extended; one of 64 bits as an `i64`.

use iced_x86::{ConditionCode, FlowControl, Instruction, Mnemonic as M, OpKind, Register};
use wasm_encoder::{BlockType, ValType};

use super::code::Insn;
use super::emit::{Emitter, Temp};
use super::layout::function;
use super::lazy::{Kind, Over, Setter};
use super::memory::type_of;
use super::plan::Address;
use super::{branch, vector};

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
    matches!(family(insn), Some(Family::Divide))
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
    (0..insn.op_count()).any(vector) || matches!(insn.mnemonic(), M::Ldmxcsr | M::Fxrstor | M::Fxrstor64)
}

/// Whether what it writes of a vector register is all of it.
pub(crate) fn writes_whole_vector(insn: &Instruction) -> bool {
    vector::writes_whole(insn)
}

/// Whether it may leave its destination as it was although it is said to write it.
pub(crate) fn may_keep(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), M::Bsf | M::Bsr)
}

/// Status flags: whether it reads them, changes some, gives all a value.
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
            None => (true, true, false),
        },
        Some(Family::Rotate) if shift_count(insn) == Some(0) => (false, false, false),
        Some(Family::Step | Family::Rotate | Family::BitTest) => (true, true, false),
        Some(Family::Count) => (false, true, true),
        Some(_) => (conditional, false, false),
        None if vector::sets_flags(insn) => (false, true, true),
        None => (conditional, false, false),
    }
}

/// Which of the flags' further words ([`super::lazy::Lazy`]'s `c` and `o`) the instruction may use.
pub(crate) fn flag_words(insn: &Instruction) -> (bool, bool) {
    match family(insn) {
        Some(Family::Binary(M::Adc | M::Sbb) | Family::Step | Family::Shift) => (true, false),
        Some(Family::Rotate | Family::BitTest | Family::Count) => (false, true),
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
fn shift_count(insn: &Instruction) -> Option<u32> {
    (insn.op_kind(1) != OpKind::Register).then(|| {
        let wide = width(insn, 0) == 3;
        u32::from(insn.immediate8()) & if wide { 63 } else { 31 }
    })
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
enum Changed<'a> {
    Register(Register),
    Memory(super::memory::Place<'a>),
}

impl Emitter<'_> {
    /// One instruction that is not a branch.
    pub(crate) fn instruction(&mut self, insn: &Insn) {
        if insn.calls_out {
            return self.call_out(false);
        }
        let insn = &insn.insn;
        let Some(family) = family(insn) else { return self.vector(insn) };
        match family {
            Family::Nothing => {}
            Family::Move => self.mov(insn),
            Family::Extend(signed) => self.extend(insn, signed),
            Family::Address => self.lea(insn),
            Family::Binary(which) => self.binary(insn, which),
            Family::Compare => self.compare(insn),
            Family::Step => self.step(insn),
            Family::Negate => self.negate(insn),
            Family::Invert => self.invert(insn),
            Family::Shift => self.shift(insn),
            Family::Rotate => self.rotate(insn),
            Family::Multiply => self.multiply(insn),
            Family::MultiplyWide => self.multiply_wide(insn),
            Family::Divide => self.divide(insn),
            Family::Push => self.push(insn),
            Family::Pop => self.pop(insn),
            Family::Leave => self.leave_frame(),
            Family::Set => self.set_condition(insn),
            Family::ConditionalMove => self.conditional_move(insn),
            Family::BitTest => self.bit_test(insn),
            Family::Count => self.count(insn),
            Family::Swap => self.swap(insn),
            Family::Exchange => self.exchange(insn),
            Family::ExchangeAdd => self.exchange_add(insn),
            Family::CompareExchange => self.compare_exchange(insn),
            Family::SignExtendRax => self.sign_extend_rax(insn),
            Family::SignIntoRdx => self.sign_into_rdx(insn),
        }
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

    fn take_operand(&mut self, insn: &Instruction, i: u32, width: u8) -> Temp {
        self.push_operand(insn, i, width);
        self.take(type_of(width))
    }

    /// Pushes operand 0, which will be changed.
    fn push_changed<'a>(&mut self, insn: &'a Instruction, width: u8) -> Changed<'a> {
        if insn.op_kind(0) == OpKind::Memory {
            return Changed::Memory(self.load_for_change(insn, width));
        }
        self.push_register(insn.op0_register());
        Changed::Register(insn.op0_register())
    }

    fn put_changed(&mut self, changed: &Changed<'_>, value: Temp, width: u8) {
        match *changed {
            Changed::Register(register) => {
                self.get(value);
                self.pop_register(register);
            }
            Changed::Memory(place) => self.store_changed(place, value, width),
        }
    }

    /// Clears the bits past the width of the value on the stack.
    fn mask(&mut self, width: u8) {
        match width {
            0 => _ = self.i().i32_const(0xff).i32_and(),
            1 => _ = self.i().i32_const(0xffff).i32_and(),
            _ => {}
        }
    }

    fn mov(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        if insn.op_kind(0) == OpKind::Memory {
            let value = self.take_operand(insn, 1, width);
            return self.store_operand(insn, value, width);
        }
        self.push_operand(insn, 1, width);
        self.pop_register(insn.op0_register());
    }

    fn extend(&mut self, insn: &Instruction, signed: bool) {
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

    fn lea(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        self.push_operand_address(insn);
        if width < 3 {
            self.i().i32_wrap_i64();
            self.mask(width);
        }
        self.pop_register(insn.op0_register());
    }

    fn binary(&mut self, insn: &Instruction, which: M) {
        let width = width(insn, 0);
        let ty = type_of(width);
        let same = insn.op_kind(0) == OpKind::Register
            && insn.op_kind(1) == OpKind::Register
            && insn.op0_register() == insn.op1_register();
        if same && matches!(which, M::Xor | M::Sub) {
            self.constant(0, width);
            let zero = self.take(ty);
            self.set_flags(Kind::new(Setter::Logic, width), [Some(zero), None, None]);
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
        self.mask(width);
        let r = self.take(ty);
        let kind = |setter| Kind::new(setter, width);
        match which {
            M::Add => self.set_flags(kind(Setter::Add), [Some(r), Some(b), None]),
            M::Sub => self.set_flags(kind(Setter::Subtract), [Some(a), Some(b), None]),
            M::Adc => self.set_flags(kind(Setter::AddCarry), [Some(r), Some(b), carry]),
            M::Sbb => self.set_flags(kind(Setter::SubtractBorrow), [Some(a), Some(b), carry]),
            _ => self.set_flags(kind(Setter::Logic), [Some(r), None, None]),
        }
        self.put_changed(&place, r, width);
    }

    fn operate(&mut self, which: M, width: u8) {
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

    fn compare(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let b = self.take_operand(insn, 1, width);
        let a = self.take_operand(insn, 0, width);
        if !self.flags_needed {
            self.kind = None;
            return;
        }
        if insn.mnemonic() == M::Cmp {
            return self.set_flags(Kind::new(Setter::Subtract, width), [Some(a), Some(b), None]);
        }
        self.get(a);
        self.get(b);
        self.operate(M::And, width);
        let r = self.take(type_of(width));
        self.set_flags(Kind::new(Setter::Logic, width), [Some(r), None, None]);
    }

    /// `INC` and `DEC`.
    fn step(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let up = insn.mnemonic() == M::Inc;
        let carry = self.flags_needed.then(|| {
            self.push_carry();
            self.take(ValType::I32)
        });
        let place = self.push_changed(insn, width);
        self.constant(1, width);
        self.operate(if up { M::Add } else { M::Sub }, width);
        self.mask(width);
        let r = self.take(type_of(width));
        let setter = if up { Setter::Increment } else { Setter::Decrement };
        self.set_flags(Kind::new(setter, width), [Some(r), None, carry]);
        self.put_changed(&place, r, width);
    }

    fn negate(&mut self, insn: &Instruction) {
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

    fn invert(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        let place = self.push_changed(insn, width);
        self.constant(u64::MAX, width);
        self.operate(M::Xor, width);
        let r = self.take(type_of(width));
        self.put_changed(&place, r, width);
    }

    /// Pushes the masked count of a shift or rotation, of the type of what is shifted.
    fn take_count(&mut self, insn: &Instruction, width: u8) -> Temp {
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

    fn shift(&mut self, insn: &Instruction) {
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
        self.mask(width);
        let r = self.take(ty);
        let kind = Kind::new(setter, width);
        match shift_count(insn) {
            Some(0) => {}
            Some(_) => self.set_flags(kind, [Some(r), Some(count), Some(a)]),
            None if self.flags_needed => self.set_flags_if(count, kind, [r, count, a]),
            None => self.kind = None,
        }
        self.put_changed(&place, r, width);
    }

    fn rotate(&mut self, insn: &Instruction) {
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

    fn push_rotated(&mut self, a: Temp, count: Temp, width: u8, left: bool) {
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

    fn multiply(&mut self, insn: &Instruction) {
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
    fn multiply_wide(&mut self, insn: &Instruction) {
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

    fn product_32(&mut self, a: Temp, b: Temp, signed: bool) -> (Temp, Temp) {
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

    fn product_64(&mut self, a: Temp, b: Temp, signed: bool) -> (Temp, Temp) {
        self.i().local_get(a.index).local_get(b.index).i64_mul();
        let low = self.take(ValType::I64);
        self.i().local_get(a.index).local_get(b.index).call(function::HIGH);
        if signed {
            for (x, y) in [(a, b), (b, a)] {
                self.i().local_get(x.index).i64_const(63).i64_shr_s().local_get(y.index).i64_and().i64_sub();
            }
        }
        (low, self.take(ValType::I64))
    }

    /// `DIV` and `IDIV`: a dividend that fits 64 bits is divided here.
    fn divide(&mut self, insn: &Instruction) {
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
        self.open_if(BlockType::Empty);
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
            self.open_if(BlockType::Empty);
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
    fn push_division_is_simple(&mut self, a: Temp, b: Temp, width: u8, signed: bool) {
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

    fn push(&mut self, insn: &Instruction) {
        self.push_operand(insn, 0, 3);
        let value = self.take(ValType::I64);
        self.store(Address::Stack(-8), value, 3);
        let rsp = self.gpr(4);
        self.i().local_get(rsp).i64_const(8).i64_sub().local_set(rsp);
    }

    fn pop(&mut self, insn: &Instruction) {
        self.load(Address::Stack(0), 3);
        let rsp = self.gpr(4);
        self.i().local_get(rsp).i64_const(8).i64_add().local_set(rsp);
        self.pop_register(insn.op0_register());
    }

    fn leave_frame(&mut self) {
        let (rsp, rbp) = (self.gpr(4), self.gpr(5));
        self.load(Address::Frame, 3);
        self.i().local_get(rbp).i64_const(8).i64_add().local_set(rsp).local_set(rbp);
    }

    fn set_condition(&mut self, insn: &Instruction) {
        self.push_condition(condition(insn));
        if insn.op_kind(0) == OpKind::Memory {
            let value = self.take(ValType::I32);
            return self.store_operand(insn, value, 0);
        }
        self.pop_register(insn.op0_register());
    }

    fn conditional_move(&mut self, insn: &Instruction) {
        let width = width(insn, 0);
        self.push_operand(insn, 1, width);
        self.push_register(insn.op0_register());
        self.push_condition(condition(insn));
        self.i().select();
        self.pop_register(insn.op0_register());
    }

    /// `BT` and its kin on a register, or on memory with a constant number.
    fn bit_test(&mut self, insn: &Instruction) {
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
    fn count(&mut self, insn: &Instruction) {
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
    fn count_flags(&mut self, insn: &Instruction, a: Temp, r: Temp, width: u8) {
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

    fn swap(&mut self, insn: &Instruction) {
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

    fn swap_bytes_32(&mut self) {
        let a = self.take(ValType::I32);
        self.i().local_get(a.index).i32_const(8).i32_rotl().i32_const(0x00ff_00ff).i32_and();
        self.i().local_get(a.index).i32_const(8).i32_rotr().i32_const(0xff00_ff00u32 as i32).i32_and().i32_or();
    }

    fn exchange(&mut self, insn: &Instruction) {
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

    fn exchange_add(&mut self, insn: &Instruction) {
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

    fn compare_exchange(&mut self, insn: &Instruction) {
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

    fn sign_extend_rax(&mut self, insn: &Instruction) {
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

    fn sign_into_rdx(&mut self, insn: &Instruction) {
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

fn is_high(register: Register) -> bool {
    matches!(register, Register::AH | Register::CH | Register::DH | Register::BH)
}
