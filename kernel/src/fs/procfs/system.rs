//! Files about the whole system.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::Ordering;

use aurora_machine::PAGE_SIZE;

use crate::Kernel;
use crate::fs::procfs::{Node, SelfKind};

/// Names in `/proc`.
pub(super) const ROOT: &[(&str, Node)] = &[
    ("cgroups", Node::Text(|_| b"#subsys_name\thierarchy\tnum_cgroups\tenabled\n".to_vec())),
    ("cmdline", Node::Text(|k| line(k.command_line.as_bytes()))),
    ("consoles", Node::Text(|_| b"ttyS0                -W- (EC   )    4:64\n".to_vec())),
    ("cpuinfo", Node::Text(cpuinfo)),
    ("devices", Node::Text(devices)),
    ("diskstats", Node::Text(super::disks::statistics)),
    ("filesystems", Node::Text(filesystems)),
    ("interrupts", Node::Text(interrupts)),
    ("loadavg", Node::Text(loadavg)),
    ("locks", Node::Text(super::locks::text)),
    ("meminfo", Node::Text(meminfo)),
    ("misc", Node::Text(nothing)),
    ("modules", Node::Text(nothing)),
    ("mounts", Node::Link("self/mounts")),
    ("net", Node::Directory(NET)),
    ("partitions", Node::Text(super::disks::partitions)),
    ("self", Node::SelfLink(SelfKind::Process)),
    ("stat", Node::Text(stat)),
    ("swaps", Node::Text(|_| b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_vec())),
    ("sys", Node::Directory(super::sys::ROOT)),
    ("sysrq-trigger", Node::SysRq),
    ("thread-self", Node::SelfLink(SelfKind::Thread)),
    ("uptime", Node::Text(uptime)),
    ("version", Node::Text(version)),
    ("vmstat", Node::Text(vmstat)),
];

fn nothing(_: &Kernel) -> Vec<u8> {
    Vec::new()
}

const NET: &[(&str, Node)] = &[
    ("arp", Node::Text(|_| line(b"IP address       HW type     Flags       HW address            Mask     Device"))),
    ("dev", Node::Text(|_| crate::net::interface::statistics())),
    ("if_inet6", Node::Text(|_| crate::net::interface::addresses6())),
    ("packet", Node::Text(|_| line(b"sk       RefCnt Type Proto  Iface R Rmem   User   Inode"))),
    ("raw", Node::Text(|_| line(NO_RAW))),
    ("raw6", Node::Text(|_| line(NO_RAW6))),
    ("route", Node::Text(|_| line(NO_ROUTES))),
    ("sockstat", Node::Text(crate::net::inet::statistics)),
    ("tcp", Node::Text(crate::net::inet::tcp_table)),
    ("tcp6", Node::Text(crate::net::inet::tcp6_table)),
    ("udp", Node::Text(crate::net::inet::udp_table)),
    ("udp6", Node::Text(crate::net::inet::udp6_table)),
    ("unix", Node::Text(crate::net::unix::table)),
];

/// Tables without lines: there are no raw sockets, and everything we reach is ourselves.
const NO_RAW: &[u8] = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout \
    inode ref pointer drops";
const NO_RAW6: &[u8] =
    b"  sl  local_address                         remote_address                        st tx_queue \
    rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops";
const NO_ROUTES: &[u8] = b"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\
                                                       ";

/// All file systems; most have no device behind them.
fn filesystems(_: &Kernel) -> Vec<u8> {
    let names = ["sysfs", "tmpfs", "proc", "devtmpfs", "devpts", "overlay", "pipefs", "ramfs"];
    let without_device = names.iter().map(|name| format!("nodev\t{name}\n"));
    without_device.chain(["ext3", "ext2", "ext4"].map(|name| format!("\t{name}\n"))).collect::<String>().into_bytes()
}

fn devices(_: &Kernel) -> Vec<u8> {
    b"Character devices:\n  1 mem\n  4 tty\n  4 ttyS\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\n\
      Block devices:\n254 virtblk\n"
        .to_vec()
}

/// What interrupted the one processor is not counted: machines differ in what that even is.
fn interrupts(_: &Kernel) -> Vec<u8> {
    b"           CPU0       \n".to_vec()
}

fn vmstat(kernel: &Kernel) -> Vec<u8> {
    let faults: u64 = kernel.processes.processes().iter().map(|p| p.faults.load(Ordering::Relaxed)).sum();
    let shown = [
        ("nr_free_pages", kernel.memory.phys().free_frames()),
        ("nr_inactive_anon", 0),
        ("nr_active_anon", 0),
        ("nr_file_pages", kernel.memory.cached_frames()),
        ("nr_dirty", kernel.memory.dirty_frames()),
        ("nr_writeback", 0),
        ("nr_shmem", kernel.memory.cached_frames()),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgfault", faults),
        ("pgmajfault", 0),
        ("oom_kill", 0),
    ];
    let mut text = String::new();
    for (name, value) in shown {
        let _ = writeln!(text, "{name} {value}");
    }
    text.into_bytes()
}

pub(super) fn line(text: &[u8]) -> Vec<u8> {
    let mut line = text.to_vec();
    line.push(b'\n');
    line
}

