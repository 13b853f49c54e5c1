//! Users and groups, credentials(7).

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;

use crate::memory::UserPtr;
use crate::security::Credentials;
use crate::syscall::{Context, SysResult};

/// "Leave it".
const KEEP: u32 = u32::MAX;

fn id(value: u32) -> SysResult {
    Ok(u64::from(value))
}

pub(super) async fn getuid(cx: &mut Context<'_>) -> SysResult {
    id(cx.thread.process.credentials().uid)
}
pub(super) async fn geteuid(cx: &mut Context<'_>) -> SysResult {
    id(cx.thread.process.credentials().euid)
}
pub(super) async fn getgid(cx: &mut Context<'_>) -> SysResult {
    id(cx.thread.process.credentials().gid)
}
pub(super) async fn getegid(cx: &mut Context<'_>) -> SysResult {
    id(cx.thread.process.credentials().egid)
}

fn update(cx: &Context<'_>, change: impl FnOnce(&mut Credentials) -> Result<(), Errno>) -> SysResult {
    let mut new = (*cx.thread.process.credentials()).clone();
    change(&mut new)?;
    new.fsuid = new.euid;
    new.fsgid = new.egid;
    cx.thread.process.set_credentials(new);
    Ok(0)
}

pub(super) async fn setuid(cx: &mut Context<'_>, uid: u32) -> SysResult {
    update(cx, |c| {
        if c.is_root() {
            (c.uid, c.suid) = (uid, uid);
        } else if uid != c.uid && uid != c.suid {
            return Err(Errno::EPERM);
        }
        c.euid = uid;
        Ok(())
    })
}

pub(super) async fn setgid(cx: &mut Context<'_>, gid: u32) -> SysResult {
    update(cx, |c| {
        if c.is_root() {
            (c.gid, c.sgid) = (gid, gid);
        } else if gid != c.gid && gid != c.sgid {
            return Err(Errno::EPERM);
        }
        c.egid = gid;
        Ok(())
    })
}

pub(super) async fn setreuid(cx: &mut Context<'_>, real: u32, effective: u32) -> SysResult {
    update(cx, |c| {
        let old = c.clone();
        let may_real = |v| v == KEEP || old.is_root() || v == old.uid || v == old.euid;
        let may_effective = |v| v == KEEP || old.is_root() || [old.uid, old.euid, old.suid].contains(&v);
        if !may_real(real) || !may_effective(effective) {
            return Err(Errno::EPERM);
        }
        c.uid = if real == KEEP { old.uid } else { real };
        c.euid = if effective == KEEP { old.euid } else { effective };
        if real != KEEP || effective != KEEP && effective != old.uid {
            c.suid = c.euid;
        }
        Ok(())
    })
}

pub(super) async fn setregid(cx: &mut Context<'_>, real: u32, effective: u32) -> SysResult {
    update(cx, |c| {
        let old = c.clone();
        let may_real = |v| v == KEEP || old.is_root() || v == old.gid || v == old.egid;
        let may_effective = |v| v == KEEP || old.is_root() || [old.gid, old.egid, old.sgid].contains(&v);
        if !may_real(real) || !may_effective(effective) {
            return Err(Errno::EPERM);
        }
        c.gid = if real == KEEP { old.gid } else { real };
        c.egid = if effective == KEEP { old.egid } else { effective };
        if real != KEEP || effective != KEEP && effective != old.gid {
            c.sgid = c.egid;
        }
        Ok(())
    })
}

pub(super) async fn setresuid(cx: &mut Context<'_>, real: u32, effective: u32, saved: u32) -> SysResult {
    update(cx, |c| {
        let old = c.clone();
        let may = |v| v == KEEP || old.is_root() || [old.uid, old.euid, old.suid].contains(&v);
        if !may(real) || !may(effective) || !may(saved) {
            return Err(Errno::EPERM);
        }
        for (slot, value) in [(&mut c.uid, real), (&mut c.euid, effective), (&mut c.suid, saved)] {
            if value != KEEP {
                *slot = value;
            }
        }
        Ok(())
    })
}

pub(super) async fn setresgid(cx: &mut Context<'_>, real: u32, effective: u32, saved: u32) -> SysResult {
    update(cx, |c| {
        let old = c.clone();
        let may = |v| v == KEEP || old.is_root() || [old.gid, old.egid, old.sgid].contains(&v);
        if !may(real) || !may(effective) || !may(saved) {
            return Err(Errno::EPERM);
        }
        for (slot, value) in [(&mut c.gid, real), (&mut c.egid, effective), (&mut c.sgid, saved)] {
            if value != KEEP {
                *slot = value;
            }
        }
        Ok(())
    })
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

pub(super) async fn setfsuid(cx: &mut Context<'_>, uid: u32) -> SysResult {
    let old = cx.thread.process.credentials();
    if old.is_root() || [old.uid, old.euid, old.suid].contains(&uid) {
        cx.thread.process.set_credentials(Credentials { fsuid: uid, ..(*old).clone() });
    }
    id(old.fsuid)
}

pub(super) async fn setfsgid(cx: &mut Context<'_>, gid: u32) -> SysResult {
    let old = cx.thread.process.credentials();
    if old.is_root() || [old.gid, old.egid, old.sgid].contains(&gid) {
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
    if !cx.thread.process.credentials().is_root() {
        return Err(Errno::EPERM);
    }
    if !(0..=GROUPS_MAX).contains(&size) {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let mut groups = Vec::new();
    for i in 0..u64::from(size.cast_unsigned()) {
        groups.push(list.element(i).load(&space).await?);
    }
    let old = cx.thread.process.credentials();
    cx.thread.process.set_credentials(Credentials { groups: Arc::new(groups), ..(*old).clone() });
    Ok(0)
}
