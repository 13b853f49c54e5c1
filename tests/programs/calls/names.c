// Names: mkdir, rmdir, unlink, rename, link, symlink, readlink, mknod, getdents, chdir.
#include "calls.h"
#include <dirent.h>
#include <sys/sysmacros.h>

static void tree(void) {
  OK(mkdir("d", 0755));
  OK(mkdir("d/e", 0755));
  OK(mkdir("empty", 0755));
  write_file("f", "text");
  write_file("g", "other");
  write_file("d/g", "inner");
  OK(symlink("f", "link"));
  OK(symlink("d", "dlink"));
}
static char name256[257];
#define LONG (memset(name256, 'n', 256), name256)
static int rename2(const char *from, const char *to, unsigned flags) {
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}
static mode_t mode_of(const char *path) {
  struct stat s;
  OK(lstat(path, &s));
  return s.st_mode;
}
static nlink_t links(const char *path) {
  struct stat s;
  OK(lstat(path, &s));
  return s.st_nlink;
}

CASE("mkdir", "makes a directory with two names more") {
  tree();
  IS(3, links("d"));
  OK(mkdir("d/new", 0700));
  IS(4, links("d"));
  IS(0700, mode_of("d/new") & 07777);
}
CASE("mkdir", "obeys umask") {
  umask(077);
  OK(mkdir("x", 0777));
  IS(0700, mode_of("x") & 0777);
}
CASE("mkdir", "ignores set-user-ID in the mode") {
  OK(mkdir("x", 04755));
  IS(0755, mode_of("x") & 07777);
}
CASE("mkdir", "keeps the sticky bit") {
  OK(mkdir("x", 01755));
  IS(01755, mode_of("x") & 07777);
}
CASE("mkdir", "in a directory with set-group-ID inherits it and the group") {
  OK(mkdir("s", 0755));
  OK(chown("s", 0, 55));
  OK(chmod("s", 02755));
  OK(mkdir("s/x", 0755));
  struct stat s;
  OK(stat("s/x", &s));
  IS(55, s.st_gid);
  IS(02755, s.st_mode & 07777);
}
CASE("mkdir", "of what is there is EEXIST") {
  tree();
  FAILS(EEXIST, mkdir("d", 0755));
  FAILS(EEXIST, mkdir("f", 0755));
  FAILS(EEXIST, mkdir("link", 0755));
}
CASE("mkdir", "with a slash behind it works") { OK(mkdir("x/", 0755)); }
CASE("mkdir", "of . and / is EEXIST") {
  FAILS(EEXIST, mkdir(".", 0755));
  FAILS(EEXIST, mkdir("/", 0755));
}
FAILS_CASE("mkdir", "below nothing is ENOENT", ENOENT, mkdir("no/x", 0755))
FAILS_CASE("mkdir", "of no memory is EFAULT", EFAULT, mkdir(NOWHERE, 0755))
FAILS_CASE("mkdir", "of a long name is ENAMETOOLONG", ENAMETOOLONG, mkdir(LONG, 0755))
FAILS_CASE("mkdir", "of the empty path is ENOENT", ENOENT, mkdir("", 0755))
CASE("mkdir", "below a file is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, mkdir("f/x", 0755));
}
CASE("mkdir", "where one may not write is EACCES") {
  tree();
  become_user();
  FAILS(EACCES, mkdir("d/x", 0755));
}
FAILS_CASE("mkdirat", "of a bad descriptor is EBADF", EBADF, mkdirat(NO_FD, "x", 0755))

CASE("rmdir", "of an empty directory works") {
  tree();
  OK(rmdir("empty"));
  FAILS(ENOENT, access("empty", F_OK));
}
CASE("rmdir", "of a full one is ENOTEMPTY") {
  tree();
  FAILS(ENOTEMPTY, rmdir("d"));
}
CASE("rmdir", "of a file is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, rmdir("f"));
}
CASE("rmdir", "of a link to a directory is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, rmdir("dlink"));
}
CASE("rmdir", "of . is EINVAL") { FAILS(EINVAL, rmdir(".")); }
CASE("rmdir", "of a path that ends in .. is ENOTEMPTY") {
  tree();
  FAILS(ENOTEMPTY, rmdir("d/.."));
}
CASE("rmdir", "of / is EBUSY") { FAILS(EBUSY, rmdir("/")); }
FAILS_CASE("rmdir", "of nothing is ENOENT", ENOENT, rmdir("no"))
FAILS_CASE("rmdir", "of no memory is EFAULT", EFAULT, rmdir(NOWHERE))
CASE("rmdir", "takes a name of its parent") {
  tree();
  OK(rmdir("d/e"));
  IS(2, links("d"));
}
CASE("rmdir", "of a mount point is EBUSY") {
  tree();
  OK(syscall(SYS_mount, "x", "empty", "tmpfs", 0, 0));
  FAILS(EBUSY, rmdir("empty"));
  OK(syscall(SYS_umount2, "empty", 0));
}
CASE("rmdir", "where one may not write is EACCES") {
  tree();
  become_user();
  FAILS(EACCES, rmdir("d/e"));
}

