//! Load averages: how many tasks ran or wanted to, over the last 1, 5 and 15 minutes (proc(5), `/proc/loadavg`).
//!
//! Sampled every five seconds while something runs, in Linux's fixed point. No timer wakes an idle machine for it: the
//! samples an idle time missed are made up, with nobody running, when the next one is due.

use aurora_machine::Instant;

/// One, in fixed point: 11 bits after the point.
const ONE: u64 = 2048;
/// What remains of an average after one sample, for 1, 5 and 15 minutes: `e^(-5 s / T)`.
const DECAY: [u64; 3] = [1884, 2014, 2037];
/// Nanoseconds between samples.
const INTERVAL: u64 = 5_000_000_000;
/// After so many samples with nobody running, nothing is left of any average.
const FORGOTTEN: u64 = 4096;

/// The averages.
#[derive(Clone, Copy, Default)]
pub struct LoadAverage {
    averages: [u64; 3],
    sampled: Instant,
}

impl LoadAverage {
    /// Takes the samples that are due, with `active` tasks running or waiting to.
    pub fn sample(&mut self, now: Instant, active: u64) {
        let due = now.since(self.sampled) / INTERVAL;
        if due == 0 {
            return;
        }
        self.sampled = self.sampled + due * INTERVAL;
        for _ in 1..due.min(FORGOTTEN) {
            self.add(0);
        }
        self.add(active);
    }

    fn add(&mut self, active: u64) {
        for (average, decay) in self.averages.iter_mut().zip(DECAY) {
            *average = (*average * decay + active * ONE * (ONE - decay)) / ONE;
        }
    }

    /// The three averages in hundredths.
    pub fn hundredths(&self) -> [u64; 3] {
        self.averages.map(|a| (a * 100 + ONE / 2) / ONE)
    }

    /// The three averages as sysinfo(2) gives them, with 16 bits after the point.
    pub fn for_sysinfo(&self) -> [u64; 3] {
        self.averages.map(|a| a * (65536 / ONE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_busy_task_brings_the_load_to_one_and_idleness_back_to_nothing() {
        let mut load = LoadAverage::default();
        for second in 0..600 {
            load.sample(Instant(second * 1_000_000_000), 1);
        }
        let [one, five, fifteen] = load.hundredths();
        assert!(one >= 99 && one > five && five > fifteen && fifteen > 40, "{one} {five} {fifteen}");
        load.sample(Instant(24 * 3_600_000_000_000), 0);
        assert_eq!(load.hundredths(), [0, 0, 0]);
    }
}
