//! Path look-up, path_resolution(7).

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;

use crate::security::Credentials;
use crate::sync::Mutex;
use crate::vfs::inode::FileKind;
use crate::vfs::{PathRef, Vfs};

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
}

impl FsContext {
    /// Starts at `root`.
    pub fn new(root: PathRef) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(FsInner { cwd: root.clone(), root, umask: 0o022 }) })
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
        self.inner.lock().cwd = cwd;
    }
    /// Changes where `/` is.
    pub fn set_root(&self, root: PathRef) {
        self.inner.lock().root = root;
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
        let mut rest: Vec<u8> = path.to_vec();
        let mut at = if path.starts_with(b"/") { self.root.clone() } else { self.start.clone() };
        let mut links = 0;
        loop {
            let (name, after) = split_first(&rest);
            if name.is_empty() {
                return Ok(Target { parent: at.clone(), name: Vec::new(), found: Some(at), slash: true });
            }
            let last = after.iter().all(|&b| b == b'/');
            let slash = last && !after.is_empty();
            self.may_search(&at)?;
            if name == b"." || name == b".." {
                if name == b".." {
                    at = self.vfs.parent(&at, &self.root);
                }
                if last {
                    return Ok(Target { parent: at.clone(), name: Vec::new(), found: Some(at), slash: true });
                }
                rest = after.to_vec();
                continue;
            }
            if name.len() > NAME_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            let found = match at.dentry.lookup(name, &self.vfs.recent) {
                Ok(dentry) => self.vfs.cross(PathRef { mount: at.mount.clone(), dentry }),
                Err(Errno::ENOENT) if last => {
                    return Ok(Target { parent: at, name: name.to_vec(), found: None, slash });
                }
                Err(errno) => return Err(errno),
            };
            let kind = found.inode().metadata().kind();
            if kind == FileKind::Symlink && (!last || follow_last || slash) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::ELOOP);
                }
                if let Some(place) = found.inode().follow() {
                    let place = place?;
                    if last {
                        check_slash(&place, slash)?;
                        return Ok(Target { parent: at, name: name.to_vec(), found: Some(place), slash });
                    }
                    at = place;
                    rest = after.to_vec();
                    continue;
                }
                let mut target = found.inode().read_link()?;
                if target.starts_with(b"/") {
                    at = self.root.clone();
                }
                target.extend_from_slice(after);
                rest = target;
                continue;
            }
            if last {
                check_slash(&found, slash)?;
                return Ok(Target { parent: at, name: name.to_vec(), found: Some(found), slash });
            }
            rest = after.to_vec();
            at = found;
        }
    }

    fn may_search(&self, at: &PathRef) -> Result<(), Errno> {
        let metadata = at.inode().metadata();
        if !metadata.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        self.credentials.may_access(&metadata, crate::security::EXECUTE)
    }
}

fn check_slash(found: &PathRef, slash: bool) -> Result<(), Errno> {
    if slash && !found.inode().metadata().is_dir() { Err(Errno::ENOTDIR) } else { Ok(()) }
}

/// The first name of a path and what follows it, slash included.
fn split_first(path: &[u8]) -> (&[u8], &[u8]) {
    let start = path.iter().position(|&b| b != b'/').unwrap_or(path.len());
    let path = path.get(start..).unwrap_or_default();
    let end = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
    path.split_at(end)
}
