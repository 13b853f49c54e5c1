//! AES-NI, PCLMULQDQ and SHA-NI (FIPS 197, FIPS 180-4; Intel SDM volume 2).
//!
//! A state of AES is four columns of four bytes, column 0 in the lowest 32 bits.

use super::Vector;
use super::arithmetic::vectors;
use super::lanes::{build, lane};
use crate::core::Core;
use crate::op::{Flow, Op};

/// A product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
const fn times(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 };
        b >>= 1;
    }
    product
}

/// The substitution of bytes: the inverse in GF(2^8), then an affine map.
const SBOX: [u8; 256] = {
    let mut table = [0; 256];
    // Powers of the generator 3 and of its inverse 0xf6 meet every number but 0 and its inverse.
    let (mut power, mut inverse) = (1u8, 1u8);
    let mut i = 0;
    while i < 255 {
        let spread = inverse.rotate_left(1) ^ inverse.rotate_left(2) ^ inverse.rotate_left(3) ^ inverse.rotate_left(4);
        table[power as usize] = inverse ^ spread ^ 0x63;
        power = times(power, 3);
        inverse = times(inverse, 0xf6);
        i += 1;
    }
    table[0] = 0x63;
    table
};

const INVERSE_SBOX: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[SBOX[i] as usize] = i as u8;
        i += 1;
    }
    table
};

/// What one byte of a column contributes to the mixed column, substituted by `sbox` first: the matrix's first column.
const fn mixing(sbox: &[u8; 256], matrix: [u8; 4]) -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let s = sbox[i];
        let [a, b, c, d] = matrix;
        table[i] = u32::from_le_bytes([times(s, a), times(s, b), times(s, c), times(s, d)]);
        i += 1;
    }
    table
}

const IDENTITY: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = i as u8;
        i += 1;
    }
    table
};

static ENCRYPTION: [u32; 256] = mixing(&SBOX, [2, 1, 1, 3]);
static DECRYPTION: [u32; 256] = mixing(&INVERSE_SBOX, [14, 9, 13, 11]);
static UNMIXING: [u32; 256] = mixing(&IDENTITY, [14, 9, 13, 11]);

/// A round's middle: each column from bytes of four columns, `step` columns apart, by way of `table`.
#[inline(always)]
fn mixed(state: u128, step: usize, table: &[u32; 256]) -> u128 {
    let bytes = state.to_le_bytes();
    build::<u32, 16>(|column| {
        let part = |row: usize| table[usize::from(bytes[4 * ((column + step * row) & 3) + row])];
        part(0) ^ part(1).rotate_left(8) ^ part(2).rotate_left(16) ^ part(3).rotate_left(24)
    })
}

/// The last round's: bytes are only substituted and moved.
#[inline(always)]
fn substituted(state: u128, step: usize, sbox: &[u8; 256]) -> u128 {
    let bytes = state.to_le_bytes();
    build::<u8, 16>(|i| sbox[usize::from(bytes[4 * ((i / 4 + step * (i % 4)) & 3) + i % 4])])
}

fn substituted_word(word: u32) -> u32 {
    u32::from_le_bytes(word.to_le_bytes().map(|b| SBOX[usize::from(b)]))
}

/// The low half of a product of polynomials over GF(2). Bits are taken apart, so that carries of an integer product have
/// room until they are masked away.
#[inline(always)]
fn carryless_low(a: u64, b: u64) -> u64 {
    const APART: u64 = 0x1111_1111_1111_1111;
    let part = |v: u64, i: usize| v & APART << i;
    let mut product = 0;
    for i in 0..4 {
        let sum = (0..4).fold(0, |sum, j| sum ^ part(a, j).wrapping_mul(part(b, (4 + i - j) % 4)));
        product |= part(sum, i);
    }
    product
}

/// The whole product: the high half is the low one of the numbers read backwards.
fn carryless(a: u64, b: u64) -> u128 {
    let high = carryless_low(a.reverse_bits(), b.reverse_bits()).reverse_bits() >> 1;
    u128::from(high) << 64 | u128::from(carryless_low(a, b))
}

