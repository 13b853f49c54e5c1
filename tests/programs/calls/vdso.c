// The vDSO, vdso(7): what is mapped, its names as C libraries look them up, and that its clocks are the system calls'.
#include "calls.h"
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>

static const char *vdso(void) { return (const char *)getauxval(AT_SYSINFO_EHDR); }

static const Elf64_Phdr *segment(unsigned kind) {
  const Elf64_Ehdr *elf = (const void *)vdso();
  const Elf64_Phdr *all = (const void *)(vdso() + elf->e_phoff);
  for (int i = 0; i < elf->e_phnum; i++)
    if (all[i].p_type == kind) return all + i;
  return NULL;
}

static uint64_t dynamic(long tag) {
  const Elf64_Dyn *entry = (const void *)(vdso() + segment(PT_DYNAMIC)->p_offset);
  for (; entry->d_tag != DT_NULL; entry++)
    if (entry->d_tag == tag) return entry->d_un.d_val;
  return 0;
}

// A function of the version LINUX_2.6, found through DT_HASH as musl does it, or through DT_GNU_HASH where there is only
// that.
static const char *version_of(unsigned index) {
  const char *strings = vdso() + dynamic(DT_STRTAB);
  const char *at = vdso() + dynamic(DT_VERDEF);
  for (;;) {
    const Elf64_Verdef *defined = (const void *)at;
    const Elf64_Verdaux *name = (const void *)(at + defined->vd_aux);
    if ((defined->vd_ndx & 0x7fff) == index) return strings + name->vda_name;
    if (!defined->vd_next) return "";
    at += defined->vd_next;
  }
}
static uint32_t gnu_hash(const char *name) {
  uint32_t hash = 5381;
  for (; *name; name++) hash = hash * 33 + (unsigned char)*name;
  return hash;
}
static void *function(const char *name) {
  const Elf64_Sym *symbols = (const void *)(vdso() + dynamic(DT_SYMTAB));
  const char *strings = vdso() + dynamic(DT_STRTAB);
  const Elf64_Half *versions = (const void *)(vdso() + dynamic(DT_VERSYM));
  const uint32_t *table = (const void *)(vdso() + dynamic(DT_GNU_HASH));
  const uint32_t *buckets = table + 4 + table[2] * 2, *chains = buckets + table[0];
  uint32_t hash = gnu_hash(name), at = buckets[hash % table[0]];
  if (at == 0) return NULL;
  for (;; at++) {
    uint32_t entry = chains[at - table[1]];
    if ((entry | 1) == (hash | 1) && !strcmp(strings + symbols[at].st_name, name)) {
      HOLDS(!strcmp(version_of(versions[at] & 0x7fff), "LINUX_2.6"));
      return (void *)(vdso() + symbols[at].st_value);
    }
    if (entry & 1) return NULL;
  }
}

static int64_t nanoseconds(struct timespec time) { return time.tv_sec * 1000000000 + time.tv_nsec; }
static int64_t called(clockid_t clock) {
  struct timespec time;
  OK(syscall(SYS_clock_gettime, clock, &time));
  return nanoseconds(time);
}
typedef int gettime(clockid_t, struct timespec *);
static int64_t read_by(gettime *how, clockid_t clock) {
  struct timespec time = {-1, -1};
  IS(0, how(clock, &time));
  HOLDS(time.tv_nsec >= 0 && time.tv_nsec < 1000000000);
  return nanoseconds(time);
}

CASE("vdso", "is an ELF library of one loaded segment, at a page's start") {
  HOLDS(vdso() != NULL && (uintptr_t)vdso() % 4096 == 0);
  SAME(ELFMAG, vdso(), SELFMAG);
  IS(ET_DYN, ((const Elf64_Ehdr *)vdso())->e_type);
  HOLDS(segment(PT_LOAD) && segment(PT_DYNAMIC) && segment(PT_NOTE) && segment(PT_GNU_EH_FRAME));
  IS(0, segment(PT_LOAD)->p_vaddr);
  HOLDS(!strcmp(vdso() + dynamic(DT_STRTAB) + dynamic(DT_SONAME), "linux-vdso.so.1"));
}

CASE("vdso", "has its functions with and without their prefix, all of the version LINUX_2.6") {
  static const char *const names[] = {"clock_gettime", "clock_getres", "gettimeofday", "time", "getcpu"};
  for (int i = 0; i < 5; i++) {
    char prefixed[32];
    snprintf(prefixed, sizeof prefixed, "__vdso_%s", names[i]);
    HOLDS(function(prefixed) != NULL && function(prefixed) == function(names[i]));
  }
  HOLDS(function("__vdso_settimeofday") == NULL);
}

