//! Disks: requests with somebody who waits for each, partitions, device files, and what a call does that needs a block
//! which is not in memory.
//!
//! What always holds: whoever starts a request waits for it, so its frames live as long as the device may touch them.

mod batch;
mod disk;
mod file;
mod miss;
mod partition;
mod volume;

pub use batch::{Batch, MAX_BYTES};
pub use disk::{Disk, Pending};
pub use file::BlockFile;
pub use miss::{Fetch, Misses};
pub use partition::{Entry, TableError};
pub use volume::{Claim, Volume};

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_machine::Machine;

use crate::memory::MemoryControl;
use crate::sync::Mutex;
use crate::vfs::inode::DeviceId;

/// The driver's number of all disks.
pub const MAJOR: u32 = 254;
/// Device numbers a disk has: its own, and those of its partitions.
pub const MINORS: u32 = 16;

/// All disks and their partitions.
pub struct Disks {
    disks: Vec<Arc<Disk>>,
    volumes: Mutex<Vec<Arc<Volume>>>,
    control: Arc<MemoryControl>,
}

impl Disks {
    /// The machine's disks, `vda` and on, without their partitions yet.
    pub fn new(machine: &dyn Machine, control: &Arc<MemoryControl>) -> Self {
        let disks: Vec<_> = machine.disks().iter().map(|device| Disk::new(device.clone())).collect();
        let all = Self { disks, volumes: Mutex::default(), control: control.clone() };
        for (number, disk) in (0..).zip(&all.disks) {
            all.add(disk, number, 0, disk.geometry().sectors, 0);
        }
        all
    }

    fn add(&self, disk: &Arc<Disk>, number: u32, start: u64, sectors: u64, partition: u32) {
        let name = match partition {
            0 => disk_name(number),
            _ => format!("{}{partition}", disk_name(number)),
        };
        let id = DeviceId::new(MAJOR, number * MINORS + partition);
        let volume = Volume::new(disk, name, id, start..start + sectors, &self.control);
        self.volumes.lock().push(volume);
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.disks.is_empty()
    }

    /// Finds the partitions of all disks. A line for each disk whose table cannot be read.
    pub async fn find_partitions(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let whole: Vec<_> = self.volumes();
        for (number, (disk, volume)) in (0..).zip(self.disks.iter().zip(whole)) {
            match partition::read(&volume).await {
                Ok(entries) => {
                    for entry in entries.iter().filter(|e| (1..MINORS).contains(&e.number)) {
                        self.add(disk, number, entry.start, entry.sectors, entry.number);
                    }
                }
                Err(error) => complaints.push(format!("{}: {error}", volume.name)),
            }
        }
        complaints
    }

    /// Every disk and partition.
    pub fn volumes(&self) -> Vec<Arc<Volume>> {
        self.volumes.lock().clone()
    }

    /// The one with this number.
    pub fn volume(&self, id: DeviceId) -> Result<Arc<Volume>, Errno> {
        self.volumes.lock().iter().find(|v| v.id == id).cloned().ok_or(Errno::ENXIO)
    }

    /// The one with this name, `vda1`.
    pub fn named(&self, name: &str) -> Option<Arc<Volume>> {
        self.volumes.lock().iter().find(|v| v.name == name).cloned()
    }

    /// Answers came.
    pub fn ready(&self) {
        self.disks.iter().for_each(|disk| disk.collect());
    }
}

/// `vda`, …, `vdz`, `vdaa`, …
fn disk_name(number: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = number + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or(0)));
        rest /= 26;
    }
    letters.push('d');
    letters.push('v');
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_named_as_linux_names_them() {
        let names: Vec<String> = [0, 1, 25, 26, 27, 701, 702].map(disk_name).into();
        assert_eq!(names, ["vda", "vdb", "vdz", "vdaa", "vdab", "vdzz", "vdaaa"]);
    }
}
