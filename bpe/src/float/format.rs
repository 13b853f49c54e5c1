//! The formats, read and written.

use super::{Class, Env, Float};

/// What numbers a format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Bits of a significand.
    pub(crate) precision: u32,
    /// Exponent of the least normal number.
    pub(crate) least: i32,
    /// Exponent of the greatest.
    pub(crate) greatest: i32,
}

pub(crate) const F16: Format = Format { precision: 11, least: -14, greatest: 15 };
pub(crate) const F32: Format = Format { precision: 24, least: -126, greatest: 127 };
pub(crate) const F64: Format = Format { precision: 53, least: -1022, greatest: 1023 };
pub(crate) const F80: Format = Format { precision: 64, least: -16382, greatest: 16383 };

/// The bits of a half-, single- or double-precision number.
pub(crate) trait Packed: Copy + PartialEq + 'static {
    const FORMAT: Format;
    /// Bits of the stored fraction.
    const FRACTION: u32 = Self::FORMAT.precision - 1;
    const BIAS: i32 = Self::FORMAT.greatest;
    const BITS: u32;
    fn bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
}

impl Packed for u16 {
    const FORMAT: Format = F16;
    const BITS: u32 = 16;
    fn bits(self) -> u64 {
        self.into()
    }
    fn from_bits(bits: u64) -> Self {
        bits as u16
    }
}

impl Packed for u32 {
    const FORMAT: Format = F32;
    const BITS: u32 = 32;
    fn bits(self) -> u64 {
        self.into()
    }
    fn from_bits(bits: u64) -> Self {
        bits as u32
    }
}

impl Packed for u64 {
    const FORMAT: Format = F64;
    const BITS: u32 = 64;
    fn bits(self) -> u64 {
        self
    }
    fn from_bits(bits: u64) -> Self {
        bits
    }
}

/// Reads a number. Denormals become zeros where `env` says so.
pub(crate) fn unpack<P: Packed>(env: &Env, packed: P) -> Float {
    let bits = packed.bits();
    let sign = bits >> (P::BITS - 1) != 0;
    let fraction = bits & ((1 << P::FRACTION) - 1);
    let biased = (bits >> P::FRACTION) as i32 & (2 * P::BIAS + 1);
    let aligned = fraction << (63 - P::FRACTION);
    match biased {
        0 if fraction == 0 || env.denormals_are_zero => Float::zero(sign),
        0 => {
            let shift = aligned.leading_zeros();
            let exponent = P::FORMAT.least - shift as i32;
            Float { denormal: true, ..Float::finite(sign, exponent, aligned << shift) }
        }
        _ if biased == 2 * P::BIAS + 1 => {
            let class = if fraction == 0 { Class::Infinity } else { Class::Nan };
            Float { class, ..Float::finite(sign, 0, 1 << 63 | aligned) }
        }
        _ => Float::finite(sign, biased - P::BIAS, 1 << 63 | aligned),
    }
}

/// Writes a number that was rounded to the format.
pub(crate) fn pack<P: Packed>(value: Float) -> P {
    let top = (2 * P::BIAS + 1) as u64;
    let fraction_mask = (1u64 << P::FRACTION) - 1;
    let shift = 63 - P::FRACTION;
    let (biased, fraction) = match value.class {
        Class::Zero => (0, 0),
        Class::Infinity => (top, 0),
        Class::Nan => (top, value.significand >> shift),
        Class::Finite if value.exponent < P::FORMAT.least => {
            let more = (P::FORMAT.least - value.exponent) as u32;
            (0, value.significand.checked_shr(shift + more).unwrap_or(0))
        }
        Class::Finite => ((value.exponent + P::BIAS) as u64 & top, value.significand >> shift),
    };
    P::from_bits(u64::from(value.sign) << (P::BITS - 1) | biased << P::FRACTION | fraction & fraction_mask)
}

/// Reads an 80-bit number. `None` for the encodings no processor has made since the 80287, which are invalid.
pub(crate) fn unpack80(significand: u64, sign_exponent: u16) -> Option<Float> {
    let sign = sign_exponent & 0x8000 != 0;
    let biased = i32::from(sign_exponent & 0x7fff);
    let integer_bit = significand >> 63 != 0;
    Some(match biased {
        0 if significand == 0 => Float::zero(sign),
        0 => {
            let shift = significand.leading_zeros();
            let value = Float::finite(sign, F80.least - shift as i32, significand << shift);
            Float { denormal: true, ..value }
        }
        _ if !integer_bit => return None,
        0x7fff => {
            let class = if significand << 1 == 0 { Class::Infinity } else { Class::Nan };
            Float { class, ..Float::finite(sign, 0, significand) }
        }
        _ => Float::finite(sign, biased - 16383, significand),
    })
}

/// Writes an 80-bit number: significand, then sign and exponent.
pub(crate) fn pack80(value: Float) -> (u64, u16) {
    let sign = u16::from(value.sign) << 15;
    match value.class {
        Class::Zero => (0, sign),
        Class::Infinity | Class::Nan => (value.significand, sign | 0x7fff),
        Class::Finite if value.exponent < F80.least => {
            let shift = (F80.least - value.exponent) as u32;
            (value.significand.checked_shr(shift).unwrap_or(0), sign)
        }
        Class::Finite => (value.significand, sign | (value.exponent + 16383) as u16 & 0x7fff),
    }
}
