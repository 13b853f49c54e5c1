//! Unix sockets, unix(7).
//!
//! A socket has an inbox of messages; a stream is one whose messages run into one another. What always holds: no lock of a
//! socket is taken while another socket's is held, and a message is paid for as long as it waits.

pub mod flight;
mod inbox;
pub mod names;
mod transfer;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use aurora_abi::Errno;

use crate::Kernel;
use crate::memory::account::Charge;
use crate::memory::{IoBuf, IoError};
use crate::net::options::{Options, PASSCRED};
use crate::net::socket::{Ancillary, Caller, MessageFlags, Received, Shutdown, Socket, SocketKind};
use crate::net::unix::inbox::Inbox;
use crate::net::unix::names::{AF_UNIX, Name};
use crate::sync::{Mutex, WaitQueue};
use crate::vfs::{Events, OpenFile};

/// Kernel heap a socket is charged.
const SOCKET_COST: u64 = 1024;
/// Messages a datagram socket takes from those it does not talk to: `net.unix.max_dgram_qlen`.
const MAX_DATAGRAMS: usize = 10;
/// The longest queue of connections: `net.core.somaxconn`.
const SOMAXCONN: u32 = 4096;

/// A unix socket.
pub struct UnixSocket {
    this: Weak<Self>,
    kernel: Arc<Kernel>,
    kind: SocketKind,
    options: Options,
    state: Mutex<State>,
    /// Woken when anything changes.
    changed: WaitQueue,
    number: u64,
    _charge: Charge,
}

struct State {
    name: Option<Name>,
    stage: Stage,
    /// The other end of a connection, or where datagrams go.
    peer: Option<Weak<UnixSocket>>,
    inbox: Inbox,
    receive_shut: bool,
    send_shut: bool,
    closed: bool,
    error: Option<Errno>,
    /// Who is at the other end: process, user, group.
    peer_credentials: [u32; 3],
    /// Connections that wait to be accepted, and how many may.
    waiting: VecDeque<Arc<UnixSocket>>,
    backlog: u32,
    /// Sockets that found no room here, told when there is.
    blocked: Vec<Weak<UnixSocket>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Listening,
    Connected,
}

