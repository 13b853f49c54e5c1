//! Files about the whole system.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use aurora_machine::PAGE_SIZE;

use crate::Kernel;
use crate::fs::procfs::{Node, SelfKind};
use crate::task::table::PID_MAX;
use crate::vfs::mount::MountFlags;

/// Names in `/proc`.
pub(super) const ROOT: &[(&str, Node)] = &[
    ("cmdline", Node::Text(|k| line(k.command_line.as_bytes()))),
    ("cpuinfo", Node::Text(cpuinfo)),
    ("filesystems", Node::Text(|_| b"nodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tdevpts\n".to_vec())),
    ("loadavg", Node::Text(loadavg)),
    ("meminfo", Node::Text(meminfo)),
    ("mounts", Node::Link("self/mounts")),
    ("net", Node::Directory(NET)),
    ("self", Node::SelfLink(SelfKind::Process)),
    ("stat", Node::Text(stat)),
    ("sys", Node::Directory(SYS)),
    ("sysrq-trigger", Node::SysRq),
    ("thread-self", Node::SelfLink(SelfKind::Thread)),
    ("uptime", Node::Text(uptime)),
    ("version", Node::Text(version)),
];

const NET: &[(&str, Node)] = &[
    ("tcp", Node::Text(crate::net::inet::tcp_table)),
    ("tcp6", Node::Text(crate::net::inet::tcp6_table)),
    ("udp", Node::Text(crate::net::inet::udp_table)),
    ("udp6", Node::Text(crate::net::inet::udp6_table)),
    ("unix", Node::Text(crate::net::unix::table)),
];

const SYS: &[(&str, Node)] = &[("kernel", Node::Directory(SYS_KERNEL)), ("vm", Node::Directory(SYS_VM))];

const SYS_KERNEL: &[(&str, Node)] = &[
    ("domainname", Node::Text(|k| line(&k.names.lock().domain))),
    ("hostname", Node::Text(|k| line(&k.names.lock().host))),
    ("ngroups_max", Node::Text(|_| b"65536\n".to_vec())),
    ("osrelease", Node::Text(|_| line(crate::boot::RELEASE.as_bytes()))),
    ("ostype", Node::Text(|_| b"Linux\n".to_vec())),
    ("pid_max", Node::Text(|_| format!("{PID_MAX}\n").into_bytes())),
    ("random", Node::Directory(&[("boot_id", Node::Text(uuid)), ("uuid", Node::Text(uuid))])),
    ("threads-max", Node::Text(|k| format!("{}\n", k.max_threads).into_bytes())),
    ("version", Node::Text(|_| line(crate::syscall::system::VERSION.as_bytes()))),
];

const SYS_VM: &[(&str, Node)] = &[
    ("max_map_count", Node::Text(|_| format!("{}\n", crate::memory::space::MAX_AREAS).into_bytes())),
    ("mmap_min_addr", Node::Text(|_| format!("{}\n", crate::memory::layout::MMAP_MIN.0).into_bytes())),
    ("overcommit_memory", Node::Text(|_| b"0\n".to_vec())),
];

fn line(text: &[u8]) -> Vec<u8> {
    let mut line = text.to_vec();
    line.push(b'\n');
    line
}

fn uuid(kernel: &Kernel) -> Vec<u8> {
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

fn cpuinfo(kernel: &Kernel) -> Vec<u8> {
    format!("processor\t: 0\nmodel name\t: {}\n\n", kernel.machine.processor_name()).into_bytes()
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
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Shmem", kib(kernel.memory.cached_frames())),
        ("Slab", kernel.memory.heap_used() / 1024),
        ("SReclaimable", 0),
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
    format!(
        "cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 {busy} 0 0 {idle} 0 0 0 0 0 0\nintr 0\nctxt {}\nbtime {booted}\n\
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

/// `/proc/PID/mounts`, seen from the root.
pub(super) fn mounts(kernel: &Kernel) -> Vec<u8> {
    let mut text = Vec::new();
    let Ok(first) = kernel.vfs.root() else { return text };
    for mount in kernel.vfs.mounts() {
        let at = crate::vfs::PathRef { dentry: mount.root.clone(), mount: mount.clone() };
        let Some(path) = kernel.vfs.path_of(&at, &first) else { continue };
        let mut options = String::from(if mount.flags().contains(MountFlags::RDONLY) { "ro" } else { "rw" });
        for (flag, name) in
            [(MountFlags::NOSUID, ",nosuid"), (MountFlags::NODEV, ",nodev"), (MountFlags::NOEXEC, ",noexec")]
        {
            if mount.flags().contains(flag) {
                options.push_str(name);
            }
        }
        options.push_str(",relatime");
        text.extend_from_slice(format!("{} ", mount.source).as_bytes());
        text.extend_from_slice(&path);
        text.extend_from_slice(format!(" {} {options} 0 0\n", mount.kind).as_bytes());
    }
    text
}
