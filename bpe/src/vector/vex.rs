//! What VEX encodes: three operands, 32 bytes, and zeros above a result of 16.
//!
//! What always holds: an instruction works on each 16-byte half alone, or says here how it does not. Memory operands need no
//! alignment. All of the source is read before any of the result is written.

use super::{Pure, Vector, pure, strings};
use crate::core::Core;
use crate::op::{Flow, Op, Stop};

/// A YMM register: its lower half, its upper half.
pub(crate) type Halves = [u128; 2];

/// What the last source is, unless it is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// The vector register `op.src`.
    Vector,
    /// The general-purpose register there.
    General,
    /// The immediate.
    Immediate,
}

/// What of its source an instruction's upper half works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upper {
    /// The upper half.
    Own,
    /// The same as the lower half does.
    Same,
    /// What begins so many bits further on in the lower half.
    Further(u8),
}

/// The further operands of a VEX instruction, as an op's immediate has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vex {
    /// The immediate, of the lower half and of the upper.
    pub(crate) imm: [u8; 2],
    /// The first source.
    pub(crate) first: u8,
    /// The register in the immediate.
    pub(crate) third: u8,
    pub(crate) last: Last,
    pub(crate) upper: Upper,
    /// Works on 32 bytes.
    pub(crate) wide: bool,
    /// Results of 8 bytes a half are put next to each other.
    pub(crate) narrows: bool,
}

impl Vex {
    pub(crate) fn encode(self) -> u64 {
        let upper = match self.upper {
            Upper::Own => 0,
            Upper::Same => 128,
            Upper::Further(bits) => bits,
        };
        let registers = self.first & 15 | self.third << 4;
        let flags = self.last as u8 | u8::from(self.wide) << 2 | u8::from(self.narrows) << 3;
        u64::from_le_bytes([self.imm[0], self.imm[1], registers, upper, flags, 0, 0, 0])
    }

    #[inline(always)]
    pub(crate) fn of(op: &Op) -> Self {
        let [low, high, registers, upper, flags, ..] = op.imm.to_le_bytes();
        Self {
            imm: [low, high],
            first: registers & 15,
            third: registers >> 4,
            last: match flags & 3 {
                0 => Last::Vector,
                1 => Last::General,
                _ => Last::Immediate,
            },
            upper: match upper {
                0 => Upper::Own,
                128 => Upper::Same,
                bits => Upper::Further(bits),
            },
            wide: flags & 4 != 0,
            narrows: flags & 8 != 0,
        }
    }

    /// The halves of a source: what each half of the instruction works on.
    fn spread(self, [low, high]: Halves) -> Halves {
        match self.upper {
            Upper::Own => [low, high],
            Upper::Same => [low, low],
            Upper::Further(bits) => [low, low >> bits],
        }
    }

    /// The result in a register of what `half` makes of each half.
    pub(crate) fn result(self, mut half: impl FnMut(usize) -> u128) -> Halves {
        let low = half(0);
        let high = if self.wide { half(1) } else { 0 };
        match self.narrows {
            true => [u128::from(low as u64) | high << 64, 0],
            false => [low, high],
        }
    }
}

impl Core {
    /// A YMM register.
    #[inline(always)]
    pub(crate) fn ymm(&self, n: u8) -> Halves {
        [self.xmm(n), self.ymm_high[usize::from(n & 15)]]
    }

    /// Sets one.
    #[inline(always)]
    pub(crate) fn set_ymm(&mut self, n: u8, [low, high]: Halves) {
        self.set_xmm(n, low);
        self.ymm_high[usize::from(n & 15)] = high;
    }

    /// Loads `op.aux` bytes, the rest being zero.
    pub(crate) fn load_wide(&mut self, op: &Op) -> Result<Halves, Stop> {
        match op.aux {
            32 => {
                let addr = self.address(op);
                self.load(op, addr)
            }
            _ => Ok([self.load_narrow(op)?, 0]),
        }
    }

    /// The last source.
    pub(crate) fn vex_source(&mut self, op: &Op) -> Result<Halves, Stop> {
        let vex = Vex::of(op);
        Ok(vex.spread(match vex.last {
            _ if op.aux != 0 => self.load_wide(op)?,
            Last::Vector => self.ymm(op.src),
            Last::General => [self.get(op.src).into(), 0],
            Last::Immediate => [vex.imm[0].into(); 2],
        }))
    }
}

