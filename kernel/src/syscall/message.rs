//! Sending and receiving: sendto(2), sendmsg(2), recvfrom(2), recvmsg(2) and their kin, and reads and writes of sockets.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::types::{IoVec, Timespec};
use aurora_abi::{Abi, Errno, abi_struct};
use aurora_machine::{USER_END, VirtAddr};

use crate::memory::io::{Segment, Segments};
use crate::memory::{AddressSpace, IoBuf, IoError, UserPtr};
use crate::net::options::PASSCRED;
use crate::net::socket::{Ancillary, MessageFlags, Received, Socket, SocketKind};
use crate::net::unix::UnixSocket;
use crate::num::{low32, to_usize};
use crate::syscall::socket::{Open, Waited, deadline, find_unix, interrupted, wait};
use crate::syscall::time::to_ns;
use crate::syscall::{Context, SysResult};
use crate::task::limits::Resource;
use crate::task::{Pid, SigInfo, Signal};
use crate::vfs::{Events, Fd};

abi_struct! {
    /// `struct msghdr`, recvmsg(2).
    pub struct MessageHeader(56) {
        pub name: u64, pub name_len: u32, pub pad0: u32, pub vector: u64, pub vector_len: u64, pub control: u64,
        pub control_len: u64, pub flags: u32, pub pad1: u32,
    }
}
abi_struct! {
    /// `struct cmsghdr`, cmsg(3).
    pub struct ControlHeader(16) { pub len: u64, pub level: u32, pub kind: u32, }
}

const SOL_SOCKET: u32 = 1;
const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;
/// Most descriptors in one message.
const SCM_MAX_FD: usize = 253;
/// Most control data, `net.core.optmem_max`.
const MAX_CONTROL: u64 = 131_072;
/// Most segments: `UIO_MAXIOV`.
const MAX_SEGMENTS: u64 = 1024;
const HEADER: u64 = ControlHeader::SIZE as u64;

/// A message to send.
struct Outgoing {
    to: Option<Vec<u8>>,
    ancillary: Ancillary,
    flags: MessageFlags,
}

fn segment(base: VirtAddr, len: u64) -> Result<Segments, Errno> {
    // What is longer than any message is cut, as for every transfer.
    let len = len.min(0x7fff_f000);
    let inside = base.checked_add(len).is_some_and(|end| end <= USER_END);
    if inside { Ok(Segments::One([Segment { base, len }])) } else { Err(Errno::EFAULT) }
}

async fn segments(cx: &Context<'_>, vector: UserPtr<IoVec>, count: u64) -> Result<Segments, Errno> {
    if count > MAX_SEGMENTS {
        return Err(Errno::EMSGSIZE);
    }
    let space = cx.space()?;
    let mut all = Vec::with_capacity(to_usize(count));
    for i in 0..count {
        let IoVec { base, len } = vector.element(i).load(&space).await?;
        if len.cast_signed() < 0 {
            return Err(Errno::EINVAL);
        }
        let base = VirtAddr(base);
        if len > 0 && base.checked_add(len).is_none_or(|end| end > USER_END) {
            return Err(Errno::EFAULT);
        }
        all.push(Segment { base, len });
    }
    Ok(Segments::Many(all))
}

pub(super) async fn sendto(
    cx: &mut Context<'_>,
    fd: Fd,
    buffer: VirtAddr,
    len: u64,
    flags: u32,
    to: VirtAddr,
    to_len: u32,
) -> SysResult {
    let segments = segment(buffer, len)?;
    let open = cx.socket(fd)?;
    let to = if to.0 == 0 { None } else { Some(cx.address(to, to_len).await?) };
    let flags = MessageFlags::from_bits_retain(flags);
    let message = Outgoing { to, ancillary: Ancillary::default(), flags };
    send(cx, &open, segments.as_slice(), message).await
}

pub(super) async fn sendmsg(cx: &mut Context<'_>, fd: Fd, header: UserPtr<MessageHeader>, flags: u32) -> SysResult {
    let open = cx.socket(fd)?;
    send_header(cx, &open, header, flags).await
}

