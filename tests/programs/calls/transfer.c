// Reading and writing: read, write, their kin with vectors and offsets, lseek, fallocate, sendfile, splice and copies.
#include "calls.h"
#include <sys/sendfile.h>
#include <linux/falloc.h>

static char b[70000];
static int ends[2];
static int dir(void) { return (int)OK(open(".", O_RDONLY)); }
static int pipe_with(const char *text) {
  OK(pipe(ends));
  OK(write(ends[1], text, strlen(text)));
  return ends[0];
}
static struct iovec two[2] = {{b, 2}, {b + 10, 3}};
static struct iovec bad_length[1] = {{b, -1}};
static long pread2(int fd, struct iovec *v, int n, long at, int flags) {
  return syscall(SYS_preadv2, fd, v, n, at, 0, flags);
}
static long pwrite2(int fd, struct iovec *v, int n, long at, int flags) {
  return syscall(SYS_pwritev2, fd, v, n, at, 0, flags);
}

CASE("read", "moves the position") {
  int fd = file_with("abcdef");
  IS(2, read(fd, b, 2));
  IS(2, read(fd, b, 2));
  SAME("cd", b, 2);
  IS(4, lseek(fd, 0, SEEK_CUR));
}
CASE("read", "at the end is 0") {
  int fd = file_with("ab");
  OK(lseek(fd, 9, SEEK_SET));
  IS(0, read(fd, b, 9));
}
CASE("read", "is cut at the end") {
  int fd = file_with("ab");
  IS(2, read(fd, b, 99));
}
CASE("read", "of nothing is 0 even into no memory") {
  int fd = file_with("ab");
  IS(0, read(fd, b, 0));
}
CASE("read", "into no memory is EFAULT and moves nothing") {
  int fd = file_with("ab");
  FAILS(EFAULT, read(fd, NOWHERE, 2));
  IS(0, lseek(fd, 0, SEEK_CUR));
}
CASE("read", "into memory that ends tells how far it came") {
  int fd = file_with("");
  OK(ftruncate(fd, 8192));
  char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  OK(munmap(m + 4096, 4096));
  IS(100, read(fd, m + 3996, 200));
}
CASE("read", "of half of all addresses is EFAULT") {
  int fd = file_with("ab");
  FAILS(EFAULT, syscall(SYS_read, fd, b, 1ul << 63));
}
FAILS_CASE("read", "of a bad descriptor is EBADF", EBADF, read(NO_FD, b, 1))
CASE("read", "of a directory is EISDIR") { FAILS(EISDIR, read(dir(), b, 1)); }
CASE("read", "of a file open for writing is EBADF") {
  FAILS(EBADF, read(OK(open("x", O_CREAT | O_WRONLY, 0600)), b, 1));
}
FAILS_CASE("write", "of a bad descriptor is EBADF", EBADF, write(NO_FD, b, 1))
CASE("write", "to a file open for reading is EBADF") {
  write_file("x", "");
  FAILS(EBADF, write(OK(open("x", O_RDONLY)), b, 1));
}
CASE("write", "of no memory is EFAULT") {
  int fd = file_with("");
  FAILS(EFAULT, write(fd, NOWHERE, 2));
}
CASE("write", "beyond the end leaves zeros") {
  int fd = file_with("ab");
  OK(lseek(fd, 4, SEEK_SET));
  IS(1, write(fd, "e", 1));
  IS(5, pread(fd, b, 9, 0));
  SAME("ab\0\0e", b, 5);
}
CASE("write", "with O_APPEND is at the end whatever the position") {
  int fd = file_with("ab");
  OK(fcntl(fd, F_SETFL, O_APPEND));
  IS(1, write(fd, "c", 1));
  IS(3, lseek(fd, 0, SEEK_CUR));
  IS(3, pread(fd, b, 9, 0));
  SAME("abc", b, 3);
}
CASE("write", "with O_APPEND of many processes loses nothing") {
  OK(close(OK(open("log", O_CREAT | O_WRONLY, 0600))));
  for (int i = 0; i < 4; i++) {
    CHILD(pid) {
      int fd = OK(open("log", O_WRONLY | O_APPEND));
      for (int n = 0; n < 100; n++) IS(8, write(fd, "12345678", 8));
    }
  }
  for (int i = 0, status; i < 4; i++) OK(wait(&status));
  struct stat s;
  OK(stat("log", &s));
  IS(3200, s.st_size);
}
CASE("write", "beyond the limit of size is EFBIG and SIGXFSZ") {
  int fd = file_with("");
  struct rlimit small = {10, 10};
  OK(setrlimit(RLIMIT_FSIZE, &small));
  CHILD(pid) {
    write(fd, b, 10);
    write(fd, b, 1);
  }
  IS(128 + SIGXFSZ, ended(pid));
  signal(SIGXFSZ, SIG_IGN);
  OK(lseek(fd, 8, SEEK_SET));
  IS(2, write(fd, b, 99));
  FAILS(EFBIG, write(fd, b, 1));
}
CASE("write", "takes set-user-ID away from somebody else's hands") {
  int fd = file_with("x");
  OK(fchmod(fd, 06777));
  become_user();
  IS(1, write(fd, "y", 1));
  struct stat s;
  OK(fstat(fd, &s));
  IS(0777, s.st_mode & 07777);
}
CASE("write", "changes the times of change") {
  int fd = file_with("x");
  struct timespec old[2] = {{1, 0}, {1, 0}};
  OK(futimens(fd, old));
  IS(1, write(fd, "y", 1));
  struct stat s;
  OK(fstat(fd, &s));
  HOLDS(s.st_mtim.tv_sec > 1);
}
CASE("write", "to a terminal nobody reads waits until a signal comes") {
  int master = OK(posix_openpt(O_RDWR | O_NOCTTY));
  OK(unlockpt(master));
  int terminal = OK(open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK));
  // What it takes comes to the master's side, where there is room for a while.
  for (int i = 0; i < 5; i++, sleep_ms(5))
    while (write(terminal, b, sizeof b) > 0) {}
  IS(0, fcntl(terminal, F_SETFL, 0));
  interrupt_soon();
  FAILS(EINTR, write(terminal, b, 1));
}
CASE("write", "to /dev/full is ENOSPC") { FAILS(ENOSPC, write(OK(open("/dev/full", O_WRONLY)), b, 1)); }

