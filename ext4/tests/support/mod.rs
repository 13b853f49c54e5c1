//! A host for the file system under test: a device in memory or in a file, and the loop that reads what is missing and
//! carries out plans. And the oracle, e2fsprogs.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

pub mod model;
pub mod oracle;
pub mod random;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use aurora_ext4::*;

/// What mke2fs is told: name, arguments.
pub const KINDS: [(&str, &[&str]); 15] = [
    ("ext2, 1 KiB", &["-t", "ext2", "-b", "1024"]),
    ("ext2, 4 KiB, revision 0 inodes", &["-t", "ext2", "-b", "4096", "-I", "128"]),
    ("ext2 without any feature", &["-t", "ext2", "-b", "1024", "-O", "none"]),
    ("ext3, 2 KiB", &["-t", "ext3", "-b", "2048"]),
    ("ext4, 1 KiB", &["-t", "ext4", "-b", "1024"]),
    ("ext4, 2 KiB", &["-t", "ext4", "-b", "2048"]),
    ("ext4, 4 KiB", &["-t", "ext4", "-b", "4096"]),
    ("ext4 with all that is new", &["-t", "ext4", "-b", "4096", "-O", "metadata_csum_seed,orphan_file,large_dir"]),
    ("ext4 with inline data", &["-t", "ext4", "-b", "4096", "-O", "inline_data", "-I", "512"]),
    ("ext4, 1 KiB with inline data", &["-t", "ext4", "-b", "1024", "-O", "inline_data"]),
    ("ext4 with uninit_bg in place of checksums", &["-t", "ext4", "-b", "4096", "-O", "^metadata_csum,uninit_bg"]),
    ("ext4 with meta_bg", &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"]),
    ("ext4 with sparse_super2", &["-t", "ext4", "-b", "4096", "-O", "sparse_super2,^resize_inode"]),
    ("ext4 with projects", &["-t", "ext4", "-b", "4096", "-O", "project"]),
    ("ext4 without 64bit, flex_bg and journal", &["-t", "ext4", "-b", "4096", "-O", "^64bit,^flex_bg,^has_journal"]),
];

/// What was done to a device.
#[derive(Clone, Debug)]
pub enum Record {
    Write {
        offset: u64,
        data: Block,
    },
    Flush,
    /// A mark of the test's, to tell what was promised by then.
    Mark(u64),
}

enum Backing {
    Memory(Vec<u8>),
    File(File),
}

/// A device.
pub struct Disk {
    backing: Backing,
    pub bytes: u64,
    pub record: Option<Vec<Record>>,
    /// The write after so many fails, and all later ones.
    pub writes_left: Option<u64>,
}

impl Disk {
    pub fn memory(data: Vec<u8>) -> Self {
        let bytes = data.len() as u64;
        Self { backing: Backing::Memory(data), bytes, record: None, writes_left: None }
    }
    pub fn file(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let bytes = file.metadata().unwrap().len();
        Self { backing: Backing::File(file), bytes, record: None, writes_left: None }
    }
    pub fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        let length = length.min(self.bytes.saturating_sub(offset)) as usize;
        match &self.backing {
            Backing::Memory(data) => data[offset as usize..offset as usize + length].to_vec(),
            Backing::File(file) => {
                let mut data = vec![0; length];
                file.read_exact_at(&mut data, offset).unwrap();
                data
            }
        }
    }
    pub fn write(&mut self, offset: u64, data: &[u8]) -> bool {
        if let Some(left) = &mut self.writes_left {
            if *left == 0 {
                return false;
            }
            *left -= 1;
        }
        if let Some(record) = &mut self.record {
            record.push(Record::Write { offset, data: Arc::from(data) });
        }
        match &mut self.backing {
            Backing::Memory(all) => all[offset as usize..offset as usize + data.len()].copy_from_slice(data),
            Backing::File(file) => file.write_all_at(data, offset).unwrap(),
        }
        true
    }
    pub fn flush(&mut self) {
        if let Some(record) = &mut self.record {
            record.push(Record::Flush);
        }
    }
    pub fn mark(&mut self, mark: u64) {
        if let Some(record) = &mut self.record {
            record.push(Record::Mark(mark));
        }
    }
    pub fn into_memory(self) -> Vec<u8> {
        match self.backing {
            Backing::Memory(data) => data,
            Backing::File(_) => self.read(0, self.bytes),
        }
    }
}

