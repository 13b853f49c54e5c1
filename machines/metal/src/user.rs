//! User mode: into a program and back out with the reason.

use core::ffi::c_void;

use aurora_machine::paging::SpaceId;
use aurora_machine::{
    Access, Exception, Instant, PageFault, PhysAddr, Reg, SpaceRoot, Trap, UserContext, VirtAddr, VirtRange,
};
use spin::Mutex;
use x86_64::instructions::segmentation::{DS, ES, FS, GS, Segment, Segment64};
use x86_64::instructions::tlb;
use x86_64::registers::control::Cr2;
use x86_64::registers::model_specific::{FsBase, GsBase};
use x86_64::registers::segmentation::SegmentSelector;

use crate::{apic, clock, extended, irq, paging, trap, watchdog};

/// Which address space the processor is in.
pub(crate) struct Spaces {
    kernel_root: PhysAddr,
    current: Mutex<Option<SpaceId>>,
    fsgsbase: bool,
}

/// Pages up to which dropping single translations beats dropping all.
const FEW_PAGES: u64 = 32;

const RESUME_FLAG: u64 = 1 << 16;

#[repr(C)]
struct Left {
    vector: u64,
    error: u64,
}

unsafe extern "C" {
    /// Runs the context in user mode until a trap; see trap.s.
    fn enter_user(context: *mut c_void, fast: u32) -> Left;
}

impl Spaces {
    pub(crate) fn new(kernel_root: PhysAddr) -> Self {
        Self { kernel_root, current: Mutex::new(None), fsgsbase: paging::has_fsgsbase() }
    }

    /// Enters `space`; free when the processor is in it already.
    fn enter(&self, space: SpaceRoot) {
        let mut current = self.current.lock();
        if *current != Some(space.id) {
            // SAFETY: `PageTable::new` gave the table the kernel's upper half.
            unsafe { paging::load_root(space.root) };
            *current = Some(space.id);
        }
    }

    /// Only the space the processor is in has translations: entering another one drops them all.
    pub(crate) fn invalidate(&self, space: SpaceRoot, range: VirtRange) {
        if *self.current.lock() != Some(space.id) {
            return;
        }
        if range.pages() > FEW_PAGES {
            // SAFETY: the table the processor is using already.
            unsafe { paging::load_root(space.root) };
            return;
        }
        let mut at = range.start.page_floor();
        while at < range.end {
            tlb::flush(x86_64::VirtAddr::new_truncate(at.0));
            at = at + aurora_machine::PAGE_SIZE;
        }
    }

    /// Leaves `space` if the processor is in it.
    pub(crate) fn retire(&self, space: SpaceRoot) {
        let mut current = self.current.lock();
        if *current == Some(space.id) {
            // SAFETY: the kernel's own table.
            unsafe { paging::load_root(self.kernel_root) };
            *current = None;
        }
    }

    /// See [`aurora_machine::Machine::run`].
    pub(crate) fn run(&self, cpu: &mut UserContext, space: SpaceRoot, until: Instant) -> Trap {
        cpu.set_flags(cpu.rflags & !RESUME_FLAG);
        // What no program could have reached must not reach IRET or the segment bases: they would fault in the kernel.
        if ![cpu.rip, cpu.fs_base, cpu.gs_base].into_iter().all(|a| VirtAddr(a).is_canonical()) {
            return Trap::Exception(Exception::GeneralProtection(0));
        }
        self.enter(space);
        extended::enter(cpu);
        // A timer that is set tells when it is time; the clock is dear.
        let mut look = !apic::is_armed(until);
        loop {
            if look {
                if clock::now() >= until {
                    return Trap::Interrupted;
                }
                apic::arm(until);
            }
            let left = self.enter_once(cpu);
            watchdog::alive();
            // The watchdog's, which is none of the program's business.
            if left.vector == trap::NMI {
                continue;
            }
            if left.vector == irq::TIMER {
                // Early when it had been set for something else: back to the program.
                irq::handle(left.vector);
                look = true;
                continue;
            }
            return reason(left);
        }
    }

