// Processes: clone, fork, vfork, execve, exit, wait, signals, sessions.
#include "calls.h"
#include <sys/ptrace.h>
#include <linux/sched.h>
#include <sys/sysmacros.h>

#define RAW(name, ...) syscall(SYS_##name, ##__VA_ARGS__)
static long clone_raw(unsigned long flags) { return RAW(clone, flags, 0, 0, 0, 0); }
static int status;
static siginfo_t info;
static void nothing(int signal) { (void)signal; }

CASE("fork", "the child has its own memory, descriptors and position in common") {
  static int x;
  int fd = file_with("abc");
  CHILD(pid) {
    x = 1;
    char c;
    IS(1, read(fd, &c, 1));
  }
  IS(0, ended(pid));
  IS(0, x);
  IS(1, lseek(fd, 0, SEEK_CUR));
}
CASE("fork", "the child's parent is the parent") {
  pid_t me = getpid();
  CHILD(pid) IS(me, getppid());
  IS(0, ended(pid));
}
CASE("fork", "the child has no pending signals, the same mask and actions") {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGUSR1);
  sigprocmask(SIG_BLOCK, &s, NULL);
  raise(SIGUSR1);
  signal(SIGUSR2, SIG_IGN);
  CHILD(pid) {
    sigset_t p;
    sigpending(&p);
    IS(0, sigismember(&p, SIGUSR1));
    sigprocmask(SIG_BLOCK, NULL, &p);
    IS(1, sigismember(&p, SIGUSR1));
    raise(SIGUSR2);
  }
  IS(0, ended(pid));
}
CASE("vfork", "the parent waits until the child ends, memory is one") {
  static volatile int x;
  pid_t pid = vfork();
  if (pid == 0) {
    x = 5;
    _exit(0);
  }
  IS(5, x);
  IS(0, ended(pid));
}
CASE("clone", "CLONE_SIGHAND without CLONE_VM is EINVAL") { FAILS(EINVAL, clone_raw(CLONE_SIGHAND | SIGCHLD)); }
CASE("clone", "CLONE_THREAD without CLONE_SIGHAND is EINVAL") { FAILS(EINVAL, clone_raw(CLONE_THREAD | CLONE_VM)); }
CASE("clone", "CLONE_FILES shares descriptors") {
  long pid = OK(clone_raw(CLONE_FILES | SIGCHLD));
  if (pid == 0) {
    dup2(0, 50);
    _exit(0);
  }
  IS(0, ended((pid_t)pid));
  OK(fcntl(50, F_GETFD));
}
CASE("clone", "CLONE_FS shares the working directory") {
  OK(mkdir("d", 0755));
  write_file("d/f", "");
  long pid = OK(clone_raw(CLONE_FS | SIGCHLD));
  if (pid == 0) {
    OK(chdir("d"));
    _exit(0);
  }
  IS(0, ended((pid_t)pid));
  OK(access("f", F_OK));
}
CASE("clone", "CLONE_PARENT makes a sibling") {
  pid_t me = getpid();
  int p[2];
  OK(pipe(p));
  CHILD(pid) {
    long s = clone_raw(CLONE_PARENT | SIGCHLD);
    if (s == 0) _exit(getppid() == me ? 6 : 1);
    OK(write(p[1], &s, sizeof s));
  }
  long s;
  IS(sizeof s, read(p[0], &s, sizeof s));
  IS(6, ended((pid_t)s));
  IS(0, ended(pid));
}
CASE("clone", "CLONE_PARENT_SETTID and CLONE_CHILD_SETTID store the number") {
  int a = 0, b = 0;
  long pid = OK(RAW(clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, 0, &a, &b, 0));
  if (pid == 0) _exit(b == RAW(gettid) ? 0 : 1);
  IS(pid, a);
  IS(0, b);
  IS(0, ended((pid_t)pid));
}
CASE("clone", "another signal at the end needs __WCLONE") {
  long pid = OK(clone_raw(0));
  if (pid == 0) _exit(3);
  FAILS(ECHILD, waitpid((pid_t)pid, &status, 0));
  IS(pid, waitpid((pid_t)pid, &status, __WCLONE));
  IS(3, WEXITSTATUS(status));
}
CASE("clone3", "makes a child") {
  struct clone_args a = {.exit_signal = SIGCHLD};
  long pid = OK(RAW(clone3, &a, sizeof a));
  if (pid == 0) _exit(4);
  IS(4, ended((pid_t)pid));
}
CASE("clone3", "with a size too small is EINVAL, with unknown words E2BIG") {
  struct {
    struct clone_args a;
    uint64_t more;
  } a = {.a.exit_signal = SIGCHLD, .more = 1};
  FAILS(EINVAL, RAW(clone3, &a, 8));
  FAILS(E2BIG, RAW(clone3, &a, sizeof a));
  FAILS(EFAULT, RAW(clone3, NOWHERE, sizeof a.a));
}
CASE("clone3", "with a stack and no size is EINVAL") {
  struct clone_args a = {.exit_signal = SIGCHLD, .stack = 4096};
  FAILS(EINVAL, RAW(clone3, &a, sizeof a));
  a = (struct clone_args){.exit_signal = 200};
  FAILS(EINVAL, RAW(clone3, &a, sizeof a));
}
CASE("clone3", "CLONE_CLEAR_SIGHAND: handlers are gone") {
  signal(SIGUSR1, SIG_IGN);
  struct sigaction x;
  x.sa_handler = nothing;
  sigemptyset(&x.sa_mask);
  x.sa_flags = 0;
  OK(sigaction(SIGUSR2, &x, NULL));
  struct clone_args a = {.flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD};
  long pid = OK(RAW(clone3, &a, sizeof a));
  if (pid == 0) {
    sigaction(SIGUSR2, NULL, &x);
    int ok = x.sa_handler == SIG_DFL;
    sigaction(SIGUSR1, NULL, &x);
    _exit(ok && x.sa_handler == SIG_IGN ? 0 : 1);
  }
  IS(0, ended((pid_t)pid));
}
static void *other(void *x) {
  (void)x;
  RAW(exit_group, 9);
  return NULL;
}
CASE("exit_group", "of a thread ends the process") {
  CHILD(pid) {
    pthread_t t;
    pthread_create(&t, NULL, other, NULL);
    pause();
  }
  IS(9, ended(pid));
}
static void *sleeper(void *x) {
  sleep_ms(30);
  _exit((int)(long)x);
}
CASE("exit", "of the first thread leaves the others") {
  CHILD(pid) {
    pthread_t t;
    pthread_create(&t, NULL, sleeper, (void *)8);
    RAW(exit, 1);
  }
  IS(8, ended(pid));
}
static void *runs_true(void *x) {
  (void)x;
  execl("/proc/self/exe", "x", "no such case", NULL);
  return NULL;
}
CASE("execve", "of a thread ends the others") {
  CHILD(pid) {
    pthread_t t;
    pthread_create(&t, NULL, runs_true, NULL);
    for (;;) pause();
  }
  IS(0, ended(pid));
}

