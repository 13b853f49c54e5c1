//! The control, status and tag words, and the whole state in memory.

use super::{BUSY, C1, SUMMARY};
use crate::core::Core;
use crate::op::{Flow, Op, RAX, Stop};
use aurora_machine::Access;

const CONTROL_MASK: u16 = 0x1f3f;
const ALWAYS_SET: u16 = 0x40;
const EXCEPTIONS: u16 = 0x3f;

/// `FNINIT`.
pub(crate) fn init(core: &mut Core, _: &Op) -> Flow {
    reset(core);
    Ok(())
}

fn reset(core: &mut Core) {
    core.fx.fcw = 0x37f;
    core.fx.fsw = 0;
    core.fx.ftw = 0;
}

/// `FNCLEX`.
pub(crate) fn clear_exceptions(core: &mut Core, _: &Op) -> Flow {
    core.fx.fsw &= !(EXCEPTIONS | super::STACK_FAULT | SUMMARY | BUSY);
    Ok(())
}

/// A control word as it is kept: some bits are fixed.
pub(crate) fn effective(value: u16) -> u16 {
    value & CONTROL_MASK | ALWAYS_SET
}

fn set_control(core: &mut Core, value: u16) {
    core.fx.fcw = effective(value);
    update_summary(core);
}

/// Masking and unmasking change whether an exception is pending.
pub(crate) fn update_summary(core: &mut Core) {
    let pending = core.fx.fsw & !core.fx.fcw & EXCEPTIONS != 0;
    core.fx.fsw = core.fx.fsw & !(SUMMARY | BUSY) | if pending { SUMMARY | BUSY } else { 0 };
}

/// `FLDCW`.
pub(crate) fn load_control(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let addr = core.address(op);
    let value = core.load::<u16>(op, addr)?;
    set_control(core, value);
    Ok(())
}

/// `FNSTCW`.
pub(crate) fn store_control(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    core.store(op, addr, core.fx.fcw)
}

/// `FNSTSW` to memory.
pub(crate) fn store_status(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    core.store(op, addr, core.fx.fsw)
}

/// `FNSTSW AX`.
pub(crate) fn status_to_ax(core: &mut Core, _: &Op) -> Flow {
    core.set_reg::<u16>(RAX, core.fx.fsw.into());
    Ok(())
}

/// `FINCSTP` (`op.imm` 1) and `FDECSTP` (-1).
pub(crate) fn move_top(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    core.fx.fsw &= !C1;
    core.set_fpu_top(core.fpu_top().wrapping_add(op.imm as u8));
    Ok(())
}

/// `FFREE` and, if `op.aux` says so, `FFREEP`.
pub(crate) fn free(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    core.fx.fsw &= !C1;
    let slot = core.fpu_slot(op.dst);
    core.fx.ftw &= !(1 << slot);
    if op.aux != 0 {
        core.fpu_pop();
    }
    Ok(())
}

/// `FNOP` and `FWAIT`: a pending exception is all they look for.
pub(crate) fn wait(core: &mut Core, _: &Op) -> Flow {
    core.check_x87()
}

/// The full tag word: 0 valid, 1 zero, 2 special, 3 empty, for each physical register.
fn full_tags(core: &Core) -> u16 {
    (0..8u8).fold(0, |word, slot| {
        let i = slot.wrapping_sub(core.fpu_top()) & 7;
        let (significand, exponent) = core.fpu_raw(i);
        let tag = match exponent & 0x7fff {
            _ if core.fpu_is_empty(i) => 3,
            0 if significand == 0 => 1,
            0 | 0x7fff => 2,
            _ if significand >> 63 == 0 => 2,
            _ => 0,
        };
        word | tag << (2 * slot)
    })
}

fn set_full_tags(core: &mut Core, word: u16) {
    core.fx.ftw = (0..8).fold(0, |tags, slot| tags | u8::from(word >> (2 * slot) & 3 != 3) << slot);
}

/// Bytes of the environment in its 16- and 32-bit layouts: seven words.
fn environment_bytes(op: &Op) -> usize {
    if op.aux == 16 { 14 } else { 28 }
}

/// The environment: control, status and tags; the pointers are zero.
fn environment(core: &Core, op: &Op) -> [u8; 28] {
    let mut out = [0; 28];
    let step = environment_bytes(op) / 7;
    if step == 4 {
        // The upper halves of the words that have one are ones.
        for at in [2, 6, 10, 26] {
            out[at] = 0xff;
            out[at + 1] = 0xff;
        }
    }
    for (i, word) in [core.fx.fcw, core.fx.fsw, full_tags(core)].into_iter().enumerate() {
        out[i * step..i * step + 2].copy_from_slice(&word.to_le_bytes());
    }
    out
}

fn set_environment(core: &mut Core, op: &Op, bytes: &[u8]) {
    let step = environment_bytes(op) / 7;
    let word = |i: usize| u16::from_le_bytes([bytes[i * step], bytes[i * step + 1]]);
    core.fx.fsw = word(1);
    set_full_tags(core, word(2));
    set_control(core, word(0));
}

/// `FNSTENV`: all exceptions are then masked.
pub(crate) fn store_environment(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    let bytes = environment_bytes(op);
    let span = core.span(op, addr, bytes, Access::Write)?;
    span.write(&environment(core, op)[..bytes]);
    core.fx.fcw |= EXCEPTIONS;
    update_summary(core);
    Ok(())
}

/// `FLDENV`.
pub(crate) fn load_environment(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let addr = core.address(op);
    let mut bytes = [0; 28];
    let part = &mut bytes[..environment_bytes(op)];
    core.span(op, addr, part.len(), Access::Read)?.read(part);
    set_environment(core, op, &bytes);
    Ok(())
}

/// `FNSAVE`: the environment and the registers in stack order; the unit is then reset.
pub(crate) fn save(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    let head = environment_bytes(op);
    let span = core.span(op, addr, head + 80, Access::Write)?;
    let mut image = [0; 108];
    image[..28].copy_from_slice(&environment(core, op));
    for i in 0..8 {
        let at = head + usize::from(i) * 10;
        let slot = core.fpu_slot(i);
        image[at..at + 10].copy_from_slice(&core.fx.st[slot][..10]);
    }
    span.write(&image[..head + 80]);
    reset(core);
    Ok(())
}

/// `FRSTOR`.
pub(crate) fn restore(core: &mut Core, op: &Op) -> Result<(), Stop> {
    core.check_x87()?;
    let addr = core.address(op);
    let head = environment_bytes(op);
    let mut image = [0; 108];
    let part = &mut image[..head + 80];
    core.span(op, addr, part.len(), Access::Read)?.read(part);
    set_environment(core, op, &image);
    for i in 0..8 {
        let at = head + usize::from(i) * 10;
        let slot = core.fpu_slot(i);
        core.fx.st[slot][..10].copy_from_slice(&image[at..at + 10]);
    }
    Ok(())
}
