// What cases about sockets share. A case runs in a process of its own: these are its, and nobody else's.
#include "calls.h"
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

// The sockets a case is about: mostly, a's other end is b.
static int a, b;
// What is sent or received.
static char text[65536];

static inline int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  OK(getsockopt(fd, level, name, &value, &size));
  return value;
}
static inline int turn_on(int fd, int level, int name) { return setsockopt(fd, level, name, &(int){1}, 4); }
static inline short events(int fd) {
  struct pollfd look = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
  OK(poll(&look, 1, 0));
  return look.revents;
}
