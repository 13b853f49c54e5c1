/*
 * What a kernel takes for what programs ask of it: kernel [-s SCALE], or kernel list.
 *
 * Each row prints `BENCH name|operations|seconds`. As the first process of a system it mounts what it needs,
 * and turns the system off in the end. Plain C and POSIX; compiles for 32 bits, too.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "measure.h"

static double scale = 1.0;
static const char *folder = "/bench";

/* What a row does between these is its time. */
static double started, stopped;
static void start(void) { started = now(); }
static void stop(void) { stopped = now(); }

/* ------------------------------------------------------------ calls and files */

static void row_getppid(long n)
{
    start();
    while (n-- > 0) syscall(SYS_getppid);
}

static int file_with(size_t size)
{
    static char block[65536];
    int fd = open("/tmp/file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, block, size) == (ssize_t)size);
    CHECK(unlink("/tmp/file") == 0);
    return fd;
}

static char buffer[65536];

static void read_of(size_t size, long n)
{
    int fd = file_with(size);
    start();
    while (n-- > 0) CHECK(pread(fd, buffer, size, 0) == (ssize_t)size);
    stop();
    close(fd);
}
static void row_read_1(long n) { read_of(1, n); }
static void row_read_64k(long n) { read_of(65536, n); }

static void write_of(size_t size, long n)
{
    int fd = file_with(size);
    start();
    while (n-- > 0) CHECK(pwrite(fd, buffer, size, 0) == (ssize_t)size);
    stop();
    close(fd);
}
static void row_write_1(long n) { write_of(1, n); }
static void row_write_64k(long n) { write_of(65536, n); }

static void row_open_stat_close(long n)
{
    struct stat st;
    int fd = open("/tmp/name", O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
    start();
    while (n-- > 0) {
        fd = open("/tmp/name", O_RDONLY);
        CHECK(fd >= 0 && stat("/tmp/name", &st) == 0 && close(fd) == 0);
    }
    stop();
    unlink("/tmp/name");
}

static void row_mkdir_rmdir(long n)
{
    start();
    while (n-- > 0) CHECK(mkdir("/tmp/folder", 0700) == 0 && rmdir("/tmp/folder") == 0);
}

static void row_create_unlink(long n)
{
    start();
    while (n-- > 0) {
        int fd = open("/tmp/name", O_RDWR | O_CREAT | O_EXCL, 0600);
        CHECK(fd >= 0 && close(fd) == 0 && unlink("/tmp/name") == 0);
    }
}

static void row_path_depth_10(long n)
{
    static const char path[] = "/tmp/a/b/c/d/e/f/g/h/i";
    char part[64];
    struct stat st;
    for (size_t i = 6; i < sizeof path; i += 2) {
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        CHECK(mkdir(part, 0700) == 0 || errno == EEXIST);
    }
    start();
    while (n-- > 0) CHECK(stat(path, &st) == 0);
}

/* ------------------------------------------------------- processes and threads */

static pid_t forked(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    return pid;
}

static void wait_for(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void row_fork_wait(long n)
{
    start();
    while (n-- > 0) {
        pid_t pid = forked();
        if (pid == 0) _exit(0);
        wait_for(pid);
    }
}

static void exec_of(const char *name, long n)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *argv[] = {path, NULL}, *env[] = {NULL};
    start();
    while (n-- > 0) {
        pid_t pid = forked();
        if (pid == 0) {
            execve(path, argv, env);
            _exit(1);
        }
        wait_for(pid);
    }
}
static void row_exec_static(long n) { exec_of("true-static", n); }
static void row_exec_dynamic(long n) { exec_of("true-dynamic", n); }

static void *nothing(void *arg) { return arg; }
static void row_thread_create_join(long n)
{
    start();
    while (n-- > 0) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
    }
}

static void ping_pong(int here[2], int there[2], long n)
{
    char c = 0;
    pid_t pid = forked();
    if (pid == 0) {
        close(here[1]);
        if (there[1] != here[0]) close(there[0]);
        while (read(here[0], &c, 1) == 1)
            if (write(there[1], &c, 1) != 1) _exit(1);
        _exit(0);
    }
    CHECK(write(here[1], &c, 1) == 1 && read(there[0], &c, 1) == 1);
    start();
    while (n-- > 0) CHECK(write(here[1], &c, 1) == 1 && read(there[0], &c, 1) == 1);
    stop();
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void row_pipe_ping_pong(long n)
{
    int a[2], b[2];
    CHECK(pipe(a) == 0 && pipe(b) == 0);
    ping_pong(a, b, n);
    for (int i = 0; i < 2; i++) close(a[i]), close(b[i]);
}

static void row_unix_ping_pong(long n)
{
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int here[2] = {pair[0], pair[1]}, there[2] = {pair[1], pair[0]};
    ping_pong(here, there, n);
    close(pair[0]), close(pair[1]);
}

/* A byte goes round a ring of processes: a switch at each. */
static void ring(int size, long n)
{
    int first[2], in, out[2];
    pid_t pids[64];
    char c = 0;
    CHECK(size <= 65 && pipe(first) == 0);
    in = first[0];
    for (int i = 0; i < size - 1; i++) {
        CHECK(pipe(out) == 0);
        pids[i] = forked();
        if (pids[i] == 0) {
            while (read(in, &c, 1) == 1)
                if (write(out[1], &c, 1) != 1) break;
            _exit(0);
        }
        close(in), close(out[1]);
        in = out[0];
    }
    start();
    for (n /= size; n > 0; n--) CHECK(write(first[1], &c, 1) == 1 && read(in, &c, 1) == 1);
    stop();
    for (int i = 0; i < size - 1; i++) kill(pids[i], SIGKILL), waitpid(pids[i], NULL, 0);
    close(first[1]), close(in);
}
static void row_switch_2(long n) { ring(2, n); }
static void row_switch_64(long n) { ring(64, n); }

/* ------------------------------------------------------------ memory and events */

#define PAGES 64
static void row_mmap_touch_munmap(long n)
{
    start();
    for (n /= PAGES; n > 0; n--) {
        volatile char *at = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(at != MAP_FAILED);
        for (int i = 0; i < PAGES; i++) at[i * 4096] = 1;
        CHECK(munmap((void *)at, PAGES * 4096) == 0);
    }
}

/* Faults of one mapping, all pages of which are there but in no page table. */
static void row_page_fault(long n)
{
    int fd = memfd_create("pages", 0);
    CHECK(fd >= 0 && ftruncate(fd, PAGES * 4096) == 0);
    volatile char *at = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED);
    for (int i = 0; i < PAGES; i++) at[i * 4096] = 1;
    start();
    for (n /= PAGES; n > 0; n--) {
        CHECK(madvise((void *)at, PAGES * 4096, MADV_DONTNEED) == 0);
        for (int i = 0; i < PAGES; i++) at[i * 4096] = 1;
    }
    stop();
    munmap((void *)at, PAGES * 4096);
    close(fd);
}

static volatile sig_atomic_t handled;
static void handle(int signal) { (void)signal, handled++; }
static void row_signal(long n)
{
    pid_t me = getpid();
    signal(SIGUSR1, handle);
    start();
    while (n-- > 0) kill(me, SIGUSR1);
}

#define WATCHED 1000
static void row_epoll_1000(long n)
{
    static int fds[WATCHED];
    int epoll = epoll_create1(0);
    uint64_t one = 1;
    for (int i = 0; i < WATCHED; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = i};
        fds[i] = eventfd(0, 0);
        CHECK(fds[i] >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) == 0);
    }
    start();
    for (long i = 0; i < n; i++) {
        struct epoll_event event;
        int fd = fds[i * 7 % WATCHED];
        CHECK(write(fd, &one, 8) == 8 && epoll_wait(epoll, &event, 1, -1) == 1);
        CHECK(fds[event.data.fd] == fd && read(fd, &one, 8) == 8);
    }
    stop();
    for (int i = 0; i < WATCHED; i++) close(fds[i]);
    close(epoll);
}

