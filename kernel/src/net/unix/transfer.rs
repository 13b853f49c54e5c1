//! Sending and receiving on unix sockets.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;

use crate::memory::{IoBuf, IoError};
use crate::net::options::PASSCRED;
use crate::net::socket::{Ancillary, Caller, MessageFlags, Received, Socket, SocketKind};
use crate::net::unix::flight::Rights;
use crate::net::unix::inbox::{MESSAGE_COST, Message};
use crate::net::unix::names::{Name, UnixAddress};
use crate::net::unix::{MAX_DATAGRAMS, Stage, UnixSocket};
use crate::vfs::Events;

/// The longest piece a stream is cut into.
const PIECE: usize = 32 * 1024;

impl UnixSocket {
    /// Whether a sender would find room.
    pub(super) fn is_writable(&self) -> bool {
        let Some(peer) = self.peer() else { return true };
        let state = peer.state.lock();
        let mutual = state.peer.as_ref().is_some_and(|p| core::ptr::eq(p.as_ptr(), self));
        let full = self.kind == SocketKind::Datagram && !mutual && state.inbox.len() > MAX_DATAGRAMS;
        let writable = !full && state.inbox.bytes_from(self) * 4 <= self.options.send_buffer();
        drop(state);
        if !writable {
            peer.note_blocked(self);
        }
        writable
    }

    pub(super) fn send_message(
        &self,
        caller: &Caller,
        to: Option<&[u8]>,
        data: &mut IoBuf<'_>,
        ancillary: &mut Ancillary,
        flags: MessageFlags,
    ) -> Result<usize, IoError> {
        if flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        match self.kind {
            SocketKind::Stream => self.send_stream(caller, to, data, ancillary),
            _ => self.send_datagram(caller, to, data, ancillary),
        }
    }

    fn send_stream(
        &self,
        caller: &Caller,
        to: Option<&[u8]>,
        data: &mut IoBuf<'_>,
        ancillary: &mut Ancillary,
    ) -> Result<usize, IoError> {
        let (stage, send_shut) = {
            let state = self.state.lock();
            (state.stage, state.send_shut)
        };
        if to.is_some() {
            return Err(if stage == Stage::Connected { Errno::EISCONN } else { Errno::EOPNOTSUPP }.into());
        }
        if stage != Stage::Connected {
            return Err(Errno::ENOTCONN.into());
        }
        let peer = self.peer().filter(|_| !send_shut).ok_or(Errno::EPIPE)?;
        let start = data.done();
        while data.remaining() > 0 {
            let used = {
                let state = peer.state.lock();
                if state.receive_shut || state.closed {
                    return Err(Errno::EPIPE.into());
                }
                state.inbox.bytes_from(self)
            };
            let room = self.options.send_buffer().saturating_sub(used);
            if room == 0 {
                break;
            }
            let size = data.remaining().min(PIECE).min(room.max(2048));
            let (bytes, whole) = take_bytes(data, size);
            if bytes.is_empty() {
                return data.stopped(start);
            }
            let sent = self.deliver(&peer, caller, bytes, ancillary);
            if let Err((errno, size)) = sent {
                data.untake(size);
                return data.or_error(start, errno);
            }
            if !whole {
                return data.stopped(start);
            }
        }
        if data.remaining() > 0 {
            peer.note_blocked(self);
        }
        if data.done() == start && data.remaining() > 0 { Err(IoError::WouldBlock) } else { Ok(data.done() - start) }
    }

    /// The socket an address names.
    fn find(&self, address: &[u8]) -> Result<Option<Arc<Self>>, Errno> {
        Ok(match UnixAddress::parse(address)? {
            UnixAddress::Unnamed => return Err(Errno::EINVAL),
            UnixAddress::Abstract(name) => self.kernel.network.unix.named(&name),
            // The caller has looked the path up, and put the inode's place here in place of it.
            UnixAddress::Path(_) => None,
        })
    }

    fn send_datagram(
        &self,
        caller: &Caller,
        to: Option<&[u8]>,
        data: &mut IoBuf<'_>,
        ancillary: &mut Ancillary,
    ) -> Result<usize, IoError> {
        let connects = self.kind == SocketKind::SeqPacket;
        if connects && self.state.lock().stage != Stage::Connected {
            return Err(Errno::ENOTCONN.into());
        }
        let target = match to.filter(|_| !connects) {
            Some(address) => Some(self.find(address)?.ok_or(Errno::ECONNREFUSED)?),
            None => None,
        };
        self.send_datagram_to(caller, target, data, ancillary)
    }

