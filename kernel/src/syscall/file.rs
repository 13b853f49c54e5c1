//! Reading, writing and positions: read(2), write(2), lseek(2) and their kin.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use aurora_abi::Errno;
use aurora_abi::types::IoVec;
use aurora_machine::{PAGE_SIZE, USER_END, VirtAddr};

use crate::ipc::inotify;
use crate::memory::io::{Segment, Segments};
use crate::memory::{AddressSpace, IoBuf, IoError, UserPtr};
use crate::num::to_usize;
use crate::security::credentials::CAP_FSETID;
use crate::syscall::blocked::{Blocked, blocked};
use crate::syscall::sync::{self, Lasting};
use crate::syscall::{Context, SysResult};
use crate::task::limits::{Resource, UNLIMITED};
use crate::task::{SigInfo, Signal, Thread};
use crate::tty::job::check_background;
use crate::vfs::inode::{S_ISGID, S_ISUID};
use crate::vfs::{AttributeChange, Fd, FileKind, OpenFile, OpenFlags, SetTime};

/// Most segments of readv(2): `IOV_MAX`.
const IOV_MAX: u64 = 1024;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Read,
    Write,
}

/// Where in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// At the file's own position, which moves.
    Position,
    /// There.
    Offset(u64),
}

/// How bytes move.
#[derive(Clone, Copy)]
pub(super) struct Move {
    pub(super) way: Way,
    pub(super) place: At,
    /// The file's size must not exceed this.
    pub(super) limit: u64,
    /// Do not wait, whatever the file says.
    pub(super) nowait: bool,
    /// At the end, or never there, whatever the file says.
    pub(super) append: Option<bool>,
    /// It lasts when the call returns, whatever the file says.
    pub(super) lasting: Lasting,
}

impl Move {
    pub(super) const fn new(way: Way, place: At) -> Self {
        Self { way, place, limit: UNLIMITED, nowait: false, append: None, lasting: Lasting::No }
    }
}

pub(super) async fn read(cx: &mut Context<'_>, fd: Fd, buffer: VirtAddr, len: u64) -> SysResult {
    single(cx, fd, buffer, len, Move::new(Way::Read, At::Position)).await
}

pub(super) async fn write(cx: &mut Context<'_>, fd: Fd, buffer: VirtAddr, len: u64) -> SysResult {
    single(cx, fd, buffer, len, Move::new(Way::Write, At::Position)).await
}

pub(super) async fn pread64(cx: &mut Context<'_>, fd: Fd, buffer: VirtAddr, len: u64, offset: i64) -> SysResult {
    single(cx, fd, buffer, len, Move::new(Way::Read, at(offset)?)).await
}

pub(super) async fn pwrite64(cx: &mut Context<'_>, fd: Fd, buffer: VirtAddr, len: u64, offset: i64) -> SysResult {
    single(cx, fd, buffer, len, Move::new(Way::Write, at(offset)?)).await
}

pub(super) async fn readv(cx: &mut Context<'_>, fd: Fd, vector: UserPtr<IoVec>, count: u64) -> SysResult {
    several(cx, fd, vector, count, Move::new(Way::Read, At::Position)).await
}

pub(super) async fn writev(cx: &mut Context<'_>, fd: Fd, vector: UserPtr<IoVec>, count: u64) -> SysResult {
    several(cx, fd, vector, count, Move::new(Way::Write, At::Position)).await
}

pub(super) async fn preadv(cx: &mut Context<'_>, fd: Fd, vector: UserPtr<IoVec>, count: u64, offset: i64) -> SysResult {
    several(cx, fd, vector, count, Move::new(Way::Read, at(offset)?)).await
}

pub(super) async fn pwritev(
    cx: &mut Context<'_>,
    fd: Fd,
    vector: UserPtr<IoVec>,
    count: u64,
    offset: i64,
) -> SysResult {
    several(cx, fd, vector, count, Move::new(Way::Write, at(offset)?)).await
}

