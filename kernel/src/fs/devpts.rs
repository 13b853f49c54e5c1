//! devpts: the names of pseudo-terminals, pts(4).
//!
//! There is one table of them, which every mount shows.

use alloc::format;
use alloc::sync::Arc;
use core::any::Any;

use aurora_abi::Errno;
use aurora_abi::types::{Statfs, Timespec};

use crate::tty::TtyFile;
use crate::tty::pty::{MASTER, PtyTable, SLAVE_MAJOR};
use crate::vfs::inode::DeviceId;
use crate::vfs::{AttributeChange, DirEntry, FileKind, FileOps, Inode, Metadata};

/// The device number of devpts.
const DEV: u64 = 13;
/// Inode numbers: the root, `ptmx`, and behind these the names.
const ROOT: u64 = 1;
const PTMX: u64 = 2;
const FIRST: u64 = 3;

/// The root of a devpts.
pub fn root(table: &Arc<PtyTable>, now: Timespec) -> Arc<dyn Inode> {
    Arc::new(PtsInode { table: table.clone(), node: Node::Root, now })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Root,
    Master,
    Slave(u32),
}

struct PtsInode {
    table: Arc<PtyTable>,
    node: Node,
    /// When the file system was mounted.
    now: Timespec,
}

impl PtsInode {
    fn child(&self, node: Node) -> Arc<dyn Inode> {
        Arc::new(Self { table: self.table.clone(), node, now: self.now })
    }
}

impl Inode for PtsInode {
    fn metadata(&self) -> Metadata {
        let options = *self.table.options.lock();
        let device = |mode: u32| FileKind::CharDevice.bits() | mode;
        let (ino, mode, rdev) = match self.node {
            Node::Root => (ROOT, FileKind::Directory.bits() | 0o755, DeviceId::default()),
            Node::Master => (PTMX, device(options.master_mode), MASTER),
            Node::Slave(number) => (FIRST + u64::from(number), device(0), DeviceId::new(SLAVE_MAJOR, number)),
        };
        let pty = if let Node::Slave(number) = self.node { self.table.get(number) } else { None };
        let owner = pty.as_ref().map(|p| *p.owner.lock());
        let made = pty.as_ref().map_or(self.now, |p| p.made);
        Metadata {
            dev: DEV,
            ino,
            mode: mode | owner.map_or(0, |o| o.mode),
            nlink: if self.node == Node::Root { 2 } else { 1 },
            uid: owner.map_or(0, |o| o.uid),
            gid: owner.map_or(0, |o| o.gid),
            rdev,
            size: 0,
            blocks: 0,
            atime: made,
            mtime: made,
            ctime: made,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> Statfs {
        Statfs { kind: 0x1cd1, bsize: 4096, frsize: 4096, namelen: 255, ..Statfs::default() }
    }

    fn names_are_stable(&self) -> bool {
        false
    }

    fn change(&self, change: &AttributeChange) -> Result<(), Errno> {
        let Node::Slave(number) = self.node else { return Err(Errno::EPERM) };
        let pty = self.table.get(number).ok_or(Errno::ENOENT)?;
        let mut owner = pty.owner.lock();
        owner.uid = change.uid.unwrap_or(owner.uid);
        owner.gid = change.gid.unwrap_or(owner.gid);
        owner.mode = change.mode.unwrap_or(owner.mode);
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        if self.node != Node::Root {
            return Err(Errno::ENOTDIR);
        }
        if name == b"ptmx" {
            return Ok(self.child(Node::Master));
        }
        let found = self.table.all().into_iter().find(|p| format!("{}", p.number).as_bytes() == name);
        Ok(self.child(Node::Slave(found.ok_or(Errno::ENOENT)?.number)))
    }

    fn read_dir(&self, cursor: u64, each: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<(), Errno> {
        if self.node != Node::Root {
            return Err(Errno::ENOTDIR);
        }
        let kind = FileKind::CharDevice;
        if cursor <= PTMX && !each(DirEntry { name: b"ptmx", ino: PTMX, kind, next: PTMX + 1 }) {
            return Ok(());
        }
        for pty in self.table.all() {
            let ino = FIRST + u64::from(pty.number);
            let name = format!("{}", pty.number);
            if ino >= cursor && !each(DirEntry { name: name.as_bytes(), ino, kind, next: ino + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, _readable: bool, _writable: bool) -> Option<Result<Arc<dyn FileOps>, Errno>> {
        // The master is opened by its number, wherever its name is.
        let Node::Slave(number) = self.node else { return None };
        Some(match self.table.get(number) {
            Some(pty) if !pty.is_locked() => Ok(Arc::new(TtyFile::new(&pty.tty))),
            _ => Err(Errno::EIO),
        })
    }
}
