//! A switch for looking for the translator's mistakes: what translated code did is done again by the interpreter, from the
//! same state and memory, and must come to the same.
//!
//! What always holds: while [`Core::journal`] is there, pages are in it, as they were, before anybody writes them. Each
//! stretch starts with empty TLBs, so nobody reaches a page without its being looked up.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use aurora_machine::{FxState, PAGE_SIZE, PhysAddr, Trap};
use iced_x86::{Decoder, Instruction, Mnemonic, RflagsBits};

use crate::core::Core;
use crate::decode::{LONGEST, OPTIONS, copy_code};
use crate::flags::{AF, CF, OF, PF, SF, ZF};
use crate::jit::Place;
use crate::processor::{Environment, Processor};

/// Pages as they were, by their address in the host.
pub(crate) type Journal = BTreeMap<usize, Box<[u8; PAGE_SIZE as usize]>>;

/// Translated code polls its fuel at loops and calls, so with this much it runs from one of those to the next.
const STRETCH: u64 = 1;

/// What a program can see of a processor.
struct State {
    gpr: [u64; 16],
    rip: u64,
    rflags: u64,
    fx: FxState,
    ymm_high: [u128; 16],
}

impl State {
    fn of(core: &Core) -> Self {
        let mut gpr = [0; 16];
        gpr.copy_from_slice(&core.regs[..16]);
        Self { gpr, rip: core.rip, rflags: core.rflags(), fx: core.fx.clone(), ymm_high: core.ymm_high }
    }

    fn restore(&self, core: &mut Core) {
        core.regs[..16].copy_from_slice(&self.gpr);
        core.rip = self.rip;
        core.set_rflags(self.rflags);
        core.fx.clone_from(&self.fx);
        core.ymm_high = self.ymm_high;
    }

    /// The first difference from what is right, flags that are `undefined` aside.
    fn difference(&self, right: &Self, undefined: u64) -> Option<String> {
        for (n, (have, right)) in self.gpr.iter().zip(&right.gpr).enumerate() {
            if have != right {
                return Some(format!("register {n} is {have:x}, not {right:x}"));
            }
        }
        if (self.rip, self.rflags | undefined) != (right.rip, right.rflags | undefined) {
            let Self { rip, rflags, .. } = self;
            return Some(format!("RIP is {rip:x}, not {:x}; RFLAGS are {rflags:x}, not {:x}", right.rip, right.rflags));
        }
        for (n, (have, right)) in self.fx.xmm.iter().zip(&right.fx.xmm).enumerate() {
            if have != right {
                return Some(format!("XMM{n} is {have:x}, not {right:x}"));
            }
        }
        for (n, (have, right)) in self.ymm_high.iter().zip(&right.ymm_high).enumerate() {
            if have != right {
                return Some(format!("the upper half of YMM{n} is {have:x}, not {right:x}"));
            }
        }
        (self.fx != right.fx).then(|| format!("x87 state or MXCSR is {:?}, not {:?}", self.fx, right.fx))
    }
}

impl Core {
    /// Takes down the page of a host address, which may be written from now on.
    pub(crate) fn note_page(&mut self, host: *mut u8) {
        let window = self.memory.window();
        let Some(journal) = &mut self.journal else { return };
        let offset = (host as usize).wrapping_sub(window as usize) & !(PAGE_SIZE as usize - 1);
        journal.entry(offset).or_insert_with(|| copy(window.wrapping_add(offset)));
    }
}

/// A page's contents.
fn copy(page: *mut u8) -> Box<[u8; PAGE_SIZE as usize]> {
    let mut bytes = Box::new([0; PAGE_SIZE as usize]);
    // SAFETY: the page is a frame of the guest's, inside the window, and no Rust reference points into it.
    unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(page, bytes.len()) };
    bytes
}

impl Processor {
    /// Whether translated code is checked against the interpreter from now on; where they differ, this panics.
    pub fn check_translations(&mut self, check: bool) {
        self.checking = check;
    }

