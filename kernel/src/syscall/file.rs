//! Reading, writing and positions: read(2), write(2), lseek(2) and their kin.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use aurora_abi::Errno;
use aurora_abi::types::IoVec;
use aurora_machine::{Instant, PAGE_SIZE, USER_END, VirtAddr};

use crate::ipc::inotify;
use crate::memory::io::{Segment, Segments};
use crate::memory::{AddressSpace, IoBuf, IoError, PageCache, UserPtr};
use crate::num::{low16, to_usize};
use crate::syscall::{Context, SysResult};
use crate::task::limits::{Resource, UNLIMITED};
use crate::task::{SigInfo, Signal, Thread};
use crate::tty::Tty;
use crate::tty::job::check_background;
use crate::vfs::{AttributeChange, Events, Fd, FileKind, OpenFile, OpenFlags, SetTime};

/// Most segments of readv(2): `IOV_MAX`.
const IOV_MAX: u64 = 1024;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

/// Where in the file.
#[derive(Clone, Copy)]
enum At {
    /// At the file's own position, which moves.
    Position,
    /// There.
    Offset(u64),
}

pub(super) async fn read(cx: &mut Context<'_>, fd: Fd, buffer: VirtAddr, len: u64) -> SysResult {
    transfer(cx, fd, &one(buffer, len)?, Way::Read, At::Position).await
}

pub(super) async fn write(cx: &mut Context<'_>, fd: Fd, buffer: VirtAddr, len: u64) -> SysResult {
    transfer(cx, fd, &one(buffer, len)?, Way::Write, At::Position).await
}

pub(super) async fn pread64(cx: &mut Context<'_>, fd: Fd, buffer: VirtAddr, len: u64, offset: i64) -> SysResult {
    transfer(cx, fd, &one(buffer, len)?, Way::Read, at(offset)?).await
}

pub(super) async fn pwrite64(cx: &mut Context<'_>, fd: Fd, buffer: VirtAddr, len: u64, offset: i64) -> SysResult {
    transfer(cx, fd, &one(buffer, len)?, Way::Write, at(offset)?).await
}

pub(super) async fn readv(cx: &mut Context<'_>, fd: Fd, vector: UserPtr<IoVec>, count: u64) -> SysResult {
    let segments = many(cx, vector, count).await?;
    transfer(cx, fd, &segments, Way::Read, At::Position).await
}

pub(super) async fn writev(cx: &mut Context<'_>, fd: Fd, vector: UserPtr<IoVec>, count: u64) -> SysResult {
    let segments = many(cx, vector, count).await?;
    transfer(cx, fd, &segments, Way::Write, At::Position).await
}

pub(super) async fn preadv(cx: &mut Context<'_>, fd: Fd, vector: UserPtr<IoVec>, count: u64, offset: i64) -> SysResult {
    let segments = many(cx, vector, count).await?;
    transfer(cx, fd, &segments, Way::Read, at(offset)?).await
}

pub(super) async fn pwritev(
    cx: &mut Context<'_>,
    fd: Fd,
    vector: UserPtr<IoVec>,
    count: u64,
    offset: i64,
) -> SysResult {
    let segments = many(cx, vector, count).await?;
    transfer(cx, fd, &segments, Way::Write, at(offset)?).await
}

fn at(offset: i64) -> Result<At, Errno> {
    u64::try_from(offset).map(At::Offset).map_err(|_| Errno::EINVAL)
}

fn one(base: VirtAddr, len: u64) -> Result<Segments, Errno> {
    if len.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Segments::One([Segment { base, len }]))
}

async fn many(cx: &Context<'_>, vector: UserPtr<IoVec>, count: u64) -> Result<Segments, Errno> {
    if count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let mut segments = Vec::with_capacity(to_usize(count));
    let mut total: u64 = 0;
    for i in 0..count {
        let IoVec { base, len } = vector.element(i).load(&space).await?;
        total = total.checked_add(len).filter(|t| t.cast_signed() >= 0).ok_or(Errno::EINVAL)?;
        segments.push(Segment { base: VirtAddr(base), len });
    }
    Ok(Segments::Many(segments))
}

