//! Asking about interfaces and addresses, rtnetlink(7), as far as getifaddrs(3) and its kin do.
//!
//! Questions are answered at once into the socket's own queue. Nothing can be changed: there is one interface, to ourselves.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::{Abi, Errno, abi_struct};

use crate::Kernel;
use crate::memory::account::Charge;
use crate::memory::{IoBuf, IoError};
use crate::net::interface::{FLAGS, INDEX, KIND, LOOPBACK, MTU};
use crate::net::options::Options;
use crate::net::socket::{Ancillary, Caller, MessageFlags, Received, Shutdown, Socket, SocketKind};
use crate::num::{low16, low32, to_usize};
use crate::sync::{Mutex, WaitQueue};
use crate::vfs::Events;

/// The family.
pub const AF_NETLINK: u16 = 16;
/// Its protocol about routes, links and addresses.
const ROUTE: u32 = 0;

abi_struct! {
    /// `struct sockaddr_nl`.
    pub struct Address(12) { pub family: u16, pub pad: u16, pub port: u32, pub groups: u32, }
}
abi_struct! {
    /// `struct nlmsghdr`.
    pub struct Header(16) { pub len: u32, pub kind: u16, pub flags: u16, pub sequence: u32, pub port: u32, }
}
abi_struct! {
    /// `struct ifinfomsg`.
    pub struct Link(16) { pub family: u8, pub pad: u8, pub kind: u16, pub index: u32, pub flags: u32, pub change: u32, }
}
abi_struct! {
    /// `struct ifaddrmsg`.
    pub struct LinkAddress(8) { pub family: u8, pub prefix: u8, pub flags: u8, pub scope: u8, pub index: u32, }
}

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_MULTI: u16 = 2;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
/// Kernel heap a socket is charged, with what it may hold.
const COST: u64 = 32 * 1024;
/// Most answers that wait.
const MAX_QUEUED: usize = 16;

/// A socket.
pub struct NetlinkSocket {
    kernel: Arc<Kernel>,
    kind: SocketKind,
    options: Options,
    state: Mutex<State>,
    changed: WaitQueue,
    _charge: Charge,
}

#[derive(Default)]
struct State {
    port: u32,
    answers: VecDeque<Vec<u8>>,
}

impl NetlinkSocket {
    /// A new socket; `EPROTONOSUPPORT` for anything but routes.
    pub fn new(kernel: &Arc<Kernel>, kind: u32, protocol: u32) -> Result<Arc<Self>, Errno> {
        let kind = match kind {
            2 => SocketKind::Datagram,
            3 => SocketKind::Raw,
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        };
        if protocol != ROUTE {
            return Err(Errno::EPROTONOSUPPORT);
        }
        let charge = kernel.memory.charge(COST).map_err(|_| Errno::ENOBUFS)?;
        Ok(Arc::new(Self {
            kernel: kernel.clone(),
            kind,
            options: Options::default(),
            state: Mutex::default(),
            changed: WaitQueue::new(),
            _charge: charge,
        }))
    }

    /// Its port: the process's number if nobody chose one.
    fn port(&self) -> u32 {
        let own = self.kernel.current().map_or(1, |(pid, _)| pid.0.cast_unsigned());
        let mut state = self.state.lock();
        if state.port == 0 {
            state.port = own;
        }
        state.port
    }

