//! What every socket can do, and how it is a file.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use aurora_abi::Errno;

use crate::Kernel;
use crate::memory::{IoBuf, IoError};
use crate::net::options::{Facts, Options};
use crate::net::unix::UnixSocket;
use crate::net::unix::flight::Rights;
use crate::num::low32;
use crate::sync::WaitQueue;
use crate::task::Process;
use crate::vfs::file::{IoctlAnswer, IoctlArgs};
use crate::vfs::{Events, FileOps, OpenFile};

/// How a socket talks: the number is `SOCK_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SocketKind {
    /// A stream of bytes.
    Stream = 1,
    /// Messages, each for itself.
    Datagram = 2,
    /// Whatever an interface sends and receives, or the kernel's own messages.
    Raw = 3,
    /// Messages over a connection.
    SeqPacket = 5,
}

bitflags::bitflags! {
    /// Flags of send(2) and recv(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct MessageFlags: u32 {
        /// Urgent data.
        const OOB = 0x1;
        /// Look, and leave it there.
        const PEEK = 0x2;
        /// Not over a gateway.
        const DONTROUTE = 0x4;
        /// Not all of the control data fitted.
        const CTRUNC = 0x8;
        /// Not all of the message fitted; asked for: tell its real size.
        const TRUNC = 0x20;
        /// Do not wait.
        const DONTWAIT = 0x40;
        /// The end of a record.
        const EOR = 0x80;
        /// Wait for all that was asked for.
        const WAITALL = 0x100;
        /// Errors of earlier messages.
        const ERRQUEUE = 0x2000;
        /// No SIGPIPE.
        const NOSIGNAL = 0x4000;
        /// More will come.
        const MORE = 0x8000;
        /// recvmmsg(2): wait for the first only.
        const WAITFORONE = 0x1_0000;
        /// Connect with the first bytes.
        const FASTOPEN = 0x2000_0000;
        /// Received descriptors are closed by execve(2).
        const CMSG_CLOEXEC = 0x4000_0000;
    }
}

/// What goes along with a message.
#[derive(Default)]
pub struct Ancillary {
    /// Who sent it: process, user, group.
    pub credentials: Option<[u32; 3]>,
    /// Open files, `SCM_RIGHTS`.
    pub files: Vec<Arc<OpenFile>>,
    /// Files that were on their way until now.
    pub landed: Option<Rights>,
    /// Most descriptors the sender may have on their way; none for no limit.
    pub limit: Option<u64>,
}

/// A message, or a part of a stream, that was received.
#[derive(Default)]
pub struct Received {
    /// Bytes moved.
    pub bytes: usize,
    /// Its whole size.
    pub size: usize,
    /// Where from, as `struct sockaddr`; none if unknown.
    pub from: Option<Vec<u8>>,
    /// What came along.
    pub ancillary: Ancillary,
    /// More bytes may be had at once: a stream that goes on.
    pub more: bool,
    /// `MSG_EOR` and the like.
    pub flags: MessageFlags,
}

/// Where shutdown(2) stops a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Receiving.
    pub receive: bool,
    /// Sending.
    pub send: bool,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Process, user, group.
    pub credentials: [u32; 3],
    /// Whether it is the superuser.
    pub root: bool,
}

impl Caller {
    /// A process.
    pub fn of(process: &Process) -> Self {
        let credentials = process.credentials();
        Self {
            credentials: [process.pid.0.cast_unsigned(), credentials.euid, credentials.egid],
            root: credentials.is_root(),
        }
    }

    /// Who runs now; nobody, with no rights, while the kernel itself does.
    fn running(kernel: &Kernel) -> Self {
        let process = kernel.current().and_then(|(pid, _)| kernel.processes.process(pid));
        process.map_or(Self { credentials: [0, u32::MAX, u32::MAX], root: false }, |p| Self::of(&p))
    }
}

