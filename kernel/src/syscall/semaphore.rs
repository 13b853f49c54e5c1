//! semget(2), semop(2), semctl(2).

use alloc::vec::Vec;

use aurora_abi::types::Timespec;
use aurora_abi::{Errno, abi_struct};

use crate::ipc::sysv::message::QUEUE_COST;
use crate::ipc::sysv::semaphore::{Blocked, MAX_COUNTERS, MAX_OPERATIONS, MAX_VALUE, Operation, SemaphoreSet};
use crate::ipc::sysv::{NOWAIT, Object, READ, RawPermissions, WRITE};
use crate::memory::UserPtr;
use crate::num::low32_signed;
use crate::syscall::sysv::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, count, number, wait_for};
use crate::syscall::time::to_ns;
use crate::syscall::{Context, SysResult};

abi_struct! {
    /// `struct semid64_ds`, semctl(2).
    pub struct SetInfo(104) {
        pub permissions: RawPermissions, pub operated: i64, pub unused0: u64, pub changed: i64, pub unused1: u64,
        pub count: u64, pub unused2: [u64; 2],
    }
}
abi_struct! {
    /// `struct seminfo`, semctl(2).
    pub struct SetLimits(40) {
        pub map: i32, pub sets: i32, pub all: i32, pub undo: i32, pub each: i32, pub operations: i32, pub undos: i32,
        pub used: i32, pub value: i32, pub adjust: i32,
    }
}

pub(super) fn semget(cx: &mut Context<'_>, key: i32, counters: i32, flags: u32) -> SysResult {
    let kernel = cx.kernel();
    let counters = u32::try_from(counters).ok().filter(|&n| n <= MAX_COUNTERS).ok_or(Errno::EINVAL)?;
    let who = cx.thread.process.credentials();
    let now = cx.seconds();
    let fits = |set: &SemaphoreSet| {
        let has = set.state().counters().len() as u64;
        if u64::from(counters) > has { Err(Errno::EINVAL) } else { Ok(()) }
    };
    let id = kernel.system_v.semaphores.get(key, flags, &who, fits, |permissions| {
        if counters == 0 {
            return Err(Errno::EINVAL);
        }
        let charge = kernel.memory.charge(QUEUE_COST + u64::from(counters) * 16)?;
        Ok(SemaphoreSet::new(permissions, counters, now, charge))
    })?;
    number(id)
}

pub(super) async fn semop(cx: &mut Context<'_>, id: i32, operations: UserPtr<Operation>, many: u64) -> SysResult {
    semtimedop(cx, id, operations, many, UserPtr::new(0)).await
}

pub(super) async fn semtimedop(
    cx: &mut Context<'_>,
    id: i32,
    operations: UserPtr<Operation>,
    many: u64,
    timeout: UserPtr<Timespec>,
) -> SysResult {
    let space = cx.space()?;
    let deadline = match timeout.non_null() {
        Some(timeout) => Some(timeout.load(&space).await?),
        None => None,
    };
    if many < 1 || id < 0 {
        return Err(Errno::EINVAL);
    }
    if many > MAX_OPERATIONS {
        return Err(Errno::E2BIG);
    }
    let mut all = Vec::new();
    for i in 0..many {
        all.push(operations.element(i).load(&space).await?);
    }
    let deadline = match deadline {
        Some(time) => Some(cx.kernel().machine.now() + to_ns(time)?),
        None => None,
    };
    let set = cx.kernel().system_v.semaphores.object(id)?;
    let have = set.state().counters().len();
    if all.iter().any(|o| usize::from(o.number) >= have) {
        return Err(Errno::EFBIG);
    }
    let alters = all.iter().any(|o| o.change != 0);
    set.permissions().check(&cx.thread.process.credentials(), if alters { WRITE } else { READ })?;
    let (pid, now) = (cx.thread.process.pid, cx.seconds());
    let mut waits: Option<(u16, bool)> = None;
    let operate = || {
        if let Some((number, zero)) = waits.take() {
            set.count_waiting(number, zero, false);
        }
        match set.operate(&all, pid, now) {
            Ok(()) => Some(Ok(())),
            Err(Blocked::Errno(errno)) => Some(Err(errno)),
            Err(Blocked::Counter(number, zero)) => {
                let nowait = all.iter().any(|o| o.number == number && u32::from(o.flags) & NOWAIT != 0);
                if nowait {
                    return Some(Err(Errno::EAGAIN));
                }
                set.count_waiting(number, zero, true);
                waits = Some((number, zero));
                None
            }
        }
    };
    let result = wait_for(cx, &set.changed, deadline, operate).await;
    if let Some((number, zero)) = waits {
        set.count_waiting(number, zero, false);
    }
    // semop(2) is never restarted.
    result.map_err(|errno| if errno == Errno::ERESTARTNOHAND { Errno::EINTR } else { errno })??;
    Ok(0)
}

