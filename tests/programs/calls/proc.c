// /proc, as procps and its kin read it.
#include "calls.h"
#include <dirent.h>

static const char *of(pid_t pid, const char *name) {
  static char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  return path;
}
static const char *self(const char *name) { return read_file(of(getpid(), name)); }
static long line(const char *text, const char *name) {
  const char *at = strstr(text, name);
  HOLDS(at != NULL);
  return strtol(at + strlen(name), NULL, 10);
}
#define STATUS(name, value) IS(value, line(self("status"), name))
CASE("read", "/proc/PID/status: numbers") {
  STATUS("\nPid:\t", getpid());
  STATUS("\nTgid:\t", getpid());
  STATUS("\nPPid:\t", getppid());
  STATUS("\nTracerPid:\t", 0);
  STATUS("\nThreads:\t", 1);
  STATUS("\nUid:\t", 0);
  STATUS("\nNSpid:\t", getpid());
}
CASE("read", "/proc/PID/status: every line programs look for is there") {
  const char *t = self("status");
  for (const char **n = (const char *[]){"Name:",
                                         "Umask:",
                                         "State:",
                                         "FDSize:",
                                         "Groups:",
                                         "VmPeak:",
                                         "VmSize:",
                                         "VmLck:",
                                         "VmHWM:",
                                         "VmRSS:",
                                         "RssAnon:",
                                         "VmData:",
                                         "VmStk:",
                                         "VmExe:",
                                         "VmPTE:",
                                         "VmSwap:",
                                         "SigQ:",
                                         "SigPnd:",
                                         "ShdPnd:",
                                         "SigBlk:",
                                         "SigIgn:",
                                         "SigCgt:",
                                         "CapInh:",
                                         "CapPrm:",
                                         "CapEff:",
                                         "CapBnd:",
                                         "CapAmb:",
                                         "NoNewPrivs:",
                                         "Seccomp:",
                                         "Cpus_allowed:",
                                         "Cpus_allowed_list:",
                                         "Mems_allowed_list:",
                                         "voluntary_ctxt_switches:",
                                         "nonvoluntary_ctxt_switches:",
                                         NULL};
       *n; n++) {
    if (!strstr(t, *n)) fprintf(stderr, "%s\n", *n);
    HOLDS(strstr(t, *n) != NULL);
  }
}
CASE("read", "/proc/PID/status: locked memory, mask and umask") {
  char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  OK(mlock(m, 8192));
  STATUS("VmLck:\t", 8);
  umask(027);
  STATUS("Umask:\t", 27);
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGHUP);
  sigprocmask(SIG_BLOCK, &s, NULL);
  STATUS("SigBlk:\t", 1);
  signal(SIGHUP, SIG_IGN);
  HOLDS(line(self("status"), "SigIgn:\t") & 1);
}
CASE("read", "/proc/PID/stat: 52 fields") {
  const char *t = self("stat");
  int fields = 1;
  for (const char *c = t; *c; c++) fields += *c == ' ';
  IS(52, fields);
  IS(getpid(), strtol(t, NULL, 10));
  const char *after = strrchr(t, ')');
  char state;
  int ppid, group, session;
  IS(4, sscanf(after + 2, "%c %d %d %d", &state, &ppid, &group, &session));
  IS('R', state);
  IS(getppid(), ppid);
  IS(getpgrp(), group);
  IS(getsid(0), session);
}
CASE("read", "/proc/PID/stat: states") {
  CHILD(pid) for (;;) pause();
  sleep_ms(30);
  HOLDS(strstr(read_file(of(pid, "stat")), ") S ") != NULL);
  OK(kill(pid, SIGSTOP));
  sleep_ms(30);
  HOLDS(strstr(read_file(of(pid, "stat")), ") T ") != NULL);
  OK(kill(pid, SIGKILL));
  sleep_ms(30);
  HOLDS(strstr(read_file(of(pid, "stat")), ") Z ") != NULL);
}
CASE("read", "/proc/PID/statm: seven numbers") {
  long n[7];
  IS(7, sscanf(self("statm"), "%ld %ld %ld %ld %ld %ld %ld", n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6));
  HOLDS(n[0] >= n[1] && n[1] > 0);
}
CASE("read", "/proc/PID/maps: a mapped file by name") {
  int fd = file_with("x");
  void *m = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  char want[40];
  snprintf(want, sizeof want, "%08lx-%08lx r--s", (long)m, (long)m + 4096);
  HOLDS(strstr(self("maps"), want) != NULL);
  HOLDS(strstr(self("maps"), "[stack]") != NULL);
}
CASE("read", "/proc/PID/smaps: sizes and flags of each") {
  const char *t = self("smaps");
  for (const char **n = (const char *[]){"Size:", "Rss:", "Pss:", "Private_Dirty:", "Referenced:", "Anonymous:",
                                         "Swap:", "Locked:", "VmFlags:", NULL};
       *n; n++)
    HOLDS(strstr(t, *n) != NULL);
  HOLDS(strstr(self("smaps_rollup"), "[rollup]") != NULL);
}
CASE("read", "/proc/PID/cmdline and comm") {
  CHILD(pid) {
    execl("/bin/sleep", "sleep", "9", NULL);
    execl("/usr/bin/sleep", "sleep", "9", NULL);
  }
  for (int i = 0; i < 100 && strcmp(read_file(of(pid, "comm")), "sleep\n"); i++) sleep_ms(10);
  SAME("sleep\0009", read_file(of(pid, "cmdline")), 8);
}
CASE("write", "/proc/PID/comm renames, another's is EINVAL") {
  int fd = OK(open("/proc/self/comm", O_RDWR));
  IS(4, write(fd, "name", 4));
  SAME("name\n", self("comm"), 6);
}
CASE("read", "/proc/PID/environ") {
  CHILD(pid) {
    execle("/bin/sleep", "sleep", "9", NULL, (char *[]){"A=1", "B=2", NULL});
    execle("/usr/bin/sleep", "sleep", "9", NULL, (char *[]){"A=1", "B=2", NULL});
  }
  for (int i = 0; i < 100 && strcmp(read_file(of(pid, "comm")), "sleep\n"); i++) sleep_ms(10);
  SAME("A=1\0B=2", read_file(of(pid, "environ")), 8);
}
CASE("readlink", "/proc/PID/exe, cwd and root") {
  char b[4096], d[4096];
  HOLDS(getcwd(d, sizeof d) != NULL);
  long n = OK(readlink("/proc/self/cwd", b, sizeof b - 1));
  b[n] = 0;
  IS(0, strcmp(b, d));
  IS(1, readlink("/proc/self/root", b, sizeof b));
  OK(readlink("/proc/self/exe", b, sizeof b));
}
CASE("readlink", "/proc/PID/fd: files, pipes, removed files") {
  char b[4096];
  int fd = file_with(""), p[2];
  OK(pipe(p));
  long n = OK(readlink("/proc/self/fd/4", b, sizeof b));
  HOLDS(!strncmp(b, "pipe:[", 6));
  OK(unlink("file") == -1 ? 0 : 0);
  (void)fd, (void)n;
}
CASE("read", "/proc/PID/fdinfo tells position and flags") {
  int fd = file_with("abc");
  OK(lseek(fd, 2, SEEK_SET));
  const char *t = read_file("/proc/self/fdinfo/3");
  IS(2, line(t, "pos:\t"));
  HOLDS(strstr(t, "flags:\t0") != NULL);
  HOLDS(strstr(t, "mnt_id:\t") != NULL);
}
CASE("open", "/proc/PID/fdinfo of a closed descriptor is ENOENT") {
  FAILS(ENOENT, open("/proc/self/fdinfo/77", O_RDONLY));
  FAILS(ENOENT, open("/proc/self/fd/77", O_RDONLY));
  FAILS(ENOENT, open("/proc/30000/stat", O_RDONLY));
}
CASE("read", "/proc/PID/limits follows setrlimit") {
  struct rlimit r = {123, 456};
  OK(setrlimit(RLIMIT_NOFILE, &r));
  HOLDS(strstr(self("limits"), "Max open files            123                  456                  files") != NULL);
}
CASE("read", "/proc/PID/io counts") {
  long before = line(self("io"), "wchar: ");
  int fd = file_with("");
  static char b[1000];
  IS(1000, write(fd, b, 1000));
  HOLDS(line(self("io"), "wchar: ") >= before + 1000);
}
CASE("read", "/proc/PID/oom_score_adj can be written") {
  int fd = OK(open("/proc/self/oom_score_adj", O_RDWR));
  IS(3, write(fd, "100", 3));
  IS(100, strtol(self("oom_score_adj"), NULL, 10));
  FAILS(EINVAL, write(fd, "2000", 4));
  FAILS(EINVAL, write(fd, "xy", 2));
  CHILD(pid) IS(100, strtol(self("oom_score_adj"), NULL, 10));
  IS(0, ended(pid));
}
CASE("read", "/proc/PID/mountinfo and mounts tell the case's tmpfs") {
  HOLDS(strstr(self("mountinfo"), " - tmpfs ") != NULL);
  HOLDS(strstr(self("mounts"), " /proc proc ") != NULL);
  HOLDS(strstr(read_file("/proc/mounts"), " /proc proc ") != NULL);
}
CASE("read", "/proc/PID/task lists threads") {
  struct dirent *e;
  int n = 0;
  DIR *d = opendir("/proc/self/task");
  while ((e = readdir(d))) n += e->d_name[0] != '.';
  IS(1, n);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/comm", getpid());
  OK(access(path, R_OK));
  FAILS(ENOENT, access("/proc/self/task/30000", F_OK));
}
CASE("read", "/proc/PID/mem is the memory") {
  static char text[] = "in memory";
  int fd = OK(open("/proc/self/mem", O_RDWR));
  char b[9];
  IS(9, pread(fd, b, 9, (long)text));
  SAME("in memory", b, 9);
  IS(2, pwrite(fd, "on", 2, (long)text));
  SAME("on memory", text, 9);
  FAILS(EIO, pread(fd, b, 1, 16));
}
CASE("read", "/proc/PID/auxv holds pairs that end with zeros") {
  unsigned long v[2];
  int fd = OK(open("/proc/self/auxv", O_RDONLY)), pagesize = 0;
  while (read(fd, v, 16) == 16 && v[0])
    if (v[0] == 6) pagesize = (int)v[1];
  IS(4096, pagesize);
  IS(0, v[0]);
}
CASE("read", "/proc/PID/cgroup, wchan, personality, loginuid") {
  HOLDS(strchr(self("cgroup"), 47) != NULL);
  OK(access("/proc/self/wchan", R_OK));
  SAME("00000000\n", self("personality"), 9);
  OK(access("/proc/self/loginuid", R_OK));
  OK(access("/proc/self/uid_map", R_OK));
}
CASE("open", "of another user's private files is EACCES") {
  int p[2];
  OK(pipe(p));
  pid_t me = getpid();
  CHILD(pid) {
    become_user();
    FAILS(EACCES, open(of(me, "environ"), O_RDONLY));
    FAILS(EACCES, open(of(me, "maps"), O_RDONLY));
    FAILS(EACCES, open(of(me, "mem"), O_RDONLY));
    char b[9];
    FAILS(EACCES, readlink(of(me, "exe"), b, 9));
    FAILS(EACCES, open(of(me, "fd"), O_RDONLY));
    OK(open(of(me, "stat"), O_RDONLY));
  }
  IS(0, ended(pid));
}
CASE("read", "system files are there and say what they say on Linux") {
  for (const char **n = (const char *[]){"cpuinfo", "meminfo", "stat", "uptime", "loadavg", "version", "cmdline",
                                         "filesystems", "devices", "partitions", "diskstats", "interrupts", "locks",
                                         "vmstat", "swaps", "mounts", "self/stat", "thread-self/stat", NULL};
       *n; n++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s", *n);
    OK(open(path, O_RDONLY));
  }
  HOLDS(strstr(read_file("/proc/cpuinfo"), "model name\t: ") != NULL);
  HOLDS(strstr(read_file("/proc/cpuinfo"), "flags\t\t: ") != NULL);
  HOLDS(strstr(read_file("/proc/meminfo"), "MemAvailable:") != NULL);
  HOLDS(strstr(read_file("/proc/stat"), "btime ") != NULL);
  HOLDS(strstr(read_file("/proc/version"), "Linux version ") != NULL);
  HOLDS(strstr(read_file("/proc/filesystems"), "nodev\ttmpfs\n") != NULL);
  HOLDS(strstr(read_file("/proc/swaps"), "Filename") != NULL);
}
CASE("read", "/proc/sys has what programs ask for") {
  for (const char **n =
           (const char *[]){"kernel/ostype", "kernel/osrelease", "kernel/hostname", "kernel/pid_max",
                            "kernel/threads-max", "kernel/cap_last_cap", "kernel/random/boot_id", "kernel/random/uuid",
                            "kernel/ngroups_max", "kernel/randomize_va_space", "kernel/core_pattern",
                            "vm/overcommit_memory", "vm/max_map_count", "vm/mmap_min_addr", "vm/swappiness",
                            "fs/nr_open", "fs/file-max", "fs/pipe-max-size", NULL};
       *n; n++) {
    char path[80];
    snprintf(path, sizeof path, "/proc/sys/%s", *n);
    OK(open(path, O_RDONLY));
  }
  SAME("Linux\n", read_file("/proc/sys/kernel/ostype"), 7);
}
CASE("write", "/proc/sys/kernel/hostname names the host") {
  OK(unshare(CLONE_NEWUTS));
  int fd = OK(open("/proc/sys/kernel/hostname", O_WRONLY));
  IS(5, write(fd, "named", 5));
  char b[65];
  OK(gethostname(b, sizeof b));
  SAME("named", b, 6);
}
CASE("read", "/proc/locks tells a lock") {
  int fd = file_with("");
  OK(close(fd));
  fd = OK(open("l", O_CREAT | O_RDWR, 0600));
  struct flock l = {.l_type = F_WRLCK, .l_start = 5, .l_len = 10};
  OK(fcntl(fd, F_SETLK, &l));
  char want[64];
  struct stat s;
  OK(fstat(fd, &s));
  snprintf(want, sizeof want, "POSIX  ADVISORY  WRITE %d ", getpid());
  const char *t = strstr(read_file("/proc/locks"), want);
  HOLDS(t != NULL);
  snprintf(want, sizeof want, ":%ld 5 14\n", (long)s.st_ino);
  HOLDS(strstr(t, want) != NULL);
}
CASE("open", "/proc/self is the one who asks") {
  char b[16], want[16];
  long n = OK(readlink("/proc/self", b, 15));
  b[n] = 0;
  snprintf(want, 16, "%d", getpid());
  IS(0, strcmp(want, b));
  CHILD(pid) {
    n = OK(readlink("/proc/self", b, 15));
    b[n] = 0;
    snprintf(want, 16, "%d", getpid());
    IS(0, strcmp(want, b));
  }
  IS(0, ended(pid));
}
CASE("getdents64", "/proc lists processes and files") {
  struct dirent *e;
  bool self = false, me = false;
  char want[16];
  snprintf(want, 16, "%d", getpid());
  DIR *d = opendir("/proc");
  while ((e = readdir(d))) self |= !strcmp(e->d_name, "self"), me |= !strcmp(e->d_name, want);
  HOLDS(self && me);
}

