//! Mutexes that hand themselves over, `FUTEX_LOCK_PI` of futex(2): the word names its owner, and who unlocks gives it to
//! the first that waits. (A waiter's urgency is not lent to the owner: tasks here have no fixed priorities to invert.)

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_machine::VirtAddr;

use crate::ipc::futex::{FutexTable, Key, OWNER_DIED, TID_MASK, WAITERS, WaitEnd, WaiterState, key_of};
use crate::memory::AddressSpace;
use crate::task::{Pid, Thread};

/// A mutex somebody waits for.
pub(super) struct Owned {
    owner: Pid,
    /// Where the word is for who waits; its owner may map it elsewhere.
    at: VirtAddr,
    waiters: VecDeque<(Pid, Arc<WaiterState>)>,
}

/// How far a chain of owners that wait is followed.
const MAX_CHAIN: usize = 1024;

impl FutexTable {
    fn join(&self, key: Key, at: VirtAddr, owner: Pid, waiter: (Pid, Arc<WaiterState>)) {
        let mut owned = self.owned.lock();
        {
            let mut inner = waiter.1.inner.lock();
            inner.key = Some(key);
            inner.owned = true;
        }
        let entry = owned.entry(key).or_insert_with(|| Owned { owner, at, waiters: VecDeque::new() });
        entry.owner = owner;
        entry.waiters.push_back(waiter);
    }

    /// Leaves a mutex's queue; whether it was in it still. Otherwise it was given the mutex just now.
    pub(super) fn leave_owned(&self, key: Key, state: &Arc<WaiterState>) -> bool {
        let mut owned = self.owned.lock();
        let Some(entry) = owned.get_mut(&key) else { return false };
        let before = entry.waiters.len();
        entry.waiters.retain(|(_, s)| !Arc::ptr_eq(s, state));
        let left = entry.waiters.len() < before;
        if entry.waiters.is_empty() {
            owned.remove(&key);
        }
        left
    }

    /// Whether waiting for `owner` would wait for `thread` itself in the end.
    fn is_circle(&self, thread: Pid, mut owner: Pid) -> bool {
        let owned = self.owned.lock();
        for _ in 0..MAX_CHAIN {
            if owner == thread {
                return true;
            }
            let next = owned.values().find(|o| o.waiters.iter().any(|(tid, _)| *tid == owner));
            match next {
                Some(next) => owner = next.owner,
                None => return false,
            }
        }
        true
    }

    /// The first who waits, and whether others do.
    fn next_owner(&self, key: Key) -> Option<(Pid, bool)> {
        let owned = self.owned.lock();
        let waiters = &owned.get(&key)?.waiters;
        waiters.front().map(|(tid, _)| (*tid, waiters.len() > 1))
    }

    /// The first who waits has it now.
    fn hand_over(&self, key: Key) {
        let mut owned = self.owned.lock();
        let Some(entry) = owned.get_mut(&key) else { return };
        let first = entry.waiters.pop_front();
        if let Some((tid, _)) = &first {
            entry.owner = *tid;
        }
        if entry.waiters.is_empty() {
            owned.remove(&key);
        }
        drop(owned);
        if let Some((_, state)) = first {
            state.wake();
        }
    }
}

/// What taking a mutex at once gave.
enum Attempt {
    /// It is the thread's.
    Taken,
    /// Somebody has it.
    Owned(Pid),
}

/// Takes a mutex for `tid` if it is free, else marks that somebody waits.
async fn attempt(thread: &Thread, space: &AddressSpace, at: VirtAddr, key: Key, tid: Pid) -> Result<Attempt, Errno> {
    let table = &thread.kernel().futexes;
    let number = tid.0.cast_unsigned();
    loop {
        let (old, _) = space.load_futex(at).await?;
        let owner = old & TID_MASK;
        if owner == number {
            return Err(Errno::EDEADLK);
        }
        if owner == 0 {
            let waited = if table.next_owner(key).is_some() { WAITERS } else { 0 };
            if space.compare_exchange(at, old, number | old & OWNER_DIED | waited).await? == old {
                return Ok(Attempt::Taken);
            }
            continue;
        }
        let owner = Pid(owner.cast_signed());
        if thread.kernel().processes.thread(owner).is_none() {
            return Err(Errno::ESRCH);
        }
        if old & WAITERS != 0 || space.compare_exchange(at, old, old | WAITERS).await? == old {
            return Ok(Attempt::Owned(owner));
        }
    }
}

/// `FUTEX_LOCK_PI`: waits until the mutex is the thread's.
pub async fn lock(
    thread: &Thread,
    at: VirtAddr,
    private: bool,
    deadline: impl Future<Output = ()>,
) -> Result<u64, Errno> {
    let space = thread.space()?;
    let key = key_of(&space, at, private).await?;
    let table = &thread.kernel().futexes;
    let Attempt::Owned(owner) = attempt(thread, &space, at, key, thread.tid).await? else { return Ok(0) };
    if table.is_circle(thread.tid, owner) {
        return Err(Errno::EDEADLK);
    }
    // A place in no plain queue: it is the mutex's at once.
    let place = table.enqueue(key, 0, None);
    let waiter = table.take_state(key, &place.state).ok_or(Errno::EAGAIN)?;
    table.join(key, at, owner, (thread.tid, waiter));
    match place.wait(thread, deadline).await {
        WaitEnd::Woken => Ok(0),
        WaitEnd::TimedOut => Err(Errno::ETIMEDOUT),
        WaitEnd::Interrupted => Err(Errno::ERESTARTNOINTR),
    }
}

