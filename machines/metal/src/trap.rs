//! Gates: where the processor goes on each of the 256 vectors, and what happens when it was in the kernel.
//!
//! What always holds: a trap from user mode ends `user::enter`; one from the kernel is an interrupt while idle, or the
//! kernel's own fault, which ends the machine with a report. Handlers acknowledge and set a bit; they never allocate.

use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, Ordering};

use aurora_machine::{ExtendedState, Reg, UserContext};
use raw_cpuid::CpuId;
use spin::Once;
use x86_64::VirtAddr;
use x86_64::registers::control::{Cr2, Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags, LStar, Msr, SFMask};
use x86_64::registers::rflags::RFlags;
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

use crate::{gdt, irq, layout, watchdog};

/// Not a vector: `SYSCALL`, as `user::enter` reports it.
pub(crate) const SYSCALL: u64 = 256;
pub(crate) const DEBUG: u64 = 1;
pub(crate) const NMI: u64 = 2;
pub(crate) const DOUBLE_FAULT: u64 = 8;
pub(crate) const PAGE_FAULT: u64 = 14;
pub(crate) const MACHINE_CHECK: u64 = 18;
pub(crate) const INT80: u64 = 0x80;
/// Vectors below are the processor's.
pub(crate) const EXCEPTIONS: u64 = 32;

/// What `XSAVE` keeps of a program, where the processor has it.
pub(crate) const COMPONENTS: u64 = ExtendedState::X87_SSE | ExtendedState::AVX;

const fn register(reg: Reg) -> usize {
    offset_of!(UserContext, gpr) + reg as usize * 8
}

global_asm!(
    include_str!("trap.s"),
    RAX = const register(Reg::Rax),
    RCX = const register(Reg::Rcx),
    RDX = const register(Reg::Rdx),
    RBX = const register(Reg::Rbx),
    RSP = const register(Reg::Rsp),
    RBP = const register(Reg::Rbp),
    RSI = const register(Reg::Rsi),
    RDI = const register(Reg::Rdi),
    R8 = const register(Reg::R8),
    R9 = const register(Reg::R9),
    R10 = const register(Reg::R10),
    R11 = const register(Reg::R11),
    R12 = const register(Reg::R12),
    R13 = const register(Reg::R13),
    R14 = const register(Reg::R14),
    R15 = const register(Reg::R15),
    RIP = const offset_of!(UserContext, rip),
    RFLAGS = const offset_of!(UserContext, rflags),
    USER_CS = const gdt::USER_CS,
    USER_SS = const gdt::USER_SS,
    SYSCALL_VECTOR = const SYSCALL,
    options(att_syntax)
);

unsafe extern "C" {
    /// 256 stubs of 16 bytes.
    static trap_stubs: [[u8; 16]; 256];
    fn syscall_entry();
}

/// Programs have YMM registers, and switching keeps them.
static USES_XSAVE: AtomicBool = AtomicBool::new(false);

/// Gives programs the YMM registers, if the processor has them where [`ExtendedState`] keeps them.
pub(crate) fn enable_extended_state() {
    const WHERE: u32 = 512 + 64;
    let cpuid = CpuId::new();
    let has_avx = cpuid.get_feature_info().is_some_and(|features| features.has_xsave() && features.has_avx());
    let states = cpuid.get_extended_state_info();
    let avx = states.and_then(|states| states.iter().find(|state| state.subleaf == 2));
    if !has_avx || avx.is_none_or(|avx| avx.offset() != WHERE) {
        return;
    }
    // SAFETY: the processor has XSAVE and AVX; the kernel uses neither, and from here on every switch keeps both.
    unsafe {
        Cr4::update(|flags| flags.insert(Cr4Flags::OSXSAVE));
        XCr0::write(XCr0Flags::X87 | XCr0Flags::SSE | XCr0Flags::AVX);
    }
    USES_XSAVE.store(true, Ordering::Relaxed);
}

/// Whether `XSAVE` is what keeps a program's registers.
pub(crate) fn uses_xsave() -> bool {
    USES_XSAVE.load(Ordering::Relaxed)
}

