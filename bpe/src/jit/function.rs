//! A function's control flow as nested blocks, loops and conditionals ("Beyond Relooper", Ramsey 2022).
//!
//! What always holds: a node is written inside its dominator's block; those that several edges reach follow a labelled
//! block, and loops begin at their headers. Entries besides the first are reached through the headers of the loops they
//! are in, which look at the parameter that says where to go on.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use wasm_encoder::{BlockType, BranchHint, ValType};

use super::clean::{self, Entered};
use super::code::{End, FLAGS, Function, Set};
use super::emit::{Emitter, Exit, Tail, param};
use super::entries;
use super::flow::Flow;
use super::graph::{Graph, NONE};
use super::held::{Known, stores};
use super::hub::{Hub, Map, hub_of};
use super::layout::function::DISPATCH;
use super::layout::{CallOuts, Layout};
use super::lazy::STOP_FUEL;
use super::link::Callees;
use super::plan;
use super::small_loops::SmallLoops;

/// A function's locals after its parameters, its code, and what that calls out to.
pub(crate) struct Body {
    pub(crate) locals: Vec<ValType>,
    pub(crate) code: Vec<u8>,
    pub(crate) hints: Vec<BranchHint>,
    pub(crate) call_outs: CallOuts,
    /// Numbers of the hub's places.
    pub(crate) map: Option<Box<[u8]>>,
    /// Offsets of the entries, in the order of their numbers.
    pub(crate) entries: Vec<i64>,
    /// Those the hub leads to, which are numbered after them.
    pub(crate) through_hub: Vec<i64>,
}

/// Nodes reached through a header on the way to an entry: (number of the entry, next node).
type Ways = Vec<Vec<(usize, usize)>>;

/// What the structure says of nodes.
pub(crate) struct Shape {
    pub(super) entries: Vec<usize>,
    ways: Ways,
    /// Needs a label of its own.
    pub(super) merge: Vec<bool>,
    pub(super) loops: Vec<bool>,
    block_level: Vec<u32>,
    loop_level: Vec<u32>,
    children: Vec<Vec<usize>>,
    pub(super) map: Option<Map>,
    small: SmallLoops,
    /// What numbers registers hold when a loop begins.
    pub(super) clean: Vec<Entered>,
    /// What is known on all ways to a node so far; nothing before there is one.
    pub(super) known: Vec<Option<Known>>,
}

/// Translates a function.
pub(crate) fn translate(function: &Function, layout: &Layout, callees: &Callees<'_>) -> Body {
    let (mut graph, mut entries) = graph_of(function);
    let cut = graph.cut.clone();
    let hub = hub_of(function, &graph);
    // A node that only an edge through the root reaches is an entry like others.
    for &(_, to) in &cut {
        if !entries.contains(&to) {
            entries.push(to);
        }
    }
    for node in 0..function.blocks.len() {
        let block = &function.blocks[node];
        let inside = block.insns.is_empty() || block.of_callee;
        let known = entries.iter().any(|&e| function.blocks[e].at == block.at);
        if graph.order[node] != NONE && graph.header[node] == node && !inside && !known {
            entries.push(node);
        }
    }
    // The last: numbers from its own on say where it leads.
    let ordinary = entries.len();
    entries.extend(hub.as_ref().map(|hub| hub.block));
    let ways = ways_of(&graph, &entries);
    let edges: Vec<(usize, usize)> =
        ways.iter().enumerate().flat_map(|(from, to)| to.iter().map(move |&(_, to)| (from, to))).collect();
    graph.add(&edges);
    let flow = Flow::new(&function.blocks, &graph, &cut);
    let led_to: Vec<usize> = edges.iter().map(|edge| edge.1).collect();
    let plan = plan::plan(function, &graph, &led_to);
    let mut emitter = Emitter::new(function, &graph, &flow, layout, callees, &plan);
    let small = SmallLoops::new(function, &graph, &plan, emitter.stack.frames());
    let mut shape = shape_of(function, &graph, entries, ways, &cut, small);
    shape.clean = clean::at_headers(&function.blocks, &graph, &flow, &shape.entries);
    if let Some(Hub { low, map, .. }) = &hub {
        let number = emitter.local(ValType::I32);
        let address = map.as_ptr() as usize as u32;
        shape.map = Some(Map { low: *low, span: map.len() as i64 - 1, address, number });
    }
    let entries: Vec<i64> = shape.entries[..ordinary].iter().map(|&b| function.blocks[b].at).collect();
    emitter.function_body(&mut shape);
    let (map, through_hub) = hub.map(|hub| (hub.map, hub.places)).unzip();
    Body {
        map,
        through_hub: through_hub.unwrap_or_default(),
        locals: emitter.locals,
        code: emitter.code,
        hints: emitter.hints,
        call_outs: emitter.call_outs,
        entries,
    }
}

