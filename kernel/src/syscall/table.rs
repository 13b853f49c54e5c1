//! The table of system calls (`syscalls(2)`; numbers of arch/x86/entry/syscalls/syscall_64.tbl).

use alloc::sync::Arc;

use aurora_abi::Errno;
use aurora_machine::{Reg, UserContext};

use crate::security::{Kind, Rights};
use crate::syscall::arg::Argument;
use crate::syscall::{
    Context, Row, SysResult, capability, check, descriptor, directory, file, futex, identity, lock, memory, poll,
    process, registers, resources, signal, stat, system, time, trace,
};
use crate::task::Thread;

macro_rules! needed {
    () => {
        None
    };
    ($kind:ident $right:ident) => {
        Some((Kind::$kind, Rights::$right))
    };
}

/// One line a call: `number name(arguments) [capability right] = handler`.
macro_rules! syscalls {
    ($($number:literal $name:ident($($arg:ident),*) [$($kind:ident $right:ident)?] = $family:ident::$handler:ident;)*) => {
        /// Every row, by number.
        pub const ROWS: &[Row] = &[$(Row {
            number: $number,
            name: stringify!($name),
            arguments: &[$(stringify!($arg)),*],
            capability: needed!($($kind $right)?),
        }),*];

        async fn call(cx: &mut Context<'_>, number: u64, args: [u64; 6]) -> SysResult {
            match number {
                $($number => {
                    check(cx.thread, needed!($($kind $right)?))?;
                    #[allow(unused_mut)]
                    let mut args = args.into_iter();
                    $(let $arg = Argument::from_register(args.next().unwrap_or_default());)*
                    let _ = args;
                    $family::$handler(cx, $($arg),*).await
                })*
                _ => Err(Errno::ENOSYS),
            }
        }
    };
}

