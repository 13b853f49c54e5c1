//! Trees written by us, judged by e2fsck and read back.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod support;

use aurora_ext4::*;
use support::model::{Mix, Model};
use support::oracle::{self, Folder};
use support::random::{Random, seed};
use support::{Disk, Host, KINDS, NEW_DIR, NEW_FILE};

fn steps() -> u64 {
    std::env::var("AURORA_STEPS").ok().and_then(|s| s.parse().ok()).unwrap_or(1500)
}

#[test]
fn random_operations_do_what_a_model_does_in_every_format() {
    let folder = Folder::new();
    let seed = seed();
    for (number, (name, arguments)) in KINDS.into_iter().enumerate() {
        println!("{name}");
        let image = folder.path("image");
        oracle::mke2fs(&image, 48 << 20, arguments, None);
        let mut random = Random::new(seed + number as u64);
        let mut model = Model::default();
        let mut host = Host::mount(Disk::file(&image));
        let mix = Mix { no_overwrite: false, extents: host.fs.has_extents(), largest: 1 << 20 };
        for round in 0..3 {
            for _ in 0..steps() / 3 {
                model.step(&mut host, &mut random, mix);
            }
            let read = Model::read(&mut host).unwrap();
            assert_eq!(model.difference(&read), None, "{name}, round {round}");
            host.unmount();
            oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{name}, round {round}: {said}"));
            host = Host::mount(Disk::file(&image));
            let read = Model::read(&mut host).unwrap();
            assert_eq!(model.difference(&read), None, "{name}, round {round}, mounted again");
        }
    }
}

#[test]
fn a_directory_of_many_names_is_found_listed_and_emptied() {
    let count: u64 = std::env::var("AURORA_NAMES").ok().and_then(|s| s.parse().ok()).unwrap_or(20_000);
    let folder = Folder::new();
    for arguments in [
        &["-t", "ext4", "-b", "1024", "-N", "300000", "-O", "large_dir"][..],
        &["-t", "ext4", "-b", "4096", "-N", "300000"],
    ] {
        let image = folder.path("image");
        oracle::mke2fs(&image, 400 << 20, arguments, None);
        let mut host = Host::mount(Disk::file(&image));
        let dir = host.make("/many", &NEW_DIR).unwrap();
        for number in 0..count {
            let (name, by) = (format!("name number {number}"), host.by());
            host.run(|fs| fs.create(dir, name.as_bytes(), &NEW_FILE, by)).unwrap();
            host.housekeeping();
        }
        let all = host.list(dir, 500).unwrap();
        assert_eq!(all.len() as u64, count + 2);
        // Every second is removed while it is listed: all others are seen, and none twice.
        let (mut position, mut seen) = (0, std::collections::BTreeSet::new());
        loop {
            let part = host.run(|fs| fs.read_dir(dir, position, 100)).unwrap();
            let Some(last) = part.last() else { break };
            position = last.next;
            for entry in part {
                let name = String::from_utf8(entry.name).unwrap();
                if let Some(number) = name.strip_prefix("name number ") {
                    assert!(seen.insert(name.clone()), "{name} twice");
                    if number.parse::<u64>().unwrap().is_multiple_of(2) {
                        host.unlink(&format!("/many/{name}")).unwrap();
                    }
                }
            }
        }
        assert_eq!(seen.len() as u64, count);
        assert_eq!(host.list(dir, 500).unwrap().len() as u64, count / 2 + 2);
        for number in [1, 77, count - 1] {
            let name = format!("name number {number}");
            assert!(host.run(|fs| fs.lookup(dir, name.as_bytes())).is_ok(), "{name}");
        }
        host.unmount();
        oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{said}"));
        let listed = oracle::debugfs(&image, "ls -p /many");
        assert_eq!(listed.lines().filter(|l| l.contains("name number")).count() as u64, count / 2);
    }
}

#[test]
fn what_is_in_memory_has_bounds_however_many_names_are_made() {
    const LIMIT: u64 = 2 << 20;
    let folder = Folder::new();
    let image = folder.path("image");
    oracle::mke2fs(&image, 400 << 20, &["-t", "ext4", "-b", "4096", "-N", "100000", "-J", "size=64"], None);
    let mut host = Host::mount(Disk::file(&image));
    host.fs.set_cache_limit(LIMIT);
    let dir = host.make("/many", &NEW_DIR).unwrap();
    let mut most = 0;
    for number in 0..40_000 {
        let (name, by) = (format!("name number {number}"), host.by());
        let create = |host: &mut Host| host.run(|fs| fs.create(dir, name.as_bytes(), &NEW_FILE, by)).map(drop);
        // A caller who does no more than it must.
        let mut made = create(&mut host);
        while made == Err(Error::Busy) {
            host.checkpoint();
            made = create(&mut host);
        }
        made.unwrap();
        most = most.max(host.fs.memory().bytes);
    }
    assert!(most <= 4 * LIMIT, "{most} bytes");
    host.unmount();
    oracle::e2fsck(&image).unwrap();
}

