//! Control-flow graphs: order, dominators and loops.
//!
//! What always holds: after [`Graph::structure`] every retreating edge goes to a node that dominates its source, so the
//! graph can be written as nested blocks and loops. Edges that could not be are cut: they go through the root instead.

use alloc::vec;
use alloc::vec::Vec;

/// No node.
pub(crate) const NONE: usize = usize::MAX;

/// A graph whose last node is the root.
pub(crate) struct Graph {
    pub(crate) successors: Vec<Vec<usize>>,
    /// Position in reverse postorder; `NONE` if the root does not reach it.
    pub(crate) order: Vec<usize>,
    /// Nodes in that order.
    pub(crate) sequence: Vec<usize>,
    /// Immediate dominators.
    pub(crate) dominator: Vec<usize>,
    /// Header of the innermost loop a node is in, which for a header is its own.
    pub(crate) header: Vec<usize>,
    /// For a header: that of the loop around its own.
    pub(crate) outer: Vec<usize>,
    /// Edges that go through the root.
    pub(crate) cut: Vec<(usize, usize)>,
}

impl Graph {
    pub(crate) fn new(successors: Vec<Vec<usize>>) -> Self {
        Self {
            successors,
            order: Vec::new(),
            sequence: Vec::new(),
            dominator: Vec::new(),
            header: Vec::new(),
            outer: Vec::new(),
            cut: Vec::new(),
        }
    }

    pub(crate) fn root(&self) -> usize {
        self.successors.len() - 1
    }

    /// Works everything out, cutting edges as long as there are any that stand in the way.
    pub(crate) fn structure(&mut self) {
        loop {
            self.sort();
            self.find_dominators();
            let bad: Vec<(usize, usize)> = self
                .edges()
                .filter(|&(from, to)| self.order[to] <= self.order[from] && !self.dominates(to, from))
                .collect();
            if bad.is_empty() {
                break;
            }
            let root = self.root();
            for (from, to) in bad {
                self.successors[from].retain(|&s| s != to);
                if !self.successors[root].contains(&to) {
                    self.successors[root].push(to);
                }
                self.cut.push((from, to));
            }
        }
        self.find_loops();
    }

    /// Adds edges between a node and what it dominates, which keep the structure.
    pub(crate) fn add(&mut self, edges: &[(usize, usize)]) {
        for &(from, to) in edges {
            if !self.successors[from].contains(&to) {
                self.successors[from].push(to);
            }
        }
        self.sort();
        self.find_dominators();
    }

    fn edges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.sequence.iter().flat_map(|&from| self.successors[from].iter().map(move |&to| (from, to)))
    }

    fn sort(&mut self) {
        let n = self.successors.len();
        let mut state = vec![0usize; n];
        let mut seen = vec![false; n];
        let mut post = Vec::with_capacity(n);
        let mut stack = vec![self.root()];
        seen[self.root()] = true;
        while let Some(&node) = stack.last() {
            if let Some(&next) = self.successors[node].get(state[node]) {
                state[node] += 1;
                if !seen[next] {
                    seen[next] = true;
                    stack.push(next);
                }
            } else {
                post.push(node);
                stack.pop();
            }
        }
        post.reverse();
        self.order = vec![NONE; n];
        for (i, &node) in post.iter().enumerate() {
            self.order[node] = i;
        }
        self.sequence = post;
    }

    /// Cooper, Harvey and Kennedy's algorithm.
    fn find_dominators(&mut self) {
        let predecessors = self.predecessors();
        self.dominator = vec![NONE; self.successors.len()];
        let root = self.root();
        self.dominator[root] = root;
        let mut changed = true;
        while changed {
            changed = false;
            for &node in &self.sequence[1..] {
                let mut found = NONE;
                for &p in &predecessors[node] {
                    if self.dominator[p] != NONE {
                        found = if found == NONE { p } else { self.meet(found, p) };
                    }
                }
                if self.dominator[node] != found {
                    self.dominator[node] = found;
                    changed = true;
                }
            }
        }
    }

    fn meet(&self, mut a: usize, mut b: usize) -> usize {
        while a != b {
            while self.order[a] > self.order[b] {
                a = self.dominator[a];
            }
            while self.order[b] > self.order[a] {
                b = self.dominator[b];
            }
        }
        a
    }

    /// Whether every way to `b` passes `a`.
    pub(crate) fn dominates(&self, a: usize, mut b: usize) -> bool {
        while self.order[b] > self.order[a] {
            b = self.dominator[b];
        }
        a == b
    }

    /// Reached predecessors of every node.
    pub(crate) fn predecessors(&self) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new(); self.successors.len()];
        for (from, to) in self.edges() {
            all[to].push(from);
        }
        all
    }

    fn find_loops(&mut self) {
        let n = self.successors.len();
        self.header = vec![NONE; n];
        self.outer = vec![NONE; n];
        let predecessors = self.predecessors();
        // Outer loops first, so inner ones overwrite what they found.
        for at in 0..self.sequence.len() {
            let head = self.sequence[at];
            let mut work: Vec<usize> =
                predecessors[head].iter().copied().filter(|&p| self.order[p] >= self.order[head]).collect();
            if work.is_empty() {
                continue;
            }
            self.outer[head] = self.header[head];
            let mut inside = vec![false; n];
            inside[head] = true;
            self.header[head] = head;
            while let Some(node) = work.pop() {
                if !inside[node] {
                    inside[node] = true;
                    self.header[node] = head;
                    work.extend(&predecessors[node]);
                }
            }
        }
    }

    /// Headers of the loops around `node`, outermost first; a header's own is not among them.
    pub(crate) fn loops_around(&self, node: usize) -> Vec<usize> {
        let mut all = Vec::new();
        let mut head = self.header[node];
        if head == node {
            head = self.outer[node];
        }
        while head != NONE {
            all.push(head);
            head = self.outer[head];
        }
        all.reverse();
        all
    }

    /// The same with its own.
    pub(crate) fn loops_of(&self, node: usize) -> Vec<usize> {
        self.loops_around(node).into_iter().chain((self.header[node] == node).then_some(node)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_loops_and_their_headers_are_found() {
        // 4 is the root: 4 → 0 → 1 → 2 → 1, 2 → 0, 2 → 3.
        let mut graph = Graph::new(vec![vec![1], vec![2], vec![1, 0, 3], vec![], vec![0]]);
        graph.structure();
        assert!(graph.cut.is_empty());
        assert_eq!(graph.loops_around(2), [0, 1]);
        assert_eq!(graph.loops_around(1), [0]);
        assert!(graph.loops_around(3).is_empty());
        assert!(graph.dominates(1, 2) && !graph.dominates(2, 3 - 2));
    }

    #[test]
    fn a_loop_with_two_ways_in_is_cut_once() {
        let mut graph = Graph::new(vec![vec![1], vec![0], vec![0, 1]]);
        graph.structure();
        assert_eq!(graph.cut.len(), 1);
        assert!(graph.dominator.iter().all(|&d| d == 2));
    }
}
