//! Packed integer arithmetic, logic, comparisons and shifts.

use super::Vector;
use super::lanes::{build, lane, map, zip};

macro_rules! vectors {
    ($($name:ident($a:ident, $b:ident, $imm:ident, $n:ident) $body:expr;)*) => {$(
        pub(crate) struct $name;
        impl Vector for $name {
            #[inline(always)]
            fn apply<const $n: usize>($a: u128, $b: u128, $imm: u8) -> u128 {
                let _ = $imm;
                $body
            }
        }
    )*};
}
pub(super) use vectors;

/// Operations that are a function of two lanes.
macro_rules! lanewise {
    ($($name:ident: $lane:ty, $f:expr;)*) => {
        vectors! { $($name(a, b, _imm, N) zip::<$lane, N>(a, b, $f);)* }
    };
}

lanewise! {
    Paddb: u8, |x, y| x.wrapping_add(y);
    Paddw: u16, |x, y| x.wrapping_add(y);
    Paddd: u32, |x, y| x.wrapping_add(y);
    Paddq: u64, |x, y| x.wrapping_add(y);
    Psubb: u8, |x, y| x.wrapping_sub(y);
    Psubw: u16, |x, y| x.wrapping_sub(y);
    Psubd: u32, |x, y| x.wrapping_sub(y);
    Psubq: u64, |x, y| x.wrapping_sub(y);
    Paddsb: i8, |x, y| x.saturating_add(y);
    Paddsw: i16, |x, y| x.saturating_add(y);
    Paddusb: u8, |x, y| x.saturating_add(y);
    Paddusw: u16, |x, y| x.saturating_add(y);
    Psubsb: i8, |x, y| x.saturating_sub(y);
    Psubsw: i16, |x, y| x.saturating_sub(y);
    Psubusb: u8, |x, y| x.saturating_sub(y);
    Psubusw: u16, |x, y| x.saturating_sub(y);
    Pmullw: u16, |x, y| x.wrapping_mul(y);
    Pmulld: u32, |x, y| x.wrapping_mul(y);
    Pmulhw: i16, |x, y| ((i32::from(x) * i32::from(y)) >> 16) as i16;
    Pmulhuw: u16, |x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16;
    Pmulhrsw: i16, |x, y| ((((i32::from(x) * i32::from(y)) >> 14) + 1) >> 1) as i16;
    Pmuludq: u64, |x, y| (x & 0xffff_ffff) * (y & 0xffff_ffff);
    Pmuldq: i64, |x, y| i64::from(x as i32).wrapping_mul(i64::from(y as i32));
    Pavgb: u8, |x, y| ((u16::from(x) + u16::from(y) + 1) >> 1) as u8;
    Pavgw: u16, |x, y| ((u32::from(x) + u32::from(y) + 1) >> 1) as u16;
    Pminub: u8, |x, y| x.min(y);
    Pminuw: u16, |x, y| x.min(y);
    Pminud: u32, |x, y| x.min(y);
    Pminsb: i8, |x, y| x.min(y);
    Pminsw: i16, |x, y| x.min(y);
    Pminsd: i32, |x, y| x.min(y);
    Pmaxub: u8, |x, y| x.max(y);
    Pmaxuw: u16, |x, y| x.max(y);
    Pmaxud: u32, |x, y| x.max(y);
    Pmaxsb: i8, |x, y| x.max(y);
    Pmaxsw: i16, |x, y| x.max(y);
    Pmaxsd: i32, |x, y| x.max(y);
    Pcmpeqb: u8, |x, y| if x == y { u8::MAX } else { 0 };
    Pcmpeqw: u16, |x, y| if x == y { u16::MAX } else { 0 };
    Pcmpeqd: u32, |x, y| if x == y { u32::MAX } else { 0 };
    Pcmpeqq: u64, |x, y| if x == y { u64::MAX } else { 0 };
    Pcmpgtb: i8, |x, y| if x > y { -1 } else { 0 };
    Pcmpgtw: i16, |x, y| if x > y { -1 } else { 0 };
    Pcmpgtd: i32, |x, y| if x > y { -1 } else { 0 };
    Pcmpgtq: i64, |x, y| if x > y { -1 } else { 0 };
    Psignb: i8, |x, y| if y < 0 { x.wrapping_neg() } else if y == 0 { 0 } else { x };
    Psignw: i16, |x, y| if y < 0 { x.wrapping_neg() } else if y == 0 { 0 } else { x };
    Psignd: i32, |x, y| if y < 0 { x.wrapping_neg() } else if y == 0 { 0 } else { x };
}