    /// Sends a message to a socket, or where this one is connected to.
    pub fn send_datagram_to(
        &self,
        caller: &Caller,
        target: Option<Arc<Self>>,
        data: &mut IoBuf<'_>,
        ancillary: &mut Ancillary,
    ) -> Result<usize, IoError> {
        let connected = target.is_none();
        if let Some(target) = &target
            && target.kind != self.kind
        {
            return Err(Errno::EPROTOTYPE.into());
        }
        if self.state.lock().send_shut {
            return Err(Errno::EPIPE.into());
        }
        let peer = match target {
            Some(target) => target,
            None => self.default_target()?,
        };
        if data.remaining() > self.options.send_buffer().saturating_sub(32) {
            return Err(Errno::EMSGSIZE.into());
        }
        if !peer.takes_from(self) && self.kind == SocketKind::Datagram {
            return Err(Errno::EPERM.into());
        }
        {
            let state = peer.state.lock();
            if state.closed {
                drop(state);
                if connected {
                    self.state.lock().peer = None;
                }
                return Err(Errno::ECONNREFUSED.into());
            }
            if state.receive_shut {
                return Err(Errno::EPIPE.into());
            }
            let mutual = state.peer.as_ref().is_some_and(|p| core::ptr::eq(p.as_ptr(), self));
            let used = state.inbox.bytes_from(self);
            if !mutual && state.inbox.len() > MAX_DATAGRAMS
                || used > 0 && used + data.remaining() > self.options.send_buffer()
            {
                drop(state);
                peer.note_blocked(self);
                return Err(IoError::WouldBlock);
            }
        }
        let start = data.done();
        let size = data.remaining();
        let (bytes, whole) = take_bytes(data, size);
        if !whole {
            // A message goes as a whole, so it is taken anew once its page is there.
            data.untake(data.done() - start);
            return Err(IoError::Fault);
        }
        match self.deliver(&peer, caller, bytes, ancillary) {
            Ok(()) => Ok(size),
            Err((errno, size)) => {
                data.untake(size);
                Err(errno.into())
            }
        }
    }

    fn default_target(&self) -> Result<Arc<Self>, Errno> {
        let peer = self.state.lock().peer.clone();
        match peer {
            None => Err(Errno::ENOTCONN),
            Some(peer) => peer.upgrade().ok_or_else(|| {
                if self.kind == SocketKind::Datagram {
                    self.state.lock().peer = None;
                }
                Errno::ECONNREFUSED
            }),
        }
    }

    /// Puts a message into a socket's inbox; gives the size back with an error.
    fn deliver(
        &self,
        peer: &Arc<Self>,
        caller: &Caller,
        bytes: Vec<u8>,
        ancillary: &mut Ancillary,
    ) -> Result<(), (Errno, usize)> {
        let size = bytes.len();
        let charge = self.kernel.memory.charge(MESSAGE_COST + size as u64).map_err(|_| (Errno::ENOBUFS, size))?;
        let files = core::mem::take(&mut ancillary.files);
        let rights = match files.is_empty() {
            true => None,
            false => {
                let [_, user, _] = caller.credentials;
                let rights = Rights::new(&self.kernel, files, user, ancillary.limit).map_err(|errno| (errno, size))?;
                Some(rights)
            }
        };
        let message = Message {
            data: bytes,
            taken: 0,
            from: Name::encode(self.state.lock().name.as_ref()),
            sender: core::ptr::from_ref(self).addr(),
            credentials: ancillary.credentials.unwrap_or(caller.credentials),
            rights,
            charge,
        };
        peer.state.lock().inbox.push(message);
        peer.changed.wake(Events::READABLE | Events::RDBAND);
        Ok(())
    }

