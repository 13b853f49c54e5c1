//! Lowering of AVX, AVX2, FMA and F16C: what SSE has too by the same functions, half by half.

use iced_x86::{CpuidFeature, EncodingKind, Instruction, Mnemonic as M, OpKind, Register};

use super::legacy::legacy;
use super::vector::operation;
use super::{Lowering, register, register_or_zero};
use crate::op::{Op, Run, slot};
use crate::vector::calculate::{
    self, AddSubtract, AllLanes, Approximate, Compare, Horizontal, LowLane, Round, dot_product_vex,
};
use crate::vector::convert::{DqToPd, DqToPs, IntegerToScalar, PdToPs, PsToPd, ScalarToScalar, ToDq};
use crate::vector::float::{Add, Divide, Maximum, Minimum, Multiply, SquareRoot, Subtract};
use crate::vector::fused::{self, Fused, HalfToSingle, MultiplyAdd};
use crate::vector::permute::*;
use crate::vector::shuffle::*;
use crate::vector::vex::{self, Last, Upper, Vex};
use crate::vector::{Forms, forms, masked, permute};

/// Whether an instruction is one of those there are: of AVX, AVX2, FMA and F16C.
pub(crate) fn is_vex(insn: &Instruction) -> bool {
    use CpuidFeature as F;
    let known = |f: &F| matches!(f, F::AVX | F::AVX2 | F::FMA | F::F16C | F::AES | F::PCLMULQDQ);
    insn.encoding() == EncodingKind::VEX && insn.cpuid_features().iter().all(known)
}

/// SSE's name of what an instruction of SSE's or one of those of AVX does; `None` of whatever else there is.
pub(crate) fn sse_name(insn: &Instruction) -> Option<M> {
    (insn.encoding() == EncodingKind::Legacy || is_vex(insn)).then(|| legacy(insn.mnemonic()))
}

/// Whether an instruction works on 32 bytes.
pub(crate) fn is_wide(insn: &Instruction) -> bool {
    let is_ymm = |i: u32| insn.try_op_register(i).is_ok_and(Register::is_ymm);
    is_ymm(0) || is_ymm(1) || insn.memory_size().size() == 32
}

/// What the halves of the instruction work on, and how many there are.
pub(crate) fn operands(insn: &Instruction) -> Vex {
    let is_register = |i: u32| i < insn.op_count() && insn.op_kind(i) == OpKind::Register;
    let number = |i: u32| if is_register(i) { register(insn.op_register(i)) } else { 0 };
    let wide = is_wide(insn);
    let imm = immediate_or_zero(insn);
    let by_immediate = shifts(insn) && insn.op_kind(2) == OpKind::Immediate8;
    let last = match insn.op_kind(last_source(insn)) {
        _ if by_immediate => Last::Immediate,
        OpKind::Register if insn.op_register(last_source(insn)).is_gpr() => Last::General,
        _ => Last::Vector,
    };
    let narrows = matches!(insn.mnemonic(), M::Vcvtpd2ps | M::Vcvtpd2dq | M::Vcvttpd2dq);
    let imm = [imm, imm >> bits_for_the_lower_half(insn.mnemonic())];
    Vex { imm, first: number(1), third: number(3), last, upper: upper(insn), wide, narrows }
}

/// The last operand, if it is an immediate.
pub(crate) fn immediate_or_zero(insn: &Instruction) -> u8 {
    match insn.op_count().checked_sub(1).map(|i| insn.op_kind(i)) {
        Some(OpKind::Immediate8) => insn.immediate8(),
        _ => 0,
    }
}

/// Which operand the last source is.
pub(crate) fn last_source(insn: &Instruction) -> u32 {
    let is_source = |i: u32| i < insn.op_count() && insn.op_kind(i) != OpKind::Immediate8;
    if is_source(2) { 2 } else { 1 }
}

/// Shifts of lanes: by an immediate the register is the first source.
fn shifts(insn: &Instruction) -> bool {
    use M::{Vpslld, Vpslldq, Vpsllq, Vpsllw, Vpsrad, Vpsraw, Vpsrld, Vpsrldq, Vpsrlq, Vpsrlw};
    matches!(insn.mnemonic(), Vpslld | Vpslldq | Vpsllq | Vpsllw | Vpsrad | Vpsraw | Vpsrld | Vpsrldq | Vpsrlq | Vpsrlw)
}

/// How many bits of the immediate are only the lower half's.
fn bits_for_the_lower_half(mnemonic: M) -> u32 {
    match mnemonic {
        M::Vshufpd | M::Vblendpd | M::Vpermilpd => 2,
        M::Vmpsadbw => 3,
        M::Vblendps | M::Vpblendd => 4,
        _ => 0,
    }
}

