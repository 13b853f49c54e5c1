// What files are: stat, statx, access, chmod, chown, utimensat, truncate, statfs, extended attributes.
#include "calls.h"
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <utime.h>

static void tree(void) {
  OK(mkdir("d", 0755));
  write_file("f", "text");
  OK(symlink("f", "link"));
  OK(symlink("no", "dangling"));
}
static struct stat s;
static mode_t mode(const char *path) {
  OK(lstat(path, &s));
  return s.st_mode & 07777;
}

CASE("stat", "tells size, mode, links and type") {
  tree();
  OK(stat("f", &s));
  IS(4, s.st_size);
  IS(0644, s.st_mode & 07777);
  IS(1, s.st_nlink);
  HOLDS(S_ISREG(s.st_mode));
}
CASE("stat", "follows links") {
  tree();
  OK(stat("link", &s));
  HOLDS(S_ISREG(s.st_mode));
}
CASE("lstat", "does not follow a link") {
  tree();
  OK(lstat("link", &s));
  HOLDS(S_ISLNK(s.st_mode));
  IS(1, s.st_size);
}
CASE("stat", "of a dangling link is ENOENT") {
  tree();
  FAILS(ENOENT, stat("dangling", &s));
}
FAILS_CASE("stat", "of no memory is EFAULT", EFAULT, stat(NOWHERE, &s))
FAILS_CASE("stat", "into no memory is EFAULT", EFAULT, stat(".", NOWHERE))
FAILS_CASE("stat", "of nothing is ENOENT", ENOENT, stat("no", &s))
FAILS_CASE("fstat", "of a bad descriptor is EBADF", EBADF, fstat(NO_FD, &s))
CASE("fstat", "of a pipe tells a fifo") {
  int p[2];
  OK(pipe(p));
  OK(fstat(p[0], &s));
  HOLDS(S_ISFIFO(s.st_mode));
}
CASE("stat", "through /proc/self/fd of a pipe tells a fifo") {
  int p[2];
  OK(pipe(p));
  OK(stat("/proc/self/fd/3", &s));
  HOLDS(S_ISFIFO(s.st_mode));
}
CASE("stat", "counts blocks of what was written") {
  int fd = file_with("");
  OK(ftruncate(fd, 1 << 20));
  OK(fstat(fd, &s));
  IS(0, s.st_blocks);
  IS(1, pwrite(fd, "x", 1, 500000));
  OK(fstat(fd, &s));
  IS(8, s.st_blocks);
}
CASE("newfstatat", "of the empty path with AT_EMPTY_PATH tells the descriptor") {
  int fd = file_with("abc");
  OK(fstatat(fd, "", &s, AT_EMPTY_PATH));
  IS(3, s.st_size);
}
CASE("newfstatat", "of the empty path is ENOENT") { FAILS(ENOENT, fstatat(AT_FDCWD, "", &s, 0)); }
CASE("newfstatat", "with an unknown flag is EINVAL") { FAILS(EINVAL, fstatat(AT_FDCWD, ".", &s, 1)); }
FAILS_CASE("newfstatat", "of a bad descriptor is EBADF", EBADF, fstatat(NO_FD, "x", &s, 0))
static struct statx x;
CASE("statx", "tells what stat tells") {
  tree();
  OK(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &x));
  OK(stat("f", &s));
  IS(s.st_ino, x.stx_ino);
  IS(s.st_mode, x.stx_mode);
  IS(4, x.stx_size);
  IS(minor(s.st_dev), x.stx_dev_minor);
  IS(STATX_BASIC_STATS, x.stx_mask & STATX_BASIC_STATS);
}
CASE("statx", "AT_SYMLINK_NOFOLLOW tells the link") {
  tree();
  OK(statx(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &x));
  HOLDS(S_ISLNK(x.stx_mode));
}
FAILS_CASE("statx", "with an unknown flag is EINVAL", EINVAL, syscall(SYS_statx, AT_FDCWD, ".", 1, 0, &x))
FAILS_CASE("statx", "with the reserved mask bit is EINVAL", EINVAL,
           syscall(SYS_statx, AT_FDCWD, ".", 0, 0x80000000u, &x))
FAILS_CASE("statx", "with both ways to synchronise is EINVAL", EINVAL,
           syscall(SYS_statx, AT_FDCWD, ".", AT_STATX_SYNC_TYPE, 0, &x))
FAILS_CASE("statx", "into no memory is EFAULT", EFAULT, syscall(SYS_statx, AT_FDCWD, ".", 0, 0, NOWHERE))

