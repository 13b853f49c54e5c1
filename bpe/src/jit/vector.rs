//! SSE in WebAssembly, and what AVX has of it for each half: moves and integers. Shuffles are in [`super::shuffle`],
//! floating-point arithmetic in [`super::float`], what only AVX has in [`super::vex`].
//!
//! What always holds: only XMM registers are dealt with here; MMX is the interpreter's.

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};
use wasm_encoder::{Ieee64, Lane, ValType};

use super::emit::{Emitter, Instruction as Write, Temp, at};
use super::layout::function as callee;
use super::lazy::{Kind, Setter};
use super::memory::{As, VECTOR};
use super::operands::{Half, Last};
use super::plan::Address;
use super::translate::width;
use super::{float, guarded, vex};
use crate::lower::legacy::legacy;
use crate::lower::vector::{is_hash, pure};
use crate::lower::vex::{is_vex, last_source, sse_name};
use crate::vector::Pure;

/// Whether there is a translation.
pub(super) fn is_translated(insn: &Instruction) -> bool {
    let mmx = (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Register && insn.op_register(i).is_mm());
    !mmx && (vex::is_translated(insn) || family(insn).is_some() || may_exit(insn))
}

/// Whether it may stop for another reason than memory.
pub(super) fn may_exit(insn: &Instruction) -> bool {
    float::is_translated(insn) || guarded::is_translated(insn)
}

/// Whether what it writes of a vector register is all of it.
pub(super) fn writes_whole(insn: &Instruction) -> bool {
    match family(insn) {
        Some(Family::Load | Family::Extend(..) | Family::Narrow(_)) => true,
        Some(Family::Scalar(_)) => insn.op_kind(1) == OpKind::Memory,
        Some(Family::Shuffle) => looks_at_last_only(insn),
        Some(Family::Binary(_)) => insn.op_kind(1) == OpKind::Register && insn.op0_register() == insn.op1_register(),
        _ => false,
    }
}

/// Whether it sets all status flags.
pub(super) fn sets_flags(insn: &Instruction) -> bool {
    is_translated(insn) && (matches!(legacy(insn.mnemonic()), M::Ptest) || float::sets_flags(insn))
}

