// Unix sockets: streams and options.
#include "unix.h"

// Making them.
CASE("socket", "gives the lowest free descriptor") { IS(3, socket(AF_UNIX, SOCK_STREAM, 0)); }
CASE("socket", "SOCK_CLOEXEC and SOCK_NONBLOCK") {
  a = OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  IS(FD_CLOEXEC, fcntl(a, F_GETFD));
  IS(O_RDWR | O_NONBLOCK, fcntl(a, F_GETFL));
}
FAILS_CASE("socket", "of no family is EAFNOSUPPORT", EAFNOSUPPORT, socket(99, SOCK_STREAM, 0))
FAILS_CASE("socket", "of no type is EINVAL", EINVAL, socket(AF_UNIX, 15, 0))
FAILS_CASE("socket", "of a type a family has not is ESOCKTNOSUPPORT", ESOCKTNOSUPPORT, socket(AF_UNIX, SOCK_RDM, 0))
FAILS_CASE("socket", "of a protocol a family has not is EPROTONOSUPPORT", EPROTONOSUPPORT,
           socket(AF_UNIX, SOCK_STREAM, 6))
FAILS_CASE("socket", "with an unknown flag is EINVAL", EINVAL, socket(AF_UNIX, SOCK_STREAM | 0x100, 0))
CASE("socket", "beyond the limit of descriptors is EMFILE") {
  struct rlimit three = {3, 3};
  OK(setrlimit(RLIMIT_NOFILE, &three));
  FAILS(EMFILE, socket(AF_UNIX, SOCK_STREAM, 0));
}
CASE("socket", "fstat says it is a socket") {
  struct stat about;
  OK(fstat(OK(socket(AF_UNIX, SOCK_STREAM, 0)), &about));
  IS(S_IFSOCK | 0777, about.st_mode);
}
CASE("socket", "cannot be seeked") { FAILS(ESPIPE, lseek(OK(socket(AF_UNIX, SOCK_STREAM, 0)), 0, SEEK_SET)); }
CASE("socket", "/proc names it") {
  char name[64] = {0}, want[64];
  struct stat about;
  OK(socket(AF_UNIX, SOCK_STREAM, 0));
  OK(fstat(3, &about));
  OK(readlink("/proc/self/fd/3", name, sizeof name));
  snprintf(want, sizeof want, "socket:[%lu]", about.st_ino);
  IS(0, strcmp(want, name));
}
CASE("socketpair", "joins two streams") {
  pair(SOCK_STREAM);
  IS(2, write(a, "hi", 2));
  IS(2, read(b, text, 10));
  SAME("hi", text, 2);
  IS(3, write(b, "you", 3));
  IS(3, read(a, text, 10));
}
CASE("socketpair", "SOCK_CLOEXEC marks both") {
  pair(SOCK_STREAM | SOCK_CLOEXEC);
  IS(FD_CLOEXEC, fcntl(a, F_GETFD));
  IS(FD_CLOEXEC, fcntl(b, F_GETFD));
}
FAILS_CASE("socketpair", "of internet sockets is EOPNOTSUPP", EOPNOTSUPP,
           socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0}))
FAILS_CASE("socketpair", "of no family is EAFNOSUPPORT", EAFNOSUPPORT, socketpair(99, SOCK_STREAM, 0, (int[2]){0}))
FAILS_CASE("socketpair", "into no memory is EFAULT", EFAULT, socketpair(AF_UNIX, SOCK_STREAM, 0, NOWHERE))
CASE("socketpair", "into no memory leaves no descriptor behind") {
  FAILS(EFAULT, socketpair(AF_UNIX, SOCK_STREAM, 0, NOWHERE));
  IS(3, dup(0));
}
FAILS_CASE("socketpair", "with an unknown flag is EINVAL", EINVAL,
           socketpair(AF_UNIX, SOCK_STREAM | 0x100, 0, (int[2]){0}))

