//! MMX and SSE: registers, operands, and the handlers of operations that are a function of two vectors.
//!
//! What always holds: an operation sees vectors as `u128`, an MMX one in the low half; `N` is the bytes it works on. A
//! 16-byte memory operand must be aligned unless the instruction is one of the unaligned moves.

pub(crate) mod arithmetic;
pub(crate) mod calculate;
pub(crate) mod convert;
pub(crate) mod crypto;
pub(crate) mod float;
pub(crate) mod fused;
pub(crate) mod lanes;
pub(crate) mod masked;
pub(crate) mod moves;
pub(crate) mod permute;
pub(crate) mod shuffle;
pub(crate) mod state;
pub(crate) mod strings;
pub(crate) mod vex;
pub(crate) mod xsave;

use crate::core::Core;
use crate::op::{Flow, Op, Run, Stop};

/// A function of two vectors and the immediate.
pub(crate) trait Vector: 'static {
    fn apply<const N: usize>(a: u128, b: u128, imm: u8) -> u128;
}

/// Where an operation's source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    XmmReg,
    XmmMem,
    /// A memory operand of fewer than 16 bytes, `op.aux` of them.
    XmmNarrow,
    XmmImm,
    MmxReg,
    MmxMem,
    MmxImm,
}

impl Core {
    /// An XMM register.
    #[inline(always)]
    pub(crate) fn xmm(&self, n: u8) -> u128 {
        self.fx.xmm[usize::from(n & 15)]
    }

    /// Sets an XMM register.
    #[inline(always)]
    pub(crate) fn set_xmm(&mut self, n: u8, value: u128) {
        self.fx.xmm[usize::from(n & 15)] = value;
    }

    /// Sets the low `bits` of an XMM register.
    #[inline(always)]
    pub(crate) fn set_xmm_low(&mut self, n: u8, value: u128, bits: u32) {
        let mask = (1u128 << bits) - 1;
        self.set_xmm(n, self.xmm(n) & !mask | value & mask);
    }

    /// Loads an aligned 16-byte operand.
    #[inline(always)]
    pub(crate) fn load_aligned(&mut self, op: &Op) -> Result<u128, Stop> {
        let addr = self.address(op);
        if addr & 15 != 0 {
            return Err(self.misaligned());
        }
        self.load::<u128>(op, addr)
    }

    /// What an operand that is not aligned ends in.
    #[cold]
    pub(crate) fn misaligned(&mut self) -> Stop {
        self.general_protection()
    }

    /// Loads a memory operand of `op.aux` bytes, which need not be aligned.
    pub(crate) fn load_narrow(&mut self, op: &Op) -> Result<u128, Stop> {
        let addr = self.address(op);
        Ok(match op.aux {
            1 => u128::from(self.load::<u8>(op, addr)?),
            2 => u128::from(self.load::<u16>(op, addr)?),
            4 => u128::from(self.load::<u32>(op, addr)?),
            8 => u128::from(self.load::<u64>(op, addr)?),
            _ => self.load::<u128>(op, addr)?,
        })
    }

    /// An MMX register, which is the significand of a physical x87 register.
    pub(crate) fn mmx(&self, n: u8) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.fx.st[usize::from(n & 7)];
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Sets an MMX register: its exponent becomes all ones.
    pub(crate) fn set_mmx(&mut self, n: u8, value: u64) {
        let register = &mut self.fx.st[usize::from(n & 7)];
        register[..8].copy_from_slice(&value.to_le_bytes());
        register[8..10].fill(0xff);
    }

    /// What every MMX instruction but `EMMS` does to the x87 state: all registers valid, top of stack 0. A pending x87
    /// exception comes first.
    pub(crate) fn enter_mmx(&mut self) -> Flow {
        const SUMMARY: u16 = 1 << 7;
        if self.fx.fsw & SUMMARY != 0 {
            return Err(self.exception(aurora_machine::Exception::X87));
        }
        self.fx.fsw &= !(7 << 11);
        self.fx.ftw = 0xff;
        Ok(())
    }
}

fn xmm_reg<O: Vector>(core: &mut Core, op: &Op) -> Flow {
    let value = O::apply::<16>(core.xmm(op.dst), core.xmm(op.src), op.imm as u8);
    core.set_xmm(op.dst, value);
    Ok(())
}
fn xmm_mem<O: Vector>(core: &mut Core, op: &Op) -> Flow {
    let b = core.load_aligned(op)?;
    let value = O::apply::<16>(core.xmm(op.dst), b, op.imm as u8);
    core.set_xmm(op.dst, value);
    Ok(())
}
fn xmm_narrow<O: Vector>(core: &mut Core, op: &Op) -> Flow {
    let b = core.load_narrow(op)?;
    let value = O::apply::<16>(core.xmm(op.dst), b, op.imm as u8);
    core.set_xmm(op.dst, value);
    Ok(())
}
fn xmm_imm<O: Vector>(core: &mut Core, op: &Op) -> Flow {
    let value = O::apply::<16>(core.xmm(op.dst), u128::from(op.imm as u8), op.imm as u8);
    core.set_xmm(op.dst, value);
    Ok(())
}
fn mmx_reg<O: Vector>(core: &mut Core, op: &Op) -> Flow {
    core.enter_mmx()?;
    let value = O::apply::<8>(core.mmx(op.dst).into(), core.mmx(op.src).into(), op.imm as u8);
    core.set_mmx(op.dst, value as u64);
    Ok(())
}
fn mmx_mem<O: Vector>(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let b = core.load_narrow(op)?;
    core.enter_mmx()?;
    let value = O::apply::<8>(core.mmx(op.dst).into(), b, op.imm as u8);
    core.set_mmx(op.dst, value as u64);
    Ok(())
}
fn mmx_imm<O: Vector>(core: &mut Core, op: &Op) -> Flow {
    core.enter_mmx()?;
    let value = O::apply::<8>(core.mmx(op.dst).into(), u128::from(op.imm as u8), op.imm as u8);
    core.set_mmx(op.dst, value as u64);
    Ok(())
}

/// An operation as translated code calls it: on two vectors, the first of which becomes the result, what is in XMM0, and
/// the immediate.
pub(crate) type Pure = extern "C" fn(*mut [u128; 3], u32);

extern "C" fn pure<O: Vector>(operands: *mut [u128; 3], imm: u32) {
    // SAFETY: translated code passes the exchange's operands, which nobody else uses meanwhile.
    let operands = unsafe { &mut *operands };
    operands[0] = O::apply::<16>(operands[0], operands[1], imm as u8);
}

/// What there is of an operation.
pub(crate) struct Forms {
    pub(crate) handler: fn(Kind) -> Run,
    pub(crate) vex: Run,
    pub(crate) pure: Pure,
}

/// All of `O`.
pub(crate) fn forms<O: Vector>() -> Forms {
    Forms { handler: handler::<O>, vex: vex::vector::<O>, pure: pure::<O> }
}

/// The handler of `O` with its source where `kind` says.
pub(crate) fn handler<O: Vector>(kind: Kind) -> Run {
    match kind {
        Kind::XmmReg => xmm_reg::<O>,
        Kind::XmmMem => xmm_mem::<O>,
        Kind::XmmNarrow => xmm_narrow::<O>,
        Kind::XmmImm => xmm_imm::<O>,
        Kind::MmxReg => mmx_reg::<O>,
        Kind::MmxMem => mmx_mem::<O>,
        Kind::MmxImm => mmx_imm::<O>,
    }
}
