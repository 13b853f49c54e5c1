//! Streams, tcp(7): Linux's rules over the stack's connections.

use alloc::sync::Arc;
use core::net::SocketAddr;

use aurora_abi::Errno;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State as Tcp;

use crate::Kernel;
use crate::memory::{IoBuf, IoError};
use crate::net::inet::address::{any, source_for};
use crate::net::inet::{InetSocket, Stage};
use crate::net::options::REUSEADDR;
use crate::net::socket::{MessageFlags, Received, Shutdown, Socket, SocketKind};
use crate::sync::Guard;
use crate::vfs::Events;

/// The longest queue of connections: `net.core.somaxconn`.
const SOMAXCONN: u32 = 4096;

impl InetSocket {
    fn connection(&self) -> Option<SocketHandle> {
        self.state.lock().connection
    }

    /// Whether the connection is over both ways.
    pub(super) fn is_over(&self) -> bool {
        let Some(handle) = self.connection() else { return true };
        let state = self.kernel.network.stack.look(&self.kernel, |stack| stack.tcp(handle).state());
        matches!(state, Tcp::Closed | Tcp::TimeWait)
    }

    pub(super) fn stream_readiness(&self) -> Events {
        let connection = self.connection();
        let seen = connection.map(|handle| {
            self.kernel.network.stack.look(&self.kernel, |stack| {
                let tcp = stack.tcp(handle);
                (tcp.can_recv(), tcp.may_recv(), tcp.can_send(), tcp.state())
            })
        });
        let state = self.state.lock();
        let mut events = Events::empty();
        events.set(Events::ERR, state.error.is_some());
        match (state.stage, seen) {
            (Stage::Listening, _) => events.set(Events::READABLE, !state.waiting.is_empty()),
            (Stage::Connecting, _) => {}
            (Stage::Connected, Some((has, may, room, tcp))) => {
                let end = !may && tcp != Tcp::SynReceived || state.receive_shut;
                let closed = matches!(tcp, Tcp::Closed | Tcp::TimeWait);
                events.set(Events::READABLE, has || end || closed);
                events.set(Events::RDHUP, end || closed);
                events.set(Events::WRITABLE, room || state.send_shut || closed);
                events.set(Events::HUP, closed || end && state.send_shut);
            }
            _ => {
                events |= Events::WRITABLE | Events::HUP;
                if state.receive_shut && state.send_shut {
                    events |= Events::READABLE | Events::RDHUP;
                }
            }
        }
        events
    }

    pub(super) fn disconnect(&self) -> Result<(), Errno> {
        let handle = {
            let mut state = self.state.lock();
            state.remote = None;
            if !state.bound {
                state.local = None;
            }
            state.stage = Stage::Open;
            state.error = None;
            (state.receive_shut, state.send_shut) = (false, false);
            state.connection.take()
        };
        if let Some(handle) = handle {
            self.kernel.network.stack.with(&self.kernel, |stack| stack.release(handle, true));
        }
        self.changed.wake_all();
        Ok(())
    }

    pub(super) fn connect_stream(&self, bytes: &[u8], first: bool) -> Result<(), IoError> {
        let to = self.target(bytes);
        let mut state = self.state.lock();
        let stage = state.stage;
        match stage {
            Stage::Connecting if state.error.is_none() => {
                return Err(if first { Errno::EALREADY.into() } else { IoError::WouldBlock });
            }
            // The first question after it came about is told so, and only that one.
            Stage::Connected if state.values.remove(&JUST_CONNECTED).is_some() => return Ok(()),
            Stage::Connected | Stage::Listening => return Err(Errno::EISCONN.into()),
            Stage::Connecting | Stage::Open | Stage::Associated => {}
        }
        if !first || state.error.is_some() {
            state.stage = Stage::Open;
            (state.receive_shut, state.send_shut) = (false, false);
            return Err(state.error.take().unwrap_or(Errno::ECONNABORTED).into());
        }
        drop(state);
        self.begin(to?)?;
        Err(IoError::WouldBlock)
    }