CASE("pread64", "leaves the position") {
  int fd = file_with("abcdef");
  IS(2, pread(fd, b, 2, 3));
  SAME("de", b, 2);
  IS(0, lseek(fd, 0, SEEK_CUR));
}
CASE("pread64", "at less than nothing is EINVAL") {
  int fd = file_with("");
  FAILS(EINVAL, pread(fd, b, 1, -1));
}
CASE("pread64", "of a pipe is ESPIPE") { FAILS(ESPIPE, pread(pipe_with("x"), b, 1, 0)); }
CASE("pwrite64", "leaves the position") {
  int fd = file_with("abcdef");
  IS(2, pwrite(fd, "XY", 2, 3));
  IS(6, read(fd, b, 9));
  SAME("abcXYf", b, 6);
}
CASE("pwrite64", "with O_APPEND is at the end all the same") {
  int fd = file_with("ab");
  OK(fcntl(fd, F_SETFL, O_APPEND));
  IS(1, pwrite(fd, "c", 1, 0));
  IS(3, pread(fd, b, 9, 0));
  SAME("abc", b, 3);
}
CASE("pwrite64", "to a pipe is ESPIPE") {
  pipe_with("");
  FAILS(ESPIPE, pwrite(ends[1], b, 1, 0));
}
CASE("readv", "fills one buffer after the other") {
  int fd = file_with("abcdef");
  IS(5, readv(fd, two, 2));
  SAME("ab", b, 2);
  SAME("cde", b + 10, 3);
}
CASE("readv", "of too many buffers is EINVAL") {
  int fd = file_with("");
  FAILS(EINVAL, syscall(SYS_readv, fd, two, 1025));
}
CASE("readv", "of a length below nothing is EINVAL") {
  int fd = file_with("x");
  FAILS(EINVAL, readv(fd, bad_length, 1));
}
CASE("readv", "of a vector in no memory is EFAULT") {
  int fd = file_with("x");
  FAILS(EFAULT, readv(fd, NOWHERE, 1));
}
CASE("readv", "of no buffers is 0") {
  int fd = file_with("x");
  IS(0, readv(fd, two, 0));
}
CASE("readv", "looks at the descriptor before the vector") { FAILS(EBADF, readv(NO_FD, NOWHERE, 1)); }
CASE("writev", "writes one buffer after the other") {
  int fd = file_with("");
  struct iovec v[2] = {{"ab", 2}, {"cde", 3}};
  IS(5, writev(fd, v, 2));
  IS(5, pread(fd, b, 9, 0));
  SAME("abcde", b, 5);
}
CASE("writev", "to a pipe is whole") {
  OK(pipe(ends));
  struct iovec v[2] = {{"ab", 2}, {"c", 1}};
  IS(3, writev(ends[1], v, 2));
  IS(3, read(ends[0], b, 9));
}
CASE("preadv", "reads there") {
  int fd = file_with("abcdef");
  IS(5, preadv(fd, two, 2, 1));
  SAME("bc", b, 2);
}
CASE("preadv", "at less than nothing is EINVAL") {
  int fd = file_with("");
  FAILS(EINVAL, preadv(fd, two, 2, -1));
}
CASE("pwritev", "writes there") {
  int fd = file_with("abcdef");
  struct iovec v[1] = {{"XY", 2}};
  IS(2, pwritev(fd, v, 1, 1));
  IS(6, read(fd, b, 9));
  SAME("aXYdef", b, 6);
}
CASE("preadv2", "at -1 uses the position") {
  int fd = file_with("abcdef");
  IS(5, pread2(fd, two, 2, -1, 0));
  IS(5, lseek(fd, 0, SEEK_CUR));
}
CASE("preadv2", "at less than -1 is EINVAL") {
  int fd = file_with("");
  FAILS(EINVAL, pread2(fd, two, 2, -2, 0));
}
CASE("preadv2", "with an unknown flag is EOPNOTSUPP") {
  int fd = file_with("x");
  FAILS(EOPNOTSUPP, pread2(fd, two, 2, 0, 1 << 20));
}
CASE("preadv2", "RWF_NOWAIT of an empty pipe is EAGAIN") {
  OK(pipe(ends));
  FAILS(EAGAIN, pread2(ends[0], two, 2, -1, RWF_NOWAIT));
}
CASE("pwritev2", "RWF_APPEND writes at the end and leaves the position") {
  int fd = file_with("ab");
  struct iovec v[1] = {{"c", 1}};
  IS(1, pwrite2(fd, v, 1, 0, RWF_APPEND));
  IS(0, lseek(fd, 0, SEEK_CUR));
  IS(3, pread(fd, b, 9, 0));
  SAME("abc", b, 3);
}
CASE("pwritev2", "RWF_NOAPPEND writes where it says in spite of O_APPEND") {
  int fd = file_with("ab");
  OK(fcntl(fd, F_SETFL, O_APPEND));
  struct iovec v[1] = {{"X", 1}};
  IS(1, pwrite2(fd, v, 1, 0, 0x20));
  IS(2, pread(fd, b, 9, 0));
  SAME("Xb", b, 2);
}
CASE("pwritev2", "RWF_DSYNC and RWF_SYNC write") {
  int fd = file_with("");
  struct iovec v[1] = {{"c", 1}};
  IS(1, pwrite2(fd, v, 1, 0, RWF_DSYNC));
  IS(1, pwrite2(fd, v, 1, 1, RWF_SYNC));
}

