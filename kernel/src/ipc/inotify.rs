//! inotify(7): telling programs what happens to files.
//!
//! A watch is on an inode. What happens to a file is told to who watches it, and by name to who watches the directory its
//! name is in. While nobody watches anything, telling costs a look at a counter.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use aurora_abi::{Abi, Errno, abi_struct};

use crate::memory::account::Charge;
use crate::memory::{IoBuf, IoError};
use crate::num::low32;
use crate::sync::{Mutex, WaitQueue};
use crate::vfs::file::{CloseWatcher, IoctlAnswer, IoctlArgs};
use crate::vfs::{Dentry, Events, FileOps, Inode, OpenFile};

abi_struct! {
    /// `struct inotify_event`, without its name.
    pub struct Header(16) { pub watch: i32, pub mask: u32, pub cookie: u32, pub len: u32, }
}

/// A file was read.
pub const ACCESS: u32 = 0x1;
/// A file was written.
pub const MODIFY: u32 = 0x2;
/// Its attributes changed.
pub const ATTRIB: u32 = 0x4;
/// Closed, having been open for writing.
const CLOSE_WRITE: u32 = 0x8;
/// Closed, having been open for reading only.
const CLOSE_NOWRITE: u32 = 0x10;
/// Opened.
pub const OPEN: u32 = 0x20;
const MOVED_FROM: u32 = 0x40;
const MOVED_TO: u32 = 0x80;
/// A name was made.
pub const CREATE: u32 = 0x100;
/// A name was removed.
pub const DELETE: u32 = 0x200;
const DELETE_SELF: u32 = 0x400;
const MOVE_SELF: u32 = 0x800;
const Q_OVERFLOW: u32 = 0x4000;
const IGNORED: u32 = 0x8000;
const EXCL_UNLINK: u32 = 0x0400_0000;
const MASK_ADD: u32 = 0x2000_0000;
const ISDIR: u32 = 0x4000_0000;
const ONESHOT: u32 = 0x8000_0000;
/// What can be waited for.
const ALL: u32 = 0xfff;
/// Most events that wait: `fs.inotify.max_queued_events`.
const MAX_QUEUED: usize = 16384;
/// Kernel heap a watch is charged.
pub const WATCH_COST: u64 = 256;

/// A file system's number and an inode's.
type Place = (u64, u64);

fn place_of(inode: &Arc<dyn Inode>) -> Place {
    let metadata = inode.metadata();
    (metadata.dev, metadata.ino)
}

/// All watches of a system.
#[derive(Default)]
pub struct Watches {
    count: AtomicUsize,
    places: Mutex<BTreeMap<Place, Vec<Arc<Watch>>>>,
    cookie: AtomicU32,
}

/// One watch.
struct Watch {
    number: i32,
    instance: Weak<Inotify>,
    mask: AtomicU32,
    place: Place,
    /// Kept, so that its number is not another's.
    _inode: Arc<dyn Inode>,
    _charge: Charge,
}

/// An inotify: its watches, and what happened.
pub struct Inotify {
    this: Weak<Self>,
    watches: Arc<Watches>,
    state: Mutex<State>,
    changed: WaitQueue,
}

#[derive(Default)]
struct State {
    own: BTreeMap<i32, Arc<Watch>>,
    last: i32,
    queue: VecDeque<Event>,
}

#[derive(Clone, PartialEq, Eq)]
struct Event {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: Vec<u8>,
}

impl Event {
    /// Bytes of the name with its NULs.
    fn name_size(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(Header::SIZE) }
    }
    fn size(&self) -> usize {
        Header::SIZE + self.name_size()
    }
    fn bytes(&self) -> Vec<u8> {
        let len = low32(self.name_size() as u64);
        let mut bytes = alloc::vec![0; self.size()];
        Header { watch: self.watch, mask: self.mask, cookie: self.cookie, len }.store(&mut bytes);
        bytes.iter_mut().skip(Header::SIZE).zip(&self.name).for_each(|(to, from)| *to = *from);
        bytes
    }
}

impl Watches {
    /// Whether anybody watches anything.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Something happened to what a dentry names.
    pub fn tell(&self, dentry: &Arc<Dentry>, mask: u32) {
        if !self.any() {
            return;
        }
        let directory = if dentry.inode().metadata().is_dir() { ISDIR } else { 0 };
        if let Some(parent) = dentry.parent() {
            self.tell_place(place_of(parent.inode()), mask | directory, 0, &dentry.name(), dentry.is_removed());
        }
        self.tell_place(place_of(dentry.inode()), mask | directory, 0, &[], false);
    }

