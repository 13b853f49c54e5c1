//! A machine whose processor is BPE/U, over whatever gives it a clock and entropy: the part that `hosted` and `wasm`
//! share.
//!
//! What always holds: the only way in and out is the two byte ports and [`Host`]; neither ever queues without bound; and
//! under a [`Time::Virtual`] clock with a repeatable host, two runs that are given the same bytes at the same points make
//! the same trace.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod clock;
mod disk;
mod driver;
mod ports;
mod trace;

use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use aurora_bpe::Engine;
use aurora_bpe::{Environment, Processor};
use aurora_machine::{
    BlockDevice, Instant, Machine, PhysMemory, Port, SpaceRoot, Trap, UserClock, UserContext, VirtRange,
};

pub use aurora_kernel::{BootError, Next};
use clock::Clock;
pub use clock::Time;
pub use disk::{DiskHost, DiskImage, ImageDisk};
pub use driver::Driver;
pub use ports::PORT_CAPACITY;
use ports::Ports;
use trace::TraceHash;

/// What the machine takes from the process, worker or test it is in.
pub trait Host: Send + Sync + 'static {
    /// A clock in nanoseconds with any origin. It may be coarse, stand still and be reset.
    fn clock_ns(&self) -> u64;
    /// Nanoseconds since the Unix epoch.
    fn realtime_ns(&self) -> u64;
    /// Fills `buffer` with unpredictable bytes.
    fn entropy(&self, buffer: &mut [u8]);
    /// Bytes wait to be pulled from a port.
    fn output_ready(&self);
    /// The kernel took bytes from a port: there is room to push more.
    fn input_taken(&self);
    /// What runs translated code, where there is such a thing.
    fn engine(&self) -> Option<Box<dyn Engine>> {
        None
    }
}

/// How a machine is made.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What it calls itself.
    pub name: &'static str,
    /// Bytes of kernel heap.
    pub heap_limit: u64,
    /// Where its time comes from.
    pub time: Time,
    /// Whether every trap goes into a hash.
    pub traced: bool,
}

/// The machine.
pub struct VirtualMachine<H> {
    config: Config,
    host: H,
    memory: Arc<PhysMemory>,
    processor: spin::Mutex<Processor>,
    /// Instructions retired, kept outside the processor's lock for the clock.
    retired: AtomicU64,
    clock: Clock,
    ports: Ports,
    disks: Vec<Arc<dyn BlockDevice>>,
    trace: Option<spin::Mutex<TraceHash>>,
    /// Whether the processor interrupts programs when it likes.
    stressed: AtomicBool,
}

impl<H: Host> VirtualMachine<H> {
    /// A machine that is off, with `memory` as its RAM.
    pub fn new(config: Config, memory: Arc<PhysMemory>, disks: Vec<Arc<dyn BlockDevice>>, host: H) -> Arc<Self> {
        let mut processor = Processor::new(memory.clone());
        if let Some(engine) = host.engine() {
            processor.translate_for(engine);
        }
        Arc::new(Self {
            processor: spin::Mutex::new(processor),
            retired: AtomicU64::new(0),
            clock: Clock::new(config.time, host.clock_ns()),
            ports: Ports::default(),
            disks,
            trace: config.traced.then(Default::default),
            stressed: AtomicBool::new(false),
            config,
            host,
            memory,
        })
    }

    /// The machine goes on in another host: what it translated is not there.
    pub fn restored(&self) {
        if let Some(engine) = self.host.engine() {
            self.processor.lock().restart_translation(engine);
        }
    }

    /// From now on whatever is translated is checked against the interpreter.
    fn check_translations(&self) {
        self.processor.lock().check_translations(true);
    }

    /// From now on what is rare is common; see [`Processor::stress`].
    fn stress(&self, seed: u64) {
        self.processor.lock().stress(seed);
        self.stressed.store(true, Ordering::Relaxed);
    }

    /// What it runs in.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Gives the machine bytes that arrived at `port`; returns how many it had room for.
    pub fn push(&self, port: Port, bytes: &[u8]) -> usize {
        self.ports.push(port, bytes)
    }

