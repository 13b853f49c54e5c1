//! CRC-32C and CRC-16 as ext4 uses them: running values without the final inversion.

use crc::{Algorithm, Crc, Table};

static CASTAGNOLI: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&Algorithm { xorout: 0, ..crc::CRC_32_ISCSI });
static ANSI: Crc<u16> = Crc::<u16>::new(&Algorithm { xorout: 0, ..crc::CRC_16_MODBUS });

/// Goes on with a CRC-32C. A fresh one begins with all bits set.
pub(crate) fn crc32c(value: u32, data: &[u8]) -> u32 {
    let mut digest = CASTAGNOLI.digest_with_initial(value.reverse_bits());
    digest.update(data);
    digest.finalize()
}

/// Goes on with a CRC-16 (group descriptors before metadata checksums).
pub(crate) fn crc16(value: u16, data: &[u8]) -> u16 {
    let mut digest = ANSI.digest_with_initial(value.reverse_bits());
    digest.update(data);
    digest.finalize()
}

/// A CRC-32C over data as if `hole` in it were `width` zeros.
pub(crate) fn crc32c_without(value: u32, data: &[u8], hole: usize, width: usize) -> u32 {
    let end = hole.saturating_add(width);
    let zeros = [0u8; 8];
    let value = crc32c(value, crate::bytes::slice(data, 0, hole));
    let value = crc32c(value, crate::bytes::slice(&zeros, 0, width));
    crc32c(value, crate::bytes::slice(data, end, data.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_the_catalogue_come_out() {
        assert_eq!(crc32c(!0, b"123456789") ^ !0, 0xe306_9283);
        assert_eq!(crc16(!0, b"123456789"), 0x4b37);
    }

    #[test]
    fn a_sum_in_two_parts_is_the_sum() {
        assert_eq!(crc32c(crc32c(!0, b"1234"), b"56789"), crc32c(!0, b"123456789"));
        assert_eq!(crc32c_without(!0, b"12345678", 2, 2), crc32c(!0, b"12\0\x005678"));
    }
}
