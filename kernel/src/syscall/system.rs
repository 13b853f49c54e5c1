//! The system as a whole: uname(2), sysinfo(2), mount(2), reboot(2), getrandom(2), syslog(2).

use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_abi::types::Sysinfo;
use aurora_machine::{PAGE_SIZE, VirtAddr};

use crate::Next;
use crate::memory::UserPtr;
use crate::num::{low16, to_usize};
use crate::syscall::{Context, SysResult};

/// The build `uname -v` shows.
pub const VERSION: &str = concat!("#1 Aurora ", env!("CARGO_PKG_VERSION"));

/// Bytes of each field of `struct utsname`.
const UTS_FIELD: usize = 65;

pub(super) async fn uname(cx: &mut Context<'_>, out: VirtAddr) -> SysResult {
    let mut bytes = Vec::with_capacity(6 * UTS_FIELD);
    {
        let uts = cx.thread.uts();
        let names = uts.names();
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
    cx.thread.uts().names().host = name;
    Ok(0)
}

pub(super) async fn setdomainname(cx: &mut Context<'_>, name: VirtAddr, len: u64) -> SysResult {
    let name = new_name(cx, name, len).await?;
    cx.thread.uts().names().domain = name;
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
    cx.kernel().go_down(next);
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

pub(super) fn membarrier(_: &mut Context<'_>, command: u32, flags: u32) -> SysResult {
    match (command, flags) {
        (MEMBARRIER_QUERY, 0) => Ok(u64::from(MEMBARRIER_GLOBAL)),
        // One processor: entering the kernel is the barrier.
        (MEMBARRIER_GLOBAL, 0) => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
