//! Runs cases on BPE/U: in the interpreter, with everything translated before its first execution, or several times over
//! with translations that come, stop and go at random ([`Processor::stress`]).
//!
//! A case is: length of the code (u32), the code, the seed of memory's contents (u64), the state, and the number of writes
//! (u32) with address (u64), length (u32) and bytes each. A state is the 16 registers, RIP and flags (u64 each), the 512
//! bytes of `FXSAVE`, and the upper halves of YMM0 to YMM15. An answer is a state, the vector, error code and address (u64
//! each), and a sum of memory (u64).
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use aurora_bpe::{Engine, Environment, Processor};
use aurora_machine::{
    Exception, ExtendedState, FxState, HostMemory, PAGE_SIZE, PageFault, PageFlags, PageTable, PhysMemory, Trap,
    UserContext, VirtAddr, VirtRange,
};
use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

#[path = "../../tests/differential/layout.rs"]
mod layout;
#[path = "../../tests/differential/random.rs"]
#[allow(dead_code)]
mod random;

use layout::{CODE, DATA, ENTRY, GS_BASE, PAGES};
use random::Random;

#[global_allocator]
static HEAP: WasmDynamicTalc = new_wasm_dynamic_allocator();

#[link(wasm_import_module = "host")]
unsafe extern "C" {
    safe fn grow_table(count: u32) -> i32;
    fn install(at: *const u8, len: usize) -> i32;
    fn validate(at: *const u8, len: usize) -> i32;
    safe fn clear_slot(slot: u32);
    fn print_line(at: *const u8, len: usize);
}

struct Host;

impl Engine for Host {
    fn grow(&mut self, count: u32) -> Option<u32> {
        u32::try_from(grow_table(count)).ok()
    }
    fn install(&mut self, module: &[u8]) -> bool {
        // SAFETY: the host reads these bytes and instantiates what the translator made.
        unsafe { install(module.as_ptr(), module.len()) != 0 }
    }
    fn validate(&mut self, module: &[u8]) -> bool {
        // SAFETY: the host reads these bytes.
        unsafe { validate(module.as_ptr(), module.len()) != 0 }
    }
    fn clear(&mut self, slot: u32) {
        clear_slot(slot);
    }
}

struct Silence;

impl Environment for Silence {
    fn tsc(&mut self, _: u64) -> u64 {
        0
    }
    fn random(&mut self) -> u64 {
        0
    }
}

/// Instructions a case may take.
const FUEL: u64 = 100_000;
/// How often a case runs under stress: parts of it are then translated at first, and more later on.
const ROUNDS: usize = 12;

/// How cases are run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Interpreted,
    Translated,
    Stressed,
    /// As translated, with the interpreter doing it again.
    Checked,
}

struct Guest {
    how: How,
    memory: Arc<PhysMemory>,
    table: PageTable,
    processor: Processor,
}

impl Guest {
    fn new(how: How) -> Self {
        let memory = HostMemory::allocate(4 << 20).expect("memory").into_phys();
        let table = PageTable::new(&memory).expect("a table");
        let mut processor = Processor::new(memory.clone());
        if how != How::Interpreted {
            processor.translate_for(Box::new(Host));
            processor.translate_eagerly(how != How::Stressed);
            processor.check_translations(how == How::Checked);
        }
        let mut guest = Self { how, memory, table, processor };
        guest.map(CODE, PageFlags::empty());
        guest.write(CODE, &[0xcc; PAGE_SIZE as usize]);
        for (page, writable) in PAGES {
            let write = if writable { PageFlags::WRITE } else { PageFlags::empty() };
            guest.map(DATA + page * PAGE_SIZE, write | PageFlags::NO_EXECUTE);
        }
        guest
    }

    fn map(&mut self, addr: u64, flags: PageFlags) {
        let frame = self.memory.allocate().expect("a frame");
        self.table.cursor(VirtRange::user()).map(VirtAddr(addr), frame, flags).expect("a table");
    }

    /// Writes as a kernel would, whatever the protection.
    fn write(&mut self, addr: u64, bytes: &[u8]) {
        let frame = self.table.query(VirtAddr(addr)).expect("mapped").frame;
        frame.write((addr % PAGE_SIZE) as usize, bytes);
    }

    fn run(&mut self, case: &mut Reader<'_>, out: &mut Vec<u8>) {
        let case = Case::read(case);
        self.write(CODE + ENTRY, &case.code);
        let rounds = if self.how == How::Stressed { ROUNDS } else { 1 };
        if self.how == How::Stressed {
            self.processor.stress(case.memory);
        }
        let mut answer = Vec::new();
        for round in 0..rounds {
            let mut this = Vec::new();
            self.round(&case, &mut this);
            let other = round > 0 && this != answer;
            answer = this;
            // One that differs from the others is wrong.
            if other {
                break;
            }
        }
        out.extend(answer);
        self.write(CODE + ENTRY, &vec![0xcc; case.code.len()]);
    }

