//! The x87 floating-point unit, 80 bits wide.
//!
//! What always holds: while a program runs the register file is in *physical* order (register n of the tag word is
//! `fx.st[n]`); [`Core::load_context`] and `store_context` turn it to and from the stack order `FXSAVE` has. A masked
//! exception leaves its flag and the default result; an unmasked one also sets the summary bit, and the next waiting
//! instruction faults with #MF. The pointers to the last instruction and operand are not kept: they read as zero, as on
//! AMD's processors while no exception is pending.

pub(crate) mod arithmetic;
pub(crate) mod compare;
pub(crate) mod control;
mod fixed;
pub(crate) mod transcendental;
pub(crate) mod transfer;

use crate::core::Core;
use crate::float::{BEFORE, Env, F80, Float, Format, INEXACT, INVALID, Rounding, pack80, unpack80};

/// The stack over- or underflowed.
pub(crate) const STACK_FAULT: u16 = 1 << 6;
/// An unmasked exception is pending.
pub(crate) const SUMMARY: u16 = 1 << 7;
/// A copy of the summary.
pub(crate) const BUSY: u16 = 1 << 15;
pub(crate) const C0: u16 = 1 << 8;
pub(crate) const C1: u16 = 1 << 9;
pub(crate) const C2: u16 = 1 << 10;
pub(crate) const C3: u16 = 1 << 14;
/// All condition codes.
pub(crate) const CONDITIONS: u16 = C0 | C1 | C2 | C3;

/// A register as it is stored: significand, then sign and exponent.
pub(crate) type Raw = (u64, u16);

/// An operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operand {
    /// The register is empty.
    Empty,
    /// An encoding that means nothing.
    Unsupported,
    Value(Float),
}

impl Core {
    fn fpu_top(&self) -> u8 {
        (self.fx.fsw >> 11 & 7) as u8
    }

    fn set_fpu_top(&mut self, top: u8) {
        self.fx.fsw = self.fx.fsw & !(7 << 11) | u16::from(top & 7) << 11;
    }

    /// The physical register that is ST(i).
    fn fpu_slot(&self, i: u8) -> usize {
        usize::from((self.fpu_top() + i) & 7)
    }

    /// Whether ST(i) is empty.
    fn fpu_is_empty(&self, i: u8) -> bool {
        self.fx.ftw >> self.fpu_slot(i) & 1 == 0
    }

    fn fpu_raw(&self, i: u8) -> Raw {
        let [a, b, c, d, e, f, g, h, x, y, ..] = self.fx.st[self.fpu_slot(i)];
        (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u16::from_le_bytes([x, y]))
    }

    fn set_fpu_raw(&mut self, i: u8, (significand, exponent): Raw) {
        let slot = self.fpu_slot(i);
        self.fx.st[slot][..8].copy_from_slice(&significand.to_le_bytes());
        self.fx.st[slot][8..10].copy_from_slice(&exponent.to_le_bytes());
        self.fx.ftw |= 1 << slot;
    }

    fn set_fpu(&mut self, i: u8, value: Float) {
        self.set_fpu_raw(i, pack80(value));
    }

    fn fpu_operand(&self, i: u8) -> Operand {
        if self.fpu_is_empty(i) {
            return Operand::Empty;
        }
        let (significand, exponent) = self.fpu_raw(i);
        unpack80(significand, exponent).map_or(Operand::Unsupported, Operand::Value)
    }

    /// Marks ST(0) empty and moves the top.
    fn fpu_pop(&mut self) {
        let slot = self.fpu_slot(0);
        self.fx.ftw &= !(1 << slot);
        self.set_fpu_top(self.fpu_top() + 1);
    }

    /// The arithmetic the control word asks for.
    fn fpu_env(&self) -> Env {
        Env {
            rounding: Rounding::from_bits(u32::from(self.fx.fcw >> 10)),
            masked: (self.fx.fcw & 0x3f) as u8,
            raised: 0,
            flush: false,
            denormals_are_zero: false,
            x87: true,
            rounded_up: false,
        }
    }

    /// What results are rounded to.
    fn fpu_format(&self) -> Format {
        let precision = match self.fx.fcw >> 8 & 3 {
            0 => 24,
            2 => 53,
            _ => 64,
        };
        Format { precision, ..F80 }
    }

    /// Notes what was raised. Returns whether a result may be written.
    fn fpu_finish(&mut self, env: &Env) -> bool {
        self.fx.fsw &= !C1;
        let stopped = env.raised & !env.masked & BEFORE != 0;
        if stopped {
            // There is no result, so nothing was rounded.
            self.fpu_note(env.raised & BEFORE);
            return false;
        }
        if env.raised & INEXACT != 0 && env.rounded_up {
            self.fx.fsw |= C1;
        }
        self.fpu_note(env.raised);
        true
    }

    fn fpu_note(&mut self, raised: u8) {
        self.fx.fsw |= u16::from(raised);
        if raised & !(self.fx.fcw as u8) & 0x3f != 0 {
            self.fx.fsw |= SUMMARY | BUSY;
        }
    }

    /// An operand was empty (or, with `overflow`, a place to push to was not). Returns whether the masked response, an
    /// indefinite result, is to be given.
    fn fpu_stack_fault(&mut self, overflow: bool) -> bool {
        self.fx.fsw = self.fx.fsw & !C1 | STACK_FAULT | if overflow { C1 } else { 0 };
        self.fpu_note(INVALID);
        self.fx.fcw & u16::from(INVALID) != 0
    }

    /// Pushes a value that was made without exceptions other than those already noted.
    fn fpu_push(&mut self, raw: Raw) {
        let free = self.fpu_is_empty(7);
        let raw = match free {
            true => {
                self.fx.fsw &= !C1;
                raw
            }
            false if self.fpu_stack_fault(true) => pack80(Float::INDEFINITE),
            false => return,
        };
        self.set_fpu_top(self.fpu_top().wrapping_sub(1));
        self.set_fpu_raw(0, raw);
    }
}
