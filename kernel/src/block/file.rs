//! `/dev/vda`: a disk's bytes as a file.

use alloc::sync::Arc;

use aurora_abi::Errno;
use aurora_machine::SECTOR_SIZE;

use super::Volume;
use crate::memory::{IoBuf, IoError};
use crate::vfs::file::{IoctlAnswer, IoctlArgs};
use crate::vfs::{FileOps, OpenFile};

const BLKROGET: u32 = 0x125e;
const BLKGETSIZE: u32 = 0x1260;
const BLKSSZGET: u32 = 0x1268;
const BLKPBSZGET: u32 = 0x127b;
const BLKGETSIZE64: u32 = 0x8008_1272;

/// An open disk or partition.
pub struct BlockFile {
    /// Which.
    pub volume: Arc<Volume>,
}

impl BlockFile {
    /// Opens it.
    pub fn new(volume: Arc<Volume>) -> Self {
        Self { volume }
    }

    /// Whether it cannot be written.
    pub fn is_read_only(&self) -> bool {
        self.volume.disk().geometry().read_only
    }
}

impl FileOps for BlockFile {
    fn read_at(&self, _: &OpenFile, offset: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        self.volume.cache().read_at(offset, out)
    }

    fn write_at(&self, _: &OpenFile, offset: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        // It is as large as it is: Linux says so with this error, and takes what fits.
        let room = self.volume.cache().size().saturating_sub(offset);
        if room == 0 && input.remaining() > 0 {
            return Err(Errno::ENOSPC.into());
        }
        input.limit(crate::num::to_usize(room));
        self.volume.cache().write_at(offset, input)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self, _: &OpenFile) -> u64 {
        self.volume.cache().size()
    }

    fn ioctl(&self, _: &OpenFile, args: &IoctlArgs<'_>, _: &[u8]) -> Result<IoctlAnswer, Errno> {
        let out = match args.request {
            BLKGETSIZE => self.volume.sectors().to_le_bytes().to_vec(),
            BLKGETSIZE64 => (self.volume.sectors() * SECTOR_SIZE).to_le_bytes().to_vec(),
            BLKSSZGET | BLKPBSZGET => crate::num::low32(SECTOR_SIZE).to_le_bytes().to_vec(),
            BLKROGET => u32::from(self.is_read_only()).to_le_bytes().to_vec(),
            _ => return Err(Errno::ENOTTY),
        };
        Ok(IoctlAnswer { value: 0, out })
    }

    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }
}
