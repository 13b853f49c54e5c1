//! AVX in WebAssembly: both halves, zeros above, and what crosses from one half into the other.

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};
use wasm_encoder::{BlockType, Lane, ValType};

use super::emit::{Emitter, Temp};
use super::lazy::{Kind, Setter};
use super::operands::{Half, Last, upper_of};
use super::vector::{Family, family};
use crate::lower::legacy::legacy;
use crate::lower::vex::{immediate_or_zero, is_vex, is_wide};

/// What SSE has nothing like.
#[derive(Clone, Copy)]
enum Own {
    ZeroUpper,
    ZeroAll,
    /// Half the result from one of four: the first source's, then the last's.
    Halves([Option<usize>; 2]),
    ExtractHalf,
    /// Quarters as the immediate says.
    Quarters,
    /// 32-bit lanes as the first source says.
    ByLanes,
}

/// Whether there is a translation for what SSE has not.
pub(super) fn is_translated(insn: &Instruction) -> bool {
    is_vex(insn) && own(insn).is_some()
}

fn own(insn: &Instruction) -> Option<Own> {
    let imm = usize::from(immediate_or_zero(insn));
    Some(match insn.mnemonic() {
        M::Vzeroupper => Own::ZeroUpper,
        M::Vzeroall => Own::ZeroAll,
        M::Vperm2f128 | M::Vperm2i128 => {
            Own::Halves([imm, imm >> 4].map(|from| if from & 8 == 0 { Some(from & 3) } else { None }))
        }
        M::Vinsertf128 | M::Vinserti128 if imm & 1 == 0 => Own::Halves([Some(2), Some(1)]),
        M::Vinsertf128 | M::Vinserti128 => Own::Halves([Some(0), Some(2)]),
        M::Vextractf128 | M::Vextracti128 => Own::ExtractHalf,
        M::Vpermq | M::Vpermpd => Own::Quarters,
        M::Vpermd | M::Vpermps => Own::ByLanes,
        _ => return None,
    })
}

