//! Rearranging lanes: shuffles, packs, unpacks, blends, extensions, inserts.

use super::Vector;
use super::arithmetic::vectors;
use super::lanes::{Lane, build, lane, map, with_lane};

/// Lanes `first`, `first + 1`, ... of both, alternating.
#[inline(always)]
fn interleave<L: Lane, const N: usize>(a: u128, b: u128, first: usize) -> u128 {
    build::<L, N>(|i| lane(if i % 2 == 0 { a } else { b }, first + i / 2))
}

/// Lanes of `a`, then of `b`, made narrower by `f`.
#[inline(always)]
fn pack<From: Lane, To: Lane, const N: usize>(a: u128, b: u128, f: impl Fn(From) -> To) -> u128 {
    let half = N / From::BYTES;
    build::<To, N>(|i| f(if i < half { lane(a, i) } else { lane(b, i - half) }))
}

/// Each lane from the field of `imm` for its place.
#[inline(always)]
fn select(imm: u8, i: usize) -> usize {
    usize::from(imm >> (2 * i) & 3)
}

/// Lane by lane from `b` where the bit of `mask` is set.
#[inline(always)]
fn blend<L: Lane>(a: u128, b: u128, mask: u8) -> u128 {
    build::<L, 16>(|i| lane(if mask >> i & 1 != 0 { b } else { a }, i))
}

vectors! {
    Punpcklbw(a, b, _imm, N) interleave::<u8, N>(a, b, 0);
    Punpcklwd(a, b, _imm, N) interleave::<u16, N>(a, b, 0);
    Punpckldq(a, b, _imm, N) interleave::<u32, N>(a, b, 0);
    Punpcklqdq(a, b, _imm, N) interleave::<u64, N>(a, b, 0);
    Punpckhbw(a, b, _imm, N) interleave::<u8, N>(a, b, N / 2);
    Punpckhwd(a, b, _imm, N) interleave::<u16, N>(a, b, N / 4);
    Punpckhdq(a, b, _imm, N) interleave::<u32, N>(a, b, N / 8);
    Punpckhqdq(a, b, _imm, N) interleave::<u64, N>(a, b, N / 16);
    Packsswb(a, b, _imm, N) pack::<i16, i8, N>(a, b, |v| v.clamp(-128, 127) as i8);
    Packuswb(a, b, _imm, N) pack::<i16, u8, N>(a, b, |v| v.clamp(0, 255) as u8);
    Packssdw(a, b, _imm, N) pack::<i32, i16, N>(a, b, |v| v.clamp(-0x8000, 0x7fff) as i16);
    Packusdw(a, b, _imm, N) pack::<i32, u16, N>(a, b, |v| v.clamp(0, 0xffff) as u16);
    Pshufd(_a, b, imm, N) build::<u32, N>(|i| lane(b, select(imm, i)));
    Pshufw(_a, b, imm, N) build::<u16, N>(|i| lane(b, select(imm, i)));
    Pshuflw(_a, b, imm, N) build::<u16, N>(|i| lane(b, if i < 4 { select(imm, i) } else { i }));
    Pshufhw(_a, b, imm, N) build::<u16, N>(|i| lane(b, if i < 4 { i } else { 4 + select(imm, i - 4) }));
    Pshufb(a, b, _imm, N) build::<u8, N>(|i| {
        let from = lane::<u8>(b, i);
        if from & 0x80 != 0 { 0 } else { lane(a, usize::from(from) % N) }
    });
    Palignr(a, b, imm, N) {
        let from = |i: usize| match i {
            _ if i < N => lane::<u8>(b, i),
            _ if i < 2 * N => lane::<u8>(a, i - N),
            _ => 0,
        };
        build::<u8, N>(|i| from(i + usize::from(imm)))
    };
    Shufps(a, b, imm, N) build::<u32, N>(|i| lane(if i < 2 { a } else { b }, select(imm, i)));
    Shufpd(a, b, imm, N) build::<u64, N>(|i| lane(if i < 1 { a } else { b }, usize::from(imm >> i & 1)));
    Pblendw(a, b, imm, N) blend::<u16>(a, b, imm);
    Blendps(a, b, imm, N) blend::<u32>(a, b, imm);
    Blendpd(a, b, imm, N) blend::<u64>(a, b, imm);
    Insertps(a, b, imm, N) {
        let moved = with_lane::<u32>(a, usize::from(imm >> 4 & 3), b as u32);
        build::<u32, N>(|i| if imm >> i & 1 != 0 { 0 } else { lane(moved, i) })
    };
    // With a register as source the immediate picks its lane; a memory operand has only one.
    InsertpsReg(a, b, imm, N) Insertps::apply::<N>(a, u128::from(lane::<u32>(b, usize::from(imm >> 6))), imm);
    Movddup(_a, b, _imm, N) u128::from(b as u64) << 64 | u128::from(b as u64);
    Movshdup(_a, b, _imm, N) build::<u32, N>(|i| lane(b, i | 1));
    Movsldup(_a, b, _imm, N) build::<u32, N>(|i| lane(b, i & !1));
    Movhlps(a, b, _imm, N) a >> 64 << 64 | b >> 64;
    Movlhps(a, b, _imm, N) b << 64 | u128::from(a as u64);
    // MOVLPS and MOVHPS (and the PD forms) from memory.
    LoadLow(a, b, _imm, N) a >> 64 << 64 | u128::from(b as u64);
    LoadHigh(a, b, _imm, N) b << 64 | u128::from(a as u64);
    // MOVSS and MOVSD between registers.
    MergeLow4(a, b, _imm, N) a & !0xffff_ffff | b & 0xffff_ffff;
    Copy(_a, b, _imm, N) b;
    CopyLow4(_a, b, _imm, N) b & 0xffff_ffff;
    CopyLow8(_a, b, _imm, N) u128::from(b as u64);
    Pinsrb(a, b, imm, N) with_lane::<u8>(a, usize::from(imm) % N, b as u8);
    Pinsrw(a, b, imm, N) with_lane::<u16>(a, usize::from(imm) % (N / 2), b as u16);
    Pinsrd(a, b, imm, N) with_lane::<u32>(a, usize::from(imm) % (N / 4), b as u32);
    Pinsrq(a, b, imm, N) with_lane::<u64>(a, usize::from(imm) % (N / 8), b as u64);
}

