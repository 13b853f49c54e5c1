// Internet sockets between ourselves: names and streams.
#include "inet.h"
#include <netinet/tcp.h>

// Making and naming.
FAILS_CASE("socket", "of a protocol internet streams have not is EPROTONOSUPPORT", EPROTONOSUPPORT,
           socket(AF_INET, SOCK_STREAM, 17))
FAILS_CASE("socket", "of a type the internet has not is ESOCKTNOSUPPORT", ESOCKTNOSUPPORT,
           socket(AF_INET, SOCK_SEQPACKET, 0))
CASE("socket", "SO_DOMAIN, SO_TYPE and SO_PROTOCOL of internet sockets") {
  IS(AF_INET, option(stream(), SOL_SOCKET, SO_DOMAIN));
  IS(IPPROTO_TCP, option(stream(), SOL_SOCKET, SO_PROTOCOL));
  IS(IPPROTO_UDP, option(datagram(), SOL_SOCKET, SO_PROTOCOL));
  IS(AF_INET6, option(OK(socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP)), SOL_SOCKET, SO_DOMAIN));
}
CASE("bind", "to port 0 chooses one") {
  a = stream();
  local(0);
  OK(bind(a, AT));
  HOLDS(port_of(a) >= 1024);
}
CASE("bind", "two sockets to one port is EADDRINUSE") {
  listener(1);
  FAILS(EADDRINUSE, bind(stream(), AT));
}
CASE("bind", "any address and one is the same port") {
  listener(1);
  here.sin_addr.s_addr = INADDR_ANY;
  FAILS(EADDRINUSE, bind(stream(), AT));
}
CASE("bind", "two addresses may have the same port") {
  listener(1);
  here.sin_addr.s_addr = htonl(0x7f000002);
  OK(bind(stream(), AT));
}
CASE("bind", "streams and datagrams have ports of their own") {
  listener(1);
  OK(bind(datagram(), AT));
}
CASE("bind", "to an address of others is EADDRNOTAVAIL") {
  local(0);
  here.sin_addr.s_addr = inet_addr("192.0.2.1");
  FAILS(EADDRNOTAVAIL, bind(stream(), AT));
}
CASE("bind", "an internet socket twice is EINVAL") {
  a = stream();
  local(0);
  OK(bind(a, AT));
  FAILS(EINVAL, bind(a, AT));
}
CASE("bind", "of another family is EAFNOSUPPORT") {
  local(0);
  here.sin_family = AF_UNIX;
  FAILS(EAFNOSUPPORT, bind(stream(), AT));
}
CASE("bind", "of too short an internet address is EINVAL") {
  local(0);
  FAILS(EINVAL, bind(stream(), (struct sockaddr *)&here, 8));
}
CASE("bind", "to a low port as an ordinary user is EACCES") {
  become_user();
  local(80);
  FAILS(EACCES, bind(stream(), AT));
}
CASE("bind", "SO_REUSEADDR shares a port nobody listens on") {
  a = stream(), b = stream();
  OK(turn_on(a, SOL_SOCKET, SO_REUSEADDR)), OK(turn_on(b, SOL_SOCKET, SO_REUSEADDR));
  local(0);
  OK(bind(a, AT));
  port_of(a);
  OK(bind(b, AT));
  OK(listen(a, 1));
  FAILS(EADDRINUSE, listen(b, 1));
}
CASE("bind", "SO_REUSEADDR does not share with who listens") {
  a = stream();
  OK(turn_on(a, SOL_SOCKET, SO_REUSEADDR));
  local(0);
  OK(bind(a, AT));
  OK(listen(a, 1));
  port_of(a);
  b = stream();
  OK(turn_on(b, SOL_SOCKET, SO_REUSEADDR));
  FAILS(EADDRINUSE, bind(b, AT));
}
CASE("bind", "SO_REUSEPORT shares even so") {
  a = stream(), b = stream();
  OK(turn_on(a, SOL_SOCKET, SO_REUSEPORT)), OK(turn_on(b, SOL_SOCKET, SO_REUSEPORT));
  local(0);
  OK(bind(a, AT));
  OK(listen(a, 1));
  port_of(a);
  OK(bind(b, AT));
  OK(listen(b, 1));
}
CASE("getsockname", "of a socket without an address is any, port 0") {
  IS(0, port_of(stream()));
  IS(0, here.sin_addr.s_addr);
  IS(AF_INET, here.sin_family);
}
CASE("getsockname", "of who connected tells both") {
  pair();
  HOLDS(port_of(a) > 0);
  IS(INADDR_LOOPBACK, ntohl(here.sin_addr.s_addr));
}
CASE("getpeername", "tells the other end") {
  pair();
  int port = port_of(c);
  socklen_t size = sizeof here;
  OK(getpeername(a, (struct sockaddr *)&here, &size));
  IS(port, ntohs(here.sin_port));
  IS(16, size);
}
CASE("getpeername", "of an internet socket without a peer is ENOTCONN") {
  FAILS(ENOTCONN, getpeername(stream(), (struct sockaddr *)&here, &(socklen_t){16}));
}
CASE("getpeername", "of a listener is ENOTCONN") {
  FAILS(ENOTCONN, getpeername(listener(1), (struct sockaddr *)&here, &(socklen_t){16}));
}

