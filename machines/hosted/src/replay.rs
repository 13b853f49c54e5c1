//! Runs that can be repeated exactly.

use aurora_kernel::{BootError, Next};
use aurora_machine::{BootInfo, Instant, Port};
use aurora_virtual::{Driver, Time};

use crate::host::ProcessHost;
use crate::{Config, End, TURN_NS};

/// 2026-01-01 00:00 UTC, when every repeatable run takes place.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

/// The world around a repeatable machine. What it gives may depend on nothing but what it was given before.
pub trait Surroundings {
    /// Takes the bytes a port sent since the last exchange (maybe none) and appends what to send back.
    fn exchange(&mut self, port: Port, from_machine: &[u8], to_machine: &mut Vec<u8>);
}

/// How a repeatable run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// `None` when nothing in the machine or around it would ever have moved again.
    pub end: Option<End>,
    /// The hash over every trap: its kind, the registers, the time.
    pub trace_hash: u64,
    /// Instructions retired.
    pub instructions: u64,
    /// Virtual time at the end.
    pub time: Instant,
}

/// Runs a machine on this thread until it ends, everything in it determined by `seed` and `surroundings`.
pub fn replay(config: Config, seed: u64, surroundings: &mut dyn Surroundings) -> Result<Replayed, BootError> {
    use aurora_machine::Machine as _;
    let machine = crate::machine(&config, Time::Virtual { epoch_ns: EPOCH_NS }, ProcessHost::new(Some(seed)))?;
    let info = BootInfo { command_line: config.command_line, initramfs: config.initramfs };
    let driver = Driver::boot(machine.clone(), info)?;
    let mut lines = [Line::new(Port::Console), Line::new(Port::Link)];
    let end = loop {
        let next = driver.turn(TURN_NS);
        let moved = lines.iter_mut().map(|line| line.exchange(&driver, surroundings)).fold(false, |a, b| a | b);
        match next {
            Next::PowerOff => break Some(End::PowerOff),
            Next::Restart => break Some(End::Restart),
            Next::Idle { until: Instant::NEVER } if !moved && !driver.has_news() => break None,
            Next::Again | Next::Idle { .. } => {}
        }
    };
    let (trace_hash, time) = (machine.trace_hash().unwrap_or(0), machine.now());
    Ok(Replayed { end, trace_hash, instructions: machine.retired(), time })
}

/// One port, and what its side still has to send.
struct Line {
    port: Port,
    waiting: Vec<u8>,
}

impl Line {
    fn new(port: Port) -> Self {
        Self { port, waiting: Vec::new() }
    }

    /// Carries bytes both ways; returns whether there were any.
    fn exchange(&mut self, driver: &Driver<ProcessHost>, surroundings: &mut dyn Surroundings) -> bool {
        let machine = driver.machine();
        let mut out = vec![0; aurora_virtual::PORT_CAPACITY];
        let sent = machine.pull(self.port, &mut out);
        surroundings.exchange(self.port, &out[..sent], &mut self.waiting);
        let taken = machine.push(self.port, &self.waiting);
        self.waiting.drain(..taken);
        sent + taken > 0
    }
}
