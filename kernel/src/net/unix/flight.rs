//! Descriptors on their way, `SCM_RIGHTS`: how many there may be, and those that only keep one another.
//!
//! A socket whose every descriptor is inside messages can be received only through the sockets those messages wait in. If
//! these can be received in no other way either, nobody ever gets them: such messages are thrown away. It is looked for
//! when a unix socket is closed, and when many descriptors are on their way.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use aurora_abi::Errno;

use crate::net::socket::of;
use crate::net::unix::UnixSocket;
use crate::sync::Mutex;
use crate::vfs::OpenFile;

/// So many sockets on their way make a sender look for garbage.
const MANY: usize = 256;

/// What is on its way in a system.
#[derive(Default)]
pub struct InFlight {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Descriptors on their way, by who sent them.
    users: BTreeMap<u32, u64>,
    /// Unix sockets on their way, by their open file's address, and how often.
    sockets: BTreeMap<usize, (Weak<OpenFile>, usize)>,
}

/// Files on their way, counted for as long as this lives.
pub struct Rights {
    /// The files.
    pub files: Vec<Arc<OpenFile>>,
    user: u32,
    flight: Weak<crate::Kernel>,
}

impl Rights {
    /// Sends `files` on their way; `ETOOMANYREFS` when a user has more than `limit` there.
    pub fn new(
        kernel: &Arc<crate::Kernel>,
        files: Vec<Arc<OpenFile>>,
        user: u32,
        limit: Option<u64>,
    ) -> Result<Self, Errno> {
        let mut inner = kernel.network.in_flight.inner.lock();
        let count = inner.users.entry(user).or_default();
        if limit.is_some_and(|limit| *count > limit) {
            return Err(Errno::ETOOMANYREFS);
        }
        *count += files.len() as u64;
        for file in files.iter().filter(|f| is_unix(f)) {
            let entry = inner.sockets.entry(Arc::as_ptr(file).addr()).or_insert_with(|| (Arc::downgrade(file), 0));
            entry.1 += 1;
        }
        let many = inner.sockets.len() > MANY;
        drop(inner);
        if many {
            kernel.network.in_flight.collect();
        }
        Ok(Self { files, user, flight: Arc::downgrade(kernel) })
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        let Some(kernel) = self.flight.upgrade() else { return };
        let mut inner = kernel.network.in_flight.inner.lock();
        if let Some(count) = inner.users.get_mut(&self.user) {
            *count = count.saturating_sub(self.files.len() as u64);
        }
        for file in self.files.iter().filter(|f| is_unix(f)) {
            let address = Arc::as_ptr(file).addr();
            if let Some(entry) = inner.sockets.get_mut(&address) {
                entry.1 -= 1;
                if entry.1 == 0 {
                    inner.sockets.remove(&address);
                }
            }
        }
    }
}

fn is_unix(file: &Arc<OpenFile>) -> bool {
    of(file).is_some_and(|s| s.unix().is_some())
}

fn unix_of(file: &OpenFile) -> Option<Arc<UnixSocket>> {
    of(file)?.unix()
}

impl InFlight {
    /// Throws away messages nobody can ever receive.
    pub fn collect(&self) {
        // Sockets that only messages refer to, with the count of references not found in one another's messages.
        let mut candidates: BTreeMap<usize, (Arc<OpenFile>, usize)> = BTreeMap::new();
        for (address, (file, count)) in &self.inner.lock().sockets {
            let Some(file) = file.upgrade() else { continue };
            // One reference is ours.
            if Arc::strong_count(&file) == count + 1 {
                candidates.insert(*address, (file, *count));
            }
        }
        if candidates.is_empty() {
            return;
        }
        let files: Vec<_> = candidates.values().map(|(file, _)| file.clone()).collect();
        for socket in files.iter().filter_map(|f| unix_of(f)) {
            socket.each_file_on_its_way(&mut |file| {
                if let Some((_, left)) = candidates.get_mut(&Arc::as_ptr(file).addr()) {
                    *left = left.saturating_sub(1);
                }
            });
        }
        let mut reachable: Vec<usize> = candidates.iter().filter(|(_, (_, left))| *left > 0).map(|(a, _)| *a).collect();
        while let Some(address) = reachable.pop() {
            let Some((file, _)) = candidates.remove(&address) else { continue };
            let Some(socket) = unix_of(&file) else { continue };
            socket.each_file_on_its_way(&mut |file| reachable.push(Arc::as_ptr(file).addr()));
        }
        let garbage: Vec<_> =
            candidates.values().filter_map(|(file, _)| unix_of(file)).map(|s| s.drop_messages()).collect();
        drop(files);
        drop(candidates);
        drop(garbage);
    }

    /// Whether anything could be garbage.
    pub fn is_idle(&self) -> bool {
        self.inner.lock().sockets.is_empty()
    }
}