fn upper(insn: &Instruction) -> Upper {
    match insn.mnemonic() {
        // All lanes are shifted by what is in 16 bytes.
        _ if shifts(insn) => Upper::Same,
        M::Vbroadcastss | M::Vbroadcastsd | M::Vbroadcastf128 | M::Vbroadcasti128 => Upper::Same,
        M::Vpbroadcastb | M::Vpbroadcastw | M::Vpbroadcastd | M::Vpbroadcastq => Upper::Same,
        M::Vcvtdq2pd | M::Vcvtps2pd | M::Vcvtph2ps => Upper::Further(64),
        M::Vpmovsxbw | M::Vpmovsxwd | M::Vpmovsxdq | M::Vpmovzxbw | M::Vpmovzxwd | M::Vpmovzxdq => Upper::Further(64),
        M::Vpmovsxbd | M::Vpmovsxwq | M::Vpmovzxbd | M::Vpmovzxwq => Upper::Further(32),
        M::Vpmovsxbq | M::Vpmovzxbq => Upper::Further(16),
        _ => Upper::Own,
    }
}

impl Lowering<'_> {
    /// The handler, with what it needs filled in; `None` if the instruction is not of this family.
    pub(super) fn vex(&mut self) -> Option<Run> {
        if !is_vex(self.insn) {
            return None;
        }
        let memory = (0..self.insn.op_count()).any(|i| self.is_memory(i));
        self.op.aux = if memory { self.insn.memory_size().size() as u16 } else { 0 };
        if let Some(run) = self.vex_as_sse().or_else(|| self.vex_masked()) {
            return Some(run);
        }
        let mut vex = operands(self.insn);
        let run = self
            .vex_move()
            .or_else(|| self.vex_permute())
            .or_else(|| self.vex_float())
            .or_else(|| self.vex_convert())
            .or_else(|| self.vex_fused(&mut vex))
            .or_else(|| Some(operation(legacy(self.insn.mnemonic()), !memory)?.vex))?;
        let last = last_source(self.insn);
        if self.insn.op_kind(last) == OpKind::Register {
            self.op.src = register(self.insn.op_register(last));
        }
        // `VCMPPS` has 32 predicates.
        if matches!(legacy(self.insn.mnemonic()), M::Cmpps | M::Cmppd | M::Cmpss | M::Cmpsd) {
            vex.imm = vex.imm.map(|imm| imm & 31);
        }
        self.op.imm = vex.encode();
        Some(run)
    }

    /// What writes no vector register, or does it as nothing else does.
    fn vex_as_sse(&mut self) -> Option<Run> {
        let (to_memory, wide) = (self.is_memory(0), is_wide(self.insn));
        match legacy(self.insn.mnemonic()) {
            M::Movups | M::Movupd | M::Movdqu if to_memory && wide => Some(vex::store),
            M::Movaps | M::Movapd | M::Movdqa | M::Movntps | M::Movntpd | M::Movntdq if to_memory && wide => {
                Some(vex::store_aligned)
            }
            M::Movups | M::Movupd | M::Movdqu | M::Movaps | M::Movapd | M::Movdqa if to_memory => self.vector_move(),
            M::Movntps | M::Movntpd | M::Movntdq => self.vector_move(),
            M::Movss | M::Movsd | M::Movlps | M::Movlpd | M::Movhps | M::Movhpd if to_memory => self.vector_move(),
            M::Movd | M::Movq if to_memory || self.is_gpr(0) => self.vector_move(),
            M::Movmskps if wide => Some(self.with_aux(4, vex::mask)),
            M::Movmskpd if wide => Some(self.with_aux(8, vex::mask)),
            M::Pmovmskb if wide => Some(self.with_aux(1, vex::mask)),
            M::Movmskps | M::Movmskpd | M::Pmovmskb => self.vector_extract(),
            M::Pextrb | M::Pextrw | M::Pextrd | M::Pextrq | M::Extractps => self.vector_extract(),
            M::Pcmpestri | M::Pcmpestri64 | M::Pcmpistri | M::Maskmovdqu => self.vector_extract(),
            M::Pcmpestrm => Some(vex::string_mask::<true>),
            M::Pcmpestrm64 => Some(self.with_wide_lengths(vex::string_mask::<true>)),
            M::Pcmpistrm => Some(vex::string_mask::<false>),
            M::Comiss | M::Comisd | M::Ucomiss | M::Ucomisd => self.vector_float(),
            M::Cvtss2si | M::Cvtsd2si | M::Cvttss2si | M::Cvttsd2si => self.vector_convert(),
            M::Ldmxcsr | M::Stmxcsr => self.vector_state(),
            M::Vzeroupper => Some(vex::zero_upper),
            M::Vzeroall => Some(vex::zero_all),
            _ => None,
        }
    }

    /// What goes to memory lane by lane.
    fn vex_masked(&mut self) -> Option<Run> {
        let to_memory = self.is_memory(0);
        let run: Run = match self.insn.mnemonic() {
            M::Vmaskmovps | M::Vpmaskmovd if to_memory => masked::store::<u32>,
            M::Vmaskmovpd | M::Vpmaskmovq if to_memory => masked::store::<u64>,
            M::Vmaskmovps | M::Vpmaskmovd => masked::load::<u32>,
            M::Vmaskmovpd | M::Vpmaskmovq => masked::load::<u64>,
            M::Vgatherdps | M::Vpgatherdd => masked::gather::<u32, u32>,
            M::Vgatherdpd | M::Vpgatherdq => masked::gather::<u32, u64>,
            M::Vgatherqps | M::Vpgatherqd => masked::gather::<u64, u32>,
            M::Vgatherqpd | M::Vpgatherqq => masked::gather::<u64, u64>,
            _ => return None,
        };
        let mut vex = operands(self.insn);
        if self.insn.is_vsib() {
            (vex.first, vex.third) = (register(self.insn.op2_register()), register(self.insn.memory_index()));
            vex.wide = self.insn.memory_index().is_ymm();
            self.op.aux = self.size(0) as u16;
        } else if to_memory {
            vex.third = register(self.insn.op2_register());
        }
        self.op.imm = vex.encode();
        Some(run)
    }

    /// The memory operand of a gather: its index is a vector, and its segment's base is added last.
    pub(super) fn gathered_memory(&mut self) {
        self.op.base = register_or_zero(self.insn.memory_base());
        self.op.scale = self.insn.memory_index_scale().trailing_zeros() as u8;
        self.op.disp = self.insn.memory_displacement64() as i32;
        self.op.src = match self.insn.memory_segment() {
            Register::FS => slot::FS,
            Register::GS => slot::GS,
            _ => slot::ZERO,
        };
        let base = self.insn.memory_base();
        if base.size() == 4 || base == Register::None && self.insn.memory_displ_size() == 4 {
            self.op.attributes |= Op::NARROW;
        }
        self.op.attributes |= self.stack_attribute();
    }

    fn vex_move(&mut self) -> Option<Run> {
        let from_memory = self.is_memory(1) || self.insn.op_count() > 2 && self.is_memory(2);
        Some(match legacy(self.insn.mnemonic()) {
            M::Movups | M::Movupd | M::Movdqu | M::Lddqu => vex::load,
            M::Movaps | M::Movapd | M::Movdqa | M::Movntdqa => vex::load_aligned,
            M::Vbroadcastf128 | M::Vbroadcasti128 => vex::load,
            M::Movss | M::Movsd | M::Movd | M::Movq if from_memory => vex::load,
            M::Movss => vex::vector::<MergeLow4>,
            M::Movsd | M::Movlps | M::Movlpd => vex::vector::<LoadLow>,
            M::Movhps | M::Movhpd => vex::vector::<LoadHigh>,
            M::Movd => vex::vector::<CopyLow4>,
            M::Movq => vex::vector::<CopyLow8>,
            M::Pblendvb => vex::blend::<1>,
            M::Blendvps => vex::blend::<4>,
            M::Blendvpd => vex::blend::<8>,
            M::Ptest => vex::test::<16>,
            M::Vtestps => vex::test::<4>,
            M::Vtestpd => vex::test::<8>,
            _ => return None,
        })
    }

    fn vex_permute(&mut self) -> Option<Run> {
        if let Some(forms) = lanewise(self.insn) {
            return Some(forms.vex);
        }
        Some(match self.insn.mnemonic() {
            M::Vpermd | M::Vpermps => permute::permute_by_lanes,
            M::Vpermq | M::Vpermpd => permute::permute_quarters,
            M::Vperm2f128 | M::Vperm2i128 => permute::permute_two,
            M::Vinsertf128 | M::Vinserti128 => permute::insert,
            M::Vextractf128 | M::Vextracti128 if self.is_memory(0) => permute::extract_to_memory,
            M::Vextractf128 | M::Vextracti128 => permute::extract,
            _ => return None,
        })
    }

    fn vex_float(&mut self) -> Option<Run> {
        macro_rules! arithmetic {
            ($mnemonic:expr; $($o:ident: $ps:ident $pd:ident $ss:ident $sd:ident;)*) => {
                match $mnemonic {
                    $(M::$ps => Some(calculate::vex::<AllLanes<$o, u32>> as Run),
                    M::$pd => Some(calculate::vex::<AllLanes<$o, u64>> as Run),
                    M::$ss => Some(calculate::vex::<LowLane<$o, u32>> as Run),
                    M::$sd => Some(calculate::vex::<LowLane<$o, u64>> as Run),)*
                    _ => None,
                }
            };
        }
        let mnemonic = legacy(self.insn.mnemonic());
        let found = arithmetic! { mnemonic;
            Add: Addps Addpd Addss Addsd;
            Subtract: Subps Subpd Subss Subsd;
            Multiply: Mulps Mulpd Mulss Mulsd;
            Divide: Divps Divpd Divss Divsd;
            Minimum: Minps Minpd Minss Minsd;
            Maximum: Maxps Maxpd Maxss Maxsd;
            SquareRoot: Sqrtps Sqrtpd Sqrtss Sqrtsd;
        };
        found.or_else(|| {
            Some(match mnemonic {
                M::Cmpps => calculate::vex::<Compare<u32, false>>,
                M::Cmppd => calculate::vex::<Compare<u64, false>>,
                M::Cmpss => calculate::vex::<Compare<u32, true>>,
                M::Cmpsd => calculate::vex::<Compare<u64, true>>,
                M::Haddps => calculate::vex::<Horizontal<u32, false>>,
                M::Haddpd => calculate::vex::<Horizontal<u64, false>>,
                M::Hsubps => calculate::vex::<Horizontal<u32, true>>,
                M::Hsubpd => calculate::vex::<Horizontal<u64, true>>,
                M::Addsubps => calculate::vex::<AddSubtract<u32>>,
                M::Addsubpd => calculate::vex::<AddSubtract<u64>>,
                M::Dpps => dot_product_vex::<u32>,
                M::Dppd => dot_product_vex::<u64>,
                M::Roundps => calculate::vex::<Round<u32, false>>,
                M::Roundpd => calculate::vex::<Round<u64, false>>,
                M::Roundss => calculate::vex::<Round<u32, true>>,
                M::Roundsd => calculate::vex::<Round<u64, true>>,
                M::Rcpps => calculate::vex::<Approximate<false, false>>,
                M::Rcpss => calculate::vex::<Approximate<false, true>>,
                M::Rsqrtps => calculate::vex::<Approximate<true, false>>,
                M::Rsqrtss => calculate::vex::<Approximate<true, true>>,
                _ => return None,
            })
        })
    }

    fn vex_convert(&mut self) -> Option<Run> {
        let wide = self.size(2) == 8;
        Some(match legacy(self.insn.mnemonic()) {
            M::Cvtsi2ss if wide => calculate::vex::<IntegerToScalar<i64, u32>>,
            M::Cvtsi2ss => calculate::vex::<IntegerToScalar<i32, u32>>,
            M::Cvtsi2sd if wide => calculate::vex::<IntegerToScalar<i64, u64>>,
            M::Cvtsi2sd => calculate::vex::<IntegerToScalar<i32, u64>>,
            M::Cvtss2sd => calculate::vex::<ScalarToScalar<u32, u64>>,
            M::Cvtsd2ss => calculate::vex::<ScalarToScalar<u64, u32>>,
            M::Cvtdq2ps => calculate::vex::<DqToPs>,
            M::Cvtdq2pd => calculate::vex::<DqToPd>,
            M::Cvtps2dq => calculate::vex::<ToDq<u32, false>>,
            M::Cvttps2dq => calculate::vex::<ToDq<u32, true>>,
            M::Cvtpd2dq => calculate::vex::<ToDq<u64, false>>,
            M::Cvttpd2dq => calculate::vex::<ToDq<u64, true>>,
            M::Cvtps2pd => calculate::vex::<PsToPd>,
            M::Cvtpd2ps => calculate::vex::<PdToPs>,
            M::Vcvtph2ps => calculate::vex::<HalfToSingle>,
            M::Vcvtps2ph => fused::single_to_half,
            _ => return None,
        })
    }

    fn vex_fused(&mut self, vex: &mut Vex) -> Option<Run> {
        let (fused, double, scalar) = fused_of(self.insn.mnemonic())?;
        vex.imm = [fused.encode(); 2];
        vex.third = register(self.insn.op0_register());
        Some(match (double, scalar) {
            (false, false) => calculate::vex::<MultiplyAdd<u32, false>>,
            (true, false) => calculate::vex::<MultiplyAdd<u64, false>>,
            (false, true) => calculate::vex::<MultiplyAdd<u32, true>>,
            (true, true) => calculate::vex::<MultiplyAdd<u64, true>>,
        })
    }
}

