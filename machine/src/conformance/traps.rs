//! System calls and exceptions: which one, where, and with what in the registers.

use alloc::format;
use alloc::sync::Arc;

use super::harness::{CODE, DATA, Program};
use super::{Case, Outcome, is_qemu};
use crate::{Exception, Machine, Reg, Trap, UserContext};

pub(super) const CASES: &[Case] = &[
    ("SYSCALL leaves RIP in RCX and the flags in R11, and nothing else changes", syscall),
    ("INT 0x80 stops after the instruction and changes no register", int80),
    ("a context resumes exactly, whatever RCX and R11 hold", resume),
    ("INT3 and INT 3 are breakpoints, INT 4 is an overflow, each after its instruction", software_interrupts),
    ("division by zero and division overflow are divide errors at the instruction", divide),
    ("undefined instructions are invalid opcodes", undefined),
    ("privileged instructions and gates are general protection faults with their error code", privileged),
    ("an access to a non-canonical address is a fault without an address", non_canonical),
    ("a context that no program could have reached is a general protection fault", impossible_rip),
    ("an unmasked x87 exception traps at the next x87 instruction", x87),
    ("an unmasked SSE exception traps at its instruction", sse),
    ("with the trap flag every instruction is followed by a debug trap", single_step),
    ("POPF changes the arithmetic flags, but neither interrupts nor I/O privilege", popf),
];

const SYSCALL: &[u8] = &[
    0xf9, // stc
    0xb8, 0x34, 0x12, 0x00, 0x00, // mov eax, 0x1234
    0x0f, 0x05, // syscall
];

fn syscall(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, SYSCALL)?;
    for (i, gpr) in program.cpu.gpr.iter_mut().enumerate() {
        *gpr = 0x1111_2222_3333_4444 * i as u64;
    }
    let before = program.cpu.clone();
    program.expect(Trap::Syscall, 8)?;
    let cpu = &program.cpu;
    let mut wanted = before;
    wanted.set_reg(Reg::Rax, 0x1234);
    wanted.set_reg(Reg::Rcx, CODE.0 + 8);
    wanted.set_reg(Reg::R11, wanted.rflags | 1);
    check!(cpu.gpr == wanted.gpr, "registers are {:x?}, not {:x?}", cpu.gpr, wanted.gpr);
    check!(cpu.rflags == wanted.rflags | 1, "flags are {:#x}", cpu.rflags);
    check!(cpu.fs_base == 0 && cpu.gs_base == 0, "a segment base changed");
    check!(cpu.fx == wanted.fx, "x87 or SSE state changed: {:x?}", cpu.fx);
    Ok(())
}

const INT80: &[u8] = &[
    0xcd, 0x80, // int 0x80
];

fn int80(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, INT80)?;
    for (i, gpr) in program.cpu.gpr.iter_mut().enumerate() {
        *gpr = !(0x0123_4567_89ab_cdef * i as u64);
    }
    let before = program.cpu.clone();
    program.expect(Trap::Int80, 2)?;
    check!(program.cpu.gpr == before.gpr, "registers are {:x?}, not {:x?}", program.cpu.gpr, before.gpr);
    check!(program.cpu.rflags == before.rflags, "flags are {:#x}", program.cpu.rflags);
    Ok(())
}

fn resume(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, INT80)?;
    let flags = program.cpu.rflags;
    let rip = CODE.0;
    for (rcx, r11) in [(rip, flags), (rip, flags | 1), (rip + 1, flags), (u64::MAX, 0x100), (0, 0)] {
        program.rewind().set(Reg::Rcx, rcx).set(Reg::R11, r11);
        program.expect(Trap::Int80, 2)?;
        let seen = (program.reg(Reg::Rcx), program.reg(Reg::R11), program.cpu.rflags);
        check!(seen == (rcx, r11, flags), "RCX, R11 and flags are {seen:x?}");
    }
    Ok(())
}

const BREAKPOINTS: &[u8] = &[
    0xcc, // int3
    0xcd, 0x03, // int 3
    0xcd, 0x04, // int 4
];

fn software_interrupts(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, BREAKPOINTS)?;
    program.expect(Trap::Exception(Exception::Breakpoint), 1)?;
    program.expect(Trap::Exception(Exception::Breakpoint), 3)?;
    program.expect(Trap::Exception(Exception::Overflow), 5)
}

