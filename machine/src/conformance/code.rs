//! Code that changes while it is used: whoever writes it, the program runs what is there.

use alloc::sync::Arc;

use super::harness::{CODE, CODE_FLAGS, DATA, DATA_FLAGS, Program};
use super::{Case, Outcome};
use crate::{Machine, PageFlags, Reg};

pub(super) const CASES: &[Case] = &[
    ("code the kernel writes to its frame runs at once", written_by_frame),
    ("code the kernel copies to its address runs at once", written_by_copy),
    ("code another program writes through its own mapping runs at once", written_by_another),
    ("code a program writes through a second mapping runs after its next system call", written_by_alias),
    ("a program that changes its next instruction runs the new one", self_modifying),
    ("a loop that changes its own body runs each version", self_modifying_loop),
    ("code whose page was replaced runs the new page", replaced),
];

/// Runs often enough that a machine which translates hot code has done so.
const WARM: u32 = 300;

const PATCHED: &[u8] = &[
    0xb8, 0x01, 0x00, 0x00, 0x00, // mov eax, 1
    0x0f, 0x05, // syscall
];

const STORE_BYTE: &[u8] = &[
    0x88, 0x03, // mov [rbx], al
    0x0f, 0x05, // syscall
];

fn wants(program: &mut Program, value: u64) -> Outcome {
    program.rewind().set(Reg::Rax, 0).expect_syscall()?;
    check!(program.reg(Reg::Rax) == value, "the code gave {}, not {value}", program.reg(Reg::Rax));
    Ok(())
}

fn warm(program: &mut Program, value: u64) -> Outcome {
    for _ in 0..WARM {
        wants(program, value)?;
    }
    Ok(())
}

fn written_by_frame(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, PATCHED)?;
    warm(&mut program, 1)?;
    for value in 2..20 {
        program.code.write(1, &[value]);
        wants(&mut program, u64::from(value))?;
    }
    Ok(())
}

fn written_by_copy(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, PATCHED)?;
    program.protect(CODE, PageFlags::WRITE, true);
    warm(&mut program, 1)?;
    for value in 2..20 {
        program.table.copy_out(CODE + 1, &[value]).map_err(|_| "copy_out failed")?;
        wants(&mut program, u64::from(value))?;
    }
    Ok(())
}

fn written_by_another(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, PATCHED)?;
    let mut writer = Program::new(machine, STORE_BYTE)?;
    writer.map_frame(DATA, program.code.clone(), DATA_FLAGS)?;
    warm(&mut program, 1)?;
    for value in 2..20 {
        writer.rewind().set(Reg::Rbx, DATA.0 + 1).set(Reg::Rax, value).expect_syscall()?;
        wants(&mut program, value)?;
    }
    Ok(())
}

fn written_by_alias(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, PATCHED)?;
    program.map_frame(DATA, program.code.clone(), DATA_FLAGS)?;
    program.code.write(64, STORE_BYTE);
    warm(&mut program, 1)?;
    for value in 2..20 {
        program.cpu.rip = CODE.0 + 64;
        program.set(Reg::Rbx, DATA.0 + 1).set(Reg::Rax, value).expect_syscall()?;
        wants(&mut program, value)?;
    }
    Ok(())
}

const SELF: &[u8] = &[
    0xc6, 0x05, 0x03, 0x00, 0x00, 0x00, 0x02, // mov byte [rip + 1f + 1], 2
    0xeb, 0x00, // jmp 1f
    0xb8, 0x01, 0x00, 0x00, 0x00, // 1: mov eax, 1
    0x0f, 0x05, // syscall
];

fn self_modifying(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, SELF)?;
    program.protect(CODE, PageFlags::WRITE, true);
    wants(&mut program, 2)?;
    program.code.write(10, &[9]);
    wants(&mut program, 2)
}

const SELF_LOOP: &[u8] = &[
    0x31, 0xc0, // xor eax, eax
    0xb9, 0xc8, 0x00, 0x00, 0x00, // mov ecx, 200
    0xff, 0x05, 0x03, 0x00, 0x00, 0x00, // 1: inc dword [rip + 2f + 1]
    0xeb, 0x00, // jmp 2f
    0xba, 0x00, 0x00, 0x00, 0x00, // 2: mov edx, 0
    0x01, 0xd0, // add eax, edx
    0xff, 0xc9, // dec ecx
    0x75, 0xed, // jnz 1b
    0x0f, 0x05, // syscall
];

fn self_modifying_loop(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, SELF_LOOP)?;
    program.protect(CODE, PageFlags::WRITE, true);
    wants(&mut program, 200 * 201 / 2)
}

fn replaced(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, PATCHED)?;
    let other = machine.memory().allocate_copy(&program.code).map_err(|_| "out of frames")?;
    other.write(1, &[2]);
    warm(&mut program, 1)?;
    for _ in 0..5 {
        program.map_frame(CODE, other.clone(), CODE_FLAGS)?;
        wants(&mut program, 2)?;
        program.map_frame(CODE, program.code.clone(), CODE_FLAGS)?;
        wants(&mut program, 1)?;
    }
    Ok(())
}
