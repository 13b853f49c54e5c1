//! What a processor must do between and around instructions: exact faults, fuel, code that changes, spaces kept apart.
#![allow(missing_docs)]

mod support;

use aurora_machine::{
    Access, Exception, PAGE_SIZE, PageFault, PageFlags, PageTable, Reg, SpaceRoot, Trap, UserContext, VirtAddr,
    VirtRange,
};
use support::{Guest, R, RW, RWX, RX};

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x60_0000;
const STACK: u64 = 0x7f_0000;

/// `HLT`, which a program may not, ends every test program.
const END: u8 = 0xf4;

/// A guest with `code` at [`CODE`], two pages of data and a stack.
fn guest(code: &[u8]) -> Guest {
    let mut guest = Guest::new(4);
    guest.map(CODE, PAGE_SIZE, &[code, &[END]].concat(), RX);
    guest.map(DATA, 2 * PAGE_SIZE, &[], RW);
    guest.map(STACK - PAGE_SIZE, PAGE_SIZE, &[], RW);
    guest.cpu = UserContext::new(CODE, STACK);
    guest
}

const ENDED: Trap = Trap::Exception(Exception::GeneralProtection(0));

fn fault(addr: u64, access: Access, protection: bool) -> Trap {
    Trap::PageFault(PageFault { addr: VirtAddr(addr), access, protection })
}

#[test]
fn a_store_across_pages_that_faults_writes_nothing() {
    // mov [rdi], rax
    let mut g = guest(&[0x48, 0x89, 0x07]);
    let at = DATA + 2 * PAGE_SIZE - 3;
    g.cpu.set_reg(Reg::Rdi, at);
    g.cpu.set_reg(Reg::Rax, u64::MAX);
    assert_eq!(g.go(), fault(DATA + 2 * PAGE_SIZE, Access::Write, false));
    assert_eq!(g.cpu.rip, CODE);
    assert_eq!(g.read(at, 3), [0; 3]);
    g.map(DATA + 2 * PAGE_SIZE, PAGE_SIZE, &[], RW);
    assert_eq!(g.go(), ENDED);
    assert_eq!(g.read_u64(at), u64::MAX);
}

#[test]
fn a_read_modify_write_reports_a_write() {
    // add [rdi], eax
    let mut g = guest(&[0x01, 0x07]);
    g.map(0x10_0000, PAGE_SIZE, &[], R);
    g.cpu.set_reg(Reg::Rdi, 0x10_0010);
    assert_eq!(g.go(), fault(0x10_0010, Access::Write, true));
    g.cpu.set_reg(Reg::Rdi, 0xffff_8000_0000_0000);
    assert_eq!(g.go(), fault(0xffff_8000_0000_0000, Access::Write, false));
}

#[test]
fn a_repeated_store_resumes_where_it_faulted() {
    // rep stosb
    let mut g = guest(&[0xf3, 0xaa]);
    g.cpu.set_reg(Reg::Rdi, DATA + PAGE_SIZE);
    g.cpu.set_reg(Reg::Rcx, PAGE_SIZE + 10);
    g.cpu.set_reg(Reg::Rax, 7);
    assert_eq!(g.go(), fault(DATA + 2 * PAGE_SIZE, Access::Write, false));
    assert_eq!((g.cpu.rip, g.cpu.reg(Reg::Rcx)), (CODE, 10));
    assert_eq!(g.cpu.reg(Reg::Rdi), DATA + 2 * PAGE_SIZE);
    g.map(DATA + 2 * PAGE_SIZE, PAGE_SIZE, &[], RW);
    assert_eq!(g.go(), ENDED);
    assert_eq!((g.cpu.rip, g.cpu.reg(Reg::Rcx)), (CODE + 2, 0));
    assert_eq!(g.read(DATA + 2 * PAGE_SIZE, 12), [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0]);
}

