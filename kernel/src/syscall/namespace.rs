//! Namespaces: unshare(2), setns(2), and the files of `/proc/PID/ns`.

use alloc::sync::Arc;

use aurora_abi::Errno;

use crate::fs::procfs::Namespace;
use crate::security::credentials::{CAP_SYS_ADMIN, CAP_SYS_CHROOT};
use crate::syscall::{Context, SysResult};
use crate::task::Thread;
use crate::vfs::{Fd, FsContext, MountNamespace};

const CLONE_VM: u64 = 0x100;
const CLONE_FS: u64 = 0x200;
const CLONE_FILES: u64 = 0x400;
const CLONE_SIGHAND: u64 = 0x800;
const CLONE_THREAD: u64 = 0x10000;
/// A namespace of mounts.
pub(crate) const CLONE_NEWNS: u64 = 0x20000;
const CLONE_SYSVSEM: u64 = 0x40000;
/// A namespace of host names.
pub(crate) const CLONE_NEWUTS: u64 = 0x400_0000;

pub(super) fn unshare(cx: &mut Context<'_>, flags: u64) -> SysResult {
    let one_thread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
    let known = one_thread | CLONE_FS | CLONE_FILES | CLONE_NEWNS | CLONE_SYSVSEM | CLONE_NEWUTS;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & one_thread != 0 && cx.thread.process.threads.lock().len() > 1 {
        return Err(Errno::EINVAL);
    }
    if flags & (CLONE_NEWNS | CLONE_NEWUTS) != 0 {
        cx.thread.process.credentials().require(CAP_SYS_ADMIN)?;
    }
    let thread = cx.thread;
    if flags & (CLONE_FS | CLONE_NEWNS) != 0 {
        thread.set_fs(thread.fs().fork());
    }
    new_namespaces(thread, &thread.fs(), thread, flags)?;
    if flags & CLONE_FILES != 0 {
        let own = thread.files().fork();
        drop(thread.set_files(Some(own)));
    }
    Ok(0)
}

/// Gives `to`, whose paths are `fs`, the namespaces `flags` names, copies of those of `from`.
pub(crate) fn new_namespaces(from: &Thread, fs: &Arc<FsContext>, to: &Thread, flags: u64) -> Result<(), Errno> {
    if flags & CLONE_NEWNS != 0 {
        let vfs = &from.kernel().vfs;
        let (namespace, map) = vfs.copy_namespace(fs.namespace().id)?;
        fs.enter(namespace, map(&fs.root()), map(&fs.cwd()));
    }
    if flags & CLONE_NEWUTS != 0 {
        to.set_uts(from.uts().fork());
    }
    Ok(())
}

pub(super) fn setns(cx: &mut Context<'_>, fd: Fd, kind: u64) -> SysResult {
    let file = cx.thread.file(fd)?;
    let namespace = crate::fs::procfs::namespace_of(&file.inode).ok_or(Errno::EINVAL)?;
    if kind != 0 && kind != namespace.clone_flag() {
        return Err(Errno::EINVAL);
    }
    let credentials = cx.thread.process.credentials();
    credentials.require(CAP_SYS_ADMIN)?;
    match namespace {
        Namespace::Mount(namespace) => {
            credentials.require(CAP_SYS_CHROOT)?;
            enter_mounts(cx, namespace)?;
        }
        Namespace::Uts(uts) => cx.thread.set_uts(uts),
        // Everybody is in the one user namespace there is, and nobody may join his own (setns(2)).
        Namespace::Only(kind) if kind.clone_flag == crate::fs::procfs::CLONE_NEWUSER => return Err(Errno::EINVAL),
        Namespace::Only(_) => {}
    }
    Ok(0)
}

fn enter_mounts(cx: &Context<'_>, namespace: Arc<MountNamespace>) -> Result<(), Errno> {
    let fs = cx.thread.fs();
    // Ours and the thread's: paths shared with others cannot move.
    if Arc::strong_count(&fs) > 2 {
        return Err(Errno::EINVAL);
    }
    let root = cx.kernel().vfs.root_of(namespace.id)?;
    fs.enter(namespace, root.clone(), root);
    Ok(())
}
