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

/* Three tasks with stacks of their own that give way to one another from within their recursion, as goroutines do. */
#define TASKS 3
static void *task_stack[TASKS];
static uint64_t task_sum[TASKS];
static int task_now;

/* Saves what a call must keep, and the stack; goes on with the other one. */
void switch_stack(void **from, void **to);
__asm__(".text\n"
        "switch_stack:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp, (%rdi)\n"
        "mov (%rsi), %rsp\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n");

static void give_way(void)
{
    int from = task_now;
    task_now = (task_now + 1) % TASKS;
    switch_stack(&task_stack[from], &task_stack[task_now]);
}

static NOINLINE uint64_t working(uint64_t depth, uint64_t task)
{
    uint64_t r;
    if (depth % 7 == task) give_way();
    r = depth == 0 ? task : working(depth - 1, task) * 31 + depth;
    if (depth % 5 == task) give_way();
    return r;
}

static void run_task(void)
{
    int task = task_now, i;
    for (i = 0; i < 200; i++) task_sum[task] = task_sum[task] * 31 + working((uint64_t)(250 + i % 3), (uint64_t)task);
    /* Who is done keeps giving way until the first is. */
    while (task != 0) give_way();
}

static NOINLINE void switches(void)
{
    static uint64_t stacks[TASKS][32768] __attribute__((aligned(16)));
    int i;
    for (i = 1; i < TASKS; i++) {
        uint64_t *top = &stacks[i][32768 - 8];
        top[6] = (uint64_t)(uintptr_t)run_task;
        task_stack[i] = top;
    }
    run_task();
    for (i = 0; i < TASKS; i++) printf("%016llx ", (unsigned long long)task_sum[i]);
    printf("\n");
}

/* What code does that is taken away, or replaced by the kernel or another process, once it is hot. */
static volatile uintptr_t fault_rip, fault_addr;

static void noted(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    fault_rip = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    fault_addr = (uintptr_t)info->si_addr;
    siglongjmp(back, 1);
}

/* lea eax, [rdi + n]; ret */
static void code_that_adds(uint8_t *at, uint8_t n)
{
    const uint8_t code[] = {0x8d, 0x87, n, 0, 0, 0, 0xc3};
    memcpy(at, code, sizeof code);
}

static NOINLINE int run_often(uint8_t *at)
{
    int sum = 0, i;
    for (i = 0; i < 3000; i++) sum = sum * 3 + ((int (*)(int))(void *)at)(i);
    return sum;
}

/* Whether calling it faults right there. */
static NOINLINE int faults_at(uint8_t *at)
{
    if (sigsetjmp(back, 1) != 0) return fault_rip == (uintptr_t)at && fault_addr == (uintptr_t)at;
    ((int (*)(int))(void *)at)(1);
    return -1;
}

