//! The page the stack is in, and with it most of what is reached through RSP: found once when a function is entered.
//!
//! What always holds: in a function that keeps it, `tag` is a page that may be written, and `delta` is what makes a host
//! address of an address in it. Mappings do not change while translated code runs, so it stays right across calls.

use alloc::boxed::Box;
use alloc::vec::Vec;

use aurora_machine::PAGE_SIZE;
use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};
use wasm_encoder::{BlockType, ValType};

use super::code::{Function, Set};
use super::emit::{Emitter, Tail, at, param};
use super::layout::function;
use super::lazy::STOP_INTERPRET;
use super::memory::WRITE;
use super::plan::Address;

/// RSP as a member of a [`Set`].
pub(super) const RSP: Set = 1 << 4;

/// The locals of a page that may be reached: its address, and what makes a host address of one in it.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    pub(crate) tag: u32,
    pub(crate) delta: u32,
}

/// The page the stack is in.
#[derive(Clone, Copy)]
pub(crate) struct StackPage {
    pub(crate) page: Page,
    /// RBP points to the stack, too.
    frames: bool,
}

/// With fewer accesses to the stack a function does better without.
const FEWEST: usize = 3;

/// Whether RBP is a frame pointer, and whether the stack is used often.
pub(crate) fn uses(function: &Function) -> (bool, bool) {
    let insns = || function.blocks.iter().flat_map(|b| &b.insns).map(|i| &i.insn);
    let frames = insns().any(|i| {
        let copies = i.mnemonic() == M::Mov && i.op0_register() == Register::RBP && i.op1_register() == Register::RSP;
        copies || i.mnemonic() == M::Leave
    });
    let uses = insns().filter(|i| i.is_stack_instruction() || is_through(i, frames)).count();
    (frames, uses >= FEWEST)
}

/// Whether the memory operand is reached through RSP, or RBP if that points to frames.
fn is_through(insn: &Instruction, frames: bool) -> bool {
    let base = insn.memory_base();
    (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Memory)
        && (base == Register::RSP || frames && base == Register::RBP)
        && !matches!(insn.memory_segment(), Register::FS | Register::GS)
}

impl StackPage {
    /// Whether a place is most likely in it.
    pub(crate) fn holds(&self, address: Address<'_>) -> bool {
        match address {
            Address::Operand(insn) => is_through(insn, self.frames),
            Address::Stack(_) => true,
            Address::Frame => self.frames,
        }
    }
}

impl Emitter<'_> {
    fn new_page(&mut self) -> Page {
        Page { tag: self.local(ValType::I64), delta: self.local(ValType::I32) }
    }

    /// Keeps the page of the stack.
    pub(crate) fn keep_stack(&mut self, frames: bool) {
        self.stack = Some(StackPage { page: self.new_page(), frames });
    }

    /// Has the places of small loops that are entered together begin with the stack's page, until another is found there:
    /// one that is always valid needs no further check. No two that begin apart are under way at a time, so they use the
    /// same locals.
    pub(crate) fn begin_pages(&mut self, loops: &[(usize, usize)]) {
        let Some(StackPage { page: stack, .. }) = self.stack else { return };
        let mut used = 0;
        for &(head, places) in loops {
            let mut pages = Vec::with_capacity(places);
            for _ in 0..places {
                if used == self.page_slots.len() {
                    let page = self.new_page();
                    self.page_slots.push(page);
                }
                let page = self.page_slots[used];
                used += 1;
                self.i().local_get(stack.tag).local_set(page.tag).local_get(stack.delta).local_set(page.delta);
                pages.push(page);
            }
            self.pages.insert(head, pages);
        }
    }

    /// Registers entries load for it.
    pub(crate) fn stack_registers(&self) -> Set {
        if self.stack.is_some() { RSP } else { 0 }
    }

    /// Finds the page at an entry. Where there is none to write to, the interpreter executes the instruction. Returns the
    /// offsets of the entries, which say where that is, for as long as the code lives.
    pub(crate) fn find_stack(&mut self, entries: &[i64]) -> Option<Box<[i64]>> {
        let stack = self.stack?.page;
        let offsets: Box<[i64]> = entries.into();
        let rsp = self.gpr(4);
        self.i().local_get(rsp);
        let addr = self.take(ValType::I64);
        self.look_up_stack(stack, addr.index);
        self.push_is_elsewhere(stack, addr.index);
        self.open_rare(BlockType::Empty);
        self.i().local_get(addr.index).i32_const(WRITE | 1).call(function::LOAD).drop().drop();
        self.look_up_stack(stack, addr.index);
        self.push_is_elsewhere(stack, addr.index);
        self.open_rare(BlockType::Empty);
        self.set_stop(STOP_INTERPRET);
        let rip = self.rip;
        self.i().local_get(param::BASE).local_get(param::ENTRY).i32_const(3).i32_shl();
        self.i().i64_load(at(offsets.as_ptr() as usize as u32)).i64_add().local_set(rip);
        self.branch_to_exit(0, Tail::Stop);
        self.close();
        self.close();
        Some(offsets)
    }

    fn look_up_stack(&mut self, stack: Page, addr: u32) {
        let (tag, host) = self.entry_fields(true);
        self.i().local_get(addr);
        let addr = self.take(ValType::I64);
        let entry = self.push_entry(addr);
        self.i().local_get(entry.index).i64_load(tag).local_set(stack.tag);
        self.i().local_get(entry.index).i32_load(host).local_set(stack.delta);
    }

    fn push_is_elsewhere(&mut self, stack: Page, addr: u32) {
        self.i().local_get(addr).local_get(stack.tag).i64_sub().i64_const(PAGE_SIZE as i64).i64_ge_u();
    }
}
