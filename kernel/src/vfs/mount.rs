//! Mounts: file systems at places of the tree, mount(2), mount_namespaces(7).
//!
//! What always holds: a mount belongs to one namespace, and its place, if it has one, is in a mount of the same. A place
//! is a mount and a name in it, so looking one up needs no namespace: whoever has a place has the tree it is in.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use aurora_abi::Errno;

use crate::sync::Mutex;
use crate::vfs::dentry::Recent;
use crate::vfs::{Dentry, FileSystem, Inode, PathRef};

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
        /// Links are not followed.
        const NOSYMFOLLOW = 256;
        /// Times of access stay.
        const NOATIME = 1024;
        /// Times of access of directories stay.
        const NODIRATIME = 2048;
    }
}

/// The number of the first namespace.
pub const FIRST_NAMESPACE: u64 = 1;

/// One file system at one place.
pub struct Mount {
    /// Number, for `/proc/PID/mountinfo`.
    pub id: u64,
    /// The root of what is mounted.
    pub root: Arc<Dentry>,
    place: Mutex<Option<PathRef>>,
    /// What was named as source.
    pub source: String,
    /// The type, `tmpfs`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: u64,
    flags: AtomicU32,
    /// Peers with this number get what is mounted here; 0 for none (`MS_SHARED`).
    group: AtomicU64,
    /// What is mounted in this group comes here, too; 0 for none (`MS_SLAVE`).
    master: AtomicU64,
    unbindable: AtomicBool,
    /// Unmounting was tried once with `MNT_EXPIRE`.
    pub expiring: AtomicBool,
    recent: Arc<Recent>,
}

impl Drop for Mount {
    /// The last mount takes the names the system remembers along, and with them the file system, unless files are open.
    fn drop(&mut self) {
        if self.root.mounts_of.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.recent.let_go_all(|dentry| self.root.is_ancestor_of(dentry));
        }
    }
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
    /// Where it is; none for the first of its namespace.
    pub fn place(&self) -> Option<PathRef> {
        self.place.lock().clone()
    }
    /// The group of its peers and that of its master, 0 for none.
    pub fn propagation(&self) -> (u64, u64) {
        (self.group.load(Ordering::Relaxed), self.master.load(Ordering::Relaxed))
    }
    /// Whether it cannot be bound elsewhere.
    pub fn is_unbindable(&self) -> bool {
        self.unbindable.load(Ordering::Relaxed)
    }
    /// Whether `at` is its root.
    pub fn is_root(&self, at: &PathRef) -> bool {
        Arc::ptr_eq(&self.root, &at.dentry)
    }
    fn is_at(&self, at: &PathRef) -> bool {
        self.place.lock().as_ref().is_some_and(|p| p.is(at))
    }
    fn is_in(&self, mount: &Arc<Mount>) -> bool {
        self.place.lock().as_ref().is_some_and(|p| Arc::ptr_eq(&p.mount, mount))
    }
    fn move_to(&self, place: Option<PathRef>) {
        if let Some(new) = &place {
            new.dentry.mounts_here.fetch_add(1, Ordering::AcqRel);
        }
        let old = core::mem::replace(&mut *self.place.lock(), place);
        if let Some(old) = old {
            old.dentry.mounts_here.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// How mounts in a mount reach others, mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Both ways between peers.
    Shared,
    /// Not at all.
    Private,
    /// Only here, from what were the peers.
    Slave,
    /// Not at all, and it cannot be bound.
    Unbindable,
}

type Table = Arc<Mutex<Vec<Arc<Mount>>>>;

/// The mounts some processes see. They go with the last process.
pub struct MountNamespace {
    /// Its number.
    pub id: u64,
    table: Table,
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        let mut gone = Vec::new();
        self.table.lock().retain(|m| {
            let stays = m.namespace != self.id;
            if !stays {
                gone.push(m.clone());
            }
            stays
        });
        gone.iter().for_each(|m| m.move_to(None));
    }
}

/// A new mount.
struct New<'a> {
    root: Arc<Dentry>,
    source: &'a str,
    kind: &'static str,
    flags: MountFlags,
    namespace: u64,
}

