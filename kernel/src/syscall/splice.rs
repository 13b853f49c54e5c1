//! Bytes from file to file without the program: sendfile(2), copy_file_range(2), splice(2), tee(2), vmsplice(2).
//!
//! What always holds: bytes leave a pipe only when they have arrived. One try looks at what is there, gives it to the
//! other side and takes away what that took, without waiting in between; waiting comes between tries.

use alloc::sync::Arc;

use aurora_abi::Errno;
use aurora_abi::types::IoVec;

use crate::memory::cache::MAX_FILE_SIZE;
use crate::memory::{IoBuf, IoError, UserPtr};
use crate::num::to_usize;
use crate::syscall::blocked::try_until;
use crate::syscall::file::{At, Move, Way, check_size, several};
use crate::syscall::{Context, SysResult};
use crate::task::limits::{Resource, UNLIMITED};
use crate::task::{SigInfo, Signal};
use crate::vfs::{AttributeChange, Events, Fd, FileKind, OpenFile, OpenFlags, SetTime};

/// Most bytes one call moves, as for read(2).
const MAX_COUNT: u64 = 0x7fff_f000;
/// Bytes of one try.
const CHUNK: usize = 64 * 1024;
/// Bytes of one try into a pipe: so many fit when it says it is writable.
const PIPE_CHUNK: usize = crate::ipc::pipe::PIPE_BUF;

/// One side of a transfer.
struct Side {
    file: Arc<OpenFile>,
    /// Where in it: kept in the file unless the program gave a place.
    offset: Option<u64>,
}

impl Side {
    fn position(&self) -> u64 {
        self.offset.unwrap_or_else(|| *self.file.offset.lock())
    }

    fn advance(&mut self, by: u64) {
        match &mut self.offset {
            Some(offset) => *offset += by,
            None if self.file.ops.seekable() => *self.file.offset.lock() += by,
            None => {}
        }
    }
}

/// Reads an offset a program gave.
async fn offset_at(cx: &Context<'_>, at: UserPtr<i64>) -> Result<Option<i64>, Errno> {
    match at.non_null() {
        Some(at) => at.load(&*cx.space()?).await.map(Some),
        None => Ok(None),
    }
}

async fn give_back(cx: &Context<'_>, at: UserPtr<i64>, side: &Side) -> Result<(), Errno> {
    match (at.non_null(), side.offset) {
        (Some(at), Some(offset)) => at.store(&*cx.space()?, &offset.cast_signed()).await,
        _ => Ok(()),
    }
}

fn positive(offset: Option<i64>) -> Result<Option<u64>, Errno> {
    offset.map(|o| u64::try_from(o).map_err(|_| Errno::EINVAL)).transpose()
}

pub(super) async fn sendfile(
    cx: &mut Context<'_>,
    out_fd: Fd,
    in_fd: Fd,
    offset: UserPtr<i64>,
    count: u64,
) -> SysResult {
    let given = offset_at(cx, offset).await?;
    let input = readable(cx, in_fd)?;
    if given.is_some() && !input.ops.seekable() {
        return Err(Errno::ESPIPE);
    }
    let mut from = Side { file: input, offset: positive(given)? };
    let mut to = Side { file: writable(cx, out_fd)?, offset: None };
    if count.cast_signed() < 0 || !from.file.ops.seekable() || to.file.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL);
    }
    let result = pump(cx, &mut from, &mut to, count, Patience::OfFiles).await;
    give_back(cx, offset, &from).await?;
    result
}

fn readable(cx: &Context<'_>, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
    cx.thread.file(fd).and_then(|file| if file.can_read() { Ok(file) } else { Err(Errno::EBADF) })
}

fn writable(cx: &Context<'_>, fd: Fd) -> Result<Arc<OpenFile>, Errno> {
    cx.thread.file(fd).and_then(|file| if file.can_write() { Ok(file) } else { Err(Errno::EBADF) })
}

