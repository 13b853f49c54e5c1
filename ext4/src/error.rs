//! What may come of an operation besides its result.

use alloc::string::String;
use core::fmt;

use crate::types::Want;

/// A result of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why an operation did not happen. Whatever it is, nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A block is not in memory: read it, [`supply`](crate::Ext4::supply) it, and try again.
    Missing(Want),
    /// The running transaction has to be committed first, for its size or for the blocks it frees; then try again.
    Commit,
    /// A plan that was handed out has to be carried out first; then try again.
    Busy,
    /// A structure on the disk is not what it has to be. The file system has become read-only.
    Corrupt(Corruption),
    /// The file system is mounted read-only, or has become so after damage or a failed write.
    ReadOnly,
    /// No block or inode is free.
    NoSpace,
    /// The name or attribute is not there.
    NotFound,
    /// The name or attribute is there already.
    Exists,
    /// Not a directory.
    NotDirectory,
    /// A directory, where none can be.
    IsDirectory,
    /// The directory has names in it.
    NotEmpty,
    /// The inode has as many names as it can have.
    TooManyLinks,
    /// The name has more than 255 bytes, or a link's target more than fit.
    NameTooLong,
    /// The file would be larger than its format can say.
    FileTooLarge,
    /// An argument makes no sense.
    Invalid,
    /// There is no such attribute, or no data after the place asked for.
    NoData,
    /// The attribute's value is larger than fits.
    AttributeTooLarge,
    /// The operation is not for this kind of inode, or not for this image's features.
    NotSupported,
    /// The inode is marked immutable or append-only.
    NotPermitted,
    /// The number is of no inode in use: a stale handle.
    Stale,
    /// This is not ext2, ext3 or ext4.
    NotExt4,
    /// The image has a feature this crate does not know or refuses; its name.
    Unsupported(String),
}

/// Which structure is damaged, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The structure and what is wrong with it: "extent block: checksum".
    pub what: &'static str,
    /// The block, inode or group it is about.
    pub place: u64,
}

impl Error {
    /// The number Linux's system calls give for it, errno(3). `Missing`, `Commit` and `Busy` are answers to the caller
    /// of this crate and no program's business: `EAGAIN`.
    pub const fn errno(&self) -> i32 {
        match self {
            Self::Missing(_) | Self::Commit | Self::Busy => 11,
            Self::Corrupt(_) => 117,
            Self::ReadOnly => 30,
            Self::NoSpace => 28,
            Self::NotFound => 2,
            Self::Exists => 17,
            Self::NotDirectory => 20,
            Self::IsDirectory => 21,
            Self::NotEmpty => 39,
            Self::TooManyLinks => 31,
            Self::NameTooLong => 36,
            Self::FileTooLarge => 27,
            Self::Invalid | Self::NotExt4 | Self::Unsupported(_) => 22,
            Self::NoData => 61,
            Self::AttributeTooLarge => 7,
            Self::NotSupported => 95,
            Self::NotPermitted => 1,
            Self::Stale => 116,
        }
    }

    /// Whether the caller can do something and try the same again.
    pub const fn is_retry(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Commit | Self::Busy)
    }
}

/// Shorthand: a damaged structure.
pub(crate) const fn corrupt(what: &'static str, place: u64) -> Error {
    Error::Corrupt(Corruption { what, place })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Missing(want) => return write!(f, "block {} is not in memory", want.block),
            Self::Corrupt(c) => return write!(f, "{} (at {})", c.what, c.place),
            Self::Unsupported(name) => return write!(f, "unsupported feature: {name}"),
            Self::Commit => "the transaction has to be committed first",
            Self::Busy => "a plan is on its way",
            Self::ReadOnly => "read-only file system",
            Self::NoSpace => "no space left",
            Self::NotFound => "not found",
            Self::Exists => "exists already",
            Self::NotDirectory => "not a directory",
            Self::IsDirectory => "is a directory",
            Self::NotEmpty => "directory not empty",
            Self::TooManyLinks => "too many links",
            Self::NameTooLong => "name too long",
            Self::FileTooLarge => "file too large",
            Self::Invalid => "invalid argument",
            Self::NoData => "no data",
            Self::AttributeTooLarge => "attribute too large",
            Self::NotSupported => "not supported",
            Self::NotPermitted => "not permitted",
            Self::Stale => "no such inode",
            Self::NotExt4 => "not an ext2, ext3 or ext4 file system",
        };
        f.write_str(text)
    }
}

impl core::error::Error for Error {}
