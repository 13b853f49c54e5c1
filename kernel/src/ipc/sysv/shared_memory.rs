//! Shared memory, shmget(2): pages with a number that programs attach.

use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use aurora_abi::Errno;

use crate::ipc::sysv::{Object, Permissions, Registry};
use crate::memory::PageCache;
use crate::memory::account::Charge;
use crate::sync::{Guard, Mutex};
use crate::vfs::file::CloseWatcher;
use crate::vfs::{FileOps, OpenFile};

/// In the mode: it goes with the last that detaches it.
pub const DESTROY: u32 = 0o1000;
/// In the mode: it stays in memory, which everything does.
pub const LOCKED: u32 = 0o2000;

/// A segment.
pub struct Segment {
    /// Its number, once it has one.
    pub number: Mutex<i32>,
    permissions: Mutex<Permissions>,
    /// Its pages.
    pub cache: Arc<PageCache>,
    /// Bytes asked for.
    pub size: u64,
    times: Mutex<Times>,
    /// One open file for each time it was attached; areas, and their copies by fork(2), keep it.
    attached: Mutex<Vec<Weak<OpenFile>>>,
    _charge: Charge,
}

/// When what happened, and who did it.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Times {
    pub attached: i64,
    pub detached: i64,
    pub changed: i64,
    pub creator: i32,
    pub last: i32,
}

impl Segment {
    /// A segment of zeros.
    pub fn new(permissions: Permissions, cache: Arc<PageCache>, size: u64, times: Times, charge: Charge) -> Arc<Self> {
        Arc::new(Self {
            number: Mutex::default(),
            permissions: Mutex::new(permissions),
            cache,
            size,
            times: Mutex::new(times),
            attached: Mutex::default(),
            _charge: charge,
        })
    }

    /// When what happened.
    pub fn times(&self) -> Guard<'_, Times> {
        self.times.lock()
    }

    /// How often it is attached.
    pub fn attachments(&self) -> usize {
        self.attached.lock().iter().map(Weak::strong_count).sum()
    }

    /// It is attached by this open file.
    pub fn note_attached(&self, file: &Arc<OpenFile>) {
        let mut attached = self.attached.lock();
        attached.retain(|f| f.strong_count() > 0);
        attached.push(Arc::downgrade(file));
    }
}

impl Object for Segment {
    fn permissions(&self) -> Guard<'_, Permissions> {
        self.permissions.lock()
    }
}

/// All segments.
#[derive(Default)]
pub struct Segments(pub Registry<Segment>);

impl CloseWatcher for Segments {
    /// Detached for the last time: a segment that was removed goes now.
    fn closed(&self, file: &OpenFile) {
        let Some(segment) = of(file) else { return };
        let destroy = segment.permissions().mode & DESTROY != 0;
        if destroy && segment.attachments() == 0 {
            let number = *segment.number.lock();
            drop(self.0.remove(number));
        }
    }
}

/// An attached segment, as an open file areas can keep.
pub struct SegmentFile(pub Arc<Segment>);

/// The segment an open file is, if it is one.
pub fn of(file: &OpenFile) -> Option<&Arc<Segment>> {
    file.ops.as_any()?.downcast_ref::<SegmentFile>().map(|f| &f.0)
}

impl FileOps for SegmentFile {
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn fdinfo(&self, _: &OpenFile) -> String {
        String::new()
    }
}

/// `EINVAL` for a size no segment has.
pub fn check_size(size: u64) -> Result<(), Errno> {
    if size == 0 || size > crate::memory::cache::MAX_FILE_SIZE - 4096 { Err(Errno::EINVAL) } else { Ok(()) }
}
