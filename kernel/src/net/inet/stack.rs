//! The TCP/IP stack: smoltcp over a loopback interface, and who owns which of its connections.
//!
//! smoltcp has connections, Linux has sockets that listen: a packet that opens a connection is looked at before it goes in,
//! and where somebody listens and has room a fresh connection is put in its way. Without room the packet is dropped, and the
//! other side tries again, as on Linux. Everything happens under the stack's lock; a socket's own lock is taken inside.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::task::Waker;

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{self, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{
    HardwareAddress, IpCidr, IpEndpoint, IpListenEndpoint, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket,
};

use aurora_abi::Errno;
use aurora_machine::Instant;

use crate::Kernel;
use crate::memory::account::Charge;
use crate::net::inet::InetSocket;
use crate::net::options::REUSEADDR;
use crate::sync::Mutex;
use crate::task::timer::TimerKey;

/// Bytes each way a connection holds.
pub const BUFFER: usize = 64 * 1024;
/// Kernel heap a connection is charged.
const CONNECTION_COST: u64 = 2 * BUFFER as u64 + 2048;
/// The largest packet of the loopback interface.
const MTU: usize = 65535;
/// Packets on their way at most: beyond that they are dropped, as a full queue does.
const MAX_PACKETS: usize = 4096;

/// Packets from ourselves to ourselves.
#[derive(Default)]
struct Loopback {
    packets: VecDeque<Vec<u8>>,
}

struct Arrived(Vec<u8>);
struct Leaving<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = alloc::vec![0; len];
        let result = f(&mut packet);
        if self.0.len() < MAX_PACKETS {
            self.0.push_back(packet);
        }
        result
    }
}

impl Device for Loopback {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: StackInstant) -> Option<(Arrived, Leaving<'_>)> {
        let packet = self.packets.pop_front()?;
        Some((Arrived(packet), Leaving(&mut self.packets)))
    }
    fn transmit(&mut self, _: StackInstant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.packets))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities
    }
}

/// The stack of a system, made when the first connection needs it.
#[derive(Default)]
pub struct Stack {
    inner: Mutex<Option<Inner>>,
    /// Internet sockets, for look-ups by port.
    sockets: Mutex<Vec<Weak<InetSocket>>>,
}

/// How long an end that closed first keeps its addresses: `TCP_TIMEWAIT_LEN`.
const TIME_WAIT_NS: u64 = 60_000_000_000;
/// Most that are kept; as in Linux beyond `tcp_max_tw_buckets`, others are forgotten at once.
const MAX_TIME_WAIT: usize = 4096;

/// The end of a connection that closed first. The stack is done with it: an interface without latency has no late packets.
/// What is left is that its address is in use.
#[derive(Clone, Copy, Debug)]
pub struct TimeWait {
    /// Its address.
    pub local: SocketAddr,
    /// The other end's.
    pub remote: SocketAddr,
    /// It had `SO_REUSEADDR`.
    pub shares: bool,
    until: Instant,
}

/// What the lock guards.
pub struct Inner {
    /// In order of their ends.
    time_wait: VecDeque<TimeWait>,
    kernel: Weak<Kernel>,
    interface: Interface,
    device: Loopback,
    set: SocketSet<'static>,
    connections: Vec<Connection>,
    timer: Option<TimerKey>,
}

/// A connection of the stack.
struct Connection {
    handle: SocketHandle,
    /// Whose it is; nobody's when closed and not over yet.
    owner: Weak<InetSocket>,
    orphan: bool,
    /// Its socket had `SO_REUSEADDR` when it was closed.
    shares: bool,
    last: Seen,
    _charge: Charge,
}

/// What was last seen of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    state: tcp::State,
    received: usize,
    unsent: usize,
    may_receive: bool,
}

/// Wakes the stack when something must be sent again.
struct Alarm(Weak<Kernel>);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if let Some(kernel) = self.0.upgrade() {
            kernel.network.stack.with(&kernel, |_| {});
        }
    }
}

impl Stack {
    /// Does something with the stack, then lets packets run until none is left.
    pub fn with<T>(&self, kernel: &Arc<Kernel>, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock();
        let inner = inner.get_or_insert_with(|| Inner::new(kernel));
        let result = act(inner);
        inner.run(kernel);
        result
    }

    /// Looks at the stack, which changes nothing.
    pub fn look<T>(&self, kernel: &Arc<Kernel>, look: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock();
        look(inner.get_or_insert_with(|| Inner::new(kernel)))
    }

    /// Addresses of connections that are over and whose time is not.
    pub fn time_wait(&self, now: Instant) -> Vec<TimeWait> {
        let inner = self.inner.lock();
        inner.iter().flat_map(|inner| &inner.time_wait).filter(|wait| wait.until > now).copied().collect()
    }

