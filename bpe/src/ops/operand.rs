//! Where operands are, as types: a handler is written once and compiled for each place.

use crate::core::Core;
use crate::op::{Flow, Op, Stop};
use crate::width::{Plain, Width};

/// An integer type both a register and memory can hold.
pub(crate) trait Int: Width + Plain {}
impl<T: Width + Plain> Int for T {}

/// Something with a value.
pub(crate) trait Source: 'static {
    /// The value, zero-extended.
    fn get<W: Int>(core: &mut Core, op: &Op) -> Result<u64, Stop>;
}

/// Something that can be changed.
pub(crate) trait Place: Source {
    /// Whether it is a register, which cannot fault.
    const IS_REGISTER: bool;
    /// Replaces the value by what `change` makes of it.
    fn update<W: Int>(core: &mut Core, op: &Op, change: impl FnOnce(&mut Core, u64) -> u64) -> Flow;
    /// Replaces the value.
    fn put<W: Int>(core: &mut Core, op: &Op, value: u64) -> Flow;
}

/// The register `op.dst`.
pub(crate) struct Dst;
/// The register `op.src`.
pub(crate) struct Src;
/// The memory operand.
pub(crate) struct Mem;
/// `op.imm`.
pub(crate) struct Imm;

impl Source for Dst {
    #[inline(always)]
    fn get<W: Int>(core: &mut Core, op: &Op) -> Result<u64, Stop> {
        Ok(core.reg::<W>(op.dst))
    }
}
impl Source for Src {
    #[inline(always)]
    fn get<W: Int>(core: &mut Core, op: &Op) -> Result<u64, Stop> {
        Ok(core.reg::<W>(op.src))
    }
}
impl Source for Mem {
    #[inline(always)]
    fn get<W: Int>(core: &mut Core, op: &Op) -> Result<u64, Stop> {
        let addr = core.address(op);
        core.load_int::<W>(op, addr)
    }
}
impl Source for Imm {
    #[inline(always)]
    fn get<W: Int>(_: &mut Core, op: &Op) -> Result<u64, Stop> {
        Ok(op.imm & W::MASK)
    }
}
impl Place for Dst {
    const IS_REGISTER: bool = true;
    #[inline(always)]
    fn update<W: Int>(core: &mut Core, op: &Op, change: impl FnOnce(&mut Core, u64) -> u64) -> Flow {
        let old = core.reg::<W>(op.dst);
        let new = change(core, old);
        core.set_reg::<W>(op.dst, new);
        Ok(())
    }
    #[inline(always)]
    fn put<W: Int>(core: &mut Core, op: &Op, value: u64) -> Flow {
        core.set_reg::<W>(op.dst, value);
        Ok(())
    }
}
impl Place for Mem {
    const IS_REGISTER: bool = false;
    #[inline(always)]
    fn update<W: Int>(core: &mut Core, op: &Op, change: impl FnOnce(&mut Core, u64) -> u64) -> Flow {
        let addr = core.address(op);
        core.modify::<W>(op, addr, change)
    }
    #[inline(always)]
    fn put<W: Int>(core: &mut Core, op: &Op, value: u64) -> Flow {
        let addr = core.address(op);
        core.store(op, addr, W::truncate(value))
    }
}

/// `$f` compiled for an operand of `$size` bytes and the given further types.
macro_rules! by_width {
    ($size:expr, $f:path $(, $t:ty)*) => {{
        use $f as f;
        match $size {
            1 => f::<u8 $(, $t)*> as $crate::op::Run,
            2 => f::<u16 $(, $t)*>,
            4 => f::<u32 $(, $t)*>,
            _ => f::<u64 $(, $t)*>,
        }
    }};
}
pub(crate) use by_width;
