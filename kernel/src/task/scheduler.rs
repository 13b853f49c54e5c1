//! The executor: which task runs next.
//!
//! A task is one future, a thread's whole life or a small job of the kernel. Each processor has a run queue ordered by
//! virtual run time: time used, divided by the weight of the nice value, so that a task which used least runs next
//! (the idea of Linux's CFS, sched(7)). A task that slept starts at the queue's minimum, not with credit hoarded.
//!
//! What always holds: a task is in at most one queue; its state says whether it is queued, running, or asleep; a
//! wake-up during its own poll queues it again.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicI8, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

use aurora_machine::{Instant, Machine};

use crate::sync::Mutex;
use crate::task::load::LoadAverage;
use crate::task::timer::Timers;

/// How long a task may run before others get their turn, in nanoseconds.
pub const SLICE_NS: u64 = 4_000_000;

/// Weight of each nice value from -20 to 19: a step is about 10 % of the processor against a peer (sched(7)).
const WEIGHTS: [u64; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904, 3906, 3121, 2501,
    1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
];
const WEIGHT_NICE_0: u64 = 1024;

const ASLEEP: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
/// Running, and woken since it began.
const WOKEN: u8 = 3;
const DONE: u8 = 4;

/// `SCHED_*` policies of sched(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// By nice value.
    Other = 0,
    /// Before those without a priority, until it waits.
    Fifo = 1,
    /// The same, taking turns with its like.
    RoundRobin = 2,
    /// By nice value, and never in a hurry.
    Batch = 3,
    /// When nobody else wants to run.
    Idle = 5,
    /// The kernel's own jobs, which are short.
    Kernel = 255,
}

impl Policy {
    /// A policy a program may ask for.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Other,
            1 => Self::Fifo,
            2 => Self::RoundRobin,
            3 => Self::Batch,
            5 => Self::Idle,
            _ => return None,
        })
    }
    /// Whether it has priorities.
    pub fn is_real_time(self) -> bool {
        matches!(self, Self::Fifo | Self::RoundRobin)
    }
}

/// What sched_setattr(2) says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// The policy.
    pub policy: Policy,
    /// 1 to 99 for real-time policies, else 0.
    pub priority: u8,
    /// Children start without (`SCHED_RESET_ON_FORK`).
    pub reset_on_fork: bool,
}

/// Ranks in the queue: those of real-time priorities are between these, the highest priority first.
const RANK_KERNEL: u8 = 0;
const RANK_REAL_TIME: u8 = 1;
const RANK_NORMAL: u8 = 100;
const RANK_IDLE: u8 = 101;

impl Scheduling {
    const fn rank(&self) -> u8 {
        match self.policy {
            Policy::Kernel => RANK_KERNEL,
            Policy::Fifo | Policy::RoundRobin => RANK_REAL_TIME + 99 - self.priority,
            Policy::Other | Policy::Batch => RANK_NORMAL,
            Policy::Idle => RANK_IDLE,
        }
    }
}

/// Of each period, real-time tasks leave others the rest: Linux's `sched_rt_runtime_us`.
const REAL_TIME_PERIOD: u64 = 1_000_000_000;
const REAL_TIME_SHARE: u64 = 950_000_000;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One future and its place in the schedule.
pub struct Task {
    job: Mutex<Option<Job>>,
    state: AtomicU8,
    nice: AtomicI8,
    /// Virtual run time in nanoseconds of a task of nice 0.
    virtual_time: AtomicU64,
    /// Processor time used, in nanoseconds.
    used: AtomicU64,
    scheduling: Mutex<Scheduling>,
    /// The rank of whoever waits for a mutex it has, if that is a real-time one; else [`RANK_IDLE`].
    lent: AtomicU8,
    /// ioprio_set(2).
    pub io_priority: AtomicU32,
    /// When it came into the queue last.
    arrival: AtomicU64,
    /// Times it gave the processor up, and lost it.
    pub switches: [AtomicU64; 2],
    queue: Weak<RunQueue>,
}

impl Task {
    fn new(nice: i8, queue: Weak<RunQueue>) -> Arc<Self> {
        Arc::new(Self {
            job: Mutex::new(None),
            state: AtomicU8::new(ASLEEP),
            nice: AtomicI8::new(nice),
            virtual_time: AtomicU64::new(0),
            used: AtomicU64::new(0),
            scheduling: Mutex::new(Scheduling { policy: Policy::Other, priority: 0, reset_on_fork: false }),
            lent: AtomicU8::new(RANK_IDLE),
            io_priority: AtomicU32::new(0),
            arrival: AtomicU64::new(0),
            switches: [const { AtomicU64::new(0) }; 2],
            queue,
        })
    }

