//! Where the processor's loop meets the translator: what is hot, and how translated code ends.
//!
//! What always holds: translated code runs only without the trap flag and not in place of an instruction to be executed
//! alone; and what it left in the exchange is taken back before anything else looks at the processor's state.

use alloc::vec::Vec;

use aurora_machine::{PAGE_SIZE, PhysAddr, Trap};

use crate::blocks::{Block, Blocks, FOREVER, PATIENCE};
use crate::core::Core;
use crate::jit::{Outcome, Place, STOP_CODE_WRITE, STOP_FAULT, STOP_FUEL, STOP_INTERPRET, STOP_OP, Source, stop_of};
use crate::op::Op;
use crate::processor::{Environment, Processor};

/// Translation is put off for ever longer up to this many times: 400 · 4¹⁰ executions.
const LONGEST_WAIT: u8 = 10;

impl Processor {
    /// Translated code for RIP, if it has run under these mappings.
    #[inline(always)]
    pub(crate) fn known_translation(&self) -> Option<Place> {
        let jit = self.jit.as_ref()?;
        if self.core.fuel == 0 {
            return None;
        }
        jit.jump(self.core.rip, self.core.exchange.key)
    }

    /// Translated code for RIP, where the hot `block` is; translated now if it is not yet and worth it.
    #[cold]
    pub(crate) fn hot(&mut self, block: &Block) -> Option<Place> {
        if self.jit.is_none() {
            block.patience.set(FOREVER);
            return None;
        }
        if self.core.fuel == 0 {
            return None;
        }
        let at = self.fetch().ok()?;
        if let Some(place) = self.known_translation().or_else(|| self.verified(at)) {
            return Some(place);
        }
        let jit = self.jit.as_ref()?;
        if jit.find(at, self.core.rip).is_some() {
            // Some of its pages are not mapped here, or not yet.
            block.patience.set(PATIENCE);
            return None;
        }
        // A function that was translated before has to be hotter each time to be translated anew.
        let waited = block.waited.get();
        if waited < jit.patience(at).min(5) && !self.eager {
            self.wait(block);
            return None;
        }
        match self.translate(at, block.refused.get()) {
            Outcome::Nothing => block.patience.set(FOREVER),
            Outcome::Later => self.wait(block),
            Outcome::Translated { .. } => {
                let place = self.verified(at);
                if place.is_none() {
                    block.refused.set(true);
                    self.wait(block);
                }
                return place;
            }
        }
        None
    }

    /// An access that faulted is about to be tried again. A block that begins there, in the middle of another, does not get
    /// hotter by that: a way into the middle of a loop, from which hardly anything is done, makes the loop slower.
    pub(crate) fn try_again(&mut self) {
        if self.jit.is_none() || self.eager || self.stress.is_some() {
            return;
        }
        // Whatever is wrong with the address is found out when it is executed.
        let Ok(block) = self.lookup() else { return };
        // SAFETY: lookups give blocks that `self.blocks` owns, and nothing was dropped since.
        let block = unsafe { &*block };
        let patience = block.patience.get();
        if patience != FOREVER {
            block.patience.set(patience.saturating_add(1).min(FOREVER - 1));
        }
    }

    /// Puts off the translation of a block, each time for longer.
    fn wait(&mut self, block: &Block) {
        let waited = block.waited.get();
        block.waited.set((waited + 1).min(LONGEST_WAIT));
        block.patience.set(match &mut self.stress {
            Some(stress) => stress.patience(),
            None => PATIENCE << (2 * waited),
        });
    }

    /// Translates what is at RIP; with a way in there in any case, if it `was_refused` before.
    fn translate(&mut self, at: PhysAddr, was_refused: bool) -> Outcome {
        let rip = self.core.rip;
        let page = rip & !(PAGE_SIZE - 1);
        let Some(mut jit) = self.jit.take() else { return Outcome::Nothing };
        let known = core::mem::take(&mut jit.seen);
        let eager = self.eager;
        let mut source = Guest { core: &mut self.core, blocks: &self.blocks, seen: &known, page, eager };
        let outcome = jit.translate(at, (rip - page) as i64, was_refused, &mut source);
        jit.seen = known;
        self.jit = Some(jit);
        if let Outcome::Translated { frames, entries } = &outcome {
            self.statistics.made += 1;
            frames.iter().for_each(|&frame| self.mark_code(frame));
            self.blocks.expect_translations(entries);
        }
        outcome
    }

