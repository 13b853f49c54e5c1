//! Flags in translated code: what to keep of an instruction that sets them, and conditions worked out from that.
//!
//! What always holds: the locals of the flags say what [`super::lazy::Lazy`] says, unless nobody will look.

use iced_x86::{Instruction, OpKind, Register};
use wasm_encoder::{BlockType, ValType};

use super::emit::{Emitter, Temp, at};
use super::layout::function;
use super::lazy::{Kind, Over, Setter, Source};

impl Emitter<'_> {
    /// The flags are now those of `kind` with these operands; the third also serves as carry. Those that are where its
    /// sources say are not kept anywhere else, as long as they stay there.
    pub(crate) fn set_flags(&mut self, kind: Kind, operands: [Option<Temp>; 3]) {
        if !self.flags_needed {
            self.kind = None;
            return;
        }
        let changed = self.changed;
        let sources = kind.sources.map(|source| match source {
            Source::Register(n) if changed >> n & 1 != 0 => Source::Kept,
            source => source,
        });
        let kind = Kind { sources, ..kind };
        let [kind_local, a, b, c, _] = self.flag_locals();
        for (i, (operand, local)) in operands.into_iter().zip([a, b, c]).enumerate() {
            let kept = sources.get(i).is_none_or(|&s| s == Source::Kept);
            if let Some(operand) = operand.filter(|_| kept) {
                self.push_wide(operand);
                self.i().local_set(local);
            }
        }
        self.i().i64_const(kind.encode()).local_set(kind_local);
        self.kind = Some(kind);
    }

    /// Where operand `i` can be found later on, given that register `written` gets another value.
    pub(crate) fn source_of(&self, insn: &Instruction, i: u32, written: Register) -> Source {
        let high = |r: Register| matches!(r, Register::AH | Register::CH | Register::DH | Register::BH);
        match insn.op_kind(i) {
            OpKind::Register => match insn.op_register(i) {
                r if high(r) || r.full_register() == written.full_register() => Source::Kept,
                r => Source::Register(r.full_register().number() as u8),
            },
            OpKind::Memory => Source::Kept,
            _ => Source::Number(insn.immediate(i) as i32),
        }
    }

    /// Where the result of an instruction can be found, which is its first operand.
    pub(crate) fn result_of(&self, insn: &Instruction) -> Source {
        self.source_of(insn, 0, Register::None)
    }

    fn push_wide(&mut self, value: Temp) {
        self.get(value);
        if value.ty == ValType::I32 {
            self.i().i64_extend_i32_u();
        }
    }

    fn push_is_not_zero(&mut self, value: Temp) {
        self.get(value);
        self.either(value.ty == ValType::I64, |s| s.i64_eqz(), |s| s.i32_eqz());
        self.i().i32_eqz();
    }

    /// The same if `count` is not zero; otherwise they stay.
    pub(crate) fn set_flags_if(&mut self, count: Temp, kind: Kind, operands: [Temp; 3]) {
        let [kind_local, a, b, c, _] = self.flag_locals();
        self.push_is_not_zero(count);
        self.open_if(BlockType::Empty);
        for (operand, local) in operands.into_iter().zip([a, b, c]) {
            self.push_wide(operand);
            self.i().local_set(local);
        }
        self.i().i64_const(kind.encode()).local_set(kind_local);
        self.close();
        self.kind = None;
    }

    /// Only the carries change, as `over` says of `value`.
    pub(crate) fn set_over(&mut self, over: Over, width: u8, value: Temp) {
        if !self.flags_needed {
            return;
        }
        let [kind_local, .., o] = self.flag_locals();
        match self.kind {
            // OF of the rotation before must not be lost.
            Some(kind) if over != Over::Carry || matches!(kind.over, Over::None | Over::Carry) => {
                self.push_wide(value);
                self.i().local_set(o);
                let kind = Kind { over, over_width: width, ..kind };
                self.i().i64_const(kind.encode()).local_set(kind_local);
                self.kind = Some(kind);
            }
            _ => self.set_over_slowly(over, width, value),
        }
    }

    /// The same when it is not known what set the flags: they are worked out first.
    fn set_over_slowly(&mut self, over: Over, width: u8, value: Temp) {
        self.push_all_flags();
        let bits = self.take(ValType::I64);
        let [kind_local, a, .., o] = self.flag_locals();
        let kind = Kind { over, over_width: width, ..Kind::new(Setter::Bits, 3) };
        self.i().local_get(bits.index).local_set(a);
        self.push_wide(value);
        self.i().local_set(o).i64_const(kind.encode()).local_set(kind_local);
        self.kind = Some(kind);
    }

    /// The same if `count` is not zero; otherwise nothing changes.
    pub(crate) fn set_over_if(&mut self, count: Temp, over: Over, width: u8, value: Temp) {
        self.push_is_not_zero(count);
        self.open_if(BlockType::Empty);
        self.set_over(over, width, value);
        self.close();
        self.kind = None;
    }

    /// Pushes the status flags as RFLAGS has them, as an `i64`.
    pub(crate) fn push_all_flags(&mut self) {
        self.ask(ALL);
        self.i().i64_extend_i32_u();
    }

    /// Asks us about the flags: a condition's number, or [`ALL`].
    fn ask(&mut self, what: i32) {
        // They may refer to registers.
        let registers = (self.spill() | self.late) & 0xffff;
        self.store_registers(registers);
        self.store_flags();
        let core = self.layout.core as i32;
        self.i().i32_const(core).i32_const(what).call(function::CONDITION);
    }

    /// Pushes CF as 0 or 1.
    pub(crate) fn push_carry(&mut self) {
        self.push_condition(2);
    }

    /// The same for what leaves it as it is. In a loop, that is mostly what set the flags last, too.
    pub(crate) fn push_carry_to_keep(&mut self) {
        if self.kind.is_some() {
            return self.push_carry();
        }
        let [kind, _, _, c, _] = self.flag_locals();
        let (first, last) = (Setter::Increment as i32, Setter::Decrement as i32);
        self.i().local_get(kind).i32_wrap_i64().i32_const(Kind::SETTER_AND_OVER).i32_and();
        self.i().i32_const(first).i32_sub().i32_const(last - first + 1).i32_lt_u();
        self.open_usual(BlockType::Result(ValType::I32));
        self.i().local_get(c).i32_wrap_i64().i32_const(1).i32_and();
        self.or_else();
        self.push_carry();
        self.close();
    }

    /// Pushes whether the condition holds: 0, or 1.
    pub(crate) fn push_condition(&mut self, cc: u8) {
        let known = self.kind.is_some_and(|kind| self.push_known(kind, cc >> 1));
        if !known {
            self.ask(i32::from(cc & !1));
        }
        if cc & 1 != 0 {
            self.i().i32_eqz();
        }
    }

    /// Pushes an even condition by what set the flags, if there is a short way.
    fn push_known(&mut self, kind: Kind, condition: u8) -> bool {
        let carries = matches!(condition, 0 | 1 | 3 | 6 | 7);
        if kind.over != Over::None && carries {
            return self.push_over(kind, condition);
        }
        match kind.setter {
            Setter::Subtract | Setter::Difference => self.push_subtract(kind, condition),
            Setter::Order => self.push_order(kind.width, condition),
            Setter::Logic | Setter::Add | Setter::Increment | Setter::Decrement => self.push_result(kind, condition),
            Setter::ShiftLeft | Setter::ShiftRight | Setter::ShiftSigned | Setter::AddCarry => match condition {
                2 | 4 | 5 => self.push_result(kind, condition),
                1 if kind.setter == Setter::AddCarry => self.push_carry_of_chain(kind),
                1 if kind.setter != Setter::ShiftLeft => self.push_shifted_out(kind),
                _ => false,
            },
            Setter::SubtractBorrow if condition == 1 => self.push_carry_of_chain(kind),
            Setter::Bits => self.push_bit(condition),
            _ => false,
        }
    }

    fn push_over(&mut self, kind: Kind, condition: u8) -> bool {
        let [.., o] = self.flag_locals();
        let shift = match (condition, kind.over) {
            (1, Over::Carry | Over::RotateLeft) => 0,
            (1, Over::RotateRight) => (8 << kind.over_width) - 1,
            _ => return false,
        };
        self.i().local_get(o).i64_const(shift).i64_shr_u().i32_wrap_i64().i32_const(1).i32_and();
        true
    }

    /// Pushes an operand, 0 or 1, of the type its width has; signed if asked for.
    fn push_flag_operand(&mut self, kind: Kind, which: usize, signed: bool) {
        let width = kind.width;
        match kind.sources[which] {
            Source::Kept => {
                let local = self.flag_locals()[1 + which];
                self.i().local_get(local);
            }
            Source::Register(n) => self.push_named(n.into()),
            Source::Number(n) => {
                let value = match width {
                    0 if signed => i64::from(n as i8),
                    1 if signed => i64::from(n as i16),
                    _ => i64::from(n),
                };
                return self.constant(if signed { value as u64 } else { clipped(value, width) }, width.max(2));
            }
        }
        let register = kind.sources[which] != Source::Kept;
        if width < 3 {
            self.i().i32_wrap_i64();
        }
        match width {
            0 if signed => _ = self.i().i32_extend8_s(),
            1 if signed => _ = self.i().i32_extend16_s(),
            _ if register => self.mask(width),
            _ => {}
        }
    }

    /// Pushes a register flags name, which need not be in its local.
    fn push_named(&mut self, n: usize) {
        if self.flow.is_in_region(self.block) || self.held >> n & 1 != 0 {
            let local = self.gpr(n);
            self.i().local_get(local);
        } else {
            let from = at(self.register_address(n));
            self.i().i32_const(0).i64_load(from);
        }
    }

    /// Pushes one zero-extended to 64 bits.
    fn push_wide_operand(&mut self, kind: Kind, which: usize) {
        self.push_flag_operand(kind, which, false);
        if kind.width < 3 {
            self.i().i64_extend_i32_u();
        }
    }

    /// Pushes what was subtracted from.
    fn push_minuend(&mut self, kind: Kind, signed: bool) {
        if kind.setter != Setter::Difference {
            return self.push_flag_operand(kind, 0, signed);
        }
        self.push_flag_operand(kind, 0, false);
        self.push_flag_operand(kind, 1, false);
        self.either(kind.width == 3, |s| s.i64_add(), |s| s.i32_add());
        match kind.width {
            0 if signed => _ = self.i().i32_extend8_s(),
            1 if signed => _ = self.i().i32_extend16_s(),
            width => self.mask(width),
        }
    }

    fn push_subtract(&mut self, kind: Kind, condition: u8) -> bool {
        let (width, wide) = (kind.width, kind.width == 3);
        let signed = matches!(condition, 6 | 7);
        if kind.setter == Setter::Difference && matches!(condition, 2 | 4 | 5) {
            return self.push_result(kind, condition);
        }
        if matches!(condition, 1 | 2 | 3 | 6 | 7) {
            self.push_minuend(kind, signed);
            self.push_flag_operand(kind, 1, signed);
            let mut s = self.i();
            match (condition, wide) {
                (1, false) => s.i32_lt_u(),
                (1, true) => s.i64_lt_u(),
                (2, false) => s.i32_eq(),
                (2, true) => s.i64_eq(),
                (3, false) => s.i32_le_u(),
                (3, true) => s.i64_le_u(),
                (6, false) => s.i32_lt_s(),
                (6, true) => s.i64_lt_s(),
                (_, false) => s.i32_le_s(),
                (_, true) => s.i64_le_s(),
            };
            return true;
        }
        if condition == 0 {
            return false;
        }
        self.push_flag_operand(kind, 0, false);
        self.push_flag_operand(kind, 1, false);
        self.either(wide, |s| s.i64_sub(), |s| s.i32_sub());
        self.push_of_result(width, condition)
    }

    /// Replaces the result on the stack by its sign (4) or parity (5).
    fn push_of_result(&mut self, width: u8, condition: u8) -> bool {
        if condition == 5 {
            if width == 3 {
                self.i().i32_wrap_i64();
            }
            self.i().i32_const(0xff).i32_and().i32_popcnt().i32_const(1).i32_and().i32_eqz();
            return true;
        }
        match width {
            0 => self.i().i32_extend8_s().i32_const(0).i32_lt_s(),
            1 => self.i().i32_extend16_s().i32_const(0).i32_lt_s(),
            2 => self.i().i32_const(0).i32_lt_s(),
            _ => self.i().i64_const(0).i64_lt_s(),
        };
        true
    }

    /// Conditions of what keeps its result in `a`.
    fn push_result(&mut self, kind: Kind, condition: u8) -> bool {
        let [.., c, _] = self.flag_locals();
        let (width, wide) = (kind.width, kind.width == 3);
        match condition {
            2 => {
                self.push_flag_operand(kind, 0, false);
                self.either(wide, |s| s.i64_eqz(), |s| s.i32_eqz());
            }
            4 | 5 => {
                self.push_flag_operand(kind, 0, false);
                return self.push_of_result(width, condition);
            }
            1 => match kind.setter {
                Setter::Logic => _ = self.i().i32_const(0),
                Setter::Add => {
                    self.push_flag_operand(kind, 0, false);
                    self.push_flag_operand(kind, 1, false);
                    self.either(wide, |s| s.i64_lt_u(), |s| s.i32_lt_u());
                }
                _ => _ = self.i().local_get(c).i32_wrap_i64().i32_const(1).i32_and(),
            },
            3 => {
                self.push_result(kind, 1);
                self.push_result(kind, 2);
                self.i().i32_or();
            }
            0 => return self.push_overflow(kind),
            _ => {
                self.push_result(kind, 4);
                if !self.push_overflow(kind) {
                    self.i().i32_const(0);
                }
                self.i().i32_xor();
                if condition == 7 {
                    self.push_result(kind, 2);
                    self.i().i32_or();
                }
            }
        }
        true
    }

    fn push_overflow(&mut self, kind: Kind) -> bool {
        let top = 1i64 << ((8 << kind.width) - 1);
        match kind.setter {
            Setter::Logic => _ = self.i().i32_const(0),
            Setter::Increment | Setter::Decrement => {
                self.push_wide_operand(kind, 0);
                let last = if kind.setter == Setter::Increment { top } else { top.wrapping_sub(1) };
                self.i().i64_const(last).i64_eq();
            }
            _ => {
                // Both operands have the sign the result has not.
                self.push_wide_operand(kind, 0);
                let a = self.take(ValType::I64).index;
                self.push_wide_operand(kind, 1);
                let b = self.take(ValType::I64).index;
                let mut s = self.i();
                s.local_get(a).local_get(b).i64_xor();
                s.local_get(a).local_get(a).local_get(b).i64_sub().i64_xor();
                s.i64_and().i64_const((8 << kind.width) - 1).i64_shr_u().i32_wrap_i64().i32_const(1).i32_and();
            }
        }
        true
    }

    /// CF of an addition or subtraction with carry.
    fn push_carry_of_chain(&mut self, kind: Kind) -> bool {
        let [.., c, _] = self.flag_locals();
        for strict in [false, true] {
            self.push_flag_operand(kind, 0, false);
            self.push_flag_operand(kind, 1, false);
            let mut s = self.i();
            match (strict, kind.width == 3) {
                (false, false) => s.i32_le_u(),
                (false, true) => s.i64_le_u(),
                (true, false) => s.i32_lt_u(),
                (true, true) => s.i64_lt_u(),
            };
        }
        self.i().local_get(c).i32_wrap_i64().select();
        true
    }

    /// CF of a shift to the right: the last bit that went.
    fn push_shifted_out(&mut self, kind: Kind) -> bool {
        let [.., c, _] = self.flag_locals();
        self.i().local_get(c);
        if kind.setter == Setter::ShiftSigned {
            match kind.width {
                0 => _ = self.i().i64_extend8_s(),
                1 => _ = self.i().i64_extend16_s(),
                2 => _ = self.i().i64_extend32_s(),
                _ => {}
            }
        }
        self.push_wide_operand(kind, 1);
        self.i().i64_const(1).i64_sub();
        self.either(kind.setter == Setter::ShiftSigned, |s| s.i64_shr_s(), |s| s.i64_shr_u());
        self.i().i32_wrap_i64().i32_const(1).i32_and();
        true
    }

    /// After a comparison of floating-point numbers: unordered sets ZF, PF and CF.
    fn push_order(&mut self, width: u8, condition: u8) -> bool {
        let [_, a, b, ..] = self.flag_locals();
        let (x, y) = if condition == 5 { (a, a) } else { (a, b) };
        let double = width == 3;
        let push = |this: &mut Self, local: u32| {
            this.i().local_get(local);
            if !double {
                this.i().i32_wrap_i64();
            }
            this.either(double, |s| s.f64_reinterpret_i64(), |s| s.f32_reinterpret_i32());
        };
        match condition {
            1 | 3 => {
                push(self, x);
                push(self, y);
                let mut s = self.i();
                match (condition, double) {
                    (1, true) => s.f64_ge(),
                    (1, false) => s.f32_ge(),
                    (_, true) => s.f64_gt(),
                    (_, false) => s.f32_gt(),
                };
                self.i().i32_eqz();
            }
            2 => {
                for less in [true, false] {
                    push(self, x);
                    push(self, y);
                    let mut s = self.i();
                    match (less, double) {
                        (true, true) => s.f64_lt(),
                        (true, false) => s.f32_lt(),
                        (false, true) => s.f64_gt(),
                        (false, false) => s.f32_gt(),
                    };
                }
                self.i().i32_or().i32_eqz();
            }
            5 => {
                for local in [a, b] {
                    push(self, local);
                    push(self, local);
                    self.either(double, |s| s.f64_ne(), |s| s.f32_ne());
                }
                self.i().i32_or();
            }
            _ => return false,
        }
        true
    }

    fn push_bit(&mut self, condition: u8) -> bool {
        let [_, a, ..] = self.flag_locals();
        let bit = match condition {
            0 => 11,
            1 => 0,
            2 => 6,
            4 => 7,
            5 => 2,
            3 => {
                self.i().local_get(a).i64_const(0x41).i64_and().i64_eqz().i32_eqz();
                return true;
            }
            _ => return false,
        };
        self.i().local_get(a).i64_const(bit).i64_shr_u().i32_wrap_i64().i32_const(1).i32_and();
        true
    }
}

/// Asks for all flags instead of a condition.
pub(crate) const ALL: i32 = 16;

/// A number without the bits past its width.
fn clipped(value: i64, width: u8) -> u64 {
    value as u64 & u64::MAX >> (64 - (8 << width))
}
