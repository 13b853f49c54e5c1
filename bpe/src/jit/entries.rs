//! Where a function is entered, besides where calls come back to and loops begin.
//!
//! It became hot somewhere, which may be in the middle of loops; how fast it is depends on where it is entered.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::code::{Block, Function};
use super::graph::{Graph, NONE};

/// The function's graph, entered at these blocks.
pub(super) fn graph_from(function: &Function, begins: &[usize]) -> Graph {
    let mut successors: Vec<Vec<usize>> = function.blocks.iter().map(Block::successors).collect();
    successors.push(begins.to_vec());
    let mut graph = Graph::new(successors);
    graph.structure();
    graph
}

/// Most blocks tried as the first entry.
const MOST_TRIED: usize = 8;

/// Makes a block the first entry from which the graph needs fewer edges cut, if there is one: a function that became hot
/// in the middle of a loop is best entered at that loop's start.
pub(super) fn settle_first(function: &mut Function) {
    let cuts = |first: usize| {
        let graph = graph_from(function, &[first]);
        let missing = function.entries.iter().filter(|&&e| graph.order[e] == NONE).count();
        graph.cut.len() + missing
    };
    let mut fewest = cuts(function.entries[0]);
    if fewest == 0 {
        return;
    }
    let blocks = &function.blocks;
    let back = |from: usize, to: &usize| !blocks[*to].insns.is_empty() && blocks[*to].at <= blocks[from].at;
    let targets: BTreeSet<usize> =
        (0..blocks.len()).flat_map(|b| blocks[b].successors().into_iter().filter(move |to| back(b, to))).collect();
    let mut best = function.entries[0];
    for &target in targets.iter().take(MOST_TRIED) {
        let found = cuts(target);
        if found < fewest {
            (best, fewest) = (target, found);
        }
    }
    let asked = function.entries.iter().take(function.roots).any(|&e| e == best);
    function.roots += usize::from(!asked);
    function.entries.retain(|&e| e != best);
    function.entries.insert(0, best);
}

/// Takes the way in at `at` away if it leads into the middle of a loop. Whoever is there soon comes to where the loop begins;
/// while with a second way in what the loop holds in registers is what either brings, which doubled gzip's time.
pub(super) fn enter_at_loop(function: &mut Function, at: i64) {
    let is_asked_for = |&i: &usize| function.blocks[function.entries[i]].at == at;
    let Some(number) = (1..function.roots).find(is_asked_for) else { return };
    let block = function.entries[number];
    let graph = graph_from(function, &function.entries[..1]);
    let begins = graph.header[block] == block || function.comes_back_to(block);
    let inside = graph.loops_around(block).last().is_some_and(|&head| head < function.blocks.len());
    if inside && !begins {
        function.entries.remove(number);
        function.roots -= 1;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::code::{End, Goal, Target};
    use super::super::nests::tests::block;
    use super::*;

    /// 0 goes to 1 or ends at 4; 1 to 2; 2 to 3, and 3 back to 0.
    fn function() -> Function {
        let mut last = block(50, 4, 4);
        last.end = End::Return;
        let blocks = vec![block(10, 1, 4), block(20, 2, 2), block(30, 3, 3), block(40, 0, 0), last];
        Function { blocks, entries: vec![0, 2], roots: 2 }
    }

    #[test]
    fn a_function_hot_in_the_middle_of_a_loop_is_not_entered_there() {
        let mut function = function();
        enter_at_loop(&mut function, 30);
        assert_eq!((function.entries, function.roots), (vec![0], 1));
    }

    #[test]
    fn where_a_call_in_a_loop_comes_back_to_it_is_entered() {
        let mut function = function();
        function.blocks[1].end = End::Call { goal: Goal::Unknown, back: Target::Block(2) };
        enter_at_loop(&mut function, 30);
        assert_eq!((function.entries, function.roots), (vec![0, 2], 2));
    }

    #[test]
    fn where_a_loop_within_a_loop_begins_it_is_entered() {
        let mut function = function();
        function.blocks[3] = block(40, 2, 0);
        enter_at_loop(&mut function, 30);
        assert_eq!((function.entries, function.roots), (vec![0, 2], 2));
    }

    #[test]
    fn outside_loops_it_is_entered_where_it_became_hot() {
        let mut function = function();
        function.blocks[3] = block(40, 4, 4);
        enter_at_loop(&mut function, 30);
        assert_eq!((function.entries, function.roots), (vec![0, 2], 2));
    }
}
