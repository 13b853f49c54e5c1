//! Hashes of names, as hash trees are ordered by. The three functions are those of ext3's `dir_index`; whether they take
//! bytes as signed depends on the machine that made the file system, which its superblock says.

use crate::bytes::to_u64;

const DELTA: u32 = 0x9e37_79b9;
const K2: u32 = 0x5a82_7999;
const K3: u32 = 0x6ed9_eba1;
/// The largest hash stands for the end.
const END: u32 = 0x7fff_ffff << 1;

/// A name's hash: by the first, trees are ordered; the second breaks ties of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hash {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// A function and its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher {
    /// 0 legacy, 1 half MD4, 2 TEA.
    pub(crate) version: u8,
    pub(crate) unsigned: bool,
    pub(crate) seed: [u32; 4],
}

impl Hasher {
    pub(crate) fn hash(&self, name: &[u8]) -> Hash {
        let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
        if self.seed.iter().any(|&word| word != 0) {
            state = self.seed;
        }
        let (major, minor) = match self.version {
            0 => (self.legacy(name), 0),
            1 => {
                name.chunks(32)
                    .enumerate()
                    .for_each(|(at, _)| half_md4(&mut state, &self.words::<8>(rest(name, at * 32))));
                (state[1], state[2])
            }
            _ => {
                name.chunks(16).enumerate().for_each(|(at, _)| tea(&mut state, &self.words::<4>(rest(name, at * 16))));
                (state[0], state[1])
            }
        };
        let major = major & !1;
        Hash { major: if major == END { END - 2 } else { major }, minor }
    }

    fn byte(&self, byte: u8) -> u32 {
        if self.unsigned { u32::from(byte) } else { i32::from(byte.cast_signed()).cast_unsigned() }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut before, mut hash) = (0x37ab_e8f9u32, 0x12a3_fe2du32);
        for &byte in name {
            let mut next = before.wrapping_add(hash ^ self.byte(byte).wrapping_mul(7_152_373));
            if next & 0x8000_0000 != 0 {
                next = next.wrapping_sub(0x7fff_ffff);
            }
            before = hash;
            hash = next;
        }
        hash << 1
    }

    /// A part of a name as words, padded with its length.
    fn words<const N: usize>(&self, name: &[u8]) -> [u32; N] {
        let length = crate::bytes::low32(to_u64(name.len()));
        let mut pad = length | (length << 8);
        pad |= pad << 16;
        let mut out = [pad; N];
        for (word, chunk) in out.iter_mut().zip(name.chunks(4)) {
            *word = chunk.iter().fold(pad, |value, &byte| self.byte(byte).wrapping_add(value << 8));
        }
        out
    }
}

fn rest(name: &[u8], from: usize) -> &[u8] {
    name.get(from..).unwrap_or(&[])
}

fn tea(state: &mut [u32; 4], key: &[u32; 4]) {
    let [a, b, c, d] = *key;
    let (mut x, mut y) = (state[0], state[1]);
    let mut sum = 0u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(DELTA);
        x = x.wrapping_add((y << 4).wrapping_add(a) ^ y.wrapping_add(sum) ^ (y >> 5).wrapping_add(b));
        y = y.wrapping_add((x << 4).wrapping_add(c) ^ x.wrapping_add(sum) ^ (x >> 5).wrapping_add(d));
    }
    state[0] = state[0].wrapping_add(x);
    state[1] = state[1].wrapping_add(y);
}

/// MD4 with half its steps: three rounds of eight.
fn half_md4(state: &mut [u32; 4], input: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    let rounds: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), K2, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (|x, y, z| x ^ y ^ z, K3, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, turns) in rounds {
        for (&at, &turn) in order.iter().zip(turns.iter().cycle()) {
            let word = input.get(at).copied().unwrap_or(0).wrapping_add(constant);
            let next = a.wrapping_add(mix(b, c, d)).wrapping_add(word).rotate_left(turn);
            (a, d, c, b) = (d, c, b, next);
        }
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}
