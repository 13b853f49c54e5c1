//! A program's registers: it finds what it was given, keeps them over interruptions, and shares them with nobody.

use alloc::string::String;
use alloc::sync::Arc;

use super::harness::{CODE, DATA, DATA_FLAGS, Program, word};
use super::{Case, Outcome};
use crate::{Instant, Machine, PAGE_SIZE, Reg, Trap, UserContext};

pub(super) const CASES: &[Case] = &[
    ("a program finds the x87 and SSE state it was given, and its changes come back", fx_state),
    ("FS and GS are based where the context says", segments),
    ("a computation over all registers ends the same however often it is interrupted", interrupted),
];

const SHOW: &[u8] = &[
    0x0f, 0x11, 0x07, // movups [rdi], xmm0
    0x44, 0x0f, 0x11, 0x7f, 0x10, // movups [rdi + 16], xmm15
    0x0f, 0xae, 0x5f, 0x20, // stmxcsr [rdi + 32]
    0xd9, 0x7f, 0x24, // fnstcw [rdi + 36]
    0xdb, 0x7f, 0x28, // fstp tbyte [rdi + 40]
    0x66, 0x0f, 0xd4, 0xc0, // paddq xmm0, xmm0
    0xd8, 0xc1, // fadd st, st(1)
    0x0f, 0x05, // syscall
];

/// 2^`exponent` times 1.5 in the x87's format.
fn extended(exponent: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[7] = 0xc0;
    bytes[8..10].copy_from_slice(&(0x3fff + exponent).to_le_bytes());
    bytes
}

fn fx_state(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, SHOW)?;
    let low = 0x1111_2222_3333_4444_5555_6666_7777_8888u128;
    program.set(Reg::Rdi, DATA.0);
    let fx = &mut program.cpu.fx;
    fx.mxcsr = 0x7fa0; // inexact was seen; rounds towards zero
    fx.fcw = 0x0f7f; // rounds towards zero
    fx.fsw = 0x2800; // the top of the stack is physical register 5
    fx.ftw = 0xff;
    for (i, (st, xmm)) in fx.st.iter_mut().zip(&mut fx.xmm).enumerate() {
        *st = extended(i as u16);
        *xmm = low << i;
    }
    fx.xmm[15] = !low;
    let before = fx.clone();
    program.expect_syscall()?;
    let data = &program.data;
    let wide = |at: usize| u128::from(word(data, at)) | u128::from(word(data, at + 8)) << 64;
    check!(wide(0) == low && wide(16) == !low, "the program saw XMM0 {:#x}, XMM15 {:#x}", wide(0), wide(16));
    check!(word(data, 32) == 0x0f7f_0000_7fa0, "the program saw MXCSR and control word {:#x}", word(data, 32));
    check!(wide(40) == u128::from_le_bytes(before.st[0]), "the program saw ST0 {:#x}", wide(40));
    let fx = &program.cpu.fx;
    check!(fx.mxcsr == before.mxcsr && fx.fcw == before.fcw, "MXCSR {:#x}, FCW {:#x}", fx.mxcsr, fx.fcw);
    check!(fx.ftw == !(1 << 5), "the tag word is {:#x}, register 5 should be empty", fx.ftw);
    check!(fx.fsw & 0x3800 == 0x3000, "the status word is {:#x}, the top should be 6", fx.fsw);
    // 1.5 * 2 + 1.5 * 4 is 9, or 1.125 * 8.
    check!(fx.st[0][..10] == [0, 0, 0, 0, 0, 0, 0, 0x90, 0x02, 0x40], "ST0 is {:x?}", fx.st[0]);
    check!(fx.st[1][..10] == before.st[2][..10], "ST1 is {:x?}", fx.st[1]);
    check!(fx.xmm[0] == 0x2222_4444_6666_8888_aaaa_cccc_eeef_1110, "XMM0 is {:#x}", fx.xmm[0]);
    check!(fx.xmm[1..] == before.xmm[1..], "XMM1 to XMM15 are {:x?}", &fx.xmm[1..]);
    Ok(())
}

