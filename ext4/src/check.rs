//! A check of a whole file system: bitmaps against what is reachable, numbers of links, checksums, blocks used twice.
//!
//! It reads every inode in use once, then compares what it counted with what the groups say. It repairs nothing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::bytes::{index, to_u64, to_usize};
use crate::error::{Error, Result};
use crate::fs::Ext4;
use crate::group::{bit, set_bits};
use crate::inode::Inode;
use crate::types::{BlockRange, FileType, Ino, InodeFlags, Progress};

/// More problems than this are counted only.
const MAX_PROBLEMS: usize = 1000;
/// Inodes looked at in one step.
const BATCH: u32 = 256;

/// Something a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What, in words.
    pub text: String,
    /// The inode it is about, if any.
    pub ino: Option<Ino>,
}

/// How far a check is.
#[derive(Debug)]
enum Phase {
    /// The next inode to look at.
    Inodes(Ino),
    /// In a directory, from a position on.
    Names(Ino, u64),
    /// The next group to compare.
    Groups(u32),
    Links,
    Done,
}

/// A check of a whole file system that nobody changes meanwhile: bitmaps against what is reachable, link counts,
/// checksums, overlapping blocks. It finds what `e2fsck -fn` would complain about; it repairs nothing.
#[derive(Debug)]
pub struct Check {
    phase: Phase,
    problems: Vec<Problem>,
    unlisted: u64,
    /// Blocks that somebody has.
    blocks: Vec<u8>,
    /// Inodes in use, and their links as they say.
    inodes: BTreeMap<Ino, (u16, Option<FileType>)>,
    /// Names found for each inode.
    names: BTreeMap<Ino, u32>,
    /// Directories, and those they are in.
    parents: BTreeMap<Ino, Ino>,
    /// Attribute blocks: how many use them, and what they say.
    shared: BTreeMap<u64, (u32, u32)>,
    orphans: BTreeSet<Ino>,
}

impl Check {
    /// Begins.
    pub fn new(fs: &Ext4) -> Self {
        Self {
            phase: Phase::Inodes(1),
            problems: Vec::new(),
            unlisted: 0,
            blocks: vec![0; to_usize(fs.layout.blocks / 8 + 1)],
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            parents: BTreeMap::new(),
            shared: BTreeMap::new(),
            orphans: BTreeSet::new(),
        }
    }

    /// What was found.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems there are besides those listed.
    pub fn more_problems(&self) -> u64 {
        self.unlisted
    }