#[test]
fn fuel_is_exact() {
    // 1: inc rax; dec rcx; jnz 1b
    let code = [0x48, 0xff, 0xc0, 0x48, 0xff, 0xc9, 0x75, 0xf8];
    for n in [1, 2, 3, 4, 100, 299, 300] {
        let mut g = guest(&code);
        g.cpu.set_reg(Reg::Rcx, 1000);
        let mut fuel = n;
        assert_eq!(g.run(&mut fuel), Trap::Interrupted);
        assert_eq!((fuel, g.processor.retired()), (0, n));
        assert_eq!(g.cpu.reg(Reg::Rax), n.div_ceil(3));
        assert_eq!(g.cpu.rip, CODE + [0, 3, 6][(n % 3) as usize]);
    }
    let mut g = guest(&code);
    g.cpu.set_reg(Reg::Rcx, 10);
    let mut fuel = 1000;
    assert_eq!(g.run(&mut fuel), ENDED);
    assert_eq!((1000 - fuel, g.processor.retired()), (30, 30));
}

#[test]
fn a_repeated_instruction_takes_fuel_by_the_iteration() {
    // rep movsb
    let mut g = guest(&[0xf3, 0xa4]);
    g.cpu.set_reg(Reg::Rsi, DATA);
    g.cpu.set_reg(Reg::Rdi, DATA + 0x800);
    g.cpu.set_reg(Reg::Rcx, 100);
    assert_eq!(g.run(&mut 40), Trap::Interrupted);
    assert_eq!((g.cpu.rip, g.cpu.reg(Reg::Rcx)), (CODE, 60));
    let mut fuel = 61;
    assert_eq!(g.run(&mut fuel), ENDED);
    assert_eq!((fuel, g.processor.retired()), (1, 100));
}

#[test]
fn an_instruction_across_pages_is_fetched_anew_when_its_first_page_is_another() {
    // mov eax, 1, with two bytes in the first page
    const AT: usize = PAGE_SIZE as usize - 2;
    let mut g = guest(&[]);
    let code = |value: u8| [&[0x90; AT][..], &[0xb8, value]].concat();
    let other = |g: &mut Guest, value| {
        g.unmap(CODE);
        let frame = g.memory.allocate().expect("a frame");
        frame.write(0, &code(value));
        // Mapped elsewhere too, so that nobody writes to it.
        g.map_frame(CODE + (0x10 + u64::from(value)) * PAGE_SIZE, frame.clone(), RX);
        g.map_frame(CODE, frame, RX);
    };
    other(&mut g, 1);
    g.map(CODE + PAGE_SIZE, PAGE_SIZE, &[0, 0, 0, END], RX);
    for value in [1, 2, 3] {
        if value > 1 {
            other(&mut g, value);
        }
        g.cpu.rip = CODE + AT as u64;
        assert_eq!(g.go(), ENDED);
        assert_eq!(g.cpu.reg(Reg::Rax), value.into());
    }
}

#[test]
fn a_program_that_changes_its_next_instruction_executes_the_new_one() {
    // mov byte [rdi], 0x42 (the immediate of the next instruction); mov al, 1
    let mut g = guest(&[]);
    g.unmap(CODE);
    g.map(CODE, PAGE_SIZE, &[0xc6, 0x07, 0x42, 0xb0, 0x01, END], RWX);
    g.cpu.set_reg(Reg::Rdi, CODE + 4);
    assert_eq!(g.go(), ENDED);
    assert_eq!(g.cpu.reg(Reg::Rax), 0x42);
    assert_eq!(g.processor.retired(), 2);
}

#[test]
fn a_loop_that_changes_itself_every_time_round_is_right() {
    // 1: inc dword [rdi]; mov eax, 0 (the operand is incremented); dec ecx; jnz 1b
    let mut g = guest(&[]);
    g.unmap(CODE);
    let code = [0xff, 0x07, 0xb8, 0, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf5, END];
    g.map(CODE, PAGE_SIZE, &code, RWX);
    g.cpu.set_reg(Reg::Rdi, CODE + 3);
    g.cpu.set_reg(Reg::Rcx, 50);
    assert_eq!(g.go(), ENDED);
    assert_eq!((g.cpu.reg(Reg::Rax), g.processor.retired()), (50, 200));
}