/// A mounted file system and its device.
pub struct Host {
    pub fs: Ext4,
    pub disk: Disk,
    pub now: i64,
    /// What the file system held after each commit, if that is recorded. The device gets a mark for each.
    pub moments: Option<Vec<model::Model>>,
}

pub const NEW_FILE: NewInode<'static> = NewInode {
    kind: FileType::Regular,
    permissions: 0o644,
    uid: 1000,
    gid: 1000,
    device: Device { major: 0, minor: 0 },
    target: b"",
    xattrs: &[],
};
pub const NEW_DIR: NewInode<'static> = NewInode { kind: FileType::Directory, permissions: 0o755, ..NEW_FILE };

/// Mounts, carrying out what mounting asks for.
pub fn try_mount(mut disk: Disk, read_only: bool) -> (Disk, Result<Ext4>) {
    let options = MountOptions { read_only, now: Timestamp { sec: 1_700_000_000, nsec: 0 } };
    let mut mounting = Mounting::new(disk.bytes, options);
    for _ in 0..1_000_000 {
        match mounting.step() {
            Ok(MountStep::Read { offset, length }) => {
                let data = disk.read(offset, length);
                mounting.supply(offset, &data);
            }
            Ok(MountStep::CarryOut(plan)) => {
                assert!(!read_only, "a read-only mount writes");
                carry_out(&mut disk, 1024.max(block_size_of(&plan)), &plan);
                mounting.carried_out();
            }
            Ok(MountStep::Done) => return (disk, mounting.finish()),
            Err(error) => return (disk, Err(error)),
        }
    }
    panic!("mounting does not end");
}

fn block_size_of(plan: &Plan) -> u64 {
    plan.steps
        .iter()
        .find_map(|s| if let Step::Write { data, .. } = s { Some(data.len() as u64) } else { None })
        .unwrap_or(0)
}

/// Does what a plan says; false if the device failed.
pub fn carry_out(disk: &mut Disk, block_size: u64, plan: &Plan) -> bool {
    for step in &plan.steps {
        match step {
            Step::Write { block, data } => {
                assert_eq!(data.len() as u64, block_size);
                if !disk.write(block * block_size, data) {
                    return false;
                }
            }
            Step::Flush => disk.flush(),
        }
    }
    true
}

impl Host {
    pub fn mount(disk: Disk) -> Self {
        let (disk, fs) = try_mount(disk, false);
        Self { fs: fs.unwrap(), disk, now: 1_700_000_000, moments: None }
    }
    pub fn mount_read_only(disk: Disk) -> Self {
        let (disk, fs) = try_mount(disk, true);
        Self { fs: fs.unwrap(), disk, now: 1_700_000_000, moments: None }
    }
    pub fn by(&mut self) -> By {
        self.now += 1;
        By { now: Timestamp { sec: self.now, nsec: (self.now as u32 * 7919) % 1_000_000_000 }, privileged: true }
    }
    pub fn block_size(&self) -> u64 {
        u64::from(self.fs.block_size())
    }

    /// The loop around every operation.
    pub fn run<T>(&mut self, mut operation: impl FnMut(&mut Ext4) -> Result<T>) -> Result<T> {
        for _ in 0..100_000 {
            match operation(&mut self.fs) {
                Err(Error::Missing(want)) => self.supply(want),
                Err(Error::Commit) => self.commit(),
                result => return result,
            }
        }
        panic!("an operation does not end");
    }

    fn supply(&mut self, want: Want) {
        let size = self.block_size();
        let data = self.disk.read(want.block * size, u64::from(want.count) * size);
        for (number, block) in data.chunks_exact(size as usize).enumerate() {
            self.fs.supply(want.epoch, want.block + number as u64, Arc::from(block));
        }
    }

