//! Damaged images: an answer, an error or a file system that has become read-only; never a panic, a hang or memory
//! without bound.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod support;

use std::time::{Duration, Instant};

use aurora_ext4::*;
use support::model::{Mix, Model};
use support::oracle::{self, Folder};
use support::random::{Random, seed};
use support::{Disk, Host, KINDS, NEW_DIR, NEW_FILE};

/// An image to damage, and where its metadata is.
struct Subject {
    image: Vec<u8>,
    block_size: usize,
    metadata: Vec<usize>,
}

fn subjects(folder: &Folder) -> Vec<Subject> {
    let path = folder.path("image");
    let mut all = Vec::new();
    for (number, kind) in [0usize, 3, 4, 6, 7, 9, 10].into_iter().enumerate() {
        let arguments = [KINDS[kind].1, &["-N", "600"]].concat();
        oracle::mke2fs(&path, 8 << 20, &arguments, None);
        let mut disk = Disk::memory(std::fs::read(&path).unwrap());
        disk.record = Some(Vec::new());
        let mut host = Host::mount(disk);
        let mut random = Random::new(number as u64);
        let mut model = Model::default();
        let mix = Mix { no_overwrite: false, extents: host.fs.has_extents(), largest: 200_000 };
        host.make("/many", &NEW_DIR).unwrap();
        for name in 0..150 {
            host.make(&format!("/many/a name of some length, number {name}"), &NEW_FILE).unwrap();
        }
        for _ in 0..250 {
            model.step(&mut host, &mut random, mix);
        }
        let block_size = host.block_size() as usize;
        // Half of them are left as after a crash, with a journal to replay.
        let mut disk = if number % 2 == 0 {
            host.unmount()
        } else {
            host.commit();
            host.disk
        };
        let written = disk.record.take().unwrap();
        let mut metadata: Vec<usize> = written
            .iter()
            .filter_map(|r| match r {
                support::Record::Write { offset, data } if data.len() == block_size => {
                    Some(*offset as usize / block_size)
                }
                _ => None,
            })
            .collect();
        metadata.extend(0..40);
        metadata.sort_unstable();
        metadata.dedup();
        all.push(Subject { image: disk.into_memory(), block_size, metadata });
    }
    all
}

/// Values that make trouble.
const VALUES: [u64; 12] =
    [0, 1, 2, 7, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0xf30a, 0x8000_0000_0000_0000];

