/*
 * Trees of files on a disk, made by every means there are, and told of.
 *
 *   trees many FOLDER COUNT           so many small files, half of them deleted again
 *   trees names FOLDER COUNT          so many names in one directory
 *   trees sparse FILE SIZE            a file with little in it, and the end far away
 *   trees exercise FILE SEED STEPS    one file, read and changed at random in all ways, beside a model in memory
 *   trees cut FOLDER COUNT            files that are cut while they are written back
 *   trees stress FOLDER SEED STEPS PROCESSES    names made, moved and removed at random by several processes
 *   trees tell FOLDER                 a line for each thing below it: name, kind, mode, owner, size, checksum
 *
 * Plain C and POSIX, so that `tell` says of the same tree the same here and there. What is wrong ends with status 1.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef FALLOC_FL_ZERO_RANGE
#define FALLOC_FL_ZERO_RANGE 0x10
#endif

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));       \
            fflush(stdout);                                                                   \
            _exit(1);                                                                         \
        }                                                                                     \
    } while (0)

static uint64_t state;

static uint64_t random64(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static uint64_t below(uint64_t limit) { return limit ? random64() % limit : 0; }

static void start_random(uint64_t seed)
{
    state = seed * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < 8; i++) random64();
}

static void write_all(int fd, const void *bytes, size_t count)
{
    while (count > 0) {
        ssize_t done = write(fd, bytes, count);
        CHECK(done > 0);
        bytes = (const char *)bytes + done, count -= (size_t)done;
    }
}

/* ------------------------------------------------------------ many files, many names */

static void make_file(const char *path, unsigned number)
{
    char text[2000];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    CHECK(fd >= 0);
    size_t count = 0;
    while (count < number % 1700) count += (size_t)snprintf(text + count, sizeof text - count, "%u ", number);
    write_all(fd, text, count);
    CHECK(close(fd) == 0);
}

static void many(const char *folder, unsigned count)
{
    char path[300];
    for (unsigned i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%u", folder, i / 1000);
        if (i % 1000 == 0) CHECK(mkdir(path, 0755) == 0);
        snprintf(path, sizeof path, "%s/%u/file-%u", folder, i / 1000, i);
        make_file(path, i);
    }
    for (unsigned i = 0; i < count; i += 2) {
        snprintf(path, sizeof path, "%s/%u/file-%u", folder, i / 1000, i);
        CHECK(unlink(path) == 0);
    }
}

static void names(const char *folder, unsigned count)
{
    char path[300], target[300];
    for (unsigned i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/a-name-of-some-length-%u", folder, i);
        /* A link has no contents and an inode all the same. */
        snprintf(target, sizeof target, "%u", i);
        CHECK(symlink(target, path) == 0);
    }
    struct stat st;
    for (unsigned i = 0; i < count; i += 97) {
        snprintf(path, sizeof path, "%s/a-name-of-some-length-%u", folder, i);
        CHECK(lstat(path, &st) == 0 && S_ISLNK(st.st_mode));
    }
    unsigned seen = 0;
    DIR *dir = opendir(folder);
    CHECK(dir);
    while (readdir(dir)) seen++;
    CHECK(seen == count + 2);
    closedir(dir);
    for (unsigned i = 0; i < count; i += 3) {
        snprintf(path, sizeof path, "%s/a-name-of-some-length-%u", folder, i);
        CHECK(unlink(path) == 0);
    }
}

/* ------------------------------------------------------------ one file */

static void sparse(const char *path, uint64_t size)
{
    static char block[5000];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, (off_t)size) == 0);
    for (uint64_t i = 0; i < 32; i++) {
        off_t at = (off_t)(size / 32 * i + i * 777);
        memset(block, (int)(i + 1), sizeof block);
        CHECK(pwrite(fd, block, sizeof block, at) == sizeof block);
    }
    CHECK(pwrite(fd, "end", 3, (off_t)size - 3) == 3);
    CHECK(fsync(fd) == 0);
    for (uint64_t i = 0; i < 32; i++) {
        off_t at = (off_t)(size / 32 * i + i * 777);
        CHECK(pread(fd, block, sizeof block, at) == sizeof block);
        for (size_t k = 0; k < sizeof block; k++) CHECK(block[k] == (char)(i + 1));
        CHECK(pread(fd, block, 100, at + 200000) == 100);
        for (size_t k = 0; k < 100; k++) CHECK(block[k] == 0);
    }
    struct stat st;
    CHECK(fstat(fd, &st) == 0 && (uint64_t)st.st_size == size && (uint64_t)st.st_blocks * 512 < size / 4);
    close(fd);
}

enum { MOST = 1 << 20, ONCE = 70000 };
static unsigned char model[MOST], buffer[ONCE];
static uint64_t length;

static void fill(uint64_t count)
{
    for (uint64_t i = 0; i < count; i += 8) {
        uint64_t word = random64();
        memcpy(buffer + i, &word, count - i < 8 ? count - i : 8);
    }
}

