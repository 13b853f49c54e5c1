#include "fuzzer.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEPT 8

// Descriptors are the process's own, as is what else it made; a child starts with what its parent knows.
static struct {
  uint64_t values[KEPT];
  unsigned made;
} kinds[RESOURCES];

// Tasks of the round, known to all of them.
static struct {
  pid_t tasks[64];
  unsigned joined;
} *tasks;

void make_resources(void) {
  memset(kinds, 0, sizeof kinds);
  tasks = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

void keep(enum resource kind, uint64_t value) { kinds[kind].values[kinds[kind].made++ % KEPT] = value; }

uint64_t any_descriptor(void) {
  switch (below(12)) {
    case 0: return number();
    case 1: return (uint64_t)-100;
    case 2: return below(40);
    default: return resource((enum resource)below(DESCRIPTORS));
  }
}

// Sometimes one of another kind: most calls have to say no to most descriptors.
uint64_t resource(enum resource kind) {
  if (rarely(30)) return number();
  if (rarely(20)) return kind < DESCRIPTORS ? below(40) : number();
  unsigned made = kinds[kind].made;
  if (made == 0) return kind < DESCRIPTORS ? 3 + below(30) : below(4);
  return kinds[kind].values[below(made < KEPT ? made : KEPT)];
}

void join(pid_t task) { tasks->tasks[__atomic_fetch_add(&tasks->joined, 1, __ATOMIC_RELAXED) % 64] = task; }

uint64_t task(void) {
  unsigned joined = tasks->joined;
  if (rarely(6) || joined == 0) return (uint64_t)getpid();
  return (uint64_t)tasks->tasks[below(joined < 64 ? joined : 64)];
}

// Root stays among its own: it could end what the next round needs.
uint64_t foreign_task(void) {
  if (may_break_the_system()) return task();
  switch (below(8)) {
    case 0: return 0;
    case 1: return 1;
    case 2: return (uint64_t)getppid();
    case 3: return -task();
    case 4: return number();
    default: return task();
  }
}
