// Structures calls read. Each is plausible, and often enough one word of it is not.
#include "fuzzer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

static uint64_t hand_over(void *bytes, size_t size) {
  if (rarely(8) && size >= 8) {
    uint64_t odd = number();
    size_t at = below(size / 4) * 4;
    memcpy((char *)bytes + at, &odd, size - at < 8 ? size - at : 8);
  }
  return put(bytes, size);
}
#define HAND_OVER(structure) hand_over(&(structure), sizeof(structure))
#define MAKE(name) static uint64_t make_##name(const struct type *type)
#define UNUSED ((void)type)

static uint64_t word(const char *word) {
  const struct type *type = type_of(word, strlen(word));
  return type ? value_of(type) : number();
}

// Times are short: most calls shall come back in a round.
static struct timespec soon(void) {
  return (struct timespec){rarely(20) ? (time_t)number() : 0, rarely(15) ? (long)number() : (long)below(2000000)};
}

MAKE(timespec) {
  UNUSED;
  if (rarely(10)) return 0;
  struct timespec time = soon();
  return HAND_OVER(time);
}
MAKE(timespecs) {
  UNUSED;
  struct timespec times[2] = {soon(), soon()};
  for (int i = 0; i < 2; i++)
    if (rarely(3)) times[i].tv_nsec = rarely(2) ? 0x3fffffff : 0x3ffffffe;
  return rarely(6) ? 0 : HAND_OVER(times);
}
MAKE(itimerspec) {
  UNUSED;
  struct itimerspec timer = {rarely(2) ? soon() : (struct timespec){0}, rarely(5) ? (struct timespec){0} : soon()};
  return HAND_OVER(timer);
}
MAKE(itimerval) {
  UNUSED;
  struct itimerval timer = {{0, rarely(3) ? (suseconds_t)below(3000) : 0}, {0, (suseconds_t)below(3000)}};
  return HAND_OVER(timer);
}
MAKE(timevals) {
  UNUSED;
  struct timeval times[2] = {{(time_t)number(), (suseconds_t)below(1000000)}, {(time_t)below(100), (suseconds_t)below(1000000)}};
  return rarely(6) ? 0 : HAND_OVER(times);
}
MAKE(timeval) {
  UNUSED;
  struct timeval time = {0, (suseconds_t)below(3000)};
  return rarely(6) ? 0 : HAND_OVER(time);
}
MAKE(utimbuf) {
  UNUSED;
  struct utimbuf times = {(time_t)number(), (time_t)number()};
  return rarely(6) ? 0 : HAND_OVER(times);
}
MAKE(sigset) {
  UNUSED;
  uint64_t set = rarely(3) ? next() : rarely(3) ? 0 : 1ull << (word("sig") - 1) % 64;
  return rarely(8) ? 0 : HAND_OVER(set);
}

static void nothing(int signal) { (void)signal; }

// The kernel's layout. Handlers that return need the restorer, which is what the C library's own does.
__attribute__((naked)) static void restorer(void) { __asm__("mov $15, %eax\n\tsyscall"); }
MAKE(sigaction) {
  UNUSED;
  struct {
    uint64_t handler, flags, restorer, mask;
  } action = {rarely(3) ? below(2) : (uint64_t)nothing, 0x04000000, (uint64_t)restorer, rarely(3) ? next() : 0};
  static const uint64_t flags[] = {SA_NOCLDSTOP, SA_NOCLDWAIT, SA_SIGINFO, SA_ONSTACK, SA_RESTART, SA_NODEFER, SA_RESETHAND};
  for (uint64_t i = below(3); i > 0; i--) action.flags |= flags[below(7)];
  return rarely(6) ? 0 : HAND_OVER(action);
}
MAKE(stack) {
  UNUSED;
  stack_t stack = {(void *)page(), rarely(5) ? SS_DISABLE : 0, 8192};
  return HAND_OVER(stack);
}
MAKE(siginfo) {
  UNUSED;
  siginfo_t info;
  memset(&info, 0, sizeof info);
  info.si_signo = (int)word("sig"), info.si_code = rarely(3) ? (int)number() : SI_QUEUE;
  info.si_pid = getpid(), info.si_value.sival_ptr = (void *)number();
  return HAND_OVER(info);
}
MAKE(sigevent) {
  UNUSED;
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = (int)below(5), event.sigev_signo = (int)word("sig"), event.sigev_value.sival_ptr = (void *)number();
  ((int *)&event)[4] = (int)task();
  return rarely(8) ? 0 : HAND_OVER(event);
}

