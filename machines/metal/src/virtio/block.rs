//! A disk (section 5.2).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use aurora_machine::{BlockDevice, BlockDone, BlockError, BlockGeometry, BlockOp, BlockRequest, PAGE_SIZE};
use spin::Mutex;

use super::Transport;
use super::memory::Shared;
use super::queue::{Piece, Queue};

// Features.
const SIZE_MAX: u64 = 1 << 1;
const SEG_MAX: u64 = 1 << 2;
const READ_ONLY: u64 = 1 << 5;
const FLUSH: u64 = 1 << 9;
const DISCARD: u64 = 1 << 13;
const INDIRECT: u64 = 1 << 28;
const VERSION_1: u64 = 1 << 32;
const WANTED: u64 = SIZE_MAX | SEG_MAX | READ_ONLY | FLUSH | DISCARD | INDIRECT | VERSION_1;

// Device status.
const ACKNOWLEDGED: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;
const FAILED: u8 = 128;

// Offsets in the device's own registers.
const CAPACITY: usize = 0;
const LARGEST_SEGMENT: usize = 8;
const MOST_SEGMENTS: usize = 12;
const MOST_DISCARDED: usize = 36;

/// What starts a request: a type, zero, a sector.
type Header = [u64; 2];
const TYPE_IN: u64 = 0;
const TYPE_OUT: u64 = 1;
const TYPE_FLUSH: u64 = 4;
const TYPE_DISCARD: u64 = 11;
/// What ends it, when all was well.
const STATUS_OK: u8 = 0;

/// A request's own memory: its header, what it discards, its status.
const PARTS: usize = 64;
const PART_DISCARD: usize = 16;
const PART_STATUS: usize = 32;

pub(crate) struct VirtioDisk {
    geometry: BlockGeometry,
    /// Without, what is written is there when the device says so.
    has_flush: bool,
    /// Most sectors of a request to discard.
    most_discarded: u64,
    polled: bool,
    state: Mutex<State>,
}

struct State {
    transport: Box<dyn Transport>,
    queue: Queue,
    parts: Shared,
    /// What the device has, by slot.
    started: Vec<Option<BlockRequest>>,
    done: VecDeque<BlockDone>,
}

impl VirtioDisk {
    /// Starts the device (section 3.1).
    pub(super) fn start(mut transport: Box<dyn Transport>) -> Result<Self, &'static str> {
        transport.set_status(0);
        transport.set_status(ACKNOWLEDGED);
        transport.set_status(ACKNOWLEDGED | DRIVER);
        let started = Self::set_up(&mut *transport);
        let (disk, queue) = started.inspect_err(|_| transport.set_status(FAILED))?;
        let (geometry, features) = disk;
        let slots = usize::from(queue.slots());
        let parts = Shared::allocate(slots * PARTS).ok_or("no memory for its requests")?;
        transport.set_queue(queue.size(), &queue.places());
        transport.set_status(ACKNOWLEDGED | DRIVER | FEATURES_OK | DRIVER_OK);
        let most_discarded = if geometry.discards { transport.config(MOST_DISCARDED).into() } else { 0 };
        let polled = !transport.interrupts();
        let started = (0..slots).map(|_| None).collect();
        let state = Mutex::new(State { transport, queue, parts, started, done: VecDeque::new() });
        Ok(Self { geometry, has_flush: features & FLUSH != 0, most_discarded, polled, state })
    }

    fn set_up(transport: &mut dyn Transport) -> Result<((BlockGeometry, u64), Queue), &'static str> {
        let features = transport.features() & WANTED;
        if features & VERSION_1 == 0 {
            return Err("it is older than version 1 of virtio");
        }
        transport.accept(features);
        transport.set_status(ACKNOWLEDGED | DRIVER | FEATURES_OK);
        if transport.status() & FEATURES_OK == 0 {
            return Err("it refuses the features it offered");
        }
        if features & SIZE_MAX != 0 && u64::from(transport.config(LARGEST_SEGMENT)) < PAGE_SIZE {
            return Err("it takes no whole pages");
        }
        let queue = Queue::new(transport.queue_size(), features & INDIRECT != 0)?;
        // A header and a status go with the segments.
        let room = queue.max_pieces() - 2;
        let most = if features & SEG_MAX == 0 { 1 } else { transport.config(MOST_SEGMENTS) as usize };
        let geometry = BlockGeometry {
            sectors: capacity(transport),
            read_only: features & READ_ONLY != 0,
            discards: features & DISCARD != 0,
            max_segments: room.min(most.max(1)),
        };
        Ok(((geometry, features), queue))
    }

    /// An interrupt came. A line that is still held would not rise again.
    pub(crate) fn acknowledge(&self) {
        self.state.lock().transport.acknowledge();
    }

    /// Whether it has requests of whose end nobody will tell.
    pub(crate) fn wants_polling(&self) -> bool {
        self.polled && self.state.lock().started.iter().any(Option::is_some)
    }
}

