//! The side of a page cache that has something behind it: pages come from there, and changed ones go back.
//!
//! What always holds: a page is dirty from before its first change until after it was taken to be written, so what is
//! written between the two is written again; and a page that is mapped for writing is dirty.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::future::Future;
use core::ops::Range;
use core::pin::Pin;

use aurora_abi::Errno;
use aurora_machine::{Frame, PAGE_SIZE};

use crate::block::Fetch;
use crate::memory::ahead::{Progress, READ_AHEAD};
use crate::memory::{IoError, MemoryControl, PageCache};
use crate::sync::{Mutex, WaitQueue};

/// A load on its way.
pub type Loading<'a> = Pin<Box<dyn Future<Output = Result<(), Errno>> + Send + 'a>>;

/// Where the pages of a cache are kept.
pub trait Store: Send + Sync {
    /// Reads pages from `first` on, that one and up to `count`, and hands them over with [`PageCache::fill`].
    fn load<'a>(&'a self, cache: &'a Arc<PageCache>, first: u64, count: u64) -> Loading<'a>;

    /// Bytes of a range are about to be changed: finds them a place, so that writing them back cannot fail for want of
    /// one. Returns the pages that had none: until they are written, what is at their place is somebody else's.
    fn prepare(&self, bytes: Range<u64>) -> Result<Vec<Range<u64>>, IoError>;

    /// Bytes that have a place or none together.
    fn grain(&self) -> u64 {
        PAGE_SIZE
    }

    /// Some page became dirty.
    fn dirtied(&self) {}
}

/// What a cache with a [`Store`] has besides its pages.
pub(super) struct Stored {
    store: Weak<dyn Store>,
    dirty: Mutex<BTreeSet<u64>>,
    /// Pages on their way in.
    loading: Mutex<BTreeSet<u64>>,
    loaded: WaitQueue,
    progress: Progress,
}

impl Stored {
    pub(super) fn new(store: Weak<dyn Store>) -> Self {
        Self {
            store,
            dirty: Mutex::default(),
            loading: Mutex::default(),
            loaded: WaitQueue::new(),
            progress: Progress::default(),
        }
    }

    fn store(&self) -> Result<Arc<dyn Store>, Errno> {
        self.store.upgrade().ok_or(Errno::EIO)
    }

    fn is_dirty(&self, index: u64) -> bool {
        self.dirty.lock().contains(&index)
    }

    /// Pages `first..end` are not there any more.
    pub(super) fn forget(&self, control: &MemoryControl, first: u64, end: u64) {
        let mut dirty = self.dirty.lock();
        let before = dirty.len();
        dirty.retain(|index| !(first..end).contains(index));
        control.count_clean((before - dirty.len()) as u64);
        drop(dirty);
        // What is on its way in is out of date when it comes.
        self.loading.lock().retain(|index| !(first..end).contains(index));
    }
}

/// Pages on their way in, until what brings them is over, however it ends.
struct Coming<'a> {
    stored: &'a Stored,
    pages: Range<u64>,
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.stored.loading.lock().retain(|index| !self.pages.contains(index));
        self.stored.loaded.wake_all();
    }
}

/// A page that was missed.
struct MissingPage {
    cache: Arc<PageCache>,
    index: u64,
}

impl Fetch for MissingPage {
    fn fetch(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Result<(), Errno>> + Send>> {
        Box::pin(async move { self.cache.bring_in(self.index).await })
    }
}

impl PageCache {
    /// Whether there is something behind it: a page that is not there is not a hole.
    pub fn is_stored(&self) -> bool {
        self.stored.is_some()
    }

    /// Notes that the running thread misses a page.
    pub(super) fn miss(self: &Arc<Self>, index: u64) -> IoError {
        self.control().misses().note(Arc::new(MissingPage { cache: self.clone(), index })).into()
    }

    /// The page, missed if it is not there.
    pub(super) fn page_or_miss(self: &Arc<Self>, index: u64) -> Result<Frame, IoError> {
        self.reached(index);
        self.page(index).ok_or_else(|| self.miss(index))
    }

