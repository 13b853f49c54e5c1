//! Additions, subtractions, logic and comparisons.

use super::operand::{Dst, Imm, Int, Mem, Place, Source, Src, by_width};
use crate::core::Core;
use crate::flags::Flags;
use crate::lower::Form;
use crate::op::{Flow, Op, Run};
use crate::width::Width;

/// A two-operand operation that sets all flags.
pub(crate) trait Binary: 'static {
    fn apply<W: Width>(flags: &mut Flags, a: u64, b: u64) -> u64;
}

/// Carries out of each bit of `a + b = r`.
#[inline(always)]
fn carries(a: u64, b: u64, r: u64) -> u64 {
    a & b | (a | b) & !r
}

/// Borrows out of each bit of `a - b = r`.
#[inline(always)]
fn borrows(a: u64, b: u64, r: u64) -> u64 {
    !a & b | (!a | b) & r
}

#[inline(always)]
pub(crate) fn add<W: Width>(flags: &mut Flags, a: u64, b: u64, carry: u64) -> u64 {
    let r = a.wrapping_add(b).wrapping_add(carry);
    *flags = Flags::arithmetic::<W>(r, carries(a, b, r));
    r
}

#[inline(always)]
pub(crate) fn subtract<W: Width>(flags: &mut Flags, a: u64, b: u64, borrow: u64) -> u64 {
    let r = a.wrapping_sub(b).wrapping_sub(borrow);
    *flags = Flags::arithmetic::<W>(r, borrows(a, b, r));
    r
}

macro_rules! binary {
    ($($name:ident($w:ident, $flags:ident, $a:ident, $b:ident) $body:expr;)*) => {$(
        pub(crate) struct $name;
        impl Binary for $name {
            #[inline(always)]
            fn apply<$w: Width>($flags: &mut Flags, $a: u64, $b: u64) -> u64 {
                $body
            }
        }
    )*};
}
binary! {
    Add(W, flags, a, b) add::<W>(flags, a, b, 0);
    Adc(W, flags, a, b) { let carry = u64::from(flags.cf()); add::<W>(flags, a, b, carry) };
    Sub(W, flags, a, b) subtract::<W>(flags, a, b, 0);
    Sbb(W, flags, a, b) { let borrow = u64::from(flags.cf()); subtract::<W>(flags, a, b, borrow) };
    And(W, flags, a, b) { let r = a & b; *flags = Flags::logic::<W>(r); r };
    Or(W, flags, a, b) { let r = a | b; *flags = Flags::logic::<W>(r); r };
    Xor(W, flags, a, b) { let r = a ^ b; *flags = Flags::logic::<W>(r); r };
}

fn binary<W: Int, O: Binary, P: Place, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let b = S::get::<W>(core, op)?;
    P::update::<W>(core, op, |core, a| O::apply::<W>(&mut core.flags, a, b))
}

/// The same, for the flags only.
fn compare<W: Int, O: Binary, P: Source, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let b = S::get::<W>(core, op)?;
    let a = P::get::<W>(core, op)?;
    O::apply::<W>(&mut core.flags, a, b);
    Ok(())
}

/// The handler of `O` with operands of `size` bytes in the places `form` says.
pub(crate) fn binary_handler<O: Binary>(form: Form, size: usize) -> Run {
    match form {
        Form::RegReg => by_width!(size, binary, O, Dst, Src),
        Form::RegMem => by_width!(size, binary, O, Dst, Mem),
        Form::MemReg => by_width!(size, binary, O, Mem, Src),
        Form::RegImm => by_width!(size, binary, O, Dst, Imm),
        Form::MemImm => by_width!(size, binary, O, Mem, Imm),
    }
}

/// The same for `CMP` (`O` is [`Sub`]) and `TEST` ([`And`]).
pub(crate) fn compare_handler<O: Binary>(form: Form, size: usize) -> Run {
    match form {
        Form::RegReg => by_width!(size, compare, O, Dst, Src),
        Form::RegMem => by_width!(size, compare, O, Dst, Mem),
        Form::MemReg => by_width!(size, compare, O, Mem, Src),
        Form::RegImm => by_width!(size, compare, O, Dst, Imm),
        Form::MemImm => by_width!(size, compare, O, Mem, Imm),
    }
}

/// A one-operand operation.
pub(crate) trait Unary: 'static {
    fn apply<W: Width>(flags: &mut Flags, a: u64) -> u64;
}

macro_rules! unary {
    ($($name:ident($w:ident, $flags:ident, $a:ident) $body:expr;)*) => {$(
        pub(crate) struct $name;
        impl Unary for $name {
            #[inline(always)]
            fn apply<$w: Width>($flags: &mut Flags, $a: u64) -> u64 {
                $body
            }
        }
    )*};
}
unary! {
    Inc(W, flags, a) { let cf = flags.cf(); let r = add::<W>(flags, a, 1, 0); flags.set_cf(cf); r };
    Dec(W, flags, a) { let cf = flags.cf(); let r = subtract::<W>(flags, a, 1, 0); flags.set_cf(cf); r };
    Neg(W, flags, a) subtract::<W>(flags, 0, a, 0);
    Not(W, _flags, a) !a;
}

fn unary<W: Int, O: Unary, P: Place>(core: &mut Core, op: &Op) -> Flow {
    P::update::<W>(core, op, |core, a| O::apply::<W>(&mut core.flags, a))
}

/// The handler of `O` on a register or memory operand of `size` bytes.
pub(crate) fn unary_handler<O: Unary>(memory: bool, size: usize) -> Run {
    if memory { by_width!(size, unary, O, Mem) } else { by_width!(size, unary, O, Dst) }
}
