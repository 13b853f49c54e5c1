//! Reading ahead: what is likely to be wanted next comes in while whoever reads is busy with what is there.
//!
//! What always holds: reading ahead is a favour. Nobody waits for it who does not want its pages, what goes wrong with it
//! nobody hears of before reading it themselves, and it takes no memory others would have to be robbed of.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::memory::PageCache;
use crate::sync::{Mutex, WaitQueue};

/// Most pages that are read at once.
pub const READ_AHEAD: u64 = 128;
/// Pages of the first read somewhere.
const FIRST: u64 = 4;
/// No page.
const NONE: u64 = u64::MAX;

/// How one file is read: a little at a time at first, more as long as reading goes straight on, and then the next pages
/// before anybody misses one.
pub(super) struct Progress {
    last: Mutex<Window>,
    /// Who gets to this page wants those after the last.
    marker: AtomicU64,
}

/// What was read last.
#[derive(Clone, Copy, Default)]
struct Window {
    /// The page after it.
    next: u64,
    pages: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { last: Mutex::default(), marker: AtomicU64::new(NONE) }
    }
}

impl Window {
    fn grow(&mut self) -> Range<u64> {
        self.pages = (self.pages * 2).clamp(FIRST, READ_AHEAD);
        let first = self.next;
        self.next = first + self.pages;
        first..self.next
    }

    /// What may have been asked for and not have come: these pages, and those asked for when somebody got to the pages
    /// before them.
    fn asked(&self) -> Range<u64> {
        self.next.saturating_sub(2 * self.pages)..self.next
    }
}

impl Progress {
    /// A page is missing: how many to read from there on. If reading goes straight on, more are wanted once it gets there.
    pub(super) fn missed(&self, page: u64) -> u64 {
        let mut last = self.last.lock();
        if last.asked().contains(&page) {
            // Who reads is faster than the background: what it has not begun with is read now.
            return (last.next - page).min(READ_AHEAD);
        }
        let is_straight = last.pages > 0 && page == last.next;
        if !is_straight {
            *last = Window { next: page, pages: 0 };
        }
        let read = last.grow();
        self.marker.store(if is_straight { page } else { NONE }, Ordering::Relaxed);
        read.end - read.start
    }

    /// Somebody gets to a page. The pages to read in the background, if it is time for that.
    pub(super) fn reached(&self, page: u64) -> Option<Range<u64>> {
        // Looked at with each page that is read, so without the lock.
        if self.marker.load(Ordering::Relaxed) != page {
            return None;
        }
        let mut last = self.last.lock();
        if self.marker.swap(NONE, Ordering::Relaxed) != page {
            return None;
        }
        let read = last.grow();
        self.marker.store(read.start, Ordering::Relaxed);
        Some(read)
    }
}

/// Pages of some file that are to be read.
type Wanted = (Weak<PageCache>, Range<u64>);

/// What is to be read in the background, in the order it was asked for.
#[derive(Default)]
pub struct Ahead {
    wanted: Mutex<VecDeque<Wanted>>,
    news: WaitQueue,
}

impl Ahead {
    /// Most that is asked for and not begun; more is forgotten.
    const MOST: usize = 64;

    /// Asks for pages; as on Linux, for no more of them than are read at once, however many a program names.
    pub(super) fn ask(&self, cache: &Arc<PageCache>, pages: Range<u64>) {
        let pages = pages.start..pages.end.min(pages.start + READ_AHEAD);
        let mut wanted = self.wanted.lock();
        if pages.is_empty() || wanted.len() >= Self::MOST {
            return;
        }
        wanted.push_back((Arc::downgrade(cache), pages));
        drop(wanted);
        self.news.wake_all();
    }

    /// Waits for the next that is asked for.
    pub async fn next(&self) -> Wanted {
        self.news.wait(|| self.wanted.lock().pop_front()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_straight_on_has_the_next_pages_read_before_missing_them() {
        let progress = Progress::default();
        assert_eq!(progress.missed(10), 4);
        assert_eq!((10..14).find_map(|page| progress.reached(page)), None, "one read says nothing of the next");
        assert_eq!(progress.missed(14), 8);
        assert_eq!(progress.reached(14), Some(22..38));
        assert_eq!((14..22).find_map(|page| progress.reached(page)), None);
        assert_eq!(progress.reached(22), Some(38..70));
        assert_eq!((22..38).find_map(|page| progress.reached(page)), None);
        assert_eq!(progress.reached(38), Some(70..134));
        assert_eq!(progress.reached(70), Some(134..262));
        assert_eq!(progress.reached(134), Some(262..390), "no more than {READ_AHEAD} at once");
    }

    #[test]
    fn who_is_faster_than_the_background_reads_what_it_was_to_read() {
        let progress = Progress::default();
        assert_eq!((progress.missed(0), progress.missed(4)), (4, 8));
        assert_eq!(progress.reached(4), Some(12..28));
        assert_eq!(progress.reached(12), Some(28..60));
        assert_eq!(progress.missed(12), 48);
        assert_eq!(progress.reached(28), Some(60..124), "and it goes on as before");
    }

    #[test]
    fn who_reads_here_and_there_has_nothing_read_ahead() {
        let progress = Progress::default();
        for page in [700, 3, 90, 5000, 7, 20] {
            assert_eq!(progress.missed(page), 4);
            assert_eq!((page..page + 4).find_map(|page| progress.reached(page)), None);
        }
    }
}