#[test]
fn what_the_kernel_writes_into_code_is_executed() {
    // mov eax, 1
    let mut g = guest(&[0xb8, 1, 0, 0, 0]);
    assert_eq!(g.go(), ENDED);
    assert_eq!(g.cpu.reg(Reg::Rax), 1);
    let mapping = g.table.query(VirtAddr(CODE)).expect("mapped");
    mapping.frame.write(1, &[2]);
    g.cpu.rip = CODE;
    assert_eq!(g.go(), ENDED);
    assert_eq!(g.cpu.reg(Reg::Rax), 2);
}

#[test]
fn a_write_through_another_mapping_of_code_is_noticed() {
    // mov byte [rdi], 5; jmp to mov eax, 1 in the next lines
    let mut g = guest(&[0xc6, 0x07, 0x05, 0xeb, 0x00, 0xb8, 1, 0, 0, 0]);
    let frame = g.table.query(VirtAddr(CODE)).expect("mapped").frame;
    g.map_frame(0x50_0000, frame, RW);
    // First so that the block after the jump exists.
    g.cpu.set_reg(Reg::Rdi, DATA);
    assert_eq!(g.go(), ENDED);
    assert_eq!(g.cpu.reg(Reg::Rax), 1);
    g.cpu.set_reg(Reg::Rdi, 0x50_0000 + 6);
    g.cpu.rip = CODE;
    assert_eq!(g.go(), ENDED);
    assert_eq!(g.cpu.reg(Reg::Rax), 5);
}

#[test]
fn an_instruction_across_pages_follows_its_second_page() {
    // mov eax, imm32, its immediate in the next page
    let mut g = guest(&[]);
    g.map(0x10_0000, PAGE_SIZE, &[], RX);
    let start = 0x10_0000 + PAGE_SIZE - 1;
    g.table.query(VirtAddr(0x10_0000)).expect("mapped").frame.write(PAGE_SIZE as usize - 1, &[0xb8]);
    g.cpu.rip = start;
    assert_eq!(g.go(), fault(start + 1, Access::Execute, false));
    for value in [1u8, 2] {
        g.map(start + 1, PAGE_SIZE, &[value, 0, 0, 0, END], RX);
        g.cpu.rip = start;
        assert_eq!(g.go(), ENDED);
        assert_eq!(g.cpu.reg(Reg::Rax), value.into());
        g.unmap(start + 1);
    }
    // A write into the second page only.
    g.map(start + 1, PAGE_SIZE, &[3, 0, 0, 0, END], RX);
    g.cpu.rip = start;
    assert_eq!(g.go(), ENDED);
    g.table.query(VirtAddr(start + 1)).expect("mapped").frame.write(0, &[4]);
    g.cpu.rip = start;
    assert_eq!(g.go(), ENDED);
    assert_eq!(g.cpu.reg(Reg::Rax), 4);
}

#[test]
fn the_trap_flag_traps_after_each_instruction() {
    // inc eax; rep stosb; inc eax
    let mut g = guest(&[0xff, 0xc0, 0xf3, 0xaa, 0xff, 0xc0]);
    g.cpu.rflags |= UserContext::TRAP_FLAG;
    g.cpu.set_reg(Reg::Rdi, DATA);
    g.cpu.set_reg(Reg::Rcx, 2);
    let mut places = vec![];
    while g.go() == Trap::Exception(Exception::Debug) {
        places.push(g.cpu.rip - CODE);
    }
    // The repeated instruction traps after each iteration, on itself until the last.
    assert_eq!(places, [2, 2, 4, 6]);
    assert_eq!(g.processor.retired(), 4);
}