    fn answer(&self, question: &[u8]) -> Vec<u8> {
        let header = Header::load(question);
        let mut answer = Answer { bytes: Vec::new(), sequence: header.sequence, port: self.port() };
        let dump = header.flags & NLM_F_DUMP != 0;
        match header.kind {
            RTM_GETLINK if dump => answer.link(NLM_F_MULTI),
            RTM_GETLINK => {
                let wanted = Link::load(question.get(Header::SIZE..).unwrap_or_default());
                if !matches!(wanted.index, 0 | INDEX) {
                    answer.error(Errno::ENODEV, question);
                    return answer.bytes;
                }
                answer.link(0);
            }
            RTM_GETADDR if dump => {
                let family = question.get(Header::SIZE).copied().unwrap_or(0);
                if matches!(family, 0 | 2) {
                    answer.address(2, 8, &[127, 0, 0, 1]);
                }
                if matches!(family, 0 | 10) {
                    let mut octets = [0; 16];
                    octets.iter_mut().rev().take(1).for_each(|last| *last = 1);
                    answer.address(10, 128, &octets);
                }
            }
            // There is no route but the one every machine has to itself, which is not in the main table.
            RTM_GETROUTE if dump => {}
            16..=27 if header.kind & 3 != 2 => answer.error(Errno::EPERM, question),
            _ => answer.error(Errno::EOPNOTSUPP, question),
        }
        if dump && matches!(header.kind, RTM_GETLINK | RTM_GETADDR | RTM_GETROUTE) {
            answer.message(NLMSG_DONE, NLM_F_MULTI, &[0; 4]);
        } else if header.flags & NLM_F_ACK != 0 && header.kind == RTM_GETLINK {
            answer.done(question);
        }
        answer.bytes
    }
}

/// An answer being made.
struct Answer {
    bytes: Vec<u8>,
    sequence: u32,
    port: u32,
}

