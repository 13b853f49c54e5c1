// signalfd: signals that are read.
#include "calls.h"
#include <sys/epoll.h>
#include <sys/signalfd.h>

static int fd;
static sigset_t set;
static struct signalfd_siginfo told[4];
static void make(int flags) {
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1), sigaddset(&set, SIGUSR2), sigaddset(&set, SIGCHLD), sigaddset(&set, SIGRTMIN);
  OK(sigprocmask(SIG_BLOCK, &set, NULL));
  fd = OK(signalfd(-1, &set, flags));
}
static long get(void) { return read(fd, told, sizeof told[0]); }

CASE("signalfd4", "tells who sent a signal") {
  make(0);
  kill(getpid(), SIGUSR1);
  IS(128, get());
  IS(SIGUSR1, told[0].ssi_signo);
  IS(SI_USER, told[0].ssi_code);
  IS(getpid(), told[0].ssi_pid);
  IS(0, told[0].ssi_uid);
}
CASE("signalfd4", "tells what sigqueue sent") {
  make(0);
  sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 4711});
  IS(128, get());
  IS(SI_QUEUE, told[0].ssi_code);
  IS(4711, told[0].ssi_int);
}
CASE("signalfd4", "tells of a child") {
  make(0);
  CHILD(child) _exit(7);
  IS(128, get());
  IS(SIGCHLD, told[0].ssi_signo);
  IS(CLD_EXITED, told[0].ssi_code);
  IS(child, told[0].ssi_pid);
  IS(7, told[0].ssi_status);
}
CASE("signalfd4", "reads several at once, by number") {
  make(0);
  kill(getpid(), SIGUSR2), kill(getpid(), SIGUSR1);
  IS(256, read(fd, told, sizeof told));
  IS(SIGUSR1, told[0].ssi_signo);
  IS(SIGUSR2, told[1].ssi_signo);
}
CASE("signalfd4", "a signal is taken by reading") {
  make(SFD_NONBLOCK);
  kill(getpid(), SIGUSR1);
  IS(128, get());
  FAILS(EAGAIN, get());
  sigset_t left;
  OK(sigpending(&left));
  HOLDS(!sigismember(&left, SIGUSR1));
}
CASE("signalfd4", "reading fewer bytes than a record is EINVAL") {
  make(0);
  FAILS(EINVAL, read(fd, told, 127));
}
CASE("signalfd4", "cannot be written") {
  make(0);
  FAILS(EINVAL, write(fd, told, 128));
}
CASE("signalfd4", "reading into no memory is EFAULT") {
  make(0);
  kill(getpid(), SIGUSR1);
  FAILS(EFAULT, read(fd, NOWHERE, 128));
}
CASE("signalfd4", "SFD_CLOEXEC and SFD_NONBLOCK") {
  make(SFD_CLOEXEC | SFD_NONBLOCK);
  IS(FD_CLOEXEC, fcntl(fd, F_GETFD));
  IS(O_RDWR | O_NONBLOCK, fcntl(fd, F_GETFL));
}
CASE("signalfd4", "with an unknown flag is EINVAL") {
  sigemptyset(&set);
  FAILS(EINVAL, signalfd(-1, &set, 1));
}
FAILS_CASE("signalfd4", "with a mask of an odd size is EINVAL", EINVAL, syscall(SYS_signalfd4, -1, &set, 4, 0))
FAILS_CASE("signalfd4", "with a mask in no memory is EFAULT", EFAULT, syscall(SYS_signalfd4, -1, NOWHERE, 8, 0))
FAILS_CASE("signalfd4", "of no descriptor is EBADF", EBADF, signalfd(NO_FD, &set, 0))
FAILS_CASE("signalfd4", "of another file is EINVAL", EINVAL, signalfd(0, &set, 0))
CASE("signalfd", "the old call has no flags") {
  sigemptyset(&set);
  fd = OK(syscall(SYS_signalfd, -1, &set, 8));
  IS(0, fcntl(fd, F_GETFD));
}
CASE("signalfd4", "changing the mask of an existing one") {
  make(SFD_NONBLOCK);
  kill(getpid(), SIGUSR1);
  sigdelset(&set, SIGUSR1);
  IS(fd, signalfd(fd, &set, 0));
  FAILS(EAGAIN, get());
}
CASE("signalfd4", "SIGKILL and SIGSTOP are not in it") {
  sigfillset(&set);
  OK(signalfd(-1, &set, 0));
}
CASE("signalfd4", "poll and epoll wait for a signal") {
  struct epoll_event event = {EPOLLIN, {0}};
  make(0);
  int ep = epoll_create1(0);
  OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
  struct pollfd look = {fd, POLLIN, 0};
  IS(0, poll(&look, 1, 0));
  IS(0, epoll_wait(ep, &event, 1, 0));
  kill(getpid(), SIGUSR1);
  IS(1, poll(&look, 1, 0));
  IS(1, epoll_wait(ep, &event, 1, 0));
  IS(POLLIN, look.revents);
}
CASE("signalfd4", "epoll waits for a child's end") {
  struct epoll_event event = {EPOLLIN, {0}};
  make(0);
  int ep = epoll_create1(0);
  OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
  CHILD(child) sleep_ms(20);
  IS(1, epoll_wait(ep, &event, 1, -1));
  IS(0, ended(child));
}
CASE("signalfd4", "reading waits for a signal") {
  make(0);
  pid_t parent = getpid();
  CHILD(child) {
    sleep_ms(20);
    kill(parent, SIGUSR1);
  }
  IS(128, get());
  IS(SIGUSR1, told[0].ssi_signo);
  IS(child, told[0].ssi_pid);
}
CASE("signalfd4", "reading is EINTR when another signal comes") {
  make(0);
  interrupt_soon();
  FAILS(EINTR, get());
}
static void send_one(void) { kill(getpid(), SIGUSR2); }
CASE("signalfd4", "reading goes on after a handler that restarts") {
  make(0);
  restart_and(send_one);
  IS(128, get());
}
CASE("signalfd4", "in a child it shows the child's signals") {
  make(SFD_NONBLOCK);
  kill(getpid(), SIGUSR1);
  CHILD(child) {
    FAILS(EAGAIN, get());
    kill(getpid(), SIGUSR2);
    IS(128, get());
    IS(SIGUSR2, told[0].ssi_signo);
  }
  IS(0, ended(child));
}
