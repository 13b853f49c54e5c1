//! Users, groups, capabilities of Linux and permissions: credentials(7), capabilities(7).

// The capabilities are named and documented in capabilities(7).
#![allow(missing_docs)]

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;

use crate::vfs::inode::Owner;
use crate::vfs::{FileKind, Metadata};

/// Wants to read.
pub const READ: u32 = 4;
/// Wants to write.
pub const WRITE: u32 = 2;
/// Wants to execute a file or search a directory.
pub const EXECUTE: u32 = 1;

pub const CAP_CHOWN: u32 = 0;
pub const CAP_DAC_OVERRIDE: u32 = 1;
pub const CAP_DAC_READ_SEARCH: u32 = 2;
pub const CAP_FOWNER: u32 = 3;
pub const CAP_FSETID: u32 = 4;
pub const CAP_KILL: u32 = 5;
pub const CAP_SETGID: u32 = 6;
pub const CAP_SETUID: u32 = 7;
pub const CAP_SETPCAP: u32 = 8;
pub const CAP_IPC_LOCK: u32 = 14;
pub const CAP_SYS_CHROOT: u32 = 18;
pub const CAP_SYS_PTRACE: u32 = 19;
pub const CAP_SYS_PACCT: u32 = 20;
pub const CAP_SYS_ADMIN: u32 = 21;
pub const CAP_SYS_BOOT: u32 = 22;
pub const CAP_SYS_NICE: u32 = 23;
pub const CAP_SYS_RESOURCE: u32 = 24;
pub const CAP_MKNOD: u32 = 27;
pub const CAP_LEASE: u32 = 28;
/// The highest capability there is.
pub const CAP_LAST: u32 = 40;

/// Every capability.
pub const ALL_CAPS: u64 = (1 << (CAP_LAST + 1)) - 1;
/// Those that go with the user of file accesses: setfsuid(2) takes them away and gives them back.
const FILE_CAPS: u64 = 1 << CAP_CHOWN
    | 1 << CAP_DAC_OVERRIDE
    | 1 << CAP_DAC_READ_SEARCH
    | 1 << CAP_FOWNER
    | 1 << CAP_FSETID
    | 1 << CAP_MKNOD
    | 1 << 9
    | 1 << 32;

pub const SECBIT_NOROOT: u32 = 1;
pub const SECBIT_NO_SETUID_FIXUP: u32 = 4;
pub const SECBIT_KEEP_CAPS: u32 = 16;
pub const SECBIT_NO_CAP_AMBIENT_RAISE: u32 = 64;

/// Sets of Linux's capabilities, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapSets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub bounding: u64,
    pub ambient: u64,
}

impl Default for CapSets {
    fn default() -> Self {
        Self { effective: ALL_CAPS, permitted: ALL_CAPS, inheritable: 0, bounding: ALL_CAPS, ambient: 0 }
    }
}

/// Identities of a process; by default those of the superuser.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Credentials {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub fsuid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub fsgid: u32,
    pub groups: Arc<Vec<u32>>,
    pub caps: CapSets,
    /// `SECBIT_*` of capabilities(7).
    pub securebits: u32,
}

impl Credentials {
    /// Whether it acts as the superuser.
    pub fn is_root(&self) -> bool {
        self.is_capable(CAP_SYS_ADMIN)
    }

    /// Whether a capability is effective.
    pub fn is_capable(&self, cap: u32) -> bool {
        self.caps.effective >> cap & 1 != 0
    }