impl Answer {
    fn message(&mut self, kind: u16, flags: u16, body: &[u8]) {
        let len = Header::SIZE + body.len();
        let mut header = [0; Header::SIZE];
        let whole = Header { len: low32(len as u64), kind, flags, sequence: self.sequence, port: self.port };
        whole.store(&mut header);
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn error(&mut self, errno: Errno, question: &[u8]) {
        self.status(-i32::from(errno.number()), question);
    }

    fn done(&mut self, question: &[u8]) {
        self.status(0, question);
    }

    fn status(&mut self, status: i32, question: &[u8]) {
        let mut body = status.to_le_bytes().to_vec();
        body.extend_from_slice(question.get(..Header::SIZE).unwrap_or_default());
        self.message(NLMSG_ERROR, 0, &body);
    }

    fn link(&mut self, flags: u16) {
        let mut body = alloc::vec![0; Link::SIZE];
        // Up and with a carrier, as well.
        Link { kind: KIND, index: INDEX, flags: FLAGS | 0x1_0000, ..Link::default() }.store(&mut body);
        // ADDRESS, BROADCAST, IFNAME, MTU, QDISC, TXQLEN, OPERSTATE.
        attribute(&mut body, 3, b"lo\0");
        attribute(&mut body, 13, &1000u32.to_le_bytes());
        attribute(&mut body, 16, &[0]);
        attribute(&mut body, 4, &MTU.to_le_bytes());
        attribute(&mut body, 6, b"noqueue\0");
        attribute(&mut body, 1, &[0; 6]);
        attribute(&mut body, 2, &[0; 6]);
        self.message(RTM_NEWLINK, flags, &body);
    }

    fn address(&mut self, family: u8, prefix: u8, octets: &[u8]) {
        let mut body = alloc::vec![0; LinkAddress::SIZE];
        // Permanent; for this machine only.
        LinkAddress { family, prefix, flags: 0x80, scope: 254, index: INDEX }.store(&mut body);
        attribute(&mut body, 1, octets);
        if family == 2 {
            attribute(&mut body, 2, octets);
            let name: Vec<u8> = LOOPBACK.iter().copied().chain([0]).collect();
            attribute(&mut body, 3, &name);
        }
        attribute(&mut body, 8, &0x80u32.to_le_bytes());
        self.message(RTM_NEWADDR, NLM_F_MULTI, &body);
    }
}

/// Adds a `struct rtattr`.
fn attribute(body: &mut Vec<u8>, kind: u16, data: &[u8]) {
    body.extend_from_slice(&low16(4 + data.len() as u64).to_le_bytes());
    body.extend_from_slice(&kind.to_le_bytes());
    body.extend_from_slice(data);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn encode(port: u32) -> Vec<u8> {
    let mut bytes = alloc::vec![0; Address::SIZE];
    Address { family: AF_NETLINK, port, ..Address::default() }.store(&mut bytes);
    bytes
}

impl Socket for NetlinkSocket {
    fn domain(&self) -> u16 {
        AF_NETLINK
    }
    fn kind(&self) -> SocketKind {
        self.kind
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn readiness(&self) -> Events {
        let readable = !self.state.lock().answers.is_empty();
        if readable { Events::READABLE | Events::WRITABLE } else { Events::WRITABLE }
    }
    fn queue(&self) -> &WaitQueue {
        &self.changed
    }
    fn take_error(&self) -> Option<Errno> {
        None
    }
    fn local(&self) -> Result<Vec<u8>, Errno> {
        Ok(encode(self.state.lock().port))
    }
    fn remote(&self) -> Result<Vec<u8>, Errno> {
        Ok(encode(0))
    }
    fn bind(&self, _: &Caller, address: &[u8]) -> Result<(), Errno> {
        if address.len() < Address::SIZE || Address::load(address).family != AF_NETLINK {
            return Err(Errno::EINVAL);
        }
        let port = Address::load(address).port;
        let mut state = self.state.lock();
        if state.port != 0 && port != state.port {
            return Err(Errno::EINVAL);
        }
        state.port = port;
        drop(state);
        self.port();
        Ok(())
    }
    fn connect(&self, _: &Caller, address: &[u8], _: bool) -> Result<(), IoError> {
        // Everything goes to the kernel anyway.
        let to = Address::load(address);
        if to.family == AF_NETLINK && to.port == 0 { Ok(()) } else { Err(Errno::ECONNREFUSED.into()) }
    }
    fn shutdown(&self, _: Shutdown) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    fn send(
        &self,
        _: &Caller,
        to: Option<&[u8]>,
        data: &mut IoBuf<'_>,
        _: &mut Ancillary,
        flags: MessageFlags,
    ) -> Result<usize, IoError> {
        if flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        if to.is_some_and(|to| Address::load(to).port != 0) {
            return Err(Errno::ECONNREFUSED.into());
        }
        let (start, size) = (data.done(), data.remaining());
        if size > 64 * 1024 {
            return Err(Errno::EMSGSIZE.into());
        }
        let mut bytes = alloc::vec![0; size];
        if data.take(&mut bytes) < size {
            data.untake(data.done() - start);
            return Err(IoError::Fault);
        }
        let mut rest = bytes.as_slice();
        while rest.len() >= Header::SIZE {
            let len = to_usize(u64::from(Header::load(rest).len));
            if len < Header::SIZE || len > rest.len() {
                break;
            }
            let answer = self.answer(rest.get(..len).unwrap_or_default());
            let mut state = self.state.lock();
            if state.answers.len() >= MAX_QUEUED {
                return Err(Errno::ENOBUFS.into());
            }
            state.answers.push_back(answer);
            drop(state);
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        self.changed.wake(Events::READABLE);
        Ok(size)
    }
    fn receive(&self, out: &mut IoBuf<'_>, flags: MessageFlags) -> Result<Received, IoError> {
        let mut state = self.state.lock();
        let Some(first) = state.answers.front() else { return Err(IoError::WouldBlock) };
        let size = first.len();
        let want = size.min(out.remaining());
        let moved = out.put(first.get(..want).unwrap_or_default());
        if moved < want {
            out.untake(moved);
            return Err(IoError::Fault);
        }
        if !flags.contains(MessageFlags::PEEK) {
            state.answers.pop_front();
        }
        let mut got = Received { bytes: want, size, from: Some(encode(0)), ..Received::default() };
        got.flags.set(MessageFlags::TRUNC, want < size);
        Ok(got)
    }
    fn set_option(&self, _: u32, _: u32, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::ENOPROTOOPT)
    }
    fn queued(&self) -> Result<usize, Errno> {
        Ok(self.state.lock().answers.front().map_or(0, Vec::len))
    }
    fn unsent(&self) -> Result<usize, Errno> {
        Ok(0)
    }
    fn close(&self) {
        let gone = core::mem::take(&mut self.state.lock().answers);
        drop(gone);
    }
}
