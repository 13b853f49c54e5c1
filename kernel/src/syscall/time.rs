//! Clocks and timers: clock_gettime(2), nanosleep(2), setitimer(2) and their kin.

use alloc::sync::{Arc, Weak};

use aurora_abi::Errno;
use aurora_abi::types::{Itimerval, Timespec, Timeval, Tms};
use aurora_machine::Instant;

use crate::memory::UserPtr;
use crate::num::low32;
use crate::syscall::{Context, Restart, SysResult};
use crate::task::{Process, SigInfo, Signal};
use core::sync::atomic::Ordering;

const NS: u64 = 1_000_000_000;

/// A time in nanoseconds; `EINVAL` for what is no time.
pub(super) fn to_ns(t: Timespec) -> Result<u64, Errno> {
    match (u64::try_from(t.sec), u64::try_from(t.nsec)) {
        (Ok(sec), Ok(nsec)) if nsec < NS => Ok(sec.saturating_mul(NS).saturating_add(nsec)),
        _ => Err(Errno::EINVAL),
    }
}

fn timeval_ns(t: Timeval) -> Result<u64, Errno> {
    if !(0..1_000_000).contains(&t.usec) {
        return Err(Errno::EINVAL);
    }
    to_ns(Timespec { sec: t.sec, nsec: t.usec * 1000 })
}

fn to_timespec(ns: u64) -> Timespec {
    Timespec { sec: (ns / NS).cast_signed(), nsec: (ns % NS).cast_signed() }
}

fn to_timeval(ns: u64) -> Timeval {
    Timeval { sec: (ns / NS).cast_signed(), usec: (ns % NS / 1000).cast_signed() }
}

const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;
const CLOCK_PROCESS_CPUTIME: u32 = 2;
const CLOCK_THREAD_CPUTIME: u32 = 3;

fn read_clock(cx: &Context<'_>, clock: u32) -> Result<u64, Errno> {
    Ok(match clock {
        // REALTIME, its coarse and alarm variants, TAI.
        CLOCK_REALTIME | 5 | 8 | 11 => cx.kernel().realtime_ns(),
        // MONOTONIC, RAW, COARSE, BOOTTIME and its alarm variant.
        CLOCK_MONOTONIC | 4 | 6 | 7 | 9 => cx.kernel().machine.now().0,
        CLOCK_PROCESS_CPUTIME => cx.thread.process.used_ns(),
        CLOCK_THREAD_CPUTIME => cx.thread.task.used_ns(),
        _ => return Err(Errno::EINVAL),
    })
}

pub(super) async fn clock_gettime(cx: &mut Context<'_>, clock: u32, out: UserPtr<Timespec>) -> SysResult {
    let now = to_timespec(read_clock(cx, clock)?);
    out.store(&*cx.space()?, &now).await?;
    Ok(0)
}

pub(super) async fn clock_getres(cx: &mut Context<'_>, clock: u32, out: UserPtr<Timespec>) -> SysResult {
    read_clock(cx, clock)?;
    out.store_if(&*cx.space()?, &Timespec { sec: 0, nsec: 1 }).await?;
    Ok(0)
}

pub(super) async fn clock_settime(cx: &mut Context<'_>, clock: u32, time: UserPtr<Timespec>) -> SysResult {
    let ns = to_ns(time.load(&*cx.space()?).await?)?;
    if clock != CLOCK_REALTIME {
        return Err(Errno::EINVAL);
    }
    set_clock(cx, ns)
}

fn set_clock(cx: &Context<'_>, ns: u64) -> SysResult {
    if !cx.thread.process.credentials().is_root() {
        return Err(Errno::EPERM);
    }
    cx.kernel().set_realtime_ns(ns);
    Ok(0)
}

pub(super) async fn gettimeofday(cx: &mut Context<'_>, out: UserPtr<Timeval>, zone: UserPtr<[i32; 2]>) -> SysResult {
    let space = cx.space()?;
    out.store_if(&space, &to_timeval(cx.kernel().realtime_ns())).await?;
    zone.store_if(&space, &[0, 0]).await?;
    Ok(0)
}

pub(super) async fn settimeofday(cx: &mut Context<'_>, time: UserPtr<Timeval>, _zone: u64) -> SysResult {
    match time.non_null() {
        Some(time) => {
            let ns = timeval_ns(time.load(&*cx.space()?).await?)?;
            set_clock(cx, ns)
        }
        None => Ok(0),
    }
}

pub(super) async fn time(cx: &mut Context<'_>, out: UserPtr<i64>) -> SysResult {
    let now = cx.kernel().now().sec;
    out.store_if(&*cx.space()?, &now).await?;
    Ok(now.cast_unsigned())
}

pub(super) async fn times(cx: &mut Context<'_>, out: UserPtr<Tms>) -> SysResult {
    let ticks = |ns: u64| (ns / 10_000_000).cast_signed();
    let process = &cx.thread.process;
    let value = Tms {
        utime: ticks(process.used_ns()),
        stime: 0,
        cutime: ticks(process.used_by_children.load(Ordering::Relaxed)),
        cstime: 0,
    };
    out.store_if(&*cx.space()?, &value).await?;
    Ok(ticks(cx.kernel().machine.now().0).cast_unsigned())
}

