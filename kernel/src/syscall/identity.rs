//! Users and groups, credentials(7).

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_abi::types::CapHeader;

use crate::memory::UserPtr;
use crate::num::low32;
use crate::security::Credentials;
use crate::security::credentials::{ALL_CAPS, CAP_LAST, CAP_SETGID, CAP_SETPCAP, CAP_SETUID, CapSets};
use crate::syscall::{Context, SysResult};
use crate::task::Pid;

/// "Leave it".
const KEEP: u32 = u32::MAX;

fn id(value: u32) -> SysResult {
    Ok(u64::from(value))
}

pub(super) fn getuid(cx: &mut Context<'_>) -> SysResult {
    id(cx.thread.process.credentials().uid)
}
pub(super) fn geteuid(cx: &mut Context<'_>) -> SysResult {
    id(cx.thread.process.credentials().euid)
}
pub(super) fn getgid(cx: &mut Context<'_>) -> SysResult {
    id(cx.thread.process.credentials().gid)
}
pub(super) fn getegid(cx: &mut Context<'_>) -> SysResult {
    id(cx.thread.process.credentials().egid)
}

/// Changes identities; those of file accesses follow the effective ones.
fn update(cx: &Context<'_>, change: impl FnOnce(&mut Credentials) -> Result<(), Errno>) -> SysResult {
    let old = cx.thread.process.credentials();
    let mut new = (*old).clone();
    change(&mut new)?;
    new.fsuid = new.euid;
    new.fsgid = new.egid;
    if [new.uid, new.euid, new.suid] != [old.uid, old.euid, old.suid] {
        new.adjust_caps(&old);
    }
    if (new.euid, new.egid, new.fsuid, new.fsgid) != (old.euid, old.egid, old.fsuid, old.fsgid) {
        cx.thread.process.set_dumpable(0);
        cx.thread.parent_death_signal.store(0, core::sync::atomic::Ordering::Relaxed);
    }
    cx.thread.process.set_credentials(new);
    Ok(0)
}

pub(super) fn setuid(cx: &mut Context<'_>, uid: u32) -> SysResult {
    check_id(uid)?;
    update(cx, |c| {
        if c.is_capable(CAP_SETUID) {
            (c.uid, c.suid) = (uid, uid);
        } else if uid != c.uid && uid != c.suid {
            return Err(Errno::EPERM);
        }
        c.euid = uid;
        Ok(())
    })
}

pub(super) fn setgid(cx: &mut Context<'_>, gid: u32) -> SysResult {
    check_id(gid)?;
    update(cx, |c| {
        if c.is_capable(CAP_SETGID) {
            (c.gid, c.sgid) = (gid, gid);
        } else if gid != c.gid && gid != c.sgid {
            return Err(Errno::EPERM);
        }
        c.egid = gid;
        Ok(())
    })
}

