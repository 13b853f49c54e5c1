//! Writing one function's WebAssembly: locals, registers, exits and calls.
//!
//! What always holds: a guest register's value is in its local once the register is live (in regions) or held (elsewhere),
//! and an instruction changes such a local only after everything in it that can fault. So whatever stops an instruction
//! finds the state before it.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use wasm_encoder::{BlockType, BranchHint, InstructionSink, MemArg, MemArgTarget, ValType};

use super::clean::Clean;
use super::code::{FLAGS, Function, MXCSR, Set};
use super::flow::Flow;
use super::graph::{Graph, NONE};
use super::layout::{CallOut, CallOuts, Layout, function};
use super::lazy::{Kind, STOP_INTERPRET};
use super::link::Callees;
use super::packed::FloatLocals;
use super::plan::Plan;
use super::stack::{Page, StackPage};

/// Parameters of a translated function.
pub(crate) mod param {
    /// Virtual address of the cluster's first page.
    pub(crate) const BASE: u32 = 0;
    /// Instructions that may still retire.
    pub(crate) const FUEL: u32 = 1;
    /// Which entry.
    pub(crate) const ENTRY: u32 = 2;
    /// Calls that may still nest.
    pub(crate) const DEPTH: u32 = 3;
    /// How many there are.
    pub(crate) const COUNT: u32 = 4;
}

/// Registers that have locals: the members of a [`Set`], with the flags' five words at the end.
const SLOTS: usize = 53;
const KIND: usize = 48;
const UNUSED: u32 = u32::MAX;

/// Writes one instruction.
pub(crate) type Instruction = for<'a, 'b> fn(&'a mut InstructionSink<'b>) -> &'a mut InstructionSink<'b>;

/// A temporary local with its type.
#[derive(Clone, Copy)]
pub(crate) struct Temp {
    pub(crate) index: u32,
    pub(crate) ty: ValType,
}

/// What follows when the function is left for an address, which is in the local for that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tail {
    /// The loop outside, which is told the address and why.
    Stop,
    /// What is there.
    GoOn,
}

/// Where the function is left.
#[derive(Clone, Copy)]
pub(crate) struct Exit {
    /// The registers it stores.
    pub(crate) set: Set,
    pub(crate) tail: Tail,
    /// The nesting of its label.
    pub(crate) level: u32,
}

/// One function on its way.
pub(crate) struct Emitter<'a> {
    pub(crate) function: &'a Function,
    pub(crate) graph: &'a Graph,
    pub(crate) flow: &'a Flow,
    pub(crate) layout: &'a Layout,
    pub(crate) callees: &'a Callees<'a>,
    pub(crate) code: Vec<u8>,
    /// Which way branches in it mostly go.
    pub(crate) hints: Vec<BranchHint>,
    pub(crate) locals: Vec<ValType>,
    slots: [u32; SLOTS],
    temps: [Vec<u32>; 5],
    temps_used: [usize; 5],
    /// What is known before the instruction being written.
    pub(crate) clean: Clean,
    /// Registers that are in locals.
    pub(crate) held: Set,
    /// Those that must be stored where the instruction being written leaves, besides what [`Self::spill`] says.
    pub(crate) late: Set,
    pub(crate) floats: FloatLocals,
    /// Open blocks, loops and conditionals.
    pub(crate) depth: u32,
    pub(crate) exits: Vec<Exit>,
    /// The block being written.
    pub(crate) block: usize,
    /// The instruction being written.
    pub(crate) at: i64,
    /// Its number in the block; at the end of one that no branch ends, how many there are.
    pub(crate) index: usize,
    /// Which accesses share a look at the TLB, and the blocks in which that was written.
    pub(crate) plan: &'a Plan,
    pub(crate) looked_in: Vec<usize>,
    /// For those groups where that was asked for in the block: what an offset is modulo 16 if its address is aligned.
    pub(crate) aligned: BTreeMap<usize, i64>,
    group_slots: Vec<u32>,
    /// The header of the loop with few accesses the block is in, or [`NONE`]: each remembers the page it was in.
    pub(crate) small_loop: usize,
    /// The registers through which other places are reached, which do not.
    pub(crate) far: Set,
    /// Instructions that have retired and are not yet subtracted from the fuel.
    pub(crate) pending: i64,
    /// What set the flags last, if that is known.
    pub(crate) kind: Option<Kind>,
    /// Which of the flags' further words the function uses.
    pub(crate) flag_words: (bool, bool),
    /// Whether anything may see the flags of the instruction being written, and the registers that change while it may.
    pub(crate) flags_needed: bool,
    pub(crate) changed: Set,
    /// Instructions executed by the interpreter.
    pub(crate) call_outs: CallOuts,
    pub(crate) rip: u32,
    pub(crate) stack: StackPage,
    /// Pages for places that have none yet, by the header of the small loop they are in.
    pub(crate) pages: BTreeMap<usize, Vec<Page>>,
    /// All locals there are for such.
    pub(crate) page_slots: Vec<Page>,
}

