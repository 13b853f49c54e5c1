//! shmget(2), msgget(2) and their kin, and what semaphores share with them.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use aurora_abi::{Errno, abi_struct};
use aurora_machine::{Instant, PAGE_SIZE, VirtAddr};

use crate::ipc::sysv::message::{MAX_BYTES, MAX_MESSAGE, Message, MessageQueue, QUEUE_COST, Wanted};
use crate::ipc::sysv::shared_memory::{DESTROY, LOCKED, Segment, SegmentFile, Times, check_size, of};
use crate::ipc::sysv::{NOWAIT, Object, READ, RawPermissions, WRITE};
use crate::memory::area::Label;
use crate::memory::map::{Place, Request, shared_anonymous};
use crate::memory::{Backing, Prot, UserPtr};
use crate::num::{low32_signed, to_usize};
use crate::sync::WaitQueue;
use crate::syscall::{Context, SysResult};
use crate::task::limits::Resource;
use crate::vfs::file::{CloseWatcher, FILE_COST};
use crate::vfs::{OpenFile, OpenFlags};

pub(super) const IPC_RMID: u32 = 0;
pub(super) const IPC_SET: u32 = 1;
pub(super) const IPC_STAT: u32 = 2;
pub(super) const IPC_INFO: u32 = 3;

abi_struct! {
    /// `struct shmid64_ds`, shmctl(2).
    pub struct SegmentInfo(112) {
        pub permissions: RawPermissions, pub size: u64, pub attached: i64, pub detached: i64, pub changed: i64,
        pub creator: i32, pub last: i32, pub attachments: u64, pub unused: [u64; 2],
    }
}
abi_struct! {
    /// `struct shminfo64`, shmctl(2).
    pub struct SegmentLimits(72) { pub most: u64, pub least: u64, pub objects: u64, pub each: u64, pub all: u64, pub unused: [u64; 4], }
}
abi_struct! {
    /// `struct shm_info`, shmctl(2).
    pub struct SegmentUse(48) { pub used: i32, pub pad: u32, pub total: u64, pub resident: u64, pub swapped: u64, pub tries: u64, pub done: u64, }
}
abi_struct! {
    /// `struct msqid64_ds`, msgctl(2).
    pub struct QueueInfo(120) {
        pub permissions: RawPermissions, pub sent: i64, pub received: i64, pub changed: i64, pub bytes: u64,
        pub count: u64, pub most_bytes: u64, pub last_sender: i32, pub last_receiver: i32, pub unused: [u64; 2],
    }
}
abi_struct! {
    /// `struct msginfo`, msgctl(2).
    pub struct QueueLimits(32) {
        pub pool: i32, pub map: i32, pub most: i32, pub bytes: i32, pub queues: i32, pub unit: i32, pub all: i32,
        pub segments: u16, pub pad: u16,
    }
}

pub(super) fn number(value: i32) -> SysResult {
    Ok(u64::from(value.cast_unsigned()))
}

pub(super) fn count(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

impl Context<'_> {
    pub(super) fn seconds(&self) -> i64 {
        self.kernel().now().sec
    }
    pub(super) fn pid(&self) -> i32 {
        self.thread.process.pid.0
    }
}

/// Waits until `try_it` gives something; removal and time limits are its business, signals end it without restarting.
pub(super) async fn wait_for<T>(
    cx: &Context<'_>,
    queue: &WaitQueue,
    deadline: Option<Instant>,
    mut try_it: impl FnMut() -> Option<T>,
) -> Result<T, Errno> {
    use core::task::Poll;
    let mut ready = core::pin::pin!(queue.wait(&mut try_it));
    let mut sleep = core::pin::pin!(cx.kernel().sleep_until(deadline.unwrap_or(Instant::NEVER)));
    let both = core::future::poll_fn(|context| match ready.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => sleep.as_mut().poll(context).map(|()| Err(Errno::EAGAIN)),
    });
    cx.thread.interruptible(both).await.unwrap_or(Err(Errno::ERESTARTNOHAND))
}

// Shared memory.