static void find_line(char *line, const char *name) {
  FILE *maps = fopen("/proc/self/maps", "r");
  while (fgets(line, 256, maps))
    if (strstr(line, name)) return;
  *line = 0;
}
// Linux takes such a mapping as a whole or not at all.
static size_t length(void) {
  char line[256], *end;
  find_line(line, "[vdso]");
  uintptr_t from = strtoull(line, &end, 16);
  return strtoull(end + 1, NULL, 16) - from;
}
CASE("vdso", "is [vdso] in /proc/self/maps, which can be read and executed") {
  char line[256];
  find_line(line, "[vdso]");
  HOLDS(strtoull(line, NULL, 16) == (uintptr_t)vdso());
  HOLDS(strstr(line, " r-xp 00000000 00:00 0 ") != NULL);
}
CASE("vdso", "has a [vvar] which can only be read") {
  char line[256];
  find_line(line, "[vvar]");
  HOLDS(strstr(line, " r--p 00000000 00:00 0 ") != NULL);
  void *start = (void *)strtoull(line, NULL, 16);
  FAILS(EACCES, mprotect(start, 4096, PROT_READ | PROT_WRITE));
  FAILS(EACCES, mprotect(start, 4096, PROT_READ | PROT_EXEC));
}
CASE("vdso", "'s code can be made writable, and what one process writes stays its own") {
  OK(mprotect((void *)vdso(), length(), PROT_READ | PROT_WRITE));
  CHILD(pid) { *(volatile char *)vdso() = 1; }
  IS(0, ended(pid));
  IS(0x7f, *vdso());
}

static void agrees(clockid_t clock, int64_t step) {
  gettime *read = function("__vdso_clock_gettime");
  for (int i = 0; i < 1000; i++) {
    int64_t before = called(clock), between = read_by(read, clock), after = called(clock);
    HOLDS(before - step <= between);
    HOLDS(between <= after + step);
  }
}
CASE("vdso", "'s CLOCK_MONOTONIC is the system call's") { agrees(CLOCK_MONOTONIC, 0); }
CASE("vdso", "'s CLOCK_REALTIME is the system call's") { agrees(CLOCK_REALTIME, 0); }
CASE("vdso", "'s CLOCK_BOOTTIME is the system call's") { agrees(CLOCK_BOOTTIME, 0); }
CASE("vdso", "'s CLOCK_MONOTONIC_RAW is the system call's") { agrees(CLOCK_MONOTONIC_RAW, 0); }
CASE("vdso", "'s CLOCK_TAI is the system call's") { agrees(CLOCK_TAI, 0); }
CASE("vdso", "'s coarse clocks are the system call's") {
  agrees(CLOCK_MONOTONIC_COARSE, 0);
  agrees(CLOCK_REALTIME_COARSE, 0);
}
CASE("vdso", "'s clocks of processor time are the system call's") {
  agrees(CLOCK_PROCESS_CPUTIME_ID, 0);
  agrees(CLOCK_THREAD_CPUTIME_ID, 0);
}
CASE("vdso", "'s CLOCK_MONOTONIC never goes back, whichever way and whoever reads it") {
  gettime *read = function("__vdso_clock_gettime");
  int64_t *last = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int turn = 0; turn < 50; turn++) {
    CHILD(pid) {
      for (int i = 0; i < 50; i++) {
        int64_t now = i % 3 ? read_by(read, CLOCK_MONOTONIC) : called(CLOCK_MONOTONIC);
        HOLDS(now >= *last);
        *last = now;
      }
    }
    IS(0, ended(pid));
  }
}
CASE("vdso", "'s clock_gettime goes on while nothing else happens") {
  gettime *read = function("__vdso_clock_gettime");
  int64_t start = read_by(read, CLOCK_MONOTONIC);
  while (read_by(read, CLOCK_MONOTONIC) < start + 5000000);
  int64_t now = called(CLOCK_MONOTONIC);
  HOLDS(now >= start + 5000000);
}
CASE("vdso", "'s clock_gettime gives what the system call gives for clocks that are none") {
  gettime *read = function("__vdso_clock_gettime");
  struct timespec time;
  IS(-EINVAL, read(12, &time) == -EINVAL ? -EINVAL : 0);
  IS(-EINVAL, read(63, &time) == -EINVAL ? -EINVAL : 0);
}
CASE("vdso", "'s clock_getres is the system call's, with and without a place for it") {
  gettime *step = function("__vdso_clock_getres");
  static const clockid_t clocks[] = {CLOCK_REALTIME,  CLOCK_MONOTONIC,       CLOCK_MONOTONIC_RAW,      CLOCK_BOOTTIME,
                                     CLOCK_TAI,       CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE,   CLOCK_PROCESS_CPUTIME_ID};
  for (int i = 0; i < 8; i++) {
    struct timespec mine = {-1, -1}, right = {-2, -2};
    IS(0, step(clocks[i], &mine));
    OK(syscall(SYS_clock_getres, clocks[i], &right));
    SAME(&right, &mine, sizeof mine);
    IS(0, step(clocks[i], NULL));
  }
}
CASE("vdso", "'s gettimeofday is the system call's, and each pointer may be missing") {
  int (*read)(struct timeval *, struct timezone *) = function("__vdso_gettimeofday");
  struct timeval before, between = {-1, -1}, after;
  struct timezone zone = {77, 77}, right;
  for (int i = 0; i < 1000; i++) {
    OK(syscall(SYS_gettimeofday, &before, &right));
    IS(0, read(&between, &zone));
    OK(syscall(SYS_gettimeofday, &after, NULL));
    HOLDS(!timercmp(&before, &between, >) && !timercmp(&between, &after, >));
    HOLDS(between.tv_usec >= 0 && between.tv_usec < 1000000);
  }
  SAME(&right, &zone, sizeof zone);
  IS(0, read(&between, NULL));
  IS(0, read(NULL, NULL));
}
CASE("vdso", "'s time is gettimeofday's seconds") {
  time_t (*read)(time_t *) = function("__vdso_time");
  time_t stored = 0;
  time_t before = syscall(SYS_time, NULL), between = read(&stored), after = syscall(SYS_time, NULL);
  HOLDS(before <= between && between <= after && stored == between);
  HOLDS(read(NULL) >= between);
}
CASE("vdso", "'s getcpu is the system call's") {
  long (*get)(unsigned *, unsigned *, void *) = function("__vdso_getcpu");
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  OK(sched_setaffinity(0, sizeof first, &first));
  unsigned cpu = 77, node = 77, right_cpu, right_node;
  IS(0, get(&cpu, &node, NULL));
  OK(syscall(SYS_getcpu, &right_cpu, &right_node, NULL));
  IS(right_cpu, cpu);
  IS(right_node, node);
  IS(0, get(NULL, NULL, NULL));
}

