//! Names of unix sockets, unix(7): those in the file system by inode, abstract ones by their bytes.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use aurora_abi::Errno;

use crate::net::unix::UnixSocket;
use crate::sync::Mutex;

/// The family.
pub const AF_UNIX: u16 = 1;
/// Bytes of `struct sockaddr_un` before the path.
pub const PATH_AT: usize = 2;
/// Bytes of a whole `struct sockaddr_un`.
pub const ADDRESS_SIZE: usize = 110;

/// An address a program gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixAddress {
    /// Only the family: choose a name.
    Unnamed,
    /// In the file system.
    Path(Vec<u8>),
    /// Abstract: without the leading NUL.
    Abstract(Vec<u8>),
}

impl UnixAddress {
    /// Reads `struct sockaddr_un`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Errno> {
        let (family, path) = bytes.split_at_checked(PATH_AT).ok_or(Errno::EINVAL)?;
        if family != AF_UNIX.to_le_bytes() || bytes.len() > ADDRESS_SIZE {
            return Err(Errno::EINVAL);
        }
        Ok(match path {
            [] => Self::Unnamed,
            [0, name @ ..] => Self::Abstract(name.to_vec()),
            _ => Self::Path(path.split(|&b| b == 0).next().unwrap_or_default().to_vec()),
        })
    }
}

/// The name of a bound socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// As it was bound, and the inode it made.
    Path(Vec<u8>, Place),
    /// Without the leading NUL.
    Abstract(Vec<u8>),
}

/// A file system's number and an inode's.
pub type Place = (u64, u64);

impl Name {
    /// As `struct sockaddr_un` has it; of no name for [`None`].
    pub fn encode(name: Option<&Self>) -> Vec<u8> {
        let mut bytes = AF_UNIX.to_le_bytes().to_vec();
        match name {
            None => {}
            Some(Self::Path(path, _)) => {
                bytes.extend_from_slice(path);
                bytes.push(0);
            }
            Some(Self::Abstract(name)) => {
                bytes.push(0);
                bytes.extend_from_slice(name);
            }
        }
        bytes
    }
}

/// All names.
#[derive(Default)]
pub struct UnixNames {
    paths: Mutex<BTreeMap<Place, Weak<UnixSocket>>>,
    abstracts: Mutex<BTreeMap<Vec<u8>, Weak<UnixSocket>>>,
    /// Every socket, for `/proc/net/unix`.
    all: Mutex<Vec<Weak<UnixSocket>>>,
    next: AtomicU32,
}

impl UnixNames {
    /// The socket bound to an inode.
    pub fn at(&self, place: Place) -> Option<Arc<UnixSocket>> {
        self.paths.lock().get(&place)?.upgrade()
    }
    /// The socket with an abstract name.
    pub fn named(&self, name: &[u8]) -> Option<Arc<UnixSocket>> {
        self.abstracts.lock().get(name)?.upgrade()
    }
    /// Binds a socket to an inode that was just made.
    pub fn bind_path(&self, place: Place, socket: &Arc<UnixSocket>) {
        self.paths.lock().insert(place, Arc::downgrade(socket));
    }
    /// Gives a socket an abstract name; `EADDRINUSE` if another has it.
    pub fn bind_abstract(&self, name: &[u8], socket: &Arc<UnixSocket>) -> Result<(), Errno> {
        let mut abstracts = self.abstracts.lock();
        if abstracts.get(name).is_some_and(|s| s.strong_count() > 0) {
            return Err(Errno::EADDRINUSE);
        }
        abstracts.insert(name.to_vec(), Arc::downgrade(socket));
        Ok(())
    }
    /// Gives a socket a name of five hexadecimal digits nobody has.
    pub fn autobind(&self, socket: &Arc<UnixSocket>) -> Result<Name, Errno> {
        for _ in 0..=0xf_ffff {
            let number = self.next.fetch_add(1, Ordering::Relaxed) & 0xf_ffff;
            let name = format!("{number:05x}").into_bytes();
            if self.bind_abstract(&name, socket).is_ok() {
                return Ok(Name::Abstract(name));
            }
        }
        Err(Errno::ENOSPC)
    }
    /// Gives up a name.
    pub fn unbind(&self, name: &Name) {
        let gone = match name {
            Name::Path(_, place) => self.paths.lock().remove(place),
            Name::Abstract(name) => self.abstracts.lock().remove(name),
        };
        drop(gone);
    }
    /// Lists a new socket.
    pub fn add(&self, socket: &Arc<UnixSocket>) {
        let mut all = self.all.lock();
        if all.len().is_multiple_of(64) {
            all.retain(|s| s.strong_count() > 0);
        }
        all.push(Arc::downgrade(socket));
    }
    /// All sockets there are.
    pub fn all(&self) -> Vec<Arc<UnixSocket>> {
        self.all.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_up_to_its_nul_or_a_name_that_begins_with_one() {
        assert_eq!(UnixAddress::parse(b"\x01\0/a\0b"), Ok(UnixAddress::Path(b"/a".to_vec())));
        assert_eq!(UnixAddress::parse(b"\x01\0\0a\0b"), Ok(UnixAddress::Abstract(b"a\0b".to_vec())));
        assert_eq!(UnixAddress::parse(b"\x01\0"), Ok(UnixAddress::Unnamed));
        assert_eq!(UnixAddress::parse(b"\x02\0/a"), Err(Errno::EINVAL));
        assert_eq!(UnixAddress::parse(b"\x01"), Err(Errno::EINVAL));
        assert_eq!(UnixAddress::parse(&[1; 111]), Err(Errno::EINVAL));
    }

    #[test]
    fn a_name_is_written_as_it_is_read() {
        let name = Name::Abstract(b"some".to_vec());
        let parsed = UnixAddress::parse(&Name::encode(Some(&name)));
        assert_eq!(parsed, Ok(UnixAddress::Abstract(b"some".to_vec())));
        assert_eq!(Name::encode(None), [1, 0]);
    }
}