    pub(super) fn receive_message(&self, out: &mut IoBuf<'_>, flags: MessageFlags) -> Result<Received, IoError> {
        if flags.contains(MessageFlags::OOB) {
            return Err(if self.kind == SocketKind::Stream { Errno::EINVAL } else { Errno::EOPNOTSUPP }.into());
        }
        let mut state = self.state.lock();
        match (self.kind, state.stage) {
            (SocketKind::Stream, Stage::Open | Stage::Listening) => return Err(Errno::EINVAL.into()),
            (SocketKind::SeqPacket, Stage::Open | Stage::Listening) => return Err(Errno::ENOTCONN.into()),
            _ => {}
        }
        if state.inbox.is_empty() {
            if let Some(errno) = state.error.take() {
                return Err(errno.into());
            }
            return if state.receive_shut { Ok(Received::default()) } else { Err(IoError::WouldBlock) };
        }
        drop(state);
        let got = if self.keeps_messages() { self.receive_whole(out, flags) } else { self.receive_stream(out, flags) };
        if let (Ok(_), false) = (&got, flags.contains(MessageFlags::PEEK)) {
            self.tell_blocked();
        }
        got
    }

    fn receive_whole(&self, out: &mut IoBuf<'_>, flags: MessageFlags) -> Result<Received, IoError> {
        let peek = flags.contains(MessageFlags::PEEK);
        let mut state = self.state.lock();
        let Some(message) = state.inbox.first() else { return Err(IoError::WouldBlock) };
        let size = message.data.len();
        let want = size.min(out.remaining());
        let start = out.done();
        let moved = out.put(message.data.get(..want).unwrap_or_default());
        if moved < want {
            out.untake(out.done() - start);
            return Err(IoError::Fault);
        }
        let mut got = Received {
            bytes: want,
            size,
            from: (self.kind == SocketKind::Datagram).then(|| message.from.clone()),
            ..Received::default()
        };
        got.flags.set(MessageFlags::TRUNC, want < size);
        self.take_ancillary(message, peek, &mut got.ancillary);
        let gone = if peek { None } else { state.inbox.pop() };
        drop(state);
        drop(gone);
        Ok(got)
    }

    /// What comes with a message: credentials if asked for, files once.
    fn take_ancillary(&self, message: &mut Message, peek: bool, to: &mut Ancillary) {
        if self.options.is_on(PASSCRED) {
            to.credentials = Some(message.credentials);
        }
        match (&mut message.rights, peek) {
            (Some(rights), true) => to.files = rights.files.clone(),
            (rights @ Some(_), false) => {
                to.files = rights.as_ref().map(|r| r.files.clone()).unwrap_or_default();
                to.landed = rights.take();
            }
            (None, _) => {}
        }
    }

    fn receive_stream(&self, out: &mut IoBuf<'_>, flags: MessageFlags) -> Result<Received, IoError> {
        let peek = flags.contains(MessageFlags::PEEK);
        let start = out.done();
        let mut got = Received::default();
        let mut gone = Vec::new();
        let mut skip = 0;
        let mut state = self.state.lock();
        let mut credentials = None;
        let mut stopped = false;
        loop {
            if out.remaining() == 0 || !got.ancillary.files.is_empty() {
                break;
            }
            let message = if peek { state.inbox.nth(skip) } else { state.inbox.first() };
            let Some(message) = message else {
                got.more = true;
                break;
            };
            // Parts by different senders are not run together.
            let apart = credentials.is_some_and(|c| c != message.credentials && self.options.is_on(PASSCRED));
            if apart {
                break;
            }
            credentials = Some(message.credentials);
            let rest = message.rest();
            let want = rest.len().min(out.remaining());
            let moved = out.put(rest.get(..want).unwrap_or_default());
            if moved == 0 && want > 0 {
                stopped = true;
                break;
            }
            self.take_ancillary(message, peek, &mut got.ancillary);
            if peek {
                skip += 1;
            } else {
                state.inbox.take_bytes(moved);
                if state.inbox.first_size() == 0 {
                    gone.extend(state.inbox.pop());
                }
            }
            if moved < want {
                stopped = true;
                break;
            }
        }
        drop(state);
        drop(gone);
        got.bytes = out.done() - start;
        got.size = got.bytes;
        if stopped && got.bytes == 0 {
            return Err(IoError::Fault);
        }
        Ok(got)
    }
}

/// Takes up to `size` bytes; tells whether all came.
fn take_bytes(data: &mut IoBuf<'_>, size: usize) -> (Vec<u8>, bool) {
    let mut bytes = alloc::vec![0; size];
    let moved = data.take(&mut bytes);
    bytes.truncate(moved);
    (bytes, moved == size)
}