CASE("vdso", "can be moved elsewhere") {
  gettime *read = function("__vdso_clock_gettime");
  HOLDS(read_by(read, CLOCK_MONOTONIC) > 0);
  size_t size = length();
  char *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  HOLDS(mremap((void *)vdso(), size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
  char line[256];
  find_line(line, "[vdso]");
  IS((uintptr_t)place, strtoull(line, NULL, 16));
  SAME(ELFMAG, place, SELFMAG);
}
CASE("vdso", "can be unmapped, and calls of it are SIGSEGV then") {
  gettime *read = function("__vdso_clock_gettime");
  OK(munmap((void *)vdso(), length()));
  CHILD(pid) {
    struct timespec time;
    read(CLOCK_MONOTONIC, &time);
  }
  IS(128 + SIGSEGV, ended(pid));
  HOLDS(called(CLOCK_MONOTONIC) > 0);
}
CASE("vdso", "is mapped anew for every program") {
  CHILD(pid) {
    OK(munmap((void *)vdso(), length()));
    execl("/proc/self/exe", "calls", "vdso: is an ELF library", NULL);
  }
  IS(0, ended(pid));
}
CASE("vdso", "can be read by a tracer, its data cannot") {
  char line[256];
  find_line(line, "[vvar]");
  void *data = (void *)strtoull(line, NULL, 16);
  CHILD(pid) {
    OK(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    raise(SIGSTOP);
  }
  IS(pid, waitpid(pid, NULL, 0));
  long word = 0;
  errno = 0;
  word = ptrace(PTRACE_PEEKDATA, pid, vdso(), NULL);
  IS(0, errno);
  SAME(ELFMAG, &word, SELFMAG);
  FAILS(EIO, ptrace(PTRACE_PEEKDATA, pid, data, NULL));
  OK(ptrace(PTRACE_KILL, pid, NULL, NULL));
  IS(128 + SIGKILL, ended(pid));
}