static void compare(int fd, uint64_t at, uint64_t count)
{
    ssize_t expected = at >= length ? 0 : (ssize_t)(length - at < count ? length - at : count);
    CHECK(pread(fd, buffer, count, (off_t)at) == expected);
    CHECK(memcmp(buffer, model + at, (size_t)expected) == 0);
}

static void grow_to(uint64_t end)
{
    if (end > length) length = end;
}

static void through_mapping(int fd, uint64_t at, uint64_t count)
{
    if (at >= length) return;
    if (count > length - at) count = length - at;
    if (count == 0) return;
    uint64_t start = at & ~4095ull;
    unsigned char *map = mmap(NULL, at + count - start, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
    CHECK(map != MAP_FAILED);
    CHECK(memcmp(map + (at - start), model + at, count) == 0);
    fill(count);
    memcpy(map + (at - start), buffer, count);
    memcpy(model + at, buffer, count);
    if (below(2)) CHECK(msync(map, at + count - start, MS_SYNC) == 0);
    CHECK(munmap(map, at + count - start) == 0);
}

static void reserve(int fd, int how, uint64_t at, uint64_t count)
{
    if (count == 0) return;
    if (fallocate(fd, how, (off_t)at, (off_t)count) != 0) {
        /* File systems with block maps know nothing like that. */
        CHECK(errno == EOPNOTSUPP);
        return;
    }
    if (how & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) memset(model + at, 0, count);
    if (!(how & FALLOC_FL_KEEP_SIZE)) grow_to(at + count);
}

static void exercise(const char *path, uint64_t seed, uint64_t steps)
{
    start_random(seed);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    for (uint64_t step = 0; step < steps; step++) {
        uint64_t at = below(MOST), count = below(below(8) ? 9000 : ONCE);
        if (at + count > MOST) count = MOST - at;
        switch (below(13)) {
        case 0: case 1: case 2:
            compare(fd, at, count);
            break;
        case 3: case 4: case 5:
            fill(count);
            CHECK(pwrite(fd, buffer, count, (off_t)at) == (ssize_t)count);
            memcpy(model + at, buffer, count);
            if (count) grow_to(at + count);
            break;
        case 6:
            CHECK(ftruncate(fd, (off_t)at) == 0);
            if (at < length) memset(model + at, 0, length - at);
            length = at;
            break;
        case 7: case 8:
            through_mapping(fd, at, count);
            break;
        case 9:
            reserve(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, count);
            break;
        case 10:
            reserve(fd, below(2) ? 0 : FALLOC_FL_ZERO_RANGE, at, count);
            break;
        case 11:
            /* Advice changes nothing of what is read. */
            CHECK(posix_fadvise(fd, (off_t)at, (off_t)count, (int)below(6)) == 0);
            break;
        default:
            if (below(2)) CHECK(fsync(fd) == 0);
            CHECK(close(fd) == 0);
            fd = open(path, O_RDWR);
            CHECK(fd >= 0);
        }
        struct stat st;
        CHECK(fstat(fd, &st) == 0 && (uint64_t)st.st_size == length);
    }
    for (uint64_t at = 0; at < length; at += ONCE) compare(fd, at, ONCE);
    CHECK(close(fd) == 0);
}

/* ------------------------------------------------------------ names at random */

static char here[400], there[400];

/* A path of up to four names; few names, so that many of them are there. */
static void some_path(char *path)
{
    size_t at = 0;
    for (uint64_t depth = below(4) + 1; depth > 0; depth--) at += (size_t)sprintf(path + at, "%s%c%u", at ? "/" : "", "dfl"[below(3)], (unsigned)below(12));
}

/* Files that are cut, or have parts of them taken away, while these are on their way to the disk. */
static void cut(const char *folder, unsigned count)
{
    char path[64];
    start_random(count);
    for (unsigned i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/cut-%u", folder, i);
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644), status;
        CHECK(fd >= 0);
        length = ONCE;
        fill(length);
        memcpy(model, buffer, length);
        CHECK(pwrite(fd, buffer, length, 0) == (ssize_t)length);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) _exit(fsync(fd) != 0);
        usleep((useconds_t)below(4000));
        /* Whole pages: nothing of the file has to be written because of it. */
        uint64_t at = 4096 * below(17), pages = 4096 * (1 + below(4));
        if (at + pages > length) at = (length - pages) & ~4095ull;
        switch (below(3)) {
        case 0:
            CHECK(ftruncate(fd, (off_t)at) == 0);
            length = at;
            break;
        case 1:
            reserve(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, pages);
            break;
        default:
            reserve(fd, FALLOC_FL_ZERO_RANGE, at, pages);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        compare(fd, 0, ONCE);
        CHECK(close(fd) == 0);
    }
}

