// A dynamically linked program of musl's: threads, thread-local storage, libraries opened while threads run.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 1000 };

int shared_with_the_plugin = 1;
static __thread int of_the_program = 7;
static __thread char large[10000];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t key;
static sem_t go;
static int sum, destroyed;
static int (*count)(int);

static void destroy(void *value) {
  pthread_mutex_lock(&mutex);
  destroyed += *(int *)value;
  pthread_mutex_unlock(&mutex);
}

// Begins before the plugin is opened: its thread-local storage has to grow meanwhile.
static void *thread(void *number) {
  int mine = (int)(long)number;
  memset(large, mine, sizeof large);
  pthread_setspecific(key, &of_the_program);
  of_the_program += mine;
  sem_wait(&go);
  int last = 0;
  for (int i = 0; i < ROUNDS; i++) {
    pthread_mutex_lock(&mutex);
    sum += of_the_program;
    last = count(mine);
    pthread_mutex_unlock(&mutex);
    if (i % 100 == 0) sched_yield();
  }
  return (void *)(long)(last + (large[9999] == mine));
}

static int list(struct dl_phdr_info *info, size_t size, void *counted) {
  (void)size;
  const char *name = strrchr(info->dlpi_name, '/');
  if (*info->dlpi_name) printf("loaded: %s\n", name ? name + 1 : info->dlpi_name);
  ++*(int *)counted;
  return 0;
}

static sigjmp_buf back;
static int *volatile nowhere = (int *)8;
static void on_fault(int signal) { siglongjmp(back, signal); }

int main(int arguments, char **words) {
  printf("%d arguments, %s\n", arguments, arguments > 1 ? words[1] : "none");
  pthread_key_create(&key, destroy);
  sem_init(&go, 0, 0);
  pthread_t threads[THREADS];
  for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, thread, (void *)(i + 1));
  void *plugin = dlopen("/test/plugin.so", RTLD_NOW | RTLD_LOCAL);
  if (!plugin) return puts(dlerror()), 1;
  count = (int (*)(int))dlsym(plugin, "plugin_count");
  for (int i = 0; i < THREADS; i++) sem_post(&go);
  for (int i = 0; i < THREADS; i++) {
    void *result;
    pthread_join(threads[i], &result);
    printf("thread %d: %ld\n", i + 1, (long)result);
  }
  printf("sum %d, %d of specific data, plugin called %d times, %d here\n", sum, destroyed, shared_with_the_plugin - 1,
         count(2));
  Dl_info about;
  dladdr((void *)count, &about);
  printf("%s is in %s\n", about.dli_sname, about.dli_fname);
  int loaded = 0;
  dl_iterate_phdr(list, &loaded);
  printf("missing: %s\n", dlopen("none.so", RTLD_LAZY) ? "found" : dlerror());
  printf("no such name: %s\n", dlsym(plugin, "no_such_name") ? "found" : dlerror());
  signal(SIGSEGV, on_fault);
  int caught = sigsetjmp(back, 1);
  if (!caught) *nowhere = 1;
  printf("caught %d\n", caught);
  struct timespec first, second;
  clock_gettime(CLOCK_MONOTONIC, &first);
  clock_gettime(CLOCK_MONOTONIC, &second);
  puts(second.tv_sec > first.tv_sec || second.tv_nsec >= first.tv_nsec ? "time goes on" : "time goes back");
  // musl keeps libraries loaded.
  printf("closed: %d\n", dlclose(plugin));
  char *again[] = {words[0], "again", NULL};
  fflush(stdout);
  if (arguments == 1) execv("/proc/self/exe", again);
  return 0;
}
