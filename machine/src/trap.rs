//! Why user code stopped.

use crate::VirtAddr;

/// Why [`crate::Machine::run`] returned. The context is exact: nothing of the stopped instruction has happened, except
/// for `Syscall` and `Int80` (done, RIP after it) and for the debug traps, which come after their instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// `SYSCALL`: RIP is the instruction after it, RCX that address too, R11 the flags.
    Syscall,
    /// `INT 0x80`: RIP is the instruction after it.
    Int80,
    /// A memory access the page tables do not allow.
    PageFault(PageFault),
    /// Any other exception.
    Exception(Exception),
    /// The deadline passed, or the machine has something for the kernel.
    Interrupted,
}

/// How memory was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A data read.
    Read,
    /// A data write (also the read of a read-modify-write).
    Write,
    /// An instruction fetch.
    Execute,
}

/// A page fault, with what the processor's error code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// The first byte that could not be accessed (CR2).
    pub addr: VirtAddr,
    /// What was tried.
    pub access: Access,
    /// An entry was present and its permissions forbade the access.
    pub protection: bool,
}

impl PageFault {
    /// The x86 error code, as a signal frame carries it (the user bit is always set).
    pub const fn error_code(&self) -> u64 {
        let access = match self.access {
            Access::Read => 0,
            Access::Write => 2,
            Access::Execute => 16,
        };
        4 | access | self.protection as u64
    }
}

/// Exceptions other than page faults (Intel SDM volume 3, table 6-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// #DE, vector 0.
    DivideError,
    /// #DB, vector 1: the trap flag, after the instruction.
    Debug,
    /// #BP, vector 3: `INT3`, after the instruction.
    Breakpoint,
    /// #OF, vector 4.
    Overflow,
    /// #BR, vector 5.
    BoundRange,
    /// #UD, vector 6.
    InvalidOpcode,
    /// #SS, vector 12: a stack access to a non-canonical address.
    StackFault,
    /// #GP, vector 13, with its error code.
    GeneralProtection(u32),
    /// #MF, vector 16: an unmasked x87 exception was pending.
    X87,
    /// #AC, vector 17.
    AlignmentCheck,
    /// #XM, vector 19: an unmasked SSE exception.
    Simd,
}

impl Exception {
    /// The vector number, as a signal frame carries it.
    pub const fn vector(self) -> u8 {
        match self {
            Self::DivideError => 0,
            Self::Debug => 1,
            Self::Breakpoint => 3,
            Self::Overflow => 4,
            Self::BoundRange => 5,
            Self::InvalidOpcode => 6,
            Self::StackFault => 12,
            Self::GeneralProtection(_) => 13,
            Self::X87 => 16,
            Self::AlignmentCheck => 17,
            Self::Simd => 19,
        }
    }
}
