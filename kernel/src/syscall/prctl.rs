//! prctl(2), personality(2).

use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_machine::VirtAddr;

use crate::memory::UserPtr;
use crate::num::{low8, low32};
use crate::security::Credentials;
use crate::security::credentials::{CAP_SETPCAP, SECBIT_KEEP_CAPS, SECBIT_NO_CAP_AMBIENT_RAISE};
use crate::syscall::identity::cap_arg;
use crate::syscall::{Context, SysResult};
use crate::task::Signal;
use crate::task::thread::DEFAULT_SLACK;

const PR_SET_PDEATHSIG: u32 = 1;
const PR_GET_PDEATHSIG: u32 = 2;
const PR_GET_DUMPABLE: u32 = 3;
const PR_SET_DUMPABLE: u32 = 4;
const PR_GET_KEEPCAPS: u32 = 7;
const PR_SET_KEEPCAPS: u32 = 8;
const PR_GET_TIMING: u32 = 13;
const PR_SET_TIMING: u32 = 14;
const PR_SET_NAME: u32 = 15;
const PR_GET_NAME: u32 = 16;
const PR_GET_SECCOMP: u32 = 21;
const PR_SET_SECCOMP: u32 = 22;
const PR_CAPBSET_READ: u32 = 23;
const PR_CAPBSET_DROP: u32 = 24;
const PR_GET_TSC: u32 = 25;
const PR_SET_TSC: u32 = 26;
const PR_GET_SECUREBITS: u32 = 27;
const PR_SET_SECUREBITS: u32 = 28;
const PR_SET_TIMERSLACK: u32 = 29;
const PR_GET_TIMERSLACK: u32 = 30;
const PR_SET_CHILD_SUBREAPER: u32 = 36;
const PR_GET_CHILD_SUBREAPER: u32 = 37;
const PR_SET_NO_NEW_PRIVS: u32 = 38;
const PR_GET_NO_NEW_PRIVS: u32 = 39;
const PR_GET_TID_ADDRESS: u32 = 40;
const PR_SET_THP_DISABLE: u32 = 41;
const PR_GET_THP_DISABLE: u32 = 42;
const PR_CAP_AMBIENT: u32 = 47;