/// `FUTEX_TRYLOCK_PI`: takes the mutex if it is free; `EAGAIN` if it is not.
pub async fn try_lock(thread: &Thread, at: VirtAddr, private: bool) -> Result<u64, Errno> {
    let space = thread.space()?;
    let key = key_of(&space, at, private).await?;
    let (old, _) = space.load_futex(at).await?;
    let owner = old & TID_MASK;
    if owner != 0 && owner != thread.tid.0.cast_unsigned() {
        let known = thread.kernel().processes.thread(Pid(owner.cast_signed())).is_some();
        return Err(if known { Errno::EAGAIN } else { Errno::ESRCH });
    }
    match attempt(thread, &space, at, key, thread.tid).await? {
        Attempt::Taken => Ok(0),
        Attempt::Owned(_) => Err(Errno::EAGAIN),
    }
}

/// `FUTEX_UNLOCK_PI`: gives the mutex to who waits first.
pub async fn unlock(thread: &Thread, at: VirtAddr, private: bool) -> Result<u64, Errno> {
    let space = thread.space()?;
    let table = &thread.kernel().futexes;
    loop {
        let (old, _) = space.load_futex(at).await?;
        if old & TID_MASK != thread.tid.0.cast_unsigned() {
            return Err(Errno::EPERM);
        }
        let key = key_of(&space, at, private).await?;
        let new = match table.next_owner(key) {
            None => 0,
            Some((tid, more)) => tid.0.cast_unsigned() | if more { WAITERS } else { 0 },
        };
        if space.compare_exchange(at, old, new).await? == old {
            table.hand_over(key);
            return Ok(0);
        }
    }
}

/// `FUTEX_WAIT_REQUEUE_PI`: waits at one word until moved to a mutex, and then for that.
pub async fn wait_requeue(
    thread: &Thread,
    (at, expected, bits): (VirtAddr, u32, u32),
    mutex: VirtAddr,
    private: bool,
    deadline: impl Future<Output = ()>,
) -> Result<u64, Errno> {
    if at == mutex || bits == 0 {
        return Err(Errno::EINVAL);
    }
    let space = thread.space()?;
    let mutex_key = key_of(&space, mutex, private).await?;
    let key = key_of(&space, at, private).await?;
    let place = thread.kernel().futexes.enqueue(key, bits, Some((mutex_key, thread.tid)));
    let (value, _) = space.load_futex(at).await?;
    if value != expected && !place.leave() {
        return Err(Errno::EAGAIN);
    }
    match place.wait(thread, deadline).await {
        WaitEnd::Woken => Ok(0),
        WaitEnd::TimedOut => Err(Errno::ETIMEDOUT),
        // Once moved it cannot be waited for at the first word again.
        WaitEnd::Interrupted if place.state.inner.lock().owned => Err(Errno::EAGAIN),
        WaitEnd::Interrupted => Err(Errno::ERESTARTNOINTR),
    }
}

/// `FUTEX_CMP_REQUEUE_PI`: gives the mutex to the first waiter if it is free, and lets up to `requeue` others wait for it.
pub async fn requeue(
    thread: &Thread,
    (at, expected): (VirtAddr, u32),
    mutex: VirtAddr,
    private: bool,
    requeue: u64,
) -> Result<u64, Errno> {
    if at == mutex {
        return Err(Errno::EINVAL);
    }
    let space = thread.space()?;
    let table = &thread.kernel().futexes;
    let (from, to) = (key_of(&space, at, private).await?, key_of(&space, mutex, private).await?);
    let (value, _) = space.load_futex(at).await?;
    if value != expected {
        return Err(Errno::EAGAIN);
    }
    let mut done = 0;
    while done <= requeue {
        let Some(waiter) = table.take_first(from) else { break };
        let Some((_, tid)) = waiter.mutex.filter(|(key, _)| *key == to) else {
            table.put_first(from, waiter);
            return Err(Errno::EINVAL);
        };
        match attempt(thread, &space, mutex, to, tid).await {
            Ok(Attempt::Taken) => waiter.state.wake(),
            Ok(Attempt::Owned(owner)) => table.join(to, mutex, owner, (tid, waiter.state)),
            Err(errno) => {
                table.put_first(from, waiter);
                return if done > 0 { Ok(done) } else { Err(errno) };
            }
        }
        done += 1;
    }
    Ok(done)
}

impl FutexTable {
    /// Takes a waiter that just came out of the plain queue.
    fn take_state(&self, key: Key, state: &Arc<WaiterState>) -> Option<Arc<WaiterState>> {
        self.take_where(key, |waiter| Arc::ptr_eq(&waiter.state, state)).map(|waiter| waiter.state)
    }
}

/// Gives the mutexes a dying thread has, and others wait for, to who waits first.
pub async fn release_owned(thread: &Thread, space: &AddressSpace) {
    let table = &thread.kernel().futexes;
    let mine: Vec<_> =
        table.owned.lock().iter().filter(|(_, o)| o.owner == thread.tid).map(|(key, o)| (*key, o.at)).collect();
    for (key, at) in mine {
        // Whoever else maps the word finds it changed, too.
        while let Ok((old, _)) = space.load_futex(at).await {
            let Some((tid, more)) = table.next_owner(key) else { break };
            let new = tid.0.cast_unsigned() | OWNER_DIED | if more { WAITERS } else { 0 };
            match space.compare_exchange(at, old, new).await {
                Ok(value) if value == old => break,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        table.hand_over(key);
    }
}