pub(super) fn uuid(kernel: &Kernel) -> Vec<u8> {
    let mut bytes = [0; 16];
    kernel.machine.entropy(&mut bytes);
    let mut text = String::new();
    for (i, byte) in bytes.iter().enumerate() {
        let byte = match i {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text.into_bytes()
}

/// What every machine's processor can (x86-64-v2), by Linux's names.
const FEATURES: &str = "fpu tsc msr cx8 cmov mmx fxsr sse sse2 syscall nx lm rep_good nopl cpuid pni ssse3 cx16 sse4_1 \
                        sse4_2 popcnt lahf_lm";

fn cpuinfo(kernel: &Kernel) -> Vec<u8> {
    let name = kernel.machine.processor_name();
    let vendor = match () {
        () if name.contains("AMD") => "AuthenticAMD",
        () if name.contains("Intel") => "GenuineIntel",
        () => "Aurora",
    };
    let lines = [
        ("processor", "0"),
        ("vendor_id", vendor),
        ("cpu family", "6"),
        ("model", "0"),
        ("model name", name),
        ("stepping", "0"),
        ("physical id", "0"),
        ("siblings", "1"),
        ("core id", "0"),
        ("cpu cores", "1"),
        ("apicid", "0"),
        ("initial apicid", "0"),
        ("fpu", "yes"),
        ("fpu_exception", "yes"),
        ("cpuid level", "13"),
        ("wp", "yes"),
        ("flags", FEATURES),
        ("bugs", ""),
        ("clflush size", "64"),
        ("cache_alignment", "64"),
        ("address sizes", "40 bits physical, 48 bits virtual"),
        ("power management", ""),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        // Tabs bring the colons into a line, as on Linux.
        let tabs = if name.len() < 8 { "\t\t" } else { "\t" };
        let _ = writeln!(text, "{name}{tabs}: {value}");
    }
    text.push('\n');
    text.into_bytes()
}

fn loadavg(kernel: &Kernel) -> Vec<u8> {
    let processes = kernel.processes.processes();
    let running = kernel.scheduler.runnable() + 1;
    let last = processes.iter().map(|p| p.pid.0).max().unwrap_or(0);
    let mut text = String::new();
    for average in kernel.scheduler.load().hundredths() {
        let _ = write!(text, "{}.{:02} ", average / 100, average % 100);
    }
    let _ = writeln!(text, "{running}/{} {last}", kernel.processes.thread_count());
    text.into_bytes()
}

fn meminfo(kernel: &Kernel) -> Vec<u8> {
    let kib = |frames: u64| frames * PAGE_SIZE / 1024;
    let memory = kernel.memory.phys();
    let shown = [
        ("MemTotal", kib(memory.total_frames())),
        ("MemFree", kib(memory.free_frames())),
        ("MemAvailable", kib(kernel.memory.available_frames())),
        ("Buffers", 0),
        ("Cached", kib(kernel.memory.cached_frames())),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Shmem", kib(kernel.memory.cached_frames())),
        ("Slab", kernel.memory.heap_used() / 1024),
        ("SReclaimable", 0),
        ("SUnreclaim", kernel.memory.heap_used() / 1024),
        ("KernelStack", 0),
        ("CommitLimit", kib(memory.total_frames())),
        ("Committed_AS", kib(memory.total_frames() - memory.free_frames())),
        ("VmallocTotal", 0),
    ];
    let mut text = String::new();
    for (name, value) in shown {
        let _ = writeln!(text, "{:<16}{value:>8} kB", format!("{name}:"));
    }
    text.into_bytes()
}

fn stat(kernel: &Kernel) -> Vec<u8> {
    let up = kernel.machine.now().0 / 10_000_000;
    let busy = kernel.scheduler.busy_ns() / 10_000_000;
    let idle = up.saturating_sub(busy);
    let booted = (kernel.realtime_ns() - kernel.machine.now().0) / 1_000_000_000;
    let system: u64 = kernel.processes.processes().iter().map(|p| p.system_ns() / 10_000_000).sum();
    let (busy, system) = (busy.saturating_sub(system), system.min(busy));
    format!(
        "cpu  {busy} 0 {system} {idle} 0 0 0 0 0 0\ncpu0 {busy} 0 {system} {idle} 0 0 0 0 0 0\nintr 0\nctxt {}\nbtime {booted}\n\
         processes {}\nprocs_running {}\nprocs_blocked 0\n",
        kernel.scheduler.switches(),
        kernel.processes.forks(),
        kernel.scheduler.runnable() + 1,
    )
    .into_bytes()
}

fn uptime(kernel: &Kernel) -> Vec<u8> {
    let up = kernel.machine.now().0 / 10_000_000;
    let idle = up.saturating_sub(kernel.scheduler.busy_ns() / 10_000_000);
    format!("{}.{:02} {}.{:02}\n", up / 100, up % 100, idle / 100, idle % 100).into_bytes()
}

fn version(_: &Kernel) -> Vec<u8> {
    format!("Linux version {} {}\n", crate::boot::RELEASE, crate::syscall::system::VERSION).into_bytes()
}