#[derive(Clone, Copy)]
pub(super) enum Family {
    /// All of a register from a register or memory.
    Load,
    /// All of one to memory.
    Store,
    /// `MOVSS`, `MOVSD`: so many bytes, as log2.
    Scalar(u8),
    /// `MOVD`, `MOVQ` into a vector: the rest is cleared.
    Narrow(u8),
    /// ... from one.
    Extract(u8),
    /// `MOVLPS` and `MOVHPS` and their kin.
    Half(u8),
    /// A function of two vectors.
    Binary(Write),
    /// A function of the source alone.
    Unary(Write),
    AndNot,
    Shuffle,
    /// By the signs of a third vector's lanes of so many bits.
    Blend(Write, u32),
    Swizzle,
    /// By an immediate: the instruction and the bits of a lane.
    Shift(Write, u32),
    ShiftBytes,
    Mask(Write),
    /// Lanes made wider, in steps.
    Extend(&'static [Write], u8),
    Multiply(bool),
    MultiplyHigh(bool),
    Insert,
    PickLane,
    Test,
    /// What the engine has nothing for: a function of ours.
    Pure(Pure),
}

macro_rules! table {
    ($mnemonic:expr; $($($m:ident)|+ => $f:ident,)*) => {
        match $mnemonic {
            $($(M::$m)|+ => Some(Family::Binary(|s| s.$f())),)*
            _ => None,
        }
    };
}

fn binary(mnemonic: M) -> Option<Family> {
    table! { mnemonic;
        Paddb => i8x16_add, Paddw => i16x8_add, Paddd => i32x4_add, Paddq => i64x2_add,
        Psubb => i8x16_sub, Psubw => i16x8_sub, Psubd => i32x4_sub, Psubq => i64x2_sub,
        Paddsb => i8x16_add_sat_s, Paddusb => i8x16_add_sat_u, Paddsw => i16x8_add_sat_s, Paddusw => i16x8_add_sat_u,
        Psubsb => i8x16_sub_sat_s, Psubusb => i8x16_sub_sat_u, Psubsw => i16x8_sub_sat_s, Psubusw => i16x8_sub_sat_u,
        Pmullw => i16x8_mul, Pmulld => i32x4_mul, Pmaddwd => i32x4_dot_i16x8_s,
        Pavgb => i8x16_avgr_u, Pavgw => i16x8_avgr_u,
        Pminub => i8x16_min_u, Pminuw => i16x8_min_u, Pminud => i32x4_min_u,
        Pminsb => i8x16_min_s, Pminsw => i16x8_min_s, Pminsd => i32x4_min_s,
        Pmaxub => i8x16_max_u, Pmaxuw => i16x8_max_u, Pmaxud => i32x4_max_u,
        Pmaxsb => i8x16_max_s, Pmaxsw => i16x8_max_s, Pmaxsd => i32x4_max_s,
        Pcmpeqb => i8x16_eq, Pcmpeqw => i16x8_eq, Pcmpeqd => i32x4_eq, Pcmpeqq => i64x2_eq,
        Pcmpgtb => i8x16_gt_s, Pcmpgtw => i16x8_gt_s, Pcmpgtd => i32x4_gt_s, Pcmpgtq => i64x2_gt_s,
        Pand | Andps | Andpd => v128_and, Por | Orps | Orpd => v128_or, Pxor | Xorps | Xorpd => v128_xor,
        Packsswb => i8x16_narrow_i16x8_s, Packuswb => i8x16_narrow_i16x8_u,
        Packssdw => i16x8_narrow_i32x4_s, Packusdw => i16x8_narrow_i32x4_u,
    }
}

pub(super) fn family(insn: &Instruction) -> Option<Family> {
    let memory = |i: u32| i < insn.op_count() && insn.op_kind(i) == OpKind::Memory;
    let register = |i: u32| i < insn.op_count() && insn.op_kind(i) == OpKind::Register;
    let xmm = |i: u32| register(i) && insn.op_register(i).is_xmm();
    let gpr = |i: u32| register(i) && insn.op_register(i).is_gpr();
    let counted_by = insn.op_count().saturating_sub(1);
    let immediate = counted_by > 0 && !memory(counted_by) && !register(counted_by);
    let mnemonic = sse_name(insn)?;
    if let Some(found) = binary(mnemonic) {
        return Some(found);
    }
    let load = if memory(0) { Family::Store } else { Family::Load };
    Some(match mnemonic {
        M::Movups | M::Movupd | M::Movdqu | M::Lddqu | M::Movaps | M::Movapd | M::Movdqa | M::Movntdqa => load,
        M::Movntps | M::Movntpd | M::Movntdq => load,
        M::Movss => Family::Scalar(2),
        M::Movsd if xmm(0) || xmm(1) => Family::Scalar(3),
        M::Movd if xmm(0) => Family::Narrow(2),
        M::Movq if xmm(0) => Family::Narrow(3),
        M::Movd => Family::Extract(2),
        M::Movq => Family::Extract(3),
        M::Movlps | M::Movlpd if (0..insn.op_count()).any(memory) => Family::Half(0),
        M::Movhps | M::Movhpd => Family::Half(1),
        M::Pandn | M::Andnps | M::Andnpd => Family::AndNot,
        M::Pabsb => Family::Unary(|s| s.i8x16_abs()),
        M::Pabsw => Family::Unary(|s| s.i16x8_abs()),
        M::Pabsd => Family::Unary(|s| s.i32x4_abs()),
        M::Pshufd | M::Pshuflw | M::Pshufhw | M::Shufps | M::Shufpd => Family::Shuffle,
        M::Palignr if insn.immediate8() <= 16 => Family::Shuffle,
        M::Movhlps | M::Movlhps => Family::Shuffle,
        M::Movddup | M::Movshdup | M::Movsldup => Family::Shuffle,
        M::Blendps | M::Blendpd | M::Pblendw | M::Vpblendd => Family::Shuffle,
        M::Vbroadcastss | M::Vbroadcastsd => Family::Shuffle,
        M::Vpbroadcastb | M::Vpbroadcastw | M::Vpbroadcastd | M::Vpbroadcastq => Family::Shuffle,
        M::Vbroadcastf128 | M::Vbroadcasti128 => Family::Load,
        M::Vpermilps | M::Vpermilpd if immediate => Family::Shuffle,
        M::Pblendvb => Family::Blend(|s| s.i8x16_shr_s(), 8),
        M::Blendvps => Family::Blend(|s| s.i32x4_shr_s(), 32),
        M::Blendvpd => Family::Blend(|s| s.i64x2_shr_s(), 64),
        M::Punpcklbw | M::Punpcklwd | M::Punpckldq | M::Punpcklqdq | M::Unpcklps | M::Unpcklpd => Family::Shuffle,
        M::Punpckhbw | M::Punpckhwd | M::Punpckhdq | M::Punpckhqdq | M::Unpckhps | M::Unpckhpd => Family::Shuffle,
        M::Pshufb => Family::Swizzle,
        M::Psllw if immediate => Family::Shift(|s| s.i16x8_shl(), 16),
        M::Pslld if immediate => Family::Shift(|s| s.i32x4_shl(), 32),
        M::Psllq if immediate => Family::Shift(|s| s.i64x2_shl(), 64),
        M::Psrlw if immediate => Family::Shift(|s| s.i16x8_shr_u(), 16),
        M::Psrld if immediate => Family::Shift(|s| s.i32x4_shr_u(), 32),
        M::Psrlq if immediate => Family::Shift(|s| s.i64x2_shr_u(), 64),
        M::Psraw if immediate => Family::Shift(|s| s.i16x8_shr_s(), 16),
        M::Psrad if immediate => Family::Shift(|s| s.i32x4_shr_s(), 32),
        M::Pslldq | M::Psrldq => Family::ShiftBytes,
        M::Pmovmskb => Family::Mask(|s| s.i8x16_bitmask()),
        M::Movmskps => Family::Mask(|s| s.i32x4_bitmask()),
        M::Movmskpd => Family::Mask(|s| s.i64x2_bitmask()),
        M::Pmovzxbw => Family::Extend(&[|s| s.i16x8_extend_low_i8x16_u()], 3),
        M::Pmovzxwd => Family::Extend(&[|s| s.i32x4_extend_low_i16x8_u()], 3),
        M::Pmovzxdq => Family::Extend(&[|s| s.i64x2_extend_low_i32x4_u()], 3),
        M::Pmovzxbd => Family::Extend(&[|s| s.i16x8_extend_low_i8x16_u(), |s| s.i32x4_extend_low_i16x8_u()], 2),
        M::Pmovsxbw => Family::Extend(&[|s| s.i16x8_extend_low_i8x16_s()], 3),
        M::Pmovsxwd => Family::Extend(&[|s| s.i32x4_extend_low_i16x8_s()], 3),
        M::Pmovsxdq => Family::Extend(&[|s| s.i64x2_extend_low_i32x4_s()], 3),
        M::Pmovsxbd => Family::Extend(&[|s| s.i16x8_extend_low_i8x16_s(), |s| s.i32x4_extend_low_i16x8_s()], 2),
        M::Cvtdq2pd => Family::Extend(&[|s| s.f64x2_convert_low_i32x4_s()], 3),
        M::Pmuludq => Family::Multiply(false),
        M::Pmuldq => Family::Multiply(true),
        M::Pmulhuw => Family::MultiplyHigh(false),
        M::Pmulhw => Family::MultiplyHigh(true),
        M::Pinsrb | M::Pinsrw | M::Pinsrd | M::Pinsrq => Family::Insert,
        M::Pextrb | M::Pextrw | M::Pextrd | M::Pextrq if gpr(0) => Family::PickLane,
        M::Ptest => Family::Test,
        _ if is_pure(insn) => Family::Pure(pure(insn)?),
        _ => return None,
    })
}

/// Whether a function of ours could have its operands: one XMM register, and another or memory we can load into one.
fn is_pure(insn: &Instruction) -> bool {
    if is_vex(insn) {
        return true;
    }
    let xmm = |i: u32| insn.op_kind(i) == OpKind::Register && insn.op_register(i).is_xmm();
    let memory = insn.op_count() > 1 && insn.op_kind(1) == OpKind::Memory;
    insn.op_count() > 1 && xmm(0) && (xmm(1) || memory && matches!(insn.memory_size().size(), 4 | 8 | 16))
}

/// Whether the result is zero whatever the register holds, which is why it need not be in its local.
pub(super) fn is_zero(insn: &Instruction) -> bool {
    use M::{Psubb, Psubd, Psubq, Psubw, Pxor, Xorpd, Xorps};
    let (first, last) = if is_vex(insn) { (1, 2) } else { (0, 1) };
    matches!(legacy(insn.mnemonic()), Pxor | Xorps | Xorpd | Psubb | Psubw | Psubd | Psubq)
        && insn.op_kind(last) == OpKind::Register
        && insn.op_register(first) == insn.op_register(last)
}

/// Whether what it gives depends on the last source alone.
pub(super) fn looks_at_last_only(insn: &Instruction) -> bool {
    use M::{Movddup, Movshdup, Movsldup, Pshufd, Pshufhw, Pshuflw};
    matches!(legacy(insn.mnemonic()), Pshufd | Pshuflw | Pshufhw | Movddup | Movshdup | Movsldup)
        || is_vex(insn) && last_source(insn) == 1
}

/// Whether a 16-byte memory operand may be anywhere.
fn is_unaligned(insn: &Instruction) -> bool {
    use M::{Movapd, Movaps, Movdqa, Movntdq, Movntdqa, Movntpd, Movntps};
    let mnemonic = legacy(insn.mnemonic());
    if is_vex(insn) {
        return !matches!(mnemonic, Movaps | Movapd | Movdqa | Movntdqa | Movntps | Movntpd | Movntdq);
    }
    matches!(mnemonic, M::Movups | M::Movupd | M::Movdqu | M::Lddqu) || is_hash(insn)
}

impl Emitter<'_> {
    #[inline(never)]
    pub(super) fn vector(&mut self, insn: &Instruction) {
        if is_vex(insn) {
            return self.vex(insn);
        }
        match family(insn) {
            Some(Family::Test) => self.test_vector(insn),
            Some(family) if !self.out_of_vector(insn, family) => self.half(insn, family, Half::of_sse(insn)),
            Some(_) => {}
            None => self.calculation(insn),
        }
    }

