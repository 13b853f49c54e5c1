//! procfs, proc(5): the system and its processes as files whose text is made when they are opened.

mod process;
mod sysrq;
mod system;

use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use aurora_abi::Errno;
use aurora_abi::types::{Statfs, Timespec};

use crate::Kernel;
use crate::memory::{IoBuf, IoError};
use crate::task::{Pid, Process};
use crate::vfs::inode::DeviceId;
use crate::vfs::{AttributeChange, DirEntry, Fd, FileKind, FileOps, Inode, Metadata, OpenFile, PathRef};

/// The device number of procfs.
const DEV: u64 = 5;

/// Makes a file's text.
type SystemText = fn(&Kernel) -> Vec<u8>;
type ProcessText = fn(&Arc<Process>) -> Result<Vec<u8>, Errno>;

/// The root of a procfs.
pub fn root(kernel: &Arc<Kernel>) -> Arc<dyn Inode> {
    Arc::new(ProcInode { kernel: Arc::downgrade(kernel), node: Node::Root })
}

struct ProcInode {
    kernel: Weak<Kernel>,
    node: Node,
}

/// What an inode of procfs is.
#[derive(Clone, Copy)]
enum Node {
    Root,
    /// A directory of fixed files.
    Directory(&'static [(&'static str, Node)]),
    Text(SystemText),
    /// `/proc/sysrq-trigger`.
    SysRq,
    /// A link to this text.
    Link(&'static str),
    /// `/proc/self`: depends on who asks, so it is resolved by number.
    SelfLink(SelfKind),
    Process(Pid),
    ProcessText(Pid, ProcessText, u32),
    Place(Pid, process::Place),
    Descriptors(Pid),
    Descriptor(Pid, Fd),
    Tasks(Pid),
    Task(Pid),
}

#[derive(Clone, Copy)]
enum SelfKind {
    Process,
    Thread,
}

impl Node {
    fn mode(self) -> u32 {
        match self {
            Self::Root | Self::Directory(_) | Self::Process(_) | Self::Tasks(_) | Self::Task(_) => {
                FileKind::Directory.bits() | 0o555
            }
            Self::Descriptors(_) => FileKind::Directory.bits() | 0o500,
            Self::Text(_) => FileKind::Regular.bits() | 0o444,
            Self::SysRq => FileKind::Regular.bits() | 0o200,
            Self::ProcessText(_, _, mode) => FileKind::Regular.bits() | mode,
            Self::Link(_) | Self::SelfLink(_) | Self::Place(..) => FileKind::Symlink.bits() | 0o777,
            Self::Descriptor(..) => FileKind::Symlink.bits() | 0o700,
        }
    }

    fn pid(self) -> Option<Pid> {
        match self {
            Self::Process(pid)
            | Self::ProcessText(pid, ..)
            | Self::Place(pid, _)
            | Self::Descriptors(pid)
            | Self::Descriptor(pid, _)
            | Self::Tasks(pid)
            | Self::Task(pid) => Some(pid),
            _ => None,
        }
    }

    /// A number that stays the same while the thing is there.
    fn ino(self) -> u64 {
        let pid = self.pid().map_or(0, |p| u64::from(p.0.cast_unsigned()));
        let low = match self {
            Self::Root => 1,
            Self::Directory(_) => 2,
            Self::Text(_) => 3,
            Self::Link(_) => 4,
            Self::SelfLink(_) => 5,
            Self::Process(_) => 6,
            Self::ProcessText(..) => 7,
            Self::Place(..) => 8,
            Self::Descriptors(_) => 9,
            Self::Tasks(_) => 10,
            Self::SysRq => 12,
            Self::Task(_) => 11,
            Self::Descriptor(_, fd) => 1000 + u64::from(fd.0.cast_unsigned()),
        };
        pid << 20 | low
    }
}

impl ProcInode {
    fn kernel(&self) -> Result<Arc<Kernel>, Errno> {
        self.kernel.upgrade().ok_or(Errno::ENOENT)
    }

    fn process(&self, pid: Pid) -> Result<Arc<Process>, Errno> {
        self.kernel()?.processes.process(pid).ok_or(Errno::ENOENT)
    }

    fn child(&self, node: Node) -> Arc<dyn Inode> {
        Arc::new(Self { kernel: self.kernel.clone(), node })
    }

