//! Which registers are known to hold no denormal number, so that arithmetic on them need not ask.
//!
//! What always holds: what an instruction is said to leave known is so after it whichever way its translation took, for
//! where it is not, translated code is left. What is known when a loop begins was worked out before anything was written;
//! whoever enters the function there has asked.

use alloc::vec;
use alloc::vec::Vec;

use iced_x86::{Instruction, Mnemonic as M, Register};
use wasm_encoder::BlockType;

use super::code::{Block, End, Insn, Set, member};
use super::emit::{Emitter, param};
use super::float::{Calculation, Float, float_of};
use super::flow::Flow;
use super::function::Shape;
use super::graph::Graph;
use super::lazy::STOP_INTERPRET;
use super::operands::{halves, upper_of};
use super::vector::is_zero;
use crate::lower::legacy::legacy;
use crate::lower::vex::is_vex;

/// Facts about registers, a bit each: that no lane is denormal, or the lowest is not, as doubles or as singles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clean(u128);

/// Which lanes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lanes {
    Low,
    All,
}

impl Lanes {
    fn all_if(so: bool) -> Self {
        if so { Self::All } else { Self::Low }
    }
}

/// The facts there are of a register.
const KINDS: [(bool, Lanes); 4] = [(false, Lanes::Low), (true, Lanes::Low), (false, Lanes::All), (true, Lanes::All)];

impl Clean {
    pub(crate) const NOTHING: Self = Self(0);
    const EVERYTHING: Self = Self(u128::MAX);

    fn fact(register: Register, double: bool, lanes: Lanes) -> u128 {
        let kind = usize::from(double) + if lanes == Lanes::All { 2 } else { 0 };
        1 << (kind * 32 + (register.number() & 31))
    }

    pub(crate) fn has(self, register: Register, double: bool, lanes: Lanes) -> bool {
        self.0 & Self::fact(register, double, lanes) != 0
    }

    /// All lanes are the lowest, too.
    fn with(self, register: Register, double: bool, lanes: Lanes) -> Self {
        let low = Self::fact(register, double, Lanes::Low);
        Self(self.0 | low | Self::fact(register, double, lanes))
    }

    fn with_if(self, so: bool, register: Register, double: bool, lanes: Lanes) -> Self {
        if so { self.with(register, double, lanes) } else { self }
    }

    /// Without what is known of vector registers in `set`.
    fn without(self, set: Set) -> Self {
        let registers = u128::from(set >> 16 & 0xffff_ffff);
        Self(self.0 & !(registers | registers << 32 | registers << 64 | registers << 96))
    }

    /// Of registers in `set` only.
    fn only(self, set: Set) -> Self {
        self.meet(Self(!self.without(set).0))
    }

