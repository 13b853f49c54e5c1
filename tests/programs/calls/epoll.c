// epoll: what is told, how often, and to whom.
#include "calls.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int ep, ends[2];
static struct epoll_event got[16];

static void start(void) {
  ep = OK(epoll_create1(0));
  OK(pipe2(ends, O_NONBLOCK));
}
static int change(int operation, int fd, uint32_t events) {
  struct epoll_event event = {events, {.u64 = (uint64_t)fd << 32 | 7}};
  return epoll_ctl(ep, operation, fd, &event);
}
static void watch(int fd, uint32_t events) { OK(change(EPOLL_CTL_ADD, fd, events)); }
static int ready(void) { return (int)OK(epoll_wait(ep, got, 16, 0)); }
static void say(void) { IS(1, write(ends[1], "x", 1)); }
static int epoll_pwait2_(int fd, struct epoll_event *events, int most, const struct timespec *t, const sigset_t *mask,
                         size_t size) {
  return (int)syscall(441, fd, events, most, t, mask, size);
}

CASE("epoll_create", "gives the lowest free descriptor") { IS(3, epoll_create(1)); }
FAILS_CASE("epoll_create", "of size 0 is EINVAL", EINVAL, epoll_create(0))
FAILS_CASE("epoll_create", "of a negative size is EINVAL", EINVAL, epoll_create(-1))
CASE("epoll_create", "is not closed by exec") { IS(0, fcntl(epoll_create(1), F_GETFD)); }
CASE("epoll_create1", "EPOLL_CLOEXEC is closed by exec") {
  IS(FD_CLOEXEC, fcntl(epoll_create1(EPOLL_CLOEXEC), F_GETFD));
}
FAILS_CASE("epoll_create1", "with an unknown flag is EINVAL", EINVAL, epoll_create1(1))
CASE("epoll_create1", "beyond the limit of descriptors is EMFILE") {
  struct rlimit three = {3, 3};
  OK(setrlimit(RLIMIT_NOFILE, &three));
  FAILS(EMFILE, epoll_create1(0));
}
CASE("epoll_create1", "can be neither read nor written") {
  start();
  FAILS(EINVAL, read(ep, &(char){0}, 1));
  FAILS(EINVAL, write(ep, "", 1));
}

CASE("epoll_ctl", "of no descriptor as the epoll is EBADF") {
  ep = NO_FD;
  FAILS(EBADF, change(EPOLL_CTL_ADD, 0, EPOLLIN));
}
CASE("epoll_ctl", "of no descriptor to watch is EBADF") {
  start();
  FAILS(EBADF, change(EPOLL_CTL_ADD, NO_FD, EPOLLIN));
}
CASE("epoll_ctl", "of what is no epoll is EINVAL") {
  start();
  ep = ends[0];
  FAILS(EINVAL, change(EPOLL_CTL_ADD, ends[1], EPOLLIN));
}
CASE("epoll_ctl", "an epoll that watches itself is EINVAL") {
  start();
  FAILS(EINVAL, change(EPOLL_CTL_ADD, ep, EPOLLIN));
}
CASE("epoll_ctl", "of a regular file is EPERM") {
  start();
  FAILS(EPERM, change(EPOLL_CTL_ADD, file_with("x"), EPOLLIN));
}
CASE("epoll_ctl", "of a directory is EPERM") {
  start();
  FAILS(EPERM, change(EPOLL_CTL_ADD, open(".", O_RDONLY), EPOLLIN));
}
CASE("epoll_ctl", "an unknown operation is EINVAL") {
  start();
  FAILS(EINVAL, change(9, ends[0], EPOLLIN));
}
CASE("epoll_ctl", "adding twice is EEXIST") {
  start();
  watch(ends[0], EPOLLIN);
  FAILS(EEXIST, change(EPOLL_CTL_ADD, ends[0], EPOLLIN));
}
CASE("epoll_ctl", "adding a duplicate is another watch") {
  start();
  watch(ends[0], EPOLLIN);
  watch(OK(dup(ends[0])), EPOLLIN);
  say();
  IS(2, ready());
}
CASE("epoll_ctl", "changing what is not watched is ENOENT") {
  start();
  FAILS(ENOENT, change(EPOLL_CTL_MOD, ends[0], EPOLLIN));
}
CASE("epoll_ctl", "deleting what is not watched is ENOENT") {
  start();
  FAILS(ENOENT, change(EPOLL_CTL_DEL, ends[0], EPOLLIN));
}
CASE("epoll_ctl", "deleting needs no event") {
  start();
  watch(ends[0], EPOLLIN);
  OK(epoll_ctl(ep, EPOLL_CTL_DEL, ends[0], NULL));
}
CASE("epoll_ctl", "adding from no memory is EFAULT") {
  start();
  FAILS(EFAULT, epoll_ctl(ep, EPOLL_CTL_ADD, ends[0], NOWHERE));
}
CASE("epoll_ctl", "changing from no memory is EFAULT") {
  start();
  FAILS(EFAULT, epoll_ctl(ep, EPOLL_CTL_MOD, ends[0], NOWHERE));
}
CASE("epoll_ctl", "EFAULT comes before EBADF") { FAILS(EFAULT, epoll_ctl(NO_FD, EPOLL_CTL_ADD, NO_FD, NOWHERE)); }
CASE("epoll_ctl", "EPERM comes before EINVAL of no epoll") {
  int file = file_with("");
  FAILS(EPERM, epoll_ctl(file, EPOLL_CTL_ADD, file, got));
}
CASE("epoll_ctl", "a closed descriptor is watched no more") {
  start();
  watch(ends[0], EPOLLIN);
  say();
  OK(close(ends[0]));
  IS(0, ready());
}
CASE("epoll_ctl", "a closed descriptor with a duplicate is still told") {
  start();
  watch(ends[0], EPOLLIN);
  OK(dup(ends[0]));
  say();
  OK(close(ends[0]));
  IS(1, ready());
  FAILS(EBADF, change(EPOLL_CTL_DEL, ends[0], 0));
}
CASE("epoll_ctl", "a number used anew is not the old watch") {
  start();
  watch(ends[0], EPOLLIN);
  int old = dup(ends[0]), other = eventfd(1, 0);
  OK(dup2(other, ends[0]));
  FAILS(ENOENT, change(EPOLL_CTL_MOD, ends[0], EPOLLIN));
  watch(ends[0], EPOLLIN);
  (void)old;
}
CASE("epoll_ctl", "EPOLLWAKEUP is taken") {
  start();
  watch(ends[0], EPOLLIN | EPOLLWAKEUP);
  say();
  IS(1, ready());
}

