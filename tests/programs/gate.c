// Every call of the Aurora gate beside its twin: on Aurora through `int 0x80`, elsewhere through Linux's gate. What it
// prints has to be the same.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// The note that opens the gate.
__asm__(".pushsection .note.aurora, \"a\", @note\n.balign 4\n.long 7, 4, 1\n.asciz \"Aurora\"\n.balign 4\n.long 1\n.popsection");

#define CALLS                                                                                                          \
  X(exit, 0, exit_group) X(write, 1, write) X(yield, 2, sched_yield) X(fork, 3, fork) X(exec, 4, execve)               \
  X(wait, 5, wait4) X(open, 6, open) X(close, 7, close) X(read, 8, read) X(stat, 9, stat) X(fstat, 10, fstat)          \
  X(seek, 11, lseek) X(dup, 12, dup) X(mmap, 13, mmap) X(munmap, 14, munmap) X(mprotect, 15, mprotect)                 \
  X(pipe, 16, pipe2) X(getpid, 17, getpid) X(getppid, 18, getppid) X(brk, 31, brk) X(ioctl, 32, ioctl)                 \
  X(fcntl, 33, fcntl) X(dup_to, 34, dup3) X(chdir, 35, chdir) X(getcwd, 36, getcwd) X(mkdir, 37, mkdir)                \
  X(rmdir, 40, rmdir) X(unlink, 41, unlink) X(rename, 42, rename) X(link, 43, link) X(symlink, 44, symlink)            \
  X(readlink, 45, readlink) X(chmod, 46, chmod) X(chown, 47, chown) X(truncate, 48, truncate)                          \
  X(ftruncate, 49, ftruncate) X(list, 50, getdents64) X(poll, 51, poll) X(kill, 52, kill)                              \
  X(sigaction, 53, rt_sigaction) X(sigmask, 54, rt_sigprocmask) X(sigreturn, 55, rt_sigreturn)                         \
  X(sigsuspend, 56, rt_sigsuspend) X(sigpending, 57, rt_sigpending) X(sigstack, 58, sigaltstack) X(pause, 59, pause)   \
  X(alarm, 60, alarm) X(sleep, 61, nanosleep) X(clock, 62, clock_gettime) X(getuid, 63, getuid)                        \
  X(geteuid, 64, geteuid) X(getgid, 65, getgid) X(getegid, 66, getegid) X(setuid, 67, setuid) X(setgid, 68, setgid)    \
  X(getpgid, 69, getpgid) X(setpgid, 70, setpgid) X(getsid, 71, getsid) X(setsid, 72, setsid) X(umask, 73, umask)      \
  X(access, 74, access) X(lstat, 75, lstat) X(utimens, 76, utimensat) X(statfs, 77, statfs) X(sync, 78, sync)          \
  X(fsync, 79, fsync) X(mount, 80, mount) X(umount, 81, umount2) X(reboot, 82, reboot) X(uname, 83, uname)             \
  X(sethostname, 84, sethostname) X(limit, 85, prlimit64) X(usage, 86, getrusage) X(futex, 87, futex)                  \
  X(clone, 88, clone) X(gettid, 89, gettid) X(thread_exit, 90, exit) X(thread_kill, 91, tgkill)                        \
  X(random, 92, getrandom) X(mremap, 93, mremap) X(madvise, 94, madvise) X(msync, 95, msync) X(readv, 96, readv)       \
  X(writev, 97, writev) X(read_at, 98, pread64) X(write_at, 99, pwrite64) X(copy, 100, sendfile)                       \
  X(getpriority, 101, getpriority) X(setpriority, 102, setpriority) X(set_base, 103, arch_prctl)                       \
  X(msgsnd, 19, msgsnd) X(msgrcv, 20, msgrcv) X(shmget, 21, shmget) X(shmat, 22, shmat) X(shmdt, 23, shmdt)            \
  X(socket, 24, socket) X(bind, 25, bind) X(connect, 26, connect) X(accept, 27, accept4) X(send, 28, sendto)           \
  X(recv, 29, recvfrom) X(shutdown, 30, shutdown) X(listen, 38, listen) X(socketpair, 39, socketpair)                  \
  X(msgget, 104, msgget) X(msgctl, 105, msgctl) X(shmctl, 106, shmctl) X(send_message, 109, sendmsg)                   \
  X(recv_message, 110, recvmsg) X(local_name, 111, getsockname) X(peer_name, 112, getpeername)                         \
  X(get_option, 113, getsockopt) X(set_option, 114, setsockopt) X(semget, 115, semget) X(semop, 116, semtimedop)       \
  X(semctl, 117, semctl) X(watch_create, 118, epoll_create1) X(watch_change, 119, epoll_ctl)                           \
  X(watch_wait, 120, epoll_pwait) X(counter, 121, eventfd2) X(timer, 122, timerfd_create)                              \
  X(timer_set, 123, timerfd_settime) X(timer_get, 124, timerfd_gettime) X(signals, 125, signalfd4)                     \
  X(process, 126, pidfd_open) X(restart, 219, restart_syscall)

