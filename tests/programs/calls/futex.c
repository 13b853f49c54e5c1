// futex: waiting for words.
#include "calls.h"
#include <linux/futex.h>

#define LOCK_PI2 13
// Two words of each case's own, shared with the children it starts once it has used them.
static uint32_t *words(void) {
  static uint32_t *own;
  if (!own) own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return own;
}
#define word (words())
static struct timespec limit;
static long futex(volatile void *at, int operation, uint32_t value, const void *timeout, void *second, uint32_t third) {
  return syscall(SYS_futex, at, operation, value, timeout, second, third);
}
static const struct timespec *soon(void) { return limit = (struct timespec){0, 10000000}, &limit; }
static const struct timespec *at(clockid_t clock) {
  clock_gettime(clock, &limit);
  limit.tv_nsec += 10000000;
  if (limit.tv_nsec >= 1000000000) limit.tv_sec++, limit.tv_nsec -= 1000000000;
  return &limit;
}
// Children that wait, each for the word to be woken; exit status 0 once they are.
static pid_t waiters[8];
static void wait_in_children(int count, int operation, uint32_t bits) {
  *word = 0;
  for (int i = 0; i < count; i++) {
    CHILD(child) OK(futex(word, operation, 0, NULL, NULL, bits));
    waiters[i] = child;
  }
  sleep_ms(100);
}
static void all_ended(int count) {
  for (int i = 0; i < count; i++) IS(0, ended(waiters[i]));
}

