//! What `CPUID` says. Only what works is announced.

use crate::vector::xsave::{AREA, COMPONENTS, HALVES, HALVES_AT};

/// The brand string.
pub(crate) const BRAND: &str = "Aurora BPE/U";
/// glibc looks at the features only of vendors it knows, and its dynamic linker then refuses every program; so this is the
/// vendor whose rules we follow where the two differ.
const VENDOR: &[u8; 12] = b"AuthenticAMD";

const HIGHEST: u32 = 0xd;
const HIGHEST_EXTENDED: u32 = 0x8000_0008;

/// Family 17h (Zen), so that programs which look take it for something modern.
const SIGNATURE: u32 = 0x0080_0f11;
/// FPU, TSC, CX8, CMOV, CLFSH, MMX, FXSR, SSE, SSE2.
const FEATURES_EDX: u32 = 1 | 1 << 4 | 1 << 8 | 1 << 15 | 1 << 19 | 1 << 23 | 1 << 24 | 1 << 25 | 1 << 26;
/// SSE3, PCLMULQDQ, SSSE3, CX16, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, XSAVE, OSXSAVE, AVX, F16C, RDRAND, hypervisor.
const FEATURES_ECX: u32 = 1
    | 1 << 1
    | 1 << 9
    | 1 << 13
    | 1 << 19
    | 1 << 20
    | 1 << 22
    | 1 << 23
    | 1 << 25
    | 1 << 26
    | 1 << 27
    | 1 << 28
    | 1 << 29
    | 1 << 30
    | 1 << 31;
/// FMA: where it is as fast as a multiplication and an addition, since mathematical libraries then use it.
const FMA: u32 = 1 << 12;
/// XSAVEOPT, XSAVEC, XGETBV of what is in use.
const XSAVE_EAX: u32 = 1 | 1 << 1 | 1 << 2;
/// Cache lines of 64 bytes.
const LINE: u32 = 8 << 8;
/// BMI1, AVX2, BMI2, REP MOVSB and STOSB are fast, RDSEED, ADX, SHA.
const STRUCTURED_EBX: u32 = 1 << 3 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 18 | 1 << 19 | 1 << 29;
/// SYSCALL, NX, RDTSCP, long mode.
const EXTENDED_EDX: u32 = 1 << 11 | 1 << 20 | 1 << 27 | 1 << 29;
/// LAHF in 64-bit mode, LZCNT.
const EXTENDED_ECX: u32 = 1 | 1 << 5;
/// Caches as glibc's copies are sized by: 32 KiB of data and of instructions, 8 ways, lines of 64 bytes.
const LEVEL_1: u32 = 32 << 24 | 8 << 16 | 1 << 8 | 64;
/// 512 KiB, 8 ways (coded 6), lines of 64 bytes.
const LEVEL_2: u32 = 512 << 16 | 6 << 12 | 1 << 8 | 64;
/// 8 MiB in units of 512 KiB, 16 ways (coded 8), lines of 64 bytes.
const LEVEL_3: u32 = 16 << 18 | 8 << 12 | 1 << 8 | 64;
/// 52 bits of physical address, 48 of virtual.
const ADDRESS_SIZES: u32 = 48 << 8 | 52;

fn word(bytes: &[u8], at: usize) -> u32 {
    let byte = |i: usize| u32::from(bytes.get(at + i).copied().unwrap_or(0));
    byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24
}

/// EAX, EBX, ECX and EDX for a leaf and subleaf.
pub(crate) fn leaf(leaf: u32, subleaf: u32, fma: bool) -> [u32; 4] {
    match (leaf, subleaf) {
        (0, _) => [HIGHEST, word(VENDOR, 0), word(VENDOR, 8), word(VENDOR, 4)],
        (1, _) => [SIGNATURE, LINE | 1 << 16, FEATURES_ECX | if fma { FMA } else { 0 }, FEATURES_EDX],
        (7, 0) => [0, STRUCTURED_EBX, 0, 0],
        (0xd, 0) => [COMPONENTS as u32, AREA as u32, AREA as u32, 0],
        (0xd, 1) => [XSAVE_EAX, AREA as u32, 0, 0],
        (0xd, 2) => [HALVES as u32, HALVES_AT as u32, 0, 0],
        (0x8000_0000, _) => [HIGHEST_EXTENDED, word(VENDOR, 0), word(VENDOR, 8), word(VENDOR, 4)],
        (0x8000_0001, _) => [SIGNATURE, 0, EXTENDED_ECX, EXTENDED_EDX],
        (0x8000_0002..=0x8000_0004, _) => {
            let at = (leaf - 0x8000_0002) as usize * 16;
            [0, 4, 8, 12].map(|i| word(BRAND.as_bytes(), at + i))
        }
        (0x8000_0005, _) => [0, 0, LEVEL_1, LEVEL_1],
        (0x8000_0006, _) => [0, 0, LEVEL_2, LEVEL_3],
        (0x8000_0008, _) => [ADDRESS_SIZES, 0, 0, 0],
        _ => [0; 4],
    }
}