CASE("lseek", "SEEK_SET, SEEK_CUR and SEEK_END") {
  int fd = file_with("abcdef");
  IS(2, lseek(fd, 2, SEEK_SET));
  IS(3, lseek(fd, 1, SEEK_CUR));
  IS(5, lseek(fd, -1, SEEK_END));
  IS(99, lseek(fd, 93, SEEK_END));
}
CASE("lseek", "to less than nothing is EINVAL") {
  int fd = file_with("");
  FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
  FAILS(EINVAL, lseek(fd, -1, SEEK_END));
}
CASE("lseek", "with an unknown whence is EINVAL") {
  int fd = file_with("");
  FAILS(EINVAL, lseek(fd, 0, 9));
}
CASE("lseek", "of a pipe is ESPIPE") { FAILS(ESPIPE, lseek(pipe_with("x"), 0, SEEK_CUR)); }
FAILS_CASE("lseek", "of a bad descriptor is EBADF", EBADF, lseek(NO_FD, 0, SEEK_SET))
static int sparse(void) {
  int fd = file_with("");
  OK(ftruncate(fd, 1 << 20));
  OK(pwrite(fd, "x", 1, 65536));
  return fd;
}
CASE("lseek", "SEEK_DATA finds the data") { IS(65536, lseek(sparse(), 0, SEEK_DATA)); }
CASE("lseek", "SEEK_DATA inside data stays") {
  int fd = sparse();
  IS(65540, lseek(fd, 65540, SEEK_DATA));
}
CASE("lseek", "SEEK_DATA behind all data is ENXIO") {
  int fd = sparse();
  FAILS(ENXIO, lseek(fd, 80000, SEEK_DATA));
}
CASE("lseek", "SEEK_HOLE finds the hole") {
  int fd = sparse();
  IS(0, lseek(fd, 0, SEEK_HOLE));
  IS(69632, lseek(fd, 65536, SEEK_HOLE));
}
CASE("lseek", "SEEK_HOLE of a full file is its end") {
  int fd = file_with("abc");
  IS(3, lseek(fd, 0, SEEK_HOLE));
}
CASE("lseek", "SEEK_HOLE at the end is ENXIO") {
  int fd = file_with("abc");
  FAILS(ENXIO, lseek(fd, 3, SEEK_HOLE));
  FAILS(ENXIO, lseek(fd, -1, SEEK_HOLE));
}

