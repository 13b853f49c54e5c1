//! Hash trees of directories: a root in the first block, up to three levels of nodes, and blocks of entries as leaves.
//!
//! What always holds: entries of a node are in order of hashes; a leaf has the names from its hash to the next one's. Names
//! with one hash may go over several leaves, the later of which have the lowest bit of their hash set.

use alloc::vec::Vec;

use super::entry;
use super::hash::Hasher;
use super::{Names, Spot};
use crate::bytes::{le16, le32, low32, put, put8, put16, put32, shift, short, slice, u8_at};
use crate::error::{Error, Result, corrupt};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::seal::count_offset;
use crate::store::Kind;
use crate::superblock::Incompat;
use crate::types::{Block, By, InodeFlags};

/// How often an insertion looks for room.
const MAX_SPLITS: usize = 12;

/// One level of the way from the root to a leaf.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    block: u64,
    data: Block,
    /// Where count, limit and entries begin.
    base: usize,
    at: usize,
}

impl Frame {
    fn count(&self) -> usize {
        usize::from(le16(&self.data, self.base + 2))
    }
    fn limit(&self) -> usize {
        usize::from(le16(&self.data, self.base))
    }
    fn hash(&self, at: usize) -> u32 {
        if at == 0 { 0 } else { le32(&self.data, self.base + at * 8) }
    }
    fn child(&self, at: usize) -> u64 {
        u64::from(le32(&self.data, self.base + at * 8 + 4) & 0x0fff_ffff)
    }
    fn bytes(&self, from: usize, to: usize) -> &[u8] {
        slice(&self.data, self.base + from * 8, self.base + to * 8)
    }
    /// The last entry whose hash is not above.
    fn find(&self, hash: u32) -> usize {
        let (mut low, mut high) = (1, self.count());
        while low < high {
            let middle = low.midpoint(high);
            if self.hash(middle) <= hash {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low - 1
    }
}

/// Puts an entry into a node that has room.
fn insert_entry(data: &mut [u8], base: usize, at: usize, hash: u32, block: u64) {
    let count = usize::from(le16(data, base + 2));
    shift(data, base + at * 8, base + (at + 1) * 8, count.saturating_sub(at) * 8);
    put32(data, base + at * 8, hash);
    put32(data, base + at * 8 + 4, low32(block));
    put16(data, base + 2, short(count + 1));
}

/// Fills a node with entries of another; the first one's hash gives way to limit and count.
fn fill(data: &mut [u8], base: usize, limit: usize, entries: &[u8]) {
    put(data, base, entries);
    put16(data, base, short(limit));
    put16(data, base + 2, short(entries.len() / 8));
}

impl Ext4 {
    fn hasher_of(&self, version: u8) -> Hasher {
        Hasher { version, unsigned: self.layout.hash_unsigned, seed: self.layout.hash_seed }
    }

    /// The function new trees have.
    pub(crate) fn hasher(&self) -> Hasher {
        let version = self.layout.hash_version;
        self.hasher_of(if version <= 2 { version } else { 1 })
    }

    /// A node of a tree, and where it is.
    pub(crate) fn index_block(&mut self, dir: &Inode, logical: u64) -> Result<(Block, u64)> {
        let (block, _) = self.dir_place(dir, logical)?;
        let data = self.get(block, Kind::Index(dir.seed(&self.layout)))?;
        Ok((data, block))
    }

    fn frame(&mut self, dir: &Inode, logical: u64) -> Result<Frame> {
        let (data, block) = self.index_block(dir, logical)?;
        let base = count_offset(&data).ok_or(corrupt("directory index: header", block))?;
        let frame = Frame { block, data, base, at: 0 };
        let room = (frame.data.len() - base) / 8;
        if frame.count() == 0 || frame.count() > frame.limit() || frame.limit() > room {
            return Err(corrupt("directory index: count", block));
        }
        Ok(frame)
    }

    /// The root of a tree with its hash function and its levels below the root.
    fn index_root(&mut self, dir: &Inode) -> Result<(Frame, Hasher, usize)> {
        let root = self.frame(dir, 0)?;
        let (version, levels) = (u8_at(&root.data, 28), usize::from(u8_at(&root.data, 30)));
        if root.base != 32 || version > 2 || levels > self.max_levels() {
            return Err(corrupt("directory index: root", root.block));
        }
        Ok((root, self.hasher_of(version), levels))
    }

    fn max_levels(&self) -> usize {
        if self.layout.has(Incompat::LARGE_DIR) { 2 } else { 1 }
    }

    /// The function a directory's tree has.
    pub(crate) fn index_hasher(&mut self, dir: &Inode) -> Result<Hasher> {
        Ok(self.index_root(dir)?.1)
    }

    /// The way to the leaf for a hash.
    pub(crate) fn probe(&mut self, dir: &Inode, hash: u32) -> Result<Vec<Frame>> {
        let (root, _, levels) = self.index_root(dir)?;
        let mut frames = Vec::with_capacity(levels + 1);
        let mut frame = root;
        for level in 0..=levels {
            frame.at = frame.find(hash);
            let child = frame.child(frame.at);
            frames.push(frame);
            if level == levels {
                break;
            }
            frame = self.frame(dir, child)?;
            if frame.base != 8 {
                return Err(corrupt("directory index: node", frame.block));
            }
        }
        Ok(frames)
    }

    /// Goes on to the next leaf; gives its hash, or nothing at the end.
    pub(crate) fn next_leaf(&mut self, dir: &Inode, frames: &mut Vec<Frame>) -> Result<Option<u32>> {
        let levels = frames.len();
        let Some(up) = frames.iter().rposition(|frame| frame.at + 1 < frame.count()) else { return Ok(None) };
        frames.truncate(up + 1);
        let Some(frame) = frames.last_mut() else { return Ok(None) };
        frame.at += 1;
        let hash = frame.hash(frame.at);
        while frames.len() < levels {
            let Some(child) = frames.last().map(|f| f.child(f.at)) else { break };
            let frame = self.frame(dir, child)?;
            if frame.base != 8 {
                return Err(corrupt("directory index: node", frame.block));
            }
            frames.push(frame);
        }
        Ok(Some(hash))
    }

    /// The leaf a way leads to, and where it is.
    pub(crate) fn leaf_of(&mut self, dir: &Inode, frames: &[Frame]) -> Result<(Block, u64)> {
        let logical = frames.last().map(|f| f.child(f.at)).unwrap_or(0);
        if logical == 0 {
            return Err(corrupt("directory index: its root as a leaf", u64::from(dir.ino)));
        }
        self.dir_leaf(dir, logical)
    }

    pub(crate) fn find_indexed(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<Spot>> {
        let hash = self.index_hasher(dir)?.hash(name).major;
        let mut frames = self.probe(dir, hash)?;
        for _ in 0..=self.dir_blocks(dir) {
            let (data, block) = self.leaf_of(dir, &frames)?;
            if let Some(found) = entry::find(&data, 0, entry::end(&data), name) {
                return Ok(Some(Spot { block, offset: found.offset, ino: found.ino, kind: found.kind() }));
            }
            // Names with this hash may go on in the next leaf.
            match self.next_leaf(dir, &mut frames)? {
                Some(next) if next == hash | 1 => {}
                _ => break,
            }
        }
        Ok(None)
    }

    pub(crate) fn is_empty_index(&mut self, dir: &Inode) -> Result<bool> {
        let mut frames = self.probe(dir, 0)?;
        for _ in 0..=self.dir_blocks(dir) {
            let (data, _) = self.leaf_of(dir, &frames)?;
            if entry::names(&data).next().is_some() {
                return Ok(false);
            }
            if self.next_leaf(dir, &mut frames)?.is_none() {
                return Ok(true);
            }
        }
        Err(corrupt("directory index: more leaves than blocks", u64::from(dir.ino)))
    }

    /// How many entries fit in a node that begins at `base`.
    fn index_limit(&self, base: usize) -> usize {
        let tail = if self.layout.checksums() { 8 } else { 0 };
        (self.layout.block_size - base - tail) / 8
    }

    /// Makes a directory of one full block a tree with one leaf.
    pub(crate) fn make_index(&mut self, dir: &mut Inode, by: By) -> Result<()> {
        let seed = dir.seed(&self.layout);
        let (data, root) = self.dir_leaf(dir, 0)?;
        let names: Names = entry::names(&data)
            .filter(|e| e.name != b"." && e.name != b"..")
            .map(|e| (e.name.into(), e.ino, e.code))
            .collect();
        let parent = entry::find(&data, 0, entry::end(&data), b"..").map(|e| e.ino);
        let parent = parent.ok_or(corrupt("directory: no parent", u64::from(dir.ino)))?;
        let (logical, leaf) = self.append_dir_block(dir, Kind::Dir(seed), by)?;
        let tail = self.layout.checksums();
        entry::pack(self.edit(leaf, Kind::Dir(seed))?, tail, names.iter().map(|(n, i, c)| (n.as_slice(), *i, *c)));
        let (limit, version) = (self.index_limit(32), self.hasher().version);
        let (code, ino) = (self.entry_code(crate::types::FileType::Directory), dir.ino);
        let data = self.edit_as(root, Kind::Dir(seed), Kind::Index(seed))?;
        data.fill(0);
        entry::write(data, 0, 12, b".", ino, code);
        let rest = data.len() - 12;
        entry::write(data, 12, rest, b"..", parent, code);
        put8(data, 28, version);
        put8(data, 29, 8);
        put16(data, 32, short(limit));
        put16(data, 34, 1);
        put32(data, 36, low32(logical));
        dir.flags.insert(InodeFlags::INDEX);
        Ok(())
    }

    pub(crate) fn add_indexed(&mut self, dir: &mut Inode, name: &[u8], ino: u32, code: u8, by: By) -> Result<()> {
        let seed = dir.seed(&self.layout);
        let hasher = self.index_hasher(dir)?;
        let hash = hasher.hash(name).major;
        for _ in 0..MAX_SPLITS {
            let frames = self.probe(dir, hash)?;
            let (data, block) = self.leaf_of(dir, &frames)?;
            let end = entry::end(&data);
            let need = entry::size_of(name.len());
            let fits = entry::records(&data, 0, end)
                .any(|e| e.length >= need + if e.ino == 0 { 0 } else { entry::size_of(e.name.len()) });
            if fits {
                let data = self.edit(block, Kind::Dir(seed))?;
                entry::insert(data, 0, end, name, ino, code);
                return Ok(());
            }
            if frames.last().is_some_and(|f| f.count() >= f.limit()) {
                self.split_nodes(dir, &frames, by)?;
            } else {
                self.split_leaf(dir, &frames, &data, block, hasher, by)?;
            }
        }
        Err(Error::NoSpace)
    }

    /// Moves the upper half of a leaf's names into a new one.
    fn split_leaf(
        &mut self,
        dir: &mut Inode,
        frames: &[Frame],
        data: &[u8],
        block: u64,
        hasher: Hasher,
        by: By,
    ) -> Result<()> {
        let seed = dir.seed(&self.layout);
        let mut names: Vec<(u32, (Vec<u8>, u32, u8))> =
            entry::names(data).map(|e| (hasher.hash(e.name).major, (e.name.to_vec(), e.ino, e.code))).collect();
        names.sort_by_key(|(hash, _)| *hash);
        if names.len() < 2 {
            return Err(corrupt("directory: a full block of one name", block));
        }
        let total: usize = names.iter().map(|(_, (name, ..))| entry::size_of(name.len())).sum();
        let mut size = 0;
        let half = names.iter().take_while(|(_, (name, ..))| {
            size += entry::size_of(name.len());
            size <= total / 2
        });
        let keep = half.count().clamp(1, names.len() - 1);
        let upper = names.split_off(keep);
        let first = upper.first().map_or(0, |(hash, _)| *hash);
        let continued = names.last().is_some_and(|(hash, _)| *hash == first);
        let (logical, new) = self.append_dir_block(dir, Kind::Dir(seed), by)?;
        let tail = self.layout.checksums();
        let packed = |names: &[(u32, (Vec<u8>, u32, u8))], data: &mut [u8]| {
            entry::pack(data, tail, names.iter().map(|(_, (name, ino, code))| (name.as_slice(), *ino, *code)));
        };
        packed(&upper, self.edit(new, Kind::Dir(seed))?);
        packed(&names, self.edit(block, Kind::Dir(seed))?);
        let Some(frame) = frames.last() else { return Ok(()) };
        let node = self.edit(frame.block, Kind::Index(seed))?;
        insert_entry(node, frame.base, frame.at + 1, first | u32::from(continued), logical);
        Ok(())
    }

    /// Splits the highest full node above a leaf, or adds a level.
    fn split_nodes(&mut self, dir: &mut Inode, frames: &[Frame], by: By) -> Result<()> {
        let seed = dir.seed(&self.layout);
        let limit = self.index_limit(8);
        let Some(roomy) = frames.iter().rposition(|f| f.count() < f.limit()) else {
            if frames.len() > self.max_levels() {
                return Err(Error::NoSpace);
            }
            let Some(root) = frames.first() else { return Ok(()) };
            let (logical, block) = self.append_dir_block(dir, Kind::Index(seed), by)?;
            let size = short(self.layout.block_size);
            let data = self.edit(block, Kind::Index(seed))?;
            put16(data, 4, size);
            fill(data, 8, limit, root.bytes(0, root.count()));
            let data = self.edit(root.block, Kind::Index(seed))?;
            put16(data, root.base + 2, 1);
            put32(data, root.base + 4, low32(logical));
            let levels = u8_at(data, 30);
            put8(data, 30, levels + 1);
            return Ok(());
        };
        let (Some(parent), Some(full)) = (frames.get(roomy), frames.get(roomy + 1)) else { return Ok(()) };
        let keep = full.count() / 2;
        let hash = full.hash(keep);
        let moved = full.bytes(keep, full.count()).to_vec();
        let (logical, block) = self.append_dir_block(dir, Kind::Index(seed), by)?;
        let size = short(self.layout.block_size);
        let data = self.edit(block, Kind::Index(seed))?;
        put16(data, 4, size);
        fill(data, 8, limit, &moved);
        let data = self.edit(full.block, Kind::Index(seed))?;
        put16(data, full.base + 2, short(keep));
        let data = self.edit(parent.block, Kind::Index(seed))?;
        insert_entry(data, parent.base, parent.at + 1, hash, logical);
        Ok(())
    }
}
