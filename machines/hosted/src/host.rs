//! The process as a host: its clock, its entropy, and how the machine's thread and its users wake each other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aurora_virtual::Host;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Counts of what happened, so that nobody sleeps through an event that came before they lay down.
#[derive(Default)]
struct Events {
    /// For the machine: input came, room came, it shall be off.
    to_machine: u64,
    /// For its users: output came, room may have come, it is off.
    to_users: u64,
    off: bool,
}

pub(crate) struct ProcessHost {
    start: Instant,
    entropy: Mutex<ChaCha20Rng>,
    events: Mutex<Events>,
    machine_wakes: Condvar,
    users_wake: Condvar,
}

/// A panic of the kernel's thread must not hide behind poisoned locks: what they guard is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ProcessHost {
    /// With `seed`, entropy is repeatable.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        let entropy = match seed {
            Some(seed) => ChaCha20Rng::seed_from_u64(seed),
            None => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).expect("the host gives entropy");
                ChaCha20Rng::from_seed(bytes)
            }
        };
        Self {
            start: Instant::now(),
            entropy: Mutex::new(entropy),
            events: Mutex::default(),
            machine_wakes: Condvar::new(),
            users_wake: Condvar::new(),
        }
    }

    pub(crate) fn turn_off(&self) {
        let mut events = lock(&self.events);
        events.off = true;
        events.to_machine += 1;
        events.to_users += 1;
        self.machine_wakes.notify_all();
        self.users_wake.notify_all();
    }

    pub(crate) fn is_off(&self) -> bool {
        lock(&self.events).off
    }

    /// What [`ProcessHost::sleep`] compares with.
    pub(crate) fn attention(&self) -> u64 {
        lock(&self.events).to_machine
    }

    /// Sleeps until something happened since `seen`, at most for `pause`.
    pub(crate) fn sleep(&self, seen: u64, pause: Option<Duration>) {
        let events = lock(&self.events);
        let quiet = |events: &mut Events| events.to_machine == seen;
        match pause {
            Some(pause) => drop(self.machine_wakes.wait_timeout_while(events, pause, quiet)),
            None => drop(self.machine_wakes.wait_while(events, quiet)),
        }
    }

    pub(crate) fn wake_machine(&self) {
        lock(&self.events).to_machine += 1;
        self.machine_wakes.notify_all();
    }

    /// Tries until `attempt` gives something, or gives `None` once the machine is off.
    pub(crate) fn wait_for<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            let (seen, off) = {
                let events = lock(&self.events);
                (events.to_users, events.off)
            };
            if let Some(got) = attempt() {
                return Some(got);
            }
            if off {
                return None;
            }
            drop(self.users_wake.wait_while(lock(&self.events), |events| events.to_users == seen));
        }
    }

    pub(crate) fn wake_users(&self) {
        lock(&self.events).to_users += 1;
        self.users_wake.notify_all();
    }
}

impl Host for ProcessHost {
    fn clock_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn realtime_ns(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
    }

    fn entropy(&self, buffer: &mut [u8]) {
        lock(&self.entropy).fill_bytes(buffer);
    }

    fn output_ready(&self) {
        self.wake_users();
    }

    fn input_taken(&self) {
        self.wake_users();
    }
}
