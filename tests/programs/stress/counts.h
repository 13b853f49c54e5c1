// What a system has given out, as /proc tells it: a test that gives everything back leaves these as they were.
#ifndef COUNTS_H
#define COUNTS_H
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct counts {
  long frames, heap, files, tasks;  // Frames and heap in KiB.
};

// The number behind a word in a file of /proc, after `skip` more words.
static inline long read_number(const char *path, const char *word, int skip) {
  static char text[4096];
  int file = open(path, O_RDONLY);
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0) return -1;
  text[length] = 0;
  char *at = strstr(text, word);
  if (!at) return -1;
  at += strlen(word);
  for (; skip > 0; skip--) at += strcspn(at, " /"), at++;
  return strtol(at, 0, 10);
}

static inline struct counts count(void) {
  return (struct counts){
      .frames = read_number("/proc/meminfo", "MemFree:", 0),
      .heap = read_number("/proc/meminfo", "Slab:", 0),
      .files = read_number("/proc/sys/fs/file-nr", "", 0),
      .tasks = read_number("/proc/loadavg", "", 4),
  };
}

static inline int same_counts(const struct counts *a, const struct counts *b) { return memcmp(a, b, sizeof *a) == 0; }

static inline void print_counts(int out, const struct counts *now, const struct counts *before) {
  dprintf(out, "not given back: frames %ld of %ld KiB, heap %ld of %ld KiB, files %ld of %ld, tasks %ld of %ld\n", now->frames, before->frames,
          now->heap, before->heap, now->files, before->files, now->tasks, before->tasks);
}
#endif
