//! Page faults: reported exactly, with nothing half done, and the program goes on once the page is there.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::harness::{CODE, CODE_FLAGS, CONSTANT_FLAGS, DATA, DATA_FLAGS, Program, STACK, word};
use super::{Case, Outcome};
use crate::{Access, Machine, PAGE_SIZE, PageFault, PageFlags, Reg, Trap, USER_END, VirtAddr};

pub(super) const CASES: &[Case] = &[
    ("an access to a page that is not there says where and what", unmapped),
    ("an access a page's permissions forbid is a protection fault", forbidden),
    ("an instruction that faults has done nothing", nothing_half_done),
    ("an access that straddles pages names the first byte it could not reach", straddle),
    ("an instruction that straddles pages faults at the second page, and runs once it is there", straddling_fetch),
    ("after a page was mapped the program goes on, without any invalidation", goes_on),
    ("a permission added to a page works without any invalidation", permission_added),
    ("REP MOVSB stops at a missing page with its registers exact, and goes on", rep_movsb),
    ("REP STOS downwards stops at a missing page and goes on", rep_stos),
    ("the kernel's half and the last page below it are not there for programs", upper_half),
    ("accessed and dirty bits tell what was read and what was written", accessed_dirty),
];

fn fault(addr: VirtAddr, access: Access, protection: bool) -> Trap {
    Trap::PageFault(PageFault { addr, access, protection })
}

const HOLE: VirtAddr = VirtAddr(DATA.0 + PAGE_SIZE);

/// Instructions that touch memory at RBX, and how.
const TOUCHES: &[(&str, &[u8], Access)] = &[
    ("mov rax, [rbx]", &[0x48, 0x8b, 0x03], Access::Read),
    ("mov [rbx], rax", &[0x48, 0x89, 0x03], Access::Write),
    ("mov byte [rbx], 5", &[0xc6, 0x03, 0x05], Access::Write),
    ("cmp [rbx], eax", &[0x39, 0x03], Access::Read),
    ("movups xmm0, [rbx]", &[0x0f, 0x10, 0x03], Access::Read),
    ("movups [rbx], xmm0", &[0x0f, 0x11, 0x03], Access::Write),
    ("fld tbyte [rbx]", &[0xdb, 0x2b], Access::Read),
    ("push [rbx]", &[0xff, 0x33], Access::Read),
    ("pop [rbx]", &[0x8f, 0x03], Access::Write),
    ("jmp [rbx]", &[0xff, 0x23], Access::Read),
];

/// Instructions that read and write memory at RBX: with no page there, either may be reported first.
const READ_WRITES: &[(&str, &[u8])] = &[
    ("add [rbx], eax", &[0x01, 0x03]),
    ("not [rbx]", &[0xf7, 0x13]),
    ("xchg [rbx], rax", &[0x48, 0x87, 0x03]),
    ("lock xadd [rbx], eax", &[0xf0, 0x0f, 0xc1, 0x03]),
    ("lock cmpxchg [rbx], ecx", &[0xf0, 0x0f, 0xb1, 0x0b]),
    ("bts [rbx], ecx", &[0x0f, 0xab, 0x0b]),
    ("shl [rbx], cl", &[0xd3, 0x23]),
];

fn prepared(machine: &Arc<dyn Machine>, code: &[u8], rbx: VirtAddr) -> Result<Program, alloc::string::String> {
    let mut program = Program::new(machine, code)?;
    program.set(Reg::Rax, 0x5555_6666_7777_8888).set(Reg::Rbx, rbx.0).set(Reg::Rcx, 3);
    // The stack pointer is where POP has something to take, and PUSH room.
    program.set(Reg::Rsp, STACK.0 + 512);
    Ok(program)
}

