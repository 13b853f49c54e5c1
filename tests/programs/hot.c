/* Code that runs long enough to be translated, and then does what translators find hard. Every line printed is the same
   on every processor. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))
#define STACK (512ul << 20)

static sigjmp_buf back;
static volatile uint64_t depth_seen;

static NOINLINE uint64_t deep(uint64_t n, uint64_t *sum)
{
    uint64_t r;
    if (n == 0) return *sum;
    *sum += n;
    r = deep(n - 1, sum);
    __asm__ volatile("" : "+r"(r));
    return r + 1;
}

static NOINLINE void jump_from(uint64_t n, uint64_t at)
{
    if (n == at) siglongjmp(back, 1);
    jump_from(n + 1, at);
    __asm__ volatile("");
}

static NOINLINE uint64_t fault_at(uint64_t n, volatile int *bad)
{
    uint64_t r = n == 0 ? (uint64_t)*bad : fault_at(n - 1, bad);
    __asm__ volatile("" : "+r"(r));
    return r + n;
}

static volatile sig_atomic_t faults;
static volatile int good = 5;

/* The load at RIP read through RAX: it shall find the good number, and the program goes on in the deepest frame. */
static void mend(int signal, siginfo_t *info, void *context)
{
    ucontext_t *frame = context;
    greg_t *regs = frame->uc_mcontext.gregs;
    int i;
    (void)signal;
    for (i = 0; i < NGREG; i++)
        if (regs[i] == (greg_t)(uintptr_t)info->si_addr && i != REG_CR2) regs[i] = (greg_t)(uintptr_t)&good;
    faults++;
}

static void on_big_stack(void (*run)(void))
{
    static ucontext_t here, there;
    void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = STACK;
    there.uc_link = &here;
    makecontext(&there, run, 0);
    swapcontext(&here, &there);
    munmap(stack, STACK);
}

static NOINLINE void recursion(void)
{
    uint64_t sum = 0;
    printf("%llu", (unsigned long long)deep(1000000, &sum));
    sum = 0;
    printf(" %llu\n", (unsigned long long)deep(1000000, &sum));
}

static NOINLINE void jumps(void)
{
    static volatile int i, n;
    for (i = 0; i < 2000; i++)
        if (sigsetjmp(back, 0) == 0) jump_from(0, (uint64_t)i); else n++;
    printf("%d\n", n);
}

static NOINLINE void deepest_fault(void)
{
    struct sigaction action = {.sa_sigaction = mend, .sa_flags = SA_SIGINFO};
    volatile int *bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t sum = 0;
    int i;
    sigaction(SIGSEGV, &action, NULL);
    for (i = 0; i < 300; i++) sum += fault_at(500, bad);
    printf("%llu %d\n", (unsigned long long)sum, (int)faults);
}

static volatile sig_atomic_t ticks;
static void tick(int signal) { (void)signal; ticks++; }

static NOINLINE void interrupted(void)
{
    struct sigaction action = {.sa_handler = tick};
    uint64_t x = 1, n = 0;
    sigaction(SIGALRM, &action, NULL);
    ualarm(1000, 1000);
    while (ticks < 20) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        n += x >> 63;
        __asm__ volatile("" : "+r"(x), "+r"(n));
    }
    ualarm(0, 0);
    printf("%d\n", n > 0);
}

/* add eax-style code that is written while it runs, through one mapping and through another */
static NOINLINE void rewritten(void)
{
    int file = open("code", O_RDWR | O_CREAT | O_TRUNC, 0700), i, where;
    uint8_t *one, *two;
    uint64_t sum = 0;
    if (ftruncate(file, 8192) != 0) exit(1);
    one = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, file, 0);
    two = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, file, 0);
    for (where = 0; where < 8192; where += 4090) {
        /* lea eax, [rdi + n]; ret: 7 bytes, the second time across pages */
        const uint8_t code[] = {0x8d, 0x87, 0, 0, 0, 0, 0xc3};
        memcpy(one + where, code, sizeof code);
        for (i = 0; i < 3000; i++) {
            int (*f)(int) = (int (*)(int))(void *)((i & 1 ? one : two) + where);
            if (i % 500 == 0) (i % 1000 ? one : two)[where + 3] = (uint8_t)(i / 500);
            sum = sum * 3 + (uint64_t)f(i);
        }
    }
    /* a loop that writes its own next instruction: mov byte [rip + 1], dil; mov al, n; add edx, eax; ... */
    {
        const uint8_t code[] = {0x31, 0xd2, 0x31, 0xc0,                         /* xor edx, edx; xor eax, eax */
                                0x40, 0x88, 0x3d, 0x01, 0, 0, 0,                /* mov [rip + 1], dil */
                                0xb0, 0,                                        /* mov al, n */
                                0x01, 0xc2, 0xff, 0xcf, 0x75, 0xf1,             /* add edx, eax; dec edi; jnz */
                                0x89, 0xd0, 0xc3};                              /* mov eax, edx; ret */
        memcpy(one + 512, code, sizeof code);
        sum = sum * 3 + (uint64_t)((int (*)(int))(void *)(two + 512))(1000);
    }
    /* taken away and given back elsewhere */
    mprotect(two, 8192, PROT_READ);
    munmap(one, 8192);
    mprotect(two, 8192, PROT_READ | PROT_EXEC);
    sum = sum * 3 + (uint64_t)((int (*)(int))(void *)two)(7);
    printf("%016llx\n", (unsigned long long)sum);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    if (!strcmp(what, "recursion")) on_big_stack(recursion);
    else if (!strcmp(what, "jumps")) jumps();
    else if (!strcmp(what, "fault")) deepest_fault();
    else if (!strcmp(what, "interrupted")) interrupted();
    else if (!strcmp(what, "rewritten")) rewritten();
    else return 2;
    return 0;
}