pub(super) async fn copy_file_range(
    cx: &mut Context<'_>,
    in_fd: Fd,
    in_offset: UserPtr<i64>,
    out_fd: Fd,
    out_offset: UserPtr<i64>,
    len: u64,
    flags: u32,
) -> SysResult {
    let (input, output) = (cx.thread.file(in_fd)?, cx.thread.file(out_fd)?);
    let (from_at, to_at) = (offset_at(cx, in_offset).await?, offset_at(cx, out_offset).await?);
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let kinds = [input.inode.kind(), output.inode.kind()];
    if kinds.contains(&FileKind::Directory) {
        return Err(Errno::EISDIR);
    }
    if kinds != [FileKind::Regular; 2] {
        return Err(Errno::EINVAL);
    }
    if !input.can_read() || !output.can_write() || output.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF);
    }
    let mut from = Side { file: input, offset: positive(from_at)? };
    let mut to = Side { file: output, offset: positive(to_at)? };
    let (start, target) = (from.position(), to.position());
    let inside = |at: u64| at.checked_add(len).is_some_and(|end| end.cast_signed() >= 0);
    if !inside(start) || !inside(target) {
        return Err(Errno::EOVERFLOW);
    }
    let left = from.file.inode.metadata().size.saturating_sub(start).min(len);
    if left > 0 && target >= MAX_FILE_SIZE {
        return Err(Errno::EFBIG);
    }
    let overlap = start < target + left && target < start + left;
    if Arc::ptr_eq(&from.file.inode, &to.file.inode) && overlap {
        return Err(Errno::EINVAL);
    }
    let result = pump(cx, &mut from, &mut to, left, Patience::OfFiles).await;
    give_back(cx, in_offset, &from).await?;
    give_back(cx, out_offset, &to).await?;
    result
}

const SPLICE_F_NONBLOCK: u32 = 2;
/// Moving, more to come, a gift: hints that change nothing here.
const SPLICE_F_ALL: u32 = 1 | SPLICE_F_NONBLOCK | 4 | 8;

pub(super) async fn splice(
    cx: &mut Context<'_>,
    in_fd: Fd,
    in_offset: UserPtr<i64>,
    out_fd: Fd,
    out_offset: UserPtr<i64>,
    len: u64,
    flags: u32,
) -> SysResult {
    if len == 0 {
        return Ok(0);
    }
    if flags & !SPLICE_F_ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let (input, output) = (cx.thread.file(in_fd)?, cx.thread.file(out_fd)?);
    let (in_pipe, out_pipe) = (input.ops.pipe().cloned(), output.ops.pipe().cloned());
    let placed = (!in_offset.is_null(), !out_offset.is_null());
    if in_pipe.is_some() && placed.0 || out_pipe.is_some() && placed.1 {
        return Err(Errno::ESPIPE);
    }
    let (from_at, to_at) = (offset_at(cx, in_offset).await?, offset_at(cx, out_offset).await?);
    if !input.can_read() || !output.can_write() {
        return Err(Errno::EBADF);
    }
    let bad = match (&in_pipe, &out_pipe) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        (Some(_), None) => placed.1 && !output.ops.seekable() || output.flags().contains(OpenFlags::APPEND),
        (None, Some(_)) => placed.0 && !input.ops.seekable() || input.inode.kind() == FileKind::Directory,
    };
    if bad {
        return Err(Errno::EINVAL);
    }
    let patience = if flags & SPLICE_F_NONBLOCK != 0 { Patience::None } else { Patience::UntilSome };
    let mut from = Side { file: input, offset: positive(from_at)? };
    let mut to = Side { file: output, offset: positive(to_at)? };
    let result = pump(cx, &mut from, &mut to, len, patience).await;
    give_back(cx, in_offset, &from).await?;
    give_back(cx, out_offset, &to).await?;
    result
}

/// How long a transfer goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Until all is moved or the input ends; only the files' own flags keep it from waiting.
    OfFiles,
    /// Until something was moved and no more can be at once.
    UntilSome,
    /// It never waits.
    None,
}

/// Why a try moved nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stuck {
    Input,
    Output,
}

