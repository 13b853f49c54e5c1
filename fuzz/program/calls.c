// A line for each call of the kernel's table: its number, its arguments in the words of types.c and structures.c, and what
// it makes. A test holds this list against the table.
#include "fuzzer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

struct call calls[] = {
    // Descriptors and what goes through them.
    {SYS_read, "fd buf len"}, {SYS_write, "fd in len"}, {SYS_pread64, "fd buf len off"}, {SYS_pwrite64, "fd in len off"},
    {SYS_readv, "fd iovec few"}, {SYS_writev, "fd iovec few"}, {SYS_preadv, "fd iovec few off zero"},
    {SYS_pwritev, "fd iovec few off zero"}, {SYS_preadv2, "fd iovec few off zero flags:rw"},
    {SYS_pwritev2, "fd iovec few off zero flags:rw"}, {SYS_lseek, "fd off one:whence"}, {SYS_close, "fd"},
    {SYS_close_range, "fd fd flags:close-range"}, {SYS_dup, "fd", "fd"}, {SYS_dup2, "fd fd"}, {SYS_dup3, "fd fd flags:create"},
    {SYS_fcntl, "fd one:fcntl flags:seals"}, {SYS_fcntl, "fd one:fcntl-lock flock"}, {SYS_flock, "fd one:flock"},
    {SYS_ioctl, "fd one:ioctl out"}, {SYS_ioctl, "tty one:ioctl ipcbuf"}, {SYS_fsync, "fd"}, {SYS_fdatasync, "fd"}, {SYS_sync, ""},
    {SYS_syncfs, "fd"}, {SYS_sync_file_range, "fd off off flags:sync-range"}, {SYS_fadvise64, "fd off off one:fadvise"},
    {SYS_readahead, "fd off num"}, {SYS_ftruncate, "fd off"}, {SYS_fallocate, "fd one:fallocate off off"},
    {SYS_sendfile, "fd fd offptr off"}, {SYS_splice, "fd offptr fd offptr off flags:splice"}, {SYS_tee, "pipe pipe off flags:splice"},
    {SYS_vmsplice, "pipe iovec few flags:splice"}, {SYS_copy_file_range, "fd offptr fd offptr off zero"},
    {SYS_pipe, "pair", "pair:pipe"}, {SYS_pipe2, "pair flags:create", "pair:pipe"}, {SYS_getdents, "dir buf len"}, {SYS_getdents64, "dir buf len"},
    // Names.
    {SYS_open, "path flags:open flags:mode", "file"}, {SYS_openat, "at path flags:open flags:mode", "file"},
    {SYS_openat, "at path flags:open flags:mode", "dir"}, {SYS_openat2, "at path open_how len", "place"},
    {SYS_creat, "path flags:mode", "file"}, {SYS_stat, "path out"}, {SYS_lstat, "path out"}, {SYS_fstat, "fd out"},
    {SYS_newfstatat, "at path out flags:at"}, {SYS_statx, "at path flags:statx-at flags:statx out"}, {SYS_access, "path flags:access"},
    {SYS_faccessat, "at path flags:access"}, {SYS_faccessat2, "at path flags:access flags:at"}, {SYS_statfs, "path out"},
    {SYS_fstatfs, "fd out"}, {SYS_truncate, "path off"}, {SYS_getcwd, "buf len"}, {SYS_chdir, "path"}, {SYS_fchdir, "dir"},
    {SYS_rename, "path path"}, {SYS_renameat, "at path at path"}, {SYS_renameat2, "at path at path one:rename"}, {SYS_mkdir, "path flags:mode"},
    {SYS_mkdirat, "at path flags:mode"}, {SYS_rmdir, "path"}, {SYS_link, "path path"}, {SYS_linkat, "at path at path flags:at"},
    {SYS_unlink, "path"}, {SYS_unlinkat, "at path flags:at"}, {SYS_symlink, "path path"}, {SYS_symlinkat, "path at path"},
    {SYS_readlink, "path buf len"}, {SYS_readlinkat, "at path buf len"}, {SYS_chmod, "path flags:mode"}, {SYS_fchmod, "fd flags:mode"},
    {SYS_fchmodat, "at path flags:mode"}, {452, "at path flags:mode flags:at"}, {SYS_chown, "path uid uid"}, {SYS_fchown, "fd uid uid"},
    {SYS_lchown, "path uid uid"}, {SYS_fchownat, "at path uid uid flags:at"}, {SYS_umask, "flags:mode"}, {SYS_utime, "path utimbuf"},
    {SYS_utimes, "path timevals"}, {SYS_futimesat, "at path timevals"}, {SYS_utimensat, "at path timespecs flags:at"},
    {SYS_mknod, "path one:node num"}, {SYS_mknodat, "at path one:node num"}, {SYS_setxattr, "path text in len flags:xattr"},
    {SYS_lsetxattr, "path text in len flags:xattr"}, {SYS_fsetxattr, "fd text in len flags:xattr"}, {SYS_getxattr, "path text buf len"},
    {SYS_lgetxattr, "path text buf len"}, {SYS_fgetxattr, "fd text buf len"}, {SYS_listxattr, "path buf len"},
    {SYS_llistxattr, "path buf len"}, {SYS_flistxattr, "fd buf len"}, {SYS_removexattr, "path text"}, {SYS_lremovexattr, "path text"},
    {SYS_fremovexattr, "fd text"}, {SYS_chroot, "path"}, {SYS_mount, "path path text flags:mount text"}, {SYS_umount2, "path flags:umount"},
    {SYS_pivot_root, "path path"}, {SYS_inotify_init, "", "inotify"}, {SYS_inotify_init1, "flags:create", "inotify"},
    {SYS_inotify_add_watch, "inotify path flags:inotify", "watch"}, {SYS_inotify_rm_watch, "inotify watch"},
    // Memory.
    {SYS_mmap, "page pages flags:prot flags:map fd off", "mapping"}, {SYS_mprotect, "page pages flags:prot"}, {SYS_munmap, "page pages"},
    {SYS_brk, "page"}, {SYS_mremap, "page pages pages flags:remap page", "mapping"}, {SYS_msync, "page pages flags:msync"},
    {SYS_mincore, "page pages out"}, {SYS_madvise, "page pages one:advice"}, {SYS_mlock, "page pages"}, {SYS_mlock2, "page pages flags:mlock"},
    {SYS_munlock, "page pages"}, {SYS_mlockall, "flags:mlock"}, {SYS_munlockall, ""}, {SYS_memfd_create, "text flags:memfd", "memfd"},
    {SYS_process_vm_readv, "pid iovec few iovec few zero"}, {SYS_process_vm_writev, "pid iovec few iovec few zero"},
    {SYS_shmget, "one:key pages flags:ipc", "shm"}, {SYS_shmat, "shm page flags:shmat", "mapping"}, {SYS_shmdt, "mapping"},
    {SYS_shmctl, "shm one:shmctl ipcbuf"}, {SYS_membarrier, "flags:membarrier zero"},
    // Waiting.
    {SYS_poll, "pollfds few ms"}, {SYS_ppoll, "pollfds few timespec sigset eight"}, {SYS_select, "fds fdset fdset fdset timeval"},
    {SYS_pselect6, "fds fdset fdset fdset timespec sigmask"}, {SYS_epoll_create, "num", "epoll"}, {SYS_epoll_create1, "flags:create", "epoll"},
    {SYS_epoll_ctl, "epoll one:epoll fd epoll_event"}, {SYS_epoll_ctl, "epoll one:epoll epoll epoll_event"}, {SYS_epoll_wait, "epoll out few ms"},
    {SYS_epoll_pwait, "epoll out few ms sigset eight"}, {SYS_epoll_pwait2, "epoll out few timespec sigset eight"},
    {SYS_eventfd, "num", "event"}, {SYS_eventfd2, "num flags:create", "event"}, {SYS_signalfd, "signalfd sigset eight", "signalfd"},
    {SYS_signalfd4, "signalfd sigset eight flags:create", "signalfd"}, {SYS_timerfd_create, "one:clock flags:create", "timerfd"},
    {SYS_timerfd_settime, "timerfd flags:abstime itimerspec out"}, {SYS_timerfd_gettime, "timerfd out"},
    {SYS_futex, "word one:futex few timespec word few"}, {SYS_futex, "word one:futex bit few word bit"}, {449, "waitv few zero timespec one:clock"},
    {SYS_set_robust_list, "robust len"}, {SYS_get_robust_list, "pid out out"}, {SYS_rseq, "page thirty_two bit few"}, {SYS_semget, "one:key few flags:ipc", "sem"},
    {SYS_semop, "sem semops few"}, {SYS_semtimedop, "sem semops few timespec"}, {SYS_semctl, "sem few one:semctl ipcbuf"},
    {SYS_semctl, "sem few one:semctl few"}, {SYS_msgget, "one:key flags:ipc", "msq"}, {SYS_msgsnd, "msq msgbuf len flags:ipc-nowait"},
    {SYS_msgrcv, "msq buf len few flags:ipc-nowait"}, {SYS_msgctl, "msq one:msgctl ipcbuf"}, {SYS_mq_open, "queue flags:open flags:mode mq_attr", "mq"},
    {SYS_mq_unlink, "queue"}, {SYS_mq_timedsend, "mq in len num timespec"}, {SYS_mq_timedreceive, "mq buf len out timespec"},
    {SYS_mq_notify, "mq sigevent"}, {SYS_mq_getsetattr, "mq mq_attr out"},
    // Time.
    {SYS_nanosleep, "timespec out"}, {SYS_clock_nanosleep, "one:clock bit timespec out"}, {SYS_clock_gettime, "one:clock out"},
    {SYS_clock_getres, "one:clock out"}, {SYS_clock_settime, "one:clock timespec"}, {SYS_gettimeofday, "out out"}, {SYS_settimeofday, "timeval out"},
    {SYS_time, "out"}, {SYS_times, "out"}, {SYS_alarm, "num"}, {SYS_getitimer, "one:itimer out"}, {SYS_setitimer, "one:itimer itimerval out"},
    {SYS_timer_create, "one:clock sigevent pair", "timer"}, {SYS_timer_settime, "timer bit itimerspec out"}, {SYS_timer_gettime, "timer out"},
    {SYS_timer_getoverrun, "timer"}, {SYS_timer_delete, "timer"},
    // Sockets.
    {SYS_socket, "one:family one:socket one:protocol", "sock"}, {SYS_socketpair, "one:family one:socket zero pair", "pair:sock"},
    {SYS_connect, "sock sockaddr addrlen"}, {SYS_accept, "sock out lenptr", "sock"}, {SYS_accept4, "sock out lenptr flags:socket-flags", "sock"},
    {SYS_bind, "sock sockaddr addrlen"}, {SYS_listen, "sock few"}, {SYS_sendto, "sock in len flags:msg sockaddr addrlen"},
    {SYS_recvfrom, "sock buf len flags:msg out lenptr"}, {SYS_sendmsg, "sock msghdr flags:msg"}, {SYS_recvmsg, "sock msghdr flags:msg"},
    {SYS_sendmmsg, "sock mmsghdr few flags:msg"}, {SYS_recvmmsg, "sock mmsghdr few flags:msg timespec"}, {SYS_shutdown, "sock one:shutdown"},
    {SYS_getsockname, "sock out lenptr"}, {SYS_getpeername, "sock out lenptr"}, {SYS_setsockopt, "sock one:level one:option option optlen"},
    {SYS_getsockopt, "sock one:level one:option out lenptr"},
    // Processes and threads.
    {SYS_clone, "flags:clone zero out out zero", "pid"}, {SYS_clone3, "clone_args len", "pid"}, {SYS_fork, "", "pid"}, {SYS_vfork, "", "pid"},
    {SYS_execve, "path argv argv"}, {SYS_execveat, "at path argv argv flags:at"}, {SYS_exit, "num"}, {SYS_exit_group, "num"},
    {SYS_wait4, "pid out flags:wait out"}, {SYS_waitid, "one:id-kind pid out flags:wait out"}, {SYS_kill, "pid sig"}, {SYS_tkill, "pid sig"},
    {SYS_tgkill, "pid pid sig"}, {SYS_rt_sigqueueinfo, "pid sig siginfo"}, {SYS_rt_tgsigqueueinfo, "pid pid sig siginfo"},
    {SYS_rt_sigaction, "sig sigaction out eight"}, {SYS_rt_sigprocmask, "one:mask-how sigset out eight"}, {SYS_rt_sigpending, "out eight"},
    {SYS_rt_sigtimedwait, "sigset out timespec eight"}, {SYS_rt_sigsuspend, "sigset eight"}, {SYS_rt_sigreturn, ""}, {SYS_sigaltstack, "stack out"},
    {SYS_pause, ""}, {SYS_restart_syscall, ""}, {SYS_pidfd_open, "pid flags:create", "pidfd"}, {SYS_pidfd_send_signal, "pidfd sig siginfo zero"},
    {SYS_pidfd_getfd, "pidfd fd zero", "fd"}, {SYS_ptrace, "one:ptrace pid page in"}, {SYS_ptrace, "one:ptrace pid num flags:ptrace"}, {SYS_kcmp, "pid pid one:kcmp fd fd"},
    {SYS_unshare, "flags:unshare"}, {SYS_setns, "ns zero"}, {SYS_setns, "pidfd flags:unshare"}, {SYS_getpid, ""}, {SYS_getppid, ""}, {SYS_gettid, ""},
    {SYS_setpgid, "pid pid"}, {SYS_getpgid, "pid"}, {SYS_getpgrp, ""}, {SYS_setsid, ""}, {SYS_getsid, "pid"}, {SYS_set_tid_address, "out"},
    {SYS_prctl, "one:prctl num page pages num"}, {SYS_prctl, "one:prctl out zero zero zero"}, {SYS_arch_prctl, "one:arch out"}, {SYS_personality, "one:persona"},
    {SYS_seccomp, "one:seccomp flags:seccomp-flags filter"}, {SYS_sched_yield, ""}, {SYS_sched_setparam, "pid sched_param"},
    {SYS_sched_getparam, "pid out"}, {SYS_sched_setscheduler, "pid one:policy sched_param"}, {SYS_sched_getscheduler, "pid"},
    {SYS_sched_get_priority_max, "one:policy"}, {SYS_sched_get_priority_min, "one:policy"}, {SYS_sched_rr_get_interval, "pid out"},
    {SYS_sched_setaffinity, "pid len cpuset"}, {SYS_sched_getaffinity, "pid len out"}, {SYS_sched_setattr, "pid sched_attr zero"},
    {SYS_sched_getattr, "pid out len zero"}, {SYS_getpriority, "one:priority pid"}, {SYS_setpriority, "one:priority pid num"},
    {SYS_ioprio_set, "one:ioprio pid num"}, {SYS_ioprio_get, "one:ioprio pid"}, {SYS_getcpu, "out out out"},
    // Limits and identity.
    {SYS_getrlimit, "one:resource out"}, {SYS_setrlimit, "one:resource rlimit"}, {SYS_prlimit64, "pid one:resource rlimit out"},
    {SYS_getrusage, "one:rusage out"}, {SYS_getuid, ""}, {SYS_getgid, ""}, {SYS_geteuid, ""}, {SYS_getegid, ""}, {SYS_setuid, "uid"},
    {SYS_setgid, "uid"}, {SYS_setreuid, "uid uid"}, {SYS_setregid, "uid uid"}, {SYS_setresuid, "uid uid uid"}, {SYS_setresgid, "uid uid uid"},
    {SYS_getresuid, "out out out"}, {SYS_getresgid, "out out out"}, {SYS_setfsuid, "uid"}, {SYS_setfsgid, "uid"}, {SYS_getgroups, "few out"},
    {SYS_setgroups, "few groups"}, {SYS_capget, "cap_header out"}, {SYS_capset, "cap_header in"},
    // The system.
    {SYS_uname, "out"}, {SYS_sysinfo, "out"}, {SYS_syslog, "one:syslog buf len"}, {SYS_sethostname, "in len"}, {SYS_setdomainname, "in len"},
    {SYS_getrandom, "buf len flags:random"}, {SYS_acct, "path"}, {SYS_reboot, "one:reboot-magic one:reboot-magic one:reboot"},
    {1000, "pid out"}, {1001, "few num"},
};
const size_t call_count = sizeof calls / sizeof *calls;