/// 64 bits that cannot be read at once.
fn capacity(transport: &dyn Transport) -> u64 {
    loop {
        let before = transport.generation();
        let [low, high] = [CAPACITY, CAPACITY + 4].map(|offset| u64::from(transport.config(offset)));
        if transport.generation() == before {
            return low | high << 32;
        }
    }
}

impl State {
    fn start(&mut self, slot: u16, request: BlockRequest) {
        let at = usize::from(slot) * PARTS;
        let (kind, written) = match request.op {
            BlockOp::Read => (TYPE_IN, true),
            BlockOp::Write => (TYPE_OUT, false),
            BlockOp::Flush => (TYPE_FLUSH, false),
            BlockOp::Discard { .. } => (TYPE_DISCARD, false),
        };
        let is_transfer = matches!(request.op, BlockOp::Read | BlockOp::Write);
        let header: Header = [kind, if is_transfer { request.sector } else { 0 }];
        self.parts.write(at, header);
        self.parts.write(at + PART_STATUS, u8::MAX);
        let first = Piece { at: self.parts.phys(at), len: size_of::<Header>() as u32, written: false };
        let discarded = if let BlockOp::Discard { sectors } = request.op {
            // A range: its sector, their number in 32 bits, and no flags.
            self.parts.write(at + PART_DISCARD, [request.sector, sectors]);
            Some(Piece { at: self.parts.phys(at + PART_DISCARD), len: 16, written: false })
        } else {
            None
        };
        let segments = request.segments.iter().filter(|_| is_transfer).map(|segment| Piece {
            at: segment.frame.phys().0 + segment.offset as u64,
            len: segment.len as u32,
            written,
        });
        let last = Piece { at: self.parts.phys(at + PART_STATUS), len: 1, written: true };
        self.queue.add(slot, [first].into_iter().chain(discarded).chain(segments).chain([last]));
        if self.queue.wants_notice() {
            self.transport.notify();
        }
        self.started[usize::from(slot)] = Some(request);
    }

    fn end(&mut self, tag: u64, result: Result<(), BlockError>) {
        self.done.push_back(BlockDone { tag, result });
    }

    fn collect(&mut self) {
        while let Some(slot) = self.queue.take() {
            let slot = usize::from(slot);
            // What the device gives back that it was never given is nobody's.
            let Some(request) = self.started.get_mut(slot).and_then(Option::take) else { continue };
            let status: u8 = self.parts.read(slot * PARTS + PART_STATUS);
            self.end(request.tag, if status == STATUS_OK { Ok(()) } else { Err(BlockError::Io) });
        }
    }
}

impl BlockDevice for VirtioDisk {
    fn geometry(&self) -> BlockGeometry {
        self.geometry
    }

    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let mut state = self.state.lock();
        let at_once = match request.op {
            BlockOp::Flush if !self.has_flush => Some(Ok(())),
            BlockOp::Write | BlockOp::Discard { .. } if self.geometry.read_only => Some(Err(BlockError::ReadOnly)),
            // What is discarded is no promise.
            BlockOp::Discard { sectors } if sectors > self.most_discarded => Some(Ok(())),
            _ if request.segments.len() > self.geometry.max_segments => Some(Err(BlockError::Io)),
            _ => None,
        };
        if let Some(result) = at_once {
            state.end(request.tag, result);
            return Ok(());
        }
        match (0..).zip(&state.started).find(|(_, started)| started.is_none()) {
            Some((slot, _)) => state.start(slot, request),
            None => return Err(request),
        }
        Ok(())
    }

    fn completed(&self) -> Option<BlockDone> {
        let mut state = self.state.lock();
        if state.done.is_empty() {
            state.collect();
        }
        state.done.pop_front()
    }
}
