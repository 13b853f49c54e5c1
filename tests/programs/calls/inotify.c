// inotify: what happens to files.
#include "calls.h"
#include <sys/inotify.h>
#include <sys/ioctl.h>

static int fd;
static void start(void) { fd = OK(inotify_init1(IN_NONBLOCK)); }
static int watch(const char *path, uint32_t mask) { return (int)OK(inotify_add_watch(fd, path, mask)); }
// All events that wait, as text: `1:OPEN,CLOSE_NOWRITE.name `.
static const char *happened(void) {
  static const char *const names[] = {"ACCESS",      "MODIFY",     "ATTRIB",   "CLOSE_WRITE", "CLOSE_NOWRITE",
                                      "OPEN",        "MOVED_FROM", "MOVED_TO", "CREATE",      "DELETE",
                                      "DELETE_SELF", "MOVE_SELF",  "",         "UNMOUNT",     "Q_OVERFLOW",
                                      "IGNORED"};
  static char text[4096];
  char bytes[4096];
  *text = 0;
  for (long size; (size = read(fd, bytes, sizeof bytes)) > 0;)
    for (char *at = bytes; at < bytes + size;) {
      struct inotify_event *event = (struct inotify_event *)at;
      sprintf(text + strlen(text), "%d:", event->wd);
      for (int i = 0; i < 16; i++)
        if (event->mask >> i & 1) sprintf(text + strlen(text), "%s,", names[i]);
      if (event->mask & IN_ISDIR) strcat(text, "DIR,");
      if (event->len) sprintf(text + strlen(text), "%s,", event->name);
      strcat(text, " ");
      at += sizeof *event + event->len;
    }
  return text;
}
#define HAPPENED(what) HOLDS_TEXT(what, happened())
static void holds_text(int line, const char *want, const char *got) {
  char why[5000];
  snprintf(why, sizeof why, "%s came, and not %s", got, want);
  must_hold(__FILE__, line, why, !strcmp(want, got));
}
#define HOLDS_TEXT(want, got) holds_text(__LINE__, want, got)