static const struct {
  const char *word;
  enum resource resource;
} made[] = {{"fd", FILE_}, {"file", FILE_}, {"dir", DIRECTORY}, {"place", PLACE}, {"pipe", PIPE}, {"sock", SOCKET}, {"epoll", EPOLL}, {"event", EVENT},
            {"timerfd", TIMER_FD}, {"signalfd", SIGNAL_FD}, {"inotify", INOTIFY}, {"pidfd", PID_FD}, {"mq", QUEUE}, {"memfd", MEMORY},
            {"watch", WATCH}, {"timer", TIMER}, {"shm", SHARED_SEGMENT}, {"sem", SEMAPHORE}, {"msq", MESSAGES}, {"mapping", MAPPING}};

static void wrong(const struct call *call) {
  fprintf(stderr, "call %d: %s %s is not a description\n", call->number, call->arguments, call->result ? call->result : "");
  exit(2);
}

static void read_result(struct call *call) {
  const char *word = call->result;
  if (!word || strcmp(word, "pid") == 0) return;
  int pair = strncmp(word, "pair:", 5) == 0;
  for (size_t i = 0; i < sizeof made / sizeof *made; i++)
    if (strcmp(made[i].word, word + (pair ? 5 : 0)) == 0) {
      call->makes = pair ? 2 : 1, call->resource = made[i].resource;
      // A timer's number is written as the descriptors of a pair are.
      if (call->resource == TIMER) call->makes = 2;
      return;
    }
  wrong(call);
}

void read_descriptions(void) {
  for (size_t i = 0; i < call_count; i++) {
    struct call *call = &calls[i];
    const char *word = call->arguments;
    for (int k = 0; *word; k++) {
      size_t length = strcspn(word, " ");
      if (k == ARGUMENTS || !(call->types[k] = type_of(word, length))) wrong(call);
      if (strcmp(call->types[k]->word, "pair") == 0) call->pair = k;
      word += length + (word[length] == ' ');
    }
    read_result(call);
  }
}