    pub(crate) fn meet(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// With what is known of `from`, known of `to`.
    fn with_known(self, known: Self, from: Register, to: Register) -> Self {
        let add = |all: Self, (double, lanes)| all.with_if(known.has(from, double, lanes), to, double, lanes);
        KINDS.into_iter().fold(self, add)
    }

    /// What is known after an instruction.
    pub(crate) fn after(self, insn: &Insn) -> Self {
        if insn.calls_out {
            return Self::NOTHING;
        }
        let (writes, insn, rest) = (insn.writes, &insn.insn, self.without(insn.writes));
        let mut known = match float_of(insn) {
            Some(float) => halves(insn).fold(rest, |known, half| self.after_float(float, half, known)),
            None => halves(insn).fold(rest, |known, half| self.after_move(insn, half, known)),
        };
        // What VEX leaves above a lower half it writes are zeros; comparisons write none.
        if is_vex(insn)
            && halves(insn).count() == 1
            && let Some([Some(to), ..]) = halves(insn).next()
            && writes & member(upper_of(to)).0 != 0
        {
            known = known.with_known(Self::EVERYTHING, to, upper_of(to));
        }
        known
    }

    fn after_float(self, float: Float, [to, first, last]: [Option<Register>; 3], known: Self) -> Self {
        use Calculation as C;
        let Float { double, packed, .. } = float;
        let (Some(to), Some(first)) = (to, first) else { return known };
        let own = Lanes::all_if(packed || self.has(first, double, Lanes::All));
        match (float.calculation, last) {
            (C::Convert | C::ToInteger, _) => known,
            (C::FromInteger, _) => known.with(to, double, own),
            (calculation, last) => {
                let operands = [last, Some(first).filter(|_| calculation != C::SquareRoot)];
                let add = |all: Self, register| all.with(register, double, Lanes::all_if(packed));
                operands.into_iter().flatten().fold(known.with(to, double, own), add)
            }
        }
    }

    fn after_move(self, insn: &Instruction, [to, first, last]: [Option<Register>; 3], rest: Self) -> Self {
        let Some(to) = to else { return rest };
        if is_zero(insn) {
            return rest.with_known(Self::EVERYTHING, to, to);
        }
        let (Some(first), Some(from)) = (first, last) else { return rest };
        let low = |double| self.has(from, double, Lanes::Low);
        match copied(insn) {
            Some(Copied::Whole) => rest.with_known(self, from, to),
            Some(Copied::Low(double)) => {
                rest.with_if(low(double), to, double, Lanes::all_if(self.has(first, double, Lanes::All)))
            }
            Some(Copied::Alone) => rest.with_if(low(true), to, true, Lanes::All),
            Some(Copied::Above) => rest.with_if(self.has(first, true, Lanes::Low), to, true, Lanes::all_if(low(true))),
            None => rest,
        }
    }

    /// What would save a question if it were known before an instruction, given what would after it.
    fn wanted_before(self, insn: &Insn) -> Self {
        if insn.calls_out {
            return Self::NOTHING;
        }
        let (insn, mut wanted) = (&insn.insn, self.without(insn.writes));
        for [to, first, last] in halves(insn) {
            if let Some(float) = float_of(insn) {
                let lanes = Lanes::all_if(float.packed);
                let asks = match float.calculation {
                    Calculation::FromInteger | Calculation::ToInteger => [None; 3],
                    Calculation::Convert | Calculation::SquareRoot => [last, None, None],
                    Calculation::Fused(_) => [to, first, last],
                    _ => [first, last, None],
                };
                for register in asks.into_iter().flatten() {
                    wanted.0 |= Self::fact(register, float.double, lanes);
                }
            } else if let (Some(to), Some(from), Some(Copied::Whole)) = (to, last, copied(insn)) {
                for (double, lanes) in KINDS.into_iter().filter(|&(double, lanes)| self.has(to, double, lanes)) {
                    wanted.0 |= Self::fact(from, double, lanes);
                }
            }
        }
        wanted
    }
}

/// What a move between registers moves.
enum Copied {
    Whole,
    /// A low lane, into what is there.
    Low(bool),
    /// The low half, and zeros.
    Alone,
    /// The low half, above that.
    Above,
}

fn copied(insn: &Instruction) -> Option<Copied> {
    Some(match legacy(insn.mnemonic()) {
        M::Movaps | M::Movapd | M::Movdqa | M::Movups | M::Movupd | M::Movdqu => Copied::Whole,
        M::Movsd => Copied::Low(true),
        M::Movss => Copied::Low(false),
        M::Movq => Copied::Alone,
        M::Unpcklpd | M::Punpcklqdq | M::Movlhps => Copied::Above,
        _ => return None,
    })
}

/// What is known when a loop begins.
#[derive(Clone, Copy)]
pub(crate) struct Entered {
    pub(crate) known: Clean,
    /// As much of it is so already wherever the loop is come to from other blocks.
    already: Clean,
}

/// For each block that is the header of a loop in a region what is known there: as much as would save a question, and is so
/// whenever the loop goes round, for the rest is asked for before it begins.
pub(crate) fn at_headers(blocks: &[Block], graph: &Graph, flow: &Flow, entries: &[usize]) -> Vec<Entered> {
    let nothing = Entered { known: Clean::NOTHING, already: Clean::NOTHING };
    let mut found = vec![nothing; blocks.len()];
    if !blocks.iter().flat_map(|b| &b.insns).any(|i| float_of(&i.insn).is_some()) {
        return found;
    }
    let nodes: Vec<usize> = graph.sequence.iter().copied().filter(|&b| b < blocks.len()).collect();
    let wanted = wanted(blocks, graph, &nodes);
    let is_header = |b: usize| graph.header[b] == b && flow.is_in_region(b);
    for &b in &nodes {
        let known = match (is_header(b), entries.contains(&b)) {
            (true, _) => wanted[b].only(flow.live_in[b]),
            (false, true) => Clean::NOTHING,
            (false, false) => Clean::EVERYTHING,
        };
        found[b] = Entered { known, already: Clean::EVERYTHING };
    }
    let mut changed = true;
    while changed {
        changed = false;
        for &b in &nodes {
            let after = match blocks[b].end {
                End::Call { .. } | End::Rest { .. } | End::Enter { likely: Some(_), .. } => Clean::NOTHING,
                _ => blocks[b].insns.iter().fold(found[b].known, Clean::after),
            };
            for &to in graph.successors[b].iter().filter(|&&to| to < blocks.len()) {
                let from_outside = is_header(to) && graph.order[b] < graph.order[to];
                let Entered { known, already } = &mut found[to];
                let met = if from_outside { already } else { known };
                changed |= met.meet(after) != *met;
                *met = met.meet(after);
            }
        }
    }
    found.iter().enumerate().map(|(b, &entered)| if is_header(b) { entered } else { nothing }).collect()
}

fn wanted(blocks: &[Block], graph: &Graph, nodes: &[usize]) -> Vec<Clean> {
    let mut wanted = vec![Clean::NOTHING; blocks.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for &b in nodes.iter().rev() {
            let inside = graph.successors[b].iter().filter(|&&to| to < blocks.len());
            let after = inside.fold(Clean::NOTHING, |all, &to| Clean(all.0 | wanted[to].0));
            let before = blocks[b].insns.iter().rev().fold(after, Clean::wanted_before);
            changed |= before != wanted[b];
            wanted[b] = before;
        }
    }
    wanted
}

impl Emitter<'_> {
    /// Asks for what is to be known in a loop, which begins next: whoever comes from other blocks for what they do not know
    /// already, and whoever enters the function there for all.
    pub(super) fn ask_who_enters(&mut self, shape: &Shape, header: usize) {
        let Some(&Entered { known, already }) = shape.clean.get(header) else { return };
        let number = shape.entries.iter().position(|&e| e == header);
        let unknown = if number == Some(0) { known } else { Clean(known.0 & !already.0) };
        let others = number.filter(|&n| n > 0).map(|n| (n, known));
        for (number, asked) in [(0, unknown)].into_iter().chain(others).filter(|(_, asked)| *asked != Clean::NOTHING) {
            self.release_temps();
            self.i().local_get(param::ENTRY).i32_const(number as i32).i32_eq();
            self.open_if(BlockType::Empty);
            self.push_some_are_denormal(asked);
            self.open_rare(BlockType::Empty);
            let offset = self.function.blocks[header].at;
            self.stop_at(STOP_INTERPRET, offset, self.flow.dirty_in[header]);
            self.close();
            self.close();
        }
    }