// Streams.
CASE("socketpair", "a stream has no borders") {
  pair(SOCK_STREAM);
  write(a, "ab", 2), write(a, "cd", 2);
  IS(3, read(b, text, 3));
  SAME("abc", text, 3);
  IS(1, read(b, text, 3));
}
CASE("socketpair", "closing one end is the end of the other") {
  pair(SOCK_STREAM);
  write(a, "rest", 4);
  close(a);
  IS(4, read(b, text, 10));
  IS(0, read(b, text, 10));
  IS(0, read(b, text, 10));
}
CASE("socketpair", "closing with something unread is ECONNRESET, once") {
  pair(SOCK_STREAM);
  write(a, "x", 1);
  close(b);
  FAILS(ECONNRESET, read(a, text, 1));
  IS(0, read(a, text, 1));
}
CASE("socketpair", "writing without a reader is EPIPE and SIGPIPE") {
  pair(SOCK_STREAM);
  close(b);
  CHILD(child) write(a, "x", 1);
  IS(128 + SIGPIPE, ended(child));
  signal(SIGPIPE, SIG_IGN);
  FAILS(EPIPE, write(a, "x", 1));
}
CASE("send", "MSG_NOSIGNAL: only EPIPE") {
  pair(SOCK_STREAM);
  close(b);
  FAILS(EPIPE, send(a, "x", 1, MSG_NOSIGNAL));
}
CASE("send", "on an unconnected stream is ENOTCONN") {
  a = OK(socket(AF_UNIX, SOCK_STREAM, 0));
  FAILS(ENOTCONN, send(a, "x", 1, 0));
}
CASE("recv", "on an unconnected stream is EINVAL") {
  a = OK(socket(AF_UNIX, SOCK_STREAM, 0));
  FAILS(EINVAL, recv(a, text, 1, 0));
}
CASE("send", "MSG_DONTWAIT into a full stream is EAGAIN") {
  pair(SOCK_STREAM);
  while (send(a, text, sizeof text, MSG_DONTWAIT) > 0);
  IS(EAGAIN, errno);
  IS(0, events(a) & POLLOUT);
}
CASE("recv", "MSG_DONTWAIT from an empty stream is EAGAIN") {
  pair(SOCK_STREAM);
  FAILS(EAGAIN, recv(b, text, 1, MSG_DONTWAIT));
}
CASE("read", "of an empty non-blocking socket is EAGAIN") {
  pair(SOCK_STREAM | SOCK_NONBLOCK);
  FAILS(EAGAIN, read(b, text, 1));
}
CASE("read", "of nothing from an empty stream gives nothing") {
  pair(SOCK_STREAM);
  IS(0, read(b, text, 0));
}
CASE("recv", "waits for a sender") {
  pair(SOCK_STREAM);
  CHILD(child) {
    sleep_ms(20);
    IS(2, write(a, "hi", 2));
  }
  IS(2, recv(b, text, 10, 0));
  IS(0, ended(child));
}
CASE("send", "waits for a receiver") {
  pair(SOCK_STREAM);
  CHILD(child) {
    close(a);
    sleep_ms(20);
    for (long size; (size = OK(read(b, text, sizeof text))) > 0;);
  }
  close(b);
  for (int i = 0; i < 20; i++) IS(sizeof text, write(a, text, sizeof text));
  close(a);
  IS(0, ended(child));
}
CASE("recv", "is EINTR when a signal comes") {
  pair(SOCK_STREAM);
  interrupt_soon();
  FAILS(EINTR, recv(b, text, 1, 0));
}
CASE("send", "is EINTR when a signal comes to a full stream") {
  pair(SOCK_STREAM);
  while (send(a, text, sizeof text, MSG_DONTWAIT) > 0);
  interrupt_soon();
  FAILS(EINTR, send(a, "x", 1, 0));
}
static void say(void) { write(a, "x", 1); }
CASE("recv", "goes on after a handler that restarts") {
  pair(SOCK_STREAM);
  restart_and(say);
  IS(1, recv(b, text, 1, 0));
}
CASE("recv", "with a time limit is EINTR even so") {
  pair(SOCK_STREAM);
  OK(setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){5, 0}, sizeof(struct timeval)));
  restart_and(say);
  FAILS(EINTR, recv(b, text, 1, 0));
}
CASE("recv", "SO_RCVTIMEO: EAGAIN when time is up") {
  pair(SOCK_STREAM);
  OK(setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 10000}, sizeof(struct timeval)));
  FAILS(EAGAIN, recv(b, text, 1, 0));
  FAILS(EAGAIN, read(b, text, 1));
}
CASE("send", "SO_SNDTIMEO: EAGAIN when time is up") {
  pair(SOCK_STREAM);
  while (send(a, text, sizeof text, MSG_DONTWAIT) > 0);
  OK(setsockopt(a, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){0, 10000}, sizeof(struct timeval)));
  FAILS(EAGAIN, send(a, text, 1, 0));
}
CASE("recv", "MSG_PEEK leaves it there") {
  pair(SOCK_STREAM);
  write(a, "ab", 2), write(a, "cd", 2);
  IS(3, recv(b, text, 3, MSG_PEEK));
  SAME("abc", text, 3);
  IS(4, recv(b, text, 10, MSG_PEEK));
  IS(4, recv(b, text, 10, 0));
}
CASE("recv", "MSG_WAITALL waits for all") {
  pair(SOCK_STREAM);
  CHILD(child) {
    write(a, "ab", 2);
    sleep_ms(20);
    write(a, "cd", 2);
  }
  IS(4, recv(b, text, 4, MSG_WAITALL));
  SAME("abcd", text, 4);
  IS(0, ended(child));
}
CASE("recv", "MSG_WAITALL gives less at the end") {
  pair(SOCK_STREAM);
  write(a, "ab", 2);
  close(a);
  IS(2, recv(b, text, 4, MSG_WAITALL));
}
CASE("recv", "into no memory is EFAULT, and nothing is lost") {
  pair(SOCK_STREAM);
  write(a, "ab", 2);
  FAILS(EFAULT, recv(b, NOWHERE, 2, 0));
  IS(2, recv(b, text, 2, 0));
}
CASE("send", "from no memory is EFAULT") {
  pair(SOCK_STREAM);
  FAILS(EFAULT, send(a, NOWHERE, 2, 0));
}
CASE("readv", "of a socket fills one after the other") {
  pair(SOCK_STREAM);
  struct iovec parts[2] = {{text, 1}, {text + 10, 3}};
  IS(4, writev(a, (struct iovec[]){{"ab", 2}, {"cd", 2}}, 2));
  IS(4, readv(b, parts, 2));
  SAME("bcd", text + 10, 3);
}
CASE("sendto", "an address on a connected stream is EISCONN") {
  pair(SOCK_STREAM);
  FAILS(EISCONN, sendto(a, "x", 1, 0, AT(path("name"))));
}
CASE("sendto", "an address on an unconnected stream is EOPNOTSUPP") {
  a = socket(AF_UNIX, SOCK_STREAM, 0);
  FAILS(EOPNOTSUPP, sendto(a, "x", 1, 0, AT(path("name"))));
}
FAILS_CASE("send", "on no descriptor is EBADF", EBADF, send(NO_FD, "x", 1, 0))
CASE("send", "on what is no socket is ENOTSOCK") { FAILS(ENOTSOCK, send(file_with(""), "x", 1, 0)); }
FAILS_CASE("recv", "on no descriptor is EBADF", EBADF, recv(NO_FD, text, 1, 0))
CASE("recv", "on what is no socket is ENOTSOCK") { FAILS(ENOTSOCK, recv(file_with(""), text, 1, 0)); }

