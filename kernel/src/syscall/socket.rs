//! Making and connecting sockets: socket(2), bind(2), connect(2), listen(2), accept(2), getsockopt(2) and their kin.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use aurora_abi::Errno;
use aurora_machine::{Instant, VirtAddr};

use crate::memory::{IoError, UserPtr};
use crate::net::inet::InetSocket;
use crate::net::netlink::NetlinkSocket;
use crate::net::options::SOL_SOCKET;
use crate::net::socket::{Caller, Shutdown, Socket, SocketFile, SocketKind, of};
use crate::net::unix::UnixSocket;
use crate::net::unix::names::{AF_UNIX, Name, UnixAddress};
use crate::num::{low32, to_usize};
use crate::security::{WRITE, may_use_family};
use crate::syscall::{Context, SysResult};
use crate::vfs::file::FILE_COST;
use crate::vfs::inode::DeviceId;
use crate::vfs::path::Follow;
use crate::vfs::{AT_FDCWD, Events, Fd, FileKind, OpenFile, OpenFlags};

/// Bytes of the largest address, `struct sockaddr_storage`.
const MAX_ADDRESS: u64 = 128;
const SOCK_NONBLOCK: u32 = OpenFlags::NONBLOCK.bits();
const SOCK_CLOEXEC: u32 = OpenFlags::CLOEXEC.bits();

/// An open socket and its file.
pub(super) struct Open {
    pub(super) file: Arc<OpenFile>,
    pub(super) socket: Arc<dyn Socket>,
}

impl Context<'_> {
    /// The socket of a descriptor: `EBADF`, `ENOTSOCK`.
    pub(super) fn socket(&self, fd: Fd) -> Result<Open, Errno> {
        let file = self.thread.files().get(fd)?;
        if file.flags().contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        let socket = of(&file).cloned().ok_or(Errno::ENOTSOCK)?;
        Ok(Open { file, socket })
    }

    pub(super) fn caller(&self) -> Caller {
        Caller::of(&self.thread.process)
    }

    /// Reads an address a program gave.
    pub(super) async fn address(&self, at: VirtAddr, len: u32) -> Result<Vec<u8>, Errno> {
        let len = u64::from(len);
        if len.cast_signed() > MAX_ADDRESS.cast_signed() || low32(len).cast_signed() < 0 {
            return Err(Errno::EINVAL);
        }
        let mut bytes = alloc::vec![0; to_usize(len)];
        self.space()?.copy_in(at, &mut bytes).await?;
        Ok(bytes)
    }

    /// Gives a program an address and its length, cut to the room it has.
    pub(super) async fn give_address(&self, at: VirtAddr, len: UserPtr<u32>, address: &[u8]) -> Result<(), Errno> {
        let space = self.space()?;
        let room = len.load(&space).await?;
        if room.cast_signed() < 0 {
            return Err(Errno::EINVAL);
        }
        let cut = address.len().min(to_usize(u64::from(room)));
        space.copy_out(at, address.get(..cut).unwrap_or_default()).await?;
        len.store(&space, &low32(address.len() as u64)).await
    }

    fn open_socket(&self, socket: Arc<dyn Socket>, flags: u32) -> Result<Arc<OpenFile>, Errno> {
        let kernel = self.kernel();
        let charge = kernel.memory.charge(FILE_COST).map_err(|_| Errno::ENFILE)?;
        let credentials = self.thread.process.credentials();
        let (uid, gid) = (credentials.fsuid, credentials.fsgid);
        let inode = kernel.anonymous.create(FileKind::Socket, 0o777, uid, gid, kernel.now());
        let flags = OpenFlags::from_bits_truncate(flags & SOCK_NONBLOCK) | OpenFlags::RDWR;
        Ok(OpenFile::new(None, inode, Arc::new(SocketFile { socket, kernel: kernel.clone() }), flags, charge))
    }

    fn add_socket(&self, socket: Arc<dyn Socket>, flags: u32) -> Result<Fd, Errno> {
        self.add_file(self.open_socket(socket, flags)?, flags & SOCK_CLOEXEC != 0)
    }
}

fn fd_result(fd: Fd) -> SysResult {
    Ok(u64::from(fd.0.cast_unsigned()))
}

/// The type and the flags in one word.
fn split_type(word: u32) -> Result<(u32, u32), Errno> {
    let (kind, flags) = (word & 15, word & !15);
    if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok((kind, flags))
}

