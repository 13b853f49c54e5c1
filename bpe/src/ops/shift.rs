//! Shifts and rotations.
//!
//! A count of zero (after masking) changes no flag. Where the manuals leave OF undefined (counts other than 1) it is
//! worked out as for 1, which is what silicon does for most.

use super::operand::{Imm, Int, Mem, Place, Source, by_width};
use crate::core::Core;
use crate::flags::Flags;
use crate::op::{Flow, Op, RCX, Run};
use crate::width::Width;

/// A shift or rotation by a count that is not zero, below 32 or 64.
pub(crate) trait Shift: 'static {
    fn apply<W: Width>(flags: &mut Flags, a: u64, count: u32) -> u64;
}

macro_rules! shifts {
    ($($name:ident($w:ident, $flags:ident, $a:ident, $n:ident) $body:expr;)*) => {$(
        pub(crate) struct $name;
        impl Shift for $name {
            #[inline(always)]
            fn apply<$w: Width>($flags: &mut Flags, $a: u64, $n: u32) -> u64 {
                $body
            }
        }
    )*};
}

fn bit(value: u64, n: u32) -> bool {
    value.checked_shr(n).unwrap_or(0) & 1 != 0
}

shifts! {
    Shl(W, flags, a, n) {
        let wide = u128::from(a) << n;
        let r = wide as u64 & W::MASK;
        let cf = wide >> W::BITS & 1 != 0;
        *flags = Flags::shifted::<W>(r, cf, (r & W::SIGN != 0) != cf);
        r
    };
    Shr(W, flags, a, n) {
        let r = a >> n;
        *flags = Flags::shifted::<W>(r, bit(a, n - 1), (a & W::SIGN != 0) && n == 1);
        r
    };
    Sar(W, flags, a, n) {
        let a = W::sign_extend(a) as i64;
        let r = (a >> n) as u64 & W::MASK;
        *flags = Flags::shifted::<W>(r, (a >> (n - 1)) & 1 != 0, false);
        r
    };
    Rol(W, flags, a, n) {
        let n = n % W::BITS;
        let r = (a << n | a.checked_shr(W::BITS - n).unwrap_or(0)) & W::MASK;
        let cf = r & 1 != 0;
        flags.set_cf_of(cf, (r & W::SIGN != 0) != cf);
        r
    };
    Ror(W, flags, a, n) {
        let n = n % W::BITS;
        let r = (a >> n | a.checked_shl(W::BITS - n).unwrap_or(0)) & W::MASK;
        let cf = r & W::SIGN != 0;
        flags.set_cf_of(cf, cf != (r & (W::SIGN >> 1) != 0));
        r
    };
    Rcl(W, flags, a, n) {
        let bits = W::BITS + 1;
        let n = n % bits;
        let wide = u128::from(flags.cf()) << W::BITS | u128::from(a);
        let turned = wide << n | wide >> (bits - n);
        let r = turned as u64 & W::MASK;
        let cf = turned >> W::BITS & 1 != 0;
        flags.set_cf_of(cf, (r & W::SIGN != 0) != cf);
        r
    };
    Rcr(W, flags, a, n) {
        let bits = W::BITS + 1;
        let n = n % bits;
        let wide = u128::from(flags.cf()) << W::BITS | u128::from(a);
        let turned = wide >> n | wide << (bits - n);
        let r = turned as u64 & W::MASK;
        let cf = turned >> W::BITS & 1 != 0;
        flags.set_cf_of(cf, (r & W::SIGN != 0) != (r & (W::SIGN >> 1) != 0));
        r
    };
}

/// The register CL as a count.
pub(crate) struct Cl;

impl Source for Cl {
    #[inline(always)]
    fn get<W: Int>(core: &mut Core, _: &Op) -> Result<u64, crate::op::Stop> {
        Ok(core.reg::<u8>(RCX))
    }
}

fn count_mask<W: Width>() -> u64 {
    if W::BITS == 64 { 63 } else { 31 }
}

