// Makes system calls at random: fuzzer SEED ROUNDS. Every round is a child of its own with a seed of its own, printed
// before it starts. The parent only forks, waits and kills.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define USER 1000

static uint64_t state;

static uint64_t next(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}
static uint64_t below(uint64_t n) { return (next() >> 11) % n; }

// Memory the calls may read and write, and what stands in it.
static char *scratch;
#define SCRATCH (64 * 4096)

// The first are all that root gets: it could break what the next round needs.
#define OWN 11
static const char *const paths[] = {
    ".", "f", "d", "d/f", "l", "l/f", "p", "", "f/", "./d/../d/./f", "e", "d/../..", "..", "/", "/tmp", "/proc", "/proc/self", "/proc/self/maps", "/proc/self/fd",
    "/proc/self/stat", "/proc/self/fd/0", "/proc/self/exe", "/proc/1/status", "/dev/null", "/dev/zero", "/dev/tty",
    "/dev/full", "/dev/urandom", "/dev/console", "/bin/busybox", "/no/such", "/dev",
    "/proc/meminfo", "/proc/mounts", "/etc/passwd",
};

static uint64_t path(void) {
  char *at = scratch + 4096 + below(8) * 512;
  if (below(20) == 0) {
    size_t length = below(300);
    memset(at, 'a' + (char)below(26), length), at[length] = 0;
  } else if (below(30) == 0)
    memset(at, 0xff, 512);
  else
    strcpy(at, paths[below(getuid() ? sizeof paths / sizeof *paths : OWN)]);
  return (uint64_t)at;
}

static uint64_t number(void) {
  static const uint64_t edges[] = {0, 1, 2, 3, 7, 8, 16, 64, 100, 255, 4095, 4096, 4097, 65536, 0x7fffffff, 0x80000000,
                                   0xffffffff, 1ull << 32, 1ull << 47, 0x7fffffffffffffff, 1ull << 63, -1ull, -2ull,
                                   -4096ull, -4095ull};
  switch (below(4)) {
    case 0: return below(64);
    case 1: return 1ull << below(64);
    case 2: return edges[below(sizeof edges / sizeof *edges)];
    default: return next() >> below(64);
  }
}

static uint64_t address(void) {
  switch (below(8)) {
    case 0: return number();
    case 1: return (uint64_t)scratch + SCRATCH - below(32);
    case 2: return (uint64_t)scratch + below(SCRATCH);
    case 3: return 0x7ffffffff000 - below(5000);
    default: return (uint64_t)scratch + below(64) * 4096;
  }
}

static uint64_t descriptor(void) {
  switch (below(10)) {
    case 0: return number();
    case 1: return (uint64_t)-100;
    default: return 3 + below(20);
  }
}

static uint64_t length(void) { return below(3) ? below(9000) : number(); }

static uint64_t process(void) {
  switch (below(6)) {
    case 0: return (uint64_t)getpid();
    case 1: return (uint64_t)-getpid();
    case 2: return 0;
    case 3: return 2 + below(60000) + 60000;
    default: return (uint64_t)getpid() + 1 + below(3);
  }
}

static uint64_t signal_number(void) { return below(20) ? 1 + below(64) : number(); }

// Random bytes, or small numbers, where a structure is expected.
static uint64_t structure(void) {
  uint64_t *at = (uint64_t *)(scratch + 16 * 4096 + below(8) * 1024);
  for (int i = 0; i < 24; i++) at[i] = below(3) ? below(100) : below(2) ? number() : address();
  return below(10) ? (uint64_t)at : address();
}