CASE("inotify_init1", "IN_CLOEXEC and IN_NONBLOCK") {
  fd = OK(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  IS(FD_CLOEXEC, fcntl(fd, F_GETFD));
  IS(O_NONBLOCK, fcntl(fd, F_GETFL));
}
FAILS_CASE("inotify_init1", "with an unknown flag is EINVAL", EINVAL, inotify_init1(1))
CASE("inotify_init", "has no flags") {
  fd = OK(inotify_init());
  IS(0, fcntl(fd, F_GETFD));
  IS(0, fcntl(fd, F_GETFL));
}
CASE("inotify_init1", "reading nothing without waiting is EAGAIN") {
  start();
  FAILS(EAGAIN, read(fd, &(char[64]){0}, 64));
}
CASE("inotify_init1", "cannot be written") {
  start();
  FAILS(EBADF, write(fd, "x", 1));
}
CASE("inotify_add_watch", "numbers count from 1, and one inode has one") {
  start();
  write_file("a", "");
  IS(1, watch("a", IN_OPEN));
  IS(2, watch(".", IN_OPEN));
  IS(1, watch("./a", IN_MODIFY));
}
FAILS_CASE("inotify_add_watch", "of no descriptor is EBADF", EBADF, inotify_add_watch(NO_FD, ".", IN_OPEN))
FAILS_CASE("inotify_add_watch", "of another file is EINVAL", EINVAL, inotify_add_watch(0, ".", IN_OPEN))
CASE("inotify_add_watch", "for nothing is EINVAL") {
  start();
  FAILS(EINVAL, inotify_add_watch(fd, ".", 0));
}
CASE("inotify_add_watch", "of no file is ENOENT") {
  start();
  FAILS(ENOENT, inotify_add_watch(fd, "none", IN_OPEN));
}
CASE("inotify_add_watch", "of a path in no memory is EFAULT") {
  start();
  FAILS(EFAULT, inotify_add_watch(fd, NOWHERE, IN_OPEN));
}
CASE("inotify_add_watch", "IN_ONLYDIR of a file is ENOTDIR") {
  start();
  write_file("a", "");
  FAILS(ENOTDIR, inotify_add_watch(fd, "a", IN_OPEN | IN_ONLYDIR));
}
CASE("inotify_add_watch", "IN_MASK_CREATE of what is watched is EEXIST") {
  start();
  watch(".", IN_OPEN);
  FAILS(EEXIST, inotify_add_watch(fd, ".", IN_OPEN | IN_MASK_CREATE));
}
CASE("inotify_add_watch", "IN_MASK_CREATE with IN_MASK_ADD is EINVAL") {
  start();
  FAILS(EINVAL, inotify_add_watch(fd, ".", IN_OPEN | IN_MASK_CREATE | IN_MASK_ADD));
}
CASE("inotify_add_watch", "of what one may not read is EACCES") {
  start();
  write_file("a", "");
  chmod("a", 0);
  become_user();
  FAILS(EACCES, inotify_add_watch(fd, "a", IN_OPEN));
}
CASE("inotify_rm_watch", "tells that it is gone") {
  start();
  watch(".", IN_OPEN);
  OK(inotify_rm_watch(fd, 1));
  HAPPENED("1:IGNORED, ");
  FAILS(EINVAL, inotify_rm_watch(fd, 1));
}
FAILS_CASE("inotify_rm_watch", "of no descriptor is EBADF", EBADF, inotify_rm_watch(NO_FD, 1))
FAILS_CASE("inotify_rm_watch", "of another file is EINVAL", EINVAL, inotify_rm_watch(0, 1))
CASE("inotify_rm_watch", "of no watch is EINVAL") {
  start();
  FAILS(EINVAL, inotify_rm_watch(fd, 1));
}

CASE("inotify_add_watch", "a file that is made, written and closed") {
  start();
  watch(".", IN_ALL_EVENTS);
  write_file("new", "text");
  HAPPENED("1:CREATE,new, 1:OPEN,new, 1:MODIFY,new, 1:CLOSE_WRITE,new, ");
}
CASE("inotify_add_watch", "a file that is read") {
  write_file("a", "text");
  start();
  watch("a", IN_ALL_EVENTS);
  read_file("a");
  HAPPENED("1:OPEN, 1:ACCESS, 1:CLOSE_NOWRITE, ");
}
CASE("inotify_add_watch", "a file that is cut when opened") {
  write_file("a", "text");
  start();
  watch("a", IN_ALL_EVENTS);
  close(OK(open("a", O_WRONLY | O_TRUNC)));
  HAPPENED("1:OPEN, 1:MODIFY, 1:CLOSE_WRITE, ");
}
CASE("inotify_add_watch", "truncate") {
  write_file("a", "text");
  start();
  watch("a", IN_ALL_EVENTS);
  OK(truncate("a", 1));
  HAPPENED("1:MODIFY, ");
}
CASE("inotify_add_watch", "attributes") {
  write_file("a", "text");
  start();
  watch("a", IN_ALL_EVENTS);
  OK(chmod("a", 0600));
  HAPPENED("1:ATTRIB, ");
  OK(chown("a", 1, 1));
  HAPPENED("1:ATTRIB, ");
  OK(utimensat(AT_FDCWD, "a", NULL, 0));
  HAPPENED("1:ATTRIB, ");
}
CASE("inotify_add_watch", "a directory that is made and removed") {
  start();
  watch(".", IN_ALL_EVENTS);
  OK(mkdir("d", 0755));
  OK(rmdir("d"));
  HAPPENED("1:CREATE,DIR,d, 1:DELETE,DIR,d, ");
}
CASE("inotify_add_watch", "a directory that is removed itself") {
  OK(mkdir("d", 0755));
  start();
  watch("d", IN_ALL_EVENTS);
  OK(rmdir("d"));
  HAPPENED("1:DELETE_SELF, 1:IGNORED, ");
}
CASE("inotify_add_watch", "a name that is removed") {
  write_file("a", "");
  start();
  watch(".", IN_ALL_EVENTS);
  OK(unlink("a"));
  HAPPENED("1:DELETE,a, ");
}
CASE("inotify_add_watch", "a file that is removed itself") {
  write_file("a", "");
  start();
  watch("a", IN_ALL_EVENTS);
  OK(unlink("a"));
  HAPPENED("1:ATTRIB, 1:DELETE_SELF, 1:IGNORED, ");
  FAILS(EINVAL, inotify_rm_watch(fd, 1));
}
CASE("inotify_add_watch", "a file that is removed while it is open is there until it is closed") {
  int file = file_with("x");
  char name[64] = {0}, path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  OK(readlink(path, name, sizeof name - 1));
  start();
  watch(name, IN_DELETE_SELF | IN_ATTRIB | IN_CLOSE);
  OK(unlink(name));
  HAPPENED("1:ATTRIB, ");
  close(file);
  HAPPENED("1:CLOSE_WRITE, 1:DELETE_SELF, 1:IGNORED, ");
}
CASE("inotify_add_watch", "a name that is moved: both sides with one cookie") {
  char bytes[512];
  write_file("a", "");
  OK(mkdir("d", 0755));
  start();
  watch(".", IN_MOVE), watch("d", IN_MOVE);
  OK(rename("a", "d/b"));
  long size = OK(read(fd, bytes, sizeof bytes));
  struct inotify_event *from = (void *)bytes, *to = (void *)(bytes + sizeof *from + from->len);
  IS(64, size);
  IS(IN_MOVED_FROM, from->mask);
  IS(IN_MOVED_TO, to->mask);
  HOLDS(from->cookie && from->cookie == to->cookie);
  HOLDS(!strcmp(from->name, "a") && !strcmp(to->name, "b"));
}
CASE("inotify_add_watch", "a file that is moved itself") {
  write_file("a", "");
  start();
  watch("a", IN_ALL_EVENTS);
  OK(rename("a", "b"));
  HAPPENED("1:MOVE_SELF, ");
}
CASE("inotify_add_watch", "a directory that is moved") {
  mkdir("d", 0755);
  start();
  watch(".", IN_ALL_EVENTS);
  OK(rename("d", "e"));
  HAPPENED("1:MOVED_FROM,DIR,d, 1:MOVED_TO,DIR,e, ");
}
CASE("inotify_add_watch", "another name for a file") {
  write_file("a", "");
  start();
  watch(".", IN_ALL_EVENTS);
  OK(link("a", "b"));
  HAPPENED("1:CREATE,b, ");
}
CASE("inotify_add_watch", "a file that gets another name") {
  write_file("a", "");
  start();
  watch("a", IN_ALL_EVENTS);
  OK(link("a", "b"));
  HAPPENED("1:ATTRIB, ");
}
CASE("inotify_add_watch", "symbolic links and nodes") {
  start();
  watch(".", IN_CREATE);
  OK(symlink("x", "s"));
  OK(mkfifo("f", 0600));
  HAPPENED("1:CREATE,s, 1:CREATE,f, ");
}
CASE("inotify_add_watch", "IN_DONT_FOLLOW watches the link") {
  write_file("a", "");
  OK(symlink("a", "s"));
  start();
  watch("s", IN_ALL_EVENTS | IN_DONT_FOLLOW);
  OK(chmod("a", 0600));
  HAPPENED("");
}
CASE("inotify_add_watch", "only what was asked for") {
  start();
  watch(".", IN_MODIFY);
  write_file("new", "text");
  HAPPENED("1:MODIFY,new, ");
}
CASE("inotify_add_watch", "IN_ONESHOT tells once") {
  start();
  watch(".", IN_CREATE | IN_ONESHOT);
  write_file("a", ""), write_file("b", "");
  HAPPENED("1:CREATE,a, 1:IGNORED, ");
}
CASE("inotify_add_watch", "IN_MASK_ADD asks for more") {
  start();
  watch(".", IN_CREATE);
  watch(".", IN_DELETE | IN_MASK_ADD);
  write_file("a", ""), unlink("a");
  HAPPENED("1:CREATE,a, 1:DELETE,a, ");
}
CASE("inotify_add_watch", "without IN_MASK_ADD asks for something else") {
  start();
  watch(".", IN_CREATE);
  watch(".", IN_DELETE);
  write_file("a", ""), unlink("a");
  HAPPENED("1:DELETE,a, ");
}
CASE("inotify_add_watch", "the same twice is told once") {
  int file = file_with("");
  start();
  watch(".", IN_MODIFY);
  for (int i = 0; i < 5; i++) IS(1, write(file, "x", 1));
  char bytes[4096];
  HOLDS(read(fd, bytes, sizeof bytes) == 32);
}
CASE("inotify_init1", "reading into too little room is EINVAL") {
  start();
  watch(".", IN_CREATE);
  write_file("name", "");
  FAILS(EINVAL, read(fd, &(char[31]){0}, 31));
}
CASE("inotify_init1", "FIONREAD tells the bytes") {
  int count;
  start();
  watch(".", IN_CREATE);
  write_file("name", "");
  OK(ioctl(fd, FIONREAD, &count));
  IS(32, count);
}
CASE("inotify_init1", "poll waits for something") {
  start();
  watch(".", IN_CREATE);
  struct pollfd look = {fd, POLLIN, 0};
  IS(0, poll(&look, 1, 0));
  CHILD(child) {
    sleep_ms(20);
    write_file("a", "");
  }
  IS(1, poll(&look, 1, 5000));
  IS(0, ended(child));
}
CASE("inotify_init1", "reading waits for something") {
  fd = OK(inotify_init());
  watch(".", IN_CREATE);
  CHILD(child) {
    sleep_ms(20);
    write_file("a", "");
  }
  IS(32, read(fd, &(char[64]){0}, 64));
  IS(0, ended(child));
}
CASE("inotify_init1", "reading is EINTR when a signal comes") {
  fd = OK(inotify_init());
  interrupt_soon();
  FAILS(EINTR, read(fd, &(char[64]){0}, 64));
}
