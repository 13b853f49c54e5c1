#include "musl.h"
#include <sys/prctl.h>

static int waiting(int argc, char **argv) {
  (void)argc, (void)argv;
  int status;
  SHOW(wait(&status));
  pid_t child = fork();
  if (child == 0) _exit(42);
  SHOW(waitpid(child, &status, 0) == child);
  printf("exit %d %d\n", WIFEXITED(status), WEXITSTATUS(status));
  child = fork();
  if (child == 0) abort();
  waitpid(child, &status, 0);
  printf("signal %d %d\n", WIFSIGNALED(status), WTERMSIG(status));
  child = fork();
  if (child == 0) pause();
  SHOW(waitpid(child, &status, WNOHANG));
  kill(child, SIGKILL);
  siginfo_t info;
  SHOW(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
  printf("waitid: %d %d %d\n", info.si_pid == child, info.si_code, info.si_status);
  SHOW(waitid(P_PID, child, &info, WEXITED));
  SHOW(waitid(P_PID, child, &info, WEXITED));
  SHOW(waitpid(child, &status, 0x4000));
  struct rusage usage;
  child = fork();
  if (child == 0) _exit(1);
  SHOW(wait4(child, &status, 0, &usage) == child);
  // An orphan goes to init and its end is nobody's here.
  child = fork();
  if (child == 0) {
    if (fork() == 0) _exit(3);
    _exit(0);
  }
  waitpid(child, 0, 0);
  SHOW(wait(&status));
  child = vfork();
  if (child == 0) _exit(17);
  waitpid(child, &status, 0);
  printf("vfork %d\n", WEXITSTATUS(status));
  signal(SIGCHLD, SIG_IGN);
  child = fork();
  if (child == 0) _exit(1);
  SHOW(waitpid(child, &status, 0));
  return 0;
}

static int groups(int argc, char **argv) {
  (void)argc, (void)argv;
  pid_t child = fork();
  if (child == 0) {
    TRY(setpgid(0, 0));
    SHOW(getpgrp() == getpid());
    TRY(setsid());
    TRY(setpgid(0, 99999999));
    for (int i = 0; i < 3; i++)
      if (fork() == 0) pause();
    signal(SIGTERM, SIG_IGN);
    TRY(kill(0, SIGTERM));
    int killed = 0, status;
    while (wait(&status) > 0) killed += WTERMSIG(status) == SIGTERM;
    printf("the whole group: %d\n", killed);
    exit(0);
  }
  waitpid(child, 0, 0);
  child = fork();
  if (child == 0) {
    SHOW(setsid() == getpid());
    SHOW(getsid(0) == getpid());
    SHOW(setsid());
    exit(0);
  }
  waitpid(child, 0, 0);
  SHOW(getpgid(99999999));
  SHOW(kill(-99999999, 0));
  prctl(PR_SET_NAME, "renamed");
  char name[16];
  prctl(PR_GET_NAME, name);
  puts(name);
  TRY(setuid(1000));
  SHOW(getuid());
  TRY(setuid(0));
  SHOW(kill(getppid(), 0));
  return 0;
}

static void *add(void *argument) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  for (int i = 0; i < 10000; i++) {
    pthread_mutex_lock(&mutex);
    ++*(long *)argument;
    pthread_mutex_unlock(&mutex);
  }
  return (void *)7;
}

static pthread_mutex_t turn_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static volatile int ends[3];

static void child_ended(int number) { ends[number == SIGUSR1 ? 0 : number == SIGUSR2 ? 1 : 2]++; }

static void tell_ends(const char *what) {
  printf("%s: %d %d %d\n", what, ends[0], ends[1], ends[2]);
  ends[0] = ends[1] = ends[2] = 0;
}

static int ending(int argc, char **argv) {
  (void)argc, (void)argv;
  int status;
  signal(SIGUSR1, child_ended), signal(SIGUSR2, child_ended), signal(SIGCHLD, child_ended);
  pid_t child = (pid_t)syscall(SYS_clone, SIGUSR1, 0, 0, 0, 0);
  if (child == 0) _exit(1);
  SHOW(waitpid(child, &status, 0));
  SHOW(waitpid(child, &status, __WCLONE) == child);
  tell_ends("another signal");
  child = (pid_t)syscall(SYS_clone, SIGUSR1, 0, 0, 0, 0);
  if (child == 0) execl("/bin/busybox", "true", (char *)0), _exit(9);
  SHOW(waitpid(child, &status, __WALL) == child);
  tell_ends("another signal, before execve");
  // A sibling made by a child tells its end as the child would.
  child = fork();
  if (child == 0) {
    syscall(SYS_clone, CLONE_PARENT | SIGUSR2, 0, 0, 0, 0);
    _exit(1);
  }
  SHOW(wait(&status) > 0);
  SHOW(wait(&status) > 0);
  SHOW(wait(&status));
  printf("a sibling: %d\n", ends[1]);
  return 0;
}

