#include "fuzzer.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ull
// The round's memory, at an address that is the same in every round. After each part is a hole.
#define BASE 0x100000000ull
#define WRITABLE 64u
#define SHARED 8u
enum part { PRIVATE, COMMON, READ_ONLY, NOTHING, MAPPED_FILE, PARTS };
static const struct {
  uint64_t pages;
  int protection, flags;
} parts[PARTS] = {
    [PRIVATE] = {WRITABLE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS},
    [COMMON] = {SHARED, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS},
    [READ_ONLY] = {2, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS},
    [NOTHING] = {2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS},
    // Longer than the file: what is behind its end cannot be brought in.
    [MAPPED_FILE] = {4, PROT_READ | PROT_WRITE, MAP_SHARED},
};

static uint64_t start_of(enum part part) {
  uint64_t at = BASE;
  for (int i = 0; i < (int)part; i++) at += (parts[i].pages + 16) * PAGE;
  return at;
}

_Thread_local unsigned lane;

void make_memory(void) {
  int file = open("f", O_RDWR | O_CREAT, 0666);
  if (ftruncate(file, 5000)) return;
  for (enum part i = 0; i < PARTS; i++)
    mmap((void *)start_of(i), parts[i].pages * PAGE, parts[i].protection, parts[i].flags | MAP_FIXED,
         i == MAPPED_FILE ? file : -1, 0);
  close(file);
}

static uint64_t in(enum part part) { return start_of(part) + below(parts[part].pages * PAGE); }

uint64_t page(void) {
  enum part part = (enum part)below(PARTS);
  return start_of(part) + below(parts[part].pages + 2) * PAGE;
}

uint64_t futex_word(void) {
  if (rarely(20)) return room(8);
  return start_of(rarely(3) ? PRIVATE : COMMON) + below(4) * 4 + (rarely(30) ? 1 : 0);
}

uint64_t room(size_t size) {
  switch (below(24)) {
    case 0: return number();
    case 1: return 0;
    case 2: return in(READ_ONLY);
    case 3: return in(NOTHING);
    case 4: return in(MAPPED_FILE);
    case 5: return in(COMMON);
    // Its end is where the mapping ends, or a little behind.
    case 6: return start_of(PRIVATE) + WRITABLE * PAGE - size;
    case 7: return start_of(PRIVATE) + WRITABLE * PAGE - below(size + 1);
    case 8: return start_of(MAPPED_FILE) + 2 * PAGE - below(size + 1);
    case 9: return 0x7ffffffff000 - below(5000);
    case 10: return in(PRIVATE);
    default: return start_of(PRIVATE) + PAGE + below((WRITABLE - 4) * PAGE) / 64 * 64;
  }
}

// An earlier call may have taken the page away that is written to: it comes back. Anywhere else a fault is the end.
static void bring_back(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  uint64_t at = (uint64_t)info->si_addr & ~(PAGE - 1);
  if (at < BASE || at >= start_of(PARTS)) _exit(0);
  if (mmap((void *)at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) _exit(0);
}

void mend_memory(void) {
  struct sigaction action = {.sa_sigaction = bring_back, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, 0), sigaction(SIGBUS, &action, 0);
}

// Slots go round, so that what one argument holds is not what the next writes; each thread has some of its own.
static uint64_t slot(void) {
  static _Thread_local unsigned used;
  return start_of(PRIVATE) + (1 + lane % 4 * 12 + used++ % 12) * PAGE + below(8) * 8;
}

uint64_t put_whole(const void *bytes, size_t size) {
  uint64_t at = slot();
  memcpy((void *)at, bytes, size);
  return at;
}

uint64_t put(const void *bytes, size_t size) {
  uint64_t end = start_of(PRIVATE) + WRITABLE * PAGE, at = slot();
  if (rarely(40)) return room(size);
  size_t fits = size;
  if (rarely(20)) at = end - size;
  if (rarely(40)) fits = below(size + 1), at = end - fits;
  memcpy((void *)at, bytes, fits);
  return at;
}