    /// Pushes whether what should be known is not so.
    fn push_some_are_denormal(&mut self, known: Clean) {
        self.i().i32_const(0);
        for register in (0..32).map(|n| Register::XMM0 + n) {
            for (double, lanes) in KINDS.into_iter().filter(|&(double, lanes)| known.has(register, double, lanes)) {
                match lanes {
                    Lanes::All => self.push_a_lane_is_denormal(register, double),
                    Lanes::Low => self.push_low_is_denormal(register, double),
                }
                self.i().i32_or();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::*;

    const ADDSD_0_1: &[u8] = &[0xf2, 0x0f, 0x58, 0xc1];
    const MOVAPD_2_0: &[u8] = &[0x66, 0x0f, 0x28, 0xd0];
    const MOVSD_0_MEMORY: &[u8] = &[0xf2, 0x0f, 0x10, 0x00];
    const UNPCKLPD_0_0: &[u8] = &[0x66, 0x0f, 0x14, 0xc0];
    const XORPS_0_0: &[u8] = &[0x0f, 0x57, 0xc0];

    /// An instruction that writes that vector register.
    fn insn(bytes: &[u8], register: usize) -> Insn {
        let insn = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
        Insn { insn, reads: 0, kills: 0, writes: 1 << (16 + register), may_exit: true, calls_out: false }
    }

    fn after(all: &[(&[u8], usize)]) -> Clean {
        all.iter().fold(Clean::NOTHING, |known, &(bytes, register)| known.after(&insn(bytes, register)))
    }

    #[test]
    fn a_sum_and_what_it_was_made_of_and_its_copies_are_known() {
        let known = after(&[(ADDSD_0_1, 0), (MOVAPD_2_0, 2)]);
        for register in [Register::XMM0, Register::XMM1, Register::XMM2] {
            assert!(known.has(register, true, Lanes::Low));
            assert!(!known.has(register, true, Lanes::All) && !known.has(register, false, Lanes::Low));
        }
    }

    #[test]
    fn what_is_loaded_is_not_known_and_twice_the_same_is_as_good_as_once() {
        let known = after(&[(ADDSD_0_1, 0), (MOVSD_0_MEMORY, 0)]);
        assert!(!known.has(Register::XMM0, true, Lanes::Low) && known.has(Register::XMM1, true, Lanes::Low));
        let known = after(&[(ADDSD_0_1, 0), (UNPCKLPD_0_0, 0)]);
        assert!(known.has(Register::XMM0, true, Lanes::All));
    }

    #[test]
    fn zero_is_never_denormal_and_what_calls_out_may_leave_anything() {
        let known = after(&[(XORPS_0_0, 0)]);
        assert!(KINDS.iter().all(|&(double, lanes)| known.has(Register::XMM0, double, lanes)));
        let out = Insn { calls_out: true, ..insn(XORPS_0_0, 0) };
        assert_eq!(known.after(&out), Clean::NOTHING);
    }

    #[test]
    fn zeros_are_above_what_vex_writes_and_not_above_what_it_compares() {
        const VADDSD_0_1_1: &[u8] = &[0xc5, 0xf3, 0x58, 0xc1];
        const VUCOMISD_0_1: &[u8] = &[0xc5, 0xf9, 0x2e, 0xc1];
        let above = |known: Clean| known.has(Register::XMM16, true, Lanes::All);
        let writes = 1 << 16 | 1 << 32;
        assert!(above(Clean::NOTHING.after(&Insn { writes, ..insn(VADDSD_0_1_1, 0) })));
        assert!(!above(Clean::NOTHING.after(&Insn { writes: 0, ..insn(VUCOMISD_0_1, 0) })));
    }

    #[test]
    fn operands_are_wanted_until_they_are_written() {
        let wanted = Clean::NOTHING.wanted_before(&insn(ADDSD_0_1, 0));
        assert!(wanted.has(Register::XMM0, true, Lanes::Low) && wanted.has(Register::XMM1, true, Lanes::Low));
        let before = wanted.wanted_before(&insn(MOVSD_0_MEMORY, 0));
        assert!(!before.has(Register::XMM0, true, Lanes::Low) && before.has(Register::XMM1, true, Lanes::Low));
    }
}
