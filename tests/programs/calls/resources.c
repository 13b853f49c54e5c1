// Limits, priorities, schedules and what was used.
#include "calls.h"

#define RAW(name, ...) syscall(SYS_##name, ##__VA_ARGS__)
static struct rlimit r;
CASE("getrlimit", "of an unknown resource is EINVAL") { FAILS(EINVAL, RAW(getrlimit, 99, &r)); }
FAILS_CASE("getrlimit", "into no memory is EFAULT", EFAULT, RAW(getrlimit, RLIMIT_CPU, NOWHERE))
CASE("setrlimit", "sets what getrlimit tells, for children too") {
  struct rlimit n = {100, 200};
  OK(RAW(setrlimit, RLIMIT_NOFILE, &n));
  OK(RAW(getrlimit, RLIMIT_NOFILE, &r));
  SAME(&n, &r, sizeof n);
  CHILD(pid) {
    OK(RAW(getrlimit, RLIMIT_NOFILE, &r));
    SAME(&n, &r, sizeof n);
  }
  IS(0, ended(pid));
}
CASE("setrlimit", "of more than the maximum is EINVAL") {
  struct rlimit n = {200, 100};
  FAILS(EINVAL, RAW(setrlimit, RLIMIT_NOFILE, &n));
}
CASE("setrlimit", "raising the maximum is the superuser's") {
  struct rlimit n = {100, 200};
  OK(RAW(setrlimit, RLIMIT_FSIZE, &n));
  become_user();
  n.rlim_max = 300;
  FAILS(EPERM, RAW(setrlimit, RLIMIT_FSIZE, &n));
  n.rlim_max = 150;
  OK(RAW(setrlimit, RLIMIT_FSIZE, &n));
}
FAILS_CASE("setrlimit", "of no memory is EFAULT", EFAULT, RAW(setrlimit, RLIMIT_CPU, NOWHERE))
CASE("prlimit64", "of another process") {
  CHILD(pid) pause();
  struct rlimit n = {10, 20};
  OK(prlimit(pid, RLIMIT_NOFILE, &n, NULL));
  OK(prlimit(pid, RLIMIT_NOFILE, NULL, &r));
  IS(10, r.rlim_cur);
}
CASE("prlimit64", "of nobody is ESRCH") { FAILS(ESRCH, prlimit(30000, RLIMIT_NOFILE, NULL, &r)); }
CASE("prlimit64", "of another user's is EPERM") {
  CHILD(pid) pause();
  become_user();
  FAILS(EPERM, prlimit(pid, RLIMIT_NOFILE, NULL, &r));
}
CASE("prlimit64", "of an unknown resource is EINVAL") { FAILS(EINVAL, prlimit(0, 99, NULL, &r)); }
CASE("fork", "beyond the limit of processes is EAGAIN for a user") {
  struct rlimit n = {1, 1};
  OK(RAW(setrlimit, RLIMIT_NPROC, &n));
  become_user();
  FAILS(EAGAIN, fork());
}
CASE("setrlimit", "RLIMIT_CPU: SIGXCPU at the limit, SIGKILL at the maximum") {
  CHILD(pid) {
    struct rlimit n = {1, 2};
    OK(RAW(setrlimit, RLIMIT_CPU, &n));
    signal(SIGXCPU, SIG_IGN);
    for (;;);
  }
  IS(128 + SIGKILL, ended(pid));
}
CASE("setrlimit", "RLIMIT_STACK: a stack beyond it is SIGSEGV") {
  CHILD(pid) {
    struct rlimit n = {1 << 20, 1 << 20};
    OK(RAW(setrlimit, RLIMIT_STACK, &n));
    volatile char *p = __builtin_frame_address(0);
    for (int i = 0; i < 4000; i++) p[-1024l * i] = 1;
  }
  IS(128 + SIGSEGV, ended(pid));
}
CASE("setrlimit", "RLIMIT_SIGPENDING: more queued signals are EAGAIN") {
  struct rlimit n = {2, 2};
  OK(RAW(setrlimit, RLIMIT_SIGPENDING, &n));
  sigset_t s;
  sigfillset(&s);
  sigprocmask(SIG_BLOCK, &s, NULL);
  become_user();
  union sigval v = {1};
  OK(sigqueue(getpid(), SIGRTMIN, v));
  OK(sigqueue(getpid(), SIGRTMIN, v));
  FAILS(EAGAIN, sigqueue(getpid(), SIGRTMIN, v));
  OK(kill(getpid(), SIGUSR1));
}

