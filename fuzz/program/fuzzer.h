// A fuzzer of system calls that knows what their arguments are. See main.c.
#ifndef FUZZER_H
#define FUZZER_H
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define USER 1000

// random.c: everything follows from the seed and from what the calls return.
void seed_thread(uint64_t seed);
uint64_t next(void);
uint64_t below(uint64_t n);
// Once in n.
int rarely(uint64_t n);
// A number that might matter: small, an edge, a power of two, or any.
uint64_t number(void);

// memory.c: the memory calls are given, all of it laid out anew for every round.
void make_memory(void);
void mend_memory(void);
extern _Thread_local unsigned lane;
// Somewhere `size` bytes may be written: mostly writable; else read-only, partly or not mapped, unaligned, the kernel's.
uint64_t room(size_t size);
// A copy of these bytes where a call may read them, or, seldom, just in part.
uint64_t put(const void *bytes, size_t size);
uint64_t put_whole(const void *bytes, size_t size);
// A page of the round's memory, mapped or not.
uint64_t page(void);
// A word that all processes of the round share.
uint64_t futex_word(void);

// resources.c: what earlier calls made, by kind, and what the processes of a round know of one another.
enum resource {
  FILE_, DIRECTORY, PLACE, PIPE, SOCKET, EPOLL, EVENT, TIMER_FD, SIGNAL_FD, INOTIFY, PID_FD, QUEUE, MEMORY, TERMINAL, NAMESPACE,
  DESCRIPTORS,  // The ones before are descriptors.
  WATCH = DESCRIPTORS, TIMER, SHARED_SEGMENT, SEMAPHORE, MESSAGES, MAPPING, RESOURCES,
};
void make_resources(void);
void keep(enum resource kind, uint64_t value);
uint64_t resource(enum resource kind);
uint64_t any_descriptor(void);
void join(pid_t task);
uint64_t task(void);
uint64_t foreign_task(void);

// types.c: a description's words.
struct type;
typedef uint64_t make(const struct type *type);
struct type {
  const char *word;
  make *make;
  uint64_t parameter;
  const uint64_t *set;
  size_t count;
};
// Names of message queues: nothing lists those there are.
#define QUEUE_NAMES 4
extern const char *const queue_names[QUEUE_NAMES];
const struct type *type_of(const char *word, size_t length);
uint64_t value_of(const struct type *type);

// structures.c: its types.
extern const struct type structures[];
extern const size_t structure_count;

// flags.c
const uint64_t *flags_of(const char *word, size_t length, size_t *count);

// calls.c: the descriptions.
#define ARGUMENTS 6
struct call {
  int number;
  const char *arguments;
  const char *result;
  const struct type *types[ARGUMENTS];
  // The resource it makes, and how: 1 returns it, 2 writes a pair of descriptors to its `pair` argument.
  int makes, pair;
  enum resource resource;
};
extern struct call calls[];
extern const size_t call_count;
void read_descriptions(void);

// round.c
void play(void);
int may_break_the_system(void);
#endif