/// A socket. Nothing here waits.
pub trait Socket: Send + Sync {
    /// Its family, `AF_*`.
    fn domain(&self) -> u16;
    /// How it talks.
    fn kind(&self) -> SocketKind;
    /// Its protocol's number.
    fn protocol(&self) -> u32 {
        0
    }
    /// Its options.
    fn options(&self) -> &Options;
    /// What could be done now.
    fn readiness(&self) -> Events;
    /// Woken when that changes.
    fn queue(&self) -> &WaitQueue;
    /// Waits for connections.
    fn listens(&self) -> bool {
        false
    }
    /// Who is at the other end, for `SO_PEERCRED`.
    fn peer_credentials(&self) -> [u32; 3] {
        [0, u32::MAX, u32::MAX]
    }
    /// Forgets the pending error and gives it.
    fn take_error(&self) -> Option<Errno>;
    /// Its address.
    fn local(&self) -> Result<Vec<u8>, Errno>;
    /// The other end's.
    fn remote(&self) -> Result<Vec<u8>, Errno>;
    /// Gives it an address (families with paths do that in `syscall/socket.rs`).
    fn bind(&self, caller: &Caller, address: &[u8]) -> Result<(), Errno> {
        let _ = (caller, address);
        Err(Errno::EOPNOTSUPP)
    }
    /// Begins to connect; `first` is false when it was waited for. `WouldBlock` means that it is on its way.
    fn connect(&self, caller: &Caller, address: &[u8], first: bool) -> Result<(), IoError> {
        let _ = (caller, address, first);
        Err(Errno::EOPNOTSUPP.into())
    }
    /// What a non-blocking connect that is on its way is called.
    fn connecting(&self) -> Errno {
        Errno::EINPROGRESS
    }
    /// Waits for connections from now on.
    fn listen(&self, caller: &Caller, backlog: u32) -> Result<(), Errno> {
        let _ = (caller, backlog);
        Err(Errno::EOPNOTSUPP)
    }
    /// Takes a connection that waits.
    fn accept(&self) -> Result<Arc<dyn Socket>, IoError> {
        Err(Errno::EOPNOTSUPP.into())
    }
    /// Stops receiving or sending.
    fn shutdown(&self, how: Shutdown) -> Result<(), Errno>;
    /// Sends what it can of `data`, all or nothing where messages are kept apart. `ancillary` is taken with the first byte.
    fn send(
        &self,
        caller: &Caller,
        to: Option<&[u8]>,
        data: &mut IoBuf<'_>,
        ancillary: &mut Ancillary,
        flags: MessageFlags,
    ) -> Result<usize, IoError>;
    /// Receives what is there.
    fn receive(&self, out: &mut IoBuf<'_>, flags: MessageFlags) -> Result<Received, IoError>;
    /// getsockopt(2) of its own levels.
    fn get_option(&self, level: u32, name: u32) -> Result<Vec<u8>, Errno> {
        let _ = (level, name);
        Err(Errno::EOPNOTSUPP)
    }
    /// setsockopt(2) of its own levels.
    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<(), Errno> {
        let _ = (level, name, value);
        Err(Errno::EOPNOTSUPP)
    }
    /// Bytes to read: `SIOCINQ`.
    fn queued(&self) -> Result<usize, Errno>;
    /// Bytes on their way: `SIOCOUTQ`.
    fn unsent(&self) -> Result<usize, Errno>;
    /// Whether messages are kept apart.
    fn keeps_messages(&self) -> bool {
        self.kind() != SocketKind::Stream
    }
    /// The unix socket it is, if it is one.
    fn unix(&self) -> Option<Arc<UnixSocket>> {
        None
    }
    /// Interface requests of ioctl(2), netdevice(7): bytes in, bytes out.
    fn interface(&self, request: u32, input: &[u8]) -> Result<Vec<u8>, Errno> {
        crate::net::interface::request(request, input)
    }
    /// The last descriptor is gone.
    fn close(&self) {}
}

/// An open socket.
pub struct SocketFile {
    /// The socket.
    pub socket: Arc<dyn Socket>,
    /// The system it is in.
    pub kernel: Arc<Kernel>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.socket.close();
    }
}

/// The socket an open file is, if it is one.
pub fn of(file: &OpenFile) -> Option<&Arc<dyn Socket>> {
    file.ops.as_any()?.downcast_ref::<SocketFile>().map(|f| &f.socket)
}

impl dyn Socket {
    /// What its options tell of it.
    pub fn facts(&self) -> Facts {
        Facts {
            domain: self.domain(),
            kind: self.kind() as u32,
            protocol: self.protocol(),
            listens: self.listens(),
            peer: self.peer_credentials(),
        }
    }
}

const SIOCINQ: u32 = 0x541b;
const SIOCOUTQ: u32 = 0x5411;
/// Interface requests: `struct ifconf` and `struct ifreq`.
const SIOCG: core::ops::RangeInclusive<u32> = 0x8910..=0x89ff;
const IFREQ: usize = 40;

impl FileOps for SocketFile {
    fn read_at(&self, _: &OpenFile, _: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        self.socket.receive(out, MessageFlags::empty()).map(|got| got.bytes)
    }
    fn write_at(&self, file: &OpenFile, _: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let _ = file;
        let caller = Caller::running(&self.kernel);
        self.socket.send(&caller, None, input, &mut Ancillary::default(), MessageFlags::NOSIGNAL)
    }
    fn readiness(&self, _: &OpenFile) -> Events {
        self.socket.readiness()
    }
    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(self.socket.queue())
    }
    fn ioctl_input(&self, request: u32) -> usize {
        if SIOCG.contains(&request) { IFREQ } else { 0 }
    }
    fn ioctl(&self, _: &OpenFile, args: &IoctlArgs<'_>, input: &[u8]) -> Result<IoctlAnswer, Errno> {
        let count = |n: usize| IoctlAnswer { value: 0, out: low32(n as u64).to_le_bytes().to_vec() };
        match args.request {
            SIOCINQ => self.socket.queued().map(count),
            SIOCOUTQ => self.socket.unsent().map(count),
            request if SIOCG.contains(&request) => {
                self.socket.interface(request, input).map(|out| IoctlAnswer { value: 0, out })
            }
            _ => Err(Errno::ENOTTY),
        }
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
    fn fdinfo(&self, _: &OpenFile) -> String {
        String::new()
    }
}