const GETPID: u32 = 11;
const GETVAL: u32 = 12;
const GETALL: u32 = 13;
const GETNCNT: u32 = 14;
const GETZCNT: u32 = 15;
const SETVAL: u32 = 16;
const SETALL: u32 = 17;
const SEM_STAT: u32 = 18;
const SEM_INFO: u32 = 19;
const SEM_STAT_ANY: u32 = 20;

pub(super) async fn semctl(cx: &mut Context<'_>, id: i32, which: i32, command: u32, argument: u64) -> SysResult {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let sets = &cx.kernel().system_v.semaphores;
    let who = cx.thread.process.credentials();
    let space = cx.space()?;
    match command {
        IPC_INFO | SEM_INFO => {
            let mut limits = SetLimits {
                map: 1_024_000_000,
                sets: 32000,
                all: 1_024_000_000,
                undo: 1_024_000_000,
                each: 32000,
                operations: 500,
                undos: 500,
                used: 20,
                value: MAX_VALUE,
                adjust: MAX_VALUE,
            };
            if command == SEM_INFO {
                let all = sets.all();
                limits.used = count(all.len());
                limits.adjust = count(all.iter().map(|(_, s)| s.state().counters().len()).sum());
            }
            UserPtr::new(argument).store(&space, &limits).await?;
            number(sets.extent().0)
        }
        IPC_STAT | SEM_STAT | SEM_STAT_ANY => {
            let (real, set) = if command == IPC_STAT { (0, sets.object(id)?) } else { sets.at_place(id)? };
            if command != SEM_STAT_ANY {
                set.permissions().check(&who, READ)?;
            }
            let permissions = set.permissions().raw();
            let info = {
                let state = set.state();
                SetInfo {
                    permissions,
                    operated: state.operated,
                    changed: state.changed,
                    count: state.counters().len() as u64,
                    ..SetInfo::default()
                }
            };
            UserPtr::new(argument).store(&space, &info).await?;
            number(real)
        }
        IPC_SET => {
            let info: SetInfo = UserPtr::new(argument).load(&space).await?;
            let set = sets.object(id)?;
            set.permissions().check_owner(&who)?;
            set.permissions().set(&info.permissions);
            set.state().changed = cx.seconds();
            Ok(0)
        }
        IPC_RMID => {
            sets.object(id)?.permissions().check_owner(&who)?;
            if let Some(set) = sets.remove(id) {
                set.close();
            }
            Ok(0)
        }
        GETALL | SETALL => all_counters(cx, &*sets.object(id)?, command == SETALL, argument).await,
        GETPID | GETVAL | GETNCNT | GETZCNT => {
            let set = sets.object(id)?;
            set.permissions().check(&who, READ)?;
            let counter = usize::try_from(which).ok().and_then(|i| set.state().counters().get(i).copied());
            let counter = counter.ok_or(Errno::EINVAL)?;
            let [more, zero] = counter.waiting;
            match command {
                GETPID => number(counter.pid),
                GETVAL => number(counter.value),
                GETNCNT => Ok(u64::from(more)),
                _ => Ok(u64::from(zero)),
            }
        }
        SETVAL => {
            let value = low32_signed(argument);
            if !(0..=MAX_VALUE).contains(&value) {
                return Err(Errno::ERANGE);
            }
            let set = sets.object(id)?;
            let at = usize::try_from(which).ok().filter(|&i| i < set.state().counters().len()).ok_or(Errno::EINVAL)?;
            set.permissions().check(&who, WRITE)?;
            set.set(at, &[value], cx.pid(), cx.seconds()).map(|()| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Reads or sets all counters of a set at once.
async fn all_counters(cx: &Context<'_>, set: &SemaphoreSet, sets: bool, at: u64) -> SysResult {
    let who = cx.thread.process.credentials();
    let space = cx.space()?;
    set.permissions().check(&who, if sets { WRITE } else { READ })?;
    let values: Vec<i32> = set.state().counters().iter().map(|c| c.value).collect();
    let place = UserPtr::<u16>::new(at);
    if !sets {
        for (i, value) in (0..).zip(values) {
            place.element(i).store(&space, &crate::num::low16(u64::from(value.cast_unsigned()))).await?;
        }
        return Ok(0);
    }
    let mut new = Vec::new();
    for i in 0..values.len() as u64 {
        new.push(i32::from(place.element(i).load(&space).await?));
    }
    set.set(0, &new, cx.pid(), cx.seconds()).map(|()| 0)
}