/// Reads from a descriptor into the kernel's own memory.
pub(super) async fn read_into(cx: &Context<'_>, fd: Fd, out: &mut [u8]) -> SysResult {
    let file = cx.thread.file(fd)?;
    if !file.can_read() {
        return Err(Errno::EBADF);
    }
    let mut buffer = IoBuf::kernel_out(out);
    move_bytes(cx.thread, &file, &*cx.space()?, &mut buffer, Way::Read, At::Position, UNLIMITED).await
}

/// Writes bytes of the kernel's own to a descriptor.
pub(super) async fn write_from(cx: &Context<'_>, fd: Fd, bytes: &[u8]) -> SysResult {
    let file = cx.thread.file(fd)?;
    if !file.can_write() {
        return Err(Errno::EBADF);
    }
    let mut buffer = IoBuf::kernel_in(bytes);
    move_bytes(cx.thread, &file, &*cx.space()?, &mut buffer, Way::Write, At::Position, UNLIMITED).await
}

/// Moves bytes between a file and a program's buffers.
async fn transfer(cx: &mut Context<'_>, fd: Fd, segments: &Segments, way: Way, place: At) -> SysResult {
    let thread = cx.thread;
    let file = thread.file(fd)?;
    let allowed = if way == Way::Read { file.can_read() } else { file.can_write() };
    if !allowed {
        return Err(Errno::EBADF);
    }
    if matches!(place, At::Offset(_)) && !file.ops.seekable() {
        return Err(Errno::ESPIPE);
    }
    // What cannot be a program's memory is refused even when no byte would move.
    let inside = |s: &Segment| s.base.checked_add(s.len).is_some_and(|end| end <= USER_END);
    if !segments.as_slice().iter().all(inside) {
        return Err(Errno::EFAULT);
    }
    if let Some(socket) = crate::net::of(&file).cloned() {
        let open = super::socket::Open { file, socket };
        return match way {
            Way::Read => super::message::read(cx, &open, segments.as_slice()).await,
            Way::Write => super::message::write(cx, &open, segments.as_slice()).await,
        };
    }
    let space = cx.space()?;
    let mut buffer = IoBuf::user(&space, segments.as_slice());
    let limit = if way == Way::Write { thread.process.limits.get(Resource::FileSize) } else { UNLIMITED };
    let result = move_bytes(thread, &file, &space, &mut buffer, way, place, limit).await;
    if result.is_ok_and(|moved| moved > 0) {
        let what = if way == Way::Read { inotify::ACCESS } else { inotify::MODIFY };
        thread.kernel().watches.tell_file(&file, what);
    }
    if way == Way::Write && result == Err(Errno::EPIPE) {
        let _ = thread.send(SigInfo::kernel(Signal::SIGPIPE));
    }
    if way == Way::Write && result == Err(Errno::EFBIG) && limit != UNLIMITED {
        let _ = thread.send(SigInfo::kernel(Signal::SIGXFSZ));
    }
    result
}

