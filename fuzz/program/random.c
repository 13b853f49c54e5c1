#include "fuzzer.h"

static _Thread_local uint64_t state;

// SplitMix64: neighbouring seeds make different rounds.
void seed_thread(uint64_t seed) {
  state = (seed + 1) * 0x9e3779b97f4a7c15;
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9, state ^= state >> 31;
  if (state == 0) state = 1;
}

uint64_t next(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}
uint64_t below(uint64_t n) { return (next() >> 11) % n; }
int rarely(uint64_t n) { return below(n) == 0; }

uint64_t number(void) {
  static const uint64_t edges[] = {0, 1, 2, 3, 7, 8, 16, 64, 100, 255, 4095, 4096, 4097, 65536, 0x7fffffff, 0x80000000,
                                   0xffffffff, 1ull << 32, 1ull << 47, 0x7fffffffffffffff, 1ull << 63, -1ull, -2ull,
                                   -4096ull, -4095ull};
  switch (below(4)) {
    case 0: return below(64);
    case 1: return 1ull << below(64);
    case 2: return edges[below(sizeof edges / sizeof *edges)];
    default: return next() >> below(64);
  }
}
