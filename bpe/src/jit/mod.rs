//! The translator: hot guest code becomes WebAssembly functions that call each other.
//!
//! [`code`] finds a function's blocks, [`entries`] says where it is entered, and [`inline`] takes in those of small callees;
//! [`graph`], [`flow`], [`changes`] and [`plan`] analyse them, [`function`] and [`emit`] (with [`held`], [`hub`], [`translate`], [`vector`],
//! [`flags`], [`memory`], [`branch`]) write them (instructions in [`arithmetic`], [`transfer`], [`bits`], [`float`]),
//! [`module`] packs functions, and here clusters of functions are kept, which [`link`] ties to one another. [`runtime`] is
//! what translated code calls.
//!
//! Parts that would be inlined into one another are kept apart (`#[inline(never)]`): the engine that compiles us takes longer
//! than in proportion for large functions, and what it has not yet compiled of the program waits behind them.
//!
//! What always holds: a cluster belongs to the physical frames its code was read from and goes when one of them is
//! written. It may be entered at a virtual address only if the pages around are those frames; the jump table holds only
//! addresses for which that was so under its key.

mod arithmetic;
mod bits;
mod bmi;
mod branch;
mod changes;
mod clean;
mod code;
mod emit;
mod entries;
mod flags;
mod float;
mod flow;
mod function;
mod fused;
mod graph;
mod guarded;
mod held;
mod hub;
mod inline;
mod layout;
mod lazy;
mod link;
mod memory;
mod module;
mod nests;
mod operands;
mod packed;
mod plan;
mod repeat;
mod runtime;
mod shuffle;
mod small_loops;
mod stack;
mod transfer;
mod translate;
mod vector;
mod vex;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::{self, offset_of};

use aurora_machine::{FxState, PAGE_SIZE, PhysAddr};
use iced_x86::InstructionInfoFactory;

use crate::core::Core;
use crate::op::slot;
pub(crate) use code::Source;
use code::{Discovery, Function};
use function::Body;
use layout::Layout;
pub(crate) use lazy::{Exchange, STOP_CODE_WRITE, STOP_FAULT, STOP_FUEL, STOP_INTERPRET, STOP_OP, stop_of};
use link::{Callees, Keep, Link, calls, page_of};
use module::{JUMPS, Jump, jump_index};

/// What runs WebAssembly: the engine we are in ourselves.
pub trait Engine: Send {
    /// Makes `count` new slots at the end of our function table, and says which is the first.
    fn grow(&mut self, count: u32) -> Option<u32>;
    /// Instantiates `module`, whose imports are our memory (`m.m`), our function table (`m.t`), and what the first module
    /// exports by names (`e`), and functions in slots of the table by their numbers (`s`). Exports whose names are numbers go into those slots of the table. Returns whether the engine
    /// took it.
    fn install(&mut self, module: &[u8]) -> bool;
    /// Whether the engine has all instructions in `module`.
    fn validate(&mut self, module: &[u8]) -> bool;
    /// Empties a slot.
    fn clear(&mut self, slot: u32);
}

/// Most instructions of a function translated again for a caller in another cluster, if it calls others or none.
const MOST_COPIED: usize = 40;
const MOST_COPIED_LEAF: usize = 120;
/// Bytes of modules kept before the oldest go.
const MOST_BYTES: usize = 24 << 20;
/// Modules kept before the oldest go: however small, each takes 200 KB of V8's memory.
const MOST_CLUSTERS: usize = 1500;
/// Slots asked for at a time.
const SLOTS: u32 = 64;
/// Bytes of the largest memory operand translated code reaches.
pub(crate) const WIDEST: usize = 32;
/// How often a function is translated anew because more of it has become hot.
const MOST_VERSIONS: u8 = 6;

/// Where addresses of programs end.
const END_OF_SPACE: u64 = 1 << 47;
/// No branch leads farther than this from the page its cluster begins in.
const FARTHEST_BRANCH: u64 = 4 << 30;