static NOINLINE void replaced(void)
{
    struct sigaction action = {.sa_sigaction = noted, .sa_flags = SA_SIGINFO};
    int file = open("replaced", O_RDWR | O_CREAT | O_TRUNC, 0700), pipes[2], i;
    uint8_t buffer[7], *code, *shared;
    const int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    sigaction(SIGSEGV, &action, NULL);
    if (ftruncate(file, 4096) != 0 || pipe(pipes) != 0) exit(1);
    code = mmap(NULL, 4096, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    shared = mmap(NULL, 4096, all, MAP_SHARED, file, 0);
    code_that_adds(code, 1);
    code_that_adds(shared, 1);
    for (i = 2; i < 8; i++) {
        printf("%d %d;", run_often(code), run_often(shared));
        code_that_adds(buffer, (uint8_t)i);
        /* read(2) into code; write(2) into the file it is mapped from */
        if (write(pipes[1], buffer, 7) != 7 || read(pipes[0], code, 7) != 7 || pwrite(file, buffer, 7, 0) != 7) exit(1);
    }
    printf("\n");
    for (i = 0; i < 4; i++) {
        printf("%d", run_often(code));
        mprotect(code, 4096, PROT_READ | PROT_WRITE);
        printf(" %d", faults_at(code));
        code_that_adds(code, (uint8_t)(10 + i));
        mprotect(code, 4096, PROT_READ | PROT_EXEC);
        printf(" %d", run_often(code));
        munmap(code, 4096);
        printf(" %d", faults_at(code));
        mmap(code, 4096, all, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        code_that_adds(code, (uint8_t)(20 + i));
        printf(" %d\n", run_often(code));
    }
    /* another process changes what this one is running */
    code_that_adds(shared, 0);
    if (fork() == 0) {
        usleep(20000);
        shared[2] = 100;
        _exit(0);
    }
    while (((int (*)(int))(void *)shared)(1) == 1) {}
    printf("%d\n", ((int (*)(int))(void *)shared)(1));
}

/* Stores across the end of what may be written leave everything as it was, however hot they are. */
static NOINLINE void store_8(uint8_t *at) { *(volatile uint64_t *)at = 0x1122334455667788ull; }
static NOINLINE void store_4(uint8_t *at) { *(volatile uint32_t *)at = 0x99aabbcc; }
static NOINLINE void store_2(uint8_t *at) { *(volatile uint16_t *)at = 0xddee; }
static NOINLINE void add_8(uint8_t *at) { __asm__ volatile("lock addq $77, (%0)" ::"r"(at) : "memory"); }
static NOINLINE void swap_8(uint8_t *at) { __asm__ volatile("mov $5, %%eax; xchg %%rax, (%0)" ::"r"(at) : "rax", "memory"); }
static NOINLINE void push_8(uint8_t *at)
{
    __asm__ volatile("mov %%rsp, %%r11; lea 8(%0), %%rsp; push $-1; mov %%r11, %%rsp" ::"r"(at) : "r11", "memory");
}

static NOINLINE void crossing(void)
{
    static uint8_t alternate[65536];
    /* Not 16 bytes at once: QEMU's TCG has written the first 8 by the time it looks at the page of the others. The
       processor tests compare those with silicon. */
    void (*const all[])(uint8_t *) = {store_8, store_4, store_2, add_8, swap_8, push_8};
    const size_t bytes[] = {8, 4, 2, 8, 8, 8};
    struct sigaction action = {.sa_sigaction = noted, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile size_t which;
    volatile int i, faulted, changed;
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    for (which = 0; which < 6; which++) {
        for (i = 0; i < 2000; i++) all[which](page + 256);
        memset(page, 0x5a, 4096);
        mprotect(page + 4096, 4096, PROT_NONE);
        for (i = faulted = 0; i < 40; i++) {
            uint8_t *at = page + 4096 - 1 - (size_t)i % (bytes[which] - 1);
            if (sigsetjmp(back, 1) == 0) all[which](at);
            else faulted += fault_addr == (uintptr_t)page + 4096 || fault_addr == (uintptr_t)at;
        }
        for (i = changed = 0; i < 4096; i++) changed += page[i] != 0x5a;
        printf("%d %d\n", faulted, changed);
        mprotect(page + 4096, 4096, PROT_READ | PROT_WRITE);
    }
}

/* A repeated instruction that faults goes on where it was. */
static uint8_t *repeated_page;
static volatile uint64_t repeated_left, repeated_at;

static void mend_page(int signal, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)signal;
    repeated_left = (uint64_t)regs[REG_RCX];
    repeated_at = (uint64_t)regs[REG_RDI] - (uint64_t)(uintptr_t)repeated_page;
    mprotect((void *)((uintptr_t)info->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE);
}

static NOINLINE void repeated(void)
{
    struct sigaction action = {.sa_sigaction = mend_page, .sa_flags = SA_SIGINFO};
    static uint8_t from[8192];
    int i, step;
    sigaction(SIGSEGV, &action, NULL);
    repeated_page = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (i = 0; i < 8192; i++) from[i] = (uint8_t)(i * 7 + i / 256);
    for (i = 0; i < 1000; i++) {
        uint8_t *to = repeated_page + 4096 - i % 3000;
        void *source = from, *target = to;
        size_t count = 5000;
        step = i % 100 == 99;
        if (step) mprotect(repeated_page + 4096, 4096, PROT_READ);
        __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(count)::"memory");
        if (memcmp(to, from, 5000) != 0 || count != 0) printf("wrong\n");
        if (step) printf("%llu %llu\n", (unsigned long long)repeated_left, (unsigned long long)repeated_at);
    }
}

/* Small callees, as a translator may write in place of their calls: one with a path that is hardly ever taken, one that
   returns elsewhere, one that faults, and an address that leads to another once the first was called often. */
static volatile uint64_t unusual;
static volatile int *volatile nowhere = (volatile int *)16;

static NOINLINE uint64_t triple(uint64_t n)
{
    if (__builtin_expect(n % 1009 == 1008, 0)) {
        uint64_t sum = 0;
        unusual += deep(n % 7, &sum);
        return n ^ unusual;
    }
    return n * 3;
}

static NOINLINE uint64_t plus_seven(uint64_t n) { return n + 7; }
static NOINLINE uint64_t read_through(volatile int *at) { return (uint64_t)*at + 1; }

/* Returns past an instruction of 4 bytes for every 1024th number. */
uint64_t skips(uint64_t n);
__asm__("skips: mov %rdi, %rax\n test $1023, %edi\n jne 1f\n addq $4, (%rsp)\n1: ret");

static NOINLINE uint64_t skipped(uint64_t n)
{
    uint64_t r;
    __asm__ volatile("lea -128(%%rsp), %%rsp; call skips; add $100, %%rax; lea 128(%%rsp), %%rsp"
                     : "=a"(r) : "D"(n) : "memory", "cc");
    return r;
}

static NOINLINE void small(void)
{
    struct sigaction action = {.sa_sigaction = mend, .sa_flags = SA_SIGINFO};
    uint64_t (*volatile step)(uint64_t) = triple;
    uint64_t i, sum = 0;
    sigaction(SIGSEGV, &action, NULL);
    for (i = 0; i < 60000; i++) {
        if (i == 30000) step = plus_seven;
        sum = sum * 5 + triple(i);
        sum = sum * 5 + step(i);
        sum = sum * 5 + skipped(i);
        sum = sum * 5 + read_through(i % 2000 == 1999 ? nowhere : &good);
    }
    printf("%llu %llu %d\n", (unsigned long long)sum, (unsigned long long)unusual, (int)faults);
}

/* A vector register that an image gives another value, unnamed, between a use and the next. */
static NOINLINE void restored(void)
{
    static uint8_t image[1024] __attribute__((aligned(64)));
    uint64_t i, seen, sum = 0;
    for (i = 0; i < 20000; i++) {
        __asm__ volatile("movq %1, %%xmm3\n"
                         "fxsave (%2)\n"
                         "paddq %%xmm3, %%xmm3\n"
                         "fxrstor (%2)\n"
                         "paddq %%xmm3, %%xmm3\n"
                         "movq %%xmm3, %0"
                         : "=r"(seen)
                         : "r"(i), "r"(image)
                         : "xmm3", "memory");
        sum = sum * 3 + seen;
    }
    printf("%llu\n", (unsigned long long)sum);
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
    else if (!strcmp(what, "switches")) switches();
    else if (!strcmp(what, "replaced")) replaced();
    else if (!strcmp(what, "crossing")) crossing();
    else if (!strcmp(what, "repeated")) repeated();
    else if (!strcmp(what, "small")) small();
    else if (!strcmp(what, "restored")) restored();
    else return 2;
    return 0;
}
