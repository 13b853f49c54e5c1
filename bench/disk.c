/*
 * What a disk takes: disk DEVICE FOLDER, or disk FOLDER for what needs no mounting, or disk tar > FILE.
 *
 * Each row prints `BENCH name|operations|seconds`. As the first process of a system it loads the modules it finds in
 * /modules, in order of their names, and turns the system off in the end. What is read *cold* is read after the file
 * system was mounted anew. The tree is in /bench/tree.tar, made by `disk tar`; busybox unpacks it and walks through it.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "measure.h"

enum {
    BLOCK = 4096,
    CHUNK = 1 << 20,
    CHUNKS = 64, /* of the large file */
    FOLDERS = 100,
    FILES = 200, /* in each folder */
};

static const char *device, *folder = "/mnt", *busybox = "/bin/busybox", *archive = "/bench/tree.tar";
static char buffer[CHUNK];

static double started;
static void start(void) { started = now(); }
static void stop(const char *row, double ops)
{
    printf("BENCH %s|%.3f|%.9f\n", row, ops, now() - started);
    fflush(stdout);
}

static uint32_t seed = 1;
static uint32_t next(uint32_t limit)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)seed * limit) >> 32);
}

/* Mounts the file system anew: nothing of it is in memory. */
static void cool(void)
{
    CHECK(chdir("/") == 0);
    CHECK(umount(folder) == 0);
    CHECK(mount(device, folder, "ext4", 0, NULL) == 0);
    CHECK(chdir(folder) == 0);
}

/* ------------------------------------------------------------ one large file */

static const double MEGABYTES = (double)CHUNK * CHUNKS / 1e6;

static int large(int flags)
{
    int fd = open("large", flags, 0644);
    CHECK(fd >= 0);
    return fd;
}

static void write_in_order(const char *row)
{
    for (size_t i = 0; i < sizeof buffer; i++) buffer[i] = (char)next(256);
    start();
    int fd = large(O_WRONLY | O_CREAT | O_TRUNC);
    for (int i = 0; i < CHUNKS; i++) CHECK(write(fd, buffer, CHUNK) == CHUNK);
    CHECK(fsync(fd) == 0);
    stop(row, MEGABYTES);
    close(fd);
}

static void read_in_order(const char *row)
{
    int fd = large(O_RDONLY);
    start();
    for (int i = 0; i < CHUNKS; i++) CHECK(read(fd, buffer, CHUNK) == CHUNK);
    stop(row, MEGABYTES);
    close(fd);
}

static off_t anywhere(void) { return (off_t)next(CHUNKS * (CHUNK / BLOCK)) * BLOCK; }

static void read_anywhere(const char *row, int n)
{
    int fd = large(O_RDONLY);
    start();
    for (int i = 0; i < n; i++) CHECK(pread(fd, buffer, BLOCK, anywhere()) == BLOCK);
    stop(row, n);
    close(fd);
}

static void write_anywhere(const char *row, int n, int each)
{
    int fd = large(O_WRONLY);
    start();
    for (int i = 0; i < n; i++) {
        CHECK(pwrite(fd, buffer, BLOCK, anywhere()) == BLOCK);
        if (each) CHECK(fsync(fd) == 0);
    }
    CHECK(fsync(fd) == 0);
    stop(row, n);
    close(fd);
}

/* ------------------------------------------------------------ many small files */

static void applet(const char *const *words)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        execv(busybox, (char *const *)words);
        _exit(127);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    /* grep finds nothing, which is its 1. */
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) <= (words[1][0] == 'g'));
}

static void unpack(const char *row)
{
    const char *const words[] = {busybox, "tar", "-x", "-f", archive, NULL};
    start();
    applet(words);
    sync();
    stop(row, FOLDERS * FILES);
}

static void find(const char *row)
{
    const char *const words[] = {busybox, "find", "tree", "-type", "f", NULL};
    start();
    applet(words);
    stop(row, FOLDERS * FILES);
}

static void grep(const char *row)
{
    const char *const words[] = {busybox, "grep", "-r", "no such word", "tree", NULL};
    start();
    applet(words);
    stop(row, FOLDERS * FILES);
}

static void discard_tree(const char *row)
{
    const char *const words[] = {busybox, "rm", "-r", "tree", NULL};
    start();
    applet(words);
    sync();
    stop(row, FOLDERS * FILES);
}

