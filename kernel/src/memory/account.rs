//! What memory may be taken, asked before it is taken.
//!
//! Two budgets: frames, of which a reserve is kept for the kernel's own page tables; and the kernel heap, where
//! everything a program can make more of is charged. Rust's collections abort on an empty heap, so it never gets there.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aurora_abi::Errno;
use aurora_machine::{Frame, Machine, PhysMemory};

use crate::block::Misses;
use crate::memory::ahead::Ahead;
use crate::sync::{Mutex, WaitQueue};

/// The budgets of a system.
pub struct MemoryControl {
    memory: Arc<PhysMemory>,
    /// Frames programs cannot have.
    reserve: u64,
    heap_limit: u64,
    heap_used: AtomicU64,
    /// The page every untouched anonymous page shows.
    zero: Frame,
    /// Rung when a program needs a frame and there is none.
    shortage: WaitQueue,
    shortages: AtomicU64,
    /// Nobody could be killed in the last one.
    no_victim: AtomicBool,
    /// Frames in page caches.
    cached: AtomicU64,
    /// Pages that differ from what is on a disk.
    dirty: AtomicU64,
    misses: Misses,
    ahead: Ahead,
    reclaims: Mutex<Vec<Weak<dyn Reclaim>>>,
    /// Open files.
    files: AtomicU64,
}

/// Somebody with memory it can do without.
pub trait Reclaim: Send + Sync {
    /// Gives back about so many pages if it can; returns how many it gave. Called wherever a page is wanted, so it may
    /// take no lock somebody has who wants one.
    fn reclaim(&self, pages: u64) -> u64;
}

/// Pages taken back at once.
const RECLAIM: u64 = 256;

impl MemoryControl {
    /// Budgets for all of `machine`'s memory.
    pub fn new(machine: &dyn Machine) -> Result<Arc<Self>, Errno> {
        let memory = machine.memory().clone();
        Ok(Arc::new(Self {
            reserve: (memory.total_frames() / 64).clamp(64, 4096),
            heap_limit: machine.heap_limit() / 4 * 3,
            heap_used: AtomicU64::new(0),
            zero: memory.allocate().map_err(|_| Errno::ENOMEM)?,
            memory,
            shortage: WaitQueue::new(),
            shortages: AtomicU64::new(0),
            no_victim: AtomicBool::new(false),
            cached: AtomicU64::new(0),
            dirty: AtomicU64::new(0),
            misses: Misses::default(),
            ahead: Ahead::default(),
            reclaims: Mutex::default(),
            files: AtomicU64::new(0),
        }))
    }

    /// What was not in memory when somebody wanted it.
    pub fn misses(&self) -> &Misses {
        &self.misses
    }

    /// What is to be read in the background.
    pub fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// All physical memory.
    pub fn phys(&self) -> &Arc<PhysMemory> {
        &self.memory
    }

    /// The shared page of zeros.
    pub fn zero_frame(&self) -> &Frame {
        &self.zero
    }

    /// Frames programs can still have.
    pub fn available_frames(&self) -> u64 {
        self.memory.free_frames().saturating_sub(self.reserve)
    }

    /// A frame of zeros for a program; `ENOMEM` when only the reserve is left.
    pub fn frame(&self) -> Result<Frame, Errno> {
        self.check()?;
        self.memory.allocate().map_err(|_| Errno::ENOMEM)
    }

    /// A copy of `source` for a program.
    pub fn frame_copy(&self, source: &Frame) -> Result<Frame, Errno> {
        self.check()?;
        self.memory.allocate_copy(source).map_err(|_| Errno::ENOMEM)
    }

    fn check(&self) -> Result<(), Errno> {
        if self.available_frames() > 0 {
            return Ok(());
        }
        let reclaims: Vec<_> = self.reclaims.lock().iter().filter_map(Weak::upgrade).collect();
        let given: u64 = reclaims.iter().map(|r| r.reclaim(RECLAIM)).sum();
        if given == 0 && self.available_frames() == 0 { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Asks `who` for memory when there is none.
    pub fn add_reclaim(&self, who: Weak<dyn Reclaim>) {
        let mut reclaims = self.reclaims.lock();
        reclaims.retain(|r| r.strong_count() > 0);
        reclaims.push(who);
    }

    /// Pages that differ from what is on a disk.
    pub fn dirty_frames(&self) -> u64 {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Whether so much is dirty that whoever makes more has to wait: a fifth of all, as on Linux.
    pub fn is_too_dirty(&self) -> bool {
        self.dirty_frames() > self.memory.total_frames() / 5
    }

    /// Counts pages that became dirty.
    pub(super) fn count_dirty(&self, more: u64) {
        self.dirty.fetch_add(more, Ordering::Relaxed);
    }

    /// Counts pages that are clean or gone.
    pub(super) fn count_clean(&self, less: u64) {
        self.dirty.fetch_sub(less, Ordering::Relaxed);
    }

    /// Charges `bytes` of kernel heap for as long as the result lives.
    pub fn charge(self: &Arc<Self>, bytes: u64) -> Result<Charge, Errno> {
        let grow = |used: u64| used.checked_add(bytes).filter(|&total| total <= self.heap_limit);
        match self.heap_used.fetch_update(Ordering::AcqRel, Ordering::Acquire, grow) {
            Ok(_) => Ok(Charge { control: self.clone(), bytes }),
            Err(_) => Err(Errno::ENOMEM),
        }
    }

    /// Kernel heap charged now, in bytes.
    pub fn heap_used(&self) -> u64 {
        self.heap_used.load(Ordering::Relaxed)
    }

    /// Frames in page caches.
    pub fn cached_frames(&self) -> u64 {
        self.cached.load(Ordering::Relaxed)
    }

    /// Counts frames that came into page caches.
    pub(super) fn count_cached(&self, more: u64) {
        self.cached.fetch_add(more, Ordering::Relaxed);
    }

    /// Counts frames that left page caches.
    pub(super) fn uncount_cached(&self, less: u64) {
        self.cached.fetch_sub(less, Ordering::Relaxed);
    }

    /// Open files: descriptions, not descriptors.
    pub fn open_files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Asks for somebody to be killed: a program needs a frame.
    pub fn report_shortage(&self) {
        self.shortages.fetch_add(1, Ordering::AcqRel);
        self.shortage.wake_all();
    }

    /// Notes that nobody could be killed in a shortage.
    pub fn note_no_victim(&self) {
        self.no_victim.store(true, Ordering::Release);
    }

    /// Whether nobody could be killed since this was last asked.
    pub fn take_no_victim(&self) -> bool {
        self.no_victim.swap(false, Ordering::AcqRel)
    }

    /// Waits for the next shortage.
    pub async fn wait_shortage(&self) {
        self.shortage.wait(|| (self.shortages.swap(0, Ordering::AcqRel) > 0).then_some(())).await;
    }
}

/// Kernel heap taken; given back when dropped.
pub struct Charge {
    control: Arc<MemoryControl>,
    bytes: u64,
}

/// Kernel heap an open file takes, and the file in their count.
pub struct FileCharge(Charge);

impl From<Charge> for FileCharge {
    fn from(charge: Charge) -> Self {
        charge.control.files.fetch_add(1, Ordering::Relaxed);
        Self(charge)
    }
}

impl Drop for FileCharge {
    fn drop(&mut self) {
        self.0.control.files.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.control.heap_used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
