//! Users, groups and permissions, credentials(7).

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;

use crate::vfs::{FileKind, Metadata};

/// Wants to read.
pub const READ: u32 = 4;
/// Wants to write.
pub const WRITE: u32 = 2;
/// Wants to execute a file or search a directory.
pub const EXECUTE: u32 = 1;

/// Identities of a process.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
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
}

impl Credentials {
    /// Whether it acts as the superuser.
    pub fn is_root(&self) -> bool {
        self.euid == 0
    }

    /// Whether it is in a group.
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }

    /// The same with real in place of effective identities, for access(2).
    pub fn as_real(&self) -> Self {
        Self { euid: self.uid, fsuid: self.uid, egid: self.gid, fsgid: self.gid, ..self.clone() }
    }

    /// `EACCES` unless `want` (of [`READ`], [`WRITE`], [`EXECUTE`]) is allowed.
    pub fn may_access(&self, metadata: &Metadata, want: u32) -> Result<(), Errno> {
        let mode = metadata.mode;
        if self.fsuid == 0 {
            // The superuser may everything, but execute only what somebody may.
            let executes_file = want & EXECUTE != 0 && metadata.kind() != FileKind::Directory;
            return if executes_file && mode & 0o111 == 0 { Err(Errno::EACCES) } else { Ok(()) };
        }
        let granted = if self.fsuid == metadata.uid {
            mode >> 6
        } else if self.in_group(metadata.gid) {
            mode >> 3
        } else {
            mode
        };
        if granted & want == want { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Whether it owns the file, or may act as if.
    pub fn owns(&self, metadata: &Metadata) -> bool {
        self.fsuid == 0 || self.fsuid == metadata.uid
    }

    /// `EPERM` if `dir` is sticky and neither it nor the entry is ours.
    pub fn may_remove(&self, dir: &Metadata, entry: &Metadata) -> Result<(), Errno> {
        let sticky = dir.mode & crate::vfs::inode::S_ISVTX != 0;
        if sticky && !self.owns(dir) && !self.owns(entry) { Err(Errno::EPERM) } else { Ok(()) }
    }
}