pub(super) fn shmget(cx: &mut Context<'_>, key: i32, size: u64, flags: u32) -> SysResult {
    let kernel = cx.kernel();
    let segments = &kernel.system_v.segments.0;
    let who = cx.thread.process.credentials();
    let fits = |s: &Segment| if size > s.size { Err(Errno::EINVAL) } else { Ok(()) };
    let times = Times { changed: cx.seconds(), creator: cx.pid(), ..Times::default() };
    let id = segments.get(key, flags, &who, fits, |permissions| {
        check_size(size)?;
        let charge = kernel.memory.charge(FILE_COST)?;
        let cache = shared_anonymous(&kernel.memory, &kernel.shared_memory, size);
        Ok(Segment::new(permissions, cache, size, times, charge))
    })?;
    *segments.object(id)?.number.lock() = id;
    number(id)
}

const SHM_RDONLY: u32 = 0o10000;
const SHM_RND: u32 = 0o20000;
const SHM_REMAP: u32 = 0o40000;
const SHM_EXEC: u32 = 0o100000;

pub(super) fn shmat(cx: &mut Context<'_>, id: i32, at: VirtAddr, flags: u32) -> SysResult {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let at = match at.0 % PAGE_SIZE {
        0 => at,
        rest if flags & SHM_RND != 0 => VirtAddr(at.0 - rest),
        _ => return Err(Errno::EINVAL),
    };
    if at.0 == 0 && flags & SHM_REMAP != 0 {
        return Err(Errno::EINVAL);
    }
    let kernel = cx.kernel();
    let segment = kernel.system_v.segments.0.object(id)?;
    let read_only = flags & SHM_RDONLY != 0;
    let want = if read_only { READ } else { READ | WRITE };
    let want = if flags & SHM_EXEC != 0 { want | 1 } else { want };
    segment.permissions().check(&cx.thread.process.credentials(), want)?;
    let charge = kernel.memory.charge(FILE_COST)?;
    let inode = kernel.anonymous.unnamed(kernel.now());
    let rights = if read_only { OpenFlags::empty() } else { OpenFlags::RDWR };
    let file = OpenFile::new(None, inode, Arc::new(SegmentFile(segment.clone())), rights, charge);
    let watcher: Weak<dyn CloseWatcher> = Arc::downgrade(&kernel.system_v.segments) as _;
    file.watch_close(watcher);
    let mut prot = Prot::READ;
    prot.set(Prot::WRITE, !read_only);
    prot.set(Prot::EXEC, flags & SHM_EXEC != 0);
    let request = Request {
        place: match (at.0, flags & SHM_REMAP) {
            (0, _) => Place::Near(at),
            (_, 0) => Place::FixedFree(at),
            _ => Place::Fixed(at),
        },
        len: segment.size.next_multiple_of(PAGE_SIZE),
        prot,
        shared: true,
        grows_down: false,
        no_reserve: false,
        backing: Backing::Cache { cache: segment.cache.clone(), first: 0, file: Some(file.clone()) },
        label: Label::None,
        limit: cx.thread.process.limits.get(Resource::AddressSpace),
    };
    let place = cx.space()?.map(request).map_err(|errno| if errno == Errno::EEXIST { Errno::EINVAL } else { errno })?;
    segment.note_attached(&file);
    let mut times = segment.times();
    (times.attached, times.last) = (cx.seconds(), cx.pid());
    Ok(place.0)
}

pub(super) fn shmdt(cx: &mut Context<'_>, at: VirtAddr) -> SysResult {
    if !at.0.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let mut attached: Option<Arc<OpenFile>> = None;
    let mut parts = Vec::new();
    space.for_each_area(|area| {
        let Backing::Cache { first, file: Some(file), .. } = &area.backing else { return };
        if of(file).is_none() || area.range.start < at {
            return;
        }
        let begins = area.range.start == at && *first == 0;
        if begins && attached.is_none() {
            attached = Some(file.clone());
        }
        // Parts of it that were made different since are taken away, too.
        if attached.as_ref().is_some_and(|a| Arc::ptr_eq(a, file)) && area.range.start == at + *first * PAGE_SIZE {
            parts.push(area.range);
        }
    });
    let file = attached.ok_or(Errno::EINVAL)?;
    if let Some(segment) = of(&file) {
        let mut times = segment.times();
        (times.detached, times.last) = (cx.seconds(), cx.pid());
    }
    for range in parts {
        space.unmap(range.start, range.len())?;
    }
    Ok(0)
}

const SHM_LOCK: u32 = 11;
const SHM_UNLOCK: u32 = 12;
const SHM_STAT: u32 = 13;
const SHM_INFO: u32 = 14;
const SHM_STAT_ANY: u32 = 15;