CASE("access", "tells the superuser may read and write anything") {
  tree();
  OK(chmod("f", 0));
  OK(access("f", R_OK | W_OK));
  FAILS(EACCES, access("f", X_OK));
}
CASE("access", "tells by the real user") {
  tree();
  OK(chmod("f", 0600));
  OK(setresuid(1000, 0, 0));
  FAILS(EACCES, access("f", R_OK));
}
CASE("access", "with an unknown mode is EINVAL") { FAILS(EINVAL, access(".", 8)); }
FAILS_CASE("access", "of nothing is ENOENT", ENOENT, access("no", F_OK))
CASE("faccessat2", "AT_EACCESS tells by the effective user") {
  tree();
  OK(chmod("f", 0600));
  OK(setresuid(1000, 0, 0));
  OK(syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, AT_EACCESS));
}
CASE("faccessat2", "with an unknown flag is EINVAL") {
  FAILS(EINVAL, syscall(SYS_faccessat2, AT_FDCWD, ".", F_OK, 0x8000));
}
FAILS_CASE("faccessat", "of a bad descriptor is EBADF", EBADF, syscall(SYS_faccessat, NO_FD, "x", 0))

CASE("chmod", "sets twelve bits") {
  tree();
  OK(chmod("f", 0107777));
  IS(07777, mode("f"));
}
CASE("chmod", "by somebody else is EPERM") {
  tree();
  become_user();
  FAILS(EPERM, chmod("f", 0600));
}
CASE("chmod", "by a user not in the group drops set-group-ID") {
  tree();
  OK(chown("f", 1000, 55));
  become_user();
  OK(chmod("f", 02755));
  IS(0755, mode("f"));
}
FAILS_CASE("chmod", "of nothing is ENOENT", ENOENT, chmod("no", 0600))
FAILS_CASE("fchmod", "of a bad descriptor is EBADF", EBADF, fchmod(NO_FD, 0600))
FAILS_CASE("fchmodat", "of a bad descriptor is EBADF", EBADF, syscall(SYS_fchmodat, NO_FD, "x", 0600))
CASE("fchmodat2", "AT_SYMLINK_NOFOLLOW of a link is EOPNOTSUPP") {
  tree();
  FAILS(EOPNOTSUPP, syscall(452, AT_FDCWD, "link", 0600, AT_SYMLINK_NOFOLLOW));
}
CASE("fchmodat2", "AT_SYMLINK_NOFOLLOW of a file works") {
  tree();
  OK(syscall(452, AT_FDCWD, "f", 0600, AT_SYMLINK_NOFOLLOW));
  IS(0600, mode("f"));
}
CASE("fchmodat2", "AT_EMPTY_PATH changes the descriptor's file") {
  tree();
  OK(syscall(452, OK(open("f", O_PATH)), "", 0600, AT_EMPTY_PATH));
  IS(0600, mode("f"));
}
FAILS_CASE("fchmodat2", "with an unknown flag is EINVAL", EINVAL, syscall(452, AT_FDCWD, ".", 0700, 1))
CASE("chown", "sets both ids, -1 leaves one") {
  tree();
  OK(chown("f", 7, 8));
  OK(chown("f", -1, 9));
  OK(stat("f", &s));
  IS(7, s.st_uid);
  IS(9, s.st_gid);
}
CASE("chown", "takes set-user-ID away") {
  tree();
  OK(chmod("f", 06755));
  OK(chown("f", 7, 8));
  IS(0755, mode("f"));
}
CASE("chown", "keeps set-group-ID of what no group executes") {
  tree();
  OK(chmod("f", 02745));
  OK(chown("f", 7, 8));
  IS(02745, mode("f"));
}
CASE("chown", "by an ordinary user to another is EPERM") {
  tree();
  OK(chown("f", 1000, 1000));
  become_user();
  FAILS(EPERM, chown("f", 1001, -1));
}
CASE("chown", "by the owner to a group of his works") {
  tree();
  OK(chown("f", 1000, 55));
  become_user();
  OK(chown("f", -1, 1000));
  FAILS(EPERM, chown("f", -1, 55));
}
CASE("lchown", "changes the link itself") {
  tree();
  OK(lchown("link", 7, 8));
  OK(lstat("link", &s));
  IS(7, s.st_uid);
  OK(stat("f", &s));
  IS(0, s.st_uid);
}
FAILS_CASE("fchown", "of a bad descriptor is EBADF", EBADF, fchown(NO_FD, 0, 0))
FAILS_CASE("fchownat", "with an unknown flag is EINVAL", EINVAL, fchownat(AT_FDCWD, ".", 0, 0, 1))

