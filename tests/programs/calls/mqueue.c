// POSIX message queues.
#include "calls.h"
#include <mqueue.h>

static mqd_t queue;
static char text[9000];
static const char *own(void) {
  static char name[40];
  snprintf(name, sizeof name, "/calls-%d", getpid());
  return name;
}
// Opened and unlinked at once, so that nothing is left on the tests' Linux.
static void make(long most, long size, int flags) {
  queue = (mqd_t)OK(mq_open(own(), O_RDWR | O_CREAT | O_EXCL | flags, 0600,
                            &(struct mq_attr){.mq_maxmsg = most, .mq_msgsize = size}));
  OK(mq_unlink(own()));
}
static const struct timespec *soon(void) {
  static struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  time.tv_nsec += 10000000;
  if (time.tv_nsec >= 1000000000) time.tv_sec++, time.tv_nsec -= 1000000000;
  return &time;
}

CASE("mq_open", "makes a queue, closed by exec") {
  make(5, 100, 0);
  IS(FD_CLOEXEC, fcntl(queue, F_GETFD));
}
FAILS_CASE("mq_open", "of no queue is ENOENT", ENOENT, mq_open("/none-at-all", O_RDWR))
CASE("mq_open", "O_EXCL of one that is there is EEXIST") {
  OK(mq_open(own(), O_RDWR | O_CREAT, 0600, NULL));
  int got = mq_open(own(), O_RDWR | O_CREAT | O_EXCL, 0600, NULL), why = errno;
  OK(mq_unlink(own()));
  IS(-1, got);
  IS(EEXIST, why);
}
CASE("mq_open", "twice is the same queue") {
  queue = (mqd_t)OK(mq_open(own(), O_RDWR | O_CREAT, 0600, NULL));
  mqd_t again = mq_open(own(), O_RDONLY);
  OK(mq_unlink(own()));
  OK(again);
  OK(mq_send(queue, "hi", 2, 0));
  IS(2, mq_receive(again, text, sizeof text, NULL));
}
CASE("mq_open", "of another user's is EACCES") {
  OK(mq_open(own(), O_RDWR | O_CREAT, 0600, NULL));
  const char *name = own();
  CHILD(child) {
    become_user();
    FAILS(EACCES, mq_open(name, O_RDWR));
  }
  int status = ended(child);
  OK(mq_unlink(name));
  IS(0, status);
}
FAILS_CASE("mq_open", "of no messages is EINVAL", EINVAL,
           mq_open(own(), O_RDWR | O_CREAT, 0600, &(struct mq_attr){.mq_maxmsg = 0, .mq_msgsize = 10}))
FAILS_CASE("mq_open", "of messages without room is EINVAL", EINVAL,
           mq_open(own(), O_RDWR | O_CREAT, 0600, &(struct mq_attr){.mq_maxmsg = 10, .mq_msgsize = 0}))
CASE("mq_open", "of more than the limit as an ordinary user is EINVAL") {
  become_user();
  FAILS(EINVAL, mq_open(own(), O_RDWR | O_CREAT, 0600, &(struct mq_attr){.mq_maxmsg = 100000, .mq_msgsize = 10}));
}
FAILS_CASE("mq_open", "of a name with a slash is EACCES", EACCES,
           syscall(SYS_mq_open, "a/b", O_RDWR | O_CREAT, 0600, NULL))