async fn send_header(cx: &Context<'_>, open: &Open, header: UserPtr<MessageHeader>, flags: u32) -> SysResult {
    let header = header.load(&*cx.space()?).await?;
    if header.name_len.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let to = match header.name {
        0 => None,
        _ if header.name_len == 0 => None,
        at => Some(cx.address(VirtAddr(at), header.name_len.min(128)).await?),
    };
    let segments = segments(cx, UserPtr::new(header.vector), header.vector_len).await?;
    let ancillary = match header.control_len {
        0 => Ancillary::default(),
        len if len > MAX_CONTROL => return Err(Errno::ENOBUFS),
        len => outgoing(cx, &*open.socket, VirtAddr(header.control), len).await?,
    };
    let message = Outgoing { to, ancillary, flags: MessageFlags::from_bits_retain(flags) };
    send(cx, open, segments.as_slice(), message).await
}

/// Reads the control data of a message to send.
async fn outgoing(cx: &Context<'_>, socket: &dyn Socket, at: VirtAddr, len: u64) -> Result<Ancillary, Errno> {
    let mut bytes = alloc::vec![0; to_usize(len)];
    cx.space()?.copy_in(at, &mut bytes).await?;
    let mut ancillary = Ancillary::default();
    let mut rest = bytes.as_slice();
    while rest.len() >= ControlHeader::SIZE {
        let header = ControlHeader::load(rest);
        let size = to_usize(header.len);
        if size < ControlHeader::SIZE || size > rest.len() {
            return Err(Errno::EINVAL);
        }
        let data = rest.get(ControlHeader::SIZE..size).unwrap_or_default();
        if header.level == SOL_SOCKET && socket.unix().is_some() {
            match header.kind {
                SCM_RIGHTS => add_files(cx, data, &mut ancillary)?,
                SCM_CREDENTIALS => ancillary.credentials = Some(checked_credentials(cx, data)?),
                _ => return Err(Errno::EINVAL),
            }
        } else if header.level == SOL_SOCKET && !matches!(header.kind, SCM_RIGHTS | SCM_CREDENTIALS) {
            return Err(Errno::EINVAL);
        }
        rest = rest.get(size.next_multiple_of(8)..).unwrap_or_default();
    }
    let process = &cx.thread.process;
    let root = process.credentials().is_root();
    ancillary.limit = (!root).then(|| process.limits.get(Resource::Files));
    Ok(ancillary)
}

fn add_files(cx: &Context<'_>, data: &[u8], ancillary: &mut Ancillary) -> Result<(), Errno> {
    let files = cx.thread.files();
    for number in data.chunks_exact(4) {
        if ancillary.files.len() >= SCM_MAX_FD {
            return Err(Errno::EINVAL);
        }
        ancillary.files.push(files.get(Fd(i32::load(number)))?);
    }
    Ok(())
}

/// Credentials a sender claims: its own, unless it is the superuser.
fn checked_credentials(cx: &Context<'_>, data: &[u8]) -> Result<[u32; 3], Errno> {
    if data.len() != 12 {
        return Err(Errno::EINVAL);
    }
    let claimed @ [pid, uid, gid] = <[u32; 3]>::load(data);
    let own = cx.thread.process.credentials();
    let is_own = pid == cx.thread.process.pid.0.cast_unsigned()
        && [own.uid, own.euid, own.suid].contains(&uid)
        && [own.gid, own.egid, own.sgid].contains(&gid);
    if !is_own && !own.is_root() {
        return Err(Errno::EPERM);
    }
    if cx.kernel().processes.process(Pid(pid.cast_signed())).is_none() {
        return Err(Errno::ESRCH);
    }
    Ok(claimed)
}

/// Sends a message, waiting for room.
async fn send(cx: &Context<'_>, open: &Open, segments: &[Segment], mut message: Outgoing) -> SysResult {
    let Open { file, socket } = open;
    let target = target_of(cx, &**socket, message.to.as_deref())?;
    let space = cx.space()?;
    let mut data = IoBuf::user(&space, segments);
    let nonblocking = file.nonblocking() || message.flags.contains(MessageFlags::DONTWAIT);
    let result = send_all(cx, &**socket, &space, &mut data, &target, &mut message, nonblocking).await;
    let stream = socket.kind() == SocketKind::Stream;
    if result == Err(Errno::EPIPE) && stream && !message.flags.contains(MessageFlags::NOSIGNAL) {
        let _ = cx.thread.send(SigInfo::kernel(Signal::SIGPIPE));
    }
    result
}

