//! Path look-up, path_resolution(7).

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;

use crate::security::Credentials;
use crate::sync::Mutex;
use crate::vfs::inode::FileKind;
use crate::vfs::{MountNamespace, PathRef, Vfs};

/// Longest name in a directory.
pub const NAME_MAX: usize = 255;
/// Longest path, with its NUL.
pub const PATH_MAX: usize = 4096;
/// Most symbolic links in one look-up.
const MAX_LINKS: u32 = 40;

/// What a process's paths start from; threads and `CLONE_FS` children share it.
pub struct FsContext {
    inner: Mutex<FsInner>,
}

#[derive(Clone)]
struct FsInner {
    root: PathRef,
    cwd: PathRef,
    umask: u32,
    namespace: Arc<MountNamespace>,
}

impl FsContext {
    /// Starts at `root`, which is in `namespace`.
    pub fn new(root: PathRef, namespace: Arc<MountNamespace>) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(FsInner { cwd: root.clone(), root, umask: 0o022, namespace }) })
    }
    /// The mounts it sees.
    pub fn namespace(&self) -> Arc<MountNamespace> {
        self.inner.lock().namespace.clone()
    }
    /// Goes to another namespace.
    pub fn enter(&self, namespace: Arc<MountNamespace>, root: PathRef, cwd: PathRef) {
        let mut inner = self.inner.lock();
        let umask = inner.umask;
        let old = core::mem::replace(&mut *inner, FsInner { root, cwd, umask, namespace });
        drop(inner);
        drop(old);
    }
    /// A copy of its own.
    pub fn fork(&self) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(self.inner.lock().clone()) })
    }
    /// Where `/` is.
    pub fn root(&self) -> PathRef {
        self.inner.lock().root.clone()
    }
    /// The working directory.
    pub fn cwd(&self) -> PathRef {
        self.inner.lock().cwd.clone()
    }
    /// Changes the working directory.
    pub fn set_cwd(&self, cwd: PathRef) {
        let old = core::mem::replace(&mut self.inner.lock().cwd, cwd);
        drop(old);
    }
    /// Changes where `/` is.
    pub fn set_root(&self, root: PathRef) {
        let old = core::mem::replace(&mut self.inner.lock().root, root);
        drop(old);
    }
    /// Permission bits new files do not get.
    pub fn umask(&self) -> u32 {
        self.inner.lock().umask
    }
    /// Sets them; returns the old ones.
    pub fn set_umask(&self, umask: u32) -> u32 {
        core::mem::replace(&mut self.inner.lock().umask, umask & 0o777)
    }
}

bitflags::bitflags! {
    /// What a look-up must not do: `RESOLVE_*` of openat2(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Resolve: u64 {
        /// Crosses no mount.
        const NO_XDEV = 1;
        /// Follows no link of `/proc` that is no path.
        const NO_MAGICLINKS = 2;
        /// Follows no link.
        const NO_SYMLINKS = 4;
        /// Stays below where it starts.
        const BENEATH = 8;
        /// Takes where it starts for `/`.
        const IN_ROOT = 16;
        /// Goes only where no disk has to be asked: everywhere, here.
        const CACHED = 32;
    }
}

/// One look-up: who asks, and from where.
pub struct Lookup<'a> {
    /// The tree.
    pub vfs: &'a Vfs,
    /// Who asks.
    pub credentials: &'a Credentials,
    /// Where `/` is.
    pub root: PathRef,
    /// Where relative paths start.
    pub start: PathRef,
    /// What it must not do.
    pub resolve: Resolve,
}

/// What to do with a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Go where it points.
    Yes,
    /// Give the link itself.
    No,
}

/// A path whose last name may not exist.
pub struct Target {
    /// The directory.
    pub parent: PathRef,
    /// The last name; empty if the path ends in `.`, `..` or is `/`.
    pub name: Vec<u8>,
    /// What it leads to if it exists (a link is not followed).
    pub found: Option<PathRef>,
    /// The path ended in a slash.
    pub slash: bool,
}

