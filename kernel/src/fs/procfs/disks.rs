//! `/proc/partitions` and `/proc/diskstats`, proc(5).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::Kernel;

/// Every disk and partition, in units of 1024 bytes.
pub(super) fn partitions(kernel: &Kernel) -> Vec<u8> {
    let mut text = String::from("major minor  #blocks  name\n\n");
    for volume in kernel.disks.volumes() {
        let (id, blocks) = (volume.id, volume.sectors() / 2);
        let _ = writeln!(text, "{:4}  {:7} {blocks:10} {}", id.major, id.minor, volume.name);
    }
    text.into_bytes()
}

/// What the disks have done; of partitions nothing is counted.
pub(super) fn statistics(kernel: &Kernel) -> Vec<u8> {
    let mut text = String::new();
    for volume in kernel.disks.volumes().iter().filter(|v| v.id.minor.is_multiple_of(crate::block::MINORS)) {
        let disk = volume.disk();
        let [(reads, read), (writes, written)] = disk.counts();
        let (id, flying) = (volume.id, disk.in_flight());
        let _ = writeln!(
            text,
            "{:4} {:7} {} {reads} 0 {read} 0 {writes} 0 {written} 0 {flying} 0 0 0 0 0 0 0 0",
            id.major, id.minor, volume.name
        );
    }
    text.into_bytes()
}
