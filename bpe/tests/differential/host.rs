//! Runs one instruction on the real processor.
//!
//! The state goes in and out through signal frames: a breakpoint enters the handler, which swaps in the tested state and
//! returns; whatever the instruction does ends in another signal, whose frame is the result.

use std::cell::UnsafeCell;
use std::ptr;

use aurora_machine::{ExtendedState, FxState};

use super::layout::{CODE, DATA, GS_BASE, PAGE, PAGES};
use super::state::{Outcome, State};

/// What the handler and the test share.
struct Exchange {
    running: bool,
    saved: libc::ucontext_t,
    saved_fx: [u8; 416],
    saved_high: [u128; 16],
    state: State,
    outcome: Outcome,
}

struct Shared(UnsafeCell<Option<Box<Exchange>>>);
// SAFETY: only the one thread that runs the test and the handler on it touch it.
unsafe impl Sync for Shared {}
static SHARED: Shared = Shared(UnsafeCell::new(None));

/// Order of the general-purpose registers in a signal frame, by register number.
const REGISTERS: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// The real processor.
pub struct Host {
    /// The code page again, where it can be written: at its own address it cannot, as on BPE/U.
    code: *mut u8,
}

impl Host {
    /// Maps the pages and installs the handlers.
    pub fn new() -> Self {
        let code = map_code();
        for (page, _) in PAGES {
            map(DATA + page * PAGE, PAGE, libc::PROT_READ | libc::PROT_WRITE);
        }
        // SAFETY: plain system calls; the stack and the exchange live for ever.
        unsafe {
            code.write_bytes(0xcc, PAGE as usize);
            const ARCH_SET_GS: i64 = 0x1001;
            libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, GS_BASE);
            // Signal frames leave the ID flag alone, so it is set once.
            std::arch::asm!("pushfq", "or dword ptr [rsp], 0x200000", "popfq");
            let size = 1 << 16;
            let stack = libc::mmap(
                ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            libc::sigaltstack(&libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: size }, ptr::null_mut());
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            for signal in [libc::SIGTRAP, libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGBUS, libc::SIGVTALRM] {
                libc::sigaction(signal, &action, ptr::null_mut());
            }
            *SHARED.0.get() = Some(Box::new(Exchange {
                running: false,
                saved: std::mem::zeroed(),
                saved_fx: [0; 416],
                saved_high: [0; 16],
                state: State::default(),
                outcome: Outcome::default(),
            }));
        }
        let host = Self { code };
        host.protect(true);
        host
    }

    /// Makes the pages that are read-only for tests writable, or not.
    fn protect(&self, sealed: bool) {
        for (page, _) in PAGES.into_iter().filter(|p| !p.1) {
            let prot = if sealed { libc::PROT_READ } else { libc::PROT_READ | libc::PROT_WRITE };
            // SAFETY: a page this mapped.
            unsafe { libc::mprotect((DATA + page * PAGE) as *mut _, PAGE as usize, prot) };
        }
    }

    /// Writes memory, whatever its protection.
    pub fn write(&self, addr: u64, bytes: &[u8]) {
        let sealed = PAGES.iter().any(|&(page, writable)| !writable && addr / PAGE == DATA / PAGE + page);
        if sealed {
            self.protect(false);
        }
        // SAFETY: the caller stays inside mapped pages.
        unsafe { (addr as *mut u8).copy_from(bytes.as_ptr(), bytes.len()) };
        if sealed {
            self.protect(true);
        }
    }

    /// Writes code.
    pub fn write_code(&self, addr: u64, bytes: &[u8]) {
        // SAFETY: the caller stays inside the code page.
        unsafe { self.code.add((addr - CODE) as usize).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    /// A page's contents.
    pub fn page(&self, page: u64) -> &[u8] {
        // SAFETY: a mapped page, which changes only while `run` has the thread.
        unsafe { std::slice::from_raw_parts((DATA + page * PAGE) as *const u8, PAGE as usize) }
    }

    /// The same, but for at most a hundredth of a second: `None` if it took longer.
    #[allow(dead_code)]
    pub fn run_briefly(&self, state: &State) -> Option<Outcome> {
        let timer = |us| {
            let zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
            let limit = libc::itimerval { it_interval: zero, it_value: libc::timeval { tv_sec: 0, tv_usec: us } };
            // SAFETY: a plain system call. Its signal ends a run as any other does; outside one it would be lost.
            unsafe { libc::setitimer(libc::ITIMER_VIRTUAL, &limit, ptr::null_mut()) };
        };
        timer(10_000);
        let outcome = self.run(state);
        timer(0);
        (outcome.vector != LATE).then_some(outcome)
    }

    /// Runs from `state` until a signal.
    pub fn run(&self, state: &State) -> Outcome {
        // SAFETY: the handler runs on this thread, inside the asm block only, and restores every register.
        unsafe {
            let exchange = (*SHARED.0.get()).as_mut().expect("made by `new`");
            exchange.state.clone_from(state);
            exchange.running = false;
            std::arch::asm!("int3", options(nostack));
            let exchange = (*SHARED.0.get()).as_mut().expect("made by `new`");
            exchange.outcome.clone()
        }
    }
}

fn map(addr: u64, len: u64, prot: i32) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: asks for a fixed place that nothing else has.
    let got = unsafe { libc::mmap(addr as *mut _, len as usize, prot, flags, -1, 0) };
    assert_eq!(got as u64, addr, "the fixed address is taken");
}