#[test]
fn popf_sets_the_trap_flag_for_the_instruction_after() {
    // popfq; nop; nop
    let mut g = guest(&[0x9d, 0x90, 0x90]);
    g.cpu.set_reg(Reg::Rsp, STACK - 8);
    g.write(STACK - 8, &0x302u64.to_le_bytes());
    assert_eq!(g.go(), Trap::Exception(Exception::Debug));
    assert_eq!(g.cpu.rip, CODE + 2);
}

#[test]
fn software_traps_come_after_their_instruction() {
    let cases: [(&[u8], Trap); 3] = [
        (&[0xcc], Trap::Exception(Exception::Breakpoint)),
        (&[0xcd, 0x80], Trap::Int80),
        (&[0x0f, 0x05], Trap::Syscall),
    ];
    for (code, trap) in cases {
        let mut g = guest(code);
        assert_eq!(g.go(), trap);
        let after = CODE + code.len() as u64;
        assert_eq!((g.cpu.rip, g.processor.retired()), (after, 1));
        if trap == Trap::Syscall {
            assert_eq!((g.cpu.reg(Reg::Rcx), g.cpu.reg(Reg::R11)), (after, 0x202));
        }
    }
    let mut g = guest(&[0xcd, 0x21]);
    assert_eq!(g.go(), Trap::Exception(Exception::GeneralProtection(0x21 * 8 + 2)));
    assert_eq!(g.cpu.rip, CODE);
}

#[test]
fn xgetbv_says_what_cpuid_does_and_what_is_in_use() {
    // cpuid; xgetbv
    let run = |code: &[u8], rax: u64, rcx: u64| {
        let mut g = guest(code);
        g.cpu.set_reg(Reg::Rax, rax);
        g.cpu.set_reg(Reg::Rcx, rcx);
        let trap = g.go();
        (trap, [Reg::Rax, Reg::Rbx, Reg::Rcx, Reg::Rdx].map(|r| g.cpu.reg(r)))
    };
    let (cpuid, xgetbv) = ([0x0f, 0xa2], [0x0f, 0x01, 0xd0]);
    let features = run(&cpuid, 1, 0).1[2];
    assert_eq!(features >> 26 & 7, 7, "XSAVE, OSXSAVE with it, and AVX");
    let (_, [components, size, largest, high]) = run(&cpuid, 13, 0);
    assert_eq!((components, size, largest, high), (7, 832, 832, 0));
    let mut g = guest(&cpuid);
    g.cpu.set_reg(Reg::Rax, 13);
    g.cpu.set_reg(Reg::Rcx, 2);
    g.go();
    assert_eq!([Reg::Rax, Reg::Rbx].map(|r| g.cpu.reg(r)), [256, 576], "the upper halves' size and place");
    assert_eq!(run(&xgetbv, 0, 0), (ENDED, [components, 0, 0, high]));
    // Nothing was calculated yet.
    assert_eq!(run(&xgetbv, 9, 1), (ENDED, [0, 0, 1, 0]));
    assert_eq!(run(&xgetbv, 9, 2).0, Trap::Exception(Exception::GeneralProtection(0)));
    // pcmpeqd xmm0, xmm0; xgetbv
    assert_eq!(run(&[0x66, 0x0f, 0x76, 0xc0, 0x0f, 0x01, 0xd0], 9, 1).1[0], 2);
    // vpcmpeqd ymm0, ymm0, ymm0; xgetbv
    assert_eq!(run(&[0xc5, 0xfd, 0x76, 0xc0, 0x0f, 0x01, 0xd0], 9, 1).1[0], 6);
}

