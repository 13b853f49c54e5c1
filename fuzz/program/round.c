// A round: a few processes, some with threads, that share what they make and each make calls in a row.
#include "fuzzer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

static int as_root;
int may_break_the_system(void) { return as_root; }

// Blocking calls are interrupted every now and then.
static void interrupt(int signal) { (void)signal; }
static void start_ticking(void) {
  struct sigaction action = {.sa_handler = interrupt};
  for (int i = 0; i < 4; i++) {
    static const int signals[] = {SIGALRM, SIGUSR1, SIGUSR2, SIGIO};
    action.sa_flags = i == 3 ? SA_RESTART : 0;
    sigaction(signals[i], &action, 0);
  }
  signal(SIGPIPE, SIG_IGN), signal(SIGXFSZ, SIG_IGN);
  mend_memory();
  setitimer(ITIMER_REAL, &(struct itimerval){{0, 1500}, {0, 1500}}, 0);
}

// A program nobody wrote: a real one with some bytes changed, or cut.
static void make_program(int from) {
  static char bytes[200000];
  int to = open("e", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0755);
  ssize_t length = pread(from, bytes, sizeof bytes, 0);
  if (length > 0) {
    for (uint64_t i = below(12); i > 0; i--) bytes[below(2) ? below(64) : below(1000)] = (char)number();
    if (rarely(4)) length = (ssize_t)below((uint64_t)length);
    if (write(to, bytes, (size_t)length) < 0) length = 0;
  }
  close(to);
}

static void keep_open(enum resource kind, int descriptor) {
  if (descriptor >= 0) keep(kind, (uint64_t)descriptor);
}

// Some of everything, so that the first calls already meet something.
static void make_something(void) {
  int ends[2];
  keep_open(FILE_, open("f", O_RDWR | O_CREAT, 0666));
  keep_open(DIRECTORY, open("d", O_RDONLY | O_DIRECTORY));
  keep_open(PLACE, open("d", O_PATH));
  if (pipe2(ends, rarely(2) ? O_NONBLOCK : 0) == 0) keep_open(PIPE, ends[0]), keep_open(PIPE, ends[1]);
  for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++)
    if (rarely(2) && socketpair(AF_UNIX, type, 0, ends) == 0) keep_open(SOCKET, ends[0]), keep_open(SOCKET, ends[1]);
  if (rarely(2)) keep_open(SOCKET, socket(AF_INET, SOCK_STREAM, 0)), keep_open(SOCKET, socket(AF_INET, SOCK_DGRAM, 0));
  uint64_t set = 1ull << (SIGUSR1 - 1);
  switch (below(4)) {
    case 0: keep_open(EPOLL, epoll_create1(0)), keep_open(EPOLL, epoll_create1(0)); break;
    case 1: keep_open(EVENT, eventfd(1, 0)), keep_open(TIMER_FD, timerfd_create(CLOCK_MONOTONIC, 0)); break;
    case 2: keep_open(INOTIFY, inotify_init1(IN_NONBLOCK)), keep_open(SIGNAL_FD, (int)syscall(SYS_signalfd4, -1, &set, 8, 0)); break;
    default: keep_open(MEMORY, memfd_create("m", 2)), keep_open(PID_FD, (int)syscall(434, getpid(), 0));
  }
  int master = rarely(3) ? open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK) : -1;
  if (master >= 0) {
    char name[32];
    keep_open(TERMINAL, master);
    if (unlockpt(master) == 0 && ptsname_r(master, name, sizeof name) == 0) keep_open(TERMINAL, open(name, O_RDWR | O_NOCTTY | O_NONBLOCK));
  }
  if (rarely(4)) keep_open(NAMESPACE, open("/proc/self/ns/mnt", O_RDONLY));
}

// A round has a few favourites: calls about the same things in a row find more than calls about anything.
#define FAVOURITES 12
static const struct call *favourites[FAVOURITES];
static void choose_favourites(void) {
  const struct call *about = &calls[below(call_count)];
  for (int i = 0; i < FAVOURITES; i++) {
    favourites[i] = &calls[below(call_count)];
    for (int tries = 0; tries < 20; tries++) {
      const struct call *call = &calls[below(call_count)];
      int shared = call->types[0] && call->types[0] == about->types[0];
      if (shared || (call->makes && call->resource == about->resource && about->makes)) {
        favourites[i] = call;
        break;
      }
    }
  }
}

static const struct call *choose(void) {
  return rarely(3) ? &calls[below(call_count)] : favourites[below(FAVOURITES)];
}

static int is_a_fork(const struct call *call) {
  return call->number == SYS_fork || call->number == SYS_vfork || call->number == SYS_clone || call->number == SYS_clone3;
}

