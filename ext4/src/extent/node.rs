//! One node of an extent tree: the root in an inode, or a block.

use crate::bytes::{high32, le16, le32, low16, low32, put16, put32, shift, short};
use crate::error::{Result, corrupt};
use crate::types::Block;

pub(crate) const MAGIC: u16 = 0xf30a;
const HEADER: usize = 12;
const ENTRY: usize = 12;
/// The longest extent that is written, and the longest that is not.
pub(crate) const MAX_WRITTEN: u64 = 32768;
pub(crate) const MAX_UNWRITTEN: u64 = 32767;

/// Blocks of a file that are neighbours on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) logical: u64,
    pub(crate) count: u64,
    pub(crate) physical: u64,
    pub(crate) unwritten: bool,
}

impl Extent {
    pub(crate) fn end(&self) -> u64 {
        self.logical + self.count
    }
    /// Whether `next` goes on where this ends.
    pub(crate) fn joins(&self, next: &Self) -> bool {
        self.end() == next.logical
            && self.physical + self.count == next.physical
            && self.unwritten == next.unwritten
            && self.count + next.count <= if self.unwritten { MAX_UNWRITTEN } else { MAX_WRITTEN }
    }
}

/// A node.
#[derive(Debug)]
pub(crate) enum Node {
    Root([u8; 60]),
    Block(Block),
}

impl Node {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Root(bytes) => bytes,
            Self::Block(block) => block,
        }
    }
    pub(crate) fn entries(&self) -> usize {
        entries(self.bytes())
    }
    pub(crate) fn is_full(&self) -> bool {
        self.entries() >= capacity(self.bytes())
    }
    pub(crate) fn depth(&self) -> u16 {
        le16(self.bytes(), 6)
    }
    pub(crate) fn logical(&self, at: usize) -> u32 {
        le32(self.bytes(), HEADER + at * ENTRY)
    }
    pub(crate) fn extent(&self, at: usize) -> Extent {
        extent(self.bytes(), at)
    }
    pub(crate) fn child(&self, at: usize) -> u64 {
        child(self.bytes(), at)
    }
    /// The last entry that does not begin after `logical`.
    pub(crate) fn find(&self, logical: u32) -> Option<usize> {
        let (mut low, mut high) = (0, self.entries());
        while low < high {
            let middle = low.midpoint(high);
            if self.logical(middle) <= logical {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
    }
}

pub(crate) fn entries(data: &[u8]) -> usize {
    usize::from(le16(data, 2))
}
pub(crate) fn capacity(data: &[u8]) -> usize {
    usize::from(le16(data, 4))
}
pub(crate) fn set_entries(data: &mut [u8], count: usize) {
    put16(data, 2, short(count));
}
pub(crate) fn extent(data: &[u8], at: usize) -> Extent {
    let at = HEADER + at * ENTRY;
    let count = u64::from(le16(data, at + 4));
    let unwritten = count > MAX_WRITTEN;
    Extent {
        logical: u64::from(le32(data, at)),
        count: if unwritten { count - MAX_WRITTEN } else { count },
        physical: u64::from(le32(data, at + 8)) | u64::from(le16(data, at + 6)) << 32,
        unwritten,
    }
}
pub(crate) fn set_extent(data: &mut [u8], at: usize, extent: &Extent) {
    let at = HEADER + at * ENTRY;
    let count = extent.count + if extent.unwritten { MAX_WRITTEN } else { 0 };
    put32(data, at, low32(extent.logical));
    put16(data, at + 4, low16(low32(count)));
    put16(data, at + 6, low16(high32(extent.physical)));
    put32(data, at + 8, low32(extent.physical));
}
pub(crate) fn child(data: &[u8], at: usize) -> u64 {
    let at = HEADER + at * ENTRY;
    u64::from(le32(data, at + 4)) | u64::from(le16(data, at + 8)) << 32
}
pub(crate) fn set_index(data: &mut [u8], at: usize, logical: u32, child: u64) {
    let at = HEADER + at * ENTRY;
    put32(data, at, logical);
    put32(data, at + 4, low32(child));
    put16(data, at + 8, low16(high32(child)));
    put16(data, at + 10, 0);
}
pub(crate) fn set_logical(data: &mut [u8], at: usize, logical: u32) {
    put32(data, HEADER + at * ENTRY, logical);
}
/// Makes room for an entry at a place.
pub(crate) fn open(data: &mut [u8], at: usize) {
    let count = entries(data);
    shift(data, HEADER + at * ENTRY, HEADER + (at + 1) * ENTRY, count.saturating_sub(at) * ENTRY);
    set_entries(data, count + 1);
}
/// Takes an entry out.
pub(crate) fn close(data: &mut [u8], at: usize) {
    let count = entries(data);
    shift(data, HEADER + (at + 1) * ENTRY, HEADER + at * ENTRY, count.saturating_sub(at + 1) * ENTRY);
    set_entries(data, count.saturating_sub(1));
}
/// The bytes of entries.
pub(crate) fn entry_bytes(from: usize, to: usize) -> core::ops::Range<usize> {
    HEADER + from * ENTRY..HEADER + to * ENTRY
}

/// Begins a node.
pub(crate) fn init(data: &mut [u8], depth: u16) {
    // A block has room for a checksum after its entries.
    let room = data.len() - HEADER - if data.len() > 60 { 4 } else { 0 };
    crate::bytes::put16(data, 0, MAGIC);
    set_entries(data, 0);
    put16(data, 4, short(room / ENTRY));
    put16(data, 6, depth);
    put32(data, 8, 0);
}

/// Checks a block of a tree.
pub(crate) fn check(data: &[u8], block: u64) -> Result<()> {
    check_node(data, data.len(), block)
}

/// Checks the root in an inode.
pub(crate) fn check_root(root: &[u8], ino: u64) -> Result<()> {
    check_node(root, root.len(), ino)
}

fn check_node(data: &[u8], size: usize, place: u64) -> Result<()> {
    let (count, max, depth) = (entries(data), capacity(data), usize::from(le16(data, 6)));
    if le16(data, 0) != MAGIC || count > max || HEADER + max * ENTRY > size || depth > super::MAX_DEPTH || max == 0 {
        return Err(corrupt("extent node: header", place));
    }
    let mut least = 0;
    for at in 0..count {
        let (start, end) = if depth == 0 {
            let extent = extent(data, at);
            if extent.count == 0 {
                return Err(corrupt("extent node: an empty extent", place));
            }
            (extent.logical, extent.end())
        } else {
            let start = u64::from(le32(data, HEADER + at * ENTRY));
            (start, start + 1)
        };
        if start < least || end > super::MAX_BLOCKS + 1 {
            return Err(corrupt("extent node: order", place));
        }
        least = end;
    }
    if depth > 0 && count == 0 {
        return Err(corrupt("extent node: an index without entries", place));
    }
    Ok(())
}
