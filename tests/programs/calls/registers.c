// The registers of a program are its own: over system calls, signals and other programs, the YMM registers too, where
// the processor has them.
#include "calls.h"
#include <immintrin.h>
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <ucontext.h>

static bool has_avx(void) { return __builtin_cpu_supports("avx"); }

__attribute__((target("avx"))) static void set_all(double value) {
  __asm__ volatile("vbroadcastsd %0, %%ymm0\n vmovapd %%ymm0, %%ymm1\n vmovapd %%ymm0, %%ymm7\n vmovapd %%ymm0, "
                   "%%ymm8\n vmovapd %%ymm0, %%ymm15"
                   :
                   : "m"(value)
                   : "xmm0", "xmm1", "xmm7", "xmm8", "xmm15");
}
__attribute__((target("avx"))) static bool all_are(double value) {
  double seen[4][4];
  __asm__ volatile("vmovupd %%ymm1, %0\n vmovupd %%ymm7, %1\n vmovupd %%ymm8, %2\n vmovupd %%ymm15, %3"
                   : "=m"(seen[0]), "=m"(seen[1]), "=m"(seen[2]), "=m"(seen[3]));
  for (int i = 0; i < 16; i++)
    if (seen[i / 4][i % 4] != value) return false;
  return true;
}

// Calls the kernel without a library between, which may use the registers.
static long plain(long number, long first) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(first) : "rcx", "r11", "memory");
  return result;
}

static void scribble(int signal) {
  (void)signal;
  set_all(-1);
}
CASE("rt_sigreturn", "gives the YMM registers back") {
  if (!has_avx()) return;
  signal(SIGUSR1, scribble);
  long self = getpid();
  set_all(2.5);
  register long number __asm__("rax") = SYS_kill;
  __asm__ volatile("syscall" : "+r"(number) : "D"(self), "S"((long)SIGUSR1) : "rcx", "r11", "memory");
  HOLDS(all_are(2.5));
}
CASE("sched_yield", "keeps the YMM registers of each process") {
  if (!has_avx()) return;
  for (int i = 1; i <= 3; i++) {
    CHILD(pid) {
      set_all(i);
      for (int round = 0; round < 200; round++) {
        plain(SYS_sched_yield, 0);
        if (!all_are(i)) _exit(1);
      }
    }
  }
  for (int i = 0; i < 3; i++) IS(0, ended(-1));
}
CASE("fork", "gives the child its parent's YMM registers") {
  if (!has_avx()) return;
  set_all(7.25);
  long pid = plain(SYS_fork, 0);
  bool kept = all_are(7.25);
  if (pid == 0) _exit(kept ? 0 : 1);
  HOLDS(kept);
  IS(0, ended((pid_t)pid));
}
static void look(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  ucontext_t *frame = context;
  const uint32_t *words = (const uint32_t *)((const char *)frame->uc_mcontext.fpregs + 464);
  bool extended = frame->uc_flags & 1;
  HOLDS(extended == (words[0] == 0x46505853));
  if (!extended) return;
  HOLDS(words[2] & 4 && words[1] == words[4] + 4 && words[4] >= 832);
  uint32_t end;
  memcpy(&end, (const char *)frame->uc_mcontext.fpregs + words[4], 4);
  IS(0x46505845, end);
  HOLDS((uintptr_t)frame->uc_mcontext.fpregs % 64 == 0);
}
CASE("rt_sigaction", "the frame of a handler says what is behind its FXSAVE image") {
  struct sigaction action = {.sa_sigaction = look, .sa_flags = SA_SIGINFO};
  OK(sigaction(SIGUSR1, &action, NULL));
  OK(raise(SIGUSR1));
}
static void change(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  ucontext_t *frame = context;
  frame->uc_mcontext.gregs[REG_RBX] = 42;
}
CASE("rt_sigreturn", "loads what a handler changed in its frame") {
  struct sigaction action = {.sa_sigaction = change, .sa_flags = SA_SIGINFO};
  OK(sigaction(SIGUSR1, &action, NULL));
  register long rbx __asm__("rbx") = 1;
  long self = getpid(), number = SYS_kill;
  __asm__ volatile("syscall" : "+a"(number), "+r"(rbx) : "D"(self), "S"((long)SIGUSR1) : "rcx", "r11", "memory");
  IS(42, rbx);
}
static unsigned char area[1 << 15] __attribute__((aligned(64)));
CASE("ptrace", "GETREGSET and SETREGSET of the YMM registers") {
  if (!has_avx()) return;
  CHILD(pid) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    long self = getpid();
    set_all(1.5);
    register long number __asm__("rax") = SYS_kill;
    __asm__ volatile("syscall" : "+r"(number) : "D"(self), "S"((long)SIGSTOP) : "rcx", "r11", "memory");
    _exit(all_are(-2.25) ? 0 : 1);
  }
  int status;
  OK(waitpid((pid_t)pid, &status, 0));
  HOLDS(WIFSTOPPED(status));
  struct iovec all = {area, sizeof area};
  OK(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &all));
  HOLDS(all.iov_len >= 832);
  uint64_t known, present;
  memcpy(&known, area + 464, 8);
  memcpy(&present, area + 512, 8);
  HOLDS((known & present & 6) == 6);
  double halves[2][2] = {{-2.25, -2.25}, {-2.25, -2.25}};
  for (int i = 0; i < 16; i++) {
    if (i == 7) HOLDS(*(double *)(area + 160 + i * 16) == 1.5 && *(double *)(area + 584 + i * 16) == 1.5);
    memcpy(area + 160 + i * 16, halves[0], 16);
    memcpy(area + 576 + i * 16, halves[1], 16);
  }
  struct iovec less = {area, 576};
  FAILS(EFAULT, ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &less));
  area[520] = 1;
  FAILS(EINVAL, ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &all));
  area[520] = 0;
  OK(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &all));
  OK(ptrace(PTRACE_CONT, pid, 0, 0));
  IS(0, ended((pid_t)pid));
}
