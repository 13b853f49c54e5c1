//! The processor: its loop, and what the machine around it may do to it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use aurora_machine::{Exception, PAGE_SIZE, PhysAddr, PhysMemory, SpaceId, SpaceRoot, Trap, UserContext, VirtRange};

use crate::blocks::{Block, Blocks, FOREVER};
use crate::core::Core;
use crate::cpuid;
use crate::decode::{self, LONGEST_BLOCK};
use crate::jit::Engine;
use crate::jit::Jit;
use crate::op::{Op, Stop, slot};
use crate::ops::system;
use crate::statistics::Statistics;
use crate::stress::{Drop, Stress};
use crate::tlb::ASIDS;
use crate::vector::xsave;

/// What a processor takes from the machine around it.
pub trait Environment {
    /// The time-stamp counter: never goes back. `fuel` is what is left of the run's.
    fn tsc(&mut self, fuel: u64) -> u64;
    /// 64 unpredictable bits for `RDRAND` and `RDSEED`.
    fn random(&mut self) -> u64;
}

/// Stamps given between two times all spaces get new ones; twice as many fit a key.
const STAMPS: u64 = 1 << 15;

/// What the processor knows of an address space.
struct Space {
    asid: u64,
    /// Changes when cached ways from virtual addresses to blocks stop being right.
    stamp: u64,
    /// Pages such ways lead through, and perhaps others.
    pages: BTreeSet<u64>,
}

/// One virtual processor, with its caches.
pub struct Processor {
    pub(crate) core: Box<Core>,
    pub(crate) blocks: Blocks,
    spaces: BTreeMap<SpaceId, Space>,
    /// The space in the core now.
    current: Option<SpaceId>,
    stamp: u64,
    next_asid: u64,
    next_stamp: u64,
    /// All spaces get new stamps when these are used up.
    last_stamp: u64,
    /// Where an access faulted last, until it is tried again.
    faulted: Option<(SpaceId, u64)>,
    /// `PhysMemory::code_writes` when blocks were last known to be right.
    code_writes: u64,
    pub(crate) statistics: Statistics,
    /// The next instruction is executed alone, outside any block.
    pub(crate) stepping: bool,
    pub(crate) jit: Option<Jit>,
    /// Everything is translated before it runs.
    pub(crate) eager: bool,
    /// What translated code does the interpreter does again.
    pub(crate) checking: bool,
    /// What is rare happens often.
    pub(crate) stress: Option<Stress>,
}

// SAFETY: the raw pointers inside are to guest memory, which `PhysMemory` shares between threads, and to blocks the
// processor owns.
unsafe impl Send for Processor {}

impl Processor {
    /// A processor over `memory`, its caches empty.
    pub fn new(memory: Arc<PhysMemory>) -> Self {
        Self {
            code_writes: memory.code_writes(),
            core: Box::new(Core::new(memory)),
            blocks: Blocks::new(),
            spaces: BTreeMap::new(),
            current: None,
            stamp: 0,
            next_asid: 1,
            next_stamp: 1,
            last_stamp: STAMPS,
            faulted: None,
            statistics: Statistics::default(),
            stepping: false,
            jit: None,
            eager: false,
            checking: false,
            stress: None,
        }
    }

    /// From now on translates hot code for `engine`, which runs this very program. Only for 32-bit WebAssembly.
    pub fn translate_for(&mut self, engine: Box<dyn Engine>) {
        let first = self.jit.is_none();
        self.jit = Jit::new(engine, &self.core);
        // What programs were told does not change under them.
        if first {
            self.core.announces_fma = self.jit.as_ref().is_some_and(Jit::is_fused);
        }
        self.set_key();
    }

    /// Whether to translate everything before it runs for the first time: for tests, and slow.
    pub fn translate_eagerly(&mut self, eager: bool) {
        self.eager = eager;
    }

    /// From now on makes common what is rare: interruptions, which then come although there is fuel left, and the loss of
    /// what was decoded, translated and looked up. For tests; `seed` says what happens when.
    pub fn stress(&mut self, seed: u64) {
        self.stress = Some(Stress::new(seed));
    }

    /// Forgets all translated code, as if the engine had just been started: its function table is new.
    pub fn restart_translation(&mut self, engine: Box<dyn Engine>) {
        if self.jit.is_some() {
            self.translate_for(engine);
            self.blocks.clear();
            self.restamp();
        }
    }