pub(crate) fn at(offset: u32) -> MemArg {
    MemArg { offset: offset.into(), align: 0, target: MemArgTarget::Memory(0), ordering: None }
}

impl<'a> Emitter<'a> {
    pub(crate) fn new(
        function: &'a Function,
        graph: &'a Graph,
        flow: &'a Flow,
        layout: &'a Layout,
        callees: &'a Callees<'a>,
        plan: &'a Plan,
    ) -> Self {
        let mut locals = Vec::new();
        let floats = FloatLocals::new(function, &mut |ty| {
            locals.push(ty);
            param::COUNT + locals.len() as u32 - 1
        });
        let mut this = Self {
            function,
            graph,
            flow,
            layout,
            callees,
            code: Vec::new(),
            hints: Vec::new(),
            locals,
            slots: [UNUSED; SLOTS],
            temps: Default::default(),
            temps_used: [0; 5],
            clean: Clean::NOTHING,
            held: 0,
            late: 0,
            floats,
            depth: 0,
            exits: Vec::new(),
            block: 0,
            at: 0,
            index: 0,
            plan,
            looked_in: vec![NONE; plan.groups.len()],
            aligned: BTreeMap::new(),
            group_slots: Vec::new(),
            small_loop: NONE,
            far: 0,
            pending: 0,
            kind: None,
            flags_needed: true,
            changed: 0,
            flag_words: flag_words(function),
            call_outs: Vec::new(),
            rip: 0,
            stack: StackPage::new(function, layout),
            pages: BTreeMap::new(),
            page_slots: Vec::new(),
        };
        this.rip = this.local(ValType::I64);
        this
    }

