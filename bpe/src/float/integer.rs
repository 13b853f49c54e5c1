//! To and from integers, and rounding to integral values.

use super::{Class, Env, Float, Format, INEXACT, INVALID};

impl Env {
    /// The number as an integer, rounded; `None` (and invalid) if it is NaN or its magnitude needs more than 64 bits. Also
    /// whether it was rounded: only if the caller accepts the value is that an exception.
    fn integer(&mut self, value: Float) -> Option<(i128, bool)> {
        match value.class {
            Class::Zero => Some((0, false)),
            Class::Infinity | Class::Nan => None,
            Class::Finite if value.exponent > 63 => None,
            Class::Finite => {
                let significand = u128::from(value.significand) << 64;
                let keep = value.exponent + 1;
                let (rounded, carry, inexact) = self.cut(value.sign, significand, keep);
                self.rounded_up = carry || rounded > significand;
                let magnitude = match (keep, carry) {
                    (..=0, carry) => u128::from(carry),
                    (_, true) => 1 << keep,
                    (_, false) => rounded >> (128 - keep),
                };
                let magnitude = magnitude as i128;
                Some((if value.sign { -magnitude } else { magnitude }, inexact))
            }
        }
    }

    /// The number as a signed integer of `bits` bits, rounded; the integer indefinite if it does not fit.
    pub(crate) fn rounded_integer(&mut self, value: Float, bits: u32) -> i64 {
        let limit = 1i128 << (bits - 1);
        match self.integer(value) {
            Some((n, inexact)) if (-limit..limit).contains(&n) => {
                if inexact {
                    self.raise(INEXACT);
                }
                n as i64
            }
            _ => {
                self.raise(INVALID);
                self.rounded_up = false;
                -limit as i64
            }
        }
    }

    /// An integer as a number of `format`.
    pub(crate) fn integral(&mut self, format: Format, n: i64) -> Float {
        self.normalise(format, n < 0, 127, u128::from(n.unsigned_abs()))
    }

    /// The nearest integral value in the direction of rounding, in the same format. A NaN is quieted. Inexact is raised
    /// only if `precise`.
    pub(crate) fn round_to_integral(&mut self, value: Float, precise: bool) -> Float {
        match value.class {
            Class::Nan => return self.nan(value, value).unwrap_or(value),
            Class::Zero | Class::Infinity => return value,
            Class::Finite => self.operands(value, value),
        }
        if value.exponent >= 63 {
            return value;
        }
        let significand = u128::from(value.significand) << 64;
        let (rounded, carry, inexact) = self.cut(value.sign, significand, value.exponent + 1);
        self.rounded_up = carry || rounded > significand;
        if inexact && precise {
            self.raise(INEXACT);
        }
        match (carry, rounded) {
            (true, _) => Float::finite(value.sign, (value.exponent + 1).max(0), 1 << 63),
            (false, 0) => Float::zero(value.sign),
            (false, _) => Float::finite(value.sign, value.exponent, (rounded >> 64) as u64),
        }
    }

    /// The number in `format`: what a store or a conversion does.
    pub(crate) fn convert(&mut self, format: Format, value: Float) -> Float {
        match value.class {
            Class::Nan => self.nan(value, value).unwrap_or(value),
            Class::Zero | Class::Infinity => value,
            Class::Finite => self.normalise(format, value.sign, value.exponent, u128::from(value.significand) << 64),
        }
    }
}
