//! Locks, and waiting for something to happen.
//!
//! What always holds: no lock is held across an `.await`. Library guards may move between threads, so ours carry a
//! marker that may not, and the executor takes only futures that may:
//!
//! ```compile_fail
//! fn executor_takes(_: impl core::future::Future<Output = ()> + Send) {}
//! let lock = aurora_kernel::sync::Mutex::new(1);
//! executor_takes(async move {
//!     let guard = lock.lock();
//!     core::future::ready(()).await;
//!     drop(guard);
//! });
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Poll, Waker};

use crate::vfs::Events;

/// Where another thread may come in between, for tests that try many orders; nothing otherwise.
#[inline]
pub(crate) fn point() {
    #[cfg(test)]
    crate::orders::point();
}

/// A short spin lock. Kernel code between two `.await`s is short and runs with interrupts off.
#[derive(Default)]
pub struct Mutex<T>(spin::Mutex<T>);

/// Access to what a [`Mutex`] guards.
pub struct Guard<'a, T> {
    inner: spin::MutexGuard<'a, T>,
    not_send: PhantomData<*const ()>,
}

impl<T> Mutex<T> {
    /// A new lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }
    /// Waits until nobody else has the lock.
    pub fn lock(&self) -> Guard<'_, T> {
        // Whoever has it under test may have been told to wait in the middle of what it does.
        #[cfg(test)]
        let inner = loop {
            point();
            if let Some(guard) = self.0.try_lock() {
                break guard;
            }
        };
        #[cfg(not(test))]
        let inner = self.0.lock();
        Guard { inner, not_send: PhantomData }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}
impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// Told of every wake-up of a [`WaitQueue`], for as long as it observes it: an epoll's item, epoll(7).
pub trait Observer: Send + Sync {
    /// The queue was woken for `events`. Called under the queue's lock, so it must neither look at a file nor change
    /// who observes this queue. Returns whether somebody will act on it.
    fn notify(&self, events: Events) -> bool;
    /// Whether at most one of several such observers is to act on a wake-up (`EPOLLEXCLUSIVE`).
    fn is_exclusive(&self) -> bool {
        false
    }
}

/// Tasks waiting for a condition that somebody else makes true.
///
/// Whoever changes the condition calls [`WaitQueue::wake`] afterwards; a waiter registers before it looks. Hence no
/// wake-up is lost. Waiting tasks leave the queue when woken; observers stay and are told what the wake-up is for, so
/// that watching a thousand files costs nothing until one of them is ready.
#[derive(Default)]
pub struct WaitQueue {
    waiters: Mutex<Vec<(u64, Waker)>>,
    observers: Mutex<Vec<Arc<dyn Observer>>>,
    next: AtomicU64,
}

impl WaitQueue {
    /// A queue nobody waits in.
    pub const fn new() -> Self {
        Self { waiters: Mutex::new(Vec::new()), observers: Mutex::new(Vec::new()), next: AtomicU64::new(0) }
    }

    /// Lets every waiter look again, whatever it waits for.
    pub fn wake_all(&self) {
        self.wake(Events::all());
    }

    /// Lets every waiter look again; observers learn that it is for `events`.
    pub fn wake(&self, events: Events) {
        let waiters = core::mem::take(&mut *self.waiters.lock());
        for (_, waker) in waiters {
            waker.wake();
        }
        let mut taken = false;
        for observer in self.observers.lock().iter() {
            if !(taken && observer.is_exclusive()) {
                taken |= observer.notify(events) && observer.is_exclusive();
            }
        }
    }