impl UnixSocket {
    /// A socket without a name.
    pub fn new(kernel: &Arc<Kernel>, kind: SocketKind) -> Result<Arc<Self>, Errno> {
        let charge = kernel.memory.charge(SOCKET_COST).map_err(|_| Errno::ENOBUFS)?;
        let socket = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            kernel: kernel.clone(),
            kind,
            options: Options::default(),
            state: Mutex::new(State {
                name: None,
                stage: Stage::Open,
                peer: None,
                inbox: Inbox::default(),
                receive_shut: false,
                send_shut: false,
                closed: false,
                error: None,
                peer_credentials: [0, u32::MAX, u32::MAX],
                waiting: VecDeque::new(),
                backlog: 0,
                blocked: Vec::new(),
            }),
            changed: WaitQueue::new(),
            number: kernel.next_dev.fetch_add(1, core::sync::atomic::Ordering::Relaxed),
            _charge: charge,
        });
        kernel.network.unix.add(&socket);
        Ok(socket)
    }

    /// Connects two new sockets, socketpair(2).
    pub fn join(self: &Arc<Self>, other: &Arc<Self>, credentials: [u32; 3]) {
        for (socket, peer) in [(self, other), (other, self)] {
            let mut state = socket.state.lock();
            state.peer = Some(Arc::downgrade(peer));
            state.stage = if socket.kind == SocketKind::Datagram { Stage::Open } else { Stage::Connected };
            state.peer_credentials = credentials;
        }
    }

    fn peer(&self) -> Option<Arc<Self>> {
        self.state.lock().peer.as_ref()?.upgrade()
    }

    /// Whether it has no name yet; `EINVAL` if it has.
    pub fn may_bind(&self) -> Result<(), Errno> {
        if self.state.lock().name.is_some() { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// It has this name now; the name's owner has registered it.
    pub fn set_name(&self, name: Name) {
        self.state.lock().name = Some(name);
    }

    /// Chooses a name for a socket without one.
    pub fn autobind(self: &Arc<Self>) -> Result<(), Errno> {
        if self.state.lock().name.is_some() {
            return Ok(());
        }
        let name = self.kernel.network.unix.autobind(self)?;
        self.set_name(name);
        Ok(())
    }

    /// Whether messages carry who sent them, so that the sender should have a name.
    pub fn passes_credentials(&self) -> bool {
        self.options.is_on(PASSCRED)
    }

    /// Connects to `other`; `first` is false when it was waited for.
    pub fn connect_to(self: &Arc<Self>, other: Option<Arc<Self>>, caller: &Caller) -> Result<(), IoError> {
        let Some(other) = other else { return Err(Errno::ECONNREFUSED.into()) };
        if other.kind != self.kind {
            return Err(Errno::EPROTOTYPE.into());
        }
        if self.kind == SocketKind::Datagram {
            self.connect_datagrams(&other)
        } else {
            self.connect_stream(&other, caller)
        }
    }

    /// Sends datagrams wherever they say again.
    pub fn disconnect(&self) -> Result<(), Errno> {
        if self.kind != SocketKind::Datagram {
            return Err(Errno::EINVAL);
        }
        let old = self.state.lock().peer.take();
        drop(old);
        self.changed.wake_all();
        Ok(())
    }

    fn connect_datagrams(self: &Arc<Self>, other: &Arc<Self>) -> Result<(), IoError> {
        if !other.takes_from(self) {
            return Err(Errno::EPERM.into());
        }
        self.state.lock().peer = Some(Arc::downgrade(other));
        self.changed.wake_all();
        Ok(())
    }

    /// Whether a datagram socket talks to everybody, or to `sender`.
    fn takes_from(&self, sender: &Self) -> bool {
        self.state.lock().peer.as_ref().is_none_or(|p| core::ptr::eq(p.as_ptr(), sender))
    }

    fn connect_stream(self: &Arc<Self>, other: &Arc<Self>, caller: &Caller) -> Result<(), IoError> {
        let listener = {
            let state = other.state.lock();
            if state.stage != Stage::Listening || state.receive_shut || state.closed {
                return Err(Errno::ECONNREFUSED.into());
            }
            (state.waiting.len() as u64 > u64::from(state.backlog), state.name.clone(), state.peer_credentials)
        };
        let (is_full, name, credentials) = listener;
        match self.state.lock().stage {
            Stage::Open if is_full => {
                other.note_blocked(self);
                return Err(IoError::WouldBlock);
            }
            Stage::Open => {}
            Stage::Connected => return Err(Errno::EISCONN.into()),
            Stage::Listening => return Err(Errno::EINVAL.into()),
        }
        let server = Self::new(&self.kernel, self.kind)?;
        {
            let mut state = server.state.lock();
            state.stage = Stage::Connected;
            state.peer = Some(self.this.clone());
            state.name = name;
            state.peer_credentials = caller.credentials;
        }
        server.options.inherit(&other.options);
        {
            let mut state = self.state.lock();
            state.stage = Stage::Connected;
            state.peer = Some(Arc::downgrade(&server));
            state.peer_credentials = credentials;
        }
        other.state.lock().waiting.push_back(server);
        other.changed.wake(Events::READABLE);
        self.changed.wake_all();
        Ok(())
    }

    /// Calls `each` with every open file in messages that wait here, or in a connection that waits here.
    pub fn each_file_on_its_way(&self, each: &mut dyn FnMut(&Arc<OpenFile>)) {
        let waiting: Vec<_> = {
            let state = self.state.lock();
            state.inbox.files().for_each(&mut *each);
            state.waiting.iter().cloned().collect()
        };
        waiting.iter().for_each(|s| s.each_file_on_its_way(each));
    }

    /// Takes away all messages; they are dropped by the caller, without locks.
    pub fn drop_messages(&self) -> Vec<Inbox> {
        let (inbox, waiting) = {
            let mut state = self.state.lock();
            (core::mem::take(&mut state.inbox), state.waiting.iter().cloned().collect::<Vec<_>>())
        };
        let mut all = alloc::vec![inbox];
        waiting.iter().for_each(|s| all.extend(s.drop_messages()));
        all
    }

    /// A line of `/proc/net/unix`.
    pub fn line(&self) -> Vec<u8> {
        let state = self.state.lock();
        let (flags, stage) = match state.stage {
            Stage::Listening => (0x10000, 1),
            Stage::Connected => (0, 3),
            Stage::Open => (0, 1),
        };
        let mut line = format!(
            "{:016x}: {:08X} {:08X} {flags:08X} {:04X} {stage:02X} {:5}",
            0, 2, 0, self.kind as u32, self.number
        );
        let mut text = core::mem::take(&mut line).into_bytes();
        match &state.name {
            None => {}
            Some(Name::Path(path, _)) => {
                text.push(b' ');
                text.extend_from_slice(path);
            }
            Some(Name::Abstract(name)) => {
                text.extend_from_slice(b" @");
                text.extend(name.iter().map(|&b| if b == 0 { b'@' } else { b }));
            }
        }
        text.push(b'\n');
        text
    }

    /// Its inode's number, as `/proc/net/unix` tells it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Remembers that `sender` waits for room here.
    fn note_blocked(&self, sender: &Self) {
        let mut state = self.state.lock();
        if !state.blocked.iter().any(|b| Weak::ptr_eq(b, &sender.this)) {
            state.blocked.push(sender.this.clone());
        }
    }

    /// There is room: who waits for it may try again.
    fn tell_blocked(&self) {
        let blocked = core::mem::take(&mut self.state.lock().blocked);
        blocked.iter().filter_map(Weak::upgrade).for_each(|s| s.changed.wake(Events::WRITABLE));
    }

    /// The other end is gone; it left messages unread or not.
    fn peer_closed(&self, unread: bool) {
        let mut state = self.state.lock();
        state.receive_shut = true;
        state.send_shut = true;
        if unread {
            state.error = Some(Errno::ECONNRESET);
        }
        drop(state);
        self.changed.wake_all();
    }
}

/// `/proc/net/unix`.
pub fn table(kernel: &Kernel) -> Vec<u8> {
    let mut text = String::from("Num       RefCount Protocol Flags    Type St Inode Path\n").into_bytes();
    kernel.network.unix.all().iter().for_each(|s| text.extend(s.line()));
    text
}

impl Socket for UnixSocket {
    fn domain(&self) -> u16 {
        AF_UNIX
    }
    fn kind(&self) -> SocketKind {
        self.kind
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn queue(&self) -> &WaitQueue {
        &self.changed
    }
    fn listens(&self) -> bool {
        self.state.lock().stage == Stage::Listening
    }
    fn peer_credentials(&self) -> [u32; 3] {
        self.state.lock().peer_credentials
    }
    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }
    fn unix(&self) -> Option<Arc<UnixSocket>> {
        self.this.upgrade()
    }

    fn readiness(&self) -> Events {
        let writable = self.is_writable();
        let state = self.state.lock();
        let connects = self.kind != SocketKind::Datagram;
        let mut events = Events::empty();
        events.set(Events::ERR, state.error.is_some());
        events.set(Events::HUP, state.receive_shut && state.send_shut || connects && state.stage == Stage::Open);
        events.set(Events::RDHUP | Events::READABLE, state.receive_shut);
        if !state.inbox.is_empty() || !state.waiting.is_empty() {
            events |= Events::READABLE;
        }
        if writable && state.stage != Stage::Listening {
            events |= Events::WRITABLE | Events::WRBAND;
        }
        events
    }

    fn local(&self) -> Result<Vec<u8>, Errno> {
        Ok(Name::encode(self.state.lock().name.as_ref()))
    }

    fn remote(&self) -> Result<Vec<u8>, Errno> {
        let state = self.state.lock();
        let peer = state.peer.clone().ok_or(Errno::ENOTCONN)?;
        drop(state);
        let Some(peer) = peer.upgrade() else { return Ok(Name::encode(None)) };
        let name = peer.state.lock().name.clone();
        Ok(Name::encode(name.as_ref()))
    }

    fn listen(&self, caller: &Caller, backlog: u32) -> Result<(), Errno> {
        if self.kind == SocketKind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        if state.name.is_none() || state.stage == Stage::Connected {
            return Err(Errno::EINVAL);
        }
        state.stage = Stage::Listening;
        state.backlog = backlog.min(SOMAXCONN);
        state.peer_credentials = caller.credentials;
        drop(state);
        self.changed.wake_all();
        Ok(())
    }

    fn accept(&self) -> Result<Arc<dyn Socket>, IoError> {
        if self.kind == SocketKind::Datagram {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let mut state = self.state.lock();
        if state.stage != Stage::Listening {
            return Err(Errno::EINVAL.into());
        }
        match state.waiting.pop_front() {
            Some(socket) => {
                drop(state);
                // Who waits to connect may.
                self.tell_blocked();
                Ok(socket)
            }
            None if state.receive_shut => Err(Errno::EINVAL.into()),
            None => Err(IoError::WouldBlock),
        }
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        let peer = {
            let mut state = self.state.lock();
            state.receive_shut |= how.receive;
            state.send_shut |= how.send;
            state.peer.clone()
        };
        self.changed.wake_all();
        let peer = peer.and_then(|p| p.upgrade()).filter(|_| self.kind != SocketKind::Datagram);
        if let Some(peer) = peer {
            let mut state = peer.state.lock();
            state.receive_shut |= how.send;
            state.send_shut |= how.receive;
            drop(state);
            peer.changed.wake_all();
        }
        Ok(())
    }

    fn send(
        &self,
        caller: &Caller,
        to: Option<&[u8]>,
        data: &mut IoBuf<'_>,
        ancillary: &mut Ancillary,
        flags: MessageFlags,
    ) -> Result<usize, IoError> {
        self.send_message(caller, to, data, ancillary, flags)
    }

    fn receive(&self, out: &mut IoBuf<'_>, flags: MessageFlags) -> Result<Received, IoError> {
        self.receive_message(out, flags)
    }

    fn queued(&self) -> Result<usize, Errno> {
        let state = self.state.lock();
        if state.stage == Stage::Listening {
            return Err(Errno::EINVAL);
        }
        Ok(if self.keeps_messages() { state.inbox.first_size() } else { state.inbox.bytes() })
    }

    fn unsent(&self) -> Result<usize, Errno> {
        let stage = self.state.lock().stage;
        if stage == Stage::Listening {
            return Err(Errno::EINVAL);
        }
        Ok(self.peer().map_or(0, |peer| peer.state.lock().inbox.bytes_from(self)))
    }

    fn close(&self) {
        let (name, peer, inbox, waiting) = {
            let mut state = self.state.lock();
            state.closed = true;
            state.receive_shut = true;
            state.send_shut = true;
            let name = self.own_name(&mut state);
            (name, state.peer.take(), core::mem::take(&mut state.inbox), core::mem::take(&mut state.waiting))
        };
        if let Some(name) = name {
            self.kernel.network.unix.unbind(&name);
        }
        if let Some(peer) = peer.and_then(|p| p.upgrade()) {
            if self.kind == SocketKind::Datagram {
                peer.changed.wake_all()
            } else {
                peer.peer_closed(!inbox.is_empty())
            }
        }
        // Nobody accepts these any more.
        for socket in waiting {
            let peer = socket.state.lock().peer.take().and_then(|p| p.upgrade());
            if let Some(peer) = peer {
                peer.peer_closed(true);
            }
        }
        self.changed.wake_all();
        self.tell_blocked();
        drop(inbox);
        if !self.kernel.network.in_flight.is_idle() {
            self.kernel.network.in_flight.collect();
        }
    }
}

impl UnixSocket {
    /// The name a connected socket gives up: not the one it has from the socket that listened for it.
    fn own_name(&self, state: &mut State) -> Option<Name> {
        let name = state.name.take()?;
        let bound = match &name {
            Name::Path(_, place) => self.kernel.network.unix.at(*place),
            Name::Abstract(text) => self.kernel.network.unix.named(text),
        };
        bound.is_some_and(|b| core::ptr::eq(&*b, self)).then_some(name)
    }
}