/// Functions translated together.
struct Cluster {
    functions: Vec<Translated>,
    frames: BTreeMap<i64, PhysAddr>,
    /// What its code points into.
    keep: Arc<Keep>,
}

/// One of them.
struct Translated {
    slot: u32,
    /// Offsets that can be entered, the first by calls.
    entries: Vec<i64>,
    /// The pages its code and that of functions it calls directly is in.
    pages: BTreeMap<i64, PhysAddr>,
    /// Where its instructions are.
    ranges: Vec<(i64, i64)>,
    /// Whether callers in other clusters get one of their own.
    copied: bool,
    version: u8,
}

/// A way in.
#[derive(Clone, Copy)]
struct Entry {
    cluster: u32,
    offset: i64,
    slot: u32,
    number: u32,
}

/// What came of a request to translate.
pub(crate) enum Outcome {
    /// There is nothing to translate.
    Nothing,
    /// It belongs to a function that is, and has to be hotter for that to be done anew.
    Later,
    /// The code in these frames was, and can be entered at these places.
    Translated { frames: Vec<PhysAddr>, entries: Vec<PhysAddr> },
}

/// A translated place to go to: what the entrance takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) entry: u32,
    pub(crate) base: u64,
}

/// All translated code of a processor.
pub(crate) struct Jit {
    engine: Box<dyn Engine>,
    layout: Layout,
    entrance: u32,
    jumps: Vec<Jump>,
    clusters: BTreeMap<u32, Cluster>,
    next_cluster: u32,
    bytes: usize,
    entries: BTreeMap<u64, Entry>,
    by_frame: BTreeSet<(u64, u32)>,
    free: Vec<u32>,
    /// Where indirect jumps and calls were seen to go, by the jump's address: distances.
    pub(crate) seen: BTreeMap<u64, Vec<i64>>,
}

impl Jit {
    /// A translator for the processor whose state is `core`, which must not move. `None` if the engine will not have it.
    pub(crate) fn new(mut engine: Box<dyn Engine>, core: &Core) -> Option<Self> {
        let jumps = vec![Jump::EMPTY; JUMPS];
        let mut layout = layout(core, &jumps);
        let first = engine.grow(SLOTS)?;
        if !engine.install(&module::entrance(&layout, first)) {
            return None;
        }
        layout.fused = fused::is_fused(&mut *engine, first + 1);
        Some(Self {
            engine,
            layout,
            entrance: first,
            jumps,
            clusters: BTreeMap::new(),
            next_cluster: 0,
            bytes: 0,
            entries: BTreeMap::new(),
            by_frame: BTreeSet::new(),
            free: (first + 1..first + SLOTS).rev().collect(),
            seen: BTreeMap::new(),
        })
    }

    /// Whether the engine multiplies and adds with one rounding.
    pub(crate) fn is_fused(&self) -> bool {
        self.layout.fused
    }