vectors! {
    Pand(a, b, _imm, N) a & b;
    Pandn(a, b, _imm, N) !a & b;
    Por(a, b, _imm, N) a | b;
    Pxor(a, b, _imm, N) a ^ b;
    Pabsb(_a, b, _imm, N) map::<i8, N>(b, i8::wrapping_abs);
    Pabsw(_a, b, _imm, N) map::<i16, N>(b, i16::wrapping_abs);
    Pabsd(_a, b, _imm, N) map::<i32, N>(b, i32::wrapping_abs);
    Pmaddwd(a, b, _imm, N) build::<i32, N>(|i| {
        let product = |i| i32::from(lane::<i16>(a, i)) * i32::from(lane::<i16>(b, i));
        product(2 * i).wrapping_add(product(2 * i + 1))
    });
    Pmaddubsw(a, b, _imm, N) build::<i16, N>(|i| {
        let product = |i| i32::from(lane::<u8>(a, i)) * i32::from(lane::<i8>(b, i));
        clamp16(product(2 * i) + product(2 * i + 1))
    });
    Psadbw(a, b, _imm, N) build::<u64, N>(|i| {
        (8 * i..8 * i + 8).map(|j| u64::from(lane::<u8>(a, j).abs_diff(lane::<u8>(b, j)))).sum()
    });
    Phaddw(a, b, _imm, N) horizontal::<i16, N>(a, b, i16::wrapping_add);
    Phaddd(a, b, _imm, N) horizontal::<i32, N>(a, b, i32::wrapping_add);
    Phaddsw(a, b, _imm, N) horizontal::<i16, N>(a, b, i16::saturating_add);
    Phsubw(a, b, _imm, N) horizontal::<i16, N>(a, b, i16::wrapping_sub);
    Phsubd(a, b, _imm, N) horizontal::<i32, N>(a, b, i32::wrapping_sub);
    Phsubsw(a, b, _imm, N) horizontal::<i16, N>(a, b, i16::saturating_sub);
    Phminposuw(_a, b, _imm, N) {
        let least = (0..8u16).map(|i| (lane::<u16>(b, usize::from(i)), i)).min().unwrap_or((0, 0));
        u128::from(least.0) | u128::from(least.1) << 16
    };
    Mpsadbw(a, b, imm, N) {
        let (at_a, at_b) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
        build::<u16, N>(|i| {
            (0..4).map(|j| u16::from(lane::<u8>(a, at_a + i + j).abs_diff(lane::<u8>(b, at_b + j)))).sum()
        })
    };
}

fn clamp16(v: i32) -> i16 {
    v.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// `f` of neighbours: of `a` in the lower half of the result, of `b` in the upper.
fn horizontal<L: super::lanes::Lane, const N: usize>(a: u128, b: u128, f: fn(L, L) -> L) -> u128 {
    let half = N / L::BYTES / 2;
    build::<L, N>(|i| {
        let (from, i) = if i < half { (a, i) } else { (b, i - half) };
        f(lane(from, 2 * i), lane(from, 2 * i + 1))
    })
}

/// Shifts of lanes by a common count, all 64 bits of which matter.
macro_rules! shifts {
    ($($name:ident: $lane:ty, $past:expr, $f:expr;)*) => {
        vectors! { $($name(a, b, _imm, N) {
            let count = b as u64;
            map::<$lane, N>(a, |x| if count < <$lane>::BITS as u64 { $f(x, count as u32) } else { $past(x) })
        };)* }
    };
}
shifts! {
    Psllw: u16, |_| 0, |x: u16, n| x << n;
    Pslld: u32, |_| 0, |x: u32, n| x << n;
    Psllq: u64, |_| 0, |x: u64, n| x << n;
    Psrlw: u16, |_| 0, |x: u16, n| x >> n;
    Psrld: u32, |_| 0, |x: u32, n| x >> n;
    Psrlq: u64, |_| 0, |x: u64, n| x >> n;
    Psraw: i16, |x| x >> 15, |x: i16, n| x >> n;
    Psrad: i32, |x| x >> 31, |x: i32, n| x >> n;
}
vectors! {
    Pslldq(a, b, _imm, N) if b < 16 { a << (b as u32 * 8) } else { 0 };
    Psrldq(a, b, _imm, N) if b < 16 { a >> (b as u32 * 8) } else { 0 };
}
