//! A guest to test with: memory, an address space, a processor.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::sync::Arc;

use aurora_bpe::{Environment, Processor};
use aurora_machine::{
    Frame, HostMemory, PAGE_SIZE, PageFlags, PageTable, PhysMemory, Trap, UserContext, VirtAddr, VirtRange,
};

pub const RW: PageFlags = PageFlags::WRITE.union(PageFlags::NO_EXECUTE);
pub const RX: PageFlags = PageFlags::empty();
pub const RWX: PageFlags = PageFlags::WRITE;
pub const R: PageFlags = PageFlags::NO_EXECUTE;

/// Counts, so that tests repeat.
pub struct Clockwork(pub u64);

impl Environment for Clockwork {
    fn tsc(&mut self, _: u64) -> u64 {
        self.0 += 1;
        self.0
    }
    fn random(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        self.0
    }
}

pub struct Guest {
    pub memory: Arc<PhysMemory>,
    pub table: PageTable,
    pub processor: Processor,
    pub cpu: UserContext,
    pub env: Clockwork,
}

impl Guest {
    pub fn new(mib: u64) -> Self {
        let memory = HostMemory::allocate(mib << 20).expect("host memory").into_phys();
        let table = PageTable::new(&memory).expect("a table");
        let processor = Processor::new(memory.clone());
        Self { memory, table, processor, cpu: UserContext::new(0, 0), env: Clockwork(0) }
    }

    /// Maps fresh pages, the first bytes of which are `bytes`.
    pub fn map(&mut self, addr: u64, len: u64, bytes: &[u8], flags: PageFlags) {
        let pages = len.div_ceil(PAGE_SIZE);
        for page in 0..pages {
            let frame = self.memory.allocate().expect("a frame");
            let from = (page * PAGE_SIZE) as usize;
            if from < bytes.len() {
                frame.write(0, &bytes[from..]);
            }
            self.map_frame(addr + page * PAGE_SIZE, frame, flags);
        }
    }

    pub fn map_frame(&mut self, addr: u64, frame: Frame, flags: PageFlags) {
        self.table.cursor(VirtRange::user()).map(VirtAddr(addr), frame, flags).expect("a table");
    }

    pub fn unmap(&mut self, addr: u64) {
        self.table.cursor(VirtRange::user()).unmap(VirtAddr(addr));
        self.processor.invalidate(self.table.root(), VirtRange::page_of(VirtAddr(addr)));
    }

    pub fn read(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.table.copy_in(VirtAddr(addr), &mut out).expect("mapped");
        out
    }

    pub fn read_u64(&self, addr: u64) -> u64 {
        u64::from_le_bytes(self.read(addr, 8).try_into().expect("eight bytes"))
    }

    /// Writes as the kernel does.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) {
        self.table.copy_out(VirtAddr(addr), bytes).expect("mapped");
    }

    pub fn run(&mut self, fuel: &mut u64) -> Trap {
        let root = self.table.root();
        self.processor.run(&mut self.cpu, root, fuel, &mut self.env)
    }

    /// Runs with enough fuel.
    pub fn go(&mut self) -> Trap {
        self.run(&mut 1_000_000)
    }
}
