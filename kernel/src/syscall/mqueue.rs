//! mq_open(2), mq_timedsend(2), mq_timedreceive(2), mq_notify(2) and their kin.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use aurora_abi::Errno;
use aurora_abi::types::{Sigevent, Timespec};
use aurora_machine::{Instant, VirtAddr};

use crate::ipc::mqueue::{
    Attributes, COST, DEFAULT_MESSAGES, DEFAULT_SIZE, HARD_MESSAGES, HARD_SIZE, Message, Notify, PRIORITIES, Queue,
    QueueFile, of,
};
use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::num::to_usize;
use crate::security::{READ, WRITE};
use crate::syscall::time::to_ns;
use crate::syscall::{Context, SysResult};
use crate::task::Signal;
use crate::vfs::file::FILE_COST;
use crate::vfs::path::NAME_MAX;
use crate::vfs::{Fd, Inode, OpenFile, OpenFlags};

/// A name: one component, as the library gives it without its slash.
async fn name(cx: &Context<'_>, at: UserPtr<CStr>) -> Result<Vec<u8>, Errno> {
    let name = cx.path(at).await?;
    match &*name {
        [] => Err(Errno::ENOENT),
        b"." | b".." => Err(Errno::EACCES),
        long if long.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
        name if name.contains(&b'/') => Err(Errno::EACCES),
        _ => Ok(name),
    }
}

fn checked(attributes: &Attributes, root: bool) -> Result<(i64, i64), Errno> {
    let (most, size) = if root { (HARD_MESSAGES, HARD_SIZE) } else { (DEFAULT_MESSAGES, DEFAULT_SIZE) };
    let good = (1..=most).contains(&attributes.most) && (1..=size).contains(&attributes.size);
    if good { Ok((attributes.most, attributes.size)) } else { Err(Errno::EINVAL) }
}

pub(super) async fn mq_open(
    cx: &mut Context<'_>,
    at: UserPtr<CStr>,
    flags: u32,
    mode: u32,
    attributes: UserPtr<Attributes>,
) -> SysResult {
    let attributes = match attributes.non_null() {
        Some(attributes) => Some(attributes.load(&*cx.space()?).await?),
        None => None,
    };
    let flags = OpenFlags::from_bits_truncate(flags);
    let name = name(cx, at).await?;
    let kernel = cx.kernel();
    let charge = kernel.memory.charge(FILE_COST).map_err(|_| Errno::ENFILE)?;
    let credentials = cx.thread.process.credentials();
    let queue = match kernel.message_queues.get(&name) {
        Some(_) if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) => return Err(Errno::EEXIST),
        Some(queue) => {
            let reads = !flags.contains(OpenFlags::WRONLY);
            let writes = flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR);
            let want = if reads { READ } else { 0 } | if writes { WRITE } else { 0 };
            credentials.may_access(&queue.metadata(), want)?;
            queue
        }
        None if !flags.contains(OpenFlags::CREAT) => return Err(Errno::ENOENT),
        None => {
            let (most, size) = match &attributes {
                Some(attributes) => checked(attributes, credentials.is_root())?,
                None => (DEFAULT_MESSAGES, DEFAULT_SIZE),
            };
            let number = kernel.next_dev.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
            let mode = mode & 0o7777 & !cx.thread.fs().umask();
            let owner = (mode, credentials.fsuid, credentials.fsgid);
            let queue = Queue::new(number, owner, kernel.now(), most, size, kernel.memory.charge(COST)?);
            kernel.message_queues.add(&name, &queue)?;
            queue
        }
    };
    let kept = flags & (OpenFlags::WRONLY | OpenFlags::RDWR | OpenFlags::NONBLOCK);
    let file = OpenFile::new(None, queue.clone(), Arc::new(QueueFile(queue)), kept, charge);
    // These are always closed by execve(2).
    cx.add_file(file, true).map(|fd| u64::from(fd.0.cast_unsigned()))
}

pub(super) async fn mq_unlink(cx: &mut Context<'_>, at: UserPtr<CStr>) -> SysResult {
    let name = name(cx, at).await?;
    let queue = cx.kernel().message_queues.get(&name).ok_or(Errno::ENOENT)?;
    // The directory they are in is sticky.
    if !cx.thread.process.credentials().owns(&queue.metadata()) {
        return Err(Errno::EPERM);
    }
    cx.kernel().message_queues.remove(&name);
    Ok(0)
}

/// The open queue of a descriptor; `EBADF` for every other file.
fn queue_of(cx: &Context<'_>, fd: Fd) -> Result<(Arc<OpenFile>, Arc<Queue>), Errno> {
    let file = cx.thread.file(fd)?;
    let queue = of(&file).cloned().ok_or(Errno::EBADF)?;
    Ok((file, queue))
}

/// Until when to wait, by the clock that can be set.
async fn deadline(cx: &Context<'_>, timeout: UserPtr<Timespec>) -> Result<Option<Instant>, Errno> {
    let Some(timeout) = timeout.non_null() else { return Ok(None) };
    let ns = to_ns(timeout.load(&*cx.space()?).await?)?;
    Ok(Some(cx.kernel().machine.now() + ns.saturating_sub(cx.kernel().realtime_ns())))
}