/// The unix socket a datagram goes to, if its address says one.
fn target_of(cx: &Context<'_>, socket: &dyn Socket, to: Option<&[u8]>) -> Result<Option<Arc<UnixSocket>>, Errno> {
    let (Some(unix), Some(to)) = (socket.unix(), to) else { return Ok(None) };
    if unix.kind() != SocketKind::Datagram {
        return Ok(None);
    }
    if unix.passes_credentials() {
        unix.autobind()?;
    }
    find_unix(cx, to).map(Some)
}

async fn send_all(
    cx: &Context<'_>,
    socket: &dyn Socket,
    space: &AddressSpace,
    data: &mut IoBuf<'_>,
    target: &Option<Arc<UnixSocket>>,
    message: &mut Outgoing,
    nonblocking: bool,
) -> SysResult {
    let caller = cx.caller();
    let deadline = deadline(cx, socket.options().send_time());
    loop {
        let Outgoing { to, ancillary, flags } = message;
        let step = match (target, socket.unix()) {
            (Some(target), Some(unix)) => unix.send_datagram_to(&caller, Some(target.clone()), data, ancillary),
            _ => socket.send(&caller, to.as_deref(), data, ancillary, *flags),
        };
        let progress = data.done() > 0;
        match step {
            Err(IoError::Errno(_)) if progress => return Ok(data.done() as u64),
            Err(error @ (IoError::Errno(_) | IoError::Missing)) => return Err(error.errno()),
            Err(IoError::Fault) => match (data.take_fault(), progress) {
                (Some(fault), _) if space.resolve(fault).await.is_ok() => continue,
                (_, true) => return Ok(data.done() as u64),
                _ => return Err(Errno::EFAULT),
            },
            Ok(_) if data.remaining() == 0 || socket.keeps_messages() => return Ok(data.done() as u64),
            Ok(_) | Err(IoError::WouldBlock) => {}
        }
        if let Some(fault) = data.take_fault() {
            if space.resolve(fault).await.is_err() {
                return Ok(data.done() as u64);
            }
            continue;
        }
        if nonblocking {
            return if progress { Ok(data.done() as u64) } else { Err(Errno::EAGAIN) };
        }
        // Where a datagram finds no room at its target, this socket's own readiness says nothing.
        let any = socket.unix().is_some();
        match wait(cx, socket, Events::WRITABLE | Events::ERR | Events::HUP, deadline, any).await {
            Waited::Ready => {}
            _ if progress => return Ok(data.done() as u64),
            Waited::TimedOut => return Err(Errno::EAGAIN),
            Waited::Signal => return Err(interrupted(deadline)),
        }
    }
}

/// write(2) and its kin on a socket.
pub(super) async fn write(cx: &Context<'_>, open: &Open, segments: &[Segment]) -> SysResult {
    let message = Outgoing { to: None, ancillary: Ancillary::default(), flags: MessageFlags::empty() };
    send(cx, open, segments, message).await
}

/// read(2) and its kin on a socket.
pub(super) async fn read(cx: &Context<'_>, open: &Open, segments: &[Segment]) -> SysResult {
    if segments.iter().all(|s| s.len == 0) && !open.socket.keeps_messages() {
        return Ok(0);
    }
    receive(cx, open, segments, MessageFlags::empty(), true).await.map(|got| got.bytes as u64)
}