// A shell which looks whether it has one thread, with the process's number.
static void *runs_a_look(void *x) {
  (void)x;
  execl("/bin/busybox", "sh", "-c", "cd /proc/$$/task && [ \"$(echo *)\" = $$ ] && [ -d /proc/$$/task/$$ ]", NULL);
  execl("/bin/sh", "sh", "-c", "cd /proc/$$/task && [ \"$(echo *)\" = $$ ] && [ -d /proc/$$/task/$$ ]", NULL);
  return NULL;
}
CASE("execve", "of a thread which is not the first goes on with the process's number") {
  CHILD(pid) {
    pthread_t t;
    pthread_create(&t, NULL, runs_a_look, NULL);
    for (;;) pause();
  }
  IS(0, ended(pid));
}
CASE("execve", "of a thread after the first has ended goes on with the process's number") {
  CHILD(pid) {
    pthread_t t;
    pthread_create(&t, NULL, runs_a_look, NULL);
    RAW(exit, 0);
  }
  IS(0, ended(pid));
}
CASE("execve", "of a thread which is not the first tells its tracer the number it had") {
  CHILD(pid) {
    OK(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    raise(SIGSTOP);
    pthread_t t;
    pthread_create(&t, NULL, runs_a_look, NULL);
    for (;;) pause();
  }
  int status;
  IS(pid, waitpid(pid, &status, 0));
  OK(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL));
  OK(ptrace(PTRACE_CONT, pid, NULL, NULL));
  IS(pid, waitpid(pid, &status, 0));
  IS(SIGTRAP | PTRACE_EVENT_CLONE << 8, status >> 8);
  unsigned long thread = 0, former = 0;
  OK(ptrace(PTRACE_GETEVENTMSG, pid, NULL, &thread));
  OK(ptrace(PTRACE_CONT, pid, NULL, NULL));
  pid_t who = OK(waitpid((pid_t)thread, &status, __WALL));
  IS(thread, who);
  OK(ptrace(PTRACE_CONT, thread, NULL, NULL));
  IS(pid, waitpid(-1, &status, __WALL));
  IS(SIGTRAP | PTRACE_EVENT_EXEC << 8, status >> 8);
  OK(ptrace(PTRACE_GETEVENTMSG, pid, NULL, &former));
  IS(thread, former);
  FAILS(ESRCH, ptrace(PTRACE_CONT, thread, NULL, NULL));
  OK(ptrace(PTRACE_DETACH, pid, NULL, NULL));
  IS(0, ended(pid));
}
FAILS_CASE("execve", "of nothing is ENOENT", ENOENT, execl("no", "no", NULL))
CASE("execve", "of what is no program is ENOEXEC") {
  write_file("x", "text");
  OK(chmod("x", 0755));
  FAILS(ENOEXEC, RAW(execve, "x", (char *[]){"x", NULL}, NULL));
}
CASE("execve", "of what may not be executed is EACCES") {
  write_file("x", "#!/bin/sh\n");
  FAILS(EACCES, execl("x", "x", NULL));
  FAILS(EACCES, execl(".", "x", NULL));
}
CASE("execve", "of a script whose interpreter is missing is ENOENT") {
  write_file("x", "#!/no/such\n");
  OK(chmod("x", 0755));
  FAILS(ENOENT, execl("x", "x", NULL));
}
CASE("execve", "of a script that interprets itself is ELOOP") {
  char b[5000], d[4096];
  HOLDS(getcwd(d, sizeof d) != NULL);
  snprintf(b, sizeof b, "#!%s/x\n", d);
  write_file("x", b);
  OK(chmod("x", 0755));
  FAILS(ELOOP, execl("x", "x", NULL));
}
CASE("execve", "of no memory is EFAULT") {
  FAILS(EFAULT, RAW(execve, NOWHERE, NULL, NULL));
  FAILS(EFAULT, RAW(execve, "/proc/self/exe", NOWHERE, NULL));
}
CASE("execve", "of one argument too long is E2BIG") {
  char *b = malloc(140000);
  memset(b, 'x', 139999), b[139999] = 0;
  FAILS(E2BIG, execl("/proc/self/exe", b, NULL));
}
CASE("execve", "closes what is marked") {
  CHILD(pid) {
    int a = dup(0), c = dup(0);
    OK(fcntl(a, F_SETFD, FD_CLOEXEC));
    (void)c;
    execl("/proc/self/exe", "x", "no such case", NULL);
  }
  IS(0, ended(pid));
}
CASE("execve", "for writing the running file is ETXTBSY") { FAILS(ETXTBSY, open("/proc/self/exe", O_RDWR)); }
CASE("execveat", "of a descriptor") {
  CHILD(pid) {
    int fd = OK(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    RAW(execveat, fd, "", (char *[]){"x", "no such case", NULL}, (char *[]){NULL}, AT_EMPTY_PATH);
  }
  IS(0, ended(pid));
}
CASE("execveat", "with an unknown flag is EINVAL") {
  FAILS(EINVAL, RAW(execveat, AT_FDCWD, "x", NULL, NULL, 1));
  FAILS(EBADF, RAW(execveat, NO_FD, "x", NULL, NULL, 0));
}
CASE("execveat", "AT_SYMLINK_NOFOLLOW of a link is ELOOP") {
  OK(symlink("/proc/self/exe", "l"));
  FAILS(ELOOP, RAW(execveat, AT_FDCWD, "l", (char *[]){"x", NULL}, NULL, AT_SYMLINK_NOFOLLOW));
}

FAILS_CASE("wait4", "without children is ECHILD", ECHILD, wait(&status))
CASE("wait4", "WNOHANG of a child that runs is 0") {
  CHILD(pid) pause();
  IS(0, waitpid(pid, &status, WNOHANG));
}
CASE("wait4", "of another's child is ECHILD") { FAILS(ECHILD, waitpid(1, &status, 0)); }
CASE("wait4", "with an unknown option is EINVAL") {
  FAILS(EINVAL, waitpid(-1, &status, 0x100));
  FAILS(ESRCH, waitpid((pid_t)-2147483648, &status, 0));
}
CASE("wait4", "is interrupted by a signal") {
  CHILD(pid) pause();
  interrupt_soon();
  FAILS(EINTR, waitpid(pid, &status, 0));
}
CASE("wait4", "goes on after a signal with SA_RESTART") {
  static pid_t child;
  child = OK(fork());
  if (child == 0) {
    pause();
    _exit(0);
  }
  static void (*end)(void);
  end = NULL;
  (void)end;
  CHILD(killer) {
    sleep_ms(60);
    kill(child, SIGKILL);
  }
  restart_and(NULL);
  IS(child, waitpid(child, &status, 0));
}
CASE("wait4", "tells how a child was killed") {
  CHILD(pid) pause();
  OK(kill(pid, SIGTERM));
  IS(pid, wait(&status));
  HOLDS(WIFSIGNALED(status));
  IS(SIGTERM, WTERMSIG(status));
}
CASE("wait4", "WUNTRACED and WCONTINUED") {
  CHILD(pid) for (;;) pause();
  OK(kill(pid, SIGSTOP));
  IS(pid, waitpid(pid, &status, WUNTRACED));
  IS(SIGSTOP, WSTOPSIG(status));
  OK(kill(pid, SIGCONT));
  IS(pid, waitpid(pid, &status, WCONTINUED));
  HOLDS(WIFCONTINUED(status));
}
CASE("wait4", "of a group") {
  CHILD(pid) {
    setpgid(0, 0);
    _exit(2);
  }
  sleep_ms(20);
  IS(pid, waitpid(-pid, &status, 0));
  FAILS(ECHILD, waitpid(-pid, &status, 0));
}
CASE("wait4", "into no memory is EFAULT") {
  CHILD(pid) {}
  FAILS(EFAULT, RAW(wait4, pid, NOWHERE, 0, 0));
}
CASE("waitid", "WNOWAIT leaves the child") {
  CHILD(pid) _exit(3);
  OK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
  IS(CLD_EXITED, info.si_code);
  IS(3, info.si_status);
  IS(pid, info.si_pid);
  OK(waitid(P_PID, (id_t)pid, &info, WEXITED));
  FAILS(ECHILD, waitid(P_PID, (id_t)pid, &info, WEXITED));
}
CASE("waitid", "WNOHANG of a child that runs tells nobody") {
  CHILD(pid) pause();
  info.si_pid = 9;
  OK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG));
  IS(0, info.si_pid);
}
CASE("waitid", "without WEXITED and its kin is EINVAL") {
  FAILS(EINVAL, waitid(P_ALL, 0, &info, 0));
  FAILS(EINVAL, waitid(9, 0, &info, WEXITED));
  FAILS(EINVAL, waitid(P_PID, 0, &info, WEXITED));
}
CASE("waitid", "tells a kill") {
  CHILD(pid) pause();
  OK(kill(pid, SIGKILL));
  OK(waitid(P_ALL, 0, &info, WEXITED));
  IS(CLD_KILLED, info.si_code);
  IS(SIGKILL, info.si_status);
}
CASE("exit", "with SIGCHLD ignored leaves no zombie") {
  signal(SIGCHLD, SIG_IGN);
  CHILD(pid) {}
  FAILS(ECHILD, waitpid(pid, &status, 0));
}