    /// What depends on MXCSR.
    pub(super) fn calculation(&mut self, insn: &Instruction) {
        if guarded::is_translated(insn) { self.guarded(insn) } else { self.float(insn) }
    }

    /// What has no vector as its result; whether that was so.
    pub(super) fn out_of_vector(&mut self, insn: &Instruction, family: Family) -> bool {
        let to_memory = insn.op_kind(0) == OpKind::Memory;
        match family {
            Family::Store => self.store_vector(insn),
            Family::Scalar(width) if to_memory => self.store_lane(insn, width, 0),
            Family::Extract(width) => self.extract_word(insn, width),
            Family::Half(half) if to_memory => self.store_lane(insn, 3, half),
            Family::Mask(write) => {
                self.push_xmm(insn.op1_register());
                self.write(write);
                if width(insn, 0) == 3 {
                    self.i().i64_extend_i32_u();
                }
                self.pop_register(insn.op0_register());
            }
            Family::PickLane => self.pick_lane(insn),
            _ => return false,
        }
        true
    }

    /// What is a function of vectors: all of an instruction of SSE's, or half of one of VEX's.
    #[inline(never)]
    pub(super) fn half(&mut self, insn: &Instruction, family: Family, half: Half) {
        match family {
            Family::Load => self.push_last(insn, &half, VECTOR),
            Family::Scalar(width) => self.move_scalar(insn, width, &half),
            Family::Narrow(width) => self.narrow(insn, width, &half),
            Family::Half(place) => self.move_half(insn, place, &half),
            Family::Binary(_) if is_zero(insn) => _ = self.i().v128_const(0),
            Family::Binary(write) => {
                let b = self.take_last(insn, &half);
                self.push_xmm(half.first);
                self.get(b);
                self.write(write);
            }
            Family::Unary(write) => {
                self.push_last(insn, &half, VECTOR);
                self.write(write);
            }
            Family::AndNot => {
                self.push_last(insn, &half, VECTOR);
                self.push_xmm(half.first);
                self.i().v128_andnot();
            }
            Family::Shuffle => self.shuffle(insn, &half),
            Family::Blend(write, bits) => {
                self.push_last(insn, &half, VECTOR);
                self.push_xmm(half.first);
                self.push_xmm(half.third);
                self.i().i32_const(bits as i32 - 1);
                self.write(write);
                self.i().v128_bitselect();
            }
            Family::Swizzle => {
                let b = self.take_last(insn, &half);
                self.push_xmm(half.first);
                self.get(b);
                self.i().v128_const(i128::from_le_bytes([0x8f; 16])).v128_and().i8x16_swizzle();
            }
            Family::Shift(write, bits) => self.shift_lanes(insn, write, bits, &half),
            Family::ShiftBytes => self.shift_bytes(insn, &half),
            Family::Extend(steps, width) => {
                self.push_last(insn, &half, width);
                steps.iter().for_each(|&step| self.write(step));
            }
            Family::Multiply(signed) => self.multiply_even(insn, signed, &half),
            Family::MultiplyHigh(signed) => self.multiply_high(insn, signed, &half),
            Family::Insert => self.insert_lane(insn, &half),
            Family::Pure(function) => self.pure(insn, function, &half),
            Family::Store | Family::Extract(_) | Family::Mask(_) | Family::PickLane | Family::Test => return,
        }
        self.pop_vector(half.to);
    }

