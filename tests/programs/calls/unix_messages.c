// Unix sockets: datagrams, and what goes along with messages.
#include "unix.h"

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
  OK(turn_on(b, SOL_SOCKET, SO_PASSCRED));
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
  OK(turn_on(b, SOL_SOCKET, SO_PASSCRED));
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
  OK(turn_on(b, SOL_SOCKET, SO_PASSCRED));
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
