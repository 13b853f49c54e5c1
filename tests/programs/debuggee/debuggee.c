// What gdb looks at: calls within calls, a variable that changes, a signal, threads, a child.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct point {
  int x, y;
  const char *name;
};

volatile int watched;
static volatile sig_atomic_t signals;
double ratio = 2.5;

static void on_signal(int signal) { signals += signal == SIGUSR1; }

__attribute__((noinline)) int innermost(int depth, struct point *at) {
  watched = depth * 3;
  at->x += depth;
  return watched + at->y;
}

__attribute__((noinline)) int recurse(int depth, struct point *at) {
  if (depth == 0) return innermost(7, at);
  int below = recurse(depth - 1, at);
  return below + depth;
}

static void *thread(void *number) {
  watched = (int)(long)number;
  return number;
}

static int with_threads(void) {
  pthread_t threads[3];
  for (long i = 0; i < 3; i++) {
    pthread_create(&threads[i], NULL, thread, (void *)(i + 100));
    pthread_join(threads[i], NULL);
  }
  return watched;
}

static int with_child(void) {
  pid_t pid = fork();
  if (pid == 0) _exit(innermost(1, &(struct point){1, 2, "of the child"}));
  int status = 0;
  waitpid(pid, &status, 0);
  return WEXITSTATUS(status);
}

int main(int count, char **words) {
  struct point at = {1, 2, "origin"};
  signal(SIGUSR1, on_signal);
  int result = recurse(3, &at);
  raise(SIGUSR1);
  const char *mode = count > 1 ? words[1] : "";
  if (!strcmp(mode, "threads")) result += with_threads();
  if (!strcmp(mode, "child")) result += with_child();
  if (!strcmp(mode, "crash")) *(volatile int *)0 = result;
  printf("%s: %d %d %d\n", at.name, at.x, result, (int)signals);
  return 3;
}