#[inline(never)]
fn graph_of(function: &Function) -> (Graph, Vec<usize>) {
    let mut graph = entries::graph_from(function, &function.entries[..1]);
    // What the first entry does not reach needs a way in.
    let missing = function.entries.iter().copied().filter(|&e| graph.order[e] == NONE);
    let begins: Vec<usize> = function.entries.iter().copied().take(1).chain(missing).collect();
    if begins.len() > 1 {
        graph = entries::graph_from(function, &begins);
    }
    let entries = function.entries.iter().copied().filter(|&e| graph.order[e] != NONE).collect();
    (graph, entries)
}

fn ways_of(graph: &Graph, entries: &[usize]) -> Ways {
    let mut ways: Ways = vec![Vec::new(); graph.successors.len()];
    for (number, &entry) in entries.iter().enumerate() {
        let mut from = graph.root();
        for head in graph.loops_around(entry) {
            if head != from {
                ways[from].push((number, head));
                from = head;
            }
        }
        ways[from].push((number, entry));
    }
    ways
}

#[inline(never)]
fn shape_of(
    function: &Function,
    graph: &Graph,
    entries: Vec<usize>,
    ways: Ways,
    cut: &[(usize, usize)],
    small: SmallLoops,
) -> Shape {
    let n = graph.successors.len();
    let mut forward = vec![0; n];
    let mut loops = vec![false; n];
    for &from in &graph.sequence {
        for &to in &graph.successors[from] {
            if graph.order[to] <= graph.order[from] {
                loops[to] = true;
            } else {
                forward[to] += 1;
            }
        }
    }
    loops[graph.root()] |= !cut.is_empty();
    let mut merge: Vec<bool> = forward.iter().map(|&f| f > 1).collect();
    for (from, to) in ways.iter().enumerate() {
        let only = from == graph.root() && to.len() == 1;
        for &(_, node) in to {
            merge[node] |= !only;
        }
    }
    for block in &function.blocks {
        if let End::Hub(targets) = &block.end {
            targets.iter().for_each(|t| merge[t.1] = true);
        }
    }
    let mut children = vec![Vec::new(); n];
    for &node in &graph.sequence[1..] {
        children[graph.dominator[node]].push(node);
    }
    Shape {
        entries,
        ways,
        merge,
        loops,
        block_level: vec![0; n],
        loop_level: vec![0; n],
        children,
        map: None,
        clean: Vec::new(),
        known: vec![None; n],
        small,
    }
}

/// Whether the function is entered only once, and its ways to entries part at the root: calls then go straight on.
fn is_entered_where_dispatched(shape: &Shape, root: usize) -> bool {
    shape.ways[root].len() > 1 && !shape.loops[root]
}

