//! Lowering of MMX and SSE.

use iced_x86::{EncodingKind, Instruction, Mnemonic as M, OpKind, Register};

use super::Lowering;
use super::legacy::legacy;
use super::vex::last_source;
use crate::op::{Op, Run, slot};
use crate::vector::arithmetic::*;
use crate::vector::calculate::{self, AddSubtract, Approximate, Compare, Horizontal, Round};
use crate::vector::crypto::{self, *};
use crate::vector::float::{self, Shape, arithmetic_handler};
use crate::vector::shuffle::*;
use crate::vector::{Forms, Kind, Pure, forms, handler, moves, state, strings, xsave};

impl Lowering<'_> {
    /// The handler, with what it needs filled in; `None` if the instruction is not of this family.
    pub(super) fn vector(&mut self) -> Option<Run> {
        if self.insn.encoding() != EncodingKind::Legacy {
            return None;
        }
        if self.insn.op_count() > 1 && self.is_memory(1) {
            self.op.aux = self.size(1) as u16;
        }
        if let Some(run) = self.vector_move().or_else(|| self.vector_float()).or_else(|| self.vector_convert()) {
            return Some(run);
        }
        if let Some(run) = self.vector_extract().or_else(|| self.vector_state()) {
            return Some(run);
        }
        let kind = self.vector_kind()?;
        let forms = operation(self.insn.mnemonic(), self.insn.op_kind(1) == OpKind::Register)?;
        Some((forms.handler)(kind))
    }

    fn is_xmm(&self, i: u32) -> bool {
        i < self.insn.op_count() && self.insn.op_kind(i) == OpKind::Register && self.insn.op_register(i).is_xmm()
    }
    fn is_mmx(&self, i: u32) -> bool {
        i < self.insn.op_count() && self.insn.op_kind(i) == OpKind::Register && self.insn.op_register(i).is_mm()
    }
    pub(super) fn is_gpr(&self, i: u32) -> bool {
        i < self.insn.op_count() && self.insn.op_kind(i) == OpKind::Register && self.insn.op_register(i).is_gpr()
    }

    /// Where the source of an operation on two vectors is.
    fn vector_kind(&self) -> Option<Kind> {
        let mmx = self.is_mmx(0);
        if !mmx && !self.is_xmm(0) {
            return None;
        }
        Some(match self.insn.op_kind(1) {
            OpKind::Memory if mmx => Kind::MmxMem,
            OpKind::Memory if self.op.aux == 16 && !is_hash(self.insn) => Kind::XmmMem,
            OpKind::Memory => Kind::XmmNarrow,
            OpKind::Register if self.is_gpr(1) => return None,
            OpKind::Register if mmx => Kind::MmxReg,
            OpKind::Register => Kind::XmmReg,
            _ if mmx => Kind::MmxImm,
            _ => Kind::XmmImm,
        })
    }

    pub(super) fn vector_move(&mut self) -> Option<Run> {
        let (to_memory, from_memory) = (self.is_memory(0), self.insn.op_count() > 1 && self.is_memory(1));
        let pick = |load: Run, store: Run, copy: Run| {
            if to_memory {
                store
            } else if from_memory {
                load
            } else {
                copy
            }
        };
        Some(match legacy(self.insn.mnemonic()) {
            M::Movups | M::Movupd | M::Movdqu | M::Lddqu => {
                pick(moves::load_unaligned, moves::store_unaligned, moves::copy)
            }
            M::Movaps | M::Movapd | M::Movdqa | M::Movntdqa | M::Movntps | M::Movntpd | M::Movntdq => {
                pick(moves::load_aligned, moves::store_aligned, moves::copy)
            }
            M::Movntq => moves::mmx_store::<u64>,
            M::Movss => pick(moves::load_scalar::<u32>, moves::store_scalar::<u32>, handler::<MergeLow4>(Kind::XmmReg)),
            M::Movsd if self.is_xmm(0) || self.is_xmm(1) => {
                pick(moves::load_scalar::<u64>, moves::store_scalar::<u64>, moves::merge_low8)
            }
            M::Movlps | M::Movlpd => {
                pick(handler::<LoadLow>(Kind::XmmNarrow), moves::store_scalar::<u64>, moves::merge_low8)
            }
            M::Movhps | M::Movhpd => pick(handler::<LoadHigh>(Kind::XmmNarrow), moves::store_high, moves::copy),
            M::Movd => self.move_word::<u32>()?,
            M::Movq => self.move_word::<u64>()?,
            M::Movq2dq => moves::mmx_to_xmm,
            M::Movdq2q => moves::xmm_to_mmx,
            _ => return None,
        })
    }

    /// `MOVD` and `MOVQ`.
    fn move_word<W: crate::ops::operand::Int>(&mut self) -> Option<Run> {
        let (to_memory, from_memory) = (self.is_memory(0), self.is_memory(1));
        Some(if self.is_mmx(0) {
            match (from_memory, self.is_gpr(1)) {
                (true, _) => moves::mmx_load::<W>,
                (_, true) => moves::mmx_from_gpr::<W>,
                _ => handler::<Copy>(Kind::MmxReg),
            }
        } else if self.is_mmx(1) {
            if to_memory { moves::mmx_store::<W> } else { moves::mmx_to_gpr::<W> }
        } else if self.is_xmm(0) {
            match (from_memory, self.is_gpr(1)) {
                (true, _) => moves::load_scalar::<W>,
                (_, true) => moves::from_gpr::<W>,
                _ => handler::<CopyLow8>(Kind::XmmReg),
            }
        } else if self.is_xmm(1) {
            if to_memory { moves::store_scalar::<W> } else { moves::to_gpr::<W> }
        } else {
            return None;
        })
    }

    pub(super) fn vector_float(&mut self) -> Option<Run> {
        let memory = self.insn.op_count() > 1 && self.is_memory(1);
        let mnemonic = legacy(self.insn.mnemonic());
        if matches!(mnemonic, M::Cmpps | M::Cmppd | M::Cmpss | M::Cmpsd) {
            // There are 8 predicates.
            self.op.imm &= 7;
        }
        macro_rules! shaped {
            ($o:ident, $shape:ident) => {
                arithmetic_handler::<float::$o>(Shape::$shape, memory)
            };
        }
        Some(match mnemonic {
            M::Addps => shaped!(Add, Ps),
            M::Addpd => shaped!(Add, Pd),
            M::Addss => shaped!(Add, Ss),
            M::Addsd => shaped!(Add, Sd),
            M::Subps => shaped!(Subtract, Ps),
            M::Subpd => shaped!(Subtract, Pd),
            M::Subss => shaped!(Subtract, Ss),
            M::Subsd => shaped!(Subtract, Sd),
            M::Mulps => shaped!(Multiply, Ps),
            M::Mulpd => shaped!(Multiply, Pd),
            M::Mulss => shaped!(Multiply, Ss),
            M::Mulsd => shaped!(Multiply, Sd),
            M::Divps => shaped!(Divide, Ps),
            M::Divpd => shaped!(Divide, Pd),
            M::Divss => shaped!(Divide, Ss),
            M::Divsd => shaped!(Divide, Sd),
            M::Minps => shaped!(Minimum, Ps),
            M::Minpd => shaped!(Minimum, Pd),
            M::Minss => shaped!(Minimum, Ss),
            M::Minsd => shaped!(Minimum, Sd),
            M::Maxps => shaped!(Maximum, Ps),
            M::Maxpd => shaped!(Maximum, Pd),
            M::Maxss => shaped!(Maximum, Ss),
            M::Maxsd => shaped!(Maximum, Sd),
            M::Sqrtps => shaped!(SquareRoot, Ps),
            M::Sqrtpd => shaped!(SquareRoot, Pd),
            M::Sqrtss => shaped!(SquareRoot, Ss),
            M::Sqrtsd => shaped!(SquareRoot, Sd),
            M::Cmpps => calculate::sse::<Compare<u32, false>>,
            M::Cmppd => calculate::sse::<Compare<u64, false>>,
            M::Cmpss => calculate::sse::<Compare<u32, true>>,
            M::Cmpsd if self.is_xmm(0) => calculate::sse::<Compare<u64, true>>,
            M::Comiss => float::compare_flags::<u32, false>,
            M::Comisd => float::compare_flags::<u64, false>,
            M::Ucomiss => float::compare_flags::<u32, true>,
            M::Ucomisd => float::compare_flags::<u64, true>,
            M::Haddps => calculate::sse::<Horizontal<u32, false>>,
            M::Haddpd => calculate::sse::<Horizontal<u64, false>>,
            M::Hsubps => calculate::sse::<Horizontal<u32, true>>,
            M::Hsubpd => calculate::sse::<Horizontal<u64, true>>,
            M::Addsubps => calculate::sse::<AddSubtract<u32>>,
            M::Addsubpd => calculate::sse::<AddSubtract<u64>>,
            M::Dpps => calculate::dot_product::<u32>,
            M::Dppd => calculate::dot_product::<u64>,
            M::Roundps => calculate::sse::<Round<u32, false>>,
            M::Roundpd => calculate::sse::<Round<u64, false>>,
            M::Roundss => calculate::sse::<Round<u32, true>>,
            M::Roundsd => calculate::sse::<Round<u64, true>>,
            M::Rcpps => calculate::sse::<Approximate<false, false>>,
            M::Rcpss => calculate::sse::<Approximate<false, true>>,
            M::Rsqrtps => calculate::sse::<Approximate<true, false>>,
            M::Rsqrtss => calculate::sse::<Approximate<true, true>>,
            _ => return None,
        })
    }

    pub(super) fn vector_convert(&mut self) -> Option<Run> {
        use crate::vector::convert::*;
        let memory = self.insn.op_count() > 1 && self.is_memory(1);
        let wide = self.size(1) == 8;
        let wide_result = self.size(0) == 8;
        Some(match legacy(self.insn.mnemonic()) {
            M::Cvtsi2ss => match (memory, wide) {
                (false, false) => integer_to_scalar::<u32, u32>,
                (false, true) => integer_to_scalar::<u64, u32>,
                (true, false) => integer_memory_to_scalar::<u32, u32>,
                (true, true) => integer_memory_to_scalar::<u64, u32>,
            },
            M::Cvtsi2sd => match (memory, wide) {
                (false, false) => integer_to_scalar::<u32, u64>,
                (false, true) => integer_to_scalar::<u64, u64>,
                (true, false) => integer_memory_to_scalar::<u32, u64>,
                (true, true) => integer_memory_to_scalar::<u64, u64>,
            },
            M::Cvtss2si if wide_result => scalar_to_integer::<u32, u64, false>,
            M::Cvtss2si => scalar_to_integer::<u32, u32, false>,
            M::Cvtsd2si if wide_result => scalar_to_integer::<u64, u64, false>,
            M::Cvtsd2si => scalar_to_integer::<u64, u32, false>,
            M::Cvttss2si if wide_result => scalar_to_integer::<u32, u64, true>,
            M::Cvttss2si => scalar_to_integer::<u32, u32, true>,
            M::Cvttsd2si if wide_result => scalar_to_integer::<u64, u64, true>,
            M::Cvttsd2si => scalar_to_integer::<u64, u32, true>,
            M::Cvtss2sd => calculate::sse::<ScalarToScalar<u32, u64>>,
            M::Cvtsd2ss => calculate::sse::<ScalarToScalar<u64, u32>>,
            M::Cvtdq2ps => calculate::sse::<DqToPs>,
            M::Cvtdq2pd => calculate::sse::<DqToPd>,
            M::Cvtps2dq => calculate::sse::<ToDq<u32, false>>,
            M::Cvttps2dq => calculate::sse::<ToDq<u32, true>>,
            M::Cvtpd2dq => calculate::sse::<ToDq<u64, false>>,
            M::Cvttpd2dq => calculate::sse::<ToDq<u64, true>>,
            M::Cvtps2pd => calculate::sse::<PsToPd>,
            M::Cvtpd2ps => calculate::sse::<PdToPs>,
            M::Cvtpi2ps => pi_to_ps,
            M::Cvtpi2pd => pi_to_pd,
            M::Cvtps2pi => to_pi::<u32, false>,
            M::Cvttps2pi => to_pi::<u32, true>,
            M::Cvtpd2pi => to_pi::<u64, false>,
            M::Cvttpd2pi => to_pi::<u64, true>,
            _ => return None,
        })
    }

    /// Between vector and general-purpose registers, and what else has no vector result.
    pub(super) fn vector_extract(&mut self) -> Option<Run> {
        let (to_memory, from_memory) = (self.is_memory(0), self.insn.op_count() > 1 && self.is_memory(1));
        let mmx = self.is_mmx(1);
        Some(match legacy(self.insn.mnemonic()) {
            M::Pmovmskb if mmx => moves::mmx_byte_mask,
            M::Pmovmskb => moves::byte_mask,
            M::Movmskps => self.with_aux(4, moves::move_mask),
            M::Movmskpd => self.with_aux(8, moves::move_mask),
            M::Pextrb if to_memory => moves::extract_to_memory::<u8>,
            M::Pextrb => moves::extract::<u8>,
            M::Pextrw if mmx => moves::mmx_extract,
            M::Pextrw if to_memory => moves::extract_to_memory::<u16>,
            M::Pextrw => moves::extract::<u16>,
            M::Pextrd | M::Extractps if to_memory => moves::extract_to_memory::<u32>,
            M::Pextrd | M::Extractps => moves::extract::<u32>,
            M::Pextrq if to_memory => moves::extract_to_memory::<u64>,
            M::Pextrq => moves::extract::<u64>,
            M::Pinsrw if self.is_mmx(0) && !from_memory => moves::mmx_insert,
            M::Pinsrb if !from_memory => moves::insert::<Pinsrb>,
            M::Pinsrw if !from_memory && !self.is_mmx(0) => moves::insert::<Pinsrw>,
            M::Pinsrd if !from_memory => moves::insert::<Pinsrd>,
            M::Pinsrq if !from_memory => moves::insert::<Pinsrq>,
            M::Pblendvb => self.variable_blend(1),
            M::Blendvps => self.variable_blend(4),
            M::Blendvpd => self.variable_blend(8),
            M::Sha256rnds2 if from_memory => crypto::sha256_rounds_mem,
            M::Sha256rnds2 => crypto::sha256_rounds_reg,
            M::Ptest if from_memory => moves::ptest_mem,
            M::Ptest => moves::ptest_reg,
            M::Maskmovdqu | M::Maskmovq => self.masked_store(),
            M::Pcmpestri => strings::explicit_index,
            M::Pcmpestrm => strings::explicit_mask,
            M::Pcmpestri64 => self.with_wide_lengths(strings::explicit_index),
            M::Pcmpestrm64 => self.with_wide_lengths(strings::explicit_mask),
            M::Pcmpistri => strings::implicit_index,
            M::Pcmpistrm => strings::implicit_mask,
            _ => return None,
        })
    }

    pub(super) fn with_aux(&mut self, aux: u16, run: Run) -> Run {
        self.op.aux = aux;
        run
    }

    pub(super) fn with_wide_lengths(&mut self, run: Run) -> Run {
        self.op.attributes |= Op::WIDE;
        run
    }

    fn variable_blend(&mut self, lane: u16) -> Run {
        let run: Run = if self.is_memory(1) { moves::blend_mem } else { moves::blend_reg };
        self.with_aux(lane, run)
    }

    fn masked_store(&mut self) -> Run {
        // The registers are operands 1 and 2; operand 0 is memory at RDI.
        let number = |register: Register| register.number() as u8;
        self.op.dst = number(self.insn.op_register(1));
        self.op.src = number(self.insn.op_register(2));
        self.op.base = match self.insn.segment_prefix() {
            Register::FS => slot::FS,
            Register::GS => slot::GS,
            _ => slot::ZERO,
        };
        let narrow = self.insn.op_kind(0) == OpKind::MemorySegEDI;
        let bytes = if self.insn.op_register(1).is_mm() { 8 } else { 16 };
        self.with_aux(bytes | if narrow { 32 } else { 0 }, moves::masked_store)
    }

    pub(super) fn vector_state(&mut self) -> Option<Run> {
        Some(match legacy(self.insn.mnemonic()) {
            M::Ldmxcsr => state::ldmxcsr,
            M::Stmxcsr => state::stmxcsr,
            M::Fxsave | M::Fxsave64 => state::fxsave,
            M::Fxrstor | M::Fxrstor64 => state::fxrstor,
            M::Emms => state::emms,
            M::Xsave | M::Xsave64 => xsave::xsave,
            M::Xsaveopt | M::Xsaveopt64 => xsave::xsaveopt,
            M::Xsavec | M::Xsavec64 => xsave::xsavec,
            M::Xrstor | M::Xrstor64 => xsave::xrstor,
            M::Xgetbv => xsave::xgetbv,
            _ => return None,
        })
    }
}

