//! Operand sizes as types, so that one function serves all four and each compiles to its own code.

/// An integer operand of 8, 16, 32 or 64 bits. Values travel as zero-extended `u64`.
pub(crate) trait Width: Copy + 'static {
    /// Its size in bits.
    const BITS: u32;
    /// Its size in bytes.
    const BYTES: u64 = Self::BITS as u64 / 8;
    /// All its bits set.
    const MASK: u64 = u64::MAX >> (64 - Self::BITS);
    /// Its top bit.
    const SIGN: u64 = 1 << (Self::BITS - 1);
    /// The low bits of `value`.
    fn truncate(value: u64) -> Self;
    /// The value, zero-extended.
    fn extend(self) -> u64;
    /// `value`'s low bits, sign-extended.
    fn sign_extend(value: u64) -> u64;
}

macro_rules! width {
    ($($unsigned:ty, $signed:ty;)*) => {$(
        impl Width for $unsigned {
            const BITS: u32 = <$unsigned>::BITS;
            #[inline(always)]
            fn truncate(value: u64) -> Self {
                value as $unsigned
            }
            #[inline(always)]
            fn extend(self) -> u64 {
                u64::from(self)
            }
            #[inline(always)]
            fn sign_extend(value: u64) -> u64 {
                i64::from(value as $signed) as u64
            }
        }
    )*};
}
width!(u8, i8; u16, i16; u32, i32; u64, i64;);

/// Anything that can be read from and written to guest memory as it is.
///
/// # Safety
/// Every bit pattern is a value and there is no padding.
pub(crate) unsafe trait Plain: Copy + 'static {}
// SAFETY: integers have neither invalid values nor padding.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for u128 {}
// SAFETY: as above.
unsafe impl Plain for [u128; 2] {}