static void header(const char *name, unsigned size, char kind)
{
    char head[512] = {0};
    snprintf(head, 100, "%s", name);
    snprintf(head + 100, 8, "%07o", kind == '5' ? 0755 : 0644);
    snprintf(head + 108, 8, "%07o", 0);
    snprintf(head + 116, 8, "%07o", 0);
    snprintf(head + 124, 12, "%011o", size);
    snprintf(head + 136, 12, "%011o", 1600000000);
    head[156] = kind;
    memcpy(head + 257, "ustar\00000", 8);
    memset(head + 148, ' ', 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++) sum += (unsigned char)head[i];
    snprintf(head + 148, 8, "%06o", sum);
    fwrite(head, 512, 1, stdout);
}

static int make_archive(void)
{
    static const char *const WORDS[] = {"aurora ", "block ", "inode ", "journal ", "extent ", "group ", "page ", "\n"};
    char name[100], contents[2560];
    header("tree", 0, '5');
    for (int f = 0; f < FOLDERS; f++) {
        snprintf(name, sizeof name, "tree/folder-%d", f);
        header(name, 0, '5');
        for (int i = 0; i < FILES; i++) {
            unsigned size = 64 + next(1984), at = 0;
            memset(contents, 0, sizeof contents);
            while (at < size) {
                const char *word = WORDS[next(8)];
                memcpy(contents + at, word, strlen(word));
                at += (unsigned)strlen(word);
            }
            memset(contents + size, 0, sizeof contents - size);
            snprintf(name, sizeof name, "tree/folder-%d/file-%d", f, i);
            header(name, size, '0');
            fwrite(contents, (size + 511) / 512 * 512, 1, stdout);
        }
    }
    memset(contents, 0, sizeof contents);
    fwrite(contents, 1024, 1, stdout);
    return fflush(stdout);
}

/* ------------------------------------------------------------ a database */

static void insert(const char *row, int n)
{
    sqlite3 *db;
    CHECK(sqlite3_open("database", &db) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "PRAGMA synchronous=FULL; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)", 0, 0, 0) == SQLITE_OK);
    start();
    for (int i = 0; i < n; i++) {
        /* A transaction each. */
        CHECK(sqlite3_exec(db, "INSERT INTO t(b) VALUES (hex(randomblob(50)))", 0, 0, 0) == SQLITE_OK);
    }
    stop(row, n);
    CHECK(sqlite3_close(db) == SQLITE_OK);
}

/* ------------------------------------------------------------------------ main */

static void load_modules(void)
{
    struct dirent **names;
    int count = scandir("/modules", &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[300];
        snprintf(path, sizeof path, "/modules/%s", names[i]->d_name);
        if (names[i]->d_name[0] == '.') continue;
        int fd = open(path, O_RDONLY);
        if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) printf("%s: errno %d\n", path, errno);
        close(fd);
    }
}

static void prepare_system(void)
{
    mkdir("/dev", 0755), mkdir("/proc", 0755), mkdir("/tmp", 0777);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("tmp", "/tmp", "tmpfs", 0, NULL);
    int console = open("/dev/console", O_RDWR);
    for (int i = 0; i < 3 && console >= 0; i++) dup2(console, i);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "tar") == 0) return make_archive();
    int first = getpid() == 1;
    if (first) prepare_system();
    load_modules();
    if (first) device = "/dev/vda";
    else if (argc > 2) device = argv[1], folder = argv[2];
    else if (argc > 1) folder = argv[1];
    if (getenv("busybox")) busybox = getenv("busybox");
    if (getenv("archive")) archive = getenv("archive");
    mkdir(folder, 0755);
    /* A controller may take a moment to find its disk. */
    for (int i = 0; device && access(device, F_OK) != 0 && i < 1000; i++) usleep(10000);
    if (device) CHECK(mount(device, folder, "ext4", 0, NULL) == 0);
    CHECK(chdir(folder) == 0);

    write_in_order("write 64 MiB in order, fsync (MB)");
    if (device) cool(), read_in_order("read it in order, cold (MB)");
    read_in_order("read it in order, warm (MB)");
    if (device) cool(), read_anywhere("read 4 KiB anywhere, cold", 2000);
    write_anywhere("write 4 KiB anywhere, one fsync", 2000, 0);
    write_anywhere("write 4 KiB anywhere, fsync each", 200, 1);
    unpack("untar 20,000 files, sync");
    if (device) cool(), find("find among 20,000, cold");
    find("find among 20,000, warm");
    if (device) cool(), grep("grep -r through 20,000, cold");
    grep("grep -r through 20,000, warm");
    insert("SQLite insert, fsync", 200);
    discard_tree("rm -r of 20,000, sync");

    CHECK(chdir("/") == 0);
    if (device) CHECK(umount(folder) == 0);
    printf("END\n");
    fflush(stdout);
    if (first) {
        sync();
        reboot(RB_POWER_OFF);
    }
    return 0;
}