    /// Runs user code until a trap, or until `fuel` instructions have retired: then [`Trap::Interrupted`]. `fuel` is
    /// decreased by what retired; each iteration of a repeated string instruction counts as one.
    pub fn run(&mut self, cpu: &mut UserContext, space: SpaceRoot, fuel: &mut u64, env: &mut dyn Environment) -> Trap {
        self.enter_space(space);
        self.drop_stale_code();
        let given = match &mut self.stress {
            Some(stress) => stress.fuel().min(*fuel),
            None => *fuel,
        };
        self.drop_at_random();
        self.core.load_context(cpu);
        self.core.fuel = given;
        self.stepping = false;
        if self.faulted == Some((space.id, self.core.rip)) {
            self.faulted = None;
            self.try_again();
        }
        let trap = self.execute(env);
        if matches!(trap, Trap::PageFault(_)) {
            self.faulted = Some((space.id, self.core.rip));
        }
        self.core.store_context(cpu);
        let used = given - self.core.fuel;
        self.statistics.retired += used;
        *fuel -= used;
        trap
    }

    /// See [`Processor::stress`].
    fn drop_at_random(&mut self) {
        match self.stress.as_mut().map_or(Drop::Nothing, Stress::drop) {
            Drop::Nothing => {}
            Drop::Blocks => {
                self.blocks.clear();
                self.restamp();
            }
            Drop::Cluster(n) => self.jit.iter_mut().for_each(|jit| jit.drop_some(n)),
            Drop::Pages => {
                self.core.tlb.flush();
                self.core.tlb.enter_fast(self.core.asid);
            }
        }
    }

    /// Forgets cached translations of `range` in `space`.
    pub fn invalidate(&mut self, space: SpaceRoot, range: VirtRange) {
        let Some(known) = self.spaces.get_mut(&space.id) else { return };
        self.core.tlb.invalidate(known.asid, range);
        if known.pages.range(range.start.0..range.end.0).next().is_some() {
            known.stamp = self.next_stamp;
            known.pages.clear();
            self.next_stamp += 1;
            self.current = None;
        }
    }

    /// Forgets all of `space`, which is about to be freed.
    pub fn retire(&mut self, space: SpaceRoot) {
        if let Some(known) = self.spaces.remove(&space.id) {
            self.core.tlb.retire(known.asid);
            self.current = None;
        }
    }

    /// Instructions retired so far.
    pub fn retired(&self) -> u64 {
        self.statistics.retired
    }

    /// How programs were run so far.
    pub fn statistics(&self) -> Statistics {
        let (modules, bytes) = self.jit.as_ref().map_or((0, 0), Jit::size);
        Statistics { modules, bytes, ..self.statistics }
    }

    /// The components of extended state there are, as `XCR0` has them.
    pub const EXTENDED_FEATURES: u64 = xsave::COMPONENTS;

