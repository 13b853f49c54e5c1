//! Traps, flags one by one, segment registers, CPUID and what else is not computation.

use alloc::vec::Vec;

use aurora_machine::{Access, Exception, Trap, UserContext};
use iced_x86::{Instruction, Mnemonic};

use super::operand::{Int, Mem, Place};
use crate::core::{Core, Request};
use crate::cpuid;
use crate::lower::blank;
use crate::op::{Flow, Op, R11, RAX, RBX, RCX, RDX, Stop};
use crate::processor::Environment;

/// What CS reads as under Linux.
pub(crate) const USER_CS: u64 = 0x33;
/// What SS reads as under Linux.
pub(crate) const USER_SS: u64 = 0x2b;

/// Whether the loop must look at the processor's state after `insn`.
pub(crate) fn ends_block(insn: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(
        insn.mnemonic(),
        M::Popf | M::Popfq | M::Rdtsc | M::Rdtscp | M::Rdrand | M::Rdseed | M::Syscall | M::Ud2 | M::Hlt
    )
}

/// Ends a block with an instruction that has no meaning. One longer than 15 bytes is #GP, any other #UD.
pub(crate) fn lower_invalid(ops: &mut Vec<Op>, ip: u16, count: u8, bytes: &[u8]) {
    const PREFIXES: [u8; 11] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
    let prefix = |b: &u8| PREFIXES.contains(b) || b & 0xf0 == 0x40;
    let long = bytes.iter().take(15).filter(|b| prefix(b)).count() == 15;
    let run = if long { general_protection } else { invalid };
    ops.push(Op { ip, count, ..blank(run) });
}

pub(crate) fn invalid(core: &mut Core, _: &Op) -> Flow {
    Err(core.invalid_opcode())
}

pub(crate) fn general_protection(core: &mut Core, _: &Op) -> Flow {
    Err(core.general_protection())
}

pub(crate) fn nop(_: &mut Core, _: &Op) -> Flow {
    Ok(())
}

/// RIP after the instruction.
fn after(core: &Core, op: &Op) -> u64 {
    core.page().wrapping_add(op.next())
}

fn trap(core: &mut Core, op: &Op, trap: Trap) -> Flow {
    core.rip = after(core, op);
    core.trap = trap;
    Err(Stop::Trap)
}

pub(crate) fn syscall(core: &mut Core, op: &Op) -> Flow {
    core.set(RCX, after(core, op));
    core.set(R11, core.rflags());
    trap(core, op, Trap::Syscall)
}

/// `INT n`. Gates a program may use are 3, 4 and 0x80.
pub(crate) fn int(core: &mut Core, op: &Op) -> Flow {
    match op.imm as u8 {
        3 => trap(core, op, Trap::Exception(Exception::Breakpoint)),
        4 => trap(core, op, Trap::Exception(Exception::Overflow)),
        0x80 => trap(core, op, Trap::Int80),
        n => Err(core.exception(Exception::GeneralProtection(u32::from(n) * 8 + 2))),
    }
}

/// `INT1`.
pub(crate) fn int1(core: &mut Core, op: &Op) -> Flow {
    trap(core, op, Trap::Exception(Exception::Debug))
}

pub(crate) fn clc(core: &mut Core, _: &Op) -> Flow {
    core.flags.set_cf(false);
    Ok(())
}
pub(crate) fn stc(core: &mut Core, _: &Op) -> Flow {
    core.flags.set_cf(true);
    Ok(())
}
pub(crate) fn cmc(core: &mut Core, _: &Op) -> Flow {
    let cf = core.flags.cf();
    core.flags.set_cf(!cf);
    Ok(())
}
pub(crate) fn cld(core: &mut Core, _: &Op) -> Flow {
    core.control_flags &= !UserContext::DIRECTION_FLAG;
    Ok(())
}
pub(crate) fn std(core: &mut Core, _: &Op) -> Flow {
    core.control_flags |= UserContext::DIRECTION_FLAG;
    Ok(())
}

/// `CPUID`.
pub(crate) fn cpuid(core: &mut Core, _: &Op) -> Flow {
    let leaf = cpuid::leaf(core.reg::<u32>(RAX) as u32, core.reg::<u32>(RCX) as u32, core.announces_fma);
    for (reg, value) in [RAX, RBX, RCX, RDX].into_iter().zip(leaf) {
        core.set(reg, u64::from(value));
    }
    Ok(())
}

/// Leaves the block to ask the environment for what `op.aux` says: 0 for `RDTSC`, 1 for `RDTSCP`, otherwise random bits.
pub(crate) fn ask(core: &mut Core, op: &Op) -> Flow {
    core.request = match op.aux {
        0 => Request::Tsc,
        1 => Request::TscProcessor,
        bits => Request::Random(op.dst, u32::from(bits)),
    };
    core.rip = after(core, op);
    Err(Stop::Environment)
}

/// What the loop does about [`Stop::Environment`].
pub(crate) fn answer(core: &mut Core, env: &mut dyn Environment) {
    match core.request {
        Request::Tsc | Request::TscProcessor => {
            let now = env.tsc(core.fuel);
            core.set(RAX, now & 0xffff_ffff);
            core.set(RDX, now >> 32);
            if core.request == Request::TscProcessor {
                core.set(RCX, 0);
            }
        }
        Request::Random(reg, bits) => {
            let value = env.random();
            match bits {
                16 => core.set_reg::<u16>(reg, value),
                32 => core.set_reg::<u32>(reg, value),
                _ => core.set(reg, value),
            }
            core.flags = crate::flags::Flags::from_bits(crate::flags::CF);
        }
    }
}

/// `MOV` from a segment register, whose constant value is `op.imm`, to memory: always 16 bits.
pub(crate) fn store_selector(core: &mut Core, op: &Op) -> Flow {
    Mem::put::<u16>(core, op, op.imm)
}

/// `MOV` to a segment register from `op.src`. Null selectors are the only ones there are.
pub(crate) fn load_selector(core: &mut Core, op: &Op) -> Flow {
    let selector = core.reg::<u16>(op.src);
    check_selector(core, selector)
}

/// The same from memory.
pub(crate) fn load_selector_memory(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    let selector = core.load_int::<u16>(op, addr)?;
    check_selector(core, selector)
}

fn check_selector(core: &mut Core, selector: u64) -> Flow {
    match selector {
        0..=3 => Ok(()),
        _ => Err(core.exception(Exception::GeneralProtection(selector as u32 & !3))),
    }
}

/// `VERR`, `VERW`, `LAR`, `LSL`: no descriptor may be read.
pub(crate) fn no_descriptor(core: &mut Core, _: &Op) -> Flow {
    core.flags.set_zf(false);
    Ok(())
}

/// `CLFLUSH` and the like: the byte must be readable, nothing else happens.
pub(crate) fn touch(core: &mut Core, op: &Op) -> Flow {
    let addr = core.address(op);
    core.span(op, addr, 1, Access::Read)?;
    Ok(())
}

/// `MOVNTI`, which is a plain store here.
pub(crate) fn store_register<W: Int>(core: &mut Core, op: &Op) -> Flow {
    let value = core.reg::<W>(op.src);
    Mem::put::<W>(core, op, value)
}
