// Much of everything: stress PART [NUMBER...]. A part says what went wrong, and after it has to be as much of everything as
// before. A part runs in a process of its own, so that what it took goes with it.
#define _GNU_SOURCE
#include "counts.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define CHECK(condition)                                                                  \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      dprintf(2, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));     \
      exit(1);                                                                            \
    }                                                                                     \
  } while (0)

static void reap(long most) {
  int status;
  for (; most > 0; most--) {
    CHECK(wait(&status) > 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  }
}

// `number` processes made and reaped, `alive` of them at once.
static void processes(long number, long alive) {
  int gate[2];
  char byte;
  CHECK(pipe(gate) == 0);
  long before = count().tasks;
  for (long i = 0; i < alive; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      close(gate[1]);
      _exit(read(gate[0], &byte, 1) == 0 ? 7 : 1);
    }
  }
  CHECK(count().tasks == before + alive);
  close(gate[1]);
  reap(alive);
  for (long made = alive; made < number; made += 10) {
    for (int i = 0; i < 10; i++) {
      pid_t child = fork();
      CHECK(child >= 0);
      if (child == 0) _exit(7);
    }
    reap(10);
  }
}

// FUTEX_WAIT and FUTEX_WAKE with FUTEX_PRIVATE_FLAG: musl has no names for them.
#define WAIT_PRIVATE 128
#define WAKE_PRIVATE 129
#define THREADS 64
static _Atomic uint32_t generation, arrived;

static void *wait_for_generations(void *rounds) {
  for (uint32_t i = 0; i < (uint32_t)(uintptr_t)rounds; i++) {
    arrived++;
    while (generation == i) {
      long result = syscall(SYS_futex, &generation, WAIT_PRIVATE, i, 0, 0, 0);
      CHECK(result == 0 || errno == EAGAIN);
    }
  }
  return 0;
}

// Every one of 64 threads waits on one futex and is woken, `rounds` times.
static void futex(long rounds, long unused) {
  (void)unused;
  pthread_t threads[THREADS];
  pthread_attr_t small;
  pthread_attr_init(&small), pthread_attr_setstacksize(&small, 16384 + PTHREAD_STACK_MIN);
  for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], &small, wait_for_generations, (void *)rounds) == 0);
  for (long i = 0; i < rounds; i++) {
    while (arrived < THREADS * (i + 1)) sched_yield();
    generation++;
    CHECK(syscall(SYS_futex, &generation, WAKE_PRIVATE, INT_MAX, 0, 0, 0) <= THREADS);
  }
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], 0) == 0);
}

static long all_switches(void) { return read_number("/proc/stat", "\nctxt ", 0); }

// Two processes hand a byte to and fro: `number` context switches at least, as the kernel counts them.
static void switches(long number, long unused) {
  (void)unused;
  int there[2], back[2];
  char byte = 0;
  CHECK(pipe(there) == 0 && pipe(back) == 0);
  long before = all_switches();
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    close(there[1]);
    while (read(there[0], &byte, 1) == 1) CHECK(write(back[1], &byte, 1) == 1);
    _exit(7);
  }
  for (long i = 0; i < number / 2; i++) CHECK(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1);
  CHECK(all_switches() - before >= number);
  close(there[1]);
  reap(1);
}

static uint64_t expected(uint64_t at) { return at * 0x9e3779b97f4a7c15 ^ at >> 7; }