    /// Tells `observer` of wake-ups from now on.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        self.observers.lock().push(observer);
    }

    /// Stops telling it.
    pub fn forget(&self, observer: &Arc<dyn Observer>) {
        let mut observers = self.observers.lock();
        let at = observers.iter().position(|o| Arc::ptr_eq(o, observer));
        let gone = at.map(|at| observers.remove(at));
        drop(observers);
        drop(gone);
    }

    /// Waits until `look` gives a value.
    pub async fn wait<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let mut ticket = Ticket { queue: self, key: None };
        poll_fn(|cx| {
            // The first look needs no place in the queue.
            if ticket.key.is_none()
                && let Some(value) = look()
            {
                return Poll::Ready(value);
            }
            ticket.register(cx.waker());
            match look() {
                Some(value) => Poll::Ready(value),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Wakes `waker` at the next change. For whoever has no ticket because it must not keep the queue: `key` tells it from
    /// others, and tickets have small numbers.
    pub fn listen(&self, key: u64, waker: &Waker) {
        let mut waiters = self.waiters.lock();
        match waiters.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => old.clone_from(waker),
            None => waiters.push((key, waker.clone())),
        }
    }

    /// A place in the queue for waits over several queues (`poll`): registers anew at every call of `register`.
    pub fn ticket(&self) -> Ticket<'_> {
        Ticket { queue: self, key: None }
    }
}

/// A place in a [`WaitQueue`], left when dropped.
pub struct Ticket<'a> {
    queue: &'a WaitQueue,
    key: Option<u64>,
}

impl Ticket<'_> {
    /// Takes a place, or renews it: waking emptied the queue.
    pub fn register(&mut self, waker: &Waker) {
        let key = *self.key.get_or_insert_with(|| self.queue.next.fetch_add(1, Ordering::Relaxed));
        let mut waiters = self.queue.waiters.lock();
        match waiters.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => old.clone_from(waker),
            None => waiters.push((key, waker.clone())),
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let mut waiters = self.queue.waiters.lock();
            if let Some(at) = waiters.iter().position(|(k, _)| *k == key) {
                waiters.swap_remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders;
    use core::sync::atomic::AtomicUsize;

    struct Count {
        wanted: Events,
        exclusive: bool,
        told: AtomicUsize,
    }

    impl Observer for Count {
        fn notify(&self, events: Events) -> bool {
            let concerns = events.intersects(self.wanted);
            self.told.fetch_add(usize::from(concerns), Ordering::Relaxed);
            concerns
        }
        fn is_exclusive(&self) -> bool {
            self.exclusive
        }
    }

    fn observe(queue: &WaitQueue, wanted: Events, exclusive: bool) -> Arc<Count> {
        let count = Arc::new(Count { wanted, exclusive, told: AtomicUsize::new(0) });
        queue.observe(count.clone());
        count
    }

    fn told(count: &Count) -> usize {
        count.told.load(Ordering::Relaxed)
    }

    #[test]
    fn observers_stay_and_are_told_what_a_wake_up_is_for() {
        let queue = WaitQueue::new();
        let (reads, writes) = (observe(&queue, Events::IN, false), observe(&queue, Events::OUT, false));
        queue.wake(Events::IN);
        queue.wake(Events::IN);
        queue.wake_all();
        assert_eq!((told(&reads), told(&writes)), (3, 1));
        let observer: Arc<dyn Observer> = reads.clone();
        queue.forget(&observer);
        queue.wake_all();
        assert_eq!(told(&reads), 3);
    }

    #[test]
    fn a_change_between_the_look_and_the_sleep_wakes_all_who_wait() {
        orders::explore(|| {
            let shared = Arc::new((WaitQueue::new(), AtomicUsize::new(0)));
            let waiters = [(); 3].map(|()| {
                let shared = shared.clone();
                shuttle::thread::spawn(move || {
                    let look = || {
                        let changes = shared.1.load(Ordering::Acquire);
                        point();
                        (changes == 2).then_some(())
                    };
                    orders::block_on(shared.0.wait(look));
                })
            });
            for _ in 0..2 {
                point();
                shared.1.fetch_add(1, Ordering::AcqRel);
                shared.0.wake_all();
            }
            waiters.into_iter().for_each(|w| w.join().unwrap());
            assert!(shared.0.waiters.lock().is_empty(), "whoever is gone left the queue");
        });
    }

    #[test]
    fn of_exclusive_observers_the_first_that_acts_is_told_and_all_others_too() {
        let queue = WaitQueue::new();
        let idle = observe(&queue, Events::OUT, true);
        let (first, second) = (observe(&queue, Events::IN, true), observe(&queue, Events::IN, true));
        let plain = observe(&queue, Events::IN, false);
        queue.wake(Events::IN);
        assert_eq!((told(&idle), told(&first), told(&second), told(&plain)), (0, 1, 0, 1));
    }
}
