//! ext2, ext3 and ext4 on a disk: the crate `aurora-ext4`, which knows the format and the journal and does no I/O, between
//! the virtual file system above and the block layer below.
//!
//! What always holds: the crate's value is behind one short lock, and every operation on it is an attempt that ends at
//! once; what misses a block notes it ([`crate::block::Misses`]), so the call is made anew when the block is there.
//! Contents are in page caches; what of them is dirty has its place on the disk already.

mod contents;
mod inode;
mod mount;
mod write_back;
mod xattr;

pub use mount::mount;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::future::Future;
use core::ops::Range;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};

use aurora_abi::Errno;
use aurora_abi::types::Timespec;
use aurora_ext4::{By, Error, Ext4, Ino, Timestamp, Want};

use crate::Kernel;
use crate::block::{Claim, Fetch};
use crate::fs::tmpfs::OpenDevice;
use crate::kept::Kept;
use crate::memory::MemoryControl;
use crate::sync::{Mutex, WaitQueue};
use crate::vfs::{FileSystem, Inode, SyncOf};

use inode::DiskInode;

/// A mounted file system.
pub struct Disk {
    kernel: Weak<Kernel>,
    this: Weak<Disk>,
    volume: Claim,
    control: Arc<MemoryControl>,
    open_device: Arc<OpenDevice>,
    /// Its number.
    dev: u64,
    ext4: Mutex<Ext4>,
    block_size: u64,
    /// Inodes somebody has.
    inodes: Mutex<BTreeMap<Ino, Weak<DiskInode>>>,
    /// Inodes that stay although nobody has them: with them go their pages.
    kept: Kept<DiskInode>,
    /// Inodes with something to write.
    dirty: Mutex<BTreeMap<Ino, Arc<DiskInode>>>,
    /// Inodes without a name that nobody has any more.
    orphans: Mutex<Vec<Ino>>,
    /// Somebody carries out a plan.
    busy: AtomicBool,
    idle: WaitQueue,
    /// Wakes the job that writes back.
    work: WaitQueue,
    urgent: AtomicBool,
    /// The transaction that runs has something in it, and the job knows.
    restless: AtomicBool,
    /// It is not mounted any more.
    stopped: AtomicBool,
}

/// The number of a crate's error, to be given to a program.
fn errno_of(error: &Error) -> Errno {
    u16::try_from(error.errno()).map_or(Errno::EIO, Errno::from_number)
}

fn timestamp(time: Timespec) -> Timestamp {
    Timestamp { sec: time.sec, nsec: u32::try_from(time.nsec).unwrap_or(0) }
}

fn timespec(time: Timestamp) -> Timespec {
    Timespec { sec: time.sec, nsec: time.nsec.into() }
}

impl Disk {
    /// The blocks, counted from a file's start, that are in these pages of it.
    fn blocks_of(&self, pages: Range<u64>) -> Range<u64> {
        let per_page = aurora_machine::PAGE_SIZE / self.block_size;
        pages.start * per_page..pages.end * per_page
    }

    /// Tries an operation. What it misses is noted, and the call fails with [`Errno::EMISSING`].
    fn attempt<T>(&self, operation: impl FnOnce(&mut Ext4) -> aurora_ext4::Result<T>) -> Result<T, Errno> {
        let mut ext4 = self.ext4.lock();
        let result = operation(&mut ext4);
        let wants_commit = ext4.wants_commit() || ext4.wants_checkpoint();
        let has_changes = ext4.has_changes();
        drop(ext4);
        if wants_commit {
            self.hurry();
        } else if has_changes && !self.restless.swap(true, Ordering::AcqRel) {
            self.work.wake_all();
        }
        result.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: Error) -> Errno {
        let Some(disk) = self.this.upgrade() else { return Errno::EIO };
        match error {
            Error::Missing(want) => self.control.misses().note(Arc::new(Need { disk, what: What::Block(want) })),
            Error::Commit | Error::Busy => self.control.misses().note(Arc::new(Need { disk, what: What::Commit })),
            error => {
                if let (Error::Corrupt(_), Some(kernel)) = (&error, self.kernel.upgrade()) {
                    crate::kerror!(kernel, "{}: {error}; it is read-only now", self.volume.name);
                }
                errno_of(&error)
            }
        }
    }

