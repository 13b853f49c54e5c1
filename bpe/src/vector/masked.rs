//! AVX's accesses to memory that a mask picks: `VMASKMOV`, `VPMASKMOV` and the gathers.

use aurora_machine::Access;

use super::vex::{Halves, Vex};
use crate::core::Core;
use crate::op::{Flow, Op};
use crate::width::{Plain, Width};

/// Lane `i` of `W` of a register.
fn lane<W: Width>(v: Halves, i: usize) -> u64 {
    let a_half = 128 / W::BITS as usize;
    (v[(i / a_half) & 1] >> (i % a_half * W::BITS as usize)) as u64 & W::MASK
}

/// Replaces it.
fn set_lane<W: Width>(v: &mut Halves, i: usize, value: u64) {
    let a_half = 128 / W::BITS as usize;
    let at = i % a_half * W::BITS as usize;
    let half = &mut v[(i / a_half) & 1];
    *half = *half & !(u128::from(W::MASK) << at) | u128::from(value & W::MASK) << at;
}

/// The lanes of `op.aux` bytes whose mask has its sign bit set.
fn picked<W: Width>(mask: Halves, op: &Op) -> impl Iterator<Item = usize> + Clone {
    (0..usize::from(op.aux) / W::BYTES as usize).filter(move |&i| lane::<W>(mask, i) & W::SIGN != 0)
}

/// Loads the lanes that are picked; the others become zero.
pub(crate) fn load<W: Width + Plain>(core: &mut Core, op: &Op) -> Flow {
    let (mask, addr) = (core.ymm(Vex::of(op).first), core.address(op));
    let mut value = [0; 2];
    for i in picked::<W>(mask, op) {
        let lane = core.load_int::<W>(op, addr.wrapping_add(i as u64 * W::BYTES))?;
        set_lane::<W>(&mut value, i, lane);
    }
    core.set_ymm(op.dst, value);
    Ok(())
}

/// Stores the lanes that are picked, once all of those can be.
pub(crate) fn store<W: Width + Plain>(core: &mut Core, op: &Op) -> Flow {
    let vex = Vex::of(op);
    let (mask, value, addr) = (core.ymm(vex.first), core.ymm(vex.third), core.address(op));
    let lanes = picked::<W>(mask, op).map(|i| (i, addr.wrapping_add(i as u64 * W::BYTES)));
    for (_, addr) in lanes.clone() {
        core.span(op, addr, W::BYTES as usize, Access::Write)?;
    }
    for (i, addr) in lanes {
        core.store(op, addr, W::truncate(lane::<W>(value, i)))?;
    }
    Ok(())
}

/// A gather of elements of `W` by indices of `I`: those whose mask has its sign bit set, from the lowest on. Where one
/// faults, those before it are done and the mask says so.
pub(crate) fn gather<I: Width, W: Width + Plain>(core: &mut Core, op: &Op) -> Flow {
    let vex = Vex::of(op);
    let indices = core.ymm(vex.third);
    let clip = |v: Halves| if op.aux == 32 { v } else { [v[0], 0] };
    let (mut value, mut mask) = (clip(core.ymm(op.dst)), clip(core.ymm(vex.first)));
    let count = usize::from(op.aux) / W::BYTES as usize;
    let count = count.min(if vex.wide { 32 } else { 16 } / I::BYTES as usize);
    for i in 0..count {
        if lane::<W>(mask, i) & W::SIGN != 0 {
            let offset = I::sign_extend(lane::<I>(indices, i)) << op.scale;
            let addr = core.gathered(op, offset);
            match core.load_int::<W>(op, addr) {
                Ok(element) => set_lane::<W>(&mut value, i, element),
                Err(stop) => {
                    core.set_low_bytes(op.dst, value, op.aux);
                    core.set_low_bytes(vex.first, mask, op.aux);
                    return Err(stop);
                }
            }
        }
        set_lane::<W>(&mut mask, i, 0);
    }
    // Where there are fewer indices than a register has elements, the rest becomes zero.
    (count..16 / W::BYTES as usize).for_each(|i| set_lane::<W>(&mut value, i, 0));
    core.set_ymm(op.dst, value);
    core.set_ymm(vex.first, [0; 2]);
    Ok(())
}

impl Core {
    /// Sets 16 or 32 bytes of a register; what is above stays.
    fn set_low_bytes(&mut self, n: u8, value: Halves, bytes: u16) {
        if bytes == 32 { self.set_ymm(n, value) } else { self.set_xmm(n, value[0]) }
    }

    /// The address of an element; the segment's base is in `op.src`.
    fn gathered(&self, op: &Op, offset: u64) -> u64 {
        let sum = self.get(op.base).wrapping_add(offset).wrapping_add(op.disp as i64 as u64);
        let sum = if op.attributes & Op::NARROW != 0 { sum & 0xffff_ffff } else { sum };
        sum.wrapping_add(self.get(op.src))
    }
}
