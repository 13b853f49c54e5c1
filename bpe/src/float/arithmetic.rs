//! Addition, multiplication, division, square root, remainder, comparison.

use core::cmp::Ordering;

use super::{Class, Env, Float, Format, INVALID, Rounding, ZERO_DIVIDE};

/// `value >> shift`, with bit 0 set if anything was lost.
pub(super) fn shift_right_sticky(value: u128, shift: u32) -> u128 {
    match value.checked_shr(shift) {
        Some(shifted) => shifted | u128::from(shifted << shift != value),
        None => u128::from(value != 0),
    }
}

impl Env {
    pub(crate) fn add(&mut self, format: Format, a: Float, b: Float) -> Float {
        if let Some(nan) = self.nan(a, b) {
            return nan;
        }
        match (a.class, b.class) {
            (Class::Infinity, Class::Infinity) if a.sign != b.sign => return self.invalid(),
            (Class::Infinity, _) => {
                self.operands(a, b);
                return Float::infinity(a.sign);
            }
            (_, Class::Infinity) => {
                self.operands(a, b);
                return Float::infinity(b.sign);
            }
            _ => self.operands(a, b),
        }
        self.add_finite_or_zero(format, a, b)
    }

    fn add_finite_or_zero(&mut self, format: Format, a: Float, b: Float) -> Float {
        match (a.class, b.class) {
            (Class::Zero, Class::Zero) if a.sign == b.sign => a,
            (Class::Zero, Class::Zero) => Float::zero(self.rounding == Rounding::Down),
            (Class::Zero, _) => self.normalise(format, b.sign, b.exponent, u128::from(b.significand) << 64),
            (_, Class::Zero) => self.normalise(format, a.sign, a.exponent, u128::from(a.significand) << 64),
            _ => self.add_finite(format, a, b),
        }
    }

    fn add_finite(&mut self, format: Format, a: Float, b: Float) -> Float {
        let (large, small) = match (a.exponent, a.significand).cmp(&(b.exponent, b.significand)) {
            Ordering::Less => (b, a),
            _ => (a, b),
        };
        // One bit on top for the carry.
        let high = u128::from(large.significand) << 63;
        let low = shift_right_sticky(u128::from(small.significand) << 63, (large.exponent - small.exponent) as u32);
        if large.sign == small.sign {
            return self.normalise(format, large.sign, large.exponent + 1, high + low);
        }
        if high == low {
            return Float::zero(self.rounding == Rounding::Down);
        }
        self.normalise(format, large.sign, large.exponent + 1, high - low)
    }

    pub(crate) fn subtract(&mut self, format: Format, a: Float, b: Float) -> Float {
        // The sign of a NaN stays.
        let b = if b.is_nan() { b } else { b.negated() };
        self.add(format, a, b)
    }