CASE("unlink", "removes a name") {
  tree();
  OK(unlink("f"));
  FAILS(ENOENT, access("f", F_OK));
}
CASE("unlink", "keeps what is open") {
  tree();
  int fd = OK(open("f", O_RDONLY));
  OK(unlink("f"));
  char b[4];
  IS(4, read(fd, b, 4));
  struct stat s;
  OK(fstat(fd, &s));
  IS(0, s.st_nlink);
}
CASE("unlink", "of a link removes the link") {
  tree();
  OK(unlink("link"));
  OK(access("f", F_OK));
}
CASE("unlink", "of a directory is EISDIR") {
  tree();
  FAILS(EISDIR, unlink("d"));
}
CASE("unlink", "of a file with a slash is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, unlink("f/"));
}
FAILS_CASE("unlink", "of nothing is ENOENT", ENOENT, unlink("no"))
FAILS_CASE("unlink", "of no memory is EFAULT", EFAULT, unlink(NOWHERE))
FAILS_CASE("unlink", "of a long name is ENAMETOOLONG", ENAMETOOLONG, unlink(LONG))
CASE("unlink", "in another user's directory is EACCES") {
  tree();
  become_user();
  FAILS(EACCES, unlink("d/g"));
}
CASE("unlink", "of another's file in a sticky directory is EPERM") {
  tree();
  OK(chmod("d", 01777));
  become_user();
  FAILS(EPERM, unlink("d/g"));
}
CASE("unlinkat", "with an unknown flag is EINVAL") {
  tree();
  FAILS(EINVAL, unlinkat(AT_FDCWD, "f", 1));
}
CASE("unlinkat", "with AT_REMOVEDIR removes a directory") {
  tree();
  OK(unlinkat(AT_FDCWD, "empty", AT_REMOVEDIR));
}
FAILS_CASE("unlinkat", "of a bad descriptor is EBADF", EBADF, unlinkat(NO_FD, "x", 0))

