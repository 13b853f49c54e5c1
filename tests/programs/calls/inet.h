// What cases about internet sockets share.
#include "sockets.h"
#include <arpa/inet.h>
#include <netinet/in.h>

// A third socket, mostly a listener.
static int c;
// The addresses last made or asked for.
static struct sockaddr_in here;
static struct sockaddr_in6 here6;
#define AT (struct sockaddr *)&here, sizeof here
#define AT6 (struct sockaddr *)&here6, sizeof here6
static inline void local(int port) {
  here = (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}
static inline void local6(int port) {
  here6 = (struct sockaddr_in6){
      .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
}
static inline int port_of(int fd) {
  socklen_t size = sizeof here;
  OK(getsockname(fd, (struct sockaddr *)&here, &size));
  return ntohs(here.sin_port);
}
static inline int stream(void) { return (int)OK(socket(AF_INET, SOCK_STREAM, 0)); }
static inline int datagram(void) { return (int)OK(socket(AF_INET, SOCK_DGRAM, 0)); }
// A listener on a port of the system's choice; afterwards `here` is its address.
static inline int listener(int backlog) {
  int fd = stream();
  local(0);
  OK(bind(fd, AT));
  OK(listen(fd, backlog));
  port_of(fd);
  return fd;
}
// c listens, a connected to it, b was accepted.
static inline void pair(void) {
  c = listener(5);
  a = stream();
  OK(connect(a, AT));
  b = OK(accept(c, NULL, NULL));
}
// A port nobody listens on.
static inline void nobody(void) {
  int fd = stream();
  local(0);
  OK(bind(fd, AT));
  port_of(fd);
  close(fd);
}
static inline short await(int fd, short wanted) {
  struct pollfd look = {fd, wanted, 0};
  IS(1, poll(&look, 1, 5000));
  return look.revents;
}