    /// The sink for instructions.
    pub(crate) fn i(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.code)
    }

    /// Writes one instruction or the other.
    pub(crate) fn either(&mut self, first: bool, yes: Instruction, no: Instruction) {
        let mut sink = self.i();
        if first {
            yes(&mut sink)
        } else {
            no(&mut sink)
        };
    }

    pub(crate) fn local(&mut self, ty: ValType) -> u32 {
        self.locals.push(ty);
        param::COUNT + self.locals.len() as u32 - 1
    }

    fn slot(&mut self, n: usize) -> u32 {
        if self.slots[n] == UNUSED {
            self.slots[n] = self.local(match n {
                0..16 => ValType::I64,
                16..KIND => ValType::V128,
                _ => ValType::I64,
            });
        }
        self.slots[n]
    }

    /// The local of general-purpose register `n`.
    pub(crate) fn gpr(&mut self, n: usize) -> u32 {
        self.slot(n & 15)
    }

    /// The local of XMM register `n`, or from 16 on of the upper half of a YMM register.
    pub(crate) fn xmm(&mut self, n: usize) -> u32 {
        self.slot(16 + (n & 31))
    }

    /// The locals of the flags: kind, a, b, c, o.
    pub(crate) fn flag_locals(&mut self) -> [u32; 5] {
        [0, 1, 2, 3, 4].map(|n| self.slot(KIND + n))
    }

    /// The local of a group: where it is in our memory, or 0 if the TLB does not have it.
    pub(crate) fn group_local(&mut self, group: usize) -> u32 {
        let slot = self.plan.groups[group].slot;
        if self.group_slots.len() <= slot {
            self.group_slots.resize(slot + 1, UNUSED);
        }
        if self.group_slots[slot] == UNUSED {
            self.group_slots[slot] = self.local(ValType::I32);
        }
        self.group_slots[slot]
    }

    /// Forgets the temporaries of the instruction before.
    pub(crate) fn release_temps(&mut self) {
        self.temps_used = [0; 5];
    }

    pub(crate) fn temp(&mut self, ty: ValType) -> Temp {
        let class = match ty {
            ValType::I32 => 0,
            ValType::I64 => 1,
            ValType::F64 => 2,
            ValType::F32 => 3,
            _ => 4,
        };
        let n = self.temps_used[class];
        self.temps_used[class] += 1;
        if n == self.temps[class].len() {
            let new = self.local(ty);
            self.temps[class].push(new);
        }
        Temp { index: self.temps[class][n], ty }
    }

    /// Takes the value on the stack into a new temporary.
    pub(crate) fn take(&mut self, ty: ValType) -> Temp {
        let temp = self.temp(ty);
        self.i().local_set(temp.index);
        temp
    }

    pub(crate) fn get(&mut self, temp: Temp) {
        self.i().local_get(temp.index);
    }

    /// Opens a block of `kind`, whose label's nesting it returns.
    pub(crate) fn open(&mut self) -> u32 {
        self.i().block(BlockType::Empty);
        self.depth += 1;
        self.depth - 1
    }

    pub(crate) fn open_loop(&mut self) -> u32 {
        self.i().loop_(BlockType::Empty);
        self.depth += 1;
        self.depth - 1
    }

    pub(crate) fn open_if(&mut self, ty: BlockType) {
        self.i().if_(ty);
        self.depth += 1;
    }

    /// Opens a conditional for what hardly ever happens: the engine then keeps it out of the way.
    pub(crate) fn open_rare(&mut self, ty: BlockType) {
        self.hint(false);
        self.open_if(ty);
    }

    /// Opens one for what is nearly always so.
    pub(crate) fn open_usual(&mut self, ty: BlockType) {
        self.hint(true);
        self.open_if(ty);
    }

    /// Branches on what hardly ever happens.
    pub(crate) fn branch_rarely(&mut self, label: u32) {
        self.hint(false);
        self.i().br_if(label);
    }

    /// Branches on what is nearly always so.
    pub(crate) fn branch_usually(&mut self, label: u32) {
        self.hint(true);
        self.i().br_if(label);
    }

    /// Says whether the branch written next is mostly taken.
    fn hint(&mut self, taken: bool) {
        let here = self.code.len() as u32;
        self.hints.push(BranchHint { branch_func_offset: here, branch_hint_value: taken.into() });
    }

    pub(crate) fn or_else(&mut self) {
        self.i().else_();
    }

    pub(crate) fn close(&mut self) {
        self.i().end();
        self.depth -= 1;
    }

    /// What a branch to the label with that nesting needs.
    pub(crate) fn label(&self, level: u32) -> u32 {
        self.depth - 1 - level
    }

    fn each(set: Set) -> impl Iterator<Item = usize> {
        (0..50).filter(move |n| set >> n & 1 != 0)
    }

    pub(crate) fn register_address(&self, n: usize) -> u32 {
        match n as u32 {
            n @ 0..16 => self.layout.regs + n * 8,
            n @ 16..32 => self.layout.xmm + (n - 16) * 16,
            n => self.layout.ymm_high + (n - 32) * 16,
        }
    }

    /// Loads registers from the processor's state.
    pub(crate) fn load_registers(&mut self, set: Set) {
        for n in Self::each(set) {
            if 1 << n == MXCSR {
                self.load_fast_float();
                continue;
            }
            if n == KIND {
                self.leave_flags();
                continue;
            }
            let (slot, from) = (self.slot(n), at(self.register_address(n)));
            let mut s = self.i();
            s.i32_const(0);
            if n < 16 {
                s.i64_load(from)
            } else {
                s.v128_load(from)
            };
            s.local_set(slot);
        }
    }

    /// Loads those of them that are not in locals yet.
    pub(crate) fn hold(&mut self, set: Set) {
        let set = set & !FLAGS;
        self.load_registers(set & !self.held);
        self.held |= set;
    }

    /// Stores registers the block's last instruction wrote, unless they are kept in locals.
    pub(crate) fn wrote(&mut self, set: Set) {
        if !self.flow.is_in_region(self.block) {
            self.store_registers(set);
        }
        self.held |= set;
    }

    /// Stores registers to it.
    pub(crate) fn store_registers(&mut self, set: Set) {
        for n in Self::each(set) {
            if n == KIND {
                self.store_flags();
                continue;
            }
            let (slot, to) = (self.slot(n), at(self.register_address(n)));
            let mut s = self.i();
            s.i32_const(0).local_get(slot);
            if n < 16 {
                s.i64_store(to)
            } else {
                s.v128_store(to)
            };
        }
    }

    /// The flags are in the processor's state, and stay there until something sets them.
    fn leave_flags(&mut self) {
        let [kind, words @ ..] = self.flag_locals();
        self.i().i64_const(Kind::STORED).local_set(kind);
        // What the words held before would have to be carried to where nobody looks at it.
        for (local, _) in words.into_iter().zip(self.used_words()).filter(|w| w.1) {
            self.i().i64_const(0).local_set(local);
        }
    }

    /// Which words of the flags the function uses: a, b, c, o.
    fn used_words(&self) -> [bool; 4] {
        [true, true, self.flag_words.0, self.flag_words.1]
    }

    pub(crate) fn store_flags(&mut self) {
        let (lazy, [kind, a, b, c, o]) = (self.layout.lazy, self.flag_locals());
        let known = self.kind;
        if known.is_none() {
            self.i().local_get(kind).i64_const(Kind::STORED).i64_ne();
            self.open_if(BlockType::Empty);
        }
        let used = known.map_or(self.used_words(), Kind::words);
        for (i, local) in [a, b, c, o].into_iter().enumerate().filter(|&(i, _)| used[i]) {
            self.i().i32_const(0).local_get(local).i64_store(at(lazy + i as u32 * 8));
        }
        self.i().i32_const(0);
        match known {
            Some(known) => _ = self.i().i64_const(known.encode()),
            None => _ = self.i().local_get(kind),
        }
        self.i().i64_store(at(lazy + 32));
        if known.is_none() {
            self.close();
        }
    }

    /// Registers to store when the instruction being written leaves: outside regions at most the flags.
    pub(crate) fn spill(&self) -> Set {
        self.flow.spill_at(self.block, self.index)
    }

    /// Subtracts what retired from the fuel.
    pub(crate) fn pay(&mut self) {
        let pending = mem::take(&mut self.pending);
        if pending != 0 {
            self.i().local_get(param::FUEL).i64_const(pending).i64_sub().local_set(param::FUEL);
        }
    }

    /// Pushes the fuel left after what retired.
    pub(crate) fn push_fuel(&mut self) {
        let pending = self.pending;
        self.i().local_get(param::FUEL);
        if pending != 0 {
            self.i().i64_const(pending).i64_sub();
        }
    }

    /// Pushes the virtual address of `offset`.
    pub(crate) fn push_address(&mut self, offset: i64) {
        self.i().local_get(param::BASE);
        if offset != 0 {
            self.i().i64_const(offset).i64_add();
        }
    }

    /// Leaves with RIP at the instruction being written, `stop` having been said.
    pub(crate) fn leave(&mut self) {
        let set = self.spill();
        self.store_registers(self.late);
        let (offset, rip, pending) = (self.at, self.rip, self.pending);
        self.push_address(offset);
        self.i().local_set(rip);
        if pending != 0 {
            self.i().local_get(param::FUEL).i64_const(pending).i64_sub().local_set(param::FUEL);
        }
        self.branch_to_exit(set, Tail::Stop);
    }

    pub(crate) fn branch_to_exit(&mut self, set: Set, tail: Tail) {
        let level = self.exits.iter().find(|e| e.set == set && e.tail == tail).map_or(0, |e| e.level);
        let label = self.label(level);
        self.i().br(label);
    }

    /// Says why it stops.
    pub(crate) fn set_stop(&mut self, stop: u32) {
        let to = at(self.layout.stop);
        self.i().i32_const(0).i32_const(stop as i32).i32_store(to);
    }

    /// Leaves the instruction being written to the interpreter, alone.
    pub(crate) fn interpret(&mut self) {
        self.set_stop(STOP_INTERPRET);
        self.leave();
    }

    /// Leaves the function for the address on the stack, wherever that leads.
    pub(crate) fn go_to(&mut self, target: Temp) {
        let set = self.spill();
        self.store_registers(set);
        self.get(target);
        self.push_fuel();
        self.i().i32_const(0).local_get(param::DEPTH).return_call(function::DISPATCH);
    }

    /// Executes the instruction being written by calling the interpreter. With `aside` the call is on a path that joins
    /// others: the fuel then ends up as if nothing had been paid, and as little as can be is different after it, for what an
    /// engine carries where ways meet it may have to move on all of them.
    pub(crate) fn call_out(&mut self, aside: bool) {
        let set = self.spill() | self.late;
        self.store_registers(set);
        let Some(found) = self.function.blocks[self.block].insns.iter().find(|i| i.at() == self.at) else { return };
        let (insn, reads) = (found.insn, found.reads);
        let writes = if found.calls_out { found.writes | found.flags_written() } else { found.writes & !FLAGS };
        let call = CallOut::new(insn);
        let (page, ops) = (call.page, call.address());
        self.call_outs.push(call);
        let (core, slot) = (self.layout.core as i32, at(self.layout.page));
        self.i().i32_const(0);
        self.push_address(page);
        self.i().i64_store(slot).i32_const(core).i32_const(ops as i32);
        let paid = self.pending + 1;
        self.i().local_get(param::FUEL).i64_const(paid).i64_sub();
        self.i().call(function::CALL_OUT);
        let left = self.take(ValType::I64);
        let stop = at(self.layout.stop);
        self.i().i32_const(0).i32_load(stop);
        self.open_rare(BlockType::Empty);
        self.i().i64_const(-1).local_get(left.index).return_();
        self.close();
        if !aside {
            self.i().local_get(left.index).local_set(param::FUEL);
            // The caller counts the instruction.
            self.pending = -1;
        } else if insn.is_string_instruction() {
            self.i().local_get(left.index).i64_const(paid).i64_add().local_set(param::FUEL);
        }
        self.load_registers(writes);
        self.held |= writes & !FLAGS;
        if aside && reads & MXCSR != 0 {
            self.push_fast_float_changed();
            self.leave_after(&insn);
        }
        if writes & FLAGS != 0 {
            self.kind = None;
        }
    }
}

/// Which of the flags' further words a function may set.
fn flag_words(function: &Function) -> (bool, bool) {
    let insns = function.blocks.iter().flat_map(|b| &b.insns);
    let words = insns.map(|i| super::translate::flag_words(&i.insn));
    words.fold((false, false), |all, i| (all.0 | i.0, all.1 | i.1))
}
