// Mounts: mount, umount2, propagation, namespaces, pivot_root, overlay.
#include "calls.h"
#include <limits.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#undef MS_RDONLY
#define MS_RDONLY 1ul
#define RAW2(len) syscall(SYS_sethostname, "x", len)

// Each case has mounts of its own, which nobody else sees and which go with it.
static void own(void) {
  OK(unshare(CLONE_NEWNS));
  OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}
static void dirs(void) {
  own();
  OK(mkdir("a", 0755));
  OK(mkdir("b", 0755));
  OK(mkdir("a/in", 0755));
  write_file("a/f", "text");
  write_file("plain", "");
}
static int tmpfs(const char *at, unsigned long flags) { return mount("tmp", at, "tmpfs", flags, NULL); }
static bool in_mounts(const char *text) { return strstr(read_file("/proc/self/mountinfo"), text) != NULL; }

CASE("mount", "of a tmpfs hides what is below") {
  dirs();
  OK(tmpfs("a", 0));
  FAILS(ENOENT, access("a/f", F_OK));
  OK(umount("a"));
  OK(access("a/f", F_OK));
}
CASE("mount", "another one over it hides the first") {
  dirs();
  OK(tmpfs("a", 0));
  write_file("a/1", "");
  OK(tmpfs("a", 0));
  FAILS(ENOENT, access("a/1", F_OK));
  OK(umount("a"));
  OK(access("a/1", F_OK));
}
CASE("mount", "is another device") {
  dirs();
  struct stat s, t;
  OK(tmpfs("a", 0));
  OK(stat("a", &s));
  OK(stat(".", &t));
  HOLDS(s.st_dev != t.st_dev);
}
CASE("mount", "by an ordinary user is EPERM") {
  dirs();
  become_user();
  FAILS(EPERM, tmpfs("a", 0));
  FAILS(EPERM, umount("a"));
}
CASE("mount", "at nothing is ENOENT, on a file ENOTDIR") {
  dirs();
  FAILS(ENOENT, tmpfs("no", 0));
  FAILS(ENOTDIR, tmpfs("plain", 0));
}
CASE("mount", "of an unknown kind is ENODEV") {
  dirs();
  FAILS(ENODEV, mount("x", "a", "nosuchfs", 0, NULL));
}
CASE("mount", "without a kind is EINVAL") {
  dirs();
  FAILS(EINVAL, mount("x", "a", NULL, 0, NULL));
}
CASE("mount", "of an unknown option is EINVAL") {
  dirs();
  FAILS(EINVAL, mount("x", "a", "tmpfs", 0, "nosuch=1"));
}
CASE("mount", "of no memory is EFAULT") {
  dirs();
  FAILS(EFAULT, mount("x", NOWHERE, "tmpfs", 0, NULL));
  FAILS(EFAULT, mount("x", "a", NOWHERE, 0, NULL));
}
CASE("mount", "MS_RDONLY: changes are EROFS") {
  dirs();
  OK(tmpfs("a", MS_RDONLY));
  FAILS(EROFS, mkdir("a/x", 0755));
  FAILS(EROFS, open("a/x", O_CREAT | O_WRONLY, 0644));
  FAILS(EROFS, mknod("a/x", S_IFIFO | 0600, 0));
  FAILS(EROFS, symlink("x", "a/x"));
  FAILS(EROFS, chmod("a", 0700));
}
CASE("mount", "MS_REMOUNT makes it read-only and back") {
  dirs();
  OK(tmpfs("a", 0));
  write_file("a/x", "1");
  OK(mount(NULL, "a", NULL, MS_REMOUNT | MS_RDONLY, NULL));
  FAILS(EROFS, open("a/x", O_WRONLY));
  FAILS(EROFS, unlink("a/x"));
  FAILS(EROFS, rename("a/x", "a/y"));
  FAILS(EROFS, truncate("a/x", 0));
  FAILS(EROFS, link("a/x", "a/y"));
  FAILS(EROFS, access("a/x", W_OK));
  FAILS(EROFS, setxattr("a/x", "user.a", "v", 1, 0));
  FAILS(EROFS, utimensat(AT_FDCWD, "a/x", NULL, 0));
  OK(mount(NULL, "a", NULL, MS_REMOUNT, NULL));
  OK(unlink("a/x"));
}
CASE("mount", "MS_REMOUNT of what is no mount is EINVAL") {
  dirs();
  FAILS(EINVAL, mount(NULL, "a", NULL, MS_REMOUNT, NULL));
}
CASE("mount", "MS_NODEV: devices are EACCES") {
  dirs();
  OK(tmpfs("a", MS_NODEV));
  OK(mknod("a/null", S_IFCHR | 0666, makedev(1, 3)));
  FAILS(EACCES, open("a/null", O_RDONLY));
}
CASE("mount", "MS_NOEXEC: programs are EACCES, code cannot be mapped") {
  dirs();
  OK(tmpfs("a", MS_NOEXEC));
  write_file("a/x", "#!/bin/sh\n");
  OK(chmod("a/x", 0755));
  FAILS(EACCES, execl("a/x", "x", NULL));
  FAILS(EPERM, (long)mmap(NULL, 4096, PROT_EXEC, MAP_PRIVATE, OK(open("a/x", O_RDONLY)), 0));
}
CASE("mount", "MS_BIND shows a directory in another place") {
  dirs();
  OK(mount("a", "b", NULL, MS_BIND, NULL));
  OK(access("b/f", F_OK));
  write_file("b/new", "");
  OK(access("a/new", F_OK));
  FAILS(EXDEV, rename("a/f", "b/g"));
  FAILS(EXDEV, link("a/f", "b/g"));
}
CASE("mount", "MS_BIND of a file over a file") {
  dirs();
  OK(mount("a/f", "plain", NULL, MS_BIND, NULL));
  SAME("text", read_file("plain"), 5);
  FAILS(EBUSY, unlink("plain"));
  OK(umount("plain"));
}
CASE("mount", "MS_BIND of a file over a directory is ENOTDIR") {
  dirs();
  FAILS(ENOTDIR, mount("a/f", "b", NULL, MS_BIND, NULL));
  FAILS(ENOTDIR, mount("a", "plain", NULL, MS_BIND, NULL));
}
CASE("mount", "MS_BIND of nothing is ENOENT, without a source EINVAL") {
  dirs();
  FAILS(ENOENT, mount("no", "b", NULL, MS_BIND, NULL));
  FAILS(EINVAL, mount(NULL, "b", NULL, MS_BIND, NULL));
}
CASE("mount", "MS_BIND leaves out what is mounted inside, MS_REC does not") {
  dirs();
  OK(tmpfs("a/in", 0));
  write_file("a/in/x", "");
  OK(mount("a", "b", NULL, MS_BIND, NULL));
  FAILS(ENOENT, access("b/in/x", F_OK));
  OK(umount("b"));
  OK(mount("a", "b", NULL, MS_BIND | MS_REC, NULL));
  OK(access("b/in/x", F_OK));
}
CASE("mount", "MS_BIND and MS_REMOUNT make one place read-only") {
  dirs();
  OK(mount("a", "b", NULL, MS_BIND, NULL));
  OK(mount(NULL, "b", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
  FAILS(EROFS, mkdir("b/x", 0755));
  OK(mkdir("a/x", 0755));
}
CASE("mount", "MS_MOVE moves") {
  dirs();
  OK(tmpfs("a", 0));
  write_file("a/x", "");
  OK(mount("a", "b", NULL, MS_MOVE, NULL));
  OK(access("b/x", F_OK));
  OK(access("a/f", F_OK));
}
CASE("mount", "MS_MOVE of what is no mount is EINVAL, into itself ELOOP") {
  dirs();
  FAILS(EINVAL, mount("a", "b", NULL, MS_MOVE, NULL));
  OK(tmpfs("a", 0));
  OK(mkdir("a/x", 0755));
  FAILS(ELOOP, mount("a", "a/x", NULL, MS_MOVE, NULL));
}
CASE("mount", "MS_UNBINDABLE cannot be bound") {
  dirs();
  OK(tmpfs("a", 0));
  OK(mount(NULL, "a", NULL, MS_UNBINDABLE, NULL));
  FAILS(EINVAL, mount("a", "b", NULL, MS_BIND, NULL));
  HOLDS(in_mounts(" unbindable "));
}
CASE("mount", "MS_SHARED: what is mounted in one is in the other") {
  dirs();
  OK(tmpfs("a", 0));
  OK(mkdir("a/x", 0755));
  OK(mount(NULL, "a", NULL, MS_SHARED, NULL));
  OK(mount("a", "b", NULL, MS_BIND, NULL));
  OK(tmpfs("b/x", 0));
  write_file("b/x/there", "");
  OK(access("a/x/there", F_OK));
  OK(umount("a/x"));
  FAILS(ENOENT, access("b/x/there", F_OK));
  HOLDS(in_mounts(" shared:"));
}
CASE("mount", "MS_SLAVE: only from the master") {
  dirs();
  OK(tmpfs("a", 0));
  OK(mkdir("a/x", 0755));
  OK(mount(NULL, "a", NULL, MS_SHARED, NULL));
  OK(mount("a", "b", NULL, MS_BIND, NULL));
  OK(mount(NULL, "b", NULL, MS_SLAVE, NULL));
  OK(tmpfs("b/x", 0));
  write_file("b/x/here", "");
  FAILS(ENOENT, access("a/x/here", F_OK));
  OK(umount("b/x"));
  OK(tmpfs("a/x", 0));
  write_file("a/x/there", "");
  OK(access("b/x/there", F_OK));
  HOLDS(in_mounts(" master:"));
}
CASE("mount", "MS_PRIVATE: nothing from one to the other") {
  dirs();
  OK(tmpfs("a", 0));
  OK(mkdir("a/x", 0755));
  OK(mount("a", "b", NULL, MS_BIND, NULL));
  OK(tmpfs("b/x", 0));
  write_file("b/x/here", "");
  FAILS(ENOENT, access("a/x/here", F_OK));
}
CASE("mount", "two kinds of propagation at once are EINVAL") {
  dirs();
  OK(tmpfs("a", 0));
  FAILS(EINVAL, mount(NULL, "a", NULL, MS_SHARED | MS_PRIVATE, NULL));
  FAILS(EINVAL, mount(NULL, "b", NULL, MS_SHARED, NULL));
}
// A tmpfs at b with a directory in it, open; `ours` is a place of the case's own tree.
static char ours[PATH_MAX];
static int opened_tmpfs(void) {
  dirs();
  OK(tmpfs("b", 0));
  OK(mkdir("b/old", 0755));
  HOLDS(realpath("a", ours));
  return OK(open("b", O_RDONLY | O_DIRECTORY));
}
// What is mounted at `.` is not in the case's own tree: nothing to work with. With which error nothing can be mounted there
// depends on why, and on Linux's version.
static void not_ours(void) {
  HOLDS(tmpfs(".", 0) == -1);
  HOLDS(mount(ours, ".", NULL, MS_BIND, NULL) == -1);
  FAILS(EINVAL, mount(".", ours, NULL, MS_BIND, NULL));
  FAILS(EINVAL, mount(".", ours, NULL, MS_MOVE, NULL));
  FAILS(EINVAL, mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
  FAILS(EINVAL, umount2(".", MNT_DETACH));
}
CASE("mount", "in another namespace's tree is EINVAL, whatever is done") {
  int theirs = opened_tmpfs();
  CHILD(other) {
    OK(unshare(CLONE_NEWNS));
    OK(fchdir(theirs));
    not_ours();
    FAILS(EINVAL, tmpfs(".", 0));
    FAILS(EINVAL, mount(ours, ".", NULL, MS_BIND, NULL));
    FAILS(EINVAL, syscall(SYS_pivot_root, ".", "old"));
    OK(mount(NULL, ".", NULL, MS_SHARED, NULL));
  }
  IS(0, ended(other));
}
CASE("mount", "in what was taken away fails, whatever is done") {
  int gone = opened_tmpfs();
  OK(umount2("b", MNT_DETACH));
  OK(fchdir(gone));
  not_ours();
}
CASE("mount", "in a namespace nobody has any more fails, whatever is done") {
  int gone = opened_tmpfs();
  OK(unshare(CLONE_NEWNS));
  OK(fchdir(gone));
  not_ours();
}
CASE("umount2", "of what is no mount is EINVAL") {
  dirs();
  FAILS(EINVAL, umount("a"));
  FAILS(ENOENT, umount("no"));
  FAILS(EINVAL, umount2("a", 64));
}
CASE("umount2", "while a file is open is EBUSY, MNT_DETACH works") {
  dirs();
  OK(tmpfs("a", 0));
  int fd = OK(open("a/x", O_CREAT | O_RDWR, 0600));
  FAILS(EBUSY, umount("a"));
  OK(umount2("a", MNT_DETACH));
  OK(access("a/f", F_OK));
  IS(1, write(fd, "x", 1));
}
CASE("umount2", "while something is mounted inside is EBUSY") {
  dirs();
  OK(tmpfs("a", 0));
  OK(mkdir("a/x", 0755));
  OK(tmpfs("a/x", 0));
  FAILS(EBUSY, umount("a"));
  OK(umount("a/x"));
  OK(umount("a"));
}
CASE("umount2", "MNT_EXPIRE marks first") {
  dirs();
  OK(tmpfs("a", 0));
  FAILS(EAGAIN, umount2("a", MNT_EXPIRE));
  OK(umount2("a", MNT_EXPIRE));
  FAILS(EINVAL, umount2("a", MNT_EXPIRE | MNT_DETACH));
}
CASE("umount2", "UMOUNT_NOFOLLOW of a link is EINVAL") {
  dirs();
  OK(symlink("a", "l"));
  OK(tmpfs("a", 0));
  FAILS(EINVAL, umount2("l", UMOUNT_NOFOLLOW));
  OK(umount2("l", 0));
}
CASE("statfs", "tells the mount's flags") {
  dirs();
  struct statfs s;
  OK(tmpfs("a", MS_NOSUID | MS_NODEV));
  OK(statfs("a", &s));
  HOLDS(s.f_flags & 2);
  HOLDS(s.f_flags & 4);
}
CASE("open", "through a mount: .. leads out again") {
  dirs();
  OK(tmpfs("a", 0));
  OK(access("a/../plain", F_OK));
  OK(chdir("a"));
  OK(access("../plain", F_OK));
}

CASE("unshare", "CLONE_NEWNS: mounts are one's own") {
  dirs();
  CHILD(pid) {
    own();
    OK(tmpfs("a", 0));
    FAILS(ENOENT, access("a/f", F_OK));
  }
  IS(0, ended(pid));
  OK(access("a/f", F_OK));
}
CASE("unshare", "CLONE_NEWUTS: names are one's own") {
  CHILD(pid) {
    OK(unshare(CLONE_NEWUTS));
    OK(sethostname("other", 5));
    struct utsname u;
    OK(uname(&u));
    SAME("other", u.nodename, 6);
  }
  IS(0, ended(pid));
  struct utsname u;
  OK(uname(&u));
  HOLDS(strcmp(u.nodename, "other") != 0);
}
CASE("unshare", "CLONE_FILES: descriptors are one's own") { OK(unshare(CLONE_FILES)); }
CASE("unshare", "CLONE_FS works, nothing works") {
  OK(unshare(CLONE_FS));
  OK(unshare(0));
}
CASE("unshare", "of an unknown flag is EINVAL") { FAILS(EINVAL, unshare(1)); }
CASE("unshare", "of namespaces by an ordinary user is EPERM") {
  become_user();
  FAILS(EPERM, unshare(CLONE_NEWNS));
  FAILS(EPERM, unshare(CLONE_NEWUTS));
}
CASE("clone", "CLONE_NEWUTS and CLONE_NEWNS") {
  int pid = (int)OK(syscall(SYS_clone, CLONE_NEWUTS | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0));
  if (pid == 0) {
    OK(sethostname("x", 1));
    _exit(0);
  }
  IS(0, ended(pid));
  struct utsname u;
  OK(uname(&u));
  HOLDS(strcmp(u.nodename, "x") != 0);
}
CASE("clone", "CLONE_NEWNS with CLONE_FS is EINVAL") {
  FAILS(EINVAL, syscall(SYS_clone, CLONE_FS | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0));
}
CASE("setns", "joins another's names") {
  int p[2];
  OK(pipe(p));
  CHILD(pid) {
    OK(unshare(CLONE_NEWUTS));
    OK(sethostname("joined", 6));
    OK(write(p[1], "x", 1));
    pause();
  }
  char c, path[64];
  IS(1, read(p[0], &c, 1));
  snprintf(path, sizeof path, "/proc/%d/ns/uts", pid);
  int fd = OK(open(path, O_RDONLY));
  FAILS(EINVAL, setns(fd, CLONE_NEWNS));
  OK(setns(fd, CLONE_NEWUTS));
  struct utsname u;
  OK(uname(&u));
  SAME("joined", u.nodename, 7);
}
// Its root is the namespace's then, which is not this program's where that was started in a chroot.
CASE("setns", "joins another's mounts") {
  int p[2];
  OK(pipe(p));
  CHILD(pid) {
    own();
    OK(write(p[1], "x", 1));
    pause();
  }
  char c, path[64];
  IS(1, read(p[0], &c, 1));
  snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid);
  struct stat theirs, before, after;
  int fd = OK(open(path, O_RDONLY));
  OK(fstat(fd, &theirs));
  OK(stat("/proc/self/ns/mnt", &before));
  OK(setns(fd, 0));
  OK(stat("/proc/self/ns/mnt", &after));
  HOLDS(before.st_ino != theirs.st_ino);
  IS(theirs.st_ino, after.st_ino);
}
CASE("setns", "of a file that is no namespace is EINVAL") {
  FAILS(EINVAL, setns(OK(open("/proc/self/status", O_RDONLY)), 0));
  FAILS(EBADF, setns(NO_FD, 0));
}
CASE("setns", "by an ordinary user is EPERM") {
  int fd = OK(open("/proc/self/ns/uts", O_RDONLY));
  become_user();
  FAILS(EPERM, setns(fd, 0));
}
CASE("open", "/proc/self/ns/mnt is the same for who shares it") {
  struct stat s, t;
  OK(stat("/proc/self/ns/mnt", &s));
  CHILD(pid) {
    OK(stat("/proc/self/ns/mnt", &t));
    IS(s.st_ino, t.st_ino);
    own();
    OK(stat("/proc/self/ns/mnt", &t));
    HOLDS(s.st_ino != t.st_ino);
  }
  IS(0, ended(pid));
}
CASE("pivot_root", "changes the root") {
  dirs();
  OK(tmpfs("a", 0));
  OK(mkdir("a/old", 0755));
  write_file("a/marker", "");
  CHILD(pid) {
    own();
    OK(syscall(SYS_pivot_root, "a", "a/old"));
    OK(chdir("/"));
    OK(access("/marker", F_OK));
    OK(access("/old/proc", F_OK));
    OK(umount2("/old", MNT_DETACH));
    FAILS(ENOENT, access("/old/proc", F_OK));
  }
  IS(0, ended(pid));
  OK(access("/proc", F_OK));
}
CASE("pivot_root", "to what is no mount is EINVAL, to oneself EBUSY") {
  dirs();
  OK(mkdir("a/old", 0755));
  FAILS(EINVAL, syscall(SYS_pivot_root, "a", "a/old"));
  FAILS(EBUSY, syscall(SYS_pivot_root, "/", "/"));
  FAILS(ENOTDIR, syscall(SYS_pivot_root, "plain", "a"));
  FAILS(ENOENT, syscall(SYS_pivot_root, "no", "a"));
}
CASE("pivot_root", "by an ordinary user is EPERM") {
  become_user();
  FAILS(EPERM, syscall(SYS_pivot_root, ".", "."));
}
CASE("sethostname", "by an ordinary user is EPERM, of too much EINVAL") {
  OK(unshare(CLONE_NEWUTS));
  FAILS(EINVAL, RAW2(65));
  FAILS(EFAULT, sethostname(NOWHERE, 5));
  OK(setdomainname("dom", 3));
  struct utsname u;
  OK(uname(&u));
  SAME("dom", u.domainname, 4);
  become_user();
  FAILS(EPERM, sethostname("x", 1));
  FAILS(EPERM, setdomainname("x", 1));
}

static void layers(void) {
  own();
  for (const char **d = (const char *[]){"l", "l2", "u", "w", "m", "l/d", "l2/d", NULL}; *d; d++) OK(mkdir(*d, 0755));
  write_file("l/low", "lower");
  write_file("l/d/in", "1");
  write_file("l2/d/deep", "2");
  write_file("l2/low", "hidden");
  write_file("u/up", "upper");
  OK(mount("o", "m", "overlay", 0, "lowerdir=l:l2,upperdir=u,workdir=w"));
}
CASE("mount", "overlay shows all layers, the highest first") {
  layers();
  SAME("lower", read_file("m/low"), 6);
  SAME("upper", read_file("m/up"), 6);
  OK(access("m/d/in", F_OK));
  OK(access("m/d/deep", F_OK));
}
CASE("mount", "overlay: writing copies up") {
  layers();
  write_file("m/low", "changed");
  SAME("changed", read_file("m/low"), 8);
  SAME("lower", read_file("l/low"), 6);
  SAME("changed", read_file("u/low"), 8);
}
CASE("mount", "overlay: chmod and xattrs copy up with contents") {
  layers();
  OK(chmod("m/d/in", 0600));
  struct stat s;
  OK(stat("u/d/in", &s));
  IS(0600, s.st_mode & 07777);
  SAME("1", read_file("u/d/in"), 2);
  OK(stat("l/d/in", &s));
  IS(0644, s.st_mode & 07777);
  OK(setxattr("m/low", "user.a", "v", 1, 0));
  IS(-1, getxattr("l/low", "user.a", NULL, 0));
}
CASE("mount", "overlay: removing leaves a whiteout") {
  layers();
  OK(unlink("m/low"));
  FAILS(ENOENT, access("m/low", F_OK));
  OK(access("l/low", F_OK));
  struct stat s;
  OK(stat("u/low", &s));
  HOLDS(S_ISCHR(s.st_mode));
  IS(0, s.st_rdev);
  write_file("m/low", "new");
  SAME("new", read_file("m/low"), 4);
}
CASE("mount", "overlay: a directory removed and made anew is empty") {
  layers();
  OK(unlink("m/d/in"));
  OK(unlink("m/d/deep"));
  OK(rmdir("m/d"));
  OK(mkdir("m/d", 0755));
  FAILS(ENOENT, access("m/d/in", F_OK));
  OK(access("l/d/in", F_OK));
}
CASE("mount", "overlay: a full directory is ENOTEMPTY") {
  layers();
  FAILS(ENOTEMPTY, rmdir("m/d"));
}
CASE("mount", "overlay: new files are in the upper layer") {
  layers();
  write_file("m/new", "n");
  SAME("n", read_file("u/new"), 2);
  OK(mkdir("m/nd", 0755));
  OK(access("u/nd", F_OK));
  OK(symlink("x", "m/nl"));
  OK(link("m/new", "m/hard"));
}
CASE("mount", "overlay: renaming a file of a lower layer") {
  layers();
  OK(rename("m/low", "m/moved"));
  SAME("lower", read_file("m/moved"), 6);
  FAILS(ENOENT, access("m/low", F_OK));
  OK(access("l/low", F_OK));
}
CASE("mount", "overlay: renaming a merged directory is EXDEV") {
  layers();
  FAILS(EXDEV, rename("m/d", "m/e"));
  OK(mkdir("m/x", 0755));
  OK(rename("m/x", "m/y"));
}
CASE("mount", "overlay without an upper layer is EROFS") {
  layers();
  OK(umount("m"));
  OK(mount("o", "m", "overlay", 0, "lowerdir=l:l2"));
  FAILS(EROFS, open("m/new", O_CREAT | O_WRONLY, 0644));
  FAILS(EROFS, unlink("m/low"));
  SAME("lower", read_file("m/low"), 6);
}
CASE("mount", "overlay without lower layers is EINVAL, of nothing ENOENT") {
  layers();
  OK(umount("m"));
  FAILS(EINVAL, mount("o", "m", "overlay", 0, "upperdir=u,workdir=w"));
  FAILS(ENOENT, mount("o", "m", "overlay", 0, "lowerdir=no,upperdir=u,workdir=w"));
  FAILS(EINVAL, mount("o", "m", "overlay", 0, "lowerdir=l,upperdir=u"));
}