    /// Waits until a page is there.
    pub async fn bring_in(self: &Arc<Self>, index: u64) -> Result<(), Errno> {
        let Some(stored) = &self.stored else { return Ok(()) };
        loop {
            if self.page(index).is_some() || index >= self.size().div_ceil(PAGE_SIZE) {
                return Ok(());
            }
            let mine = stored.loading.lock().insert(index);
            if !mine {
                self.reached(index);
                stored.loaded.wait(|| (!stored.loading.lock().contains(&index)).then_some(())).await;
                continue;
            }
            let window = stored.progress.missed(index);
            self.load(stored, index, window).await?;
        }
    }

    /// Reads pages nobody has missed yet, as long as there is memory to spare.
    pub async fn read_ahead(self: &Arc<Self>, pages: Range<u64>) -> Result<(), Errno> {
        let Some(stored) = &self.stored else { return Ok(()) };
        let end = pages.end.min(self.size().div_ceil(PAGE_SIZE));
        let mut absent = self.first_absent(pages.start..end.max(pages.start));
        while !absent.is_empty() && self.control().available_frames() > 2 * READ_AHEAD {
            let first = absent.start;
            let mine = stored.loading.lock().insert(first);
            let read = if mine { self.load(stored, first, READ_AHEAD.min(end - first)).await? } else { 1 };
            absent = self.first_absent((first + read).min(end)..end);
        }
        Ok(())
    }

    /// Has pages read in the background.
    pub fn ask_ahead(self: &Arc<Self>, pages: Range<u64>) {
        if self.is_stored() {
            self.control().ahead().ask(self, pages);
        }
    }

    /// A page with something behind it is looked at: those after it may be wanted soon.
    pub(super) fn reached(self: &Arc<Self>, index: u64) {
        if let Some(pages) = self.stored.as_ref().and_then(|stored| stored.progress.reached(index)) {
            self.ask_ahead(pages);
        }
    }

    /// Reads a page, marked as on its way, and those after it that are missing, at most `window` in all; returns how many.
    async fn load(self: &Arc<Self>, stored: &Stored, index: u64, window: u64) -> Result<u64, Errno> {
        let count = self.absent_after(stored, index, window);
        let _coming = Coming { stored, pages: index..index + count };
        stored.store()?.load(self, index, count).await?;
        Ok(count)
    }

    /// Marks pages after `index` as on their way as long as they are missing, at most `window` with it; returns how many.
    fn absent_after(&self, stored: &Stored, index: u64, window: u64) -> u64 {
        let end = self.size().div_ceil(PAGE_SIZE).min(index + window).max(index + 1);
        let mut loading = stored.loading.lock();
        let absent = self.first_absent(index + 1..end);
        let mut next = index + 1;
        while absent.start == index + 1 && next < absent.end && loading.insert(next) {
            next += 1;
        }
        next - index
    }

    /// A page came in; one that is there by now stays, and one that was cut off meanwhile is not wanted any more.
    pub fn fill(&self, index: u64, frame: Frame) {
        let wanted = self.stored.as_ref().is_some_and(|stored| stored.loading.lock().contains(&index));
        if !wanted {
            return;
        }
        let size = self.size();
        let at = index * PAGE_SIZE;
        if at >= size {
            return;
        }
        if size - at < PAGE_SIZE {
            frame.zero_from(crate::num::in_page(size));
        }
        self.insert(index, frame);
    }