macro_rules! table {
    ($mnemonic:expr; $($m:ident)*) => {
        match $mnemonic {
            $(M::$m => Some(forms::<$m>()),)*
            _ => None,
        }
    };
}

/// What `insn` does to two vectors, if that is all it does.
pub(super) fn operation(mnemonic: M, from_register: bool) -> Option<Forms> {
    integer(mnemonic).or_else(|| rearrangement(mnemonic, from_register)).or_else(|| cipher(mnemonic))
}

/// The same for translated code, XMM0 being a third operand of one.
pub(crate) fn pure(insn: &Instruction) -> Option<Pure> {
    if insn.mnemonic() == M::Sha256rnds2 {
        return Some(crypto::sha256_rounds_pure);
    }
    let found = super::vex::lanewise(insn);
    let found =
        found.or_else(|| operation(legacy(insn.mnemonic()), insn.op_kind(last_source(insn)) == OpKind::Register));
    Some(found?.pure)
}

/// Operands of SHA-NI need not be aligned on AMD's processors.
pub(crate) fn is_hash(insn: &Instruction) -> bool {
    matches!(
        insn.mnemonic(),
        M::Sha1nexte | M::Sha1msg1 | M::Sha1msg2 | M::Sha1rnds4 | M::Sha256msg1 | M::Sha256msg2 | M::Sha256rnds2
    )
}

