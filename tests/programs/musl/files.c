#include "musl.h"
#include <sys/file.h>
#include <sys/ioctl.h>

static int pipes(int argc, char **argv) {
  (void)argc, (void)argv;
  int ends[2];
  TRY(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
  char block[4096] = {0}, byte;
  SHOW(read(ends[0], &byte, 1));
  long total = 0, n;
  while ((n = write(ends[1], block, sizeof block)) > 0) total += n;
  SHOW(n);
  printf("a pipe holds %ld\n", total);
  int waiting;
  ioctl(ends[0], FIONREAD, &waiting);
  printf("FIONREAD %d\n", waiting);
  SHOW(read(ends[0], block, 100));
  SHOW(write(ends[1], block, 4096));
  SHOW(fcntl(ends[0], F_GETPIPE_SZ));
  close(ends[1]);
  while ((n = read(ends[0], block, sizeof block)) > 0) total -= n;
  printf("the rest %ld, then %ld\n", total, n);
  close(ends[0]);
  TRY(pipe(ends));
  close(ends[0]);
  signal(SIGPIPE, SIG_IGN);
  SHOW(write(ends[1], "x", 1));
  SHOW(lseek(ends[1], 0, SEEK_SET));
  SHOW(read(ends[1], &byte, 1));
  // Many writers, one reader: small writes are whole.
  TRY(pipe(ends));
  for (int i = 0; i < 4; i++)
    if (fork() == 0) {
      char line[64];
      memset(line, 'a' + i, sizeof line);
      for (int k = 0; k < 500; k++) write(ends[1], line, sizeof line);
      _exit(0);
    }
  close(ends[1]);
  FILE *reader = fdopen(ends[0], "r");
  char line[64];
  int lines = 0, mixed = 0;
  while (fread(line, 64, 1, reader) == 1) {
    lines++;
    for (int i = 1; i < 64; i++) mixed |= line[i] != line[0];
  }
  printf("%d lines, mixed %d\n", lines, mixed);
  while (wait(0) > 0) {}
  return 0;
}

static int polling(int argc, char **argv) {
  (void)argc, (void)argv;
  int ends[2];
  pipe(ends);
  struct pollfd fds[3] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}, {77, POLLIN, 0}};
  SHOW(poll(fds, 3, 0));
  printf("%x %x %x\n", fds[0].revents, fds[1].revents, fds[2].revents);
  SHOW(poll(fds, 1, 10));
  if (fork() == 0) {
    usleep(20000);
    write(ends[1], "x", 1);
    _exit(0);
  }
  SHOW(poll(fds, 1, 5000));
  printf("%x\n", fds[0].revents);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(ends[0], &set);
  struct timeval soon = {0, 10000};
  SHOW(select(ends[0] + 1, &set, 0, 0, &soon));
  char byte;
  read(ends[0], &byte, 1);
  wait(0);
  close(ends[1]);
  SHOW(poll(fds, 1, 0));
  printf("%x\n", fds[0].revents);
  FD_ZERO(&set);
  FD_SET(50, &set);
  SHOW(select(51, &set, 0, 0, &soon));
  FD_ZERO(&set);
  FD_SET(200, &set);
  // Beyond the table's room it is ignored; once the table has grown it is not open.
  SHOW(select(201, &set, 0, 0, &soon));
  close(dup2(0, 180));
  SHOW(select(201, &set, 0, 0, &soon));
  int file = open("/bin/busybox", O_RDONLY);
  fds[0] = (struct pollfd){file, POLLIN | POLLOUT, 0};
  SHOW(poll(fds, 1, 0));
  printf("%x\n", fds[0].revents);
  struct timespec wrong = {0, -1};
  SHOW(ppoll(fds, 1, &wrong, 0));
  SHOW(poll(fds, 100000000, 0));
  return 0;
}

