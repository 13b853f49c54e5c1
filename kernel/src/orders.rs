//! Orders in which threads can get in one another's way, tried at random by `shuttle`.
//!
//! Its threads take turns on one, so our own locks and atomics work as they are; all it needs is to be asked where another
//! thread may come in between. Locks ask ([`crate::sync::Mutex`]), and so does code whose atomics matter.

use core::cell::Cell;
use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};

use alloc::sync::Arc;
use alloc::task::Wake;
use std::thread_local;

/// So many orders of each test.
const ORDERS: usize = 3000;

thread_local! {
    static EXPLORING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `test` in many orders of its `shuttle::thread`s. A thread that waits for ever fails it: it runs out of steps.
pub(crate) fn explore(test: impl Fn() + Send + Sync + 'static) {
    EXPLORING.set(true);
    shuttle::check_random(test, ORDERS);
    EXPLORING.set(false);
}

/// Another thread may run here.
pub(crate) fn point() {
    if EXPLORING.get() {
        shuttle::thread::yield_now();
    }
}

/// A waker that notes that it was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs a future to its end; it is polled again only when it was woken.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    loop {
        if woken.0.swap(false, Ordering::AcqRel)
            && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
        {
            return value;
        }
        point();
    }
}
