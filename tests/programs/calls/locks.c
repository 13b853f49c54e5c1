// Locks on files, descriptors and what fcntl says of them, signals about readiness.
#include "calls.h"
#include <sys/file.h>

static struct flock range(short type, off_t start, off_t len) {
  return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
}
static int set(int fd, int command, short type, off_t start, off_t len) {
  struct flock l = range(type, start, len);
  return fcntl(fd, command, &l);
}
static int another(void) { return (int)OK(open("file", O_RDWR | O_CREAT, 0600)); }
static int p[2];
// A child that does something and then waits until it is killed.
#define HOLDER(what)                                                                                                   \
  OK(pipe(p));                                                                                                         \
  pid_t holder = OK(fork());                                                                                           \
  if (holder == 0) {                                                                                                   \
    what;                                                                                                              \
    OK(write(p[1], "x", 1));                                                                                           \
    pause();                                                                                                           \
    _exit(0);                                                                                                          \
  }                                                                                                                    \
  char ready;                                                                                                          \
  IS(1, read(p[0], &ready, 1));

CASE("fcntl", "F_SETLK: two processes cannot both write-lock") {
  int fd = another();
  HOLDER(set(fd, F_SETLK, F_WRLCK, 0, 10));
  FAILS(EAGAIN, set(fd, F_SETLK, F_WRLCK, 5, 1));
}
CASE("fcntl", "F_SETLK: two processes can both read-lock") {
  int fd = another();
  HOLDER(set(fd, F_SETLK, F_RDLCK, 0, 10));
  OK(set(fd, F_SETLK, F_RDLCK, 5, 1));
  FAILS(EAGAIN, set(fd, F_SETLK, F_WRLCK, 5, 1));
}
CASE("fcntl", "F_SETLK: ranges apart do not matter") {
  int fd = another();
  HOLDER(set(fd, F_SETLK, F_WRLCK, 0, 10));
  OK(set(fd, F_SETLK, F_WRLCK, 10, 5));
}
CASE("fcntl", "F_SETLK: a length of 0 reaches to the end") {
  int fd = another();
  HOLDER(set(fd, F_SETLK, F_WRLCK, 10, 0));
  FAILS(EAGAIN, set(fd, F_SETLK, F_WRLCK, 1 << 30, 1));
}
CASE("fcntl", "F_SETLK: a length below 0 is before the start") {
  int fd = another();
  HOLDER(set(fd, F_SETLK, F_WRLCK, 10, -5));
  FAILS(EAGAIN, set(fd, F_SETLK, F_WRLCK, 5, 1));
  OK(set(fd, F_SETLK, F_WRLCK, 10, 1));
}
CASE("fcntl", "F_SETLK: a process does not stand against itself") {
  int fd = another();
  OK(set(fd, F_SETLK, F_WRLCK, 0, 10));
  OK(set(fd, F_SETLK, F_RDLCK, 0, 10));
  OK(set(another(), F_SETLK, F_WRLCK, 0, 10));
}
CASE("fcntl", "F_SETLK: closing any descriptor of the file gives locks up") {
  int fd = another();
  HOLDER(OK(set(fd, F_SETLK, F_WRLCK, 0, 10)); close(another()));
  OK(set(fd, F_SETLK, F_WRLCK, 0, 10));
}
CASE("fcntl", "F_SETLK: a child has none of its parent's") {
  int fd = another();
  OK(set(fd, F_SETLK, F_WRLCK, 0, 10));
  CHILD(pid) FAILS(EAGAIN, set(fd, F_SETLK, F_WRLCK, 0, 1));
  IS(0, ended(pid));
}
CASE("fcntl", "F_SETLK: the end of a process gives locks up") {
  int fd = another();
  CHILD(pid) OK(set(fd, F_SETLK, F_WRLCK, 0, 10));
  IS(0, ended(pid));
  OK(set(fd, F_SETLK, F_WRLCK, 0, 10));
}
CASE("fcntl", "F_SETLK: unlocking the middle leaves both ends") {
  int fd = another();
  HOLDER(OK(set(fd, F_SETLK, F_WRLCK, 0, 30)); OK(set(fd, F_SETLK, F_UNLCK, 10, 10)));
  FAILS(EAGAIN, set(fd, F_SETLK, F_WRLCK, 9, 1));
  OK(set(fd, F_SETLK, F_WRLCK, 10, 10));
  FAILS(EAGAIN, set(fd, F_SETLK, F_WRLCK, 20, 1));
}
CASE("fcntl", "F_GETLK: tells who stands against it") {
  int fd = another();
  HOLDER(set(fd, F_SETLK, F_WRLCK, 3, 4));
  struct flock l = range(F_RDLCK, 0, 0);
  OK(fcntl(fd, F_GETLK, &l));
  IS(F_WRLCK, l.l_type);
  IS(holder, l.l_pid);
  IS(3, l.l_start);
  IS(4, l.l_len);
}
CASE("fcntl", "F_GETLK: without anybody is F_UNLCK") {
  int fd = another();
  struct flock l = range(F_WRLCK, 0, 0);
  OK(fcntl(fd, F_GETLK, &l));
  IS(F_UNLCK, l.l_type);
}
CASE("fcntl", "F_GETLK: of F_UNLCK is EINVAL") {
  int fd = another();
  FAILS(EINVAL, set(fd, F_GETLK, F_UNLCK, 0, 0));
}
CASE("fcntl", "F_SETLK: of an unknown type is EINVAL") {
  int fd = another();
  FAILS(EINVAL, set(fd, F_SETLK, 9, 0, 0));
}
CASE("fcntl", "F_SETLK: before the start of the file is EINVAL") {
  int fd = another();
  FAILS(EINVAL, set(fd, F_SETLK, F_WRLCK, -1, 1));
}
CASE("fcntl", "F_SETLK: of an unknown whence is EINVAL") {
  int fd = another();
  struct flock l = {.l_type = F_WRLCK, .l_whence = 9};
  FAILS(EINVAL, fcntl(fd, F_SETLK, &l));
}
CASE("fcntl", "F_SETLK: beyond all offsets is EOVERFLOW") {
  int fd = another();
  FAILS(EOVERFLOW, set(fd, F_SETLK, F_WRLCK, 1ll << 62, (1ll << 62) + 1));
}
CASE("fcntl", "F_SETLK: of no memory is EFAULT") {
  int fd = another();
  FAILS(EFAULT, fcntl(fd, F_SETLK, NOWHERE));
}
CASE("fcntl", "F_SETLK: write-locking a file open for reading is EBADF") {
  another();
  FAILS(EBADF, set(OK(open("file", O_RDONLY)), F_SETLK, F_WRLCK, 0, 0));
}
CASE("fcntl", "F_SETLK: read-locking a file open for writing is EBADF") {
  another();
  FAILS(EBADF, set(OK(open("file", O_WRONLY)), F_SETLK, F_RDLCK, 0, 0));
}
CASE("fcntl", "F_SETLK: counts from the position") {
  int fd = another();
  HOLDER(set(fd, F_SETLK, F_WRLCK, 10, 1));
  OK(lseek(fd, 10, SEEK_SET));
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_len = 1};
  FAILS(EAGAIN, fcntl(fd, F_SETLK, &l));
}
CASE("fcntl", "F_SETLKW: waits until the other lets go") {
  int fd = another();
  HOLDER(set(fd, F_SETLK, F_WRLCK, 0, 1));
  CHILD(killer) {
    sleep_ms(20);
    kill(holder, SIGKILL);
  }
  OK(set(fd, F_SETLKW, F_WRLCK, 0, 1));
}
CASE("fcntl", "F_SETLKW: is interrupted by a signal") {
  int fd = another();
  HOLDER(set(fd, F_SETLK, F_WRLCK, 0, 1));
  interrupt_soon();
  FAILS(EINTR, set(fd, F_SETLKW, F_WRLCK, 0, 1));
}
CASE("fcntl", "F_SETLKW: a circle of two is EDEADLK") {
  int fd = another();
  OK(set(fd, F_SETLK, F_WRLCK, 0, 1));
  OK(pipe(p));
  CHILD(pid) {
    OK(set(fd, F_SETLK, F_WRLCK, 1, 1));
    OK(write(p[1], "x", 1));
    OK(set(fd, F_SETLKW, F_WRLCK, 0, 1));
  }
  char c;
  IS(1, read(p[0], &c, 1));
  sleep_ms(50);
  FAILS(EDEADLK, set(fd, F_SETLKW, F_WRLCK, 1, 1));
  OK(set(fd, F_SETLK, F_UNLCK, 0, 1));
  IS(0, ended(pid));
}
CASE("fcntl", "F_OFD_SETLK: two open files of a process stand against each other") {
  int a = another(), c = another();
  OK(set(a, F_OFD_SETLK, F_WRLCK, 0, 10));
  FAILS(EAGAIN, set(c, F_OFD_SETLK, F_WRLCK, 0, 1));
  OK(set(dup(a), F_OFD_SETLK, F_WRLCK, 0, 1));
}
CASE("fcntl", "F_OFD_SETLK: stands against a process's lock") {
  int a = another(), c = another();
  OK(set(a, F_SETLK, F_WRLCK, 0, 10));
  FAILS(EAGAIN, set(c, F_OFD_SETLK, F_WRLCK, 0, 1));
}
CASE("fcntl", "F_OFD_SETLK: lasts until the last descriptor is closed") {
  int a = another(), c = another(), d = dup(a);
  OK(set(a, F_OFD_SETLK, F_WRLCK, 0, 10));
  OK(close(a));
  FAILS(EAGAIN, set(c, F_OFD_SETLK, F_WRLCK, 0, 1));
  OK(close(d));
  OK(set(c, F_OFD_SETLK, F_WRLCK, 0, 1));
}
CASE("fcntl", "F_OFD_GETLK: the owner of an open file's lock is -1") {
  int a = another(), c = another();
  OK(set(a, F_OFD_SETLK, F_WRLCK, 0, 10));
  struct flock l = range(F_WRLCK, 0, 0);
  OK(fcntl(c, F_OFD_GETLK, &l));
  IS(-1, l.l_pid);
}
CASE("fcntl", "F_OFD_SETLK: with a process is EINVAL") {
  int a = another();
  struct flock l = range(F_WRLCK, 0, 0);
  l.l_pid = 1;
  FAILS(EINVAL, fcntl(a, F_OFD_SETLK, &l));
}
CASE("fcntl", "F_OFD_SETLKW: waits for the other's close") {
  int a = another();
  HOLDER(OK(set(another(), F_OFD_SETLK, F_WRLCK, 0, 10)));
  CHILD(killer) {
    sleep_ms(20);
    kill(holder, SIGKILL);
  }
  OK(set(a, F_OFD_SETLKW, F_WRLCK, 0, 1));
}
CASE("flock", "two open files cannot both be exclusive") {
  int a = another(), c = another();
  OK(flock(a, LOCK_EX));
  FAILS(EAGAIN, flock(c, LOCK_EX | LOCK_NB));
  FAILS(EAGAIN, flock(c, LOCK_SH | LOCK_NB));
  OK(flock(a, LOCK_UN));
  OK(flock(c, LOCK_EX | LOCK_NB));
}
CASE("flock", "shared locks stand together") {
  OK(flock(another(), LOCK_SH));
  OK(flock(another(), LOCK_SH));
  FAILS(EAGAIN, flock(another(), LOCK_EX | LOCK_NB));
}
CASE("flock", "is one with its duplicates") {
  int a = another();
  OK(flock(a, LOCK_EX));
  OK(flock(dup(a), LOCK_EX | LOCK_NB));
}
CASE("flock", "is shared with a child") {
  int a = another();
  OK(flock(a, LOCK_EX));
  CHILD(pid) OK(flock(a, LOCK_UN));
  IS(0, ended(pid));
  OK(flock(another(), LOCK_EX | LOCK_NB));
}
CASE("flock", "waits for the other's close") {
  HOLDER(OK(flock(another(), LOCK_EX)));
  CHILD(killer) {
    sleep_ms(20);
    kill(holder, SIGKILL);
  }
  OK(flock(another(), LOCK_EX));
}
CASE("flock", "is interrupted by a signal") {
  int a = another();
  OK(flock(a, LOCK_EX));
  int c = another();
  interrupt_soon();
  FAILS(EINTR, flock(c, LOCK_EX));
}
CASE("flock", "with an unknown operation is EINVAL") {
  int a = another();
  FAILS(EINVAL, flock(a, 0));
  FAILS(EINVAL, flock(a, LOCK_SH | LOCK_EX));
}
CASE("flock", "is not of F_SETLK's kind") {
  int a = another(), c = another();
  OK(flock(a, LOCK_EX));
  HOLDER(OK(set(c, F_SETLK, F_WRLCK, 0, 0)));
  OK(close(c));
}
FAILS_CASE("flock", "of a bad descriptor is EBADF", EBADF, flock(NO_FD, LOCK_EX))

