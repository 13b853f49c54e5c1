//! Extended attributes: in the room after an inode's fields, and in one more block, which inodes with the same attributes
//! share.

use alloc::vec;
use alloc::vec::Vec;

use crate::acl;
use crate::bytes::{le16, le32, put, put8, put16, put32, short, slice, u8_at, word};
use crate::error::{Error, Result, corrupt};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::store::Kind;
use crate::superblock::Compat;
use crate::types::{BlockRange, By, Ino, InodeFlags, SetXattr};

const MAGIC: u32 = 0xea02_0000;
/// Where the superblock says that there are attributes.
const COMPAT: usize = 0x5c;
const BLOCK_HEADER: usize = 32;
const ENTRY: usize = 16;
/// How many inodes share a block at most.
const MAX_SHARERS: u32 = 1024;
/// Blocks of attributes that are remembered to be shared.
const MAX_REMEMBERED: usize = 4096;
/// The index and the name of the attribute with the rest of contents that are in an inode.
const SYSTEM: u8 = 7;
const DATA: &[u8] = b"data";

/// The prefixes of names, by their numbers.
const PREFIXES: [(u8, &[u8]); 6] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
    (SYSTEM, b"system."),
];

/// An attribute as it is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    index: u8,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Attribute {
    fn size(&self) -> usize {
        padded(ENTRY + self.name.len()) + padded(self.value.len())
    }

    /// The hash of name and value, by which blocks are compared.
    fn hash(&self) -> u32 {
        let name = self.name.iter().fold(0u32, |hash, &byte| (hash << 5) ^ (hash >> 27) ^ u32::from(byte));
        self.value.chunks(4).fold(name, |hash, chunk| {
            let mut word = [0; 4];
            put(&mut word, 0, chunk);
            (hash << 16) ^ (hash >> 16) ^ u32::from_le_bytes(word)
        })
    }
}

const fn padded(size: usize) -> usize {
    (size + 3) & !3
}

/// The index and rest of a name.
fn split(name: &[u8]) -> Result<(u8, &[u8])> {
    for (index, prefix) in PREFIXES {
        if let Some(rest) = name.strip_prefix(prefix) {
            let acl = index == 2 || index == 3;
            if acl != rest.is_empty() {
                continue;
            }
            return if rest.len() > 255 { Err(Error::NameTooLong) } else { Ok((index, rest)) };
        }
    }
    Err(Error::NotSupported)
}

/// The name with its prefix; `None` for what programs do not see.
fn join(index: u8, name: &[u8]) -> Option<Vec<u8>> {
    if index == SYSTEM && name == DATA {
        return None;
    }
    let (_, prefix) = PREFIXES.iter().find(|(number, _)| *number == index)?;
    Some([prefix, name].concat())
}

/// Reads entries from `start`, whose values are counted from `base`, all before `end`.
fn parse(data: &[u8], start: usize, base: usize, end: usize, place: u64) -> Result<Vec<Attribute>> {
    let bad = || corrupt("extended attributes", place);
    let mut out = Vec::new();
    let mut at = start;
    while at + 4 <= end && le32(data, at) != 0 {
        let length = usize::from(u8_at(data, at));
        let next = at + padded(ENTRY + length);
        if next > end {
            return Err(bad());
        }
        let (offset, size) = (usize::from(le16(data, at + 2)), le32(data, at + 8));
        let size = usize::try_from(size).map_err(|_| bad())?;
        if le32(data, at + 4) != 0 {
            return Err(Error::NotSupported);
        }
        let from = base + offset;
        if size > end || (size > 0 && (from < start || from + size > end)) {
            return Err(bad());
        }
        out.push(Attribute {
            index: u8_at(data, at + 1),
            name: slice(data, at + ENTRY, at + ENTRY + length).to_vec(),
            value: slice(data, from, from + size).to_vec(),
        });
        at = next;
    }
    Ok(out)
}

