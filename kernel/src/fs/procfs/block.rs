//! Disks in sysfs(5), as lsblk(8) and udev look for them: a directory for each disk with its partitions in it, and links to
//! these by name and by number.
//!
//! What bus a disk is on nobody asks: all are in `/sys/devices/virtual`, where Linux has disks without one.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_machine::{PAGE_SIZE, SECTOR_SIZE};

use super::{Kernel, Node};
use crate::block::{MAX_BYTES, MINORS, Volume};
use crate::vfs::FileKind;
use crate::vfs::inode::DeviceId;

/// What there is of disks in sysfs.
#[derive(Clone, Copy)]
pub(super) enum Block {
    /// Links to all disks, by some name.
    Links(Listing),
    Link(Listing, DeviceId),
    /// The directories of all disks.
    Disks,
    /// A disk's directory, or a partition's.
    Device(DeviceId),
    /// The directory of what is said of a disk's requests.
    Queue(DeviceId),
    /// Disks made of this one, or it is made of: there are none.
    Relatives,
    /// From a device's directory to `/sys/class/block`.
    Class(DeviceId),
    Text(DeviceId, Say),
}

/// Where links to disks are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// `/sys/block`: disks only, by name.
    Disks,
    /// `/sys/class/block`: partitions, too.
    Class,
    /// `/sys/dev/block`: by number.
    Numbers,
}

/// Says something of a disk or partition.
type Say = fn(&Volume) -> String;
type Table = &'static [(&'static str, Say)];

/// What is said of disks and partitions.
const BOTH: Table = &[
    ("alignment_offset", zero),
    ("dev", |v| number(v.id)),
    ("discard_alignment", zero),
    ("inflight", |v| format!("{:8} {:8}", if is_disk(v) { v.disk().in_flight() } else { 0 }, 0)),
    ("ro", |v| u32::from(v.disk().geometry().read_only).to_string()),
    ("size", |v| v.sectors().to_string()),
    ("stat", statistics),
    ("uevent", event),
];

const DISK: Table =
    &[("capability", zero), ("ext_range", range), ("hidden", zero), ("range", range), ("removable", zero)];

const PARTITION: Table = &[("partition", |v| partition(v).to_string()), ("start", |v| v.first_sector().to_string())];

const QUEUE: Table = &[
    ("add_random", zero),
    ("dax", zero),
    ("discard_granularity", |v| discards(v, SECTOR_SIZE)),
    ("discard_max_bytes", |v| discards(v, u64::from(u32::MAX) / SECTOR_SIZE * SECTOR_SIZE)),
    ("discard_max_hw_bytes", |v| discards(v, u64::from(u32::MAX) / SECTOR_SIZE * SECTOR_SIZE)),
    ("discard_zeroes_data", zero),
    ("fua", zero),
    ("hw_sector_size", sector),
    ("logical_block_size", sector),
    ("max_hw_sectors_kb", |_| (MAX_BYTES / 1024).to_string()),
    ("max_sectors_kb", |_| (MAX_BYTES / 1024).to_string()),
    ("max_segment_size", |_| PAGE_SIZE.to_string()),
    ("max_segments", |v| v.disk().geometry().max_segments.max(1).to_string()),
    ("minimum_io_size", sector),
    ("nr_requests", |_| "256".into()),
    ("optimal_io_size", zero),
    ("physical_block_size", sector),
    ("read_ahead_kb", |_| (crate::memory::ahead::READ_AHEAD * PAGE_SIZE / 1024).to_string()),
    ("rotational", zero),
    ("scheduler", |_| "[none]".into()),
    ("write_cache", |_| "write back".into()),
    ("zoned", |_| "none".into()),
];

fn zero(_: &Volume) -> String {
    "0".into()
}

fn sector(_: &Volume) -> String {
    SECTOR_SIZE.to_string()
}

fn range(_: &Volume) -> String {
    MINORS.to_string()
}

fn discards(volume: &Volume, bytes: u64) -> String {
    if volume.disk().geometry().discards { bytes } else { 0 }.to_string()
}

fn number(id: DeviceId) -> String {
    format!("{}:{}", id.major, id.minor)
}

/// A partition's number; 0 for a disk.
fn partition(volume: &Volume) -> u32 {
    volume.id.minor % MINORS
}

fn is_disk(volume: &Volume) -> bool {
    partition(volume) == 0
}

/// As `/proc/diskstats` has it; of partitions nothing is counted.
fn statistics(volume: &Volume) -> String {
    let disk = volume.disk();
    let [(reads, read), (writes, written)] = if is_disk(volume) { disk.counts() } else { Default::default() };
    let flying = if is_disk(volume) { disk.in_flight() } else { 0 };
    format!("{reads:8} 0 {read:8} 0 {writes:8} 0 {written:8} 0 {flying:8} 0 0 0 0 0 0 0 0")
}

fn event(volume: &Volume) -> String {
    let (id, name) = (volume.id, &volume.name);
    let kind = if is_disk(volume) { "disk" } else { "partition" };
    let more = if is_disk(volume) { String::new() } else { format!("\nPARTN={}", partition(volume)) };
    format!("MAJOR={}\nMINOR={}\nDEVNAME={name}\nDEVTYPE={kind}{more}", id.major, id.minor)
}

