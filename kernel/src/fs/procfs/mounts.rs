//! `/proc/PID/mounts`, `mountinfo` and `mountstats`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;

use crate::fs::procfs::Subject;
use crate::vfs::inode::DeviceId;
use crate::vfs::mount::MountFlags;
use crate::vfs::{Mount, PathRef};

const OPTIONS: [(MountFlags, &str); 6] = [
    (MountFlags::NOSUID, ",nosuid"),
    (MountFlags::NODEV, ",nodev"),
    (MountFlags::NOEXEC, ",noexec"),
    (MountFlags::NOATIME, ",noatime"),
    (MountFlags::NODIRATIME, ",nodiratime"),
    (MountFlags::NOSYMFOLLOW, ",nosymfollow"),
];

fn options(mount: &Mount) -> String {
    let flags = mount.flags();
    let mut text = String::from(if flags.contains(MountFlags::RDONLY) { "ro" } else { "rw" });
    OPTIONS.iter().filter(|(flag, _)| flags.contains(*flag)).for_each(|(_, name)| text.push_str(name));
    if !flags.contains(MountFlags::NOATIME) {
        text.push_str(",relatime");
    }
    text
}

/// A path as these files write it: blanks and the like as octal numbers.
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(path.len());
    for &byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => text.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            _ => text.push(byte),
        }
    }
    text
}

/// A mount and its path.
type Reachable = (Arc<Mount>, Vec<u8>);

/// Mounts the subject can reach.
fn reachable(subject: &Subject) -> Result<Vec<Reachable>, Errno> {
    let fs = subject.thread()?.fs();
    let (vfs, root) = (&subject.process.kernel.vfs, fs.root());
    let path = |mount: Arc<Mount>| {
        let at = PathRef { dentry: mount.root.clone(), mount: mount.clone() };
        Some((mount, escaped(&vfs.path_of(&at, &root)?)))
    };
    Ok(vfs.mounts_of(fs.namespace().id).into_iter().filter_map(path).collect())
}

pub(super) fn mounts(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    for (mount, path) in reachable(subject)? {
        text.extend_from_slice(&escaped(mount.source.as_bytes()));
        text.push(b' ');
        text.extend_from_slice(&path);
        text.extend_from_slice(format!(" {} {} 0 0\n", mount.kind, options(&mount)).as_bytes());
    }
    Ok(text)
}

pub(super) fn mountstats(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    for (mount, path) in reachable(subject)? {
        text.extend_from_slice(format!("device {} mounted on ", mount.source).as_bytes());
        text.extend_from_slice(&path);
        text.extend_from_slice(format!(" with fstype {}\n", mount.kind).as_bytes());
    }
    Ok(text)
}

/// Where in its file system the mount starts.
fn root_of(mount: &Mount) -> Vec<u8> {
    let mut names = Vec::new();
    let mut at = mount.root.clone();
    while let Some(parent) = at.parent() {
        names.push(at.name());
        at = parent;
    }
    let mut path = Vec::new();
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    escaped(&path)
}

pub(super) fn mountinfo(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    for (mount, path) in reachable(subject)? {
        let parent = mount.place().map_or(mount.id, |p| p.mount.id);
        let dev = DeviceId::decode(mount.root.inode().metadata().dev);
        text.extend_from_slice(format!("{} {parent} {}:{} ", mount.id, dev.major, dev.minor).as_bytes());
        text.extend_from_slice(&root_of(&mount));
        text.push(b' ');
        text.extend_from_slice(&path);
        text.extend_from_slice(format!(" {} ", options(&mount)).as_bytes());
        let (group, master) = mount.propagation();
        for (word, number) in [("shared", group), ("master", master)] {
            if number != 0 {
                text.extend_from_slice(format!("{word}:{number} ").as_bytes());
            }
        }
        if mount.is_unbindable() {
            text.extend_from_slice(b"unbindable ");
        }
        let access = if mount.flags().contains(MountFlags::RDONLY) { "ro" } else { "rw" };
        text.extend_from_slice(format!("- {} ", mount.kind).as_bytes());
        text.extend_from_slice(&escaped(mount.source.as_bytes()));
        text.extend_from_slice(format!(" {access}\n").as_bytes());
    }
    Ok(text)
}
