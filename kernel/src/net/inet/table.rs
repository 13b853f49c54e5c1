//! `/proc/net/tcp` and its kin.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::{IpAddr, SocketAddr};

use smoltcp::socket::tcp::State as Tcp;

use crate::Kernel;
use crate::net::inet::address::any;
use crate::net::inet::{InetSocket, Stage};
use crate::net::socket::SocketKind;

/// An address as these files have it: words of the machine's order in hexadecimal.
fn shown(address: Option<SocketAddr>, version6: bool) -> String {
    let address = address.unwrap_or_else(|| SocketAddr::new(any(version6), 0));
    let mut text = String::new();
    let octets = match address.ip() {
        IpAddr::V4(ip) if !version6 => ip.octets().to_vec(),
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    for word in octets.chunks(4) {
        word.iter().rev().for_each(|byte| {
            let _ = write!(text, "{byte:02X}");
        });
    }
    let _ = write!(text, ":{:04X}", address.port());
    text
}

/// The number of a connection's state, include/net/tcp_states.h.
fn state_of(socket: &InetSocket) -> u8 {
    let (stage, connection) = {
        let state = socket.state.lock();
        (state.stage, state.connection)
    };
    let Some(handle) = connection else {
        return match stage {
            Stage::Listening => 10,
            Stage::Associated => 1,
            _ => 7,
        };
    };
    let now = socket.kernel.network.stack.look(&socket.kernel, |stack| stack.tcp(handle).state());
    match now {
        Tcp::Established => 1,
        Tcp::SynSent => 2,
        Tcp::SynReceived | Tcp::Listen => 3,
        Tcp::FinWait1 => 4,
        Tcp::FinWait2 => 5,
        Tcp::TimeWait => 6,
        Tcp::Closed => 7,
        Tcp::CloseWait => 8,
        Tcp::LastAck => 9,
        Tcp::Closing => 11,
    }
}

fn table(kernel: &Kernel, kind: SocketKind, version6: bool) -> Vec<u8> {
    let pad = if version6 { " ".repeat(24) } else { String::new() };
    let queue = if kind == SocketKind::Stream { "" } else { " ref pointer drops" };
    let mut text = format!(
        "  sl  local_address {pad}rem_address   {pad}st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode{queue}\n"
    );
    let all = kernel.network.stack.sockets();
    let shown_ones = all.iter().filter(|s| s.kind == kind && s.version6 == version6);
    for (i, socket) in shown_ones.filter(|s| s.state.lock().local.is_some()).enumerate() {
        let number = state_of(socket);
        let state = socket.state.lock();
        let _ = writeln!(
            text,
            "{i:4}: {} {} {number:02X} {:08X}:{:08X} 00:00000000 00000000 {:5}        0 {} 2 0000000000000000 0",
            shown(state.local, version6),
            shown(state.remote, version6),
            0,
            state.datagram_bytes,
            socket.user,
            socket.number,
        );
    }
    let count = all.iter().filter(|s| s.kind == kind && s.version6 == version6).count();
    let time_wait = match kind {
        SocketKind::Stream => kernel.network.stack.time_wait(kernel.machine.now()),
        _ => Vec::new(),
    };
    for (i, wait) in time_wait.iter().filter(|wait| wait.local.is_ipv6() == version6).enumerate() {
        let (local, remote) = (shown(Some(wait.local), version6), shown(Some(wait.remote), version6));
        let _ = writeln!(
            text,
            "{:4}: {local} {remote} 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0000000000000000",
            count + i
        );
    }
    text.into_bytes()
}

/// `/proc/net/sockstat`.
pub fn statistics(kernel: &Kernel) -> Vec<u8> {
    let all = kernel.network.stack.sockets();
    let count = |kind| all.iter().filter(|s| s.kind == kind && !s.version6).count();
    let (tcp, udp) = (count(SocketKind::Stream), count(SocketKind::Datagram));
    let time_wait = kernel.network.stack.time_wait(kernel.machine.now()).len();
    format!(
        "sockets: used {}\nTCP: inuse {tcp} orphan 0 tw {time_wait} alloc {tcp} mem 0\nUDP: inuse {udp} mem 0\n\
         UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
        all.len(),
    )
    .into_bytes()
}

/// `/proc/net/tcp`.
pub fn tcp(kernel: &Kernel) -> Vec<u8> {
    table(kernel, SocketKind::Stream, false)
}
/// `/proc/net/tcp6`.
pub fn tcp6(kernel: &Kernel) -> Vec<u8> {
    table(kernel, SocketKind::Stream, true)
}
/// `/proc/net/udp`.
pub fn udp(kernel: &Kernel) -> Vec<u8> {
    table(kernel, SocketKind::Datagram, false)
}
/// `/proc/net/udp6`.
pub fn udp6(kernel: &Kernel) -> Vec<u8> {
    table(kernel, SocketKind::Datagram, true)
}