static int file_errors(int argc, char **argv) {
  (void)argc, (void)argv;
  SHOW(open("nosuch", O_RDONLY));
  SHOW(open("nosuch/x", O_RDONLY | O_CREAT, 0600));
  SHOW(open(".", O_WRONLY));
  int fd = open("f", O_RDWR | O_CREAT | O_EXCL, 0640);
  SHOW(open("f", O_RDWR | O_CREAT | O_EXCL, 0600));
  SHOW(open("f", O_RDONLY | O_DIRECTORY));
  SHOW(open("f/", O_RDONLY));
  SHOW(open("", O_RDONLY));
  SHOW(write(fd, "hello", 5));
  SHOW(lseek(fd, -1, SEEK_SET));
  SHOW(lseek(fd, -10, SEEK_CUR));
  SHOW(lseek(fd, 2, SEEK_SET));
  SHOW(lseek(fd, 5, 99));
  SHOW(lseek(fd, 10, SEEK_END));
  SHOW(write(fd, "!", 1));
  struct stat status;
  fstat(fd, &status);
  printf("size %ld mode %o\n", (long)status.st_size, status.st_mode);
  char text[32];
  SHOW(pread(fd, text, 32, 0));
  SHOW(pread(fd, text, 32, -1));
  SHOW(ftruncate(fd, -1));
  SHOW(ftruncate(99, 0));
  struct iovec parts[2] = {{text, 3}, {text + 10, 30 - 10}};
  SHOW(preadv(fd, parts, 2, 0));
  SHOW(readv(fd, parts, 5000));
  int reader = open("f", O_RDONLY);
  SHOW(write(reader, "x", 1));
  SHOW(ftruncate(reader, 0));
  int append = open("f", O_WRONLY | O_APPEND);
  SHOW(lseek(append, 0, SEEK_SET));
  SHOW(write(append, "end", 3));
  SHOW(lseek(append, 0, SEEK_CUR));
  SHOW(read(append, text, 1));
  SHOW(mkdir("d", 0755));
  SHOW(mkdir("d", 0755));
  SHOW(rmdir("f"));
  SHOW(unlink("d"));
  SHOW(rename("d", "d/e"));
  SHOW(rename("f", "d"));
  SHOW(rename("d", "f"));
  SHOW(link("d", "g"));
  SHOW(link("f", "f"));
  SHOW(symlink("x", "f"));
  SHOW(readlink("f", text, 32));
  SHOW(chdir("f"));
  SHOW(access("f", X_OK));
  SHOW(access("f", R_OK | W_OK));
  SHOW(close(99));
  SHOW(ioctl(fd, TCGETS, text));
  SHOW(fcntl(99, F_GETFD));
  SHOW(dup2(fd, -1));
  SHOW(openat(fd, "x", O_RDONLY));
  SHOW(faccessat(AT_FDCWD, "d", X_OK, 0));
  SHOW(truncate("d", 0));
  SHOW(read(open(".", O_RDONLY), text, 1));
  char path[5000];
  memset(path, 'a', sizeof path), path[4999] = 0;
  SHOW(open(path, O_RDONLY));
  path[300] = 0;
  SHOW(open(path, O_RDONLY));
  SHOW(flock(fd, LOCK_EX | LOCK_NB));
  SHOW(flock(reader, LOCK_EX | LOCK_NB));
  return 0;
}

static int descriptors(int argc, char **argv) {
  if (argc > 2) {
    SHOW(fcntl(3, F_GETFD));
    SHOW(fcntl(4, F_GETFD));
    return 0;
  }
  int fd = open("/dev/null", O_RDWR);
  printf("lowest: %d\n", fd);
  SHOW(dup(fd));
  SHOW(close(fd));
  SHOW(open("/dev/zero", O_RDONLY));
  SHOW(dup2(3, 10));
  SHOW(dup3(3, 3, 0));
  SHOW(fcntl(3, F_DUPFD, 20));
  SHOW(fcntl(3, F_DUPFD_CLOEXEC, 5));
  SHOW(fcntl(5, F_GETFD));
  SHOW(fcntl(3, F_SETFD, FD_CLOEXEC));
  // An offset belongs to the open file, which both descriptors and the child share.
  int file = open("shared", O_RDWR | O_CREAT | O_TRUNC, 0600);
  write(file, "0123456789", 10);
  lseek(file, 0, SEEK_SET);
  char byte;
  int copy = dup(file);
  read(copy, &byte, 1);
  if (fork() == 0) _exit(read(file, &byte, 1) == 1 && byte == '1' ? 0 : 1);
  wait(0);
  SHOW(lseek(file, 0, SEEK_CUR));
  SHOW(fcntl(file, F_SETFL, O_APPEND | O_NONBLOCK));
  SHOW((fcntl(copy, F_GETFL) & (O_APPEND | O_NONBLOCK)) == (O_APPEND | O_NONBLOCK));
  fflush(stdout);
  execl("/proc/self/exe", argv[0], "descriptors", "after", (char *)0);
  execl(argv[0], argv[0], "descriptors", "after", (char *)0);
  return 1;
}

const struct part file_parts[] = {{"pipes", pipes},
                                  {"poll", polling},
                                  {"file-errors", file_errors},
                                  {"descriptors", descriptors},
                                  {0, 0}};