async fn wait_for<T>(
    cx: &Context<'_>,
    queue: &Queue,
    deadline: Option<Instant>,
    try_it: impl FnMut() -> Option<T>,
) -> Result<T, Errno> {
    let mut ready = core::pin::pin!(queue.changed.wait(try_it));
    let mut sleep = core::pin::pin!(cx.kernel().sleep_until(deadline.unwrap_or(Instant::NEVER)));
    let both = core::future::poll_fn(|context| match ready.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => sleep.as_mut().poll(context).map(|()| Err(Errno::ETIMEDOUT)),
    });
    cx.thread.interruptible(both).await.unwrap_or(Err(Errno::ERESTARTSYS))
}

pub(super) async fn mq_timedsend(
    cx: &mut Context<'_>,
    fd: Fd,
    at: VirtAddr,
    size: u64,
    priority: u32,
    timeout: UserPtr<Timespec>,
) -> SysResult {
    let deadline = deadline(cx, timeout).await?;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL);
    }
    let (file, queue) = queue_of(cx, fd)?;
    if !file.can_write() {
        return Err(Errno::EBADF);
    }
    if size > queue.size() as u64 {
        return Err(Errno::EMSGSIZE);
    }
    let mut data = alloc::vec![0; to_usize(size)];
    cx.space()?.copy_in(at, &mut data).await?;
    let charge = cx.kernel().memory.charge(COST + size)?;
    let from = (cx.thread.process.pid, cx.thread.process.credentials().uid);
    let mut message = Some(Message { data, charge });
    let mut send = || {
        message = queue.send(message.take()?, priority, from);
        message.is_none().then_some(())
    };
    if send().is_some() {
        return Ok(0);
    }
    if file.nonblocking() {
        return Err(Errno::EAGAIN);
    }
    wait_for(cx, &queue, deadline, send).await.map(|()| 0)
}

pub(super) async fn mq_timedreceive(
    cx: &mut Context<'_>,
    fd: Fd,
    at: VirtAddr,
    room: u64,
    priority: UserPtr<u32>,
    timeout: UserPtr<Timespec>,
) -> SysResult {
    let deadline = deadline(cx, timeout).await?;
    let (file, queue) = queue_of(cx, fd)?;
    if !file.can_read() {
        return Err(Errno::EBADF);
    }
    if room < queue.size() as u64 {
        return Err(Errno::EMSGSIZE);
    }
    let (of_message, message) = match queue.receive() {
        Some(received) => received,
        None if file.nonblocking() => return Err(Errno::EAGAIN),
        None => {
            queue.count_receivers(true);
            let received = wait_for(cx, &queue, deadline, || queue.receive()).await;
            queue.count_receivers(false);
            received?
        }
    };
    let space = cx.space()?;
    space.copy_out(at, &message.data).await?;
    priority.store_if(&space, &of_message).await?;
    Ok(message.data.len() as u64)
}

const SIGEV_SIGNAL: i32 = 0;
const SIGEV_NONE: i32 = 1;

pub(super) async fn mq_notify(cx: &mut Context<'_>, fd: Fd, event: UserPtr<Sigevent>) -> SysResult {
    let process = &cx.thread.process;
    let Some(event) = event.non_null() else {
        let (_, queue) = queue_of(cx, fd)?;
        queue.unregister(process);
        return Ok(0);
    };
    let event = event.load(&*cx.space()?).await?;
    // The library's third kind is told by a socket of its own family, which is not offered.
    let signal = match event.notify {
        SIGEV_NONE => None,
        SIGEV_SIGNAL => Some(Signal::from_arg(event.signo)?),
        _ => return Err(Errno::EINVAL),
    };
    let (_, queue) = queue_of(cx, fd)?;
    queue.register(Notify { process: Arc::downgrade(process), signal, value: event.value })?;
    Ok(0)
}

pub(super) async fn mq_getsetattr(
    cx: &mut Context<'_>,
    fd: Fd,
    new: UserPtr<Attributes>,
    old: UserPtr<Attributes>,
) -> SysResult {
    let space = cx.space()?;
    let flags = match new.non_null() {
        Some(new) => {
            let flags = new.load(&space).await?.flags;
            if flags & !i64::from(OpenFlags::NONBLOCK.bits()) != 0 {
                return Err(Errno::EINVAL);
            }
            Some(flags != 0)
        }
        None => None,
    };
    let (file, queue) = queue_of(cx, fd)?;
    let shown = Attributes { flags: i64::from((file.flags() & OpenFlags::NONBLOCK).bits()), ..queue.attributes() };
    if let Some(on) = flags {
        let mut flags = file.flags();
        flags.set(OpenFlags::NONBLOCK, on);
        file.set_flags(flags);
    }
    old.store_if(&space, &shown).await?;
    Ok(0)
}