static int ends(const struct call *call) {
  return call->number == SYS_exit || call->number == SYS_exit_group || call->number == SYS_execve || call->number == SYS_execveat ||
         call->number == SYS_rt_sigreturn || call->number == SYS_pause || call->number == SYS_seccomp;
}

static void note(const struct call *call, const uint64_t *arguments, long result) {
  if (result < 0) return;
  if (call->makes == 1) return keep(call->resource, (uint64_t)result);
  if (call->makes != 2) return;
  uint32_t *pair = (uint32_t *)arguments[call->pair];
  if ((uint64_t)pair < 4096) return;
  keep(call->resource, pair[0]);
  if (call->resource != TIMER) keep(call->resource, pair[1]);
}

static void make_calls(uint64_t count) {
  for (; count > 0; count--) {
    const struct call *call = choose();
    // What ends a process, or forks into more and more of them, is for seldom.
    if ((ends(call) && !rarely(20)) || (is_a_fork(call) && !rarely(3))) continue;
    if (as_root && call->number == SYS_reboot) continue;
    uint64_t a[ARGUMENTS] = {0};
    for (int k = 0; k < ARGUMENTS && call->types[k]; k++) a[k] = value_of(call->types[k]);
    uint64_t seed = next();
    long result = syscall(!as_root && rarely(200) ? (long)number() : call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (is_a_fork(call)) {
      // Children go on in a way of their own.
      if (result == 0) {
        seed_thread(seed), join(getpid()), count = count < 20 ? count : 20;
        setitimer(ITIMER_REAL, &(struct itimerval){{0, 1500}, {0, 1500}}, 0);
      } else if (result > 0)
        join((pid_t)result);
    }
    note(call, a, result);
  }
}

static void *be_a_thread(void *seed) {
  static unsigned threads;
  lane = __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
  seed_thread((uint64_t)seed), join((pid_t)syscall(SYS_gettid));
  make_calls(20 + below(60));
  return 0;
}

static void be_a_process(void) {
  join(getpid());
  start_ticking();
  if (rarely(2)) make_something();
  for (uint64_t i = below(3); i > 0; i--) {
    pthread_t thread;
    if (pthread_create(&thread, 0, be_a_thread, (void *)next())) break;
  }
  make_calls(30 + below(120));
}

// A directory to work in; root's is a file system of its own that nothing leads out of, so that nothing of it stays.
static int enter(void) {
  const char *directory = as_root ? "/tmp/root" : "/tmp/fuzz";
  mkdir(directory, 0777), chmod(directory, 0777);
  if (as_root) {
    if (unshare(CLONE_NEWNS | CLONE_NEWUTS) || mount("none", "/", 0, MS_REC | MS_PRIVATE, 0)) return -1;
    if (mount("none", directory, "tmpfs", 0, "size=4m") || chdir(directory) || mkdir("old", 0777)) return -1;
    if (syscall(SYS_pivot_root, ".", "old") || umount2("/old", MNT_DETACH)) return -1;
    directory = "/";
  }
  if (chdir(directory)) return -1;
  mkdir("d", 0777);
  if (symlink("d", "l") || symlink("loop", "loop") || mknod("p", S_IFIFO | 0666, 0)) return -1;
  return 0;
}

void play(void) {
  for (int i = 1; i < 65; i++) signal(i, SIG_DFL);
  as_root = rarely(3);
  int program = open("/bin/busybox", O_RDONLY);
  if (enter()) return;
  // Whatever a round says has no reader; what root does to /dev/null, it does to one of its own.
  mknod("null", S_IFCHR | 0666, makedev(1, 3));
  int null = open(as_root ? "null" : "/dev/null", O_RDWR);
  for (int i = 0; i < 3; i++) dup2(null, i);
  close(null);
  struct rlimit few = {30, 30}, space = {200 << 20, 200 << 20}, file = {4 << 20, 4 << 20}, open_files = {100, 100};
  setrlimit(RLIMIT_NPROC, &few), setrlimit(RLIMIT_AS, &space), setrlimit(RLIMIT_FSIZE, &file), setrlimit(RLIMIT_NOFILE, &open_files);
  make_memory(), make_resources(), choose_favourites();
  if (rarely(10)) make_program(program);
  close(program);
  if (!as_root && (setgid(USER) || setuid(USER))) return;
  make_something();
  for (uint64_t i = below(3); i > 0; i--) {
    uint64_t seed = next();
    pid_t child = fork();
    if (child == 0) {
      seed_thread(seed), be_a_process();
      _exit(0);
    }
    if (child > 0) join(child);
  }
  be_a_process();
}