static struct stat s;
CASE("fallocate", "takes room and makes longer") {
  int fd = file_with("");
  OK(fallocate(fd, 0, 0, 10000));
  OK(fstat(fd, &s));
  IS(10000, s.st_size);
  IS(24, s.st_blocks);
}
CASE("fallocate", "KEEP_SIZE takes room beyond the end") {
  int fd = file_with("ab");
  OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 10000));
  OK(fstat(fd, &s));
  IS(2, s.st_size);
  IS(24, s.st_blocks);
}
CASE("fallocate", "PUNCH_HOLE frees whole pages and zeroes parts") {
  int fd = file_with("");
  memset(b, 'x', 12288);
  IS(12288, write(fd, b, 12288));
  OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4000, 5000));
  OK(fstat(fd, &s));
  IS(16, s.st_blocks);
  IS(12288, pread(fd, b, 12288, 0));
  HOLDS(b[3999] == 'x' && b[4000] == 0 && b[8999] == 0 && b[9000] == 'x');
}
CASE("fallocate", "PUNCH_HOLE without KEEP_SIZE is EOPNOTSUPP") {
  int fd = file_with("x");
  FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 1));
}
CASE("fallocate", "of nothing is EINVAL") {
  int fd = file_with("x");
  FAILS(EINVAL, fallocate(fd, 0, 0, 0));
  FAILS(EINVAL, fallocate(fd, 0, -1, 1));
}
CASE("fallocate", "of an unknown mode is EOPNOTSUPP") {
  int fd = file_with("x");
  FAILS(EOPNOTSUPP, fallocate(fd, 0x8000, 0, 1));
}
CASE("fallocate", "of a collapse is EOPNOTSUPP on tmpfs") {
  int fd = file_with("x");
  FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
  FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096));
}
CASE("fallocate", "of a file open for reading is EBADF") {
  write_file("x", "");
  FAILS(EBADF, fallocate(OK(open("x", O_RDONLY)), 0, 0, 1));
}
CASE("fallocate", "of a pipe is ESPIPE") {
  OK(pipe(ends));
  FAILS(ESPIPE, fallocate(ends[1], 0, 0, 1));
}
CASE("fallocate", "of a terminal or device is ENODEV") {
  FAILS(ENODEV, fallocate(OK(open("/dev/null", O_WRONLY)), 0, 0, 1));
}
CASE("fallocate", "beyond all files is EFBIG") {
  int fd = file_with("");
  FAILS(EFBIG, fallocate(fd, 0, 1ll << 62, (1ll << 62)));
}
FAILS_CASE("fallocate", "of a bad descriptor is EBADF", EBADF, fallocate(NO_FD, 0, 0, 1))
FAILS_CASE("fadvise64", "of a bad descriptor is EBADF", EBADF, syscall(SYS_fadvise64, NO_FD, 0, 0, 0))
CASE("fadvise64", "of a pipe is ESPIPE") {
  OK(pipe(ends));
  FAILS(ESPIPE, syscall(SYS_fadvise64, ends[0], 0, 0, 0));
}
CASE("fadvise64", "of unknown advice is EINVAL") {
  int fd = file_with("");
  FAILS(EINVAL, syscall(SYS_fadvise64, fd, 0, 0, 9));
}
CASE("fadvise64", "loses nothing that was written") {
  int fd = file_with("not on any disk yet");
  for (int advice = 0; advice < 6; advice++) OK(syscall(SYS_fadvise64, fd, 0, 0, advice));
  char back[20] = "";
  IS(19, pread(fd, back, sizeof back, 0));
  SAME("not on any disk yet", back, 19);
}
CASE("readahead", "of a file works") { OK(readahead(file_with("x"), 0, 4096)); }
CASE("readahead", "of a pipe is EINVAL") {
  OK(pipe(ends));
  FAILS(EINVAL, readahead(ends[0], 0, 1));
}
FAILS_CASE("readahead", "of a bad descriptor is EBADF", EBADF, readahead(NO_FD, 0, 1))
CASE("sync_file_range", "of a file works") { OK(sync_file_range(file_with("x"), 0, 0, 7)); }
CASE("sync_file_range", "with an unknown flag is EINVAL") {
  int fd = file_with("x");
  FAILS(EINVAL, sync_file_range(fd, 0, 0, 8));
  FAILS(EINVAL, sync_file_range(fd, -1, 0, 0));
}
CASE("sync_file_range", "of a pipe is ESPIPE") {
  OK(pipe(ends));
  FAILS(ESPIPE, sync_file_range(ends[1], 0, 0, 0));
}
FAILS_CASE("syncfs", "of a bad descriptor is EBADF", EBADF, syncfs(NO_FD))
CASE("syncfs", "of a file works") { OK(syncfs(file_with(""))); }
CASE("fsync", "of a pipe is EINVAL") {
  OK(pipe(ends));
  FAILS(EINVAL, fsync(ends[1]));
}
CASE("fsync", "of a file and a directory works") {
  OK(fsync(file_with("")));
  OK(fdatasync(dir()));
}
FAILS_CASE("fsync", "of a bad descriptor is EBADF", EBADF, fsync(NO_FD))