    pub(super) fn write(&mut self, write: Write) {
        write(&mut self.i());
    }

    pub(super) fn push_xmm(&mut self, register: Register) {
        let local = self.xmm(register.number());
        self.i().local_get(local);
    }

    pub(super) fn pop_vector(&mut self, register: Register) {
        let local = self.xmm(register.number());
        self.i().local_set(local);
    }

    /// Pushes operand `i`, all 16 bytes of it.
    pub(super) fn push_vector(&mut self, insn: &Instruction, i: u32) {
        if insn.op_kind(i) == OpKind::Register {
            return self.push_xmm(insn.op_register(i));
        }
        self.check_aligned(insn);
        self.load_operand(insn, VECTOR);
    }

    pub(super) fn take_vector(&mut self, insn: &Instruction, i: u32) -> Temp {
        self.push_vector(insn, i);
        self.take(ValType::V128)
    }

    /// Leaves an address that is not aligned to the interpreter, which knows what that ends in. One at a multiple of 16 from
    /// another that was asked for in the same block is.
    pub(super) fn check_aligned(&mut self, insn: &Instruction) {
        if is_unaligned(insn) {
            return;
        }
        let mask = insn.memory_size().size() as i32 - 1;
        if mask == 15
            && let Some(member) = self.plan.member(self.block, self.index, Address::Operand(insn))
        {
            let within = member.offset & 15;
            if self.aligned.insert(member.group, within) == Some(within) {
                return;
            }
        }
        self.push_operand_address(insn);
        self.i().i32_wrap_i64().i32_const(mask).i32_and();
        self.open_rare(wasm_encoder::BlockType::Empty);
        self.interpret();
        self.close();
    }

