//! A split virtqueue (section 2.7) of requests that each have a slot: the memory their descriptors are in.
//!
//! With indirect descriptors a slot is a page of them and one entry of the ring; without, a run of the ring's entries.

use core::sync::atomic::{Ordering, fence};

use aurora_machine::PAGE_SIZE;

use super::memory::Shared;

/// A piece of memory for the device.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// Its physical address.
    pub(super) at: u64,
    /// Bytes.
    pub(super) len: u32,
    /// The device writes it.
    pub(super) written: bool,
}

/// An entry of the descriptor table.
#[repr(C)]
#[derive(Clone, Copy)]
struct Descriptor {
    at: u64,
    len: u32,
    flags: u16,
    next: u16,
}

const NEXT: u16 = 1;
const WRITTEN: u16 = 2;
const INDIRECT: u16 = 4;

/// Largest queue used; a page of descriptors.
const MAX_SIZE: u16 = 256;
/// Requests at a time.
const MAX_SLOTS: u16 = 32;
/// Entries of the ring for a request, without indirect descriptors.
const DIRECT: u16 = 16;
const DESCRIPTOR: usize = size_of::<Descriptor>();
const PAGE: usize = PAGE_SIZE as usize;

/// Where its parts are.
pub(super) struct Places {
    pub(super) descriptors: u64,
    pub(super) driver: u64,
    pub(super) device: u64,
}

pub(super) struct Queue {
    memory: Shared,
    size: u16,
    indirect: bool,
    slots: u16,
    /// What was made available so far, and what of it came back.
    available: u16,
    used: u16,
}

/// Offsets: the descriptors, what we say, what the device says, the slots' tables.
const DRIVER: usize = PAGE;
const DEVICE: usize = 2 * PAGE;
const TABLES: usize = 3 * PAGE;

impl Queue {
    /// A queue for a device that takes `largest` entries.
    pub(super) fn new(largest: u16, indirect: bool) -> Result<Self, &'static str> {
        let size = if largest == 0 { 0 } else { 1 << largest.min(MAX_SIZE).ilog2() };
        if size < DIRECT {
            return Err("its queue is too short");
        }
        let slots = if indirect { size.min(MAX_SLOTS) } else { size / DIRECT };
        let tables = if indirect { usize::from(slots) } else { 0 };
        let memory = Shared::allocate(TABLES + tables * PAGE).ok_or("no memory for its queue")?;
        Ok(Self { memory, size, indirect, slots, available: 0, used: 0 })
    }

    pub(super) fn size(&self) -> u16 {
        self.size
    }

    pub(super) fn slots(&self) -> u16 {
        self.slots
    }

    /// Most pieces of a request.
    pub(super) fn max_pieces(&self) -> usize {
        usize::from(if self.indirect { self.size } else { DIRECT })
    }

    pub(super) fn places(&self) -> Places {
        let [descriptors, driver, device] = [0, DRIVER, DEVICE].map(|offset| self.memory.phys(offset));
        Places { descriptors, driver, device }
    }

    /// Gives the device the pieces, at most `max_pieces`, in a slot that is free.
    pub(super) fn add(&mut self, slot: u16, pieces: impl Iterator<Item = Piece>) {
        let (table, first) = if self.indirect { (TABLES + usize::from(slot) * PAGE, 0) } else { (0, slot * DIRECT) };
        let count = self.write_chain(table, first, pieces);
        let head = if self.indirect { slot } else { first };
        if self.indirect {
            let len = u32::from(count) * DESCRIPTOR as u32;
            let all = Descriptor { at: self.memory.phys(table), len, flags: INDIRECT, next: 0 };
            self.memory.write(usize::from(head) * DESCRIPTOR, all);
        }
        let entry = usize::from(self.available % self.size);
        self.memory.write(DRIVER + 4 + entry * 2, head);
        self.available = self.available.wrapping_add(1);
        self.memory.store_index(DRIVER + 2, self.available);
        // The device's wish not to be told is read after our index is there.
        fence(Ordering::SeqCst);
    }

    fn write_chain(&self, table: usize, first: u16, pieces: impl Iterator<Item = Piece>) -> u16 {
        let mut pieces = pieces.peekable();
        let mut count = 0;
        while let Some(piece) = pieces.next() {
            let more = if pieces.peek().is_some() { NEXT } else { 0 };
            let written = if piece.written { WRITTEN } else { 0 };
            let next = first + count + 1;
            let descriptor = Descriptor { at: piece.at, len: piece.len, flags: more | written, next };
            self.memory.write(table + usize::from(first + count) * DESCRIPTOR, descriptor);
            count += 1;
        }
        count
    }

    /// Whether the device wants to hear of what was added.
    pub(super) fn wants_notice(&self) -> bool {
        const NO_NOTIFY: u16 = 1;
        self.memory.load_index(DEVICE) & NO_NOTIFY == 0
    }

    /// Takes the slot of a request that came back. A device that says what cannot be gives a slot that holds none.
    pub(super) fn take(&mut self) -> Option<u16> {
        if self.memory.load_index(DEVICE + 2) == self.used {
            return None;
        }
        let entry = usize::from(self.used % self.size);
        let head: u32 = self.memory.read(DEVICE + 4 + entry * 8);
        self.used = self.used.wrapping_add(1);
        let head = u16::try_from(head).unwrap_or(u16::MAX);
        Some(if self.indirect { head } else { head / DIRECT })
    }
}
