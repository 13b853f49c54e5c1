//! Makes instructions: one template for each form the decoder knows and BPE/U announces, filled with random operands.

use std::collections::HashSet;

use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic as M, OpKind, Register};

use super::layout::{CODE, ENTRY};
use super::operands::{place_memory, place_stack, place_strings, random_state};
use super::random::Random;
use super::state::State;
use super::vectors::place_terms;

/// A form: prefixes, REX.W, vector length, opcode map and opcode, and the ModRM byte that made the decoder choose it.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    pub code: Code,
    pub memory: bool,
    /// The prefix for the other size of operands or addresses, where it stands besides what is in `prefix`.
    size: u8,
    prefix: u8,
    wide: bool,
    /// VEX.L: 256 bits.
    long: bool,
    map: u8,
    opcode: u8,
    modrm: u8,
    /// Encoded with VEX.
    vex: bool,
}

/// An instruction and the state to run it from.
pub struct Case {
    pub bytes: Vec<u8>,
    pub insn: Instruction,
    pub state: State,
    /// Data to put at an address first.
    pub data: Vec<(u64, Vec<u8>)>,
}

/// The VEX prefix. What is left of the tail says which further register there is, and whether two bytes are to do where
/// they can.
fn vex(t: &Template, rex: u8, tail: &[u8]) -> Vec<u8> {
    let prefix = [0, 0x66, 0xf3, 0xf2].iter().position(|&p| p == t.prefix).unwrap_or(0) as u8;
    let last = tail.last().copied().unwrap_or(0);
    // R, X, B and the further register are inverted.
    let low = !(last >> 1) & 0x78 | if t.long { 4 } else { 0 } | prefix;
    if last & 1 != 0 && t.map == 1 && !t.wide && rex & 3 == 0 {
        return vec![0xc5, !rex << 5 & 0x80 | low];
    }
    vec![0xc4, !rex << 5 | t.map, if t.wide { 0x80 } else { 0 } | low]
}

fn encode(t: &Template, modrm: u8, rex: u8, tail: &[u8]) -> Vec<u8> {
    if t.vex {
        return [&vex(t, rex, tail), &[t.opcode, modrm][..], tail].concat();
    }
    let mut bytes = Vec::new();
    bytes.extend([t.size, t.prefix].into_iter().filter(|&prefix| prefix != 0));
    if rex != 0 || t.wide {
        bytes.push(0x40 | rex | if t.wide { 8 } else { 0 });
    }
    match t.map {
        0 => {}
        1 => bytes.push(0x0f),
        2 => bytes.extend([0x0f, 0x38]),
        _ => bytes.extend([0x0f, 0x3a]),
    }
    bytes.push(t.opcode);
    bytes.push(modrm);
    bytes.extend(tail);
    bytes
}

impl Template {
    /// What the form alone says.
    fn instruction(&self) -> Instruction {
        let mut insn = Instruction::new();
        insn.set_code(self.code);
        insn
    }

    /// The form with random registers. Memory is near RBX, R12 or RSP, sometimes with a small index in R13; gathers have
    /// theirs in any register.
    #[allow(dead_code)]
    pub fn random(&self, r: &mut Random) -> Vec<u8> {
        let mut rex = if r.one_in(2) { r.next() as u8 & 7 } else { 0 };
        let mut modrm = r.next() as u8 | 0xc0;
        let keeps = self.modrm & 0x38;
        if r.one_in(2) {
            // Where these bits are part of the opcode they must stay.
            modrm = modrm & 0xc7 | keeps;
        }
        let mut tail = Vec::new();
        if self.memory {
            modrm = modrm & 0x38 | 0x80;
            // What has to be aligned is, most of the time, or a sequence would come to an end there.
            let vector = self.instruction().memory_size().size() >= 16 && !r.one_in(16);
            let disp = (r.below(256) & if vector { !31 } else { r.pick(&[!0, !15]) }) as i32 - 128;
            let gathers = self.instruction().is_vsib();
            let indexed = gathers || !vector && r.one_in(8);
            let register = if gathers { r.below(16) as u8 } else { 13 };
            rex &= 4;
            match r.below(3) {
                0 if !indexed => modrm |= 3,
                which => {
                    modrm |= 4;
                    rex |= if which == 1 { 0 } else { 1 };
                    rex |= if indexed { register >> 3 << 1 } else { 0 };
                    let index = if indexed { r.next() as u8 & 0xc0 | (register & 7) << 3 } else { 4 << 3 };
                    tail.push(index | 4);
                }
            }
            tail.extend(disp.to_le_bytes());
        }
        tail.extend((0..8).map(|_| r.integer() as u8));
        if self.vex {
            // Many have no further register.
            tail.push(r.next() as u8 & if r.one_in(3) { 0x0f } else { 0xff });
        }
        encode(self, modrm, rex, &tail)
    }
}