/* What may go wrong is what Linux says, too, of names that are not there or not what they should be. */
static void may_fail(int result)
{
    static const int fine[] = {ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL, ELOOP, EBUSY, ENODATA, EPERM, EMLINK, ENXIO};
    if (result >= 0) return;
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        if (errno == fine[i]) return;
    CHECK(result >= 0);
}

static void change_contents(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | (below(8) ? 0 : O_TRUNC), 0644);
    may_fail(fd);
    if (fd < 0) return;
    uint64_t count = below(20000);
    fill(count);
    CHECK(pwrite(fd, buffer, count, (off_t)below(100000)) == (ssize_t)count);
    if (below(6) == 0) may_fail(ftruncate(fd, (off_t)below(50000)));
    if (below(20) == 0) CHECK(fsync(fd) == 0);
    CHECK(close(fd) == 0);
}

static void step(void)
{
    char value[600];
    some_path(here), some_path(there);
    switch (below(14)) {
    case 0: case 1: may_fail(mkdir(here, 0755)); break;
    case 2: case 3: case 4: change_contents(here); break;
    case 5: may_fail(link(here, there)); break;
    case 6: may_fail(symlink(there, here)); break;
    case 7: case 8: may_fail(rename(here, there)); break;
    case 9: may_fail(unlink(here)); break;
    case 10: may_fail(rmdir(here)); break;
    case 11: may_fail(chmod(here, (mode_t)(0600 | below(0200)))); break;
    case 12:
        memset(value, 'v', sizeof value);
        may_fail(lsetxattr(here, below(2) ? "user.one" : "user.two", value, below(sizeof value), 0));
        break;
    default: may_fail(truncate(here, (off_t)below(30000)));
    }
}

static void stress(const char *folder, uint64_t seed, uint64_t steps, unsigned processes)
{
    CHECK(chdir(folder) == 0);
    for (unsigned i = 0; i < processes; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child > 0) continue;
        start_random(seed + i);
        for (uint64_t n = 0; n < steps; n++) step();
        _exit(0);
    }
    int status, worst = 0;
    while (wait(&status) > 0) worst |= status;
    CHECK(worst == 0);
}

/* ------------------------------------------------------------ what there is */

static uint64_t sum(const char *path)
{
    static unsigned char part[1 << 16];
    uint64_t hash = 0xcbf29ce484222325u;
    int fd = open(path, O_RDONLY | O_NOFOLLOW);
    CHECK(fd >= 0);
    ssize_t count;
    while ((count = read(fd, part, sizeof part)) > 0) {
        /* Words at a time: it is for telling apart what differs. */
        ssize_t i = 0;
        for (; i + 8 <= count; i += 8) {
            uint64_t word;
            memcpy(&word, part + i, 8);
            hash = (hash ^ word) * 0x100000001b3u, hash ^= hash >> 29;
        }
        for (; i < count; i++) hash = (hash ^ part[i]) * 0x100000001b3u;
    }
    CHECK(count == 0);
    close(fd);
    return hash;
}

static int in_order(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void tell(const char *path)
{
    struct dirent **entries;
    int count = scandir(*path ? path : ".", &entries, NULL, in_order);
    CHECK(count >= 0);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || (!*path && strcmp(name, "lost+found") == 0)) continue;
        char *below_it = malloc(strlen(path) + strlen(name) + 2);
        CHECK(below_it);
        sprintf(below_it, "%s%s%s", path, *path ? "/" : "", name);
        struct stat st;
        CHECK(lstat(below_it, &st) == 0);
        printf("%s %o %u %u", below_it, st.st_mode, st.st_uid, st.st_gid);
        if (S_ISREG(st.st_mode)) {
            printf(" %llu %016llx\n", (unsigned long long)st.st_size, (unsigned long long)sum(below_it));
        } else if (S_ISLNK(st.st_mode)) {
            char target[4097] = {0};
            CHECK(readlink(below_it, target, 4096) >= 0);
            printf(" %s\n", target);
        } else {
            printf("\n");
        }
        if (S_ISDIR(st.st_mode)) tell(below_it);
        free(below_it), free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    uint64_t number = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    uint64_t steps = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
    if (strcmp(what, "many") == 0) many(argv[2], (unsigned)number);
    else if (strcmp(what, "names") == 0) names(argv[2], (unsigned)number);
    else if (strcmp(what, "sparse") == 0) sparse(argv[2], number);
    else if (strcmp(what, "exercise") == 0) exercise(argv[2], number, steps);
    else if (strcmp(what, "cut") == 0) cut(argv[2], (unsigned)number);
    else if (strcmp(what, "stress") == 0) stress(argv[2], number, steps, argc > 5 ? (unsigned)atoi(argv[5]) : 1);
    else if (strcmp(what, "tell") == 0) { CHECK(chdir(argv[2]) == 0); tell(""); }
    else return fprintf(stderr, "trees: see the beginning of its source\n"), 2;
    return fflush(stdout) == 0 ? 0 : 1;
}