    /// Bytes [`VirtualMachine::push`] would take now.
    pub fn room(&self, port: Port) -> usize {
        self.ports.room(port)
    }

    /// Takes bytes the machine sent to `port`; returns how many.
    pub fn pull(&self, port: Port, buffer: &mut [u8]) -> usize {
        self.ports.pull(port, buffer)
    }

    /// Instructions retired since the machine was made.
    pub fn retired(&self) -> u64 {
        self.retired.load(Ordering::Relaxed)
    }

    /// The hash over all traps so far; `None` unless the configuration asked for it.
    pub fn trace_hash(&self) -> Option<u64> {
        self.trace.as_ref().map(|t| t.lock().value())
    }

    /// Nothing runs before `until`: virtual time goes there at once, real time goes by itself.
    fn idle(&self, until: Instant) {
        self.clock.idle(until, self.host.clock_ns(), self.retired());
    }
}

/// What BPE/U's instructions see of the machine during one run.
struct Inside<'a, H> {
    machine: &'a VirtualMachine<H>,
    /// The fuel of the run.
    given: u64,
}

impl<H: Host> Environment for Inside<'_, H> {
    fn tsc(&mut self, fuel: u64) -> u64 {
        let machine = self.machine;
        machine.clock.step(machine.host.clock_ns(), machine.retired() + self.given.saturating_sub(fuel)).0
    }
    fn random(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.machine.host.entropy(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl<H: Host> Machine for VirtualMachine<H> {
    fn name(&self) -> &'static str {
        self.config.name
    }

    fn processor_name(&self) -> &str {
        Processor::name()
    }

    fn memory(&self) -> &Arc<PhysMemory> {
        &self.memory
    }

    fn heap_limit(&self) -> u64 {
        self.config.heap_limit
    }

    fn run(&self, cpu: &mut UserContext, space: SpaceRoot, until: Instant) -> Trap {
        let mut processor = self.processor.lock();
        let trap = loop {
            let clock = self.host.clock_ns();
            let now = self.clock.now(clock, self.retired());
            if now >= until {
                break Trap::Interrupted;
            }
            let given = self.clock.fuel(until.since(now));
            let mut fuel = given;
            let trap = processor.run(cpu, space, &mut fuel, &mut Inside { machine: self, given });
            let used = given - fuel;
            self.retired.fetch_add(used, Ordering::Relaxed);
            if trap != Trap::Interrupted || self.stressed.load(Ordering::Relaxed) {
                break trap;
            }
            self.clock.calibrate(used, clock, self.host.clock_ns());
        };
        self.clock.trapped();
        if let Some(trace) = &self.trace {
            trace.lock().trap(trap, cpu, self.now());
        }
        trap
    }

    fn invalidate(&self, space: SpaceRoot, range: VirtRange) {
        self.processor.lock().invalidate(space, range);
    }

    fn retire(&self, space: SpaceRoot) {
        self.processor.lock().retire(space);
    }

    fn now(&self) -> Instant {
        self.clock.now(self.host.clock_ns(), self.retired())
    }

    fn user_clock(&self) -> Option<UserClock> {
        Some(UserClock { start: 0, ns_per_step: 1 << 32 })
    }

    fn realtime_ns(&self) -> u64 {
        match self.config.time {
            Time::Real => self.host.realtime_ns(),
            Time::Virtual { epoch_ns } => epoch_ns.saturating_add(self.now().0),
        }
    }

    fn entropy(&self, buffer: &mut [u8]) {
        self.host.entropy(buffer);
    }

    fn extended_features(&self) -> u64 {
        Processor::EXTENDED_FEATURES
    }

    fn disks(&self) -> &[Arc<dyn BlockDevice>] {
        &self.disks
    }

    fn statistics(&self) -> String {
        self.processor.lock().statistics().to_string()
    }

    fn port_write(&self, port: Port, bytes: &[u8]) -> usize {
        let taken = self.ports.write(port, bytes);
        if taken > 0 {
            self.host.output_ready();
        }
        taken
    }

    fn port_read(&self, port: Port, buffer: &mut [u8]) -> usize {
        let taken = self.ports.read(port, buffer);
        if taken > 0 {
            self.host.input_taken();
        }
        taken
    }
}