FAILS_CASE("mq_open", "of no name is ENOENT", ENOENT, syscall(SYS_mq_open, "", O_RDWR | O_CREAT, 0600, NULL))
CASE("mq_open", "of too long a name is ENAMETOOLONG") {
  memset(text, 'a', 256);
  FAILS(ENAMETOOLONG, syscall(SYS_mq_open, text, O_RDWR | O_CREAT, 0600, NULL));
}
FAILS_CASE("mq_open", "of a name in no memory is EFAULT", EFAULT, syscall(SYS_mq_open, NOWHERE, O_RDWR, 0, NULL))
FAILS_CASE("mq_unlink", "of no queue is ENOENT", ENOENT, mq_unlink("/none-at-all"))
CASE("mq_unlink", "the queue stays for who has it open") {
  make(5, 100, 0);
  OK(mq_send(queue, "hi", 2, 0));
  IS(2, mq_receive(queue, text, 100, NULL));
  FAILS(ENOENT, mq_open(own(), O_RDWR));
}
CASE("mq_timedsend", "by priority, and in order") {
  make(5, 100, 0);
  OK(mq_send(queue, "low", 3, 1)), OK(mq_send(queue, "first", 5, 7)), OK(mq_send(queue, "then", 4, 7));
  unsigned priority;
  IS(5, mq_receive(queue, text, 100, &priority));
  IS(7, priority);
  IS(4, mq_receive(queue, text, 100, &priority));
  IS(3, mq_receive(queue, text, 100, &priority));
  IS(1, priority);
}
CASE("mq_timedsend", "to a full queue without waiting is EAGAIN") {
  make(1, 100, O_NONBLOCK);
  OK(mq_send(queue, "a", 1, 0));
  FAILS(EAGAIN, mq_send(queue, "a", 1, 0));
}
CASE("mq_timedsend", "to a full queue until time is up is ETIMEDOUT") {
  make(1, 100, 0);
  OK(mq_send(queue, "a", 1, 0));
  FAILS(ETIMEDOUT, mq_timedsend(queue, "a", 1, 0, soon()));
}
CASE("mq_timedsend", "to a full queue waits") {
  make(1, 100, 0);
  OK(mq_send(queue, "a", 1, 0));
  CHILD(child) {
    sleep_ms(20);
    OK(mq_receive(queue, text, 100, NULL));
  }
  OK(mq_send(queue, "b", 1, 0));
  IS(0, ended(child));
}
CASE("mq_timedsend", "to a full queue is EINTR when a signal comes") {
  make(1, 100, 0);
  OK(mq_send(queue, "a", 1, 0));
  interrupt_soon();
  FAILS(EINTR, mq_send(queue, "a", 1, 0));
}
CASE("mq_timedsend", "of more than a message holds is EMSGSIZE") {
  make(1, 10, 0);
  FAILS(EMSGSIZE, mq_send(queue, text, 11, 0));
}
CASE("mq_timedsend", "of too high a priority is EINVAL") {
  make(1, 10, 0);
  FAILS(EINVAL, mq_send(queue, text, 1, 32768));
}
CASE("mq_timedsend", "for what is no time is EINVAL") {
  make(1, 10, 0);
  FAILS(EINVAL, mq_timedsend(queue, text, 1, 0, &(struct timespec){0, -1}));
}
CASE("mq_timedsend", "from no memory is EFAULT") {
  make(1, 10, 0);
  FAILS(EFAULT, mq_send(queue, NOWHERE, 5, 0));
}
FAILS_CASE("mq_timedsend", "to no descriptor is EBADF", EBADF, mq_send(NO_FD, text, 1, 0))
FAILS_CASE("mq_timedsend", "to another file is EBADF", EBADF, mq_send(0, text, 1, 0))
CASE("mq_timedsend", "to one opened for reading is EBADF") {
  queue = (mqd_t)OK(mq_open(own(), O_RDONLY | O_CREAT, 0600, NULL));
  OK(mq_unlink(own()));
  FAILS(EBADF, mq_send(queue, text, 1, 0));
}
CASE("mq_timedreceive", "of nothing without waiting is EAGAIN") {
  make(1, 100, O_NONBLOCK);
  FAILS(EAGAIN, mq_receive(queue, text, 100, NULL));
}
CASE("mq_timedreceive", "until time is up is ETIMEDOUT") {
  make(1, 100, 0);
  FAILS(ETIMEDOUT, mq_timedreceive(queue, text, 100, NULL, soon()));
}
CASE("mq_timedreceive", "waits for a message") {
  make(1, 100, 0);
  CHILD(child) {
    sleep_ms(20);
    OK(mq_send(queue, "hi", 2, 3));
  }
  IS(2, mq_receive(queue, text, 100, NULL));
  IS(0, ended(child));
}
CASE("mq_timedreceive", "is EINTR when a signal comes") {
  make(1, 100, 0);
  interrupt_soon();
  FAILS(EINTR, mq_receive(queue, text, 100, NULL));
}
CASE("mq_timedreceive", "into less room than a message may take is EMSGSIZE") {
  make(1, 100, 0);
  OK(mq_send(queue, "a", 1, 0));
  FAILS(EMSGSIZE, mq_receive(queue, text, 99, NULL));
}
CASE("mq_timedreceive", "from one opened for writing is EBADF") {
  queue = (mqd_t)OK(mq_open(own(), O_WRONLY | O_CREAT, 0600, NULL));
  OK(mq_unlink(own()));
  FAILS(EBADF, mq_receive(queue, text, sizeof text, NULL));
}
FAILS_CASE("mq_timedreceive", "from no descriptor is EBADF", EBADF, mq_receive(NO_FD, text, 1, NULL))
CASE("mq_getsetattr", "tells about it, and sets O_NONBLOCK") {
  struct mq_attr about, old;
  make(7, 100, 0);
  OK(mq_send(queue, "a", 1, 0));
  OK(mq_getattr(queue, &about));
  IS(7, about.mq_maxmsg);
  IS(100, about.mq_msgsize);
  IS(1, about.mq_curmsgs);
  IS(0, about.mq_flags);
  about.mq_flags = O_NONBLOCK;
  OK(mq_setattr(queue, &about, &old));
  IS(0, old.mq_flags);
  OK(mq_getattr(queue, &about));
  IS(O_NONBLOCK, about.mq_flags);
}
CASE("mq_getsetattr", "another flag is EINVAL") {
  make(7, 100, 0);
  FAILS(EINVAL, mq_setattr(queue, &(struct mq_attr){.mq_flags = O_APPEND}, NULL));
}
FAILS_CASE("mq_getsetattr", "of no descriptor is EBADF", EBADF, mq_getattr(NO_FD, (struct mq_attr *)text))
CASE("poll", "a message queue is readable with a message, writable with room") {
  make(1, 100, 0);
  struct pollfd look = {queue, POLLIN | POLLOUT, 0};
  IS(1, poll(&look, 1, 0));
  IS(POLLOUT, look.revents);
  OK(mq_send(queue, "a", 1, 0));
  IS(1, poll(&look, 1, 0));
  IS(POLLIN, look.revents);
}
static struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42};
CASE("mq_notify", "sends a signal when a message comes to the empty queue, once") {
  siginfo_t info;
  sigset_t only;
  make(5, 100, 0);
  sigemptyset(&only), sigaddset(&only, SIGUSR1);
  OK(sigprocmask(SIG_BLOCK, &only, NULL));
  OK(mq_notify(queue, &event));
  OK(mq_send(queue, "a", 1, 0));
  IS(SIGUSR1, sigwaitinfo(&only, &info));
  IS(SI_MESGQ, info.si_code);
  IS(42, info.si_value.sival_int);
  IS(getpid(), info.si_pid);
  OK(mq_receive(queue, text, 100, NULL));
  OK(mq_send(queue, "a", 1, 0));
  FAILS(EAGAIN, sigtimedwait(&only, &info, &(struct timespec){0, 1000000}));
}
CASE("mq_notify", "who is registered is busy") {
  make(5, 100, 0);
  OK(mq_notify(queue, &event));
  FAILS(EBUSY, mq_notify(queue, &event));
  OK(mq_notify(queue, NULL));
  OK(mq_notify(queue, &event));
}
CASE("mq_notify", "of no signal is EINVAL") {
  make(5, 100, 0);
  event.sigev_signo = 99;
  FAILS(EINVAL, mq_notify(queue, &event));
}
CASE("mq_notify", "of an unknown notification is EINVAL") {
  make(5, 100, 0);
  event.sigev_notify = 99;
  FAILS(EINVAL, syscall(SYS_mq_notify, queue, &event));
}
FAILS_CASE("mq_notify", "of no descriptor is EBADF", EBADF, mq_notify(NO_FD, &event))
