//! Power cuts: from a recording of writes and flushes, what a device may hold when the power went, mounted by us and
//! repaired by e2fsck.
//!
//! A device that was flushed holds what was written before. Of what came after, any part may be there: the first writes,
//! all but some, in another order (which for blocks means: an older or a newer version), and sectors of 512 bytes of a
//! write alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod support;

use aurora_ext4::Rename;
use support::model::{Mix, Model};
use support::oracle::{self, Folder};
use support::random::{Random, seed};
use support::{Disk, Host, KINDS, NEW_DIR, NEW_FILE, Record};

/// A recording, and what the file system held at each of its marks.
struct Recording {
    name: &'static str,
    start: Vec<u8>,
    records: Vec<Record>,
    moments: Vec<Model>,
}

/// States made from each recording.
fn states() -> u64 {
    std::env::var("AURORA_STATES").ok().and_then(|s| s.parse().ok()).unwrap_or(200)
}

/// The second version of a journal's checksums, which no tool makes any more but images still have.
const CHECKSUMS_V2: &str = "journal checksums of the second version";

fn set_checksums_v2(image: &std::path::Path, data: &mut [u8]) {
    let block: usize = oracle::debugfs(image, "bmap <8> 0").trim().parse().unwrap();
    let sb = &mut data[block * 1024..block * 1024 + 1024];
    // Revocations, 64 bits, checksums v2; CRC-32C.
    sb[0x28..0x2c].copy_from_slice(&11u32.to_be_bytes());
    sb[0x50] = 4;
    sb[0xfc..0x100].fill(0);
    let sum = sb.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 })
    });
    sb[0xfc..0x100].copy_from_slice(&sum.to_be_bytes());
}

fn record(name: &'static str, arguments: &[&str], folder: &Folder, work: impl FnOnce(&mut Host)) -> Recording {
    let image = folder.path("image");
    oracle::mke2fs(&image, 12 << 20, arguments, None);
    let mut data = std::fs::read(&image).unwrap();
    if name == CHECKSUMS_V2 {
        set_checksums_v2(&image, &mut data);
    }
    let mut disk = Disk::memory(data);
    disk.record = Some(Vec::new());
    let start = disk.read(0, disk.bytes);
    let mut host = Host::mount(disk);
    host.moments = Some(vec![Model::default()]);
    work(&mut host);
    host.commit();
    let moments = host.moments.take().unwrap();
    let mut disk = host.unmount();
    Recording { name, start, records: disk.record.take().unwrap(), moments }
}

/// Which recordings there are: operations at random, many small files, names moved back and forth.
fn recordings(folder: &Folder, random: &mut Random) -> Vec<Recording> {
    let journals = [KINDS[3], KINDS[4], KINDS[6], KINDS[7], (CHECKSUMS_V2, KINDS[4].1)];
    let mut all = Vec::new();
    for (name, arguments) in journals {
        let journal = if arguments.contains(&"1024") { "size=1" } else { "size=4" };
        let arguments = [arguments, &["-J", journal, "-N", "2000"]].concat();
        all.push(record(name, &arguments, folder, |host| {
            let mix = Mix { no_overwrite: true, extents: host.fs.has_extents(), largest: 100_000 };
            let mut model = Model::default();
            for _ in 0..400 {
                model.step(host, random, mix);
                if random.below(12) == 0 {
                    host.commit();
                }
                if random.below(40) == 0 {
                    host.checkpoint();
                }
            }
        }));
    }
    let arguments = [KINDS[4].1, &["-J", "size=1", "-N", "2000"]].concat();
    all.push(record("small files made and half removed", &arguments, folder, |host| {
        host.make("/d", &NEW_DIR).unwrap();
        for number in 0..300u64 {
            let ino = host.make(&format!("/d/{number}"), &NEW_FILE).unwrap();
            host.write(ino, 0, &random.bytes(1 + (number * 37 % 3000) as usize)).unwrap();
            if number % 2 == 1 {
                host.unlink(&format!("/d/{}", number - 1)).unwrap();
            }
            if number % 10 == 0 {
                host.commit();
            }
        }
    }));
    all.push(record("a name replaced again and again", &arguments, folder, |host| {
        for number in 0..120u64 {
            let ino = host.make("/new", &NEW_FILE).unwrap();
            host.write(ino, 0, &random.bytes(500 + (number * 991 % 30_000) as usize)).unwrap();
            host.commit();
            host.rename("/new", "/file", Rename::Replace).unwrap();
            if number % 3 == 0 {
                host.commit();
            }
        }
    }));
    all
}