    fn round(&mut self, case: &Case, out: &mut Vec<u8>) {
        let mut r = Random(case.memory);
        for (page, _) in PAGES {
            let bytes: Vec<u8> = (0..PAGE_SIZE / 8).flat_map(|_| r.integer().to_le_bytes()).collect();
            self.write(DATA + page * PAGE_SIZE, &bytes);
        }
        for (addr, bytes) in &case.data {
            self.write(*addr, bytes);
        }
        let (mut cpu, mut fuel) = (case.cpu.clone(), FUEL);
        let trap = loop {
            let trap = self.processor.run(&mut cpu, self.table.root(), &mut fuel, &mut Silence);
            if trap != Trap::Interrupted || fuel == 0 {
                break trap;
            }
        };
        self.answer(&cpu, trap, out);
    }

    fn answer(&mut self, cpu: &UserContext, trap: Trap, out: &mut Vec<u8>) {
        let mut rip = cpu.rip;
        let (vector, error, address) = match trap {
            Trap::PageFault(fault @ PageFault { addr, protection, .. }) => {
                let protection = protection || !addr.is_user();
                (14, PageFault { protection, ..fault }.error_code(), addr.0)
            }
            Trap::Exception(Exception::Breakpoint) => {
                rip -= 1;
                (3, 0, 0)
            }
            Trap::Exception(exception @ Exception::GeneralProtection(code)) => (exception.vector(), code.into(), 0),
            Trap::Exception(exception) => (exception.vector(), 0, 0),
            _ => (255, 0, 0),
        };
        let words = cpu.gpr.iter().copied().chain([rip, cpu.rflags]);
        out.extend(words.flat_map(u64::to_le_bytes));
        out.extend(cpu.fx.to_bytes());
        let present = cpu.extended.header[0] & ExtendedState::AVX != 0;
        let high = if present { cpu.extended.ymm_high } else { [0; 16] };
        out.extend(high.into_iter().flat_map(u128::to_le_bytes));
        let mut sum = 0xcbf2_9ce4_8422_2325u64;
        for (page, _) in PAGES {
            let mut bytes = [0; PAGE_SIZE as usize];
            self.table.query(VirtAddr(DATA + page * PAGE_SIZE)).expect("mapped").frame.read(0, &mut bytes);
            for word in bytes.chunks_exact(8) {
                let word = word.iter().rev().fold(0, |all, &b| all << 8 | u64::from(b));
                sum = (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
            }
        }
        out.extend([u64::from(vector), error, address, sum].into_iter().flat_map(u64::to_le_bytes));
    }
}

struct Case {
    code: Vec<u8>,
    /// The seed of memory's contents.
    memory: u64,
    cpu: UserContext,
    /// What is written over that.
    data: Vec<(u64, Vec<u8>)>,
}

impl Case {
    fn read(from: &mut Reader<'_>) -> Self {
        let length = from.u32() as usize;
        let code = from.bytes(length).to_vec();
        let memory = from.u64();
        let mut cpu = UserContext::new(0, 0);
        cpu.gpr.fill_with(|| from.u64());
        cpu.rip = from.u64();
        cpu.rflags = from.u64();
        cpu.fx = FxState::from_bytes(from.bytes(512).first_chunk().expect("512 bytes"));
        cpu.extended.ymm_high.fill_with(|| u128::from_le_bytes(*from.bytes(16).first_chunk().expect("16 bytes")));
        if cpu.extended.ymm_high != [0; 16] {
            cpu.extended.header[0] = ExtendedState::AVX;
        }
        cpu.gs_base = GS_BASE;
        let data = (0..from.u32()).map(|_| {
            let (addr, length) = (from.u64(), from.u32() as usize);
            (addr, from.bytes(length).to_vec())
        });
        let data = data.collect();
        Self { code, memory, cpu, data }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (first, rest) = self.rest.split_at(count);
        self.rest = rest;
        first
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(*self.bytes(4).first_chunk().expect("four bytes"))
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(*self.bytes(8).first_chunk().expect("eight bytes"))
    }
}

/// Room for cases.
#[unsafe(no_mangle)]
pub extern "C" fn allocate(len: usize) -> *mut u8 {
    Box::leak(vec![0u8; len].into_boxed_slice()).as_mut_ptr()
}

/// Runs the cases in a buffer of [`allocate`]: 0 interpreted, 1 translated, 2 under stress,
/// 3 checked. Returns where the answers are: their length, as a `u32`, and they.
///
/// # Safety
/// The buffer must be one of [`allocate`] with that length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn run(at: *const u8, len: usize, how: u32) -> *const u8 {
    // SAFETY: the caller's.
    let cases = unsafe { core::slice::from_raw_parts(at, len) };
    let mut out = vec![0; 4];
    let mut guest = Guest::new(match how {
        0 => How::Interpreted,
        1 => How::Translated,
        2 => How::Stressed,
        _ => How::Checked,
    });
    let mut reader = Reader { rest: cases };
    while !reader.rest.is_empty() {
        guest.run(&mut reader, &mut out);
    }
    let length = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&length.to_le_bytes());
    out.leak().as_ptr()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let line = alloc::format!("{info}");
    // SAFETY: the host only reads these bytes.
    unsafe { print_line(line.as_ptr(), line.len()) };
    core::arch::wasm32::unreachable()
}
