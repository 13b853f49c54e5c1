//! Where things go in an address space: Linux's layout for x86-64, with its randomness.

use aurora_machine::{PAGE_SIZE, USER_END, VirtAddr, VirtRange};

/// Lowest address a program may map: Linux's `vm.mmap_min_addr`.
pub const MMAP_MIN: VirtAddr = VirtAddr(0x1_0000);

/// Where a program's parts are.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// mmap(2) looks for room below this, downwards.
    pub mmap_top: VirtAddr,
    /// Start of the heap.
    pub brk_start: VirtAddr,
    /// How far a stack may grow, in bytes.
    pub stack_limit: u64,
    /// Highest address of the stack.
    pub stack_top: VirtAddr,
    /// Arguments, for `/proc/PID/cmdline`.
    pub arguments: Option<VirtRange>,
    /// Environment, for `/proc/PID/environ`.
    pub environment: Option<VirtRange>,
    /// The auxiliary vector, for `/proc/PID/auxv`.
    pub auxiliary: Option<VirtRange>,
    /// Code, for `/proc/PID/stat`.
    pub code: Option<VirtRange>,
}

/// Random page-aligned offset below `2^(12 + bits)`.
fn random_pages(random: u64, bits: u32) -> u64 {
    (random & ((1 << bits) - 1)) * PAGE_SIZE
}

impl Layout {
    /// A layout for a new program whose stack may grow to `stack_limit` bytes. `random` is fresh each time.
    pub fn new(random: [u64; 2], stack_limit: u64) -> Self {
        let [for_stack, for_mmap] = random;
        let stack_top = USER_END - random_pages(for_stack, 22);
        // Room for the stack to grow, within Linux's bounds, and a gap.
        let gap = stack_limit.clamp(128 << 20, USER_END.0 / 6 * 5) + (16 << 30) + (1 << 20);
        let mmap_top = (USER_END - gap.min(USER_END.0 / 6 * 5)) - random_pages(for_mmap, 28);
        Self { mmap_top: mmap_top.page_floor(), stack_limit, stack_top, ..Self::default() }
    }
}

/// Where position-independent executables start before their random offset: two thirds of user space, as on Linux.
pub fn pie_base(random: u64) -> VirtAddr {
    VirtAddr((USER_END.0 / 3 * 2) & !(PAGE_SIZE - 1)) + random_pages(random, 28)
}

/// Gap between the end of an executable's data and its heap.
pub fn brk_gap(random: u64) -> u64 {
    random_pages(random, 13)
}

/// Where the vDSO goes if there is room: above the stack, under the same last-level table if it can.
pub fn vdso_hint(stack_top: VirtAddr, random: u64) -> VirtAddr {
    const TABLE_SPAN: u64 = 512 * PAGE_SIZE;
    let start = stack_top.page_ceil().unwrap_or(USER_END);
    let room = (TABLE_SPAN - start.0 % TABLE_SPAN) / PAGE_SIZE;
    start + random % room * PAGE_SIZE
}
