//! Aurora in an ordinary process: BPE/U interprets, and the two ports are byte streams of the program around it.
//!
//! Two ways to run it. [`Hosted::start`] gives it a thread and the real clock. [`replay`] runs it on the caller's thread
//! with everything repeatable: virtual time, seeded entropy, and bytes exchanged at fixed points of the run, so that two
//! runs with one seed and one script are the same run, which the trace hash shows.
#![forbid(unsafe_code)]

mod disk;
mod host;
mod replay;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aurora_kernel::{BootError, Next};
use aurora_machine::{BlockDevice, BootInfo, HostMemory, Instant, Port};
use aurora_virtual::{Config as VirtualConfig, Driver, ImageDisk, Time, VirtualMachine};

use host::ProcessHost;
pub use replay::{Replayed, Surroundings, replay};
pub use stream::PortStream;

/// The longest the kernel runs before the ports are looked at.
const TURN_NS: u64 = 1_000_000;

/// What is run, and in how much memory.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Bytes of RAM.
    pub memory: u64,
    /// The kernel command line.
    pub command_line: String,
    /// The initial archive: cpio newc, plain or gzip.
    pub initramfs: Vec<u8>,
    /// Images of its disks, in order.
    pub disks: Vec<PathBuf>,
    /// Where to record what is done to them.
    pub recording: Option<PathBuf>,
}

/// Something done to a disk, as a recording has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which disk, from 0.
    pub disk: u8,
    /// Where it was written.
    pub offset: u64,
    /// What was written; nothing stands for a flush.
    pub bytes: Vec<u8>,
}

/// Reads a recording; what is cut off at its end is left out.
pub fn records(recording: &[u8]) -> Vec<Record> {
    let mut rest = recording;
    let mut take = |len: usize| {
        let (part, left) = rest.split_at_checked(len)?;
        rest = left;
        Some(part)
    };
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    std::iter::from_fn(|| {
        let disk = *take(1)?.first()?;
        let (offset, len) = (number(take(8)?), number(take(8)?));
        Some(Record { disk, offset, bytes: take(usize::try_from(len).ok()?)?.to_vec() })
    })
    .collect()
}

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was turned off from inside.
    PowerOff,
    /// It asked to be started anew.
    Restart,
    /// It was turned off from outside.
    Stopped,
}

/// Bytes of kernel heap for a machine with `memory` bytes of RAM: a quarter, as the kernel's own objects are small beside
/// what programs and files take.
fn heap_limit(memory: u64) -> u64 {
    (memory / 4).clamp(16 << 20, 1 << 30)
}

fn machine(config: &Config, time: Time, host: ProcessHost) -> Result<Arc<VirtualMachine<ProcessHost>>, BootError> {
    let memory = config.memory;
    let phys = HostMemory::allocate(memory)
        .ok_or_else(|| BootError(format!("the host has no {memory} bytes of memory for the machine")))?
        .into_phys();
    let traced = time != Time::Real;
    let mut disks: Vec<Arc<dyn BlockDevice>> = Vec::new();
    let recording = config.recording.as_deref().map(disk::Recording::start).transpose()?;
    for (number, path) in (0..).zip(&config.disks) {
        let recorded = recording.clone().map(|recording| (recording, number));
        disks.push(Arc::new(ImageDisk::new(disk::FileDisk::open(path, recorded)?)));
    }
    let config = VirtualConfig { name: "hosted", heap_limit: heap_limit(memory), time, traced };
    Ok(VirtualMachine::new(config, phys, disks, host))
}

/// A running machine. Dropping it turns it off, as soon as its kernel comes back from what it is doing.
pub struct Hosted {
    machine: Arc<VirtualMachine<ProcessHost>>,
    thread: Option<JoinHandle<Result<End, BootError>>>,
}

impl Hosted {
    /// Turns a machine on, on a thread of its own. What goes wrong while it boots is told by [`Hosted::wait`].
    pub fn start(config: Config) -> Result<Self, BootError> {
        // Not with the machine, whose parts hold on to one another: with its thread.
        let locks = disk::Locks::take(&config.disks)?;
        let machine = machine(&config, Time::Real, ProcessHost::new(None))?;
        let inside = machine.clone();
        let info = BootInfo { command_line: config.command_line, initramfs: config.initramfs };
        let thread = std::thread::Builder::new()
            .name("aurora machine".into())
            .spawn(move || {
                // However it ends, a panic included, whoever waits for bytes must hear of it.
                let _off = TurnOff(inside.clone());
                let _locks = locks;
                drive(inside, info)
            })
            .map_err(|e| BootError(format!("no thread for the machine: {e}")))?;
        Ok(Self { machine, thread: Some(thread) })
    }

    /// The stream to and from a port.
    pub fn port(&self, port: Port) -> PortStream {
        PortStream::new(self.machine.clone(), port)
    }

    /// Waits until the machine is off.
    pub fn wait(mut self) -> Result<End, BootError> {
        self.join()
    }

    /// Turns it off, unless it is. An error is why it ended before; `None` a kernel that does not come back from what it
    /// is doing, whose thread is left to itself.
    pub fn stop(mut self, patience: Duration) -> Option<Result<End, BootError>> {
        self.machine.host().turn_off();
        let deadline = std::time::Instant::now() + patience;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if std::time::Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Some(self.join())
    }

    /// Instructions its programs have retired.
    pub fn retired(&self) -> u64 {
        self.machine.retired()
    }

    fn join(&mut self) -> Result<End, BootError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(end)) => end,
            Some(Err(_)) => Err(BootError("the kernel panicked".into())),
            None => Ok(End::Stopped),
        }
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.machine.host().turn_off();
    }
}

struct TurnOff(Arc<VirtualMachine<ProcessHost>>);

impl Drop for TurnOff {
    fn drop(&mut self) {
        self.0.host().turn_off();
    }
}

/// Gives the kernel its turns until the machine is off.
fn drive(machine: Arc<VirtualMachine<ProcessHost>>, info: BootInfo) -> Result<End, BootError> {
    let driver = Driver::boot(machine.clone(), info)?;
    let host = machine.host();
    while !host.is_off() {
        let seen = host.attention();
        match driver.turn(TURN_NS) {
            Next::Again => {}
            Next::Idle { .. } if driver.has_news() => {}
            Next::Idle { until } => host.sleep(seen, pause(&driver, until)),
            Next::PowerOff => return Ok(End::PowerOff),
            Next::Restart => return Ok(End::Restart),
        }
    }
    Ok(End::Stopped)
}

/// How long to sleep when nothing runs before `until`; `None` for until something comes.
fn pause(driver: &Driver<ProcessHost>, until: Instant) -> Option<Duration> {
    use aurora_machine::Machine as _;
    (until != Instant::NEVER).then(|| Duration::from_nanos(until.since(driver.machine().now())))
}
