//! The six status flags, kept as the last result and what else is needed to work them out.
//!
//! What always holds: `result` is the last result, sign-extended to 64 bits, and `aux` has the carry out of the result's
//! top bit at bit 63, the carry *into* it at bit 62 (so OF is their difference), AF at bit 3, a correction of SF at bit 0
//! and one of PF at bits 8 to 15. Any combination of the six flags has such a form, so a flag can be read or written at
//! any time, and an instruction pays two stores.

use crate::width::Width;

/// Carry.
pub(crate) const CF: u64 = 1;
/// Parity of the low byte.
pub(crate) const PF: u64 = 1 << 2;
/// Carry out of bit 3.
pub(crate) const AF: u64 = 1 << 4;
/// Zero.
pub(crate) const ZF: u64 = 1 << 6;
/// Sign.
pub(crate) const SF: u64 = 1 << 7;
/// Overflow.
pub(crate) const OF: u64 = 1 << 11;
/// All of the above.
pub(crate) const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

const AUX_CARRY: u64 = 1 << 63;
const AUX_AF: u64 = 1 << 3;

/// The status flags.
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags {
    result: u64,
    aux: u64,
}

impl Flags {
    /// After an addition or subtraction with the vector `carries` of carries (borrows) out of each bit.
    #[inline(always)]
    pub(crate) fn arithmetic<W: Width>(result: u64, carries: u64) -> Self {
        Self { result: W::sign_extend(result), aux: (carries << (64 - W::BITS)) & (3 << 62) | carries & AUX_AF }
    }

    /// After a logical operation: CF, OF and AF clear.
    #[inline(always)]
    pub(crate) fn logic<W: Width>(result: u64) -> Self {
        Self { result: W::sign_extend(result), aux: 0 }
    }

    /// From the result, CF and OF; AF clear. What shifts and multiplications need.
    #[inline(always)]
    pub(crate) fn shifted<W: Width>(result: u64, cf: bool, of: bool) -> Self {
        Self { result: W::sign_extend(result), aux: u64::from(cf) << 63 | u64::from(cf ^ of) << 62 }
    }

    /// The two words they are kept in.
    pub(crate) fn parts(self) -> (u64, u64) {
        (self.result, self.aux)
    }

    /// From these.
    pub(crate) fn from_parts(result: u64, aux: u64) -> Self {
        Self { result, aux }
    }

    #[inline(always)]
    pub(crate) fn cf(self) -> bool {
        self.aux >> 63 != 0
    }
    #[inline(always)]
    pub(crate) fn zf(self) -> bool {
        self.result == 0
    }
    #[inline(always)]
    pub(crate) fn sf(self) -> bool {
        (self.result >> 63) ^ (self.aux & 1) != 0
    }
    #[inline(always)]
    pub(crate) fn of(self) -> bool {
        ((self.aux >> 63) ^ (self.aux >> 62)) & 1 != 0
    }
    #[inline(always)]
    pub(crate) fn pf(self) -> bool {
        ((self.result ^ (self.aux >> 8)) as u8).count_ones() & 1 == 0
    }
    pub(crate) fn af(self) -> bool {
        self.aux & AUX_AF != 0
    }

    /// CF alone, as `INC` leaves it and `CLC` or `BT` change it. The others stay.
    #[inline(always)]
    pub(crate) fn set_cf(&mut self, cf: bool) {
        let of = self.of();
        self.aux = self.aux & !(3 << 62) | u64::from(cf) << 63 | u64::from(cf ^ of) << 62;
    }

    /// CF and OF, as rotations change them.
    #[inline(always)]
    pub(crate) fn set_cf_of(&mut self, cf: bool, of: bool) {
        self.aux = self.aux & !(3 << 62) | u64::from(cf) << 63 | u64::from(cf ^ of) << 62;
    }

    /// ZF alone; the others stay.
    pub(crate) fn set_zf(&mut self, zf: bool) {
        let bits = self.bits();
        *self = Self::from_bits(if zf { bits | ZF } else { bits & !ZF });
    }

    /// As RFLAGS has them.
    pub(crate) fn bits(self) -> u64 {
        let bit = |on: bool, flag| if on { flag } else { 0 };
        bit(self.cf(), CF)
            | bit(self.pf(), PF)
            | bit(self.af(), AF)
            | bit(self.zf(), ZF)
            | bit(self.sf(), SF)
            | bit(self.of(), OF)
    }

    /// From RFLAGS.
    pub(crate) fn from_bits(bits: u64) -> Self {
        let has = |flag| bits & flag != 0;
        // A zero result has SF clear and PF set; a result of 1 has SF clear and PF clear.
        let result = u64::from(!has(ZF));
        let parity_is_even = has(ZF);
        let mut aux = u64::from(has(SF)) | u64::from(parity_is_even != has(PF)) << 8;
        if has(AF) {
            aux |= AUX_AF;
        }
        if has(CF) {
            aux |= AUX_CARRY;
        }
        aux |= u64::from(has(CF) != has(OF)) << 62;
        Self { result, aux }
    }

    /// The condition of `Jcc`, `SETcc` and `CMOVcc` with the low four bits of the opcode in `CC`.
    #[inline(always)]
    pub(crate) fn condition<const CC: u8>(self) -> bool {
        let less = || ((self.result >> 63) ^ self.aux ^ (self.aux >> 63) ^ (self.aux >> 62)) & 1 != 0;
        let holds = match CC >> 1 {
            0 => self.of(),
            1 => self.cf(),
            2 => self.zf(),
            3 => self.cf() || self.zf(),
            4 => self.sf(),
            5 => self.pf(),
            6 => less(),
            _ => self.zf() || less(),
        };
        holds != (CC & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_flags_can_be_stored() {
        for n in 0..64u64 {
            let flags = [CF, PF, AF, ZF, SF, OF].iter().enumerate().filter(|(i, _)| n >> i & 1 != 0);
            let bits = flags.map(|(_, f)| f).sum();
            assert_eq!(Flags::from_bits(bits).bits(), bits);
        }
    }
}
