//! File operations the host asks for: open(2), read(2) and their kin, done by the kernel as if a program had called.
//!
//! Descriptors are the link's own. Every operation fits one layout, so a host in another language needs one function:
//! operation, two numbers, bytes.

use alloc::vec::Vec;

use super::{MAX_PAYLOAD, ProtocolError};

/// Bytes of a request before its path or data.
const HEAD: usize = 12;
/// The most bytes one request or reply moves.
pub const MAX_TRANSFER: usize = MAX_PAYLOAD - HEAD;

/// An operation on files. Each fails with the errno the call of its name gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// openat(2): flags, mode, path. The answer is the descriptor, u32.
    Open {
        /// As in `fcntl.h`.
        flags: u32,
        /// Permissions of a file that is made.
        mode: u32,
        /// Where.
        path: Vec<u8>,
    },
    /// close(2); every descriptor of the link if it is `u32::MAX`.
    Close {
        /// Which.
        fd: u32,
    },
    /// read(2). The answer is the bytes; none at the end.
    Read {
        /// From where.
        fd: u32,
        /// At most this many, and at most [`MAX_TRANSFER`].
        count: u32,
    },
    /// write(2). The answer is how many bytes were written, u32.
    Write {
        /// Where.
        fd: u32,
        /// What.
        data: Vec<u8>,
    },
    /// getdents64(2). The answer is `struct linux_dirent64` after another; none at the end.
    ReadDirectory {
        /// The directory.
        fd: u32,
    },
    /// stat(2), or lstat(2) unless `follow`. The answer is a `struct stat`.
    Stat {
        /// Whether a symbolic link at the end is followed.
        follow: bool,
        /// Of what.
        path: Vec<u8>,
    },
    /// mkdir(2).
    MakeDirectory {
        /// Permissions.
        mode: u32,
        /// Where.
        path: Vec<u8>,
    },
    /// rmdir(2) if `directory`, else unlink(2).
    Remove {
        /// Whether a directory is meant.
        directory: bool,
        /// What.
        path: Vec<u8>,
    },
    /// rename(2).
    Rename {
        /// The name it has.
        from: Vec<u8>,
        /// The name it gets.
        to: Vec<u8>,
    },
    /// symlink(2).
    MakeLink {
        /// What it says.
        to: Vec<u8>,
        /// Where it is.
        path: Vec<u8>,
    },
    /// chmod(2).
    ChangeMode {
        /// Permissions.
        mode: u32,
        /// Of what.
        path: Vec<u8>,
    },
    /// inotify_init(2) and one inotify_add_watch(2). The answer is the descriptor, u32; what is read from it are
    /// `struct inotify_event` one after another.
    Watch {
        /// Of which events to tell, as in `sys/inotify.h`.
        mask: u32,
        /// What is watched.
        path: Vec<u8>,
    },
    /// inotify_rm_watch(2) of that watch: whoever reads gets the event that says so.
    Unwatch {
        /// Of which descriptor.
        fd: u32,
    },
}

impl Request {
    /// The payload of a `Request` frame: operation u32, two numbers u32, then the path or the data. Of two paths, the first
    /// number is the length of the first.
    pub fn encode(&self) -> Vec<u8> {
        let pair = |a: &[u8], b: &[u8]| (u32::try_from(a.len()).unwrap_or(u32::MAX), [a, b].concat());
        let two = match self {
            Self::Rename { from, to } => pair(from, to),
            Self::MakeLink { to, path } => pair(to, path),
            _ => (0, Vec::new()),
        };
        let (operation, a, b, rest): (u32, u32, u32, &[u8]) = match self {
            Self::Open { flags, mode, path } => (1, *flags, *mode, path),
            Self::Close { fd } => (2, *fd, 0, &[]),
            Self::Read { fd, count } => (3, *fd, *count, &[]),
            Self::Write { fd, data } => (4, *fd, 0, data),
            Self::ReadDirectory { fd } => (5, *fd, 0, &[]),
            Self::Stat { follow, path } => (6, u32::from(*follow), 0, path),
            Self::MakeDirectory { mode, path } => (7, *mode, 0, path),
            Self::Remove { directory, path } => (8, u32::from(*directory), 0, path),
            Self::Rename { .. } => (9, two.0, 0, &two.1),
            Self::MakeLink { .. } => (10, two.0, 0, &two.1),
            Self::ChangeMode { mode, path } => (11, *mode, 0, path),
            Self::Watch { mask, path } => (12, *mask, 0, path),
            Self::Unwatch { fd } => (13, *fd, 0, &[]),
        };
        let mut out = Vec::with_capacity(HEAD + rest.len());
        for number in [operation, a, b] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(rest);
        out
    }

    /// Reads what [`Request::encode`] wrote.
    pub fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (head, rest) = payload.split_first_chunk::<HEAD>().ok_or(ProtocolError)?;
        let [o0, o1, o2, o3, a0, a1, a2, a3, b0, b1, b2, b3] = *head;
        let (a, b) = (u32::from_le_bytes([a0, a1, a2, a3]), u32::from_le_bytes([b0, b1, b2, b3]));
        let two = || {
            let (first, second) = rest.split_at_checked(usize::try_from(a).ok()?)?;
            Some((first.to_vec(), second.to_vec()))
        };
        Ok(match u32::from_le_bytes([o0, o1, o2, o3]) {
            1 => Self::Open { flags: a, mode: b, path: rest.to_vec() },
            2 => Self::Close { fd: a },
            3 => Self::Read { fd: a, count: b },
            4 => Self::Write { fd: a, data: rest.to_vec() },
            5 => Self::ReadDirectory { fd: a },
            6 => Self::Stat { follow: a != 0, path: rest.to_vec() },
            7 => Self::MakeDirectory { mode: a, path: rest.to_vec() },
            8 => Self::Remove { directory: a != 0, path: rest.to_vec() },
            9 => two().map(|(from, to)| Self::Rename { from, to }).ok_or(ProtocolError)?,
            10 => two().map(|(to, path)| Self::MakeLink { to, path }).ok_or(ProtocolError)?,
            11 => Self::ChangeMode { mode: a, path: rest.to_vec() },
            12 => Self::Watch { mask: a, path: rest.to_vec() },
            13 => Self::Unwatch { fd: a },
            _ => return Err(ProtocolError),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn requests_come_out_as_they_went_in_and_unknown_ones_are_refused() {
        let path = b"/etc/passwd".to_vec();
        for request in [
            Request::Open { flags: 0o101, mode: 0o644, path: path.clone() },
            Request::Close { fd: u32::MAX },
            Request::Read { fd: 3, count: 4096 },
            Request::Write { fd: 3, data: vec![7; 100] },
            Request::ReadDirectory { fd: 4 },
            Request::Stat { follow: true, path: path.clone() },
            Request::MakeDirectory { mode: 0o755, path: path.clone() },
            Request::Remove { directory: true, path: path.clone() },
            Request::Rename { from: path.clone(), to: b"/etc/users".to_vec() },
            Request::MakeLink { to: b"passwd".to_vec(), path: path.clone() },
            Request::ChangeMode { mode: 0o600, path: path.clone() },
            Request::Watch { mask: 0xfff, path },
            Request::Unwatch { fd: 5 },
        ] {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        assert_eq!(Request::decode(&[99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(ProtocolError));
        // The first of two paths would be longer than both.
        assert_eq!(Request::decode(&[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), Err(ProtocolError));
        assert_eq!(Request::decode(&[1, 0, 0]), Err(ProtocolError));
    }
}
