//! Internet sockets: tcp(7), udp(7), over ip(7) and ipv6(7).
//!
//! TCP goes through the stack. A datagram to ourselves goes straight into the socket it is for, chosen as Linux chooses.

pub mod address;
mod options;
mod ports;
pub mod stack;
mod table;
mod tcp;
mod udp;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::SocketAddr;

use aurora_abi::Errno;
use smoltcp::iface::SocketHandle;

use crate::Kernel;
use crate::memory::account::Charge;
use crate::memory::{IoBuf, IoError};
use crate::net::inet::address::{AF_INET, AF_INET6, encode, is_local, parse};
use crate::net::options::Options;
use crate::net::socket::{Ancillary, Caller, MessageFlags, Received, Shutdown, Socket, SocketKind};
use crate::security::may_bind_port;
use crate::sync::{Mutex, WaitQueue};
use crate::vfs::Events;

pub use table::{statistics, tcp as tcp_table, tcp6 as tcp6_table, udp as udp_table, udp6 as udp6_table};

/// Kernel heap a socket is charged.
const SOCKET_COST: u64 = 1024;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;

/// An internet socket.
pub struct InetSocket {
    this: Weak<Self>,
    kernel: Arc<Kernel>,
    version6: bool,
    kind: SocketKind,
    options: Options,
    state: Mutex<State>,
    changed: WaitQueue,
    number: u64,
    /// Who made it, for ports that are shared.
    user: u32,
    _charge: Charge,
}

#[derive(Default)]
struct State {
    local: Option<SocketAddr>,
    /// The program chose the address, and the port.
    bound: bool,
    remote: Option<SocketAddr>,
    stage: Stage,
    connection: Option<SocketHandle>,
    error: Option<Errno>,
    receive_shut: bool,
    send_shut: bool,
    only_version6: bool,
    /// For who listens: connections being opened, those that are, and how many there may be.
    pending: Vec<Arc<InetSocket>>,
    waiting: VecDeque<Arc<InetSocket>>,
    backlog: usize,
    /// For who was connected to: who listened.
    listener: Weak<InetSocket>,
    datagrams: VecDeque<udp::Datagram>,
    datagram_bytes: usize,
    /// Options of its own levels.
    values: BTreeMap<(u32, u32), u32>,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    Listening,
    Connecting,
    /// Or was: what is left can be read.
    Connected,
    /// A datagram socket with somebody to talk to.
    Associated,
}

impl InetSocket {
    /// A new socket; `EPROTONOSUPPORT` and the like if there is none of that type.
    pub fn new(kernel: &Arc<Kernel>, version6: bool, kind: u32, protocol: u32, user: u32) -> Result<Arc<Self>, Errno> {
        let kind = match (kind, protocol) {
            (1, 0 | IPPROTO_TCP) => SocketKind::Stream,
            (2, 0 | IPPROTO_UDP) => SocketKind::Datagram,
            (1..=3, _) => return Err(Errno::EPROTONOSUPPORT),
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        };
        Self::make(kernel, version6, kind, user)
    }

    fn make(kernel: &Arc<Kernel>, version6: bool, kind: SocketKind, user: u32) -> Result<Arc<Self>, Errno> {
        let charge = kernel.memory.charge(SOCKET_COST).map_err(|_| Errno::ENOBUFS)?;
        let socket = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            kernel: kernel.clone(),
            version6,
            kind,
            options: Options::default(),
            state: Mutex::default(),
            changed: WaitQueue::new(),
            number: kernel.next_dev.fetch_add(1, core::sync::atomic::Ordering::Relaxed),
            user,
            _charge: charge,
        });
        kernel.network.stack.add(&socket);
        Ok(socket)
    }

    fn me(&self) -> Result<Arc<Self>, Errno> {
        self.this.upgrade().ok_or(Errno::EBADF)
    }

    /// Whether a packet of version 4 is for it too: it has any address of version 6.
    fn is_dual(&self, state: &State) -> bool {
        self.version6 && !state.only_version6
    }

    /// Where something goes, if this socket may send there.
    fn target(&self, bytes: &[u8]) -> Result<SocketAddr, Errno> {
        let to = address::destination(parse(bytes, self.version6)?);
        let state = self.state.lock();
        if self.version6 && to.is_ipv4() && state.only_version6 {
            return Err(Errno::ENETUNREACH);
        }
        if let Some(local) = state.local
            && !local.ip().is_unspecified()
            && local.is_ipv4() != to.is_ipv4()
        {
            return Err(Errno::ENETUNREACH);
        }
        // There is no other interface than the one to ourselves.
        if is_local(to.ip()) { Ok(to) } else { Err(Errno::ENETUNREACH) }
    }
}

