//! Arithmetic with about 120 bits, for functions whose results are rounded to 64.
//!
//! What always holds: fixed-point numbers are unsigned and have 126 bits after the point, so they are below 4; a [`Wide`]
//! has bit 127 of its significand set.

use crate::float::{Class, Float};

/// 1.
pub(super) const ONE: u128 = 1 << 126;
/// Half of pi.
pub(super) const HALF_PI: u128 = 0x6487_ed51_10b4_611a_6263_3145_c06e_0e69;
/// The natural logarithm of 2.
pub(super) const LN_2: u128 = 0x2c5c_85fd_f473_de6a_f278_ece6_00fc_bdac;
/// Twice the binary logarithm of e.
pub(super) const TWICE_LOG2_E: u128 = 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89;
/// Pi as the processor reduces angles by it: 66 bits, 64 of them after the point.
const PI_66: u128 = 0x3_243f_6a88_85a3_08d3;
/// The angles whose tangents are 0/8 to 8/8.
pub(super) const ARCTANGENTS: [u128; 9] = [
    0x0000_0000_0000_0000_0000_0000_0000_0000,
    0x07f5_6ea6_ab0b_db71_9644_bcc4_f9f4_4478,
    0x0fad_bafc_9640_6eb1_56dc_79ef_5f7a_217e,
    0x16f6_1941_e4de_f08e_7154_6424_5b9f_c890,
    0x1dac_6705_61bb_4f68_adfc_88bd_9787_51a0,
    0x23c0_1757_bdfd_67e6_d720_d785_9971_0dd2,
    0x292f_1f46_4d3d_c249_066a_1fca_915f_6b28,
    0x2e01_4f8a_f08c_679c_f2cb_6954_8429_110f,
    0x3243_f6a8_885a_308d_3131_98a2_e037_0734,
];

/// The upper half of a product of 256 bits.
fn multiply_high(a: u128, b: u128) -> u128 {
    const LOW: u128 = u64::MAX as u128;
    let (ah, al, bh, bl) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let (mid1, mid2) = (ah * bl, al * bh);
    let carry = (((al * bl) >> 64) + (mid1 & LOW) + (mid2 & LOW)) >> 64;
    ah * bh + (mid1 >> 64) + (mid2 >> 64) + carry
}

/// A product of fixed-point numbers, itself below 4.
pub(super) fn product(a: u128, b: u128) -> u128 {
    multiply_high(a, b) << 2
}

/// 1 ± t/d1 · (1 ± t/d2 · (…)), the divisors given by `divisor` of 1 to `terms`.
pub(super) fn nested(t: u128, minus: bool, terms: u128, divisor: impl Fn(u128) -> u128) -> u128 {
    (1..=terms).rev().fold(ONE, |inner, k| {
        let term = product(t, inner) / divisor(k);
        if minus { ONE - term } else { ONE + term }
    })
}

/// 1 ± s/3 + s²/5 ± …
pub(super) fn odd_reciprocals(s: u128, minus: bool) -> u128 {
    let (mut sum, mut power, mut k) = (0u128, ONE, 0);
    while power != 0 {
        let term = power / (2 * k + 1);
        sum = if minus && k % 2 == 1 { sum - term } else { sum + term };
        power = product(power, s);
        k += 1;
    }
    sum
}

/// `significand / 2^127 * 2^exponent`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide {
    pub(super) sign: bool,
    pub(super) exponent: i32,
    pub(super) significand: u128,
}

impl Wide {
    /// A finite number.
    pub(super) fn new(value: Float) -> Self {
        debug_assert_eq!(value.class, Class::Finite);
        Self { sign: value.sign, exponent: value.exponent, significand: u128::from(value.significand) << 64 }
    }

    /// From fixed point; `None` is zero.
    pub(super) fn from_fixed(value: u128) -> Option<Self> {
        let shift = value.leading_zeros();
        (value != 0).then(|| Self { sign: false, exponent: 1 - shift as i32, significand: value << shift })
    }

    /// The magnitude in fixed point; it must be below 4.
    pub(super) fn fixed(self) -> u128 {
        self.significand.checked_shr((1 - self.exponent) as u32).unwrap_or(0)
    }

    pub(super) fn times(self, other: Self) -> Self {
        let high = multiply_high(self.significand, other.significand);
        let shift = high.leading_zeros();
        Self {
            sign: self.sign != other.sign,
            exponent: self.exponent + other.exponent + 1 - shift as i32,
            significand: high << shift | u128::from(shift == 1),
        }
    }

    pub(super) fn times_fixed(self, factor: u128) -> Self {
        match Self::from_fixed(factor) {
            Some(factor) => self.times(factor),
            None => self,
        }
    }

    pub(super) fn over(self, other: Self) -> Self {
        let (mut rest, divisor) = (self.significand, other.significand);
        let mut exponent = self.exponent - other.exponent;
        let mut carry = false;
        if rest < divisor {
            exponent -= 1;
            carry = rest >> 127 != 0;
            rest <<= 1;
        }
        let mut quotient = 0u128;
        for _ in 0..128 {
            let fits = carry || rest >= divisor;
            if fits {
                rest = rest.wrapping_sub(divisor);
            }
            quotient = quotient << 1 | u128::from(fits);
            carry = rest >> 127 != 0;
            rest <<= 1;
        }
        Self { sign: self.sign != other.sign, exponent, significand: quotient }
    }

    /// The sum; `None` is zero.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let larger = |v: Self| (v.exponent, v.significand);
        let (a, b) = if larger(self) >= larger(other) { (self, other) } else { (other, self) };
        let low = b.significand.checked_shr((a.exponent - b.exponent) as u32).unwrap_or(0);
        if a.sign == b.sign {
            let (sum, carry) = a.significand.overflowing_add(low);
            return Some(match carry {
                true => Self { exponent: a.exponent + 1, significand: sum >> 1 | 1 << 127, ..a },
                false => Self { significand: sum, ..a },
            });
        }
        let left = a.significand - low;
        let shift = left.leading_zeros();
        (left != 0).then(|| Self { exponent: a.exponent - shift as i32, significand: left << shift, ..a })
    }
}

/// The angle `x` (finite, below 2^63) in quarter turns: how many, modulo 4, and the rest in radians from -pi/4 to pi/4,
/// `None` if that is zero. Pi is [`PI_66`], so what is left of a large angle is what the processor finds, not the truth.
pub(super) fn quarter_turns(x: Float) -> (u8, Option<Wide>) {
    if x.exponent < -1 {
        return (0, Some(Wide::new(x)));
    }
    // In units of 2^-65, of which pi/2 has PI_66: a long division, bit by bit.
    let (mut rest, mut turns) = (0u128, 0u8);
    for step in 0..64 + x.exponent + 2 {
        let bit = if step < 64 { x.significand >> (63 - step) & 1 } else { 0 };
        rest = rest << 1 | u128::from(bit);
        turns <<= 1;
        if rest >= PI_66 {
            rest -= PI_66;
            turns |= 1;
        }
    }
    let up = 2 * rest > PI_66;
    if up {
        rest = PI_66 - rest;
        turns = turns.wrapping_add(1);
    }
    let turns = if x.sign { turns.wrapping_neg() } else { turns } & 3;
    let shift = rest.leading_zeros();
    let wide = || Wide { sign: up != x.sign, exponent: 127 - 65 - shift as i32, significand: rest << shift };
    (turns, (rest != 0).then(wide))
}
