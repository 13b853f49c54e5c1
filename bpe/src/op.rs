//! The compact form a guest instruction is lowered to.
//!
//! What always holds: register operands are byte offsets into [`crate::core::Core`]'s register file and stay inside it
//! with eight bytes to spare, so handlers need not check them. `ip`, `next` and branch targets count from the start of
//! the virtual page the block begins in, so an op is independent of where its frame is mapped.

use crate::core::Core;

/// Executes one op. `Ok` goes on with the next op of the block.
pub(crate) type Run = fn(&mut Core, &Op) -> Flow;

/// What a handler returns.
pub(crate) type Flow = Result<(), Stop>;

/// Why the run of a block's ops ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stop {
    /// The block ended; the next one is this block's first link.
    Link0,
    /// The block ended; the next one is this block's second link.
    Link1,
    /// The block ended and RIP is wherever.
    Jump,
    /// Nothing of the instruction happened; [`Core::trap`] says why.
    Fault,
    /// The instruction is done, RIP is set, and [`Core::trap`] goes to the kernel.
    Trap,
    /// Nothing happened: the instruction wants to write the frame [`Core::code_frame`], which holds decoded code.
    CodeWrite,
    /// The instruction needs the environment: [`Core::request`] says for what. It is otherwise done, RIP is set.
    Environment,
    /// A repeated string instruction has used up the fuel; RIP stays on it.
    Fuel,
}

/// One micro-op. Two fit a cache line.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Op {
    /// What executes it.
    pub(crate) run: Run,
    /// Immediate operand, or a branch's target.
    pub(crate) imm: u64,
    /// Displacement of the memory operand.
    pub(crate) disp: i32,
    /// First register operand.
    pub(crate) dst: u8,
    /// Second register operand.
    pub(crate) src: u8,
    /// Base register of the memory operand.
    pub(crate) base: u8,
    /// Index register of the memory operand.
    pub(crate) index: u8,
    /// How far the index is shifted left.
    pub(crate) scale: u8,
    /// [`Op::STACK`] and [`Op::WIDE`].
    pub(crate) attributes: u8,
    /// Where the instruction begins, from the start of the page.
    pub(crate) ip: u16,
    /// Length of the instruction in bytes.
    pub(crate) len: u8,
    /// Instructions of the block before this one.
    pub(crate) count: u8,
    /// A further small operand.
    pub(crate) aux: u16,
}

impl Op {
    /// The memory operand is relative to the stack: a non-canonical address is a stack fault.
    pub(crate) const STACK: u8 = 1;
    /// Implicit operands have 64 bits.
    pub(crate) const WIDE: u8 = 2;
    /// Addresses have 32 bits: what handlers add to one wraps there.
    pub(crate) const NARROW: u8 = 4;

    /// Where the next instruction begins, from the start of the page.
    #[inline(always)]
    pub(crate) fn next(&self) -> u64 {
        u64::from(self.ip) + u64::from(self.len)
    }
}

/// Byte offset of general-purpose register `n`.
pub(crate) const fn gpr(n: u8) -> u8 {
    n * 8
}

/// Byte offsets of what else the register file holds.
pub(crate) mod slot {
    /// Virtual address of the page the running block begins in.
    pub(crate) const PAGE: u8 = 16 * 8;
    /// Always zero.
    pub(crate) const ZERO: u8 = 17 * 8;
    /// Base of FS.
    pub(crate) const FS: u8 = 18 * 8;
    /// Base of GS.
    pub(crate) const GS: u8 = 19 * 8;
    /// A partial address worked out by a preceding op of the same instruction.
    pub(crate) const TEMP: u8 = 20 * 8;
}

pub(crate) const RAX: u8 = gpr(0);
pub(crate) const RCX: u8 = gpr(1);
pub(crate) const RDX: u8 = gpr(2);
pub(crate) const RBX: u8 = gpr(3);
pub(crate) const RSP: u8 = gpr(4);
pub(crate) const RBP: u8 = gpr(5);
pub(crate) const RSI: u8 = gpr(6);
pub(crate) const RDI: u8 = gpr(7);
pub(crate) const R11: u8 = gpr(11);
