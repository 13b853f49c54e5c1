// Who a process is: user and group ids, Linux's capabilities, prctl, personality.
#include "calls.h"
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/prctl.h>

// Raw calls: the C library's would ask every thread.
#define RAW(name, ...) syscall(SYS_##name, ##__VA_ARGS__)
static void uids_are(uid_t r, uid_t e, uid_t s) {
  uid_t a, b, c;
  OK(getresuid(&a, &b, &c));
  IS(r, a);
  IS(e, b);
  IS(s, c);
}
static void gids_are(gid_t r, gid_t e, gid_t s) {
  gid_t a, b, c;
  OK(getresgid(&a, &b, &c));
  IS(r, a);
  IS(e, b);
  IS(s, c);
}
static struct __user_cap_data_struct caps[2];
static int get_caps(void) {
  struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
  return (int)RAW(capget, &h, caps);
}
static int set_caps(void) {
  struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
  return (int)RAW(capset, &h, caps);
}

CASE("setuid", "by the superuser sets all three") {
  OK(RAW(setuid, 7));
  uids_are(7, 7, 7);
  FAILS(EPERM, RAW(setuid, 0));
}
CASE("setuid", "by a user sets the effective to real or saved") {
  OK(RAW(setresuid, 1, 1, 2));
  OK(RAW(setuid, 2));
  uids_are(1, 2, 2);
  OK(RAW(setuid, 1));
  FAILS(EPERM, RAW(setuid, 3));
}
FAILS_CASE("setuid", "to -1 is EINVAL", EINVAL, RAW(setuid, -1))
CASE("setgid", "by the superuser sets all three") {
  OK(RAW(setgid, 7));
  gids_are(7, 7, 7);
}
CASE("setgid", "by a user to another is EPERM") {
  become_user();
  FAILS(EPERM, RAW(setgid, 3));
}
FAILS_CASE("setgid", "to -1 is EINVAL", EINVAL, RAW(setgid, -1))
CASE("setreuid", "swaps and sets the saved") {
  OK(RAW(setresuid, 1, 2, 2));
  OK(RAW(setreuid, 2, 1));
  uids_are(2, 1, 1);
}
CASE("setreuid", "of the effective alone to the real keeps the saved") {
  OK(RAW(setresuid, 1, 2, 3));
  OK(RAW(setreuid, -1, 1));
  uids_are(1, 1, 3);
}
CASE("setreuid", "of the real to the saved is EPERM") {
  OK(RAW(setresuid, 1, 2, 3));
  FAILS(EPERM, RAW(setreuid, 3, -1));
}
CASE("setregid", "swaps and sets the saved") {
  OK(RAW(setresgid, 1, 2, 2));
  become_user();
  gids_are(1000, 1000, 1000);
  FAILS(EPERM, RAW(setregid, 5, -1));
}
CASE("setresuid", "-1 leaves one") {
  OK(RAW(setresuid, 1, 2, 3));
  OK(RAW(setresuid, -1, 3, -1));
  uids_are(1, 3, 3);
  FAILS(EPERM, RAW(setresuid, 9, -1, -1));
}
CASE("setresgid", "-1 leaves one") {
  OK(RAW(setresgid, 1, -1, 3));
  gids_are(1, 0, 3);
}
CASE("setfsuid", "gives the old one and changes file accesses alone") {
  write_file("f", "");
  OK(chmod("f", 0600));
  IS(0, setfsuid(1000));
  IS(1000, setfsuid(-1));
  FAILS(EACCES, open("f", O_RDONLY));
  IS(0, geteuid());
  IS(1000, setfsuid(0));
  OK(open("f", O_RDONLY));
}
CASE("setfsuid", "by a user to another changes nothing") {
  become_user();
  IS(1000, setfsuid(5));
  IS(1000, setfsuid(-1));
}
CASE("setfsgid", "gives the old one") {
  IS(0, setfsgid(7));
  IS(7, setfsgid(0));
}
CASE("getresuid", "into no memory is EFAULT") { FAILS(EFAULT, RAW(getresuid, NOWHERE, NOWHERE, NOWHERE)); }
CASE("setgroups", "sets what getgroups tells") {
  gid_t g[3] = {5, 6, 7}, out[3];
  OK(RAW(setgroups, 3, g));
  IS(3, getgroups(0, NULL));
  IS(3, getgroups(3, out));
  SAME(g, out, sizeof g);
}
CASE("getgroups", "into too little room is EINVAL") {
  gid_t g[3] = {5, 6, 7};
  OK(RAW(setgroups, 3, g));
  FAILS(EINVAL, getgroups(2, g));
  FAILS(EINVAL, RAW(getgroups, -1, g));
}
CASE("setgroups", "of too many is EINVAL") {
  FAILS(EINVAL, RAW(setgroups, 65537, NOWHERE));
  FAILS(EINVAL, RAW(setgroups, -1, NOWHERE));
}
CASE("setgroups", "of no memory is EFAULT") { FAILS(EFAULT, RAW(setgroups, 3, NOWHERE)); }
CASE("setgroups", "by a user is EPERM") {
  become_user();
  FAILS(EPERM, RAW(setgroups, 0, NULL));
}
CASE("setgroups", "gives access by group") {
  write_file("f", "");
  OK(chown("f", 5, 77));
  OK(chmod("f", 0040));
  gid_t g = 77;
  OK(RAW(setgroups, 1, &g));
  OK(RAW(setresgid, 1000, 1000, 1000));
  OK(RAW(setresuid, 1000, 1000, 1000));
  OK(open("f", O_RDONLY));
}

