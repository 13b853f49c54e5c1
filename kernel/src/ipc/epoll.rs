//! epoll(7): waiting for many files at a cost that follows how many are ready, not how many are watched.
//!
//! Every watched file is an [`Item`] that observes the file's wait queue. A wake-up puts the item on the epoll's ready
//! list and does no more; whoever waits takes items from there and asks each file what it is ready for. An item of
//! level-triggered kind that was ready goes back to the list's end, so it is asked again next time. What always holds: an
//! item whose file is ready in a way it was told of is on the list.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};

use aurora_abi::Errno;

use crate::memory::account::Charge;
use crate::sync::{Mutex, Observer, WaitQueue};
use crate::vfs::file::CloseWatcher;
use crate::vfs::{Events, Fd, FileOps, OpenFile};

/// Waits only wake one of several epolls that watch a file.
pub const EXCLUSIVE: u32 = 1 << 28;
/// Keeps a machine awake; machines here do not fall asleep under a running program.
const WAKEUP: u32 = 1 << 29;
/// Reports once, then is silent until changed.
const ONESHOT: u32 = 1 << 30;
/// Reports changes, not states.
const EDGE: u32 = 1 << 31;
/// What is no event.
const OPTIONS: u32 = EXCLUSIVE | WAKEUP | ONESHOT | EDGE;
/// What may stand beside `EPOLLEXCLUSIVE`.
const WITH_EXCLUSIVE: u32 = 0x1 | 0x4 | 0x8 | 0x10 | WAKEUP | EDGE | EXCLUSIVE;
/// How deep epolls may be nested, `EP_MAX_NESTS`.
const MAX_NESTS: usize = 4;
/// Kernel heap an item is charged.
pub const ITEM_COST: u64 = 256;

/// An epoll.
pub struct Epoll {
    this: Weak<Epoll>,
    interest: Mutex<BTreeMap<Key, Arc<Item>>>,
    ready: Mutex<VecDeque<Arc<Item>>>,
    /// Woken when something comes onto the ready list.
    pub changed: WaitQueue,
    /// Epolls that watch this one.
    watched_by: Mutex<Vec<Weak<Epoll>>>,
}

/// A descriptor's number and the open file it was: both, as in Linux, so that a number used anew is another watch.
type Key = (Fd, usize);

/// One watch.
struct Item {
    this: Weak<Item>,
    epoll: Weak<Epoll>,
    fd: Fd,
    file: Weak<OpenFile>,
    wanted: Mutex<Wanted>,
    listed: AtomicBool,
    exclusive: bool,
    _charge: Charge,
}

/// What is waited for: events with options, and what the program wants back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Events and options.
    pub events: u32,
    /// The program's word.
    pub data: u64,
}

/// A change of an epoll, epoll_ctl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Watch a file.
    Add(Wanted),
    /// Watch it for something else.
    Modify(Wanted),
    /// Stop.
    Delete,
}

fn address(file: &Arc<OpenFile>) -> usize {
    Arc::as_ptr(file).addr()
}