/// The trees of names.
pub struct Vfs {
    mounts: Table,
    next_id: AtomicU64,
    next_group: AtomicU64,
    next_namespace: AtomicU64,
    /// Recently used names.
    pub recent: Arc<Recent>,
    /// Where what has no place is: pipes, memfds.
    nowhere: Arc<Mount>,
    first: Arc<MountNamespace>,
}

impl Vfs {
    /// A tree with `root` as its first file system, which keeps so many names that were used recently.
    pub fn new(root: Arc<dyn Inode>, kind: &'static str, names: usize) -> Self {
        let nothing = New {
            root: Dentry::root(root.clone()),
            source: "none",
            kind: "anon_inodefs",
            flags: MountFlags::empty(),
            namespace: 0,
        };
        let (mounts, recent) = (Table::default(), Arc::new(Recent::new(names)));
        let vfs = Self {
            first: Arc::new(MountNamespace { id: FIRST_NAMESPACE, table: mounts.clone() }),
            mounts,
            next_id: AtomicU64::new(1),
            next_group: AtomicU64::new(1),
            next_namespace: AtomicU64::new(FIRST_NAMESPACE + 1),
            nowhere: make(0, nothing, &recent),
            recent,
        };
        let flags = MountFlags::empty();
        let first = New { root: Dentry::root(root), source: "none", kind, flags, namespace: FIRST_NAMESPACE };
        vfs.add(first, None);
        vfs
    }

    /// The first namespace.
    pub fn first_namespace(&self) -> Arc<MountNamespace> {
        self.first.clone()
    }

    fn add(&self, new: New<'_>, place: Option<PathRef>) -> Arc<Mount> {
        let mount = make(self.next_id.fetch_add(1, Ordering::Relaxed), new, &self.recent);
        mount.move_to(place);
        self.mounts.lock().push(mount.clone());
        mount
    }

    /// A place for an inode that has none.
    pub fn nowhere(&self, inode: &Arc<dyn Inode>) -> PathRef {
        PathRef { mount: self.nowhere.clone(), dentry: Dentry::root(inode.clone()) }
    }

    /// The same with a name that only `/proc` shows.
    pub fn nowhere_named(&self, name: &[u8], inode: &Arc<dyn Inode>) -> PathRef {
        PathRef { mount: self.nowhere.clone(), dentry: Dentry::unnamed(name.to_vec(), None, inode.clone()) }
    }

    /// The root of the first namespace.
    pub fn root(&self) -> Result<PathRef, Errno> {
        self.root_of(FIRST_NAMESPACE)
    }

    /// The root of a namespace.
    pub fn root_of(&self, namespace: u64) -> Result<PathRef, Errno> {
        let mounts = self.mounts_of(namespace);
        let first = mounts.into_iter().find(|m| m.place.lock().is_none()).ok_or(Errno::ENOENT)?;
        Ok(self.cross(PathRef { dentry: first.root.clone(), mount: first }))
    }

    /// All mounts of a namespace, oldest first.
    pub fn mounts_of(&self, namespace: u64) -> Vec<Arc<Mount>> {
        self.mounts.lock().iter().filter(|m| m.namespace == namespace).cloned().collect()
    }

    /// Whether a mount is in a tree, that of `namespace` if it is given, and was not taken away.
    pub fn has(&self, mount: &Arc<Mount>, namespace: Option<u64>) -> bool {
        namespace.is_none_or(|n| n == mount.namespace) && self.mounts.lock().iter().any(|m| Arc::ptr_eq(m, mount))
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
        let namespace = place.mount.namespace;
        let mount = self.add(New { root: Dentry::root(root), source, kind, flags, namespace }, Some(place.clone()));
        self.propagate(&[mount], &place);
        Ok(())
    }

    /// Mounts a part of the tree at another place, too (`MS_BIND`), with what is mounted in it if `recursive`.
    pub fn bind(&self, from: &PathRef, place: PathRef, recursive: bool) -> Result<(), Errno> {
        if from.mount.is_unbindable() {
            return Err(Errno::EINVAL);
        }
        if from.inode().metadata().is_dir() != place.inode().metadata().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let inner = if recursive { self.below(from) } else { Vec::new() };
        let copies = self.copy_tree(&from.mount, &from.dentry, &inner, place.mount.namespace);
        if let Some(top) = copies.first() {
            top.move_to(Some(place.clone()));
        }
        self.propagate(&copies, &place);
        Ok(())
    }