/// What SSE has nothing like and each half does alone.
pub(crate) fn lanewise(insn: &Instruction) -> Option<Forms> {
    let by_immediate = insn.op_count() == 3 && insn.op_kind(2) == OpKind::Immediate8;
    Some(match insn.mnemonic() {
        M::Vbroadcastss | M::Vpbroadcastd => forms::<Broadcastd>(),
        M::Vbroadcastsd | M::Vpbroadcastq => forms::<Broadcastq>(),
        M::Vpbroadcastb => forms::<Broadcastb>(),
        M::Vpbroadcastw => forms::<Broadcastw>(),
        M::Vpermilps if by_immediate => forms::<Pshufd>(),
        M::Vpermilpd if by_immediate => forms::<PermilpdImm>(),
        M::Vpermilps => forms::<Permilps>(),
        M::Vpermilpd => forms::<Permilpd>(),
        M::Vpblendd => forms::<Blendps>(),
        M::Vpsllvd => forms::<Psllvd>(),
        M::Vpsllvq => forms::<Psllvq>(),
        M::Vpsrlvd => forms::<Psrlvd>(),
        M::Vpsrlvq => forms::<Psrlvq>(),
        M::Vpsravd => forms::<Psravd>(),
        _ => return None,
    })
}

/// What an instruction of FMA's does, whether to doubles, and whether to one.
pub(crate) fn fused_of(mnemonic: M) -> Option<(Fused, bool, bool)> {
    macro_rules! kinds {
        ($($negates:literal $subtracts:expr, $orders:tt;)*) => {
            $(kinds!(@ $negates $subtracts, $orders);)*
        };
        (@ $negates:literal $subtracts:expr, { $($m132:ident $m213:ident $m231:ident $double:literal $scalar:literal)* }) => {
            $({
                let fused = |order| Fused { order, negates: $negates, subtracts: $subtracts };
                match mnemonic {
                    M::$m132 => return Some((fused([0, 2, 1]), $double, $scalar)),
                    M::$m213 => return Some((fused([1, 0, 2]), $double, $scalar)),
                    M::$m231 => return Some((fused([1, 2, 0]), $double, $scalar)),
                    _ => {}
                }
            })*
        };
    }
    kinds! {
        false [false, false], {
            Vfmadd132ps Vfmadd213ps Vfmadd231ps false false
            Vfmadd132pd Vfmadd213pd Vfmadd231pd true false
            Vfmadd132ss Vfmadd213ss Vfmadd231ss false true
            Vfmadd132sd Vfmadd213sd Vfmadd231sd true true
        };
        false [true, true], {
            Vfmsub132ps Vfmsub213ps Vfmsub231ps false false
            Vfmsub132pd Vfmsub213pd Vfmsub231pd true false
            Vfmsub132ss Vfmsub213ss Vfmsub231ss false true
            Vfmsub132sd Vfmsub213sd Vfmsub231sd true true
        };
        true [false, false], {
            Vfnmadd132ps Vfnmadd213ps Vfnmadd231ps false false
            Vfnmadd132pd Vfnmadd213pd Vfnmadd231pd true false
            Vfnmadd132ss Vfnmadd213ss Vfnmadd231ss false true
            Vfnmadd132sd Vfnmadd213sd Vfnmadd231sd true true
        };
        true [true, true], {
            Vfnmsub132ps Vfnmsub213ps Vfnmsub231ps false false
            Vfnmsub132pd Vfnmsub213pd Vfnmsub231pd true false
            Vfnmsub132ss Vfnmsub213ss Vfnmsub231ss false true
            Vfnmsub132sd Vfnmsub213sd Vfnmsub231sd true true
        };
        false [true, false], {
            Vfmaddsub132ps Vfmaddsub213ps Vfmaddsub231ps false false
            Vfmaddsub132pd Vfmaddsub213pd Vfmaddsub231pd true false
        };
        false [false, true], {
            Vfmsubadd132ps Vfmsubadd213ps Vfmsubadd231ps false false
            Vfmsubadd132pd Vfmsubadd213pd Vfmsubadd231pd true false
        };
    }
    None
}