CASE("epoll_wait", "tells events and the program's word") {
  start();
  watch(ends[0], EPOLLIN);
  say();
  IS(1, ready());
  IS(EPOLLIN, got[0].events);
  HOLDS(got[0].data.u64 == ((uint64_t)ends[0] << 32 | 7));
}
CASE("epoll_wait", "level: tells until it is read") {
  start();
  watch(ends[0], EPOLLIN);
  say();
  IS(1, ready());
  IS(1, ready());
  OK(read(ends[0], &(char){0}, 1));
  IS(0, ready());
}
CASE("epoll_wait", "what is ready before it is added is told") {
  start();
  say();
  watch(ends[0], EPOLLIN);
  IS(1, ready());
}
CASE("epoll_wait", "EPOLLET tells once") {
  start();
  say();
  watch(ends[0], EPOLLIN | EPOLLET);
  IS(1, ready());
  IS(0, ready());
}
CASE("epoll_wait", "EPOLLET tells again when more comes") {
  start();
  watch(ends[0], EPOLLIN | EPOLLET);
  say();
  IS(1, ready());
  say();
  IS(1, ready());
  IS(0, ready());
}
CASE("epoll_wait", "EPOLLET does not tell what a read left") {
  start();
  watch(ends[0], EPOLLIN | EPOLLET);
  IS(3, write(ends[1], "abc", 3));
  IS(1, ready());
  OK(read(ends[0], &(char){0}, 1));
  IS(0, ready());
}
CASE("epoll_wait", "EPOLLET tells again after EPOLL_CTL_MOD") {
  start();
  watch(ends[0], EPOLLIN | EPOLLET);
  say();
  IS(1, ready());
  OK(change(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLET));
  IS(1, ready());
}
CASE("epoll_wait", "EPOLLET tells nothing that was read before") {
  start();
  watch(ends[0], EPOLLIN | EPOLLET);
  say();
  OK(read(ends[0], &(char){0}, 1));
  IS(0, ready());
}
CASE("epoll_wait", "EPOLLONESHOT tells once") {
  start();
  watch(ends[0], EPOLLIN | EPOLLONESHOT);
  say();
  IS(1, ready());
  say();
  IS(0, ready());
}
CASE("epoll_wait", "EPOLLONESHOT tells again after EPOLL_CTL_MOD") {
  start();
  watch(ends[0], EPOLLIN | EPOLLONESHOT);
  say();
  IS(1, ready());
  OK(change(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT));
  IS(1, ready());
}
CASE("epoll_wait", "EPOLLONESHOT does not even tell a hang-up again") {
  start();
  watch(ends[0], EPOLLIN | EPOLLONESHOT);
  say();
  IS(1, ready());
  OK(close(ends[1]));
  IS(0, ready());
}
CASE("epoll_wait", "changing what is waited for to nothing leaves hang-ups") {
  start();
  watch(ends[0], EPOLLIN);
  say();
  OK(change(EPOLL_CTL_MOD, ends[0], 0));
  IS(0, ready());
  OK(close(ends[1]));
  IS(1, ready());
  IS(EPOLLHUP, got[0].events);
}
CASE("epoll_wait", "EPOLLHUP and EPOLLIN of a pipe with a rest and no writer") {
  start();
  watch(ends[0], EPOLLIN);
  say();
  OK(close(ends[1]));
  IS(1, ready());
  IS(EPOLLIN | EPOLLHUP, got[0].events);
}
CASE("epoll_wait", "EPOLLERR of a pipe without a reader") {
  start();
  watch(ends[1], EPOLLOUT);
  OK(close(ends[0]));
  IS(1, ready());
  IS(EPOLLOUT | EPOLLERR, got[0].events);
}
CASE("epoll_wait", "EPOLLOUT of a full pipe comes with room") {
  char page[4096] = {0};
  start();
  watch(ends[1], EPOLLOUT);
  while (write(ends[1], page, sizeof page) > 0);
  IS(0, ready());
  OK(read(ends[0], page, sizeof page));
  IS(1, ready());
  IS(EPOLLOUT, got[0].events);
}
CASE("epoll_wait", "tells at most as many as asked for, and the others next") {
  start();
  int fds[3];
  for (int i = 0; i < 3; i++) watch(fds[i] = OK(eventfd(1, 0)), EPOLLIN);
  IS(2, epoll_wait(ep, got, 2, 0));
  uint64_t first = got[0].data.u64;
  IS(2, epoll_wait(ep, got, 2, 0));
  HOLDS(got[0].data.u64 != first && got[0].data.u64 >> 32 == (uint64_t)fds[2]);
}
CASE("epoll_wait", "of a thousand descriptors tells the one") {
  start();
  struct rlimit many = {2000, 2000};
  OK(setrlimit(RLIMIT_NOFILE, &many));
  int fds[1000];
  for (int i = 0; i < 1000; i++) watch(fds[i] = OK(eventfd(0, 0)), EPOLLIN);
  IS(0, ready());
  OK(eventfd_write(fds[777], 1));
  IS(1, ready());
  HOLDS(got[0].data.u64 >> 32 == (uint64_t)fds[777]);
}
FAILS_CASE("epoll_wait", "of no descriptor is EBADF", EBADF, epoll_wait(NO_FD, got, 1, 0))
CASE("epoll_wait", "of what is no epoll is EINVAL") {
  start();
  FAILS(EINVAL, epoll_wait(ends[0], got, 1, 0));
}
CASE("epoll_wait", "for no events is EINVAL") {
  start();
  FAILS(EINVAL, epoll_wait(ep, got, 0, 0));
}
CASE("epoll_wait", "for fewer than no events is EINVAL") {
  start();
  FAILS(EINVAL, syscall(SYS_epoll_wait, ep, got, -1, 0));
}
CASE("epoll_wait", "into no memory is EFAULT, and nothing is lost") {
  start();
  watch(ends[0], EPOLLIN | EPOLLET);
  say();
  FAILS(EFAULT, epoll_wait(ep, NOWHERE, 1, 0));
  IS(1, ready());
}
CASE("epoll_wait", "into no memory works while nothing is ready") {
  start();
  IS(0, epoll_wait(ep, NOWHERE, 1, 0));
}
CASE("epoll_wait", "returns nothing when time is up") {
  start();
  watch(ends[0], EPOLLIN);
  IS(0, epoll_wait(ep, got, 1, 20));
}
CASE("epoll_wait", "waits for another process") {
  start();
  watch(ends[0], EPOLLIN);
  CHILD(child) {
    sleep_ms(20);
    say();
  }
  IS(1, epoll_wait(ep, got, 1, -1));
  IS(0, ended(child));
}
CASE("epoll_wait", "is EINTR when a signal comes") {
  start();
  interrupt_soon();
  FAILS(EINTR, epoll_wait(ep, got, 1, -1));
}
CASE("epoll_wait", "is not restarted") {
  start();
  restart_and(NULL);
  FAILS(EINTR, epoll_wait(ep, got, 1, -1));
}
CASE("epoll_pwait", "unblocks signals while it waits") {
  start();
  sigset_t all, none;
  sigfillset(&all), sigemptyset(&none);
  OK(sigprocmask(SIG_SETMASK, &all, NULL));
  interrupt_soon();
  FAILS(EINTR, epoll_pwait(ep, got, 1, -1, &none));
  OK(sigprocmask(SIG_SETMASK, NULL, &none));
  HOLDS(sigismember(&none, SIGALRM));
}
CASE("epoll_pwait", "with a mask of an odd size is EINVAL") {
  start();
  FAILS(EINVAL, syscall(SYS_epoll_pwait, ep, got, 1, 0, got, 4));
}
CASE("epoll_pwait", "with a mask in no memory is EFAULT") {
  start();
  FAILS(EFAULT, syscall(SYS_epoll_pwait, ep, got, 1, 0, NOWHERE, 8));
}
CASE("epoll_pwait2", "waits nanoseconds") {
  start();
  IS(0, epoll_pwait2_(ep, got, 1, &(struct timespec){0, 1000}, NULL, 0));
  watch(ends[0], EPOLLIN);
  say();
  IS(1, epoll_pwait2_(ep, got, 1, NULL, NULL, 0));
}
CASE("epoll_pwait2", "for what is no time is EINVAL") {
  start();
  FAILS(EINVAL, epoll_pwait2_(ep, got, 1, &(struct timespec){0, -1}, NULL, 0));
}
CASE("epoll_pwait2", "for a time in no memory is EFAULT") {
  start();
  FAILS(EFAULT, epoll_pwait2_(ep, got, 1, NOWHERE, NULL, 0));
}

