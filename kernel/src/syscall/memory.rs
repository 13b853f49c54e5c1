//! mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), msync(2), mincore(2).

use aurora_abi::Errno;
use aurora_machine::{PAGE_SIZE, VirtAddr, VirtRange};

use crate::memory::area::Label;
use crate::memory::map::{Place, Request, shared_anonymous};
use crate::memory::{Backing, Prot};
use crate::syscall::{Context, SysResult};
use crate::task::limits::Resource;
use crate::vfs::Fd;
use crate::vfs::mount::MountFlags;

bitflags::bitflags! {
    /// `MAP_*` flags.
    #[derive(Clone, Copy, PartialEq, Eq)]
    struct MapFlags: u32 {
        const SHARED = 0x1;
        const PRIVATE = 0x2;
        const FIXED = 0x10;
        const ANONYMOUS = 0x20;
        const GROWSDOWN = 0x100;
        const NORESERVE = 0x4000;
        const FIXED_NOREPLACE = 0x10_0000;
    }
}

pub(super) async fn mmap(
    cx: &mut Context<'_>,
    addr: VirtAddr,
    len: u64,
    prot: u32,
    flags: u32,
    fd: Fd,
    offset: u64,
) -> SysResult {
    // Unknown flags are ignored, as Linux has always done.
    let kind = flags & 0xf;
    let flags = MapFlags::from_bits_truncate(flags);
    let shared = match kind {
        1 | 3 => true,
        2 => false,
        _ => return Err(Errno::EINVAL),
    };
    if !offset.is_multiple_of(PAGE_SIZE) || len == 0 {
        return Err(Errno::EINVAL);
    }
    let prot = Prot::from_bits_truncate(prot);
    let backing = if flags.contains(MapFlags::ANONYMOUS) {
        if shared {
            let kernel = cx.kernel();
            let cache = shared_anonymous(&kernel.memory, &kernel.shared_memory, len);
            Backing::Cache { cache, first: 0, file: None }
        } else {
            Backing::Anonymous
        }
    } else {
        file_backing(cx, fd, prot, shared, offset, len)?
    };
    let place = match () {
        () if flags.contains(MapFlags::FIXED_NOREPLACE) => Place::FixedFree(addr),
        () if flags.contains(MapFlags::FIXED) => Place::Fixed(addr),
        () => Place::Near(addr),
    };
    let request = Request {
        place,
        len,
        prot,
        shared,
        grows_down: flags.contains(MapFlags::GROWSDOWN),
        no_reserve: flags.contains(MapFlags::NORESERVE),
        backing,
        label: Label::None,
        limit: cx.thread.process.limits.get(Resource::AddressSpace),
    };
    Ok(cx.space()?.map(request)?.0)
}

fn file_backing(cx: &Context<'_>, fd: Fd, prot: Prot, shared: bool, offset: u64, len: u64) -> Result<Backing, Errno> {
    let file = cx.thread.file(fd)?;
    if !file.can_read() || shared && prot.contains(Prot::WRITE) && !file.can_write() {
        return Err(Errno::EACCES);
    }
    let no_exec = file.path.as_ref().is_some_and(|p| p.mount.flags().contains(MountFlags::NOEXEC));
    if prot.contains(Prot::EXEC) && no_exec {
        return Err(Errno::EPERM);
    }
    offset.checked_add(len).ok_or(Errno::EOVERFLOW)?;
    if let Some(cache) = file.inode.cache().cloned() {
        return Ok(Backing::Cache { cache, first: offset / PAGE_SIZE, file: Some(file) });
    }
    // /dev/zero maps as anonymous memory.
    let metadata = file.inode.metadata();
    if (metadata.rdev.major, metadata.rdev.minor) == (1, 5) {
        let kernel = cx.kernel();
        return Ok(if shared {
            let cache = shared_anonymous(&kernel.memory, &kernel.shared_memory, len);
            Backing::Cache { cache, first: 0, file: None }
        } else {
            Backing::Anonymous
        });
    }
    Err(Errno::ENODEV)
}

pub(super) async fn munmap(cx: &mut Context<'_>, addr: VirtAddr, len: u64) -> SysResult {
    cx.space()?.unmap(addr, len)?;
    Ok(0)
}

const PROT_GROWS: u32 = 0x0300_0000;

pub(super) async fn mprotect(cx: &mut Context<'_>, addr: VirtAddr, len: u64, prot: u32) -> SysResult {
    if prot & !(7 | PROT_GROWS) != 0 {
        return Err(Errno::EINVAL);
    }
    cx.space()?.protect(addr, len, Prot::from_bits_truncate(prot))?;
    Ok(0)
}

