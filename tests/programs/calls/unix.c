// Unix sockets: names, streams, datagrams, and what goes along with them.
#include "calls.h"
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/sockios.h>

static int a, b;
static char text[65536];
static void pair(int type) {
  int fds[2];
  OK(socketpair(AF_UNIX, type, 0, fds));
  a = fds[0], b = fds[1];
}
static struct sockaddr_un address;
static socklen_t path(const char *name) {
  address = (struct sockaddr_un){.sun_family = AF_UNIX};
  strcpy(address.sun_path, name);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
}
static socklen_t abstract(const char *name) {
  address = (struct sockaddr_un){.sun_family = AF_UNIX};
  int size = snprintf(address.sun_path + 1, 100, "%s-%d", name, getpid());
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
}
#define AT(length) (struct sockaddr *)&address, length
static int listener(int type, int backlog) {
  int fd = OK(socket(AF_UNIX, type, 0));
  OK(bind(fd, AT(path("name"))));
  OK(listen(fd, backlog));
  return fd;
}
static int dialed(int type) {
  int fd = OK(socket(AF_UNIX, type, 0));
  OK(connect(fd, AT(path("name"))));
  return fd;
}
static int option(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  OK(getsockopt(fd, SOL_SOCKET, name, &value, &size));
  return value;
}
static void turn_on(int fd, int name) { OK(setsockopt(fd, SOL_SOCKET, name, &(int){1}, 4)); }
static short events(int fd) {
  struct pollfd look = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
  OK(poll(&look, 1, 0));
  return look.revents;
}

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

// Names.
CASE("bind", "makes an inode by the name") {
  struct stat about;
  a = OK(socket(AF_UNIX, SOCK_STREAM, 0));
  OK(bind(a, AT(path("name"))));
  OK(stat("name", &about));
  IS(S_IFSOCK | 0755, about.st_mode);
  FAILS(ENXIO, open("name", O_RDWR));
}
CASE("bind", "to a name that is taken is EADDRINUSE") {
  listener(SOCK_STREAM, 1);
  FAILS(EADDRINUSE, bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(path("name"))));
}
CASE("bind", "the name outlives the socket") {
  close(listener(SOCK_STREAM, 1));
  a = OK(socket(AF_UNIX, SOCK_STREAM, 0));
  FAILS(ECONNREFUSED, connect(a, AT(path("name"))));
  FAILS(EADDRINUSE, bind(a, AT(path("name"))));
  OK(unlink("name"));
  OK(bind(a, AT(path("name"))));
}
CASE("bind", "twice is EINVAL") {
  a = listener(SOCK_STREAM, 1);
  FAILS(EINVAL, bind(a, AT(path("other"))));
}
CASE("bind", "in no directory is ENOENT") {
  FAILS(ENOENT, bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(path("no/name"))));
}
CASE("bind", "below a file is ENOTDIR") {
  write_file("file", "");
  FAILS(ENOTDIR, bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(path("file/name"))));
}
CASE("bind", "where one may not write is EACCES") {
  mkdir("mine", 0700);
  become_user();
  FAILS(EACCES, bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(path("mine/name"))));
}
CASE("bind", "of another family is EINVAL") {
  path("name");
  address.sun_family = AF_INET;
  FAILS(EINVAL, bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(10)));
}
CASE("bind", "of too short an address is EINVAL") {
  path("name");
  FAILS(EINVAL, bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(1)));
}
CASE("bind", "of too long an address is EINVAL") {
  path("name");
  FAILS(EINVAL, bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(111)));
}
CASE("bind", "of an address in no memory is EFAULT") {
  FAILS(EFAULT, bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), NOWHERE, 10));
}
FAILS_CASE("bind", "of no descriptor is EBADF", EBADF, bind(NO_FD, AT(10)))
FAILS_CASE("bind", "of what is no socket is ENOTSOCK", ENOTSOCK, bind(0, AT(10)))
CASE("bind", "abstract names need no file") {
  a = OK(socket(AF_UNIX, SOCK_STREAM, 0));
  socklen_t size = abstract("test");
  OK(bind(a, AT(size)));
  OK(listen(a, 1));
  b = OK(socket(AF_UNIX, SOCK_STREAM, 0));
  OK(connect(b, AT(size)));
  FAILS(EADDRINUSE, bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(size)));
  FAILS(ENOENT, access("test", F_OK));
}
CASE("bind", "an abstract name is free when its socket is closed") {
  socklen_t size = abstract("test");
  a = OK(socket(AF_UNIX, SOCK_STREAM, 0));
  OK(bind(a, AT(size)));
  close(a);
  OK(bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(size)));
}
CASE("bind", "to only the family chooses an abstract name") {
  a = OK(socket(AF_UNIX, SOCK_STREAM, 0));
  path("");
  OK(bind(a, AT(2)));
  socklen_t size = sizeof address;
  OK(getsockname(a, (struct sockaddr *)&address, &size));
  IS(8, size);
  IS(0, address.sun_path[0]);
}
CASE("getsockname", "tells the name") {
  a = listener(SOCK_STREAM, 1);
  socklen_t size = sizeof address;
  memset(&address, 0, sizeof address);
  OK(getsockname(a, (struct sockaddr *)&address, &size));
  IS(7, size);
  IS(0, strcmp("name", address.sun_path));
}
CASE("getsockname", "of one without a name is only the family") {
  socklen_t size = sizeof address;
  OK(getsockname(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&address, &size));
  IS(2, size);
  IS(AF_UNIX, address.sun_family);
}
CASE("getsockname", "into less room is cut, and the size is the whole") {
  a = listener(SOCK_STREAM, 1);
  socklen_t size = 4;
  memset(&address, 0, sizeof address);
  OK(getsockname(a, (struct sockaddr *)&address, &size));
  IS(7, size);
  IS(0, strcmp("na", address.sun_path));
}
CASE("getsockname", "into no memory is EFAULT") {
  pair(SOCK_STREAM);
  FAILS(EFAULT, getsockname(a, NOWHERE, &(socklen_t){10}));
}
CASE("getsockname", "of a negative size is EINVAL") {
  pair(SOCK_STREAM);
  FAILS(EINVAL, getsockname(a, (struct sockaddr *)&address, &(socklen_t){(socklen_t)-1}));
}
CASE("getpeername", "tells the listener's name") {
  listener(SOCK_STREAM, 1);
  a = dialed(SOCK_STREAM);
  socklen_t size = sizeof address;
  memset(&address, 0, sizeof address);
  OK(getpeername(a, (struct sockaddr *)&address, &size));
  IS(0, strcmp("name", address.sun_path));
}
CASE("getpeername", "of one without a peer is ENOTCONN") {
  FAILS(ENOTCONN, getpeername(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&address, &(socklen_t){10}));
}