    /// Copies of a mount, its root being `root`, and of those in it, not yet in a place: the first is the top.
    fn copy_tree(&self, top: &Arc<Mount>, root: &Arc<Dentry>, inner: &[Arc<Mount>], namespace: u64) -> Vec<Arc<Mount>> {
        let copy = |m: &Arc<Mount>, root: &Arc<Dentry>| {
            let new = New { root: root.clone(), source: &m.source, kind: m.kind, flags: m.flags(), namespace };
            let copy = self.add(new, None);
            let (group, master) = m.propagation();
            copy.group.store(group, Ordering::Relaxed);
            copy.master.store(master, Ordering::Relaxed);
            copy
        };
        let mut originals = Vec::from([top.clone()]);
        let mut copies = Vec::from([copy(top, root)]);
        for mount in inner.iter().filter(|m| !m.is_unbindable()) {
            let Some(place) = mount.place() else { continue };
            let Some(at) = originals.iter().position(|o| Arc::ptr_eq(o, &place.mount)) else { continue };
            let Some(parent) = copies.get(at).cloned() else { continue };
            let new = copy(mount, &mount.root);
            new.move_to(Some(PathRef { mount: parent, dentry: place.dentry }));
            originals.push(mount.clone());
            copies.push(new);
        }
        copies
    }

    /// Mounts in the tree below `at`, those outside before those inside.
    fn below(&self, at: &PathRef) -> Vec<Arc<Mount>> {
        let all = self.mounts_of(at.mount.namespace);
        let mut found: Vec<Arc<Mount>> = Vec::new();
        let mut todo = Vec::from([at.mount.clone()]);
        while let Some(outer) = todo.pop() {
            let is_top = Arc::ptr_eq(&outer, &at.mount);
            for mount in all.iter().filter(|m| m.is_in(&outer)) {
                let inside = mount.place().is_some_and(|p| !is_top || at.dentry.is_ancestor_of(&p.dentry));
                if inside {
                    found.push(mount.clone());
                    todo.push(mount.clone());
                }
            }
        }
        found
    }

    /// Brings what was just mounted at `place` to the peers and slaves of the mount it is in.
    fn propagate(&self, mounted: &[Arc<Mount>], place: &PathRef) {
        let (group, _) = place.mount.propagation();
        let Some(top) = mounted.first() else { return };
        if group == 0 {
            return;
        }
        let inner = mounted.get(1..).unwrap_or_default();
        for mount in mounted {
            self.share(mount);
        }
        for (target, is_peer) in self.receivers(group, &place.mount) {
            if !target.root.is_ancestor_of(&place.dentry) {
                continue;
            }
            let copies = self.copy_tree(top, &top.root, inner, target.namespace);
            for (copy, original) in copies.iter().zip(mounted) {
                if !is_peer {
                    copy.master.store(original.propagation().0, Ordering::Relaxed);
                    copy.group.store(0, Ordering::Relaxed);
                }
            }
            if let Some(copy) = copies.first() {
                copy.move_to(Some(PathRef { mount: target, dentry: place.dentry.clone() }));
            }
        }
    }

    /// Who gets what is mounted in a group, except `origin`; each with whether it is a peer.
    fn receivers(&self, group: u64, origin: &Arc<Mount>) -> Vec<(Arc<Mount>, bool)> {
        let all = self.mounts.lock().clone();
        let mut found: Vec<(Arc<Mount>, bool)> = Vec::new();
        let mut groups = Vec::from([(group, true)]);
        while let Some((group, is_peer)) = groups.pop() {
            for mount in &all {
                let (own, master) = mount.propagation();
                let known = Arc::ptr_eq(mount, origin) || found.iter().any(|(f, _)| Arc::ptr_eq(f, mount));
                if known || own != group && master != group {
                    continue;
                }
                found.push((mount.clone(), is_peer && own == group));
                if master == group && own != 0 {
                    groups.push((own, false));
                }
            }
        }
        found
    }