syscalls! {
    0 read(fd, buffer, count) [VfsRead READ] = file::read;
    1 write(fd, buffer, count) [VfsWrite WRITE] = file::write;
    2 open(path, flags, mode) [VfsOpen READ] = descriptor::open;
    3 close(fd) [] = descriptor::close;
    4 stat(path, out) [] = stat::stat;
    5 fstat(fd, out) [] = stat::fstat;
    6 lstat(path, out) [] = stat::lstat;
    7 poll(fds, count, timeout) [] = poll::poll;
    8 lseek(fd, offset, whence) [] = file::lseek;
    9 mmap(addr, len, prot, flags, fd, offset) [] = memory::mmap;
    10 mprotect(addr, len, prot) [] = memory::mprotect;
    11 munmap(addr, len) [] = memory::munmap;
    12 brk(addr) [] = memory::brk;
    13 rt_sigaction(signal, new, old, size) [] = signal::rt_sigaction;
    14 rt_sigprocmask(how, new, old, size) [] = signal::rt_sigprocmask;
    15 rt_sigreturn() [] = signal::rt_sigreturn;
    16 ioctl(fd, request, argument) [] = descriptor::ioctl;
    17 pread64(fd, buffer, count, offset) [VfsRead READ] = file::pread64;
    18 pwrite64(fd, buffer, count, offset) [VfsWrite WRITE] = file::pwrite64;
    19 readv(fd, vector, count) [VfsRead READ] = file::readv;
    20 writev(fd, vector, count) [VfsWrite WRITE] = file::writev;
    21 access(path, mode) [] = stat::access;
    22 pipe(fds) [] = descriptor::pipe;
    23 select(count, read, write, except, timeout) [] = poll::select;
    24 sched_yield() [] = resources::sched_yield;
    25 mremap(old, old_len, new_len, flags, new) [] = memory::mremap;
    26 msync(addr, len, flags) [] = memory::msync;
    27 mincore(addr, len, out) [] = memory::mincore;
    28 madvise(addr, len, advice) [] = memory::madvise;
    32 dup(fd) [] = descriptor::dup;
    33 dup2(old, new) [] = descriptor::dup2;
    34 pause() [] = signal::pause;
    35 nanosleep(time, remaining) [] = time::nanosleep;
    36 getitimer(which, out) [] = time::getitimer;
    37 alarm(seconds) [] = time::alarm;
    38 setitimer(which, new, old) [] = time::setitimer;
    39 getpid() [] = process::getpid;
    40 sendfile(out_fd, in_fd, offset, count) [VfsWrite WRITE] = file::sendfile;
    56 clone(flags, stack, parent_tid, child_tid, tls) [] = process::clone;
    57 fork() [] = process::fork;
    58 vfork() [] = process::vfork;
    59 execve(path, argv, env) [] = process::execve;
    60 exit(status) [] = process::exit;
    61 wait4(pid, status, options, usage) [] = process::wait4;
    62 kill(pid, signal) [] = signal::kill;
    63 uname(out) [] = system::uname;
    72 fcntl(fd, command, argument) [] = descriptor::fcntl;
    73 flock(fd, operation) [] = lock::flock;
    74 fsync(fd) [] = file::fsync;
    75 fdatasync(fd) [] = file::fsync;
    76 truncate(path, size) [VfsWrite WRITE] = stat::truncate;
    77 ftruncate(fd, size) [VfsWrite WRITE] = file::ftruncate;
    79 getcwd(buffer, size) [] = directory::getcwd;
    80 chdir(path) [] = directory::chdir;
    81 fchdir(fd) [] = directory::fchdir;
    82 rename(from, to) [VfsWrite WRITE] = directory::rename;
    83 mkdir(path, mode) [VfsWrite WRITE] = directory::mkdir;
    84 rmdir(path) [VfsWrite WRITE] = directory::rmdir;
    85 creat(path, mode) [VfsOpen READ] = descriptor::creat;
    86 link(from, to) [VfsWrite WRITE] = directory::link;
    87 unlink(path) [VfsWrite WRITE] = directory::unlink;
    88 symlink(to, path) [VfsWrite WRITE] = directory::symlink;
    89 readlink(path, buffer, size) [VfsRead READ] = directory::readlink;
    90 chmod(path, mode) [VfsWrite WRITE] = stat::chmod;
    91 fchmod(fd, mode) [VfsWrite WRITE] = stat::fchmod;
    92 chown(path, uid, gid) [VfsWrite WRITE] = stat::chown;
    93 fchown(fd, uid, gid) [VfsWrite WRITE] = stat::fchown;
    94 lchown(path, uid, gid) [VfsWrite WRITE] = stat::lchown;
    95 umask(mask) [] = directory::umask;
    96 gettimeofday(out, zone) [] = time::gettimeofday;
    97 getrlimit(resource, out) [] = resources::getrlimit;
    98 getrusage(who, out) [] = resources::getrusage;
    99 sysinfo(out) [] = system::sysinfo;
    100 times(out) [] = time::times;
    102 getuid() [] = identity::getuid;
    103 syslog(action, buffer, len) [] = system::syslog;
    104 getgid() [] = identity::getgid;
    105 setuid(uid) [SetUid WRITE] = identity::setuid;
    106 setgid(gid) [SetUid WRITE] = identity::setgid;
    107 geteuid() [] = identity::geteuid;
    108 getegid() [] = identity::getegid;
    109 setpgid(pid, group) [] = process::setpgid;
    110 getppid() [] = process::getppid;
    111 getpgrp() [] = process::getpgrp;
    112 setsid() [] = process::setsid;
    113 setreuid(real, effective) [SetUid WRITE] = identity::setreuid;
    114 setregid(real, effective) [SetUid WRITE] = identity::setregid;
    115 getgroups(size, list) [] = identity::getgroups;
    116 setgroups(size, list) [SetUid WRITE] = identity::setgroups;
    117 setresuid(real, effective, saved) [SetUid WRITE] = identity::setresuid;
    118 getresuid(real, effective, saved) [] = identity::getresuid;
    119 setresgid(real, effective, saved) [SetUid WRITE] = identity::setresgid;
    120 getresgid(real, effective, saved) [] = identity::getresgid;
    121 getpgid(pid) [] = process::getpgid;
    122 setfsuid(uid) [SetUid WRITE] = identity::setfsuid;
    123 setfsgid(gid) [SetUid WRITE] = identity::setfsgid;
    124 getsid(pid) [] = process::getsid;
    127 rt_sigpending(out, size) [] = signal::rt_sigpending;
    128 rt_sigtimedwait(set, info, timeout, size) [] = signal::rt_sigtimedwait;
    129 rt_sigqueueinfo(pid, signal, info) [] = signal::rt_sigqueueinfo;
    130 rt_sigsuspend(mask, size) [] = signal::rt_sigsuspend;
    131 sigaltstack(new, old) [] = signal::sigaltstack;
    132 utime(path, times) [VfsWrite WRITE] = stat::utime;
    133 mknod(path, mode, dev) [VfsWrite WRITE] = directory::mknod;
    137 statfs(path, out) [] = stat::statfs;
    138 fstatfs(fd, out) [] = stat::fstatfs;
    140 getpriority(which, who) [] = resources::getpriority;
    141 setpriority(which, who, nice) [] = resources::setpriority;
    143 sched_getparam(tid, out) [] = resources::sched_getparam;
    144 sched_setscheduler(tid, policy, param) [] = resources::sched_setscheduler;
    145 sched_getscheduler(tid) [] = resources::sched_getscheduler;
    146 sched_get_priority_max(policy) [] = resources::sched_get_priority;
    147 sched_get_priority_min(policy) [] = resources::sched_get_priority;
    149 mlock(addr, len) [] = memory::mlock;
    150 munlock(addr, len) [] = memory::munlock;
    157 prctl(option, a, b, c, d) [] = process::prctl;
    158 arch_prctl(code, addr) [] = process::arch_prctl;
    160 setrlimit(resource, new) [] = resources::setrlimit;
    161 chroot(path) [Mount WRITE] = directory::chroot;
    162 sync() [] = file::sync;
    164 settimeofday(time, zone) [Time WRITE] = time::settimeofday;
    165 mount(source, target, kind, flags, data) [Mount WRITE] = system::mount;
    166 umount2(target, flags) [Mount WRITE] = system::umount2;
    169 reboot(magic, magic2, command) [Power WRITE] = system::reboot;
    170 sethostname(name, len) [Power WRITE] = system::sethostname;
    171 setdomainname(name, len) [Power WRITE] = system::setdomainname;
    186 gettid() [] = process::gettid;
    200 tkill(tid, signal) [] = signal::tkill;
    201 time(out) [] = time::time;
    202 futex(addr, operation, value, timeout, second, value3) [] = futex::futex;
    203 sched_setaffinity(tid, size, mask) [] = resources::sched_setaffinity;
    204 sched_getaffinity(tid, size, mask) [] = resources::sched_getaffinity;
    217 getdents64(fd, buffer, size) [VfsRead READ] = directory::getdents64;
    218 set_tid_address(addr) [] = process::set_tid_address;
    219 restart_syscall() [] = process::restart_syscall;
    221 fadvise64(fd, offset, len, advice) [] = file::fadvise64;
    227 clock_settime(clock, time) [Time WRITE] = time::clock_settime;
    228 clock_gettime(clock, out) [] = time::clock_gettime;
    229 clock_getres(clock, out) [] = time::clock_getres;
    230 clock_nanosleep(clock, flags, time, remaining) [] = time::clock_nanosleep;
    231 exit_group(status) [] = process::exit_group;
    234 tgkill(pid, tid, signal) [] = signal::tgkill;
    235 utimes(path, times) [VfsWrite WRITE] = stat::utimes;
    247 waitid(kind, id, info, options, usage) [] = process::waitid;
    257 openat(dirfd, path, flags, mode) [VfsOpen READ] = descriptor::openat;
    258 mkdirat(dirfd, path, mode) [VfsWrite WRITE] = directory::mkdirat;
    259 mknodat(dirfd, path, mode, dev) [VfsWrite WRITE] = directory::mknodat;
    260 fchownat(dirfd, path, uid, gid, flags) [VfsWrite WRITE] = stat::fchownat;
    261 futimesat(dirfd, path, times) [VfsWrite WRITE] = stat::futimesat;
    262 newfstatat(dirfd, path, out, flags) [] = stat::newfstatat;
    263 unlinkat(dirfd, path, flags) [VfsWrite WRITE] = directory::unlinkat;
    264 renameat(from_dir, from, to_dir, to) [VfsWrite WRITE] = directory::renameat;
    265 linkat(from_dir, from, to_dir, to, flags) [VfsWrite WRITE] = directory::linkat;
    266 symlinkat(to, dirfd, path) [VfsWrite WRITE] = directory::symlinkat;
    267 readlinkat(dirfd, path, buffer, size) [VfsRead READ] = directory::readlinkat;
    268 fchmodat(dirfd, path, mode) [VfsWrite WRITE] = stat::fchmodat;
    269 faccessat(dirfd, path, mode) [] = stat::faccessat;
    270 pselect6(count, read, write, except, timeout, mask) [] = poll::pselect6;
    271 ppoll(fds, count, timeout, mask, size) [] = poll::ppoll;
    273 set_robust_list(head, len) [] = process::set_robust_list;
    280 utimensat(dirfd, path, times, flags) [VfsWrite WRITE] = stat::utimensat;
    285 fallocate(fd, mode, offset, len) [VfsWrite WRITE] = file::fallocate;
    292 dup3(old, new, flags) [] = descriptor::dup3;
    293 pipe2(fds, flags) [] = descriptor::pipe2;
    295 preadv(fd, vector, count, offset) [VfsRead READ] = file::preadv;
    296 pwritev(fd, vector, count, offset) [VfsWrite WRITE] = file::pwritev;
    302 prlimit64(pid, resource, new, old) [] = resources::prlimit64;
    309 getcpu(cpu, node) [] = resources::getcpu;
    316 renameat2(from_dir, from, to_dir, to, flags) [VfsWrite WRITE] = directory::renameat2;
    318 getrandom(buffer, len, flags) [] = system::getrandom;
    322 execveat(dirfd, path, argv, env, flags) [] = process::execveat;
    324 membarrier(command, flags) [] = system::membarrier;
    332 statx(dirfd, path, flags, mask, out) [] = stat::statx;
    435 clone3(args, size) [] = process::clone3;
    436 close_range(first, last, flags) [] = descriptor::close_range;
    439 faccessat2(dirfd, path, mode, flags) [] = stat::faccessat2;
    1000 cap_query(pid, out) [] = capability::cap_query;
    1001 cap_drop(slot, rights) [] = capability::cap_drop;
}

/// Does the system call the thread's registers ask for.
pub async fn dispatch(thread: &Arc<Thread>, cpu: &mut UserContext) -> SysResult {
    let number = cpu.reg(Reg::Rax);
    let args = registers(cpu);
    let kernel = thread.kernel();
    kernel.set_call(thread, Some(number));
    let mut cx = Context { thread, cpu };
    let result = call(&mut cx, number, args).await;
    kernel.set_call(thread, None);
    if thread.kernel().is_tracing() {
        trace(thread, row(number), &args, number, &result);
    }
    result
}

/// The row of a call.
pub fn row(number: u64) -> Option<&'static Row> {
    ROWS.binary_search_by_key(&number, |row| row.number).ok().and_then(|at| ROWS.get(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_of_their_numbers() {
        assert!(ROWS.is_sorted_by_key(|r| r.number));
    }
}
