//! Address spaces: what was taken away is gone, what belongs to another is not seen, what the kernel copies arrives.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::harness::{CONSTANT_FLAGS, DATA, DATA_FLAGS, Program, word};
use super::{Case, Outcome};
use crate::{Access, CopyFault, Machine, PAGE_SIZE, PageFault, Reg, Trap, VirtAddr, VirtRange};

pub(super) const CASES: &[Case] = &[
    ("a page that was unmapped is gone", unmap),
    ("a page that was made read-only refuses writes", write_protect),
    ("a page whose frame was replaced shows the new one", replace),
    ("one invalidation of many pages reaches all of them", many_pages),
    ("two spaces show their own memory at the same address", isolated),
    ("spaces made and retired one after the other never show the last one's memory", retired),
    ("a frame in two spaces is shared by them", shared),
    ("copies see what the program sees, and obey the same permissions", copies),
    ("an atomic exchange by the kernel and one by the program see each other", atomics),
    ("frames keep what is written to them", frames),
];

const LOAD: &[u8] = &[
    0x48, 0x8b, 0x03, // mov rax, [rbx]
    0x0f, 0x05, // syscall
];
const STORE: &[u8] = &[
    0x48, 0x89, 0x03, // mov [rbx], rax
    0x0f, 0x05, // syscall
];

fn page_fault(addr: VirtAddr, access: Access, protection: bool) -> Trap {
    Trap::PageFault(PageFault { addr, access, protection })
}

/// Lets the program read the word at `addr`.
fn load(program: &mut Program, addr: VirtAddr) -> Result<u64, alloc::string::String> {
    program.rewind().set(Reg::Rbx, addr.0).expect_syscall()?;
    Ok(program.reg(Reg::Rax))
}

fn unmap(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, LOAD)?;
    program.data.write(0, &[1]);
    check!(load(&mut program, DATA)? == 1, "the page does not hold what was written");
    program.unmap(DATA);
    program.rewind().expect_untouched(page_fault(DATA, Access::Read, false))
}

fn write_protect(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, STORE)?;
    program.set(Reg::Rbx, DATA.0).set(Reg::Rax, 1).expect_syscall()?;
    program.protect(DATA, CONSTANT_FLAGS, true);
    program.rewind().set(Reg::Rax, 2).expect_untouched(page_fault(DATA, Access::Write, true))?;
    check!(word(&program.data, 0) == 1, "the write went through");
    Ok(())
}

fn replace(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, LOAD)?;
    for value in 1..20u8 {
        let frame = machine.memory().allocate().map_err(|_| "out of frames")?;
        frame.write(0, &[value]);
        program.map_frame(DATA, frame, DATA_FLAGS)?;
        let seen = load(&mut program, DATA)?;
        check!(seen == u64::from(value), "{seen} was read, not {value}");
    }
    Ok(())
}

fn many_pages(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, LOAD)?;
    let base = DATA + 64 * PAGE_SIZE;
    let pages = 100u64;
    for i in 0..pages {
        program.map(base + i * PAGE_SIZE, DATA_FLAGS)?.write(0, &[i as u8]);
        let seen = load(&mut program, base + i * PAGE_SIZE)?;
        check!(seen == i, "page {i} holds {seen}");
    }
    let range = VirtRange { start: base, end: base + pages * PAGE_SIZE };
    let mut cursor = program.table.cursor(range);
    let taken: Vec<_> = (0..pages).filter_map(|i| cursor.unmap(base + i * PAGE_SIZE)).collect();
    machine.invalidate(program.table.root(), range);
    check!(taken.len() as u64 == pages, "{} pages were unmapped", taken.len());
    drop(taken);
    for i in 0..pages {
        let addr = base + i * PAGE_SIZE;
        program.rewind().set(Reg::Rbx, addr.0).expect_untouched(page_fault(addr, Access::Read, false))?;
    }
    Ok(())
}

fn isolated(machine: &Arc<dyn Machine>) -> Outcome {
    let mut one = Program::new(machine, LOAD)?;
    let mut two = Program::new(machine, LOAD)?;
    one.data.write(0, &[1]);
    two.data.write(0, &[2]);
    two.map(DATA + PAGE_SIZE, DATA_FLAGS)?;
    for _ in 0..5 {
        let seen = (load(&mut one, DATA)?, load(&mut two, DATA)?, load(&mut two, DATA + PAGE_SIZE)?);
        check!(seen == (1, 2, 0), "{seen:?} was read");
        let next = DATA + PAGE_SIZE;
        one.rewind().set(Reg::Rbx, next.0).expect_untouched(page_fault(next, Access::Read, false))?;
    }
    // A change to a space that is not running must be seen when it runs again.
    load(&mut two, DATA)?;
    one.unmap(DATA);
    one.rewind().set(Reg::Rbx, DATA.0).expect_untouched(page_fault(DATA, Access::Read, false))?;
    check!(load(&mut two, DATA)? == 2, "the other space changed");
    Ok(())
}

