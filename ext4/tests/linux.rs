//! Linux as the judge, where images can be mounted: it reads what we wrote, and we read what it left, its journal
//! included. Elsewhere (without a loop device or without being root) there is nothing to compare with.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use aurora_ext4::{FormatOptions, Formatting, Timestamp};
use support::model::{Mix, Model, Node};
use support::oracle::{self, Folder};
use support::random::Random;
use support::{Disk, Host, KINDS};

/// An image mounted by Linux, until it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(image: &Path, at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let done = Command::new("mount").args(["-o", options]).arg(image).arg(&at).output().ok()?;
        done.status.success().then_some(Self(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// The tree as Linux shows it.
fn linux_tree(at: &Path) -> Model {
    fn walk(model: &mut Model, at: &Path, path: &str, seen: &mut BTreeMap<u64, u64>) {
        for entry in fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if path.is_empty() && name == "lost+found" {
                continue;
            }
            let (path, data) = (format!("{path}/{name}"), entry.metadata().unwrap());
            if let Some(id) = seen.get(&data.ino()) {
                model.names.insert(path, *id);
                continue;
            }
            let node = if data.is_dir() {
                Node::Dir
            } else if data.is_symlink() {
                Node::Link(fs::read_link(entry.path()).unwrap().into_os_string().into_string().unwrap())
            } else {
                Node::File(fs::read(entry.path()).unwrap().into())
            };
            let id = seen.len() as u64 + 1;
            model.names.insert(path.clone(), id);
            model.nodes.insert(id, node);
            seen.insert(data.ino(), id);
            if data.is_dir() {
                walk(model, &entry.path(), &path, seen);
            }
        }
    }
    let mut model = Model::default();
    walk(&mut model, at, "", &mut BTreeMap::new());
    model
}

/// Linux's work: files made, appended to, moved and removed.
fn linux_work(at: &Path, random: &mut Random) {
    for number in 0..400u64 {
        let dir = at.join(format!("linux{}", number % 3));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(format!("a file of linux with a long name {number}"));
        let size = random.below(20_000) as usize;
        fs::write(&path, random.bytes(size)).unwrap();
        match random.below(4) {
            0 => fs::remove_file(&path).unwrap(),
            1 => fs::rename(&path, at.join(format!("linux0/moved {}", number / 2))).unwrap(),
            2 => drop(fs::hard_link(&path, at.join(format!("linked {number}")))),
            _ => {}
        }
        if number % 97 == 0 {
            rustix_sync();
        }
    }
    for dir in 0..3 {
        fs::remove_dir_all(at.join(format!("linux{dir}/sub"))).ok();
    }
}

fn rustix_sync() {
    let _ = Command::new("sync").status();
}

/// An image by our own mkfs.
fn make(image: &Path) {
    fs::File::create(image).unwrap().set_len(300 << 20).unwrap();
    let options = FormatOptions {
        device_bytes: 300 << 20,
        block_size: 4096,
        uuid: [7; 16],
        hash_seed: [9; 16],
        label: b"ours".to_vec(),
        bytes_per_inode: 16384,
        reserved_percent: 5,
        journal_blocks: None,
        zeroed: false,
        now: Timestamp { sec: 1_700_000_000, nsec: 0 },
        uid: 0,
        gid: 0,
    };
    let mut disk = Disk::file(image);
    let mut formatting = Formatting::new(&options).unwrap();
    while let Some(plan) = formatting.next_plan().unwrap() {
        assert!(support::carry_out(&mut disk, 4096, &plan));
    }
}

#[test]
fn linux_reads_what_we_write_and_we_read_what_linux_writes() {
    let folder = Folder::new();
    let at = std::env::temp_dir().join(format!("aurora-ext4-mount-{}", std::process::id()));
    let mut random = Random::new(5);
    for (name, arguments) in KINDS.into_iter().chain([("made by us", &[][..])]) {
        let image = folder.path("image");
        if arguments.is_empty() {
            make(&image);
        } else {
            oracle::mke2fs(&image, 48 << 20, arguments, None);
        }
        if Mount::new(&image, at.clone(), "loop").is_none() {
            println!("{name}: cannot be mounted here");
            continue;
        }
        let mut host = Host::mount(Disk::file(&image));
        let mut model = Model::default();
        let mix = Mix { no_overwrite: false, extents: host.fs.has_extents(), largest: 300_000 };
        for _ in 0..500 {
            model.step(&mut host, &mut random, mix);
        }
        model.xattrs.clear();
        let journal = !name.contains("ext2") && !name.contains("journal");
        // With a journal Linux replays what we leave; without one the image is unmounted.
        if journal {
            host.commit();
        } else {
            host.unmount();
        }
        let mount =
            Mount::new(&image, at.clone(), "loop").unwrap_or_else(|| panic!("{name}: Linux refuses what we wrote"));
        assert_eq!(model.difference(&linux_tree(&at)), None, "{name}: as Linux reads it");
        linux_work(&at, &mut random);
        rustix_sync();
        let expected = linux_tree(&at);
        rustix_sync();
        // As after a crash of Linux: its journal is not empty.
        let crashed = folder.path("crashed");
        fs::copy(&image, &crashed).unwrap();
        drop(mount);
        for path in [&image, &crashed] {
            if path == &crashed && !journal {
                continue;
            }
            let mut host = Host::mount_read_only(Disk::file(path));
            let mut read = Model::read(&mut host).unwrap();
            read.xattrs.clear();
            assert_eq!(expected.difference(&read), None, "{name}: as we read it");
            let mut host = Host::mount(Disk::file(path));
            let mut read = Model::read(&mut host).unwrap();
            read.xattrs.clear();
            assert_eq!(expected.difference(&read), None, "{name}: as we read it after a replay");
            host.unmount();
            oracle::e2fsck(path).unwrap_or_else(|said| panic!("{name}: {said}"));
        }
    }
    let _ = fs::remove_dir(&at);
}