impl Lookup<'_> {
    /// Finds what a path names.
    pub fn resolve(&self, path: &[u8], follow: Follow) -> Result<PathRef, Errno> {
        let target = self.walk(path, follow == Follow::Yes)?;
        target.found.ok_or(Errno::ENOENT)
    }

    /// Finds the directory of a path's last name, and what it leads to if it exists.
    pub fn target(&self, path: &[u8]) -> Result<Target, Errno> {
        self.walk(path, false)
    }

    /// The same, following a link at the end even if it dangles: where open(2) with `O_CREAT` makes the file.
    pub fn target_following(&self, path: &[u8]) -> Result<Target, Errno> {
        self.walk(path, true)
    }

    fn walk(&self, path: &[u8], follow_last: bool) -> Result<Target, Errno> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut at = self.first(path)?;
        // The path, until a link's text takes the place of what is left of it.
        let mut replaced: Vec<u8>;
        let mut rest: &[u8] = path;
        let mut links = 0;
        loop {
            let (name, after) = split_first(rest);
            if name.is_empty() {
                return Ok(Target { parent: at.clone(), name: Vec::new(), found: Some(at), slash: true });
            }
            let last = after.iter().all(|&b| b == b'/');
            let slash = last && !after.is_empty();
            self.may_search(&at)?;
            if name == b"." || name == b".." {
                if name == b".." {
                    at = self.up(at)?;
                }
                if last {
                    return Ok(Target { parent: at.clone(), name: Vec::new(), found: Some(at), slash: true });
                }
                rest = after;
                continue;
            }
            if name.len() > NAME_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            let found = match at.dentry.lookup(name, &self.vfs.recent) {
                Ok(dentry) => self.cross(PathRef { mount: at.mount.clone(), dentry })?,
                Err(Errno::ENOENT) if last => {
                    return Ok(Target { parent: at, name: name.to_vec(), found: None, slash });
                }
                Err(errno) => return Err(errno),
            };
            let is_link = found.inode().kind() == FileKind::Symlink;
            if is_link && (!last || follow_last || slash) {
                links += 1;
                if links > MAX_LINKS || self.resolve.contains(Resolve::NO_SYMLINKS) {
                    return Err(Errno::ELOOP);
                }
                if let Some(place) = found.inode().follow() {
                    let place = self.jump(&at, place)?;
                    if last {
                        check_slash(&place, slash)?;
                        return Ok(Target { parent: at, name: name.to_vec(), found: Some(place), slash });
                    }
                    at = place;
                    rest = after;
                    continue;
                }
                let mut target = found.inode().read_link()?;
                if target.starts_with(b"/") {
                    at = self.absolute(Some(&at))?;
                }
                target.extend_from_slice(after);
                replaced = target;
                rest = &replaced;
                continue;
            }
            if last {
                check_slash(&found, slash)?;
                return Ok(Target { parent: at, name: name.to_vec(), found: Some(found), slash });
            }
            rest = after;
            at = found;
        }
    }

    /// Where a path starts.
    fn first(&self, path: &[u8]) -> Result<PathRef, Errno> {
        if path.starts_with(b"/") { self.absolute(None) } else { Ok(self.start.clone()) }
    }

    /// Where `/` is, for a path or, coming `from` somewhere, for a link.
    fn absolute(&self, from: Option<&PathRef>) -> Result<PathRef, Errno> {
        if self.resolve.contains(Resolve::IN_ROOT) {
            return Ok(self.start.clone());
        }
        let crosses = from.is_some_and(|f| !Arc::ptr_eq(&f.mount, &self.root.mount));
        if self.resolve.contains(Resolve::BENEATH) || self.resolve.contains(Resolve::NO_XDEV) && crosses {
            return Err(Errno::EXDEV);
        }
        Ok(self.root.clone())
    }

    /// The directory above.
    fn up(&self, at: PathRef) -> Result<PathRef, Errno> {
        let scoped = self.resolve.intersects(Resolve::BENEATH | Resolve::IN_ROOT);
        if scoped && at.is(&self.start) {
            return if self.resolve.contains(Resolve::BENEATH) { Err(Errno::EXDEV) } else { Ok(at) };
        }
        let above = self.vfs.parent(&at, &self.root);
        if self.resolve.contains(Resolve::NO_XDEV) && !Arc::ptr_eq(&above.mount, &at.mount) {
            return Err(Errno::EXDEV);
        }
        Ok(above)
    }

    /// What is mounted there.
    fn cross(&self, at: PathRef) -> Result<PathRef, Errno> {
        if self.resolve.contains(Resolve::NO_XDEV) {
            let there = self.vfs.cross(at.clone());
            return if Arc::ptr_eq(&there.mount, &at.mount) { Ok(at) } else { Err(Errno::EXDEV) };
        }
        Ok(self.vfs.cross(at))
    }

    /// Where a link of `/proc` leads that is no path.
    fn jump(&self, at: &PathRef, place: Result<PathRef, Errno>) -> Result<PathRef, Errno> {
        if self.resolve.contains(Resolve::NO_MAGICLINKS) {
            return Err(Errno::ELOOP);
        }
        let place = place?;
        let crosses = !Arc::ptr_eq(&place.mount, &at.mount);
        let scoped = self.resolve.intersects(Resolve::BENEATH | Resolve::IN_ROOT);
        if scoped || crosses && self.resolve.contains(Resolve::NO_XDEV) { Err(Errno::EXDEV) } else { Ok(place) }
    }

    fn may_search(&self, at: &PathRef) -> Result<(), Errno> {
        let owner = at.inode().owner();
        if owner.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        self.credentials.may_access(owner, crate::security::EXECUTE)
    }
}

fn check_slash(found: &PathRef, slash: bool) -> Result<(), Errno> {
    if slash && found.inode().kind() != FileKind::Directory { Err(Errno::ENOTDIR) } else { Ok(()) }
}

/// The first name of a path and what follows it, slash included.
fn split_first(path: &[u8]) -> (&[u8], &[u8]) {
    let start = path.iter().position(|&b| b != b'/').unwrap_or(path.len());
    let path = path.get(start..).unwrap_or_default();
    let end = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
    path.split_at(end)
}