// A letter for each argument.
struct call {
  int number;
  const char *arguments;
};
static const struct call calls[] = {
    {SYS_read, "dal"}, {SYS_write, "dal"}, {SYS_open, "pnn"}, {SYS_close, "d"}, {SYS_stat, "pa"}, {SYS_fstat, "da"},
    {SYS_lstat, "pa"}, {SYS_poll, "snn"}, {SYS_lseek, "dnn"}, {SYS_mmap, "alnndn"}, {SYS_mprotect, "aln"},
    {SYS_munmap, "al"}, {SYS_brk, "a"}, {SYS_rt_sigaction, "gssn"}, {SYS_rt_sigprocmask, "nssn"}, {SYS_ioctl, "dna"},
    {SYS_pread64, "daln"}, {SYS_pwrite64, "daln"}, {SYS_readv, "dsn"}, {SYS_writev, "dsn"}, {SYS_access, "pn"},
    {SYS_pipe, "a"}, {SYS_select, "nssss"}, {SYS_sched_yield, ""}, {SYS_mremap, "allna"}, {SYS_msync, "aln"},
    {SYS_mincore, "ala"}, {SYS_madvise, "aln"}, {SYS_dup, "d"}, {SYS_dup2, "dd"}, {SYS_nanosleep, "sa"},
    {SYS_getitimer, "na"}, {SYS_setitimer, "nsa"}, {SYS_alarm, "n"}, {SYS_getpid, ""}, {SYS_sendfile, "ddal"},
    {SYS_socket, "nnn"}, {SYS_socketpair, "nnna"}, {SYS_fork, ""}, {SYS_wait4, "ynna"}, {SYS_kill, "yg"},
    {SYS_uname, "a"}, {SYS_fcntl, "dna"}, {SYS_flock, "dn"}, {SYS_fsync, "d"}, {SYS_truncate, "pn"},
    {SYS_ftruncate, "dn"}, {SYS_getdents64, "dal"}, {SYS_getcwd, "al"}, {SYS_chdir, "p"}, {SYS_fchdir, "d"},
    {SYS_rename, "pp"}, {SYS_mkdir, "pn"}, {SYS_rmdir, "p"}, {SYS_creat, "pn"}, {SYS_link, "pp"}, {SYS_unlink, "p"},
    {SYS_symlink, "pp"}, {SYS_readlink, "pal"}, {SYS_chmod, "pn"}, {SYS_fchmod, "dn"}, {SYS_chown, "pnn"},
    {SYS_umask, "n"}, {SYS_gettimeofday, "aa"}, {SYS_getrlimit, "na"}, {SYS_getrusage, "na"}, {SYS_sysinfo, "a"},
    {SYS_times, "a"}, {SYS_getuid, ""}, {SYS_setpgid, "yy"}, {SYS_getpgid, "y"}, {SYS_setsid, ""}, {SYS_getsid, "y"},
    {SYS_getgroups, "na"}, {SYS_rt_sigpending, "an"}, {SYS_rt_sigtimedwait, "sasn"}, {SYS_rt_sigqueueinfo, "ygs"},
    {SYS_rt_sigsuspend, "sn"}, {SYS_sigaltstack, "sa"}, {SYS_utime, "ps"}, {SYS_mknod, "pnn"}, {SYS_statfs, "pa"},
    {SYS_fstatfs, "da"}, {SYS_getpriority, "ny"}, {SYS_setpriority, "nyn"}, {SYS_prctl, "naaaa"},
    {SYS_arch_prctl, "na"}, {SYS_gettid, ""}, {SYS_tkill, "yg"}, {SYS_time, "a"}, {SYS_futex, "annsan"},
    {SYS_getdents, "dal"}, {SYS_set_tid_address, "a"}, {SYS_clock_gettime, "na"}, {SYS_clock_getres, "na"},
    {SYS_clock_nanosleep, "nnsa"}, {SYS_tgkill, "yyg"}, {SYS_waitid, "nyana"}, {SYS_openat, "dpnn"},
    {SYS_mkdirat, "dpn"}, {SYS_mknodat, "dpnn"}, {SYS_fchownat, "dpnnn"}, {SYS_newfstatat, "dpan"},
    {SYS_unlinkat, "dpn"}, {SYS_renameat2, "dpdpn"}, {SYS_linkat, "dpdpn"}, {SYS_symlinkat, "pdp"},
    {SYS_readlinkat, "dpal"}, {SYS_fchmodat, "dpn"}, {SYS_faccessat, "dpn"}, {SYS_pselect6, "nsssss"},
    {SYS_ppoll, "snssn"}, {SYS_set_robust_list, "an"}, {SYS_get_robust_list, "yaa"}, {SYS_utimensat, "dpsn"},
    {SYS_fallocate, "dnnn"}, {SYS_dup3, "ddn"}, {SYS_pipe2, "an"}, {SYS_preadv, "dsnnn"}, {SYS_pwritev, "dsnnn"},
    {SYS_prlimit64, "ynsa"}, {SYS_getcpu, "aaa"}, {SYS_getrandom, "aln"}, {SYS_execveat, "dpssn"}, {SYS_statx, "dpnna"},
    {SYS_clone, "naaaa"}, {SYS_clone3, "sn"}, {SYS_membarrier, "nn"}, {SYS_rseq, "annn"}, {SYS_close_range, "nnn"},
    {SYS_setuid, "n"}, {SYS_setresuid, "nnn"}, {SYS_setgroups, "na"}, {SYS_capget, "ss"}, {SYS_sched_getaffinity, "nla"},
    {SYS_sched_setaffinity, "nla"}, {SYS_personality, "n"}, {SYS_rt_sigreturn, ""}, {SYS_execve, "pss"},
    {SYS_vfork, ""}, {SYS_restart_syscall, ""}, {SYS_pause, ""}, {SYS_mlock, "al"}, {SYS_sethostname, "al"},
    {SYS_mount, "pppna"}, {SYS_umount2, "pn"}, {SYS_chroot, "p"}, {SYS_eventfd2, "nn"}, {SYS_epoll_create1, "n"},
    {SYS_epoll_ctl, "dnds"}, {SYS_epoll_wait, "dann"}, {SYS_timerfd_create, "nn"}, {SYS_memfd_create, "pn"},
    {SYS_copy_file_range, "dadanl"}, {SYS_splice, "dadanl"}, {SYS_tee, "ddnn"},
};