/// "Leave it" is no id of its own.
fn check_id(id: u32) -> Result<(), Errno> {
    if id == KEEP { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Real and effective id of setreuid(2) and setregid(2), in a triple of real, effective and saved.
fn set_two(ids: &mut [u32; 3], real: u32, effective: u32, may_all: bool) -> Result<(), Errno> {
    let [old_real, old_effective, old_saved] = *ids;
    let may_real = real == KEEP || may_all || [old_real, old_effective].contains(&real);
    let may_effective = effective == KEEP || may_all || [old_real, old_effective, old_saved].contains(&effective);
    if !may_real || !may_effective {
        return Err(Errno::EPERM);
    }
    let [r, e, s] = ids;
    *r = if real == KEEP { old_real } else { real };
    *e = if effective == KEEP { old_effective } else { effective };
    if real != KEEP || effective != KEEP && effective != old_real {
        *s = *e;
    }
    Ok(())
}

/// All ids of setresuid(2) and setresgid(2).
fn set_three(ids: &mut [u32; 3], new: [u32; 3], may_all: bool) -> Result<(), Errno> {
    let old = *ids;
    if !may_all && new.iter().any(|v| *v != KEEP && !old.contains(v)) {
        return Err(Errno::EPERM);
    }
    for (slot, value) in ids.iter_mut().zip(new) {
        if value != KEEP {
            *slot = value;
        }
    }
    Ok(())
}

fn update_uids(cx: &Context<'_>, change: impl FnOnce(&mut [u32; 3], bool) -> Result<(), Errno>) -> SysResult {
    update(cx, |c| {
        let mut ids = [c.uid, c.euid, c.suid];
        change(&mut ids, c.is_capable(CAP_SETUID))?;
        [c.uid, c.euid, c.suid] = ids;
        Ok(())
    })
}

fn update_gids(cx: &Context<'_>, change: impl FnOnce(&mut [u32; 3], bool) -> Result<(), Errno>) -> SysResult {
    update(cx, |c| {
        let mut ids = [c.gid, c.egid, c.sgid];
        change(&mut ids, c.is_capable(CAP_SETGID))?;
        [c.gid, c.egid, c.sgid] = ids;
        Ok(())
    })
}

pub(super) fn setreuid(cx: &mut Context<'_>, real: u32, effective: u32) -> SysResult {
    update_uids(cx, |ids, may_all| set_two(ids, real, effective, may_all))
}

pub(super) fn setregid(cx: &mut Context<'_>, real: u32, effective: u32) -> SysResult {
    update_gids(cx, |ids, may_all| set_two(ids, real, effective, may_all))
}

pub(super) fn setresuid(cx: &mut Context<'_>, real: u32, effective: u32, saved: u32) -> SysResult {
    update_uids(cx, |ids, may_all| set_three(ids, [real, effective, saved], may_all))
}

pub(super) fn setresgid(cx: &mut Context<'_>, real: u32, effective: u32, saved: u32) -> SysResult {
    update_gids(cx, |ids, may_all| set_three(ids, [real, effective, saved], may_all))
}

async fn store_three(cx: &Context<'_>, to: [UserPtr<u32>; 3], values: [u32; 3]) -> SysResult {
    let space = cx.space()?;
    for (at, value) in to.iter().zip(values) {
        at.store(&space, &value).await?;
    }
    Ok(0)
}

pub(super) async fn getresuid(
    cx: &mut Context<'_>,
    real: UserPtr<u32>,
    effective: UserPtr<u32>,
    saved: UserPtr<u32>,
) -> SysResult {
    let c = cx.thread.process.credentials();
    store_three(cx, [real, effective, saved], [c.uid, c.euid, c.suid]).await
}

pub(super) async fn getresgid(
    cx: &mut Context<'_>,
    real: UserPtr<u32>,
    effective: UserPtr<u32>,
    saved: UserPtr<u32>,
) -> SysResult {
    let c = cx.thread.process.credentials();
    store_three(cx, [real, effective, saved], [c.gid, c.egid, c.sgid]).await
}

pub(super) fn setfsuid(cx: &mut Context<'_>, uid: u32) -> SysResult {
    let old = cx.thread.process.credentials();
    let allowed = old.is_capable(CAP_SETUID) || [old.uid, old.euid, old.suid, old.fsuid].contains(&uid);
    if allowed && uid != KEEP {
        let mut new = Credentials { fsuid: uid, ..(*old).clone() };
        new.adjust_file_caps(&old);
        cx.thread.process.set_credentials(new);
    }
    id(old.fsuid)
}

pub(super) fn setfsgid(cx: &mut Context<'_>, gid: u32) -> SysResult {
    let old = cx.thread.process.credentials();
    let allowed = old.is_capable(CAP_SETGID) || [old.gid, old.egid, old.sgid, old.fsgid].contains(&gid);
    if allowed && gid != KEEP {
        cx.thread.process.set_credentials(Credentials { fsgid: gid, ..(*old).clone() });
    }
    id(old.fsgid)
}

/// Most supplementary groups: Linux's `NGROUPS_MAX`.
const GROUPS_MAX: i32 = 65536;

pub(super) async fn getgroups(cx: &mut Context<'_>, size: i32, out: UserPtr<u32>) -> SysResult {
    let groups = cx.thread.process.credentials().groups.clone();
    let count = groups.len();
    if size < 0 {
        return Err(Errno::EINVAL);
    }
    if size > 0 {
        if usize::try_from(size).is_ok_and(|s| s < count) {
            return Err(Errno::EINVAL);
        }
        let space = cx.space()?;
        for (i, group) in groups.iter().enumerate() {
            out.element(i as u64).store(&space, group).await?;
        }
    }
    Ok(count as u64)
}

pub(super) async fn setgroups(cx: &mut Context<'_>, size: i32, list: UserPtr<u32>) -> SysResult {
    cx.thread.process.credentials().require(CAP_SETGID)?;
    if !(0..=GROUPS_MAX).contains(&size) {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let mut groups = Vec::new();
    for i in 0..u64::from(size.cast_unsigned()) {
        groups.push(list.element(i).load(&space).await?);
    }
    // As Linux keeps and shows them.
    groups.sort_unstable();
    let old = cx.thread.process.credentials();
    cx.thread.process.set_credentials(Credentials { groups: Arc::new(groups), ..(*old).clone() });
    Ok(0)
}

/// Versions of the header, capget(2): one word of each set, or two.
const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

/// Words of each set a header asks for. An unknown version is answered with the one to use.
async fn cap_words(cx: &Context<'_>, at: UserPtr<CapHeader>, data: bool) -> Result<Option<(CapHeader, usize)>, Errno> {
    let space = cx.space()?;
    let header = at.load(&space).await?;
    match header.version {
        VERSION_1 => Ok(Some((header, 1))),
        VERSION_2 | VERSION_3 => Ok(Some((header, 2))),
        _ => {
            at.store(&space, &CapHeader { version: VERSION_3, ..header }).await?;
            if data { Err(Errno::EINVAL) } else { Ok(None) }
        }
    }
}

pub(super) async fn capget(cx: &mut Context<'_>, header: UserPtr<CapHeader>, data: UserPtr<u32>) -> SysResult {
    let Some((header, words)) = cap_words(cx, header, !data.is_null()).await? else { return Ok(0) };
    if header.pid < 0 {
        return Err(Errno::EINVAL);
    }
    let caps = match header.pid {
        0 => cx.thread.process.credentials().caps,
        pid => cx.kernel().processes.thread(Pid(pid)).ok_or(Errno::ESRCH)?.process.credentials().caps,
    };
    if data.is_null() {
        return Ok(0);
    }
    let space = cx.space()?;
    for (word, shift) in [0, 32].into_iter().enumerate().take(words) {
        let part = |set: u64| low32(set >> shift);
        let three = [part(caps.effective), part(caps.permitted), part(caps.inheritable)];
        UserPtr::<[u32; 3]>::new(data.addr().0).element(word as u64).store(&space, &three).await?;
    }
    Ok(0)
}

pub(super) async fn capset(cx: &mut Context<'_>, header: UserPtr<CapHeader>, data: UserPtr<u32>) -> SysResult {
    let Some((header, words)) = cap_words(cx, header, true).await? else { return Err(Errno::EINVAL) };
    if header.pid != 0 && header.pid != cx.thread.tid().0 {
        return Err(Errno::EPERM);
    }
    let space = cx.space()?;
    let (mut effective, mut permitted, mut inheritable) = (0, 0, 0);
    for (word, shift) in [0, 32].into_iter().enumerate().take(words) {
        let [e, p, i] = UserPtr::<[u32; 3]>::new(data.addr().0).element(word as u64).load(&space).await?;
        effective |= u64::from(e) << shift & ALL_CAPS;
        permitted |= u64::from(p) << shift & ALL_CAPS;
        inheritable |= u64::from(i) << shift & ALL_CAPS;
    }
    let credentials = cx.thread.process.credentials();
    let old = credentials.caps;
    let subset = |small: u64, large: u64| small & !large == 0;
    let may_inherit = credentials.is_capable(CAP_SETPCAP) || subset(inheritable, old.inheritable | old.permitted);
    if !may_inherit
        || !subset(inheritable, old.inheritable | old.bounding)
        || !subset(permitted, old.permitted)
        || !subset(effective, permitted)
    {
        return Err(Errno::EPERM);
    }
    let ambient = old.ambient & permitted & inheritable;
    let caps = CapSets { effective, permitted, inheritable, ambient, ..old };
    cx.thread.process.set_credentials(Credentials { caps, ..(*credentials).clone() });
    Ok(0)
}

/// Whether there is such a capability.
pub(super) fn cap_arg(value: u64) -> Result<u32, Errno> {
    u32::try_from(value).ok().filter(|&c| c <= CAP_LAST).ok_or(Errno::EINVAL)
}
