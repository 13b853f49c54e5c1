//! IEEE 754 arithmetic in software, for every format and rounding the processor has.
//!
//! SSE and x87 share it; native floating point stands in only where the result is known to be the same. What always
//! holds: a [`Float`] that is finite is normalised, so formats and denormals matter only where values are read, rounded
//! ([`Env::round`]) and written.

mod arithmetic;
mod format;
mod integer;

pub(crate) use arithmetic::partial_remainder;
pub(crate) use format::{F16, F32, F64, F80, Format, Packed, pack, pack80, unpack, unpack80};

/// Invalid operation.
pub(crate) const INVALID: u8 = 1;
/// Denormal operand.
pub(crate) const DENORMAL: u8 = 2;
/// Division of a finite number by zero.
pub(crate) const ZERO_DIVIDE: u8 = 4;
/// Overflow.
pub(crate) const OVERFLOW: u8 = 8;
/// Underflow.
pub(crate) const UNDERFLOW: u8 = 16;
/// The result was rounded.
pub(crate) const INEXACT: u8 = 32;
/// Those found before there is a result.
pub(crate) const BEFORE: u8 = INVALID | DENORMAL | ZERO_DIVIDE;

/// By how much x87 moves the exponent of a result that over- or underflows with the exception unmasked.
const EXPONENT_ADJUSTMENT: i32 = 24576;

/// Rounding as RC encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Down,
    Up,
    Zero,
}

impl Rounding {
    pub(crate) fn from_bits(rc: u32) -> Self {
        match rc & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Zero,
    Finite,
    Infinity,
    Nan,
}

/// A value of any format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Float {
    pub(crate) class: Class,
    pub(crate) sign: bool,
    /// Finite: the value is `significand / 2^63 * 2^exponent`.
    pub(crate) exponent: i32,
    /// Finite: bit 63 is set. NaN: bit 63 is set, bit 62 if quiet, the payload below.
    pub(crate) significand: u64,
    /// It was stored as a denormal (or, on x87, a pseudo-denormal).
    pub(crate) denormal: bool,
}

const QUIET: u64 = 1 << 62;

impl Float {
    pub(crate) const fn zero(sign: bool) -> Self {
        Self { class: Class::Zero, sign, exponent: 0, significand: 0, denormal: false }
    }
    pub(crate) const fn infinity(sign: bool) -> Self {
        Self { class: Class::Infinity, sign, exponent: 0, significand: 1 << 63, denormal: false }
    }
    /// The NaN of invalid operations.
    pub(crate) const INDEFINITE: Self =
        Self { class: Class::Nan, sign: true, exponent: 0, significand: 3 << 62, denormal: false };

    pub(crate) const fn finite(sign: bool, exponent: i32, significand: u64) -> Self {
        Self { class: Class::Finite, sign, exponent, significand, denormal: false }
    }
    pub(crate) fn is_nan(&self) -> bool {
        self.class == Class::Nan
    }
    pub(crate) fn is_signaling(&self) -> bool {
        self.is_nan() && self.significand & QUIET == 0
    }
    pub(crate) fn is_zero(&self) -> bool {
        self.class == Class::Zero
    }
    pub(crate) fn quieted(self) -> Self {
        Self { significand: self.significand | QUIET, ..self }
    }
    pub(crate) fn negated(self) -> Self {
        Self { sign: !self.sign, ..self }
    }
}

/// How to round, and what happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Env {
    pub(crate) rounding: Rounding,
    /// Exceptions that do not stop the program.
    pub(crate) masked: u8,
    /// Exceptions so far.
    pub(crate) raised: u8,
    /// Tiny results become zero.
    pub(crate) flush: bool,
    /// Denormal operands count as zero.
    pub(crate) denormals_are_zero: bool,
    /// x87 rules for NaNs and unmasked exceptions.
    pub(crate) x87: bool,
    /// The last rounding went away from zero.
    pub(crate) rounded_up: bool,
}

impl Env {
    pub(crate) fn raise(&mut self, exceptions: u8) {
        self.raised |= exceptions;
    }

    pub(crate) fn invalid(&mut self) -> Float {
        self.raise(INVALID);
        Float::INDEFINITE
    }

    /// Whether cutting off `rest`, of which `half` is the top bit, rounds away from zero.
    fn rounds_up(&self, sign: bool, odd: bool, rest: u128, half: u128) -> bool {
        match self.rounding {
            _ if rest == 0 => false,
            Rounding::Nearest => rest > half || rest == half && odd,
            Rounding::Down => sign,
            Rounding::Up => !sign,
            Rounding::Zero => false,
        }
    }

    /// `significand` cut to its top `keep` bits and rounded; also the carry out of the top and whether it is inexact.
    fn cut(&mut self, sign: bool, significand: u128, keep: i32) -> (u128, bool, bool) {
        if keep < 0 {
            // Less than half of the last place.
            let up = self.rounds_up(sign, false, 1, 2);
            return (0, up, true);
        }
        if keep == 0 {
            let up = self.rounds_up(sign, false, significand, 1 << 127);
            return (0, up, true);
        }
        let drop = 128 - keep as u32;
        let unit = 1u128 << drop;
        let rest = significand & (unit - 1);
        let kept = significand & !(unit - 1);
        let up = self.rounds_up(sign, kept & unit != 0, rest, unit >> 1);
        let (rounded, carry) = if up { kept.overflowing_add(unit) } else { (kept, false) };
        (rounded, carry, rest != 0)
    }