/// Writes entries from `start` and their values from `end` down. The caller has seen that they fit.
fn write(data: &mut [u8], start: usize, base: usize, end: usize, all: &[Attribute]) {
    let (mut at, mut top) = (start, end);
    for attribute in all {
        top -= padded(attribute.value.len());
        put8(data, at, u8::try_from(attribute.name.len()).unwrap_or(u8::MAX));
        put8(data, at + 1, attribute.index);
        put16(data, at + 2, if attribute.value.is_empty() { 0 } else { short(top - base) });
        put32(data, at + 8, word(attribute.value.len()));
        put32(data, at + 12, attribute.hash());
        put(data, at + ENTRY, &attribute.name);
        put(data, top, &attribute.value);
        at += padded(ENTRY + attribute.name.len());
    }
}

fn fits(all: &[Attribute], room: usize) -> bool {
    // Four zeros end the entries.
    all.iter().map(Attribute::size).sum::<usize>() + 4 <= room
}

/// Checks a block of attributes.
pub(crate) fn check_block(data: &[u8], block: u64) -> Result<()> {
    if le32(data, 0) != MAGIC || le32(data, 8) != 1 {
        return Err(corrupt("attribute block: header", block));
    }
    Ok(())
}

/// A block of attributes.
fn build_block(size: usize, all: &[Attribute]) -> Vec<u8> {
    let mut data = vec![0; size];
    put32(&mut data, 0, MAGIC);
    put32(&mut data, 4, 1);
    put32(&mut data, 8, 1);
    let hash = all.iter().fold(0u32, |hash, a| (hash << 16) ^ (hash >> 16) ^ a.hash());
    put32(&mut data, 12, hash);
    write(&mut data, BLOCK_HEADER, 0, size, all);
    data
}

/// Sets or removes an attribute among those in the inode and those in the block.
fn arrange(
    inner: &mut Vec<Attribute>,
    outer: &mut Vec<Attribute>,
    room: (usize, usize),
    (name, value): (&[u8], Option<&[u8]>),
    how: SetXattr,
) -> Result<()> {
    let (index, rest) = split(name)?;
    if join(index, rest).is_none() {
        return Err(Error::NotSupported);
    }
    let is_it = |a: &Attribute| a.index == index && a.name == rest;
    match (how, inner.iter().chain(outer.iter()).any(is_it)) {
        (SetXattr::Create, true) => return Err(Error::Exists),
        (SetXattr::Replace, false) => return Err(Error::NoData),
        _ => {}
    }
    inner.retain(|a| !is_it(a));
    outer.retain(|a| !is_it(a));
    let Some(value) = value else { return Ok(()) };
    if value.len() > room.1 {
        return Err(Error::NoSpace);
    }
    let value = if index == 2 || index == 3 { acl::to_disk(value)? } else { value.to_vec() };
    inner.push(Attribute { index, name: rest.to_vec(), value });
    if !fits(inner, room.0) {
        outer.extend(inner.pop());
    }
    if fits(outer, room.1) { Ok(()) } else { Err(Error::NoSpace) }
}

/// The order of a block's entries.
fn order(a: &Attribute) -> (u8, usize, Vec<u8>) {
    (a.index, a.name.len(), a.name.clone())
}

impl Ext4 {
    /// Attributes in the inode.
    fn inner_attributes(&mut self, inode: &Inode) -> Result<Vec<Attribute>> {
        let room = self.inode_tail(inode);
        let (data, at) = self.raw_inode(inode.ino)?;
        let data = slice(&data, at, at + self.layout.inode_size);
        if room.len() < 8 || le32(data, room.start) != MAGIC {
            return Ok(Vec::new());
        }
        parse(data, room.start + 4, room.start + 4, room.end, u64::from(inode.ino))
    }

    /// Attributes in the block.
    fn outer_attributes(&mut self, inode: &Inode) -> Result<Vec<Attribute>> {
        if inode.xattr_block == 0 {
            return Ok(Vec::new());
        }
        if !self.is_data(inode.xattr_block, 1) {
            return Err(corrupt("attribute block: a place beyond the device", u64::from(inode.ino)));
        }
        let data = self.get(inode.xattr_block, Kind::Xattr)?;
        self.remember_shared(le32(&data, 12), inode.xattr_block);
        parse(&data, BLOCK_HEADER, 0, data.len(), inode.xattr_block)
    }

