//! Ports: who has which, and choosing one.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use aurora_abi::Errno;

use crate::net::inet::address::overlap;
use crate::net::inet::stack::{Stack, TimeWait};
use crate::net::inet::{InetSocket, Stage};
use crate::net::options::{REUSEADDR, REUSEPORT};
use crate::net::socket::SocketKind;

/// Ports the system chooses from: `net.ipv4.ip_local_port_range`.
const FIRST: u16 = 32768;
const COUNT: u16 = 28232;

impl InetSocket {
    /// Takes an address, and a port of the system's choice if it says none; `EADDRINUSE` if it is not free.
    pub(super) fn take_port(&self, local: SocketAddr) -> Result<(), Errno> {
        let chosen = match local.port() {
            0 => self.free_port(local.ip())?,
            port if self.conflicts(SocketAddr::new(local.ip(), port)) => return Err(Errno::EADDRINUSE),
            port => port,
        };
        self.state.lock().local = Some(SocketAddr::new(local.ip(), chosen));
        Ok(())
    }

    fn free_port(&self, ip: IpAddr) -> Result<u16, Errno> {
        let mut random = [0; 2];
        self.kernel.machine.entropy(&mut random);
        let start = u16::from_le_bytes(random) % COUNT;
        let ports = (0..COUNT).map(|i| FIRST + (start + i) % COUNT);
        let taken = |port: u16| {
            let others = self.kernel.network.stack.sockets();
            others.iter().any(|s| s.kind == self.kind && s.state.lock().local.is_some_and(|l| l.port() == port))
                || self.time_wait().iter().any(|wait| wait.local.port() == port)
        };
        let _ = ip;
        ports.into_iter().find(|&port| !taken(port)).ok_or(Errno::EADDRINUSE)
    }

    /// Addresses its kind keeps for a while.
    fn time_wait(&self) -> Vec<TimeWait> {
        match self.kind {
            SocketKind::Stream => self.kernel.network.stack.time_wait(self.kernel.machine.now()),
            _ => Vec::new(),
        }
    }

    /// Whether another socket has the address, or had it just now, and does not share it.
    pub(super) fn conflicts(&self, local: SocketAddr) -> bool {
        let dual = self.is_dual(&self.state.lock());
        let (address, port) = (self.options.is_on(REUSEADDR), self.options.is_on(REUSEPORT));
        let kept = self.time_wait().into_iter().any(|wait| {
            let same = wait.local.port() == local.port() && overlap(local.ip(), dual, wait.local.ip(), false);
            same && !(address && wait.shares)
        });
        kept || self.kernel.network.stack.sockets().iter().any(|other| {
            if core::ptr::eq(&**other, self) || other.kind != self.kind {
                return false;
            }
            let state = other.state.lock();
            let Some(theirs) = state.local.filter(|t| t.port() == local.port()) else { return false };
            if !overlap(local.ip(), dual, theirs.ip(), other.is_dual(&state)) {
                return false;
            }
            let listens = self.kind == SocketKind::Stream && state.stage == Stage::Listening;
            let by_address = address && other.options.is_on(REUSEADDR) && !listens;
            let by_port = port && other.options.is_on(REUSEPORT) && other.user == self.user;
            !(by_address || by_port)
        })
    }
}

impl Stack {
    /// Who listens for connections to an address: the one that says it most exactly.
    pub fn listener(&self, to: SocketAddr) -> Option<Arc<InetSocket>> {
        let listening = |s: &Arc<InetSocket>| s.kind == SocketKind::Stream && s.state.lock().stage == Stage::Listening;
        let all = self.sockets().into_iter().filter(listening);
        all.filter_map(|s| Some((s.fits(to)?, s))).max_by_key(|(score, _)| *score).map(|(_, s)| s)
    }

    /// Which datagram socket takes what comes `from` somewhere `to` an address of ours.
    pub fn datagram_socket(&self, from: SocketAddr, to: SocketAddr) -> Option<Arc<InetSocket>> {
        let all = self.sockets().into_iter().filter(|s| s.kind == SocketKind::Datagram);
        let fit = |s: Arc<InetSocket>| {
            let score = s.fits(to)?;
            let remote = s.state.lock().remote;
            match remote {
                None => Some((score, s)),
                Some(remote) => (remote == from).then_some((score + 4, s)),
            }
        };
        // Of several that are alike, the last that came.
        all.filter_map(fit).max_by_key(|(score, _)| *score).map(|(_, s)| s)
    }
}

impl InetSocket {
    /// How exactly it is bound to an address; none if it is not.
    fn fits(&self, to: SocketAddr) -> Option<u32> {
        let state = self.state.lock();
        let local = state.local.filter(|l| l.port() == to.port())?;
        match (local.ip(), to.ip()) {
            (mine, theirs) if mine == theirs => Some(3),
            (mine, _) if !mine.is_unspecified() => None,
            (mine, theirs) if mine.is_ipv4() == theirs.is_ipv4() => Some(2),
            (IpAddr::V6(_), IpAddr::V4(_)) if self.is_dual(&state) => Some(1),
            _ => None,
        }
    }
}