// Streams.
CASE("connect", "and accept: bytes go both ways") {
  pair();
  IS(2, write(a, "hi", 2));
  IS(2, read(b, text, 10));
  SAME("hi", text, 2);
  IS(3, write(b, "you", 3));
  IS(3, read(a, text, 10));
}
CASE("accept", "tells who connected") {
  c = listener(1);
  a = stream();
  OK(connect(a, AT));
  int port = port_of(a);
  socklen_t size = sizeof here;
  OK(accept(c, (struct sockaddr *)&here, &size));
  IS(port, ntohs(here.sin_port));
}
CASE("accept", "of an internet socket waits for somebody") {
  c = listener(1);
  CHILD(child) {
    sleep_ms(20);
    OK(connect(stream(), AT));
  }
  OK(accept(c, NULL, NULL));
  IS(0, ended(child));
}
CASE("accept", "of an internet socket is EINTR when a signal comes") {
  c = listener(1);
  interrupt_soon();
  FAILS(EINTR, accept(c, NULL, NULL));
}
CASE("accept", "of an internet socket without waiting is EAGAIN") {
  c = listener(1);
  OK(fcntl(c, F_SETFL, O_NONBLOCK));
  FAILS(EAGAIN, accept(c, NULL, NULL));
}
CASE("accept", "of an internet socket that does not listen is EINVAL") { FAILS(EINVAL, accept(stream(), NULL, NULL)); }
CASE("accept", "of internet datagrams is EOPNOTSUPP") { FAILS(EOPNOTSUPP, accept(datagram(), NULL, NULL)); }
CASE("accept", "an accepted socket does not inherit O_NONBLOCK") {
  c = listener(1);
  OK(fcntl(c, F_SETFL, O_NONBLOCK));
  OK(connect(stream(), AT));
  await(c, POLLIN);
  IS(O_RDWR, fcntl(OK(accept(c, NULL, NULL)), F_GETFL));
}
CASE("listen", "of internet datagrams is EOPNOTSUPP") { FAILS(EOPNOTSUPP, listen(datagram(), 1)); }
CASE("listen", "of a connected internet socket is EINVAL") {
  pair();
  FAILS(EINVAL, listen(a, 1));
}
CASE("listen", "without an address chooses a port") {
  a = stream();
  OK(listen(a, 1));
  HOLDS(port_of(a) > 0);
}
CASE("connect", "to nobody is ECONNREFUSED") {
  nobody();
  FAILS(ECONNREFUSED, connect(stream(), AT));
}
CASE("connect", "after ECONNREFUSED works once somebody listens") {
  nobody();
  a = stream();
  FAILS(ECONNREFUSED, connect(a, AT));
  c = stream();
  OK(bind(c, AT));
  OK(listen(c, 1));
  OK(connect(a, AT));
}
CASE("connect", "of an internet socket twice is EISCONN") {
  pair();
  port_of(c);
  FAILS(EISCONN, connect(a, AT));
}
CASE("connect", "of an internet socket that listens is EISCONN") {
  c = listener(1);
  FAILS(EISCONN, connect(c, AT));
}
CASE("connect", "of another family is EAFNOSUPPORT") {
  c = listener(1);
  here.sin_family = AF_UNIX;
  FAILS(EAFNOSUPPORT, connect(stream(), AT));
}
CASE("connect", "of too short an internet address is EINVAL") {
  c = listener(1);
  FAILS(EINVAL, connect(stream(), (struct sockaddr *)&here, 8));
}
CASE("connect", "to any address is to ourselves") {
  c = listener(1);
  here.sin_addr.s_addr = INADDR_ANY;
  OK(connect(stream(), AT));
}
CASE("connect", "to another address of ours") {
  c = stream();
  local(0);
  here.sin_addr.s_addr = INADDR_ANY;
  OK(bind(c, AT));
  OK(listen(c, 1));
  port_of(c);
  here.sin_addr.s_addr = htonl(0x7f010203);
  OK(connect(stream(), AT));
}
CASE("connect", "without waiting is EINPROGRESS, then ready") {
  c = listener(1);
  a = stream();
  OK(fcntl(a, F_SETFL, O_NONBLOCK));
  FAILS(EINPROGRESS, connect(a, AT));
  IS(POLLOUT, await(a, POLLOUT));
  IS(0, option(a, SOL_SOCKET, SO_ERROR));
  OK(connect(a, AT));
  FAILS(EISCONN, connect(a, AT));
}
CASE("connect", "without waiting to nobody: SO_ERROR tells") {
  nobody();
  a = stream();
  OK(fcntl(a, F_SETFL, O_NONBLOCK));
  FAILS(EINPROGRESS, connect(a, AT));
  HOLDS(await(a, POLLOUT) & POLLERR);
  IS(ECONNREFUSED, option(a, SOL_SOCKET, SO_ERROR));
  IS(0, option(a, SOL_SOCKET, SO_ERROR));
}
CASE("connect", "a stream is over: an orderly end") {
  pair();
  IS(4, write(a, "rest", 4));
  close(a);
  IS(4, read(b, text, 10));
  IS(0, read(b, text, 10));
}
CASE("close", "with something unread resets") {
  pair();
  IS(1, write(a, "x", 1));
  await(b, POLLIN);
  close(b);
  await(a, POLLIN);
  FAILS(ECONNRESET, read(a, text, 1));
  IS(0, read(a, text, 1));
}
CASE("close", "SO_LINGER of 0 resets") {
  pair();
  OK(setsockopt(b, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger)));
  close(b);
  await(a, POLLIN);
  FAILS(ECONNRESET, read(a, text, 1));
}
CASE("write", "to a closed stream: first reset, then EPIPE and SIGPIPE") {
  pair();
  signal(SIGPIPE, SIG_IGN);
  close(b);
  await(a, POLLIN);
  IS(1, write(a, "x", 1));
  await(a, POLLERR);
  FAILS(EPIPE, write(a, "x", 1));
  signal(SIGPIPE, SIG_DFL);
  CHILD(child) write(a, "x", 1);
  IS(128 + SIGPIPE, ended(child));
}
CASE("send", "on an unconnected internet stream is EPIPE") { FAILS(EPIPE, send(stream(), "x", 1, MSG_NOSIGNAL)); }
CASE("recv", "on an unconnected internet stream is ENOTCONN") { FAILS(ENOTCONN, recv(stream(), text, 1, 0)); }
CASE("shutdown", "of an unconnected internet stream is ENOTCONN") { FAILS(ENOTCONN, shutdown(stream(), SHUT_WR)); }
CASE("shutdown", "SHUT_WR of an internet stream: the other reads to the end and answers") {
  pair();
  IS(1, write(a, "x", 1));
  OK(shutdown(a, SHUT_WR));
  IS(1, read(b, text, 5));
  IS(0, read(b, text, 5));
  IS(1, write(b, "y", 1));
  IS(1, read(a, text, 5));
  FAILS(EPIPE, send(a, "x", 1, MSG_NOSIGNAL));
}
CASE("shutdown", "SHUT_RD of an internet stream reads the end") {
  pair();
  OK(shutdown(a, SHUT_RD));
  IS(0, read(a, text, 1));
}
CASE("shutdown", "wakes who reads") {
  pair();
  CHILD(child) {
    sleep_ms(20);
    OK(shutdown(a, SHUT_RDWR));
  }
  IS(0, read(b, text, 1));
  IS(0, ended(child));
}
CASE("recv", "of an internet stream is EINTR when a signal comes") {
  pair();
  interrupt_soon();
  FAILS(EINTR, recv(b, text, 1, 0));
}
static void say(void) { write(a, "x", 1); }
CASE("recv", "of an internet stream goes on after a handler that restarts") {
  pair();
  restart_and(say);
  IS(1, recv(b, text, 1, 0));
}
CASE("recv", "of an internet stream without waiting is EAGAIN") {
  pair();
  FAILS(EAGAIN, recv(b, text, 1, MSG_DONTWAIT));
}
CASE("recv", "SO_RCVTIMEO of an internet stream") {
  pair();
  OK(setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 10000}, sizeof(struct timeval)));
  FAILS(EAGAIN, recv(b, text, 1, 0));
}
CASE("recv", "MSG_PEEK of an internet stream leaves it there") {
  pair();
  write(a, "abc", 3);
  await(b, POLLIN);
  IS(2, recv(b, text, 2, MSG_PEEK));
  IS(3, recv(b, text, 9, 0));
}
CASE("recv", "MSG_WAITALL of an internet stream waits for all") {
  pair();
  CHILD(child) {
    write(a, "ab", 2);
    sleep_ms(20);
    write(a, "cd", 2);
  }
  IS(4, recv(b, text, 4, MSG_WAITALL));
  IS(0, ended(child));
}
CASE("recv", "MSG_OOB without urgent data is EINVAL") {
  pair();
  FAILS(EINVAL, recv(b, text, 1, MSG_OOB));
}
CASE("recv", "of an internet stream into no memory is EFAULT") {
  pair();
  write(a, "abc", 3);
  await(b, POLLIN);
  FAILS(EFAULT, recv(b, NOWHERE, 2, 0));
  IS(3, recv(b, text, 9, 0));
}
CASE("send", "of an internet stream from no memory is EFAULT") {
  pair();
  FAILS(EFAULT, send(a, NOWHERE, 2, 0));
}
CASE("send", "a full internet stream is EAGAIN, and room is told") {
  pair();
  while (send(a, text, sizeof text, MSG_DONTWAIT) > 0);
  IS(EAGAIN, errno);
  IS(0, events(a) & POLLOUT);
  CHILD(child) while (recv(b, text, sizeof text, 0) > 0) if (events(b) == POLLOUT) break;
  await(a, POLLOUT);
  kill(child, SIGKILL);
}
CASE("send", "a megabyte arrives") {
  pair();
  CHILD(child) {
    for (int i = 0; i < 16; i++) {
      memset(text, 'a' + i, sizeof text);
      IS(sizeof text, send(a, text, sizeof text, 0));
    }
  }
  close(a);
  long total = 0, size;
  bool right = true;
  while ((size = OK(recv(b, text, sizeof text, 0))) > 0)
    for (long i = 0; i < size; i++, total++) right &= text[i] == 'a' + total / (long)sizeof text;
  IS(1048576, total);
  HOLDS(right);
  IS(0, ended(child));
}
CASE("poll", "an internet stream that is not connected hangs up") { IS(POLLOUT | POLLHUP, events(stream())); }
CASE("poll", "a connected internet stream is writable") {
  pair();
  IS(POLLOUT, events(a));
}
CASE("poll", "a listener is readable when somebody came") {
  c = listener(1);
  IS(0, events(c));
  OK(connect(stream(), AT));
  IS(POLLIN, await(c, POLLIN));
}
CASE("poll", "an internet stream whose other end is closed") {
  pair();
  close(b);
  await(a, POLLIN);
  IS(POLLIN | POLLOUT | POLLRDHUP, events(a));
}
CASE("poll", "an internet stream that is over both ways") {
  pair();
  shutdown(a, SHUT_WR);
  close(b);
  await(a, POLLIN | POLLHUP);
  sleep_ms(5);
  IS(POLLIN | POLLOUT | POLLRDHUP | POLLHUP, events(a));
}
CASE("poll", "a reset internet stream") {
  pair();
  OK(setsockopt(b, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger)));
  close(b);
  await(a, POLLIN);
  IS(POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP, events(a));
}
CASE("epoll_wait", "EPOLLET of an internet stream") {
  struct epoll_event event = {EPOLLIN | EPOLLET, {0}};
  pair();
  int ep = epoll_create1(0);
  OK(epoll_ctl(ep, EPOLL_CTL_ADD, b, &event));
  say();
  IS(1, epoll_wait(ep, &event, 1, 5000));
  IS(0, epoll_wait(ep, &event, 1, 0));
  say();
  IS(1, epoll_wait(ep, &event, 1, 5000));
}
CASE("setsockopt", "TCP_NODELAY and its kin") {
  a = stream();
  IS(0, option(a, IPPROTO_TCP, TCP_NODELAY));
  OK(turn_on(a, IPPROTO_TCP, TCP_NODELAY));
  IS(1, option(a, IPPROTO_TCP, TCP_NODELAY));
  OK(setsockopt(a, IPPROTO_TCP, TCP_KEEPIDLE, &(int){60}, 4));
  IS(60, option(a, IPPROTO_TCP, TCP_KEEPIDLE));
  FAILS(EINVAL, setsockopt(a, IPPROTO_TCP, TCP_KEEPIDLE, &(int){0}, 4));
  FAILS(ENOPROTOOPT, setsockopt(a, IPPROTO_TCP, 200, &(int){0}, 4));
}
CASE("setsockopt", "TCP options of a datagram socket are ENOPROTOOPT") {
  FAILS(ENOPROTOOPT, turn_on(datagram(), IPPROTO_TCP, TCP_NODELAY));
}
CASE("setsockopt", "IP_TTL and IP_TOS") {
  a = datagram();
  IS(64, option(a, IPPROTO_IP, IP_TTL));
  OK(setsockopt(a, IPPROTO_IP, IP_TTL, &(int){7}, 4));
  IS(7, option(a, IPPROTO_IP, IP_TTL));
  FAILS(EINVAL, setsockopt(a, IPPROTO_IP, IP_TTL, &(int){256}, 4));
}
CASE("ioctl", "FIONREAD of an internet stream") {
  int count;
  pair();
  write(a, "abc", 3);
  await(b, POLLIN);
  OK(ioctl(b, FIONREAD, &count));
  IS(3, count);
}