    fn begin(&self, to: SocketAddr) -> Result<(), Errno> {
        self.have_port().map_err(|_| Errno::EADDRNOTAVAIL)?;
        let me = self.me()?;
        let local = {
            let mut state = self.state.lock();
            let local = state.local.unwrap_or_else(|| SocketAddr::new(any(self.version6), 0));
            let ip = if local.ip().is_unspecified() { source_for(to.ip()) } else { local.ip() };
            let local = SocketAddr::new(ip, local.port());
            state.local = Some(local);
            state.remote = Some(to);
            state.stage = Stage::Connecting;
            state.values.insert(JUST_CONNECTED, 1);
            (state.receive_shut, state.send_shut) = (false, false);
            local
        };
        if to.port() == 0 {
            self.state.lock().error = Some(Errno::ECONNREFUSED);
            return Ok(());
        }
        let old = self.state.lock().connection.take();
        let begun = self.kernel.network.stack.with(&self.kernel, |stack| {
            if let Some(old) = old {
                stack.release(old, true);
            }
            let handle = stack.connect(&self.kernel, &me, local, to)?;
            self.set_connection(handle);
            Ok(())
        });
        begun.inspect_err(|_: &Errno| self.state.lock().stage = Stage::Open)
    }

    pub(super) fn set_connection(&self, handle: SocketHandle) {
        self.state.lock().connection = Some(handle);
    }

    /// Its connection is not what it was. Called under the stack's lock.
    pub(super) fn connection_changed(&self, before: Tcp, now: Tcp) {
        let mut state = self.state.lock();
        let opened = !matches!(now, Tcp::Closed | Tcp::Listen | Tcp::SynSent | Tcp::SynReceived);
        let listener = state.listener.clone();
        match (before, now) {
            (Tcp::Listen, Tcp::Listen | Tcp::SynReceived) => return,
            (Tcp::Listen | Tcp::SynReceived, Tcp::Listen | Tcp::Closed) if state.stage == Stage::Open => {
                // It never came about.
                drop(state);
                if let Some(listener) = listener.upgrade() {
                    let mut pending = listener.state.lock();
                    let at = pending.pending.iter().position(|p| core::ptr::eq(&**p, self));
                    let gone = at.map(|at| pending.pending.swap_remove(at));
                    drop(pending);
                    drop(gone);
                }
                return;
            }
            (Tcp::Listen | Tcp::SynReceived, _) if state.stage == Stage::Open && opened => {
                state.stage = Stage::Connected;
                drop(state);
                if let (Some(listener), Ok(me)) = (listener.upgrade(), self.me()) {
                    listener.opened(&me);
                }
                return;
            }
            (_, _) if state.stage == Stage::Connecting && opened => {
                state.stage = Stage::Connected;
                self.changed_under(state, Events::WRITABLE);
                return;
            }
            (Tcp::SynSent, Tcp::Closed) => {
                state.error = Some(Errno::ECONNREFUSED);
                (state.receive_shut, state.send_shut) = (true, true);
            }
            (Tcp::CloseWait, Tcp::Closed) if !state.send_shut => state.error = Some(Errno::EPIPE),
            (Tcp::Established | Tcp::FinWait1 | Tcp::FinWait2, Tcp::Closed) => state.error = Some(Errno::ECONNRESET),
            _ => {}
        }
        let events = Events::READABLE | Events::WRITABLE | Events::RDHUP;
        let closed = now == Tcp::Closed || now == Tcp::TimeWait;
        self.changed_under(state, if closed { Events::all() } else { events });
    }

    fn changed_under(&self, state: Guard<'_, super::State>, events: Events) {
        drop(state);
        self.changed.wake(events);
    }

    pub(super) fn listen_stream(&self, backlog: u32) -> Result<(), Errno> {
        if self.kind != SocketKind::Stream {
            return Err(Errno::EOPNOTSUPP);
        }
        let stage = self.state.lock().stage;
        if !matches!(stage, Stage::Open | Stage::Listening) {
            return Err(Errno::EINVAL);
        }
        self.have_port().map_err(|_| Errno::EADDRINUSE)?;
        let local = self.state.lock().local;
        // Who shared the address until now may not listen there too.
        if stage == Stage::Open && local.is_some_and(|local| self.others_listen(local)) {
            return Err(Errno::EADDRINUSE);
        }
        let mut state = self.state.lock();
        state.stage = Stage::Listening;
        state.backlog = crate::num::to_usize(u64::from(backlog.min(SOMAXCONN)));
        (state.receive_shut, state.send_shut) = (false, false);
        drop(state);
        self.changed.wake_all();
        Ok(())
    }