const MREMAP_MAYMOVE: u32 = 1;
const MREMAP_FIXED: u32 = 2;

pub(super) async fn mremap(
    cx: &mut Context<'_>,
    old: VirtAddr,
    old_len: u64,
    new_len: u64,
    flags: u32,
    new: VirtAddr,
) -> SysResult {
    let may_move = flags & MREMAP_MAYMOVE != 0;
    let fixed = (flags & MREMAP_FIXED != 0).then_some(new);
    if flags & !(MREMAP_MAYMOVE | MREMAP_FIXED) != 0 || fixed.is_some() && !may_move {
        return Err(Errno::EINVAL);
    }
    let old_len = old_len.checked_next_multiple_of(PAGE_SIZE).ok_or(Errno::EINVAL)?;
    let range = VirtRange::new(old, old_len).ok_or(Errno::EINVAL)?;
    let limit = cx.thread.process.limits.get(Resource::AddressSpace);
    Ok(cx.space()?.remap(range, new_len, may_move, fixed, limit)?.0)
}

pub(super) async fn brk(cx: &mut Context<'_>, addr: VirtAddr) -> SysResult {
    let limits = &cx.thread.process.limits;
    let (data, total) = (limits.get(Resource::Data), limits.get(Resource::AddressSpace));
    Ok(cx.space()?.set_brk(addr, data, total).0)
}

fn page_range(addr: VirtAddr, len: u64) -> Result<VirtRange, Errno> {
    if !addr.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    let len = len.checked_next_multiple_of(PAGE_SIZE).ok_or(Errno::EINVAL)?;
    VirtRange::new(addr, len).filter(|r| r.end <= aurora_machine::USER_END).ok_or(Errno::ENOMEM)
}

const MADV_DONTNEED: u32 = 4;
const MADV_FREE: u32 = 8;

pub(super) async fn madvise(cx: &mut Context<'_>, addr: VirtAddr, len: u64, advice: u32) -> SysResult {
    let range = page_range(addr, len)?;
    let space = cx.space()?;
    match advice {
        // Freed pages may be dropped at any time; now is one.
        MADV_DONTNEED | MADV_FREE => space.discard(range)?,
        // Hints about order, size and sharing: nothing here would follow them.
        0..=3 | 12..=19 if space.is_mapped(range) => {}
        0..=3 | 12..=19 => return Err(Errno::ENOMEM),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

pub(super) async fn msync(cx: &mut Context<'_>, addr: VirtAddr, len: u64, flags: u32) -> SysResult {
    let both = flags & 5 == 5;
    if flags & !7 != 0 || both {
        return Err(Errno::EINVAL);
    }
    // Shared mappings show the page cache itself: there is nothing to carry over.
    if cx.space()?.is_mapped(page_range(addr, len)?) { Ok(0) } else { Err(Errno::ENOMEM) }
}

pub(super) async fn mincore(cx: &mut Context<'_>, addr: VirtAddr, len: u64, out: VirtAddr) -> SysResult {
    let range = page_range(addr, len)?;
    let space = cx.space()?;
    if !space.is_mapped(range) {
        return Err(Errno::ENOMEM);
    }
    for page in 0..range.pages() {
        let resident = space.is_resident(range.start + page * PAGE_SIZE);
        space.copy_out(out + page, &[u8::from(resident)]).await?;
    }
    Ok(0)
}

/// `mlock` and its kin: pages here never leave memory, so a mapped range is already locked once it is there.
pub(super) async fn mlock(cx: &mut Context<'_>, addr: VirtAddr, len: u64) -> SysResult {
    let start = addr.page_floor();
    let range = page_range(start, len.saturating_add(addr.page_offset() as u64))?;
    let limit = cx.thread.process.limits.get(Resource::LockedMemory);
    if !cx.thread.process.credentials().is_root() && range.len() > limit {
        return Err(if limit == 0 { Errno::EPERM } else { Errno::ENOMEM });
    }
    let space = cx.space()?;
    if !space.is_mapped(range) {
        return Err(Errno::ENOMEM);
    }
    for page in 0..range.pages() {
        let at = range.start + page * PAGE_SIZE;
        if !space.is_resident(at) {
            let _ = space.fault(at, aurora_machine::Access::Read).await;
        }
    }
    Ok(0)
}

pub(super) async fn munlock(cx: &mut Context<'_>, addr: VirtAddr, len: u64) -> SysResult {
    let range = page_range(addr.page_floor(), len.saturating_add(addr.page_offset() as u64))?;
    if cx.space()?.is_mapped(range) { Ok(0) } else { Err(Errno::ENOMEM) }
}