/// Runs each code with RBX = `rbx`; it must fault at its first instruction with `exception`.
fn each(machine: &Arc<dyn Machine>, cases: &[(&str, &[u8], Exception)], rbx: u64) -> Outcome {
    for (name, code, exception) in cases {
        let mut program = Program::new(machine, code)?;
        program.set(Reg::Rax, 1 << 63).set(Reg::Rdx, 1 << 63).set(Reg::Rbx, rbx);
        program.expect_exception(*exception).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

const DIVIDE: &[u8] = &[
    0xf7, 0xf1, // div ecx
];
const DIVIDE_SIGNED: &[u8] = &[
    0x48, 0xf7, 0xfb, // idiv rbx
];

fn divide(machine: &Arc<dyn Machine>) -> Outcome {
    let cases = [("div by 0", DIVIDE, Exception::DivideError), ("idiv by -1", DIVIDE_SIGNED, Exception::DivideError)];
    each(machine, &cases, u64::MAX)
}

fn undefined(machine: &Arc<dyn Machine>) -> Outcome {
    let cases: [(&str, &[u8], Exception); 3] = [
        ("ud2", &[0x0f, 0x0b], Exception::InvalidOpcode),
        ("into", &[0xce], Exception::InvalidOpcode),
        ("push es", &[0x06], Exception::InvalidOpcode),
    ];
    each(machine, &cases, DATA.0)?;
    if is_qemu(machine) {
        return Ok(());
    }
    each(machine, &[("lock mov [rbx], eax", &[0xf0, 0x89, 0x03], Exception::InvalidOpcode)], DATA.0)
}

fn privileged(machine: &Arc<dyn Machine>) -> Outcome {
    const PLAIN: Exception = Exception::GeneralProtection(0);
    // The vector times 8, and 2 for the interrupt table; QEMU multiplies by the size of a gate.
    let gate = |vector: u32| Exception::GeneralProtection(vector * if is_qemu(machine) { 16 } else { 8 } + 2);
    let cases: [(&str, &[u8], Exception); 9] = [
        ("hlt", &[0xf4], PLAIN),
        ("cli", &[0xfa], PLAIN),
        ("in al, dx", &[0xec], PLAIN),
        ("out dx, al", &[0xee], PLAIN),
        ("mov cr0, rax", &[0x0f, 0x22, 0xc0], PLAIN),
        ("wrmsr", &[0x0f, 0x30], PLAIN),
        ("invlpg [rbx]", &[0x0f, 0x01, 0x3b], PLAIN),
        ("int 0x21", &[0xcd, 0x21], gate(0x21)),
        ("int 0xff", &[0xcd, 0xff], gate(0xff)),
    ];
    each(machine, &cases, DATA.0)
}

fn non_canonical(machine: &Arc<dyn Machine>) -> Outcome {
    const PLAIN: Exception = Exception::GeneralProtection(0);
    let cases: [(&str, &[u8], Exception); 3] = [
        ("mov rax, [rbx]", &[0x48, 0x8b, 0x03], PLAIN),
        ("mov [rbx], rax", &[0x48, 0x89, 0x03], PLAIN),
        ("lock inc [rbx]", &[0xf0, 0xff, 0x03], PLAIN),
    ];
    for address in [1 << 47, 0x8000_0000_0000_0000, 0xffff_7fff_ffff_fff0] {
        each(machine, &cases, address)?;
    }
    let mut program = Program::new(machine, &[0x50])?; // push rax
    program.set(Reg::Rsp, 1 << 62);
    let exception = if is_qemu(machine) { PLAIN } else { Exception::StackFault };
    program.expect_exception(exception).map_err(|why| format!("push rax: {why}"))
}

fn impossible_rip(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, INT80)?;
    for rip in [1 << 47, 0xffff_7fff_ffff_ffff] {
        program.cpu.rip = rip;
        // Also as the state after a SYSCALL would be, for machines that have a short way back.
        program.set(Reg::Rcx, rip).set(Reg::R11, 0x202);
        let before = program.cpu.clone();
        let trap = program.run()?;
        check!(trap == Trap::Exception(Exception::GeneralProtection(0)), "{trap:?} at {rip:#x}");
        check!(program.cpu == before, "the context changed");
    }
    program.rewind().expect(Trap::Int80, 2)
}

const X87: &[u8] = &[
    0xd9, 0x2b, // fldcw [rbx]
    0xd9, 0xe8, // fld1
    0xd9, 0xee, // fldz
    0xde, 0xf9, // fdivp st(1), st
    0x9b, // fwait
];

fn x87(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, X87)?;
    program.data.write(0, &0x37bu16.to_le_bytes()); // division by zero unmasked
    program.set(Reg::Rbx, DATA.0);
    program.expect(Trap::Exception(Exception::X87), 8)?;
    check!(
        program.cpu.fx.fsw & 0x84 == 0x84,
        "the status word {:#x} has no pending division by zero",
        program.cpu.fx.fsw
    );
    program.cpu.fx.fsw &= !0x80ff;
    program.rewind();
    program.cpu.rip += 8;
    program.code.write(9, INT80);
    program.expect(Trap::Int80, 11)
}