    /// Runs translated code for a stretch, and the interpreter after it.
    pub(crate) fn run_checked(&mut self, place: Place, env: &mut dyn Environment) -> Result<(), Trap> {
        let (before, fuel) = (State::of(&self.core), self.core.fuel);
        self.forget_pages();
        self.core.journal = Some(Journal::new());
        self.core.fuel = STRETCH;
        let ended = self.run_translated(place, env);
        // What stopped with an op was paid for, and is given back.
        let left = self.core.exchange.fuel;
        let given_back = self.core.fuel as i64 - left.max(0);
        let done = (STRETCH as i64 - left - given_back).max(0) as u64;
        let translated = State::of(&self.core);
        let stepping = core::mem::take(&mut self.stepping);
        let window = self.core.memory.window();
        // Memory as it was, and beside it what it became.
        let written: Journal = self
            .core
            .journal
            .iter()
            .flatten()
            .map(|(&at, old)| {
                let page = window.wrapping_add(at);
                let new = copy(page);
                // SAFETY: as in `copy`.
                unsafe { page.copy_from_nonoverlapping(old.as_ptr(), old.len()) };
                (at, new)
            })
            .collect();
        before.restore(&mut self.core);
        self.forget_pages();
        self.core.fuel = done;
        let (mut again, mut undefined, mut code) = (Ok(()), 0, String::new());
        while self.core.fuel > 0 && again.is_ok() {
            if let Some((insn, bytes)) = self.next_instruction() {
                undefined = undefined_after(&insn, undefined);
                _ = write!(code, "\n{:x}: {:02x?}", insn.ip(), &bytes[..insn.len()]);
            }
            again = self.step(env);
        }
        let right = State::of(&self.core);
        let what = if again.is_err() {
            Some(format!("it went on where the interpreter stops with {again:?}"))
        } else {
            translated.difference(&right, undefined).or_else(|| self.memory_difference(&written))
        };
        if let Some(what) = what {
            panic!(
                "translated code from {:x} on, {done} instructions: {what}; registers {:x?}{code}",
                before.rip, right.gpr
            );
        }
        // A fault is the interpreter's to find again.
        let ended = match ended {
            Ok(()) => Ok(()),
            Err(trap) => {
                self.core.fuel = 1;
                let found = self.step(env);
                assert_eq!(found, Err(trap), "translated code from {:x} on, after {done} instructions", before.rip);
                found
            }
        };
        self.core.journal = None;
        self.stepping |= stepping;
        self.core.fuel = fuel.saturating_sub(done);
        ended
    }

    /// The instruction at RIP, if all of it can be read.
    fn next_instruction(&mut self) -> Option<(Instruction, [u8; LONGEST])> {
        let (rip, mut bytes, mut have) = (self.core.rip, [0; LONGEST], 0);
        while have < LONGEST {
            let addr = rip.wrapping_add(have as u64);
            let Ok(frame) = self.core.fetch_frame(addr) else { break };
            let more = ((PAGE_SIZE - addr % PAGE_SIZE) as usize).min(LONGEST - have);
            copy_code(&self.core, PhysAddr(frame.0 + addr % PAGE_SIZE), &mut bytes[have..have + more]);
            have += more;
        }
        let insn = Decoder::with_ip(64, &bytes[..have], rip, OPTIONS).decode();
        (!insn.is_invalid()).then_some((insn, bytes))
    }

    fn forget_pages(&mut self) {
        self.core.tlb.flush();
        self.core.tlb.enter_fast(self.core.asid);
    }

    /// The first byte that is other than translated code wrote it.
    fn memory_difference(&self, written: &Journal) -> Option<String> {
        let window = self.core.memory.window();
        for (at, old) in self.core.journal.iter().flatten() {
            let (right, have) = (copy(window.wrapping_add(*at)), written.get(at).unwrap_or(old));
            if let Some(i) = right.iter().zip(have.iter()).position(|(a, b)| a != b) {
                return Some(format!("physical {:x} is {:x}, not {:x}", at + i, have[i], right[i]));
            }
        }
        None
    }
}

/// The flags that are undefined after an instruction, given those that were before it: the interpreter and translated code
/// may leave them differently.
fn undefined_after(insn: &Instruction, before: u64) -> u64 {
    use Mnemonic as M;
    let flags = |bits: u32| {
        let all = [
            (RflagsBits::OF, OF),
            (RflagsBits::SF, SF),
            (RflagsBits::ZF, ZF),
            (RflagsBits::AF, AF),
            (RflagsBits::CF, CF),
            (RflagsBits::PF, PF),
        ];
        all.iter().filter(|(bit, _)| bits & bit != 0).fold(0, |all, (_, flag)| all | flag)
    };
    let undefined = flags(insn.rflags_undefined());
    let shifts = [M::Shl, M::Sal, M::Shr, M::Sar, M::Rol, M::Ror, M::Rcl, M::Rcr, M::Shld, M::Shrd];
    if shifts.contains(&insn.mnemonic()) {
        // By zero they change nothing, so nothing becomes defined; OF is for counts of 1 only.
        return before | undefined | OF;
    }
    before & !flags(insn.rflags_modified()) | undefined
}
