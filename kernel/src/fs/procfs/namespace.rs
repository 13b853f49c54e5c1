//! `/proc/PID/ns`: files that stand for namespaces, namespaces(7).

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use aurora_abi::Errno;
use aurora_abi::types::{Statfs, Timespec};

use crate::fs::procfs::Subject;
use crate::syscall::namespace::{CLONE_NEWNS, CLONE_NEWUTS};
use crate::task::uts::UtsNamespace;
use crate::vfs::inode::DeviceId;
use crate::vfs::{FileKind, FileOps, Inode, Metadata, MountNamespace, OpenFile, PathRef};

/// A namespace of users: there is one.
pub const CLONE_NEWUSER: u64 = 0x1000_0000;

/// What kind of namespace it is.
#[derive(Debug)]
pub struct NamespaceKind {
    /// Its name in `/proc/PID/ns`.
    pub name: &'static str,
    /// Its bit in clone(2).
    pub clone_flag: u64,
    /// The number of the first one's inode, as Linux gives it.
    first: u64,
}

/// All kinds, in the order of their names.
pub(super) const KINDS: [NamespaceKind; 8] = [
    NamespaceKind { name: "cgroup", clone_flag: 0x200_0000, first: 0xefff_fffb },
    NamespaceKind { name: "ipc", clone_flag: 0x800_0000, first: 0xefff_ffff },
    NamespaceKind { name: "mnt", clone_flag: CLONE_NEWNS, first: 0xf000_0001 },
    NamespaceKind { name: "net", clone_flag: 0x4000_0000, first: 0xf000_0000 },
    NamespaceKind { name: "pid", clone_flag: 0x2000_0000, first: 0xefff_fffc },
    NamespaceKind { name: "time", clone_flag: 0x80, first: 0xefff_fffa },
    NamespaceKind { name: "user", clone_flag: CLONE_NEWUSER, first: 0xefff_fffd },
    NamespaceKind { name: "uts", clone_flag: CLONE_NEWUTS, first: 0xefff_fffe },
];

/// Inode numbers of namespaces that are not the first of their kind start here.
const OTHERS: u64 = 0xf000_0100;
/// The device number of the file system of namespaces.
const DEV: u64 = 4;

/// A namespace.
#[derive(Clone)]
pub enum Namespace {
    /// Of mounts.
    Mount(Arc<MountNamespace>),
    /// Of host names.
    Uts(Arc<UtsNamespace>),
    /// Of a kind there is one of.
    Only(&'static NamespaceKind),
}

impl Namespace {
    fn kind(&self) -> Option<&'static NamespaceKind> {
        let flag = match self {
            Self::Mount(_) => CLONE_NEWNS,
            Self::Uts(_) => CLONE_NEWUTS,
            Self::Only(kind) => return Some(kind),
        };
        KINDS.iter().find(|k| k.clone_flag == flag)
    }

    /// Its kind's bit in clone(2).
    pub fn clone_flag(&self) -> u64 {
        self.kind().map_or(0, |k| k.clone_flag)
    }

    fn ino(&self) -> u64 {
        let id = match self {
            Self::Mount(namespace) => namespace.id,
            Self::Uts(namespace) => namespace.id,
            Self::Only(_) => 1,
        };
        // Both kinds that can be many share the numbers above.
        let odd = u64::from(matches!(self, Self::Uts(_)));
        if id == 1 { self.kind().map_or(0, |k| k.first) } else { OTHERS + id * 2 + odd }
    }

    /// What the link in `/proc/PID/ns` says.
    pub(super) fn text(&self) -> Vec<u8> {
        format!("{}:[{}]", self.kind().map_or("", |k| k.name), self.ino()).into_bytes()
    }
}

/// The namespace of a kind a process is in.
pub(super) fn of(subject: &Subject, kind: usize) -> Result<Namespace, Errno> {
    let kind = KINDS.get(kind).ok_or(Errno::ENOENT)?;
    let thread = subject.thread()?;
    Ok(match kind.clone_flag {
        CLONE_NEWNS => Namespace::Mount(thread.fs().namespace()),
        CLONE_NEWUTS => Namespace::Uts(thread.uts()),
        _ => Namespace::Only(kind),
    })
}

/// Where the link leads.
pub(super) fn place(subject: &Subject, namespace: Namespace) -> PathRef {
    let kernel = &subject.process.kernel;
    let name = namespace.text();
    let inode: Arc<dyn Inode> = Arc::new(NamespaceInode { namespace, made: kernel.now() });
    kernel.vfs.nowhere_named(&name, &inode)
}

/// The namespace a file stands for.
pub fn namespace_of(inode: &Arc<dyn Inode>) -> Option<Namespace> {
    inode.as_any().downcast_ref::<NamespaceInode>().map(|i| i.namespace.clone())
}

struct NamespaceInode {
    namespace: Namespace,
    made: Timespec,
}

impl Inode for NamespaceInode {
    fn metadata(&self) -> Metadata {
        Metadata {
            dev: DEV,
            ino: self.namespace.ino(),
            mode: FileKind::Regular.bits() | 0o444,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: DeviceId::default(),
            size: 0,
            blocks: 0,
            atime: self.made,
            mtime: self.made,
            ctime: self.made,
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn statfs(&self) -> Statfs {
        Statfs { kind: 0x6e73_6673, bsize: 4096, frsize: 4096, namelen: 255, ..Statfs::default() }
    }
    fn open(&self, _: bool, _: bool) -> Option<Result<Arc<dyn FileOps>, Errno>> {
        Some(Ok(Arc::new(NamespaceFile)))
    }
}

/// An open namespace: it can be joined and compared, not read.
struct NamespaceFile;

impl FileOps for NamespaceFile {
    fn size(&self, _: &OpenFile) -> u64 {
        0
    }
}
