//! Descriptors: close(2), dup(2), pipe(2), ioctl(2).

use aurora_abi::Errno;
use aurora_machine::VirtAddr;

use crate::ipc::pipe::Pipe;
use crate::memory::UserPtr;
use crate::net::interface::{SIOCGIFCONF, addresses};
use crate::syscall::{Context, SysResult};
use crate::task::limits::Resource;
use crate::vfs::file::{FILE_COST, IoctlArgs};
use crate::vfs::{Fd, OpenFile, OpenFlags};

pub(super) fn close(cx: &mut Context<'_>, fd: Fd) -> SysResult {
    let file = cx.thread.files().remove(fd)?;
    release_locks(cx, &file);
    drop(file);
    Ok(0)
}

/// Closing any descriptor of a file gives up the process's record locks on it.
pub(super) fn release_locks(cx: &Context<'_>, file: &OpenFile) {
    let locks = &cx.kernel().record_locks;
    if !locks.is_empty() {
        let metadata = file.inode.metadata();
        locks.release(cx.thread.process.pid, (metadata.dev, metadata.ino));
    }
}

const CLOSE_RANGE_UNSHARE: u32 = 2;
const CLOSE_RANGE_CLOEXEC: u32 = 4;

pub(super) fn close_range(cx: &mut Context<'_>, first: u32, last: u32, flags: u32) -> SysResult {
    if first > last || flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        let own = cx.thread.files().fork();
        drop(cx.thread.set_files(Some(own)));
    }
    let files = cx.thread.files();
    if flags & CLOSE_RANGE_CLOEXEC != 0 {
        files.mark_close_on_exec(u64::from(first), u64::from(last));
    } else {
        let closed = files.take(|fd, _| (first..=last).contains(&fd.0.cast_unsigned()));
        closed.iter().for_each(|file| release_locks(cx, file));
        drop(closed);
    }
    Ok(0)
}

pub(super) fn dup(cx: &mut Context<'_>, fd: Fd) -> SysResult {
    duplicate(cx, fd, 0, false)
}

pub(super) fn duplicate(cx: &Context<'_>, fd: Fd, from: u64, close_on_exec: bool) -> SysResult {
    let files = cx.thread.files();
    let file = files.get(fd)?;
    let limit = cx.thread.process.limits.get(Resource::Files);
    if from >= limit {
        return Err(Errno::EINVAL);
    }
    let new = files.add(file, close_on_exec, from, limit)?;
    Ok(u64::from(new.0.cast_unsigned()))
}

pub(super) fn dup2(cx: &mut Context<'_>, old: Fd, new: Fd) -> SysResult {
    if old == new {
        cx.thread.files().get(old)?;
        return Ok(u64::from(new.0.cast_unsigned()));
    }
    dup3(cx, old, new, 0)
}

pub(super) fn dup3(cx: &mut Context<'_>, old: Fd, new: Fd, flags: u32) -> SysResult {
    if flags & !OpenFlags::CLOEXEC.bits() != 0 || old == new {
        return Err(Errno::EINVAL);
    }
    let files = cx.thread.files();
    let file = files.get(old)?;
    let limit = cx.thread.process.limits.get(Resource::Files);
    let closed = files.replace(new, file, flags != 0, limit)?;
    if let Some(closed) = &closed {
        release_locks(cx, closed);
    }
    drop(closed);
    Ok(u64::from(new.0.cast_unsigned()))
}

pub(super) async fn pipe(cx: &mut Context<'_>, fds: UserPtr<[i32; 2]>) -> SysResult {
    pipe2(cx, fds, 0).await
}

