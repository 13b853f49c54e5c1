//! Options every socket has, socket(7).

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use alloc::vec::Vec;
use aurora_abi::{Abi, Errno};

/// Level of these options.
pub const SOL_SOCKET: u32 = 1;
/// Bytes a socket's buffers hold if nobody says otherwise: Linux's `net.core.wmem_default`.
pub const DEFAULT_BUFFER: u32 = 212_992;
/// The largest size that can be asked for, before it is doubled.
const MAX_BUFFER: u32 = 212_992;
const MIN_SEND: u32 = 4608;
const MIN_RECEIVE: u32 = 2304;
/// The largest linger time.
const SECOND: u64 = 1_000_000_000;

/// Names of options that are on or off; the place is the bit.
const SWITCHES: [u32; 15] = [
    REUSEADDR,
    DONTROUTE,
    BROADCAST,
    KEEPALIVE,
    OOBINLINE,
    NO_CHECK,
    REUSEPORT,
    PASSCRED,
    TIMESTAMP,
    TIMESTAMPNS,
    PASSSEC,
    RXQ_OVFL,
    PASSPIDFD,
    WIFI_STATUS,
    NOFCS,
];
/// `SO_REUSEADDR`.
pub const REUSEADDR: u32 = 2;
const TYPE: u32 = 3;
const ERROR: u32 = 4;
const DONTROUTE: u32 = 5;
/// `SO_BROADCAST`.
pub const BROADCAST: u32 = 6;
const SNDBUF: u32 = 7;
const RCVBUF: u32 = 8;
/// `SO_KEEPALIVE`.
pub const KEEPALIVE: u32 = 9;
const OOBINLINE: u32 = 10;
const NO_CHECK: u32 = 11;
const PRIORITY: u32 = 12;
const LINGER: u32 = 13;
/// `SO_REUSEPORT`.
pub const REUSEPORT: u32 = 15;
/// `SO_PASSCRED`.
pub const PASSCRED: u32 = 16;
const PEERCRED: u32 = 17;
const RCVLOWAT: u32 = 18;
const SNDLOWAT: u32 = 19;
const RCVTIMEO: u32 = 20;
const SNDTIMEO: u32 = 21;
const TIMESTAMP: u32 = 29;
const ACCEPTCONN: u32 = 30;
const SNDBUFFORCE: u32 = 32;
const RCVBUFFORCE: u32 = 33;
const PASSSEC: u32 = 34;
const TIMESTAMPNS: u32 = 35;
const PROTOCOL: u32 = 38;
const DOMAIN: u32 = 39;
const RXQ_OVFL: u32 = 40;
const WIFI_STATUS: u32 = 41;
const NOFCS: u32 = 43;
const PASSPIDFD: u32 = 76;

/// Options of one socket.
pub struct Options {
    switches: AtomicU32,
    send: AtomicU32,
    receive: AtomicU32,
    low: AtomicU32,
    priority: AtomicU32,
    /// Seconds to linger; negative for not.
    linger: AtomicI32,
    /// In nanoseconds; 0 for ever.
    receive_time: AtomicU64,
    send_time: AtomicU64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            switches: AtomicU32::new(0),
            send: AtomicU32::new(DEFAULT_BUFFER),
            receive: AtomicU32::new(DEFAULT_BUFFER),
            low: AtomicU32::new(1),
            priority: AtomicU32::new(0),
            linger: AtomicI32::new(-1),
            receive_time: AtomicU64::new(0),
            send_time: AtomicU64::new(0),
        }
    }
}

/// What of a socket its options tell.
pub struct Facts {
    /// `SO_DOMAIN`.
    pub domain: u16,
    /// `SO_TYPE`.
    pub kind: u32,
    /// `SO_PROTOCOL`.
    pub protocol: u32,
    /// `SO_ACCEPTCONN`.
    pub listens: bool,
    /// `SO_PEERCRED`: process, user, group.
    pub peer: [u32; 3],
}

