//! Images by mke2fs, read by us.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use aurora_ext4::{Ext4, FileType, Ino};
use support::oracle::{self, Folder};
use support::random::Random;
use support::{Disk, Host, KINDS};

/// A tree with a bit of everything.
fn make_tree(root: &Path) {
    let mut random = Random::new(1);
    for size in [0u64, 1, 59, 60, 61, 100, 160, 1023, 1024, 4095, 4096, 4097, 13_000, 300_000, 5_000_000] {
        fs::write(root.join(format!("file-{size}")), random.bytes(size as usize)).unwrap();
    }
    let deep = root.join("a/b/c/d/e");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("leaf"), b"deep").unwrap();
    fs::set_permissions(deep.join("leaf"), fs::Permissions::from_mode(0o4711)).unwrap();
    for length in [1, 59, 60, 200, 1000] {
        std::os::unix::fs::symlink("x".repeat(length), root.join(format!("link-{length}"))).unwrap();
    }
    fs::hard_link(root.join("file-300000"), root.join("a/hard")).unwrap();
    let many = root.join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..3000 {
        fs::write(many.join(format!("a rather long name for a file, to fill blocks {number}")), format!("{number}"))
            .unwrap();
    }
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    for place in [0u64, 40_000, 400_000, 9_000_000] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &random.bytes(3000), place).unwrap();
    }
    // mke2fs loses a hole at the end with some features.
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 20_000_000).unwrap();
}

fn compare(host: &mut Host, ino: Ino, path: &Path, links: &mut BTreeMap<u64, Ino>) {
    let theirs = fs::symlink_metadata(path).unwrap();
    let ours = host.run(|fs| fs.attributes(ino)).unwrap();
    if ino != Ext4::ROOT {
        // The root is mke2fs's own.
        assert_eq!(u32::from(ours.permissions), theirs.mode() & 0o7777, "{path:?}");
        assert_eq!(ours.mtime.sec, theirs.mtime(), "{path:?}");
    }
    if theirs.is_dir() {
        assert_eq!(ours.kind, FileType::Directory);
        let mut names: BTreeMap<Vec<u8>, Ino> = BTreeMap::new();
        for entry in host.list(ino, 50).unwrap() {
            assert!(names.insert(entry.name, entry.ino).is_none(), "a name twice in {path:?}");
        }
        assert!(names.remove(&b"."[..]) == Some(ino) && names.remove(&b".."[..]).is_some());
        if ino == Ext4::ROOT {
            names.remove(&b"lost+found"[..]);
        }
        for child in fs::read_dir(path).unwrap() {
            let name = child.unwrap().file_name();
            let bytes = name.as_encoded_bytes().to_vec();
            let found = names.remove(&bytes).unwrap_or_else(|| panic!("{name:?} is not in {path:?}"));
            assert_eq!(host.run(|fs| fs.lookup(ino, &bytes)).unwrap().ino, found);
            compare(host, found, &path.join(name), links);
        }
        assert!(names.is_empty(), "{names:?} too many in {path:?}");
    } else if theirs.is_symlink() {
        assert_eq!(ours.kind, FileType::Symlink);
        assert_eq!(
            host.run(|fs| fs.read_link(ino)).unwrap(),
            fs::read_link(path).unwrap().as_os_str().as_encoded_bytes()
        );
    } else {
        assert_eq!(ours.kind, FileType::Regular);
        assert_eq!((u64::from(ours.links), ours.size), (theirs.nlink(), theirs.size()), "{path:?}");
        assert_eq!(*links.entry(theirs.ino()).or_insert(ino), ino);
        assert!(host.read_all(ino).unwrap() == fs::read(path).unwrap(), "contents of {path:?}");
    }
}

#[test]
fn trees_by_mke2fs_read_as_they_were_made() {
    let folder = Folder::new();
    let tree = folder.path("tree");
    fs::create_dir(&tree).unwrap();
    make_tree(&tree);
    for (name, arguments) in KINDS {
        println!("{name}");
        let image = folder.path("image");
        oracle::mke2fs(&image, 64 << 20, arguments, Some(&tree));
        let mut host = Host::mount_read_only(Disk::file(&image));
        compare(&mut host, Ext4::ROOT, &tree, &mut BTreeMap::new());
        let missing = host.run(|fs| fs.lookup(Ext4::ROOT, b"nothing")).unwrap_err();
        assert_eq!(missing.errno(), 2);
        // Mounted for writing and unmounted, it is still clean.
        let mut host = Host::mount(Disk::file(&image));
        compare(&mut host, Ext4::ROOT, &tree, &mut BTreeMap::new());
        host.unmount();
        oracle::e2fsck(&image).unwrap_or_else(|said| panic!("{name}: {said}"));
    }
}

#[test]
fn features_that_are_not_known_are_named() {
    let folder = Folder::new();
    let image = folder.path("image");
    for (arguments, name) in [
        (&["-t", "ext4", "-O", "bigalloc"][..], "bigalloc"),
        (&["-t", "ext4", "-O", "casefold"], "casefold"),
        (&["-t", "ext4", "-O", "encrypt"], "encrypt"),
        (&["-t", "ext4", "-O", "verity"], "verity"),
        (&["-t", "ext4", "-O", "ea_inode"], "ea_inode"),
        (&["-t", "ext4", "-O", "mmp"], "mmp"),
    ] {
        oracle::mke2fs(&image, 32 << 20, arguments, None);
        let (_, refused) = support::try_mount(Disk::file(&image), false);
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(name), "{said} does not name {name}");
    }
    oracle::mke2fs(&image, 32 << 20, &["-t", "ext4", "-O", "quota"], None);
    let (_, fs) = support::try_mount(Disk::file(&image), true);
    let fs = fs.unwrap();
    assert!(fs.is_read_only());
    assert_eq!(fs.read_only_features(), ["quota"]);
}
