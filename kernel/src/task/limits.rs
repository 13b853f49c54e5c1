//! Resource limits, getrlimit(2).

use aurora_abi::Errno;
use aurora_abi::types::Rlimit;

use crate::sync::Mutex;
use crate::task::Signal;

/// No limit.
pub const UNLIMITED: u64 = u64::MAX;
/// Number of resources.
pub const COUNT: usize = 16;

/// A limited resource; the number is its place in the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Resource {
    Cpu = 0,
    FileSize = 1,
    Data = 2,
    Stack = 3,
    Core = 4,
    Resident = 5,
    Processes = 6,
    Files = 7,
    LockedMemory = 8,
    AddressSpace = 9,
    Locks = 10,
    PendingSignals = 11,
    MessageQueues = 12,
    Nice = 13,
    RealTimePriority = 14,
    RealTime = 15,
}

/// A process's limits.
pub struct Limits {
    table: Mutex<[Rlimit; COUNT]>,
}

impl Limits {
    /// Linux's limits for init; `processes` is the most processes and threads of one user.
    pub fn initial(processes: u64) -> Self {
        let unlimited = Rlimit { current: UNLIMITED, max: UNLIMITED };
        let mut table = [unlimited; COUNT];
        let mut set = |resource: Resource, current: u64, max: u64| {
            if let Some(slot) = table.get_mut(resource as usize) {
                *slot = Rlimit { current, max };
            }
        };
        set(Resource::Stack, 8 << 20, UNLIMITED);
        set(Resource::Core, 0, UNLIMITED);
        set(Resource::Processes, processes, processes);
        set(Resource::Files, 1024, 4096);
        set(Resource::LockedMemory, 8 << 20, 8 << 20);
        set(Resource::PendingSignals, processes, processes);
        set(Resource::MessageQueues, 819_200, 819_200);
        set(Resource::Nice, 0, 0);
        set(Resource::RealTimePriority, 0, 0);
        Self { table: Mutex::new(table) }
    }

    /// A child's copy.
    pub fn fork(&self) -> Self {
        Self { table: Mutex::new(*self.table.lock()) }
    }

    /// The limit in force.
    pub fn get(&self, resource: Resource) -> u64 {
        self.table.lock().get(resource as usize).map_or(UNLIMITED, |l| l.current)
    }

    /// Both limits of a resource by its number.
    pub fn read(&self, resource: u32) -> Result<Rlimit, Errno> {
        self.table.lock().get(crate::num::to_usize(u64::from(resource))).copied().ok_or(Errno::EINVAL)
    }

    /// What is to be done about `used` nanoseconds of processor time: at the soft limit a warning, again each second, at
    /// the hard one the end (setrlimit(2)).
    pub fn signal_for_time(&self, used: u64) -> Option<Signal> {
        let mut table = self.table.lock();
        let limit = table.get_mut(Resource::Cpu as usize)?;
        let seconds = used / 1_000_000_000;
        if seconds >= limit.max {
            return Some(Signal::SIGKILL);
        }
        if seconds < limit.current {
            return None;
        }
        limit.current = seconds + 1;
        Some(Signal::SIGXCPU)
    }

    /// Sets both limits; raising the maximum needs `privileged`.
    pub fn write(&self, resource: u32, new: Rlimit, privileged: bool) -> Result<(), Errno> {
        let mut table = self.table.lock();
        let slot = table.get_mut(crate::num::to_usize(u64::from(resource))).ok_or(Errno::EINVAL)?;
        if new.current > new.max {
            return Err(Errno::EINVAL);
        }
        if new.max > slot.max && !privileged {
            return Err(Errno::EPERM);
        }
        if resource == Resource::Files as u32 && new.max > crate::vfs::fd::MAX_FDS {
            return Err(Errno::EPERM);
        }
        *slot = new;
        Ok(())
    }
}
