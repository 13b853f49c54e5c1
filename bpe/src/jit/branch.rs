//! How blocks end: branches, calls and returns.
//!
//! What always holds: a call is a call of the engine, so the return address it predicts is the guest's, too. Registers are
//! in the processor's state around it. What comes back is the address control is at: if that is not the one the call
//! pushed, it is the caller's caller that may know, or nobody, and then the loop outside goes on from there. Thus
//! `longjmp`, stack switches and faults need nothing more, and calls may be cut off at any depth.

use alloc::vec::Vec;

use iced_x86::{Code, Mnemonic, OpKind};
use wasm_encoder::{BlockType, ValType};

use super::code::{End, FLAGS, Goal, Target};
use super::emit::{Emitter, Tail, Temp, at, param};
use super::function::Shape;
use super::held::Known;
use super::layout::{function, signature};
use super::lazy::STOP_FUEL;
use super::link::Callee;
use super::plan::Address;
use super::stack::RSP;

impl Emitter<'_> {
    #[inline(never)]
    pub(super) fn terminator(&mut self, shape: &mut Shape, node: usize) {
        let function = self.function;
        match &function.blocks[node].end {
            End::Jump(to) => {
                if function.blocks[node].insns.last().is_some_and(|i| i.insn.is_jmp_short_or_near()) {
                    self.pending += 1;
                }
                self.to(shape, node, *to);
            }
            End::Branch { taken, next } => self.conditional(shape, node, *taken, *next),
            End::Call { goal, back } => self.call(shape, node, *goal, *back),
            End::Indirect(hub) => self.indirect(shape, node, *hub),
            End::Enter { to, likely: None } => {
                self.push_return_address();
                self.branch(shape, node, *to);
            }
            End::Enter { to, likely: Some(likely) } => self.enter_likely(shape, node, *to, *likely),
            End::Back { expected, back } => self.back(shape, node, *expected, *back),
            End::Rest { at, expected, back } => {
                let set = self.spill();
                self.store_registers(set);
                self.push_address(*at);
                let goal = self.take(ValType::I64);
                self.call_and_go_on(shape, node, (Goal::Unknown, goal), (*expected, *back));
            }
            End::Likely(to) => self.likely(shape, node, *to),
            End::Hub(targets) => self.hub(shape, node, targets),
            End::Return => self.ret(),
            End::Leave(offset) => self.out(*offset, false),
        }
    }

    fn to(&mut self, shape: &mut Shape, node: usize, to: Target) {
        let index = self.index;
        match to {
            Target::Block(b) => self.branch(shape, node, b),
            Target::Out(offset) => self.out(offset, true),
        }
        // What follows was not reached from here.
        (self.block, self.index, self.late) = (node, index, 0);
    }

    /// Leaves for a known place: through the jump table, or for the interpreter.
    fn out(&mut self, offset: i64, through_table: bool) {
        self.push_address(offset);
        let set = self.spill();
        if through_table {
            let rip = self.rip;
            self.i().local_set(rip);
            self.pay();
            return self.branch_to_exit(set, Tail::GoOn);
        }
        let target = self.take(ValType::I64);
        self.store_registers(set);
        self.get(target);
        self.push_fuel();
        self.i().return_();
    }

    fn conditional(&mut self, shape: &mut Shape, node: usize, taken: Target, next: Target) {
        let function = self.function;
        let Some(last) = function.blocks[node].insns.last() else { return };
        let insn = &last.insn;
        match insn.mnemonic() {
            Mnemonic::Jrcxz => {
                let rcx = self.gpr(1);
                self.i().local_get(rcx).i64_eqz();
            }
            Mnemonic::Jecxz => {
                let rcx = self.gpr(1);
                self.i().local_get(rcx).i32_wrap_i64().i32_eqz();
            }
            Mnemonic::Loop => {
                let rcx = self.gpr(1);
                self.i().local_get(rcx).i64_const(1).i64_sub().local_set(rcx);
                self.wrote(1 << 1);
                self.i().local_get(rcx).i64_const(0).i64_ne();
            }
            _ => self.push_condition(super::translate::condition(insn)),
        }
        self.pending += 1;
        if taken == next {
            self.i().drop();
            return self.to(shape, node, taken);
        }
        let (pending, known) = (self.pending, self.known());
        self.open_if(BlockType::Empty);
        self.to(shape, node, taken);
        self.close();
        self.pending = pending;
        self.set_known(known);
        self.to(shape, node, next);
    }

    /// The target of an indirect branch.
    fn indirect_target(&mut self) -> Option<Temp> {
        let function = self.function;
        let insn = &function.blocks[self.block].insns.last()?.insn;
        if insn.op_kind(0) == OpKind::Memory {
            self.load_operand(insn, 3);
        } else {
            let local = self.gpr(insn.op0_register().full_register().number());
            self.i().local_get(local);
        }
        Some(self.take(ValType::I64))
    }

    /// An address outside user space is for the interpreter to refuse.
    fn check_user(&mut self, target: Temp) {
        self.i().local_get(target.index).i64_const(47).i64_shr_u().i64_eqz().i32_eqz();
        self.open_rare(BlockType::Empty);
        self.interpret();
        self.close();
    }

    #[inline(never)]
    fn call(&mut self, shape: &mut Shape, node: usize, to: Goal, back: Target) {
        let function = self.function;
        let Some(last) = function.blocks[node].insns.last() else { return };
        let indirect = match to {
            Goal::Known(_) => None,
            _ => self.indirect_target(),
        };
        if let Some(target) = indirect {
            self.check_user(target);
        }
        self.push_return_address();
        let set = self.spill();
        self.store_registers(set);
        let goal = self.temp(ValType::I64);
        match (to, indirect) {
            (Goal::Known(target), _) => self.push_address(target),
            (_, Some(found)) => self.get(found),
            (_, None) => return,
        }
        self.i().local_set(goal.index);
        let Target::Block(back_block) = back else {
            // Nobody knows what comes after it, so nothing has to wait here.
            self.get(goal);
            self.push_fuel();
            self.i().i32_const(0).local_get(param::DEPTH).return_call(function::DISPATCH);
            return;
        };
        self.call_and_go_on(shape, node, (to, goal), (last.next(), back_block));
    }

    /// Calls what is written in place from the block `to` on if the address is that offset's. If not, `back` is where what
    /// is there comes back to.
    #[inline(never)]
    fn enter_likely(&mut self, shape: &mut Shape, node: usize, to: usize, (offset, back): (i64, usize)) {
        let function = self.function;
        let Some(last) = function.blocks[node].insns.last() else { return };
        let Some(goal) = self.indirect_target() else { return };
        self.check_user(goal);
        self.push_return_address();
        let (pending, known, index) = (self.pending, self.known(), self.index);
        self.get(goal);
        self.push_address(offset);
        self.i().i64_ne();
        self.open_rare(BlockType::Empty);
        let set = self.spill();
        self.store_registers(set);
        self.call_and_go_on(shape, node, (Goal::Unknown, goal), (last.next(), back));
        self.close();
        (self.block, self.index) = (node, index);
        self.pending = pending;
        self.set_known(known);
        self.branch(shape, node, to);
    }

    /// Pushes the address after the call that ends the block.
    fn push_return_address(&mut self) {
        let function = self.function;
        let Some(last) = function.blocks[self.block].insns.last() else { return };
        self.push_address(last.next());
        let pushed = self.take(ValType::I64);
        self.store(Address::Stack(-8), pushed, 3);
        let rsp = self.gpr(4);
        self.i().local_get(rsp).i64_const(8).i64_sub().local_set(rsp);
        self.wrote(RSP);
        self.pending += 1;
    }

    /// Calls what is known of the goal, and its address; goes on at a block when that comes back to where it is expected.
    /// Registers have been stored.
    fn call_and_go_on(
        &mut self,
        shape: &mut Shape,
        node: usize,
        (to, goal): (Goal, Temp),
        (expected, back): (i64, usize),
    ) {
        self.i().local_get(param::DEPTH).i32_eqz();
        self.open_rare(BlockType::Empty);
        self.get(goal);
        self.push_fuel();
        self.i().return_();
        self.close();
        match (to, to.offset().and_then(|t| self.callees.find(t))) {
            (Goal::Known(_), Some(callee)) => self.call_callee(callee),
            (Goal::Likely(target), Some(callee)) => {
                self.get(goal);
                self.push_address(target);
                self.i().i64_eq();
                self.open_usual(BlockType::FunctionType(signature::RETURNED));
                self.call_callee(callee);
                self.or_else();
                self.call_dispatch(goal);
                self.close();
            }
            _ => self.call_dispatch(goal),
        }
        self.i().local_set(param::FUEL);
        self.pending = 0;
        self.set_known(Known::NOTHING);
        let came = self.take(ValType::I64);
        self.get(came);
        self.push_address(expected);
        self.i().i64_ne();
        self.open_rare(BlockType::Empty);
        self.i().local_get(came.index).local_get(param::FUEL).return_();
        self.close();
        let live = self.flow.live_in[back] & FLAGS;
        self.load_registers(live);
        self.branch(shape, node, back);
    }

    /// Calls a function directly. Pushes what comes back.
    fn call_callee(&mut self, callee: Callee) {
        self.i().local_get(param::BASE);
        if callee.moved != 0 {
            self.i().i64_const(callee.moved).i64_add();
        }
        self.call_number(callee.number);
    }

    /// Calls what is at an address, likewise.
    fn call_dispatch(&mut self, goal: Temp) {
        self.get(goal);
        self.call_number(function::DISPATCH);
    }

    fn call_number(&mut self, number: u32) {
        self.push_fuel();
        self.i().i32_const(0).local_get(param::DEPTH).i32_const(1).i32_sub().call(number);
    }

    fn ret(&mut self) {
        self.load(Address::Stack(0), 3);
        let target = self.take(ValType::I64);
        self.return_to(target);
    }

    /// Returns from a callee that was written in place.
    fn back(&mut self, shape: &mut Shape, node: usize, expected: i64, back: usize) {
        self.load(Address::Stack(0), 3);
        let target = self.take(ValType::I64);
        self.get(target);
        self.push_address(expected);
        self.i().i64_ne();
        self.open_rare(BlockType::Empty);
        let pending = self.pending;
        self.return_to(target);
        self.pending = pending;
        self.close();
        self.release_stack();
        self.pending += 1;
        self.branch(shape, node, back);
    }

    /// Takes the return address, and what the instruction says besides, from the stack.
    fn release_stack(&mut self) {
        let function = self.function;
        let Some(last) = function.blocks[self.block].insns.last() else { return };
        let released = match last.insn.op_count() {
            0 => 0,
            _ => i64::from(last.insn.immediate16()),
        };
        let rsp = self.gpr(4);
        self.i().local_get(rsp).i64_const(8 + released).i64_add().local_set(rsp);
        self.wrote(RSP);
    }

    /// Returns to an address, which only whoever called us may know.
    fn return_to(&mut self, target: Temp) {
        self.check_user(target);
        self.release_stack();
        self.pending += 1;
        let set = self.spill();
        self.store_registers(set);
        self.get(target);
        self.push_fuel();
        self.i().return_();
    }

    /// Goes on at the hub if that knows the target: its distance from the lowest is looked up.
    #[inline(never)]
    fn indirect(&mut self, shape: &mut Shape, node: usize, hub: Option<usize>) {
        let Some(target) = self.indirect_target() else { return };
        self.pending += 1;
        if let (Some(hub), Some(map)) = (hub, shape.map) {
            let outside = self.open();
            self.get(target);
            self.push_address(map.low);
            self.i().i64_sub();
            let distance = self.take(ValType::I64);
            let label = self.label(outside);
            self.i().local_get(distance.index).i64_const(map.span).i64_gt_u();
            self.branch_rarely(label);
            self.i().local_get(distance.index).i32_wrap_i64().i32_load8_u(at(map.address));
            self.i().local_tee(map.number).i32_eqz();
            self.branch_rarely(label);
            // The hub, and what follows it, may be written right here.
            let (pending, known, at, index) = (self.pending, self.known(), self.at, self.index);
            let rip = self.rip;
            self.pay();
            self.is_out_of_fuel();
            self.open_rare(BlockType::Empty);
            self.set_stop(STOP_FUEL);
            self.i().local_get(target.index).local_set(rip);
            let set = self.spill();
            self.branch_to_exit(set, Tail::Stop);
            self.close();
            self.branch(shape, node, hub);
            self.close();
            (self.block, self.at, self.index, self.late) = (node, at, index, 0);
            self.pending = pending;
            self.set_known(known);
        }
        // What the hub knows is code of a program.
        self.pending -= 1;
        self.check_user(target);
        self.pending += 1;
        self.miss(target);
    }

    /// Goes to an address the jump being written was not seen to lead to before. If nobody has translated what is there, it
    /// will be known of when that is done.
    fn miss(&mut self, target: Temp) {
        let missed = self.layout.missed;
        let jump = self.function.blocks[self.block].insns.last().map_or(0, |insn| insn.at());
        self.i().i32_const(0);
        self.push_address(jump);
        self.i().i64_store(at(missed)).i32_const(0).local_get(target.index).i64_store(at(missed + 8));
        self.go_to(target);
    }

    /// Goes on at a block if that is where the address leads.
    #[inline(never)]
    fn likely(&mut self, shape: &mut Shape, node: usize, to: usize) {
        let Some(target) = self.indirect_target() else { return };
        let expected = self.function.blocks[to].at;
        self.get(target);
        self.push_address(expected);
        self.i().i64_ne();
        self.open_rare(BlockType::Empty);
        self.check_user(target);
        self.pending += 1;
        self.miss(target);
        self.close();
        self.branch(shape, node, to);
    }

    /// The hub: goes where the number says.
    fn hub(&mut self, shape: &mut Shape, node: usize, targets: &[(i64, usize)]) {
        let Some(map) = shape.map else { return };
        self.pay();
        let mut labels = Vec::new();
        for t in targets.iter().filter(|t| !self.graph.cut.contains(&(node, t.1))) {
            labels.push(self.label_of(shape, node, t.1));
        }
        let Some(&default) = labels.first() else {
            _ = self.i().unreachable();
            return;
        };
        self.i().local_get(map.number).i32_const(1).i32_sub().br_table(labels, default);
    }
}

/// Whether an instruction that ends a block is one of those above.
pub(super) fn is_translated(insn: &iced_x86::Instruction) -> bool {
    match insn.mnemonic() {
        Mnemonic::Jmp => insn.is_jmp_short_or_near() || insn.is_jmp_near_indirect(),
        Mnemonic::Call => insn.is_call_near() || insn.is_call_near_indirect(),
        Mnemonic::Ret | Mnemonic::Jrcxz | Mnemonic::Jecxz => true,
        Mnemonic::Loop => insn.code() == Code::Loop_rel8_64_RCX,
        _ => insn.is_jcc_short_or_near(),
    }
}