    /// Runs it until it waits or ends.
    fn poll(self: &Arc<Self>) {
        self.state.store(RUNNING, Ordering::Release);
        let Some(mut job) = self.job.lock().take() else { return };
        let waker = Waker::from(self.clone());
        match job.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => self.state.store(DONE, Ordering::Release),
            Poll::Pending => *self.job.lock() = Some(job),
        }
    }

    /// Puts it where it belongs after it ran: back in the queue if it was woken meanwhile, else to sleep.
    fn settle(self: Arc<Self>, queue: &RunQueue) {
        let [voluntary, lost] = &self.switches;
        if self.state.compare_exchange(RUNNING, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            voluntary.fetch_add(1, Ordering::Relaxed);
        } else if self.state.compare_exchange(WOKEN, QUEUED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            lost.fetch_add(1, Ordering::Relaxed);
            queue.insert(self, false);
        }
    }

    /// Processor time used so far, in nanoseconds.
    pub fn used_ns(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
    /// The nice value, -20 (most) to 19 (least).
    pub fn nice(&self) -> i8 {
        self.nice.load(Ordering::Relaxed)
    }
    /// Sets the nice value; what is out of range is brought into it.
    pub fn set_nice(&self, nice: i8) {
        self.nice.store(nice.clamp(-20, 19), Ordering::Relaxed);
    }
    /// How it is scheduled.
    pub fn scheduling(&self) -> Scheduling {
        *self.scheduling.lock()
    }
    /// Schedules it another way from the next time on that it is queued.
    pub fn set_scheduling(&self, new: Scheduling) {
        *self.scheduling.lock() = new;
    }
    /// Where it stands in the queue, the least first: its own rank, or one that was lent.
    pub fn rank(&self) -> u8 {
        self.scheduling().rank().min(self.lent.load(Ordering::Relaxed))
    }
    /// Lends it the rank of who waits for it, if that is a real-time one, in place of what was lent before; whether that
    /// changes where it stands.
    pub fn lend(self: &Arc<Self>, rank: Option<u8>) -> bool {
        let before = self.rank();
        let lent = rank.filter(|&rank| rank < RANK_NORMAL).unwrap_or(RANK_IDLE);
        self.lent.store(lent, Ordering::Relaxed);
        let moved = self.rank() != before;
        if let Some(queue) = self.queue.upgrade().filter(|_| moved) {
            queue.move_up(self);
        }
        moved
    }
    /// Takes over what a new thread has of the one that made it.
    pub fn inherit_policy(&self, from: &Task) {
        let theirs = from.scheduling();
        self.io_priority.store(from.io_priority.load(Ordering::Relaxed), Ordering::Relaxed);
        if !theirs.reset_on_fork {
            self.set_scheduling(theirs);
        } else if self.nice() < 0 {
            self.set_nice(0);
        }
    }

    /// Whether it is running or could run.
    pub fn is_runnable(&self) -> bool {
        matches!(self.state.load(Ordering::Relaxed), QUEUED | RUNNING | WOKEN)
    }

    fn weight(&self) -> u64 {
        let index = usize::try_from(i16::from(self.nice()) + 20).unwrap_or(20);
        WEIGHTS.get(index).copied().unwrap_or(WEIGHT_NICE_0)
    }

    fn charge(&self, ns: u64) {
        self.used.fetch_add(ns, Ordering::Relaxed);
        self.virtual_time.fetch_add(ns.saturating_mul(WEIGHT_NICE_0) / self.weight(), Ordering::Relaxed);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        loop {
            let (from, to) = match self.state.load(Ordering::Acquire) {
                ASLEEP => (ASLEEP, QUEUED),
                RUNNING => (RUNNING, WOKEN),
                _ => return,
            };
            crate::sync::point();
            if self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                if to == QUEUED
                    && let Some(queue) = self.queue.upgrade()
                {
                    queue.insert(self, true);
                }
                return;
            }
        }
    }
}

/// What one processor has to run.
#[derive(Default)]
struct RunQueue {
    inner: Mutex<RunQueueInner>,
    /// Something came that goes before what runs.
    preempt: AtomicBool,
}

