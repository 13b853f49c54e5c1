//! What vector instructions work on where a random state would not do: indices and masks, and products that cancel.

use iced_x86::{CpuidFeature, Instruction, Mnemonic as M, OpKind};

use super::operands::effective_address;
use super::random::Random;
use super::state::State;

pub fn is_masked_move(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), M::Vmaskmovps | M::Vmaskmovpd | M::Vpmaskmovd | M::Vpmaskmovq)
}

/// Indices that stay near the base, most of the time, and a mask.
pub fn place_indices(r: &mut Random, insn: &Instruction, state: &mut State) {
    let size = if insn.is_vsib32() { 4 } else { 8 };
    let mut indices = [0; 32];
    for lane in indices.chunks_exact_mut(size) {
        let small = (r.below(64) as i64 - 16).to_le_bytes();
        let wild = r.integer().to_le_bytes();
        lane.copy_from_slice(&if r.one_in(64) { wild } else { small }[..size]);
    }
    if r.one_in(16) {
        // Some elements in the same place.
        indices.copy_within(..16, 16);
    }
    state.set_ymm(insn.memory_index().number(), &indices);
    place_mask(r, insn.op_register(2).number(), insn.memory_size().size(), state);
}

/// A mask whose elements are set up to one of them, from there on, at random, all, or as they are.
pub fn place_mask(r: &mut Random, register: usize, size: usize, state: &mut State) {
    let (kind, border) = (r.below(5), r.below(9) as usize);
    let mut mask = state.ymm(register);
    for (n, lane) in mask.chunks_exact_mut(size).enumerate() {
        let set = match kind {
            0 => n < border,
            1 => n >= border,
            2 => r.one_in(2),
            3 => true,
            _ => continue,
        };
        // Nothing but the sign counts.
        lane.fill_with(|| r.next() as u8);
        lane[size - 1] = lane[size - 1] & 0x7f | if set { 0x80 } else { 0 };
    }
    state.set_ymm(register, &mask);
}

/// The elements of a gather: where they are.
pub fn elements(insn: &Instruction, state: &State) -> Vec<u64> {
    let indices = if insn.is_vsib32() { 8 } else { 4 };
    (0..indices).map(|n| super::operands::element_address(insn, state, n)).collect()
}

/// The factors and the other term of a fused multiplication and addition, by operand.
fn fused(insn: &Instruction) -> Option<[u32; 3]> {
    if !insn.cpuid_features().contains(&CpuidFeature::FMA) {
        return None;
    }
    let name = format!("{:?}", insn.mnemonic());
    let orders = [("132", [0, 2, 1]), ("213", [1, 0, 2]), ("231", [1, 2, 0])];
    orders.into_iter().find(|(digits, _)| name.contains(digits)).map(|(_, order)| order)
}

/// A number of moderate size, or whose square is about the smallest normal number; as many low bits are zero.
fn factor(r: &mut Random, wide: bool, tiny: bool) -> f64 {
    let (bias, fraction) = if wide { (1023, 52) } else { (127, 23) };
    let exponent = if tiny { bias / 2 } else { bias } + r.below(5) - 2;
    let fraction_bits = r.next() & ((1 << fraction) - 1) & !0 << r.below(fraction);
    let bits = exponent << fraction | fraction_bits;
    let number = if wide { f64::from_bits(bits) } else { f32::from_bits(bits as u32).into() };
    if r.one_in(2) { -number } else { number }
}

/// Makes the terms of a fused instruction cancel, nearly or altogether: only that shows what rounding once is.
pub fn place_terms(r: &mut Random, insn: &Instruction, state: &mut State, data: &mut Vec<(u64, Vec<u8>)>) {
    let Some([a, b, c]) = fused(insn).filter(|_| r.one_in(3)) else { return };
    let wide = format!("{:?}", insn.mnemonic()).ends_with('d');
    let (size, tiny) = (if wide { 8 } else { 4 }, r.one_in(4));
    let mut terms = [[0; 32]; 3];
    for at in (0..32).step_by(size) {
        let (x, y) = (factor(r, wide, tiny), factor(r, wide, tiny));
        let sign = if r.one_in(2) { -1.0 } else { 1.0 };
        let near = r.below(5).saturating_sub(2);
        let bits = |v: f64| if wide { v.to_bits() } else { (v as f32).to_bits().into() };
        let values = [bits(x), bits(y), bits(sign * x * y).wrapping_add(near)];
        for (term, value) in terms.iter_mut().zip(values) {
            term[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        }
    }
    for (operand, term) in [a, b, c].into_iter().zip(terms) {
        if insn.op_kind(operand) == OpKind::Register {
            state.set_ymm(insn.op_register(operand).number(), &term);
        } else {
            let term = term[..insn.memory_size().size()].to_vec();
            super::operands::put(data, effective_address(insn, state), term);
        }
    }
}