// A file of `mebibytes` in memory: written, read back, mapped, cut.
static void file(long mebibytes, long unused) {
  (void)unused;
  static uint64_t block[1 << 17];
  int file = open("/tmp/large", O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(file >= 0);
  for (long i = 0; i < mebibytes; i++) {
    for (int k = 0; k < 1 << 17; k += 512) block[k] = expected((uint64_t)i << 20 | (uint64_t)k << 3);
    CHECK(write(file, block, sizeof block) == sizeof block);
  }
  struct stat about;
  CHECK(fstat(file, &about) == 0 && about.st_size == mebibytes << 20 && about.st_blocks == mebibytes << 11);
  for (long i = mebibytes - 1; i >= 0; i--) {
    CHECK(pread(file, block, sizeof block, i << 20) == sizeof block);
    for (int k = 0; k < 1 << 17; k += 512) CHECK(block[k] == expected((uint64_t)i << 20 | (uint64_t)k << 3));
  }
  size_t size = (size_t)mebibytes << 20;
  uint64_t *mapped = mmap(0, size, PROT_READ, MAP_SHARED, file, 0);
  CHECK(mapped != MAP_FAILED);
  for (size_t at = 0; at < size; at += 4096) CHECK(mapped[at / 8] == expected(at));
  CHECK(munmap(mapped, size) == 0 && ftruncate(file, 5000) == 0 && fstat(file, &about) == 0 && about.st_blocks == 16);
  CHECK(unlink("/tmp/large") == 0 && close(file) == 0);
}

static void limit(int resource, rlim_t most) {
  struct rlimit both = {most, most};
  CHECK(setrlimit(resource, &both) == 0);
}

// Whoever takes all memory is killed, and who only asks for more than there may be is told.
static void memory(long unused, long unused2) {
  (void)unused, (void)unused2;
  pid_t child = fork();
  if (child == 0) {
    for (;;) {
      char *more = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
      if (more == MAP_FAILED) _exit(errno == ENOMEM ? 12 : 1);
      for (int i = 0; i < 1 << 20; i += 4096) more[i] = 1;
    }
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) || (WIFEXITED(status) && WEXITSTATUS(status) == 12));
  child = fork();
  if (child == 0) {
    limit(RLIMIT_AS, 64 << 20);
    CHECK(mmap(0, 128 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
    limit(RLIMIT_NPROC, 1);
    CHECK(setuid(1000) == 0 && fork() < 0 && errno == EAGAIN);
    _exit(7);
  }
  reap(1);
}

static void descriptors(long most, long unused) {
  (void)unused;
  limit(RLIMIT_NOFILE, (rlim_t)most);
  long opened = 0, file;
  while ((file = open("/dev/null", O_RDONLY)) >= 0) opened++;
  CHECK(errno == EMFILE && opened >= most - 8 && opened < most);
  CHECK(dup(0) < 0 && errno == EMFILE && pipe((int[2]){0}) < 0 && errno == EMFILE);
  CHECK(close((int)most - 1) == 0 && open("/dev/null", O_RDONLY) == most - 1);
}

// A full file system says so, and has room again once something is gone.
static void space(long unused, long unused2) {
  (void)unused, (void)unused2;
  static char block[1 << 20];
  long written[2] = {0, 0};
  for (int i = 0; i < 2; i++) {
    int file = open("/tmp/full", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n;
    CHECK(file >= 0);
    while ((n = write(file, block, sizeof block)) > 0) written[i] += n;
    CHECK(n < 0 && errno == ENOSPC);
    CHECK(close(file) == 0 && unlink("/tmp/full") == 0);
  }
  CHECK(labs(written[0] - written[1]) < 2 << 20);
}

// A file system goes with its last mount, whether somebody unmounts it or the last process that saw it ends.
static void mounts(long number, long unused) {
  (void)unused;
  CHECK(mkdir("/tmp/mounted", 0700) == 0);
  for (long i = 0; i < number; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      CHECK(unshare(CLONE_NEWNS) == 0 && mount("none", "/", 0, MS_REC | MS_PRIVATE, 0) == 0);
      CHECK(mount("none", "/tmp/mounted", "tmpfs", 0, 0) == 0 && chdir("/tmp/mounted") == 0);
      int file = open("file", O_RDWR | O_CREAT, 0600);
      CHECK(file >= 0 && write(file, &i, sizeof i) == sizeof i && mkdir("folder", 0700) == 0 && symlink("file", "link") == 0);
      CHECK(chdir("/") == 0 && (i % 2 || umount2("/tmp/mounted", MNT_DETACH) == 0));
      _exit(7);
    }
    reap(1);
  }
  CHECK(rmdir("/tmp/mounted") == 0);
}

static const struct {
  const char *name;
  void (*run)(long, long);
} parts[] = {{"processes", processes}, {"futex", futex}, {"switches", switches}, {"file", file}, {"memory", memory}, {"descriptors", descriptors}, {"space", space},
             {"mounts", mounts}};

static int run(int part, long first, long second) {
  pid_t child = fork();
  if (child == 0) {
    parts[part].run(first, second);
    exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  return status != 0;
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  long first = argc > 2 ? atol(argv[2]) : 0, second = argc > 3 ? atol(argv[3]) : 0;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    if (strcmp(parts[i].name, argv[1])) continue;
    struct counts before = count(), now;
    if (run((int)i, first, second)) return 1;
    // What a process had goes shortly after its parent hears of its end.
    for (int tries = 0; tries < 2000; tries++) {
      now = count();
      if (same_counts(&now, &before)) return 0;
      nanosleep(&(struct timespec){0, 1000000}, 0);
    }
    print_counts(2, &now, &before);
    return 1;
  }
  return 2;
}
