//! Clocks and timers: clock_gettime(2), nanosleep(2), setitimer(2) and their kin.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Poll;

use aurora_abi::Errno;
use aurora_abi::types::{Itimerspec, Itimerval, Sigevent, Timespec, Timeval, Tms};
use aurora_machine::Instant;

use crate::memory::UserPtr;
use crate::num::low32;
use crate::real_time::{TICK_NS, coarse};
use crate::syscall::{Context, Restart, SysResult};
use crate::task::interval::{Clock, Remaining, Whose, process_time};
use crate::task::posix_timer::{Notify, ProcessTimers, ProcessorTimer, TIMER_COST};
use crate::task::{Pid, Process, SigInfo, Signal};

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
const CLOCK_PROCESS_CPUTIME: u32 = 2;
const CLOCK_THREAD_CPUTIME: u32 = 3;
const CLOCK_REALTIME_COARSE: u32 = 5;
const CLOCK_MONOTONIC_COARSE: u32 = 6;

/// What can be done with a clock besides reading it, clock_getres(2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Sleep and set timers.
    All,
    /// Set timers.
    Timers,
    /// Nothing.
    None,
}

fn is_coarse(clock: u32) -> bool {
    matches!(clock, CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE)
}

fn use_of(clock: u32) -> Use {
    match clock {
        4..=6 => Use::None,
        CLOCK_THREAD_CPUTIME => Use::Timers,
        // A thread's clock, by its number.
        _ if clock.cast_signed() < 0 && clock & 4 != 0 => Use::Timers,
        _ => Use::All,
    }
}

/// The clock of a number; `EINVAL` if there is none. Alarm clocks need a clock that wakes a machine up, which none has.
pub(super) fn clock_of(cx: &Context<'_>, clock: u32) -> Result<Clock, Errno> {
    let thread = cx.thread;
    Ok(match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE | 11 => Clock::Real,
        1 | 4 | CLOCK_MONOTONIC_COARSE | 7 => Clock::Monotonic,
        CLOCK_PROCESS_CPUTIME => Clock::Process(Arc::downgrade(&thread.process)),
        CLOCK_THREAD_CPUTIME => Clock::Thread(Arc::downgrade(thread)),
        _ if clock.cast_signed() < 0 && clock & 3 != 3 => {
            // The number of whose clock it is, inverted, above three bits of which clock.
            let pid = Pid(!(clock.cast_signed() >> 3));
            let table = &cx.kernel().processes;
            if clock & 4 == 0 {
                let process = if pid.0 == 0 { Some(thread.process.clone()) } else { table.process(pid) };
                Clock::Process(Arc::downgrade(&process.filter(|p| !p.is_zombie()).ok_or(Errno::EINVAL)?))
            } else {
                let other = if pid.0 == 0 { Some(thread.clone()) } else { table.thread(pid) };
                let other = other.filter(|t| Arc::ptr_eq(&t.process, &thread.process)).ok_or(Errno::EINVAL)?;
                Clock::Thread(Arc::downgrade(&other))
            }
        }
        _ => return Err(Errno::EINVAL),
    })
}

pub(super) async fn clock_gettime(cx: &mut Context<'_>, clock: u32, out: UserPtr<Timespec>) -> SysResult {
    let ns = clock_of(cx, clock)?.now(cx.kernel());
    let now = to_timespec(if is_coarse(clock) { coarse(ns) } else { ns });
    out.store(&*cx.space()?, &now).await?;
    Ok(0)
}

pub(super) async fn clock_getres(cx: &mut Context<'_>, clock: u32, out: UserPtr<Timespec>) -> SysResult {
    clock_of(cx, clock)?;
    let nsec = if is_coarse(clock) { TICK_NS.cast_signed() } else { 1 };
    out.store_if(&*cx.space()?, &Timespec { sec: 0, nsec }).await?;
    Ok(0)
}