    /// Makes bytes ready to be changed. Afterwards the store has a place for them, and their pages are there and dirty,
    /// but for those with contents that are about to be replaced whole: nobody needs to read these first.
    pub(crate) fn prepare(self: &Arc<Self>, bytes: Range<u64>) -> Result<(), IoError> {
        let Some(stored) = &self.stored else { return Ok(()) };
        let store = stored.store()?;
        let pages = bytes.start / PAGE_SIZE..bytes.end.div_ceil(PAGE_SIZE);
        let size = self.size();
        let mut frames = Vec::new();
        for index in pages.clone() {
            if self.page(index).is_some() {
                continue;
            }
            let (start, end) = (index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
            let replaced = bytes.start <= start && bytes.end >= end && store.grain() >= PAGE_SIZE;
            if start < size && !replaced {
                return Err(self.miss(index));
            }
            // Taken before the store is asked: what it has just found a place for must not stay without contents.
            frames.push((index, self.control().frame()?));
        }
        let fresh = store.prepare(bytes)?;
        for (index, frame) in frames {
            if index * PAGE_SIZE >= size || fresh.iter().any(|run| run.contains(&index)) {
                self.put_new(stored, index, frame);
            }
        }
        self.mark_dirty(pages.filter(|&index| self.page(index).is_some()));
        Ok(())
    }

    /// Whether a page can be changed as it is.
    pub(super) fn is_ready(&self, index: u64) -> bool {
        let Some(stored) = &self.stored else { return true };
        stored.is_dirty(index) && stored.store().is_ok_and(|store| store.grain() >= PAGE_SIZE)
    }

    /// Puts in a page whose contents have just been replaced.
    pub(super) fn replace(&self, index: u64, frame: Frame) {
        if let Some(stored) = &self.stored {
            self.put_new(stored, index, frame);
        }
        self.mark_dirty([index]);
    }

    /// Puts in a page that is newer than what may be on its way in.
    fn put_new(&self, stored: &Stored, index: u64, frame: Frame) {
        stored.loading.lock().remove(&index);
        self.insert(index, frame);
    }

    /// Notes that pages differ from what is behind them.
    pub fn mark_dirty(&self, pages: impl IntoIterator<Item = u64>) {
        let Some(stored) = &self.stored else { return };
        let mut dirty = stored.dirty.lock();
        let before = dirty.len();
        dirty.extend(pages);
        let news = before == 0 && !dirty.is_empty();
        self.control().count_dirty((dirty.len() - before) as u64);
        drop(dirty);
        if news && let Some(store) = stored.store.upgrade() {
            store.dirtied();
        }
    }

    /// Whether a page differs from what is behind it.
    pub fn is_dirty(&self, index: u64) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.is_dirty(index))
    }

    /// The first dirty page from `index` on.
    pub fn next_dirty(&self, index: u64) -> Option<u64> {
        self.stored.as_ref().and_then(|stored| stored.dirty.lock().range(index..).next().copied())
    }

    /// Misses a page if it is not there.
    pub fn require(self: &Arc<Self>, index: u64) -> Result<(), Errno> {
        if self.page(index).is_some() { Ok(()) } else { Err(self.miss(index).errno()) }
    }

    /// Takes the dirty pages to write them: they are clean from now on, and whoever maps one has to ask before writing to
    /// it again. In order.
    pub fn take_dirty(self: &Arc<Self>) -> Vec<(u64, Frame)> {
        let Some(stored) = &self.stored else { return Vec::new() };
        let dirty = core::mem::take(&mut *stored.dirty.lock());
        self.control().count_clean(dirty.len() as u64);
        if let (Some(&first), Some(&last)) = (dirty.first(), dirty.last()) {
            self.protect(first, last + 1);
        }
        let size = self.size();
        let pages = dirty.into_iter().filter_map(|index| Some((index, self.page(index)?)));
        let pages: Vec<_> = pages.filter(|(index, _)| index * PAGE_SIZE < size).collect();
        if let Some((index, frame)) = pages.last()
            && size - index * PAGE_SIZE < PAGE_SIZE
        {
            // What a mapping wrote past the end of the file is in no file.
            frame.zero_from(crate::num::in_page(size));
        }
        pages
    }

    /// Drops clean ones of `pages` that nobody maps or holds; returns how many.
    pub fn drop_clean(&self, pages: &Range<u64>) -> u64 {
        let Some(stored) = &self.stored else { return 0 };
        let dirty = stored.dirty.lock();
        self.drop_pages(|index, frame| pages.contains(&index) && !dirty.contains(&index) && frame.is_unique())
    }
}