    /// Rounds `significand / 2^127 * 2^exponent` (bit 127 set; what was cut off below must show in bit 0) to `format`.
    pub(crate) fn round(&mut self, format: Format, sign: bool, exponent: i32, significand: u128) -> Float {
        let precision = format.precision as i32;
        let (rounded, carry, inexact) = self.cut(sign, significand, precision);
        let up = carry || rounded > significand;
        let tiny = exponent + i32::from(carry) < format.least;
        if tiny && self.masked & UNDERFLOW != 0 {
            return self.round_tiny(format, sign, exponent, significand);
        }
        if inexact {
            self.raise(INEXACT);
        }
        self.rounded_up = up;
        let mut exponent = exponent + i32::from(carry);
        let significand = if carry { 1 << 63 } else { (rounded >> 64) as u64 };
        if tiny {
            self.raise(UNDERFLOW);
            exponent += EXPONENT_ADJUSTMENT;
        } else if exponent > format.greatest {
            self.raise(OVERFLOW);
            if self.masked & OVERFLOW != 0 {
                return self.overflowed(format, sign);
            }
            exponent -= EXPONENT_ADJUSTMENT;
        }
        // Even moved it may not fit, after a scaling.
        if self.x87 && exponent < format.least {
            self.raise(INEXACT);
            return Float::zero(sign);
        }
        if self.x87 && exponent > format.greatest {
            self.raise(INEXACT);
            self.rounded_up = true;
            return Float::infinity(sign);
        }
        Float::finite(sign, exponent, significand)
    }

    /// A masked underflow: a denormal, or zero.
    fn round_tiny(&mut self, format: Format, sign: bool, exponent: i32, significand: u128) -> Float {
        if self.flush {
            self.raise(UNDERFLOW | INEXACT);
            return Float::zero(sign);
        }
        let keep = format.precision as i32 - (format.least - exponent);
        let (rounded, carry, inexact) = self.cut(sign, significand, keep);
        self.rounded_up = carry || rounded > significand;
        if inexact {
            self.raise(UNDERFLOW | INEXACT);
        }
        if carry {
            // Up to the next power of two: that of the lowest kept bit if nothing was kept.
            let exponent = if keep <= 0 { format.least - format.precision as i32 + 1 } else { exponent + 1 };
            return Float::finite(sign, exponent, 1 << 63);
        }
        match rounded {
            0 => Float::zero(sign),
            _ => Float::finite(sign, exponent, (rounded >> 64) as u64),
        }
    }

    fn overflowed(&mut self, format: Format, sign: bool) -> Float {
        self.raise(INEXACT);
        let to_infinity = match self.rounding {
            Rounding::Nearest => true,
            Rounding::Down => sign,
            Rounding::Up => !sign,
            Rounding::Zero => false,
        };
        self.rounded_up = to_infinity;
        if to_infinity {
            return Float::infinity(sign);
        }
        Float::finite(sign, format.greatest, u64::MAX << (64 - format.precision))
    }

    /// The same, from a significand that need not be normalised. Zero gives zero of the given sign.
    pub(crate) fn normalise(&mut self, format: Format, sign: bool, exponent: i32, significand: u128) -> Float {
        if significand == 0 {
            return Float::zero(sign);
        }
        let shift = significand.leading_zeros();
        self.round(format, sign, exponent - shift as i32, significand << shift)
    }

    /// The result of an operation with a NaN among its operands, if there is one.
    pub(crate) fn nan(&mut self, a: Float, b: Float) -> Option<Float> {
        if !a.is_nan() && !b.is_nan() {
            return None;
        }
        if a.is_signaling() || b.is_signaling() {
            self.raise(INVALID);
        }
        let first = match (a.is_nan(), b.is_nan()) {
            (true, true) if self.x87 => self.larger_nan(a, b),
            (true, _) => a,
            _ => b,
        };
        Some(first.quieted())
    }

    /// The same of three operands, of which the first two are multiplied.
    pub(crate) fn nan_of_three(&mut self, a: Float, b: Float, c: Float) -> Option<Float> {
        let first = [a, b, c].into_iter().find(Float::is_nan)?;
        if [a, b, c].iter().any(Float::is_signaling) {
            self.raise(INVALID);
        }
        Some(first.quieted())
    }

    /// x87 takes the NaN with the larger significand, a quiet one before a signaling one, the positive one of two equals.
    fn larger_nan(&self, a: Float, b: Float) -> Float {
        match (a.is_signaling(), b.is_signaling()) {
            (true, false) => b,
            (false, true) => a,
            _ if a.significand != b.significand => {
                if a.significand > b.significand {
                    a
                } else {
                    b
                }
            }
            _ => {
                if a.sign {
                    b
                } else {
                    a
                }
            }
        }
    }

    /// Notes denormal operands of an operation without NaNs.
    pub(crate) fn operands(&mut self, a: Float, b: Float) {
        if a.denormal || b.denormal {
            self.raise(DENORMAL);
        }
    }
}
