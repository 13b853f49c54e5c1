//! Extended attributes, xattr(7): the twelve calls.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_machine::VirtAddr;

use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::num::to_usize;
use crate::security::{READ, WRITE};
use crate::syscall::{Context, SysResult};
use crate::vfs::mount::MountFlags;
use crate::vfs::path::Follow;
use crate::vfs::xattr::{Existing, NAME_MAX, SIZE_MAX};
use crate::vfs::{AT_FDCWD, Fd, FileKind, Inode};

const XATTR_CREATE: u32 = 1;
const XATTR_REPLACE: u32 = 2;

/// A file whose attributes are meant.
struct Subject {
    inode: Arc<dyn Inode>,
    read_only: bool,
}

/// What a call names its file by.
#[derive(Clone, Copy)]
enum By {
    Path(UserPtr<CStr>, Follow),
    Descriptor(Fd),
}

async fn subject(cx: &Context<'_>, by: By) -> Result<Subject, Errno> {
    let (inode, mount) = match by {
        By::Path(path, follow) => {
            let name = cx.path(path).await?;
            let place = cx.resolve(AT_FDCWD, &name, follow)?;
            (place.inode().clone(), Some(place.mount))
        }
        By::Descriptor(fd) => {
            let file = cx.thread.file(fd)?;
            (file.inode.clone(), file.path.as_ref().map(|p| p.mount.clone()))
        }
    };
    let read_only = mount.is_some_and(|m| m.flags().contains(MountFlags::RDONLY));
    Ok(Subject { inode, read_only })
}

/// Reads an attribute's name.
async fn name_at(cx: &Context<'_>, at: UserPtr<CStr>) -> Result<Vec<u8>, Errno> {
    let name =
        cx.string(at, NAME_MAX + 1).await.map_err(|e| if e == Errno::ENAMETOOLONG { Errno::ERANGE } else { e })?;
    if name.is_empty() { Err(Errno::ERANGE) } else { Ok(name) }
}

/// Whether the caller may use an attribute so; who may is a matter of the name's first part.
fn may_use(cx: &Context<'_>, subject: &Subject, name: &[u8], write: bool) -> Result<(), Errno> {
    if write && subject.read_only {
        return Err(Errno::EROFS);
    }
    let credentials = cx.thread.process.credentials();
    let metadata = subject.inode.metadata();
    let class = name.split(|&b| b == b'.').next().unwrap_or_default();
    match class {
        b"trusted" if credentials.is_root() => {}
        b"trusted" => return Err(if write { Errno::EPERM } else { Errno::ENODATA }),
        b"security" => {
            if write && !credentials.is_root() {
                return Err(Errno::EPERM);
            }
        }
        b"user" => {
            if !matches!(metadata.kind(), FileKind::Regular | FileKind::Directory) {
                return Err(if write { Errno::EPERM } else { Errno::ENODATA });
            }
            let sticky = metadata.is_dir() && metadata.mode & crate::vfs::inode::S_ISVTX != 0;
            if write && sticky && !credentials.owns(&metadata) {
                return Err(Errno::EPERM);
            }
            credentials.may_access(&metadata, if write { WRITE } else { READ })?;
        }
        _ => return Err(Errno::EOPNOTSUPP),
    }
    // A class alone names no attribute.
    let rest = name.get(class.len() + 1..).unwrap_or_default();
    if rest.is_empty() { Err(Errno::EINVAL) } else { Ok(()) }
}

async fn set(cx: &Context<'_>, by: By, name: UserPtr<CStr>, value: VirtAddr, size: u64, flags: u32) -> SysResult {
    if let By::Descriptor(fd) = by {
        cx.thread.file(fd)?;
    }
    let existing = match flags {
        0 => Existing::Any,
        XATTR_CREATE => Existing::Refused,
        XATTR_REPLACE => Existing::Required,
        _ => return Err(Errno::EINVAL),
    };
    let name = name_at(cx, name).await?;
    if size > SIZE_MAX as u64 {
        return Err(Errno::E2BIG);
    }
    let mut bytes = alloc::vec![0; to_usize(size)];
    cx.space()?.copy_in(value, &mut bytes).await?;
    let subject = subject(cx, by).await?;
    may_use(cx, &subject, &name, true)?;
    subject.inode.xattrs(true)?.set(&name, &bytes, existing)?;
    touch(cx, &subject)?;
    Ok(0)
}