async fn move_bytes(
    thread: &Arc<Thread>,
    file: &Arc<OpenFile>,
    space: &AddressSpace,
    buffer: &mut IoBuf<'_>,
    way: Way,
    place: At,
    limit: u64,
) -> SysResult {
    let terminal = file.ops.terminal();
    // Until when a reader waits for a terminal's first byte; set when it first has to.
    let mut deadline = None;
    let mut patient = true;
    loop {
        if let Some(tty) = terminal {
            let signal = match way {
                Way::Read => Some(Signal::SIGTTIN),
                Way::Write if tty.stops_background_writers() => Some(Signal::SIGTTOU),
                Way::Write => None,
            };
            if let Some(signal) = signal {
                check_background(thread, tty, signal)?;
            }
        }
        let before = buffer.done();
        let step = match patient {
            true => step(thread, file, buffer, way, place, limit),
            false => file.ops.read_now(file, buffer),
        };
        let progress = buffer.done() > 0;
        match step {
            Err(IoError::Fault) => {
                let resolved = match buffer.take_fault() {
                    Some(fault) => space.resolve(fault).await,
                    None => Err(Errno::EFAULT),
                };
                match resolved {
                    Ok(()) => continue,
                    Err(_) if progress => break,
                    Err(errno) => return Err(errno),
                }
            }
            Err(IoError::Errno(_)) if progress => break,
            Err(IoError::Errno(errno)) => return Err(errno),
            Err(IoError::WouldBlock) => {
                if progress && way == Way::Read {
                    break;
                }
                let typing = terminal.filter(|_| way == Way::Read);
                // A terminal's reader that cannot go on waiting takes what it did not want to go with.
                let some_typed = typing.is_some_and(|tty| tty.input_state(buffer.remaining()).0 > 0);
                if file.nonblocking() && some_typed {
                    patient = false;
                    continue;
                }
                if file.nonblocking() {
                    return if progress { Ok(buffer.done() as u64) } else { Err(Errno::EAGAIN) };
                }
                let wake = match typing {
                    Some(tty) => wait_typed(thread, file, tty, buffer.remaining(), &mut deadline).await,
                    None => wait_ready(thread, file, way).await,
                };
                match wake {
                    Wake::Ready => {}
                    Wake::TimedOut => patient = false,
                    Wake::Signal if some_typed => patient = false,
                    Wake::Signal if progress => break,
                    Wake::Signal => return Err(Errno::ERESTARTSYS),
                }
            }
            // Devices and streams that took everything without looking, and ends of files.
            Ok(0) => break,
            Ok(n) if buffer.done() == before => return Ok(n as u64),
            Ok(_) => {
                if buffer.remaining() == 0 {
                    break;
                }
                // A fault in the middle: bring the page in and go on.
                if let Some(fault) = buffer.take_fault() {
                    if space.resolve(fault).await.is_err() {
                        break;
                    }
                } else if way == Way::Read && !file.ops.seekable() {
                    break;
                }
                if thread.is_interrupted() {
                    break;
                }
                if thread.kernel().machine.now() >= thread.kernel().scheduler.slice_end() {
                    crate::task::scheduler::yield_now().await;
                }
            }
        }
    }
    Ok(buffer.done() as u64)
}

/// One try.
fn step(
    thread: &Thread,
    file: &OpenFile,
    buffer: &mut IoBuf<'_>,
    way: Way,
    place: At,
    limit: u64,
) -> Result<usize, IoError> {
    if !file.ops.seekable() {
        return match way {
            Way::Read => file.ops.read_at(file, 0, buffer),
            Way::Write => file.ops.write_at(file, 0, buffer),
        };
    }
    let before = buffer.done();
    match place {
        At::Offset(offset) => {
            let offset = offset.saturating_add(before as u64);
            at_offset(thread, file, buffer, way, offset, limit)
        }
        At::Position => {
            let mut position = file.offset.lock();
            let append = way == Way::Write && file.flags().contains(OpenFlags::APPEND);
            let offset = if append { file.ops.size(file) } else { *position };
            let moved = at_offset(thread, file, buffer, way, offset, limit)?;
            *position = offset + moved as u64;
            Ok(moved)
        }
    }
}

fn at_offset(
    thread: &Thread,
    file: &OpenFile,
    buffer: &mut IoBuf<'_>,
    way: Way,
    offset: u64,
    limit: u64,
) -> Result<usize, IoError> {
    match way {
        Way::Read => {
            // At most a slice's worth at a time, so that huge reads let others run.
            file.ops.read_at(file, offset, buffer)
        }
        Way::Write => {
            if buffer.remaining() == 0 {
                return Ok(0);
            }
            if limit != UNLIMITED && file.inode.cache().is_some() {
                let room = limit.saturating_sub(offset);
                if room == 0 {
                    return Err(Errno::EFBIG.into());
                }
                buffer.limit(to_usize(room));
            }
            let moved = file.ops.write_at(file, offset, buffer)?;
            if file.inode.cache().is_some() {
                let now = thread.kernel().now();
                let _ = file.inode.change(&AttributeChange { mtime: SetTime::To(now), ..AttributeChange::at(now) });
            }
            Ok(moved)
        }
    }
}

enum Wake {
    Ready,
    TimedOut,
    Signal,
}

async fn wait_ready(thread: &Thread, file: &OpenFile, way: Way) -> Wake {
    let Some(queue) = file.ops.wait_queue() else { return Wake::Ready };
    let wanted = match way {
        Way::Read => Events::READABLE | Events::HUP,
        Way::Write => Events::WRITABLE | Events::ERR | Events::HUP,
    };
    let mut looks = 0;
    let ready = queue.wait(|| {
        // A pipe may be "ready" in ways a writer is not: whoever was woken tries again. The queue has looked twice by
        // the time it waits.
        let ready = file.ops.readiness(file).intersects(wanted);
        looks += 1;
        (ready || looks > 2).then_some(())
    });
    thread.interruptible(ready).await.map_or(Wake::Signal, |()| Wake::Ready)
}

