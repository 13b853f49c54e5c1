//! Segments, in the order SYSCALL and SYSRET want them and with the selectors Linux gives programs, and the task state:
//! which stack a trap starts on.

use core::cell::UnsafeCell;

use spin::Once;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::segmentation::SegmentSelector;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;

/// Kernel code; SYSCALL loads it, and the next one for the stack.
pub(crate) const KERNEL_CS: u16 = 0x10;
const KERNEL_SS: u16 = 0x18;
/// What SYSRET counts from: 8 further is the stack, 16 further the code of a program.
pub(crate) const SYSRET_BASE: u16 = 0x23;
/// A program's stack segment.
pub(crate) const USER_SS: u16 = 0x2b;
/// A program's code segment.
pub(crate) const USER_CS: u16 = 0x33;

/// Interrupt stack table slots (1-based, as gates name them) of the exceptions that may come at any instruction.
pub(crate) const IST_NMI: u8 = 1;
pub(crate) const IST_DOUBLE_FAULT: u8 = 2;
pub(crate) const IST_MACHINE_CHECK: u8 = 3;
pub(crate) const IST_DEBUG: u8 = 4;

const STACK: usize = 16 * 1024;

#[repr(align(16))]
struct Stack(UnsafeCell<[u8; STACK]>);

// SAFETY: only the processor uses it, as a stack.
unsafe impl Sync for Stack {}

impl Stack {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; STACK]))
    }
    fn top(&'static self) -> VirtAddr {
        VirtAddr::new(self.0.get() as u64 + STACK as u64)
    }
}

static INTERRUPT_STACKS: [Stack; 4] = [const { Stack::new() }; 4];
/// Where a trap from user mode pushes its frame, before the registers are stored and `enter_user` returns.
static ENTRY_STACK: Stack = Stack::new();

static TSS: Once<TaskStateSegment> = Once::new();
static GDT: Once<GlobalDescriptorTable<16>> = Once::new();

/// Loads the segments for good.
pub(crate) fn load() {
    let tss = TSS.call_once(|| {
        let mut tss = TaskStateSegment::new();
        tss.privilege_stack_table[0] = ENTRY_STACK.top();
        for (i, stack) in INTERRUPT_STACKS.iter().enumerate() {
            tss.interrupt_stack_table[i] = stack.top();
        }
        tss
    });
    let mut task = SegmentSelector(0);
    let gdt = GDT.call_once(|| {
        let mut gdt = GlobalDescriptorTable::empty();
        // Index 1 is unused, and index 4 stays empty so that no program can enter 32-bit mode through it.
        gdt.append(Descriptor::UserSegment(0));
        gdt.append(Descriptor::kernel_code_segment());
        gdt.append(Descriptor::kernel_data_segment());
        gdt.append(Descriptor::UserSegment(0));
        gdt.append(Descriptor::user_data_segment());
        gdt.append(Descriptor::user_code_segment());
        task = gdt.append(Descriptor::tss_segment(tss));
        gdt
    });
    gdt.load();
    // SAFETY: the selectors are those of the table just loaded; null data segments are what 64-bit code expects.
    unsafe {
        CS::set_reg(SegmentSelector(KERNEL_CS));
        SS::set_reg(SegmentSelector(KERNEL_SS));
        for set in [DS::set_reg, ES::set_reg, FS::set_reg, GS::set_reg] {
            set(SegmentSelector(0));
        }
        load_tss(task);
    }
}
