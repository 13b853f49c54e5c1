//! The Aurora gate: system calls through `INT 0x80`, for programs that carry our ELF note (`task/elf.rs`).
//!
//! The handlers are those of the Linux gate; the table differs. Numbers up to 38 are those AURORA's documents fix, the rest
//! are ours. What is missing in the row of numbers is reserved: 19 to 23 and 104 to 106 for messages and shared memory,
//! 24 to 30 and 38, 39 for sockets.

use aurora_abi::Errno;

use crate::security::{Kind, Rights};
use crate::syscall::arg::Argument;
use crate::syscall::{
    Context, Row, SysResult, capability, check, descriptor, directory, fcntl, file, futex, identity, memory, mount,
    open, poll, process, resources, sched, signal, splice, stat, system, time,
};

syscalls! {
    0 exit(status) [] = process::exit_group;
    1 write(fd, buffer, count) [VfsWrite WRITE] = file::write;
    2 yield() [] = sched::sched_yield;
    3 fork() [] = process::fork;
    4 exec(path, argv, env) [] = process::execve;
    5 wait(pid, status, options, usage) [] = process::wait4;
    6 open(path, flags, mode) [VfsOpen READ] = open::open;
    7 close(fd) [] = descriptor::close;
    8 read(fd, buffer, count) [VfsRead READ] = file::read;
    9 stat(path, out) [] = stat::stat;
    10 fstat(fd, out) [] = stat::fstat;
    11 seek(fd, offset, whence) [] = file::lseek;
    12 dup(fd) [] = descriptor::dup;
    13 mmap(addr, len, prot, flags, fd, offset) [] = memory::mmap;
    14 munmap(addr, len) [] = memory::munmap;
    15 mprotect(addr, len, prot) [] = memory::mprotect;
    16 pipe(fds, flags) [] = descriptor::pipe2;
    17 getpid() [] = process::getpid;
    18 getppid() [] = process::getppid;
    31 brk(addr) [] = memory::brk;
    32 ioctl(fd, request, argument) [] = descriptor::ioctl;
    33 fcntl(fd, command, argument) [] = fcntl::fcntl;
    34 dup_to(old, new, flags) [] = descriptor::dup3;
    35 chdir(path) [] = directory::chdir;
    36 getcwd(buffer, size) [] = directory::getcwd;
    37 mkdir(path, mode) [VfsWrite WRITE] = directory::mkdir;
    40 rmdir(path) [VfsWrite WRITE] = directory::rmdir;
    41 unlink(path) [VfsWrite WRITE] = directory::unlink;
    42 rename(from, to) [VfsWrite WRITE] = directory::rename;
    43 link(from, to) [VfsWrite WRITE] = directory::link;
    44 symlink(to, path) [VfsWrite WRITE] = directory::symlink;
    45 readlink(path, buffer, size) [VfsRead READ] = directory::readlink;
    46 chmod(path, mode) [VfsWrite WRITE] = stat::chmod;
    47 chown(path, uid, gid) [VfsWrite WRITE] = stat::chown;
    48 truncate(path, size) [VfsWrite WRITE] = stat::truncate;
    49 ftruncate(fd, size) [VfsWrite WRITE] = file::ftruncate;
    50 list(fd, buffer, size) [VfsRead READ] = directory::getdents64;
    51 poll(fds, count, timeout) [] = poll::poll;
    52 kill(pid, signal) [] = signal::kill;
    53 sigaction(signal, new, old, size) [] = signal::rt_sigaction;
    54 sigmask(how, new, old, size) [] = signal::rt_sigprocmask;
    55 sigreturn() [] = signal::rt_sigreturn;
    56 sigsuspend(mask, size) [] = signal::rt_sigsuspend;
    57 sigpending(out, size) [] = signal::rt_sigpending;
    58 sigstack(new, old) [] = signal::sigaltstack;
    59 pause() [] = signal::pause;
    60 alarm(seconds) [] = time::alarm;
    61 sleep(time, remaining) [] = time::nanosleep;
    62 clock(clock, out) [] = time::clock_gettime;
    63 getuid() [] = identity::getuid;
    64 geteuid() [] = identity::geteuid;
    65 getgid() [] = identity::getgid;
    66 getegid() [] = identity::getegid;
    67 setuid(uid) [SetUid WRITE] = identity::setuid;
    68 setgid(gid) [SetUid WRITE] = identity::setgid;
    69 getpgid(pid) [] = process::getpgid;
    70 setpgid(pid, group) [] = process::setpgid;
    71 getsid(pid) [] = process::getsid;
    72 setsid() [] = process::setsid;
    73 umask(mask) [] = directory::umask;
    74 access(path, mode) [] = stat::access;
    75 lstat(path, out) [] = stat::lstat;
    76 utimens(dirfd, path, times, flags) [VfsWrite WRITE] = stat::utimensat;
    77 statfs(path, out) [] = stat::statfs;
    78 sync() [] = file::sync;
    79 fsync(fd) [] = file::fsync;
    80 mount(source, target, kind, flags, data) [Mount WRITE] = mount::mount;
    81 umount(target, flags) [Mount WRITE] = mount::umount2;
    82 reboot(magic, magic2, command) [Power WRITE] = system::reboot;
    83 uname(out) [] = system::uname;
    84 sethostname(name, len) [Power WRITE] = system::sethostname;
    85 limit(pid, resource, new, old) [] = resources::prlimit64;
    86 usage(who, out) [] = resources::getrusage;
    87 futex(addr, operation, value, timeout, second, value3) [] = futex::futex;
    88 clone(flags, stack, parent_tid, child_tid, tls) [] = process::clone;
    89 gettid() [] = process::gettid;
    90 thread_exit(status) [] = process::exit;
    91 thread_kill(pid, tid, signal) [] = signal::tgkill;
    92 random(buffer, len, flags) [] = system::getrandom;
    93 mremap(old, old_len, new_len, flags, new) [] = memory::mremap;
    94 madvise(addr, len, advice) [] = memory::madvise;
    95 msync(addr, len, flags) [] = memory::msync;
    96 readv(fd, vector, count) [VfsRead READ] = file::readv;
    97 writev(fd, vector, count) [VfsWrite WRITE] = file::writev;
    98 read_at(fd, buffer, count, offset) [VfsRead READ] = file::pread64;
    99 write_at(fd, buffer, count, offset) [VfsWrite WRITE] = file::pwrite64;
    100 copy(out_fd, in_fd, offset, count) [VfsWrite WRITE] = splice::sendfile;
    101 getpriority(which, who) [] = resources::getpriority;
    102 setpriority(which, who, nice) [] = resources::setpriority;
    103 set_base(code, addr) [] = process::arch_prctl;
    107 cap_query(pid, out) [] = capability::cap_query;
    108 cap_drop(slot, rights) [] = capability::cap_drop;
    219 restart() [] = process::restart_syscall;
}
