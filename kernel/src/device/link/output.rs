//! Output on its way to the host: a window for each stream, so that what nobody takes stops its program and no other.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aurora_abi::link::{Kind, OUTPUT_WINDOW};

use super::{Link, OUTPUT_LIMIT, Program};
use crate::ipc::pipe::{Pipe, PipeEnd};
use crate::memory::IoBuf;
use crate::sync::{Mutex, WaitQueue};
use crate::tty::Tty;

/// How much of an output stream may be sent.
pub(super) struct OutputWindow {
    room: AtomicUsize,
    closed: AtomicBool,
    /// Woken when it grows or closes.
    changed: WaitQueue,
}

impl OutputWindow {
    pub(super) fn new() -> Self {
        Self { room: AtomicUsize::new(OUTPUT_WINDOW), closed: AtomicBool::new(false), changed: WaitQueue::new() }
    }

    /// Bytes that may be sent now.
    pub(super) fn room(&self) -> usize {
        self.room.load(Ordering::Acquire)
    }

    pub(super) fn use_up(&self, bytes: usize) {
        self.change(|room| room.saturating_sub(bytes));
    }

    /// The host took so many bytes.
    pub(super) fn grant(&self, bytes: usize) {
        self.change(|room| room.saturating_add(bytes));
        self.changed.wake_all();
    }

    fn change(&self, by: impl Fn(usize) -> usize) {
        // The closure always gives a value, so this does not fail.
        let _ = self.room.fetch_update(Ordering::AcqRel, Ordering::Acquire, |room| Some(by(room)));
    }

    /// Nobody reads it any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.wake_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// The most that is sent at once.
const CHUNK: usize = 16 * 1024;

/// How many of a program's output jobs go on, and who waits for them.
pub(super) type Unfinished = Arc<(Mutex<usize>, WaitQueue)>;

/// A stream's pipe, the end that is read, and which stream it is.
pub(super) type Output = (Arc<Pipe>, Arc<PipeEnd>, Kind);

/// Brings a program's output to the host until all writers are gone, the program has ended and nothing is left, or the
/// host does not want it.
pub(super) async fn carry_output(
    link: Arc<Link>,
    id: u32,
    program: Arc<Program>,
    (pipe, end, kind): Output,
    unfinished: Unfinished,
) {
    if let Ok(window) = program.window(kind as u32) {
        let mut buffer = alloc::vec![0; CHUNK];
        loop {
            link.room().await;
            let read = || {
                if window.is_closed() {
                    return Some(0);
                }
                let out = buffer.get_mut(..window.room().min(CHUNK)).unwrap_or_default();
                let over = program.ended.load(Ordering::Acquire);
                if out.is_empty() {
                    return (over && pipe.is_empty()).then_some(0);
                }
                match pipe.try_read(&mut IoBuf::kernel_out(out)) {
                    Ok(n) => Some(n),
                    Err(_) => over.then_some(0),
                }
            };
            let n = wait_any([&pipe.changed, &link.kernel.process_ended, &window.changed], read).await;
            if n == 0 {
                break;
            }
            window.use_up(n);
            link.send(kind, id, buffer.get(..n).unwrap_or_default());
        }
    }
    // A program that writes on learns that nobody reads.
    drop(end);
    *unfinished.0.lock() -= 1;
    unfinished.1.wake_all();
}

/// Waits until `look` gives a value, looking whenever one of the queues is woken.
async fn wait_any<T, const N: usize>(queues: [&WaitQueue; N], mut look: impl FnMut() -> Option<T>) -> T {
    let mut tickets = queues.map(WaitQueue::ticket);
    core::future::poll_fn(|cx| {
        for ticket in &mut tickets {
            ticket.register(cx.waker());
        }
        look().map_or(core::task::Poll::Pending, core::task::Poll::Ready)
    })
    .await
}

/// Lets a terminal's output go on whenever the link and the window have room again.
pub(super) async fn flush_terminal(link: Arc<Link>, tty: Arc<Tty>, program: Arc<Program>) {
    let [window, _] = &*program.windows;
    loop {
        let has_room = || window.is_closed() || window.room() > 0 && link.output.lock().len() < OUTPUT_LIMIT;
        let over = || program.ended.load(Ordering::Acquire) && tty.is_drained();
        let next = || (over() || has_room() && !tty.is_drained()).then(over);
        if wait_any([&link.drained, &tty.changed, &window.changed], next).await {
            return;
        }
        tty.flush();
        if tty.is_drained() {
            // Who waits for the program's last words hears that they are out.
            tty.changed.wake_all();
        } else {
            // A terminal stopped with ^S keeps its output: wait for a change, not in a circle.
            crate::task::scheduler::yield_now().await;
        }
    }
}