fn unmapped(machine: &Arc<dyn Machine>) -> Outcome {
    let at = HOLE + 0x123;
    for (name, code, access) in TOUCHES {
        let mut program = prepared(machine, code, at)?;
        program.expect_untouched(fault(at, *access, false)).map_err(|why| format!("{name}: {why}"))?;
    }
    let mut program = prepared(machine, &[0xff, 0xe3], at)?; // jmp rbx
    let trap = program.run()?;
    check!(trap == fault(at, Access::Execute, false), "jmp rbx: {trap:?}");
    check!(program.cpu.rip == at.0, "RIP is {:#x} after the jump", program.cpu.rip);
    Ok(())
}

fn forbidden(machine: &Arc<dyn Machine>) -> Outcome {
    let at = DATA + 0x128;
    let writes = TOUCHES.iter().filter(|t| t.2 == Access::Write).map(|t| (t.0, t.1));
    for (name, code) in writes.chain(READ_WRITES.iter().copied()) {
        let mut program = prepared(machine, code, at)?;
        program.protect(DATA, CONSTANT_FLAGS, true);
        program.data.write(0x128, &[7; 16]);
        program.expect_untouched(fault(at, Access::Write, true)).map_err(|why| format!("{name}: {why}"))?;
        check!(word(&program.data, 0x128) == 0x0707_0707_0707_0707, "{name}: wrote to a read-only page");
    }
    let mut program = prepared(machine, &[0xff, 0xe3], at)?; // jmp rbx
    let trap = program.run()?;
    check!(trap == fault(at, Access::Execute, true), "jump to a page without execute permission: {trap:?}");
    let mut program = prepared(machine, &[0x48, 0x89, 0x03], CODE + 64)?; // mov [rbx], rax
    program.expect_untouched(fault(CODE + 64, Access::Write, true))
}

fn nothing_half_done(machine: &Arc<dyn Machine>) -> Outcome {
    for (name, code) in READ_WRITES {
        let mut program = prepared(machine, code, HOLE)?;
        let before = program.cpu.clone();
        match program.run()? {
            Trap::PageFault(f) if f.addr == HOLE && !f.protection && f.access != Access::Execute => {}
            trap => return Err(format!("{name}: {trap:?}")),
        }
        let same = (&before.gpr, before.rflags, before.rip) == (&program.cpu.gpr, program.cpu.rflags, program.cpu.rip);
        check!(same, "{name}: something changed: {:x?}", program.cpu);
    }
    let stack_users: [(&str, &[u8]); 5] = [
        ("push rax", &[0x50]),
        ("call rax", &[0xff, 0xd0]),
        ("pushfq", &[0x9c]),
        ("enter 16, 0", &[0xc8, 0x10, 0x00, 0x00]),
        ("push [rsp + 8]", &[0xff, 0x74, 0x24, 0x08]),
    ];
    for (name, code) in stack_users {
        let mut program = Program::new(machine, code)?;
        program.set(Reg::Rsp, DATA.0).set(Reg::Rax, CODE.0);
        program.expect_untouched(fault(DATA - 8, Access::Write, false)).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

fn straddle(machine: &Arc<dyn Machine>) -> Outcome {
    let at = HOLE - 3;
    let stores: [(&str, &[u8]); 3] = [
        ("mov [rbx], rax", &[0x48, 0x89, 0x03]),
        ("movups [rbx], xmm0", &[0x0f, 0x11, 0x03]),
        ("xchg [rbx], rax", &[0x48, 0x87, 0x03]),
    ];
    for (name, code) in stores {
        let mut program = prepared(machine, code, at)?;
        program.data.write(PAGE_SIZE as usize - 8, &[9; 8]);
        let before = program.cpu.clone();
        match program.run()? {
            Trap::PageFault(f) if f.addr == HOLE && !f.protection => {}
            trap => return Err(format!("{name}: {trap:?}")),
        }
        check!(program.cpu.gpr == before.gpr, "{name}: a register changed");
        check!(
            word(&program.data, PAGE_SIZE as usize - 8) == 0x0909_0909_0909_0909,
            "{name}: the first page was written"
        );
        let second = program.map(HOLE, DATA_FLAGS)?;
        program.code.write(code.len(), &[0xcd, 0x80]); // int 0x80
        program.expect(Trap::Int80, code.len() as u64 + 2)?;
        let (low, high) = (word(&program.data, PAGE_SIZE as usize - 8) >> 40, word(&second, 0) & 0xff_ffff_ffff);
        let wanted = if code[0] == 0x48 { 0x5555_6666_7777_8888 } else { 0 };
        check!(high << 24 | low == wanted, "{name}: {:#x} was written", high << 24 | low);
    }
    let mut program = prepared(machine, &[0x48, 0x8b, 0x03], at)?; // mov rax, [rbx]
    program.expect_untouched(fault(HOLE, Access::Read, false))
}

fn straddling_fetch(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, &[])?;
    let start = PAGE_SIZE - 4;
    let code = [
        0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, // mov rax, 0x0807060504030201
        0x0f, 0x05, // syscall
    ];
    program.code.write(start as usize, &code);
    program.cpu.rip = CODE.0 + start;
    let trap = program.run()?;
    check!(trap == fault(CODE + PAGE_SIZE, Access::Execute, false), "{trap:?}");
    check!(program.cpu.rip == CODE.0 + start, "RIP is {:#x}", program.cpu.rip);
    let second = program.map(CODE + PAGE_SIZE, CODE_FLAGS)?;
    second.write(0, &code[4..]);
    program.expect(Trap::Syscall, start + 12)?;
    check!(program.reg(Reg::Rax) == 0x0807_0605_0403_0201, "RAX is {:#x}", program.reg(Reg::Rax));
    Ok(())
}

const ADD_LOAD: &[u8] = &[
    0x48, 0x03, 0x03, // add rax, [rbx]
    0x0f, 0x05, // syscall
];

fn goes_on(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, ADD_LOAD)?;
    program.set(Reg::Rax, 40).set(Reg::Rbx, HOLE.0 + 8);
    program.expect_untouched(fault(HOLE + 8, Access::Read, false))?;
    program.map(HOLE, CONSTANT_FLAGS)?.write(8, &[2]);
    program.expect(Trap::Syscall, 5)?;
    check!(program.reg(Reg::Rax) == 42, "RAX is {}", program.reg(Reg::Rax));
    Ok(())
}

