//! File systems.

pub mod anonymous;
pub mod devfs;
pub mod devpts;
pub mod ext4;
pub mod initramfs;
pub mod overlay;
pub mod procfs;
pub mod tmpfs;

use crate::memory::{IoBuf, IoError};
use crate::vfs::{FileOps, OpenFile};
use aurora_abi::Errno;

/// Operations of a regular file whose contents are in the page cache.
pub struct RegularFile;

impl FileOps for RegularFile {
    fn read_at(&self, file: &OpenFile, offset: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        file.inode.cache().ok_or(Errno::EINVAL)?.read_at(offset, out)
    }
    fn write_at(&self, file: &OpenFile, offset: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        file.inode.cache().ok_or(Errno::EINVAL)?.write_at(offset, input)
    }
    fn seekable(&self) -> bool {
        true
    }
}

/// Operations of an open directory: only reading its names, which getdents64 does itself.
pub struct DirectoryFile;

impl FileOps for DirectoryFile {
    fn read_at(&self, _: &OpenFile, _: u64, _: &mut IoBuf<'_>) -> Result<usize, IoError> {
        Err(Errno::EISDIR.into())
    }
    fn seekable(&self) -> bool {
        true
    }
    fn size(&self, _: &OpenFile) -> u64 {
        i64::MAX.cast_unsigned()
    }
}