    /// Modules there are, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.clusters.len(), self.bytes)
    }

    /// Runs translated code from `place` on; [`Exchange`] says how that ended.
    pub(crate) fn run(&self, place: Place) {
        // SAFETY: the engine put a function of this type into the slot, and the place is one of ours.
        let enter = unsafe { mem::transmute::<usize, extern "C" fn(u32, u32, u64)>(self.entrance as usize) };
        enter(place.slot, place.entry, place.base);
    }

    /// The translated code for virtual address `rip`, if it was found before under this `key`.
    #[inline(always)]
    pub(crate) fn jump(&self, rip: u64, key: u64) -> Option<Place> {
        let jump = &self.jumps[jump_index(rip)];
        (jump.address == rip ^ key).then_some(Place { slot: jump.slot, entry: jump.entry, base: jump.base })
    }

    /// Remembers it.
    pub(crate) fn remember(&mut self, rip: u64, key: u64, place: Place) {
        self.jumps[jump_index(rip)] =
            Jump { address: rip ^ key, base: place.base, slot: place.slot, entry: place.entry };
    }

    /// Forgets what was remembered.
    pub(crate) fn forget_jumps(&mut self) {
        self.jumps.fill(Jump::EMPTY);
    }

    /// The translated code for physical address `at`, which is mapped at `rip`: where to go, and the pages that must be
    /// mapped as they were.
    pub(crate) fn find(&self, at: PhysAddr, rip: u64) -> Option<(Place, &BTreeMap<i64, PhysAddr>)> {
        let entry = self.entries.get(&at.0)?;
        let base = rip.wrapping_sub(entry.offset as u64);
        // Branches of a program at the end of its space might leave that: the interpreter knows what they do.
        if base >= END_OF_SPACE - FARTHEST_BRANCH {
            return None;
        }
        let functions = &self.clusters.get(&entry.cluster)?.functions;
        let function = functions.iter().find(|f| f.slot == entry.slot)?;
        Some((Place { slot: entry.slot, entry: entry.number, base }, &function.pages))
    }

    /// Notes that the indirect jump or call at `at` went `distance` bytes from itself. Far away is another file, which will
    /// be elsewhere in the next process.
    pub(crate) fn note_target(&mut self, at: PhysAddr, distance: i64) {
        const MOST_SEEN: usize = 200;
        const FAR: u64 = 16 << 20;
        if distance.unsigned_abs() > FAR {
            return;
        }
        let seen = self.seen.entry(at.0).or_default();
        if seen.len() < MOST_SEEN && !seen.contains(&distance) {
            seen.push(distance);
        }
    }

    /// How often the function around `at` has been translated, and its entries' distances from there.
    fn around(&self, at: PhysAddr) -> Option<(u8, Vec<i64>)> {
        let frame = at.0 & !(PAGE_SIZE - 1);
        for &(_, id) in self.by_frame.range((frame, 0)..=(frame, u32::MAX)).rev() {
            let Some(cluster) = self.clusters.get(&id) else { continue };
            for (&page, _) in cluster.frames.iter().filter(|(_, f)| f.0 == frame) {
                let offset = page + (at.0 - frame) as i64;
                let around = |f: &&Translated| f.ranges.iter().any(|&(from, to)| (from..to).contains(&offset));
                if let Some(function) = cluster.functions.iter().find(around) {
                    let entries = function.entries.iter().map(|e| e - offset).collect();
                    return Some((function.version, entries));
                }
            }
        }
        None
    }

    /// How many times hotter than at first the code at `at` must be to be translated: more each time it was.
    pub(crate) fn patience(&self, at: PhysAddr) -> u8 {
        self.around(at).map_or(0, |(version, _)| version)
    }

    /// Translates the function at `at` and those it calls. `offset` is the place in its page, from which all is counted. If
    /// that is in the middle of a loop it can be entered there only if this `was_refused` before.
    pub(crate) fn translate(
        &mut self,
        at: PhysAddr,
        offset: i64,
        was_refused: bool,
        source: &mut dyn Source,
    ) -> Outcome {
        let (version, old) = self.around(at).unwrap_or_default();
        let mut roots = vec![offset];
        if version > 0 && version < MOST_VERSIONS {
            // The whole function again, with another way in; calls still enter where they did.
            roots = old.iter().map(|distance| offset + distance).collect();
            if !roots.contains(&offset) {
                roots.push(offset);
            }
        }
        let eager = source.is_eager();
        let mut discovery = Discovery { source, info: InstructionInfoFactory::new(), frames: BTreeMap::new() };
        let Some(mut function) = discovery.function(&roots) else { return Outcome::Nothing };
        if version == 0 && !eager && self.belongs(&function, &discovery.frames, false) {
            return Outcome::Later;
        }
        entries::settle_first(&mut function);
        nests::separate(&mut function);
        if !eager && !was_refused {
            entries::enter_at_loop(&mut function, offset);
        }
        discovery.take_in_callees(&mut function);
        let mut functions = vec![function];
        self.add_callees(&mut functions, &mut discovery);
        let links = self.links(&functions, &mut discovery);
        let frames = discovery.frames;
        if !frames.contains_key(&page_of(offset)) {
            return Outcome::Nothing;
        }
        let changed = frames.values().copied().collect();
        match self.install(&functions, links, frames, version.saturating_add(1)) {
            Some(entries) => Outcome::Translated { frames: changed, entries },
            None => Outcome::Nothing,
        }
    }

    /// Whether most of `found` is translated already as one function: then it is a part of that which had not run yet, such
    /// as an instruction's code in an interpreter's loop. From now on it counts as that function's,
    /// and if `is_called`, calls enter it there as soon as it is translated anew.
    #[inline(never)]
    fn belongs(&mut self, found: &Function, frames: &BTreeMap<i64, PhysAddr>, is_called: bool) -> bool {
        let own = pages_of(found);
        let frames: BTreeMap<i64, PhysAddr> =
            frames.iter().filter(|(page, _)| own.contains(page)).map(|(page, frame)| (*page, *frame)).collect();
        let Some((&page, frame)) = frames.iter().next() else { return false };
        let ids: Vec<u32> =
            frames.values().flat_map(|f| self.by_frame.range((f.0, 0)..=(f.0, u32::MAX))).map(|&(_, id)| id).collect();
        for id in ids.into_iter().collect::<BTreeSet<u32>>().into_iter().rev() {
            let Some(cluster) = self.clusters.get_mut(&id) else { continue };
            let Some((&theirs, _)) = cluster.frames.iter().find(|(_, f)| *f == frame) else { continue };
            let moved = theirs - page;
            let fits =
                |(page, frame): (&i64, &PhysAddr)| cluster.frames.get(&(page + moved)).is_none_or(|f| f == frame);
            if !frames.iter().all(fits) {
                continue;
            }
            let shares = |function: &Translated| {
                let known = |at: i64| function.ranges.iter().any(|&(from, to)| (from..to).contains(&(at + moved)));
                let shared: usize = found.blocks.iter().filter(|b| known(b.at)).map(|b| b.insns.len()).sum();
                2 * shared > found.size()
            };
            let Some(function) = cluster.functions.iter_mut().find(|f| shares(f)) else { continue };
            let start = found.start() + moved;
            if is_called && !function.entries.contains(&start) {
                function.entries.insert(0, start);
            }
            function.ranges.extend(ranges(found).iter().map(|&(from, to)| (from + moved, to + moved)));
            // In its other frames, too, it is found as part of that: else it would wait for ever.
            cluster.frames.extend(frames.iter().map(|(page, frame)| (page + moved, *frame)));
            self.by_frame.extend(frames.values().map(|frame| (frame.0, id)));
            return true;
        }
        false
    }

    /// Has the engine take the functions; returns where they can be entered.
    #[inline(never)]
    fn install(
        &mut self,
        functions: &[Function],
        links: Vec<Link>,
        frames: BTreeMap<i64, PhysAddr>,
        version: u8,
    ) -> Option<Vec<PhysAddr>> {
        let callees = Callees { links: &links, functions };
        let slots = self.take_slots(functions.len())?;
        let bodies: Vec<Body> = functions
            .iter()
            .zip(&slots)
            .map(|(function, &slot)| function::translate(function, &self.layout.of(slot), &callees))
            .collect();
        let code: Vec<_> = bodies.iter().map(|b| (&b.locals[..], &b.code[..], &b.hints[..])).collect();
        let imported: Vec<u32> = links.iter().map(|l| l.slot).collect();
        let module = module::module(&imported, &slots, &code);
        if !self.engine.install(&module) {
            self.free.extend(slots);
            return None;
        }
        let id = self.next_cluster;
        self.next_cluster += 1;
        self.bytes += module.len();
        self.by_frame.extend(frames.values().map(|f| (f.0, id)));
        let mut keep = Keep { own: Vec::new(), bytes: module.len(), linked: Vec::new() };
        let (mut translated, mut entries) = (Vec::new(), Vec::new());
        let mut pages = pages(functions, &links);
        for (((body, &slot), function), pages) in bodies.into_iter().zip(&slots).zip(functions).zip(&mut pages) {
            self.add_entries(&frames, id, slot, &body, &mut entries);
            translated.push(Translated {
                slot,
                pages: pages.iter().filter_map(|page| Some((*page, *frames.get(page)?))).collect(),
                ranges: ranges(function),
                entries: body.entries,
                copied: is_copied(function),
                version,
            });
            keep.own.push((body.call_outs, body.map));
        }
        keep.linked.extend(links.into_iter().map(|l| l.keep));
        self.clusters.insert(id, Cluster { functions: translated, frames, keep: Arc::new(keep) });
        self.forget_jumps();
        self.drop_oldest();
        Some(entries)
    }

    /// Notes where a function can be entered, in `all`, too.
    fn add_entries(
        &mut self,
        frames: &BTreeMap<i64, PhysAddr>,
        id: u32,
        slot: u32,
        body: &Body,
        all: &mut Vec<PhysAddr>,
    ) {
        let mut known = BTreeSet::new();
        for (number, &offset) in body.entries.iter().chain(&body.through_hub).enumerate() {
            if !known.insert(offset) {
                continue;
            }
            let page = page_of(offset);
            if let Some(frame) = frames.get(&page) {
                let at = frame.0 + (offset - page) as u64;
                self.entries.insert(at, Entry { cluster: id, offset, slot, number: number as u32 });
                all.push(PhysAddr(at));
            }
        }
    }

    fn take_slots(&mut self, count: usize) -> Option<Vec<u32>> {
        while self.free.len() < count {
            let first = self.engine.grow(SLOTS)?;
            self.free.extend((first..first + SLOTS).rev());
        }
        Some(self.free.split_off(self.free.len() - count))
    }

    fn drop_oldest(&mut self) {
        while self.clusters.len() > MOST_CLUSTERS || self.bytes > MOST_BYTES && self.clusters.len() > 1 {
            let Some(&id) = self.clusters.keys().next() else { return };
            self.drop_cluster(id);
        }
    }

    /// Drops one of the clusters, whichever.
    pub(crate) fn drop_some(&mut self, which: usize) {
        let ids: Vec<u32> = self.clusters.keys().copied().collect();
        if let Some(&id) = ids.get(which.checked_rem(ids.len()).unwrap_or(0)) {
            self.drop_cluster(id);
        }
    }

    fn drop_cluster(&mut self, id: u32) {
        let Some(cluster) = self.clusters.remove(&id) else { return };
        for frame in cluster.frames.values() {
            self.by_frame.remove(&(frame.0, id));
        }
        self.entries.retain(|_, entry| entry.cluster != id);
        for function in cluster.functions {
            self.engine.clear(function.slot);
            self.free.push(function.slot);
        }
        self.release(cluster.keep);
        self.forget_jumps();
    }

    /// Frames some code was translated from.
    pub(crate) fn frames(&self) -> Vec<PhysAddr> {
        let mut frames: Vec<PhysAddr> = self.by_frame.iter().map(|&(frame, _)| PhysAddr(frame)).collect();
        frames.dedup();
        frames
    }

    /// Drops what was translated from `frame`.
    pub(crate) fn drop_frame(&mut self, frame: PhysAddr) {
        let ids: Vec<u32> = self.by_frame.range((frame.0, 0)..=(frame.0, u32::MAX)).map(|&(_, id)| id).collect();
        for id in ids {
            self.drop_cluster(id);
        }
        let own: Vec<u64> = self.seen.range(frame.0..frame.0 + PAGE_SIZE).map(|(&at, _)| at).collect();
        for at in own {
            self.seen.remove(&at);
        }
    }
}