#define X(name, ours, linux) CALL_##name,
enum { CALLS COUNT };
#undef X
#define X(name, ours, linux) ours,
static const int our_numbers[] = {CALLS};
#undef X
#define X(name, ours, linux) SYS_##linux,
static const int linux_numbers[] = {CALLS};
#undef X

static int on_aurora;

static long enter(int call, const long a[6]) {
  register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
  long result;
  if (on_aurora)
    __asm__ volatile("int $0x80" : "=a"(result) : "a"((long)our_numbers[call]), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "memory");
  else
    __asm__ volatile("syscall" : "=a"(result) : "a"((long)linux_numbers[call]), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}

#define CALL(name, ...) enter(CALL_##name, (const long[6]){__VA_ARGS__})
// Prints what the call returned.
#define SHOW(name, ...) show(#name, CALL(name, __VA_ARGS__))
// Prints only whether it worked, where the number differs between two runs.
#define TRY(name, ...) tell(#name, CALL(name, __VA_ARGS__))

static long show(const char *name, long result) {
  if (result < 0 && result > -4096) printf("%s: %s\n", name, strerror(-result));
  else printf("%s = %ld\n", name, result);
  fflush(stdout);
  return result;
}
static long tell(const char *name, long result) {
  show(name, result < 0 && result > -4096 ? result : 0);
  return result;
}

static volatile int handled;
struct kernel_action {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  unsigned long mask;
};
static void handler(int signal) { handled = signal; }
// A handler returns through the gate, too.
void back_ours(void), back_linux(void);
__asm__("back_ours: mov $55, %eax\nint $0x80\nback_linux: mov $15, %eax\nsyscall");

static void files(void) {
  char text[64] = "";
  struct stat s;
  struct iovec parts[2] = {{"ab", 2}, {"cd", 2}}, into[2] = {{text, 1}, {text + 1, 8}};
  long fd = TRY(open, (long)"f", O_RDWR | O_CREAT, 0644);
  SHOW(write, fd, (long)"hello", 5), SHOW(seek, fd, 1, SEEK_SET), SHOW(read, fd, (long)text, 20), puts(text);
  SHOW(writev, fd, (long)parts, 2), SHOW(seek, fd, 5, SEEK_SET), SHOW(readv, fd, (long)into, 2), puts(text);
  SHOW(write_at, fd, (long)"XY", 2, 1), SHOW(read_at, fd, (long)text, 4, 0), puts(text);
  SHOW(stat, (long)"f", (long)&s), printf("%ld %o\n", (long)s.st_size, s.st_mode);
  SHOW(truncate, (long)"f", 4), SHOW(ftruncate, fd, 7), SHOW(fstat, fd, (long)&s), printf("%ld\n", (long)s.st_size);
  SHOW(fsync, fd), SHOW(sync);
  long other = TRY(dup, fd);
  SHOW(dup_to, fd, 40, O_CLOEXEC), SHOW(fcntl, 40, F_GETFD), SHOW(close, other), SHOW(close, other), SHOW(close, 40);
  long copy = TRY(open, (long)"g", O_RDWR | O_CREAT, 0600);
  SHOW(seek, fd, 0, SEEK_SET), SHOW(copy, copy, fd, 0, 100);
  SHOW(link, (long)"f", (long)"h"), SHOW(symlink, (long)"f", (long)"s"), SHOW(lstat, (long)"s", (long)&s);
  printf("%o\n", s.st_mode), memset(text, 0, sizeof text), SHOW(readlink, (long)"s", (long)text, 60), puts(text);
  SHOW(chmod, (long)"f", 0640), SHOW(chown, (long)"f", 5, 6), SHOW(stat, (long)"f", (long)&s);
  printf("%o %d %d %d\n", s.st_mode, s.st_uid, s.st_gid, (int)s.st_nlink);
  struct timespec times[2] = {{1000, 0}, {2000, 5}};
  SHOW(utimens, AT_FDCWD, (long)"f", (long)times, 0), SHOW(stat, (long)"f", (long)&s), printf("%ld\n", (long)s.st_mtime);
  SHOW(access, (long)"f", R_OK), SHOW(access, (long)"nosuch", F_OK), SHOW(rename, (long)"h", (long)"i");
  SHOW(mkdir, (long)"d", 0750), SHOW(chdir, (long)"d"), TRY(getcwd, (long)text, 64), SHOW(getcwd, (long)text, 2);
  SHOW(chdir, (long)".."), SHOW(unlink, (long)"d"), SHOW(rmdir, (long)"d"), SHOW(rmdir, (long)"f");
  long here = TRY(open, (long)".", O_RDONLY | O_DIRECTORY, 0);
  char entries[1024];
  TRY(list, here, (long)entries, sizeof entries), SHOW(list, fd, (long)entries, 100);
  SHOW(umask, 077), SHOW(umask, 022);
  struct statfs system;
  SHOW(statfs, (long)"/proc", (long)&system), printf("%lx\n", (long)system.f_type);
  int queued;
  SHOW(ioctl, fd, FIONREAD, (long)&queued), SHOW(ioctl, fd, TIOCGWINSZ, (long)text);
  SHOW(mount, (long)"none", (long)"/nosuch", (long)"tmpfs", 0, 0), SHOW(umount, (long)"/nosuch", 0);
  SHOW(unlink, (long)"f"), SHOW(unlink, (long)"f"), SHOW(open, (long)"f", O_RDONLY, 0), SHOW(read, 99, (long)text, 1);
}

static void memory(void) {
  char *at = (char *)TRY(mmap, 0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  at[5000] = 7;
  SHOW(mprotect, (long)at, 4096, PROT_READ), SHOW(madvise, (long)at, 4096, MADV_NORMAL), SHOW(msync, (long)at, 4096, MS_SYNC);
  at = (char *)TRY(mremap, (long)at, 8192, 16384, MREMAP_MAYMOVE, 0);
  SHOW(mmap, 0, 0, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), SHOW(munmap, (long)at, 8192), SHOW(munmap, 1, 1);
  long end = CALL(brk, 0);
  printf("brk moves: %d\n", CALL(brk, end + 4096) == end + 4096);
}

static void processes(char *self) {
  int status, ends[2];
  printf("getpid %d getppid %d gettid %d\n", CALL(getpid) == getpid(), CALL(getppid) == getppid(), CALL(gettid) == getpid());
  printf("ids %ld %ld %ld %ld\n", CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid));
  SHOW(yield), TRY(getpgid, 0), TRY(getsid, 0), SHOW(getpgid, 999999), SHOW(pipe, (long)ends, 0);
  struct pollfd p = {ends[0], POLLIN, 0};
  SHOW(poll, (long)&p, 1, 0), SHOW(write, ends[1], (long)"x", 1), SHOW(poll, (long)&p, 1, -1);
  long child = CALL(fork);
  if (!child) {
    SHOW(setpgid, 0, 0), SHOW(setsid), SHOW(setgid, 7), SHOW(setuid, 7), SHOW(setuid, 0), SHOW(sethostname, (long)"x", 1);
    SHOW(reboot, 0, 0, 0), SHOW(setpriority, 0, 0, 5), SHOW(getpriority, 0, 0);
    CALL(exit, 9);
  }
  printf("waited %d\n", CALL(wait, child, (long)&status, 0, 0) == child), printf("%x\n", status);
  SHOW(wait, -1, (long)&status, 0, 0);
  if (!(child = CALL(fork))) {
    char *argv[] = {self, "again", 0}, *env[] = {0};
    SHOW(exec, (long)"/nosuch", (long)argv, (long)env), CALL(exec, (long)self, (long)argv, (long)env);
  }
  CALL(wait, child, (long)&status, 0, 0), printf("%x\n", status);
  if (!(child = CALL(clone, SIGCHLD, 0, 0, 0, 0))) CALL(thread_exit, 3);
  CALL(wait, child, (long)&status, 0, 0), printf("%x\n", status);
  struct rlimit limit;
  struct rusage usage;
  struct utsname name;
  SHOW(limit, 0, RLIMIT_CORE, 0, (long)&limit), SHOW(limit, 0, 99, 0, 0), SHOW(usage, RUSAGE_SELF, (long)&usage);
  SHOW(uname, (long)&name), puts(name.sysname), SHOW(random, (long)&name, 20, 0), SHOW(random, (long)&name, 1, 99);
  int word = 1;
  SHOW(futex, (long)&word, 0, 2, 0, 0, 0), SHOW(futex, (long)&word, 1, 1, 0, 0, 0);
  long base = 0;
  SHOW(set_base, 0x1003, (long)&base), printf("%d\n", base != 0), SHOW(set_base, 1, 0);
}

static void signals(void) {
  struct kernel_action action = {handler, 0x04000000, on_aurora ? back_ours : back_linux, 0}, old;
  unsigned long mask = 1ul << (SIGUSR1 - 1), none = 0, pending = 0;
  SHOW(sigaction, SIGUSR1, (long)&action, 0, 8), SHOW(sigaction, SIGALRM, (long)&action, (long)&old, 8);
  SHOW(sigaction, SIGKILL, (long)&action, 0, 8), SHOW(kill, getpid(), SIGUSR1), printf("handled %d\n", handled);
  SHOW(sigmask, SIG_BLOCK, (long)&mask, 0, 8), handled = 0, SHOW(thread_kill, getpid(), CALL(gettid), SIGUSR1);
  SHOW(sigpending, (long)&pending, 8), printf("%lx %d\n", pending, handled);
  SHOW(sigsuspend, (long)&none, 8), printf("handled %d\n", handled);
  stack_t stack;
  SHOW(sigstack, 0, (long)&stack), printf("%d\n", stack.ss_flags);
  SHOW(kill, 999999, 0), SHOW(alarm, 100), SHOW(alarm, 0);
  struct timespec time = {0, 1000000}, now;
  SHOW(sleep, (long)&time, 0), SHOW(clock, CLOCK_MONOTONIC, (long)&now), SHOW(clock, 999, (long)&now);
  long me = getpid(), child = CALL(fork);
  if (!child) {
    // It goes on sleeping after a stop, by `restart`.
    struct timespec nap = {0, 50000000};
    CALL(exit, CALL(sleep, (long)&nap, 0) == 0 ? 0 : 1);
  }
  int status;
  CALL(kill, child, SIGSTOP), CALL(wait, child, (long)&status, WUNTRACED, 0), CALL(kill, child, SIGCONT);
  CALL(wait, child, (long)&status, 0, 0), printf("%x\n", status), SHOW(restart);
  if (!(child = CALL(fork))) CALL(kill, me, SIGALRM), CALL(exit, 0);
  handled = 0;
  unsigned long all = 1ul << (SIGALRM - 1);
  CALL(sigmask, SIG_BLOCK, (long)&all, 0, 8), CALL(wait, child, (long)&status, 0, 0);
  if (!(child = CALL(fork))) CALL(alarm, 1), SHOW(sigmask, SIG_SETMASK, (long)&none, 0, 8), SHOW(pause), CALL(exit, 4);
  CALL(wait, child, (long)&status, 0, 0), printf("%x\n", status);
}

static void sockets(void) {
  int pair[2], on = 1, value = 0;
  char text[16] = "";
  socklen_t size = sizeof value;
  SHOW(socketpair, AF_UNIX, SOCK_STREAM, 0, (long)pair), SHOW(send, pair[0], (long)"abc", 3, 0, 0, 0);
  SHOW(recv, pair[1], (long)text, sizeof text, 0, 0, 0), puts(text);
  struct iovec part = {"de", 2}, into = {text, sizeof text};
  struct msghdr out = {.msg_iov = &part, .msg_iovlen = 1}, in = {.msg_iov = &into, .msg_iovlen = 1};
  SHOW(send_message, pair[0], (long)&out, 0), SHOW(recv_message, pair[1], (long)&in, MSG_DONTWAIT), puts(text);
  SHOW(shutdown, pair[0], SHUT_WR), SHOW(recv, pair[1], (long)text, 1, 0, 0, 0), SHOW(shutdown, pair[0], 9);
  struct sockaddr_un name = {AF_UNIX, "socket"}, seen;
  socklen_t long_size = sizeof seen;
  long server = TRY(socket, AF_UNIX, SOCK_STREAM, 0), client = TRY(socket, AF_UNIX, SOCK_STREAM, 0);
  SHOW(connect, client, (long)&name, sizeof name), SHOW(bind, server, (long)&name, sizeof name), SHOW(listen, server, 4);
  SHOW(connect, client, (long)&name, sizeof name), TRY(accept, server, 0, 0, 0);
  SHOW(local_name, server, (long)&seen, (long)&long_size), puts(seen.sun_path);
  long_size = sizeof seen;
  SHOW(peer_name, client, (long)&seen, (long)&long_size), printf("%d\n", seen.sun_family);
  SHOW(set_option, client, SOL_SOCKET, SO_PASSCRED, (long)&on, sizeof on);
  SHOW(get_option, client, SOL_SOCKET, SO_PASSCRED, (long)&value, (long)&size), printf("%d\n", value);
  SHOW(socket, 99, SOCK_STREAM, 0), SHOW(bind, 1, (long)&name, sizeof name), unlink("socket");
}

static void queues(void) {
  struct {
    long kind;
    char text[8];
  } message = {3, "queued"}, got = {0};
  long queue = TRY(msgget, IPC_PRIVATE, 0600);
  SHOW(msgsnd, queue, (long)&message, 7, 0), SHOW(msgrcv, queue, (long)&got, 8, 3, 0), puts(got.text);
  SHOW(msgrcv, queue, (long)&got, 8, 0, IPC_NOWAIT), SHOW(msgctl, queue, IPC_RMID, 0), SHOW(msgctl, queue, IPC_RMID, 0);
  long segment = TRY(shmget, IPC_PRIVATE, 4096, 0600);
  char *at = (char *)TRY(shmat, segment, 0, 0);
  strcpy(at, "shared");
  SHOW(shmdt, (long)at), SHOW(shmdt, (long)at), at = (char *)TRY(shmat, segment, 0, SHM_RDONLY), puts(at);
  SHOW(shmctl, segment, IPC_RMID, 0), SHOW(shmdt, (long)at), SHOW(shmat, segment, 0, 0);
  long set = TRY(semget, IPC_PRIVATE, 2, 0600);
  struct sembuf up = {1, 5, 0}, down = {1, -6, IPC_NOWAIT};
  SHOW(semop, set, (long)&up, 1, 0), SHOW(semctl, set, 1, GETVAL), SHOW(semop, set, (long)&down, 1, 0);
  SHOW(semctl, set, 0, IPC_RMID), SHOW(semctl, set, 0, GETVAL);
}

static void watching(void) {
  long epoll = TRY(watch_create, 0), counter = TRY(counter, 2, 0), timer = TRY(timer, CLOCK_MONOTONIC, 0);
  struct epoll_event event = {EPOLLIN, {.u32 = 7}}, got[2];
  SHOW(watch_change, epoll, EPOLL_CTL_ADD, counter, (long)&event), SHOW(watch_change, epoll, EPOLL_CTL_ADD, counter, (long)&event);
  SHOW(watch_wait, epoll, (long)got, 2, -1, 0, 8), printf("%x %d\n", got[0].events, got[0].data.u32);
  unsigned long value;
  SHOW(read, counter, (long)&value, 8), printf("%lu\n", value), SHOW(watch_wait, epoll, (long)got, 2, 0, 0, 8);
  struct itimerspec soon = {{0, 0}, {0, 1000000}}, left;
  SHOW(timer_set, timer, 0, (long)&soon, 0), SHOW(read, timer, (long)&value, 8), printf("%lu\n", value);
  SHOW(timer_get, timer, (long)&left), printf("%ld\n", left.it_value.tv_nsec), SHOW(timer_set, timer, 9, (long)&soon, 0);
  unsigned long mask = 1ul << (SIGUSR2 - 1);
  char info[128];
  SHOW(sigmask, SIG_BLOCK, (long)&mask, 0, 8);
  long signals = TRY(signals, -1, (long)&mask, 8, 0), self = TRY(process, getpid(), 0);
  SHOW(kill, getpid(), SIGUSR2), SHOW(read, signals, (long)info, sizeof info), printf("%d\n", *(int *)info);
  SHOW(process, 999999, 0), SHOW(close, self), SHOW(close, epoll);
}

int main(int argc, char **argv) {
  struct utsname name;
  on_aurora = !uname(&name) && strstr(name.release, "aurora");
  if (argc > 1) return puts("executed through the gate"), 5;
  files(), memory(), processes(argv[0]), signals(), sockets(), queues(), watching();
  fflush(stdout);
  CALL(exit, 0);
}
