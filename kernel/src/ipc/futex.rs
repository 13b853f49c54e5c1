//! Futexes, futex(2): waiting on a word of memory.
//!
//! A word is named by its physical address when its frame can be shared and by space and address otherwise; here always
//! by space and address for private futexes, by physical address for shared ones.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Poll, Waker};

use aurora_abi::Errno;
use aurora_machine::{PhysAddr, SpaceId, VirtAddr};

use crate::memory::AddressSpace;
use crate::sync::Mutex;
use crate::task::Thread;

/// What names a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Of one address space.
    Private(SpaceId, VirtAddr),
    /// Of whoever maps the frame.
    Shared(PhysAddr),
}

/// All waiters of a system.
#[derive(Default)]
pub struct FutexTable {
    inner: Mutex<BTreeMap<Key, VecDeque<Waiter>>>,
    next: AtomicU64,
}

struct Waiter {
    id: u64,
    bits: u32,
    /// Set when woken; then the waiter is in no queue.
    state: Arc<WaiterState>,
}

#[derive(Default)]
struct WaiterState {
    inner: Mutex<WaiterInner>,
}

#[derive(Default)]
struct WaiterInner {
    woken: bool,
    waker: Option<Waker>,
    /// Where it waits now: requeueing moves it.
    key: Option<Key>,
}

/// All bits: what plain wait and wake use.
pub const ALL_BITS: u32 = u32::MAX;

impl FutexTable {
    /// Wakes up to `count` waiters that share a bit.
    pub fn wake(&self, key: Key, count: u64, bits: u32) -> u64 {
        let mut inner = self.inner.lock();
        let Some(queue) = inner.get_mut(&key) else { return 0 };
        let mut woken = 0;
        let mut kept = VecDeque::new();
        while let Some(waiter) = queue.pop_front() {
            if woken < count && waiter.bits & bits != 0 {
                waiter.wake();
                woken += 1;
            } else {
                kept.push_back(waiter);
            }
        }
        if kept.is_empty() {
            inner.remove(&key);
        } else {
            *queue = kept;
        }
        woken
    }

    /// Wakes up to `wake` waiters of `from` and moves up to `requeue` others to `to`. Returns how many of each.
    pub fn requeue(&self, from: Key, to: Key, wake: u64, requeue: u64) -> (u64, u64) {
        let woken = self.wake(from, wake, ALL_BITS);
        let mut inner = self.inner.lock();
        let Some(mut queue) = inner.remove(&from) else { return (woken, 0) };
        let mut moved = 0;
        while moved < requeue
            && let Some(waiter) = queue.pop_front()
        {
            waiter.state.inner.lock().key = Some(to);
            inner.entry(to).or_default().push_back(waiter);
            moved += 1;
        }
        if !queue.is_empty() {
            // In front of any who came to `from` meanwhile: the lock was held, so none did, unless `from` is `to`.
            let rest = inner.entry(from).or_default();
            for waiter in queue.into_iter().rev() {
                rest.push_front(waiter);
            }
        }
        (woken, moved)
    }

    fn enqueue(&self, key: Key, bits: u32) -> Place<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(WaiterState::default());
        state.inner.lock().key = Some(key);
        self.inner.lock().entry(key).or_default().push_back(Waiter { id, bits, state: state.clone() });
        Place { table: self, id, state }
    }
}

impl Waiter {
    fn wake(self) {
        let mut inner = self.state.inner.lock();
        inner.woken = true;
        inner.key = None;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A place in a queue, left when dropped.
struct Place<'a> {
    table: &'a FutexTable,
    id: u64,
    state: Arc<WaiterState>,
}

impl Place<'_> {
    fn is_woken(&self) -> bool {
        self.state.inner.lock().woken
    }

