//! File operations for the host (`aurora_abi::link::Request`): the same capabilities, functions and errnos as programs'
//! calls, on paths and buffers that are the kernel's own.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::link::{MAX_TRANSFER, Request};
use aurora_abi::types::Stat;
use aurora_abi::{Abi, Errno};
use aurora_machine::UserContext;

use crate::num::to_usize;
use crate::syscall::stat::to_stat;
use crate::syscall::table::ROWS;
use crate::syscall::{Context, check, descriptor, directory, file, inotify, open, stat};
use crate::task::Thread;
use crate::vfs::path::Follow;
use crate::vfs::{AT_FDCWD, Fd, FdTable, OpenFlags};

/// Does what the host asks on behalf of `thread`, which is the link's own; returns the answer's bytes.
pub(crate) async fn request(thread: &Arc<Thread>, request: Request) -> Result<Vec<u8>, Errno> {
    let call = match &request {
        Request::Open { .. } => "openat",
        Request::Close { .. } => "close",
        Request::Read { .. } => "read",
        Request::Write { .. } => "write",
        Request::ReadDirectory { .. } => "getdents64",
        Request::Stat { .. } => "newfstatat",
        Request::MakeDirectory { .. } => "mkdirat",
        Request::Remove { .. } => "unlinkat",
        Request::Rename { .. } => "renameat2",
        Request::MakeLink { .. } => "symlinkat",
        Request::ChangeMode { .. } => "fchmodat",
        Request::Watch { .. } => "inotify_add_watch",
        Request::Unwatch { .. } => "inotify_rm_watch",
    };
    check(thread, ROWS.iter().find(|row| row.name == call).and_then(|row| row.capability))?;
    // No program called: nothing looks at these registers.
    let cx = &mut Context { thread, cpu: &mut UserContext::new(0, 0) };
    match request {
        Request::Open { flags, mode, path } => {
            let path = as_path(path)?;
            let how = open::How::new(flags | OpenFlags::NOCTTY.bits(), mode);
            let fd = open::open_at(cx, AT_FDCWD, &path, how).await?;
            Ok(fd.0.to_le_bytes().to_vec())
        }
        Request::Close { fd: u32::MAX } => {
            drop(thread.set_files(Some(Arc::new(FdTable::default()))));
            Ok(Vec::new())
        }
        Request::Close { fd } => descriptor::close(cx, as_fd(fd)?).map(|_| Vec::new()),
        Request::Read { fd, count } => {
            let mut bytes = alloc::vec![0; to_usize(u64::from(count)).min(MAX_TRANSFER)];
            let read = file::read_into(cx, as_fd(fd)?, &mut bytes).await?;
            bytes.truncate(to_usize(read));
            Ok(bytes)
        }
        Request::Write { fd, data } => {
            let written = file::write_from(cx, as_fd(fd)?, &data).await?;
            Ok(u32::try_from(written).unwrap_or(u32::MAX).to_le_bytes().to_vec())
        }
        Request::ReadDirectory { fd } => {
            let directory = thread.file(as_fd(fd)?)?;
            let entries = directory::read_entries(cx, &directory, u32::try_from(MAX_TRANSFER).unwrap_or(u32::MAX))?;
            *directory.offset.lock() = entries.next;
            Ok(entries.bytes)
        }
        Request::Stat { follow, path } => {
            let follow = if follow { Follow::Yes } else { Follow::No };
            let metadata = cx.resolve(AT_FDCWD, &as_path(path)?, follow)?.inode().metadata();
            let mut out = alloc::vec![0; Stat::SIZE];
            to_stat(&metadata).store(&mut out);
            Ok(out)
        }
        Request::MakeDirectory { mode, path } => {
            directory::make_directory(cx, AT_FDCWD, &as_path(path)?, mode).map(|()| Vec::new())
        }
        Request::Remove { directory, path } => {
            directory::remove(cx, AT_FDCWD, &as_path(path)?, directory).map(|()| Vec::new())
        }
        Request::Rename { from, to } => {
            let (from, to) = (as_path(from)?, as_path(to)?);
            directory::move_name(cx, (AT_FDCWD, &from), (AT_FDCWD, &to), 0).map(|_| Vec::new())
        }
        Request::MakeLink { to, path } => {
            directory::make_link(cx, &as_path(to)?, AT_FDCWD, &as_path(path)?).map(|()| Vec::new())
        }
        Request::ChangeMode { mode, path } => {
            stat::change_mode_of(cx, AT_FDCWD, &as_path(path)?, mode, 0).map(|_| Vec::new())
        }
        Request::Watch { mask, path } => {
            inotify::watch_one(cx, &as_path(path)?, mask).map(|fd| fd.0.to_le_bytes().to_vec())
        }
        Request::Unwatch { fd } => inotify::unwatch_one(cx, as_fd(fd)?).map(|()| Vec::new()),
    }
}

/// A program's path ends at its first NUL; one with a NUL inside can only come from the host.
fn as_path(path: Vec<u8>) -> Result<Vec<u8>, Errno> {
    if path.contains(&0) { Err(Errno::EINVAL) } else { Ok(path) }
}

fn as_fd(fd: u32) -> Result<Fd, Errno> {
    i32::try_from(fd).map(Fd).map_err(|_| Errno::EBADF)
}