impl Epoll {
    /// One that watches nothing.
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            interest: Mutex::default(),
            ready: Mutex::default(),
            changed: WaitQueue::new(),
            watched_by: Mutex::default(),
        })
    }

    /// Does what epoll_ctl(2) asks. `charge` pays for a new watch.
    pub fn change(
        &self,
        fd: Fd,
        file: &Arc<OpenFile>,
        change: Change,
        charge: impl FnOnce() -> Result<Charge, Errno>,
    ) -> Result<(), Errno> {
        let inner = of(file);
        if let Change::Add(wanted) | Change::Modify(wanted) = change
            && wanted.events & EXCLUSIVE != 0
        {
            let adds = matches!(change, Change::Add(_));
            if !adds || inner.is_some() || wanted.events & !WITH_EXCLUSIVE != 0 {
                return Err(Errno::EINVAL);
            }
        }
        if let (Change::Add(_), Some(inner)) = (change, inner) {
            self.check_nesting(inner)?;
        }
        let key = (fd, address(file));
        let existing = self.interest.lock().get(&key).cloned();
        match (change, existing) {
            (Change::Add(_), Some(_)) => Err(Errno::EEXIST),
            (Change::Modify(_) | Change::Delete, None) => Err(Errno::ENOENT),
            (Change::Add(wanted), None) => self.add(fd, file, wanted, charge()?),
            (Change::Modify(_), Some(item)) if item.exclusive => Err(Errno::EINVAL),
            (Change::Modify(wanted), Some(item)) => {
                *item.wanted.lock() = with_always(wanted);
                self.list_if_ready(&item, file);
                Ok(())
            }
            (Change::Delete, Some(item)) => {
                self.interest.lock().remove(&key);
                self.drop_item(&item, file);
                Ok(())
            }
        }
    }

    fn add(&self, fd: Fd, file: &Arc<OpenFile>, wanted: Wanted, charge: Charge) -> Result<(), Errno> {
        let queue = file.ops.wait_queue().ok_or(Errno::EPERM)?;
        let item = Arc::new_cyclic(|this| Item {
            this: this.clone(),
            epoll: self.this.clone(),
            fd,
            file: Arc::downgrade(file),
            wanted: Mutex::new(with_always(wanted)),
            listed: AtomicBool::new(false),
            exclusive: wanted.events & EXCLUSIVE != 0,
            _charge: charge,
        });
        self.interest.lock().insert((fd, address(file)), item.clone());
        if let Some(inner) = of(file) {
            inner.watched_by.lock().push(self.this.clone());
        }
        queue.observe(item.clone());
        let closing: Weak<dyn CloseWatcher> = self.this.clone();
        file.watch_close(closing);
        self.list_if_ready(&item, file);
        Ok(())
    }

    fn list_if_ready(&self, item: &Arc<Item>, file: &Arc<OpenFile>) {
        if item.ready_events(file) != 0 {
            self.list(item);
            self.changed.wake(Events::READABLE);
        }
    }

    /// Puts an item on the ready list unless it is there.
    fn list(&self, item: &Arc<Item>) {
        if !item.listed.swap(true, Ordering::AcqRel) {
            self.ready.lock().push_back(item.clone());
        }
    }

    fn drop_item(&self, item: &Arc<Item>, file: &OpenFile) {
        let observer: Arc<dyn Observer> = item.clone();
        // From here on nothing lists it.
        if let Some(queue) = file.ops.wait_queue() {
            queue.forget(&observer);
        }
        if let Some(inner) = of(file) {
            let mut above = inner.watched_by.lock();
            if let Some(at) = above.iter().position(|e| Weak::ptr_eq(e, &self.this)) {
                above.swap_remove(at);
            }
        }
        if item.listed.load(Ordering::Acquire) {
            self.ready.lock().retain(|i| !Arc::ptr_eq(i, item));
        }
    }

    /// `ELOOP` if watching `inner` would close a circle or nest too deep.
    fn check_nesting(&self, inner: &Epoll) -> Result<(), Errno> {
        let below = inner.depth_below(self, 0).ok_or(Errno::ELOOP)?;
        let above = self.depth_above(0);
        if below + 1 + above > MAX_NESTS { Err(Errno::ELOOP) } else { Ok(()) }
    }

    fn watched_epolls(&self) -> Vec<Arc<OpenFile>> {
        self.watched_files().into_iter().filter_map(|(_, file)| of(&file).is_some().then_some(file)).collect()
    }

    /// All items, with their files: a file may be closed for good when these are dropped, so not under the lock.
    fn watched_files(&self) -> Vec<(Arc<Item>, Arc<OpenFile>)> {
        self.interest.lock().values().filter_map(|i| Some((i.clone(), i.file.upgrade()?))).collect()
    }

    /// How many epolls are below; none if `outer` is among them or they are too many to tell.
    fn depth_below(&self, outer: &Epoll, depth: usize) -> Option<usize> {
        if core::ptr::eq(self, outer) || depth > MAX_NESTS + 1 {
            return None;
        }
        let mut deepest = 0;
        for file in self.watched_epolls() {
            let Some(inner) = of(&file) else { continue };
            deepest = deepest.max(inner.depth_below(outer, depth + 1)? + 1);
        }
        Some(deepest)
    }

    fn depth_above(&self, depth: usize) -> usize {
        if depth > MAX_NESTS {
            return 0;
        }
        let above: Vec<_> = self.watched_by.lock().iter().filter_map(Weak::upgrade).collect();
        above.iter().map(|e| e.depth_above(depth + 1) + 1).max().unwrap_or(0)
    }

    /// Whether a waiter would get anything.
    pub fn has_ready(&self) -> bool {
        loop {
            let Some(item) = self.ready.lock().front().cloned() else { return false };
            if item.file.upgrade().is_some_and(|file| item.ready_events(&file) != 0) {
                return true;
            }
            let mut ready = self.ready.lock();
            if ready.front().is_some_and(|i| Arc::ptr_eq(i, &item)) {
                ready.pop_front();
                item.listed.store(false, Ordering::Release);
            }
        }
    }

    /// Takes up to `most` ready watches, and what to tell of each.
    pub fn take_ready(&self, most: usize) -> Taken {
        let mut taken = Taken { items: Vec::new() };
        let mut to_ask = self.ready.lock().len();
        while to_ask > 0 && taken.items.len() < most {
            to_ask -= 1;
            let Some(item) = self.ready.lock().pop_front() else { break };
            // From here on a wake-up lists it anew.
            item.listed.store(false, Ordering::Release);
            let Some(file) = item.file.upgrade() else { continue };
            let events = item.ready_events(&file);
            if events == 0 {
                continue;
            }
            let mut wanted = item.wanted.lock();
            let told = Wanted { events, data: wanted.data };
            let (oneshot, edge) = (wanted.events & ONESHOT != 0, wanted.events & EDGE != 0);
            if oneshot {
                wanted.events &= OPTIONS;
            }
            drop(wanted);
            if !oneshot && !edge {
                self.list(&item);
            }
            taken.items.push((item, told));
        }
        taken
    }

    /// Gives back what could not be told, from the `told`-th on.
    pub fn give_back(&self, taken: &Taken, told: usize) {
        for (item, wanted) in taken.items.iter().skip(told) {
            let mut now = item.wanted.lock();
            if now.events & !OPTIONS == 0 {
                now.events |= wanted.events | Events::ALWAYS.bits32();
            }
            drop(now);
            self.list(item);
        }
    }
}