fn shift<W: Int, O: Shift, P: Place, N: Source>(core: &mut Core, op: &Op) -> Flow {
    let count = (N::get::<W>(core, op)? & count_mask::<W>()) as u32;
    P::update::<W>(core, op, |core, a| if count == 0 { a } else { O::apply::<W>(&mut core.flags, a, count) })
}

/// The handler of `O` by CL (`by_cl`) or an immediate.
pub(crate) fn shift_handler<O: Shift>(memory: bool, by_cl: bool, size: usize) -> Run {
    use super::operand::Dst;
    match (memory, by_cl) {
        (false, false) => by_width!(size, shift, O, Dst, Imm),
        (false, true) => by_width!(size, shift, O, Dst, Cl),
        (true, false) => by_width!(size, shift, O, Mem, Imm),
        (true, true) => by_width!(size, shift, O, Mem, Cl),
    }
}

/// Shifts `a` left by `n`, filling from the top of `b`. With 16 bits and more than 16 places the source comes round again,
/// as on silicon; the manuals leave that undefined.
fn shld_value<W: Width>(flags: &mut Flags, a: u64, b: u64, n: u32) -> u64 {
    let wide =
        u128::from(a) << (2 * W::BITS) | u128::from(b) << W::BITS | if W::BITS == 16 { u128::from(a) } else { 0 };
    let (r, cf) = if W::BITS == 64 {
        ((a << n) | (b >> (64 - n)), bit(a, 64 - n))
    } else {
        let moved = wide << n;
        ((moved >> (2 * W::BITS)) as u64 & W::MASK, moved >> (3 * W::BITS) & 1 != 0)
    };
    *flags = Flags::shifted::<W>(r, cf, (a ^ r) & W::SIGN != 0);
    r
}

fn shrd_value<W: Width>(flags: &mut Flags, a: u64, b: u64, n: u32) -> u64 {
    let high = if W::BITS == 16 { u128::from(a) << 32 } else { 0 };
    let wide = high | u128::from(b) << W::BITS | u128::from(a);
    let r = (wide >> n) as u64 & W::MASK;
    let cf = wide >> (n - 1) & 1 != 0;
    *flags = Flags::shifted::<W>(r, cf, (a ^ r) & W::SIGN != 0);
    r
}

fn shld<W: Int, P: Place, N: Source>(core: &mut Core, op: &Op) -> Flow {
    double::<W, P, N>(core, op, shld_value::<W>)
}

fn shrd<W: Int, P: Place, N: Source>(core: &mut Core, op: &Op) -> Flow {
    double::<W, P, N>(core, op, shrd_value::<W>)
}

#[inline(always)]
fn double<W: Int, P: Place, N: Source>(core: &mut Core, op: &Op, f: fn(&mut Flags, u64, u64, u32) -> u64) -> Flow {
    let count = (N::get::<W>(core, op)? & count_mask::<W>()) as u32;
    let b = core.reg::<W>(op.src);
    P::update::<W>(core, op, |core, a| if count == 0 { a } else { f(&mut core.flags, a, b, count) })
}

/// `SHLD` (`left`) and `SHRD`.
pub(crate) fn double_handler(left: bool, memory: bool, by_cl: bool, size: usize) -> Run {
    use super::operand::Dst;
    match (left, memory, by_cl) {
        (true, false, false) => by_width!(size, shld, Dst, Imm),
        (true, false, true) => by_width!(size, shld, Dst, Cl),
        (true, true, false) => by_width!(size, shld, Mem, Imm),
        (true, true, true) => by_width!(size, shld, Mem, Cl),
        (false, false, false) => by_width!(size, shrd, Dst, Imm),
        (false, false, true) => by_width!(size, shrd, Dst, Cl),
        (false, true, false) => by_width!(size, shrd, Mem, Imm),
        (false, true, true) => by_width!(size, shrd, Mem, Cl),
    }
}