/// Receives a message, or what there is of a stream, waiting for it.
async fn receive(
    cx: &Context<'_>,
    open: &Open,
    segments: &[Segment],
    flags: MessageFlags,
    may_wait: bool,
) -> Result<Received, Errno> {
    let Open { file, socket } = open;
    let space = cx.space()?;
    let mut out = IoBuf::user(&space, segments);
    let nonblocking = file.nonblocking() || flags.contains(MessageFlags::DONTWAIT) || !may_wait;
    let deadline = deadline(cx, socket.options().receive_time());
    let all = flags.contains(MessageFlags::WAITALL) && !socket.keeps_messages() && !flags.contains(MessageFlags::PEEK);
    let mut total = Received::default();
    loop {
        let step = socket.receive(&mut out, flags);
        let progress = total.bytes > 0;
        match step {
            Ok(got) => {
                let ended = got.bytes == 0;
                let had_files = !got.ancillary.files.is_empty();
                let bytes = total.bytes + got.bytes;
                let ancillary = core::mem::take(&mut total.ancillary);
                let kept = if had_files || ancillary.files.is_empty() { got.ancillary } else { ancillary };
                total = Received { bytes, ancillary: kept, size: got.size.max(bytes), ..got };
                if let Some(fault) = out.take_fault() {
                    // A stream's bytes stopped at a missing page: go on once it is there.
                    if !socket.keeps_messages() && out.remaining() > 0 && space.resolve(fault).await.is_ok() {
                        if total.more || all {
                            continue;
                        }
                        continue;
                    }
                    return Ok(total);
                }
                if !all || ended || had_files || out.remaining() == 0 {
                    return Ok(total);
                }
            }
            Err(IoError::Fault) => match out.take_fault() {
                Some(fault) if space.resolve(fault).await.is_ok() => continue,
                _ if progress => return Ok(total),
                _ => return Err(Errno::EFAULT),
            },
            Err(IoError::Errno(_)) if progress => return Ok(total),
            Err(error @ (IoError::Errno(_) | IoError::Missing)) => return Err(error.errno()),
            // What was taken before a page was missing is all there is.
            Err(IoError::WouldBlock) if progress && !all => return Ok(total),
            Err(IoError::WouldBlock) => {}
        }
        if nonblocking {
            return if total.bytes > 0 { Ok(total) } else { Err(Errno::EAGAIN) };
        }
        match wait(cx, &**socket, Events::READABLE | Events::ERR | Events::HUP | Events::RDHUP, deadline, false).await {
            Waited::Ready => {}
            _ if total.bytes > 0 => return Ok(total),
            Waited::TimedOut => return Err(Errno::EAGAIN),
            Waited::Signal => return Err(interrupted(deadline)),
        }
    }
}

/// What a receiver is told: a datagram's real size if it asked for it.
fn told(got: &Received, flags: MessageFlags) -> u64 {
    (if flags.contains(MessageFlags::TRUNC) { got.size } else { got.bytes }) as u64
}

pub(super) async fn recvfrom(
    cx: &mut Context<'_>,
    fd: Fd,
    buffer: VirtAddr,
    len: u64,
    flags: u32,
    from: VirtAddr,
    from_len: UserPtr<u32>,
) -> SysResult {
    let segments = segment(buffer, len)?;
    let open = cx.socket(fd)?;
    let flags = MessageFlags::from_bits_retain(flags);
    let got = receive(cx, &open, segments.as_slice(), flags, true).await?;
    if from.0 != 0 {
        match &got.from {
            Some(address) => cx.give_address(from, from_len, address).await?,
            None => from_len.store(&*cx.space()?, &0).await?,
        }
    }
    Ok(told(&got, flags))
}

pub(super) async fn recvmsg(cx: &mut Context<'_>, fd: Fd, header: UserPtr<MessageHeader>, flags: u32) -> SysResult {
    let open = cx.socket(fd)?;
    receive_header(cx, &open, header, MessageFlags::from_bits_retain(flags), true).await
}

async fn receive_header(
    cx: &Context<'_>,
    open: &Open,
    at: UserPtr<MessageHeader>,
    flags: MessageFlags,
    may_wait: bool,
) -> SysResult {
    let space = cx.space()?;
    let header = at.load(&space).await?;
    if header.name_len.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let segments = segments(cx, UserPtr::new(header.vector), header.vector_len).await?;
    let mut got = receive(cx, open, segments.as_slice(), flags, may_wait).await?;
    let name_len = match &got.from {
        Some(address) if header.name != 0 => {
            let cut = address.len().min(to_usize(u64::from(header.name_len)));
            space.copy_out(VirtAddr(header.name), address.get(..cut).unwrap_or_default()).await?;
            low32(address.len() as u64)
        }
        _ => 0,
    };
    let (control_len, cut) = incoming(cx, open, &header, &mut got.ancillary, flags).await?;
    let mut shown = got.flags | (flags & MessageFlags::CMSG_CLOEXEC);
    shown.set(MessageFlags::CTRUNC, cut);
    shown.set(MessageFlags::EOR, open.socket.kind() == SocketKind::SeqPacket && open.socket.unix().is_none());
    if header.name != 0 {
        space.store(at.addr() + 8, &name_len).await?;
    }
    space.store(at.addr() + 40, &control_len).await?;
    space.store(at.addr() + 48, &shown.bits()).await?;
    Ok(told(&got, flags))
}