/// See [`aurora_machine::Machine::extended_features`].
pub(crate) fn extended_features() -> u64 {
    if uses_xsave() { COMPONENTS } else { 0 }
}

/// A gate of the interrupt descriptor table (Intel SDM volume 3, figure 6-8).
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

impl Gate {
    /// An interrupt gate: the handler starts with interrupts off.
    const fn new(handler: u64, stack: u8, user: bool) -> Self {
        let low = handler & 0xffff
            | (gdt::KERNEL_CS as u64) << 16
            | (stack as u64) << 32
            | 0x8e << 40
            | (user as u64 * 3) << 45
            | (handler >> 16 & 0xffff) << 48;
        Self { low, high: handler >> 32 }
    }
}

static GATES: Once<[Gate; 256]> = Once::new();

/// Loads the gates, and the entry of `SYSCALL`.
pub(crate) fn load() {
    let gates = GATES.call_once(|| {
        core::array::from_fn(|vector| {
            let stack = match vector as u64 {
                DEBUG => gdt::IST_DEBUG,
                NMI => gdt::IST_NMI,
                DOUBLE_FAULT => gdt::IST_DOUBLE_FAULT,
                MACHINE_CHECK => gdt::IST_MACHINE_CHECK,
                _ => 0,
            };
            // INT3, INT 4 and INT 0x80 are for programs; any other INT is a #GP.
            let user = matches!(vector, 3 | 4 | 0x80);
            Gate::new(&raw const trap_stubs as u64 + vector as u64 * 16, stack, user)
        })
    });
    #[repr(C, packed)]
    struct TableRegister(u16, u64);
    let register = TableRegister(size_of::<[Gate; 256]>() as u16 - 1, gates.as_ptr() as u64);
    let flags = RFlags::TRAP_FLAG
        | RFlags::INTERRUPT_FLAG
        | RFlags::DIRECTION_FLAG
        | RFlags::IOPL_LOW
        | RFlags::IOPL_HIGH
        | RFlags::NESTED_TASK
        | RFlags::RESUME_FLAG
        | RFlags::ALIGNMENT_CHECK;
    const STAR: u32 = 0xc000_0081;
    // SAFETY: the table is never freed, its handlers are the stubs for their vectors, and SYSCALL goes to its entry
    // with the segments of gdt.rs and with every flag off that would change what the kernel's code means.
    unsafe {
        asm!("lidt [{}]", "lldt {:x}", in(reg) &register, in(reg) 0u16, options(nostack, readonly, preserves_flags));
        Msr::new(STAR).write(u64::from(gdt::SYSRET_BASE) << 48 | u64::from(gdt::KERNEL_CS) << 32);
    }
    // SAFETY: SYSCALL has its entry and segments now; without this bit it is an invalid opcode.
    unsafe { Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS)) };
    LStar::write(VirtAddr::new(syscall_entry as *const () as u64));
    SFMask::write(flags);
}

/// What the stub of a trap from the kernel left on the stack.
#[repr(C)]
#[derive(Debug)]
struct KernelFrame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rcx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// A trap while the kernel ran.
#[unsafe(no_mangle)]
extern "C" fn kernel_trap(frame: &KernelFrame) {
    match frame.vector {
        NMI => watchdog::tick(frame.rip),
        EXCEPTIONS.. => irq::handle(frame.vector),
        _ => die(frame),
    }
}

fn die(frame: &KernelFrame) -> ! {
    let address = Cr2::read_raw();
    let guard = layout::stack_guard()..layout::stack_bottom();
    let what = match frame.vector {
        0 => "divide error",
        6 => "invalid opcode",
        DOUBLE_FAULT if guard.contains(&address) => "kernel stack overflow",
        DOUBLE_FAULT => "double fault",
        13 => "general protection fault",
        PAGE_FAULT => "page fault",
        MACHINE_CHECK => "machine check",
        _ => "exception",
    };
    panic!(
        "{what} in the kernel (vector {}, error {:#x}, CR2 {address:#x})\n{frame:#018x?}",
        frame.vector, frame.error
    );
}
