//! mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), msync(2), mincore(2).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_machine::{Access, PAGE_SIZE, VirtAddr, VirtRange};

use crate::fs::RegularFile;
use crate::memory::area::{Label, Traits};
use crate::memory::cache::Seals;
use crate::memory::fault::FaultError;
use crate::memory::map::{Place, Request, shared_anonymous};
use crate::memory::user::CStr;
use crate::memory::{Area, Backing, Prot, UserPtr};
use crate::security::credentials::CAP_IPC_LOCK;
use crate::syscall::{Context, SysResult};
use crate::task::limits::Resource;
use crate::vfs::file::FILE_COST;
use crate::vfs::inode::DeviceId;
use crate::vfs::mount::MountFlags;
use crate::vfs::{Fd, FileKind, NewInode, OpenFile, OpenFlags};

bitflags::bitflags! {
    /// `MAP_*` flags.
    #[derive(Clone, Copy, PartialEq, Eq)]
    struct MapFlags: u32 {
        const SHARED = 0x1;
        const PRIVATE = 0x2;
        const FIXED = 0x10;
        const ANONYMOUS = 0x20;
        const LOW = 0x40;
        const GROWSDOWN = 0x100;
        const DENYWRITE = 0x800;
        const EXECUTABLE = 0x1000;
        const LOCKED = 0x2000;
        const NORESERVE = 0x4000;
        const POPULATE = 0x8000;
        const NONBLOCK = 0x1_0000;
        const STACK = 0x2_0000;
        const HUGETLB = 0x4_0000;
        const FIXED_NOREPLACE = 0x10_0000;
    }
}

/// Sizes of huge pages, and a flag only kernels without memory protection know.
const HUGE_SIZES: u32 = 0x3f << 26;

/// The kinds of mapping: the low bits of the flags.
const SHARED: u32 = 1;
const PRIVATE: u32 = 2;
/// Shared, and unknown flags are refused.
const SHARED_VALIDATE: u32 = 3;

pub(super) async fn mmap(
    cx: &mut Context<'_>,
    addr: VirtAddr,
    len: u64,
    prot: u32,
    flags: u32,
    fd: Fd,
    offset: u64,
) -> SysResult {
    let kind = flags & 0xf;
    let all = flags;
    // Unknown flags are ignored, as Linux has always done.
    let flags = MapFlags::from_bits_truncate(flags);
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let file = if flags.contains(MapFlags::ANONYMOUS) { None } else { Some(cx.thread.file(fd)?) };
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    offset.checked_add(len).ok_or(Errno::EOVERFLOW)?;
    let shared = match kind {
        SHARED => true,
        SHARED_VALIDATE if file.is_some() => {
            if all & !(MapFlags::all().bits() | HUGE_SIZES | 0xf) != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            true
        }
        PRIVATE => false,
        _ => return Err(Errno::EINVAL),
    };
    if flags.contains(MapFlags::HUGETLB) {
        // None are set aside.
        return Err(Errno::ENOMEM);
    }
    let prot = Prot::from_bits_truncate(prot);
    let limits = &cx.thread.process.limits;
    let space = cx.space()?;
    if flags.contains(MapFlags::LOCKED) || space.locks_future() {
        may_lock(cx, len.div_ceil(PAGE_SIZE), Errno::EAGAIN)?;
    }
    let backing = match file {
        Some(_) if flags.contains(MapFlags::GROWSDOWN) => return Err(Errno::EINVAL),
        Some(file) => file_backing(cx, file, prot, shared, offset, len)?,
        None => anonymous_backing(cx, shared, len),
    };
    let is_data = !shared && prot.contains(Prot::WRITE);
    let data = space.usage().data * PAGE_SIZE;
    if is_data && data.saturating_add(len) > limits.get(Resource::Data) {
        return Err(Errno::ENOMEM);
    }
    let place = match () {
        () if flags.contains(MapFlags::FIXED_NOREPLACE) => Place::FixedFree(addr),
        () if flags.contains(MapFlags::FIXED) => Place::Fixed(addr),
        () if flags.contains(MapFlags::LOW) => Place::Low,
        () => Place::Near(addr),
    };
    let unchecked = cx.kernel().settings.overcommit.load(Ordering::Relaxed) == 1;
    let request = Request {
        place,
        len,
        prot,
        shared,
        grows_down: flags.contains(MapFlags::GROWSDOWN),
        no_reserve: flags.contains(MapFlags::NORESERVE) || unchecked,
        backing,
        label: Label::None,
        limit: limits.get(Resource::AddressSpace),
    };
    let start = space.map(request)?;
    let range = page_range(start, len)?;
    if flags.contains(MapFlags::LOCKED) {
        space.set_traits(range, Traits::LOCKED, true, |_| true)?;
    }
    let populates = flags.contains(MapFlags::POPULATE) && !flags.contains(MapFlags::NONBLOCK);
    if populates || flags.contains(MapFlags::LOCKED) || space.locks_future() {
        let _ = populate(cx, range, prot.contains(Prot::WRITE) && !shared).await;
    }
    Ok(start.0)
}