const STORE: &[u8] = &[
    0x48, 0x8b, 0x13, // mov rdx, [rbx]
    0x48, 0x89, 0x03, // mov [rbx], rax
    0x0f, 0x05, // syscall
];

fn permission_added(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = prepared(machine, STORE, DATA)?;
    program.protect(DATA, CONSTANT_FLAGS, true);
    program.expect(fault(DATA, Access::Write, true), 3)?;
    program.protect(DATA, DATA_FLAGS, false);
    program.expect(Trap::Syscall, 8)?;
    check!(word(&program.data, 0) == 0x5555_6666_7777_8888, "{:#x} was written", word(&program.data, 0));
    Ok(())
}

const REP_MOVSB: &[u8] = &[
    0xf3, 0xa4, // rep movsb
    0x0f, 0x05, // syscall
];

fn rep_movsb(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, REP_MOVSB)?;
    let source: Vec<u8> = (0..2 * PAGE_SIZE).map(|i| (i * 7 + i / 256) as u8).collect();
    program.data.write(0, &source[..PAGE_SIZE as usize]);
    let target = DATA + 16 * PAGE_SIZE;
    let first = program.map(target, DATA_FLAGS)?;
    program.set(Reg::Rsi, DATA.0 + 100).set(Reg::Rdi, target.0 + 300).set(Reg::Rcx, PAGE_SIZE);
    let moved = PAGE_SIZE - 300;
    program.expect(fault(target + PAGE_SIZE, Access::Write, false), 0)?;
    let seen = (program.reg(Reg::Rcx), program.reg(Reg::Rsi), program.reg(Reg::Rdi));
    let wanted = (300, DATA.0 + 100 + moved, target.0 + PAGE_SIZE);
    check!(seen == wanted, "RCX, RSI, RDI are {seen:x?}, not {wanted:x?}");
    let second = program.map(target + PAGE_SIZE, DATA_FLAGS)?;
    program.expect(fault(HOLE, Access::Read, false), 0)?;
    check!(program.reg(Reg::Rcx) == 100, "RCX is {}, not 100", program.reg(Reg::Rcx));
    program.map(HOLE, CONSTANT_FLAGS)?.write(0, &source[PAGE_SIZE as usize..]);
    program.expect(Trap::Syscall, 4)?;
    let mut copy = alloc::vec![0; PAGE_SIZE as usize];
    first.read(300, &mut copy[..moved as usize]);
    second.read(0, &mut copy[moved as usize..]);
    check!(copy == source[100..100 + PAGE_SIZE as usize], "the copy differs from its source");
    Ok(())
}