    pub(crate) fn do_xattr(&mut self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        let (index, rest) = split(name)?;
        let inode = self.inode(ino)?;
        let mut all = self.inner_attributes(&inode)?;
        if !all.iter().any(|a| a.index == index && a.name == rest) {
            all = self.outer_attributes(&inode)?;
        }
        let found = all.into_iter().find(|a| a.index == index && a.name == rest).ok_or(Error::NoData)?;
        if join(index, rest).is_none() {
            return Err(Error::NoData);
        }
        if index == 2 || index == 3 { acl::to_program(&found.value, u64::from(ino)) } else { Ok(found.value) }
    }

    pub(crate) fn do_xattr_names(&mut self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        let inode = self.inode(ino)?;
        let mut all = self.inner_attributes(&inode)?;
        all.extend(self.outer_attributes(&inode)?);
        Ok(all.iter().filter_map(|a| join(a.index, &a.name)).collect())
    }

    pub(crate) fn do_set_xattr(
        &mut self,
        ino: Ino,
        name: &[u8],
        value: Option<&[u8]>,
        how: SetXattr,
        by: By,
    ) -> Result<()> {
        let mut inode = self.inode(ino)?;
        self.mutable(&inode)?;
        self.change_attribute(&mut inode, name, value, how, by)?;
        inode.ctime = by.now;
        self.put_inode(&mut inode, true)
    }

    /// Sets or removes (`None`) an attribute; the caller writes the inode.
    pub(crate) fn change_attribute(
        &mut self,
        inode: &mut Inode,
        name: &[u8],
        value: Option<&[u8]>,
        how: SetXattr,
        by: By,
    ) -> Result<()> {
        let (mut inner, mut outer) = (self.inner_attributes(inode)?, self.outer_attributes(inode)?);
        let before = (inner.clone(), outer.clone());
        let room = self.attribute_room(inode);
        arrange(&mut inner, &mut outer, room, (name, value), how)?;
        self.store_attributes(inode, before, (inner, outer), by)
    }

    /// Gives a new inode the attributes it has from the start; the caller writes the inode.
    pub(crate) fn set_first_attributes(&mut self, inode: &mut Inode, all: &[(&[u8], &[u8])], by: By) -> Result<()> {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        let room = self.attribute_room(inode);
        for (name, value) in all {
            arrange(&mut inner, &mut outer, room, (name, Some(value)), SetXattr::Any)?;
        }
        self.store_attributes(inode, (Vec::new(), Vec::new()), (inner, outer), by)
    }

    /// Room for attributes in an inode, and in a block.
    fn attribute_room(&self, inode: &Inode) -> (usize, usize) {
        (self.inode_tail(inode).len().saturating_sub(4), self.layout.block_size - BLOCK_HEADER)
    }

    fn store_attributes(
        &mut self,
        inode: &mut Inode,
        before: (Vec<Attribute>, Vec<Attribute>),
        (inner, mut outer): (Vec<Attribute>, Vec<Attribute>),
        by: By,
    ) -> Result<()> {
        let compat = self.super32(COMPAT)?;
        if compat & Compat::EXT_ATTR.bits() == 0 {
            self.edit_super(|sb| put32(sb, COMPAT, compat | Compat::EXT_ATTR.bits()))?;
        }
        if inner != before.0 {
            self.store_inner(inode, &inner)?;
        }
        if outer != before.1 {
            outer.sort_by_key(order);
            self.store_outer(inode, &outer, by)?;
        }
        Ok(())
    }

    fn store_inner(&mut self, inode: &Inode, all: &[Attribute]) -> Result<()> {
        let room = self.inode_tail(inode);
        let (data, at) = self.edit_inode(inode.ino)?;
        let (start, end) = (at + room.start, at + room.end);
        crate::bytes::clear(data, start, end);
        if !all.is_empty() {
            put32(data, start, MAGIC);
            write(data, start + 4, start + 4, end, all);
        }
        Ok(())
    }

