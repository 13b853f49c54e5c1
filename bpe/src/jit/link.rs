//! Links: calls of functions in other clusters, which modules import.
//!
//! What always holds: a cluster with a link has the frames of all that it may run through that among its own, so it goes
//! when one of them is written, and is entered only where they are mapped as they were; what the callee's code points into
//! lives as long as the link. A callee that is translated anew, with more in it, is what later clusters link to.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use aurora_machine::{PAGE_SIZE, PhysAddr};

use super::code::{Discovery, End, Function};
use super::layout::{CallOuts, function};
use super::{Jit, Translated, nests};

/// What a function's code points into: call-outs and the hub's map.
pub(super) type Kept = (CallOuts, Option<Box<[u8]>>);

/// What has to live as long as a cluster's code can run.
pub(super) struct Keep {
    pub(super) own: Vec<Kept>,
    /// How long its module is.
    pub(super) bytes: usize,
    /// That of the clusters it calls into.
    pub(super) linked: Vec<Arc<Self>>,
}

/// A function of another cluster that this one calls.
pub(super) struct Link {
    /// Where calls go.
    pub(super) target: i64,
    pub(super) slot: u32,
    /// How far from this cluster's first page the other's is.
    moved: i64,
    /// Pages it and what it calls are in.
    pub(super) pages: BTreeMap<i64, PhysAddr>,
    pub(super) keep: Arc<Keep>,
}

/// How a function is called directly.
#[derive(Clone, Copy)]
pub(crate) struct Callee {
    /// Its number in the module.
    pub(crate) number: u32,
    /// What to add to the base.
    pub(crate) moved: i64,
}

/// The functions a module calls directly.
pub(super) struct Callees<'a> {
    pub(super) links: &'a [Link],
    pub(super) functions: &'a [Function],
}

impl Callees<'_> {
    /// The one calls of this offset go to.
    pub(super) fn find(&self, target: i64) -> Option<Callee> {
        let first = function::SHARED as usize;
        if let Some(own) = self.functions.iter().position(|f| f.start() == target) {
            return Some(Callee { number: (first + self.links.len() + own) as u32, moved: 0 });
        }
        let link = self.links.iter().position(|l| l.target == target)?;
        Some(Callee { number: (first + link) as u32, moved: self.links[link].moved })
    }
}

/// Most functions translated together.
const MOST_FUNCTIONS: usize = 12;
/// Instructions of a function that is not translated again for a caller because it was entered elsewhere before.
const LARGE: usize = 300;
/// Linked code is no farther than this from the page its cluster begins in: see [`super::FARTHEST_BRANCH`].
const FARTHEST: i64 = 1 << 30;

/// Offsets direct calls of a function go to.
pub(super) fn calls(function: &Function) -> impl Iterator<Item = i64> {
    let goal = |end: &End| if let End::Call { goal, .. } = end { goal.offset() } else { None };
    function.blocks.iter().filter_map(move |b| goal(&b.end))
}

impl Jit {
    /// Takes in what the functions call, if that has run and cannot be linked to, or is small: a call inside a cluster is
    /// quicker than one that leaves it. What is large and translated already, but entered elsewhere, is left to wait for a
    /// way in: its code once more would be the larger part of what the engine has to optimize.
    #[inline(never)]
    pub(super) fn add_callees(&mut self, functions: &mut Vec<Function>, discovery: &mut Discovery<'_>) {
        let mut next = 0;
        while next < functions.len() {
            let targets: Vec<i64> = calls(&functions[next]).collect();
            next += 1;
            for target in targets {
                if functions.len() >= MOST_FUNCTIONS {
                    return;
                }
                let Some(at) = discovery.warm_address(target) else { continue };
                let elsewhere = self.function_at(at).is_some_and(|f| !f.copied);
                let linked = elsewhere && self.link(target, discovery).is_some();
                if !linked
                    && !functions.iter().any(|f| f.start() == target)
                    && let Some(mut function) = discovery.function(&[target])
                {
                    if !discovery.source.is_eager()
                        && function.size() >= LARGE
                        && self.belongs(&function, &discovery.frames, true)
                    {
                        continue;
                    }
                    nests::separate(&mut function);
                    discovery.take_in_callees(&mut function);
                    functions.push(function);
                }
            }
        }
    }

    /// The function an entry of which is at `at`.
    fn function_at(&self, at: PhysAddr) -> Option<&Translated> {
        let entry = self.entries.get(&at.0)?;
        self.clusters.get(&entry.cluster)?.functions.iter().find(|f| f.slot == entry.slot)
    }

    /// Links to those functions of other clusters that these call.
    #[inline(never)]
    pub(super) fn links(&self, functions: &[Function], discovery: &mut Discovery<'_>) -> Vec<Link> {
        let mut links: Vec<Link> = Vec::new();
        for target in functions.iter().flat_map(calls) {
            let known = functions.iter().any(|f| f.start() == target) || links.iter().any(|l| l.target == target);
            if !known && let Some(link) = self.link(target, discovery) {
                discovery.frames.extend(&link.pages);
                links.push(link);
            }
        }
        links
    }

    /// The link to the function calls of this offset go to, if it begins there and is mapped here as it was.
    pub(super) fn link(&self, target: i64, discovery: &mut Discovery<'_>) -> Option<Link> {
        let entry = self.entries.get(&discovery.address(target)?.0).filter(|entry| entry.number == 0)?;
        let cluster = self.clusters.get(&entry.cluster)?;
        let callee = cluster.functions.iter().find(|f| f.slot == entry.slot)?;
        let moved = target - entry.offset;
        let pages: BTreeMap<i64, PhysAddr> = callee.pages.iter().map(|(page, frame)| (page + moved, *frame)).collect();
        let mapped = |(&page, frame): (&i64, &PhysAddr)| {
            page.abs() < FARTHEST
                && discovery.frames.get(&page).is_none_or(|f| f == frame)
                && discovery.source.frame(page).as_ref() == Some(frame)
        };
        if !pages.iter().all(mapped) {
            return None;
        }
        Some(Link { target, slot: entry.slot, moved, pages, keep: cluster.keep.clone() })
    }

    /// Counts a cluster's bytes no more, and those of clusters only it still linked to.
    pub(super) fn release(&mut self, keep: Arc<Keep>) {
        let mut work = vec![keep];
        while let Some(keep) = work.pop() {
            if let Some(Keep { bytes, linked, .. }) = Arc::into_inner(keep) {
                self.bytes -= bytes;
                work.extend(linked);
            }
        }
    }
}

/// The page an offset is in.
pub(super) fn page_of(at: i64) -> i64 {
    at & !(PAGE_SIZE as i64 - 1)
}