/// Writes control data to a program. Returns how many bytes, and whether some did not fit.
async fn incoming(
    cx: &Context<'_>,
    open: &Open,
    header: &MessageHeader,
    ancillary: &mut Ancillary,
    flags: MessageFlags,
) -> Result<(u64, bool), Errno> {
    let space = cx.space()?;
    let (start, room) = (VirtAddr(header.control), if header.control == 0 { 0 } else { header.control_len });
    let mut used = 0;
    let mut cut = false;
    if let Some(credentials) = ancillary.credentials.filter(|_| open.socket.options().is_on(PASSCRED)) {
        if room < HEADER {
            cut = true;
        } else {
            let len = (HEADER + 12).min(room);
            cut = len < HEADER + 12;
            let mut bytes = [0; 28];
            ControlHeader { len, level: SOL_SOCKET, kind: SCM_CREDENTIALS }.store(&mut bytes);
            credentials.store(bytes.get_mut(ControlHeader::SIZE..).unwrap_or_default());
            space.copy_out(start, bytes.get(..to_usize(len)).unwrap_or_default()).await?;
            used = len.next_multiple_of(8).min(room);
        }
    }
    let files = core::mem::take(&mut ancillary.files);
    if files.is_empty() {
        return Ok((used, cut));
    }
    let fits = room.saturating_sub(used).saturating_sub(HEADER) / 4;
    let mut given = 0;
    for file in files.iter().take(to_usize(fits)) {
        let Ok(fd) = cx.add_file(file.clone(), flags.contains(MessageFlags::CMSG_CLOEXEC)) else { break };
        if space.store(start + (used + HEADER + given * 4), &fd.0).await.is_err() {
            drop(cx.thread.files().remove(fd));
            break;
        }
        given += 1;
    }
    cut |= given < files.len() as u64;
    if given > 0 {
        let len = HEADER + given * 4;
        space.store(start + used, &ControlHeader { len, level: SOL_SOCKET, kind: SCM_RIGHTS }).await?;
        used += len.next_multiple_of(8).min(room - used);
    }
    Ok((used, cut))
}

abi_struct! {
    /// `struct mmsghdr`, recvmmsg(2).
    pub struct ManyHeader(64) { pub header: MessageHeader, pub len: u32, pub pad: u32, }
}

pub(super) async fn sendmmsg(
    cx: &mut Context<'_>,
    fd: Fd,
    vector: UserPtr<ManyHeader>,
    count: u32,
    flags: u32,
) -> SysResult {
    let open = cx.socket(fd)?;
    let space = cx.space()?;
    let mut sent = 0;
    for i in 0..u64::from(count).min(MAX_SEGMENTS) {
        let at = vector.element(i);
        match send_header(cx, &open, UserPtr::new(at.addr().0), flags).await {
            Ok(bytes) => {
                space.store(at.addr() + MessageHeader::SIZE as u64, &low32(bytes)).await?;
                sent += 1;
            }
            Err(errno) if sent == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(sent)
}

pub(super) async fn recvmmsg(
    cx: &mut Context<'_>,
    fd: Fd,
    vector: UserPtr<ManyHeader>,
    count: u32,
    flags: u32,
    timeout: UserPtr<Timespec>,
) -> SysResult {
    let space = cx.space()?;
    let deadline = match timeout.non_null() {
        Some(timeout) => Some(cx.kernel().machine.now() + to_ns(timeout.load(&space).await?)?),
        None => None,
    };
    let open = cx.socket(fd)?;
    if let Some(errno) = open.socket.take_error() {
        return Err(errno);
    }
    let mut flags = MessageFlags::from_bits_retain(flags);
    let wait_for_one = flags.contains(MessageFlags::WAITFORONE);
    flags.remove(MessageFlags::WAITFORONE);
    let mut got = 0;
    for i in 0..u64::from(count).min(MAX_SEGMENTS) {
        let at = vector.element(i);
        let may_wait = !(wait_for_one && got > 0);
        match receive_header(cx, &open, UserPtr::new(at.addr().0), flags, may_wait).await {
            Ok(bytes) => {
                space.store(at.addr() + MessageHeader::SIZE as u64, &low32(bytes)).await?;
                got += 1;
            }
            Err(errno) if got == 0 => return Err(errno),
            Err(_) => break,
        }
        // Only asked after each message, as Linux does.
        if deadline.is_some_and(|d| cx.kernel().machine.now() >= d) {
            break;
        }
    }
    Ok(got)
}
