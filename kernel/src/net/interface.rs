//! Interfaces, netdevice(7): there is one, to ourselves.

use alloc::vec::Vec;

use aurora_abi::Errno;

/// Its name.
pub const LOOPBACK: &[u8] = b"lo";
/// Its number.
pub const INDEX: u32 = 1;
/// Its largest packet, as Linux says.
pub const MTU: u32 = 65536;
/// Up, loopback, running.
pub const FLAGS: u32 = 0x1 | 0x8 | 0x40;
/// `ARPHRD_LOOPBACK`.
pub const KIND: u16 = 772;

const NAME: usize = 16;
const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCGIFBRDADDR: u32 = 0x8919;
const SIOCGIFNETMASK: u32 = 0x891b;
const SIOCGIFMETRIC: u32 = 0x891d;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCGIFHWADDR: u32 = 0x8927;
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGIFTXQLEN: u32 = 0x8942;

/// `SIOCGIFCONF`: a `struct ifconf`, which says where all addresses go.
pub const SIOCGIFCONF: u32 = 0x8912;

/// What `SIOCGIFCONF` tells: a `struct ifreq` for each interface with an IPv4 address.
pub fn addresses() -> Vec<u8> {
    let mut entry = alloc::vec![0; 40];
    let address = [2, 0, 0, 0, 127, 0, 0, 1];
    entry.iter_mut().zip(LOOPBACK).for_each(|(to, from)| *to = *from);
    entry.iter_mut().skip(NAME).zip(address).for_each(|(to, from)| *to = from);
    entry
}

/// `/proc/net/dev`. Most of what goes through the loopback interface never becomes packets, so none are counted.
pub fn statistics() -> Vec<u8> {
    b"Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop \
      fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:       0       0    \
      0    0    0     0          0         0        0       0    0    0    0     0       0          0\n"
        .to_vec()
}

/// `/proc/net/if_inet6`.
pub fn addresses6() -> Vec<u8> {
    b"00000000000000000000000000000001 01 80 10 80       lo\n".to_vec()
}

/// Answers a `SIOCG*` request: a `struct ifreq` in, one out.
pub fn request(request: u32, input: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut answer = input.to_vec();
    let mut put = |at: usize, bytes: &[u8]| {
        answer.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    };
    let address = |ip: [u8; 4]| {
        let [a, b, c, d] = ip;
        [2, 0, 0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]
    };
    if request == SIOCGIFNAME {
        if input.get(NAME..NAME + 4) != Some(&INDEX.to_le_bytes()) {
            return Err(Errno::ENODEV);
        }
        put(0, b"lo\0");
        return Ok(answer);
    }
    let known = [
        SIOCGIFFLAGS,
        SIOCGIFADDR,
        SIOCGIFBRDADDR,
        SIOCGIFNETMASK,
        SIOCGIFMETRIC,
        SIOCGIFMTU,
        SIOCGIFHWADDR,
        SIOCGIFINDEX,
        SIOCGIFTXQLEN,
    ];
    if !known.contains(&request) {
        return Err(Errno::ENOTTY);
    }
    if input.split(|&b| b == 0).next() != Some(LOOPBACK) {
        return Err(Errno::ENODEV);
    }
    match request {
        SIOCGIFFLAGS => put(NAME, &FLAGS.to_le_bytes()[..2]),
        SIOCGIFADDR => put(NAME, &address([127, 0, 0, 1])),
        SIOCGIFBRDADDR => put(NAME, &address([0, 0, 0, 0])),
        SIOCGIFNETMASK => put(NAME, &address([255, 0, 0, 0])),
        SIOCGIFMETRIC => put(NAME, &0u32.to_le_bytes()),
        SIOCGIFMTU => put(NAME, &MTU.to_le_bytes()),
        SIOCGIFHWADDR => put(NAME, &[KIND.to_le_bytes()[0], KIND.to_le_bytes()[1], 0, 0, 0, 0, 0, 0]),
        SIOCGIFTXQLEN => put(NAME, &1000u32.to_le_bytes()),
        _ => put(NAME, &INDEX.to_le_bytes()),
    }
    Ok(answer)
}
