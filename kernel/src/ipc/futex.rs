//! Futexes, futex(2): waiting on a word of memory.
//!
//! A word is named by its physical address when its frame can be shared and by space and address otherwise; here always
//! by space and address for private futexes, by physical address for shared ones.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Poll, Waker};

use aurora_abi::Errno;
use aurora_machine::{PhysAddr, SpaceId, VirtAddr};

use crate::ipc::futex_owned::Mutexes;
use crate::memory::AddressSpace;
use crate::sync::Mutex;
use crate::task::{Pid, Thread};

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
    /// Those who wait for a mutex that hands itself over.
    pub(super) owned: Mutex<Mutexes>,
    next: AtomicU64,
}

pub(super) struct Waiter {
    id: u64,
    bits: u32,
    /// For `FUTEX_WAIT_REQUEUE_PI`: the mutex it waits to be moved to, and which thread it is.
    pub(super) mutex: Option<(Key, Pid)>,
    /// Set when woken; then the waiter is in no queue.
    pub(super) state: Arc<WaiterState>,
}

#[derive(Default)]
pub(super) struct WaiterState {
    pub(super) inner: Mutex<WaiterInner>,
}

#[derive(Default)]
pub(super) struct WaiterInner {
    pub(super) woken: bool,
    pub(super) waker: Option<Waker>,
    /// Where it waits now: requeueing moves it.
    pub(super) key: Option<Key>,
    /// That is the queue of a mutex which hands itself over.
    pub(super) owned: bool,
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

    pub(super) fn enqueue(&self, key: Key, bits: u32, mutex: Option<(Key, Pid)>) -> Place<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(WaiterState::default());
        state.inner.lock().key = Some(key);
        self.inner.lock().entry(key).or_default().push_back(Waiter { id, bits, mutex, state: state.clone() });
        Place { table: self, id, state }
    }

    /// Whether a waiter of `key` must be moved to a mutex, and not woken.
    pub fn has_mutex_waiter(&self, key: Key) -> bool {
        self.inner.lock().get(&key).is_some_and(|queue| queue.iter().any(|w| w.mutex.is_some()))
    }

    /// Takes the first waiter of `key` out of its queue.
    pub(super) fn take_first(&self, key: Key) -> Option<Waiter> {
        let mut inner = self.inner.lock();
        let queue = inner.get_mut(&key)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            inner.remove(&key);
        }
        first
    }

    /// Takes the waiter of `key` that `which` picks out of its queue.
    pub(super) fn take_where(&self, key: Key, which: impl Fn(&Waiter) -> bool) -> Option<Waiter> {
        let mut inner = self.inner.lock();
        let queue = inner.get_mut(&key)?;
        let at = queue.iter().position(which)?;
        let taken = queue.remove(at);
        if queue.is_empty() {
            inner.remove(&key);
        }
        taken
    }

    /// Puts a waiter back where it was.
    pub(super) fn put_first(&self, key: Key, waiter: Waiter) {
        self.inner.lock().entry(key).or_default().push_front(waiter);
    }
}

impl Waiter {
    fn wake(self) {
        self.state.wake();
    }
}