static size_t fill_vector(struct iovec *vector, size_t most) {
  size_t count = below(most + 1);
  for (size_t i = 0; i < count; i++) {
    size_t size = rarely(5) ? number() : below(5000);
    vector[i] = (struct iovec){(void *)room(size > 65536 ? 65536 : size), size};
  }
  return count;
}
MAKE(iovec) {
  UNUSED;
  struct iovec vector[6];
  memset(vector, 0, sizeof vector);
  fill_vector(vector, 6);
  return HAND_OVER(vector);
}
MAKE(pollfds) {
  UNUSED;
  struct pollfd fds[6];
  for (int i = 0; i < 6; i++) fds[i] = (struct pollfd){(int)any_descriptor(), (short)word("flags:poll"), 0};
  return HAND_OVER(fds);
}
MAKE(fdset) {
  UNUSED;
  uint64_t set[16] = {next() & next() & 0xffffff};
  return rarely(3) ? 0 : HAND_OVER(set);
}
MAKE(sigmask_argument) {
  UNUSED;
  uint64_t both[2] = {make_sigset(0), 8};
  return rarely(3) ? 0 : HAND_OVER(both);
}
MAKE(epoll_event) {
  UNUSED;
  struct epoll_event event = {.events = (uint32_t)word("flags:epoll-events"), .data.u64 = number()};
  return HAND_OVER(event);
}

static socklen_t address_size;
static size_t fill_address(void *at) {
  struct sockaddr_un *un = at;
  struct sockaddr_in *in = at;
  struct sockaddr_in6 *in6 = at;
  // Ports that are asked for again, so that some calls meet.
  uint16_t port = htons((uint16_t)(rarely(3) ? 0 : 4000 + below(4)));
  switch (below(5)) {
    case 0:
      *un = (struct sockaddr_un){.sun_family = AF_UNIX};
      strcpy(un->sun_path, rarely(2) ? "s" : "q");
      return offsetof(struct sockaddr_un, sun_path) + 2;
    case 1:
      *un = (struct sockaddr_un){.sun_family = AF_UNIX};
      un->sun_path[1] = 'a' + (char)below(3);
      return offsetof(struct sockaddr_un, sun_path) + 2;
    case 2:
      *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
      in6->sin6_addr.s6_addr[15] = (uint8_t)!rarely(3);
      return sizeof *in6;
    case 3:
      ((struct sockaddr *)at)->sa_family = (sa_family_t)below(20);
      return below(30);
    default:
      *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
      in->sin_addr.s_addr = htonl(rarely(4) ? INADDR_ANY : rarely(8) ? (uint32_t)number() : INADDR_LOOPBACK);
      return sizeof *in;
  }
}
MAKE(sockaddr) {
  UNUSED;
  char bytes[128] = {0};
  address_size = (socklen_t)fill_address(bytes);
  return rarely(10) ? 0 : hand_over(bytes, sizeof bytes);
}
MAKE(address_length) {
  UNUSED;
  return rarely(10) ? number() : address_size;
}
MAKE(length_pointer) {
  UNUSED;
  uint32_t length = rarely(6) ? (uint32_t)number() : (uint32_t)below(130);
  return rarely(8) ? 0 : put(&length, sizeof length);
}