    fn others_listen(&self, local: SocketAddr) -> bool {
        self.options.is_on(REUSEADDR) && self.conflicts(local)
    }

    /// A socket for a connection to a listener.
    pub(super) fn child(
        kernel: &Arc<Kernel>,
        listener: &Arc<Self>,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Arc<Self>, Errno> {
        let child = Self::make(kernel, listener.version6, SocketKind::Stream, listener.user)?;
        child.options.inherit(&listener.options);
        let mut state = child.state.lock();
        state.local = Some(local);
        state.remote = Some(remote);
        state.listener = Arc::downgrade(listener);
        state.values.clone_from(&listener.state.lock().values);
        drop(state);
        Ok(child)
    }

    /// Whether a listener takes one more.
    pub(super) fn has_room(&self) -> bool {
        let state = self.state.lock();
        state.waiting.len() <= state.backlog && state.pending.len() <= state.backlog.max(8)
    }

    pub(super) fn add_pending(&self, child: Arc<Self>) {
        self.state.lock().pending.push(child);
    }

    /// A connection to this listener is open.
    fn opened(&self, child: &Arc<Self>) {
        let mut state = self.state.lock();
        state.pending.retain(|p| !Arc::ptr_eq(p, child));
        state.waiting.push_back(child.clone());
        drop(state);
        self.changed.wake(Events::READABLE);
    }

    pub(super) fn accept_stream(&self) -> Result<Arc<dyn Socket>, IoError> {
        if self.kind != SocketKind::Stream {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let mut state = self.state.lock();
        if state.stage != Stage::Listening {
            return Err(Errno::EINVAL.into());
        }
        match state.waiting.pop_front() {
            Some(child) => Ok(child),
            None => Err(IoError::WouldBlock),
        }
    }

    pub(super) fn shutdown_stream(&self, how: Shutdown) -> Result<(), Errno> {
        let stage = self.state.lock().stage;
        if stage == Stage::Listening && how.receive {
            self.stop_listening();
            return Ok(());
        }
        if stage != Stage::Connected || self.is_over() {
            return Err(Errno::ENOTCONN);
        }
        let handle = {
            let mut state = self.state.lock();
            state.receive_shut |= how.receive;
            state.send_shut |= how.send;
            state.connection
        };
        if let (Some(handle), true) = (handle, how.send) {
            self.kernel.network.stack.with(&self.kernel, |stack| stack.tcp(handle).close());
        }
        self.changed.wake_all();
        Ok(())
    }

    fn stop_listening(&self) {
        let (pending, waiting) = {
            let mut state = self.state.lock();
            state.stage = Stage::Open;
            (core::mem::take(&mut state.pending), core::mem::take(&mut state.waiting))
        };
        // Who was not accepted is told that nobody is there.
        for child in pending.into_iter().chain(waiting) {
            if let Some(handle) = child.connection() {
                self.kernel.network.stack.with(&self.kernel, |stack| stack.release(handle, true));
            }
        }
        self.changed.wake_all();
    }

    /// Takes the error of a connection that broke.
    fn check(&self) -> Result<(), Errno> {
        self.state.lock().error.take().map_or(Ok(()), Err)
    }

    pub(super) fn send_stream(&self, data: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let (stage, send_shut) = {
            let state = self.state.lock();
            (state.stage, state.send_shut)
        };
        if stage == Stage::Connecting && self.state.lock().error.is_none() {
            return Err(IoError::WouldBlock);
        }
        self.check()?;
        let handle = self.connection().filter(|_| stage == Stage::Connected && !send_shut).ok_or(Errno::EPIPE)?;
        let start = data.done();
        let sent = self.kernel.network.stack.with(&self.kernel, |stack| {
            let tcp = stack.tcp(handle);
            if !tcp.may_send() {
                return Err(Errno::EPIPE.into());
            }
            while data.remaining() > 0 && tcp.can_send() {
                let want = data.remaining();
                let taken = tcp.send(|room| {
                    let want = want.min(room.len());
                    let taken = data.take(room.get_mut(..want).unwrap_or_default());
                    (taken, (taken, want))
                });
                match taken {
                    Ok((taken, want)) if taken < want => return data.stopped(start),
                    Ok(_) => {}
                    Err(_) => return Err(Errno::EPIPE.into()),
                }
            }
            if data.done() == start && data.remaining() > 0 {
                Err(IoError::WouldBlock)
            } else {
                Ok(data.done() - start)
            }
        });
        if sent == Err(Errno::EPIPE.into()) {
            // A reset that came with it is what went wrong.
            self.check()?;
        }
        sent
    }

    pub(super) fn receive_stream(&self, out: &mut IoBuf<'_>, flags: MessageFlags) -> Result<Received, IoError> {
        let (stage, shut) = {
            let state = self.state.lock();
            (state.stage, state.receive_shut)
        };
        match stage {
            Stage::Connecting if self.state.lock().error.is_none() => return Err(IoError::WouldBlock),
            Stage::Connected => {}
            _ => {
                self.check()?;
                return if shut { Ok(Received::default()) } else { Err(Errno::ENOTCONN.into()) };
            }
        }
        let Some(handle) = self.connection() else { return Err(Errno::ENOTCONN.into()) };
        let start = out.done();
        let peek = flags.contains(MessageFlags::PEEK);
        let (has, may) = self.kernel.network.stack.look(&self.kernel, |stack| {
            let tcp = stack.tcp(handle);
            (tcp.can_recv(), tcp.may_recv())
        });
        if !has {
            self.check()?;
            return if may && !shut { Err(IoError::WouldBlock) } else { Ok(Received::default()) };
        }
        let stopped = self.kernel.network.stack.with(&self.kernel, |stack| {
            let tcp = stack.tcp(handle);
            if peek {
                // The buffer is a ring: what is in it may be in two parts, of which a look shows the first.
                let mut bytes = alloc::vec![0; out.remaining().min(super::stack::BUFFER)];
                let got = tcp.peek_slice(&mut bytes).unwrap_or(0);
                return out.put(bytes.get(..got).unwrap_or_default()) < got;
            }
            while out.remaining() > 0 && tcp.can_recv() {
                let want = out.remaining();
                let moved = tcp.recv(|bytes| {
                    let want = want.min(bytes.len());
                    let moved = out.put(bytes.get(..want).unwrap_or_default());
                    (moved, (moved, want))
                });
                match moved {
                    Ok((moved, want)) if moved < want => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
            false
        });
        let bytes = out.done() - start;
        if stopped && bytes == 0 {
            return Err(IoError::Fault);
        }
        Ok(Received { bytes, size: bytes, ..Received::default() })
    }

    pub(super) fn bytes_waiting(&self, to_read: bool) -> Result<usize, Errno> {
        if self.state.lock().stage == Stage::Listening {
            return Err(Errno::EINVAL);
        }
        let Some(handle) = self.connection() else { return Ok(0) };
        Ok(self.kernel.network.stack.look(&self.kernel, |stack| {
            let tcp = stack.tcp(handle);
            if to_read { tcp.recv_queue() } else { tcp.send_queue() }
        }))
    }

    pub(super) fn close_stream(&self) {
        if self.state.lock().stage == Stage::Listening {
            self.stop_listening();
        }
        let Some(handle) = self.state.lock().connection.take() else { return };
        let at_once = self.options.linger() == Some(0);
        self.kernel.network.stack.with(&self.kernel, |stack| {
            let unread = stack.tcp(handle).can_recv();
            stack.release(handle, at_once || unread);
        });
    }
}

/// Noted among a socket's options while its success in connecting was not told yet: no level has this number.
const JUST_CONNECTED: (u32, u32) = (u32::MAX, 0);
