// Runs the cases: `calls [PATTERN]`. A line a case: `ok`, or `FAILED` with the line that did not hold.
#include "calls.h"
#include <ftw.h>
#include <grp.h>
#include <stdarg.h>

static struct test *first, **last = &first;
void add_test(struct test *test) {
  *last = test;
  last = &test->next;
}

void *volatile const NOWHERE = (void *)16;

// What went wrong, where a case's children can say it too.
static char *report;
enum { REPORT_SIZE = 4096, SECONDS = 20 };

static __attribute__((noreturn, format(printf, 3, 4))) void fail(const char *file, int line, const char *format, ...) {
  if (!*report) {
    int at = snprintf(report, REPORT_SIZE, "%s:%d: ", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(report + at, (size_t)(REPORT_SIZE - at), format, arguments);
    va_end(arguments);
  }
  _exit(1);
}

long must_work(const char *file, int line, const char *what, long value) {
  if (value == -1) fail(file, line, "%s: %s", what, strerrorname_np(errno));
  return value;
}
void must_fail(const char *file, int line, const char *what, int code, const char *name, long value) {
  if (value != -1) fail(file, line, "%s gives %ld, not %s", what, value, name);
  if (errno != code) fail(file, line, "%s fails with %s, not %s", what, strerrorname_np(errno), name);
}
void must_be(const char *file, int line, const char *what, long expected, long value) {
  if (value == -1 && expected != -1) fail(file, line, "%s is -1 (%s), not %ld", what, strerrorname_np(errno), expected);
  if (value != expected) fail(file, line, "%s is %ld (%#lx), not %ld", what, value, value, expected);
}
void must_hold(const char *file, int line, const char *what, bool holds) {
  if (!holds) fail(file, line, "it does not hold that %s", what);
}

int ended(pid_t pid) {
  int status;
  while (waitpid(pid, &status, 0) == -1)
    if (errno != EINTR) fail("wait", 0, "waitpid: %s", strerrorname_np(errno));
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static volatile sig_atomic_t signals_seen;
static void (*after_three)(void);
static void on_alarm(int signal) {
  (void)signal;
  if (++signals_seen == 3 && after_three) after_three();
}
static void alarms(int flags) {
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval often = {{0, 10000}, {0, 10000}};
  setitimer(ITIMER_REAL, &often, NULL);
}
void interrupt_soon(void) { alarms(0); }
void restart_and(void (*then)(void)) {
  after_three = then;
  alarms(SA_RESTART);
}

void become_user(void) {
  OK(setgroups(0, NULL));
  OK(setresgid(1000, 1000, 1000));
  OK(setresuid(1000, 1000, 1000));
}

void write_file(const char *path, const char *text) {
  int fd = OK(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  IS(strlen(text), write(fd, text, strlen(text)));
  OK(close(fd));
}
const char *read_file(const char *path) {
  static char text[65537];
  int fd = OK(open(path, O_RDONLY));
  size_t size = 0;
  for (long more; (more = OK(read(fd, text + size, sizeof text - 1 - size))) > 0;) size += (size_t)more;
  text[size] = 0;
  OK(close(fd));
  return text;
}
int file_with(const char *text) {
  char name[] = "file.XXXXXX";
  int fd = OK(mkstemp(name));
  IS(strlen(text), write(fd, text, strlen(text)));
  OK(lseek(fd, 0, SEEK_SET));
  return fd;
}
void sleep_ms(long milliseconds) {
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  while (nanosleep(&time, &time) == -1 && errno == EINTR);
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where) {
  (void)about, (void)kind, (void)where;
  remove(path);
  return 0;
}

static pid_t running;
static void too_long(int signal) {
  (void)signal;
  kill(-running, SIGKILL);
  kill(running, SIGKILL);
}

static bool run(const struct test *test) {
  char folder[] = "/tmp/calls.XXXXXX";
  if (!mkdtemp(folder) || chdir(folder)) return perror(folder), false;
  chmod(folder, 0777);
  *report = 0;
  fflush(NULL);
  running = fork();
  if (running == 0) {
    setpgid(0, 0);
    signal(SIGALRM, SIG_DFL);
    umask(022);
    test->run();
    _exit(0);
  }
  alarm(SECONDS);
  int status = running > 0 ? ended(running) : 255;
  alarm(0);
  kill(-running, SIGKILL);
  while (waitpid(-1, NULL, WNOHANG) > 0);
  if (chdir("/")) perror("/");
  nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
  bool good = status == 0 && !*report;
  printf("%s\t%s: %s", good ? "ok" : "FAILED", test->call, test->sentence);
  if (*report) printf("\t%s", report);
  else if (!good) printf("\t%s:%d: ended with %d", test->file, test->line, status);
  putchar('\n');
  fflush(stdout);
  return good;
}

int main(int count, char **words) {
  report = mmap(NULL, REPORT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  close_range(3, ~0u, 0);
  struct sigaction action = {.sa_handler = too_long, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  int failed = 0;
  for (struct test *test = first; test; test = test->next) {
    char name[512];
    snprintf(name, sizeof name, "%s: %s", test->call, test->sentence);
    if (count < 2 || strstr(name, words[1])) failed += !run(test);
  }
  return failed > 0;
}