#[derive(Default)]
struct RunQueueInner {
    /// By rank, then by virtual time, then by order of arrival.
    tasks: BTreeMap<(u8, u64, u64), Arc<Task>>,
    arrivals: u64,
    /// Virtual time of the task picked last: the least a task that wakes may have.
    floor: u64,
    /// Rank of the task picked last.
    running: u8,
    /// Start of the period real-time tasks' share is counted in, and what they had of it.
    period: u64,
    real_time: u64,
}

impl RunQueue {
    fn insert(&self, task: Arc<Task>, slept: bool) {
        let scheduling = task.scheduling();
        let rank = task.rank();
        let mut inner = self.inner.lock();
        // What goes in order of arrival was not sent to the end by the end of its turn, unless it takes turns.
        let keeps_place = !slept && scheduling.policy == Policy::Fifo;
        if !keeps_place {
            task.arrival.store(inner.arrivals, Ordering::Relaxed);
            inner.arrivals += 1;
        }
        let time = if rank < RANK_NORMAL {
            0
        } else {
            // A sleeper may be ahead by one slice at most.
            if slept {
                let least = inner.floor.saturating_sub(SLICE_NS);
                task.virtual_time.fetch_max(least, Ordering::Relaxed);
            }
            task.virtual_time.load(Ordering::Relaxed)
        };
        if (RANK_REAL_TIME..RANK_NORMAL).contains(&rank) && rank < inner.running {
            self.preempt.store(true, Ordering::Relaxed);
        }
        let key = (rank, time, task.arrival.load(Ordering::Relaxed));
        inner.tasks.insert(key, task);
    }

    /// Puts a task that waits for its turn where its rank says now.
    fn move_up(&self, task: &Arc<Task>) {
        let mut inner = self.inner.lock();
        let place = inner.tasks.iter().find(|(_, queued)| Arc::ptr_eq(queued, task)).map(|(key, _)| *key);
        let moved = place.and_then(|key| inner.tasks.remove(&key));
        drop(inner);
        if let Some(task) = moved {
            self.insert(task, false);
        }
    }

    fn take(&self, now: Instant) -> Option<Arc<Task>> {
        self.preempt.store(false, Ordering::Relaxed);
        let mut inner = self.inner.lock();
        if now.0 / REAL_TIME_PERIOD != inner.period {
            (inner.period, inner.real_time) = (now.0 / REAL_TIME_PERIOD, 0);
        }
        let ((mut rank, mut time, arrival), mut task) = inner.tasks.pop_first()?;
        if (RANK_REAL_TIME..RANK_NORMAL).contains(&rank) && inner.real_time > REAL_TIME_SHARE {
            let other = inner.tasks.range((RANK_NORMAL, 0, 0)..).next().map(|(key, _)| *key);
            if let Some((key, other)) = other.and_then(|key| Some((key, inner.tasks.remove(&key)?))) {
                inner.tasks.insert((rank, time, arrival), core::mem::replace(&mut task, other));
                (rank, time, _) = key;
            }
        }
        if rank == RANK_NORMAL {
            inner.floor = inner.floor.max(time);
        }
        inner.running = rank;
        Some(task)
    }

    /// Counts what the task picked last used.
    fn note_used(&self, ns: u64) {
        let mut inner = self.inner.lock();
        if (RANK_REAL_TIME..RANK_NORMAL).contains(&inner.running) {
            inner.real_time += ns;
        }
        inner.running = RANK_IDLE;
    }

    fn len(&self) -> usize {
        self.inner.lock().tasks.len()
    }
}

/// All processors' run queues.
pub struct Scheduler {
    machine: Arc<dyn Machine>,
    queues: Vec<Arc<RunQueue>>,
    /// When the running task's turn ends.
    slice_end: AtomicU64,
    /// When the running task's turn began; 0 while none runs.
    slice_start: AtomicU64,
    switches: AtomicU64,
    /// Address of the task that was picked last.
    last: AtomicUsize,
    busy_ns: AtomicU64,
    load: Mutex<LoadAverage>,
}

impl Scheduler {
    /// A scheduler for the one processor machines run today.
    pub fn new(machine: Arc<dyn Machine>) -> Self {
        let queues = Vec::from([Arc::new(RunQueue::default())]);
        Self {
            machine,
            queues,
            slice_end: AtomicU64::new(0),
            slice_start: AtomicU64::new(0),
            switches: AtomicU64::new(0),
            last: AtomicUsize::new(0),
            busy_ns: AtomicU64::new(0),
            load: Mutex::default(),
        }
    }

