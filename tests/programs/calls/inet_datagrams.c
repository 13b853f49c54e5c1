// Internet sockets: version 6, datagrams, interfaces.
#include "inet.h"
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

// Version 6.
CASE("connect", "over version 6") {
  socklen_t size = sizeof here6;
  c = OK(socket(AF_INET6, SOCK_STREAM, 0));
  local6(0);
  OK(bind(c, AT6));
  OK(listen(c, 1));
  OK(getsockname(c, (struct sockaddr *)&here6, &size));
  IS(28, size);
  a = OK(socket(AF_INET6, SOCK_STREAM, 0));
  OK(connect(a, AT6));
  b = OK(accept(c, NULL, NULL));
  IS(2, write(a, "hi", 2));
  IS(2, read(b, text, 10));
}
static int any6(bool only) {
  socklen_t size = sizeof here6;
  int fd = OK(socket(AF_INET6, SOCK_STREAM, 0));
  if (only) OK(turn_on(fd, IPPROTO_IPV6, IPV6_V6ONLY));
  here6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
  OK(bind(fd, AT6));
  OK(listen(fd, 1));
  OK(getsockname(fd, (struct sockaddr *)&here6, &size));
  local(ntohs(here6.sin6_port));
  return fd;
}
CASE("accept", "a listener of version 6 takes version 4, as mapped addresses") {
  c = any6(false);
  a = stream();
  OK(connect(a, AT));
  socklen_t size = sizeof here6;
  OK(accept(c, (struct sockaddr *)&here6, &size));
  HOLDS(IN6_IS_ADDR_V4MAPPED(&here6.sin6_addr));
  IS(port_of(a), ntohs(here6.sin6_port));
}
CASE("connect", "IPV6_V6ONLY refuses version 4") {
  c = any6(true);
  FAILS(ECONNREFUSED, connect(stream(), AT));
}
CASE("bind", "any address of version 6 and of version 4 is the same port") {
  c = any6(false);
  here.sin_addr.s_addr = INADDR_ANY;
  FAILS(EADDRINUSE, bind(stream(), AT));
}
CASE("bind", "IPV6_V6ONLY leaves the port to version 4") {
  c = any6(true);
  here.sin_addr.s_addr = INADDR_ANY;
  OK(bind(stream(), AT));
}
CASE("connect", "a socket of version 6 to a mapped address") {
  c = listener(1);
  here6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = here.sin_port};
  inet_pton(AF_INET6, "::ffff:127.0.0.1", &here6.sin6_addr);
  OK(connect(OK(socket(AF_INET6, SOCK_STREAM, 0)), AT6));
}
CASE("connect", "a socket of version 6 to an address of version 4 is EAFNOSUPPORT") {
  c = listener(1);
  FAILS(EAFNOSUPPORT, connect(OK(socket(AF_INET6, SOCK_STREAM, 0)), (struct sockaddr *)&here, 28));
}
CASE("setsockopt", "IPV6_V6ONLY of a bound socket is EINVAL") {
  c = any6(false);
  FAILS(EINVAL, turn_on(c, IPPROTO_IPV6, IPV6_V6ONLY));
}
CASE("bind", "of a version 6 address that is too short is EINVAL") {
  local6(0);
  FAILS(EINVAL, bind(OK(socket(AF_INET6, SOCK_STREAM, 0)), (struct sockaddr *)&here6, 20));
}

