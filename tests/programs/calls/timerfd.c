// timerfd: timers that are read.
#include "calls.h"
#include <sys/timerfd.h>

static int fd;
static uint64_t times;
#define MS 1000000L
static void make(int flags) { fd = OK(timerfd_create(CLOCK_MONOTONIC, flags)); }
static int set(int flags, long first, long interval) {
  struct itimerspec new = {{interval / (1000 * MS), interval % (1000 * MS)},
                           {first / (1000 * MS), first % (1000 * MS)}};
  return timerfd_settime(fd, flags, &new, NULL);
}
static long get(void) { return read(fd, &times, 8); }

CASE("timerfd_create", "of every clock that can be waited for") {
  int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
  for (int i = 0; i < 3; i++) OK(timerfd_create(clocks[i], 0));
}
FAILS_CASE("timerfd_create", "of a clock of processor time is EINVAL", EINVAL,
           timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0))
FAILS_CASE("timerfd_create", "of a coarse clock is EINVAL", EINVAL, timerfd_create(CLOCK_MONOTONIC_COARSE, 0))
FAILS_CASE("timerfd_create", "of no clock is EINVAL", EINVAL, timerfd_create(99, 0))
FAILS_CASE("timerfd_create", "with an unknown flag is EINVAL", EINVAL, timerfd_create(CLOCK_MONOTONIC, 1))
CASE("timerfd_create", "TFD_CLOEXEC and TFD_NONBLOCK") {
  make(TFD_CLOEXEC | TFD_NONBLOCK);
  IS(FD_CLOEXEC, fcntl(fd, F_GETFD));
  IS(O_RDWR | O_NONBLOCK, fcntl(fd, F_GETFL));
}
CASE("timerfd_create", "cannot be written") {
  make(0);
  FAILS(EINVAL, write(fd, &times, 8));
}
CASE("timerfd_create", "/proc names it") {
  char name[64], path[64];
  make(0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  IS(20, readlink(path, name, sizeof name));
  SAME("anon_inode:[timerfd]", name, 20);
}
CASE("timerfd_settime", "goes off once") {
  make(0);
  OK(set(0, MS, 0));
  IS(8, get());
  IS(1, times);
  OK(fcntl(fd, F_SETFL, O_NONBLOCK));
  FAILS(EAGAIN, get());
}
CASE("timerfd_settime", "an interval goes off again and again, and reading counts") {
  make(0);
  OK(set(0, MS, MS));
  sleep_ms(20);
  IS(8, get());
  HOLDS(times >= 10);
  IS(8, get());
  HOLDS(times >= 1);
}
CASE("timerfd_settime", "absolute") {
  struct timespec now;
  make(0);
  clock_gettime(CLOCK_MONOTONIC, &now);
  OK(set(TFD_TIMER_ABSTIME, now.tv_sec * 1000 * MS + now.tv_nsec + 5 * MS, 0));
  IS(8, get());
  IS(1, times);
}
CASE("timerfd_settime", "absolute in the past goes off at once") {
  make(TFD_NONBLOCK);
  OK(set(TFD_TIMER_ABSTIME, 1, 0));
  IS(8, get());
  IS(1, times);
}
CASE("timerfd_settime", "absolute of the real-time clock") {
  struct timespec now;
  fd = OK(timerfd_create(CLOCK_REALTIME, 0));
  clock_gettime(CLOCK_REALTIME, &now);
  OK(set(TFD_TIMER_ABSTIME, now.tv_sec * 1000 * MS + now.tv_nsec + 5 * MS, 0));
  IS(8, get());
}
CASE("timerfd_settime", "TFD_TIMER_CANCEL_ON_SET is taken") {
  fd = OK(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
  OK(set(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, INT64_MAX / 4, 0));
  FAILS(EAGAIN, get());
}
CASE("timerfd_settime", "0 stops it") {
  make(TFD_NONBLOCK);
  OK(set(0, MS, MS));
  OK(set(0, 0, MS));
  sleep_ms(5);
  FAILS(EAGAIN, get());
}
CASE("timerfd_settime", "setting forgets what went off") {
  make(TFD_NONBLOCK);
  OK(set(0, 1, 0));
  sleep_ms(5);
  OK(set(0, 1000 * MS, 0));
  FAILS(EAGAIN, get());
}
CASE("timerfd_settime", "tells what was left before") {
  struct itimerspec old, new = {{7, 0}, {50, 0}};
  make(0);
  OK(timerfd_settime(fd, 0, &new, NULL));
  OK(timerfd_settime(fd, 0, &new, &old));
  IS(7, old.it_interval.tv_sec);
  HOLDS(old.it_value.tv_sec >= 40 && old.it_value.tv_sec <= 50);
}
CASE("timerfd_settime", "of what is no time is EINVAL") {
  make(0);
  struct itimerspec new = {{0, 0}, {0, 1000 * MS}};
  FAILS(EINVAL, timerfd_settime(fd, 0, &new, NULL));
  new.it_value.tv_nsec = -1;
  FAILS(EINVAL, timerfd_settime(fd, 0, &new, NULL));
  new = (struct itimerspec){{-1, 0}, {0, 1}};
  FAILS(EINVAL, timerfd_settime(fd, 0, &new, NULL));
}
CASE("timerfd_settime", "with an unknown flag is EINVAL") {
  make(0);
  FAILS(EINVAL, set(4, MS, 0));
}
CASE("timerfd_settime", "of no descriptor is EBADF") {
  fd = NO_FD;
  FAILS(EBADF, set(0, MS, 0));
}
CASE("timerfd_settime", "of another file is EINVAL") {
  fd = 0;
  FAILS(EINVAL, set(0, MS, 0));
}
CASE("timerfd_settime", "from no memory is EFAULT") {
  make(0);
  FAILS(EFAULT, timerfd_settime(fd, 0, NOWHERE, NULL));
}
CASE("timerfd_gettime", "tells what is left") {
  struct itimerspec left;
  make(0);
  OK(timerfd_gettime(fd, &left));
  IS(0, left.it_value.tv_sec + left.it_value.tv_nsec);
  OK(set(0, 50000 * MS, 3000 * MS));
  OK(timerfd_gettime(fd, &left));
  HOLDS(left.it_value.tv_sec >= 40 && left.it_value.tv_sec <= 50);
  IS(3, left.it_interval.tv_sec);
}
CASE("timerfd_gettime", "of one that went off has nothing left") {
  struct itimerspec left;
  make(0);
  OK(set(0, 1, 0));
  sleep_ms(5);
  OK(timerfd_gettime(fd, &left));
  IS(0, left.it_value.tv_sec + left.it_value.tv_nsec);
}
CASE("timerfd_gettime", "of no descriptor is EBADF") { FAILS(EBADF, timerfd_gettime(NO_FD, &(struct itimerspec){0})); }
CASE("timerfd_gettime", "of another file is EINVAL") { FAILS(EINVAL, timerfd_gettime(0, &(struct itimerspec){0})); }
CASE("timerfd_gettime", "into no memory is EFAULT") {
  make(0);
  FAILS(EFAULT, timerfd_gettime(fd, NOWHERE));
}
CASE("timerfd_create", "reading fewer than eight bytes is EINVAL") {
  make(0);
  OK(set(0, 1, 0));
  FAILS(EINVAL, read(fd, &times, 7));
}
CASE("timerfd_create", "reading is EINTR when a signal comes") {
  make(0);
  interrupt_soon();
  FAILS(EINTR, get());
}
static void now_set(void) { set(0, 1, 0); }
CASE("timerfd_create", "reading goes on after a handler that restarts") {
  make(0);
  restart_and(now_set);
  IS(8, get());
}
CASE("timerfd_create", "poll waits for it") {
  make(0);
  OK(set(0, 5 * MS, 0));
  struct pollfd look = {fd, POLLIN, 0};
  IS(0, poll(&look, 1, 0));
  IS(1, poll(&look, 1, 5000));
  IS(POLLIN, look.revents);
}
CASE("timerfd_create", "goes on in a child") {
  make(0);
  OK(set(0, 5 * MS, 0));
  CHILD(child) { IS(8, get()); }
  IS(0, ended(child));
}