CASE("kill", "of nobody is ESRCH") {
  FAILS(ESRCH, kill(30000, 0));
  FAILS(ESRCH, kill(-30000, 0));
  FAILS(ESRCH, kill((pid_t)-2147483648, 0));
}
CASE("kill", "of an unknown signal is EINVAL") {
  FAILS(EINVAL, kill(getpid(), 65));
  FAILS(EINVAL, kill(getpid(), -1));
}
CASE("kill", "of another user's process is EPERM") {
  CHILD(pid) pause();
  become_user();
  FAILS(EPERM, kill(pid, 0));
  FAILS(EPERM, kill(pid, SIGTERM));
}
CASE("kill", "of signal 0 tells whether it could be sent") {
  CHILD(pid) pause();
  OK(kill(pid, 0));
}
CASE("tgkill", "of a thread of another process is ESRCH") {
  CHILD(pid) pause();
  FAILS(ESRCH, RAW(tgkill, getpid(), pid, 0));
  OK(RAW(tgkill, pid, pid, 0));
  FAILS(EINVAL, RAW(tgkill, 0, pid, 0));
  FAILS(EINVAL, RAW(tgkill, pid, -1, 0));
}
CASE("tkill", "of nobody is ESRCH, of less EINVAL") {
  FAILS(ESRCH, RAW(tkill, 30000, 0));
  FAILS(EINVAL, RAW(tkill, 0, 0));
}
CASE("rt_sigqueueinfo", "may not pretend to be the kernel") {
  CHILD(pid) pause();
  siginfo_t i = {.si_code = 0};
  FAILS(EPERM, RAW(rt_sigqueueinfo, pid, SIGUSR1, &i));
  i.si_code = SI_TKILL;
  FAILS(EPERM, RAW(rt_sigqueueinfo, pid, SIGUSR1, &i));
  FAILS(EFAULT, RAW(rt_sigqueueinfo, pid, SIGUSR1, NOWHERE));
}
CASE("rt_tgsigqueueinfo", "tells a thread something") {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGUSR1);
  sigprocmask(SIG_BLOCK, &s, NULL);
  siginfo_t i = {.si_code = SI_QUEUE};
  i.si_value.sival_int = 42;
  OK(RAW(rt_tgsigqueueinfo, getpid(), gettid(), SIGUSR1, &i));
  IS(SIGUSR1, sigwaitinfo(&s, &info));
  IS(42, info.si_value.sival_int);
  FAILS(EINVAL, RAW(rt_tgsigqueueinfo, -1, 1, SIGUSR1, &i));
  FAILS(ESRCH, RAW(rt_tgsigqueueinfo, getpid(), 30000, SIGUSR1, &i));
}
CASE("rt_sigaction", "of SIGKILL and SIGSTOP is EINVAL") {
  struct sigaction a = {.sa_handler = SIG_IGN};
  FAILS(EINVAL, sigaction(SIGKILL, &a, NULL));
  FAILS(EINVAL, sigaction(SIGSTOP, &a, NULL));
  FAILS(EINVAL, RAW(rt_sigaction, 65, NULL, NULL, 8));
  FAILS(EINVAL, RAW(rt_sigaction, SIGUSR1, NULL, NULL, 4));
  FAILS(EFAULT, RAW(rt_sigaction, SIGUSR1, NOWHERE, NULL, 8));
}
CASE("rt_sigprocmask", "of an unknown way is EINVAL") {
  uint64_t s = 0;
  FAILS(EINVAL, RAW(rt_sigprocmask, 9, &s, NULL, 8));
  OK(RAW(rt_sigprocmask, 9, NULL, &s, 8));
  FAILS(EINVAL, RAW(rt_sigprocmask, 0, &s, NULL, 4));
  FAILS(EFAULT, RAW(rt_sigprocmask, 0, NOWHERE, NULL, 8));
}
CASE("rt_sigprocmask", "cannot block SIGKILL") {
  uint64_t s = ~0ull;
  OK(RAW(rt_sigprocmask, SIG_SETMASK, &s, NULL, 8));
  OK(RAW(rt_sigprocmask, SIG_BLOCK, NULL, &s, 8));
  IS(0, s & (1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1)));
}
CASE("rt_sigtimedwait", "in vain is EAGAIN") {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGUSR1);
  sigprocmask(SIG_BLOCK, &s, NULL);
  struct timespec t = {0, 1000000}, bad = {0, -1};
  FAILS(EAGAIN, sigtimedwait(&s, NULL, &t));
  FAILS(EINVAL, sigtimedwait(&s, NULL, &bad));
}
CASE("rt_sigtimedwait", "is interrupted by another signal") {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGUSR1);
  sigprocmask(SIG_BLOCK, &s, NULL);
  interrupt_soon();
  FAILS(EINTR, sigtimedwait(&s, NULL, NULL));
}
CASE("rt_sigsuspend", "waits with another mask and is EINTR") {
  interrupt_soon();
  sigset_t s;
  sigemptyset(&s);
  FAILS(EINTR, sigsuspend(&s));
  FAILS(EINVAL, RAW(rt_sigsuspend, &s, 4));
  FAILS(EFAULT, RAW(rt_sigsuspend, NOWHERE, 8));
}
CASE("pause", "is EINTR") {
  interrupt_soon();
  FAILS(EINTR, pause());
}
CASE("sigaltstack", "too small is ENOMEM, of an unknown flag EINVAL") {
  stack_t s = {.ss_sp = &status, .ss_size = 100};
  FAILS(ENOMEM, sigaltstack(&s, NULL));
  s.ss_size = 65536, s.ss_flags = 77;
  FAILS(EINVAL, sigaltstack(&s, NULL));
  FAILS(EFAULT, sigaltstack(NOWHERE, NULL));
  OK(sigaltstack(NULL, &s));
  IS(SS_DISABLE, s.ss_flags);
}
CASE("setsid", "of a leader of a group is EPERM") {
  CHILD(pid) {
    OK(setsid());
    IS(getpid(), getsid(0));
    IS(getpid(), getpgrp());
    FAILS(EPERM, setsid());
  }
  IS(0, ended(pid));
}
CASE("setpgid", "of nobody's child is ESRCH") {
  FAILS(ESRCH, setpgid(1, 0));
  FAILS(EINVAL, setpgid(0, -1));
  FAILS(EPERM, setpgid(0, 30000));
}
CASE("setpgid", "of a child that has executed is EACCES") {
  int p[2];
  OK(pipe2(p, O_CLOEXEC));
  CHILD(pid) {
    execl("/bin/sleep", "sleep", "9", NULL);
    execl("/usr/bin/sleep", "sleep", "9", NULL);
  }
  close(p[1]);
  char c;
  IS(0, read(p[0], &c, 1));
  FAILS(EACCES, setpgid(pid, pid));
}
CASE("getpgid", "of nobody is ESRCH") {
  FAILS(ESRCH, getpgid(30000));
  FAILS(ESRCH, getsid(30000));
  IS(getpgrp(), getpgid(0));
}
CASE("set_robust_list", "of an unknown size is EINVAL") {
  FAILS(EINVAL, RAW(set_robust_list, NULL, 7));
  void *h;
  size_t n;
  OK(RAW(get_robust_list, 0, &h, &n));
  IS(24, n);
  FAILS(ESRCH, RAW(get_robust_list, 30000, &h, &n));
  FAILS(EFAULT, RAW(get_robust_list, 0, NOWHERE, &n));
}
CASE("gettid", "of the first thread is the process's number") {
  IS(getpid(), RAW(gettid));
  IS(getpid(), RAW(set_tid_address, NULL));
}