fn retired(machine: &Arc<dyn Machine>) -> Outcome {
    for i in 0..100u64 {
        let mut program = Program::new(machine, LOAD)?;
        program.data.write(0, &i.to_le_bytes());
        let seen = load(&mut program, DATA)?;
        check!(seen == i, "{seen} was read, not {i}");
        if i % 2 == 1 {
            program.map(DATA + PAGE_SIZE, DATA_FLAGS)?;
            load(&mut program, DATA + PAGE_SIZE)?;
        } else {
            let next = DATA + PAGE_SIZE;
            program.rewind().set(Reg::Rbx, next.0).expect_untouched(page_fault(next, Access::Read, false))?;
        }
    }
    Ok(())
}

fn shared(machine: &Arc<dyn Machine>) -> Outcome {
    let mut writer = Program::new(machine, STORE)?;
    let mut reader = Program::new(machine, LOAD)?;
    let at = DATA + 8 * PAGE_SIZE;
    reader.map_frame(at, writer.data.clone(), CONSTANT_FLAGS)?;
    for value in [5, u64::MAX, 7] {
        writer.rewind().set(Reg::Rbx, DATA.0).set(Reg::Rax, value).expect_syscall()?;
        let seen = load(&mut reader, at)?;
        check!(seen == value, "{seen:#x} was read, not {value:#x}");
    }
    Ok(())
}

fn copies(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, LOAD)?;
    let next = program.map(DATA + PAGE_SIZE, CONSTANT_FLAGS)?;
    next.write(0, &[0xee; 8]);
    let at = DATA + (PAGE_SIZE - 8);
    program.table.copy_out(at, &0x1122_3344_5566_7788u64.to_le_bytes()).map_err(|_| "copy_out failed")?;
    let seen = load(&mut program, at)?;
    check!(seen == 0x1122_3344_5566_7788, "the program reads {seen:#x}");
    let stopped = program.table.copy_out(at, &[1; 9]);
    let wanted = CopyFault { done: 8, addr: DATA + PAGE_SIZE, access: Access::Write };
    check!(stopped == Err(wanted), "a copy onto a read-only page: {stopped:?}");
    let mut back = [0; 12];
    program.table.copy_in(at, &mut back).map_err(|_| "copy_in failed")?;
    check!(back == [1, 1, 1, 1, 1, 1, 1, 1, 0xee, 0xee, 0xee, 0xee], "copied in: {back:x?}");
    check!(load(&mut program, at)? == 0x0101_0101_0101_0101, "the program missed the second copy");
    Ok(())
}

const ADD: &[u8] = &[
    0xf0, 0x0f, 0xc1, 0x03, // lock xadd [rbx], eax
    0x0f, 0x05, // syscall
];

fn atomics(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, ADD)?;
    for i in 0..10u32 {
        program.rewind().set(Reg::Rbx, DATA.0).set(Reg::Rax, 3).expect_syscall()?;
        let seen = program.reg(Reg::Rax);
        check!(seen == u64::from(i * 10), "the program found {seen}");
        let (value, phys) = program.table.load_u32(DATA).map_err(|_| "load_u32 failed")?;
        check!(value == i * 10 + 3, "the kernel found {value}");
        check!(phys == program.data.phys(), "the word is at {phys:?}");
        let old = program.table.compare_exchange_u32(DATA, value, value + 7).map_err(|_| "exchange failed")?;
        check!(old == value, "the exchange found {old}");
    }
    Ok(())
}

fn frames(machine: &Arc<dyn Machine>) -> Outcome {
    let memory = machine.memory();
    check!(memory.free_frames() <= memory.total_frames(), "more frames are free than there are");
    let count = (memory.free_frames() / 2).min(4096);
    let last = PAGE_SIZE as usize - 8;
    let mut frames = Vec::new();
    for i in 0..count {
        let frame = memory.allocate().map_err(|_| "out of frames")?;
        let fresh = (word(&frame, 0), word(&frame, last));
        check!(fresh == (0, 0), "a new frame holds {fresh:x?}");
        frame.write(0, &i.to_le_bytes());
        frame.write(last, &(!i).to_le_bytes());
        frames.push(frame);
    }
    for (i, frame) in (0..).zip(&frames) {
        let seen = (word(frame, 0), word(frame, last));
        check!(seen == (i, !i), "frame {i} at {:?} holds {seen:x?}", frame.phys());
    }
    Ok(())
}