pub(super) async fn shmctl(cx: &mut Context<'_>, id: i32, command: u32, at: u64) -> SysResult {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let kernel = cx.kernel();
    let segments = &kernel.system_v.segments.0;
    let who = cx.thread.process.credentials();
    let space = cx.space()?;
    match command {
        IPC_INFO => {
            let limits = SegmentLimits {
                most: u64::MAX - (1 << 24),
                least: 1,
                objects: 4096,
                each: 4096,
                all: u64::MAX - (1 << 24),
                unused: [0; 4],
            };
            UserPtr::new(at).store(&space, &limits).await?;
            number(segments.extent().0)
        }
        SHM_INFO => {
            let all = segments.all();
            let total = all.iter().map(|(_, s)| s.size.div_ceil(PAGE_SIZE)).sum();
            let resident = all.iter().map(|(_, s)| s.cache.resident_pages()).sum();
            let used = SegmentUse { used: count(all.len()), total, resident, ..SegmentUse::default() };
            UserPtr::new(at).store(&space, &used).await?;
            number(segments.extent().0)
        }
        IPC_STAT | SHM_STAT | SHM_STAT_ANY => {
            let (real, segment) =
                if command == IPC_STAT { (0, segments.object(id)?) } else { segments.at_place(id)? };
            if command != SHM_STAT_ANY {
                segment.permissions().check(&who, READ)?;
            }
            let times = *segment.times();
            let info = SegmentInfo {
                permissions: segment.permissions().raw(),
                size: segment.size,
                attached: times.attached,
                detached: times.detached,
                changed: times.changed,
                creator: times.creator,
                last: times.last,
                attachments: segment.attachments() as u64,
                unused: [0; 2],
            };
            UserPtr::new(at).store(&space, &info).await?;
            number(real)
        }
        IPC_SET => {
            let info: SegmentInfo = UserPtr::new(at).load(&space).await?;
            let segment = segments.object(id)?;
            segment.permissions().check_owner(&who)?;
            segment.permissions().set(&info.permissions);
            segment.times().changed = cx.seconds();
            Ok(0)
        }
        IPC_RMID => {
            let segment = segments.object(id)?;
            segment.permissions().check_owner(&who)?;
            if segment.attachments() == 0 {
                drop(segments.remove(id));
            } else {
                segments.forget_key(&segment);
                segment.permissions().mode |= DESTROY;
            }
            Ok(0)
        }
        SHM_LOCK | SHM_UNLOCK => {
            let segment = segments.object(id)?;
            segment.permissions().check_owner(&who)?;
            let mut permissions = segment.permissions();
            permissions.mode = permissions.mode & !LOCKED | if command == SHM_LOCK { LOCKED } else { 0 };
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

// Message queues.

pub(super) fn msgget(cx: &mut Context<'_>, key: i32, flags: u32) -> SysResult {
    let kernel = cx.kernel();
    let who = cx.thread.process.credentials();
    let now = cx.seconds();
    let make = |permissions| Ok(MessageQueue::new(permissions, now, kernel.memory.charge(QUEUE_COST)?));
    number(kernel.system_v.queues.get(key, flags, &who, |_| Ok(()), make)?)
}

pub(super) async fn msgsnd(cx: &mut Context<'_>, id: i32, at: VirtAddr, size: u64, flags: u32) -> SysResult {
    let space = cx.space()?;
    let kind: i64 = space.load(at).await?;
    if size > MAX_MESSAGE || id < 0 || kind < 1 {
        return Err(Errno::EINVAL);
    }
    let charge = cx.kernel().memory.charge(QUEUE_COST + size)?;
    let mut data = alloc::vec![0; to_usize(size)];
    space.copy_in(at + 8, &mut data).await?;
    let queue = cx.kernel().system_v.queues.object(id)?;
    queue.permissions().check(&cx.thread.process.credentials(), WRITE)?;
    let (pid, now) = (cx.pid(), cx.seconds());
    let mut message = Some(Message { kind, data, charge });
    let mut send = || {
        let Some(this) = message.take() else { return Some(Ok(())) };
        match queue.send(this, pid, now) {
            Ok(None) => Some(Ok(())),
            Ok(back) if flags & NOWAIT == 0 => {
                message = back;
                None
            }
            Ok(_) => Some(Err(Errno::EAGAIN)),
            Err(errno) => Some(Err(errno)),
        }
    };
    wait_for(cx, &queue.changed, None, &mut send).await??;
    Ok(0)
}

const MSG_NOERROR: u32 = 0o10000;
const MSG_EXCEPT: u32 = 0o20000;
const MSG_COPY: u32 = 0o40000;

pub(super) async fn msgrcv(cx: &mut Context<'_>, id: i32, at: VirtAddr, size: u64, kind: i64, flags: u32) -> SysResult {
    if id < 0 || size.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    if flags & MSG_COPY != 0 {
        // For saving and restoring programs, which is done otherwise here.
        return Err(Errno::ENOSYS);
    }
    let queue = cx.kernel().system_v.queues.object(id)?;
    queue.permissions().check(&cx.thread.process.credentials(), READ)?;
    let wanted = Wanted { kind, except: flags & MSG_EXCEPT != 0, room: size, cut: flags & MSG_NOERROR != 0 };
    let (pid, now) = (cx.pid(), cx.seconds());
    let receive = || match queue.receive(&wanted, pid, now) {
        Ok(Some(message)) => Some(Ok(message)),
        Ok(None) if flags & NOWAIT == 0 => None,
        Ok(None) => Some(Err(Errno::ENOMSG)),
        Err(errno) => Some(Err(errno)),
    };
    let message = wait_for(cx, &queue.changed, None, receive).await??;
    let cut = message.data.len().min(to_usize(size));
    let space = cx.space()?;
    space.store(at, &message.kind).await?;
    space.copy_out(at + 8, message.data.get(..cut).unwrap_or_default()).await?;
    Ok(cut as u64)
}

const MSG_STAT: u32 = 11;
const MSG_INFO: u32 = 12;
const MSG_STAT_ANY: u32 = 13;

pub(super) async fn msgctl(cx: &mut Context<'_>, id: i32, command: u32, at: u64) -> SysResult {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let queues = &cx.kernel().system_v.queues;
    let who = cx.thread.process.credentials();
    let space = cx.space()?;
    match command {
        IPC_INFO | MSG_INFO => {
            let most = low32_signed(MAX_MESSAGE);
            let mut limits = QueueLimits {
                most,
                bytes: low32_signed(MAX_BYTES),
                queues: 32000,
                unit: 16,
                segments: 0xffff,
                ..QueueLimits::default()
            };
            if command == MSG_INFO {
                let all = queues.all();
                limits.pool = count(all.len());
                limits.map = count(all.iter().map(|(_, q)| q.state().count()).sum());
                limits.all = low32_signed(all.iter().map(|(_, q)| q.state().bytes).sum());
            }
            UserPtr::new(at).store(&space, &limits).await?;
            number(queues.extent().0)
        }
        IPC_STAT | MSG_STAT | MSG_STAT_ANY => {
            let (real, queue) = if command == IPC_STAT { (0, queues.object(id)?) } else { queues.at_place(id)? };
            if command != MSG_STAT_ANY {
                queue.permissions().check(&who, READ)?;
            }
            let permissions = queue.permissions().raw();
            let info = {
                let state = queue.state();
                QueueInfo {
                    permissions,
                    sent: state.sent,
                    received: state.received,
                    changed: state.changed,
                    bytes: state.bytes,
                    count: state.count() as u64,
                    most_bytes: state.most_bytes,
                    last_sender: state.last_sender,
                    last_receiver: state.last_receiver,
                    unused: [0; 2],
                }
            };
            UserPtr::new(at).store(&space, &info).await?;
            number(real)
        }
        IPC_SET => {
            let info: QueueInfo = UserPtr::new(at).load(&space).await?;
            let queue = queues.object(id)?;
            queue.permissions().check_owner(&who)?;
            if info.most_bytes > MAX_BYTES && !who.is_root() {
                return Err(Errno::EPERM);
            }
            queue.permissions().set(&info.permissions);
            let mut state = queue.state();
            (state.most_bytes, state.changed) = (info.most_bytes, cx.seconds());
            drop(state);
            queue.changed.wake_all();
            Ok(0)
        }
        IPC_RMID => {
            queues.object(id)?.permissions().check_owner(&who)?;
            if let Some(queue) = queues.remove(id) {
                queue.close();
            }
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}
