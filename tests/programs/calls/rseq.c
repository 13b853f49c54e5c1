// Restartable sequences, rseq(2). glibc has registered each thread's before a case begins.
#include "calls.h"
#include <sys/rseq.h>

static struct rseq *own(void) { return (void *)((char *)__builtin_thread_pointer() + __rseq_offset); }
static long rseq(struct rseq *at, uint32_t size, int flags, uint32_t signature) {
  return syscall(SYS_rseq, at, size, flags, signature);
}
enum { SIZE = 32 };

CASE("rseq", "is registered by the C library, and knows the processor") {
  HOLDS(__rseq_size >= 20);
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  OK(sched_setaffinity(0, sizeof first, &first));
  sleep_ms(1);
  IS(0, own()->cpu_id);
  IS(0, own()->cpu_id_start);
}
CASE("rseq", "twice is EBUSY, with another signature EPERM, with another address or size EINVAL") {
  static struct rseq other __attribute__((aligned(32)));
  FAILS(EBUSY, rseq(own(), SIZE, 0, RSEQ_SIG));
  FAILS(EPERM, rseq(own(), SIZE, 0, RSEQ_SIG + 1));
  FAILS(EINVAL, rseq(&other, SIZE, 0, RSEQ_SIG));
  FAILS(EINVAL, rseq(own(), SIZE + 32, 0, RSEQ_SIG));
}
FAILS_CASE("rseq", "with an unknown flag is EINVAL", EINVAL, rseq(own(), SIZE, 2, RSEQ_SIG))
CASE("rseq", "taken back leaves no processor, and can be made again") {
  FAILS(EPERM, rseq(own(), SIZE, RSEQ_FLAG_UNREGISTER, RSEQ_SIG + 1));
  FAILS(EINVAL, rseq(own(), SIZE - 4, RSEQ_FLAG_UNREGISTER, RSEQ_SIG));
  FAILS(EINVAL, rseq(own() + 1, SIZE, RSEQ_FLAG_UNREGISTER, RSEQ_SIG));
  OK(rseq(own(), SIZE, RSEQ_FLAG_UNREGISTER, RSEQ_SIG));
  IS((uint32_t)RSEQ_CPU_ID_UNINITIALIZED, own()->cpu_id);
  IS(0, own()->cpu_id_start);
  FAILS(EINVAL, rseq(own(), SIZE, RSEQ_FLAG_UNREGISTER, RSEQ_SIG));
  FAILS(EINVAL, rseq((void *)((char *)own() + 4), SIZE, 0, RSEQ_SIG));
  FAILS(EINVAL, rseq(own(), SIZE - 4, 0, RSEQ_SIG));
  OK(rseq(own(), SIZE, 0, RSEQ_SIG));
  volatile uint32_t *cpu = &own()->cpu_id;
  HOLDS(*cpu < 100000);
}
CASE("rseq", "is a child's, too, which has a copy of the memory") {
  CHILD(pid) FAILS(EBUSY, rseq(own(), SIZE, 0, RSEQ_SIG));
  IS(0, ended(pid));
}

// A stretch that never ends by itself, and what is true of one that was interrupted.
int spin(struct rseq *at, const void *section);
void spin_start(void), spin_end(void), spin_abort(void);
__asm__(".text\n"
        ".globl spin, spin_start, spin_end, spin_abort\n"
        "spin: mov %rsi, 8(%rdi)\n"
        "spin_start: pause\n"
        "  jmp spin_start\n"
        "spin_end: xor %eax, %eax\n"
        "  ret\n"
        "  .long 0x53053053\n"
        "spin_abort: mov $1, %eax\n"
        "  ret\n");
struct section {
  uint32_t version, flags;
  uint64_t start, length, abort;
} __attribute__((aligned(32)));
static struct section section(void) {
  return (struct section){.start = (uintptr_t)spin_start,
                          .length = (uintptr_t)spin_end - (uintptr_t)spin_start,
                          .abort = (uintptr_t)spin_abort};
}
static void only_one_processor(void) {
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  OK(sched_setaffinity(0, sizeof first, &first));
}

CASE("rseq", "a stretch interrupted by a signal is left before its handler runs") {
  struct section here = section();
  interrupt_soon();
  for (int i = 0; i < 3; i++) {
    IS(1, spin(own(), &here));
    IS(0, *(volatile uint64_t *)((char *)own() + 8));
  }
}
static volatile uintptr_t interrupted_at;
static void where(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  interrupted_at = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
}
CASE("rseq", "a handler sees that the stretch was left") {
  struct section here = section();
  struct sigaction action = {.sa_sigaction = where, .sa_flags = SA_SIGINFO};
  OK(sigaction(SIGALRM, &action, NULL));
  struct itimerval soon = {{0, 0}, {0, 10000}};
  OK(setitimer(ITIMER_REAL, &soon, NULL));
  do IS(1, spin(own(), &here));
  while (!interrupted_at);
  HOLDS(interrupted_at < (uintptr_t)spin_start || interrupted_at >= (uintptr_t)spin_end);
}
CASE("rseq", "a stretch interrupted by another's turn is left") {
  only_one_processor();
  struct section here = section();
  CHILD(pid) for (;;);
  for (int i = 0; i < 3; i++) IS(1, spin(own(), &here));
  OK(kill(pid, SIGKILL));
  IS(128 + SIGKILL, ended(pid));
}
static void nothing(int signal) { (void)signal; }
CASE("rseq", "what is outside of its stretch goes on, and the stretch is forgotten") {
  static struct section here;
  here = section();
  volatile uint64_t *pointer = (void *)((char *)own() + 8);
  signal(SIGUSR1, nothing);
  *pointer = (uintptr_t)&here;
  raise(SIGUSR1);
  IS(0, *pointer);
}
static int with(const struct section *here) {
  CHILD(pid) {
    interrupt_soon();
    spin(own(), here);
  }
  return ended(pid);
}
CASE("rseq", "a place to go on without the signature before it is SIGSEGV") {
  struct section here = section();
  here.abort = (uintptr_t)spin;
  IS(128 + SIGSEGV, with(&here));
}
CASE("rseq", "a place to go on inside the stretch is SIGSEGV") {
  struct section here = section();
  here.abort = here.start;
  IS(128 + SIGSEGV, with(&here));
}
CASE("rseq", "a stretch of an unknown version is SIGSEGV") {
  struct section here = section();
  here.version = 1;
  IS(128 + SIGSEGV, with(&here));
}
CASE("rseq", "a stretch that is no memory is SIGSEGV") {
  CHILD(pid) {
    interrupt_soon();
    spin(own(), NOWHERE);
  }
  IS(128 + SIGSEGV, ended(pid));
}
static void *registered(void *x) {
  FAILS(EBUSY, rseq(own(), SIZE, 0, RSEQ_SIG));
  return x;
}
CASE("rseq", "is each thread's own") {
  pthread_t thread;
  IS(0, pthread_create(&thread, NULL, registered, NULL));
  IS(0, pthread_join(thread, NULL));
}
