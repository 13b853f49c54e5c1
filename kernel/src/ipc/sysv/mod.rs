//! System V's shared memory, message queues and semaphores, sysvipc(7): objects with keys, numbers and permissions, which
//! stay until somebody removes them.

pub mod message;
pub mod semaphore;
pub mod shared_memory;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::{Errno, abi_struct};

use crate::security::Credentials;
use crate::sync::{Guard, Mutex};

/// A key that is nobody's.
pub const PRIVATE: i32 = 0;
/// Make it if there is none.
pub const CREATE: u32 = 0o1000;
/// And fail if there is one.
pub const EXCLUSIVE: u32 = 0o2000;
/// Do not wait.
pub const NOWAIT: u32 = 0o4000;
/// Most objects of a kind.
const MAX_OBJECTS: usize = 32000;
/// Numbers are a place, and how often places were given in the bits above.
const PLACES: i32 = 32768;

/// Wants to read.
pub const READ: u32 = 0o4;
/// Wants to change.
pub const WRITE: u32 = 0o2;

abi_struct! {
    /// `struct ipc64_perm`.
    pub struct RawPermissions(48) {
        pub key: i32, pub uid: u32, pub gid: u32, pub cuid: u32, pub cgid: u32, pub mode: u32, pub seq: u16,
        pub pad0: u16, pub pad1: u32, pub unused: [u64; 2],
    }
}

/// Whose an object is, and what others may do.
#[derive(Clone, Debug)]
pub struct Permissions {
    key: i32,
    uid: u32,
    gid: u32,
    creator: (u32, u32),
    /// Permission bits, and what kinds add.
    pub mode: u32,
    seq: u16,
}

impl Permissions {
    /// `EACCES` unless `want` (of [`READ`] and [`WRITE`]) is allowed.
    pub fn check(&self, who: &Credentials, want: u32) -> Result<(), Errno> {
        if who.is_root() {
            return Ok(());
        }
        let granted = if who.euid == self.uid || who.euid == self.creator.0 {
            self.mode >> 6
        } else if [self.gid, self.creator.1].iter().any(|&g| g == who.egid || who.groups.contains(&g)) {
            self.mode >> 3
        } else {
            self.mode
        };
        if granted & want == want { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// `EPERM` unless it is theirs to change or remove.
    pub fn check_owner(&self, who: &Credentials) -> Result<(), Errno> {
        let owns = who.is_root() || who.euid == self.uid || who.euid == self.creator.0;
        if owns { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// As a program sees them.
    pub fn raw(&self) -> RawPermissions {
        RawPermissions {
            key: self.key,
            uid: self.uid,
            gid: self.gid,
            cuid: self.creator.0,
            cgid: self.creator.1,
            mode: self.mode,
            seq: self.seq,
            ..RawPermissions::default()
        }
    }

    /// What `IPC_SET` changes.
    pub fn set(&mut self, raw: &RawPermissions) {
        (self.uid, self.gid) = (raw.uid, raw.gid);
        self.mode = self.mode & !0o777 | raw.mode & 0o777;
    }
}

/// An object of one of the three kinds.
pub trait Object: Send + Sync {
    /// Whose it is.
    fn permissions(&self) -> Guard<'_, Permissions>;
}

/// All objects of a kind.
pub struct Registry<T> {
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    objects: BTreeMap<i32, Arc<T>>,
    keys: BTreeMap<i32, i32>,
    seq: u16,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { objects: BTreeMap::new(), keys: BTreeMap::new(), seq: 0 }) }
    }
}

impl<T: Object> Registry<T> {
    /// The number of a key's object: an old one that `fits`, or a new one if `flags` say so.
    pub fn get(
        &self,
        key: i32,
        flags: u32,
        who: &Credentials,
        fits: impl FnOnce(&T) -> Result<(), Errno>,
        make: impl FnOnce(Permissions) -> Result<Arc<T>, Errno>,
    ) -> Result<i32, Errno> {
        let existing = if key == PRIVATE { None } else { self.inner.lock().keys.get(&key).copied() };
        if let Some(number) = existing {
            if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE {
                return Err(Errno::EEXIST);
            }
            let object = self.object(number)?;
            fits(&object)?;
            let wanted = (flags >> 6 | flags >> 3 | flags) & 0o7;
            object.permissions().check(who, wanted & (READ | WRITE))?;
            return Ok(number);
        }
        if key != PRIVATE && flags & CREATE == 0 {
            return Err(Errno::ENOENT);
        }
        let (number, seq) = self.free_number()?;
        let permissions =
            Permissions { key, uid: who.euid, gid: who.egid, creator: (who.euid, who.egid), mode: flags & 0o777, seq };
        let object = make(permissions)?;
        let mut inner = self.inner.lock();
        inner.objects.insert(number, object);
        if key != PRIVATE {
            inner.keys.insert(key, number);
        }
        Ok(number)
    }

    fn free_number(&self) -> Result<(i32, u16), Errno> {
        let mut inner = self.inner.lock();
        if inner.objects.len() >= MAX_OBJECTS {
            return Err(Errno::ENOSPC);
        }
        let used = |place: i32| inner.objects.range(..).any(|(number, _)| number % PLACES == place);
        let place = (0..PLACES).find(|&place| !used(place)).ok_or(Errno::ENOSPC)?;
        // A number is not given again soon: who still has the old one notices.
        inner.seq = (inner.seq + 1) & 0x7fff;
        let seq = inner.seq;
        Ok((i32::from(seq).saturating_mul(PLACES) | place, seq))
    }

    /// An object by its number; `EINVAL` if there is none.
    pub fn object(&self, number: i32) -> Result<Arc<T>, Errno> {
        self.inner.lock().objects.get(&number).cloned().ok_or(Errno::EINVAL)
    }

    /// The object in a place, as the `*_STAT` commands count them.
    pub fn at_place(&self, place: i32) -> Result<(i32, Arc<T>), Errno> {
        let inner = self.inner.lock();
        let found = inner.objects.iter().find(|(number, _)| *number % PLACES == place);
        found.map(|(number, object)| (*number, object.clone())).ok_or(Errno::EINVAL)
    }

    /// The highest place in use, and how many are.
    pub fn extent(&self) -> (i32, usize) {
        let inner = self.inner.lock();
        (inner.objects.keys().map(|number| number % PLACES).max().unwrap_or(0), inner.objects.len())
    }

    /// Takes an object's key away: it is found by its number only.
    pub fn forget_key(&self, object: &T) {
        let mut permissions = object.permissions();
        let key = core::mem::replace(&mut permissions.key, PRIVATE);
        drop(permissions);
        self.inner.lock().keys.remove(&key);
    }

    /// Takes an object away.
    pub fn remove(&self, number: i32) -> Option<Arc<T>> {
        let object = self.inner.lock().objects.remove(&number)?;
        self.forget_key(&object);
        Some(object)
    }

    /// All objects.
    pub fn all(&self) -> Vec<(i32, Arc<T>)> {
        self.inner.lock().objects.iter().map(|(number, object)| (*number, object.clone())).collect()
    }
}

/// The three kinds.
#[derive(Default)]
pub struct SystemV {
    /// Shared memory.
    pub segments: Arc<shared_memory::Segments>,
    /// Message queues.
    pub queues: Registry<message::MessageQueue>,
    /// Semaphores.
    pub semaphores: Registry<semaphore::SemaphoreSet>,
}
