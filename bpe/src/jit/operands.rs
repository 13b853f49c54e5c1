//! The operands of vector instructions: those of SSE, and those each half of an instruction of VEX works on.
//!
//! What always holds: an upper half is a register of its own, XMM16 and so on, so one translation serves for both halves.

use iced_x86::{Instruction, OpKind, Register};
use wasm_encoder::ValType;

use super::emit::{Emitter, Temp};
use super::memory::{As, VECTOR};
use crate::lower::vex::{immediate_or_zero, is_vex, last_source, operands};
use crate::vector::vex::{Upper, Vex};

/// What one half works on.
#[derive(Clone, Copy)]
pub(super) struct Half {
    pub(super) to: Register,
    /// The first source; for SSE where the result goes, too.
    pub(super) first: Register,
    pub(super) last: Last,
    /// A further source, of those that have one.
    pub(super) third: Register,
    pub(super) imm: u8,
}

/// The last source.
#[derive(Clone, Copy)]
pub(super) enum Last {
    Register(Register),
    Taken(Temp),
    Memory,
}

/// The upper half of the register with this name, or of whatever else it is the name.
pub(super) fn upper_of(register: Register) -> Register {
    Register::XMM16 + (register.number() as u32 & 15)
}

/// The lower half.
fn lower_of(register: Register) -> Register {
    if register.is_vector_register() { Register::XMM0 + (register.number() as u32 & 15) } else { register }
}

/// The registers each half works on, as far as they are registers: the result's, the first source, the last. The second half
/// is what an instruction on 32 bytes has.
pub(super) fn halves(insn: &Instruction) -> impl Iterator<Item = [Option<Register>; 3]> {
    let vector = |i: u32| {
        let is = i < insn.op_count() && insn.op_kind(i) == OpKind::Register;
        is.then(|| insn.op_register(i)).filter(|r| r.is_vector_register())
    };
    let (first, last) = if is_vex(insn) && last_source(insn) == 2 { (1, 2) } else { (0, 1) };
    let low = [0, first, last].map(vector);
    let wide = low.iter().flatten().any(|r| r.is_ymm());
    let high = wide.then(|| low.map(|r| r.map(upper_of)));
    [Some(low.map(|r| r.map(lower_of))), high].into_iter().flatten()
}

impl Half {
    /// Of an instruction of SSE's. The third source is XMM0, which nobody names.
    pub(super) fn of_sse(insn: &Instruction) -> Self {
        let last = match insn.op_kind(1) {
            OpKind::Memory => Last::Memory,
            _ => Last::Register(insn.op1_register()),
        };
        let to = insn.op0_register();
        Self { to, first: to, last, third: Register::XMM0, imm: immediate_or_zero(insn) }
    }
}

impl Emitter<'_> {
    /// The halves of an instruction on vectors: the second is what one on 32 bytes has.
    pub(super) fn operand_halves(&mut self, insn: &Instruction) -> (Half, Option<Half>) {
        if is_vex(insn) { self.vex_halves(insn) } else { (Half::of_sse(insn), None) }
    }

    /// The halves of one of VEX's: what it reads from memory has been read.
    pub(super) fn vex_halves(&mut self, insn: &Instruction) -> (Half, Option<Half>) {
        let vex = operands(insn);
        let last = self.vex_sources(insn, vex);
        let [to, first, third] = [0, 1, 3].map(|i| insn.try_op_register(i).unwrap_or(Register::None));
        let [to, first, third] = [to, first, third].map(lower_of);
        let low = Half { to, first, last: last[0], third, imm: vex.imm[0] };
        let high =
            Half { to: upper_of(to), first: upper_of(first), last: last[1], third: upper_of(third), imm: vex.imm[1] };
        (low, vex.wide.then_some(high))
    }

    /// What each half works on as its last source.
    fn vex_sources(&mut self, insn: &Instruction, vex: Vex) -> [Last; 2] {
        let last = last_source(insn);
        if insn.op_kind(last) == OpKind::Memory {
            let taken = self.take_memory(insn);
            return self.spread(vex, taken).map(Last::Taken);
        }
        let register = lower_of(insn.op_register(last));
        if vex.upper == Upper::Own || !vex.wide || !register.is_vector_register() {
            return [Last::Register(register), Last::Register(upper_of(register))];
        }
        // The lower half of the result may go where the source is.
        self.push_xmm(register);
        let low = self.take(ValType::V128);
        self.spread(vex, [low; 2]).map(Last::Taken)
    }

    /// What each half works on of a source.
    fn spread(&mut self, vex: Vex, [low, high]: [Temp; 2]) -> [Temp; 2] {
        match vex.upper {
            _ if !vex.wide => [low, low],
            Upper::Own => [low, high],
            Upper::Same => [low, low],
            Upper::Further(bits) => {
                let mut lanes = [0; 16];
                lanes.iter_mut().zip(bits / 8..).for_each(|(lane, from)| *lane = from & 15);
                self.get(low);
                self.get(low);
                self.i().i8x16_shuffle(lanes);
                [low, self.take(ValType::V128)]
            }
        }
    }

    /// The memory operand, its lowest bytes and what is above.
    fn take_memory(&mut self, insn: &Instruction) -> [Temp; 2] {
        match insn.memory_size().size() {
            32 => return self.load_wide(insn),
            16 => self.load_operand(insn, VECTOR),
            8 => self.load_operand_as(insn, 3, As::Lane(0)),
            4 => self.load_operand_as(insn, 2, As::Lane(0)),
            size => {
                let width = size.trailing_zeros() as u8;
                self.load_operand(insn, width);
                self.widen(width);
            }
        }
        let low = self.take(ValType::V128);
        [low, low]
    }

    /// Pushes the last source: of memory, `1 << width` bytes and zeros.
    pub(super) fn push_last(&mut self, insn: &Instruction, half: &Half, width: u8) {
        match half.last {
            Last::Register(register) => self.push_xmm(register),
            Last::Taken(temp) => self.get(temp),
            Last::Memory if width == VECTOR => self.push_vector(insn, 1),
            Last::Memory => self.push_narrow_vector(insn, width),
        }
    }

    pub(super) fn take_last(&mut self, insn: &Instruction, half: &Half) -> Temp {
        self.push_last(insn, half, VECTOR);
        self.take(ValType::V128)
    }

    /// Above what VEX writes are zeros.
    pub(super) fn clear_upper(&mut self, register: Register) {
        self.i().v128_const(0);
        self.pop_vector(upper_of(register));
    }
}
