// Timers that send signals, and sleeping by any clock.
#include "calls.h"
#include <sys/times.h>

static int id;
static struct sigevent event;
static int make_(clockid_t clock, int signal) {
  event = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal, .sigev_value.sival_int = 42};
  return (int)syscall(SYS_timer_create, clock, &event, &id);
}
static void make(int signal) { OK(make_(CLOCK_MONOTONIC, signal)); }
#define MS 1000000L
static int set(int flags, long first, long interval) {
  struct itimerspec new = {{interval / (1000 * MS), interval % (1000 * MS)},
                           {first / (1000 * MS), first % (1000 * MS)}};
  return (int)syscall(SYS_timer_settime, id, flags, &new, NULL);
}
static siginfo_t info;
static int await(int signal) {
  sigset_t only;
  sigemptyset(&only), sigaddset(&only, signal);
  return sigtimedwait(&only, &info, &(struct timespec){5, 0});
}
static void block(int signal) {
  sigset_t only;
  sigemptyset(&only), sigaddset(&only, signal);
  OK(sigprocmask(SIG_BLOCK, &only, NULL));
}
static void burn(long ms) {
  struct timespec start, now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
  do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / MS < ms);
}

CASE("timer_create", "sends its signal with its value") {
  block(SIGUSR1);
  make(SIGUSR1);
  OK(set(0, MS, 0));
  IS(SIGUSR1, await(SIGUSR1));
  IS(SI_TIMER, info.si_code);
  IS(42, info.si_value.sival_int);
  IS(0, info.si_overrun);
}
CASE("timer_create", "without an event sends SIGALRM with its number") {
  block(SIGALRM);
  OK(syscall(SYS_timer_create, CLOCK_REALTIME, NULL, &id));
  OK(set(0, MS, 0));
  IS(SIGALRM, await(SIGALRM));
  IS(id, info.si_value.sival_int);
}
CASE("timer_create", "SIGEV_NONE sends nothing") {
  struct itimerspec left;
  event = (struct sigevent){.sigev_notify = SIGEV_NONE};
  OK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
  OK(set(0, MS, 0));
  sleep_ms(10);
  OK(syscall(SYS_timer_gettime, id, &left));
  IS(0, left.it_value.tv_sec + left.it_value.tv_nsec);
}
CASE("timer_create", "SIGEV_THREAD_ID sends to a thread") {
  block(SIGUSR1);
  event = (struct sigevent){.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
  event._sigev_un._tid = gettid();
  OK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
  OK(set(0, MS, 0));
  IS(SIGUSR1, await(SIGUSR1));
}
CASE("timer_create", "SIGEV_THREAD_ID of another process is EINVAL") {
  event = (struct sigevent){.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
  event._sigev_un._tid = getppid();
  FAILS(EINVAL, syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
}
CASE("timer_create", "of no clock is EINVAL") { FAILS(EINVAL, make_(99, SIGUSR1)); }
CASE("timer_create", "of a clock that is only read is EOPNOTSUPP") {
  FAILS(EOPNOTSUPP, make_(CLOCK_MONOTONIC_RAW, SIGUSR1));
}
CASE("timer_create", "of signal 0 is EINVAL") { FAILS(EINVAL, make_(CLOCK_MONOTONIC, 0)); }
CASE("timer_create", "of signal 65 is EINVAL") { FAILS(EINVAL, make_(CLOCK_MONOTONIC, 65)); }
CASE("timer_create", "of an unknown notification is EINVAL") {
  event = (struct sigevent){.sigev_notify = 77, .sigev_signo = SIGUSR1};
  FAILS(EINVAL, syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
}
FAILS_CASE("timer_create", "of an event in no memory is EFAULT", EFAULT,
           syscall(SYS_timer_create, CLOCK_MONOTONIC, NOWHERE, &id))
FAILS_CASE("timer_create", "with its number into no memory is EFAULT", EFAULT,
           syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, NOWHERE))
CASE("timer_create", "of all clocks that can be waited for") {
  int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC,          CLOCK_BOOTTIME,
                  CLOCK_TAI,      CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
  for (int i = 0; i < 6; i++) OK(make_(clocks[i], SIGUSR1));
}
CASE("timer_settime", "an interval: what is missed is the overrun") {
  block(SIGUSR1);
  make(SIGUSR1);
  OK(set(0, MS, MS));
  sleep_ms(30);
  IS(SIGUSR1, await(SIGUSR1));
  HOLDS(info.si_overrun >= 10);
  HOLDS(syscall(SYS_timer_getoverrun, id) == info.si_overrun);
  IS(SIGUSR1, await(SIGUSR1));
}
CASE("timer_settime", "absolute") {
  struct timespec now;
  block(SIGUSR1);
  make(SIGUSR1);
  clock_gettime(CLOCK_MONOTONIC, &now);
  OK(set(TIMER_ABSTIME, now.tv_sec * 1000 * MS + now.tv_nsec + 5 * MS, 0));
  IS(SIGUSR1, await(SIGUSR1));
}
CASE("timer_settime", "0 stops it") {
  make(SIGUSR1);
  OK(set(0, 5 * MS, 0));
  OK(set(0, 0, 0));
  sleep_ms(10);
}
CASE("timer_settime", "a handler runs") {
  interrupt_soon();
  setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
  make(SIGALRM);
  OK(set(0, MS, 0));
  FAILS(EINTR, pause());
}
CASE("timer_settime", "of no timer is EINVAL") {
  id = 99;
  FAILS(EINVAL, set(0, MS, 0));
}
CASE("timer_settime", "of no memory is EFAULT") {
  make(SIGUSR1);
  FAILS(EFAULT, syscall(SYS_timer_settime, id, 0, NOWHERE, NULL));
}
CASE("timer_settime", "of a null pointer is EINVAL") {
  make(SIGUSR1);
  FAILS(EINVAL, syscall(SYS_timer_settime, id, 0, NULL, NULL));
}
CASE("timer_settime", "of what is no time is EINVAL") {
  make(SIGUSR1);
  FAILS(EINVAL, set(0, -5, 0));
}
CASE("timer_settime", "tells what was left before") {
  struct itimerspec old, new = {{7, 0}, {50, 0}};
  make(SIGUSR1);
  OK(syscall(SYS_timer_settime, id, 0, &new, NULL));
  OK(syscall(SYS_timer_settime, id, 0, &new, &old));
  IS(7, old.it_interval.tv_sec);
  HOLDS(old.it_value.tv_sec >= 40 && old.it_value.tv_sec <= 50);
}
FAILS_CASE("timer_gettime", "of no timer is EINVAL", EINVAL, syscall(SYS_timer_gettime, 99, &(struct itimerspec){0}))
CASE("timer_gettime", "into no memory is EFAULT") {
  make(SIGUSR1);
  FAILS(EFAULT, syscall(SYS_timer_gettime, id, NOWHERE));
}
CASE("timer_gettime", "of one that is not set is zero") {
  struct itimerspec left = {{1, 1}, {1, 1}};
  make(SIGUSR1);
  OK(syscall(SYS_timer_gettime, id, &left));
  IS(0, left.it_value.tv_sec + left.it_value.tv_nsec + left.it_interval.tv_sec + left.it_interval.tv_nsec);
}
FAILS_CASE("timer_getoverrun", "of no timer is EINVAL", EINVAL, syscall(SYS_timer_getoverrun, 99))
CASE("timer_getoverrun", "of one that never went off is 0") {
  make(SIGUSR1);
  IS(0, syscall(SYS_timer_getoverrun, id));
}
FAILS_CASE("timer_delete", "of no timer is EINVAL", EINVAL, syscall(SYS_timer_delete, 99))
CASE("timer_delete", "twice is EINVAL") {
  make(SIGUSR1);
  OK(syscall(SYS_timer_delete, id));
  FAILS(EINVAL, syscall(SYS_timer_delete, id));
}
CASE("timer_delete", "stops it") {
  make(SIGUSR1);
  OK(set(0, 5 * MS, 0));
  OK(syscall(SYS_timer_delete, id));
  sleep_ms(10);
}
CASE("timer_create", "timers are not a child's") {
  make(SIGUSR1);
  CHILD(child) FAILS(EINVAL, syscall(SYS_timer_delete, id));
  IS(0, ended(child));
}
CASE("timer_create", "by processor time goes off while working") {
  block(SIGUSR1);
  OK(make_(CLOCK_PROCESS_CPUTIME_ID, SIGUSR1));
  OK(set(0, 20 * MS, 0));
  sleep_ms(50);
  sigset_t left;
  OK(sigpending(&left));
  HOLDS(!sigismember(&left, SIGUSR1));
  burn(60);
  IS(SIGUSR1, await(SIGUSR1));
}
CASE("timer_create", "by a thread's time goes off while it works") {
  block(SIGUSR1);
  OK(make_(CLOCK_THREAD_CPUTIME_ID, SIGUSR1));
  OK(set(0, 10 * MS, 0));
  burn(50);
  IS(SIGUSR1, await(SIGUSR1));
}
CASE("setitimer", "ITIMER_VIRTUAL sends SIGVTALRM while working") {
  block(SIGVTALRM);
  OK(setitimer(ITIMER_VIRTUAL, &(struct itimerval){{0, 0}, {0, 10000}}, NULL));
  sigset_t left;
  do {
    for (volatile long i = 0; i < 100000; i++);
    OK(sigpending(&left));
  } while (!sigismember(&left, SIGVTALRM));
  IS(SIGVTALRM, await(SIGVTALRM));
}
CASE("setitimer", "ITIMER_PROF sends SIGPROF again and again") {
  block(SIGPROF);
  OK(setitimer(ITIMER_PROF, &(struct itimerval){{0, 10000}, {0, 10000}}, NULL));
  burn(40);
  IS(SIGPROF, await(SIGPROF));
  burn(40);
  IS(SIGPROF, await(SIGPROF));
}
CASE("setitimer", "tells what was left before") {
  struct itimerval old, new = {{3, 0}, {50, 0}};
  for (int which = 0; which < 3; which++) {
    OK(setitimer(which, &new, &old));
    IS(0, old.it_value.tv_sec);
    OK(setitimer(which, &new, &old));
    IS(3, old.it_interval.tv_sec);
    HOLDS(old.it_value.tv_sec >= 40 && old.it_value.tv_sec <= 50);
  }
}
FAILS_CASE("setitimer", "of no timer is EINVAL", EINVAL, syscall(SYS_setitimer, 3, &(struct itimerval){0}, NULL))
FAILS_CASE("setitimer", "of a million microseconds is EINVAL", EINVAL,
           setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1000000}}, NULL))