vectors! {
    Aesenc(a, b, _imm, N) mixed(a, 1, &ENCRYPTION) ^ b;
    Aesenclast(a, b, _imm, N) substituted(a, 1, &SBOX) ^ b;
    Aesdec(a, b, _imm, N) mixed(a, 3, &DECRYPTION) ^ b;
    Aesdeclast(a, b, _imm, N) substituted(a, 3, &INVERSE_SBOX) ^ b;
    Aesimc(_a, b, _imm, N) mixed(b, 0, &UNMIXING);
    Aeskeygenassist(_a, b, imm, N) {
        let (first, third) = (substituted_word(lane(b, 1)), substituted_word(lane(b, 3)));
        let constant = u32::from(imm);
        let lanes = [first, first.rotate_right(8) ^ constant, third, third.rotate_right(8) ^ constant];
        build::<u32, 16>(|i| lanes[i])
    };
    Pclmulqdq(a, b, imm, N) carryless(lane(a, usize::from(imm & 1)), lane(b, usize::from(imm >> 4 & 1)));
    Sha1nexte(a, b, _imm, N) {
        let e = lane::<u32>(a, 3).rotate_left(30);
        (u128::from(lane::<u32>(b, 3).wrapping_add(e)) << 96) | b & (u128::MAX >> 32)
    };
    // Lane 3 is the first word in SHA-1's instructions.
    Sha1msg1(a, b, _imm, N) a ^ (a << 64 | b >> 64);
    Sha1msg2(a, b, _imm, N) {
        let w = |i: usize| lane::<u32>(b, i);
        let x = |i: usize| lane::<u32>(a, i);
        let first = (x(3) ^ w(2)).rotate_left(1);
        let lanes = [(x(0) ^ first).rotate_left(1), (x(1) ^ w(0)).rotate_left(1), (x(2) ^ w(1)).rotate_left(1), first];
        build::<u32, 16>(|i| lanes[i])
    };
    Sha1rnds4(a, b, imm, N) sha1_rounds(a, b, imm & 3);
    Sha256msg1(a, b, _imm, N) {
        let word = |i: usize| if i < 4 { lane::<u32>(a, i) } else { lane::<u32>(b, 0) };
        let sigma = |w: u32| w.rotate_right(7) ^ w.rotate_right(18) ^ w >> 3;
        build::<u32, 16>(|i| word(i).wrapping_add(sigma(word(i + 1))))
    };
    Sha256msg2(a, b, _imm, N) {
        let sigma = |w: u32| w.rotate_right(17) ^ w.rotate_right(19) ^ w >> 10;
        let mut w = [lane::<u32>(b, 2), lane::<u32>(b, 3), 0, 0, 0, 0];
        for i in 0..4 {
            w[i + 2] = lane::<u32>(a, i).wrapping_add(sigma(w[i]));
        }
        build::<u32, 16>(|i| w[i + 2])
    };
}

/// Four rounds of SHA-1 on A to D, with E added to the first word already; `which` chooses function and constant.
fn sha1_rounds(abcd: u128, words: u128, which: u8) -> u128 {
    let [mut a, mut b, mut c, mut d] = [3, 2, 1, 0].map(|i| lane::<u32>(abcd, i));
    let mut e = 0u32;
    for i in [3, 2, 1, 0] {
        let (f, k) = match which {
            0 => (b & c ^ !b & d, 0x5a82_7999),
            1 => (b ^ c ^ d, 0x6ed9_eba1),
            2 => (b & c ^ b & d ^ c & d, 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6u32),
        };
        let sum = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(lane(words, i));
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, sum);
    }
    let lanes = [d, c, b, a];
    build::<u32, 16>(|i| lanes[i])
}

/// Two rounds of SHA-256: C, D, G, H in one vector, A, B, E, F in the other, two words with their constants in the third.
fn sha256_rounds(cdgh: u128, abef: u128, words: u128) -> u128 {
    let [mut h, mut g, mut d, mut c] = [0, 1, 2, 3].map(|i| lane::<u32>(cdgh, i));
    let [mut f, mut e, mut b, mut a] = [0, 1, 2, 3].map(|i| lane::<u32>(abef, i));
    for i in 0..2 {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let first = h.wrapping_add(s1).wrapping_add(e & f ^ !e & g).wrapping_add(lane(words, i));
        let second = s0.wrapping_add(a & b ^ a & c ^ b & c);
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(first), c, b, a, first.wrapping_add(second));
    }
    let lanes = [f, e, b, a];
    build::<u32, 16>(|i| lanes[i])
}

/// `SHA256RNDS2` for translated code.
pub(crate) extern "C" fn sha256_rounds_pure(operands: *mut [u128; 3], _: u32) {
    // SAFETY: as for any [`super::Pure`].
    let operands = unsafe { &mut *operands };
    operands[0] = sha256_rounds(operands[0], operands[1], operands[2]);
}

/// `SHA256RNDS2` between registers; the words are in XMM0.
pub(crate) fn sha256_rounds_reg(core: &mut Core, op: &Op) -> Flow {
    let value = sha256_rounds(core.xmm(op.dst), core.xmm(op.src), core.xmm(0));
    core.set_xmm(op.dst, value);
    Ok(())
}

/// The same from memory.
pub(crate) fn sha256_rounds_mem(core: &mut Core, op: &Op) -> Flow {
    let b = core.load_narrow(op)?;
    let value = sha256_rounds(core.xmm(op.dst), b, core.xmm(0));
    core.set_xmm(op.dst, value);
    Ok(())
}