/// Whether a function is small enough to be translated again for each cluster that calls it.
fn is_copied(function: &Function) -> bool {
    let most = if calls(function).next().is_none() { MOST_COPIED_LEAF } else { MOST_COPIED };
    function.size() <= most
}

/// Most bytes of a function that have not run between two parts that have.
const MOST_GAP: i64 = 256;

/// Where a function's instructions are, with the gaps between them as far as they are likely to belong to it.
fn ranges(function: &Function) -> Vec<(i64, i64)> {
    let own = function.blocks.iter().filter(|b| !b.of_callee);
    let mut blocks: Vec<(i64, i64)> =
        own.filter_map(|b| Some((b.insns.first()?.at(), b.insns.last()?.next()))).collect();
    blocks.sort_unstable();
    let mut all: Vec<(i64, i64)> = Vec::new();
    for (from, to) in blocks {
        match all.last_mut() {
            Some(last) if from - last.1 <= MOST_GAP => last.1 = last.1.max(to),
            _ => all.push((from, to)),
        }
    }
    all
}

/// The pages a function's instructions are in.
fn pages_of(function: &Function) -> BTreeSet<i64> {
    let insns = function.blocks.iter().flat_map(|b| &b.insns);
    insns.flat_map(|i| [page_of(i.at()), page_of(i.next() - 1)]).collect()
}