static void fill_message(struct msghdr *message) {
  struct iovec vector[4];
  char control[64] = {0}, address[128] = {0};
  memset(message, 0, sizeof *message);
  message->msg_iovlen = (int)fill_vector(vector, 4), message->msg_iov = (struct iovec *)put(vector, sizeof vector);
  if (rarely(4)) message->msg_namelen = (socklen_t)fill_address(address), message->msg_name = (void *)put(address, sizeof address);
  if (rarely(2)) return;
  struct cmsghdr *header = (struct cmsghdr *)control;
  int files[4];
  for (int i = 0; i < 4; i++) files[i] = (int)any_descriptor();
  size_t count = 1 + below(3);
  *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * 4), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(header), files, sizeof files);
  if (rarely(4)) {
    struct ucred who = {getpid(), getuid(), getgid()};
    header->cmsg_type = SCM_CREDENTIALS, header->cmsg_len = CMSG_LEN(sizeof who);
    memcpy(CMSG_DATA(header), &who, sizeof who);
  }
  message->msg_controllen = rarely(6) ? (socklen_t)number() : CMSG_SPACE(count * 4);
  message->msg_control = (void *)hand_over(control, sizeof control);
}
MAKE(msghdr) {
  UNUSED;
  struct msghdr message;
  fill_message(&message);
  return HAND_OVER(message);
}
MAKE(mmsghdr) {
  UNUSED;
  struct mmsghdr messages[3];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < 3; i++) fill_message(&messages[i].msg_hdr);
  return HAND_OVER(messages);
}
MAKE(option) {
  UNUSED;
  uint32_t words[4] = {(uint32_t)below(3), (uint32_t)(rarely(2) ? number() : 0), 0, 0};
  return HAND_OVER(words);
}
MAKE(option_length) {
  UNUSED;
  return rarely(4) ? below(40) : rarely(3) ? 16 : 4;
}
MAKE(flock) {
  UNUSED;
  struct flock lock = {.l_type = (short)below(3), .l_whence = (short)below(3), .l_start = (off_t)below(50), .l_len = (off_t)below(50)};
  return HAND_OVER(lock);
}
MAKE(rlimit) {
  UNUSED;
  uint64_t limits[2] = {rarely(2) ? (uint64_t)-1 : 20 + below(1000000), rarely(2) ? (uint64_t)-1 : 20 + below(1000000)};
  return rarely(3) ? 0 : HAND_OVER(limits);
}
MAKE(offset_pointer) {
  UNUSED;
  int64_t offset = (int64_t)word("off");
  return rarely(2) ? 0 : put(&offset, sizeof offset);
}
MAKE(clone_args) {
  UNUSED;
  uint64_t args[11] = {word("flags:clone"), room(8), room(8), room(8), rarely(3) ? word("sig") : 17, 0, 0, 0, 0, 0, 0};
  // A child with a stack of its own would return to nowhere, with what it shares: it dies of that.
  if (rarely(4)) args[5] = page(), args[6] = 8192;
  return HAND_OVER(args);
}
MAKE(open_how) {
  UNUSED;
  uint64_t how[3] = {word("flags:open") & 0x7fffff, rarely(3) ? 0666 : 0, rarely(2) ? word("flags:resolve") : 0};
  if (!(how[0] & O_CREAT)) how[1] = rarely(10);
  return HAND_OVER(how);
}
MAKE(groups) {
  UNUSED;
  uint32_t groups[6] = {0, USER, (uint32_t)number(), 5, 6, 7};
  return HAND_OVER(groups);
}
MAKE(cap_header) {
  UNUSED;
  uint32_t header[2] = {rarely(4) ? 0x20071026 : 0x20080522, rarely(3) ? (uint32_t)task() : 0};
  return HAND_OVER(header);
}
MAKE(sched_param) {
  UNUSED;
  int priority = (int)below(rarely(3) ? 100 : 2);
  return HAND_OVER(priority);
}
MAKE(sched_attr) {
  UNUSED;
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t low, high;
  } attr = {rarely(4) ? (uint32_t)below(80) : 56, (uint32_t)word("one:policy"), below(4), (int32_t)below(20), (uint32_t)below(3), 0, 0, 0, 0, 0};
  return HAND_OVER(attr);
}
MAKE(cpuset) {
  UNUSED;
  uint64_t set[2] = {rarely(3) ? next() : 1, 0};
  return HAND_OVER(set);
}
MAKE(semops) {
  UNUSED;
  struct sembuf operations[4];
  for (int i = 0; i < 4; i++)
    operations[i] = (struct sembuf){(unsigned short)below(4), (short)(below(5) - 2), (short)(rarely(2) ? IPC_NOWAIT : rarely(2) ? SEM_UNDO : 0)};
  return HAND_OVER(operations);
}
MAKE(ipc_buffer) {
  UNUSED;
  uint64_t words[16] = {0, below(3) | USER << 16, USER, below(0777), 0, 0, below(10000), 0, 0, 0, 0, 0, 0, 0, 0, 0};
  return HAND_OVER(words);
}
MAKE(msgbuf) {
  UNUSED;
  uint64_t message[16] = {1 + below(4), next(), next()};
  return HAND_OVER(message);
}
MAKE(mq_attr) {
  UNUSED;
  struct mq_attr attr = {.mq_flags = rarely(2) ? O_NONBLOCK : 0, .mq_maxmsg = (long)below(12), .mq_msgsize = (long)below(200)};
  return rarely(3) ? 0 : HAND_OVER(attr);
}
MAKE(argv) {
  UNUSED;
  static const char *const words[] = {"busybox", "true", "a", "--help"};
  uint64_t vector[5] = {0};
  for (uint64_t i = below(5); i > 0; i--) {
    const char *text = words[below(4)];
    vector[below(4)] = put(text, strlen(text) + 1);
  }
  return HAND_OVER(vector);
}
MAKE(robust) {
  UNUSED;
  uint64_t at = room(24), head[3] = {at, rarely(3) ? number() : below(64), rarely(2) ? 0 : room(8)};
  return HAND_OVER(head);
}
MAKE(waitv) {
  UNUSED;
  struct {
    uint64_t value, address;
    uint32_t flags, reserved;
  } words[3];
  for (int i = 0; i < 3; i++) {
    words[i].value = below(2), words[i].address = futex_word(), words[i].flags = rarely(5) ? (uint32_t)below(256) : rarely(2) ? 2 : 130, words[i].reserved = 0;
  }
  return HAND_OVER(words);
}
// Programs that allow, and now and then one that makes calls fail. They jump forward only, as all do.
MAKE(filter) {
  UNUSED;
  struct {
    uint16_t code;
    uint8_t yes, no;
    uint32_t k;
  } program[4] = {{0x20, 0, 0, 0}, {0x15, 0, 1, (uint32_t)below(300)}, {0x06, 0, 0, 0x00050000u | (uint32_t)below(100)}, {0x06, 0, 0, 0x7fff0000}};
  uint64_t header[2] = {4, hand_over(program, sizeof program)};
  return HAND_OVER(header);
}
MAKE(pselect_size) {
  UNUSED;
  return rarely(10) ? number() : below(40);
}

