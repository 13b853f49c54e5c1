//! Extended attributes, xattr(7): named values of an inode.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;

use crate::memory::MemoryControl;
use crate::memory::account::Charge;
use crate::sync::Mutex;

/// Longest name.
pub const NAME_MAX: usize = 255;
/// Largest value, and largest list of names.
pub const SIZE_MAX: usize = 65536;
/// Kernel heap an attribute is charged besides its name and value.
const COST: u64 = 128;

/// Whether an attribute may be there before it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Either way.
    Any,
    /// It must not be (`XATTR_CREATE`).
    Refused,
    /// It must be (`XATTR_REPLACE`).
    Required,
}

/// A value and what it was charged.
type Value = (Vec<u8>, Charge);

/// The attributes of one inode, wherever they are kept.
pub trait Xattrs: Send + Sync {
    /// A value; `ENODATA` if there is none.
    fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno>;
    /// Sets a value.
    fn set(&self, name: &[u8], value: &[u8], existing: Existing) -> Result<(), Errno>;
    /// Removes a value; `ENODATA` if there is none.
    fn remove(&self, name: &[u8]) -> Result<(), Errno>;
    /// All names.
    fn names(&self) -> Result<Vec<Vec<u8>>, Errno>;
    /// Takes over everything `other` has.
    fn copy_from(&self, other: &dyn Xattrs) -> Result<(), Errno> {
        other.names()?.iter().try_for_each(|name| self.set(name, &other.get(name)?, Existing::Any))
    }
}

/// Attributes that are in memory only.
pub struct MemoryXattrs {
    control: Arc<MemoryControl>,
    values: Mutex<BTreeMap<Vec<u8>, Value>>,
}

impl MemoryXattrs {
    /// None yet; what is set is charged to `control`.
    pub fn new(control: &Arc<MemoryControl>) -> Arc<Self> {
        Arc::new(Self { control: control.clone(), values: Mutex::default() })
    }
}

impl Xattrs for MemoryXattrs {
    fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.values.lock().get(name).map(|(value, _)| value.clone()).ok_or(Errno::ENODATA)
    }

    fn set(&self, name: &[u8], value: &[u8], existing: Existing) -> Result<(), Errno> {
        let charge = self.control.charge(COST + (name.len() + value.len()) as u64).map_err(|_| Errno::ENOSPC)?;
        let mut values = self.values.lock();
        match existing {
            Existing::Refused if values.contains_key(name) => return Err(Errno::EEXIST),
            Existing::Required if !values.contains_key(name) => return Err(Errno::ENODATA),
            _ => {}
        }
        values.insert(name.to_vec(), (value.to_vec(), charge));
        Ok(())
    }

    fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        self.values.lock().remove(name).map(drop).ok_or(Errno::ENODATA)
    }

    fn names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        Ok(self.values.lock().keys().cloned().collect())
    }
}