/// A function of two vectors, and of a third one if it looks at that, half by half.
fn halves(core: &mut Core, op: &Op, function: Pure) -> Flow {
    let vex = Vex::of(op);
    let b = core.vex_source(op)?;
    let (a, c) = (core.ymm(vex.first), core.ymm(vex.third));
    let result = vex.result(|half| {
        let mut operands = [a[half], b[half], c[half]];
        function(&mut operands, vex.imm[half].into());
        operands[0]
    });
    core.set_ymm(op.dst, result);
    Ok(())
}

/// `O` on registers and memory as VEX has them.
pub(crate) fn vector<O: Vector>(core: &mut Core, op: &Op) -> Flow {
    halves(core, op, pure::<O>)
}

/// `VBLENDVPS` and its kin, by the signs of lanes of `BYTES` bytes.
pub(crate) fn blend<const BYTES: u16>(core: &mut Core, op: &Op) -> Flow {
    halves(core, op, super::shuffle::blend_pure::<BYTES>)
}

/// All of a source, unchanged.
pub(crate) fn load(core: &mut Core, op: &Op) -> Flow {
    let vex = Vex::of(op);
    let source = core.vex_source(op)?;
    core.set_ymm(op.dst, vex.result(|half| source[half]));
    Ok(())
}

/// The same from memory that must be aligned.
pub(crate) fn load_aligned(core: &mut Core, op: &Op) -> Flow {
    core.check_aligned(op, u64::from(op.aux))?;
    load(core, op)
}

/// Stores 32 bytes of `op.src`.
pub(crate) fn store(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    core.store(op, addr, core.ymm(op.src))
}

/// The same to memory that must be aligned.
pub(crate) fn store_aligned(core: &mut Core, op: &Op) -> Flow {
    core.check_aligned(op, 32)?;
    store(core, op)
}

/// `VZEROUPPER`.
pub(crate) fn zero_upper(core: &mut Core, _: &Op) -> Flow {
    core.ymm_high = [0; 16];
    Ok(())
}

/// `VZEROALL`.
pub(crate) fn zero_all(core: &mut Core, _: &Op) -> Flow {
    core.fx.xmm = [0; 16];
    core.ymm_high = [0; 16];
    Ok(())
}

impl Core {
    fn check_aligned(&mut self, op: &Op, bytes: u64) -> Flow {
        if op.aux != 0 && !self.address(op).is_multiple_of(bytes) {
            return Err(self.misaligned());
        }
        Ok(())
    }
}

/// The sign bits of a register's lanes of `op.aux` bytes, into a general-purpose register.
pub(crate) fn mask(core: &mut Core, op: &Op) -> Flow {
    let [low, high] = core.ymm(op.src);
    let lanes = 16 / u32::from(op.aux);
    let mask = signs(low, op.aux) | signs(high, op.aux) << lanes;
    core.set(op.dst, mask);
    Ok(())
}

/// The sign bits of lanes of `bytes` bytes.
fn signs(v: u128, bytes: u16) -> u64 {
    let bits = u32::from(bytes) * 8;
    (0..128 / bits).fold(0, |mask, i| mask | ((v >> (i * bits + bits - 1)) as u64 & 1) << i)
}

/// `VPTEST` (`LANE` 16), `VTESTPS` (4) and `VTESTPD` (8): whether the AND, and the AND NOT, of two vectors have bits set, or
/// sign bits of lanes.
pub(crate) fn test<const LANE: u16>(core: &mut Core, op: &Op) -> Flow {
    use crate::flags::{CF, Flags, ZF};
    let vex = Vex::of(op);
    let (a, b) = (core.ymm(op.dst), core.vex_source(op)?);
    let any = |v: u128| if LANE == 16 { v != 0 } else { signs(v, LANE) != 0 };
    let halves = 0..if vex.wide { 2 } else { 1 };
    let both = halves.clone().any(|half| any(a[half] & b[half]));
    let rest = halves.into_iter().any(|half| any(!a[half] & b[half]));
    core.flags = Flags::from_bits(if both { 0 } else { ZF } | if rest { 0 } else { CF });
    Ok(())
}

/// `VPCMPESTRM` (`EXPLICIT`) and `VPCMPISTRM`: what SSE's do, and zeros above the result in XMM0.
pub(crate) fn string_mask<const EXPLICIT: bool>(core: &mut Core, op: &Op) -> Flow {
    if EXPLICIT {
        strings::explicit_mask(core, op)?
    } else {
        strings::implicit_mask(core, op)?
    }
    core.ymm_high[0] = 0;
    Ok(())
}
