//! The capability table: what a process may ask of the kernel at all, on top of what Unix permissions say.
//!
//! A slot per kind, rights in each. Rights can be given up and never come back; a child starts with its parent's.

use core::sync::atomic::{AtomicU64, Ordering};

use aurora_abi::Errno;

bitflags::bitflags! {
    /// What a slot allows.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Rights: u8 {
        /// Look, open, use.
        const READ = 1;
        /// Change.
        const WRITE = 2;
        /// Execute.
        const EXEC = 4;
    }
}

/// Number of slots.
pub const SLOTS: u32 = 64;

/// What a capability is about; the number is its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// open, openat (R).
    VfsOpen = 1,
    /// write, mkdir, unlink, rename, symlink, chmod (W).
    VfsWrite = 2,
    /// read, readlink (R).
    VfsRead = 3,
    /// Opening the password file; marking a session authenticated (R).
    Auth = 4,
    /// setuid, setgid, chown (W).
    SetUid = 6,
    /// Internet sockets (R).
    NetSocket = 7,
    /// Addresses, routes, interfaces (W).
    NetAdmin = 8,
    /// Threads (R).
    ThreadCreate = 9,
    /// `/proc` of another process (R); signals to another user's process (W).
    ProcRead = 10,
    /// Raw block devices (R/W).
    DiskAdmin = 11,
    /// The display (R).
    Framebuffer = 12,
    /// Spawning with a chosen mask (R).
    CapDelegate = 13,
    /// Another process's table (R).
    CapQuery = 14,
    /// Unix sockets, memfd, message queues, pipes between processes by name (R).
    Ipc = 15,
    /// reboot, host name (W).
    Power = 16,
    /// Listening on ports below 1024 (R).
    NetListen = 18,
    /// mount, umount (W).
    Mount = 20,
    /// Setting the clock (W).
    Time = 23,
}

/// A process's table. Checked on every system call, so each right is one word with a bit per kind.
#[derive(Debug)]
pub struct CapabilityTable {
    rights: [AtomicU64; 3],
}

impl CapabilityTable {
    /// Every kind with every right: what init starts with.
    pub fn full() -> Self {
        Self { rights: [const { AtomicU64::new(u64::MAX) }; 3] }
    }

    /// A child's copy.
    pub fn fork(&self) -> Self {
        let copy = |r: &AtomicU64| AtomicU64::new(r.load(Ordering::Acquire));
        let [read, write, exec] = &self.rights;
        Self { rights: [copy(read), copy(write), copy(exec)] }
    }

    /// `EPERM` unless the slot of `kind` has all of `rights`.
    pub fn check(&self, kind: Kind, rights: Rights) -> Result<(), Errno> {
        if self.get(kind as u32).contains(rights) { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// The rights in a slot.
    pub fn get(&self, slot: u32) -> Rights {
        let mut rights = Rights::empty();
        for (word, right) in self.rights.iter().zip([Rights::READ, Rights::WRITE, Rights::EXEC]) {
            if word.load(Ordering::Acquire) >> (slot % SLOTS) & 1 != 0 {
                rights |= right;
            }
        }
        rights
    }

    /// Gives rights up, for good.
    pub fn drop_rights(&self, slot: u32, rights: Rights) {
        for (word, right) in self.rights.iter().zip([Rights::READ, Rights::WRITE, Rights::EXEC]) {
            if rights.contains(right) {
                word.fetch_and(!(1 << (slot % SLOTS)), Ordering::AcqRel);
            }
        }
    }
}

/// What a socket of a family needs: talking inside the machine and over networks are two things, and asking what
/// interfaces there are is neither.
pub fn may_use_family(capabilities: &CapabilityTable, family: u32) -> Result<(), Errno> {
    match family {
        1 => capabilities.check(Kind::Ipc, Rights::READ),
        2 | 10 | 17 => capabilities.check(Kind::NetSocket, Rights::READ),
        _ => Ok(()),
    }
}

/// What binding to a port below 1024 needs, besides being the superuser.
pub fn may_bind_port(capabilities: &CapabilityTable, port: u16) -> Result<(), Errno> {
    if (1..1024).contains(&port) { capabilities.check(Kind::NetListen, Rights::READ) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_given_up_are_gone_for_the_process_and_its_children() {
        let table = CapabilityTable::full();
        table.drop_rights(Kind::VfsWrite as u32, Rights::WRITE);
        let child = table.fork();
        assert_eq!(child.check(Kind::VfsWrite, Rights::WRITE), Err(Errno::EPERM));
        assert_eq!(child.check(Kind::VfsWrite, Rights::READ), Ok(()));
        assert_eq!(table.check(Kind::VfsRead, Rights::READ), Ok(()));
    }
}