const REP_STOS: &[u8] = &[
    0xfd, // std
    0xf3, 0x48, 0xab, // rep stosq
    0xfc, // cld
    0x0f, 0x05, // syscall
];

fn rep_stos(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = prepared(machine, REP_STOS, DATA)?;
    program.set(Reg::Rdi, DATA.0 + 16).set(Reg::Rcx, 5);
    program.expect(fault(DATA - 8, Access::Write, false), 1)?;
    let seen = (program.reg(Reg::Rcx), program.reg(Reg::Rdi));
    check!(seen == (2, DATA.0 - 8), "RCX, RDI are {seen:x?}");
    let below = program.map(DATA - PAGE_SIZE, DATA_FLAGS)?;
    program.expect(Trap::Syscall, 7)?;
    let last = PAGE_SIZE as usize;
    let words = [word(&below, last - 24), word(&below, last - 16), word(&program.data, 16), word(&program.data, 24)];
    let v = 0x5555_6666_7777_8888;
    check!(words == [0, v, v, 0], "memory holds {words:x?}");
    Ok(())
}

fn upper_half(machine: &Arc<dyn Machine>) -> Outcome {
    let addresses = [USER_END.0, 0x7fff_ffff_fff8, 0xffff_8000_0000_0000, 0xffff_ffff_8020_8000, u64::MAX - 7];
    for addr in addresses.map(VirtAddr) {
        for (name, code, access) in &TOUCHES[..2] {
            let mut program = prepared(machine, code, addr)?;
            program.expect_untouched(fault(addr, *access, false)).map_err(|why| format!("{name}: {why}"))?;
        }
        let mut program = prepared(machine, &[0xff, 0xe3], addr)?; // jmp rbx
        let trap = program.run()?;
        check!(trap == fault(addr, Access::Execute, false), "jump to {addr:?}: {trap:?}");
    }
    Ok(())
}

const READ_WRITE: &[u8] = &[
    0x8a, 0x03, // mov al, [rbx]
    0xcd, 0x80, // int 0x80
    0x88, 0x03, // mov [rbx], al
    0xcd, 0x80, // int 0x80
];

fn accessed_dirty(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, READ_WRITE)?;
    let both = PageFlags::ACCESSED | PageFlags::DIRTY;
    program.set(Reg::Rbx, DATA.0);
    program.map(HOLE, DATA_FLAGS)?;
    check!(!program.flags(DATA)?.intersects(both), "a new page is {:?}", program.flags(DATA)?);
    program.expect(Trap::Int80, 4)?;
    check!(program.flags(DATA)? & both == PageFlags::ACCESSED, "after a read: {:?}", program.flags(DATA)?);
    check!(program.flags(CODE)? & both == PageFlags::ACCESSED, "after running: {:?}", program.flags(CODE)?);
    program.expect(Trap::Int80, 8)?;
    check!(program.flags(DATA)? & both == both, "after a write: {:?}", program.flags(DATA)?);
    check!(!program.flags(HOLE)?.intersects(both), "an unused page is {:?}", program.flags(HOLE)?);
    Ok(())
}