fn unix_kind(kind: u32, protocol: u32) -> Result<SocketKind, Errno> {
    if protocol != 0 && protocol != u32::from(AF_UNIX) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    match kind {
        1 => Ok(SocketKind::Stream),
        // A raw one is another word for datagrams.
        2 | 3 => Ok(SocketKind::Datagram),
        5 => Ok(SocketKind::SeqPacket),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// Families there are numbers for.
const MAX_FAMILY: u32 = 46;
const MAX_TYPE: u32 = 11;

pub(super) fn socket(cx: &mut Context<'_>, family: u32, kind: u32, protocol: u32) -> SysResult {
    let (kind, flags) = split_type(kind)?;
    if family >= MAX_FAMILY {
        return Err(Errno::EAFNOSUPPORT);
    }
    if kind >= MAX_TYPE {
        return Err(Errno::EINVAL);
    }
    may_use_family(&cx.thread.process.capabilities, family)?;
    let socket: Arc<dyn Socket> = match family {
        1 => UnixSocket::new(cx.kernel(), unix_kind(kind, protocol)?)?,
        2 | 10 => {
            let user = cx.thread.process.credentials().euid;
            InetSocket::new(cx.kernel(), family == 10, kind, protocol, user)?
        }
        16 => NetlinkSocket::new(cx.kernel(), kind, protocol)?,
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    cx.add_socket(socket, flags).and_then(fd_result)
}

pub(super) async fn socketpair(
    cx: &mut Context<'_>,
    family: u32,
    kind: u32,
    protocol: u32,
    out: UserPtr<[i32; 2]>,
) -> SysResult {
    let (kind, flags) = split_type(kind)?;
    if family >= MAX_FAMILY {
        return Err(Errno::EAFNOSUPPORT);
    }
    if kind >= MAX_TYPE {
        return Err(Errno::EINVAL);
    }
    if family != u32::from(AF_UNIX) {
        return Err(if matches!(family, 2 | 10 | 16) { Errno::EOPNOTSUPP } else { Errno::EAFNOSUPPORT });
    }
    may_use_family(&cx.thread.process.capabilities, family)?;
    let kind = unix_kind(kind, protocol)?;
    let (first, second) = (UnixSocket::new(cx.kernel(), kind)?, UnixSocket::new(cx.kernel(), kind)?);
    first.join(&second, cx.caller().credentials);
    let first = cx.add_socket(first, flags)?;
    let files = cx.thread.files();
    let second = cx.add_socket(second, flags).inspect_err(|_| drop(files.remove(first)))?;
    if let Err(errno) = out.store(&*cx.space()?, &[first.0, second.0]).await {
        drop((files.remove(first), files.remove(second)));
        return Err(errno);
    }
    Ok(0)
}

pub(super) async fn bind(cx: &mut Context<'_>, fd: Fd, at: VirtAddr, len: u32) -> SysResult {
    let Open { socket, .. } = cx.socket(fd)?;
    let address = cx.address(at, len).await?;
    match socket.unix() {
        Some(unix) => bind_unix(cx, &unix, &address)?,
        None => socket.bind(&cx.caller(), &address)?,
    }
    Ok(0)
}

fn bind_unix(cx: &Context<'_>, socket: &Arc<UnixSocket>, address: &[u8]) -> Result<(), Errno> {
    let names = &cx.kernel().network.unix;
    match UnixAddress::parse(address)? {
        UnixAddress::Unnamed => {
            socket.autobind()?;
        }
        UnixAddress::Abstract(name) => {
            socket.may_bind()?;
            names.bind_abstract(&name, socket)?;
            socket.set_name(Name::Abstract(name));
        }
        UnixAddress::Path(path) => {
            let target = cx.target(AT_FDCWD, &path)?;
            if target.found.is_some() || target.slash {
                return Err(if target.found.is_some() { Errno::EADDRINUSE } else { Errno::ENOENT });
            }
            socket.may_bind()?;
            let mode = FileKind::Socket.bits() | 0o777 & !cx.thread.fs().umask();
            let made = cx.make(&target, mode, DeviceId::default(), &[])?;
            let metadata = made.inode().metadata();
            let place = (metadata.dev, metadata.ino);
            names.bind_path(place, socket);
            socket.set_name(Name::Path(path, place));
        }
    }
    Ok(())
}

/// The unix socket an address names; `ECONNREFUSED` if nobody has the name.
pub(super) fn find_unix(cx: &Context<'_>, address: &[u8]) -> Result<Arc<UnixSocket>, Errno> {
    let names = &cx.kernel().network.unix;
    let found = match UnixAddress::parse(address)? {
        UnixAddress::Unnamed => return Err(Errno::EINVAL),
        UnixAddress::Abstract(name) => names.named(&name),
        UnixAddress::Path(path) => {
            let place = cx.resolve(AT_FDCWD, &path, Follow::Yes)?;
            let metadata = place.inode().metadata();
            cx.thread.process.credentials().may_access(&metadata, WRITE)?;
            if metadata.kind() != FileKind::Socket {
                return Err(Errno::ECONNREFUSED);
            }
            names.at((metadata.dev, metadata.ino))
        }
    };
    found.ok_or(Errno::ECONNREFUSED)
}

pub(super) async fn connect(cx: &mut Context<'_>, fd: Fd, at: VirtAddr, len: u32) -> SysResult {
    let Open { file, socket } = cx.socket(fd)?;
    let address = cx.address(at, len).await?;
    let caller = cx.caller();
    let deadline = deadline(cx, socket.options().send_time());
    let mut first = true;
    loop {
        let step = match socket.unix() {
            Some(unix) => connect_unix(cx, &unix, &caller, &address),
            None => socket.connect(&caller, &address, first),
        };
        match step {
            Ok(()) => return Ok(0),
            Err(error @ (IoError::Errno(_) | IoError::Missing)) => return Err(error.errno()),
            Err(IoError::Fault) => return Err(Errno::EFAULT),
            Err(IoError::WouldBlock) => {}
        }
        let unix = socket.unix().is_some();
        if file.nonblocking() {
            return Err(if unix { Errno::EAGAIN } else { socket.connecting() });
        }
        first = false;
        match wait(cx, &*socket, Events::WRITABLE | Events::ERR | Events::HUP, deadline, unix).await {
            Waited::Ready => {}
            Waited::TimedOut => return Err(if unix { Errno::EAGAIN } else { Errno::EINPROGRESS }),
            Waited::Signal => return Err(if deadline.is_some() { Errno::EINTR } else { Errno::ERESTARTSYS }),
        }
    }
}

const AF_UNSPEC: [u8; 2] = [0, 0];

fn connect_unix(cx: &Context<'_>, socket: &Arc<UnixSocket>, caller: &Caller, address: &[u8]) -> Result<(), IoError> {
    if socket.kind() == SocketKind::Datagram && address.get(..2).ok_or(Errno::EINVAL)? == AF_UNSPEC {
        return Ok(socket.disconnect()?);
    }
    if socket.passes_credentials() {
        socket.autobind()?;
    }
    let other = find_unix(cx, address)?;
    socket.connect_to(Some(other), caller)
}

pub(super) fn listen(cx: &mut Context<'_>, fd: Fd, backlog: u32) -> SysResult {
    let Open { socket, .. } = cx.socket(fd)?;
    socket.listen(&cx.caller(), backlog).map(|()| 0)
}

pub(super) async fn accept(cx: &mut Context<'_>, fd: Fd, at: VirtAddr, len: UserPtr<u32>) -> SysResult {
    accept4(cx, fd, at, len, 0).await
}

pub(super) async fn accept4(cx: &mut Context<'_>, fd: Fd, at: VirtAddr, len: UserPtr<u32>, flags: u32) -> SysResult {
    if flags & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let Open { file, socket } = cx.socket(fd)?;
    let deadline = deadline(cx, socket.options().receive_time());
    let accepted = loop {
        match socket.accept() {
            Ok(accepted) => break accepted,
            Err(IoError::WouldBlock) if file.nonblocking() => return Err(Errno::EAGAIN),
            Err(IoError::WouldBlock) => {}
            Err(error @ (IoError::Errno(_) | IoError::Missing)) => return Err(error.errno()),
            Err(IoError::Fault) => return Err(Errno::EFAULT),
        }
        match wait(cx, &*socket, Events::READABLE | Events::ERR | Events::HUP, deadline, false).await {
            Waited::Ready => {}
            Waited::TimedOut => return Err(Errno::EAGAIN),
            Waited::Signal => return Err(interrupted(deadline)),
        }
    };
    let peer = accepted.remote();
    let new = cx.add_socket(accepted, flags)?;
    if at.0 != 0 {
        // Who hung up before being accepted has no address any more.
        let given = match peer {
            Ok(peer) => cx.give_address(at, len, &peer).await,
            Err(_) => Err(Errno::ECONNABORTED),
        };
        if let Err(errno) = given {
            drop(cx.thread.files().remove(new));
            return Err(errno);
        }
    }
    fd_result(new)
}

/// How an interrupted wait goes on: one with a time limit does not.
pub(super) fn interrupted(deadline: Option<Instant>) -> Errno {
    if deadline.is_some() { Errno::EINTR } else { Errno::ERESTARTSYS }
}

pub(super) fn deadline(cx: &Context<'_>, limit: Option<u64>) -> Option<Instant> {
    limit.map(|ns| cx.kernel().machine.now() + ns)
}

/// How a wait for a socket ended.
pub(super) enum Waited {
    Ready,
    TimedOut,
    Signal,
}

/// Waits until a socket is ready or time is up. With `any`, every wake-up counts: it is about another socket's room.
pub(super) async fn wait(
    cx: &Context<'_>,
    socket: &dyn Socket,
    wanted: Events,
    deadline: Option<Instant>,
    any: bool,
) -> Waited {
    let mut looks = 0;
    let mut ready = core::pin::pin!(socket.queue().wait(|| {
        looks += 1;
        (!any && socket.readiness().intersects(wanted) || looks > 2).then_some(())
    }));
    let mut sleep = core::pin::pin!(cx.kernel().sleep_until(deadline.unwrap_or(Instant::NEVER)));
    let both = core::future::poll_fn(|context| {
        if ready.as_mut().poll(context).is_ready() {
            return Poll::Ready(Waited::Ready);
        }
        sleep.as_mut().poll(context).map(|()| Waited::TimedOut)
    });
    cx.thread.interruptible(both).await.unwrap_or(Waited::Signal)
}

pub(super) fn shutdown(cx: &mut Context<'_>, fd: Fd, how: u32) -> SysResult {
    let Open { socket, .. } = cx.socket(fd)?;
    let how = match how {
        0 => Shutdown { receive: true, send: false },
        1 => Shutdown { receive: false, send: true },
        2 => Shutdown { receive: true, send: true },
        _ => return Err(Errno::EINVAL),
    };
    socket.shutdown(how).map(|()| 0)
}

pub(super) async fn getsockname(cx: &mut Context<'_>, fd: Fd, at: VirtAddr, len: UserPtr<u32>) -> SysResult {
    let address = cx.socket(fd)?.socket.local()?;
    cx.give_address(at, len, &address).await.map(|()| 0)
}

pub(super) async fn getpeername(cx: &mut Context<'_>, fd: Fd, at: VirtAddr, len: UserPtr<u32>) -> SysResult {
    let address = cx.socket(fd)?.socket.remote()?;
    cx.give_address(at, len, &address).await.map(|()| 0)
}

pub(super) async fn setsockopt(
    cx: &mut Context<'_>,
    fd: Fd,
    level: u32,
    name: u32,
    at: VirtAddr,
    len: u32,
) -> SysResult {
    if len.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let Open { socket, .. } = cx.socket(fd)?;
    let mut value = alloc::vec![0; to_usize(u64::from(len.min(256)))];
    cx.space()?.copy_in(at, &mut value).await?;
    let done = if level == SOL_SOCKET {
        socket.options().set(name, &value, cx.caller().root)
    } else {
        socket.set_option(level, name, &value)
    };
    done.map(|()| 0)
}

pub(super) async fn getsockopt(
    cx: &mut Context<'_>,
    fd: Fd,
    level: u32,
    name: u32,
    at: VirtAddr,
    len: UserPtr<u32>,
) -> SysResult {
    let Open { socket, .. } = cx.socket(fd)?;
    let space = cx.space()?;
    let value = |room: u32| {
        if room.cast_signed() < 0 {
            return Err(Errno::EINVAL);
        }
        if level == SOL_SOCKET {
            let error = || socket.take_error().map_or(0, |errno| u32::from(errno.number()));
            socket.options().get(name, &socket.facts(), error)
        } else {
            socket.get_option(level, name)
        }
    };
    let room = len.load(&space).await?;
    let value = value(room)?;
    let cut = value.len().min(to_usize(u64::from(room)));
    space.copy_out(at, value.get(..cut).unwrap_or_default()).await?;
    len.store(&space, &low32(cut as u64)).await?;
    Ok(0)
}
