//! Options of internet sockets: ip(7), ipv6(7), tcp(7), udp(7).

use alloc::vec::Vec;

use aurora_abi::{Abi, Errno};
use smoltcp::time::Duration;

use crate::net::inet::InetSocket;
use crate::net::socket::SocketKind;

const IP: u32 = 0;
const TCP: u32 = 6;
const UDP: u32 = 17;
const IPV6: u32 = 41;
const IPV6_V6ONLY: u32 = 26;

/// An option that is a number: level, name, what it is at first, and the least and the most it can be.
type Number = (u32, u32, u32, i32, i32);

/// Those that say how packets of networks are made change nothing between ourselves; they are kept as on Linux's loopback.
const NUMBERS: &[Number] = &[
    // TOS, TTL, RECVOPTS, MTU_DISCOVER, RECVERR, RECVTTL, RECVTOS, FREEBIND, BIND_ADDRESS_NO_PORT, multicast TTL and LOOP.
    (IP, 1, 0, 0, 255),
    (IP, 2, 64, 1, 255),
    (IP, 6, 0, 0, 1),
    (IP, 10, 1, 0, 5),
    (IP, 11, 0, 0, 1),
    (IP, 12, 0, 0, 1),
    (IP, 13, 0, 0, 1),
    (IP, 15, 0, 0, 1),
    (IP, 24, 0, 0, 1),
    (IP, 33, 1, 0, 255),
    (IP, 34, 1, 0, 1),
    // NODELAY, MAXSEG, CORK, KEEPIDLE, KEEPINTVL, KEEPCNT, SYNCNT, LINGER2, DEFER_ACCEPT, QUICKACK, USER_TIMEOUT.
    (TCP, 1, 0, 0, i32::MAX),
    (TCP, 2, 536, 88, 32767),
    (TCP, 3, 0, 0, i32::MAX),
    (TCP, 4, 7200, 1, 32767),
    (TCP, 5, 75, 1, 32767),
    (TCP, 6, 9, 1, 127),
    (TCP, 7, 6, 1, 127),
    (TCP, 8, 60, i32::MIN, 120),
    (TCP, 9, 0, 0, i32::MAX),
    (TCP, 12, 1, 0, i32::MAX),
    (TCP, 18, 0, 0, i32::MAX),
    // UNICAST_HOPS, MULTICAST_HOPS, MULTICAST_LOOP, MTU_DISCOVER, RECVERR, TCLASS.
    (IPV6, 16, 64, -1, 255),
    (IPV6, 18, 1, -1, 255),
    (IPV6, 19, 1, 0, 1),
    (IPV6, 23, 1, 0, 5),
    (IPV6, 25, 0, 0, 1),
    (IPV6, 67, 0, -1, 255),
];

/// Options that are on or off whatever number is given.
const SWITCHES: [(u32, u32); 8] = [(IP, 6), (IP, 11), (IP, 12), (IP, 13), (IP, 15), (IP, 24), (TCP, 1), (TCP, 3)];

impl InetSocket {
    fn number(&self, level: u32, name: u32) -> Result<&'static Number, Errno> {
        let of_kind = match level {
            TCP => self.kind == SocketKind::Stream,
            UDP => self.kind == SocketKind::Datagram,
            IPV6 => self.version6,
            IP => true,
            _ => false,
        };
        if !of_kind {
            return Err(Errno::ENOPROTOOPT);
        }
        NUMBERS.iter().find(|(l, n, ..)| (*l, *n) == (level, name)).ok_or(Errno::ENOPROTOOPT)
    }

    pub(super) fn own_option(&self, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
        let int = |value: u32| Ok(value.to_le_bytes().to_vec());
        if self.version6 && (level, name) == (IPV6, IPV6_V6ONLY) {
            return int(u32::from(self.state.lock().only_version6));
        }
        let (_, _, first, ..) = self.number(level, name)?;
        int(self.state.lock().values.get(&(level, name)).copied().unwrap_or(*first))
    }

    pub(super) fn set_own_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        if value.is_empty() {
            return Err(Errno::EINVAL);
        }
        // A byte will do at the level of IP.
        let value = if level == IP && value.len() < 4 {
            value.first().copied().map_or(0, u32::from)
        } else if value.len() < 4 {
            return Err(Errno::EINVAL);
        } else {
            u32::load(value)
        };
        if self.version6 && (level, name) == (IPV6, IPV6_V6ONLY) {
            let mut state = self.state.lock();
            if state.local.is_some() {
                return Err(Errno::EINVAL);
            }
            state.only_version6 = value != 0;
            return Ok(());
        }
        let (_, _, _, least, most) = self.number(level, name)?;
        let value = if SWITCHES.contains(&(level, name)) { u32::from(value != 0) } else { value };
        if !(*least..=*most).contains(&value.cast_signed()) {
            return Err(Errno::EINVAL);
        }
        self.state.lock().values.insert((level, name), value);
        self.apply(level, name, value);
        Ok(())
    }

    /// What the stack has to know.
    fn apply(&self, level: u32, name: u32, value: u32) {
        let handle = self.state.lock().connection;
        let (Some(handle), (TCP, 18)) = (handle, (level, name)) else { return };
        let limit = (value > 0).then(|| Duration::from_millis(u64::from(value)));
        self.kernel.network.stack.with(&self.kernel, |stack| stack.tcp(handle).set_timeout(limit));
    }
}