FAILS_CASE("setitimer", "from no memory is EFAULT", EFAULT, setitimer(ITIMER_REAL, NOWHERE, NULL))
CASE("setitimer", "of a null pointer stops it") {
  struct itimerval left;
  OK(setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {50, 0}}, NULL));
  OK(syscall(SYS_setitimer, ITIMER_REAL, NULL, NULL));
  OK(getitimer(ITIMER_REAL, &left));
  IS(0, left.it_value.tv_sec);
}
FAILS_CASE("getitimer", "of no timer is EINVAL", EINVAL, syscall(SYS_getitimer, 3, &(struct itimerval){0}))
FAILS_CASE("getitimer", "into no memory is EFAULT", EFAULT, syscall(SYS_getitimer, ITIMER_PROF, NOWHERE))
CASE("alarm", "tells what was left") {
  IS(0, alarm(50));
  HOLDS(alarm(0) >= 40);
  IS(0, alarm(0));
}

static int nap(clockid_t clock, int flags, long ns, struct timespec *left) {
  struct timespec time = {ns / (1000 * MS), ns % (1000 * MS)};
  return (int)syscall(SYS_clock_nanosleep, clock, flags, &time, left);
}
CASE("clock_nanosleep", "sleeps by every clock that can be waited for") {
  int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI};
  for (int i = 0; i < 4; i++) OK(nap(clocks[i], 0, MS, NULL));
}
CASE("clock_nanosleep", "until a time") {
  int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
  for (int i = 0; i < 3; i++) {
    struct timespec now, then;
    clock_gettime(clocks[i], &now);
    OK(nap(clocks[i], TIMER_ABSTIME, now.tv_sec * 1000 * MS + now.tv_nsec + 3 * MS, NULL));
    clock_gettime(clocks[i], &then);
    HOLDS((then.tv_sec - now.tv_sec) * 1000 * MS + then.tv_nsec - now.tv_nsec >= 3 * MS);
  }
}
CASE("clock_nanosleep", "until a time that is over returns at once") {
  OK(nap(CLOCK_MONOTONIC, TIMER_ABSTIME, 1, NULL));
}
CASE("clock_nanosleep", "by the process's time ends when another thread works") {
  void *work(void *_) { return burn(60), _; }
  pthread_t other;
  pthread_create(&other, NULL, work, NULL);
  OK(nap(CLOCK_PROCESS_CPUTIME_ID, 0, 20 * MS, NULL));
  pthread_join(other, NULL);
}
FAILS_CASE("clock_nanosleep", "by the thread's own time is EOPNOTSUPP", EOPNOTSUPP,
           nap(CLOCK_THREAD_CPUTIME_ID, 0, MS, NULL))
