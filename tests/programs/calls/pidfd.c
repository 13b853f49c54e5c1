// pidfds: processes as descriptors.
#include "calls.h"
#include <linux/sched.h>
#include <sys/epoll.h>
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int open_(pid_t pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }
static int send_(int fd, int signal, siginfo_t *info, unsigned flags) {
  return (int)syscall(SYS_pidfd_send_signal, fd, signal, info, flags);
}
static int take_(int fd, int other, unsigned flags) { return (int)syscall(SYS_pidfd_getfd, fd, other, flags); }
static short events(int fd) {
  struct pollfd look = {fd, POLLIN, 0};
  OK(poll(&look, 1, 0));
  return look.revents;
}

CASE("pidfd_open", "of oneself, closed by exec") { IS(FD_CLOEXEC, fcntl(OK(open_(getpid(), 0)), F_GETFD)); }
FAILS_CASE("pidfd_open", "of process 0 is EINVAL", EINVAL, open_(0, 0))
FAILS_CASE("pidfd_open", "of a negative number is EINVAL", EINVAL, open_(-5, 0))
FAILS_CASE("pidfd_open", "of no process is ESRCH", ESRCH, open_(32000, 0))
FAILS_CASE("pidfd_open", "with an unknown flag is EINVAL", EINVAL, open_(getpid(), 1))
CASE("pidfd_open", "is readable when the process has ended") {
  int gate[2];
  OK(pipe(gate));
  CHILD(child) {
    close(gate[1]);
    read(gate[0], gate, 1);
  }
  int fd = OK(open_(child, 0));
  IS(0, events(fd));
  close(gate[1]);
  struct pollfd look = {fd, POLLIN, 0};
  IS(1, poll(&look, 1, -1));
  IS(POLLIN, look.revents);
  IS(0, ended(child));
  HOLDS(events(fd) & POLLIN);
}
CASE("pidfd_open", "epoll waits for the end") {
  struct epoll_event event = {EPOLLIN, {0}};
  CHILD(child) sleep_ms(20);
  int fd = OK(open_(child, 0)), ep = epoll_create1(0);
  OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
  IS(1, epoll_wait(ep, &event, 1, -1));
}
CASE("pidfd_open", "can be neither read nor written") {
  int fd = OK(open_(getpid(), 0));
  FAILS(EINVAL, read(fd, &fd, 4));
  FAILS(EINVAL, write(fd, &fd, 4));
}
CASE("pidfd_send_signal", "sends as kill does") {
  CHILD(child) for (;;) pause();
  int fd = OK(open_(child, 0));
  OK(send_(fd, 0, NULL, 0));
  OK(send_(fd, SIGTERM, NULL, 0));
  IS(128 + SIGTERM, ended(child));
  FAILS(ESRCH, send_(fd, SIGTERM, NULL, 0));
}
FAILS_CASE("pidfd_send_signal", "of no descriptor is EBADF", EBADF, send_(NO_FD, 0, NULL, 0))
FAILS_CASE("pidfd_send_signal", "of another file is EBADF", EBADF, send_(0, 0, NULL, 0))
CASE("pidfd_send_signal", "with an unknown flag is EINVAL") {
  FAILS(EINVAL, send_(OK(open_(getpid(), 0)), 0, NULL, 64));
}
CASE("pidfd_send_signal", "of signal 65 is EINVAL") { FAILS(EINVAL, send_(OK(open_(getpid(), 0)), 65, NULL, 0)); }
CASE("pidfd_send_signal", "information in no memory is EFAULT") {
  FAILS(EFAULT, send_(OK(open_(getpid(), 0)), SIGUSR1, NOWHERE, 0));
}
CASE("pidfd_send_signal", "information about another signal is EINVAL") {
  siginfo_t info = {.si_signo = SIGUSR2, .si_code = SI_QUEUE};
  FAILS(EINVAL, send_(OK(open_(getpid(), 0)), SIGUSR1, &info, 0));
}
CASE("pidfd_send_signal", "pretending to be kill towards others is EPERM") {
  siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_USER};
  CHILD(child) for (;;) pause();
  FAILS(EPERM, send_(OK(open_(child, 0)), SIGUSR1, &info, 0));
}
CASE("pidfd_send_signal", "information arrives") {
  siginfo_t info = {.si_signo = SIGRTMIN, .si_code = SI_QUEUE, .si_value.sival_int = 4711};
  sigset_t set;
  sigemptyset(&set), sigaddset(&set, SIGRTMIN);
  OK(sigprocmask(SIG_BLOCK, &set, NULL));
  OK(send_(OK(open_(getpid(), 0)), SIGRTMIN, &info, 0));
  IS(SIGRTMIN, sigwaitinfo(&set, &info));
  IS(4711, info.si_value.sival_int);
}
CASE("pidfd_send_signal", "to another user's process is EPERM") {
  int fd = OK(open_(getppid(), 0));
  become_user();
  FAILS(EPERM, send_(fd, SIGTERM, NULL, 0));
}
CASE("pidfd_getfd", "takes a descriptor of a child") {
  int ends[2], gate[2];
  OK(pipe(gate));
  CHILD(child) {
    OK(pipe(ends));
    IS(1, write(ends[1], "x", 1));
    IS(4, write(gate[1], ends, 4));
    pause();
  }
  IS(4, read(gate[0], ends, 4));
  int mine = OK(take_(OK(open_(child, 0)), ends[0], 0));
  IS(FD_CLOEXEC, fcntl(mine, F_GETFD));
  char text;
  IS(1, read(mine, &text, 1));
  IS('x', text);
}
CASE("pidfd_getfd", "of a descriptor that is not there is EBADF") {
  FAILS(EBADF, take_(OK(open_(getpid(), 0)), NO_FD, 0));
}
FAILS_CASE("pidfd_getfd", "of no pidfd is EBADF", EBADF, take_(0, 0, 0))
CASE("pidfd_getfd", "with a flag is EINVAL") { FAILS(EINVAL, take_(OK(open_(getpid(), 0)), 0, 1)); }
CASE("pidfd_getfd", "of a process that ended is ESRCH") {
  CHILD(child) pause();
  int fd = OK(open_(child, 0));
  kill(child, SIGKILL), ended(child);
  FAILS(ESRCH, take_(fd, 0, 0));
}
CASE("pidfd_getfd", "of another user's process is EPERM") {
  int fd = OK(open_(getppid(), 0));
  become_user();
  FAILS(EPERM, take_(fd, 0, 0));
}
CASE("waitid", "P_PIDFD waits for the process") {
  siginfo_t info;
  CHILD(child) _exit(7);
  OK(waitid(P_PIDFD, (id_t)OK(open_(child, 0)), &info, WEXITED));
  IS(child, info.si_pid);
  IS(7, info.si_status);
}
FAILS_CASE("waitid", "P_PIDFD of no descriptor is EBADF", EBADF, waitid(P_PIDFD, NO_FD, &(siginfo_t){0}, WEXITED))
FAILS_CASE("waitid", "P_PIDFD of another file is EBADF", EBADF, waitid(P_PIDFD, 0, &(siginfo_t){0}, WEXITED))
CASE("waitid", "P_PIDFD of a process that is no child is ECHILD") {
  FAILS(ECHILD, waitid(P_PIDFD, (id_t)OK(open_(getppid(), 0)), &(siginfo_t){0}, WEXITED));
}
CASE("waitid", "P_PIDFD that does not wait is EAGAIN") {
  CHILD(child) pause();
  FAILS(EAGAIN, waitid(P_PIDFD, (id_t)OK(open_(child, O_NONBLOCK)), &(siginfo_t){0}, WEXITED));
  kill(child, SIGKILL);
}
CASE("clone3", "CLONE_PIDFD gives a pidfd of the child") {
  int fd = -1;
  struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD};
  pid_t child = OK(syscall(SYS_clone3, &args, sizeof args));
  if (child == 0) _exit(5);
  siginfo_t info;
  IS(FD_CLOEXEC, fcntl(fd, F_GETFD));
  OK(waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
  IS(5, info.si_status);
}
CASE("clone", "CLONE_PIDFD gives it where the number would go") {
  int fd = -1;
  pid_t child = OK(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &fd, NULL, 0));
  if (child == 0) _exit(5);
  IS(3, fd);
  IS(5, ended(child));
}
FAILS_CASE("clone", "CLONE_PIDFD with CLONE_PARENT_SETTID is EINVAL", EINVAL,
           syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, &(int){0}, NULL, 0))
FAILS_CASE("clone3", "CLONE_PIDFD into no memory is EFAULT", EFAULT,
           syscall(SYS_clone3,
                   &(struct clone_args){.flags = CLONE_PIDFD, .pidfd = (uintptr_t)NOWHERE, .exit_signal = SIGCHLD},
                   sizeof(struct clone_args)))
