//! The system as a whole: uname(2), sysinfo(2), mount(2), reboot(2), getrandom(2), syslog(2).

use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_abi::types::Sysinfo;
use aurora_machine::{PAGE_SIZE, VirtAddr};

use crate::Next;
use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::num::{low16, to_usize};
use crate::syscall::{Context, SysResult};
use crate::vfs::AT_FDCWD;
use crate::vfs::mount::MountFlags;
use crate::vfs::path::Follow;

/// The build `uname -v` shows.
pub const VERSION: &str = concat!("#1 Aurora ", env!("CARGO_PKG_VERSION"));

/// Bytes of each field of `struct utsname`.
const UTS_FIELD: usize = 65;

pub(super) async fn uname(cx: &mut Context<'_>, out: VirtAddr) -> SysResult {
    let mut bytes = Vec::with_capacity(6 * UTS_FIELD);
    {
        let names = cx.kernel().names.lock();
        let fields: [&[u8]; 6] =
            [b"Linux", &names.host, crate::boot::RELEASE.as_bytes(), VERSION.as_bytes(), b"x86_64", &names.domain];
        for field in fields {
            let end = bytes.len() + UTS_FIELD;
            bytes.extend_from_slice(field);
            bytes.resize(end, 0);
        }
    }
    cx.space()?.copy_out(out, &bytes).await?;
    Ok(0)
}

async fn new_name(cx: &Context<'_>, name: VirtAddr, len: u64) -> Result<Vec<u8>, Errno> {
    if !cx.thread.process.credentials().is_root() {
        return Err(Errno::EPERM);
    }
    if len > 64 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = alloc::vec![0; to_usize(len)];
    cx.space()?.copy_in(name, &mut bytes).await?;
    Ok(bytes)
}

pub(super) async fn sethostname(cx: &mut Context<'_>, name: VirtAddr, len: u64) -> SysResult {
    let name = new_name(cx, name, len).await?;
    cx.kernel().names.lock().host = name;
    Ok(0)
}

pub(super) async fn setdomainname(cx: &mut Context<'_>, name: VirtAddr, len: u64) -> SysResult {
    let name = new_name(cx, name, len).await?;
    cx.kernel().names.lock().domain = name;
    Ok(0)
}

pub(super) async fn sysinfo(cx: &mut Context<'_>, out: UserPtr<Sysinfo>) -> SysResult {
    let kernel = cx.kernel();
    let memory = kernel.memory.phys();
    let info = Sysinfo {
        uptime: (kernel.machine.now().0 / 1_000_000_000).cast_signed(),
        loads: kernel.scheduler.load().for_sysinfo(),
        totalram: memory.total_frames() * PAGE_SIZE,
        freeram: memory.free_frames() * PAGE_SIZE,
        sharedram: kernel.memory.cached_frames() * PAGE_SIZE,
        procs: low16(kernel.processes.thread_count() as u64),
        mem_unit: 1,
        ..Sysinfo::default()
    };
    out.store(&*cx.space()?, &info).await?;
    Ok(0)
}

const GRND_NONBLOCK: u32 = 1;
const GRND_RANDOM: u32 = 2;
const GRND_INSECURE: u32 = 4;