    /// Makes a task that is not yet running; [`Scheduler::start`] gives it its future.
    pub fn new_task(&self, nice: i8) -> Arc<Task> {
        Task::new(nice, self.queues.first().map_or_else(Weak::new, Arc::downgrade))
    }

    /// Gives a task its future and queues it.
    pub fn start(&self, task: &Arc<Task>, job: impl Future<Output = ()> + Send + 'static) {
        *task.job.lock() = Some(Box::pin(job));
        task.clone().wake();
    }

    /// Starts a job of the kernel's own.
    pub fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let task = self.new_task(-20);
        task.set_scheduling(Scheduling { policy: Policy::Kernel, priority: 0, reset_on_fork: false });
        self.start(&task, job);
    }

    /// Lets the scheduler choose again before a program goes on.
    pub fn preempt(&self) {
        self.queues.iter().for_each(|q| q.preempt.store(true, Ordering::Relaxed));
    }

    /// When the running task must let others run.
    pub fn slice_end(&self) -> Instant {
        if self.queues.iter().any(|q| q.preempt.load(Ordering::Relaxed)) {
            return Instant(0);
        }
        Instant(self.slice_end.load(Ordering::Relaxed))
    }

    /// What the running task has used of its turn and was not charged yet, in nanoseconds.
    pub fn running_ns(&self) -> u64 {
        let start = self.slice_start.load(Ordering::Relaxed);
        if start == 0 { 0 } else { self.machine.now().since(Instant(start)) }
    }

    /// Tasks that could run now.
    pub fn runnable(&self) -> usize {
        self.queues.iter().map(|q| q.len()).sum()
    }

    /// How often another task was picked than before.
    pub fn switches(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }

    /// Processor time all tasks used, in nanoseconds.
    pub fn busy_ns(&self) -> u64 {
        self.busy_ns.load(Ordering::Relaxed)
    }

    /// Load averages now; who asks is running.
    pub fn load(&self) -> LoadAverage {
        let mut load = self.load.lock();
        load.sample(self.machine.now(), self.runnable() as u64 + 1);
        *load
    }

    /// Runs tasks until none can or `until` has passed. Returns whether some could still run.
    pub fn run(&self, until: Instant, timers: &Timers) -> bool {
        let Some(queue) = self.queues.first() else { return false };
        let mut now = self.machine.now();
        loop {
            timers.fire(now);
            let Some(task) = queue.take(now) else { return false };
            let end = until.min(now + SLICE_NS).min(timers.next());
            self.slice_end.store(end.0, Ordering::Relaxed);
            self.slice_start.store(now.0, Ordering::Relaxed);
            let address = Arc::as_ptr(&task).addr();
            if self.last.swap(address, Ordering::Relaxed) != address {
                self.switches.fetch_add(1, Ordering::Relaxed);
            }
            task.poll();
            let after = self.machine.now();
            task.charge(after.since(now));
            queue.note_used(after.since(now));
            self.slice_start.store(0, Ordering::Relaxed);
            self.busy_ns.fetch_add(after.since(now), Ordering::Relaxed);
            now = after;
            task.settle(queue);
            self.load.lock().sample(now, queue.len() as u64);
            if now >= until {
                return queue.len() > 0;
            }
        }
    }
}

/// Lets other tasks run, then goes on.
pub async fn yield_now() {
    let mut yielded = false;
    core::future::poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::explore;
    use crate::sync::point;
    use shuttle::thread::spawn;

    #[test]
    fn no_wake_up_is_lost_and_no_task_is_queued_twice() {
        explore(|| {
            let queue = Arc::new(RunQueue::default());
            let task = Task::new(0, Arc::downgrade(&queue));
            let events = Arc::new(AtomicU32::new(0));
            let seen = events.clone();
            *task.job.lock() = Some(Box::pin(core::future::poll_fn(move |_| {
                point();
                if seen.load(Ordering::Acquire) == 3 { Poll::Ready(()) } else { Poll::Pending }
            })));
            let wakers = [(); 3].map(|()| {
                let (task, events) = (task.clone(), events.clone());
                spawn(move || {
                    events.fetch_add(1, Ordering::AcqRel);
                    task.wake();
                })
            });
            while task.state.load(Ordering::Acquire) != DONE {
                assert!(queue.len() <= 1);
                if let Some(task) = queue.take(Instant(0)) {
                    task.poll();
                    point();
                    task.settle(&queue);
                }
                point();
            }
            wakers.into_iter().for_each(|w| w.join().unwrap());
            assert_eq!(queue.len(), 0);
        });
    }
}