    /// `EPERM` unless a capability is effective.
    pub fn require(&self, cap: u32) -> Result<(), Errno> {
        if self.is_capable(cap) { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Whether it is in a group.
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }

    /// What a change of user ids does to capabilities (capabilities(7), "Effect of user ID changes").
    pub fn adjust_caps(&mut self, old: &Self) {
        if self.securebits & SECBIT_NO_SETUID_FIXUP != 0 {
            return;
        }
        let any_root = |c: &Self| [c.uid, c.euid, c.suid].contains(&0);
        if any_root(old) && !any_root(self) {
            if self.securebits & SECBIT_KEEP_CAPS == 0 {
                self.caps.permitted = 0;
                self.caps.effective = 0;
            }
            self.caps.ambient = 0;
        }
        match (old.euid, self.euid) {
            (0, 0) => {}
            (0, _) => self.caps.effective = 0,
            (_, 0) => self.caps.effective = self.caps.permitted,
            _ => {}
        }
    }

    /// What setfsuid(2) does to them.
    pub fn adjust_file_caps(&mut self, old: &Self) {
        match (old.fsuid, self.fsuid) {
            (0, 0) => {}
            (0, _) => self.caps.effective &= !FILE_CAPS,
            (_, 0) => self.caps.effective |= self.caps.permitted & FILE_CAPS,
            _ => {}
        }
    }

    /// Capabilities after execve(2) of a file without any of its own.
    pub fn caps_after_exec(&mut self, is_privileged: bool) {
        if is_privileged {
            self.caps.ambient = 0;
        }
        let root = self.securebits & SECBIT_NOROOT == 0 && (self.uid == 0 || self.euid == 0);
        let caps = &mut self.caps;
        if root {
            caps.permitted = caps.bounding | caps.inheritable;
            caps.effective = if self.euid == 0 { caps.permitted } else { caps.ambient };
        } else {
            caps.permitted = caps.ambient;
            caps.effective = caps.ambient;
        }
        self.securebits &= !SECBIT_KEEP_CAPS;
    }

    /// The same with real in place of effective identities, for access(2).
    pub fn as_real(&self) -> Self {
        let mut new = Self { euid: self.uid, fsuid: self.uid, egid: self.gid, fsgid: self.gid, ..self.clone() };
        new.caps.effective = if self.uid == 0 { self.caps.permitted } else { 0 };
        new
    }

    /// `EACCES` unless `want` (of [`READ`], [`WRITE`], [`EXECUTE`]) is allowed.
    pub fn may_access(&self, file: impl Into<Owner>, want: u32) -> Result<(), Errno> {
        let file: Owner = file.into();
        let granted = if self.fsuid == file.uid {
            file.mode >> 6
        } else if self.in_group(file.gid) {
            file.mode >> 3
        } else {
            file.mode
        };
        if granted & want == want {
            return Ok(());
        }
        let is_dir = file.kind() == FileKind::Directory;
        // Overriding lets execute only what somebody may.
        let overrides = is_dir || want & EXECUTE == 0 || file.mode & 0o111 != 0;
        let only_looks = if is_dir { want & WRITE == 0 } else { want == READ };
        let allowed =
            overrides && self.is_capable(CAP_DAC_OVERRIDE) || only_looks && self.is_capable(CAP_DAC_READ_SEARCH);
        if allowed { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Whether it owns the file, or may act as if.
    pub fn owns(&self, metadata: &Metadata) -> bool {
        self.fsuid == metadata.uid || self.is_capable(CAP_FOWNER)
    }

    /// `EPERM` if `dir` is sticky and neither it nor the entry is ours.
    pub fn may_remove(&self, dir: &Metadata, entry: &Metadata) -> Result<(), Errno> {
        let sticky = dir.mode & crate::vfs::inode::S_ISVTX != 0;
        if sticky && !self.owns(dir) && !self.owns(entry) { Err(Errno::EPERM) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_the_superuser_leaves_capabilities_behind() {
        let root = Credentials::default();
        let mut user = Credentials { uid: 1, euid: 1, suid: 1, ..root.clone() };
        user.adjust_caps(&root);
        assert_eq!((user.caps.effective, user.caps.permitted), (0, 0));
        let mut kept = Credentials { uid: 1, euid: 1, suid: 1, securebits: SECBIT_KEEP_CAPS, ..root.clone() };
        kept.adjust_caps(&root);
        assert_eq!((kept.caps.effective, kept.caps.permitted), (0, ALL_CAPS));
        let mut saved = Credentials { euid: 1, ..root.clone() };
        saved.adjust_caps(&root);
        assert_eq!((saved.caps.effective, saved.caps.permitted), (0, ALL_CAPS));
    }

    #[test]
    fn nobody_executes_what_nobody_may() {
        let file = Owner { mode: FileKind::Regular.bits() | 0o600, uid: 5, gid: 5 };
        let root = Credentials::default();
        assert_eq!(root.may_access(file, EXECUTE), Err(Errno::EACCES));
        assert_eq!(root.may_access(file, READ | WRITE), Ok(()));
        assert_eq!(root.may_access(Owner { mode: FileKind::Directory.bits(), ..file }, EXECUTE), Ok(()));
    }
}
