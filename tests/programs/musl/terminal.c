#include "musl.h"
#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;
static char slave_name[32];

// Linux hands bytes over in the background. Asking a side what is ready makes that finish, unless something is ready
// already: so nothing is left unread where it matters. Setting the settings waits for what has begun.
static void settle(void) {
  struct pollfd p = {slave, POLLIN, 0}, q = {master, POLLIN, 0};
  struct termios t;
  poll(&p, 1, 0);
  tcgetattr(slave, &t), tcsetattr(slave, TCSANOW, &t);
  poll(&q, 1, 0);
}

static void print_bytes(const char *what, const char *bytes, long n) {
  printf("%s:", what);
  for (long i = 0; i < n; i++) printf(bytes[i] > 32 && bytes[i] < 127 ? " %c" : " %02x", bytes[i] & 255);
  if (n == -1) printf(" %s", strerror(errno));
  puts("");
}

static void open_pair(void) {
  master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  int number = -1, lock = 0;
  ioctl(master, TIOCGPTN, &number), ioctl(master, TIOCSPTLCK, &lock);
  snprintf(slave_name, sizeof slave_name, "/dev/pts/%d", number);
  slave = open(slave_name, O_RDWR | O_NOCTTY);
}

static int packet_mode;

// What the master can read now: however many pieces it comes in, and without the zeros before data in packet mode.
static void shown(const char *what) {
  char bytes[4096];
  struct pollfd ready = {master, POLLIN, 0};
  long n = 0, more;
  settle();
  while (poll(&ready, 1, 0) > 0 && (more = read(master, bytes + n, 512)) > 0) {
    if (packet_mode && !bytes[n]) memmove(bytes + n, bytes + n + 1, --more);
    n += more;
  }
  print_bytes(what, bytes, n);
}

static void typed(const char *bytes) { write(master, bytes, strlen(bytes)), settle(); }

// What a program can read now, without waiting.
static void got(const char *what, size_t limit) {
  char bytes[512];
  int flags = fcntl(slave, F_GETFL);
  fcntl(slave, F_SETFL, flags | O_NONBLOCK);
  print_bytes(what, bytes, read(slave, bytes, limit));
  fcntl(slave, F_SETFL, flags);
}

static void set(tcflag_t iflag, tcflag_t oflag, tcflag_t lflag, int minimum, int time) {
  struct termios t;
  tcgetattr(slave, &t);
  t.c_iflag = iflag, t.c_oflag = oflag, t.c_lflag = lflag, t.c_cc[VMIN] = minimum, t.c_cc[VTIME] = time;
  tcsetattr(slave, TCSANOW, &t);
}

static const char *events(short e) {
  static char text[64];
  snprintf(text, sizeof text, "%s%s%s%s%s", e & POLLIN ? "in " : "", e & POLLOUT ? "out " : "", e & POLLPRI ? "pri " : "",
           e & POLLERR ? "err " : "", e & POLLHUP ? "hup " : "");
  return text;
}

static void ready(const char *what, int fd) {
  settle();
  struct pollfd p = {fd, POLLIN | POLLOUT | POLLPRI, 0};
  poll(&p, 1, 0);
  printf("%s is ready for: %s\n", what, events(p.revents));
}