// Datagrams.
static void two(void) {
  a = datagram(), b = datagram();
  local(0);
  OK(bind(b, AT));
  port_of(b);
}
CASE("sendto", "a datagram over the internet, and who sent it") {
  two();
  IS(2, sendto(a, "hi", 2, 0, AT));
  socklen_t size = sizeof here;
  IS(2, recvfrom(b, text, 10, 0, (struct sockaddr *)&here, &size));
  int port = ntohs(here.sin_port);
  IS(port, port_of(a));
  IS(INADDR_ANY, here.sin_addr.s_addr);
}
CASE("sendto", "datagrams keep their borders") {
  two();
  sendto(a, "ab", 2, 0, AT), sendto(a, "cde", 3, 0, AT);
  IS(2, recv(b, text, 10, 0));
  IS(3, recv(b, text, 10, 0));
}
CASE("sendto", "a datagram of nothing") {
  two();
  IS(0, sendto(a, "", 0, 0, AT));
  IS(0, recv(b, text, 10, 0));
}
CASE("sendto", "a datagram that is cut") {
  two();
  sendto(a, "abcd", 4, 0, AT);
  IS(2, recv(b, text, 2, 0));
  sendto(a, "abcd", 4, 0, AT);
  IS(4, recv(b, text, 2, MSG_TRUNC));
}
CASE("sendto", "nowhere is EDESTADDRREQ") { FAILS(EDESTADDRREQ, send(datagram(), "x", 1, 0)); }
CASE("sendto", "port 0 is EINVAL") {
  local(0);
  FAILS(EINVAL, sendto(datagram(), "x", 1, 0, AT));
}
CASE("sendto", "more than a datagram holds is EMSGSIZE") {
  two();
  FAILS(EMSGSIZE, sendto(a, text, 65508, 0, AT));
}
CASE("sendto", "another family is EAFNOSUPPORT") {
  two();
  here.sin_family = AF_UNIX;
  FAILS(EAFNOSUPPORT, sendto(a, "x", 1, 0, AT));
}
CASE("sendto", "an address that is too short is EINVAL") {
  two();
  FAILS(EINVAL, sendto(a, "x", 1, 0, (struct sockaddr *)&here, 8));
}
CASE("sendto", "nobody is no error of an unconnected socket") {
  two();
  close(b);
  IS(1, sendto(a, "x", 1, 0, AT));
  FAILS(EAGAIN, recv(a, text, 1, MSG_DONTWAIT));
}
CASE("connect", "of datagrams: nobody there is ECONNREFUSED, once") {
  two();
  OK(connect(a, AT));
  close(b);
  IS(1, send(a, "x", 1, 0));
  await(a, POLLERR);
  FAILS(ECONNREFUSED, recv(a, text, 1, 0));
  FAILS(EAGAIN, recv(a, text, 1, MSG_DONTWAIT));
}
CASE("connect", "of datagrams: others are not heard") {
  two();
  OK(connect(a, AT));
  port_of(a);
  int other = datagram();
  IS(1, sendto(other, "x", 1, 0, AT));
  FAILS(EAGAIN, recv(a, text, 1, MSG_DONTWAIT));
  IS(1, sendto(b, "y", 1, 0, AT));
  IS(1, recv(a, text, 1, 0));
  SAME("y", text, 1);
}
CASE("connect", "of datagrams to AF_UNSPEC ends it") {
  two();
  OK(connect(a, AT));
  here.sin_family = AF_UNSPEC;
  OK(connect(a, AT));
  FAILS(EDESTADDRREQ, send(a, "x", 1, 0));
  FAILS(ENOTCONN, getpeername(a, (struct sockaddr *)&here, &(socklen_t){16}));
}
CASE("connect", "of datagrams chooses the address") {
  two();
  OK(connect(a, AT));
  port_of(a);
  IS(INADDR_LOOPBACK, ntohl(here.sin_addr.s_addr));
}
CASE("recv", "of datagrams waits for one") {
  two();
  CHILD(child) {
    sleep_ms(20);
    sendto(a, "hi", 2, 0, AT);
  }
  IS(2, recv(b, text, 9, 0));
  IS(0, ended(child));
}
CASE("recv", "of datagrams is EINTR when a signal comes") {
  two();
  interrupt_soon();
  FAILS(EINTR, recv(b, text, 9, 0));
}
CASE("poll", "datagrams") {
  two();
  IS(POLLOUT, events(b));
  sendto(a, "hi", 2, 0, AT);
  IS(POLLIN | POLLOUT, events(b));
}
CASE("shutdown", "of unconnected datagrams is ENOTCONN") { FAILS(ENOTCONN, shutdown(datagram(), SHUT_RD)); }
CASE("bind", "SO_REUSEADDR shares a port of datagrams") {
  a = datagram(), b = datagram();
  OK(turn_on(a, SOL_SOCKET, SO_REUSEADDR)), OK(turn_on(b, SOL_SOCKET, SO_REUSEADDR));
  local(0);
  OK(bind(a, AT));
  port_of(a);
  OK(bind(b, AT));
}
CASE("sendto", "datagrams of version 6") {
  socklen_t size = sizeof here6;
  a = OK(socket(AF_INET6, SOCK_DGRAM, 0)), b = OK(socket(AF_INET6, SOCK_DGRAM, 0));
  local6(0);
  OK(bind(b, AT6));
  OK(getsockname(b, (struct sockaddr *)&here6, &size));
  IS(2, sendto(a, "hi", 2, 0, AT6));
  IS(2, recvfrom(b, text, 10, 0, (struct sockaddr *)&here6, &size));
  HOLDS(IN6_IS_ADDR_LOOPBACK(&here6.sin6_addr));
}
CASE("recvmsg", "of datagrams tells who sent") {
  two();
  IS(2, sendto(a, "hi", 2, 0, AT));
  struct sockaddr_in from;
  struct iovec part = {text, 9};
  struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
  IS(2, recvmsg(b, &message, 0));
  IS(16, message.msg_namelen);
  IS(port_of(a), ntohs(from.sin_port));
}