    fn store_outer(&mut self, inode: &mut Inode, all: &[Attribute], by: By) -> Result<()> {
        if all.is_empty() {
            return self.release_attributes(inode);
        }
        let data = build_block(self.layout.block_size, all);
        let hash = le32(&data, 12);
        if let Some(block) = self.find_shared(inode.xattr_block, &data)? {
            self.release_attributes(inode)?;
            let shared = self.edit(block, Kind::Xattr)?;
            let count = le32(shared, 4);
            put32(shared, 4, count + 1);
            inode.xattr_block = block;
            self.charge(inode, 1);
            return Ok(());
        }
        let alone = inode.xattr_block != 0 && {
            let old = self.get(inode.xattr_block, Kind::Xattr)?;
            le32(&old, 4) == 1
        };
        if !alone {
            self.release_attributes(inode)?;
            let run = self.allocate_run(self.goal_of(inode), 1, false, by)?;
            self.fresh(run.start, Kind::Xattr)?;
            inode.xattr_block = run.start;
            self.charge(inode, 1);
        }
        self.edit(inode.xattr_block, Kind::Xattr)?.copy_from_slice(&data);
        self.remember_shared(hash, inode.xattr_block);
        Ok(())
    }

    /// Notes that a block has attributes of a hash. It is a hint; what it leads to is looked at.
    fn remember_shared(&mut self, hash: u32, block: u64) {
        if self.shared.len() >= MAX_REMEMBERED {
            self.shared.clear();
        }
        self.shared.insert(hash, block);
    }

    /// A block that has these very attributes already. Only one that is in memory as such is trusted: a block that was
    /// freed is not.
    fn find_shared(&mut self, own: u64, data: &[u8]) -> Result<Option<u64>> {
        let Some(&block) = self.shared.get(&le32(data, 12)) else { return Ok(None) };
        let freed = self.attempt.freed.iter().any(|(range, _)| range.start == block);
        if block == own || freed || self.cache.kind(block) != Some(Kind::Xattr) {
            return Ok(None);
        }
        let other = self.get(block, Kind::Xattr)?;
        let same = slice(&other, 8, 16) == slice(data, 8, 16)
            && slice(&other, BLOCK_HEADER, other.len()) == slice(data, BLOCK_HEADER, data.len());
        Ok((same && (1..MAX_SHARERS).contains(&le32(&other, 4))).then_some(block))
    }

    /// Lets go of an inode's block of attributes; the last one frees it.
    pub(crate) fn release_attributes(&mut self, inode: &mut Inode) -> Result<()> {
        let block = core::mem::take(&mut inode.xattr_block);
        if block == 0 {
            return Ok(());
        }
        if !self.is_data(block, 1) {
            return Err(corrupt("attribute block: a place beyond the device", u64::from(inode.ino)));
        }
        let count = le32(&self.get(block, Kind::Xattr)?, 4);
        if count > 1 {
            put32(self.edit(block, Kind::Xattr)?, 4, count - 1);
        } else {
            self.free(BlockRange { start: block, count: 1 }, true)?;
        }
        self.charge(inode, -1);
        Ok(())
    }

    /// How many inodes use a block of attributes, as it says.
    pub(crate) fn sharers(&mut self, block: u64) -> Result<u32> {
        if !self.is_data(block, 1) {
            return Err(corrupt("attribute block: a place beyond the device", block));
        }
        Ok(le32(&self.get(block, Kind::Xattr)?, 4))
    }

    /// Contents in the inode that are in an attribute.
    pub(crate) fn inline_rest(&mut self, inode: &Inode) -> Result<Vec<u8>> {
        let all = self.inner_attributes(inode)?;
        Ok(all.into_iter().find(|a| a.index == SYSTEM && a.name == DATA).map(|a| a.value).unwrap_or_default())
    }

    /// Takes that attribute away.
    pub(crate) fn remove_inline_rest(&mut self, inode: &mut Inode) -> Result<()> {
        let mut all = self.inner_attributes(inode)?;
        let before = all.len();
        all.retain(|a| !(a.index == SYSTEM && a.name == DATA));
        if all.len() == before { Ok(()) } else { self.store_inner(inode, &all) }
    }

    /// Refuses changes of what is marked.
    pub(crate) fn mutable(&self, inode: &Inode) -> Result<()> {
        if inode.has(InodeFlags::IMMUTABLE) { Err(Error::NotPermitted) } else { Ok(()) }
    }
}