pub(super) async fn prctl(cx: &mut Context<'_>, option: u32, a: u64, b: u64, c: u64, d: u64) -> SysResult {
    let (thread, process) = (cx.thread, &cx.thread.process);
    let rest_is_zero = b == 0 && c == 0 && d == 0;
    let all_zero = a == 0 && rest_is_zero;
    match option {
        PR_SET_NAME | PR_GET_NAME => name(cx, option, VirtAddr(a)).await,
        PR_SET_PDEATHSIG => {
            let signal = match u8::try_from(a).map_err(|_| Errno::EINVAL)? {
                0 => 0,
                number => Signal::new(number).ok_or(Errno::EINVAL)?.number(),
            };
            thread.parent_death_signal.store(signal, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_PDEATHSIG => tell(cx, a, i32::from(thread.parent_death_signal.load(Ordering::Relaxed))).await,
        PR_GET_DUMPABLE => Ok(u64::from(process.dumpable())),
        PR_SET_DUMPABLE => match a {
            0 | 1 => {
                process.set_dumpable(low8(a));
                Ok(0)
            }
            _ => Err(Errno::EINVAL),
        },
        PR_GET_TIMING => Ok(0),
        PR_SET_TIMING => {
            if a == 0 {
                Ok(0)
            } else {
                Err(Errno::EINVAL)
            }
        }
        PR_GET_SECCOMP => Ok(u64::from(thread.seccomp.lock().mode())),
        PR_SET_SECCOMP => super::seccomp::set_by_prctl(cx, a, b).await,
        PR_GET_TSC => tell(cx, a, 1).await,
        PR_SET_TSC => {
            if a == 1 {
                Ok(0)
            } else {
                Err(Errno::EINVAL)
            }
        }
        PR_SET_TIMERSLACK => {
            let slack = if a.cast_signed() <= 0 { DEFAULT_SLACK } else { a };
            thread.timer_slack.store(slack, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_TIMERSLACK => Ok(thread.timer_slack.load(Ordering::Relaxed)),
        PR_SET_CHILD_SUBREAPER => {
            process.is_subreaper.store(a != 0, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_CHILD_SUBREAPER => tell(cx, a, i32::from(process.is_subreaper.load(Ordering::Relaxed))).await,
        PR_SET_NO_NEW_PRIVS if a == 1 && rest_is_zero => {
            process.no_new_privs.store(true, Ordering::Relaxed);
            Ok(0)
        }
        PR_GET_NO_NEW_PRIVS if all_zero => Ok(u64::from(process.no_new_privs.load(Ordering::Relaxed))),
        PR_GET_TID_ADDRESS => {
            let at = thread.clear_child_tid.load(Ordering::Relaxed);
            UserPtr::new(a).store(&*cx.space()?, &at).await?;
            Ok(0)
        }
        // There are no huge pages to be given or refused.
        PR_GET_THP_DISABLE if all_zero => Ok(0),
        PR_SET_THP_DISABLE if all_zero => Ok(0),
        PR_GET_KEEPCAPS..=PR_SET_KEEPCAPS
        | PR_CAPBSET_READ..=PR_CAPBSET_DROP
        | PR_GET_SECUREBITS..=PR_SET_SECUREBITS
        | PR_CAP_AMBIENT => capabilities(cx, option, a, b, c == 0 && d == 0),
        _ => Err(Errno::EINVAL),
    }
}

/// Writes an `int` where the program wants it.
async fn tell(cx: &Context<'_>, at: u64, value: i32) -> SysResult {
    UserPtr::new(at).store(&*cx.space()?, &value).await?;
    Ok(0)
}

async fn name(cx: &Context<'_>, option: u32, at: VirtAddr) -> SysResult {
    let space = cx.space()?;
    if option == PR_GET_NAME {
        let mut name = cx.thread.name();
        name.resize(16, 0);
        space.copy_out(at, &name).await?;
        return Ok(0);
    }
    let mut name = [0; 16];
    let text = match space.copy_in_str(at, &mut name).await {
        Ok(text) => text.to_vec(),
        Err(Errno::ENAMETOOLONG) => name.get(..15).unwrap_or_default().to_vec(),
        Err(errno) => return Err(errno),
    };
    cx.thread.set_name(&text);
    Ok(0)
}

const AMBIENT_IS_SET: u64 = 1;
const AMBIENT_RAISE: u64 = 2;
const AMBIENT_LOWER: u64 = 3;
const AMBIENT_CLEAR_ALL: u64 = 4;

fn capabilities(cx: &Context<'_>, option: u32, a: u64, b: u64, rest_is_zero: bool) -> SysResult {
    let process = &cx.thread.process;
    let old = process.credentials();
    let mut new: Credentials = (*old).clone();
    let answer = match option {
        PR_GET_KEEPCAPS => return Ok(u64::from(old.securebits & SECBIT_KEEP_CAPS != 0)),
        PR_SET_KEEPCAPS => {
            match a {
                0 => new.securebits &= !SECBIT_KEEP_CAPS,
                1 => new.securebits |= SECBIT_KEEP_CAPS,
                _ => return Err(Errno::EINVAL),
            }
            0
        }
        PR_CAPBSET_READ => return Ok(old.caps.bounding >> cap_arg(a)? & 1),
        PR_CAPBSET_DROP => {
            old.require(CAP_SETPCAP)?;
            new.caps.bounding &= !(1 << cap_arg(a)?);
            0
        }
        PR_GET_SECUREBITS => return Ok(u64::from(old.securebits)),
        PR_SET_SECUREBITS => {
            set_securebits(&old, &mut new, low32(a))?;
            0
        }
        _ => set_ambient(&mut new, a, b, rest_is_zero)?,
    };
    process.set_credentials(new);
    Ok(answer)
}

/// Every bit, and the bits that lock the one below them.
const SECUREBITS: u32 = 0xff;
const SECURE_LOCKS: u32 = 0xaa;

fn set_securebits(old: &Credentials, new: &mut Credentials, bits: u32) -> Result<(), Errno> {
    let locked = old.securebits & SECURE_LOCKS;
    let changes_locked = (old.securebits ^ bits) & (locked >> 1) != 0;
    let unlocks = locked & !bits != 0;
    if changes_locked || unlocks || bits & !SECUREBITS != 0 {
        return Err(Errno::EPERM);
    }
    old.require(CAP_SETPCAP)?;
    new.securebits = bits;
    Ok(())
}

fn set_ambient(new: &mut Credentials, operation: u64, cap: u64, rest_is_zero: bool) -> Result<u64, Errno> {
    if operation == AMBIENT_CLEAR_ALL {
        if cap != 0 || !rest_is_zero {
            return Err(Errno::EINVAL);
        }
        new.caps.ambient = 0;
        return Ok(0);
    }
    if !rest_is_zero {
        return Err(Errno::EINVAL);
    }
    let bit = 1 << cap_arg(cap)?;
    match operation {
        AMBIENT_IS_SET => return Ok(u64::from(new.caps.ambient & bit != 0)),
        AMBIENT_RAISE => {
            let allowed = new.caps.permitted & new.caps.inheritable & bit != 0;
            if !allowed || new.securebits & SECBIT_NO_CAP_AMBIENT_RAISE != 0 {
                return Err(Errno::EPERM);
            }
            new.caps.ambient |= bit;
        }
        AMBIENT_LOWER => new.caps.ambient &= !bit,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Asks without changing.
const PERSONALITY_QUERY: u32 = u32::MAX;

pub(super) fn personality(cx: &mut Context<'_>, new: u32) -> SysResult {
    let personality = &cx.thread.process.personality;
    let old = personality.load(Ordering::Relaxed);
    if new != PERSONALITY_QUERY {
        personality.store(new, Ordering::Relaxed);
    }
    Ok(u64::from(old))
}