    fn problem(&mut self, ino: Option<Ino>, text: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { text, ino });
        } else {
            self.unlisted += 1;
        }
    }

    /// Does a part of the work; the usual retry for `Missing`.
    pub fn step(&mut self, fs: &mut Ext4) -> Result<Progress> {
        match self.phase {
            Phase::Inodes(from) => {
                if from == 1 {
                    self.begin(fs)?;
                }
                for ino in from..from.saturating_add(BATCH) {
                    if ino > fs.layout.inodes {
                        self.phase = Phase::Groups(0);
                        return Ok(Progress::More);
                    }
                    // Whatever is missing, this inode is looked at again.
                    self.phase = Phase::Inodes(ino);
                    let is_dir = self.inode(fs, ino)?;
                    self.phase = if is_dir { Phase::Names(ino, 0) } else { Phase::Inodes(ino + 1) };
                    if is_dir {
                        break;
                    }
                }
            }
            Phase::Names(ino, position) => self.read_names(fs, ino, position)?,
            Phase::Groups(number) if number < fs.layout.groups => {
                self.compare(fs, number)?;
                self.phase = Phase::Groups(number + 1);
            }
            Phase::Groups(_) => self.phase = Phase::Links,
            Phase::Links => {
                self.compare_links(fs)?;
                self.phase = Phase::Done;
            }
            Phase::Done => return Ok(Progress::Done),
        }
        Ok(Progress::More)
    }

    /// The file system's own blocks, and its orphans.
    fn begin(&mut self, fs: &mut Ext4) -> Result<()> {
        let orphans = fs.all_orphans()?;
        let mut at = 0;
        while let Some((start, end)) = fs.system.at_or_after(at) {
            set_bits(&mut self.blocks, start, end - start, true);
            at = end;
        }
        self.orphans = orphans;
        Ok(())
    }

    /// An answer, or the problem it shows; misses go on to the caller.
    fn noting<T>(&mut self, ino: Ino, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_retry() => Err(error),
            Err(error) => {
                self.problem(Some(ino), error.to_string());
                Ok(None)
            }
        }
    }

    /// Looks at an inode; whether it is a directory whose names are to be read.
    fn inode(&mut self, fs: &mut Ext4, ino: Ino) -> Result<bool> {
        let (group, within) = fs.inode_place(ino)?;
        let descriptor = fs.group(group)?;
        if fs.layout.lazy_groups() && within >= fs.layout.inodes_per_group - descriptor.unused_inodes {
            return Ok(false);
        }
        let map = fs.inode_bitmap(group);
        let Some(map) = self.noting(ino, map)? else { return Ok(false) };
        let taken = bit(&map, u64::from(within));
        let inode = fs.any_inode(ino);
        let Some(inode) = self.noting(ino, inode)? else { return Ok(false) };
        let used = inode.mode != 0 && (inode.links > 0 || self.orphans.contains(&ino));
        if ino >= fs.layout.first_inode && taken != used {
            let text = if taken { "marked as taken, but not in use" } else { "in use, but not marked as taken" };
            self.problem(Some(ino), text.to_string());
        }
        if !used {
            return Ok(false);
        }
        let Some(kind) = inode.kind() else {
            self.problem(Some(ino), format!("a mode that cannot be: {:o}", inode.mode));
            return Ok(false);
        };
        // All of it is gathered before any of it counts, so that a miss in the middle changes nothing.
        let gathered = gather(fs, &inode);
        let Some(gathered) = self.noting(ino, gathered)? else {
            self.inodes.insert(ino, (inode.links, Some(kind)));
            return Ok(false);
        };
        self.count(fs, &inode, gathered);
        self.inodes.insert(ino, (inode.links, Some(kind)));
        Ok(kind == FileType::Directory)
    }

    /// Marks what an inode has.
    fn count(&mut self, fs: &Ext4, inode: &Inode, gathered: Gathered) {
        let mut total = 0;
        for range in gathered.ranges {
            total += range.count;
            if !fs.is_data(range.start, range.count) {
                self.problem(Some(inode.ino), format!("has blocks that are not for it, from {}", range.start));
                continue;
            }
            let twice = (range.start..range.start + range.count).find(|&block| bit(&self.blocks, block));
            if let Some(block) = twice {
                self.problem(Some(inode.ino), format!("has block {block}, which somebody else has"));
            }
            set_bits(&mut self.blocks, range.start, range.count, true);
        }
        if let Some((block, sharers)) = gathered.attributes {
            total += 1;
            self.shared.entry(block).or_insert((0, sharers)).0 += 1;
            set_bits(&mut self.blocks, block, 1, true);
        }
        let sectors = total << (fs.layout.block_bits - 9);
        if inode.sectors != sectors && inode.ino != RESIZE {
            self.problem(Some(inode.ino), format!("says that it takes {} sectors, and takes {sectors}", inode.sectors));
        }
        let end = fs.layout.blocks_for(inode.size);
        if gathered.written_end > end && inode.kind() == Some(FileType::Regular) {
            self.problem(Some(inode.ino), format!("has blocks beyond its end at {}", inode.size));
        }
    }

    fn read_names(&mut self, fs: &mut Ext4, dir: Ino, position: u64) -> Result<()> {
        let entries = fs.do_read_dir(dir, position, 1024);
        let entries = self.noting(dir, entries)?.unwrap_or_default();
        let Some(last) = entries.last() else {
            self.phase = Phase::Inodes(dir + 1);
            return Ok(());
        };
        self.phase = Phase::Names(dir, last.next);
        for entry in &entries {
            let name = String::from_utf8_lossy(&entry.name);
            if entry.ino == 0 || entry.ino > fs.layout.inodes {
                self.problem(Some(dir), format!("the name {name} leads to inode {}", entry.ino));
                continue;
            }
            *self.names.entry(entry.ino).or_insert(0) += 1;
            match entry.name.as_slice() {
                b"." if entry.ino != dir => self.problem(Some(dir), "its . is another directory".to_string()),
                b"." | b".." => {}
                _ => {
                    if entry.kind.is_none_or(|kind| kind == FileType::Directory) {
                        self.parents.insert(entry.ino, dir);
                    }
                }
            }
        }
        Ok(())
    }

    /// A group's bitmaps and counts.
    fn compare(&mut self, fs: &mut Ext4, number: u32) -> Result<()> {
        let (start, count) = (fs.layout.group_start(number), fs.layout.group_blocks(number));
        let map = fs.block_bitmap(number);
        let inodes = fs.inode_bitmap(number);
        let (map, inodes) = match (map, inodes) {
            (Err(error), _) | (_, Err(error)) if error.is_retry() => return Err(error),
            (Ok(map), Ok(inodes)) => (map, inodes),
            (Err(error), _) | (_, Err(error)) => {
                self.problem(None, format!("group {number}: {error}"));
                return Ok(());
            }
        };
        let wrong: Vec<u64> = (0..count).filter(|&at| bit(&map, at) != bit(&self.blocks, start + at)).collect();
        if let Some(first) = wrong.first() {
            let what = if bit(&map, *first) { "taken, but nobody's" } else { "free, but somebody's" };
            self.problem(
                None,
                format!("group {number}: {} blocks wrong; block {} is {what}", wrong.len(), start + first),
            );
        }
        let free = to_u64((0..count).filter(|&at| !bit(&map, at)).count());
        let group = fs.group(number)?;
        if u64::from(group.free_blocks) != free {
            self.problem(None, format!("group {number}: says {} blocks are free; {free} are", group.free_blocks));
        }
        let per_group = u64::from(fs.layout.inodes_per_group);
        let free = to_u64((0..per_group).filter(|&at| !bit(&inodes, at)).count());
        if u64::from(group.free_inodes) != free {
            self.problem(None, format!("group {number}: says {} inodes are free; {free} are", group.free_inodes));
        }
        let first = number * fs.layout.inodes_per_group + 1;
        let members = self.inodes.range(first..first.saturating_add(fs.layout.inodes_per_group));
        let directories = members.filter(|(_, (_, kind))| *kind == Some(FileType::Directory)).count();
        if index(group.directories) != directories {
            let said = group.directories;
            self.problem(None, format!("group {number}: says it has {said} directories; it has {directories}"));
        }
        Ok(())
    }

    /// Numbers of links, and whether every directory leads to the root.
    fn compare_links(&mut self, fs: &mut Ext4) -> Result<()> {
        let first = fs.layout.first_inode;
        let inodes = core::mem::take(&mut self.inodes);
        for (&ino, &(links, kind)) in &inodes {
            if (ino < first && ino != Ext4::ROOT) || ino == fs.layout.orphan_file {
                continue;
            }
            let found = self.names.get(&ino).copied().unwrap_or(0);
            let is_dir = kind == Some(FileType::Directory);
            let many = is_dir && links == 1 && found > 2;
            if u32::from(links) != found && !many {
                self.problem(Some(ino), format!("says {links} links; there are {found} names"));
            }
            if is_dir && !self.leads_to_root(ino) {
                self.problem(Some(ino), "a directory that is not in the tree".to_string());
            }
        }
        let strangers: Vec<Ino> = self.names.keys().filter(|ino| !inodes.contains_key(ino)).copied().collect();
        for ino in strangers {
            self.problem(Some(ino), "has a name, but is not in use".to_string());
        }
        for (block, (users, said)) in core::mem::take(&mut self.shared) {
            if users != said {
                self.problem(None, format!("attribute block {block}: says {said} use it; {users} do"));
            }
        }
        let (blocks, inodes) = (fs.free_blocks, fs.free_inodes);
        let said = (fs.super64_free_blocks()?, u64::from(fs.super32(crate::superblock::field::FREE_INODES)?));
        // While mounted the superblock's counts lag behind.
        if fs.read_only
            && !fs.unmounted
            && said != (blocks, inodes)
            && fs.redirect.is_empty()
            && !fs.needs_recovery()?
        {
            self.problem(
                None,
                format!("superblock: says {said:?} blocks and inodes are free; {blocks} and {inodes} are"),
            );
        }
        Ok(())
    }

    fn leads_to_root(&self, dir: Ino) -> bool {
        let mut at = dir;
        for _ in 0..=self.parents.len() {
            if at == Ext4::ROOT {
                return true;
            }
            let Some(&parent) = self.parents.get(&at) else { return false };
            at = parent;
        }
        false
    }
}

