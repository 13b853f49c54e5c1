// Opening: open, openat, openat2, creat, O_TMPFILE, O_PATH.
#include "calls.h"
#include <linux/openat2.h>
#include <sys/sysmacros.h>

static const char *long_name(void) {
  static char name[258];
  memset(name, 'n', 256);
  return name;
}
static const char *long_path(void) {
  static char path[4200];
  for (int i = 0; i < 4198; i += 2) path[i] = '/', path[i + 1] = 'p';
  return path;
}
static int how(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {flags, mode, resolve};
  return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}
static void tree(void) {
  OK(mkdir("d", 0755));
  OK(mkdir("d/e", 0755));
  write_file("f", "text");
  write_file("d/g", "inner");
  OK(symlink("f", "link"));
  OK(symlink("d", "dlink"));
  OK(symlink("nothing", "dangling"));
  OK(symlink("loop", "loop"));
}

FAILS_CASE("open", "of a missing file is ENOENT", ENOENT, open("missing", O_RDONLY))
FAILS_CASE("open", "of the empty path is ENOENT", ENOENT, open("", O_RDONLY))
FAILS_CASE("open", "of a path in no memory is EFAULT", EFAULT, open(NOWHERE, O_RDONLY))
FAILS_CASE("open", "of a name of 256 bytes is ENAMETOOLONG", ENAMETOOLONG, open(long_name(), O_RDONLY))
FAILS_CASE("open", "of a path of 4200 bytes is ENAMETOOLONG", ENAMETOOLONG, open(long_path(), O_RDONLY))
CASE("open", "of a missing directory's file is ENOENT") { FAILS(ENOENT, open("no/f", O_RDONLY | O_CREAT, 0644)); }
CASE("open", "through a file is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, open("f/x", O_RDONLY));
}
CASE("open", "of a file with a slash behind it is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, open("f/", O_RDONLY));
}
CASE("open", "creating a name with a slash behind it is EISDIR") {
  FAILS(EISDIR, open("new/", O_CREAT | O_WRONLY, 0644));
}
CASE("open", "of a directory for writing is EISDIR") {
  tree();
  FAILS(EISDIR, open("d", O_WRONLY));
}
CASE("open", "of a directory for both is EISDIR") {
  tree();
  FAILS(EISDIR, open("d", O_RDWR));
}
CASE("open", "of a directory with O_CREAT is EISDIR") {
  tree();
  FAILS(EISDIR, open("d", O_CREAT, 0644));
}
CASE("open", "of a directory with O_TRUNC is EISDIR") {
  tree();
  FAILS(EISDIR, open("d", O_RDONLY | O_TRUNC));
}
CASE("open", "of a directory for reading works") {
  tree();
  OK(open("d", O_RDONLY));
}
CASE("open", "of a file with O_DIRECTORY is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, open("f", O_RDONLY | O_DIRECTORY));
}
CASE("open", "of a link to a directory with O_DIRECTORY works") {
  tree();
  OK(open("dlink", O_DIRECTORY));
}
CASE("open", "with O_CREAT and O_DIRECTORY is EINVAL") { FAILS(EINVAL, open("x", O_CREAT | O_DIRECTORY, 0644)); }
CASE("open", "with O_EXCL of an existing file is EEXIST") {
  tree();
  FAILS(EEXIST, open("f", O_CREAT | O_EXCL, 0644));
}
CASE("open", "with O_EXCL of a dangling link is EEXIST") {
  tree();
  FAILS(EEXIST, open("dangling", O_CREAT | O_EXCL, 0644));
}
CASE("open", "with O_CREAT of a dangling link makes what it names") {
  tree();
  OK(open("dangling", O_CREAT | O_WRONLY, 0600));
  OK(access("nothing", F_OK));
}
CASE("open", "with O_NOFOLLOW of a link is ELOOP") {
  tree();
  FAILS(ELOOP, open("link", O_RDONLY | O_NOFOLLOW));
}
CASE("open", "with O_NOFOLLOW follows links before the last name") {
  tree();
  OK(open("dlink/g", O_RDONLY | O_NOFOLLOW));
}
CASE("open", "of a link to itself is ELOOP") {
  tree();
  FAILS(ELOOP, open("loop", O_RDONLY));
}
CASE("open", "gives the lowest free descriptor") {
  tree();
  IS(3, open("f", O_RDONLY));
  IS(4, open("f", O_RDONLY));
  OK(close(3));
  IS(3, open("f", O_RDONLY));
}
CASE("open", "obeys umask") {
  struct stat s;
  umask(027);
  OK(open("x", O_CREAT | O_WRONLY, 0666));
  OK(stat("x", &s));
  IS(0640, s.st_mode & 07777);
}
CASE("open", "ignores the mode without O_CREAT") {
  tree();
  OK(open("f", O_RDONLY, 07777777));
}
CASE("open", "with O_CREAT makes a file one may write though its mode says no") {
  become_user();
  OK(chdir("."));
}
CASE("open", "with O_TRUNC empties") {
  int fd = file_with("long text");
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  OK(open(path, O_WRONLY | O_TRUNC));
  struct stat s;
  OK(fstat(fd, &s));
  IS(0, s.st_size);
}
CASE("open", "beyond the limit of descriptors is EMFILE and makes nothing") {
  struct rlimit three = {3, 3};
  OK(setrlimit(RLIMIT_NOFILE, &three));
  FAILS(EMFILE, open("x", O_CREAT | O_WRONLY, 0644));
  FAILS(ENOENT, access("x", F_OK));
}
CASE("open", "for writing of a program that runs is ETXTBSY") { FAILS(ETXTBSY, open("/proc/self/exe", O_WRONLY)); }
CASE("open", "of a fifo for writing without a reader, not waiting, is ENXIO") {
  OK(mkfifo("p", 0600));
  FAILS(ENXIO, open("p", O_WRONLY | O_NONBLOCK));
}
CASE("open", "of a fifo for reading, not waiting, works") {
  OK(mkfifo("p", 0600));
  OK(open("p", O_RDONLY | O_NONBLOCK));
}
CASE("open", "of a fifo waits for the other end") {
  OK(mkfifo("p", 0600));
  CHILD(pid) {
    int fd = OK(open("p", O_WRONLY));
    IS(2, write(fd, "ab", 2));
  }
  int fd = OK(open("p", O_RDONLY));
  char two[2];
  IS(2, read(fd, two, 2));
  IS(0, ended(pid));
}
CASE("open", "of a fifo is interrupted by a signal") {
  OK(mkfifo("p", 0600));
  interrupt_soon();
  FAILS(EINTR, open("p", O_RDONLY));
}
CASE("open", "of a device without a driver is ENXIO") {
  OK(mknod("dev", S_IFCHR | 0600, makedev(240, 77)));
  FAILS(ENXIO, open("dev", O_RDONLY));
}
CASE("open", "of another user's file is EACCES") {
  tree();
  OK(chmod("f", 0600));
  become_user();
  FAILS(EACCES, open("f", O_RDONLY));
}
CASE("open", "creating in another user's directory is EACCES") {
  tree();
  become_user();
  FAILS(EACCES, open("d/new", O_CREAT | O_WRONLY, 0644));
}
CASE("open", "through a directory one may not search is EACCES") {
  tree();
  OK(chmod("d", 0600));
  become_user();
  FAILS(EACCES, open("d/g", O_RDONLY));
}
CASE("open", "O_NOATIME of another user's file is EPERM") {
  tree();
  become_user();
  FAILS(EPERM, open("f", O_RDONLY | O_NOATIME));
}
CASE("open", "with both access bits neither reads nor writes") {
  tree();
  int fd = OK(open("f", 3));
  char byte;
  FAILS(EBADF, read(fd, &byte, 1));
  FAILS(EBADF, write(fd, "x", 1));
}
CASE("open", "a removed directory takes no files") {
  OK(mkdir("gone", 0755));
  int fd = OK(open("gone", O_RDONLY | O_DIRECTORY));
  OK(rmdir("gone"));
  FAILS(ENOENT, openat(fd, "x", O_CREAT | O_WRONLY, 0644));
}
CASE("open", "of /proc/self/fd of a pipe opens the pipe again") {
  int ends[2];
  OK(pipe(ends));
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
  int again = OK(open(path, O_WRONLY));
  IS(1, write(again, "x", 1));
  char byte;
  IS(1, read(ends[0], &byte, 1));
}
CASE("creat", "empties what is there and is for writing") {
  tree();
  int fd = OK(creat("f", 0600));
  IS(O_WRONLY, fcntl(fd, F_GETFL) & O_ACCMODE);
  SAME("", read_file("f"), 1);
}
FAILS_CASE("creat", "in a missing directory is ENOENT", ENOENT, creat("no/x", 0644))
FAILS_CASE("openat", "of a bad descriptor is EBADF", EBADF, openat(NO_FD, "x", O_RDONLY))
CASE("openat", "of an absolute path ignores the descriptor") { OK(openat(NO_FD, "/", O_RDONLY)); }
CASE("openat", "relative to a file is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, openat(OK(open("f", O_RDONLY)), "x", O_RDONLY));
}
CASE("openat", "starts at its directory") {
  tree();
  OK(openat(OK(open("d", O_RDONLY)), "g", O_RDONLY));
}
CASE("openat", "starts at a directory opened with O_PATH") {
  tree();
  OK(openat(OK(open("d", O_PATH)), "g", O_RDONLY));
}

