//! Waiting for several files: poll(2), select(2) and their `p` variants.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use aurora_abi::types::{PollFd, Timespec, Timeval};
use aurora_abi::{Abi, Errno};
use aurora_machine::{Instant, VirtAddr};

use crate::memory::UserPtr;
use crate::num::{low16, to_usize};
use crate::syscall::time::to_ns;
use crate::syscall::{Context, Restart, SysResult};
use crate::task::limits::Resource;
use crate::task::signal::SignalSet;
use crate::vfs::{Events, Fd, OpenFile};

/// A file and what is waited for.
struct Watch {
    file: Option<Arc<OpenFile>>,
    wanted: Events,
}

impl Watch {
    fn ready(&self) -> Events {
        match &self.file {
            Some(file) => file.ops.readiness(file) & (self.wanted | Events::ALWAYS),
            None => Events::empty(),
        }
    }
}

/// Waits until one of `watches` is ready or time is up. `None` if a signal came.
async fn wait(cx: &Context<'_>, watches: &[Watch], deadline: Option<Instant>) -> Option<()> {
    let queues = watches.iter().filter_map(|w| w.file.as_ref()?.ops.wait_queue());
    let mut tickets: Vec<_> = queues.map(|q| q.ticket()).collect();
    let any = || watches.iter().any(|w| !w.ready().is_empty());
    if any() {
        return Some(());
    }
    let kernel = cx.kernel();
    let mut sleep = core::pin::pin!(kernel.sleep_until(deadline.unwrap_or(Instant::NEVER)));
    let ready = core::future::poll_fn(|context| {
        tickets.iter_mut().for_each(|t| t.register(context.waker()));
        if any() { Poll::Ready(()) } else { sleep.as_mut().poll(context) }
    });
    cx.thread.interruptible(ready).await
}

pub(super) fn after_ms(cx: &Context<'_>, timeout: i32) -> Option<Instant> {
    let ms = u64::try_from(timeout).ok()?;
    Some(cx.kernel().machine.now() + ms * 1_000_000)
}

pub(super) async fn poll(cx: &mut Context<'_>, fds: UserPtr<PollFd>, count: u64, timeout: i32) -> SysResult {
    let deadline = after_ms(cx, timeout);
    poll_until(cx, fds, count, deadline).await
}

pub(super) async fn poll_until(
    cx: &Context<'_>,
    fds: UserPtr<PollFd>,
    count: u64,
    deadline: Option<Instant>,
) -> SysResult {
    match poll_fds(cx, fds, count, deadline).await {
        Err(Errno::EINTR) => {
            *cx.thread.restart.lock() = Some(Restart::Poll(fds.addr().0, count, deadline));
            Err(Errno::ERESTARTBLOCK)
        }
        result => result,
    }
}

async fn poll_fds(cx: &Context<'_>, fds: UserPtr<PollFd>, count: u64, deadline: Option<Instant>) -> SysResult {
    if count > cx.thread.process.limits.get(Resource::Files) {
        return Err(Errno::EINVAL);
    }
    let space = cx.space()?;
    let files = cx.thread.files();
    let mut watches = Vec::new();
    let mut entries = Vec::new();
    for i in 0..count {
        let entry = fds.element(i).load(&space).await?;
        let file = if entry.fd >= 0 { files.get(Fd(entry.fd)).ok() } else { None };
        watches.push(Watch { file, wanted: Events::from_bits_truncate(entry.events.cast_unsigned()) });
        entries.push(entry);
    }
    let bad = |i: usize| {
        let negative = entries.get(i).is_none_or(|e| e.fd < 0);
        !negative && watches.get(i).is_none_or(|w| w.file.is_none())
    };
    let some_bad = (0..entries.len()).any(bad);
    let woken = if some_bad { Some(()) } else { wait(cx, &watches, deadline).await };
    let mut ready = 0;
    for (i, watch) in watches.iter().enumerate() {
        let events = if bad(i) { Events::NVAL } else { watch.ready() };
        ready += u64::from(!events.is_empty());
        let at = fds.element(i as u64).addr() + 6;
        space.store(at, &events.bits()).await?;
    }
    if ready == 0 && woken.is_none() { Err(Errno::EINTR) } else { Ok(ready) }
}

pub(super) async fn ppoll(
    cx: &mut Context<'_>,
    fds: UserPtr<PollFd>,
    count: u64,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<u64>,
    size: u64,
) -> SysResult {
    let deadline = deadline_of(cx, timeout).await?;
    set_mask(cx, mask, size).await?;
    let result = poll_fds(cx, fds, count, deadline).await;
    tell_remaining(cx, timeout, deadline).await;
    result.map_err(no_handler)
}

/// An interrupted wait goes on if no handler runs; the remaining time has been written back.
fn no_handler(errno: Errno) -> Errno {
    if errno == Errno::EINTR { Errno::ERESTARTNOHAND } else { errno }
}

async fn deadline_of(cx: &Context<'_>, timeout: UserPtr<Timespec>) -> Result<Option<Instant>, Errno> {
    let Some(timeout) = timeout.non_null() else { return Ok(None) };
    let ns = to_ns(timeout.load(&*cx.space()?).await?)?;
    Ok(Some(cx.kernel().machine.now() + ns))
}

