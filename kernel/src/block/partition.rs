//! Partition tables: GPT (UEFI specification, chapter 5) and the older MBR with logical partitions.

use alloc::vec::Vec;
use core::fmt;

use aurora_abi::Errno;
use aurora_machine::SECTOR_SIZE;

use super::Volume;
use crate::num::to_usize;

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1; MBR's logical partitions from 5.
    pub number: u32,
    /// First sector.
    pub start: u64,
    /// How many.
    pub sectors: u64,
}

/// Why a disk's table could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// The disk failed.
    Disk(Errno),
    /// Both copies of the GPT are broken.
    Gpt,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(errno) => write!(f, "the partition table cannot be read: {}", errno.text()),
            Self::Gpt => f.write_str("both copies of the partition table (GPT) are damaged"),
        }
    }
}

const SECTOR: usize = 512;
/// Most logical partitions looked for: their list has no end that can be trusted.
const MAX_LOGICAL: u32 = 11;
/// Most bytes of a GPT's entries: 1,024 of the usual size.
const MAX_ENTRIES: u64 = 128 * 1024;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

async fn sector(volume: &Volume, number: u64) -> Result<Vec<u8>, TableError> {
    volume.read(number * SECTOR_SIZE, SECTOR).await.map_err(TableError::Disk)
}

/// The partitions of a disk; none if it has no table, as a disk with a file system right on it.
pub(super) async fn read(volume: &Volume) -> Result<Vec<Entry>, TableError> {
    if volume.sectors() < 2 {
        return Ok(Vec::new());
    }
    let first = sector(volume, 0).await?;
    let primary = mbr(&first);
    if primary.iter().any(|p| p.kind == PROTECTIVE) {
        return gpt(volume).await;
    }
    let mut found = Vec::new();
    for (number, slot) in (1..).zip(&primary) {
        match slot.kind {
            0 => {}
            EXTENDED_CHS | EXTENDED_LBA => logical(volume, u64::from(slot.start), &mut found).await?,
            _ => found.push(Entry { number, start: slot.start.into(), sectors: slot.sectors.into() }),
        }
    }
    found.retain(|e| e.sectors > 0 && e.start.checked_add(e.sectors).is_some_and(|end| end <= volume.sectors()));
    Ok(found)
}

const PROTECTIVE: u8 = 0xee;
const EXTENDED_CHS: u8 = 0x05;
const EXTENDED_LBA: u8 = 0x0f;

#[derive(Clone, Copy, Default)]
struct Slot {
    kind: u8,
    start: u32,
    sectors: u32,
}

/// The four slots of a boot record; empty ones if it is none. A FAT or NTFS boot sector ends in the same two bytes: what
/// tells a table is that every slot's flag is 0 or 0x80.
fn mbr(sector: &[u8]) -> [Slot; 4] {
    let slot = |i: usize| sector.get(446 + i * 16..446 + (i + 1) * 16).unwrap_or_default();
    let is_table =
        sector.get(510..) == Some(&[0x55, 0xaa]) && (0..4).all(|i| matches!(slot(i).first(), Some(0 | 0x80)));
    if !is_table {
        return [Slot::default(); 4];
    }
    [0, 1, 2, 3].map(|i| Slot {
        kind: slot(i).get(4).copied().unwrap_or(0),
        start: u32_at(slot(i), 8),
        sectors: u32_at(slot(i), 12),
    })
}

/// Follows the chain of an extended partition.
async fn logical(volume: &Volume, base: u64, found: &mut Vec<Entry>) -> Result<(), TableError> {
    let mut at = base;
    for number in 5..5 + MAX_LOGICAL {
        if at >= volume.sectors() {
            return Ok(());
        }
        let [own, next, ..] = mbr(&sector(volume, at).await?);
        if own.kind != 0 {
            found.push(Entry { number, start: at + u64::from(own.start), sectors: own.sectors.into() });
        }
        if !matches!(next.kind, EXTENDED_CHS | EXTENDED_LBA) || next.start == 0 {
            return Ok(());
        }
        at = base + u64::from(next.start);
    }
    Ok(())
}

/// The GPT: the copy at the start, or else the one at the end.
async fn gpt(volume: &Volume) -> Result<Vec<Entry>, TableError> {
    for header_at in [1, volume.sectors() - 1] {
        let header = sector(volume, header_at).await?;
        let Some(entries) = checked_header(&header, header_at, volume.sectors()) else { continue };
        let len = to_usize(entries.bytes.next_multiple_of(SECTOR_SIZE));
        let mut table = volume.read(entries.at * SECTOR_SIZE, len).await.map_err(TableError::Disk)?;
        table.truncate(to_usize(entries.bytes));
        if crc32(&table) == entries.crc {
            return Ok(gpt_entries(&table, entries.size, volume.sectors()));
        }
    }
    Err(TableError::Gpt)
}

struct Entries {
    at: u64,
    size: usize,
    bytes: u64,
    crc: u32,
}

fn checked_header(header: &[u8], at: u64, sectors: u64) -> Option<Entries> {
    let size = u32_at(header, 12) as usize;
    if header.get(..8) != Some(b"EFI PART") || !(92..=SECTOR).contains(&size) || u64_at(header, 24) != at {
        return None;
    }
    let mut blank = header.get(..size)?.to_vec();
    blank.get_mut(16..20)?.fill(0);
    if crc32(&blank) != u32_at(header, 16) {
        return None;
    }
    let (entry, count) = (u32_at(header, 84), u32_at(header, 80));
    let bytes = u64::from(entry) * u64::from(count);
    let start = u64_at(header, 72);
    let end = start.checked_add(bytes.div_ceil(SECTOR_SIZE))?;
    let sane = entry >= 128 && entry.is_multiple_of(8) && bytes <= MAX_ENTRIES && end <= sectors;
    sane.then_some(Entries { at: start, size: entry as usize, bytes, crc: u32_at(header, 88) })
}

fn gpt_entries(table: &[u8], size: usize, sectors: u64) -> Vec<Entry> {
    let entry = |(number, bytes): (u32, &[u8])| {
        let (start, last) = (u64_at(bytes, 32), u64_at(bytes, 40));
        let used = bytes.get(..16).is_some_and(|kind| kind.iter().any(|&b| b != 0));
        (used && start <= last && last < sectors).then_some(Entry { number, start, sectors: last - start + 1 })
    };
    (1..).zip(table.chunks_exact(size)).filter_map(entry).collect()
}

/// CRC-32 of ISO 3309, as GPT has it. Tables of partitions are short and read once.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| bit(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_the_well_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_boot_sector_of_a_file_system_is_no_table() {
        let mut sector = [0u8; 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector[446] = b'N';
        sector[450] = 0x83;
        assert!(mbr(&sector).iter().all(|slot| slot.kind == 0));
        sector[446] = 0x80;
        assert_eq!(mbr(&sector)[0].kind, 0x83);
    }
}
