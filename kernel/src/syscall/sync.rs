//! What is to last: fsync(2), fdatasync(2), sync(2), syncfs(2), `O_SYNC`, `O_DSYNC`, `O_DIRECT`.

use aurora_abi::Errno;
use aurora_machine::SECTOR_SIZE;

use crate::block::BlockFile;
use crate::memory::io::Segment;
use crate::syscall::file::At;
use crate::syscall::{Context, SysResult};
use crate::vfs::{Fd, FileKind, OpenFile, OpenFlags, SyncOf};

/// How much of a write lasts when the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lasting {
    /// Nothing yet.
    No,
    /// The contents, and what it takes to find them.
    Data,
    /// All there is to know of the file.
    All,
}

/// What has to last of bytes that were written before the call returns, as the call or the file says.
pub(super) fn lasting(file: &OpenFile, asked: Lasting) -> Lasting {
    let flags = file.flags();
    match () {
        // On Linux the flag's bits have those of `O_DSYNC` in them.
        () if flags.contains(OpenFlags::SYNC) => Lasting::All,
        // What does not stay in the cache is on the disk.
        () if flags.intersects(OpenFlags::DSYNC | OpenFlags::DIRECT) => asked.max(Lasting::Data),
        () => asked,
    }
}

/// After bytes were written: waits until they last.
pub(super) async fn after_write(file: &OpenFile, lasting: Lasting) -> Result<(), Errno> {
    let of = match lasting {
        Lasting::No => return Ok(()),
        Lasting::Data => SyncOf::Data(&*file.inode),
        Lasting::All => SyncOf::Inode(&*file.inode),
    };
    match sync_file(file, of).await {
        // Pipes and the like have nothing to wait for.
        Ok(_) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// What `O_DIRECT` asks of buffers and places, open(2): all in whole sectors.
pub(super) fn check_aligned(file: &OpenFile, segments: &[Segment], place: At) -> Result<(), Errno> {
    let on_disk = file.inode.file_system().is_some() && file.inode.kind() == FileKind::Regular || is_device(file);
    let offset = if let At::Offset(offset) = place { offset } else { *file.offset.lock() };
    let aligned = |s: &Segment| (s.base.0 | s.len).is_multiple_of(SECTOR_SIZE);
    let fits = offset.is_multiple_of(SECTOR_SIZE) && segments.iter().all(aligned);
    if on_disk && !fits { Err(Errno::EINVAL) } else { Ok(()) }
}

fn device(file: &OpenFile) -> Option<&BlockFile> {
    file.ops.as_any().and_then(|ops| ops.downcast_ref::<BlockFile>())
}

fn is_device(file: &OpenFile) -> bool {
    device(file).is_some()
}

pub(super) async fn fsync(cx: &mut Context<'_>, fd: Fd) -> SysResult {
    let file = cx.thread.file(fd)?;
    sync_file(&file, SyncOf::Inode(&*file.inode)).await
}

pub(super) async fn fdatasync(cx: &mut Context<'_>, fd: Fd) -> SysResult {
    let file = cx.thread.file(fd)?;
    sync_file(&file, SyncOf::Data(&*file.inode)).await
}

async fn sync_file(file: &OpenFile, of: SyncOf<'_>) -> SysResult {
    if let Some(device) = device(file) {
        device.volume.sync().await?;
        return Ok(0);
    }
    if let Some(disk) = file.inode.file_system() {
        disk.sync(of).await?;
        return Ok(0);
    }
    // What is in the page cache of tmpfs is where it will ever be.
    if file.inode.cache().is_some() || file.inode.metadata().is_dir() { Ok(0) } else { Err(Errno::EINVAL) }
}

pub(super) async fn sync(cx: &mut Context<'_>) -> SysResult {
    cx.kernel().sync_all().await;
    Ok(0)
}

pub(super) async fn syncfs(cx: &mut Context<'_>, fd: Fd) -> SysResult {
    let file = cx.thread.file(fd)?;
    if let Some(disk) = file.inode.file_system() {
        disk.sync(SyncOf::All).await?;
    }
    Ok(0)
}

pub(super) fn sync_file_range(cx: &mut Context<'_>, fd: Fd, offset: i64, len: i64, flags: u32) -> SysResult {
    let file = cx.thread.file(fd)?;
    if flags & !7 != 0 || offset < 0 || len < 0 || offset.checked_add(len).is_none() {
        return Err(Errno::EINVAL);
    }
    match file.inode.kind() {
        FileKind::Regular | FileKind::Directory | FileKind::BlockDevice | FileKind::Symlink => Ok(0),
        _ => Err(Errno::ESPIPE),
    }
}
