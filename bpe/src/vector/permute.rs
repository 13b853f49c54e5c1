//! What AVX and AVX2 rearrange beyond SSE: broadcasts, permutations, also across halves, and shifts by lanes.

use super::Vector;
use super::arithmetic::vectors;
use super::lanes::{build, lane, zip};
use super::vex::{Halves, Vex};
use crate::core::Core;
use crate::op::{Flow, Op};

vectors! {
    // Of the lowest lane of the source in all lanes.
    Broadcastb(_a, b, _imm, N) build::<u8, N>(|_| lane(b, 0));
    Broadcastw(_a, b, _imm, N) build::<u16, N>(|_| lane(b, 0));
    Broadcastd(_a, b, _imm, N) build::<u32, N>(|_| lane(b, 0));
    Broadcastq(_a, b, _imm, N) build::<u64, N>(|_| lane(b, 0));
    // Each lane of the first as the second, or the immediate, says.
    Permilps(a, b, _imm, N) build::<u32, N>(|i| lane(a, lane::<u32>(b, i) as usize & 3));
    Permilpd(a, b, _imm, N) build::<u64, N>(|i| lane(a, lane::<u64>(b, i) as usize >> 1 & 1));
    PermilpdImm(_a, b, imm, N) build::<u64, N>(|i| lane(b, usize::from(imm >> i & 1)));
    // Shifts of each lane by a count of its own.
    Psllvd(a, b, _imm, N) zip::<u32, N>(a, b, |x, n| x.checked_shl(n).unwrap_or(0));
    Psllvq(a, b, _imm, N) zip::<u64, N>(a, b, |x, n| if n < 64 { x << n } else { 0 });
    Psrlvd(a, b, _imm, N) zip::<u32, N>(a, b, |x, n| x.checked_shr(n).unwrap_or(0));
    Psrlvq(a, b, _imm, N) zip::<u64, N>(a, b, |x, n| if n < 64 { x >> n } else { 0 });
    Psravd(a, b, _imm, N) zip::<u32, N>(a, b, |x, n| (x as i32 >> n.min(31)) as u32);
}

/// Lane `i` of 32 bits of both halves.
fn lane32(v: Halves, i: usize) -> u32 {
    lane(v[(i / 4) & 1], i % 4)
}

/// Lane `i` of 64 bits of both halves.
fn lane64(v: Halves, i: usize) -> u64 {
    lane(v[(i / 2) & 1], i % 2)
}

/// A function of two whole registers and the immediate.
pub(crate) type Crossing = fn(Halves, Halves, u8) -> Halves;

/// `VPERMD` and `VPERMPS`: lanes of the second as the first says.
pub(crate) fn by_lanes(by: Halves, from: Halves, _: u8) -> Halves {
    [0, 4].map(|first| build::<u32, 16>(|i| lane32(from, lane32(by, first + i) as usize & 7)))
}

/// `VPERMQ` and `VPERMPD`.
pub(crate) fn quarters(_: Halves, from: Halves, imm: u8) -> Halves {
    [imm, imm >> 4].map(|imm| build::<u64, 16>(|i| lane64(from, usize::from(imm >> (2 * i) & 3))))
}

/// `VPERM2F128` and `VPERM2I128`.
pub(crate) fn two_halves(a: Halves, b: Halves, imm: u8) -> Halves {
    [imm, imm >> 4].map(|imm| match imm & 15 {
        8.. => 0,
        from => [a[0], a[1], b[0], b[1]][usize::from(from & 3)],
    })
}

/// `VINSERTF128` and `VINSERTI128`.
pub(crate) fn insert_half(a: Halves, b: Halves, imm: u8) -> Halves {
    if imm & 1 == 0 { [b[0], a[1]] } else { [a[0], b[0]] }
}

fn crossing(core: &mut Core, op: &Op, function: Crossing) -> Flow {
    let vex = Vex::of(op);
    let b = core.vex_source(op)?;
    let value = function(core.ymm(vex.first), b, vex.imm[0]);
    core.set_ymm(op.dst, value);
    Ok(())
}

macro_rules! handlers {
    ($($name:ident: $function:ident;)*) => {$(
        pub(crate) fn $name(core: &mut Core, op: &Op) -> Flow {
            crossing(core, op, $function)
        }
    )*};
}
handlers! {
    permute_by_lanes: by_lanes;
    permute_quarters: quarters;
    permute_two: two_halves;
    insert: insert_half;
}

/// `VEXTRACTF128` and `VEXTRACTI128`, to a register or memory.
pub(crate) fn extract(core: &mut Core, op: &Op) -> Flow {
    let half = core.ymm(op.src)[usize::from(Vex::of(op).imm[0] & 1)];
    core.set_ymm(op.dst, [half, 0]);
    Ok(())
}

pub(crate) fn extract_to_memory(core: &mut Core, op: &Op) -> Flow {
    let half = core.ymm(op.src)[usize::from(Vex::of(op).imm[0] & 1)];
    let addr = core.address(op);
    core.store(op, addr, half)
}
