#include "musl.h"
#include <float.h>
#include <math.h>

void show(const char *what, long result) {
  if (result == -1)
    printf("%s: %s\n", what, strerror(errno));
  else
    printf("%s = %ld\n", what, result);
  fflush(stdout);
}

static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static int numbers(int argc, char **argv) {
  (void)argc, (void)argv;
  volatile double third = 1.0 / 3, big = 1e308;
  volatile long double wide = 1.0L / 3;
  printf("%.17g %.21Lg %g %a\n", third, wide, big * 10, third);
  printf("%.10f %.10f %.10f\n", sin(1), pow(2, 0.5), log(10));
  printf("%Lg %.20Lf\n", strtold("1.18973149535723176502e+4932", 0), strtold("0.1", 0));
  printf("%ld %ld %d\n", lround(2.5), lrint(2.5), (int)-2.9);
  printf("%llu %lld %x\n", (unsigned long long)(UINT64_MAX / 7), (long long)(INT64_MIN / 3), (unsigned)(0xdeadbeefu * 3u));
  __int128 product = (__int128)INT64_MAX * INT64_MAX;
  printf("%llx %llx\n", (unsigned long long)(product >> 64), (unsigned long long)product);
  char text[64];
  snprintf(text, sizeof text, "%08.3f|%+d|%-6s|%#o", 3.14159, 5, "ab", 8);
  puts(text);
  int values[] = {5, 3, 9, 1, 7};
  qsort(values, 5, sizeof *values, compare);
  for (int i = 0; i < 5; i++) printf("%d ", values[i]);
  puts(strstr("needle in a haystack", "hay"));
  return 0;
}

static const struct part own_parts[] = {{"numbers", numbers}, {0, 0}};

int main(int argc, char **argv) {
  const struct part *all[] = {own_parts, memory_parts, signal_parts, process_parts, file_parts, exhaust_parts,
                              terminal_parts};
  for (size_t i = 0; argc > 1 && i < sizeof all / sizeof *all; i++)
    for (const struct part *part = all[i]; part->name; part++)
      if (!strcmp(part->name, argv[1])) return part->run(argc, argv);
  fprintf(stderr, "no such part\n");
  return 2;
}