FAILS_CASE("fcntl", "of a bad descriptor is EBADF", EBADF, fcntl(NO_FD, F_GETFD))
CASE("fcntl", "with an unknown command is EINVAL") { FAILS(EINVAL, fcntl(0, 9999)); }
CASE("fcntl", "F_DUPFD gives the lowest from a number on") {
  IS(10, fcntl(0, F_DUPFD, 10));
  IS(11, fcntl(0, F_DUPFD_CLOEXEC, 10));
  IS(0, fcntl(10, F_GETFD));
  IS(FD_CLOEXEC, fcntl(11, F_GETFD));
}
CASE("fcntl", "F_DUPFD beyond the limit is EINVAL") {
  struct rlimit r = {20, 20};
  OK(setrlimit(RLIMIT_NOFILE, &r));
  FAILS(EINVAL, fcntl(0, F_DUPFD, 20));
  FAILS(EINVAL, fcntl(0, F_DUPFD, -1));
}
CASE("fcntl", "F_DUPFD of a full table is EMFILE") {
  struct rlimit r = {4, 4};
  OK(setrlimit(RLIMIT_NOFILE, &r));
  IS(3, dup(0));
  FAILS(EMFILE, fcntl(0, F_DUPFD, 0));
  FAILS(EMFILE, dup(0));
}
CASE("fcntl", "F_SETFD is a descriptor's own") {
  int d = dup(0);
  OK(fcntl(d, F_SETFD, FD_CLOEXEC));
  IS(0, fcntl(0, F_GETFD));
}
CASE("fcntl", "F_SETFL changes what may be changed") {
  int a = another();
  OK(fcntl(a, F_SETFL, O_APPEND | O_NONBLOCK | O_WRONLY | O_EXCL));
  IS(O_RDWR | O_APPEND | O_NONBLOCK, fcntl(a, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_EXCL));
}
CASE("fcntl", "F_SETFL is shared by duplicates") {
  int a = another(), d = dup(a);
  OK(fcntl(a, F_SETFL, O_APPEND));
  HOLDS(fcntl(d, F_GETFL) & O_APPEND);
}
CASE("fcntl", "F_DUPFD_QUERY tells whether both are one") {
  int a = another(), d = dup(a);
  IS(1, fcntl(a, 1027, d));
  IS(0, fcntl(a, 1027, another()));
  FAILS(EBADF, fcntl(a, 1027, NO_FD));
}
CASE("fcntl", "F_GETLEASE without a lease is F_UNLCK") { IS(F_UNLCK, fcntl(another(), F_GETLEASE)); }
CASE("dup", "gives the lowest free descriptor") {
  IS(3, dup(0));
  IS(4, dup(0));
  OK(close(3));
  IS(3, dup(0));
}
FAILS_CASE("dup", "of a bad descriptor is EBADF", EBADF, dup(NO_FD))
CASE("dup2", "replaces") {
  int a = another();
  IS(9, dup2(0, 9));
  IS(9, dup2(a, 9));
  OK(lseek(9, 5, SEEK_SET));
  IS(5, lseek(a, 0, SEEK_CUR));
}
CASE("dup2", "of a descriptor to itself works") {
  IS(0, dup2(0, 0));
  FAILS(EBADF, dup2(NO_FD, NO_FD));
}
CASE("dup2", "beyond the limit is EBADF") {
  struct rlimit r = {20, 20};
  OK(setrlimit(RLIMIT_NOFILE, &r));
  FAILS(EBADF, dup2(0, 20));
  FAILS(EBADF, dup2(0, -1));
}
CASE("dup3", "of a descriptor to itself is EINVAL") { FAILS(EINVAL, dup3(0, 0, 0)); }
CASE("dup3", "with an unknown flag is EINVAL") { FAILS(EINVAL, dup3(0, 5, O_NONBLOCK)); }
CASE("dup3", "O_CLOEXEC marks the new one") {
  IS(5, dup3(0, 5, O_CLOEXEC));
  IS(FD_CLOEXEC, fcntl(5, F_GETFD));
}
FAILS_CASE("close", "of a bad descriptor is EBADF", EBADF, close(NO_FD))
CASE("close_range", "closes a range") {
  for (int i = 0; i < 5; i++) OK(dup(0));
  OK(syscall(SYS_close_range, 4, 6, 0));
  OK(fcntl(3, F_GETFD));
  FAILS(EBADF, fcntl(5, F_GETFD));
  OK(fcntl(7, F_GETFD));
}
CASE("close_range", "CLOEXEC marks a range") {
  OK(dup(0));
  OK(dup(0));
  OK(syscall(SYS_close_range, 3, 3, 4));
  IS(FD_CLOEXEC, fcntl(3, F_GETFD));
  IS(0, fcntl(4, F_GETFD));
}
FAILS_CASE("close_range", "from more to less is EINVAL", EINVAL, syscall(SYS_close_range, 5, 4, 0))
FAILS_CASE("close_range", "with an unknown flag is EINVAL", EINVAL, syscall(SYS_close_range, 5, 6, 64))