CASE("futex", "FUTEX_WAIT with another value is EAGAIN") { FAILS(EAGAIN, futex(word, FUTEX_WAIT, 1, NULL, NULL, 0)); }
CASE("futex", "FUTEX_WAIT until time is up") { FAILS(ETIMEDOUT, futex(word, FUTEX_WAIT, 0, soon(), NULL, 0)); }
CASE("futex", "FUTEX_WAIT until woken") {
  wait_in_children(1, FUTEX_WAIT, 0);
  IS(1, futex(word, FUTEX_WAKE, 5, NULL, NULL, 0));
  all_ended(1);
}
CASE("futex", "FUTEX_WAKE wakes as many as asked for") {
  wait_in_children(4, FUTEX_WAIT, 0);
  IS(3, futex(word, FUTEX_WAKE, 3, NULL, NULL, 0));
  IS(1, futex(word, FUTEX_WAKE, 3, NULL, NULL, 0));
  all_ended(4);
}
CASE("futex", "FUTEX_WAKE of 0 wakes one") {
  wait_in_children(2, FUTEX_WAIT, 0);
  IS(1, futex(word, FUTEX_WAKE, 0, NULL, NULL, 0));
  IS(1, futex(word, FUTEX_WAKE, 1, NULL, NULL, 0));
}
CASE("futex", "FUTEX_WAKE of nobody wakes nobody") { IS(0, futex(word, FUTEX_WAKE, 1, NULL, NULL, 0)); }
CASE("futex", "private futexes are not shared") {
  wait_in_children(1, FUTEX_WAIT_PRIVATE, 0);
  IS(0, futex(word, FUTEX_WAKE, 1, NULL, NULL, 0));
  IS(0, futex(word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
  kill(waiters[0], SIGKILL);
}
CASE("futex", "FUTEX_WAIT is EINTR when a signal comes") {
  interrupt_soon();
  FAILS(EINTR, futex(word, FUTEX_WAIT, 0, NULL, NULL, 0));
}
CASE("futex", "FUTEX_WAIT with a time is EINTR even if it may restart") {
  limit = (struct timespec){50, 0};
  restart_and(NULL);
  FAILS(EINTR, futex(word, FUTEX_WAIT, 0, &limit, NULL, 0));
}
CASE("futex", "of an odd address is EINVAL") {
  FAILS(EINVAL, futex((char *)word + 1, FUTEX_WAIT, 0, NULL, NULL, 0));
  FAILS(EINVAL, futex((char *)word + 2, FUTEX_WAKE, 0, NULL, NULL, 0));
}
FAILS_CASE("futex", "FUTEX_WAIT in no memory is EFAULT", EFAULT, futex(NOWHERE, FUTEX_WAIT, 0, NULL, NULL, 0))
FAILS_CASE("futex", "FUTEX_WAKE in no memory is EFAULT", EFAULT, futex(NOWHERE, FUTEX_WAKE, 1, NULL, NULL, 0))
FAILS_CASE("futex", "a time in no memory is EFAULT", EFAULT, futex(word, FUTEX_WAIT, 0, NOWHERE, NULL, 0))
CASE("futex", "what is no time is EINVAL") {
  limit = (struct timespec){0, 1000000000};
  FAILS(EINVAL, futex(word, FUTEX_WAIT, 0, &limit, NULL, 0));
  limit = (struct timespec){-1, 0};
  FAILS(EINVAL, futex(word, FUTEX_WAIT, 0, &limit, NULL, 0));
}
FAILS_CASE("futex", "an unknown operation is ENOSYS", ENOSYS, futex(word, 99, 0, NULL, NULL, 0))
FAILS_CASE("futex", "FUTEX_CLOCK_REALTIME with FUTEX_WAKE is ENOSYS", ENOSYS,
           futex(word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0))
CASE("futex", "FUTEX_WAIT_BITSET until a time") {
  FAILS(ETIMEDOUT, futex(word, FUTEX_WAIT_BITSET, 0, at(CLOCK_MONOTONIC), NULL, 1));
  FAILS(ETIMEDOUT, futex(word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, at(CLOCK_REALTIME), NULL, 1));
}
CASE("futex", "FUTEX_WAKE_BITSET wakes who shares a bit") {
  wait_in_children(1, FUTEX_WAIT_BITSET, 6);
  IS(0, futex(word, FUTEX_WAKE_BITSET, 5, NULL, NULL, 1));
  IS(1, futex(word, FUTEX_WAKE_BITSET, 5, NULL, NULL, 4));
  all_ended(1);
}
FAILS_CASE("futex", "FUTEX_WAIT_BITSET of no bits is EINVAL", EINVAL, futex(word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0))
FAILS_CASE("futex", "FUTEX_WAKE_BITSET of no bits is EINVAL", EINVAL, futex(word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0))
CASE("futex", "FUTEX_REQUEUE wakes some and moves others") {
  wait_in_children(4, FUTEX_WAIT, 0);
  IS(3, futex(word, FUTEX_REQUEUE, 1, (void *)2, word + 1, 0));
  IS(2, futex(word + 1, FUTEX_WAKE, 5, NULL, NULL, 0));
  IS(1, futex(word, FUTEX_WAKE, 5, NULL, NULL, 0));
  all_ended(4);
}
CASE("futex", "FUTEX_CMP_REQUEUE looks at the value first") {
  FAILS(EAGAIN, futex(word, FUTEX_CMP_REQUEUE, 1, (void *)1, word + 1, 7));
  wait_in_children(3, FUTEX_WAIT, 0);
  IS(3, futex(word, FUTEX_CMP_REQUEUE, 1, (void *)5, word + 1, 0));
  IS(2, futex(word + 1, FUTEX_WAKE, 5, NULL, NULL, 0));
  all_ended(3);
}
FAILS_CASE("futex", "FUTEX_REQUEUE of fewer than none is EINVAL", EINVAL,
           futex(word, FUTEX_REQUEUE, (uint32_t)-1, (void *)1, word + 1, 0))
CASE("futex", "a moved waiter still minds its time") {
  *word = 0;
  CHILD(child) {
    limit = (struct timespec){0, 200000000};
    FAILS(ETIMEDOUT, futex(word, FUTEX_WAIT, 0, &limit, NULL, 0));
  }
  sleep_ms(50);
  IS(1, futex(word, FUTEX_REQUEUE, 0, (void *)1, word + 1, 0));
  IS(0, ended(child));
}
#define OP(op, argument, compare, value) ((uint32_t)(((op) << 28) | ((compare) << 24) | ((argument) << 12) | (value)))
CASE("futex", "FUTEX_WAKE_OP changes the second word, and wakes there if it was so") {
  wait_in_children(1, FUTEX_WAIT, 0);
  word[1] = 5;
  IS(1, futex(word, FUTEX_WAKE_OP, 1, (void *)1, word + 1, OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 5)));
  IS(8, word[1]);
  all_ended(1);
}
CASE("futex", "FUTEX_WAKE_OP: all its operations") {
  word[1] = 12;
  OK(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word + 1, OP(FUTEX_OP_SET, 10, FUTEX_OP_CMP_NE, 0)));
  IS(10, word[1]);
  OK(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word + 1, OP(FUTEX_OP_OR, 5, FUTEX_OP_CMP_LT, 0)));
  IS(15, word[1]);
  OK(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word + 1, OP(FUTEX_OP_ANDN, 6, FUTEX_OP_CMP_GE, 0)));
  IS(9, word[1]);
  OK(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word + 1, OP(FUTEX_OP_XOR, 3, FUTEX_OP_CMP_GT, 0)));
  IS(10, word[1]);
  OK(futex(word, FUTEX_WAKE_OP, 1, (void *)1, word + 1,
           OP(FUTEX_OP_ADD | FUTEX_OP_OPARG_SHIFT, 4, FUTEX_OP_CMP_LE, 0)));
  IS(26, word[1]);
}
FAILS_CASE("futex", "FUTEX_WAKE_OP of no operation is ENOSYS", ENOSYS,
           futex(word, FUTEX_WAKE_OP, 1, (void *)1, word + 1, OP(7, 0, 0, 0)))