static int names(int argc, char **argv) {
  (void)argc, (void)argv;
  master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  int number = -1, on = 1, off = 0;
  SHOW(ioctl(master, TIOCGPTN, &number));
  snprintf(slave_name, sizeof slave_name, "/dev/pts/%d", number);
  SHOW(open(slave_name, O_RDWR | O_NOCTTY));
  SHOW(ioctl(master, TIOCSPTLCK, &off));
  SHOW(ioctl(master, TIOCGPTLCK, &on));
  printf("locked %d\n", on);
  struct pollfd p = {master, POLLIN | POLLOUT, 0};
  poll(&p, 1, 0);
  printf("before it is opened: %s\n", events(p.revents & ~POLLOUT));
  slave = open(slave_name, O_RDWR | O_NOCTTY);
  settle();
  struct stat s;
  SHOW(fstat(slave, &s));
  printf("mode %o, group %d, is character device %d, major %d, same number %d\n", s.st_mode & 07777, s.st_gid,
         S_ISCHR(s.st_mode), (int)(s.st_rdev >> 8 & 0xfff), (int)(s.st_rdev & 0xff) == number);
  char name[32] = "";
  SHOW(ttyname_r(slave, name, sizeof name));
  printf("name is right %d, isatty %d %d\n", !strcmp(name, slave_name), isatty(slave), isatty(master));
  struct winsize size = {0};
  SHOW(ioctl(slave, TIOCGWINSZ, &size));
  printf("%d %d\n", size.ws_row, size.ws_col);
  size.ws_row = 30, size.ws_col = 90;
  SHOW(ioctl(master, TIOCSWINSZ, &size));
  size.ws_row = 0;
  ioctl(slave, TIOCGWINSZ, &size);
  printf("%d %d\n", size.ws_row, size.ws_col);
  SHOW(tcgetpgrp(slave));
  SHOW(tcgetsid(slave));
  SHOW(ioctl(slave, TIOCNOTTY));
  SHOW(ioctl(slave, 0x1234));
  SHOW(chmod(slave_name, 0600));
  fstat(slave, &s);
  printf("mode %o\n", s.st_mode & 07777);
  close(slave);
  char byte;
  SHOW(read(master, &byte, 1));
  poll(&p, 1, 0);
  printf("after it was closed: %s\n", events(p.revents & ~POLLOUT));
  slave = open(slave_name, O_RDWR | O_NOCTTY);
  settle();
  SHOW(write(slave, "ab\n", 3));
  shown("after it was opened again");
  close(master);
  SHOW(read(slave, &byte, 1));
  SHOW(write(slave, "x", 1));
  SHOW(tcflush(slave, TCIFLUSH));
  p.fd = slave;
  poll(&p, 1, 0);
  printf("after the master was closed: %s\n", events(p.revents));
  SHOW(access(slave_name, F_OK));
  return 0;
}

static int lines(int argc, char **argv) {
  (void)argc, (void)argv;
  open_pair();
  struct termios usual;
  tcgetattr(slave, &usual);
  printf("%o %o %o %o\n", usual.c_iflag, usual.c_oflag, usual.c_cflag, usual.c_lflag);
  for (int i = 0; i < 17; i++) printf("%d ", usual.c_cc[i]);
  puts("");
  const tcflag_t full = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
  const tcflag_t kinds[] = {full, full & ~ECHO, full & ~ECHOE, full & ~ECHOK, full & ~(ECHOK | ECHOKE), full & ~ECHOCTL,
                            full & ~IEXTEN, full | ECHOPRT, (full & ~ECHO) | ECHONL};
  const char *texts[] = {"abc\x7f\x7fx\n",     "one two  \x17three\n", "a_1 b-2\x17\x17z\n", "gone\x15kept\n",
                         "\tx\ty\x7f\x7f\x7fz\n", "a\x01\x02\x7f\n",      "h\xc3\xa4\xe2\x82\xac\x7f\x7f!\n",
                         "a\x16\x03\x16\x7f\n",  "re\x12print\n",        "\xd7\x90\xc3\xa9 b\x17\x17\n", "a\x7f\x7f\x15\n"};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    for (int utf8 = 0; utf8 < 2; utf8++)
      for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        // A key that interrupts throws away what the master has not been handed yet, which may be anything.
        if (strchr(texts[i], 3) && !(kinds[k] & IEXTEN)) continue;
        set(ICRNL | IXON | (utf8 ? IUTF8 : 0), OPOST | ONLCR, kinds[k], 1, 0);
        typed(texts[i]);
        shown("echo"), got("line", 100);
      }
  }
  set(ICRNL | IXON | IUTF8, OPOST | ONLCR, full, 1, 0);
  typed("first\nsecond\nthird");
  got("one line a read", 100), got("part of one", 3), got("its rest", 100), got("no whole line", 100);
  typed("\x04"), got("pushed out", 100);
  typed("\x04"), got("end of file", 100), got("after it", 100);
  typed("x\r"), got("return is newline", 100);
  set(IGNCR, 0, full, 1, 0), typed("a\rb\n"), got("return ignored", 100);
  set(INLCR, 0, full, 1, 0), typed("a\nb\x04"), got("newline is return", 100);
  set(ISTRIP | IUCLC, 0, full, 1, 0), typed("\xc1""BC\n"), got("stripped, lower case", 100);
  tcflush(master, TCIFLUSH), tcflush(slave, TCIFLUSH);
  set(ICRNL, OPOST | ONLCR, full, 1, 0), typed("half");
  set(ICRNL, OPOST | ONLCR, ECHO | ECHOCTL, 1, 0), got("half a line in raw mode", 100);
  typed("r\x01\n\r"), shown("echo in raw mode");
  set(ICRNL, OPOST | ONLCR, full, 1, 0), got("bytes of raw mode as a line", 100);
  char *much = malloc(6000);
  memset(much, 'x', 5999), much[5999] = 0;
  set(ICRNL, 0, ICANON, 1, 0);
  for (int i = 0; i < 6000; i += 500) write(master, much, 500), settle();
  typed("\n");
  printf("a line that is too long: %ld\n", (long)read(slave, much, 6000));
  return 0;
}

