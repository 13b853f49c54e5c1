//! ext2, ext3 and ext4 without I/O.
//!
//! [`Ext4`] is a mounted file system. It does no input or output and waits for nothing: every operation is ordinary
//! code over blocks that are in memory, and there are three answers besides a result and a real error
//! ([`Error::is_retry`]):
//!
//! - [`Error::Missing`]: a block is not in memory. Read it, [`Ext4::supply`] it, try again.
//! - [`Error::Commit`]: the running transaction is full, or holds blocks that are free only once it is committed.
//!   [`Ext4::begin_commit`], carry the plan out, try again.
//! - [`Error::Busy`]: a plan handed out before has to end first, or a check-point is needed.
//!
//! Whatever the answer, an operation that did not succeed has changed nothing: each works on copies, which join the
//! running transaction only when all of it succeeded. So the loop around an operation is the same for all of them:
//!
//! ```
//! # use aurora_ext4::{Error, Ext4, Plan, Want};
//! # fn read(_: Want) {} fn carry_out(_: &mut Ext4) {}
//! fn retry<T>(fs: &mut Ext4, mut operation: impl FnMut(&mut Ext4) -> Result<T, Error>) -> Result<T, Error> {
//!     loop {
//!         match operation(fs) {
//!             Err(Error::Missing(want)) => read(want), // and supply
//!             Err(Error::Commit | Error::Busy) => carry_out(fs),
//!             result => return result,
//!         }
//!     }
//! }
//! ```
//!
//! Contents of files are the caller's (a page cache): [`Ext4::map`] says where they are and [`Ext4::map_for_write`] finds
//! room for them. What this crate keeps in memory is metadata: directories, inodes, bitmaps, extents, attributes.
//!
//! What always holds: no byte of an image makes this crate panic, loop without bound or allocate without bound; nothing
//! of a transaction reaches its place on the device before the whole of it is in the journal; and a block is not given
//! out again before the transaction that freed it is durable.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod acl;
mod api;
mod blocks;
mod bytes;
mod check;
mod checksum;
mod contents;
mod dir;
mod error;
mod extent;
mod format;
mod fs;
mod group;
mod ialloc;
mod inode;
mod journal;
mod mount;
mod names;
mod orphan;
mod pointers;
mod seal;
mod store;
mod superblock;
mod types;
mod xattr;

pub use check::{Check, Problem};
pub use error::{Corruption, Error, Result};
pub use format::{FormatOptions, Formatting};
pub use fs::Ext4;
pub use mount::{MountOptions, MountStep, Mounting};
pub use types::{
    Allocate, AttributeChange, Attributes, Block, BlockRange, By, Device, DirEntry, FileType, Found, Ino, InodeFlags,
    Memory, NewInode, Place, Plan, PlanId, Progress, Rename, Run, SetXattr, Statfs, Step, Tid, Timestamp, Unlinked,
    Want, WriteRun,
};