static void times(const char *path, long as, long an, long ms, long mn) {
  struct timespec t[2] = {{as, an}, {ms, mn}};
  OK(utimensat(AT_FDCWD, path, t, 0));
}
CASE("utimensat", "sets both times to the nanosecond") {
  tree();
  times("f", 1, 2, 3, 4);
  OK(stat("f", &s));
  IS(1, s.st_atim.tv_sec);
  IS(2, s.st_atim.tv_nsec);
  IS(3, s.st_mtim.tv_sec);
  IS(4, s.st_mtim.tv_nsec);
}
CASE("utimensat", "UTIME_OMIT leaves one") {
  tree();
  times("f", 1, 2, 3, 4);
  times("f", 9, UTIME_OMIT, 8, 0);
  OK(stat("f", &s));
  IS(1, s.st_atim.tv_sec);
  IS(8, s.st_mtim.tv_sec);
}
CASE("utimensat", "of no times sets now") {
  tree();
  times("f", 1, 2, 3, 4);
  OK(utimensat(AT_FDCWD, "f", NULL, 0));
  OK(stat("f", &s));
  HOLDS(s.st_mtim.tv_sec > 1000000);
}
CASE("utimensat", "with nanoseconds of a second is EINVAL") {
  tree();
  struct timespec t[2] = {{0, 1000000000}, {0, 0}};
  FAILS(EINVAL, utimensat(AT_FDCWD, "f", t, 0));
}
CASE("utimensat", "by somebody else is EPERM") {
  tree();
  become_user();
  struct timespec t[2] = {{1, 0}, {1, 0}};
  FAILS(EPERM, utimensat(AT_FDCWD, "f", t, 0));
}
CASE("utimensat", "to now by somebody who may not write is EACCES") {
  tree();
  become_user();
  FAILS(EACCES, utimensat(AT_FDCWD, "f", NULL, 0));
}
CASE("utimensat", "to now by somebody who may write works") {
  tree();
  OK(chmod("f", 0666));
  become_user();
  OK(utimensat(AT_FDCWD, "f", NULL, 0));
}
CASE("utimensat", "AT_SYMLINK_NOFOLLOW sets the link's") {
  tree();
  struct timespec t[2] = {{5, 0}, {6, 0}};
  OK(utimensat(AT_FDCWD, "link", t, AT_SYMLINK_NOFOLLOW));
  OK(lstat("link", &s));
  IS(6, s.st_mtim.tv_sec);
}
FAILS_CASE("utimensat", "with an unknown flag is EINVAL", EINVAL, utimensat(AT_FDCWD, ".", NULL, 1))
FAILS_CASE("utimensat", "of times in no memory is EFAULT", EFAULT, utimensat(AT_FDCWD, ".", NOWHERE, 0))
CASE("utimes", "with microseconds of a second is EINVAL") {
  tree();
  struct timeval t[2] = {{0, 1000000}, {0, 0}};
  FAILS(EINVAL, syscall(SYS_utimes, "f", t));
}
CASE("utime", "sets whole seconds") {
  tree();
  struct utimbuf t = {5, 6};
  OK(syscall(SYS_utime, "f", &t));
  OK(stat("f", &s));
  IS(6, s.st_mtim.tv_sec);
}