fn integer(mnemonic: M) -> Option<Forms> {
    match mnemonic {
        M::Andps | M::Andpd => return Some(forms::<Pand>()),
        M::Andnps | M::Andnpd => return Some(forms::<Pandn>()),
        M::Orps | M::Orpd => return Some(forms::<Por>()),
        M::Xorps | M::Xorpd => return Some(forms::<Pxor>()),
        _ => {}
    }
    table!(mnemonic;
        Paddb Paddw Paddd Paddq Psubb Psubw Psubd Psubq Paddsb Paddsw Paddusb Paddusw Psubsb Psubsw Psubusb Psubusw
        Pmullw Pmulld Pmulhw Pmulhuw Pmulhrsw Pmuludq Pmuldq Pavgb Pavgw Pmaddwd Pmaddubsw Psadbw Mpsadbw Phminposuw
        Pminub Pminuw Pminud Pminsb Pminsw Pminsd Pmaxub Pmaxuw Pmaxud Pmaxsb Pmaxsw Pmaxsd
        Pcmpeqb Pcmpeqw Pcmpeqd Pcmpeqq Pcmpgtb Pcmpgtw Pcmpgtd Pcmpgtq Psignb Psignw Psignd Pabsb Pabsw Pabsd
        Pand Pandn Por Pxor Phaddw Phaddd Phaddsw Phsubw Phsubd Phsubsw
        Psllw Pslld Psllq Psrlw Psrld Psrlq Psraw Psrad Pslldq Psrldq)
}

