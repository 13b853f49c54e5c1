#include "musl.h"

#define PAGE 4096

static sigjmp_buf back;
static volatile uintptr_t fault_offset;
static volatile int fault_signal, fault_code;
static char *fault_base;

static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)context;
  fault_signal = signal, fault_code = info->si_code;
  fault_offset = (char *)info->si_addr - fault_base;
  siglongjmp(back, 1);
}

static void catch_faults(char *base) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, 0);
  sigaction(SIGBUS, &action, 0);
  fault_base = base;
}

// Prints how an access ended.
#define ACCESS(what, statement)                                                                            \
  do {                                                                                                     \
    if (sigsetjmp(back, 1) == 0) {                                                                         \
      statement;                                                                                           \
      printf("%s: fine\n", what);                                                                          \
    } else                                                                                                 \
      printf("%s: signal %d code %d at +%#lx\n", what, fault_signal, fault_code, (long)fault_offset);      \
    fflush(stdout);                                                                                        \
  } while (0)

static char *map(size_t size, int protection, int flags) {
  return mmap(0, size, protection, flags, -1, 0);
}

static int cow(int argc, char **argv) {
  (void)argc, (void)argv;
  size_t size = 64 * PAGE;
  char *memory = map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  for (size_t i = 0; i < size; i += PAGE) memory[i] = (char)(i / PAGE);
  int pipes[2];
  TRY(pipe(pipes));
  pid_t child = fork();
  if (child == 0) {
    int sum = 0;
    for (size_t i = 0; i < size; i += PAGE) sum += memory[i], memory[i] = 100;
    if (fork() == 0) {
      for (size_t i = 0; i < size; i += PAGE) sum += memory[i], memory[i] = 101;
      write(pipes[1], &sum, sizeof sum);
      _exit(memory[PAGE]);
    }
    int status;
    wait(&status);
    printf("grandchild saw its own: %d\n", WEXITSTATUS(status));
    printf("child kept its own: %d\n", memory[PAGE]);
    fflush(stdout);
    write(pipes[1], &sum, sizeof sum);
    _exit(0);
  }
  waitpid(child, 0, 0);
  int sums[2];
  SHOW(read(pipes[0], sums, sizeof sums));
  printf("%d %d\n", sums[0], sums[1]);
  int kept = 1;
  for (size_t i = 0; i < size; i += PAGE) kept &= memory[i] == (char)(i / PAGE);
  printf("parent kept everything: %d\n", kept);
  return 0;
}