    /// Something happened to an open file.
    pub fn tell_file(&self, file: &OpenFile, mask: u32) {
        if let (true, Some(path)) = (self.any(), &file.path) {
            self.tell(&path.dentry, mask);
        }
    }

    /// A name appeared in a directory, or went.
    pub fn tell_name(&self, directory: &Arc<Dentry>, name: &[u8], is_dir: bool, mask: u32) {
        if self.any() {
            let kind = if is_dir { ISDIR } else { 0 };
            self.tell_place(place_of(directory.inode()), mask | kind, 0, name, false);
        }
    }

    /// Something happened to an inode, whatever its names.
    pub fn tell_inode(&self, inode: &Arc<dyn Inode>, mask: u32) {
        if self.any() {
            self.tell_place(place_of(inode), mask, 0, &[], false);
        }
    }

    /// A name is gone: of an inode with others, of one somebody has open, or of one that is gone with it.
    pub fn removed(&self, directory: &Arc<Dentry>, gone: &Arc<Dentry>, in_use: bool) {
        if !self.any() {
            return;
        }
        let is_dir = gone.inode().metadata().is_dir();
        if !is_dir {
            self.tell_inode(gone.inode(), ATTRIB);
        }
        let last = is_dir || gone.inode().metadata().nlink == 0;
        if is_dir && last && !in_use {
            self.inode_gone(gone.inode());
        }
        self.tell_name(directory, &gone.name(), is_dir, DELETE);
        if !is_dir && last && !in_use {
            self.inode_gone(gone.inode());
        }
    }

    /// Nothing leads to an inode any more.
    fn inode_gone(&self, inode: &Arc<dyn Inode>) {
        let place = place_of(inode);
        self.tell_place(place, DELETE_SELF, 0, &[], false);
        let watches = self.places.lock().get(&place).cloned().unwrap_or_default();
        for watch in watches {
            if let Some(instance) = watch.instance.upgrade() {
                let _ = instance.remove(watch.number);
            }
        }
    }

    /// A name was moved.
    pub fn moved(&self, from: (&Arc<Dentry>, &[u8]), to: (&Arc<Dentry>, &[u8]), inode: &Arc<dyn Inode>) {
        if !self.any() {
            return;
        }
        let cookie = self.cookie.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let kind = if inode.metadata().is_dir() { ISDIR } else { 0 };
        self.tell_place(place_of(from.0.inode()), MOVED_FROM | kind, cookie, from.1, false);
        self.tell_place(place_of(to.0.inode()), MOVED_TO | kind, cookie, to.1, false);
        self.tell_place(place_of(inode), MOVE_SELF, 0, &[], false);
    }

    fn tell_place(&self, place: Place, mask: u32, cookie: u32, name: &[u8], unlinked: bool) {
        let watches = self.places.lock().get(&place).cloned().unwrap_or_default();
        for watch in watches {
            let wanted = watch.mask.load(Ordering::Relaxed);
            let skip = unlinked && wanted & EXCL_UNLINK != 0;
            if let (true, Some(instance)) = (wanted & mask & ALL != 0 && !skip, watch.instance.upgrade()) {
                // What happens to oneself does not say that one is a directory.
                let own = name.is_empty() && mask & (DELETE_SELF | MOVE_SELF) != 0;
                let mask = if own { mask & !ISDIR } else { mask };
                instance.push(Event { watch: watch.number, mask, cookie, name: name.to_vec() });
                if wanted & ONESHOT != 0 {
                    let _ = instance.remove(watch.number);
                }
            }
        }
    }
}

impl CloseWatcher for Watches {
    fn closed(&self, file: &OpenFile) {
        if !self.any() {
            return;
        }
        self.tell_file(file, if file.can_write() { CLOSE_WRITE } else { CLOSE_NOWRITE });
        let Some(path) = &file.path else { return };
        // The last open file of an inode without names takes it along.
        if path.dentry.is_removed() && Arc::strong_count(&path.dentry) == 1 && file.inode.metadata().nlink == 0 {
            self.inode_gone(&file.inode);
        }
    }
}

