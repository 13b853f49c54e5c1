//! The contract between a kernel and what it runs on.
//!
//! A machine is whatever can run user code until it traps: silicon, or BPE/U inside a WebAssembly engine or an ordinary
//! process. Everything a kernel may ask of one is in this crate, and what is the same on all of them is written here
//! once: physical frames, the four-level page tables (BPE/U's MMU walks the same ones as silicon), and copies to and
//! from user memory.
//!
//! What always holds: the kernel never has a Rust reference into a frame a program can write; bytes cross by copy.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod addr;
pub mod block;
pub mod conformance;
pub mod context;
pub mod copy;
pub mod display;
pub mod frames;
pub mod paging;
pub mod time;
pub mod trap;

pub use addr::{PAGE_SIZE, PhysAddr, USER_END, VirtAddr, VirtRange};
pub use block::{BlockDevice, BlockDone, BlockError, BlockGeometry, BlockOp, BlockRequest, BlockSegment, SECTOR_SIZE};
pub use context::{ExtendedState, FxState, Reg, StateHolder, UserContext};
pub use copy::CopyFault;
pub use display::Display;
pub use frames::{Frame, HostMemory, MemoryRegion, OutOfFrames, PhysMemory};
pub use paging::{Cursor, Mapping, PageFlags, PageTable, SpaceId};
pub use time::{Instant, UserClock};
pub use trap::{Access, Exception, PageFault, Trap};

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A byte stream between the machine and its surroundings (a serial line, the page's terminal, a pipe of the host).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// The system console: the boot log, and the terminal `/dev/console`.
    Console,
    /// The host link: framed requests of whoever started the machine (run this program, here is its input).
    Link,
    /// The keyboard: scan codes of set 1, as a PC's keyboard controller gives them. Nothing is ever sent.
    Keyboard,
}

/// What a kernel asks of what it runs on.
///
/// One value serves all processors of a machine. No method blocks.
pub trait Machine: Send + Sync + 'static {
    /// A short name for the log: `hosted`, `wasm`, `metal`.
    fn name(&self) -> &'static str;

    /// The processor's name as `/proc/cpuinfo` shows it.
    fn processor_name(&self) -> &str;

    /// All physical memory.
    fn memory(&self) -> &Arc<PhysMemory>;

    /// Bytes of kernel heap the machine has set aside; allocation beyond it fails.
    fn heap_limit(&self) -> u64;

    /// Runs user code until it traps, or until `until` has passed, or something outside wants the kernel.
    ///
    /// `cpu` holds the whole user-visible state before and after, as [`UserContext`] says. The page table must stay as it is in every respect
    /// the processor can see, except through [`Machine::invalidate`].
    fn run(&self, cpu: &mut UserContext, space: SpaceRoot, until: Instant) -> Trap;

    /// Forgets cached translations of `range` in `space`, on every processor. Needed after an entry lost a permission
    /// or changed its frame; entries that became present need nothing.
    fn invalidate(&self, space: SpaceRoot, range: VirtRange);

    /// Forgets all of `space`: its page table is about to be freed.
    fn retire(&self, space: SpaceRoot);

    /// Monotonic time since the machine started.
    fn now(&self) -> Instant;

    /// How a program can read [`Machine::now`] by itself; nothing where it cannot.
    fn user_clock(&self) -> Option<UserClock> {
        None
    }

    /// Nanoseconds since the Unix epoch, as the machine's surroundings say: may be set, and may go in steps.
    fn realtime_ns(&self) -> u64;

    /// Fills `buffer` with unpredictable bytes (with repeatable ones under a fixed seed).
    fn entropy(&self, buffer: &mut [u8]);

    /// The components of [`ExtendedState`] that programs can use and [`UserContext`] keeps, as `XCR0` has them; 0 where
    /// there is only `fx`.
    fn extended_features(&self) -> u64 {
        0
    }

    /// What the machine can say of how it ran programs, lines for people: nothing where a processor of silicon did.
    fn statistics(&self) -> String {
        String::new()
    }

    /// The screen, where there is one.
    fn display(&self) -> Option<&dyn Display> {
        None
    }

    /// The disks, in an order that stays: the first is `vda` to programs.
    fn disks(&self) -> &[Arc<dyn BlockDevice>] {
        &[]
    }

    /// Sends bytes; returns how many were taken. Fewer than given means full: the machine calls the kernel's
    /// `port_ready` when there is room.
    fn port_write(&self, port: Port, bytes: &[u8]) -> usize;

    /// Takes bytes that arrived; 0 means none for now. The machine calls the kernel's `port_ready` when more come.
    fn port_read(&self, port: Port, buffer: &mut [u8]) -> usize;
}

/// What a processor needs to know of an address space: where its tables start, and the tag of its translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceRoot {
    /// Frame of the top-level table.
    pub root: PhysAddr,
    /// Never used twice while the machine is up.
    pub id: SpaceId,
}

/// What a machine hands over at boot.
#[derive(Default)]
pub struct BootInfo {
    /// The kernel command line.
    pub command_line: alloc::string::String,
    /// Initial archive (cpio newc, plain or gzip) to unpack into the root; empty for none. Freed once unpacked.
    pub initramfs: Vec<u8>,
}