/// Waits until a terminal has what a reader with room for `wanted` bytes waits for, or more than before, or the time its
/// settings give is over: from the first wait on (`deadline`), or since the last byte.
async fn wait_typed(
    thread: &Thread,
    file: &OpenFile,
    tty: &Arc<Tty>,
    wanted: usize,
    deadline: &mut Option<Instant>,
) -> Wake {
    let kernel = thread.kernel();
    let (queued, _) = tty.input_state(wanted);
    let until = tty.read_timeout().map(|ns| kernel.machine.now() + ns);
    // Between bytes the clock starts anew.
    *deadline = if queued > 0 { until } else { deadline.or(until) };
    let mut came = core::pin::pin!(tty.changed.wait(|| {
        let (now, enough) = tty.input_state(wanted);
        let over = file.ops.readiness(file).contains(Events::HUP);
        (enough || now != queued || over).then_some(())
    }));
    let mut sleep = core::pin::pin!(kernel.sleep_until(deadline.unwrap_or(Instant::NEVER)));
    let wait = core::future::poll_fn(|cx| {
        if came.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Wake::Ready);
        }
        sleep.as_mut().poll(cx).map(|()| Wake::TimedOut)
    });
    thread.interruptible(wait).await.unwrap_or(Wake::Signal)
}

const SEEK_SET: u32 = 0;
const SEEK_CUR: u32 = 1;
const SEEK_END: u32 = 2;
const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

pub(super) async fn lseek(cx: &mut Context<'_>, fd: Fd, offset: i64, whence: u32) -> SysResult {
    let file = cx.thread.file(fd)?;
    if !file.ops.seekable() {
        return if file.ops.seek_stays() { Ok(0) } else { Err(Errno::ESPIPE) };
    }
    let mut position = file.offset.lock();
    let base = match whence {
        SEEK_SET => 0,
        SEEK_CUR => *position,
        SEEK_END => file.ops.size(&file),
        SEEK_DATA | SEEK_HOLE => {
            let cache = file.inode.cache().ok_or(Errno::EINVAL)?;
            let from = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            *position = cache.seek(from, whence == SEEK_HOLE).ok_or(Errno::ENXIO)?;
            return Ok(*position);
        }
        _ => return Err(Errno::EINVAL),
    };
    let new = base.checked_add_signed(offset).filter(|n| n.cast_signed() >= 0).ok_or(Errno::EINVAL)?;
    *position = new;
    Ok(new)
}

pub(super) async fn ftruncate(cx: &mut Context<'_>, fd: Fd, size: i64) -> SysResult {
    let file = cx.thread.file(fd)?;
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    if !file.can_write() || file.inode.metadata().kind() != FileKind::Regular {
        return Err(Errno::EINVAL);
    }
    resize(cx, &file.inode, size)?;
    cx.kernel().watches.tell_file(&file, inotify::MODIFY);
    Ok(0)
}

/// Makes a file a size, minding the limit.
pub(super) fn resize(cx: &Context<'_>, inode: &Arc<dyn crate::vfs::Inode>, size: u64) -> SysResult {
    if size > cx.thread.process.limits.get(Resource::FileSize) {
        let _ = cx.thread.send(SigInfo::kernel(Signal::SIGXFSZ));
        return Err(Errno::EFBIG);
    }
    inode.truncate(size, cx.kernel().now())?;
    Ok(0)
}

const FALLOC_FL_KEEP_SIZE: u32 = 1;
const FALLOC_FL_PUNCH_HOLE: u32 = 2;

/// Gives pages `first..end` memory: all of them, or none more than had some.
fn fill_holes(cache: &Arc<PageCache>, first: u64, end: u64) -> Result<(), Errno> {
    let mut made = Vec::new();
    for index in first..end {
        if cache.page(index).is_some() {
            continue;
        }
        if let Err(errno) = cache.page_or_new(index) {
            made.iter().for_each(|&index| cache.punch(index, index + 1));
            return Err(errno);
        }
        made.push(index);
    }
    Ok(())
}