    fn store_vector(&mut self, insn: &Instruction) {
        self.push_xmm(insn.op1_register());
        let value = self.take(ValType::V128);
        self.check_aligned(insn);
        self.store_operand(insn, value, VECTOR);
    }

    /// Pushes a lane of `1 << width` bytes, as an integer.
    pub(super) fn push_lane(&mut self, register: Register, width: u8, lane: Lane) {
        self.push_xmm(register);
        self.extract_lane(width, lane);
    }

    /// The same of the vector on the stack.
    pub(super) fn extract_lane(&mut self, width: u8, lane: Lane) {
        match width {
            0 => self.i().i8x16_extract_lane_u(lane),
            1 => self.i().i16x8_extract_lane_u(lane),
            2 => self.i().i32x4_extract_lane(lane),
            _ => self.i().i64x2_extract_lane(lane),
        };
    }

    fn store_lane(&mut self, insn: &Instruction, width: u8, lane: Lane) {
        self.push_xmm(insn.op1_register());
        let vector = self.take(ValType::V128);
        self.store_operand_lane(insn, vector, width, lane);
    }

    /// Makes the integer on the stack the low lane of a vector of zeros.
    pub(super) fn widen(&mut self, width: u8) {
        if width < 3 {
            self.i().i64_extend_i32_u();
        }
        let low = self.take(ValType::I64);
        self.i().v128_const(0).local_get(low.index).i64x2_replace_lane(0);
    }

    /// Pushes the low bytes of the source, the rest clear.
    pub(super) fn push_narrow_vector(&mut self, insn: &Instruction, width: u8) {
        if insn.op_kind(1) == OpKind::Register {
            return self.push_xmm(insn.op1_register());
        }
        match width {
            2.. => self.load_operand_as(insn, width, As::Lane(0)),
            _ => {
                self.load_operand(insn, width);
                self.widen(width);
            }
        }
    }