/// The disk a partition is on.
fn disk_of(id: DeviceId) -> DeviceId {
    DeviceId::new(id.major, id.minor - id.minor % MINORS)
}

fn volume(kernel: &Kernel, id: DeviceId) -> Result<Arc<Volume>, Errno> {
    kernel.disks.volume(id).map_err(|_| Errno::ENOENT)
}

impl Block {
    pub(super) fn mode(self) -> u32 {
        match self {
            Self::Links(_) | Self::Disks | Self::Device(_) | Self::Queue(_) | Self::Relatives => {
                FileKind::Directory.bits() | 0o555
            }
            Self::Link(..) | Self::Class(_) => FileKind::Symlink.bits() | 0o777,
            Self::Text(..) => FileKind::Regular.bits() | 0o444,
        }
    }

    /// A number that stays the same while the thing is there.
    pub(super) fn number(self) -> u64 {
        let of = |id: DeviceId, low: u64| u64::from(id.minor) << 12 | low;
        let low = match self {
            Self::Links(listing) => listing as u64,
            Self::Disks => 3,
            Self::Relatives => 4,
            Self::Link(listing, id) => of(id, 8 + listing as u64),
            Self::Device(id) => of(id, 11),
            Self::Queue(id) => of(id, 12),
            Self::Class(id) => of(id, 13),
            Self::Text(id, say) => {
                let tables = [BOTH, DISK, PARTITION, QUEUE];
                let all = tables.iter().flat_map(|table| table.iter());
                // The same function may say two things, which then are one file by another name.
                of(id, 16 + all.take_while(|(_, other)| !core::ptr::fn_addr_eq(*other, say)).count() as u64)
            }
        };
        0xb000_0000 + low
    }

    /// All names of a directory in order.
    pub(super) fn names(self, kernel: &Kernel) -> Result<Vec<(Vec<u8>, Node)>, Errno> {
        let mut names: Vec<(String, Self)> = Vec::new();
        let add = |names: &mut Vec<_>, id, table: Table| {
            names.extend(table.iter().map(|(name, say)| ((*name).to_string(), Self::Text(id, *say))));
        };
        match self {
            Self::Links(listing) => {
                let volumes = kernel.disks.volumes();
                let shown = volumes.iter().filter(|v| listing != Listing::Disks || is_disk(v));
                let name = |v: &Volume| if listing == Listing::Numbers { number(v.id) } else { v.name.clone() };
                names.extend(shown.map(|v| (name(v), Self::Link(listing, v.id))));
            }
            Self::Disks => {
                let volumes = kernel.disks.volumes();
                names.extend(volumes.iter().filter(|v| is_disk(v)).map(|v| (v.name.clone(), Self::Device(v.id))));
            }
            Self::Device(id) => {
                let volume = volume(kernel, id)?;
                add(&mut names, id, BOTH);
                names
                    .extend([("holders", Self::Relatives), ("subsystem", Self::Class(id))].map(|(n, b)| (n.into(), b)));
                if is_disk(&volume) {
                    add(&mut names, id, DISK);
                    names.extend([("queue", Self::Queue(id)), ("slaves", Self::Relatives)].map(|(n, b)| (n.into(), b)));
                    let volumes = kernel.disks.volumes();
                    let parts = volumes.iter().filter(|v| !is_disk(v) && disk_of(v.id) == id);
                    names.extend(parts.map(|v| (v.name.clone(), Self::Device(v.id))));
                } else {
                    add(&mut names, id, PARTITION);
                }
            }
            Self::Queue(id) => add(&mut names, id, QUEUE),
            _ => {}
        }
        names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(names.into_iter().map(|(name, block)| (name.into_bytes(), Node::Block(block))).collect())
    }

    /// Where a link leads.
    pub(super) fn link(self, kernel: &Kernel) -> Result<Vec<u8>, Errno> {
        let path = |id: DeviceId| -> Result<String, Errno> {
            let disk = volume(kernel, disk_of(id))?;
            let part = volume(kernel, id)?;
            Ok(if is_disk(&part) { disk.name.clone() } else { format!("{}/{}", disk.name, part.name) })
        };
        let text = match self {
            Self::Link(Listing::Disks, id) => format!("../devices/virtual/block/{}", path(id)?),
            Self::Link(_, id) => format!("../../devices/virtual/block/{}", path(id)?),
            Self::Class(id) => {
                let above = if disk_of(id) == id { "../../../.." } else { "../../../../.." };
                format!("{above}/class/block")
            }
            _ => return Err(Errno::EINVAL),
        };
        Ok(text.into_bytes())
    }

    /// What a file says.
    pub(super) fn text(self, kernel: &Kernel) -> Result<Vec<u8>, Errno> {
        let Self::Text(id, say) = self else { return Err(Errno::EINVAL) };
        Ok((say(&*volume(kernel, id)?) + "\n").into_bytes())
    }
}