    /// Lists a new socket.
    pub fn add(&self, socket: &Arc<InetSocket>) {
        let mut sockets = self.sockets.lock();
        if sockets.len().is_multiple_of(64) {
            sockets.retain(|s| s.strong_count() > 0);
        }
        sockets.push(Arc::downgrade(socket));
    }

    /// All sockets there are.
    pub fn sockets(&self) -> Vec<Arc<InetSocket>> {
        self.sockets.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

fn endpoint(address: SocketAddr) -> IpEndpoint {
    IpEndpoint { addr: address.ip().into(), port: address.port() }
}

/// A stack's address as we write it.
pub fn address(endpoint: IpEndpoint) -> SocketAddr {
    SocketAddr::new(endpoint.addr.into(), endpoint.port)
}

impl Inner {
    fn new(kernel: &Arc<Kernel>) -> Self {
        let mut device = Loopback::default();
        let mut config = Config::new(HardwareAddress::Ip);
        let mut seed = [0; 8];
        kernel.machine.entropy(&mut seed);
        config.random_seed = u64::from_le_bytes(seed);
        let mut interface = Interface::new(config, &mut device, StackInstant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // There is room for two.
            let _ = addresses.push(IpCidr::new(IpAddr::V4(Ipv4Addr::LOCALHOST).into(), 8));
            let _ = addresses.push(IpCidr::new(IpAddr::V6(Ipv6Addr::LOCALHOST).into(), 128));
        });
        // All of 127.0.0.0/8 is this machine.
        interface.set_any_ip(true);
        let _ = interface.routes_mut().add_default_ipv4_route(Ipv4Addr::LOCALHOST);
        Self {
            time_wait: VecDeque::new(),
            kernel: Arc::downgrade(kernel),
            interface,
            device,
            set: SocketSet::new(Vec::new()),
            connections: Vec::new(),
            timer: None,
        }
    }

    fn socket(kernel: &Kernel) -> Result<(tcp::Socket<'static>, Charge), Errno> {
        let charge = kernel.memory.clone().charge(CONNECTION_COST).map_err(|_| Errno::ENOBUFS)?;
        let buffer = || tcp::SocketBuffer::new(alloc::vec![0; BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        // On an interface without latency, waiting for more to send or acknowledge only costs.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        Ok((socket, charge))
    }

    fn adopt(&mut self, socket: tcp::Socket<'static>, owner: &Arc<InetSocket>, charge: Charge) -> SocketHandle {
        let last = seen(&socket);
        let handle = self.set.add(socket);
        let owner = Arc::downgrade(owner);
        self.connections.push(Connection { handle, owner, orphan: false, shares: false, last, _charge: charge });
        handle
    }

    /// Begins a connection.
    pub fn connect(
        &mut self,
        kernel: &Kernel,
        owner: &Arc<InetSocket>,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<SocketHandle, Errno> {
        let (mut socket, charge) = Self::socket(kernel)?;
        let begun = socket.connect(self.interface.context(), endpoint(remote), endpoint(local));
        begun.map_err(|_| Errno::ENETUNREACH)?;
        Ok(self.adopt(socket, owner, charge))
    }

    /// A connection.
    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.set.get_mut(handle)
    }

    /// Its socket is closed. With `reset` the other side learns that data was lost; else it goes on until all is sent.
    pub fn release(&mut self, handle: SocketHandle, reset: bool) {
        let socket = self.set.get_mut::<tcp::Socket<'_>>(handle);
        if reset {
            socket.abort()
        } else {
            socket.close()
        }
        if let Some(connection) = self.connections.iter_mut().find(|c| c.handle == handle) {
            connection.orphan = true;
            connection.shares = connection.owner.upgrade().is_some_and(|owner| owner.options.is_on(REUSEADDR));
        }
    }

    /// Lets packets run until none is left, and arms the timer for what must be sent later.
    fn run(&mut self, kernel: &Arc<Kernel>) {
        let now = kernel.machine.now();
        let time = StackInstant::from_micros(i64::try_from(now.0 / 1000).unwrap_or(i64::MAX));
        loop {
            let mut busy = false;
            while let Some(packet) = self.device.packets.front() {
                busy = true;
                let opening = opening(packet);
                if opening.is_some_and(|(from, to)| !self.admit(kernel, from, to)) {
                    self.device.packets.pop_front();
                    continue;
                }
                self.interface.poll_ingress_single(time, &mut self.device, &mut self.set);
            }
            let sent = self.interface.poll_egress(time, &mut self.device, &mut self.set);
            let changed = self.settle(now);
            if !busy && !changed && sent == PollResult::None && self.device.packets.is_empty() {
                break;
            }
        }
        self.arm(kernel, now, time);
    }

    fn arm(&mut self, kernel: &Arc<Kernel>, now: Instant, time: StackInstant) {
        if let Some(key) = self.timer.take() {
            kernel.timers.disarm(key);
        }
        if let Some(delay) = self.interface.poll_delay(time, &self.set) {
            // At least a little later: what could be done now was.
            let later = now + (delay.total_micros() * 1000).max(1_000_000);
            let waker = Waker::from(Arc::new(Alarm(self.kernel.clone())));
            self.timer = Some(kernel.timers.arm(later, waker));
        }
    }

    /// A connection is being opened: puts a fresh one in its way if somebody listens. Returns whether the packet goes in.
    fn admit(&mut self, kernel: &Arc<Kernel>, from: SocketAddr, to: SocketAddr) -> bool {
        let pair = (Some(endpoint(to)), Some(endpoint(from)));
        let known = self.connections.iter().any(|c| {
            let socket = self.set.get::<tcp::Socket<'_>>(c.handle);
            (socket.local_endpoint(), socket.remote_endpoint()) == pair
        });
        if known {
            return true;
        }
        // Nobody listens: the stack refuses.
        let Some(listener) = kernel.network.stack.listener(to) else { return true };
        if !listener.has_room() {
            return false;
        }
        let Ok((mut socket, charge)) = Self::socket(kernel) else { return false };
        let place = IpListenEndpoint { addr: Some(to.ip().into()), port: to.port() };
        if socket.listen(place).is_err() {
            return false;
        }
        let Ok(child) = InetSocket::child(kernel, &listener, to, from) else { return false };
        let handle = self.adopt(socket, &child, charge);
        child.set_connection(handle);
        listener.add_pending(child);
        true
    }

    /// Tells sockets what changed, and forgets connections that are over.
    fn settle(&mut self, time: Instant) -> bool {
        let mut changed = false;
        let mut over = Vec::new();
        for connection in &mut self.connections {
            let socket = self.set.get_mut::<tcp::Socket<'_>>(connection.handle);
            let now = seen(socket);
            if connection.orphan {
                if socket.can_recv() && now.state != tcp::State::Closed {
                    // Nobody will ever read this.
                    socket.abort();
                    changed = true;
                }
                if matches!(now.state, tcp::State::Closed | tcp::State::TimeWait) {
                    over.push(connection.handle);
                }
                continue;
            }
            let Some(owner) = connection.owner.upgrade() else {
                // It never came about, or was never accepted.
                socket.abort();
                connection.orphan = true;
                changed = true;
                continue;
            };
            if now != connection.last {
                let before = core::mem::replace(&mut connection.last, now);
                owner.connection_changed(before.state, now.state);
                changed = true;
            }
        }
        // A reset is sent before its connection is forgotten.
        over.retain(|handle| {
            self.set.get::<tcp::Socket<'_>>(*handle).remote_endpoint().is_none() || {
                self.set.get::<tcp::Socket<'_>>(*handle).state() == tcp::State::TimeWait
            }
        });
        for handle in over {
            self.remember(handle, time);
            self.connections.retain(|c| c.handle != handle);
            drop(self.set.remove(handle));
        }
        changed
    }

    /// Keeps the address of a connection that is over, if it closed first.
    fn remember(&mut self, handle: SocketHandle, now: Instant) {
        while self.time_wait.front().is_some_and(|wait| wait.until <= now) {
            self.time_wait.pop_front();
        }
        let socket = self.set.get::<tcp::Socket<'_>>(handle);
        let shares = self.connections.iter().find(|c| c.handle == handle).is_some_and(|c| c.shares);
        if let (tcp::State::TimeWait, Some(local), Some(remote)) =
            (socket.state(), socket.local_endpoint(), socket.remote_endpoint())
            && self.time_wait.len() < MAX_TIME_WAIT
        {
            let until = now + TIME_WAIT_NS;
            self.time_wait.push_back(TimeWait { local: address(local), remote: address(remote), shares, until });
        }
    }
}

fn seen(socket: &tcp::Socket<'_>) -> Seen {
    Seen {
        state: socket.state(),
        received: socket.recv_queue(),
        unsent: socket.send_queue(),
        may_receive: socket.may_recv(),
    }
}

/// The ends of a connection a packet opens; none for other packets.
fn opening(packet: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let opens = |payload: &[u8]| {
        let tcp = TcpPacket::new_checked(payload).ok()?;
        (tcp.syn() && !tcp.ack()).then(|| (tcp.src_port(), tcp.dst_port()))
    };
    match packet.first()? >> 4 {
        4 => {
            let ip = Ipv4Packet::new_checked(packet).ok()?;
            let (from, to) = (ip.next_header() == IpProtocol::Tcp).then(|| opens(ip.payload())).flatten()?;
            Some((SocketAddr::new(ip.src_addr().into(), from), SocketAddr::new(ip.dst_addr().into(), to)))
        }
        6 => {
            let ip = Ipv6Packet::new_checked(packet).ok()?;
            let (from, to) = (ip.next_header() == IpProtocol::Tcp).then(|| opens(ip.payload())).flatten()?;
            Some((SocketAddr::new(ip.src_addr().into(), from), SocketAddr::new(ip.dst_addr().into(), to)))
        }
        _ => None,
    }
}
