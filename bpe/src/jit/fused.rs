//! FMA in WebAssembly: the engine's relaxed multiplication with addition, where that rounds once.
//!
//! What always holds: see [`super::float`]. Where the engine rounds twice, or has no such instruction, the interpreter is
//! called.

use alloc::boxed::Box;
use core::mem;

use iced_x86::Instruction;
use wasm_encoder::{BlockType, ValType};

use super::emit::{Emitter, Temp};
use super::float::Float;
use super::operands::{Half, Last};
use super::{Engine, module};
use crate::vector::fused::Fused;

/// For either precision a number whose square needs more bits than a number has, and the square as a number, negated.
const TESTED: [f64; 4] = {
    const SINGLE: f64 = 1.0 / 4096.0;
    const DOUBLE: f64 = 1.0 / 1_073_741_824.0;
    [1.0 + DOUBLE, -1.0 - 2.0 * DOUBLE, 1.0 + SINGLE, -1.0 - 2.0 * SINGLE]
};

/// Whether the engine rounds once. The slot is free for the question.
pub(super) fn is_fused(engine: &mut dyn Engine, slot: u32) -> bool {
    let module = module::fused_probe(slot);
    if !engine.validate(&module) || !engine.install(&module) {
        return false;
    }
    // SAFETY: the engine put a function of this type into the slot.
    let probe = unsafe { mem::transmute::<usize, extern "C" fn(*mut f64, u32, u64)>(slot as usize) };
    let mut numbers = Box::new(TESTED);
    probe(numbers.as_mut_ptr(), 0, 0);
    engine.clear(slot);
    // What is left of the squares, and of the squares negated.
    let [double, _, single, _] = TESTED.map(|number| (number - 1.0) * (number - 1.0));
    *numbers == [double, -double, single, -single]
}

impl Emitter<'_> {
    /// Pushes the engine's result for three vectors.
    pub(super) fn push_fused(&mut self, fused: Fused, sources: [Temp; 3], double: bool) {
        let [a, b, c] = fused.order.map(|n| sources[usize::from(n)]);
        self.get(a);
        self.get(b);
        self.get(c);
        match (fused.subtracts, double) {
            ([false, false], _) => {}
            ([true, true], _) => self.either(double, |s| s.f64x2_neg(), |s| s.f32x4_neg()),
            ([even, _], true) => {
                let place = if even { 63 } else { 127 };
                self.i().v128_const(1 << place).v128_xor();
            }
            ([even, _], false) => {
                let signs = if even { 1 << 31 | 1 << 95 } else { (1 << 63 | 1u128 << 127) as i128 };
                self.i().v128_const(signs).v128_xor();
            }
        }
        match fused.negates {
            true => self.either(double, |s| s.f64x2_relaxed_nmadd(), |s| s.f32x4_relaxed_nmadd()),
            false => self.either(double, |s| s.f64x2_relaxed_madd(), |s| s.f32x4_relaxed_madd()),
        }
    }

    /// An operation on low lanes.
    pub(super) fn fused_scalar(&mut self, insn: &Instruction, float: Float, fused: Fused) {
        let double = float.double;
        let (half, _) = self.vex_halves(insn);
        let last = if let Last::Register(register) = half.last { Some(register) } else { None };
        let registers = [Some(half.to), Some(half.first), last];
        if !self.layout.fused {
            return self.slowly(insn, &registers, double);
        }
        let sources = self.fused_sources(insn, &half);
        self.push_fused(fused, sources, double);
        let r = self.take_low(double);
        let mut operands = [0, 1, 2].map(|n| (sources[n], registers[n]));
        for (value, _) in &mut operands {
            self.get(*value);
            *value = self.take_low(double);
        }
        let done = self.open();
        let unusual = self.open();
        self.branch_unless_usual(&operands, r, double, double, unusual);
        self.put_low(insn, r, double);
        let label = self.label(done);
        self.i().br(label);
        self.close();
        self.push_operands_are_clean(&operands, double);
        self.push_is_normal(r, double);
        self.i().i32_and();
        self.open_if(BlockType::Empty);
        self.put_low(insn, r, double);
        let label = self.label(done);
        self.i().br(label);
        self.close();
        self.slowly(insn, &registers, double);
        self.close();
    }

    /// The destination, the first source and the last.
    pub(super) fn fused_sources(&mut self, insn: &Instruction, half: &Half) -> [Temp; 3] {
        let last = self.take_last(insn, half);
        let [to, first] = [half.to, half.first].map(|register| {
            self.push_xmm(register);
            self.take(ValType::V128)
        });
        [to, first, last]
    }
}