impl Events {
    fn bits32(self) -> u32 {
        u32::from(self.bits())
    }
}

fn with_always(wanted: Wanted) -> Wanted {
    Wanted { events: wanted.events | (Events::ERR | Events::HUP).bits32(), ..wanted }
}

/// What [`Epoll::take_ready`] took.
pub struct Taken {
    items: Vec<(Arc<Item>, Wanted)>,
}

impl Taken {
    /// Events and data of each.
    pub fn events(&self) -> impl Iterator<Item = Wanted> + '_ {
        self.items.iter().map(|(_, wanted)| *wanted)
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// The epoll an open file is, if it is one.
pub fn of(file: &OpenFile) -> Option<&Epoll> {
    file.ops.as_any()?.downcast_ref::<EpollFile>().map(|f| &*f.0)
}

impl Item {
    fn ready_events(&self, file: &OpenFile) -> u32 {
        let wanted = self.wanted.lock().events;
        if wanted & !OPTIONS == 0 { 0 } else { file.ops.readiness(file).bits32() & wanted }
    }
}

impl Observer for Item {
    fn notify(&self, events: Events) -> bool {
        let wanted = self.wanted.lock().events;
        let Some(epoll) = self.epoll.upgrade() else { return false };
        if wanted & !OPTIONS == 0 || wanted & events.bits32() == 0 {
            return false;
        }
        if !self.listed.load(Ordering::Acquire)
            && let Some(item) = self.this.upgrade()
        {
            epoll.list(&item);
        }
        epoll.changed.wake(Events::READABLE);
        true
    }
    fn is_exclusive(&self) -> bool {
        self.exclusive
    }
}

impl CloseWatcher for Epoll {
    fn closed(&self, file: &OpenFile) {
        let address = core::ptr::from_ref(file).addr();
        let mut interest = self.interest.lock();
        let gone: Vec<_> = interest.keys().filter(|(_, a)| *a == address).copied().collect();
        let gone: Vec<_> = gone.iter().filter_map(|key| interest.remove(key)).collect();
        drop(interest);
        for item in gone {
            // The file's queue may outlive it (a pipe's other end).
            self.drop_item(&item, file);
        }
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let items = core::mem::take(&mut *self.interest.lock());
        for item in items.values() {
            if let Some(file) = item.file.upgrade() {
                self.drop_item(item, &file);
            }
        }
    }
}

/// An open epoll.
pub struct EpollFile(pub Arc<Epoll>);

impl FileOps for EpollFile {
    fn readiness(&self, _: &OpenFile) -> Events {
        if self.0.has_ready() { Events::READABLE } else { Events::empty() }
    }
    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.0.changed)
    }
    fn seek_stays(&self) -> bool {
        true
    }
    fn kind(&self) -> Option<&'static str> {
        Some("[eventpoll]")
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn fdinfo(&self, _: &OpenFile) -> String {
        let mut text = String::new();
        for (item, file) in self.0.watched_files() {
            let (wanted, metadata) = (*item.wanted.lock(), file.inode.metadata());
            let place = format!("pos:{} ino:{:x} sdev:{:x}", *file.offset.lock(), metadata.ino, metadata.dev);
            let _ =
                writeln!(text, "tfd: {:8} events: {:8x} data: {:16x}  {place}", item.fd.0, wanted.events, wanted.data);
        }
        text
    }
}
