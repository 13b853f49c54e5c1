//! What translated code calls.
//!
//! What always holds: the pointers it passes are those in [`super::layout::Layout`] and in the call-outs of its own
//! cluster, which live as long as it does; and while it runs nobody else uses the processor's state.

use super::WIDEST;
use super::flags::ALL;
use super::layout::CallOut;
use super::lazy::{STOP_CODE_WRITE, STOP_FAULT, STOP_OP};
use super::memory::{STACK, WRITE};
use crate::core::Core;
use crate::flags::Flags;
use crate::lower::blank;
use crate::op::{Op, Stop};
use crate::ops::system;
use aurora_machine::Access;

/// An op to stand for the instruction in access functions, which only look at its attributes.
fn stand_in(spec: u32) -> Op {
    let attributes = if spec & STACK as u32 != 0 { Op::STACK } else { 0 };
    Op { attributes, ..blank(system::nop) }
}

fn note(core: &mut Core, stop: Stop) {
    core.exchange.stop = if stop == Stop::CodeWrite { STOP_CODE_WRITE } else { STOP_FAULT };
}

/// Loads from `addr` what the TLB did not have: the value, or what is wider into the exchange. With [`WRITE`] the place must
/// be writable.
pub(crate) extern "C" fn load(core: *mut Core, addr: u64, spec: u32) -> u64 {
    // SAFETY: see the module's documentation.
    let core = unsafe { &mut *core };
    let (op, bytes) = (stand_in(spec), (spec & 0xff) as usize);
    let access = if spec & WRITE as u32 != 0 { Access::Write } else { Access::Read };
    let mut buffer = [0u8; WIDEST];
    match core.span(&op, addr, bytes, access) {
        Ok(span) => span.read(&mut buffer[..bytes.min(WIDEST)]),
        Err(stop) => note(core, stop),
    }
    core.remember(addr);
    core.exchange.wide = buffer;
    let [a, b, c, d, e, f, g, h, ..] = buffer;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Stores `value`, or what is wider from the exchange, likewise.
pub(crate) extern "C" fn store(core: *mut Core, addr: u64, value: u64, spec: u32) {
    // SAFETY: see the module's documentation.
    let core = unsafe { &mut *core };
    let (op, bytes) = (stand_in(spec), (spec & 0xff) as usize);
    match core.span(&op, addr, bytes, Access::Write) {
        Ok(span) if bytes > 8 => span.write(&core.exchange.wide[..bytes.min(WIDEST)]),
        Ok(span) => span.write(&value.to_le_bytes()[..bytes.min(8)]),
        Err(stop) => note(core, stop),
    }
    core.remember(addr);
}

/// Executes an instruction's ops, one instruction having been paid for; returns the fuel then left.
pub(crate) extern "C" fn call_out(core: *mut Core, call: *const CallOut, fuel: i64) -> i64 {
    // SAFETY: see the module's documentation.
    let (core, call) = unsafe { (&mut *core, &*call) };
    core.fuel = fuel.max(0) as u64;
    if call.flags {
        core.flags = core.exchange.lazy.flags(&core.regs);
    }
    for op in &call.ops {
        if let Err(stop) = (op.run)(core, op) {
            core.exchange.stop = STOP_OP + stop as u32;
            core.exchange.op = &raw const *op as usize;
            break;
        }
    }
    if call.flags {
        core.exchange.lazy.take(core.flags);
    }
    if fuel < 0 { fuel } else { core.fuel as i64 }
}

/// Works out a condition (0 or 1), or all status flags.
pub(crate) extern "C" fn condition(core: *mut Core, what: u32) -> u32 {
    // SAFETY: see the module's documentation.
    let core = unsafe { &mut *core };
    let flags = core.exchange.lazy.flags(&core.regs);
    if what == ALL as u32 {
        return flags.bits() as u32;
    }
    u32::from(holds(flags, what))
}

fn holds(flags: Flags, condition: u32) -> bool {
    match condition >> 1 {
        0 => flags.of(),
        1 => flags.cf(),
        2 => flags.zf(),
        3 => flags.cf() || flags.zf(),
        4 => flags.sf(),
        5 => flags.pf(),
        6 => flags.sf() != flags.of(),
        _ => flags.zf() || flags.sf() != flags.of(),
    }
}
