//! Mutexes that hand themselves over, `FUTEX_LOCK_PI` of futex(2): the word names its owner, and who unlocks gives it to
//! the most urgent of those who wait, of equals to the first. While somebody of a real-time policy waits, the owner runs
//! with that urgency, and so does whoever that owner waits for.
//!
//! What always holds: the word, the queue and what is lent change together, under one lock. Where the word is not in
//! memory, nothing has changed, and the step is made anew once it is.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_machine::{CopyFault, VirtAddr};

use crate::ipc::futex::{FutexTable, Key, OWNER_DIED, TID_MASK, WAITERS, WaitEnd, WaiterState, key_of};
use crate::memory::AddressSpace;
use crate::task::{Pid, Thread};

/// All mutexes somebody waits for.
pub(super) type Mutexes = BTreeMap<Key, Owned>;

/// A mutex somebody waits for.
pub(super) struct Owned {
    owner: Arc<Thread>,
    /// Where the word is for who waits; its owner may map it elsewhere.
    at: VirtAddr,
    waiters: VecDeque<Queued>,
}

/// Who waits.
struct Queued {
    thread: Arc<Thread>,
    state: Arc<WaiterState>,
}

impl Owned {
    /// Who has it next, and whether others wait.
    fn next(&self) -> Option<(usize, bool)> {
        let (at, _) = self.waiters.iter().enumerate().min_by_key(|(_, waiter)| waiter.thread.task.rank())?;
        Some((at, self.waiters.len() > 1))
    }
}

/// How far a chain of owners that wait is followed.
const MAX_CHAIN: usize = 1024;

/// Why a step was not made.
enum Stop {
    Errno(Errno),
    /// The word is not in memory.
    Missing(CopyFault),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}
impl From<CopyFault> for Stop {
    fn from(fault: CopyFault) -> Self {
        Self::Missing(fault)
    }
}

impl FutexTable {
    /// Makes a step with all mutexes locked.
    async fn step<T>(
        &self,
        space: &AddressSpace,
        mut make: impl FnMut(&mut Mutexes) -> Result<T, Stop>,
    ) -> Result<T, Errno> {
        loop {
            let result = make(&mut self.owned.lock());
            match result {
                Ok(value) => return Ok(value),
                Err(Stop::Errno(errno)) => return Err(errno),
                Err(Stop::Missing(fault)) => space.resolve(fault).await?,
            }
        }
    }

    /// Leaves a mutex's queue; whether it was in it still. Otherwise it was given the mutex just now.
    pub(super) fn leave_owned(&self, key: Key, state: &Arc<WaiterState>) -> bool {
        let mut all = self.owned.lock();
        let Some(entry) = all.get_mut(&key) else { return false };
        let before = entry.waiters.len();
        entry.waiters.retain(|waiter| !Arc::ptr_eq(&waiter.state, state));
        let left = entry.waiters.len() < before;
        let owner = entry.owner.clone();
        if entry.waiters.is_empty() {
            all.remove(&key);
        }
        lend(&all, &owner);
        left
    }

    /// A thread is scheduled another way: what it lends changes, too.
    pub fn urgency_changed(&self, thread: &Thread) {
        let all = self.owned.lock();
        if let Some(owner) = waits_for(&all, thread).cloned() {
            lend(&all, &owner);
        }
    }
}

/// The owner of the mutex a thread waits for.
fn waits_for<'a>(all: &'a Mutexes, thread: &Thread) -> Option<&'a Arc<Thread>> {
    let waits = |entry: &&Owned| entry.waiters.iter().any(|waiter| core::ptr::eq(&*waiter.thread, thread));
    all.values().find(waits).map(|entry| &entry.owner)
}

/// Lends an owner the urgency of those who wait for it, and so on along the chain.
fn lend(all: &Mutexes, owner: &Arc<Thread>) {
    let mut owner = owner;
    for _ in 0..MAX_CHAIN {
        let theirs = all.values().filter(|entry| Arc::ptr_eq(&entry.owner, owner));
        let urgency = theirs.flat_map(|entry| &entry.waiters).map(|waiter| waiter.thread.task.rank()).min();
        if !owner.task.lend(urgency) {
            return;
        }
        match waits_for(all, owner) {
            Some(next) => owner = next,
            None => return,
        }
    }
}

/// `EDEADLK` if waiting for `owner` would wait for `thread` itself in the end.
fn no_circle(all: &Mutexes, thread: &Thread, owner: &Arc<Thread>) -> Result<(), Errno> {
    let mut owner = owner;
    for _ in 0..MAX_CHAIN {
        if core::ptr::eq(&**owner, thread) {
            return Err(Errno::EDEADLK);
        }
        match waits_for(all, owner) {
            Some(next) => owner = next,
            None => return Ok(()),
        }
    }
    Err(Errno::EDEADLK)
}