#[test]
fn spaces_do_not_see_each_others_pages() {
    // mov rax, [rdi]
    let mut g = guest(&[0x48, 0x8b, 0x07]);
    g.write(DATA, &[1]);
    let mut other = PageTable::new(&g.memory).expect("a table");
    let frame = g.memory.allocate().expect("a frame");
    frame.write(0, &[2]);
    let code = g.table.query(VirtAddr(CODE)).expect("mapped").frame;
    other.cursor(VirtRange::user()).map(VirtAddr(CODE), code, RX).expect("a table");
    other.cursor(VirtRange::user()).map(VirtAddr(DATA), frame, RW).expect("a table");
    let mut run = |root: SpaceRoot| {
        g.cpu.rip = CODE;
        g.cpu.set_reg(Reg::Rdi, DATA);
        assert_eq!(g.processor.run(&mut g.cpu, root, &mut 100, &mut g.env), ENDED);
        g.cpu.reg(Reg::Rax)
    };
    let (a, b) = (g.table.root(), other.root());
    assert_eq!([run(a), run(b), run(a), run(b)], [1, 2, 1, 2]);
}

#[test]
fn a_page_made_read_only_faults_once_invalidated() {
    // mov [rdi], eax
    let mut g = guest(&[0x89, 0x07]);
    g.cpu.set_reg(Reg::Rdi, DATA);
    assert_eq!(g.go(), ENDED);
    let page = VirtRange::page_of(VirtAddr(DATA));
    g.table.cursor(VirtRange::user()).protect(VirtAddr(DATA), PageFlags::USER | PageFlags::NO_EXECUTE);
    g.processor.invalidate(g.table.root(), page);
    g.cpu.rip = CODE;
    assert_eq!(g.go(), fault(DATA, Access::Write, true));
}

#[test]
fn code_that_lost_its_permission_is_not_run_from_the_cache() {
    let mut g = guest(&[0x90]);
    assert_eq!(g.go(), ENDED);
    g.table.cursor(VirtRange::user()).protect(VirtAddr(CODE), PageFlags::USER | PageFlags::NO_EXECUTE);
    g.processor.invalidate(g.table.root(), VirtRange::page_of(VirtAddr(CODE)));
    g.cpu.rip = CODE;
    assert_eq!(g.go(), fault(CODE, Access::Execute, true));
}

#[test]
fn more_spaces_than_tags_still_work() {
    let mut g = guest(&[0x48, 0x8b, 0x07]);
    g.cpu.set_reg(Reg::Rdi, DATA);
    let root = g.table.root();
    for id in 0..10_000 {
        g.cpu.rip = CODE;
        let space = SpaceRoot { id: aurora_machine::SpaceId(1_000_000 + id), ..root };
        assert_eq!(g.processor.run(&mut g.cpu, space, &mut 100, &mut g.env), ENDED);
        if id % 2 == 0 {
            g.processor.retire(space);
        }
    }
}

#[test]
fn non_canonical_accesses_are_protection_and_stack_faults() {
    // mov rax, [rdi]
    let mut g = guest(&[0x48, 0x8b, 0x07]);
    g.cpu.set_reg(Reg::Rdi, 1 << 63);
    assert_eq!(g.go(), Trap::Exception(Exception::GeneralProtection(0)));
    assert_eq!(g.cpu.rip, CODE);
    // push rax
    let mut g = guest(&[0x50]);
    g.cpu.set_reg(Reg::Rsp, 1 << 63);
    assert_eq!(g.go(), Trap::Exception(Exception::StackFault));
    assert_eq!(g.cpu.reg(Reg::Rsp), 1 << 63);
}

#[test]
fn pop_works_out_its_address_with_the_stack_pointer_moved_in_every_form() {
    // pop qword [rsp+8], the same with a 32-bit address, with GS, and pop word with a 32-bit address
    let forms: [(&[u8], u64); 4] = [
        (&[0x8f, 0x44, 0x24, 8], 8),
        (&[0x67, 0x8f, 0x44, 0x24, 8], 8),
        (&[0x65, 0x8f, 0x44, 0x24, 8], 8),
        (&[0x67, 0x66, 0x8f, 0x44, 0x24, 8], 2),
    ];
    for (code, size) in forms {
        let mut g = guest(code);
        let top = STACK - 64;
        g.cpu.set_reg(Reg::Rsp, top);
        g.write(top, &0x1234_u64.to_le_bytes());
        assert_eq!(g.go(), ENDED);
        assert_eq!((g.cpu.reg(Reg::Rsp), g.read_u64(top + size + 8)), (top + size, 0x1234), "{code:x?}");
    }
}