fn anonymous_backing(cx: &Context<'_>, shared: bool, len: u64) -> Backing {
    if !shared {
        return Backing::Anonymous;
    }
    let kernel = cx.kernel();
    Backing::Cache { cache: shared_anonymous(&kernel.memory, &kernel.shared_memory, len), first: 0, file: None }
}

fn file_backing(
    cx: &Context<'_>,
    file: Arc<OpenFile>,
    prot: Prot,
    shared: bool,
    offset: u64,
    len: u64,
) -> Result<Backing, Errno> {
    let writes = shared && prot.contains(Prot::WRITE);
    if writes && !file.can_write() || !file.can_read() {
        return Err(Errno::EACCES);
    }
    let no_exec = file.path.as_ref().is_some_and(|p| p.mount.flags().contains(MountFlags::NOEXEC));
    if prot.contains(Prot::EXEC) && no_exec {
        return Err(Errno::EPERM);
    }
    if let Some(cache) = file.inode.cache().cloned() {
        if writes && cache.is_write_sealed() {
            return Err(Errno::EPERM);
        }
        return Ok(Backing::Cache { cache, first: offset / PAGE_SIZE, file: Some(file) });
    }
    // /dev/zero maps as anonymous memory.
    let rdev = file.inode.metadata().rdev;
    if (rdev.major, rdev.minor) == (1, 5) { Ok(anonymous_backing(cx, shared, len)) } else { Err(Errno::ENODEV) }
}

pub(super) fn munmap(cx: &mut Context<'_>, addr: VirtAddr, len: u64) -> SysResult {
    cx.space()?.unmap(addr, len)?;
    Ok(0)
}

const PROT_GROWS: u32 = 0x0300_0000;

pub(super) fn mprotect(cx: &mut Context<'_>, addr: VirtAddr, len: u64, prot: u32) -> SysResult {
    if prot & !(7 | PROT_GROWS) != 0 {
        return Err(Errno::EINVAL);
    }
    cx.space()?.protect(addr, len, Prot::from_bits_truncate(prot))?;
    Ok(0)
}

const MREMAP_MAYMOVE: u32 = 1;
const MREMAP_FIXED: u32 = 2;
const MREMAP_DONTUNMAP: u32 = 4;

pub(super) fn mremap(
    cx: &mut Context<'_>,
    old: VirtAddr,
    old_len: u64,
    new_len: u64,
    flags: u32,
    new: VirtAddr,
) -> SysResult {
    let may_move = flags & MREMAP_MAYMOVE != 0;
    let keep = flags & MREMAP_DONTUNMAP != 0;
    let fixed = (flags & MREMAP_FIXED != 0).then_some(new);
    if flags & !(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) != 0
        || (fixed.is_some() || keep) && !may_move
        || keep && old_len != new_len
        || !old.is_page_aligned()
        || fixed.is_some_and(|at| !at.is_page_aligned())
    {
        return Err(Errno::EINVAL);
    }
    let old_len = old_len.checked_next_multiple_of(PAGE_SIZE).ok_or(Errno::EINVAL)?;
    let range = VirtRange::new(old, old_len).ok_or(Errno::EINVAL)?;
    let limit = cx.thread.process.limits.get(Resource::AddressSpace);
    Ok(cx.space()?.remap(range, new_len, may_move, fixed, keep, limit)?.0)
}

