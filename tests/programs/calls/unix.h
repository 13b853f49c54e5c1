// What cases about unix sockets share.
#include "sockets.h"
#include <linux/sockios.h>
#include <sys/un.h>

static inline void pair(int type) {
  int fds[2];
  OK(socketpair(AF_UNIX, type, 0, fds));
  a = fds[0], b = fds[1];
}
// The name last made, for AT.
static struct sockaddr_un address;
static inline socklen_t path(const char *name) {
  address = (struct sockaddr_un){.sun_family = AF_UNIX};
  strcpy(address.sun_path, name);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
}
static inline socklen_t abstract(const char *name) {
  address = (struct sockaddr_un){.sun_family = AF_UNIX};
  int size = snprintf(address.sun_path + 1, 100, "%s-%d", name, getpid());
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
}
#define AT(length) (struct sockaddr *)&address, length
static inline int listener(int type, int backlog) {
  int fd = OK(socket(AF_UNIX, type, 0));
  OK(bind(fd, AT(path("name"))));
  OK(listen(fd, backlog));
  return fd;
}
static inline int dialed(int type) {
  int fd = OK(socket(AF_UNIX, type, 0));
  OK(connect(fd, AT(path("name"))));
  return fd;
}