// Shutting down.
CASE("shutdown", "SHUT_WR: the other end reads to the end") {
  pair(SOCK_STREAM);
  write(a, "x", 1);
  OK(shutdown(a, SHUT_WR));
  IS(1, read(b, text, 5));
  IS(0, read(b, text, 5));
  IS(1, write(b, "y", 1));
  IS(1, read(a, text, 5));
  FAILS(EPIPE, send(a, "x", 1, MSG_NOSIGNAL));
}
CASE("shutdown", "SHUT_RD: the other end cannot write") {
  pair(SOCK_STREAM);
  OK(shutdown(a, SHUT_RD));
  IS(0, read(a, text, 5));
  FAILS(EPIPE, send(b, "x", 1, MSG_NOSIGNAL));
}
CASE("shutdown", "wakes a reader") {
  pair(SOCK_STREAM);
  CHILD(child) {
    sleep_ms(20);
    OK(shutdown(a, SHUT_RDWR));
  }
  IS(0, read(b, text, 1));
  IS(0, ended(child));
}
CASE("shutdown", "in no way is EINVAL") {
  pair(SOCK_STREAM);
  FAILS(EINVAL, shutdown(a, 3));
}
FAILS_CASE("shutdown", "of no descriptor is EBADF", EBADF, shutdown(NO_FD, SHUT_RD))
FAILS_CASE("shutdown", "of what is no socket is ENOTSOCK", ENOTSOCK, shutdown(0, SHUT_RD))
CASE("poll", "a connected stream is writable") {
  pair(SOCK_STREAM);
  IS(POLLOUT, events(a));
}
CASE("poll", "a stream with something is readable") {
  pair(SOCK_STREAM);
  write(b, "x", 1);
  IS(POLLIN | POLLOUT, events(a));
}
CASE("poll", "a stream whose other end is closed") {
  pair(SOCK_STREAM);
  close(b);
  IS(POLLIN | POLLOUT | POLLHUP | POLLRDHUP, events(a));
}
CASE("poll", "a stream whose other end writes no more") {
  pair(SOCK_STREAM);
  shutdown(b, SHUT_WR);
  IS(POLLIN | POLLOUT | POLLRDHUP, events(a));
}
CASE("poll", "an unconnected stream hangs up") { IS(POLLOUT | POLLHUP, events(OK(socket(AF_UNIX, SOCK_STREAM, 0)))); }
CASE("poll", "an unconnected datagram socket is writable") { IS(POLLOUT, events(OK(socket(AF_UNIX, SOCK_DGRAM, 0)))); }
CASE("poll", "a listening stream is readable when somebody comes") {
  a = listener(SOCK_STREAM, 1);
  IS(0, events(a));
  dialed(SOCK_STREAM);
  IS(POLLIN, events(a));
}
CASE("epoll_wait", "EPOLLET on a socket tells each arrival once") {
  struct epoll_event event = {EPOLLIN | EPOLLET, {0}};
  pair(SOCK_STREAM);
  int ep = epoll_create1(0);
  OK(epoll_ctl(ep, EPOLL_CTL_ADD, b, &event));
  say();
  IS(1, epoll_wait(ep, &event, 1, 0));
  IS(0, epoll_wait(ep, &event, 1, 0));
  say();
  IS(1, epoll_wait(ep, &event, 1, 0));
}
CASE("epoll_wait", "EPOLLRDHUP of a socket that is shut down") {
  struct epoll_event event = {EPOLLRDHUP, {0}};
  pair(SOCK_STREAM);
  int ep = epoll_create1(0);
  OK(epoll_ctl(ep, EPOLL_CTL_ADD, b, &event));
  shutdown(a, SHUT_WR);
  IS(1, epoll_wait(ep, &event, 1, 0));
  IS(EPOLLRDHUP, event.events);
}

