//! Shuffles, shifts and single lanes of XMM registers in WebAssembly.

use iced_x86::{Instruction, Mnemonic as M, OpKind};
use wasm_encoder::{Lane, ValType};

use super::emit::{Emitter, Instruction as Write};
use super::memory::{VECTOR, type_of};
use super::operands::{Half, Last};
use super::vector::looks_at_last_only;
use crate::lower::legacy::legacy;

impl Emitter<'_> {
    pub(super) fn shuffle(&mut self, insn: &Instruction, half: &Half) {
        let narrow = insn.mnemonic() == M::Movddup && insn.op_kind(1) == OpKind::Memory;
        self.push_last(insn, half, if narrow { 3 } else { VECTOR });
        let b = self.take(ValType::V128);
        let lanes = lanes(insn, half.imm);
        // What looks at the source only need not look at the destination.
        if looks_at_last_only(insn) {
            self.get(b);
        } else {
            self.push_xmm(half.first);
        }
        self.get(b);
        self.i().i8x16_shuffle(lanes);
    }

    pub(super) fn shift_lanes(&mut self, insn: &Instruction, write: Write, bits: u32, half: &Half) {
        let signed = matches!(legacy(insn.mnemonic()), M::Psraw | M::Psrad);
        let count = u32::from(half.imm);
        if count < bits || signed {
            self.push_xmm(half.first);
            self.i().i32_const(count.min(bits - 1) as i32);
            self.write(write);
        } else {
            self.i().v128_const(0);
        }
    }

    pub(super) fn shift_bytes(&mut self, insn: &Instruction, half: &Half) {
        let count = half.imm.min(16);
        let left = legacy(insn.mnemonic()) == M::Pslldq;
        let mut lanes = [0; 16];
        for (i, lane) in (0..16u8).zip(&mut lanes) {
            *lane = if left { 16 + i - count } else { i + count };
        }
        // Zeros come in from the other operand.
        if left {
            self.i().v128_const(0);
        }
        self.push_xmm(half.first);
        if !left {
            self.i().v128_const(0);
        }
        self.i().i8x16_shuffle(lanes);
    }

    pub(super) fn insert_lane(&mut self, insn: &Instruction, half: &Half) {
        let width = match legacy(insn.mnemonic()) {
            M::Pinsrb => 0,
            M::Pinsrw => 1,
            M::Pinsrd => 2,
            _ => 3,
        };
        match half.last {
            Last::Memory => self.load_operand(insn, width),
            Last::Taken(temp) => {
                self.get(temp);
                self.extract_lane(width, 0);
            }
            Last::Register(register) => {
                let local = self.gpr(register.full_register().number());
                self.i().local_get(local);
                if width < 3 {
                    self.i().i32_wrap_i64();
                }
            }
        }
        let value = self.take(type_of(width));
        self.push_xmm(half.first);
        self.get(value);
        let lane = half.imm & (15 >> width);
        match width {
            0 => self.i().i8x16_replace_lane(lane),
            1 => self.i().i16x8_replace_lane(lane),
            2 => self.i().i32x4_replace_lane(lane),
            _ => self.i().i64x2_replace_lane(lane),
        };
    }

    pub(super) fn pick_lane(&mut self, insn: &Instruction) {
        let width = match legacy(insn.mnemonic()) {
            M::Pextrb => 0,
            M::Pextrw => 1,
            M::Pextrd => 2,
            _ => 3,
        };
        self.push_lane(insn.op1_register(), width, insn.immediate8() & (15 >> width));
        if width < 3 && insn.op0_register().size() == 8 {
            self.i().i64_extend_i32_u();
        }
        self.pop_register(insn.op0_register());
    }
}

/// Which bytes a shuffle takes: below 16 from the destination, the others from the source.
fn lanes(insn: &Instruction, imm: u8) -> [Lane; 16] {
    let field = |i: u8| imm >> (2 * i) & 3;
    let by = |bytes: u8, pick: &dyn Fn(u8) -> u8| {
        let mut lanes = [0; 16];
        for (i, lane) in (0..16u8).zip(&mut lanes) {
            *lane = pick(i / bytes) * bytes + i % bytes;
        }
        lanes
    };
    // Lane numbers count on into the source.
    let interleave = |bytes: u8, high: bool| {
        let all = 16 / bytes;
        let from = if high { all / 2 } else { 0 };
        by(bytes, &|i| from + i / 2 + if i % 2 == 1 { all } else { 0 })
    };
    let blend = |bytes: u8| by(bytes, &|i| if imm >> i & 1 != 0 { i + 16 / bytes } else { i });
    match legacy(insn.mnemonic()) {
        M::Pshufd | M::Vpermilps => by(4, &field),
        M::Pshuflw => by(2, &|i| if i < 4 { field(i) } else { i }),
        M::Pshufhw => by(2, &|i| if i < 4 { i } else { 4 + field(i - 4) }),
        M::Shufps => by(4, &|i| field(i) + if i < 2 { 0 } else { 4 }),
        M::Shufpd => by(8, &|i| (imm >> i & 1) + 2 * i),
        M::Palignr => by(1, &|i| {
            // The destination is the upper half.
            let n = u16::from(i) + u16::from(imm);
            if n < 16 { n as u8 + 16 } else { (n - 16).min(15) as u8 }
        }),
        M::Movhlps => by(8, &|i| if i == 0 { 3 } else { 1 }),
        M::Movlhps => by(8, &|i| if i == 0 { 0 } else { 2 }),
        M::Movddup | M::Vbroadcastsd | M::Vpbroadcastq => by(8, &|_| 0),
        M::Vbroadcastss | M::Vpbroadcastd => by(4, &|_| 0),
        M::Vpbroadcastw => by(2, &|_| 0),
        M::Vpbroadcastb => by(1, &|_| 0),
        M::Movshdup => by(4, &|i| i | 1),
        M::Movsldup => by(4, &|i| i & !1),
        M::Vpermilpd => by(8, &|i| imm >> i & 1),
        M::Blendps | M::Vpblendd => blend(4),
        M::Blendpd => blend(8),
        M::Pblendw => blend(2),
        M::Punpcklbw => interleave(1, false),
        M::Punpcklwd => interleave(2, false),
        M::Punpckldq | M::Unpcklps => interleave(4, false),
        M::Punpcklqdq | M::Unpcklpd => interleave(8, false),
        M::Punpckhbw => interleave(1, true),
        M::Punpckhwd => interleave(2, true),
        M::Punpckhdq | M::Unpckhps => interleave(4, true),
        _ => interleave(8, true),
    }
}
