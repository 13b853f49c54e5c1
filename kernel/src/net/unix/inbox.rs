//! Messages that wait in a socket.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::memory::account::Charge;
use crate::net::unix::flight::Rights;
use crate::vfs::OpenFile;

/// Kernel heap a message is charged, besides its bytes.
pub(super) const MESSAGE_COST: u64 = 256;

/// A message, or a part of a stream.
pub struct Message {
    /// What is in it.
    pub data: Vec<u8>,
    /// Bytes of it that were received already.
    pub taken: usize,
    /// The sender's address.
    pub from: Vec<u8>,
    /// Which socket sent it, by its address, for what it has on its way.
    pub sender: usize,
    /// Who sent it: process, user, group.
    pub credentials: [u32; 3],
    /// Open files that come with it.
    pub rights: Option<Rights>,
    /// Paid for.
    pub charge: Charge,
}

impl Message {
    /// Bytes not received yet.
    pub fn rest(&self) -> &[u8] {
        self.data.get(self.taken..).unwrap_or_default()
    }
}

/// The messages.
#[derive(Default)]
pub struct Inbox {
    messages: VecDeque<Message>,
    bytes: usize,
}

impl Inbox {
    /// Adds a message at the end.
    pub fn push(&mut self, message: Message) {
        self.bytes += message.data.len();
        self.messages.push_back(message);
    }
    /// The first message.
    pub fn first(&mut self) -> Option<&mut Message> {
        self.messages.front_mut()
    }
    /// The message after `skip` others.
    pub fn nth(&mut self, skip: usize) -> Option<&mut Message> {
        self.messages.get_mut(skip)
    }
    /// Notes that bytes of the first message were received.
    pub fn take_bytes(&mut self, count: usize) {
        if let Some(first) = self.messages.front_mut() {
            first.taken += count;
        }
        self.bytes = self.bytes.saturating_sub(count);
    }
    /// Takes the first message away.
    pub fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.rest().len());
        Some(message)
    }
    /// Messages in it.
    pub fn len(&self) -> usize {
        self.messages.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
    /// Bytes not received yet.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// Bytes of the first message.
    pub fn first_size(&self) -> usize {
        self.messages.front().map_or(0, |m| m.rest().len())
    }
    /// Bytes of messages a socket sent, each with what Linux adds for its own bookkeeping.
    pub fn bytes_from<T>(&self, sender: *const T) -> usize {
        let own = self.messages.iter().filter(|m| m.sender == sender.addr());
        own.map(|m| m.data.len() + MESSAGE_OVERHEAD).sum()
    }
    /// All files in it.
    pub fn files(&self) -> impl Iterator<Item = &Arc<OpenFile>> {
        self.messages.iter().filter_map(|m| m.rights.as_ref()).flat_map(|r| r.files.iter())
    }
}

/// What a message counts besides its bytes.
const MESSAGE_OVERHEAD: usize = 256;