CASE("rename", "moves a name") {
  tree();
  OK(rename("f", "new"));
  FAILS(ENOENT, access("f", F_OK));
  SAME("text", read_file("new"), 5);
}
CASE("rename", "replaces a file") {
  tree();
  OK(rename("f", "g"));
  SAME("text", read_file("g"), 5);
}
CASE("rename", "of a name to itself does nothing") {
  tree();
  OK(rename("f", "f"));
  OK(access("f", F_OK));
}
CASE("rename", "to another name of the same file does nothing") {
  tree();
  OK(link("f", "h"));
  OK(rename("f", "h"));
  OK(access("f", F_OK));
  IS(2, links("h"));
}
CASE("rename", "of a directory over a file is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, rename("d", "f"));
}
CASE("rename", "of a file over a directory is EISDIR") {
  tree();
  FAILS(EISDIR, rename("f", "d"));
}
CASE("rename", "of a directory over an empty one works") {
  tree();
  OK(rename("d", "empty"));
  OK(access("empty/g", F_OK));
}
CASE("rename", "of a directory over a full one is ENOTEMPTY") {
  tree();
  FAILS(ENOTEMPTY, rename("empty", "d"));
}
CASE("rename", "of a directory into itself is EINVAL") {
  tree();
  FAILS(EINVAL, rename("d", "d/e/x"));
}
CASE("rename", "over its own parent is ENOTEMPTY") {
  tree();
  FAILS(ENOTEMPTY, rename("d/e", "d"));
}
CASE("rename", "of . is EBUSY") { FAILS(EBUSY, rename(".", "x")); }
CASE("rename", "to .. is EBUSY") {
  tree();
  FAILS(EBUSY, rename("f", "d/.."));
}
CASE("rename", "of nothing is ENOENT") { FAILS(ENOENT, rename("no", "x")); }
CASE("rename", "into a missing directory is ENOENT") {
  tree();
  FAILS(ENOENT, rename("f", "no/x"));
}
CASE("rename", "of a file to a name with a slash is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, rename("f", "new/"));
}
CASE("rename", "across mounts is EXDEV") {
  tree();
  FAILS(EXDEV, rename("f", "/dev/shm/x"));
}
CASE("rename", "of no memory is EFAULT") {
  tree();
  FAILS(EFAULT, rename("f", NOWHERE));
  FAILS(EFAULT, rename(NOWHERE, "f"));
}
CASE("rename", "of a long name is ENAMETOOLONG") {
  tree();
  FAILS(ENAMETOOLONG, rename("f", LONG));
}
CASE("rename", "moves the working directory along") {
  tree();
  OK(chdir("d"));
  OK(rename("../d", "../moved"));
  char b[4096];
  HOLDS(getcwd(b, sizeof b) != NULL);
  HOLDS(strstr(b, "moved") != NULL);
}
CASE("rename", "of a directory changes .. and counts") {
  tree();
  IS(3, links("d"));
  OK(rename("d/e", "empty/e"));
  IS(2, links("d"));
  IS(3, links("empty"));
}
CASE("rename", "where one may not write is EACCES") {
  tree();
  become_user();
  FAILS(EACCES, rename("d/g", "d/h"));
}
CASE("renameat2", "NOREPLACE of what is there is EEXIST") {
  tree();
  FAILS(EEXIST, rename2("f", "g", 1));
}
CASE("renameat2", "NOREPLACE of what is not works") {
  tree();
  OK(rename2("f", "new", 1));
}
CASE("renameat2", "EXCHANGE swaps a file and a directory") {
  tree();
  OK(rename2("f", "d", 2));
  HOLDS(S_ISDIR(mode_of("f")));
  HOLDS(S_ISREG(mode_of("d")));
}
CASE("renameat2", "EXCHANGE with nothing is ENOENT") {
  tree();
  FAILS(ENOENT, rename2("f", "no", 2));
}
CASE("renameat2", "EXCHANGE with what is above is EINVAL") {
  tree();
  FAILS(EINVAL, rename2("d", "d/e", 2));
}
CASE("renameat2", "NOREPLACE with EXCHANGE is EINVAL") {
  tree();
  FAILS(EINVAL, rename2("f", "g", 3));
}
CASE("renameat2", "with an unknown flag is EINVAL") {
  tree();
  FAILS(EINVAL, rename2("f", "g", 8));
}
FAILS_CASE("renameat", "of a bad descriptor is EBADF", EBADF, renameat(NO_FD, "f", AT_FDCWD, "g"))

CASE("link", "gives a second name") {
  tree();
  OK(link("f", "h"));
  IS(2, links("f"));
  SAME("text", read_file("h"), 5);
}
CASE("link", "of a directory is EPERM") {
  tree();
  FAILS(EPERM, link("d", "h"));
}
CASE("link", "to what is there is EEXIST") {
  tree();
  FAILS(EEXIST, link("f", "g"));
}
CASE("link", "of nothing is ENOENT") { FAILS(ENOENT, link("no", "h")); }
CASE("link", "of a link names the link") {
  tree();
  OK(link("link", "h"));
  HOLDS(S_ISLNK(mode_of("h")));
}
CASE("link", "across mounts is EXDEV") {
  tree();
  FAILS(EXDEV, link("f", "/dev/shm/x"));
}
CASE("link", "where one may not write is EACCES") {
  tree();
  OK(chown("f", 1000, 1000));
  become_user();
  FAILS(EACCES, link("f", "d/x"));
}
CASE("linkat", "AT_SYMLINK_FOLLOW names what the link names") {
  tree();
  OK(linkat(AT_FDCWD, "link", AT_FDCWD, "h", AT_SYMLINK_FOLLOW));
  HOLDS(S_ISREG(mode_of("h")));
}
CASE("linkat", "with an unknown flag is EINVAL") {
  tree();
  FAILS(EINVAL, linkat(AT_FDCWD, "f", AT_FDCWD, "h", 1));
}
FAILS_CASE("linkat", "of a bad descriptor is EBADF", EBADF, linkat(NO_FD, "f", AT_FDCWD, "h", 0))

