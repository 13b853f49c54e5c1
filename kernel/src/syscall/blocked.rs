//! How a move of bytes waits: until a try succeeds, and at a terminal until enough was typed or for long enough nothing.

use alloc::sync::Arc;
use core::task::Poll;

use aurora_abi::Errno;
use aurora_machine::Instant;

use crate::memory::{IoBuf, IoError};
use crate::syscall::file::{Move, Way, step};
use crate::task::Thread;
use crate::tty::Tty;
use crate::vfs::{Events, OpenFile};

/// What follows on a try that would block.
pub(super) enum Blocked {
    /// What was moved is all there is to move now.
    Enough,
    /// Something was typed.
    Typed,
    /// Nothing was typed in time, or a signal came: what is there is taken.
    TimedOut,
    /// What came of a later try.
    Tried(Result<usize, IoError>),
}

/// Waits until a move can go on.
pub(super) async fn blocked(
    thread: &Thread,
    file: &OpenFile,
    buffer: &mut IoBuf<'_>,
    how: Move,
    deadline: &mut Option<Instant>,
) -> Result<Blocked, Errno> {
    let progress = buffer.done() > 0;
    if progress && how.way == Way::Read {
        return Ok(Blocked::Enough);
    }
    let typing = file.ops.terminal().filter(|_| how.way == Way::Read);
    // A terminal's reader that cannot go on waiting takes what it did not want to go with.
    let some_typed = typing.is_some_and(|tty| tty.input_state(buffer.remaining()).0 > 0);
    if file.nonblocking() || how.nowait {
        return match progress {
            true => Ok(Blocked::Enough),
            false if some_typed => Ok(Blocked::TimedOut),
            false => Err(Errno::EAGAIN),
        };
    }
    if let Some(tty) = typing {
        return match wait_typed(thread, file, tty, buffer.remaining(), deadline).await {
            Some(Typed::Some) => Ok(Blocked::Typed),
            Some(Typed::TimedOut) => Ok(Blocked::TimedOut),
            None if some_typed => Ok(Blocked::TimedOut),
            None => Err(Errno::ERESTARTSYS),
        };
    }
    let tried = try_until(thread, file, || match step(thread, file, buffer, how) {
        Err(IoError::WouldBlock) => None,
        done => Some(done),
    });
    match tried.await {
        Ok(result) => Ok(Blocked::Tried(result)),
        Err(_) if progress => Ok(Blocked::Enough),
        Err(errno) => Err(errno),
    }
}

/// Tries until `attempt` gives something: again whenever something about `file` changes. Being ready is not enough: an
/// event counter with room is ready for writers, and has none for a number that is larger than the room. An attempt that
/// gives nothing changes nothing, else it would wake itself for ever.
pub(super) async fn try_until<T>(
    thread: &Thread,
    file: &OpenFile,
    attempt: impl FnMut() -> Option<T>,
) -> Result<T, Errno> {
    let queue = file.ops.wait_queue().ok_or(Errno::EAGAIN)?;
    thread.interruptible(queue.wait(attempt)).await.ok_or(Errno::ERESTARTSYS)
}

/// Why a terminal's reader looks again.
enum Typed {
    Some,
    TimedOut,
}

/// Waits until a terminal has what a reader with room for `wanted` bytes waits for, or more than before, or the time its
/// settings give is over: from the first wait on (`deadline`), or since the last byte.
async fn wait_typed(
    thread: &Thread,
    file: &OpenFile,
    tty: &Arc<Tty>,
    wanted: usize,
    deadline: &mut Option<Instant>,
) -> Option<Typed> {
    let kernel = thread.kernel();
    let (queued, _) = tty.input_state(wanted);
    let until = tty.read_timeout().map(|ns| kernel.machine.now() + ns);
    // Between bytes the clock starts anew.
    *deadline = if queued > 0 { until } else { deadline.or(until) };
    let mut came = core::pin::pin!(tty.changed.wait(|| {
        let (now, enough) = tty.input_state(wanted);
        let over = file.ops.readiness(file).contains(Events::HUP);
        (enough || now != queued || over).then_some(())
    }));
    let mut sleep = core::pin::pin!(kernel.sleep_until(deadline.unwrap_or(Instant::NEVER)));
    let wait = core::future::poll_fn(|cx| {
        if came.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Typed::Some);
        }
        sleep.as_mut().poll(cx).map(|()| Typed::TimedOut)
    });
    thread.interruptible(wait).await
}