/// `F3 90` is `NOP`, and with REX.B it exchanges registers, as processors have it.
pub const OPTIONS: u32 = DecoderOptions::NO_PAUSE;

pub fn decode(bytes: &[u8]) -> Option<Instruction> {
    let with = |options| Decoder::with_ip(64, bytes, CODE + ENTRY, options).decode();
    let insn = with(OPTIONS);
    if !insn.is_invalid() {
        return Some(insn);
    }
    // A gather whose registers are not distinct is refused, which is to be tried.
    Some(with(OPTIONS | DecoderOptions::NO_INVALID_CHECK))
        .filter(|insn| insn.is_vsib() && insn.memory_index() != Register::None)
}

pub fn has_memory(insn: &Instruction) -> bool {
    (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Memory)
}

/// What is announced and the real processor is without: it cannot be tried here.
pub fn lacking() -> impl Iterator<Item = CpuidFeature> {
    use CpuidFeature as F;
    use std::arch::is_x86_feature_detected as has;
    let modern = [(F::AVX, has!("avx")), (F::AVX2, has!("avx2")), (F::F16C, has!("f16c")), (F::FMA, has!("fma"))];
    modern.into_iter().filter(|&(_, has)| !has).map(|(feature, _)| feature)
}

fn runs_here(insn: &Instruction) -> bool {
    !lacking().any(|feature| insn.cpuid_features().contains(&feature))
}

/// What `CPUID` announces; and instructions whose result depends on more than the state, or which would end the test's own
/// process, are left out.
fn is_tested(insn: &Instruction) -> bool {
    use CpuidFeature as F;
    let announced = insn.cpuid_features().iter().all(|f| {
        matches!(
            f,
            F::INTEL8086
                | F::INTEL8086_ONLY
                | F::INTEL186
                | F::INTEL286
                | F::INTEL386
                | F::INTEL486
                | F::X64
                | F::CMOV
                | F::CX8
                | F::CMPXCHG16B
                | F::FPU
                | F::FPU287
                | F::FPU387
                | F::MMX
                | F::SSE
                | F::SSE2
                | F::SSE3
                | F::SSSE3
                | F::SSE4_1
                | F::SSE4_2
                | F::POPCNT
                | F::LZCNT
                | F::BMI1
                | F::BMI2
                | F::ADX
                | F::MOVBE
                | F::FXSR
                | F::PAUSE
                | F::MULTIBYTENOP
                | F::PREFETCHW
                | F::CLFSH
                | F::CET_IBT
                | F::CET_SS
                | F::PREFETCHWT1
                | F::AES
                | F::PCLMULQDQ
                | F::SHA
                | F::XSAVE
                | F::XSAVEOPT
                | F::XSAVEC
                | F::AVX
                | F::AVX2
                | F::F16C
                | F::FMA
        )
    });
    let left_out = matches!(
        insn.mnemonic(),
        M::Syscall
            | M::Sysenter
            | M::Sysret
            | M::Sysretq
            | M::Sysexit
            | M::Sysexitq
            | M::Int
            | M::Int1
            | M::Int3
            | M::Into
            | M::Cpuid
            | M::Rdtsc
            | M::Rdtscp
            | M::Rdpmc
            | M::Xgetbv
            | M::Rsm
            | M::Sgdt
            | M::Sidt
            | M::Sldt
            | M::Str
            | M::Smsw
            | M::Lar
            | M::Lsl
            | M::Verr
            | M::Verw
            | M::Iret
            | M::Iretd
            | M::Iretq
            | M::Retf
            | M::Lss
            | M::Lfs
            | M::Lgs
            | M::Fstdw
            | M::Fstsg
            | M::Frinear
            | M::Frichop
            | M::Frint2
            | M::Fstpnce
            | M::Storeall
            | M::Loadall
    );
    // AMD reads 32 bits from memory here, Intel 16.
    let left_out = left_out || insn.code() == Code::Movsxd_r16_rm16;
    let segment = |i| insn.op_kind(i) == OpKind::Register && insn.op_register(i).is_segment_register();
    let special =
        |i| insn.op_kind(i) == OpKind::Register && (insn.op_register(i).is_cr() || insn.op_register(i).is_dr());
    let loads_segment = matches!(insn.mnemonic(), M::Mov | M::Pop) && segment(0);
    let operands = insn.op_count();
    let far = insn.is_jmp_far() || insn.is_call_far() || insn.is_jmp_far_indirect() || insn.is_call_far_indirect();
    announced && !left_out && !loads_segment && !far && !(0..operands).any(special)
}