fn rearrangement(mnemonic: M, from_register: bool) -> Option<Forms> {
    match mnemonic {
        M::Unpcklps => return Some(forms::<Punpckldq>()),
        M::Unpckhps => return Some(forms::<Punpckhdq>()),
        M::Unpcklpd => return Some(forms::<Punpcklqdq>()),
        M::Unpckhpd => return Some(forms::<Punpckhqdq>()),
        M::Insertps if from_register => return Some(forms::<InsertpsReg>()),
        _ => {}
    }
    table!(mnemonic;
        Punpcklbw Punpcklwd Punpckldq Punpcklqdq Punpckhbw Punpckhwd Punpckhdq Punpckhqdq
        Packsswb Packuswb Packssdw Packusdw Pshufd Pshufw Pshuflw Pshufhw Pshufb Palignr Shufps Shufpd
        Pblendw Blendps Blendpd Insertps Movddup Movshdup Movsldup Movhlps Movlhps Pinsrb Pinsrw Pinsrd Pinsrq
        Pmovsxbw Pmovsxbd Pmovsxbq Pmovsxwd Pmovsxwq Pmovsxdq Pmovzxbw Pmovzxbd Pmovzxbq Pmovzxwd Pmovzxwq Pmovzxdq)
}

fn cipher(mnemonic: M) -> Option<Forms> {
    table!(mnemonic;
        Aesenc Aesenclast Aesdec Aesdeclast Aesimc Aeskeygenassist Pclmulqdq
        Sha1nexte Sha1msg1 Sha1msg2 Sha1rnds4 Sha256msg1 Sha256msg2)
}