FAILS_CASE("clock_nanosleep", "by a clock that is only read is EOPNOTSUPP", EOPNOTSUPP,
           nap(CLOCK_MONOTONIC_COARSE, 0, MS, NULL))
FAILS_CASE("clock_nanosleep", "by no clock is EINVAL", EINVAL, nap(99, 0, MS, NULL))
FAILS_CASE("clock_nanosleep", "for what is no time is EINVAL", EINVAL,
           syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &(struct timespec){0, 1000 * MS}, NULL))
FAILS_CASE("clock_nanosleep", "for a negative time is EINVAL", EINVAL,
           syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &(struct timespec){-1, 0}, NULL))
FAILS_CASE("clock_nanosleep", "for a time in no memory is EFAULT", EFAULT,
           syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, NOWHERE, NULL))
CASE("clock_nanosleep", "interrupted, it tells what is left") {
  struct timespec left = {0, 0};
  interrupt_soon();
  FAILS(EINTR, nap(CLOCK_MONOTONIC, 0, 50000 * MS, &left));
  HOLDS(left.tv_sec >= 40 && left.tv_sec <= 50);
}
CASE("clock_nanosleep", "until a time, interrupted, it tells nothing") {
  struct timespec left = {77, 0};
  interrupt_soon();
  FAILS(EINTR, nap(CLOCK_MONOTONIC, TIMER_ABSTIME, INT64_MAX / 4, &left));
  IS(77, left.tv_sec);
}
CASE("clock_gettime", "of all clocks") {
  struct timespec now;
  int clocks[] = {0, 1, 2, 3, 4, 5, 6, 7, 11};
  for (int i = 0; i < 9; i++) OK(syscall(SYS_clock_gettime, clocks[i], &now));
}
CASE("clock_gettime", "of another process's time") {
  clockid_t clock;
  struct timespec now;
  IS(0, clock_getcpuclockid(getppid(), &clock));
  OK(syscall(SYS_clock_gettime, clock, &now));
}
CASE("clock_gettime", "of a thread's time") {
  clockid_t clock;
  struct timespec now;
  IS(0, pthread_getcpuclockid(pthread_self(), &clock));
  burn(5);
  OK(syscall(SYS_clock_gettime, clock, &now));
  HOLDS(now.tv_nsec > 0);
}
FAILS_CASE("clock_gettime", "of a process that is not there is EINVAL", EINVAL,
           syscall(SYS_clock_gettime, (~30000u << 3) | 2, &(struct timespec){0}))