CASE("truncate", "cuts and lengthens") {
  tree();
  OK(truncate("f", 2));
  SAME("te", read_file("f"), 3);
  OK(truncate("f", 4));
  OK(stat("f", &s));
  IS(4, s.st_size);
  SAME("te\0\0", read_file("f"), 4);
}
CASE("truncate", "of a directory is EISDIR") {
  tree();
  FAILS(EISDIR, truncate("d", 0));
}
CASE("truncate", "to less than nothing is EINVAL") {
  tree();
  FAILS(EINVAL, truncate("f", -1));
}
CASE("truncate", "of what one may not write is EACCES") {
  tree();
  become_user();
  FAILS(EACCES, truncate("f", 0));
}
CASE("truncate", "of a fifo is EINVAL") {
  OK(mkfifo("p", 0600));
  FAILS(EINVAL, truncate("p", 0));
}
FAILS_CASE("truncate", "of nothing is ENOENT", ENOENT, truncate("no", 0))
CASE("ftruncate", "of a file open for reading is EINVAL") {
  tree();
  FAILS(EINVAL, ftruncate(OK(open("f", O_RDONLY)), 0));
}
CASE("ftruncate", "of a pipe is EINVAL") {
  int p[2];
  OK(pipe(p));
  FAILS(EINVAL, ftruncate(p[1], 0));
}
FAILS_CASE("ftruncate", "of a bad descriptor is EBADF", EBADF, ftruncate(NO_FD, 0))
CASE("ftruncate", "beyond the limit of size is EFBIG and SIGXFSZ") {
  int fd = file_with("");
  struct rlimit small = {100, 100};
  OK(setrlimit(RLIMIT_FSIZE, &small));
  signal(SIGXFSZ, SIG_IGN);
  FAILS(EFBIG, ftruncate(fd, 101));
  OK(ftruncate(fd, 100));
}
static struct statfs fs;
CASE("statfs", "tells tmpfs") {
  OK(statfs(".", &fs));
  IS(0x01021994, fs.f_type);
  IS(255, fs.f_namelen);
  IS(4096, fs.f_bsize);
}
CASE("statfs", "tells procfs") {
  OK(statfs("/proc", &fs));
  IS(0x9fa0, fs.f_type);
}
CASE("fstatfs", "of a pipe tells pipefs") {
  int p[2];
  OK(pipe(p));
  OK(fstatfs(p[0], &fs));
  IS(0x50495045, fs.f_type);
}
FAILS_CASE("statfs", "of nothing is ENOENT", ENOENT, statfs("no", &fs))
FAILS_CASE("statfs", "into no memory is EFAULT", EFAULT, syscall(SYS_statfs, ".", NOWHERE))
FAILS_CASE("fstatfs", "of a bad descriptor is EBADF", EBADF, fstatfs(NO_FD, &fs))