/// For each function the pages it and those it calls are in: what must be mapped as it was to enter it.
#[inline(never)]
fn pages(functions: &[Function], links: &[Link]) -> Vec<BTreeSet<i64>> {
    let mut all: Vec<BTreeSet<i64>> = functions.iter().map(pages_of).collect();
    let mut inside = Vec::new();
    for (caller, function) in functions.iter().enumerate() {
        for target in calls(function) {
            if let Some(callee) = functions.iter().position(|f| f.start() == target) {
                inside.push((caller, callee));
            } else if let Some(link) = links.iter().find(|l| l.target == target) {
                all[caller].extend(link.pages.keys());
            }
        }
    }
    let mut changed = true;
    while changed {
        changed = false;
        for &(caller, callee) in &inside {
            let more: Vec<i64> = all[callee].difference(&all[caller]).copied().collect();
            changed |= !more.is_empty();
            all[caller].extend(more);
        }
    }
    all
}

/// Where things are; the linear memory has 32-bit addresses.
fn layout(core: &Core, jumps: &[Jump]) -> Layout {
    let at = &raw const *core as usize as u32;
    let exchange = at + offset_of!(Core, exchange) as u32;
    let fx = at + offset_of!(Core, fx) as u32;
    let regs = at + offset_of!(Core, regs) as u32;
    Layout {
        fused: false,
        core: at,
        regs,
        page: regs + u32::from(slot::PAGE),
        fs: regs + u32::from(slot::FS),
        gs: regs + u32::from(slot::GS),
        xmm: fx + offset_of!(FxState, xmm) as u32,
        ymm_high: at + offset_of!(Core, ymm_high) as u32,
        mxcsr: fx + offset_of!(FxState, mxcsr) as u32,
        wide: exchange + offset_of!(Exchange, wide) as u32,
        operands: exchange + offset_of!(Exchange, operands) as u32,
        lazy: exchange + offset_of!(Exchange, lazy) as u32,
        rip: exchange + offset_of!(Exchange, rip) as u32,
        fuel: exchange + offset_of!(Exchange, fuel) as u32,
        key: exchange + offset_of!(Exchange, key) as u32,
        control_flags: at + offset_of!(Core, control_flags) as u32,
        stop: exchange + offset_of!(Exchange, stop) as u32,
        missed: exchange + offset_of!(Exchange, missed) as u32,
        fast: core.tlb.fast_address() as u32,
        remembered: core.tlb.remembered_address() as u32,
        jumps: jumps.as_ptr() as usize as u32,
        load: runtime::load as extern "C" fn(_, _, _) -> _ as usize as u32,
        store: runtime::store as extern "C" fn(_, _, _, _) as usize as u32,
        call_out: runtime::call_out as extern "C" fn(_, _, _) -> _ as usize as u32,
        condition: runtime::condition as extern "C" fn(_, _) -> _ as usize as u32,
    }
}