impl Socket for InetSocket {
    fn domain(&self) -> u16 {
        if self.version6 { AF_INET6 } else { AF_INET }
    }
    fn kind(&self) -> SocketKind {
        self.kind
    }
    fn protocol(&self) -> u32 {
        if self.kind == SocketKind::Stream { IPPROTO_TCP } else { IPPROTO_UDP }
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn queue(&self) -> &WaitQueue {
        &self.changed
    }
    fn peer_credentials(&self) -> [u32; 3] {
        [0, u32::MAX, u32::MAX]
    }
    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }
    fn listens(&self) -> bool {
        self.state.lock().stage == Stage::Listening
    }
    fn readiness(&self) -> Events {
        if self.kind == SocketKind::Stream { self.stream_readiness() } else { self.datagram_readiness() }
    }

    fn local(&self) -> Result<Vec<u8>, Errno> {
        let local = self.state.lock().local;
        Ok(encode(local.unwrap_or_else(|| SocketAddr::new(address::any(self.version6), 0)), self.version6))
    }

    fn remote(&self) -> Result<Vec<u8>, Errno> {
        let state = self.state.lock();
        let connected = matches!(state.stage, Stage::Connected | Stage::Associated);
        let gone = self.kind == SocketKind::Stream && state.connection.is_none();
        let remote = state.remote.filter(|_| connected && !gone).ok_or(Errno::ENOTCONN)?;
        drop(state);
        if self.kind == SocketKind::Stream && self.is_over() {
            return Err(Errno::ENOTCONN);
        }
        Ok(encode(remote, self.version6))
    }

    fn bind(&self, caller: &Caller, bytes: &[u8]) -> Result<(), Errno> {
        let local = parse(bytes, self.version6)?;
        if !local.ip().is_unspecified() && !is_local(local.ip()) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if self.version6 && local.is_ipv4() && self.state.lock().only_version6 {
            return Err(Errno::EINVAL);
        }
        if (1..1024).contains(&local.port()) {
            let process = self.kernel.current().and_then(|(pid, _)| self.kernel.processes.process(pid));
            let allowed = process.is_some_and(|p| may_bind_port(&p.capabilities, local.port()).is_ok());
            if !caller.root || !allowed {
                return Err(Errno::EACCES);
            }
        }
        if self.state.lock().local.is_some() {
            return Err(Errno::EINVAL);
        }
        self.take_port(local)?;
        self.state.lock().bound = true;
        Ok(())
    }

    fn connect(&self, _: &Caller, bytes: &[u8], first: bool) -> Result<(), IoError> {
        if bytes.get(..2).ok_or(Errno::EINVAL)? == [0, 0] {
            return Ok(self.disconnect()?);
        }
        if self.kind == SocketKind::Stream { self.connect_stream(bytes, first) } else { Ok(self.associate(bytes)?) }
    }

    fn listen(&self, _: &Caller, backlog: u32) -> Result<(), Errno> {
        self.listen_stream(backlog)
    }

    fn accept(&self) -> Result<Arc<dyn Socket>, IoError> {
        self.accept_stream()
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        if self.kind == SocketKind::Stream {
            return self.shutdown_stream(how);
        }
        let mut state = self.state.lock();
        state.receive_shut |= how.receive;
        state.send_shut |= how.send;
        let connected = state.remote.is_some();
        drop(state);
        self.changed.wake_all();
        if connected { Ok(()) } else { Err(Errno::ENOTCONN) }
    }

    fn send(
        &self,
        _: &Caller,
        to: Option<&[u8]>,
        data: &mut IoBuf<'_>,
        _: &mut Ancillary,
        flags: MessageFlags,
    ) -> Result<usize, IoError> {
        // Urgent data is a byte out of order, which the stack does not know.
        if flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        if self.kind == SocketKind::Stream { self.send_stream(data) } else { self.send_datagram(to, data) }
    }

    fn receive(&self, out: &mut IoBuf<'_>, flags: MessageFlags) -> Result<Received, IoError> {
        match (self.kind, flags.contains(MessageFlags::OOB)) {
            (SocketKind::Stream, true) => Err(Errno::EINVAL.into()),
            (_, true) => Err(Errno::EOPNOTSUPP.into()),
            (SocketKind::Stream, false) => self.receive_stream(out, flags),
            (_, false) => self.receive_datagram(out, flags),
        }
    }

    fn get_option(&self, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
        self.own_option(level, name)
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        self.set_own_option(level, name, value)
    }

    fn queued(&self) -> Result<usize, Errno> {
        if self.kind == SocketKind::Stream {
            return self.bytes_waiting(true);
        }
        Ok(self.state.lock().datagrams.front().map_or(0, |d| d.data.len()))
    }

    fn unsent(&self) -> Result<usize, Errno> {
        if self.kind == SocketKind::Stream { self.bytes_waiting(false) } else { Ok(0) }
    }

    fn close(&self) {
        if self.kind == SocketKind::Stream {
            self.close_stream();
        }
        let mut state = self.state.lock();
        state.local = None;
        state.stage = Stage::Open;
        let gone = core::mem::take(&mut state.datagrams);
        drop(state);
        drop(gone);
    }
}