const SEGMENTS: &[u8] = &[
    0x64, 0x48, 0x8b, 0x04, 0x25, 0x08, 0x00, 0x00, 0x00, // mov rax, fs:[8]
    0x65, 0x48, 0x8b, 0x59, 0x10, // mov rbx, gs:[rcx + 16]
    0x64, 0x48, 0x89, 0x1c, 0x25, 0x18, 0x00, 0x00, 0x00, // mov fs:[24], rbx
    0x0f, 0x05, // syscall
];

fn segments(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, SEGMENTS)?;
    program.cpu.fs_base = DATA.0 + 64;
    program.cpu.gs_base = DATA.0.wrapping_neg();
    program.set(Reg::Rcx, DATA.0.wrapping_mul(2).wrapping_add(512));
    program.data.write(64 + 8, &7u64.to_le_bytes());
    program.data.write(512 + 16, &9u64.to_le_bytes());
    program.expect_syscall()?;
    let seen = (program.reg(Reg::Rax), program.reg(Reg::Rbx), word(&program.data, 64 + 24));
    check!(seen == (7, 9, 9), "FS, GS, FS gave {seen:?}");
    let bases = (program.cpu.fs_base, program.cpu.gs_base);
    check!(bases == (DATA.0 + 64, DATA.0.wrapping_neg()), "the bases are {bases:x?}");
    let mut other = Program::new(machine, SEGMENTS)?;
    let at = DATA + 4 * PAGE_SIZE;
    other.map(at, DATA_FLAGS)?.write(8, &[3]);
    (other.cpu.fs_base, other.cpu.gs_base) = (at.0, at.0);
    other.expect_syscall()?;
    check!(other.reg(Reg::Rax) == 3, "another program's FS gave {}", other.reg(Reg::Rax));
    program.rewind().set(Reg::Rcx, DATA.0.wrapping_mul(2).wrapping_add(512)).expect_syscall()?;
    check!(program.reg(Reg::Rax) == 7, "FS gave {} after another program ran", program.reg(Reg::Rax));
    Ok(())
}

const BUSY: &[u8] = &[
    0x48, 0x83, 0xc0, 0x01, // 1: add rax, 1
    0x48, 0x8d, 0x1c, 0x43, // lea rbx, [rbx + rax * 2]
    0x48, 0xc1, 0xc2, 0x05, // rol rdx, 5
    0x48, 0x31, 0xda, // xor rdx, rbx
    0x64, 0x48, 0x03, 0x2c, 0x25, 0x00, 0x00, 0x00, 0x00, // add rbp, fs:[0]
    0x65, 0x48, 0x33, 0x34, 0x25, 0x08, 0x00, 0x00, 0x00, // xor rsi, gs:[8]
    0x48, 0x29, 0xf7, // sub rdi, rsi
    0x4d, 0x8d, 0x44, 0x38, 0x03, // lea r8, [r8 + rdi + 3]
    0x4d, 0x6b, 0xc9, 0x07, // imul r9, r9, 7
    0x4d, 0x01, 0xca, // add r10, r9
    0x49, 0xc1, 0xcc, 0x07, // ror r12, 7
    0x4d, 0x01, 0xd4, // add r12, r10
    0x49, 0xf7, 0xd5, // not r13
    0x4d, 0x11, 0xee, // adc r14, r13
    0x41, 0x56, // push r14
    0x41, 0x5f, // pop r15
    0xf2, 0x0f, 0x59, 0xc1, // mulsd xmm0, xmm1
    0xf2, 0x0f, 0x58, 0xd0, // addsd xmm2, xmm0
    0x66, 0x0f, 0xd4, 0xdc, // paddq xmm3, xmm4
    0x66, 0x0f, 0xef, 0xeb, // pxor xmm5, xmm3
    0x66, 0x44, 0x0f, 0xfc, 0xfd, // paddb xmm15, xmm5
    0xd8, 0xc1, // fadd st, st(1)
    0xd9, 0xca, // fxch st(2)
    0xd8, 0xcb, // fmul st, st(3)
    0xdc, 0xe9, // fsub st(1), st
    0x48, 0xff, 0xc9, // dec rcx
    0x75, 0x9d, // jnz 1b
    0x0f, 0x05, // syscall
];