CASE("getpriority", "tells 20 less the nice value") {
  OK(setpriority(PRIO_PROCESS, 0, 5));
  IS(15, RAW(getpriority, PRIO_PROCESS, 0));
  CHILD(pid) IS(15, RAW(getpriority, PRIO_PROCESS, 0));
  IS(0, ended(pid));
}
CASE("setpriority", "is brought into range") {
  OK(setpriority(PRIO_PROCESS, 0, 99));
  IS(1, RAW(getpriority, PRIO_PROCESS, 0));
  OK(setpriority(PRIO_PROCESS, 0, -99));
  IS(40, RAW(getpriority, PRIO_PROCESS, 0));
}
CASE("setpriority", "of a group and of a user") {
  OK(setpriority(PRIO_PGRP, 0, 3));
  IS(17, RAW(getpriority, PRIO_PGRP, 0));
  FAILS(ESRCH, getpriority(PRIO_USER, 4242));
}
CASE("setpriority", "to better by a user is EACCES") {
  become_user();
  OK(setpriority(PRIO_PROCESS, 0, 15));
  FAILS(EACCES, setpriority(PRIO_PROCESS, 0, 14));
}
CASE("setpriority", "of another user's process is EPERM") {
  CHILD(pid) pause();
  become_user();
  FAILS(EPERM, setpriority(PRIO_PROCESS, pid, 5));
}
CASE("setpriority", "of nobody is ESRCH, of an unknown kind EINVAL") {
  FAILS(ESRCH, setpriority(PRIO_PROCESS, 30000, 5));
  FAILS(EINVAL, setpriority(9, 0, 5));
  FAILS(EINVAL, getpriority(9, 0));
}

