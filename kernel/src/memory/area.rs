//! One mapping of an address space: a range, what may be done there, and what is behind it.

use alloc::sync::Arc;

use aurora_machine::{Frame, PAGE_SIZE, PageFlags, VirtAddr, VirtRange};

use crate::memory::PageCache;
use crate::memory::account::Charge;
use crate::vfs::OpenFile;

bitflags::bitflags! {
    /// What a program may do with a mapping: the `PROT_*` bits of mmap(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Prot: u32 {
        /// Read.
        const READ = 1;
        /// Write.
        const WRITE = 2;
        /// Fetch instructions.
        const EXEC = 4;
    }
}

bitflags::bitflags! {
    /// What mlock(2) and madvise(2) said of a mapping.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Traits: u8 {
        /// Counts against the limit of locked memory.
        const LOCKED = 1;
        /// A child does not have it.
        const DONT_FORK = 2;
        /// A child has zeros in its place.
        const WIPE_ON_FORK = 4;
        /// Is not for core files.
        const DONT_DUMP = 8;
        /// Huge pages are wanted, should there ever be any.
        const HUGE = 16;
        /// Huge pages are not wanted.
        const NO_HUGE = 32;
    }
}

/// What is behind a mapping.
#[derive(Clone)]
pub enum Backing {
    /// Zeros until written.
    Anonymous,
    /// Contents of a page cache.
    Cache {
        /// Whose pages.
        cache: Arc<PageCache>,
        /// Index in the cache of the page at the area's start.
        first: u64,
        /// The file mapped, for its name and its mode; none for shared anonymous memory.
        file: Option<Arc<OpenFile>>,
    },
    /// Pages of the kernel's own, the same in every program.
    Kernel {
        /// All of them.
        frames: Arc<[Frame]>,
        /// Index of the page at the area's start.
        first: u64,
    },
}

/// What `/proc/PID/maps` calls an area without a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Nothing.
    None,
    /// `[heap]`.
    Heap,
    /// `[stack]`.
    Stack,
    /// `[vdso]`.
    Vdso,
    /// `[vvar]`: what the vDSO computes by. The program can only read it, and a tracer not even that.
    Vvar,
}

/// A mapping.
pub struct Area {
    /// Where.
    pub range: VirtRange,
    /// What the program may do.
    pub prot: Prot,
    /// Changes are seen by everyone who maps it.
    pub shared: bool,
    /// Grows down on a fault below it.
    pub grows_down: bool,
    /// What is behind it.
    pub backing: Backing,
    /// For `/proc/PID/maps`.
    pub label: Label,
    /// What was said of it.
    pub traits: Traits,
    /// Kernel heap it takes.
    pub charge: Charge,
}

/// Kernel heap an area is charged.
pub const AREA_COST: u64 = 256;

impl Area {
    /// Entry flags for a page that may be written at once.
    pub fn flags(&self, write: bool) -> PageFlags {
        let mut flags = PageFlags::empty();
        if !self.prot.is_empty() {
            flags |= PageFlags::USER;
        }
        if write && self.prot.contains(Prot::WRITE) {
            flags |= PageFlags::WRITE;
        }
        if !self.prot.contains(Prot::EXEC) {
            flags |= PageFlags::NO_EXECUTE;
        }
        flags
    }

    /// What is behind the part that starts at `start`.
    pub fn backing_at(&self, start: VirtAddr) -> Backing {
        let pages = start.0.saturating_sub(self.range.start.0) / PAGE_SIZE;
        match &self.backing {
            Backing::Anonymous => Backing::Anonymous,
            Backing::Cache { cache, first, file } => {
                Backing::Cache { cache: cache.clone(), first: first + pages, file: file.clone() }
            }
            Backing::Kernel { frames, first } => Backing::Kernel { frames: frames.clone(), first: first + pages },
        }
    }

    /// Same properties over another part of it, charged anew.
    pub fn part(&self, range: VirtRange, charge: Charge) -> Self {
        Self {
            range,
            prot: self.prot,
            shared: self.shared,
            grows_down: self.grows_down,
            backing: self.backing_at(range.start),
            label: self.label,
            traits: self.traits,
            charge,
        }
    }

    /// Whether `next`, which starts where this ends, could be one area with it.
    pub fn continues_in(&self, next: &Self) -> bool {
        self.range.end == next.range.start
            && self.prot == next.prot
            && self.shared == next.shared
            && self.grows_down == next.grows_down
            && self.label == next.label
            && self.traits == next.traits
            && match (self.backing_at(next.range.start), &next.backing) {
                (Backing::Anonymous, Backing::Anonymous) => true,
                (Backing::Cache { cache: a, first: i, .. }, Backing::Cache { cache: b, first: j, .. }) => {
                    Arc::ptr_eq(&a, b) && i == *j
                }
                _ => false,
            }
    }

    /// Private and writable: what counts as data of the process.
    pub fn is_data(&self) -> bool {
        !self.shared && self.prot.contains(Prot::WRITE)
    }
}
