// Pipes: their ends, their room, who waits and who is told.
#include "calls.h"

static int reading, writing;
static void make(int flags) {
  int ends[2];
  OK(pipe2(ends, flags));
  reading = ends[0], writing = ends[1];
}
static void fill(void) {
  char page[4096] = {0};
  OK(fcntl(writing, F_SETFL, O_NONBLOCK));
  while (write(writing, page, sizeof page) > 0);
  IS(EAGAIN, errno);
  OK(fcntl(writing, F_SETFL, 0));
}

CASE("pipe", "gives a reading and a writing end") {
  int ends[2];
  OK(pipe(ends));
  IS(3, ends[0]);
  IS(4, ends[1]);
  IS(O_RDONLY, fcntl(ends[0], F_GETFL) & O_ACCMODE);
  IS(O_WRONLY, fcntl(ends[1], F_GETFL) & O_ACCMODE);
  IS(0, fcntl(ends[0], F_GETFD));
}
FAILS_CASE("pipe", "into no memory is EFAULT", EFAULT, pipe(NOWHERE))
CASE("pipe", "into no memory leaves no descriptor behind") {
  FAILS(EFAULT, pipe(NOWHERE));
  IS(3, dup(0));
}
CASE("pipe", "beyond the limit of descriptors is EMFILE") {
  int ends[2];
  struct rlimit four = {4, 4};
  OK(setrlimit(RLIMIT_NOFILE, &four));
  FAILS(EMFILE, pipe(ends));
}
FAILS_CASE("pipe2", "with an unknown flag is EINVAL", EINVAL, pipe2((int[2]){0}, O_APPEND))
CASE("pipe2", "O_CLOEXEC marks both ends") {
  make(O_CLOEXEC);
  IS(FD_CLOEXEC, fcntl(reading, F_GETFD));
  IS(FD_CLOEXEC, fcntl(writing, F_GETFD));
}
CASE("pipe2", "O_NONBLOCK: reading an empty pipe is EAGAIN") {
  make(O_NONBLOCK);
  FAILS(EAGAIN, read(reading, &(char){0}, 1));
}
CASE("pipe2", "O_NONBLOCK: writing to a full pipe is EAGAIN") {
  make(O_NONBLOCK);
  fill();
  OK(fcntl(writing, F_SETFL, O_NONBLOCK));
  FAILS(EAGAIN, write(writing, "x", 1));
}
CASE("read", "of a pipe waits for a writer") {
  make(0);
  CHILD(pid) {
    sleep_ms(20);
    IS(1, write(writing, "x", 1));
  }
  char byte;
  IS(1, read(reading, &byte, 1));
  IS('x', byte);
  IS(0, ended(pid));
}
CASE("read", "of a pipe whose writers are gone is the end") {
  make(0);
  IS(2, write(writing, "ab", 2));
  OK(close(writing));
  char two[3];
  IS(2, read(reading, two, 3));
  IS(0, read(reading, two, 3));
}
CASE("read", "of an empty pipe is interrupted by a signal") {
  make(0);
  interrupt_soon();
  FAILS(EINTR, read(reading, &(char){0}, 1));
}
static void put_a_byte(void) { OK(write(writing, "x", 1)); }
CASE("read", "of an empty pipe goes on after a signal whose handler restarts") {
  make(0);
  restart_and(put_a_byte);
  IS(1, read(reading, &(char){0}, 1));
}
CASE("write", "to a full pipe is interrupted by a signal") {
  make(0);
  fill();
  interrupt_soon();
  FAILS(EINTR, write(writing, "x", 1));
}
CASE("write", "to a pipe without readers is EPIPE and SIGPIPE") {
  make(0);
  OK(close(reading));
  signal(SIGPIPE, SIG_IGN);
  FAILS(EPIPE, write(writing, "x", 1));
  CHILD(pid) {
    signal(SIGPIPE, SIG_DFL);
    write(writing, "x", 1);
  }
  IS(128 + SIGPIPE, ended(pid));
}
CASE("write", "of up to PIPE_BUF bytes to a pipe is whole or not at all") {
  make(0);
  fill();
  char page[4096];
  IS(4095, read(reading, page, 4095));
  OK(fcntl(writing, F_SETFL, O_NONBLOCK));
  FAILS(EAGAIN, write(writing, page, 4096));
}
FAILS_CASE("lseek", "on a pipe is ESPIPE", ESPIPE, (make(0), lseek(reading, 0, SEEK_CUR)))
FAILS_CASE("pread64", "on a pipe is ESPIPE", ESPIPE, (make(0), pread(reading, &(char){0}, 1, 0)))
FAILS_CASE("read", "of a pipe's writing end is EBADF", EBADF, (make(0), read(writing, &(char){0}, 1)))
FAILS_CASE("write", "to a pipe's reading end is EBADF", EBADF, (make(0), write(reading, "x", 1)))