// Options.
CASE("getsockopt", "SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN") {
  a = listener(SOCK_SEQPACKET, 1);
  IS(SOCK_SEQPACKET, option(a, SOL_SOCKET, SO_TYPE));
  IS(AF_UNIX, option(a, SOL_SOCKET, SO_DOMAIN));
  IS(0, option(a, SOL_SOCKET, SO_PROTOCOL));
  IS(1, option(a, SOL_SOCKET, SO_ACCEPTCONN));
  IS(0, option(dialed(SOCK_SEQPACKET), SOL_SOCKET, SO_ACCEPTCONN));
}
CASE("setsockopt", "switches are on or off") {
  int names[] = {SO_REUSEADDR, SO_KEEPALIVE, SO_PASSCRED, SO_DONTROUTE, SO_BROADCAST, SO_OOBINLINE, SO_TIMESTAMP};
  a = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
  for (int i = 0; i < 7; i++) {
    IS(0, option(a, SOL_SOCKET, names[i]));
    OK(setsockopt(a, SOL_SOCKET, names[i], &(int){7}, 4));
    IS(1, option(a, SOL_SOCKET, names[i]));
  }
}
CASE("setsockopt", "SO_SNDBUF and SO_RCVBUF are doubled, and have a least") {
  pair(SOCK_STREAM);
  OK(setsockopt(a, SOL_SOCKET, SO_SNDBUF, &(int){10000}, 4));
  OK(setsockopt(a, SOL_SOCKET, SO_RCVBUF, &(int){10000}, 4));
  IS(20000, option(a, SOL_SOCKET, SO_SNDBUF));
  IS(20000, option(a, SOL_SOCKET, SO_RCVBUF));
  OK(setsockopt(a, SOL_SOCKET, SO_SNDBUF, &(int){1}, 4));
  OK(setsockopt(a, SOL_SOCKET, SO_RCVBUF, &(int){1}, 4));
  IS(4608, option(a, SOL_SOCKET, SO_SNDBUF));
  IS(2304, option(a, SOL_SOCKET, SO_RCVBUF));
}
CASE("setsockopt", "SO_LINGER") {
  struct linger value;
  socklen_t size = sizeof value;
  pair(SOCK_STREAM);
  OK(setsockopt(a, SOL_SOCKET, SO_LINGER, &(struct linger){1, 5}, sizeof value));
  OK(getsockopt(a, SOL_SOCKET, SO_LINGER, &value, &size));
  IS(1, value.l_onoff);
  IS(5, value.l_linger);
}
CASE("getsockopt", "SO_RCVTIMEO is what was set") {
  struct timeval value;
  socklen_t size = sizeof value;
  pair(SOCK_STREAM);
  OK(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){5, 500000}, sizeof value));
  OK(getsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &value, &size));
  IS(5, value.tv_sec);
  IS(500000, value.tv_usec);
}
CASE("setsockopt", "SO_RCVTIMEO of a million microseconds is EDOM") {
  pair(SOCK_STREAM);
  FAILS(EDOM, setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 1000000}, sizeof(struct timeval)));
}
CASE("setsockopt", "of too short a value is EINVAL") {
  pair(SOCK_STREAM);
  FAILS(EINVAL, setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &(int){1}, 3));
}
CASE("setsockopt", "from no memory is EFAULT") {
  pair(SOCK_STREAM);
  FAILS(EFAULT, setsockopt(a, SOL_SOCKET, SO_REUSEADDR, NOWHERE, 4));
}
CASE("setsockopt", "of no option is ENOPROTOOPT") {
  pair(SOCK_STREAM);
  FAILS(ENOPROTOOPT, setsockopt(a, SOL_SOCKET, 9999, &(int){1}, 4));
}
CASE("setsockopt", "of what can only be read is ENOPROTOOPT") {
  pair(SOCK_STREAM);
  FAILS(ENOPROTOOPT, setsockopt(a, SOL_SOCKET, SO_TYPE, &(int){1}, 4));
}
CASE("setsockopt", "of a level a unix socket has not is EOPNOTSUPP") {
  pair(SOCK_STREAM);
  FAILS(EOPNOTSUPP, setsockopt(a, 6, 1, &(int){1}, 4));
}
CASE("getsockopt", "of no option is ENOPROTOOPT") {
  pair(SOCK_STREAM);
  FAILS(ENOPROTOOPT, getsockopt(a, SOL_SOCKET, 9999, text, &(socklen_t){4}));
}
CASE("getsockopt", "into no memory is EFAULT") {
  pair(SOCK_STREAM);
  FAILS(EFAULT, getsockopt(a, SOL_SOCKET, SO_TYPE, NOWHERE, &(socklen_t){4}));
}
CASE("getsockopt", "of a negative size is EINVAL") {
  pair(SOCK_STREAM);
  FAILS(EINVAL, getsockopt(a, SOL_SOCKET, SO_TYPE, text, &(socklen_t){(socklen_t)-1}));
}
CASE("getsockopt", "into less room is cut") {
  socklen_t size = 2;
  pair(SOCK_STREAM);
  OK(getsockopt(a, SOL_SOCKET, SO_TYPE, text, &size));
  IS(2, size);
}
FAILS_CASE("getsockopt", "of no descriptor is EBADF", EBADF,
           getsockopt(NO_FD, SOL_SOCKET, SO_TYPE, text, &(socklen_t){4}))