pub(super) async fn preadv2(
    cx: &mut Context<'_>,
    fd: Fd,
    vector: UserPtr<IoVec>,
    count: u64,
    offset: i64,
    _high: u64,
    flags: u32,
) -> SysResult {
    flagged(cx, fd, vector, count, (Way::Read, offset, flags)).await
}

pub(super) async fn pwritev2(
    cx: &mut Context<'_>,
    fd: Fd,
    vector: UserPtr<IoVec>,
    count: u64,
    offset: i64,
    _high: u64,
    flags: u32,
) -> SysResult {
    flagged(cx, fd, vector, count, (Way::Write, offset, flags)).await
}

const RWF_NOWAIT: u32 = 8;
const RWF_APPEND: u32 = 16;
const RWF_NOAPPEND: u32 = 32;
const RWF_DSYNC: u32 = 2;
const RWF_SYNC: u32 = 4;
/// About priority: nothing differs here.
const RWF_HIPRI: u32 = 1;

async fn flagged(
    cx: &mut Context<'_>,
    fd: Fd,
    vector: UserPtr<IoVec>,
    count: u64,
    (way, offset, flags): (Way, i64, u32),
) -> SysResult {
    let place = if offset == -1 { At::Position } else { at(offset)? };
    let append = match flags & (RWF_APPEND | RWF_NOAPPEND) {
        0 => None,
        RWF_APPEND => Some(true),
        RWF_NOAPPEND => Some(false),
        _ => return Err(Errno::EINVAL),
    };
    let file = usable(cx, fd, way, place)?;
    let segments = many(cx, vector, count).await?;
    let nowait = flags & RWF_NOWAIT != 0;
    let known = RWF_NOWAIT | RWF_APPEND | RWF_NOAPPEND | RWF_HIPRI | RWF_DSYNC | RWF_SYNC;
    if flags & !known != 0 || nowait && file.ops.pipe().is_none() && !is_socket(&file) {
        return Err(Errno::EOPNOTSUPP);
    }
    let lasting = match flags & (RWF_DSYNC | RWF_SYNC) {
        0 => Lasting::No,
        RWF_DSYNC => Lasting::Data,
        _ => Lasting::All,
    };
    transfer(cx, &file, &segments, Move { nowait, append, lasting, ..Move::new(way, place) }).await
}

fn is_socket(file: &OpenFile) -> bool {
    file.inode.kind() == FileKind::Socket
}

fn at(offset: i64) -> Result<At, Errno> {
    u64::try_from(offset).map(At::Offset).map_err(|_| Errno::EINVAL)
}

/// The open file, if bytes may move that way and there.
fn usable(cx: &Context<'_>, fd: Fd, way: Way, place: At) -> Result<Arc<OpenFile>, Errno> {
    let file = cx.thread.file(fd)?;
    if matches!(place, At::Offset(_)) && !file.ops.seekable() {
        return Err(Errno::ESPIPE);
    }
    let allowed = if way == Way::Read { file.can_read() } else { file.can_write() };
    if allowed { Ok(file) } else { Err(Errno::EBADF) }
}

async fn single(cx: &mut Context<'_>, fd: Fd, base: VirtAddr, len: u64, how: Move) -> SysResult {
    let file = usable(cx, fd, how.way, how.place)?;
    transfer(cx, &file, &Segments::One([Segment { base, len }]), how).await
}

pub(super) async fn several(cx: &mut Context<'_>, fd: Fd, vector: UserPtr<IoVec>, count: u64, how: Move) -> SysResult {
    let file = usable(cx, fd, how.way, how.place)?;
    let segments = many(cx, vector, count).await?;
    transfer(cx, &file, &segments, how).await
}

