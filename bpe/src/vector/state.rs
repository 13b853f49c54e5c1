//! The MXCSR register, `FXSAVE` and `FXRSTOR`, `EMMS`.

use aurora_machine::{Access, Exception, FxState, VirtAddr};

use crate::core::Core;
use crate::op::{Flow, Op};
use crate::x87::control;

/// Bits of MXCSR that may be set.
pub(super) const MXCSR_MASK: u32 = 0xffff;
/// Bytes of the image.
const IMAGE: usize = 512;
/// Bytes of it that are written; the rest is the program's.
const WRITTEN: usize = 416;

/// `LDMXCSR`: reserved bits fault.
pub(crate) fn ldmxcsr(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    let value = core.load::<u32>(op, addr)?;
    if value & !MXCSR_MASK != 0 {
        return Err(core.general_protection());
    }
    core.fx.mxcsr = value;
    Ok(())
}

/// `STMXCSR`.
pub(crate) fn stmxcsr(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    core.store(op, addr, core.fx.mxcsr)
}

/// An image must be aligned; that its address is canonical is looked at first.
fn check_image(core: &mut Core, op: &Op, addr: u64) -> Flow {
    match (VirtAddr(addr).is_canonical(), addr & 15) {
        (false, _) => Err(core.non_canonical(op)),
        (true, 0) => Ok(()),
        _ => Err(core.misaligned()),
    }
}

/// `FXSAVE` and `FXSAVE64`.
pub(crate) fn fxsave(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    check_image(core, op, addr)?;
    // All of the image must be writable, though not all is written.
    core.span(op, addr, IMAGE, Access::Write)?;
    let span = core.span(op, addr, WRITTEN, Access::Write)?;
    span.write(&core.fx_image().to_bytes()[..WRITTEN]);
    Ok(())
}

/// `FXRSTOR` and `FXRSTOR64`.
pub(crate) fn fxrstor(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    check_image(core, op, addr)?;
    let span = core.span(op, addr, IMAGE, Access::Read)?;
    let mut bytes = [0; IMAGE];
    span.read(&mut bytes);
    let mxcsr = u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
    if mxcsr & !MXCSR_MASK != 0 {
        return Err(core.general_protection());
    }
    let mut fx = FxState::from_bytes(&bytes);
    fx.fcw = control::effective(fx.fcw);
    core.set_fx_image(&fx);
    control::update_summary(core);
    Ok(())
}

/// `EMMS`: the x87 stack is empty.
pub(crate) fn emms(core: &mut Core, _: &Op) -> Flow {
    core.check_x87()?;
    core.fx.ftw = 0;
    core.fx.fsw &= !(7 << 11);
    Ok(())
}

impl Core {
    /// An unmasked x87 exception that is pending comes before most x87 and all MMX instructions.
    #[inline(always)]
    pub(crate) fn check_x87(&mut self) -> Flow {
        if self.fx.fsw & 1 << 7 != 0 {
            return Err(self.exception(Exception::X87));
        }
        Ok(())
    }
}
