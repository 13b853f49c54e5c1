//! Runs one instruction on BPE/U.

use aurora_machine::{Exception, PageFault, Trap, UserContext};

use super::layout::{CODE, DATA, GS_BASE, PAGE, PAGES};
use super::state::{Outcome, State};
use super::support::{Guest, R, RW, RX};

pub struct Bpe {
    guest: Guest,
    /// Host addresses of the data pages' frames.
    frames: Vec<*mut u8>,
}

impl Bpe {
    pub fn new() -> Self {
        let mut guest = Guest::new(1);
        guest.map(CODE, PAGE, &[0xcc; PAGE as usize], RX);
        let mut frames = Vec::new();
        for (page, writable) in PAGES {
            let frame = guest.memory.allocate().expect("a frame");
            frames.push(guest.memory.window().wrapping_add(frame.phys().0 as usize));
            guest.map_frame(DATA + page * PAGE, frame, if writable { RW } else { R });
        }
        Self { guest, frames }
    }

    /// Writes data memory, whatever its protection.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) {
        let page = (addr - DATA) / PAGE;
        let slot = PAGES.iter().position(|p| p.0 == page).expect("a page that exists");
        // SAFETY: the frame is mapped for the life of the guest and the caller stays inside the page.
        unsafe { self.frames[slot].add((addr % PAGE) as usize).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    /// Writes code, as a kernel would.
    pub fn write_code(&mut self, addr: u64, bytes: &[u8]) {
        // The page is read-only for the guest.
        let mapping = self.guest.table.query(aurora_machine::VirtAddr(addr)).expect("mapped");
        mapping.frame.write((addr % PAGE) as usize, bytes);
    }

    pub fn page(&self, slot: usize) -> &[u8] {
        // SAFETY: the frame is mapped for the life of the guest, which is not running.
        unsafe { std::slice::from_raw_parts(self.frames[slot], PAGE as usize) }
    }

    pub fn run(&mut self, state: &State) -> Outcome {
        let cpu = &mut self.guest.cpu;
        *cpu = UserContext::new(state.rip, 0);
        cpu.gpr = state.gpr;
        cpu.rflags = state.rflags;
        cpu.fx = state.fx.clone();
        cpu.extended = state.extended();
        cpu.gs_base = GS_BASE;
        let mut trap = Trap::Interrupted;
        // A repeated instruction retires once an iteration.
        for _ in 0..64 {
            trap = self.guest.run(&mut 1);
            if trap != Trap::Interrupted || self.guest.cpu.rip != state.rip {
                break;
            }
        }
        let cpu = &self.guest.cpu;
        let (gpr, rip, rflags, fx) = (cpu.gpr, cpu.rip, cpu.rflags, cpu.fx.clone());
        let mut state = State { gpr, rip, rflags, fx, ymm_high: [0; 16] };
        state.set_extended(&cpu.extended);
        let (vector, error, address) = match trap {
            // Linux tells programs that everything outside their space is present and forbidden.
            Trap::PageFault(fault @ PageFault { addr, protection, .. }) => {
                let protection = protection || !addr.is_user();
                (14, PageFault { protection, ..fault }.error_code(), addr.0)
            }
            Trap::Exception(exception @ Exception::GeneralProtection(code)) => (exception.vector(), code.into(), 0),
            Trap::Exception(exception) => (exception.vector(), 0, 0),
            _ => (3, 0, 0),
        };
        Outcome { state, vector, error, address }
    }
}