pub(super) fn brk(cx: &mut Context<'_>, addr: VirtAddr) -> SysResult {
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

/// Brings all pages of a range in, for reading or for writing.
async fn populate(cx: &Context<'_>, range: VirtRange, write: bool) -> Result<(), FaultError> {
    let space = cx.space().map_err(|_| FaultError::NotMapped)?;
    let access = if write { Access::Write } else { Access::Read };
    for page in 0..range.pages() {
        let at = range.start + page * PAGE_SIZE;
        if write || !space.is_present(at) {
            space.fault(at, access).await?;
        }
        if cx.thread.must_stop_running() {
            break;
        }
    }
    Ok(())
}

/// What advice says of a mapping: sets or takes back.
const ADVISED: [(u32, Traits, bool); 8] = [
    (10, Traits::DONT_FORK, true),
    (11, Traits::DONT_FORK, false),
    (14, Traits::HUGE, true),
    (15, Traits::NO_HUGE, true),
    (16, Traits::DONT_DUMP, true),
    (17, Traits::DONT_DUMP, false),
    (18, Traits::WIPE_ON_FORK, true),
    (19, Traits::WIPE_ON_FORK, false),
];

const MADV_WILLNEED: u32 = 3;
const MADV_DONTNEED: u32 = 4;
const MADV_FREE: u32 = 8;
const MADV_REMOVE: u32 = 9;
const MADV_WIPEONFORK: u32 = 18;
const MADV_COLD: u32 = 20;
const MADV_PAGEOUT: u32 = 21;
const MADV_POPULATE_READ: u32 = 22;
const MADV_POPULATE_WRITE: u32 = 23;
const MADV_DONTNEED_LOCKED: u32 = 24;

fn is_private_anonymous(area: &Area) -> bool {
    !area.shared && matches!(area.backing, Backing::Anonymous)
}

pub(super) async fn madvise(cx: &mut Context<'_>, addr: VirtAddr, len: u64, advice: u32) -> SysResult {
    let known = advice <= MADV_DONTNEED || matches!(advice, MADV_FREE..=11 | 14..=MADV_DONTNEED_LOCKED);
    if !known {
        return Err(Errno::EINVAL);
    }
    let range = page_range(addr, len).map_err(|_| Errno::EINVAL)?;
    if range.is_empty() {
        return Ok(0);
    }
    let space = cx.space()?;
    let all_mapped = if space.is_mapped(range) { Ok(0) } else { Err(Errno::ENOMEM) };
    if let Some((_, traits, on)) = ADVISED.iter().find(|(number, ..)| *number == advice) {
        let fits = |area: &Area| advice != MADV_WIPEONFORK || is_private_anonymous(area);
        space.set_traits(range, *traits, *on, fits)?;
        return Ok(0);
    }
    match advice {
        // Freed pages may be dropped at any time; now is one.
        MADV_FREE if !space.all_in(range, is_private_anonymous) => return Err(Errno::EINVAL),
        MADV_DONTNEED | MADV_FREE | MADV_DONTNEED_LOCKED => space.discard(range, advice == MADV_DONTNEED_LOCKED)?,
        MADV_REMOVE => {
            let fits = |a: &Area| a.shared && a.allows(Prot::WRITE) && !a.traits.contains(Traits::LOCKED);
            if !space.all_in(range, fits) {
                return Err(Errno::EINVAL);
            }
            for (cache, pages) in space.caches(range, true) {
                cache.punch(pages.start, pages.end);
            }
        }
        MADV_POPULATE_READ | MADV_POPULATE_WRITE => {
            all_mapped?;
            let error = |e| match e {
                FaultError::NotAllowed => Errno::EINVAL,
                FaultError::PastEnd => Errno::EFAULT,
                _ => Errno::ENOMEM,
            };
            populate(cx, range, advice == MADV_POPULATE_WRITE).await.map_err(error)?;
        }
        MADV_COLD | MADV_PAGEOUT if space.has_locked(range) => return Err(Errno::EINVAL),
        MADV_WILLNEED => {
            for (cache, pages) in space.caches(range, false) {
                cache.ask_ahead(pages);
            }
        }
        // About order, which is found out by looking; and nothing is swapped.
        0..MADV_WILLNEED | MADV_COLD | MADV_PAGEOUT => {}
        _ => return Err(Errno::EINVAL),
    }
    all_mapped
}

const MS_ASYNC: u32 = 1;
const MS_INVALIDATE: u32 = 2;
const MS_SYNC: u32 = 4;

pub(super) fn msync(cx: &mut Context<'_>, addr: VirtAddr, len: u64, flags: u32) -> SysResult {
    let both = MS_ASYNC | MS_SYNC;
    if flags & !(both | MS_INVALIDATE) != 0 || flags & both == both {
        return Err(Errno::EINVAL);
    }
    if !addr.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    // Shared mappings show the page cache itself: there is nothing to carry over.
    let range = page_range(addr, len).map_err(|_| Errno::ENOMEM)?;
    let space = cx.space()?;
    if flags & MS_INVALIDATE != 0 && space.has_locked(range) {
        return Err(Errno::EBUSY);
    }
    if space.is_mapped(range) { Ok(0) } else { Err(Errno::ENOMEM) }
}

pub(super) async fn mincore(cx: &mut Context<'_>, addr: VirtAddr, len: u64, out: VirtAddr) -> SysResult {
    let range = page_range(addr, len).map_err(|e| if addr.is_page_aligned() { Errno::ENOMEM } else { e })?;
    let space = cx.space()?;
    for page in 0..range.pages() {
        let at = range.start + page * PAGE_SIZE;
        if !space.is_mapped(VirtRange::page_of(at)) {
            return Err(Errno::ENOMEM);
        }
        space.copy_out(out + page, &[u8::from(space.is_resident(at))]).await?;
    }
    Ok(0)
}

/// Whether the process may lock so many pages more; `errno` when it may some.
fn may_lock(cx: &Context<'_>, pages: u64, errno: Errno) -> Result<(), Errno> {
    if cx.thread.process.credentials().is_capable(CAP_IPC_LOCK) {
        return Ok(());
    }
    let limit = cx.thread.process.limits.get(Resource::LockedMemory) / PAGE_SIZE;
    match cx.space()?.usage().locked.saturating_add(pages) {
        _ if limit == 0 => Err(Errno::EPERM),
        wanted if wanted > limit => Err(errno),
        _ => Ok(()),
    }
}

const MLOCK_ONFAULT: u32 = 1;

pub(super) async fn mlock(cx: &mut Context<'_>, addr: VirtAddr, len: u64) -> SysResult {
    mlock2(cx, addr, len, 0).await
}

/// Pages here never leave memory: locking one is having it there, and counting it.
pub(super) async fn mlock2(cx: &mut Context<'_>, addr: VirtAddr, len: u64, flags: u32) -> SysResult {
    if flags & !MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    let range = lock_range(addr, len)?;
    if range.is_empty() {
        return Ok(0);
    }
    may_lock(cx, range.pages(), Errno::ENOMEM)?;
    cx.space()?.set_traits(range, Traits::LOCKED, true, |_| true)?;
    if flags == 0 {
        populate(cx, range, false).await.map_err(|_| Errno::ENOMEM)?;
    }
    Ok(0)
}

/// Whole pages around what is to be locked.
fn lock_range(addr: VirtAddr, len: u64) -> Result<VirtRange, Errno> {
    let len = len.checked_add(addr.page_offset() as u64).ok_or(Errno::EINVAL)?;
    page_range(addr.page_floor(), len)
}

pub(super) fn munlock(cx: &mut Context<'_>, addr: VirtAddr, len: u64) -> SysResult {
    let range = lock_range(addr, len)?;
    if !range.is_empty() {
        cx.space()?.set_traits(range, Traits::LOCKED, false, |_| true)?;
    }
    Ok(0)
}

const MCL_CURRENT: u32 = 1;
const MCL_FUTURE: u32 = 2;
const MCL_ONFAULT: u32 = 4;

pub(super) async fn mlockall(cx: &mut Context<'_>, flags: u32) -> SysResult {
    if flags == 0 || flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 || flags == MCL_ONFAULT {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    may_lock(cx, 0, Errno::ENOMEM)?;
    let current = flags & MCL_CURRENT != 0;
    let usage = space.usage();
    if current {
        may_lock(cx, usage.total.saturating_sub(usage.locked), Errno::ENOMEM)?;
    }
    space.set_all_locked(current.then_some(true), flags & MCL_FUTURE != 0);
    if current && flags & MCL_ONFAULT == 0 {
        for range in space.ranges() {
            // What cannot be there (a part past the end of its file) is left out.
            let _ = populate(cx, range, false).await;
        }
    }
    Ok(0)
}

pub(super) fn munlockall(cx: &mut Context<'_>) -> SysResult {
    cx.space()?.set_all_locked(Some(false), false);
    Ok(0)
}

const MFD_CLOEXEC: u32 = 1;
const MFD_ALLOW_SEALING: u32 = 2;
const MFD_NOEXEC_SEAL: u32 = 8;
const MFD_EXEC: u32 = 16;
/// Longest name, with its NUL.
const MFD_NAME_MAX: usize = 250;

pub(super) async fn memfd_create(cx: &mut Context<'_>, name: UserPtr<CStr>, flags: u32) -> SysResult {
    let both = MFD_EXEC | MFD_NOEXEC_SEAL;
    if flags & !(MFD_CLOEXEC | MFD_ALLOW_SEALING | both) != 0 || flags & both == both {
        return Err(Errno::EINVAL);
    }
    let name =
        cx.string(name, MFD_NAME_MAX).await.map_err(|e| if e == Errno::ENAMETOOLONG { Errno::EINVAL } else { e })?;
    let kernel = cx.kernel();
    let charge = kernel.memory.charge(FILE_COST).map_err(|_| Errno::ENFILE)?;
    let credentials = cx.thread.process.credentials();
    let noexec = flags & MFD_NOEXEC_SEAL != 0;
    let new = NewInode {
        mode: FileKind::Regular.bits() | if noexec { 0o666 } else { 0o777 },
        uid: credentials.fsuid,
        gid: credentials.fsgid,
        rdev: DeviceId::default(),
        target: &[],
        now: kernel.now(),
    };
    let inode = kernel.memfds.create_unnamed(&new, false)?;
    if let Some(cache) = inode.cache() {
        let sealable = flags & MFD_ALLOW_SEALING != 0 || noexec;
        let seals = if sealable { Seals::empty() } else { Seals::SEAL };
        cache.set_seals(if noexec { seals | Seals::EXEC } else { seals });
    }
    let shown = [b"memfd:", name.as_slice()].concat();
    let path = kernel.vfs.nowhere_named(&shown, &inode);
    let file = OpenFile::new(Some(path), inode, Arc::new(RegularFile), OpenFlags::RDWR | OpenFlags::LARGEFILE, charge);
    let limit = cx.thread.process.limits.get(Resource::Files);
    let fd = cx.thread.files().add(file, flags & MFD_CLOEXEC != 0, 0, limit)?;
    Ok(u64::from(fd.0.cast_unsigned()))
}