/// Maps the code page twice.
fn map_code() -> *mut u8 {
    // SAFETY: plain system calls on a file of our own.
    unsafe {
        let file = libc::memfd_create(c"code".as_ptr(), 0);
        libc::ftruncate(file, PAGE as i64);
        let fixed = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
        let at = libc::mmap(CODE as *mut _, PAGE as usize, libc::PROT_READ | libc::PROT_EXEC, fixed, file, 0);
        assert_eq!(at as u64, CODE, "the fixed address is taken");
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(ptr::null_mut(), PAGE as usize, prot, libc::MAP_SHARED, file, 0).cast()
    }
}

/// What a signal frame has of x87 and vector registers: an `XSAVE` area in the standard format, in whose `FXSAVE` image the
/// kernel keeps notes (`struct _xstate` in Linux's `asm/sigcontext.h`). Without the magic number it ends with that image.
#[repr(C)]
struct Area {
    fx: [u8; 416],
    unused: [u8; 48],
    magic: u32,
    size: u32,
    /// The components that have their place here.
    features: u64,
    notes: [u64; 4],
    /// `XSTATE_BV`: the others are in their initial state, whatever their place contains.
    present: u64,
    header: [u64; 7],
    high: [u128; 16],
}

const _: () = assert!(size_of::<Area>() == 512 + ExtendedState::SIZE);

impl Area {
    const MAGIC: u32 = 0x4650_5853;

    fn fx(&self) -> FxState {
        let mut image = [0; 512];
        image[..416].copy_from_slice(&self.fx);
        FxState::from_bytes(&image)
    }

    fn has_high(&self) -> bool {
        self.magic == Self::MAGIC && self.features & ExtendedState::AVX != 0
    }

    /// The upper halves of the YMM registers.
    fn high(&self) -> [u128; 16] {
        let present = self.has_high() && self.present & ExtendedState::AVX != 0;
        if present { self.high } else { [0; 16] }
    }

    /// Upper halves that are all zero are their initial state. Components of which nobody here knows stay as they are.
    fn set(&mut self, fx: &[u8], high: &[u128; 16]) {
        self.fx.copy_from_slice(&fx[..416]);
        if self.magic == Self::MAGIC {
            self.present |= ExtendedState::X87_SSE;
        }
        if self.has_high() {
            let present = if *high == [0; 16] { 0 } else { ExtendedState::AVX };
            self.present = self.present & !ExtendedState::AVX | present;
            self.high = *high;
        }
    }
}

/// The vector of a run that took too long.
const LATE: u8 = 255;

extern "C" fn handler(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid frame; the exchange is not in use by the interrupted code.
    unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        let Some(exchange) = (*SHARED.0.get()).as_mut() else { libc::abort() };
        let area = &mut *context.uc_mcontext.fpregs.cast::<Area>();
        let gregs = &mut context.uc_mcontext.gregs;
        if !exchange.running {
            if signal == libc::SIGVTALRM {
                return;
            }
            exchange.running = true;
            exchange.saved.uc_mcontext.gregs = *gregs;
            (exchange.saved_fx, exchange.saved_high) = (area.fx, area.high());
            for (value, place) in exchange.state.gpr.iter().zip(REGISTERS) {
                gregs[place as usize] = *value as i64;
            }
            gregs[libc::REG_RIP as usize] = exchange.state.rip as i64;
            gregs[libc::REG_EFL as usize] = exchange.state.rflags as i64;
            area.set(&exchange.state.fx.to_bytes(), &exchange.state.ymm_high);
            return;
        }
        let outcome = &mut exchange.outcome;
        for (value, place) in outcome.state.gpr.iter_mut().zip(REGISTERS) {
            *value = gregs[place as usize] as u64;
        }
        outcome.state.rip = gregs[libc::REG_RIP as usize] as u64;
        outcome.state.rflags = gregs[libc::REG_EFL as usize] as u64;
        outcome.state.fx = area.fx();
        outcome.state.ymm_high = area.high();
        outcome.vector = if signal == libc::SIGVTALRM { LATE } else { gregs[libc::REG_TRAPNO as usize] as u8 };
        outcome.error = gregs[libc::REG_ERR as usize] as u64;
        outcome.address = gregs[libc::REG_CR2 as usize] as u64;
        // From here on a late timer finds nothing running.
        exchange.running = false;
        *gregs = exchange.saved.uc_mcontext.gregs;
        area.set(&exchange.saved_fx, &exchange.saved_high);
    }
}
