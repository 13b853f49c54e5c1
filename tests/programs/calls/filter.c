// seccomp: strict mode and filters.
#include "calls.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#define RAW(name, ...) syscall(SYS_##name, ##__VA_ARGS__)
#define NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
// Says `value` about one call and allows the others.
static long only(int number, unsigned value, unsigned flags) {
  struct sock_filter f[] = {NUMBER, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1), RETURN(value),
                            RETURN(SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {4, f};
  return RAW(seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}
static long load(struct sock_filter *f, unsigned short n) {
  struct sock_fprog program = {n, f};
  return RAW(seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
static long load_one(struct sock_filter f) {
  struct sock_filter both[] = {f, RETURN(SECCOMP_RET_ALLOW)};
  return load(both, 2);
}

CASE("seccomp", "a filter's errno is the call's") {
  OK(only(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV, 0));
  FAILS(EXDEV, RAW(getppid));
  OK(RAW(getpid));
}
CASE("seccomp", "an errno of 0 is 0, a large one is 4095") {
  OK(only(SYS_getppid, SECCOMP_RET_ERRNO, 0));
  IS(0, RAW(getppid));
  OK(only(SYS_getppid, SECCOMP_RET_ERRNO | 0xffff, 0));
}
CASE("seccomp", "KILL_PROCESS ends by SIGSYS") {
  CHILD(pid) {
    OK(only(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0));
    RAW(getppid);
  }
  IS(128 + SIGSYS, ended(pid));
}
CASE("seccomp", "KILL_THREAD of the only thread ends by SIGSYS") {
  CHILD(pid) {
    OK(only(SYS_getppid, SECCOMP_RET_KILL_THREAD, 0));
    RAW(getppid);
  }
  IS(128 + SIGSYS, ended(pid));
}
CASE("seccomp", "an unknown action kills") {
  CHILD(pid) {
    OK(only(SYS_getppid, 0x12340000, 0));
    RAW(getppid);
  }
  IS(128 + SIGSYS, ended(pid));
}
static volatile int seen_code, seen_errno, seen_call;
static unsigned seen_arch;
static void on_sys(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  seen_code = info->si_code, seen_errno = info->si_errno, seen_call = info->si_syscall, seen_arch = info->si_arch;
}
CASE("seccomp", "TRAP is SIGSYS that tells the call") {
  struct sigaction a = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};
  OK(sigaction(SIGSYS, &a, NULL));
  OK(only(SYS_getppid, SECCOMP_RET_TRAP | 77, 0));
  IS(SYS_getppid, RAW(getppid));
  IS(1, seen_code);
  IS(77, seen_errno);
  IS(SYS_getppid, seen_call);
  IS(0xc000003e, seen_arch);
}
CASE("seccomp", "TRACE without a tracer is ENOSYS") {
  OK(only(SYS_getppid, SECCOMP_RET_TRACE, 0));
  FAILS(ENOSYS, RAW(getppid));
}
CASE("seccomp", "LOG allows") {
  OK(only(SYS_getppid, SECCOMP_RET_LOG, 0));
  OK(RAW(getppid));
}
CASE("seccomp", "the strongest of several filters counts") {
  OK(only(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV, 0));
  OK(only(SYS_getppid, SECCOMP_RET_TRACE, 0));
  FAILS(EXDEV, RAW(getppid));
}
CASE("seccomp", "of equal filters the newest counts") {
  OK(only(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV, 0));
  OK(only(SYS_getppid, SECCOMP_RET_ERRNO | ELOOP, 0));
  FAILS(ELOOP, RAW(getppid));
}
CASE("seccomp", "a child has its parent's filters") {
  OK(only(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV, 0));
  CHILD(pid) FAILS(EXDEV, RAW(getppid));
  IS(0, ended(pid));
}
CASE("seccomp", "a filter sees arguments") {
  struct sock_filter f[] = {NUMBER,
                            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_dup, 0, 3),
                            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16),
                            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
                            RETURN(SECCOMP_RET_ERRNO | EXDEV),
                            RETURN(SECCOMP_RET_ALLOW)};
  OK(load(f, 6));
  FAILS(EXDEV, dup(1));
  OK(dup(0));
}
CASE("seccomp", "arithmetic, memory and jumps") {
  struct sock_filter f[] = {NUMBER,
                            BPF_STMT(BPF_ST, 3),
                            BPF_STMT(BPF_LD | BPF_IMM, 7),
                            BPF_STMT(BPF_MISC | BPF_TAX, 0),
                            BPF_STMT(BPF_LD | BPF_MEM, 3),
                            BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
                            BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 2),
                            BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 1),
                            BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 7),
                            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
                            RETURN(SECCOMP_RET_ERRNO | EXDEV),
                            RETURN(SECCOMP_RET_ALLOW)};
  OK(load(f, 12));
  FAILS(EXDEV, RAW(getppid));
  OK(RAW(getpid));
}
CASE("seccomp", "by a user without PR_SET_NO_NEW_PRIVS is EACCES") {
  become_user();
  FAILS(EACCES, only(SYS_getppid, SECCOMP_RET_ALLOW, 0));
  OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  OK(only(SYS_getppid, SECCOMP_RET_ALLOW, 0));
}
CASE("seccomp", "of an empty program is EINVAL") { FAILS(EINVAL, load(NULL, 0)); }
CASE("seccomp", "of a program that does not return is EINVAL") {
  struct sock_filter f = NUMBER;
  FAILS(EINVAL, load(&f, 1));
}
CASE("seccomp", "of a program that looks outside is EINVAL") {
  FAILS(EINVAL, load_one((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64)));
  FAILS(EINVAL, load_one((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2)));
}
CASE("seccomp", "of a jump outside is EINVAL") {
  FAILS(EINVAL, load_one((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 9, 0)));
}
CASE("seccomp", "of a division by 0 is EINVAL") {
  FAILS(EINVAL, load_one((struct sock_filter)BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0)));
}
CASE("seccomp", "of a byte load is EINVAL") {
  FAILS(EINVAL, load_one((struct sock_filter)BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0)));
}
CASE("seccomp", "of a program in no memory is EFAULT") {
  FAILS(EFAULT, load(NOWHERE, 3));
  FAILS(EFAULT, RAW(seccomp, SECCOMP_SET_MODE_FILTER, 0, NOWHERE));
}
CASE("seccomp", "of an unknown operation or flag is EINVAL") {
  FAILS(EINVAL, RAW(seccomp, 99, 0, 0));
  FAILS(EINVAL, only(SYS_getppid, SECCOMP_RET_ALLOW, 1 << 20));
  FAILS(EINVAL, RAW(seccomp, SECCOMP_SET_MODE_STRICT, 1, 0));
}
CASE("seccomp", "GET_ACTION_AVAIL") {
  unsigned a = SECCOMP_RET_TRAP;
  OK(RAW(seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &a));
  a = 0x12340000;
  FAILS(EOPNOTSUPP, RAW(seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &a));
}
CASE("seccomp", "TSYNC gives the filter to all threads") {
  OK(only(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV, SECCOMP_FILTER_FLAG_TSYNC));
  FAILS(EXDEV, RAW(getppid));
}
CASE("seccomp", "strict mode: another call is SIGKILL") {
  CHILD(pid) {
    OK(RAW(seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL));
    RAW(getppid);
  }
  IS(128 + SIGKILL, ended(pid));
}
CASE("seccomp", "strict mode: write and exit work") {
  CHILD(pid) {
    OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
    write(1, "", 0);
    RAW(exit, 5);
  }
  IS(5, ended(pid));
}
CASE("prctl", "PR_GET_SECCOMP tells the mode") {
  IS(0, prctl(PR_GET_SECCOMP));
  OK(only(SYS_getppid, SECCOMP_RET_ALLOW, 0));
  IS(2, prctl(PR_GET_SECCOMP));
  HOLDS(strstr(read_file("/proc/self/status"), "Seccomp:\t2\n") != NULL);
}
CASE("prctl", "PR_SET_SECCOMP of a filter") {
  struct sock_filter f[] = {RETURN(SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {1, f};
  OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
  FAILS(EINVAL, prctl(PR_SET_SECCOMP, 9, 0));
}
CASE("seccomp", "strict mode after a filter is EINVAL") {
  OK(only(SYS_getppid, SECCOMP_RET_ALLOW, 0));
  FAILS(EINVAL, RAW(seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL));
}
