//! Small callees written in place of the calls: the registers stay where they are, and nothing has to be looked at again.
//!
//! What always holds: the return address is pushed and read again as always, and where the callee returns to another than
//! the call pushed, that is told to whoever called the function. Blocks of callees are in no [`super::Translated`]'s ranges
//! and are no ways in: an interruption inside them goes on in the callee's own translation, or in the interpreter.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::code::{Block, Discovery, End, Function, Goal, Target};
use super::stack;

/// Most instructions of a callee written in place.
const MOST: usize = 32;
/// Most instructions of a function that takes callees in: the engine needs longer than in proportion for large ones.
const MOST_ALL: usize = 800;

impl Discovery<'_> {
    /// Writes small callees in place of the function's calls.
    #[inline(never)]
    pub(crate) fn take_in_callees(&mut self, function: &mut Function) {
        let mut found: BTreeMap<i64, Option<Function>> = BTreeMap::new();
        let mut size = function.size();
        let mut backs = Vec::new();
        for b in 0..function.blocks.len() {
            let block = &function.blocks[b];
            let End::Call { goal, back: Target::Block(back) } = block.end else { continue };
            let Some(target) = goal.offset() else { continue };
            let Some(call) = block.insns.last() else { continue };
            let expected = call.next();
            let callee = found.entry(target).or_insert_with(|| self.small(target));
            let Some(callee) = callee.as_ref().filter(|callee| size + callee.size() <= MOST_ALL) else { continue };
            size += callee.size();
            let first = function.blocks.len();
            let likely = matches!(goal, Goal::Likely(_)).then_some((target, back));
            function.blocks[b].end = End::Enter { to: first + callee.entries[0], likely };
            let back = Return { expected, back };
            function.blocks.extend(copy(callee, first, back));
            if likely.is_none() && !callee.blocks.iter().any(|b| matches!(b.end, End::Call { .. })) {
                backs.push(back.back);
            }
        }
        // Where a callee without calls comes back to, nobody enters.
        backs.retain(|&back| !function.comes_back_to(back));
        let roots = function.roots;
        let mut at = 0;
        function.entries.retain(|entry| {
            at += 1;
            at <= roots || !backs.contains(entry)
        });
    }

    /// The function at `target` if it may be written in place of a call.
    fn small(&mut self, target: i64) -> Option<Function> {
        self.warm_address(target)?;
        let callee = self.function(&[target])?;
        let plain = |b: &Block| match &b.end {
            End::Jump(_) | End::Branch { .. } | End::Return => true,
            End::Call { back, .. } => matches!(back, Target::Block(_)),
            _ => false,
        };
        // With a frame pointer RBP is the stack's, which it need not be for the caller.
        let fits = callee.size() <= MOST && callee.blocks.iter().all(plain) && !stack::has_frames(&callee);
        fits.then_some(callee)
    }
}

/// Where a callee comes back to: the address, and the block there.
#[derive(Clone, Copy)]
struct Return {
    expected: i64,
    back: usize,
}

/// The callee's blocks, the first of which will have the number `first`.
fn copy(callee: &Function, first: usize, to: Return) -> Vec<Block> {
    let Return { expected, back } = to;
    let mut rests: Vec<i64> = Vec::new();
    let own = first + callee.blocks.len();
    let mut target = |t: &Target| match t {
        Target::Block(b) => Target::Block(first + b),
        Target::Out(at) => {
            let known = rests.iter().position(|rest| rest == at).unwrap_or(rests.len());
            if known == rests.len() {
                rests.push(*at);
            }
            Target::Block(own + known)
        }
    };
    let mut blocks: Vec<Block> = Vec::with_capacity(callee.blocks.len());
    for block in &callee.blocks {
        let end = match &block.end {
            End::Jump(to) => End::Jump(target(to)),
            End::Branch { taken, next } => End::Branch { taken: target(taken), next: target(next) },
            End::Call { goal, back } => End::Call { goal: *goal, back: target(back) },
            _ => End::Back { expected, back },
        };
        blocks.push(Block { at: block.at, insns: block.insns.clone(), end, of_callee: true });
    }
    let rest = |at: i64| Block { at, insns: Vec::new(), end: End::Rest { at, expected, back }, of_callee: true };
    blocks.extend(rests.into_iter().map(rest));
    blocks
}