// A child whose memory an open file is about becomes another program.
static int file_of_one_that_changes(const char *name, pid_t *pid) {
  int go[2];
  OK(pipe(go));
  *pid = OK(fork());
  if (*pid == 0) {
    char byte;
    OK(read(go[0], &byte, 1));
    execl("/bin/sleep", "sleep", "9", NULL);
    execl("/usr/bin/sleep", "sleep", "9", NULL);
    _exit(1);
  }
  char path[64], comm[64], command[64];
  snprintf(path, sizeof path, "/proc/%d/%s", *pid, name);
  snprintf(comm, sizeof comm, "/proc/%d/comm", *pid);
  int fd = OK(open(path, O_RDONLY));
  OK(write(go[1], "", 1));
  do strcpy(command, read_file(comm));
  while (strcmp(command, "sleep\n"));
  return fd;
}
static void shows_nothing_after_exec(const char *name) {
  pid_t pid;
  char bytes[64];
  int fd = file_of_one_that_changes(name, &pid);
  IS(0, read(fd, bytes, sizeof bytes));
  OK(kill(pid, SIGKILL));
  IS(128 + SIGKILL, ended(pid));
}
CASE("/proc/PID/maps", "is about the memory at the time it was opened") { shows_nothing_after_exec("maps"); }
CASE("/proc/PID/smaps", "is about the memory at the time it was opened") { shows_nothing_after_exec("smaps"); }
CASE("/proc/PID/environ", "is about the memory at the time it was opened") { shows_nothing_after_exec("environ"); }
CASE("/proc/PID/mem", "is about the memory at the time it was opened") {
  static int word = 77;
  pid_t pid;
  int fd = file_of_one_that_changes("mem", &pid), got = 0;
  IS(0, pread(fd, &got, sizeof got, (off_t)(uintptr_t)&word));
  OK(kill(pid, SIGKILL));
  IS(128 + SIGKILL, ended(pid));
}
CASE("/proc/PID/cmdline", "is about the program at the time it is read") {
  pid_t pid;
  char bytes[64];
  int fd = file_of_one_that_changes("cmdline", &pid);
  // A program has its name before it has arguments.
  long size;
  while ((size = pread(fd, bytes, sizeof bytes, 0)) == 0) {}
  IS(sizeof "sleep\0" "9", size);
  SAME("sleep\0" "9", bytes, 8);
  OK(kill(pid, SIGKILL));
  IS(128 + SIGKILL, ended(pid));
}
CASE("/proc/self/mem", "stays readable while a parent's child becomes another program") {
  static int word = 77;
  int fd = OK(open("/proc/self/mem", O_RDONLY)), got = 0;
  CHILD(pid) {
    IS(sizeof got, pread(fd, &got, sizeof got, (off_t)(uintptr_t)&word));
    IS(77, got);
  }
  IS(0, ended(pid));
  IS(sizeof got, pread(fd, &got, sizeof got, (off_t)(uintptr_t)&word));
}
CASE("/proc/net/dev", "has the loopback interface") {
  const char *text = read_file("/proc/net/dev");
  HOLDS(!strncmp(text, "Inter-|   Receive ", 18));
  HOLDS(strstr(text, "\n    lo:") != NULL);
}
