//! The SSE4.2 string comparisons (Intel SDM volume 2, section 4.1).

use super::lanes::{Lane, lane};
use crate::core::Core;
use crate::flags::{CF, Flags, OF, SF, ZF};
use crate::op::{Flow, Op, RAX, RCX, RDX, Stop};

/// A string in a vector: elements as signed numbers, and how many are valid.
struct Text {
    elements: [i32; 16],
    valid: usize,
}

/// What the immediate asks for.
#[derive(Clone, Copy)]
struct Control(u8);

impl Control {
    fn elements(self) -> usize {
        if self.0 & 1 != 0 { 8 } else { 16 }
    }

    fn text(self, v: u128, valid: Option<usize>) -> Text {
        let elements = match self.0 & 3 {
            0 => elements::<u8>(v),
            1 => elements::<u16>(v),
            2 => elements::<i8>(v),
            _ => elements::<i16>(v),
        };
        let count = self.elements();
        let terminated = || elements[..count].iter().position(|&e| e == 0).unwrap_or(count);
        Text { elements, valid: valid.unwrap_or_else(terminated).min(count) }
    }

    /// A bit for each element of `b` that satisfies the comparison with `a`.
    fn matches(self, a: &Text, b: &Text) -> u16 {
        let count = self.elements();
        let (of_a, of_b) = (&a.elements[..a.valid], &b.elements[..b.valid]);
        match self.0 >> 2 & 3 {
            0 => bits(of_b.iter().map(|element| of_a.contains(element))),
            1 => {
                let is_in = |element, range: &[i32]| (range[0]..=range[1]).contains(element);
                bits(of_b.iter().map(|element| of_a.chunks_exact(2).any(|range| is_in(element, range))))
            }
            2 => {
                let both = bits(of_a.iter().zip(of_b).map(|(x, y)| x == y));
                both | first(count) & !first(a.valid.max(b.valid))
            }
            _ => bits((0..count).map(|j| {
                let needle = &of_a[..a.valid.min(count - j)];
                of_b.get(j..).unwrap_or_default().starts_with(needle)
            })),
        }
    }

    /// The same, with those negated that are to be.
    fn result(self, a: &Text, b: &Text) -> u16 {
        let negated = match self.0 >> 4 & 3 {
            1 => first(self.elements()),
            3 => first(b.valid),
            _ => 0,
        };
        self.matches(a, b) ^ negated
    }
}

/// The vector's elements, as many as there are.
fn elements<T: Lane + Into<i32>>(v: u128) -> [i32; 16] {
    core::array::from_fn(|i| if i < 16 / T::BYTES { lane::<T>(v, i).into() } else { 0 })
}

/// A bit for each answer, from bit 0 on.
fn bits(answers: impl Iterator<Item = bool>) -> u16 {
    answers.enumerate().fold(0, |bits, (j, yes)| bits | u16::from(yes) << j)
}

/// The lowest `count` bits, at most 16.
fn first(count: usize) -> u16 {
    ((1u32 << count) - 1) as u16
}

/// The comparison, its flags set. `explicit` takes the lengths from RAX and RDX.
fn compare(core: &mut Core, op: &Op, explicit: bool) -> Result<u16, Stop> {
    let control = Control(op.imm as u8);
    let b = if op.aux == 0 { core.xmm(op.src) } else { core.load_narrow(op)? };
    let length = |reg: u8| {
        let wide = op.attributes & Op::WIDE != 0;
        let n = if wide { core.get(reg) as i64 } else { i64::from(core.get(reg) as i32) };
        explicit.then_some(n.unsigned_abs().min(16) as usize)
    };
    let a = control.text(core.xmm(op.dst), length(RAX));
    let b = control.text(b, length(RDX));
    let result = control.result(&a, &b);
    let flag = |on: bool, bit| if on { bit } else { 0 };
    core.flags = Flags::from_bits(
        flag(result != 0, CF)
            | flag(b.valid < control.elements(), ZF)
            | flag(a.valid < control.elements(), SF)
            | flag(result & 1 != 0, OF),
    );
    Ok(result)
}

fn index(core: &mut Core, op: &Op, explicit: bool) -> Flow {
    let result = compare(core, op, explicit)?;
    let count = Control(op.imm as u8).elements() as u32;
    let index = match op.imm & 0x40 {
        _ if result == 0 => count,
        0 => result.trailing_zeros(),
        _ => 15 - result.leading_zeros(),
    };
    core.set(RCX, index.into());
    Ok(())
}

fn mask(core: &mut Core, op: &Op, explicit: bool) -> Flow {
    let result = compare(core, op, explicit)?;
    let bits = 128 / Control(op.imm as u8).elements() as u32;
    let expanded = || {
        let ones = (1u128 << bits) - 1;
        (0..128 / bits).filter(|i| result >> i & 1 != 0).fold(0, |v, i| v | ones << (i * bits))
    };
    let value = if op.imm & 0x40 == 0 { result.into() } else { expanded() };
    core.set_xmm(0, value);
    Ok(())
}

/// `PCMPESTRI`.
pub(crate) fn explicit_index(core: &mut Core, op: &Op) -> Flow {
    index(core, op, true)
}
/// `PCMPESTRM`.
pub(crate) fn explicit_mask(core: &mut Core, op: &Op) -> Flow {
    mask(core, op, true)
}
/// `PCMPISTRI`.
pub(crate) fn implicit_index(core: &mut Core, op: &Op) -> Flow {
    index(core, op, false)
}
/// `PCMPISTRM`.
pub(crate) fn implicit_mask(core: &mut Core, op: &Op) -> Flow {
    mask(core, op, false)
}