    fn move_scalar(&mut self, insn: &Instruction, width: u8, half: &Half) {
        let Last::Register(from) = half.last else { return self.push_last(insn, half, width) };
        self.push_xmm(half.first);
        self.push_xmm(from);
        let lanes: [Lane; 16] = match width {
            2 => [16, 17, 18, 19, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
            _ => [16, 17, 18, 19, 20, 21, 22, 23, 8, 9, 10, 11, 12, 13, 14, 15],
        };
        self.i().i8x16_shuffle(lanes);
    }

    fn narrow(&mut self, insn: &Instruction, width: u8, half: &Half) {
        match half.last {
            Last::Register(from) if from.is_gpr() => {
                self.push_register(from);
                self.widen(width);
            }
            Last::Register(from) => {
                self.push_lane(from, 3, 0);
                self.widen(3);
            }
            _ => self.push_last(insn, half, width),
        }
    }

    fn extract_word(&mut self, insn: &Instruction, width: u8) {
        if insn.op_kind(0) == OpKind::Memory {
            return self.store_lane(insn, width, 0);
        }
        self.push_lane(insn.op1_register(), width, 0);
        self.pop_register(insn.op0_register());
    }

    fn move_half(&mut self, insn: &Instruction, place: Lane, half: &Half) {
        match half.last {
            Last::Memory => self.load_operand(insn, 3),
            _ => {
                self.push_last(insn, half, 3);
                self.extract_lane(3, 0);
            }
        }
        let value = self.take(ValType::I64);
        self.push_xmm(half.first);
        self.i().local_get(value.index).i64x2_replace_lane(place);
    }

    /// Products of the even 32-bit lanes.
    fn multiply_even(&mut self, insn: &Instruction, signed: bool, half: &Half) {
        const EVEN: [Lane; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11];
        let b = self.take_last(insn, half);
        self.push_xmm(half.first);
        self.push_xmm(half.first);
        self.i().i8x16_shuffle(EVEN);
        self.i().local_get(b.index).local_get(b.index).i8x16_shuffle(EVEN);
        self.either(signed, |s| s.i64x2_extmul_low_i32x4_s(), |s| s.i64x2_extmul_low_i32x4_u());
    }

    /// Upper halves of the products of 16-bit lanes.
    fn multiply_high(&mut self, insn: &Instruction, signed: bool, half: &Half) {
        let b = self.take_last(insn, half);
        self.push_xmm(half.first);
        self.get(b);
        self.either(signed, |s| s.i32x4_extmul_low_i16x8_s(), |s| s.i32x4_extmul_low_i16x8_u());
        self.push_xmm(half.first);
        self.get(b);
        self.either(signed, |s| s.i32x4_extmul_high_i16x8_s(), |s| s.i32x4_extmul_high_i16x8_u());
        self.i().i8x16_shuffle([2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31]);
    }

    /// Calls a function of ours, which is slower than an instruction of the engine's and much faster than the interpreter.
    fn pure(&mut self, insn: &Instruction, function: Pure, half: &Half) {
        match insn.op_kind(1) {
            OpKind::Memory if insn.memory_size().size() < 16 => self.push_last(insn, half, width(insn, 1)),
            _ => self.push_last(insn, half, VECTOR),
        }
        let source = self.take(ValType::V128);
        let place = self.layout.operands;
        self.i().i32_const(0);
        if looks_at_last_only(insn) {
            self.get(source);
        } else {
            self.push_xmm(half.first);
        }
        self.i().v128_store(at(place)).i32_const(0);
        self.get(source);
        self.i().v128_store(at(place + 16));
        if insn.mnemonic() == M::Sha256rnds2 {
            self.i().i32_const(0);
            self.push_xmm(half.third);
            self.i().v128_store(at(place + 32));
        }
        self.i().i32_const(place as i32).i32_const(i32::from(half.imm));
        self.i().i32_const(function as usize as i32).call(callee::PURE);
        self.i().i32_const(0).v128_load(at(place));
    }

    fn test_vector(&mut self, insn: &Instruction) {
        let b = self.take_vector(insn, 1);
        if !self.flags_needed {
            self.kind = None;
            return;
        }
        self.push_xmm(insn.op0_register());
        self.get(b);
        self.i().v128_and().v128_any_true().i32_eqz().i64_extend_i32_u().i64_const(6).i64_shl();
        self.get(b);
        self.push_xmm(insn.op0_register());
        self.i().v128_andnot().v128_any_true().i32_eqz().i64_extend_i32_u().i64_or();
        let bits = self.take(ValType::I64);
        self.set_flags(Kind::new(Setter::Bits, 3), [Some(bits), None, None]);
    }

    /// Pushes a constant of either precision.
    pub(super) fn float_constant(&mut self, value: f64, double: bool) {
        if double {
            self.i().f64_const(Ieee64::from(value));
        } else {
            self.i().f32_const((value as f32).into());
        }
    }
}