static int mappings(int argc, char **argv) {
  (void)argc, (void)argv;
  int *shared = (int *)map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  if (fork() == 0) shared[3] = 42, _exit(0);
  wait(0);
  printf("shared with the child: %d\n", shared[3]);
  int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
  TRY(ftruncate(fd, 2 * PAGE + 10));
  char *file = mmap(0, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char *mine = mmap(0, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  strcpy(file, "through the file");
  printf("private sees it before its own write: %s\n", mine);
  strcpy(mine, "own");
  char text[32] = {0};
  SHOW(pread(fd, text, 31, 0));
  printf("%s | %s\n", text, file);
  SHOW(pwrite(fd, "THROUGH", 7, 0));
  printf("%.16s\n", file);
  file[2 * PAGE + 100] = 'x';
  SHOW(pread(fd, text, 31, 2 * PAGE));
  catch_faults(file);
  TRY(ftruncate(fd, PAGE));
  ACCESS("past the new end", file[PAGE] = 1);
  ACCESS("private past the end", (void)*(volatile char *)(mine + PAGE));
  ACCESS("before it", file[0] = 'T');
  TRY(msync(file, PAGE, MS_SYNC));
  TRY(munmap(file, 3 * PAGE));
  ACCESS("unmapped", file[0] = 1);
  close(fd);
  fd = open("mapped", O_RDONLY);
  SHOW((long)mmap(0, PAGE, PROT_WRITE | PROT_READ, MAP_SHARED, fd, 0));
  return unlink("mapped");
}

static int protection(int argc, char **argv) {
  (void)argc, (void)argv;
  char *memory = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  memset(memory, 7, 8 * PAGE);
  catch_faults(memory);
  TRY(mprotect(memory + PAGE, PAGE, PROT_READ));
  TRY(mprotect(memory + 2 * PAGE, PAGE, PROT_NONE));
  ACCESS("write to read-only", memory[PAGE + 5] = 1);
  ACCESS("read of read-only", (void)*(volatile char *)(memory + PAGE + 5));
  ACCESS("read of none", (void)*(volatile char *)(memory + 2 * PAGE));
  ACCESS("write across into read-only", *(volatile uint64_t *)(memory + PAGE - 4) = 1);
  ACCESS("jump to data", ((void (*)(void))(memory + 64))());
  memcpy(memory + 3 * PAGE, "\xb8\x2a\x00\x00\x00\xc3", 6);
  TRY(mprotect(memory + 3 * PAGE, PAGE, PROT_READ | PROT_EXEC));
  printf("made code returns %d\n", ((int (*)(void))(memory + 3 * PAGE))());
  TRY(mprotect(memory + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
  memory[3 * PAGE + 1] = 43;
  printf("changed code returns %d\n", ((int (*)(void))(memory + 3 * PAGE))());
  TRY(mprotect(memory + PAGE, 2 * PAGE, PROT_READ | PROT_WRITE));
  ACCESS("write after it is allowed", memory[PAGE] = memory[2 * PAGE] = 1);
  printf("contents are kept: %d\n", memory[2 * PAGE + 9]);
  fault_base = 0;
  ACCESS("null", *(volatile int *)0 = 1);
  ACCESS("non-canonical", (void)*(volatile char *)0x8000000000000000);
  return 0;
}

static int remap(int argc, char **argv) {
  (void)argc, (void)argv;
  char *memory = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  strcpy(memory, "kept"), strcpy(memory + PAGE, "second");
  char *moved = mremap(memory, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
  printf("%s %s %d\n", moved, moved + PAGE, moved[63 * PAGE]);
  moved = mremap(moved, 64 * PAGE, PAGE, 0);
  printf("%s\n", moved);
  SHOW((long)mremap(moved + 1, PAGE, PAGE, 0));
  SHOW((long)mremap((void *)0x10000000, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
  char *place = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  printf("fixed: %d\n", mremap(moved, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place + PAGE) == place + PAGE);
  printf("%s\n", place + PAGE);
  char *end = (char *)syscall(SYS_brk, 0);
  printf("brk grows: %d\n", (char *)syscall(SYS_brk, end + 10 * PAGE) == end + 10 * PAGE);
  strcpy(end + 5 * PAGE, "heap");
  printf("%s\n", end + 5 * PAGE);
  printf("brk shrinks: %d\n", (char *)syscall(SYS_brk, end) == end);
  printf("and grows again: %d\n", (char *)syscall(SYS_brk, end + 10 * PAGE) == end + 10 * PAGE);
  printf("zeroed: %d\n", end[5 * PAGE]);
  TRY(madvise(place, PAGE, MADV_DONTNEED));
  printf("dropped: %d, neighbour: %s\n", place[0], place + PAGE);
  char *large = malloc(50 << 20);
  memset(large + (40 << 20), 1, 100);
  free(large);
  return 0;
}

static int memory_errors(int argc, char **argv) {
  (void)argc, (void)argv;
  SHOW((long)mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  SHOW((long)mmap(0, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
  SHOW((long)mmap(0, PAGE, PROT_READ, MAP_PRIVATE, 99, 0));
  SHOW((long)syscall(SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, 0, 5));
  SHOW((long)mmap((void *)123, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  SHOW((long)mmap(0, (size_t)1 << 62, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  char *memory = map(3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
  SHOW((long)mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
  TRY(munmap(memory + PAGE, PAGE));
  TRY(mprotect(memory, 3 * PAGE, PROT_READ));
  TRY(mprotect(memory + 1, PAGE, PROT_READ));
  TRY(munmap(memory + 1, PAGE));
  TRY(munmap(memory, 0));
  TRY(munmap(memory, 3 * PAGE));
  TRY(madvise(memory, PAGE, 9999));
  SHOW(write(1, (void *)0x10, 5));
  SHOW(read(0, (void *)-4096L, 5));
  int pipes[2];
  TRY(pipe(pipes));
  // A write that meets a bad page on its way gives what came before it.
  char *half = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  munmap(half + PAGE, PAGE);
  SHOW(write(pipes[1], half, 2 * PAGE) > 0);
  SHOW(syscall(SYS_pipe2, 8L, 0L));
  SHOW(syscall(SYS_open, 16L, O_RDONLY, 0));
  return 0;
}

static int depth(int n) {
  volatile char room[1000];
  room[n % 1000] = (char)n;
  return n == 0 ? room[0] : depth(n - 1) + room[n % 1000] - (char)n + 1;
}

static int endless(int n) {
  volatile char room[5000];
  room[0] = (char)n;
  return n < 0 ? 0 : endless(n + 1) + room[0];
}

static int stack(int argc, char **argv) {
  (void)argc, (void)argv;
  printf("4 MB deep: %d\n", depth(4000));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) _exit(endless(0));
  int status;
  waitpid(child, &status, 0);
  printf("too deep: signal %d\n", WTERMSIG(status));
  struct rlimit limit;
  getrlimit(RLIMIT_STACK, &limit);
  limit.rlim_cur = 1 << 20;
  TRY(setrlimit(RLIMIT_STACK, &limit));
  child = fork();
  if (child == 0) _exit(depth(7000) & 1);
  waitpid(child, &status, 0);
  printf("under a smaller limit: signal %d\n", WTERMSIG(status));
  return 0;
}

const struct part memory_parts[] = {{"cow", cow},
                                    {"mappings", mappings},
                                    {"protection", protection},
                                    {"remap", remap},
                                    {"memory-errors", memory_errors},
                                    {"stack", stack},
                                    {0, 0}};
