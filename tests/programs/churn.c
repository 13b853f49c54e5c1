/* Makes new code for so many seconds, as a program with a compiler inside does: each function is written, runs until it
   is hot, and gives way to another. Prints how many there were; every result is checked. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Functions that are there at a time, and bytes each may have. */
#define KEPT 512
#define ROOM 512
/* Often enough to be translated. */
#define RUNS 3000

typedef uint64_t function(uint64_t);

static uint64_t state = 88172645463325252ull;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Writes a function of RDI: steps on RAX, some of them in a loop of four rounds. Returns what it makes of `x`. */
static uint64_t write_function(unsigned char *at, uint64_t x)
{
    static const unsigned char start[] = {0x48, 0x89, 0xf8, 0xb9, 4, 0, 0, 0}; /* mov rax, rdi; mov ecx, 4 */
    static const unsigned char end[] = {0xff, 0xc9, 0x0f, 0x85};               /* dec ecx; jnz */
    unsigned char *loop;
    uint32_t constants[24];
    int kinds[24], steps = 4 + (int)(next() % 20), i, round;
    int32_t distance;
    memcpy(at, start, sizeof start);
    at += sizeof start;
    loop = at;
    for (i = 0; i < steps; i++) {
        kinds[i] = (int)(next() % 4);
        constants[i] = (uint32_t)next() & 0x7fffffff;
        *at++ = 0x48;
        switch (kinds[i]) {
        case 0: *at++ = 0x05; break;               /* add rax, constant */
        case 1: *at++ = 0x35; break;               /* xor rax, constant */
        case 2: *at++ = 0x69, *at++ = 0xc0; break; /* imul rax, rax, constant */
        default: *at++ = 0xc1, *at++ = 0xc0, *at++ = (unsigned char)(constants[i] & 31); break; /* rol rax, count */
        }
        if (kinds[i] < 3) {
            memcpy(at, &constants[i], 4);
            at += 4;
        }
    }
    memcpy(at, end, sizeof end);
    at += sizeof end;
    distance = (int32_t)(loop - (at + 4));
    memcpy(at, &distance, 4);
    at[4] = 0xc3;
    for (round = 0; round < 4; round++)
        for (i = 0; i < steps; i++) {
            unsigned count = constants[i] & 31;
            switch (kinds[i]) {
            case 0: x += constants[i]; break;
            case 1: x ^= constants[i]; break;
            case 2: x *= constants[i]; break;
            default: x = count ? x << count | x >> (64 - count) : x; break;
            }
        }
    return x;
}

int main(int argc, char **argv)
{
    time_t until = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);
    unsigned char *code =
        mmap(NULL, KEPT * ROOM, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned long made = 0;
    while (time(NULL) < until) {
        unsigned char *at = code + made % KEPT * ROOM;
        uint64_t expected = write_function(at, made);
        int run;
        for (run = 0; run < RUNS; run++)
            if (((function *)(uintptr_t)at)(made) != expected) {
                printf("function %lu is wrong in run %d\n", made, run);
                return 1;
            }
        made++;
    }
    printf("%lu functions\n", made);
    return 0;
}