CASE("epoll_ctl", "nested: an epoll is readable when it has events") {
  start();
  watch(ends[0], EPOLLIN);
  int inner = ep;
  ep = OK(epoll_create1(0));
  watch(inner, EPOLLIN);
  IS(0, ready());
  say();
  IS(1, ready());
  IS(EPOLLIN, got[0].events);
  struct pollfd look = {inner, POLLIN, 0};
  IS(1, poll(&look, 1, 0));
  OK(read(ends[0], &(char){0}, 1));
  IS(0, ready());
}
CASE("epoll_ctl", "two epolls that watch each other are ELOOP") {
  int other = OK(epoll_create1(0));
  ep = OK(epoll_create1(0));
  watch(other, EPOLLIN);
  FAILS(ELOOP, epoll_ctl(other, EPOLL_CTL_ADD, ep, got));
}
CASE("epoll_ctl", "five epolls in one another are too deep") {
  int inner = OK(epoll_create1(0)), depth = 0;
  for (;; depth++) {
    ep = OK(epoll_create1(0));
    if (change(EPOLL_CTL_ADD, inner, EPOLLIN) < 0) break;
    inner = ep;
  }
  IS(ELOOP, errno);
  IS(4, depth);
}
CASE("epoll_ctl", "EPOLLEXCLUSIVE is told") {
  start();
  watch(ends[0], EPOLLIN | EPOLLEXCLUSIVE);
  say();
  IS(1, ready());
}
CASE("epoll_ctl", "EPOLLEXCLUSIVE cannot be set by a change") {
  start();
  watch(ends[0], EPOLLIN);
  FAILS(EINVAL, change(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLEXCLUSIVE));
}
CASE("epoll_ctl", "EPOLLEXCLUSIVE cannot be changed") {
  start();
  watch(ends[0], EPOLLIN | EPOLLEXCLUSIVE);
  FAILS(EINVAL, change(EPOLL_CTL_MOD, ends[0], EPOLLIN));
}
CASE("epoll_ctl", "EPOLLEXCLUSIVE does not go with EPOLLONESHOT") {
  start();
  FAILS(EINVAL, change(EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLONESHOT | EPOLLEXCLUSIVE));
}
CASE("epoll_ctl", "EPOLLEXCLUSIVE of an epoll is EINVAL") {
  start();
  FAILS(EINVAL, change(EPOLL_CTL_ADD, OK(epoll_create1(0)), EPOLLIN | EPOLLEXCLUSIVE));
}
CASE("epoll_wait", "EPOLLEXCLUSIVE wakes one of two that wait") {
  start();
  int told[2];
  OK(pipe(told));
  pid_t children[2];
  for (int i = 0; i < 2; i++) {
    CHILD(child) {
      ep = OK(epoll_create1(0));
      watch(ends[0], EPOLLIN | EPOLLET | EPOLLEXCLUSIVE);
      IS(1, write(told[1], "r", 1));
      IS(1, epoll_wait(ep, got, 1, -1));
      IS(1, write(told[1], "w", 1));
    }
    children[i] = child;
  }
  char text[4];
  IS(1, read(told[0], text, 1));
  IS(1, read(told[0], text, 1));
  sleep_ms(100);
  say();
  IS(1, read(told[0], text, 1));
  struct pollfd more = {told[0], POLLIN, 0};
  IS(0, poll(&more, 1, 100));
  kill(children[0], SIGKILL), kill(children[1], SIGKILL);
}
CASE("epoll_create1", "/proc names it and tells what it watches") {
  char name[64], path[64];
  start();
  watch(ends[0], EPOLLIN);
  snprintf(path, sizeof path, "/proc/self/fd/%d", ep);
  long size = OK(readlink(path, name, sizeof name));
  SAME("anon_inode:[eventpoll]", name, size);
}