impl WaiterState {
    pub(super) fn wake(&self) {
        let mut inner = self.inner.lock();
        inner.woken = true;
        inner.key = None;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_woken(&self) -> bool {
        self.inner.lock().woken
    }

    pub(super) fn poll_woken(&self, cx: &core::task::Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if inner.woken {
            return Poll::Ready(());
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A place in a queue, left when dropped.
pub(super) struct Place<'a> {
    table: &'a FutexTable,
    id: u64,
    pub(super) state: Arc<WaiterState>,
}

impl Place<'_> {
    pub(super) fn is_woken(&self) -> bool {
        self.state.is_woken()
    }

    /// Waits until woken, until `deadline`, or for a signal.
    pub(super) async fn wait(&self, thread: &Thread, deadline: impl Future<Output = ()>) -> WaitEnd {
        let mut deadline = core::pin::pin!(deadline);
        let both = core::future::poll_fn(|cx| {
            if self.state.poll_woken(cx).is_ready() {
                return Poll::Ready(WaitEnd::Woken);
            }
            deadline.as_mut().poll(cx).map(|()| WaitEnd::TimedOut)
        });
        let end = thread.interruptible(both).await;
        match end {
            // A wake-up that came with the signal counts.
            _ if self.leave() => WaitEnd::Woken,
            Some(end) => end,
            None => WaitEnd::Interrupted,
        }
    }

    /// Leaves the queue; whether it was woken before that. Wakers and movers have the table locked, so none of them comes in
    /// between.
    pub(super) fn leave(&self) -> bool {
        let mut queues = self.table.inner.lock();
        let (woken, key, owned) = {
            let inner = self.state.inner.lock();
            (inner.woken, inner.key, inner.owned)
        };
        let Some(key) = key else { return woken };
        if owned {
            drop(queues);
            return !self.table.leave_owned(key, &self.state);
        }
        if let Some(queue) = queues.get_mut(&key) {
            queue.retain(|w| w.id != self.id);
            if queue.is_empty() {
                queues.remove(&key);
            }
        }
        woken
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
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
    let place = thread.kernel().futexes.enqueue(key, bits, None);
    let (value, _) = space.load_futex(addr).await?;
    if value != expected {
        return if place.leave() { Ok(WaitEnd::Woken) } else { Err(Errno::EAGAIN) };
    }
    Ok(place.wait(thread, deadline).await)
}

/// A word of futex_waitv.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Where.
    pub at: VirtAddr,
    /// Only for this address space.
    pub private: bool,
    /// What it must be.
    pub expected: u32,
}

/// Waits for any of several words to be woken; gives which.
pub async fn wait_any(thread: &Thread, words: &[Word], deadline: impl Future<Output = ()>) -> Result<usize, Errno> {
    let space = thread.space()?;
    let mut places = Vec::new();
    let woken = |places: &[Place<'_>]| places.iter().position(Place::is_woken);
    let mut keys = Vec::new();
    for word in words {
        keys.push(key_of(&space, word.at, word.private).await?);
    }
    for (word, key) in words.iter().zip(keys) {
        places.push(thread.kernel().futexes.enqueue(key, ALL_BITS, None));
        let (value, _) = space.load_futex(word.at).await?;
        if let Some(which) = woken(&places) {
            return Ok(which);
        }
        if value != word.expected {
            return Err(Errno::EAGAIN);
        }
    }
    let mut deadline = core::pin::pin!(deadline);
    let any = core::future::poll_fn(|cx| {
        // Every place has to know whom to wake.
        let ready = places.iter().map(|p| p.state.poll_woken(cx)).filter(Poll::is_ready).count() > 0;
        if ready { Poll::Ready(Ok(())) } else { deadline.as_mut().poll(cx).map(|()| Err(Errno::ETIMEDOUT)) }
    });
    let end = thread.interruptible(any).await;
    match (places.iter().position(Place::leave), end) {
        (Some(which), _) => Ok(which),
        (None, Some(Err(errno))) => Err(errno),
        _ => Err(Errno::ERESTARTSYS),
    }
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

/// Set in the word of a mutex whose owner ended.
pub const OWNER_DIED: u32 = 0x4000_0000;
/// Set in the word of a mutex somebody waits for.
pub const WAITERS: u32 = 0x8000_0000;
/// The owner's number.
pub const TID_MASK: u32 = 0x3fff_ffff;
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
        // The lowest bit of a link says that the mutex it leads to hands itself over.
        let entry = at & !1;
        if VirtAddr(entry) == head || entry == 0 {
            break;
        }
        let next = word(VirtAddr(entry)).await;
        if entry != pending & !1 {
            abandon(thread, space, VirtAddr(entry.wrapping_add(offset)), at & 1 != 0).await;
        }
        let Some(next) = next else { break };
        at = next;
    }
    if pending & !1 != 0 {
        abandon(thread, space, VirtAddr((pending & !1).wrapping_add(offset)), pending & 1 != 0).await;
    }
}

async fn abandon(thread: &Thread, space: &AddressSpace, at: VirtAddr, hands_over: bool) {
    let Ok((value, _)) = space.load_futex(at).await else { return };
    if value & TID_MASK != thread.tid().0.cast_unsigned() {
        return;
    }
    let new = (value & WAITERS) | OWNER_DIED;
    if space.compare_exchange(at, value, new).await == Ok(value) && value & WAITERS != 0 && !hands_over {
        let _ = wake_at(thread, at, 1).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::{block_on, explore};
    use crate::sync::point;
    use core::future::poll_fn;
    use core::sync::atomic::AtomicU32;
    use shuttle::thread::spawn;

    const HERE: Key = Key::Shared(PhysAddr(0x1000));
    const THERE: Key = Key::Shared(PhysAddr(0x2000));

    fn is_empty(table: &FutexTable) -> bool {
        table.inner.lock().is_empty()
    }

    #[test]
    fn no_waiter_sleeps_through_the_change_of_its_word() {
        explore(|| {
            let shared = Arc::new((FutexTable::default(), AtomicU32::new(0)));
            let waiters = [(); 2].map(|()| {
                let shared = shared.clone();
                spawn(move || {
                    let (table, word) = &*shared;
                    let place = table.enqueue(HERE, ALL_BITS, None);
                    point();
                    if word.load(Ordering::Acquire) == 0 {
                        block_on(poll_fn(|cx| place.state.poll_woken(cx)));
                    }
                })
            });
            shared.1.store(1, Ordering::Release);
            point();
            shared.0.wake(HERE, u64::MAX, ALL_BITS);
            waiters.into_iter().for_each(|w| w.join().unwrap());
            assert!(is_empty(&shared.0));
        });
    }

    #[test]
    fn who_counts_as_woken_knows_it_also_when_its_time_is_over() {
        explore(|| {
            let table = Arc::new(FutexTable::default());
            let waker = {
                let table = table.clone();
                spawn(move || table.wake(HERE, 1, ALL_BITS))
            };
            let woken = table.enqueue(HERE, ALL_BITS, None).leave();
            assert_eq!(waker.join().unwrap() == 1, woken);
            assert!(is_empty(&table));
        });
    }

    #[test]
    fn who_leaves_while_it_is_moved_is_in_no_queue() {
        explore(|| {
            let table = Arc::new(FutexTable::default());
            let place = table.enqueue(HERE, ALL_BITS, None);
            let mover = {
                let table = table.clone();
                spawn(move || table.requeue(HERE, THERE, 0, 1))
            };
            drop(place);
            mover.join().unwrap();
            assert!(is_empty(&table));
        });
    }
}