/// Puts something else into every register a program has.
const SCRAMBLE: &[u8] = &[
    0xdb, 0xe3, // fninit
    0xd9, 0xe8, // fld1
    0xd9, 0xe9, // fldl2t
    0x66, 0x48, 0x0f, 0x6e, 0xc0, // movq xmm0, rax
    0x66, 0x0f, 0x70, 0xc8, 0x00, // pshufd xmm1, xmm0, 0
    0x0f, 0x28, 0xd1, // movaps xmm2, xmm1
    0x0f, 0x28, 0xd9, // movaps xmm3, xmm1
    0x44, 0x0f, 0x28, 0xf9, // movaps xmm15, xmm1
    0x48, 0x89, 0xc3, // mov rbx, rax
    0x48, 0x89, 0xc5, // mov rbp, rax
    0x49, 0x89, 0xc7, // mov r15, rax
    0xfd, // std
    0xf9, // stc
    0x0f, 0x05, // syscall
];

fn start_busy(machine: &Arc<dyn Machine>, rounds: u64) -> Result<Program, String> {
    let mut program = Program::new(machine, BUSY)?;
    for (i, gpr) in program.cpu.gpr.iter_mut().enumerate() {
        if i != Reg::Rsp as usize {
            *gpr = 0x0123_4567_89ab_cdef_u64.rotate_left(i as u32);
        }
    }
    program.set(Reg::Rcx, rounds);
    (program.cpu.fs_base, program.cpu.gs_base) = (DATA.0, DATA.0 + 8);
    program.data.write(0, &[0x77; 32]);
    program.cpu.set_flags(0x0d1);
    let fx = &mut program.cpu.fx;
    (fx.mxcsr, fx.fcw, fx.ftw) = (0x5f80, 0x0b7f, 0xff);
    for (i, (st, xmm)) in fx.st.iter_mut().zip(&mut fx.xmm).enumerate() {
        *st = extended(i as u16);
        *xmm = 0x3ff0_0000_0000_0101_3ff0_0000_0000_0001 + i as u128;
    }
    Ok(program)
}

/// The state without what processors do not keep unless an x87 exception is pending: where the last one happened.
fn comparable(cpu: &UserContext) -> UserContext {
    let mut cpu = cpu.clone();
    (cpu.fx.fop, cpu.fx.fip, cpu.fx.fdp) = (0, 0, 0);
    // Which components are in their initial state is the processor's to tell.
    cpu.extended.header = [0; 8];
    cpu
}

fn interrupted(machine: &Arc<dyn Machine>) -> Outcome {
    const ENOUGH: u32 = 20;
    const SLICE_NS: u64 = 100_000;
    // As many rounds as it takes to be interrupted often enough, whatever the machine's speed and clock.
    for rounds in [20_000, 200_000, 2_000_000] {
        let mut whole = start_busy(machine, rounds)?;
        whole.expect_syscall()?;
        check!(whole.cpu.rip == CODE.0 + BUSY.len() as u64, "it ended at {:#x}", whole.cpu.rip);
        let mut pieces = start_busy(machine, rounds)?;
        let mut scrambler = Program::new(machine, SCRAMBLE)?;
        let interruptions = run_in_pieces(&mut pieces, &mut scrambler, SLICE_NS)?;
        let (one, many) = (comparable(&whole.cpu), comparable(&pieces.cpu));
        check!(one == many, "{interruptions} interruptions changed the result: {one:x?} became {many:x?}");
        if interruptions >= ENOUGH {
            return Ok(());
        }
    }
    Err(String::from("a long computation was hardly ever interrupted"))
}

fn run_in_pieces(program: &mut Program, scrambler: &mut Program, slice: u64) -> Result<u32, String> {
    let mut interruptions = 0;
    loop {
        let until: Instant = program.machine.now() + slice;
        match program.run_until(until) {
            Trap::Syscall => return Ok(interruptions),
            Trap::Interrupted => interruptions += 1,
            trap => return Err(alloc::format!("{trap:?} at {:#x}", program.cpu.rip)),
        }
        scrambler.rewind().set(Reg::Rax, 0x5a5a_5a5a_5a5a_5a5a ^ u64::from(interruptions));
        scrambler.expect_syscall()?;
    }
}