pub(super) async fn fallocate(cx: &mut Context<'_>, fd: Fd, mode: u32, offset: i64, len: i64) -> SysResult {
    let file = cx.thread.file(fd)?;
    let (Ok(offset), Ok(len)) = (u64::try_from(offset), u64::try_from(len)) else { return Err(Errno::EINVAL) };
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    if !file.can_write() {
        return Err(Errno::EBADF);
    }
    let cache = file.inode.cache().ok_or(Errno::ENODEV)?;
    let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
    match mode {
        0 | FALLOC_FL_KEEP_SIZE => {
            fill_holes(cache, offset / PAGE_SIZE, end.div_ceil(PAGE_SIZE))?;
            if mode == 0 && end > cache.size() {
                resize(cx, &file.inode, end)?;
            }
            Ok(0)
        }
        _ if mode == FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE => {
            // Parts of pages at the edges are zeroed, whole ones dropped.
            let zeros = [0; 4096];
            let (first, last) = (offset.div_ceil(PAGE_SIZE), end / PAGE_SIZE);
            let zero = |from: u64, to: u64| {
                let Some(frame) = cache.page(from / PAGE_SIZE) else { return };
                let len = usize::from(low16(to - from));
                frame.write(crate::num::in_page(from), zeros.get(..len).unwrap_or_default());
            };
            if first > last {
                zero(offset, end);
            } else {
                zero(offset, first * PAGE_SIZE);
                cache.punch(first, last);
                zero(last * PAGE_SIZE, end);
            }
            Ok(0)
        }
        _ => Err(Errno::EOPNOTSUPP),
    }
}

pub(super) async fn sendfile(
    cx: &mut Context<'_>,
    out_fd: Fd,
    in_fd: Fd,
    offset: UserPtr<i64>,
    count: u64,
) -> SysResult {
    let (input, output) = (cx.thread.file(in_fd)?, cx.thread.file(out_fd)?);
    if !input.can_read() || !output.can_write() {
        return Err(Errno::EBADF);
    }
    if !input.ops.seekable() || output.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let mut at = match offset.non_null() {
        Some(offset) => u64::try_from(offset.load(&space).await?).map_err(|_| Errno::EINVAL)?,
        None => *input.offset.lock(),
    };
    let mut chunk = alloc::vec![0; 16 * 1024];
    let mut total = 0;
    while total < count.min(0x7fff_f000) {
        let want = to_usize(count - total).min(chunk.len());
        let part = chunk.get_mut(..want).unwrap_or_default();
        let n = match input.ops.read_at(&input, at, &mut IoBuf::kernel_out(part)) {
            Ok(0) => break,
            Ok(n) => n,
            Err(IoError::Errno(errno)) if total == 0 => return Err(errno),
            Err(_) => break,
        };
        let mut source = IoBuf::kernel_in(chunk.get(..n).unwrap_or_default());
        let written = move_bytes(cx.thread, &output, &space, &mut source, Way::Write, At::Position, UNLIMITED).await;
        match written {
            Ok(n) => {
                at += n;
                total += n;
            }
            Err(errno) if total == 0 => {
                if errno == Errno::EPIPE {
                    let _ = cx.thread.send(SigInfo::kernel(Signal::SIGPIPE));
                }
                return Err(errno);
            }
            Err(_) => break,
        }
        if written != Ok(n as u64) {
            break;
        }
    }
    match offset.non_null() {
        Some(offset) => offset.store(&space, &at.cast_signed()).await?,
        None => *input.offset.lock() = at,
    }
    Ok(total)
}

pub(super) async fn fsync(cx: &mut Context<'_>, fd: Fd) -> SysResult {
    let file = cx.thread.file(fd)?;
    // What is in the page cache of tmpfs is where it will ever be.
    if file.inode.cache().is_some() || file.inode.metadata().is_dir() { Ok(0) } else { Err(Errno::EINVAL) }
}

pub(super) async fn sync(_: &mut Context<'_>) -> SysResult {
    // No file system here has anything behind its cache.
    Ok(0)
}

pub(super) async fn fadvise64(cx: &mut Context<'_>, fd: Fd, _offset: i64, len: i64, advice: u32) -> SysResult {
    let file = cx.thread.file(fd)?;
    if file.inode.metadata().kind() == FileKind::Fifo {
        return Err(Errno::ESPIPE);
    }
    // Advice may be ignored; nonsense may not.
    if len < 0 || advice > 5 { Err(Errno::EINVAL) } else { Ok(0) }
}