CASE("symlink", "says what it was given") {
  OK(symlink("any/../text", "l"));
  char b[32];
  IS(11, readlink("l", b, sizeof b));
  SAME("any/../text", b, 11);
}
CASE("symlink", "of the empty text is ENOENT") { FAILS(ENOENT, symlink("", "l")); }
CASE("symlink", "to what is there is EEXIST") {
  tree();
  FAILS(EEXIST, symlink("x", "f"));
}
CASE("symlink", "below nothing is ENOENT") { FAILS(ENOENT, symlink("x", "no/l")); }
CASE("symlink", "of no memory is EFAULT") {
  FAILS(EFAULT, symlink(NOWHERE, "l"));
  FAILS(EFAULT, symlink("x", NOWHERE));
}
CASE("symlink", "has mode 0777 whatever umask says") {
  umask(077);
  OK(symlink("x", "l"));
  IS(0777, mode_of("l") & 07777);
}
CASE("symlink", "where one may not write is EACCES") {
  tree();
  become_user();
  FAILS(EACCES, symlink("x", "d/l"));
}
CASE("readlink", "is cut to the buffer") {
  tree();
  OK(symlink("abcdef", "l"));
  char b[3];
  IS(3, readlink("l", b, 3));
  SAME("abc", b, 3);
}
CASE("readlink", "of a file is EINVAL") {
  tree();
  char b[3];
  FAILS(EINVAL, readlink("f", b, 3));
}
CASE("readlink", "into no room is EINVAL") {
  tree();
  char b[1];
  FAILS(EINVAL, syscall(SYS_readlink, "link", b, 0));
  FAILS(EINVAL, syscall(SYS_readlink, "link", b, -1));
}
CASE("readlink", "of nothing is ENOENT") {
  char b[3];
  FAILS(ENOENT, readlink("no", b, 3));
}
CASE("readlink", "into no memory is EFAULT") {
  tree();
  FAILS(EFAULT, readlink("link", NOWHERE, 9));
}
CASE("readlinkat", "of the empty path and a file is ENOENT") {
  tree();
  char b[3];
  FAILS(ENOENT, readlinkat(OK(open("f", O_PATH)), "", b, 3));
}

CASE("mknod", "makes a fifo") {
  OK(mknod("p", S_IFIFO | 0600, 0));
  HOLDS(S_ISFIFO(mode_of("p")));
}
CASE("mknod", "makes a file") {
  OK(mknod("x", S_IFREG | 0600, 0));
  HOLDS(S_ISREG(mode_of("x")));
}
CASE("mknod", "without a type makes a file") {
  OK(mknod("x", 0600, 0));
  HOLDS(S_ISREG(mode_of("x")));
}
CASE("mknod", "makes a socket that cannot be opened") {
  OK(mknod("s", S_IFSOCK | 0600, 0));
  FAILS(ENXIO, open("s", O_RDONLY));
}
CASE("mknod", "makes a device with its number") {
  OK(mknod("n", S_IFCHR | 0600, makedev(1, 3)));
  struct stat s;
  OK(stat("n", &s));
  IS(makedev(1, 3), s.st_rdev);
}
CASE("mknod", "of a directory is EPERM") { FAILS(EPERM, mknod("x", S_IFDIR | 0755, 0)); }
CASE("mknod", "of a link is EINVAL") { FAILS(EINVAL, mknod("x", S_IFLNK | 0755, 0)); }
CASE("mknod", "of a device by an ordinary user is EPERM") {
  OK(chmod(".", 0777));
  become_user();
  FAILS(EPERM, mknod("n", S_IFCHR | 0600, makedev(1, 3)));
}
CASE("mknod", "of what is there is EEXIST") {
  tree();
  FAILS(EEXIST, mknod("f", S_IFIFO | 0600, 0));
}
FAILS_CASE("mknod", "below nothing is ENOENT", ENOENT, mknod("no/x", S_IFIFO | 0600, 0))

CASE("chdir", "to a file is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, chdir("f"));
}
FAILS_CASE("chdir", "to nothing is ENOENT", ENOENT, chdir("no"))
FAILS_CASE("chdir", "to no memory is EFAULT", EFAULT, chdir(NOWHERE))
CASE("chdir", "where one may not search is EACCES") {
  tree();
  OK(chmod("d", 0600));
  become_user();
  FAILS(EACCES, chdir("d"));
}
FAILS_CASE("fchdir", "of a bad descriptor is EBADF", EBADF, fchdir(NO_FD))
CASE("fchdir", "to a file is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, fchdir(OK(open("f", O_RDONLY))));
}
CASE("fchdir", "to a pipe is ENOTDIR") {
  int p[2];
  OK(pipe(p));
  FAILS(ENOTDIR, fchdir(p[0]));
}
CASE("getcwd", "of a removed directory is ENOENT") {
  tree();
  OK(chdir("empty"));
  OK(rmdir("../empty"));
  char b[99];
  FAILS(ENOENT, syscall(SYS_getcwd, b, 99));
}
CASE("getcwd", "into too little room is ERANGE") {
  char b[2];
  FAILS(ERANGE, syscall(SYS_getcwd, b, 2));
}
CASE("getcwd", "into no memory is EFAULT") { FAILS(EFAULT, syscall(SYS_getcwd, NOWHERE, 4096)); }
CASE("getcwd", "counts its NUL") {
  OK(chdir("/"));
  char b[9];
  IS(2, syscall(SYS_getcwd, b, 9));
  SAME("/", b, 2);
}
CASE("chroot", "changes where / is") {
  tree();
  CHILD(pid) {
    OK(chroot("d"));
    OK(chdir("/"));
    OK(access("/g", F_OK));
    OK(access("/../../g", F_OK));
  }
  IS(0, ended(pid));
}
CASE("chroot", "to a file is ENOTDIR") {
  tree();
  FAILS(ENOTDIR, chroot("f"));
}
FAILS_CASE("chroot", "to nothing is ENOENT", ENOENT, chroot("no"))
CASE("chroot", "by an ordinary user is EPERM") {
  become_user();
  FAILS(EPERM, chroot("/"));
}
CASE("umask", "gives the old one and keeps nine bits") {
  umask(022);
  IS(022, umask(07777));
  IS(0777, umask(0));
}