static char b[70000];
CASE("setxattr", "sets what getxattr tells") {
  tree();
  OK(setxattr("f", "user.a", "value", 5, 0));
  IS(5, getxattr("f", "user.a", b, 99));
  SAME("value", b, 5);
}
CASE("setxattr", "replaces") {
  tree();
  OK(setxattr("f", "user.a", "value", 5, 0));
  OK(setxattr("f", "user.a", "v", 1, 0));
  IS(1, getxattr("f", "user.a", b, 99));
}
CASE("setxattr", "XATTR_CREATE of what is there is EEXIST") {
  tree();
  OK(setxattr("f", "user.a", "v", 1, XATTR_CREATE));
  FAILS(EEXIST, setxattr("f", "user.a", "v", 1, XATTR_CREATE));
}
CASE("setxattr", "XATTR_REPLACE of what is not is ENODATA") {
  tree();
  FAILS(ENODATA, setxattr("f", "user.a", "v", 1, XATTR_REPLACE));
}
CASE("setxattr", "with an unknown flag is EINVAL") {
  tree();
  FAILS(EINVAL, setxattr("f", "user.a", "v", 1, 8));
}
CASE("setxattr", "of an unknown class is EOPNOTSUPP") {
  tree();
  FAILS(EOPNOTSUPP, setxattr("f", "other.a", "v", 1, 0));
}
CASE("setxattr", "of a class alone is EINVAL") {
  tree();
  FAILS(EINVAL, setxattr("f", "user.", "v", 1, 0));
}
CASE("setxattr", "of the empty name is ERANGE") {
  tree();
  FAILS(ERANGE, setxattr("f", "", "v", 1, 0));
}
CASE("setxattr", "of a long name is ERANGE") {
  tree();
  memset(b, 'u', 300);
  memcpy(b, "user.", 5);
  FAILS(ERANGE, setxattr("f", b, "v", 1, 0));
}
CASE("setxattr", "of too much is E2BIG") {
  tree();
  FAILS(E2BIG, setxattr("f", "user.a", b, 65537, 0));
}
CASE("setxattr", "of no memory is EFAULT") {
  tree();
  FAILS(EFAULT, setxattr("f", "user.a", NOWHERE, 5, 0));
  FAILS(EFAULT, setxattr("f", NOWHERE, "v", 1, 0));
}
FAILS_CASE("setxattr", "of nothing is ENOENT", ENOENT, setxattr("no", "user.a", "v", 1, 0))
CASE("setxattr", "user attribute of a fifo is EPERM") {
  OK(mkfifo("p", 0600));
  FAILS(EPERM, setxattr("p", "user.a", "v", 1, 0));
}
CASE("lsetxattr", "user attribute of a link is EPERM") {
  tree();
  FAILS(EPERM, lsetxattr("link", "user.a", "v", 1, 0));
}
CASE("lsetxattr", "trusted attribute of a link works") {
  tree();
  OK(lsetxattr("link", "trusted.a", "v", 1, 0));
  IS(1, lgetxattr("link", "trusted.a", b, 9));
  FAILS(ENODATA, getxattr("link", "trusted.a", b, 9));
}
CASE("setxattr", "without the right to write is EACCES") {
  tree();
  become_user();
  FAILS(EACCES, setxattr("f", "user.a", "v", 1, 0));
}
CASE("setxattr", "trusted attributes are the superuser's") {
  tree();
  OK(setxattr("f", "trusted.a", "v", 1, 0));
  OK(chown("f", 1000, 1000));
  become_user();
  FAILS(EPERM, setxattr("f", "trusted.a", "v", 1, 0));
  FAILS(ENODATA, getxattr("f", "trusted.a", b, 9));
}
CASE("getxattr", "of what is not there is ENODATA") {
  tree();
  FAILS(ENODATA, getxattr("f", "user.no", b, 9));
}
CASE("getxattr", "into too little room is ERANGE") {
  tree();
  OK(setxattr("f", "user.a", "value", 5, 0));
  FAILS(ERANGE, getxattr("f", "user.a", b, 4));
}
CASE("getxattr", "of size 0 tells the size") {
  tree();
  OK(setxattr("f", "user.a", "value", 5, 0));
  IS(5, getxattr("f", "user.a", NULL, 0));
}
FAILS_CASE("fgetxattr", "of a bad descriptor is EBADF", EBADF, fgetxattr(NO_FD, "user.a", b, 9))
FAILS_CASE("fsetxattr", "of a bad descriptor is EBADF", EBADF, fsetxattr(NO_FD, "user.a", b, 9, 0))
FAILS_CASE("flistxattr", "of a bad descriptor is EBADF", EBADF, flistxattr(NO_FD, b, 9))
FAILS_CASE("fremovexattr", "of a bad descriptor is EBADF", EBADF, fremovexattr(NO_FD, "user.a"))
CASE("fsetxattr", "sets by descriptor") {
  int fd = file_with("");
  OK(fsetxattr(fd, "user.a", "v", 1, 0));
  IS(1, fgetxattr(fd, "user.a", b, 9));
  OK(fremovexattr(fd, "user.a"));
  FAILS(ENODATA, fgetxattr(fd, "user.a", b, 9));
}
CASE("listxattr", "tells the names with their NULs") {
  tree();
  OK(setxattr("f", "user.a", "v", 1, 0));
  OK(setxattr("f", "user.bc", "v", 1, 0));
  IS(15, listxattr("f", b, 99));
  IS(15, listxattr("f", NULL, 0));
  FAILS(ERANGE, listxattr("f", b, 14));
}
CASE("listxattr", "hides trusted attributes from others") {
  tree();
  OK(setxattr("f", "trusted.a", "v", 1, 0));
  IS(10, listxattr("f", b, 99));
  become_user();
  IS(0, listxattr("f", b, 99));
}
CASE("llistxattr", "of a link is its own") {
  tree();
  OK(setxattr("f", "user.a", "v", 1, 0));
  IS(0, llistxattr("link", b, 99));
}
CASE("removexattr", "of what is not there is ENODATA") {
  tree();
  FAILS(ENODATA, removexattr("f", "user.no"));
}
CASE("lremovexattr", "removes the link's") {
  tree();
  OK(lsetxattr("link", "trusted.a", "v", 1, 0));
  OK(lremovexattr("link", "trusted.a"));
  FAILS(ENODATA, lgetxattr("link", "trusted.a", b, 9));
}
CASE("setxattr", "changes the time of change and no other") {
  tree();
  times("f", 1, 0, 1, 0);
  struct stat before;
  OK(stat("f", &before));
  sleep_ms(20);
  OK(setxattr("f", "user.a", "v", 1, 0));
  OK(stat("f", &s));
  IS(1, s.st_mtim.tv_sec);
  HOLDS(s.st_ctim.tv_sec > before.st_ctim.tv_sec || s.st_ctim.tv_nsec > before.st_ctim.tv_nsec);
}
CASE("rename", "keeps extended attributes") {
  tree();
  OK(setxattr("f", "user.a", "v", 1, 0));
  OK(rename("f", "h"));
  IS(1, getxattr("h", "user.a", b, 9));
}