// Connecting.
CASE("accept", "takes who connected") {
  a = listener(SOCK_STREAM, 1);
  b = dialed(SOCK_STREAM);
  int c = OK(accept(a, NULL, NULL));
  IS(2, write(b, "hi", 2));
  IS(2, read(c, text, 5));
  IS(0, fcntl(c, F_GETFD));
  IS(O_RDWR, fcntl(c, F_GETFL));
}
CASE("accept", "what was written before is there") {
  a = listener(SOCK_STREAM, 1);
  b = dialed(SOCK_STREAM);
  write(b, "early", 5);
  IS(5, read(OK(accept(a, NULL, NULL)), text, 9));
}
CASE("accept", "tells the address: of no name only the family") {
  a = listener(SOCK_STREAM, 1);
  dialed(SOCK_STREAM);
  socklen_t size = sizeof address;
  OK(accept(a, (struct sockaddr *)&address, &size));
  IS(2, size);
}
CASE("accept4", "SOCK_CLOEXEC and SOCK_NONBLOCK") {
  a = listener(SOCK_STREAM, 1);
  dialed(SOCK_STREAM);
  b = OK(accept4(a, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
  IS(FD_CLOEXEC, fcntl(b, F_GETFD));
  IS(O_RDWR | O_NONBLOCK, fcntl(b, F_GETFL));
}
CASE("accept4", "with an unknown flag is EINVAL") {
  a = listener(SOCK_STREAM, 1);
  FAILS(EINVAL, accept4(a, NULL, NULL, 1));
}
CASE("accept", "waits for somebody") {
  a = listener(SOCK_STREAM, 1);
  CHILD(child) {
    sleep_ms(20);
    dialed(SOCK_STREAM);
  }
  OK(accept(a, NULL, NULL));
  IS(0, ended(child));
}
CASE("accept", "of nobody without waiting is EAGAIN") {
  a = listener(SOCK_STREAM | SOCK_NONBLOCK, 1);
  FAILS(EAGAIN, accept(a, NULL, NULL));
}
CASE("accept", "is EINTR when a signal comes") {
  a = listener(SOCK_STREAM, 1);
  interrupt_soon();
  FAILS(EINTR, accept(a, NULL, NULL));
}
CASE("accept", "SO_RCVTIMEO: EAGAIN when time is up") {
  a = listener(SOCK_STREAM, 1);
  OK(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 10000}, sizeof(struct timeval)));
  FAILS(EAGAIN, accept(a, NULL, NULL));
}
CASE("accept", "on one that does not listen is EINVAL") {
  pair(SOCK_STREAM);
  FAILS(EINVAL, accept(a, NULL, NULL));
}
CASE("accept", "on a datagram socket is EOPNOTSUPP") {
  pair(SOCK_DGRAM);
  FAILS(EOPNOTSUPP, accept(a, NULL, NULL));
}
FAILS_CASE("accept", "on no descriptor is EBADF", EBADF, accept(NO_FD, NULL, NULL))
FAILS_CASE("accept", "on what is no socket is ENOTSOCK", ENOTSOCK, accept(0, NULL, NULL))
CASE("accept", "beyond the limit of descriptors is EMFILE") {
  a = listener(SOCK_STREAM, 1);
  b = dialed(SOCK_STREAM);
  struct rlimit limit = {5, 5};
  OK(setrlimit(RLIMIT_NOFILE, &limit));
  FAILS(EMFILE, accept(a, NULL, NULL));
}
CASE("listen", "without a name is EINVAL") { FAILS(EINVAL, listen(OK(socket(AF_UNIX, SOCK_STREAM, 0)), 1)); }
CASE("listen", "on a connected socket is EINVAL") {
  pair(SOCK_STREAM);
  FAILS(EINVAL, listen(a, 1));
}
CASE("listen", "on a datagram socket is EOPNOTSUPP") {
  pair(SOCK_DGRAM);
  FAILS(EOPNOTSUPP, listen(a, 1));
}
CASE("listen", "twice changes the queue's length") {
  a = listener(SOCK_STREAM, 1);
  OK(listen(a, 5));
}
FAILS_CASE("listen", "on no descriptor is EBADF", EBADF, listen(NO_FD, 1))
FAILS_CASE("listen", "on what is no socket is ENOTSOCK", ENOTSOCK, listen(0, 1))
CASE("connect", "to no name is ENOENT") {
  FAILS(ENOENT, connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(path("none"))));
}
CASE("connect", "to a regular file is ECONNREFUSED") {
  write_file("name", "");
  FAILS(ECONNREFUSED, connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(path("name"))));
}
CASE("connect", "to one that does not listen is ECONNREFUSED") {
  a = OK(socket(AF_UNIX, SOCK_STREAM, 0));
  OK(bind(a, AT(path("name"))));
  FAILS(ECONNREFUSED, connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(path("name"))));
}
CASE("connect", "to an abstract name nobody has is ECONNREFUSED") {
  FAILS(ECONNREFUSED, connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(abstract("none"))));
}
CASE("connect", "to another type is EPROTOTYPE") {
  listener(SOCK_STREAM, 1);
  FAILS(EPROTOTYPE, connect(OK(socket(AF_UNIX, SOCK_SEQPACKET, 0)), AT(path("name"))));
}
CASE("connect", "where one may not write is EACCES") {
  listener(SOCK_STREAM, 1);
  chmod("name", 0700);
  become_user();
  FAILS(EACCES, connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(path("name"))));
}
CASE("connect", "twice is EISCONN") {
  listener(SOCK_STREAM, 5);
  a = dialed(SOCK_STREAM);
  FAILS(EISCONN, connect(a, AT(path("name"))));
}
CASE("connect", "of a listening socket is EINVAL") {
  a = listener(SOCK_STREAM, 5);
  FAILS(EINVAL, connect(a, AT(path("name"))));
}
CASE("connect", "to a full queue without waiting is EAGAIN") {
  listener(SOCK_STREAM, 0);
  dialed(SOCK_STREAM);
  FAILS(EAGAIN, connect(OK(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)), AT(path("name"))));
}
CASE("connect", "to a full queue waits") {
  a = listener(SOCK_STREAM, 0);
  dialed(SOCK_STREAM);
  CHILD(child) {
    sleep_ms(20);
    OK(accept(a, NULL, NULL));
  }
  dialed(SOCK_STREAM);
  IS(0, ended(child));
}
CASE("connect", "to a full queue is EINTR when a signal comes") {
  listener(SOCK_STREAM, 0);
  dialed(SOCK_STREAM);
  interrupt_soon();
  FAILS(EINTR, connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(path("name"))));
}
FAILS_CASE("connect", "of no descriptor is EBADF", EBADF, connect(NO_FD, AT(10)))
FAILS_CASE("connect", "of what is no socket is ENOTSOCK", ENOTSOCK, connect(0, AT(10)))
CASE("connect", "to an address in no memory is EFAULT") {
  FAILS(EFAULT, connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), NOWHERE, 10));
}
CASE("connect", "of another family is EINVAL") {
  path("name");
  address.sun_family = AF_INET;
  FAILS(EINVAL, connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), AT(10)));
}
CASE("close", "of a listener resets those who wait to be accepted") {
  a = listener(SOCK_STREAM, 1);
  b = dialed(SOCK_STREAM);
  close(a);
  FAILS(ECONNRESET, read(b, text, 1));
}