macro_rules! extensions {
    ($($name:ident: $from:ty => $to:ty;)*) => {
        vectors! { $($name(_a, b, _imm, N) build::<$to, N>(|i| <$to>::from(lane::<$from>(b, i)));)* }
    };
}
extensions! {
    Pmovsxbw: i8 => i16;
    Pmovsxbd: i8 => i32;
    Pmovsxbq: i8 => i64;
    Pmovsxwd: i16 => i32;
    Pmovsxwq: i16 => i64;
    Pmovsxdq: i32 => i64;
    Pmovzxbw: u8 => u16;
    Pmovzxbd: u8 => u32;
    Pmovzxbq: u8 => u64;
    Pmovzxwd: u16 => u32;
    Pmovzxwq: u16 => u64;
    Pmovzxdq: u32 => u64;
}

/// `mask`'s sign bits spread over its lanes.
fn signs<L: Lane>(mask: u128, spread: fn(L) -> L) -> u128 {
    map::<L, 16>(mask, spread)
}

/// `PBLENDVB`, `BLENDVPS`, `BLENDVPD`: by the signs of XMM0's lanes of `bytes` bytes.
pub(crate) fn blend_variable(a: u128, b: u128, mask: u128, bytes: u16) -> u128 {
    let mask = match bytes {
        1 => signs::<i8>(mask, |v| v >> 7),
        4 => signs::<i32>(mask, |v| v >> 31),
        _ => signs::<i64>(mask, |v| v >> 63),
    };
    a & !mask | b & mask
}

/// The same for translated code.
pub(crate) extern "C" fn blend_pure<const BYTES: u16>(operands: *mut [u128; 3], _: u32) {
    // SAFETY: as for any [`super::Pure`].
    let operands = unsafe { &mut *operands };
    operands[0] = blend_variable(operands[0], operands[1], operands[2], BYTES);
}