const SSE: &[u8] = &[
    0x0f, 0xae, 0x13, // ldmxcsr [rbx]
    0xf3, 0x0f, 0x5e, 0xc1, // divss xmm0, xmm1
];

fn sse(machine: &Arc<dyn Machine>) -> Outcome {
    if is_qemu(machine) {
        return Ok(());
    }
    let mut program = Program::new(machine, SSE)?;
    program.data.write(0, &0x1d80u32.to_le_bytes()); // division by zero unmasked
    program.set(Reg::Rbx, DATA.0);
    program.cpu.fx.xmm[0] = u128::from(1f32.to_bits());
    program.expect(Trap::Exception(Exception::Simd), 3)?;
    check!(program.cpu.fx.xmm[0] == u128::from(1f32.to_bits()), "the destination changed");
    check!(program.cpu.fx.mxcsr & 4 != 0, "MXCSR {:#x} does not say why", program.cpu.fx.mxcsr);
    Ok(())
}

const STEPS: &[u8] = &[
    0xff, 0xc0, // inc eax
    0xff, 0xc0, // inc eax
    0xeb, 0x01, // jmp 1f
    0x90, // nop
    0xff, 0xc0, // 1: inc eax
    0x0f, 0x05, // syscall
];

fn single_step(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, STEPS)?;
    program.cpu.rflags |= UserContext::TRAP_FLAG;
    for (eax, offset) in [(1, 2), (2, 4), (2, 7), (3, 9)] {
        program.expect(Trap::Exception(Exception::Debug), offset)?;
        check!(program.reg(Reg::Rax) == eax, "EAX is {}, not {eax}", program.reg(Reg::Rax));
        check!(program.cpu.rflags & UserContext::TRAP_FLAG != 0, "the trap flag is gone");
    }
    program.expect(Trap::Syscall, 11)?;
    let r11 = program.reg(Reg::R11);
    check!(r11 & UserContext::TRAP_FLAG != 0, "R11 is {r11:#x}, without the trap flag");
    program.rewind();
    program.cpu.rflags &= !UserContext::TRAP_FLAG;
    program.expect(Trap::Syscall, 11)
}

const POPF: &[u8] = &[
    0x68, 0x02, 0x30, 0x00, 0x00, // push 0x3002
    0x9d, // popfq
    0x9c, // pushfq
    0x58, // pop rax
    0x68, 0xd5, 0x0c, 0x24, 0x00, // push 0x240cd5
    0x9d, // popfq
    0x9c, // pushfq
    0x5b, // pop rbx
    0x6a, 0x02, // push 2
    0x9d, // popfq
    0x0f, 0x05, // syscall
];

fn popf(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, POPF)?;
    program.expect(Trap::Syscall, 21)?;
    let (rax, rbx) = (program.reg(Reg::Rax), program.reg(Reg::Rbx));
    check!(rax == 0x202, "without any flag PUSHF gives {rax:#x}");
    check!(rbx == 0x24_0ed7, "with every flag PUSHF gives {rbx:#x}");
    check!(program.cpu.rflags == 0x202, "flags are {:#x}", program.cpu.rflags);
    Ok(())
}
