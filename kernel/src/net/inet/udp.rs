//! Datagrams, udp(7).

use alloc::vec::Vec;
use core::net::SocketAddr;

use aurora_abi::Errno;

use crate::memory::account::Charge;
use crate::memory::{IoBuf, IoError};
use crate::net::inet::address::{any, encode, source_for};
use crate::net::inet::{InetSocket, Stage};
use crate::net::socket::{MessageFlags, Received};
use crate::vfs::Events;

/// The most a datagram carries.
const MAX: usize = 65507;
/// What a datagram counts besides its bytes.
const OVERHEAD: usize = 512;

/// A datagram that waits.
pub(super) struct Datagram {
    from: SocketAddr,
    pub(super) data: Vec<u8>,
    _charge: Charge,
}

impl InetSocket {
    pub(super) fn datagram_readiness(&self) -> Events {
        let state = self.state.lock();
        let mut events = Events::WRITABLE | Events::WRBAND;
        events.set(Events::READABLE, !state.datagrams.is_empty());
        events.set(Events::ERR, state.error.is_some());
        if state.receive_shut {
            events |= Events::READABLE | Events::RDHUP;
        }
        events.set(Events::HUP, state.receive_shut && state.send_shut);
        events
    }

    /// From now on it talks to one address only.
    pub(super) fn associate(&self, bytes: &[u8]) -> Result<(), Errno> {
        let to = self.target(bytes)?;
        self.have_port()?;
        let mut state = self.state.lock();
        if let Some(local) = state.local.filter(|l| l.ip().is_unspecified()) {
            state.local = Some(SocketAddr::new(source_for(to.ip()), local.port()));
        }
        state.remote = Some(to);
        state.stage = Stage::Associated;
        drop(state);
        self.changed.wake_all();
        Ok(())
    }

    /// Takes a port of the system's choice unless it has one.
    pub(super) fn have_port(&self) -> Result<(), Errno> {
        if self.state.lock().local.is_some() {
            return Ok(());
        }
        self.take_port(SocketAddr::new(any(self.version6), 0)).map_err(|_| Errno::EAGAIN)
    }

    pub(super) fn send_datagram(&self, to: Option<&[u8]>, data: &mut IoBuf<'_>) -> Result<usize, IoError> {
        if data.remaining() > MAX {
            return Err(Errno::EMSGSIZE.into());
        }
        let to = match to {
            Some(bytes) => {
                let to = self.target(bytes)?;
                if to.port() == 0 {
                    return Err(Errno::EINVAL.into());
                }
                to
            }
            None => self.state.lock().remote.ok_or(Errno::EDESTADDRREQ)?,
        };
        {
            let mut state = self.state.lock();
            if state.send_shut {
                return Err(Errno::EPIPE.into());
            }
            if let Some(errno) = state.error.take() {
                return Err(errno.into());
            }
        }
        self.have_port()?;
        let start = data.done();
        let size = data.remaining();
        let mut bytes = alloc::vec![0; size];
        if data.take(&mut bytes) < size {
            data.untake(data.done() - start);
            return Err(IoError::Fault);
        }
        self.deliver(to, bytes)?;
        Ok(size)
    }

    fn deliver(&self, to: SocketAddr, data: Vec<u8>) -> Result<(), Errno> {
        let (local, connected) = {
            let state = self.state.lock();
            (state.local, state.remote == Some(to))
        };
        let local = local.ok_or(Errno::EAGAIN)?;
        let ip = if local.ip().is_unspecified() { source_for(to.ip()) } else { local.ip() };
        let from = SocketAddr::new(ip, local.port());
        let Some(target) = self.kernel.network.stack.datagram_socket(from, to) else {
            // The answer is that the port is unreachable, which only who is connected hears of.
            if connected {
                self.state.lock().error = Some(Errno::ECONNREFUSED);
                self.changed.wake_all();
            }
            return Ok(());
        };
        let size = data.len() + OVERHEAD;
        let Ok(charge) = self.kernel.memory.charge(size as u64) else { return Err(Errno::ENOBUFS) };
        let mut state = target.state.lock();
        // What does not fit is lost, as datagrams are.
        if state.receive_shut || state.datagram_bytes + size > target.options.receive_buffer() {
            return Ok(());
        }
        state.datagram_bytes += size;
        state.datagrams.push_back(Datagram { from, data, _charge: charge });
        drop(state);
        target.changed.wake(Events::READABLE);
        Ok(())
    }

    pub(super) fn receive_datagram(&self, out: &mut IoBuf<'_>, flags: MessageFlags) -> Result<Received, IoError> {
        let mut state = self.state.lock();
        if let Some(errno) = state.error.take() {
            return Err(errno.into());
        }
        let shut = state.receive_shut;
        let Some(first) = state.datagrams.front() else {
            return if shut { Ok(Received::default()) } else { Err(IoError::WouldBlock) };
        };
        let size = first.data.len();
        let want = size.min(out.remaining());
        let moved = out.put(first.data.get(..want).unwrap_or_default());
        if moved < want {
            out.untake(moved);
            return Err(IoError::Fault);
        }
        let from = Some(encode(first.from, self.version6));
        let mut got = Received { bytes: want, size, from, ..Received::default() };
        got.flags.set(MessageFlags::TRUNC, want < size);
        if !flags.contains(MessageFlags::PEEK) {
            state.datagram_bytes -= size + OVERHEAD;
            let gone = state.datagrams.pop_front();
            drop(state);
            drop(gone);
        }
        Ok(got)
    }
}