// A server's end closes first; afterwards its port is `here`'s, and no socket has it.
static void close_first(int reuse) {
  int c = stream();
  local(0);
  OK(setsockopt(c, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse));
  OK(bind(c, AT));
  OK(listen(c, 1));
  port_of(c);
  int a = stream();
  OK(connect(a, AT));
  int b = OK(accept(c, NULL, NULL));
  OK(close(c));
  char byte;
  OK(close(b));
  IS(0, read(a, &byte, 1));
  OK(close(a));
}
CASE("bind", "to a port whose connection was closed from here first is EADDRINUSE") {
  close_first(0);
  FAILS(EADDRINUSE, bind(stream(), AT));
  char *text = strdup(read_file("/proc/net/tcp")), port[16];
  snprintf(port, sizeof port, ":%04X ", ntohs(here.sin_port));
  HOLDS(strstr(text, port) != NULL);
}
CASE("bind", "to such a port with SO_REUSEADDR on one side only is EADDRINUSE") {
  close_first(0);
  int one = 1, s = stream();
  OK(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
  FAILS(EADDRINUSE, bind(s, AT));
}
CASE("bind", "to such a port with SO_REUSEADDR on both sides") {
  close_first(1);
  FAILS(EADDRINUSE, bind(stream(), AT));
  int one = 1, s = stream();
  OK(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
  OK(bind(s, AT));
  OK(listen(s, 1));
  int a = stream();
  OK(connect(a, AT));
}
CASE("bind", "to a port whose connection was closed from the other side first") {
  int c = listener(1), a = stream();
  OK(connect(a, AT));
  int b = OK(accept(c, NULL, NULL));
  OK(close(c));
  OK(close(a));
  char byte;
  IS(0, read(b, &byte, 1));
  OK(close(b));
  for (int i = 0; i < 100 && bind(stream(), AT) == -1; i++) sleep_ms(1);
  FAILS(EADDRINUSE, bind(stream(), AT));
}