FAILS_CASE("clock_gettime", "of no clock is EINVAL", EINVAL, syscall(SYS_clock_gettime, 99, &(struct timespec){0}))
FAILS_CASE("clock_gettime", "of SGI's cycle counter is EINVAL", EINVAL,
           syscall(SYS_clock_gettime, 10, &(struct timespec){0}))
FAILS_CASE("clock_gettime", "into no memory is EFAULT", EFAULT, syscall(SYS_clock_gettime, 0, NOWHERE))
CASE("clock_getres", "is a nanosecond") {
  struct timespec step;
  int clocks[] = {0, 1, 2, 3, 4, 7};
  for (int i = 0; i < 6; i++) {
    OK(syscall(SYS_clock_getres, clocks[i], &step));
    IS(1, step.tv_nsec);
  }
}
CASE("clock_getres", "into a null pointer tells nothing") { OK(syscall(SYS_clock_getres, 0, NULL)); }
FAILS_CASE("clock_getres", "of no clock is EINVAL", EINVAL, syscall(SYS_clock_getres, 99, NULL))
FAILS_CASE("clock_getres", "into no memory is EFAULT", EFAULT, syscall(SYS_clock_getres, 0, NOWHERE))
FAILS_CASE("clock_settime", "of the monotonic clock is EINVAL", EINVAL,
           syscall(SYS_clock_settime, CLOCK_MONOTONIC, &(struct timespec){0}))
