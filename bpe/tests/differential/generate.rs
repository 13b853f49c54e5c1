//! Makes instructions: one template for each form the decoder knows and BPE/U announces, filled with random operands.

use std::collections::HashSet;

use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic as M, OpKind, Register};

use super::layout::{CODE, ENTRY};
use super::operands::{place_memory, place_stack, place_strings, random_state};
use super::random::Random;
use super::state::State;

/// A form: prefixes, REX.W, opcode map and opcode, and the ModRM byte that made the decoder choose it.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    pub code: Code,
    pub memory: bool,
    prefix: u8,
    wide: bool,
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

fn encode(t: &Template, modrm: u8, rex: u8, tail: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if t.vex {
        // R, X, B and the further register are inverted; that takes what is left of the tail.
        let prefix = [0, 0x66, 0xf3, 0xf2].iter().position(|&p| p == t.prefix).unwrap_or(0) as u8;
        let further = tail.last().map_or(0, |b| b >> 4) << 3;
        bytes.extend([0xc4, !rex << 5 | t.map, if t.wide { 0x80 } else { 0 } | !further & 0x78 | prefix, t.opcode]);
        bytes.push(modrm);
        bytes.extend(tail);
        return bytes;
    }
    if t.prefix != 0 {
        bytes.push(t.prefix);
    }
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
    /// The form with random registers. Memory is near RBX, R12 or RSP, sometimes with a small index in R13.
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
            let disp = (r.below(256) & if r.one_in(3) { !0 } else { !15 }) as i32 - 128;
            let indexed = r.one_in(8);
            rex &= 4;
            match r.below(3) {
                0 if !indexed => modrm |= 3,
                which => {
                    modrm |= 4;
                    let base = if which == 1 {
                        4
                    } else {
                        rex |= 1;
                        4
                    };
                    let index = if indexed {
                        rex |= 2;
                        5
                    } else {
                        4
                    };
                    tail.push((r.next() as u8 & if indexed { 0xc0 } else { 0 }) | index << 3 | base);
                }
            }
            tail.extend(disp.to_le_bytes());
        }
        tail.extend((0..8).map(|_| r.integer() as u8));
        encode(self, modrm, rex, &tail)
    }
}

pub fn decode(bytes: &[u8]) -> Option<Instruction> {
    let insn = Decoder::with_ip(64, bytes, CODE + ENTRY, DecoderOptions::NONE).decode();
    (!insn.is_invalid()).then_some(insn)
}

pub fn has_memory(insn: &Instruction) -> bool {
    (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Memory)
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

/// Every form the decoder knows, with bytes that are it.
fn forms(mut each: impl FnMut(Template, &Instruction, Vec<u8>)) {
    for (map, vex) in [(0, false), (1, false), (2, false), (3, false), (2, true), (3, true)] {
        for opcode in 0..=255 {
            for prefix in [0, 0x66, 0xf3, 0xf2] {
                for wide in [false, true] {
                    for modrm in 0..=255 {
                        let code = Code::INVALID;
                        let mut t = Template { code, memory: false, prefix, wide, map, opcode, modrm, vex };
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
    let mut out = Vec::new();
    forms(|t, insn, _| {
        let branch = insn.flow_control() != iced_x86::FlowControl::Next;
        let prefixed_branch = branch && (t.prefix == 0x66 || t.prefix != 0 && insn.is_loopcc());
        if is_tested(insn) && !prefixed_branch && seen.insert((t.code, t.memory, t.prefix)) {
            out.push(t);
        }
    });
    out
}

/// The forms that are not tested, once each.
#[allow(dead_code, reason = "only one of the tests needs it")]
pub fn untested() -> Vec<(Instruction, Vec<u8>)> {
    let tested: HashSet<Code> = templates().iter().map(|t| t.code).collect();
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    forms(|t, insn, bytes| {
        if !tested.contains(&t.code) && seen.insert((t.code, t.memory)) {
            out.push((*insn, bytes[..insn.len()].to_vec()));
        }
    });
    out
}

/// Fills a template.
pub fn case(r: &mut Random, t: &Template) -> Option<Case> {
    let tail: Vec<u8> = (0..9).map(|_| r.integer() as u8).collect();
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
    let mut insn = None;
    // Where register or operand bits of ModRM are part of the opcode they are kept.
    for m in [modrm, modrm & 0xc7 | t.modrm & 0x38, t.modrm] {
        let mut bytes = encode(t, m, rex, &tail);
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
            insn = Some((found, bytes));
            break;
        }
    }
    let (insn, mut bytes) = insn?;
    bytes.truncate(insn.len());
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
    if is_undefined(&insn, &state) {
        return None;
    }
    state.rip = CODE + ENTRY;
    Some(Case { bytes, insn, state, data })
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
