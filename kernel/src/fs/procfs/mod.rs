//! procfs, proc(5): the system and its processes as files whose text is made when they are read.

mod block;
mod disks;
mod locks;
mod memory;
mod mounts;
mod namespace;
mod process;
mod status;
mod sys;
mod sysrq;
mod system;
mod text;

pub(crate) use memory::maps_of;
pub use namespace::{CLONE_NEWUSER, Namespace, namespace_of};

use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use aurora_abi::Errno;
use aurora_abi::types::{Statfs, Timespec};

use crate::Kernel;
use crate::memory::AddressSpace;
use crate::task::trace::may_look;
use crate::task::{Pid, Process, Thread};
use crate::vfs::inode::{DeviceId, NewInode};
use crate::vfs::{AttributeChange, DirEntry, Fd, FileKind, FileOps, Inode, Metadata, PathRef};
use process::Entry;
use text::{Source, TextFile, Writer};

/// The device numbers of procfs and sysfs.
const DEV: u64 = 5;
const SYS_DEV: u64 = 6;

/// Makes a file's text.
type SystemText = fn(&Kernel) -> Vec<u8>;
/// Takes what was written to a file.
type SetSystem = fn(&Kernel, &[u8]) -> Result<(), Errno>;
type ProcessText = fn(&Subject) -> Result<Vec<u8>, Errno>;
type SetProcess = fn(&Subject, &[u8]) -> Result<(), Errno>;

/// The root of a procfs.
pub fn root(kernel: &Arc<Kernel>) -> Arc<dyn Inode> {
    Arc::new(ProcInode { kernel: Arc::downgrade(kernel), dev: DEV, node: Node::Root })
}

/// The root of a sysfs, sysfs(5): directories of fixed files, which are procfs's too.
pub fn sysfs_root(kernel: &Arc<Kernel>) -> Arc<dyn Inode> {
    Arc::new(ProcInode { kernel: Arc::downgrade(kernel), dev: SYS_DEV, node: Node::Directory(sys::SYSFS) })
}

struct ProcInode {
    kernel: Weak<Kernel>,
    dev: u64,
    node: Node,
}

/// Whose files: a process's, or one thread's of it.
#[derive(Clone, Copy)]
struct Who {
    pid: Pid,
    tid: Option<Pid>,
}

/// A process, or one of its threads, that a file is about.
#[derive(Clone)]
pub struct Subject {
    process: Arc<Process>,
    thread: Option<Arc<Thread>>,
    /// The memory it had when the file was opened, for files about that: another program's is not theirs to show.
    memory: Option<Weak<AddressSpace>>,
}

impl Subject {
    /// The thread; of a process, its first.
    fn thread(&self) -> Result<Arc<Thread>, Errno> {
        let first = || self.process.threads.lock().first().cloned();
        self.thread.clone().or_else(first).ok_or(Errno::ENOENT)
    }
    /// The same for a file about the memory it has now.
    fn bound(mut self) -> Self {
        self.memory = Some(self.process.space().as_ref().map_or_else(Weak::new, Arc::downgrade));
        self
    }
    /// The memory; none once nobody uses it.
    fn space(&self) -> Option<Arc<AddressSpace>> {
        self.memory.as_ref().map_or_else(|| self.process.space(), Weak::upgrade)
    }
    fn number(&self) -> i32 {
        self.thread.as_ref().map_or(self.process.pid.0, |t| t.tid().0)
    }
    fn name(&self) -> Vec<u8> {
        self.thread.as_ref().map_or_else(|| self.process.name(), |t| t.name())
    }
}

/// What an inode of procfs is.
#[derive(Clone, Copy)]
enum Node {
    Root,
    /// A directory of fixed files.
    Directory(&'static [(&'static str, Node)]),
    Text(SystemText),
    /// Text the superuser can change.
    Setting(SystemText, SetSystem),
    /// `/proc/sysrq-trigger`.
    SysRq,
    /// Something of a disk.
    Block(block::Block),
    /// A link to this text.
    Link(&'static str),
    /// `/proc/self`: depends on who asks, so it is resolved by number.
    SelfLink(SelfKind),
    Process(Who),
    /// One of the names in a process's directory.
    Entry(Who, Entry),
    Descriptor(Who, Fd),
    DescriptorInfo(Who, Fd),
    Namespace(Who, usize),
}

