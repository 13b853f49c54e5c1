//! Where programs spend their time: with the word `profile` on the command line every thread is interrupted each
//! millisecond it runs, where it was is counted, and at its end a process says on the console what was counted.
//!
//! `aurora run --profile` makes a table of functions of it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use aurora_machine::Instant;

use crate::fs::procfs;
use crate::sync::Mutex;
use crate::task::process::Process;

/// Nanoseconds between two samples.
const EVERY: u64 = 1_000_000;
/// Addresses a process counts; what comes after them is counted as elsewhere.
const MOST: usize = 4096;
/// Addresses that are told.
const TOLD: usize = 800;

/// How often a process was found at an address.
#[derive(Default)]
pub struct Samples(Mutex<BTreeMap<u64, u64>>);

impl Samples {
    /// When the thread that runs until `end` is looked at.
    pub(crate) fn next(now: Instant, end: Instant) -> Instant {
        end.min(now + EVERY)
    }

    pub(crate) fn count(&self, address: u64) {
        let mut all = self.0.lock();
        let at = if all.len() < MOST || all.contains_key(&address) { address } else { 0 };
        *all.entry(at).or_default() += 1;
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// Says what was counted of a process that ends, if it ran long enough to be found anywhere.
pub(crate) fn tell(process: &Process) {
    let mut samples: Vec<(u64, u64)> = process.samples.0.lock().iter().map(|(&at, &count)| (count, at)).collect();
    let all: u64 = samples.iter().map(|(count, _)| count).sum();
    if all == 0 {
        return;
    }
    let kernel = &process.kernel;
    let mut text = format!("profile: process {} {all}\n", process.pid.0);
    let maps = procfs::maps_of(process).unwrap_or_default();
    for line in String::from_utf8_lossy(&maps).lines() {
        if line.split(' ').nth(1).is_some_and(|bits| bits.contains('x')) {
            let _ = writeln!(text, "profile: map {line}");
        }
    }
    samples.sort_unstable_by(|a, b| b.cmp(a));
    for (count, at) in samples.iter().take(TOLD) {
        let _ = writeln!(text, "profile: at {at:x} {count}");
    }
    for line in kernel.machine.statistics().lines() {
        let _ = writeln!(text, "profile: machine {line}");
    }
    text.push_str("profile: end");
    text.lines().for_each(|line| kernel.trace_line(line));
}
