//! Disk images with ext4 on them, made and read without a machine: the crate `aurora-ext4` over a file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aurora_ext4::{
    Allocate, AttributeChange, Attributes, By, Device, Error, Ext4, FileType, Ino, MountOptions, MountStep, Mounting,
    NewInode, Place, Plan, Progress, Step, Timestamp,
};

use super::{Entry, Image};
use crate::cpio::{Member, Owner};

/// Bytes of a file moved at once.
const CHUNK: u64 = 1 << 20;

/// A mounted image. What was changed is on the disk after [`DiskImage::finish`].
pub struct DiskImage {
    file: File,
    ext4: Ext4,
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { sec: since.as_secs().cast_signed(), nsec: since.subsec_nanos() }
}

fn by() -> By {
    By { now: now(), privileged: true }
}

fn carry_out(file: &File, plan: &Plan) -> Result<()> {
    for step in &plan.steps {
        match step {
            Step::Write { block, data } => file.write_all_at(data, block * data.len() as u64)?,
            Step::Flush => file.sync_data()?,
        }
    }
    Ok(())
}

impl DiskImage {
    /// Opens an image; what a crash left in its journal is brought to its place first, or seen through if it is only to
    /// be read.
    pub fn open(path: &Path, read_only: bool) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let locked = if read_only { file.try_lock_shared() } else { file.try_lock() };
        ensure!(locked.is_ok(), "{} is in use by a machine", path.display());
        Self::mount(file, path, read_only)
    }

    fn mount(file: File, path: &Path, read_only: bool) -> Result<Self> {
        let size = file.metadata()?.len();
        let mut mounting = Mounting::new(size, MountOptions { read_only, now: now() });
        let ext4 = loop {
            match mounting.step().map_err(|e| anyhow!("{}: {e}", path.display()))? {
                MountStep::Read { offset, length } => {
                    let mut bytes = vec![0; length.min(size.saturating_sub(offset)) as usize];
                    file.read_exact_at(&mut bytes, offset)?;
                    mounting.supply(offset, &bytes);
                }
                MountStep::CarryOut(plan) => {
                    carry_out(&file, &plan)?;
                    mounting.carried_out();
                }
                MountStep::Done => break mounting.finish().map_err(|e| anyhow!("{}: {e}", path.display()))?,
            }
        };
        Ok(Self { file, ext4 })
    }

    /// Does an operation, bringing in and committing what it needs.
    fn attempt<T>(&mut self, mut operation: impl FnMut(&mut Ext4) -> aurora_ext4::Result<T>) -> Result<T> {
        loop {
            match operation(&mut self.ext4) {
                Ok(value) => {
                    if self.ext4.wants_commit() {
                        self.commit()?;
                    }
                    return Ok(value);
                }
                Err(Error::Missing(want)) => {
                    let size = self.ext4.block_size() as usize;
                    for block in want.block..want.block + u64::from(want.count) {
                        let mut data = vec![0; size];
                        if self.file.read_exact_at(&mut data, block * size as u64).is_err() && block == want.block {
                            bail!("the image ends before its block {block}");
                        }
                        self.ext4.supply(want.epoch, block, data.into());
                    }
                }
                Err(Error::Commit | Error::Busy) => self.commit()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn carry(&mut self, plan: &Plan) -> Result<()> {
        carry_out(&self.file, plan)?;
        self.ext4.carried_out(plan.id);
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        if let Some(plan) = self.attempt_plan(Ext4::begin_commit)? {
            self.carry(&plan)?;
        }
        if let Some(plan) = self.attempt_plan(Ext4::begin_checkpoint)? {
            self.carry(&plan)?;
        }
        Ok(())
    }

    fn attempt_plan(
        &mut self,
        begin: impl FnOnce(&mut Ext4) -> aurora_ext4::Result<Option<Plan>>,
    ) -> Result<Option<Plan>> {
        Ok(begin(&mut self.ext4)?)
    }

    /// Ends the work on it: everything is in its place and the image is clean.
    pub fn finish(mut self) -> Result<()> {
        while let Some(plan) = self.attempt_plan(|ext4| ext4.begin_unmount(now()))? {
            self.carry(&plan)?;
        }
        self.file.sync_all()?;
        Ok(())
    }

    /// The contents of a file, by its path.
    pub fn read_path(&mut self, path: &[u8]) -> Result<Vec<u8>> {
        let mut ino = Ext4::ROOT;
        for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            ino = self.attempt(|ext4| ext4.lookup(ino, name))?.ino;
        }
        let attributes = self.attempt(|ext4| ext4.attributes(ino))?;
        ensure!(attributes.kind == FileType::Regular, "it is not a file");
        self.read(&attributes)
    }

    /// Everything in it, as what archives are made of. Unix sockets are left out: no archive has them.
    pub fn tree(&mut self) -> Result<Image> {
        let mut image = Image::default();
        let mut todo: Vec<(Ino, Vec<u8>)> = vec![(Ext4::ROOT, Vec::new())];
        while let Some((directory, path)) = todo.pop() {
            for (name, ino) in self.names(directory)? {
                let path = if path.is_empty() { name } else { [&path[..], b"/", &name].concat() };
                let attributes = self.attempt(|ext4| ext4.attributes(ino))?;
                let Some(member) = self.member(&attributes)? else { continue };
                if member == Member::Directory {
                    todo.push((ino, path.clone()));
                }
                let owner = Owner { mode: attributes.permissions.into(), uid: attributes.uid, gid: attributes.gid };
                let modified = u32::try_from(attributes.mtime.sec).unwrap_or(0);
                image.entries.insert(path, Entry { owner, modified, member });
            }
        }
        Ok(image)
    }

    fn names(&mut self, directory: Ino) -> Result<Vec<(Vec<u8>, Ino)>> {
        let (mut names, mut position) = (Vec::new(), 0);
        loop {
            let entries = self.attempt(|ext4| ext4.read_dir(directory, position, 1024))?;
            let Some(last) = entries.last() else { return Ok(names) };
            position = last.next;
            names.extend(entries.into_iter().filter(|e| e.name != b"." && e.name != b"..").map(|e| (e.name, e.ino)));
        }
    }

    fn member(&mut self, attributes: &Attributes) -> Result<Option<Member>> {
        let Device { major, minor } = attributes.device;
        Ok(Some(match attributes.kind {
            FileType::Directory => Member::Directory,
            FileType::Regular => Member::File(self.read(attributes)?),
            FileType::Symlink => Member::Link(self.attempt(|ext4| ext4.read_link(attributes.ino))?),
            FileType::CharDevice => Member::Device { major, minor },
            FileType::BlockDevice => Member::BlockDevice { major, minor },
            FileType::Fifo => Member::Pipe,
            FileType::Socket => return Ok(None),
        }))
    }

    fn read(&mut self, attributes: &Attributes) -> Result<Vec<u8>> {
        let ino = attributes.ino;
        if let Some(bytes) = self.attempt(|ext4| ext4.read_inline(ino))? {
            return Ok(bytes);
        }
        let size = u64::from(self.ext4.block_size());
        let mut bytes = vec![0; usize::try_from(attributes.size)?];
        let (mut at, end) = (0, attributes.size.div_ceil(size));
        while at < end {
            for run in self.attempt(|ext4| ext4.map(ino, at, end - at))? {
                let from = (run.logical * size) as usize;
                let to = bytes.len().min(((run.logical + run.count) * size) as usize);
                if let (Place::Blocks(block), Some(part)) = (run.place, bytes.get_mut(from..to)) {
                    self.file.read_exact_at(part, block * size)?;
                }
                at = run.logical + run.count;
            }
        }
        Ok(bytes)
    }

    /// Puts everything of `tree` into it. What is there already and is no directory is replaced.
    pub fn add(&mut self, tree: &Image) -> Result<()> {
        for (path, entry) in &tree.entries {
            self.put(path, entry).with_context(|| format!("/{}", String::from_utf8_lossy(path)))?;
        }
        Ok(())
    }

    fn put(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        let mut directory = Ext4::ROOT;
        let mut names = path.split(|&b| b == b'/').peekable();
        let name = loop {
            let Some(name) = names.next() else { return Ok(()) };
            if names.peek().is_none() {
                break name;
            }
            directory = match self.attempt(|ext4| found(ext4.lookup(directory, name).map(|found| found.ino)))? {
                Some(ino) => ino,
                None => self.make(directory, name, FileType::Directory, 0o755, &[])?.ino,
            };
        };
        if let Some(ino) = self.attempt(|ext4| found(ext4.lookup(directory, name).map(|found| found.ino)))? {
            let kind = self.attempt(|ext4| ext4.attributes(ino))?.kind;
            if kind == FileType::Directory && entry.member == Member::Directory {
                return self.own(ino, entry);
            }
            ensure!(kind != FileType::Directory, "is a directory in the image");
            let gone = self.attempt(|ext4| ext4.unlink(directory, name, by()))?;
            while gone.links == 0 && self.attempt(|ext4| ext4.evict(gone.ino, by()))? == Progress::More {}
        }
        let mode = entry.owner.mode as u16 & 0o7777;
        let ino = match &entry.member {
            Member::Directory => self.make(directory, name, FileType::Directory, mode, &[])?.ino,
            Member::Link(target) => self.make(directory, name, FileType::Symlink, 0o777, target)?.ino,
            Member::Pipe => self.make(directory, name, FileType::Fifo, mode, &[])?.ino,
            Member::Device { major, minor } => {
                self.node(directory, name, FileType::CharDevice, mode, (*major, *minor))?
            }
            Member::BlockDevice { major, minor } => {
                self.node(directory, name, FileType::BlockDevice, mode, (*major, *minor))?
            }
            Member::File(bytes) => {
                let ino = self.make(directory, name, FileType::Regular, mode, &[])?.ino;
                self.write(ino, bytes)?;
                ino
            }
        };
        self.own(ino, entry)
    }

    fn make(&mut self, dir: Ino, name: &[u8], kind: FileType, permissions: u16, target: &[u8]) -> Result<Attributes> {
        let device = Device { major: 0, minor: 0 };
        let new = NewInode { kind, permissions, uid: 0, gid: 0, device, target, xattrs: &[] };
        self.attempt(|ext4| ext4.create(dir, name, &new, by()))
    }

    fn node(
        &mut self,
        dir: Ino,
        name: &[u8],
        kind: FileType,
        permissions: u16,
        (major, minor): (u32, u32),
    ) -> Result<Ino> {
        let device = Device { major, minor };
        let new = NewInode { kind, permissions, uid: 0, gid: 0, device, target: &[], xattrs: &[] };
        Ok(self.attempt(|ext4| ext4.create(dir, name, &new, by()))?.ino)
    }

    fn own(&mut self, ino: Ino, entry: &Entry) -> Result<()> {
        let time = Timestamp { sec: entry.modified.into(), nsec: 0 };
        let change = AttributeChange {
            permissions: (!matches!(entry.member, Member::Link(_))).then_some(entry.owner.mode as u16 & 0o7777),
            uid: Some(entry.owner.uid),
            gid: Some(entry.owner.gid),
            mtime: Some(time),
            ..AttributeChange::default()
        };
        self.attempt(|ext4| ext4.set_attributes(ino, &change))
    }

    fn write(&mut self, ino: Ino, bytes: &[u8]) -> Result<()> {
        let size = u64::from(self.ext4.block_size());
        for (number, chunk) in bytes.chunks(CHUNK as usize).enumerate() {
            let start = number as u64 * CHUNK;
            let (mut at, end) = (start / size, (start + chunk.len() as u64).div_ceil(size));
            while at < end {
                let room = self.attempt(|ext4| ext4.map_for_write(ino, at, end - at, Allocate::Written, by()))?;
                let Place::Blocks(block) = room.run.place else { bail!("no blocks for a file") };
                let from = (at * size - start) as usize;
                let to = chunk.len().min(from + (room.run.count * size) as usize);
                let mut part = chunk[from..to].to_vec();
                part.resize((room.run.count * size) as usize, 0);
                self.file.write_all_at(&part, block * size)?;
                at += room.run.count;
            }
        }
        self.attempt(|ext4| ext4.grow(ino, bytes.len() as u64, by()))
    }
}

/// Nothing found is an answer.
fn found<T>(result: aurora_ext4::Result<T>) -> aurora_ext4::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
