//! What a call does that needs something which is on a disk and not in memory.
//!
//! File systems work on what is in memory and never wait (see [`crate::vfs`]). What misses something notes it here and
//! fails with [`Errno::EMISSING`]; where the call began, the thread waits until it is there and makes the call anew. So a
//! file-system operation is written as if everything were in memory; what it has to promise is that nothing has
//! changed when it fails so.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use aurora_abi::Errno;

use crate::sync::Mutex;

/// Something that can be brought in.
pub trait Fetch: Send + Sync {
    /// Brings it in, or says why not.
    fn fetch(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Result<(), Errno>> + Send>>;
}

/// What was missed, by the thread that runs: each looks before it waits for anything else.
#[derive(Default)]
pub struct Misses {
    noted: Mutex<BTreeMap<u64, Arc<dyn Fetch>>>,
    /// How many, to look at without the lock.
    count: AtomicUsize,
    /// Whoever runs now.
    current: AtomicU64,
}

impl Misses {
    /// Tells which thread runs from now on; any number that is its own.
    pub fn set_current(&self, thread: u64) {
        self.current.store(thread, Ordering::Relaxed);
    }

    /// Notes what the running thread missed. The error to fail with.
    pub fn note(&self, what: Arc<dyn Fetch>) -> Errno {
        let mut noted = self.noted.lock();
        let old = noted.insert(self.current.load(Ordering::Relaxed), what);
        self.count.store(noted.len(), Ordering::Release);
        drop(noted);
        drop(old);
        Errno::EMISSING
    }

    /// Whether any thread noted something.
    fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }

    /// Whether the running thread noted something.
    pub fn noted(&self) -> bool {
        self.any() && self.noted.lock().contains_key(&self.current.load(Ordering::Relaxed))
    }

    /// What the running thread noted.
    pub fn take(&self) -> Option<Arc<dyn Fetch>> {
        if !self.any() {
            return None;
        }
        let mut noted = self.noted.lock();
        let taken = noted.remove(&self.current.load(Ordering::Relaxed));
        self.count.store(noted.len(), Ordering::Release);
        taken
    }

    /// After a call that failed: brings in what it missed, so that it can be made anew. The error, if it missed nothing.
    pub async fn again(&self, errno: Errno) -> Result<(), Errno> {
        match self.take() {
            Some(what) => what.fetch().await,
            None if errno == Errno::EMISSING => Err(Errno::EIO),
            None => Err(errno),
        }
    }

    /// Brings in what the running thread noted.
    pub async fn bring_in(&self) -> Result<(), Errno> {
        match self.take() {
            Some(what) => what.fetch().await,
            None => Err(Errno::EIO),
        }
    }

    /// Tries `attempt` until it misses nothing.
    pub async fn retry<T>(&self, mut attempt: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        loop {
            drop(self.take());
            match attempt() {
                Err(errno) => self.again(errno).await?,
                done => return done,
            }
        }
    }
}