pub(super) async fn clock_settime(cx: &mut Context<'_>, clock: u32, time: UserPtr<Timespec>) -> SysResult {
    if clock != CLOCK_REALTIME {
        clock_of(cx, clock)?;
        return Err(if matches!(clock.cast_signed(), ..0 | 2 | 3) { Errno::EPERM } else { Errno::EINVAL });
    }
    let time = time.load(&*cx.space()?).await?;
    let ns = to_ns(time)?;
    // A time before the machine was started cannot be.
    if ns < cx.kernel().machine.now().0 {
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
    let (used, system) = (process_time(process), process.system_ns());
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (of_children, system_of_children) = (load(&process.used_by_children), load(&process.system_of_children));
    let value = Tms {
        utime: ticks(used.saturating_sub(system)),
        stime: ticks(system),
        cutime: ticks(of_children.saturating_sub(system_of_children)),
        cstime: ticks(system_of_children),
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
    let kind = clock_of(cx, clock)?;
    if use_of(clock) != Use::All {
        return Err(Errno::EOPNOTSUPP);
    }
    let ns = to_ns(time.load(&*cx.space()?).await?)?;
    let absolute = flags & TIMER_ABSTIME != 0;
    match kind {
        Clock::Process(_) | Clock::Thread(_) => {
            let due = if absolute { ns } else { kind.now(cx.kernel()).saturating_add(ns) };
            sleep_processor(cx, &kind, due, if absolute { None } else { Some(remaining) }).await
        }
        Clock::Real if absolute => sleep_until_real(cx, ns).await,
        Clock::Monotonic if absolute => {
            let slept = cx.thread.interruptible(cx.kernel().sleep_until(Instant(ns))).await;
            slept.map(|()| 0).ok_or(Errno::ERESTARTNOHAND)
        }
        _ => sleep(cx, cx.kernel().machine.now() + ns, remaining.addr().0).await,
    }
}

/// Sleeps until a time of the clock that can be set.
async fn sleep_until_real(cx: &Context<'_>, at: u64) -> SysResult {
    let kernel = cx.kernel();
    loop {
        let now = kernel.realtime_ns();
        if now >= at {
            return Ok(0);
        }
        // Whoever sets the clock ends this sleep, and it is measured anew.
        let mut due = core::pin::pin!(kernel.sleep_until(kernel.machine.now() + (at - now)));
        let mut looks = 0;
        let mut set = core::pin::pin!(kernel.timers.clock_set.wait(|| {
            looks += 1;
            (looks > 2).then_some(())
        }));
        let wait = core::future::poll_fn(|context| {
            let woken = set.as_mut().poll(context).is_ready();
            if woken { Poll::Ready(()) } else { due.as_mut().poll(context) }
        });
        cx.thread.interruptible(wait).await.ok_or(Errno::ERESTARTNOHAND)?;
    }
}

/// Sleeps until a process, or a thread, has used some processor time.
async fn sleep_processor(cx: &Context<'_>, clock: &Clock, due: u64, remaining: Option<UserPtr<Timespec>>) -> SysResult {
    let kernel = cx.kernel();
    let wait = core::future::poll_fn(|context| {
        if clock.now(kernel) >= due {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        match clock {
            Clock::Process(process) => process.upgrade().map(|p| p.timers.wait_used(Whose::Process, due, waker)),
            Clock::Thread(thread) => {
                thread.upgrade().map(|t| t.process.timers.wait_used(Whose::Thread(t.tid()), due, waker))
            }
            Clock::Real | Clock::Monotonic | Clock::User(_) => None,
        };
        Poll::Pending
    });
    if cx.thread.interruptible(wait).await.is_some() {
        return Ok(0);
    }
    if let Some(remaining) = remaining {
        let left = to_timespec(due.saturating_sub(clock.now(kernel)));
        remaining.store_if(&*cx.space()?, &left).await?;
        return Err(Errno::EINTR);
    }
    Err(Errno::ERESTARTNOHAND)
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

/// What is left of a timer of setitimer(2).
fn read_itimer(cx: &Context<'_>, which: u32) -> Result<Itimerval, Errno> {
    if which == ITIMER_REAL {
        return Ok(read_alarm(cx));
    }
    let left = cx.thread.process.timers.processor(processor_timer(which)?);
    let value = if left.value == 0 { 0 } else { left.value.max(1000) };
    Ok(Itimerval { interval: to_timeval(left.interval), value: to_timeval(value) })
}

fn processor_timer(which: u32) -> Result<ProcessorTimer, Errno> {
    match which {
        1 => Ok(ProcessorTimer::Virtual),
        2 => Ok(ProcessorTimer::Profile),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) async fn getitimer(cx: &mut Context<'_>, which: u32, out: UserPtr<Itimerval>) -> SysResult {
    let value = read_itimer(cx, which)?;
    out.store(&*cx.space()?, &value).await?;
    Ok(0)
}

pub(super) async fn setitimer(
    cx: &mut Context<'_>,
    which: u32,
    new: UserPtr<Itimerval>,
    old: UserPtr<Itimerval>,
) -> SysResult {
    let space = cx.space()?;
    let new = match new.non_null() {
        Some(new) => new.load(&space).await?,
        None => Itimerval::default(),
    };
    let (value, interval) = (timeval_ns(new.value)?, timeval_ns(new.interval)?);
    let before = read_itimer(cx, which)?;
    if which == ITIMER_REAL {
        arm(cx, value, interval);
    } else {
        ProcessTimers::set_processor(&cx.thread.process, processor_timer(which)?, value, interval);
    }
    old.store_if(&space, &before).await?;
    Ok(0)
}

/// Value and interval a program sets, in nanoseconds.
pub(super) fn spec_ns(spec: &Itimerspec) -> Result<(u64, u64), Errno> {
    Ok((to_ns(spec.value)?, to_ns(spec.interval)?))
}

/// What is left, as a program sees it.
pub(super) fn remaining_spec(left: Remaining) -> Itimerspec {
    Itimerspec { interval: to_timespec(left.interval), value: to_timespec(left.value) }
}

const SIGEV_SIGNAL: i32 = 0;
const SIGEV_NONE: i32 = 1;
/// The library makes the thread; for the kernel it is a signal.
const SIGEV_THREAD: i32 = 2;
const SIGEV_THREAD_ID: i32 = 4;

fn notify_of(cx: &Context<'_>, event: &Sigevent) -> Result<Notify, Errno> {
    let signal = || Signal::from_arg(event.signo);
    Ok(match event.notify {
        SIGEV_NONE => Notify::Nobody,
        SIGEV_SIGNAL | SIGEV_THREAD => Notify::Process(signal()?),
        SIGEV_THREAD_ID => {
            let thread = cx.kernel().processes.thread(Pid(event.tid));
            let thread = thread.filter(|t| Arc::ptr_eq(&t.process, &cx.thread.process)).ok_or(Errno::EINVAL)?;
            Notify::Thread(signal()?, Arc::downgrade(&thread))
        }
        _ => return Err(Errno::EINVAL),
    })
}

pub(super) async fn timer_create(
    cx: &mut Context<'_>,
    clock: u32,
    event: UserPtr<Sigevent>,
    out: UserPtr<i32>,
) -> SysResult {
    let space = cx.space()?;
    let event = match event.non_null() {
        Some(event) => Some(event.load(&space).await?),
        None => None,
    };
    let kind = match clock {
        8 | 9 => return Err(Errno::EOPNOTSUPP),
        _ => clock_of(cx, clock)?,
    };
    if use_of(clock) == Use::None {
        return Err(Errno::EOPNOTSUPP);
    }
    let notify = match &event {
        Some(event) => notify_of(cx, event)?,
        None => Notify::Process(Signal::SIGALRM),
    };
    let charge = cx.kernel().memory.charge(TIMER_COST).map_err(|_| Errno::EAGAIN)?;
    let process = &cx.thread.process;
    let id = ProcessTimers::create(process, kind, notify, event.map(|e| e.value), charge)?;
    if let Err(errno) = out.store(&space, &id).await {
        process.timers.delete(id)?;
        return Err(errno);
    }
    Ok(0)
}

pub(super) async fn timer_settime(
    cx: &mut Context<'_>,
    id: i32,
    flags: u32,
    new: UserPtr<Itimerspec>,
    old: UserPtr<Itimerspec>,
) -> SysResult {
    let space = cx.space()?;
    let new = new.non_null().ok_or(Errno::EINVAL)?.load(&space).await?;
    let (value, interval) = spec_ns(&new)?;
    let timer = cx.thread.process.timers.get(id)?;
    let before = timer.remaining();
    timer.set(value, interval, flags & TIMER_ABSTIME != 0);
    old.store_if(&space, &remaining_spec(before)).await?;
    Ok(0)
}

pub(super) async fn timer_gettime(cx: &mut Context<'_>, id: i32, out: UserPtr<Itimerspec>) -> SysResult {
    let left = cx.thread.process.timers.get(id)?.remaining();
    out.store(&*cx.space()?, &remaining_spec(left)).await?;
    Ok(0)
}

pub(super) fn timer_getoverrun(cx: &mut Context<'_>, id: i32) -> SysResult {
    cx.thread.process.timers.get(id).map(|t| t.overrun())
}

pub(super) fn timer_delete(cx: &mut Context<'_>, id: i32) -> SysResult {
    cx.thread.process.timers.delete(id).map(|()| 0)
}

pub(super) fn alarm(cx: &mut Context<'_>, seconds: u32) -> SysResult {
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