static void arrive_later(const char *bytes, int after_ms) {
  if (fork() == 0) {
    usleep(after_ms * 1000);
    write(master, bytes, strlen(bytes));
    _exit(0);
  }
}

static int raw(int argc, char **argv) {
  (void)argc, (void)argv;
  char bytes[100];
  open_pair();
  set(0, 0, 0, 0, 0), SHOW(read(slave, bytes, 10));
  set(0, 0, 0, 0, 1), SHOW(read(slave, bytes, 10));
  ready("slave with VMIN 0", slave);
  set(0, 0, 0, 3, 0), typed("ab"), ready("slave with 2 of 3", slave);
  int queued;
  ioctl(slave, FIONREAD, &queued), printf("queued %d\n", queued);
  got("nothing without waiting", 10);
  got("but all that is wanted", 2);
  typed("ab");
  arrive_later("cd", 20), print_bytes("waited for three", bytes, read(slave, bytes, 10));
  wait(0);
  set(0, 0, 0, 9, 2), typed("ab"), ready("slave with a timer", slave);
  print_bytes("the time between bytes is over", bytes, read(slave, bytes, 10));
  arrive_later("late", 300), print_bytes("no time runs before the first", bytes, read(slave, bytes, 10));
  wait(0);
  set(0, 0, 0, 255, 0), typed("abcdef"), print_bytes("all the reader wants", bytes, read(slave, bytes, 4));
  tcflush(slave, TCIFLUSH), ready("slave after a flush", slave);
  got("nothing", 10);
  set(ICRNL, OPOST | ONLCR, ISIG | ICANON, 1, 0), typed("whole\n");
  SHOW(tcsetattr(slave, TCSAFLUSH, &(struct termios){.c_lflag = ICANON}));
  got("flushed with the change", 10);
  return 0;
}

static int printing(int argc, char **argv) {
  (void)argc, (void)argv;
  open_pair();
  const tcflag_t kinds[] = {0, OPOST, OPOST | ONLCR, OPOST | OCRNL, OPOST | ONOCR, OPOST | ONLRET | OCRNL,
                            OPOST | OLCUC, OPOST | XTABS, OPOST | ONLCR | XTABS};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    set(0, kinds[i], 0, 1, 0);
    write(slave, "\rab\tc\n\r\rd\bx\t\xc3\xa4\n", 16);
    shown("printed");
  }
  set(IXON, OPOST, ECHO | ICANON, 1, 0);
  typed("\x13"), ready("slave that was stopped", slave);
  fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK);
  SHOW(write(slave, "held", 4));
  typed("echo"), shown("while stopped");
  typed("\x11"), shown("when it goes on");
  SHOW(tcflow(slave, TCOOFF)), SHOW(write(slave, "held", 4));
  SHOW(tcflow(slave, TCOON)), SHOW(write(slave, "goes", 4)), shown("after tcflow");
  SHOW(tcflow(slave, TCIOFF)), SHOW(tcflow(slave, TCION)), shown("stop and start sent");
  SHOW(ioctl(slave, TCXONC, 9));
  tcflush(slave, TCIFLUSH), typed("\x13");
  set(IXON | IXANY, OPOST, ECHO, 1, 0), typed("y"), shown("any key starts");
  return 0;
}

static int packets(int argc, char **argv) {
  (void)argc, (void)argv;
  open_pair();
  int on = 1;
  SHOW(ioctl(master, TIOCPKT, &on));
  packet_mode = 1;
  write(slave, "data", 4), shown("data");
  SHOW(tcflush(slave, TCIFLUSH)), ready("master", master), shown("flushed input");
  SHOW(tcflow(slave, TCOOFF)), shown("stopped");
  SHOW(tcflow(slave, TCOON)), shown("started");
  struct termios t;
  tcgetattr(slave, &t), t.c_iflag &= ~IXON, tcsetattr(slave, TCSANOW, &t), shown("no flow control");
  t.c_iflag |= IXON, tcsetattr(slave, TCSANOW, &t), shown("flow control");
  typed("\x03"), shown("interrupt");
  SHOW(ioctl(master, TIOCGPKT, &on)), printf("%d\n", on);
  on = packet_mode = 0, SHOW(ioctl(master, TIOCPKT, &on));
  write(slave, "plain", 5), shown("data");
  return 0;
}