CASE("capget", "the superuser has what it may have") {
  OK(get_caps());
  IS(caps[0].permitted, caps[0].effective);
  HOLDS(caps[0].permitted & 1u << CAP_SYS_ADMIN);
  IS(0, caps[0].inheritable);
}
CASE("capget", "an ordinary user has none") {
  become_user();
  OK(get_caps());
  IS(0, caps[0].effective);
  IS(0, caps[0].permitted);
}
CASE("capget", "of an unknown version tells the one to use") {
  struct __user_cap_header_struct h = {1, 0};
  OK(RAW(capget, &h, NULL));
  IS(_LINUX_CAPABILITY_VERSION_3, h.version);
  h.version = 1;
  FAILS(EINVAL, RAW(capget, &h, caps));
}
CASE("capget", "of nobody is ESRCH") {
  struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 30000};
  FAILS(ESRCH, RAW(capget, &h, caps));
  h.pid = -1;
  FAILS(EINVAL, RAW(capget, &h, caps));
}
FAILS_CASE("capget", "of no memory is EFAULT", EFAULT, RAW(capget, NOWHERE, caps))
CASE("capset", "takes capabilities away for good") {
  OK(get_caps());
  caps[0].effective &= ~(1u << CAP_CHOWN), caps[0].permitted &= ~(1u << CAP_CHOWN);
  OK(set_caps());
  write_file("f", "");
  FAILS(EPERM, chown("f", 5, 5));
  caps[0].permitted |= 1u << CAP_CHOWN;
  FAILS(EPERM, set_caps());
}
CASE("capset", "what is permitted can be made effective again") {
  OK(get_caps());
  caps[0].effective &= ~(1u << CAP_CHOWN);
  OK(set_caps());
  write_file("f", "");
  FAILS(EPERM, chown("f", 5, 5));
  caps[0].effective |= 1u << CAP_CHOWN;
  OK(set_caps());
  OK(chown("f", 5, 5));
}
CASE("capset", "of effective beyond permitted is EPERM") {
  OK(get_caps());
  caps[0].permitted = 0;
  FAILS(EPERM, set_caps());
}
CASE("capset", "of another process is EPERM") {
  struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 1};
  OK(get_caps());
  FAILS(EPERM, RAW(capset, &h, caps));
}
CASE("capset", "without CAP_DAC_OVERRIDE the superuser is denied as others") {
  write_file("f", "");
  OK(chown("f", 5, 5));
  OK(chmod("f", 0600));
  OK(get_caps());
  caps[0].effective &= ~(1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH);
  OK(set_caps());
  FAILS(EACCES, open("f", O_RDONLY));
}
CASE("capset", "without CAP_KILL other users' processes cannot be signalled") {
  CHILD(pid) {
    become_user();
    pause();
  }
  sleep_ms(50);
  OK(get_caps());
  caps[0].effective &= ~(1u << CAP_KILL);
  OK(set_caps());
  FAILS(EPERM, kill(pid, SIGTERM));
}
CASE("setuid", "to a user with PR_SET_KEEPCAPS keeps what is permitted") {
  OK(prctl(PR_SET_KEEPCAPS, 1));
  OK(RAW(setuid, 1000));
  OK(get_caps());
  IS(0, caps[0].effective);
  HOLDS(caps[0].permitted & 1u << CAP_SYS_ADMIN);
}
CASE("setresuid", "of the effective alone keeps what is permitted") {
  OK(RAW(setresuid, 0, 1000, 0));
  OK(get_caps());
  IS(0, caps[0].effective);
  HOLDS(caps[0].permitted & 1u << CAP_SYS_ADMIN);
  OK(RAW(setresuid, 0, 0, 0));
  OK(get_caps());
  IS(caps[0].permitted, caps[0].effective);
}