FAILS_CASE("clock_settime", "from no memory is EFAULT", EFAULT, syscall(SYS_clock_settime, CLOCK_REALTIME, NOWHERE))
FAILS_CASE("clock_settime", "to what is no time is EINVAL", EINVAL,
           syscall(SYS_clock_settime, CLOCK_REALTIME, &(struct timespec){0, -1}))
CASE("clock_settime", "as an ordinary user is EPERM") {
  struct timespec now;
  become_user();
  clock_gettime(CLOCK_REALTIME, &now);
  FAILS(EPERM, syscall(SYS_clock_settime, CLOCK_REALTIME, &now));
}
CASE("nanosleep", "interrupted, it tells what is left") {
  struct timespec left = {0, 0};
  interrupt_soon();
  FAILS(EINTR, nanosleep(&(struct timespec){50, 0}, &left));
  HOLDS(left.tv_sec >= 40 && left.tv_sec <= 50);
}
FAILS_CASE("nanosleep", "for what is no time is EINVAL", EINVAL,
           syscall(SYS_nanosleep, &(struct timespec){0, 1000 * MS}, NULL))
FAILS_CASE("nanosleep", "for a time in no memory is EFAULT", EFAULT, syscall(SYS_nanosleep, NOWHERE, NULL))

static struct timeval left_of(int which) {
  struct itimerval now;
  OK(getitimer(which, &now));
  return now.it_value;
}
static long used_us(int which) {
  struct timeval left = left_of(which);
  return 1000000000L - (left.tv_sec * 1000000 + left.tv_usec);
}
static void start_both(void) {
  struct itimerval far = {{0, 0}, {1000, 0}};
  OK(setitimer(ITIMER_VIRTUAL, &far, NULL));
  OK(setitimer(ITIMER_PROF, &far, NULL));
}
CASE("setitimer", "ITIMER_VIRTUAL counts what the program computes") {
  start_both();
  volatile unsigned sum = 0;
  while (used_us(ITIMER_PROF) < 300000)
    for (int i = 0; i < 1000000; i++) sum += i;
  HOLDS(used_us(ITIMER_VIRTUAL) * 2 > used_us(ITIMER_PROF));
}
CASE("setitimer", "ITIMER_VIRTUAL does not count what the kernel does for the program") {
  start_both();
  int fd = OK(open("/dev/zero", O_RDONLY));
  static char bytes[1 << 20];
  // A kernel may tell the two apart by samples, which take a while to be many.
  do {
    for (int i = 0; i < 20; i++) OK(read(fd, bytes, sizeof bytes));
    HOLDS(used_us(ITIMER_PROF) < 10000000);
  } while (used_us(ITIMER_PROF) < 200000 || used_us(ITIMER_VIRTUAL) * 2 >= used_us(ITIMER_PROF));
}
// Lets the kernel work until it says that it did.
static void let_the_kernel_work(void) {
  struct tms start, now;
  int fd = OK(open("/dev/zero", O_RDONLY));
  static char bytes[1 << 20];
  clock_t user, system;
  OK(times(&start));
  do {
    for (int i = 0; i < 20; i++) OK(read(fd, bytes, sizeof bytes));
    OK(times(&now));
    user = now.tms_utime - start.tms_utime;
    system = now.tms_stime - start.tms_stime;
    HOLDS(user + system < 1000);
  } while (user + system < 20 || system <= 3 * user);
}
CASE("times", "tells time in the kernel from time in the program") {
  let_the_kernel_work();
  CHILD(pid) let_the_kernel_work();
  IS(0, ended(pid));
  struct tms now;
  OK(times(&now));
  HOLDS(now.tms_cstime > now.tms_cutime);
}