/// Whether another opcode follows: a prefix, or the way to another map.
fn leads_on(map: u8, opcode: u8) -> bool {
    match map {
        0 => matches!(
            opcode,
            0x0f | 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x62 | 0x64..=0x67 | 0xc4 | 0xc5 | 0xf0 | 0xf2 | 0xf3
        ),
        1 => matches!(opcode, 0x38 | 0x3a),
        _ => false,
    }
}

/// Every form the decoder knows, with bytes that are it.
fn forms(mut each: impl FnMut(Template, &Instruction, Vec<u8>)) {
    let legacy = [0, 0x66, 0x67].into_iter().flat_map(|size| [0, 1, 2, 3].map(|map| (size, map, false, false)));
    let vex = [false, true].into_iter().flat_map(|long| [1, 2, 3].map(|map| (0, map, true, long)));
    for (size, map, vex, long) in legacy.chain(vex) {
        for opcode in (0..=255).filter(|&opcode| vex || !leads_on(map, opcode)) {
            for prefix in [0, 0x66, 0xf3, 0xf2] {
                for wide in [false, true] {
                    for modrm in 0..=255 {
                        let code = Code::INVALID;
                        let mut t = Template { code, memory: false, size, prefix, wide, long, map, opcode, modrm, vex };
                        let bytes = encode(&t, modrm, 0, &[0; 12]);
                        let Some(insn) = decode(&bytes) else { continue };
                        // Address forms are chosen later; a direct address shows the operand is memory.
                        t.code = insn.code();
                        t.memory = has_memory(&insn);
                        each(t, &insn, bytes);
                    }
                }
            }
        }
    }
}

/// Every form that is tested, once.
pub fn templates() -> Vec<Template> {
    let mut seen = HashSet::new();
    let mut codes = HashSet::new();
    let mut out = Vec::new();
    forms(|t, insn, _| {
        let branch = insn.flow_control() != iced_x86::FlowControl::Next;
        let prefixed_branch = branch && (t.size == 0x66 || t.prefix == 0x66 || t.prefix != 0 && insn.is_loopcc());
        if is_tested(insn) && runs_here(insn) && !prefixed_branch {
            let new = codes.insert((t.code, t.memory)) || t.size == 0;
            out.extend((new && seen.insert((t.code, t.memory, t.prefix))).then_some(t));
        }
    });
    out
}

/// The forms that are not tested on any processor, once each.
#[allow(dead_code, reason = "only one of the tests needs it")]
pub fn untested() -> Vec<(Instruction, Vec<u8>)> {
    let tested: HashSet<Code> = templates().iter().map(|t| t.code).collect();
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    forms(|t, insn, bytes| {
        let lacking = is_tested(insn) && !runs_here(insn);
        if !lacking && !tested.contains(&t.code) && seen.insert((t.code, t.memory)) {
            out.push((*insn, bytes[..insn.len()].to_vec()));
        }
    });
    out
}