    pub fn carry_out(&mut self, plan: Plan) {
        let size = self.block_size();
        if carry_out(&mut self.disk, size, &plan) {
            self.fs.carried_out(plan.id);
        } else {
            self.fs.failed(plan.id);
        }
    }
    pub fn commit(&mut self) {
        let plan = match self.fs.begin_commit() {
            // There may be no room before the check-point on its way has ended.
            Err(Error::Busy) => return,
            plan => plan.unwrap(),
        };
        let Some(plan) = plan else { return };
        self.carry_out(plan);
        if let Some(mut moments) = self.moments.take() {
            moments.push(model::Model::read(self).unwrap());
            self.disk.mark(moments.len() as u64 - 1);
            self.moments = Some(moments);
        }
    }
    /// A check-point; every second time a commit begins and ends in the middle of it.
    pub fn checkpoint(&mut self) {
        let Some(mut plan) = self.fs.begin_checkpoint().unwrap() else { return };
        let size = self.block_size();
        if self.now % 2 == 0 {
            let rest = plan.steps.split_off(self.now as usize % plan.steps.len());
            if !carry_out(&mut self.disk, size, &plan) {
                return self.fs.failed(plan.id);
            }
            plan.steps = rest;
            self.commit();
        }
        self.carry_out(plan);
    }
    /// What a caller does now and then.
    pub fn housekeeping(&mut self) {
        if self.fs.wants_commit() {
            self.commit();
        }
        if self.fs.wants_checkpoint() {
            self.checkpoint();
        }
    }
    pub fn unmount(mut self) -> Disk {
        let now = self.by().now;
        while let Some(plan) = self.run(|fs| fs.begin_unmount(now)).unwrap() {
            self.carry_out(plan);
        }
        self.disk
    }

    // Files by path.

