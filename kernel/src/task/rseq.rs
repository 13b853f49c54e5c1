//! Restartable sequences, rseq(2): a thread registers 32 bytes where the kernel keeps the number of its processor, and where
//! the thread says which stretch of instructions it is in. A stretch that is interrupted, by another thread's turn or by a
//! signal, does not go on: the thread finds itself where the stretch says.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use aurora_abi::Errno;
use aurora_machine::{USER_END, UserContext, VirtAddr};

use crate::memory::AddressSpace;
use crate::task::Thread;

/// Bytes of a registration, and what its address is a multiple of.
pub const SIZE: u32 = 32;
/// What `cpu_id` is while nobody keeps it.
const UNINITIALIZED: u32 = u32::MAX;
/// Where the pointer to the stretch is in it.
const SECTION: u64 = 8;
const FLAGS: u64 = 16;
/// The processor there is.
const PROCESSOR: u32 = 0;

aurora_abi::abi_struct! {
    /// `struct rseq_cs`: a stretch of instructions.
    pub struct Section(32) {
        pub version: u32,
        pub flags: u32,
        pub start: u64,
        pub length: u64,
        pub abort: u64,
    }
}

/// A thread's registration. Only the thread itself changes it.
#[derive(Default)]
pub struct Rseq {
    /// Where it is; 0 for none.
    at: AtomicU64,
    /// What stands before every place a stretch goes on at: so nobody is sent just anywhere.
    signature: AtomicU32,
    /// The processor's number is yet to be written.
    fresh: AtomicBool,
    /// How often the scheduler had switched tasks when the thread went back to its program last.
    switches: AtomicU64,
}

impl Rseq {
    /// Registers an address, or answers for the one there is.
    pub fn register(&self, at: VirtAddr, len: u32, signature: u32) -> Result<(), Errno> {
        let (old, known) = (self.at.load(Ordering::Relaxed), self.signature.load(Ordering::Relaxed));
        if old != 0 {
            return Err(match () {
                () if old != at.0 || len != SIZE => Errno::EINVAL,
                () if known != signature => Errno::EPERM,
                () => Errno::EBUSY,
            });
        }
        if len != SIZE || !at.0.is_multiple_of(u64::from(SIZE)) || at.0 == 0 {
            return Err(Errno::EINVAL);
        }
        if at >= USER_END {
            return Err(Errno::EFAULT);
        }
        self.signature.store(signature, Ordering::Relaxed);
        self.fresh.store(true, Ordering::Relaxed);
        self.switches.store(u64::MAX, Ordering::Relaxed);
        self.at.store(at.0, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the registration back.
    pub async fn unregister(&self, space: &AddressSpace, at: VirtAddr, len: u32, signature: u32) -> Result<(), Errno> {
        if at.0 == 0 || self.at.load(Ordering::Relaxed) != at.0 || len != SIZE {
            return Err(Errno::EINVAL);
        }
        if self.signature.load(Ordering::Relaxed) != signature {
            return Err(Errno::EPERM);
        }
        space.store(at, &[0, UNINITIALIZED]).await?;
        self.forget();
        Ok(())
    }

    /// There is none any more: the program is another.
    pub fn forget(&self) {
        self.at.store(0, Ordering::Relaxed);
    }

    /// The same registration for a child with a copy of the memory.
    pub fn copy_from(&self, parent: &Self) {
        self.at.store(parent.at.load(Ordering::Relaxed), Ordering::Relaxed);
        self.signature.store(parent.signature.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether the thread may have been interrupted since it went back to its program last; asked before it does, with how often
    /// the scheduler has switched tasks.
    pub fn was_away(&self, switches: u64) -> bool {
        if self.at.load(Ordering::Relaxed) == 0 || self.switches.load(Ordering::Relaxed) == switches {
            return false;
        }
        self.switches.store(switches, Ordering::Relaxed);
        true
    }
}

/// A thread that was interrupted goes back to its program, or into a handler: keeps its registration true, and takes it out
/// of the stretch it is in. An error is a program that does not keep to the rules, which ends by SIGSEGV.
pub async fn interrupt(thread: &Thread, cpu: &mut UserContext) -> Result<(), Errno> {
    let at = VirtAddr(thread.rseq.at.load(Ordering::Relaxed));
    if at.0 == 0 {
        return Ok(());
    }
    let space = thread.space()?;
    if thread.rseq.fresh.swap(false, Ordering::Relaxed) {
        space.store(at, &[PROCESSOR, PROCESSOR]).await?;
    }
    let section: u64 = space.load(at + SECTION).await?;
    if section == 0 {
        return Ok(());
    }
    let go_to = destination(thread, &space, at, VirtAddr(section), cpu.rip).await?;
    space.store(at + SECTION, &0u64).await?;
    if let Some(abort) = go_to {
        cpu.rip = abort;
    }
    Ok(())
}

/// Where a thread at `rip` goes on that says it is in a section; nowhere else if it has left that.
async fn destination(
    thread: &Thread,
    space: &AddressSpace,
    at: VirtAddr,
    section: VirtAddr,
    rip: u64,
) -> Result<Option<u64>, Errno> {
    if !section.is_user() {
        return Err(Errno::EINVAL);
    }
    let Section { version, flags, start, length, abort } = space.load(section).await?;
    let end = start.checked_add(length).ok_or(Errno::EINVAL)?;
    let is_inside = |address: u64| address.wrapping_sub(start) < length;
    if version != 0 || ![start, end, abort].iter().all(|&place| VirtAddr(place).is_user()) || is_inside(abort) {
        return Err(Errno::EINVAL);
    }
    let signature: u32 = space.load(VirtAddr(abort.wrapping_sub(4))).await?;
    if signature != thread.rseq.signature.load(Ordering::Relaxed) {
        return Err(Errno::EINVAL);
    }
    if !is_inside(rip) {
        return Ok(None);
    }
    let own_flags: u32 = space.load(at + FLAGS).await?;
    if flags | own_flags != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Some(abort))
}