struct entry {
  uint64_t ino;
  int64_t next;
  unsigned short len;
  unsigned char type;
  char name[];
};
static long list(int fd, void *out, size_t size) { return syscall(SYS_getdents64, fd, out, size); }
CASE("getdents64", "tells every name once, with its type") {
  tree();
  char b[4096];
  int fd = OK(open(".", O_RDONLY)), seen = 0, dirs = 0;
  long n = OK(list(fd, b, sizeof b));
  for (long at = 0; at < n; at += ((struct entry *)(b + at))->len) {
    struct entry *e = (struct entry *)(b + at);
    seen++, dirs += e->type == DT_DIR;
  }
  IS(8, seen);
  IS(4, dirs);
  IS(0, list(fd, b, sizeof b));
}
CASE("getdents64", "goes on where it stopped though names go away meanwhile") {
  char name[16];
  for (int i = 0; i < 50; i++) {
    snprintf(name, sizeof name, "%02d", i);
    write_file(name, "");
  }
  int fd = OK(open(".", O_RDONLY)), seen = 0;
  char b[96];
  for (long n; (n = OK(list(fd, b, sizeof b))) > 0;)
    for (long at = 0; at < n; at += ((struct entry *)(b + at))->len) {
      struct entry *e = (struct entry *)(b + at);
      if (e->name[0] != '.') seen++, OK(unlink(e->name));
    }
  IS(50, seen);
}
CASE("getdents64", "starts anew after lseek to 0") {
  tree();
  char b[4096];
  int fd = OK(open(".", O_RDONLY));
  long n = OK(list(fd, b, sizeof b));
  IS(0, lseek(fd, 0, SEEK_SET));
  IS(n, list(fd, b, sizeof b));
}
CASE("getdents64", "can go back to a place it told") {
  tree();
  char b[4096], again[4096];
  int fd = OK(open(".", O_RDONLY));
  OK(list(fd, b, sizeof b));
  struct entry *first = (struct entry *)b, *second = (struct entry *)(b + first->len);
  OK(lseek(fd, first->next, SEEK_SET));
  OK(list(fd, again, sizeof again));
  SAME(second->name, ((struct entry *)again)->name, strlen(second->name) + 1);
}
CASE("getdents64", "of a file is ENOTDIR") {
  tree();
  char b[99];
  FAILS(ENOTDIR, list(OK(open("f", O_RDONLY)), b, 99));
}
CASE("getdents64", "into too little room is EINVAL") {
  tree();
  char b[8];
  FAILS(EINVAL, list(OK(open(".", O_RDONLY)), b, 8));
}
CASE("getdents64", "into no memory is EFAULT") {
  tree();
  FAILS(EFAULT, list(OK(open(".", O_RDONLY)), NOWHERE, 4096));
}
CASE("getdents64", "of a removed directory is ENOENT") {
  tree();
  int fd = OK(open("empty", O_RDONLY));
  OK(rmdir("empty"));
  char b[99];
  FAILS(ENOENT, list(fd, b, 99));
}
FAILS_CASE("getdents64", "of a bad descriptor is EBADF", EBADF, list(NO_FD, (char[9]){0}, 9))
struct old_entry {
  unsigned long ino, next;
  unsigned short len;
  char name[];
};
CASE("getdents", "has the type behind the name") {
  write_file("only", "");
  char b[4096];
  long n = OK(syscall(SYS_getdents, OK(open(".", O_RDONLY)), b, sizeof b));
  int found = 0;
  for (long at = 0; at < n;) {
    struct old_entry *e = (struct old_entry *)(b + at);
    if (!strcmp(e->name, "only")) found = b[at + e->len - 1];
    at += e->len;
  }
  IS(DT_REG, found);
}