fn damage(subject: &Subject, image: &mut [u8], random: &mut Random) {
    for _ in 0..1 + random.below(6) {
        let block = *random.pick(&subject.metadata).unwrap();
        let start = block * subject.block_size;
        let size = subject.block_size as u64;
        // Fields are at multiples of two, and often near the start.
        let within = if random.below(2) == 0 { random.below(size.min(128)) } else { random.below(size) } as usize;
        match random.below(5) {
            0 => image[start + within] ^= 1 << random.below(8),
            1 => {
                let value = random.pick(&VALUES).unwrap().to_le_bytes();
                let width = [1, 2, 4, 8][random.below(4) as usize];
                let at = (start + within / 2 * 2).min(image.len() - 8);
                image[at..at + width].copy_from_slice(&value[..width]);
            }
            2 => {
                let other = *random.pick(&subject.metadata).unwrap() * subject.block_size;
                let copy = image[other..other + subject.block_size].to_vec();
                image[start..start + subject.block_size].copy_from_slice(&copy);
            }
            3 => image[start..start + subject.block_size].fill(0),
            _ => {
                let length = 1 + random.below(32) as usize;
                let bytes = random.bytes(length);
                let at = (start + within).min(image.len() - bytes.len());
                image[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
    }
}

/// Walks a tree without trust in it.
fn walk(host: &mut Host, random: &mut Random) -> Vec<(Ino, Vec<u8>, Ino)> {
    let mut found = Vec::new();
    let mut dirs = vec![Ext4::ROOT];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(dir) = dirs.pop() {
        if !seen.insert(dir) || seen.len() > 300 {
            continue;
        }
        let mut position = 0;
        for _ in 0..400 {
            let Ok(part) = host.run(|fs| fs.read_dir(dir, position, 64)) else { break };
            let Some(last) = part.last() else { break };
            assert!(last.next > position, "reading a directory does not go on");
            position = last.next;
            for entry in part.into_iter().filter(|e| e.name != b"." && e.name != b"..") {
                let _ = host.run(|fs| fs.lookup(dir, &entry.name));
                if let Ok(attributes) = host.run(|fs| fs.attributes(entry.ino)) {
                    match attributes.kind {
                        FileType::Directory => dirs.push(entry.ino),
                        FileType::Symlink => drop(host.run(|fs| fs.read_link(entry.ino))),
                        FileType::Regular => {
                            let _ = host.run(|fs| fs.read_inline(entry.ino));
                            let size = attributes.size >> 10;
                            for _ in 0..4 {
                                let at = random.below(size + 2);
                                if let Ok(runs) = host.run(|fs| fs.map(entry.ino, at, 100)) {
                                    assert!(runs.iter().all(|r| r.count > 0));
                                }
                            }
                        }
                        _ => {}
                    }
                    if let Ok(names) = host.run(|fs| fs.xattr_names(entry.ino)) {
                        for name in names {
                            let _ = host.run(|fs| fs.xattr(entry.ino, &name));
                        }
                    }
                }
                found.push((dir, entry.name, entry.ino));
            }
        }
    }
    found
}

/// Changes what was found; whatever the answers are.
fn change(host: &mut Host, found: &[(Ino, Vec<u8>, Ino)], random: &mut Random) {
    for number in 0..25u64 {
        let Some((dir, name, ino)) = random.pick(found).cloned() else { return };
        let (by, new) = (host.by(), format!("new {number}"));
        match random.below(9) {
            0 => {
                if let Ok(gone) = host.run(|fs| fs.unlink(dir, &name, by)) {
                    for _ in 0..100 {
                        if gone.links != 0 || !matches!(host.run(|fs| fs.evict(ino, by)), Ok(Progress::More)) {
                            break;
                        }
                    }
                }
            }
            1 => drop(host.run(|fs| fs.remove_dir(dir, &name, by))),
            2 => {
                for _ in 0..100 {
                    if !matches!(host.run(|fs| fs.truncate(ino, number * 500, by)), Ok(Progress::More)) {
                        break;
                    }
                }
            }
            3 => drop(host.run(|fs| fs.map_for_write(ino, number * 3, 40, Allocate::Unwritten, by))),
            4 => drop(host.run(|fs| fs.written(ino, 0, 100))),
            5 => drop(host.run(|fs| fs.create(dir, new.as_bytes(), &NEW_FILE, by))),
            6 => drop(host.run(|fs| fs.create(dir, new.as_bytes(), &NEW_DIR, by))),
            7 => drop(host.run(|fs| fs.set_xattr(ino, b"user.new", &[7; 90], SetXattr::Any, by))),
            _ => drop(host.run(|fs| fs.rename((dir, &name), (Ext4::ROOT, new.as_bytes()), Rename::Replace, by))),
        }
        if random.below(6) == 0 {
            host.commit();
        }
        if random.below(12) == 0 {
            host.checkpoint();
        }
    }
}

fn case(subject: &Subject, scratch: Vec<u8>, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut image = scratch;
    image.copy_from_slice(&subject.image);
    damage(subject, &mut image, &mut random);
    let read_only = random.below(4) == 0;
    let (disk, fs) = support::try_mount(Disk::memory(image), read_only);
    let Ok(fs) = fs else { return disk.into_memory() };
    let mut host = Host { fs, disk, now: 1_700_020_000, moments: None };
    let found = walk(&mut host, &mut random);
    if !read_only {
        change(&mut host, &found, &mut random);
    }
    let mut check = Check::new(&host.fs);
    for _ in 0..100_000 {
        if !matches!(host.run(|fs| check.step(fs)), Ok(Progress::More)) {
            break;
        }
    }
    let used = host.fs.memory().bytes;
    assert!(used <= 64 << 20, "{used} bytes of blocks for an image of 8 MiB");
    host.unmount().into_memory()
}

/// Cases for a while, or so many.
#[test]
fn damaged_images_give_errors_and_nothing_worse() {
    let folder = Folder::new();
    let seed = seed();
    let all = subjects(&folder);
    let cases: u64 = std::env::var("AURORA_CASES").ok().and_then(|s| s.parse().ok()).unwrap_or(u64::MAX);
    let limit = if cases == u64::MAX { Duration::from_secs(60) } else { Duration::MAX };
    let start = Instant::now();
    let threads = 2u64;
    let total: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let all = &all;
                scope.spawn(move || {
                    let mut scratch = vec![0; 8 << 20];
                    let mut done = 0;
                    for number in (thread..cases).step_by(threads as usize) {
                        if start.elapsed() > limit {
                            break;
                        }
                        let subject = &all[(number % all.len() as u64) as usize];
                        let began = Instant::now();
                        let seed = seed.wrapping_add(number);
                        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                            case(subject, std::mem::take(&mut scratch), seed)
                        }));
                        match result {
                            Ok(back) => scratch = back,
                            Err(_) => panic!("case {number}: AURORA_SEED={seed} AURORA_CASES={}", number + 1),
                        }
                        assert!(began.elapsed() < Duration::from_secs(20), "case {number} hangs, seed {seed}");
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("{total} cases in {:.1} s", start.elapsed().as_secs_f64());
    assert!(total > 100);
}
