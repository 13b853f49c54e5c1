//! File systems made by us, and our own check of file systems.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod support;

use std::path::Path;

use aurora_ext4::*;
use support::model::{Mix, Model};
use support::oracle::{self, Folder};
use support::random::Random;
use support::{Disk, Host, KINDS, NEW_DIR, NEW_FILE};

fn options(bytes: u64, block_size: u32) -> FormatOptions {
    FormatOptions {
        device_bytes: bytes,
        block_size,
        uuid: *b"0123456789abcdef",
        hash_seed: *b"fedcba9876543210",
        label: b"a label".to_vec(),
        bytes_per_inode: 16384,
        reserved_percent: 5,
        journal_blocks: None,
        zeroed: true,
        now: Timestamp { sec: 1_700_000_000, nsec: 0 },
        uid: 0,
        gid: 0,
    }
}

fn format(image: &Path, options: &FormatOptions) {
    let file = std::fs::File::create(image).unwrap();
    file.set_len(options.device_bytes).unwrap();
    let mut disk = Disk::file(image);
    let mut formatting = Formatting::new(options).unwrap();
    while let Some(plan) = formatting.next_plan().unwrap() {
        assert!(support::carry_out(&mut disk, u64::from(options.block_size), &plan));
    }
}

/// What our check finds.
fn problems(host: &mut Host) -> Vec<String> {
    let mut check = Check::new(&host.fs);
    while host.run(|fs| check.step(fs)).unwrap() == Progress::More {}
    check.problems().iter().map(|p| format!("{:?}: {}", p.ino, p.text)).collect()
}

#[test]
fn what_we_make_is_clean_and_takes_files() {
    let folder = Folder::new();
    let image = folder.path("image");
    let sizes = [
        (1u64 << 20, 1024),
        (5 << 20, 2048),
        (8 << 20, 4096),
        (64 << 20, 1024),
        (100_000_000, 4096),
        ((1 << 30) + (130 << 10), 4096),
        ((1 << 30) + (130 << 10), 1024),
        (20 << 30, 4096),
    ];
    for (bytes, block_size) in sizes {
        for zeroed in [true, false] {
            let options = FormatOptions { zeroed, ..options(bytes, block_size) };
            format(&image, &options);
            oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{bytes} {block_size}: {said}"));
            let mut host = Host::mount(Disk::file(&image));
            assert_eq!(host.fs.label(), b"a label");
            let mut model = Model::default();
            let mut random = Random::new(bytes);
            let mix = Mix { no_overwrite: false, extents: true, largest: 60_000 };
            if bytes >= 5 << 20 {
                for _ in 0..200 {
                    model.step(&mut host, &mut random, mix);
                }
            }
            assert_eq!(model.difference(&Model::read(&mut host).unwrap()), None);
            host.unmount();
            oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{bytes} {block_size}, used: {said}"));
            assert_eq!(problems(&mut Host::mount_read_only(Disk::file(&image))), [""; 0]);
        }
    }
    let said = oracle::dumpe2fs(&image);
    for feature in ["has_journal", "metadata_csum", "64bit", "flex_bg", "extent", "dir_index", "dir_nlink"] {
        assert!(said.contains(feature), "{said}");
    }
    assert_eq!(Formatting::new(&options(20_000, 1024)).unwrap_err(), Error::NoSpace);
    assert_eq!(Formatting::new(&options(1 << 30, 8192)).unwrap_err(), Error::Invalid);
}

#[test]
fn our_check_finds_nothing_where_e2fsck_finds_nothing() {
    let folder = Folder::new();
    let image = folder.path("image");
    for (number, (name, arguments)) in KINDS.into_iter().enumerate() {
        oracle::mke2fs(&image, 48 << 20, arguments, None);
        let mut host = Host::mount(Disk::file(&image));
        let mut random = Random::new(77 + number as u64);
        let mut model = Model::default();
        let mix = Mix { no_overwrite: false, extents: host.fs.has_extents(), largest: 1 << 20 };
        for _ in 0..600 {
            model.step(&mut host, &mut random, mix);
        }
        host.unmount();
        oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{name}: {said}"));
        assert_eq!(problems(&mut Host::mount_read_only(Disk::file(&image))), [""; 0], "{name}");
    }
}

#[test]
fn our_check_finds_what_e2fsck_finds() {
    let folder = Folder::new();
    let image = folder.path("image");
    let damages: [(&str, &[&str]); 8] = [
        ("a block freed that is somebody's", &["freeb 600 300"]),
        ("blocks taken that are nobody's", &["setb 6000 5"]),
        ("a link too many", &["sif /file links_count 3"]),
        ("an inode freed that has a name", &["freei /file"]),
        ("a name without an inode in use", &["clri /file"]),
        ("a name gone", &["unlink /file"]),
        ("one block in two files", &["sif /other block[0] 0x0001f30a", "sif /dir/x block[5] 3000"]),
        ("a size that says less than there is", &["sif /file size 100"]),
    ];
    for (what, requests) in damages {
        oracle::mke2fs(&image, 32 << 20, &["-t", "ext4", "-b", "1024"], None);
        let mut host = Host::mount(Disk::file(&image));
        host.make("/dir", &NEW_DIR).unwrap();
        for path in ["/file", "/other", "/dir/x"] {
            let ino = host.make(path, &NEW_FILE).unwrap();
            host.write(ino, 0, &[b'x'; 400_000]).unwrap();
        }
        host.unmount();
        for request in requests {
            oracle::debugfs_write(&image, request);
        }
        assert!(oracle::e2fsck(&image).is_err(), "{what}: e2fsck finds nothing");
        let found = problems(&mut Host::mount_read_only(Disk::file(&image)));
        assert!(!found.is_empty(), "{what}: nothing found");
    }
}

#[test]
fn a_device_that_fails_makes_the_file_system_read_only_and_keeps_what_was_synced() {
    let folder = Folder::new();
    let image = folder.path("image");
    for writes in 0..60 {
        format(&image, &options(16 << 20, 4096));
        let mut host = Host::mount(Disk::file(&image));
        let synced = host.make("/synced", &NEW_FILE).unwrap();
        host.write(synced, 0, b"held").unwrap();
        host.commit();
        host.disk.writes_left = Some(writes);
        let mut failed = false;
        for number in 0..20 {
            let ino = host.make(&format!("/file{number}"), &NEW_FILE);
            host.commit();
            failed |= matches!(ino, Err(Error::ReadOnly));
            if number % 7 == 0 && !failed {
                host.checkpoint();
            }
        }
        if failed {
            assert!(host.fs.is_read_only());
        }
        host.disk.writes_left = None;
        let mut host = Host::mount(host.disk);
        let ino = host.find("/synced").unwrap();
        assert_eq!(host.read_all(ino).unwrap(), b"held");
        host.unmount();
        oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{writes}: {said}"));
    }
}
