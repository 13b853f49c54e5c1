#include "musl.h"

static void limit(int what, rlim_t most) {
  struct rlimit both = {most, most};
  show("setrlimit", setrlimit(what, &both));
}

static int all_descriptors(int argc, char **argv) {
  (void)argc, (void)argv;
  limit(RLIMIT_NOFILE, 64);
  int last = -1, fd;
  while ((fd = dup(0)) >= 0) last = fd;
  SHOW(fd);
  printf("last %d\n", last);
  SHOW(open("/dev/null", O_RDONLY));
  close(last);
  SHOW(open("/dev/null", O_RDONLY));
  return 0;
}

static int all_pipes(int argc, char **argv) {
  (void)argc, (void)argv;
  limit(RLIMIT_NOFILE, 200);
  int ends[2], made = 0;
  while (pipe(ends) == 0) {
    made++;
    char block[65536] = {0};
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    write(ends[1], block, sizeof block);
  }
  show("pipe", -1);
  printf("made %d\n", made);
  return 0;
}

static int all_space(int argc, char **argv) {
  (void)argc, (void)argv;
  limit(RLIMIT_AS, 64 << 20);
  int made = 0;
  char *memory;
  while ((memory = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED) {
    memory[5] = 1;
    made++;
  }
  show("mmap", -1);
  printf("more than 50: %d\n", made > 50);
  printf("malloc: %d\n", malloc(10 << 20) != 0);
  return 0;
}

static int all_areas(int argc, char **argv) {
  (void)argc, (void)argv;
  size_t pages = 70000;
  char *memory = mmap(0, pages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  size_t i = 0;
  // Every second page with other permissions: an area each.
  while (i < pages && mprotect(memory + i * 4096, 4096, PROT_READ) == 0) i += 2;
  show("mprotect", i < pages ? -1 : 0);
  printf("near 65530 areas: %d\n", i > 65000 && i < 65540);
  return 0;
}

static int all_processes(int argc, char **argv) {
  (void)argc, (void)argv;
  setpgid(0, 0);
  setuid(1000);
  limit(RLIMIT_NPROC, 10);
  int made = 0, child;
  while ((child = fork()) > 0) made++;
  if (child == 0) {
    pause();
    _exit(0);
  }
  show("fork", -1);
  printf("some: %d\n", made > 0 && made <= 10);
  signal(SIGTERM, SIG_IGN);
  kill(0, SIGTERM);
  while (wait(0) > 0) {}
  return 0;
}

// Takes memory until the system has no more: ends with ENOMEM, or is killed.
static int all_memory(int argc, char **argv) {
  (void)argc, (void)argv;
  char *memory;
  while ((memory = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED)
    for (int i = 0; i < 1 << 20; i += 4096) memory[i] = 1;
  show("mmap", -1);
  return 3;
}

// The same of the kernel's own objects: descriptors and full pipes, in as many processes as there may be.
static int all_objects(int argc, char **argv) {
  (void)argc, (void)argv;
  setpgid(0, 0);
  struct rlimit descriptors;
  getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  setrlimit(RLIMIT_NOFILE, &descriptors);
  for (int i = 0; i < 40; i++)
    if (fork() == 0) {
      int ends[2];
      static char block[65536];
      while (pipe(ends) == 0) {
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
        write(ends[1], block, sizeof block);
      }
      pause();
    }
  usleep(500000);
  printf("still here\n");
  fflush(stdout);
  kill(0, SIGKILL);
  return 0;
}

const struct part exhaust_parts[] = {{"exhaust-descriptors", all_descriptors},
                                     {"exhaust-pipes", all_pipes},
                                     {"exhaust-space", all_space},
                                     {"exhaust-areas", all_areas},
                                     {"exhaust-processes", all_processes},
                                     {"exhaust-memory", all_memory},
                                     {"exhaust-objects", all_objects},
                                     {0, 0}};