    /// The same for the kernel's own jobs, which wait themselves. The disk's [`Disk::busy`] must not be theirs if the
    /// operation may want a commit.
    async fn until_done<T>(
        &self,
        mut operation: impl FnMut(&mut Ext4) -> aurora_ext4::Result<T> + Send,
        holds_commits: bool,
    ) -> Result<T, Errno> {
        loop {
            let result = operation(&mut self.ext4.lock());
            match result {
                Err(Error::Missing(want)) => self.read_blocks(want).await?,
                Err(Error::Commit | Error::Busy) => {
                    let _turn = if holds_commits { None } else { Some(self.turn().await) };
                    self.commit().await?;
                }
                Err(error) => return Err(self.failed(error)),
                Ok(value) => return Ok(value),
            }
        }
    }

    /// Brings blocks in that the crate wants.
    async fn read_blocks(&self, want: Want) -> Result<(), Errno> {
        let blocks = self.volume.sectors() * aurora_machine::SECTOR_SIZE / self.block_size;
        let count = u64::from(want.count).clamp(1, blocks.saturating_sub(want.block).max(1));
        let len = crate::num::to_usize(count * self.block_size);
        let bytes = self.volume.read(want.block * self.block_size, len).await?;
        let mut ext4 = self.ext4.lock();
        for (block, data) in (want.block..).zip(bytes.chunks_exact(crate::num::to_usize(self.block_size))) {
            ext4.supply(want.epoch, block, data.into());
        }
        Ok(())
    }

    /// Has the job that writes back look at once.
    fn hurry(&self) {
        if !self.urgent.swap(true, Ordering::AcqRel) {
            self.work.wake_all();
        }
    }

    fn now(&self) -> Timespec {
        self.kernel.upgrade().map_or(Timespec { sec: 0, nsec: 0 }, |kernel| kernel.now())
    }

    fn by(&self, now: Timespec) -> By {
        // Who asks is checked above; the reserve is for the superuser.
        let privileged = self.kernel.upgrade().is_none_or(|kernel| {
            let process = kernel.current().and_then(|(pid, _)| kernel.processes.process(pid));
            process.is_none_or(|p| p.credentials().is_capable(crate::security::credentials::CAP_SYS_RESOURCE))
        });
        By { now: timestamp(now), privileged }
    }

    /// The inode with this number: the one somebody has, or a new one for it.
    fn inode(&self, ino: Ino) -> Result<Arc<DiskInode>, Errno> {
        if let Some(inode) = self.known(ino) {
            return Ok(inode);
        }
        let attributes = self.attempt(|ext4| ext4.attributes(ino))?;
        Ok(self.adopt(attributes))
    }

    fn known(&self, ino: Ino) -> Option<Arc<DiskInode>> {
        self.inodes.lock().get(&ino).and_then(Weak::upgrade)
    }

    fn adopt(&self, attributes: aurora_ext4::Attributes) -> Arc<DiskInode> {
        let mut inodes = self.inodes.lock();
        if let Some(inode) = inodes.get(&attributes.ino).and_then(Weak::upgrade) {
            return inode;
        }
        let inode = DiskInode::new(self.this.upgrade(), attributes);
        inodes.insert(attributes.ino, Arc::downgrade(&inode));
        drop(inodes);
        self.kept.keep(&inode);
        inode
    }
}

impl crate::memory::account::Reclaim for Disk {
    fn reclaim(&self, pages: u64) -> u64 {
        let inodes: Vec<_> = self.inodes.lock().values().filter_map(Weak::upgrade).collect();
        let mut dropped = 0;
        for inode in &inodes {
            if dropped >= pages {
                break;
            }
            dropped += inode.cache().map_or(0, |cache| cache.drop_clean(&(0..u64::MAX)));
        }
        if dropped < pages {
            self.hurry();
        }
        dropped
    }
}

/// What a call on this file system waits for.
enum What {
    Block(Want),
    /// The transaction that runs has to be committed.
    Commit,
    /// Too much is dirty.
    WriteBack,
}

struct Need {
    disk: Arc<Disk>,
    what: What,
}

impl Fetch for Need {
    fn fetch(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Result<(), Errno>> + Send>> {
        Box::pin(async move {
            match self.what {
                What::Block(want) => self.disk.read_blocks(want).await,
                What::Commit => self.disk.commit_alone().await,
                What::WriteBack => self.disk.sync(SyncOf::All).await,
            }
        })
    }
}
