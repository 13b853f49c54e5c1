//! From memory to the disk: contents first, then the transaction that says where they are.
//!
//! New contents get unwritten blocks, which read as zeros; that they are written is noted after they are. So nothing
//! of somebody else's ever shows, in whatever order things reach the disk.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering;
use core::task::Poll;

use aurora_abi::Errno;
use aurora_ext4::{AttributeChange, By, Error, Ext4, Ino, Place, Plan, Progress, Step};
use aurora_machine::Frame;

use super::contents::add_run;
use super::inode::DiskInode;
use super::{Disk, Need, What, timestamp};
use crate::block::{Batch, Volume};
use crate::vfs::inode::{Later, SyncOf};
use crate::vfs::{FileSystem, Inode};
use crate::{Kernel, kerror};

/// Nothing stays in memory alone for longer, in nanoseconds.
const MAX_AGE: u64 = 1_000_000_000;

/// Bytes of contents that are written together.
const GROUP: u64 = 4 << 20;

/// Contents of an inode on their way to the disk. Which of their blocks become written by it the inode knows.
struct Writing {
    inode: Arc<DiskInode>,
    by: By,
    /// How long it was when they were taken.
    size: u64,
    pages: Vec<(u64, Frame)>,
}

/// Does what a plan says.
pub(super) async fn carry_out(volume: &Volume, plan: &Plan) -> Result<(), Errno> {
    let mut batch = Batch::writes();
    for step in &plan.steps {
        match step {
            Step::Write { block, data } => volume.add_write(&mut batch, block * data.len() as u64, data)?,
            Step::Flush => {
                core::mem::replace(&mut batch, Batch::writes()).run(volume).await?;
                volume.flush().await?;
            }
        }
    }
    batch.run(volume).await
}

/// Lets others run now and then while many things are done that never wait.
async fn give_way(nth: usize) {
    const OFTEN: usize = 64;
    if nth.is_multiple_of(OFTEN) {
        crate::task::scheduler::yield_now().await;
    }
}

/// A turn at the disk: one job writes back at a time.
pub(super) struct Turn<'a>(&'a Disk);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        self.0.idle.wake_all();
    }
}

