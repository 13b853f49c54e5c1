//! Makes instructions: one template for each form the decoder knows and BPE/U announces, filled with random operands.

use std::collections::HashSet;

use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic as M, OpKind, Register};

use super::layout::{CODE, DATA, ENTRY, PAGE};
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

fn has_memory(insn: &Instruction) -> bool {
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

fn random_state(r: &mut Random) -> State {
    let mut state = State::default();
    state.gpr.fill_with(|| r.integer());
    const FLAGS: u64 = 0x8d5;
    state.rflags = 0x20_0202 | r.next() & FLAGS | if r.one_in(3) { 0x400 } else { 0 };
    state.fx.xmm.fill_with(|| r.vector());
    state.fx.mxcsr = 0x1f80 | if r.one_in(2) { 0x20 } else { r.next() as u32 & 0x3f };
    if r.one_in(3) {
        state.fx.mxcsr |= (r.next() as u32 & 3) << 13;
    }
    if r.one_in(8) {
        state.fx.mxcsr ^= r.pick(&[0x40, 0x8000, 0x8040]);
    }
    if r.one_in(12) {
        state.fx.mxcsr &= !(r.next() as u32 & 0x1f80);
        state.fx.mxcsr &= !0x3f;
    }
    let top = if r.one_in(2) { 0 } else { r.below(8) as u16 };
    state.fx.fsw = top << 11 | r.next() as u16 & 0x4700;
    state.fx.fcw = 0x37f | 0x40;
    if r.one_in(3) {
        state.fx.fcw = 0x7f | r.pick(&[0, 0x200, 0x300]) | (r.next() as u16 & 3) << 10;
    }
    if r.one_in(10) {
        state.fx.fcw &= !(r.next() as u16 & 0x3f);
    } else {
        state.fx.fsw |= r.next() as u16 & 0x7f & if r.one_in(2) { 0x7f } else { 0 };
    }
    state.fx.ftw = if r.one_in(2) { 0xff } else { r.next() as u8 };
    for st in &mut state.fx.st {
        let (significand, exponent) = r.f80();
        st[..8].copy_from_slice(&significand.to_le_bytes());
        st[8..10].copy_from_slice(&exponent.to_le_bytes());
    }
    state
}

/// An address in or near the data, often at an edge.
fn data_address(r: &mut Random, size: u64) -> u64 {
    match r.below(16) {
        // Around the boundary of the two writable pages.
        0 => DATA + PAGE - 1 - r.below(size.max(2)),
        // Into the hole, and out of it.
        1 => DATA + 2 * PAGE - 1 - r.below(size.max(2)),
        2 => DATA + 3 * PAGE - 1 - r.below(size.max(2)),
        // The read-only page.
        3 => DATA + 3 * PAGE + (r.below(PAGE - 64) & !15),
        4 => DATA + PAGE + r.below(PAGE - 600),
        _ => DATA + (r.below(2 * PAGE - 600) & !15),
    }
}

fn operand_data(r: &mut Random, insn: &Instruction, size: usize) -> Vec<u8> {
    let mut data: Vec<u8> = Vec::new();
    let x87 = insn
        .cpuid_features()
        .iter()
        .any(|f| matches!(f, CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387));
    if x87 && size == 10 && r.one_in(2) {
        // Decimal digits or a number.
        data.extend((0..10).map(|_| (r.below(10) | r.below(10) << 4) as u8));
    } else if x87 && size == 10 {
        let (significand, exponent) = r.f80();
        data.extend(significand.to_le_bytes());
        data.extend(exponent.to_le_bytes());
    } else if x87 && size == 4 {
        data.extend(r.f32().to_le_bytes());
    } else if x87 && size == 8 && r.one_in(2) {
        data.extend(r.f64().to_le_bytes());
    }
    while data.len() < size {
        match r.below(3) {
            0 => data.extend(r.integer().to_le_bytes()),
            _ => data.extend(r.vector().to_le_bytes()),
        }
    }
    data.truncate(size);
    if insn.mnemonic() == M::Ldmxcsr {
        data[2..].fill(0);
    }
    if matches!(insn.mnemonic(), M::Fxrstor | M::Fxrstor64) && !r.one_in(8) {
        data[26..28].fill(0);
    } else if matches!(insn.mnemonic(), M::Fxrstor | M::Fxrstor64) {
        // A bit that is reserved on every processor.
        data[27] = 0x80;
    }
    if matches!(insn.mnemonic(), M::Xrstor | M::Xrstor64) {
        extended_state(r, &mut data);
    }
    data
}

/// Instructions of an area for all of the state beyond the general-purpose registers.
pub fn is_extended_state(insn: &Instruction) -> bool {
    use M::*;
    matches!(insn.mnemonic(), Xsave | Xsave64 | Xsaveopt | Xsaveopt64 | Xsavec | Xsavec64 | Xrstor | Xrstor64)
}

/// Makes random bytes an area `XRSTOR` takes, most of the time.
fn extended_state(r: &mut Random, data: &mut [u8]) {
    data[26..28].fill(0);
    if r.one_in(8) {
        // A bit that is reserved on every processor.
        data[27] = 0x80;
    }
    let format: u64 = r.pick(&[0, 0, 0, 1 << 63 | 3, 1 << 63 | 1, 1 << 63 | 2, 1 << 63, 3]);
    let present = r.next() & 3 | if r.one_in(16) { 1 << 60 } else { 0 };
    data[512..].fill(0);
    data[512..520].copy_from_slice(&present.to_le_bytes());
    data[520..528].copy_from_slice(&format.to_le_bytes());
    if r.one_in(10) {
        data[528 + r.below(48) as usize] = 1;
    }
}

/// Splits what goes across pages; leaves out what has no page.
fn put(data: &mut Vec<(u64, Vec<u8>)>, addr: u64, bytes: Vec<u8>) {
    for (i, byte) in bytes.into_iter().enumerate() {
        let at = addr.wrapping_add(i as u64);
        let page = at.wrapping_sub(DATA) / PAGE;
        if !matches!(page, 0 | 1 | 3) {
            continue;
        }
        match data.last_mut() {
            Some((start, run)) if *start + run.len() as u64 == at && !at.is_multiple_of(PAGE) => run.push(byte),
            _ => data.push((at, vec![byte])),
        }
    }
}

fn place_stack(r: &mut Random, insn: &Instruction, state: &mut State, data: &mut Vec<(u64, Vec<u8>)>) {
    state.gpr[4] = data_address(r, 8) & if r.one_in(4) { !0 } else { !7 };
    if insn.mnemonic() == M::Leave || insn.mnemonic() == M::Enter {
        state.gpr[5] = data_address(r, 8);
    }
    if !insn.is_stack_instruction() {
        if r.one_in(2) {
            state.gpr[4] = r.integer();
        }
        return;
    }
    let top = match insn.mnemonic() {
        // No trap flag, no alignment check, no nested task.
        M::Popf | M::Popfq => r.next() & !0x4_4100 | 1 << 21,
        M::Ret if !r.one_in(4) => CODE + 0x100 + r.below(0x600),
        _ => r.integer(),
    };
    put(data, state.gpr[4], top.to_le_bytes().to_vec());
}

fn place_memory(
    r: &mut Random,
    bytes: &mut [u8],
    insn: Instruction,
    state: &mut State,
    data: &mut Vec<(u64, Vec<u8>)>,
) -> Option<Instruction> {
    let near = |r: &mut Random| CODE + 0x100 + r.below(0x600);
    if (insn.is_jmp_near_indirect() || insn.is_call_near_indirect()) && insn.op_kind(0) == OpKind::Register {
        let to = if r.one_in(4) { r.integer() } else { near(r) };
        if insn.op_register(0) != Register::RSP {
            state.gpr[insn.op_register(0).number()] = to;
        }
    }
    if !has_memory(&insn) {
        return Some(insn);
    }
    let size = insn.memory_size().size() as u64;
    let size = match insn.mnemonic() {
        M::Fxsave | M::Fxsave64 | M::Fxrstor | M::Fxrstor64 => 512,
        _ if is_extended_state(&insn) => 576,
        M::Fnsave | M::Frstor => 108,
        M::Fnstenv | M::Fldenv => 28,
        M::Fbld | M::Fbstp => 10,
        M::Cmpxchg16b => 16,
        _ => size.max(1),
    };
    let mut target = data_address(r, size);
    if is_extended_state(&insn) && !r.one_in(4) {
        target &= !63;
    }
    if insn.segment_prefix() == Register::GS {
        target = target.wrapping_sub(super::layout::GS_BASE);
    }
    let base = insn.memory_base();
    let index = insn.memory_index();
    let mut insn = insn;
    if matches!(base, Register::RIP | Register::EIP) || base == Register::None && index == Register::None {
        // The displacement is in the bytes.
        let offsets = Decoder::with_ip(64, bytes, CODE + ENTRY, DecoderOptions::NONE);
        let mut decoder = offsets;
        let fresh = decoder.decode();
        let places = decoder.get_constant_offsets(&fresh);
        let from = if base != Register::None { insn.next_ip() } else { 0 };
        let at = places.displacement_offset();
        let value = target.wrapping_sub(from);
        match places.displacement_size() {
            8 => bytes[at..at + 8].copy_from_slice(&value.to_le_bytes()),
            4 => bytes[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes()),
            _ => return Some(insn),
        }
        insn = decode(bytes)?;
    } else {
        let disp = insn.memory_displacement64();
        let scale = u64::from(insn.memory_index_scale());
        if index != Register::None && base == Register::None {
            // Only multiples can be reached.
            state.gpr[index.number()] = target.wrapping_sub(disp) / scale;
        } else if index == Register::None {
            state.gpr[base.number()] = target.wrapping_sub(disp);
        } else if base.number() == index.number() {
            state.gpr[base.number()] = target.wrapping_sub(disp) / (scale + 1);
        } else {
            if r.one_in(2) {
                state.gpr[index.number()] = r.below(256);
            }
            let part = state.gpr[index.number()].wrapping_mul(scale);
            state.gpr[base.number()] = target.wrapping_sub(disp).wrapping_sub(part);
        }
        if r.one_in(40) {
            // Not canonical, most likely.
            state.gpr[if base == Register::None { index.number() } else { base.number() }] = r.next();
        }
    }
    if matches!(insn.mnemonic(), M::Bt | M::Bts | M::Btr | M::Btc) && insn.op_kind(1) == OpKind::Register {
        let n = insn.op_register(1);
        let same = |x: Register| x != Register::None && x.full_register() == n.full_register();
        if !same(base) && !same(index) {
            state.gpr[n.full_register().number()] = r.below(0x2000).wrapping_sub(0x1000);
        }
    }
    let addr = effective_address(&insn, state);
    let value = match insn.is_jmp_near_indirect() || insn.is_call_near_indirect() {
        true => (if r.one_in(4) { r.integer() } else { near(r) }).to_le_bytes().to_vec(),
        false => operand_data(r, &insn, size as usize),
    };
    put(data, addr, value);
    if matches!(insn.mnemonic(), M::Cmpxchg | M::Cmpxchg8b | M::Cmpxchg16b) && r.one_in(2) {
        // Make the comparison hold.
        let value: Vec<u8> = match insn.mnemonic() {
            M::Cmpxchg => state.gpr[0].to_le_bytes().to_vec(),
            M::Cmpxchg8b => [state.gpr[0] as u32, state.gpr[2] as u32].iter().flat_map(|v| v.to_le_bytes()).collect(),
            _ => [state.gpr[0], state.gpr[2]].iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        put(data, addr, value);
    }
    Some(insn)
}

/// Where the memory operand is.
pub fn effective_address(insn: &Instruction, state: &State) -> u64 {
    insn.virtual_address(memory_operand(insn), 0, |register, _, _| match register {
        Register::GS => Some(super::layout::GS_BASE),
        Register::DS | Register::ES | Register::SS | Register::CS | Register::FS => Some(0),
        _ if register.is_gpr32() => Some(state.gpr[register.number()] & 0xffff_ffff),
        _ => Some(state.gpr[register.number()]),
    })
    .unwrap_or(0)
}

fn memory_operand(insn: &Instruction) -> u32 {
    (0..insn.op_count()).find(|&i| insn.op_kind(i) == OpKind::Memory).unwrap_or(0)
}

fn place_strings(r: &mut Random, insn: &Instruction, state: &mut State) {
    let masked = matches!(insn.mnemonic(), M::Maskmovq | M::Maskmovdqu);
    if insn.mnemonic() == M::Xlatb {
        state.gpr[3] = data_address(r, 256);
    }
    if insn.is_string_instruction() || masked {
        state.gpr[6] = data_address(r, 8);
        state.gpr[7] = if r.one_in(3) { state.gpr[6].wrapping_add(r.below(33)) - 16 } else { data_address(r, 8) };
        if !masked {
            state.gpr[1] = r.below(20);
        }
    }
    if is_extended_state(insn) {
        // Components the processor has and we have not are not asked for.
        state.gpr[0] &= !0xffff_ffff | 3;
        state.gpr[2] &= !0xffff_ffff;
    }
    if matches!(insn.mnemonic(), M::Div | M::Idiv) && !r.one_in(4) {
        // Quotients that fit, more often.
        state.gpr[2] = if r.one_in(2) { 0 } else { (state.gpr[0] as i64 >> 63) as u64 };
    }
}