CASE("openat2", "opens as openat does") {
  tree();
  OK(how(AT_FDCWD, "f", O_RDONLY, 0, 0));
}
CASE("openat2", "with a size too small is EINVAL") {
  struct open_how h = {0};
  FAILS(EINVAL, syscall(SYS_openat2, AT_FDCWD, ".", &h, sizeof h - 1));
}
CASE("openat2", "with a larger structure of zeros works") {
  struct {
    struct open_how h;
    char more[8];
  } big = {0};
  OK(syscall(SYS_openat2, AT_FDCWD, ".", &big, sizeof big));
}
CASE("openat2", "with a larger structure that says more is E2BIG") {
  struct {
    struct open_how h;
    char more[8];
  } big = {.more = {1}};
  FAILS(E2BIG, syscall(SYS_openat2, AT_FDCWD, ".", &big, sizeof big));
}
FAILS_CASE("openat2", "of a structure in no memory is EFAULT", EFAULT,
           syscall(SYS_openat2, AT_FDCWD, ".", NOWHERE, sizeof(struct open_how)))
FAILS_CASE("openat2", "with an unknown flag is EINVAL", EINVAL, how(AT_FDCWD, ".", 1ull << 40, 0, 0))
FAILS_CASE("openat2", "with a mode and no O_CREAT is EINVAL", EINVAL, how(AT_FDCWD, ".", O_RDONLY, 0644, 0))
FAILS_CASE("openat2", "with bits beyond a mode is EINVAL", EINVAL, how(AT_FDCWD, "x", O_CREAT | O_WRONLY, 0100644, 0))
FAILS_CASE("openat2", "with an unknown restriction is EINVAL", EINVAL, how(AT_FDCWD, ".", O_RDONLY, 0, 1 << 20))
FAILS_CASE("openat2", "O_PATH with O_RDWR is EINVAL", EINVAL, how(AT_FDCWD, ".", O_PATH | O_RDWR, 0, 0))
FAILS_CASE("openat2", "BENEATH with IN_ROOT is EINVAL", EINVAL,
           how(AT_FDCWD, ".", O_RDONLY, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT))