    pub fn find(&mut self, path: &str) -> Result<Ino> {
        let mut ino = Ext4::ROOT;
        for name in path.split('/').filter(|n| !n.is_empty()) {
            ino = self.run(|fs| fs.lookup(ino, name.as_bytes()))?.ino;
        }
        Ok(ino)
    }
    pub fn parent<'a>(&mut self, path: &'a str) -> Result<(Ino, &'a str)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.find(dir)?, name))
    }
    pub fn make(&mut self, path: &str, new: &NewInode<'_>) -> Result<Ino> {
        let (dir, name) = self.parent(path)?;
        let by = self.by();
        let ino = self.run(|fs| fs.create(dir, name.as_bytes(), new, by))?.ino;
        self.housekeeping();
        Ok(ino)
    }
    pub fn unlink(&mut self, path: &str) -> Result<()> {
        let (dir, name) = self.parent(path)?;
        let by = self.by();
        let gone = self.run(|fs| fs.unlink(dir, name.as_bytes(), by))?;
        self.evict(gone)
    }
    pub fn rmdir(&mut self, path: &str) -> Result<()> {
        let (dir, name) = self.parent(path)?;
        let by = self.by();
        let gone = self.run(|fs| fs.remove_dir(dir, name.as_bytes(), by))?;
        self.evict(gone)
    }
    pub fn rename(&mut self, from: &str, to: &str, how: Rename) -> Result<()> {
        let (from_dir, from) = self.parent(from)?;
        let (to_dir, to) = self.parent(to)?;
        let by = self.by();
        let gone = self.run(|fs| fs.rename((from_dir, from.as_bytes()), (to_dir, to.as_bytes()), how, by))?;
        self.housekeeping();
        gone.map_or(Ok(()), |gone| self.evict(gone))
    }
    pub fn evict(&mut self, gone: Unlinked) -> Result<()> {
        if gone.links == 0 {
            let by = self.by();
            while self.run(|fs| fs.evict(gone.ino, by))? == Progress::More {
                self.housekeeping();
            }
        }
        self.housekeeping();
        Ok(())
    }

    pub fn write(&mut self, ino: Ino, offset: u64, data: &[u8]) -> Result<()> {
        self.write_as(ino, offset, data, Allocate::Written)
    }

    /// Writes as a page cache would: whole blocks, what was not there as zeros.
    pub fn write_as(&mut self, ino: Ino, offset: u64, data: &[u8], how: Allocate) -> Result<()> {
        let by = self.by();
        if let Some(inline) = self.run(|fs| fs.take_inline(ino, by))? {
            self.write_blocks(ino, 0, &inline, how, inline.len() as u64)?;
        }
        let old = self.run(|fs| fs.attributes(ino))?.size;
        let written = self.write_blocks(ino, offset, data, how, old);
        if written.is_err() {
            // Blocks that were found before there was no more room.
            let now = self.run(|fs| fs.attributes(ino))?.size;
            self.truncate(ino, now)?;
        }
        self.housekeeping();
        written
    }

    fn write_blocks(&mut self, ino: Ino, offset: u64, data: &[u8], how: Allocate, old_size: u64) -> Result<()> {
        let size = self.block_size();
        let by = self.by();
        let (mut at, end) = (offset / size, (offset + data.len() as u64).div_ceil(size));
        while at < end {
            let got = self.run(|fs| fs.map_and_grow(ino, at, end - at, offset + data.len() as u64, how, by))?;
            let (start, unwritten) = match got.run.place {
                Place::Blocks(start) => (start, false),
                Place::Unwritten(start) => (start, true),
                Place::Hole => panic!("a hole to write to"),
            };
            let mut buffer = vec![0; (got.run.count * size) as usize];
            let from = at * size;
            if !got.fresh && !unwritten {
                buffer = self.disk.read(start * size, got.run.count * size);
                // Beyond the end of the file is whatever was there.
                let valid = old_size.saturating_sub(from).min(buffer.len() as u64) as usize;
                buffer[valid..].fill(0);
            }
            for (number, byte) in buffer.iter_mut().enumerate() {
                let place = from + number as u64;
                if place >= offset && place < offset + data.len() as u64 {
                    *byte = data[(place - offset) as usize];
                }
            }
            self.disk.write(start * size, &buffer);
            if unwritten {
                self.run(|fs| fs.written_and_grow(ino, at, got.run.count, offset + data.len() as u64, by))?;
            }
            at += got.run.count;
        }
        Ok(())
    }

    pub fn read(&mut self, ino: Ino, offset: u64, length: u64) -> Result<Vec<u8>> {
        let file_size = self.run(|fs| fs.attributes(ino))?.size;
        let end = file_size.min(offset + length);
        if let Some(inline) = self.run(|fs| fs.read_inline(ino))? {
            return Ok(inline[offset.min(end) as usize..end as usize].to_vec());
        }
        let size = self.block_size();
        let mut out = Vec::new();
        let (mut at, last) = (offset / size, end.div_ceil(size));
        while at < last {
            let runs = self.run(|fs| fs.map(ino, at, last - at))?;
            for run in runs {
                assert_eq!(run.logical, at);
                assert!(run.count > 0);
                let count = run.count.min(last - at);
                match run.place {
                    Place::Blocks(start) => out.extend(self.disk.read(start * size, count * size)),
                    _ => out.resize(out.len() + (count * size) as usize, 0),
                }
                at += count;
            }
        }
        let skip = (offset % size) as usize;
        out.truncate((end.saturating_sub(offset / size * size)) as usize);
        Ok(out.split_off(skip.min(out.len())))
    }
    pub fn read_all(&mut self, ino: Ino) -> Result<Vec<u8>> {
        self.read(ino, 0, u64::MAX / 2)
    }

    pub fn truncate(&mut self, ino: Ino, length: u64) -> Result<()> {
        let by = self.by();
        if let Some(inline) = self.run(|fs| fs.take_inline(ino, by))? {
            self.write_blocks(ino, 0, &inline, Allocate::Written, inline.len() as u64)?;
        }
        let old = self.run(|fs| fs.attributes(ino))?.size;
        let size = self.block_size();
        // The rest of the last block reads as zeros should the file grow again.
        let edge = length.min(old);
        if edge % size != 0 {
            let run = self.run(|fs| fs.map(ino, edge / size, 1))?[0];
            if let Place::Blocks(start) = run.place {
                let mut data = self.disk.read(start * size, size);
                data[(edge % size) as usize..].fill(0);
                self.disk.write(start * size, &data);
            }
        }
        while self.run(|fs| fs.truncate(ino, length, by))? == Progress::More {
            self.housekeeping();
        }
        self.housekeeping();
        Ok(())
    }

    pub fn list(&mut self, dir: Ino, batch: u64) -> Result<Vec<DirEntry>> {
        let mut all = Vec::new();
        let mut position = 0;
        loop {
            let part = self.run(|fs| fs.read_dir(dir, position, batch))?;
            let Some(last) = part.last() else { return Ok(all) };
            assert!(last.next > position, "reading a directory does not go on");
            position = last.next;
            all.extend(part);
        }
    }
}