pub(super) async fn set_mask(cx: &Context<'_>, mask: UserPtr<u64>, size: u64) -> Result<(), Errno> {
    if let Some(mask) = mask.non_null() {
        if size != 8 {
            return Err(Errno::EINVAL);
        }
        let mask = mask.load(&*cx.space()?).await?;
        cx.thread.set_temporary_mask(SignalSet(mask));
    }
    Ok(())
}

/// Linux tells the time that was left; a timeout in read-only memory is not an error.
async fn tell_remaining(cx: &Context<'_>, timeout: UserPtr<Timespec>, deadline: Option<Instant>) {
    let (Some(deadline), Ok(space)) = (deadline, cx.space()) else { return };
    let left = deadline.since(cx.kernel().machine.now());
    let left = Timespec { sec: (left / 1_000_000_000).cast_signed(), nsec: (left % 1_000_000_000).cast_signed() };
    let _ = timeout.store(&space, &left).await;
}

pub(super) async fn select(
    cx: &mut Context<'_>,
    count: i32,
    read: VirtAddr,
    write: VirtAddr,
    except: VirtAddr,
    timeout: UserPtr<Timeval>,
) -> SysResult {
    let space = cx.space()?;
    let deadline = match timeout.non_null() {
        Some(timeout) => {
            let t = timeout.load(&space).await?;
            if t.sec < 0 || t.usec < 0 {
                return Err(Errno::EINVAL);
            }
            // Microseconds may be more than a second here.
            let ns = t.sec.cast_unsigned().saturating_mul(1_000_000_000);
            Some(cx.kernel().machine.now() + ns.saturating_add(t.usec.cast_unsigned().saturating_mul(1000)))
        }
        None => None,
    };
    let result = select_sets(cx, count, [read, write, except], deadline).await;
    if let (Some(timeout), Some(deadline)) = (timeout.non_null(), deadline) {
        let left = deadline.since(cx.kernel().machine.now());
        let sec = (left / 1_000_000_000).cast_signed();
        let left = Timeval { sec, usec: (left % 1_000_000_000 / 1000).cast_signed() };
        let _ = timeout.store(&space, &left).await;
    }
    result.map_err(no_handler)
}

pub(super) async fn pselect6(
    cx: &mut Context<'_>,
    count: i32,
    read: VirtAddr,
    write: VirtAddr,
    except: VirtAddr,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<[u64; 2]>,
) -> SysResult {
    let deadline = deadline_of(cx, timeout).await?;
    if let Some(mask) = mask.non_null() {
        let [at, size] = mask.load(&*cx.space()?).await?;
        set_mask(cx, UserPtr::new(at), size).await?;
    }
    let result = select_sets(cx, count, [read, write, except], deadline).await;
    tell_remaining(cx, timeout, deadline).await;
    result.map_err(no_handler)
}

/// What makes a descriptor ready in each of the three sets.
const SETS: [Events; 3] =
    [Events::READABLE.union(Events::HUP).union(Events::ERR), Events::WRITABLE.union(Events::ERR), Events::PRI];

async fn select_sets(cx: &Context<'_>, count: i32, sets: [VirtAddr; 3], deadline: Option<Instant>) -> SysResult {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let space = cx.space()?;
    let files = cx.thread.files();
    let count = count.min(files.room());
    let words = count.div_ceil(64);
    let mut watches = Vec::new();
    // For each watch: which set, which descriptor.
    let mut places = Vec::new();
    for (set, at) in sets.into_iter().enumerate().filter(|(_, at)| at.0 != 0) {
        for word in 0..words {
            let mut bits = space.load::<u64>(at + word as u64 * 8).await?;
            while bits != 0 {
                let fd = word * 64 + to_usize(u64::from(bits.trailing_zeros()));
                bits &= bits - 1;
                if fd >= count {
                    break;
                }
                let number = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
                let file = files.get(Fd(number))?;
                let wanted = SETS.get(set).copied().unwrap_or_default();
                watches.push(Watch { file: Some(file), wanted });
                places.push((set, fd));
            }
        }
    }
    let woken = wait(cx, &watches, deadline).await;
    let mut results = [const { Vec::new() }; 3];
    results.iter_mut().for_each(|r: &mut Vec<u64>| r.resize(words, 0));
    let mut ready = 0;
    for (watch, (set, fd)) in watches.iter().zip(places) {
        let slot = results.get_mut(set).and_then(|r| r.get_mut(fd / 64));
        if let (true, Some(word)) = (watch.ready().intersects(watch.wanted), slot) {
            *word |= 1 << low16(fd as u64 % 64);
            ready += 1;
        }
    }
    if ready == 0 && woken.is_none() {
        return Err(Errno::EINTR);
    }
    for (at, words) in sets.into_iter().zip(results).filter(|(at, _)| at.0 != 0) {
        let mut bytes = alloc::vec![0; words.len() * 8];
        words.iter().zip(bytes.chunks_mut(8)).for_each(|(word, slot)| word.store(slot));
        space.copy_out(at, &bytes).await?;
    }
    Ok(ready)
}