impl Disk {
    pub(super) async fn turn(&self) -> Turn<'_> {
        self.idle.wait(|| (!self.busy.swap(true, Ordering::AcqRel)).then_some(())).await;
        Turn(self)
    }

    pub(super) fn add_orphan(&self, ino: Ino) {
        self.orphans.lock().push(ino);
        self.work.wake_all();
    }

    /// Has a writer wait while too much is dirty.
    pub(super) fn wait_for_writers(&self) -> Result<(), Errno> {
        // Inodes that are to be written stay in memory beside those that are kept.
        if !self.control.is_too_dirty() && self.dirty.lock().len() < self.kept.limit() / 2 {
            return Ok(());
        }
        let Some(disk) = self.this.upgrade() else { return Err(Errno::EIO) };
        Err(self.control.misses().note(Arc::new(Need { disk, what: What::WriteBack })))
    }

    /// Commits what runs, nobody else doing so.
    pub(super) async fn commit_alone(&self) -> Result<(), Errno> {
        let _turn = self.turn().await;
        self.commit().await
    }

    /// Closes the running transaction and writes it; for who has the turn. Also flushes if there is none. In a box, as
    /// writing contents may need a commit.
    pub(super) fn commit(&self) -> Later<'_> {
        Box::pin(async move {
            if self.ext4.lock().wants_checkpoint() {
                self.checkpoint().await?;
            }
            loop {
                let begun = self.ext4.lock().begin_commit();
                match begun {
                    Ok(Some(plan)) => {
                        self.write_ordered(&plan.ordered).await?;
                        return self.carry(plan).await;
                    }
                    Ok(None) => return self.volume.flush().await,
                    Err(Error::Missing(want)) => self.read_blocks(want).await?,
                    Err(Error::Busy | Error::Commit) => self.checkpoint().await?,
                    Err(error) => return Err(self.failed(error)),
                }
            }
        })
    }

    /// Contents of files whose blocks become theirs with this transaction go before it.
    async fn write_ordered(&self, inodes: &[Ino]) -> Result<(), Errno> {
        for ino in inodes {
            let inode = self.dirty.lock().get(ino).cloned();
            if let Some(inode) = inode {
                self.write_contents(&inode).await?;
            }
        }
        Ok(())
    }

    async fn carry(&self, plan: Plan) -> Result<(), Errno> {
        let result = carry_out(&self.volume, &plan).await;
        match result {
            Ok(()) => self.ext4.lock().carried_out(plan.id),
            Err(errno) => {
                self.ext4.lock().failed(plan.id);
                if let Some(kernel) = self.kernel.upgrade() {
                    let why = errno.text();
                    kerror!(kernel, "{}: the journal cannot be written: {why} It is read-only now", self.volume.name);
                }
            }
        }
        result
    }

    async fn checkpoint(&self) -> Result<(), Errno> {
        let begun = self.ext4.lock().begin_checkpoint();
        match begun {
            Ok(Some(plan)) => self.carry(plan).await,
            Ok(None) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Adds an inode's dirty pages to a batch. They count as clean from now on.
    async fn begin_write(&self, inode: &Arc<DiskInode>, batch: &mut Batch) -> Result<Writing, Errno> {
        let by = By { now: inode.state.lock().attributes.mtime, privileged: true };
        let size = inode.cache().map_or(0, |cache| cache.size());
        let pages = inode.cache().map_or(Vec::new(), |cache| cache.take_dirty());
        for (index, _) in &pages {
            inode.add_under_way(self.blocks_of(*index..index + 1));
        }
        let writing = Writing { inode: inode.clone(), by, size, pages };
        match self.place_pages(&writing, batch).await {
            Ok(()) => Ok(writing),
            Err(errno) => {
                self.not_written(&writing);
                Err(errno)
            }
        }
    }

    /// Finds where pages belong.
    async fn place_pages(&self, writing: &Writing, batch: &mut Batch) -> Result<(), Errno> {
        let ino = writing.inode.ino();
        for run_of_pages in writing.pages.chunk_by(|(a, _), (b, _)| a + 1 == *b) {
            let Some(&(first, _)) = run_of_pages.first() else { continue };
            let frames: Vec<Frame> = run_of_pages.iter().map(|(_, frame)| frame.clone()).collect();
            let Range { start: mut at, end } = self.blocks_of(first..first + frames.len() as u64);
            while at < end {
                let runs = self.until_done(|ext4| ext4.map(ino, at, end - at), true).await?;
                let before = at;
                for run in &runs {
                    // A hole is past the end of the file, or was cut off since.
                    if let Place::Blocks(block) | Place::Unwritten(block) = run.place {
                        add_run(batch, run, block, self.block_size, (first, &frames));
                    }
                    at = run.logical + run.count;
                    if !matches!(run.place, Place::Unwritten(_)) {
                        writing.inode.drop_under_way(run.logical..at);
                    }
                }
                if at == before {
                    return Err(Errno::EIO);
                }
            }
        }
        Ok(())
    }

    /// What was begun is on the disk: notes that in the running transaction, with the inode's size.
    async fn end_write(&self, writing: &Writing) -> Result<(), Errno> {
        let Writing { inode, by, size, .. } = writing;
        let (ino, by, size) = (inode.ino(), *by, *size);
        let Some(cache) = inode.cache() else { return Ok(()) };
        // Asked for in each step: the file may have been cut while its contents were on their way, and what was cut off
        // must not come back.
        let reach = || size.min(cache.size());
        let note_one = |ext4: &mut Ext4| {
            let Some(blocks) = inode.first_under_way() else { return Ok(false) };
            ext4.written_and_grow(ino, blocks.start, blocks.end - blocks.start, reach(), by)?;
            inode.drop_under_way(blocks);
            Ok(true)
        };
        while self.until_done(note_one, true).await? {}
        inode.refresh();
        let attributes = inode.state.lock().attributes;
        if attributes.links == 0 {
            return Ok(());
        }
        if size > attributes.size && cache.size() >= size {
            self.until_done(|ext4| ext4.grow(ino, reach(), by), true).await?;
            inode.refresh();
        }
        if size < attributes.size {
            // A write was announced, and less came: unless it is about to.
            let is_all = || cache.size() == size && cache.next_dirty(size / aurora_machine::PAGE_SIZE).is_none();
            let cut = |ext4: &mut Ext4| if is_all() { ext4.truncate(ino, size, by) } else { Ok(Progress::Done) };
            while self.until_done(cut, true).await? == Progress::More {}
            inode.refresh();
        }
        Ok(())
    }

    fn not_written(&self, writing: &Writing) {
        if let Some(cache) = writing.inode.cache() {
            cache.mark_dirty(writing.pages.iter().map(|(index, _)| *index));
        }
        for (index, _) in &writing.pages {
            writing.inode.drop_under_way(self.blocks_of(*index..index + 1));
        }
    }

    /// Writes an inode's dirty pages, and its size into the running transaction.
    async fn write_contents(&self, inode: &Arc<DiskInode>) -> Result<(), Errno> {
        let mut batch = Batch::writes();
        let writing = self.begin_write(inode, &mut batch).await?;
        let written = match batch.run(&self.volume).await {
            Ok(()) => self.end_write(&writing).await,
            failed => failed,
        };
        written.inspect_err(|_| self.not_written(&writing))
    }

    /// Writes an inode's times into the running transaction.
    async fn write_times(&self, inode: &DiskInode) -> Result<(), Errno> {
        let (ino, change) = {
            let mut state = inode.state.lock();
            let a = state.attributes;
            let times = core::mem::take(&mut state.times_changed);
            let change = AttributeChange {
                atime: Some(a.atime),
                mtime: Some(a.mtime),
                ctime: Some(a.ctime),
                ..AttributeChange::default()
            };
            (a.ino, times.then_some(change))
        };
        let Some(change) = change else { return Ok(()) };
        match self.until_done(|ext4| ext4.set_attributes(ino, &change), true).await {
            // It is gone: its times do not matter any more.
            Ok(()) | Err(Errno::ESTALE) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Writes what was begun of several inodes. Those that cannot be written are dirty again.
    async fn finish_group(&self, batch: Batch, begun: Vec<Writing>) -> Result<(), Errno> {
        let written = batch.run(&self.volume).await;
        let mut result = written;
        for (nth, writing) in (1..).zip(begun) {
            give_way(nth).await;
            let ended = match written {
                Ok(()) => self.end_write(&writing).await,
                failed => failed,
            };
            if ended.is_err() {
                self.not_written(&writing);
            }
            let ended = match ended {
                Ok(()) => self.write_times(&writing.inode).await,
                failed => failed,
            };
            if ended.is_err() {
                self.dirty.lock().insert(writing.inode.ino(), writing.inode);
            }
            result = result.and(ended);
        }
        result
    }

    /// Frees what has neither a name nor a user any more.
    async fn evict(&self) -> Result<(), Errno> {
        let orphans = core::mem::take(&mut *self.orphans.lock());
        // The last one first: so each is the head of the list of orphans on the disk, and nobody walks along that.
        for (nth, ino) in (1..).zip(orphans.into_iter().rev()) {
            give_way(nth).await;
            // An answer to somebody who found it just before may have brought it back.
            if self.known(ino).is_some() {
                continue;
            }
            let by = self.by(self.now());
            while self.until_done(|ext4| ext4.evict(ino, by), true).await? == Progress::More {}
        }
        Ok(())
    }

    async fn write_back(&self, of: SyncOf<'_>) -> Result<(), Errno> {
        match of {
            SyncOf::All => self.write_all().await,
            SyncOf::Inode(inode) => self.write_one(inode, false).await,
            SyncOf::Data(inode) => self.write_one(inode, true).await,
        }
    }

    /// Makes one inode last. What is in place already needs no transaction: then a flush is all, and not even that where
    /// contents are metadata, which a transaction has made last. With `data_only`, times stay in memory for the job.
    async fn write_one(&self, inode: &dyn Inode, data_only: bool) -> Result<(), Errno> {
        let inode = inode.as_any().downcast_ref::<DiskInode>().ok_or(Errno::EINVAL)?;
        let ino = inode.ino();
        let _turn = self.turn().await;
        let known = self.dirty.lock().get(&ino).cloned();
        if let Some(dirty) = known {
            if !data_only {
                self.dirty.lock().remove(&ino);
            }
            let written = match self.write_contents(&dirty).await {
                Ok(()) if !data_only => self.write_times(&dirty).await,
                written => written,
            };
            if let Err(errno) = written {
                self.dirty.lock().insert(ino, dirty);
                return Err(errno);
            }
        }
        let needs_commit = self.ext4.lock().unsynced(ino, data_only).is_some();
        match inode.cache() {
            _ if needs_commit => self.commit().await,
            Some(_) => self.volume.flush().await,
            None => Ok(()),
        }
    }

    async fn write_all(&self) -> Result<(), Errno> {
        let _turn = self.turn().await;
        self.restless.store(false, Ordering::Release);
        let dirty: Vec<Ino> = self.dirty.lock().keys().copied().collect();
        let mut result = Ok(());
        // Small files lie next to each other: many are one request.
        let (mut batch, mut begun) = (Batch::writes(), Vec::new());
        for (nth, ino) in (1..).zip(dirty) {
            give_way(nth).await;
            // Not before its turn: a commit in between looks for those whose contents have to go first.
            let Some(inode) = self.dirty.lock().remove(&ino) else { continue };
            match self.begin_write(&inode, &mut batch).await {
                Ok(writing) => begun.push(writing),
                Err(errno) => {
                    result = result.and(Err(errno));
                    self.dirty.lock().insert(ino, inode);
                }
            }
            if batch.bytes() >= GROUP {
                let batch = core::mem::replace(&mut batch, Batch::writes());
                result = result.and(self.finish_group(batch, core::mem::take(&mut begun)).await);
            }
        }
        result = result.and(self.finish_group(batch, begun).await);
        self.evict().await?;
        result.and(self.commit().await)
    }

    /// Something waits to be written.
    fn has_work(&self) -> bool {
        !self.dirty.lock().is_empty() || !self.orphans.lock().is_empty() || self.ext4.lock().has_changes()
    }
}

impl FileSystem for Disk {
    fn sync<'a>(&'a self, of: SyncOf<'a>) -> Later<'a> {
        Box::pin(self.write_back(of))
    }

    fn unmount(&self) -> Later<'_> {
        Box::pin(async move {
            self.write_back(SyncOf::All).await?;
            let _turn = self.turn().await;
            let now = timestamp(self.now());
            loop {
                let begun = self.ext4.lock().begin_unmount(now);
                match begun {
                    Ok(Some(plan)) => self.carry(plan).await?,
                    Ok(None) => break,
                    Err(Error::Missing(want)) => self.read_blocks(want).await?,
                    Err(error) => return Err(self.failed(error)),
                }
            }
            self.stopped.store(true, Ordering::Release);
            // Whoever still has something of it can change nothing: the next mount need not wait for them.
            self.volume.release();
            self.work.wake_all();
            self.kept.clear();
            Ok(())
        })
    }
}

/// The job that writes back what is old, or too much.
pub(super) async fn job(kernel: Arc<Kernel>, disk: Weak<Disk>) {
    loop {
        let Some(disk) = disk.upgrade() else { return };
        let stopped = || disk.stopped.load(Ordering::Acquire);
        disk.work.wait(|| (disk.has_work() || stopped()).then_some(())).await;
        if stopped() {
            return;
        }
        let due = kernel.machine.now() + MAX_AGE;
        {
            let mut sleep = core::pin::pin!(kernel.sleep_until(due));
            let mut hurried = core::pin::pin!(disk.work.wait(|| disk.urgent.load(Ordering::Acquire).then_some(())));
            core::future::poll_fn(|cx| match (sleep.as_mut().poll(cx), hurried.as_mut().poll(cx)) {
                (Poll::Pending, Poll::Pending) => Poll::Pending,
                _ => Poll::Ready(()),
            })
            .await;
        }
        {
            disk.urgent.store(false, Ordering::Release);
            if let Err(errno) = disk.write_back(SyncOf::All).await {
                kerror!(kernel, "{}: writing back: {}", disk.volume.name, errno.text());
                if disk.ext4.lock().is_read_only() {
                    return;
                }
            }
        }
    }
}