CASE("prctl", "PR_SET_NAME names the thread, cut to 15 bytes") {
  char b[16];
  OK(prctl(PR_SET_NAME, "a-name-that-is-too-long"));
  OK(prctl(PR_GET_NAME, b));
  SAME("a-name-that-is-", b, 16);
  SAME("a-name-that-is-\n", read_file("/proc/self/comm"), 17);
}
CASE("prctl", "PR_SET_NAME of no memory is EFAULT") {
  FAILS(EFAULT, prctl(PR_SET_NAME, NOWHERE));
  FAILS(EFAULT, prctl(PR_GET_NAME, NOWHERE));
}
FAILS_CASE("prctl", "of an unknown option is EINVAL", EINVAL, prctl(9999, 0, 0, 0, 0))
CASE("prctl", "PR_SET_DUMPABLE") {
  IS(1, prctl(PR_GET_DUMPABLE));
  OK(prctl(PR_SET_DUMPABLE, 0));
  IS(0, prctl(PR_GET_DUMPABLE));
  FAILS(EINVAL, prctl(PR_SET_DUMPABLE, 2));
}
CASE("prctl", "a change of user takes PR_SET_DUMPABLE away") {
  become_user();
  IS(0, prctl(PR_GET_DUMPABLE));
}
CASE("prctl", "PR_SET_PDEATHSIG comes at the parent's end") {
  int p[2];
  OK(pipe(p));
  CHILD(pid) {
    if (fork() == 0) {
      OK(prctl(PR_SET_PDEATHSIG, SIGUSR1));
      sigset_t s;
      sigemptyset(&s);
      sigaddset(&s, SIGUSR1);
      sigprocmask(SIG_BLOCK, &s, NULL);
      OK(write(p[1], "r", 1));
      int got;
      sigwait(&s, &got);
      OK(write(p[1], "k", 1));
      _exit(0);
    }
    char c;
    IS(1, read(p[0], &c, 1));
  }
  IS(0, ended(pid));
  char c;
  IS(1, read(p[0], &c, 1));
  IS('k', c);
}
CASE("prctl", "PR_GET_PDEATHSIG tells it, a child has none") {
  int s = 9;
  OK(prctl(PR_SET_PDEATHSIG, SIGUSR1));
  OK(prctl(PR_GET_PDEATHSIG, &s));
  IS(SIGUSR1, s);
  CHILD(pid) {
    OK(prctl(PR_GET_PDEATHSIG, &s));
    IS(0, s);
  }
  IS(0, ended(pid));
  FAILS(EINVAL, prctl(PR_SET_PDEATHSIG, 65));
}
CASE("prctl", "PR_SET_CHILD_SUBREAPER: orphans below become children") {
  OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
  int on = 0, p[2];
  OK(prctl(PR_GET_CHILD_SUBREAPER, &on));
  IS(1, on);
  OK(pipe(p));
  CHILD(pid) if (fork() == 0) {
    sleep_ms(30);
    pid_t parent = getppid();
    OK(write(p[1], &parent, sizeof parent));
    _exit(7);
  }
  IS(0, ended(pid));
  pid_t parent;
  IS(sizeof parent, read(p[0], &parent, sizeof parent));
  IS(getpid(), parent);
  int status;
  OK(wait(&status));
  IS(7, WEXITSTATUS(status));
}
CASE("prctl", "PR_SET_NO_NEW_PRIVS stays") {
  IS(0, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  IS(1, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  FAILS(EINVAL, prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
  CHILD(pid) IS(1, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  IS(0, ended(pid));
}
CASE("prctl", "PR_SET_NO_NEW_PRIVS with more arguments is EINVAL") {
  FAILS(EINVAL, prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
  FAILS(EINVAL, prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
}
CASE("prctl", "PR_SET_TIMERSLACK, 0 for what it was") {
  IS(50000, prctl(PR_GET_TIMERSLACK));
  OK(prctl(PR_SET_TIMERSLACK, 7));
  IS(7, prctl(PR_GET_TIMERSLACK));
  OK(prctl(PR_SET_TIMERSLACK, 0));
  IS(50000, prctl(PR_GET_TIMERSLACK));
}
CASE("prctl", "PR_CAPBSET_DROP takes one away for good") {
  IS(1, prctl(PR_CAPBSET_READ, CAP_CHOWN));
  OK(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
  IS(0, prctl(PR_CAPBSET_READ, CAP_CHOWN));
  FAILS(EINVAL, prctl(PR_CAPBSET_READ, 64));
  FAILS(EINVAL, prctl(PR_CAPBSET_DROP, 64));
}
CASE("prctl", "PR_CAPBSET_DROP by a user is EPERM") {
  become_user();
  FAILS(EPERM, prctl(PR_CAPBSET_DROP, CAP_CHOWN));
}
CASE("prctl", "PR_SET_SECUREBITS, locked ones stay") {
  IS(0, prctl(PR_GET_SECUREBITS));
  OK(prctl(PR_SET_SECUREBITS, 3));
  IS(3, prctl(PR_GET_SECUREBITS));
  FAILS(EPERM, prctl(PR_SET_SECUREBITS, 0));
}
CASE("prctl", "PR_SET_KEEPCAPS of an unknown value is EINVAL") {
  FAILS(EINVAL, prctl(PR_SET_KEEPCAPS, 2));
  IS(0, prctl(PR_GET_KEEPCAPS));
}
CASE("prctl", "PR_CAP_AMBIENT needs permitted and inheritable") {
  FAILS(EPERM, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
  OK(get_caps());
  caps[0].inheritable = 1;
  OK(set_caps());
  OK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
  IS(1, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
  OK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
  IS(0, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
}
CASE("prctl", "PR_GET_TSC tells it can be read") {
  int v = 0;
  OK(prctl(PR_GET_TSC, &v));
  IS(1, v);
}
CASE("personality", "gives the old one") {
  IS(0, personality(0xffffffff));
  IS(0, personality(ADDR_NO_RANDOMIZE));
  IS(ADDR_NO_RANDOMIZE, personality(0xffffffff));
  CHILD(pid) IS(ADDR_NO_RANDOMIZE, personality(0xffffffff));
  IS(0, ended(pid));
}
CASE("arch_prctl", "of an unknown code is EINVAL") { FAILS(EINVAL, RAW(arch_prctl, 9999, 0)); }
CASE("arch_prctl", "tells and sets bases") {
  unsigned long v = 0;
  OK(RAW(arch_prctl, 0x1001, 0x12345678));
  OK(RAW(arch_prctl, 0x1004, &v));
  IS(0x12345678, v);
  FAILS(EPERM, RAW(arch_prctl, 0x1001, 1ul << 63));
  FAILS(EFAULT, RAW(arch_prctl, 0x1004, NOWHERE));
}