// Messages.
CASE("socketpair", "datagrams have borders") {
  pair(SOCK_DGRAM);
  send(a, "ab", 2, 0), send(a, "cde", 3, 0);
  IS(2, recv(b, text, 10, 0));
  IS(3, recv(b, text, 10, 0));
}
CASE("recv", "of less than a datagram loses the rest") {
  pair(SOCK_DGRAM);
  send(a, "abcd", 4, 0), send(a, "x", 1, 0);
  IS(2, recv(b, text, 2, 0));
  IS(1, recv(b, text, 9, 0));
}
CASE("recv", "MSG_TRUNC tells a datagram's real size") {
  pair(SOCK_DGRAM);
  send(a, "abcd", 4, 0);
  IS(4, recv(b, text, 2, MSG_TRUNC));
}
CASE("recvmsg", "MSG_TRUNC is told when a datagram is cut") {
  pair(SOCK_DGRAM);
  send(a, "abcd", 4, 0);
  struct iovec part = {text, 2};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  IS(2, recvmsg(b, &message, 0));
  IS(MSG_TRUNC, message.msg_flags);
}
CASE("send", "of nothing is a datagram of nothing") {
  pair(SOCK_DGRAM);
  IS(0, send(a, "", 0, 0));
  IS(0, recv(b, text, 5, MSG_DONTWAIT));
  FAILS(EAGAIN, recv(b, text, 5, MSG_DONTWAIT));
}
CASE("send", "of a datagram larger than the buffer is EMSGSIZE") {
  pair(SOCK_DGRAM);
  OK(setsockopt(a, SOL_SOCKET, SO_SNDBUF, &(int){4096}, 4));
  FAILS(EMSGSIZE, send(a, text, 10000, 0));
}
CASE("recv", "MSG_PEEK of a datagram leaves it there") {
  pair(SOCK_DGRAM);
  send(a, "abcd", 4, 0);
  IS(2, recv(b, text, 2, MSG_PEEK));
  IS(4, recv(b, text, 9, 0));
}
CASE("socketpair", "a datagram pair: closing one end is ECONNREFUSED") {
  pair(SOCK_DGRAM);
  close(b);
  FAILS(ECONNREFUSED, send(a, "x", 1, 0));
}
CASE("sendto", "a name, and recvfrom tells whose") {
  a = OK(socket(AF_UNIX, SOCK_DGRAM, 0)), b = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
  OK(bind(a, AT(path("from"))));
  OK(bind(b, AT(path("to"))));
  IS(2, sendto(a, "hi", 2, 0, AT(path("to"))));
  socklen_t size = sizeof address;
  memset(&address, 0, sizeof address);
  IS(2, recvfrom(b, text, 10, 0, (struct sockaddr *)&address, &size));
  IS(7, size);
  IS(0, strcmp("from", address.sun_path));
}
CASE("recvfrom", "of a sender without a name tells no path") {
  b = OK(socket(AF_UNIX, SOCK_DGRAM, 0)), a = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
  OK(bind(b, AT(path("to"))));
  IS(2, sendto(a, "hi", 2, 0, AT(path("to"))));
  socklen_t size = sizeof address;
  IS(2, recvfrom(b, text, 10, 0, (struct sockaddr *)&address, &size));
  HOLDS(size == 0 || size == 2);
}
CASE("sendto", "no name is ENOENT") {
  FAILS(ENOENT, sendto(OK(socket(AF_UNIX, SOCK_DGRAM, 0)), "x", 1, 0, AT(path("none"))));
}
CASE("sendto", "a stream's name is EPROTOTYPE") {
  listener(SOCK_STREAM, 1);
  FAILS(EPROTOTYPE, sendto(OK(socket(AF_UNIX, SOCK_DGRAM, 0)), "x", 1, 0, AT(path("name"))));
}
CASE("send", "on an unconnected datagram socket is ENOTCONN") {
  FAILS(ENOTCONN, send(OK(socket(AF_UNIX, SOCK_DGRAM, 0)), "x", 1, 0));
}
CASE("connect", "of a datagram socket sets where it sends") {
  a = OK(socket(AF_UNIX, SOCK_DGRAM, 0)), b = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
  OK(bind(b, AT(path("to"))));
  OK(connect(a, AT(path("to"))));
  IS(2, send(a, "hi", 2, 0));
  IS(2, recv(b, text, 10, 0));
  address.sun_family = AF_UNSPEC;
  OK(connect(a, AT(sizeof address)));
  FAILS(ENOTCONN, send(a, "hi", 2, 0));
}
CASE("sendto", "a datagram socket that talks to another is EPERM") {
  pair(SOCK_DGRAM);
  OK(bind(b, AT(path("to"))));
  FAILS(EPERM, sendto(OK(socket(AF_UNIX, SOCK_DGRAM, 0)), "x", 1, 0, AT(path("to"))));
}
CASE("sendto", "more datagrams than a queue holds is EAGAIN, and room is told") {
  a = OK(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)), b = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
  OK(bind(b, AT(path("to"))));
  OK(connect(a, AT(path("to"))));
  int count = 0;
  while (send(a, "x", 1, 0) == 1) count++;
  IS(EAGAIN, errno);
  IS(11, count);
  IS(0, events(a));
  CHILD(child) {
    sleep_ms(20);
    IS(1, recv(b, text, 1, 0));
  }
  struct pollfd look = {a, POLLOUT, 0};
  IS(1, poll(&look, 1, 5000));
  IS(0, ended(child));
}
CASE("sendto", "a full queue waits for a receiver") {
  a = OK(socket(AF_UNIX, SOCK_DGRAM, 0)), b = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
  OK(bind(b, AT(path("to"))));
  CHILD(child) {
    sleep_ms(20);
    for (int i = 0; i < 30; i++) IS(1, recv(b, text, 1, 0));
  }
  for (int i = 0; i < 30; i++) IS(1, sendto(a, "x", 1, 0, AT(path("to"))));
  IS(0, ended(child));
}
CASE("socketpair", "SOCK_SEQPACKET: borders, and an end") {
  pair(SOCK_SEQPACKET);
  send(a, "ab", 2, 0), send(a, "cde", 3, 0);
  IS(2, recv(b, text, 10, 0));
  IS(3, recv(b, text, 10, 0));
  close(a);
  IS(0, recv(b, text, 10, 0));
}
CASE("connect", "SOCK_SEQPACKET listens and accepts") {
  a = listener(SOCK_SEQPACKET, 1);
  b = dialed(SOCK_SEQPACKET);
  int c = OK(accept(a, NULL, NULL));
  IS(3, send(c, "abc", 3, 0));
  IS(3, recv(b, text, 9, 0));
}
CASE("send", "on an unconnected SOCK_SEQPACKET is ENOTCONN") {
  FAILS(ENOTCONN, send(OK(socket(AF_UNIX, SOCK_SEQPACKET, 0)), "x", 1, 0));
}
CASE("recv", "on an unconnected SOCK_SEQPACKET is ENOTCONN") {
  FAILS(ENOTCONN, recv(OK(socket(AF_UNIX, SOCK_SEQPACKET, 0)), text, 1, 0));
}
CASE("send", "on SOCK_SEQPACKET without the other end is EPIPE") {
  pair(SOCK_SEQPACKET);
  close(b);
  FAILS(EPIPE, send(a, "x", 1, MSG_NOSIGNAL));
}