static volatile sig_atomic_t seen[65];
static void note(int signal) { seen[signal]++; }
static void catch(int signal) {
  struct sigaction action = {.sa_handler = note};
  sigaction(signal, &action, 0);
}

// Starts a leader of a session on the slave, which runs `body`, and tells how it ended.
static void in_session(const char *what, void (*body)(void)) {
  printf("-- %s\n", what), fflush(stdout);
  open_pair();
  int alive[2];
  pipe(alive);
  pid_t child = fork();
  if (!child) {
    setsid();
    close(slave);
    slave = open(slave_name, O_RDWR);
    body();
    fflush(stdout);
    _exit(0);
  }
  int status;
  while (waitpid(child, &status, 0) == -1 && errno == EINTR) {}
  // What it started may live a little longer.
  char byte;
  close(alive[1]), read(alive[0], &byte, 1), close(alive[0]);
  printf(WIFSIGNALED(status) ? "signal %d\n" : "exit %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  fflush(stdout);
  close(slave), close(master);
}

static void controls(void) {
  printf("session is mine %d, group is mine %d\n", tcgetsid(slave) == getpid(), tcgetpgrp(slave) == getpid());
  SHOW(ioctl(master, TIOCGSID, &(int){0}));
  SHOW(tcsetpgrp(slave, 99999));
  SHOW(tcsetpgrp(slave, -1));
  SHOW(tcsetpgrp(slave, getppid()));
  SHOW(tcsetpgrp(master, getpid()));
  SHOW(setsid());
  int tty = open("/dev/tty", O_RDWR);
  char name[32] = "";
  printf("/dev/tty: %d, %d, name %d\n", tty >= 0, isatty(tty), ttyname_r(tty, name, 32));
  SHOW(ioctl(slave, TIOCSCTTY, 0));
  fflush(stdout);
  if (!fork()) {
    SHOW(ioctl(slave, TIOCSCTTY, 0));
    SHOW(ioctl(slave, TIOCNOTTY));
    SHOW(open("/dev/tty", O_RDWR));
    SHOW(tcgetpgrp(slave));
    setsid();
    SHOW(ioctl(slave, TIOCSCTTY, 0));
    _exit(0);
  }
  wait(0);
  catch(SIGHUP), catch(SIGCONT);
  SHOW(ioctl(slave, TIOCNOTTY));
  printf("hup %d cont %d\n", seen[SIGHUP], seen[SIGCONT]);
  SHOW(tcgetpgrp(slave));
  SHOW(ioctl(slave, TIOCSCTTY, 0));
}

static void keys(void) {
  const int signals[] = {SIGINT, SIGQUIT, SIGTSTP, SIGWINCH};
  for (int i = 0; i < 4; i++) catch(signals[i]);
  typed("lost\x03\x1c\x1a");
  struct winsize size = {9, 9, 0, 0};
  ioctl(master, TIOCSWINSZ, &size), ioctl(master, TIOCSWINSZ, &size);
  for (int i = 0; i < 4; i++) printf("%d ", seen[signals[i]]);
  puts("");
  typed("kept\n"), got("line", 100);
  struct termios t;
  tcgetattr(slave, &t), t.c_lflag |= NOFLSH, tcsetattr(slave, TCSANOW, &t);
  typed("kept\x03\n"), got("with NOFLSH", 100);
  t.c_lflag &= ~ISIG, tcsetattr(slave, TCSANOW, &t);
  typed("\x03\n"), got("without ISIG", 100);
  SHOW(ioctl(master, TIOCSIG, SIGINT));
  printf("%d\n", seen[SIGINT]);
}

// Runs `body` in a background group and tells what stops or ends it.
static void in_background(const char *what, void (*body)(void)) {
  printf("%s: ", what), fflush(stdout);
  pid_t child = fork();
  if (!child) {
    setpgid(0, 0);
    body();
    fflush(stdout);
    _exit(0);
  }
  setpgid(child, child);
  int status;
  waitpid(child, &status, WUNTRACED);
  if (WIFSTOPPED(status)) {
    printf("stopped by %d\n", WSTOPSIG(status)), fflush(stdout);
    tcsetpgrp(slave, child);
    kill(child, SIGCONT);
    waitpid(child, &status, 0);
    signal(SIGTTOU, SIG_IGN), tcsetpgrp(slave, getpid()), signal(SIGTTOU, SIG_DFL);
  }
  printf("status %x\n", status), fflush(stdout);
}
static void reads(void) {
  char bytes[10];
  print_bytes("read", bytes, read(slave, bytes, 10));
}
static void writes(void) { printf("%ld ", (long)write(slave, "w", 1)); }
static void changes(void) {
  struct termios t;
  tcgetattr(slave, &t);
  SHOW(tcsetattr(slave, TCSANOW, &t));
}
static void flushes(void) { SHOW(tcflush(slave, TCIFLUSH)); }
static void takes(void) { SHOW(tcsetpgrp(slave, getpgrp())); }
static void reads_deaf(void) { signal(SIGTTIN, SIG_IGN), reads(); }
static void changes_deaf(void) { signal(SIGTTOU, SIG_IGN), changes(); }

static void background(void) {
  typed("line\n");
  in_background("read", reads);
  in_background("write", writes);
  in_background("settings", changes);
  in_background("flush", flushes);
  in_background("foreground", takes);
  in_background("read, SIGTTIN ignored", reads_deaf);
  in_background("settings, SIGTTOU ignored", changes_deaf);
  struct termios t;
  tcgetattr(slave, &t), t.c_lflag |= TOSTOP, tcsetattr(slave, TCSANOW, &t);
  in_background("write with TOSTOP", writes);
}

// A grandchild whose parent, the only way out of its group, has gone.
static void orphan(void) {
  int go[2], done[2];
  pipe(go), pipe(done);
  if (!fork()) {
    setpgid(0, 0);
    if (!fork()) {
      char byte;
      close(go[1]);
      read(go[0], &byte, 1);
      reads(), changes(), writes(), puts("");
      fflush(stdout);
      raise(SIGTSTP);
      puts("not stopped"), fflush(stdout);
      _exit(0);
    }
    _exit(0);
  }
  wait(0);
  close(go[1]), close(done[1]);
  char byte;
  read(done[0], &byte, 1);
}

static void hung_up_stopped(void) {
  int told[2];
  pipe(told);
  if (!fork()) {
    setpgid(0, 0);
    if (!fork()) {
      catch(SIGHUP), catch(SIGCONT);
      write(told[1], "x", 1);
      raise(SIGSTOP);
      printf("hup %d cont %d\n", seen[SIGHUP], seen[SIGCONT]), fflush(stdout);
      _exit(0);
    }
    char byte;
    read(told[0], &byte, 1);
    int status;
    waitpid(-1, &status, WUNTRACED);
    _exit(0);
  }
  wait(0);
  close(told[1]);
  char byte;
  while (read(told[0], &byte, 1) > 0) {}
}

static void master_closes(void) {
  catch(SIGHUP), catch(SIGCONT);
  sigset_t all, none;
  sigfillset(&all), sigemptyset(&none), sigprocmask(SIG_SETMASK, &all, 0);
  int told[2];
  pipe(told);
  pid_t foreground = fork();
  if (!foreground) {
    close(master), setpgid(0, 0), catch(SIGHUP);
    tcsetpgrp(slave, getpid());
    write(told[1], "x", 1);
    sigdelset(&all, SIGHUP), sigsuspend(&all);
    printf("foreground: hup %d\n", seen[SIGHUP]), fflush(stdout);
    _exit(0);
  }
  char byte;
  read(told[0], &byte, 1);
  // The parent holds the master, too, until it is told.
  kill(getppid(), SIGUSR1);
  close(master);
  while (!seen[SIGHUP] || !seen[SIGCONT]) sigsuspend(&none);
  printf("leader: hup %d cont %d\n", seen[SIGHUP], seen[SIGCONT]);
  SHOW(read(slave, &byte, 1));
  SHOW(write(slave, "x", 1));
  SHOW(tcgetpgrp(slave));
  SHOW(tcsetpgrp(slave, getpid()));
  SHOW(open("/dev/tty", O_RDWR));
  fflush(stdout);
}

static void let_go(int signal) { (void)signal, close(master), master = -1; }

static int sessions(int argc, char **argv) {
  (void)argc, (void)argv;
  signal(SIGUSR1, let_go);
  in_session("a leader controls its terminal", controls);
  in_session("keys are signals", keys);
  in_session("background processes are stopped", background);
  in_session("an orphaned group is not stopped", orphan);
  in_session("a stopped group that is orphaned is hung up", hung_up_stopped);
  in_session("a closed master hangs up", master_closes);
  return 0;
}

const struct part terminal_parts[] = {{"pty-names", names},       {"pty-lines", lines},     {"pty-raw", raw},
                                      {"pty-printing", printing}, {"pty-packets", packets}, {"pty-sessions", sessions},
                                      {0, 0}};
