//! The virtual file system: names become dentries, dentries have inodes, opening one gives an open file.
//!
//! File-system operations are *try it now*: none blocks. What must wait (a pipe, a terminal) says so and has a
//! [`WaitQueue`](crate::sync::WaitQueue) that tells when to try again.

pub mod dentry;
pub mod fd;
pub mod file;
pub mod flags;
pub mod inode;
pub mod lock;
pub mod mount;
pub mod notify;
pub mod path;
pub mod xattr;

pub use dentry::{Dentry, PathRef};
pub use fd::{AT_FDCWD, Fd, FdTable};
pub use file::{FileOps, OpenFile};
pub use flags::{Events, OpenFlags};
pub use inode::{AttributeChange, DirEntry, FileKind, FileSystem, Inode, Metadata, NewInode, SetTime, SyncOf};
pub use mount::{Mount, MountNamespace, Vfs};
pub use path::{FsContext, Lookup, Resolve};
