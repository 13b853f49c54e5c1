//! The page the stack is in, and with it most of what is reached through RSP: a function remembers it in memory, from one
//! call to the next.
//!
//! What always holds: what is remembered is a page that may be written and what makes a host address of an address in it.
//! Mappings do not change while translated code runs, and before it does the processor sees to it that all that is
//! remembered is so.

use alloc::vec::Vec;

use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};
use wasm_encoder::ValType;

use super::code::{Function, Set};
use super::emit::{Emitter, at};
use super::layout::Layout;
use super::plan::Address;
use crate::tlb::PAGES;

/// RSP as a member of a [`Set`].
pub(super) const RSP: Set = 1 << 4;

/// The locals of a page that may be reached: the negative of its address, and what makes a host address of one in it.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    pub(crate) tag: u32,
    pub(crate) delta: u32,
}

/// The page the stack is in.
#[derive(Clone, Copy)]
pub(crate) struct StackPage {
    /// Where it is remembered.
    pub(crate) tag: u32,
    pub(crate) host: u32,
    /// RBP points to the stack, too.
    frames: bool,
}

/// Whether the memory operand is reached through RSP, or RBP if that points to frames.
fn is_through(insn: &Instruction, frames: bool) -> bool {
    let base = insn.memory_base();
    (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Memory)
        && (base == Register::RSP || frames && base == Register::RBP)
        && !matches!(insn.memory_segment(), Register::FS | Register::GS)
}

/// Whether RBP points to the stack, too.
pub(crate) fn has_frames(function: &Function) -> bool {
    function.blocks.iter().flat_map(|b| &b.insns).map(|i| &i.insn).any(|i| {
        let copies = i.op0_register() == Register::RBP && i.op1_register() == Register::RSP;
        i.mnemonic() == M::Mov && copies || i.mnemonic() == M::Leave
    })
}

impl StackPage {
    pub(crate) fn new(function: &Function, layout: &Layout) -> Self {
        let tag = layout.remembered;
        Self { tag, host: tag + PAGES.host, frames: has_frames(function) }
    }

    /// Whether RBP points to the stack, too.
    pub(crate) fn frames(&self) -> bool {
        self.frames
    }

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

    /// Has the places of small loops that are entered together begin with the stack's page, until another is found there:
    /// one that is always valid needs no further check. No two that begin apart are under way at a time, so they use the
    /// same locals.
    pub(crate) fn begin_pages(&mut self, loops: &[(usize, usize)]) {
        let StackPage { tag, host, .. } = self.stack;
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
                self.i().i32_const(0).i64_load(at(tag)).local_set(page.tag);
                self.i().i32_const(0).i32_load(at(host)).local_set(page.delta);
                pages.push(page);
            }
            self.pages.insert(head, pages);
        }
    }
}