#[test]
fn the_environment_answers_rdtsc_and_rdrand() {
    // rdtsc; rdrand rcx
    let mut g = guest(&[0x0f, 0x31, 0x48, 0x0f, 0xc7, 0xf1]);
    assert_eq!(g.go(), ENDED);
    assert_eq!(g.cpu.reg(Reg::Rax), 1);
    assert_eq!(g.cpu.reg(Reg::Rcx), g.env.0);
    assert_eq!(g.cpu.rflags & 1, 1);
}

#[test]
fn cpuid_names_the_processor() {
    // cpuid
    let mut g = guest(&[0x0f, 0xa2]);
    let mut name = Vec::new();
    for leaf in 0x8000_0002u64..=0x8000_0004 {
        g.cpu.rip = CODE;
        g.cpu.set_reg(Reg::Rax, leaf);
        assert_eq!(g.go(), ENDED);
        for reg in [Reg::Rax, Reg::Rbx, Reg::Rcx, Reg::Rdx] {
            name.extend((g.cpu.reg(reg) as u32).to_le_bytes());
        }
    }
    let text: Vec<u8> = name.into_iter().take_while(|&b| b != 0).collect();
    assert_eq!(text, aurora_bpe::Processor::name().as_bytes());
}

#[test]
fn an_instruction_of_more_than_fifteen_bytes_is_a_protection_fault() {
    let mut g = guest(&[&[0x66; 15][..], &[0x90]].concat());
    assert_eq!(g.go(), Trap::Exception(Exception::GeneralProtection(0)));
    assert_eq!(g.cpu.rip, CODE);
}

#[test]
fn a_comparison_joined_to_its_jump_does_what_both_do_alone() {
    // CMP and TEST with register, immediate and memory operands, of 8, 32 and 64 bits, on RAX, RCX and [RDI].
    let comparisons: [&[u8]; 16] = [
        &[0x38, 0xc8],
        &[0x39, 0xc8],
        &[0x48, 0x39, 0xc8],
        &[0x48, 0x83, 0xf8, 0xff],
        &[0x3c, 0x7f],
        &[0x3d, 0, 0, 0, 0x80],
        &[0x80, 0x3f, 0x80],
        &[0x83, 0x3f, 0x00],
        &[0x48, 0x3b, 0x07],
        &[0x3a, 0x07],
        &[0x48, 0x39, 0x07],
        &[0x84, 0xc0],
        &[0x85, 0xc8],
        &[0x48, 0x85, 0xc8],
        &[0xa8, 0x81],
        &[0xf7, 0x07, 0, 0, 0, 0x80],
    ];
    let values = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, u64::MAX, 1 << 63, i64::MAX as u64];
    for comparison in comparisons {
        for condition in 0..16 {
            // The jump skips INC EBX.
            let mut g = guest(&[comparison, &[0x70 | condition, 2, 0xff, 0xc3]].concat());
            for a in values {
                for b in values {
                    let mut result = [false, true].map(|alone| {
                        g.cpu = UserContext::new(CODE, STACK);
                        g.cpu.set_reg(Reg::Rax, a);
                        g.cpu.set_reg(Reg::Rcx, b);
                        g.cpu.set_reg(Reg::Rdi, DATA);
                        g.write(DATA, &b.to_le_bytes());
                        let fuel = if alone { 1 } else { 1000 };
                        while g.run(&mut fuel.clone()) == Trap::Interrupted {}
                        g.cpu.clone()
                    });
                    let [joined, alone] = &mut result;
                    assert_eq!(joined, alone, "{comparison:x?} condition {condition} of {a:x} and {b:x}");
                }
            }
        }
    }
}
