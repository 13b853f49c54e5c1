//! The SSE4.2 string comparisons (Intel SDM volume 2, section 4.1).

use super::lanes::lane;
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
        let elements = core::array::from_fn(|i| match self.0 & 3 {
            0 => lane::<u8>(v, i).into(),
            1 if i < 8 => lane::<u16>(v, i).into(),
            2 => lane::<i8>(v, i).into(),
            3 if i < 8 => lane::<i16>(v, i).into(),
            _ => 0,
        });
        let count = self.elements();
        let terminated = || elements[..count].iter().position(|&e| e == 0).unwrap_or(count);
        Text { elements, valid: valid.unwrap_or_else(terminated).min(count) }
    }

    /// Whether element `j` of `b` satisfies the comparison with `a`.
    fn matches(self, a: &Text, b: &Text, j: usize) -> bool {
        let element = b.elements[j];
        let in_b = j < b.valid;
        match self.0 >> 2 & 3 {
            0 => in_b && a.elements[..a.valid].contains(&element),
            1 => {
                let ranges = a.elements[..a.valid & !1].chunks_exact(2);
                in_b && ranges.into_iter().any(|range| (range[0]..=range[1]).contains(&element))
            }
            2 => match (j < a.valid, in_b) {
                (true, true) => a.elements[j] == element,
                (in_a, in_b) => in_a == in_b,
            },
            _ => (0..a.valid.min(self.elements() - j)).all(|i| i + j < b.valid && a.elements[i] == b.elements[i + j]),
        }
    }

    /// A bit per element of `b`.
    fn result(self, a: &Text, b: &Text) -> u16 {
        (0..self.elements()).fold(0, |bits, j| {
            let negate = match self.0 >> 4 & 3 {
                1 => true,
                3 => j < b.valid,
                _ => false,
            };
            bits | u16::from(self.matches(a, b, j) != negate) << j
        })
    }
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