pub(super) async fn pipe2(cx: &mut Context<'_>, fds: UserPtr<[i32; 2]>, flags: u32) -> SysResult {
    let flags = OpenFlags::from_bits_retain(flags);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT).contains(flags) {
        return Err(Errno::EINVAL);
    }
    let kernel = cx.kernel();
    let charges = (kernel.memory.charge(FILE_COST * 2), kernel.memory.charge(FILE_COST));
    let (Ok(first), Ok(second)) = charges else { return Err(Errno::ENFILE) };
    let credentials = cx.thread.process.credentials();
    let pipe = Pipe::new(&kernel.memory);
    let (uid, gid) = (credentials.fsuid, credentials.fsgid);
    let inode = kernel.anonymous.create_pipe(&pipe, uid, gid, kernel.now());
    let kept = flags & (OpenFlags::NONBLOCK | OpenFlags::DIRECT);
    let reader = OpenFile::new(None, inode.clone(), pipe.end(true, false), kept, first);
    let writer = OpenFile::new(None, inode, pipe.end(false, true), kept | OpenFlags::WRONLY, second);
    let (files, limit) = (cx.thread.files(), cx.thread.process.limits.get(Resource::Files));
    let close_on_exec = flags.contains(OpenFlags::CLOEXEC);
    let read_fd = files.add(reader, close_on_exec, 0, limit)?;
    let write_fd = match files.add(writer, close_on_exec, 0, limit) {
        Ok(fd) => fd,
        Err(errno) => {
            drop(files.remove(read_fd));
            return Err(errno);
        }
    };
    if let Err(errno) = fds.store(&*cx.space()?, &[read_fd.0, write_fd.0]).await {
        drop((files.remove(read_fd), files.remove(write_fd)));
        return Err(errno);
    }
    Ok(0)
}

const FIOCLEX: u32 = 0x5451;
const FIONCLEX: u32 = 0x5450;
const FIONBIO: u32 = 0x5421;
const FIOASYNC: u32 = 0x5452;
const FIONREAD: u32 = 0x541b;

pub(super) async fn ioctl(cx: &mut Context<'_>, fd: Fd, request: u32, argument: u64) -> SysResult {
    let file = cx.thread.file(fd)?;
    let space = cx.space()?;
    match request {
        FIOCLEX | FIONCLEX => {
            cx.thread.files().set_close_on_exec(fd, request == FIOCLEX)?;
            return Ok(0);
        }
        FIONBIO => {
            let on = UserPtr::<i32>::new(argument).load(&space).await? != 0;
            let mut flags = file.flags();
            flags.set(OpenFlags::NONBLOCK, on);
            file.set_flags(flags);
            return Ok(0);
        }
        FIOASYNC => {
            let on = UserPtr::<i32>::new(argument).load(&space).await? != 0;
            super::fcntl::set_async(cx, fd, &file, on)?;
            return Ok(0);
        }
        FIONREAD if file.inode.cache().is_some() => {
            let left = file.ops.size(&file).saturating_sub(*file.offset.lock());
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            UserPtr::<i32>::new(argument).store(&space, &left).await?;
            return Ok(0);
        }
        SIOCGIFCONF if crate::net::of(&file).is_some() => return interface_addresses(cx, argument).await,
        _ => {}
    }
    let mut input = [0; 64];
    let input = input.get_mut(..file.ops.ioctl_input(request)).unwrap_or_default();
    space.copy_in(VirtAddr(argument), input).await?;
    let args = IoctlArgs { request, arg: argument, thread: cx.thread };
    let answer = file.ops.ioctl(&file, &args, input)?;
    space.copy_out(VirtAddr(argument), &answer.out).await?;
    Ok(answer.value)
}

/// Stores all interfaces' addresses, as many as there is room for; without a place for them, how much room they need.
async fn interface_addresses(cx: &Context<'_>, argument: u64) -> SysResult {
    let space = cx.space()?;
    let (room, place) = (UserPtr::<i32>::new(argument), UserPtr::<u64>::new(argument.wrapping_add(8)));
    let (len, at) = (room.load(&space).await?, place.load(&space).await?);
    let all = addresses();
    let mut given = all.len();
    if at != 0 {
        let len = usize::try_from(len).unwrap_or(0);
        // Only whole ones.
        given = if len < given { 0 } else { given };
        space.copy_out(VirtAddr(at), all.get(..given).unwrap_or_default()).await?;
    }
    room.store(&space, &i32::try_from(given).unwrap_or(0)).await?;
    Ok(0)
}
