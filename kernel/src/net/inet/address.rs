//! Internet addresses as programs write them: ip(7), ipv6(7).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aurora_abi::Errno;

/// The family of version 4.
pub const AF_INET: u16 = 2;
/// The family of version 6.
pub const AF_INET6: u16 = 10;
const SIZE_4: usize = 16;
/// The least of a `struct sockaddr_in6`: without the scope.
const SIZE_6: usize = 24;

/// Reads `struct sockaddr_in`, or `struct sockaddr_in6` for a socket of version 6. An address of version 4 in one of
/// version 6 becomes what it is.
pub fn parse(bytes: &[u8], version6: bool) -> Result<SocketAddr, Errno> {
    let [low, high, port_high, port_low, ..] = bytes else { return Err(Errno::EINVAL) };
    let (family, port) = (u16::from_le_bytes([*low, *high]), u16::from_be_bytes([*port_high, *port_low]));
    let part = |at: usize| bytes.get(at..).unwrap_or_default();
    if version6 {
        if bytes.len() < SIZE_6 {
            return Err(Errno::EINVAL);
        }
        if family != AF_INET6 {
            return Err(Errno::EAFNOSUPPORT);
        }
        let mut octets = [0; 16];
        octets.iter_mut().zip(part(8)).for_each(|(to, from)| *to = *from);
        return Ok(SocketAddr::new(Ipv6Addr::from(octets).to_canonical(), port));
    }
    if bytes.len() < SIZE_4 {
        return Err(Errno::EINVAL);
    }
    let mut octets = [0; 4];
    octets.iter_mut().zip(part(4)).for_each(|(to, from)| *to = *from);
    let addr = Ipv4Addr::from(octets);
    // Old programs leave the family out for the address that means any.
    if family != AF_INET && !(family == 0 && addr.is_unspecified()) {
        return Err(Errno::EAFNOSUPPORT);
    }
    Ok(SocketAddr::new(IpAddr::V4(addr), port))
}

/// As programs read it.
pub fn encode(address: SocketAddr, version6: bool) -> Vec<u8> {
    let family = if version6 { AF_INET6 } else { AF_INET };
    let mut bytes = family.to_le_bytes().to_vec();
    bytes.extend_from_slice(&address.port().to_be_bytes());
    match (address.ip(), version6) {
        (IpAddr::V4(addr), false) => {
            bytes.extend_from_slice(&addr.octets());
            bytes.resize(SIZE_4, 0);
        }
        (addr, _) => {
            let addr = match addr {
                IpAddr::V4(addr) if addr.is_unspecified() => Ipv6Addr::UNSPECIFIED,
                IpAddr::V4(addr) => addr.to_ipv6_mapped(),
                IpAddr::V6(addr) => addr,
            };
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&addr.octets());
            bytes.extend_from_slice(&[0; 4]);
        }
    }
    bytes
}

/// Whether an address is this machine's.
pub fn is_local(addr: IpAddr) -> bool {
    addr.is_loopback()
}

/// Whether two bound addresses take the same packets; `dual` says that the other one, of any address of version 6, takes
/// version 4 too.
pub fn overlap(one: IpAddr, one_dual: bool, other: IpAddr, other_dual: bool) -> bool {
    match (one, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        (IpAddr::V6(a), IpAddr::V6(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        (IpAddr::V4(_), IpAddr::V6(b)) => b.is_unspecified() && other_dual,
        (IpAddr::V6(a), IpAddr::V4(_)) => a.is_unspecified() && one_dual,
    }
}

/// Any address of a version.
pub fn any(version6: bool) -> IpAddr {
    if version6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}

/// The address this machine has towards another.
pub fn source_for(to: IpAddr) -> IpAddr {
    match to {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// Where something sent to any address goes: to this machine.
pub fn destination(to: SocketAddr) -> SocketAddr {
    if to.ip().is_unspecified() { SocketAddr::new(source_for(to.ip()), to.port()) } else { to }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_the_one_it_maps() {
        let written = encode("127.0.0.1:80".parse().unwrap(), true);
        assert_eq!(written.len(), 28);
        assert_eq!(parse(&written, true), Ok("127.0.0.1:80".parse().unwrap()));
        assert_eq!(parse(&written, false), Err(Errno::EAFNOSUPPORT));
    }

    #[test]
    fn any_address_of_version_6_takes_version_4_unless_it_says_not() {
        let (any6, some4) = ("::".parse().unwrap(), "127.0.0.1".parse().unwrap());
        assert!(overlap(any6, true, some4, false));
        assert!(!overlap(any6, false, some4, false));
        assert!(!overlap("::1".parse().unwrap(), true, some4, false));
    }
}
