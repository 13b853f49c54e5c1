//! fallocate(2).

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_machine::PAGE_SIZE;

use crate::memory::PageCache;
use crate::memory::cache::{MAX_FILE_SIZE, Seals};
use crate::num::{in_page, low16};
use crate::syscall::file::resize;
use crate::syscall::{Context, SysResult};
use crate::vfs::inode::Allocate;
use crate::vfs::{AttributeChange, Fd, FileKind, OpenFile, SetTime};

const KEEP_SIZE: u32 = 1;
const PUNCH_HOLE: u32 = 2;
const COLLAPSE_RANGE: u32 = 8;
const ZERO_RANGE: u32 = 0x10;
const INSERT_RANGE: u32 = 0x20;
const UNSHARE_RANGE: u32 = 0x40;
const KNOWN: u32 = KEEP_SIZE | PUNCH_HOLE | COLLAPSE_RANGE | ZERO_RANGE | INSERT_RANGE | UNSHARE_RANGE;

pub(super) fn fallocate(cx: &mut Context<'_>, fd: Fd, mode: u32, offset: i64, len: i64) -> SysResult {
    let file = cx.thread.file(fd)?;
    let (Ok(offset), Ok(len)) = (u64::try_from(offset), u64::try_from(len)) else { return Err(Errno::EINVAL) };
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    check_mode(mode)?;
    if !file.can_write() {
        return Err(Errno::EBADF);
    }
    match file.inode.kind() {
        FileKind::Regular => {}
        FileKind::Fifo => return Err(Errno::ESPIPE),
        FileKind::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::ENODEV),
    }
    let end = offset.checked_add(len).filter(|&end| end <= MAX_FILE_SIZE).ok_or(Errno::EFBIG)?;
    if file.inode.file_system().is_some() {
        return on_disk(cx, &file, mode, offset..end);
    }
    // What tmpfs can: as Linux's.
    let cache = file.inode.cache().filter(|_| mode & !(KEEP_SIZE | PUNCH_HOLE) == 0).ok_or(Errno::EOPNOTSUPP)?;
    if mode & PUNCH_HOLE != 0 {
        punch(cache, offset, end)?;
    } else {
        if cache.seals().contains(Seals::GROW) && end > cache.size() {
            return Err(Errno::EPERM);
        }
        let grows = mode & KEEP_SIZE == 0 && end > cache.size();
        if grows {
            // The limit is minded before anything is taken.
            super::file::check_size(cx, end)?;
        }
        fill_holes(cache, offset / PAGE_SIZE, end.div_ceil(PAGE_SIZE))?;
        if grows {
            resize(cx, &file.inode, end)?;
        }
    }
    let now = cx.kernel().now();
    file.inode.change(&AttributeChange { mtime: SetTime::To(now), ..AttributeChange::at(now) })?;
    Ok(0)
}

/// On a disk, whose file system knows how.
fn on_disk(cx: &Context<'_>, file: &OpenFile, mode: u32, bytes: core::ops::Range<u64>) -> Result<u64, Errno> {
    let grows = mode & KEEP_SIZE == 0 && bytes.end > file.inode.metadata().size;
    if grows {
        super::file::check_size(cx, bytes.end)?;
    }
    let end = bytes.end;
    let how = match mode & !KEEP_SIZE {
        0 => Allocate::Room,
        PUNCH_HOLE => Allocate::Hole,
        ZERO_RANGE => Allocate::Zeros,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    file.inode.allocate(how, bytes)?;
    if grows {
        resize(cx, &file.inode, end)?;
    }
    let now = cx.kernel().now();
    file.inode.change(&AttributeChange { mtime: SetTime::To(now), ..AttributeChange::at(now) })?;
    Ok(0)
}

/// Combinations of modes that mean nothing.
fn check_mode(mode: u32) -> Result<(), Errno> {
    match mode & !KEEP_SIZE {
        _ if mode & !KNOWN != 0 => Err(Errno::EOPNOTSUPP),
        PUNCH_HOLE if mode & KEEP_SIZE == 0 => Err(Errno::EOPNOTSUPP),
        COLLAPSE_RANGE | INSERT_RANGE if mode & KEEP_SIZE != 0 => Err(Errno::EOPNOTSUPP),
        0 | PUNCH_HOLE | ZERO_RANGE | COLLAPSE_RANGE | INSERT_RANGE | UNSHARE_RANGE => Ok(()),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// Parts of pages at the edges are zeroed, whole ones dropped.
fn punch(cache: &Arc<PageCache>, offset: u64, end: u64) -> Result<(), Errno> {
    if cache.is_write_sealed() {
        return Err(Errno::EPERM);
    }
    let zeros = [0; 4096];
    let (first, last) = (offset.div_ceil(PAGE_SIZE), end / PAGE_SIZE);
    let zero = |from: u64, to: u64| {
        let Some(frame) = cache.page(from / PAGE_SIZE) else { return };
        let len = usize::from(low16(to - from));
        frame.write(in_page(from), zeros.get(..len).unwrap_or_default());
    };
    if first > last {
        zero(offset, end);
    } else {
        zero(offset, first * PAGE_SIZE);
        cache.punch(first, last);
        zero(last * PAGE_SIZE, end);
    }
    Ok(())
}

/// Gives pages `first..end` memory: all of them, or none more than had some.
fn fill_holes(cache: &Arc<PageCache>, first: u64, end: u64) -> Result<(), Errno> {
    // What cannot fit is refused before a page is made.
    if end - first > cache.room().saturating_add(cache.resident_pages()) {
        return Err(Errno::ENOSPC);
    }
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