#[test]
fn a_sparse_file_of_4_gib_takes_what_is_in_it() {
    let folder = Folder::new();
    for (_, arguments) in [KINDS[0], KINDS[3], KINDS[6]] {
        let image = folder.path("image");
        oracle::mke2fs(&image, 32 << 20, arguments, None);
        let mut host = Host::mount(Disk::file(&image));
        let ino = host.make("/sparse", &NEW_FILE).unwrap();
        let places = [0u64, 5 << 20, 1 << 30, (4 << 30) - 5000];
        for place in places {
            host.write(ino, place, &[b'x'; 5000]).unwrap();
        }
        assert_eq!(host.run(|fs| fs.attributes(ino)).unwrap().size, 4 << 30);
        for place in places {
            assert_eq!(host.read(ino, place, 5000).unwrap(), [b'x'; 5000]);
            let data = host.run(|fs| fs.seek_data(ino, place)).unwrap();
            assert_eq!(data, place);
        }
        assert!(host.read(ino, (2 << 30) + 17, 100_000).unwrap().iter().all(|b| *b == 0));
        let hole = host.run(|fs| fs.seek_hole(ino, 0)).unwrap();
        assert!((5000..20_000).contains(&hole));
        host.unmount();
        oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{said}"));
        let mut host = Host::mount(Disk::file(&image));
        let ino = host.find("/sparse").unwrap();
        host.truncate(ino, 3 << 30).unwrap();
        assert_eq!(host.run(|fs| fs.seek_data(ino, (1 << 30) + 9000)), Err(Error::NoData));
        host.unlink("/sparse").unwrap();
        host.unmount();
        oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{said}"));
    }
}