static int turn;
static _Thread_local int own = 5;

static void *take_turns(void *argument) {
  int me = (int)(long)argument;
  own += me;
  pthread_mutex_lock(&turn_mutex);
  for (int i = 0; i < 100; i++) {
    while (turn != me) pthread_cond_wait(&turn_changed, &turn_mutex);
    turn = !me;
    pthread_cond_broadcast(&turn_changed);
  }
  pthread_mutex_unlock(&turn_mutex);
  return (void *)(long)own;
}

static int threads(int argc, char **argv) {
  (void)argc, (void)argv;
  long sum = 0;
  pthread_t all[4];
  for (int i = 0; i < 4; i++) SHOW(pthread_create(&all[i], 0, add, &sum));
  void *result;
  for (int i = 0; i < 4; i++) pthread_join(all[i], &result);
  printf("%ld %ld\n", sum, (long)result);
  for (long i = 0; i < 2; i++) pthread_create(&all[i], 0, take_turns, (void *)i);
  for (int i = 0; i < 2; i++) pthread_join(all[i], &result), printf("own %ld\n", (long)result);
  struct timespec soon;
  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_nsec += 10000000;
  if (soon.tv_nsec >= 1000000000) soon.tv_sec++, soon.tv_nsec -= 1000000000;
  pthread_mutex_lock(&turn_mutex);
  printf("%s\n", strerror(pthread_cond_timedwait(&turn_changed, &turn_mutex, &soon)));
  // exit_group ends threads that wait for ever.
  pthread_mutex_unlock(&turn_mutex);
  turn = 2;
  pthread_create(&all[0], 0, take_turns, (void *)0);
  return 0;
}

static int clocks(int argc, char **argv) {
  (void)argc, (void)argv;
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  usleep(20000);
  clock_gettime(CLOCK_MONOTONIC, &b);
  long slept = (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
  printf("slept long enough: %d\n", slept >= 20000000);
  int back = 0;
  for (int i = 0; i < 1000; i++) {
    clock_gettime(CLOCK_MONOTONIC, &a);
    back |= a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
    b = a;
  }
  printf("went back: %d\n", back);
  clock_gettime(CLOCK_REALTIME, &a);
  printf("after 2025: %d\n", a.tv_sec > 1735689600);
  SHOW(clock_gettime(9999, &a));
  SHOW(clock_getres(CLOCK_MONOTONIC, &a));
  struct timespec wrong = {0, 1000000000};
  SHOW(nanosleep(&wrong, 0));
  clock_gettime(CLOCK_MONOTONIC, &a);
  SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &a, 0));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
  for (volatile long i = 0; i < 3000000; i++) {}
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
  printf("computing took time: %d\n", b.tv_sec > a.tv_sec || b.tv_nsec > a.tv_nsec);
  return 0;
}

static int unknown(int argc, char **argv) {
  (void)argc, (void)argv;
  SHOW(syscall(9999));
  SHOW(syscall(-1));
  SHOW(syscall(500));
  return 0;
}

// Prints what execve says of a file that should not run.
static int execute(int argc, char **argv) {
  pid_t child = fork();
  if (child == 0) {
    char *arguments[] = {argv[2], 0}, *environment[] = {0};
    execve(argc > 2 ? argv[2] : "", arguments, environment);
    show("execve", -1);
    exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) printf("signal %d\n", WTERMSIG(status));
  return 0;
}

// Writes headers of programs this processor cannot run.
static int foreign(int argc, char **argv) {
  (void)argc, (void)argv;
  unsigned char header[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1, [16] = 2, [18] = 183, [20] = 1};
  int fd = open("arm", O_WRONLY | O_CREAT, 0755);
  write(fd, header, sizeof header);
  close(fd);
  header[4] = 1, header[18] = 8;
  fd = open("elf32", O_WRONLY | O_CREAT, 0755);
  write(fd, header, sizeof header);
  return close(fd);
}

// What our own gate says to a program without the note. On Linux this is a call of another table: never compared.
static int closed_gate(int argc, char **argv) {
  (void)argc, (void)argv;
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(17l) : "memory");
  printf("%ld\n", result);
  return 0;
}

const struct part process_parts[] = {{"wait", waiting},   {"ending", ending},   {"groups", groups},   {"threads", threads},
                                     {"clocks", clocks},  {"unknown", unknown}, {"exec", execute},
                                     {"foreign", foreign}, {"closed-gate", closed_gate}, {0, 0}};
