//! `/proc/locks`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Kernel;
use crate::vfs::inode::DeviceId;
use crate::vfs::lock::LockOwner;

/// All advisory locks, or those of one inode, a line each.
pub(super) fn lines(kernel: &Kernel, of: Option<(u64, u64)>) -> Vec<String> {
    let place = |(dev, ino): (u64, u64)| {
        let id = DeviceId::decode(dev);
        format!("{:02x}:{:02x}:{ino}", id.major, id.minor)
    };
    let access = |exclusive: bool| if exclusive { "WRITE" } else { "READ " };
    let mut all: Vec<((u64, u64), String)> = Vec::new();
    for (inode, pid, exclusive) in kernel.locks.all() {
        all.push((inode, format!("FLOCK  ADVISORY  {} {} {} 0 EOF", access(exclusive), pid.0, place(inode))));
    }
    for lock in kernel.record_locks.all() {
        let kind = if matches!(lock.owner, LockOwner::Process(_)) { "POSIX " } else { "OFDLCK" };
        let end = if lock.last >= i64::MAX.cast_unsigned() { String::from("EOF") } else { format!("{}", lock.last) };
        let (pid, at) = (lock.owner.pid().0, place(lock.inode));
        all.push((lock.inode, format!("{kind} ADVISORY  {} {pid} {at} {} {end}", access(lock.exclusive), lock.start)));
    }
    let shown = all.into_iter().filter(|(inode, _)| of.is_none_or(|o| o == *inode));
    shown.enumerate().map(|(i, (_, line))| format!("{}: {line}", i + 1)).collect()
}

pub(super) fn text(kernel: &Kernel) -> Vec<u8> {
    lines(kernel, None).into_iter().flat_map(|line| (line + "\n").into_bytes()).collect()
}
