//! Dentries: names as the system knows them, cached, with their way up to the root.
//!
//! What always holds: a dentry's children that somebody uses are in its map, so two look-ups of one name give one
//! dentry; the recently used are kept alive by a bounded list.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use aurora_abi::Errno;

use crate::kept::{Age, Aged, Kept};
use crate::sync::Mutex;
use crate::vfs::{Inode, Mount};

/// [`Dentry::prune_at`] at first.
const FIRST_PRUNED: usize = 256;

/// A name and the inode it leads to.
pub struct Dentry {
    place: Mutex<Place>,
    inode: Arc<dyn Inode>,
    children: Mutex<BTreeMap<Vec<u8>, Weak<Dentry>>>,
    /// How many children make it worth looking for those that are gone.
    prune_at: AtomicUsize,
    removed: AtomicBool,
    /// Its place among the recently found.
    age: Age,
    /// Mounts that have this as their place.
    pub(super) mounts_here: AtomicU32,
    /// Mounts that have this as their root.
    pub(super) mounts_of: AtomicU32,
}

struct Place {
    name: Vec<u8>,
    /// None for the root of a file system.
    parent: Option<Arc<Dentry>>,
}

impl Dentry {
    /// The root of a file system, or of nothing (a pipe).
    pub fn root(inode: Arc<dyn Inode>) -> Arc<Self> {
        Self::new(Vec::new(), None, inode)
    }

    /// What has no name (any more) in `parent` and shows this one: an `O_TMPFILE`, a memfd.
    pub fn unnamed(name: Vec<u8>, parent: Option<Arc<Dentry>>, inode: Arc<dyn Inode>) -> Arc<Self> {
        let dentry = Self::new(name, parent, inode);
        dentry.removed.store(true, Ordering::Relaxed);
        dentry
    }

    fn new(name: Vec<u8>, parent: Option<Arc<Dentry>>, inode: Arc<dyn Inode>) -> Arc<Self> {
        Arc::new(Self {
            place: Mutex::new(Place { name, parent }),
            inode,
            children: Mutex::default(),
            prune_at: AtomicUsize::new(FIRST_PRUNED),
            removed: AtomicBool::new(false),
            age: Age::default(),
            mounts_here: AtomicU32::new(0),
            mounts_of: AtomicU32::new(0),
        })
    }

    /// What it names.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The last component of its path; empty for a root.
    pub fn name(&self) -> Vec<u8> {
        self.place.lock().name.clone()
    }

    /// The directory it is in; none for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    /// Whether the name is gone.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    /// Finds a name in this directory.
    pub fn lookup(self: &Arc<Self>, name: &[u8], recent: &Recent) -> Result<Arc<Dentry>, Errno> {
        if self.inode.names_are_stable()
            && let Some(child) = self.cached(name)
        {
            return Ok(child);
        }
        let inode = self.inode.lookup(name)?;
        Ok(self.adopt(name, inode, recent))
    }

    fn cached(&self, name: &[u8]) -> Option<Arc<Dentry>> {
        self.children.lock().get(name)?.upgrade()
    }

    /// Remembers a name that was just found or made.
    pub fn adopt(self: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode>, recent: &Recent) -> Arc<Dentry> {
        let mut children = self.children.lock();
        if self.inode.names_are_stable()
            && let Some(child) = children.get(name).and_then(Weak::upgrade)
        {
            return child;
        }
        let child = Self::new(name.to_vec(), Some(self.clone()), inode);
        children.insert(name.to_vec(), Arc::downgrade(&child));
        // Those nobody has any more go each time they may be half of all.
        if children.len() >= self.prune_at.load(Ordering::Relaxed) {
            children.retain(|_, c| c.strong_count() > 0);
            self.prune_at.store((2 * children.len()).max(FIRST_PRUNED), Ordering::Relaxed);
        }
        drop(children);
        if self.inode.names_are_stable() {
            recent.keep(&child);
        }
        child
    }

    /// Forgets a name that was removed; who has it open keeps it.
    pub fn forget(&self, name: &[u8], recent: &Recent) {
        let child = self.children.lock().remove(name).and_then(|c| c.upgrade());
        if let Some(child) = child {
            child.removed.store(true, Ordering::Relaxed);
            recent.let_go(&child);
        }
    }

    /// Follows a rename: the dentry moves, whoever has it sees its new path.
    pub fn moved(self: &Arc<Self>, name: &[u8], to: &Arc<Dentry>, to_name: &[u8], recent: &Recent) {
        let child = self.children.lock().remove(name).and_then(|c| c.upgrade());
        to.forget(to_name, recent);
        if let Some(child) = child {
            *child.place.lock() = Place { name: to_name.to_vec(), parent: Some(to.clone()) };
            to.children.lock().insert(to_name.to_vec(), Arc::downgrade(&child));
        }
    }

    /// Follows an exchange of two names.
    pub fn exchanged(self: &Arc<Self>, name: &[u8], to: &Arc<Dentry>, to_name: &[u8]) {
        let here = self.children.lock().remove(name).and_then(|c| c.upgrade());
        let there = to.children.lock().remove(to_name).and_then(|c| c.upgrade());
        for (child, dir, name) in [(here, to, to_name), (there, self, name)] {
            let Some(child) = child else { continue };
            *child.place.lock() = Place { name: name.to_vec(), parent: Some(dir.clone()) };
            dir.children.lock().insert(name.to_vec(), Arc::downgrade(&child));
        }
    }

    /// Whether `self` is `other` or above it.
    pub fn is_ancestor_of(self: &Arc<Self>, other: &Arc<Dentry>) -> bool {
        let mut at = Some(other.clone());
        while let Some(dentry) = at {
            if Arc::ptr_eq(self, &dentry) {
                return true;
            }
            at = dentry.parent();
        }
        false
    }
}

impl Aged for Dentry {
    fn age(&self) -> &Age {
        &self.age
    }
}

impl Drop for Dentry {
    /// A deep path's parents are dropped one after the other, not inside one another.
    fn drop(&mut self) {
        let mut parent = self.place.lock().parent.take();
        while let Some(dentry) = parent.take() {
            if let Some(mut last) = Arc::into_inner(dentry) {
                parent = last.place.lock().parent.take();
                last.children = Mutex::default();
            }
        }
    }
}

/// Recently found dentries, kept alive. A name that is removed leaves at once: with it goes what only it kept.
pub type Recent = Kept<Dentry>;

/// A place in the tree of names: a dentry, and the mount it was reached through.
#[derive(Clone)]
pub struct PathRef {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The name in it.
    pub dentry: Arc<Dentry>,
}

impl PathRef {
    /// What it names.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }
    /// Whether both are the same place.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }
}
