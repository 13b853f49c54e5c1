//! Mounts: file systems at places of the tree.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aurora_abi::Errno;

use crate::sync::Mutex;
use crate::vfs::dentry::Recent;
use crate::vfs::{Dentry, Inode, PathRef};

bitflags::bitflags! {
    /// Options of a mount, mount(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct MountFlags: u32 {
        /// Nothing may be changed.
        const RDONLY = 1;
        /// Set-user-ID bits are ignored.
        const NOSUID = 2;
        /// Devices cannot be opened.
        const NODEV = 4;
        /// Programs cannot be executed.
        const NOEXEC = 8;
    }
}

/// One file system at one place.
pub struct Mount {
    /// Number, for `/proc/PID/mountinfo`.
    pub id: u64,
    /// The root of what is mounted.
    pub root: Arc<Dentry>,
    /// Where; none for the first.
    pub place: Option<PathRef>,
    /// What was named as source.
    pub source: String,
    /// The type, `tmpfs`.
    pub kind: &'static str,
    flags: AtomicU32,
}

impl Mount {
    /// Its options.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }
    /// Replaces its options (`MS_REMOUNT`).
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }
}

/// The tree of names.
pub struct Vfs {
    mounts: Mutex<Vec<Arc<Mount>>>,
    next_id: AtomicU64,
    /// Recently used names.
    pub recent: Recent,
}

impl Vfs {
    /// A tree with `root` as its first file system.
    pub fn new(root: Arc<dyn Inode>, kind: &'static str) -> Self {
        let vfs = Self { mounts: Mutex::default(), next_id: AtomicU64::new(1), recent: Recent::new(4096) };
        vfs.add(Dentry::root(root), None, "none", kind, MountFlags::empty());
        vfs
    }

    fn add(&self, root: Arc<Dentry>, place: Option<PathRef>, source: &str, kind: &'static str, flags: MountFlags) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = &place {
            place.dentry.mounts_here.fetch_add(1, Ordering::AcqRel);
        }
        let flags = AtomicU32::new(flags.bits());
        self.mounts.lock().push(Arc::new(Mount { id, root, place, source: source.into(), kind, flags }));
    }

    /// The root of the tree.
    pub fn root(&self) -> Result<PathRef, Errno> {
        let first = self.mounts.lock().first().cloned().ok_or(Errno::ENOENT)?;
        Ok(self.cross(PathRef { dentry: first.root.clone(), mount: first }))
    }

    /// All mounts, oldest first.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.mounts.lock().clone()
    }

    /// Mounts a file system at a directory.
    pub fn mount(
        &self,
        root: Arc<dyn Inode>,
        place: PathRef,
        source: &str,
        kind: &'static str,
        flags: MountFlags,
    ) -> Result<(), Errno> {
        if root.metadata().is_dir() != place.inode().metadata().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        self.add(Dentry::root(root), Some(place), source, kind, flags);
        Ok(())
    }

    /// Mounts a part of the tree at another place, too (`MS_BIND`).
    pub fn bind(&self, from: &PathRef, place: PathRef) -> Result<(), Errno> {
        if from.inode().metadata().is_dir() != place.inode().metadata().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let flags = from.mount.flags();
        self.add(from.dentry.clone(), Some(place), &from.mount.source.clone(), from.mount.kind, flags);
        Ok(())
    }

    /// Takes the mount whose root `at` is away; `EBUSY` while something is mounted in it or in use, unless `lazy`.
    pub fn unmount(&self, at: &PathRef, lazy: bool) -> Result<(), Errno> {
        let mut mounts = self.mounts.lock();
        let found = mounts.iter().position(|m| Arc::ptr_eq(m, &at.mount) && Arc::ptr_eq(&m.root, &at.dentry));
        let index = found.ok_or(Errno::EINVAL)?;
        let mount = mounts.get(index).cloned().ok_or(Errno::EINVAL)?;
        let Some(place) = mount.place.clone() else { return Err(Errno::EBUSY) };
        let has_inner = mounts.iter().any(|m| m.place.as_ref().is_some_and(|p| Arc::ptr_eq(&p.mount, &mount)));
        // Ours, the table's, and the caller's reference.
        if !lazy && (has_inner || Arc::strong_count(&mount) > 3) {
            return Err(Errno::EBUSY);
        }
        mounts.remove(index);
        place.dentry.mounts_here.fetch_sub(1, Ordering::AcqRel);
        Ok(())
    }

    /// From a place to the root of what is mounted there, last mounted first.
    pub fn cross(&self, mut at: PathRef) -> PathRef {
        while at.dentry.mounts_here.load(Ordering::Acquire) > 0 {
            let mounts = self.mounts.lock();
            let here = mounts.iter().rev().find(|m| m.place.as_ref().is_some_and(|p| p.is(&at)));
            let Some(mount) = here.cloned() else { break };
            at = PathRef { dentry: mount.root.clone(), mount };
        }
        at
    }

    /// The directory above, across mounts; `root` is its own parent.
    pub fn parent(&self, at: &PathRef, root: &PathRef) -> PathRef {
        let mut at = at.clone();
        loop {
            if at.is(root) {
                return at;
            }
            if !Arc::ptr_eq(&at.dentry, &at.mount.root) {
                break;
            }
            match &at.mount.place {
                Some(place) => at = place.clone(),
                None => return at,
            }
        }
        match at.dentry.parent() {
            Some(dentry) => self.cross(PathRef { mount: at.mount, dentry }),
            None => at,
        }
    }

    /// The path from `root` to `at`. `None` if it is not below `root`.
    pub fn path_of(&self, at: &PathRef, root: &PathRef) -> Option<Vec<u8>> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut at = at.clone();
        let removed = at.dentry.is_removed();
        while !at.is(root) {
            if Arc::ptr_eq(&at.dentry, &at.mount.root) {
                at = at.mount.place.clone()?;
                continue;
            }
            parts.push(at.dentry.name());
            at = PathRef { dentry: at.dentry.parent()?, mount: at.mount };
        }
        let mut path = Vec::new();
        for part in parts.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(part);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        if removed {
            path.extend_from_slice(b" (deleted)");
        }
        Some(path)
    }
}