/// Reads the vector of a readv(2).
pub(super) async fn many(cx: &Context<'_>, vector: UserPtr<IoVec>, count: u64) -> Result<Segments, Errno> {
    if count > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let mut segments = Vec::with_capacity(to_usize(count));
    for i in 0..count {
        let IoVec { base, len } = vector.element(i).load(&space).await?;
        if len.cast_signed() < 0 {
            return Err(Errno::EINVAL);
        }
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
    move_bytes(cx.thread, &file, &*cx.space()?, &mut buffer, Move::new(Way::Read, At::Position), None).await
}

/// Writes bytes of the kernel's own to a descriptor.
pub(super) async fn write_from(cx: &Context<'_>, fd: Fd, bytes: &[u8]) -> SysResult {
    let file = cx.thread.file(fd)?;
    if !file.can_write() {
        return Err(Errno::EBADF);
    }
    let mut buffer = IoBuf::kernel_in(bytes);
    move_bytes(cx.thread, &file, &*cx.space()?, &mut buffer, Move::new(Way::Write, At::Position), None).await
}

/// Moves bytes between a file and a program's buffers.
async fn transfer(cx: &mut Context<'_>, file: &Arc<OpenFile>, segments: &Segments, how: Move) -> SysResult {
    let thread = cx.thread;
    // What cannot be a program's memory is refused even when no byte would move.
    let inside = |s: &Segment| s.base.checked_add(s.len).is_some_and(|end| end <= USER_END);
    if !segments.as_slice().iter().all(inside) {
        return Err(Errno::EFAULT);
    }
    if let Some(socket) = crate::net::of(file).cloned() {
        let open = super::socket::Open { file: file.clone(), socket };
        return match how.way {
            Way::Read => super::message::read(cx, &open, segments.as_slice()).await,
            Way::Write => super::message::write(cx, &open, segments.as_slice()).await,
        };
    }
    let space = cx.space()?;
    if file.flags().contains(OpenFlags::DIRECT) {
        sync::check_aligned(file, segments.as_slice(), how.place)?;
    }
    let mut buffer = IoBuf::user(&space, segments.as_slice());
    let how = limited(thread, how);
    let first = first_try(thread, file, &mut buffer, how);
    let moved = match first.and_then(|first| all_there_is(file, &buffer, how.way, first)) {
        Some(moved) => Ok(moved),
        None => move_bytes(thread, file, &space, &mut buffer, how, first).await,
    };
    note_moved(thread, file, how, moved);
    let moved = moved?;
    let lasting = sync::lasting(file, how.lasting);
    if how.way == Way::Write && moved > 0 && lasting != Lasting::No {
        sync::after_write(file, lasting).await?;
    }
    Ok(moved)
}

/// The same move, within what the process may write.
fn limited(thread: &Thread, how: Move) -> Move {
    let limit = if how.way == Way::Write { thread.process.limits.get(Resource::FileSize) } else { UNLIMITED };
    Move { limit, ..how }
}

/// What follows on a move of bytes: it is counted, and watchers are told. A write that failed for want of a reader, or of
/// room within the limit, sends the signal that goes with it.
fn note_moved(thread: &Arc<Thread>, file: &Arc<OpenFile>, how: Move, result: SysResult) {
    thread.process.io.count(how.way == Way::Read, result.unwrap_or(0));
    let signal = match (how.way, result) {
        (Way::Read, Ok(1..)) => return thread.kernel().watches.tell_file(file, inotify::ACCESS),
        (Way::Write, Ok(1..)) => return thread.kernel().watches.tell_file(file, inotify::MODIFY),
        (Way::Write, Err(Errno::EPIPE)) => Signal::SIGPIPE,
        (Way::Write, Err(Errno::EFBIG)) if how.limit != UNLIMITED => Signal::SIGXFSZ,
        _ => return,
    };
    let _ = thread.send(SigInfo::kernel(signal));
}

/// Tries to move bytes without waiting, which most moves can do: a future less to make. Nothing of a terminal, whose
/// readers and writers may have to be stopped first.
fn first_try(thread: &Thread, file: &OpenFile, buffer: &mut IoBuf<'_>, how: Move) -> Option<Result<usize, IoError>> {
    if file.ops.terminal().is_some() { None } else { Some(step(thread, file, buffer, how)) }
}

/// What a move returns that the first try was enough for.
fn all_there_is(file: &OpenFile, buffer: &IoBuf<'_>, way: Way, first: Result<usize, IoError>) -> Option<u64> {
    let moved = first.ok()?;
    let all = buffer.remaining() == 0 || way == Way::Read && !file.ops.seekable() && !buffer.has_fault();
    match moved {
        // As in `move_bytes`: an end, or a device that took everything without looking.
        _ if buffer.done() == 0 => Some(moved as u64),
        _ if all => Some(buffer.done() as u64),
        _ => None,
    }
}

/// Moves bytes, waiting as long as it takes. `tried` is what the first try came to, if there was one.
pub(super) async fn move_bytes(
    thread: &Arc<Thread>,
    file: &Arc<OpenFile>,
    space: &AddressSpace,
    buffer: &mut IoBuf<'_>,
    how: Move,
    mut tried: Option<Result<usize, IoError>>,
) -> SysResult {
    let way = how.way;
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
        let before = if tried.is_some() { 0 } else { buffer.done() };
        let mut result = match tried.take() {
            Some(result) => result,
            None if patient => step(thread, file, buffer, how),
            None => file.ops.read_now(file, buffer),
        };
        if matches!(result, Err(IoError::WouldBlock)) {
            match blocked(thread, file, buffer, how, &mut deadline).await? {
                Blocked::Enough => break,
                Blocked::Typed => continue,
                Blocked::TimedOut => {
                    patient = false;
                    continue;
                }
                Blocked::Tried(again) => result = again,
            }
        }
        let progress = buffer.done() > 0;
        match result {
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
            Err(IoError::Missing) => match thread.kernel().memory.misses().bring_in().await {
                Ok(()) => {}
                Err(_) if progress => break,
                Err(errno) => return Err(errno),
            },
            Err(_) if progress => break,
            Err(error) => return Err(error.errno()),
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
pub(super) fn step(thread: &Thread, file: &OpenFile, buffer: &mut IoBuf<'_>, how: Move) -> Result<usize, IoError> {
    if !file.ops.seekable() {
        return match how.way {
            Way::Read => file.ops.read_at(file, 0, buffer),
            Way::Write => file.ops.write_at(file, 0, buffer),
        };
    }
    let before = buffer.done();
    let append = how.way == Way::Write && how.append.unwrap_or_else(|| file.flags().contains(OpenFlags::APPEND));
    match how.place {
        At::Offset(_) if append => at_offset(thread, file, buffer, how, file.ops.size(file)),
        At::Offset(offset) => at_offset(thread, file, buffer, how, offset.saturating_add(before as u64)),
        At::Position => {
            let mut position = file.offset.lock();
            let offset = if append { file.ops.size(file) } else { *position };
            let moved = at_offset(thread, file, buffer, how, offset)?;
            *position = offset + moved as u64;
            Ok(moved)
        }
    }
}

fn at_offset(
    thread: &Thread,
    file: &OpenFile,
    buffer: &mut IoBuf<'_>,
    how: Move,
    offset: u64,
) -> Result<usize, IoError> {
    if how.way == Way::Read {
        return file.ops.read_at(file, offset, buffer);
    }
    if buffer.remaining() == 0 {
        return Ok(0);
    }
    let has_contents = file.inode.cache().is_some();
    if how.limit != UNLIMITED && has_contents {
        let room = how.limit.saturating_sub(offset);
        if room == 0 {
            return Err(Errno::EFBIG.into());
        }
        buffer.limit(to_usize(room));
    }
    let moved = file.ops.write_at(file, offset, buffer)?;
    if has_contents {
        let now = thread.kernel().now();
        let change = AttributeChange {
            mode: without_privileges(thread, file),
            mtime: SetTime::To(now),
            ..AttributeChange::at(now)
        };
        let _ = file.inode.change(&change);
    }
    Ok(moved)
}

/// The mode of a file that is written by somebody else than the superuser: bits that give privileges go.
pub(super) fn without_privileges(thread: &Thread, file: &OpenFile) -> Option<u32> {
    let mode = file.inode.owner().mode;
    let group = mode & (S_ISGID | 0o010) == S_ISGID | 0o010;
    let drops = mode & S_ISUID != 0 || group;
    (drops && !thread.process.credentials().is_capable(CAP_FSETID))
        .then_some(mode & 0o7777 & !(S_ISUID | if group { S_ISGID } else { 0 }))
}

const SEEK_SET: u32 = 0;
const SEEK_CUR: u32 = 1;
const SEEK_END: u32 = 2;
const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

pub(super) fn lseek(cx: &mut Context<'_>, fd: Fd, offset: i64, whence: u32) -> SysResult {
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
            let from = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            *position = file.inode.seek(from, whence == SEEK_HOLE)?.ok_or(Errno::ENXIO)?;
            return Ok(*position);
        }
        _ => return Err(Errno::EINVAL),
    };
    let new = base.checked_add_signed(offset).filter(|n| n.cast_signed() >= 0).ok_or(Errno::EINVAL)?;
    *position = new;
    Ok(new)
}

pub(super) fn ftruncate(cx: &mut Context<'_>, fd: Fd, size: i64) -> SysResult {
    let file = cx.thread.file(fd)?;
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    if !file.can_write() || file.inode.metadata().kind() != FileKind::Regular {
        return Err(Errno::EINVAL);
    }
    resize(cx, &file.inode, size)?;
    cx.kernel().watches.tell_file(&file, inotify::MODIFY);
    Ok(0)
}

/// Whether a file may have a size under the limit; a signal tells if not.
pub(super) fn check_size(cx: &Context<'_>, size: u64) -> Result<(), Errno> {
    if size > cx.thread.process.limits.get(Resource::FileSize) {
        let _ = cx.thread.send(SigInfo::kernel(Signal::SIGXFSZ));
        return Err(Errno::EFBIG);
    }
    Ok(())
}

/// Makes a file a size, minding the limit.
pub(super) fn resize(cx: &Context<'_>, inode: &Arc<dyn crate::vfs::Inode>, size: u64) -> SysResult {
    if size > inode.metadata().size {
        check_size(cx, size)?;
    }
    inode.truncate(size, cx.kernel().now())?;
    Ok(0)
}

/// posix_fadvise(2): `POSIX_FADV_WILLNEED` and `POSIX_FADV_DONTNEED`.
const WILL_NEED: u32 = 3;
const DO_NOT_NEED: u32 = 4;

pub(super) fn fadvise64(cx: &mut Context<'_>, fd: Fd, offset: i64, len: i64, advice: u32) -> SysResult {
    let file = cx.thread.file(fd)?;
    if file.inode.kind() == FileKind::Fifo {
        return Err(Errno::ESPIPE);
    }
    // Unknown advice may not be ignored.
    if advice > 5 {
        return Err(Errno::EINVAL);
    }
    // On tmpfs, where there is nothing to read ahead, Linux does not look at the range.
    let Some(cache) = file.inode.cache().filter(|cache| cache.is_stored()) else { return Ok(0) };
    let len = u64::try_from(len).map_err(|_| Errno::EINVAL)?;
    let start = offset.max(0).cast_unsigned();
    let end = if len == 0 { u64::MAX } else { start.saturating_add(len) };
    match advice {
        WILL_NEED => cache.ask_ahead(pages_touched(start, end)),
        // Only pages that are in the range whole.
        DO_NOT_NEED => _ = cache.drop_clean(&(start.div_ceil(PAGE_SIZE)..end / PAGE_SIZE)),
        _ => {}
    }
    Ok(0)
}

fn pages_touched(start: u64, end: u64) -> Range<u64> {
    start / PAGE_SIZE..end.div_ceil(PAGE_SIZE)
}

pub(super) fn readahead(cx: &mut Context<'_>, fd: Fd, offset: i64, len: u64) -> SysResult {
    let file = cx.thread.file(fd)?;
    if !file.can_read() {
        return Err(Errno::EBADF);
    }
    if !matches!(file.inode.kind(), FileKind::Regular | FileKind::BlockDevice) {
        return Err(Errno::EINVAL);
    }
    if let Some(cache) = file.inode.cache() {
        let start = offset.max(0).cast_unsigned();
        cache.ask_ahead(pages_touched(start, start.saturating_add(len)));
    }
    Ok(0)
}