    pub(crate) fn multiply(&mut self, format: Format, a: Float, b: Float) -> Float {
        if let Some(nan) = self.nan(a, b) {
            return nan;
        }
        let sign = a.sign != b.sign;
        match (a.class, b.class) {
            (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => return self.invalid(),
            _ => self.operands(a, b),
        }
        match (a.class, b.class) {
            (Class::Infinity, _) | (_, Class::Infinity) => Float::infinity(sign),
            (Class::Zero, _) | (_, Class::Zero) => Float::zero(sign),
            _ => {
                let product = u128::from(a.significand) * u128::from(b.significand);
                self.normalise(format, sign, a.exponent + b.exponent + 1, product)
            }
        }
    }

    /// `a * b + c`, or `- c`, rounded once; with `negates` the product is negated. What there is of each must fit 53 bits.
    pub(crate) fn multiply_add(
        &mut self,
        format: Format,
        [a, b, c]: [Float; 3],
        negates: bool,
        subtracts: bool,
    ) -> Float {
        if let Some(nan) = self.nan_of_three(a, b, c) {
            return nan;
        }
        let sign = (a.sign != b.sign) != negates;
        let c = if subtracts { c.negated() } else { c };
        let infinite = |v: Float| v.class == Class::Infinity;
        let product_is_infinite = infinite(a) || infinite(b);
        if product_is_infinite && (a.is_zero() || b.is_zero() || infinite(c) && c.sign != sign) {
            return self.invalid();
        }
        self.operands(a, b);
        self.operands(c, c);
        match c.class {
            _ if product_is_infinite => Float::infinity(sign),
            Class::Infinity => c,
            _ if a.is_zero() || b.is_zero() => self.add_finite_or_zero(format, Float::zero(sign), c),
            _ => {
                let product = u128::from(a.significand) * u128::from(b.significand);
                self.add_to_product(format, sign, a.exponent + b.exponent + 1, product, c)
            }
        }
    }

    /// `product / 2^127 * 2^exponent + c`, where the product has at most 106 bits, from bit 126 or 127 down.
    fn add_to_product(&mut self, format: Format, sign: bool, exponent: i32, product: u128, c: Float) -> Float {
        if c.is_zero() {
            return self.normalise(format, sign, exponent, product);
        }
        let shift = product.leading_zeros();
        let (product, exponent) = (product << shift, exponent - shift as i32);
        let addend = u128::from(c.significand) << 64;
        let larger = (exponent, product) > (c.exponent, addend);
        let (large, small) = if larger { (product, addend) } else { (addend, product) };
        let (top, top_sign) = if larger { (exponent, sign) } else { (c.exponent, c.sign) };
        // One bit on top for the carry.
        let high = large >> 1;
        let low = shift_right_sticky(small >> 1, exponent.abs_diff(c.exponent));
        if sign == c.sign {
            return self.normalise(format, top_sign, top + 1, high + low);
        }
        if high == low {
            return Float::zero(self.rounding == Rounding::Down);
        }
        self.normalise(format, top_sign, top + 1, high - low)
    }

    pub(crate) fn divide(&mut self, format: Format, a: Float, b: Float) -> Float {
        if let Some(nan) = self.nan(a, b) {
            return nan;
        }
        let sign = a.sign != b.sign;
        match (a.class, b.class) {
            (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => return self.invalid(),
            (Class::Finite, Class::Zero) => {
                // Division by zero is found before the dividend is looked at closely.
                self.raise(ZERO_DIVIDE);
                return Float::infinity(sign);
            }
            _ => self.operands(a, b),
        }
        match (a.class, b.class) {
            (Class::Infinity, _) => Float::infinity(sign),
            (Class::Zero, _) | (_, Class::Infinity) => Float::zero(sign),
            _ => {
                let divisor = u128::from(b.significand);
                let dividend = u128::from(a.significand) << 63;
                let (first, rest) = (dividend / divisor, dividend % divisor);
                let (second, rest) = ((rest << 60) / divisor, (rest << 60) % divisor);
                // The quotient of the significands, of the order of 2^63, and 60 more bits.
                let quotient = first << 60 | second;
                let sticky = quotient << 4 | u128::from(rest != 0);
                self.normalise(format, sign, a.exponent - b.exponent, sticky)
            }
        }
    }

    pub(crate) fn square_root(&mut self, format: Format, a: Float) -> Float {
        if let Some(nan) = self.nan(a, a) {
            return nan;
        }
        if a.is_zero() {
            return a;
        }
        if a.sign {
            return self.invalid();
        }
        self.operands(a, a);
        if a.class == Class::Infinity {
            return a;
        }
        // An even exponent, and a significand in [1, 4) with 126 bits after the point.
        let odd = a.exponent & 1 != 0;
        let radicand = u128::from(a.significand) << if odd { 64 } else { 63 };
        let (root, rest) = root(radicand);
        self.normalise(format, false, (a.exponent - i32::from(odd)) / 2, root << 61 | u128::from(rest))
    }

    /// Compares; `None` when unordered. With `quiet` only signaling NaNs are invalid.
    pub(crate) fn compare(&mut self, a: Float, b: Float, quiet: bool) -> Option<Ordering> {
        if a.is_nan() || b.is_nan() {
            if !quiet || a.is_signaling() || b.is_signaling() {
                self.raise(INVALID);
            }
            return None;
        }
        self.operands(a, b);
        Some(order(a, b))
    }
}

/// The order of two numbers.
pub(crate) fn order(a: Float, b: Float) -> Ordering {
    if a.is_zero() && b.is_zero() {
        return Ordering::Equal;
    }
    let magnitude = |v: Float| match v.class {
        Class::Zero => (i32::MIN, 0),
        Class::Infinity => (i32::MAX, 0),
        _ => (v.exponent, v.significand),
    };
    match (a.sign && !a.is_zero(), b.sign && !b.is_zero()) {
        (false, false) => magnitude(a).cmp(&magnitude(b)),
        (true, true) => magnitude(b).cmp(&magnitude(a)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

/// The square root of `radicand / 2^126`, times 2^66, and whether anything is left over.
fn root(radicand: u128) -> (u128, bool) {
    let mut rest = 0u128;
    let mut root = 0u128;
    // Two bits of the radicand for each of the root, 4 bits past the radicand's end.
    for step in 0..67i32 {
        let shift = 126 - 2 * step;
        let bits = if shift >= 0 { radicand >> shift & 3 } else { 0 };
        rest = rest << 2 | bits;
        let trial = root << 2 | 1;
        root <<= 1;
        if rest >= trial {
            rest -= trial;
            root |= 1;
        }
    }
    (root, rest != 0)
}

/// The remainder of finite, non-zero numbers: with the quotient truncated or, with `nearest`, rounded to nearest even.
/// Also the quotient's low bits, or `None` if the exponents are so far apart that only part of the way was gone.
pub(crate) fn partial_remainder(a: Float, b: Float, nearest: bool) -> (Float, Option<u64>) {
    let distance = a.exponent - b.exponent;
    if distance < if nearest { -1 } else { 0 } {
        return (a, Some(0));
    }
    let divisor = u128::from(b.significand);
    if distance == -1 {
        // Less than the divisor, but maybe more than half of it.
        let dividend = u128::from(a.significand);
        if dividend <= divisor {
            return (a, Some(0));
        }
        return (scaled(!a.sign, b.exponent - 1, divisor * 2 - dividend), Some(1));
    }
    let complete = distance < 64;
    let steps = if complete { distance } else { distance & 31 | 32 };
    let (mut rest, mut quotient) = (u128::from(a.significand), 0u64);
    for step in 0..=steps {
        quotient <<= 1;
        if rest >= divisor {
            rest -= divisor;
            quotient |= 1;
        }
        if step < steps {
            rest <<= 1;
        }
    }
    let mut sign = a.sign;
    if complete && nearest {
        let twice = rest * 2;
        if twice > divisor || twice == divisor && quotient & 1 != 0 {
            rest = divisor - rest;
            sign = !sign;
            quotient = quotient.wrapping_add(1);
        }
    }
    (scaled(sign, b.exponent + distance - steps, rest), complete.then_some(quotient))
}

/// `significand / 2^63 * 2^exponent`, exactly; it has at most 64 significant bits.
fn scaled(sign: bool, exponent: i32, significand: u128) -> Float {
    if significand == 0 {
        return Float::zero(sign);
    }
    let shift = significand.leading_zeros();
    Float::finite(sign, exponent + 64 - shift as i32, (significand << shift >> 64) as u64)
}