// What goes along.
static struct {
  struct msghdr message;
  struct iovec part;
  union {
    char bytes[CMSG_SPACE(1200)];
    struct cmsghdr header;
  } control;
  char text[16];
} note;
static void prepare(size_t control) {
  memset(&note, 0, sizeof note);
  note.part = (struct iovec){note.text, sizeof note.text};
  note.message = (struct msghdr){
      .msg_iov = &note.part, .msg_iovlen = 1, .msg_control = note.control.bytes, .msg_controllen = control};
}
static long pass(int to, const int *fds, int count) {
  prepare(CMSG_SPACE(sizeof(int) * (size_t)count));
  note.part.iov_len = 1;
  note.control.header = (struct cmsghdr){CMSG_LEN(sizeof(int) * (size_t)count), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(&note.control.header), fds, sizeof(int) * (size_t)count);
  return sendmsg(to, &note.message, 0);
}
static int first_fd(void) {
  int fd;
  memcpy(&fd, CMSG_DATA(&note.control.header), 4);
  return fd;
}
CASE("sendmsg", "SCM_RIGHTS passes a descriptor") {
  pair(SOCK_STREAM);
  int file = file_with("passed");
  IS(1, pass(a, &file, 1));
  close(file);
  prepare(CMSG_SPACE(4));
  IS(1, recvmsg(b, &note.message, 0));
  IS(CMSG_LEN(4), note.control.header.cmsg_len);
  IS(SCM_RIGHTS, note.control.header.cmsg_type);
  IS(CMSG_SPACE(4), note.message.msg_controllen);
  IS(0, note.message.msg_flags);
  IS(6, pread(first_fd(), text, 10, 0));
  IS(0, fcntl(first_fd(), F_GETFD));
}
CASE("recvmsg", "MSG_CMSG_CLOEXEC closes it by exec") {
  pair(SOCK_STREAM);
  pass(a, &a, 1);
  prepare(CMSG_SPACE(4));
  IS(1, recvmsg(b, &note.message, MSG_CMSG_CLOEXEC));
  IS(FD_CLOEXEC, fcntl(first_fd(), F_GETFD));
  IS(MSG_CMSG_CLOEXEC, note.message.msg_flags);
}
CASE("recvmsg", "MSG_CTRUNC: fewer descriptors than came") {
  pair(SOCK_STREAM);
  IS(1, pass(a, (int[]){0, 1, 2}, 3));
  prepare(CMSG_LEN(8));
  IS(1, recvmsg(b, &note.message, 0));
  IS(MSG_CTRUNC, note.message.msg_flags);
  IS(CMSG_LEN(8), note.control.header.cmsg_len);
  IS(7, dup(0));
}
CASE("recvmsg", "MSG_CTRUNC: no room for control data") {
  pair(SOCK_STREAM);
  pass(a, &a, 1);
  prepare(0);
  IS(1, recvmsg(b, &note.message, 0));
  IS(MSG_CTRUNC, note.message.msg_flags);
  IS(0, note.message.msg_controllen);
}
CASE("read", "of a message with a descriptor drops it") {
  int ends[2];
  pair(SOCK_STREAM);
  OK(pipe(ends));
  pass(a, &ends[1], 1);
  close(ends[1]);
  IS(1, read(b, text, 10));
  IS(0, read(ends[0], text, 1));
}
CASE("recvmsg", "a stream stops after a message with descriptors") {
  pair(SOCK_STREAM);
  write(a, "ab", 2), pass(a, &a, 1), write(a, "cd", 2);
  prepare(CMSG_SPACE(4));
  IS(3, recvmsg(b, &note.message, 0));
  IS(CMSG_SPACE(4), note.message.msg_controllen);
  IS(2, recv(b, text, 10, 0));
}
CASE("recvmsg", "MSG_PEEK gives descriptors, and leaves them") {
  pair(SOCK_STREAM);
  pass(a, &a, 1);
  for (int i = 0; i < 2; i++) {
    prepare(CMSG_SPACE(4));
    IS(1, recvmsg(b, &note.message, i ? 0 : MSG_PEEK));
    IS(CMSG_SPACE(4), note.message.msg_controllen);
  }
}
CASE("sendmsg", "SCM_RIGHTS of no descriptor is EBADF") {
  pair(SOCK_STREAM);
  FAILS(EBADF, pass(a, (int[]){NO_FD}, 1));
}
CASE("sendmsg", "SCM_RIGHTS of 253 descriptors") {
  int fds[254] = {0};
  pair(SOCK_DGRAM);
  IS(1, pass(a, fds, 253));
  FAILS(EINVAL, pass(a, fds, 254));
}
CASE("sendmsg", "control data of a strange length is EINVAL") {
  pair(SOCK_STREAM);
  prepare(CMSG_SPACE(4));
  note.control.header = (struct cmsghdr){5, SOL_SOCKET, SCM_RIGHTS};
  FAILS(EINVAL, sendmsg(a, &note.message, 0));
}
CASE("sendmsg", "control data in no memory is EFAULT") {
  pair(SOCK_STREAM);
  prepare(16);
  note.message.msg_control = NOWHERE;
  FAILS(EFAULT, sendmsg(a, &note.message, 0));
}
CASE("sendmsg", "a message in no memory is EFAULT") {
  pair(SOCK_STREAM);
  FAILS(EFAULT, sendmsg(a, NOWHERE, 0));
}
CASE("sendmsg", "of more than 1024 parts is EMSGSIZE") {
  pair(SOCK_STREAM);
  prepare(0);
  note.message.msg_iovlen = 1025;
  FAILS(EMSGSIZE, sendmsg(a, &note.message, 0));
}
CASE("recvmsg", "into a message in no memory is EFAULT") {
  pair(SOCK_STREAM);
  FAILS(EFAULT, recvmsg(a, NOWHERE, 0));
}
CASE("sendmsg", "a socket through itself can be received") {
  pair(SOCK_STREAM);
  IS(1, pass(a, &b, 1));
  prepare(CMSG_SPACE(4));
  IS(1, recvmsg(b, &note.message, 0));
  IS(1, write(first_fd(), "x", 1));
  IS(1, read(a, text, 1));
}
CASE("close", "sockets that only keep one another are gone") {
  int ends[2];
  OK(pipe(ends));
  pair(SOCK_STREAM);
  pass(a, (int[]){a, b, ends[1]}, 3), pass(b, (int[]){a, b}, 2);
  close(a), close(b), close(ends[1]);
  for (int i = 0; i < 5; i++) pair(SOCK_STREAM), close(a), close(b);
  struct pollfd look = {ends[0], POLLIN, 0};
  IS(1, poll(&look, 1, 5000));
  IS(POLLHUP, look.revents);
}
CASE("recvmsg", "SO_PASSCRED tells who sent") {
  pair(SOCK_STREAM);
  turn_on(b, SO_PASSCRED);
  write(a, "x", 1);
  prepare(CMSG_SPACE(sizeof(struct ucred)));
  IS(1, recvmsg(b, &note.message, 0));
  IS(SCM_CREDENTIALS, note.control.header.cmsg_type);
  struct ucred who;
  memcpy(&who, CMSG_DATA(&note.control.header), sizeof who);
  IS(getpid(), who.pid);
  IS(0, who.uid);
}
static void claim(pid_t pid, uid_t uid) {
  struct ucred who = {pid, uid, uid};
  prepare(CMSG_SPACE(sizeof who));
  note.part.iov_len = 1;
  note.control.header = (struct cmsghdr){CMSG_LEN(sizeof who), SOL_SOCKET, SCM_CREDENTIALS};
  memcpy(CMSG_DATA(&note.control.header), &who, sizeof who);
}
CASE("sendmsg", "SCM_CREDENTIALS: the superuser may claim anything") {
  pair(SOCK_STREAM);
  turn_on(b, SO_PASSCRED);
  claim(getppid(), 4711);
  IS(1, sendmsg(a, &note.message, 0));
  prepare(CMSG_SPACE(sizeof(struct ucred)));
  IS(1, recvmsg(b, &note.message, 0));
  struct ucred who;
  memcpy(&who, CMSG_DATA(&note.control.header), sizeof who);
  IS(getppid(), who.pid);
  IS(4711, who.uid);
}
CASE("sendmsg", "SCM_CREDENTIALS: others only what they are") {
  pair(SOCK_STREAM);
  become_user();
  claim(getpid(), 0);
  FAILS(EPERM, sendmsg(a, &note.message, 0));
  claim(getppid(), 1000);
  FAILS(EPERM, sendmsg(a, &note.message, 0));
  claim(getpid(), 1000);
  IS(1, sendmsg(a, &note.message, 0));
}
CASE("sendmsg", "SCM_CREDENTIALS of no process is ESRCH") {
  pair(SOCK_STREAM);
  claim(32000, 0);
  FAILS(ESRCH, sendmsg(a, &note.message, 0));
}
CASE("recvmsg", "SO_PASSCRED: parts by different processes are not run together") {
  pair(SOCK_STREAM);
  turn_on(b, SO_PASSCRED);
  write(a, "x", 1);
  CHILD(child) write(a, "y", 1);
  IS(0, ended(child));
  IS(1, recv(b, text, 9, 0));
  IS(1, recv(b, text, 9, 0));
}
CASE("getsockopt", "SO_PEERCRED of a pair") {
  struct ucred who;
  socklen_t size = sizeof who;
  pair(SOCK_STREAM);
  OK(getsockopt(a, SOL_SOCKET, SO_PEERCRED, &who, &size));
  IS(getpid(), who.pid);
  IS(0, who.uid);
}
CASE("getsockopt", "SO_PEERCRED of who connected") {
  struct ucred who;
  socklen_t size = sizeof who;
  a = listener(SOCK_STREAM, 1);
  CHILD(child) dialed(SOCK_STREAM);
  OK(getsockopt(OK(accept(a, NULL, NULL)), SOL_SOCKET, SO_PEERCRED, &who, &size));
  IS(child, who.pid);
}
CASE("sendmmsg", "sends several") {
  pair(SOCK_DGRAM);
  struct iovec parts[2] = {{"ab", 2}, {"cde", 3}};
  struct mmsghdr many[2] = {{.msg_hdr = {.msg_iov = &parts[0], .msg_iovlen = 1}},
                            {.msg_hdr = {.msg_iov = &parts[1], .msg_iovlen = 1}}};
  IS(2, sendmmsg(a, many, 2, 0));
  IS(2, many[0].msg_len);
  IS(3, many[1].msg_len);
}
CASE("recvmmsg", "receives several, and MSG_WAITFORONE waits for the first only") {
  pair(SOCK_DGRAM);
  send(a, "ab", 2, 0), send(a, "cde", 3, 0);
  struct iovec parts[3] = {{text, 9}, {text + 10, 9}, {text + 20, 9}};
  struct mmsghdr many[3] = {{.msg_hdr = {.msg_iov = &parts[0], .msg_iovlen = 1}},
                            {.msg_hdr = {.msg_iov = &parts[1], .msg_iovlen = 1}},
                            {.msg_hdr = {.msg_iov = &parts[2], .msg_iovlen = 1}}};
  IS(2, recvmmsg(b, many, 3, MSG_WAITFORONE, NULL));
  IS(2, many[0].msg_len);
  IS(3, many[1].msg_len);
  FAILS(EAGAIN, recvmmsg(b, many, 3, MSG_DONTWAIT, NULL));
}
CASE("recvmmsg", "for what is no time is EINVAL") {
  pair(SOCK_DGRAM);
  FAILS(EINVAL, recvmmsg(b, NULL, 0, 0, &(struct timespec){0, -1}));
}