static uint64_t argument(char kind) {
  if (below(25) == 0) return number();
  switch (kind) {
    case 'a': return address();
    case 'd': return descriptor();
    case 'g': return signal_number();
    case 'l': return length();
    case 'p': return path();
    case 's': return structure();
    case 'y': return process();
    default: return number();
  }
}

// What a call by a user may do, and by root must not: end everything, or leave what cannot be swept away.
static int forbidden(const struct call *call, const uint64_t *arguments) {
  int forks = call->number == SYS_fork || call->number == SYS_vfork || call->number == SYS_clone ||
              call->number == SYS_clone3;
  int stays = call->number == SYS_setuid || call->number == SYS_setresuid || call->number == SYS_mount;
  if ((forks || stays) && getuid() == 0) return 1;
  int kills = call->number == SYS_kill || call->number == SYS_rt_sigqueueinfo || call->number == SYS_tkill ||
              call->number == SYS_tgkill || call->number == SYS_prlimit64 || call->number == SYS_setpriority;
  int pid = (int)arguments[0];
  return kills && getuid() == 0 && (pid == -1 || pid == 1 || pid == getppid() || pid == -getppid());
}

// A program nobody wrote: a real one with some bytes changed, or cut.
static void make_program(void) {
  static char bytes[200000];
  int from = open("/bin/busybox", O_RDONLY), to = open("e", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0755);
  ssize_t length = read(from, bytes, sizeof bytes);
  if (length > 0) {
    for (uint64_t i = below(12); i > 0; i--) bytes[below(2) ? below(64) : below(1000)] = (char)number();
    if (below(4) == 0) length = (ssize_t)below((uint64_t)length);
    if (write(to, bytes, (size_t)length) < 0) length = 0;
  }
  close(from), close(to);
}

// Users and root have a directory each: root must not follow what a user links.
static int enter(const char *directory, mode_t mode) {
  mkdir(directory, mode), chmod(directory, mode);
  if (chdir(directory)) return -1;
  mkdir("d", 0777);
  if (symlink("d", "l") && errno != EEXIST) return -1;
  return 0;
}

static void play(void) {
  int as_user = (int)below(2);
  if (as_user ? enter("/tmp/fuzz", 0777) : enter("/tmp/root", 0700)) return;
  scratch = mmap(0, SCRATCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct rlimit few = {30, 30}, size = {200 << 20, 200 << 20};
  setrlimit(RLIMIT_NPROC, &few), setrlimit(RLIMIT_AS, &size);
  // Whatever a round says has no reader.
  int null = open("/dev/null", O_RDWR);
  for (int i = 0; i < 3; i++) dup2(null, i);
  open("f", O_RDWR | O_CREAT, 0666), open("d", O_RDONLY | O_DIRECTORY), mknod("p", S_IFIFO | 0666, 0);
  int ends[2];
  if (pipe(ends)) return;
  if (as_user && setuid(USER)) return;
  if (below(10) == 0) make_program();
  for (uint64_t i = 50 + below(400); i > 0; i--) {
    const struct call *call = &calls[below(sizeof calls / sizeof *calls)];
    uint64_t arguments[6] = {0};
    for (int k = 0; call->arguments[k]; k++) arguments[k] = argument(call->arguments[k]);
    if (forbidden(call, arguments)) continue;
    if (below(50) == 0 && getuid())
      syscall((long)number(), arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
    else
      syscall(call->number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
  }
}

// Ends whatever a round has left behind: its group, and every process of the user.
static void sweep(pid_t child) {
  kill(-child, SIGKILL), kill(child, SIGKILL);
  waitpid(child, 0, 0);
  pid_t broom = fork();
  if (broom == 0) {
    if (setuid(USER) == 0) kill(-1, SIGKILL);
    _exit(0);
  }
  waitpid(broom, 0, 0);
}

int main(int argc, char **argv) {
  uint64_t seed = argc > 1 ? strtoull(argv[1], 0, 10) : 1, rounds = argc > 2 ? strtoull(argv[2], 0, 10) : 1;
  for (uint64_t round = 0; round < rounds; round++) {
    printf("%llu\n", (unsigned long long)(seed + round)), fflush(stdout);
    pid_t child = fork();
    if (child < 0) return 2;
    if (child == 0) {
      setpgid(0, 0);
      // SplitMix64: neighbouring seeds make different rounds.
      state = (seed + round) * 0x9e3779b97f4a7c15 + 1;
      state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9, state ^= state >> 31;
      if (state == 0) state = 1;
      play();
      _exit(0);
    }
    // Most rounds end by themselves; one that waits for ever is ended.
    for (int i = 0; i < 30; i++) {
      siginfo_t info = {0};
      if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid) break;
      nanosleep(&(struct timespec){0, 1000000}, 0);
    }
    sweep(child);
  }
  return 0;
}