    /// The processor's name, the same as `CPUID` gives.
    pub fn name() -> &'static str {
        cpuid::BRAND
    }

    fn enter_space(&mut self, space: SpaceRoot) {
        self.core.root = space.root;
        if self.current == Some(space.id) {
            return;
        }
        if !self.spaces.contains_key(&space.id) && self.next_asid == ASIDS {
            self.core.tlb.flush();
            self.spaces.clear();
            self.next_asid = 1;
        }
        let known = self.spaces.entry(space.id).or_insert_with(|| {
            let new = Space { asid: self.next_asid, stamp: self.next_stamp, pages: BTreeSet::new() };
            self.next_asid += 1;
            self.next_stamp += 1;
            new
        });
        self.core.asid = known.asid;
        self.core.tlb.enter_fast(known.asid);
        self.stamp = known.stamp;
        self.current = Some(space.id);
        if self.next_stamp >= self.last_stamp {
            self.restamp();
        }
        self.set_key();
    }

    /// Tells translated code which ways from virtual addresses are right: the stamp's low bits, where no address has any.
    fn set_key(&mut self) {
        self.core.exchange.key = self.stamp << 48;
    }

    /// Forgets every cached way from a virtual address to a block.
    fn restamp(&mut self) {
        for space in self.spaces.values_mut() {
            // What is being looked up right now leads through some of its pages, under the new stamp: they stay.
            space.stamp = self.next_stamp;
            self.next_stamp += 1;
        }
        if let Some(space) = self.current.and_then(|id| self.spaces.get(&id)) {
            self.stamp = space.stamp;
        }
        if self.next_stamp >= self.last_stamp {
            // Stamps in use are then always fewer than a key can tell apart.
            self.last_stamp = self.next_stamp + STAMPS;
            self.jit.iter_mut().for_each(Jit::forget_jumps);
        }
        self.set_key();
    }

    /// Drops blocks whose frames were written since they were decoded.
    pub(crate) fn drop_stale_code(&mut self) {
        let writes = self.core.memory.code_writes();
        if writes == self.code_writes {
            return;
        }
        self.code_writes = writes;
        for frame in self.blocks.frames() {
            if self.core.memory.code_is_stale(frame) {
                self.blocks.drop_frame(frame);
            }
        }
        if let Some(jit) = &mut self.jit {
            for frame in jit.frames() {
                if self.core.memory.code_is_stale(frame) {
                    jit.drop_frame(frame);
                }
            }
        }
        self.restamp();
    }

    /// The loop: blocks, one after the other, until something stops them.
    fn execute(&mut self, env: &mut dyn Environment) -> Trap {
        let mut next: Option<*const Block> = None;
        loop {
            let block = match next.take() {
                Some(block) => block,
                None => {
                    // Only instructions that end a block can have changed what this looks at.
                    while self.stepping || self.core.control_flags & UserContext::TRAP_FLAG != 0 {
                        if let Err(trap) = self.step(env) {
                            return trap;
                        }
                    }
                    if let Some(place) = self.known_translation() {
                        if let Err(trap) = self.translated(place, env) {
                            return trap;
                        }
                        continue;
                    }
                    match self.lookup() {
                        Ok(block) => block,
                        Err(trap) => return trap,
                    }
                }
            };
            // SAFETY: links and lookups give blocks that `self.blocks` owns, and nothing is dropped until `block` has
            // been left: only the arms below drop blocks, and they continue with a new look-up.
            let block = unsafe { &*block };
            let patience = block.patience.get();
            if patience != FOREVER {
                block.patience.set(patience.saturating_sub(1));
                if patience == 0
                    && let Some(place) = self.hot(block)
                {
                    if let Err(trap) = self.translated(place, env) {
                        return trap;
                    }
                    continue;
                }
            }
            if self.core.fuel < block.count {
                if self.core.fuel == 0 {
                    return Trap::Interrupted;
                }
                if let Err(trap) = self.step(env) {
                    return trap;
                }
                continue;
            }
            self.core.fuel -= block.count;
            let (stop, op) = run_ops(&mut self.core, &block.ops);
            match stop {
                Stop::Link0 => next = self.follow(block, 0),
                Stop::Link1 => next = self.follow(block, 1),
                Stop::Jump if block.indirect => self.note_target(self.core.page().wrapping_add(u64::from(op.ip))),
                Stop::Jump => {}
                _ => {
                    if let Err(trap) = self.stopped(stop, *op, block.count, env) {
                        return trap;
                    }
                }
            }
        }
    }

    /// The block a link leads to, linking it if it is not yet.
    #[inline(always)]
    fn follow(&mut self, block: &Block, link: usize) -> Option<*const Block> {
        let linked = block.links[link].get();
        if !linked.is_null() {
            return Some(linked);
        }
        let found = self.link_target()?;
        block.links[link].set(found);
        Some(found)
    }

    /// The block at RIP if it may be linked to. It is in the same page as its predecessor, which therefore stays.
    #[cold]
    fn link_target(&mut self) -> Option<*const Block> {
        if self.blocks.is_full() {
            return None;
        }
        let found = self.lookup().ok()?;
        // SAFETY: just looked up.
        unsafe { &*found }.crosses_into.is_none().then_some(found)
    }

    /// Deals with what stopped a block at `op`, other than its end. `Ok` means go on at RIP.
    #[cold]
    pub(crate) fn stopped(&mut self, stop: Stop, op: Op, count: u64, env: &mut dyn Environment) -> Result<(), Trap> {
        let undone = count - u64::from(op.count);
        let here = self.core.page().wrapping_add(u64::from(op.ip));
        match stop {
            Stop::Fault => {
                self.core.fuel += undone;
                self.core.rip = here;
                Err(self.core.trap)
            }
            Stop::Trap => {
                self.core.fuel += undone - 1;
                Err(self.core.trap)
            }
            Stop::Fuel => {
                self.core.fuel += undone - 1;
                self.core.rip = here;
                Ok(())
            }
            Stop::Environment => {
                self.core.fuel += undone - 1;
                system::answer(&mut self.core, env);
                Ok(())
            }
            Stop::CodeWrite => {
                self.core.fuel += undone;
                self.core.rip = here;
                self.core.memory.note_write(self.core.code_frame);
                self.drop_stale_code();
                // Decoding this instruction into a block would mark its own frame again, which it may be about to write.
                self.stepping = true;
                Ok(())
            }
            Stop::Link0 | Stop::Link1 | Stop::Jump => Ok(()),
        }
    }

    /// Executes one instruction, decoded afresh, and the trap after it if the trap flag was set before it.
    #[cold]
    pub(crate) fn step(&mut self, env: &mut dyn Environment) -> Result<(), Trap> {
        if self.core.fuel == 0 {
            return Err(Trap::Interrupted);
        }
        self.stepping = false;
        let trapping = self.core.control_flags & UserContext::TRAP_FLAG != 0;
        let at = self.fetch()?;
        let block = decode::block(&mut self.core, at, 1).map_err(|_| self.core.trap)?;
        self.core.set(slot::PAGE, self.core.rip & !(PAGE_SIZE - 1));
        // A repeated instruction takes what fuel there is, but under the trap flag one iteration at a time.
        let kept = if trapping { self.core.fuel - 1 } else { 0 };
        self.core.fuel -= 1 + kept;
        let (stop, op) = run_ops(&mut self.core, &block.ops);
        let result = match stop {
            Stop::Link0 | Stop::Link1 | Stop::Jump => Ok(()),
            _ => self.stopped(stop, *op, 1, env),
        };
        self.core.fuel += kept;
        match result {
            Ok(()) if trapping && !self.stepping => Err(Trap::Exception(Exception::Debug)),
            result => result,
        }
    }

    /// Where the instruction at RIP is.
    pub(crate) fn fetch(&mut self) -> Result<PhysAddr, Trap> {
        let rip = self.core.rip;
        let frame = match self.core.tlb.execute(rip, self.core.asid) {
            Some(frame) => frame,
            None => {
                let frame = self.core.fetch_frame(rip).map_err(|_| self.core.trap)?;
                self.core.tlb.fill_code(rip, self.core.asid, frame);
                frame
            }
        };
        if let Some(space) = self.current.and_then(|id| self.spaces.get_mut(&id)) {
            space.pages.insert(rip & !(PAGE_SIZE - 1));
        }
        Ok(PhysAddr(frame.0 + rip % PAGE_SIZE))
    }

    /// The block at RIP, decoded if need be.
    pub(crate) fn lookup(&mut self) -> Result<*const Block, Trap> {
        let rip = self.core.rip;
        self.core.set(slot::PAGE, rip & !(PAGE_SIZE - 1));
        if let Some(block) = self.blocks.jump(rip, self.stamp) {
            return Ok(block);
        }
        self.find_or_decode()
    }

    #[cold]
    fn find_or_decode(&mut self) -> Result<*const Block, Trap> {
        let rip = self.core.rip;
        let at = self.fetch()?;
        if let Some(block) = self.blocks.find(at) {
            let found = &raw const *block;
            let into = block.crosses_into;
            if into.is_none() || into == Some(self.fetch_next_page(rip)?) {
                self.blocks.remember(rip, self.stamp, found);
                return Ok(found);
            }
        }
        if self.blocks.is_full() {
            self.blocks.clear();
            self.restamp();
        }
        let block = decode::block(&mut self.core, at, LONGEST_BLOCK).map_err(|_| self.core.trap)?;
        match &mut self.stress {
            _ if self.eager => block.patience.set(0),
            Some(stress) => block.patience.set(stress.patience()),
            None => {}
        }
        self.mark_code(at);
        if let Some(frame) = block.crosses_into {
            self.fetch_next_page(rip)?;
            self.mark_code(frame);
            // It may replace the block of another mapping.
            self.restamp();
        }
        let found = self.blocks.insert(at, block);
        self.blocks.remember(rip, self.stamp, found);
        Ok(found)
    }

    /// The frame after the page of `rip`, entered in the TLB so that its invalidation is noticed.
    fn fetch_next_page(&mut self, rip: u64) -> Result<PhysAddr, Trap> {
        let next = (rip & !(PAGE_SIZE - 1)).wrapping_add(PAGE_SIZE);
        self.core.rip = next;
        let found = self.fetch();
        self.core.rip = rip;
        found
    }

    /// From now on writes to the frame at `at` are noticed.
    pub(crate) fn mark_code(&mut self, at: PhysAddr) {
        let frame = PhysAddr(at.0 & !(PAGE_SIZE - 1));
        if !self.core.memory.has_code(frame) {
            self.core.memory.mark_code(frame);
            let host = self.core.memory.window().wrapping_add(frame.0 as usize);
            self.core.tlb.forbid_writes(host);
        }
    }
}

/// Runs ops until one stops.
///
/// The step is written out several times because each copy's indirect call is predicted by itself.
#[inline(always)]
fn run_ops<'a>(core: &mut Core, ops: &'a [Op]) -> (Stop, &'a Op) {
    let mut at = ops.as_ptr();
    loop {
        macro_rules! step {
            () => {
                // SAFETY: a block's last op never returns `Ok`, so `at` stays inside the slice.
                let op: &'a Op = unsafe { &*at };
                if let Err(stop) = (op.run)(core, op) {
                    return (stop, op);
                }
                at = at.wrapping_add(1);
            };
        }
        step!();
        step!();
        step!();
        step!();
        step!();
        step!();
        step!();
        step!();
    }
}