impl Inotify {
    /// One that watches nothing.
    pub fn new(watches: &Arc<Watches>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            watches: watches.clone(),
            state: Mutex::default(),
            changed: WaitQueue::new(),
        })
    }

    /// Watches an inode; gives the watch's number, an old one if it was watched already.
    pub fn add(&self, inode: &Arc<dyn Inode>, mask: u32, create: bool, charge: Charge) -> Result<i32, Errno> {
        let place = place_of(inode);
        let kept = mask & (ALL | EXCL_UNLINK | ONESHOT);
        let existing = self.state.lock().own.values().find(|w| w.place == place).cloned();
        if let Some(watch) = existing {
            if create {
                return Err(Errno::EEXIST);
            }
            match mask & MASK_ADD {
                0 => watch.mask.store(kept, Ordering::Relaxed),
                _ => drop(watch.mask.fetch_or(kept, Ordering::Relaxed)),
            }
            return Ok(watch.number);
        }
        let mut state = self.state.lock();
        state.last = state.last.checked_add(1).ok_or(Errno::ENOSPC)?;
        let watch = Arc::new(Watch {
            number: state.last,
            instance: self.this.clone(),
            mask: AtomicU32::new(kept),
            place,
            _inode: inode.clone(),
            _charge: charge,
        });
        state.own.insert(watch.number, watch.clone());
        drop(state);
        let number = watch.number;
        self.watches.places.lock().entry(place).or_default().push(watch);
        self.watches.count.fetch_add(1, Ordering::Relaxed);
        Ok(number)
    }

    /// Takes a watch away, and says so.
    pub fn remove(&self, number: i32) -> Result<(), Errno> {
        let watch = self.state.lock().own.remove(&number).ok_or(Errno::EINVAL)?;
        self.unlist(&watch);
        self.push(Event { watch: number, mask: IGNORED, cookie: 0, name: Vec::new() });
        Ok(())
    }

    fn unlist(&self, watch: &Arc<Watch>) {
        let mut places = self.watches.places.lock();
        if let Some(list) = places.get_mut(&watch.place) {
            list.retain(|w| !Arc::ptr_eq(w, watch));
            if list.is_empty() {
                places.remove(&watch.place);
            }
        }
        drop(places);
        self.watches.count.fetch_sub(1, Ordering::Relaxed);
    }

    fn push(&self, event: Event) {
        let mut state = self.state.lock();
        // The same again says nothing new.
        if state.queue.back() == Some(&event) {
            return;
        }
        match state.queue.len() {
            MAX_QUEUED => state.queue.push_back(Event { watch: -1, mask: Q_OVERFLOW, cookie: 0, name: Vec::new() }),
            0..MAX_QUEUED => state.queue.push_back(event),
            _ => return,
        }
        drop(state);
        self.changed.wake(Events::READABLE);
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let own = core::mem::take(&mut self.state.lock().own);
        own.values().for_each(|watch| self.unlist(watch));
    }
}

/// An open inotify.
pub struct InotifyFile(pub Arc<Inotify>);

/// The inotify an open file is, if it is one.
pub fn of(file: &OpenFile) -> Option<&Inotify> {
    file.ops.as_any()?.downcast_ref::<InotifyFile>().map(|f| &*f.0)
}

const FIONREAD: u32 = 0x541b;

impl FileOps for InotifyFile {
    fn read_at(&self, _: &OpenFile, _: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let start = out.done();
        let mut state = self.0.state.lock();
        loop {
            let Some(event) = state.queue.front() else { break };
            if event.size() > out.remaining() {
                if out.done() == start {
                    return Err(Errno::EINVAL.into());
                }
                break;
            }
            let bytes = event.bytes();
            let moved = out.put(&bytes);
            if moved < bytes.len() {
                out.untake(moved);
                return out.stopped(start);
            }
            state.queue.pop_front();
        }
        if out.done() == start { Err(IoError::WouldBlock) } else { Ok(out.done() - start) }
    }
    fn readiness(&self, _: &OpenFile) -> Events {
        if self.0.state.lock().queue.is_empty() { Events::empty() } else { Events::READABLE }
    }
    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.0.changed)
    }
    fn ioctl(&self, _: &OpenFile, args: &IoctlArgs<'_>, _: &[u8]) -> Result<IoctlAnswer, Errno> {
        if args.request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let size: usize = self.0.state.lock().queue.iter().map(Event::size).sum();
        Ok(IoctlAnswer { value: 0, out: low32(size as u64).to_le_bytes().to_vec() })
    }
    fn seek_stays(&self) -> bool {
        true
    }
    fn kind(&self) -> Option<&'static str> {
        Some("inotify")
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn fdinfo(&self, _: &OpenFile) -> String {
        let mut text = String::new();
        for watch in self.0.state.lock().own.values() {
            let (dev, ino) = watch.place;
            let mask = watch.mask.load(Ordering::Relaxed);
            let _ =
                writeln!(text, "inotify wd:{:x} ino:{ino:x} sdev:{dev:x} mask:{mask:x} ignored_mask:0", watch.number);
        }
        text
    }
}