impl Emitter<'_> {
    fn function_body(&mut self, shape: &mut Shape) {
        let root = self.graph.root();
        for (set, tail) in self.exit_sets(shape) {
            let level = self.open();
            self.exits.push(Exit { set, tail, level });
        }
        if !is_entered_where_dispatched(shape, root) {
            self.enter(shape);
        }
        self.node(shape, root);
        self.i().unreachable();
        self.kind = None;
        self.close_exits();
        self.i().end();
    }

    /// Writes what is done at exits. One that stores more than another stores what that does not, and goes on there:
    /// functions are left in many places, and what each of them stores alone was a fifth of all code.
    #[inline(never)]
    fn close_exits(&mut self) {
        self.kind = None;
        while let Some(exit) = self.exits.pop() {
            self.close();
            let inner = |e: &&Exit| e.tail == exit.tail && e.set & !exit.set == 0;
            // The last has the most.
            let rest = self.exits.iter().rfind(inner).copied();
            self.store_registers(exit.set & !rest.map_or(0, |e| e.set));
            match (rest, exit.tail) {
                (Some(rest), _) => {
                    let label = self.label(rest.level);
                    self.i().br(label);
                }
                (None, Tail::Stop) => self.stop(),
                (None, Tail::GoOn) => {
                    let rip = self.rip;
                    self.i().local_get(rip).local_get(param::FUEL).i32_const(0).local_get(param::DEPTH);
                    self.i().return_call(DISPATCH);
                }
            }
        }
    }

    /// The sets of registers exits store, smaller ones first, and what follows.
    fn exit_sets(&self, shape: &Shape) -> Vec<(Set, Tail)> {
        let mut sets = vec![(0, Tail::Stop)];
        for (b, block) in self.function.blocks.iter().enumerate() {
            let leaving = block.insns.iter().enumerate().filter(|(_, insn)| insn.may_exit);
            sets.extend(leaving.map(|(i, _)| (self.flow.spill_at(b, i), Tail::Stop)));
            if self.graph.cut.iter().any(|c| c.0 == b) {
                sets.push((self.flow.spill[b], Tail::Stop));
            }
            if shape.loops[b] {
                sets.push((self.flow.dirty_in[b], Tail::Stop));
            }
            if block.end.leaves_for_a_place() {
                sets.push((self.flow.spill[b], Tail::GoOn));
            }
        }
        sets.sort_unstable_by_key(|&(set, tail)| (tail, set.count_ones(), set));
        sets.dedup();
        sets
    }

    /// Returns because of what was said.
    fn stop(&mut self) {
        let (rip, to) = (self.rip, super::emit::at(self.layout.rip));
        self.i().i32_const(0).local_get(rip).i64_store(to);
        self.i().i64_const(-1).local_get(param::FUEL).return_();
    }

    /// Looks at the fuel and loads the registers the entry needs.
    fn enter(&mut self, shape: &Shape) {
        if shape.entries.len() == 1 {
            return self.enter_first(shape);
        }
        self.i().local_get(param::ENTRY);
        self.open_rare(BlockType::Empty);
        self.load_for_others(shape);
        self.or_else();
        self.enter_first(shape);
        self.close();
    }

    /// The same at the first entry, where calls enter.
    fn enter_first(&mut self, shape: &Shape) {
        let first = shape.entries[0];
        self.is_out_of_fuel();
        self.open_rare(BlockType::Empty);
        let offset = self.function.blocks[first].at;
        self.out_of_fuel(offset, 0);
        self.close();
        self.load_registers(self.flow.live_in[first]);
    }

    /// Loads the registers the others need, and says where the hub is to lead.
    fn load_for_others(&mut self, shape: &Shape) {
        if let Some(map) = shape.map {
            let before = shape.entries.len() as i32 - 2;
            self.i().local_get(param::ENTRY).i32_const(before).i32_sub().local_set(map.number);
        }
        let others = shape.entries[1..].iter().fold(0, |all, &e| all | self.flow.live_in[e]);
        self.load_registers(others);
    }

    fn out_of_fuel(&mut self, offset: i64, set: Set) {
        self.stop_at(STOP_FUEL, offset, set);
    }

    /// Stops between instructions.
    pub(super) fn stop_at(&mut self, stop: u32, offset: i64, set: Set) {
        let rip = self.rip;
        self.set_stop(stop);
        self.push_address(offset);
        self.i().local_set(rip);
        self.branch_to_exit(set, Tail::Stop);
    }

    /// A node and all it dominates.
    fn node(&mut self, shape: &mut Shape, node: usize) {
        self.begin_pages(&shape.small.begin[node]);
        if shape.loops[node] {
            self.ask_who_enters(shape, node);
            shape.loop_level[node] = self.open_loop();
        }
        let mut followers: Vec<usize> = shape.children[node].iter().copied().filter(|&c| shape.merge[c]).collect();
        followers.sort_unstable_by_key(|&c| core::cmp::Reverse(self.graph.order[c]));
        for &follower in &followers {
            shape.block_level[follower] = self.open();
        }
        self.contents(shape, node);
        for &follower in followers.iter().rev() {
            self.close();
            let known = shape.known[follower].unwrap_or(Known::NOTHING);
            self.set_known(known);
            self.pending = 0;
            self.node(shape, follower);
        }
        if shape.loops[node] {
            self.i().unreachable();
            self.close();
        }
    }

    fn contents(&mut self, shape: &mut Shape, node: usize) {
        if node == self.graph.root() {
            return self.dispatch(shape, node);
        }
        if shape.loops[node] {
            self.set_known(Known::of_numbers(shape.clean[node].known));
            // On the way to an entry inside there is fuel: whoever enters there has looked. The hub's loop is polled where
            // it is entered.
            if !self.function.blocks[node].insns.is_empty() {
                self.is_out_of_fuel();
                self.open_rare(BlockType::Empty);
                let offset = self.function.blocks[node].at;
                self.out_of_fuel(offset, self.flow.dirty_in[node]);
                self.close();
            }
            if !shape.ways[node].is_empty() {
                self.dispatch(shape, node);
            }
        }
        if shape.entries.iter().skip(1).any(|&e| e == node) {
            self.i().i32_const(0).local_set(param::ENTRY);
        }
        self.block(shape, node);
    }

    /// Goes on towards the entry the parameter says.
    #[inline(never)]
    fn dispatch(&mut self, shape: &mut Shape, node: usize) {
        let ways = shape.ways[node].clone();
        let root = node == self.graph.root();
        if root && ways.len() == 1 {
            return self.branch(shape, node, ways[0].1);
        }
        let normal = if root {
            None
        } else {
            let level = self.open();
            let label = self.label(level);
            self.i().local_get(param::ENTRY).i32_eqz();
            self.branch_usually(label);
            Some(level)
        };
        for &(_, to) in &ways {
            shape.known[to] = Some(Known::NOTHING);
        }
        let mut labels = Vec::with_capacity(shape.entries.len());
        for number in 0..shape.entries.len() {
            let way = ways.iter().find(|w| w.0 == number).map(|w| w.1);
            let level = match (way, normal) {
                (Some(to), _) => shape.block_level[to],
                (None, Some(normal)) => normal,
                (None, None) => shape.block_level[ways[0].1],
            };
            labels.push(self.label(level));
        }
        // Numbers after the last are the hub's.
        let first = labels[0];
        let default = if shape.map.is_some() { labels[labels.len() - 1] } else { first };
        if root && is_entered_where_dispatched(shape, node) {
            self.i().local_get(param::ENTRY);
            self.open_rare(BlockType::Empty);
            self.load_for_others(shape);
            let inside = labels.into_iter().map(|label| label + 1);
            self.i().local_get(param::ENTRY).br_table(inside.collect::<Vec<_>>(), default + 1);
            self.close();
            self.enter_first(shape);
            self.i().br(first);
            return;
        }
        self.i().local_get(param::ENTRY).br_table(labels, default);
        if normal.is_some() {
            self.close();
        }
    }

    /// From a block to its successor.
    pub(crate) fn branch(&mut self, shape: &mut Shape, from: usize, to: usize) {
        self.cross(from, to);
        if self.graph.cut.contains(&(from, to)) {
            self.pay();
            let number = shape.entries.iter().position(|&e| e == to).unwrap_or(0);
            // The root's loop has no header to poll at.
            self.is_out_of_fuel();
            self.open_rare(BlockType::Empty);
            let (offset, set) = (self.function.blocks[to].at, self.flow.spill[from]);
            self.out_of_fuel(offset, set);
            self.close();
            let label = self.label(shape.loop_level[self.graph.root()]);
            self.i().i32_const(number as i32).local_set(param::ENTRY).br(label);
            return;
        }
        if self.graph.order[to] <= self.graph.order[from] {
            self.pay();
            let label = self.label(shape.loop_level[to]);
            self.i().br(label);
        } else if shape.merge[to] {
            self.pay();
            self.meet(shape, to);
            let label = self.label(shape.block_level[to]);
            self.i().br(label);
        } else {
            if shape.loops[to] {
                self.pay();
            }
            self.node(shape, to);
        }
    }

    /// The label of a node that has one.
    pub(super) fn label_of(&self, shape: &mut Shape, from: usize, to: usize) -> u32 {
        self.meet(shape, to);
        let back = self.graph.order[to] <= self.graph.order[from];
        self.label(if back { shape.loop_level[to] } else { shape.block_level[to] })
    }

    #[inline(never)]
    fn block(&mut self, shape: &mut Shape, node: usize) {
        self.block = node;
        let function = self.function;
        let block = &function.blocks[node];
        let needed = self.needed_flags(node);
        let after = self.flow.flags_after(node, block);
        self.small_loop = shape.small.header[node];
        self.far = shape.small.far.get(self.small_loop).copied().unwrap_or(0);
        self.aligned.clear();
        let kept = self.flow.is_in_region(node);
        if kept {
            self.held = self.flow.live_in[node] & !FLAGS;
        }
        let stores = stores(block);
        let last = block.insns.len().wrapping_sub(1);
        let ends = !matches!(block.end, End::Leave(_))
            && block.insns.last().is_some_and(|i| i.insn.flow_control() != iced_x86::FlowControl::Next);
        for (i, insn) in block.insns.iter().enumerate() {
            (self.at, self.index) = (insn.at(), i);
            (self.flags_needed, self.changed) = (needed[i], after[i].changed);
            self.release_temps();
            if !kept {
                self.hold(insn.reads & !FLAGS);
            }
            self.late = if kept { 0 } else { stores[i].late };
            if i == last && ends {
                break;
            }
            self.instruction(insn);
            if !kept && !insn.calls_out {
                self.store_registers(insn.writes & stores[i].after & !FLAGS);
            }
            self.held |= insn.writes & !FLAGS;
            self.clean = self.clean.after(insn);
            self.pending += 1;
        }
        if !ends {
            (self.index, self.late) = (block.insns.len(), 0);
        }
        self.release_temps();
        self.terminator(shape, node);
    }

    /// For each instruction of a block whether the flags it sets may be looked at.
    fn needed_flags(&self, node: usize) -> Vec<bool> {
        let block = &self.function.blocks[node];
        let spilled = self.flow.spill[node] & FLAGS != 0;
        // Every way out of the function stores them.
        let stays = matches!(
            block.end,
            End::Jump(super::code::Target::Block(_)) | End::Branch { .. } | End::Enter { likely: None, .. }
        );
        let leaves = !stays
            || matches!(block.end, End::Branch { taken, next } if [taken, next].iter().any(|t| matches!(t, super::code::Target::Out(_))));
        let mut live = self.flow.live_out[node] & FLAGS != 0 || leaves && spilled;
        let mut needed = vec![true; block.insns.len()];
        for (i, insn) in block.insns.iter().enumerate().rev() {
            needed[i] = live;
            live = live && insn.kills & FLAGS == 0 || insn.reads & FLAGS != 0 || insn.may_exit && spilled;
        }
        needed
    }
}
