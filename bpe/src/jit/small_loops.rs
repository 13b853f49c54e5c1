//! Loops whose places in memory remember a page each.

use alloc::vec;
use alloc::vec::Vec;

use super::code::{End, Function, Set};
use super::graph::{Graph, NONE};
use super::plan::{self, Plan};

/// Most places in a loop that remember a page each: they take locals.
const MOST_PLACES: usize = 6;

/// Bytes a register moves at least, each time round, for what it points to to be in another page too often.
const STRIDE: u64 = 512;

/// Innermost loops that reach for memory in few places, each of which remembers the page it was in.
pub(super) struct SmallLoops {
    /// For each block the header of the one it is in, or [`NONE`].
    pub(super) header: Vec<usize>,
    /// For each header the registers that move far on each time round, as on a matrix's column: places reached through them
    /// remember nothing.
    pub(super) far: Vec<Set>,
    /// For each header of a loop, and for the root, the small loops whose pages are the stack's when it is entered, and
    /// their places. A page once found is worth keeping for the next time a loop is entered, so pages begin early; but what
    /// changes in a loop is carried around each loop outside, and an interpreter's would carry those of all loops in its
    /// instructions: so they begin inside the loop that has the hub.
    pub(super) begin: Vec<Vec<(usize, usize)>>,
}

impl SmallLoops {
    pub(super) fn new(function: &Function, graph: &Graph, plan: &Plan, frames: bool) -> Self {
        let blocks = function.blocks.len();
        let mut places = vec![0; blocks];
        let mut innermost = vec![true; blocks];
        let mut moves = vec![[0u64; 16]; blocks];
        for (b, block) in function.blocks.iter().enumerate() {
            let Some(&head) = graph.header.get(b).filter(|&&head| head < blocks) else { continue };
            for (register, by) in block.insns.iter().filter_map(|i| plan::step(&i.insn)) {
                moves[head][register] = moves[head][register].saturating_add(by.unsigned_abs());
            }
            if graph.header[b] == b && graph.outer[b] < blocks {
                innermost[graph.outer[b]] = false;
            }
        }
        let far = |moves: &[u64; 16]| (0..16).filter(|&r| moves[r] >= STRIDE).fold(0, |all, r| all | 1 << r);
        let far: Vec<Set> = moves.iter().map(far).collect();
        for (b, base) in plan.looks(frames) {
            if let Some(&head) = graph.header.get(b).filter(|&&head| head < blocks && base & far[head] == 0) {
                places[head] += 1;
            }
        }
        let small = |&head: &usize| head < blocks && innermost[head] && places[head] <= MOST_PLACES;
        let header = |b: usize| graph.header.get(b).copied().filter(small).unwrap_or(NONE);
        let header: Vec<usize> = (0..blocks).map(header).collect();
        let hub = function.blocks.iter().position(|block| matches!(block.end, End::Hub(_)));
        let hub_loops = hub.map(|hub| graph.loops_of(hub));
        let mut begin = vec![Vec::new(); blocks + 1];
        for head in (0..blocks).filter(|&b| header[b] == b && places[b] > 0) {
            let first = hub_loops.as_ref().map_or(graph.root(), |hub_loops| {
                let inside = graph.loops_of(head).into_iter().find(|head| !hub_loops.contains(head));
                inside.unwrap_or(head)
            });
            begin[first].push((head, places[head]));
        }
        Self { header, far, begin }
    }
}
