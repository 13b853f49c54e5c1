//! The kernel's heap: one contiguous run of RAM, set aside at boot, never larger.

use aurora_machine::PhysAddr;
use talc::TalcLock;
use talc::source::Manual;

use crate::layout::direct;

/// The allocator. The kernel runs with interrupts off and handlers never allocate, so the lock is never contended.
#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

/// Gives the run to the allocator.
///
/// # Safety
/// The run is mapped at the direct map, and nobody else uses it from now on.
pub(crate) unsafe fn init(start: PhysAddr, bytes: u64) {
    // SAFETY: the caller's promise.
    let claimed = unsafe { HEAP.lock().claim(direct(start), bytes as usize) };
    assert!(claimed.is_some(), "no heap");
}