/// What an inode has.
struct Gathered {
    ranges: Vec<BlockRange>,
    written_end: u64,
    attributes: Option<(u64, u32)>,
}

/// The inode that keeps room for descriptors: what its blocks lead to is the file system's own.
const RESIZE: Ino = 7;

fn gather(fs: &mut Ext4, inode: &Inode) -> Result<Gathered> {
    let mut ranges = Vec::new();
    let mut written_end = 0;
    if inode.ino == RESIZE {
        let start = u64::from(crate::bytes::le32(&inode.root, 13 * 4));
        ranges.extend(Some(BlockRange { start, count: 1 }).filter(|r| r.start != 0));
    } else if inode.has_blocks() {
        let tree = if inode.has(InodeFlags::EXTENTS) {
            crate::extent::node::check_root(&inode.root, u64::from(inode.ino))?;
            fs.extent_tree_blocks(inode)?
        } else {
            fs.pointer_blocks(inode)?
        };
        ranges.extend(tree.into_iter().map(|start| BlockRange { start, count: 1 }));
        let mut at = 0;
        while let Some((logical, range, written)) = fs.content_run(inode, at)? {
            at = logical + range.count;
            if written {
                written_end = at;
            }
            ranges.push(range);
            if to_u64(ranges.len()) > fs.layout.blocks {
                return Err(Error::Invalid);
            }
        }
    }
    let mut attributes = None;
    if inode.xattr_block != 0 {
        attributes = Some((inode.xattr_block, fs.sharers(inode.xattr_block)?));
    }
    Ok(Gathered { ranges, written_end, attributes })
}