#[derive(Clone, Copy)]
enum SelfKind {
    Process,
    Thread,
}

impl Node {
    fn mode(self) -> u32 {
        match self {
            Self::Root | Self::Directory(_) | Self::Process(_) => FileKind::Directory.bits() | 0o555,
            Self::Text(_) => FileKind::Regular.bits() | 0o444,
            Self::Setting(..) => FileKind::Regular.bits() | 0o644,
            Self::SysRq => FileKind::Regular.bits() | 0o200,
            Self::Block(block) => block.mode(),
            Self::Entry(_, entry) => entry.mode(),
            Self::DescriptorInfo(..) => FileKind::Regular.bits() | 0o400,
            Self::Link(_) | Self::SelfLink(_) | Self::Namespace(..) => FileKind::Symlink.bits() | 0o777,
            Self::Descriptor(..) => FileKind::Symlink.bits() | 0o700,
        }
    }

    fn who(self) -> Option<Who> {
        match self {
            Self::Process(who)
            | Self::Entry(who, _)
            | Self::Descriptor(who, _)
            | Self::DescriptorInfo(who, _)
            | Self::Namespace(who, _) => Some(who),
            _ => None,
        }
    }

    /// Whether only those see it who may look into the process.
    fn is_private(self) -> bool {
        matches!(
            self,
            Self::Entry(
                _,
                Entry::Private(..) | Entry::OfMemory(..) | Entry::Memory | Entry::Place(_) | Entry::Descriptors
            ) | Self::Descriptor(..)
                | Self::DescriptorInfo(..)
                | Self::Namespace(..)
        )
    }
}

impl ProcInode {
    fn kernel(&self) -> Result<Arc<Kernel>, Errno> {
        self.kernel.upgrade().ok_or(Errno::ENOENT)
    }

    fn subject(&self, who: Who) -> Result<Subject, Errno> {
        let process = self.kernel()?.processes.process(who.pid).ok_or(Errno::ENOENT)?;
        let thread = match who.tid {
            None => None,
            Some(tid) => {
                let found = process.threads.lock().iter().find(|t| t.tid() == tid).cloned();
                Some(found.ok_or(Errno::ENOENT)?)
            }
        };
        Ok(Subject { process, thread, memory: None })
    }

    /// `errno` unless whoever runs now may look into the process.
    fn may_look(&self, subject: &Subject, errno: Errno) -> Result<(), Errno> {
        if !self.node.is_private() {
            return Ok(());
        }
        let kernel = self.kernel()?;
        let asking = kernel.current().and_then(|(pid, _)| kernel.processes.process(pid));
        asking.map_or(Ok(()), |asking| may_look(&asking, &subject.process).map_err(|_| errno))
    }

    fn child(&self, node: Node) -> Arc<dyn Inode> {
        Arc::new(Self { kernel: self.kernel.clone(), dev: self.dev, node })
    }

