// The conformance table: each case names a system call and says in a sentence what Linux does. A case runs in a process
// of its own, in an empty directory of its own, and fails at the first line that does not hold.
//
// What a case may count on: it is root, its directory is on tmpfs, it has only its three standard descriptors, signals
// are as they are by default, and it is ended after twenty seconds. What it starts in its process group is killed after
// it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct test {
  const char *call, *sentence, *file;
  int line;
  void (*run)(void);
  struct test *next;
};
void add_test(struct test *);

// CASE("open", "of a missing file is ENOENT") { ... }
#define CASE(call, sentence) CASE_(call, sentence, __COUNTER__)
#define CASE_(call, sentence, id) CASE__(call, sentence, id)
#define CASE__(call_, sentence_, id)                                                                                   \
  static void case_##id(void);                                                                                         \
  __attribute__((constructor)) static void add_##id(void) {                                                            \
    static struct test test = {call_, sentence_, __FILE__, __LINE__, case_##id, NULL};                                 \
    add_test(&test);                                                                                                   \
  }                                                                                                                    \
  static void case_##id(void)

// A case of one line: the call fails with this errno.
#define FAILS_CASE(call, sentence, code, expression)                                                                   \
  CASE(call, sentence) { FAILS(code, expression); }

// The call works; its value.
#define OK(expression) must_work(__FILE__, __LINE__, #expression, (long)(expression))
// The call gives -1 and this errno.
#define FAILS(code, expression) (errno = 0, must_fail(__FILE__, __LINE__, #expression, code, #code, (long)(expression)))
// The numbers are equal.
#define IS(expected, expression) must_be(__FILE__, __LINE__, #expression, (long)(expected), (long)(expression))
// It holds.
#define HOLDS(condition) must_hold(__FILE__, __LINE__, #condition, (condition))
// The memory is equal.
#define SAME(expected, actual, size)                                                                                   \
  must_hold(__FILE__, __LINE__, #actual " is " #expected, !memcmp(expected, actual, size))

long must_work(const char *file, int line, const char *what, long value);
void must_fail(const char *file, int line, const char *what, int code, const char *name, long value);
void must_be(const char *file, int line, const char *what, long expected, long value);
void must_hold(const char *file, int line, const char *what, bool holds);

// CHILD(pid) { what a child does before it exits with 0 }
#define CHILD(pid)                                                                                                     \
  pid_t pid = OK(fork());                                                                                              \
  if (pid == 0)                                                                                                        \
    for (;; _exit(0))

// Waits for a child: its exit status, or 128 and the signal which ended it.
int ended(pid_t pid);

// From now on SIGALRM comes every ten milliseconds, to a handler which does nothing and restarts nothing.
void interrupt_soon(void);
// The same, but the handler asks for the call to be restarted; after three signals, `then` runs.
void restart_and(void (*then)(void));

// From now on, an ordinary user: user and group 1000, no other groups.
void become_user(void);

void write_file(const char *path, const char *text);
// What is in a file, up to 64 KiB; lasts until the next call.
const char *read_file(const char *path);
// A new file in the case's directory, open for reading and writing, with this in it, positioned at its start.
int file_with(const char *text);
// Sleeps; for letting another process come to a wait, where being late is no failure.
void sleep_ms(long milliseconds);

// An address where nothing is mapped (the compiler is not to know), and a descriptor nothing has.
extern void *volatile const NOWHERE;
#define NO_FD 77
