// Looking into other processes: ptrace, process_vm_readv, kcmp.
#include "calls.h"
#include <linux/kcmp.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <elf.h>

#define PT(request, pid, addr, data)                                                                                   \
  ptrace((enum __ptrace_request)(request), pid, (void *)(long)(addr), (void *)(long)(data))
static int status;
static long value = 0x1122334455667788;
// A traced child that stopped itself, then does something.
#define TRACED(pid, what)                                                                                              \
  pid_t pid = OK(fork());                                                                                              \
  if (pid == 0) {                                                                                                      \
    PT(PTRACE_TRACEME, 0, 0, 0);                                                                                       \
    raise(SIGSTOP);                                                                                                    \
    what;                                                                                                              \
    _exit(0);                                                                                                          \
  }                                                                                                                    \
  IS(pid, waitpid(pid, &status, 0));                                                                                   \
  HOLDS(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP)
static void next(pid_t pid, int request, int signal) {
  OK(PT(request, pid, 0, signal));
  IS(pid, waitpid(pid, &status, 0));
}
static struct user_regs_struct regs;

CASE("ptrace", "TRACEME: a signal stops the child and is told") {
  TRACED(pid, raise(SIGUSR1));
  next(pid, PTRACE_CONT, 0);
  IS(SIGUSR1, WSTOPSIG(status));
  next(pid, PTRACE_CONT, 0);
  HOLDS(WIFEXITED(status));
}
CASE("ptrace", "CONT with a signal delivers it") {
  TRACED(pid, raise(SIGUSR1));
  next(pid, PTRACE_CONT, 0);
  next(pid, PTRACE_CONT, SIGUSR1);
  HOLDS(WIFSIGNALED(status));
  IS(SIGUSR1, WTERMSIG(status));
}
CASE("ptrace", "CONT with another signal delivers that") {
  TRACED(pid, raise(SIGUSR1));
  next(pid, PTRACE_CONT, 0);
  next(pid, PTRACE_CONT, SIGUSR2);
  IS(SIGUSR2, WTERMSIG(status));
}
CASE("ptrace", "an ignored signal stops all the same") {
  TRACED(pid, (signal(SIGUSR1, SIG_IGN), raise(SIGUSR1)));
  next(pid, PTRACE_CONT, 0);
  IS(SIGUSR1, WSTOPSIG(status));
}
CASE("ptrace", "PEEKDATA reads the child's memory") {
  TRACED(pid, );
  IS(value, PT(PTRACE_PEEKDATA, pid, &value, 0));
}
CASE("ptrace", "POKEDATA writes the child's memory alone") {
  TRACED(pid, _exit(value == 5 ? 7 : 1));
  OK(PT(PTRACE_POKEDATA, pid, &value, 5));
  next(pid, PTRACE_CONT, 0);
  IS(7, WEXITSTATUS(status));
  HOLDS(value != 5);
}
CASE("ptrace", "POKETEXT writes into code, which is the child's own") {
  TRACED(pid, getppid());
  errno = 0;
  long code = PT(PTRACE_PEEKTEXT, pid, getppid, 0);
  IS(0, errno);
  OK(PT(PTRACE_POKETEXT, pid, getppid, (code & ~0xffl) | 0xcc));
  next(pid, PTRACE_CONT, 0);
  IS(SIGTRAP, WSTOPSIG(status));
  OK(PT(PTRACE_GETREGS, pid, 0, &regs));
  IS((long)getppid + 1, regs.rip);
  OK(getppid());
}
CASE("ptrace", "PEEKDATA of nothing is EIO") {
  TRACED(pid, );
  FAILS(EIO, PT(PTRACE_PEEKDATA, pid, 16, 0));
  FAILS(EIO, PT(PTRACE_POKEDATA, pid, 16, 0));
}
CASE("ptrace", "SYSCALL stops at entry and return") {
  TRACED(pid, syscall(SYS_getppid));
  OK(PT(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
  do next(pid, PTRACE_SYSCALL, 0), OK(PT(PTRACE_GETREGS, pid, 0, &regs));
  while (regs.orig_rax != SYS_getppid);
  IS(SIGTRAP | 0x80, WSTOPSIG(status));
  IS(-ENOSYS, (long)regs.rax);
  next(pid, PTRACE_SYSCALL, 0);
  OK(PT(PTRACE_GETREGS, pid, 0, &regs));
  IS(SYS_getppid, regs.orig_rax);
  IS(getpid(), regs.rax);
}
CASE("ptrace", "a tracer can change a call's number and its result") {
  TRACED(pid, _exit(syscall(SYS_getppid) == 4242 ? 7 : 1));
  do next(pid, PTRACE_SYSCALL, 0), OK(PT(PTRACE_GETREGS, pid, 0, &regs));
  while (regs.orig_rax != SYS_getppid);
  regs.orig_rax = -1, regs.rax = 4242;
  OK(PT(PTRACE_SETREGS, pid, 0, &regs));
  next(pid, PTRACE_CONT, 0);
  IS(7, WEXITSTATUS(status));
}
struct call_info {
  uint8_t op, pad[3];
  uint32_t arch;
  uint64_t ip, sp;
  union {
    struct {
      uint64_t nr, args[6];
    } entry;
    struct {
      int64_t value;
      uint8_t is_error;
    } exit;
  };
};
CASE("ptrace", "GET_SYSCALL_INFO tells entry and return") {
  TRACED(pid, syscall(SYS_close, 77));
  struct call_info i;
  IS(24, PT(0x420e, pid, sizeof i, &i));
  OK(PT(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
  IS(0, i.op);
  do {
    next(pid, PTRACE_SYSCALL, 0);
    IS(80, PT(0x420e, pid, sizeof i, &i));
    if (i.op == 1 && i.entry.nr != SYS_close) next(pid, PTRACE_SYSCALL, 0);
  } while (i.op != 1 || i.entry.nr != SYS_close);
  IS(77, i.entry.args[0]);
  IS(0xc000003e, i.arch);
  next(pid, PTRACE_SYSCALL, 0);
  IS(33, PT(0x420e, pid, sizeof i, &i));
  IS(2, i.op);
  IS(-EBADF, i.exit.value);
  IS(1, i.exit.is_error);
}
CASE("ptrace", "SINGLESTEP stops after each instruction") {
  TRACED(pid, for (;;));
  next(pid, PTRACE_SINGLESTEP, 0);
  IS(SIGTRAP, WSTOPSIG(status));
  OK(PT(PTRACE_GETREGS, pid, 0, &regs));
  long at = regs.rip;
  next(pid, PTRACE_SINGLESTEP, 0);
  OK(PT(PTRACE_GETREGS, pid, 0, &regs));
  HOLDS(at != (long)regs.rip);
  IS(0, regs.eflags & 0x100);
  siginfo_t i;
  OK(PT(PTRACE_GETSIGINFO, pid, 0, &i));
  IS(2, i.si_code);
}
CASE("ptrace", "GETSIGINFO tells who sent the signal") {
  TRACED(pid, raise(SIGUSR1));
  next(pid, PTRACE_CONT, 0);
  siginfo_t i;
  OK(PT(PTRACE_GETSIGINFO, pid, 0, &i));
  IS(SIGUSR1, i.si_signo);
  IS(pid, i.si_pid);
  IS(SI_TKILL, i.si_code);
}
static volatile int got_value;
static void on_usr(int signal, siginfo_t *i, void *c) {
  (void)signal, (void)c;
  got_value = i->si_value.sival_int;
}
CASE("ptrace", "SETSIGINFO changes what the handler is told") {
  TRACED(pid, ({
           struct sigaction a = {.sa_sigaction = on_usr, .sa_flags = SA_SIGINFO};
           sigaction(SIGUSR1, &a, NULL);
           raise(SIGUSR1);
           _exit(got_value == 99 ? 7 : 1);
         }));
  next(pid, PTRACE_CONT, 0);
  siginfo_t i;
  OK(PT(PTRACE_GETSIGINFO, pid, 0, &i));
  i.si_code = SI_QUEUE, i.si_value.sival_int = 99;
  OK(PT(PTRACE_SETSIGINFO, pid, 0, &i));
  next(pid, PTRACE_CONT, SIGUSR1);
  IS(7, WEXITSTATUS(status));
}
CASE("ptrace", "PEEKUSER and POKEUSER") {
  TRACED(pid, );
  OK(PT(PTRACE_GETREGS, pid, 0, &regs));
  IS(regs.rip, PT(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), 0));
  OK(PT(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, r15), 1234));
  OK(PT(PTRACE_GETREGS, pid, 0, &regs));
  IS(1234, regs.r15);
  FAILS(EIO, PT(PTRACE_PEEKUSER, pid, 3, 0));
  FAILS(EIO, PT(PTRACE_PEEKUSER, pid, 100000, 0));
}
CASE("ptrace", "GETREGSET and SETREGSET of general registers") {
  TRACED(pid, );
  struct iovec v = {&regs, sizeof regs};
  OK(PT(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v));
  IS(sizeof regs, v.iov_len);
  regs.r14 = 77;
  OK(PT(PTRACE_SETREGSET, pid, NT_PRSTATUS, &v));
  memset(&regs, 0, sizeof regs);
  OK(PT(PTRACE_GETREGS, pid, 0, &regs));
  IS(77, regs.r14);
  FAILS(EINVAL, PT(PTRACE_GETREGSET, pid, 12345, &v));
}
CASE("ptrace", "GETFPREGS tells the state of floating point") {
  TRACED(pid, );
  struct user_fpregs_struct f;
  OK(PT(PTRACE_GETFPREGS, pid, 0, &f));
  IS(0x37f, f.cwd);
  IS(0x1f80, f.mxcsr);
}
CASE("ptrace", "SETREGS of what no program could have is EIO") {
  TRACED(pid, );
  OK(PT(PTRACE_GETREGS, pid, 0, &regs));
  regs.fs_base = 1ul << 63;
  FAILS(EIO, PT(PTRACE_SETREGS, pid, 0, &regs));
}
static int event(void) { return status >> 8; }
CASE("ptrace", "TRACEFORK: the child is traced, too, and told of") {
  TRACED(pid, if (fork() == 0) _exit(3); wait(NULL));
  OK(PT(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEFORK));
  next(pid, PTRACE_CONT, 0);
  IS(SIGTRAP | PTRACE_EVENT_FORK << 8, event());
  unsigned long child;
  OK(PT(PTRACE_GETEVENTMSG, pid, 0, &child));
  IS(child, waitpid((pid_t)child, &status, __WALL));
  IS(SIGSTOP, WSTOPSIG(status));
  OK(PT(PTRACE_CONT, child, 0, 0));
  IS(child, waitpid((pid_t)child, &status, __WALL));
  IS(3, WEXITSTATUS(status));
}
CASE("ptrace", "TRACEEXEC: stops after execve") {
  TRACED(pid, execl("/proc/self/exe", "x", "no such case", NULL));
  OK(PT(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXEC));
  next(pid, PTRACE_CONT, 0);
  IS(SIGTRAP | PTRACE_EVENT_EXEC << 8, event());
  unsigned long old;
  OK(PT(PTRACE_GETEVENTMSG, pid, 0, &old));
  IS(pid, old);
  next(pid, PTRACE_CONT, 0);
  HOLDS(WIFEXITED(status));
}
CASE("ptrace", "execve without the option is SIGTRAP") {
  TRACED(pid, execl("/proc/self/exe", "x", "no such case", NULL));
  next(pid, PTRACE_CONT, 0);
  IS(SIGTRAP, event());
}
CASE("ptrace", "TRACEEXIT: stops before the end with the status") {
  TRACED(pid, _exit(9));
  OK(PT(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXIT));
  next(pid, PTRACE_CONT, 0);
  IS(SIGTRAP | PTRACE_EVENT_EXIT << 8, event());
  unsigned long how;
  OK(PT(PTRACE_GETEVENTMSG, pid, 0, &how));
  IS(9 << 8, how);
  next(pid, PTRACE_CONT, 0);
  IS(9, WEXITSTATUS(status));
}
CASE("ptrace", "TRACEVFORKDONE: stops when the child let go") {
  TRACED(pid, if (vfork() == 0) _exit(0); wait(NULL));
  OK(PT(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEVFORKDONE));
  next(pid, PTRACE_CONT, 0);
  IS(SIGTRAP | PTRACE_EVENT_VFORK_DONE << 8, event());
}
CASE("ptrace", "SETOPTIONS of an unknown one is EINVAL") {
  TRACED(pid, );
  FAILS(EINVAL, PT(PTRACE_SETOPTIONS, pid, 0, 1 << 28));
}
CASE("ptrace", "EXITKILL: the end of the tracer ends the tracee") {
  int p[2];
  OK(pipe(p));
  CHILD(tracer) {
    close(p[0]);
    TRACED(pid, pause());
    OK(PT(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL));
    OK(PT(PTRACE_CONT, pid, 0, 0));
  }
  close(p[1]);
  char c;
  IS(0, read(p[0], &c, 1));
}
CASE("ptrace", "DETACH lets it run on") {
  TRACED(pid, _exit(5));
  OK(PT(PTRACE_DETACH, pid, 0, 0));
  IS(5, ended(pid));
}
CASE("ptrace", "KILL ends it") {
  TRACED(pid, pause());
  OK(PT(PTRACE_KILL, pid, 0, 0));
  IS(128 + SIGKILL, ended(pid));
}
CASE("ptrace", "SIGKILL ends a stopped tracee") {
  TRACED(pid, pause());
  OK(kill(pid, SIGKILL));
  IS(128 + SIGKILL, ended(pid));
}
CASE("ptrace", "ATTACH stops a process that runs") {
  CHILD(pid) for (;;) pause();
  OK(PT(PTRACE_ATTACH, pid, 0, 0));
  IS(pid, waitpid(pid, &status, 0));
  IS(SIGSTOP, WSTOPSIG(status));
  OK(PT(PTRACE_DETACH, pid, 0, SIGTERM));
  IS(128 + SIGTERM, ended(pid));
}
CASE("ptrace", "SEIZE does not stop, INTERRUPT does") {
  CHILD(pid) for (;;) pause();
  OK(PT(PTRACE_SEIZE, pid, 0, 0));
  sleep_ms(20);
  IS(0, waitpid(pid, &status, WNOHANG));
  OK(PT(PTRACE_INTERRUPT, pid, 0, 0));
  IS(pid, waitpid(pid, &status, 0));
  IS(SIGTRAP | PTRACE_EVENT_STOP << 8, event());
  OK(PT(PTRACE_CONT, pid, 0, 0));
  OK(kill(pid, SIGKILL));
  IS(128 + SIGKILL, ended(pid));
}
CASE("ptrace", "SEIZE: a stop of the process is an event, LISTEN leaves it stopped") {
  CHILD(pid) for (;;) pause();
  OK(PT(PTRACE_SEIZE, pid, 0, 0));
  OK(kill(pid, SIGSTOP));
  IS(pid, waitpid(pid, &status, 0));
  IS(SIGSTOP, event());
  OK(PT(PTRACE_CONT, pid, 0, SIGSTOP));
  IS(pid, waitpid(pid, &status, 0));
  IS(SIGSTOP | PTRACE_EVENT_STOP << 8, event());
  OK(PT(PTRACE_LISTEN, pid, 0, 0));
  OK(kill(pid, SIGCONT));
  IS(pid, waitpid(pid, &status, 0));
  IS(SIGTRAP | PTRACE_EVENT_STOP << 8, event());
}
CASE("ptrace", "SEIZE with an address is EIO") {
  CHILD(pid) pause();
  FAILS(EIO, PT(PTRACE_SEIZE, pid, 1, 0));
  FAILS(EIO, PT(PTRACE_SEIZE, pid, 0, 1 << 28));
}
CASE("ptrace", "ATTACH of oneself is EPERM, of nobody ESRCH") {
  FAILS(EPERM, PT(PTRACE_ATTACH, getpid(), 0, 0));
  FAILS(ESRCH, PT(PTRACE_ATTACH, 30000, 0, 0));
}
CASE("ptrace", "ATTACH of another user's process is EPERM") {
  CHILD(pid) pause();
  become_user();
  FAILS(EPERM, PT(PTRACE_ATTACH, pid, 0, 0));
}
CASE("ptrace", "ATTACH of what is traced is EPERM") {
  TRACED(pid, );
  FAILS(EPERM, PT(PTRACE_ATTACH, pid, 0, 0));
  CHILD(other) FAILS(EPERM, PT(PTRACE_ATTACH, pid, 0, 0));
  IS(0, ended(other));
}
CASE("ptrace", "of a process that is not traced, or does not stand, is ESRCH") {
  CHILD(pid) pause();
  FAILS(ESRCH, PT(PTRACE_CONT, pid, 0, 0));
  TRACED(t, for (;;) pause());
  OK(PT(PTRACE_CONT, t, 0, 0));
  FAILS(ESRCH, PT(PTRACE_GETREGS, t, 0, &regs));
}
CASE("ptrace", "TRACEME twice is EPERM") {
  CHILD(pid) {
    OK(PT(PTRACE_TRACEME, 0, 0, 0));
    FAILS(EPERM, PT(PTRACE_TRACEME, 0, 0, 0));
  }
  IS(0, ended(pid));
}
CASE("ptrace", "of an unknown request is EIO") {
  TRACED(pid, );
  FAILS(EIO, PT(9999, pid, 0, 0));
  FAILS(EIO, PT(PTRACE_CONT, pid, 0, 999));
}
CASE("ptrace", "GETSIGMASK and SETSIGMASK") {
  TRACED(pid, (raise(SIGUSR1), _exit(6)));
  uint64_t mask = 0;
  OK(PT(0x420a, pid, 8, &mask));
  mask |= 1 << (SIGUSR1 - 1);
  OK(PT(0x420b, pid, 8, &mask));
  next(pid, PTRACE_CONT, 0);
  IS(6, WEXITSTATUS(status));
  FAILS(ESRCH, PT(0x420a, pid, 8, &mask));
}
CASE("ptrace", "a call that is interrupted shows how it goes on") {
  TRACED(pid, pause());
  OK(PT(PTRACE_CONT, pid, 0, 0));
  sleep_ms(50);
  OK(kill(pid, SIGUSR1));
  IS(pid, waitpid(pid, &status, 0));
  OK(PT(PTRACE_GETREGS, pid, 0, &regs));
  IS(SYS_pause, regs.orig_rax);
  IS(-514, (long)regs.rax);
}
CASE("waitid", "of a tracee tells CLD_TRAPPED") {
  pid_t pid = OK(fork());
  if (pid == 0) {
    PT(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGUSR1);
    _exit(0);
  }
  siginfo_t i;
  OK(waitid(P_PID, (id_t)pid, &i, WSTOPPED));
  IS(CLD_TRAPPED, i.si_code);
  IS(SIGUSR1, i.si_status);
}

#define VM(name, pid, l, ln, r, rn, f) syscall(SYS_process_vm_##name, pid, l, ln, r, rn, f)
CASE("process_vm_readv", "reads another process's memory") {
  static char text[8] = "before";
  int p[2];
  OK(pipe(p));
  CHILD(pid) {
    strcpy(text, "child");
    write(p[1], "x", 1);
    pause();
  }
  char b[8] = {0}, c;
  IS(1, read(p[0], &c, 1));
  struct iovec l[2] = {{b, 2}, {b + 2, 4}}, r = {text, 6};
  IS(6, VM(readv, pid, l, 2, &r, 1, 0));
  SAME("child", b, 6);
}
CASE("process_vm_writev", "writes another process's memory") {
  static volatile int flag;
  CHILD(pid) {
    while (!flag) sleep_ms(5);
    _exit(flag);
  }
  int seven = 7;
  struct iovec l = {&seven, sizeof seven}, r = {(void *)&flag, sizeof flag};
  sleep_ms(20);
  IS(4, VM(writev, pid, &l, 1, &r, 1, 0));
  IS(7, ended(pid));
}
CASE("process_vm_readv", "of nothing is EFAULT, partly is what came") {
  char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), b[8192];
  OK(munmap(m + 4096, 4096));
  struct iovec l = {b, 8192}, r = {m, 8192}, n = {NOWHERE, 9};
  FAILS(EFAULT, VM(readv, getpid(), &l, 1, &n, 1, 0));
  IS(4096, VM(readv, getpid(), &l, 1, &r, 1, 0));
}
CASE("process_vm_readv", "with a flag is EINVAL, of nobody ESRCH") {
  char b[4];
  struct iovec l = {b, 4};
  FAILS(EINVAL, VM(readv, getpid(), &l, 1, &l, 1, 1));
  FAILS(ESRCH, VM(readv, 30000, &l, 1, &l, 1, 0));
  FAILS(EINVAL, VM(readv, getpid(), &l, 1025, &l, 1, 0));
}
CASE("process_vm_readv", "of another user's process is EPERM") {
  CHILD(pid) pause();
  char b[4];
  struct iovec l = {b, 4};
  become_user();
  FAILS(EPERM, VM(readv, pid, &l, 1, &l, 1, 0));
}
#define KCMP(a, b, kind, x, y) syscall(SYS_kcmp, a, b, kind, x, y)
CASE("kcmp", "tells whether descriptors are one file") {
  int d = dup(0);
  IS(0, KCMP(getpid(), getpid(), KCMP_FILE, 0, d));
  HOLDS(KCMP(getpid(), getpid(), KCMP_FILE, 0, OK(open("/", O_RDONLY))) > 0);
  FAILS(EBADF, KCMP(getpid(), getpid(), KCMP_FILE, 0, NO_FD));
}
CASE("kcmp", "tells whether memory is one") {
  CHILD(pid) pause();
  HOLDS(KCMP(getpid(), pid, KCMP_VM, 0, 0) > 0);
  IS(0, KCMP(pid, pid, KCMP_VM, 0, 0));
  HOLDS(KCMP(getpid(), pid, KCMP_FILES, 0, 0) > 0);
}
CASE("kcmp", "of nobody is ESRCH, of an unknown kind EINVAL") {
  FAILS(ESRCH, KCMP(30000, 30000, KCMP_VM, 0, 0));
  FAILS(EINVAL, KCMP(getpid(), getpid(), 99, 0, 0));
}

static volatile long watched_word;
static long debug_register(pid_t pid, int number) {
  errno = 0;
  long value = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg) + 8 * (size_t)number, NULL);
  IS(0, errno);
  return value;
}
static long set_debug_register(pid_t pid, int number, unsigned long value) {
  return ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg) + 8 * (size_t)number, value);
}
static __attribute__((noinline)) void write_watched(long value) { watched_word = value; }
static pid_t stopped_before_writing(void) {
  CHILD(pid) {
    OK(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    raise(SIGSTOP);
    for (volatile int i = 0; i < 100; i++) getppid();
    write_watched(5);
    write_watched(6);
  }
  IS(pid, waitpid(pid, NULL, 0));
  return pid;
}
static void goes_on_to_a_trap(pid_t pid) {
  int status;
  siginfo_t info;
  OK(ptrace(PTRACE_CONT, pid, NULL, NULL));
  IS(pid, waitpid(pid, &status, 0));
  IS(SIGTRAP << 8 | 0x7f, status);
  OK(ptrace(PTRACE_GETSIGINFO, pid, NULL, &info));
  IS(4, info.si_code);
}
CASE("ptrace", "a debug register stops what writes there, each time") {
  pid_t pid = stopped_before_writing();
  OK(set_debug_register(pid, 0, (unsigned long)&watched_word));
  OK(set_debug_register(pid, 7, 1 | 0x9ul << 16));
  goes_on_to_a_trap(pid);
  IS(1, debug_register(pid, 6) & 15);
  IS(5, ptrace(PTRACE_PEEKDATA, pid, &watched_word, NULL));
  OK(set_debug_register(pid, 6, 0));
  goes_on_to_a_trap(pid);
  IS(6, ptrace(PTRACE_PEEKDATA, pid, &watched_word, NULL));
  OK(set_debug_register(pid, 7, 0));
  OK(ptrace(PTRACE_CONT, pid, NULL, NULL));
  IS(0, ended(pid));
}
CASE("ptrace", "a debug register stops before an instruction, and lets it be made then") {
  pid_t pid = stopped_before_writing();
  OK(set_debug_register(pid, 2, (unsigned long)write_watched));
  OK(set_debug_register(pid, 7, 1 << 4));
  for (int i = 0; i < 2; i++) {
    goes_on_to_a_trap(pid);
    IS(4, debug_register(pid, 6) & 15);
    IS((long)write_watched, ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rip), NULL));
    OK(set_debug_register(pid, 6, 0));
  }
  OK(ptrace(PTRACE_CONT, pid, NULL, NULL));
  IS(0, ended(pid));
}
CASE("ptrace", "debug registers read as they were written, and refuse what cannot be") {
  pid_t pid = stopped_before_writing();
  OK(set_debug_register(pid, 1, (unsigned long)&watched_word));
  IS((long)&watched_word, debug_register(pid, 1));
  OK(set_debug_register(pid, 7, 1 << 2 | 0x9ul << 20));
  HOLDS((debug_register(pid, 7) & 0xf0000f) == (1 << 2 | 0x9ul << 20));
  FAILS(EINVAL, set_debug_register(pid, 0, ~0ul));
  FAILS(EINVAL, set_debug_register(pid, 7, 1 << 2 | 0x6ul << 20));
  OK(ptrace(PTRACE_KILL, pid, NULL, NULL));
  IS(128 + SIGKILL, ended(pid));
}
CASE("ptrace", "debug registers are one thread's, not its child's") {
  CHILD(pid) {
    OK(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    raise(SIGSTOP);
    CHILD(child) write_watched(5);
    _exit(ended(child));
  }
  IS(pid, waitpid(pid, NULL, 0));
  OK(set_debug_register(pid, 0, (unsigned long)&watched_word));
  OK(set_debug_register(pid, 7, 1 | 0x9ul << 16));
  int status;
  do {
    OK(ptrace(PTRACE_CONT, pid, NULL, NULL));
    IS(pid, waitpid(pid, &status, 0));
  } while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGCHLD);
  HOLDS(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