const struct type structures[] = {
    {"timespec", make_timespec}, {"timespecs", make_timespecs}, {"itimerspec", make_itimerspec}, {"itimerval", make_itimerval},
    {"timevals", make_timevals}, {"timeval", make_timeval}, {"utimbuf", make_utimbuf}, {"sigset", make_sigset},
    {"sigaction", make_sigaction}, {"stack", make_stack}, {"siginfo", make_siginfo}, {"sigevent", make_sigevent},
    {"iovec", make_iovec}, {"pollfds", make_pollfds}, {"fdset", make_fdset}, {"sigmask", make_sigmask_argument},
    {"epoll_event", make_epoll_event}, {"sockaddr", make_sockaddr}, {"addrlen", make_address_length},
    {"lenptr", make_length_pointer}, {"msghdr", make_msghdr}, {"mmsghdr", make_mmsghdr}, {"option", make_option},
    {"optlen", make_option_length}, {"flock", make_flock}, {"rlimit", make_rlimit}, {"offptr", make_offset_pointer},
    {"clone_args", make_clone_args}, {"open_how", make_open_how}, {"groups", make_groups}, {"cap_header", make_cap_header},
    {"sched_param", make_sched_param}, {"sched_attr", make_sched_attr}, {"cpuset", make_cpuset}, {"semops", make_semops},
    {"ipcbuf", make_ipc_buffer}, {"msgbuf", make_msgbuf}, {"mq_attr", make_mq_attr}, {"argv", make_argv}, {"robust", make_robust},
    {"waitv", make_waitv}, {"filter", make_filter}, {"fds", make_pselect_size},
};
const size_t structure_count = sizeof structures / sizeof *structures;
