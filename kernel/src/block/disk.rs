//! One disk: requests on their way, and who waits for them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use aurora_abi::Errno;
use aurora_machine::{BlockDevice, BlockError, BlockGeometry, BlockOp, BlockRequest, BlockSegment, SECTOR_SIZE};

use crate::sync::{Mutex, WaitQueue};

/// A disk of the machine's.
pub struct Disk {
    device: Arc<dyn BlockDevice>,
    queue: Mutex<Queue>,
    done: [Counts; 2],
}

/// What a disk has done, for `/proc/diskstats`.
#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    sectors: AtomicU64,
}

#[derive(Default)]
struct Queue {
    last_tag: u64,
    /// By tag: submitted, or waiting for room in the device.
    started: BTreeMap<u64, Arc<Ticket>>,
    /// What the device had no room for, in order.
    waiting: VecDeque<BlockRequest>,
}

#[derive(Default)]
struct Ticket {
    result: Mutex<Option<Result<(), Errno>>>,
    ended: WaitQueue,
}

/// A request that was started.
#[must_use = "its frames are the device's until it ended"]
pub struct Pending(Arc<Ticket>);

impl Pending {
    /// Waits until it ended.
    pub async fn wait(self) -> Result<(), Errno> {
        self.0.ended.wait(|| *self.0.result.lock()).await
    }
}

impl Disk {
    pub(super) fn new(device: Arc<dyn BlockDevice>) -> Arc<Self> {
        Arc::new(Self { device, queue: Mutex::default(), done: Default::default() })
    }

    /// What it is.
    pub fn geometry(&self) -> BlockGeometry {
        self.device.geometry()
    }

    /// Requests started so far and their sectors: reads, then writes.
    pub fn counts(&self) -> [(u64, u64); 2] {
        [0, 1].map(|way| {
            self.done.get(way).map_or((0, 0), |counts: &Counts| {
                (counts.requests.load(Ordering::Relaxed), counts.sectors.load(Ordering::Relaxed))
            })
        })
    }

    /// Requests on their way.
    pub fn in_flight(&self) -> usize {
        self.queue.lock().started.len()
    }

    fn count(&self, op: BlockOp, segments: &[BlockSegment]) {
        let [reads, writes] = &self.done;
        let counts = match op {
            BlockOp::Read => reads,
            BlockOp::Write => writes,
            BlockOp::Flush | BlockOp::Discard { .. } => return,
        };
        let bytes: u64 = segments.iter().map(|s| s.len as u64).sum();
        counts.requests.fetch_add(1, Ordering::Relaxed);
        counts.sectors.fetch_add(bytes / SECTOR_SIZE, Ordering::Relaxed);
    }

    /// Starts a request.
    pub fn start(&self, op: BlockOp, sector: u64, segments: Vec<BlockSegment>) -> Pending {
        self.count(op, &segments);
        let ticket = Arc::new(Ticket::default());
        let mut queue = self.queue.lock();
        queue.last_tag += 1;
        let request = BlockRequest { tag: queue.last_tag, op, sector, segments };
        queue.started.insert(request.tag, ticket.clone());
        queue.waiting.push_back(request);
        drop(queue);
        self.collect();
        Pending(ticket)
    }

    /// Gives the device what it has room for, and takes its answers.
    pub(super) fn collect(&self) {
        let mut ended = Vec::new();
        let mut queue = self.queue.lock();
        loop {
            while let Some(request) = queue.waiting.pop_front() {
                if let Err(request) = self.device.submit(request) {
                    queue.waiting.push_front(request);
                    break;
                }
            }
            let Some(done) = self.device.completed() else { break };
            if let Some(ticket) = queue.started.remove(&done.tag) {
                *ticket.result.lock() = Some(done.result.map_err(errno_of));
                ended.push(ticket);
            }
        }
        drop(queue);
        ended.iter().for_each(|ticket| ticket.ended.wake_all());
    }
}

fn errno_of(error: BlockError) -> Errno {
    match error {
        BlockError::Io => Errno::EIO,
        BlockError::NoSpace => Errno::ENOSPC,
        BlockError::ReadOnly => Errno::EROFS,
    }
}
