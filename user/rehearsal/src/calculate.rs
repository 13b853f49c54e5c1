//! Numbers: whole ones of every width, floating-point ones alone and in rows, calls and jumps that are known only as they
//! are made.

use std::hint::black_box;

/// All of it.
pub fn everything(round: u32) {
    let seed = black_box(u64::from(round));
    black_box(integers(seed));
    black_box(digest(seed));
    black_box(sieve(4000));
    black_box(matrices(seed as f64));
    black_box(orbits(seed as f32));
    black_box(machine(seed));
    black_box(Tree::grow(9, seed).sum(&[&|n| n + 1, &|n| n * 3, &|n| n ^ seed]));
}

/// The next of a row of numbers without a pattern.
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state ^ *state >> 29).rotate_left(17)
}

fn integers(seed: u64) -> u64 {
    let mut state = seed;
    (0..1500).fold(seed, |sum, _| {
        let (a, b) = (next(&mut state), next(&mut state) | 1);
        let wide = u128::from(a) * u128::from(b) + u128::from(sum);
        let narrow = (a as u32 / (b as u32 | 1)) as u16 as i8;
        let bits = a.count_ones() + a.leading_zeros() + b.trailing_zeros();
        let signed = (a as i64 >> (b & 31)) % (b as i32 | 1) as i64;
        let clamped = (a as i16).saturating_add(b as i16).checked_mul(3).unwrap_or(i16::from(narrow));
        (wide >> 64) as u64 ^ a.swap_bytes() ^ sum.rotate_right(bits) ^ signed as u64 ^ clamped as u64 ^ (a / b)
    })
}

/// Rounds as a hash function has them.
fn digest(seed: u64) -> u32 {
    let mut words = [0x6a09_e667u32, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, seed as u32, 0x9b05_688c, 0x1f83_d9ab, 7];
    for round in 0..1500u32 {
        let [a, b, c, d, e, f, g, h] = words;
        let choice = (e & f) ^ (!e & g);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        let first = h
            .wrapping_add(e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25))
            .wrapping_add(choice)
            .wrapping_add(round.wrapping_mul(0x9e37_79b9));
        let second = (a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22)).wrapping_add(majority);
        words = [first.wrapping_add(second), a, b, c, d.wrapping_add(first), e, f, g];
    }
    words.iter().fold(0, |sum, word| sum ^ word)
}

fn sieve(below: usize) -> usize {
    let mut is_prime = vec![true; below];
    for n in 2..below {
        if is_prime[n] {
            (n * n..below).step_by(n).for_each(|multiple| is_prime[multiple] = false);
        }
    }
    is_prime.iter().filter(|&&is| is).count()
}

const SIDE: usize = 20;

fn matrices(seed: f64) -> f64 {
    let make = |step: f64| -> Vec<[f64; SIDE]> {
        (0..SIDE).map(|i| std::array::from_fn(|j| (i as f64 * step + j as f64 + seed).sqrt())).collect()
    };
    let (a, b) = (make(1.5), make(0.25));
    let mut sum = 0.0;
    for row in &a {
        for column in 0..SIDE {
            let product: f64 = row.iter().zip(&b).map(|(x, other)| x * other[column]).sum();
            sum += if product > 100.0 { product.floor() } else { product.max(1.0) };
        }
    }
    sum + (sum as i64 % 1000) as f64
}

/// Bodies that pull at each other.
fn orbits(seed: f32) -> f32 {
    let mut bodies: [([f32; 3], [f32; 3]); 5] =
        std::array::from_fn(|i| ([i as f32 + seed, i as f32 * 0.5, 1.0 / (i as f32 + 1.0)], [0.0; 3]));
    for _ in 0..40 {
        for i in 0..bodies.len() {
            for j in 0..bodies.len() {
                let apart: [f32; 3] = std::array::from_fn(|axis| bodies[j].0[axis] - bodies[i].0[axis]);
                let pull = 0.01 / (apart.iter().map(|d| d * d).sum::<f32>() + 0.1).sqrt().powi(3);
                bodies[i].1.iter_mut().zip(apart).for_each(|(speed, d)| *speed += d * pull);
            }
        }
        for (place, speed) in &mut bodies {
            place.iter_mut().zip(speed).for_each(|(p, s)| *p += *s * 0.01);
        }
    }
    bodies.iter().map(|(place, _)| place[0]).sum()
}

/// A small machine's program: each step is a jump to one of many places.
fn machine(seed: u64) -> u64 {
    let program: Vec<(u8, u64)> = (0..64).map(|i| ((i * 7 % 11) as u8, i % 8)).collect();
    let mut registers = [seed | 1; 8];
    let mut at = 0;
    for _ in 0..6000 {
        let (operation, to) = program[at % program.len()];
        let (from, to) = (registers[(at + 3) % 8], &mut registers[to as usize]);
        at += 1;
        match operation {
            0 => *to = to.wrapping_add(from),
            1 => *to = to.wrapping_sub(from),
            2 => *to = to.wrapping_mul(from | 1),
            3 => *to ^= from >> 3,
            4 => *to |= from << 1,
            5 => *to = to.rotate_left((from & 63) as u32),
            6 if from > *to => at += 1,
            7 if from & 1 == 0 => at += 2,
            8 => *to = u64::from(to.count_ones()),
            9 => *to = !*to,
            _ => *to += 1,
        }
    }
    registers.iter().fold(0, |sum, r| sum ^ r)
}

/// What is built of many small allocations and walked by calling itself.
enum Tree {
    Leaf(u64),
    Fork(Box<Tree>, Box<Tree>),
}

impl Tree {
    fn grow(depth: u32, seed: u64) -> Self {
        match depth {
            0 => Self::Leaf(seed),
            _ => Self::Fork(Box::new(Self::grow(depth - 1, seed * 2)), Box::new(Self::grow(depth - 1, seed * 2 + 1))),
        }
    }

    fn sum(&self, of: &[&dyn Fn(u64) -> u64; 3]) -> u64 {
        match self {
            Self::Leaf(n) => of[(n % 3) as usize](*n),
            Self::Fork(left, right) => left.sum(of).wrapping_add(right.sum(of)),
        }
    }
}