/// Registers and an address for a template, at random as far as they can be.
fn fill(r: &mut Random, t: &Template) -> Option<(Instruction, Vec<u8>)> {
    let mut tail: Vec<u8> = (0..8).map(|_| r.integer() as u8).collect();
    tail.push(r.next() as u8);
    let mut modrm = r.next() as u8;
    if t.memory {
        modrm &= 0x7f | (r.next() as u8 & 0x80);
        if modrm >> 6 == 3 {
            modrm &= 0xbf;
        }
    } else {
        modrm |= 0xc0;
    }
    let rex = if r.one_in(2) { r.next() as u8 & 7 } else { 0 };
    let mut ways = vec![(*t, tail.clone())];
    if t.vex {
        // Many ignore W or L, and many have no further register.
        let ignored = Template { wide: r.one_in(2), long: r.one_in(2), ..*t };
        let mut without = tail.clone();
        without[8] &= 0x0f;
        ways = vec![(ignored, tail.clone()), (ignored, without.clone()), (*t, tail), (*t, without)];
    }
    for (form, tail) in &ways {
        // Where register or operand bits of ModRM are part of the opcode, or mean a SIB byte, they are kept.
        for m in [modrm, modrm & 0xc7 | t.modrm & 0x38, modrm & 0xf8 | t.modrm & 7, t.modrm] {
            let mut bytes = encode(form, m, rex, tail);
            if t.memory && r.one_in(12) {
                bytes.insert(0, 0x65);
            } else if r.one_in(24) && t.memory {
                bytes.insert(0, 0x67);
            } else if r.one_in(40) && t.memory {
                bytes.insert(0, 0xf0);
            }
            if let Some(found) = decode(&bytes)
                && found.code() == t.code
                && has_memory(&found) == t.memory
            {
                return Some((found, bytes));
            }
        }
    }
    None
}

/// Fills a template.
pub fn case(r: &mut Random, t: &Template) -> Option<Case> {
    let (insn, mut bytes) = fill(r, t)?;
    bytes.truncate(insn.len());
    if insn.is_vsib() && !are_distinct(&insn) && !r.one_in(8) {
        return None;
    }
    // FS is the test's own. A repeat prefix decides what LOOPE waits for on AMD's processors.
    let repeats = insn.is_loopcc() && bytes[..insn.len() - 2].iter().any(|b| matches!(b, 0xf2 | 0xf3));
    if insn.segment_prefix() == Register::FS || repeats {
        return None;
    }
    // A branch stays in the page of breakpoints and never comes back to itself.
    let insn = fix_branch(r, &mut bytes, insn)?;
    let mut state = random_state(r);
    let mut data = Vec::new();
    place_stack(r, &insn, &mut state, &mut data);
    let insn = place_memory(r, &mut bytes, insn, &mut state, &mut data)?;
    place_strings(r, &insn, &mut state);
    place_terms(r, &insn, &mut state, &mut data);
    if is_undefined(&insn, &state) {
        return None;
    }
    state.rip = CODE + ENTRY;
    Some(Case { bytes, insn, state, data })
}

/// Whether the registers of a gather are distinct, as they must be.
fn are_distinct(insn: &Instruction) -> bool {
    let numbers = [insn.op_register(0), insn.memory_index(), insn.op_register(2)].map(Register::number);
    numbers[0] != numbers[1] && numbers[1] != numbers[2] && numbers[0] != numbers[2]
}

/// Results the manuals leave undefined: a double shift of 16 bits by more than 16, and transcendental functions of what
/// they are not made for.
fn is_undefined(insn: &Instruction, state: &State) -> bool {
    if matches!(insn.code(), Code::Shld_rm16_r16_imm8 | Code::Shrd_rm16_r16_imm8) {
        return insn.immediate8() & 31 > 16;
    }
    if matches!(insn.code(), Code::Shld_rm16_r16_CL | Code::Shrd_rm16_r16_CL) {
        return state.gpr[1] & 31 > 16;
    }
    let exponent = |i: usize| i32::from(u16::from_le_bytes([state.fx.st[i][8], state.fx.st[i][9]]) & 0x7fff) - 16383;
    let ordinary = |e: i32| e == -16383 || (-60..=0).contains(&e) || e == 16384;
    match insn.mnemonic() {
        M::F2xm1 | M::Fyl2xp1 => exponent(0) >= 0 && exponent(0) < 16384 || !ordinary(exponent(0)),
        _ => false,
    }
}

fn fix_branch(r: &mut Random, bytes: &mut [u8], insn: Instruction) -> Option<Instruction> {
    if !matches!(insn.op_kind(0), OpKind::NearBranch64) || insn.op_count() == 0 {
        return Some(insn);
    }
    let wide = insn.near_branch64().wrapping_sub(insn.next_ip()) as i64;
    let at = bytes.len();
    let offset = if r.one_in(2) { 5 + r.below(100) as i64 } else { -20 - r.below(100) as i64 };
    let by_byte = bytes[at - 1] as i8 as i64 == wide && !matches!(bytes[0], 0xe8 | 0xe9);
    if by_byte {
        bytes[at - 1] = offset as u8;
    } else {
        bytes[at - 4..].copy_from_slice(&(offset as i32).to_le_bytes());
    }
    decode(bytes)
}
