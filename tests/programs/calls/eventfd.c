// eventfd: a counter.
#include "calls.h"
#include <sys/eventfd.h>

static int fd;
static uint64_t value;
static long get(void) { return read(fd, &value, 8); }
static long add(uint64_t more) { return write(fd, &more, 8); }
#define FULL (UINT64_MAX - 1)

CASE("eventfd2", "starts at what it is given, and reading takes all") {
  fd = OK(eventfd(5, EFD_NONBLOCK));
  IS(8, get());
  IS(5, value);
  FAILS(EAGAIN, get());
}
CASE("eventfd2", "writes add up") {
  fd = OK(eventfd(5, 0));
  IS(8, add(3));
  IS(8, get());
  IS(8, value);
}
CASE("eventfd2", "EFD_SEMAPHORE: reading takes one") {
  fd = OK(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
  IS(8, get());
  IS(1, value);
  IS(8, get());
  IS(1, value);
  FAILS(EAGAIN, get());
}
CASE("eventfd", "without flags is neither closed by exec nor non-blocking") {
  fd = OK(syscall(SYS_eventfd, 0));
  IS(0, fcntl(fd, F_GETFD));
  IS(O_RDWR, fcntl(fd, F_GETFL));
}
CASE("eventfd2", "EFD_CLOEXEC and EFD_NONBLOCK") {
  fd = OK(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  IS(FD_CLOEXEC, fcntl(fd, F_GETFD));
  IS(O_RDWR | O_NONBLOCK, fcntl(fd, F_GETFL));
}
FAILS_CASE("eventfd2", "with an unknown flag is EINVAL", EINVAL, eventfd(0, 2))
CASE("eventfd2", "beyond the limit of descriptors is EMFILE") {
  struct rlimit three = {3, 3};
  OK(setrlimit(RLIMIT_NOFILE, &three));
  FAILS(EMFILE, eventfd(0, 0));
}
CASE("eventfd2", "reading fewer than eight bytes is EINVAL") {
  fd = OK(eventfd(1, 0));
  FAILS(EINVAL, read(fd, &value, 7));
}
CASE("eventfd2", "writing fewer than eight bytes is EINVAL") {
  fd = OK(eventfd(1, 0));
  FAILS(EINVAL, write(fd, &value, 7));
}
CASE("eventfd2", "reading more than eight bytes gives eight") {
  uint64_t two[2];
  fd = OK(eventfd(1, 0));
  IS(8, read(fd, two, 16));
}
CASE("eventfd2", "writing the largest number is EINVAL") {
  fd = OK(eventfd(0, 0));
  FAILS(EINVAL, add(UINT64_MAX));
}
CASE("eventfd2", "the most it holds is one less than the largest number") {
  fd = OK(eventfd(0, EFD_NONBLOCK));
  IS(8, add(FULL));
  FAILS(EAGAIN, add(1));
  IS(8, add(0));
  IS(8, get());
  HOLDS(value == FULL);
}
CASE("eventfd2", "writing nothing wakes nobody") {
  fd = OK(eventfd(0, EFD_NONBLOCK));
  IS(8, add(0));
  FAILS(EAGAIN, get());
}
CASE("eventfd2", "reading into no memory is EFAULT") {
  fd = OK(eventfd(1, 0));
  FAILS(EFAULT, read(fd, NOWHERE, 8));
}
CASE("eventfd2", "writing from no memory is EFAULT") {
  fd = OK(eventfd(1, 0));
  FAILS(EFAULT, write(fd, NOWHERE, 8));
}
CASE("eventfd2", "seeking changes nothing") {
  fd = OK(eventfd(1, 0));
  IS(0, lseek(fd, 9, SEEK_SET));
}
CASE("eventfd2", "reading waits for a writer") {
  fd = OK(eventfd(0, 0));
  CHILD(child) {
    sleep_ms(20);
    IS(8, add(9));
  }
  IS(8, get());
  IS(9, value);
  IS(0, ended(child));
}
CASE("eventfd2", "writing waits for a reader") {
  fd = OK(eventfd(0, 0));
  IS(8, add(FULL));
  CHILD(child) {
    sleep_ms(20);
    IS(8, get());
  }
  IS(8, add(9));
  IS(0, ended(child));
  IS(8, get());
  IS(9, value);
}
CASE("eventfd2", "reading is EINTR when a signal comes") {
  fd = OK(eventfd(0, 0));
  interrupt_soon();
  FAILS(EINTR, get());
}
CASE("eventfd2", "writing is EINTR when a signal comes") {
  fd = OK(eventfd(0, 0));
  add(FULL);
  interrupt_soon();
  FAILS(EINTR, add(1));
}
CASE("eventfd2", "a number larger than the room there is waits, for a reader or a signal") {
  fd = OK(eventfd(0, 0));
  IS(8, add(FULL - 5));
  CHILD(child) {
    sleep_ms(20);
    IS(8, get());
  }
  IS(8, add(9));
  IS(0, ended(child));
  IS(8, get());
  IS(9, value);
  IS(8, add(FULL - 5));
  interrupt_soon();
  FAILS(EINTR, add(9));
}
static void add_one(void) { add(1); }
CASE("eventfd2", "reading goes on after a handler that restarts") {
  fd = OK(eventfd(0, 0));
  restart_and(add_one);
  IS(8, get());
}
CASE("eventfd2", "poll: readable with a count, writable with room") {
  fd = OK(eventfd(0, 0));
  struct pollfd look = {fd, POLLIN | POLLOUT, 0};
  IS(1, poll(&look, 1, 0));
  IS(POLLOUT, look.revents);
  add(1);
  IS(1, poll(&look, 1, 0));
  IS(POLLIN | POLLOUT, look.revents);
  get(), add(FULL);
  IS(1, poll(&look, 1, 0));
  IS(POLLIN, look.revents);
}
CASE("eventfd2", "is shared over fork") {
  fd = OK(eventfd(0, EFD_NONBLOCK));
  CHILD(child) add(4);
  IS(0, ended(child));
  IS(8, get());
  IS(4, value);
}
CASE("eventfd2", "fstat: a mode without a type") {
  struct stat about;
  fd = OK(eventfd(0, 0));
  OK(fstat(fd, &about));
  IS(0600, about.st_mode);
}