/// Setting or removing an attribute is a change of the inode.
fn touch(cx: &Context<'_>, subject: &Subject) -> Result<(), Errno> {
    subject.inode.change(&crate::vfs::AttributeChange::at(cx.kernel().now()))
}

/// Gives bytes to a buffer of a size; a size of 0 asks how many there are.
async fn give(cx: &Context<'_>, bytes: &[u8], out: VirtAddr, size: u64) -> SysResult {
    if size > 0 {
        if (bytes.len() as u64) > size {
            return Err(Errno::ERANGE);
        }
        cx.space()?.copy_out(out, bytes).await?;
    }
    Ok(bytes.len() as u64)
}

async fn get(cx: &Context<'_>, by: By, name: UserPtr<CStr>, out: VirtAddr, size: u64) -> SysResult {
    if let By::Descriptor(fd) = by {
        cx.thread.file(fd)?;
    }
    let name = name_at(cx, name).await?;
    let subject = subject(cx, by).await?;
    may_use(cx, &subject, &name, false)?;
    let value = subject.inode.xattrs(false)?.get(&name)?;
    give(cx, &value, out, size).await
}

async fn list(cx: &Context<'_>, by: By, out: VirtAddr, size: u64) -> SysResult {
    let subject = subject(cx, by).await?;
    let names = match subject.inode.xattrs(false) {
        Ok(xattrs) => xattrs.names()?,
        // A file system without attributes has none to tell.
        Err(Errno::EOPNOTSUPP) => Vec::new(),
        Err(errno) => return Err(errno),
    };
    let sees_trusted = cx.thread.process.credentials().is_root();
    let mut bytes = Vec::new();
    for name in names.iter().filter(|n| sees_trusted || !n.starts_with(b"trusted.")) {
        bytes.extend_from_slice(name);
        bytes.push(0);
    }
    give(cx, &bytes, out, size).await
}

async fn remove(cx: &Context<'_>, by: By, name: UserPtr<CStr>) -> SysResult {
    if let By::Descriptor(fd) = by {
        cx.thread.file(fd)?;
    }
    let name = name_at(cx, name).await?;
    let subject = subject(cx, by).await?;
    may_use(cx, &subject, &name, true)?;
    subject.inode.xattrs(true)?.remove(&name)?;
    touch(cx, &subject)?;
    Ok(0)
}

/// The three ways to name a file, for each of the four things to do.
macro_rules! calls {
    ($($name:ident = $what:ident by ($kind:ident, $follow:expr) ($($arg:ident: $t:ty),*);)*) => {$(
        pub(super) async fn $name(cx: &mut Context<'_>, at: calls!(@type $kind), $($arg: $t),*) -> SysResult {
            $what(cx, calls!(@by $kind at $follow), $($arg),*).await
        }
    )*};
    (@type Path) => { UserPtr<CStr> };
    (@type Descriptor) => { Fd };
    (@by Path $at:ident $follow:expr) => { By::Path($at, $follow) };
    (@by Descriptor $at:ident $follow:expr) => { By::Descriptor($at) };
}

calls! {
    setxattr = set by (Path, Follow::Yes) (name: UserPtr<CStr>, value: VirtAddr, size: u64, flags: u32);
    lsetxattr = set by (Path, Follow::No) (name: UserPtr<CStr>, value: VirtAddr, size: u64, flags: u32);
    fsetxattr = set by (Descriptor, ()) (name: UserPtr<CStr>, value: VirtAddr, size: u64, flags: u32);
    getxattr = get by (Path, Follow::Yes) (name: UserPtr<CStr>, out: VirtAddr, size: u64);
    lgetxattr = get by (Path, Follow::No) (name: UserPtr<CStr>, out: VirtAddr, size: u64);
    fgetxattr = get by (Descriptor, ()) (name: UserPtr<CStr>, out: VirtAddr, size: u64);
    listxattr = list by (Path, Follow::Yes) (out: VirtAddr, size: u64);
    llistxattr = list by (Path, Follow::No) (out: VirtAddr, size: u64);
    flistxattr = list by (Descriptor, ()) (out: VirtAddr, size: u64);
    removexattr = remove by (Path, Follow::Yes) (name: UserPtr<CStr>);
    lremovexattr = remove by (Path, Follow::No) (name: UserPtr<CStr>);
    fremovexattr = remove by (Descriptor, ()) (name: UserPtr<CStr>);
}