// Mutexes that hand themselves over.
CASE("futex", "FUTEX_LOCK_PI of a free one, and unlocking") {
  OK(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  IS(gettid(), *word);
  OK(futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  IS(0, *word);
}
CASE("futex", "FUTEX_LOCK_PI of one's own is EDEADLK") {
  OK(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  FAILS(EDEADLK, futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
}
CASE("futex", "FUTEX_TRYLOCK_PI of one's own is EDEADLK") {
  OK(futex(word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
  FAILS(EDEADLK, futex(word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
}
CASE("futex", "FUTEX_UNLOCK_PI of what is not one's own is EPERM") {
  FAILS(EPERM, futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  *word = (uint32_t)getppid();
  FAILS(EPERM, futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
}
CASE("futex", "FUTEX_LOCK_PI of an owner that is not there is ESRCH") {
  *word = 32000;
  FAILS(ESRCH, futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
}
CASE("futex", "FUTEX_LOCK_PI waits, and is given it") {
  OK(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  CHILD(child) {
    OK(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    IS(gettid(), *word & FUTEX_TID_MASK);
    OK(futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  }
  sleep_ms(50);
  IS((uint32_t)gettid() | FUTEX_WAITERS, *word);
  OK(futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  IS(0, ended(child));
  IS(0, *word);
}
CASE("futex", "FUTEX_TRYLOCK_PI of another's is EAGAIN") {
  OK(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  CHILD(child) FAILS(EAGAIN, futex(word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
  IS(0, ended(child));
}
CASE("futex", "FUTEX_LOCK_PI until a time") {
  OK(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  CHILD(child) {
    FAILS(ETIMEDOUT, futex(word, FUTEX_LOCK_PI, 0, at(CLOCK_REALTIME), NULL, 0));
    FAILS(ETIMEDOUT, futex(word, LOCK_PI2, 0, at(CLOCK_MONOTONIC), NULL, 0));
  }
  IS(0, ended(child));
}
CASE("futex", "FUTEX_LOCK_PI of an owner that ends passes on, and says so") {
  *word = 0;
  CHILD(child) {
    OK(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    sleep_ms(100);
  }
  while (!*word) sleep_ms(1);
  OK(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  IS(gettid(), *word & FUTEX_TID_MASK);
  HOLDS(*word & FUTEX_OWNER_DIED);
  IS(0, ended(child));
}
CASE("futex", "FUTEX_WAIT_REQUEUE_PI is given the mutex") {
  *word = 0;
  CHILD(child) {
    OK(futex(word, FUTEX_WAIT_REQUEUE_PI, 0, NULL, word + 1, 0));
    IS(gettid(), word[1] & FUTEX_TID_MASK);
    OK(futex(word + 1, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  }
  sleep_ms(100);
  FAILS(EINVAL, futex(word, FUTEX_WAKE, 1, NULL, NULL, 0));
  IS(1, futex(word, FUTEX_CMP_REQUEUE_PI, 1, (void *)5, word + 1, 0));
  IS(0, ended(child));
}
CASE("futex", "FUTEX_CMP_REQUEUE_PI to a mutex that is held waits for it") {
  OK(futex(word + 1, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  CHILD(child) {
    OK(futex(word, FUTEX_WAIT_REQUEUE_PI, 0, NULL, word + 1, 0));
    IS(gettid(), word[1] & FUTEX_TID_MASK);
  }
  sleep_ms(100);
  IS(1, futex(word, FUTEX_CMP_REQUEUE_PI, 1, (void *)5, word + 1, 0));
  OK(futex(word + 1, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  IS(0, ended(child));
}
FAILS_CASE("futex", "FUTEX_CMP_REQUEUE_PI of more than one to wake is EINVAL", EINVAL,
           futex(word, FUTEX_CMP_REQUEUE_PI, 2, (void *)5, word + 1, 0))
FAILS_CASE("futex", "FUTEX_CMP_REQUEUE_PI to the same word is EINVAL", EINVAL,
           futex(word, FUTEX_CMP_REQUEUE_PI, 1, (void *)5, word, 0))
FAILS_CASE("futex", "FUTEX_CMP_REQUEUE_PI with another value is EAGAIN", EAGAIN,
           futex(word, FUTEX_CMP_REQUEUE_PI, 1, (void *)5, word + 1, 7))
FAILS_CASE("futex", "FUTEX_WAIT_REQUEUE_PI to the same word is EINVAL", EINVAL,
           futex(word, FUTEX_WAIT_REQUEUE_PI, 0, NULL, word, 0))
CASE("futex", "FUTEX_WAIT_REQUEUE_PI until a time") {
  FAILS(ETIMEDOUT, futex(word, FUTEX_WAIT_REQUEUE_PI, 0, at(CLOCK_MONOTONIC), word + 1, 0));
}

// Robust lists.
static struct {
  struct robust_list_head head;
  struct robust_list entry;
  uint32_t lock;
} *list;
CASE("set_robust_list", "an owner that ends leaves its mutexes, marked") {
  list = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHILD(child) {
    list->head = (struct robust_list_head){{&list->entry}, (char *)&list->lock - (char *)&list->entry, NULL};
    list->entry.next = &list->head.list;
    list->lock = (uint32_t)gettid() | FUTEX_WAITERS;
    OK(syscall(SYS_set_robust_list, &list->head, sizeof list->head));
  }
  IS(0, ended(child));
  IS(FUTEX_OWNER_DIED | FUTEX_WAITERS, list->lock);
}
CASE("set_robust_list", "who waits is woken") {
  list = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHILD(child) {
    list->head = (struct robust_list_head){{&list->entry}, (char *)&list->lock - (char *)&list->entry, NULL};
    list->entry.next = &list->head.list;
    OK(syscall(SYS_set_robust_list, &list->head, sizeof list->head));
    list->lock = (uint32_t)gettid() | FUTEX_WAITERS;
    sleep_ms(100);
  }
  while (!list->lock) sleep_ms(1);
  uint32_t held = list->lock;
  OK(futex(&list->lock, FUTEX_WAIT, held, NULL, NULL, 0));
  IS(FUTEX_OWNER_DIED | FUTEX_WAITERS, list->lock);
  IS(0, ended(child));
}
FAILS_CASE("set_robust_list", "of another size is EINVAL", EINVAL, syscall(SYS_set_robust_list, NULL, 23))
CASE("get_robust_list", "tells what was set") {
  struct robust_list_head head, *got;
  size_t size;
  OK(syscall(SYS_set_robust_list, &head, sizeof head));
  OK(syscall(SYS_get_robust_list, 0, &got, &size));
  HOLDS(got == &head && size == sizeof head);
}
FAILS_CASE("get_robust_list", "of no thread is ESRCH", ESRCH,
           syscall(SYS_get_robust_list, 32000, &(void *){0}, &(size_t){0}))
FAILS_CASE("get_robust_list", "into no memory is EFAULT", EFAULT,
           syscall(SYS_get_robust_list, 0, NOWHERE, &(size_t){0}))
CASE("get_robust_list", "of another user is EPERM") {
  become_user();
  FAILS(EPERM, syscall(SYS_get_robust_list, getppid(), &(void *){0}, &(size_t){0}));
}

// Several words.
static struct futex_waitv several[2];
static long waitv(unsigned count, unsigned flags, const struct timespec *until, clockid_t clock) {
  return syscall(449, several, count, flags, until, clock);
}
static void two_words(void) {
  for (int i = 0; i < 2; i++) several[i] = (struct futex_waitv){0, (uintptr_t)(word + i), FUTEX_32, 0};
}
CASE("futex_waitv", "tells which was woken") {
  two_words();
  CHILD(child) IS(1, waitv(2, 0, NULL, 0));
  sleep_ms(50);
  IS(1, futex(word + 1, FUTEX_WAKE, 1, NULL, NULL, 0));
  IS(0, ended(child));
}
CASE("futex_waitv", "another value is EAGAIN") {
  two_words();
  word[1] = 5;
  FAILS(EAGAIN, waitv(2, 0, NULL, 0));
}
CASE("futex_waitv", "until a time") {
  two_words();
  FAILS(ETIMEDOUT, waitv(2, 0, at(CLOCK_MONOTONIC), CLOCK_MONOTONIC));
  FAILS(ETIMEDOUT, waitv(2, 0, at(CLOCK_REALTIME), CLOCK_REALTIME));
}
CASE("futex_waitv", "by another clock is EINVAL") {
  two_words();
  FAILS(EINVAL, waitv(2, 0, at(CLOCK_MONOTONIC), CLOCK_BOOTTIME));
}
CASE("futex_waitv", "of no words is EINVAL") { FAILS(EINVAL, waitv(0, 0, NULL, 0)); }
CASE("futex_waitv", "of too many words is EINVAL") { FAILS(EINVAL, waitv(129, 0, NULL, 0)); }
CASE("futex_waitv", "with a flag is EINVAL") {
  two_words();
  FAILS(EINVAL, waitv(2, 1, NULL, 0));
}
CASE("futex_waitv", "of a word of no size is EINVAL") {
  two_words();
  several[1].flags = 0x40;
  FAILS(EINVAL, waitv(2, 0, NULL, 0));
}
CASE("futex_waitv", "of a word in no memory is EFAULT") {
  two_words();
  several[1].uaddr = (uintptr_t)NOWHERE;
  FAILS(EFAULT, waitv(2, 0, NULL, 0));
}
FAILS_CASE("futex_waitv", "of words in no memory is EFAULT", EFAULT, syscall(449, NOWHERE, 1, 0, NULL, 0))
CASE("futex_waitv", "is EINTR when a signal comes") {
  two_words();
  interrupt_soon();
  FAILS(EINTR, waitv(2, 0, NULL, 0));
}

static void schedule(pid_t pid, int policy, int priority) {
  struct sched_param param = {priority};
  if (sched_setscheduler(pid, policy, &param) == -1) _exit(0);
}
static void only_one_processor(void) {
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  OK(sched_setaffinity(0, sizeof first, &first));
}
CASE("futex", "FUTEX_UNLOCK_PI gives it to the most urgent who waits") {
  uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  only_one_processor();
  OK(futex(shared, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
  pid_t waiting[3];
  for (int i = 0; i < 3; i++) {
    waiting[i] = OK(fork());
    if (waiting[i] == 0) {
      schedule(0, i == 0 ? SCHED_OTHER : SCHED_FIFO, i == 0 ? 0 : 10 * i);
      OK(futex(shared, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
      shared[1] = shared[1] * 10 + (uint32_t)i + 1;
      OK(futex(shared, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
      _exit(0);
    }
    char stat[64], state[128];
    snprintf(stat, sizeof stat, "/proc/%d/stat", waiting[i]);
    do {
      sleep_ms(1);
      strncpy(state, strrchr(read_file(stat), ')'), 3);
    } while (state[2] != 'S');
    // It sleeps in no other call but this.
  }
  sleep_ms(20);
  OK(futex(shared, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
  for (int i = 0; i < 3; i++) IS(0, ended(waiting[i]));
  if (shared[1]) IS(321, shared[1]);
}
// The owner has no urgency of its own; one of middle urgency would leave it a twentieth of the processor, and it needs more.
CASE("futex", "FUTEX_LOCK_PI lends the owner the urgency of who waits") {
  uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  volatile uint32_t *locked = shared + 1, *done = shared + 2, *spun = shared + 3;
  only_one_processor();
  pid_t owner = OK(fork());
  if (owner == 0) {
    OK(futex(shared, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    *locked = 1;
    struct timespec used;
    do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    while (used.tv_sec == 0 && used.tv_nsec < 300000000);
    OK(futex(shared, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    _exit(0);
  }
  while (!*locked) sleep_ms(1);
  schedule(0, SCHED_FIFO, 30);
  pid_t spinning = OK(fork());
  if (spinning == 0) {
    schedule(0, SCHED_FIFO, 10);
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
      clock_gettime(CLOCK_MONOTONIC, &now);
      *spun += 1;
    } while (!*done && now.tv_sec < start.tv_sec + 3);
    _exit(*done ? 0 : 1);
  }
  pid_t urgent = OK(fork());
  if (urgent == 0) {
    schedule(0, SCHED_FIFO, 20);
    OK(futex(shared, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    *done = 1;
    _exit(0);
  }
  IS(0, ended(urgent));
  IS(0, ended(spinning));
  IS(0, ended(owner));
}