static int out(void) { return (int)OK(open("out", O_CREAT | O_RDWR | O_TRUNC, 0600)); }
CASE("sendfile", "copies and moves both positions") {
  int from = file_with("abcdef"), to = out();
  IS(4, sendfile(to, from, NULL, 4));
  IS(4, lseek(from, 0, SEEK_CUR));
  IS(4, lseek(to, 0, SEEK_CUR));
}
CASE("sendfile", "with an offset leaves the input's position") {
  int from = file_with("abcdef"), to = out();
  off_t at = 2;
  IS(4, sendfile(to, from, &at, 99));
  IS(6, at);
  IS(0, lseek(from, 0, SEEK_CUR));
}
CASE("sendfile", "to a pipe works") {
  OK(pipe(ends));
  IS(3, sendfile(ends[1], file_with("abc"), NULL, 9));
}
CASE("sendfile", "from a pipe is EINVAL") { FAILS(EINVAL, sendfile(out(), pipe_with("x"), NULL, 1)); }
CASE("sendfile", "from a pipe with an offset is ESPIPE") {
  off_t at = 0;
  FAILS(ESPIPE, sendfile(out(), pipe_with("x"), &at, 1));
}
CASE("sendfile", "to a file for appending is EINVAL") {
  int from = file_with("x");
  FAILS(EINVAL, sendfile(OK(open("out", O_CREAT | O_WRONLY | O_APPEND, 0600)), from, NULL, 1));
}
CASE("sendfile", "at less than nothing is EINVAL") {
  off_t at = -1;
  FAILS(EINVAL, sendfile(out(), file_with("x"), &at, 1));
}
CASE("sendfile", "of an offset in no memory is EFAULT") { FAILS(EFAULT, sendfile(out(), file_with("x"), NOWHERE, 1)); }
FAILS_CASE("sendfile", "from a bad descriptor is EBADF", EBADF, sendfile(1, NO_FD, NULL, 1))
static long copy(int from, off_t *f, int to, off_t *t, size_t n, int flags) {
  return syscall(SYS_copy_file_range, from, f, to, t, n, flags);
}
CASE("copy_file_range", "copies between offsets") {
  int from = file_with("abcdef"), to = out();
  off_t f = 1, t = 3;
  IS(4, copy(from, &f, to, &t, 4, 0));
  IS(5, f);
  IS(7, t);
  IS(7, read(to, b, 9));
  SAME("\0\0\0bcde", b, 7);
}
CASE("copy_file_range", "at the end of the input is 0") {
  int from = file_with("ab");
  off_t f = 9;
  IS(0, copy(from, &f, out(), NULL, 4, 0));
}
CASE("copy_file_range", "with a flag is EINVAL") { FAILS(EINVAL, copy(file_with("ab"), NULL, out(), NULL, 1, 1)); }
CASE("copy_file_range", "from a pipe is EINVAL") { FAILS(EINVAL, copy(pipe_with("x"), NULL, out(), NULL, 1, 0)); }
CASE("copy_file_range", "from a directory is EISDIR") { FAILS(EISDIR, copy(dir(), NULL, out(), NULL, 1, 0)); }
CASE("copy_file_range", "to a file for appending is EBADF") {
  int from = file_with("ab");
  FAILS(EBADF, copy(from, NULL, OK(open("out", O_CREAT | O_WRONLY | O_APPEND, 0600)), NULL, 1, 0));
}
CASE("copy_file_range", "of overlapping parts is EINVAL") {
  int fd = file_with("abcdef");
  off_t f = 0, t = 2;
  FAILS(EINVAL, copy(fd, &f, fd, &t, 4, 0));
}
CASE("copy_file_range", "within a file works") {
  int fd = file_with("abcdef");
  off_t f = 0, t = 6;
  IS(3, copy(fd, &f, fd, &t, 3, 0));
}
FAILS_CASE("copy_file_range", "from a bad descriptor is EBADF", EBADF, copy(NO_FD, NULL, 1, NULL, 1, 0))
CASE("splice", "moves from a pipe to a file") {
  int from = pipe_with("abc"), to = out();
  IS(3, splice(from, NULL, to, NULL, 99, 0));
  IS(3, pread(to, b, 9, 0));
  SAME("abc", b, 3);
}
CASE("splice", "moves from a file to a pipe") {
  int from = file_with("abc");
  OK(pipe(ends));
  loff_t at = 1;
  IS(2, splice(from, &at, ends[1], NULL, 99, 0));
  IS(3, at);
  IS(2, read(ends[0], b, 9));
  SAME("bc", b, 2);
}
CASE("splice", "moves from pipe to pipe") {
  int from = pipe_with("abc"), p[2];
  OK(pipe(p));
  IS(3, splice(from, NULL, p[1], NULL, 99, 0));
  IS(3, read(p[0], b, 9));
}
CASE("splice", "between two files is EINVAL") {
  int from = file_with("abc");
  FAILS(EINVAL, splice(from, NULL, out(), NULL, 1, 0));
}
CASE("splice", "within one pipe is EINVAL") {
  int from = pipe_with("abc");
  FAILS(EINVAL, splice(from, NULL, ends[1], NULL, 1, 0));
}
CASE("splice", "with an offset in a pipe is ESPIPE") {
  int from = pipe_with("abc");
  loff_t at = 0;
  FAILS(ESPIPE, splice(from, &at, out(), NULL, 1, 0));
}
CASE("splice", "SPLICE_F_NONBLOCK of an empty pipe is EAGAIN") {
  OK(pipe(ends));
  FAILS(EAGAIN, splice(ends[0], NULL, out(), NULL, 1, SPLICE_F_NONBLOCK));
}
CASE("splice", "with an unknown flag is EINVAL") { FAILS(EINVAL, splice(pipe_with("x"), NULL, out(), NULL, 1, 64)); }
CASE("splice", "of nothing is 0") { IS(0, splice(NO_FD, NULL, NO_FD, NULL, 0, 0)); }
CASE("splice", "of a pipe without writers is 0") {
  OK(pipe(ends));
  OK(close(ends[1]));
  IS(0, splice(ends[0], NULL, out(), NULL, 1, 0));
}
CASE("splice", "to a file for appending is EINVAL") {
  int from = pipe_with("x");
  FAILS(EINVAL, splice(from, NULL, OK(open("out", O_CREAT | O_WRONLY | O_APPEND, 0600)), NULL, 1, 0));
}
CASE("splice", "waits for a writer") {
  OK(pipe(ends));
  int p[2];
  OK(pipe(p));
  CHILD(pid) {
    sleep_ms(20);
    IS(1, write(ends[1], "x", 1));
  }
  IS(1, splice(ends[0], NULL, p[1], NULL, 9, 0));
  IS(0, ended(pid));
}
CASE("splice", "is interrupted by a signal") {
  OK(pipe(ends));
  interrupt_soon();
  FAILS(EINTR, splice(ends[0], NULL, out(), NULL, 9, 0));
}
FAILS_CASE("splice", "of a bad descriptor is EBADF", EBADF, splice(NO_FD, NULL, 1, NULL, 1, 0))
CASE("tee", "copies what stays") {
  int from = pipe_with("abc"), p[2];
  OK(pipe(p));
  IS(3, tee(from, p[1], 99, 0));
  IS(3, read(p[0], b, 9));
  IS(3, read(from, b, 9));
}
CASE("tee", "of a file is EINVAL") {
  int from = file_with("abc");
  OK(pipe(ends));
  FAILS(EINVAL, tee(from, ends[1], 1, 0));
}
CASE("tee", "SPLICE_F_NONBLOCK of an empty pipe is EAGAIN") {
  OK(pipe(ends));
  int p[2];
  OK(pipe(p));
  FAILS(EAGAIN, tee(ends[0], p[1], 1, SPLICE_F_NONBLOCK));
}
CASE("tee", "of a pipe without writers is 0") {
  OK(pipe(ends));
  OK(close(ends[1]));
  int p[2];
  OK(pipe(p));
  IS(0, tee(ends[0], p[1], 1, 0));
}
CASE("vmsplice", "writes to a pipe") {
  OK(pipe(ends));
  struct iovec v = {"abc", 3};
  IS(3, vmsplice(ends[1], &v, 1, 0));
  IS(3, read(ends[0], b, 9));
}
CASE("vmsplice", "reads from a pipe") {
  int from = pipe_with("abc");
  struct iovec v = {b, 9};
  IS(3, vmsplice(from, &v, 1, 0));
  SAME("abc", b, 3);
}
CASE("vmsplice", "of a file is EBADF") {
  struct iovec v = {b, 9};
  FAILS(EBADF, vmsplice(file_with(""), &v, 1, 0));
}
CASE("vmsplice", "with an unknown flag is EINVAL") {
  OK(pipe(ends));
  struct iovec v = {b, 9};
  FAILS(EINVAL, vmsplice(ends[1], &v, 1, 64));
}
CASE("fcntl", "F_SETPIPE_SZ rounds up and F_GETPIPE_SZ tells") {
  OK(pipe(ends));
  IS(65536, fcntl(ends[0], F_GETPIPE_SZ));
  IS(131072, fcntl(ends[0], F_SETPIPE_SZ, 100000));
  IS(131072, fcntl(ends[1], F_GETPIPE_SZ));
  IS(4096, fcntl(ends[1], F_SETPIPE_SZ, 1));
}
CASE("fcntl", "F_SETPIPE_SZ below what is in it is EBUSY") {
  OK(pipe(ends));
  IS(65536, write(ends[1], b, 65536));
  FAILS(EBUSY, fcntl(ends[0], F_SETPIPE_SZ, 4096));
}
CASE("fcntl", "F_SETPIPE_SZ beyond the limit is EPERM for a user") {
  OK(pipe(ends));
  become_user();
  FAILS(EPERM, fcntl(ends[0], F_SETPIPE_SZ, 2 << 20));
  OK(fcntl(ends[0], F_SETPIPE_SZ, 1 << 20));
}
CASE("fcntl", "F_GETPIPE_SZ of a file is EBADF") { FAILS(EBADF, fcntl(file_with(""), F_GETPIPE_SZ)); }
CASE("pipe2", "O_DIRECT keeps writes apart") {
  OK(pipe2(ends, O_DIRECT));
  IS(2, write(ends[1], "ab", 2));
  IS(3, write(ends[1], "cde", 3));
  IS(2, read(ends[0], b, 99));
  IS(1, read(ends[0], b, 1));
  OK(fcntl(ends[0], F_SETFL, O_NONBLOCK));
  FAILS(EAGAIN, read(ends[0], b, 9));
}