static struct sched_param p;
#define SET(policy, priority) (p.sched_priority = priority, sched_setscheduler(0, policy, &p))
CASE("sched_setscheduler", "sets what sched_getscheduler and sched_getparam tell") {
  IS(SCHED_OTHER, sched_getscheduler(0));
  OK(SET(SCHED_FIFO, 10));
  IS(SCHED_FIFO, sched_getscheduler(0));
  OK(sched_getparam(0, &p));
  IS(10, p.sched_priority);
  OK(SET(SCHED_BATCH, 0));
  IS(SCHED_BATCH, sched_getscheduler(0));
  OK(SET(SCHED_IDLE, 0));
  OK(SET(SCHED_RR, 99));
}
CASE("sched_setscheduler", "of a priority that does not fit is EINVAL") {
  FAILS(EINVAL, SET(SCHED_FIFO, 0));
  FAILS(EINVAL, SET(SCHED_FIFO, 100));
  FAILS(EINVAL, SET(SCHED_OTHER, 1));
  FAILS(EINVAL, SET(SCHED_FIFO, -1));
}
CASE("sched_setscheduler", "of an unknown policy is EINVAL") {
  FAILS(EINVAL, SET(77, 0));
  FAILS(EINVAL, SET(-1, 0));
}
CASE("sched_setscheduler", "of nobody is ESRCH, of less EINVAL") {
  p.sched_priority = 0;
  FAILS(ESRCH, sched_setscheduler(30000, SCHED_OTHER, &p));
  FAILS(EINVAL, sched_setscheduler(-1, SCHED_OTHER, &p));
  FAILS(EINVAL, RAW(sched_setscheduler, 0, 0, NULL));
}
CASE("sched_setscheduler", "to real time by a user is EPERM") {
  become_user();
  FAILS(EPERM, SET(SCHED_FIFO, 1));
  OK(SET(SCHED_BATCH, 0));
}
CASE("sched_setscheduler", "SCHED_RESET_ON_FORK: a child has none of it") {
  OK(SET(SCHED_FIFO | SCHED_RESET_ON_FORK, 10));
  IS(SCHED_FIFO | SCHED_RESET_ON_FORK, sched_getscheduler(0));
  CHILD(pid) IS(SCHED_OTHER, sched_getscheduler(0));
  IS(0, ended(pid));
}
CASE("sched_setparam", "keeps the policy") {
  OK(SET(SCHED_RR, 10));
  p.sched_priority = 20;
  OK(sched_setparam(0, &p));
  IS(SCHED_RR, sched_getscheduler(0));
  p.sched_priority = 0;
  FAILS(EINVAL, sched_setparam(0, &p));
}
CASE("sched_getparam", "of no memory is EINVAL") {
  FAILS(EINVAL, RAW(sched_getparam, 0, NULL));
  FAILS(ESRCH, sched_getparam(30000, &p));
}
CASE("sched_get_priority_max", "by policy") {
  IS(99, sched_get_priority_max(SCHED_FIFO));
  IS(1, sched_get_priority_min(SCHED_RR));
  IS(0, sched_get_priority_max(SCHED_OTHER));
  FAILS(EINVAL, sched_get_priority_max(77));
  FAILS(EINVAL, sched_get_priority_min(-1));
}
CASE("sched_rr_get_interval", "of a round-robin task is a tenth of a second") {
  struct timespec t;
  OK(SET(SCHED_RR, 1));
  OK(RAW(sched_rr_get_interval, 0, &t));
  IS(100000000, t.tv_nsec);
  OK(SET(SCHED_FIFO, 1));
  OK(RAW(sched_rr_get_interval, 0, &t));
  IS(0, t.tv_nsec);
  FAILS(EINVAL, RAW(sched_rr_get_interval, -1, &t));
  FAILS(ESRCH, RAW(sched_rr_get_interval, 30000, &t));
}
struct attr {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t min, max;
};
static struct attr a;
CASE("sched_setattr", "sets what sched_getattr tells") {
  a = (struct attr){.size = 48, .policy = SCHED_OTHER, .nice = 7};
  OK(RAW(sched_setattr, 0, &a, 0));
  struct attr b = {0};
  OK(RAW(sched_getattr, 0, &b, sizeof b, 0));
  IS(7, b.nice);
  IS(SCHED_OTHER, b.policy);
  a = (struct attr){.size = 48, .policy = SCHED_FIFO, .priority = 3};
  OK(RAW(sched_setattr, 0, &a, 0));
  OK(RAW(sched_getattr, 0, &b, 48, 0));
  IS(3, b.priority);
  IS(48, b.size);
}
CASE("sched_setattr", "with a size too small is E2BIG and tells the right one") {
  a = (struct attr){.size = 8};
  FAILS(E2BIG, RAW(sched_setattr, 0, &a, 0));
  IS(56, a.size);
}
CASE("sched_setattr", "with a flag is EINVAL") {
  a = (struct attr){.size = 48};
  FAILS(EINVAL, RAW(sched_setattr, 0, &a, 1));
  a.flags = 1ull << 40;
  FAILS(EINVAL, RAW(sched_setattr, 0, &a, 0));
}
CASE("sched_getattr", "with a size too small is EINVAL") {
  FAILS(EINVAL, RAW(sched_getattr, 0, &a, 8, 0));
  FAILS(EINVAL, RAW(sched_getattr, 0, &a, 48, 1));
  FAILS(EINVAL, RAW(sched_getattr, -1, &a, 48, 0));
  FAILS(ESRCH, RAW(sched_getattr, 30000, &a, 48, 0));
}
CASE("sched_setaffinity", "to no processor is EINVAL") {
  unsigned long none = 0, one = 1;
  FAILS(EINVAL, RAW(sched_setaffinity, 0, 8, &none));
  OK(RAW(sched_setaffinity, 0, 8, &one));
  unsigned long got[16] = {0};
  OK(RAW(sched_getaffinity, 0, sizeof got, got));
  IS(1, got[0]);
}
CASE("sched_getaffinity", "into an odd size is EINVAL") {
  unsigned long got[16];
  FAILS(EINVAL, RAW(sched_getaffinity, 0, 7, got));
  FAILS(EINVAL, RAW(sched_getaffinity, 0, 0, got));
  FAILS(ESRCH, RAW(sched_getaffinity, 30000, 128, got));
  FAILS(EFAULT, RAW(sched_getaffinity, 0, 128, NOWHERE));
}
CASE("sched_setaffinity", "of nobody is ESRCH") {
  unsigned long one = 1;
  FAILS(ESRCH, RAW(sched_setaffinity, 30000, 8, &one));
  FAILS(EFAULT, RAW(sched_setaffinity, 0, 8, NOWHERE));
}
CASE("sched_yield", "works") { OK(sched_yield()); }
CASE("ioprio_set", "sets what ioprio_get tells") {
  OK(RAW(ioprio_set, 1, 0, 2 << 13 | 5));
  IS(2 << 13 | 5, RAW(ioprio_get, 1, 0));
  FAILS(EINVAL, RAW(ioprio_set, 1, 0, 7 << 13));
  FAILS(EINVAL, RAW(ioprio_set, 9, 0, 0));
  FAILS(ESRCH, RAW(ioprio_set, 1, 30000, 2 << 13));
}
CASE("getcpu", "tells a processor") {
  unsigned c = 99, n = 99;
  OK(RAW(getcpu, &c, &n, 0));
  HOLDS(c < 99 && n < 99);
  OK(RAW(getcpu, NULL, NULL, 0));
  FAILS(EFAULT, RAW(getcpu, NOWHERE, NULL, 0));
}
CASE("getrusage", "tells time used, more of it later") {
  struct rusage u, v;
  OK(getrusage(RUSAGE_SELF, &u));
  for (volatile int i = 0; i < 30000000; i++);
  OK(getrusage(RUSAGE_SELF, &v));
  HOLDS(v.ru_utime.tv_sec * 1000000 + v.ru_utime.tv_usec > u.ru_utime.tv_sec * 1000000 + u.ru_utime.tv_usec);
  HOLDS(v.ru_maxrss > 0);
}
CASE("getrusage", "of children counts those waited for") {
  struct rusage u;
  OK(getrusage(RUSAGE_CHILDREN, &u));
  IS(0, u.ru_utime.tv_sec + u.ru_utime.tv_usec);
  CHILD(pid) for (volatile int i = 0; i < 30000000; i++);
  IS(0, ended(pid));
  OK(getrusage(RUSAGE_CHILDREN, &u));
  HOLDS(u.ru_utime.tv_sec + u.ru_utime.tv_usec > 0);
}
CASE("getrusage", "time in the kernel is the system's") {
  struct rusage u;
  int fd = OK(open("/dev/zero", O_RDONLY));
  static char b[1 << 20];
  do {
    for (int i = 0; i < 20; i++) read(fd, b, sizeof b);
    OK(getrusage(RUSAGE_SELF, &u));
  } while (u.ru_stime.tv_sec + u.ru_stime.tv_usec == 0);
  HOLDS(u.ru_stime.tv_sec + u.ru_stime.tv_usec > 0);
}
CASE("getrusage", "of an unknown kind is EINVAL") {
  struct rusage u;
  FAILS(EINVAL, getrusage(9, &u));
  FAILS(EFAULT, RAW(getrusage, RUSAGE_SELF, NOWHERE));
}
CASE("acct", "by a user is EPERM") {
  become_user();
  FAILS(EPERM, acct(NULL));
}