CASE("openat2", "NO_SYMLINKS: a link is ELOOP") {
  tree();
  FAILS(ELOOP, how(AT_FDCWD, "link", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
}
CASE("openat2", "NO_SYMLINKS: a link on the way is ELOOP") {
  tree();
  FAILS(ELOOP, how(AT_FDCWD, "dlink/g", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
}
CASE("openat2", "NO_SYMLINKS: O_PATH of the link itself works") {
  tree();
  OK(how(AT_FDCWD, "link", O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS));
}
CASE("openat2", "NO_MAGICLINKS: /proc/self/fd is ELOOP") {
  tree();
  OK(open("f", O_RDONLY));
  FAILS(ELOOP, how(AT_FDCWD, "/proc/self/fd/3", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
}
CASE("openat2", "NO_MAGICLINKS: ordinary links are followed") {
  tree();
  OK(how(AT_FDCWD, "link", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
}
FAILS_CASE("openat2", "NO_XDEV: another mount is EXDEV", EXDEV,
           how(AT_FDCWD, "/proc/self", O_RDONLY, 0, RESOLVE_NO_XDEV))
CASE("openat2", "NO_XDEV: the same mount works") {
  tree();
  OK(how(AT_FDCWD, "d/g", O_RDONLY, 0, RESOLVE_NO_XDEV));
}
FAILS_CASE("openat2", "BENEATH: an absolute path is EXDEV", EXDEV, how(AT_FDCWD, "/", O_RDONLY, 0, RESOLVE_BENEATH))
FAILS_CASE("openat2", "BENEATH: .. is EXDEV", EXDEV, how(AT_FDCWD, "..", O_RDONLY, 0, RESOLVE_BENEATH))
CASE("openat2", "BENEATH: .. that stays inside works") {
  tree();
  OK(how(AT_FDCWD, "d/../f", O_RDONLY, 0, RESOLVE_BENEATH));
}
CASE("openat2", "BENEATH: an absolute link is EXDEV") {
  OK(symlink("/", "root"));
  FAILS(EXDEV, how(AT_FDCWD, "root", O_RDONLY, 0, RESOLVE_BENEATH));
}
CASE("openat2", "BENEATH: a relative link works") {
  tree();
  OK(how(AT_FDCWD, "dlink/g", O_RDONLY, 0, RESOLVE_BENEATH));
}
CASE("openat2", "IN_ROOT: an absolute path starts at the directory") {
  tree();
  int d = OK(open("d", O_RDONLY));
  OK(how(d, "/g", O_RDONLY, 0, RESOLVE_IN_ROOT));
}
CASE("openat2", "IN_ROOT: .. stays in the directory") {
  tree();
  int d = OK(open("d", O_RDONLY));
  OK(how(d, "../../g", O_RDONLY, 0, RESOLVE_IN_ROOT));
}
CASE("openat2", "IN_ROOT: an absolute link starts at the directory") {
  tree();
  OK(symlink("/g", "d/abs"));
  OK(how(OK(open("d", O_RDONLY)), "abs", O_RDONLY, 0, RESOLVE_IN_ROOT));
}
CASE("openat2", "CACHED with O_CREAT is EAGAIN") {
  FAILS(EAGAIN, how(AT_FDCWD, "x", O_CREAT | O_WRONLY, 0600, RESOLVE_CACHED));
}
FAILS_CASE("openat2", "of a bad descriptor is EBADF", EBADF, how(NO_FD, "x", O_RDONLY, 0, 0))

CASE("open", "O_TMPFILE makes a file without a name") {
  int fd = OK(open(".", O_TMPFILE | O_RDWR, 0600));
  struct stat s;
  OK(fstat(fd, &s));
  IS(0, s.st_nlink);
  IS(0600, s.st_mode & 07777);
  IS(4, write(fd, "text", 4));
}
CASE("open", "O_TMPFILE for reading alone is EINVAL") { FAILS(EINVAL, open(".", O_TMPFILE | O_RDONLY, 0600)); }
CASE("open", "O_TMPFILE in a file is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, open("f", O_TMPFILE | O_RDWR, 0600));
}
CASE("open", "O_TMPFILE in a missing directory is ENOENT") { FAILS(ENOENT, open("no", O_TMPFILE | O_RDWR, 0600)); }
CASE("open", "O_TMPFILE in another user's directory is EACCES") {
  tree();
  become_user();
  FAILS(EACCES, open("d", O_TMPFILE | O_RDWR, 0600));
}
CASE("linkat", "gives a file of O_TMPFILE a name by its descriptor") {
  int fd = OK(open(".", O_TMPFILE | O_RDWR, 0600));
  IS(4, write(fd, "text", 4));
  OK(linkat(fd, "", AT_FDCWD, "named", AT_EMPTY_PATH));
  SAME("text", read_file("named"), 5);
}
CASE("linkat", "gives a file of O_TMPFILE a name through /proc") {
  int fd = OK(open(".", O_TMPFILE | O_RDWR, 0600));
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
  struct stat s;
  OK(stat("named", &s));
  IS(1, s.st_nlink);
}
CASE("linkat", "of a file of O_TMPFILE with O_EXCL is ENOENT") {
  int fd = OK(open(".", O_TMPFILE | O_EXCL | O_RDWR, 0600));
  FAILS(ENOENT, linkat(fd, "", AT_FDCWD, "named", AT_EMPTY_PATH));
}
CASE("linkat", "of a removed file is ENOENT") {
  tree();
  int fd = OK(open("f", O_RDWR));
  OK(unlink("f"));
  FAILS(ENOENT, linkat(fd, "", AT_FDCWD, "again", AT_EMPTY_PATH));
}

static int path_of(const char *name) {
  tree();
  return (int)OK(open(name, O_PATH));
}
CASE("open", "O_PATH: reading is EBADF") {
  int fd = path_of("f");
  char b;
  FAILS(EBADF, read(fd, &b, 1));
}
CASE("open", "O_PATH: writing is EBADF") {
  int fd = path_of("f");
  FAILS(EBADF, write(fd, "x", 1));
}
CASE("open", "O_PATH: lseek is EBADF") {
  int fd = path_of("f");
  FAILS(EBADF, lseek(fd, 0, SEEK_SET));
}
CASE("open", "O_PATH: fchmod is EBADF") {
  int fd = path_of("f");
  FAILS(EBADF, fchmod(fd, 0600));
}
CASE("open", "O_PATH: fchown is EBADF") {
  int fd = path_of("f");
  FAILS(EBADF, fchown(fd, 0, 0));
}
CASE("open", "O_PATH: mmap is EBADF") {
  int fd = path_of("f");
  FAILS(EBADF, (long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0));
}
CASE("open", "O_PATH: fsync is EBADF") {
  int fd = path_of("f");
  FAILS(EBADF, fsync(fd));
}
CASE("open", "O_PATH: ftruncate is EBADF") {
  int fd = path_of("f");
  FAILS(EBADF, ftruncate(fd, 0));
}
CASE("open", "O_PATH: ioctl is EBADF") {
  int fd = path_of("f");
  FAILS(EBADF, syscall(SYS_ioctl, fd, 0x541b, 0));
}
CASE("open", "O_PATH: fcntl F_SETFL is EBADF") {
  int fd = path_of("f");
  FAILS(EBADF, fcntl(fd, F_SETFL, 0));
}
CASE("open", "O_PATH: fstat works") {
  int fd = path_of("f");
  struct stat s;
  OK(fstat(fd, &s));
  IS(4, s.st_size);
}
CASE("open", "O_PATH: fchdir of a directory works") {
  int fd = path_of("d");
  OK(fchdir(fd));
  OK(access("g", F_OK));
}
CASE("open", "O_PATH: dup works") {
  int fd = path_of("f");
  OK(dup(fd));
}
CASE("open", "O_PATH: F_GETFL tells it") {
  int fd = path_of("f");
  HOLDS(fcntl(fd, F_GETFL) & O_PATH);
}
CASE("open", "O_PATH needs no permission on the file") {
  tree();
  OK(chmod("f", 0));
  become_user();
  OK(open("f", O_PATH));
}
CASE("open", "O_PATH with O_NOFOLLOW gives the link itself") {
  tree();
  int fd = OK(open("link", O_PATH | O_NOFOLLOW));
  struct stat s;
  OK(fstat(fd, &s));
  HOLDS(S_ISLNK(s.st_mode));
  char text[8];
  IS(1, readlinkat(fd, "", text, sizeof text));
}
CASE("open", "O_PATH can be opened through /proc") {
  int fd = path_of("f");
  char path[40], text[4];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  IS(4, read(OK(open(path, O_RDONLY)), text, 4));
}