// Options.
CASE("getsockopt", "SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN") {
  a = listener(SOCK_SEQPACKET, 1);
  IS(SOCK_SEQPACKET, option(a, SO_TYPE));
  IS(AF_UNIX, option(a, SO_DOMAIN));
  IS(0, option(a, SO_PROTOCOL));
  IS(1, option(a, SO_ACCEPTCONN));
  IS(0, option(dialed(SOCK_SEQPACKET), SO_ACCEPTCONN));
}
CASE("setsockopt", "switches are on or off") {
  int names[] = {SO_REUSEADDR, SO_KEEPALIVE, SO_PASSCRED, SO_DONTROUTE, SO_BROADCAST, SO_OOBINLINE, SO_TIMESTAMP};
  a = OK(socket(AF_UNIX, SOCK_DGRAM, 0));
  for (int i = 0; i < 7; i++) {
    IS(0, option(a, names[i]));
    OK(setsockopt(a, SOL_SOCKET, names[i], &(int){7}, 4));
    IS(1, option(a, names[i]));
  }
}
CASE("setsockopt", "SO_SNDBUF and SO_RCVBUF are doubled, and have a least") {
  pair(SOCK_STREAM);
  OK(setsockopt(a, SOL_SOCKET, SO_SNDBUF, &(int){10000}, 4));
  OK(setsockopt(a, SOL_SOCKET, SO_RCVBUF, &(int){10000}, 4));
  IS(20000, option(a, SO_SNDBUF));
  IS(20000, option(a, SO_RCVBUF));
  OK(setsockopt(a, SOL_SOCKET, SO_SNDBUF, &(int){1}, 4));
  OK(setsockopt(a, SOL_SOCKET, SO_RCVBUF, &(int){1}, 4));
  IS(4608, option(a, SO_SNDBUF));
  IS(2304, option(a, SO_RCVBUF));
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
  IS(ECONNRESET, option(a, SO_ERROR));
  IS(0, option(a, SO_ERROR));
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