FAILS_CASE("getsockopt", "of what is no socket is ENOTSOCK", ENOTSOCK,
           getsockopt(0, SOL_SOCKET, SO_TYPE, text, &(socklen_t){4}))
CASE("getsockopt", "SO_ERROR is taken by asking") {
  pair(SOCK_STREAM);
  write(a, "x", 1);
  close(b);
  IS(ECONNRESET, option(a, SOL_SOCKET, SO_ERROR));
  IS(0, option(a, SOL_SOCKET, SO_ERROR));
}
CASE("ioctl", "FIONREAD tells what a stream has, and a datagram socket's first") {
  int count;
  pair(SOCK_STREAM);
  write(a, "ab", 2), write(a, "cde", 3);
  OK(ioctl(b, FIONREAD, &count));
  IS(5, count);
  pair(SOCK_DGRAM);
  write(a, "ab", 2), write(a, "cde", 3);
  OK(ioctl(b, FIONREAD, &count));
  IS(2, count);
}
CASE("ioctl", "SIOCOUTQ tells what is on its way") {
  int count;
  pair(SOCK_STREAM);
  OK(ioctl(a, SIOCOUTQ, &count));
  IS(0, count);
  write(a, "ab", 2);
  OK(ioctl(a, SIOCOUTQ, &count));
  HOLDS(count >= 2);
}
CASE("ioctl", "FIONBIO makes it non-blocking") {
  pair(SOCK_STREAM);
  OK(ioctl(b, FIONBIO, &(int){1}));
  FAILS(EAGAIN, read(b, text, 1));
}
CASE("socket", "/proc/net/unix lists names") {
  listener(SOCK_STREAM, 1);
  HOLDS(strstr(read_file("/proc/net/unix"), " name\n"));
}