pub(super) async fn nanosleep(
    cx: &mut Context<'_>,
    time: UserPtr<Timespec>,
    remaining: UserPtr<Timespec>,
) -> SysResult {
    let ns = to_ns(time.load(&*cx.space()?).await?)?;
    let deadline = cx.kernel().machine.now() + ns;
    sleep(cx, deadline, remaining.addr().0).await
}

const TIMER_ABSTIME: u32 = 1;

pub(super) async fn clock_nanosleep(
    cx: &mut Context<'_>,
    clock: u32,
    flags: u32,
    time: UserPtr<Timespec>,
    remaining: UserPtr<Timespec>,
) -> SysResult {
    let ns = to_ns(time.load(&*cx.space()?).await?)?;
    if clock == CLOCK_THREAD_CPUTIME {
        return Err(Errno::EINVAL);
    }
    let now = read_clock(cx, clock)?;
    if clock == CLOCK_PROCESS_CPUTIME {
        return Err(Errno::EOPNOTSUPP);
    }
    let monotonic = cx.kernel().machine.now();
    if flags & TIMER_ABSTIME == 0 {
        return sleep(cx, monotonic + ns, remaining.addr().0).await;
    }
    let deadline = monotonic + ns.saturating_sub(now);
    let slept = cx.thread.interruptible(cx.kernel().sleep_until(deadline)).await;
    slept.map(|()| 0).ok_or(Errno::ERESTARTNOHAND)
}

/// Sleeps until a time; interrupted, it tells what is left and can go on.
pub(super) async fn sleep(cx: &Context<'_>, deadline: Instant, remaining: u64) -> SysResult {
    let kernel = cx.kernel();
    if cx.thread.interruptible(kernel.sleep_until(deadline)).await.is_some() {
        return Ok(0);
    }
    let left = to_timespec(deadline.since(kernel.machine.now()));
    UserPtr::<Timespec>::new(remaining).store_if(&*cx.space()?, &left).await?;
    *cx.thread.restart.lock() = Some(Restart::Sleep(deadline, remaining));
    Err(Errno::ERESTARTBLOCK)
}

const ITIMER_REAL: u32 = 0;

fn read_alarm(cx: &Context<'_>) -> Itimerval {
    let (due, period) = cx.thread.process.alarm.get();
    let left = due.map_or(0, |d| d.since(cx.kernel().machine.now()).max(1000));
    Itimerval { interval: to_timeval(period), value: to_timeval(left) }
}

pub(super) async fn getitimer(cx: &mut Context<'_>, which: u32, out: UserPtr<Itimerval>) -> SysResult {
    if which != ITIMER_REAL {
        // Timers of processor time are not offered.
        return Err(Errno::EINVAL);
    }
    let value = read_alarm(cx);
    out.store(&*cx.space()?, &value).await?;
    Ok(0)
}

pub(super) async fn setitimer(
    cx: &mut Context<'_>,
    which: u32,
    new: UserPtr<Itimerval>,
    old: UserPtr<Itimerval>,
) -> SysResult {
    if which != ITIMER_REAL {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let before = read_alarm(cx);
    let new = match new.non_null() {
        Some(new) => new.load(&space).await?,
        None => Itimerval::default(),
    };
    arm(cx, timeval_ns(new.value)?, timeval_ns(new.interval)?);
    old.store_if(&space, &before).await?;
    Ok(0)
}

pub(super) async fn alarm(cx: &mut Context<'_>, seconds: u32) -> SysResult {
    let before = read_alarm(cx).value;
    arm(cx, u64::from(seconds) * NS, 0);
    // Rounded, but never to 0 while one is armed.
    let up = u64::from(before.usec >= 500_000 || before.sec == 0 && before.usec > 0);
    Ok(u64::from(low32(before.sec.cast_unsigned() + up)))
}

fn arm(cx: &Context<'_>, value: u64, period: u64) {
    let kernel = cx.kernel();
    let process = &cx.thread.process;
    if value == 0 {
        process.alarm.set(None, 0);
        return;
    }
    let due = kernel.machine.now() + value;
    let generation = process.alarm.set(Some(due), period);
    kernel.scheduler.spawn(ring(kernel.clone(), Arc::downgrade(process), generation, due));
}

/// Sends SIGALRM when a setting of the timer is due, for as long as the setting stands.
async fn ring(kernel: Arc<crate::Kernel>, process: Weak<Process>, generation: u64, mut due: Instant) {
    loop {
        kernel.sleep_until(due).await;
        let Some(process) = process.upgrade().filter(|p| p.alarm.is_current(generation) && !p.is_zombie()) else {
            return;
        };
        let _ = process.send(SigInfo::kernel(Signal::SIGALRM));
        match process.alarm.advance(kernel.machine.now()) {
            Some(next) => due = next,
            None => return,
        }
    }
}
