// Unix sockets: their names, and how they find one another.
#include "unix.h"

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