pub(super) async fn getrandom(cx: &mut Context<'_>, buffer: VirtAddr, len: u64, flags: u32) -> SysResult {
    let both = GRND_RANDOM | GRND_INSECURE;
    if flags & !(GRND_NONBLOCK | both) != 0 || flags & both == both {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let mut bytes = [0; 256];
    let len = len.min(32 << 20);
    let mut done = 0;
    while done < len {
        let part = bytes.get_mut(..to_usize((len - done).min(256))).unwrap_or_default();
        cx.kernel().machine.entropy(part);
        match space.copy_out(buffer + done, part).await {
            Ok(()) => done += part.len() as u64,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
        if cx.thread.is_interrupted() {
            break;
        }
    }
    Ok(done)
}

const MS_REMOUNT: u64 = 32;
const MS_BIND: u64 = 4096;
/// Options that change nothing here: access times, propagation, silence.
const MS_IGNORED: u64 = 0x0100_0000 | 0x0020_0000 | 0x400 | 0x800 | 0x8000 | 0x10 | 0x4_0000 | 0xc0ed_0000;

pub(super) async fn mount(
    cx: &mut Context<'_>,
    source: UserPtr<CStr>,
    target: UserPtr<CStr>,
    kind: UserPtr<CStr>,
    flags: u64,
    data: UserPtr<CStr>,
) -> SysResult {
    if !cx.thread.process.credentials().is_root() {
        return Err(Errno::EPERM);
    }
    let text = async |at: UserPtr<CStr>| if at.is_null() { Ok(Vec::new()) } else { cx.path(at).await };
    let (source, kind, data) = (text(source).await?, text(kind).await?, text(data).await?);
    let name = cx.path(target).await?;
    let place = cx.resolve(AT_FDCWD, &name, Follow::Yes)?;
    let vfs = &cx.kernel().vfs;
    let options = MountFlags::from_bits_truncate(crate::num::low32(flags & 15));
    if flags & MS_REMOUNT != 0 {
        if !alloc::sync::Arc::ptr_eq(&place.dentry, &place.mount.root) {
            return Err(Errno::EINVAL);
        }
        place.mount.set_flags(options);
        return Ok(0);
    }
    if flags & MS_BIND != 0 {
        let from = cx.resolve(AT_FDCWD, &source, Follow::Yes)?;
        vfs.bind(&from, place)?;
        return Ok(0);
    }
    if flags & !(15 | MS_IGNORED) != 0 {
        return Err(Errno::EINVAL);
    }
    let shown = alloc::string::String::from_utf8_lossy(&source).into_owned();
    let (root, kind) = match kind.as_slice() {
        b"tmpfs" | b"ramfs" => {
            let (pages, mode) = tmpfs_options(cx, &data)?;
            (cx.kernel().new_tmpfs(pages, mode)?, "tmpfs")
        }
        b"proc" => (crate::fs::procfs::root(cx.kernel()), "proc"),
        b"devtmpfs" => {
            let root = cx.kernel().new_tmpfs(cx.kernel().memory.phys().total_frames() / 8, 0o755)?;
            crate::fs::devfs::populate(&root, cx.kernel().now())?;
            (root, "devtmpfs")
        }
        b"devpts" => {
            devpts_options(cx, &data)?;
            (crate::fs::devpts::root(&cx.kernel().ptys, cx.kernel().now()), "devpts")
        }
        _ => return Err(Errno::ENODEV),
    };
    vfs.mount(root, place, &shown, kind, options)?;
    Ok(0)
}

/// `size=` and `mode=` of tmpfs(5).
fn tmpfs_options(cx: &Context<'_>, data: &[u8]) -> Result<(u64, u32), Errno> {
    let total = cx.kernel().memory.phys().total_frames();
    let (mut pages, mut mode) = (total / 2, 0o1777);
    for option in data.split(|&b| b == b',').filter(|o| !o.is_empty()) {
        let text = core::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match name {
            "size" => pages = parse_size(value, total)?,
            "mode" => mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777,
            "nr_blocks" => pages = value.parse().map_err(|_| Errno::EINVAL)?,
            "nr_inodes" | "uid" | "gid" | "rw" | "ro" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok((pages, mode))
}

/// `gid=`, `mode=` and `ptmxmode=` of devpts; there is one instance, so they are everybody's.
fn devpts_options(cx: &Context<'_>, data: &[u8]) -> Result<(), Errno> {
    let mut options = cx.kernel().ptys.options.lock();
    for option in data.split(|&b| b == b',').filter(|o| !o.is_empty()) {
        let text = core::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let mode = || u32::from_str_radix(value, 8).map(|m| m & 0o7777).map_err(|_| Errno::EINVAL);
        match name {
            "gid" => options.gid = Some(value.parse().map_err(|_| Errno::EINVAL)?),
            "mode" => options.mode = mode()?,
            "ptmxmode" => options.master_mode = mode()?,
            "newinstance" | "rw" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(())
}

fn parse_size(text: &str, total: u64) -> Result<u64, Errno> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let value: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    let bytes = match text.get(digits.len()..) {
        Some("") => Some(value),
        Some("k" | "K") => value.checked_mul(1 << 10),
        Some("m" | "M") => value.checked_mul(1 << 20),
        Some("g" | "G") => value.checked_mul(1 << 30),
        Some("%") => return Ok(total.saturating_mul(value) / 100),
        _ => None,
    };
    Ok(bytes.ok_or(Errno::EINVAL)?.div_ceil(PAGE_SIZE))
}

const MNT_DETACH: u32 = 2;

pub(super) async fn umount2(cx: &mut Context<'_>, target: UserPtr<CStr>, flags: u32) -> SysResult {
    if !cx.thread.process.credentials().is_root() {
        return Err(Errno::EPERM);
    }
    let name = cx.path(target).await?;
    let place = cx.resolve(AT_FDCWD, &name, Follow::Yes)?;
    cx.kernel().vfs.recent.clear();
    cx.kernel().vfs.unmount(&place, flags & MNT_DETACH != 0)?;
    Ok(0)
}

const REBOOT_MAGIC: u32 = 0xfee1_dead;
const REBOOT_MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
const REBOOT_RESTART: u32 = 0x0123_4567;
const REBOOT_HALT: u32 = 0xcdef_0123;
const REBOOT_POWER_OFF: u32 = 0x4321_fedc;
const REBOOT_CAD_OFF: u32 = 0;
const REBOOT_CAD_ON: u32 = 0x89ab_cdef;

pub(super) async fn reboot(cx: &mut Context<'_>, magic: u32, magic2: u32, command: u32) -> SysResult {
    if !cx.thread.process.credentials().is_root() {
        return Err(Errno::EPERM);
    }
    if magic != REBOOT_MAGIC || !REBOOT_MAGIC2.contains(&magic2) {
        return Err(Errno::EINVAL);
    }
    let next = match command {
        REBOOT_RESTART => Next::Restart,
        REBOOT_HALT | REBOOT_POWER_OFF => Next::PowerOff,
        // No keyboard combination reboots here, so there is none to switch.
        REBOOT_CAD_OFF | REBOOT_CAD_ON => return Ok(0),
        _ => return Err(Errno::EINVAL),
    };
    cx.kernel().stop(next);
    // The machine goes down before the program runs again.
    cx.thread.interruptible(core::future::pending::<()>()).await;
    Ok(0)
}

const SYSLOG_READ_ALL: u32 = 3;
const SYSLOG_READ_CLEAR: u32 = 4;
const SYSLOG_CLEAR: u32 = 5;
const SYSLOG_SIZE_UNREAD: u32 = 9;
const SYSLOG_SIZE_BUFFER: u32 = 10;

pub(super) async fn syslog(cx: &mut Context<'_>, action: u32, buffer: VirtAddr, len: i32) -> SysResult {
    let log = &cx.kernel().log;
    match action {
        SYSLOG_READ_ALL | SYSLOG_READ_CLEAR => {
            let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
            let text = log.text();
            let bytes = text.as_bytes();
            let shown = bytes.get(bytes.len().saturating_sub(len)..).unwrap_or_default();
            cx.space()?.copy_out(buffer, shown).await?;
            if action == SYSLOG_READ_CLEAR {
                log.clear();
            }
            Ok(shown.len() as u64)
        }
        SYSLOG_CLEAR => {
            log.clear();
            Ok(0)
        }
        SYSLOG_SIZE_UNREAD => Ok(log.text().len() as u64),
        SYSLOG_SIZE_BUFFER => Ok(64 * 1024),
        _ => Err(Errno::EINVAL),
    }
}

const MEMBARRIER_QUERY: u32 = 0;
const MEMBARRIER_GLOBAL: u32 = 1;

pub(super) async fn membarrier(_: &mut Context<'_>, command: u32, flags: u32) -> SysResult {
    match (command, flags) {
        (MEMBARRIER_QUERY, 0) => Ok(u64::from(MEMBARRIER_GLOBAL)),
        // One processor: entering the kernel is the barrier.
        (MEMBARRIER_GLOBAL, 0) => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