    /// Fixed names of a directory.
    fn fixed(&self) -> &'static [(&'static str, Node)] {
        match self.node {
            Node::Root => system::ROOT,
            Node::Directory(entries) => entries,
            _ => &[],
        }
    }

    /// All names of a directory in order.
    fn names(&self) -> Result<Vec<(Vec<u8>, Node)>, Errno> {
        let mut names: Vec<(Vec<u8>, Node)> = Vec::new();
        names.extend(self.fixed().iter().map(|(name, node)| (name.as_bytes().to_vec(), *node)));
        let number = |n: i32| format!("{n}").into_bytes();
        match self.node {
            Node::Root => {
                let processes = self.kernel()?.processes.processes();
                let node = |pid| Node::Process(Who { pid, tid: None });
                names.extend(processes.iter().map(|p| (number(p.pid.0), node(p.pid))));
            }
            Node::Process(who) => {
                names.extend(entries_of(who).map(|(name, entry)| (name.as_bytes().to_vec(), Node::Entry(who, *entry))))
            }
            Node::Entry(who, Entry::Tasks) => {
                let threads = self.subject(who)?.process.threads.lock().clone();
                let node = |tid| Node::Process(Who { tid: Some(tid), ..who });
                names.extend(threads.iter().map(|t| (number(t.tid().0), node(t.tid()))));
            }
            Node::Entry(who, entry @ (Entry::Descriptors | Entry::DescriptorInfos)) => {
                let infos = matches!(entry, Entry::DescriptorInfos);
                let node = |fd| if infos { Node::DescriptorInfo(who, fd) } else { Node::Descriptor(who, fd) };
                let fds = process::files(&self.subject(who)?)?.open_fds();
                names.extend(fds.into_iter().map(|fd| (number(fd.0), node(fd))));
            }
            Node::Entry(who, Entry::Namespaces) => {
                let kinds = namespace::KINDS.iter().enumerate();
                names.extend(kinds.map(|(i, k)| (k.name.as_bytes().to_vec(), Node::Namespace(who, i))));
            }
            Node::Block(block) => names.extend(block.names(&*self.kernel()?)?),
            _ => {}
        }
        Ok(names)
    }

    /// A number that stays the same while the thing is there.
    fn number(&self) -> u64 {
        let who = self.node.who();
        let owner = who.map_or(0, |w| u64::from(w.tid.unwrap_or(w.pid).0.cast_unsigned()));
        let is_task = u64::from(who.is_some_and(|w| w.tid.is_some()));
        let place = |entry: Entry| {
            let same = |(_, other): &(&str, Entry)| core::mem::discriminant(other) == core::mem::discriminant(&entry);
            process::ENTRIES.iter().position(same).unwrap_or(0) as u64
        };
        let low = match self.node {
            Node::Root => 1,
            Node::Process(_) => 2,
            Node::Entry(_, entry) => 16 + entry.number().unwrap_or_else(|| place(entry)),
            Node::Namespace(_, kind) => 100 + kind as u64,
            Node::Descriptor(_, fd) => 1000 + 2 * u64::from(fd.0.cast_unsigned()),
            Node::DescriptorInfo(_, fd) => 1001 + 2 * u64::from(fd.0.cast_unsigned()),
            Node::Text(text) | Node::Setting(text, _) => 0xf000_0000 + (text as usize as u64 & 0xfff_ffff),
            Node::Directory(entries) => 0xe000_0000 + (entries.as_ptr().addr() as u64 & 0xfff_ffff),
            Node::Link(text) => 0xd000_0000 + (text.as_ptr().addr() as u64 & 0xfff_ffff),
            Node::SelfLink(kind) => 3 + kind as u64,
            Node::SysRq => 5,
            Node::Block(block) => block.number(),
        };
        owner << 32 | is_task << 31 | low
    }
}

/// Names in the directory of a process, or of a thread, which has no `task` of its own.
fn entries_of(who: Who) -> impl Iterator<Item = &'static (&'static str, Entry)> {
    process::ENTRIES.iter().filter(move |(_, entry)| who.tid.is_none() || !matches!(entry, Entry::Tasks))
}

