//! Structures of the x86-64 ABI. Sizes are checked at compile time; see the man page named at each.

use crate::abi_struct;

abi_struct! {
    /// `struct timespec`, timespec(3type).
    pub struct Timespec(16) { pub sec: i64, pub nsec: i64, }
}
abi_struct! {
    /// `struct timeval`, timeval(3type).
    pub struct Timeval(16) { pub sec: i64, pub usec: i64, }
}
abi_struct! {
    /// `struct stat`, stat(2).
    pub struct Stat(144) {
        pub dev: u64, pub ino: u64, pub nlink: u64, pub mode: u32, pub uid: u32, pub gid: u32, pub pad0: u32,
        pub rdev: u64, pub size: i64, pub blksize: i64, pub blocks: i64,
        pub atime: Timespec, pub mtime: Timespec, pub ctime: Timespec, pub unused: [i64; 3],
    }
}
abi_struct! {
    /// `struct statx_timestamp`, statx(2).
    pub struct StatxTimestamp(16) { pub sec: i64, pub nsec: u32, pub pad: i32, }
}
abi_struct! {
    /// `struct statx`, statx(2).
    pub struct Statx(256) {
        pub mask: u32, pub blksize: u32, pub attributes: u64, pub nlink: u32, pub uid: u32, pub gid: u32,
        pub mode: u16, pub pad0: u16, pub ino: u64, pub size: u64, pub blocks: u64, pub attributes_mask: u64,
        pub atime: StatxTimestamp, pub btime: StatxTimestamp, pub ctime: StatxTimestamp, pub mtime: StatxTimestamp,
        pub rdev_major: u32, pub rdev_minor: u32, pub dev_major: u32, pub dev_minor: u32, pub spare: [u64; 14],
    }
}
abi_struct! {
    /// `struct statfs`, statfs(2).
    pub struct Statfs(120) {
        pub kind: i64, pub bsize: i64, pub blocks: u64, pub bfree: u64, pub bavail: u64, pub files: u64,
        pub ffree: u64, pub fsid: [i32; 2], pub namelen: i64, pub frsize: i64, pub flags: i64, pub spare: [i64; 4],
    }
}
abi_struct! {
    /// `struct iovec`, iovec(3type).
    pub struct IoVec(16) { pub base: u64, pub len: u64, }
}
abi_struct! {
    /// `struct pollfd`, poll(2).
    pub struct PollFd(8) { pub fd: i32, pub events: i16, pub revents: i16, }
}
abi_struct! {
    /// The kernel's `struct sigaction`, rt_sigaction(2).
    pub struct SigAction(32) { pub handler: u64, pub flags: u64, pub restorer: u64, pub mask: u64, }
}
abi_struct! {
    /// `stack_t`, sigaltstack(2).
    pub struct StackT(24) { pub sp: u64, pub flags: i32, pub pad: u32, pub size: u64, }
}
abi_struct! {
    /// `struct rlimit`, getrlimit(2).
    pub struct Rlimit(16) { pub current: u64, pub max: u64, }
}
abi_struct! {
    /// `struct rusage`, getrusage(2).
    pub struct Rusage(144) {
        pub utime: Timeval, pub stime: Timeval, pub maxrss: i64, pub unused0: [i64; 3], pub minflt: i64,
        pub majflt: i64, pub unused1: [i64; 6], pub nvcsw: i64, pub nivcsw: i64,
    }
}
abi_struct! {
    /// `struct sysinfo`, sysinfo(2).
    pub struct Sysinfo(112) {
        pub uptime: i64, pub loads: [u64; 3], pub totalram: u64, pub freeram: u64, pub sharedram: u64,
        pub bufferram: u64, pub totalswap: u64, pub freeswap: u64, pub procs: u16, pub pad: [u16; 3],
        pub totalhigh: u64, pub freehigh: u64, pub mem_unit: u32, pub pad1: u32,
    }
}
abi_struct! {
    /// `struct tms`, times(2).
    pub struct Tms(32) { pub utime: i64, pub stime: i64, pub cutime: i64, pub cstime: i64, }
}
abi_struct! {
    /// `struct itimerval`, getitimer(2).
    pub struct Itimerval(32) { pub interval: Timeval, pub value: Timeval, }
}
abi_struct! {
    /// `struct itimerspec`, timer_settime(2).
    pub struct Itimerspec(32) { pub interval: Timespec, pub value: Timespec, }
}
abi_struct! {
    /// `struct sigevent` as far as the kernel reads it, sigevent(3type).
    pub struct Sigevent(64) { pub value: u64, pub signo: i32, pub notify: i32, pub tid: i32, pub pad: [u32; 11], }
}
abi_struct! {
    /// `struct winsize`, ioctl_tty(2).
    pub struct Winsize(8) { pub rows: u16, pub cols: u16, pub xpixel: u16, pub ypixel: u16, }
}
abi_struct! {
    /// The kernel's `struct termios` (TCGETS), ioctl_tty(2).
    pub struct Termios(36) { pub iflag: u32, pub oflag: u32, pub cflag: u32, pub lflag: u32, pub line: u8, pub cc: [u8; 19], }
}
abi_struct! {
    /// The kernel's `struct termios2` (TCGETS2): the same, and both speeds.
    pub struct Termios2(44) {
        pub iflag: u32, pub oflag: u32, pub cflag: u32, pub lflag: u32, pub line: u8, pub cc: [u8; 19], pub ispeed: u32,
        pub ospeed: u32,
    }
}
abi_struct! {
    /// `struct clone_args`, clone3: clone(2).
    pub struct CloneArgs(88) {
        pub flags: u64, pub pidfd: u64, pub child_tid: u64, pub parent_tid: u64, pub exit_signal: u64,
        pub stack: u64, pub stack_size: u64, pub tls: u64, pub set_tid: u64, pub set_tid_size: u64, pub cgroup: u64,
    }
}
abi_struct! {
    /// `struct flock`, fcntl(2).
    pub struct Flock(32) { pub kind: i16, pub whence: i16, pub pad0: u32, pub start: i64, pub len: i64, pub pid: i32, pub pad1: u32, }
}
abi_struct! {
    /// `struct sched_param`, sched_setscheduler(2).
    pub struct SchedParam(4) { pub priority: i32, }
}
abi_struct! {
    /// `struct utimbuf`, utime(2).
    pub struct Utimbuf(16) { pub actime: i64, pub modtime: i64, }
}
abi_struct! {
    /// `siginfo_t` in its widest common form, sigaction(2): the union is `fields`.
    pub struct SigInfo(128) { pub signo: i32, pub errno: i32, pub code: i32, pub pad: i32, pub fields: [u64; 14], }
}
abi_struct! {
    /// `mcontext_t` of a signal frame: general registers in the order of `struct sigcontext` (asm/sigcontext.h).
    pub struct SigContext(256) {
        pub r8_to_r15: [u64; 8], pub rdi: u64, pub rsi: u64, pub rbp: u64, pub rbx: u64, pub rdx: u64, pub rax: u64,
        pub rcx: u64, pub rsp: u64, pub rip: u64, pub eflags: u64, pub cs: u16, pub gs: u16, pub fs: u16, pub ss: u16,
        pub err: u64, pub trapno: u64, pub oldmask: u64, pub cr2: u64, pub fpstate: u64, pub reserved: [u64; 8],
    }
}
abi_struct! {
    /// `ucontext_t` of a signal frame, up to and with the signal mask (asm-generic/ucontext.h).
    pub struct UContext(304) {
        pub flags: u64, pub link: u64, pub stack: StackT, pub mcontext: SigContext, pub sigmask: u64,
    }
}
abi_struct! {
    /// `struct __user_cap_header_struct` of capget(2).
    pub struct CapHeader(8) { pub version: u32, pub pid: i32, }
}
abi_struct! {
    /// `struct open_how`, openat2(2).
    pub struct OpenHow(24) { pub flags: u64, pub mode: u64, pub resolve: u64, }
}
abi_struct! {
    /// `struct sched_attr`, sched_setattr(2).
    pub struct SchedAttr(56) {
        pub size: u32, pub policy: u32, pub flags: u64, pub nice: i32, pub priority: u32, pub runtime: u64,
        pub deadline: u64, pub period: u64, pub util_min: u32, pub util_max: u32,
    }
}
abi_struct! {
    /// `struct f_owner_ex`, fcntl(2).
    pub struct OwnerEx(8) { pub kind: i32, pub pid: i32, }
}
abi_struct! {
    /// `struct user_regs_struct`, ptrace(2): sys/user.h.
    pub struct UserRegs(216) {
        pub r15: u64, pub r14: u64, pub r13: u64, pub r12: u64, pub rbp: u64, pub rbx: u64, pub r11: u64, pub r10: u64,
        pub r9: u64, pub r8: u64, pub rax: u64, pub rcx: u64, pub rdx: u64, pub rsi: u64, pub rdi: u64,
        pub orig_rax: u64, pub rip: u64, pub cs: u64, pub eflags: u64, pub rsp: u64, pub ss: u64, pub fs_base: u64,
        pub gs_base: u64, pub ds: u64, pub es: u64, pub fs: u64, pub gs: u64,
    }
}
abi_struct! {
    /// `struct ptrace_syscall_info` for a stop at the entry of a call, ptrace(2); other stops use part of it.
    pub struct SyscallInfo(88) {
        pub op: u8, pub pad: [u8; 3], pub arch: u32, pub instruction_pointer: u64, pub stack_pointer: u64, pub data: [u64; 8],
    }
}
abi_struct! {
    /// `struct sock_filter`, bpf instructions of seccomp(2).
    pub struct SockFilter(8) { pub code: u16, pub jt: u8, pub jf: u8, pub k: u32, }
}
abi_struct! {
    /// `struct sock_fprog`, seccomp(2).
    pub struct SockProgram(16) { pub len: u16, pub pad: [u16; 3], pub filter: u64, }
}