impl Emitter<'_> {
    pub(super) fn vex(&mut self, insn: &Instruction) {
        if let Some(own) = own(insn) {
            return self.own(insn, own);
        }
        let Some(family) = family(insn) else { return self.calculation(insn) };
        let wide = is_wide(insn);
        match family {
            Family::Test => self.test_vectors(insn),
            Family::Store if wide => self.store_wide(insn),
            Family::Mask(write) if wide => self.masks(insn, write),
            _ if self.out_of_vector(insn, family) => {}
            _ => self.both(insn, family),
        }
    }

    fn both(&mut self, insn: &Instruction, family: Family) {
        if matches!(family, Family::Load) && insn.op_kind(1) == OpKind::Memory {
            self.check_aligned(insn);
        }
        let (low, high) = self.vex_halves(insn);
        self.half(insn, family, low);
        match high {
            Some(high) => self.half(insn, family, high),
            None => self.clear_upper(low.to),
        }
    }

    fn store_wide(&mut self, insn: &Instruction) {
        let from = insn.op1_register();
        let halves = [from, upper_of(from)].map(|register| {
            self.push_xmm(register);
            self.take(ValType::V128)
        });
        self.check_aligned(insn);
        self.store_wide_operand(insn, halves);
    }

    /// The sign bits of both halves.
    fn masks(&mut self, insn: &Instruction, write: super::emit::Instruction) {
        let from = insn.op1_register();
        self.push_xmm(from);
        self.write(write);
        self.push_xmm(upper_of(from));
        self.write(write);
        let lanes = match legacy(insn.mnemonic()) {
            M::Pmovmskb => 16,
            M::Movmskps => 4,
            _ => 2,
        };
        self.i().i32_const(lanes).i32_shl().i32_or();
        if insn.op0_register().size() == 8 {
            self.i().i64_extend_i32_u();
        }
        self.pop_register(insn.op0_register());
    }

    /// `VPTEST`.
    fn test_vectors(&mut self, insn: &Instruction) {
        let (low, high) = self.vex_halves(insn);
        let mut sources = [None; 2];
        for (source, half) in sources.iter_mut().zip([Some(low), high]) {
            *source = half.map(|half| (half.to, self.take_last(insn, &half)));
        }
        if !self.flags_needed {
            self.kind = None;
            return;
        }
        self.push_none_set(sources, |s| s.v128_and());
        self.i().i64_const(6).i64_shl();
        self.push_none_set(sources, |s| s.v128_andnot());
        self.i().i64_or();
        let bits = self.take(ValType::I64);
        self.set_flags(Kind::new(Setter::Bits, 3), [Some(bits), None, None]);
    }

    /// Pushes whether `combine` of the last source and the first has no bit set in any half.
    fn push_none_set(&mut self, sources: [Option<(Register, Temp)>; 2], combine: super::emit::Instruction) {
        for (i, (first, last)) in sources.into_iter().flatten().enumerate() {
            self.get(last);
            self.push_xmm(first);
            self.write(combine);
            if i > 0 {
                self.i().v128_or();
            }
        }
        self.i().v128_any_true().i32_eqz().i64_extend_i32_u();
    }

    fn own(&mut self, insn: &Instruction, own: Own) {
        match own {
            Own::ZeroUpper | Own::ZeroAll => {
                let from = if matches!(own, Own::ZeroAll) { 0 } else { 16 };
                for register in (from..32).map(|n| Register::XMM0 + n) {
                    self.i().v128_const(0);
                    self.pop_vector(register);
                }
            }
            Own::Halves(from) => {
                let sources = self.four(insn);
                self.put_halves(insn, from.map(|from| from.map(|n| sources[n])));
            }
            Own::ExtractHalf => self.extract_half(insn),
            Own::Quarters => {
                let [_, _, low, high] = self.four(insn);
                let imm = insn.immediate8();
                let halves = [imm, imm >> 4].map(|imm| {
                    let mut lanes: [Lane; 16] = [0; 16];
                    for (i, lane) in (0..16u8).zip(&mut lanes) {
                        *lane = (imm >> (i / 8 * 2) & 3) * 8 + i % 8;
                    }
                    self.get(low);
                    self.get(high);
                    self.i().i8x16_shuffle(lanes);
                    self.take(ValType::V128)
                });
                self.put_halves(insn, halves.map(Some));
            }
            Own::ByLanes => self.by_lanes(insn),
        }
    }

    /// The halves of the first source and of the last.
    fn four(&mut self, insn: &Instruction) -> [Temp; 4] {
        let (low, high) = self.vex_halves(insn);
        let high = high.unwrap_or(low);
        let take = |this: &mut Self, half: &Half| match half.last {
            Last::Taken(temp) => temp,
            _ => this.take_last(insn, half),
        };
        let last = [take(self, &low), take(self, &high)];
        if super::vector::looks_at_last_only(insn) {
            return [last[0], last[1], last[0], last[1]];
        }
        let [a, b] = [low.first, high.first].map(|register| {
            self.push_xmm(register);
            self.take(ValType::V128)
        });
        [a, b, last[0], last[1]]
    }

    /// Makes them the result; `None` is zero.
    fn put_halves(&mut self, insn: &Instruction, halves: [Option<Temp>; 2]) {
        let to = insn.op0_register();
        for (register, half) in [to, upper_of(to)].into_iter().zip(halves) {
            match half {
                Some(half) => self.get(half),
                None => _ = self.i().v128_const(0),
            }
            self.pop_vector(register);
        }
    }

    fn extract_half(&mut self, insn: &Instruction) {
        let from = insn.op1_register();
        let from = if insn.immediate8() & 1 == 0 { from } else { upper_of(from) };
        self.push_xmm(from);
        if insn.op_kind(0) == OpKind::Memory {
            let value = self.take(ValType::V128);
            return self.store_operand(insn, value, super::memory::VECTOR);
        }
        self.pop_vector(insn.op0_register());
        self.clear_upper(insn.op0_register());
    }

    /// Each byte is looked for in the lower half and, 16 further on, in the upper: where it is not, there are zeros.
    fn by_lanes(&mut self, insn: &Instruction) {
        let [by_low, by_high, low, high] = self.four(insn);
        let halves = [by_low, by_high].map(|by| {
            const FIRST_BYTES: [Lane; 16] = [0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12];
            self.get(by);
            self.i().i32_const(2).i32x4_shl();
            let shifted = self.take(ValType::V128);
            self.get(shifted);
            self.get(shifted);
            self.i().i8x16_shuffle(FIRST_BYTES).v128_const(i128::from_le_bytes([28; 16])).v128_and();
            self.i().v128_const(0x0302_0100_0302_0100_0302_0100_0302_0100).v128_or();
            let bytes = self.take(ValType::V128);
            self.get(low);
            self.get(bytes);
            self.i().i8x16_swizzle();
            self.get(high);
            self.get(bytes);
            self.i().v128_const(i128::from_le_bytes([16; 16])).i8x16_sub().i8x16_swizzle().v128_or();
            self.take(ValType::V128)
        });
        self.put_halves(insn, halves.map(Some));
    }

    /// Loads 32 bytes.
    pub(super) fn load_wide(&mut self, insn: &Instruction) -> [Temp; 2] {
        let place = self.wide_place(insn, false);
        let halves = [(); 2].map(|()| self.temp(ValType::V128));
        self.push_hit(place);
        self.open_usual(BlockType::Empty);
        for (half, further) in halves.iter().zip([0, 16]) {
            self.push_host(place);
            let from = Self::further(place, further);
            self.i().v128_load(from).local_set(half.index);
        }
        self.or_else();
        self.load_slowly(place);
        for (half, further) in halves.iter().zip([0, 16]) {
            let from = self.exchanged(further);
            self.i().i32_const(0).v128_load(from).local_set(half.index);
        }
        self.close();
        halves
    }

    fn store_wide_operand(&mut self, insn: &Instruction, halves: [Temp; 2]) {
        let place = self.wide_place(insn, true);
        self.push_hit(place);
        self.open_usual(BlockType::Empty);
        for (half, further) in halves.iter().zip([0, 16]) {
            self.push_host(place);
            let to = Self::further(place, further);
            self.i().local_get(half.index).v128_store(to);
        }
        self.or_else();
        for (half, further) in halves.iter().zip([0, 16]) {
            let to = self.exchanged(further);
            self.i().i32_const(0).local_get(half.index).v128_store(to);
        }
        self.store_slowly(place);
        self.close();
    }
}