    fn enter_once(&self, cpu: &mut UserContext) -> Left {
        self.load_bases(cpu);
        // SYSRET takes RIP and the flags from RCX and R11, as SYSCALL left them. With the trap flag it would trap before
        // the first instruction instead of after it, and with a RIP past user space it would fault in the kernel.
        let fast = cpu.reg(Reg::Rcx) == cpu.rip
            && cpu.reg(Reg::R11) == cpu.rflags
            && cpu.rflags & UserContext::TRAP_FLAG == 0
            && VirtAddr(cpu.rip).is_user();
        // SAFETY: the context is ours alone; its RIP is canonical, its flags hold only what a program may set;
        // the address space has the kernel's upper half. Registers the C ABI preserves are preserved.
        let left = unsafe { enter_user((&raw mut *cpu).cast(), u32::from(fast)) };
        cpu.rflags &= !RESUME_FLAG;
        self.store_bases(cpu);
        left
    }

    fn load_bases(&self, cpu: &UserContext) {
        let (fs, gs) = (x86_64::VirtAddr::new_truncate(cpu.fs_base), x86_64::VirtAddr::new_truncate(cpu.gs_base));
        if self.fsgsbase {
            // SAFETY: CR4.FSGSBASE is set, and the kernel uses neither segment.
            unsafe {
                FS::write_base(fs);
                GS::write_base(gs);
            }
        } else {
            FsBase::write(fs);
            GsBase::write(gs);
        }
    }

    /// A program may have changed the bases, or loaded selectors: those do not outlive its turn.
    fn store_bases(&self, cpu: &mut UserContext) {
        (cpu.fs_base, cpu.gs_base) = if self.fsgsbase {
            (FS::read_base().as_u64(), GS::read_base().as_u64())
        } else {
            (FsBase::read().as_u64(), GsBase::read().as_u64())
        };
        let loaded = [DS::get_reg(), ES::get_reg(), FS::get_reg(), GS::get_reg()];
        if loaded.iter().any(|selector| selector.0 != 0) {
            // SAFETY: null selectors; the kernel uses none of the four.
            unsafe {
                for set in [DS::set_reg, ES::set_reg, FS::set_reg, GS::set_reg] {
                    set(SegmentSelector(0));
                }
            }
        }
    }
}

/// Why the program stopped. Interrupts are handled on the way.
fn reason(left: Left) -> Trap {
    let exception = match left.vector {
        trap::SYSCALL => return Trap::Syscall,
        trap::INT80 => return Trap::Int80,
        trap::PAGE_FAULT => return Trap::PageFault(page_fault(left.error)),
        trap::EXCEPTIONS.. => {
            irq::handle(left.vector);
            return Trap::Interrupted;
        }
        0 => Exception::DivideError,
        trap::DEBUG => Exception::Debug,
        3 => Exception::Breakpoint,
        4 => Exception::Overflow,
        5 => Exception::BoundRange,
        6 => Exception::InvalidOpcode,
        12 => Exception::StackFault,
        // 10 and 11 come from loading selectors, like most of 13.
        10 | 11 | 13 => Exception::GeneralProtection(left.error as u32),
        16 => Exception::X87,
        17 => Exception::AlignmentCheck,
        19 => Exception::Simd,
        vector => panic!("vector {vector} in user mode, error {:#x}", left.error),
    };
    Trap::Exception(exception)
}

fn page_fault(error: u64) -> PageFault {
    const PROTECTION: u64 = 1;
    const WRITE: u64 = 1 << 1;
    const RESERVED: u64 = 1 << 3;
    const FETCH: u64 = 1 << 4;
    let addr = VirtAddr(Cr2::read_raw());
    assert!(error & RESERVED == 0, "a page table of a program is broken at {addr:?}");
    let access = match error {
        e if e & FETCH != 0 => Access::Execute,
        e if e & WRITE != 0 => Access::Write,
        _ => Access::Read,
    };
    // What the kernel has mapped is nobody's business: for programs nothing is there.
    PageFault { addr, access, protection: error & PROTECTION != 0 && addr.is_user() }
}