// Interfaces.
CASE("ioctl", "SIOCGIFADDR, SIOCGIFFLAGS, SIOCGIFINDEX and SIOCGIFMTU of lo") {
  struct ifreq about = {.ifr_name = "lo"};
  a = datagram();
  OK(ioctl(a, SIOCGIFADDR, &about));
  IS(INADDR_LOOPBACK, ntohl(((struct sockaddr_in *)&about.ifr_addr)->sin_addr.s_addr));
  OK(ioctl(a, SIOCGIFFLAGS, &about));
  IS(IFF_UP | IFF_LOOPBACK | IFF_RUNNING, about.ifr_flags);
  OK(ioctl(a, SIOCGIFINDEX, &about));
  IS(1, about.ifr_ifindex);
  OK(ioctl(a, SIOCGIFMTU, &about));
  IS(65536, about.ifr_mtu);
}
CASE("ioctl", "SIOCGIFCONF tells how much room it needs, and has lo") {
  struct ifreq all[32];
  struct ifconf list = {.ifc_len = 0, .ifc_req = NULL};
  OK(ioctl(datagram(), SIOCGIFCONF, &list));
  HOLDS(list.ifc_len >= (int)sizeof *all && list.ifc_len % (int)sizeof *all == 0);
  list = (struct ifconf){.ifc_len = sizeof all, .ifc_req = all};
  OK(ioctl(datagram(), SIOCGIFCONF, &list));
  bool found = false;
  for (int i = 0; i < list.ifc_len / (int)sizeof *all; i++) {
    const struct sockaddr_in *address = (const void *)&all[i].ifr_addr;
    found |= !strcmp(all[i].ifr_name, "lo") && address->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
  }
  HOLDS(found);
}
CASE("ioctl", "SIOCGIFCONF gives whole entries only") {
  struct ifreq one;
  struct ifconf list = {.ifc_len = sizeof one - 1, .ifc_req = &one};
  OK(ioctl(datagram(), SIOCGIFCONF, &list));
  IS(0, list.ifc_len);
}
FAILS_CASE("ioctl", "SIOCGIFCONF at no memory is EFAULT", EFAULT, ioctl(datagram(), SIOCGIFCONF, NOWHERE))
CASE("ioctl", "SIOCGIFINDEX of no interface is ENODEV") {
  struct ifreq about = {.ifr_name = "none9"};
  FAILS(ENODEV, ioctl(datagram(), SIOCGIFINDEX, &about));
}
CASE("ioctl", "SIOCGIFNAME of interface 1 is lo") {
  struct ifreq about = {.ifr_ifindex = 1};
  OK(ioctl(datagram(), SIOCGIFNAME, &about));
  IS(0, strcmp("lo", about.ifr_name));
}
CASE("socket", "/proc/net/tcp lists a listener") {
  char want[64];
  c = listener(1);
  snprintf(want, sizeof want, "0100007F:%04X 00000000:0000 0A", ntohs(here.sin_port));
  HOLDS(strstr(read_file("/proc/net/tcp"), want));
}
CASE("ioctl", "a unix socket answers about interfaces, too") {
  IS(1, if_nametoindex("lo"));
  FAILS(ENODEV, if_nametoindex("none9") ? 0 : -1);
}
static int ask(int type, int family) {
  struct {
    struct nlmsghdr header;
    struct ifaddrmsg about;
  } question = {{sizeof question, (unsigned short)type, NLM_F_REQUEST | NLM_F_DUMP, 5, 0},
                {.ifa_family = (unsigned char)family}};
  int fd = OK(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  IS(sizeof question, send(fd, &question, sizeof question, 0));
  return fd;
}
CASE("socket", "AF_NETLINK tells of lo") {
  a = ask(RTM_GETLINK, 0);
  long size = OK(recv(a, text, sizeof text, 0));
  struct nlmsghdr *header = (void *)text;
  HOLDS(size > 32);
  IS(RTM_NEWLINK, header->nlmsg_type);
  IS(5, header->nlmsg_seq);
  IS(1, ((struct ifinfomsg *)NLMSG_DATA(header))->ifi_index);
}
CASE("socket", "AF_NETLINK tells of 127.0.0.1") {
  a = ask(RTM_GETADDR, AF_INET);
  long size = OK(recv(a, text, sizeof text, 0));
  struct nlmsghdr *header = (void *)text;
  IS(RTM_NEWADDR, header->nlmsg_type);
  HOLDS(memmem(text, (size_t)size, "\177\0\0\1", 4));
}
FAILS_CASE("socket", "AF_NETLINK of a protocol there is not is EPROTONOSUPPORT", EPROTONOSUPPORT,
           socket(AF_NETLINK, SOCK_RAW, 77))
CASE("socket", "getifaddrs finds lo") {
  struct ifaddrs *all;
  OK(getifaddrs(&all));
  bool found = false;
  for (struct ifaddrs *one = all; one; one = one->ifa_next)
    found |= !strcmp(one->ifa_name, "lo") && one->ifa_addr && one->ifa_addr->sa_family == AF_INET;
  HOLDS(found);
}