static volatile int told, told_fd, told_code;
static void on_io(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  told++, told_fd = info->si_fd, told_code = info->si_code;
}
static void listen_for(int signal) {
  struct sigaction a = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO};
  OK(sigaction(signal, &a, NULL));
}
CASE("fcntl", "O_ASYNC: SIGIO comes when a pipe becomes readable") {
  listen_for(SIGIO);
  OK(pipe(p));
  OK(fcntl(p[0], F_SETOWN, getpid()));
  OK(fcntl(p[0], F_SETFL, O_ASYNC));
  IS(1, write(p[1], "x", 1));
  for (int i = 0; i < 100 && !told; i++) sleep_ms(10);
  IS(1, told);
}
CASE("fcntl", "F_SETSIG: another signal tells the descriptor") {
  listen_for(SIGUSR1);
  OK(pipe(p));
  OK(fcntl(p[0], F_SETOWN, getpid()));
  OK(fcntl(p[0], F_SETSIG, SIGUSR1));
  OK(fcntl(p[0], F_SETFL, O_ASYNC));
  IS(1, write(p[1], "x", 1));
  for (int i = 0; i < 100 && !told; i++) sleep_ms(10);
  IS(1, told);
  IS(p[0], told_fd);
  IS(POLL_IN, told_code);
  IS(SIGUSR1, fcntl(p[0], F_GETSIG));
}
CASE("fcntl", "without O_ASYNC no signal comes") {
  listen_for(SIGIO);
  OK(pipe(p));
  OK(fcntl(p[0], F_SETOWN, getpid()));
  IS(1, write(p[1], "x", 1));
  sleep_ms(30);
  IS(0, told);
}
CASE("fcntl", "F_GETOWN tells a process and a group") {
  OK(pipe(p));
  IS(0, fcntl(p[0], F_GETOWN));
  OK(fcntl(p[0], F_SETOWN, getpid()));
  IS(getpid(), fcntl(p[0], F_GETOWN));
  OK(fcntl(p[0], F_SETOWN, -getpgrp()));
  IS(-getpgrp(), fcntl(p[0], F_GETOWN));
}
CASE("fcntl", "F_SETOWN of nobody is ESRCH") {
  OK(pipe(p));
  FAILS(ESRCH, fcntl(p[0], F_SETOWN, 30000));
}
CASE("fcntl", "F_SETOWN_EX tells by kind") {
  OK(pipe(p));
  struct f_owner_ex o = {F_OWNER_TID, gettid()};
  OK(fcntl(p[0], F_SETOWN_EX, &o));
  o.pid = 0;
  OK(fcntl(p[0], F_GETOWN_EX, &o));
  IS(F_OWNER_TID, o.type);
  IS(gettid(), o.pid);
  o.type = 9;
  FAILS(EINVAL, fcntl(p[0], F_SETOWN_EX, &o));
}
CASE("fcntl", "F_SETSIG of no signal is EINVAL") {
  OK(pipe(p));
  FAILS(EINVAL, fcntl(p[0], F_SETSIG, 65));
}