fn parse_number(name: &[u8]) -> Option<i32> {
    let text = core::str::from_utf8(name).ok()?;
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

impl Inode for ProcInode {
    fn metadata(&self) -> Metadata {
        let now = self.kernel.upgrade().map(|k| k.now()).unwrap_or_default();
        let subject = self.node.who().and_then(|who| self.subject(who).ok());
        let process = subject.map(|s| s.process);
        // What others must not look into belongs to the superuser, but for the directory itself.
        let hidden = process.as_ref().is_some_and(|p| p.dumpable() != 1) && !matches!(self.node, Node::Process(_));
        let owner = process.filter(|_| !hidden).map(|p| p.credentials());
        Metadata {
            dev: self.dev,
            ino: self.number(),
            mode: self.node.mode(),
            nlink: if self.node.mode() & FileKind::MASK == FileKind::Directory.bits() { 2 } else { 1 },
            uid: owner.as_ref().map_or(0, |c| c.euid),
            gid: owner.as_ref().map_or(0, |c| c.egid),
            rdev: DeviceId::default(),
            size: 0,
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> Statfs {
        let kind = if self.dev == DEV { 0x9fa0 } else { 0x6265_6572 };
        Statfs { kind, bsize: 4096, frsize: 4096, namelen: 255, ..Statfs::default() }
    }

    fn names_are_stable(&self) -> bool {
        false
    }

    /// A name that is not there cannot come to be: looking it up is what fails.
    fn create(&self, _: &[u8], _: &NewInode<'_>) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::ENOENT)
    }

    fn change(&self, _: &AttributeChange) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        if let Some((_, node)) = self.fixed().iter().find(|(n, _)| n.as_bytes() == name) {
            return Ok(self.child(*node));
        }
        let node = match self.node {
            Node::Root => {
                let pid = Pid(parse_number(name).ok_or(Errno::ENOENT)?);
                let kernel = self.kernel()?;
                let leader = kernel.processes.process(pid);
                // A thread's number leads to its process, though no listing shows it.
                let pid = match leader {
                    Some(process) => process.pid,
                    None => kernel.processes.thread(pid).ok_or(Errno::ENOENT)?.process.pid,
                };
                Node::Process(Who { pid, tid: None })
            }
            Node::Process(who) => {
                self.subject(who)?;
                let mut entries = entries_of(who);
                let (_, entry) = entries.find(|(n, _)| n.as_bytes() == name).ok_or(Errno::ENOENT)?;
                Node::Entry(who, *entry)
            }
            Node::Entry(who, Entry::Tasks) => {
                let who = Who { tid: Some(Pid(parse_number(name).ok_or(Errno::ENOENT)?)), ..who };
                self.subject(who)?;
                Node::Process(who)
            }
            Node::Entry(who, entry @ (Entry::Descriptors | Entry::DescriptorInfos)) => {
                let fd = Fd(parse_number(name).ok_or(Errno::ENOENT)?);
                process::files(&self.subject(who)?)?.get(fd).map_err(|_| Errno::ENOENT)?;
                match entry {
                    Entry::Descriptors => Node::Descriptor(who, fd),
                    _ => Node::DescriptorInfo(who, fd),
                }
            }
            Node::Entry(who, Entry::Namespaces) => {
                let kind = namespace::KINDS.iter().position(|k| k.name.as_bytes() == name);
                Node::Namespace(who, kind.ok_or(Errno::ENOENT)?)
            }
            Node::Directory(_) => return Err(Errno::ENOENT),
            Node::Block(block) if block.mode() & FileKind::MASK == FileKind::Directory.bits() => {
                let names = block.names(&*self.kernel()?)?;
                names.into_iter().find(|(n, _)| n == name).map(|(_, node)| node).ok_or(Errno::ENOENT)?
            }
            _ => return Err(Errno::ENOTDIR),
        };
        Ok(self.child(node))
    }

    fn read_dir(&self, cursor: u64, each: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<(), Errno> {
        if self.node.mode() & FileKind::MASK != FileKind::Directory.bits() {
            return Err(Errno::ENOTDIR);
        }
        for (i, (name, node)) in self.names()?.iter().enumerate() {
            let place = i as u64 + 2;
            let kind = FileKind::from_mode(node.mode()).unwrap_or(FileKind::Regular);
            if place >= cursor && !each(DirEntry { name, ino: self.number_of(*node), kind, next: place + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        let kernel = self.kernel()?;
        match self.node {
            Node::Link(text) => Ok(text.as_bytes().to_vec()),
            Node::Block(block) => block.link(&kernel),
            Node::SelfLink(kind) => {
                let (pid, tid) = kernel.current().ok_or(Errno::ENOENT)?;
                Ok(match kind {
                    SelfKind::Process => format!("{}", pid.0).into_bytes(),
                    SelfKind::Thread => format!("{}/task/{}", pid.0, tid.0).into_bytes(),
                })
            }
            Node::Entry(who, Entry::Place(_)) | Node::Descriptor(who, _) => {
                let subject = self.subject(who)?;
                self.may_look(&subject, Errno::EACCES)?;
                if let Node::Descriptor(_, fd) = self.node {
                    let file = process::files(&subject)?.get(fd)?;
                    if file.path.is_none() {
                        return Ok(process::describe(&file));
                    }
                }
                let place = self.follow().ok_or(Errno::EINVAL)??;
                let asking = kernel.current().and_then(|(_, tid)| kernel.processes.thread(tid));
                let root = asking.map_or_else(|| kernel.vfs.root(), |t| Ok(t.fs().root()))?;
                kernel.vfs.path_of(&place, &root).ok_or(Errno::ENOENT)
            }
            Node::Namespace(who, kind) => {
                let subject = self.subject(who)?;
                self.may_look(&subject, Errno::EACCES)?;
                Ok(namespace::of(&subject, kind)?.text())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn follow(&self) -> Option<Result<PathRef, Errno>> {
        let is_link = matches!(self.node, Node::Entry(_, Entry::Place(_)) | Node::Descriptor(..) | Node::Namespace(..));
        let who = self.node.who().filter(|_| is_link)?;
        Some(self.subject(who).and_then(|subject| {
            self.may_look(&subject, Errno::EACCES)?;
            match self.node {
                Node::Entry(_, Entry::Place(place)) => process::place(&subject, place),
                Node::Descriptor(_, fd) => {
                    let file = process::files(&subject)?.get(fd)?;
                    Ok(file.path.clone().unwrap_or_else(|| subject.process.kernel.vfs.nowhere(&file.inode)))
                }
                Node::Namespace(_, kind) => Ok(namespace::place(&subject, namespace::of(&subject, kind)?)),
                _ => Err(Errno::EINVAL),
            }
        }))
    }

    /// There is nothing to cut off.
    fn truncate(&self, _: u64, _: Timespec) -> Result<(), Errno> {
        Ok(())
    }

    fn open(&self, readable: bool, _writable: bool) -> Option<Result<Arc<dyn FileOps>, Errno>> {
        if matches!(self.node, Node::SysRq) {
            let open = |kernel| Arc::new(sysrq::SysRq { kernel }) as Arc<dyn FileOps>;
            return Some(if readable { Err(Errno::EIO) } else { self.kernel().map(open) });
        }
        if self.node.mode() & FileKind::MASK != FileKind::Regular.bits() {
            return None;
        }
        let system = |make| self.kernel().map(|kernel| Source::System(kernel, make));
        Some(match self.node {
            Node::Text(make) => system(make).map(|source| TextFile::open(source, Writer::Nobody)),
            Node::Block(block) => {
                self.kernel().map(|kernel| TextFile::open(Source::Block(kernel, block), Writer::Nobody))
            }
            Node::Setting(make, set) => self
                .kernel()
                .map(|kernel| TextFile::open(Source::System(kernel.clone(), make), Writer::System(kernel, set))),
            Node::DescriptorInfo(who, fd) => {
                self.subject(who).map(|subject| TextFile::open(Source::Descriptor(subject, fd), Writer::Nobody))
            }
            Node::Entry(who, entry) => self.subject(who).and_then(|subject| self.open_entry(subject, entry)),
            _ => return None,
        })
    }
}

impl ProcInode {
    /// Opens one of a process's files.
    fn open_entry(&self, subject: Subject, entry: Entry) -> Result<Arc<dyn FileOps>, Errno> {
        self.may_look(&subject, Errno::EACCES)?;
        Ok(match entry {
            Entry::Text(make, _) | Entry::Private(make, _) => {
                TextFile::open(Source::Process(subject, make), Writer::Nobody)
            }
            Entry::Setting(make, set, _) => {
                TextFile::open(Source::Process(subject.clone(), make), Writer::Process(subject, set))
            }
            Entry::OfMemory(make, _) => TextFile::open(Source::Process(subject.bound(), make), Writer::Nobody),
            Entry::Memory => Arc::new(memory::MemoryFile { subject: subject.bound() }),
            _ => return Err(Errno::EINVAL),
        })
    }

    fn number_of(&self, node: Node) -> u64 {
        Self { kernel: Weak::new(), dev: self.dev, node }.number()
    }
}
