//! Devices programs open by name, null(4), random(4), tty(4).

use alloc::sync::Arc;

use aurora_abi::Errno;
use aurora_abi::types::Timespec;
use aurora_machine::Machine;

use crate::block::{BlockFile, Disks, Volume};
use crate::memory::{IoBuf, IoError};
use crate::tty::{Consoles, TtyFile};
use crate::vfs::inode::DeviceId;
use crate::vfs::{FileKind, FileOps, Inode, NewInode, OpenFile};

/// `/dev/tty`: whatever terminal controls the process that opens it.
pub const CONTROLLING_TTY: DeviceId = DeviceId::new(5, 0);

const DEVICES: [(&[u8], u32, DeviceId); 10] = [
    (b"null", 0o666, DeviceId::new(1, 3)),
    (b"zero", 0o666, DeviceId::new(1, 5)),
    (b"full", 0o666, DeviceId::new(1, 7)),
    (b"random", 0o666, DeviceId::new(1, 8)),
    (b"urandom", 0o666, DeviceId::new(1, 9)),
    (b"tty", 0o666, CONTROLLING_TTY),
    (b"ptmx", 0o666, crate::tty::pty::MASTER),
    (b"console", 0o600, DeviceId::new(5, 1)),
    (b"ttyS0", 0o620, DeviceId::new(4, 64)),
    (b"tty1", 0o620, DeviceId::new(4, 1)),
];

const LINKS: [(&[u8], &[u8]); 4] = [
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
];

/// Makes the device files in a new `/dev`.
pub fn populate(root: &Arc<dyn Inode>, now: Timespec) -> Result<(), Errno> {
    let new = |mode, rdev, target| NewInode { mode, uid: 0, gid: 0, rdev, target, now };
    for (name, mode, id) in DEVICES {
        root.create(name, &new(FileKind::CharDevice.bits() | mode, id, &[]))?;
    }
    for (name, target) in LINKS {
        root.create(name, &new(FileKind::Symlink.bits() | 0o777, DeviceId::default(), target))?;
    }
    for (name, mode) in [(&b"shm"[..], 0o1777), (b"pts", 0o755)] {
        root.create(name, &new(FileKind::Directory.bits() | mode, DeviceId::default(), &[]))?;
    }
    Ok(())
}

/// Makes the device file of a disk or partition, unless it is there.
pub fn add_volume(root: &Arc<dyn Inode>, volume: &Volume, now: Timespec) -> Result<(), Errno> {
    let mode = FileKind::BlockDevice.bits() | 0o660;
    let new = NewInode { mode, uid: 0, gid: 0, rdev: volume.id, target: &[], now };
    match root.create(volume.name.as_bytes(), &new) {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Opens a device by its number.
pub fn open(
    machine: &Arc<dyn Machine>,
    consoles: &Consoles,
    disks: &Disks,
    kind: FileKind,
    id: DeviceId,
) -> Result<Arc<dyn FileOps>, Errno> {
    if kind == FileKind::BlockDevice {
        return Ok(Arc::new(BlockFile::new(disks.volume(id)?)));
    }
    if kind != FileKind::CharDevice {
        return Err(Errno::ENXIO);
    }
    Ok(match (id.major, id.minor) {
        (1, 3) => Arc::new(Null),
        (1, 5) => Arc::new(Zero { full: false }),
        (1, 7) => Arc::new(Zero { full: true }),
        (1, 8 | 9) => Arc::new(Random { machine: machine.clone() }),
        (5, 1) => Arc::new(TtyFile::console(&consoles.console)),
        (4, 64) => Arc::new(TtyFile::new(&consoles.serial)),
        (4, 1) => Arc::new(TtyFile::new(&consoles.screen.as_ref().ok_or(Errno::ENXIO)?.1)),
        _ => return Err(Errno::ENXIO),
    })
}

struct Null;

impl FileOps for Null {
    fn read_at(&self, _: &OpenFile, _: u64, _: &mut IoBuf<'_>) -> Result<usize, IoError> {
        Ok(0)
    }
    fn write_at(&self, _: &OpenFile, _: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        Ok(input.remaining())
    }
    fn seekable(&self) -> bool {
        true
    }
}

struct Zero {
    /// Writing fails: `/dev/full`.
    full: bool,
}

/// Bytes a device moves before others may run.
const CHUNK: usize = 256 * 1024;

impl FileOps for Zero {
    fn read_at(&self, _: &OpenFile, _: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let start = out.done();
        let want = out.remaining().min(CHUNK);
        let moved = out.put_zeros(want);
        if moved < want { out.stopped(start) } else { Ok(moved) }
    }
    fn write_at(&self, _: &OpenFile, _: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        if self.full { Err(Errno::ENOSPC.into()) } else { Ok(input.remaining()) }
    }
    fn seekable(&self) -> bool {
        true
    }
}

struct Random {
    machine: Arc<dyn Machine>,
}

impl FileOps for Random {
    fn read_at(&self, _: &OpenFile, _: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let start = out.done();
        let mut bytes = [0; 256];
        while out.remaining() > 0 && out.done() - start < CHUNK {
            let n = out.remaining().min(bytes.len());
            let part = bytes.get_mut(..n).unwrap_or_default();
            self.machine.entropy(part);
            if out.put(part) < n {
                return out.stopped(start);
            }
        }
        Ok(out.done() - start)
    }
    fn write_at(&self, _: &OpenFile, _: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        // The machine's entropy needs no help, and taking help from programs would not weaken it either.
        Ok(input.remaining())
    }
    fn seekable(&self) -> bool {
        true
    }
}