#[test]
fn access_control_lists_and_shared_attributes_are_as_linux_has_them() {
    let folder = Folder::new();
    let image = folder.path("image");
    oracle::mke2fs(&image, 32 << 20, &["-t", "ext4", "-b", "4096", "-I", "128"], None);
    let mut host = Host::mount(Disk::file(&image));
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in
        [(1u16, 6u16, u32::MAX), (2, 7, 1234), (4, 5, u32::MAX), (0x10, 7, u32::MAX), (0x20, 4, u32::MAX)]
    {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let free = host.fs.statfs().free;
    for number in 0..50 {
        let new = NewInode { xattrs: &[(b"system.posix_acl_access", &acl), (b"user.a", b"same")], ..NEW_FILE };
        host.make(&format!("/file{number}"), &new).unwrap();
    }
    assert!(free - host.fs.statfs().free <= 3, "fifty files share one block");
    let ino = host.find("/file7").unwrap();
    assert_eq!(host.run(|fs| fs.xattr(ino, b"system.posix_acl_access")).unwrap(), acl);
    let by = host.by();
    host.run(|fs| fs.set_xattr(ino, b"user.b", b"other", SetXattr::Create, by)).unwrap();
    let again = host.run(|fs| fs.set_xattr(ino, b"user.b", b"other", SetXattr::Create, by));
    assert_eq!(again, Err(Error::Exists));
    host.unmount();
    oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{said}"));
    let listed = oracle::debugfs(&image, "ea_list /file7");
    assert!(
        listed.contains("user.a (4)") && listed.contains("user.b (5)") && listed.contains("posix_acl_access"),
        "{listed}"
    );
    assert!(!oracle::debugfs(&image, "ea_list /file8").contains("user.b"));
    let mut host = Host::mount(Disk::file(&image));
    for number in 0..50 {
        host.unlink(&format!("/file{number}")).unwrap();
    }
    host.unmount();
    oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn what_is_unlinked_but_open_is_freed_by_the_next_mount() {
    let folder = Folder::new();
    for (name, arguments) in [KINDS[3], KINDS[6], KINDS[7]] {
        let image = folder.path("image");
        oracle::mke2fs(&image, 48 << 20, arguments, None);
        let mut host = Host::mount(Disk::file(&image));
        host.commit();
        let before = host.fs.statfs();
        let mut inodes = Vec::new();
        for number in 0..20 {
            let ino = host.make(&format!("/file{number}"), &NEW_FILE).unwrap();
            host.write(ino, 0, &vec![b'x'; 100_000]).unwrap();
            inodes.push(ino);
        }
        for number in 0..20 {
            let (file, by) = (format!("file{number}"), host.by());
            let gone = host.run(|fs| fs.unlink(Ext4::ROOT, file.as_bytes(), by)).unwrap();
            assert_eq!(gone.links, 0);
        }
        // Some are closed, in another order; what is open still has its contents.
        for number in [3, 19, 0, 7] {
            host.evict(Unlinked { ino: inodes[number], links: 0 }).unwrap();
        }
        assert_eq!(host.read(inodes[5], 0, 10).unwrap(), [b'x'; 10]);
        // A crash: the journal is replayed, and the orphans go.
        host.commit();
        let mut host = Host::mount(host.disk);
        let after = host.fs.statfs();
        assert_eq!((before.free_inodes, before.free), (after.free_inodes, after.free), "{name}");
        host.commit();
        host.unmount();
        oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{name}: {said}"));
    }
}

#[test]
fn a_full_disk_says_so_and_stays_right() {
    let folder = Folder::new();
    for (name, arguments) in [KINDS[0], KINDS[3], KINDS[4], KINDS[6]] {
        let image = folder.path("image");
        oracle::mke2fs(&image, 16 << 20, arguments, None);
        let mut host = Host::mount(Disk::file(&image));
        let mut random = Random::new(3);
        let mut made = Vec::new();
        let full = loop {
            let path = format!("/file{}", made.len());
            let result = host.make(&path, &NEW_FILE).and_then(|ino| {
                made.push(path);
                let data = random.bytes(1 + random.clone().below(200_000) as usize);
                host.write(ino, 0, &data)
            });
            if let Err(error) = result {
                break error;
            }
        };
        assert_eq!(full, Error::NoSpace, "{name}");
        for path in made.iter().step_by(2) {
            host.unlink(path).unwrap();
        }
        // What was freed can be had, after a commit that nobody has to ask for.
        let ino = host.make("/again", &NEW_FILE).unwrap();
        host.write(ino, 0, &random.bytes(1_000_000)).unwrap();
        host.unmount();
        oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{name}: {said}"));
    }
}

#[test]
fn more_subdirectories_than_can_be_counted_are_one_link_and_a_file_has_65000_names_at_most() {
    let folder = Folder::new();
    let image = folder.path("image");
    oracle::mke2fs(&image, 200 << 20, &["-t", "ext4", "-b", "1024", "-N", "70000"], None);
    let mut host = Host::mount(Disk::file(&image));
    let dir = host.make("/many", &NEW_DIR).unwrap();
    for number in 0..65_010 {
        let (name, by) = (format!("{number}"), host.by());
        host.run(|fs| fs.create(dir, name.as_bytes(), &NEW_DIR, by)).unwrap();
        host.housekeeping();
    }
    assert_eq!(host.run(|fs| fs.attributes(dir)).unwrap().links, 1);
    let linked = host.make("/linked", &NEW_DIR).unwrap();
    let file = host.make("/file", &NEW_FILE).unwrap();
    for number in 0..64_999 {
        let (name, by) = (format!("{number}"), host.by());
        host.run(|fs| fs.link(file, linked, name.as_bytes(), by)).unwrap();
        host.housekeeping();
    }
    let by = host.by();
    assert_eq!(host.run(|fs| fs.link(file, linked, b"one more", by)), Err(Error::TooManyLinks));
    host.rmdir("/many/17").unwrap();
    assert_eq!(host.rmdir("/many"), Err(Error::NotEmpty));
    host.unmount();
    oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn the_orders_of_operations_that_leave_orphans_leave_none_behind() {
    let folder = Folder::new();
    let image = folder.path("image");
    oracle::mke2fs(&image, 64 << 20, &["-t", "ext3", "-b", "1024"], None);
    let mut host = Host::mount(Disk::file(&image));
    let ino = host.make("/file", &NEW_FILE).unwrap();
    for number in 0..400u64 {
        host.write(ino, number * 30_000, b"scattered").unwrap();
    }
    // A truncation that takes steps, and the name goes in between.
    let by = host.by();
    assert_eq!(host.run(|fs| fs.truncate(ino, 0, by)).unwrap(), Progress::More);
    let gone = host.run(|fs| fs.unlink(Ext4::ROOT, b"file", by)).unwrap();
    host.truncate(ino, 0).unwrap();
    host.evict(gone).unwrap();
    // A file without a name gets one after all.
    let unnamed = host.run(|fs| fs.create_unnamed(Ext4::ROOT, &NEW_FILE, by)).unwrap().ino;
    let other = host.run(|fs| fs.create_unnamed(Ext4::ROOT, &NEW_FILE, by)).unwrap().ino;
    host.write(unnamed, 0, b"named later").unwrap();
    host.run(|fs| fs.link(unnamed, Ext4::ROOT, b"named", by)).unwrap();
    host.evict(Unlinked { ino: other, links: 0 }).unwrap();
    assert_eq!(host.run(|fs| fs.attributes(other)), Err(Error::Stale));
    host.unmount();
    oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{said}"));
    let mut host = Host::mount(Disk::file(&image));
    let ino = host.find("/named").unwrap();
    assert_eq!(host.read_all(ino).unwrap(), b"named later");
}