fn number(tid: Pid) -> u32 {
    tid.0.cast_unsigned()
}

/// A mutex's word.
struct Word<'a> {
    space: &'a AddressSpace,
    at: VirtAddr,
    key: Key,
}

impl Word<'_> {
    fn load(&self) -> Result<u32, CopyFault> {
        self.space.try_load_futex(self.at)
    }

    fn replace(&self, old: u32, new: u32) -> Result<bool, CopyFault> {
        Ok(self.space.try_compare_exchange(self.at, old, new)? == old)
    }

    /// Takes the mutex for a thread if it is free; else marks that somebody waits, and gives its owner.
    fn attempt(&self, all: &mut Mutexes, thread: &Arc<Thread>) -> Result<Option<Arc<Thread>>, Stop> {
        loop {
            let old = self.load()?;
            let owner = old & TID_MASK;
            if owner == number(thread.tid()) {
                return Err(Errno::EDEADLK.into());
            }
            if owner == 0 {
                let waited = if all.contains_key(&self.key) { WAITERS } else { 0 };
                if self.replace(old, number(thread.tid()) | old & OWNER_DIED | waited)? {
                    self.now_owned_by(all, thread);
                    return Ok(None);
                }
                continue;
            }
            let owner = thread.kernel().processes.thread(Pid(owner.cast_signed())).ok_or(Errno::ESRCH)?;
            if old & WAITERS != 0 || self.replace(old, old | WAITERS)? {
                return Ok(Some(owner));
            }
        }
    }

    fn now_owned_by(&self, all: &mut Mutexes, thread: &Arc<Thread>) {
        let Some(entry) = all.get_mut(&self.key) else { return };
        let former = core::mem::replace(&mut entry.owner, thread.clone());
        lend(all, &former);
        lend(all, thread);
    }

    /// Lets a thread wait for the mutex of `owner`.
    fn join(&self, all: &mut Mutexes, owner: Arc<Thread>, thread: &Arc<Thread>, state: Arc<WaiterState>) {
        {
            let mut inner = state.inner.lock();
            inner.key = Some(self.key);
            inner.owned = true;
        }
        let new = || Owned { owner: owner.clone(), at: self.at, waiters: VecDeque::new() };
        let entry = all.entry(self.key).or_insert_with(new);
        entry.owner = owner.clone();
        entry.waiters.push_back(Queued { thread: thread.clone(), state });
        lend(all, &owner);
    }

    /// Gives the mutex to who has it next, with `marks` in the word; to nobody if nobody waits. Not if the word is not
    /// `old` any more.
    fn hand_over(&self, all: &mut Mutexes, old: u32, marks: u32) -> Result<bool, CopyFault> {
        let next = all.get(&self.key).and_then(|entry| {
            let (at, more) = entry.next()?;
            Some((at, number(entry.waiters.get(at)?.thread.tid()) | if more { WAITERS } else { 0 }))
        });
        if !self.replace(old, next.map_or(0, |(_, word)| word) | marks)? {
            return Ok(false);
        }
        self.pass_on(all);
        Ok(true)
    }

    /// What the word says already, or cannot say: who is next has the mutex.
    fn pass_on(&self, all: &mut Mutexes) {
        let Some(entry) = all.get_mut(&self.key) else { return };
        let Some(next) = entry.next().and_then(|(at, _)| entry.waiters.remove(at)) else { return };
        let former = core::mem::replace(&mut entry.owner, next.thread.clone());
        if entry.waiters.is_empty() {
            all.remove(&self.key);
        }
        lend(all, &former);
        lend(all, &next.thread);
        next.state.wake();
    }
}

/// `FUTEX_LOCK_PI`: waits until the mutex is the thread's.
pub async fn lock(
    thread: &Arc<Thread>,
    at: VirtAddr,
    private: bool,
    deadline: impl Future<Output = ()>,
) -> Result<u64, Errno> {
    let space = thread.space()?;
    let table = &thread.kernel().futexes;
    let word = Word { space: &space, at, key: key_of(&space, at, private).await? };
    // A place in no plain queue: it is the mutex's at once.
    let place = table.enqueue(word.key, 0, None);
    let waiter = table.take_state(word.key, &place.state).ok_or(Errno::EAGAIN)?;
    let taken = table.step(&space, |all| {
        let Some(owner) = word.attempt(all, thread)? else { return Ok(true) };
        no_circle(all, thread, &owner)?;
        word.join(all, owner, thread, waiter.clone());
        Ok(false)
    });
    if taken.await? {
        return Ok(0);
    }
    match place.wait(thread, deadline).await {
        WaitEnd::Woken => Ok(0),
        WaitEnd::TimedOut => Err(Errno::ETIMEDOUT),
        WaitEnd::Interrupted => Err(Errno::ERESTARTNOINTR),
    }
}

