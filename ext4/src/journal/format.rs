//! What is in a log: superblock, descriptors, revocations, commits. All numbers are big-endian.

use alloc::string::ToString;
use alloc::sync::Arc;

use crate::bytes::{be16, be32, high32, low16, low32, put_be16, put_be32, slice};
use crate::checksum::{crc32c, crc32c_without};
use crate::error::{Error, Result};
use crate::types::Block;

pub(crate) const MAGIC: u32 = 0xc03b_3998;
pub(crate) const DESCRIPTOR: u32 = 1;
pub(crate) const COMMIT: u32 = 2;
pub(crate) const SUPERBLOCK_V1: u32 = 3;
pub(crate) const SUPERBLOCK_V2: u32 = 4;
pub(crate) const REVOKE: u32 = 5;
pub(crate) const HEADER: usize = 12;

/// Offsets in the superblock.
pub(crate) mod field {
    pub(crate) const BLOCK_SIZE: usize = 0x0c;
    pub(crate) const MAX_LEN: usize = 0x10;
    pub(crate) const FIRST: usize = 0x14;
    pub(crate) const SEQUENCE: usize = 0x18;
    pub(crate) const START: usize = 0x1c;
    pub(crate) const INCOMPAT: usize = 0x28;
    pub(crate) const UUID: usize = 0x30;
    pub(crate) const USERS: usize = 0x40;
    pub(crate) const CHECKSUM_TYPE: usize = 0x50;
    pub(crate) const FAST_BLOCKS: usize = 0x54;
    pub(crate) const CHECKSUM: usize = 0xfc;
}

/// Where in a commit its checksum is, and its time.
pub(crate) const COMMIT_CHECKSUM: usize = 0x10;
pub(crate) const COMMIT_SECONDS: usize = 0x30;
pub(crate) const COMMIT_NANOSECONDS: usize = 0x38;

const TAG_ESCAPED: u32 = 1;
const TAG_SAME_UUID: u32 = 2;
const TAG_LAST: u32 = 8;

/// The features of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) revoke: bool,
    pub(crate) wide: bool,
    async_commit: bool,
    pub(crate) checksum_v2: bool,
    pub(crate) checksum_v3: bool,
    pub(crate) fast_commit: bool,
}

impl Features {
    pub(crate) fn parse(bits: u32) -> Result<Self> {
        if bits & !0x3f != 0 {
            return Err(Error::Unsupported(alloc::format!("journal incompat {:#x}", bits & !0x3f).to_string()));
        }
        let has = |bit| bits & bit != 0;
        Ok(Self {
            revoke: has(1),
            wide: has(2),
            async_commit: has(4),
            checksum_v2: has(8),
            checksum_v3: has(16),
            fast_commit: has(32),
        })
    }

    /// Writes them to a superblock.
    pub(crate) fn store(&self, sb: &mut [u8]) {
        let all = [self.revoke, self.wide, self.async_commit, self.checksum_v2, self.checksum_v3, self.fast_commit];
        let bits = all.iter().enumerate().fold(0u32, |bits, (at, &on)| bits | u32::from(on) << at);
        put_be32(sb, 4, SUPERBLOCK_V2);
        put_be32(sb, field::INCOMPAT, bits);
        if self.has_checksums() {
            crate::bytes::put8(sb, field::CHECKSUM_TYPE, 4);
        }
    }

    pub(crate) fn has_checksums(&self) -> bool {
        self.checksum_v2 || self.checksum_v3
    }
    pub(crate) fn tag_size(&self) -> usize {
        match (self.checksum_v3, self.checksum_v2, self.wide) {
            (true, ..) => 16,
            (_, true, true) => 14,
            (_, true, false) => 10,
            (_, _, true) => 12,
            _ => 8,
        }
    }
    /// Where descriptors and revocations end.
    pub(crate) fn end(&self, block_size: usize) -> usize {
        block_size - if self.has_checksums() { 4 } else { 0 }
    }
    pub(crate) fn revocation_size(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }
}

/// What a descriptor says of one block that follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    pub(crate) block: u64,
    pub(crate) escaped: bool,
    pub(crate) checksum: u32,
}

