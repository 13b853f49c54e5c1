//! What instructions work on: random registers, memory around their operands, and stacks and strings in the right places.

use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic as M, OpKind, Register};

use super::generate::{decode, has_memory};
use super::layout::{CODE, DATA, ENTRY, PAGE};
use super::random::Random;
use super::state::State;
use super::vectors::{elements, is_masked_move, place_indices, place_mask};

/// Whether the real processor has upper halves to give to a test.
pub fn has_avx() -> bool {
    std::arch::is_x86_feature_detected!("avx")
}

pub fn random_state(r: &mut Random) -> State {
    let mut state = State::default();
    state.gpr.fill_with(|| r.integer());
    const FLAGS: u64 = 0x8d5;
    state.rflags = 0x20_0202 | r.next() & FLAGS | if r.one_in(3) { 0x400 } else { 0 };
    state.fx.xmm.fill_with(|| r.vector());
    if has_avx() && !r.one_in(16) {
        state.ymm_high.fill_with(|| r.vector());
    }
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

/// An address around the boundary of the two writable pages, into the hole, or out of it.
fn edge_address(r: &mut Random, size: u64) -> u64 {
    DATA + (1 + r.below(3)) * PAGE - 1 - r.below(size.max(2))
}

/// An address in or near the data, often at an edge.
fn data_address(r: &mut Random, size: u64) -> u64 {
    match r.below(16) {
        0..=2 => edge_address(r, size),
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
    if matches!(insn.mnemonic(), M::Ldmxcsr | M::Vldmxcsr) {
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

/// The components both processors have: x87, SSE, AVX.
fn components() -> u64 {
    if has_avx() { 7 } else { 3 }
}

/// Makes random bytes an area `XRSTOR` takes, most of the time.
fn extended_state(r: &mut Random, data: &mut [u8]) {
    data[26..28].fill(0);
    if r.one_in(8) {
        // A bit that is reserved on every processor.
        data[27] = 0x80;
    }
    let all = components();
    let some = r.next() & all;
    let format: u64 = r.pick(&[0, 0, 0, 1 << 63 | all, 1 << 63 | some, 1 << 63 | some, 1 << 63, all]);
    // In the compacted format nothing may be present that has no place.
    let possible = if format & 1 << 63 != 0 && !r.one_in(4) { format } else { all };
    let present = r.next() & possible & all | if r.one_in(16) { 1 << 60 } else { 0 };
    data[512..576].fill(0);
    data[512..520].copy_from_slice(&present.to_le_bytes());
    data[520..528].copy_from_slice(&format.to_le_bytes());
    if r.one_in(10) {
        data[528 + r.below(48) as usize] = 1;
    }
}

/// Splits what goes across pages; leaves out what has no page.
pub fn put(data: &mut Vec<(u64, Vec<u8>)>, addr: u64, bytes: Vec<u8>) {
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

pub fn place_stack(r: &mut Random, insn: &Instruction, state: &mut State, data: &mut Vec<(u64, Vec<u8>)>) {
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

pub fn place_memory(
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
        _ if is_extended_state(&insn) => 576 + if has_avx() { 256 } else { 0 },
        M::Fnsave | M::Frstor => 108,
        M::Fnstenv | M::Fldenv => 28,
        M::Fbld | M::Fbstp => 10,
        M::Cmpxchg16b => 16,
        _ => size.max(1),
    };
    let mut target = data_address(r, size);
    if is_masked_move(&insn) && r.one_in(2) {
        target = edge_address(r, size);
    }
    if is_extended_state(&insn) && !r.one_in(4) {
        target &= !63;
    }
    if insn.segment_prefix() == Register::GS {
        target = target.wrapping_sub(super::layout::GS_BASE);
    }
    let base = insn.memory_base();
    let mut index = insn.memory_index();
    if insn.is_vsib() {
        place_indices(r, &insn, state);
        index = Register::None;
    } else if is_masked_move(&insn) {
        let lane = if matches!(insn.mnemonic(), M::Vmaskmovps | M::Vpmaskmovd) { 4 } else { 8 };
        place_mask(r, insn.op_register(1).number(), lane, state);
    }
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
    if insn.is_vsib() {
        for addr in elements(&insn, state) {
            put(data, addr, operand_data(r, &insn, size as usize));
        }
        return Some(insn);
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
    element_address(insn, state, 0)
}

/// Where an element of the memory operand is, of instructions that have an index for each.
pub fn element_address(insn: &Instruction, state: &State, element: usize) -> u64 {
    insn.virtual_address(memory_operand(insn), element, |register, element, size| match register {
        Register::GS => Some(super::layout::GS_BASE),
        Register::DS | Register::ES | Register::SS | Register::CS | Register::FS => Some(0),
        _ if register.is_gpr32() => Some(state.gpr[register.number()] & 0xffff_ffff),
        _ if register.is_vector_register() => {
            let lanes = &state.ymm(register.number())[element * size..][..size];
            Some(lanes.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte)))
        }
        _ => Some(state.gpr[register.number()]),
    })
    .unwrap_or(0)
}

fn memory_operand(insn: &Instruction) -> u32 {
    (0..insn.op_count()).find(|&i| insn.op_kind(i) == OpKind::Memory).unwrap_or(0)
}

pub fn place_strings(r: &mut Random, insn: &Instruction, state: &mut State) {
    let masked = matches!(insn.mnemonic(), M::Maskmovq | M::Maskmovdqu | M::Vmaskmovdqu);
    if insn.mnemonic() == M::Xlatb {
        state.gpr[3] = data_address(r, 256);
    }
    if insn.is_string_instruction() || masked {
        state.gpr[6] = data_address(r, 8);
        let reach = if r.one_in(2) { 16 } else { 160 };
        let near = state.gpr[6].wrapping_add(r.below(2 * reach + 1)).wrapping_sub(reach);
        state.gpr[7] = if r.one_in(3) { near } else { data_address(r, 8) };
        if !masked {
            state.gpr[1] = r.below(20);
        }
    }
    if is_extended_state(insn) {
        // Components the processor has and we have not are not asked for.
        state.gpr[0] &= !0xffff_ffff | components();
        state.gpr[2] &= !0xffff_ffff;
    }
    if matches!(insn.mnemonic(), M::Div | M::Idiv) && !r.one_in(4) {
        // Quotients that fit, more often.
        state.gpr[2] = if r.one_in(2) { 0 } else { (state.gpr[0] as i64 >> 63) as u64 };
    }
}
