//! Conversions that say what happens to values that do not fit.

/// `value` as a host length; what a 32-bit host cannot count becomes the largest length there is.
pub(crate) fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The low 32 bits: how an `int` argument arrives in a 64-bit register.
#[allow(clippy::cast_possible_truncation)]
pub(crate) const fn low32(value: u64) -> u32 {
    value as u32
}

/// The low 32 bits as a signed number.
pub(crate) const fn low32_signed(value: u64) -> i32 {
    low32(value).cast_signed()
}

/// The low 16 bits.
#[allow(clippy::cast_possible_truncation)]
pub(crate) const fn low16(value: u64) -> u16 {
    value as u16
}

/// The low 8 bits.
#[allow(clippy::cast_possible_truncation)]
pub(crate) const fn low8(value: u64) -> u8 {
    value as u8
}

/// Position in a page: below 4096.
pub(crate) fn in_page(value: u64) -> usize {
    usize::from(low16(value & 0xfff))
}