/// The tags of a descriptor.
pub(crate) fn tags(features: &Features, data: &[u8]) -> alloc::vec::Vec<Tag> {
    let (size, end) = (features.tag_size(), features.end(data.len()));
    let mut out = alloc::vec::Vec::new();
    let mut at = HEADER;
    while at + size <= end {
        let low = u64::from(be32(data, at));
        let (flags, checksum, high) = if features.checksum_v3 {
            (be32(data, at + 4), be32(data, at + 12), be32(data, at + 8))
        } else {
            (u32::from(be16(data, at + 6)), u32::from(be16(data, at + 4)), be32(data, at + 8))
        };
        let high = if features.wide { u64::from(high) << 32 } else { 0 };
        out.push(Tag { block: low | high, escaped: flags & TAG_ESCAPED != 0, checksum });
        at += size + if flags & TAG_SAME_UUID == 0 { 16 } else { 0 };
        if flags & TAG_LAST != 0 {
            break;
        }
    }
    out
}

/// Writes a tag; gives where the next one goes.
pub(crate) fn put_tag(
    features: &Features,
    data: &mut [u8],
    at: usize,
    tag: &Tag,
    uuid: Option<&[u8]>,
    last: bool,
) -> usize {
    let flags =
        u32::from(tag.escaped) | if uuid.is_none() { TAG_SAME_UUID } else { 0 } | if last { TAG_LAST } else { 0 };
    put_be32(data, at, low32(tag.block));
    if features.checksum_v3 {
        put_be32(data, at + 4, flags);
        put_be32(data, at + 8, high32(tag.block));
        put_be32(data, at + 12, tag.checksum);
    } else {
        put_be16(data, at + 4, if features.checksum_v2 { low16(tag.checksum) } else { 0 });
        put_be16(data, at + 6, low16(flags));
        if features.wide {
            put_be32(data, at + 8, high32(tag.block));
        }
    }
    let after = at + features.tag_size();
    if let Some(uuid) = uuid {
        crate::bytes::put(data, after, uuid);
        return after + 16;
    }
    after
}

/// Begins a block of a log.
pub(crate) fn put_header(data: &mut [u8], kind: u32, sequence: u32) {
    put_be32(data, 0, MAGIC);
    put_be32(data, 4, kind);
    put_be32(data, 8, sequence);
}

/// The checksum of a logged block, of which the second version keeps half.
pub(crate) fn block_checksum(features: &Features, seed: u32, sequence: u32, data: &[u8]) -> u32 {
    let sum = crc32c(crc32c(seed, &sequence.to_be_bytes()), data);
    if features.checksum_v3 { sum } else { sum & 0xffff }
}

/// The checksum at the end of descriptors and revocations.
pub(crate) fn tail_checksum(seed: u32, data: &[u8]) -> u32 {
    crc32c_without(seed, data, data.len() - 4, 4)
}

pub(crate) fn commit_checksum(seed: u32, data: &[u8]) -> u32 {
    crc32c_without(seed, data, COMMIT_CHECKSUM, 4)
}

/// The blocks a revocation names.
pub(crate) fn revocations(features: &Features, data: &[u8]) -> alloc::vec::Vec<u64> {
    let used = crate::bytes::index(be32(data, HEADER)).min(features.end(data.len()));
    let records = slice(data, HEADER + 4, used);
    records
        .chunks_exact(features.revocation_size())
        .map(|r| if features.wide { crate::bytes::be64(r, 0) } else { u64::from(be32(r, 0)) })
        .collect()
}

/// A block that begins like one of the log's own loses its first word there.
pub(crate) fn escape(data: &Block) -> Option<Block> {
    (be32(data, 0) == MAGIC).then(|| with_first(data, 0))
}

pub(crate) fn unescape(data: &Block) -> Block {
    with_first(data, MAGIC)
}

fn with_first(data: &Block, word: u32) -> Block {
    let mut copy: Block = Arc::from(&**data);
    put_be32(Arc::make_mut(&mut copy), 0, word);
    copy
}