    /// The translation at `at`, where RIP is, if all its pages are mapped here as they were.
    fn verified(&mut self, at: PhysAddr) -> Option<Place> {
        let rip = self.core.rip;
        let (place, frames) = self.jit.as_ref()?.find(at, rip)?;
        let pages: Vec<(u64, PhysAddr)> =
            frames.iter().map(|(&page, &frame)| (place.base.wrapping_add(page as u64), frame)).collect();
        for (page, frame) in pages {
            self.core.rip = page;
            let found = self.fetch();
            self.core.rip = rip;
            if found != Ok(frame) {
                return None;
            }
        }
        let key = self.core.exchange.key;
        self.jit.as_mut()?.remember(rip, key, place);
        Some(place)
    }

    /// Runs translated code. `Ok` means go on at RIP.
    #[inline(always)]
    pub(crate) fn translated(&mut self, place: Place, env: &mut dyn Environment) -> Result<(), Trap> {
        if self.checking { self.run_checked(place, env) } else { self.run_translated(place, env) }
    }

    /// The same, whatever [`Processor::check_translations`] said.
    pub(crate) fn run_translated(&mut self, place: Place, env: &mut dyn Environment) -> Result<(), Trap> {
        let Some(jit) = &self.jit else { return Ok(()) };
        let core = &mut *self.core;
        if !core.tlb.remembers() && !core.remember_stack() {
            self.stepping = true;
            return Ok(());
        }
        core.exchange.lazy.take(core.flags);
        // The interpreter's ops in the middle of translated code change the core's.
        let given = core.fuel;
        core.exchange.fuel = given as i64;
        core.exchange.stop = 0;
        // Translated code reaches the state by its address.
        let _ = (&raw mut *core).expose_provenance();
        jit.run(place);
        self.statistics.translated += given.saturating_sub(core.exchange.fuel.max(0) as u64);
        self.statistics.left(core.exchange.stop);
        core.fuel = core.exchange.fuel.max(0) as u64;
        core.flags = core.exchange.lazy.flags(&core.regs);
        core.rip = core.exchange.rip;
        match core.exchange.stop {
            0 => {
                let [from, to] = core.exchange.missed;
                if to == core.rip {
                    self.note_target(from);
                }
                Ok(())
            }
            STOP_FUEL => Ok(()),
            STOP_INTERPRET => {
                self.stepping = true;
                Ok(())
            }
            STOP_FAULT => Err(core.trap),
            STOP_CODE_WRITE => {
                core.memory.note_write(core.code_frame);
                self.drop_stale_code();
                self.stepping = true;
                Ok(())
            }
            code => {
                debug_assert!(code >= STOP_OP);
                // SAFETY: the op is one of a call-out of a cluster that has just run; nothing was dropped since.
                let op = unsafe { *(core.exchange.op as *const Op) };
                self.stopped(stop_of(code), op, 1, env)
            }
        }
    }

    /// Notes that the indirect jump or call at `from` went where RIP is.
    pub(crate) fn note_target(&mut self, from: u64) {
        let Some(jit) = &mut self.jit else { return };
        if let Some(frame) = self.core.tlb.execute(from, self.core.asid) {
            let distance = self.core.rip.wrapping_sub(from) as i64;
            jit.note_target(PhysAddr(frame.0 + from % PAGE_SIZE), distance);
        }
    }
}

/// The running program's code, for the translator.
struct Guest<'a> {
    core: &'a mut Core,
    blocks: &'a Blocks,
    seen: &'a alloc::collections::BTreeMap<u64, Vec<i64>>,
    /// Where offsets count from.
    page: u64,
    /// What has not run counts, too.
    eager: bool,
}

impl Source for Guest<'_> {
    fn frame(&mut self, page: i64) -> Option<PhysAddr> {
        let addr = self.page.wrapping_add(page as u64);
        match self.core.tlb.execute(addr, self.core.asid) {
            Some(frame) => Some(frame),
            None => self.core.fetch_frame(addr).ok(),
        }
    }

    fn copy(&self, at: PhysAddr, out: &mut [u8]) {
        crate::decode::copy_code(self.core, at, out);
    }

    fn has_run(&self, at: PhysAddr) -> bool {
        self.eager || self.blocks.find(at).is_some()
    }

    fn is_eager(&self) -> bool {
        self.eager
    }

    fn seen_targets(&mut self, at: i64) -> Vec<i64> {
        let page = at & !(PAGE_SIZE as i64 - 1);
        let Some(frame) = self.frame(page) else { return Vec::new() };
        let from = frame.0 + (at - page) as u64;
        self.seen.get(&from).map_or(Vec::new(), |seen| seen.iter().map(|distance| at + distance).collect())
    }
}
