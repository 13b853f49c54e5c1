//! Push, pop, frames and the flags register as a whole.

use aurora_machine::UserContext;

use super::operand::{Dst, Imm, Int, Mem, Place, Source, by_width};
use crate::core::Core;
use crate::flags::{AF, CF, OF, PF, SF, STATUS, ZF};
use crate::op::{Flow, Op, RAX, RBP, RSP, Run, Stop};

fn push<W: Int, S: Source>(core: &mut Core, op: &Op) -> Flow {
    let value = S::get::<W>(core, op)?;
    core.push::<W>(op, value)
}

fn pop<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let value = core.top::<W>(op)?;
    let rsp = core.rsp().wrapping_add(W::BYTES);
    core.set(RSP, rsp);
    core.set_reg::<W>(op.dst, value);
    Ok(())
}

/// The memory operand's address is worked out with RSP already moved.
fn pop_memory<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let value = core.top::<W>(op)?;
    let rsp = core.rsp();
    core.set(RSP, rsp.wrapping_add(W::BYTES));
    let stored = Mem::put::<W>(core, op, value);
    if stored.is_err() {
        core.set(RSP, rsp);
    }
    stored
}

/// `PUSH` of `size` bytes.
pub(crate) fn push_handler(kind: PushKind, size: usize) -> Run {
    match kind {
        PushKind::Register => by_width!(size, push, Dst),
        PushKind::Memory => by_width!(size, push, Mem),
        PushKind::Immediate => by_width!(size, push, Imm),
    }
}

/// What is pushed.
pub(crate) enum PushKind {
    Register,
    Memory,
    Immediate,
}

/// `POP` of `size` bytes.
pub(crate) fn pop_handler(memory: bool, size: usize) -> Run {
    if memory { by_width!(size, pop_memory) } else { by_width!(size, pop) }
}

/// `POP` into FS or GS: in user mode of Linux only null selectors are loadable without a descriptor table, and they
/// leave the bases as they are on AMD's processors.
pub(crate) fn pop_segment<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let selector = core.top::<W>(op)? as u16;
    if selector > 3 {
        return Err(core.general_protection());
    }
    let rsp = core.rsp().wrapping_add(W::BYTES);
    core.set(RSP, rsp);
    Ok(())
}

/// `PUSHF`. RF and VM are pushed clear.
pub(crate) fn push_flags<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let flags = core.rflags() & !(1 << 16 | 1 << 17);
    core.push::<W>(op, flags)
}

/// `POPF`: IF and IOPL stay, RF is cleared.
pub(crate) fn pop_flags<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let popped = core.top::<W>(op)?;
    let rsp = core.rsp().wrapping_add(W::BYTES);
    core.set(RSP, rsp);
    let can = UserContext::USER_FLAGS & W::MASK & !(1 << 16);
    let flags = core.rflags() & !can & !(1 << 16) | popped & can;
    core.set_rflags(flags);
    core.rip = core.page().wrapping_add(op.next());
    Err(Stop::Jump)
}

/// `LAHF`.
pub(crate) fn lahf(core: &mut Core, _: &Op) -> Flow {
    core.set_reg::<u8>(RAX + 1, core.flags.bits() & 0xff | 2);
    Ok(())
}

/// `SAHF`.
pub(crate) fn sahf(core: &mut Core, _: &Op) -> Flow {
    const LOADED: u64 = SF | ZF | AF | PF | CF;
    let flags = core.flags.bits() & OF | core.reg::<u8>(RAX + 1) & LOADED & STATUS;
    core.flags = crate::flags::Flags::from_bits(flags);
    Ok(())
}

/// `LEAVE`.
pub(crate) fn leave<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let frame = core.get(RBP);
    let value = match core.load_int::<W>(op, frame) {
        Ok(value) => value,
        Err(stop) => return Err(core.stack_stop(stop)),
    };
    core.set(RSP, frame.wrapping_add(W::BYTES));
    core.set_reg::<W>(RBP, value);
    Ok(())
}

/// `ENTER` with a frame of `op.imm` bytes at nesting level `op.aux`.
pub(crate) fn enter<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let (old_rsp, old_rbp) = (core.rsp(), core.get(RBP));
    let result = enter_steps::<W>(core, op);
    if result.is_err() {
        core.set(RSP, old_rsp);
        core.set(RBP, old_rbp);
    }
    result
}

fn enter_steps<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let old = core.get(RBP);
    core.push::<W>(op, old)?;
    let frame = core.rsp();
    if op.aux > 0 {
        for level in 1..u64::from(op.aux) {
            let value = core.load_int::<W>(op, old.wrapping_sub(level * W::BYTES))?;
            core.push::<W>(op, value)?;
        }
        core.push::<W>(op, frame)?;
    }
    // The processor checks that the new top of the stack can be written.
    let top = core.rsp().wrapping_sub(op.imm);
    core.modify::<W>(op, top, |_, value| value)?;
    core.set(RSP, top);
    core.set_reg::<W>(RBP, frame);
    Ok(())
}

/// `PUSH` of a segment register, all of which hold the constant `op.imm`.
pub(crate) fn push_constant_handler(size: usize) -> Run {
    by_width!(size, push, Imm)
}