/// A state the device may be in after a cut, and the last mark before it.
fn cut(recording: &Recording, random: &mut Random) -> (Vec<u8>, u64) {
    let end = random.below(recording.records.len() as u64 + 1) as usize;
    let flushed = recording.records[..end].iter().rposition(|r| matches!(r, Record::Flush)).map_or(0, |at| at + 1);
    let mut image = recording.start.clone();
    let mut mark = 0;
    let way = random.below(4);
    for (at, record) in recording.records[..end].iter().enumerate() {
        match record {
            Record::Mark(number) => mark = *number,
            Record::Flush => {}
            Record::Write { offset, data } => {
                let offset = *offset as usize;
                // All of it is there: flushed, of a prefix, not among the dropped, or before the one that was torn.
                let whole = at < flushed
                    || match way {
                        0 => true,
                        1 => random.below(2) == 0,
                        2 => at + 1 < end,
                        _ => false,
                    };
                if whole {
                    image[offset..offset + data.len()].copy_from_slice(data);
                } else if way >= 2 {
                    // Some of its sectors.
                    for (number, sector) in data.chunks(512).enumerate() {
                        if random.below(2) == 0 {
                            let place = offset + number * 512;
                            image[place..place + sector.len()].copy_from_slice(sector);
                        }
                    }
                }
            }
        }
    }
    (image, mark)
}

/// Whether a tree is one that may be there after a cut: as at the last mark, or at the next one.
fn check_tree(recording: &Recording, read: &Model, mark: u64) -> Result<(), String> {
    let at = |number: u64| recording.moments.get(number as usize).map(|model| model.difference(read));
    match (at(mark), at(mark + 1)) {
        (Some(None), _) | (_, Some(None)) => Ok(()),
        (before, after) => Err(format!("not as at mark {mark}: {before:?}, nor as at the next: {after:?}")),
    }
}

fn try_state(recording: &Recording, image: Vec<u8>, mark: u64, folder: &Folder, thread: usize) -> Result<(), String> {
    let path = folder.path(&format!("state{thread}"));
    std::fs::write(&path, &image).unwrap();
    // Ours: seen through without a write, then replayed.
    let mut host = Host::mount_read_only(Disk::memory(image.clone()));
    let read = Model::read(&mut host).map_err(|e| format!("seen through: {e}"))?;
    check_tree(recording, &read, mark).map_err(|e| format!("seen through: {e}"))?;
    let (disk, fs) = support::try_mount(Disk::memory(image), false);
    let mut host = Host { fs: fs.map_err(|e| format!("mount: {e}"))?, disk, now: 1_700_010_000, moments: None };
    let read = Model::read(&mut host).map_err(|e| format!("replayed: {e}"))?;
    check_tree(recording, &read, mark).map_err(|e| format!("replayed: {e}"))?;
    let ino = host.make("/after the cut", &NEW_FILE).map_err(|e| format!("a new file: {e}"))?;
    host.write(ino, 0, &[b'x'; 10_000]).map_err(|e| format!("a write: {e}"))?;
    let ours = folder.path(&format!("ours{thread}"));
    std::fs::write(&ours, host.unmount().into_memory()).unwrap();
    oracle::e2fsck(&ours).map_err(|e| format!("replayed by us: {e}"))?;
    // e2fsck's: it replays, and then has nothing to repair.
    let (status, said) = oracle::e2fsck_repair(&path);
    // To replay and to free orphans is all it may have to do, and to note that there are none in the file for them: Linux,
    // too, has that flag set while mounted.
    let repaired =
        said.replace("Feature orphan_present is set but orphan file is clean.\nClear? yes", "").contains("? yes");
    if status > 1 || repaired {
        return Err(format!("e2fsck -fy: {status}: {said}"));
    }
    oracle::e2fsck(&path).map_err(|e| format!("after e2fsck -fy: {e}"))?;
    let mut host = Host::mount_read_only(Disk::file(&path));
    let read = Model::read(&mut host).map_err(|e| format!("replayed by e2fsck: {e}"))?;
    check_tree(recording, &read, mark).map_err(|e| format!("replayed by e2fsck: {e}: {said}"))
}

#[test]
fn whatever_a_power_cut_leaves_is_replayed_and_holds_what_was_synced() {
    let folder = Folder::new();
    let seed = seed();
    let mut random = Random::new(seed);
    let all = recordings(&folder, &mut random);
    let threads = 2;
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (all, folder) = (&all, &folder);
                scope.spawn(move || {
                    let mut failures = Vec::new();
                    for recording in all {
                        for number in (thread as u64..states()).step_by(threads) {
                            let mut random = Random::new(seed ^ (number << 20));
                            let (image, mark) = cut(recording, &mut random);
                            if let Err(error) = try_state(recording, image, mark, folder, thread) {
                                failures.push(format!("{} state {number} (mark {mark}): {error}", recording.name));
                            }
                        }
                    }
                    failures
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    for failure in failures.iter().take(5) {
        println!("{failure}");
    }
    assert!(failures.is_empty(), "{} of {} states", failures.len(), states() * all.len() as u64);
}