impl Options {
    /// Whether a switch is on.
    pub fn is_on(&self, name: u32) -> bool {
        bit_of(name).is_some_and(|bit| self.switches.load(Ordering::Relaxed) & bit != 0)
    }
    /// Bytes that may be on their way from it.
    pub fn send_buffer(&self) -> usize {
        crate::num::to_usize(u64::from(self.send.load(Ordering::Relaxed)))
    }
    /// Bytes that may wait in it.
    pub fn receive_buffer(&self) -> usize {
        crate::num::to_usize(u64::from(self.receive.load(Ordering::Relaxed)))
    }
    /// How long a receiver waits, in nanoseconds.
    pub fn receive_time(&self) -> Option<u64> {
        Some(self.receive_time.load(Ordering::Relaxed)).filter(|&ns| ns > 0)
    }
    /// How long a sender waits, in nanoseconds.
    pub fn send_time(&self) -> Option<u64> {
        Some(self.send_time.load(Ordering::Relaxed)).filter(|&ns| ns > 0)
    }
    /// How long close(2) tries to send what is left: seconds.
    pub fn linger(&self) -> Option<u32> {
        u32::try_from(self.linger.load(Ordering::Relaxed)).ok()
    }
    /// A socket accepted from this one has its options.
    pub fn inherit(&self, from: &Self) {
        let copy = |to: &AtomicU32, from: &AtomicU32| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        copy(&self.switches, &from.switches);
        copy(&self.send, &from.send);
        copy(&self.receive, &from.receive);
        copy(&self.low, &from.low);
        self.linger.store(from.linger.load(Ordering::Relaxed), Ordering::Relaxed);
        self.receive_time.store(from.receive_time.load(Ordering::Relaxed), Ordering::Relaxed);
        self.send_time.store(from.send_time.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// getsockopt(2) at `SOL_SOCKET`. `take_error` gives the pending error and forgets it.
    pub fn get(&self, name: u32, facts: &Facts, take_error: impl FnOnce() -> u32) -> Result<Vec<u8>, Errno> {
        let int = |value: u32| Ok(value.to_le_bytes().to_vec());
        let time = |ns: &AtomicU64| {
            let ns = ns.load(Ordering::Relaxed);
            let mut bytes = alloc::vec![0; 16];
            [ns / SECOND, ns % SECOND / 1000].store(&mut bytes);
            Ok(bytes)
        };
        if bit_of(name).is_some() {
            return int(u32::from(self.is_on(name)));
        }
        match name {
            TYPE => int(facts.kind),
            ERROR => int(take_error()),
            SNDBUF => int(self.send.load(Ordering::Relaxed)),
            RCVBUF => int(self.receive.load(Ordering::Relaxed)),
            PRIORITY => int(self.priority.load(Ordering::Relaxed)),
            LINGER => {
                let mut bytes = alloc::vec![0; 8];
                [u32::from(self.linger().is_some()), self.linger().unwrap_or(0)].store(&mut bytes);
                Ok(bytes)
            }
            PEERCRED => {
                let mut bytes = alloc::vec![0; 12];
                facts.peer.store(&mut bytes);
                Ok(bytes)
            }
            RCVLOWAT => int(self.low.load(Ordering::Relaxed)),
            SNDLOWAT => int(1),
            RCVTIMEO => time(&self.receive_time),
            SNDTIMEO => time(&self.send_time),
            ACCEPTCONN => int(u32::from(facts.listens)),
            PROTOCOL => int(facts.protocol),
            DOMAIN => int(u32::from(facts.domain)),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    /// setsockopt(2) at `SOL_SOCKET`. `root` may go beyond limits.
    pub fn set(&self, name: u32, value: &[u8], root: bool) -> Result<(), Errno> {
        if matches!(name, TYPE | ERROR | PROTOCOL | DOMAIN | ACCEPTCONN | PEERCRED | SNDLOWAT) {
            return Err(Errno::ENOPROTOOPT);
        }
        if value.len() < 4 {
            return Err(Errno::EINVAL);
        }
        let int = u32::load(value);
        if let Some(bit) = bit_of(name) {
            match int {
                0 => self.switches.fetch_and(!bit, Ordering::Relaxed),
                _ => self.switches.fetch_or(bit, Ordering::Relaxed),
            };
            return Ok(());
        }
        match name {
            SNDBUF => self.send.store((int.min(MAX_BUFFER) * 2).max(MIN_SEND), Ordering::Relaxed),
            RCVBUF => self.receive.store((int.min(MAX_BUFFER) * 2).max(MIN_RECEIVE), Ordering::Relaxed),
            SNDBUFFORCE | RCVBUFFORCE if !root => return Err(Errno::EPERM),
            SNDBUFFORCE => self.send.store(int.min(1 << 24).saturating_mul(2).max(MIN_SEND), Ordering::Relaxed),
            RCVBUFFORCE => self.receive.store(int.min(1 << 24).saturating_mul(2).max(MIN_RECEIVE), Ordering::Relaxed),
            PRIORITY if int > 6 && !root => return Err(Errno::EPERM),
            PRIORITY => self.priority.store(int, Ordering::Relaxed),
            LINGER => {
                let [on, seconds] = exactly::<2>(value)?;
                let seconds = seconds.cast_signed().max(0);
                self.linger.store(if on != 0 { seconds } else { -1 }, Ordering::Relaxed);
            }
            RCVLOWAT => self
                .low
                .store(if int.cast_signed() < 0 { i32::MAX.cast_unsigned() } else { int.max(1) }, Ordering::Relaxed),
            RCVTIMEO => self.receive_time.store(time_limit(value)?, Ordering::Relaxed),
            SNDTIMEO => self.send_time.store(time_limit(value)?, Ordering::Relaxed),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }
}

fn bit_of(name: u32) -> Option<u32> {
    SWITCHES.iter().position(|&s| s == name).map(|at| 1 << at)
}

fn exactly<const N: usize>(value: &[u8]) -> Result<[u32; N], Errno> {
    if value.len() < N * 4 { Err(Errno::EINVAL) } else { Ok(<[u32; N]>::load(value)) }
}

/// A `struct timeval` as a time limit; 0 is none, a negative time is over at once.
fn time_limit(value: &[u8]) -> Result<u64, Errno> {
    if value.len() < 16 {
        return Err(Errno::EINVAL);
    }
    let [seconds, micros] = <[i64; 2]>::load(value);
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno::EDOM);
    }
    let micros = micros.cast_unsigned();
    match u64::try_from(seconds) {
        Ok(seconds) => Ok(seconds.saturating_mul(SECOND).saturating_add(micros * 1000)),
        Err(_) => Ok(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts = Facts { domain: 1, kind: 1, protocol: 0, listens: false, peer: [1, 2, 3] };

    #[test]
    fn a_switch_is_on_or_off_whatever_number_is_given() {
        let options = Options::default();
        assert_eq!(options.set(KEEPALIVE, &7u32.to_le_bytes(), false), Ok(()));
        assert_eq!(options.get(KEEPALIVE, &FACTS, || 0), Ok(1u32.to_le_bytes().to_vec()));
        assert_eq!(options.set(KEEPALIVE, &[1, 0, 0], false), Err(Errno::EINVAL));
    }

    #[test]
    fn sizes_are_doubled_and_kept_within_bounds() {
        let options = Options::default();
        for (asked, got) in [(1, 4608), (10_000, 20_000), (u32::MAX, 425_984)] {
            options.set(SNDBUF, &u32::to_le_bytes(asked), false).unwrap();
            assert_eq!(options.send_buffer(), got);
        }
        assert_eq!(options.set(SNDBUFFORCE, &[0; 4], false), Err(Errno::EPERM));
    }

    #[test]
    fn a_time_limit_of_nothing_is_none_and_a_negative_one_is_over() {
        let time = |sec: i64, usec: i64| [sec.to_le_bytes(), usec.to_le_bytes()].concat();
        assert_eq!(time_limit(&time(0, 0)), Ok(0));
        assert_eq!(time_limit(&time(1, 5)), Ok(1_000_005_000));
        assert_eq!(time_limit(&time(-1, 0)), Ok(1));
        assert_eq!(time_limit(&time(0, 1_000_000)), Err(Errno::EDOM));
    }
}