/* ------------------------------------------------------------------------ main */

static const struct {
    const char *name;
    void (*run)(long);
    long ops; /* At scale 1. */
} rows[] = {
    {"getppid", row_getppid, 200000},
    {"read 1 byte", row_read_1, 100000},
    {"read 64 KiB", row_read_64k, 5000},
    {"write 1 byte", row_write_1, 100000},
    {"write 64 KiB", row_write_64k, 5000},
    {"pipe ping-pong", row_pipe_ping_pong, 20000},
    {"unix ping-pong", row_unix_ping_pong, 20000},
    {"fork, wait", row_fork_wait, 1000},
    {"fork, exec static, wait", row_exec_static, 500},
    {"fork, exec dynamic, wait", row_exec_dynamic, 200},
    {"thread create, join", row_thread_create_join, 5000},
    {"open, stat, close", row_open_stat_close, 30000},
    {"mkdir, rmdir", row_mkdir_rmdir, 10000},
    {"create, unlink", row_create_unlink, 10000},
    {"mmap, touch, munmap (a page)", row_mmap_touch_munmap, 64000},
    {"page fault", row_page_fault, 64000},
    {"signal", row_signal, 30000},
    {"epoll of 1,000", row_epoll_1000, 20000},
    {"switch among 2", row_switch_2, 40000},
    {"switch among 64", row_switch_64, 40000},
    {"path of depth 10", row_path_depth_10, 50000},
};
#define ROWS (sizeof rows / sizeof *rows)

static void run(size_t row)
{
    long ops = (long)((double)rows[row].ops * scale);
    if (ops < 64) ops = 64;
    /* Once for nothing: systems that translate or cache what runs are to be measured, not their first steps. */
    rows[row].run(ops < 640 ? 64 : ops / 5);
    stopped = 0;
    rows[row].run(ops);
    if (stopped == 0) stop();
    printf("BENCH %s|%ld|%.9f\n", rows[row].name, ops, stopped - started);
    fflush(stdout);
}

/* The first process of a system has nothing yet. */
static void prepare_system(void)
{
    mkdir("/dev", 0755), mkdir("/proc", 0755);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("tmp", "/tmp", "tmpfs", 0, NULL);
    int console = open("/dev/console", O_RDWR);
    for (int i = 0; i < 3 && console >= 0; i++) dup2(console, i);
    const char *given = getenv("scale");
    if (given) scale = atof(given);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "list") == 0) {
        for (size_t i = 0; i < ROWS; i++) printf("%s\n", rows[i].name);
        return 0;
    }
    const char *slash = strrchr(argv[0], '/');
    static char own[200];
    if (slash) snprintf(own, sizeof own, "%.*s", (int)(slash - argv[0]), argv[0]), folder = own;
    /* What starts it in a system without a first process has no more than the program. */
    mkdir("/tmp", 0777);
    int first = getpid() == 1;
    if (first) prepare_system();
    for (int i = 1; i + 1 < argc && strcmp(argv[i], "-s") == 0; i += 2) scale = atof(argv[i + 1]);
    /* For a look at a single row. */
    const char *only = getenv("only");
    for (size_t i = 0; i < ROWS; i++)
        if (!only || strncmp(rows[i].name, only, strlen(only)) == 0) run(i);
    printf("END\n");
    fflush(stdout);
    if (first) {
        sync();
        reboot(RB_POWER_OFF);
    }
    return 0;
}
