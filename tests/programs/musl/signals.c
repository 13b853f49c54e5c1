#include "musl.h"
#include <ucontext.h>

static volatile int count, on_alternate;
static volatile siginfo_t seen;
static char alternate[65536];

static void note(int signal, siginfo_t *info, void *context) {
  char here;
  on_alternate = &here >= alternate && &here < alternate + sizeof alternate;
  seen = *info;
  count++;
  (void)signal, (void)context;
}

static void install(int signal, int flags) {
  struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | flags};
  sigaction(signal, &action, 0);
}

static int signals(int argc, char **argv) {
  (void)argc, (void)argv;
  install(SIGUSR1, 0);
  raise(SIGUSR1);
  printf("raised: %d, code %d, from me: %d\n", seen.si_signo, seen.si_code, seen.si_pid == getpid());
  sigset_t set, old;
  sigemptyset(&set), sigaddset(&set, SIGUSR1);
  TRY(sigprocmask(SIG_BLOCK, &set, &old));
  count = 0;
  kill(getpid(), SIGUSR1), kill(getpid(), SIGUSR1);
  printf("blocked: %d\n", count);
  sigset_t pending;
  sigpending(&pending);
  printf("pending: %d\n", sigismember(&pending, SIGUSR1));
  sigprocmask(SIG_SETMASK, &old, 0);
  printf("delivered once: %d\n", count);
  install(SIGRTMIN, 0);
  sigaddset(&set, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &set, 0);
  count = 0;
  for (int i = 0; i < 3; i++) sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 10 + i});
  sigprocmask(SIG_SETMASK, &old, 0);
  printf("queued each: %d, last value %d code %d\n", count, seen.si_value.sival_int, seen.si_code);
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  TRY(sigaltstack(&stack, 0));
  install(SIGUSR2, SA_ONSTACK);
  raise(SIGUSR2);
  printf("on the alternate stack: %d\n", on_alternate);
  raise(SIGUSR1);
  printf("on the ordinary stack: %d\n", on_alternate);
  install(SIGUSR2, SA_RESETHAND);
  raise(SIGUSR2);
  struct sigaction now;
  sigaction(SIGUSR2, 0, &now);
  printf("reset: %d\n", now.sa_handler == SIG_DFL);
  TRY(kill(getpid(), 65));
  TRY(kill(getpid(), 0));
  TRY(sigaction(SIGKILL, &now, 0));
  sigemptyset(&set), sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, 0);
  if (fork() == 0) _exit(4);
  siginfo_t info;
  SHOW(sigwaitinfo(&set, &info) == SIGCHLD);
  printf("child: code %d status %d\n", info.si_code, info.si_status);
  struct timespec soon = {0, 1000000};
  SHOW(sigtimedwait(&set, 0, &soon));
  return 0;
}

static void later(int microseconds) {
  struct itimerval timer = {.it_value = {0, microseconds}};
  setitimer(ITIMER_REAL, &timer, 0);
}

static int restart(int argc, char **argv) {
  (void)argc, (void)argv;
  int pipes[2];
  char byte;
  pipe(pipes);
  install(SIGALRM, 0);
  later(20000);
  SHOW(read(pipes[0], &byte, 1));
  install(SIGALRM, SA_RESTART);
  count = 0;
  if (fork() == 0) {
    usleep(80000);
    write(pipes[1], "x", 1);
    _exit(0);
  }
  later(20000);
  SHOW(read(pipes[0], &byte, 1));
  printf("handlers run: %d\n", count);
  wait(0);
  // Never restarted, whatever the flag says.
  later(20000);
  struct timespec time = {5, 0}, rest = {0, 0};
  SHOW(nanosleep(&time, &rest));
  printf("rest below five: %d\n", rest.tv_sec == 4);
  later(20000);
  SHOW(poll(0, 0, 5000));
  later(20000);
  SHOW(pause());
  sigset_t none;
  sigemptyset(&none);
  later(20000);
  SHOW(sigsuspend(&none));
  // A stop and a continue restart what has no handler.
  pid_t child = fork();
  if (child == 0) _exit(read(pipes[0], &byte, 1) == 1 ? 11 : 12);
  usleep(20000);
  kill(child, SIGSTOP);
  int status;
  SHOW(waitpid(child, &status, WUNTRACED) == child);
  printf("stopped by %d\n", WSTOPSIG(status));
  kill(child, SIGCONT);
  SHOW(waitpid(child, &status, WCONTINUED) == child);
  printf("continued: %d\n", WIFCONTINUED(status));
  write(pipes[1], "x", 1);
  waitpid(child, &status, 0);
  printf("its read was restarted: %d\n", WEXITSTATUS(status));
  return 0;
}

static sigjmp_buf back;
static volatile long trapped_at;

static void on_exception(int signal, siginfo_t *info, void *context) {
  ucontext_t *machine = context;
  printf("signal %d code %d trap %lld address is rip: %d\n", signal, info->si_code,
         (long long)machine->uc_mcontext.gregs[REG_TRAPNO],
         (long long)info->si_addr == machine->uc_mcontext.gregs[REG_RIP]);
  fflush(stdout);
  trapped_at = machine->uc_mcontext.gregs[REG_RIP];
  siglongjmp(back, 1);
}

static void step_over(int signal, siginfo_t *info, void *context) {
  ucontext_t *machine = context;
  machine->uc_mcontext.gregs[REG_RIP] += 2;
  machine->uc_mcontext.gregs[REG_RBX] = 77;
  (void)signal, (void)info;
}

static int exceptions(int argc, char **argv) {
  (void)argc, (void)argv;
  struct sigaction action = {.sa_sigaction = on_exception, .sa_flags = SA_SIGINFO};
  int all[] = {SIGFPE, SIGILL, SIGTRAP, SIGSEGV, SIGBUS};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) sigaction(all[i], &action, 0);
  if (!sigsetjmp(back, 1)) __asm__ volatile("xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; div %%ecx" ::: "eax", "ecx", "edx");
  if (!sigsetjmp(back, 1)) __asm__ volatile("ud2");
  if (!sigsetjmp(back, 1)) __asm__ volatile("int3");
  if (!sigsetjmp(back, 1)) __asm__ volatile("hlt");
  if (!sigsetjmp(back, 1)) __asm__ volatile("pushf; orl $0x100, (%%rsp); popf; nop" ::: "memory");
  if (!sigsetjmp(back, 1)) __asm__ volatile("mov $0x8000000000000000, %%rax; mov (%%rax), %%rax" ::: "rax");
  action.sa_sigaction = step_over;
  sigaction(SIGILL, &action, 0);
  long changed;
  __asm__ volatile("mov $1, %%rbx; ud2; mov %%rbx, %0" : "=r"(changed)::"rbx");
  printf("a handler's changes stay: %ld\n", changed);
  pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_IGN);
    *(volatile int *)0 = 1;
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  printf("an ignored fault kills: %d\n", WTERMSIG(status));
  return 0;
}

const struct part signal_parts[] = {
    {"signals", signals}, {"restart", restart}, {"exceptions", exceptions}, {0, 0}};
