//! Bit tests, scans and counts, and CRC32.

use super::operand::{Dst, Imm, Int, Mem, Place, Source, Src, by_width};
use crate::core::Core;
use crate::flags::Flags;
use crate::lower::Form;
use crate::op::{Flow, Op, Run};
use crate::width::Width;

/// What becomes of the tested bit.
pub(crate) trait Change: 'static {
    const WRITES: bool = true;
    fn apply(value: u64, mask: u64) -> u64;
}

macro_rules! changes {
    ($($name:ident($v:ident, $m:ident) $body:expr;)*) => {$(
        pub(crate) struct $name;
        impl Change for $name {
            fn apply($v: u64, $m: u64) -> u64 {
                $body
            }
        }
    )*};
}
changes! {
    Set(v, m) v | m;
    Reset(v, m) v & !m;
    Complement(v, m) v ^ m;
}

/// Only tested.
pub(crate) struct Keep;
impl Change for Keep {
    const WRITES: bool = false;
    fn apply(value: u64, _: u64) -> u64 {
        value
    }
}

#[inline(always)]
fn test_bit<C: Change>(core: &mut Core, value: u64, n: u64) -> u64 {
    core.flags.set_cf(value >> n & 1 != 0);
    C::apply(value, 1 << n)
}

fn bit<W: Int, C: Change, P: Place, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let n = S::get::<W>(core, op)? % u64::from(W::BITS);
    if !C::WRITES {
        let value = P::get::<W>(core, op)?;
        test_bit::<C>(core, value, n);
        return Ok(());
    }
    P::update::<W>(core, op, |core, value| test_bit::<C>(core, value, n))
}

/// With the bit's number in a register the memory operand is a bit string, which the number may leave.
fn bit_string<W: Int, C: Change>(core: &mut Core, op: &Op) -> Flow {
    let n = W::sign_extend(core.reg::<W>(op.src)) as i64;
    let words = n >> W::BITS.trailing_zeros();
    let offset = (words as u64).wrapping_mul(W::BYTES);
    let mut addr = core.address(op).wrapping_add(offset);
    if op.attributes & Op::NARROW != 0 {
        let segment = core.get(op.aux as u8);
        addr = segment.wrapping_add(addr.wrapping_sub(segment) & 0xffff_ffff);
    }
    let n = n as u64 % u64::from(W::BITS);
    if !C::WRITES {
        let value = core.load_int::<W>(op, addr)?;
        test_bit::<C>(core, value, n);
        return Ok(());
    }
    core.modify::<W>(op, addr, |core, value| test_bit::<C>(core, value, n))
}

/// `BT`, `BTS`, `BTR`, `BTC`.
pub(crate) fn bit_handler<C: Change>(form: Form, size: usize) -> Run {
    match form {
        Form::RegReg => by_width!(size, bit, C, Dst, Src),
        Form::RegImm => by_width!(size, bit, C, Dst, Imm),
        Form::MemImm => by_width!(size, bit, C, Mem, Imm),
        Form::MemReg | Form::RegMem => by_width!(size, bit_string, C),
    }
}

/// A scan or count from a source into a register.
pub(crate) trait Scan: 'static {
    /// The result, if the destination changes.
    fn apply<W: Width>(flags: &mut Flags, a: u64) -> Option<u64>;
}

macro_rules! scans {
    ($($name:ident($w:ident, $flags:ident, $a:ident) $body:expr;)*) => {$(
        pub(crate) struct $name;
        impl Scan for $name {
            #[inline(always)]
            fn apply<$w: Width>($flags: &mut Flags, $a: u64) -> Option<u64> {
                $body
            }
        }
    )*};
}

fn leading_zeros<W: Width>(a: u64) -> u64 {
    u64::from(a.leading_zeros() - (64 - W::BITS))
}
fn trailing_zeros<W: Width>(a: u64) -> u64 {
    u64::from(a.trailing_zeros().min(W::BITS))
}

scans! {
    // A source of zero leaves the destination as it was. Flags that mean nothing are those of the source, or the result.
    Bsf(W, flags, a) { *flags = Flags::logic::<W>(a); (a != 0).then(|| trailing_zeros::<W>(a)) };
    Bsr(W, flags, a) { *flags = Flags::logic::<W>(a); (a != 0).then(|| u64::from(W::BITS - 1) - leading_zeros::<W>(a)) };
    Tzcnt(W, flags, a) { let r = trailing_zeros::<W>(a); *flags = Flags::logic::<W>(r); flags.set_cf(a == 0); Some(r) };
    Lzcnt(W, flags, a) { let r = leading_zeros::<W>(a); *flags = Flags::logic::<W>(r); flags.set_cf(a == 0); Some(r) };
    Popcnt(W, flags, a) {
        let r = u64::from(a.count_ones());
        *flags = Flags::from_bits(if a == 0 { crate::flags::ZF } else { 0 });
        Some(r)
    };
}

fn scan<W: Int, O: Scan, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let a = S::get::<W>(core, op)?;
    if let Some(r) = O::apply::<W>(&mut core.flags, a) {
        core.set_reg::<W>(op.dst, r);
    }
    Ok(())
}

/// The handler of `O`.
pub(crate) fn scan_handler<O: Scan>(memory: bool, size: usize) -> Run {
    if memory { by_width!(size, scan, O, Mem) } else { by_width!(size, scan, O, Src) }
}

/// One step of CRC-32C (polynomial 11EDC6F41, reflected) over the bytes of an operand.
fn crc32<W: Int, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let data = S::get::<W>(core, op)?;
    let mut crc = core.reg::<u32>(op.dst) ^ data & 0xffff_ffff;
    let fold = |mut crc: u64, bits: u32| {
        for _ in 0..bits {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 };
        }
        crc
    };
    crc = fold(crc, W::BITS.min(32));
    if W::BITS == 64 {
        crc = fold(crc ^ data >> 32, 32);
    }
    core.set(op.dst, crc);
    Ok(())
}

/// `CRC32` of a source of `size` bytes.
pub(crate) fn crc32_handler(memory: bool, size: usize) -> Run {
    if memory { by_width!(size, crc32, Mem) } else { by_width!(size, crc32, Src) }
}