async fn pump(cx: &Context<'_>, from: &mut Side, to: &mut Side, count: u64, patience: Patience) -> SysResult {
    let count = count.min(MAX_COUNT);
    let thread = cx.thread;
    let mut chunk = alloc::vec![0; CHUNK.min(to_usize(count))];
    let mut total = 0;
    while total < count {
        let mut tried = attempt(cx, from, to, &mut chunk, count - total);
        if let Ok(Err(stuck)) = tried {
            if total > 0 && patience != Patience::OfFiles {
                break;
            }
            let file = match stuck {
                Stuck::Input => from.file.clone(),
                Stuck::Output => to.file.clone(),
            };
            let waited = match patience == Patience::None || file.nonblocking() {
                true => Err(Errno::EAGAIN),
                false => {
                    let again = || match attempt(cx, from, to, &mut chunk, count - total) {
                        Ok(Err(still)) if still == stuck => None,
                        other => Some(other),
                    };
                    try_until(thread, &file, again).await
                }
            };
            match waited {
                Ok(again) => tried = again,
                Err(_) if total > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        match tried {
            Ok(Ok(0)) => break,
            Ok(Ok(moved)) => {
                total += moved;
                if thread.is_interrupted() {
                    break;
                }
            }
            // Stuck at the other side now.
            Ok(Err(_)) => {}
            Err(Errno::EMISSING) => match thread.kernel().memory.misses().bring_in().await {
                Err(errno) if total == 0 => return Err(errno),
                Err(_) => break,
                Ok(()) => {}
            },
            Err(_) if total > 0 => break,
            Err(errno) => {
                if errno == Errno::EPIPE {
                    let _ = thread.send(SigInfo::kernel(Signal::SIGPIPE));
                }
                return Err(errno);
            }
        }
        if thread.kernel().machine.now() >= thread.kernel().scheduler.slice_end() {
            crate::task::scheduler::yield_now().await;
        }
    }
    Ok(total)
}

/// Moves what can be moved at once.
fn attempt(
    cx: &Context<'_>,
    from: &mut Side,
    to: &mut Side,
    chunk: &mut [u8],
    left: u64,
) -> Result<Result<u64, Stuck>, Errno> {
    let mut want = to_usize(left).min(chunk.len());
    if to.file.ops.pipe().is_some() {
        let readiness = to.file.ops.readiness(&to.file);
        if !readiness.intersects(Events::WRITABLE | Events::ERR) {
            return Ok(Err(Stuck::Output));
        }
        want = want.min(PIPE_CHUNK);
    }
    let position = to.position();
    if to.file.inode.cache().is_some() {
        let limit = cx.thread.process.limits.get(Resource::FileSize);
        if limit != UNLIMITED {
            if position >= limit {
                check_size(cx, position.saturating_add(1))?;
            }
            want = want.min(to_usize(limit.saturating_sub(position)));
        }
    }
    let part = chunk.get_mut(..want).unwrap_or_default();
    let got = match look(from, part) {
        Ok(0) => return Ok(Ok(0)),
        Ok(got) => got,
        Err(error @ (IoError::Errno(_) | IoError::Missing)) => return Err(error.errno()),
        Err(_) => return Ok(Err(Stuck::Input)),
    };
    let mut buffer = IoBuf::kernel_in(chunk.get(..got).unwrap_or_default());
    let moved = match to.file.ops.write_at(&to.file, position, &mut buffer) {
        Ok(moved) => moved,
        Err(error @ (IoError::Errno(_) | IoError::Missing)) => return Err(error.errno()),
        Err(_) => return Ok(Err(Stuck::Output)),
    };
    take(from, chunk, moved);
    from.advance(moved as u64);
    to.advance(moved as u64);
    if to.file.inode.cache().is_some() {
        let now = cx.kernel().now();
        let _ = to.file.inode.change(&AttributeChange { mtime: SetTime::To(now), ..AttributeChange::at(now) });
    }
    Ok(Ok(moved as u64))
}

/// What comes next in the input, not taken out of a pipe yet.
fn look(from: &Side, out: &mut [u8]) -> Result<usize, IoError> {
    let Some(pipe) = from.file.ops.pipe() else {
        return from.file.ops.read_at(&from.file, from.position(), &mut IoBuf::kernel_out(out));
    };
    let wanted = out.len();
    let mut buffer = IoBuf::kernel_out(out);
    let seen = pipe.peek(wanted, &mut |frame, offset, len| buffer.put_frame(frame, offset, len) == len);
    match seen {
        0 if pipe.has_ends().1 => Err(IoError::WouldBlock),
        seen => Ok(seen),
    }
}

/// Takes out of a pipe what has arrived.
fn take(from: &Side, scratch: &mut [u8], bytes: usize) {
    if let Some(pipe) = from.file.ops.pipe() {
        let mut rest = bytes;
        while rest > 0 {
            let part = scratch.get_mut(..rest).unwrap_or_default();
            match pipe.try_read(&mut IoBuf::kernel_out(part)) {
                Ok(n) if n > 0 => rest -= n.min(rest),
                _ => break,
            }
        }
    }
}

pub(super) async fn tee(cx: &mut Context<'_>, in_fd: Fd, out_fd: Fd, len: u64, flags: u32) -> SysResult {
    if flags & !SPLICE_F_ALL != 0 {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let (input, output) = (cx.thread.file(in_fd)?, cx.thread.file(out_fd)?);
    if !input.can_read() || !output.can_write() {
        return Err(Errno::EBADF);
    }
    let (Some(from), Some(to)) = (input.ops.pipe(), output.ops.pipe()) else { return Err(Errno::EINVAL) };
    if Arc::ptr_eq(from, to) {
        return Err(Errno::EINVAL);
    }
    let nothing_comes = || from.is_empty() && !from.has_ends().1;
    let has_room = || output.ops.readiness(&output).intersects(Events::WRITABLE | Events::ERR);
    loop {
        let stuck = if nothing_comes() {
            return Ok(0);
        } else if from.is_empty() {
            Stuck::Input
        } else if !has_room() {
            Stuck::Output
        } else {
            break;
        };
        let file = if stuck == Stuck::Input { &input } else { &output };
        if flags & SPLICE_F_NONBLOCK != 0 || file.nonblocking() {
            return Err(Errno::EAGAIN);
        }
        let moves = || match stuck {
            Stuck::Input => !from.is_empty() || nothing_comes(),
            Stuck::Output => has_room(),
        };
        try_until(cx.thread, file, || moves().then_some(())).await?;
    }
    let mut bytes = alloc::vec![0; to_usize(len).min(from.len()).min(to.capacity())];
    let wanted = bytes.len();
    let mut buffer = IoBuf::kernel_out(&mut bytes);
    let seen = from.peek(wanted, &mut |frame, offset, len| buffer.put_frame(frame, offset, len) == len);
    match to.try_write(&mut IoBuf::kernel_in(bytes.get(..seen).unwrap_or_default()), false, false) {
        Ok(moved) => Ok(moved as u64),
        Err(IoError::Errno(errno)) => {
            if errno == Errno::EPIPE {
                let _ = cx.thread.send(SigInfo::kernel(Signal::SIGPIPE));
            }
            Err(errno)
        }
        Err(_) => Err(Errno::EAGAIN),
    }
}

pub(super) async fn vmsplice(
    cx: &mut Context<'_>,
    fd: Fd,
    vector: UserPtr<IoVec>,
    count: u64,
    flags: u32,
) -> SysResult {
    if flags & !SPLICE_F_ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let file = cx.thread.file(fd)?;
    let way = match () {
        () if file.ops.pipe().is_none() => return Err(Errno::EBADF),
        () if file.can_write() => Way::Write,
        () => Way::Read,
    };
    let nowait = flags & SPLICE_F_NONBLOCK != 0;
    several(cx, fd, vector, count, Move { nowait, ..Move::new(way, At::Position) }).await
}