/// `FUTEX_TRYLOCK_PI`: takes the mutex if it is free; `EAGAIN` if it is not.
pub async fn try_lock(thread: &Arc<Thread>, at: VirtAddr, private: bool) -> Result<u64, Errno> {
    let space = thread.space()?;
    let word = Word { space: &space, at, key: key_of(&space, at, private).await? };
    let free = thread.kernel().futexes.step(&space, |all| {
        let owner = word.load()? & TID_MASK;
        if owner != 0 && owner != number(thread.tid()) {
            let known = thread.kernel().processes.thread(Pid(owner.cast_signed())).is_some();
            return Err(if known { Errno::EAGAIN } else { Errno::ESRCH }.into());
        }
        Ok(word.attempt(all, thread)?.is_none())
    });
    if free.await? { Ok(0) } else { Err(Errno::EAGAIN) }
}

/// `FUTEX_UNLOCK_PI`: gives the mutex to who has it next.
pub async fn unlock(thread: &Arc<Thread>, at: VirtAddr, private: bool) -> Result<u64, Errno> {
    let space = thread.space()?;
    let is_own = |old: u32| old & TID_MASK == number(thread.tid());
    if !is_own(space.load_futex(at).await?.0) {
        return Err(Errno::EPERM);
    }
    let word = Word { space: &space, at, key: key_of(&space, at, private).await? };
    let unlocked = thread.kernel().futexes.step(&space, |all| {
        loop {
            let old = word.load()?;
            if !is_own(old) {
                return Err(Errno::EPERM.into());
            }
            if word.hand_over(all, old, 0)? {
                return Ok(0);
            }
        }
    });
    unlocked.await
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
    let place = thread.kernel().futexes.enqueue(key, bits, Some((mutex_key, thread.tid())));
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
    let from = key_of(&space, at, private).await?;
    let word = Word { space: &space, at: mutex, key: key_of(&space, mutex, private).await? };
    let (value, _) = space.load_futex(at).await?;
    if value != expected {
        return Err(Errno::EAGAIN);
    }
    let mut done = 0;
    while done <= requeue {
        let moved = table.step(&space, |all| {
            let Some(waiter) = table.take_first(from) else { return Ok(false) };
            let result = word.move_here(all, thread, waiter.mutex, &waiter.state);
            if result.is_err() {
                table.put_first(from, waiter);
            }
            result.map(|()| true)
        });
        match moved.await {
            Ok(true) => done += 1,
            Ok(false) => break,
            Err(errno) if done == 0 || errno == Errno::EINVAL => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

impl Word<'_> {
    /// Gives the mutex to one that waited elsewhere, or lets it wait here.
    fn move_here(
        &self,
        all: &mut Mutexes,
        caller: &Thread,
        wants: Option<(Key, Pid)>,
        state: &Arc<WaiterState>,
    ) -> Result<(), Stop> {
        let (_, tid) = wants.filter(|(key, _)| *key == self.key).ok_or(Errno::EINVAL)?;
        let waiting = caller.kernel().processes.thread(tid).ok_or(Errno::ESRCH)?;
        match self.attempt(all, &waiting)? {
            None => state.wake(),
            Some(owner) => self.join(all, owner, &waiting, state.clone()),
        }
        Ok(())
    }
}

impl FutexTable {
    /// Takes a waiter that just came out of the plain queue.
    fn take_state(&self, key: Key, state: &Arc<WaiterState>) -> Option<Arc<WaiterState>> {
        self.take_where(key, |waiter| Arc::ptr_eq(&waiter.state, state)).map(|waiter| waiter.state)
    }
}

/// Gives the mutexes a dying thread has, and others wait for, to who has them next.
pub async fn release_owned(thread: &Thread, space: &AddressSpace) {
    let table = &thread.kernel().futexes;
    let is_owner = |entry: &Owned| core::ptr::eq(&*entry.owner, thread);
    let mine: Vec<_> =
        table.owned.lock().iter().filter(|(_, entry)| is_owner(entry)).map(|(key, entry)| (*key, entry.at)).collect();
    for (key, at) in mine {
        // Whoever else maps the word finds it changed, too.
        let word = Word { space, at, key };
        let passed = table.step(space, |all| {
            while all.get(&key).is_some_and(is_owner) {
                let old = word.load()?;
                if word.hand_over(all, old, OWNER_DIED)? {
                    break;
                }
            }
            Ok(())
        });
        if passed.await.is_err() {
            word.pass_on(&mut table.owned.lock());
        }
    }
}