    async fn woken(&self) {
        core::future::poll_fn(|cx| {
            let mut inner = self.state.inner.lock();
            if inner.woken {
                return Poll::Ready(());
            }
            inner.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queues = self.table.inner.lock();
        let key = self.state.inner.lock().key;
        let Some(key) = key else { return };
        if let Some(queue) = queues.get_mut(&key) {
            queue.retain(|w| w.id != self.id);
            if queue.is_empty() {
                queues.remove(&key);
            }
        }
    }
}

/// The name of the word at `addr`.
pub async fn key_of(space: &AddressSpace, addr: VirtAddr, private: bool) -> Result<Key, Errno> {
    if !addr.0.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if private {
        return if addr.is_user() { Ok(Key::Private(space.root().id, addr)) } else { Err(Errno::EFAULT) };
    }
    // A shared key must survive the word's first write, so the page is made the writer's own first.
    let (_, phys) = space.load_futex(addr).await?;
    Ok(if space.is_shared(addr) { Key::Shared(phys) } else { Key::Private(space.root().id, addr) })
}

/// Waits until woken if the word is `expected`. `EAGAIN` if it is not, `None` if a signal came.
pub async fn wait(
    thread: &Thread,
    addr: VirtAddr,
    private: bool,
    expected: u32,
    bits: u32,
    deadline: impl Future<Output = ()>,
) -> Result<WaitEnd, Errno> {
    let space = thread.space()?;
    let key = key_of(&space, addr, private).await?;
    // In the queue before the word is read: a wake-up between the two is not lost.
    let place = thread.kernel().futexes.enqueue(key, bits);
    let (value, _) = space.load_futex(addr).await?;
    if value != expected {
        return if place.is_woken() { Ok(WaitEnd::Woken) } else { Err(Errno::EAGAIN) };
    }
    let mut deadline = core::pin::pin!(deadline);
    let both = async {
        let mut woken = core::pin::pin!(place.woken());
        core::future::poll_fn(|cx| {
            if woken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(WaitEnd::Woken);
            }
            deadline.as_mut().poll(cx).map(|()| WaitEnd::TimedOut)
        })
        .await
    };
    let end = thread.interruptible(both).await;
    Ok(match end {
        // A wake-up that came with the signal counts.
        _ if place.is_woken() => WaitEnd::Woken,
        Some(end) => end,
        None => WaitEnd::Interrupted,
    })
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    /// Somebody woke it.
    Woken,
    /// Time is up.
    TimedOut,
    /// A signal came.
    Interrupted,
}

/// Wakes waiters on a word of the thread's memory, private ones and shared ones.
pub async fn wake_at(thread: &Thread, addr: VirtAddr, count: u64) -> Result<u64, Errno> {
    let space = thread.space()?;
    let table = &thread.kernel().futexes;
    let private = table.wake(key_of(&space, addr, true).await?, count, ALL_BITS);
    let shared = table.wake(key_of(&space, addr, false).await?, count - private, ALL_BITS);
    Ok(private + shared)
}

const OWNER_DIED: u32 = 0x4000_0000;
const WAITERS: u32 = 0x8000_0000;
const TID_MASK: u32 = 0x3fff_ffff;
/// Most locks a dying thread releases: a list may be a loop.
const MAX_ROBUST: u32 = 2048;

/// Marks the robust mutexes a dying thread holds as abandoned (get_robust_list(2)).
pub async fn release_robust(thread: &Thread, space: &AddressSpace) {
    let head = VirtAddr(thread.robust_list.load(Ordering::Relaxed));
    if head.0 == 0 {
        return;
    }
    let word = async |at: VirtAddr| space.load::<u64>(at).await.ok();
    let (Some(mut at), Some(offset)) = (word(head).await, word(head + 8).await) else { return };
    let pending = word(head + 16).await.unwrap_or(0);
    for _ in 0..MAX_ROBUST {
        if VirtAddr(at) == head || at == 0 {
            break;
        }
        let next = word(VirtAddr(at)).await;
        if at != pending {
            abandon(thread, space, VirtAddr(at.wrapping_add(offset))).await;
        }
        let Some(next) = next else { break };
        at = next;
    }
    if pending != 0 {
        abandon(thread, space, VirtAddr(pending.wrapping_add(offset))).await;
    }
}

async fn abandon(thread: &Thread, space: &AddressSpace, at: VirtAddr) {
    let Ok((value, _)) = space.load_futex(at).await else { return };
    if value & TID_MASK != thread.tid.0.cast_unsigned() {
        return;
    }
    let new = (value & WAITERS) | OWNER_DIED;
    if space.compare_exchange(at, value, new).await == Ok(value) && value & WAITERS != 0 {
        let _ = wake_at(thread, at, 1).await;
    }
}