    /// Fixed names of a directory.
    fn fixed(&self) -> &'static [(&'static str, Node)] {
        match self.node {
            Node::Root => system::ROOT,
            Node::Directory(entries) => entries,
            _ => &[],
        }
    }

    /// All names of a directory in order, each with its place.
    fn names(&self) -> Result<Vec<(Vec<u8>, Node)>, Errno> {
        let mut names: Vec<(Vec<u8>, Node)> = Vec::new();
        names.extend(self.fixed().iter().map(|(name, node)| (name.as_bytes().to_vec(), *node)));
        let number = |n: i32| format!("{n}").into_bytes();
        match self.node {
            Node::Root => {
                let processes = self.kernel()?.processes.processes();
                names.extend(processes.iter().map(|p| (number(p.pid.0), Node::Process(p.pid))));
            }
            Node::Process(pid) => names.extend(process::entries(pid)),
            Node::Task(pid) => names.extend(process::entries(pid).into_iter().filter(|(n, _)| n != b"task")),
            Node::Tasks(pid) => {
                let threads = self.process(pid)?;
                let threads = threads.threads.lock();
                names.extend(threads.iter().map(|t| (number(t.tid.0), Node::Task(pid))));
            }
            Node::Descriptors(pid) => {
                let fds = process::files(&self.process(pid)?)?.open_fds();
                names.extend(fds.into_iter().map(|fd| (number(fd.0), Node::Descriptor(pid, fd))));
            }
            _ => {}
        }
        Ok(names)
    }
}

fn parse_number(name: &[u8]) -> Option<i32> {
    let text = core::str::from_utf8(name).ok()?;
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

impl Inode for ProcInode {
    fn metadata(&self) -> Metadata {
        let now = self.kernel.upgrade().map(|k| k.now()).unwrap_or_default();
        let process = self.node.pid().and_then(|pid| self.process(pid).ok());
        let owner = process.map(|p| p.credentials());
        Metadata {
            dev: DEV,
            ino: self.node.ino(),
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
        Statfs { kind: 0x9fa0, bsize: 4096, frsize: 4096, namelen: 255, ..Statfs::default() }
    }

    fn names_are_stable(&self) -> bool {
        false
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
                Node::Process(pid)
            }
            Node::Process(pid) | Node::Task(pid) => {
                self.process(pid)?;
                let entries = process::entries(pid);
                entries.into_iter().find(|(n, _)| n == name).ok_or(Errno::ENOENT)?.1
            }
            Node::Tasks(pid) => {
                let tid = Pid(parse_number(name).ok_or(Errno::ENOENT)?);
                let process = self.process(pid)?;
                let known = process.threads.lock().iter().any(|t| t.tid == tid);
                if !known {
                    return Err(Errno::ENOENT);
                }
                Node::Task(pid)
            }
            Node::Descriptors(pid) => {
                let fd = Fd(parse_number(name).ok_or(Errno::ENOENT)?);
                process::files(&self.process(pid)?)?.get(fd).map_err(|_| Errno::ENOENT)?;
                Node::Descriptor(pid, fd)
            }
            Node::Directory(_) => return Err(Errno::ENOENT),
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
            if place >= cursor && !each(DirEntry { name, ino: node.ino(), kind, next: place + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&self) -> Result<Vec<u8>, Errno> {
        let kernel = self.kernel()?;
        match self.node {
            Node::Link(text) => Ok(text.as_bytes().to_vec()),
            Node::SelfLink(kind) => {
                let (pid, tid) = kernel.current().ok_or(Errno::ENOENT)?;
                Ok(match kind {
                    SelfKind::Process => format!("{}", pid.0).into_bytes(),
                    SelfKind::Thread => format!("{}/task/{}", pid.0, tid.0).into_bytes(),
                })
            }
            Node::Place(..) | Node::Descriptor(..) => {
                if let Node::Descriptor(pid, fd) = self.node {
                    let file = process::files(&self.process(pid)?)?.get(fd)?;
                    if file.path.is_none() {
                        return Ok(process::describe(&file));
                    }
                }
                let place = self.follow().ok_or(Errno::EINVAL)??;
                let root = kernel.vfs.root()?;
                kernel.vfs.path_of(&place, &root).ok_or(Errno::ENOENT)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn follow(&self) -> Option<Result<PathRef, Errno>> {
        match self.node {
            Node::Place(pid, place) => Some(self.process(pid).and_then(|p| process::place(&p, place))),
            Node::Descriptor(pid, fd) => {
                let file = self.process(pid).and_then(|p| process::files(&p)?.get(fd));
                Some(file.and_then(|f| f.path.clone().ok_or(Errno::ENXIO)))
            }
            _ => None,
        }
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
        let text = match self.node {
            Node::Text(text) => self.kernel().map(|k| text(&k)),
            Node::ProcessText(pid, text, _) => self.process(pid).and_then(|p| text(&p)),
            _ => return None,
        };
        Some(text.map(|text| Arc::new(TextFile { text }) as Arc<dyn FileOps>))
    }
}

/// An open file of procfs: the text as it was then.
struct TextFile {
    text: Vec<u8>,
}

impl FileOps for TextFile {
    fn read_at(&self, _: &OpenFile, offset: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let start = out.done();
        let rest = self.text.get(crate::num::to_usize(offset)..).unwrap_or_default();
        let want = rest.len().min(out.remaining());
        let moved = out.put(rest.get(..want).unwrap_or_default());
        if moved < want { out.stopped(start) } else { Ok(moved) }
    }
    fn write_at(&self, _: &OpenFile, _: u64, _: &mut IoBuf<'_>) -> Result<usize, IoError> {
        // Only the superuser gets so far.
        Err(Errno::EIO.into())
    }
    fn seekable(&self) -> bool {
        true
    }
}
