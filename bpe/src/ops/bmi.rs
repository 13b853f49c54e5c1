//! BMI1, BMI2 and ADX: what has three operands or leaves flags alone.
//!
//! What always holds: of the operands after the destination one is a register or memory, as the encoding's ModRM says, and
//! the other, if there is one, a register whose place is in `op.aux`.

use super::operand::{Int, Mem, Source, Src};
use crate::core::Core;
use crate::flags::Flags;
use crate::op::{Flow, Op, RDX, Run};
use crate::width::Width;

/// A function of the two operands: the ModRM one, and the other.
pub(crate) trait Combine: 'static {
    fn apply<W: Width>(flags: &mut Flags, a: u64, b: u64) -> u64;
}

macro_rules! combinations {
    ($($name:ident($w:ident, $flags:pat, $a:ident, $b:pat) $body:expr;)*) => {$(
        pub(crate) struct $name;
        impl Combine for $name {
            #[inline(always)]
            fn apply<$w: Width>($flags: &mut Flags, $a: u64, $b: u64) -> u64 {
                $body
            }
        }
    )*};
}

fn logic<W: Width>(flags: &mut Flags, r: u64, carry: bool) -> u64 {
    *flags = Flags::logic::<W>(r);
    flags.set_cf(carry);
    r
}

/// The lowest `n` bits.
fn low_bits(n: u64) -> u64 {
    if n < 64 { (1 << n) - 1 } else { u64::MAX }
}

combinations! {
    Andn(W, flags, a, b) logic::<W>(flags, a & !b & W::MASK, false);
    Bextr(W, flags, a, b) {
        let (start, length) = (b & 0xff, b >> 8 & 0xff);
        logic::<W>(flags, a.checked_shr(start as u32).unwrap_or(0) & low_bits(length), false)
    };
    Blsi(W, flags, a, _) logic::<W>(flags, a & a.wrapping_neg() & W::MASK, a != 0);
    Blsmsk(W, flags, a, _) logic::<W>(flags, (a ^ a.wrapping_sub(1)) & W::MASK, a == 0);
    Blsr(W, flags, a, _) logic::<W>(flags, a & a.wrapping_sub(1), a == 0);
    Bzhi(W, flags, a, b) logic::<W>(flags, a & low_bits(b & 0xff), b & 0xff >= u64::from(W::BITS));
    Shlx(W, _, a, b) a << (b % u64::from(W::BITS)) & W::MASK;
    Shrx(W, _, a, b) a >> (b % u64::from(W::BITS));
    Sarx(W, _, a, b) (W::sign_extend(a) as i64 >> (b % u64::from(W::BITS))) as u64 & W::MASK;
    Rorx(W, _, a, b) {
        let n = b % u64::from(W::BITS);
        (a >> n | a.checked_shl(W::BITS - n as u32).unwrap_or(0)) & W::MASK
    };
    // The bits of the other operand, from the lowest on, to where the mask has bits.
    Pdep(W, _, a, b) {
        let (mut mask, mut from, mut r) = (a, b, 0);
        while mask != 0 {
            let bit = mask & mask.wrapping_neg();
            r |= if from & 1 != 0 { bit } else { 0 };
            mask ^= bit;
            from >>= 1;
        }
        r
    };
    Pext(W, _, a, b) {
        let (mut mask, mut to, mut r) = (a, 1u64, 0);
        while mask != 0 {
            let bit = mask & mask.wrapping_neg();
            r |= if b & bit != 0 { to } else { 0 };
            mask ^= bit;
            to <<= 1;
        }
        r
    };
    Adcx(W, flags, a, b) {
        let (r, carry) = add::<W>(a, b, flags.cf());
        flags.set_cf(carry);
        r
    };
    Adox(W, flags, a, b) {
        let (r, carry) = add::<W>(a, b, flags.of());
        flags.set_cf_of(flags.cf(), carry);
        r
    };
}

fn add<W: Width>(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let sum = u128::from(a) + u128::from(b) + u128::from(carry);
    (sum as u64 & W::MASK, sum >> W::BITS != 0)
}

fn combine<W: Int, C: Combine, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let a = S::get::<W>(core, op)?;
    let b = core.reg::<W>(op.aux as u8);
    let r = C::apply::<W>(&mut core.flags, a, b);
    core.set_reg::<W>(op.dst, r);
    Ok(())
}

/// By an immediate.
fn combine_immediate<W: Int, C: Combine, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let a = S::get::<W>(core, op)?;
    let r = C::apply::<W>(&mut core.flags, a, op.imm);
    core.set_reg::<W>(op.dst, r);
    Ok(())
}

/// Where both halves go to one register, it gets the upper one.
fn mulx<W: Int, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let a = S::get::<W>(core, op)?;
    let wide = u128::from(a) * u128::from(core.reg::<W>(RDX));
    core.set_reg::<W>(op.aux as u8, wide as u64 & W::MASK);
    core.set_reg::<W>(op.dst, (wide >> W::BITS) as u64);
    Ok(())
}

macro_rules! by_place {
    ($memory:expr, $size:expr, $f:ident $(, $t:ty)*) => {
        match ($memory, $size) {
            (false, 4) => $f::<u32, $($t,)* Src> as Run,
            (false, _) => $f::<u64, $($t,)* Src>,
            (true, 4) => $f::<u32, $($t,)* Mem>,
            (true, _) => $f::<u64, $($t,)* Mem>,
        }
    };
}

/// The handler of `C`.
pub(crate) fn handler<C: Combine>(memory: bool, size: usize) -> Run {
    by_place!(memory, size, combine, C)
}

/// The handler of `RORX`.
pub(crate) fn rorx_handler(memory: bool, size: usize) -> Run {
    by_place!(memory, size, combine_immediate, Rorx)
}

/// The handler of `MULX`.
pub(crate) fn mulx_handler(memory: bool, size: usize) -> Run {
    by_place!(memory, size, mulx)
}
