//! Where translated code finds what it works on: addresses in the linear memory it shares with us, numbers of functions
//! and types in its modules, and the ops it calls out to.

use alloc::boxed::Box;
use alloc::vec::Vec;

use aurora_machine::PAGE_SIZE;
use iced_x86::Instruction;

use super::code::STATUS_BITS;
use crate::lower;
use crate::op::Op;
use crate::tlb::PAGES;

/// Numbers of the functions every module begins with, which are the entrance's.
pub(crate) mod function {
    /// Goes to an address through the jump table.
    pub(crate) const DISPATCH: u32 = 0;
    /// Loads what the TLB does not have.
    pub(crate) const LOAD: u32 = 1;
    /// Stores likewise.
    pub(crate) const STORE: u32 = 2;
    /// Executes an instruction's ops.
    pub(crate) const CALL_OUT: u32 = 3;
    /// Works out a condition.
    pub(crate) const CONDITION: u32 = 4;
    /// Calls a function of two vectors.
    pub(crate) const PURE: u32 = 5;
    /// How many are the entrance's.
    pub(crate) const SHARED: u32 = 6;
}

/// Numbers of the types modules have. The entrance has all; the others only those before [`signature::OTHERS`], since V8 11
/// keeps 40 bytes for each type of each module for ever.
pub(crate) mod signature {
    /// A translated function: base, fuel, entry and depth to RIP and fuel.
    pub(crate) const TRANSLATED: u32 = 0;
    /// What a translated function gives, from nothing.
    pub(crate) const RETURNED: u32 = 1;
    /// [`super::function::LOAD`].
    pub(crate) const LOAD: u32 = 2;
    /// [`super::function::STORE`].
    pub(crate) const STORE: u32 = 3;
    /// Ours, for ops.
    pub(crate) const CALL_OUT: u32 = 4;
    /// Ours, for conditions.
    pub(crate) const CONDITION: u32 = 5;
    /// A [`crate::vector::Pure`], and which.
    pub(crate) const PURE: u32 = 6;
    /// The first that only the entrance has.
    pub(crate) const OTHERS: u32 = 7;
    /// Ours, for loads.
    pub(crate) const LOAD_HELPER: u32 = 7;
    /// Ours, for stores.
    pub(crate) const STORE_HELPER: u32 = 8;
    /// A [`crate::vector::Pure`].
    pub(crate) const PURE_HELPER: u32 = 9;
    /// How we call translated code.
    pub(crate) const ENTER: u32 = 10;
    /// How many there are.
    pub(crate) const ALL: u32 = 11;
}

/// Addresses, and table slots of our functions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The engine's relaxed multiplication with addition rounds once.
    pub(crate) fused: bool,
    pub(crate) core: u32,
    pub(crate) regs: u32,
    pub(crate) page: u32,
    pub(crate) fs: u32,
    pub(crate) gs: u32,
    pub(crate) xmm: u32,
    pub(crate) ymm_high: u32,
    pub(crate) mxcsr: u32,
    pub(crate) wide: u32,
    pub(crate) operands: u32,
    pub(crate) lazy: u32,
    pub(crate) rip: u32,
    pub(crate) fuel: u32,
    pub(crate) key: u32,
    /// The flags that are no status flags.
    pub(crate) control_flags: u32,
    pub(crate) stop: u32,
    pub(crate) missed: u32,
    pub(crate) fast: u32,
    /// The page the function remembers.
    pub(crate) remembered: u32,
    pub(crate) jumps: u32,
    pub(crate) load: u32,
    pub(crate) store: u32,
    pub(crate) call_out: u32,
    pub(crate) condition: u32,
}

impl Layout {
    /// That of the function in a slot of the table. Those that call each other are seldom so many slots apart that they
    /// remember the same page.
    pub(crate) fn of(&self, slot: u32) -> Self {
        Self { remembered: self.remembered + ((slot % PAGES.count) << PAGES.shift), ..*self }
    }
}

/// Call-outs by address: they must not move.
#[allow(clippy::vec_box, reason = "translated code has their addresses")]
pub(crate) type CallOuts = Vec<Box<CallOut>>;

/// An instruction lowered for the interpreter, for translated code to call.
pub(crate) struct CallOut {
    pub(crate) ops: Vec<Op>,
    /// Offset of the page the instruction is in.
    pub(crate) page: i64,
    /// It reads or writes status flags.
    pub(crate) flags: bool,
}

impl CallOut {
    pub(crate) fn new(mut insn: Instruction) -> Box<Self> {
        let page = insn.ip() & !(PAGE_SIZE - 1);
        if insn.is_ip_rel_memory_operand() {
            insn.set_memory_displacement64(insn.memory_displacement64().wrapping_sub(page));
        }
        insn.set_ip(insn.ip() - page);
        let mut ops = Vec::new();
        lower::instruction(&insn, 0, None, &mut ops);
        // What only leaves flags undefined may as well leave them as they are.
        let changed = insn.rflags_written() | insn.rflags_cleared() | insn.rflags_set();
        let flags = (insn.rflags_read() | changed) & STATUS_BITS != 0;
        Box::new(Self { ops, page: page as i64, flags })
    }

    /// Where the helper finds it.
    pub(crate) fn address(&self) -> usize {
        &raw const *self as usize
    }
}