    fn share(&self, mount: &Mount) {
        if mount.group.load(Ordering::Relaxed) == 0 {
            mount.group.store(self.next_group.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Changes how mounts in `at` reach others, and in those below it if `recursive`.
    pub fn set_propagation(&self, at: &PathRef, propagation: Propagation, recursive: bool) {
        let mut mounts = if recursive { self.below(at) } else { Vec::new() };
        mounts.push(at.mount.clone());
        for mount in mounts {
            mount.unbindable.store(propagation == Propagation::Unbindable, Ordering::Relaxed);
            match propagation {
                Propagation::Shared => self.share(&mount),
                Propagation::Slave => {
                    let group = mount.group.swap(0, Ordering::Relaxed);
                    let has_peers = group != 0 && self.mounts.lock().iter().any(|m| m.propagation().0 == group);
                    if has_peers {
                        mount.master.store(group, Ordering::Relaxed);
                    }
                }
                Propagation::Private | Propagation::Unbindable => {
                    mount.group.store(0, Ordering::Relaxed);
                    mount.master.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    /// Moves the mount whose root `from` is to another place (`MS_MOVE`).
    pub fn move_mount(&self, from: &PathRef, place: PathRef) -> Result<(), Errno> {
        let mount = &from.mount;
        let old = mount.place().filter(|_| mount.is_root(from)).ok_or(Errno::EINVAL)?;
        if mount.root.inode().metadata().is_dir() != place.inode().metadata().is_dir() {
            return Err(Errno::EINVAL);
        }
        if old.mount.propagation().0 != 0 {
            return Err(Errno::EINVAL);
        }
        let mut above = Some(place.mount.clone());
        while let Some(outer) = above {
            if Arc::ptr_eq(&outer, mount) {
                return Err(Errno::ELOOP);
            }
            above = outer.place().map(|p| p.mount);
        }
        mount.move_to(Some(place.clone()));
        let inner = self.below(&PathRef { mount: mount.clone(), dentry: mount.root.clone() });
        let mut all = Vec::from([mount.clone()]);
        all.extend(inner);
        self.propagate(&all, &place);
        Ok(())
    }

    /// Makes `new` the root of its namespace and puts the old root at `put_old`, pivot_root(2).
    pub fn pivot(&self, root: &PathRef, new: &PathRef, put_old: &PathRef) -> Result<(), Errno> {
        let (old_mount, new_mount) = (&root.mount, &new.mount);
        let (old_place, new_place) = (old_mount.place(), new_mount.place());
        let shares = |m: &Mount| m.propagation().0 != 0;
        let parent_shares = |place: &Option<PathRef>| place.as_ref().is_some_and(|p| shares(&p.mount));
        if shares(&put_old.mount) || parent_shares(&new_place) || parent_shares(&old_place) {
            return Err(Errno::EINVAL);
        }
        if Arc::ptr_eq(old_mount, new_mount) || Arc::ptr_eq(old_mount, &put_old.mount) {
            return Err(Errno::EBUSY);
        }
        if !old_mount.is_root(root) || !new_mount.is_root(new) || new_place.is_none() {
            return Err(Errno::EINVAL);
        }
        // The old root must come to be under the new one.
        let mut at = put_old.clone();
        while !Arc::ptr_eq(&at.mount, new_mount) {
            at = at.mount.place().ok_or(Errno::EINVAL)?;
        }
        new_mount.move_to(old_place);
        old_mount.move_to(Some(put_old.clone()));
        Ok(())
    }

    /// Takes the mount whose root `at` is away; `EBUSY` while something is mounted in it or in use, unless `lazy`.
    pub fn unmount(&self, at: &PathRef, lazy: bool) -> Result<(), Errno> {
        let mount = at.mount.clone();
        let Some(place) = mount.place() else { return Err(Errno::EBUSY) };
        let inner = self.below(at);
        // Ours, the table's, and the caller's reference.
        if !lazy && (!inner.is_empty() || Arc::strong_count(&mount) > 3) {
            return Err(Errno::EBUSY);
        }
        let (group, _) = place.mount.propagation();
        let receivers = if group == 0 { Vec::new() } else { self.receivers(group, &place.mount) };
        self.detach(&mount);
        inner.iter().for_each(|m| self.detach(m));
        for (target, _) in receivers {
            let there = PathRef { mount: target, dentry: place.dentry.clone() };
            let copy = self.mounts.lock().iter().rev().find(|m| m.is_at(&there)).cloned();
            if let Some(copy) = copy.filter(|c| Arc::ptr_eq(&c.root, &mount.root)) {
                self.detach(&copy);
            }
        }
        Ok(())
    }

    /// Whether a file system is mounted anywhere.
    pub fn uses(&self, file_system: &Arc<dyn FileSystem>) -> bool {
        let same = |m: &Arc<Mount>| {
            m.root
                .inode()
                .file_system()
                .is_some_and(|fs| core::ptr::addr_eq(Arc::as_ptr(&fs), Arc::as_ptr(file_system)))
        };
        self.mounts.lock().iter().any(same)
    }

    fn detach(&self, mount: &Arc<Mount>) {
        self.mounts.lock().retain(|m| !Arc::ptr_eq(m, mount));
        mount.move_to(None);
    }

    /// A copy of a namespace; `map` gives places in the new one for those in the old.
    pub fn copy_namespace(&self, old: u64) -> Result<(Arc<MountNamespace>, impl Fn(&PathRef) -> PathRef), Errno> {
        let id = self.next_namespace.fetch_add(1, Ordering::Relaxed);
        let all = self.mounts_of(old);
        let first = all.iter().find(|m| m.place.lock().is_none()).cloned().ok_or(Errno::EINVAL)?;
        let inner = self.below(&PathRef { mount: first.clone(), dentry: first.root.clone() });
        let namespace = Arc::new(MountNamespace { id, table: self.mounts.clone() });
        let copies = self.copy_namespace_tree(&first, &inner, id);
        let map = move |at: &PathRef| {
            let copy = copies.iter().find(|(old, _)| Arc::ptr_eq(old, &at.mount));
            PathRef { mount: copy.map_or_else(|| at.mount.clone(), |(_, new)| new.clone()), dentry: at.dentry.clone() }
        };
        Ok((namespace, map))
    }

    fn copy_namespace_tree(&self, top: &Arc<Mount>, inner: &[Arc<Mount>], id: u64) -> Vec<(Arc<Mount>, Arc<Mount>)> {
        let mut pairs: Vec<(Arc<Mount>, Arc<Mount>)> = Vec::new();
        for mount in core::iter::once(top).chain(inner) {
            let place = mount.place().and_then(|p| {
                let (_, parent) = pairs.iter().find(|(old, _)| Arc::ptr_eq(old, &p.mount))?;
                Some(PathRef { mount: parent.clone(), dentry: p.dentry })
            });
            let copies = self.copy_tree(mount, &mount.root, &[], id);
            let Some(copy) = copies.into_iter().next() else { continue };
            copy.unbindable.store(mount.is_unbindable(), Ordering::Relaxed);
            copy.move_to(place);
            pairs.push((mount.clone(), copy));
        }
        pairs
    }

    /// From a place to the root of what is mounted there, last mounted first.
    pub fn cross(&self, mut at: PathRef) -> PathRef {
        while at.dentry.mounts_here.load(Ordering::Acquire) > 0 {
            let mounts = self.mounts.lock();
            let Some(mount) = mounts.iter().rev().find(|m| m.is_at(&at)).cloned() else { break };
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
            match at.mount.place() {
                Some(place) => at = place,
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
        let nowhere = Arc::ptr_eq(&at.mount, &self.nowhere);
        if nowhere {
            parts.push(at.dentry.name());
        }
        while !nowhere && !at.is(root) {
            if Arc::ptr_eq(&at.dentry, &at.mount.root) {
                at = at.mount.place()?;
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

fn make(id: u64, new: New<'_>, recent: &Arc<Recent>) -> Arc<Mount> {
    new.root.mounts_of.fetch_add(1, Ordering::AcqRel);
    Arc::new(Mount {
        id,
        root: new.root,
        place: Mutex::new(None),
        source: new.source.into(),
        kind: new.kind,
        namespace: new.namespace,
        flags: AtomicU32::new(new.flags.bits()),
        group: AtomicU64::new(0),
        master: AtomicU64::new(0),
        unbindable: AtomicBool::new(false),
        expiring: AtomicBool::new(false),
        recent: recent.clone(),
    })
}
