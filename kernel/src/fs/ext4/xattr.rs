//! Extended attributes, kept in inodes and blocks of their own.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_ext4::SetXattr;

use super::inode::DiskInode;
use crate::vfs::xattr::{Existing, Xattrs};

/// The attributes of an inode on a disk.
pub(super) struct DiskXattrs(pub(super) Arc<DiskInode>);

impl Xattrs for DiskXattrs {
    fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.0.disk()?.attempt(|ext4| ext4.xattr(self.0.ino(), name))
    }

    fn set(&self, name: &[u8], value: &[u8], existing: Existing) -> Result<(), Errno> {
        let how = match existing {
            Existing::Any => SetXattr::Any,
            Existing::Refused => SetXattr::Create,
            Existing::Required => SetXattr::Replace,
        };
        let disk = self.0.disk()?;
        let by = disk.by(disk.now());
        disk.attempt(|ext4| ext4.set_xattr(self.0.ino(), name, value, how, by))?;
        self.0.refresh();
        Ok(())
    }

    fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        let disk = self.0.disk()?;
        let by = disk.by(disk.now());
        disk.attempt(|ext4| ext4.remove_xattr(self.0.ino(), name, by))?;
        self.0.refresh();
        Ok(())
    }

    fn names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        self.0.disk()?.attempt(|ext4| ext4.xattr_names(self.0.ino()))
    }
}
